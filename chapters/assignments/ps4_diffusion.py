# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Problem set 4: diffusion and its samplers
#
# Seven exercises and a written question, 38 points. They take about four hours, reading not counted.
#
# | exercise | what it is about | points | minutes |
# |---|---|---|---|
# | 1 | from any step to any later one | 4 | 20 |
# | 2 | data of another size | 4 | 20 |
# | 3 | a denoiser from another book | 5 | 20 |
# | 4 | in between | 5 | 40 |
# | 5 | three faults in a sampler | 6 | 40 |
# | 6 | the order, without the truth | 5 | 40 |
# | 7 | how narrow guidance makes | 5 | 40 |
# | 8 | reading a figure, in words | 4 | 25 |
#
# **You need** chapters 06 and 07; Gaussians and Bayes' rule. **You may use** torch and the standard library, and
# whatever you wrote in the chapters. Do not call the functions of `lfdm_lite.diffusion` and `lfdm_lite.samplers`: the
# exercises ask for what they do not have, or for what they do in another form.
#
# Symbols are those of the chapters: $\bar\alpha_t$ is the share of the signal's variance that is left after step $t$,
# $\alpha_t = \sqrt{\bar\alpha_t}$, $\sigma_t = \sqrt{1 - \bar\alpha_t}$, $\kappa_t = \sigma_t / \alpha_t$. Steps
# are counted from 0; before the first there is the clean data. All tensors are float64, and so must your answers be.
#
# Each exercise has a cell for your answer, then cells with tests, then one that draws what your function does; compare
# it with the picture in the text. The tests that you see are a part of those that give the points: what the text or a
# docstring says is tested, whether you see the test or not. Write helpers into the cells for answers: marks are given
# for these alone. No function may change the tensors that it is given.

# %% nbgrader={"grade": false, "grade_id": "set_up", "locked": true, "schema_version": 3, "solution": false, "task": false}
import math
from itertools import pairwise

import matplotlib.pyplot as plt
import torch
from torch import Tensor

import lfdm_lite as lfdm
from lfdm_lite import viz
from lfdm_lite.course.checks import hold

torch.set_num_threads(1)
viz.use_style()

process = lfdm.GaussianDiffusion(lfdm.DiffusionConfig(schedule="cosine"))
BETA = process.exact_betas()  # (1000,), float64
ALPHA_BAR = process.exact_alpha_bar()  # (1000,), float64


