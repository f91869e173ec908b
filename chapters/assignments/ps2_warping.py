# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Problem set 2: Warping and regions
#
# You fetch pixels with pencil and paper, repair a blend that leaves ghosts, find the flow of a frame that nobody took,
# and find out
# what regions of a picture tell about motion, and what they cannot.
#
# **You need** chapters 03 (Latent warping) and 04 (Region motion), PyTorch tensors, covariances, and linear least
# squares. **It takes** about five hours: seven exercises, 50 points, and 3 more for a written answer. **You may use**
# PyTorch, `lfdm_lite`, and your own cells of the chapters. No exercise needs the answer of another, so begin where you
# like. 1 to 3 belong to chapter 03 and 4 to 7 to chapter 04, each sorted from easy to hard.
#
# **How it works.** Write your code below the docstring, in place of `raise NotImplementedError`; keep names and
# arguments as they are. Helpers of your own belong into the same cell. The cells below an answer test it: run them. If
# nothing is printed the test passes, and otherwise it says what is amiss. When your work is marked, the same cells test
# more cases than you see here. The last cell of each exercise draws what your function does; change it as you like.
#
# | exercise | kind | minutes | points |
# |---|---|---|---|
# | 1 Seven numbers | predict | 30 | 6 |
# | 2 Ghosts and holes | debug | 45 | 8 |
# | 3 The frame between | derive and check | 60 | 8, and 3 written |
# | 4 The regions of a copy | predict | 35 | 6 |
# | 5 Two regions become one | derive and check | 40 | 7 |
# | 6 Hold the camera still | implement | 55 | 8 |
# | 7 What a region cannot tell | derive and check | 45 | 7 |
#
# Everywhere, a *flow* is backward and normalized: channel 0 is $x$ to the right, channel 1 is $y$ down, and the picture
# spans $[-1, 1]$, from edge to edge. Outside, the border repeats, unless the text says otherwise.

# %% nbgrader={"grade": false, "grade_id": "given", "locked": true, "schema_version": 3, "solution": false, "task": false}
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor

import lfdm_lite as lfdm
from lfdm_lite import viz
from lfdm_lite.course.checks import hold
from lfdm_lite.geometry import resize, sample_at
from lfdm_lite.regions import affine_frame, moments

viz.use_style()


def rotation(angle: float) -> Tensor:
    """The matrix (2, 2) that turns points by an angle in radians, clockwise on the screen."""
    return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def linear_flow(matrix: Tensor, h: int, w: int) -> Tensor:
    """The flow (1, 2, h, w) by which every position p looks at matrix times p."""
    grid = lfdm.identity_grid(h, w)
    return (torch.einsum("ij,jhw->ihw", matrix, grid) - grid)[None]


def everywhere(x: float, y: float, h: int, w: int) -> Tensor:
    """The flow (1, 2, h, w) that is the same at all pixels."""
    return torch.tensor([float(x), float(y)])[None, :, None, None].expand(1, 2, h, w).clone()


def smooth(channels: int, h: int, w: int, seed: int) -> Tensor:
    """Random maps (1, channels, h, w) without edges, mostly between -1 and 1."""
    coarse = torch.randn(1, channels, 4, 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(h, w), mode="bicubic", align_corners=False) / 2


def blob(shift: Tensor, covariance: Tensor, h: int = 64, w: int = 64) -> Tensor:
    """A bell of height 1 as a picture (1, 1, h, w), with its mean (2,) and covariance (2, 2)."""
    offset = lfdm.identity_grid(h, w) - shift[:, None, None]
    return torch.exp(-torch.einsum("ihw,ij,jhw->hw", offset, torch.linalg.inv(covariance), offset) / 2)[None, None]


def ellipse(ax, shift: Tensor, covariance: Tensor, colour: str, line: str = "-") -> None:
    """Two standard deviations around a mean (2,), drawn on axes."""
    around = torch.linspace(0, 2 * math.pi, 60)
    edge = shift[:, None] + 2 * affine_frame(covariance) @ torch.stack([around.cos(), around.sin()])
    ax.plot(*edge, color=viz.COLOURS[colour], linestyle=line)
    ax.plot(*shift, "+", color=viz.COLOURS[colour], markersize=9)


# %% [markdown]
# ## 1. Seven numbers (6 points, 30 minutes)
#
# **You learn** to compute a warped pixel and its gradients without a computer. **Read first** chapter 03, "Half a pixel", "Borders", and "The gradient, by hand".
#
# ![A row of five square pixels, numbered 0 to 4, which hold the values 5, 2, 0, 8 and 3. The outer edges are marked -1 and 1. An arrow starts at the centre of column 1 and points to the right; where it ends is not shown.](figures/ps2_warping_pencil.png)
#
# *The source: one row of five pixels. Columns are counted from 0.*
#
# Find seven numbers with pencil and paper, then run the tests. What you see of them only looks whether these are numbers;
# the curves in the last cell of the exercise, which are computed, tell more.
#
# * **A** The pixel in column 1 has the flow $f_x = 0.5$. Which value does it fetch?
# * **B** The derivative of A with respect to that $f_x$.
# * **C** The pixel in column 4 has the flow $f_x = 0.28$. Which value does it fetch, if the border repeats?
# * **D** The same, if zeros are outside.
# * **E** The derivative of D with respect to that $f_x$.
# * **F** Another program puts the *centres* of the first and the last pixel at $-1$ and $1$. It writes down where column
#   3 is, and `lfdm_lite` looks there. Which value is fetched?
# * **G** All five pixels have the flow $0.5$, and the border repeats. The loss is the sum of the warped row. What is its
#   derivative with respect to the value in column 4 of the source?

# %% nbgrader={"grade": false, "grade_id": "pencil", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pencil() -> dict[str, float]:
    """Your seven numbers: {"A": ..., ..., "G": ...}."""
    ### BEGIN SOLUTION
    return {"A": 2.0, "B": 20.0, "C": 3.0, "D": 0.9, "E": -7.5, "F": 6.75, "G": 2.25}
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pencil-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: the table has seven numbers, and A.
table = pencil()
kinds = {letter: "a number" if isinstance(n, int | float) else n for letter, n in table.items()} if isinstance(table, dict) else table
hold(kinds, dict.fromkeys("ABCDEFG", "a number"), what="your table")
### BEGIN HIDDEN TESTS
row = torch.tensor([5.0, 2, 0, 8, 3])[None, None, None]  # (1, 1, 1, 5)
right = lfdm.warp(row, everywhere(0.5, 0, 1, 5))[0, 0, 0, 1].item()
mistakes = {
    "The flow is taken for pixels; five pixels span 2, so 0.5 is more than one: chapter 03, 'Half a pixel'": 1.0,
    "As if 1 of the flow were the whole picture; from edge to edge is 2: chapter 03, 'Half a pixel'": 5.5,
    "From the first centre to the last are four pixels, but -1 and 1 are edges: chapter 03, 'Half a pixel'": 0.0,
    "This looks to the left; the flow says where to look: chapter 03, 'Version 1: a loop over pixels'": 5.0,
    "The weights look exchanged: the nearer pixel has the larger one: chapter 03, 'Between pixels'": 6.0,
}
hold(table["A"], right, mistakes, what="A")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "pencil-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: B and E, derivatives with respect to the flow.
table = pencil()
kinds = {k: "a number" if isinstance(table.get(k), int | float) else None for k in "BE"} if isinstance(table, dict) else table
hold(kinds, {"B": "a number", "E": "a number"}, what="your derivatives")
### BEGIN HIDDEN TESTS
def pushed(column, f_x, outside):
    """A difference quotient."""
    row = torch.tensor([5.0, 2, 0, 8, 3])[None, None, None]
    a, b = (lfdm.warp(row, everywhere(f_x + e, 0, 1, 5), outside=outside)[0, 0, 0, column].item() for e in (-0.01, 0.01))
    return (b - a) / 0.02


