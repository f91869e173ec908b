# ---
# jupyter:
#   book:
#     equals:
#       distillation_loss: lfdm_lite.distillation.distillation_loss
#       follow: lfdm_lite.distillation.follow
#       levels: lfdm_lite.distillation.levels
#       one_step_target: lfdm_lite.distillation.one_step_target
#     goals:
#     - derive the loss of flow matching, and turn any diffusion network into a velocity
#     - say when a path is straight, and what pairs of noise and data have to do with
#       it
#     - teach a student guidance in one pass, at a scale that one tells it
#     - halve steps, or ask for the end of the path at once, and measure which is nearer
#     - name the free rivals of a fast network, and what few passes lose
#     - say from the spread of the data where the few steps belong
#     minutes: 45
#     minutes_all: 100
#     peak_mb: 1400
#     prerequisites:
#     - chapter 06, for the perfect denoiser and the answer v
#     - chapter 07, for the ODE, DDIM and guidance
#     - chapter 09, for the model whose clips are made in fewer passes
#     seconds: 25
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10 Few steps: straight paths, and students that leap
#
# The long way from noise to a clip asks the network forty times: twenty steps, each of them twice, for guidance. This
# chapter makes the way shorter. First by looking at it: what is flow matching, and when can one walk straight? Then by
# teaching: a second network learns to answer in one pass what the first takes several for.
#
# The verdict first. **Guidance is needed in the first step, and hardly after it**: on `faces64`, at its scale of 1.5,
# five steps with the first of them guided, six passes in place of forty, end nearer to the long way's clip (32.6 dB)
# than eight passes that are guided throughout (32.0), keep 0.98 of the motion, and lose a tenth of the diversity. That
# costs no training at all. Put the strides where the data are decided, and **four steps, five passes, keep all of the
# diversity** at 33.4 dB: the rival which any fast network has to beat. A student of 46 processor minutes beats it: 36.2 dB
# in four passes, with all of the diversity, in a little less time. Of students, in a plane where the truth
# is known: guidance fits into one pass nearly without a loss. One pass for the whole way can be made nearly as close to
# the truth as two true clouds are to each other, if one asks the energy distance; counted, 7 points in 100 are strays,
# where of true ones 1 is.
#
# **At the end you can**
#
# * derive the loss of flow matching, and turn any diffusion network into a velocity;
# * say when a path is straight, and what pairs of noise and data have to do with it;
# * teach a student guidance in one pass, at a scale that one tells it;
# * halve steps, or ask for the end of the path at once, and measure which is nearer;
# * name the free rivals of a fast network, and what few passes lose;
# * say from the spread of the data where the few steps belong.
#
# **You need** [chapter 6](06_ddpm.ipynb) for the perfect denoiser and the answer $\mathbf v$, [chapter
# 7](07_samplers.ipynb) for the ODE, DDIM and guidance, and [chapter 9](09_latent_flow_diffusion.ipynb) for the
# model whose clips are made in fewer passes. **It takes** 45 minutes to read, and about 25 seconds and 1400 MB
# of memory to run on two CPU cores. That is a first reading, without the sections that are marked; all of it,
# with the code, takes about 110 minutes, and the exercises come on top.
#
# ![The block diagram of the whole system. In the frame, in the place of the diffusion model, stands a student of few passes that is told the scale; the diffusion model, 20 steps that ask twice, stands beside it and teaches. The rest is pale.](../assets/figures/road_10.svg)
#
# *Where you are: the box of chapter 9. All else stays as it was; the student sees the same noise, label and latent map,
# and hands on the same flow and occlusion map.*

# %%
import lfdm_lite as lfdm  # before torch, whose threads then keep no core while they wait

lfdm.check_environment()  # says so where a version is not one that the book was run with
import copy
import json
import math
import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.testing import assert_close

from lfdm_lite import distillation, samplers, viz
from lfdm_lite.data import Faces
from lfdm_lite.evaluation import intervals

torch.set_num_threads(1)  # the matrices here are so small that threads would only wait for each other
viz.use_style()

# %%
class Mixture(NamedTuple):
    rho: Tensor  # (K,), share of each blob
    mu: Tensor  # (K, d), mean
    tau: Tensor  # (K,), standard deviation

# %% [markdown]
# ## The face again
#
# The data are those of chapters 6 and 7: a face of ten blobs, of shares $\rho_k$, means $\mu_k$ and deviations
# $\tau_k$, whose perfect denoiser is known. `perfect` takes any `alpha` and `sigma`, so it will serve for straight
# paths too.

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
    return mixture.mu[k] + mixture.tau[k, None] * torch.randn(count, mixture.mu.shape[1], generator=generator)


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

# %%
KNOWN, LEARNED = viz.COLOURS["blue"], viz.COLOURS["orange"]
axis = torch.linspace(-3, 3, 121)
density = log_blobs(face, torch.cartesian_prod(axis, axis)).logsumexp(dim=1).exp().view(121, 121).T
heights = (density.max() * torch.tensor([0.03, 0.2, 0.6])).tolist()


def contours(ax, title: str):
    """Lines of equal density of the face, three of them, on an empty plane."""
    ax.contour(axis, axis, density, levels=heights, colors="0.4", linewidths=0.7)
    ax.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal", xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)


def cloud(ax, points: Tensor, title: str, learned: bool = False):
    """A scatter plot of the first 1000 points: round and blue is known, triangles in orange are learned."""
    contours(ax, title)
    colour, marker = (LEARNED, "^") if learned else (KNOWN, "o")
    ax.scatter(*points[:1000].T, s=6, color=colour, marker=marker, alpha=0.5, linewidths=0)


chance = energy_distance(true_a, true_b)
assert 0 < chance < 0.002
print(f"energy distance of two true clouds: {chance:.4f}")

# %% [markdown]
# ## A velocity for straight paths
#
# Chapter 7 read one differential equation in three clocks. Here is a fourth, with the simplest picture that one can
# draw: join a clean point and a noise by a straight line, and walk it at constant speed. In this section and the next
# three $t$ is a real number, 0 at the data and 1 at the noise:
#
# $$\mathbf x_t = (1 - t)\, \mathbf x_0 + t\, \epsilon$$
#
# A point on that line has the velocity $\epsilon - \mathbf x_0$ all the way. But many lines pass through one place.
# As in chapters 6 and 7, the velocity *of the place* is the mean over all pairs that pass there:
#
# $$\mathbf x'_t = \mathbb E[\, \epsilon - \mathbf x_0 \mid \mathbf x_t \,] = \epsilon^\star - \mathbf x^\star, \qquad \epsilon^\star = \frac{\mathbf x_t - (1 - t)\, \mathbf x^\star}{t}$$
#
# Nothing in chapter 7's argument asked for cosine and sine: a cloud that follows this velocity has at every $t$ the
# density of the noisy points. So noise that walks against it, from $t = 1$ down to 0, arrives as data. That is
# **flow matching** {cite:p}`lipman2023flow,liu2023rectified,albergo2023interpolants`. A curve that goes from data to
# noise is given by $\alpha_t$, $\sigma_t$ and their slopes; here are the straight one, and cosine and sine for
# comparison.

# %%
def straight(t: float) -> tuple[float, float, float, float]:
    """alpha, sigma and their slopes: straight lines at constant speed."""
    return 1 - t, t, -1.0, 1.0


def circle(t: float) -> tuple[float, float, float, float]:
    """Cosine and sine: the angle as a clock, in which v is the velocity up to pi / 2."""
    phi = math.pi / 2 * t
    return math.cos(phi), math.sin(phi), -math.pi / 2 * math.sin(phi), math.pi / 2 * math.cos(phi)


def velocity(mixture: Mixture, x: Tensor, t: float, curve: Callable) -> Tensor:
    """Mean velocity of all noisy points that pass the places x (b, d)."""
    alpha, sigma, alpha_slope, sigma_slope = curve(t)
    x_star = perfect(mixture, x, alpha, sigma)
    return alpha_slope * x_star + sigma_slope * (x - alpha * x_star) / sigma

# %% [markdown]
# Check it by brute force. Take many clean points; the noise that would bring each of them to a given place is known,
# and its density says how likely that pair is.

# %%
many = draw(face, 200_000, torch.Generator().manual_seed(0))
for t, place in ((0.3, torch.tensor([0.4, 0.6])), (0.6, torch.tensor([0.0, 0.0])), (0.8, torch.tensor([-1.0, -0.7]))):
    eps = (place - (1 - t) * many) / t  # of the pair that passes here
    weight = (-eps.square().sum(dim=1) / 2).softmax(dim=0)
    brute, formula = weight @ (eps - many), velocity(face, place[None], t, straight)[0]
    assert_close(formula, brute, atol=0.03, rtol=0)
    by_formula, by_force = ("({:5.2f}, {:5.2f})".format(*value.tolist()) for value in (formula, brute))
    print(f"t = {t}: velocity {by_formula}, mean over pairs {by_force}")

# %% [markdown]
# ## The loss that never sees the velocity
#
# *May be skipped on a first reading.*
#
# A network shall answer the velocity of every place. Nobody knows it, for real data; all you can draw are pairs. So
# let it guess the velocity of the *pair*, which it cannot see:
#
# $$L_{\text{flow}} = \mathbb E_{t,\, \mathbf x_0,\, \epsilon}\, \big\lVert {\color{#b35900}{\hat{\mathbf x}'_\theta}}(\mathbf x_t, t) - (\epsilon - \mathbf x_0) \big\rVert^2$$
#
# Why is that good enough? Put the velocity of the place between the two, and multiply out:
#
# $$L_{\text{flow}} = \mathbb E\, \lVert {\color{#b35900}{\hat{\mathbf x}'_\theta}} - \mathbf x'_t \rVert^2 + \mathbb E\, \lVert \mathbf x'_t - (\epsilon - \mathbf x_0) \rVert^2 + 2\, \mathbb E\, \big( {\color{#b35900}{\hat{\mathbf x}'_\theta}} - \mathbf x'_t \big) \cdot \big( \mathbf x'_t - (\epsilon - \mathbf x_0) \big)$$
#
# Take the last mean first within each place, then over the places. Within a place the first bracket is one fixed
# vector. The second one averages to nothing, because $\mathbf x'_t$ *is* the mean of $\epsilon - \mathbf x_0$ there.
# So the last term is 0. The middle term, the spread of the pairs within a place, has no $\theta$ in it. What is left
# is the loss that you wanted and could not compute: **the two losses have the same gradient**, and differ by a number.
# {cite:t}`lipman2023flow` call this conditional flow matching; it is the argument of chapter 6 for the guess of
# $\mathbf x_0$, told for velocities.
#
# On the mixture both can be computed. Take a network that has learned nothing, and compare.

# %%
class Network(nn.Module):
    """Four layers that see a point x (b, 2), a step or a time t (b,), and what else they are told (b, n)."""

    def __init__(self, told: int = 0, unit: float = 1000.0):
        super().__init__()
        self.frequencies = math.pi / 2 / unit * 2.0 ** torch.arange(5)  # from half a wave to eight over all of t
        hidden = [nn.Linear(12 + told, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU()]
        self.layers = nn.Sequential(*hidden, nn.Linear(128, 2))

    def forward(self, x: Tensor, t: Tensor, *told: Tensor) -> Tensor:
        waves = t[:, None] * self.frequencies
        return self.layers(torch.cat([x, waves.sin(), waves.cos(), *told], dim=1))


def gradient(network: Network, loss: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)])

