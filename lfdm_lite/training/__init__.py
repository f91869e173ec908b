"""Training: one loop for the auto-encoder, the diffusion model and the judge.

Needs `pip install "lfdm_lite[train]"`.
"""

from .configs import PRESETS, AutoencoderRun, DataConfig, DiffusionRun, JudgeRun, LoopConfig, OptimConfig, Preset
from .judge import train_judge
from .stage_one import load_autoencoder, train_autoencoder
from .stage_two import train_diffusion

__all__ = [
    "PRESETS",
    "AutoencoderRun",
    "DataConfig",
    "DiffusionRun",
    "JudgeRun",
    "LoopConfig",
    "OptimConfig",
    "Preset",
    "load_autoencoder",
    "train_autoencoder",
    "train_diffusion",
    "train_judge",
]
