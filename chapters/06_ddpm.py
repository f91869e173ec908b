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
#     - sample by DDPM, and recognize from a plot what goes wrong
#     minutes: 45
#     peak_mb: 650
#     prerequisites:
#     - chapter 00, for what the diffusion model is for
#     - Gaussians in one and two dimensions, conditional expectation, Bayes' rule
#     - training a small network in PyTorch
#     seconds: 30
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
# * convert between a network's answers $\epsilon$, $\mathbf x_0$ and $\mathbf v$, and say where each is fragile;
# * compare a trained network with the perfect denoiser at every step;
# * sample by DDPM, and recognize from a plot what goes wrong with too few steps, a wrong variance or schedule.
#
# **You need** [chapter 00](00_tour.ipynb) for what the diffusion model is for; Gaussians, conditional
# expectation and Bayes' rule; and to have trained a small network once. **It takes** 45 minutes to read, and
# about 30 seconds and 650 MB of memory to run on two CPU cores.
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
import math
from collections.abc import Callable
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import lfdm_lite as lfdm
from lfdm_lite import samplers, viz

torch.set_num_threads(1)  # the matrices here are so small that threads would only wait for each other
plt.rcParams["figure.dpi"] = 80


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


def log_blobs(mixture: Mixture, x: Tensor, alpha=1.0, sigma=0.0) -> Tensor:
    """log of rho_k times the density of blob k at x (b, 2), data times `alpha` plus noise `sigma` -> (b, K)."""
    alpha, sigma = (torch.as_tensor(value).to(x).expand(len(x))[:, None] for value in (alpha, sigma))  # (b, 1)
    variance = (alpha * mixture.tau) ** 2 + sigma**2  # (b, K)
    distance = (x[:, None] - alpha[..., None] * mixture.mu).square().sum(dim=-1)  # (b, K)
    return mixture.rho.log() - (2 * math.pi * variance).log() - distance / (2 * variance)


def log_density(mixture: Mixture, x: Tensor, alpha=1.0, sigma=0.0) -> Tensor:
    return log_blobs(mixture, x, alpha, sigma).logsumexp(dim=1)


x0 = draw(face, 20_000, torch.Generator().manual_seed(0))
assert x0.mean(dim=0).abs().max() < 0.05 and (x0.square().mean() - 1).abs() < 0.05
print("centred, variance 1:", tuple(x0.shape))

# %% [markdown]
# Two colours carry a meaning from here to the end, each with a second cue. **Known** in closed form: dark blue, full
# lines, round points. **Learned**: orange, broken lines, triangles, and in formulas a hat with a $\theta$.

# %%
KNOWN = dict(color="#1f3b57", linestyle="-")
LEARNED = dict(color="#b35900", linestyle="--")
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
    colour, marker = (LEARNED["color"], "^") if learned else (KNOWN["color"], "o")
    ax.scatter(*points.T, s=3, color=colour, marker=marker, alpha=0.35, linewidths=0)
    ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=[], yticks=[], title=title)

# %% mystnb={"image": {"alt": "Left: a smiling face made of ten round blobs of contour lines. Right: 2000 points drawn from it, in the same places."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 3.5), layout="constrained")
contours(left, face)
left.set(aspect="equal", xticks=[], yticks=[], title="density")
left.annotate("freckle", (1.7, 0.6), (1.5, 1.6), arrowprops=dict(arrowstyle="->"))
cloud(right, x0[:2000], "2000 points")
plt.show()

total = log_density(face, plane).exp().sum() * area
assert_close(total, torch.tensor(1.0), atol=1e-3, rtol=0)
print("the density integrates to", round(total.item(), 2))

# %% [markdown]
# *Left: lines of equal density. Right: points drawn. The task of the chapter: see points like those on the right
# only, and learn to draw more.*

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
# 0, so the step that the code calls `t = 0` already adds noise, and what it makes is written $\mathbf x_{t=0}$. Before
# it there is the data. (The papers count steps from 1.)
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
print("variance is still 1, to 0.03:", bool((walked.square().mean() - 1).abs() < 0.03))

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
# $1 - \beta_t$. We follow later papers and write it for $\sqrt{\bar\alpha_t}$.) First the algebra, as numbers: carry factor
# and variance through the chain, step by step, and compare.

# %%
def add_noise_v2(x0: Tensor, t: int, beta: Tensor, eps: Tensor) -> Tensor:
    alpha_bar = torch.cumprod(1 - beta, dim=0)
    alpha, sigma = alpha_bar.sqrt().float(), (1 - alpha_bar).sqrt().float()
    return alpha[t] * x0 + sigma[t] * eps


alpha_bar = torch.cumprod(1 - beta, dim=0)
factor, variance = torch.tensor(1.0).double(), torch.tensor(0.0).double()
for t in range(1000):
    factor = (1 - beta[t]).sqrt() * factor
    variance = (1 - beta[t]) * variance + beta[t]
    assert_close(factor, alpha_bar[t].sqrt(), atol=1e-12, rtol=1e-9)
    assert_close(variance, 1 - alpha_bar[t], atol=1e-12, rtol=1e-9)

jumped = add_noise_v2(x0, 250, beta, torch.randn(x0.shape, generator=torch.Generator().manual_seed(2)))
assert_close(jumped.T.cov(), walked.T.cov(), atol=0.03, rtol=0)
print("walked and jumped: the same factor and variance at all 1000 steps")

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
assert_close(add_noise_v3(x0, t, alpha_bar, eps), linear.add_noise(x0, t, eps))
assert_close(add_noise_v3(x0, torch.full_like(t, 250), alpha_bar, eps), add_noise_v2(x0, 250, beta, eps))
print("equal to the library, each example at its own step")

# %% [markdown]
# ### The signal-to-noise view
#
# What makes a step easy or hard is how much signal there is against the noise:
#
# $$\mathrm{SNR}(t) = \frac{\alpha_t^2}{\sigma_t^2} = \frac{\bar\alpha_t}{1 - \bar\alpha_t}, \qquad \lambda_t = \log \frac{\alpha_t}{\sigma_t} = \tfrac12 \log \mathrm{SNR}(t)$$

# %%
snr = alpha_bar / (1 - alpha_bar)
lamda = 0.5 * snr.log()
wanted = [100, 10, 3, 1, 0.1, 0.01]
shown = [(snr - value).abs().argmin().item() for value in wanted]
for i in shown:
    x_t = add_noise_v2(x0[:2000], i, beta, eps[:2000])
    seen = log_density(face, x_t, alpha_bar[i].sqrt(), (1 - alpha_bar[i]).sqrt()).mean()
    assert torch.isfinite(seen) and (x_t.square().mean() - 1).abs() < 0.07
assert (lamda.diff() < 0).all()
print("steps of SNR 100, 10, 3, 1, 0.1, 0.01:", shown, " the SNR only ever falls:", bool((snr.diff() < 0).all()))

# %% [markdown]
# Where SNR is 1, there is as much noise as signal. The picture comes with a dial below, once there is a second
# schedule to compare with.
#
# ### Schedules
#
# A schedule says how fast the SNR falls. The cosine schedule {cite:p}`nichol2021improved` prescribes $\bar\alpha$
# itself, and each $\beta_t$ follows from two neighbours:
#
# $$c(t) = \cos^2\!\left(\frac{t / N + \delta}{1 + \delta} \cdot \frac{\pi}{2}\right), \qquad \beta_t = \min\left(1 - \frac{c(t + 1)}{c(t)},\; 0.999\right)$$
#
# The offset $\delta = 0.008$ keeps the first steps from being too small. At the end $c(N) = 0$, and the last $\beta$ would be
# 1: nothing could be divided by $\bar\alpha$ any more. So it is cut at 0.999.

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

# %%
schedules = {"linear": alpha_bar, "cosine": alpha_bar_cosine}


def at_step(t: int, schedule: str) -> plt.Figure:
    share = schedules[schedule][t]
    g = torch.Generator().manual_seed(1)
    clean, noise = draw(face, 700, g), torch.randn(700, 2, generator=g)
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), dpi=80, layout="constrained")
    x_t = (share.sqrt() * clean + (1 - share).sqrt() * noise).float()
    cloud(axes[0], x_t, f"$x_t$ at SNR {share / (1 - share):.2g}")
    contours(axes[0], face, share.sqrt().float(), (1 - share).sqrt().float())
    for ax, of in ((axes[1], lambda a: a), (axes[2], lambda a: 0.5 * (a / (1 - a)).log())):
        for (name, a), style in zip(schedules.items(), (":", "-"), strict=True):
            ax.plot(of(a), style, color="k", label=name)
        ax.plot(t, of(schedules[schedule])[t], "o", markersize=9, color=KNOWN["color"], label="here")
        ax.set(xlabel="step t")
    axes[1].set_title(r"share of signal left, $\bar\alpha_t$")
    axes[2].set_title(r"$\lambda_t$")
    axes[1].legend()
    return figure

# %%
def noise_in_words(t: int, schedule: str) -> str:
    share = schedules[schedule][t].item()
    grades = {0.97: "a sharp face of ten blobs", 0.7: "a soft face", 0.3: "a wide blur", -1: "a round cloud"}
    seen = next(words for least, words in grades.items() if share > least)
    return f"Points and contour lines: {seen}. Beside it, for both schedules, share of signal and lambda, a dot here"


drowned = [(a / (1 - a) < 0.1).sum().item() for a in schedules.values()]
assert drowned[0] > 1.5 * drowned[1]
print("steps at SNR below 0.1: linear", drowned[0], "cosine", drowned[1])
viz.dial(at_step, alt=noise_in_words, t=[0, 150, 300, 450, 600, 999], schedule=list(schedules))

