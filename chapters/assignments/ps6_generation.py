# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Problem set 6: Sampling motion
#
# Seven exercises and a written question, 52 points. They take about five hours, reading not counted.
#
# | exercise | kind | points | minutes |
# |---|---|---|---|
# | 1 three channels in one unit | implement | 6 | 30 |
# | 2 how far into the noise a motion is seen | derive and check | 6 | 35 |
# | 3 two dials | implement | 7 | 40 |
# | 4 where guidance takes the mean | derive and check | 8 | 55 |
# | 5 a clip of its own | debug | 8 | 55 |
# | 6 near, and yet not alike | implement | 7 | 40 |
# | 7 people, not frames | implement | 6 | 35 |
# | 8 held against what? | interpret | 4, written | 20 |
#
# **You need** chapters 07 and 09; Gaussians, and integrals of one variable. **You may use** torch and the standard library,
# and whatever you wrote in the chapters. No exercise needs the answer of another; they are sorted from easy to hard, by and
# large.
#
# Symbols are those of the chapters: $f$ is a backward flow in normalized units, channel 0 to the right and channel 1 down;
# $m$ is the occlusion map, 1 where the given picture shows what a frame shows. $\mathbf x_0$ is packed motion,
# $\alpha_t = \sqrt{\bar\alpha_t}$, $\sigma_t = \sqrt{1 - \bar\alpha_t}$, and $s$ a guidance scale: 0 is without the label,
# 1 the plain label. Frame 0 is the given picture, at rest. All tensors are float64, and so must your answers be.
#
# Each exercise has a cell for your answer, then cells with tests, then one that draws what your function does; compare
# it with the picture in the text. The tests that you see are a part of those that give the points. Write helpers into
# the cells for answers: marks are given for these alone. No function may change the tensors that it is given.

# %% nbgrader={"grade": false, "grade_id": "set_up", "locked": true, "schema_version": 3, "solution": false, "task": false}
import math

import matplotlib.pyplot as plt
import torch
from torch import Tensor

import lfdm_lite as lfdm
from lfdm_lite import viz
from lfdm_lite.course.checks import hold

torch.set_num_threads(1)
viz.use_style()

ALPHA_BAR = lfdm.GaussianDiffusion(lfdm.DiffusionConfig(schedule="cosine")).exact_alpha_bar()  # (1000,), float64


def normal(seed: int, *shape: int) -> Tensor:
    """Standard normal numbers, always the same for a seed; float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def numbers(*values: float) -> Tensor:
    """A row of numbers; float64."""
    return torch.tensor(values, dtype=torch.float64)


# %% [markdown]
# ## Exercise 1: three channels in one unit (6 points, 30 minutes)
#
# *Goal: to give every channel of packed motion the size that the noise expects, and to come back without loss. Read chapter
# 09, "In which unit shall the network see motion?".*
#
# The chapter divides the flow by its root mean square, and maps the occlusion map from $[0, 1]$ to $[-1, 1]$. Nearly all
# of an occlusion map is 1, so nearly all of the packed map is 1 too: a constant, with little motion in it. Do better, in
# three functions:
#
# * `measure` finds an offset and a scale for each channel. Flow has offset 0, so that rest stays 0, and its scale is its
#   root mean square, for $x$ and $y$ apart. The occlusion map has its mean as offset; its scale is the root of the mean
#   square around this mean. Frame 0 says nothing and is left out. A scale is at least $10^{-4}$.
# * `pack` subtracts the offsets and divides by the scales. Frame 0 is known, so it is left out here too: $T$ frames become
#   $T - 1$.
# * `unpack` is the way back, and puts frame 0 in again, at rest: it shows the given picture itself. A sampled occlusion may
#   lie outside $[0, 1]$ and is clipped; a flow is left as it is.
#
# ![Three square maps in grey. Left: a white map with a dark crescent. Middle: noise, in which the crescent can hardly be seen. Right: noise, and the crescent is seen clearly.](figures/ps6_generation_in_units.png)
#
# *What a right answer draws. Left: an occlusion map. Middle: packed as in the chapter, with the noise of step 600. Right:
# in your unit, with the same noise.*


# %% nbgrader={"grade": false, "grade_id": "in_units", "locked": false, "schema_version": 3, "solution": true, "task": false}
def measure(flow: Tensor, occlusion: Tensor) -> tuple[Tensor, Tensor]:
    """Offset and scale of flow x, flow y and occlusion, two tensors (3,).

    Args:
        flow: (b, 2, T, h, w), occlusion: (b, 1, T, h, w); frame 0 at rest.
    """
    ### BEGIN SOLUTION
    mean = occlusion[:, :, 1:].mean()
    offset = torch.stack([torch.zeros_like(mean), torch.zeros_like(mean), mean])
    rest = torch.cat([flow, occlusion], dim=1)[:, :, 1:] - offset.view(3, 1, 1, 1)
    return offset, rest.square().mean(dim=(0, 2, 3, 4)).sqrt().clamp(min=1e-4)
    ### END SOLUTION


def pack(flow: Tensor, occlusion: Tensor, offset: Tensor, scale: Tensor) -> Tensor:
    """Motion (b, 2, T, h, w) and (b, 1, T, h, w) -> data (b, 3, T - 1, h, w)."""
    ### BEGIN SOLUTION
    every = torch.cat([flow, occlusion], dim=1)[:, :, 1:]
    return (every - offset.view(3, 1, 1, 1)) / scale.view(3, 1, 1, 1)
    ### END SOLUTION


def unpack(x0: Tensor, offset: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Data (b, 3, T - 1, h, w) -> flow (b, 2, T, h, w) and occlusion (b, 1, T, h, w)."""
    ### BEGIN SOLUTION
    every = x0 * scale.view(3, 1, 1, 1) + offset.view(3, 1, 1, 1)
    every = torch.cat([torch.zeros_like(every[:, :, :1]), every], dim=2)
    every[:, 2, 0] = 1
    return every[:, :2].clone(), every[:, 2:].clamp(0, 1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "in_units-1", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# What is measured. In half of all places x is 0.05, in the others -0.01; y is 0.04; m is 0.6 or 1. Frame 0 is at rest.
pattern = torch.arange(16).view(4, 4).remainder(2) == 0
flow = torch.zeros(2, 2, 3, 4, 4, dtype=torch.float64)
flow[:, 0, 1:], flow[:, 1, 1:] = torch.where(pattern, 0.05, -0.01).double(), 0.04
occlusion = torch.ones(2, 1, 3, 4, 4, dtype=torch.float64)
occlusion[:, 0, 1:] = torch.where(pattern, 0.6, 1.0).double()
where = ": chapter 09, 'In which unit shall the network see motion?'"
mistakes = {
    "Frame 0 is counted, which is always at rest" + where: (
        numbers(0, 0, 0.8666667),
        numbers(0.0294392, 0.0326599, 0.1885618),
    ),
    "The flow is measured around its own mean; then rest would not be 0": (
        numbers(0, 0, 0.8),
        numbers(0.03, 1e-4, 0.2),
    ),
    "The flow has offset 0, so that a clip at rest is 0" + where: (
        numbers(0.02, 0.04, 0.8),
        numbers(0.03, 1e-4, 0.2),
    ),
    "Those are mean lengths; the root of the mean square is asked" + where: (
        numbers(0, 0, 0.8),
        numbers(0.03, 0.04, 0.2),
    ),
    "Those are mean squares; their roots are asked" + where: (numbers(0, 0, 0.8), numbers(0.0013, 0.0016, 0.04)),
    "x and y have one scale in common; each has its own" + where: (
        numbers(0, 0, 0.8),
        numbers(0.0380789, 0.0380789, 0.2),
    ),
    "The occlusion's size is measured around 0, and not around its mean": (
        numbers(0, 0, 0.8),
        numbers(0.0360555, 0.04, 0.8246211),
    ),
}
hold(
    measure(flow.clone(), occlusion.clone()),
    (numbers(0, 0, 0.8), numbers(0.0360555, 0.04, 0.2)),
    mistakes,
    what="(offset, scale)",
)
### BEGIN HIDDEN TESTS
flow, occlusion = 0.05 * normal(1, 3, 2, 4, 3, 5), normal(2, 3, 1, 4, 3, 5).sigmoid()
later = occlusion[:, :, 1:].flatten()
size = [(sum(v * v for v in flow[:, i, 1:].flatten().tolist()) / len(later)) ** 0.5 for i in (0, 1)]
right = numbers(0, 0, later.mean().item()), numbers(*size, later.std(correction=0).item())
fewer = (len(later) / (len(later) - 1)) ** 0.5
hold(
    measure(flow.clone(), occlusion.clone()),
    right,
    {
        "Divide by the number of places: a mean square is asked": (
            right[0],
            numbers(*size, later.std().item()),
        ),
    },
    what="(offset, scale)",
)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "in_units-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Packing: a place at a time.
flow, occlusion = 0.05 * normal(3, 2, 2, 3, 2, 2), normal(4, 2, 1, 3, 2, 2).sigmoid()
offset, scale = numbers(0, 0, 0.9), numbers(0.03, 0.05, 0.1)
right = torch.zeros(2, 3, 2, 2, 2, dtype=torch.float64)
for channel, (size, start) in enumerate(((0.03, 0.0), (0.05, 0.0), (0.1, 0.9))):
    for frame in (1, 2):
        value = occlusion[:, 0, frame] if channel == 2 else flow[:, channel, frame]
        right[:, channel, frame - 1] = torch.sub(value, start).div(size)
mistakes = {}
### BEGIN HIDDEN TESTS
every = torch.cat([flow, occlusion], dim=1)
mistakes = {
    "You multiply by the scale where you should divide"
    + ": chapter 09, 'In which unit shall the network see motion?'": right
    * numbers(0.03, 0.05, 0.1).view(3, 1, 1, 1) ** 2,
    "The frame that is left out is the first, not the last": (every[:, :, :2] - offset.view(3, 1, 1, 1))
    / scale.view(3, 1, 1, 1),
    "The offset goes before the division: it is in units of the map": every[:, :, 1:] / scale.view(3, 1, 1, 1)
    - offset.view(3, 1, 1, 1),
    "The offset is added; subtract it": (every[:, :, 1:] + offset.view(3, 1, 1, 1)) / scale.view(3, 1, 1, 1),
    "The occlusion map is packed as in the chapter": torch.cat([right[:, :2], 2 * occlusion[:, :, 1:] - 1], dim=1),
}
### END HIDDEN TESTS
hold(pack(flow.clone(), occlusion.clone(), offset.clone(), scale.clone()), right, mistakes, what="the packed motion")
### BEGIN HIDDEN TESTS
offset, scale = numbers(0.01, -0.02, 0.7), numbers(0.2, 0.4, 0.3)
answer = pack(flow.clone(), occlusion.clone(), offset.clone(), scale.clone())
for channel, value in enumerate((flow[:, 0, 1:], flow[:, 1, 1:], occlusion[:, 0, 1:])):
    hold(answer[:, channel], (value - offset[channel]) / scale[channel], what=f"channel {channel}, other units")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "in_units-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# The way back. Data of 0 are rest, and what is most usual of the occlusion.
offset, scale = numbers(0, 0, 0.9), numbers(0.03, 0.05, 0.1)
zero = torch.zeros(1, 3, 2, 2, 2, dtype=torch.float64)
right = torch.zeros(1, 2, 3, 2, 2, dtype=torch.float64), torch.full((1, 1, 3, 2, 2), 0.9, dtype=torch.float64)
right[1][:, :, 0] = 1.0
mistakes = {
    "In frame 0 the given picture shows all: there the occlusion map is 1, not 0": (
        right[0],
        torch.where(right[1] == 1, 0.0, right[1]),
    ),
    "In frame 0 the given picture shows all: there the occlusion map is 1, not its mean": (
        right[0],
        torch.full_like(right[1], 0.9),
    ),
    "The frame at rest is put in front, not behind": (right[0], right[1].flip(2)),
}
hold(unpack(zero, offset.clone(), scale.clone()), right, mistakes, what="(flow, occlusion)")
### BEGIN HIDDEN TESTS
x0 = 3 * normal(5, 2, 3, 4, 3, 2)
answer = unpack(x0.clone(), offset.clone(), scale.clone())
first = torch.zeros(2, 1, 1, 3, 2, dtype=torch.float64)
flow = [torch.cat([first[:, 0], x0[:, i] * scale[i]], dim=1) for i in (0, 1)]
loose = torch.cat([first + 1, x0[:, 2:] * 0.1 + 0.9], dim=2)
right = torch.stack(flow, dim=1), loose.clamp(0, 1)
early = torch.cat([first + 1, x0[:, 2:].clamp(-1, 1) * 0.1 + 0.9], dim=2)
hold(
    answer,
    right,
    {
        "A sampled occlusion outside 0 ... 1 is clipped" + where: (right[0], loose),
        "The occlusion is clipped before it is brought back to its own unit": (right[0], early),
        "The occlusion is clipped before it is brought back to its unit ": (
            right[0],
            torch.cat([first + 1, x0[:, 2:].clamp(0, 1) * 0.1 + 0.9], dim=2),
        ),
        "Only the occlusion is clipped; a flow is left as it is" + where: (right[0].clamp(0, 1), right[1]),
        "Only the occlusion is clipped: a flow is left as it is" + where: (right[0].clamp(-0.05, 0.05), right[1]),
        "You divide by the scale where you should multiply": (
            right[0] / torch.stack([scale[0] ** 2, scale[1] ** 2]).view(2, 1, 1, 1),
            torch.cat([first + 1, x0[:, 2:] / 0.1 + 0.9], dim=2).clamp(0, 1),
        ),
    },
    what="(flow, occlusion) of random data",
)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "in_units-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# There and back, where a channel never varies, and without a change of what is given.
flow, occlusion = 0.05 * normal(6, 2, 2, 4, 3, 3), normal(7, 2, 1, 4, 3, 3).sigmoid()
flow[:, :, 0], occlusion[:, :, 0], flow[:, 0] = 0, 1, 0
kept = flow.clone(), occlusion.clone()
offset, scale = measure(flow, occlusion)
hold(scale[0], 1e-4, {"A scale is at least 0.0001, or packing divides by 0": 0.0}, what="the scale of no motion")
x0 = pack(flow, occlusion, offset, scale)
held = x0.clone()
hold(unpack(x0, offset, scale), kept, what="(flow, occlusion), there and back", atol=1e-9)
hold((flow, occlusion, x0), (*kept, held), what="what was given (a function changes its input in place, and must not)")
### BEGIN HIDDEN TESTS
occlusion = torch.ones_like(occlusion)
offset, scale = measure(flow, occlusion)
hold((offset[2], scale[2]), (1.0, 1e-4), what="(offset, scale) of an occlusion map that hides nothing")
hold(pack(flow, occlusion, offset, scale)[:, 2].abs().max(), 0.0, what="the packed map that hides nothing", atol=1e-9)
kept = offset.clone(), scale.clone()
answer = unpack(pack(flow, occlusion, offset, scale), offset, scale)
answer[0].add_(1)
answer[1].add_(1)
hold((offset, scale), kept, what="what was given (a function changes its input in place, and must not)")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "draw_in_units", "locked": false, "schema_version": 3, "solution": false, "task": false}
x, y = lfdm.identity_grid(48, 48).double()
crescent = ((x**2 + y**2 < 0.3) & ((x - 0.2) ** 2 + y**2 > 0.3)).double()
hides = (1 - 0.4 * crescent)[None, None, None].expand(1, 1, 2, -1, -1).clone()
hides[:, :, 0] = 1
still = torch.zeros(1, 2, 2, 48, 48, dtype=torch.float64)
packed = pack(still, hides, *measure(still, hides))[0, 2, 0]
noise, at = normal(8, 48, 48), ALPHA_BAR[600]
fig, axes = plt.subplots(1, 3, figsize=(6, 2.2))
maps = hides[0, 0, 1], at.sqrt() * (2 * hides[0, 0, 1] - 1) + (1 - at).sqrt() * noise
for ax, values in zip(axes, (*maps, at.sqrt() * packed + (1 - at).sqrt() * noise), strict=True):
    ax.imshow(values, cmap="gray")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