# %%
torch.manual_seed(0)
network, t, apart = Network(unit=1.0), 0.1, {}
all_eps = torch.randn(many.shape, generator=torch.Generator().manual_seed(1))
for count in (200, 2000, 20_000, 200_000):
    lengths = []
    for i in range(min(8, 200_000 // count)):  # several draws, for their mean
        x0, eps = (part[i * count : (i + 1) * count] for part in (many, all_eps))
        x_t = (1 - t) * x0 + t * eps
        place, guess = velocity(face, x_t, t, straight), network(x_t, torch.full((count,), t))
        by_pairs, by_places = ((guess - aim).square().sum(dim=1).mean() for aim in (eps - x0, place))
        spread = (place - (eps - x0)).square().sum(dim=1).mean()
        blind, seeing = gradient(network, by_pairs), gradient(network, by_places)
        lengths.append(((blind - seeing).norm() / seeing.norm()).item())
    apart[count] = np.mean(lengths)
    told = f"loss of pairs {by_pairs:.2f}, of places {by_places:.2f}, spread {spread:.2f}"
    print(f"{count:6d} pairs: {told}; the gradients differ by {apart[count]:.1%}")
assert abs(by_pairs - by_places - spread) < 0.03 and apart[200_000] < 0.05 < 0.1 < apart[200]

# %% [markdown]
# The sum holds to the luck of the draw, and the gradients come together as the pairs become more. A training sums its
# gradients over some thousand batches, so the blind loss teaches what the seeing one would. It pays with the spread:
# that part of the loss never goes down, and every single gradient is noisier for it.

# %% [markdown]
# ## The same network in another clock
#
# Is a network that answers this velocity another model than the one of chapter 9? Divide a straight point by
# $\sqrt{(1 - t)^2 + t^2}$. What comes out is a point of cosine and sine, at the angle where noise and data have the
# same ratio:
#
# $$\frac{\mathbf x_t}{\sqrt{(1 - t)^2 + t^2}} = \cos\varphi_t\, \mathbf x_0 + \sin\varphi_t\, \epsilon, \qquad \tan\varphi_t = \frac{t}{1 - t} = \kappa_t$$
#
# So both curves pass through the same places, up to a known factor, and at each of them the same guess
# $\mathbf x^\star$ is right. A network of our chain *is* a network of flow matching, asked through another window:
# scale the place, ask for $\mathbf x_0$ and $\epsilon$, take the difference. Read from the chain's side,
# $t = \sin\varphi_t / (\cos\varphi_t + \sin\varphi_t)$, and the factor is one over that sum.

# %%
def as_velocity(process: lfdm.GaussianDiffusion, denoise: Callable) -> Callable:
    """A network of the library's process, whatever it answers, as one of straight paths: (x, step) -> velocity."""

    def answer(x: Tensor, step: Tensor) -> Tensor:
        alpha, sigma = process.at(step, x)  # cosine and sine of the angle
        x0, eps = process.to_x0_eps((alpha + sigma) * x, step, denoise((alpha + sigma) * x, step))
        return eps - x0

    return answer


ANSWERS = ("x0", "eps", "v")
chains = {name: lfdm.GaussianDiffusion(lfdm.DiffusionConfig(parameterization=name)) for name in ANSWERS}
process = chains["v"]  # from here on


def perfect_answer(chain: lfdm.GaussianDiffusion, mixture: Mixture = face) -> Callable:
    """A "network" that answers what the chain's parameterization asks for."""

    def denoise(x: Tensor, step: Tensor) -> Tensor:
        x_star = perfect(mixture, x, chain.alpha[step], chain.sigma[step])
        return chain.target(x_star, (x - chain.alpha[step, None] * x_star) / chain.sigma[step, None], step)

    return denoise

# %%
for step in (150, 500, 850):
    alpha, sigma = process.alpha[step].item(), process.sigma[step].item()
    t = sigma / (alpha + sigma)
    x, steps = (1 - t) * true_a + t * true_b, torch.full((2000,), step)  # any points will do
    flow = velocity(face, x, t, straight)
    off = {name: as_velocity(chain, perfect_answer(chain))(x, steps) - flow for name, chain in chains.items()}
    off = {name: value.abs().max().item() for name, value in off.items()}
    assert max(off.values()) < 1e-3 and flow.shape == x.shape
    told = ", ".join(f"{name} {value:.4f}" for name, value in off.items())
    print(f"step {step}, t = {t:.3f}: mean speed {flow.norm(dim=1).mean():.2f}; largest differences: {told}")

# %% [markdown]
# And the sampler of flow matching? Its plainest is Euler's: go straight along the velocity. Write $\mathbf x_t$ as
# $(1 - t)\, \mathbf x^\star + t\, \epsilon^\star$, which is how $\epsilon^\star$ was defined, and see what the step does:
#
# $$\mathbf x_{\text{next}} = \mathbf x_t + (t_{\text{next}} - t)\, (\epsilon^\star - \mathbf x^\star) = (1 - t_{\text{next}})\, \mathbf x^\star + t_{\text{next}}\, \epsilon^\star$$
#
# Guess the clean point and the noise, and mix them again with less noise: **that is DDIM.** On the same levels the
# two do not differ at all.

# %%
g = torch.Generator().manual_seed(13)
noise = torch.randn(2000, 2, generator=g)
path = [*samplers.timesteps(1000, 6), -1]
alpha, sigma = [*process.alpha.tolist(), 1.0], [*process.sigma.tolist(), 0.0]  # at index -1: clean data
times = [sigma[step] / (alpha[step] + sigma[step]) for step in path]

x = noise / (alpha[999] + sigma[999])  # where the chain starts, on the straight path
for (step, t), (_, t_next) in pairwise(zip(path, times, strict=True)):
    x = x + (t_next - t) * as_velocity(process, perfect_answer(process))(x, torch.full((2000,), step))
setting = dict(sampler="ddim", steps=6, noise=[noise], progress=False)
theirs = samplers.sample(process, perfect_answer(process), (2000, 2), **setting)
assert_close(x, theirs, atol=1e-4, rtol=1e-4)
print("t of six steps of the chain:", [round(t, 2) for t in times])
moved = (theirs - noise).norm(dim=1).mean()
print(f"Euler in t ends at most {(x - theirs).abs().max():.4f} from DDIM; the points have moved by {moved:.2f}")

# %% [markdown]
# So flow matching is no other model and no other solver. What it brings is three *choices*: which levels a sampler
# visits (even strides in $t$, where ours are even in the steps of the chain), how errors at different levels are
# weighed in training (chapter 6 has the factor), and which pairs of noise and data are joined. The first choice comes
# next, the third after it.

# %% [markdown]
# ## When is a path straight?
#
# Euler's step is exact where the velocity does not change along the path. The line of one pair is straight by
# construction. The path of a place, which follows the *mean* velocity, need not be. Three cases you can solve.
#
# **One point.** If the data are a single point, every pair that passes a place has the same $\epsilon$ there. The mean
# is over equal things, the path is the line, and one step of Euler is exact.
#
# **One blob.** For data $\mathcal N(\mu, \tau^2 I)$ chapter 7 has the flow in closed form. In the straight clock,
# a noise $\epsilon$ at $t = 1$ moves to
#
# $$\mathbf x_t = (1 - t)\, \mu + \sqrt{(1 - t)^2\, \tau^2 + t^2}\; \epsilon, \qquad \text{at last}\quad \mathbf x_0 = \mu + \tau\, \epsilon$$
#
# The root is a straight line in $t$ for $\tau = 0$ alone. Along cosine and sine it is $\sqrt{\cos^2\varphi_t\, \tau^2 +
# \sin^2\varphi_t}$, which is constant for $\tau = 1$. So *which clock is straighter depends on the data*: a point
# likes straight lines, data as wide as the noise like the circle. The figure further down says what lies between.
#
# **Ten blobs.** Far out a face looks like one wide blob around 0, near the data like ten narrow ones. No clock is right
# for both. Turn the number of steps.

# %%
def euler(mixture: Mixture, x: Tensor, curve: Callable, steps: int) -> Tensor:
    """Every place on the way from noise to data in even strides of t, (steps + 1, b, d)."""
    places = [x]
    for t, t_next in pairwise(torch.linspace(1, 0, steps + 1).tolist()):
        places.append(places[-1] + (t_next - t) * velocity(mixture, places[-1], t, curve))
    return torch.stack(places)


CURVES = {"straight lines": straight, "cosine and sine": circle}
ends_off, starts = {}, noise[:500].double()
ideal = euler(face, starts, circle, 1000)[-1]  # as good as the ODE's end
assert (euler(face, starts, straight, 1000)[-1] - ideal).norm(dim=1).mean() < 0.02  # both lead there


def walks(steps: int) -> plt.Figure:
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 4.5))
    for ax, (name, curve) in zip(axes, CURVES.items(), strict=True):
        way = euler(face, starts, curve, steps)
        ends_off[name, steps] = (way[-1] - ideal).norm(dim=1).mean().item()
        contours(ax, f"{name}: {ends_off[name, steps]:.2f} off")
        ax.plot(*way[:, :40].permute(2, 0, 1), "-", color="0.6", linewidth=0.8)
        ax.plot(*way[0, :40].T, "o", color="k", fillstyle="none", markersize=4)
        ax.plot(*way[-1, :200].T, "o", color=KNOWN, markersize=3, linestyle="none")
    return fig

# %%
def walks_in_words(steps: int) -> str:
    off = [f"{ends_off[name, steps]:.2f} off on {name}" for name in CURVES]
    return f"Forty walks of {steps} steps, from hollow starts to full ends, on contours of the face: {', '.join(off)}"


strides = viz.dial(walks, alt=walks_in_words, steps=[1, 2, 5, 10])
for name in CURVES:
    print(f"{name:16}", ", ".join(f"{n} steps {ends_off[name, n]:.2f} off" for n in (1, 2, 5, 10)))
one = euler(face, starts, straight, 1)[-1]
assert one.norm(dim=1).max() < 1e-3 < 0.5 < ends_off["straight lines", 1]
assert ends_off["cosine and sine", 5] < ends_off["straight lines", 5]
strides

# %% [markdown]
# *Hollow: forty starts. Full: where two hundred walks end. Above each panel the mean distance from the ODE's ends. In
# one step all walks of the left panel end in one point: at $t = 1$ the place says nothing of the data, the best guess
# is their mean, and the velocity leads there.*
#
# The paths on the left all run inwards first, and fan out late. The beginning is the same for every data set, since at
# $t = 1$ the velocity of every place leads to the mean of the data: straight *pairs* do not make straight *paths*,
# where pairs cross.

# %%
widths = torch.linspace(0, 1.2, 61).tolist()
on_blob = {name: [] for name in CURVES}
for width in widths:
    blob = Mixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([width]))  # around 0, as the face is
    for name, curve in CURVES.items():
        end = euler(blob, starts, curve, 4)[-1]
        on_blob[name].append((end - width * starts).norm(dim=1).mean().item())
crossing = next(width for width, a, b in zip(widths, *on_blob.values(), strict=True) if a > b)

counts = [2, 3, 5, 10, 20, 40]
error_of = lambda end: (end - ideal).norm(dim=1).mean().item()
on_face = {name: [error_of(euler(face, starts, curve, n)[-1]) for n in counts] for name, curve in CURVES.items()}
setting = dict(shape=(500, 2), sampler="dpm++", noise=[noise[:500]], progress=False)
solver = lambda n: samplers.sample(process, perfect_answer(process), steps=n, **setting)
on_face["DPM-Solver++"] = [error_of(solver(n)) for n in counts]
for name, values in on_face.items():
    print(f"{name:16} error on the face:", {n: round(value, 3) for n, value in zip(counts, values, strict=True)})
print(f"one blob, four steps: cosine and sine are nearer from a deviation of {crossing:.2f} on")

