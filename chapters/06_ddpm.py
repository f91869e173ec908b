# ---
# jupyter:
#   book:
#     equals:
#       Diffusion: lfdm_lite.diffusion.GaussianDiffusion
#       cosine_betas: lfdm_lite.diffusion.cosine_betas
#       ddpm_step: lfdm_lite.samplers.ddpm_step
#       linear_betas: lfdm_lite.diffusion.linear_betas
#       sample_v2: lfdm_lite.samplers.sample
#       timesteps: lfdm_lite.samplers.timesteps
#     goals:
#     - derive the noise of a whole chain, and the way one step back
#     - say what the simple loss is a bound of, and which weight it drops
#     - convert between the answers eps, x0 and v, and say where each is fragile
#     - compare a trained network with the perfect denoiser at every step
#     - sample by DDPM, and recognize from a plot too few steps and a wrong schedule
#     - on a second reading, recognize a wrong variance, and say in which two choices
#       flow matching differs from diffusion
#     minutes: 45
#     minutes_all: 135
#     peak_mb: 650
#     prerequisites:
#     - chapter 00, for what the diffusion model is for
#     - Gaussians in one and two dimensions, conditional expectation, Bayes' rule
#     - training a small network in PyTorch
#     seconds: 40
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 06 Diffusion, from noise to data and back
#
# LFDM invents motion by cleaning noise. This chapter says why that works. The data here are points in a plane, so
# simple that the perfect answer of a network is known in closed form: you can hold everything you build, and
# everything you train, against the truth.
#
# **At the end you can**
#
# * derive the noise that a whole chain adds, and the way one step back, with pencil and paper;
# * say what the simple loss is a bound of, and which weight it drops;
# * convert between what a network may be asked for, its *answers* $\epsilon$, $\mathbf x_0$ and $\mathbf v$, and say
#   where each is fragile;
# * compare a trained network with the perfect denoiser at every step;
# * sample by DDPM, and recognize from a plot what goes wrong with too few steps or a wrong schedule;
# * on a second reading: recognize a wrong variance, and say in which two choices flow matching differs from diffusion.
#
# **You need** [chapter 00](00_tour.ipynb) for what the diffusion model is for; Gaussians, conditional
# expectation and Bayes' rule; and to have trained a small network once. **It takes** 45 minutes to read, and
# about 40 seconds and 650 MB of memory to run on two CPU cores. That is a first reading, without the code and what is
# marked *may be skipped*; a pencil doubles it, and everything takes above two hours. The exercises come on top, and say
# how long each takes.
#
# ![The block diagram of the whole system. The diffusion model, between noise, label and latent map above and the warp below, is highlighted; the rest is pale.](../assets/figures/road_06.svg)
#
# *Where you are: inside the highlighted box, without image and label for now. They come back in chapters 8 and 9.*

# %% [markdown]
# ## Data whose truth is known
#
# The running example is a face: ten Gaussian blobs in a plane. Blob $k$ of $K$ has the share $\rho_k$ of all points,
# the mean $\mu_k$ and the standard deviation $\tau_k$ in every direction.
#
# $$p(\mathbf x_0) = \sum_{k=1}^{K} \rho_k \, \mathcal N(\mathbf x_0;\, \mu_k,\, \tau_k^2 I)$$
#
# Two blobs are eyes, one is a freckle that only 3 % of the points fall into, seven are the mouth. Like the flow that
# LFDM learns, the data are centred and scaled to variance 1.

# %%
import lfdm_lite as lfdm  # before torch, whose threads then keep no core while they wait

lfdm.check_environment()  # says so where a version is not one that the book was run with
import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.colors import to_rgb
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from lfdm_lite import samplers, viz

torch.set_num_threads(1)  # the matrices here are so small that threads would only wait for each other
viz.use_style()

class Mixture(NamedTuple):
    rho: Tensor  # (K,), share of each blob
    mu: Tensor  # (K, 2), mean
    tau: Tensor  # (K,), standard deviation

# %%
angle = torch.linspace(200, 340, 7).deg2rad()
mouth = torch.stack([1.3 * angle.cos(), 0.2 + 1.3 * angle.sin()], dim=1)
rho = torch.tensor([0.2, 0.2, 0.03] + 7 * [0.57 / 7])
mu = torch.cat([torch.tensor([[-0.8, 0.9], [0.8, 0.9], [1.5, 0.45]]), mouth])
tau = torch.tensor([0.16, 0.16, 0.06] + 7 * [0.13])

mu = mu - rho @ mu  # centred
scale = (rho @ (mu.square().mean(dim=1) + tau.square())).sqrt()  # of the mean variance of both coordinates
face = Mixture(rho, mu / scale, tau / scale)

# %% [markdown]
# A point is drawn by choosing a blob, then a place in it. Its density follows the formula above. Both get two more
# arguments that you need in a moment: `alpha` shrinks the data, and `sigma` adds Gaussian noise. A shrunken blob with
# noise is still a Gaussian, of mean $\alpha \mu_k$ and variance $\alpha^2 \tau_k^2 + \sigma^2$.

# %%
def draw(mixture: Mixture, count: int, generator: torch.Generator) -> Tensor:
    k = torch.multinomial(mixture.rho, count, replacement=True, generator=generator)
    return mixture.mu[k] + mixture.tau[k, None] * torch.randn(count, 2, generator=generator)


def per_point(value, x: Tensor) -> Tensor:
    """One number, or one for each point of x (b, 2) -> (b, 1)."""
    return torch.as_tensor(value).to(x).expand(len(x))[:, None]


def log_blobs(mixture: Mixture, x: Tensor, alpha=1.0, sigma=0.0) -> Tensor:
    """log of rho_k times the density of blob k at x (b, 2), data times `alpha` plus noise `sigma` -> (b, K)."""
    alpha, sigma = per_point(alpha, x), per_point(sigma, x)
    variance = (alpha * mixture.tau) ** 2 + sigma**2  # (b, K)
    distance = (x[:, None] - alpha[..., None] * mixture.mu).square().sum(dim=-1)  # (b, K)
    return mixture.rho.log() - (2 * math.pi * variance).log() - distance / (2 * variance)


def log_density(mixture: Mixture, x: Tensor, alpha=1.0, sigma=0.0) -> Tensor:
    return log_blobs(mixture, x, alpha, sigma).logsumexp(dim=1)


x0 = draw(face, 20_000, torch.Generator().manual_seed(0))
assert x0.mean(dim=0).abs().max() < 0.05 and (x0.square().mean() - 1).abs() < 0.05
print(f"{len(x0)} points; largest mean {x0.mean(dim=0).abs().max():.2f}, variance {x0.square().mean():.2f}")

# %% [markdown]
# Two colours carry a meaning from here to the end, each with a second cue. **Known** in closed form: blue, full
# lines, round points. **Learned**: orange, broken lines, triangles, and in formulas a hat with a $\theta$.

# %%
KNOWN = dict(color=viz.COLOURS["blue"], linestyle="-")
LEARNED = dict(color=viz.COLOURS["orange"], linestyle="--")
axis = torch.linspace(-3, 3, 121)
plane = torch.cartesian_prod(axis, axis)  # (14641, 2)
area = (axis[1] - axis[0]).item() ** 2


def contours(ax, mixture: Mixture, alpha=1.0, sigma=0.0):
    """Lines of equal density of the data after noise, three of them, known in closed form."""
    x, y = centre = alpha * (mixture.rho @ mixture.mu)
    density = log_density(mixture, plane + centre, alpha, sigma).exp().view(121, 121).T
    levels = (density.max() * torch.tensor([0.03, 0.2, 0.6])).tolist()
    ax.contour(axis + x, axis + y, density, levels=levels, colors=KNOWN["color"], linewidths=0.8)


def cloud(ax, points: Tensor, title: str, learned: bool = False):
    """A scatter plot on the plane: round and blue is known, triangles in orange are learned."""
    colour, marker, size = (LEARNED["color"], "^", 12) if learned else (KNOWN["color"], "o", 4)
    ax.scatter(*points.T, s=size, color=colour, marker=marker, alpha=0.35, linewidths=0)
    ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=[], yticks=[], frame_on=False, title=title)

# %% mystnb={"image": {"alt": "Left: a smiling face made of ten round blobs of contour lines. Right: 2000 points drawn from it, in the same places."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.8))
contours(left, face)
left.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=[], yticks=[], frame_on=False, title="density")
left.annotate("freckle", (1.75, 0.65), (1.7, 1.7), arrowprops=dict(arrowstyle="->"))
cloud(right, x0[:2000], "2000 points")
plt.show()

total = log_density(face, plane).exp().sum() * area
assert_close(total, torch.tensor(1.0), atol=1e-3, rtol=0)
print(f"the density integrates to {total:.2f}")

# %% [markdown]
# *Left: lines of equal density, at 3, 20 and 60 % of the highest, as in all pictures to come. Right: points drawn. The
# task of the chapter: see points like those on the right only, and learn to draw more.*

# %% [markdown]
# ## Forward: from data to noise
#
# The forward chain has $N$ steps. Each shrinks the point a little and adds a little noise:
#
# $$\mathbf x_t = \sqrt{1 - \beta_t}\; \mathbf x_{t-1} + \sqrt{\beta_t}\; \xi, \qquad \xi \sim \mathcal N(0, I), \qquad t = 0, \dots, N - 1$$
#
# $\xi$ is fresh in every step. Why shrink? If $\mathbf x_{t-1}$ has variance 1, then $\mathbf x_t$ has variance
# $(1 - \beta_t) + \beta_t = 1$ again: nothing grows.
#
# **A trap of notation.** $\mathbf x_0$ is *always* the clean data in this book. Steps are counted as lists are, from
# 0, so the step that the code calls `t = 0` already adds noise, and what it makes is written $\mathbf x_{t=0}$. At
# $t = 0$ the $\mathbf x_{t-1}$ on the right is the data, $\mathbf x_0$; at $t = 1$ it is $\mathbf x_{t=0}$, which is
# not the data. (The papers count steps from 1.)
#
# The published sizes of the steps rise in a straight line {cite:p}`ho2020ddpm`:

# %%
def linear_betas(num_steps: int) -> Tensor:
    return torch.linspace(1e-4, 0.02, num_steps, dtype=torch.float64)


def add_noise_v1(x0: Tensor, t: int, beta: Tensor, generator: torch.Generator) -> Tensor:
    """Walk the chain from the data to step t."""
    x = x0
    for i in range(t + 1):
        xi = torch.randn(x.shape, generator=generator)
        x = (1 - beta[i]).sqrt().float() * x + beta[i].sqrt().float() * xi
    return x


beta = linear_betas(1000)
walked = add_noise_v1(x0, 250, beta, torch.Generator().manual_seed(1))
assert walked.shape == x0.shape
assert (walked.square().mean() - 1).abs() < 0.03  # the variance stayed 1
print(f"variance at first {x0.square().mean():.2f}, after 251 steps {walked.square().mean():.2f}")

# %% [markdown]
# ### All steps at once
#
# Walking is slow, and needless. Say $\mathbf x_{t-1} = \sqrt{\bar\alpha_{t-1}}\,\mathbf x_0 +
# \sqrt{1 - \bar\alpha_{t-1}}\,\epsilon$ for some number $\bar\alpha_{t-1}$ and standard normal $\epsilon$. One more
# step multiplies the factor of $\mathbf x_0$ by $\sqrt{1 - \beta_t}$. The two noises are independent, so their
# variances add:
#
# $$(1 - \beta_t)(1 - \bar\alpha_{t-1}) + \beta_t = 1 - (1 - \beta_t)\,\bar\alpha_{t-1}$$
#
# So the same form holds at $t$, with $\bar\alpha_t = (1 - \beta_t)\,\bar\alpha_{t-1}$. Before the first step
# $\bar\alpha = 1$. By induction:
#
# $$\bar\alpha_t = \prod_{i=0}^{t} (1 - \beta_i), \qquad \mathbf x_t = \alpha_t\, \mathbf x_0 + \sigma_t\, \epsilon, \qquad \alpha_t = \sqrt{\bar\alpha_t}, \quad \sigma_t = \sqrt{1 - \bar\alpha_t}$$
#
# $\bar\alpha_t$ is the share of the signal's variance that is left. ({cite:t}`ho2020ddpm` write $\alpha_t$ for
# $1 - \beta_t$. We follow later papers and write it for $\sqrt{\bar\alpha_t}$.) First the algebra, as numbers: carry
# factor and variance through the chain, step by step, and compare.

# %%
def add_noise_v2(x0: Tensor, t: int, beta: Tensor, eps: Tensor) -> Tensor:
    alpha_bar = torch.cumprod(1 - beta, dim=0)
    alpha, sigma = alpha_bar.sqrt().float(), (1 - alpha_bar).sqrt().float()
    return alpha[t] * x0 + sigma[t] * eps


alpha_bar = torch.cumprod(1 - beta, dim=0)
factor, variance = torch.tensor(1.0).double(), torch.tensor(0.0).double()
print("step   factor, walked and at once   variance, walked and at once")
for t in range(1000):
    factor = (1 - beta[t]).sqrt() * factor
    variance = (1 - beta[t]) * variance + beta[t]
    assert_close(factor, alpha_bar[t].sqrt(), atol=1e-12, rtol=1e-9)
    assert_close(variance, 1 - alpha_bar[t], atol=1e-12, rtol=1e-9)
    if t in (0, 250, 999):
        print(f"{t:4d}   {factor:.4f} {alpha_bar[t].sqrt():.4f}{variance:23.4f} {1 - alpha_bar[t]:.4f}")

jumped = add_noise_v2(x0, 250, beta, torch.randn(x0.shape, generator=torch.Generator().manual_seed(2)))
assert_close(jumped.T.cov(), walked.T.cov(), atol=0.03, rtol=0)

# %% [markdown]
# Same distribution, one line. In training every example gets a step of its own, so `t` becomes a tensor `(b,)`, and
# `column` gives the factors the shape `(b, 1, ...)` that multiplies the data.

# %%
def column(value: Tensor, like: Tensor) -> Tensor:
    return value.reshape(-1, *[1] * (like.ndim - 1))


def add_noise_v3(x0: Tensor, t: Tensor, alpha_bar: Tensor, eps: Tensor) -> Tensor:
    alpha, sigma = alpha_bar.sqrt().float(), (1 - alpha_bar).sqrt().float()
    return column(alpha[t], x0) * x0 + column(sigma[t], x0) * eps


linear = lfdm.GaussianDiffusion(lfdm.DiffusionConfig(schedule="linear"))
eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(3))
t = torch.randint(1000, (len(x0),), generator=torch.Generator().manual_seed(4))
ours, theirs = add_noise_v3(x0, t, alpha_bar, eps), linear.add_noise(x0, t, eps)
assert_close(ours, theirs)
assert_close(add_noise_v3(x0, torch.full_like(t, 250), alpha_bar, eps), add_noise_v2(x0, 250, beta, eps))
print(f"each example at its own step; largest difference from the library {(ours - theirs).abs().max():.4f}")

# %% [markdown]
# ### The signal-to-noise view
#
# What makes a step easy or hard is how much signal there is against the noise:
#
# $$\mathrm{SNR}(t) = \frac{\alpha_t^2}{\sigma_t^2} = \frac{\bar\alpha_t}{1 - \bar\alpha_t}, \qquad \lambda_t = \log \frac{\alpha_t}{\sigma_t} = \tfrac12 \log \mathrm{SNR}(t)$$

# %%
snr = alpha_bar / (1 - alpha_bar)
assert (snr.diff() < 0).all()  # signal is only ever lost
for value in (100, 10, 1, 0.1, 0.01):
    step = (snr - value).abs().argmin()
    print(f"SNR {value:6g}: step {step}, share of signal left {alpha_bar[step]:.3f}")

# %% [markdown]
# Where SNR is 1, there is as much noise as signal.
#
# ### Schedules
#
# A schedule says how fast the SNR falls. The cosine schedule {cite:p}`nichol2021improved` prescribes $\bar\alpha$
# itself, and each $\beta_t$ follows from two neighbours:
#
# $$c(t) = \cos^2\!\left(\frac{t / N + \delta}{1 + \delta} \cdot \frac{\pi}{2}\right), \qquad \beta_t = \min\left(1 - \frac{c(t + 1)}{c(t)},\; 0.999\right)$$
#
# The offset $\delta = 0.008$ keeps the first steps from being too small: without it the first $\beta$ would be a fortieth
# of the linear schedule's. At the end $c(N) = 0$, and the last $\beta$ would be 1: nothing could be divided by
# $\bar\alpha$ any more. So it is cut at 0.999.

# %%
def cosine_betas(num_steps: int, delta: float = 0.008, max_beta: float = 0.999) -> Tensor:
    t = torch.arange(num_steps + 1, dtype=torch.float64) / num_steps
    c = torch.cos((t + delta) / (1 + delta) * math.pi / 2) ** 2
    return (1 - c[1:] / c[:-1]).clamp(max=max_beta)