per_unit = "This is a slope per pixel; one unit of the flow is W / 2 pixels: chapter 03, 'The gradient, by hand'"
twice = "Twice what it should be: one unit of the flow is W / 2 pixels, not W: chapter 03, 'The gradient, by hand'"
between = "One unit of the flow is W / 2 pixels, not (W - 1) / 2: chapter 03, 'Half a pixel'"
sign = "The sign: the pixel to the right of the position counts positive: chapter 03, 'The gradient, by hand'"
mistakes = {
    per_unit: 8.0,
    twice: 40.0,
    between: 16.0,
    sign: -20.0,
    "The slope is taken where the pixel stands, not where it looks: chapter 03, 'The gradient, by hand'": -5.0,
}
hold(table["B"], pushed(1, 0.5, "border"), mistakes, what="B", atol=1e-2)  # a difference quotient in float32
mistakes = {
    per_unit: -3.0,
    twice: -15.0,
    between: -6.0,
    sign: 7.5,
    "This is flat, as with a repeated border; zeros fade in within one pixel: chapter 03, 'Borders'": 0.0,
    "The slope is taken inside, left of the last pixel: chapter 03, 'Borders'": -12.5,
}
hold(table["E"], pushed(4, 0.28, "zeros"), mistakes, what="E", atol=1e-2)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "pencil-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: C and D, beyond the border.
table = pencil()
kinds = {k: "a number" if isinstance(table.get(k), int | float) else None for k in "CD"} if isinstance(table, dict) else table
hold(kinds, {"C": "a number", "D": "a number"}, what="your values outside")
### BEGIN HIDDEN TESTS
row = torch.tensor([5.0, 2, 0, 8, 3])[None, None, None]
repeats, zeros = (lfdm.warp(row, everywhere(0.28, 0, 1, 5), outside=o)[0, 0, 0, 4].item() for o in ("border", "zeros"))
mistakes = {
    "This is what zeros outside give; here the border repeats: chapter 03, 'Borders'": zeros,
    "The row is continued as a straight line; a border that repeats is flat: chapter 03, 'Borders'": -0.5,
    "Outside is black here, and the border should repeat: chapter 03, 'Borders'": 0.0,
}
hold(table["C"], repeats, mistakes, what="C")
mistakes = {
    "Zeros fade in, from the centre of the last pixel to one pixel further: chapter 03, 'Borders'": 0.0,
    "This is what a repeated border gives; here zeros are outside: chapter 03, 'Borders'": repeats,
    "The weights look exchanged: 0.7 pixels from the last centre its weight is small: chapter 03, 'Between pixels'": 2.1,
    "The flow is taken for pixels: chapter 03, 'Half a pixel'": 0.72 * 3,
}
hold(table["D"], zeros, mistakes, what="D")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "pencil-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: F, two conventions mixed.
table = pencil()
hold(table.get("F") if isinstance(table, dict) else table, 0.0, what="F", atol=1e3)  # a number
### BEGIN HIDDEN TESTS
row = torch.tensor([5.0, 2, 0, 8, 3])[None, None, None]
written = torch.linspace(-1, 1, 5)[3].item()
right = sample_at(row, torch.tensor([written, 0.0]).view(1, 2, 1, 1)).item()
mistakes = {
    "This is as if both programs meant the same; -1 and 1 are edges for one, centres for the other: chapter 03, 'Half a pixel'": 8.0,
    "Writing and reading are exchanged: centres write, edges read: chapter 03, 'Half a pixel'": 6.4,
}
hold(table["F"], right, mistakes, what="F")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "pencil-5", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: G, what is scattered back to the source.
table = pencil()
hold(table.get("G") if isinstance(table, dict) else table, 0.0, what="G", atol=1e3)  # a number
### BEGIN HIDDEN TESTS
row = torch.tensor([5.0, 2, 0, 8, 3], requires_grad=True)
lfdm.warp(row[None, None, None], everywhere(0.5, 0, 1, 5)).sum().backward()
mistakes = {
    "Pixels that look outside fetch the border, so they count in full: chapter 03, 'The gradient, by hand'": 0.25,
    "The value itself is no part of this derivative, weights are: chapter 03, 'The gradient, by hand'": 6.75,
    "Not every source pixel is fetched once; add the weights of all pixels that look at it: chapter 03, 'The gradient, by hand'": 1.0,
    "Two pixels look outside, and one lands between columns 3 and 4: chapter 03, 'The gradient, by hand'": 1.25,
    "The pixel that looks between columns 3 and 4 has a share, too: chapter 03, 'Between pixels'": 2.0,
}
hold(table["G"], row.grad[4].item(), mistakes, what="G")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "pencil-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
row, flows = torch.tensor([5.0, 2, 0, 8, 3])[None, None, None], torch.linspace(-0.8, 1.2, 201)
table = pencil()
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for ax, column, at, value, slope, outside in ((axes[0], 1, 0.5, "A", "B", "border"), (axes[1], 4, 0.28, "D", "E", "zeros")):
    fetched = [lfdm.warp(row, everywhere(f, 0, 1, 5), outside=outside)[0, 0, 0, column].item() for f in flows.tolist()]
    ax.plot(flows, fetched, label=f"column {column}, {outside}")
    ends = [table[value] + table[slope] * d for d in (-0.1, 0.1)]
    ax.plot([at - 0.1, at + 0.1], ends, label=f"your {value}, and {slope} as a slope")
    ax.plot(at, table[value], "o", color=viz.COLOURS["black"])
    ax.set(xlabel="flow", ylabel="fetched value", ylim=(-3, 10))
    ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# ## 2. Ghosts and holes (8 points, 45 minutes)
#
# **You learn** to find bugs in a warp from what they do. **Read first** chapter 03, "Resizing a flow", "Occlusion: what is
# not there to be fetched", and "Failure gallery".
#
# The next function should do what happens between encoder and decoder, and paint what is hidden: warp features by a
# coarse flow, keep them where the new frame shows what the source showed, and put in paint elsewhere,
#
# $$\hat z = m \odot \mathrm{warp}(z_0, f) + (1 - m) \odot \text{paint}$$
#
# Flow and visibility $m$ are given on a coarser grid; both belong to the *new* frame. The shape is right.
#
# ```python
# def blended(features, flow, visible, paint):
#     h, w = features.shape[-2:]
#     ratio = h / flow.shape[-2]
#     flow = ratio * F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
#     m = F.interpolate(visible, size=(h, w), mode="bilinear", align_corners=False)
#     y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
#     at = torch.stack([x, y], dim=-1) + flow.movedim(1, -1)
#     kept = F.grid_sample(m * features, at, padding_mode="border", align_corners=False)
#     return kept + (1 - m) * paint
# ```
#
# Three people have used it, and each has found something else:
#
# * "My flow is zero and everything is visible. I should get my features back, but they are blurred and a little
#   smaller, and more so when I do it again."
# * "With a flow of the features' own size things move as they should. With a flow of a quarter of that size they fly
#   away."
# * "Something moved and left a place behind. At that place there should be paint alone, but the ghost is still there. A
#   dark hole is somewhere else."
#
# Mend all three. Any other way to write the function will do. It must leave alone what it is given.
#
# ![Five pictures: a bright square at the left, on a cloudy ground; the map of what is visible, white with a soft black square; the source warped, with the square twice; the blend, in which the first square is filled with grey but for a thin outline; the paint.](figures/ps2_warping_blended.png)
#
# *What a right answer draws: the source, the coarse map of what is visible, a bare warp with its ghost, your blend, and
# the paint. In the blend the ghost is painted over; its soft outline
# stays, since the map is coarse.*

# %% nbgrader={"grade": false, "grade_id": "blended", "locked": false, "schema_version": 3, "solution": true, "task": false}
def blended(features: Tensor, flow: Tensor, visible: Tensor, paint: Tensor) -> Tensor:
    """Features, warped by a coarse flow where they are visible, and paint elsewhere.

    Args:
        features: (b, c, h, w), of the source.
        flow: (b, 2, h2, w2), normalized, no larger than the features.
        visible: (b, 1, h2, w2), from 0 to 1: how far the new frame shows there what the source shows.
        paint: (b, c, h, w), for the new frame.

    Returns:
        (b, c, h, w). Flow and visibility are enlarged bilinearly.
    """
    ### BEGIN SOLUTION
    h, w = features.shape[-2:]
    m = resize(visible, (h, w))
    return lfdm.warp(features, resize(flow, (h, w)), m) + (1 - m) * paint
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "blended-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: nothing moves, all is visible, so the features come back.
### BEGIN HIDDEN TESTS
def by_tents(features, flow, visible, paint, ratio=(1.0, 1.0), corners=False, early=False, rest=True, turned=False):
    """The definition: a sum over all pixels with tents; with the mistakes that one can make. All tests use it."""
    h, w = features.shape[-2:]
    flow, m = (F.interpolate(maps, size=(h, w), mode="bilinear", align_corners=False) for maps in (flow, visible))
    m = 1 - m if turned else m
    start = [torch.linspace(-1, 1, n) if corners else (2 * torch.arange(n) + 1) / n - 1 for n in (w, h)]
    a = (((start[0] + ratio[0] * flow[:, 0] + 1) * w - 1) / 2).clamp(0, w - 1)  # (b, h, w)
    b = (((start[1][:, None] + ratio[1] * flow[:, 1] + 1) * h - 1) / 2).clamp(0, h - 1)
    across = (1 - (a[..., None] - torch.arange(w)).abs()).clamp(min=0)
    down = (1 - (b[..., None] - torch.arange(h)).abs()).clamp(min=0)
    fetched = torch.einsum("bhwj,bhwi,bcji->bchw", down, across, m * features if early else features)
    return (fetched if early else m * fetched) + ((1 - m) if rest else 1) * paint


SMALLER = "Even a flow of zero makes things smaller: centres are written by one convention and read by another: chapter 03, 'Half a pixel'"
LONGER = "The motion is too long: a normalized flow keeps its values when it is resized: chapter 03, 'Resizing a flow'"
HOLES = "The mask is carried along; it belongs to the new frame, so mask what was fetched: chapter 03, 'Occlusion: what is not there to be fetched'"
TURNED = "Paint and features are exchanged: 1 is visible: chapter 03, 'Occlusion: what is not there to be fetched'"
PAINTED = "Paint is added everywhere; it counts by 1 - m: chapter 03, 'Occlusion: what is not there to be fetched'"


def wrong(*given):
    """What comes out under each misconception, and several at once."""
    features, flow = given[:2]
    by = (features.shape[-1] / flow.shape[-1], features.shape[-2] / flow.shape[-2])
    tall = (by[1], by[1])
    return {
        SMALLER: lambda: by_tents(*given, corners=True),
        LONGER: lambda: by_tents(*given, ratio=by),
        "The motion is too long, by the ratio of the heights: chapter 03, 'Resizing a flow'": lambda: by_tents(*given, ratio=tall),
        "The motion is too short: a normalized flow keeps its values: chapter 03, 'Resizing a flow'": lambda: by_tents(
            *given, ratio=(1 / by[0], 1 / by[1])
        ),
        HOLES: lambda: by_tents(*given, early=True),
        TURNED: lambda: by_tents(*given, turned=True),
        PAINTED: lambda: by_tents(*given, rest=False),
        f"{SMALLER}. Then: {LONGER}": lambda: by_tents(*given, corners=True, ratio=tall),
        f"{SMALLER}. Then: {HOLES}": lambda: by_tents(*given, corners=True, early=True),
        f"{LONGER}. Then: {HOLES}": lambda: by_tents(*given, ratio=tall, early=True),
        f"{SMALLER}. Then: {LONGER}. Then: {HOLES}": lambda: by_tents(*given, corners=True, ratio=tall, early=True),
        "The flow looks turned round: add it to the positions: chapter 03, 'Failure gallery'": lambda: by_tents(*given, ratio=(-1, -1)),
    }


