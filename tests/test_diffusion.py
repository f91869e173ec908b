"""What is true of the forward process, its posterior, the parameterizations, and the loss."""

import math
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lfdm_lite.diffusion import Denoiser, DiffusionConfig, GaussianDiffusion, cosine_betas, linear_betas
from lfdm_lite.geometry import identity_grid
from lfdm_lite.motion import Motion
from lfdm_lite.samplers import sample

SCHEDULES = ("cosine", "linear")
PARAMETERIZATIONS = ("eps", "v", "x0")
PROCESS = {schedule: GaussianDiffusion(DiffusionConfig(schedule=schedule)) for schedule in SCHEDULES}
quick = settings(max_examples=25, deadline=None)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Recorder:
    """A network that notes what it is asked and answers zero."""

    null_label = 6

    def __call__(self, x, t, features, label):
        self.x, self.t, self.label = x, t, label
        return torch.zeros_like(x)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_signal_only_ever_decreases_from_nearly_all_to_nearly_none(schedule):
    alpha_bar = PROCESS[schedule].alpha_bar
    assert alpha_bar.shape == (1000,) and alpha_bar.dtype == torch.float32
    assert (alpha_bar.diff() < 0).all()
    assert alpha_bar[0] > 0.999 and 0 < alpha_bar[-1] < 1e-4
    assert_close(PROCESS[schedule].alpha ** 2 + PROCESS[schedule].sigma ** 2, torch.ones(1000))


def test_published_numbers_of_the_schedules():
    linear = linear_betas(1000)
    assert linear[0].item() == pytest.approx(1e-4) and linear[-1].item() == pytest.approx(0.02)
    assert cosine_betas(1000).max().item() == 0.999
    half = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert PROCESS["cosine"].exact_alpha_bar()[499].item() == pytest.approx(half)


def test_schedules_are_those_of_diffusers():
    diffusers = pytest.importorskip("diffusers")
    for schedule, theirs in [("cosine", "squaredcos_cap_v2"), ("linear", "linear")]:
        reference = diffusers.DDPMScheduler(1000, beta_start=1e-4, beta_end=0.02, beta_schedule=theirs).alphas_cumprod
        assert_close(PROCESS[schedule].alpha_bar, reference, rtol=1e-3, atol=1e-7)


@quick
@given(t=st.integers(0, 999), a=st.floats(-3, 3), b=st.floats(-3, 3), schedule=st.sampled_from(SCHEDULES))
def test_adding_noise_is_linear_in_data_and_noise(t, a, b, schedule):
    step = torch.full((2,), t)
    x, y, e, f = draw(4, 2, 3, 4)
    q = PROCESS[schedule].add_noise
    assert_close(q(a * x + b * y, step, a * e + b * f), a * q(x, step, e) + b * q(y, step, f), rtol=1e-4, atol=1e-5)


@quick
@given(t=st.integers(0, 900), schedule=st.sampled_from(SCHEDULES), parameterization=st.sampled_from(PARAMETERIZATIONS))
def test_the_target_gives_back_data_and_noise(t, schedule, parameterization):
    process = GaussianDiffusion(DiffusionConfig(schedule=schedule, parameterization=parameterization))
    x0, eps, step = draw(2, 5), draw(2, 5, seed=1), torch.full((2,), t)
    x_t = process.add_noise(x0, step, eps)
    x0_again, eps_again = process.to_x0_eps(x_t, step, process.target(x0, eps, step))
    tolerance = 1e-5 / min(process.alpha[t], process.sigma[t]).item()
    assert_close(x0_again, x0, rtol=1e-5, atol=tolerance)
    assert_close(eps_again, eps, rtol=1e-5, atol=tolerance)


@quick
@given(t=st.integers(1, 990), schedule=st.sampled_from(SCHEDULES))
def test_posterior_is_bayes_rule(t, schedule):
    """q(x_{t-1} | x_t, x_0) is the product of two Gaussians in x_{t-1}: the prior q(x_{t-1} | x_0) and the likelihood
    q(x_t | x_{t-1}).
    """
    process = PROCESS[schedule]
    alpha_bar = process.exact_alpha_bar()
    alpha = alpha_bar[t] / alpha_bar[t - 1]
    prior_precision, likelihood_precision = 1 / (1 - alpha_bar[t - 1]), alpha / (1 - alpha)
    x0, x_t = draw(2, 5).double(), draw(2, 5, seed=1).double()
    variance = 1 / (prior_precision + likelihood_precision)
    mean = variance * (prior_precision * alpha_bar[t - 1].sqrt() * x0 + likelihood_precision * x_t / alpha.sqrt())

    mean_ours, variance_ours = process.posterior(x0.float(), x_t.float(), torch.full((2,), t))
    assert_close(mean_ours, mean.float(), rtol=1e-4, atol=1e-5)
    assert_close(variance_ours, variance.float().expand(2, 1), rtol=1e-4, atol=0)


