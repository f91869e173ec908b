# ---
# jupyter:
#   book:
#     equals:
#       bootstrap: lfdm_lite.evaluation.intervals.bootstrap
#       ddim_step: lfdm_lite.samplers.ddim_step
#       dpm_solver_step: lfdm_lite.samplers.dpm_solver_step
#       dynamic_threshold: lfdm_lite.samplers.dynamic_threshold
#       estimate: lfdm_lite.samplers.estimate
#       guided: lfdm_lite.samplers.guided
#       log_snr: lfdm_lite.samplers.log_snr
#       sample_v4: lfdm_lite.samplers.sample
#       timesteps: lfdm_lite.samplers.timesteps
#     goals:
#     - derive the ODE that carries noise to data, and read it in three clocks
#     - write DDIM as one Euler step, and turn it into DDPM by adding noise
#     - derive DPM-Solver++ and measure the order of a solver against a known flow
#     - say what guidance does to a distribution, and what it does not
#     - keep guided samples in range, and choose steps where they matter
#     minutes: 45
#     minutes_all: 100
#     peak_mb: 770
#     prerequisites:
#     - chapter 06, for the forward process, the perfect denoiser and DDPM
#     - what an ordinary differential equation is, and Euler's method
#     - Bayes' rule
#     seconds: 22
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 07 Samplers: fewer steps, stronger labels
#
# Chapter 6 went from noise to data in a thousand random steps. This chapter makes the same journey in ten,
# without any dice, and turns the label up. For most of it you need no network: the perfect denoiser is known, so
# every error that you see is the sampler's own.
#
# **At the end you can**
#
# * derive the differential equation that carries noise to data, and read it in three clocks;
# * write DDIM as one Euler step, and turn it into DDPM by adding noise;
# * derive DPM-Solver++, and measure the order of a solver against a flow that is known exactly;
# * say what classifier-free guidance does to a distribution, and what it does not;
# * keep guided samples in range, and put the steps where they matter.
#
# **You need** [chapter 06](06_ddpm.ipynb), for the forward process, the perfect denoiser and DDPM; to know what
# an ordinary differential equation is, and Euler's method; and Bayes' rule. **It takes** 45 minutes to read,
# and about 22 seconds and 770 MB of memory to run on two CPU cores. That is a first reading, without the two
# sections marked *may be skipped*. With them and with the code it takes 100 minutes; the exercises come on top.
#
# ![The block diagram of the whole system. The diffusion model is framed; noise comes down to it by a staircase, and the label enters from the left; the rest is pale.](../assets/figures/road_07.svg)
#
# *Where you are: the same box as in chapter 6. There it was about what the network learns; here it is about how
# often you ask it, and what you do with its answers.*

# %% [markdown]
# ## The face again
#
# The data are those of chapter 6: a face of ten blobs. Blob $k$ has the share $\rho_k$, the mean $\mu_k$ and
# the standard deviation $\tau_k$. Two things are new. The functions take points of any dimension, and the
# perfect denoiser takes a mask that says which blobs are `allowed`: that will be the label.

# %%
import lfdm_lite as lfdm  # before torch, whose threads then keep no core while they wait

lfdm.check_environment()  # says so where a version is not one that the book was run with
import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lfdm_lite import samplers, viz
from lfdm_lite.evaluation import intervals
from lfdm_lite.samplers import ddpm_step

torch.set_num_threads(1)  # the matrices here are so small that threads would only wait for each other
viz.use_style()

class Mixture(NamedTuple):
    rho: Tensor  # (K,), share of each blob
    mu: Tensor  # (K, d), mean
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


def draw(mixture: Mixture, count: int, generator: torch.Generator) -> Tensor:
    k = torch.multinomial(mixture.rho, count, replacement=True, generator=generator)
    noise = torch.randn(count, mixture.mu.shape[1], generator=generator)
    return mixture.mu[k] + mixture.tau[k, None] * noise


true_a, true_b = (draw(face, 2000, torch.Generator().manual_seed(seed)) for seed in (14, 15))
assert abs(true_a.square().mean() - 1) < 0.1 and true_a.mean(dim=0).abs().max() < 0.1
print("points:", tuple(true_a.shape), f" mean square: {true_a.square().mean():.1f}")

# %%
def log_blobs(mixture: Mixture, x: Tensor, alpha=1.0, sigma=0.0) -> Tensor:
    """log of rho_k times the density of blob k at x (b, d), data times `alpha` plus noise `sigma` -> (b, K)."""
    rho, mu, tau = (part.to(x) for part in mixture)
    alpha, sigma = (torch.as_tensor(value).to(x).expand(len(x))[:, None] for value in (alpha, sigma))
    variance = (alpha * tau) ** 2 + sigma**2  # (b, K)
    distance = (x[:, None] - alpha[..., None] * mu).square().sum(dim=-1)  # (b, K)
    return rho.log() - mu.shape[1] / 2 * (2 * math.pi * variance).log() - distance / (2 * variance)


def perfect(mixture: Mixture, x_t: Tensor, alpha, sigma, allowed: Tensor | None = None) -> Tensor:
    """x* = E[x_0 | x_t], (b, d); with `allowed` (b, K) the data are these blobs only."""
    blobs = log_blobs(mixture, x_t, alpha, sigma)
    r = (blobs if allowed is None else blobs.masked_fill(~allowed, -math.inf)).softmax(dim=1)[..., None]
    alpha, sigma = (torch.as_tensor(value).to(x_t).expand(len(x_t))[:, None, None] for value in (alpha, sigma))
    mu, tau = mixture.mu.to(x_t), mixture.tau.to(x_t)[:, None]
    gain = alpha * tau**2 / (alpha**2 * tau**2 + sigma**2)
    return (r * (mu + gain * (x_t[:, None] - alpha * mu))).sum(dim=1)


def energy_distance(a: Tensor, b: Tensor) -> float:
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()

# %% [markdown]
# Check the denoiser by brute force, as in chapter 6: take many clean points, and weigh each by how likely it would
# have become $\mathbf x_t$. Note the energy distance of two true clouds as well: a sampler that is no further away
# cannot be told from the truth.

# %%
cosine = lfdm.GaussianDiffusion(lfdm.DiffusionConfig(schedule="cosine", parameterization="x0"))
alpha_bar = [*cosine.exact_alpha_bar().tolist(), 1.0]  # floats; at index -1: clean data

many = draw(face, 200_000, torch.Generator().manual_seed(0))
alpha, sigma = cosine.alpha[400], cosine.sigma[400]
for place in torch.tensor([[0.4, 0.9], [0.0, 0.0], [-1.0, -0.7]]):
    weight = (-(place - alpha * many).square().sum(dim=1) / (2 * sigma**2)).softmax(dim=0)
    formula, brute = perfect(face, place[None], alpha, sigma)[0], weight @ many
    assert_close(formula, brute, atol=0.02, rtol=0)
    at, by_formula, by_force = ("({:5.2f}, {:5.2f})".format(*point.tolist()) for point in (place, formula, brute))
    print(f"x_t {at}: perfect guess {by_formula}, by brute force {by_force}")
chance = energy_distance(true_a, true_b)
assert 0 < chance < 0.002
print(f"energy distance of two true clouds: {chance:.4f}")

# %% [markdown]
# Clouds that the perfect denoiser makes are drawn as blue points, those of a trained network as orange triangles.

# %%
KNOWN, LEARNED = viz.COLOURS["blue"], viz.COLOURS["orange"]
axis = torch.linspace(-3, 3, 121)
plane = torch.cartesian_prod(axis, axis)  # (14641, 2)
density = log_blobs(face, plane).logsumexp(dim=1).exp().view(121, 121).T


def contours(ax):
    """Lines of equal density of the face, three of them."""
    levels = (density.max() * torch.tensor([0.03, 0.2, 0.6])).tolist()
    ax.contour(axis, axis, density, levels=levels, colors="0.4", linewidths=0.7)


def cloud(ax, points: Tensor, title: str, learned: bool = False):
    """A scatter plot of the first 1000 points: round and blue is known, triangles in orange are learned."""
    colour, marker = (LEARNED, "^") if learned else (KNOWN, "o")
    contours(ax)
    ax.scatter(*points[:1000].T, s=6, color=colour, marker=marker, alpha=0.5, linewidths=0)
    ax.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal", xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)

# %% [markdown]
# ## An ODE that carries noise to data
#
# Fix a clean point $\mathbf x_0$ and a noise $\epsilon$, and let the noise level rise smoothly, so that $t$ is
# a real number for a while. The noisy point $\mathbf x_t = \alpha_t \mathbf x_0 + \sigma_t \epsilon$ then moves
# along a curve. Its velocity is $\alpha'_t \mathbf x_0 + \sigma'_t \epsilon$, where the prime is the derivative
# by $t$.
#
# Many such curves pass through one place with different velocities, since different pairs $(\mathbf x_0,
# \epsilon)$ make the same $\mathbf x_t$. Take the mean of these velocities *at that place*, and call it the
# velocity of the place:
#
# $$\frac{d \mathbf x_t}{d t} = \mathbb E[\alpha'_t\, \mathbf x_0 + \sigma'_t\, \epsilon \mid \mathbf x_t] = \alpha'_t\, \mathbf x^\star + \sigma'_t\, \epsilon^\star, \qquad \epsilon^\star = \frac{\mathbf x_t - \alpha_t\, \mathbf x^\star}{\sigma_t}$$
#
# This is the **probability-flow ODE** {cite:p}`song2021sde`. Nothing in it is random. The claim: a cloud of
# points that follows it has, at every $t$, the same density $q(\mathbf x_t)$ as the noisy data.
#
# Why? Measure the noisy data by any smooth function $g$ of the place. Over the crossing curves, the mean of $g$
# changes at the rate
#
# $$\frac{d}{dt}\, \mathbb E\, g(\mathbf x_t) = \mathbb E \big[ \nabla g(\mathbf x_t) \cdot (\alpha'_t\, \mathbf x_0 + \sigma'_t\, \epsilon) \big] = \mathbb E \big[ \nabla g(\mathbf x_t) \cdot (\alpha'_t\, \mathbf x^\star + \sigma'_t\, \epsilon^\star) \big]$$
#
# The second equality averages first within each place, then over the places, for $\nabla g$ is fixed within a
# place. So whatever $g$ you measure by, the noisy data obey the law of points that move with the mean velocity.
# This law is the *continuity equation*, here written for averages. Does that make the two densities equal? It
# needs one theorem, which we use without proof: where the velocity is smooth, the continuity equation has a
# **unique** solution from a given start. Noise makes the velocity smooth at every $\sigma_t > 0$. Both clouds
# start alike and obey the same equation, so they stay alike.
#
# Check the equation with a crooked $g$, and a clock in which the derivatives are easy. Chapter 6 had the
# angle $\varphi_t$ with $\alpha_t = \cos \varphi_t$ and $\sigma_t = \sin \varphi_t$. By the angle, the
# derivatives are $-\sigma_t$ and $\alpha_t$.

# %%
def g_of(x: Tensor) -> Tensor:
    return (2 * x[:, 0]).cos() + (x[:, 0] * x[:, 1]) ** 2


many, g = many.double(), torch.Generator().manual_seed(1)
eps = torch.randn(many.shape, generator=g).double()
for phi in (0.3, 0.7, 1.2):
    at = lambda angle: math.cos(angle) * many + math.sin(angle) * eps  # the same pairs at another angle
    left = (g_of(at(phi + 1e-4)) - g_of(at(phi - 1e-4))).mean() / 2e-4
    x_t = at(phi).requires_grad_()
    x_star = perfect(face, x_t, math.cos(phi), math.sin(phi)).detach()
    eps_star = (x_t.detach() - math.cos(phi) * x_star) / math.sin(phi)
    (gradient,) = torch.autograd.grad(g_of(x_t).sum(), x_t)
    velocity = -math.sin(phi) * x_star + math.cos(phi) * eps_star
    right = (gradient * velocity).sum(dim=1).mean()
    assert_close(left, right, atol=0.02, rtol=0)
    print(f"angle {phi}: the mean of g grows at {left:.2f} on crossing curves, {right:.2f} by the mean velocity")

# %% [markdown]
# ### Three clocks
#
# Call any number that rises or falls steadily with $t$ a *clock*. Three choices of the clock, and of the unit in which
# $\mathbf x_t$ is measured, make the ODE simple. Look at one curve for each: its velocity is one of the three answers
# that a network can give. So the mean velocity at a place is the perfect answer.
#
# **By the angle**, $\mathbf x_t = \cos\varphi_t\, \mathbf x_0 + \sin\varphi_t\, \epsilon$, the velocity is the
# $\mathbf v$ of chapter 6:
#
# $$\frac{d \mathbf x_t}{d \varphi} = \alpha_t\, \epsilon^\star - \sigma_t\, \mathbf x^\star = \mathbf v^\star$$
#
# **By the noise-to-signal ratio** $\kappa_t = \sigma_t / \alpha_t$, with the shrinking undone, $\mathbf x_t /
# \alpha_t = \mathbf x_0 + \kappa_t\, \epsilon$, it is the noise:
#
# $$\frac{d}{d \kappa} \left( \frac{\mathbf x_t}{\alpha_t} \right) = \epsilon^\star$$
#
# **By** $\lambda_t = \log (\alpha_t / \sigma_t)$, half of the logarithm of the signal-to-noise ratio, and in
# units of the noise, $\mathbf x_t / \sigma_t = e^{\lambda_t} \mathbf x_0 + \epsilon$, it is the data, times the
# factor that the derivative of $e^{\lambda}$ leaves:
#
# $$\frac{d}{d \lambda} \left( \frac{\mathbf x_t}{\sigma_t} \right) = e^{\lambda_t}\, \mathbf x^\star$$