# %% [markdown]
# *Left: points drawn in one line, and the density of $\mathbf x_t$ in closed form. Turn `t`: the face spreads, until at
# the end nothing of it is left. Then turn the schedule at $t = 600$: the linear one (dotted) has drowned the face, the
# cosine one (full) has not. The linear schedule spends about half of its steps where there is next to no signal. That
# costs little with 1000 steps and much with ten: see the failure gallery.*
#
# The SNR is all that a schedule is. Two steps of two schedules with the same SNR are the same distribution of
# $\mathbf x_t$, whatever their numbers `t`. That is why a network can be told $\lambda$ instead of $t$.

# %%
for i in (100, 300, 500):
    twin = (alpha_bar_cosine - alpha_bar[i]).abs().argmin()
    assert_close(alpha_bar_cosine[twin].sqrt(), alpha_bar[i].sqrt(), atol=2e-3, rtol=0)
    print(f"linear step {i} is cosine step {twin}")

# %% [markdown]
# ## One step back, if you knew the data
#
# To sample we must walk the chain backwards. The distribution of $\mathbf x_{t-1}$ given $\mathbf x_t$ alone is
# complicated. But *given the clean point too* it is a Gaussian. Bayes' rule:
#
# $$q(\mathbf x_{t-1} \mid \mathbf x_t, \mathbf x_0) \propto q(\mathbf x_t \mid \mathbf x_{t-1})\; q(\mathbf x_{t-1} \mid \mathbf x_0)$$
#
# Both factors are known: one step of the chain, and the closed form. All noise is the same in every direction, so one
# coordinate is enough. Write $u$ for the unknown $\mathbf x_{t-1}$. The exponent is $-\frac12$ times
#
# $$\frac{(\mathbf x_t - \sqrt{1 - \beta_t}\, u)^2}{\beta_t} + \frac{(u - \sqrt{\bar\alpha_{t-1}}\, \mathbf x_0)^2}{1 - \bar\alpha_{t-1}} = A u^2 - 2 B u + \dots$$
#
# with what multiplies out in front of $u^2$ and $u$:
#
# $$A = \frac{1 - \beta_t}{\beta_t} + \frac{1}{1 - \bar\alpha_{t-1}}, \qquad B = \frac{\sqrt{1 - \beta_t}}{\beta_t}\, \mathbf x_t + \frac{\sqrt{\bar\alpha_{t-1}}}{1 - \bar\alpha_{t-1}}\, \mathbf x_0$$
#
# Complete the square: $A u^2 - 2 B u = A\,(u - B / A)^2 - B^2 / A$. The last term does not depend on $u$. What is left
# is a Gaussian with mean $B / A$ and variance $1 / A$.

