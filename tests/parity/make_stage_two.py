"""`dm_small/` of a made folder, without the files that need both stages: the denoiser, the noise process, the chains.

Networks run as `straightforward` functions in float64, noise process and samplers as `plain_process`.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
from torch import Tensor

from lfdm_lite.files.variants import construct
from lfdm_lite.official import denoiser

from ..benchmarks import straightforward
from .drawn import Folder, draw_normal, draw_weights, exact, is_learned
from .plain_process import Process

HERE = "dm_small/"
BATCH, FRAMES, SIZE, STEPS = 3, 7, 6, 90
UNET = {
    "dim": 12,
    "cond_dim": 7,
    "channels": 10,
    "dim_mults": [1, 3],
    "attn_heads": 3,
    "attn_dim_head": 24,
    "out_grid_dim": 3,
    "out_conf_dim": 2,
    "frames": FRAMES,
    "hw": SIZE,
    "batch": BATCH,
    "init_kernel_size": 5,
    "resnet_groups": 4,
}
MOTION = UNET["out_grid_dim"] + UNET["out_conf_dim"]
VARIANTS = {
    "deconv": {},
    "upconv_reflect_lnc": {"use_deconv": False, "padding_mode": "reflect", "learn_null_cond": True},
    "nocond": {"cond_dim": None},
}
SCALES = (0, 1, 1.5, 3)
CHAINS = ((4, 0.0, 1.0), (6, 0.5, 1.0), (6, 1.0, 2.5))  # steps, eta, guidance of DDIM
DDPM_STEPS = 13
TIMES = ((0, 0, 0), (2, 37, 61), (STEPS - 2, STEPS - 2, 5))
PARTS = {  # functions of `straightforward`, the stored names of what they answer, and the tensors' names
    "convolve": {"init_conv": "init_conv", "down0_downsample": "downs.0.4"}
    | {name: f"{name}.1" for name in ("final_conv", "occlusion_map")},
    "residual_block": {"down0_block1": "downs.0.0", "down1_block2": "downs.1.1", "mid_block1": "mid_block1"}
    | {"up1_block2": "ups.1.1"},
    "linear_spatial_attention": {"down1_spatial": "downs.1.2", "up0_spatial": "ups.0.2"},
    "spatial_attention": {"mid_spatial_attn": "mid_spatial_attn"},
    "temporal_attention": {name: name for name in ("init_temporal_attn", "mid_temporal_attn")}
    | {"down0_temporal": "downs.0.3", "up1_temporal": "ups.1.3"},
    "upsample": {"up0_upsample": "ups.0.4"},
}


# The denoiser


def draw_network(folder: Folder, name: str, **variant) -> dict[str, Tensor]:
    """Random weights under the authors' names, which the library gives."""
    shared = {key: UNET[key] for key in UNET if key not in ("frames", "hw", "batch")} | variant
    config = denoiser.unet_config(**shared)
    shapes = denoiser.to_official(construct(config).state_dict(), config, denoiser.diffusion_config())
    shapes = {key.removeprefix(denoiser.PREFIX): t for key, t in shapes.items() if key.startswith(denoiser.PREFIX)}
    return with_quiet_heads(draw_weights(shapes, folder.generator(name)))


