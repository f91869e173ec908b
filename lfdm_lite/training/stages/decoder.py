"""A new domain: finetune the decoder alone of a finished model, so that it paints what it had not seen."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ...autoencoder import LatentFlowAutoencoder
from ...files.checkpoints import save_module
from ...losses import pyramid_loss
from ...pipeline import LFDM
from ..configs import DecoderRun
from ..engine.core import Engine, Objective
from ..engine.loop import fit
from .clips import cached_clips, seen, to_float
from .finished import KIND, load_finished
from .shards import weights_fingerprint
from .stage_one import draw_pair, picture, reconstruction_psnr

DECODER = ("residual", "up", "merge", "to_image")  # its parts in the auto-encoder


class DecoderObjective(Objective[LatentFlowAutoencoder]):
    """Reconstruction of the driving frame from motion and latent that stay as they are; a mean over the batch.

    What is frozen also keeps its batch norms' statistics: the latent and the motion of a picture do not change.
    """

    def __init__(self, network: LatentFlowAutoencoder, gradient_weight: float):
        super().__init__()
        self.network, self.gradient_weight = network, gradient_weight
        for name, part in network.named_children():
            part.requires_grad_(name in DECODER)

    def train(self, mode: bool = True) -> "DecoderObjective":
        super().train(mode)
        for name, part in self.network.named_children():
            part.train(mode and name in DECODER)
        return self

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        source, driving = to_float(batch["source"]), to_float(batch["driving"])
        with torch.no_grad():
            motion = self.network.estimate_motion(source, driving)
        painted = self.network.decode(source, motion)
        return {"loss": pyramid_loss(painted, driving, gradient_weight=self.gradient_weight)}


def train_decoder(config: DecoderRun, out: Path, resume: bool = False) -> LatentFlowAutoencoder | LFDM:
    """Finetune the decoder of `config.checkpoint` and leave in `out` what that folder holds: both stages, or one.

    Raises:
        CheckpointError: `config.checkpoint` holds no finished model.
    """
    autoencoder, model = load_finished(config.checkpoint)
    with Engine(config, out, resume) as engine:
        clips = cached_clips(config.data, "train", engine.cache, engine)
        val_clips = cached_clips(config.data, "val", engine.cache, engine)
        val = val_clips.whole("video")
        engine.begin(seen(clips, val_clips) | {"checkpoint": weights_fingerprint(autoencoder)})
        network = fit(
            engine,
            DecoderObjective(autoencoder, config.gradient_weight),
            clips,
            partial(draw_pair, from_rest=config.from_rest),
            validate=lambda network: {"psnr": reconstruction_psnr(network, val)},
            score=lambda found: found["psnr"],
            sample=lambda network, path: picture(network, val[:6], path),
        )
        if model is not None:
            model.autoencoder = network
        if engine.main and model is not None:
            model.save_pretrained(out)
        elif engine.main:
            save_module(out, network, KIND, {"model": asdict(network.config)})
        engine.wait()
        return network if model is None else model.eval()