# %% [markdown]
# ### One Gaussian: the flow in closed form
#
# For data $\mathcal N(\mu, \tau^2 I)$ you can write the solution down. $\mathbf x_t$ has mean $\alpha_t \mu$
# and variance $V_t$ at each $t$; a point keeps its place *relative to them*. From here on a step goes from step
# $t$ to the **next** one, which is less noisy; its quantities carry that word (in the library's code: the letter `s`).
#
# $$\mathbf x_{\text{next}} = \alpha_{\text{next}}\, \mu + \sqrt{\frac{V_{\text{next}}}{V_t}}\; (\mathbf x_t - \alpha_t\, \mu), \qquad V_t = \alpha_t^2 \tau^2 + \sigma_t^2$$
#
# Is that the ODE's solution? Move the next step a little away from $t$, in each of the three clocks, and compare
# the slope with the right sides above.

# %%
MU, TAU = torch.tensor([0.5, -0.3]).double(), 0.4
one = Mixture(torch.ones(1).double(), MU[None], torch.tensor([TAU]).double())


def gaussian_flow(x_t: Tensor, alpha_bar_t: float, alpha_bar_next: float) -> Tensor:
    V_t, V_next = (at * TAU**2 + 1 - at for at in (alpha_bar_t, alpha_bar_next))
    return alpha_bar_next**0.5 * MU + (V_next / V_t) ** 0.5 * (x_t - alpha_bar_t**0.5 * MU)

# %%
x_t, phi, d = true_a[:500].double(), 0.9, 1e-5
alpha, sigma, kappa, lamda = math.cos(phi), math.sin(phi), math.tan(phi), -math.log(math.tan(phi))
x_star = perfect(one, x_t, alpha, sigma)
eps_star = (x_t - alpha * x_star) / sigma
by_angle = lambda p: gaussian_flow(x_t, alpha**2, math.cos(p) ** 2)
by_kappa = lambda k: gaussian_flow(x_t, alpha**2, 1 / (1 + k * k)) * math.sqrt(1 + k * k)
by_lamda = lambda m: gaussian_flow(x_t, alpha**2, 1 / (1 + math.exp(-2 * m))) * math.sqrt(1 + math.exp(2 * m))
clocks = {"angle": (by_angle, phi, alpha * eps_star - sigma * x_star), "kappa": (by_kappa, kappa, eps_star),
          "lambda": (by_lamda, lamda, math.exp(lamda) * x_star)}  # fmt: skip
for name, (flow, now, velocity) in clocks.items():
    slope = (flow(now + d) - flow(now - d)) / (2 * d)
    assert_close(slope, velocity, atol=1e-6, rtol=0)
    sizes = [value.abs().mean().item() for value in (slope, velocity)]
    print("clock {:6}: mean size of the slope {:.4f}, of the velocity {:.4f}".format(name, *sizes))

# %% [markdown]
# ### Paths
#
# A mixture has no closed form, but many small steps do as well. The plainest solver is Euler's method: go
# straight along the velocity, for a step of the clock. By the angle:
#
# $$\mathbf x_{\text{next}} = \mathbf x_t + (\varphi_{\text{next}} - \varphi_t)\, \mathbf v^\star$$
#
# To see the paths, take one dimension and two blobs.

# %%
def euler_step(x_t: Tensor, x0: Tensor, alpha_bar_t: float, alpha_bar_next: float) -> Tensor:
    phi_t, phi_next = (math.acos(at**0.5) for at in (alpha_bar_t, alpha_bar_next))
    eps = (x_t - math.cos(phi_t) * x0) / math.sin(phi_t)
    v = math.cos(phi_t) * eps - math.sin(phi_t) * x0
    return x_t + (phi_next - phi_t) * v


def follow(step: Callable, mixture: Mixture, x: Tensor, levels: list[float]) -> list[Tensor]:
    """Every x on the way through noise levels alpha_bar, the noisiest first, with the perfect denoiser."""
    path = [x]
    for at_t, at_next in pairwise(levels):
        x_star = perfect(mixture, path[-1], at_t**0.5, (1 - at_t) ** 0.5)
        path.append(step(path[-1], x_star, at_t, at_next))
    return path

# %%
pair = Mixture(torch.tensor([0.35, 0.65]), torch.tensor([[-1.2], [0.7]]), torch.tensor([0.25, 0.25]))
levels = [alpha_bar[t] for t in range(999, -2, -1)]  # all 1000 steps, then the data
g = torch.Generator().manual_seed(2)
starts = torch.randn(1000, 1, generator=g)
calm = follow(euler_step, pair, starts, levels)
dice = follow(lambda *a: ddpm_step(*a, torch.randn(starts.shape, generator=g)), pair, starts, levels)


def swapped(path: list[Tensor]) -> float:
    """Share of the pairs of points that end in the opposite order."""
    order = lambda x: torch.sign(x - x.T)
    return (order(path[0]) != order(path[-1])).float().mean().item()


for name, path in (("ODE", calm), ("DDPM", dice)):
    share = (path[-1] < -0.25).float().mean().item()
    assert abs(share - 0.35) < 0.04
    print(f"{name:4}: {share:.1%} in the left blob (true: 35.0 %), {swapped(path):.1%} of the pairs have crossed")

# %% mystnb={"image": {"alt": "Two panels with noise at the left and data at the right. A grey shade, the density, splits from one broad band into two narrow ones. On the left panel smooth blue lines fan out into the two bands without crossing; on the right panel jagged lines wander and cross, and end in the same two bands."}}
fig, axes = plt.subplots(1, 2, figsize=(10.5, 3.8), sharey=True)
height = torch.linspace(-3, 3, 161)[:, None]
shade = [log_blobs(pair, height, at**0.5, (1 - at) ** 0.5).logsumexp(dim=1).exp() for at in levels[::10]]
for ax, path, title in zip(axes, (calm, dice), ("ODE", "DDPM"), strict=True):
    ax.imshow((6 * torch.stack(shade, 1).sqrt()).round(), cmap="Greys", extent=(1000, 0, -3, 3), origin="lower", aspect="auto")
    tracks = torch.stack(path)[::10, :1000:60, 0]  # every tenth step of 17 points
    ax.plot(torch.linspace(1000, 0, len(tracks)), tracks, color=KNOWN, linestyle="-", linewidth=0.9)
    ax.set(xlabel="step t, data at the right", title=title)
axes[0].set_ylabel("x")
plt.show()
assert swapped(calm) == 0 < 0.2 < swapped(dice)

# %% [markdown]
# *Grey: the density of $\mathbf x_t$. Lines: points on their way from noise (left) to data (right), from the
# same starts. At each step both clouds have the same density. But a path of the ODE is smooth, and its start
# decides where it ends. Of DDPM half of the pairs have crossed, as if the starts were forgotten.*
#
# Smooth paths can be walked in long strides: that is the reason for all that follows. Paths of an ODE cannot
# cross either, because a place has one velocity. So each start has one end: the seed *is* the sample, and the
# way can be walked backwards (exercise 3).

# %% [markdown]
# ## DDIM: one Euler step in another clock
#
# Euler's error comes from the velocity changing during the step. When does it not change at all? Say the guess
# $\mathbf x^\star$ stands still, as it does for data that are one single point. Then the guess of the noise
# stands still as well: which noise was added to a point does not depend on how much of it is left. In the clock
# $\kappa$ the velocity *is* that guess, $\epsilon^\star$. Euler's step there is
#
# $$\frac{\mathbf x_{\text{next}}}{\alpha_{\text{next}}} = \frac{\mathbf x_t}{\alpha_t} + (\kappa_{\text{next}} - \kappa_t)\, \epsilon^\star$$
#
# Multiply by $\alpha_{\text{next}}$. Since $\kappa_t = \sigma_t / \alpha_t$ and $(\mathbf x_t - \sigma_t
# \epsilon^\star) / \alpha_t = \mathbf x^\star$, that is
#
# $$\mathbf x_{\text{next}} = \alpha_{\text{next}}\, \mathbf x^\star + \sigma_{\text{next}}\, \epsilon^\star$$
#
# Read it aloud: guess the clean point and the noise, and mix them again with less noise. This is DDIM
# {cite:p}`song2021ddim` without noise. It divides by nothing that vanishes at the next step, so the last step, to
# $\sigma_{\text{next}} = 0$, gives $\mathbf x^\star$.

# %%
def ddim_v1(x_t: Tensor, x0: Tensor, alpha_bar_t: float, alpha_bar_next: float) -> Tensor:
    """Euler's step in the clock kappa."""
    kappa_t, kappa_next = (((1 - at) / at) ** 0.5 for at in (alpha_bar_t, alpha_bar_next))
    eps = (x_t - alpha_bar_t**0.5 * x0) / (1 - alpha_bar_t) ** 0.5
    return alpha_bar_next**0.5 * (x_t / alpha_bar_t**0.5 + (kappa_next - kappa_t) * eps)


def ddim_v2(x_t: Tensor, x0: Tensor, alpha_bar_t: float, alpha_bar_next: float) -> Tensor:
    """The same, tidied up."""
    eps = (x_t - alpha_bar_t**0.5 * x0) / (1 - alpha_bar_t) ** 0.5
    return alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next) ** 0.5 * eps


x0 = perfect(face, x_t, 0.3**0.5, 0.7**0.5)
assert ddim_v2(x_t, x0, 0.3, 0.6).shape == x_t.shape
assert_close(ddim_v1(x_t, x0, 0.3, 0.6), ddim_v2(x_t, x0, 0.3, 0.6))
assert_close(ddim_v2(x_t, x0, 0.3, 0.3), x_t)  # a step to where you are
assert_close(ddim_v2(x_t, x0, 0.3, 1.0), x0)  # a step to clean data
for name, step in (("DDIM", ddim_v2), ("Euler in the angle", euler_step)):
    halves = step(step(x_t, x0, 0.3, 0.45), x0, 0.45, 0.6)  # the guess stands still
    apart = (step(x_t, x0, 0.3, 0.6) - halves).abs().max()
    assert apart < 1e-9 if name == "DDIM" else apart > 0.01
    print(f"{name}: one leap and two half steps end up to {apart:.3f} apart")

# %% [markdown]
# ### Noise put back
#
# DDPM is random, DDIM is not, and there is a family in between. Say the guess were right, so that $\mathbf x_t =
# \alpha_t \mathbf x_0 + \sigma_t \epsilon$. You want $\mathbf x_{\text{next}}$ to have the mean
# $\alpha_{\text{next}} \mathbf x_0$ and the variance $\sigma_{\text{next}}^2$, as the forward process has. Must
# all of this noise be the *old* $\epsilon$, or may part of it be fresh? The variance does not say. Let
# $\varsigma$ be the standard deviation of fresh noise $\xi$, and take so much less of the old that the squares
# add up to $\sigma_{\text{next}}^2$:
#
# $$\mathbf x_{\text{next}} = \alpha_{\text{next}}\, \mathbf x_0 + \sqrt{\sigma_{\text{next}}^2 - \varsigma^2}\; \epsilon + \varsigma\, \xi$$
#
# How much is too much? Chapter 6 found the posterior: with $\mathbf x_0$ and $\mathbf x_t$ known, $\mathbf
# x_{\text{next}}$ has the variance $\tilde\beta = \frac{\sigma_{\text{next}}^2}{\sigma_t^2} \left(1 -
# \frac{\bar\alpha_t}{\bar\alpha_{\text{next}}}\right)$. Its root is where DDPM is. The dial $\eta$ scales it:
#
# $$\varsigma = \eta\; \frac{\sigma_{\text{next}}}{\sigma_t} \sqrt{1 - \frac{\bar\alpha_t}{\bar\alpha_{\text{next}}}}$$

# %%
def ddim_step(
    x0: Tensor, eps: Tensor, alpha_bar_t: float, alpha_bar_next: float, eta: float, noise: Tensor
) -> Tensor:
    """From guesses of data and noise at step t to the next step."""
    fresh = eta * ((1 - alpha_bar_next) / (1 - alpha_bar_t)) ** 0.5 * (1 - alpha_bar_t / alpha_bar_next) ** 0.5
    old = max(1 - alpha_bar_next - fresh**2, 0.0) ** 0.5
    return alpha_bar_next**0.5 * x0 + old * eps + fresh * noise


eps, xi = (x_t - 0.3**0.5 * x0) / 0.7**0.5, torch.randn(x_t.shape, generator=g).double()
a, b = torch.randn(2, 200_000, generator=g).double()
for eta in (0.0, 0.4, 1.0):
    ours = ddim_step(x0, eps, 0.3, 0.6, eta, xi)
    assert ours.shape == x_t.shape
    assert_close(ours, samplers.ddim_step(x0, eps, 0.3, 0.6, eta, xi))
    old, fresh = ddim_step(0.0, 1.0, 0.3, 0.6, eta, 0.0), ddim_step(0.0, 0.0, 0.3, 0.6, eta, 1.0)
    variance = ddim_step(0 * a, a, 0.3, 0.6, eta, b).var()
    assert_close(variance, torch.tensor(0.4).double(), atol=0.01, rtol=0)
    print(f"eta {eta}: {old:.2f} of the old noise, {fresh:.2f} of fresh; variance {variance:.2f}, wanted 0.40")
assert_close(ddim_step(x0, eps, 0.3, 0.6, 0.0, xi), ddim_v2(x_t, x0, 0.3, 0.6))
assert_close(ddim_step(x0, eps, 0.3, 0.6, 1.0, xi), ddpm_step(x_t, x0, 0.3, 0.6, xi))

# %% [markdown]
# So $\eta = 0$ is the ODE's step, and $\eta = 1$ is DDPM. Turn the dial: three starts on the plane, and from each
# of them three walks with fresh noise of their own.

# %%
def ddim_of(eta: float, generator: torch.Generator) -> Callable:
    """A step for `follow`."""

    def step(x_t: Tensor, x0: Tensor, at_t: float, at_next: float) -> Tensor:
        eps = (x_t - at_t**0.5 * x0) / (1 - at_t) ** 0.5
        return ddim_step(x0, eps, at_t, at_next, eta, torch.randn(x_t.shape, generator=generator))

    return step