cosine = lfdm.GaussianDiffusion(lfdm.DiffusionConfig(schedule="cosine"))
assert_close(cosine_betas(1000), cosine.exact_betas())
assert_close(linear_betas(1000), linear.exact_betas())

alpha_bar_cosine = torch.cumprod(1 - cosine_betas(1000), dim=0)
whole = torch.arange(1, 1000) / 1000
c = torch.cos((whole.double() + 0.008) / 1.008 * math.pi / 2) ** 2
start = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
assert_close(alpha_bar_cosine[:-1], c / start)  # in the product, neighbours cancel
print("betas that were cut:", int((cosine_betas(1000) == 0.999).sum()))
print(f"first beta {cosine_betas(1000)[0]:.1e}; without the offset {cosine_betas(1000, delta=0.0)[0]:.1e}")

# %%
schedules = {"linear": alpha_bar, "cosine": alpha_bar_cosine}


def at_step(t: int, schedule: str) -> plt.Figure:
    share = schedules[schedule][t]
    g = torch.Generator().manual_seed(1)
    clean, noise = draw(face, 300, g), torch.randn(300, 2, generator=g)
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.2))
    x_t = (share.sqrt() * clean + (1 - share).sqrt() * noise).float()
    cloud(left, x_t, f"$x_t$ at SNR {share / (1 - share):.2g}")
    contours(left, face, share.sqrt().float(), (1 - share).sqrt().float())
    for (name, a), style in zip(schedules.items(), (":", "-"), strict=True):
        right.plot(a, style, color="k", label=name)
    right.plot(t, share, "o", markersize=9, color=KNOWN["color"], label="here")
    right.set(xlabel="step t", title=r"share of signal left, $\bar\alpha_t$")
    right.legend()
    return figure

# %% tags=["hide-input"]
def noise_in_words(t: int, schedule: str) -> str:
    share = schedules[schedule][t].item()
    seen = "a blur with two bumps at the eyes" if share > 0.5 else "a round cloud"
    seen = "a sharp face of ten blobs" if share > 0.97 else "a soft face" if share > 0.7 else seen
    return (
        f"Points and contour lines: {seen}. Beside it the share of signal over the steps of both schedules, with a dot"
    )

# %%
drowned = {name: (a / (1 - a) < 0.1).sum().item() for name, a in schedules.items()}
assert drowned["linear"] > 1.5 * drowned["cosine"]
print("steps of 1000 at SNR below 0.1:", drowned)
viz.dial(at_step, alt=noise_in_words, reach={"t": (0, 999)}, t=[0, 200, 400, 600, 999], schedule=list(schedules))

# %% [markdown]
# *Left: points drawn in one line of code, and the density of $\mathbf x_t$ in closed form. Turn `t`: the face spreads,
# until at the end nothing of it is left. Then turn the schedule at $t = 200$: with the cosine one (full) eyes and mouth are
# still apart, with the linear one (dotted) they have run together. The linear schedule spends about half of its steps at an
# SNR below 0.1. With 1000 steps that costs little; with ten, its samples come out three times as far from the truth
# (failure gallery).*
#
# The SNR is all that a schedule is. Two steps of two schedules with the same SNR are the same distribution of
# $\mathbf x_t$, whatever their numbers `t`. That is why a network can be told $\lambda$ instead of $t$.
#
# ## One step back, if you knew the data
#
# To sample we must walk the chain backwards. The distribution of $\mathbf x_{t-1}$ given $\mathbf x_t$ alone is
# complicated. But *given the clean point too* it is a Gaussian. Bayes' rule:
#
# $$q(\mathbf x_{t-1} \mid \mathbf x_t, \mathbf x_0) \propto q(\mathbf x_t \mid \mathbf x_{t-1})\; q(\mathbf x_{t-1} \mid \mathbf x_0)$$
#
# Both factors are known: one step of the chain, and the closed form. All noise is the same in every direction, so read
# the algebra for one coordinate at a time. Write $u$ for the unknown $\mathbf x_{t-1}$. The exponent is $-\frac12$ times
#
# $$\frac{(\mathbf x_t - \sqrt{1 - \beta_t}\, u)^2}{\beta_t} + \frac{(u - \sqrt{\bar\alpha_{t-1}}\, \mathbf x_0)^2}{1 - \bar\alpha_{t-1}} = A u^2 - 2 B u + \dots$$
#
# with what multiplies out in front of $u^2$ and $u$:
#
# $$A = \frac{1 - \beta_t}{\beta_t} + \frac{1}{1 - \bar\alpha_{t-1}}, \qquad B = \frac{\sqrt{1 - \beta_t}}{\beta_t}\, \mathbf x_t + \frac{\sqrt{\bar\alpha_{t-1}}}{1 - \bar\alpha_{t-1}}\, \mathbf x_0$$
#
# Complete the square: $A u^2 - 2 B u = A\,(u - B / A)^2 - B^2 / A$. The last term does not depend on $u$. What is left
# is a Gaussian with mean $B / A$ and variance $1 / A$: the **posterior** of $\mathbf x_{t-1}$, and its **posterior
# variance**.