plt.show()

# %% [markdown]
# ## Exercise 2: how far into the noise a motion is seen (6 points, 35 minutes)
#
# *Goal: to tell what noise hides at one place from what it hides in a whole motion. Read chapter 09, "What the unit
# decides".*
#
# The chapter compares signal and noise *at one place*. But places move together. Let $g$ be a motion, a number for
# every place and channel, in the unit of the data. At step $t$ you see $\mathbf x_t = \alpha_t\, g + \sigma_t\, \epsilon$,
# or nothing but noise, $\mathbf x_t = \sigma_t\, \epsilon$, and you know what to look for. So you add up all places with
# weights, $\sum_i w_i\, x_{t,i}$. With the motion this sum has a mean; without it the mean is 0; its standard deviation is
# the same in both cases. The ratio of mean and deviation says how well the two are told apart.
#
# Which weights make this ratio as large as possible, and how large is it then? Return it for every step, and the last step
# at which it is at least 1, counted from 0; -1 if there is none.
#
# Before you code: let a flow have a root mean square of 0.03. At one place it is drowned from about step 12 on. Until which
# step is it seen, roughly, if 256 places move together?
#
# ![Three rising curves over the number of places on a logarithmic axis: the last step at which a motion is seen. For size 1 it starts near 500, for 0.1 near 60, for 0.03 near 10; each rises towards 1000.](figures/ps6_generation_seen.png)
#
# *What a right answer draws: the last step at which a motion is seen, for a motion that is equal in so many places.*


# %% nbgrader={"grade": false, "grade_id": "seen", "locked": false, "schema_version": 3, "solution": true, "task": false}
def seen(alpha_bar: Tensor, motion: Tensor) -> tuple[Tensor, int]:
    """How well a known motion is told from pure noise.

    Args:
        alpha_bar: share of the signal's variance left after each step, (N,), falling.
        motion: in the unit of the data, of any shape.

    Returns:
        The best ratio of mean and standard deviation at each step, (N,), and the last step at which it is at least 1.
    """
    ### BEGIN SOLUTION
    ratio = (alpha_bar / (1 - alpha_bar) * motion.square().sum()).sqrt()
    return ratio, int((ratio >= 1).sum()) - 1
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "seen-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# One place: the chapter's ratio. At these steps a half, a fifth and a hundredth of the signal's variance are left.
### BEGIN HIDDEN TESTS
def apart(alpha_bar: Tensor, motion: Tensor) -> Tensor:
    """By the Kullback-Leibler divergence of the two densities, which is half of the squared ratio."""
    left, flat = alpha_bar[:, None], motion.flatten()
    with_it = torch.distributions.Normal(left.sqrt() * flat, (1 - left).sqrt().expand(-1, len(flat)))
    without = torch.distributions.Normal(torch.zeros(len(flat), dtype=torch.float64), (1 - left).sqrt())
    return (2 * torch.distributions.kl_divergence(with_it, without).sum(dim=1)).sqrt()


def amiss(left: Tensor, motion: Tensor) -> dict[str, Tensor]:
    """Ratios under misconceptions."""
    root = (left / (1 - left)).sqrt()
    unit, total = ": chapter 09, 'What the unit decides'", motion.square().sum().sqrt()
    return {
        "That is the ratio of the variances; take the root" + unit: root**2 * total**2,
        "Signal and noise are measured by their deviations, the roots of alpha_bar and 1 - alpha_bar" + unit: root**2
        * total,
        "The motion's size is squared, the step's ratio is not": root * total**2,
        "That is one place on average: places add up, and so does what is known": root * total / motion.numel() ** 0.5,
        "The noise of many places grows as well, with the root of their number": root
        * total
        * motion.numel() ** 0.5,
        "With equal weights, what moves to the left cancels what moves to the right": root
        * motion.sum().abs()
        / motion.numel() ** 0.5,
        "You add lengths; the best weights are those of the motion itself": root
        * motion.abs().sum()
        / motion.numel() ** 0.5,
        "You add lengths as if noise did not grow with the number of places": root * motion.abs().sum(),
        "The noise of step t has deviation sigma_t, not 1" + unit: left.sqrt() * total,
    }