def test_before_the_first_step_there_was_the_data():
    x0, x_t = draw(2, 5), draw(2, 5, seed=1)
    mean, variance = PROCESS["cosine"].posterior(x0, x_t, torch.zeros(2, dtype=torch.long))
    assert_close(mean, x0)
    assert variance.abs().max() == 0


def test_each_example_has_its_own_step():
    x0, eps, t = draw(3, 4, 5), draw(3, 4, 5, seed=1), torch.tensor([0, 500, 999])
    together = PROCESS["cosine"].add_noise(x0, t, eps)
    for i in range(3):
        assert_close(together[i : i + 1], PROCESS["cosine"].add_noise(x0[i : i + 1], t[i : i + 1], eps[i : i + 1]))


@quick
@given(
    motion=st.sampled_from(("absolute", "residual", "scaled")),
    std=st.tuples(st.floats(0.01, 2), st.floats(0.01, 2)),
    seed=st.integers(0, 99),
)
def test_unpacking_undoes_packing(motion, std, seed):
    process = GaussianDiffusion(DiffusionConfig(motion=motion, flow_std=std))
    given = Motion(flow=0.3 * draw(2, 2, 3, 4, 6, seed=seed), occlusion=draw(2, 1, 3, 4, 6, seed=seed).sigmoid())
    again = process.unpack_motion(process.pack_motion(given))
    assert_close(again.flow, given.flow, rtol=1e-4, atol=1e-6)
    assert_close(again.occlusion, given.occlusion, rtol=1e-4, atol=1e-6)


def test_what_the_model_sees_of_a_clip_at_rest():
    rest = Motion(flow=torch.zeros(1, 2, 3, 4, 6), occlusion=torch.ones(1, 1, 3, 4, 6))
    for motion in ("residual", "scaled"):
        packed = GaussianDiffusion(DiffusionConfig(motion=motion)).pack_motion(rest)
        assert packed[:, :2].abs().max() == 0 and (packed[:, 2] == 1).all()
    packed = GaussianDiffusion(DiffusionConfig(motion="absolute")).pack_motion(rest)
    assert_close(packed[0, :2, 1], identity_grid(4, 6))


@pytest.mark.parametrize("motion", ["residual", "scaled"])
@pytest.mark.parametrize("std", [(0.2, 0.05), None])
def test_a_flow_is_seen_in_units_of_its_spread_if_scaled_and_in_its_own_if_not(motion, std):
    config = DiffusionConfig(motion=motion, **({"flow_std": std} if std else {}))
    spread = torch.tensor(std or (1.0, 1.0)).view(2, 1, 1, 1)
    flow = spread * draw(4, 2, 3, 16, 16)
    seen = GaussianDiffusion(config).pack_motion(Motion(flow=flow, occlusion=torch.ones(4, 1, 3, 16, 16)))[:, :2]
    deviation = (spread if motion == "residual" else torch.ones(2)).flatten()
    assert_close(seen.transpose(0, 1).flatten(1).std(dim=1), deviation, rtol=0.05, atol=0)


def test_occlusion_of_any_sample_lies_between_0_and_1():
    occlusion = PROCESS["cosine"].unpack_motion(5 * draw(1, 3, 2, 4, 4)).occlusion
    assert occlusion.min() == 0 and occlusion.max() == 1


def test_loss_of_a_network_that_answers_zero_is_the_variance_of_the_target():
    x0, features, label = draw(64, 3, 2, 8, 8), draw(64, 1, 8, 8), torch.zeros(64, dtype=torch.long)
    for parameterization in PARAMETERIZATIONS:
        process = GaussianDiffusion(DiffusionConfig(parameterization=parameterization))
        loss = process.loss(Recorder(), x0, features, label, generator=torch.Generator().manual_seed(0))
        assert loss.item() == pytest.approx(1, abs=0.05)


