"""Which parts the auto-encoder's motion estimator is built from: ours, or those that its config names instead."""

from functools import partial
from typing import Any

from ..geometry import identity_grid, resize
from ..layers import AntiAliasedDownsample
from ..motion import affine_motion, gaussian_heatmaps, sign_of_turn, sparse_motions
from ..regions import Affine, PrincipalFrames
from . import autoencoder as variants

AXIS_SIGNS = {"turn": sign_of_turn, "first": variants.sign_of_first, "none": variants.no_sign}
BACKGROUNDS = {"affine": Affine, "shift": variants.Shift, "perspective": variants.Perspective}


def region_parts(config) -> dict[str, Any]:
    """Of `regions.RegionPredictor`; `config` is an `LFAEConfig`."""

    def frames(channels: int, padding: int):
        if config.frames == "regressed":
            return variants.RegressedFrames(channels, padding)
        return PrincipalFrames(config.frame_soften, config.reflected_frames, config.frame_floor)

    return dict(
        padding=config.region_padding,
        bias=config.conv_bias,
        down=_down(config),
        frames=frames,
        grid_of=_grid_of(config),
    )


def background_parts(config) -> dict[str, Any]:
    """Of `regions.BackgroundPredictor`; `config` is an `LFAEConfig`."""
    return dict(bias=config.conv_bias, down=_down(config), to_motion=BACKGROUNDS[config.background]())


def flow_parts(config) -> dict[str, Any]:
    """Of `motion.FlowPredictor`; `config` is an `LFAEConfig`."""
    grid_of = _grid_of(config)
    bumps = partial(gaussian_heatmaps, spread=config.bump_spread, grid_of=grid_of)
    if config.bump_variance is not None:
        bumps = partial(variants.round_heatmaps, variance=config.bump_variance, grid_of=grid_of)
    motion_of = variants.projective_motion if config.background == "perspective" else affine_motion
    return dict(
        bias=config.conv_bias,
        outside=config.outside,
        shrink=variants.StridedGaussian(3, config.latent_stride) if config.strided_downsampling else resize,
        bumps=bumps,
        motions=partial(sparse_motions, grid_of=grid_of, sign_of=AXIS_SIGNS[config.axis_sign], motion_of=motion_of),
    )


def _down(config) -> type:
    return variants.StridedGaussian if config.strided_downsampling else AntiAliasedDownsample


def _grid_of(config):
    return variants.corner_grid if config.corner_grids else identity_grid
