"""The denoiser of stage two: answers, intermediates and gradients of the stored networks."""

import re

import torch
from einops import rearrange
from torch import Tensor, nn

from lfdm_lite.files.variants import construct
from lfdm_lite.official import denoiser
from lfdm_lite.official.renaming import unet_from_official, unet_to_official
from lfdm_lite.samplers import guided
from lfdm_lite.unet3d import UNet3D, UNet3DConfig

from .report import TOLERANCE, Golden, Report

FOLDER = "dm_small/"
MODULES = (  # names of the stored intermediates, and the module of ours whose answer each is
    (r"down(\d+)_block([12])", lambda i, j: f"down.{i}.blocks.{int(j) - 1}"),
    (r"down(\d+)_(spatial|temporal)", lambda i, kind: f"down.{i}.{kind}"),
    (r"down(\d+)_downsample", lambda i: f"shrink.{i}"),
    (r"up(\d+)_block([12])", lambda i, j: f"up.{i}.blocks.{int(j) - 1}"),
    (r"up(\d+)_(spatial|temporal)", lambda i, kind: f"up.{i}.{kind}"),
    (r"up(\d+)_upsample", lambda i: f"grow.{i}"),
    (r"mid_block([12])", lambda i: f"middle_block{i}"),
    (r"mid_(spatial|temporal)_attn", lambda kind: f"middle_{kind}"),
    (r"init_temporal_attn", lambda: "temporal"),
    (r"time_mlp", lambda: "time"),
    (r"final_conv", lambda: "head.heads.0"),
    (r"occlusion_map", lambda: "head.heads.1"),
)


def compare(report: Report) -> None:
    """All networks that the folder holds."""
    for name in report.glob(FOLDER + "unet_*_io.safetensors"):
        with report.section(f"network {name}"):
            compare_network(report, name)
    for part in (compare_sizes, compare_gradients, compare_tables):
        with report.section(part.__name__):
            part(report)


def network_config(report: Report, state: dict[str, Tensor], reflect: bool, num_labels: int) -> UNet3DConfig:
    """Our config of a stored network: sizes from the folder's config, variants from its tensors."""
    sizes = report.open(FOLDER + "unet_config.json")
    shared = ("dim", "channels", "dim_mults", "attn_heads", "attn_dim_head", "init_kernel_size", "resnet_groups")
    return denoiser.unet_config(
        **{name: sizes.given(name) for name in shared},
        out_grid_dim=len(state["final_conv.1.weight"]),
        out_conf_dim=len(state["occlusion_map.1.weight"]),
        cond_dim=state["mid_block1.mlp.1.weight"].shape[1] - state["time_mlp.3.weight"].shape[0],
        use_deconv="ups.0.4.weight" in state,
        padding_mode="reflect" if reflect else "zeros",
        learn_null_cond="null_cond_emb" in state,
        num_labels=num_labels,
    )


def load_network(report: Report, variant: str, labels: Tensor | None, batch: int) -> UNet3D:
    """The stored network of that name; row i of its label table is example i's vector."""
    state = report.open(f"{FOLDER}unet_{variant}_state.safetensors").state()
    config = network_config(report, state, "reflect" in variant, batch)
    unet = construct(config).eval()
    unet.load_state_dict(unet_from_official(state, config, labels), strict=True)
    return unet


def compare_sizes(report: Report) -> None:
    """What the folder's config says, against the network and inputs that it holds."""
    golden = report.open(FOLDER + "unet_config.json")
    inputs = report.open(FOLDER + "unet_deconv_io.safetensors")
    if golden is None or inputs is None:
        return
    x, labels = inputs.given("in.x"), inputs.given("in.cond")
    config = load_network(report, "deconv", labels, len(x)).config
    flow, occlusion = config.split_heads
    ours = dict(batch=len(x), frames=x.shape[2], hw=x.shape[3], cond_dim=config.label_dim)
    for key, value in (ours | dict(out_grid_dim=flow, out_conf_dim=occlusion)).items():
        report.check(key, value, golden, key)


