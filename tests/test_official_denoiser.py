"""The authors' denoiser and noise process out of our modules: their numbers, their checkpoints, their accidents."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from lfdm_lite.diffusion import DiffusionConfig, GaussianDiffusion
from lfdm_lite.files.reading import CheckpointError
from lfdm_lite.files.variants import construct
from lfdm_lite.motion import Motion
from lfdm_lite.official.denoiser import (
    diffusion_config,
    focus_present,
    from_official,
    schedule,
    to_official,
    unet_config,
)
from lfdm_lite.official.parts.configs import PublishedDiffusionConfig, PublishedUNet3DConfig, with_published
from lfdm_lite.official.parts.diffusion import estimate, sample, sampling_path
from lfdm_lite.official.renaming import frequencies, unet_from_official, unet_to_official
from lfdm_lite.samplers import timesteps
from lfdm_lite.unet3d import UNet3D, UNet3DConfig

from .parity import networks, stage_two
from .parity.report import Report

DATA = Path(__file__).parent / "parity" / "data"
SMALL = dict(dim=8, channels=8, dim_mults=(1, 2), attn_heads=2, attn_dim_head=8, cond_dim=12, num_labels=3)
VARIANTS = {
    "MUG": SMALL,
    "NATOPS": SMALL | dict(use_deconv=False, padding_mode="reflect", learn_null_cond=True),
    "no condition": SMALL | dict(cond_dim=None),
}


def network(**arguments) -> UNet3D:
    """A small network in the authors' configuration; its heads, zero at the start, are opened."""
    torch.manual_seed(0)
    unet = construct(unet_config(**arguments)).eval()
    with torch.no_grad():
        for name, value in unet.state_dict().items():
            if name.startswith("head") or name == "label.vectors":
                value.normal_()
    return unet


def inputs(b: int = 2, t: int = 4) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return dict(
        x=torch.randn(b, 3, t, 8, 8, generator=g),
        t=torch.tensor([3, 741])[:b],
        features=torch.randn(b, 5, 8, 8, generator=g),
        label=torch.arange(b),
    )


# Their numbers


def test_what_is_computed_is_what_the_authors_code_computed():
    report = Report(DATA)
    stage_two.compare(report)
    assert not report.errors
    assert not [row for row in report.rows if not row.passed]
    assert not [line for line in report.unread() if line.startswith("dm_small/")]
    assert len(report.rows) > 150


def test_the_published_networks_have_the_published_tensors():
    stored = json.loads((DATA / "keys_mug128_dm.json").read_text())
    unet, table = networks.full_size("mug128")
    assert table == stored["diffusion"]
    assert networks.count_parameters(unet) == stored["param_counts"]["diffusion"] == 42_731_203
    assert networks.count_parameters(networks.full_size("natops128")[0]) == 42_129_859


def test_the_schedule_is_bitwise_theirs():
    stored = load_file(DATA / "dm_small" / "diffusion_T1000_buffers.safetensors")
    ours = schedule(diffusion_config())
    assert set(ours) == set(stored)
    assert all(torch.equal(ours[name], stored[name]) for name in stored)


# Their checkpoints


@pytest.mark.parametrize("variant", ["deconv", "upconv_reflect_lnc"])
def test_their_network_comes_back_bitwise(variant):
    state = load_file(DATA / "dm_small" / f"unet_{variant}_state.safetensors")
    sizes = json.loads((DATA / "dm_small" / "unet_config.json").read_text())
    changes = dict(use_deconv=False, padding_mode="reflect", learn_null_cond=True) if "lnc" in variant else {}
    arguments = {name: value for name, value in sizes.items() if name not in ("frames", "hw", "batch")}
    config = unet_config(**arguments | changes)
    again = unet_to_official(unet_from_official(state, config), config) | frequencies(config)
    assert set(again) == set(state)
    assert all(torch.equal(again[name], state[name]) for name in state)


@pytest.mark.parametrize("variant", VARIANTS)
def test_our_network_comes_back_bitwise(variant):
    unet = network(**VARIANTS[variant])
    state = unet.state_dict()
    official = to_official(state, unet.config, diffusion_config())
    again = from_official(official, unet.config, state["label.vectors"])
    assert set(again) == set(state)
    assert all(torch.equal(again[name], state[name]) for name in state)
    unet.load_state_dict(again, strict=True)