### END HIDDEN TESTS
ramp, nought, all_seen = torch.arange(8.0).expand(1, 1, 8, 8), torch.zeros(1, 2, 2, 2), torch.ones(1, 1, 2, 2)
shrunk = torch.tensor([0, 0.6428571, 1.7857143, 2.9285714, 4.0714286, 5.2142857, 6.3571429, 7]).expand(1, 1, 8, 8)
smaller = "Even a flow of zero makes the features smaller: two conventions of the corners are mixed: chapter 03, 'Half a pixel'"
mistakes = {
    smaller: shrunk,
    "Only paint comes out; 1 is visible: chapter 03, 'Occlusion: what is not there to be fetched'": 9 + 0 * ramp,
    "Paint is added where all is visible: chapter 03, 'Occlusion: what is not there to be fetched'": ramp + 9,
}
hold(blended(ramp, nought, all_seen, 9 + 0 * ramp), ramp, mistakes, what="the blend when nothing moves")
### BEGIN HIDDEN TESTS
given_maps = (smooth(3, 12, 20, 1), torch.zeros(1, 2, 3, 5), torch.ones(1, 1, 3, 5), smooth(3, 12, 20, 2))
hold(blended(*given_maps), given_maps[0], wrong(*given_maps), what="three features at rest")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "blended-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: all is visible, and everything moves: the flow of 2 x 2 says a quarter of the picture, 2 of 8 pixels.
ramp = torch.arange(8.0).expand(1, 1, 8, 8)
answer = blended(ramp, everywhere(0.5, 0, 2, 2), torch.ones(1, 1, 2, 2), 0 * ramp)
mistakes = {
    "The motion is too long: a normalized flow keeps its values when it is resized: chapter 03, 'Resizing a flow'": 7 + 0 * ramp,
    "The motion is too short: a normalized flow keeps its values when it is resized: chapter 03, 'Resizing a flow'": (
        ramp + 0.5
    ).clamp(max=7),
    "Rows and columns look exchanged: channel 0 is x: chapter 03, 'Half a pixel'": ramp,
    "The flow looks turned round: chapter 03, 'Failure gallery'": (ramp - 2).clamp(min=0),
}
hold(answer, (ramp + 2).clamp(max=7), mistakes, what="a move by 2 pixels")
### BEGIN HIDDEN TESTS
for seed, (h, w), (h2, w2) in ((3, (16, 16), (4, 4)), (4, (12, 24), (6, 4)), (5, (9, 7), (9, 7))):
    given_maps = (smooth(2, h, w, seed), 0.3 * smooth(2, h2, w2, seed + 10), torch.ones(1, 1, h2, w2), torch.zeros(1, 2, h, w))
    hold(blended(*given_maps), by_tents(*given_maps), wrong(*given_maps), what=f"{h} x {w} features under a flow of {h2} x {w2}")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "blended-3", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# 3 points: hidden places. One row of four; the flow fetches the pixel at the right; columns 0 and 1 are hidden.
row, mask, paint = torch.tensor([[1.0, 2, 3, 4]])[None, None], torch.tensor([[0.0, 0, 1, 1]])[None, None], torch.full((1, 1, 1, 4), 9.0)
holes = "The mask is carried along by the warp; it belongs to the new frame: chapter 03, 'Occlusion: what is not there to be fetched'"
mistakes = {
    holes: torch.tensor([[9.0, 12, 4, 4]])[None, None],
    "Nothing is painted: chapter 03, 'Occlusion: what is not there to be fetched'": torch.tensor([[0.0, 0, 4, 4]])[None, None],
    "Paint is added everywhere: chapter 03, 'Occlusion: what is not there to be fetched'": torch.tensor([[9.0, 9, 13, 13]])[None, None],
    "Paint and features are exchanged: 1 is visible: chapter 03, 'Occlusion: what is not there to be fetched'": torch.tensor(
        [[2.0, 3, 9, 9]]
    )[None, None],
}
answer = blended(row, everywhere(0.5, 0, 1, 4), mask, paint)
hold(answer, torch.tensor([[9.0, 9, 4, 4]])[None, None], mistakes, what="the blend with hidden columns")
### BEGIN HIDDEN TESTS
for seed, (h, w), (h2, w2) in ((6, (16, 16), (4, 4)), (7, (10, 8), (5, 8))):
    visible = (smooth(1, h2, w2, seed) > 0).float()
    given_maps = (smooth(2, h, w, seed + 1), 0.4 * smooth(2, h2, w2, seed + 2), visible, smooth(2, h, w, seed + 3))
    hold(blended(*given_maps), by_tents(*given_maps), wrong(*given_maps), what=f"a blend of {h} x {w} with hidden places")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "blended-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: visible by a quarter; and what was given stays as it is. Several at once count, too.
row, quarter, paint = torch.tensor([[1.0, 2, 3, 4]])[None, None], torch.full((1, 1, 1, 4), 0.25), torch.full((1, 1, 1, 4), 9.0)
mistakes = {
    "The mask is made 0 or 1; it may lie between: chapter 03, 'Occlusion: what is not there to be fetched'": 9 + 0 * row,
}
hold(blended(row, everywhere(0, 0, 1, 4), quarter, paint), 0.25 * row + 6.75, mistakes, what="the blend of what is a quarter visible")
given_maps = (row.clone(), everywhere(0.5, 0, 1, 2), torch.full((1, 1, 1, 2), 0.25), paint.clone())
before = tuple(maps.clone() for maps in given_maps)
blended(*given_maps)
hold(given_maps, before, what="what was given, after the call: it must stay as it is, and it")
### BEGIN HIDDEN TESTS
pairs = [(smooth(3, 12, 16, s), 0.4 * smooth(2, 6, 4, s + 1), smooth(1, 6, 4, s + 2).sigmoid(), smooth(3, 12, 16, s + 3)) for s in (20, 30)]
given_maps = tuple(torch.cat(maps) for maps in zip(*pairs, strict=True))
before = tuple(maps.clone() for maps in given_maps)
hold(blended(*given_maps), by_tents(*given_maps), wrong(*given_maps), what="two blends at once")
hold(given_maps, before, what="what was given, after the call: it must stay as it is, and it")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "blended-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
row, column = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
inside = lambda left: (row >= 24) & (row < 40) & (column >= left) & (column < left + 16)
source = torch.where(inside(12), 0.95, 0.4 + 0.3 * smooth(1, 64, 64, 9)[0, 0]).clamp(0, 1)[None, None]
flow = resize(torch.stack([torch.where(inside(36), -0.75, 0.0), torch.zeros(64, 64)])[None], 16)
visible = resize((~inside(12)).float()[None, None], 16)
paint = torch.full_like(source, 0.4)
shown = [source, resize(visible, 64), lfdm.warp(source, resize(flow, 64)), blended(source, flow, visible, paint), paint]
viz.image_row([p[0] for p in shown], ["source", "visible", "bare warp", "blend", "paint"], scale=3)

# %% [markdown]
# ## 3. The frame between (8 points, 50 minutes)
#
# **You learn** at which end of the way a flow is written down. **Read first** chapter 03, "One flow after another" and
# "The inverse of a flow".
#
# A flow $f$ leads from the new frame (time 1) back to the source (time 0). Say that everything has moved on straight
# lines, evenly. You want the backward flow $g_t$ of the frame at time $t$, which nobody took: by it the source is warped
# into that frame. The content of pixel $\mathbf p$ of the new frame was, at time $t$, at $\mathbf p + (1 - t)
# f(\mathbf p)$, on its way. Write down which flow $g_t$ has *there*. What you want is $g_t$ at the pixel centres,
# so you have an equation for an unknown, and chapter 03, "The inverse of a flow", shows how one solves such an equation. Twenty steps
# are enough here.
#
# The flow $t\, f(\mathbf p)$ is not the answer. Why?
#
# ![Four pictures of a ring with eight dots, of which the left half is brighter. In the new frame everything is larger than in the source. At time 1/2 the ring lies on a dotted circle half way between; with half the flow it is smaller than that circle.](figures/ps2_warping_between.png)
#
# *What a right answer draws: the source, the frame at time $1/2$, the same by half the flow, which is wrong, and the new frame.
# A dotted circle is where the ring must be at that time.*

# %% nbgrader={"grade": false, "grade_id": "between", "locked": false, "schema_version": 3, "solution": true, "task": false}
def between(flow: Tensor, t: float) -> Tensor:
    """The backward flow of the frame at time t.

    Args:
        flow: (b, 2, h, w), normalized, from the frame at time 1 to the source at time 0. It changes by less than a
            pixel per pixel.
        t: from 0 to 1.

    Returns:
        (b, 2, h, w), normalized, from the frame at time t to the source.
    """
    ### BEGIN SOLUTION
    way = flow  # of the content at each pixel of the frame at time t: all its way
    for _ in range(60):
        way = lfdm.warp(flow, -(1 - t) * way)
    return t * way
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "between-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: at time 1 it is the flow itself, at time 0 nothing has moved.
flow = linear_flow(1.3 * torch.eye(2), 8, 10)
mistakes = {"Time runs the other way: 0 is the source, 1 the new frame: chapter 03, 'One flow after another'": torch.zeros(1, 2, 8, 10)}
hold(between(flow, 1.0), flow, mistakes, what="the flow at time 1")
hold(between(flow, 0.0), torch.zeros(1, 2, 8, 10), what="the flow at time 0")
### BEGIN HIDDEN TESTS
flow = 0.2 * smooth(2, 12, 9, 1)
hold(between(flow, 1.0), flow, what="a smooth flow at time 1")
hold(between(flow, 0.0), torch.zeros(1, 2, 12, 9), what="a smooth flow at time 0")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "between-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: all pixels look by the same (0.4, -0.2).
mistakes = {
    "This is the way from the new frame to the one between; you want the rest of it, to the source: chapter 03, 'One flow after another'": everywhere(
        0.3, -0.15, 6, 8
    ),
    "The sign is turned: it is a backward flow, too: chapter 03, 'The inverse of a flow'": everywhere(-0.1, 0.05, 6, 8),
    "This is the whole flow; at time t a part of it is left: chapter 03, 'One flow after another'": everywhere(0.4, -0.2, 6, 8),
}
hold(between(everywhere(0.4, -0.2, 6, 8), 0.25), everywhere(0.1, -0.05, 6, 8), mistakes, what="the flow of a slide at time 1/4")
### BEGIN HIDDEN TESTS
for x, y, t in ((0.3, 0.1, 0.8), (-0.5, 0.2, 0.1)):
    mistakes = {
        "This is the way from the new frame to the one between; you want the rest of it: chapter 03, 'One flow after another'": everywhere(
            (1 - t) * x, (1 - t) * y, 7, 7
        )
    }
    hold(between(everywhere(x, y, 7, 7), t), everywhere(t * x, t * y, 7, 7), mistakes, what=f"the flow of a slide at time {t}")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "between-3", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# 3 points: every pixel looks half as far again from the middle: f(p) = p / 2. At time 1/2 the flow is q / 5.
flow, inner = linear_flow(1.5 * torch.eye(2), 8, 8), lfdm.identity_grid(8, 8)[None, :, 2:6, 2:6]  # the middle, without borders
wrong_end = "Part of the flow, but at the wrong place: what is at q at time t stands elsewhere in the new frame: chapter 03, 'The inverse of a flow'"
one_step = "One step of the iteration; it needs more: chapter 03, 'The inverse of a flow'"
other_side = "Looked up on the wrong side: from q one has to go back to the new frame: chapter 03, 'One flow after another'"
from_inverse = "This starts from the inverse of the flow, which leads from the source: chapter 03, 'The inverse of a flow'"
mistakes = {
    wrong_end: inner / 4,
    one_step: 0.1875 * inner,
    other_side: 0.3125 * inner,
    f"{other_side}, again and again": inner / 3,
    from_inverse: inner / 6,
}
for steps, share in ((2, 0.203125), (3, 0.19921875), (4, 0.2001953125), (5, 0.1999511719)):
    mistakes[f"This is what {steps} steps of the iteration give; take more: chapter 03, 'The inverse of a flow'"] = share * inner
