"""The authors' auto-encoder out of our modules; their three state dicts, both ways.

Each way is exact: tensors are renamed, and the channels that the flow predictor looks at are permuted, never computed
with. Two things differ in more than names.

* Their flow predictor sees, motion by motion, a bump and three colours; ours all bumps, then all reds, and so on.
* They store the kernels of the anti-aliased down-sampling; ours are made from a formula, and checked when read.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..autoencoder import LFAEConfig
from .files import AUTOENCODER_PARTS, check_names, compare_constants
from .parts.autoencoder import BACKGROUNDS, PublishedAutoencoder
from .parts.configs import PublishedLFAEConfig, with_published
from .parts.stage_one import StridedGaussian

# The network

PAPER: dict[str, Any] = {  # sizes of the published networks, in the layout of the authors' config files
    "model_params": {
        "num_regions": 10,
        "num_channels": 3,
        "estimate_affine": True,
        "revert_axis_swap": True,
        "bg_predictor_params": {"block_expansion": 32, "max_features": 1024, "num_blocks": 5, "bg_type": "affine"},
        "region_predictor_params": {
            "temperature": 0.1,
            "block_expansion": 32,
            "max_features": 1024,
            "scale_factor": 0.25,
            "num_blocks": 5,
            "pca_based": True,
        },
        "generator_params": {
            "block_expansion": 64,
            "max_features": 256,
            "num_down_blocks": 2,
            "num_bottleneck_blocks": 6,
            "skips": True,
            "pixelwise_flow_predictor_params": {
                "block_expansion": 64,
                "max_features": 1024,
                "num_blocks": 5,
                "scale_factor": 0.25,
                "use_deformed_source": True,
                "use_covar_heatmap": True,
                "estimate_occlusion_map": True,
            },
        },
    }
}


def lfae_config(official: Mapping[str, Any], region_padding: int = 3) -> PublishedLFAEConfig:
    """Our config of one of their networks.

    Args:
        official: their config file; what lies below `model_params` is read.
        region_padding: of the heat maps' convolution, which their file does not say: 3 for MUG, 0 for MHAD and NATOPS.

    Raises:
        ValueError: if the file lacks an entry, or asks for a network that we cannot build.
    """
    try:
        return _lfae_config(official["model_params"], region_padding)
    except KeyError as error:
        raise ValueError(f"the authors' config has no entry {error}") from None


def _lfae_config(model: Mapping[str, Any], region_padding: int) -> PublishedLFAEConfig:
    generator, regions = model["generator_params"], model["region_predictor_params"]
    background = model["bg_predictor_params"]
    flow = generator["pixelwise_flow_predictor_params"]
    _need("num_channels", model["num_channels"], 3)
    _need("estimate_affine", model["estimate_affine"], True)
    _need("use_deformed_source", flow["use_deformed_source"], True)
    _need("estimate_occlusion_map", flow["estimate_occlusion_map"], True)
    kind = background["bg_type"]
    if kind not in BACKGROUNDS:
        raise ValueError(f"the authors' config has bg_type {kind!r}; known are {', '.join(BACKGROUNDS)}")
    _need("scale_factor of the flow predictor", flow["scale_factor"], 0.5 ** generator["num_down_blocks"])
    width, num_down = generator["block_expansion"], generator["num_down_blocks"]
    return PublishedLFAEConfig(
        num_regions=model["num_regions"],
        width=width,
        latent_channels=min(generator["max_features"], width * 2**num_down),
        num_down=num_down,
        num_residual=generator["num_bottleneck_blocks"],
        skips=generator["skips"],
        region_width=regions["block_expansion"],
        region_depth=regions["num_blocks"],
        region_max_width=regions["max_features"],
        region_downscale=_factor(regions["scale_factor"]),
        temperature=regions["temperature"],
        flow_width=flow["block_expansion"],
        flow_depth=flow["num_blocks"],
        flow_max_width=flow["max_features"],
        background_width=2 * background["block_expansion"],
        background_depth=background["num_blocks"],
        corner_grids=True,
        outside="zeros",
        region_padding=region_padding,
        frames="principal" if regions["pca_based"] else "regressed",
        reflected_frames=True,
        frame_soften=0.0,
        frame_floor=1e-12,
        axis_sign="first" if model["revert_axis_swap"] else "none",
        bump_spread=0.0,
        bump_variance=None if flow["use_covar_heatmap"] else 0.01,
        background=kind,
        background_max_width=background["max_features"],
        background_downscale=_factor(background.get("scale_factor", 1)),
        strided_downsampling=True,
        conv_bias=True,
        absolute_resize=True,
        blend_skips=generator["skips"],
        blend_source=generator["skips"],
    )


def _factor(scale: float | int) -> int:
    """Their scale 1/4 is our reduction by 4."""
    factor = round(1 / scale)
    _need("a scale factor", scale, 1 / factor)
    return factor


def _need(name: str, value: Any, needed: Any) -> None:
    if value != needed:
        raise ValueError(f"the authors' config has {value!r} for {name}; only {needed!r} can be built")


# Names

RENAMED = (  # our name, a regular expression, and theirs; every rule is applied, in this order
    (r"^(stem|down\.\d+|up\.\d+\.conv)\.", r"generator.\1."),
    (r"^residual\.(\d+)\.body", r"generator.bottleneck.r\1"),
    (r"^to_image", "generator.final"),
    (r"^flow\.hourglass", "generator.pixelwise_flow_predictor.hourglass"),
    (r"^flow\.to_weights", "generator.pixelwise_flow_predictor.mask"),
    (r"^flow\.to_occlusion", "generator.pixelwise_flow_predictor.occlusion"),
    (r"^regions\.hourglass", "region_predictor.predictor"),
    (r"^regions\.to_logits", "region_predictor.regions"),
    (r"^regions\.frames\.to_matrix", "region_predictor.jacobian"),
    (r"^background\.to_affine", "bg_predictor.fc"),
    (r"^background\.encoder", "bg_predictor.down"),
    (r"generator\.stem", "generator.first"),
    (r"(hourglass|predictor|bg_predictor)\.down\.", r"\1.encoder.down."),
    (r"(hourglass|predictor)\.up\.", r"\1.decoder.up."),
    (r"\.(down|up)\.(\d+)", r".\1_blocks.\2"),
    (r"(_blocks\.\d+)\.conv", r"\1"),
    (r"(first|_blocks\.\d+)\.0\.", r"\1.conv."),
    (r"(first|_blocks\.\d+)\.1\.", r"\1.norm."),
    (r"(bottleneck\.r\d+)\.0\.", r"\1.norm1."),
    (r"(bottleneck\.r\d+)\.2\.", r"\1.conv1."),
    (r"(bottleneck\.r\d+)\.3\.", r"\1.norm2."),
    (r"(bottleneck\.r\d+)\.5\.", r"\1.conv2."),
)

ORDER = (  # in which their networks list their parts: their names, each a regular expression
    r"generator\.pixelwise_flow_predictor\.hourglass\.encoder",
    r"generator\.pixelwise_flow_predictor\.hourglass\.decoder",
    r"generator\.pixelwise_flow_predictor\.mask",
    r"generator\.pixelwise_flow_predictor\.occlusion",
    r"generator\.pixelwise_flow_predictor\.down",
    r"generator\.first",
    r"generator\.down_blocks",
    r"generator\.up_blocks",
    r"generator\.bottleneck",
    r"generator\.final",
    r"region_predictor\.predictor\.encoder",
    r"region_predictor\.predictor\.decoder",
    r"region_predictor\.regions",
    r"region_predictor\.jacobian",
    r"region_predictor\.down",
    r"bg_predictor",
)


def official_name(name: str) -> str:
    """Their name of one of our tensors, with the name of its state dict in front."""
    for ours, theirs in RENAMED:
        name = re.sub(ours, theirs, name)
    return name


def official_order(names: Iterable[str]) -> list[str]:
    """Their names in the order of their state dicts and of their optimizer."""

    def rank(name: str) -> tuple[int, tuple[str, ...]]:
        part = next(i for i, pattern in enumerate(ORDER) if re.match(pattern, name))
        block = re.search(r"bottleneck\.(r\d+)\.(conv1|conv2|norm1|norm2)", name)  # convolutions before norms
        return part, (f"{int(block[1][1:]):04}", block[2]) if block else ()

    return sorted(names, key=rank)  # stable: tensors of one part stay as they were


def official_parameter_order(config: PublishedLFAEConfig) -> list[str]:
    """Names of our parameters in the order in which their optimizer numbers them."""
    with torch.device("meta"):
        names = {official_name(name): name for name, _ in PublishedAutoencoder(config).named_parameters()}
    return [names[name] for name in official_order(names)]


# Channels


def _sees_motions(name: str) -> bool:
    """Whether a tensor's input channels end with what the flow predictor sees of every motion."""
    return bool(re.match(r"flow\.(hourglass\.down\.0\.0|to_weights|to_occlusion)\.weight$", name))