def with_quiet_heads(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same network with answers of size 1, as a trained one's: early in a chain x0 is their multiple."""
    heads = ("final_conv.1.weight", "occlusion_map.1.weight")
    return {name: 0.1 * value if name.endswith(heads) else value for name, value in state.items()}


class Network:
    """A stored network in float64, and how it is called."""

    def __init__(self, state: dict[str, Tensor], groups: int, reflect: bool = False, learn: bool = False):
        self.state, self.groups = exact(state, learn), groups
        self.padding = "reflect" if reflect else "constant"

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        """`x` has the features in it."""
        return straightforward.unet(self.state, x, t, condition, self.groups, self.padding)

    def null(self, condition: Tensor) -> Tensor:
        """The vectors of "no condition"."""
        if "null_cond_emb" in self.state:
            return self.state["null_cond_emb"].expand_as(condition)
        return torch.zeros_like(condition)

    def without(self, condition: Tensor, dropped: Tensor) -> Tensor:
        return torch.where(dropped[:, None], self.null(condition), condition)

    def guided(self, x: Tensor, t: Tensor, condition: Tensor, scale: float) -> Tensor:
        """Example by example; both calls whatever the scale."""
        answers = []
        for i in range(len(x)):
            one, step, vector = x[i : i + 1], t[i : i + 1], condition[i : i + 1]
            without = self(one, step, self.null(vector))
            answers.append(without + scale * (self(one, step, vector) - without))
        return torch.cat(answers)


@contextmanager
def recorded() -> Iterator[dict[str, Tensor]]:
    """Inside, answers of the functions in `PARTS` are kept under the stored names."""
    kept: dict[str, Tensor] = {}

    def keeping(function, names):
        def call(state, name, *arguments, **others):
            kept[name] = function(state, name, *arguments, **others)
            return kept[name]

        return call

    def time(state, t, embed=straightforward.time_embedding):
        kept["time_mlp"] = embed(state, t)
        return kept["time_mlp"]

    with ExitStack() as stack:
        for function, names in PARTS.items():
            replaced = keeping(getattr(straightforward, function), names)
            stack.enter_context(patch.object(straightforward, function, replaced))
        stack.enter_context(patch.object(straightforward, "time_embedding", time))
        found: dict[str, Tensor] = {}
        yield found
        for names in PARTS.values():
            found.update({ours: kept[theirs] for ours, theirs in names.items()})
        found["time_mlp"] = kept["time_mlp"]


@contextmanager
def focused() -> Iterator[None]:
    """Inside, frames see themselves alone in every temporal attention but the first."""
    attend = straightforward.temporal_attention

    def alone(state, name, x, bias):
        if name != "init_temporal_attn":
            bias = bias.masked_fill(~torch.eye(bias.shape[-1], dtype=torch.bool), -torch.inf)
        return attend(state, name, x, bias)

    with patch.object(straightforward, "temporal_attention", alone):
        yield


def make_networks(folder: Folder) -> dict[str, dict[str, Tensor]]:
    """States, answers, intermediates and gradients; returns the states."""
    folder.json(HERE + "unet_config", UNET)
    generator = folder.generator("unet inputs")
    x = draw_normal(generator, BATCH, UNET["channels"], FRAMES, SIZE, SIZE)
    condition = draw_normal(generator, BATCH, UNET["cond_dim"])
    target = draw_normal(generator, BATCH, MOTION, FRAMES, SIZE, SIZE)
    t = torch.tensor([0, 23, 71])
    states = {}
    for name, variant in VARIANTS.items():
        state = states[name] = draw_network(folder, name, **variant)
        folder.tensors(f"{HERE}unet_{name}_state", state)
        network = Network(state, UNET["resnet_groups"], "reflect" in name)
        with torch.no_grad():
            if name == "nocond":
                values = {"out": network(x, t, None)}
            else:
                values = {"in.cond": condition} | answers(network, x, t, condition)
        folder.tensors(f"{HERE}unet_{name}_io", {"in.x": x, "in.time": t} | values)

    network = Network(states["deconv"], UNET["resnet_groups"], learn=True)
    loss = (network(x, t, condition) - target).square().mean()
    loss.backward()
    values = {"in.target": target, "loss": loss.reshape(1)} | gradients(network)
    folder.tensors(HERE + "unet_deconv_grad", values)
    return states


def answers(network: Network, x: Tensor, t: Tensor, condition: Tensor) -> dict[str, Tensor]:
    """All that is stored of a network with a condition."""
    with recorded() as inside:
        values = {"out.cond": network(x, t, condition)}
    values |= {f"mid.{name}": value for name, value in inside.items()}
    values["out.null"] = network(x, t, network.null(condition))
    for letters in ("FTF", "TTF"):
        dropped = torch.tensor([letter == "T" for letter in letters])
        values[f"out.none_cond_mask_{letters}"] = network(x, t, network.without(condition, dropped))
    for scale in SCALES:
        values[f"out.cond_scale_{scale}"] = network.guided(x, t, condition, scale)
    with focused():
        alone = network(x, t, condition)
    values["out.focus_present_TTT"] = alone
    values["out.focus_present_FFT"] = torch.stack([*values["out.cond"][:2], alone[2]])
    for count in (9, 53):
        values[f"out.rel_pos_bias_n{count}"] = straightforward.position_bias(network.state, count)
    return values


def gradients(network: Network, below: int | None = None) -> dict[str, Tensor]:
    """Of all parameters, or of those with fewer numbers than `below`."""
    learned = {name: value for name, value in network.state.items() if is_learned(name)}
    return {f"grad.{key}": v.grad for key, v in learned.items() if below is None or v.numel() < below}


# The noise process


def make_process(folder: Folder, state: dict[str, Tensor]) -> None:
    process, network = Process(STEPS), Network(state, UNET["resnet_groups"])
    folder.tensors(f"{HERE}diffusion_T{STEPS}_buffers", process.buffers)
    given = inputs(folder, "process")
    x0, noise, features, condition = (given[f"in.{key}"] for key in ("x0", "noise", "fea", "cond"))
    values = dict(given)
    for times in TIMES:
        t, name = torch.tensor(times), "t" + "_".join(map(str, times))
        x = process.noised(x0, t, noise)
        values[f"out.q_sample.{name}"] = x
        values[f"out.predict_start.{name}"] = in_float32(process, x0, t, noise)
        values[f"out.q_posterior_mean.{name}"] = process.posterior_mean(x0, x, t)
        values[f"out.q_posterior_var.{name}"] = process.at("posterior_variance", t)
        values[f"out.q_posterior_logvar.{name}"] = process.at("posterior_log_variance_clipped", t)

        def mean(scale: float, dynamic: bool, x: Tensor = x, t: Tensor = t) -> Tensor:
            eps = network.guided(straightforward.with_features(x, features), t, condition, scale)
            return process.posterior_mean(process.clipped(process.start(x, t, eps), dynamic), x, t)

        for scale in (1, 1.5):
            values[f"out.p_mean.{name}.cs{scale}"] = mean(scale, dynamic=True)
        values[f"out.p_mean_static.{name}"] = mean(1, dynamic=False)
        drawn = draw_normal(folder.generator(name), *x0.shape)
        values[f"in.p_sample_noise.{name}"] = drawn
        spread = (0.5 * process.at("posterior_log_variance_clipped", t)).exp() * (t > 0).view(-1, 1, 1, 1, 1)
        values[f"out.p_sample.{name}"] = mean(1, dynamic=True) + spread * drawn
    folder.tensors(HERE + "diffusion_io", values)


def in_float32(process: Process, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """x0 again: at the last step a difference of numbers in the thousands, of which float64 would lose nothing."""
    small = Process(process.steps)
    small.buffers = {name: values.float() for name, values in process.buffers.items()}
    return small.start(small.noised(x0.float(), t, noise.float()), t, noise.float())


def inputs(folder: Folder, purpose: str) -> dict[str, Tensor]:
    """Random x0, noise, features and conditions, exactly as they are stored."""
    generator = folder.generator(purpose)
    clip = (BATCH, MOTION, FRAMES, SIZE, SIZE)
    shapes = {"in.x0": clip, "in.noise": clip, "in.cond": (BATCH, UNET["cond_dim"])}
    shapes["in.fea"] = (BATCH, UNET["channels"] - MOTION, SIZE, SIZE)
    drawn = {key: draw_normal(generator, *shape) for key, shape in shapes.items()}
    return drawn | {"in.x0": drawn["in.x0"].clamp(-1, 1)}


def draw_noise(folder: Folder, purpose: str, count: int, shape: tuple[int, ...]) -> list[Tensor]:
    generator = folder.generator(purpose)
    return [draw_normal(generator, *shape) for _ in range(count)]