### END HIDDEN TESTS
left = numbers(0.5, 0.2, 0.01)
mistakes = {
    "Those are ratios of variances": numbers(0.01, 0.0025, 0.000101010),
    "The noise of step t has deviation sigma_t, not 1": numbers(0.0707107, 0.0447214, 0.01),
}
### BEGIN HIDDEN TESTS
mistakes = amiss(left, numbers(0.1))
### END HIDDEN TESTS
answer = seen(left.clone(), numbers(0.1))
hold(answer, (torch.zeros(3, dtype=torch.float64), 0), what="the answer", atol=math.inf)  # a tensor and a number
hold(answer[0], numbers(0.1, 0.05, 0.0100504), mistakes, what="the ratio of a motion of 0.1 at one place")
### BEGIN HIDDEN TESTS
left = ALPHA_BAR[::97]
hold(seen(left.clone(), numbers(-0.7))[0], apart(left, numbers(-0.7)), what="the ratio of a motion of -0.7")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "seen-2", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Many places: ratios of mean and deviation as they were measured, in many draws of noise and with the best weights.
motion, left = numbers(0.3, -0.3, 0.1, 0.0, 0.5), numbers(0.9, 0.5, 0.1)
measured = numbers(1.990, 0.663, 0.221)
mistakes = {}
### BEGIN HIDDEN TESTS
mistakes = amiss(left, motion)
### END HIDDEN TESTS
hold(
    seen(left.clone(), motion.clone())[0],
    measured,
    mistakes,
    what="the ratio for five places",
    atol=2e-3,  # of the draws
    rtol=2e-3,
)
### BEGIN HIDDEN TESTS
left = ALPHA_BAR[50::150]
for motion in (0.2 * normal(23, 2, 3, 4), torch.full((1, 2, 4, 8), 0.03, dtype=torch.float64), normal(24, 300)):
    hold(
        seen(left.clone(), motion.clone())[0],
        apart(left, motion),
        amiss(left, motion),
        what=f"the ratio for {motion.numel()} places",
    )
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "seen-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# The last step. Here ratios are 2, 1.5, 1.0625, 0.9, 0.4.
ratio = numbers(2, 1.5, 1.0625, 0.9, 0.4)
left = ratio.square() / (1 + ratio.square())
mistakes = {
    "That is how many steps there are; steps are counted from 0": 3,
    "That is the first step at which it is not seen any more": 3,
    "That is the first step at which it is seen; the last is asked": 0,
}
hold(seen(left.clone(), numbers(1.0))[1], 2, mistakes, what="the last step at which it is seen")
### BEGIN HIDDEN TESTS
for size, places in ((0.03, 1), (0.03, 256), (0.1, 16), (1.0, 1), (2.0, 900)):
    motion = torch.full((places,), size, dtype=torch.float64)
    there = (apart(ALPHA_BAR, motion) >= 1).nonzero().flatten().tolist()
    hold(
        seen(ALPHA_BAR.clone(), motion)[1],
        there[-1],
        {"That is how many steps there are; steps are counted from 0": len(there)},
        what=f"the last step of a motion of {size:g} in {places} places",
        atol=0,
        rtol=0,
    )
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "seen-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Never, and always. And what is given is not changed.
left, motion = numbers(0.9, 0.5, 0.2), numbers(0.0, 0.0)
hold(seen(left, motion)[1], -1, {"Where it is never seen, -1 is asked, not step 0": 0}, what="the last step of no motion")
motion = numbers(3.0, 4.0)
hold(seen(left, motion)[1], 2, what="the last step of a motion that is always seen")
hold((left, motion), (numbers(0.9, 0.5, 0.2), numbers(3, 4)), what="what was given (changed in place)")
### BEGIN HIDDEN TESTS
hold(seen(numbers(0.2), numbers(1.0))[1], -1, what="the last step of a chain of one step, where nothing is seen")
hold(seen(numbers(0.2), numbers(1.0))[0], numbers(0.5), what="the ratio in a chain of one step")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "draw_seen", "locked": false, "schema_version": 3, "solution": false, "task": false}
counts = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
plt.figure(figsize=(6, 2.8))
for size in (1.0, 0.1, 0.03):
    last = [seen(ALPHA_BAR, torch.full((n,), size, dtype=torch.float64))[1] for n in counts]
    plt.semilogx(counts, last, marker="o", label=f"size {size:g}")
plt.xticks([1, 4, 16, 64, 256, 1024], ["1", "4", "16", "64", "256", "1024"])
plt.minorticks_off()
plt.xlabel("places that move together")
plt.ylabel("last step")
plt.legend()
plt.show()

# %% [markdown]
# ## Exercise 3: two dials (7 points, 40 minutes)
#
# *Goal: to guide two kinds of condition apart from each other, and to ask a network no question whose answer does not count.
# Read chapter 07, "Classifier-free guidance".*
#
# A network is asked for a label, and for numbers such as how strong the expression is. The library guides both together:
# one scale, and the answer without guidance knows neither. Give each a dial of its own. Three questions can be put to the
# network: **nothing**, the **label** alone, and **both**. `s_label` exaggerates what the label adds to nothing, and
# `s_numbers` what the numbers add to the label; at 1 each adds just what the network says, at 0 it adds nothing. An absent
# label is `null_label`, an absent number is NaN, also within what is asked: such a number stays absent.
#
# At every step the network is called **once**, with a batch that holds only questions whose answers count: three times the
# clips in general; the clips alone where both scales are 1. In which other cases are fewer than three enough?
#
# ![A grid of points spanned by two arrows that are not at right angles. Its corner is marked "nothing", the end of the first arrow "label", and one step further along the second "both". The grid goes on to scale 3 in both directions.](figures/ps6_generation_two_dials.png)
#
# *What a right answer draws: answers in the plane at scales 0, 1, 2, 3. The marked ones are those of the network.*


# %% nbgrader={"grade": false, "grade_id": "given_networks", "locked": true, "schema_version": 3, "solution": false, "task": false}
NULL = 3  # of these networks: labels are 0, 1, 2


class Plain:
    """Answers 1 where nothing is asked, 2 with a label, 5 with label and numbers, 3 with numbers alone."""

    def __init__(self):
        self.sizes = []  # of the batches that it was called with

    def __call__(self, x: Tensor, t: Tensor, label: Tensor, told: Tensor) -> Tensor:
        self.sizes.append(len(x))
        labelled, given = label != NULL, ~told.isnan().all(dim=1)
        rows = torch.where(labelled, torch.where(given, 5.0, 2.0), torch.where(given, 3.0, 1.0)).double()
        return rows.reshape(-1, *[1] * (x.ndim - 1)).expand_as(x)


class Curved(Plain):
    """Answers otherwise for each x, step, label and numbers."""

    def __call__(self, x: Tensor, t: Tensor, label: Tensor, told: Tensor) -> Tensor:
        self.sizes.append(len(x))
        given = ~told.isnan()
        weight = numbers(0.2, 0.7, -0.4, 0.1)[label]
        told = ((told.nan_to_num() - 0.3) * given * numbers(1.0, 2.0)).sum(dim=1)
        column = lambda values: values.reshape(-1, *[1] * (x.ndim - 1))
        return (x * column(weight)).sin() + column(told) * (1 + column(weight)) + column(t / 1000) * x


# %% nbgrader={"grade": false, "grade_id": "two_dials", "locked": false, "schema_version": 3, "solution": true, "task": false}
def two_dials(network, label: Tensor, told: Tensor, s_label: float, s_numbers: float, null_label: int):
    """A denoiser with a guidance scale for the label and one for the numbers.

    Args:
        network: called as network(x, t, label, told), answers as x.
        label: what is asked, (b,), integers; null_label where none is.
        told: numbers that are asked, (b, n); NaN where one is not given.

    Returns:
        A function of x (b, ...) and t (b,) that answers as x.
    """
    ### BEGIN SOLUTION
    none, silent = torch.full_like(label, null_label), torch.full_like(told, math.nan)
    questions = [(1 - s_label, none, silent), (s_label - s_numbers, label, silent), (s_numbers, label, told)]
    questions = [question for question in questions if question[0] != 0]
    labels = torch.cat([question[1] for question in questions])
    every = torch.cat([question[2] for question in questions])

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        k = len(questions)
        answers = network(torch.cat([x] * k), torch.cat([t] * k), labels, every).chunk(k)
        return sum(question[0] * answer for question, answer in zip(questions, answers, strict=True))

    return denoise
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "two_dials-1", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Numbers: without anything the network answers 1, with the label 2, with both 5.
x, t = torch.zeros(2, 4, dtype=torch.float64), torch.tensor([10, 20])
label, told = torch.tensor([0, 2]), torch.tensor([[0.5, 1.0], [2.0, math.nan]], dtype=torch.float64)
answer = two_dials(Plain(), label.clone(), told.clone(), 2.0, 1.25, NULL)(x.clone(), t.clone())
where = ": chapter 07, 'Classifier-free guidance'"
mistakes = {
    "The two dials are swapped": 8.25,
    "What the numbers add is measured from the answer with the label alone, not from nothing": 8.0,
    "The numbers are asked without the label": 5.5,
    "You count scales from the plain answer; here 1 is the plain answer" + where: 10.75,
    "The differences have the wrong sign" + where: -4.75,
    "You add what is exaggerated to the answer with the label; start from nothing" + where: 7.75,
    "One scale guides both; each has its own": 9.0,
    "One scale guides both, each has its own": 6.0,
    "The numbers are not asked at all": 3.0,
    "The label's dial multiplies what the numbers add, too": 10.5,
}
hold(answer, torch.full_like(x, 6.75), {name: torch.full_like(x, value) for name, value in mistakes.items()})
### BEGIN HIDDEN TESTS
for s_label, s_numbers, right in ((3.0, 0.5, 5.5), (0.5, 2.0, 7.5), (-1.0, 2.0, 6.0), (0.0, 2.0, 7.0)):
    answer = two_dials(Plain(), label.clone(), told.clone(), s_label, s_numbers, NULL)(x.clone(), t.clone())
    named = {
        "The two dials are swapped": 1 + s_numbers + 3 * s_label,
        "What the numbers add is measured from the answer with the label alone, not from nothing": 1
        + s_label
        + 4 * s_numbers,
        "The numbers are asked without the label": 1 + s_label + 2 * s_numbers,
        "The label's dial multiplies what the numbers add, too": 1 + s_label + 3 * s_label * s_numbers,
    }
    named = {name: torch.full_like(x, value) for name, value in named.items()}
    hold(answer, torch.full_like(x, right), named, what=f"the answer at the scales {s_label:g} and {s_numbers:g}")
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "two_dials-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# A network that is not constant: at scales 1 and 1 its own answer, at 0 and 0 what it says where nothing is asked.
x, t = normal(31, 3, 2, 2), torch.tensor([100, 500, 900])
label = torch.tensor([0, 1, 2])
told = torch.tensor([[0.5, 1.0], [math.nan, -0.7], [math.nan, math.nan]], dtype=torch.float64)
plain = two_dials(Curved(), label.clone(), told.clone(), 1.0, 1.0, NULL)(x.clone(), t.clone())
hold(plain, Curved()(x, t, label, told), what="the answer at scales 1 and 1")
silent = two_dials(Curved(), label.clone(), told.clone(), 0.0, 0.0, NULL)(x.clone(), t.clone())
zeros = Curved()(x, t, torch.full_like(label, NULL), torch.zeros_like(told))
mistakes = {
    "An absent number is NaN; 0 is a number like any other": zeros,
    "At scales 0 the label is not asked" + where: Curved()(x, t, label, torch.full_like(told, math.nan)),
    "At scales 0 the numbers are not asked": Curved()(x, t, torch.full_like(label, NULL), told),
}
hold(silent, Curved()(x, t, torch.full_like(label, NULL), told * math.nan), mistakes, what="the answer at scales 0 and 0")
### BEGIN HIDDEN TESTS
def one_by_one(x, t, label, told, s_label, s_numbers, absent=math.nan):
    """The answer for each clip by itself, as a sum of what is added."""
    rows = []
    for i in range(len(x)):
        ask = lambda y, n, i=i: Curved()(x[i : i + 1], t[i : i + 1], torch.tensor([y]), n)[0]
        quiet = torch.full((1, 2), absent, dtype=torch.float64)
        none, some, both = ask(NULL, quiet), ask(int(label[i]), quiet), ask(int(label[i]), told[i : i + 1])
        rows.append(none + torch.lerp(0 * none, some - none, s_label) + torch.lerp(0 * none, both - some, s_numbers))
    return torch.stack(rows)


label = torch.tensor([0, NULL, 2])
for s_label, s_numbers in ((2.5, 1.5), (1.0, 3.0), (2.0, 0.0), (2.0, 2.0), (0.0, 1.0), (1.0, 0.0)):
    answer = two_dials(Curved(), label.clone(), told.clone(), s_label, s_numbers, NULL)(x.clone(), t.clone())
    zeros = one_by_one(x, t, label, told, s_label, s_numbers, 0.0)
    mistakes = {"An absent number is NaN; 0 is a number like any other": zeros}
    right = one_by_one(x, t, label, told, s_label, s_numbers)
    hold(answer, right, mistakes, what=f"the answer at the scales {s_label:g} and {s_numbers:g}")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "two_dials-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# One call a step, and no question whose answer does not count. Four clips.