# %% mystnb={"image": {"alt": "Left: error of four steps on one blob over its deviation. That of straight lines rises steadily from 0 to above 0.4; that of cosine and sine is below 0.1 throughout, and 0 at deviation 1. Right: error on the face over steps on logarithmic axes; cosine and sine lies below straight lines everywhere, DPM-Solver++ starts with the latter and ends near the former."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8))
for (name, values), marker in zip(on_face.items(), "sov", strict=True):
    if name in on_blob:
        left.plot(widths, on_blob[name], marker=marker, markevery=10, label=name)
    right.loglog(counts, values, marker=marker, label=name)
left.set(xlabel=r"deviation $\tau$ of the blob", ylabel="error of 4 steps", title="one blob, exact flow")
right.set(xlabel="steps", ylabel="error", title="face, against 1000 steps", xticks=counts, xticklabels=counts)
right.minorticks_off()
right.legend()
plt.show()
assert on_blob["straight lines"][0] < 1e-3 < 0.02 < on_blob["cosine and sine"][0] and crossing < 0.1
assert on_blob["cosine and sine"][50] < 1e-3  # deviation 1: nothing moves at all
assert all(a > 1.5 * b for a, b in zip(on_face["straight lines"], on_face["cosine and sine"], strict=True))

# %% [markdown]
# *Left: four steps of Euler on one blob. Straight lines are exact for a point, the circle for deviation 1. Right: the
# face, ten narrow blobs that together are as wide as the noise.*
#
# The advantage of straight lines is gone as soon as the blob has any width to speak of: whatever is spread is badly
# served by a path on which all points first run together. On the face the circle wins at every number of steps, even
# against DPM-Solver++ in the library's strides. Do not take that for a law. Our data are scaled to the variance of the
# noise, which suits the circle; another data set can turn it round. What it does say: "straight" is a property of
# pairs, and no promise for paths.

# %% [markdown]
# ### Which pairs are joined
#
# *May be skipped on a first reading.*
#
# The third choice. So far each noise was paired with a clean point by dice, and lines cross wherever they like. Pair
# them otherwise and you get other paths. On a line you can see all of it: two blobs, and three ways of joining noise
# to data.

# %% mystnb={"image": {"alt": "Three panels, noise at the left and data at the right. By dice: straight lines that cross each other all over. ODE: curves that never cross, run towards the middle and then part to two bands. Joined again: straight lines from the same starts to the same ends, none of which cross."}}
pair = Mixture(torch.tensor([0.35, 0.65]), torch.tensor([[-1.2], [0.7]]), torch.tensor([0.25, 0.25]))
first = torch.randn(1000, 1, generator=g)
by_dice = torch.stack([first, draw(pair, 1000, g)])
walked = euler(pair, first, straight, 200)
joined = torch.stack([first, walked[-1]])  # the same starts and ends, by straight lines


def swapped(path: Tensor) -> float:
    """Share of the pairs of points that end in the opposite order."""
    order = lambda x: torch.sign(x - x.T)
    return (order(path[0]) != order(path[-1])).float().mean().item()


fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.6), sharey=True)
for ax, (name, path) in zip(axes, {"by dice": by_dice, "ODE": walked, "joined again": joined}.items(), strict=True):
    ax.plot(torch.linspace(1, 0, len(path)), path[:, ::33, 0], "-", color=KNOWN, linewidth=0.9)
    ax.set(xlabel="t, data at the right", xlim=(1, 0), ylim=(-3, 3), title=name)
    left_share = (path[-1] < -0.25).float().mean()
    print(f"{name:12}: {swapped(path):.0%} of the pairs cross, {left_share:.0%} end in the left blob")
axes[0].set_ylabel("x")
plt.show()
assert swapped(by_dice) > 0.4 and swapped(walked) == swapped(joined) == 0

# %% [markdown]
# *Thirty of a thousand points each. Left: pairs by dice. Middle: the mean velocity of those pairs, walked in 200 steps.
# Right: each start joined to where the middle panel brought it. All three have noise at one end and the data at the
# other.*
#
# In the right panel no two lines cross, so through each place goes one line, and *its* velocity is the mean: the paths
# are straight, and one step of Euler is exact. A network that learns from these pairs needs one step. That is the idea
# of **rectified flow** {cite:p}`liu2023rectified`: train, walk, join the starts to their ends, train again. In a plane
# joined lines can still cross, only less, and each further round learns from ends that a network has walked to, its
# errors included. (You try it in exercise 6.) Keep the price in mind: someone must have walked the long way for every
# pair.

# %%
dice_end = first - (first - pair.rho @ pair.mu)  # one step from t = 1, where the mean velocity is eps - mean
joined_end = first - (first - joined[1])
assert_close(dice_end, euler(pair, first, straight, 1)[-1], atol=1e-5, rtol=0)
for name, end in {"the data": by_dice[1], "one step, by dice": dice_end, "one step, joined": joined_end}.items():
    print(f"{name:18} deviation of the ends {end.std():.2f}")
assert dice_end.std() < 1e-4 and abs(joined_end.std() / by_dice[1].std() - 1) < 0.06

# %% [markdown]
# ## A student
#
# From here on a level $t$ is again a step of the library's chain. Fewer passes can be had by better solvers, which
# was chapter 7, or by *training*: a **student** learns to answer in one pass what a **teacher** takes several for. The
# teacher is a finished model; the student is a network of the same kind which begins with the teacher's weights, and
# hears from the teacher what is right. The data are noised as before; only what is right at a noisy place is no longer
# read from the clean point, but from the teacher's answers. (The perfect denoiser has no weights to begin with: our small
# students of guidance begin from nothing, those that leap from a network that imitates it.)
#
# All students of this chapter learn by one loss. The teacher hands over a guess of the clean point, $\mathbf
# x_{\text{aim}}$; the student answers $\mathbf v$, and the error is counted in $\mathbf v$:
#
# $$L = \mathbb E\, \big\lVert {\color{#b35900}{\hat{\mathbf v}_\theta}}(\mathbf x_t, t) - \mathbf v_{\text{aim}} \big\rVert^2, \qquad \mathbf v_{\text{aim}} = \alpha_t\, \frac{\mathbf x_t - \alpha_t\, \mathbf x_{\text{aim}}}{\sigma_t} - \sigma_t\, \mathbf x_{\text{aim}}$$
#
# The students differ in what they are told to aim at, and in nothing else.

# %%
def distillation_loss(diffusion, student: Callable, x_t: Tensor, t: Tensor, x0: Tensor) -> Tensor:
    """Mean squared error of the student's answer at x_t, `x0` being what the teacher makes of it."""
    alpha, sigma = diffusion.at(t, x_t)
    aim = diffusion.target(x0, (x_t - alpha * x0) / sigma, t)
    return (student(x_t, t) - aim).square().mean()