# %%
def posterior_v1(x0: Tensor, x_t: Tensor, t: int, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of q(x_{t-1} | x_t, x_0) by completing the square; t at least 1."""
    before = torch.cumprod(1 - beta, dim=0)[t - 1]
    A = (1 - beta[t]) / beta[t] + 1 / (1 - before)
    B = (1 - beta[t]).sqrt() / beta[t] * x_t + before.sqrt() / (1 - before) * x0
    return B / A, 1 / A


mean, variance = posterior_v1(x0.double(), walked.double(), 250, beta)
assert mean.shape == x0.shape and variance.shape == ()
assert 0 < variance < beta[250]  # who knows x_t and x_0 is less uncertain than one step's noise
print(f"step 250: posterior variance {variance:.6f}, noise of the step {beta[250]:.6f}")

# %% [markdown]
# Now tidy up. Over a common denominator the numerator of $A$ is $(1 - \beta_t)(1 - \bar\alpha_{t-1}) + \beta_t$, and
# that is $1 - \bar\alpha_t$: the same sum of variances as before. So
#
# $$\tilde\beta_t = \frac{1}{A} = \frac{1 - \bar\alpha_{t-1}}{1 - \bar\alpha_t}\, \beta_t$$
#
# $$\tilde\mu_t(\mathbf x_t, \mathbf x_0) = \frac{B}{A} = \frac{\sqrt{\bar\alpha_{t-1}}\, \beta_t}{1 - \bar\alpha_t}\, \mathbf x_0 + \frac{\sqrt{1 - \beta_t}\, (1 - \bar\alpha_{t-1})}{1 - \bar\alpha_t}\, \mathbf x_t$$
#
# At $t = 0$ there is only the data before: $\bar\alpha_{t-1} = 1$, the variance is 0 and the mean is $\mathbf x_0$.

# %%
def one_before(alpha_bar: Tensor) -> Tensor:
    """alpha_bar of step t - 1 at place t; before step 0 there is the data, with all of the signal."""
    return torch.cat([torch.ones(1).to(alpha_bar), alpha_bar[:-1]])


def posterior_v2(x0: Tensor, x_t: Tensor, t: Tensor, alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    """Each example at its own step, 0 too."""
    before = one_before(alpha_bar)
    beta = 1 - alpha_bar / before
    of_x0 = before.sqrt() * beta / (1 - alpha_bar)
    of_x_t = (1 - beta).sqrt() * (1 - before) / (1 - alpha_bar)
    variance = (1 - before) / (1 - alpha_bar) * beta
    a, b, variance = (column(value.float()[t], x_t) for value in (of_x0, of_x_t, variance))
    return a * x0 + b * x_t, variance


t = torch.randint(1000, (len(x0),), generator=torch.Generator().manual_seed(5))
for ours, theirs in zip(posterior_v2(x0, walked, t, alpha_bar), linear.posterior(x0, walked, t), strict=True):
    assert_close(ours, theirs)
tidy_mean, tidy_variance = posterior_v2(x0, walked, torch.full_like(t, 250), alpha_bar)
assert_close(tidy_mean, mean.float(), atol=1e-5, rtol=1e-4)
assert_close(tidy_variance[0, 0], variance.float(), atol=0, rtol=1e-4)
assert_close(posterior_v2(x0, walked, torch.zeros_like(t), alpha_bar)[0], x0)  # before the first step: the data
print(f"first point, by the square {mean[0, 0]:.4f}, tidied {tidy_mean[0, 0]:.4f}, at step 0 {x0[0, 0]:.4f}: the data")

# %% [markdown]
# ### Another road to the posterior
#
# *May be skipped on a first reading.*
#
# A second calculation may repeat the mistake of the first. So simulate: start 400,000 chains at one coordinate of
# $\mathbf x_0$, keep those that arrive near one $\mathbf x_t$, and look where they were a step before. (With 20 steps
# only, so that one step is wide enough to see.)

# %% mystnb={"image": {"alt": "Three bell curves over x at step t-1: a broad one for what the data say, one for what x_t says, and a narrower one between them, the posterior, which a hatched histogram of simulated chains fills."}}
point, seen = 0.8, -0.3  # one x_0, one x_t
short, i = cosine_betas(20), 8
before, g = torch.cumprod(1 - short, dim=0)[i - 1], torch.Generator().manual_seed(6)
x_before = before.sqrt() * point + (1 - before).sqrt() * torch.randn(400_000, generator=g)
x_after = (1 - short[i]).sqrt() * x_before + short[i].sqrt() * torch.randn(400_000, generator=g)
kept = x_before[(x_after - seen).abs() < 0.02].double()
mean, variance = posterior_v1(torch.tensor(point), torch.tensor(seen), i, short)
assert abs(kept.mean() - mean) < 0.02 and abs(kept.var() - variance) < 0.01

u = torch.linspace(-2, 2.5, 300).double()
bell = lambda m, v: (-((u - m) ** 2) / (2 * v)).exp() / (2 * math.pi * v).sqrt()
plt.figure(figsize=(7, 3.2))
plt.hist(kept, bins=60, density=True, color="#d8dde3", hatch="//", label="simulated chains")
plt.plot(u, bell(before.sqrt() * point, 1 - before), "k:", label=r"$q(x_{t-1} | x_0)$")
likely = bell(seen / (1 - short[i]).sqrt(), short[i] / (1 - short[i]))
plt.plot(u, likely, "k-.", label=r"$q(x_t | x_{t-1})$, scaled")
plt.plot(u, bell(mean, variance), **KNOWN, label=r"$q(x_{t-1} | x_t, x_0)$")
plt.xlabel("$x_{t-1}$")
plt.legend()
plt.show()
print(f"mean: derived {mean:.3f}, simulated {kept.mean():.3f}; variance: {variance:.3f}, {kept.var():.3f}")

# %% [markdown]
# *Dotted: what the data alone say about $x_{t-1}$. Dash-dotted: what $x_t$ alone says. Full: the product of both, the
# posterior. Hatched: what simulated chains did. The posterior is narrower than either: two sources know more than
# one.*

# %% [markdown]
# ## The perfect denoiser
#
# When we sample we do not know $\mathbf x_0$. We need a guess from $\mathbf x_t$. The guess with the smallest mean
# squared error is the conditional mean, which we call the **perfect denoiser**,
# $\mathbf x^\star = \mathbb E[\mathbf x_0 \mid \mathbf x_t]$. For *any* guess $\hat{\mathbf x}$ that depends on
# $\mathbf x_t$ alone:
#
# $$\mathbb E\,\lVert \mathbf x_0 - \hat{\mathbf x} \rVert^2 = \mathbb E\,\lVert \mathbf x_0 - \mathbf x^\star \rVert^2 + \mathbb E\,\lVert \mathbf x^\star - \hat{\mathbf x} \rVert^2$$
#
# because the cross term $2\,(\mathbf x_0 - \mathbf x^\star) \cdot (\mathbf x^\star - \hat{\mathbf x})$ has mean zero
# for every $\mathbf x_t$. The first term, the **unavoidable error**, is there whatever you do: a training loss never
# reaches zero. What training can shrink is the second term, the **excess**. For most data nobody knows the two apart.
# Here we do.
#
# **One Gaussian.** Complete the square again, now for $u = \mathbf x_0$ with prior $\mathcal N(\mu_k, \tau_k^2 I)$ and
# $\mathbf x_t \sim \mathcal N(\alpha_t u, \sigma_t^2 I)$. Precision $A = 1 / \tau_k^2 + \alpha_t^2 / \sigma_t^2$,
# $B = \mu_k / \tau_k^2 + \alpha_t \mathbf x_t / \sigma_t^2$:
#
# $$\frac{B}{A} = \mu_k + \frac{\alpha_t \tau_k^2}{\alpha_t^2 \tau_k^2 + \sigma_t^2}\, (\mathbf x_t - \alpha_t \mu_k), \qquad \frac{1}{A} = \frac{\sigma_t^2 \tau_k^2}{\alpha_t^2 \tau_k^2 + \sigma_t^2}$$
#
# **A mixture.** $\mathbf x_t$ came from blob $k$ with probability $r_k$, and then the line above holds:
#
# $$r_k(\mathbf x_t) = \frac{\rho_k\, \mathcal N(\mathbf x_t;\, \alpha_t \mu_k,\, (\alpha_t^2 \tau_k^2 + \sigma_t^2) I)}{\sum_{i=1}^{K} \rho_i\, \mathcal N(\mathbf x_t;\, \alpha_t \mu_i,\, (\alpha_t^2 \tau_i^2 + \sigma_t^2) I)}$$
#
# $$\mathbf x^\star = \sum_{k=1}^{K} r_k(\mathbf x_t) \left( \mu_k + \frac{\alpha_t \tau_k^2}{\alpha_t^2 \tau_k^2 + \sigma_t^2}\, (\mathbf x_t - \alpha_t \mu_k) \right)$$
#
# Its unavoidable error adds up, with the weights $r_k$, the error within a blob, $1 / A$ for each coordinate, and the
# squared distance of the bracket from $\mathbf x^\star$.

# %%
def perfect_gaussian(mu, tau, x_t, alpha, sigma):
    """Mean and variance of x_0 given x_t, when x_0 is one Gaussian."""
    shrink = alpha**2 * tau**2 + sigma**2
    return mu + alpha * tau**2 / shrink * (x_t - alpha * mu), sigma**2 * tau**2 / shrink


def perfect(mixture: Mixture, x_t: Tensor, alpha, sigma) -> tuple[Tensor, Tensor]:
    """x* = E[x_0 | x_t], (b, 2), and the unavoidable error E[|x_0 - x*|^2 | x_t], summed over coordinates, (b,)."""
    r = log_blobs(mixture, x_t, alpha, sigma).softmax(dim=1)[..., None]  # (b, K, 1)
    alpha, sigma = per_point(alpha, x_t)[..., None], per_point(sigma, x_t)[..., None]  # (b, 1, 1)
    mean, variance = perfect_gaussian(mixture.mu, mixture.tau[:, None], x_t[:, None], alpha, sigma)  # (b, K, .)
    x_star = (r * mean).sum(dim=1)
    apart = (mean - x_star[:, None]).square().sum(dim=-1, keepdim=True)  # (b, K, 1)
    return x_star, (r * (2 * variance + apart)).sum(dim=(1, 2))  # within the blobs (two coordinates), and between them


x_t = linear.add_noise(x0, torch.full((len(x0),), 250), eps)
x_star, unavoidable = perfect(face, x_t, linear.alpha[250], linear.sigma[250])
assert x_star.shape == x_t.shape and unavoidable.shape == (len(x_t),)
print("perfect denoiser:", tuple(x_star.shape), " unavoidable error:", tuple(unavoidable.shape))

# %% [markdown]
# The truth must be checked harder than anything else. By brute force: put a fine grid over all possible
# $\mathbf x_0$, weigh each place by $p(\mathbf x_0)\, q(\mathbf x_t \mid \mathbf x_0)$, and average.

# %%
def brute_force(mixture: Mixture, x_t: Tensor, alpha: float, sigma: float) -> tuple[Tensor, Tensor]:
    """E[x_0 | x_t] and the unavoidable error, for one x_t (2,), as sums over a grid of 301 x 301 places."""
    fine = torch.linspace(-3, 3, 301).double()
    places = torch.cartesian_prod(fine, fine)
    distance = (x_t - alpha * places).square().sum(dim=1)
    weight = (log_density(mixture, places) - distance / (2 * sigma**2)).softmax(dim=0)
    mean = weight @ places
    return mean, weight @ (places - mean).square().sum(dim=1)


one = Mixture(torch.tensor([1.0]), torch.tensor([[0.5, -0.3]]), torch.tensor([0.4]))  # a single Gaussian
place = torch.tensor([[0.4, 0.9]]).double()
for name, mixture in (("Gaussian", one), ("face", face)):
    for i in (100, 500, 900):
        alpha, sigma = alpha_bar[i].sqrt().item(), (1 - alpha_bar[i]).sqrt().item()
        (x_star,), (unavoidable,) = perfect(mixture, place, alpha, sigma)
        mean, error = brute_force(mixture, place[0], alpha, sigma)
        assert_close(x_star, mean, atol=2e-5, rtol=1e-3)
        assert_close(unavoidable, error, atol=2e-5, rtol=1e-3)
        print(f"{name:8} step {i}: x of the guess {x_star[0]:.3f} {mean[0]:.3f}, error {unavoidable:.3f} {error:.3f}")

# %% [markdown]
# And the split of the error, on drawn points, for a guess that is wrong on purpose:

# %%
x_star, unavoidable = perfect(face, x_t, linear.alpha[250], linear.sigma[250])
guess = 0.9 * x_star + 0.05
error = (x0 - guess).square().sum(dim=1).mean()
excess = (x_star - guess).square().sum(dim=1).mean()
assert_close(error, unavoidable.mean() + excess, atol=5e-3, rtol=0)
print(f"error of the guess {error:.2f} = unavoidable {unavoidable.mean():.2f} + excess {excess:.2f}")

# %% [markdown]
# ### The score view
#
# There is a second reading of the same function. The **score** $\nabla_{\mathbf x_t} \log q(\mathbf x_t)$ is an arrow
# that says in which direction points get more likely. It points from $\mathbf x_t$ towards the shrunken perfect guess:
#
# $$\nabla_{\mathbf x_t} \log q(\mathbf x_t) = \frac{\alpha_t\, \mathbf x^\star - \mathbf x_t}{\sigma_t^2} = - \frac{\mathbb E[\epsilon \mid \mathbf x_t]}{\sigma_t}$$
#
# To see it, differentiate $q(\mathbf x_t) = \int p(\mathbf x_0)\, q(\mathbf x_t \mid \mathbf x_0)\, d\mathbf x_0$ under the
# integral: every $q(\mathbf x_t \mid \mathbf x_0)$ gives a factor $(\alpha_t \mathbf x_0 - \mathbf x_t) / \sigma_t^2$,
# and divided by $q(\mathbf x_t)$ the integral is the mean of that factor over $\mathbf x_0$ given $\mathbf x_t$. So to
# denoise, to guess the noise, and to climb the density are one task. Autograd checks it:

# %%
for i in (50, 250, 500, 900):
    alpha, sigma = linear.alpha[i], linear.sigma[i]
    x = plane[::37].clone().requires_grad_()
    (score,) = torch.autograd.grad(log_density(face, x, alpha, sigma).sum(), x)
    x_star = perfect(face, x.detach(), alpha, sigma)[0]
    ours = (alpha * x_star - x.detach()) / sigma**2
    assert_close(ours, score, atol=1e-3, rtol=1e-3)
    print(f"step {i:3d}: score at the first of {len(x)} places {ours[0, 0]:.2f}, by autograd {score[0, 0]:.2f}")

# %% mystnb={"image": {"alt": "Three planes with contour lines and arrows. At SNR 10 the lines show two eyes and a mouth, and arrows run to the nearest of them; at SNR 1 the lines are a rounded square, and arrows run inwards up to its middle; at SNR 0.01 the lines are circles, and all arrows point to the middle."}}
coarse = torch.cartesian_prod(torch.linspace(-2.4, 2.4, 11), torch.linspace(-2.4, 2.4, 11))
fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.7))
uphill = []
for ax, i, ratio in zip(axes, (92, 258, 674), (10, 1, 0.01), strict=True):
    alpha, sigma = linear.alpha[i], linear.sigma[i]
    arrows = alpha * perfect(face, coarse, alpha, sigma)[0] - coarse  # sigma^2 times the score
    contours(ax, face, alpha, sigma)
    shown = arrows / arrows.norm(dim=1, keepdim=True).sqrt()  # the root of the length, so that short ones are seen
    ax.quiver(*coarse.T, *shown.T, angles="xy", scale_units="xy", scale=3.5, width=0.006, color=KNOWN["color"])
    ax.set(aspect="equal", xticks=[], yticks=[], frame_on=False, title=f"t = {i}, SNR {ratio:g}")
    gain = log_density(face, coarse + 0.05 * arrows, alpha, sigma) - log_density(face, coarse, alpha, sigma)
    uphill.append(round(100 * (gain > 0).float().mean().item()))
plt.show()
assert min(uphill) > 95
print("places from which a short way along the arrow is uphill, %:", uphill)

# %% [markdown]
# *Lines: the density of $\mathbf x_t$. Arrows: the direction of the score; their length grows with the root of its size.
# With little noise the perfect denoiser knows which part is meant. With much noise it can only say: near the middle.
# Sampling will follow these fields from right to left, from coarse to fine.* (The built book has [a page](points.md) on
# which points do so, and you turn the dials.)

# %% [markdown]
# ## What to train: a bound
#
# The model runs backwards: it draws $\mathbf x_{N-1}$ from $\mathcal N(0, I)$, then step by step
# ${\color{#b35900}{p_\theta}}(\mathbf x_{t-1} \mid \mathbf x_t)$, at last
# ${\color{#b35900}{p_\theta}}(\mathbf x_0 \mid \mathbf x_{t=0})$. We would like to maximize the density that it gives
# to data. That is an integral over all chains. Jensen's inequality bounds it by an average over *forward* chains,
# which we can draw:
#
# $$-\log {\color{#b35900}{p_\theta}}(\mathbf x_0) \;\le\; \mathbb E_q\!\left[ -\log \frac{\mathcal N(\mathbf x_{N-1};\, 0, I)\; {\color{#b35900}{p_\theta}}(\mathbf x_0 \mid \mathbf x_{t=0}) \prod_{t=1}^{N-1} {\color{#b35900}{p_\theta}}(\mathbf x_{t-1} \mid \mathbf x_t)}{q(\mathbf x_{t=0} \mid \mathbf x_0) \prod_{t=1}^{N-1} q(\mathbf x_t \mid \mathbf x_{t-1})} \right] = L$$
#
# Three steps make something of it that can be trained.
#
# **Step 1: turn the forward chain round.** The steps above the fraction bar go backwards, those below go forwards, so
# they cannot be compared one by one. The chain forgets where it came from, so
# $q(\mathbf x_t \mid \mathbf x_{t-1}) = q(\mathbf x_t \mid \mathbf x_{t-1}, \mathbf x_0)$ (the Markov property); by Bayes'
# rule this is
# $q(\mathbf x_{t-1} \mid \mathbf x_t, \mathbf x_0)\, q(\mathbf x_t \mid \mathbf x_0) / q(\mathbf x_{t-1} \mid \mathbf x_0)$.
# In the product over all steps each $q(\mathbf x_t \mid \mathbf x_0)$ stands once above and once below. All cancel but the
# last:
#
# $$q(\mathbf x_{t=0} \mid \mathbf x_0) \prod_{t=1}^{N-1} q(\mathbf x_t \mid \mathbf x_{t-1}) = q(\mathbf x_{N-1} \mid \mathbf x_0) \prod_{t=1}^{N-1} q(\mathbf x_{t-1} \mid \mathbf x_t, \mathbf x_0)$$
#
# Check it on one chain: the density of its points must not depend on the end from which you read it.

# %%
def log_normal(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """log N(x; mean, variance I) of one point in the plane."""
    return -(x - mean).square().sum() / (2 * variance) - (2 * math.pi * variance).log()


short, g = cosine_betas(20), torch.Generator().manual_seed(8)
chain = [x0[0].double()]  # chain[0] is the data, chain[t + 1] is x_t
for b in short:
    chain.append((1 - b).sqrt() * chain[-1] + b.sqrt() * torch.randn(2, generator=g))

forwards = sum(log_normal(chain[t + 1], (1 - short[t]).sqrt() * chain[t], short[t]) for t in range(20))
last_share = (1 - short).prod()  # alpha_bar of the last step
backwards = log_normal(chain[-1], last_share.sqrt() * chain[0], 1 - last_share)
for t in range(1, 20):
    backwards += log_normal(chain[t], *posterior_v1(chain[0], chain[t + 1], t, short))
assert_close(forwards, backwards)
print(f"log density of a chain of 20 steps: read forwards {forwards:.3f}, read backwards {backwards:.3f}")

# %% [markdown]
# **Step 2: three kinds of terms.** Put the turned product into the bound. Now each step of the model stands above the
# posterior of the same step, and the mean of the logarithm of such a ratio is a Kullback–Leibler divergence:
#
# $$L = \underbrace{\mathrm{KL}\big(q(\mathbf x_{N-1} \mid \mathbf x_0) \,\Vert\, \mathcal N(0, I)\big)}_{\text{nothing to learn}} + \sum_{t=1}^{N-1} L_t + \underbrace{\mathbb E_q\big[-\log {\color{#b35900}{p_\theta}}(\mathbf x_0 \mid \mathbf x_{t=0})\big]}_{\text{last step}}$$
#
# $$L_t = \mathbb E_q\, \mathrm{KL}\big(q(\mathbf x_{t-1} \mid \mathbf x_t, \mathbf x_0) \,\Vert\, {\color{#b35900}{p_\theta}}(\mathbf x_{t-1} \mid \mathbf x_t)\big)$$
#
# So each step asks: be like the posterior, without knowing $\mathbf x_0$.
#
# **Step 3: each term is a squared error.** Let the model be the posterior with its own guess
# ${\color{#b35900}{\hat{\mathbf x}_\theta}}(\mathbf x_t)$ in place of $\mathbf x_0$, and the same variance
# $\tilde\beta_t$. The divergence of two Gaussians of one variance is the squared distance of their means over twice
# the variance, and the means differ only in the factor of $\mathbf x_0$:
#
# $$L_t = \frac{1}{2 \tilde\beta_t} \left( \frac{\sqrt{\bar\alpha_{t-1}}\, \beta_t}{1 - \bar\alpha_t} \right)^{\!2} \mathbb E_q\, \lVert \mathbf x_0 - {\color{#b35900}{\hat{\mathbf x}_\theta}} \rVert^2 = \tfrac12 \big( \mathrm{SNR}(t - 1) - \mathrm{SNR}(t) \big)\; \mathbb E_q\, \lVert \mathbf x_0 - {\color{#b35900}{\hat{\mathbf x}_\theta}} \rVert^2$$
#
# The second form is that of {cite:t}`kingma2021variational`: each step pays for the signal that it gets back.
#
# From here on `alpha_bar`, `beta` and `snr` are those of the cosine schedule, which LFDM uses. Place $t$ of each belongs to
# step $t$. (The sum begins at 1; at place 0 the weight is infinite.)

# %%
alpha_bar, beta = alpha_bar_cosine, cosine_betas(1000)
snr, before = alpha_bar / (1 - alpha_bar), one_before(alpha_bar)
snr_before = before / (1 - before)
beta_tilde = (1 - before) / (1 - alpha_bar) * beta
weight_x0 = (before.sqrt() * beta / (1 - alpha_bar)) ** 2 / (2 * beta_tilde)
assert_close(weight_x0, 0.5 * (snr_before - snr))

t = torch.tensor([5, 300, 700])
guess = torch.tensor([0.3, -0.1])
truth_mean, variance = posterior_v2(x0[:3], x_t[:3], t, alpha_bar)  # any x_t: its part is the same in both means
guess_mean, _ = posterior_v2(guess.expand(3, 2), x_t[:3], t, alpha_bar)
normal = lambda mean: Normal(mean, variance.sqrt())
divergence = kl_divergence(normal(truth_mean), normal(guess_mean)).sum(dim=1)
as_error = weight_x0.float()[t] * (x0[:3] - guess).square().sum(dim=1)
assert_close(divergence, as_error, rtol=1e-3, atol=1e-5)
for step, one_way, other_way in zip(t, divergence, as_error, strict=True):
    print(f"step {step:3d}: divergence {one_way:.3g}, weight times squared error {other_way:.3g}")

# %% [markdown]
# ### Is it a bound?
#
# *May be skipped on a first reading.*
#
# We know the density of our data, so we can ask. Put the perfect denoiser in, and compute all three kinds of terms.
# $\mathbb E[-\log p(\mathbf x_0)]$, the entropy of the data, is the smallest value that any model can reach.
#
# **The first term** compares two Gaussians of different mean and variance. In two dimensions, with
# $\sigma_{N-1}^2 = 1 - \bar\alpha_{N-1}$:
#
# $$\mathrm{KL}\big(q(\mathbf x_{N-1} \mid \mathbf x_0) \,\Vert\, \mathcal N(0, I)\big) = \tfrac12 \left( 2 \sigma_{N-1}^2 + \bar\alpha_{N-1} \lVert \mathbf x_0 \rVert^2 - 2 - 2 \log \sigma_{N-1}^2 \right)$$

# %%
def first_term(share: Tensor, square: float) -> Tensor:
    """Divergence of the end of the chain from pure noise: share of signal left, mean |x_0|^2 -> nats."""
    return 0.5 * (2 * (1 - share) + share * square - 2 - 2 * (1 - share).log())


share = torch.tensor(0.3)
end = Normal(share.sqrt() * x0[0], (1 - share).sqrt())
assert_close(first_term(share, x0[0].square().sum()), kl_divergence(end, Normal(torch.zeros(2), 1.0)).sum())
print(f"cosine schedule, at its end: {first_term(alpha_bar[-1], 2.0):.4f} nats")

# %% [markdown]
# **The middle terms**, and a question: must the model's steps have the variance $\tilde\beta_t$? Try a second choice,
# $\beta_t$. Where the variances differ, the divergence has a part of its own for that. In two dimensions it is
# $\tilde\beta_t / \beta_t - 1 - \log(\tilde\beta_t / \beta_t)$, and it is 0 where they agree.

# %%
def middle_terms(beta: Tensor, wide: bool, error: Tensor) -> Tensor:
    """L_t, (N,), with steps of variance beta (wide) or beta tilde, and the mean squared error of the guess; 0 at t = 0."""
    alpha_bar = torch.cumprod(1 - beta, dim=0)
    before = one_before(alpha_bar)
    beta_tilde = (1 - before) / (1 - alpha_bar) * beta
    variance = beta if wide else beta_tilde
    mismatch = beta_tilde / variance - 1 - (beta_tilde / variance).log()
    terms = mismatch + (before.sqrt() * beta / (1 - alpha_bar)) ** 2 / (2 * variance) * error
    return torch.cat([torch.zeros(1).to(terms), terms[1:]])


model = Normal(guess_mean[1], beta[300].sqrt())
divergence = kl_divergence(Normal(truth_mean[1], variance[1].sqrt()), model).sum()
at_300 = middle_terms(beta, True, (x0[1] - guess).square().sum().expand(1000))[300]
assert_close(divergence, at_300, rtol=1e-3, atol=1e-5, check_dtype=False)

# %% [markdown]
# **The last step** has no posterior to compare with: before it there is the data. Let the model draw from a Gaussian
# around its guess. A natural variance is $\sigma_0^2 / \alpha_0^2$, with $\sigma_0$, $\alpha_0$ of step `t = 0`: the
# noise that is left, seen from the data's side. Its mean negative logarithm is a squared error again, plus the
# Gaussian's own constant. With that, the bound is complete.

# %%
def last_term(alpha_bar_0: Tensor, error_0: Tensor) -> Tensor:
    variance = (1 - alpha_bar_0) / alpha_bar_0
    return error_0 / (2 * variance) + (2 * math.pi * variance).log()


def errors_of_perfect(beta: Tensor, count: int = 1000) -> Tensor:
    """Mean squared error of the perfect denoiser at every step, (N,)."""
    alpha_bar, g = torch.cumprod(1 - beta, dim=0), torch.Generator().manual_seed(7)
    error = torch.empty(len(beta)).double()
    for t in range(len(beta)):
        x_t = add_noise_v2(draw(face, count, g), t, beta, torch.randn(count, 2, generator=g))
        error[t] = perfect(face, x_t, alpha_bar[t].sqrt(), (1 - alpha_bar[t]).sqrt())[1].mean()
    return error


def bound(beta: Tensor, wide: bool, error: Tensor) -> float:
    alpha_bar = torch.cumprod(1 - beta, dim=0)
    ends = first_term(alpha_bar[-1], 2.0) + last_term(alpha_bar[0], error[0])  # the data have variance 1 + 1
    return (ends + middle_terms(beta, wide, error).sum()).item()

# %%
log_p = log_density(face, plane)
entropy = -(log_p.exp() * log_p).sum().item() * area
counts = [10, 30, 100, 300, 1000]
errors = {n: errors_of_perfect(cosine_betas(n)) for n in counts}
bounds = {(n, wide): bound(cosine_betas(n), wide, errors[n]) for n in counts for wide in (False, True)}
print(f"entropy of the data: {entropy:.2f} nats")
for n in counts:
    print(f"{n:4d} steps: bound {bounds[n, False]:6.2f} with beta tilde, {bounds[n, True]:6.2f} with beta")
assert all(value > entropy for value in bounds.values())
assert bounds[1000, True] - entropy < 0.1 < bounds[1000, False] - entropy

gap = middle_terms(beta, False, errors[1000]) - middle_terms(beta, True, errors[1000])  # step by step
assert gap[:50].sum() > 0.9 * gap.sum()
print(f"of the difference with 1000 steps, {100 * gap[:50].sum() / gap.sum():.0f} % lies in the first 50")

# %% mystnb={"image": {"alt": "The bound against the number of steps. With variance beta it falls to the entropy, a dotted line; with variance beta tilde it falls too but stays well above."}}
plt.figure(figsize=(7, 3.2))
plt.plot(counts, [bounds[n, False] for n in counts], "s--", color="0.4", label=r"variance $\tilde\beta_t$")
plt.plot(counts, [bounds[n, True] for n in counts], "o-", color=KNOWN["color"], label=r"variance $\beta_t$")
plt.axhline(entropy, color="k", linestyle=":", label=r"$\mathbb{E}[-\log p(x_0)]$")
plt.xscale("log")
plt.xlabel("number of steps")
plt.ylabel("bound, nats")
plt.legend()
plt.show()
tighter = [bounds[n, True] for n in counts]
assert tighter[0] > tighter[2] > tighter[4]

# %% [markdown]
# *Both curves stay above the dotted line, as a bound must; the lower one almost reaches it, and so what was derived
# above holds together. The gap of the upper curve comes from the first steps: there $\tilde\beta_t$ is too narrow for
# data that are spread out. We come back to that in the failure gallery.*

# %% [markdown]
# ### The simple loss and the weight that it drops
#
# Say the network guesses the noise. Since $\mathbf x_0 = (\mathbf x_t - \sigma_t \epsilon) / \alpha_t$, an error of
# the noise counts $\sigma_t / \alpha_t$ times in $\mathbf x_0$. So the bound asks for
#
# $$L_t = w_t\; \mathbb E_q\, \lVert \epsilon - {\color{#b35900}{\hat\epsilon_\theta}} \rVert^2, \qquad w_t = \tfrac12 \left( \frac{\mathrm{SNR}(t-1)}{\mathrm{SNR}(t)} - 1 \right)$$
#
# {cite:t}`ho2020ddpm` found that samples look better without the weight. They train on the simple loss, at a step
# drawn at random:
#
# $$L_{\text{simple}} = \mathbb E_{t,\, \mathbf x_0,\, \epsilon}\, \lVert \epsilon - {\color{#b35900}{\hat\epsilon_\theta}}(\alpha_t \mathbf x_0 + \sigma_t \epsilon,\, t) \rVert^2$$
#
# (The code takes the mean over coordinates, in the plane half of this.) What does dropping $w_t$ change? The best answer
# at each $t$ is the same. How a network of finite size spreads its effort over the steps is not: the weight says how dear
# an excess of a given size is.

# %%
def simple_loss(network: Callable, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """L_simple, as a mean over coordinates, for a network that answers the noise."""
    x_t = add_noise_v3(x0, t, alpha_bar, eps)
    return (eps - network(x_t, t)).square().mean()


weight_eps = 0.5 * (snr_before / snr - 1)
assert_close(weight_eps, weight_x0 / snr)  # the weight of x0, in units of the noise's error
assert_close(weight_eps, beta**2 / (2 * beta_tilde * (1 - beta) * (1 - alpha_bar)))  # as Ho et al. write it

t = torch.randint(1000, (len(x0),), generator=torch.Generator().manual_seed(9))
silent = simple_loss(lambda x, t: torch.zeros_like(x), x0, t, eps)
assert_close(silent, eps.square().mean())  # a network that says nothing pays the variance of the noise
print(f"loss of a network that always answers 0: {silent:.2f}")

# %%
eps_error = snr * errors[1000]  # of the perfect denoiser, |eps|^2 error = SNR times |x_0|^2 error, in two coordinates
cost = weight_eps * eps_error  # L_t
print("step   weight w   perfect error of eps per coordinate   L_t")
for step in (1, 50, 500, 990, 999):
    print(f"{step:4d}   {weight_eps[step]:8.3g}   {eps_error[step] / 2:34.2g}   {cost[step]:7.2g}")
for name, paid in (("bound", cost), ("simple", eps_error)):
    shares = [100 * (part.sum() / paid[1:].sum()).item() for part in (paid[1:101], paid[101:900], paid[900:])]
    print(
        f"{name:6} loss, share of the sum, %: first 100 steps {shares[0]:.1f}, middle {shares[1]:.1f}, last {shares[2]:.1f}"
    )

# %% mystnb={"image": {"alt": "Two plots over the step, logarithmic. Left, the dropped weight of the cosine schedule: half at the first step, below a hundredth through most of the chain, then rising out of the picture in the last steps; the linear one is high at the first steps alone; a flat line at 1 is the simple loss. Right, weight times perfect error: for the bound highest at the first steps, then falling over orders of magnitude, without any peak at the end; for the simple loss between 1 and 2 up to the middle, then falling."}}
linear_bar = linear.exact_alpha_bar()
linear_snr = linear_bar / (1 - linear_bar)
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
left.semilogy(range(1, 1000), weight_eps[1:], "k-", label="bound, cosine")
left.semilogy(range(1, 1000), 0.5 * (linear_snr[:-1] / linear_snr[1:] - 1), "k:", label="bound, linear")
left.axhline(1, color="0.5", linestyle="-.", label="simple loss")
left.set(xlabel="step t", title="weight of the error of $\\epsilon$", ylim=(1e-3, 3))
right.semilogy(range(1, 1000), cost[1:], "k-", label="bound: $L_t$")
right.semilogy(range(1, 1000), eps_error[1:], "-.", color="0.5", label="simple loss")
right.set(xlabel="step t", title="weight times the perfect denoiser's error, cosine")
for ax in (left, right):
    ax.legend()
plt.show()
assert weight_eps[-1] > 400 and weight_eps[-10:].sum() > 0.98 * weight_eps[1:].sum()
assert cost[-100:].sum() < 0.01 * cost[1:].sum() and cost[1:101].sum() > 0.5 * cost[1:].sum()

# %% [markdown]
# *Left: how dear an error of the noise is. Through most of the chain the bound asks less than a hundredth of the simple
# loss; at the very end, where the SNR plunges in a few steps, the cosine schedule's weight leaves the picture and reaches
# 500. Right: the part that stays even with the perfect denoiser. At the end that is nearly nothing, since the noise is the
# input itself. The bound has most of it in the first hundred steps, the simple loss in the middle.*

# %% [markdown]
# ## Three answers: $\epsilon$, $\mathbf x_0$, $\mathbf v$
#
# Given $\mathbf x_t$, the noise determines the data and the other way round. A network may answer either. A third
# choice {cite:p}`salimans2022distillation` mixes them:
#
# $$\mathbf v = \alpha_t\, \epsilon - \sigma_t\, \mathbf x_0, \qquad \mathbf x_0 = \alpha_t\, \mathbf x_t - \sigma_t\, \mathbf v, \qquad \epsilon = \sigma_t\, \mathbf x_t + \alpha_t\, \mathbf v$$
#
# Why is that right? Since $\alpha_t^2 + \sigma_t^2 = 1$, there is an angle $\varphi_t$ with $\alpha_t = \cos\varphi_t$
# and $\sigma_t = \sin\varphi_t$. Then $(\mathbf x_t, \mathbf v)$ is $(\mathbf x_0, \epsilon)$, turned by that angle. A
# turn is undone by its transpose:
#
# $$\begin{pmatrix} \mathbf x_t \\ \mathbf v \end{pmatrix} = \begin{pmatrix} \cos\varphi_t & \sin\varphi_t \\ -\sin\varphi_t & \cos\varphi_t \end{pmatrix} \begin{pmatrix} \mathbf x_0 \\ \epsilon \end{pmatrix}$$

# %%
phi = torch.atan2(cosine.sigma, cosine.alpha)[:, None]  # (1000, 1)
clean, noise = x0[:1000], eps[:1000]
turned = phi.cos() * clean + phi.sin() * noise, -phi.sin() * clean + phi.cos() * noise
t = torch.arange(1000)
x_t = cosine.add_noise(clean, t, noise)
assert_close(turned[0], x_t, atol=1e-5, rtol=1e-5)
answers_v = lfdm.GaussianDiffusion(lfdm.DiffusionConfig(parameterization="v"))
assert_close(turned[1], answers_v.target(clean, noise, t), atol=1e-5, rtol=1e-5)
lengths = [pair[0].square() + pair[1].square() for pair in (turned, (clean, noise))]
assert_close(*lengths, atol=1e-4, rtol=1e-4)
print(f"mean of x_t^2 + v^2: {lengths[0].mean():.3f}; of x_0^2 + eps^2: {lengths[1].mean():.3f}")

# %% [markdown]
# The conversions are exact; a *network* is not. Suppose it errs by 1. What is the error of $\mathbf x_0$ that follows,
# and of $\epsilon$?

# %% mystnb={"image": {"alt": "Two line plots on logarithmic axes over the step. Left, error of x0: for an eps network it explodes towards the last step, for v it stays below one. Right, error of eps: for an x0 network it explodes towards step zero, for v it stays below one."}}
a, s = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
in_x0 = {"$\\epsilon$": s / a, "v": s, "$x_0$": torch.ones_like(a)}
in_eps = {"$\\epsilon$": torch.ones_like(a), "v": a, "$x_0$": a / s}
fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
for ax, errors_of, what in zip(axes, (in_x0, in_eps), ("$x_0$", "$\\epsilon$"), strict=True):
    for (name, error), style in zip(errors_of.items(), ("--", "-", ":"), strict=True):
        ax.semilogy(error, style, color="k", label=f"network answers {name}")
    ax.set(xlabel="step t", title=f"error of {what} after an error of 1", ylim=(1e-2, 1e5))
axes[0].legend()
plt.show()
assert in_x0["v"].max() <= 1 and in_eps["v"].max() <= 1
eps_in_x0, x0_in_eps = in_x0["$\\epsilon$"], in_eps["$x_0$"]
assert eps_in_x0[-1] > 1e4 and x0_in_eps[0] > 100
print(f"largest factor of v's error: {in_x0['v'].max():.2f} in x0, {in_eps['v'].max():.2f} in eps")
print(f"of eps's error in x0: {eps_in_x0[-1]:,.0f} at the last step, {eps_in_x0[-11]:.0f} ten steps before")
print(f"of x0's error in eps: {x0_in_eps[0]:.0f} at the first step")

# %% [markdown]
# *How much a network's error of 1 counts. An $\epsilon$ network is fragile where there is almost no signal (left,
# right end): it subtracts two large numbers and divides by a tiny $\alpha_t$. An $\mathbf x_0$ network is fragile where
# there is almost no noise (right, left end). $\mathbf v$ is fragile nowhere. The library answers $\mathbf v$ by
# default.*
#
# ### A weight with a limit
#
# *May be skipped on a first reading.*
#
# The library's loss is the squared error of the *answer*, whichever that is. At a given $\mathbf x_t$ a squared error of 1
# in $\mathbf x_0$ is one of $\mathrm{SNR}$ in $\epsilon$, and of $\mathrm{SNR} + 1$ in $\mathbf v$. So the simple loss of
# $\epsilon$ weighs the error of $\mathbf x_0$ by the SNR, without limit where it is high. **min-SNR**
# {cite:p}`hang2023minsnr` stops that rise at 5, for any answer (`DiffusionConfig(min_snr=5)`):

# %%
weights = {}
for answer, unit in (("eps", snr), ("v", snr + 1), ("x0", torch.ones_like(snr))):
    process = lfdm.GaussianDiffusion(lfdm.DiffusionConfig(parameterization=answer, min_snr=5.0))
    weights[answer] = process.loss_weight(torch.arange(1000))
    assert_close(weights[answer], (snr.clamp(max=5) / unit).float(), rtol=1e-3, atol=1e-8)
for step in (50, 300, 800):
    told = ", ".join(f"{name} {weight[step]:.3f}" for name, weight in weights.items())
    print(f"step {step}, SNR {snr[step]:.3f}: min-SNR weight of the error of {told}")

# %% [markdown]
# ### Assembly
#
# All parts are built. One class holds them, for any schedule and any answer.

# %% tags=["assembly"]
class Diffusion:
    """The forward process and all that follows from it in closed form."""

    def __init__(self, beta: Tensor, answer: str):
        alpha_bar = torch.cumprod(1 - beta, dim=0)
        self.exact_alpha_bar, self.answer, self.num_steps = alpha_bar, answer, len(beta)
        self.alpha, self.sigma = alpha_bar.sqrt().float(), (1 - alpha_bar).sqrt().float()
        # At the last step these two are in the tens of thousands: in double precision, and rounded once.
        self.inverse_alpha = (1 / alpha_bar).sqrt().float()
        self.noise_to_signal = (1 / alpha_bar - 1).sqrt().float()

    def at(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        return column(self.alpha[t], like), column(self.sigma[t], like)

    def add_noise(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        return add_noise_v3(x0, t, self.exact_alpha_bar, eps)

    def posterior(self, x0: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return posterior_v2(x0, x_t, t, self.exact_alpha_bar)

    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """What the network should answer."""
        alpha, sigma = self.at(t, x0)
        return {"eps": eps, "x0": x0, "v": alpha * eps - sigma * x0}[self.answer]

    def to_x0_eps(self, x_t: Tensor, t: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """What an answer says about the data and about the noise."""
        alpha, sigma = self.at(t, x_t)
        if self.answer == "eps":
            scale, ratio = column(self.inverse_alpha[t], x_t), column(self.noise_to_signal[t], x_t)
            return scale * x_t - ratio * output, output
        if self.answer == "v":
            return alpha * x_t - sigma * output, sigma * x_t + alpha * output
        return output, (x_t - alpha * output) / sigma

    def loss(self, network: Callable, x0: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error of the answer, at random steps with random noise."""
        t = torch.randint(self.num_steps, (len(x0),), generator=generator)
        eps = torch.randn(x0.shape, generator=generator)
        return (network(self.add_noise(x0, t, eps), t) - self.target(x0, eps, t)).square().mean()

# %% [markdown]
# Equal to the library's `GaussianDiffusion`, method by method, for two schedules and three answers. (Its `loss` also
# hands the network features of the image and a label, which an echo ignores.)

# %%
def echo(x: Tensor, t: Tensor, *image_and_label: Tensor) -> Tensor:
    return x


echo.null_label = 0  # the library asks every network for it
seed = lambda: torch.Generator().manual_seed(10)
label = torch.zeros(1000, dtype=torch.long)
for schedule, make in (("linear", linear_betas), ("cosine", cosine_betas)):
    for answer in ("eps", "x0", "v"):
        ours = Diffusion(make(1000), answer)
        theirs = lfdm.GaussianDiffusion(lfdm.DiffusionConfig(schedule=schedule, parameterization=answer))
        calls = {"add_noise": (clean, t, noise), "posterior": (clean, x_t, t), "target": (clean, noise, t)}
        calls["to_x0_eps"] = (x_t, t, noise)
        for name, arguments in calls.items():
            assert_close(getattr(ours, name)(*arguments), getattr(theirs, name)(*arguments))
        losses = ours.loss(echo, clean, seed()), theirs.loss(echo, clean, clean, label, seed())
        assert_close(*losses)
        print(f"{schedule}, answer {answer}: loss of an echo {losses[0]:.3f}, library {losses[1]:.3f}")
        back = ours.to_x0_eps(ours.add_noise(clean, t, noise), t, ours.target(clean, noise, t))
        assert_close(back[0][:900], clean[:900], atol=2e-3, rtol=1e-3)  # beyond, eps in float32 loses the data

# %% [markdown]
# ## A network learns it
#
# Three layers of 128 units see $\mathbf x_t$ and waves of $t$, and answer $\mathbf v$. They see drawn points and
# noise, never the formula of the face. It takes some ten seconds.

# %%
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.frequencies = math.pi / 2 * 2.0 ** torch.arange(5)  # from a quarter of a wave to four over all steps
        hidden = [nn.Linear(12, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU()]
        self.layers = nn.Sequential(*hidden, nn.Linear(128, 2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        waves = t[:, None] / 1000 * self.frequencies  # (b, 5)
        return self.layers(torch.cat([x, waves.sin(), waves.cos()], dim=1))

# %%
def train(diffusion: Diffusion, data: Mixture, steps: int = 1500) -> tuple[Network, Tensor]:
    torch.manual_seed(0)  # of the first weights
    network, g = Network(), torch.Generator().manual_seed(11)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in range(steps):
        loss = diffusion.loss(network, draw(data, 512, g), g)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return network.eval(), torch.tensor(losses)

# %%
diffusion = Diffusion(cosine_betas(1000), "v")
network, losses = train(diffusion, face)
assert 0.8 < losses[-200:].mean() < 0.9 < losses[:20].mean()
print("parameters:", sum(p.numel() for p in network.parameters()))
print(f"loss: first 20 steps {losses[:20].mean():.3f}, last 200 steps {losses[-200:].mean():.3f}")

# %% [markdown]
# The loss fell, but not far. Did the network learn anything? The loss alone cannot say, since most of it is the
# unavoidable error. In units of $\mathbf v$, as a mean over two coordinates, the perfect denoiser's loss is
# $\tfrac12\, \mathbb E\,\lVert \mathbf x_0 - \mathbf x^\star \rVert^2 / \sigma_t^2$, because at a given $\mathbf x_t$ an
# error of $\mathbf v$ counts $\sigma_t$ times in $\mathbf x_0$.

# %% mystnb={"image": {"alt": "Training loss over 1500 steps: an orange broken line stays near one for a while, falls within a few hundred steps, and then runs slightly above a blue horizontal line, the loss of the perfect denoiser."}}
g = torch.Generator().manual_seed(12)
t = torch.arange(1000).repeat_interleave(100)  # every step, 100 points each
clean = draw(face, len(t), g)
x_t = diffusion.add_noise(clean, t, torch.randn(clean.shape, generator=g))
x_star, unavoidable = perfect(face, x_t, diffusion.alpha[t], diffusion.sigma[t])
floor = (unavoidable / 2 / diffusion.sigma[t] ** 2).mean()  # a mean over two coordinates

plt.figure(figsize=(7, 3.2))
plt.plot(losses.unfold(0, 25, 25).mean(dim=1).repeat_interleave(25), **LEARNED, label="network, mean of 25")
plt.axhline(floor, **KNOWN, label="perfect denoiser")
plt.xlabel("training step")
plt.ylabel("loss")
plt.ylim(0.8, 1.05)
plt.legend()
plt.show()
assert 0.97 * floor < losses[-200:].mean() < 1.03 * floor
print(f"loss of the perfect denoiser {floor:.3f}; the network's is {losses[-200:].mean() / floor:.2f} times that")

# %% [markdown]
# *The loss falls until it nearly meets the line below which no network can get. Without that line you would think that
# the network had learned next to nothing.*
#
# ### Against the truth, at every step
#
# Now the comparison that needs the truth: the excess
# $\mathbb E\,\lVert {\color{#b35900}{\hat{\mathbf x}_\theta}} - \mathbf x^\star \rVert^2$ at all 1000 steps.

# %%
@torch.no_grad()
def guess_x0(diffusion: Diffusion, network: Callable, x_t: Tensor, t: Tensor) -> Tensor:
    return diffusion.to_x0_eps(x_t, t, network(x_t, t))[0]


def by_step(value: Tensor) -> Tensor:
    """Mean over the 100 points of each step: (100000,) -> (1000,)."""
    return value.view(1000, 100).mean(dim=1)


def means(value: Tensor) -> Tensor:
    """Of every 20 steps, for calmer lines: (1000,) -> (50,)."""
    return value.view(50, 20).mean(dim=1)


learned, middles = guess_x0(diffusion, network, x_t, t), torch.arange(10, 1000, 20)
excess = by_step((learned - x_star).square().sum(dim=1))
least_error = by_step(unavoidable)
assert excess.shape == (1000,) and (excess < 0.2 * least_error).all()
assert excess.mean() < 0.01 * least_error.mean()
print(f"mean unavoidable error of x0 {least_error.mean():.2f}, mean excess {excess.mean():.4f}")
print(f"largest share that the excess takes at any step: {100 * (excess / least_error).max():.0f} %")

# %% mystnb={"image": {"alt": "Error of x0 over the step on a logarithmic axis. A blue full line, the unavoidable error, rises to 2. An orange broken line, the excess of the network, lies one to three orders of magnitude below."}}
plt.figure(figsize=(7.5, 3.4))
plt.semilogy(least_error, **KNOWN, label="unavoidable: perfect denoiser to data")
plt.semilogy(middles, means(excess), "^", **LEARNED, markersize=4, label="excess: network to perfect denoiser")
plt.xlabel("step t")
plt.ylabel("squared error of $x_0$")
plt.legend()
plt.show()
assert least_error[-50:].mean() > 1.8  # at the end nothing is known: the variance of the data, 1 + 1

# %% [markdown]
# *Full: the error that even the perfect denoiser makes. It rises to 2, the variance of the data in two coordinates:
# with nothing but noise, the best guess is the mean. Broken, with triangles: how far the network is from the perfect
# answer, squared; means over 20 steps.*
#
# Where in the plane is the network wrong?

# %% mystnb={"image": {"alt": "Three grey maps with contour lines of the data. At step 150 bright inside the contours, dark towards the border and between the eyes; at steps 400 and 700 bright nearly everywhere."}}
fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.8))
seen = {}
for ax, i in zip(axes, (150, 400, 700), strict=True):
    alpha, sigma = diffusion.alpha[i], diffusion.sigma[i]
    everywhere = guess_x0(diffusion, network, plane, torch.full((len(plane),), i))
    distance = (everywhere - perfect(face, plane, alpha, sigma)[0]).norm(dim=1)
    square = dict(origin="lower", extent=(-3, 3, -3, 3), cmap="Greys", vmin=0, vmax=0.5)
    image = ax.imshow(distance.view(121, 121).T, **square)
    contours(ax, face, alpha, sigma)
    ax.set(aspect="equal", xticks=[], yticks=[], frame_on=False, title=f"t = {i}")
    density = log_density(face, plane, alpha, sigma).exp()
    seen[i] = ((density * distance).sum() / density.sum()).item()
fig.colorbar(image, ax=axes, label="distance")
plt.show()
assert max(seen.values()) < 0.1
print("mean distance where the data are:", {i: round(value, 2) for i, value in seen.items()})

# %% [markdown]
# *The distance between the network's guess and the perfect one; dark is far (0.5 or more). It is small where points are
# dense, on eyes and mouth. At step 150 the closed line between them surrounds a hole: there, as outside the face, it is
# dark, since hardly any training point came by.*

# %% [markdown]
# ## Backward: from noise to data
#
# Ancestral sampling (DDPM) walks back: at each step guess $\mathbf x_0$, pretend that the guess is right (this is what
# fails where steps are long), and draw from the posterior.
#
# $$\mathbf x_{t-1} = \tilde\mu_t\big(\mathbf x_t,\, {\color{#b35900}{\hat{\mathbf x}_\theta}}(\mathbf x_t, t)\big) + \sqrt{\tilde\beta_t}\; \xi$$
#
# At $t = 0$ the variance is 0, and the guess itself is the sample.

# %%
@torch.no_grad()
def sample_v1(diffusion: Diffusion, network: Callable, noises: list[Tensor]) -> Tensor:
    """Every x_t on the way, (N + 1, b, 2): x_{N-1} first, the sample last; noises[i] is xi of the i-th step."""
    x, path = noises[0], [noises[0]]
    for i, step in enumerate(reversed(range(diffusion.num_steps))):
        t = torch.full((len(x),), step)
        x0_hat, _ = diffusion.to_x0_eps(x, t, network(x, t))
        mean, variance = diffusion.posterior(x0_hat, x, t)
        x = mean + variance.sqrt() * noises[i + 1]
        path.append(x)
    return torch.stack(path)


g = torch.Generator().manual_seed(13)
noises = [torch.randn(2000, 2, generator=g) for _ in range(1001)]  # where to start, and one for each step
path = sample_v1(diffusion, network, noises)
samples = path[-1]
assert samples.shape == (2000, 2) and torch.isfinite(samples).all()
print("samples:", tuple(samples.shape), f"variance {samples.square().mean():.1f}")

# %% [markdown]
# Judge them by more than the eye. The **energy distance** of two clouds is twice the mean distance between them, minus
# the mean distances within each: 0 exactly when both have the same distribution. Ten pairs of true clouds say what 0
# looks like for 2000 points.

# %%
def energy_distance(a: Tensor, b: Tensor) -> float:
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


def parts(points: Tensor) -> Tensor:
    """Share of left eye, right eye, freckle and mouth: points within three deviations of a mean."""
    inside = torch.cdist(points, face.mu) < 3 * face.tau  # (b, K)
    return torch.cat([inside[:, :3], inside[:, 3:].any(dim=1, keepdim=True)], dim=1).float().mean(dim=0)


true = [draw(face, 2000, torch.Generator().manual_seed(seed)) for seed in range(14, 34)]
true_a, true_b = true[:2]
chance = [energy_distance(one, other) for one, other in zip(true[::2], true[1::2], strict=True)]
distance = energy_distance(samples, true_a)
assert max(chance) < 0.006 and distance < 0.006 and energy_distance(noises[0], true_a) > 0.03
assert (parts(samples) - parts(x0))[[0, 1, 3]].abs().max() < 0.05  # eyes and mouth, against the first 20,000 points
print(f"energy distance of 2000 true points to 2000 others, ten pairs: {min(chance):.4f} to {max(chance):.4f}")
print(f"of the network's samples: {distance:.3f}; of pure noise: {energy_distance(noises[0], true_a):.3f}")

# %% [markdown]
# The way there, with a dial. Each picture counts how many of the 2000 points fall into each square of a grid.

# %%
def heap(points: Tensor, colour: str) -> Tensor:
    """A picture (3, 64, 64) of how many points fall where: white for none, full colour for many."""
    x, y = ((points.clamp(-2.99, 2.99) + 3) / 6 * 64).long().T
    counts = torch.bincount((63 - y) * 64 + x, minlength=64 * 64).view(1, 64, 64).float()
    ink = (F.avg_pool2d(counts, 3, stride=1, padding=1) / 4).clamp(0, 1)  # (1, 64, 64)
    return 1 - ink * (1 - torch.tensor(to_rgb(colour))[:, None, None])


def forward_at(t: int) -> Tensor:
    return diffusion.add_noise(true_b, torch.full((2000,), t), eps[:2000])


def on_the_way(t: int) -> viz.Picture:
    """True points with the noise of step t beside x_t of the backward chain, which began with x_999."""
    heaps = [heap(forward_at(t), KNOWN["color"]), heap(path[999 - t], LEARNED["color"])]
    return viz.image_row(heaps, ["forward: true points", "backward: the network"], scale=5)

# %% tags=["hide-input"]
def way_in_words(t: int) -> str:
    if t < 100:
        return "Left in blue a face; right in orange the same one, its mouth a smooth band, with hardly a point in the freckle"
    seen = "a blurred face" if t < 250 else "a wide ring with an opening" if t < 400 else "a round cloud"
    return f"Left in blue, right in orange, the same: {seen}"

# %%
shown = [0, 50, 150, 300, 450, 700, 999]
apart = [energy_distance(path[999 - t], forward_at(t)) for t in shown]
of_noise = {t: round(energy_distance(noises[0], forward_at(t)), 3) for t in shown}
assert max(apart) < 0.01
print(f"energy distance of both clouds: at most {max(apart):.3f}; with pure noise in the network's place:", of_noise)
viz.dial(on_the_way, alt=way_in_words, reach={"t": (0, 999)}, t=shown)

# %% [markdown]
# *Turn `t` up to 999, where nothing is left, then down to 0, as sampling does: the chain passes backwards through the
# distributions of the forward chain. The distance is small at every step; at large $t$ that says little, since pure noise
# passes too. And at $t = 0$ it does not notice that on the right the mouth is one smooth band and the freckle, 3 % of the
# points, is nearly missing. The gallery counts it.*

# %% [markdown]
# ### Fewer steps
#
# Nothing in the posterior asks for neighbours. From step $t$ to any less noisy step $s$ the same formulas hold, $t - 1$
# replaced by $s$, with the $\beta$ of the whole leap:
#
# $$\beta_{t \mid s} = 1 - \frac{\bar\alpha_t}{\bar\alpha_s}, \qquad \mathbf x_s = \frac{\sqrt{\bar\alpha_s}\, \beta_{t \mid s}\, {\color{#b35900}{\hat{\mathbf x}_\theta}} + \sqrt{1 - \beta_{t \mid s}}\, (1 - \bar\alpha_s)\, \mathbf x_t}{1 - \bar\alpha_t} + \sqrt{\frac{1 - \bar\alpha_s}{1 - \bar\alpha_t}\, \beta_{t \mid s}}\; \xi$$
#
# The last leap goes to the data, where $\bar\alpha = 1$: the guess itself is the sample, however noisy the step was.

# %%
def ddpm_step(x_t: Tensor, x0: Tensor, alpha_bar_t: float, alpha_bar_s: float, noise: Tensor) -> Tensor:
    assert alpha_bar_t < alpha_bar_s, "s must be less noisy than t: its alpha_bar is the larger one"
    beta = 1 - alpha_bar_t / alpha_bar_s
    mean = (alpha_bar_s**0.5 * beta * x0 + (1 - beta) ** 0.5 * (1 - alpha_bar_s) * x_t) / (1 - alpha_bar_t)
    variance = (1 - alpha_bar_s) / (1 - alpha_bar_t) * beta
    return mean + variance**0.5 * noise


def timesteps(num_steps: int, steps: int) -> list[int]:
    """`steps` of the steps, evenly spaced and descending, the noisiest first."""
    return [round(num_steps - i * num_steps / steps) - 1 for i in range(steps)]


@torch.no_grad()
def sample_v2(diffusion: Diffusion, network: Callable, steps: int, noises: list[Tensor]) -> Tensor:
    x, path = noises[0], [*timesteps(diffusion.num_steps, steps), -1]
    alpha_bar = [*diffusion.exact_alpha_bar.tolist(), 1.0]  # at place -1, the last one: the data
    for i, (step, then) in enumerate(pairwise(path)):
        t = torch.full((len(x),), step)
        x0_hat, _ = diffusion.to_x0_eps(x, t, network(x, t))
        x = ddpm_step(x, x0_hat, alpha_bar[step], alpha_bar[then], noises[i + 1])
    return x

# %% [markdown]
# Checks: with all steps `sample_v2` is `sample_v1`; and with any number of steps it is the library's sampler, given the
# same noise. (For $\mathbf v$ and $\mathbf x_0$; with $\epsilon$ the library starts later, as the gallery will show.)

# %%
few_points = [noise[:100] for noise in noises]
assert_close(sample_v2(diffusion, network, 1000, few_points), samples[:100], atol=2e-3, rtol=1e-2)
assert timesteps(1000, 4) == samplers.timesteps(1000, 4) == [999, 749, 499, 249]
back = true_a, true_b, 0.3, 0.6, true_a[:1]  # one step back: alpha_bar rises from 0.3 to 0.6
assert_close(ddpm_step(*back), samplers.ddpm_step(*back))
theirs = lfdm.GaussianDiffusion(lfdm.DiffusionConfig(schedule="cosine", parameterization="v"))
for steps in (7, 50):
    setting = dict(sampler="ddpm", steps=steps, noise=noises, progress=False)
    ours, library = sample_v2(diffusion, network, steps, noises), samplers.sample(theirs, network, (2000, 2), **setting)
    assert_close(ours, library, atol=1e-4, rtol=1e-4)
    print(f"{steps} steps: largest difference from the library {(ours - library).abs().max():.3f}")

# %% [markdown]
# ## Failure gallery
#
# The first three failures are not the network's. They happen to the perfect denoiser too, so we use it: a "network"
# that answers $\mathbf x^\star$.
#
# ### Too few steps, and a schedule that wastes them

# %%
def perfect_network(diffusion: Diffusion, data: Mixture) -> Callable:
    return lambda x, t: perfect(data, x, diffusion.alpha[t], diffusion.sigma[t])[0]


exact = {"linear": Diffusion(linear_betas(1000), "x0"), "cosine": Diffusion(cosine_betas(1000), "x0")}
counts = [3, 5, 10, 20, 50, 100]
few = {}
for name, process in exact.items():
    drawn = {n: sample_v2(process, perfect_network(process, face), n, noises) for n in counts}
    few[name] = [energy_distance(points, true_a) for points in drawn.values()]
    print(name, {n: round(value, 3) for n, value in zip(counts, few[name], strict=True)})
    n = {"linear": 5, "cosine": 3}[name]  # two clouds that are further from the truth than pure noise
    size = drawn[n].square().mean().sqrt()
    stretched = energy_distance(drawn[n] / size, true_a)
    print(f"   {n} steps: deviation {size:.1f}; stretched to 1 their distance is {stretched:.3f}")
assert few["linear"][1] > 3 * few["cosine"][1] > 3 * few["cosine"][-1]

# %% mystnb={"image": {"alt": "Left: energy distance over the number of steps on logarithmic axes; both schedules fall into the grey band of chance, linear later than cosine; below ten steps both have points above the dash-dotted line of pure noise. Middle and right: samples of five steps, for linear one filled rounded square, for cosine a face with thin blobs and hardly a freckle."}}
fig, (left, middle, right) = plt.subplots(1, 3, figsize=(10.5, 3.5))
for (name, values), style, marker in zip(few.items(), (":", "-"), "so", strict=True):
    left.loglog(counts, values, style, marker=marker, color=KNOWN["color"], label=name)
left.axhspan(min(chance), max(chance), color="0.85", label="two true clouds, ten pairs")
left.axhline(energy_distance(noises[0], true_a), color="k", linestyle="-.", linewidth=1, label="pure noise")
left.set(xlabel="steps", ylabel="energy distance to the truth")
left.legend()
for ax, (name, process) in zip((middle, right), exact.items(), strict=True):
    drawn = sample_v2(process, perfect_network(process, face), 5, noises)
    cloud(ax, drawn, f"{name}, 5 steps")
    contours(ax, face)
plt.show()
assert few["linear"][-1] < 0.1 * few["linear"][0]
for name, a in schedules.items():
    print(f"{name}, SNR at the five steps:", ", ".join(f"{a[i] / (1 - a[i]):.3g}" for i in timesteps(1000, 5)))

# %% [markdown]
# *Perfect denoiser, few steps. Left: distance to the truth; within the band the order means nothing. Middle and right:
# samples of five steps. The posterior around a guess is right only where the guess is; after a long step the guess is an
# average of blobs, and the samples come out too near the middle. That alone puts three cosine steps and five linear ones
# further from the truth than pure noise: stretched to variance 1, they come to a fifth of that and less. The linear
# schedule spends three of its five steps at SNR below 0.1, cosine one. Samplers that need fewer steps are
# [chapter 7](07_samplers.ipynb).*

# %% [markdown]
# ### A schedule that does not arrive
#
# The betas of the linear schedule are meant for 1000 steps. Use the same range with 50: at the end 60 % of the signal's
# variance is left, yet sampling starts from pure noise, as if none were. For centred data of variance 1 that does not
# show: the distance of both is within chance. Move the face away from the centre:

# %% book={"picture": {"largest": 90, "mean": 2, "why": "points at the edge of a pixel fall to one side or the other"}} mystnb={"image": {"alt": "Three scatter plots of a face that lies right of the centre, which a cross and a dotted circle mark. With 50 linear betas the samples miss the right part of the face and lie too far left; with 50 cosine betas they fill the contour lines."}}
aside = face._replace(mu=face.mu + torch.tensor([2.0, 0.0]))
fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.7))
cloud(axes[0], draw(aside, 2000, torch.Generator().manual_seed(16)), "truth")
centre, centred = {}, {}
for ax, (name, make) in zip(axes[1:], (("linear", linear_betas), ("cosine", cosine_betas)), strict=True):
    process = Diffusion(make(50), "x0")
    drawn = sample_v2(process, perfect_network(process, aside), 50, noises)
    centre[name] = drawn[:, 0].mean().item()
    centred[name] = energy_distance(sample_v2(process, perfect_network(process, face), 50, noises), true_a)
    cloud(ax, drawn, f"{name}, signal left {process.exact_alpha_bar[-1]:.1f}")
