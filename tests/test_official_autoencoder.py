"""The authors' auto-encoder out of our modules: state dicts both ways, sizes of the published one, stored numbers."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from lfdm_lite.autoencoder import LatentFlowAutoencoder, LFAEConfig
from lfdm_lite.evaluation.perceptual import PerceptualFeatures
from lfdm_lite.files.reading import CheckpointError
from lfdm_lite.files.variants import construct
from lfdm_lite.losses import perceptual_loss
from lfdm_lite.official.autoencoder import (
    PAPER,
    from_official,
    lfae_config,
    official_name,
    official_parameter_order,
    to_official,
)
from lfdm_lite.official.objective import ObjectiveConfig, StageOneObjective, objective_config
from lfdm_lite.official.parts.configs import PublishedLFAEConfig, with_published
from lfdm_lite.training import PRESETS

from .parity import stage_one, tables
from .parity.report import Report

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "parity" / "data"
SMALL = json.loads((DATA / "lfae_small" / "config.json").read_text())


def randomize(module, seed=0):
    """Random values of every kind, so that nothing that is equal by chance looks converted."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in module.state_dict().values():
        draw = torch.rand(tensor.shape, generator=generator)
        tensor.copy_(draw + 0.5 if tensor.is_floating_point() else draw * 100)
    return module.eval()


# The default stays what it was


def test_the_shipped_checkpoint_has_the_tensors_of_its_preset():
    with torch.device("meta"):
        network = LatentFlowAutoencoder(PRESETS["faces64"].autoencoder.model)
        expected = {f"autoencoder.{name}": list(t.shape) for name, t in network.state_dict().items()}
    with safe_open(ROOT / "assets/checkpoints/faces64/model.safetensors", "pt") as file:
        stored = {name: file.get_slice(name).get_shape() for name in file.keys() if name.startswith("autoencoder.")}
    assert stored == expected


def test_nothing_of_the_authors_is_on_by_default():
    default, official = vars(PublishedLFAEConfig()), vars(lfae_config(SMALL))
    on = {name for name in default if name not in vars(LFAEConfig()) and default[name] != official[name]}
    assert on - {"background_max_width", "background_downscale"} == {
        "corner_grids", "outside", "reflected_frames", "frame_soften", "frame_floor", "axis_sign", "bump_spread",
        "strided_downsampling", "conv_bias", "absolute_resize", "blend_skips", "blend_source",
    }  # fmt: skip


# State dicts, both ways

KINDS = {
    "plain": {},
    "regressed frames": {"frames": "regressed"},
    "shifted background": {"background": "shift"},
    "background in perspective": {"background": "perspective"},
    "full-size heat maps' convolution": {"region_padding": 0},
    "no skips": {"blend_skips": False, "blend_source": False},
}


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_there_and_back_is_bitwise_the_same(changes):
    config = with_published(lfae_config(SMALL), **changes)
    config = replace(config, skips=config.blend_skips)
    state = randomize(construct(config)).state_dict()
    states = to_official(state, config)
    back = from_official(states, config)
    construct(config).load_state_dict(back, strict=True)
    assert list(back) == list(state)
    assert all(torch.equal(back[name], state[name]) for name in state)
    again = to_official(back, config)
    assert [list(part) for part in again.values()] == [list(part) for part in states.values()]
    assert all(torch.equal(again[part][name], tensor) for part in states for name, tensor in states[part].items())


@pytest.fixture
def states():
    config = lfae_config(SMALL)
    return to_official(randomize(construct(config)).state_dict(), config)


def test_a_missing_tensor_is_named(states):
    del states["generator"]["final.bias"]
    with pytest.raises(CheckpointError, match=r"lacks 'generator\.final\.bias' of shape \(3,\)"):
        from_official(states, lfae_config(SMALL))


def test_an_unknown_tensor_is_named(states):
    states["bg_predictor"]["fc.scale"] = torch.ones(1)
    with pytest.raises(CheckpointError, match=r"'bg_predictor\.fc\.scale' that its config does not"):
        from_official(states, lfae_config(SMALL))


def test_a_tensor_of_another_shape_is_named(states):
    states["region_predictor"]["regions.bias"] = torch.ones(7)
    with pytest.raises(CheckpointError, match=r"'region_predictor\.regions\.bias' has shape \(7,\), expected \(4,\)"):
        from_official(states, lfae_config(SMALL))


def test_a_network_that_is_left_out_is_noticed(states):
    del states["bg_predictor"]
    with pytest.raises(CheckpointError, match="lacks 'bg_predictor"):
        from_official(states, lfae_config(SMALL))


def test_another_kernel_is_warned_of(states):
    states["region_predictor"]["down.weight"] *= 1.01
    with pytest.warns(UserWarning, match=r"'region_predictor\.down\.weight' differs from its formula"):
        from_official(states, lfae_config(SMALL))