# %%
corners, ends_apart = torch.tensor([[0.1, 0.5], [-0.9, -0.1], [0.6, -0.5]]).repeat(300, 1), {}


def tracks(eta: float):
    path = torch.stack(follow(ddim_of(eta, torch.Generator().manual_seed(3)), face, corners, levels[::40]))
    ends_apart[eta] = path[-1].view(300, 3, 2).std(dim=0).mean().item()  # over 300 walks, of which 3 are drawn
    path = path[:, :9]
    fig, ax = plt.subplots(figsize=(4.6, 4.6))
    cloud(ax, corners[:3], f"$\\eta$ = {eta:g}")
    ax.plot(*path.permute(2, 0, 1), color=KNOWN, linestyle="-", linewidth=0.9)
    ax.plot(*corners[:3].T, "s", color="w", markeredgecolor="k", markersize=7)
    ax.plot(*path[-1].T, "o", color="k", markersize=5)
    return fig


def tracks_in_words(eta: float) -> str:
    seen = "those from one square coincide" if eta == 0 else "those from one square part"
    return f"The contours of the face, and nine tracks from three squares to black points: {seen}"

# %%
turned = viz.dial(tracks, alt=tracks_in_words, reach={"eta": (0.0, 1.0)}, eta=[0.0, 0.2, 0.5, 1.0])
assert ends_apart[0.0] < 1e-6 < 0.01 < ends_apart[0.2] < ends_apart[0.5] < ends_apart[1.0]
print("standard deviation of the ends of 300 walks:", {eta: round(apart, 2) for eta, apart in ends_apart.items()})
turned

# %% [markdown]
# *Tracks of 26 steps from three starts (squares) to their ends (black points), three from each. With $\eta =
# 0$ the three lie on each other; the more noise is put back, the further they end from each other.*

# %% [markdown]
# ## DPM-Solver++: solve exactly what can be solved
#
# Take the third clock. $\frac{d}{d\lambda} (\mathbf x_t / \sigma_t) = e^{\lambda}\, \mathbf x^\star$ has no
# $\mathbf x_t$ on its right side, but inside of $\mathbf x^\star$. Integrate from $t$ to the next step, and
# multiply by $\sigma_{\text{next}}$:
#
# $$\mathbf x_{\text{next}} = \frac{\sigma_{\text{next}}}{\sigma_t}\, \mathbf x_t + \sigma_{\text{next}} \int_{\lambda_t}^{\lambda_{\text{next}}} e^{\lambda}\, \mathbf x^\star(\lambda)\, d\lambda$$
#
# Nothing is approximated yet. The first term is exact for every length of the step, and so is the factor
# $e^{\lambda}$. What you do not know is how the *guess* $\mathbf x^\star(\lambda)$ changes on the way.
# DPM-Solver++ {cite:p}`lu2022dpmsolverpp` approximates only that.
#
# **First order: the guess stays.** Then the integral is $(e^{\lambda_{\text{next}}} - e^{\lambda_t})\, \mathbf
# x^\star$. With $h = \lambda_{\text{next}} - \lambda_t$ and $\sigma_{\text{next}} e^{\lambda_{\text{next}}} =
# \alpha_{\text{next}}$:
#
# $$\mathbf x_{\text{next}} = \frac{\sigma_{\text{next}}}{\sigma_t}\, \mathbf x_t + \alpha_{\text{next}} \big(1 - e^{-h}\big)\, \mathbf x^\star$$
#
# You know this step. Put $\alpha_{\text{next}} e^{-h} = \sigma_{\text{next}} \alpha_t / \sigma_t$ in, and it is
# DDIM.

# %%
def log_snr(alpha_bar: float) -> float:
    """lambda, half of the logarithm of the signal-to-noise ratio."""
    return 0.5 * (math.log(alpha_bar) - math.log1p(-alpha_bar))


def ab(lamda: float) -> float:
    """And back: alpha_bar."""
    return 1 / (1 + math.exp(-2 * lamda))


def dpm_v1(x_t: Tensor, x0: Tensor, alpha_bar_t: float, alpha_bar_next: float) -> Tensor:
    h = log_snr(alpha_bar_next) - log_snr(alpha_bar_t)
    sigma_ratio = ((1 - alpha_bar_next) / (1 - alpha_bar_t)) ** 0.5
    return sigma_ratio * x_t + alpha_bar_next**0.5 * (1 - math.exp(-h)) * x0


difference = (dpm_v1(x_t, x0, 0.3, 0.6) - ddim_v2(x_t, x0, 0.3, 0.6)).abs().max()
assert difference < 1e-9
for at in (1e-8, 0.3, 1 - 1e-8):
    assert math.isclose(log_snr(at), samplers.log_snr(at))
    assert math.isclose(ab(log_snr(at)), at)  # there and back
print(f"first order and DDIM differ by at most {difference:.6f}")

# %% [markdown]
# **Second order: the guess moves on a straight line in $\lambda$.** Its slope costs nothing: at the step
# before, noisier than $t$, the guess was $\mathbf x^\star_{\text{before}}$, and you still have it. With
# $\lambda_t - \lambda_{\text{before}} = r h$ the line is
#
# $$\mathbf x^\star(\lambda) \approx \mathbf x^\star + \frac{\lambda - \lambda_t}{r\, h}\, (\mathbf x^\star - \mathbf x^\star_{\text{before}})$$
#
# It must be integrated against $e^\lambda$. By parts, $\sigma_{\text{next}} \int (\lambda - \lambda_t)\,
# e^\lambda d\lambda = \alpha_{\text{next}} (h - 1 + e^{-h})$. So
#
# $$\mathbf x_{\text{next}} = \frac{\sigma_{\text{next}}}{\sigma_t}\, \mathbf x_t + \alpha_{\text{next}} \big(1 - e^{-h}\big)\, \mathbf x^\star + \alpha_{\text{next}}\, \frac{h - 1 + e^{-h}}{r\, h}\, (\mathbf x^\star - \mathbf x^\star_{\text{before}})$$

# %%
def dpm_v2(x_t, x0, x0_before, alpha_bar_t, alpha_bar_next, alpha_bar_before) -> Tensor:
    """The straight line, integrated exactly."""
    h = log_snr(alpha_bar_next) - log_snr(alpha_bar_t)
    r = (log_snr(alpha_bar_t) - log_snr(alpha_bar_before)) / h
    line = alpha_bar_next**0.5 * (h - 1 + math.exp(-h)) / (r * h)
    return dpm_v1(x_t, x0, alpha_bar_t, alpha_bar_next) + line * (x0 - x0_before)


fine = torch.linspace(-0.4, 0.9, 20_001).double()  # lambda from t to the next step; sum up by hand
slope, before = torch.tensor([0.7, -0.2]).double(), -0.8
line = x0[:1] + (fine[:, None] + 0.4) * slope
summed = torch.trapezoid(fine.exp()[:, None] * line, fine, dim=0)
sigma_next, sigma_t = ((1 - ab(m)) ** 0.5 for m in (0.9, -0.4))
by_hand = sigma_next / sigma_t * x_t[:1] + sigma_next * summed
formula = dpm_v2(x_t[:1], x0[:1], x0[:1] + (before + 0.4) * slope, ab(-0.4), ab(0.9), ab(before))
assert formula.shape == (1, 2)
assert_close(formula, by_hand, atol=1e-7, rtol=0)
for name, point in (("formula", formula), ("summed up by hand", by_hand)):
    print("a guess on a straight line, a step of h = 1.3,", name + ": ({:.4f}, {:.4f})".format(*point[0].tolist()))

# %% [markdown]
# **As published.** Instead of the exact weight of the line, the published solver uses the guess at the *middle*
# of the step, half of $h$ further:
#
# $$\mathbf x_{\text{next}} = \frac{\sigma_{\text{next}}}{\sigma_t}\, \mathbf x_t + \alpha_{\text{next}} \big(1 - e^{-h}\big)\, D, \qquad D = \Big(1 + \frac{1}{2 r}\Big)\, \mathbf x^\star - \frac{1}{2 r}\, \mathbf x^\star_{\text{before}}$$
#
# The two differ by terms of third order in $h$, as small as what a straight line misses anyway. At the first step
# there is no guess before, and so no line. At the last, to clean data, $\lambda_{\text{next}}$ is infinite; the step
# ends at the guess.

# %%
def dpm_solver_step(
    x_t: Tensor,
    x0: Tensor,
    x0_before: Tensor | None,
    alpha_bar_t: float,
    alpha_bar_next: float,
    alpha_bar_before: float | None,
) -> Tensor:
    if alpha_bar_next == 1:
        return x0
    h = log_snr(alpha_bar_next) - log_snr(alpha_bar_t)
    D = x0
    if x0_before is not None:
        r = (log_snr(alpha_bar_t) - log_snr(alpha_bar_before)) / h
        D = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * x0_before
    sigma_ratio = ((1 - alpha_bar_next) / (1 - alpha_bar_t)) ** 0.5
    return sigma_ratio * x_t - alpha_bar_next**0.5 * math.expm1(-h) * D

# %%
settings = [(x_t, x0, None, 0.3, 0.6, None), (x_t, x0, eps, 0.3, 0.6, 0.1), (x_t, x0, eps, 0.3, 1.0, 0.1)]
for setting in settings:
    assert_close(dpm_solver_step(*setting), samplers.dpm_solver_step(*setting))
assert_close(dpm_solver_step(*settings[0]), ddim_v2(x_t, x0, 0.3, 0.6))
apart = []
for h in (0.2, 0.1, 0.05):  # from lambda = 0 to h, with a guess before at -h that changes in proportion to h
    setting = (x_t, x0, x0 - h * eps, ab(0), ab(h), ab(-h))
    apart.append((dpm_v2(*setting) - dpm_solver_step(*setting)).norm())
shrunk = [(a / b).item() for a, b in pairwise(apart)]
assert all(abs(factor - 8) < 0.5 for factor in shrunk)
print("halving h divides the difference by", [round(factor, 1) for factor in shrunk], "(third order: by 8)")

# %% [markdown]
# ## Order of convergence, measured
#
# A solver is of first order if halving all steps halves the error, of second order if that divides the error by
# four. The Gaussian's flow is known in closed form, so you can measure it. Walk from $\lambda = -3$, next to no
# signal, to $\lambda = 3$, next to no noise, in equal steps of $\lambda$, and compare with `gaussian_flow`.

# %%
class Multistep:
    """A step for `follow` that remembers the guess before."""

    def __init__(self, step: Callable):
        self.step, self.x0, self.at = step, None, None

    def __call__(self, x_t: Tensor, x0: Tensor, alpha_bar_t: float, alpha_bar_next: float) -> Tensor:
        x_next = self.step(x_t, x0, self.x0, alpha_bar_t, alpha_bar_next, self.at)
        self.x0, self.at = x0, alpha_bar_t
        return x_next


def even_levels(steps: int) -> list[float]:
    return [ab(-3 + 6 * i / steps) for i in range(steps + 1)]


# %%
solvers = {
    "Euler in the angle": lambda: euler_step,
    "DDIM": lambda: ddim_v2,
    "DPM-Solver++": lambda: Multistep(dpm_solver_step),
}
starts = torch.randn(200, 2, generator=g).double()
counts = [5, 10, 20, 40, 80, 160, 320]
exact, error = gaussian_flow(starts, ab(-3), ab(3)), {}
for name, make in solvers.items():
    ends = [follow(make(), one, starts, even_levels(n))[-1] for n in counts]
    error[name] = [(end - exact).norm(dim=1).mean().item() for end in ends]
    order = math.log2(error[name][-2] / error[name][-1])
    assert abs(order - (1 if name in ("Euler in the angle", "DDIM") else 2)) < 0.1
    print(f"{name:18} error {error[name][2]:.4f} in 20 steps, {error[name][4]:.6f} in 80; order {order:.1f}")

# %% mystnb={"image": {"alt": "Error against the number of steps on logarithmic axes. Left, one Gaussian: Euler in the angle and DDIM fall along a dotted line of slope minus one; DPM-Solver++ falls along one of slope minus two and ends far lower. Right, the face: the same slopes; at five steps DPM-Solver++ lies between the other two, from ten on it is the lowest."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4), sharey=True)
small = starts[:100]
truth = follow(Multistep(dpm_solver_step), face, small, even_levels(2000))[-1]
on_face = {}
for (name, make), marker in zip(solvers.items(), "xoD", strict=True):
    ends = [follow(make(), face, small, even_levels(n))[-1] for n in counts]
    on_face[name] = [(end - truth).norm(dim=1).mean().item() for end in ends]
    left.loglog(counts, error[name], marker=marker, label=name)
    right.loglog(counts, on_face[name], marker=marker, label=name)
left.loglog(counts, [1 / n for n in counts], "k:", linewidth=1, label="slopes 1 and 2")
left.loglog(counts, [1 / n**2 for n in counts], "k:", linewidth=1)
left.set(xlabel="steps", ylabel="error", title="one Gaussian, exact flow")
right.set(xlabel="steps", title="face, against 2000 steps")
left.legend()
plt.show()
gain = on_face["DDIM"][-1] / on_face["DPM-Solver++"][-1]
assert gain > 50 and on_face["DDIM"][0] > 20 * on_face["DDIM"][-1]
print(f"face, 320 steps: error of DDIM {on_face['DDIM'][-1]:.4f}, of DPM-Solver++ {on_face['DPM-Solver++'][-1]:.5f}")

# %% [markdown]
# *Error at the end against the number of denoiser calls. Slope one: twice the steps, half the error. Slope two:
# a quarter. Both panels show the same three solvers.*
#
# DDIM is not the most accurate solver of first order: Euler in the angle is nearer on both. An order says how the
# error falls, not how large it is.

# %% [markdown]
# ## From a step to a sampler
#
# A sampler is a step and a list of noise levels. The library's list takes even strides through the steps that
# the network was trained on, counted from the noisiest {cite:p}`lin2024flawed`. A step to clean data follows,
# which ends at the guess.