answer = between(flow, 0.5)
hold(answer, flow, what="the flow of a zoom", atol=1e9)  # its kind and shape
hold(answer[..., 2:6, 2:6], inner / 5, mistakes, what="the flow of a zoom at time 1/2, in the middle,")
### BEGIN HIDDEN TESTS
inner = (lfdm.identity_grid(32, 32).norm(dim=0) < 0.45).float()  # nothing in here comes from outside
matrices = {"a zoom": 0.7 * torch.eye(2), "a turn": rotation(0.6), "a shear": torch.tensor([[1.0, 0.5], [0.0, 1.0]])}
for name, matrix in matrices.items():
    for t in (0.3, 0.7):
        flow, change = linear_flow(matrix, 32, 32), matrix - torch.eye(2)
        right = t * change @ torch.linalg.inv(torch.eye(2) + (1 - t) * change)  # g_t (p + (1 - t) f(p)) = t f(p)
        stepped = t * change @ (torch.eye(2) - (1 - t) * change)
        ahead = t * change @ (torch.eye(2) + (1 - t) * change)
        fixed = t * change @ torch.linalg.inv(torch.eye(2) - (1 - t) * change)
        back = linear_flow(torch.linalg.inv(matrix), 32, 32)
        mistakes = {
            wrong_end: inner * t * flow,
            one_step: inner * linear_flow(torch.eye(2) + stepped, 32, 32),
            other_side: inner * linear_flow(torch.eye(2) + ahead, 32, 32),
            f"{other_side}, again and again": inner * linear_flow(torch.eye(2) + fixed, 32, 32),
            from_inverse: -inner * t * back,
            "The right place of the flow, but the rest of the way to the new frame: chapter 03, 'One flow after another'": inner
            * (1 - t)
            / t
            * linear_flow(torch.eye(2) + right, 32, 32),
        }
        answer = between(flow, t)
        hold(answer, flow, what=f"the flow of {name}", atol=1e9)  # its kind and shape
        right = inner * linear_flow(torch.eye(2) + right, 32, 32)
        hold(inner * answer, right, mistakes, what=f"the flow of {name} at time {t}, near the middle,", atol=1e-4)  # iterated
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "between-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: two flows at once; and what was given stays as it is.
flows = torch.cat([everywhere(0.4, 0, 6, 8), everywhere(0, -0.2, 6, 8)])
before = flows.clone()
hold(between(flows, 0.5), before / 2, what="the flows of two slides at time 1/2")
hold(flows, before, what="the flow that was given, after the call: it must stay as it is, and it")
### BEGIN HIDDEN TESTS
flows = torch.cat([0.15 * smooth(2, 40, 30, seed) for seed in (2, 3)])
before, grid = flows.clone(), lfdm.identity_grid(40, 30)
inner = (grid.abs().amax(dim=0) < 0.5).float()
for t in (0.25, 0.5):
    at_t = between(flows, t)
    hold(at_t, flows, what="the flow at time t", atol=1e9)  # its kind and shape
    there = sample_at(at_t, grid + (1 - t) * flows)  # follow each pixel of the new frame to time t
    mistakes = {"Part of the flow, at the wrong place: chapter 03, 'The inverse of a flow'": inner * sample_at(t * flows, grid + (1 - t) * flows)}
    what = f"the flow at time {t}, where pixels of the new frame are at that time,"
    hold(inner * there, inner * t * flows, mistakes, what=what, atol=4e-3)  # two look-ups between pixels
hold(flows, before, what="the flow that was given, after the call: it must stay as it is, and it")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "between-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
grid = lfdm.identity_grid(128, 128)
angle = 2 * math.pi * torch.arange(8) / 8
dots = (grid[:, None] - 0.3 * torch.stack([angle.cos(), angle.sin()])[..., None, None]).norm(dim=0).amin(dim=0) < 0.06
source = torch.where(dots | ((grid.norm(dim=0) - 0.3).abs() < 0.02), torch.where(grid[0] < 0, 0.2, 0.0), 0.9)[None, None]
flow = linear_flow(0.4 * torch.eye(2), 128, 128)  # the content grows by 2.5
frames = {"source": 0 * flow, "t = 1/2": between(flow, 0.5), "half the flow": flow / 2, "new frame": flow}
figure, axes = plt.subplots(1, 4, figsize=(10, 2.7))
around = torch.linspace(0, 2 * math.pi, 60)
for ax, (name, f), radius in zip(axes, frames.items(), (0.3, 0.525, 0.525, 0.75), strict=True):
    ax.imshow(lfdm.warp(source, f)[0, 0], cmap="gray", vmin=0, vmax=1, extent=(-1, 1, 1, -1))
    ax.plot(radius * around.cos(), radius * around.sin(), ":", color=viz.COLOURS["orange"])
    ax.set(xticks=[], yticks=[], title=name)
plt.show()

# %% [markdown]
# **In your own words** (3 points, 10 minutes). A ball moves 20 pixels to the right in front of a wall that rests; it is 8 pixels
# wide. The true flow $f$ of the new frame is given. Where does warping the source by $f / 2$ draw a ball, and
# where was it really at time $1/2$? Then: which two kinds of pixels of the frame between have no single right answer
# to "which pixel of the new frame was here"? Five sentences are enough.

# %% [markdown] nbgrader={"grade": true, "grade_id": "between-why", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
# *Your answer here.*

# %% [markdown]
# ## 4. The regions of a copy (6 points, 35 minutes)
#
# **You learn** in which direction a known deformation carries a region. **Read first** chapter 04, "From a heat map to a
# spread" and "Equivariance: a known deformation as a teacher".
#
# A detector finds regions in a picture, with means $\mu_k$ and covariances $\Sigma_k$. You deform the picture by
# $\Phi(\mathbf p) = B \mathbf p + b$: the copy shows at $\mathbf p$ what the picture shows at $\Phi(\mathbf p)$. Say
# what a perfect detector finds in the copy, before it looks.
#
# ![Two pictures of a bright oval spot with an ellipse around it: in the picture, right of the middle; in the copy, left of the middle, smaller and turned. The dashed ellipse that was predicted lies on the spot in both.](figures/ps2_warping_copy.png)
#
# *What a right answer draws: a spot with the ellipse that is known, and its copy with the ellipse that you predict (two
# standard deviations, dashed).*

