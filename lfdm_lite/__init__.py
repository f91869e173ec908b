"""`lfdm_lite`: latent flow diffusion, small and complete. An image and a label become a video.

The modules read in the order in which data flows: geometry, flow, layers, regions, motion, autoencoder, losses;
unet3d, diffusion, samplers; pipeline. What a name stands for is imported when it is first used.
"""

import os
import sys
from importlib import import_module
from typing import Any

# OpenMP's threads wait for each other by keeping a core each, which makes a machine with other work ten times slower.
# It is asked once, when torch is first imported: after that it is too late, and `check_environment` says so.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_WHERE = {
    "geometry": ["identity_grid", "warp", "resize"],
    "flow": ["flow_to_rgb", "end_point_error", "lucas_kanade", "horn_schunck"],
    "motion": ["Motion"],
    "autoencoder": ["LFAEConfig", "LatentFlowAutoencoder"],
    "conditions": ["NumberRange"],
    "unet3d": ["UNet3D", "UNet3DConfig"],
    "diffusion": ["DiffusionConfig", "GaussianDiffusion"],
    "samplers": ["guided", "sample"],
    "evaluation.judges": ["VideoClassifier", "VideoClassifierConfig"],
    "files.assets": ["asset"],
    "files.machine.packages": ["check_environment"],
    "files.reading": ["CheckpointError"],
    "pipeline": ["LFDM"],
    "generated": ["GeneratedVideo"],
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}
_MODULES = {
    *(module for module in _WHERE if "." not in module),
    *("attention", "data", "evaluation", "files", "layers", "losses", "official", "regions"),
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