def normal(seed: int, *shape: int) -> Tensor:
    """Standard normal numbers, always the same for a seed; float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# %% [markdown]
# ## Exercise 1: from any step to any later one (4 points, 20 minutes)
#
# *Goal: to see the closed form of the forward process as one case of a chain that can be cut anywhere. Read chapter 06,
# "All steps at once".*
#
# The chapter goes from clean data to step $t$ in one line. Here a point is at step $t$ already, with noise in it, and
# has to go on to a `later` step, again in one line: a draw from $q(\mathbf x_{\text{later}} \mid \mathbf x_t)$, made
# from one tensor of standard normal noise. Every example of the batch has steps of its own. The step $t = -1$ stands
# for clean data, so that the closed form of the chapter is a special case. Where `later` equals $t$, nothing happens.
#
# How much of the noise at the later step is old, and how much is fresh?
#
# ![Falling and rising curves over the later step, for three starts. From each start the factor of the point falls from 1 to 0, and the deviation of the fresh noise rises from 0 to 1.](figures/ps4_diffusion_walk_on.png)
#
# *What a right answer draws: the factor of the point (full) and the deviation of the fresh noise (broken), from clean
# data and from the steps 300 and 700.*


# %% nbgrader={"grade": false, "grade_id": "walk_on", "locked": false, "schema_version": 3, "solution": true, "task": false}
def walk_on(x_t: Tensor, t: Tensor, later: Tensor, alpha_bar: Tensor, eps: Tensor) -> Tensor:
    """A draw from q(x_later | x_t).

    Args:
        x_t: points at the steps t, (b, ...), with one axis or more behind the batch's.
        t, later: steps, (b,), integers with -1 <= t <= later; -1 stands for clean data.
        alpha_bar: share of the signal's variance left after each step, (N,).
        eps: standard normal noise, as x_t.

    Returns:
        Points at the later steps, as x_t.
    """
    ### BEGIN SOLUTION
    every = torch.cat([torch.ones(1, dtype=alpha_bar.dtype), alpha_bar])  # every[t + 1] belongs to step t
    left = every[later + 1] / every[t + 1]  # of the variance that x_t has, (b,)
    left = left.reshape(-1, *[1] * (x_t.ndim - 1))
    return left.sqrt() * x_t + (1 - left).sqrt() * eps
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "walk_on-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# From clean data it is the closed form of the chapter.
x0, eps = normal(1, 5, 3), normal(2, 5, 3)
t, later = torch.full((5,), -1), torch.tensor([1, 10, 400, 998, 999])
at = ALPHA_BAR[later][:, None]
early = ALPHA_BAR[later - 1][:, None]
mistakes = {
    "The factor of the point is the square root of a share of variance: chapter 06, 'All steps at once'": (
        at * x0 + (1 - at).sqrt() * eps
    ),
    "Noise of variance 1 - alpha_bar is multiplied by its square root: chapter 06, 'All steps at once'": (
        at.sqrt() * x0 + (1 - at) * eps
    ),
    "You are one step too early: after step t, alpha_bar[t] is left: chapter 06, 'All steps at once'": (
        early.sqrt() * x0 + (1 - early).sqrt() * eps
    ),
    "In Python alpha_bar[-1] is the last step; t = -1 stands for clean data, of which all is left: "
    "chapter 06, 'Forward: from data to noise'": torch.where((later == 999)[:, None], x0, torch.nan),
}
hold(
    walk_on(x0.clone(), t.clone(), later.clone(), ALPHA_BAR.clone(), eps.clone()),
    at.sqrt() * x0 + (1 - at).sqrt() * eps,
    mistakes,
    what="the walk from clean data",
)
### BEGIN HIDDEN TESTS
x0, eps = normal(3, 4, 3, 2, 2), normal(4, 4, 3, 2, 2)
later = torch.tensor([0, 77, 555, 980])
at = ALPHA_BAR[later].view(4, 1, 1, 1)
hold(
    walk_on(x0.clone(), torch.full((4,), -1), later.clone(), ALPHA_BAR.clone(), eps.clone()),
    at.sqrt() * x0 + (1 - at).sqrt() * eps,
    what="the walk from clean data with three axes",
)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "walk_on-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# One step is the chain's own: it shrinks by sqrt(1 - beta) and adds noise of variance beta.
t = torch.tensor([-1, 0, 300, 700, 998])
x, eps = normal(5, 5, 3), normal(6, 5, 3)
beta, at = BETA[t + 1][:, None], ALPHA_BAR[t + 1][:, None]
before = torch.cat([torch.ones(1, dtype=torch.float64), ALPHA_BAR])[t + 1][:, None]
mistakes = {
    "That is the way from clean data; x_t has lost signal already: chapter 06, 'All steps at once'": (
        at.sqrt() * x + (1 - at).sqrt() * eps
    ),
    "The old noise shrinks too, so the fresh one is more than the difference of the two variances: "
    "chapter 06, 'All steps at once'": (1 - beta).sqrt() * x + (before - at).sqrt() * eps,
    "Independent noises add up in variance, not in deviation: chapter 06, 'All steps at once'": (
        (1 - beta).sqrt() * x + ((1 - at).sqrt() - (1 - before).sqrt()) * eps
    ),
    "In Python alpha_bar[-1] is the last step; t = -1 stands for clean data, of which all is left: "
    "chapter 06, 'Forward: from data to noise'": torch.where(
        (t == -1)[:, None], torch.nan, (1 - beta).sqrt() * x + beta.sqrt() * eps
    ),
}
hold(
    walk_on(x.clone(), t.clone(), t + 1, ALPHA_BAR.clone(), eps.clone()),
    (1 - beta).sqrt() * x + beta.sqrt() * eps,
    mistakes,
    what="one step of the chain",
)
### BEGIN HIDDEN TESTS
t = torch.tensor([20, 500, 997])
x, eps, beta = normal(7, 3, 1), normal(8, 3, 1), BETA[t + 1][:, None]
hold(
    walk_on(x.clone(), t.clone(), t + 1, ALPHA_BAR.clone(), eps.clone()),
    (1 - beta).sqrt() * x + beta.sqrt() * eps,
    what="one step of the chain, other points",
)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "walk_on-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Any two steps: carry factor and variance through the chain, beta by beta.
def carried(t: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
    factors, variances = [], []
    for first, last in zip(t.tolist(), later.tolist(), strict=True):
        factor, variance = 1.0, 0.0
        for beta in BETA[first + 1 : last + 1].tolist():
            factor, variance = factor * (1 - beta) ** 0.5, (1 - beta) * variance + beta
        factors.append(factor)
        variances.append(variance)
    return torch.tensor(factors, dtype=torch.float64), torch.tensor(variances, dtype=torch.float64)


t, later = torch.tensor([100, 400, 10]), torch.tensor([400, 800, 990])
x, eps = normal(9, 3, 2), normal(10, 3, 2)
factor, variance = (value[:, None] for value in carried(t, later))
at, before = ALPHA_BAR[later][:, None], ALPHA_BAR[t][:, None]
hold(
    walk_on(x.clone(), t.clone(), later.clone(), ALPHA_BAR.clone(), eps.clone()),
    factor * x + variance.sqrt() * eps,
    {
        "That is the way from clean data; x_t has lost signal already: chapter 06, 'All steps at once'": at.sqrt() * x
        + (1 - at).sqrt() * eps,
        "The old noise shrinks too, so the fresh one is more than the difference of the two variances: "
        "chapter 06, 'All steps at once'": factor * x + (before - at).sqrt() * eps,
        "Independent noises add up in variance, not in deviation: chapter 06, 'All steps at once'": factor * x
        + ((1 - at).sqrt() - (1 - before).sqrt()) * eps,
        "The factor of the point is the square root of a share of variance: chapter 06, 'All steps at once'": factor**2
        * x
        + variance.sqrt() * eps,
        "Noise of a variance is multiplied by its square root: chapter 06, 'All steps at once'": factor * x
        + variance * eps,
    },
    what="the walk between two steps",
)
### BEGIN HIDDEN TESTS
t, later = torch.tensor([-1, 3, 640, 200]), torch.tensor([720, 4, 960, 999])
x, eps = normal(11, 4, 2, 3), normal(12, 4, 2, 3)
factor, variance = (value.view(4, 1, 1) for value in carried(t, later))
hold(
    walk_on(x.clone(), t.clone(), later.clone(), ALPHA_BAR.clone(), eps.clone()),
    factor * x + variance.sqrt() * eps,
    what="the walk between two other steps",
)
x, eps, chain = normal(15, 2, 3), normal(16, 2, 3), torch.linspace(0.95, 0.05, 7, dtype=torch.float64)
left, theirs = (torch.stack([share[3], share[6] / share[2]])[:, None] for share in (chain, ALPHA_BAR))
hold(
    walk_on(x.clone(), torch.tensor([-1, 2]), torch.tensor([3, 6]), chain.clone(), eps.clone()),
    left.sqrt() * x + (1 - left).sqrt() * eps,
    {
        "You read ALPHA_BAR of the notebook, not the alpha_bar that your function is given": theirs.sqrt() * x
        + (1 - theirs).sqrt() * eps
    },
    what="the walk in another chain",
)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "walk_on-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# To stay where you are changes nothing; and no call may change what it is given.
x, eps, t = normal(13, 4, 2, 3), normal(14, 4, 2, 3), torch.tensor([-1, 0, 500, 999])
at = torch.cat([torch.ones(1, dtype=torch.float64), ALPHA_BAR])[t + 1].view(4, 1, 1)
hold(
    walk_on(x.clone(), t.clone(), t.clone(), ALPHA_BAR.clone(), eps.clone()),
    x,
    {
        "That is the way from clean data; x_t has lost signal already: chapter 06, 'All steps at once'": at.sqrt() * x
        + (1 - at).sqrt() * eps,
    },
    what="a walk of no step",
)
given, fresh = x.clone(), eps.clone()
walk_on(given, t.clone(), torch.full((4,), 999), ALPHA_BAR.clone(), fresh)
for name, now, then in (("x_t", given, x), ("eps", fresh, eps)):
    hold(now, then, what=f"{name} after the call (your function changes its input in place, and must not)")
### BEGIN HIDDEN TESTS
given, held, steps = x.clone(), ALPHA_BAR.clone(), torch.tensor([0, 1, 2, 3])
fresh = eps.clone()
answer = walk_on(given, steps, steps + 300, held, fresh)
factor = (ALPHA_BAR[300:304] / ALPHA_BAR[:4]).sqrt().view(4, 1, 1)
hold(answer, factor * x + (1 - factor**2).sqrt() * eps, what="a walk of 300 steps")
for name, now, then in (("x_t", given, x), ("alpha_bar", held, ALPHA_BAR), ("eps", fresh, eps)):
    hold(now, then, what=f"{name} after the call (your function changes its input in place, and must not)")
hold(steps, torch.arange(4), what="t after the call (your function changes its input in place, and must not)")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "draw_walk_on", "locked": false, "schema_version": 3, "solution": false, "task": false}
later = torch.arange(1000)
plt.figure(figsize=(6, 2.8))
for start, colour in ((-1, "blue"), (300, "orange"), (700, "green")):
    on = later[later >= max(start, 0)]
    one, none = torch.ones(len(on), 1, dtype=torch.float64), torch.zeros(len(on), 1, dtype=torch.float64)
    t, name = torch.full_like(on, start), "data" if start < 0 else f"step {start}"
    plt.plot(on, walk_on(one, t, on, ALPHA_BAR, none), "-", color=viz.COLOURS[colour], label=f"from {name}")
    plt.plot(on, walk_on(none, t, on, ALPHA_BAR, one), "--", color=viz.COLOURS[colour])
plt.xlabel("later step")
plt.legend(loc="center left")
plt.show()

# %% [markdown]
# ## Exercise 2: data of another size (4 points, 20 minutes)
#
# *Goal: to treat a schedule as what it is, a signal-to-noise ratio. Read chapter 06, "The signal-to-noise view" and
# "Schedules".*
#
# A schedule is tuned for data of standard deviation 1. Somebody trains on data of standard deviation $\tau$ instead:
# unscaled flow, say, with $\tau = 0.05$. At step $t$ the ratio of the *variances* of signal and noise is then
# $\tau^2\, \bar\alpha_t / (1 - \bar\alpha_t)$, so the same steps mean something else. Write the betas of the chain in
# which data of standard deviation $\tau$ have, at every step, the ratio that data of standard deviation 1 have in the
# chain that you are given.
#
# Before you code: must $\bar\alpha_t$ become larger or smaller where $\tau$ is small?
#
# ![Three falling curves of the share of signal over the step. For tau 1 it is the cosine schedule; for tau 3 it falls much earlier; for tau 0.1 it stays near 1 for most steps and falls late.](figures/ps4_diffusion_betas_for.png)
#
# *What a right answer draws: the share of signal $\bar\alpha_t$ that belongs to your betas, for three sizes of the
# data.*


# %% nbgrader={"grade": false, "grade_id": "betas_for", "locked": false, "schema_version": 3, "solution": true, "task": false}
def betas_for(beta: Tensor, tau: float) -> Tensor:
    """The chain that treats data of deviation `tau` as the chain `beta` treats data of deviation 1.

    Args:
        beta: share of the signal's variance that each step takes away, (N,), each between 0 and 1.
        tau: standard deviation of the data, positive.

    Returns:
        The betas of the new chain, (N,).
    """
    ### BEGIN SOLUTION
    alpha_bar = torch.cumprod(1 - beta, dim=0)
    wanted = alpha_bar / (alpha_bar + tau**2 * (1 - alpha_bar))  # of SNR / (1 + SNR), with SNR over tau^2
    before = torch.cat([torch.ones(1, dtype=beta.dtype), wanted[:-1]])
    return 1 - wanted / before
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "betas_for-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# For data of deviation 1 nothing is to be done.
hold(
    betas_for(BETA.clone(), 1.0),
    BETA,
    {
        "These are the shares of signal, alpha_bar; a beta is the step from one to the next: "
        "chapter 06, 'Schedules'": ALPHA_BAR,
        "That is 1 - alpha_bar; a beta is the step from one alpha_bar to the next: chapter 06, 'Schedules'": 1
        - ALPHA_BAR,
        "The first beta is wrong; before the first step the share of signal is 1: chapter 06, 'Schedules'": torch.cat(
            [torch.zeros(1, dtype=torch.float64), BETA[1:]]
        ),
    },
    what="the chain for tau = 1",
)
### BEGIN HIDDEN TESTS
short = torch.tensor([0.1, 0.7, 0.25], dtype=torch.float64)
hold(betas_for(short.clone(), 1.0), short, what="a short chain for tau = 1")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "betas_for-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# One step is enough to see the rule. With beta = 1/2 data of deviation 1 have the ratio 1. Data of deviation 2 have it
# where 4 alpha_bar / (1 - alpha_bar) = 1, so at alpha_bar = 1/5.
half = torch.tensor([0.5], dtype=torch.float64)
hold(
    betas_for(half.clone(), 2.0),
    torch.tensor([0.8], dtype=torch.float64),
    {
        "You went the other way; larger data need more noise: chapter 06, 'The signal-to-noise view'": 1 - half * 1.6,
        "SNR compares variances, so the deviation is squared: chapter 06, 'The signal-to-noise view'": half * 4 / 3,
        "Dividing alpha_bar divides signal and noise together; it is the SNR that changes, alpha_bar / (1 - alpha_bar): "
        "chapter 06, 'The signal-to-noise view'": 1 - half / 4,
        "Multiplying beta is not multiplying the noise that a chain adds up: chapter 06, 'All steps at once'": 4 * half,
        "The chain is as it was; data of deviation tau have tau^2 times the SNR: "
        "chapter 06, 'The signal-to-noise view'": half,
    },
    what="the chain of one step for tau = 2",
)
### BEGIN HIDDEN TESTS
hold(
    betas_for(torch.tensor([0.36], dtype=torch.float64), 0.5),
    torch.tensor([0.09 / 0.73], dtype=torch.float64),  # SNR 0.64 / 0.36 over 1 / 4: 64 / 9
    what="the chain of one step for tau = 1/2",
)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "betas_for-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# At every step the ratio is what it was.
answer = betas_for(BETA.clone(), 0.5)
hold(answer, torch.zeros_like(BETA), what="the chain for tau = 1/2", atol=math.inf)  # kind and shape
share = torch.cumprod(1 - answer, dim=0)
log_ratio = (0.25 * share / (1 - share)).log()
wanted = (ALPHA_BAR / (1 - ALPHA_BAR)).log()
hold(
    log_ratio,
    wanted,
    {
        "You went the other way; smaller data need less noise: chapter 06, 'The signal-to-noise view'": wanted
        + 2 * math.log(0.25),
        "SNR compares variances, so the deviation is squared: chapter 06, 'The signal-to-noise view'": wanted
        + math.log(0.5),
        "The chain is as it was; data of deviation tau have tau^2 times the SNR: "
        "chapter 06, 'The signal-to-noise view'": wanted + math.log(0.25),
    },
    what="the logarithm of the ratio, tau = 1/2",
    atol=1e-4,
)
### BEGIN HIDDEN TESTS
# Another way to the same: the noise-to-signal ratio n = 1 / alpha_bar - 1 goes on as (n + beta) / (1 - beta).
for chain, tau in ((BETA, 0.3), (BETA, 4.0), (torch.linspace(1e-4, 0.3, 40, dtype=torch.float64), 1.7)):
    n, right = 0.0, []
    for beta in chain.tolist():
        n_next = (n + beta) / (1 - beta)
        right.append(tau**2 * (n_next - n) / (1 + tau**2 * n_next))
        n = n_next
    right = torch.tensor(right, dtype=torch.float64)
    hold(
        betas_for(chain.clone(), tau),
        right,
        what=f"the chain for tau = {tau}",
        atol=1e-8,
    )
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "betas_for-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Where tau is tiny all betas but the last few are tiny; the ratio is right at every step all the same. (What float64
# rounds is far too little to matter here.)
given = BETA.clone()
answer = betas_for(given, 0.01)
hold(given, BETA, what="beta after the call (your function changes its input in place, and must not)")
hold(answer, torch.zeros_like(BETA), what="the chain for tau = 0.01", atol=math.inf)  # kind and shape
hold(answer[0].item() / 4.12859e-09, 1.0, what="the first beta for tau = 0.01, divided by the right one,")
log_ratio = lambda beta: (1e-4 * (share := torch.cumprod(1 - beta, dim=0)) / (1 - share)).log()
hold(
    log_ratio(answer),
    wanted,
    {
        "Multiplying beta is not multiplying the noise that a chain adds up: chapter 06, 'All steps at once'": (
            log_ratio(1e-4 * BETA)
        )
    },
    what="the logarithm of the ratio, tau = 0.01",
    atol=1e-4,
)
### BEGIN HIDDEN TESTS
hold(
    betas_for(betas_for(BETA.clone(), 0.2), 5.0),
    BETA,
    what="the chain for data made five times smaller, then five times larger",
    atol=1e-7,
)
hold(
    betas_for(betas_for(BETA.clone(), 2.0), 3.0),
    betas_for(BETA.clone(), 6.0),
    what="the chain for tau = 2 and then 3, beside that for 6",
)
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "draw_betas_for", "locked": false, "schema_version": 3, "solution": false, "task": false}
plt.figure(figsize=(6, 2.8))
for tau in (0.1, 1.0, 3.0):
    plt.plot(torch.cumprod(1 - betas_for(BETA, tau), dim=0), label=rf"$\tau$ = {tau:g}")
plt.xlabel("step t")
plt.ylabel(r"$\bar\alpha_t$")
plt.legend()
plt.show()

# %% [markdown]
# ## Exercise 3: a denoiser from another book (5 points, 20 minutes)
#
# *Goal: to convert between answers and between conventions of scale. Read chapter 06,
# "Three answers: $\epsilon$, $\mathbf x_0$, $\mathbf v$", and chapter 07, "Three clocks".*
#
# Much of the literature does not shrink the data. There a noisy point is $\mathbf y = \mathbf x_0 + \kappa\, \epsilon$
# with $\kappa$ from 0 to about 80, and a network is given $(\mathbf y, \kappa)$ and answers its guess of
# $\mathbf x_0$. You have such a network, `edm(y, kappa)`; *EDM* is what Karras et al., whom chapter 06 cites, call theirs.
# Your sampler wants $\mathbf v$, at a point $\mathbf x_t$ of *our* process. Write the adapter. It asks the network once.
#
# ![Three curves of v over x: at step 100 two rising branches with a steep fall between them, at step 500 a gentle wave, at step 900 an all but flat line at zero.](figures/ps4_diffusion_as_v.png)
#
# *What a right answer draws: $\mathbf v$ over $\mathbf x_t$ for data that are either $-1$ or $1$, whose perfect
# denoiser is $\tanh(y / \kappa^2)$.*


# %% nbgrader={"grade": false, "grade_id": "as_v", "locked": false, "schema_version": 3, "solution": true, "task": false}
def as_v(edm, x_t: Tensor, t: Tensor, alpha_bar: Tensor) -> Tensor:
    """The v that belongs to the guess of a denoiser of unshrunken data.

    Args:
        edm: called as edm(y, kappa) with noisy points y = x0 + kappa eps, (b, d), and kappa, (b,); answers a guess of
            x0, (b, d).
        x_t: points of our process, (b, d).
        t: their steps, (b,).
        alpha_bar: share of the signal's variance left after each step, (N,).

    Returns:
        v = alpha eps - sigma x0, as x_t.
    """
    ### BEGIN SOLUTION
    alpha, sigma = alpha_bar[t].sqrt()[:, None], (1 - alpha_bar[t]).sqrt()[:, None]
    x0 = edm(x_t / alpha, (sigma / alpha)[:, 0])
    eps = (x_t - alpha * x0) / sigma
    return alpha * eps - sigma * x0
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "as_v-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Standard normal data: y shrinks to y / (1 + kappa^2), and v is 0 everywhere, since the cloud never changes.
t, x = torch.tensor([0, 100, 500, 900, 990]), normal(21, 5, 2)
alpha, sigma = ALPHA_BAR[t].sqrt()[:, None], (1 - ALPHA_BAR[t]).sqrt()[:, None]
mistakes = {
    "That is the guess of the noise; v is alpha eps - sigma x0": sigma * x,
    "That is the guess of x0; v is alpha eps - sigma x0": alpha * x,
    "The network knows no shrinking: x_t must be divided by alpha first: chapter 07, 'Three clocks'": (
        (alpha - alpha**2) / sigma * x
    ),
    "You shrink the point once more; divide by alpha: chapter 07, 'Three clocks'": (alpha - alpha**3) / sigma * x,
}
### BEGIN HIDDEN TESTS
mistakes |= {
    "kappa is sigma / alpha, the noise in units of the data that are not shrunken: chapter 07, 'Three clocks'": (
        (alpha * x - x / alpha / (1 + sigma**2)) / sigma
    ),
    "kappa is sigma / alpha, not alpha / sigma: chapter 07, 'Three clocks'": (
        (alpha * x - x / alpha * sigma**2) / sigma
    ),
}
### END HIDDEN TESTS
hold(
    as_v(lambda y, kappa: y / (1 + kappa[:, None] ** 2), x.clone(), t.clone(), ALPHA_BAR.clone()),
    torch.zeros_like(x),
    mistakes,
    what="v of standard normal data",
)
### BEGIN HIDDEN TESTS
x = normal(22, 5, 7)
hold(
    as_v(lambda y, kappa: y / (1 + kappa[:, None] ** 2), x.clone(), t.clone(), ALPHA_BAR.clone()),
    torch.zeros_like(x),
    what="v of standard normal data of seven numbers",
)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "as_v-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Data that are a single point: the network always answers it, and you can mix x_t of a known noise.
t, eps = torch.tensor([50, 400, 800]), normal(23, 3, 2)
point = torch.tensor([0.5, -2.0], dtype=torch.float64)
alpha, sigma = ALPHA_BAR[t].sqrt()[:, None], (1 - ALPHA_BAR[t]).sqrt()[:, None]
x = alpha * point + sigma * eps
mistakes = {
    "The sign is wrong: v is alpha eps - sigma x0": sigma * point - alpha * eps,
    "alpha and sigma are swapped: v is alpha eps - sigma x0": sigma * eps - alpha * point,
    "That is x_t again: v is alpha eps - sigma x0": x,
    "That is the noise; v is alpha eps - sigma x0": eps,
    "That is v / alpha; v is alpha eps - sigma x0, not shrunken back": eps - sigma / alpha * point,
    "The noise in y has the deviation kappa, not sigma: chapter 07, 'Three clocks'": eps - sigma * point,
    "x_t holds alpha x0 and not x0: chapter 06, 'All steps at once'": alpha * (x - point) / sigma - sigma * point,
}
### BEGIN HIDDEN TESTS
mistakes |= {
    "alpha is the square root of alpha_bar: chapter 06, 'All steps at once'": (
        alpha**2 * (x - alpha**2 * point) / sigma**2 - sigma**2 * point
    ),
}
### END HIDDEN TESTS
hold(
    as_v(lambda y, kappa: point.expand_as(y), x.clone(), t.clone(), ALPHA_BAR.clone()),
    alpha * eps - sigma * point,
    mistakes,
    what="v of a single point",
)
### BEGIN HIDDEN TESTS
t = torch.tensor([0, 999])  # the two ends of the chain
x = normal(24, 2, 3)
at = ALPHA_BAR[t][:, None]
hold(
    as_v(lambda y, kappa: torch.full_like(y, 0.25), x.clone(), t.clone(), ALPHA_BAR.clone()),
    (at.sqrt() * x - 0.25) / (1 - at).sqrt(),  # what alpha eps - sigma x0 becomes, since alpha^2 + sigma^2 = 1
    what="v of a single point at the two ends of the chain",
)
chain, t = torch.linspace(0.9, 0.1, 5, dtype=torch.float64), torch.tensor([0, 3])
at, theirs = chain[t][:, None], ALPHA_BAR[t][:, None]
hold(
    as_v(lambda y, kappa: torch.full_like(y, 0.25), x.clone(), t.clone(), chain.clone()),
    (at.sqrt() * x - 0.25) / (1 - at).sqrt(),
    {
        "You read ALPHA_BAR of the notebook, not the alpha_bar that your function is given": (
            (theirs.sqrt() * x - 0.25) / (1 - theirs).sqrt()
        )
    },
    what="v of a single point in another chain",
)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "as_v-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# One Gaussian: v is the velocity of its flow by the angle, here as a difference of two places on the flow.
def flow(x: Tensor, phi: Tensor, to: Tensor, mu: Tensor, tau: float) -> Tensor:
    """Where the flow takes x from the angle phi to another: chapter 07, 'One Gaussian: the flow in closed form'."""
    wide, now = ((at.cos() ** 2 * tau**2 + at.sin() ** 2).sqrt() for at in (to, phi))
    return to.cos() * mu + wide / now * (x - phi.cos() * mu)


def gaussian(mu: Tensor, tau: float):
    """Its perfect denoiser."""
    return lambda y, kappa: mu + tau**2 / (tau**2 + kappa[:, None] ** 2) * (y - mu)


mu, t, x = torch.tensor([0.5, -0.3], dtype=torch.float64), torch.tensor([30, 300, 600, 900]), normal(25, 4, 2)
phi = torch.atan2((1 - ALPHA_BAR[t]).sqrt(), ALPHA_BAR[t].sqrt())[:, None]
slope = (flow(x, phi, phi + 1e-5, mu, 0.4) - flow(x, phi, phi - 1e-5, mu, 0.4)) / 2e-5
mistakes = {"The sign is wrong: v is alpha eps - sigma x0": -slope}
### BEGIN HIDDEN TESTS
for sentence, y, kappa in (
    ("The network knows no shrinking: x_t must be divided by alpha first", x, phi.tan()),
    ("kappa is sigma / alpha, the noise in units of the data that are not shrunken", x / phi.cos(), phi.sin()),
    ("kappa is sigma / alpha, not alpha / sigma", x / phi.cos(), 1 / phi.tan()),
    ("That is kappa squared, the ratio of the variances", x / phi.cos(), phi.tan() ** 2),
):
    v = (phi.cos() * x - gaussian(mu, 0.4)(y, kappa[:, 0])) / phi.sin()
    mistakes[sentence + ": chapter 07, 'Three clocks'"] = v
### END HIDDEN TESTS
hold(
    as_v(gaussian(mu, 0.4), x.clone(), t.clone(), ALPHA_BAR.clone()),
    slope,
    mistakes,
    what="v of one Gaussian",
    atol=1e-4,  # of the difference quotient
)
### BEGIN HIDDEN TESTS
for seed, tau in ((26, 0.1), (27, 2.5)):
    mu, x, t = normal(seed, 3), normal(seed + 2, 6, 3), torch.tensor([5, 60, 250, 500, 750, 995])
    phi = torch.atan2((1 - ALPHA_BAR[t]).sqrt(), ALPHA_BAR[t].sqrt())[:, None]
    slope = (flow(x, phi, phi + 1e-6, mu, tau) - flow(x, phi, phi - 1e-6, mu, tau)) / 2e-6
    hold(
        as_v(gaussian(mu, tau), x.clone(), t.clone(), ALPHA_BAR.clone()),
        slope,
        what=f"v of a Gaussian of deviation {tau}",
        atol=1e-4,
    )
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "as_v-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# What the network is asked: once, at unshrunken points, with one kappa for each. Clean points and noise are known here.
asked, x0, eps = [], normal(31, 3, 2), normal(32, 3, 2)
t = torch.tensor([10, 450, 940])
at = ALPHA_BAR[t][:, None]
x = at.sqrt() * x0 + (1 - at).sqrt() * eps
given = x.clone()
as_v(lambda y, kappa: asked.append((y, kappa)) or torch.zeros_like(y), given, t.clone(), ALPHA_BAR.clone())
hold(len(asked), 1, what="the number of times that the network is asked")
hold(given, x, what="x_t after the call (your function changes its input in place, and must not)")
hold(
    asked[0][0],
    x0 + (1 / at - 1).sqrt() * eps,
    {
        "The network knows no shrinking: x_t must be divided by alpha first: chapter 07, 'Three clocks'": x,
        "You shrink the point once more; divide by alpha: chapter 07, 'Three clocks'": x * at.sqrt(),
        "alpha is the square root of alpha_bar: chapter 06, 'All steps at once'": x / at,
    },
    what="y",
)
at = ALPHA_BAR[t]
hold(
    asked[0][1],
    (1 / at - 1).sqrt(),
    {
        "kappa is sigma / alpha, the noise in units of the data that are not shrunken: chapter 07, 'Three clocks'": (
            1 - at
        ).sqrt(),
        "kappa is sigma / alpha, not alpha / sigma: chapter 07, 'Three clocks'": 1 / (1 / at - 1).sqrt(),
        "That is kappa squared, the ratio of the variances: chapter 07, 'Three clocks'": 1 / at - 1,
        "That is half of the logarithm of the SNR, another clock: chapter 07, 'Three clocks'": -0.5
        * (1 / at - 1).log(),
    },
    what="kappa",
)

# %% nbgrader={"grade": false, "grade_id": "draw_as_v", "locked": false, "schema_version": 3, "solution": false, "task": false}
x = torch.linspace(-2.5, 2.5, 201, dtype=torch.float64)[:, None]
plt.figure(figsize=(6, 2.8))
for step in (100, 500, 900):
    v = as_v(lambda y, kappa: (y / kappa[:, None] ** 2).tanh(), x, torch.full((201,), step), ALPHA_BAR)
    plt.plot(x, v, label=f"step {step}")
plt.xlabel("$x_t$")
plt.ylabel("v")
plt.legend()
plt.show()

# %% [markdown]
# ## Exercise 4: in between (5 points, 40 minutes)
#
# *Goal: to derive a posterior yourself, and to see the chapter's as one case of it. Read chapter 06, "One step back, if
# you knew the data".*
#
# The chapter asks where a chain was one step before $\mathbf x_t$, if you know the clean data. Now you know two *noisy*
# points of one chain: $\mathbf x_{\text{near}}$, nearer to the data, and $\mathbf x_{\text{far}}$, later in the chain.
# Where was the chain at a level in between? Derive mean and variance of
# $q(\mathbf x_{\text{middle}} \mid \mathbf x_{\text{near}}, \mathbf x_{\text{far}})$ with pencil and paper, as the
# chapter does: two factors, complete the square, tidy up. (Exercise 1 says what a later level keeps of an earlier one.)
# The levels are given by their $\bar\alpha$; the one nearest to the data has the largest, and $\bar\alpha = 1$ is clean
# data. The middle may coincide with either end. What must the variance be there? One of the two factors has no width
# then, so a form that divides by its variance will not do.
#
# ![A curve from the near point at the left to the far point at the right, with a grey band around it. The band has no width at the two ends and is widest in between.](figures/ps4_diffusion_between.png)
#
# *What a right answer draws: mean (line) and one standard deviation to both sides (band) over the middle level, between
# the points 1.2 at $\bar\alpha = 0.95$ and $-1$ at $\bar\alpha = 0.1$.*


# %% nbgrader={"grade": false, "grade_id": "between", "locked": false, "schema_version": 3, "solution": true, "task": false}
def between(x_near: Tensor, x_far: Tensor, near: float, middle: float, far: float) -> tuple[Tensor, float]:
    """Mean and variance of a chain between two of its points.

    Args:
        x_near, x_far: points of a chain, of the same shape.
        near, middle, far: alpha_bar of three levels, 1 >= near >= middle >= far > 0 and near > far.

    Returns:
        The mean, as x_near, and the variance, a number, of x_middle given both.
    """
    ### BEGIN SOLUTION
    first, second, both = middle / near, far / middle, far / near  # shares of variance that are left on the way
    mean = first**0.5 * (1 - second) * x_near + second**0.5 * (1 - first) * x_far
    return mean / (1 - both), (1 - first) * (1 - second) / (1 - both)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "between-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# With clean data as the near point, and one step: the posterior of the chapter. (20 steps, so that one is wide.)
x0, x_t = normal(41, 6, 2), normal(42, 6, 2)
short = lfdm.GaussianDiffusion(lfdm.DiffusionConfig(num_steps=20))
now, before = short.exact_alpha_bar()[4].item(), short.exact_alpha_bar()[3].item()
beta = 1 - now / before
mean, variance = short.posterior(x0.float(), x_t.float(), torch.full((6,), 4))
hold(
    between(x0.clone(), x_t.clone(), 1.0, before, now),
    (mean.double(), variance[0].item()),
    {
        "The variance is that of a forward step, beta; knowing both ends leaves less: "
        "chapter 06, 'One step back, if you knew the data'": (mean.double(), beta),
        "Return the variance, not its square root: chapter 06, 'One step back, if you knew the data'": (
            mean.double(),
            variance[0].item() ** 0.5,
        ),
        "That is where the data alone expect the middle; the far point knows something too: "
        "chapter 06, 'One step back, if you knew the data'": (before**0.5 * x0, 1 - before),
    },
    what="mean and variance one step back from known data",
)
### BEGIN HIDDEN TESTS
mean, variance = short.posterior(x0.float(), x_t.float(), torch.full((6,), 17))
hold(
    between(x0.clone(), x_t.clone(), 1.0, short.exact_alpha_bar()[16].item(), short.exact_alpha_bar()[17].item()),
    (mean.double(), variance[0].item()),
    what="mean and variance one step back from known data, at step 17 of 20",
    atol=1e-4,  # the library rounds its factors to float32
)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "between-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# By brute force: multiply the two densities on a fine grid of places u, and take mean and variance.
def on_grid(x_near: Tensor, x_far: Tensor, near: float, middle: float, far: float) -> tuple[Tensor, float]:
    u = torch.linspace(-8, 8, 40_001, dtype=torch.float64)
    first, second = middle / near, far / middle
    log_first = -((u - first**0.5 * x_near[:, None]) ** 2) / (2 * (1 - first))
    log_second = -((x_far[:, None] - second**0.5 * u) ** 2) / (2 * (1 - second))
    weight = (log_first + log_second).softmax(dim=1)
    mean = weight @ u
    return mean, (weight[0] @ (u - mean[0]) ** 2).item()


def between_mistakes(x_near: Tensor, x_far: Tensor, near: float, middle: float, far: float) -> dict:
    first, second, share = middle / near, far / middle, (near - middle) / (near - far)
    mean, variance = on_grid(x_near, x_far, near, middle, far)
    as_data = on_grid(x_near, x_far, 1.0, middle, far)
    where = ": chapter 06, 'One step back, if you knew the data'"
    return {
        "The near point is no clean data: only middle / near of its variance is left in the middle" + where: as_data,
        "A straight line between the points forgets that the chain shrinks what it carries" + where: (
            (1 - share) * x_near + share * x_far,
            variance,
        ),
        "The near point alone says this; the far one knows something too" + where: (first**0.5 * x_near, 1 - first),
        "The variance is that of a step of the chain; knowing both ends leaves less" + where: (mean, 1 - second),
        "Return the variance, not its square root" + where: (mean, variance**0.5),
    }


### BEGIN HIDDEN TESTS
def between_mistakes(x_near, x_far, near, middle, far, others=between_mistakes) -> dict:
    first, second, variance = middle / near, far / middle, on_grid(x_near, x_far, near, middle, far)[1]
    swapped = (first**0.5 * (1 - first) * x_near + second**0.5 * (1 - second) * x_far) / (1 - first * second)
    unshrunken = (first**0.5 * (1 - second) * x_near + (1 - first) * x_far) / (1 - first * second)
    return others(x_near, x_far, near, middle, far) | {
        "The two weights are swapped: the nearer a level is, the more its point counts: "
        "chapter 06, 'One step back, if you knew the data'": (swapped, variance),
        "The far point holds the middle shrunken; its weight has that factor, too: "
        "chapter 06, 'One step back, if you knew the data'": (unshrunken, variance),
    }


### END HIDDEN TESTS
x_near, x_far = normal(43, 5), normal(44, 5)
for levels in ((0.9, 0.5, 0.2), (0.5, 0.45, 0.01)):
    hold(
        between(x_near.clone(), x_far.clone(), *levels),
        on_grid(x_near, x_far, *levels),
        between_mistakes(x_near, x_far, *levels),
        what=f"mean and variance at the levels {levels}",
    )
### BEGIN HIDDEN TESTS
x_near, x_far = normal(45, 4), normal(46, 4)
for levels in ((1.0, 0.7, 0.3), (0.99, 0.2, 0.1), (0.6, 0.3, 0.001), (0.2, 0.1, 0.05)):
    hold(
        between(x_near.clone(), x_far.clone(), *levels),
        on_grid(x_near, x_far, *levels),
        between_mistakes(x_near, x_far, *levels),
        what=f"mean and variance at the levels {levels}",
    )
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "between-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# At the ends nothing is left to guess.
x_near, x_far = normal(47, 3, 2), normal(48, 3, 2)
for at, point in ((0.8, x_near), (0.3, x_far)):
    try:
        answer = between(x_near.clone(), x_far.clone(), 0.8, at, 0.3)
    except ZeroDivisionError:
        raise AssertionError(
            "the middle may be one of the ends, and your formula divides by zero there: over a common denominator it "
            "does not: chapter 06, 'One step back, if you knew the data'"
        ) from None
    hold(answer, (point, 0.0), what=f"mean and variance for a middle of {at} between 0.8 and 0.3")
### BEGIN HIDDEN TESTS
hold(between(x_near.clone(), x_far.clone(), 1.0, 1.0, 0.3), (x_near, 0.0), what="mean and variance at clean data")
given, kept = x_near.clone(), x_far.clone()
between(given, kept, 0.8, 0.5, 0.3)
for name, now, then in (("x_near", given, x_near), ("x_far", kept, x_far)):
    hold(now, then, what=f"{name} after the call (your function changes its input in place, and must not)")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "between-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Who knows the near point alone is left with the variance 1 - middle / near. It is the sum of two: of your variance, which
# is left when the far point is known too, and of the variance that your mean has while the far point is not known.
one, none = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
for near, middle, far in ((0.9, 0.6, 0.1), (0.4, 0.3, 0.2)):
    answer = between(none.clone(), one.clone(), near, middle, far)
    hold(answer, (none, 0.0), what="the answer for the points 0 and 1", atol=math.inf)  # kinds and shapes
    told = answer[0].item() ** 2 * (1 - far / near)
    hold(
        answer[1] + told,
        1 - middle / near,
        {
            "Return the variance, not its square root: chapter 06, 'One step back, if you knew the data'": (
                (1 - middle / near - told) ** 0.5 + told
            ),
            "The variance is that of a step of the chain; knowing both ends leaves less: "
            "chapter 06, 'One step back, if you knew the data'": 1 - far / middle + told,
            "The near point alone says this; the far one knows something too: "
            "chapter 06, 'One step back, if you knew the data'": 1 - middle / near + told,
        },
        what=f"your variance with that of your mean, at the levels {(near, middle, far)},",
    )
### BEGIN HIDDEN TESTS
# A chain that is simulated: its middle, less your mean, has your variance and nothing in common with either end.
near, middle, far = 0.7, 0.4, 0.15
x_near, xi = normal(49, 400_000), normal(50, 2, 400_000)
x_middle = (middle / near) ** 0.5 * x_near + (1 - middle / near) ** 0.5 * xi[0]
x_far = (far / middle) ** 0.5 * x_middle + (1 - far / middle) ** 0.5 * xi[1]
mean, variance = between(x_near.clone(), x_far.clone(), near, middle, far)
rest = x_middle - mean
hold(rest.var().item(), float(variance), what="the variance around your mean in simulated chains", atol=0.005)
for name, end in (("near", x_near), ("far", x_far)):
    hold((rest * end).mean().item(), 0.0, what=f"what your mean leaves unsaid of the {name} point", atol=0.01)
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "draw_between", "locked": false, "schema_version": 3, "solution": false, "task": false}
levels = torch.linspace(0.95, 0.1, 100).double().tolist()
points = torch.tensor([1.2], dtype=torch.float64), torch.tensor([-1.0], dtype=torch.float64)
answers = [between(*points, levels[0], level, levels[-1]) for level in levels]
mean = torch.tensor([answer[0].item() for answer in answers])
deviation = torch.tensor([answer[1] for answer in answers]).clamp(min=0).sqrt()
plt.figure(figsize=(6, 2.8))
plt.fill_between(levels, mean - deviation, mean + deviation, color="0.85")
plt.plot(levels, mean, color=viz.COLOURS["blue"])
plt.plot([levels[0], levels[-1]], [1.2, -1.0], "o", color="k")
plt.gca().invert_xaxis()
plt.xlabel(r"$\bar\alpha$ of the middle, data at the left")
plt.ylabel("x")
plt.show()

# %% [markdown]
# ## Exercise 5: three faults in a sampler (6 points, 40 minutes)
#
# *Goal: to find faults that do not crash, from the numbers that they spoil. Read chapter 07, "Noise put back" and
# "In range: static and dynamic thresholding" (which may be skipped there, but not here). "One step off" shows how numbers
# give such a fault away; the fault there is another.*
#
# The function `broken` below samples with DDIM: $\eta$ puts noise back, and `limit` cuts every guess of $\mathbf x_0$ at
# the range of the data. It has **three faults**: one always shows, one only with $\eta > 0$, one only with a limit. Find
# them; then write `mended`, which has the same arguments and none of the faults. These are their symptoms, in this order,
# and each is marked by a test of its own:
#
# * Data that are a single point come out as a cloud, the wider the fewer steps there are.
# * With $\eta = 1$ the samples are too wide, and the wider, the more steps you take.
# * With a limit, $\mathbf x_t$ is no longer the mixture of the two guesses that the step is made of.
#
# ![Deviation of samples over the number of steps on a logarithmic axis; 0.5 is right. The broken function with eta 1 lies far above and rises; with eta 0 it starts a little above and joins the others. The mended one comes from below, for both values of eta, and ends at 0.5.](figures/ps4_diffusion_mended.png)
#
# *What a right answer draws, for data of deviation 0.5 (dotted): circles, $\eta = 0$; squares, $\eta = 1$. Full lines:
# mended; broken lines: as given.*


# %% nbgrader={"grade": false, "grade_id": "given_broken", "locked": true, "schema_version": 3, "solution": false, "task": false}
def even_path(steps: int) -> list[int]:
    """`steps` of the 1000 steps, evenly spaced, the noisiest first."""
    return [round(1000 - i * 1000 / steps) - 1 for i in range(steps)]


def narrow(x: Tensor, t: int) -> Tensor:
    """The perfect denoiser of normal data of deviation 0.5."""
    at = ALPHA_BAR[t]
    return at.sqrt() * 0.25 / (at * 0.25 + 1 - at) * x


def broken(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    """DDIM, with three faults."""
    x = noises[0]
    for i, (t, t_next) in enumerate(pairwise(path)):
        at, at_next = alpha_bar[t], alpha_bar[t_next]
        x0 = denoise(x, t)
        eps = (x - at.sqrt() * x0) / (1 - at).sqrt()
        if limit is not None:
            x0 = x0.clamp(-limit, limit)
        fresh = eta * ((1 - at_next) / (1 - at) * (1 - at / at_next)).sqrt()
        x = at_next.sqrt() * x0 + (1 - at_next).sqrt() * eps + fresh * noises[i + 1]
    return x


# %% nbgrader={"grade": false, "grade_id": "mended", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mended(
    denoise, noises: list[Tensor], path: list[int], alpha_bar: Tensor, eta: float = 0.0, limit: float | None = None
) -> Tensor:
    """A sample of x0 by DDIM.

    Args:
        denoise: called as denoise(x, t) with a step t, an int; answers a guess of x0, as x.
        noises: as many as steps: noises[0] is where to start, noises[i + 1] is fresh for the i-th step. The last step,
            to clean data, takes none.
        path: steps, the noisiest first.
        alpha_bar: share of the signal's variance left after each step, (N,).
        eta: how much of DDPM's noise is put back, from 0 to 1.
        limit: guesses of x0 are cut to -limit ... limit; None: they are left alone.

    Returns:
        Clean samples, as noises[0].
    """
    ### BEGIN SOLUTION
    x = noises[0]
    for i, t in enumerate(path):
        at = alpha_bar[t]
        x0 = denoise(x, t)
        if limit is not None:
            x0 = x0.clamp(-limit, limit)
        if i == len(path) - 1:
            return x0  # the step to clean data
        eps = (x - at.sqrt() * x0) / (1 - at).sqrt()
        at_next = alpha_bar[path[i + 1]]
        fresh = eta * ((1 - at_next) / (1 - at) * (1 - at / at_next)).sqrt()
        old = (1 - at_next - fresh**2).clamp(min=0).sqrt()
        x = at_next.sqrt() * x0 + old * eps + fresh * noises[i + 1]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "mended-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Data that are a single point come out as this point, in any number of steps.
### BEGIN HIDDEN TESTS
def hold_but_for_the_end(answer, right, x, mistakes, what) -> None:
    """`hold`, unless only the last step is missing: the test below marks that, so it is no fault in the next two."""
    last = isinstance(answer, Tensor) and answer.shape == x.shape and torch.allclose(answer.double(), x, atol=1e-5)
    if not last:
        hold(answer, right, mistakes, what=what)


def with_old(old, denoise, noises, path, eta) -> Tensor:
    """What comes of another amount of old noise, old(variance, fresh)."""
    x = noises[0]
    for i, (t, t_next) in enumerate(pairwise(path)):
        at, at_next, x0 = ALPHA_BAR[t], ALPHA_BAR[t_next], denoise(x, t)
        fresh = eta * ((1 - at_next) / (1 - at) * (1 - at / at_next)).sqrt()
        x = at_next.sqrt() * x0 + old(1 - at_next, fresh) * (x - at.sqrt() * x0) / (1 - at).sqrt()
        x = x + fresh * noises[i + 1]
    return denoise(x, path[-1])


OLD = {
    "The old noise must make room for the fresh, so that both variances add up to 1 - alpha_bar: "
    "chapter 07, 'Noise put back'": lambda variance, fresh: variance.sqrt(),
    "Variances add up, not deviations: chapter 07, 'Noise put back'": lambda variance, fresh: variance.sqrt() - fresh,
    "The fresh noise's deviation must be squared before it is taken from a variance: chapter 07, 'Noise put back'": (
        lambda variance, fresh: (variance - fresh).clamp(min=0).sqrt()
    ),
}
UNFINISHED = (
    "The samples still hold the noise of the last step of the path; one step is left, to clean data: "
    "chapter 07, 'DDIM: one Euler step in another clock'"
)
### END HIDDEN TESTS
point = torch.tensor([0.7, -1.5], dtype=torch.float64)
noises = [normal(60 + i, 4, 2) for i in range(10)]
for path in (even_path(10), even_path(3)):
    mistakes = {}
    ### BEGIN HIDDEN TESTS
    at, noisiest = ALPHA_BAR[path[0]], ALPHA_BAR[-1]
    eps = (noises[0] - at.sqrt() * point) / (1 - at).sqrt()
    mistakes = {
        UNFINISHED: broken(lambda x, t: point.expand_as(x), noises, path, ALPHA_BAR),
        "In Python alpha_bar[-1] is the noisiest step, not clean data: chapter 06, 'Forward: from data to noise'": (
            noisiest.sqrt() * point + (1 - noisiest).sqrt() * eps
        ),
    }
    ### END HIDDEN TESTS
    hold(
        mended(lambda x, t: point.expand_as(x), [noise.clone() for noise in noises], list(path), ALPHA_BAR.clone()),
        point.expand(4, 2),
        mistakes,
        what=f"what comes out in {len(path)} steps",
    )
### BEGIN HIDDEN TESTS
hold(
    mended(lambda x, t: torch.full_like(x, 0.2), [normal(71, 2, 3, 4)], [999], ALPHA_BAR.clone()),
    torch.full((2, 3, 4), 0.2, dtype=torch.float64),
    what="a sample in a single step",
)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "mended-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# From zero, with a first guess of zero, x holds the fresh noise alone. Then: data of deviation 0.5 come out with this
# deviation, in many steps, however much noise is put back.
at, at_next, zeros = ALPHA_BAR[700], ALPHA_BAR[300], torch.zeros(4, dtype=torch.float64)
ddpm = ((1 - at_next) / (1 - at) * (1 - at / at_next)).sqrt().expand(4)  # `broken` has this right
for eta in (1.0, 0.5):
    fresh = mended(lambda x, t: 0 * x if t == 700 else x, [zeros.clone(), zeros + 1], [700, 300], ALPHA_BAR, eta)
    mistakes = {
        "No fresh noise arrives; eta scales that of DDPM: chapter 07, 'Noise put back'": zeros,
        "eta scales the deviation of the noise, and is not squared: chapter 07, 'Noise put back'": eta**2 * ddpm,
    }
    hold(fresh, eta * ddpm, mistakes, what=f"the fresh noise with eta = {eta:g}")


### BEGIN HIDDEN TESTS
# With eta = 1 it is DDPM: every step is a draw from the posterior around the guess.
def ancestral(denoise, noises, path) -> tuple[Tensor, Tensor]:
    """Mean B / A and variance 1 / A, by completing the square; the guess in the end, and what it is made of."""
    x = noises[0]
    for i, (t, t_next) in enumerate(pairwise(path)):
        at, at_next = ALPHA_BAR[t].item(), ALPHA_BAR[t_next].item()
        beta = 1 - at / at_next
        A = (1 - beta) / beta + 1 / (1 - at_next)
        B = (1 - beta) ** 0.5 / beta * x + at_next**0.5 / (1 - at_next) * denoise(x, t)
        x = B / A + A**-0.5 * noises[i + 1]
    return denoise(x, path[-1]), x


path, noises = even_path(8), [normal(80 + i, 5, 2) for i in range(8)]
answer = mended(narrow, [noise.clone() for noise in noises], list(path), ALPHA_BAR.clone(), eta=1.0)
right, x = ancestral(narrow, noises, path)
mistakes = {sentence: with_old(old, narrow, noises, path, 1.0) for sentence, old in OLD.items()}
mistakes[UNFINISHED] = broken(narrow, noises, path, ALPHA_BAR, eta=1.0)
hold_but_for_the_end(answer, right, x, mistakes, what="what comes out with eta = 1")
from lfdm_lite import samplers

path, noises = even_path(25), [normal(100 + i, 400, 1) for i in range(25)]
x = noises[0]
for i, (t, t_next) in enumerate(pairwise(path)):
    at, at_next, guess = ALPHA_BAR[t].item(), ALPHA_BAR[t_next].item(), narrow(x, t)
    x = samplers.ddim_step(guess, (x - at**0.5 * guess) / (1 - at) ** 0.5, at, at_next, 0.4, noises[i + 1])
answer = mended(narrow, [noise.clone() for noise in noises], list(path), ALPHA_BAR.clone(), eta=0.4)
mistakes = {sentence: with_old(old, narrow, noises, path, 0.4) for sentence, old in OLD.items()}
hold_but_for_the_end(answer, narrow(x, path[-1]), x, mistakes, what="what comes out with eta = 0.4")
### END HIDDEN TESTS
path, noises = even_path(250), [normal(500 + i, 4000) for i in range(250)]
for eta in (1.0, 0.5):
    samples = mended(narrow, [noise.clone() for noise in noises], list(path), ALPHA_BAR.clone(), eta=eta)
    hold(samples, noises[0], what=f"what comes out with eta = {eta:g}", atol=math.inf)  # kind and shape
    hold(
        samples.std().item(), 0.5, what=f"the deviation of these samples, eta = {eta:g},", atol=0.025
    )  # 4000 samples, 250 steps


# %% nbgrader={"grade": true, "grade_id": "mended-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# With a limit the guess of the noise follows that of the data, so that both make up x_t. (A guess that overshoots where
# there is much noise, as guided ones may do.)
def loud(x: Tensor, t: int) -> Tensor:
    return narrow(x, t) + 2 * (1 - ALPHA_BAR[t])


### BEGIN HIDDEN TESTS
def euler(denoise, x: Tensor, path, limit: float) -> tuple[Tensor, Tensor]:
    """The step in the clock kappa, where the slope is the noise that belongs to the guess that was cut."""
    cut = lambda x, t: denoise(x, t).clip(-limit, limit)
    for t, t_next in pairwise(path):
        kappa, kappa_next = (1 / ALPHA_BAR[t] - 1).sqrt(), (1 / ALPHA_BAR[t_next] - 1).sqrt()
        u = x / ALPHA_BAR[t].sqrt()
        x = ALPHA_BAR[t_next].sqrt() * (u + (kappa_next - kappa) * (u - cut(x, t)) / kappa)
    return cut(x, path[-1]), x


def kept_noise(denoise, noises, path, limit) -> Tensor:
    """What comes of the noise that belongs to the guess before it was cut."""
    x = broken(denoise, noises, path, ALPHA_BAR, limit=limit)
    return denoise(x, path[-1]).clamp(-limit, limit)


IN_RANGE = ": chapter 07, 'In range: static and dynamic thresholding'"
KEPT = "The guess of the noise is still the one of the guess before it was cut" + IN_RANGE
path, noises = even_path(10), [normal(130 + i, 6, 2) for i in range(10)]
plain = with_old(lambda variance, fresh: variance.sqrt(), loud, noises, path, 0.0)
answer = mended(loud, [noise.clone() for noise in noises], list(path), ALPHA_BAR.clone(), limit=0.5)
right, x = euler(loud, noises[0], path, 0.5)
mistakes = {
    KEPT: kept_noise(loud, noises, path, 0.5),
    "The samples are cut at the end; every guess must be" + IN_RANGE: plain.clamp(-0.5, 0.5),
    "The last guess is to be cut, too" + IN_RANGE: loud(x, path[-1]),
    "Nothing is cut" + IN_RANGE: plain,
    UNFINISHED: broken(loud, noises, path, ALPHA_BAR, limit=0.5),
}
hold_but_for_the_end(answer, right, x, mistakes, what="what comes out with the limit 0.5")
path, noises = even_path(40), [normal(150 + i, 3, 2, 2) for i in range(40)]
answer = mended(loud, [noise.clone() for noise in noises], list(path), ALPHA_BAR.clone(), limit=1.2)
right, x = euler(loud, noises[0], path, 1.2)
mistakes = {KEPT: kept_noise(loud, noises, path, 1.2)}
hold_but_for_the_end(answer, right, x, mistakes, what="what comes out with the limit 1.2")
### END HIDDEN TESTS
seen, path, noises = [], [800, 500, 100], [normal(170 + i, 6, 2) for i in range(3)]
samples = mended(lambda x, t: seen.append(x.clone()) or loud(x, t), [*noises], path, ALPHA_BAR.clone(), limit=0.5)
hold(samples, noises[0], what="what comes out with a limit", atol=math.inf)  # kind and shape
assert len(seen) >= 2, "the denoiser is asked at every step of the path"
for i in range(len(seen) - 1):
    at, at_next = ALPHA_BAR[path[i]], ALPHA_BAR[path[i + 1]]
    guess = loud(seen[i], path[i]).clamp(-0.5, 0.5)
    eps = (seen[i + 1] - at_next.sqrt() * guess) / (1 - at_next).sqrt()  # the noise in what your step made
    hold(at.sqrt() * guess + (1 - at).sqrt() * eps, seen[i], what=f"the mixture of both guesses of step {path[i]}")
if len(seen) == 3:  # the last step is there; whether it is, the first test marks
    last = loud(seen[2], path[2])
    mistakes = {"The last guess is to be cut, too: chapter 07, 'In range: static and dynamic thresholding'": last}
    hold(samples, last.clamp(-0.5, 0.5), mistakes, what="what comes out with the limit 0.5")

# %% nbgrader={"grade": true, "grade_id": "mended-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# It asks once at every step of the path, in its order, and leaves its noises alone.
asked, path, noises = [], even_path(6), [normal(200 + i, 3, 2) for i in range(6)]
given = [noise.clone() for noise in noises]
mended(lambda x, t: asked.append(int(t)) or narrow(x, t), given, list(path), ALPHA_BAR.clone(), 0.5, 1.0)
more = {"The step from the last of the path to clean data asks, too": len(path) - 1}
hold(len(asked), len(path), more, what="the number of times that the denoiser is asked")
hold(
    asked,
    path,
    {
        "It is asked at the step where you go; it must be asked where you are: chapter 07, 'One step off'": [
            *path[1:],
            path[-1],
        ]
    },
    what="the steps at which the denoiser is asked",
)
hold(given, noises, what="noises after the call (your function changes its input in place, and must not)")
### BEGIN HIDDEN TESTS
from lfdm_lite import samplers


def followed(alpha_bar, path, noises, eta, limit) -> Tensor:
    x = noises[0]
    for i, (t, t_next) in enumerate(pairwise(path)):
        at, at_next, guess = alpha_bar[t].item(), alpha_bar[t_next].item(), loud(x, t).clip(-limit, limit)
        x = samplers.ddim_step(guess, (x - at**0.5 * guess) / (1 - at) ** 0.5, at, at_next, eta, noises[i + 1])
    return loud(x, path[-1]).clip(-limit, limit)


noises = [normal(210 + i, 5, 3) for i in range(12)]
for chain, path in ((ALPHA_BAR, even_path(12)), (torch.linspace(0.9, 0.1, 7, dtype=torch.float64), [6, 3, 1])):
    hold(
        mended(loud, [noise.clone() for noise in noises], list(path), chain.clone(), eta=0.7, limit=0.8),
        followed(chain, path, noises, 0.7, 0.8),
        {
            "You read ALPHA_BAR of the notebook, not the alpha_bar that your function is given": (
                followed(ALPHA_BAR, path, noises, 0.7, 0.8)
            )
        },
        what=f"what comes out of {len(chain)} levels, with eta = 0.7 and the limit 0.8",
    )
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "draw_mended", "locked": false, "schema_version": 3, "solution": false, "task": false}
counts, fresh = [4, 8, 16, 32, 64, 128, 250], [normal(300 + i, 3000) for i in range(250)]
plt.figure(figsize=(6, 2.8))
for function, style in ((mended, "-"), (broken, "--")):
    for eta, marker, colour in ((0.0, "o", "blue"), (1.0, "s", "orange")):
        ends = [function(narrow, fresh, even_path(n), ALPHA_BAR, eta).std().item() for n in counts]
        name = rf"{function.__name__}, $\eta$ = {eta:g}"
        plt.semilogx(counts, ends, style, marker=marker, color=viz.COLOURS[colour], label=name)
plt.axhline(0.5, color="k", linestyle=":", linewidth=1)
plt.xlabel("steps")
plt.ylabel("deviation of the samples")
plt.legend()
plt.show()

# %% [markdown]
# ## Exercise 6: the order, without the truth (5 points, 40 minutes)
#
# *Goal: to measure a solver where no exact solution is known, and to get a better answer for nothing. Read chapter 07,
# "Order of convergence, measured"; how to get the better answer it does not say.*
#
# The chapter measures the order of a solver against a flow that is known. For a real model it is not known. But say a
# solver of order $p$ has walked $n$ steps from each of some starting points, and the place where it ends is off by about
# $\mathbf c\, n^{-p}$, with a $\mathbf c$ that differs from point to point and that you do not know. You have the ends
# of the same starts after $n$, $2n$ and $4n$ steps: `coarse`, `middle`, `fine`. From these three alone find
#
# * the **order** $p$: by how much does the distance shrink from one pair to the next? (Distances are norms of points, averaged
#   over the points; the order is not rounded.)
# * a **better** end for every start: where would it end if you doubled the steps again and again? Take $p$ rounded to the
#   nearest whole number here (the order that you return stays as it is), and 1 if that is less than 1.
# * the **error** of `fine`: the mean distance of its points from the better ones.
#
# If `middle` and `fine` are equal, the solver has arrived: the order is `math.inf`, nothing is better than `fine`, and
# the error is 0. You may take it that `coarse` and `middle` differ.
#
# ![Error over the number of steps on logarithmic axes, for DDIM. Full line: the fine ends, falling with slope one. Broken line: the better ends, lower, falling twice as steeply. Crosses: the estimated error, on the full line.](figures/ps4_diffusion_order_of.png)
#
# *What a right answer draws, for DDIM and data of which the flow is known: the true errors of the fine ends and of the
# better ones, and the error that you estimated without the truth.*

# %% nbgrader={"grade": false, "grade_id": "given_solvers", "locked": true, "schema_version": 3, "solution": false, "task": false}
MU, TAU = torch.tensor([0.5, -0.3], dtype=torch.float64), 0.4  # one Gaussian: its flow is known
FIRST, LAST = -3.0, 3.0  # lambda, where the walks begin and end


def level(lamda: float) -> tuple[float, float]:
    """alpha and sigma."""
    return (1 / (1 + math.exp(-2 * lamda))) ** 0.5, (1 / (1 + math.exp(2 * lamda))) ** 0.5


def exact_end(x: Tensor) -> Tensor:
    """Where the flow takes x from the first level to the last."""
    (alpha, sigma), (alpha_end, sigma_end) = level(FIRST), level(LAST)
    wide = math.hypot(alpha_end * TAU, sigma_end) / math.hypot(alpha * TAU, sigma)
    return alpha_end * MU + wide * (x - alpha * MU)


def ddim_end(x: Tensor, steps: int) -> Tensor:
    """Where DDIM with the perfect denoiser takes x, in equal steps of lambda: order 1."""
    for i in range(steps):
        alpha, sigma = level(FIRST + (LAST - FIRST) * i / steps)
        alpha_next, sigma_next = level(FIRST + (LAST - FIRST) * (i + 1) / steps)
        x0 = MU + alpha * TAU**2 / (alpha**2 * TAU**2 + sigma**2) * (x - alpha * MU)
        x = alpha_next * x0 + sigma_next * (x - alpha * x0) / sigma
    return x


# %% nbgrader={"grade": false, "grade_id": "order_of", "locked": false, "schema_version": 3, "solution": true, "task": false}
def order_of(coarse: Tensor, middle: Tensor, fine: Tensor) -> tuple[float, Tensor, float]:
    """The order of a solver, better ends, and the error of the fine ones.

    Args:
        coarse, middle, fine: ends of the same starts after n, 2 n and 4 n steps, (b, d).

    Returns:
        The order, a number; better ends, (b, d); the estimated mean distance of `fine` from the truth, a number.
    """
    ### BEGIN SOLUTION
    first = (coarse - middle).norm(dim=1).mean().item()
    second = (middle - fine).norm(dim=1).mean().item()
    if second == 0:
        return math.inf, fine.clone(), 0.0
    order = math.log2(first / second)
    whole = 1 if order < 1 else round(order)
    better = fine + (fine - middle) / (2**whole - 1)
    return order, better, (better - fine).norm(dim=1).mean().item()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "order_of-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Ends of a solver of exactly first order: halving the steps halves what is missing.
def order_mistakes(p: float, better: Tensor, error: float) -> dict:
    where = ": chapter 07, 'Order of convergence, measured'"
    return {
        "That is the ratio of the two distances; the order is its logarithm to the base 2" + where: (
            2**p,
            better,
            error,
        ),
        "The order is a logarithm to the base 2" + where: (p * math.log(2), better, error),
        "The ratio is upside down: an order is positive where errors shrink" + where: (-p, better, error),
        "Compare neighbours: coarse with middle, middle with fine": (math.log2(2**p + 1), better, error),
    }


def end_mistakes(p: int, truth: Tensor, c: Tensor, missing: float) -> dict:
    fine, doubled, middle = 4.0**-p, 8.0**-p, 2.0**-p  # shares of c that are missing; doubled: of 8 n steps
    return {
        "Go on in the direction from middle to fine, not back": (p, truth + 2 * c * fine, missing * fine),
        "Only the next doubling of the steps leads there; add up what all further ones bring": (
            (p, truth + c * doubled, missing * (fine - doubled))
        ),
        "You go on as with order 1, whatever the order is": (
            (p, truth + c * (2 * fine - middle), missing * (middle - fine))
        ),
        "The error is a mean of the points' norms, not of all coordinates": (p, truth, c.abs().mean().item() * fine),
        "The error is a mean of norms, not the root of the mean of their squares": (
            (p, truth, c.square().sum(dim=1).mean().sqrt().item() * fine)
        ),
        "That is the norm of all points together; the error is a mean": (p, truth, c.norm().item() * fine),
        "That is the distance of middle from the better ends, not of fine": (p, truth, missing * middle),
    }


truth, c = normal(401, 6, 2), normal(402, 6, 2)
missing = c.square().sum(dim=1).sqrt().mean().item()
mistakes = order_mistakes(1, truth, missing / 4) | end_mistakes(1, truth, c, missing)
hold(
    order_of(truth + c, truth + c / 2, truth + c / 4),
    (1.0, truth, missing / 4),
    mistakes,
    what="order, better ends and error of a solver of first order",
)
### BEGIN HIDDEN TESTS
truth, c = normal(403, 9, 5), 0.01 * normal(404, 9, 5)
missing = c.square().sum(dim=1).sqrt().mean().item()
hold(
    order_of(truth + c, truth + c / 2, truth + c / 4),
    (1.0, truth, missing / 4),
    what="order, better ends and error of another solver of first order",
)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "order_of-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# A solver of second order: a quarter is left each time.
truth, c = normal(405, 7, 3), normal(406, 7, 3)
missing = c.square().sum(dim=1).sqrt().mean().item()
mistakes = order_mistakes(2, truth, missing / 16) | end_mistakes(2, truth, c, missing)


### BEGIN HIDDEN TESTS
def mistakes_at(p: int, truth: Tensor, c: Tensor, missing: float) -> dict:
    second = 2**-p - 4**-p  # of c: the distance from middle to fine
    end = truth + c * 4**-p
    return {
        "Go on from fine and middle, the two best, not from coarse": (
            float(p),
            end - c * (1 - 2**-p) / (2**p - 1),
            missing * (1 - 2**-p) / (2**p - 1),
        ),
        "4 n steps are twice, not four times as many as 2 n: chapter 07, 'Order of convergence, measured'": (
            p / 2,
            end - c * second / (2 ** max(1, round(p / 2)) - 1),
            missing * second / (2 ** max(1, round(p / 2)) - 1),
        ),
    }


mistakes = mistakes_at(2, truth, c, missing) | mistakes
### END HIDDEN TESTS
hold(
    order_of(truth + c, truth + c / 4, truth + c / 16),
    (2.0, truth, missing / 16),
    mistakes,
    what="order, better ends and error of a solver of second order",
)
### BEGIN HIDDEN TESTS
for p in (3, 5):
    hold(
        order_of(truth + c, truth + c / 2**p, truth + c / 4**p),
        (float(p), truth, missing / 4**p),
        mistakes_at(p, truth, c, missing) | end_mistakes(p, truth, c, missing),
        what=f"order, better ends and error of a solver of order {p}",
    )
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "order_of-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# A real solver: DDIM in 40, 80 and 160 steps, on data of which the flow is known.
starts = normal(407, 50, 2)
ends = [ddim_end(starts, steps) for steps in (40, 80, 160)]
true_error = (ends[2] - exact_end(starts)).norm(dim=1).mean().item()
answer = order_of(*(end.clone() for end in ends))
hold(answer, (0.0, starts, 0.0), what="the answer", atol=math.inf)  # kinds and shapes
hold(answer[0], 1.0, what="the order of DDIM", atol=0.05)  # what is missing is not exactly c / n
hold(
    answer[1],
    exact_end(starts),
    {
        "Your ends are no better than fine; go on from there": ends[2],
    },
    what="the better end",
    atol=0.1 * true_error,
)
hold(answer[2] / true_error, 1.0, what="the estimated error of DDIM, divided by the true one,", atol=0.1)
### BEGIN HIDDEN TESTS
starts = normal(408, 30, 2)
ends = [ddim_end(starts, steps) for steps in (60, 120, 240)]
true_error = (ends[2] - exact_end(starts)).norm(dim=1).mean().item()
answer = order_of(*(end.clone() for end in ends))
hold(answer[0], 1.0, what="the order of DDIM, measured with more steps", atol=0.05)
hold(answer[1], exact_end(starts), what="the better end, after more steps", atol=0.1 * true_error)
hold(answer[2] / true_error, 1.0, what="the estimated error after more steps, divided by the true one,", atol=0.1)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "order_of-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# A measured order is no whole number, and is returned as it is; to extrapolate, it is rounded.
truth, c = normal(409, 4, 2), normal(410, 4, 2)
coarse, middle, fine = (truth + c * n**-1.9 for n in (1, 2, 4))
way = c * (2**-1.9 - 4**-1.9)  # from fine to middle
right = 1.9, fine - way / 3, way.square().sum(dim=1).sqrt().mean().item() / 3
mistakes = order_mistakes(*right) | {
    "The order that you return is not to be rounded": (2.0, *right[1:]),
    "To go on from fine, the order is rounded to a whole number": (1.9, truth, c.norm(dim=1).mean().item() * 4**-1.9),
    "Only the next doubling of the steps leads there; add up what all further ones bring": (
        (1.9, fine - way / 4, 0.75 * right[2])
    ),
}
### BEGIN HIDDEN TESTS
mistakes |= {"The order is cut off, not rounded": (1.9, fine - way, 3 * right[2])}
### END HIDDEN TESTS
hold(
    order_of(coarse.clone(), middle.clone(), fine.clone()),
    right,
    mistakes,
    what="order, better ends and error of a solver of order 1.9",
)
### BEGIN HIDDEN TESTS
try:
    answer = order_of(coarse.clone(), fine.clone(), fine.clone())
except ZeroDivisionError:
    raise AssertionError("middle and fine may be equal: then the order is math.inf, and nothing is divided") from None
hold(answer, (0.0, fine, 0.0), what="the answer where middle and fine are equal", atol=math.inf)  # kinds and shapes
assert answer[0] == math.inf, "where middle and fine are equal, the order is math.inf"
hold(answer[1], fine, what="the better ends where middle and fine are equal")
hold(answer[2], 0.0, what="the error where middle and fine are equal")
given = [coarse.clone(), middle.clone(), fine.clone()]
order_of(*given)
hold(given, [coarse, middle, fine], what="the ends after the call (your function must not change its input in place)")
answer = order_of(truth + c, truth + 2 * c, truth + 4 * c)  # a solver that diverges
hold(answer[0], -1.0, what="the order where the distances grow")
hold(
    answer[1],
    truth + 6 * c,
    {"With an order below 1, go on as with 1": truth},
    what="the better end where the distances grow",
)
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "draw_order_of", "locked": false, "schema_version": 3, "solution": false, "task": false}
starts, counts = normal(411, 50, 2), [10, 20, 40, 80, 160, 320, 640]
ends = [ddim_end(starts, n) for n in counts]
found = [order_of(*ends[i : i + 3]) for i in range(len(counts) - 2)]
distance = lambda points: (points - exact_end(starts)).norm(dim=1).mean().item()
plt.figure(figsize=(6, 2.8))
plt.loglog(counts[2:], [distance(end) for end in ends[2:]], "o-", label="fine")
plt.loglog(counts[2:], [distance(better) for _, better, _ in found], "D--", label="better")
plt.loglog(counts[2:], [error for _, _, error in found], "kx", markersize=9, label="estimated, of fine")
plt.xticks(counts[2:], counts[2:])
plt.minorticks_off()
plt.xlabel("steps of the fine run")
plt.ylabel("error")
plt.legend()
plt.show()

# %% [markdown]
# ## Exercise 7: how narrow guidance makes (5 points, 40 minutes)
#
# *Goal: to predict what a guided sampler draws, where that can be said exactly. Read chapter 07, "Classifier-free
# guidance", "What it does not do", and "One Gaussian: the flow in closed form".*
#
# Data in one dimension: with the label they are $\mathcal N(0, \tau^2)$, all together $\mathcal N(0, T^2)$ (in code
# `tau_label` and `tau_all`). Sampling starts from pure noise, of deviation 1, and follows the guided ODE exactly:
# infinitely many steps with perfect denoisers, and the guidance scale $s$ that combines their answers, and with them
# their velocities.
#
# Predict, with pencil and paper, two standard deviations:
#
# * **sampled**: of what comes out. (Each of the two velocities is a factor times $x$. What does the closed form of the
#   flow say about the integral of this factor? And of a sum of two such factors?)
# * **tilted**: of the density in proportion to $q(x_0 \mid y)^s\, q(x_0)^{1 - s}$, from which guidance is often said to
#   sample. Where the exponent does not fall on both sides there is no such density: return `math.inf`.
#
# Then run the cell behind the tests: it samples, and shows whether your prediction holds.
#
# ![Deviation over the guidance scale from 0 to 5 on a logarithmic axis: a straight falling line with circles on it, and a broken curve that falls less and lies above it for scales above 1; they meet at 0 and 1.](figures/ps4_diffusion_guided_spread.png)
#
# *What a right answer draws, for $\tau = 0.5$ and $T = 1.2$: sampled (full) and tilted (broken). Circles: measured, in
# 2000 steps of DDIM.*


# %% nbgrader={"grade": false, "grade_id": "guided_spread", "locked": false, "schema_version": 3, "solution": true, "task": false}
def guided_spread(tau_label: float, tau_all: float, s: float) -> tuple[float, float]:
    """Standard deviations of what guidance draws, and of the tilted density.

    Args:
        tau_label, tau_all: standard deviations of the data with the label, and of all data; their means are 0.
        s: guidance scale; 0 is without label, 1 the plain label.

    Returns:
        The deviation of guided samples, and that of the tilted density or math.inf.
    """
    ### BEGIN SOLUTION
    sampled = tau_label**s * tau_all ** (1 - s)
    precision = s / tau_label**2 + (1 - s) / tau_all**2
    return sampled, precision**-0.5 if precision > 0 else math.inf
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "guided_spread-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Without guidance nothing is exaggerated: s = 1 is the plain label, s = 0 is all data.
for s, right in ((1.0, 0.5), (0.0, 1.5)):
    mistakes = {
        "Those are variances; deviations are asked": (right**2, right**2),
        "The two data sets are swapped: s = 1 is the plain label: chapter 07, 'Classifier-free guidance'": (
            2.0 - right,
            2.0 - right,
        ),
    }
    ### BEGIN HIDDEN TESTS
    mistakes |= {
        "You count s from the plain label; here s = 1 is the plain label: chapter 07, 'Classifier-free guidance'": (
            0.5 ** (s + 1) * 1.5**-s,
            ((s + 1) / 0.25 - s / 2.25) ** -0.5,
        )
    }
    ### END HIDDEN TESTS
    hold(
        guided_spread(0.5, 1.5, s),
        (right, right),
        mistakes,
        what=f"(sampled, tilted) at s = {s:g}",
    )
### BEGIN HIDDEN TESTS
for tau, wide in ((2.0, 0.3), (0.01, 0.9)):
    hold(guided_spread(tau, wide, 1.0), (tau, tau), what=f"(sampled, tilted) at s = 1, tau = {tau}")
    hold(guided_spread(tau, wide, 0.0), (wide, wide), what=f"(sampled, tilted) at s = 0, T = {wide}")
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "guided_spread-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# What a guided sampler draws. (The first case you can check by running the cell below these tests.)
def ddim_factor(tau: float, wide: float, s: float, steps: int) -> float:
    """The factor by which DDIM takes x from pure noise to data, guided; no closed form."""
    x = 1.0
    for i in range(steps):
        phi, phi_next = (math.pi / 2 * (1 - j / steps) for j in (i, i + 1))
        alpha, sigma = math.cos(phi), math.sin(phi)
        guess = [alpha * deviation**2 / (alpha**2 * deviation**2 + sigma**2) * x for deviation in (tau, wide)]
        x0 = guess[1] + s * (guess[0] - guess[1])
        x = math.cos(phi_next) * x0 + math.sin(phi_next) * (x - alpha * x0) / sigma
    return x


def walked(tau: float, wide: float, s: float) -> float:
    """Where ever more steps lead to."""
    return 2 * ddim_factor(tau, wide, s, 1600) - ddim_factor(tau, wide, s, 800)


def summed(tau: float, wide: float, s: float) -> float:
    """The deviation of the tilted density, if there is one, summed up on a fine grid."""
    x = torch.linspace(-12, 12, 48_001, dtype=torch.float64)
    label, every = (torch.distributions.Normal(0.0, deviation).log_prob(x) for deviation in (tau, wide))
    return ((s * label + (1 - s) * every).softmax(dim=0) @ x**2).sqrt().item()


def sampled_mistakes(tau: float, wide: float, s: float) -> dict:
    label, where = ": chapter 07, 'Classifier-free guidance'", ": chapter 07, 'One Gaussian: the flow in closed form'"
    return {
        "That is the plain label at any scale" + label: tau,
        "That is the tilted density; the ODE ends somewhere else: chapter 07, 'What it does not do'": lambda: summed(
            tau, wide, s
        ),
        "Guidance combines velocities, not deviations" + where: wide + s * (tau - wide),
        "Guidance combines velocities, not variances" + where: max(wide**2 + s * (tau**2 - wide**2), 0.0) ** 0.5,
        "Guidance does not divide the deviation by the scale" + where: tau / s,
        "That is a variance; the deviation is asked": lambda: walked(tau, wide, s) ** 2,
        "The two data sets are swapped: s = 1 is the plain label" + label: lambda: walked(wide, tau, s),
        "You count s from the plain label; here s = 1 is the plain label" + label: lambda: walked(tau, wide, s + 1),
    }


for tau, wide, s in ((0.5, 1.2, 3.0), (0.8, 1.0, 2.0)):
    answer = guided_spread(tau, wide, s)
    hold(answer, (0.0, 0.0), what="the answer", atol=math.inf)  # two numbers
    hold(
        answer[0],
        walked(tau, wide, s),
        sampled_mistakes(tau, wide, s),
        what=f"the deviation of guided samples at tau = {tau}, T = {wide}, s = {s:g}",
    )
### BEGIN HIDDEN TESTS
for tau, wide, s in ((0.3, 0.9, 1.5), (0.6, 1.4, 5.0), (1.3, 0.7, 2.0), (0.4, 1.1, 0.5)):
    hold(
        guided_spread(tau, wide, s)[0],
        walked(tau, wide, s),
        sampled_mistakes(tau, wide, s),
        what=f"the deviation of guided samples at tau = {tau}, T = {wide}, s = {s:g}",
    )
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "guided_spread-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# The tilted density, summed up on a fine grid.
def tilted_mistakes(tau: float, wide: float, s: float) -> dict:
    label = ": chapter 07, 'Classifier-free guidance'"
    return {
        "That is what guidance samples, not the tilted density: chapter 07, 'What it does not do'": lambda: walked(
            tau, wide, s
        ),
        "That is a variance; the deviation is asked": lambda: summed(tau, wide, s) ** 2,
        "That is the plain label at any scale" + label: tau,
        "You count s from the plain label; here s = 1 is the plain label" + label: lambda: summed(tau, wide, s + 1),
        "It is the exponents of the densities that are combined, not the variances": (
            max(s * tau**2 + (1 - s) * wide**2, 0.0) ** 0.5
        ),
    }


### BEGIN HIDDEN TESTS
def tilted_mistakes(tau, wide, s, others=tilted_mistakes) -> dict:
    return others(tau, wide, s) | {
        "In the exponent of a Gaussian stands 1 over its variance, not over its deviation": (
            1 / (s / tau + (1 - s) / wide)
        ),
        "The tilt divides by the density of all data: its exponent is 1 - s": (s / tau**2 + (s - 1) / wide**2) ** -0.5,
    }


### END HIDDEN TESTS
for tau, wide, s in ((0.5, 1.2, 3.0), (0.8, 1.0, 2.0)):
    answer = guided_spread(tau, wide, s)
    hold(answer, (0.0, 0.0), what="the answer", atol=math.inf)  # two numbers
    hold(
        answer[1],
        summed(tau, wide, s),
        tilted_mistakes(tau, wide, s),
        what=f"the deviation of the tilted density at tau = {tau}, T = {wide}, s = {s:g}",
    )
### BEGIN HIDDEN TESTS
for tau, wide, s in ((0.3, 0.9, 1.5), (1.0, 0.8, 1.4), (0.4, 1.1, 0.5)):
    hold(
        guided_spread(tau, wide, s)[1],
        summed(tau, wide, s),
        what=f"the deviation of the tilted density at tau = {tau}, T = {wide}, s = {s:g}",
    )
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "guided_spread-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Where the label's data are wider than all, there may be no tilted density. The sampler draws something all the same.
try:
    answer = guided_spread(1.0, 0.5, 3.0)
except (ValueError, ZeroDivisionError, OverflowError):
    raise AssertionError("where there is no tilted density the answer is math.inf, not an error") from None
if isinstance(answer, tuple) and any(isinstance(value, complex) for value in answer):
    raise AssertionError("you take the root of a negative precision: there is no tilted density, so math.inf is asked")
hold(answer, (4.0, 0.0), what="the answer where there is no tilted density", atol=math.inf)  # two numbers
assert answer[1] == math.inf, "at tau = 1, T = 1/2, s = 3 the exponent rises to both sides: there, math.inf is asked"
assert answer[0] != math.inf, "the deviation of guided samples is finite also where there is no tilted density"
hold(answer[0], 4.0, what="the deviation of guided samples at tau = 1, T = 1/2, s = 3")
### BEGIN HIDDEN TESTS
answer = guided_spread(2.0, 1.0, 1.5)  # precision 3/8 - 1/2
assert answer[1] == math.inf, "at tau = 2, T = 1, s = 1.5 there is no tilted density: there, math.inf is asked"
hold(answer[0], 8**0.5, what="the deviation of guided samples at tau = 2, T = 1, s = 1.5")
answer = guided_spread(2.0, 1.0, 1.2)  # precision 0.1
hold(answer[1], 10**0.5, what="the deviation of the tilted density at tau = 2, T = 1, s = 1.2")
### END HIDDEN TESTS


# %% nbgrader={"grade": false, "grade_id": "draw_guided_spread", "locked": false, "schema_version": 3, "solution": false, "task": false}
def measured(tau: float, wide: float, s: float, steps: int = 2000) -> float:
    """The deviation of 2000 guided samples, by DDIM."""
    x = normal(501, 2000)
    for i in range(steps):
        phi, phi_next = (math.pi / 2 * (1 - j / steps) for j in (i, i + 1))
        alpha, sigma = math.cos(phi), math.sin(phi)
        guess = [alpha * deviation**2 / (alpha**2 * deviation**2 + sigma**2) * x for deviation in (tau, wide)]
        x0 = guess[1] + s * (guess[0] - guess[1])
        x = math.cos(phi_next) * x0 + math.sin(phi_next) * (x - alpha * x0) / sigma
    return x.std().item()


scales, few = [0.25 * i for i in range(21)], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
plt.figure(figsize=(6, 2.8))
plt.semilogy(scales, [guided_spread(0.5, 1.2, s)[0] for s in scales], label="predicted")
plt.semilogy(scales, [guided_spread(0.5, 1.2, s)[1] for s in scales], label="tilted density")
plt.semilogy(few, [measured(0.5, 1.2, s) for s in few], "ko", label="measured")
plt.xlabel("guidance scale s")
plt.ylabel("standard deviation")
plt.legend()
plt.show()

# %% [markdown]
# ## Exercise 8: reading a figure, in words (4 points, 25 minutes)
#
# *Goal: to tell an error of the solver from an effect of guidance, and to find the measurement that shows what another
# hides. Read chapter 07, "What it does not do", "The label is right, the sample is not" and "Order of convergence,
# measured".*
#
# ![Deviation over the guidance scale from 1 to 5 on a logarithmic axis. The broken curve of the tilted density lies highest. Squares, 1000 steps, fall on a straight line far below it. Circles, 20 steps, start beside the squares and fall faster, further below with every scale.](figures/ps4_diffusion_reading.png)
#
# *The data of exercise 7 ($\tau = 0.5$, $T = 1.2$), sampled with perfect denoisers by DDIM in 20 steps (circles) and in
# 1000 (squares). Broken line: the tilted density.*
#
# Answer in the cell below, in at most 200 words:
#
# 1. Two gaps can be seen: between circles and squares, and between squares and the broken line. Which of them is an
#    error of the solver? What in the picture tells you so, and what would a solver of second order change?
# 2. Somebody explains the other gap by "the network was not trained well enough". Why can that not be?
# 3. At every single $t$ the guided velocity *is* that of a tilted density. Why do the samples not have the tilted
#    density at the end?
# 4. Somebody measures how many samples a classifier gives the right label, and likes $s = 5$ best. Say what this number
#    hides: name a measurement that shows what was lost, and what it would read here.

# %% [markdown] nbgrader={"grade": true, "grade_id": "reading", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# 1. The gap between circles and squares is the solver's: it depends on the number of steps, and a solver of second
#    order makes it smaller. The other stays in 1000 steps, when no solver error is left; no solver closes it.
# 2. There is no network: both denoisers are perfect, and known in closed form.
# 3. The tilted densities of different t are not noisy versions of one another, that is, of the tilted data. So the ODE
#    that follows their gradients does not carry one into the next.
# 4. The spread of the samples beside that of true data with the label: by the line of squares it is about 0.015 where
#    0.5 is right. (Or an energy distance to true samples of the label, which would be large.)