x, t = normal(32, 4, 3), torch.tensor([1, 2, 3, 4])
label, told = torch.tensor([0, 1, 2, 0]), normal(33, 4, 2)
cases = [(2.0, 1.5, 12), (1.0, 1.0, 4)]
### BEGIN HIDDEN TESTS
cases += [(0.0, 0.0, 4), (1.0, 0.0, 4), (2.0, 2.0, 8), (2.0, 0.0, 8), (1.0, 2.0, 8), (0.0, 2.0, 12), (0.0, 1.0, 12)]
### END HIDDEN TESTS
for s_label, s_numbers, rows in cases:
    network, at = Plain(), f"at scales {s_label:g} and {s_numbers:g}"
    denoise = two_dials(network, label.clone(), told.clone(), s_label, s_numbers, NULL)
    hold(sum(network.sizes), 0, what="the questions put before the first step")
    denoise(x.clone(), t.clone())
    hold(len(network.sizes), 1, what=f"the number of calls of the network in a step {at}")
    mistakes = {
        "You ask what does not count: some answers are multiplied by 0": 12,
        "You ask what does not count, some answers are multiplied by 0": 8,
    }
    hold(network.sizes[0], rows, mistakes, what=f"the size of the batch of four clips {at}")

# %% nbgrader={"grade": true, "grade_id": "two_dials-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# The denoiser serves for all steps, and changes nothing that it is given.
given = x.clone(), t.clone(), label.clone(), told.clone()
denoise = two_dials(Curved(), *given[2:], 2.0, 1.5, NULL)
first = denoise(*given[:2])
again = denoise(2 * x, t + 500)
hold((*given,), (x, t, label, told), what="what was given (your function changes its input in place, and must not)")
hold(denoise(*given[:2]), first, what="the answer to the same question, later")
assert not torch.allclose(first, again), "the denoiser's answer does not depend on x and t"
### BEGIN HIDDEN TESTS
fresh = two_dials(Curved(), *given[2:], 2.0, 1.5, NULL)(2 * x, t + 500)
hold(again, fresh, what="the answer in the second step")
wide = normal(34, 4, 3, 2, 2)
hold(denoise(wide, t).shape == wide.shape, True, what="whether data with more axes keep their shape")
### END HIDDEN TESTS


# %% nbgrader={"grade": false, "grade_id": "draw_two_dials", "locked": false, "schema_version": 3, "solution": false, "task": false}
class Plane(Plain):
    """Answers a place in the plane."""

    def __call__(self, x, t, label, told):
        given = ~told.isnan().all(dim=1, keepdim=True)
        return torch.where(label[:, None] == NULL, 0.0, numbers(1.0, 0.4)) + torch.where(given, numbers(0.3, 1.0), 0.0)


label, told, x = torch.tensor([0]), torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
place = lambda a, b: two_dials(Plane(), label, told, float(a), float(b), NULL)(x, torch.tensor([0]))[0].tolist()
plt.figure(figsize=(5, 3))
plt.margins(0.1)
for i in range(4):
    for row in ([place(i, j) for j in range(4)], [place(j, i) for j in range(4)]):
        plt.plot(*zip(*row, strict=True), "o-", color="0.6", markersize=4)
for name, scales in {"nothing": (0, 0), "label": (1, 0), "both": (1, 1)}.items():
    plt.plot(*place(*scales), "D", color=viz.COLOURS["orange"])
    plt.annotate(name, place(*scales), xytext=(6, -12), textcoords="offset points")
plt.show()

# %% [markdown]
# ## Exercise 4: where guidance takes the mean (8 points, 55 minutes)
#
# *Goal: to predict where guided samples lie, and to see when the obvious answer is wrong. Read chapter 07, "One Gaussian:
# the flow in closed form", "Classifier-free guidance", and "What it does not do".*
#
# Data in one dimension: with the label they are $\mathcal N(\mu_y, \tau_y^2)$, all together
# $\mathcal N(\mu_\varnothing, \tau_\varnothing^2)$. Sampling starts from pure noise of deviation 1 and follows the guided
# ODE exactly, with perfect denoisers and the scale $s$. The result is Gaussian. Find its mean and its standard deviation.
#
# 1. In the angle $\varphi$, with $\alpha = \cos\varphi$ and $\sigma = \sin\varphi$, write down the velocity
#    $\mathrm d x / \mathrm d \varphi$ of one Gaussian. It is a factor times $x$, plus something that does not depend on $x$.
#    Does the second part become simpler if you put everything over $V = \alpha^2 \tau^2 + \sigma^2$?
# 2. Guidance combines two such velocities. Solve the linear equation from $\varphi = \pi/2$ down to 0: the deviation in
#    closed form, the mean as an integral over $\varphi$ that you sum up on a grid.
# 3. What does your integral say where both deviations are equal? Predict first: where the label is *narrower* than all, does
#    guidance take the mean further than $\mu_\varnothing + s\,(\mu_y - \mu_\varnothing)$, or less far?
#
# Results must be right to 0.3 %.
#
# ![Over the guidance scale from 0 to 5: a full curve with circles on it, and a dashed straight line. They meet at scales 0 and 1; from there on the curve levels off near 1.3, far below the line. A grey band around it becomes narrower.](figures/ps6_generation_guided_mean.png)
#
# *What a right answer draws, for $\mu_y = 1$, $\tau_y = 0.5$ and $\mu_\varnothing = 0$, $\tau_\varnothing = 1.2$: the mean
# (full) and one deviation around it (grey). Circles: means of samples by 1000 steps of DDIM. Dashed: the straight line.*


# %% nbgrader={"grade": false, "grade_id": "guided_mean", "locked": false, "schema_version": 3, "solution": true, "task": false}
def guided_mean(mu_label: float, tau_label: float, mu_all: float, tau_all: float, s: float) -> tuple[float, float]:
    """Mean and standard deviation of what guidance draws.

    Args:
        mu_label, tau_label: mean and standard deviation of the data with the label.
        mu_all, tau_all: of all data.
        s: guidance scale; 0 is without label, 1 the plain label.
    """
    ### BEGIN SOLUTION
    # One Gaussian: dx/dphi = V' / (2 V) x - sin(phi) mu / V. The sum's factor is (log P)', with P the product below.
    phi = torch.linspace(0, math.pi / 2, 20_001, dtype=torch.float64)
    grown, pushed = torch.ones_like(phi), torch.zeros_like(phi)
    for share, mu, tau in ((s, mu_label, tau_label), (1 - s, mu_all, tau_all)):
        V = (phi.cos() * tau) ** 2 + phi.sin() ** 2
        grown = grown * V ** (share / 2)
        pushed = pushed + share * mu * phi.sin() / V
    mean = grown[0] * torch.trapezoid(pushed / grown, phi)  # x = P u, and u is 0 at phi = pi / 2
    return mean.item(), grown[0].item()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "guided_mean-1", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# At s = 1 the plain label, at s = 0 all data; and where both deviations are equal, a straight line.
### BEGIN HIDDEN TESTS
def walked(mu_y, tau_y, mu, tau, s, steps=1500):
    """Mean and deviation by the guided ODE from two starts, in Runge-Kutta steps of fourth order."""

    def velocity(phi: float, x: float) -> float:
        alpha, sigma, guess = math.cos(phi), math.sin(phi), []
        for centre, wide in ((mu_y, tau_y), (mu, tau)):
            guess.append(centre + alpha * wide**2 / ((alpha * wide) ** 2 + sigma**2) * (x - alpha * centre))
        x0 = guess[1] + s * (guess[0] - guess[1])
        return (alpha * x - x0) / sigma  # -sigma x0 + alpha eps

    ends, h = [], -math.pi / 2 / steps
    for x in (0.0, 1.0):
        for i in range(steps - 1):
            phi = math.pi / 2 + i * h
            a = velocity(phi, x)
            b = velocity(phi + h / 2, x + h / 2 * a)
            c = velocity(phi + h / 2, x + h / 2 * b)
            x += h / 6 * (a + 2 * b + 2 * c + velocity(phi + h, x + h * c))
        ends.append(x)
    return ends[0], ends[1] - ends[0]


### END HIDDEN TESTS
cases = [((2.0, 0.4, -1.0, 0.9, 1.0), (2.0, 0.4)), ((2.0, 0.4, -1.0, 0.9, 0.0), (-1.0, 0.9))]
cases += [((1.0, 0.6, -0.5, 0.6, 2.0), (2.5, 0.6))]
### BEGIN HIDDEN TESTS
cases += [((-0.3, 1.4, 0.2, 1.4, 4.0), (-1.8, 1.4)), ((0.7, 0.3, 5.0, 2.0, 1.0), (0.7, 0.3))]
### END HIDDEN TESTS
for given, right in cases:
    mistakes = {
        "The label and all data are swapped: s = 1 is the plain label: chapter 07, 'Classifier-free guidance'": {
            1.0: (-1.0, 0.9),
            0.0: (2.0, 0.4),
            2.0: (-2.0, 0.6),
        }.get(given[-1], (0, 0)),
        "Only the label's mean counts in your answer; that of all data counts, too": (given[-1] * given[0], right[1]),
        "Those are mean and variance; the deviation is asked": (right[0], right[1] ** 2),
    }
    ### BEGIN HIDDEN TESTS
    mistakes["You count s from the plain label; here s = 1 is the plain label: chapter 07, 'Classifier-free guidance'"] = (
        lambda given=given: walked(*given[:4], given[4] + 1)
    )
    ### END HIDDEN TESTS
    what = f"(mean, deviation) of {given}"
    hold(guided_mean(*given), right, mistakes, what=what, atol=1e-3, rtol=3e-3)

# %% nbgrader={"grade": true, "grade_id": "guided_mean-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# The deviation, which does not depend on the means.
### BEGIN HIDDEN TESTS
def strayed(mu_y, tau_y, mu, tau, s):
    """Means and deviations under misconceptions."""
    precision = s / tau_y**2 + (1 - s) / tau**2
    tilted = (s * mu_y / tau_y**2 + (1 - s) * mu / tau**2) / precision if precision else math.inf
    line, no = mu + s * (mu_y - mu), ": chapter 07, 'What it does not do'"
    label = ": chapter 07, 'Classifier-free guidance'"
    right, counts = (lambda i, more=more: walked(mu_y, tau_y, mu, tau, s + more)[i] for more in (0, 1))
    swapped = lambda i: walked(mu, tau, mu_y, tau_y, s)[i]
    means = {
        "The mean lies on the straight line only where both deviations are equal": line,
        "That is the mean of the tilted density; the ODE ends somewhere else" + no: tilted,
        "That is the mean of the plain label at any scale": mu_y,
        "You count s from the plain label; here s = 1 is the plain label" + label: lambda: counts(0),
        "The label and all data are swapped" + label: lambda: swapped(0),
    }
    deviations = {
        "That is the deviation of the tilted density; the ODE ends somewhere else" + no: abs(precision) ** -0.5,
        "Guidance combines velocities, not deviations": tau + s * (tau_y - tau),
        "Guidance combines velocities, not deviations; that is the deviation of the plain label": tau_y,
        "Guidance combines velocities, not variances": abs(tau**2 + s * (tau_y**2 - tau**2)) ** 0.5,
        "That is a variance; the deviation is asked": lambda: right(1) ** 2,
        "You count s from the plain label; here s = 1 is the plain label" + label: lambda: counts(1),
        "The label and all data are swapped" + label: lambda: swapped(1),
    }
    return means, deviations