for ax in axes:
    contours(ax, aside)
    ax.plot(0, 0, "k+", markersize=12)
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, linestyle=":"))
    ax.set(xlim=(-1.5, 4.5))
plt.show()
assert abs(centre["cosine"] - 2) < 0.1 and centre["linear"] < 1.6 and max(centred.values()) < max(chance)
print(f"face in the centre, energy distance: linear {centred['linear']:.4f}, cosine {centred['cosine']:.4f}")
print(f"mean of x: truth 2.0, cosine {centre['cosine']:.1f}, linear {centre['linear']:.1f}")

# %% [markdown]
# *The perfect denoiser for both. With linear betas it was made for an $\mathbf x_{N-1}$ with 60 % of the signal; sampling
# starts without, from the noise whose centre and deviation cross and dotted circle show. The denoiser takes the start for
# a face that lies further left, and draws what fits. In pictures the mean brightness goes wrong in this way
# {cite:p}`lin2024flawed`. Plot $\bar\alpha_{N-1}$: it must be near 0.*

# %% [markdown]
# ### The wrong variance
#
# *May be skipped on a first reading.*
#
# The posterior variance $\tilde\beta_t$ belongs to a *known* $\mathbf x_0$. The guess has an unavoidable error, and that
# is missing from the step. Any other variance is one line. A sampler that takes it as a function of the two steps'
# $\bar\alpha$:

# %%
def tilde(now: float, then: float) -> float:
    return (1 - then) / (1 - now) * (1 - now / then)


def plain(now: float, then: float) -> float:
    return 1 - now / then  # beta of the step


def none(now: float, then: float) -> float:
    return 0.0


def sample_with(variance: Callable, guess: Callable, alpha_bar: list[float], noises: list[Tensor]) -> Tensor:
    """Steps through falling amounts of noise; `guess(x, alpha, sigma)` is the perfect one, `variance` is on trial."""
    x = noises[0]
    for i, (now, then) in enumerate(pairwise(alpha_bar)):
        mean = ddpm_step(x, guess(x, now**0.5, (1 - now) ** 0.5), now, then, torch.zeros_like(x))
        x = mean + variance(now, then) ** 0.5 * noises[i + 1]
    return guess(x, alpha_bar[-1] ** 0.5, (1 - alpha_bar[-1]) ** 0.5)  # the last step adds no noise


def route(steps: int, schedule: str = "cosine") -> list[float]:
    """alpha_bar of the steps on the way back: rising, the noisiest first."""
    return exact[schedule].exact_alpha_bar[timesteps(1000, steps)].tolist()

# %% [markdown]
# First on one Gaussian of deviation 0.5, where only one number can be wrong: the deviation of the samples.