# %%
def timesteps(num_steps: int, steps: int) -> list[int]:
    """`steps` of the steps, evenly spaced and descending, the noisiest first."""
    if not 1 <= steps <= num_steps:
        raise ValueError(f"steps={steps}: must be between 1 and the {num_steps} steps of the diffusion")
    return [round(num_steps - i * num_steps / steps) - 1 for i in range(steps)]


@torch.no_grad()
def sample_v3(diffusion, denoise: Callable, path: list[int], sampler: str, noises: list[Tensor], eta=0.0) -> Tensor:
    """noises[0] is where to start, noises[i + 1] is fresh for the i-th step."""
    x, x0_before, at_before = noises[0], None, None
    for i, (t, t_next) in enumerate(pairwise([*path, -1])):
        at_t, at_next = alpha_bar[t], alpha_bar[t_next]
        step = torch.full((len(x),), t)
        x0, eps = diffusion.to_x0_eps(x, step, denoise(x, step))
        fresh = noises[i + 1] if i + 1 < len(noises) else torch.zeros_like(x)
        if sampler == "dpm++":
            x = dpm_solver_step(x, x0, x0_before, at_t, at_next, at_before)
        elif t_next == -1:
            x = x0
        else:
            ancestral = sampler == "ddpm"
            x = ddpm_step(x, x0, at_t, at_next, fresh) if ancestral else ddim_step(x0, eps, at_t, at_next, eta, fresh)
        x0_before, at_before = x0, at_t
    return x

# %%
def perfect_network(mixture: Mixture) -> Callable:
    """A "network" that answers x*."""
    return lambda x, t: perfect(mixture, x, cosine.alpha[t], cosine.sigma[t])


g = torch.Generator().manual_seed(13)
noises = [torch.randn(2000, 2, generator=g) for _ in range(100)]
ideal = sample_v3(cosine, perfect_network(face), timesteps(1000, 1000), "dpm++", noises)
for n in (1, 3, 7, 1000):
    assert timesteps(1000, n) == samplers.timesteps(1000, n) and len(timesteps(1000, n)) == n
for sampler in ("ddpm", "ddim", "dpm++"):
    ours = sample_v3(cosine, perfect_network(face), timesteps(1000, 7), sampler, noises)
    setting = dict(sampler=sampler, steps=7, noise=noises, progress=False)
    assert_close(ours, samplers.sample(cosine, perfect_network(face), (2000, 2), **setting))
assert energy_distance(ideal, true_a) < 2 * chance
print("seven steps:", timesteps(1000, 7), "and then the data; three samplers equal the library's")
print(f"energy distance to the truth after 1000 steps: {energy_distance(ideal, true_a):.4f}")

# %%
counts, clouds, points = [3, 5, 10, 20, 50, 100], {}, {}
for sampler in ("ddpm", "ddim", "dpm++"):
    ends = [sample_v3(cosine, perfect_network(face), timesteps(1000, n), sampler, noises) for n in counts]
    clouds[sampler] = [energy_distance(end, true_a) for end in ends]
    points[sampler] = [(end - ideal).norm(dim=1).mean().item() for end in ends]
    print(f"{sampler:5} energy distance in 5 steps {clouds[sampler][1]:.3f}, in 20 {clouds[sampler][3]:.3f};", end=" ")
    print(f"points from their ideal end in 10 steps {points[sampler][2]:.2f}, in 100 {points[sampler][-1]:.3f}")
assert clouds["dpm++"][1] < clouds["ddim"][1] < clouds["ddpm"][1]
assert all(value < 3 * chance for values in clouds.values() for value in values[3:])
assert points["ddpm"][-1] > 1 and points["ddim"][-1] < 0.02 and points["dpm++"][-1] < 0.01

# %% book={"picture": {"largest": 130, "mean": 2, "why": "the ends of lines: after a hundred steps, points differ in their last digits"}} mystnb={"image": {"alt": "Left: energy distance to the truth over steps; all three curves fall to about the level of two true clouds, DPM-Solver++ lowest at five steps, DDPM highest. Right: mean distance of the points from their ideal ends; DDIM and DPM-Solver++ fall close together until 20 steps, and DPM-Solver++ is lower after; DDPM stays above one."}}
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8))
for sampler, marker in (("ddpm", "s"), ("ddim", "o"), ("dpm++", "D")):
    axes[0].loglog(counts, clouds[sampler], marker=marker, label=sampler)
    axes[1].loglog(counts, points[sampler], marker=marker, label=sampler)
axes[0].axhline(chance, color="0.5", linestyle=(0, (1, 3)), label="two true clouds")
axes[0].set(xlabel="steps", title="clouds: energy distance")
axes[1].set(xlabel="steps", title="points: distance from the ideal end")
axes[0].legend()
plt.show()
gain = [points["dpm++"][i] / points["ddim"][i] for i in (2, -1)]
assert gain[1] < 0.5 < 0.8 < gain[0]
print(f"error of dpm++ over that of ddim: {gain[0]:.2f} in 10 steps, {gain[1]:.2f} in 100")

# %% [markdown]
# *Left: as clouds. In five steps DPM-Solver++ is best; from twenty on, all are as near as true clouds are, to a
# factor of three. Right: the same points, one by one, against their ends after 1000 steps. DDPM has no such
# end: its dice decide.*
#
# But where is the second order? In ten steps DPM-Solver++ is hardly better than DDIM. Something else limits it.

# %% [markdown]
# ## Which steps matter
#
# *May be skipped on a first reading.*
#
# ### For the error
#
# Find the guilty step. Walk from the start in fine steps, but take *one* of the ten in a single stride of DDIM.
# Then go on finely to the end. What is wrong there is that step's contribution.

# %%
def finely(x: Tensor, t: int, t_next: int) -> Tensor:
    """From one step to another in strides of at most 5."""
    levels = [alpha_bar[i] for i in range(t, t_next, -5)] + [alpha_bar[t_next]]
    return follow(Multistep(dpm_solver_step), face, x, levels)[-1]


def contributions(path: list[int]) -> list[float]:
    x, result = noises[0][:300].double(), []
    ideal_end = finely(x, 999, -1)
    for t, t_next in pairwise([*path, -1]):
        guess = perfect(face, x, alpha_bar[t] ** 0.5, (1 - alpha_bar[t]) ** 0.5)
        long = ddim_v2(x, guess, alpha_bar[t], alpha_bar[t_next])
        end = finely(long, t_next, -1) if t_next >= 0 else long
        result.append((end - ideal_end).norm(dim=1).mean().item())
        x = finely(x, t, t_next)
    return result

# %% [markdown]
# Compare even strides with such that shrink towards the data:

# %%
def squared(num_steps: int, steps: int) -> list[int]:
    """Squares between num_steps - 1 and 0."""
    return [round((num_steps - 1) * ((steps - 1 - i) / (steps - 1)) ** 2) for i in range(steps)]


even, shrinking = contributions(timesteps(1000, 10)), contributions(squared(1000, 10))
assert even[-1] == max(even) > 3 * even[0] and even[-1] > 2 * even[-3]
assert shrinking[-1] < 0.1 * even[-1]
for name, path, share in (("even", timesteps(1000, 10), even), ("squared", squared(1000, 10), shrinking)):
    print(f"{name} strides {path}: the first step adds {share[0]:.3f}, the last {share[-1]:.3f}")

# %% mystnb={"image": {"alt": "Left: bars of each step's contribution. For even strides they rise slowly, and the last, from step 99 to the data, is the tallest; for squared strides the early ones are taller than those of even strides and the last is too small to be seen. Right: error over steps; from ten steps on squared strides lower the curve of DPM-Solver++ and raise that of DDIM."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8), width_ratios=(1.5, 1))
place = torch.arange(10)
left.bar(place - 0.2, even, 0.4, color=KNOWN, label="even strides")
left.bar(place + 0.2, shrinking, 0.4, color="0.8", hatch="//", edgecolor="k", label="squared strides")
left.set_xticks(place, [f"{t}\n{u}" for t, u in zip(timesteps(1000, 10), squared(1000, 10), strict=True)])
left.set(xlabel="the step that was taken long: even above, squared below", ylabel="error at the end")
left.legend()
gained = {}
for sampler, colour in (("ddim", "orange"), ("dpm++", "green")):
    for strides, grid, style in (("even", timesteps, "o-"), ("squared", squared, "s:")):
        ends = [sample_v3(cosine, perfect_network(face), grid(1000, n), sampler, noises) for n in counts[1:4]]
        gained[sampler, strides] = [(end - ideal).norm(dim=1).mean().item() for end in ends]
        look = dict(color=viz.COLOURS[colour], label=f"{sampler}, {strides}")
        right.loglog(counts[1:4], gained[sampler, strides], style, **look)
right.set(xlabel="steps", ylabel="distance from the ideal end")
right.set_xticks(counts[1:4], counts[1:4])
right.minorticks_off()
right.legend()
plt.show()
assert gained["ddim", "squared"][1] > gained["ddim", "even"][1]
assert gained["dpm++", "squared"][1] < 0.5 * gained["dpm++", "even"][1]
print("error in ten steps:", {f"{a}, {b}": round(values[1], 3) for (a, b), values in gained.items()})

# %% [markdown]
# *Left: what each of ten steps contributes. With even strides the last, from step 99 to the data, is the worst:
# it ends at a guess, at first order, whatever the solver. Right: put short steps there, and DPM-Solver++ shows
# its order; DDIM loses, for its early steps are now too long.*
#
# ### For the outcome
#
# The question has a second meaning: when is it decided what a sample becomes? Take a point of DDPM at step $t$.
# Go on eight times with fresh noise. Do all eight end in the same place?

# %%
def forks(steps: int = 50, count: int = 250, copies: int = 8) -> tuple[list[int], list[float], list[float]]:
    """Probability that two copies from step t end in the same part of the face, and in the same blob."""
    path, g = timesteps(1000, steps), torch.Generator().manual_seed(4)
    on = lambda x, i: follow(
        lambda *a: ddpm_step(*a, torch.randn(x.shape, generator=g)), face, x, [alpha_bar[t] for t in path[i:]] + [1.0]
    )
    main, parts, blobs = on(torch.randn(count, 2, generator=g), 0), [], []
    for i in range(0, steps, 5):
        end = on(main[i].repeat(copies, 1), i)[-1]
        blob = log_blobs(face, end).argmax(dim=1).view(copies, count)
        for names, result in ((blob.clamp(max=3), parts), (blob, blobs)):  # 3 stands for all of the mouth
            same = (names[:, None] == names[None]).float().mean(dim=2)  # copies x copies
            result.append(((same.sum() - copies) / (copies * (copies - 1))).item())
    return path[::5], parts, blobs


at, parts, blobs = forks()
by_chance = (face.rho[:3].square().sum() + 0.57**2).item()
assert abs(parts[0] - by_chance) < 0.06 and blobs[0] < 0.2 and min(parts[-1], blobs[-1]) > 0.8
for name, values in (("part", parts), ("blob", blobs)):
    print(f"same {name}:", {t: round(values[at.index(t)], 1) for t in (999, 699, 499, 299, 99)})

# %% mystnb={"image": {"alt": "Two rising curves over the step, noise at the left. Squares, same part of the face, start at the dotted level of chance, 0.41, and rise from about step 800 on; circles, same blob, start at 0.14, stay below the squares and rise most between steps 500 and 100."}}
plt.figure(figsize=(7, 3.6))
plt.plot(at, parts, "s-", color=KNOWN, label="same part: eye, eye, freckle, mouth")
plt.plot(at, blobs, "o--", color=viz.COLOURS["orange"], label="same of the ten blobs")
plt.axhline(by_chance, color="0.5", linestyle=":", label="part, by chance")
plt.gca().invert_xaxis()
plt.xlabel("step t at which the ways part")
plt.ylabel("probability")
plt.legend()
plt.show()
halfway = [next(t for t, same in zip(at, values, strict=True) if same > 0.7) for values in (parts, blobs)]
assert all(a >= b for a, b in zip(parts, blobs, strict=True)) and halfway[0] > halfway[1]

# %% [markdown]
# *The first fifth of the way decides next to nothing. Then the part of the face is decided, then the blob: from
# coarse to fine. A label can act only where something is still open.*

# %% [markdown]
# ## Classifier-free guidance
#
# Let there be labels: $y$ is eyes, freckle or mouth, and $\varnothing$ means "any". A network that knows labels
# is asked twice, and the difference is exaggerated by the **guidance scale** $s$ {cite:p}`ho2022guidance`:
#
# $$\hat\epsilon = \epsilon_\varnothing + s\, (\epsilon_y - \epsilon_\varnothing)$$
#
# So $s = 1$ is the plain label. Two namings are in use. `guidance_scale` of the package `diffusers` is this $s$;
# Ho and Salimans count from the plain label, and their $w$ is $s - 1$.
#
# Why should it be good to exaggerate? Chapter 6: $\epsilon^\star = -\sigma_t \nabla \log q(\mathbf x_t)$. With a
# label the same holds for $q(\mathbf x_t \mid y)$. By Bayes' rule $\log q(\mathbf x_t \mid y) - \log q(\mathbf
# x_t) = \log q(y \mid \mathbf x_t)$, up to a number that does not depend on $\mathbf x_t$. So the difference is
# an arrow that makes the label more likely:
#
# $$\epsilon_y - \epsilon_\varnothing = -\sigma_t\, \nabla \log q(y \mid \mathbf x_t)$$
#
# Nobody trained a classifier, hence the name. $s > 1$ climbs harder.
#
# The perfect denoiser for a label allows only some blobs. It has the signature of the library's networks; their third
# argument, features of the given image, is ignored here:

# %%
part = torch.tensor([0, 0, 1] + 7 * [2])  # which part each blob belongs to
NAMES = ("eyes", "freckle", "mouth")


class PerfectWithLabel:
    null_label = 3

    def __call__(self, x: Tensor, t: Tensor, features: Tensor, label: Tensor) -> Tensor:
        allowed = (label[:, None] == part) | (label[:, None] == self.null_label)  # (b, K)
        return perfect(face, x, cosine.alpha[t], cosine.sigma[t], allowed)