### END HIDDEN TESTS
for mu in (0.0, 3.0):
    answer = guided_mean(mu, 0.5, 0.0, 1.0, 3.0)
    hold(answer, (0.0, 0.0), what="the answer", atol=math.inf)  # two numbers
    mistakes = {
        "Guidance combines velocities, not deviations; that is the deviation of the plain label": 0.5,
        "That is the deviation of the tilted density; the ODE ends somewhere else: chapter 07, 'What it does not do'": (
            0.3162278
        ),
        "Guidance combines velocities, not deviations: chapter 07, 'One Gaussian: the flow in closed form'": -0.5,
        "That is a variance; the deviation is asked": 0.015625,
    }
    what = f"the deviation at tau = 0.5 with the label, 1 of all, s = 3, with the label's mean at {mu:g}"
    hold(answer[1], 0.125, mistakes, what=what, atol=1e-4, rtol=3e-3)
### BEGIN HIDDEN TESTS
for given in ((1.0, 0.5, 0.0, 1.2, 3.0), (0.4, 1.3, 0.4, 0.8, 2.0), (0.0, 0.7, 1.0, 1.5, 0.5), (2.0, 0.3, 1.0, 0.9, 1.5)):
    answer = guided_mean(*given)
    what = f"the deviation of {given}"
    hold(answer[1], walked(*given)[1], strayed(*given)[1], what=what, atol=1e-4, rtol=3e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "guided_mean-3", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# The mean, where the deviations differ. 1.291 was measured, in samples by 1000 steps of DDIM.
answer = guided_mean(1.0, 0.5, 0.0, 1.2, 2.0)
mistakes = {
    "The mean lies on the straight line only where both deviations are equal": 2.0,
    "That is the mean of the plain label": 1.0,
}
### BEGIN HIDDEN TESTS
mistakes |= strayed(1.0, 0.5, 0.0, 1.2, 2.0)[0]
### END HIDDEN TESTS
what = "the mean at mu = 1, tau = 0.5 with the label, 0 and 1.2 of all, s = 2"
hold(answer[0], 1.291, mistakes, what=what, atol=1e-3, rtol=5e-3)
### BEGIN HIDDEN TESTS
for given in ((1.0, 0.5, 0.0, 1.2, 3.0), (1.0, 1.3, 0.0, 0.8, 2.0), (-2.0, 0.7, 0.0, 1.5, 0.5), (0.6, 0.3, 0.0, 0.9, 4.0)):
    what = f"the mean of {given}"
    hold(guided_mean(*given)[0], walked(*given)[0], strayed(*given)[0], what=what, atol=1e-3, rtol=3e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "guided_mean-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Mirrored data have a mirrored mean. And what happens to the mean where all data are moved?
near, far = guided_mean(1.0, 0.5, 0.2, 1.2, 2.0)[0], guided_mean(-1.0, 0.5, -0.2, 1.2, 2.0)[0]
hold(near, -far, what="the mean of data and minus that of their mirror image", atol=1e-3, rtol=3e-3)
moved = [guided_mean(0.7 + by, 0.5, 0.2 + by, 1.2, 2.0)[0] for by in (0.0, 1.0)]
mistakes = {"Only the label's mean counts in your answer; that of all data counts, too": 1.2906850}
hold(moved[1] - moved[0], 1.0, mistakes, what="how far the mean moves where all data move by 1", atol=2e-3, rtol=3e-3)
### BEGIN HIDDEN TESTS
for given in ((1.0, 0.05, 3.0, 1.0, 1.5), (0.5, 0.1, -2.0, 0.9, 2.0), (4.0, 0.5, 3.0, 1.2, 2.5), (1.0, 0.8, 1.0, 1.7, 3.0)):
    mistakes = strayed(*given)[0] | {
        "Only the label's mean counts in your answer; that of all data counts, too": (
            lambda given=given: walked(given[0], given[1], 0.0, *given[3:])[0]
        ),
    }
    hold(guided_mean(*given)[0], walked(*given)[0], mistakes, what=f"the mean of {given}", atol=2e-3, rtol=4e-3)
### END HIDDEN TESTS


# %% nbgrader={"grade": false, "grade_id": "draw_guided_mean", "locked": false, "schema_version": 3, "solution": false, "task": false}
def measured(s: float, steps: int = 1000) -> float:
    """Mean of 2000 guided samples, by DDIM."""
    x = normal(41, 1000)
    x = torch.cat([x, -x])
    for i in range(steps):
        phi, phi_next = (math.pi / 2 * (1 - j / steps) for j in (i, i + 1))
        alpha, sigma = math.cos(phi), math.sin(phi)
        guess = [
            mu + alpha * tau**2 / ((alpha * tau) ** 2 + sigma**2) * (x - alpha * mu)
            for mu, tau in ((1.0, 0.5), (0.0, 1.2))
        ]
        x0 = guess[1] + s * (guess[0] - guess[1])
        x = math.cos(phi_next) * x0 + math.sin(phi_next) * (x - alpha * x0) / sigma
    return x.mean().item()


scales = [0.25 * i for i in range(21)]
mean, deviation = zip(*(guided_mean(1.0, 0.5, 0.0, 1.2, s) for s in scales), strict=True)
plt.figure(figsize=(6, 2.8))
plt.fill_between(scales, numbers(*mean) - numbers(*deviation), numbers(*mean) + numbers(*deviation), color="0.85")
plt.plot(scales, mean, label="mean of guided samples")
plt.plot(scales, scales, "--", color=viz.COLOURS["orange"], label="straight line")
plt.plot(range(6), [measured(float(s)) for s in range(6)], "ko", label="measured")
plt.xlabel("guidance scale s")
plt.legend()
plt.show()

# %% [markdown]
# ## Exercise 5: a clip of its own (8 points, 55 minutes)
#
# *Goal: to find faults of randomness, which no picture shows, and to mend them. Read chapter 09, "Sampling", and chapter 07,
# "From a step to a sampler".*
#
# A clip shall be named by two numbers, `seed` and `index`: whoever asks for clip 7 of seed 3 gets the same one, alone or in
# a batch, today or tomorrow. Besides, frame 0 is known: it is at rest. The function `broken` samples clips by DDPM from
# packed data of the shape `(3, T, h, w)`. Its arithmetic of a step is right, but it has **four faults**. Find them; then write
# `mended`, which has the same arguments and none of the faults. Each symptom is marked by a test of its own:
#
# * Clip 7 alone is another clip than clip 7 in a batch.
# * Some clips of two seeds have fresh noise in common. No two pairs of seed and index may, for all numbers below a million.
# * Samples are wider than the data, and the wider, the more steps you take.
# * The denoiser says of frame 0 something strange: it has never seen such a frame. At step $t$ it saw frames with the noise of
#   step $t$, in training. The result must begin at rest nevertheless.
#
# Nor may your function read or move the global state of randomness that `torch.manual_seed` sets.
#
# ![Deviation over six frames. Full line: 0.7 in frame 0, and 0.9 in the others. Broken line: 0 in frame 0, and nearly 1.3 in the others.](figures/ps6_generation_mended.png)
#
# *What a right answer draws: the deviation, over 8 clips, of what the denoiser is given in the middle of the way. Full:
# mended; broken line: as given.*


# %% nbgrader={"grade": false, "grade_id": "given_broken", "locked": true, "schema_version": 3, "solution": false, "task": false}
REST = numbers(0.0, 0.0, 1.0)  # packed data of a frame at rest: no flow, all visible


def broken(denoise, seed, indices, shape, path, alpha_bar, rest=REST):
    """DDPM, with four faults."""
    start = torch.Generator().manual_seed(seed)
    x = torch.randn(len(indices), *shape, generator=start, dtype=torch.float64)
    for t, t_next in zip(path, [*path[1:], None], strict=True):
        x[:, :, 0] = rest.view(3, 1, 1)
        x0 = denoise(x, t)
        if t_next is None:
            return x0
        at, at_next = alpha_bar[t], alpha_bar[t_next]
        kept = at / at_next
        mean = (at_next.sqrt() * (1 - kept) * x0 + kept.sqrt() * (1 - at_next) * x) / (1 - at)
        generators = [torch.Generator().manual_seed(seed + index) for index in indices]
        fresh = torch.stack([torch.randn(shape, generator=g, dtype=torch.float64) for g in generators])
        x = mean + ((1 - at_next) / (1 - at) * (1 - kept)).sqrt() * fresh


# %% nbgrader={"grade": false, "grade_id": "mended", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mended(
    denoise,
    seed: int,
    indices: list[int],
    shape: tuple[int, ...],
    path: list[int],
    alpha_bar: Tensor,
    rest: Tensor = REST,
) -> Tensor:
    """Clips, each named by seed and index, by DDPM.

    Args:
        denoise: called as denoise(x, t) with a step t, an int; answers a guess of x0, as x.
        indices: of the clips, one or more; any order.
        shape: of one clip, (3, T, h, w).
        path: steps, the noisiest first. The last step, to clean data, takes no noise.
        alpha_bar: share of the signal's variance left after each step, (N,).
        rest: packed data of frame 0, (3,).

    Returns:
        Clean data, (len(indices), 3, T, h, w).
    """
    ### BEGIN SOLUTION
    own = [torch.Generator().manual_seed(1_000_003 * seed + index) for index in indices]
    draw = lambda: torch.stack([torch.randn(shape, generator=g, dtype=torch.float64) for g in own])
    x = draw()
    for i, t in enumerate(path):
        x0 = denoise(x, t).clone()
        x0[:, :, 0] = rest.view(3, 1, 1)
        if i + 1 < len(path):
            at, at_next = alpha_bar[t], alpha_bar[path[i + 1]]
            kept = at / at_next
            mean = (at_next.sqrt() * (1 - kept) * x0 + kept.sqrt() * (1 - at_next) * x) / (1 - at)
            x = mean + ((1 - at_next) / (1 - at) * (1 - kept)).sqrt() * draw()
    return x0
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "mended-1", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Clip 7 of seed 3 is the same clip alone, in a batch, and in another order.
### BEGIN HIDDEN TESTS
def watched(seed, indices, path, shape=(3, 3, 2, 2), guess=lambda x, t: 0.5 * x):
    """What the denoiser was given in each step, and the result."""
    given = []

    def denoise(x, t):
        given.append(x.clone())
        return guess(x, t)

    return given, mended(denoise, seed, indices, shape, path, ALPHA_BAR)


### END HIDDEN TESTS
SHORT = [900, 600, 300, 50]
half = lambda x, t: 0.5 * x
clips = lambda seed, indices: mended(half, seed, indices, (3, 3, 2, 2), SHORT, ALPHA_BAR)
alone = clips(3, [7])[0]
hold(clips(3, [7])[0], alone, what="clip 7, a second time (is there randomness that no seed decides?)")
batch = clips(3, [5, 6, 7])
hold(batch, torch.zeros(3, 3, 3, 2, 2, dtype=torch.float64), what="a batch of three clips", atol=math.inf)  # its shape
for other in (batch[2], clips(3, [7, 5])[0]):
    assert torch.allclose(other, alone), (
        "clip 7 alone is another clip than in a batch: its noise depends on its place there, or on who else is there: "
        "chapter 09, 'Sampling'"
    )
before = torch.random.get_rng_state()
clips(3, [7])
moved = not torch.equal(before, torch.random.get_rng_state())
assert not moved, "your function moves the global state of randomness: each clip has a generator of its own"
### BEGIN HIDDEN TESTS
torch.manual_seed(1)
one = clips(11, [2, 4])
torch.manual_seed(2)
hold(clips(11, [2, 4]), one, what="two clips after another torch.manual_seed (your noise is from the global generator)")
given, _ = watched(3, [7], SHORT)
for i, x in enumerate(watched(3, [8, 7, 9], SHORT)[0]):
    hold(x[1], given[i][0], what=f"what the denoiser is given in step {i} for clip 7, in a batch")
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "mended-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# No noise in common. With one step alone the denoiser sees the noise of the start.
def start(seed, index):
    seen = []
    mended(lambda x, t: (seen.append(x.clone()), x)[1], seed, [index], (3, 2, 1, 2), [999], ALPHA_BAR)
    return seen[0][0, :, 1]


def differ(one, two):
    alike = torch.allclose(start(*one), start(*two))
    assert not alike, (
        f"clip {one[1]} of seed {one[0]} and clip {two[1]} of seed {two[0]} have the same noise: "
        "another seed or index must mean other noise: chapter 09, 'Sampling'"
    )


differ((0, 0), (0, 1))
differ((0, 1), (1, 0))
differ((5, 0), (6, 0))
### BEGIN HIDDEN TESTS
for index in (10, 64, 100, 256, 1000, 1024, 4096, 10_000, 65_536, 100_000, 999_999):
    differ((0, index), (1, 0))
    differ((3, index), (4, 0))
small = {}
for seed in range(12):
    for index in range(12):
        key = tuple(start(seed, index).flatten().tolist())
        assert key not in small, (
            f"clips of (seed, index) {small[key]} and {(seed, index)} have the same noise: "
            "another seed or index must mean other noise"
        )
        small[key] = seed, index
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "mended-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Fresh noise is fresh. With guesses of 0 all that is new in a step is its noise; here it is taken out again.
def fresh_noise(path, seed=5):
    seen = []

    def denoise(x, t):
        seen.append(x.clone())
        return torch.zeros_like(x)

    mended(denoise, seed, [0, 1], (3, 3, 16, 16), path, ALPHA_BAR)
    hold(len(seen), len(path), what="the number of calls of the denoiser")
    drawn = [seen[0]]
    for i in range(len(path) - 1):
        at, later = ALPHA_BAR[path[i]], ALPHA_BAR[path[i + 1]]
        old = (at / later).sqrt() * (1 - later) / (1 - at) * seen[i]
        drawn.append((seen[i + 1] - old) / ((1 - later) / (1 - at) * (1 - at / later)).sqrt())
    return torch.stack([noise[:, :, 1:].flatten() for noise in drawn])  # frame 0 is left out


alike = torch.corrcoef(fresh_noise([900, 600, 300, 50]))
for one, two in ((1, 2), (2, 3), (0, 1)):
    names = ["the start" if i == 0 else f"step {i}" for i in (one, two)]
    mistakes = {"It is the same noise again: go on with the clip's generator, do not begin anew": 1.0}
    what = f"the correlation of the noise of {names[0]} and of {names[1]}"
    hold(alike[one, two].item(), 0.0, mistakes, what=what, atol=0.08)  # of 3072 numbers
### BEGIN HIDDEN TESTS
noise = fresh_noise([990, 800, 700, 420, 100, 0], seed=6)
hold(noise.std(dim=1), torch.ones(6, dtype=torch.float64), what="the deviation of the noise in six steps", atol=0.08)
hold(noise.mean(dim=1), torch.zeros(6, dtype=torch.float64), what="the mean of the noise in six steps", atol=0.08)
alike = torch.corrcoef(noise) - torch.eye(6, dtype=torch.float64)
hold(alike.abs().max().item(), 0.0, what="the largest correlation of the noise of two steps of six", atol=0.1)
halves = noise.view(6, 2, -1)
for i in range(6):
    both = torch.corrcoef(halves[i])[0, 1].item()
    hold(both, 0.0, {"Two clips have the same noise": 1.0}, what="the correlation of two clips' noise", atol=0.1)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "mended-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Frame 0: the result is at rest, and on the way it is a frame at rest with the noise of its step.
given = []
path = [950, 700, 450, 200, 20]
guess = lambda x, t: (given.append(x.clone()), 0.3 * x)[1]
answer = mended(guess, 1, [0, 1, 2, 3], (3, 2, 16, 16), path, ALPHA_BAR)
right = REST.view(1, 3, 1, 1).expand(4, 3, 16, 16)
hold(answer[:, :, 0], right, {"Frame 0 is left to the denoiser": 0.3 * given[-1][:, :, 0]}, what="frame 0 of the result")
hold(answer[:, :, 1], 0.3 * given[-1][:, :, 1], what="frame 1 of the result (only frame 0 is known)")
at = ALPHA_BAR[torch.tensor(path)]
none = "The denoiser is given a clean frame 0, as it never saw one at such steps"
sizes = torch.stack([x[:, :, 0].std(dim=(0, 2, 3)).mean() for x in given])
hold(sizes, (1 - at).sqrt(), {none: torch.zeros(5)}, what="the deviation of frame 0 in five steps", atol=0.04)
### BEGIN HIDDEN TESTS
centre = torch.stack([x[:, :, 0].mean(dim=(0, 2, 3)) for x in given])
right = at.sqrt()[:, None] * REST
right[0] = centre[0]  # pure noise, whatever the first step is
left = {"Frame 0 has the noise of its step, but around 0 and not around a frame at rest": 0 * right}
hold(centre[1:], right[1:], left, what="the mean of frame 0 from the second step on", atol=0.08)
other = numbers(0.5, -0.5, 2.0)
answer = mended(lambda x, t: 0 * x, 1, [0], (3, 2, 2, 2), [900, 400], ALPHA_BAR, other)
hold(answer[0, :, 0], other.view(3, 1, 1).expand(3, 2, 2), what="frame 0 of the result with another rest")
made = []
keep = lambda x, t: (made.append((0.3 * x, 0.3 * x)), made[-1][0])[1]
mended(keep, 1, [0], (3, 2, 2, 2), [900, 400], ALPHA_BAR, other)
for one, same in made:
    hold(one, same, what="the denoiser's own tensor (your function changes it in place, and must not)")
### END HIDDEN TESTS


# %% nbgrader={"grade": false, "grade_id": "draw_mended", "locked": false, "schema_version": 3, "solution": false, "task": false}
def in_the_middle(sampler) -> Tensor:
    given = []
    sampler(lambda x, t: (given.append(x.clone()), 0.5 * x)[1], 0, list(range(8)), (3, 6, 8, 8), [900, 700, 500], ALPHA_BAR)
    return given[-1].std(dim=(0, 3, 4)).mean(dim=0)


plt.figure(figsize=(6, 2.6))
plt.plot(in_the_middle(mended), "o-", label="mended")
plt.plot(in_the_middle(broken), "s--", color=viz.COLOURS["orange"], label="as given")
plt.xlabel("frame")
plt.ylabel("deviation at step 500")
plt.ylim(0, None)
plt.legend()
plt.show()

# %% [markdown]
# ## Exercise 6: near, and yet not alike (7 points, 40 minutes)
#
# *Goal: to measure fidelity and diversity by one kind of distance, and to see what each of them misses. Read chapter 07,
# "What it does to the mixture" and "The label is right, the sample is not".*
#
# Two motions are apart by the mean, over all frames but frame 0 and over all places, of the length of the difference of their
# flow vectors. From generated clips and real ones, each with a label, report:
#
# * `spread`: how far two different generated clips of one label are apart, on average over all pairs. Then the mean over labels,
#   each counted once;
# * `real_spread`: the same of the real clips;
# * `gap`: how far a generated clip and a real one of the same label are apart, on average over all pairs; the mean over labels;
# * `energy`: the energy distance, twice the gap minus both spreads, label by label and then the mean over labels.
#
# Labels of which there are fewer than two generated or fewer than two real clips are left out everywhere. Estimates shall be
# unbiased: if both are drawn from the same distribution, `energy` is 0 on average over many draws. Can it be negative?
#
# ![Three curves over the spread of a sampler in units of the true one, from 0 to 2. The gap rises from the left; the spread rises in a straight line from 0; the energy falls to 0 at 1 and rises again.](figures/ps6_generation_report.png)
#
# *What a right answer draws: the gap (full), the spread (dashed) and the energy (dash and dot) of samplers whose motions
# spread more or less than the real ones, around the right mean. A collapsed sampler, at the left, has the best gap.*


# %% nbgrader={"grade": false, "grade_id": "report", "locked": false, "schema_version": 3, "solution": true, "task": false}
def report(made: Tensor, real: Tensor, made_label: Tensor, real_label: Tensor) -> dict[str, float]:
    """Fidelity and diversity of generated motion.

    Args:
        made, real: flow of generated and of real clips, (n, 2, T, h, w) and (m, 2, T, h, w).
        made_label, real_label: integers, (n,) and (m,).

    Returns:
        "spread", "real_spread", "gap" and "energy".
    """
    ### BEGIN SOLUTION
    apart = lambda a, b: (a[:, None] - b[None])[:, :, :, 1:].norm(dim=2).mean(dim=(2, 3, 4))
    others = lambda d: d.sum() / (len(d) * (len(d) - 1))  # the diagonal is 0
    rows = []
    for label in made_label.unique().tolist():
        a, b = made[made_label == label], real[real_label == label]
        if min(len(a), len(b)) >= 2:
            rows.append([others(apart(a, a)), others(apart(b, b)), apart(a, b).mean()])
    spread, real_spread, gap = torch.tensor(rows).mean(dim=0).tolist()
    return {"spread": spread, "real_spread": real_spread, "gap": gap, "energy": 2 * gap - spread - real_spread}
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "report-1", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# One label. Three generated clips that move evenly, by (0, 0), (0.3, 0.4) and (0, 0.1), in all frames but the first.
### BEGIN HIDDEN TESTS
def by_pairs(made, real, made_label, real_label):
    """The report, a pair of clips at a time."""

    def apart(one, two):
        x, y = (one - two)[0, 1:].flatten().tolist(), (one - two)[1, 1:].flatten().tolist()
        lengths = [math.hypot(a, b) for a, b in zip(x, y, strict=True)]
        return sum(lengths) / len(lengths)

    mean = lambda values: sum(values) / len(values)
    rows = {"spread": [], "real_spread": [], "gap": []}
    for label in set(made_label.tolist()):
        a = [clip for clip, its in zip(made, made_label.tolist(), strict=True) if its == label]
        b = [clip for clip, its in zip(real, real_label.tolist(), strict=True) if its == label]
        if min(len(a), len(b)) > 1:
            for name, clips in (("spread", a), ("real_spread", b)):
                rows[name].append(mean([apart(p, q) for i, p in enumerate(clips) for q in clips[:i]]))
            rows["gap"].append(mean([apart(p, q) for p in a for q in b]))
    found = {name: mean(values) for name, values in rows.items()}
    return found | {"energy": 2 * found["gap"] - found["spread"] - found["real_spread"]}


### END HIDDEN TESTS
def evenly(*pairs):
    """Clips (n, 2, 4, 2, 2) at rest in frame 0, and moving by (x, y) in the others."""
    clips = numbers(*(value for pair in pairs for value in pair)).view(-1, 2, 1, 1, 1).repeat(1, 1, 4, 2, 2)
    clips[:, :, 0] = 0
    return clips


made, real = evenly((0, 0), (0.3, 0.4), (0, 0.1)), evenly((0, 0), (0, 0.2))
labels = torch.zeros(3, dtype=torch.long), torch.zeros(2, dtype=torch.long)
answer = report(made.clone(), real.clone(), *labels)
hold(answer, dict.fromkeys(("spread", "real_spread", "gap", "energy"), 0.0), what="the report", atol=math.inf)
mistakes = {
    "A clip is not paired with itself: such pairs have distance 0, and make all spreads too small": 0.2276142,
    "Frame 0 is counted, where nothing ever moves": 0.2560660,
    "Distances are squared; their mean is asked": 0.1466667,
    "Each pair is one pair: the sum is divided by too little": 0.6828427,
    "The two components are averaged apart; the length of the vector is asked": 0.2333333,
}
### BEGIN HIDDEN TESTS
mistakes["That is a root over all places; the mean over places of lengths is asked"] = 0.3414214 * 12**0.5
### END HIDDEN TESTS
hold(answer["spread"], 0.3414214, mistakes, what="the spread of three clips")
mistakes = {
    "A clip is not paired with itself: such pairs have distance 0, and make all spreads too small": 0.1,
    "Frame 0 is counted, where nothing ever moves": 0.15,
}
hold(answer["real_spread"], 0.2, mistakes, what="the spread of two real clips")
### BEGIN HIDDEN TESTS
made, real = 0.1 * normal(61, 5, 2, 4, 3, 2), 0.2 * normal(62, 4, 2, 4, 3, 2)
one = torch.zeros(5, dtype=torch.long), torch.zeros(4, dtype=torch.long)
answer, right = report(made.clone(), real.clone(), *one), by_pairs(made, real, *one)
frame = {"Frame 0 is counted": by_pairs(*(torch.cat([x[:, :, :1], x], dim=2) for x in (made, real)), *one)["spread"]}
hold(answer["spread"], right["spread"], frame, what="the spread of five clips with a frame 0 that moves")
hold(answer["real_spread"], right["real_spread"], what="the spread of four real clips")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "report-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# The gap: pairs of a generated and a real clip, all of them.
made, real = evenly((0, 0), (0.3, 0.4), (0, 0.1)), evenly((0, 0), (0, 0.2))
mistakes = {
    "Only the nearest real clip is counted": 0.1535184,
    "Frame 0 is counted, where nothing ever moves": 0.1575694,
    "Clips are paired by their place in the two sets; all pairs are asked": 0.1802776,
}
### BEGIN HIDDEN TESTS
lengths = [0.0, 0.2, 0.5, 0.13**0.5, 0.1, 0.1]
mistakes = {
    "Only the nearest real clip is counted": (0 + 0.13**0.5 + 0.1) / 3,
    "Frame 0 is counted, where nothing ever moves": sum(lengths) / 8,
    "Clips are paired by their place in the two sets; all pairs are asked": 0.13**0.5 / 2,
    "In a set of pairs of two kinds no pair is left out": sum(lengths) / 5,
    "That is the distance of the means; the mean of distances is asked": (0.1**2 + (0.1 / 1.5) ** 2) ** 0.5,
}
### END HIDDEN TESTS
hold(report(made.clone(), real.clone(), *labels)["gap"], 0.2100925, mistakes, what="the gap of three clips and two real ones")
### BEGIN HIDDEN TESTS
made, real = 0.1 * normal(63, 3, 2, 3, 2, 2), 0.2 * normal(64, 6, 2, 3, 2, 2)
one = torch.ones(3, dtype=torch.long), torch.ones(6, dtype=torch.long)
hold(report(made.clone(), real.clone(), *one)["gap"], by_pairs(made, real, *one)["gap"], what="the gap of random clips")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "report-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Labels: clips of two labels are never compared, and each label counts once. Label 2 has one real clip alone.
made = evenly((0, 0), (0, 0.1), (0.9, 0), (0.9, 0.4), (0.9, 0.8), (5, 5), (6, 6))
real = evenly((0, 0), (0, 0.3), (0.9, 0), (0.9, 0.1), (3, 3))
labels = torch.tensor([0, 0, 1, 1, 1, 2, 2]), torch.tensor([0, 0, 1, 1, 2])
answer = report(made.clone(), real.clone(), *labels)
mistakes = {
    "Each label counts once, however many pairs it has": 0.425,
    "A label with fewer than two real clips is left out": 0.6825159,
}
hold(answer["spread"], (0.1 + 1.6 / 3) / 2, mistakes, what="the spread within two labels")
### BEGIN HIDDEN TESTS
hold(answer["real_spread"], 0.2, what="the real spread within two labels")
alone = {"A label with fewer than two real clips is left out everywhere": (0.15 + 2.3 / 6 + 12.5**0.5) / 3}
hold(answer["gap"], by_pairs(made, real, *labels)["gap"], alone, what="the gap within two labels")
made, real = 0.1 * normal(65, 12, 2, 3, 2, 2), 0.2 * normal(66, 9, 2, 3, 2, 2)
labels = torch.tensor([7, 3, 3, 7, 7, 7, 5, 5, 9, 1, 1, 7]), torch.tensor([3, 3, 3, 7, 7, 5, 9, 9, 4])
for i in (0, 1):
    (made, real)[i].add_(labels[i].double().view(-1, 1, 1, 1, 1))
answer, right = report(made.clone(), real.clone(), *labels), by_pairs(made, real, *labels)
mixed = by_pairs(made, real, labels[0] * 0, labels[1] * 0)
for name in ("spread", "real_spread", "gap"):
    mistakes = {"Clips of different labels are compared": mixed[name]}
    hold(answer[name], right[name], mistakes, what=f"the {name} of clips of many labels")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "report-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# The energy: 0 on average where both are drawn alike, here from 400 draws of three clips and two.
found = []
for i in range(400):
    clips = normal(700 + i, 5, 2, 2, 1, 1)
    found.append(report(clips[:3], clips[3:], torch.zeros(3).long(), torch.zeros(2).long())["energy"])
mistakes = {
    "The gap counts twice: the energy of two equal distributions is 0": -1.77,
    "A clip is not paired with itself; with such pairs the energy is too large": 1.48,
    "An unbiased estimate of 0 is sometimes negative, and yours never is: do not cut it at 0": sum(abs(e) for e in found)
    / 400,
}
hold(sum(found) / 400, 0.0, mistakes, what="the energy of two equal distributions, on average", atol=0.15)
kept = clips.clone()
report(clips[:3], clips[3:], torch.zeros(3).long(), torch.zeros(2).long())
hold(clips, kept, what="the clips after the call (your function changes its input in place, and must not)")
### BEGIN HIDDEN TESTS
made, real = 0.1 * normal(67, 7, 2, 3, 2, 2), 0.3 + 0.2 * normal(68, 6, 2, 3, 2, 2)
labels = torch.tensor([0, 0, 1, 1, 1, 0, 1]), torch.tensor([1, 0, 0, 1, 0, 1])
right = by_pairs(made, real, *labels)
mistakes = {
    "The gap counts twice": right["gap"] - right["spread"] - right["real_spread"],
    "The real clips' spread is subtracted as well": 2 * right["gap"] - right["spread"],
    "The generated clips' spread is subtracted as well": 2 * right["gap"] - right["real_spread"],
    "The sign is wrong: clips that are further off have more energy": -right["energy"],
}
hold(report(made, real, *labels)["energy"], right["energy"], mistakes, what="the energy of clips of two labels")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "draw_report", "locked": false, "schema_version": 3, "solution": false, "task": false}
real = 0.05 * normal(69, 100, 2, 2, 1, 1)
widths = [0.1 * i for i in range(21)]
rows = [
    report(width * 0.05 * normal(70, 100, 2, 2, 1, 1), real, torch.zeros(100).long(), torch.zeros(100).long())
    for width in widths
]
plt.figure(figsize=(6, 2.8))
for name in ("gap", "spread", "energy"):
    plt.plot(widths, [row[name] for row in rows], label=name)