def test_our_own_network_is_none_of_theirs():
    with pytest.raises(ValueError, match="conv_bias=False: the authors' networks have True"):
        to_official({}, LFAEConfig())


@pytest.mark.parametrize(
    "section, entry, value",
    [
        ((), "estimate_affine", False),
        (("bg_predictor_params",), "bg_type", "swirl"),
        (("region_predictor_params",), "scale_factor", 0.3),
        (("generator_params", "pixelwise_flow_predictor_params"), "scale_factor", 0.5),
        (("generator_params", "pixelwise_flow_predictor_params"), "use_deformed_source", False),
    ],
)
def test_what_cannot_be_built_is_said(section, entry, value):
    config = copy.deepcopy(SMALL)
    part = config["model_params"]
    for name in section:
        part = part[name]
    part[entry] = value
    with pytest.raises(ValueError, match=repr(value)):
        lfae_config(config)


def test_a_missing_entry_of_their_config_is_named():
    config = copy.deepcopy(SMALL)
    del config["model_params"]["generator_params"]["skips"]
    with pytest.raises(ValueError, match="no entry 'skips'"):
        lfae_config(config)


# The published network


def test_full_size_names_shapes_and_their_order_are_those_of_the_published_checkpoint():
    stored = json.loads((DATA / "keys_mug128_lfae.json").read_text())
    ours, config = tables.full_size_tables()
    for part in ("generator", "region_predictor", "bg_predictor"):
        assert ours[part] == stored[part]
        assert list(ours[part]) == list(stored[part])
    order = tables.full_size_order(config)
    assert order == stored["optimizer"]["index_name_shape"]
    assert tables.parameter_counts(order) == stored["param_counts"]


def test_the_order_of_parameters_names_each_once():
    config = lfae_config(PAPER)
    names = official_parameter_order(config)
    with torch.device("meta"):
        assert sorted(names) == sorted(name for name, _ in construct(config).named_parameters())
    assert official_name(names[-1]) == "bg_predictor.fc.bias"


def test_stored_numbers_agree():
    report = Report(DATA)
    stage_one.compare(report)
    assert not report.errors, report.errors[0]
    assert len(report.rows) > 300
    assert not [row for row in report.rows if not row.passed]
    assert not [name for golden in report.opened.values() if "lfae" in golden.name for name in golden.unread]


# Losses


def test_the_batch_norms_see_source_driving_and_deformed_frames_once_each():
    objective = StageOneObjective(
        construct(lfae_config(SMALL)),
        PerceptualFeatures((2, 2, 2, 2, 2)),
        objective_config(SMALL),
    )
    source, driving = torch.rand(2, 2, 3, 64, 64)
    losses = objective(source, driving, objective.draw(2, torch.Generator().manual_seed(0)))
    losses["loss"].backward()
    seen = {name: int(t) for name, t in objective.network.named_buffers() if name.endswith("num_batches_tracked")}
    assert {count for name, count in seen.items() if name.startswith("regions.")} == {3}
    assert {count for name, count in seen.items() if not name.startswith("regions.")} == {1}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.network.parameters())
    assert not any(p.requires_grad for p in objective.features.parameters())


def test_the_config_of_the_loss_is_read_from_their_file():
    config = objective_config(SMALL)
    assert config == replace(ObjectiveConfig(), scales=(1, 2, 4))
    with pytest.raises(ValueError, match="no entry 'train_params'"):
        objective_config({})


def test_perceptual_features_halve_and_have_the_names_of_the_loss_network():
    features = PerceptualFeatures((2, 4, 6, 8, 10))
    shapes = [tuple(f.shape[1:]) for f in features(torch.rand(1, 3, 32, 32))]
    assert shapes == [(2, 32, 32), (4, 16, 16), (6, 8, 8), (8, 4, 4), (10, 2, 2)]
    stored = json.loads((DATA / "keys_vgg19_slices.json").read_text())["keys"]
    with torch.device("meta"):
        full = PerceptualFeatures().state_dict()
    assert {name: list(tensor.shape) for name, tensor in full.items()} == {name: v[0] for name, v in stored.items()}
    with safe_open(DATA / "lfae_small" / "vgg_div32_state.safetensors", "pt") as file:
        assert features.mean.equal(file.get_tensor("mean")) and features.std.equal(file.get_tensor("std"))


def test_the_perceptual_loss_vanishes_for_equal_images_and_adds_up_over_scales():
    features = PerceptualFeatures((2, 2, 2, 2, 2))
    a, b = torch.rand(2, 1, 3, 32, 32)
    whole, half = torch.nn.Identity(), torch.nn.AvgPool2d(2)
    assert perceptual_loss(features, a, a, [whole, half]) == 0
    both = perceptual_loss(features, a, b, [whole, half])
    torch.testing.assert_close(both, sum(perceptual_loss(features, a, b, [scale]) for scale in (whole, half)))
    torch.testing.assert_close(perceptual_loss(features, a, b, [whole, half], (3.0,) * 5), 3 * both)