# %% nbgrader={"grade": false, "grade_id": "copy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def of_copy(shift: Tensor, covariance: Tensor, B: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Means and covariances of the regions of a deformed copy.

    Args:
        shift: (n, k, 2), means of the picture's regions, normalized, x before y.
        covariance: (n, k, 2, 2), of the picture's regions.
        B: (2, 2), can be inverted.
        b: (2,). The copy shows at p what the picture shows at B p + b.

    Returns:
        Means (n, k, 2) and covariances (n, k, 2, 2) of the same regions in the copy.
    """
    ### BEGIN SOLUTION
    back = torch.linalg.inv(B)
    return (shift - b) @ back.mT, back @ covariance @ back.mT
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "copy-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: a slide.
### BEGIN HIDDEN TESTS
def by_points(shift, covariance, B, b):
    """The four points at one standard deviation along the axes, each solved for. All tests use it."""
    new_shift, new_covariance = torch.zeros_like(shift), torch.zeros_like(covariance)
    for n in range(shift.shape[0]):
        for k in range(shift.shape[1]):
            values, vectors = torch.linalg.eigh(covariance[n, k])
            arms = vectors * values.sqrt()
            points = torch.stack([shift[n, k] + s * arms[:, i] for i in (0, 1) for s in (-1, 1)])
            moved = torch.stack([torch.linalg.solve(B, point - b) for point in points])
            new_shift[n, k] = moved.mean(dim=0)
            offset = moved - new_shift[n, k]
            new_covariance[n, k] = offset.mT @ offset / 2
    return new_shift, new_covariance


def some_regions(n, k, seed):
    draw = torch.Generator().manual_seed(seed)
    root = 0.2 * torch.randn(n, k, 2, 2, generator=draw)
    return 0.5 * torch.randn(n, k, 2, generator=draw), root @ root.mT + 0.01 * torch.eye(2)


SECTION = "chapter 04, 'Equivariance: a known deformation as a teacher'"
AHEAD = f"The picture's regions are taken through B, and the copy looks through it: undo it: {SECTION}"


### END HIDDEN TESTS
shift, covariance = torch.tensor([[[0.5, -0.25]]]), torch.tensor([[[[0.04, 0.01], [0.01, 0.02]]]])
mistakes = {
    "It went the wrong way: the copy looks b further, so its content is nearer: chapter 04, 'Equivariance: a known deformation as a teacher'": (
        torch.tensor([[[0.75, -0.15]]]),
        covariance,
    ),
    "A slide does not reach the means: chapter 04, 'From a heat map to a position'": (shift, covariance),
}
hold(of_copy(shift, covariance, torch.eye(2), torch.tensor([0.25, 0.1])), (torch.tensor([[[0.25, -0.35]]]), covariance), mistakes)
### BEGIN HIDDEN TESTS
shift, covariance = some_regions(2, 3, 1)
b = torch.tensor([-0.3, 0.2])
mistakes = {f"It went the wrong way, by b instead of minus b: {SECTION}": (shift + b, covariance)}
hold(of_copy(shift, covariance, torch.eye(2), b), by_points(shift, covariance, torch.eye(2), b), mistakes, what="six regions that slide")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "copy-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the means, under a zoom and a slide: at p the copy shows what was at 2 p + (0.2, 0).
found = of_copy(torch.tensor([[[0.6, -0.4]]]), torch.eye(2)[None, None], 2 * torch.eye(2), torch.tensor([0.2, 0.0]))
mean = found[0] if isinstance(found, tuple | list) and found else found
mistakes = {
    "Taken through B, where it must be undone: chapter 04, 'Equivariance: a known deformation as a teacher'": torch.tensor([[[1.4, -0.8]]]),
    "B is undone first, then b; the other way round: chapter 04, 'Equivariance: a known deformation as a teacher'": torch.tensor(
        [[[0.1, -0.2]]]
    ),
    "B is undone, but b is added: chapter 04, 'Equivariance: a known deformation as a teacher'": torch.tensor([[[0.4, -0.2]]]),
}
hold(mean, torch.tensor([[[0.2, -0.2]]]), mistakes, what="the mean in the copy")
### BEGIN HIDDEN TESTS
for seed in (2, 3):
    B = torch.eye(2) + 0.3 * torch.randn(2, 2, generator=torch.Generator().manual_seed(seed))
    b = 0.2 * torch.randn(2, generator=torch.Generator().manual_seed(seed + 10))
    shift, covariance = some_regions(2, 3, seed)
    back = torch.linalg.inv(B)
    mistakes = {
        AHEAD: shift @ B.mT + b,
        f"B is undone first, then b; the other way round: {SECTION}": shift @ back.mT - b,
        "The matrix looks transposed: points lie in rows here, so the matrix acts from the right, transposed: chapter 04, 'From a heat map to a spread'": (
            shift - b
        )
        @ back,
    }
    hold(of_copy(shift, covariance, B, b)[0], by_points(shift, covariance, B, b)[0], mistakes, what="the means in the copy", atol=1e-4)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "copy-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the covariances, under a stretch of x alone: at p the copy shows what was at (2 x, y).
found = of_copy(torch.zeros(1, 1, 2), torch.tensor([[[[0.16, 0.04], [0.04, 0.09]]]]), torch.diag(torch.tensor([2.0, 1.0])), torch.zeros(2))
spread = found[1] if isinstance(found, tuple | list) and len(found) == 2 else found
mistakes = {
    "Taken through B, where it must be undone: chapter 04, 'Equivariance: a known deformation as a teacher'": torch.tensor(
        [[[[0.64, 0.08], [0.08, 0.09]]]]
    ),
    "One factor is missing: a covariance changes from both sides: chapter 04, 'From a heat map to a spread'": torch.tensor(
        [[[[0.08, 0.02], [0.04, 0.09]]]]
    ),
    "One factor is missing, that from the left: chapter 04, 'From a heat map to a spread'": torch.tensor([[[[0.08, 0.04], [0.02, 0.09]]]]),
    "The covariance did not change: chapter 04, 'From a heat map to a spread'": torch.tensor([[[[0.16, 0.04], [0.04, 0.09]]]]),
}
hold(spread, torch.tensor([[[[0.04, 0.02], [0.02, 0.09]]]]), mistakes, what="the covariance in the copy")
### BEGIN HIDDEN TESTS
for B in (torch.tensor([[1.0, 0.6], [0.1, 0.8]]), rotation(0.5)):
    shift, covariance = some_regions(2, 3, 4)
    b, back = torch.tensor([0.1, 0.3]), torch.linalg.inv(B)
    mistakes = {
        AHEAD: B @ covariance @ B.mT,
        "The transpose stands on the wrong side: chapter 04, 'From a heat map to a spread'": back.mT @ covariance @ back,
        "The matrix is inverted only on one side: a covariance changes from both sides alike: chapter 04, 'From a heat map to a spread'": back
        @ covariance
        @ back,
    }
    hold(of_copy(shift, covariance, B, b)[1], by_points(shift, covariance, B, b)[1], mistakes, what="the covariances in the copy")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "copy-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: half a turn, twice, is nothing; and what was given stays as it is.
given_maps = (torch.tensor([[[0.3, 0.1]]]), torch.tensor([[[[0.04, 0.01], [0.01, 0.02]]]]), rotation(math.pi), torch.tensor([0.1, -0.2]))
before = tuple(maps.clone() for maps in given_maps)
once = of_copy(*given_maps)
hold(once, before[:2], what="the regions under half a turn", atol=1e9)  # their kind and shape
hold(of_copy(*once, *before[2:]), before[:2], what="the regions after half a turn, twice")
hold(given_maps, before, what="what was given, after the call: it must stay as it is, and it")
### BEGIN HIDDEN TESTS
shift, covariance = torch.tensor([0.15, -0.1]), torch.tensor([[0.03, 0.01], [0.01, 0.015]])
B, b = rotation(0.7) @ torch.tensor([[1.1, 0.2], [0.0, 0.9]]), torch.tensor([0.1, 0.05])
picture = blob(shift, covariance, 96, 96)
looks = (B @ lfdm.identity_grid(96, 96).flatten(1) + b[:, None]).view(1, 2, 96, 96)
copy = sample_at(picture, looks, "zeros")
measured = moments(copy / copy.sum())
what = "what is predicted, against what is measured in a real copy: it"
hold(of_copy(shift[None, None], covariance[None, None], B, b), measured, what=what, atol=1e-3, rtol=1e-2)  # pixels
given_maps = (*some_regions(1, 2, 5), B.clone(), b.clone())
before = tuple(maps.clone() for maps in given_maps)
of_copy(*given_maps)
hold(given_maps, before, what="what was given, after the call: it must stay as it is, and it")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "copy-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
shift, covariance = torch.tensor([0.25, -0.2]), torch.tensor([[0.05, 0.02], [0.02, 0.02]])
B, b = rotation(0.9) * 1.3, torch.tensor([0.3, 0.1])
picture = blob(shift, covariance, 128, 128)
copy = sample_at(picture, (B @ lfdm.identity_grid(128, 128).flatten(1) + b[:, None]).view(1, 2, 128, 128), "zeros")
predicted = of_copy(shift[None, None], covariance[None, None], B, b)
figure, axes = plt.subplots(1, 2, figsize=(6, 3))
for ax, image, (mean, spread), name in (
    (axes[0], picture, (shift, covariance), "picture"),
    (axes[1], copy, (predicted[0][0, 0], predicted[1][0, 0]), "copy"),
):
    ax.imshow(image[0, 0], cmap="gray", extent=(-1, 1, 1, -1))
    ellipse(ax, mean, spread, "orange", "--")
    ax.set(xlim=(-1, 1), ylim=(1, -1), xticks=[], yticks=[], title=name)
plt.show()

# %% [markdown]
# ## 5. Two regions become one (7 points, 40 minutes)
#
# **You learn** how moments add up, and why a covered region seems to move. **Read first** chapter 04, "From a heat map to a
# spread" and "Failure gallery".
#
# A detector that cannot tell two arms apart puts both under one heat map. You know mean and covariance of each part, and
# its *mass*, the heat that it holds. Find mean and covariance of everything together, without any heat map: write
# both as sums over pixels, and sort the pixels by parts. Masses need not sum to 1.
#
# Nothing in that derivation needs a mass to be positive. A part with negative mass is taken away: a trunk minus the
# piece of it that an arm covers.
#
# ![Left: two ellipses, apart, and a large dashed one across both. Right: one ellipse, a small one over its upper left end, and a dashed one, a little shorter than the first and shifted down, away from the small one.](figures/ps2_warping_merged.png)
#
# *What a right answer draws: at the left, two regions and (dashed) both as one. At the right, a region, a part of it that
# gets covered, and (dashed) what is left.*

# %% nbgrader={"grade": false, "grade_id": "merged", "locked": false, "schema_version": 3, "solution": true, "task": false}
def merged(mass: Tensor, shift: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of all regions of a picture together.

    Args:
        mass: (b, k), their sum over k is positive; a negative one is taken away.
        shift: (b, k, 2), the means.
        covariance: (b, k, 2, 2).

    Returns:
        The mean (b, 2) and the covariance (b, 2, 2).
    """
    ### BEGIN SOLUTION
    share = mass / mass.sum(dim=1, keepdim=True)
    mean = (share[..., None] * shift).sum(dim=1)
    offset = shift - mean[:, None]
    around = covariance + offset[..., :, None] * offset[..., None, :]
    return mean, (share[..., None, None] * around).sum(dim=1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "merged-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: one region alone, of any mass, stays what it is.
shift, covariance = torch.tensor([[[0.5, -0.2]]]), torch.tensor([[[[0.04, 0.01], [0.01, 0.02]]]])
mistakes = {
    "Masses need not sum to 1; divide by their sum: chapter 04, 'From a heat map to a position'": (3 * shift[:, 0], 3 * covariance[:, 0]),
    "Divide by the sum of the masses, means and covariances alike: chapter 04, 'From a heat map to a spread'": (
        shift[:, 0],
        3 * covariance[:, 0],
    ),
}
hold(merged(torch.tensor([[3.0]]), shift, covariance), (shift[:, 0], covariance[:, 0]), mistakes, what="one region of mass 3")
### BEGIN HIDDEN TESTS
shift = torch.tensor([[[0.5, -0.2]] * 3] * 2)
covariance = torch.tensor([[0.04, 0.01], [0.01, 0.02]]).expand(2, 3, 2, 2)
found = merged(torch.tensor([[1.0, 2, 4], [0.1, 0.1, 0.1]]), shift, covariance)
hold(found, (shift[:, 0], covariance[:, 0]), what="three times the same region")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "merged-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the mean. Masses 3 and 1, at (0, 0) and (0.4, 0.8).
shift = torch.tensor([[[0.0, 0.0], [0.4, 0.8]]])
found = merged(torch.tensor([[3.0, 1.0]]), shift, torch.zeros(1, 2, 2, 2))
mean = found[0] if isinstance(found, tuple | list) and found else found
mistakes = {
    "The masses have no say: chapter 04, 'From a heat map to a position'": torch.tensor([[0.2, 0.4]]),
    "Masses need not sum to 1; divide by their sum: chapter 04, 'From a heat map to a position'": torch.tensor([[0.4, 0.8]]),
    "A softmax makes other shares of the masses; divide by their sum: chapter 04, 'From a heat map to a position'": torch.tensor(
        [[0.4, 0.8]]
    )
    / (1 + math.exp(2)),
}
hold(mean, torch.tensor([[0.1, 0.2]]), mistakes, what="the mean of two regions")
### BEGIN HIDDEN TESTS
draw = torch.Generator().manual_seed(1)
mass, shift = 0.1 + torch.rand(3, 4, generator=draw), torch.randn(3, 4, 2, generator=draw)
right = torch.stack([sum(m * s for m, s in zip(mass[n], shift[n], strict=True)) / sum(mass[n]) for n in range(3)])
mistakes = {
    "The masses have no say: chapter 04, 'From a heat map to a position'": shift.mean(dim=1),
    "All pictures of the batch share one sum of masses; each has its own: chapter 04, 'From a heat map to a position'": (
        (mass[..., None] * shift).sum(1) / mass.sum()
    ),
}
hold(merged(mass, shift, torch.zeros(3, 4, 2, 2))[0], right, mistakes, what="the means of four regions")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "merged-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the covariance. Two points without any spread, masses 3 and 1, at x = 0.2 and x = 1; the mean is 0.4.
found = merged(torch.tensor([[3.0, 1.0]]), torch.tensor([[[0.2, 0.0], [1.0, 0.0]]]), torch.zeros(1, 2, 2, 2))
spread = found[1] if isinstance(found, tuple | list) and len(found) == 2 else found
only_x = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
mistakes = {
    "Only the spreads of the parts are averaged; parts that lie apart spread, too: chapter 04, 'Failure gallery'": 0 * only_x,
    "This is about the origin, not about the common mean: chapter 04, 'From a heat map to a spread'": 0.28 * only_x,
    "The masses have no say: chapter 04, 'From a heat map to a spread'": 0.16 * only_x,
    "This is not divided by the sum of the masses: chapter 04, 'From a heat map to a spread'": 0.48 * only_x,
    "A square is missing, these are distances: chapter 04, 'From a heat map to a spread'": 0.3 * only_x,
}
hold(spread, 0.12 * only_x, mistakes, what="the covariance of two points")
### BEGIN HIDDEN TESTS
def by_heat(mass, means, spreads, h=160, w=160):
    """Bells on a fine grid, added up."""
    bells = torch.cat([blob(m, s, h, w) for m, s in zip(means, spreads, strict=True)], dim=1).double()
    heat = (bells / bells.sum(dim=(2, 3), keepdim=True) * mass.double()[None, :, None, None]).sum(1, keepdim=True)
    grid = lfdm.identity_grid(h, w).double()
    heat = heat[0, 0] / heat.sum()
    mean = (heat * grid).sum(dim=(1, 2))
    offset = (grid - mean[:, None, None]).flatten(1)
    return mean.float(), (offset * heat.flatten() @ offset.mT).float()


mass = torch.tensor([0.5, 1.5, 1.0])
means = torch.tensor([[-0.3, 0.2], [0.25, 0.1], [0.0, -0.3]])
spreads = torch.tensor([[[0.01, 0.003], [0.003, 0.02]], [[0.02, -0.005], [-0.005, 0.01]], [[0.006, 0.0], [0.0, 0.006]]])
mean, right = by_heat(mass, means, spreads)
share = (mass / mass.sum())[:, None, None]
apart = (share * (means - mean)[:, :, None] * (means - mean)[:, None, :]).sum(0)
mistakes = {
    "Only the spreads of the parts are averaged; parts that lie apart spread, too: chapter 04, 'Failure gallery'": right - apart,
    "Only the means count here; each part has a spread of its own: chapter 04, 'From a heat map to a spread'": apart,
    "This is about the origin, not about the common mean: chapter 04, 'From a heat map to a spread'": right + mean[:, None] * mean,
    "The spreads are added, not averaged: chapter 04, 'From a heat map to a spread'": spreads.sum(0) + apart,
    "Covariances are averaged, not their shares by mass: chapter 04, 'From a heat map to a spread'": spreads.mean(0) + apart,
    "x and y are handled apart; their product counts, too: chapter 04, 'From a heat map to a spread'": right - apart + torch.diag(apart.diagonal()),
}
found = merged(mass[None], means[None], spreads[None])[1]
hold(found, right[None], {k: v[None] for k, v in mistakes.items()}, what="the covariance of three regions", atol=1e-5, rtol=1e-3)  # a grid
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "merged-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: a negative mass takes away; merging, then taking away again, gives what was; and what was given stays as it is.
mass, shift = torch.tensor([[2.0, 1.0]]), torch.tensor([[[0.1, 0.2], [-0.4, 0.3]]])
covariance = torch.tensor([[[[0.02, 0.01], [0.01, 0.03]], [[0.01, 0.0], [0.0, 0.02]]]])
before = tuple(maps.clone() for maps in (mass, shift, covariance))
both = merged(mass, shift, covariance)
hold(both, (shift[:, 0], covariance[:, 0]), what="both regions", atol=1e9)  # their kind and shape
mistakes = {
    "The sign of the masses is lost: chapter 04, 'Failure gallery'": lambda: merged(
        torch.tensor([[3.0, 1.0]]), torch.stack([both[0], shift[:, 1]], 1), torch.stack([both[1], covariance[:, 1]], 1)
    )
}
left = merged(torch.tensor([[3.0, -1.0]]), torch.stack([both[0], shift[:, 1]], 1), torch.stack([both[1], covariance[:, 1]], 1))
hold(left, (shift[:, 0], covariance[:, 0]), mistakes, what="both regions without the second")
hold((mass, shift, covariance), before, what="what was given, after the call: it must stay as it is, and it")
### BEGIN HIDDEN TESTS
heat = torch.zeros(1, 2, 40, 40)
heat[0, 0, 8:32, 14:22] = 1  # a trunk
heat[0, 1, 10:18, 12:18] = 1  # an arm, that covers a part of it
part = heat[:, :1] * heat[:, 1:]
trunk, covered, rest = (moments(h / h.sum()) for h in (heat[:, :1], part, heat[:, :1] - part))
found = merged(
    torch.tensor([[192.0, -part.sum().item()]]),
    torch.cat([trunk[0], covered[0]], dim=1),
    torch.cat([trunk[1], covered[1]], dim=1),
)
mistakes = {
    "The sign of the masses is lost: chapter 04, 'Failure gallery'": lambda: merged(
        torch.tensor([[192.0, part.sum().item()]]), torch.cat([trunk[0], covered[0]], 1), torch.cat([trunk[1], covered[1]], 1)
    )
}
hold(found, (rest[0][:, 0], rest[1][:, 0]), mistakes, what="a trunk that is partly covered", atol=1e-4)
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "merged-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.2))
arm = torch.tensor([[0.015, 0.0], [0.0, 0.06]])
two = (torch.tensor([[1.0, 0.7]]), torch.tensor([[[-0.4, 0.1], [0.4, -0.2]]]), torch.stack([arm, rotation(0.8) @ arm @ rotation(0.8).mT])[None])
trunk = torch.tensor([[0.02, 0.0], [0.0, 0.08]])
less = (torch.tensor([[1.0, -0.2]]), torch.tensor([[[0.0, 0.0], [-0.05, -0.35]]]), torch.stack([trunk, 0.01 * torch.eye(2)])[None])
for ax, (mass, shift, covariance), name in ((axes[0], two, "both as one"), (axes[1], less, "a part covered")):
    for k, colour in ((0, "blue"), (1, "sky")):
        ellipse(ax, shift[0, k], covariance[0, k], colour)
    mean, spread = merged(mass, shift, covariance)
    ellipse(ax, mean[0], spread[0], "orange", "--")
    ax.set(xlim=(-1, 1), ylim=(1, -1), aspect="equal", xticks=[], yticks=[], title=name)
plt.show()

# %% [markdown]
# ## 6. Hold the camera still (8 points, 55 minutes)
#
# **You learn** to separate the camera's motion from that of things. **Read first** chapter 04, "The motion of the
# background", and chapter 03, "One flow after another".
#
# You have a dense flow, and a weight for every pixel that says how far it can be trusted to show the ground (0 on
# things that move by themselves).
#
# 1. Find the ground's affine map $M(\mathbf p) = B \mathbf p + b$: the one by which $M(\mathbf p)$ is nearest to where
#    the pixels look, $\mathbf p + f(\mathbf p)$, in the sum of *weight times squared distance*.
# 2. Find the flow that is left if the camera is held still. Photograph the source again, with the camera where it is in
#    the new frame: this *steady source* shows at $\mathbf q$ what the source shows at $M(\mathbf q)$. The rest is
#    the flow from the new frame to the steady source. On the ground it is zero.
#
# ![Four pictures in the colours of flow. The flow is colourful everywhere, with a square of another colour; the weight, white with a black square; the rest, white with one coloured square; flow minus the camera's flow, white with a square of a slightly different colour.](figures/ps2_warping_steady.png)
#
# *What a right answer draws: a flow of camera and thing together, the weight, and the rest; and last what is left if one
# subtracts the camera's flow, which is not the same.*

# %% nbgrader={"grade": false, "grade_id": "steady", "locked": false, "schema_version": 3, "solution": true, "task": false}
def steady(flow: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The ground's motion, and the flow without it.

    Args:
        flow: (n, 2, h, w), normalized.
        weight: (n, 1, h, w), not negative; not all zero, nor all on one line.

    Returns:
        The maps (n, 2, 3), [B, b], from positions of the new frame to those of the source; and the rest (n, 2, h, w),
        normalized.
    """
    ### BEGIN SOLUTION
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)  # (n, hw, 2)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)  # x, y, 1
    weighted = (weight.flatten(2).mT * known).mT  # (n, 3, hw)
    camera = torch.linalg.solve(weighted @ known, weighted @ targets).mT  # (n, 2, 3)
    seen = (targets - camera[:, None, :, 2]) @ torch.linalg.inv(camera[:, :, :2]).mT
    return camera, (seen - points).mT.reshape(flow.shape)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "steady-1", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the map, if all is ground. The camera pans: every pixel looks 0.25 to the right and 0.5 up.
### BEGIN HIDDEN TESTS
def flow_of(B, b, h, w):
    """The flow of a camera. All tests use this."""
    return linear_flow(B, h, w) + b[:, None, None]


CAMERAS = [(rotation(0.3) * 1.2, torch.tensor([0.1, -0.2])), (torch.tensor([[0.8, 0.3], [0.0, 1.1]]), torch.tensor([-0.3, 0.0]))]


### END HIDDEN TESTS
found = steady(everywhere(0.25, -0.5, 4, 6), torch.ones(1, 1, 4, 6))
camera = found[0] if isinstance(found, tuple | list) and found else found
mistakes = {
    "This fits the flow itself; the map says where to look, so it holds the identity, too: chapter 04, 'The motion of the background'": torch.tensor(
        [[[0.0, 0, 0.25], [0, 0, -0.5]]]
    ),
    "x and y look swapped: chapter 03, 'Half a pixel'": torch.tensor([[[1.0, 0, -0.5], [0, 1, 0.25]]]),
    "The map leads from source to new frame; a backward flow gives the other direction: chapter 04, 'The motion of the background'": torch.tensor(
        [[[1.0, 0, -0.25], [0, 1, 0.5]]]
    ),
    "The columns are B first, then b: chapter 04, 'The motion of the background'": torch.tensor([[[0.25, 1, 0], [-0.5, 0, 1]]]),
}
hold(camera, torch.tensor([[[1.0, 0, 0.25], [0, 1, -0.5]]]), mistakes, what="the map of a pan", atol=1e-4)  # least squares
### BEGIN HIDDEN TESTS
for B, b in CAMERAS:
    for h, w in ((8, 14), (20, 12)):
        right = torch.cat([B, b[:, None]], dim=1)[None]
        y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
        known = torch.stack([x, y, torch.ones_like(x)], -1).view(-1, 3)
        by_corners = torch.linalg.lstsq(known, known[:, :2] + flow_of(B, b, h, w)[0].flatten(1).mT).solution
        mistakes = {
            "This fits the flow itself, not where to look: chapter 04, 'The motion of the background'": right - torch.eye(2, 3),
            "B looks transposed: chapter 04, 'The motion of the background'": torch.cat([B.mT, b[:, None]], dim=1)[None],
            "x and y look swapped: chapter 03, 'Half a pixel'": right.flip(1)[..., [1, 0, 2]],
            "The map leads from source to new frame: chapter 04, 'The motion of the background'": torch.cat(
                [torch.linalg.inv(B), -torch.linalg.inv(B) @ b[:, None]], dim=1
            )[None],
            "-1 and 1 are the edges; centres lie within: chapter 03, 'Half a pixel'": by_corners.mT[None],
        }
        found = steady(flow_of(B, b, h, w), torch.ones(1, 1, h, w))[0]
        hold(found, right, mistakes, what=f"the map of a camera, {h} x {w} pixels,", atol=1e-4)  # least squares
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "steady-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: weights. A thing in the left half moves by itself, and has no weight.
flow, weight = everywhere(0.25, 0, 4, 8), torch.ones(1, 1, 4, 8)
flow[..., :4] += 0.5
weight[..., :4] = 0
found = steady(flow, weight)
camera = found[0] if isinstance(found, tuple | list) and found else found
mistakes = {
    "The weights have no say: chapter 04, 'The motion of the background'": lambda: steady(flow, torch.ones(1, 1, 4, 8))[0],
    "Pixels without weight count as if they looked straight ahead: leave them out: chapter 04, 'The motion of the background'": lambda: steady(
        weight * flow, torch.ones(1, 1, 4, 8)
    )[0],
}
hold(camera, torch.tensor([[[1.0, 0, 0.25], [0, 1, 0]]]), mistakes, what="the map of a pan, beside a thing that moves,", atol=1e-4)
### BEGIN HIDDEN TESTS
for seed, size in ((1, (9, 11)), (2, (16, 8))):
    flow = 0.3 * smooth(2, *size, seed)
    weight = (4 * smooth(1, *size, seed + 5)).sigmoid()

    def fitted(weight, flow=flow, size=size):
        """By least squares of numpy's kind, in float64, with roots of the weights."""
        points = F.pad(lfdm.identity_grid(*size).flatten(1).mT, (0, 1), value=1.0).double()
        root = weight.flatten()[:, None].double().sqrt()
        targets = points[:, :2] + flow[0].flatten(1).mT.double()
        return torch.linalg.lstsq(root * points, root * targets).solution.mT[None].float()

    mistakes = {
        "The weights have no say: chapter 04, 'The motion of the background'": fitted(torch.ones_like(weight)),
        "The weights count twice: a residual that is multiplied by a weight is squared with it; take roots: chapter 04, 'The motion of the background'": fitted(weight**2),
        "Weights are made 0 or 1; they may lie between: chapter 04, 'The motion of the background'": fitted((weight > 0.5).float()),
        "The roots of the weights count, where the weights should: chapter 04, 'The motion of the background'": fitted(weight.sqrt()),
    }
    found = steady(flow, weight)[0]
    hold(found, fitted(weight), mistakes, what="the map that fits best, by weights,", atol=1e-4)  # least squares
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "steady-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the rest. All looks twice as far from the middle (B is 2), and a thing at the left looks 0.5 further still.
flow, weight = linear_flow(2 * torch.eye(2), 4, 8), torch.ones(1, 1, 4, 8)
flow[:, 0, :, :3] += 0.5
weight[..., :3] = 0
found = steady(flow, weight)
rest = found[1] if isinstance(found, tuple | list) and len(found) == 2 else found
right = torch.zeros(1, 2, 4, 8)
right[:, 0, :, :3] = 0.25
mistakes = {
    "Flows are subtracted; the rest leads to the steady source, so M must be undone: chapter 03, 'One flow after another'": 2 * right,
    "M is applied once more, where it must be undone: chapter 03, 'One flow after another'": 4 * right + 3 * lfdm.identity_grid(4, 8),
    "These are positions, and a flow is a displacement: chapter 03, 'One flow after another'": right + lfdm.identity_grid(4, 8),
    "The sign is turned: chapter 03, 'The inverse of a flow'": -right,
}
hold(rest, right, mistakes, what="the rest beside a zoom", atol=1e-4)  # least squares
### BEGIN HIDDEN TESTS
h, w = 12, 16
mine = torch.zeros(1, 2, h, w)
mine[:, :, 3:8, 4:9] = torch.tensor([0.2, -0.1])[:, None, None]  # what the thing does by itself, seen by the still camera
for B, b in CAMERAS:
    positions = lfdm.identity_grid(h, w) + mine
    flow = torch.einsum("ij,njhw->nihw", B, positions) + b[:, None, None] - lfdm.identity_grid(h, w)
    weight = (mine.abs().sum(dim=1, keepdim=True) == 0).float()
    camera = flow_of(B, b, h, w)
    grid = lfdm.identity_grid(h, w)
    back = torch.linalg.inv(B)
    mistakes = {
        "Flows are subtracted; M must be undone instead: chapter 03, 'One flow after another'": flow - camera,
        "M is applied once more: chapter 03, 'One flow after another'": torch.einsum("ij,njhw->nihw", B, grid + flow) + b[:, None, None] - grid,
        "Only B is undone, b is not: chapter 04, 'The motion of the background'": torch.einsum("ij,njhw->nihw", back, grid + flow) - grid,
        "B is undone first, then b; the other way round: chapter 04, 'The motion of the background'": torch.einsum(
            "ij,njhw->nihw", back, grid + flow
        )
        - b[:, None, None]
        - grid,
        "B looks transposed when it is undone: chapter 04, 'The motion of the background'": torch.einsum(
            "ji,njhw->nihw", back, grid + flow - b[:, None, None]
        )
        - grid,
    }
    hold(steady(flow, weight)[1], mine, mistakes, what="the rest of a thing that moves by itself", atol=1e-4)  # least squares
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "steady-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: several at once, each with a camera of its own; and what was given stays as it is.
flows = torch.cat([everywhere(0.25, 0, 4, 6), everywhere(0, -0.5, 4, 6)])
weights = torch.ones(2, 1, 4, 6)
before = flows.clone(), weights.clone()
found = steady(flows, weights)
right = torch.tensor([[[1.0, 0, 0.25], [0, 1, 0]], [[1, 0, 0], [0, 1, -0.5]]]), torch.zeros(2, 2, 4, 6)
cameras = found[0] if isinstance(found, tuple | list) and found else found
mistakes = {
    "All pictures get one camera: chapter 04, 'The motion of the background'": right[0].mean(dim=0, keepdim=True).expand(2, 2, 3)
}
hold(cameras, right[0], mistakes, what="the maps of two pans", atol=1e-4)  # least squares
hold(found, right, what="two pans", atol=1e-4)
hold((flows, weights), before, what="what was given, after the call: it must stay as it is, and it")
### BEGIN HIDDEN TESTS
flows = torch.cat([flow_of(B, b, 24, 24) for B, b in CAMERAS])
flows[:, :, 5:12, 6:15] += torch.tensor([0.15, 0.2])[:, None, None]
weights = torch.ones(2, 1, 24, 24)
weights[:, :, 5:12, 6:15] = 0
before = flows.clone(), weights.clone()
camera, rest = steady(flows, weights)
hold((camera, rest), (torch.zeros(2, 2, 3), flows), what="two cameras", atol=1e9)  # their kind and shape
grid = lfdm.identity_grid(24, 24)
again = torch.einsum("nij,njhw->nihw", camera[:, :, :2], grid + rest) + camera[:, :, 2, None, None] - grid
hold(again, before[0], what="the rest, and then the camera's map, which must give the flow again: it", atol=1e-3)  # there and back
hold(rest * weights, 0 * flows, what="the rest on the ground", atol=1e-4)
hold((flows, weights), before, what="what was given, after the call: it must stay as it is, and it")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "steady-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
h = w = 64
B, b, grid = rotation(0.25) * 0.8, torch.tensor([0.15, -0.1]), lfdm.identity_grid(64, 64)
thing = (grid - torch.tensor([-0.3, 0.2])[:, None, None]).abs().amax(dim=0) < 0.3
mine = torch.where(thing, torch.tensor([0.3, 0.0])[:, None, None], torch.tensor(0.0))[None]
flow = torch.einsum("ij,njhw->nihw", B, grid + mine) + b[:, None, None] - grid
weight = (~thing).float()[None, None]
camera, rest = steady(flow, weight)
minus = flow - linear_flow(camera[0, :, :2], 64, 64) - camera[:, :, 2, None, None]
shown = [lfdm.flow_to_rgb(flow)[0], weight[0], *(lfdm.flow_to_rgb(f)[0] for f in (rest, minus))]
viz.image_row(shown, ["flow", "weight", "rest", "flow - camera"], scale=4)

# %% [markdown]
# ## 7. What a region cannot tell (7 points, 45 minutes)
#
# **You learn** which motions a region reads rightly, and how far off it is with the others. **Read first** chapter 04,
# "From a spread to axes" and "The motion of a region".
#
# A piece of the driving picture is covered by a region with covariance $\Sigma^{\mathrm D}$. In the source the same
# piece is turned, stretched and sheared by a matrix $C$ with a positive determinant, so that its region there has
# $\Sigma^{\mathrm S} = C\, \Sigma^{\mathrm D} C^\top$. From the two regions the model reads $M = \pm A^{\mathrm S}
# (A^{\mathrm D})^{-1}$, with the sign of least turn. Is $M = C$? Both carry the one region onto the other. In the
# regions' own coordinates they differ by
#
# $$Q = \left( M A^{\mathrm D} \right)^{-1} C\, A^{\mathrm D}$$
#
# Show with two lines on paper that $Q Q^\top = I$: what gets lost is one angle, and nothing else. Then compute the size of this
# angle. You will need it for turns beyond a quarter, for a region that gets longer in its shorter direction, and
# for a shear.
#
# ![Three pairs of ellipses in blue, each with a dot, and what is made of them in orange. Under a turn of 30 degrees the true dot and the one that is read coincide. Under a squeeze that makes the shorter axis the longer one, and under a shear, the ellipses agree and the dots do not.](figures/ps2_warping_misread.png)
#
# *What a right answer says, in the titles. Blue: the region in the driving picture, with a marked point. Orange: in the
# source. The cross is where the point is, the circle is where the region says that it is.*

# %% nbgrader={"grade": false, "grade_id": "misread", "locked": false, "schema_version": 3, "solution": true, "task": false}
def misread(C: Tensor, covariance: Tensor) -> Tensor:
    """By how much regions read a motion wrongly.

    Args:
        C: (n, 2, 2), from driving to source offsets, with positive determinants.
        covariance: (n, 2, 2), of the regions in the driving picture; none of them is round, nor is any in the source.

    Returns:
        (n,), how far Q turns, in degrees from 0 to 180; 0 says that the motion is read rightly.
    """
    ### BEGIN SOLUTION
    of_driving, of_source = affine_frame(covariance), affine_frame(C @ covariance @ C.mT)
    M = of_source @ torch.linalg.inv(of_driving)
    M = M * torch.where(M.diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0)[:, None, None]
    Q = torch.linalg.inv(M @ of_driving) @ C @ of_driving
    return torch.rad2deg(torch.atan2(Q[:, 1, 0] - Q[:, 0, 1], Q[:, 0, 0] + Q[:, 1, 1])).abs()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "misread-1", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: turns. Those by less than a quarter are read rightly.
### BEGIN HIDDEN TESTS
def by_whitening(C, covariance):
    """The angle between what becomes of the longer axis and the longer axis, as the source's spread measures it."""
    angles = []
    for c, spread in zip(C.double(), covariance.double(), strict=True):
        arms = []
        for s in (spread, c @ spread @ c.T):
            values, vectors = torch.linalg.eigh(s)
            e = vectors[:, 1]
            arms.append((e * values[1].sqrt(), torch.stack([-e[1], e[0]]) * values[0].sqrt(), torch.linalg.inv(s)))
        (d1, d2, of_d), (s1, s2, of_s) = arms
        M = s1[:, None] * (of_d @ d1) + s2[:, None] * (of_d @ d2)
        turned = -1 if M.trace() < 0 else 1
        angles.append(torch.rad2deg(torch.acos((turned * s1 @ of_s @ c @ d1).clamp(-1, 1))))
    return torch.stack(angles).float()


### END HIDDEN TESTS
long = torch.tensor([[0.09, 0.0], [0.0, 0.01]])
turns = torch.stack([rotation(math.radians(degrees)) for degrees in (30, -80, 120, 180)])
mistakes = {
    "Half a turn is lost here, and a region does not see it: an axis has no direction: chapter 04, 'From a spread to axes'": torch.zeros(4),
    "This is how far the piece turns; Q is what M misses of it: chapter 04, 'The motion of a region'": torch.tensor(
        [30.0, 80, 120, 180]
    ),
    "This is how far M turns; Q is what it misses: chapter 04, 'The motion of a region'": torch.tensor([30.0, 80, 60, 0]),
    "The angle is in radians, and degrees are asked for: chapter 04, 'From a spread to axes'": torch.tensor(
        [0.0, 0, math.pi, math.pi]
    ),
    "An angle has no sign here, only a size: chapter 04, 'From a spread to axes'": torch.tensor([0.0, 0, -180, -180]),
}
hold(misread(turns, long.expand(4, 2, 2)), torch.tensor([0.0, 0, 180, 180]), mistakes, what="the angles of four turns", atol=0.2)  # roots
### BEGIN HIDDEN TESTS
C = torch.stack([rotation(a) for a in (0.2, 1.4, -1.4, 1.8, 3.0, -2.5)])
spreads = torch.stack([rotation(a) @ long @ rotation(a).mT for a in (0.1, 0.9, 2.0, -0.6, 1.2, 3.0)])
right = torch.tensor([0.0, 0, 0, 180, 180, 180])
hold(misread(C, spreads), right, what="the angles of six turns", atol=0.2)  # roots of nearly nothing
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "misread-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: stretches along the axes of a region that is 2 long in x and 1 in y. The last makes y the longer axis.
spread = torch.tensor([[0.04, 0.0], [0.0, 0.01]]).expand(3, 2, 2)
stretches = torch.diag_embed(torch.tensor([[2.0, 1.0], [0.7, 1.3], [0.25, 1.0]]))
mistakes = {
    "When the shorter axis becomes the longer, the frame's columns change places, and a turn is read: chapter 04, 'From a spread to axes'": torch.zeros(3),
    "The sign of least turn cannot mend a quarter: chapter 04, 'From a spread to axes'": torch.tensor([0.0, 0, 180]),
}
hold(misread(stretches, spread), torch.tensor([0.0, 0, 90]), mistakes, what="the angles of three stretches", atol=0.2)  # roots
### BEGIN HIDDEN TESTS
turn = rotation(0.7)
C = turn @ torch.diag_embed(torch.tensor([[1.5, 0.9], [3.0, 3.0], [0.3, 1.2]])) @ turn.mT
spreads = (turn @ spread[0] @ turn.mT).expand(3, 2, 2)
hold(misread(C, spreads), torch.tensor([0.0, 0, 90]), mistakes, what="the angles of stretches along tilted axes", atol=0.2)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "misread-3", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# 3 points: shears. Under this one an angle is lost whose double has the tangent 6 / 7.
spread, shear = torch.tensor([[0.09, 0.0], [0.0, 0.01]])[None], torch.tensor([[1.0, 1.0], [0.0, 1.0]])[None]
before = spread.clone(), shear.clone()
found = misread(shear, spread)
hold((spread, shear), before, what="what was given, after the call: it must stay as it is, and it")
mistakes = {
    "A shear is no turn and a stretch; regions read it as one: chapter 04, 'From a spread to axes'": torch.zeros(1),
    "This is how the piece turns by the shear, not what M misses: chapter 04, 'The motion of a region'": torch.tensor([26.565]),
    "The angle is in radians, and degrees are asked for: chapter 04, 'From a spread to axes'": torch.tensor([math.atan(6 / 7) / 2]),
    "This is the double of the angle: chapter 04, 'From a spread to axes'": torch.tensor([40.601]),
    "The symmetric root does not turn with a region, take the axes: chapter 04, 'From a spread to axes'": torch.tensor([14.036]),
    "A triangular frame does not turn with a region, take the axes: chapter 04, 'From a spread to axes'": torch.tensor([18.435]),
    "That is in the picture's coordinates; Q is seen in the region's own: chapter 04, 'The motion of a region'": torch.tensor([31.655]),
    "C acts from the left, its transpose from the right: chapter 04, 'From a heat map to a spread'": torch.tensor([83.021]),
}
hold(found, torch.tensor([20.301]), mistakes, what="the angle of a shear", atol=0.01)  # degrees
### BEGIN HIDDEN TESTS
def angles_with(frame_of, sign=True, plain=False, behind=False):
    """The same with other frames, or with other matrices than Q."""
    D, S = frame_of(spreads), frame_of(C.mT @ spreads @ C if behind else C @ spreads @ C.mT)
    M = S @ torch.linalg.inv(D)
    if sign:
        M = M * torch.where(M.diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0)[:, None, None]
    Q = torch.linalg.inv(M) @ C if plain else torch.linalg.inv(M @ D) @ C @ D
    return torch.rad2deg(torch.atan2(Q[:, 1, 0] - Q[:, 0, 1], Q[:, 0, 0] + Q[:, 1, 1])).abs()


def root(s):
    values, vectors = torch.linalg.eigh(s)
    return vectors * values.sqrt()[..., None, :] @ vectors.mT


draw = torch.Generator().manual_seed(1)
half = 0.2 * torch.randn(12, 2, 2, generator=draw)
spreads = torch.cat([spread, half @ half.mT + 0.01 * torch.eye(2)])
C = torch.cat([shear, torch.eye(2) + 0.5 * torch.randn(12, 2, 2, generator=draw)])
C = torch.where(torch.linalg.det(C)[:, None, None] < 0, C.flip(-1), C)
mistakes = {
    "The sign of least turn is not chosen: chapter 04, 'From a spread to axes'": lambda: angles_with(affine_frame, sign=False),
    "The symmetric root does not turn with a region, take the axes: chapter 04, 'From a spread to axes'": lambda: angles_with(root),
    "A triangular frame does not turn with a region, take the axes: chapter 04, 'From a spread to axes'": lambda: angles_with(torch.linalg.cholesky),
    "That is in the picture's coordinates; Q is seen in the region's own: chapter 04, 'The motion of a region'": lambda: angles_with(affine_frame, plain=True),
    "C acts from the left, its transpose from the right: chapter 04, 'From a heat map to a spread'": lambda: angles_with(affine_frame, behind=True),
    "The size of the angle is cut off at a quarter: chapter 04, 'From a spread to axes'": lambda: torch.minimum(by_whitening(C, spreads), 180 - by_whitening(C, spreads)),
}
hold(misread(C, spreads), by_whitening(C, spreads), mistakes, what="the angles of thirteen maps", atol=0.2)  # roots
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "misread-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
spread = torch.tensor([[0.04, 0.0], [0.0, 0.01]])
maps = {"turn": rotation(math.radians(30)), "squeeze": torch.diag(torch.tensor([0.35, 1.6])), "shear": torch.tensor([[1.0, 1.2], [0.0, 1.0]])}
figure, axes = plt.subplots(1, 3, figsize=(8.4, 3))
here, there = torch.tensor([-0.45, 0.0]), torch.tensor([0.45, 0.0])
for ax, (name, C) in zip(axes, maps.items(), strict=True):
    angle = misread(C[None], spread[None]).item()
    D, S = affine_frame(spread), affine_frame(C @ spread @ C.mT)
    M = S @ torch.linalg.inv(D)
    M = -M if M.trace() < 0 else M
    point = 2 * D @ torch.tensor([0.8, 0.6])
    ellipse(ax, here, spread, "blue")
    ellipse(ax, there, C @ spread @ C.mT, "orange", "--")
    ax.plot(*(here + point), "o", color=viz.COLOURS["blue"])
    ax.plot(*(there + C @ point), "x", color=viz.COLOURS["black"], markersize=9)
    ax.plot(*(there + M @ point), "o", color=viz.COLOURS["orange"], fillstyle="none", markersize=11)
    ax.set(xlim=(-1, 1), ylim=(1, -1), aspect="equal", xticks=[], yticks=[], title=f"{name}: off by {angle:.0f} degrees")
plt.show()