def train(network: Network, lesson: Callable, steps: int, generator: torch.Generator, lr=2e-3, after=None) -> Network:
    """Adam on what a lesson says: places, steps, the guesses that are right there, and what the network is told."""
    optimizer = torch.optim.Adam(network.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x_t, t, aim, *told = lesson(generator)
        loss = distillation_loss(process, lambda x, t, told=told: network(x, t, *told), x_t, t, aim)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if after is not None:
            after()
    return network

# %%
x, steps, silent = true_a[:64], 100 + 14 * torch.arange(64), lambda x, t: 0 * x
for chain in chains.values():
    losses = distillation_loss, distillation.distillation_loss
    ours, theirs = (loss(chain, silent, x, steps, true_b[:64]) for loss in losses)
    assert_close(ours, theirs)
    alpha, sigma = chain.at(steps, x)
    right = chain.target(true_b[:64], (x - alpha * true_b[:64]) / sigma, steps)
    assert distillation_loss(chain, lambda x, t, right=right: right, x, steps, true_b[:64]) < 1e-8
print(f"loss of a student that answers 0: {ours:.2f}, by the library {theirs:.2f}; of one that answers the aim: 0")

# %% [markdown]
# ## Guidance in one pass
#
# Classifier-free guidance asks twice at each step, with the label and without, so half of all passes go into it. A
# student can learn the sum {cite:p}`meng2023guided`. It is told the label $y$ and the scale $s$, as one more number,
# and aims at what the two answers make together:
#
# $$\mathbf x_{\text{aim}} = \mathbf x_\varnothing + s\, (\mathbf x_y - \mathbf x_\varnothing)$$
#
# $s$ is drawn anew for each example, from 1 to 4 here, so that one network knows a whole range of scales. In the
# library `student_of` adds that number to a denoiser, and sets the last layer of its embedding to zero, so that a
# fresh student answers what its teacher does without guidance. Look at that first, on the model of chapter 9:

# %%
model = lfdm.LFDM.from_pretrained(lfdm.asset() / "checkpoints" / "faces64")
fresh = distillation.student_of(model.unet, (1.0, 4.0)).eval()
picture = Faces("val", num_frames=2, length=1)[0]["video"][None, :, 0]
motion = torch.randn(1, 3, 16, 32, 32, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    features, unknown = model.autoencoder.encode(picture), torch.full((1, 2), math.nan)
    asked = motion, torch.tensor([600]), features, torch.tensor([5])
    plain = model.unet(*asked, unknown)
    told = {s: fresh(*asked, torch.cat([unknown, torch.tensor([[s]])], dim=1)) for s in (1.0, 4.0)}
for s, answer in told.items():
    sizes = answer.abs().mean(), plain.abs().mean()
    print("a fresh student told {}: mean size of its answer {:.3f}, of the teacher's {:.3f}".format(s, *sizes))
    assert_close(answer, plain)
for who, network in {"teacher": model.unet, "student": fresh}.items():
    print(f"what the {who} is told beside the label:", ", ".join(number.name for number in network.config.numbers))

# %% [markdown]
# Now the lesson, on the face. Labels are eyes, freckle and mouth, as in chapter 7. The teacher is the perfect denoiser,
# asked twice; the student is a small network, told the label as three numbers and the scale as a fourth.

# %%
part = torch.tensor([0, 0, 1] + 7 * [2])  # which part each blob belongs to
NAMES, NONE, SCALES = ("eyes", "freckle", "mouth"), 3, (1.0, 4.0)


def knows(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
    """The perfect v of a label; of the whole face for NONE."""
    allowed = (label[:, None] == part) | (label[:, None] == NONE)
    alpha, sigma = process.at(t, x)
    return (alpha * x - perfect(face, x, alpha[:, 0], sigma[:, 0], allowed)) / sigma


def asked_twice(x: Tensor, t: Tensor, label: Tensor, s: Tensor) -> Tensor:
    with_label, without = knows(x, t, label), knows(x, t, torch.full_like(label, NONE))
    return without + s[:, None] * (with_label - without)


def as_numbers(label: Tensor, s: Tensor) -> Tensor:
    """What the student is told: (b, 4)."""
    return torch.cat([nn.functional.one_hot(label, 3).float(), (s[:, None] - 2.5) / 1.5], dim=1)


# %%
def guidance_lesson(g: torch.Generator, count: int = 256):
    k = torch.multinomial(face.rho, count, replacement=True, generator=g)
    x0 = face.mu[k] + face.tau[k, None] * torch.randn(count, 2, generator=g)
    t, s = torch.randint(1000, (count,), generator=g), 1 + 3 * torch.rand(count, generator=g)  # from 1 to 4
    x_t = process.add_noise(x0, t, torch.randn(count, 2, generator=g))
    aim, _ = process.to_x0_eps(x_t, t, asked_twice(x_t, t, part[k], s))
    return x_t, t, aim, as_numbers(part[k], s)

# %% [markdown]
# Training it takes a few seconds, and so do the students further down; three seeds of each are recorded in
# `assets/chapters/10`, and `RETRAIN` trains them again. What is measured: the mean distance of the student's points
# from the teacher's, from the same noise, at scales inside the range that it was taught, and outside.

# %%
RETRAIN = False  # True trains all students again: a good minute of one CPU core
RECORDED = lfdm.asset() / "chapters" / "10"
SEEDS, ASKED = (0, 1, 2), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)


def recorded(name: str, experiment: Callable[..., dict], **setting) -> dict[str, Tensor]:
    """The stored tensors of an experiment; if it was done with another setting, it is done again."""
    path, recipe = RECORDED / f"{name}.safetensors", RECORDED / f"{name}.json"
    known = json.loads(recipe.read_text()) if recipe.exists() and path.exists() else {}
    if RETRAIN or known.get("setting") != json.loads(json.dumps(setting)):
        began = time.process_time()
        found = {key: value.contiguous() for key, value in experiment(**setting).items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(found, path)
        known = {"experiment": experiment.__name__, "setting": setting, "torch": torch.__version__}
        recipe.write_text(json.dumps(known | {"cpu_seconds": round(time.process_time() - began)}, indent=1) + "\n")
    return load_file(path)


@torch.no_grad()
def sampled(denoise: Callable, steps: int, sampler: str = "ddim", count: int = 2000) -> Tensor:
    setting = dict(sampler=sampler, steps=steps, noise=[noise[:count]], progress=False)
    return samplers.sample(process, denoise, (count, 2), **setting)

# %%
def guided_points(denoise: Callable, y: int, s: float, count: int = 1000) -> Tensor:
    """Points of label y at scale s, in ten steps; `denoise` takes (x, t, label, s)."""
    label, scale = torch.full((count,), y), torch.full((count,), s)
    return sampled(lambda x, t: denoise(x, t, label, scale), 10, "dpm++", count)


def in_one_pass(network: Network) -> Callable:
    return lambda x, t, label, s: network(x, t, as_numbers(label, s))


def guidance_experiment(steps: int, seeds: list[int], scales: list[float]) -> dict[str, Tensor]:
    """Distances of students' points from the teacher's (seeds, labels, scales); the first student, in half precision."""
    off, weights = torch.zeros(len(seeds), 3, len(scales)), {}
    for i, seed in enumerate(seeds):
        torch.manual_seed(seed)
        student = train(Network(told=4), guidance_lesson, steps, torch.Generator().manual_seed(100 + seed), lr=5e-3)
        for y in range(3):
            for j, s in enumerate(scales):
                apart = guided_points(in_one_pass(student), y, s) - guided_points(asked_twice, y, s)
                off[i, y, j] = apart.norm(dim=1).mean()
        weights = weights or {f"student.{name}": value.half() for name, value in student.state_dict().items()}
    return {"off": off} | weights

# %%
taught = recorded("guidance", guidance_experiment, steps=2000, seeds=list(SEEDS), scales=list(ASKED))
student = Network(told=4)
student.load_state_dict({name[8:]: value.float() for name, value in taught.items() if name.startswith("student.")})
by_teacher = {(y, s): guided_points(asked_twice, y, s) for y in range(3) for s in ASKED}
moved = lambda y, s: (by_teacher[y, s] - by_teacher[y, 1.0]).norm(dim=1).mean()  # by guidance
ignored = torch.tensor([[moved(y, s) for s in ASKED] for y in range(3)])
now = (guided_points(in_one_pass(student), 2, 2.0) - by_teacher[2, 2.0]).norm(dim=1).mean()
assert abs(now - taught["off"][0, 2, ASKED.index(2.0)]) < 0.01  # what was recorded is what this student does
print(f"{'at the scale':31}", "".join(f"{s:6g}" for s in ASKED))
for y in (0, 2):
    rows = {"guidance moves points by": ignored[y], "student's distance": taught["off"][:, y].mean(dim=0)}
    for title, row in rows.items():
        print(f"{NAMES[y]:6} {title:24}", "".join(f"{value:6.2f}" for value in row))
# %% mystnb={"image": {"alt": "Error over guidance scale, a grey band from 1 to 4. Dashed, rising from 0: what guidance moves, for eyes and mouth. Full, near the bottom within the band and rising outside of it: the distance of three students from their teacher."}}
fig, ax = plt.subplots(figsize=(8, 3.6))
ax.axvspan(*SCALES, color="0.93", label="taught")
for y, marker in ((0, "s"), (2, "o")):
    look = dict(color="0.4", marker=marker, fillstyle="none")
    ax.plot(ASKED, ignored[y], "--", label=f"{NAMES[y]}: guidance left out", **look)
    ax.plot(ASKED, taught["off"][:, y].mean(dim=0), "-", color=LEARNED, marker=marker, label=f"{NAMES[y]}: student")
    ax.plot(ASKED, taught["off"][:, y].T, ".", color=LEARNED, markersize=3)
ax.set(xlabel="guidance scale s", ylabel="distance from the teacher's points", xticks=range(1, 9))
ax.legend()
plt.show()
inside = [ASKED.index(s) for s in (2.0, 3.0, 4.0)]
assert (taught["off"][:, [0, 2]][:, :, inside] < 0.35 * ignored[[0, 2]][:, inside]).all()
assert (taught["off"][:, [0, 2], -1] > 2 * taught["off"][:, [0, 2], ASKED.index(3.0)]).all()

# %% [markdown]
# *Mean of three seeds, small points each of them. Dashed: how far guidance moves the points at all, which is the error
# of a network that leaves it out. From scale 2 on and within the band the student keeps to a fifth of that or less.
# At $s = 1$ there is no guidance to learn, and what you see is the student's own slip as a network. Beyond the band it
# gets lost.*
#
# Turn the scale; see both clouds side by side.

# %%
apart_at = {}


def side_by_side(s: float) -> plt.Figure:
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 4.5))
    theirs, ours = guided_points(asked_twice, 2, s), guided_points(in_one_pass(student), 2, s)
    apart_at[s] = [points.std(dim=0).mean().item() for points in (theirs, ours)]
    cloud(axes[0], theirs, "asked twice a step")
    cloud(axes[1], ours, f"student, once: {(ours - theirs).norm(dim=1).mean():.2f} off", learned=True)
    return fig


def side_in_words(s: float) -> str:
    spread, other = apart_at[s]
    return f"Two scatter plots of the mouth at scale {s:g}: spread {spread:.2f} by teacher, {other:.2f} by student"


pair_of = viz.dial(side_by_side, alt=side_in_words, reach={"s": (1.0, 8.0)}, s=[1.0, 4.0, 8.0])
print("scale, and spread by teacher and student:", {s: f"{a:.2f}, {b:.2f}" for s, (a, b) in apart_at.items()})
assert all(abs(a - b) < 0.05 for s, (a, b) in apart_at.items() if s <= 4)
pair_of

# %% [markdown]
# *The mouth in ten steps: left twenty passes, right ten. The student narrows the cloud as its teacher does: it learns
# what guidance does, the loss of diversity included.*

# %% [markdown]
# ## Steps halved
#
# The second way to spare passes: one long step in place of two short ones {cite:p}`salimans2022distillation`. Let the
# teacher walk from $t$ by a middle level to the next, by DDIM. Where does the student have to aim, so that *its one
# step* of DDIM ends there as well? DDIM mixes the guess with the noise that it implies:
#
# $$\mathbf x_{\text{next}} = \alpha_{\text{next}}\, \mathbf x_{\text{aim}} + \sigma_{\text{next}}\, \frac{\mathbf x_t - \alpha_t\, \mathbf x_{\text{aim}}}{\sigma_t}$$
#
# Everything but $\mathbf x_{\text{aim}}$ is known, so solve for it:
#
# $$\mathbf x_{\text{aim}} = \frac{\mathbf x_{\text{next}} - \frac{\sigma_{\text{next}}}{\sigma_t}\, \mathbf x_t}{\alpha_{\text{next}} - \frac{\sigma_{\text{next}}}{\sigma_t}\, \alpha_t}$$
#
# A student that hits it takes half of the steps and ends at the same places. It becomes the teacher of the next one,
# and the steps are halved again: 32, 16, 8, 4, 2, 1. That is **progressive distillation**.

# %%
def levels(diffusion, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma of each example's step, to multiply `like`; step -1 is clean data, with 1 and 0."""
    alpha, sigma = torch.where(t < 0, 1.0, diffusion.alpha[t]), torch.where(t < 0, 0.0, diffusion.sigma[t])
    return tuple(part.view(-1, *[1] * (like.ndim - 1)) for part in (alpha, sigma))


def follow(diffusion, denoise: Callable, x_t: Tensor, path: list[Tensor]) -> Tensor:
    """Where DDIM leads from path[0] by way of all others to path[-1]; every example has its own path."""
    for t, t_next in pairwise(path):
        x0, eps = diffusion.to_x0_eps(x_t, t, denoise(x_t, t))
        alpha, sigma = levels(diffusion, t_next, x_t)
        x_t = alpha * x0 + sigma * eps
    return x_t


def one_step_target(diffusion, x_t: Tensor, x_next: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
    """The guess with which one step of DDIM leads from x_t to x_next."""
    (alpha, sigma), (alpha_next, sigma_next) = levels(diffusion, t, x_t), levels(diffusion, t_next, x_t)
    ratio = sigma_next / sigma
    return (x_next - ratio * x_t) / (alpha_next - ratio * alpha)

# %%
teacher, x = perfect_answer(process), noise[:300]
t, middle, t_next = (torch.full((300,), step) for step in (700, 500, 300))
for last in (t_next, torch.full((300,), -1)):
    x_next = follow(process, teacher, x, [t, middle, last])
    aim = one_step_target(process, x, x_next, t, last)
    assert_close(x_next, distillation.follow(process, teacher, x, [t, middle, last]))
    assert_close(aim, distillation.one_step_target(process, x, x_next, t, last))
    alpha, sigma = process.at(t, x)
    answer = process.target(aim, (x - alpha * aim) / sigma, t)  # a student that hits it
    leap = follow(process, lambda x, t, answer=answer: answer, x, [t, last])
    assert_close(leap, x_next, atol=1e-4, rtol=1e-3)
    long = follow(process, teacher, x, [t, last])  # the teacher's own step of that length
    off = [(end - x_next).norm(dim=1).mean().item() for end in (long, leap)]
    told = f"the teacher's one long step is {off[0]:.2f} off its two, the leap {off[1]:.4f}"
    print(f"from step 700 to {int(last[0]):3d}: {told}")
stand = one_step_target(process, x, follow(process, lambda x, t: 0 * x, x, [t, t_next]), t, t_next)
assert_close(stand, process.alpha[700] * x)  # an answer v = 0 all the way aims at alpha x

# %% [markdown]
# ### One guess for the whole path
#
# Halving learns five students for one. **Consistency** {cite:p}`song2023consistency` asks for the end at once: along
# a path of the ODE all places lead to the same end, so the guess of that end should be the same at neighbouring
# places. Walk one short step with the teacher, and aim at what the student itself says there:
#
# $$\mathbf x_{\text{aim}} = \hat{\mathbf x}_{\theta^-}(\mathbf x_{\text{next}}, t_{\text{next}}), \qquad \text{at clean data}\quad \mathbf x_{\text{aim}} = \mathbf x_{\text{next}}$$
#
# $\theta^-$ is a slow average of the student's own weights, without a gradient. The truth enters at the end of the
# path alone, where nothing has to be guessed, and spreads from there, level by level, to the noise. (In $\mathbf v$
# that end is built in: at $\sigma_t = 0$ the guess $\alpha_t \mathbf x_t - \sigma_t \hat{\mathbf v}_\theta$ is
# $\mathbf x_t$, whatever the network says.) One student serves any number of passes: guess, put fresh noise on the
# guess at a lower level, guess again.

# %%
SHORT = torch.tensor([*samplers.timesteps(1000, 32), -1])  # the teacher's 32 steps, and clean data


def noisy(t: Tensor, g: torch.Generator) -> Tensor:
    return process.add_noise(draw(face, len(t), g), t, torch.randn(len(t), 2, generator=g))


def plain_lesson(g: torch.Generator, count: int = 256):
    """The perfect guess, at any step: what both kinds of students start from."""
    t = torch.randint(1000, (count,), generator=g)
    x_t = noisy(t, g)
    return x_t, t, perfect(face, x_t, process.alpha[t], process.sigma[t])


def halving_lesson(g: torch.Generator, teacher: Callable, steps: int, count: int = 256):
    """Of a student that takes half of the teacher's steps."""
    path, i = torch.tensor([*samplers.timesteps(1000, steps), -1]), 2 * torch.randint(steps // 2, (count,), generator=g)
    t, middle, t_next = path[i], path[i + 1], path[i + 2]
    x_t = noisy(t, g)
    with torch.no_grad():
        x_next = follow(process, teacher, x_t, [t, middle, t_next])
    return x_t, t, one_step_target(process, x_t, x_next, t, t_next)

# %%
def consistency_lesson(g: torch.Generator, slow: Network, count: int = 256):
    """Of a student that shall guess at t what it guesses one short step further on."""
    i = torch.randint(32, (count,), generator=g)
    t, t_next = SHORT[i], SHORT[i + 1]
    x_t = noisy(t, g)
    with torch.no_grad():
        x_next = follow(process, perfect_answer(process), x_t, [t, t_next])
        there = t_next.clamp(min=0)
        guess, _ = process.to_x0_eps(x_next, there, slow(x_next, there))
    return x_t, t, torch.where(t_next[:, None] < 0, x_next, guess)


# %%
def halved(network: Network, steps: int, g: torch.Generator) -> dict[int, Network]:
    """Students of 16, 8, 4, 2 and 1 passes, with a fifth of the training each."""
    found, teacher = {}, perfect_answer(process)
    for passes in (16, 8, 4, 2, 1):
        lesson = lambda g, teacher=teacher, passes=passes: halving_lesson(g, teacher, 2 * passes)
        network = train(network, lesson, steps // 5, g)
        found[passes] = teacher = copy.deepcopy(network)
    return found


def consistent(network: Network, steps: int, g: torch.Generator, decay: float = 0.95) -> Network:
    slow = copy.deepcopy(network)
    pairs_of = list(zip(slow.parameters(), network.parameters(), strict=True))
    average = lambda: [mean.data.lerp_(now.data, 1 - decay) for mean, now in pairs_of]
    train(network, lambda g: consistency_lesson(g, slow), steps, g, after=average)
    return slow

# %%
@torch.no_grad()
def renoised(network: Callable, passes: int, g: torch.Generator, x: Tensor = noise) -> Tensor:
    """A consistent student in several passes: guess, fresh noise of a lower level, guess again."""
    x0 = None
    for step in samplers.timesteps(1000, passes):
        t = torch.full((len(x),), step)
        x = x if x0 is None else process.add_noise(x0, t, torch.randn(x.shape, generator=g))
        x0, _ = process.to_x0_eps(x, t, network(x, t))
    return x0


PASSES = (16, 8, 4, 2, 1)
long_way = sampled(perfect_answer(process), 32)  # the teacher's ends, which a student should meet
assert energy_distance(long_way, true_a) < 2 * chance


def both(points: Tensor) -> Tensor:
    """Energy distance to the truth, and mean distance from the teacher's ends."""
    return torch.tensor([energy_distance(points, true_a), (points - long_way).norm(dim=1).mean()])

# %%
def ends_by_passes(start: Network, effort: int, g: torch.Generator) -> dict[str, list[Tensor]]:
    """Clouds of 16, 8, 4, 2 and 1 passes, of both kinds of students after equal training."""
    students = halved(copy.deepcopy(start), effort, g)
    slow = consistent(copy.deepcopy(start), effort, g)
    return {
        "halved": [sampled(students[passes], passes) for passes in PASSES],
        "consistent": [renoised(slow, passes, g) for passes in PASSES],
    }


def leaps_experiment(efforts: list[int], seeds: list[int]) -> dict[str, Tensor]:
    """`both` by seed, effort (steps of training) and passes; clouds of the first seed at the most effort."""
    found = {name: torch.zeros(len(seeds), len(efforts), 5, 2) for name in ("halved", "consistent")}
    found["start"] = torch.zeros(len(seeds), 5, 2)
    for i, seed in enumerate(seeds):
        torch.manual_seed(seed)
        g = torch.Generator().manual_seed(100 + seed)
        start = train(Network(), plain_lesson, 800, g, lr=5e-3)
        found["start"][i] = torch.stack([both(sampled(start, passes, "dpm++")) for passes in PASSES])
        for j, effort in enumerate(efforts):
            for name, clouds in ends_by_passes(start, effort, g).items():
                found[name][i, j] = torch.stack([both(points) for points in clouds])
                if i == 0:
                    found |= {f"{name}.{p}": ends[:1000].half() for p, ends in zip(PASSES, clouds, strict=True)}
    return found

# %%
EFFORTS = (400, 2000)
leaps = recorded("leaps", leaps_experiment, efforts=list(EFFORTS), seeds=list(SEEDS))
print(f"{'energy distance, by passes':33}", "".join(f"{passes:8d}" for passes in PASSES), "  one pass off by")
for name in ("halved", "consistent"):
    for j, effort in enumerate(EFFORTS):
        means = leaps[name][:, j].mean(dim=0)  # over seeds
        told = "".join(f"{near:8.4f}" for near in means[:, 0])
        print(f"{name:10} {effort:4d} steps of training {told}   {means[-1, 1]:.2f}")
plain_ends = {passes: both(sampled(perfect_answer(process), passes, "dpm++")) for passes in PASSES}
told = "".join(f"{near:8.4f}" for near, _ in plain_ends.values())
print(f"{'DPM-Solver++, untaught':33} {told}   {plain_ends[1][1]:.2f}")

# %% mystnb={"image": {"alt": "Left: energy distance over passes, logarithmic. Dotted, the untaught denoiser falls from 1 at one pass to the level of two true clouds at 16. Students of 2000 steps of training are near that level at every number of passes; of those of 400 steps halving ends at 0.004, consistency at 0.07. Right: one pass ends 0.16 against 0.38 off after 400 steps, both 0.08 off after 2000."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4), width_ratios=(1.2, 1))
left.loglog(PASSES, [row[0] for row in plain_ends.values()], "kv:", label="DPM-Solver++, perfect denoiser")
for name, marker, colour in (("halved", "s", "blue"), ("consistent", "o", "orange")):
    for j, (style, fill) in enumerate((("--", "none"), ("-", "full"))):
        look = dict(color=viz.COLOURS[colour], marker=marker, fillstyle=fill, linestyle=style)
        left.loglog(PASSES, leaps[name][:, j, :, 0].mean(dim=0), label=f"{name}, {EFFORTS[j]} steps", **look)
    ends = leaps[name][:, :, -1, 1]  # seeds, efforts; of one pass
    shift = {"halved": 0.95, "consistent": 1.05}[name]
    at, look = [shift * effort for effort in EFFORTS], dict(color=viz.COLOURS[colour], fillstyle="none")
    right.plot(at, ends.mean(dim=0), marker, markersize=9, label=name, **look)
    right.plot(at, ends.T, ".", color=viz.COLOURS[colour])
left.axhline(chance, color="0.5", linestyle=(0, (1, 3)), label="two true clouds")
left.set(xlabel="passes", ylabel="energy distance to the truth", xticks=PASSES, xticklabels=PASSES)
left.minorticks_off()
right.set(xscale="log", xlabel="steps of training", xticks=EFFORTS, xticklabels=EFFORTS, ylim=(0, None))
right.set(ylabel="one pass, distance from the teacher's end")
right.minorticks_off()
left.legend(fontsize=8)
right.legend()
plt.show()
h, c = (leaps[name].mean(dim=0)[:, -1] for name in ("halved", "consistent"))  # one pass, by effort
assert c[0, 0] > 5 * h[0, 0] and max(h[1, 0], c[1, 0]) < 2 * chance and abs(h[1, 1] - c[1, 1]) < 0.02

# %% [markdown]
# *Means of three seeds; on the right the small points are the seeds. Hollow and dashed: 400 steps of training in all,
# full: 2,000. Both kinds started from one network that had learned the perfect guess, and each step of training costs
# both about the same. For halving each mark on the left is a student of its own; for consistency it is one student,
# asked once or more often.*
#
# Both work, here. With 2,000 steps of training one pass of either is at 0.0013 from the truth, where two true clouds are
# at 0.0011, and its points are 0.07 or 0.08 from where the teacher's 32 steps end, where the plain solver with a perfect
# denoiser misses by 1.4. (The energy distance does not see all: of the points of one halved pass 7 in 100 lie off the
# face, of true points 1. The first failure below shows them.)
#
# Which is better? **With little training halving is**, by far: 0.004 against 0.07. Its lessons come straight from the
# teacher, while the truth of consistency has to be handed down through 32 levels of its own guesses. **With more
# training they tie.** More passes do not help a consistent student on these data; each throws fresh noise on a guess
# that was good. What halving pays is four students that only served to teach the last. All of this is two dimensions
# and a perfect teacher. On clips the numbers will be others, and the way to get them the same: equal training, several
# seeds, and the untaught solver beside them.

# %% [markdown]
# ## The rivals: fewer steps without any training
#
# Back to clips. Before a student is worth its training it must beat what costs nothing: taking fewer steps, leaving
# guidance out, or guiding in a part of the steps. The library's `samplers.guided` takes `until`, the least noisy step
# that is still guided; with the first step's number there, one step asks twice and all others once. Chapter 7 says why
# that may suffice: what a sample becomes is decided early, and a label can act only where something is open.
#
# Look first. The same picture, label and noise, three ways:

# %%
@torch.no_grad()
def clip_of(steps: int, scale: float = 1.5, first_alone: bool = False, seed: int = 0) -> Tensor:
    """A clip (3, T, H, W) of the picture above, surprised; guided in all steps, or in the first alone."""
    until = samplers.timesteps(1000, steps)[0] if first_alone else 0
    label, dice = torch.tensor([model.labels.index("surprise")]), torch.Generator().manual_seed(seed)
    denoise = samplers.guided(model.unet, features, label, scale, unknown, until)
    x0 = samplers.sample(model.diffusion, denoise, motion.shape, steps=steps, generator=dice, progress=False)
    return model.autoencoder.decode(picture, model.diffusion.unpack_motion(x0))[0]


ways = {
    "20 guided, 40 passes": dict(steps=20),
    "first guided, 5 passes": dict(steps=4, first_alone=True),
    "plain, 5 passes": dict(steps=5, scale=1.0),
}
shown = {name: clip_of(**way) for name, way in ways.items()}
long_clip, *short = shown.values()
nearness = [-10 * (clip - long_clip)[:, 1:].square().mean().log10().item() for clip in short]
for name, value in zip(list(ways)[1:], nearness, strict=True):
    print(f"{name:24} {value:.1f} dB from the long way's clip")
assert min(nearness) > 24
ALT = "Three clips of a face that becomes surprised: 40 passes, 5 with the first step guided, 5 without guidance"
viz.player(viz.grid_of_clips(torch.stack(list(shown.values())), list(shown), scale=4), alt=ALT, quality=45, scale=1)

# %% [markdown]
# *Press play. Left the long way. The other two take an eighth of its passes. Look at the mouth: without guidance it opens
# less.*
#
# One clip proves nothing. Below are twelve people of the validation split, two of each label, two seeds each:
# `python assets/runs/few_steps/measure.py` made them, in four minutes of one processor. Three things are measured.
# **The same clip?** The PSNR against the long way's, from the same noise. For a ruler: another seed of the long way,
# an equally good answer, and frame 0 repeated. **Diversity**: how far the clips of two seeds are apart, as a share of
# that of the long way. **Motion**: the mean length of the flow that is painted, as a share likewise; and the share of
# it where the long way moves little (0.2 to 1 pixel), and where it moves much (more than 2).

# %%
RUN = lfdm.asset() / "runs" / "few_steps"
plain = json.loads((RUN / "plain.json").read_text())
is_bent = lambda name: len(name.split()) == 3 and not name.endswith("bf16")  # of steps that are not evenly spaced
clips_by = {name: row for name, row in plain["ways"].items() if not is_bent(name)}
bent_by = {name: row for name, row in plain["ways"].items() if is_bent(name)}
if (RUN / "measured.json").exists():  # a fast network of this model, measured by the same script
    clips_by |= json.loads((RUN / "measured.json").read_text())["ways"]
LONG = clips_by["20 all"]


def share(row: dict, key: str) -> float:
    """Of the long way's mean."""
    return np.mean(row[key]) / np.mean(LONG[key])

# %%
def table(rows: dict[str, dict]):
    print(f"{'way':14}passes   same clip, dB      diversity  motion  small  large   read")
    for name, row in rows.items():
        e = intervals.mean_estimate(torch.tensor(row["psnr"]))
        same = "   the same clip  " if name == "20 all" else f"{e.value:5.1f} [{e.low:.1f}, {e.high:.1f}]"
        shares = "".join(f"{share(row, key):8.2f}" for key in ("apart", "motion", "small", "large"))
        print(f"{name:14}{row['passes']:4d}    {same}  {shares}   {np.mean(row['read']):.2f}")


table(clips_by)
rulers = {key: np.mean(plain[f"psnr_of_{key}"]) for key in ("another_seed", "frame_0")}
assert share(clips_by["5 first"], "motion") > 0.95 > 0.9 > share(clips_by["20 none"], "motion")
print("rulers, dB:", ", ".join(f"{key.replace('_', ' ')} {value:.1f}" for key, value in rulers.items()))

# %% mystnb={"image": {"alt": "Left: PSNR over passes. With the first step guided it is highest at each number of passes, from 30.5 dB at 4 passes to 36.6 at 11; all steps guided reach that later; without guidance it stays below 30 and hardly rises. All are above 25, another seed. A star, the fast network, stands far above them at 4 passes and 36 dB. Right: diversity over passes. Both guided families rise from about 0.85 to 0.96, that with one guided step above the other at equal passes; without guidance it is higher still, from 0.93 to 1.10. The star stands at 1.00."}}
FAMILIES = {"all": ("guided", "o", "-"), "first": ("first step guided", "D", "--"), "none": ("no guidance", "s", ":")}
fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4))
for family, (title, marker, style) in FAMILIES.items():
    rows = [row for name, row in clips_by.items() if name.split()[1:] == [family] and name != "20 all"]
    look = dict(marker=marker, linestyle=style, label=title)
    left.plot([row["passes"] for row in rows], [np.mean(row["psnr"]) for row in rows], **look)
    right.plot([row["passes"] for row in rows], [share(row, "apart") for row in rows], **look)
if "fast network" in clips_by:
    fast_row = clips_by["fast network"]
    left.plot(fast_row["passes"], np.mean(fast_row["psnr"]), "*", markersize=14, label="fast network")
    right.plot(fast_row["passes"], share(fast_row, "apart"), "*", markersize=14)
left.axhline(rulers["another_seed"], color="0.5", linestyle=(0, (1, 3)), label="another seed of the long way")
right.axhline(1, color="0.5", linestyle=(0, (1, 3)))
left.set(ylabel="same clip, PSNR in dB")
right.set(ylabel="diversity, of the long way's")
for ax in (left, right):
    ax.set(xscale="log", xlabel="passes", xticks=(4, 5, 7, 10, 14, 20, 28), xticklabels=(4, 5, 7, 10, 14, 20, 28))
    ax.minorticks_off()
left.legend(fontsize=8)
plt.show()
mean_psnr = {name: np.mean(row["psnr"]) for name, row in clips_by.items()}
assert mean_psnr["7 first"] > mean_psnr["4 all"] + 1  # eight passes each
assert max(mean_psnr[f"{n} none"] for n in (4, 5, 7, 10, 20)) < mean_psnr["3 first"]
assert share(clips_by["3 first"], "apart") < share(clips_by["10 first"], "apart") < 1

# %% [markdown]
# *Left: the same clip? The dotted line is another seed of the long way, a clip as good as any. Right: how far the clips
# of two seeds are apart, as a share of the long way's. Passes on a logarithmic axis.*
#
# Read it in three lines.
#
# * **One guided step is nearly all of guidance.** With the first step guided alone, 8 passes are 34.2 dB from the long
#   way, where 8 passes with guidance in all four steps are 32.0, and keep 0.92 of the diversity against 0.86. It fits
#   what chapter 7 found in the plane: the coarse choice falls early. (At this model's scale of 1.5; exercise 7 asks about
#   others.)
# * **No guidance is another answer**, however many passes it is given: 20 of them stay at 29.6 dB, move by 0.86 of the
#   long way's motion, and differ more from seed to seed. Fewer of its clips are read as asked, too, but with 24 clips
#   0.71 against 0.88 may be luck.
# * **What few passes lose first is diversity.** Over both guided families it falls from 0.96 to 0.83, while motion stays
#   at 0.97 and more. Small motions are not lost, as one may fear; where something shrinks it is the large ones, by 2 to
#   7 hundredths. The extreme is the first failure below: in the plane, one step from noise has no diversity at all.
#
# ### Where the steps are
#
# Can the diversity be had back without more passes? Ask where it goes. Take a single direction of the data, spread
# with deviation $\tau$ around its mean, and a perfect denoiser. Sampling is then linear: every start is multiplied by
# one number, and how much of $\tau$ is left after few steps can be read off a single point.
#
# Of a wide direction much is known while the rest is still noise: at a signal of $\alpha$ its own is $\alpha \tau$. So it
# is decided in the first strides, where an even path jumps far on a first guess, which is near the mean. Bend the path.
# Of $N$ levels and $n$ steps, let step $i$ be at
#
# $$t_i = N \left(1 - (i / n)^p\right) - 1,$$
#
# which is even for $p = 1$; above, the first strides are short and the last are long. The library calls $p$ the
# `spacing`.

# %%
def spread_left(width: float, spacing: float, steps: int = 4) -> float:
    """Of the deviation of one direction, what few steps of DPM-Solver++ leave of it, by a perfect denoiser."""
    blob = Mixture(torch.ones(1), torch.zeros(1, 1), torch.tensor([width]))
    how = dict(sampler="dpm++", steps=steps, spacing=spacing, noise=[torch.ones(1, 1)], progress=False)
    return samplers.sample(process, perfect_answer(process, blob), (1, 1), **how).item() / width


n, p = 4, 1.75
bent = [round(1000 * (1 - (i / n) ** p)) - 1 for i in range(n)]
assert bent == samplers.timesteps(1000, n, spacing=p)
print("even:", samplers.timesteps(1000, n), " spacing 1.75:", bent)
# %%
wide, held = plain["deviations"], sum(plain["share_of_all"])
print(f"latent motions of a label: the widest direction has deviation {wide[0]:.0f}; the {len(wide)} widest hold {held:.0%}")

law = {f"{n} steps, spacing {p:g}": spread_left(wide[0], p, n) for n, p in ((20, 1.0), (4, 1.0), (4, 1.75))}
print("left of the widest direction:", ", ".join(f"{value:.2f} in {name}" for name, value in law.items()))
assert law["4 steps, spacing 1"] < 0.06 < 0.1 < law["4 steps, spacing 1.75"] < law["20 steps, spacing 1"] < 0.25

compared = ("3 first", "4 first", "4 all", "5 first", "7 first", "10 first")
compared = [name for name in {**clips_by, **bent_by} if name.startswith(compared) and "bf16" not in name]
table({name: plain["ways"][name] for name in sorted(compared, key=lambda name: (int(name.split()[0]), name))})
assert share(clips_by["4 first"], "apart") < 0.9 < 0.97 < share(bent_by["4 first 1.75"], "apart") < 1.03
assert np.mean(bent_by["4 first 1.75"]["psnr"]) > np.mean(clips_by["4 first"]["psnr"]) + 1

# %% mystnb={"image": {"alt": "Left: share of a direction's deviation that four steps leave, over its deviation from 0.1 to 100. Even steps peak near 0.8 at deviation 1 and fall to 0.04 at 68; the larger the spacing, the further right the peak lies, and at 68 spacing 2.5 still leaves about 0.3. Marks below, the directions of latent motions, lie from 5 to 68. Right: diversity over passes; spacing 1.75 lies above even steps everywhere and crosses 1 at five passes, where even steps have 0.87."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4))
widths = torch.logspace(-1, 2, 40).tolist()
for spacing, marker in ((1.0, "o"), (1.5, "s"), (1.75, "D"), (2.5, "v")):
    shares = [spread_left(width, spacing) for width in widths]
    left.semilogx(widths, shares, marker=marker, markevery=6, label="even" if spacing == 1 else f"spacing {spacing:g}")
left.plot(wide, [-0.04] * len(wide), "|", color="0.3", markersize=12, label="directions of latent motions")
left.set(xlabel=r"deviation $\tau$ of the direction", ylabel="share of it that 4 steps leave", ylim=(-0.1, 1.15))
for title, ending, marker in (("even", " first", "D"), ("spacing 1.75", " first 1.75", "*")):
    rows = [row for name, row in {**clips_by, **bent_by}.items() if name.endswith(ending)]
    rows = sorted(rows, key=lambda row: row["passes"])
    right.plot([row["passes"] for row in rows], [share(row, "apart") for row in rows], marker=marker, label=title)
right.axhline(1, color="0.5", linestyle=(0, (1, 3)))
right.set(xscale="log", xlabel="passes", ylabel="diversity, of the long way's", xticks=(3, 4, 5, 6, 8, 11))
right.set_xticklabels((3, 4, 5, 6, 8, 11))
right.minorticks_off()
left.legend(fontsize=8, loc="upper left", ncols=2)
right.legend(fontsize=8)
plt.show()

# %% [markdown]
# *Left: a perfect denoiser on one direction; the marks below are the widest directions of our latent motions. Four even
# steps serve directions of deviation 1 best and leave little of wide ones. Short first strides turn that round, at the
# cost of narrow directions. Right: how far the clips of two seeds are apart, the first step guided.*
#
# The motions of a label are wide in few directions, so short first strides should help, and they do. Four steps with a
# spacing of 1.75 keep all of the long way's diversity, where even ones keep 0.87; they end nearer to its clip (33.4 dB
# against 31.5), and motion stays at 0.98. It is not weaker guidance that does it: guided in all four steps, they keep
# 0.98.
#
# The law is not the network, though. By it four even steps leave 0.04 of the widest direction, and the clips lose far
# less: the motions of a label are no Gaussian, and the denoiser is not perfect. The law puts the ways in order. How much
# is lost must be measured.
#
# Chapter 7 bent the path the other way, with short strides at the end. Both are right. There the data were narrow blobs,
# which are decided late; here wide directions count, which are decided early. Where the steps belong is a property of
# the data, and the spectrum above tells it.
#
# Nor is more of it better. Ten steps of this spacing end further from the long way than ten even ones (32.4 dB against
# 36.6), and their clips differ 1.17 times as much. Two things meet. The first stride, where alone guidance counts, is now
# very short. And the long way is no truth either: by the curve's own law, twenty even strides lose four fifths of a
# direction as wide as the widest.
#
# Four steps of spacing 1.75, the first guided, are what the live page of this book does, and `lfdm generate` where no
# student is at hand. On 120 test clips all that is measured, labels read (0.81 against 0.83), motion, stillness, frame 0,
# the Fréchet distance and the distance of two seeds, is within the intervals of twenty guided steps, for 5 passes
# instead of 40. Two seeds differ 0.96 times as much; in six even steps it is 0.85, for 7 passes (the checkpoint's README
# has the table).
#
# ### The student that is shipped
#
# A fast network is worth its training only where it is nearer than 33.4 dB at the same diversity. `lfdm train few-steps
# --checkpoint assets/checkpoints/faces64 --teacher-steps 16 --student-steps 4 --scales 1 2 --cpu-minutes 46` taught one:
# 1,589 steps of eight clips on one core, in each of which the teacher goes four guided steps of its sixteen and the
# student learns to go them in one pass. Stored as you will see below, it lies in the model's folder `fast`, stands in the
# table and is the star in the figure. In **four passes it ends at 36.2 dB, with 1.00 of the diversity** and 1.00 of the
# motion: nearer than ten guided passes (33.2 dB), and nearer than four spaced steps by 2.8 dB. That is what distillation
# adds to what is free. On the 120 test clips it is the long way's equal: labels read 0.83 as there, motion 1.28 times the
# true one as there, Fréchet distance 0.26 (0.24), two seeds 0.98 times as far apart.
#
# So `lfdm generate` takes it, unless you say how to sample: a number of steps, their spacing, another sampler, a mixture
# of labels. At a guidance scale that it was not taught (below 1, above 2) the quick way of five passes takes its place. In
# Python you ask for it by `fast=True`.
#
# In time it adds little. Guided once, the quick way takes five passes; the student takes four, and the picture is
# encoded and the frames are painted all the same: 0.197 s a clip where the quick way takes 0.208 (medians of seven rounds on
# one core, `tests/benchmarks/README.md`). Where passes are most of a clip's time, at 128 pixels and 40 frames, one in five is
# nearly a fifth of it.
#
# A second network of 3.8 million numbers would be 7.7 MB in half precision, beside a model of 12. But the student began as
# its teacher, and what it has learned since is narrow. Lay each of its tensors out as a matrix (a convolution has a row for
# each channel that it makes, a bias is one column; what tells the scale, and the teacher lacks, counts from zero). Split
# its change by singular values $q_j$, the largest first,
#
# $$\Delta = \theta_{\text{student}} - \theta_{\text{teacher}} = \sum_j q_j\, \mathbf{a}_j \mathbf{b}_j^\top .$$
#
# The first terms of the sum are the nearest matrix of their number of directions {cite:p}`eckart1936approximation`, and a
# term is a column and a row, where the matrix is rows times columns. LoRA {cite:p}`hu2022lora` trains large models in no
# other numbers than these; here they are taken when all is learned. This is what is stored:

# %%
after, before = model.fast.unet.state_dict(), model.unet.state_dict()
for name in ("label.weight", "down.1.blocks.0.block1.conv.weight"):
    change = (after[name] - before[name]).flatten(1)
    rank = int(torch.linalg.matrix_rank(change, rtol=1e-3))
    print(f"{name}: {tuple(change.shape)}, stored in {rank} directions of {min(change.shape)}")
    assert 0 < rank < min(change.shape)
stored, whole = model.fast.kept / 1e6, sum(value.numel() for value in after.values()) / 1e6
print(f"in all {stored:.2f} million numbers are stored, for a network of {whole:.2f} million")

# %% [markdown]
# The numbers of a column or row are rounded to one byte each, which moves the change by 0.005 of its length, so that these
# are 0.71 MB (`--kept 700000`, added to the command above, stores a student so). They hold 0.95 of the squared change. What
# is left out costs 0.4 dB: the whole student is 36.6 dB from the long way, on the twelve people.
#
# In which order directions are kept is no small matter. Those that lessen the error of all weights most for a number sound
# right, and are the worse choice: the wide convolutions get nearly all, while small matrices, through which time, label and
# scale are told, lose what they have learned. Kept in the order of their *share* in their own matrix, $q_j^2 / \sum q^2$ (so
# that biases, which have one direction, always are), 700,000 numbers lose more of the change, 0.047 of it instead of 0.038,
# and make clips that are 45.5 dB from the whole student's instead of 37.2 (`python assets/runs/few_steps/orders.py`, six
# pictures; of 350,000 numbers 39.5 and 30.4). A small error of the weights is not what you are after; a small error of the
# clips is.
#
# Computing in bfloat16 is the other free gift, and it adds up with all of these: the last rows of the first table. On
# 120 test clips the four spaced steps give the same figures in it, labels read 0.81, motion 1.25 times the true one,
# Fréchet distance 0.32, and on a processor with arithmetic for it a clip takes 0.27 s instead of 0.38: seven times as
# fast as the long way was in float32 (`tests/benchmarks/README.md`).

# %% [markdown]
# ## Failure gallery
#
# **1. One pass of a network that was not taught to leap.** A network of flow matching knows a velocity at $t = 1$. Why
# not take one step of length 1? Because the best guess from pure noise is the mean of all data, and it is the same for
# every noise. The loss was met, the network is right, and all samples are that mean.

# %% mystnb={"image": {"alt": "Three scatter plots on the contours of the face, one pass each. Left: every point of an untaught network lies in one spot at the middle, where the face has none. Middle: a halved student's points fill eyes, freckle and mouth, with strays between the eyes. Right: true points, without such strays."}}
fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.8))
once = sampled(perfect_answer(process), 1)
leapt = leaps["halved.1"].float()
cloud(axes[0], once, "perfect denoiser, one pass")
cloud(axes[1], leapt, "halved student, one pass", learned=True)
cloud(axes[2], true_a, "the truth")
plt.show()
spreads = {"untaught": once, "student": leapt, "truth": true_a}
on_face_share = lambda points: (torch.cdist(points, face.mu) < 3 * face.tau).any(dim=1).float().mean().item()
for name, points in spreads.items():
    told = f"deviation {points.std(dim=0).mean():.2f}, within three deviations of a blob {on_face_share(points):.0%}"
    print(f"{name:9} {told}")
assert on_face_share(once) == 0 < 0.7 < on_face_share(leapt) < on_face_share(true_a)
assert once.std(dim=0).max() < 0.05 and abs(leapt.std(dim=0).mean() / true_a.std(dim=0).mean() - 1) < 0.05

# %% [markdown]
# *A thousand points each, one pass. Left: all of them in one spot, where the face has no points at all. What reveals
# it is not the loss but the spread of the samples. Middle: a student of one pass, by halving. It too leaves points between
# the eyes, where a smooth map from noise to data would have to tear; the energy distance, a mean over all pairs of points,
# hardly counts them.*
#
# **2. A scale that the student never saw.** Nothing stops you from telling a student of scales 1 to 4 the scale 8. It
# answers, without a warning, something that its teacher would not.

# %% mystnb={"image": {"alt": "Two scatter plots on the contours of the face, label eyes, scale 8. Left, asked twice: two small clouds at the upper rims of the eyes. Right, the student: a thin band above them that runs from one to the other."}}
fig, axes = plt.subplots(1, 2, figsize=(8.4, 4.4))
theirs, ours = guided_points(asked_twice, 0, 8.0), guided_points(in_one_pass(student), 0, 8.0)
lost = (ours - theirs).norm(dim=1).mean().item()
cloud(axes[0], theirs, "eyes, s = 8: asked twice")
cloud(axes[1], ours, f"student of 1 to 4: {lost:.2f} off", learned=True)
plt.show()
assert lost > 3 * taught["off"][0, 0, ASKED.index(3.0)]
print(f"mean distance from the teacher: {taught['off'][0, 0, ASKED.index(3.0)]:.2f} at scale 3, {lost:.2f} at scale 8")

# %% [markdown]
# *What reveals it: the error over the scale, drawn beyond the band, as above. The library keeps the range with the
# weights, and refuses.*

# %%
from lfdm_lite.files.fast import FastDenoiser, fingerprint_of

fast = FastDenoiser(fresh, steps=4, teacher=fingerprint_of(model.unet))
fast.check(model.unet, guidance_scale=2.5, sampler="ddim", steps=4)  # within: nothing to say
refused = []
for wish in (dict(guidance_scale=8.0, sampler="ddim", steps=4), dict(guidance_scale=2.5, sampler="ddim", steps=7)):
    try:
        fast.check(model.unet, **wish)
    except ValueError as error:
        refused.append(str(error))
        print(error)
assert len(refused) == 2

# %% [markdown]
# ## Summary
#
# * Flow matching learns the mean velocity of straight pairs. It is the same network in another clock, and its Euler
#   step is DDIM; what it adds is a choice of levels, of weights, and of pairs. Paths are straight where pairs do not
#   cross, not where a formula looks straight.
# * A student aims at what several passes of its teacher make together: guidance in one, two steps in one, or the end of
#   the path. It inherits what the teacher does, losses included, and knows what it was taught and no more.
# * Measure the free rivals first: a few steps, the first of them guided, are hard to beat. What goes first is the
#   diversity, and no distance to one clip shows that.
# * Wide directions of the data are decided in the first strides. Where the data are wide, short first strides give the
#   diversity back, without a pass more.
#
# ## Exercises
#
# **1. Check yourself** (three minutes, easy). A colleague's flow-matching model takes 20 steps of Euler, your $\mathbf
# v$ model 20 of DDIM. Both were trained to the end on the same data, and the samples differ. Name three things that
# may be behind it, and one that cannot be.
#
# <details>
# <summary>Solution</summary>
#
# The levels that the steps visit (even in $t$ or even in steps of a chain), the weights of the levels in training, and
# whatever differs between two networks that are not perfect. The step cannot: on the same levels, with the same guess,
# Euler in $t$ is DDIM. In numbers, even strides of both, as $\bar\alpha$:
#
# ```python
# t = torch.linspace(1, 0, 7)[:-1]
# even_in_t = (1 - t) ** 2 / ((1 - t) ** 2 + t**2)
# print([round(at, 2) for at in even_in_t.tolist()])
# print([round(at, 2) for at in process.alpha_bar[samplers.timesteps(1000, 6)].tolist()])
# ```
#
# </details>
#
# **2. Check yourself** (four minutes, medium). Somebody forgets to tell the student the scale, and trains it on
# lessons whose scale is drawn from 1 to 4 all the same. What does it learn?
#
# <details>
# <summary>Solution</summary>
#
# The loss is a squared error, so the best answer at a place is the mean of all aims that occur there. The aim is linear
# in $s$, and $s$ is drawn whatever the place: the mean is the aim at the mean scale, 2.5. It is a student of one scale,
# and its loss stays higher by the spread of the aims.
#
# ```python
# x, t, label = noise[:64], torch.full((64,), 600), torch.full((64,), 2)
# aims = torch.stack([asked_twice(x, t, label, torch.full((64,), s)) for s in torch.linspace(1, 4, 31).tolist()])
# assert_close(aims.mean(dim=0), asked_twice(x, t, label, torch.full((64,), 2.5)), atol=1e-3, rtol=1e-3)
# ```
#
# </details>
#
# **3. Code it** (five minutes, easy). From one clock to the other: at which $\bar\alpha$ has the chain the same ratio
# of noise to signal as a straight path at $t$?

# %%
def answer_of(function: Callable, *given, shape: tuple) -> Tensor | str:
    """What a reader's function answers, in float64; or a hint, if it is no tensor of that shape."""
    try:
        answer = function(*given)
    except Exception as error:  # a reader's slip is a hint here, no traceback
        return f"not yet: it stops with {type(error).__name__}: {error}"
    if not isinstance(answer, Tensor):
        return f"not yet: return a tensor, not {'nothing' if answer is None else 'a ' + type(answer).__name__}"
    if answer.shape != shape:
        return f"not yet: return the shape {tuple(shape)}, not {tuple(answer.shape)}"
    return answer.double()


def named(answer: Tensor | str, right: Tensor, wrong: dict[str, Tensor], otherwise: str) -> str:
    """Solved, or the hint of the wrong answer that it is."""
    if isinstance(answer, str):
        return answer
    if torch.allclose(answer, right.double(), atol=1e-4):
        return "solved"
    hints = [hint for hint, value in wrong.items() if torch.allclose(answer, value.double(), atol=1e-4)]
    return f"not yet: {[*hints, otherwise][0]}"

# %% tags=["exercise"]
def chain_level(t: Tensor) -> Tensor:
    """Times on a straight path (n,), 0 at the data -> alpha_bar of the chain with the same noise-to-signal ratio."""
    return None  # your lines


def check_chain_level(function) -> str:
    t = torch.tensor([0.0, 0.1, 0.35, 0.5, 0.8, 1.0], dtype=torch.float64)
    signal, whole = (1 - t) ** 2, (1 - t) ** 2 + t**2
    wrong = {
        "that is the share of the noise": t**2 / whole,
        "that is alpha; alpha_bar is its square": (signal / whole).sqrt(),
        "the variances of straight paths do not add up to 1: divide by their sum": signal,
        "variances add up, not deviations: square both parts": 1 - t,
        "1 - t ** 2 would be right if the signal filled up what the noise leaves": 1 - t**2,
    }
    answer = answer_of(function, t.clone(), shape=t.shape)
    if isinstance(answer, Tensor) and not answer.isfinite().all():
        return "not yet: at one of the ends, t = 0 or t = 1, you divide by 0"
    return named(answer, signal / whole, wrong, "alpha is 1 - t and sigma t, up to a factor that makes the squares 1")


print(check_chain_level(chain_level))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def chain_level(t):
#     return (1 - t) ** 2 / ((1 - t) ** 2 + t**2)
#
#
# assert check_chain_level(chain_level) == "solved"
# ```
#
# </details>
#
# **4. Code it** (ten minutes, medium). `one_step_target` on straight paths. The teacher went from $\mathbf x_t$ to
# $\mathbf x_{\text{next}}$, by whatever way. Where does a single straight line through both reach $t = 0$? That is
# the clean point at which a student of flow matching aims. No $\alpha$, no $\sigma$: it is one line of geometry.

# %% tags=["exercise"]
def straight_target(x_t: Tensor, x_next: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
    """Places (b, 2) at times t > t_next, each (b,) -> where the line through both is at time 0."""
    return None  # your lines


def check_straight_target(function) -> str:
    dice = torch.Generator().manual_seed(2)
    x_t, x_next = torch.randn(2, 6, 2, generator=dice, dtype=torch.float64)
    t, t_next = (torch.linspace(low, high, 6, dtype=torch.float64) for low, high in ((0.4, 1.0), (0.0, 0.55)))
    now, then = t[:, None], t_next[:, None]
    slope = (x_next - x_t) / (then - now)
    wrong = {
        "that is the velocity of the line; follow it to time 0": slope,
        "from x_t it is the whole of t to go back, not t_next": x_t - then * slope,
        "from x_next only t_next is left to go": x_next - now * slope,
        "the sign is turned: time falls on the way to the data": x_t + now * slope,
        "that is the noise, where the line is at time 1": x_t + (1 - now) * slope,
        "divide by the time between the two, t - t_next": x_t + now * (x_next - x_t),
        "x_next is on the way; go on along the line to time 0": x_next,
    }
    answer = answer_of(function, *(part.clone() for part in (x_t, x_next, t, t_next)), shape=x_t.shape)
    return named(answer, x_t - now * slope, wrong, "velocity = (x_next - x_t) / (t_next - t), then back from x_t by t")


print(check_straight_target(straight_target))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def straight_target(x_t, x_next, t, t_next):
#     velocity = (x_next - x_t) / (t_next - t)[:, None]
#     return x_t - t[:, None] * velocity
#
#
# assert check_straight_target(straight_target) == "solved"
# x, steps = noise[:64], [torch.full((64,), step) for step in (700, 300)]
# size = [sum(part[:, 0] for part in process.at(step, x)) for step in steps]  # alpha + sigma
# times = [process.sigma[step] / s for step, s in zip(steps, size, strict=True)]
# places = x / size[0][:, None], noise[64:128] / size[1][:, None]
# chain = one_step_target(process, x, noise[64:128], *steps)
# assert_close(straight_target(*places, *times), chain, atol=1e-4, rtol=1e-3)  # the same target
# ```
#
# </details>
#
# **5. Code it** (ten minutes, medium). Several passes of a student that always guesses the end of the path. Guess;
# bring the guess to the next level with *fresh* noise; guess again.

# %% tags=["hide-input"]
def guesses(guess: Callable, x: Tensor, path: list[int], noises: list[Tensor], kind: str = "right") -> Tensor:
    """The right answer to exercise 5, and wrong ones."""
    at = lambda step: (process.alpha[step].item(), process.sigma[step].item())
    began, x0 = x, guess(x, path[0])
    for before, step, fresh in zip(path, path[1:], noises, strict=False):
        (a, s), (alpha, sigma) = at(before), at(step)
        eps = {"old": (x - a * x0) / s, "start": began}.get(kind, fresh)
        other = {"before": (a, s), "swap": (sigma, alpha), "bare": (1.0, sigma), "bar": (alpha**2, sigma**2)}
        alpha, sigma = other.get(kind, (alpha, sigma))
        x = (alpha * x if kind == "place" else alpha * x0) + sigma * eps
        x0 = guess(x, before if kind == "step" else step)
    return x if kind == "noisy" else x0


HINTS = {
    "fresh noise, please: yours is what the guess implies, and that is DDIM": "old",
    "fresh noise for each pass, not the one that it all began with": "start",
    "after the last guess no noise is added; return the guess": "noisy",
    "alpha and sigma are those of the level that the guess is brought to": "before",
    "alpha goes with the guess, sigma with the noise": "swap",
    "the guess is scaled by alpha of its new level": "bare",
    "alpha and sigma, not their squares": "bar",
    "noise is put on the guess, not on the place that it was made from": "place",
    "guess at the level that you have brought the place to": "step",
}

# %% tags=["exercise"]
def many_guesses(guess: Callable, x: Tensor, path: list[int], noises: list[Tensor]) -> Tensor:
    """x (b, 2) is at step path[0]; guess(x, step) answers x0; noises[i] is fresh for path[i + 1] -> the last guess.

    process.alpha[step] and process.sigma[step] are the level's.
    """
    return None  # your lines


def check_many_guesses(function) -> str:
    guess = lambda x, step: perfect(face, x, process.alpha[step], process.sigma[step])
    given = noise[:40], [999, 700, 400, 150], list(torch.randn(3, 40, 2, generator=torch.Generator().manual_seed(5)))
    wrong = {hint: guesses(guess, *given, kind) for hint, kind in HINTS.items()}
    wrong["one guess is not all: there are as many as steps in the path"] = guess(given[0], 999)
    answer = answer_of(function, guess, given[0].clone(), list(given[1]), list(given[2]), shape=given[0].shape)
    return named(answer, guesses(guess, *given), wrong, "x0 = guess(x, step); alpha x0 + sigma noise of the next; again")


print(check_many_guesses(many_guesses))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def many_guesses(guess, x, path, noises):
#     x0 = guess(x, path[0])
#     for step, fresh in zip(path[1:], noises):
#         x0 = guess(process.alpha[step] * x0 + process.sigma[step] * fresh, step)
#     return x0
#
#
# assert check_many_guesses(many_guesses) == "solved"
# ```
#
# </details>
#
# **6. Explore** (an hour, medium). Rectify the face. Join 20,000 noises to where the ODE brings them, train a network
# of straight paths on these pairs, and hold it against one that learned from pairs by dice, of the same size and
# effort: at 1, 2, 4 and 8 steps. Then a second round. Does it pay?
#
# *Where to begin:* `euler(face, noise, circle, 100)[-1]` for the ends, and the loss of the second section. *What to
# plot:* energy distance over steps, three curves, three seeds. *A good answer* says at which number of steps the
# rounds stop to matter, and counts the passes that made the pairs.
#
# <details>
# <summary>Solution</summary>
#
# A start, with little training:
#
# ```python
# ends = euler(face, noise, circle, 50)[-1]
# torch.manual_seed(0)
# rectified, g2 = Network(unit=1.0), torch.Generator().manual_seed(3)
# optimizer = torch.optim.Adam(rectified.parameters(), 3e-3)
# for _ in range(200):
#     i, t = torch.randint(2000, (256,), generator=g2), torch.rand(256, generator=g2)
#     x_t = (1 - t[:, None]) * ends[i] + t[:, None] * noise[i]
#     loss = (rectified(x_t, t) - (noise[i] - ends[i])).square().mean()
#     optimizer.zero_grad()
#     loss.backward()
#     optimizer.step()
# with torch.no_grad():
#     leap = noise - rectified(noise, torch.ones(2000))  # one step
# print(f"energy distance after one step: {energy_distance(leap, true_a):.3f}, by dice {energy_distance(once, true_a):.3f}")
# ```
#
# </details>
#
# **7. Explore** (an hour, medium). Which steps need guidance? Give `until` other values on the model of chapter 9, from
# no step to all, at the guidance scales 1.5 and 4. Where does the label's strength come from, and what does each
# guided step cost in diversity?
#
# *Where to begin:* `clip_of`, and `assets/runs/few_steps/measure.py` for more clips. *What to plot:* labels read
# against diversity, one point for each `until`. *A good answer* has intervals, and names the steps that could have
# gone without.
#
# <details>
# <summary>Solution</summary>
#
# A start, on one clip:
#
# ```python
# label = torch.tensor([model.labels.index("surprise")])
# for until in (0, 600, 999):
#     denoise = samplers.guided(model.unet, features, label, 4.0, unknown, until)
#     dice = torch.Generator().manual_seed(0)
#     x0 = samplers.sample(model.diffusion, denoise, motion.shape, steps=3, generator=dice, progress=False)
#     print(until, round(model.diffusion.unpack_motion(x0).flow.norm(dim=1).mean().item(), 4))
# ```
#
# </details>
#
# ## What the authors did differently
#
# The published repository of LFDM {cite:p}`ni2023lfdm` samples with 1000 ancestral steps at the guidance scale 1
# (chapter 7), and has no student. Nothing in the model stands against one: the denoiser works on small maps of motion,
# so a pass is cheap already, and what makes diffusion faster makes LFDM faster as it is. That a student is told the
# guidance scale follows {cite:t}`meng2023guided`, the halving {cite:t}`salimans2022distillation`; in the library both
# are one command, `lfdm train few-steps --checkpoint FOLDER`. For a model without a fast network it distils guidance
# and, unless `--teacher-steps` are as many as `--student-steps`, several of the teacher's steps into one; from the fast
# network that it leaves it goes on halving.
#
# ## Further reading
#
# * {cite:t}`lipman2023flow`, {cite:t}`liu2023rectified` and {cite:t}`albergo2023interpolants`: the straight paths, by three
#   groups in one year; the second has the joining of pairs.
# * {cite:t}`song2021sde`: the ODE that all of this walks. {cite:t}`song2021ddim`: DDIM.
# * {cite:t}`salimans2022distillation`: halving, and the answer $\mathbf v$ that it needed.
#   {cite:t}`meng2023guided`: guidance first, then halving.
# * {cite:t}`song2023consistency`: one guess for the whole path, with and without a teacher.
# * {cite:t}`kynkaanniemi2024interval`: guidance in a part of the steps.