def split_channels(unet: UNet3D, x: Tensor) -> tuple[Tensor, Tensor]:
    """Noisy motion, and one map of features per frame."""
    return x[:, : unet.config.channels], x[:, unet.config.channels :]


def compare_network(report: Report, name: str) -> None:
    golden, variant = report.open(name), re.search(r"unet_(\w+)_io", name)[1]
    x, t = golden.given("in.x"), golden.given("in.time")
    batch = len(x)
    unet = load_network(report, variant, golden.given("in.cond") if "in.cond" in golden else None, batch)
    motion, features = split_channels(unet, x)
    label, null = torch.arange(batch), torch.full((batch,), unet.null_label)

    with torch.no_grad():
        answer, inside = unet_with_intermediates(unet, motion, t, features, label)
        with denoiser.focus_present(unet):
            focused = unet(motion, t, features, label)

        def chosen(letters: str, if_true: Tensor, if_false: Tensor) -> Tensor:
            mask = torch.tensor([letter == "T" for letter in letters])
            return torch.where(mask.view(-1, *[1] * (if_true.ndim - 1)), if_true, if_false)

        for key in golden.keys("mid."):
            report.check(key, inside[key.removeprefix("mid.")], golden, key)
        for key in golden.keys("out"):
            match key.removeprefix("out.").split("_"):
                case ["out"] | ["cond"]:
                    ours = answer
                case ["null"]:
                    ours = unet(motion, t, features, null)
                case ["none", "cond", "mask", letters]:
                    ours = unet(motion, t, features, chosen(letters, null, label))
                case ["cond", "scale", scale]:
                    ours = guided(unet, features, label, float(scale))(motion, t)
                case ["focus", "present", letters]:  # clips of a batch do not see each other
                    ours = chosen(letters, focused, answer)
                case ["rel", "pos", "bias", frames]:
                    ours = unet.positions(int(frames.removeprefix("n"))).bias
                case _:
                    continue  # listed as not read
            report.check(key, ours, golden, key)