plt.axhline(0, color="0.6", linewidth=0.8)
plt.xlabel("spread of the sampler in units of the true one")
plt.legend()
plt.show()

# %% [markdown]
# ## Exercise 7: people, not frames (6 points, 35 minutes)
#
# *Goal: to put an interval around a ratio, from what was really drawn. Read chapter 07, "Why use it, then?", for the bootstrap,
# and chapter 09, "Unseen subjects".*
#
# A model's motion is compared with the true one: per frame, the mean length of the generated flow (`above`) and of the true
# flow (`below`) over the pixels of one kind, such as hidden ones. A frame without such a pixel has NaN in both. The figure that is
# reported is a **ratio of sums**: all of `above` over all of `below`.
#
# How far may it be trusted? Frames of a clip are alike, and so are clips of a person. What was drawn at random when the test set
# was collected are *people*. So draw people anew, with replacement, each with all of their clips and frames, as often as drawn.
#
# Rows of `draws` say who is drawn. Return the ratio of each row, and the interval between the quantiles $(1 - c)/2$ and
# $(1 + c)/2$ of these ratios for the `confidence` $c$, with `torch.quantile` or as it interpolates.
#
# ![Two histograms of a ratio. The one of drawn frames is narrow and high; the one of drawn people is about five times as wide.](figures/ps6_generation_redrawn.png)
#
# *What a right answer draws: ratios of 2000 draws of people (blue, hatched), and of as many in which each frame counts as a
# person (orange, broken). 6 people, 4 clips of each, 15 frames a clip; the ratio of all is 1.*