def _swap(weight: Tensor, rows: int, columns: int) -> Tensor:
    """Reorder the last `rows * columns` input channels from row by row to column by column."""
    features, seen = weight.split([weight.shape[1] - rows * columns, rows * columns], dim=1)
    seen = seen.unflatten(1, (rows, columns)).transpose(1, 2).flatten(1, 2)
    return torch.cat([features, seen], dim=1)


# State dicts, both ways


def tensors_to_official(tensors: Mapping[str, Tensor], config: PublishedLFAEConfig) -> dict[str, Tensor]:
    """Rename and permute tensors of our network, or their gradients; kernels are not added. In their order."""
    official = {}
    for name, tensor in tensors.items():
        value = _swap(tensor, 4, config.num_regions + 1) if _sees_motions(name) else tensor
        official[official_name(name)] = value
    return {name: official[name] for name in official_order(official)}


def kernels(config: PublishedLFAEConfig) -> dict[str, Tensor]:
    """The kernels of the anti-aliased down-sampling that they store, by name."""
    factors = {"generator.pixelwise_flow_predictor.down.weight": config.latent_stride}
    factors["region_predictor.down.weight"] = config.region_downscale
    return {name: StridedGaussian(3, factor).kernel for name, factor in factors.items() if factor > 1}


def to_official(state: Mapping[str, Tensor], config: LFAEConfig) -> dict[str, dict[str, Tensor]]:
    """Their state dicts `generator`, `region_predictor` and `bg_predictor` of one of ours.

    Args:
        state: of a `PublishedAutoencoder`.
        config: its config, of `lfae_config`.

    Raises:
        ValueError: if the config has a part that theirs lacks.
    """
    check_convertible(config)
    official = tensors_to_official(state, published := with_published(config)) | kernels(published)
    return _split({name: official[name] for name in official_order(official)})