def test_a_foreign_state_is_refused_and_says_why():
    unet = network(**SMALL)
    state = to_official(unet.state_dict(), unet.config, diffusion_config())

    def without(name: str) -> dict:
        return {key: value for key, value in state.items() if key != name}

    conv = "denoise_fn.init_conv.weight"
    for wrong, message in [
        (without(conv), "lacks 'init_conv.weight'"),
        (without("betas"), "lacks 'betas'"),
        (state | {conv: state[conv][:, 1:]}, "'init_conv.weight' has shape"),
        (state | {"denoise_fn.more": torch.zeros(1)}, "a tensor 'more' that its config does not"),
        (state | {"more": torch.zeros(1)}, "a tensor 'more'"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            from_official(wrong, unet.config)
    with pytest.raises(ValueError, match="expected one per label"):
        from_official(state, unet.config, torch.zeros(2, 12))
    with pytest.raises(ValueError, match="blocks=1: the authors' networks have 2"):
        to_official({}, replace(unet.config, blocks=1), diffusion_config())
    with pytest.raises(ValueError, match="linear spatial attention and two heads"):
        to_official({}, with_published(unet.config, split_heads=None), diffusion_config())


@pytest.mark.parametrize("name", ["betas", "denoise_fn.downs.0.3.fn.fn.fn.rotary_emb.freqs"])
def test_a_stored_constant_that_is_another_is_warned_of(name):
    unet = network(**SMALL)
    state = to_official(unet.state_dict(), unet.config, diffusion_config())
    with pytest.warns(UserWarning, match=f"'{name.removeprefix('denoise_fn.')}' differs from its formula"):
        from_official(state | {name: 2 * state[name]}, unet.config)


def test_given_label_vectors_are_not_trained_and_a_learned_null_is():
    unet = network(**VARIANTS["NATOPS"]).train()
    trained = {name for name, _ in unet.named_parameters()}
    assert "label.null" in trained and "label.vectors" not in trained
    given = inputs() | dict(label=torch.tensor([0, unet.null_label]))
    unet(**given).square().mean().backward()
    assert unet.label.null.grad.abs().max() > 0
    assert not [name for name, _ in network(**SMALL).named_parameters() if name.startswith("label")]


# Their accidents, each by itself


@pytest.mark.parametrize(
    "change",
    [
        dict(first_skip="attention"),
        dict(last_condition=True),
        dict(split_heads=None),
        dict(norm_shift=True),
        dict(attention_bias=True),
        dict(upsampling="nearest"),
        dict(upsampling="nearest", upsampling_padding="reflect"),
        dict(fixed_labels=False),
        dict(label_dim=None),
        dict(spatial_head_dim=None),
        dict(rotary_dim=4),
    ],
)
def test_every_field_can_be_switched_alone(change):
    config = with_published(unet_config(**SMALL), **change)
    assert construct(config)(**inputs()).shape == (2, 3, 4, 8, 8)
    ours = with_published(UNet3DConfig(feature_channels=5, num_labels=3, dim=8, dim_mults=(1, 2)), **change)
    assert construct(ours)(**inputs()).shape == (2, 3, 4, 8, 8)


@pytest.mark.parametrize("change", [dict(rotary=False), dict(frame_index=True, frame_embedding=True), dict(blocks=1)])
def test_published_parts_fit_networks_of_other_kinds(change):
    config = replace(unet_config(**SMALL), **change)
    assert construct(config)(**inputs()).shape == (2, 3, 4, 8, 8)


def test_fields_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="must add up to channels=3"):
        with_published(UNet3DConfig(), split_heads=(2, 2))
    with pytest.raises(ValueError, match="accepted are 'nearest' and 'transposed'"):
        PublishedUNet3DConfig(upsampling="bilinear")
    with pytest.raises(ValueError, match="accepted are 'trailing', 'interior'"):
        PublishedDiffusionConfig(spacing="leading")
    with pytest.raises(ValueError, match="a quantile, between 0 and 1"):
        PublishedDiffusionConfig(threshold=2.0)
    with pytest.raises(ValueError, match="max_beta=1.0"):
        PublishedDiffusionConfig(max_beta=1.0)


def test_features_may_differ_from_frame_to_frame():
    unet, given = network(**SMALL), inputs()
    repeated = given["features"][:, :, None].expand(-1, -1, 4, -1, -1)
    assert_close(unet(**given), unet(**given | dict(features=repeated)), rtol=1e-4, atol=1e-4)
    assert (
        unet(**given) - unet(**given | dict(features=repeated + torch.arange(4.0)[:, None, None]))
    ).abs().max() > 0.1


def test_focus_hides_the_other_frames_from_all_but_the_first_attention():
    unet, given = network(**SMALL), inputs(b=1)
    for module in unet.modules():
        if isinstance(module, torch.nn.GroupNorm):  # frames of a clip share its statistics; make the norms blind
            module.forward = lambda x: x
    other = given | dict(x=given["x"] + torch.tensor([0.0, 0, 0, 1]).view(4, 1, 1))

    def change_of_first_frame() -> float:
        return (unet(**given) - unet(**other))[:, :, 0].abs().max().item()

    seen = change_of_first_frame()
    with focus_present(unet):
        seen_in_first_attention = change_of_first_frame()
        unet.temporal.forward = lambda x, frames: x
        hidden = change_of_first_frame()
        del unet.temporal.forward
    assert hidden == 0 < seen_in_first_attention
    assert change_of_first_frame() == seen


def perfect_network(diffusion: GaussianDiffusion, mu: float, s: float):
    """The best eps if the data are normal with mean mu and standard deviation s."""

    def denoise(x, t):
        alpha_bar = diffusion.exact_alpha_bar()[t].view(-1, 1)
        gain = alpha_bar.sqrt() * s**2 / (alpha_bar * s**2 + 1 - alpha_bar)
        x0 = mu + gain * (x - alpha_bar.sqrt() * mu)
        return ((x - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()).float()

    return denoise


def spread(config: DiffusionConfig, steps: int, eta: float) -> float:
    """Standard deviation of DDIM's samples, the truth being 0.2 around 0.3, and the network perfect."""
    diffusion = construct(config)
    denoise, generator = perfect_network(diffusion, mu=0.3, s=0.2), torch.Generator().manual_seed(0)
    options = dict(sampler="ddim", steps=steps, eta=eta, generator=generator, progress=False)
    return sample(diffusion, denoise, (20, 1000), **options).std().item()


def test_alpha_bar_one_step_early_narrows_the_samples_the_more_so_the_more_steps():
    """Measured: with 200 steps 29 % of the spread is lost at eta 0 and 13 % at eta 1, instead of 2 % and 4 %."""
    official = diffusion_config()
    right = with_published(official, early_alpha_bar=False)
    assert spread(right, 200, 0.0) == pytest.approx(0.197, abs=0.003)
    assert spread(official, 200, 0.0) == pytest.approx(0.142, abs=0.003)
    assert spread(right, 200, 1.0) == pytest.approx(0.192, abs=0.003)
    assert spread(official, 200, 1.0) == pytest.approx(0.175, abs=0.003)
    assert spread(right, 10, 0.0) - spread(official, 10, 0.0) == pytest.approx(0.003, abs=0.002)


def test_interior_steps_leave_the_noisiest_tenth_out():
    diffusion = construct(diffusion_config())
    assert sampling_path(diffusion, 10, None) == [909, 818, 727, 636, 545, 454, 363, 272, 181, 90]
    assert sampling_path(diffusion, 2, None) == [666, 333]
    assert sampling_path(diffusion, None, None) == list(range(999, -1, -1))
    assert sampling_path(diffusion, 4, None, 1.5) == timesteps(1000, 4, 1.5), "a spacing is ours"
    assert diffusion.alpha_bar[909] == pytest.approx(0.0195, abs=1e-4)  # signal that pure noise does not have


@pytest.mark.parametrize("sampler, steps, theirs, ours", [("ddim", 5, 5, 1), ("ddpm", None, 21, 20)])
def test_unused_noise_is_drawn_only_where_seeds_shall_mean_the_same(sampler, steps, theirs, ours):
    for draw_unused, expected in ((True, theirs), (False, ours)):
        diffusion = construct(with_published(diffusion_config(timesteps=20), draw_unused=draw_unused))
        noise = iter(torch.randn(30, 1, 4, generator=torch.Generator().manual_seed(0)))
        sample(diffusion, lambda x, t: x, (1, 4), sampler=sampler, steps=steps, eta=0.0, noise=noise, progress=False)
        assert 30 - len(list(noise)) == expected


def test_a_larger_last_beta_leaves_even_less_signal():
    configs = [with_published(diffusion_config(), max_beta=b) for b in (0.999, 0.9999)]
    last = [construct(config).exact_alpha_bar()[-1] for config in configs]
    assert last[0] / last[1] == pytest.approx(10, rel=1e-3)


def test_thresholding_x0_alone_leaves_an_eps_that_no_longer_makes_up_x_t():
    diffusion = construct(diffusion_config())
    x_t, t = 3 * torch.randn(2, 50, generator=torch.Generator().manual_seed(0)), torch.tensor([500, 900])
    alpha, sigma = diffusion.at(t, x_t)
    x0, eps = estimate(diffusion, lambda x, t: 0 * x, x_t, t, threshold=0.9)
    assert (alpha * x0 + sigma * eps - x_t).abs().max() > 1
    right = construct(with_published(diffusion.config, threshold_eps=True))
    x0, eps = estimate(right, lambda x, t: 0 * x, x_t, t, threshold=0.9)
    assert_close(alpha * x0 + sigma * eps, x_t)


@pytest.mark.parametrize("size", [16, 32])
def test_counted_from_the_corners_a_clip_at_rest_seems_to_move_by_half_a_pixel_at_the_border(size):
    rest = Motion(flow=torch.zeros(1, 2, 3, size, size), occlusion=torch.ones(1, 1, 3, size, size))
    official = construct(diffusion_config(use_residual_flow=True))
    packed = official.pack_motion(rest)
    half_a_pixel = 1 / size
    assert packed[:, :2].abs().max().item() == pytest.approx(half_a_pixel)
    assert_close(official.unpack_motion(packed).flow, rest.flow)
    centred = construct(with_published(official.config, corner_origin=False))
    assert centred.pack_motion(rest)[:, :2].abs().max() == 0