knows = PerfectWithLabel()
x, t = noises[0][:300], torch.full((300,), 600)
alpha, sigma = cosine.alpha[600], cosine.sigma[600]
for y in range(3):
    label, none = torch.full((300,), y), torch.full((300,), 3)
    eps_y, eps_none = ((x - alpha * knows(x, t, x, which)) / sigma for which in (label, none))
    place = x.clone().requires_grad_()
    q_of_y = log_blobs(face, place, alpha, sigma).softmax(dim=1)[:, part == y].sum(dim=1)
    (climb,) = torch.autograd.grad(q_of_y.log().sum(), place)
    assert_close(eps_y - eps_none, -sigma * climb, atol=1e-4, rtol=1e-3)
    lengths = [arrow.norm(dim=1).mean().item() for arrow in (eps_y - eps_none, -sigma * climb)]
    print("{:8} mean length of the difference {:.3f}, of the gradient {:.3f}".format(NAMES[y], *lengths))

# %% [markdown]
# The formula of guidance is linear, and at a given $\mathbf x_t$ the noise is linear in $\mathbf x_0$ and in
# $\mathbf v$. So any answer can be guided alike. The two questions go to the network as one batch. At $s = 0$ and
# $s = 1$ one question is enough.

# %%
def guided(unet, features: Tensor, label: Tensor, guidance_scale: float = 1.0) -> Callable:
    """A denoiser (x, t) -> answer, guided."""
    null = torch.full_like(label, unet.null_label)
    if guidance_scale in (0, 1):
        only = label if guidance_scale == 1 else null
        return lambda x, t: unet(x, t, features, only)
    twice, labels = torch.cat([features, features]), torch.cat([label, null])

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        with_label, without = unet(torch.cat([x, x]), torch.cat([t, t]), twice, labels).chunk(2)
        return without + guidance_scale * (with_label - without)

    return denoise


for scale in (0.0, 1.0, 3.0):
    ours, theirs = (build(knows, x, label, scale)(x, t) for build in (guided, samplers.guided))
    assert ours.shape == x.shape
    assert_close(ours, theirs)
    by_noise = eps_none + scale * (eps_y - eps_none)  # of the last label, mouth
    assert_close((x - sigma * by_noise) / alpha, ours, atol=1e-4, rtol=1e-3)
    heights = [answer[:, 1].mean().item() for answer in (ours, theirs)]
    print("s {}: mean height of the guessed mouth {:.2f}, by the library {:.2f}".format(scale, *heights))

# %% [markdown]
# ### What it does to the mixture
#
# Sample the mouth and the eyes at several scales. Judge by three numbers: the share of points that lie within
# three standard deviations of a blob of the label; their spread; and the energy distance to true points *of that
# label*.

# %%
def of_label(y: int, scale: float, network=knows, steps: int = 20, diffusion=cosine) -> Tensor:
    label = torch.full((2000,), y)
    return sample_v3(diffusion, guided(network, noises[0], label, scale), timesteps(1000, steps), "dpm++", noises)


def true_of(y: int) -> Tensor:
    inside = Mixture(face.rho[part == y], face.mu[part == y], face.tau[part == y])
    return draw(inside, 2000, torch.Generator().manual_seed(5))


def judge(points: Tensor, y: int) -> tuple[Tensor, float, float]:
    """Whether each point has its label (three deviations), deviation of the points, distance to the label's truth."""
    hit = (torch.cdist(points, face.mu[part == y]) < 3 * face.tau[part == y]).any(dim=1).float()
    return hit, points.std(dim=0).mean().item(), energy_distance(points, true_of(y))


scales = [0.0, 0.5, 1.0, 1.5, 2.0, 4.0, 8.0]
for y in (0, 2):
    hits, spread, distance = zip(*(judge(of_label(y, scale), y) for scale in scales), strict=True)
    assert distance[2] == min(distance) < 0.01 and distance[-1] > 20 * distance[2]  # s = 1 is nearest
    assert hits[0].mean() < 0.7 < 0.95 < hits[2].mean() and spread[2] > spread[4] > spread[6]
    print(f"{NAMES[y]}, s and distance to the truth:", {s: round(d, 2) for s, d in zip(scales, distance, strict=True)})

# %%
height, shown = {}, {}


def two_labels(s: float):
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 4.6))
    for ax, y in zip(axes, (2, 0), strict=True):
        points = of_label(y, s)
        hits, spread, distance = judge(points, y)
        height[y, s], shown[y, s] = points[:, 1].mean().item(), (hits.mean().item(), spread)
        cloud(ax, points, f"{NAMES[y]}: {hits.mean():.0%} hit, spread {spread:.2f}, distance {distance:.2f}")
    return fig


def labels_in_words(s: float) -> str:
    heights = f"the mouth at a mean height of {height[2, s]:.1f}, the eyes at {height[0, s]:.1f}"
    return f"Two scatter plots on the contours of the face: {heights}"


asked = viz.dial(two_labels, alt=labels_in_words, reach={"s": (0.0, 8.0)}, s=[0.0, 1.0, 2.0, 8.0])
assert height[0, 1] + 0.1 < height[0, 2] < height[0, 8] and height[2, 1] - 0.1 > height[2, 2] > height[2, 8]
for y, name in ((0, "eyes"), (2, "mouth")):
    seen = {s: f"{shown[y, s][0]:.0%}, spread {shown[y, s][1]:.2f}, height {height[y, s]:.2f}" for s in (1.0, 2.0, 8.0)}
    print(f"{name}, s, share with the label and more:", seen)
asked

# %% [markdown]
# *The perfect denoiser with a label, guided. Above each cloud: the share of its points that hit the label, their
# standard deviation, and the energy distance to the truth. At $s = 0$ the whole face comes; at $s = 1$ the label is met.
# Beyond, points flee from the other labels: the mouth to its lower middle, the eyes to their upper rim.* (The built book
# has [a page](points.md) on which you turn all dials of this chapter at once, on the same points.)
#
# For a perfect denoiser the distance to the truth is smallest at $s = 1$. Beyond, you pay with diversity, and at last
# even the share of the eyes falls, for they leave their own blobs.
#
# ### What it does not do
#
# Guidance is often explained like this: it samples from $q(\mathbf x_0 \mid y)\, q(y \mid \mathbf x_0)^{s -
# 1}$, up to a constant, the density tilted towards the label. At every single $t$ the guided arrow *is* the
# gradient of such a tilted density. But the tilted densities of different $t$ are not noisy versions of each
# other, and an ODE through them ends somewhere else. One dimension suffices, with two labels that overlap:

# %% mystnb={"image": {"alt": "Two panels of densities on a line for guidance scales 2 and 5. The dotted density of the plain label is broad; the full curve of the tilted density is narrower and a little further right; the hatched histogram of guided samples lies further right than both, most of all at scale 5."}}
overlap = Mixture(torch.tensor([0.5, 0.5]), torch.tensor([[-1.0], [1.0]]), torch.tensor([0.8, 0.8]))
line, starts = torch.linspace(-3, 5, 801)[:, None], torch.randn(10_000, 1, generator=g)
right_blob = torch.tensor([[False, True]])
fig, axes = plt.subplots(1, 2, figsize=(10, 3.4))
for ax, scale in zip(axes, (2, 5), strict=True):
    def denoise(x, t, scale=scale):
        alpha, sigma = cosine.alpha[t], cosine.sigma[t]
        without = perfect(overlap, x, alpha, sigma)
        return without + scale * (perfect(overlap, x, alpha, sigma, right_blob) - without)

    points = sample_v3(cosine, denoise, timesteps(1000, 50), "dpm++", [starts])
    blobs = log_blobs(overlap, line)
    tilted = (scale * blobs[:, 1] + (1 - scale) * blobs.logsumexp(dim=1)).softmax(dim=0) / 0.01
    mean = (tilted * line[:, 0]).sum() * 0.01
    ax.hist(points[:, 0], bins=60, density=True, color="#d8dde3", hatch="//", label="guided samples")
    ax.plot(line, blobs[:, 1].softmax(dim=0) / 0.01, "k:", label="label, s = 1")
    ax.plot(line, tilted, color=KNOWN, linestyle="-", label="tilted density")
    ax.set(title=f"s = {scale}", xlim=(-2, 4))
    assert points.mean() > mean + 0.25 and points.std() < 0.65
    print(f"s {scale}: mean of the tilted density {mean:.2f}, of guided samples {points.mean():.2f}")
axes[0].legend()
plt.show()

# %% [markdown]
# *Dotted: the plain label. Full: what guidance is said to sample. Hatched: what it samples. It overshoots. A
# formula that holds at every $t$ need not hold for the path.*

# %% [markdown]
# ### Why use it, then?
#
# Because networks are not perfect. Train a small network on points and labels, a tenth of them dropped so that it
# learns $\varnothing$ as well (the library's `loss` does that). Stop early: real networks are imperfect on real data.

