"""Training: one loop for the auto-encoder, the diffusion model, the decoder alone, judge, fast network, and rivals.

Needs the extra `train`: `pip install -e ".[train]"` in a clone.
"""

from .configs import (
    AutoencoderRun,
    DataConfig,
    DecoderRun,
    DiffusionRun,
    DistillRun,
    JudgeRun,
    LoopConfig,
    OptimConfig,
    Preset,
)
from .presets import PRESETS
from .rivals import BothStages, both_stages
from .stages.both import train_both
from .stages.decoder import train_decoder
from .stages.few_steps import train_few_steps
from .stages.finished import load_autoencoder
from .stages.judge import train_judge
from .stages.stage_one import train_autoencoder
from .stages.stage_two import train_diffusion

__all__ = [
    "PRESETS",
    "AutoencoderRun",
    "BothStages",
    "DataConfig",
    "DecoderRun",
    "DiffusionRun",
    "DistillRun",
    "JudgeRun",
    "LoopConfig",
    "OptimConfig",
    "Preset",
    "both_stages",
    "load_autoencoder",
    "train_autoencoder",
    "train_both",
    "train_decoder",
    "train_diffusion",
    "train_few_steps",
    "train_judge",
]
