"""The rest of `dm_small/` of a made folder: whole chains, the loss, and both stages end to end."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lfdm_lite.files.variants import construct
from lfdm_lite.official import denoiser

from ..benchmarks import straightforward
from . import make_stage_one, make_stage_two, plain
from .drawn import Folder, draw_clips, draw_images, draw_normal, draw_weights, exact
from .make_stage_two import (
    CHAINS,
    DDPM_STEPS,
    HERE,
    STEPS,
    UNET,
    Network,
    draw_noise,
    gradients,
    inputs,
    with_quiet_heads,
)
from .plain_process import Process

BATCH, FRAMES, SIZE = 3, 5, 24
LATENT = SIZE // 2 ** make_stage_one.GENERATOR["num_down_blocks"]
CONFIG = {
    "lfae": "../lfae_small/config.json",
    "unet": {
        "dim": 10,
        "channels": 3 + make_stage_one.GENERATOR["max_features"],
        "dim_mults": [1, 2, 3],
        "attn_heads": 3,
        "attn_dim_head": 40,
        "use_bert_text_cond": False,
        "cond_dim": 19,
        "learn_null_cond": True,
        "use_deconv": False,
        "padding_mode": "reflect",
        "resnet_groups": 5,
        "init_kernel_size": 3,
    },
    "img_size": LATENT,
    "num_frames": FRAMES,
    "timesteps": 70,
    "sampling_timesteps": 4,
    "ddim_sampling_eta": 0.7,
    "null_cond_prob": 0.3,
    "use_dynamic_thres": False,
    "loss_type": "l2",
    "adam": {"lr": 3e-4, "betas": [0.8, 0.95]},
}


def make(folder: Folder, autoencoder: make_stage_one.States) -> None:
    """All of `dm_small/`."""
    with plain.float64():
        states = make_stage_two.make_networks(folder)
        with torch.no_grad():
            make_stage_two.make_process(folder, states["deconv"])
            make_chains(folder, states["deconv"])
        make_loss(folder, states["deconv"])
        make_system(folder, autoencoder)


def make_chains(folder: Folder, state: Mapping[str, Tensor]) -> None:
    """Files named after the settings; the table of their steps."""
    network, process, meta = Network(state, UNET["resnet_groups"]), Process(STEPS), {}
    given = inputs(folder, "chains")
    features, condition, shape = given["in.fea"], given["in.cond"], given["in.x0"].shape

    def denoiser_of(scale: float):
        return lambda x, t: network.guided(straightforward.with_features(x, features), t, condition, scale)

    def write(name: str, noise: list[Tensor], out: Tensor) -> None:
        draws = {f"in.noise.{i:03}": draw for i, draw in enumerate(noise)}
        folder.tensors(HERE + name, {"in.fea": features, "in.cond": condition} | draws | {"out": out})

    for steps, eta, scale in CHAINS:
        name = f"ddim_S{steps}_eta{eta:g}_cs{scale:g}"
        noise = draw_noise(folder, name, steps, shape)
        write(name, noise, process.ddim(denoiser_of(scale), noise, steps, eta))
        times = process.times(steps)
        pairs = [list(pair) for pair in zip(times[:-1], times[1:], strict=True)]
        meta[name] = {"time_pairs": pairs, "n_noise_draws": len(noise)}
    noise = draw_noise(folder, "ddpm", DDPM_STEPS + 1, shape)
    write(f"ddpm_T{DDPM_STEPS}", noise, Process(DDPM_STEPS).ddpm(denoiser_of(1.0), noise))
    meta[f"ddpm_T{DDPM_STEPS}"] = {"n_noise_draws": len(noise)}
    meta |= {f"times_S{count}": process.times(count) for count in (1, 3, 4, 6, 17, 40)}
    folder.json(HERE + "sampling_meta", meta)


def make_loss(folder: Folder, state: Mapping[str, Tensor]) -> None:
    network, process = Network(dict(state), UNET["resnet_groups"], learn=True), Process(STEPS)
    given = inputs(folder, "loss")
    x0, noise, features, condition = (given[f"in.{key}"] for key in ("x0", "noise", "fea", "cond"))
    t, dropped = torch.tensor([8, 77, 41]), torch.tensor([True, False, True])
    x = process.noised(x0, t, noise)
    eps = network(straightforward.with_features(x, features), t, network.without(condition, dropped))
    loss = (eps - noise).square().mean()
    loss.backward()
    values = {"in.x0": x0, "in.t": t, "in.noise": noise, "in.fea": features, "in.cond_emb": condition}
    values |= {"loss": loss.reshape(1), "out.null_cond_mask": dropped}
    values["out.pred_x0"] = process.clipped(process.start(x, t, eps))
    folder.tensors(HERE + "p_losses", values | gradients(network, below=3000))


# Both stages


class System:
    """The auto-encoder, one frame at a time, and the diffusion model."""

    def __init__(self, autoencoder: make_stage_one.States, state: Mapping[str, Tensor], residual: bool):
        self.states = {part: exact(tensors) for part, tensors in autoencoder.items()}
        self.network = Network(dict(state), CONFIG["unet"]["resnet_groups"], reflect=True, learn=True)
        self.process = Process(CONFIG["timesteps"], CONFIG["use_dynamic_thres"])
        rest = plain.corners(LATENT, LATENT).movedim(-1, 0)[:, None]
        self.origin = rest if residual else torch.zeros_like(rest)

    def features(self, image: Tensor) -> Tensor:
        return plain.encode(self.states["generator"], image)[-1]

    def motion(self, image: Tensor, video: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (b, 2, t, h, w) and occlusion maps of all frames."""
        found = [plain.whole(self.states, make_stage_one.MODEL, image, frame) for frame in video.unbind(2)]
        positions = torch.stack([motion["optical_flow"].movedim(-1, 1) for motion in found], dim=2)
        return positions, torch.stack([motion["occlusion_map"] for motion in found], dim=2)

    def images(self, image: Tensor, positions: Tensor, occlusion: Tensor) -> tuple[Tensor, Tensor]:
        """The decoded frames, and the warped image."""
        generator, decoded, warped = self.states["generator"], [], []
        for where, seen in zip(positions.movedim(1, -1).unbind(1), occlusion.unbind(2), strict=True):
            features = plain.encode(generator, image)
            decoded.append(plain.decode(generator, image, features, where, seen, skips=True))
            warped.append(plain.look_up(image, where))
        return torch.stack(decoded, dim=2), torch.stack(warped, dim=2)

    def pack(self, positions: Tensor, occlusion: Tensor) -> Tensor:
        return torch.cat([positions - self.origin, 2 * occlusion - 1], dim=1)

    def unpack(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :2] + self.origin, (x[:, 2:] + 1) / 2