# %%
class Network(nn.Module):
    null_label = 3

    def __init__(self):
        super().__init__()
        self.frequencies = math.pi / 2 * 2.0 ** torch.arange(5)  # from half a wave to eight over all steps
        self.label = nn.Embedding(4, 16)
        hidden = [nn.Linear(28, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU()]
        self.layers = nn.Sequential(*hidden, nn.Linear(128, 2))

    def forward(self, x: Tensor, t: Tensor, features: Tensor, label: Tensor) -> Tensor:
        waves = t[:, None] / 1000 * self.frequencies  # (b, 5)
        return self.layers(torch.cat([x, waves.sin(), waves.cos(), self.label(label)], dim=1))

# %%
answers_v = lfdm.GaussianDiffusion(lfdm.DiffusionConfig(schedule="cosine", parameterization="v"))


def train(steps: int) -> Network:
    torch.manual_seed(0)  # of the first weights
    network, g = Network(), torch.Generator().manual_seed(11)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        k = torch.multinomial(face.rho, 512, replacement=True, generator=g)
        x0 = face.mu[k] + face.tau[k, None] * torch.randn(512, 2, generator=g)
        loss = answers_v.loss(network, x0, x0, part[k], g)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()

# %% [markdown]
# Is a difference between the shares at two scales more than luck? The **bootstrap** {cite:p}`efron1979bootstrap`
# pretends that the experiment was done again: draw 2000 of the 2000 points *with replacement*, compute the mean, and do
# so a thousand times. The middle 95 % of these means are the interval.

# %%
def bootstrap(
    statistic: Callable, n: int, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Interval of a statistic of n indices."""
    rng = np.random.default_rng(seed)
    values = np.sort([statistic(rng.integers(0, n, n)) for _ in range(resamples)])
    tail = (1 - confidence) / 2
    low, high = (values[min(resamples - 1, int(q * resamples))] for q in (tail, 1 - tail))
    return float(low), float(high)


coin = (torch.rand(2000, generator=g) < 0.9).double().numpy()
low, high = bootstrap(lambda drawn: coin[drawn].mean(), 2000)
assert (low, high) == intervals.bootstrap(lambda drawn: coin[drawn].mean(), 2000)
known = 1.96 * (0.9 * 0.1 / 2000) ** 0.5
assert math.isclose((high - low) / 2, known, rel_tol=0.15)
print(f"a coin that says yes in 90 of 100: half an interval is {(high - low) / 2:.4f}, by the formula {known:.4f}")

# %%
hasty = train(400)
scales_learned = [1.0, 1.5, 2.0, 3.0, 4.0]
learned = {y: [judge(of_label(y, scale, hasty, diffusion=answers_v), y) for scale in scales_learned] for y in (0, 2)}
share = {y: [intervals.mean_estimate(row[0]) for row in rows] for y, rows in learned.items()}
for y, rows in learned.items():
    assert share[y][2].low > share[y][0].high  # s = 2 beats s = 1, by more than luck
    assert rows[2][1] < rows[0][1] and rows[2][2] > rows[0][2]  # less spread, further from the truth
    for i in (0, 2):
        e, spread = share[y][i], rows[i][1]
        told = f"share {e.value:.2f} [{e.low:.2f}, {e.high:.2f}], spread {spread:.2f}"
        print(f"{NAMES[y]}, s {scales_learned[i]:g}:", told)

# %% mystnb={"image": {"alt": "Left: share of points with the label over the guidance scale, with error bars; for mouth and eyes it rises from about 0.95 at scale 1 to above 0.98 at scale 2. Middle and right: scatter plots of the hasty network for the mouth, at scale 1 with many stray points around it, at scale 2 as a thin line."}}
fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.7))
for y, marker, style in ((0, "s", "-"), (2, "^", "--")):
    values = [estimate.value for estimate in share[y]]
    bars = [[e.value - e.low for e in share[y]], [e.high - e.value for e in share[y]]]
    look = dict(marker=marker, capsize=3, color=LEARNED, linestyle=style, label=NAMES[y])
    axes[0].errorbar(scales_learned, values, bars, **look)
axes[0].set(xlabel="guidance scale s", title="share with the label")
axes[0].legend()
for ax, scale in zip(axes[1:], (1.0, 2.0), strict=True):
    cloud(ax, of_label(2, scale, hasty, diffusion=answers_v), f"mouth, s = {scale:g}", learned=True)
plt.show()
assert share[2][2].value > 0.98

# %% [markdown]
# *A network that took 400 steps of training. Unguided, stray points lie around the mouth; guided, they are gone,
# and the mouth has become a thin line. Bars: 95 % intervals.*
#
# The network blurs what it has not learned, and guidance pushes points to where it is sure. You pay with
# diversity, and by asking twice.

# %% [markdown]
# ## In range: static and dynamic thresholding
#
# *May be skipped on a first reading.*
#
# Guidance exaggerates guesses. Where the data have a range, as pictures have $[-1, 1]$, an exaggerated guess can
# lie outside. **Static thresholding** cuts every guess at the range $R$. **Dynamic thresholding**
# {cite:p}`saharia2022imagen` first asks how far the guess of this one sample reaches, in most of its numbers.
# Let $M$ be a quantile of their sizes, such as the one that 99.5 % stay below, but at least $R$. Cut at $M$,
# then shrink all of the guess by $R / M$:
#
# $$\hat{\mathbf x} \mapsto \frac{R}{M}\; \max\big(-M,\, \min(M,\, \hat{\mathbf x})\big), \qquad M = \max\big(R,\, \text{quantile of } |\hat{\mathbf x}|\big)$$
#
# A step needs a guess of the data *and* of the noise. If the first is changed, the second must follow, so that
# both still make up $\mathbf x_t$: $\hat\epsilon = (\mathbf x_t - \alpha_t \hat{\mathbf x}) / \sigma_t$.

# %%
def dynamic_threshold(x0: Tensor, quantile: float, floor: float = 1.0) -> Tensor:
    M = x0.flatten(1).abs().quantile(quantile, dim=1).clamp(min=floor)
    M = M.reshape(-1, *[1] * (x0.ndim - 1))
    return x0.clamp(-M, M) * (floor / M)


def estimate(
    diffusion, denoise: Callable, x_t: Tensor, t: Tensor, threshold: float | None = None, threshold_floor: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The guesses of data and noise, the data in range."""
    x0, eps = diffusion.to_x0_eps(x_t, t, denoise(x_t, t).float())
    if threshold is not None:
        x0 = dynamic_threshold(x0, threshold, threshold_floor)
        alpha, sigma = diffusion.at(t, x_t)
        eps = (x_t - alpha * x0) / sigma
    return x0, eps

# %%
wild = 1.5 * torch.randn(5, 3, 40, generator=g)
for quantile, floor in ((0.9, 1.0), (0.995, 2.0), (0.0, 1.0)):
    ours = dynamic_threshold(wild, quantile, floor)
    assert ours.shape == wild.shape and ours.abs().max() <= floor + 1e-6
    assert_close(ours, samplers.dynamic_threshold(wild, quantile, floor))
assert_close(dynamic_threshold(wild / 10, 0.9), wild / 10)  # what is in range stays
assert_close(dynamic_threshold(wild, 0.0), wild.clamp(-1, 1))  # the quantile 0: static
strong = guided(knows, noises[0], torch.full((2000,), 2), 10.0)
t = torch.full((2000,), 950)
for threshold in (None, 0.0, 0.9):
    x0_hat, eps_hat = estimate(cosine, strong, noises[0], t, threshold, 2.0)
    assert_close((x0_hat, eps_hat), samplers.estimate(cosine, strong, noises[0], t, threshold, 2.0))
    alpha, sigma = cosine.at(t, x0_hat)
    assert_close(alpha * x0_hat + sigma * eps_hat, noises[0], atol=1e-4, rtol=0)
    print(f"threshold {threshold}: the guess at step 950 and s = 10 reaches to {x0_hat.abs().max():.1f};", end=" ")
    print(f"the data to {many.abs().max():.1f}")

# %% [markdown]
# To see what a threshold does, take one guess of many numbers, a wave that leaves the range with a spike on it.

# %%
wave = torch.linspace(0, 4 * math.pi, 400)
guess = (1.6 * wave.sin() + 2.0 * torch.exp(-(((wave - 7.8) / 0.15) ** 2)))[None]
flat = {}  # quantile -> share of numbers at the range


def in_range(quantile: float):
    kept = dynamic_threshold(guess, quantile)
    flat[quantile] = (kept.abs() > 0.9999).float().mean().item()
    fig, ax = plt.subplots(figsize=(7.5, 3.4))
    ax.axhspan(-1, 1, color="0.9")
    ax.plot(wave, guess[0], "k:", linewidth=1, label="the guess")
    ax.plot(wave, kept[0], color=KNOWN, linestyle="-", label=f"quantile {quantile:g}")
    ax.set(xlabel="place", ylim=(-1.9, 3.8), xticks=[])
    ax.legend(loc="upper right")
    return fig


def wave_in_words(quantile: float) -> str:
    return f"A dotted wave leaves the grey range; of its copy inside {flat[quantile]:.0%} lie at the border"

# %%
waves = viz.dial(in_range, alt=wave_in_words, reach={"quantile": (0.0, 1.0)}, quantile=[0.0, 0.9, 0.98, 1.0])
assert flat[0.0] > 0.5 > flat[0.9] > flat[0.98] > flat[1.0]
print("share of the numbers at the range:", {quantile: round(part, 2) for quantile, part in flat.items()})
waves

# %% [markdown]
# *Grey: the range. Dotted: the guess. At the quantile 0 the threshold is static: all large numbers become alike,
# and the tops are flat. At 1 nothing is cut; the shape stays, and all of it is small for the sake of one spike.*
#
# The library thresholds nothing unless told to; the last failure below says why.

# %% [markdown]
# ## Assembly
#
# All parts are there: steps, lists of steps, guidance (in `denoise`), thresholds. One function samples with all
# of them.

# %% tags=["assembly"]
@torch.no_grad()
def sample_v4(
    diffusion: lfdm.GaussianDiffusion,
    denoise: Callable,
    noises: list[Tensor],
    *,
    sampler: str = "dpm++",
    steps: int | None = None,
    eta: float = 0.0,
    threshold: float | None = None,
    threshold_floor: float = 1.0,
    callback: Callable | None = None,
) -> Tensor:
    """Draw x0 by denoising noises[0]; noises[i + 1] is fresh for the i-th step, where a step needs any."""
    levels = [*diffusion.exact_alpha_bar().tolist(), 1.0]  # at index -1: clean data
    path = timesteps(diffusion.config.num_steps, diffusion.config.num_steps if steps is None else steps)
    random = sampler == "ddpm" or (sampler == "ddim" and eta > 0)

    x, x0_before, at_before = noises[0], None, None
    for i, (t, t_next) in enumerate(pairwise([*path, -1])):
        step, at_t, at_next = torch.full((len(x),), t), levels[t], levels[t_next]
        x0, eps = estimate(diffusion, denoise, x, step, threshold, threshold_floor)
        fresh = noises[i + 1] if random and t_next >= 0 else torch.zeros_like(x)
        if sampler == "dpm++":
            x = dpm_solver_step(x, x0, x0_before, at_t, at_next, at_before)
        elif t_next == -1:
            x = x0
        elif sampler == "ddpm":
            x = ddpm_step(x, x0, at_t, at_next, fresh)
        else:
            x = ddim_step(x0, eps, at_t, at_next, eta, fresh)
        x0_before, at_before = x0, at_t
        if callback is not None:
            callback(i, t, x, x0)
    return x

# %%
ways = [dict(sampler="ddpm"), dict(sampler="ddim"), dict(sampler="ddim", eta=0.7), dict(sampler="dpm++")]
differences = []
for way in ways:
    for threshold in (None, 0.0, 0.9):
        for process in (cosine, answers_v):  # any function of (x, t) will do, here a guided one
            setting = dict(**way, steps=10, threshold=threshold)
            ours = sample_v4(process, strong, noises, **setting)
            library = samplers.sample(process, strong, (2000, 2), **setting, noise=noises, progress=False)
            assert_close(ours, library, atol=1e-4, rtol=1e-4)
            differences.append((ours - library).abs().max().item())
again = sample_v4(cosine, perfect_network(face), noises, steps=7)
assert_close(again, sample_v3(cosine, perfect_network(face), timesteps(1000, 7), "dpm++", noises))
print(f"{len(differences)} settings: ours and the library's samples differ by at most {max(differences):.2f}")

# %% [markdown]
# ## Failure gallery
#
# ### One step off
#
# DDIM needs $\bar\alpha$ twice: to read the guesses from $\mathbf x_t$, and to take the step. Take it from a
# list that is shifted by one step, and nothing crashes. The library can do it on purpose, because the published code
# does:

# %%
from lfdm_lite.files.variants import construct
from lfdm_lite.official.parts.configs import with_published

shifted = construct(with_published(cosine.config, early_alpha_bar=True))
narrow = Mixture(torch.ones(1), torch.zeros(1, 1), torch.tensor([0.2]))
starts, counts = torch.randn(4000, 1, generator=torch.Generator().manual_seed(7)), [5, 10, 20, 50, 100, 200, 500]
deviation = {}
for name, process in (("right", cosine), ("one off", shifted)):
    setting = dict(shape=(4000, 1), sampler="ddim", noise=[starts], progress=False)
    ends = [samplers.sample(process, perfect_network(narrow), steps=n, **setting) for n in counts]
    deviation[name] = [end.std().item() for end in ends]
    print(f"{name:7}", {n: round(value, 2) for n, value in zip(counts, deviation[name], strict=True)})
assert deviation["right"][-1] > 0.19 and deviation["one off"][-1] < 0.12
assert deviation["one off"][3] > deviation["one off"][4] > deviation["one off"][5] > deviation["one off"][6]

# %% mystnb={"image": {"alt": "Standard deviation of samples over the number of steps. The right sampler rises to 0.2, the dotted line. The one that is one step off rises with it at first, and then falls to 0.09 at 500 steps."}}
plt.figure(figsize=(7, 3.6))
plt.semilogx(counts, deviation["right"], marker="o", label=r"right $\bar\alpha$")
plt.semilogx(counts, deviation["one off"], marker="s", label=r"$\bar\alpha$ of one step earlier")
plt.axhline(0.2, color="k", linestyle=":", linewidth=1)
plt.xlabel("steps")
plt.ylabel("standard deviation of the samples")
plt.legend()
plt.show()
assert abs(deviation["right"][0] - deviation["one off"][0]) < 0.01  # in five steps nobody would notice

# %% [markdown]
# *Data of standard deviation 0.2 (dotted), perfect denoiser. In five steps the error cannot be seen, in 500 more
# than half of the diversity is gone.*
#
# A plot over the number of steps reveals it: more steps must not make a sampler worse.
#
# ### The label is right, the sample is not
#
# Judge guidance by the label alone, and you will turn it up without end. Take the rarest label, the freckle,
# and the perfect denoiser. A classifier, even the perfect one, sees nothing wrong:

# %%
def classified(points: Tensor, y: int) -> float:
    """Mean probability of the label, by the exact posterior."""
    return log_blobs(face, points).softmax(dim=1)[:, part == y].sum(dim=1).mean().item()


tried = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0]
freckles = [of_label(1, scale, steps=50) for scale in tried]
label_right = [classified(points, 1) for points in freckles]
near = [judge(points, 1)[0].mean().item() for points in freckles]
assert min(label_right) > 0.99 and near[0] > 0.95 and near[-1] < 0.2
for i in (0, 3, 5):
    print(f"s {tried[i]:g}: probability of the label {label_right[i]:.2f}; within three deviations: {near[i]:.2f}")

# %% mystnb={"image": {"alt": "Left: over the guidance scale, the classifier's probability stays at one while the share of samples within three deviations of the freckle falls to less than a fifth. Middle and right: the freckle enlarged; at scale 1 samples fill the dotted ring, at scale 8 they form a clump outside of it."}}
fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.7))
axes[0].plot(tried, label_right, marker="o", label="probability of the label")
axes[0].plot(tried, near, marker="s", label="within three deviations")
axes[0].set(xlabel="guidance scale s", ylim=(-0.05, 1.05))
axes[0].legend(loc="lower left")
for ax, i in zip(axes[1:], (0, -1), strict=True):
    cloud(ax, freckles[i], f"freckle, s = {tried[i]:g}")
    ring = plt.Circle(face.mu[2].tolist(), 3 * face.tau[2].item(), fill=False, color="k", linestyle=":")
    ax.add_patch(ring)
    ax.set(xlim=(1.3, 2.5), ylim=(-0.1, 1.1))
plt.show()
assert freckles[-1].std(dim=0).max() < freckles[0].std(dim=0).min()
assert freckles[-1][:, 0].mean() > freckles[0][:, 0].mean()

# %% [markdown]
# *Dotted ring: three standard deviations of the freckle. At $s = 8$ all samples sit where next to no data are, on
# the side away from the rest of the face, and the classifier calls them perfect.*
#
# So beside the label's accuracy, measure the distance to the data and the diversity.
#
# ### A range that is not the data's
#
# Thresholds must know the range of the data. LFDM's flow, scaled to standard deviation 1, has no range of $[-1, 1]$: a
# third of normal numbers lies outside. Sample such numbers with the quantile 0.9 and the floor 1:

# %% mystnb={"image": {"alt": "Three histograms. Without threshold a bell curve. With quantile 0.9 and floor 1 all values lie between minus one and one, with spikes at both ends. With floor 4 the bell curve again."}}
normal = lambda x, t: cosine.alpha[t][:, None] * x  # the perfect denoiser of N(0, I)
start, drawn = torch.randn(4, 5000, generator=torch.Generator().manual_seed(8)), {}
cases = {"no threshold": {}, "0.9, floor 1": dict(threshold=0.9), "0.9, floor 4": dict(threshold=0.9, threshold_floor=4.0)}
fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.3), sharex=True)
for ax, (name, setting) in zip(axes, cases.items(), strict=True):
    values = sample_v4(cosine, normal, [start], sampler="ddim", steps=50, **setting)
    drawn[name] = values.std().item()
    ax.hist(values.flatten(), bins=60, color="#d8dde3", hatch="//")
    ax.set(title=name, yticks=[])
plt.show()
assert drawn["no threshold"] > 0.95 > 0.8 > drawn["0.9, floor 1"] and drawn["0.9, floor 4"] > 0.95
print("standard deviation, right is 1:", {name: round(value, 2) for name, value in drawn.items()})