# %% mystnb={"image": {"alt": "Curves of the standard deviation of samples over the number of steps, and a dotted line at one half, which is right. Crosses, no noise, lie at zero. Squares, beta tilde, rise to one half from below, a third with five steps. Circles, beta, lie at one half or slightly above throughout."}}
counts, deviation = [5, 10, 20, 50, 100, 300, 1000], {}
narrow = lambda x, alpha, sigma: perfect_gaussian(0.0, 0.5, x, alpha, sigma)[0]
for variance in (none, tilde, plain):
    ends = [sample_with(variance, narrow, route(n), noises).std().item() for n in counts]
    deviation[variance.__name__] = ends
    print(f"{variance.__name__:6}", {n: round(value, 2) for n, value in zip(counts, ends, strict=True)})

plt.figure(figsize=(7, 3.2))
labels = {"none": "no noise", "tilde": r"$\tilde\beta_t$", "plain": r"$\beta_t$"}
for (name, values), marker in zip(deviation.items(), "xso", strict=True):
    plt.semilogx(counts, values, color=KNOWN["color"], marker=marker, linewidth=1, label=labels[name])
plt.axhline(0.5, color="k", linestyle=":")
plt.xlabel("steps")
plt.ylabel("deviation of the samples")
plt.legend()
plt.show()
assert deviation["none"][-1] < 0.1 and all(abs(deviation[name][-1] - 0.5) < 0.02 for name in ("tilde", "plain"))
assert all(low < high for low, high in zip(deviation["tilde"], deviation["plain"], strict=True))

# %% [markdown]
# *0.5 (dotted) is right. Crosses: leave the noise out, and all samples run together. (The mean is that of a noisy step.
# The sampler of chapter 7 that adds no noise has another mean.) Squares: $\tilde\beta_t$ is right for a known point, and
# too narrow for anything wider. Circles: $\beta_t$ is right for a Gaussian of variance 1, where it is the variance of
# $\mathbf x_{t-1}$ given $\mathbf x_t$, and here nearly so. That is the gap which you saw in the bound. With hundreds of
# steps the choice hardly matters for the samples' deviation; in the bound, 0.8 nats remain with 1000 steps.
# {cite:t}`nichol2021improved` learn the variance.*
#
# Now on the face: steps, schedule (both of 1000 betas) and variance, behind a dial each:

# %%
def of_face(x: Tensor, alpha: float, sigma: float) -> Tensor:
    return perfect(face, x, alpha, sigma)[0]


def sampled_face(steps: int, schedule: str, variance: Callable) -> viz.Picture:
    drawn = sample_with(variance, of_face, route(steps, schedule), noises)
    title = f"energy distance {energy_distance(drawn, true_a):.3f}"
    return viz.image_row([heap(points, KNOWN["color"]) for points in (true_a, drawn)], ["true points", title], scale=5)

# %% tags=["hide-input"]
def samples_in_words(steps: int, schedule: str, variance: Callable) -> str:
    if variance is none:
        return "Left: a face of true points. Right: all samples in one small spot"
    seen = {3: "one ring around the face's middle", 10: "a face with points between its parts", 30: "a face"}[steps]
    seen = "one filled blob" if steps == 3 and schedule == "linear" else seen
    return f"Left: a face of true points. Right: {seen}"

# %%
variances = {"tilde": tilde, "plain": plain, "none": none}
found = {name: sample_with(variance, of_face, route(10), noises) for name, variance in variances.items()}
spread = {name: round(energy_distance(points, true_a), 3) for name, points in found.items()}
assert spread["none"] > 0.5 > 10 * spread["tilde"]
print("ten steps, energy distance to the truth:", spread)
viz.dial(sampled_face, alt=samples_in_words, steps=[3, 10, 30], schedule=["cosine", "linear"], variance=variances)

# %% [markdown]
# *Left: true points. Right: samples of the perfect denoiser. Turn one dial at a time. With 3 steps the samples fill the
# space between the parts, more so with the linear schedule; with 30 steps both variances give a face, and $\tilde\beta_t$
# the smaller blobs. Without noise all samples run together, however many the steps.*
#
# ### Answering $\epsilon$ where there is no signal
#
# *May be skipped on a first reading.*
#
# Train the same network in the same way to answer $\epsilon$, and look at the error of $\mathbf x_0$.

# %%
diffusion_eps = Diffusion(cosine_betas(1000), "eps")
network_eps, losses_eps = train(diffusion_eps, face)
learned_eps = guess_x0(diffusion_eps, network_eps, x_t, torch.arange(1000).repeat_interleave(100))
excess_eps = by_step((learned_eps - x_star).square().sum(dim=1))
library_eps = lfdm.GaussianDiffusion(lfdm.DiffusionConfig(parameterization="eps"))

from_the_last = sample_v2(diffusion_eps, network_eps, 10, noises)
setting = dict(sampler="ddpm", steps=10, noise=noises, progress=False)
cured = samplers.sample(library_eps, network_eps, (2000, 2), min_alpha_bar=1e-3, **setting)  # starts a little later
with_v = sample_v2(diffusion, network, 10, noises)
assert excess_eps[-1] > 1e3 * excess[-1] and excess_eps[300:600].mean() < 0.02
distances = [energy_distance(drawn, true_a) for drawn in (from_the_last, cured, with_v)]
assert distances[0] > 3 * distances[2] and max(distances[1:]) < 0.05
print(f"excess at steps 300 to 600: eps {excess_eps[300:600].mean():.4f}, v {excess[300:600].mean():.4f}")
print(f"at the last step: eps {excess_eps[-1] / 1e6:.0f} million, v {excess[-1]:.3f}")

# %% mystnb={"image": {"alt": "Left: excess over the step; the dotted curve of the eps network lies on the broken one of the v network up to about step 400, then rises above it, and shoots up by many orders of magnitude at the end. Middle and right: ten-step samples of the eps network and of the v network, both started at the last step."}}
fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.6))
axes[0].semilogy(middles, means(excess_eps), "s:", markersize=3, color=LEARNED["color"], label="answers $\\epsilon$")
axes[0].semilogy(middles, means(excess), "^", **LEARNED, markersize=3, label="answers v")
axes[0].semilogy(least_error, **KNOWN, label="unavoidable")
axes[0].set(xlabel="step t", ylabel="squared error of $x_0$")
axes[0].legend()
for ax, title, drawn in zip(axes[1:], ("answers $\\epsilon$", "answers v"), (from_the_last, with_v), strict=True):
    cloud(ax, drawn, f"{title}, 10 steps", learned=True)
    contours(ax, face)
plt.show()
assert energy_distance(from_the_last, true_a) > 3 * energy_distance(with_v, true_a)
told = "energy distance of ten steps: eps {:.2f}, eps started a little later {:.2f}, v {:.2f}"
print(told.format(*distances))

# %% [markdown]
# *Left: dotted, the $\epsilon$ network (means over 20 steps). At the end, its error of the noise counts
# $\sigma_t / \alpha_t$ times. Right: ten steps. From the last step, the first guess of $\mathbf x_0$ is far outside, and
# ten steps are too few to recover. The library's cure for $\epsilon$ networks, its default, is to start where a thousandth
# of the signal's variance is left (`min_alpha_bar`); answering $\mathbf v$ needs no cure.*

# %% [markdown]
# ### Where the data seldom come
#
# The map of distances was dark outside the contours. Sort the same error by density: how wrong is the network where
# points are common, rare, or absent? And what if training stops after a tenth of the time?

# %%
i, groups = 150, {}
alpha, sigma = diffusion.alpha[i], diffusion.sigma[i]
hasty, _ = train(diffusion, face, steps=150)
log_q = log_density(face, plane, alpha, sigma)
rarity = log_q.max() - log_q  # in nats below the most common place
for name, net in (("full", network), ("a tenth", hasty)):
    guess = guess_x0(diffusion, net, plane, torch.full((len(plane),), i))
    distance = (guess - perfect(face, plane, alpha, sigma)[0]).norm(dim=1)
    group = torch.bucketize(rarity, torch.tensor([2.0, 5.0, 10.0, 20.0]), right=True)  # 4: rarer than that
    groups[name] = [distance[group == j].mean().item() for j in range(4)]
    print(f"{name:8}", [round(value, 2) for value in groups[name]], "by rarity")
assert groups["full"][-1] > 3 * groups["full"][0] and groups["a tenth"][0] > 3 * groups["full"][0]

due, drawn = parts(x0)[2].item(), parts(samples)[2].item()
assert due > 0.025 and drawn < due / 2
print(
    f"points in the freckle: {100 * due:.1f} % of the true ones; of the full network's samples below {50 * due:.1f} %"
)

# %% mystnb={"image": {"alt": "Left: bars of the distance to the perfect denoiser in four classes of rarity, higher the rarer; the network trained for a tenth of the time is worse in all. Middle and right: the freckle enlarged, dense in the true points, nearly empty in the samples."}}
fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.6))
for j, (name, hatch) in enumerate((("full", "//"), ("a tenth", ".."))):
    style = dict(color=LEARNED["color"], hatch=hatch, edgecolor="w", label=name)
    axes[0].bar(torch.arange(4) + 0.4 * j, groups[name], 0.4, **style)
axes[0].set_xticks(torch.arange(4) + 0.2, ["0 to 2", "2 to 5", "5 to 10", "10 to 20"])
axes[0].set(xlabel="rarity of the place, nats", ylabel="distance to the perfect denoiser")
axes[0].legend(title="training")
for ax, points, title in zip(axes[1:], (true_a, samples), ("truth", "full training"), strict=True):
    cloud(ax, points, title, learned=title != "truth")
    contours(ax, face)
    ax.set(xlim=(0.6, 2.3), ylim=(-0.3, 1.4))
plt.show()
assert energy_distance(samples, true_a) < 2 * max(chance)  # and the distance of the whole clouds does not notice

# %% [markdown]
# *Left: the error by rarity of the place, at step 150. In training it hardly counts, since rare places are rarely
# drawn. In sampling it may: one bad step can lead to a place where the next guess is worse. Right: the freckle enlarged,
# rings are the density. The network of this chapter, whose loss is about 1 % above the best and whose samples are as near
# to the truth as true points are, has nearly missed the freckle. A mean over all points hides what is rare: count it by
# name.*
#
# ## Without steps
#
# *May be skipped on a first reading.*
#
# Three topics with names of their own follow from this chapter: continuous time, flow matching, preconditioning. We can
# say so with numbers, because `perfect` takes any `alpha` and `sigma`. In this section $t$ is a real number, 0 at the data
# and 1 at pure noise.
#
# **Continuous time.** Let the chain have more and more steps, each as much smaller: of $N$ steps, the one at $t$ takes
# $\beta(t) / N$. A product of many factors near 1 becomes an exponential:
#
# $$\bar\alpha_t = \prod_{i < t N} \left( 1 - \frac{\beta(i / N)}{N} \right) \;\rightarrow\; \exp\left( - \int_0^t \beta(s)\, d s \right)$$
#
# So nothing hangs on the number of steps, and $\alpha_t$, $\sigma_t$ may be any smooth curves. For the linear schedule
# $\beta(t) = 0.1 + 19.9\, t$: the numbers 0.1 and 20 of {cite:t}`song2021sde` are 1000 times those of DDPM.