def make_system(folder: Folder, autoencoder: make_stage_one.States) -> None:
    folder.json(HERE + "flowdiffusion_config", CONFIG)
    config = denoiser.unet_config(**CONFIG["unet"])
    process = denoiser.diffusion_config(timesteps=CONFIG["timesteps"])
    shapes = denoiser.to_official(construct(config).state_dict(), config, process)
    shapes = {name: value for name, value in shapes.items() if name.startswith(denoiser.PREFIX)}
    state = with_quiet_heads(draw_weights(shapes, folder.generator("system")))
    folder.tensors(HERE + "flowdiffusion_diffusion_state", Process(CONFIG["timesteps"]).buffers | state)
    state = {name.removeprefix(denoiser.PREFIX): value for name, value in state.items()}
    for motion in ("plain", "residual"):
        make_training(folder, System(autoencoder, state, motion == "residual"), motion)
        with torch.no_grad():
            make_sampling(folder, System(autoencoder, state, motion == "residual"), motion)


def draw_text(folder: Folder, purpose: str) -> Tensor:
    return draw_normal(folder.generator(purpose), BATCH, CONFIG["unet"]["cond_dim"])


def make_training(folder: Folder, system: System, motion: str) -> None:
    name = f"{motion}_train"
    generator = folder.generator(name)
    video = draw_clips(BATCH, FRAMES, SIZE, SIZE, generator=generator)
    image, text = video[:, :, 0], draw_text(folder, f"{name} text")
    t, dropped = torch.tensor([44, 3, 52]), torch.tensor([False, True, False])
    (noise,) = draw_noise(folder, f"{name} noise", 1, (BATCH, 3, FRAMES, LATENT, LATENT))
    process, network = system.process, system.network
    with torch.no_grad():
        features = system.features(image)
        positions, occlusion = system.motion(image, video)
        x0 = system.pack(positions, occlusion)
        decoded, warped = system.images(image, positions, occlusion)
    x = process.noised(x0, t, noise)
    eps = network(straightforward.with_features(x, features), t, network.without(text, dropped))
    loss = (eps - noise).square().mean()
    loss.backward()
    with torch.no_grad():
        estimated = process.clipped(process.start(x, t, eps))
        fake, fake_warped = system.images(image, *system.unpack(estimated))

    weight = network.state["init_conv.weight"]
    before, gradient = weight.detach(), weight.grad
    after = before - CONFIG["adam"]["lr"] * gradient / (gradient.abs() + 1e-8)
    values = {"in.ref_img": image, "in.real_vid": video, "in.text_emb": text}
    values |= {"rand.t": t, "rand.noise": noise, "rand.null_cond_mask": dropped}
    values |= {"mid.ref_img_fea": features, "mid.diffusion_x_start": x0}
    values |= {"out.real_vid_grid": positions, "out.real_vid_conf": occlusion}
    values |= {"out.real_out_vid": decoded, "out.real_warped_vid": warped}
    values |= {"out.loss": loss.reshape(1), "out.pred_x0": estimated}
    values |= {"out.fake_out_vid": fake, "out.fake_warped_vid": fake_warped}
    values["out.rec_loss"] = (fake - video).abs().mean().reshape(1)
    values["out.rec_warp_loss"] = (fake_warped - video).abs().mean().reshape(1)
    values |= {"grad.init_conv.weight": gradient, "state_before.init_conv.weight": before}
    values["state_after_adam_lr3e-4.init_conv.weight"] = after
    folder.tensors(f"{HERE}flowdiffusion_{name}", values)


def make_sampling(folder: Folder, system: System, motion: str) -> None:
    name = f"{motion}_sample"
    image = draw_images(BATCH, 3, SIZE, SIZE, generator=folder.generator(name))
    text = draw_text(folder, f"{name} text")
    count = CONFIG["sampling_timesteps"]
    noise = draw_noise(folder, f"{name} noise", count, (BATCH, 3, FRAMES, LATENT, LATENT))
    features = system.features(image)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return system.network(straightforward.with_features(x, features), t, text)

    x0 = system.process.ddim(denoise, noise, count, CONFIG["ddim_sampling_eta"])
    positions, occlusion = system.unpack(x0)
    decoded, warped = system.images(image, positions, occlusion)
    values = {"in.sample_img": image, "in.text_emb": text, "mid.sample_img_fea": features}
    values |= {f"rand.noise.{i:03}": draw for i, draw in enumerate(noise)}
    values |= {"out.sample_vid_grid": positions, "out.sample_vid_conf": occlusion}
    values |= {"out.sample_out_vid": decoded, "out.sample_warped_vid": warped}
    folder.tensors(f"{HERE}flowdiffusion_{name}", values)
