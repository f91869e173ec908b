"""Which class a file means: ours, or a child of ours; and files of the first format."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

import lfdm_lite as lfdm
from lfdm_lite import DiffusionConfig, GaussianDiffusion, LatentFlowAutoencoder, LFAEConfig, UNet3D, UNet3DConfig
from lfdm_lite.files.models.configs import make_config
from lfdm_lite.files.reading import CheckpointError
from lfdm_lite.files.variants import construct
from lfdm_lite.official.parts.autoencoder import PublishedAutoencoder
from lfdm_lite.official.parts.configs import (
    PublishedDiffusionConfig,
    PublishedLFAEConfig,
    PublishedUNet3DConfig,
    with_published,
)
from lfdm_lite.official.parts.denoiser import PublishedUNet3D
from lfdm_lite.official.parts.diffusion import PublishedDiffusion

from .test_pipeline import tiny_model

PAIRS = {
    LFAEConfig: (LatentFlowAutoencoder, PublishedLFAEConfig, PublishedAutoencoder, {"corner_grids": True}),
    UNet3DConfig: (UNet3D, PublishedUNet3DConfig, PublishedUNet3D, {"norm_shift": False}),
    DiffusionConfig: (GaussianDiffusion, PublishedDiffusionConfig, PublishedDiffusion, {"early_alpha_bar": True}),
}


@pytest.mark.parametrize("ours", PAIRS, ids=lambda cls: cls.__name__)
def test_a_config_comes_back_as_the_class_that_it_was_written_from(ours):
    network, child, published, change = PAIRS[ours]
    for config, built in ((ours(), network), (with_published(ours(), **change), published)):
        values = json.loads(json.dumps(asdict(config)))
        back = make_config(ours, values, "here")
        assert back == config and type(construct(back)) is built
    assert type(make_config(child, {}, "here")) is child
    assert "variant" not in asdict(ours()), "files of ours stay as they were"


@pytest.mark.parametrize("ours", PAIRS, ids=lambda cls: cls.__name__)
def test_the_first_formats_object_of_published_fields_is_ours_at_its_defaults_and_else_a_child(ours):
    _, child, _, change = PAIRS[ours]
    own = {name: value for name, value in asdict(child()).items() if name not in (*asdict(ours()), "variant")}
    first = json.loads(json.dumps(asdict(ours()) | {"published": own}))
    assert make_config(ours, first, "here") == ours()
    first["published"] |= change
    assert make_config(ours, first, "here") == with_published(ours(), **change)
    assert make_config(ours, {"published": {}}, "here") == ours()


def test_what_no_class_answers_to_is_refused_by_name():
    with pytest.raises(CheckpointError, match="here: variant 'mine' is not one of: published"):
        make_config(LFAEConfig, {"variant": "mine"}, "here")
    with pytest.raises(CheckpointError, match="unknown field 'corner_girds'"):
        make_config(LFAEConfig, {"published": {"corner_girds": True}}, "here")


def test_a_saved_model_with_one_switch_generates_the_same_when_it_is_read(tmp_path):
    model = tiny_model()
    autoencoder = construct(with_published(model.autoencoder.config, corner_grids=True, outside="zeros"))
    autoencoder.load_state_dict(model.autoencoder.state_dict())
    diffusion = construct(with_published(model.diffusion.config, early_alpha_bar=True, ddim_eta=1.0))
    switched = lfdm.LFDM(autoencoder, model.unet, diffusion, model.labels, model.image_size).eval()
    switched.save_pretrained(tmp_path)
    back = lfdm.LFDM.from_pretrained(tmp_path)
    assert type(back.autoencoder) is PublishedAutoencoder and type(back.unet) is UNet3D
    image = torch.rand(3, model.image_size, model.image_size)
    how = dict(sampler="ddim", steps=3, seed=1, progress=False)
    found = [made.generate(image, 0, **how).video for made in (switched, back, model)]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


@pytest.mark.parametrize("folder", ["faces64", "faces128cpu"])
def test_the_shipped_models_are_ours(folder):
    model = lfdm.LFDM.from_pretrained(Path(__file__).parents[1] / "assets" / "checkpoints" / folder)
    parts = model.autoencoder, model.unet, model.diffusion
    assert [type(part) for part in parts] == [LatentFlowAutoencoder, UNet3D, GaussianDiffusion]