# %% [markdown]
# *Numbers of standard deviation 1. With the wrong range they come out too small and clipped: spikes at both ends of a
# histogram give it away. With the right range the threshold does no harm.*
#
# ## Summary
#
# * Points that follow $\alpha'_t \mathbf x^\star + \sigma'_t \epsilon^\star$ have the density of the noisy data
#   at each $t$. DDIM is an Euler step of that in the clock $\sigma / \alpha$; $\eta$ swaps old noise for
#   fresh, up to DDPM. DPM-Solver++ solves what is linear exactly and guesses on a straight line: second order.
# * In few steps, no noise and a multistep solver are best, and the last step limits them. Early steps decide
#   the coarse, late steps the fine.
# * Guidance climbs the label's probability. It buys fidelity from imperfect networks and pays with diversity;
#   it does not sample the tilted density, and it leaves the data if you let it. Thresholds keep guesses in
#   range, if the range is the data's.
#
# ## Exercises
#
# **1. Check yourself** (three minutes, easy). You sample with DDIM in a single step from pure noise. What do
# you get, for any data?
#
# <details>
# <summary>Solution</summary>
#
# The only step ends at the guess, and from pure noise the best guess is the mean of the data: always the same
# point. For the face it is the origin, where no data are.
#
# ```python
# single = sample_v4(cosine, perfect_network(face), noises, sampler="ddim", steps=1)
# assert single.abs().max() < 0.01
# ```
#
# </details>
#
# **2. Check yourself** (five minutes, medium). You have a seed whose sample in 20 steps you like, and want a
# better version of it in 100 steps. With which samplers will it be the same motif?
#
# <details>
# <summary>Solution</summary>
#
# With those that follow the ODE, DDIM with $\eta = 0$ and DPM-Solver++: both settings approximate the same
# path. With DDPM the fresh noise decides, and it is other noise at other steps.
#
# ```python
# for sampler in ("ddim", "dpm++", "ddpm"):
#     few, more = (sample_v4(cosine, perfect_network(face), noises, sampler=sampler, steps=n) for n in (20, 100))
#     print(sampler, (few - more).norm(dim=1).median().item())
# ```
#
# </details>
#
# The checks below stand on these few lines.

# %%
def tensor_like(answer, like: Tensor) -> Tensor | None:
    """An answer of that shape, as float64; None if it is something else."""
    try:
        answer = torch.as_tensor(answer).double()
    except (TypeError, ValueError, RuntimeError):
        return None
    return answer if answer.shape == like.shape and answer.isfinite().all() else None


def numbers_of(answer, kind: type) -> list:
    """An answer as a list of numbers; an empty one if it is something else."""
    try:
        return [kind(value) for value in answer]
    except (TypeError, ValueError):
        return []


def guess_at(x: Tensor, at: float, mixture: Mixture = face) -> Tensor:
    return perfect(mixture, x, at**0.5, (1 - at) ** 0.5)


# %%
GAUSSIAN_STARTS = MU + torch.randn(200, 2, generator=torch.Generator().manual_seed(9)).double()


def flow_error(walk: Callable, at: float, at_end: float, *levels) -> tuple[float | None, list[float]]:
    """How far from the Gaussian's flow an answer ends, None if it is no such tensor; the levels it asked at."""
    asked, x = [], GAUSSIAN_STARTS
    end = tensor_like(walk(x.clone(), lambda x, at: asked.append(at) or guess_at(x, at, one), *levels), x)
    return None if end is None else (end - gaussian_flow(x, at, at_end)).norm(dim=1).mean().item(), asked

# %% [markdown]
# **3. Code it** (ten minutes, easy). The ODE can be walked backwards: from a clean point to the noise that it
# would come from. Write the step from $t$ to a *noisier* step.

# %% tags=["exercise"]
def invert_step(x_t, denoise, t, noisier):
    """One step of DDIM towards the noise; t < noisier are steps, denoise(x, step) answers x*, alpha_bar is a list."""
    return None  # your lines


def check_invert(function) -> str:
    t, noisier, at, at_up, asked = 350, 700, alpha_bar[350], alpha_bar[700], []  # so long that the guesses differ
    x = at**0.5 * true_a[:500].double() + (1 - at) ** 0.5 * noises[0][:500]
    denoise = lambda x, step: asked.append(step) or guess_at(x, alpha_bar[step])
    y, again = (tensor_like(function(x.clone(), denoise, t, noisier), x) for _ in range(2))
    if y is None or again is None or noisier in asked:
        told = f"you asked for the guess at step {noisier}, where you go; you are at step {t}"
        return "not yet: " + (told if noisier in asked else "return a tensor of the shape of x_t, with finite numbers")
    guess = guess_at(x, at)
    held, mixed = (x - at**0.5 * guess) / (1 - at) ** 0.5, (y - at_up**0.5 * guess) / (1 - at_up) ** 0.5  # noises
    if mixed.abs().max() < 1e-3:
        return "not yet: the point shrinks to its guess; mix the guess of the noise in"
    if (mixed - held).abs().max() < 1e-3:
        return "solved"
    if (y - again).abs().max() > 1e-3:
        return "not yet: this noise is fresh, another at each call; take the noise that x_t holds"
    return "not yet: mix the guesses of data and noise with alpha and sigma of the noisier step"


print(check_invert(invert_step))

# %% mystnb={"image": {"alt": "Three scatter plots. Left, data: squares are the two eyes, circles the mouth, triangles the freckle. Middle, the noise that they come from: one round cloud, eyes in its upper part, mouth in its lower part, the freckle in a wedge between them at the right. Right, back from there: the face again."}} tags=["hide-input"]
up = [alpha_bar[t] for t in range(0, 1000, 20)]  # this picture shows what a right answer does
there = follow(ddim_v2, face, true_a.double(), up)[-1]
back = follow(ddim_v2, face, there, up[::-1])[-1]
whose = part[log_blobs(face, true_a).argmax(dim=1)]
fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.8))
for ax, points, title in zip(axes, (true_a, there, back), ("data", "the noise of it", "and back"), strict=True):
    contours(ax)
    for y, marker, colour in ((2, "o", "blue"), (0, "s", "orange"), (1, "^", "black")):
        ax.scatter(*points[whose == y].T, s=6, marker=marker, color=viz.COLOURS[colour], linewidths=0, alpha=0.6)
    ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)
plt.show()
missed = (back - true_a).norm(dim=1).median()
assert missed < 0.1 and abs(there.std() - 1) < 0.1
print(f"standard deviation of the noise {there.std():.1f}; a point comes back to within {missed:.2f} (median)")

# %% [markdown]
# *What a right answer draws: 49 steps to the noise and 49 back. Squares: eyes; circles: mouth; triangles: freckle.
# Each part of the face has its own region of the noise.*
#
# <details>
# <summary>Solution</summary>
#
# It is DDIM with the levels swapped. Nothing in the derivation said that the next step is less noisy.
#
# ```python
# def invert_step(x_t, denoise, t, noisier):
#     return ddim_v2(x_t, denoise(x_t, t), alpha_bar[t], alpha_bar[noisier])
#
#
# assert check_invert(invert_step) == "solved"
# ```
#
# </details>
#
# **4. Code it** (fifteen minutes, medium). Theory likes steps that are evenly spaced in $\lambda$. Make such a
# list: from the last step to step 0, with the step whose $\lambda$ is nearest to each wanted $\lambda$.

# %% tags=["exercise"]
def even_in_lamda(lamdas, steps):
    """`steps` step numbers, the noisiest first; lamdas (N,) holds lambda of every step and falls."""
    return None  # your lines


def check_even(function) -> str:
    every = torch.tensor([log_snr(at) for at in alpha_bar[:950]])
    for lamdas, steps in ((every, 12), (every[100:900], 20)):
        path, last = numbers_of(function(lamdas.clone(), steps), int), len(lamdas) - 1
        if len(path) != steps or not all(0 <= t <= last for t in path):
            return f"not yet: return a list of {steps} step numbers between 0 and {last}"
        if path[0] != last or path[-1] != 0:
            return f"not yet: start at the noisiest step, which is the largest number, {last}, and end at step 0"
        gaps, strides = lamdas[path].diff(), -torch.tensor(path).diff()
        if gaps.min() <= 0:
            return "not yet: lambda must rise from step to step; in your list it goes back or stands still"
        if strides.max() - strides.min() <= 1:
            return "not yet: these are even in t, not in lambda"
        if gaps.max() > 1.5 * gaps.min():
            return f"not yet: the largest stride of lambda is {gaps.max() / gaps.min():.1f} times the smallest"
    return "solved"


print(check_even(even_in_lamda))

# %% mystnb={"image": {"alt": "The falling curve of lambda over the step, noise at the right. Circles, even in lambda, have equal heights between them and crowd at the left end, where the curve is steep; crosses, even in t, have equal widths between them and leave a large jump there."}} tags=["hide-input"]
lamdas = torch.tensor([log_snr(at) for at in alpha_bar[:950]])
wanted = torch.linspace(lamdas[-1].item(), lamdas[0].item(), 12)
nearest = (lamdas - wanted[:, None]).abs().argmin(dim=1)
plain = torch.linspace(949, 0, 12).round().long()
plt.figure(figsize=(7, 3.8))
plt.plot(lamdas, color="0.6", linestyle="-", label=r"$\lambda_t$")
plt.plot(nearest, lamdas[nearest], "o", color=KNOWN, label=r"even in $\lambda$")
plt.plot(plain, lamdas[plain], "x", color=viz.COLOURS["orange"], markersize=9, label="even in t")
plt.xlabel("step t")
plt.ylabel(r"$\lambda$")
plt.legend()
plt.show()
ratio = {name: (gaps.max() / gaps.min()).item() for name, gaps in
         (("even in lambda", lamdas[nearest].diff()), ("even in t", lamdas[plain].diff()))}  # fmt: skip
assert ratio["even in lambda"] < 1.5 < 5 < ratio["even in t"]
print("largest over smallest stride of lambda:", {name: round(value, 1) for name, value in ratio.items()})

# %% [markdown]
# *What a right answer draws: twelve steps that are even in $\lambda$ (circles), beside twelve that are even in $t$
# (crosses).*
#
# <details>
# <summary>Solution</summary>
#
# On the whole cosine schedule the list would spend many of its steps at both ends, where $\lambda$ plunges: it
# is worse than even strides in $t$ there.
#
# ```python
# def even_in_lamda(lamdas, steps):
#     wanted = torch.linspace(lamdas[-1].item(), lamdas[0].item(), steps)
#     return [(lamdas - value).abs().argmin().item() for value in wanted]
#
#
# assert check_even(even_in_lamda) == "solved"
# lamdas = torch.tensor([log_snr(at) for at in alpha_bar[:1000]])
# path = sorted(set(even_in_lamda(lamdas, 20)), reverse=True)
# for grid in (path, timesteps(1000, len(path))):
#     end = sample_v3(cosine, perfect_network(face), grid, "dpm++", noises)
#     print(len(grid), (end - ideal).norm(dim=1).mean().item())
# ```
#
# </details>
#
# **5. Build it** (fifty minutes, hard). A sampler of your own, in three parts: Heun's method in the clock $\kappa$,
# with the levels that {cite:t}`karras2022edm` recommend. Euler's step looks at the velocity where it starts. Heun
# takes Euler's step on trial, looks at the velocity *there* as well, and then goes from the start with the mean of
# the two. That is second order without any memory, for two questions a step.
#
# *Part one: the step.* Work in $\mathbf x_t / \alpha_t$, where the velocity by $\kappa$ is $\epsilon^\star$.
# At clean data there is no second velocity; go there with the first alone.

# %% tags=["exercise"]
def heun_step(x_t, denoise, alpha_bar_t, alpha_bar_next):
    """x at the next level; denoise(x, alpha_bar) answers x*."""
    return None  # your lines


def check_step(function) -> str:
    middle, near, far = ab(0.0), ab(0.2), ab(0.4)
    (long, asked), (short, _) = (flow_error(function, middle, end, middle, end) for end in (far, near))
    if long is None or short is None:
        return "not yet: return a tensor of the shape of x_t, with finite numbers"
    if len(asked) != 2 or asked[0] == asked[1]:
        return "not yet: ask twice, at the level where the step starts and at the level where it ends"
    if short > 0.02:
        return f"not yet: a short step ends {short:.2f} off the flow; step with x / alpha, then times alpha of next"
    if long < 6 * short:
        return f"not yet: half a step has 1/{long / short:.0f} of the error, Heun's 1/8; go from x_t by the mean of both"
    last, asked = flow_error(function, far, 1.0, far, 1.0)
    if last is None or len(asked) != 1:
        return "not yet: at clean data there is no noise to ask for; the last step has one question"
    guess, _ = flow_error(lambda x, denoise: denoise(x, far), far, 1.0)
    return "solved" if abs(last - guess) < 1e-3 else "not yet: the last step, to clean data, ends at the guess"


print(check_step(heun_step))

# %% mystnb={"image": {"alt": "A broad grey falling curve, the flow, with kappa falling to the right, and two straight lines from its start. Euler's line ends clearly below the end of the curve; Heun's ends a little above it."}} tags=["hide-input"]
kappas, u = torch.linspace(0.6, 0.3, 60).double(), torch.tensor([[2.0, 0.0]]).double()
ab_of = lambda k: 1 / (1 + k * k)
flow = [gaussian_flow(u * ab_of(0.6) ** 0.5, ab_of(0.6), ab_of(k.item()))[0, 0] / ab_of(k) ** 0.5 for k in kappas]
velocity = lambda u, k: (u - guess_at(u * ab_of(k) ** 0.5, ab_of(k), one)) / k  # eps*, of u = x / alpha
first = velocity(u, 0.6)
mean = (first + velocity(u - 0.3 * first, 0.3)) / 2
plt.figure(figsize=(7, 3.8))
plt.plot(kappas, flow, color="0.7", linestyle="-", linewidth=5, label="flow")
off = {}
for name, slope, marker in (("Euler", first, "s"), ("Heun", mean, "o")):
    end = (u - 0.3 * slope)[0, 0]
    plt.plot([0.6, 0.3], [u[0, 0], end], marker=marker, label=name)
    off[name] = abs(end - flow[-1]).item()