def from_official(states: Mapping[str, Mapping[str, Tensor]], config: PublishedLFAEConfig) -> dict[str, Tensor]:
    """Inverse of `to_official`, for `PublishedAutoencoder.load_state_dict`.

    Args:
        states: their three state dicts.
        config: of `lfae_config`.

    Raises:
        CheckpointError: a tensor is missing, unknown or misshapen. A kernel that is not its formula's is warned of.
        ValueError: if the config has a part that theirs lacks.
    """
    check_convertible(config)
    given = {f"{part}.{name}": tensor for part in AUTOENCODER_PARTS for name, tensor in states.get(part, {}).items()}
    with torch.device("meta"):
        expected = PublishedAutoencoder(config).state_dict()
    wanted = kernels(config)
    check_names(given, {name: tuple(t.shape) for name, t in (tensors_to_official(expected, config) | wanted).items()})
    compare_constants(given, wanted)
    ours = {}
    for name in expected:
        tensor = given[official_name(name)]
        ours[name] = _swap(tensor, config.num_regions + 1, 4) if _sees_motions(name) else tensor
    return ours


def check_convertible(config: LFAEConfig) -> None:
    """Raises a ValueError if the network has a part that theirs lacks, or lacks one."""
    published = with_published(config)
    needed = dict(conv_bias=True, strided_downsampling=True, blend_skips=config.skips)
    for field, value in needed.items():
        if (given := getattr(published, field)) != value:
            raise ValueError(f"{field}={given}: the authors' networks have {value}; see lfae_config")


def _split(official: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """One state dict per network."""
    states: dict[str, dict[str, Tensor]] = {part: {} for part in AUTOENCODER_PARTS}
    for name, tensor in official.items():
        part, _, key = name.partition(".")
        states[part][key] = tensor
    return states
