"""`lfdm_lite`: latent flow diffusion, small and complete. An image and a label become a video.

The modules read in the order in which data flows: geometry, flow, layers, regions, motion, autoencoder, losses;
unet3d, diffusion, samplers; pipeline. What a name stands for is imported when it is first used.
"""

from importlib import import_module
from typing import Any

_WHERE = {
    "geometry": ["identity_grid", "warp", "resize"],
    "flow": ["flow_to_rgb", "end_point_error", "lucas_kanade", "horn_schunck"],
    "motion": ["Motion"],
    "autoencoder": ["LFAEConfig", "LatentFlowAutoencoder"],
    "unet3d": ["UNet3D", "UNet3DConfig"],
    "diffusion": ["DiffusionConfig", "GaussianDiffusion"],
    "samplers": ["guided", "sample"],
    "evaluation.judges": ["VideoClassifier", "VideoClassifierConfig"],
    "files.assets": ["asset"],
    "files.reading": ["CheckpointError"],
    "pipeline": ["LFDM"],
    "generated": ["GeneratedVideo"],
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}
_MODULES = {
    *(module for module in _WHERE if "." not in module),
    *("attention", "data", "evaluation", "files", "layers", "losses", "official", "perceptual", "regions"),
    *("training", "viz"),
}

__all__ = sorted(_MODULE_OF)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module 'lfdm_lite' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
