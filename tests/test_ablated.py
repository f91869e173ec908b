"""LFDM with a part taken out: the part no longer matters, nothing else changes, and files remember which it was."""

from dataclasses import fields, replace

import pytest
import torch
from torch.testing import assert_close

from lfdm_lite.autoencoder import LatentFlowAutoencoder, LFAEConfig
from lfdm_lite.baselines.ablated import AblatedLFAEConfig, AblatedUNet3DConfig
from lfdm_lite.diffusion import DiffusionConfig, GaussianDiffusion
from lfdm_lite.files.variants import construct
from lfdm_lite.motion import Motion
from lfdm_lite.pipeline import LFDM
from lfdm_lite.training import PRESETS, both_stages
from lfdm_lite.unet3d import UNet3D, UNet3DConfig

TINY = PRESETS["tiny"]


def whole(config, kind):
    """The child of a config that has all parts."""
    return kind(**{known.name: getattr(config, known.name) for known in fields(config)})


def autoencoder(**without) -> LatentFlowAutoencoder:
    torch.manual_seed(0)
    return construct(replace(whole(TINY.autoencoder.model, AblatedLFAEConfig), **without)).eval()


def denoiser(**without) -> UNet3D:
    torch.manual_seed(0)
    network = construct(replace(whole(TINY.diffusion.unet, AblatedUNet3DConfig), **without)).eval()
    torch.nn.init.normal_(network.head.weight)  # zeros would answer alike to everything
    return network


@pytest.fixture
def frames():
    return torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_without_occlusion_all_is_visible_whatever_is_said(frames):
    network, plain = autoencoder(occlusion=False), LatentFlowAutoencoder(TINY.autoencoder.model)
    plain.load_state_dict(network.state_dict())
    motion, theirs = network.estimate_motion(*frames), plain.eval().estimate_motion(*frames)
    assert_close(motion.flow, theirs.flow)
    assert motion.occlusion.eq(1).all() and theirs.occlusion.lt(1).all()
    hidden = Motion(motion.flow, torch.zeros_like(motion.occlusion))
    assert_close(network.decode(frames[0], hidden), plain.decode(frames[0], motion))
    assert (plain.decode(frames[0], hidden) - plain.decode(frames[0], motion)).abs().max() > 1e-4


@torch.no_grad()
def test_without_the_image_the_denoiser_answers_alike_for_everyone():
    x, t, label = torch.randn(1, 3, 4, 8, 8), torch.tensor([500]), torch.tensor([1])
    one, other = torch.randn(2, 1, 16, 8, 8)
    blind, seeing = denoiser(given_image=False), denoiser()
    assert_close(blind(x, t, one, label), blind(x, t, other, label))
    assert_close(blind(x, t, one, label), seeing(x, t, torch.zeros_like(one), label))
    assert (seeing(x, t, one, label) - seeing(x, t, other, label)).abs().max() > 1e-3


@torch.no_grad()
def test_with_all_parts_they_are_ours():
    pair = denoiser(), UNet3D(TINY.diffusion.unet).eval()
    pair[1].load_state_dict(pair[0].state_dict())
    given = torch.randn(1, 3, 4, 8, 8), torch.tensor([500]), torch.randn(1, 16, 8, 8), torch.tensor([1])
    assert_close(*(network(*given) for network in pair))


def test_a_folder_remembers_what_was_taken_out(tmp_path):
    unet = replace(denoiser(given_image=False).config, num_labels=2)
    parts = autoencoder(occlusion=False), construct(unet), GaussianDiffusion(DiffusionConfig())
    LFDM(*parts, labels=["a", "b"], image_size=32).save_pretrained(tmp_path / "m")
    model = LFDM.from_pretrained(tmp_path / "m")
    assert not model.autoencoder.config.occlusion and not model.unet.config.given_image
    made = model.generate(torch.rand(3, 32, 32), "a", steps=2, seed=0, progress=False)
    assert made.video.shape == (1, 3, 4, 32, 32)


def test_the_preset_is_that_of_the_rivals_with_all_parts():
    ours, theirs = (both_stages("lfdm", PRESETS[name]) for name in ("ablations64", "rivals64"))
    for given, plain, kind in (
        (ours.first.model, theirs.first.model, LFAEConfig),
        (ours.second.unet, theirs.second.unet, UNet3DConfig),
    ):
        assert all(getattr(given, known.name) == getattr(plain, known.name) for known in fields(kind))
    assert ours.first.model.occlusion and ours.second.unet.given_image
    same = replace(ours.first, model=theirs.first.model), replace(ours.second, unet=theirs.second.unet)
    assert same == (theirs.first, theirs.second)