def test_the_same_generator_gives_the_same_loss():
    x0, features, label = draw(4, 3, 2, 8, 8), draw(4, 1, 8, 8), torch.zeros(4, dtype=torch.long)
    losses = [
        PROCESS["cosine"].loss(Recorder(), x0, features, label, torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("probability", [0.0, 0.1, 1.0])
def test_labels_are_dropped_as_often_as_asked_and_steps_are_uniform(probability):
    process, asked = GaussianDiffusion(DiffusionConfig(null_probability=probability)), Recorder()
    label = torch.full((4000,), 2)
    process.loss(
        asked, torch.zeros(4000, 3, 1, 1, 1), torch.zeros(4000, 1, 1, 1), label, torch.Generator().manual_seed(0)
    )
    assert (asked.label == asked.null_label).float().mean().item() == pytest.approx(probability, abs=0.02)
    assert set(asked.label.tolist()) <= {2, asked.null_label}
    assert asked.t.min() < 10 and asked.t.max() > 989 and asked.t.float().mean().item() == pytest.approx(499.5, abs=20)


def test_min_snr_weighs_the_error_of_x0_alike_in_every_parameterization():
    """The same error of x0 costs min(snr, 5), whichever the network's answer."""
    t = torch.tensor([100, 500, 900])
    x0, eps, wrong = draw(3, 4), draw(3, 4, seed=1), draw(3, 4, seed=2)
    for parameterization in PARAMETERIZATIONS:
        process = GaussianDiffusion(DiffusionConfig(parameterization=parameterization, min_snr=5.0))
        x_t = process.add_noise(x0, t, eps)
        answer = process.target(x0, eps, t) + wrong
        x0_error = (process.to_x0_eps(x_t, t, answer)[0] - x0).square().mean(dim=1)
        snr = (process.alpha[t] / process.sigma[t]) ** 2
        assert_close(
            process.loss_weight(t) * wrong.square().mean(dim=1), snr.clamp(max=5) * x0_error, rtol=1e-3, atol=1e-4
        )


def test_the_process_has_nothing_to_save():
    assert not PROCESS["cosine"].state_dict() and not list(PROCESS["cosine"].parameters())


@pytest.mark.parametrize(
    "wrong, message",
    [
        (dict(schedule="sine"), "schedule='sine': accepted are 'cosine', 'linear'"),
        (dict(parameterization="noise"), "accepted are 'eps', 'v', 'x0'"),
        (dict(motion="relative"), "accepted are 'absolute', 'residual', 'scaled'"),
        (dict(null_probability=1.5), "between 0 and 1"),
        (dict(number_null_probability=-0.5), "between 0 and 1"),
        (dict(flow_std=(1.0, 0.0)), "positive"),
        (dict(flow_std=(-1.0, 1.0)), "positive"),
        (dict(num_steps=0), "at least 1"),
    ],
)
def test_a_wrong_config_says_what_is_accepted(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(DiffusionConfig(), **wrong)


def test_a_config_stays_as_it_was_checked():
    config = DiffusionConfig()
    with pytest.raises(FrozenInstanceError):
        config.schedule = "sine"
    assert config in {DiffusionConfig()}, "one like it is found"


def test_a_network_is_what_can_be_called_and_knows_the_label_of_nothing():
    assert isinstance(Recorder(), Denoiser) and not isinstance(torch.nn.Identity(), Denoiser)


@pytest.mark.parametrize("num_steps", [1, 10, 50, 600])
def test_a_linear_schedule_too_short_to_end_in_noise_is_refused(num_steps):
    with pytest.raises(ValueError, match=rf"num_steps={num_steps} leaves .*% of the signal"):
        GaussianDiffusion(DiffusionConfig(schedule="linear", num_steps=num_steps))


@pytest.mark.parametrize("schedule, num_steps", [("linear", 650), ("linear", 1000), ("cosine", 1), ("cosine", 50)])
def test_what_is_left_of_the_signal_does_not_shift_what_a_perfect_denoiser_samples(schedule, num_steps):
    diffusion = GaussianDiffusion(DiffusionConfig(schedule=schedule, num_steps=num_steps, parameterization="x0"))
    mean, spread = 0.3, 0.5

    def denoise(x, t):  # E[x0 | x_t] of a normal variable
        alpha, sigma = diffusion.at(t, x)
        return mean + alpha * spread**2 / (alpha**2 * spread**2 + sigma**2) * (x - alpha * mean)

    how = dict(steps=min(num_steps, 50), generator=torch.Generator().manual_seed(0), progress=False)
    drawn = sample(diffusion, denoise, (4000, 4), **how)
    assert abs(drawn.mean() - mean) < 0.02