# %%
limit = math.exp(-(0.1 * 0.5 + 19.9 * 0.5**2 / 2))  # at t = 1/2
for n in (100, 1000, 10_000):
    finite = (1 - torch.linspace(0.1, 20, n).double() / n)[: n // 2].prod().item()
    print(f"half way, {n:5d} steps: {finite:.4f} of the signal's variance, limit {limit:.4f}")
assert abs(finite - limit) < 1e-4

# %% [markdown]
# In continuous time the way back need not be random. Where a point stands at $t$, the mean velocity of all noisy
# points that pass there is
#
# $$\mathbf x'_t = \mathbb E\left[ \alpha'_t\, \mathbf x_0 + \sigma'_t\, \epsilon \mid \mathbf x_t \right] = \alpha'_t\, \mathbf x^\star + \sigma'_t\, \epsilon^\star, \qquad \epsilon^\star = \frac{\mathbf x_t - \alpha_t\, \mathbf x^\star}{\sigma_t}$$
#
# with $\alpha'_t$, $\sigma'_t$ the slopes. Points that go against it, from noise at $t = 1$ to $t = 0$, arrive as data
# ([chapter 7](07_samplers.ipynb) says why). Two choices of the curves are worth a look:
#
# $$\alpha_t = \cos\tfrac{\pi t}{2},\; \sigma_t = \sin\tfrac{\pi t}{2}: \quad \mathbf x'_t = \tfrac{\pi}{2}\, \mathbf v^\star \qquad\qquad \alpha_t = 1 - t,\; \sigma_t = t: \quad \mathbf x'_t = \epsilon^\star - \mathbf x^\star$$
#
# The left one is the cosine schedule without its offset, and there **$\mathbf v$ is the velocity**, up to $\pi / 2$.
#
# **Flow matching** {cite:p}`lipman2023flow,liu2023rectified` is the right one. Each pair of data and noise is joined by a
# straight line, and a network learns the line's velocity:
#
# $$L_{\text{flow}} = \mathbb E_{t,\, \mathbf x_0,\, \epsilon}\, \lVert (\epsilon - \mathbf x_0) - {\color{#b35900}{\hat{\mathbf x}'_\theta}}\big((1 - t)\, \mathbf x_0 + t\, \epsilon,\, t\big) \rVert^2$$
#
# (In both papers time runs the other way, and $t = 1$ is the data.) Is it another model? Divide $\mathbf x_t$ by
# $\sqrt{\alpha_t^2 + \sigma_t^2}$, and it has variance 1 and the same SNR: a step of our chain. With the $\mathbf v$ of
# that step,
#
# $$\epsilon - \mathbf x_0 = \frac{\mathbf v}{\sqrt{\alpha_t^2 + \sigma_t^2}} + \frac{(2 t - 1)\, \mathbf x_t}{\alpha_t^2 + \sigma_t^2}$$
#
# The second part is known. So a squared error of $\mathbf v$ counts $1 / (\alpha_t^2 + \sigma_t^2)$ times, between 1 and 2.
# Flow matching with Gaussian noise is diffusion with another **schedule** and another **weight**; the perfect denoiser is
# the same.

# %%
def circle(t: float) -> tuple[float, float, float, float]:
    """alpha, sigma and their slopes."""
    phi = math.pi / 2 * t
    return math.cos(phi), math.sin(phi), -math.pi / 2 * math.sin(phi), math.pi / 2 * math.cos(phi)


def straight(t: float) -> tuple[float, float, float, float]:
    return 1 - t, t, -1.0, 1.0


def velocity(x: Tensor, t: float, curves: Callable) -> Tensor:
    alpha, sigma, alpha_slope, sigma_slope = curves(t)
    x_star, _ = perfect(face, x, alpha, sigma)
    return alpha_slope * x_star + sigma_slope * (x - alpha * x_star) / sigma

# %%
for t in (0.25, 0.75):
    x = (1 - t) * true_a + t * true_b  # any points will do
    size = math.hypot(1 - t, t)
    alpha, sigma = (1 - t) / size, t / size  # the step of our chain with the same SNR
    x_star, _ = perfect(face, x / size, alpha, sigma)
    v_star = alpha * (x / size - alpha * x_star) / sigma - sigma * x_star
    by_v = v_star / size + (2 * t - 1) * x / size**2
    flow = velocity(x, t, straight)
    assert_close(flow, by_v, atol=1e-3, rtol=1e-3)

    on_circle = velocity(x / size, 2 / math.pi * math.atan2(t, 1 - t), circle)  # where its SNR is the same
    assert_close(on_circle, math.pi / 2 * v_star, atol=1e-3, rtol=1e-3)
    print(f"t = {t}: velocity of flow matching {flow[0, 0]:.3f}, made of v {by_v[0, 0]:.3f}")
    print(f"   along cosine and sine {on_circle[0, 0]:.3f}, pi / 2 times v {math.pi / 2 * v_star[0, 0]:.3f}")

# %% mystnb={"image": {"alt": "Two planes with contour lines of the face and forty thin lines from hollow start points to full end points. Left, along cosine and sine, lines bend a little. Right, flow matching, the same starts reach nearly the same ends, but most lines first run towards the middle and come back in a sharp turn."}}
def follow(curves: Callable, steps: int, x: Tensor) -> Tensor:
    """Small steps against the velocity, from t = 1 to 0 -> every place on the way."""
    places = [x]
    for i in range(steps, 0, -1):
        places.append(places[-1] - velocity(places[-1], i / steps, curves) / steps)
    return torch.stack(places)  # (steps + 1, b, 2)


fig, axes = plt.subplots(1, 2, figsize=(9, 4.6))
for ax, curves, title in zip(axes, (circle, straight), ("cosine and sine", "flow matching"), strict=True):
    ends = {n: follow(curves, n, noises[0]) for n in (5, 10, 50)}
    near = {n: round(energy_distance(places[-1], true_a), 3) for n, places in ends.items()}
    way = ends[50].diff(dim=0).norm(dim=-1).sum() / (ends[50][-1] - ends[50][0]).norm(dim=-1).sum()
    print(f"{title}: way {way:.2f} times the distance; energy distance by steps {near}")
    ax.plot(*ends[50][:, :40].permute(2, 0, 1), "-", color="0.5", linewidth=0.8)
    ax.plot(*ends[50][0, :40].T, "o", color="k", fillstyle="none", markersize=4)
    ax.plot(*ends[50][-1, :40].T, "o", color=KNOWN["color"], markersize=4)
    contours(ax, face)
    ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=[], yticks=[], frame_on=False, title=title)
    assert near[50] < max(chance)
plt.show()

# %% [markdown]
# *The perfect denoiser, no noise but the start. Hollow: forty starts. Full: where they end. Both ways arrive. But the
# lines of flow matching are straight only for single pairs: here the mean velocity first leads to the middle, where all
# pairs cross, and back. Along cosine and sine the points stay at variance 1, and for these data that is the straighter
# way: five steps end within 0.002 of the truth, where five of DDPM ended at 0.012. That is chapter 7. How such paths are
# made straight, and when that pays, is the subject of chapter 10.*
#
# **Preconditioning.** {cite:t}`karras2022edm` ask something else: what should a network see and answer, so that both have
# variance 1 at every amount of noise? They write the noisy point as $\mathbf x_t / \alpha_t = \mathbf x_0 + \kappa_t
# \epsilon$ with $\kappa_t = \sigma_t / \alpha_t$, and put fixed factors around the network $F_\theta$:
#
# $${\color{#b35900}{\hat{\mathbf x}_\theta}} = c_{\text{skip}}\, \frac{\mathbf x_t}{\alpha_t} + c_{\text{out}}\, {\color{#b35900}{F_\theta}}\left( c_{\text{in}}\, \frac{\mathbf x_t}{\alpha_t} \right)$$
#
# For data of variance 1, the input has variance 1 if $c_{\text{in}} = 1 / \sqrt{1 + \kappa_t^2}$. What is left for the
# network has the variance $(1 - c_{\text{skip}})^2 + c_{\text{skip}}^2 \kappa_t^2$. $c_{\text{skip}}$ makes that as
# small as can be, so that the network's errors count least, and $c_{\text{out}}$ is its root:
#
# $$c_{\text{skip}} = \frac{1}{1 + \kappa_t^2} = \alpha_t^2, \qquad c_{\text{out}} = \frac{\kappa_t}{\sqrt{1 + \kappa_t^2}} = \sigma_t, \qquad c_{\text{in}} = \alpha_t$$
#
# Put in: $\hat{\mathbf x}_\theta = \alpha_t \mathbf x_t + \sigma_t F_\theta$. That is the formula of $\mathbf v$, with
# $F_\theta = -\hat{\mathbf v}_\theta$. And their weight of the error of $\mathbf x_0$, $1 / c_{\text{out}}^2$, is $\mathrm{SNR} + 1$, that of the
# squared error of $\mathbf v$. (For data of another deviation, the same three demands give factors with that deviation in
# them.) What EDM changes beyond that is, above all, which amounts of noise are drawn in training, and the sampler.

# %%
trial = torch.linspace(0, 1, 1001)  # values of c_skip
for kappa in (0.2, 1.0, 5.0):
    alpha, sigma = 1 / math.hypot(1, kappa), kappa / math.hypot(1, kappa)
    noisy = x0 + kappa * eps
    variance = (1 - trial) ** 2 + trial**2 * kappa**2
    c_skip, c_out = trial[variance.argmin()].item(), variance.min().sqrt().item()
    target = (x0 - c_skip * noisy) / c_out  # what the network F must answer: -v
    assert_close(target, sigma * x0 - alpha * eps, atol=0.02, rtol=0.02)
    print(f"kappa {kappa}: c_skip {c_skip:.3f}, alpha^2 {alpha**2:.3f}; c_out {c_out:.3f}, sigma {sigma:.3f}")
    print(f"   variance of input {(alpha * noisy).square().mean():.2f}, of target {target.square().mean():.2f}")

# %% [markdown]
# ## Summary
#
# * The forward chain is $\mathbf x_t = \alpha_t \mathbf x_0 + \sigma_t \epsilon$ at once, and one step back is a Gaussian
#   if $\mathbf x_0$ is known. All a network must supply is a guess of $\mathbf x_0$; the best is
#   $\mathbb E[\mathbf x_0 \mid \mathbf x_t]$, from which the score follows.
# * The squared error of that guess, weighted by what each step gains in SNR, bounds the likelihood. The simple loss drops
#   the weight. $\epsilon$, $\mathbf x_0$ and $\mathbf v$ are one answer in three coordinates; only $\mathbf v$ is
#   harmless at both ends.
# * Against the truth: the excess of a small network is about a thousandth of the unavoidable error on average, a tenth at
#   worst. What goes wrong in sampling is mostly steps that are too long, a variance that is too narrow, a schedule that
#   does not arrive, or rare data.
#
# ## Exercises
#
# **1. Check yourself** (three minutes, easy). At the last step $\mathbf x_t$ is nothing but noise. What does the perfect
# network answer there, if it answers $\mathbf x_0$, $\epsilon$, or $\mathbf v$? For which is the answer the same at every
# $\mathbf x_t$?
#
# <details>
# <summary>Solution</summary>
#
# $\mathbf x_t$ says nothing about $\mathbf x_0$, so the best guess is the mean of the data, here 0. The noise is
# $\mathbf x_t$ itself. $\mathbf v = \alpha_t \epsilon - \sigma_t \mathbf x_0$ with $\alpha_t = 0$, $\sigma_t = 1$ is minus
# the mean, 0 as well. So $\mathbf x_0$ and $\mathbf v$ are constant, and $\epsilon$ is a copy of the input: a network that
# copies perfectly there has learned nothing about data.
#
# ```python
# last = torch.full((2000,), 999)
# x_star, _ = perfect(face, noises[0], diffusion.alpha[last], diffusion.sigma[last])
# assert x_star.abs().max() < 0.01
# eps_star = (noises[0] - diffusion.alpha[999] * x_star) / diffusion.sigma[999]
# assert_close(eps_star, noises[0], atol=1e-3, rtol=0)
# ```
#
# </details>
#
# **2. Check yourself** (five minutes, medium). The first term of the bound has nothing to learn, and yet it predicts one
# of the failures. Compute it (`first_term`, in *Is it a bound?*) for 50 linear and 50 cosine betas, for data that are
# moved aside. Which failure?
#
# <details>
# <summary>Solution</summary>
#
# The schedule that does not arrive: the term is how many nats the first point of the backward chain is wrong by, before
# any network is asked.
#
# ```python
# points = draw(aside, 2000, torch.Generator().manual_seed(17))
# square = points.square().sum(dim=1).mean()
# nats = [first_term((1 - make(50)).prod(), square).item() for make in (linear_betas, cosine_betas)]
# print([round(value, 2) for value in nats])  # 2.15 and 0.0
# assert abs(nats[0] - 2.15) < 0.05 and nats[1] < 0.01
# ```
#
# </details>
#
# **3. Code it** (ten minutes, easy). A network answers $\epsilon$, but your sampler wants $\mathbf v$. Convert in one line,
# from $\epsilon$ and $\mathbf x_t$.

# %%
def answer_of(function: Callable, *given, like: Tensor) -> Tensor | str:
    """What a reader's function answers, in the precision of `like`; or a hint, if it is no tensor of that shape."""
    try:
        answer = function(*given)
    except Exception as error:  # a reader's slip is a hint here, no traceback
        return f"not yet: it stops with {type(error).__name__}: {error}"
    if not isinstance(answer, Tensor):
        return f"not yet: return a tensor, not {'nothing' if answer is None else 'a ' + type(answer).__name__}"
    if answer.shape != like.shape:
        return f"not yet: return the shape {tuple(like.shape)}, not {tuple(answer.shape)}"
    return answer.to(like)

# %% tags=["hide-input"]
def check_eps_to_v(function) -> str:
    alpha, sigma = 0.8, 0.6
    x_t, right = alpha * true_a + sigma * true_b, alpha * true_b - sigma * true_a
    answer = answer_of(function, true_b, x_t, alpha, sigma, like=right)
    hints = {
        "solved": right,
        "not yet: the sign is turned, v = alpha eps - sigma x0": -right,
        "not yet: x_t stands where x0 belongs": alpha * true_b - sigma * x_t,
        "not yet: x0 = (x_t - sigma eps) / alpha; the division is missing": alpha * true_b - sigma * alpha * true_a,
        "not yet: alpha and sigma are swapped": sigma * true_b - alpha * true_a,
        "not yet: that is alpha times v; the division by alpha is missing": alpha * right,
        "not yet: the sign before sigma x0 is turned, v = alpha eps - sigma x0": alpha * true_b + sigma * true_a,
        "not yet: that is x0; put it into v = alpha eps - sigma x0": true_a,
    }
    if isinstance(answer, str):
        return answer
    default = "not yet: put x0 = (x_t - sigma eps) / alpha into v, then use alpha^2 + sigma^2 = 1"
    return next((hint for hint, value in hints.items() if torch.allclose(answer, value, atol=1e-4)), default)

# %% tags=["exercise"]
def eps_to_v(eps, x_t, alpha, sigma):
    """The v that says the same as eps at x_t = alpha x0 + sigma eps."""
    return None  # your line


print(check_eps_to_v(eps_to_v))

# %% mystnb={"image": {"alt": "Two curves over the step on a logarithmic axis: the factor of eps starts at 1, the factor of x_t near 0; both rise together towards the end, beyond ten thousand."}} tags=["hide-input"]
a, s = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
x_factor = s / a  # in v = factor of eps times eps - factor of x_t times x_t
plt.figure(figsize=(7, 3))
plt.semilogy(1 / a, "k-", label=r"factor of $\epsilon$")
plt.semilogy(x_factor, "k--", label="factor of $x_t$, with a minus")
plt.xlabel("step t")
plt.legend()
plt.show()
assert_close(a * 0.3 - s * 0.7, 0.3 / a - x_factor * (a * 0.7 + s * 0.3))  # at x0 = 0.7, eps = 0.3
print(f"at the last step the factors are {1 / a[-1]:,.0f} and {x_factor[-1]:,.0f}")

