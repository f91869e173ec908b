"""What is true of the samplers: they agree with diffusers step by step, and draw from a Gaussian whose perfect
denoiser is known.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version
from torch.testing import assert_close

from lfdm_lite.diffusion import DiffusionConfig, GaussianDiffusion
from lfdm_lite.files.variants import construct
from lfdm_lite.memory import quantiles
from lfdm_lite.official.parts.configs import with_published
from lfdm_lite.samplers import (
    ddim_step,
    ddpm_step,
    dpm_solver_step,
    dynamic_threshold,
    guided,
    guided_until,
    sample,
    sampling_path,
    timesteps,
)

MU, S = 0.7, 0.4  # mean and standard deviation of the Gaussian target


def process(parameterization: str = "v", schedule: str = "cosine", num_steps: int = 1000) -> GaussianDiffusion:
    return GaussianDiffusion(DiffusionConfig(parameterization=parameterization, schedule=schedule, num_steps=num_steps))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def any_network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """An arbitrary answer that depends on x and t."""
    return torch.sin(2 * x) + x.roll(1, -1) * torch.cos(t / 100).view(-1, *[1] * (x.ndim - 1))


def posterior_mean(x, alpha_bar):
    """E[x0 | x_t] for x0 from N(MU, S^2)."""
    gain = alpha_bar**0.5 * S**2 / (alpha_bar * S**2 + 1 - alpha_bar)
    return MU + gain * (x - alpha_bar**0.5 * MU)


def perfect_network(diffusion: GaussianDiffusion) -> Callable:
    """The best possible answer if the data are N(MU, S^2)."""

    def denoise(x, t):
        alpha_bar = diffusion.exact_alpha_bar()[t].view(-1, *[1] * (x.ndim - 1))
        x0 = posterior_mean(x.double(), alpha_bar)
        eps = (x - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()
        return diffusion.target(x0.float(), eps.float(), t)

    return denoise


# Against diffusers, step by step


def reference_scheduler(sampler: str, diffusion: GaussianDiffusion, steps: int):
    """The scheduler of the same name, on our alpha_bar (diffusers multiplies its own up in float32)."""
    diffusers = pytest.importorskip("diffusers")
    settings = dict(
        num_train_timesteps=1000,
        prediction_type={"eps": "epsilon", "v": "v_prediction", "x0": "sample"}[diffusion.config.parameterization],
        timestep_spacing="trailing",
    )
    scheduler = {
        "ddpm": lambda: diffusers.DDPMScheduler(**settings, clip_sample=False),
        "ddim": lambda: diffusers.DDIMScheduler(**settings, clip_sample=False, set_alpha_to_one=True),
        "dpm++": lambda: diffusers.DPMSolverMultistepScheduler(
            **settings, algorithm_type="dpmsolver++", solver_order=2, solver_type="midpoint", lower_order_final=True
        ),
    }[sampler]()
    scheduler.alphas_cumprod = diffusion.alpha_bar.clone()
    scheduler.set_timesteps(steps)
    return scheduler


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("parameterization", ["eps", "v", "x0"])
@pytest.mark.parametrize("sampler, eta", [("ddpm", 0.0), ("ddim", 0.0), ("ddim", 0.6), ("ddim", 1.0), ("dpm++", 0.0)])
@pytest.mark.parametrize("steps", [10, 40])
def test_each_step_is_that_of_the_scheduler_in_diffusers(schedule, parameterization, sampler, eta, steps):
    diffusion, shape = process(parameterization, schedule), (2, 3, 4)
    trajectory = []
    sample(
        diffusion, any_network, shape, sampler=sampler, steps=steps, eta=eta, min_alpha_bar=0.0, generator=seeded(),
        progress=False, callback=lambda i, t, x, x0: trajectory.append((t, x)),
    )  # fmt: skip

    scheduler, generator = reference_scheduler(sampler, diffusion, steps), seeded()
    x = torch.randn(shape, generator=generator)
    assert scheduler.timesteps.tolist() == [t for t, _ in trajectory]
    for t, after in trajectory:
        options = {"ddpm": dict(generator=generator), "ddim": dict(eta=eta, generator=generator), "dpm++": {}}[sampler]
        answer = any_network(x, torch.full((2,), t))
        reference = scheduler.step(answer, t, x, **options).prev_sample
        scale = reference.abs().max().item()
        assert_close(after, reference, rtol=0, atol=2e-4 * scale, msg=lambda m, t=t: f"at step {t}: {m}")
        x = after


def test_all_thousand_ancestral_steps_of_diffusers():
    diffusion, shape = process("v"), (1, 5)
    scheduler, generator = reference_scheduler("ddpm", diffusion, 1000), seeded()
    x = torch.randn(shape, generator=generator)
    for t in scheduler.timesteps.tolist():
        x = scheduler.step(perfect_network(diffusion)(x, torch.tensor([t])), t, x, generator=generator).prev_sample
    ours = sample(diffusion, perfect_network(diffusion), shape, sampler="ddpm", generator=seeded(), progress=False)
    assert_close(ours, x, rtol=1e-3, atol=1e-3)


# Where the steps are


@given(st.integers(1, 1000), st.integers(1, 1000), st.floats(1, 10))
def test_steps_descend_from_pure_noise_and_strides_grow_with_the_spacing(num_steps, steps, spacing):
    steps = min(steps, num_steps)
    path = timesteps(num_steps, steps, spacing)
    assert len(path) == steps and path[0] == num_steps - 1 and path[-1] >= 0
    strides = [t - s for t, s in pairwise([*path, -1])]
    assert min(strides) >= 1, "each step once, and only downwards"
    even = timesteps(num_steps, steps)
    assert even == [round(num_steps - i * num_steps / steps) - 1 for i in range(steps)]
    assert all(bent >= straight for bent, straight in zip(path, even, strict=True)), "nearer to the noise"
    assert all(b >= a - 1 for a, b in pairwise(strides)), "but for rounding, each at least as long as the one before"


@pytest.mark.parametrize("spacing", [0.99, 0, -1, float("nan")])
def test_a_spacing_that_is_none_is_refused(spacing):
    with pytest.raises(ValueError, match="must be at least 1, which spaces steps evenly"):
        timesteps(1000, 4, spacing)


@pytest.mark.parametrize("deviation, gains", [(16.0, True), (0.2, False)])
def test_short_strides_where_it_is_noisy_keep_the_spread_of_what_is_wide_alone(deviation, gains):
    """Of data around 0 the guess is a multiple of x, and so is the end: its size says what is left of the spread."""
    diffusion, one = process("v"), torch.ones(1, 1)

    def denoise(x, t):
        alpha_bar = diffusion.exact_alpha_bar()[t].view(-1, 1)
        x0 = alpha_bar.sqrt() * deviation**2 / (alpha_bar * deviation**2 + 1 - alpha_bar) * x.double()
        return diffusion.target(x0.float(), ((x - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()).float(), t)

    how = dict(steps=4, noise=[one], progress=False)
    even, bent = (sample(diffusion, denoise, one.shape, spacing=p, **how).item() / deviation for p in (1, 1.75))
    assert (bent > 2 * even) if gains else (even > 1.3 * bent)


# Against a Gaussian whose perfect denoiser is known


@pytest.mark.parametrize("parameterization", ["eps", "v", "x0"])
@pytest.mark.parametrize(
    "sampler, steps, eta", [("ddpm", 250, 0.0), ("ddim", 100, 0.0), ("ddim", 250, 1.0), ("dpm++", 20, 0.0)]
)
def test_samples_have_the_mean_and_variance_of_the_data(sampler, steps, eta, parameterization):
    diffusion = process(parameterization)
    x = sample(
        diffusion,
        perfect_network(diffusion),
        (100, 200),
        sampler=sampler,
        steps=steps,
        eta=eta,
        generator=seeded(),
        progress=False,
    )
    signal_at_start = 1e-3**0.5 if parameterization == "eps" else 0.0  # which a start from pure noise leaves out
    assert x.mean().item() == pytest.approx(MU, abs=0.01 + MU * signal_at_start)
    assert x.std().item() == pytest.approx(S, rel=0.02)


def test_more_ddpm_steps_come_closer_to_the_variance_of_the_data():
    diffusion = process()
    gap = []
    for steps in (5, 20, 100):
        x = sample(
            diffusion,
            perfect_network(diffusion),
            (100, 400),
            sampler="ddpm",
            steps=steps,
            generator=seeded(),
            progress=False,
        )
        gap.append(abs(x.std().item() - S))
    assert gap[0] > 2 * gap[1] > 2 * gap[2]


def error_on_the_ode(sampler: str, steps: int) -> float:
    """Error after going from lambda = -3 to 3 in equal steps, where the probability-flow ODE has a closed-form
    solution.
    """
    alpha_bar = [1 / (1 + math.exp(-2 * (-3 + 6 * i / steps))) for i in range(steps + 1)]
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[None]

    def spread(a):
        return math.sqrt(a * S**2 + 1 - a)

    exact = alpha_bar[-1] ** 0.5 * MU + spread(alpha_bar[-1]) / spread(alpha_bar[0]) * (x - alpha_bar[0] ** 0.5 * MU)
    x0_before, before = None, None
    for a_t, a_s in zip(alpha_bar[:-1], alpha_bar[1:], strict=True):
        x0 = posterior_mean(x, a_t)
        if sampler == "ddim":
            x = ddim_step(x0, (x - a_t**0.5 * x0) / (1 - a_t) ** 0.5, a_t, a_s, 0.0, torch.zeros_like(x))
        else:
            x = dpm_solver_step(x, x0, x0_before, a_t, a_s, before)
        x0_before, before = x0, a_t
    return (x - exact).abs().max().item()


@pytest.mark.parametrize("sampler, order", [("ddim", 1), ("dpm++", 2)])
def test_halving_the_step_divides_the_error_by_two_to_the_order(sampler, order):
    errors = [error_on_the_ode(sampler, steps) for steps in (40, 80, 160, 320)]
    for coarse, fine in zip(errors[:-1], errors[1:], strict=True):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


def test_the_first_step_of_dpm_solver_is_ddim():
    x, x0 = torch.randn(2, 3, 4, generator=seeded()).double()
    eps = (x - 0.3**0.5 * x0) / 0.7**0.5
    once = ddim_step(x0, eps, 0.3, 0.6, 0.0, torch.zeros_like(x))
    for before in [(None, None), (x0 + 1, None), (None, 0.1)]:  # an estimate of no known step says nothing
        assert_close(dpm_solver_step(x, x0, before[0], 0.3, 0.6, before[1]), once)


def test_ddim_with_eta_1_is_ddpm():
    x, x0, noise = torch.randn(3, 2, 5, generator=seeded()).double()
    eps = (x - 0.3**0.5 * x0) / 0.7**0.5
    assert_close(ddim_step(x0, eps, 0.3, 0.6, 1.0, noise), ddpm_step(x, x0, 0.3, 0.6, noise))


def test_a_ddpm_step_of_one_is_the_posterior_of_the_process():
    diffusion = process()
    alpha_bar = diffusion.exact_alpha_bar().tolist()
    x_t, x0, noise = torch.randn(3, 2, 5, generator=seeded())
    mean, variance = diffusion.posterior(x0, x_t, torch.tensor([300, 300]))
    assert_close(ddpm_step(x_t, x0, alpha_bar[300], alpha_bar[299], noise), mean + variance.sqrt() * noise)


# Spacing, seeds, thresholding, guidance


def test_steps_start_at_pure_noise_and_descend_evenly():
    assert timesteps(1000, 4) == [999, 749, 499, 249]
    assert timesteps(10, 10) == list(range(9, -1, -1))
    assert timesteps(1000, 1) == [999]
    for steps in (3, 7, 15, 333):
        path = timesteps(1000, steps)
        assert len(path) == steps and path[0] == 999
        assert all(a - b in (1000 // steps, 1000 // steps + 1) for a, b in zip(path, path[1:], strict=False))


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
def test_the_seed_decides_the_sample(sampler):
    one, same, other = (
        sample(process(), any_network, (1, 6), sampler=sampler, steps=5, generator=seeded(seed), progress=False)
        for seed in (1, 1, 2)
    )
    assert_close(one, same, rtol=0, atol=0)
    assert (one - other).abs().max() > 1e-3
    read = "".join(list(sampler))  # a name from elsewhere is the same name
    again = sample(process(), any_network, (1, 6), sampler=read, steps=5, generator=seeded(1), progress=False)
    assert_close(again, one, rtol=0, atol=0)


def test_what_is_sampled_remembers_nothing_of_how():
    weight = torch.ones((), requires_grad=True)
    x = sample(process(), lambda x, t: weight * x, (1, 6), steps=3, progress=False)
    assert not x.requires_grad


def test_progress_is_shown_unless_it_is_not_wanted(capsys):
    for how, shown in [({}, True), ({"progress": True}, True), ({"progress": False}, False)]:
        sample(process(), any_network, (1, 2), steps=3, **how)
        assert ("3/3" in capsys.readouterr().err) == shown


def test_a_single_step_answers_the_networks_x0():
    diffusion, x = process("x0"), torch.randn(2, 3, generator=seeded())
    for sampler in ("ddpm", "ddim", "dpm++"):
        once = sample(diffusion, any_network, (2, 3), sampler=sampler, steps=1, generator=seeded(), progress=False)
        assert_close(once, any_network(x, torch.tensor([999, 999])))


def test_an_eps_network_starts_where_there_is_signal_to_divide_by():
    """A small error in eps at pure noise would be a huge one in x0."""
    start = {}
    for parameterization in ("eps", "v"):
        visited = []
        sample(
            process(parameterization), any_network, (1, 2), steps=5, progress=False,
            callback=lambda i, t, x, x0, visited=visited: visited.append(t),
        )  # fmt: skip
        start[parameterization] = visited[0]
    alpha_bar = process().alpha_bar
    assert start["v"] == 999
    assert alpha_bar[start["eps"]] >= 1e-3 > alpha_bar[start["eps"] + 1]
    published = construct(with_published(process().config, max_beta=0.9999))
    counts = [((1 - left) / left).sqrt() for left in (process().exact_alpha_bar(), published.exact_alpha_bar())]
    assert [round(count[-1].item()) for count in counts] == [20_291, 64_166]  # what an error of eps counts in x0
    assert round(counts[0][-5].item()) == 160


def test_dynamic_threshold_leaves_small_samples_alone_and_brings_large_ones_into_range():
    x0 = torch.stack([torch.linspace(-0.9, 0.9, 101), torch.linspace(-4, 4, 101)])
    thresholded = dynamic_threshold(x0, 0.9)
    assert_close(thresholded[0], x0[0])
    assert thresholded[1].abs().max().item() == pytest.approx(1)
    s = x0[1].abs().quantile(0.9)
    assert_close(thresholded[1], x0[1].clamp(-s, s) / s)
    assert dynamic_threshold(x0, 0.9, floor=3.0)[1].abs().max().item() == pytest.approx(3)
    assert_close(dynamic_threshold(x0, 0.9, floor=5.0), x0)


@pytest.mark.parametrize("count", [1, 2, 5, 17, 1000, 40_000])
@pytest.mark.parametrize("quantile", [0.0, 1 / 3, 0.9, 0.995, 1.0])
def test_quantiles_are_those_of_torch_to_the_last_bit(count, quantile):
    noise = torch.randn(2, count, generator=seeded()).abs()
    every_16th = torch.where(torch.arange(count) % 16 == 0, 9.0, noise)  # the few that are looked at first mislead
    for values in (noise, noise.sort(dim=1).values, noise.round(), torch.ones(2, count), every_16th, noise.double()):
        # torch 2.15 keeps the place of the quantile in 64 bits, earlier ones in those of the values.
        late = Version(torch.__version__) >= Version("2.15") and values.dtype == torch.float32
        assert_close(quantiles(values, quantile), values.quantile(quantile, dim=1), rtol=late * 5e-6, atol=0)


def test_a_threshold_puts_few_of_a_clips_numbers_in_order(monkeypatch):
    """Sorting every clip at every step took three times as long as the plain loop: `bench_threshold.py` has seconds."""
    real, ordered = np.partition, []
    monkeypatch.setattr(np, "partition", lambda values, at: ordered.append(len(values)) or real(values, at))
    shape, steps = (2, 3, 40, 32, 32), 4
    how = {"steps": steps, "generator": seeded(), "progress": False}
    sample(process("x0"), lambda x, t: x.sin(), shape, threshold=0.9, **how)
    assert 0 < sum(ordered) < 0.1 * steps * math.prod(shape)
    ordered.clear()
    sample(process("x0"), lambda x, t: x.sin(), shape, **how)
    assert not ordered


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
def test_thresholded_samples_stay_in_range_whatever_the_network_says(sampler):
    x = sample(
        process("eps"),
        any_network,
        (2, 50),
        sampler=sampler,
        steps=10,
        threshold=0.9,
        generator=seeded(),
        progress=False,
    )
    assert x.abs().max() <= 1 + 1e-5


class Affine:
    """A network that answers the label plus the mean of the features, and counts its calls."""

    null_label = 9

    def __init__(self):
        self.batches = []

    def __call__(self, x, t, features, label):
        self.batches.append(x.shape[0])
        return x * 0 + (label + features.mean(dim=(1, 2, 3))).view(-1, 1, 1, 1, 1)


@pytest.mark.parametrize("scale, batch", [(0.0, 2), (1.0, 2), (1.5, 4), (7.0, 4)])
def test_guidance_goes_from_unconditional_through_conditional_and_beyond_in_one_call(scale, batch):
    network, label = Affine(), torch.tensor([1, 4])
    x, features = torch.zeros(2, 3, 4, 2, 2), torch.ones(2, 5, 2, 2)
    answer = guided(network, features, label, scale)(x, torch.tensor([5, 5]))
    expected = 1 + 9 + scale * (label - 9)
    assert_close(answer[:, 0, 0, 0, 0], expected.float())
    assert network.batches == [batch]


def test_guidance_in_the_first_steps_alone_costs_one_pass_in_the_others():
    network, label, features = Affine(), torch.tensor([1, 4]), torch.ones(2, 5, 2, 2)
    path = timesteps(1000, 4)
    way = dict(steps=4, generator=seeded(), progress=False)
    sample(process("x0"), guided(network, features, label, 3.0, until=path[1]), (2, 3, 4, 2, 2), **way)
    assert network.batches == [4, 4, 2, 2]
    denoise, x = guided(network, features, label, 3.0, until=path[1]), torch.zeros(2, 3, 4, 2, 2)
    for t, scale in zip(path, (3.0, 3.0, 1.0, 1.0), strict=True):
        step = torch.full((2,), t)
        assert_close(denoise(x, step), guided(Affine(), features, label, scale)(x, step))


@pytest.mark.parametrize("parameterization", ["eps", "v"])
@pytest.mark.parametrize("spacing", [1, 1.75])
def test_guidance_counts_in_as_many_steps_as_asked(parameterization, spacing):
    diffusion, asked = process(parameterization), dict(label=torch.tensor([1, 4]), features=torch.ones(2, 5, 2, 2))
    way = dict(steps=4, spacing=spacing, generator=seeded(), progress=False)
    for count in (1, 3, 4, 9):
        network = Affine()
        until = guided_until(diffusion, 4, count, spacing)
        assert until == 0 if count >= 4 else until > 0
        sample(diffusion, guided(network, **asked, guidance_scale=3.0, until=until), (2, 3, 4, 2, 2), **way)
        assert network.batches == [4] * min(count, 4) + [2] * (4 - min(count, 4))


def test_steps_are_even_unless_asked():
    for spacing in ({}, {"spacing": 1}):
        assert sampling_path(process(), 4, **spacing) == timesteps(1000, 4, **spacing) == [999, 749, 499, 249]
        assert guided_until(process(), 4, 2, **spacing) == 749


def test_what_cannot_be_sampled_is_refused():
    with pytest.raises(ValueError, match="accepted are 'ddpm', 'ddim', 'dpm\\+\\+'"):
        sample(process(), any_network, (1, 2), sampler="euler", progress=False)
    for steps in (0, 1001):
        with pytest.raises(ValueError, match="between 1 and the 1000 steps"):
            sample(process(), any_network, (1, 2), steps=steps, progress=False)