# %% nbgrader={"grade": false, "grade_id": "redrawn", "locked": false, "schema_version": 3, "solution": true, "task": false}
def redrawn(
    above: Tensor, below: Tensor, person: Tensor, draws: Tensor, confidence: float = 0.95
) -> tuple[Tensor, tuple[float, float]]:
    """Ratios of sums when people are drawn anew, and an interval.

    Args:
        above, below: one number a frame, (n, T) for n clips; NaN in both where a frame has none.
        person: whose clip it is, (n,), integers from 0 to m - 1.
        draws: people, (r, m); one may come several times in a row, or not at all.

    Returns:
        A ratio for each row, (r,), and the ends of the interval.
    """
    ### BEGIN SOLUTION
    people = draws.shape[1]
    of = lambda values: above.new_zeros(people).index_add(0, person, values.nan_to_num().sum(dim=1))  # (m,)
    ratios = of(above)[draws].sum(dim=1) / of(below)[draws].sum(dim=1)
    low, high = ratios.quantile((1 - confidence) / 2), ratios.quantile((1 + confidence) / 2)
    return ratios, (low.item(), high.item())
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "redrawn-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Everyone once: the plain ratio of sums.
### BEGIN HIDDEN TESTS
def collected(above, below, person, draws):
    """Ratios, by a list of all frames of the drawn people."""
    found = []
    for row in draws.tolist():
        tops, bottoms = [], []
        for who in row:
            for i, its in enumerate(person.tolist()):
                if its == who:
                    there = [j for j, value in enumerate(above[i].tolist()) if value == value]
                    tops += above[i][there].tolist()
                    bottoms += below[i][there].tolist()
        found.append(math.fsum(tops) / math.fsum(bottoms))
    return numbers(*found)