# %% [markdown]
# *The two factors that a right answer multiplies with, over the steps of the cosine schedule. At the end it subtracts two
# large numbers: the fragility of $\epsilon$ again.*
#
# <details>
# <summary>Solution</summary>
#
# $\alpha\epsilon - \sigma (\mathbf x_t - \sigma \epsilon) / \alpha = \big((\alpha^2 + \sigma^2)\,\epsilon - \sigma
# \mathbf x_t\big) / \alpha$.
#
# ```python
# def eps_to_v(eps, x_t, alpha, sigma):
#     return (eps - sigma * x_t) / alpha
#
#
# assert check_eps_to_v(eps_to_v) == "solved"
# ```
#
# </details>
#
# **4. Code it** (fifteen minutes, medium). A schedule is nothing but its SNR. Write the betas of a chain whose
# $\lambda_t$ is given, for instance a straight line from 4 to -4.

# %% tags=["hide-input"]
def check_betas(function) -> str:
    lamda = torch.linspace(4, -4, 50).double()
    beta = answer_of(function, lamda, like=lamda)
    if isinstance(beta, str):
        return beta + ("; before the first step alpha_bar is 1" if "(49,)" in beta else "")
    alpha_bar, right = torch.cumprod(1 - beta, dim=0), (2 * lamda).sigmoid()
    right_beta = 1 - right / one_before(right)
    wrong = {
        "lambda is half of the logarithm of the SNR": (alpha_bar, lamda.sigmoid()),
        "lambda falls, and alpha_bar with it; the sign of lambda is turned": (
            beta,
            1 - (1 - right) / one_before(1 - right),
        ),
        "that is alpha_bar; beta is the step from one to the next": (beta, right),
        "that is 1 - alpha_bar; beta is the step from one alpha_bar to the next": (beta, 1 - right),
        "that is 1 - beta, the share that a step leaves": (beta, 1 - right_beta),
        "all is shifted by one: beta_t leads from alpha_bar of t - 1 to that of t": (beta[:-1], right_beta[1:]),
        "the first is wrong; before the first step alpha_bar is 1": (beta[1:], right_beta[1:]),
    }
    if torch.allclose(alpha_bar, right, rtol=1e-4):
        return "solved"
    hints = [hint for hint, pair in wrong.items() if torch.allclose(*pair, rtol=1e-3)]
    default = "three steps: from lambda to SNR, from SNR to alpha_bar, from alpha_bar to beta; print each at t = 0"
    return f"not yet: {[*hints, default][0]}"

# %% tags=["exercise"]
def betas_from_log_snr(lamda):
    """beta_t, (N,), of the chain with half log SNR lamda, (N,)."""
    return None  # your lines


print(check_betas(betas_from_log_snr))

# %% mystnb={"image": {"alt": "Two curves of beta over 50 steps on a logarithmic axis. The cosine schedule rises slowly and ends near 1. The straight line in lambda gives smaller betas at first, the very first one larger than the next, then rises to about 0.3 and stays there."}} tags=["hide-input"]
wanted = (2 * torch.linspace(4, -4, 50).double()).sigmoid()  # alpha_bar of the straight line
betas = -torch.cat([torch.zeros(1).double(), wanted.log()]).diff().expm1()
assert_close(torch.cumprod(1 - betas, dim=0), wanted)
plt.figure(figsize=(7, 3))
plt.semilogy(cosine_betas(50), "k:", label="cosine")
plt.semilogy(betas, "-o", color=KNOWN["color"], markersize=3, label=r"$\lambda$ in a straight line from 4 to -4")
plt.xlabel("step t")
plt.ylabel(r"$\beta_t$")
plt.legend()
plt.show()
print(f"first, middle and last beta: {betas[0]:.4f}, {betas[25]:.4f}, {betas[-1]:.4f}")

# %% [markdown]
# *The betas of a right answer beside those of the cosine schedule. The first one makes the whole jump from the data to
# $\lambda = 4$.*
#
# <details>
# <summary>Solution</summary>
#
# ```python
# def betas_from_log_snr(lamda):
#     alpha_bar = (2 * lamda).sigmoid()  # SNR / (1 + SNR)
#     before = torch.cat([torch.ones(1).to(alpha_bar), alpha_bar[:-1]])
#     return 1 - alpha_bar / before
#
#
# assert check_betas(betas_from_log_snr) == "solved"
# line = Diffusion(betas_from_log_snr(torch.linspace(4, -4, 50).double()), "x0")
# print(energy_distance(sample_v2(line, perfect_network(line, face), 50, noises), true_a))
# ```
#
# </details>
#
# **5. Build it** (fifty minutes, hard). The perfect denoiser of this chapter knew the density. A network in training
# knows nothing but its points. So what is the perfect denoiser of a *list of points*, each as likely as the others, and
# what does it draw? Build it in three stages; the check stops at the first that is not right yet. (The hidden cells below
# hold the check's own answers, and use what *The wrong variance* has built.)

# %% tags=["hide-input"]
listed = true_a[:40]
listed_face = Mixture(torch.full((40,), 1 / 40), listed, torch.zeros(40))  # forty blobs of deviation 0
few_noises = [noise[:200] for noise in noises]


def draw_from_list(variance: Callable, steps: int = 20) -> Tensor:
    return sample_with(variance, lambda *given: perfect(listed_face, *given)[0], route(steps), few_noises)


def judged(stage: int, answer: Tensor | str, right: Tensor, wrong: dict[str, Tensor], otherwise: str) -> str | None:
    """Nothing if an answer is right, else a hint."""
    if isinstance(answer, str):
        return answer.replace("not yet", f"not yet, stage {stage}", 1)
    if torch.allclose(answer, right, atol=1e-3):
        return None
    named = [hint for hint, value in wrong.items() if torch.allclose(answer, value, atol=1e-3)]
    return f"not yet, stage {stage}: {[*named, otherwise][0]}"

# %% tags=["hide-input"]
def stage_1(memory) -> str | None:
    x_t, square = true_b[:8], lambda points: torch.cdist(true_b[:8], points).square()
    right = log_blobs(listed_face, x_t, 0.8, 0.6).softmax(dim=1)
    wrong = {
        "a point at x0 is expected at alpha x0": (-square(listed) / 0.72).softmax(dim=1),
        "the density has sigma squared, and a half": (-square(0.8 * listed) / 0.6).softmax(dim=1),
        "the half before the square is missing": (-square(0.8 * listed) / 0.36).softmax(dim=1),
        "over all points, not over all x_t, the weights must sum to 1": (-square(0.8 * listed) / 0.72).softmax(dim=0),
        "the weights of one x_t must sum to 1: divide by their sum": (-square(0.8 * listed) / 0.72).exp(),
        "the nearest point must get the largest weight: a minus is missing": (square(0.8 * listed) / 0.72).softmax(
            dim=1
        ),
        "x_t / alpha has noise of deviation sigma / alpha": (-(square(0.8 * listed) / 0.64) / 0.72).softmax(dim=1),
    }
    otherwise = "x_t given x0 is Gaussian with mean alpha x0 and variance sigma^2; then Bayes' rule, all points alike"
    return judged(1, answer_of(memory.weights, x_t, 0.8, 0.6, like=right), right, wrong, otherwise)


def stage_2(memory) -> str | None:
    x_t, (right, _) = true_b[:8], perfect(listed_face, true_b[:8], 0.8, 0.6)
    nearest = listed[torch.cdist(true_b[:8], 0.8 * listed).argmin(dim=1)]
    wrong = {"the nearest is one guess; the mean over all errs less": nearest, "that is alpha x0": 0.8 * right}
    answer = answer_of(memory.guess, x_t, 0.8, 0.6, like=right)
    return judged(2, answer, right, wrong, "the mean of the points, each with its weight")

# %% tags=["hide-input"]
def walk(guess: Callable, noises: list[Tensor], swapped: bool = False) -> list[Tensor]:
    """What a sampler has after the last step: x, the guess that led there, and the guess that is to follow."""
    x, levels = noises[0], route(20)
    for now, then, noise in zip(levels, levels[1:], noises[1:], strict=False):
        x0 = guess(x, now**0.5, (1 - now) ** 0.5)
        x = ddpm_step(*((x0, x) if swapped else (x, x0)), now, then, noise)
    return [x, x0, guess(x, then**0.5, (1 - then) ** 0.5)]

# %% tags=["hide-input"]
def stage_3(memory) -> str | None:
    guess = lambda *given: perfect(listed_face, *given)[0]
    before_last, earlier, right = walk(guess, few_noises)
    wrong = {
        "every step but the last adds noise": draw_from_list(none),
        "the variance of the step is that of ddpm_step": draw_from_list(plain),
        "after the last alpha_bar comes the guess, without noise: return that": before_last,
        "the guess that you return was made before the last step; guess once more": earlier,
        "noises[0] is where it starts; the first step takes noises[1]": walk(guess, [few_noises[0], *few_noises])[2],
        "alpha is the root of alpha_bar, sigma that of 1 - alpha_bar": walk(
            lambda x, a, s: guess(x, a**2, s**2), few_noises
        )[2],
        "alpha is the root of alpha_bar": walk(lambda x, a, s: guess(x, a**2, s), few_noises)[2],
        "ddpm_step takes x_t first, then the guess": walk(guess, few_noises, swapped=True)[2],
    }
    answer = answer_of(memory.sample, route(20), few_noises, like=right)
    otherwise = "guess and ddpm_step with noises[1], noises[2], ..., a new guess each step; at the end the guess itself"
    return judged(3, answer, right, wrong, otherwise)


def stages(memory) -> str | None:
    return stage_1(memory) or stage_2(memory) or stage_3(memory)

# %% tags=["exercise"]
class Memory:
    def __init__(self, points):  # (n, 2)
        self.points = points

    def weights(self, x_t, alpha, sigma):
        """Stage 1: the probability that each x_t (b, 2) came from each point -> (b, n)."""

    def guess(self, x_t, alpha, sigma):
        """Stage 2: E[x_0 | x_t] -> (b, 2)."""

    def sample(self, alpha_bar, noises):
        """Stage 3: DDPM through rising shares of signal `alpha_bar` (a list, noisiest first), from noises[0] -> (b, 2)."""


def check_memory(make) -> str:
    try:
        return stages(make(listed)) or "solved"
    except Exception as error:
        return f"not yet: it stops with {type(error).__name__}: {error}"


print(check_memory(Memory))

# %% mystnb={"image": {"alt": "Two planes with the same forty hollow circles. Left, the samples lie inside the circles. Right, new points of the face lie between the circles as well."}} tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 4.6))
remembered, away = draw_from_list(tilde, steps=200), {}
for ax, points, title in zip(axes, (remembered, true_b[:200]), ("drawn from the list", "new true points"), strict=True):
    ax.scatter(*listed.T, s=70, facecolors="none", edgecolors="k", linewidths=0.8)
    ax.scatter(*points.T, s=7, color=KNOWN["color"], linewidths=0)
    ax.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal", xticks=[], yticks=[], frame_on=False, title=title)
    away[title] = round(torch.cdist(points, listed).min(dim=1).values.mean().item(), 2)
plt.show()
assert away["drawn from the list"] < 0.01 < 0.1 < away["new true points"]
print("mean distance to the nearest of the list:", away)

# %% [markdown]
# *Hollow: the list. Full: 200 samples of a right answer, in 200 steps (left), and 200 new points of the face (right).*
#
# <details>
# <summary>Solution</summary>
#
# The perfect denoiser of a list can only repeat the list. Whatever new a trained network draws, it owes to being
# imperfect: smooth, of limited size, or stopped in time.
#
# ```python
# class Memory:
#     def __init__(self, points):
#         self.points = points
#
#     def weights(self, x_t, alpha, sigma):
#         square = torch.cdist(x_t, alpha * self.points).square()
#         return (-square / (2 * sigma**2)).softmax(dim=1)
#
#     def guess(self, x_t, alpha, sigma):
#         return self.weights(x_t, alpha, sigma) @ self.points
#
#     def sample(self, alpha_bar, noises):
#         x = noises[0]
#         for now, then, noise in zip(alpha_bar, alpha_bar[1:], noises[1:]):
#             x = ddpm_step(x, self.guess(x, now**0.5, (1 - now) ** 0.5), now, then, noise)
#         return self.guess(x, alpha_bar[-1] ** 0.5, (1 - alpha_bar[-1]) ** 0.5)
#
#
# assert check_memory(Memory) == "solved"
# ```
#
# </details>
#
# **6. Explore** (an evening, hard). How long must you train until the freckle has its 3 %? Does the answer ($\epsilon$ or
# $\mathbf v$), the weight, or a larger batch help? Would drawing freckle points more often help, and what would the model
# then learn?
#
# *Where to begin:* `train(diffusion, face, steps)` and `parts(samples)[2]`, for 200 to 5000 steps. *What to plot:* the share
# in the freckle over the training steps, one line a seed, three seeds or more, and 3 % as a line. *A good answer* says how
# large the scatter between seeds is before it calls anything a help, and tells training longer from seeing more freckles.
#
# <details>
# <summary>Solution</summary>
#
# One seed proves nothing, since 2000 samples hold about 60 freckle points, give or take 8. In one run of ours, 5000 steps
# brought it almost there. Drawing them more often makes them easier to learn, but the model then learns the distribution
# that it is shown: divide their loss by the same factor, or accept more freckles.
#
# ```python
# for steps in (200, 800):
#     short_trained, _ = train(diffusion, face, steps)
#     print(steps, parts(sample_v2(diffusion, short_trained, 50, noises))[2].item())
# ```
#
# </details>
#
# **7. Explore** (an hour, medium). Hold your `ddpm_step` against a public implementation, `DDPMScheduler` of the package
# `diffusers` (installed with `lfdm_lite[all]`). What does it do by default that you have to switch off?
#
# *Where to begin:* give it your betas (`trained_betas`) and one step, with the same generator for its noise as for yours.
# *What to plot:* the largest difference over the step, logarithmic. *A good answer* names the setting, and says for which
# data it would be right.
#
# <details>
# <summary>Solution</summary>
#
# By default it clips the guess of $\mathbf x_0$ to $[-1, 1]$ (`clip_sample`), which is right for pictures and wrong for
# this face.
#
# ```python
# from diffusers import DDPMScheduler
#
# betas = cosine_betas(1000).float().numpy()
# scheduler = DDPMScheduler(1000, trained_betas=betas, prediction_type="v_prediction", clip_sample=False)
# for step in (1, 10, 500, 990):
#     answer = network(true_a, torch.full((2000,), step)).detach()
#     theirs = scheduler.step(answer, step, true_a, generator=torch.Generator().manual_seed(18)).prev_sample
#     x0_hat, _ = diffusion.to_x0_eps(true_a, torch.full((2000,), step), answer)
#     xi = torch.randn(true_a.shape, generator=torch.Generator().manual_seed(18))
#     at_t, at_s = diffusion.exact_alpha_bar[step].item(), diffusion.exact_alpha_bar[step - 1].item()
#     assert_close(ddpm_step(true_a, x0_hat, at_t, at_s, xi), theirs, atol=1e-3, rtol=1e-3)
# ```
#
# </details>
#
# ## What the authors did differently
#
# LFDM {cite:p}`ni2023lfdm` uses the cosine schedule with $\delta = 0.008$ and 1000 steps, answers $\epsilon$, and
# trains with the simple loss, without weights. So do we, but for the answer: ours is $\mathbf v$, and $\mathbf x_0$
# where one place holds many numbers (chapter 09). The [list of differences](differences.md) has what that is worth,
# and three more of this chapter's quantities in which the published code has its own ways: betas are cut at 0.9999
# rather than 0.999, noise is drawn also where its factor is 0, and the flow goes in unscaled, as absolute positions,
# so that the data are neither centred nor of variance 1.
#
# As published (commit 3601635), the three test scripts and the three demos all draw with the sampler of this chapter, in
# 1000 steps and without guidance. The test scripts do hold branches for DDIM, with 10
# steps for MUG and MHAD and 200 for NATOPS. They are taken only where a script's variable `postfix` contains "ddim", and in
# none of the three it does. DDIM is chapter 7.
#
# ## Further reading
#
# * {cite:t}`sohl2015deep`: the forward chain, the backward chain and the bound, five years before the pictures got good.
# * {cite:t}`ho2020ddpm`: the simple loss. Their appendix has the derivation of the bound in their notation.
# * {cite:t}`kingma2021variational`: everything in terms of the SNR.
# * {cite:t}`nichol2021improved`: the cosine schedule, and a learned variance.
# * {cite:t}`salimans2022distillation`: $\mathbf v$, and why.
# * {cite:t}`vincent2011connection`: denoising is score matching. {cite:t}`song2021sde` make a theory of it that holds
#   the steps as a limit; the next chapter starts there.
# * {cite:t}`karras2022edm`: every choice of a diffusion model on its own, preconditioning among them.
# * {cite:t}`lipman2023flow`, {cite:t}`liu2023rectified`: flow matching, and how to make its paths straight.
# * {cite:t}`lin2024flawed`: schedules that do not arrive. {cite:t}`hang2023minsnr`: weights between bound and simple loss.
# * {cite:t}`szekely2013energy`: the energy distance.
