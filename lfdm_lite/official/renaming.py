"""The tensors of the authors' denoiser and of ours: names and shapes, both ways.

Each way is exact: tensors are renamed, reshaped, joined, split and permuted, never computed with. Three things differ
in more than names.

* One first convolution over [noisy motion, z0] is here the sum of two, over one each.
* Rotary embeddings turn the features (2 i, 2 i + 1) there, and (i, i + d / 2) here. The order of a head's features
  means nothing to attention as long as queries and keys share it; so the rows that make them are permuted.
* The vectors of the labels are no part of their state dict: a text encoder makes them. Ours holds them.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..unet3d import UNet3DConfig
from .files import check_names, compare_constants
from .parts.configs import PublishedUNet3DConfig, with_published
from .parts.denoiser import PublishedUNet3D

FIRST = "init_conv.weight"  # over [noisy motion, z0]

RENAMED = (  # our name, a regular expression, and theirs; every rule is applied, in this order
    (r"^positions\.bias\.table", "time_rel_pos_bias.relative_attention_bias"),
    (r"^label\.null$", "null_cond_emb"),
    (r"^conv_motion", "init_conv"),
    (r"^time\.0", "time_mlp.1"),
    (r"^time\.2", "time_mlp.3"),
    (r"^temporal\.", "init_temporal_attn."),
    (r"^middle_(block\d)", r"mid_\1"),
    (r"^middle_(spatial|temporal)", r"mid_\1_attn"),
    (r"^(down|up)\.(\d+)\.blocks", r"\1s.\2"),
    (r"^(down|up)\.(\d+)\.spatial\.to_", r"\1s.\2.2.fn.fn.to_"),  # linear attention has a wrapper less
    (r"^(down|up)\.(\d+)\.spatial", r"\1s.\2.2"),
    (r"^(down|up)\.(\d+)\.temporal", r"\1s.\2.3"),
    (r"^shrink\.(\d+)", r"downs.\1.4"),
    (r"^grow\.(\d+)\.conv", r"ups.\1.4"),
    (r"^last_block\.branches\.0", "final_conv.0"),
    (r"^last_block\.branches\.1", "occlusion_map.0"),
    (r"^head\.heads\.0", "final_conv.1"),
    (r"^head\.heads\.1", "occlusion_map.1"),
    (r"\.condition\.1", ".mlp.1"),
    (r"\.(block\d)\.conv", r".\1.proj"),
    (r"\.skip", ".res_conv"),
    (r"^((?:downs|ups)\.\d+\.[23]|\w+_attn)\.norm\.weight", r"\1.fn.norm.gamma"),
    (r"^((?:downs|ups)\.\d+\.3|\w+_attn)\.to_", r"\1.fn.fn.fn.to_"),
)


def official_name(name: str, config: PublishedUNet3DConfig) -> str:
    """Their name of one of our tensors."""
    if config.upsampling == "nearest":
        name = re.sub(r"^(grow\.\d+)\.conv", r"\1.conv.1", name)  # behind the resizing, in a sequence
    for ours, theirs in RENAMED:
        name = re.sub(ours, theirs, name)
    return name


def official_shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    """Their shape of one of our tensors: as ours, with axes of length 1 put in."""
    if re.search(r"(spatial|temporal)\.norm\.weight$", name):
        return (1, *shape, 1, 1, 1)  # channels of b c t h w
    if re.search(r"^(down|up)\..*\.spatial\.to_\w+\.weight$", name):
        return (*shape, 1, 1)  # a convolution
    return (*shape[:2], 1, *shape[2:]) if len(shape) == 4 else tuple(shape)  # a kernel of one frame


def is_rotated(name: str) -> bool:
    """Whether a tensor makes queries and keys that rotary embeddings turn."""
    return name.endswith("temporal.to_qkv.weight")


def pairs_apart(qkv: Float[Tensor, "hd c"], config: PublishedUNet3DConfig) -> Float[Tensor, "hd c"]:
    """Rows of queries and keys from a head's features in order 0 1 2 3 … to 0 2 4 … 1 3 5 …; those of values stay."""
    qk, v = qkv.split([2 * qkv.shape[0] // 3, qkv.shape[0] // 3])
    heads = qk.reshape(2 * config.heads, config.head_dim // 2, 2, -1)
    return torch.cat([heads.transpose(1, 2).reshape(qk.shape), v])


def pairs_together(qkv: Float[Tensor, "hd c"], config: PublishedUNet3DConfig) -> Float[Tensor, "hd c"]:
    """Inverse of `pairs_apart`."""
    qk, v = qkv.split([2 * qkv.shape[0] // 3, qkv.shape[0] // 3])
    heads = qk.reshape(2 * config.heads, 2, config.head_dim // 2, -1)
    return torch.cat([heads.transpose(1, 2).reshape(qk.shape), v])


def frequencies(config: PublishedUNet3DConfig) -> dict[str, Float[Tensor, " r"]]:
    """The rotary frequencies that they store with every temporal attention, by name."""
    names = [f"{side}.{i}.3" for side in ("downs", "ups") for i in range(len(config.dim_mults))]
    turned = config.rotary_dim or config.head_dim
    value = 1 / 10_000.0 ** (torch.arange(0, turned, 2).float() / turned)
    return {
        f"{name}.fn.fn.fn.rotary_emb.freqs": value.clone()
        for name in ("init_temporal_attn", *names, "mid_temporal_attn")
    }


# A network, both ways


def unet_to_official(tensors: Mapping[str, Tensor], config: UNet3DConfig) -> dict[str, Tensor]:
    """Rename and reshape tensors of our network, or their gradients; without prefix, and without frequencies.

    Raises:
        ValueError: if the config has a part that theirs lacks.
    """
    check_convertible(config)
    published, official = with_published(config), {}
    for name, tensor in tensors.items():
        if name in ("conv_motion.weight", "conv_features.weight", "label.vectors"):
            continue
        if name == "label.null" and not published.learned_null:
            continue
        tensor = pairs_together(tensor, published) if is_rotated(name) else tensor
        official[official_name(name, published)] = tensor.reshape(official_shape(name, tensor.shape))
    if "conv_motion.weight" in tensors:
        first = torch.cat([tensors["conv_motion.weight"], tensors["conv_features.weight"]], dim=1)
        official[FIRST] = first[:, :, None]
    return official


def unet_from_official(
    state: Mapping[str, Tensor], config: PublishedUNet3DConfig, label_vectors: Float[Tensor, "n e"] | None = None
) -> dict[str, Tensor]:
    """Inverse of `unet_to_official`, for `PublishedUNet3D.load_state_dict`; `state` has no prefix.

    Args:
        state: a whole network, with its frequencies.
        config: of `unet_config`.
        label_vectors: what the network was told of each label; None: zeros, to be filled in later.

    Raises:
        CheckpointError: a tensor is missing, unknown or misshapen.
        ValueError: if the config has a part that theirs lacks, or the label vectors do not fit it.
    """
    check_convertible(config)
    with torch.device("meta"):
        expected = PublishedUNet3D(config).state_dict()
    names: dict[str, tuple[int, ...]] = {}
    names[FIRST] = (config.dim, config.channels + config.feature_channels, 1, *2 * (config.init_kernel,))
    for name, tensor in unet_to_official(expected, config).items():
        names[name] = tuple(tensor.shape)
    wanted = frequencies(config)
    names |= {name: tuple(value.shape) for name, value in wanted.items()}
    check_names(state, names)
    compare_constants(state, wanted)

    ours = {}
    for name, tensor in expected.items():
        their_name = official_name(name, config)
        if their_name in state and name != "conv_motion.weight":
            value = state[their_name].reshape(tensor.shape)
            ours[name] = pairs_apart(value, config) if is_rotated(name) else value
    motion, features = state[FIRST][:, :, 0].split([config.channels, config.feature_channels], dim=1)
    ours["conv_motion.weight"], ours["conv_features.weight"] = motion.contiguous(), features.contiguous()

    shape = (config.num_labels, config.label_width)
    vectors = torch.zeros(shape) if label_vectors is None else label_vectors.float()
    if vectors.shape != shape:
        raise ValueError(f"label_vectors are of shape {tuple(vectors.shape)}, expected one per label: {shape}")
    ours["label.vectors"] = vectors
    return {"label.null": torch.zeros(1, config.label_width)} | ours


def check_convertible(config: UNet3DConfig) -> None:
    """Raises a ValueError if the network has a part that theirs lacks, or lacks one."""
    published = with_published(config)
    needed = dict(
        blocks=2, rotary=True, frame_index=False, frame_embedding=False, fixed_labels=True, norm_shift=False,
        attention_bias=False, last_condition=False, first_skip="convolution", patch=1, numbers=(),
    )  # fmt: skip
    for field, value in needed.items():
        if (given := getattr(published, field)) != value:
            raise ValueError(f"{field}={given}: the authors' networks have {value}; see unet_config")
    if set(config.spatial_kinds) != {"linear"} or len(published.split_heads or ()) != 2:
        raise ValueError("the authors' networks have linear spatial attention and two heads; see unet_config")
