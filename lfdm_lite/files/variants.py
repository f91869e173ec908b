"""Which class a file means: children of our configs by the field `variant`, networks by the class of their config.

What is named here is imported when it is asked for: reading a checkpoint of ours loads nothing else.
"""

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from ..autoencoder import LatentFlowAutoencoder, LFAEConfig
    from ..diffusion import DiffusionConfig, GaussianDiffusion
    from ..unet3d import UNet3D, UNet3DConfig

CONFIGS = {  # the child of a config that a file's field `variant` names
    ("LFAEConfig", "published"): "official.parts.configs.PublishedLFAEConfig",
    ("UNet3DConfig", "published"): "official.parts.configs.PublishedUNet3DConfig",
    ("DiffusionConfig", "published"): "official.parts.configs.PublishedDiffusionConfig",
    ("LFAEConfig", "ablated"): "baselines.ablated.AblatedLFAEConfig",
    ("UNet3DConfig", "ablated"): "baselines.ablated.AblatedUNet3DConfig",
}
BUILT = {  # what is built from a config
    "LFAEConfig": "autoencoder.LatentFlowAutoencoder",
    "UNet3DConfig": "unet3d.UNet3D",
    "DiffusionConfig": "diffusion.GaussianDiffusion",
    "VDMConfig": "baselines.vdm.VDMCodec",
    "LDMConfig": "baselines.ldm.LDMCodec",
    "LaMDConfig": "baselines.lamd.LaMDCodec",
    "UNet2DConfig": "baselines.unet2d.UNet2D",
    "AblatedLFAEConfig": "baselines.ablated.AblatedAutoencoder",
    "AblatedUNet3DConfig": "baselines.ablated.AblatedUNet3D",
    "PublishedLFAEConfig": "official.parts.autoencoder.PublishedAutoencoder",
    "PublishedUNet3DConfig": "official.parts.denoiser.PublishedUNet3D",
    "PublishedDiffusionConfig": "official.parts.diffusion.PublishedDiffusion",
}


def config_class(cls: type, values: Mapping[str, Any]) -> tuple[type, Mapping[str, Any]]:
    """The config that values of a file are of, and the values.

    The first format kept what the published code does otherwise in an object `published`. Where it says nothing that is
    not so by default, it is left out; else its fields are those of the child.

    Args:
        cls: the config that is expected; itself, unless the values say that they are a child's.

    Raises:
        ValueError: an unknown variant.
    """
    if (cls.__name__, "published") in CONFIGS and isinstance(values.get("published"), Mapping):
        first_format = values["published"]
        child = named(CONFIGS[cls.__name__, "published"])
        default = {field.name: field.default for field in fields(child)}
        values = {name: value for name, value in values.items() if name != "published"}
        if any(name not in default or value != default[name] for name, value in first_format.items()):
            values |= {"variant": "published", **first_format}
    variant = values.get("variant")
    if variant is None or any(variant == field.default for field in fields(cls) if field.name == "variant"):
        return cls, values
    if (cls.__name__, variant) not in CONFIGS:
        known = [name for config, name in CONFIGS if config == cls.__name__]
        raise ValueError(f"variant {variant!r} is not one of: {', '.join(known) or 'none'}")
    return named(CONFIGS[cls.__name__, variant]), values


@overload
def construct(config: "LFAEConfig") -> "LatentFlowAutoencoder": ...
@overload
def construct(config: "UNet3DConfig") -> "UNet3D": ...
@overload
def construct(config: "DiffusionConfig") -> "GaussianDiffusion": ...
@overload
def construct(config: Any) -> Any: ...  # of a rival
def construct(config: Any) -> Any:
    """The network or process that a config describes, with fresh weights."""
    return named(BUILT[type(config).__name__])(config)


def named(path: str) -> Any:
    """What a dotted path within the library names."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(f"lfdm_lite.{module}"), name)