plt.xlabel(r"$\kappa$")
plt.ylabel(r"$x / \alpha$")
plt.gca().invert_xaxis()
plt.legend()
plt.show()
assert off["Heun"] < 0.5 * off["Euler"]
print("one long step, distance from the flow:", {name: round(value, 3) for name, value in off.items()})

# %% [markdown]
# *One long step, from $\kappa = 0.6$ to 0.3. The broad grey curve is the flow. Euler's line has the slope of the start;
# the line of a right answer has the mean of two slopes.*
#
# *Part two: the levels.* Let $\kappa$ fall from a first value to a last one in such a way that $\kappa^{1/7}$ falls
# evenly, and put clean data behind.

# %% tags=["exercise"]
def shrinking_levels(first, last, steps):
    """alpha_bar of `steps` levels, from kappa = first down to kappa = last, even in kappa ** (1 / 7); then 1.0."""
    return None  # your lines


def check_levels(function) -> str:
    for first, last, steps in ((40.0, 0.01, 8), (10.0, 0.05, 5)):
        levels = numbers_of(function(first, last, steps), float)
        if len(levels) != steps + 1 or levels[-1] != 1:
            return f"not yet: return a list of {steps} levels, and behind them 1.0 for clean data"
        if not all(0 < at < 1 for at in levels[:-1]):
            return "not yet: levels are alpha_bar, between 0 and 1; kappa ** 2 is (1 - alpha_bar) / alpha_bar"
        kappa = torch.tensor([((1 - at) / at) ** 0.5 for at in levels[:-1]]).double()
        if abs(kappa[0] / first - 1) > 1e-3 or abs(kappa[-1] / last - 1) > 1e-3:
            return f"not yet: kappa goes from {kappa[0]:.3g} to {kappa[-1]:.3g}, asked was {first} to {last}"
        gaps = -(kappa ** (1 / 7)).diff()
        if not 0 < gaps.max() < 1.01 * gaps.min():
            plain, log = -kappa.diff(), -kappa.log().diff()
            even = [name for name, g in (("kappa", plain), ("lambda", log)) if g.max() < 1.01 * g.min()] or ["nothing known"]
            return f"not yet: even in the seventh root of kappa, please; yours are even in {even[0]}"
    return "solved"


print(check_levels(shrinking_levels))

# %% mystnb={"image": {"alt": "Three rows of eight marks on a logarithmic axis of kappa from 40 to 0.01. Even in kappa: all but the last mark crowd at the noisy end. Even in lambda: equal distances. Even in the seventh root: distances that grow towards the data."}} tags=["hide-input"]
grids = {"even in kappa": torch.linspace(40, 0.01, 8), "even in lambda": torch.logspace(math.log10(40), -2, 8),
         "even in the seventh root": torch.linspace(40 ** (1 / 7), 0.01 ** (1 / 7), 8) ** 7}  # fmt: skip
plt.figure(figsize=(7.5, 2.8))
for row, (name, marker) in enumerate(zip(grids, "xso", strict=True)):
    plt.semilogx(grids[name], [row] * 8, marker, markersize=8)
plt.yticks(range(3), grids)
plt.ylim(-0.5, 2.5)
plt.gca().invert_xaxis()
plt.xlabel(r"$\kappa$, data at the right")
plt.show()
below = {name: int((kappas < 1).sum()) for name, kappas in grids.items()}
assert below["even in kappa"] < below["even in the seventh root"] <= below["even in lambda"]
print("levels with more signal than noise, of 8:", below)

# %% [markdown]
# *Eight levels by three rules; those of a right answer are the circles.*
#
# *Part three: the sampler.* Walk through the levels with your step. Then hold it against the others: at the same
# number of questions, not of steps.

# %% tags=["exercise"]
def heun_sample(x, denoise, levels):
    """From x at levels[0] to clean data at levels[-1], by heun_step."""
    return None  # your lines


def check_heun(function) -> str:
    if check_step(heun_step) != "solved":
        return "not yet: part one comes first, the step"
    levels = [*even_levels(20), 1.0]
    error, asked = flow_error(function, levels[0], 1.0, levels)
    if error is None:
        return "not yet: return a tensor of the shape of x, with finite numbers"
    if len(asked) != 41:
        return f"not yet: 20 steps with two questions and a last one with one are 41; you asked {len(asked)} times"
    if sorted(asked) != asked:
        return "not yet: the levels of your questions go back and forth; each step starts where the one before ended"
    if error > 0.01:
        return f"not yet: you end {error:.2f} away from the flow; each step starts at the x that the one before made"
    return "solved"


print(check_heun(heun_sample))

# %% tags=["hide-input"]
def by_heun(x: Tensor, levels: list[float]) -> Tensor:
    u_of, kappa_of = (lambda x, at: x / at**0.5), (lambda at: ((1 - at) / at) ** 0.5)
    for at, at_next in pairwise(levels):
        step = kappa_of(at_next) - kappa_of(at)
        tilt = (x - at**0.5 * guess_at(x, at)) / (1 - at) ** 0.5
        if at_next < 1:
            trial = at_next**0.5 * (u_of(x, at) + step * tilt)
            tilt = (tilt + (trial - at_next**0.5 * guess_at(trial, at_next)) / (1 - at_next) ** 0.5) / 2
        x = at_next**0.5 * (u_of(x, at) + step * tilt)
    return x


def karras(count: int) -> list[float]:
    kappa = torch.linspace(60 ** (1 / 7), 0.01 ** (1 / 7), count).double() ** 7
    return [*(1 / (1 + kappa**2)).tolist(), 1.0]

# %% mystnb={"image": {"alt": "Distance from the ideal ends over the number of questions, on logarithmic axes. DDIM falls slowest. Heun is the worst until 17 questions and falls below DDIM by 33; DPM-Solver++ is the lowest from 17 on."}} tags=["hide-input"]
x = (1 / 3601) ** 0.5 * true_a[:500].double() + (3600 / 3601) ** 0.5 * noises[0][:500]
aim, asked, off = by_heun(x, karras(400)), [5, 9, 17, 33, 65], {"DDIM": [], "DPM-Solver++": [], "Heun": []}
for n in asked:
    ends = {name: follow(solvers[name](), face, x, karras(n))[-1] for name in ("DDIM", "DPM-Solver++")}
    for name, end in (ends | {"Heun": by_heun(x, karras((n + 1) // 2))}).items():
        off[name].append((end - aim).norm(dim=1).mean().item())
plt.figure(figsize=(7, 3.8))
for (name, values), marker in zip(off.items(), "oDs", strict=True):
    plt.loglog(asked, values, marker=marker, label=name)
    print(f"{name:12} distance after 9, 17 and 33 questions:", [round(value, 3) for value in values[1:4]])
plt.xlabel("questions to the denoiser")
plt.ylabel("distance from the ideal end")
plt.xticks(asked, asked)
plt.minorticks_off()
plt.legend()
plt.show()
assert off["Heun"][-2] > 3 * off["Heun"][-1] and off["Heun"][-1] < 0.5 * off["DDIM"][-1]
assert off["DPM-Solver++"][-1] < 0.5 * off["Heun"][-1]

# %% [markdown]
# *The face, all on the levels of part two. Heun asks twice a step, so at the same number of questions it takes half
# as many steps. Its order shows from 17 questions on; the solver with a memory asks once, and is ahead.*
#
# <details>
# <summary>Solution</summary>
#
# ```python
# def heun_step(x_t, denoise, alpha_bar_t, alpha_bar_next):
#     kappa_t, kappa_next = (((1 - at) / at) ** 0.5 for at in (alpha_bar_t, alpha_bar_next))
#     x0 = denoise(x_t, alpha_bar_t)
#     if kappa_next == 0:
#         return x0  # what Euler's step gives, without a division by 0
#     eps = (x_t - alpha_bar_t**0.5 * x0) / (1 - alpha_bar_t) ** 0.5
#     trial = alpha_bar_next**0.5 * (x_t / alpha_bar_t**0.5 + (kappa_next - kappa_t) * eps)
#     there = (trial - alpha_bar_next**0.5 * denoise(trial, alpha_bar_next)) / (1 - alpha_bar_next) ** 0.5
#     return alpha_bar_next**0.5 * (x_t / alpha_bar_t**0.5 + (kappa_next - kappa_t) * (eps + there) / 2)
#
#
# def shrinking_levels(first, last, steps):
#     kappa = torch.linspace(first ** (1 / 7), last ** (1 / 7), steps).double() ** 7
#     return [*(1 / (1 + kappa**2)).tolist(), 1.0]
#
#
# def heun_sample(x, denoise, levels):
#     for alpha_bar_t, alpha_bar_next in pairwise(levels):
#         x = heun_step(x, denoise, alpha_bar_t, alpha_bar_next)
#     return x
#
#
# assert check_step(heun_step) == check_levels(shrinking_levels) == check_heun(heun_sample) == "solved"
# ```
#
# </details>
#
# **6. Explore** (an hour, medium). Guide only in a part of the steps {cite:p}`kynkaanniemi2024interval`. Which
# part keeps the mouth wide at $s = 4$? Does the hasty network still lose its stray points?
#
# *Where to begin:* write a denoiser that asks `guided` with $s = 4$ between two steps and with $s = 1$ elsewhere,
# and sample the mouth with the hasty network. *What to plot:* the share with the label against the spread, one
# point for each interval, beside the points of $s = 1$ and $s = 4$ throughout. *A good answer* names the part of the
# steps that costs the spread and the part that removes the strays, gives both numbers with their intervals for at
# least four parts, and says whether a second seed agrees.
#
# <details>
# <summary>Solution</summary>
#
# In the noisiest steps all points have much the same gradient of the label, and are pushed together. Later,
# guidance only sorts out the strays. So give it up in the noisiest steps, and compare spread and share.
#
# ```python
# def guided_between(network, label, scale, low, high):
#     with_it, without = (guided(network, noises[0], label, s) for s in (scale, 1.0))
#     return lambda x, t: with_it(x, t) if low <= int(t[0]) < high else without(x, t)
#
#
# for low, high in ((0, 1000), (0, 700), (0, 400), (700, 1000)):
#     denoise = guided_between(hasty, torch.full((2000,), 2), 4.0, low, high)
#     points = sample_v4(answers_v, denoise, noises, steps=20)
#     hit, spread, distance = judge(points, 2)
#     print((low, high), round(hit.mean().item(), 3), round(spread, 2), round(distance, 3))
# ```
#
# </details>
#
# **7. Explore** (an hour, medium). Hold your steps against a public implementation: `DDIMScheduler` and
# `DPMSolverMultistepScheduler` of the package `diffusers` (installed with `lfdm_lite[all]`). Which of their
# defaults must be changed, until the numbers agree?
#
# *Where to begin:* give a scheduler our `alpha_bar` and call its `step` in a loop with `perfect_network(face)`. *What
# to plot:* for each default, the mean distance of the two samples after every step. *A good answer* lists each default
# that matters with the distance that it causes, and ends with both samplers equal to a stated tolerance.
#
# <details>
# <summary>Solution</summary>
#
# `DDIMScheduler` clips its guess by default (`clip_sample`), both space their steps from 0 rather than from the
# end (`timestep_spacing`), and the second may use another last step for few steps.
#
# ```python
# from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
#
# common = dict(num_train_timesteps=1000, prediction_type="sample", timestep_spacing="trailing")
# public = {"ddim": DDIMScheduler(**common, clip_sample=False), "dpm++": DPMSolverMultistepScheduler(**common)}
# for sampler, scheduler in public.items():
#     scheduler.alphas_cumprod = cosine.alpha_bar.clone()
#     scheduler.set_timesteps(10)
#     x = noises[0]
#     for t in scheduler.timesteps:
#         x = scheduler.step(perfect_network(face)(x, torch.full((2000,), int(t))), t, x).prev_sample
#     assert scheduler.timesteps.tolist() == timesteps(1000, 10)
#     ours = sample_v4(cosine, perfect_network(face), noises, sampler=sampler, steps=10)
#     assert_close(x, ours, atol=5e-3, rtol=1e-2)
# ```
#
# </details>
#
# ## What the authors did differently
#
# The published code of LFDM {cite:p}`ni2023lfdm` samples with 1000 ancestral steps and the guidance scale 1: its
# three test scripts do, and its three demos. Each test script also has a branch for DDIM with $\eta = 1$, in 10 steps
# (MUG, MHAD) or 200 (NATOPS). It is taken if the name of the run contains "ddim", and none of the published
# names does. Ours is DPM-Solver++ unless you choose another.
#
# That DDIM has two habits, both in the [list of differences](differences.md): it steps with the $\bar\alpha$
# of one step earlier (the first failure above), and for ten steps it starts at step 909 of 1000 from pure
# noise, though 2 % of the signal's variance is left there. They threshold dynamically at the quantile 0.9, but
# leave the guess of the noise as it was. Their network answers the noise for absolute positions, which do lie
# in $[-1, 1]$, so their range is right; our flow is scaled, and we do not threshold. Guidance is built in, as an
# argument `cond_scale`. The library can compute all of this their way, by fields of `PublishedDiffusionConfig`.
#
# ## Further reading
#
# * {cite:t}`song2021sde`: the ODE, and the stochastic equation that it shares its densities with.
# * {cite:t}`song2021ddim`: DDIM and $\eta$, derived without any ODE.
# * {cite:t}`lu2022dpmsolverpp`: the exact linear part, why data rather than noise should be extrapolated under
#   guidance, and higher orders.
# * {cite:t}`karras2022edm`: the clock $\sigma / \alpha$ made the main character; where to put the steps; noise
#   put back.
# * {cite:t}`ho2022guidance`: guidance. {cite:t}`bradley2024guidance`: why it does not sample the tilted
#   density.
# * {cite:t}`saharia2022imagen`: dynamic thresholding. {cite:t}`kynkaanniemi2024interval`: guidance in a part of
#   the steps.
# * {cite:t}`lin2024flawed`: lists of steps that start at the end. {cite:t}`efron1979bootstrap`: the bootstrap.