# %%
def posterior_v1(x0: Tensor, x_t: Tensor, t: int, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of q(x_{t-1} | x_t, x_0) by completing the square; t at least 1."""
    before = torch.cumprod(1 - beta, dim=0)[t - 1]
    A = (1 - beta[t]) / beta[t] + 1 / (1 - before)
    B = (1 - beta[t]).sqrt() / beta[t] * x_t + before.sqrt() / (1 - before) * x0
    return B / A, 1 / A


mean, variance = posterior_v1(x0.double(), walked.double(), 250, beta)
assert mean.shape == x0.shape and variance.shape == ()
assert 0 < variance < beta[250]  # knowing x_t and x_0, less is open than one step's noise
print("variance of a step back is below beta:", bool(variance < beta[250]))

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
def posterior_v2(x0: Tensor, x_t: Tensor, t: Tensor, alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    """Each example at its own step, 0 too."""
    before = torch.cat([torch.ones(1).double(), alpha_bar[:-1]])
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
assert_close(posterior_v2(x0, walked, torch.zeros_like(t), alpha_bar)[0], x0)
print("square, tidy form and library agree; before the first step there is the data")

# %% [markdown]
# Algebra can fool you twice in the same way. So check it by another road: given $\mathbf x_0$, the pair
# $(\mathbf x_{t-1}, \mathbf x_t)$ is jointly Gaussian with covariance
#
# $$\begin{pmatrix} 1 - \bar\alpha_{t-1} & \sqrt{1 - \beta_t}\,(1 - \bar\alpha_{t-1}) \\ \sqrt{1 - \beta_t}\,(1 - \bar\alpha_{t-1}) & 1 - \bar\alpha_t \end{pmatrix}$$
#
# and conditioning a Gaussian is textbook: gain = covariance / variance.

# %%
before, now, b = alpha_bar[:-1], alpha_bar[1:], beta[1:]  # for t = 1 ... 999
covariance = (1 - b).sqrt() * (1 - before)
gain = covariance / (1 - now)
conditional_variance = (1 - before) - gain * covariance
point, seen = 0.8, -0.3  # one x_0, one x_t
conditional_mean = before.sqrt() * point + gain * (seen - now.sqrt() * point)

for t in range(1, 1000):
    mean, variance = posterior_v1(torch.tensor(point), torch.tensor(seen), t, beta)
    assert_close(mean, conditional_mean[t - 1], atol=1e-6, rtol=1e-6)
    assert_close(variance, conditional_variance[t - 1], atol=0, rtol=1e-6)
print("conditioning the joint Gaussian gives the same at", len(b), "steps")

# %% [markdown]
# And a third road, without algebra: simulate. Start 400,000 chains at one $\mathbf x_0$, keep those that arrive near
# one $\mathbf x_t$, and look where they were a step before. (With 20 steps only, so that one step is wide enough to
# see.)

# %% mystnb={"image": {"alt": "Three bell curves over x at step t-1: a broad one for what the data say, one for what x_t says, and a narrower one between them, the posterior, which a hatched histogram of simulated chains fills."}}
short, i = cosine_betas(20), 8
before, g = torch.cumprod(1 - short, dim=0)[i - 1], torch.Generator().manual_seed(6)
x_before = before.sqrt() * point + (1 - before).sqrt() * torch.randn(400_000, generator=g)
x_after = (1 - short[i]).sqrt() * x_before + short[i].sqrt() * torch.randn(400_000, generator=g)
kept = x_before[(x_after - seen).abs() < 0.02].double()
mean, variance = posterior_v1(torch.tensor(point), torch.tensor(seen), i, short)
assert abs(kept.mean() - mean) < 0.02 and abs(kept.var() - variance) < 0.01

u = torch.linspace(-2, 2.5, 300).double()
bell = lambda m, v: (-((u - m) ** 2) / (2 * v)).exp() / (2 * math.pi * v).sqrt()
plt.figure(figsize=(7, 3))
plt.hist(kept, bins=60, density=True, color="#d8dde3", hatch="//", label="simulated chains")
plt.plot(u, bell(before.sqrt() * point, 1 - before), "k:", label=r"$q(x_{t-1} | x_0)$")
likely = bell(seen / (1 - short[i]).sqrt(), short[i] / (1 - short[i]))
plt.plot(u, likely, "k-.", label=r"$q(x_t | x_{t-1})$, scaled")
plt.plot(u, bell(mean, variance), **KNOWN, label=r"$q(x_{t-1} | x_t, x_0)$")
plt.xlabel("$x_{t-1}$")
plt.legend(fontsize=8)
plt.show()
print("simulated mean and variance are as derived:", len(kept) > 1000)

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
# for every $\mathbf x_t$. The first term is there whatever you do. A training loss never reaches zero. What training
# can shrink is the second term, the **excess**. For most data nobody knows the two apart. Here we do.
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

# %%
def perfect_gaussian(mu, tau, x_t, alpha, sigma):
    """Mean and variance of x_0 given x_t, when x_0 is one Gaussian."""
    shrink = alpha**2 * tau**2 + sigma**2
    return mu + alpha * tau**2 / shrink * (x_t - alpha * mu), sigma**2 * tau**2 / shrink


def perfect(mixture: Mixture, x_t: Tensor, alpha, sigma) -> tuple[Tensor, Tensor]:
    """x* = E[x_0 | x_t], (b, 2), and what stays open: E[|x_0 - x*|^2 | x_t], (b,)."""
    r = log_blobs(mixture, x_t, alpha, sigma).softmax(dim=1)[..., None]  # (b, K, 1)
    alpha, sigma = (torch.as_tensor(value).to(x_t).expand(len(x_t))[:, None, None] for value in (alpha, sigma))
    mean, variance = perfect_gaussian(mixture.mu, mixture.tau[:, None], x_t[:, None], alpha, sigma)  # (b, K, .)
    x_star = (r * mean).sum(dim=1)
    apart = (mean - x_star[:, None]).square().sum(dim=-1, keepdim=True)  # (b, K, 1)
    open_variance = (r * (2 * variance + apart)).sum(dim=(1, 2))
    return x_star, open_variance


x_t = linear.add_noise(x0, torch.full((len(x0),), 250), eps)
x_star, open_variance = perfect(face, x_t, linear.alpha[250], linear.sigma[250])
assert x_star.shape == x_t.shape and open_variance.shape == (len(x_t),)
print("perfect denoiser:", tuple(x_star.shape), " what stays open:", tuple(open_variance.shape))

# %% [markdown]
# The truth must be checked harder than anything else. By brute force: put a fine grid over all possible
# $\mathbf x_0$, weigh each place by $p(\mathbf x_0)\, q(\mathbf x_t \mid \mathbf x_0)$, and average.

# %%
def brute_force(mixture: Mixture, x_t: Tensor, alpha: float, sigma: float) -> tuple[Tensor, Tensor]:
    """E[x_0 | x_t] and what stays open, for one x_t (2,), as sums over a grid of 301 x 301 places."""
    fine = torch.linspace(-3, 3, 301).double()
    places = torch.cartesian_prod(fine, fine)
    distance = (x_t - alpha * places).square().sum(dim=1)
    weight = (log_density(mixture, places) - distance / (2 * sigma**2)).softmax(dim=0)
    mean = weight @ places
    return mean, weight @ (places - mean).square().sum(dim=1)


one = Mixture(torch.tensor([1.0]), torch.tensor([[0.5, -0.3]]), torch.tensor([0.4]))  # a single Gaussian
places = torch.tensor([[0.4, 0.9], [1.0, 0.1], [0.0, 0.0], [-1.5, 0.2]]).double()
for mixture in (one, face):
    for i in (100, 250, 500, 900):
        alpha, sigma = alpha_bar[i].sqrt().item(), (1 - alpha_bar[i]).sqrt().item()
        x_star, open_variance = perfect(mixture, places, alpha, sigma)
        for j, place in enumerate(places):
            mean, variance = brute_force(mixture, place, alpha, sigma)
            assert_close(x_star[j], mean, atol=2e-5, rtol=1e-3)
            assert_close(open_variance[j], variance, atol=2e-5, rtol=1e-3)
print("Gaussian and mixture agree with the integral at", len(places), "places and 4 steps")

# %% [markdown]
# And the split of the error, on drawn points, for a guess that is wrong on purpose:

# %%
x_star, open_variance = perfect(face, x_t, linear.alpha[250], linear.sigma[250])
guess = 0.9 * x_star + 0.05
split = (x0 - x_star).square().sum(dim=1).mean() + (x_star - guess).square().sum(dim=1).mean()
assert_close((x0 - guess).square().sum(dim=1).mean(), split, atol=5e-3, rtol=0)
assert_close((x0 - x_star).square().sum(dim=1).mean(), open_variance.mean(), atol=5e-3, rtol=0)
assert (x0 - x_star).square().mean() < (x0 - guess).square().mean()
print("error of a guess = what stays open + its distance to the perfect one")

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
    assert_close((alpha * x_star - x.detach()) / sigma**2, score, atol=1e-3, rtol=1e-3)
print("score of autograd = from the perfect denoiser, at", len(x), "places and 4 steps")

# %% mystnb={"image": {"alt": "Three planes with contour lines and arrows. At high SNR arrows point to the nearest blob, at SNR 1 to eyes or mouth as a whole, at low SNR all point to the middle."}}
coarse = torch.cartesian_prod(torch.linspace(-2.4, 2.4, 13), torch.linspace(-2.4, 2.4, 13))
fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.6), layout="constrained")
for ax, i, ratio in zip(axes, (92, 258, 674), (10, 1, 0.01), strict=True):
    alpha, sigma = linear.alpha[i], linear.sigma[i]
    arrows = alpha * perfect(face, coarse, alpha, sigma)[0] - coarse  # sigma^2 times the score
    contours(ax, face, alpha, sigma)
    ax.quiver(*coarse.T, *arrows.T, angles="xy", scale_units="xy", scale=2.5, width=0.004, color=KNOWN["color"])
    ax.set(aspect="equal", xticks=[], yticks=[], title=f"t = {i}, SNR {ratio:g}")
    uphill = log_density(face, coarse + 0.05 * arrows, alpha, sigma) - log_density(face, coarse, alpha, sigma)
    assert (uphill > 0).float().mean() > 0.95
plt.show()
print("a short way along the arrow is uphill")

# %% [markdown]
# *Lines: the density of $\mathbf x_t$. Arrows: $\sigma_t^2$ times the score, shortened to two fifths. With little noise the
# perfect denoiser knows which blob is meant. With much noise it can only say: near the middle. Sampling will follow
# these fields from right to left, from coarse to fine.*

# %% [markdown]
# ## What to train: a bound
#
# The model runs backwards: it draws $\mathbf x_{N-1}$ from $p = \mathcal N(0, I)$, then step by step
# ${\color{#b35900}{p_\theta}}(\mathbf x_{t-1} \mid \mathbf x_t)$, at last
# ${\color{#b35900}{p_\theta}}(\mathbf x_0 \mid \mathbf x_{t=0})$. We would like to maximize the density that it gives
# to data. That is an integral over all chains. Jensen's inequality bounds it by an average over *forward* chains,
# which we can draw:
#
# $$-\log {\color{#b35900}{p_\theta}}(\mathbf x_0) \;\le\; \mathbb E_q\!\left[ -\log \frac{p(\mathbf x_{N-1})\; {\color{#b35900}{p_\theta}}(\mathbf x_0 \mid \mathbf x_{t=0}) \prod_{t=1}^{N-1} {\color{#b35900}{p_\theta}}(\mathbf x_{t-1} \mid \mathbf x_t)}{q(\mathbf x_{t=0} \mid \mathbf x_0) \prod_{t=1}^{N-1} q(\mathbf x_t \mid \mathbf x_{t-1})} \right] = L$$
#
# Turn each forward step around by Bayes' rule:
# $q(\mathbf x_t \mid \mathbf x_{t-1}) = q(\mathbf x_{t-1} \mid \mathbf x_t, \mathbf x_0)\, q(\mathbf x_t \mid \mathbf x_0) / q(\mathbf x_{t-1} \mid \mathbf x_0)$.
# In the product, all $q(\cdot \mid \mathbf x_0)$ cancel but the last. Three kinds of terms remain:
#
# $$L = \underbrace{\mathrm{KL}\big(q(\mathbf x_{N-1} \mid \mathbf x_0) \,\Vert\, p\big)}_{\text{nothing to learn}} + \sum_{t=1}^{N-1} L_t \; \underbrace{- \; \mathbb E_q \log {\color{#b35900}{p_\theta}}(\mathbf x_0 \mid \mathbf x_{t=0})}_{\text{last step}}$$
#
# $$L_t = \mathbb E_q\, \mathrm{KL}\big(q(\mathbf x_{t-1} \mid \mathbf x_t, \mathbf x_0) \,\Vert\, {\color{#b35900}{p_\theta}}(\mathbf x_{t-1} \mid \mathbf x_t)\big)$$
#
# So each step asks: be like the posterior, without knowing $\mathbf x_0$. Let the model be the posterior with its own
# guess ${\color{#b35900}{\hat{\mathbf x}_\theta}}(\mathbf x_t)$ in place of $\mathbf x_0$, and the same variance
# $\tilde\beta_t$. The divergence of two Gaussians of one variance is the squared distance of their means over twice
# the variance, and the means differ only in the factor of $\mathbf x_0$:
#
# $$L_t = \frac{1}{2 \tilde\beta_t} \left( \frac{\sqrt{\bar\alpha_{t-1}}\, \beta_t}{1 - \bar\alpha_t} \right)^{\!2} \mathbb E_q\, \lVert \mathbf x_0 - {\color{#b35900}{\hat{\mathbf x}_\theta}} \rVert^2$$
#
# $$\phantom{L_t} = \tfrac12 \big( \mathrm{SNR}(t - 1) - \mathrm{SNR}(t) \big)\; \mathbb E_q\, \lVert \mathbf x_0 - {\color{#b35900}{\hat{\mathbf x}_\theta}} \rVert^2$$
#
# The second form is that of {cite:t}`kingma2021variational`: each step pays for the signal that it gets back.

# %%
alpha_bar, beta = alpha_bar_cosine, cosine_betas(1000)  # from here on: the schedule that LFDM uses
snr = alpha_bar / (1 - alpha_bar)
before, now, b = alpha_bar[:-1], alpha_bar[1:], beta[1:]
beta_tilde = (1 - before) / (1 - now) * b
weight_x0 = (before.sqrt() * b / (1 - now)) ** 2 / (2 * beta_tilde)  # for t = 1 ... 999
assert_close(weight_x0, 0.5 * (snr[:-1] - snr[1:]))

t = torch.tensor([5, 300, 700])
guess = torch.tensor([0.3, -0.1])
truth_mean, variance = posterior_v2(x0[:3], x_t[:3], t, alpha_bar)
guess_mean, _ = posterior_v2(guess.expand(3, 2), x_t[:3], t, alpha_bar)
normal = lambda mean: torch.distributions.Normal(mean, variance.sqrt())
divergence = torch.distributions.kl_divergence(normal(truth_mean), normal(guess_mean)).sum(dim=1)
assert_close(divergence, weight_x0.float()[t - 1] * (x0[:3] - guess).square().sum(dim=1), rtol=1e-3, atol=1e-5)
print("one term of the bound = weight times squared error, three ways")

# %% [markdown]
# ### Is it a bound?
#
# We know the density of our data, so we can ask. Put the perfect denoiser in. $\mathbb E[-\log p(\mathbf x_0)]$ is the
# smallest value that any model can reach. Take the last step as a Gaussian of variance $\sigma_0^2 / \alpha_0^2$
# around the guess, with $\sigma_0$, $\alpha_0$ of step `t = 0`. And try a second variance for the steps: $\beta_t$
# instead of $\tilde\beta_t$. Then the divergence has a part of its own for the mismatch of the two, in two dimensions
# $\tilde\beta_t / \beta_t - 1 - \log(\tilde\beta_t / \beta_t)$.

# %%
def bound(num_steps: int, wide: bool, count: int = 2000) -> tuple[float, Tensor]:
    """L in nats and its terms L_t, perfect denoiser, for steps of variance beta (wide) or beta tilde."""
    beta = cosine_betas(num_steps)
    alpha_bar, g = torch.cumprod(1 - beta, dim=0), torch.Generator().manual_seed(7)
    before, now, b = alpha_bar[:-1], alpha_bar[1:], beta[1:]
    error = torch.empty(num_steps).double()
    for t in range(num_steps):
        x_t = add_noise_v2(draw(face, count, g), t, beta, torch.randn(count, 2, generator=g))
        error[t] = perfect(face, x_t, alpha_bar[t].sqrt(), (1 - alpha_bar[t]).sqrt())[1].mean()
    beta_tilde = (1 - before) / (1 - now) * b
    variance = b if wide else beta_tilde
    mismatch = beta_tilde / variance - 1 - (beta_tilde / variance).log()
    steps = mismatch + (before.sqrt() * b / (1 - now)) ** 2 / (2 * variance) * error[1:]
    end, last = alpha_bar[-1], (1 - alpha_bar[0]) / alpha_bar[0]
    prior = 0.5 * (2 * (1 - end) + end * 2 - 2 - 2 * (1 - end).log())  # the data have variance 1 + 1
    return (prior + steps.sum() + error[0] / (2 * last) + (2 * math.pi * last).log()).item(), steps

# %%
density = log_density(face, plane)
entropy = -(density.exp() * density).sum().item() * area
counts = [10, 30, 100, 300, 1000]
bounds = {(n, wide): bound(n, wide)[0] for n in counts for wide in (False, True)}
assert all(value > entropy for value in bounds.values())
assert bounds[1000, True] - entropy < 0.1 < bounds[1000, False] - entropy
gap = bound(1000, False)[1] - bound(1000, True)[1]  # step by step
assert gap[:50].sum() > 0.9 * gap.sum()
print("all ten values lie above the entropy:", all(value > entropy for value in bounds.values()))
print("nine tenths of the gap lie in the first 50 steps:", bool(gap[:50].sum() > 0.9 * gap.sum()))

# %% mystnb={"image": {"alt": "The bound against the number of steps. With variance beta it falls to the entropy, a dotted line; with variance beta tilde it falls too but stays well above."}}
plt.figure(figsize=(6, 3))
plt.plot(counts, [bounds[n, False] for n in counts], "s-", color="0.5", label=r"variance $\tilde\beta_t$")
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
# *Both curves stay above the dotted line, so it is a bound; the lower one almost reaches it, so it is a good one, and
# what was derived above holds together. The gap of the upper curve comes from the first steps: there $\tilde\beta_t$
# is too narrow for data that are spread out. We come back to that.*

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
# What does dropping $w_t$ change? The best answer at each $t$ is the same. How a network of finite size spreads its
# effort over the steps is not.

# %%
def simple_loss(network: Callable, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """L_simple for a network that answers the noise."""
    x_t = add_noise_v3(x0, t, alpha_bar, eps)
    return (eps - network(x_t, t)).square().mean()


weight_eps = 0.5 * (snr[:-1] / snr[1:] - 1)
assert_close(weight_eps, weight_x0 / snr[1:])  # the weight of x0, in units of the noise's error
assert_close(weight_eps, b**2 / (2 * beta_tilde * (1 - b) * (1 - now)))  # as Ho et al. write it

t = torch.randint(1000, (len(x0),), generator=torch.Generator().manual_seed(9))
silent = simple_loss(lambda x, t: torch.zeros_like(x), x0, t, eps)
assert_close(silent, eps.square().mean())  # a network that says nothing pays the variance of the noise
print("a silent network has a loss of 1, to 0.05:", bool((silent - 1).abs() < 0.05))

# %% mystnb={"image": {"alt": "Left: the dropped weight w over the step, on a logarithmic axis, large at both ends and small in the middle, with a flat line at one for the simple loss. Right: four weights of the error of x0 over lambda: the bound and the eps loss rise with the SNR, x0 is flat, min-SNR rises then stays."}}
linear_bar = linear.exact_alpha_bar()
linear_snr = linear_bar / (1 - linear_bar)
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
left.semilogy(range(1, 1000), weight_eps, "k-", label="bound, cosine")
left.semilogy(range(1, 1000), 0.5 * (linear_snr[:-1] / linear_snr[1:] - 1), "k:", label="bound, linear")
left.axhline(1, color="0.5", linestyle="-.", label="simple loss")
left.set(xlabel="step t", ylabel="weight of the error of $\\epsilon$", title="the weight that is dropped")
lamda = 0.5 * snr.log()
at = snr[1:]
per_x0 = {"bound": weight_x0, "simple, $\\epsilon$": at, "simple, v": at + 1, "simple, $x_0$": at**0}
per_x0["min-SNR 5"] = at.clamp(max=5)
for (name, weight), style in zip(per_x0.items(), ("-", "--", "-.", ":", (0, (1, 3))), strict=True):
    right.semilogy(lamda[1:], weight, color="k", linestyle=style, label=name)
right.set(xlabel=r"$\lambda_t$ (clean data to the right)", ylim=(1e-5, 1e5))
right.set_title("weights of the error of $x_0$")
[ax.legend(fontsize=8) for ax in (left, right)]
plt.show()
assert weight_eps[0] > 100 * weight_eps[499] and weight_eps.argmin() > 100
print("step 1 weighs over 100 times as much as step 500:", bool(weight_eps[0] > 100 * weight_eps[499]))

# %% [markdown]
# *Left: what the bound asks for, relative to what the simple loss gives every step alike. The bound cares most about the
# first steps, that is about details that hardly show; the simple loss gives the middle its share. (At the right
# end the cosine schedule's SNR plunges to almost nothing in a few steps.) Right: the same
# in units of the error of $\mathbf x_0$, where all can be compared. min-SNR {cite:p}`hang2023minsnr` stops the rise at
# 5; the library has it as `DiffusionConfig(min_snr=5)`.*
#
# The library's loss is the squared error of the *answer*. At a given $\mathbf x_t$ a squared error of 1 in
# $\mathbf x_0$ is one of $\mathrm{SNR}$ in $\epsilon$, and of $\mathrm{SNR} + 1$ in $\mathbf v$, which comes next. So it
# divides the weight by that:

# %%
for answer, unit in (("eps", snr), ("v", snr + 1), ("x0", torch.ones_like(snr))):
    process = lfdm.GaussianDiffusion(lfdm.DiffusionConfig(parameterization=answer, min_snr=5.0))
    expected = (snr.clamp(max=5) / unit).float()
    assert_close(process.loss_weight(torch.arange(1000)), expected, rtol=1e-3, atol=1e-8)
print("min-SNR weights equal the library's for eps, v and x0")

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
assert_close(turned[0].square() + turned[1].square(), clean.square() + noise.square(), atol=1e-4, rtol=1e-4)
print("a turn: x_t and v are as long together as x_0 and eps")

# %% [markdown]
# The conversions are exact; a *network* is not. Suppose it errs by 1. What is the error of $\mathbf x_0$ that follows,
# and of $\epsilon$?

# %% mystnb={"image": {"alt": "Two line plots on logarithmic axes over the step. Left, error of x0: for an eps network it explodes towards the last step, for v it stays below one. Right, error of eps: for an x0 network it explodes towards step zero, for v it stays below one."}}
a, s = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
in_x0 = {"$\\epsilon$": s / a, "v": s, "$x_0$": torch.ones_like(a)}
in_eps = {"$\\epsilon$": torch.ones_like(a), "v": a, "$x_0$": a / s}
fig, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for ax, errors, what in zip(axes, (in_x0, in_eps), ("$x_0$", "$\\epsilon$"), strict=True):
    for (name, error), style in zip(errors.items(), ("--", "-", ":"), strict=True):
        ax.semilogy(error, style, color="k", label=f"network answers {name}")
    ax.set(xlabel="step t", title=f"error of {what} after an error of 1", ylim=(1e-2, 1e5))
axes[0].legend(fontsize=8)
plt.show()
assert in_x0["v"].max() <= 1 and in_eps["v"].max() <= 1
assert in_x0["$\\epsilon$"][-1] > 1e4 and in_eps["$x_0$"][0] > 100
print("v never makes an error larger:", bool(in_x0["v"].max() <= 1 and in_eps["v"].max() <= 1))

# %% [markdown]
# *How much a network's error of 1 counts. An $\epsilon$ network is fragile where there is almost no signal (left,
# right end): it subtracts two large numbers and divides by a tiny $\alpha_t$. An $\mathbf x_0$ network is fragile where
# there is almost no noise (right, left end). $\mathbf v$ is fragile nowhere. The library answers $\mathbf v$ by
# default.*
#
# ### Assembly
#
# All parts are built. One class holds them, for any schedule and any answer. ($1/\alpha$ and $\sigma/\alpha$ are
# computed in double precision and rounded once, since at the last step they are in the tens of thousands.)

# %% tags=["assembly"]
class Diffusion:
    """The forward process and all that follows from it in closed form."""

    def __init__(self, beta: Tensor, answer: str):
        alpha_bar = torch.cumprod(1 - beta, dim=0)
        self.exact_alpha_bar, self.answer, self.num_steps = alpha_bar, answer, len(beta)
        self.alpha, self.sigma = alpha_bar.sqrt().float(), (1 - alpha_bar).sqrt().float()
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
# Equal to the library's `GaussianDiffusion`, method by method, for two schedules and three answers. Its `loss` also
# hands the network features of the image and a label; a small adapter throws them away.

# %%
class Alone:
    """A network that sees neither image nor label, with the signature that the library expects."""

    null_label = 0

    def __init__(self, network: Callable):
        self.network = network

    def __call__(self, x: Tensor, t: Tensor, features: Tensor, label: Tensor) -> Tensor:
        return self.network(x, t)


seed, label = lambda: torch.Generator().manual_seed(10), torch.zeros(1000, dtype=torch.long)
for schedule, make in (("linear", linear_betas), ("cosine", cosine_betas)):
    for answer in ("eps", "x0", "v"):
        ours = Diffusion(make(1000), answer)
        theirs = lfdm.GaussianDiffusion(lfdm.DiffusionConfig(schedule=schedule, parameterization=answer))
        calls = {"add_noise": (clean, t, noise), "posterior": (clean, x_t, t), "target": (clean, noise, t)}
        for name, arguments in {**calls, "to_x0_eps": (x_t, t, noise)}.items():
            assert_close(getattr(ours, name)(*arguments), getattr(theirs, name)(*arguments))
        echo = Alone(lambda x, t: x)
        assert_close(ours.loss(echo.network, clean, seed()), theirs.loss(echo, clean, clean, label, seed()))
        back = ours.to_x0_eps(ours.add_noise(clean, t, noise), t, ours.target(clean, noise, t))
        assert_close(back[0][:900], clean[:900], atol=2e-3, rtol=1e-3)  # beyond, eps in float32 loses the data
print("five methods, two schedules, three answers: equal to the library")

# %% [markdown]
# ## A network learns it
#
# Three layers of 128 units see $\mathbf x_t$ and waves of $t$, and answer $\mathbf v$. They see drawn points and
# noise, never the formula of the face. It takes some ten seconds.

# %%
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.frequencies = math.pi / 2 * 2.0 ** torch.arange(5)  # from half a wave to eight over all steps
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
print("loss at first:", round(losses[:20].mean().item(), 1))
print("at last below 0.9:", bool(losses[-200:].mean() < 0.9))

# %% [markdown]
# The loss fell from 1 to a little below 0.9. Did it learn anything? The loss alone cannot say, since most of it is what
# stays open. In units of $\mathbf v$ the perfect
# denoiser's loss is $\mathbb E\,\lVert \mathbf x_0 - \mathbf x^\star \rVert^2 / \sigma_t^2$, because at a given
# $\mathbf x_t$ an error of $\mathbf v$ counts $\sigma_t$ times in $\mathbf x_0$.

# %% mystnb={"image": {"alt": "Training loss over 1500 steps: an orange broken line stays at one for a while, falls within a few hundred steps, and then runs along a blue horizontal line, the loss of the perfect denoiser."}}
g = torch.Generator().manual_seed(12)
t = torch.arange(1000).repeat_interleave(100)  # every step, 100 points each
clean = draw(face, len(t), g)
x_t = diffusion.add_noise(clean, t, torch.randn(clean.shape, generator=g))
x_star, open_variance = perfect(face, x_t, diffusion.alpha[t], diffusion.sigma[t])
floor = (open_variance / 2 / diffusion.sigma[t] ** 2).mean()  # a mean over two coordinates

plt.figure(figsize=(6, 3))
plt.plot(losses.unfold(0, 25, 25).mean(dim=1).repeat_interleave(25), **LEARNED, label="network, mean of 25")
plt.axhline(floor, **KNOWN, label="perfect denoiser")
plt.xlabel("training step")
plt.ylabel("loss")
plt.ylim(0.8, 1.05)
plt.legend()
plt.show()
assert 0.97 * floor < losses[-200:].mean() < 1.03 * floor
print("within 3 % of the best possible loss:", bool((losses[-200:].mean() / floor - 1).abs() < 0.03))

# %% [markdown]
# *The loss falls until it meets the line below which no network can get. Without that line you would think that
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


learned = guess_x0(diffusion, network, x_t, t)
excess = by_step((learned - x_star).square().sum(dim=1))
open_by_step = by_step(open_variance)
assert excess.shape == (1000,)
assert (excess < 0.2 * open_by_step).all() and excess.mean() < 0.01 * open_by_step.mean()
print("excess is below a fifth of what stays open at every step:", bool((excess < 0.2 * open_by_step).all()))
print("on average below 1 %:", bool(excess.mean() < 0.01 * open_by_step.mean()))

# %% mystnb={"image": {"alt": "Error of x0 over the step on a logarithmic axis. A blue full line, what stays open, rises to 2. An orange broken line, the excess of the network, lies two to three orders of magnitude below."}}
plt.figure(figsize=(7, 3.2))
plt.semilogy(open_by_step, **KNOWN, label="stays open: perfect denoiser to data")
plt.semilogy(excess, **LEARNED, label="excess: network to perfect denoiser")
plt.semilogy(torch.arange(0, 1000, 100), excess[::100], "^", color=LEARNED["color"])
plt.xlabel("step t")
plt.ylabel("squared error of $x_0$")
plt.legend()
plt.show()
assert open_by_step[-50:].mean() > 1.8  # at the end nothing is known: the variance of the data, 1 + 1

# %% [markdown]
# *Full: the error that even the perfect denoiser makes. It rises to 2, the variance of the data in two coordinates:
# with nothing but noise, the best guess is the mean. Broken with triangles: how far the network is from the perfect
# answer, squared.*
#
# The same as vector fields. Each arrow goes from a place towards the guess:

# %% mystnb={"image": {"alt": "Two rows of three planes. Above, blue arrows of the perfect denoiser and orange arrows of the network, which cover each other wherever there are data. Below, the distance between the two as a grey map with contour lines of the data: bright inside the contours, dark outside."}}
few_places = torch.cartesian_prod(torch.linspace(-2.4, 2.4, 11), torch.linspace(-2.4, 2.4, 11))
fig, axes = plt.subplots(2, 3, figsize=(10, 6.8), layout="constrained")
for (top, bottom), i in zip(axes.T, (150, 400, 700), strict=True):
    alpha, sigma = diffusion.alpha[i], diffusion.sigma[i]
    truth = perfect(face, few_places, alpha, sigma)[0]
    ours = guess_x0(diffusion, network, few_places, torch.full((len(few_places),), i))
    for field, style, width in ((truth, KNOWN, 0.016), (ours, LEARNED, 0.006)):
        arrows = dict(angles="xy", scale_units="xy", scale=2, width=width, color=style["color"])
        top.quiver(*few_places.T, *(alpha * field - few_places).T, **arrows)
    everywhere = guess_x0(diffusion, network, plane, torch.full((len(plane),), i))
    distance = (everywhere - perfect(face, plane, alpha, sigma)[0]).norm(dim=1)
    square = dict(origin="lower", extent=(-3, 3, -3, 3), cmap="Greys", vmin=0, vmax=0.5)
    image = bottom.imshow(distance.view(121, 121).T, **square)
    [contours(ax, face, alpha, sigma) for ax in (top, bottom)]
    [ax.set(aspect="equal", xticks=[], yticks=[], title=f"t = {i}") for ax in (top, bottom)]
    density = log_density(face, plane, alpha, sigma).exp()
    assert (density * distance).sum() / density.sum() < 0.1  # where the data are
fig.colorbar(image, ax=axes[1], label="distance")
plt.show()
print("where the data are, the mean distance is below 0.1")

# %% [markdown]
# *Above: thick blue arrows are the perfect denoiser's, thin orange ones the network's. Where only one colour shows
# beside the other, they differ. Below: the distance between both, dark is far (0.5 or more). Inside the contour lines,
# where there are data, it is small. Outside, no training point ever came by.*

# %% [markdown]
# ## Backward: from noise to data
#
# Ancestral sampling (DDPM) walks back: at each step guess $\mathbf x_0$, pretend that the guess is right, and draw from
# the posterior.
#
# $$\mathbf x_{t-1} = \tilde\mu_t\big(\mathbf x_t,\, {\color{#b35900}{\hat{\mathbf x}_\theta}}(\mathbf x_t, t)\big) + \sqrt{\tilde\beta_t}\; \xi$$
#
# At $t = 0$ the variance is 0, and the guess itself is the sample.

# %%
@torch.no_grad()
def sample_v1(diffusion: Diffusion, network: Callable, noises: list[Tensor]) -> list[Tensor]:
    """Every x_t on the way; noises[0] is where to start, noises[i] is xi of the i-th step."""
    x = noises[0]
    path = [x]
    for i, step in enumerate(reversed(range(diffusion.num_steps))):
        t = torch.full((len(x),), step)
        x0_hat, _ = diffusion.to_x0_eps(x, t, network(x, t))
        mean, variance = diffusion.posterior(x0_hat, x, t)
        x = mean + variance.sqrt() * noises[i + 1] if step > 0 else mean
        path.append(x)
    return path


g = torch.Generator().manual_seed(13)
noises = [torch.randn(2000, 2, generator=g) for _ in range(1000)]
path = sample_v1(diffusion, network, noises)
samples = path[-1]
assert samples.shape == (2000, 2) and torch.isfinite(samples).all()
print("samples:", tuple(samples.shape))

# %% [markdown]
# Judge them by more than the eye. The **energy distance** of two clouds is twice the mean distance between them, minus
# the mean distances within each. It is 0 exactly when both have the same distribution. Two clouds of true points say
# what 0 looks like for 2000 points.

# %%
def energy_distance(a: Tensor, b: Tensor) -> float:
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


def parts(points: Tensor) -> Tensor:
    """Share of left eye, right eye, freckle and mouth: points within three deviations of a mean."""
    inside = torch.cdist(points, face.mu) < 3 * face.tau  # (b, K)
    return torch.cat([inside[:, :3], inside[:, 3:].any(dim=1, keepdim=True)], dim=1).float().mean(dim=0)


true_a, true_b = (draw(face, 2000, torch.Generator().manual_seed(seed)) for seed in (14, 15))
chance = energy_distance(true_a, true_b)
distance = energy_distance(samples, true_a)
assert chance < 0.01 and distance < 0.02 and energy_distance(noises[0], true_a) > 0.03
assert (parts(samples) - parts(x0)).abs().max() < 0.05  # x0: the 20,000 points of the beginning
print("near the truth:", distance < 0.02, " pure noise is not:", energy_distance(noises[0], true_a) > 0.03)

# %% mystnb={"image": {"alt": "Six scatter plots of orange triangles. From left to right a round cloud contracts and becomes a face with two eyes, a freckle and a mouth, inside the blue contour lines."}}
fig, axes = plt.subplots(1, 6, figsize=(13, 2.6), layout="constrained")
for ax, i in zip(axes, (999, 700, 500, 300, 100, -1), strict=True):
    x = path[999 - i] if i >= 0 else path[-1]
    alpha, sigma = (diffusion.alpha[i], diffusion.sigma[i]) if i >= 0 else (1.0, 0.0)
    cloud(ax, x, f"t = {i}" if i >= 0 else "sample", learned=True)
    contours(ax, face, alpha, sigma)
    known = true_b if i < 0 else diffusion.add_noise(true_b, torch.full((2000,), i), eps[:2000])
    assert energy_distance(x, known) < 0.02
plt.show()
print("at each of the six steps, samples and truth cannot be told apart by much")

# %% [markdown]
# *Triangles: what the network draws, on its way from noise (left) to data (right). Lines: the closed-form density at the
# same step. The chain passes backwards through the same distributions as the forward chain above.*
#
# With a slider, which works on a static page too: the true density of $\mathbf x_t$ above, the samples' below.

# %%
def blurred(points: Tensor) -> Tensor:
    """A picture (48, 48) of how many points fall where, white for none."""
    column, row = ((points.clamp(-2.99, 2.99) + 3) * 8).long().T
    counts = torch.bincount((47 - row) * 48 + column, minlength=48 * 48).view(48, 48).float()
    return 1 - (counts / counts.quantile(0.995).clamp(min=4)).clamp(0, 1)


at = torch.linspace(999, 0, 21).long().tolist()
frames = []
for i in at:
    forward = diffusion.add_noise(true_b, torch.full((2000,), i), eps[:2000])
    pair = [blurred(forward), torch.full((3, 48), 0.5), blurred(path[999 - i])]
    frames.append(torch.cat(pair).expand(3, -1, -1).repeat_interleave(4, 1).repeat_interleave(4, 2))
frames = torch.stack(frames, dim=1)
assert frames.shape == (3, 21, 396, 192) and frames.min() >= 0
alt = "Two histograms of points, true above and sampled below, from round clouds to faces."
viz.slider(frames, [f"t = {i}" for i in at], alt=alt)

# %% [markdown]
# *Above: 2000 points of the forward chain. Below: 2000 points of the backward chain, drawn by the network. Same step,
# same picture.*

# %% [markdown]
# ### Fewer steps
#
# Nothing in the posterior asks for neighbours. From step $t$ to any less noisy step $s$ the chain has
# $1 - \beta = \bar\alpha_t / \bar\alpha_s$, and the same formulas hold, $t - 1$ replaced by $s$:

# %%
def ddpm_step(x_t: Tensor, x0: Tensor, alpha_bar_t: float, alpha_bar_s: float, noise: Tensor) -> Tensor:
    beta = 1 - alpha_bar_t / alpha_bar_s
    mean = (alpha_bar_s**0.5 * beta * x0 + (1 - beta) ** 0.5 * (1 - alpha_bar_s) * x_t) / (1 - alpha_bar_t)
    variance = (1 - alpha_bar_s) / (1 - alpha_bar_t) * beta
    return mean + variance**0.5 * noise


def timesteps(num_steps: int, steps: int) -> list[int]:
    """`steps` of the steps, evenly spaced and descending, the noisiest first."""
    return [round(num_steps - i * num_steps / steps) - 1 for i in range(steps)]


@torch.no_grad()
def sample_v2(diffusion: Diffusion, network: Callable, steps: int, noises: list[Tensor]) -> Tensor:
    x, path = noises[0], timesteps(diffusion.num_steps, steps)
    alpha_bar = [*diffusion.exact_alpha_bar.tolist(), 1.0]
    for i, step in enumerate(path):
        t = torch.full((len(x),), step)
        x0_hat, _ = diffusion.to_x0_eps(x, t, network(x, t))
        last = i == len(path) - 1
        x = x0_hat if last else ddpm_step(x, x0_hat, alpha_bar[step], alpha_bar[path[i + 1]], noises[i + 1])
    return x

# %% [markdown]
# Checks: with all steps `sample_v2` is `sample_v1`; and with any number of steps it is the library's sampler, given the
# same noise.

# %%
assert_close(sample_v2(diffusion, network, 1000, noises), samples, atol=2e-3, rtol=1e-2)
assert timesteps(1000, 4) == samplers.timesteps(1000, 4) == [999, 749, 499, 249]
some = x_t, clean, 0.3, 0.6, true_a[:1]  # alpha_bar falls from 0.6 to 0.3
assert_close(ddpm_step(*some), samplers.ddpm_step(*some))
theirs = lfdm.GaussianDiffusion(lfdm.DiffusionConfig(schedule="cosine", parameterization="v"))
for steps in (7, 50):
    setting = dict(sampler="ddpm", steps=steps, noise=noises, progress=False)
    library = samplers.sample(theirs, network, (2000, 2), **setting)
    assert_close(sample_v2(diffusion, network, steps, noises), library, atol=1e-4, rtol=1e-4)
print("all steps: as before; 7 and 50 steps: as the library")

# %% [markdown]
# ## Failure gallery
#
# The first three failures are not the network's. They happen to the perfect denoiser too, so we use it: a "network"
# that answers $\mathbf x^\star$.

# %%
def perfect_network(diffusion: Diffusion, data: Mixture) -> Callable:
    return lambda x, t: perfect(data, x, diffusion.alpha[t], diffusion.sigma[t])[0]


exact = {"linear": Diffusion(linear_betas(1000), "x0"), "cosine": Diffusion(cosine_betas(1000), "x0")}
counts = [3, 5, 10, 20, 50, 100]
few = {}
for name, process in exact.items():
    drawn = [sample_v2(process, perfect_network(process, face), n, noises) for n in counts]
    few[name] = [energy_distance(points, true_a) for points in drawn]
assert few["linear"][1] > 3 * few["cosine"][1] > 3 * few["cosine"][-1]
print("five steps, linear: more than three times as far as cosine:", few["linear"][1] > 3 * few["cosine"][1])

# %% [markdown]
# ### Too few steps, and a schedule that wastes them

# %% mystnb={"image": {"alt": "Left: energy distance over the number of steps on logarithmic axes; both schedules fall until they reach the chance level, linear later than cosine. Middle and right: samples of five steps, for linear shrunken dense clumps, for cosine a face with thin blobs."}}
wide = dict(layout="constrained", width_ratios=(1.4, 1, 1))
fig, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4), **wide)
for name, style, marker in (("linear", ":", "s"), ("cosine", "-", "o")):
    left.loglog(counts, few[name], style, marker=marker, color=KNOWN["color"], label=name)
left.axhline(chance, color="0.5", linestyle="-.", label="two true clouds")
left.set(xlabel="steps", ylabel="energy distance to the truth")
left.legend()
for ax, (name, process) in zip((middle, right), exact.items(), strict=True):
    drawn = sample_v2(process, perfect_network(process, face), 5, noises)
    cloud(ax, drawn, f"{name}, 5 steps")
    contours(ax, face)
plt.show()
assert few["linear"][-1] < 0.1 * few["linear"][0]

# %% [markdown]
# *Perfect denoiser, few steps. Left: distance to the truth; at the dash-dotted line it cannot be told from chance. Right:
# samples. A posterior mean is the truth only if the guess is; after a long step the guess is an average of blobs, and
# the samples come out too near the middle. The linear schedule spends three of its five steps at SNR below 0.1, cosine one.
# Samplers that need fewer steps are [chapter 7](07_samplers.ipynb).*

# %% [markdown]
# ### A schedule that does not arrive
#
# The betas of the linear schedule are meant for 1000 steps. Use the same range with 50: at the end 60 % of the signal's
# variance is left, yet sampling starts from pure noise, as if none were. For centred data of variance 1 that hardly
# shows. Move the face away from the centre:

# %% mystnb={"image": {"alt": "Three scatter plots of a face that lies right of the centre. With 50 linear betas the samples miss the right part of the face and lie too far left; with 50 cosine betas they fill the contour lines."}}
aside = face._replace(mu=face.mu + torch.tensor([2.0, 0.0]))
fig, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
cloud(axes[0], draw(aside, 2000, torch.Generator().manual_seed(16)), "truth")
centre = {}
for ax, (name, make) in zip(axes[1:], (("linear", linear_betas), ("cosine", cosine_betas)), strict=True):
    process = Diffusion(make(50), "x0")
    drawn = sample_v2(process, perfect_network(process, aside), 50, noises)
    centre[name] = drawn[:, 0].mean().item()
    cloud(ax, drawn, f"{name}, signal left {process.exact_alpha_bar[-1]:.1f}")
[(contours(ax, aside), ax.set(xlim=(-1, 5))) for ax in axes]
plt.show()
assert abs(centre["cosine"] - 2) < 0.1 and centre["linear"] < 1.6
print("mean of x, 2 is right: cosine", round(centre["cosine"], 1), " linear below 1.6:", centre["linear"] < 1.6)

# %% [markdown]
# *The perfect denoiser for both. Training saw $\mathbf x_{N-1}$ with 60 % of the signal; sampling starts without. The
# denoiser takes the start for a face that lies further left, and draws what fits. In pictures the mean brightness goes
# wrong in this way {cite:p}`lin2024flawed`. Plot $\bar\alpha_{N-1}$: it must be near 0.*

# %% [markdown]
# ### The wrong variance
#
# The posterior's $\tilde\beta_t$ belongs to a *known* $\mathbf x_0$. But the guess is uncertain, and that uncertainty
# is missing. For one Gaussian of deviation $\tau$ everything is linear, and the variance of the samples can be
# computed exactly: if $\mathbf x_t$ has variance $V$, then $\mathbf x_s$ has
# $(a\,k + b)^2\, V$ plus the variance of the step, where $a$ and $b$ are the posterior's factors of
# $\mathbf x_0$ and $\mathbf x_t$, and $k$ the perfect denoiser's factor of $\mathbf x_t$.

# %%
def sampled_deviation(steps: int, choice: str, tau: float) -> float:
    """Standard deviation of DDPM samples with the perfect denoiser of N(0, tau^2): exact, nothing is drawn."""
    alpha_bar, path, V = [*exact["cosine"].exact_alpha_bar.tolist(), 1.0], timesteps(1000, steps), 1.0
    for t, s in zip(path, [*path[1:], -1], strict=True):
        beta, sigma2 = 1 - alpha_bar[t] / alpha_bar[s], 1 - alpha_bar[t]
        a = alpha_bar[s] ** 0.5 * beta / sigma2
        b = (1 - beta) ** 0.5 * (1 - alpha_bar[s]) / sigma2
        k, open_variance = alpha_bar[t] ** 0.5 * tau**2, sigma2 * tau**2
        k, open_variance = (value / (alpha_bar[t] * tau**2 + sigma2) for value in (k, open_variance))
        tilde = (1 - alpha_bar[s]) / sigma2 * beta
        step = {"none": 0, "tilde": tilde, "beta": beta, "exact": tilde + a**2 * open_variance}[choice]
        V = (a * k + b) ** 2 * V + (step if s >= 0 else 0)  # the last step adds none
    return V**0.5


counts = [3, 5, 10, 20, 50, 100, 300, 1000]
choices = ("none", "tilde", "beta", "exact")
deviation = {choice: [sampled_deviation(n, choice, 0.5) for n in counts] for choice in choices}
assert deviation["none"][-1] < 0.1 and all(abs(deviation[choice][-1] - 0.5) < 0.01 for choice in choices[1:])
assert all(low < high for low, high in zip(deviation["tilde"], deviation["beta"], strict=True))
print("without noise samples collapse:", deviation["none"][-1] < 0.1, " with 1000 steps the rest is right")

# %% mystnb={"image": {"alt": "Left: standard deviation of samples over the number of steps. The line for no noise falls to zero, beta tilde rises to one half from below, beta comes close from above or below, exact is nearest. Right: three scatter plots of ten-step samples: no noise gives a single point, beta tilde thin blobs, beta blobs that fill the contours."}}
fig, axes = plt.subplots(1, 4, figsize=(13, 3.2), width_ratios=(1.5, 1, 1, 1), layout="constrained")
symbol = {"none": "none", "tilde": r"$\tilde\beta_t$", "beta": r"$\beta_t$", "exact": r"$\tilde\beta_t$ + open"}
for (choice, values), marker in zip(deviation.items(), "xsod", strict=True):
    axes[0].semilogx(counts, values, color=KNOWN["color"], marker=marker, linewidth=1, label=symbol[choice])
axes[0].axhline(0.5, color="k", linestyle=":")
axes[0].set(xlabel="steps", ylabel="deviation of the samples", ylim=(0, 0.8))
axes[0].legend(fontsize=8)

spread = {}
for ax, choice in zip(axes[1:], ("none", "tilde", "beta"), strict=True):
    process, x, route = exact["cosine"], noises[0], timesteps(1000, 10)
    for i, (t, s) in enumerate(zip(route, [*route[1:], -1], strict=True)):
        at_t, at_s = process.exact_alpha_bar[t].item(), process.exact_alpha_bar[s].item() if s >= 0 else 1.0
        mean = ddpm_step(x, perfect(face, x, at_t**0.5, (1 - at_t) ** 0.5)[0], at_t, at_s, torch.zeros_like(x))
        variance = {"none": 0, "tilde": (1 - at_s) / (1 - at_t), "beta": 1}[choice] * (1 - at_t / at_s)
        x = mean + variance**0.5 * noises[i + 1] * (s >= 0)
    spread[choice] = energy_distance(x, true_a)
    cloud(ax, x, f"{symbol[choice]}, 10 steps")
    contours(ax, face)
plt.show()
assert spread["none"] > 0.5 > 10 * spread["tilde"] > 10 * spread["beta"]

# %% [markdown]
# *Left: samples of a Gaussian; 0.5 (dotted) is right. Squares: $\tilde\beta_t$ is right for a known point and too
# narrow for anything wider. Circles: $\beta_t$ is right for data of variance 1. Diamonds: the posterior's variance plus
# what is open about $\mathbf x_0$; only the last step, which adds nothing, keeps it from being exact. Crosses: leave
# the noise out and all samples run together. Right: the same on the face. That is the gap which you saw in the bound, as a
# picture. With hundreds of steps the choice hardly matters; {cite:t}`nichol2021improved` learn it.*

# %% [markdown]
# ### Answering $\epsilon$ where there is no signal
#
# Train the same network in the same way to answer $\epsilon$. Its loss is fine. Look at the error of $\mathbf x_0$.

# %%
diffusion_eps = Diffusion(cosine_betas(1000), "eps")
network_eps, losses_eps = train(diffusion_eps, face)
learned_eps = guess_x0(diffusion_eps, network_eps, x_t, torch.arange(1000).repeat_interleave(100))
excess_eps = by_step((learned_eps - x_star).square().sum(dim=1))
started_late = lfdm.GaussianDiffusion(lfdm.DiffusionConfig(parameterization="eps"))

from_the_last = sample_v2(diffusion_eps, network_eps, 10, noises)
setting = dict(sampler="ddpm", steps=10, noise=noises, progress=False)
cured = samplers.sample(started_late, network_eps, (2000, 2), **setting)
with_v = sample_v2(diffusion, network, 10, noises)
assert excess_eps[-1] > 1e3 * excess[-1] and excess_eps[300:600].mean() < 0.02
assert energy_distance(with_v, true_a) < 0.05 and energy_distance(cured, true_a) < 0.05
print("at the last step more than 1000 times the excess of v:", bool(excess_eps[-1] > 1e3 * excess[-1]))

# %% mystnb={"image": {"alt": "Left: excess over the step; the curve of the eps network follows that of the v network up to step 700 and then shoots up by many orders of magnitude. Right: ten-step samples of the eps network from the last step, from a step with some signal, and of the v network."}}
fig, axes = plt.subplots(1, 4, figsize=(13, 3.2), width_ratios=(1.5, 1, 1, 1), layout="constrained")
axes[0].semilogy(excess_eps, color=LEARNED["color"], linestyle=":", label="answers $\\epsilon$")
axes[0].semilogy(excess, **LEARNED, label="answers v")
axes[0].semilogy(open_by_step, **KNOWN, label="stays open")
axes[0].set(xlabel="step t", ylabel="squared error of $x_0$")
axes[0].legend(fontsize=8)
three = {"$\\epsilon$, from step 999": from_the_last, "$\\epsilon$, a little later": cured, "v, from step 999": with_v}
for ax, (title, drawn) in zip(axes[1:], three.items(), strict=True):
    cloud(ax, drawn, title, learned=True)
    contours(ax, face)
plt.show()
distances = [energy_distance(drawn, true_a) for drawn in (from_the_last, cured, with_v)]
assert distances[0] > 3 * distances[2]
print("eps from the last step is over three times as far from the truth as v:", distances[0] > 3 * distances[2])

# %% [markdown]
# *Left: dotted, the $\epsilon$ network. Its error of the noise is as small at the end as anywhere, but there it counts
# $\sigma_t / \alpha_t$ times. Right: ten steps. From the last step, the first guess of $\mathbf x_0$ is far outside, and
# few steps do not forget it. The library's cure for $\epsilon$ networks is to start where a thousandth of the signal's
# variance is left (`min_alpha_bar`); answering $\mathbf v$ needs no cure.*

# %% [markdown]
# ### Where the data seldom come
#
# The map of distances was dark outside the contours. Sort the same error by density: how wrong is the network where
# points are common, rare, or absent? And what if training stops after a tenth of the time?

# %%
i, groups = 150, {}
alpha, sigma = diffusion.alpha[i], diffusion.sigma[i]
hasty, _ = train(diffusion, face, steps=150)
density = log_density(face, plane, alpha, sigma)
rarity = density.max() - density  # in nats below the most common place
for name, net in (("full", network), ("a tenth", hasty)):
    guess = guess_x0(diffusion, net, plane, torch.full((len(plane),), i))
    distance = (guess - perfect(face, plane, alpha, sigma)[0]).norm(dim=1)
    group = torch.bucketize(rarity, torch.tensor([2.0, 5.0, 10.0, 20.0]), right=True)  # 4: rarer than that
    groups[name] = [distance[group == j].mean().item() for j in range(4)]
assert groups["full"][-1] > 3 * groups["full"][0] and groups["a tenth"][0] > 3 * groups["full"][0]

freckle = {"truth": parts(x0)[2].item(), "full": parts(samples)[2].item()}
freckle["a tenth"] = parts(sample_v2(diffusion, hasty, 100, noises))[2].item()
assert freckle["truth"] > 0.025 and freckle["full"] < 0.02 and freckle["a tenth"] < 0.02
print("where no data come it is over three times as wrong:", groups["full"][-1] > 3 * groups["full"][0])
print("full training gives the freckle less than two thirds of its points:", freckle["full"] < 0.02)

# %% mystnb={"image": {"alt": "Left: bars of the distance to the perfect denoiser in four classes of rarity, higher the rarer; the network trained for a tenth of the time is far worse in all. Second: bars of the share of samples in the freckle, 3 % for the truth, far less for both networks. Right: the freckle enlarged, dense in the true points, nearly empty in the samples."}}
fig, axes = plt.subplots(1, 4, figsize=(13, 3.2), width_ratios=(1.3, 0.8, 1, 1), layout="constrained")
for j, (name, hatch) in enumerate((("full", "//"), ("a tenth", ".."))):
    style = dict(color=LEARNED["color"], hatch=hatch, edgecolor="w", label=name)
    axes[0].bar(torch.arange(4) + 0.4 * j, groups[name], 0.4, **style)
axes[0].set_xticks(torch.arange(4) + 0.2, ["0 to 2", "2 to 5", "5 to 10", "10 to 20"])
axes[0].set(xlabel="rarity of the place, nats", ylabel="distance to the perfect denoiser")
axes[0].legend(title="training")
for (name, share), hatch in zip(freckle.items(), ("", "//", ".."), strict=True):
    colour = KNOWN["color"] if name == "truth" else LEARNED["color"]
    axes[1].bar(name, 100 * share, color=colour, hatch=hatch, edgecolor="w")
axes[1].set(ylabel="points in the freckle, %")
for ax, points, title in zip(axes[2:], (true_a, samples), ("truth", "full training"), strict=True):
    cloud(ax, points, title, learned=title != "truth")
    contours(ax, face)
    ax.set(xlim=(0.6, 2.3), ylim=(-0.3, 1.6))
plt.show()
assert energy_distance(samples, true_a) < 2 * chance  # and the distance of the whole clouds does not notice

# %% [markdown]
# *Left: the error by rarity of the place, at step 150. In training it hardly counts, since rare places are rarely
# drawn. In sampling it can: one bad step leads to a place where the next guess is worse. Second: how many points fall
# into the freckle. Right: the same, enlarged; rings are the density. The network of this chapter, whose loss is within
# 3 % of the best and whose samples are as near to the truth as true points are, has nearly missed the freckle. A mean
# over all points hides what is rare: count it by name.*
#
# ## Summary
#
# * The forward chain is $\mathbf x_t = \alpha_t \mathbf x_0 + \sigma_t \epsilon$ at once, and one step back is a Gaussian
#   if $\mathbf x_0$ is known. All a network must supply is a guess of $\mathbf x_0$; the best is
#   $\mathbb E[\mathbf x_0 \mid \mathbf x_t]$, which is also the score.
# * The squared error of that guess, weighted by what each step gains in SNR, bounds the likelihood. The simple loss drops
#   the weight. $\epsilon$, $\mathbf x_0$ and $\mathbf v$ are one answer in three coordinates; only $\mathbf v$ is
#   harmless at both ends.
# * Against the truth: the excess of a small network is below a hundredth of what stays open. What goes wrong in sampling is
#   mostly steps that are too long, a variance that is too narrow, a schedule that does not arrive, or rare data.
#
# ## Exercises
#
# **1. Check yourself** (three minutes, easy). At the last step $\mathbf x_t$ is nothing but noise. What does the perfect
# network answer there, if it answers $\mathbf x_0$, $\epsilon$, or $\mathbf v$? For which of the three is the answer
# the same at every $\mathbf x_t$?
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
# of the failures. Compute it for 50 linear and 50 cosine betas, for data that are moved aside. Which failure?
#
# <details>
# <summary>Solution</summary>
#
# The schedule that does not arrive. With $V = 1 - \bar\alpha_{N-1}$ the divergence from $\mathcal N(0, I)$ in two
# dimensions is $\frac12 \big(2 V + \bar\alpha_{N-1} \lVert \mathbf x_0 \rVert^2 - 2 - 2 \log V\big)$: nats that the
# first point of the backward chain is wrong by, before any network is asked.
#
# ```python
# for make in (linear_betas, cosine_betas):
#     end = (1 - make(50)).prod()
#     points = draw(aside, 2000, torch.Generator().manual_seed(17))
#     print((0.5 * (2 * (1 - end) + end * points.square().sum(dim=1).mean() - 2 - 2 * (1 - end).log())).item())
# ```
#
# </details>
#
# **3. Code it** (ten minutes, easy). A network answers $\epsilon$, but your sampler wants $\mathbf v$. Convert, without
# going through the data.

# %% tags=["exercise"]
def eps_to_v(eps, x_t, alpha, sigma):
    """The v that says the same as eps at x_t = alpha x0 + sigma eps."""
    return None  # your line


def check_eps_to_v(function) -> str:
    alpha, sigma = 0.8, 0.6
    x_t = alpha * true_a + sigma * true_b
    answer, right = function(true_b, x_t, alpha, sigma), alpha * true_b - sigma * true_a
    hints = {
        "solved": right,
        "not yet: the sign is turned, v = alpha eps - sigma x0": -right,
        "not yet: x_t stands where x0 belongs": alpha * true_b - sigma * x_t,
        "not yet: x0 = (x_t - sigma eps) / alpha; the division is missing": alpha * true_b - sigma * alpha * true_a,
        "not yet: alpha and sigma are swapped": sigma * true_b - alpha * true_a,
    }
    if answer is None or answer.shape != right.shape:
        return "not yet: return a tensor like x_t"
    for hint, value in hints.items():
        if torch.allclose(answer, value, atol=1e-4):
            return hint
    return "not yet: put x0 = (x_t - sigma eps) / alpha into v, then use alpha^2 + sigma^2 = 1"


print(check_eps_to_v(eps_to_v))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# $\alpha\epsilon - \sigma (\mathbf x_t - \sigma \epsilon) / \alpha = \big((\alpha^2 + \sigma^2)\,\epsilon - \sigma
# \mathbf x_t\big) / \alpha$. The division by $\alpha$ is the fragility of $\epsilon$ again.
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

# %% tags=["exercise"]
def betas_from_log_snr(lamda):
    """beta_t, (N,), of the chain with half log SNR lamda, (N,)."""
    return None  # your lines


def check_betas(function) -> str:
    lamda = torch.linspace(4, -4, 50).double()
    beta = function(lamda)
    if beta is None:
        return "not yet: return a tensor of 50 betas"
    if len(beta) == 49:
        return "not yet: one is missing; before the first step alpha_bar is 1"
    alpha_bar = torch.cumprod(1 - beta, dim=0)
    if torch.allclose(alpha_bar, lamda.sigmoid()):
        return "not yet: lambda is half of the logarithm of the SNR"
    if torch.allclose(beta, (2 * lamda).sigmoid()) or torch.allclose(beta, 1 - (2 * lamda).sigmoid()):
        return "not yet: that is alpha_bar or 1 - alpha_bar; beta is the step from one alpha_bar to the next"
    solved = torch.allclose(alpha_bar, (2 * lamda).sigmoid())
    return "solved" if solved else "not yet: solve SNR = alpha_bar / (1 - alpha_bar) for alpha_bar first"


print(check_betas(betas_from_log_snr))

# %% [markdown]
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
# straight = Diffusion(betas_from_log_snr(torch.linspace(4, -4, 50).double()), "x0")
# print(energy_distance(sample_v2(straight, perfect_network(straight, face), 50, noises), true_a))
# ```
#
# </details>
#
# **5. Explore** (an evening, hard). How long must you train until the freckle has its 3 %? Does the answer ($\epsilon$ or
# $\mathbf v$), the weight, or a larger batch help? Would drawing freckle points more often help, and what would the model
# then learn?
#
# <details>
# <summary>Solution</summary>
#
# Begin with the share against the length of training, over several seeds: one seed proves nothing, since 2000 samples hold
# about 60 freckle points, give or take 8. In one run of ours, 5000 steps brought it almost there. Drawing them more often makes them easier to learn, but the model then learns
# the distribution that it is shown: divide their loss by the same factor, or accept more freckles.
#
# ```python
# for steps in (200, 800):
#     short_trained, _ = train(diffusion, face, steps)
#     print(steps, parts(sample_v2(diffusion, short_trained, 50, noises))[2].item())
# ```
#
# </details>
#
# **6. Explore** (an hour, medium). Hold your `ddpm_step` against a public implementation, `DDPMScheduler` of the package
# `diffusers` (installed with `lfdm_lite[all]`). What does it do by default that you have to switch off?
#
# <details>
# <summary>Solution</summary>
#
# By default it clips the guess of $\mathbf x_0$ to $[-1, 1]$ (`clip_sample`), which is right for pictures and wrong for
# this face. It takes its noise from a generator, so hand both the same one.
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
# LFDM {cite:p}`ni2023lfdm` uses the cosine schedule with $\delta = 0.008$ and 1000 steps, answers $\epsilon$, and trains
# with the simple loss, without weights. So do we, but for the answer: ours is $\mathbf v$. The [list of
# differences](differences.md) has what that is worth, and three more of this chapter's quantities in which the published
# code has its own ways: betas are cut at 0.9999 rather than 0.999, noise is drawn also where its factor is 0, and the
# flow goes in unscaled, as absolute positions, so that the data are neither centred nor of variance 1.
#
# Their default is 1000 ancestral steps; their test scripts use DDIM with fewer. That is
# chapter 7.
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
# * {cite:t}`lin2024flawed`: schedules that do not arrive. {cite:t}`hang2023minsnr`: weights between bound and simple loss.
# * {cite:t}`szekely2013energy`: the energy distance.