def unet_with_intermediates(unet: UNet3D, *inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The network's answer, and those of its modules under the names of the stored ones, as clips."""
    inside: dict[str, Tensor] = {}
    batch = len(inputs[0])

    def keep(name: str, value: Tensor) -> None:
        inside[name] = rearrange(value, "(b t) c h w -> b c t h w", b=batch) if value.ndim == 4 else value

    official = {}
    for side in ("down", "up"):
        for i in range(len(unet.config.dim_mults)):
            official |= dict.fromkeys(f"{side}{i}_{part}" for part in ("block1", "block2", "spatial", "temporal"))
    for i in range(len(unet.shrink)):
        official |= dict.fromkeys((f"down{i}_downsample", f"up{i}_upsample"))
    official |= dict.fromkeys(
        ("mid_block1", "mid_block2", "mid_spatial_attn", "mid_temporal_attn", "init_temporal_attn", "time_mlp")
        + ("final_conv", "occlusion_map")
    )
    hooks = [unet.temporal.register_forward_pre_hook(lambda module, given: keep("init_conv", given[0]))]
    for name in official:
        module = unet.get_submodule(our_module(name))
        hooks.append(module.register_forward_hook(lambda module, given, value, name=name: keep(name, value)))
    answer = unet(*inputs)
    for hook in hooks:
        hook.remove()
    return answer, inside


def our_module(name: str) -> str:
    """Our module whose answer the stored intermediate `name` is."""
    for pattern, ours in MODULES:
        if match := re.fullmatch(pattern, name):
            return ours(*match.groups())
    raise ValueError(f"no module answers {name}")


def official_gradients(unet: UNet3D) -> dict[str, Tensor]:
    """Gradients of all parameters under the authors' names: they are renamed and permuted as the parameters are."""
    return unet_to_official({name: parameter.grad for name, parameter in unet.named_parameters()}, unet.config)


def compare_gradients(report: Report) -> None:
    for name in report.glob(FOLDER + "unet_*_grad.safetensors"):
        golden, variant = report.open(name), re.search(r"unet_(\w+)_grad", name)[1]
        inputs = report.open(f"{FOLDER}unet_{variant}_io.safetensors")
        target, x, t = golden.given("in.target"), inputs.given("in.x"), inputs.given("in.time")
        unet = load_network(report, variant, inputs.given("in.cond") if "in.cond" in inputs else None, len(x))
        motion, features = split_channels(unet, x)
        loss = nn.functional.mse_loss(unet(motion, t, features, torch.arange(len(x))), target)
        loss.backward()
        report.check("loss", loss.reshape(1), golden, "loss")
        check_gradients(report, golden, official_gradients(unet))


def check_gradients(report: Report, golden: Golden, gradients: dict[str, Tensor]) -> None:
    """Gradients have no natural scale of 1, so that of each tensor is its own: 2e-5 of its largest value.

    Biases before a group norm of one channel per group have none at all; what is stored of these is rounding. So the
    scale is at least a hundredth of the largest gradient in the network.
    """
    keys = golden.keys("grad.")
    largest = max(golden.values[key].abs().max().item() for key in keys)
    for key in keys:
        own = golden.values[key].abs().max().item()
        allowed = TOLERANCE * max(own, 0.01 * largest)
        report.check(key, gradients[key.removeprefix("grad.")], golden, key, relative=allowed / max(1.0, own))


# ---------------------------------------------------------------- the full-size networks, names and shapes alone

FULL_SIZE = {  # what tells the published networks apart
    "mug128": denoiser.unet_config(use_bert_text_cond=True),
    "mhad128": denoiser.unet_config(use_bert_text_cond=True),
    "natops128": denoiser.unet_config(
        use_bert_text_cond=True, learn_null_cond=True, use_deconv=False, padding_mode="reflect"
    ),
}


def full_size(name: str) -> tuple[UNet3D, dict[str, list]]:
    """A published network without memory, and the authors' key -> [shape, type] of its whole diffusion model."""
    with torch.device("meta"):
        unet = construct(FULL_SIZE[name])
    state = denoiser.to_official(unet.state_dict(), unet.config, denoiser.diffusion_config())
    return unet, {key: [list(value.shape), str(value.dtype).removeprefix("torch.")] for key, value in state.items()}


def count_parameters(unet: UNet3D) -> int:
    return sum(parameter.numel() for parameter in unet.parameters())


def compare_tables(report: Report) -> None:
    golden = report.open("keys_mug128_dm.json")
    if golden is None:
        return
    golden.given("outer")  # the layout of the file, in words
    unet, table = full_size("mug128")
    report.check("full-size tensors", table, golden, "diffusion")
    report.check("parameters", {"diffusion": count_parameters(unet)}, golden, "param_counts")
    optimizer = Golden(f"{golden.name} optimizer", {"shapes": {}} | golden.given("optimizer_diff"))
    learned = unet_to_official({name: value for name, value in unet.named_parameters()}, unet.config)
    ours = sorted([denoiser.PREFIX + name, list(value.shape)] for name, value in learned.items())
    optimizer.values["shapes"] = sorted([name, shape] for _, name, shape in optimizer.given("index_name_shape"))
    report.check("what is trained", ours, optimizer, "shapes")
    for name in report.glob("keys_*128_diff_to_mug128.json"):
        other = full_size(re.search(r"keys_(\w+?)_diff", name)[1])[1]
        shared = set(table) & set(other)
        difference = {
            "only_mug": {key: value for key, value in table.items() if key not in other},
            "only_here": {key: value for key, value in other.items() if key not in table},
            "shape_changed": {key: other[key] for key in shared if table[key] != other[key]},
        }
        report.check("full-size tensors", difference, report.open(name), "diffusion")