### END HIDDEN TESTS
above, below = torch.tensor([[1.0, 2.0], [3.0, 3.0]]).double(), torch.tensor([[1.0, 1.0], [2.0, 4.0]]).double()
person, everyone = torch.tensor([0, 1]), torch.tensor([[0, 1]])
ratios, ends = redrawn(above.clone(), below.clone(), person.clone(), everyone)
mistakes = {
    "That is a mean of the frames' ratios; a ratio of sums is asked": numbers(1.3125),
    "That is a mean of the clips' ratios; a ratio of sums is asked": numbers(1.25),
    "The ratio is upside down": numbers(0.8888889),
}
hold(ratios, numbers(1.125), mistakes, what="the ratio of everyone once")
### BEGIN HIDDEN TESTS
above, below = normal(71, 4, 3).abs(), normal(72, 4, 3).abs() + 0.2
person, everyone = torch.tensor([2, 0, 1, 3]), torch.tensor([[3, 1, 0, 2]])
mistakes = {
    "That is a mean of the frames' ratios; a ratio of sums is asked": (above / below).mean().view(1),
    "That is a mean of the clips' ratios; a ratio of sums is asked": (above.sum(1) / below.sum(1)).mean().view(1),
    "The ratio is upside down": (below.sum() / above.sum()).view(1),
}
right = (above.sum() / below.sum()).view(1)
hold(redrawn(above, below, person, everyone)[0], right, mistakes, what="the ratio of four people once")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "redrawn-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Drawn twice counts twice, and not drawn not at all. Clips are in no order: 0 and 2 are of person 1.
above = torch.tensor([[1.0, 1.0], [2.0, 4.0], [3.0, 3.0], [0.0, 1.0]]).double()
below = torch.tensor([[1.0, 3.0], [1.0, 1.0], [2.0, 2.0], [1.0, 2.0]]).double()
person, draws = torch.tensor([1, 0, 1, 2]), torch.tensor([[0, 0, 1], [1, 1, 1], [2, 0, 2]])
ratios, _ = redrawn(above.clone(), below.clone(), person.clone(), draws.clone())
mistakes = {
    "Whoever is drawn twice counts twice": numbers(1.4, 1.0, 1.4),
    "The draws are of people; you take them for indices of clips": numbers(1.0, 3.0, 1.1666667),
}
### BEGIN HIDDEN TESTS
mistakes = {
    "Whoever is drawn twice counts twice": numbers(14 / 10, 1.0, 7 / 5),
    "The draws are of people; you take them for indices of clips": numbers(10 / 10, 3.0, 14 / 12),
    "Of each person all clips are drawn, not only the first": numbers(14 / 8, 2 / 4, 8 / 8),
    "That is a mean of people's ratios; a ratio of sums is asked": numbers(7 / 3, 1.0, (3 + 2 / 3) / 3),
    "You do not draw: all rows give the ratio of everyone": numbers(*[15 / 13] * 3),
}
### END HIDDEN TESTS
hold(ratios, numbers(20 / 12, 1.0, 1.0), mistakes, what="the ratios of three draws of three people")
### BEGIN HIDDEN TESTS
above, below = normal(73, 9, 4).abs(), normal(74, 9, 4).abs() + 0.2
person = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2])
draws = torch.randint(3, (20, 3), generator=torch.Generator().manual_seed(75))
right = collected(above, below, person, draws)
hold(redrawn(above, below, person, draws)[0], right, what="the ratios of twenty draws")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "redrawn-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# People with more clips than others, and frames without such a pixel.
none = math.nan
above = torch.tensor([[1.0, none], [2.0, 4.0], [none, none]]).double()
below = torch.tensor([[2.0, none], [1.0, 1.0], [none, none]]).double()
person, draws = torch.tensor([0, 0, 1]), torch.tensor([[0, 1], [0, 0]])
mistakes = {
    "Clips count alike, however many frames have such pixels: a ratio of sums is asked": numbers(1.3333333, 1.3333333),
}
hold(redrawn(above, below, person, draws)[0], numbers(1.75, 1.75), mistakes, what="the ratios where a person has no frame")
### BEGIN HIDDEN TESTS
above, below = normal(76, 7, 5).abs(), normal(77, 7, 5).abs() + 0.2
gone = normal(78, 7, 5) > 0.6
above, below = above.masked_fill(gone, none), below.masked_fill(gone, none)
person = torch.tensor([3, 0, 0, 1, 0, 2, 3])
draws = torch.randint(4, (30, 4), generator=torch.Generator().manual_seed(79))
per = lambda values: torch.stack([values[person == who].nanmean() for who in range(4)])[draws].mean(dim=1)
clip = lambda values: torch.stack([values[person == who].nanmean(dim=1).sum() for who in range(4)])[draws].sum(dim=1)
mistakes = {
    "People count alike, however many clips they have: a ratio of sums is asked": per(above) / per(below),
    "Clips count alike, however many frames have such pixels: a ratio of sums is asked": clip(above) / clip(below),
}
right = collected(above, below, person, draws)
kept = above.clone(), below.clone(), person.clone(), draws.clone()
hold(redrawn(above, below, person, draws)[0], right, mistakes, what="the ratios of unequal people")
hold((above, below, person, draws), kept, what="what was given (changed in place)")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "redrawn-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# The interval: between quantiles of the ratios. Here person i has the ratio i, and is drawn alone: 0, 1, ..., 4.
above, below = torch.arange(5.0).double()[:, None], torch.ones(5, 1, dtype=torch.float64)
draws = torch.arange(5)[:, None].expand(5, 5)
mistakes = {
    "A tail of (1 - c) / 2 is left out at each side, not of 1 - c": (2.0, 2.0),
    "That is mean and deviation; the interval is between quantiles": (2.0 - 1.96 * 2**0.5, 2.0 + 1.96 * 2**0.5),
    "These are the smallest and the largest ratio": (0.0, 4.0),
}
hold(redrawn(above, below, torch.arange(5), draws, 0.5)[1], (1.0, 3.0), mistakes, what="the interval of 50 %")
### BEGIN HIDDEN TESTS
mistakes = {
    "A tail of (1 - c) / 2 is left out at each side, not of 1 - c": (0.8, 3.2),
    "These are the smallest and the largest ratio": (0.0, 4.0),
    "The confidence is an argument; you use 0.95": (0.1, 3.9),
}
hold(redrawn(above, below, torch.arange(5), draws, 0.8)[1], (0.4, 3.6), mistakes, what="the interval of 80 %")
hold(redrawn(above, below, torch.arange(5), draws)[1], (0.1, 3.9), what="the interval of 95 %")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "draw_redrawn", "locked": false, "schema_version": 3, "solution": false, "task": false}
own = 1 + 0.3 * normal(81, 6)[:, None].expand(6, 4).flatten()  # each person moves too much or too little, in all clips
own = own - own.mean() + 1
top, bottom = own[:, None] + 0.2 * normal(82, 24, 15), torch.ones(24, 15, dtype=torch.float64)
g = torch.Generator().manual_seed(83)
by_people, ends = redrawn(top, bottom, torch.arange(24) // 4, torch.randint(6, (2000, 6), generator=g))
frames = torch.randint(360, (2000, 360), generator=g)
by_frames, close = redrawn(top.view(360, 1), bottom.view(360, 1), torch.arange(360), frames)
plt.figure(figsize=(6, 2.8))
style = dict(bins=40, range=(0.6, 1.4), density=True, histtype="step")
plt.hist(by_people.numpy(), **style, hatch="///", color=viz.COLOURS["blue"], label="people drawn")
plt.hist(by_frames.numpy(), **style, color=viz.COLOURS["orange"], label="frames drawn")
plt.xlabel("ratio of generated and true motion")
plt.yticks([])
plt.legend()
plt.show()
print(f"95 %, people: {ends[0]:.2f} to {ends[1]:.2f}; frames: {close[0]:.2f} to {close[1]:.2f}")

# %% [markdown]
# ## Exercise 8: held against what? (4 points, 20 minutes)
#
# *Goal: to see through a yardstick that was made of the same wood. Read chapter 09, "The data of stage two" and "Unseen
# subjects".*
#
# ![Three groups of three bars, lengths in pixels. Moving pixels: truth 4.0, the model's own estimate 2.7, generated 2.7. Still pixels: truth 0, own estimate 0.4, generated 0.4. Hidden pixels: truth 5.0, own estimate 1.5, generated 1.5.](figures/ps6_generation_reading.png)
#
# *Made-up figures: the mean length of flow in 60 clips of 12 people, on the pixels that truly move, stand still, or are hidden
# in the given picture. Blue: the true flow, known from the renderer. Orange, hatched: what the model's own stage one estimates
# in these real clips. Green, dotted: flow that stage two generates, with the same people and labels.*
#
# Answer in the cell below, in at most 200 words:
#
# 1. A report says: "on all three kinds of pixels, generated motion is 100 % of real motion". How was the ratio made, and why
#    does it say nothing of the faults in this figure?
# 2. Which two faults does the figure show, and on which pixels? Which stage would you work on, and why would another training of
#    stage two not help?
# 3. Nine in ten pixels stand still, and two in a hundred are hidden. Over *all* pixels the truth moves by 0.42 pixels on
#    average, and the generated flow by 0.61. Why is the ratio of 1.4 no proof that the model moves too much?
# 4. The label is read correctly in 96 % of the generated clips, and the interval of a bootstrap over their 900 frames is 95 to
#    97 %. Name two things that these numbers do not rule out or get wrong.

# %% [markdown] nbgrader={"grade": true, "grade_id": "held_against", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# 1. Numerator and denominator are both from stage one: stage two learned to draw what stage one estimates, so the two agree
#    even where both are wrong. It says that stage two has learned its data, and no more; the yardstick must be the true flow.
# 2. What moves does so by too little (two thirds; hidden pixels less than a third), and what stands still moves by 0.4 pixels.
#    Both are in stage one's estimate already, which is what stage two is trained on; a better training of stage two would hit the
#    same wrong data more exactly.
# 3. The excess is the leak on still pixels, which are nine in ten; where things truly move, the flow is too short. One mean over
#    all pixels adds two faults of opposite sign.
# 4. A collapsed sampler, which draws one clip a label, is read just as well: diversity is not seen. And frames of a clip, and clips
#    of a person, are not independent: people must be drawn, and then the interval is much wider. (Or: the judge may look at
#    something else than the motion.)
