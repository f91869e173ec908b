"""Training: one loop for the auto-encoder, the diffusion model, the decoder alone, and the judge.

Needs `pip install "lfdm_lite[train]"`.
"""

from .configs import AutoencoderRun, DataConfig, DecoderRun, DiffusionRun, JudgeRun, LoopConfig, OptimConfig
from .presets import PRESETS, Preset
from .stages.decoder import train_decoder
from .stages.judge import train_judge
from .stages.stage_one import load_autoencoder, train_autoencoder
from .stages.stage_two import train_diffusion

__all__ = [
    "PRESETS",
    "AutoencoderRun",
    "DataConfig",
    "DecoderRun",
    "DiffusionRun",
    "JudgeRun",
    "LoopConfig",
    "OptimConfig",
    "Preset",
    "load_autoencoder",
    "train_autoencoder",
    "train_decoder",
    "train_diffusion",
    "train_judge",
]
