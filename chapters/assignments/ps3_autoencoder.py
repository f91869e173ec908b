# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Problem set 3: The auto-encoder and its losses
#
# You say what a loss sees, grade paintings by their parts, follow a detector over every shift, find out what noise does to
# the target of the occlusion map, what a map learns when it blends, and what a penalty on stillness does to a flow. Then
# you mend a step of training and read the curves of four trainings.
#
# **You need** chapter 05 (The auto-encoder), PyTorch tensors, autograd, and the Gaussian distribution. **It takes** about
# five hours: eight exercises, 51 points, and 4 more for a written answer. **You may use** PyTorch, `lfdm_lite`, and your
# own cells of the chapter. No exercise needs the answer of another, so begin where you like; they are sorted from easy to
# hard.
#
# **How it works.** Write your code below the docstring, in place of `raise NotImplementedError`; keep names and
# arguments as they are. Helpers of your own belong into the same cell. The cells below an answer test it: run them. If
# nothing is printed the test passes, and otherwise it says what is amiss. When your work is marked, the same cells test
# more cases than you see here. The last cell of exercises 1 to 7 draws what your function does; change it as you like. No
# function may change what it is given.
#
# | exercise | kind | minutes | points |
# |---|---|---|---|
# | 1 Seven costs | predict | 35 | 6 |
# | 2 Better than a copy, and where | implement | 35 | 7 |
# | 3 Does the region follow? | implement and check | 40 | 7 |
# | 4 What noise alone costs | derive and check | 40 | 7 |
# | 5 What a map learns when it blends | derive and check | 45 | 8 |
# | 6 The price of moving | derive and check | 40 | 7 |
# | 7 Five faults in a training | debug | 60 | 9 |
# | 8 Four trainings | interpret | 20 | 4, written |
#
# Everywhere, a *flow* is backward and normalized: channel 0 is $x$ to the right, channel 1 is $y$ down, and the picture
# spans $[-1, 1]$, from edge to edge. Outside, the border repeats. Pictures are RGB in $[0, 1]$, float32.

# %% nbgrader={"grade": false, "grade_id": "given", "locked": true, "schema_version": 3, "solution": false, "task": false}
import copy
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lfdm_lite as lfdm
from lfdm_lite import viz
from lfdm_lite.course.checks import hold
from lfdm_lite.evaluation.metrics import psnr
from lfdm_lite.losses import pyramid_loss
from lfdm_lite.motion import Motion

viz.use_style()


def drawn(seed: int, *shape: int) -> Tensor:
    """Even random numbers from 0 to 1, always the same for a seed."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def everywhere(x: float, y: float, h: int, w: int) -> Tensor:
    """The flow (1, 2, h, w) that is the same at all pixels."""
    return torch.tensor([float(x), float(y)])[None, :, None, None].expand(1, 2, h, w).clone()


def spot(x: float, y: float, h: int = 32, w: int = 32, size: float = 0.15) -> Tensor:
    """A soft white spot on black, (1, 3, h, w), with its middle at the normalized (x, y)."""
    offset = lfdm.identity_grid(h, w) - torch.tensor([x, y])[:, None, None]
    return torch.exp(-offset.square().sum(dim=0) / (2 * size**2)).expand(1, 3, h, w).clone()


def means_of_colours(image: Tensor) -> Tensor:
    """Three regions (b, 3, 2): where the red, the green and the blue of a picture are, on average."""
    heat = image / image.sum(dim=(2, 3), keepdim=True)
    return torch.einsum("bkhw,chw->bkc", heat, lfdm.identity_grid(*image.shape[-2:]))


def middle(image: Tensor) -> Tensor:
    """A detector that always answers the middle of the picture."""
    return torch.zeros(len(image), 3, 2)


def mirrored(image: Tensor) -> Tensor:
    """A detector that takes the left for the right."""
    return means_of_colours(image) * torch.tensor([-1.0, 1.0])


def on_fourths(image: Tensor) -> Tensor:
    """A detector that answers the brightest of every fourth pixel, to the right and down."""
    small = image[:, :, 2::4, 2::4]
    place = F.one_hot(small.flatten(2).argmax(dim=2), small[0, 0].numel()).float().view(small.shape)
    fine = torch.zeros_like(image)
    fine[:, :, 2::4, 2::4] = place
    return means_of_colours(fine)


# %% [markdown]
# ## 1. Seven costs (6 points, 35 minutes)
#
# **You learn** what the picture loss sees, and what it is blind to. **Read first** chapter 05, "Losses that look at the picture".
#
# ![Two curves of cost over how far a bar is misplaced. From column 16 the cost rises in steps, at 1, 2 and 4 columns. From column 15 it jumps to its highest value at 1 and stays there.](figures/ps3_autoencoder_costs.png)
#
# *A hint. A white bar, one column wide, belongs in column 16 or in column 15, and is painted some columns to the right of
# that. The cost is the loss of version 2, with three levels. The two bars are equally wide and equally far off.*
#
# Find seven numbers with pencil and paper, then run the tests. What you see of them only looks whether these are numbers.
# In A to F all pictures have 8 rows and 8 columns, numbered from 0, and all rows are alike; the three colours are, too. The
# loss has $L = 3$ levels and, unless the text says otherwise, $w = 1$. The error is painted minus true.
#
# * **A** The error is 0.3 in all columns.
# * **B** The error is 0.3, -0.3, 0.3, -0.3 and so on, from column to column.
# * **C** The error is 0.3, 0.3, -0.3, -0.3, 0.3, 0.3, -0.3, -0.3.
# * **D** With $w = 0$: a white bar belongs in column 3, on black. It is painted in column 4.
# * **E** With $w = 0$: a white bar belongs in column 4, on black. It is painted in column 5.
# * **F** The derivative of B with respect to the painted value of column 3, where all 8 rows and the three colours change
#   together. Where something inside $\lvert\,\cdot\,\rvert$ is 0, take the slope 0.
# * **G** Now pictures have 64 columns and 64 rows, $L = 4$ and $w = 0$. A white bar of two columns belongs in 4 and 5, and
#   is painted $d$ columns to the right of that. From which $d$ on does the cost rise no more?

# %% nbgrader={"grade": false, "grade_id": "costs", "locked": false, "schema_version": 3, "solution": true, "task": false}
def costs() -> dict[str, float]:
    """Your seven numbers: {"A": ..., ..., "G": ...}."""
    ### BEGIN SOLUTION
    C = ((0.3 + 3 * 0.6 / 7) + (0.3 + 0.6) + 0) / 3
    return {"A": 0.3, "B": (0.3 + 0.6) / 3, "C": C, "D": 0.25, "E": 0.25 / 3, "F": (-1 / 8 - 2 / 7) / 3, "G": 4}
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "costs-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: the table has seven numbers, and A.
### BEGIN HIDDEN TESTS
def columns(values):
    """A picture (1, 3, n, n) whose rows are all alike."""
    values = torch.as_tensor(values, dtype=torch.float32)
    return values.expand(1, 3, len(values), len(values)).clone()


def bar(first, width=1, n=8):
    return columns([float(first <= i < first + width) for i in range(n)])


def cost(painted, target, **choices):
    return pyramid_loss(painted, target, **choices).item()


LOSS = "chapter 05, 'Losses that look at the picture'"


### END HIDDEN TESTS
table = costs()
kinds = {letter: "a number" if isinstance(n, int | float) else n for letter, n in table.items()} if isinstance(table, dict) else table
hold(kinds, dict.fromkeys("ABCDEFG", "a number"), what="your table")
### BEGIN HIDDEN TESTS
zero = columns([0.0] * 8)
mistakes = {
    f"The levels are added; they are averaged: {LOSS}": 0.9,
    f"An even tint stays what it is in the smaller copies: {LOSS}": 0.1,
    f"As if neighbours differed; an even error has no differences: {LOSS}": 0.9 + 0.6,
}
hold(table["A"], cost(zero + 0.3, zero), mistakes, what="A")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "costs-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: B and C, stripes.
table = costs()
kinds = {k: "a number" if isinstance(table.get(k), int | float) else None for k in "BC"} if isinstance(table, dict) else table
hold(kinds, {"B": "a number", "C": "a number"}, what="your costs of stripes")
### BEGIN HIDDEN TESTS
cancel = f"As if the stripes were still there in the smaller copies, or as if the levels were added: {LOSS}"
per_row = f"A row of 8 has 7 differences, and the mean is taken over those: {LOSS}"
seven = {
    cancel: 0.9,
    f"The differences to the right are missing; w is 1: {LOSS}": 0.1,
    f"The colours are missing, or a difference between 0.3 and -0.3 is taken for 0.3: {LOSS}": 0.2,
    f"The rows are alike, so nothing differs from what is below: {LOSS}": 0.5,
    per_row: (0.3 + 4.2 / 8) / 3,
}
hold(table["B"], cost(columns([0.3, -0.3] * 4), zero), seven, what="B")
fine = 0.3 + 1.8 / 7
mistakes = {
    f"As if these stripes cancelled in the copy of half the size; there they are one column wide: {LOSS}": fine / 3,
    f"In the smallest copy the stripes have cancelled: {LOSS}": (fine + 0.9 + 0.9) / 3,
    f"Only every second difference is not zero: {LOSS}": (0.9 + 0.9) / 3,
    per_row: (0.3 + 1.8 / 8 + 0.9) / 3,
    f"Only three differences of a row are not zero, and not four: {LOSS}": (0.3 + 2.4 / 7 + 0.9) / 3,
    f"The differences count in the smaller copies, too: {LOSS}": (fine + 0.3) / 3,
    f"The differences to the right are missing; w is 1: {LOSS}": 0.2,
    f"The levels are added; they are averaged: {LOSS}": fine + 0.9,
    f"The rows are alike, so nothing differs from what is below: {LOSS}": (0.3 + 3.6 / 7 + 0.3 + 1.2) / 3,
}
hold(table["C"], cost(columns([0.3, 0.3, -0.3, -0.3] * 2), zero), mistakes, what="C")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "costs-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: D and E, a bar that is off by one column.
table = costs()
kinds = {k: "a number" if isinstance(table.get(k), int | float) else None for k in "DE"} if isinstance(table, dict) else table
hold(kinds, {"D": "a number", "E": "a number"}, what="your costs of a bar")
### BEGIN HIDDEN TESTS
bright = f"A bar gets darker in the smaller copies, since black is mixed in: {LOSS}"
both = f"Two columns are wrong: white is missing in one and too much in the other: {LOSS}"
mistakes = {
    f"Columns 3 and 4 share no pixel of any copy, so all levels see this: {LOSS}": 0.25 / 3,
    f"Columns 3 and 4 share no pixel of any copy, so three levels see this: {LOSS}": 0.5 / 3,
    bright: (0.25 + 0.5 + 1) / 3,
    both: 0.125,
    f"The levels are added; they are averaged: {LOSS}": 0.75,
}
hold(table["D"], cost(bar(4), bar(3), gradient_weight=0.0), mistakes, what="D")
mistakes = {
    f"As if all levels saw it; in a copy of half the size 4 and 5 are one pixel: {LOSS}": 0.25,
    f"As if two levels saw it; in a copy of half the size 4 and 5 are one pixel: {LOSS}": 0.5 / 3,
    both: 0.125 / 3,
}
hold(table["E"], cost(bar(5), bar(4), gradient_weight=0.0), mistakes, what="E")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "costs-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: F, a derivative.
table = costs()
hold(table.get("F") if isinstance(table, dict) else table, 0.0, what="F", atol=1e3)  # a number
### BEGIN HIDDEN TESTS
value = torch.tensor(-0.3, requires_grad=True)
e = torch.tensor([0.3, -0.3, 0.3, 0, 0.3, -0.3, 0.3, -0.3])
painted = (e + value * F.one_hot(torch.tensor(3), 8)).expand(1, 3, 8, 8)
right = torch.autograd.grad(pyramid_loss(painted, torch.zeros_like(painted)), value)[0].item()
mistakes = {
    f"The sign: raising a value that is too low lowers the cost: {LOSS}": (1 / 8 + 2 / 7) / 3,
    f"The differences are missing, or cancel; column 3 is part of two, and both get smaller: {LOSS}": -1 / 24,
    f"Column 3 is part of two differences, one on each side: {LOSS}": (-1 / 8 - 1 / 7) / 3,
    f"The levels are averaged: {LOSS}": -1 / 8 - 2 / 7,
    f"This is for a single pixel; here all rows change together: {LOSS}": (-1 / 64 - 2 / 56) / 3,
    f"The mean is taken over columns and over differences; these are the slopes of sums: {LOSS}": -1.0,
    f"A row of 8 has 7 differences: {LOSS}": (-3 / 8) / 3,
}
hold(table["F"], right, mistakes, what="F")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "costs-5", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: G, where the slope ends.
table = costs()
hold(table.get("G") if isinstance(table, dict) else table, 0.0, what="G", atol=1e3)  # a number
### BEGIN HIDDEN TESTS
at = [cost(bar(4 + d, 2, 64), bar(4, 2, 64), scales=4, gradient_weight=0.0) for d in range(20)]
right = next(d for d in range(20) if max(at) - at[d] < 1e-6)
mistakes = {
    f"This is where the finest level ends; a smaller copy still sees overlap: {LOSS}": 2,
    f"A pixel of the smallest copy is 8 columns wide, but the bar begins in the middle of one: {LOSS}": 8,
    f"The smallest of four copies has been halved three times, not four: {LOSS}": 12,
    f"One too few: the cost still rises there: {LOSS}": 3,
    f"One too many: look at the first column that is behind the pixel of the smallest copy: {LOSS}": 5,
    f"As if the smallest copy's pixels began where the bar begins: {LOSS}": 10,
}
hold(table["G"], right, mistakes, what="G")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "costs-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
placed = lambda column: (torch.arange(32) == column).float().expand(1, 3, 32, 32)
plt.figure(figsize=(6, 2.6))
for start, mark in ((16, "o"), (15, "s")):
    of_bar = [pyramid_loss(placed(start + d), placed(start), gradient_weight=0.0).item() for d in range(9)]
    plt.plot(range(9), of_bar, marker=mark, label=f"belongs in column {start}")
plt.xlabel("painted to the right of that, columns")
plt.ylabel("cost, version 2")
plt.legend()
plt.show()
print(costs())

# %% [markdown]
# ## 2. Better than a copy, and where (7 points, 35 minutes)
#
# **You learn** to grade paintings by their parts, and what PSNR forgives. **Read first** chapter 05, "Training, live" and
# "What each part is worth".
#
# Most of a picture rests, so frame 0, copied, has a high PSNR already. A network that paints a clip shall be graded by
# how much *better* it is, and for each part of the picture alone: mouth, eyes, ground. PSNR also likes
# blur, so a second number stands beside it. For part $n$ with weights $\omega_n \ge 0$ (a pixel may belong to a part by a half), over all clips, colours,
# places and frames but the first:
#
# * *gain*: by how many dB the PSNR of the painted frames is higher than that of frame 0 repeated. Pool squared
#   errors before you take a logarithm.
# * *sharp*: the mean absolute difference of a pixel and its neighbour to the right in the painted frames, as a share of
#   the same in the true frames. A pair of neighbours counts by the product of both weights.
#
# A part that is nowhere has no number: `nan`.
#
# ![Two bar charts for four paintings of a face: true but shifted by half a pixel, blurred, noisy, and a copy of frame 0. In gain the shifted and the blurred painting are alike, near 6 decibels, the noisy one is a little lower, and the copy has none. In sharp the blurred one is lowest, the noisy one lies far above 1, and the copy at 1.](figures/ps3_autoencoder_report.png)
#
# *What a right answer draws: four paintings of one clip, graded. The copy, which
# moves nothing, is as sharp as the truth; the blurred one gains as much as the one shifted by half a pixel, which you
# would hardly notice.*

# %% nbgrader={"grade": false, "grade_id": "report", "locked": false, "schema_version": 3, "solution": true, "task": false}
def report(painted: Tensor, video: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Grades of painted clips, part by part.

    Args:
        painted, video: (b, 3, t, h, w), RGB, painted and true; frame 0 was given to the painter.
        weight: (b, n, t, h, w), at least 0: how far each place of each frame belongs to each of n parts.

    Returns:
        gain (n,) in dB, and sharp (n,).
    """
    ### BEGIN SOLUTION
    painted, video, first, weight = painted[:, :, 1:], video[:, :, 1:], video[:, :, :1], weight[:, :, 1:]
    pooled = lambda each: torch.einsum("bnthw,bcthw->n", weight, each)
    gain = 10 * torch.log10(pooled((first - video).square()) / pooled((painted - video).square()))
    of_pairs = weight[..., 1:] * weight[..., :-1]
    strength = lambda frames: torch.einsum("bnthw,bcthw->n", of_pairs, frames.diff(dim=-1).abs())
    return gain, strength(painted) / strength(video)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "report-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: one part, the whole picture. The copy is off by 0.5 and the painting by 0.05: 20 dB.
### BEGIN HIDDEN TESTS
def by_lists(painted, video, weight, first=False, of=lambda w: w[0] * w[1], vertical=False):
    """Every pixel as often as its weight, a whole number, says: selected, and put into lists. All tests use it."""
    gains, sharps = [], []
    start = 0 if first else 1
    for n in range(weight.shape[1]):
        w = weight[:, n, start:].long()
        chosen = lambda frames, w=w: torch.repeat_interleave(frames.double().movedim(1, -1).reshape(-1, 3), w.reshape(-1), dim=0)
        p, v, c = (chosen(f[:, :, start:]) for f in (painted, video, video[:, :, :1].expand_as(video)))
        gains.append(10 * math.log10(((c - v) ** 2).mean() / ((p - v) ** 2).mean()) if len(v) else math.nan)
        pairs = of((w[..., :-1], w[..., 1:])).reshape(-1)
        one = lambda frames, pairs=pairs: torch.repeat_interleave(
            (frames[..., 1:] - frames[..., :-1]).double().abs().movedim(1, -1).reshape(-1, 3), pairs, dim=0
        )
        sharps.append((one(painted[:, :, start:]).mean() / one(video[:, :, start:]).mean()).item() if pairs.sum() else math.nan)
    return torch.tensor(gains), torch.tensor(sharps)


def some_clip(seed, b=1, t=4, h=6, w=9):
    """A painting that is worse from frame to frame, and its clip."""
    video = drawn(seed, b, 3, t, h, w)
    off = (drawn(seed + 100, b, 3, t, h, w) - 0.5) * torch.linspace(0.1, 1.2, t)[:, None, None]
    return video + off, video


### END HIDDEN TESTS
video = torch.zeros(1, 3, 3, 4, 6)
video[:, :, 1:] = 0.5
painted = video + 0.05
found = report(painted, video, torch.ones(1, 1, 3, 4, 6))
gain = found[0] if isinstance(found, tuple | list) and len(found) else found
mistakes = {
    "This counts a tenth of the squared error as 20 dB; it is 10: chapter 05, 'What stage one has to learn'": torch.tensor([40.0]),
    "These are errors, not squared errors: chapter 05, 'What stage one has to learn'": torch.tensor([10.0]),
    "The sign: better than the copy is positive: chapter 05, 'Training, live'": torch.tensor([-20.0]),
    "This is the PSNR itself; the copy's has to be taken off: chapter 05, 'Training, live'": torch.tensor([26.0206]),
    "The logarithm has the base 10: chapter 05, 'What stage one has to learn'": torch.tensor([46.0517]),
}
### BEGIN HIDDEN TESTS
mistakes |= {
    "Frame 0 counts, and it was given: chapter 05, 'Training, live'": lambda: by_lists(painted, video, torch.ones_like(video[:, :1]), True)[0]
}
### END HIDDEN TESTS
hold(gain, torch.tensor([20.0]), mistakes, what="the gain", atol=1e-3)
### BEGIN HIDDEN TESTS
painted, video = some_clip(1)
every = torch.ones(1, 1, 4, 6, 9)
frames = lambda a, b: (a - b).square().mean(dim=(0, 1, 3, 4))
each = 10 * torch.log10(frames(video[:, :, :1], video)[1:] / frames(painted, video)[1:])
mistakes |= {"This is the mean of the gains of frames; pool the squared errors first: chapter 05, 'What stage one has to learn'": each.mean()[None]}
hold(report(painted, video, every)[0], by_lists(painted, video, every)[0], mistakes, what="the gain of a whole clip", atol=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "report-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the gain by part. In the left part the painting is true up to 0.1, in the right it is a copy.
video = torch.zeros(1, 3, 2, 4, 6)
video[:, :, 1] = 1.0
painted = video.clone()
painted[:, :, 1, :, :2], painted[:, :, 1, :, 2:] = 0.9, 0.0
weight = torch.zeros(1, 2, 2, 4, 6)
weight[:, 0, :, :, :2], weight[:, 1, :, :, 2:] = 1, 1
found = report(painted, video, weight)
gain = found[0] if isinstance(found, tuple | list) and len(found) else found
mistakes = {
    "Both parts get the gain of the whole picture: chapter 05, 'What each part is worth'": torch.tensor([1.7393, 1.7393]),
    "The parts look exchanged": torch.tensor([0.0, 20.0]),
}
hold(gain, torch.tensor([20.0, 0.0]), mistakes, what="the gains of two parts", atol=1e-3)
### BEGIN HIDDEN TESTS
painted, video = some_clip(2)
weight = (3 * drawn(3, 1, 3, 4, 6, 9)).floor()
mistakes = {
    "Places count or not; weights say how much: chapter 05, 'What each part is worth'": lambda: by_lists(painted, video, weight.clamp(max=1))[0],
    "The weights look squared: take the error first, then weigh it: chapter 05, 'What each part is worth'": lambda: by_lists(painted, video, weight**2)[0],
    "Frame 0 counts, and it was given: chapter 05, 'Training, live'": lambda: by_lists(painted, video, weight, True)[0],
    "The weights of frame 0 are used for all frames": lambda: by_lists(painted, video, weight[:, :, :1].expand_as(weight))[0],
}
hold(report(painted, video, weight)[0], by_lists(painted, video, weight)[0], mistakes, what="the gains with weights", atol=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "report-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: how sharp. The painting has a third of the contrast, and the part is two columns wide.
video = torch.zeros(1, 3, 2, 4, 6)
video[..., 1::2] = 0.6
painted = video / 3
for frames in (painted, video):
    frames[..., 1::2, :] += 0.3  # rows differ alike in both
weight = torch.zeros(1, 1, 2, 4, 6)
weight[..., 2:4] = 1
found = report(painted, video, weight)
sharp = found[1] if isinstance(found, tuple | list) and len(found) > 1 else found
mistakes = {
    "Differences are squared here; take their sizes: chapter 05, 'What each part is worth'": torch.tensor([1 / 9]),
    "The share is the other way round: painted over true: chapter 05, 'What each part is worth'": torch.tensor([3.0]),
    "Neighbours below, not to the right: chapter 05, 'Losses that look at the picture'": torch.tensor([1.0]),
}
hold(sharp, torch.tensor([1 / 3]), mistakes, what="sharp", atol=1e-4)
### BEGIN HIDDEN TESTS
painted, video = some_clip(4)
weight = (3 * drawn(5, 1, 3, 4, 6, 9)).floor()
ways = {
    "A pair counts by the weight of its right pixel alone": lambda w: w[1],
    "A pair counts by the weight of its left pixel alone": lambda w: w[0],
    "A pair counts by the sum of both weights": lambda w: w[0] + w[1],
    "A pair counts by the smaller of its weights": lambda w: torch.minimum(*w),
}
mistakes = {f"{name}; the product is asked for: chapter 05, 'What each part is worth'": lambda of=of: by_lists(painted, video, weight, of=of)[1] for name, of in ways.items()}
mistakes["Frame 0 counts, and it was given: chapter 05, 'Training, live'"] = lambda: by_lists(painted, video, weight, True)[1]
turned = [maps.mT for maps in (painted, video, weight)]
mistakes["Neighbours below, not to the right: chapter 05, 'Losses that look at the picture'"] = lambda: by_lists(*turned)[1]
mistakes["The whole picture counts, not the part: chapter 05, 'What each part is worth'"] = lambda: by_lists(painted, video, 0 * weight + 1)[1]
mistakes["Weighted frames have edges where the part ends; weigh the differences"] = lambda: torch.stack(
    [torch.stack([(weight[:, n, None] * f)[:, :, 1:].diff(dim=-1).abs().sum() for f in (painted, video)]) for n in range(3)]
).unbind(1)[0] / torch.stack([(weight[:, n, None] * video)[:, :, 1:].diff(dim=-1).abs().sum() for n in range(3)])
hold(report(painted, video, weight)[1], by_lists(painted, video, weight)[1], mistakes, what="sharp with weights", atol=1e-4)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "report-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: several clips, a part that is nowhere, and what was given stays.
video, painted = torch.zeros(2, 3, 2, 2, 4), torch.zeros(2, 3, 2, 2, 4)
video[:, :, 1], painted[0, :, 1], painted[1, :, 1] = 1.0, 0.9, 0.0
video[..., 1:3] += 0.5
painted[..., 1:3] += 0.5
weight = torch.zeros(2, 2, 2, 2, 4)
weight[:, 0] = 1
before = tuple(maps.clone() for maps in (painted, video, weight))
found = report(painted, video, weight)
mistakes = {
    "This is the mean of the gains of clips; pool the squared errors first: chapter 05, 'What stage one has to learn'": torch.tensor([10.0, math.nan]),
    "A part that is nowhere has no gain: it is nan, not 0": torch.tensor([2.96709, 0.0]),
}
gain = found[0] if isinstance(found, tuple | list) and len(found) else found
hold(gain, torch.tensor([2.96709, math.nan]), mistakes, what="the gains of two clips", atol=1e-3)
hold(found, (torch.tensor([2.96709, math.nan]), torch.tensor([1.0, math.nan])), what="the grades of two clips", atol=1e-3)
hold((painted, video, weight), before, what="what was given, after the call: it must stay as it is, and it")
### BEGIN HIDDEN TESTS
painted, video = some_clip(6, b=3)
weight = (3 * drawn(7, 3, 4, 4, 6, 9)).floor()
weight[:, 2] = 0
before = tuple(maps.clone() for maps in (painted, video, weight))
hold(report(painted, video, weight), by_lists(painted, video, weight), what="the grades of three clips", atol=1e-3)
hold((painted, video, weight), before, what="what was given, after the call: it must stay as it is, and it")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "report-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
clip = lfdm.data.Faces("val", size=32, num_frames=8, length=1)[0]["video"].float()[None]
moves = (clip - clip[:, :, :1]).abs().amax(dim=1, keepdim=True) > 0.05
weight = torch.cat([moves, ~moves], dim=1).float()
flat = clip[0].movedim(1, 0)
blurred = F.avg_pool2d(F.pad(flat, (1,) * 4, mode="replicate"), 3, stride=1).movedim(0, 1)[None]
shifted = lfdm.warp(flat, everywhere(1 / 32, 0, 32, 32).expand(8, -1, -1, -1)).movedim(0, 1)[None]
noisy = clip + 0.12 * torch.randn(clip.shape, generator=torch.Generator().manual_seed(0))
paintings = {"shifted": shifted, "blurred": blurred, "noisy": noisy, "copy": clip[:, :, :1].expand_as(clip)}
grades = {name: report(painting, clip, weight) for name, painting in paintings.items()}
figure, axes = plt.subplots(1, 2, figsize=(7.5, 2.6))
for i, (ax, title) in enumerate(zip(axes, ("gain where it moves, dB", "sharp, everywhere"), strict=True)):
    values = [grade[0][0] if i == 0 else report(paintings[name], clip, torch.ones_like(weight[:, :1]))[1][0] for name, grade in grades.items()]
    ax.bar(list(grades), [float(v) for v in values], color=viz.COLOURS["blue"])
    ax.set_title(title)
axes[1].axhline(1, color=viz.COLOURS["black"], linestyle=":")
plt.show()

# %% [markdown]
# ## 3. Does the region follow? (7 points, 40 minutes)
#
# **You learn** to check what the equivariance loss asks for, by brute force, and in which direction. **Read first** chapter
# 05, "Losses that look at the motion", and chapter 04, "Equivariance: a known deformation as a teacher".
#
# Move the content of a picture by whole pixels, $d_x$ to the right and $d_y$ down, and let the border repeat in what gets
# free. A detector that looks at things answers with places that moved by as much. Try *all* moves of at most $r$ pixels each way, and
# measure how far its answers are from that. No network is needed to check one.
#
# ![Four maps over the moves from -4 to 4 pixels each way. The first is black. The second is a cone: 0 in the middle, brighter outwards. The third is a valley along the vertical. The fourth repeats with a period of four pixels.](figures/ps3_autoencoder_follow.png)
#
# *What a right answer draws, for four detectors: the mean of the heat, the middle of the picture, the mirrored mean, and
# the brightest of every fourth pixel. Black: 0 pixels, white: 4 or more.*

# %% nbgrader={"grade": false, "grade_id": "follow", "locked": false, "schema_version": 3, "solution": true, "task": false}
def follow(detect, image: Tensor, reach: int) -> Tensor:
    """How far a detector is from following each move.

    Args:
        detect: takes pictures (b, 3, h, w) to places (b, k, 2), normalized, x before y.
        image: (b, 3, h, w).
        reach: r, at least 0 and less than h and w.

    Returns:
        (2 r + 1, 2 r + 1), in pixels: row i and column j belong to the move by i - r down and j - r to the right. The mean
        distance, over pictures and places, between what is found in the moved picture and what should be.
    """
    ### BEGIN SOLUTION
    h, w = image.shape[-2:]
    r, size = reach, torch.tensor([w / 2, h / 2])  # pixels per unit
    wide, at_rest = F.pad(image, (r,) * 4, mode="replicate") if r else image, detect(image)
    errors = torch.zeros(2 * r + 1, 2 * r + 1)
    for i in range(2 * r + 1):
        for j in range(2 * r + 1):
            moved = wide[:, :, 2 * r - i : 2 * r - i + h, 2 * r - j : 2 * r - j + w]
            should = at_rest * size + torch.tensor([j - r, i - r])
            errors[i, j] = (detect(moved) * size - should).norm(dim=-1).mean()
    return errors
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "follow-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: nothing is amiss with the mean of a spot that stays inside.
### BEGIN HIDDEN TESTS
HOW = "chapter 04, 'Equivariance: a known deformation as a teacher'"


def by_warps(detect, image, reach, sign=1, rolled=False, unit=None, length=None, outside="border", of=torch.mean, flip=False):
    """Each move as a warp by a flow, in the other order. All tests use it."""
    h, w = image.shape[-2:]
    unit = torch.tensor([w / 2, h / 2]) if unit is None else unit
    rows = []
    for down in range(-reach, reach + 1):
        row = []
        for right in range(-reach, reach + 1):
            flow = everywhere(-2 * right / w, -2 * down / h, h, w).expand(len(image), -1, -1, -1)
            moved = image.roll((down, right), (2, 3)) if rolled else lfdm.warp(image, flow, outside=outside)
            back = detect(moved) - sign * torch.tensor([2 * right / w, 2 * down / h]) - detect(image)
            off = back * unit
            row.append(of(off.norm(dim=-1) if length is None else length(off)))
        rows.append(torch.stack(row))
    errors = torch.stack(rows)
    return errors.T if flip else errors


def misread(detect, image, reach):
    """What comes out under each misconception."""
    h, w = image.shape[-2:]
    return {
        f"Picture and expectation move in opposite directions: {HOW}": lambda: by_warps(detect, image, reach, sign=-1),
        f"The answers are compared as if nothing had moved: {HOW}": lambda: by_warps(detect, image, reach, sign=0),
        "Rows of the answer are moves down, columns are moves to the right: chapter 03, 'Half a pixel'": lambda: by_warps(detect, image, reach, flip=True),
        "The error is in normalized units, and pixels are asked for: chapter 03, 'Half a pixel'": lambda: by_warps(detect, image, reach, unit=torch.ones(2)),
        "Width and height have units of their own: chapter 03, 'Half a pixel'": lambda: by_warps(detect, image, reach, unit=torch.tensor([w / 2, w / 2])),
        "Height and width have units of their own: chapter 03, 'Half a pixel'": lambda: by_warps(detect, image, reach, unit=torch.tensor([h / 2, h / 2])),
        "Width and height are exchanged in the units: chapter 03, 'Half a pixel'": lambda: by_warps(detect, image, reach, unit=torch.tensor([h / 2, w / 2])),
        "One unit is half the picture, so W / 2 pixels: chapter 03, 'Half a pixel'": lambda: by_warps(detect, image, reach, unit=torch.tensor([float(w), h])),
        f"A distance is the root of two squares, not a mean of sizes: {HOW}": lambda: by_warps(detect, image, reach, length=lambda o: o.abs().mean(-1)),
        f"A distance is the root of two squares, not a sum of sizes: {HOW}": lambda: by_warps(detect, image, reach, length=lambda o: o.abs().sum(-1)),
        f"A distance is the root of a sum of squares: {HOW}": lambda: by_warps(detect, image, reach, length=lambda o: o.square().sum(-1)),
        "What leaves the picture comes in again at the other side; the border repeats: chapter 03, 'Borders'": lambda: by_warps(detect, image, reach, rolled=True),
        "Black comes in from outside; the border repeats: chapter 03, 'Borders'": lambda: by_warps(detect, image, reach, outside="zeros"),
        f"This is the largest distance; the mean is asked for: {HOW}": lambda: by_warps(detect, image, reach, of=torch.amax),
        f"The distances are added over places; the mean is asked for: {HOW}": lambda: by_warps(detect, image, reach, of=torch.sum),
    }


### END HIDDEN TESTS
found = follow(means_of_colours, spot(0.1, -0.2), 2)
steps = torch.arange(-2.0, 3)
long = (steps[:, None] ** 2 + steps**2).sqrt()
mistakes = {
    "Picture and expectation move in opposite directions: chapter 04, 'Equivariance: a known deformation as a teacher'": 2 * long,
    "The answers are compared as if nothing had moved: chapter 04, 'Equivariance: a known deformation as a teacher'": long,
    "Pixels and normalized units are mixed: 32 pixels span 2: chapter 04, 'From a heat map to a position'": 15 * long,
}
hold(found, torch.zeros(5, 5), mistakes, what="the error of a perfect detector", atol=0.02)  # the tail of the spot
### BEGIN HIDDEN TESTS
images = drawn(1, 1, 3, 24, 24)
hold(follow(means_of_colours, images, 1), by_warps(means_of_colours, images, 1), misread(means_of_colours, images, 1), what="the errors in a picture full of things", atol=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "follow-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the middle of the picture never moves; a mirrored answer goes the wrong way, but only across.
steps = torch.arange(-1.0, 2)
long = (steps[:, None] ** 2 + steps**2).sqrt()
image = spot(0.0, 0.0)
mistakes = {
    "The answers are compared as if nothing had moved: chapter 04, 'Equivariance: a known deformation as a teacher'": torch.zeros(3, 3),
    "The error is in normalized units, and pixels are asked for: chapter 03, 'Half a pixel'": long / 16,
    "One unit is half the picture: chapter 03, 'Half a pixel'": 2 * long,
    "A distance is the root of two squares, not a sum of sizes: chapter 04, 'Equivariance: a known deformation as a teacher'": steps[
        :, None
    ].abs()
    + steps.abs(),
    "A distance is the root of two squares, not a mean of sizes: chapter 04, 'Equivariance: a known deformation as a teacher'": (
        steps[:, None].abs() + steps.abs()
    )
    / 2,
}
hold(follow(middle, image, 1), long, mistakes, what="the error of the middle", atol=1e-4)
mistakes = {
    "Rows of the answer are moves down, columns are moves to the right: chapter 03, 'Half a pixel'": 2 * steps.abs()[:, None].expand(3, 3),
    "Picture and expectation move in opposite directions: chapter 04, 'Equivariance: a known deformation as a teacher'": 2
    * steps.abs()[:, None].expand(3, 3),
}
hold(follow(mirrored, image, 1), 2 * steps.abs().expand(3, 3), mistakes, what="the error of the mirrored mean", atol=0.02)  # the tail
### BEGIN HIDDEN TESTS
images = drawn(2, 1, 3, 20, 20)
for name, detect in {"the middle": middle, "the mirrored mean": mirrored}.items():
    hold(follow(detect, images, 1), by_warps(detect, images, 1), misread(detect, images, 1), what=f"the errors of {name}", atol=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "follow-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: a picture of 16 rows and 32 columns, in which the middle never moves.
steps = torch.arange(-1.0, 2)
long = (steps[:, None] ** 2 + steps**2).sqrt()
mistakes = {
    "Width and height have units of their own: chapter 03, 'Half a pixel'": (4 * steps[:, None] ** 2 + steps**2).sqrt(),
    "Height and width have units of their own: chapter 03, 'Half a pixel'": (steps[:, None] ** 2 + steps**2 / 4).sqrt(),
    "Width and height are exchanged in the units: chapter 03, 'Half a pixel'": (4 * steps[:, None] ** 2 + steps**2 / 4).sqrt(),
}
hold(follow(middle, spot(0, 0, 16, 32), 1), long, mistakes, what="the error in a wide picture", atol=1e-4)
### BEGIN HIDDEN TESTS
images = torch.cat([spot(0.2, 0.1, 14, 22), spot(-0.3, -0.2, 14, 22, 0.3), drawn(3, 1, 3, 14, 22)])
uneven = lambda pictures: means_of_colours(pictures) * torch.tensor([[0.5, 1.0], [1.0, -1.0], [0.0, 0.3]])
for name, detect in {"an uneven detector": uneven, "the brightest of fourths": on_fourths}.items():
    hold(follow(detect, images, 1), by_warps(detect, images, 1), misread(detect, images, 1), what=f"the errors of {name} in three pictures", atol=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "follow-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: what gets free is filled by the border; no move at all is fine, too; and the picture stays as it is.
image = torch.tensor([1.0, 0, 0, 2]).expand(1, 3, 4, 4).clone()
before = image.clone()
found = follow(means_of_colours, image, 1)
mistakes = {
    "What leaves the picture comes in again at the other side; the border repeats: chapter 03, 'Borders'": torch.tensor([4 / 3, 0, 8 / 3]),
    "Black comes in from outside; the border repeats: chapter 03, 'Borders'": torch.tensor([1.0, 0, 2]),
}
row = found[1] if isinstance(found, Tensor) and found.shape == (3, 3) else found
hold(row, torch.tensor([1.5, 0, 2.5]), mistakes, what="the error of moves along a row")
hold(follow(means_of_colours, image, 0), torch.zeros(1, 1), what="the error of no move")
hold(image, before, what="the picture, after the call: it must stay as it is, and it")
### BEGIN HIDDEN TESTS
images = drawn(4, 2, 3, 9, 7)
before = images.clone()
hold(follow(means_of_colours, images, 2), by_warps(means_of_colours, images, 2), misread(means_of_colours, images, 2), what="the errors of long moves", atol=1e-3)
hold(images, before, what="the picture, after the call: it must stay as it is, and it")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "follow-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
detectors = {"mean": means_of_colours, "middle": middle, "mirrored": mirrored, "on fourths": on_fourths}
maps = [(follow(detect, spot(0.1, 0.05), 4) / 4).clamp(0, 1) for detect in detectors.values()]
viz.image_row([m.repeat_interleave(12, 0).repeat_interleave(12, 1) for m in maps], list(detectors), scale=1)

# %% [markdown]
# ## 4. What noise alone costs (7 points, 40 minutes)
#
# **You learn** that the target of the occlusion map sees the camera, too. **Read first** chapter 05, "Losses that look at the motion",
# and chapter 03, "Between pixels".
#
# The target is $V = \exp(-E / \tau)$ with the mean colour error $E$ of a warp. Suppose that flow and visibility are perfect, but the camera
# adds noise: in every pixel, colour and frame, of its own, normally distributed around 0 with standard deviation $\sigma$. Then $E$ is
# not 0, and $V$ not 1. What is
#
# $$E_0(\mathbf p) = \mathbb{E}\, \big\lvert \mathrm{warp}(n^{\mathrm S}, f)(\mathbf p) - n^{\mathrm D}(\mathbf p) \big\rvert\,,$$
#
# the expected error that noise alone makes at a pixel? Look-ups between pixels mix neighbours, each with noise of its own. So $E_0$
# depends on where the flow looks. ($\mathbb{E} \lvert u \rvert = \sqrt{2 / \pi}\, s$ for normal $u$ of mean 0 and standard deviation $s$.)
#
# ![A curve of error over the flow in pixels, from 0 to 2. It is highest at whole numbers, near 0.056, and lowest half way, near 0.049. Dots, measured, lie on it.](figures/ps3_autoencoder_noise.png)
#
# *What a right answer draws: $E_0$ for $\sigma = 0.05$ over a flow to the right, in pixels, with what was measured on pure noise
# (dots).*

# %% nbgrader={"grade": false, "grade_id": "noise", "locked": false, "schema_version": 3, "solution": true, "task": false}
def noise_floor(flow: Tensor, sigma: float) -> Tensor:
    """The colour error that noise alone makes under a perfect flow.

    Args:
        flow: (b, 2, h, w), normalized, from the driving frame to the source of the same size.
        sigma: standard deviation of the noise in every pixel of both frames.

    Returns:
        E_0 at every pixel of the driving frame, (b, 1, h, w).
    """
    ### BEGIN SOLUTION
    h, w = flow.shape[-2:]
    at = lfdm.identity_grid(h, w) + flow
    kept = 1.0
    for position, n in ((at[:, :1], w), (at[:, 1:], h)):
        column = (((position + 1) * n - 1) / 2).clamp(0, n - 1)
        part = column - column.floor()
        kept = kept * ((1 - part) ** 2 + part**2)  # squared weights of the two neighbours
    return math.sqrt(2 / math.pi) * sigma * (1 + kept).sqrt()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "noise-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: a flow of zero.
### BEGIN HIDDEN TESTS
def by_impulses(flow, sigma, squared=True, driving=True, add=False, mean=True, outside="border"):
    """Each source pixel alone sent through the warp says with which weight it counts where. All tests use it."""
    b, _, h, w = flow.shape
    weights = lfdm.warp(torch.eye(h * w).view(1, h * w, h, w).expand(b, -1, -1, -1), flow, outside=outside)
    kept = weights.square().sum(dim=1, keepdim=True) if squared else weights.sum(dim=1, keepdim=True)
    deviation = sigma * (driving + kept.sqrt() if add else (driving + kept).sqrt())
    return deviation * (math.sqrt(2 / math.pi) if mean else 1)


BETWEEN, TARGET = "chapter 03, 'Between pixels'", "chapter 05, 'Losses that look at the motion'"


def noisy_mistakes(flow, sigma):
    """What comes out under each misconception."""
    half = flow * torch.tensor([1.0, 0])[:, None, None]
    h, w = flow.shape[-2:]
    corners = torch.stack([flow[:, 0] * (w - 1) / w, flow[:, 1] * (h - 1) / h], dim=1)
    return {
        f"The driving frame has noise, too: {TARGET}": lambda: by_impulses(flow, sigma, driving=False),
        f"This is the standard deviation; the mean of the size is asked for: {TARGET}": lambda: by_impulses(flow, sigma, mean=False),
        f"Variances of independent noise add, deviations do not: {TARGET}": lambda: by_impulses(flow, sigma, add=True),
        f"Mixing pixels averages their noise away in part; weights count squared in a variance: {BETWEEN}": lambda: by_impulses(flow, sigma, squared=False),
        f"Only columns are mixed here; a flow has a part down, too: {BETWEEN}": lambda: by_impulses(half, sigma),
        "Where the look-up is outside, the border repeats, so nothing is mixed: chapter 03, 'Borders'": lambda: by_impulses(flow, sigma, outside="zeros"),
        "One unit of the flow is W / 2 pixels, not (W - 1) / 2: chapter 03, 'Half a pixel'": lambda: by_impulses(corners, sigma),
        f"Variance and standard deviation are mixed up: {TARGET}": lambda: by_impulses(flow, sigma) * sigma,
        f"This is the variance, not the mean of the size: {TARGET}": lambda: by_impulses(flow, sigma, mean=False) ** 2,
    }


### END HIDDEN TESTS
mistakes = {
    "The driving frame has noise, too: chapter 05, 'Losses that look at the motion'": torch.full((1, 1, 4, 6), 0.0797885),
    "This is the standard deviation; the mean of the size is asked for: chapter 05, 'Losses that look at the motion'": torch.full((1, 1, 4, 6), 0.1414214),
    "Variances of independent noise add, deviations do not: chapter 05, 'Losses that look at the motion'": torch.full((1, 1, 4, 6), 0.1595769),
    "This is the variance: chapter 05, 'Losses that look at the motion'": torch.full((1, 1, 4, 6), 0.02),
    "Noise of two frames does not cancel: chapter 05, 'Losses that look at the motion'": torch.zeros(1, 1, 4, 6),
}
hold(noise_floor(torch.zeros(1, 2, 4, 6), 0.1), torch.full((1, 1, 4, 6), 0.1128379), mistakes, what="the error at rest")
### BEGIN HIDDEN TESTS
still = torch.zeros(2, 2, 5, 3)
hold(noise_floor(still, 0.03), by_impulses(still, 0.03), noisy_mistakes(still, 0.03), what="the error at rest with another sigma")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "noise-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: every pixel looks half a pixel to the right, and then two whole ones. Away from the border.
found = noise_floor(everywhere(1 / 8, 0, 8, 8), 0.1)
hold(found, torch.zeros(1, 1, 8, 8), what="the error of half a pixel", atol=1e3)  # its kind and shape
mistakes = {
    "Mixing pixels averages their noise away in part: chapter 03, 'Between pixels'": torch.full((1, 1, 8, 6), 0.1128379),
    "The driving frame has noise, too: chapter 05, 'Losses that look at the motion'": torch.full((1, 1, 8, 6), 0.0564190),
    "This is the standard deviation; the mean of the size is asked for: chapter 05, 'Losses that look at the motion'": torch.full((1, 1, 8, 6), 0.1224745),
    "Both frames are averaged here; only the source is looked up between pixels: chapter 03, 'Between pixels'": torch.full((1, 1, 8, 6), 0.0797885),
    "Variances of independent noise add, deviations do not: chapter 05, 'Losses that look at the motion'": torch.full((1, 1, 8, 6), 0.1362075),
    "One unit of the flow is W / 2 pixels, not (W - 1) / 2: chapter 03, 'Half a pixel'": torch.full((1, 1, 8, 6), 0.0979746),
    "Four pixels are mixed only where the look-up is between columns and between rows: chapter 03, 'Between pixels'": torch.full((1, 1, 8, 6), 0.0892062),
}
hold(found[..., :6], torch.full((1, 1, 8, 6), 0.0977205), mistakes, what="the error of half a pixel")
found = noise_floor(everywhere(0.5, 0, 8, 8), 0.1)
hold(found[..., :6], torch.full((1, 1, 8, 6), 0.1128379), what="the error of two whole pixels")
### BEGIN HIDDEN TESTS
inner = lambda maps: maps[..., 2:-2]
for n, shift in ((9, 0.31), (7, -1.2)):
    flow = everywhere(2 * shift / n, 0, 1, n)
    hold(inner(noise_floor(flow, 0.2)), inner(by_impulses(flow, 0.2)), {k: lambda f=f: inner(f()) for k, f in noisy_mistakes(flow, 0.2).items()}, what=f"the error of {shift} pixels", atol=1e-4)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "noise-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: between columns and between rows at once. Half a pixel each way mixes four.
found = noise_floor(everywhere(1 / 8, 1 / 6, 6, 8), 0.1)
hold(found, torch.zeros(1, 1, 6, 8), what="the error of half a pixel each way", atol=1e3)  # its kind and shape
mistakes = {
    "Only columns are mixed here; a flow has a part down, too: chapter 03, 'Between pixels'": torch.full((1, 1, 4, 6), 0.0977205),
    "Two weights of a half each way make four of a quarter: chapter 03, 'Between pixels'": torch.full((1, 1, 4, 6), 0.1128379),
}
hold(found[..., :4, :6], torch.full((1, 1, 4, 6), 0.0892062), mistakes, what="the error of half a pixel each way")
### BEGIN HIDDEN TESTS
inner = lambda maps: maps[..., 2:-2, 2:-2]
for seed, (h, w) in ((1, (9, 6)), (2, (6, 11))):
    flow = 0.25 * (2 * drawn(seed, 1, 2, h, w) - 1)
    hold(inner(noise_floor(flow, 0.2)), inner(by_impulses(flow, 0.2)), {k: lambda f=f: inner(f()) for k, f in noisy_mistakes(flow, 0.2).items()}, what=f"the error in {h} x {w} pixels", atol=1e-4)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "noise-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: at the border; two flows at once; and the flow stays as it is. Here all look half a pixel to the right.
flows = torch.cat([everywhere(1 / 4, 0, 3, 4), everywhere(0, 0, 3, 4)])
before = flows.clone()
found = noise_floor(flows, 0.1)
right = torch.tensor([[0.0977205, 0.0977205, 0.0977205, 0.1128379], [0.1128379] * 4])[:, None, None].expand(2, 1, 3, 4)
mistakes = {
    "Outside is taken for black, and black has no noise; the border repeats: chapter 03, 'Borders'": torch.tensor(
        [[0.0977205, 0.0977205, 0.0977205, 0.0892062], [0.1128379] * 4]
    )[:, None, None].expand(2, 1, 3, 4),
    "The last column mixes its value with itself, which averages nothing: chapter 03, 'Borders'": torch.tensor(
        [[0.0977205] * 4, [0.1128379] * 4]
    )[:, None, None].expand(2, 1, 3, 4),
}
hold(found, right, mistakes, what="the error with its border")
hold(flows, before, what="the flow, after the call: it must stay as it is, and it")
### BEGIN HIDDEN TESTS
flow = 2 * drawn(3, 3, 2, 6, 8) - 1
before = flow.clone()
hold(noise_floor(flow, 0.1), by_impulses(flow, 0.1), noisy_mistakes(flow, 0.1), what="the error of three flows that look outside, too", atol=1e-4)
hold(flow, before, what="the flow, after the call: it must stay as it is, and it")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "noise-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
pixels, n = torch.linspace(0, 2, 81), 64
plt.figure(figsize=(6, 2.6))
plt.plot(pixels, [noise_floor(everywhere(2 * p / n, 0, n, n), 0.05)[0, 0, 5, 5].item() for p in pixels.tolist()], label="E_0")
draw = torch.Generator().manual_seed(0)
for p in (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0):
    before, after = (0.05 * torch.randn(1, 3, n, n, generator=draw) for _ in range(2))
    off = (lfdm.warp(before, everywhere(2 * p / n, 0, n, n)) - after).abs()[..., :-3].mean()
    plt.plot(p, off, "o", color=viz.COLOURS["black"], label="measured" if p == 0 else None)
plt.gca().set(xlabel="flow to the right, pixels", ylabel="colour error")
plt.legend()
plt.show()

# %% [markdown]
# ## 5. What a map learns when it blends (8 points, 45 minutes)
#
# **You learn** what the picture loss teaches an occlusion map, in two kinds of decoder. **Read first** chapter 05, "The
# decoder, and what it fetches", "Losses that look at the motion" and "What the authors did".
#
# A decoder gets what was fetched, $W$, multiplied by the map, $m \odot W$, and has to make up for the rest by itself. The authors'
# decoder blends instead: $m \odot W + (1 - m) \odot P$, where $P$ is its own painting. Freeze everything but the
# map. Over many examples, which have one map in common, the squared error of a pixel is
#
# $$\sum_{i, c} \big( m\, W_{ic} + (1 - m)\, P_{ic} - D_{ic} \big)^2,$$
#
# with examples $i$, colours $c$ and the driving frame $D$. Find the map that makes it smallest, place by place, with $m$ between
# 0 and 1. Multiplying alone is the case $P = 0$. Where $W$ and $P$ agree in all examples and colours, any map is as good; then take $m = 1$.
#
# Before you code: in the case $P = 0$, does the map get dark where what was fetched is wrong?
#
# ![Five pictures of a bar pattern: what was fetched, wrong in a stripe; the own painting, blurred; the truth; the map of the blend, nearly white with a black stripe; the map of multiplying alone, white, and light grey in the stripe.](figures/ps3_autoencoder_blend.png)
#
# *What a right answer draws: one of 40 examples, and the two maps. In the stripe, what was fetched has nothing to do with the truth.*

# %% nbgrader={"grade": false, "grade_id": "blend", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_map(fetched: Tensor, own: Tensor, driving: Tensor) -> Tensor:
    """The map that blends best.

    Args:
        fetched, own, driving: W, P and D, (n, c, h, w).

    Returns:
        (1, h, w), from 0 to 1; exactly 1 where W = P in all examples and colours.
    """
    ### BEGIN SOLUTION
    apart = fetched - own
    along, size = ((apart * other).sum(dim=(0, 1)) for other in (driving - own, apart))
    m = (along / size.clamp(min=1e-30)).clamp(0, 1)
    return torch.where(size > 0, m, 1.0)[None]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "blend-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: one example, one colour, one pixel. Fetched is 0.9, own is 0.1, and right is 0.3.
### BEGIN HIDDEN TESTS
AUTHORS, DECODER = "chapter 05, 'What the authors did'", "chapter 05, 'The decoder, and what it fetches'"


def by_parabola(fetched, own, driving, each=False):
    """The costs at three maps fix the parabola, and the costs at both ends say where it lies. All tests use it."""
    W, P, D = (maps.double() for maps in (fetched, own, driving))
    c0, c5, c1 = ((m * W + (1 - m) * P - D).square().sum(dim=(0,) if each else (0, 1)) for m in (0.0, 0.5, 1.0))
    bend = 2 * (c0 - 2 * c5 + c1)
    lowest = (c0 - c1 + bend) / (2 * bend)
    m = torch.where(lowest <= 0, 0.0, torch.where(lowest >= 1, 1.0, lowest))
    return torch.where((W == P).all(dim=0) if each else (W == P).all(dim=0).all(dim=0), 1.0, m).float().view(-1, *W.shape[-2:])


def blend_mistakes(W, P, D):
    """What comes out under each misconception."""
    total = lambda maps: maps.sum(dim=(0, 1))
    cut = lambda m: torch.where(total((W - P).square()) > 0, m, 1.0).clamp(0, 1)[None]
    flat = lambda maps: maps.flatten(0, 1)
    return {
        f"Fetched and own are exchanged: {AUTHORS}": lambda: cut(1 - by_parabola(W, P, D)[0]),
        f"This is the map of multiplying alone: {DECODER}": lambda: by_parabola(W, 0 * P, D),
        f"Add numerators and denominators over the examples first, then divide: {AUTHORS}": lambda: cut((flat(D - P) / flat(W - P)).mean(dim=0)),
        f"The best maps of single examples are averaged; there is one map for all: {AUTHORS}": lambda: cut(
            torch.stack([by_parabola(*(maps[None] for maps in one))[0] for one in zip(W, P, D, strict=True)]).mean(dim=0)
        ),
        f"Examples are averaged before they are compared; errors of both signs cancel: {AUTHORS}": lambda: by_parabola(
            *(maps.mean(dim=(0, 1), keepdim=True) for maps in (W, P, D))
        ),
        f"The examples are averaged before they are compared: {AUTHORS}": lambda: by_parabola(*(maps.mean(dim=0, keepdim=True) for maps in (W, P, D))),
        f"Colours are averaged before they are compared: {AUTHORS}": lambda: by_parabola(*(maps.mean(dim=1, keepdim=True) for maps in (W, P, D))),
        f"The map is not kept between 0 and 1: {DECODER}": lambda: (total((W - P) * (D - P)) / total((W - P).square()))[None],
        f"Own is missing from what is to be explained: {AUTHORS}": lambda: cut(total((W - P) * D) / total((W - P).square())),
        f"Own is missing from what explains it: {AUTHORS}": lambda: cut(total(W * (D - P)) / total(W.square())),
        f"The share of errors is a guess; find the place where the derivative by m is 0: {AUTHORS}": lambda: cut(
            total((P - D).square()) / (total((P - D).square()) + total((W - D).square()))
        ),
        f"Sizes of errors decide nothing between 0 and 1: it is the mixture that counts: {AUTHORS}": lambda: cut(
            (total((W - D).square()) < total((P - D).square())).float()
        ),
        f"Errors have a sign, which tells on which side the truth lies: {AUTHORS}": lambda: cut(total(((W - P) * (D - P)).abs()) / total((W - P).square())),
    }


### END HIDDEN TESTS
one = lambda *values: torch.tensor(values).view(-1, 1, 1, 1)
mistakes = {
    "Fetched and own are exchanged; the map is 1 where the fetched shows: chapter 05, 'What the authors did'": torch.tensor([[[0.75]]]),
    "This is the map of multiplying alone; own shows through where it is dark: chapter 05, 'What the authors did'": torch.tensor([[[1 / 3]]]),
    "What is to be explained is the truth minus own, and so is what is there to explain it: chapter 05, 'What the authors did'": torch.tensor([[[0.375]]]),
    "The share of errors is a guess; find the place where the derivative by m is 0: chapter 05, 'What the authors did'": torch.tensor([[[0.1]]]),
    "The map has one channel and no batch": torch.tensor([[[[0.25]]]]),
}
hold(best_map(one(0.9), one(0.1), one(0.3)), torch.tensor([[[0.25]]]), mistakes, what="the map of one pixel")
### BEGIN HIDDEN TESTS
W, P, D = (drawn(seed, 1, 1, 5, 6) for seed in (1, 2, 3))
hold(best_map(W, P, D), by_parabola(W, P, D), blend_mistakes(W, P, D), what="the map of one example", atol=1e-4)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "blend-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: several examples with one map in common. The first says 1/2, the second nothing: there, fetched and own agree.
# The third says 1, and its difference is four times that of the first, so it counts sixteen times.
found = best_map(one(0.2, 0.5, 0.9), one(0.0, 0.5, 0.1), one(0.1, 0.7, 0.9))
mistakes = {
    "The best maps of single examples are averaged; there is one map for all: chapter 05, 'What the authors did'": torch.tensor([[[0.75]]]),
    "The best maps of single examples are averaged, with 1 for the second: chapter 05, 'What the authors did'": torch.tensor([[[5 / 6]]]),
    "An example counts by how far fetched and own are apart, squared; this is the distance alone: chapter 05, 'What the authors did'": torch.tensor([[[0.9]]]),
    "The examples are averaged before they are compared: chapter 05, 'What the authors did'": torch.tensor([[[1.0]]]),
}
hold(found, torch.tensor([[[0.66 / 0.68]]]), mistakes, what="the map of three examples", atol=1e-4)
### BEGIN HIDDEN TESTS
for seed in (10, 20):
    true = drawn(seed, 12, 1, 5, 4)
    W, P = true + 0.3 * (drawn(seed + 1, 12, 1, 5, 4) - 0.5), true + 0.5 * (drawn(seed + 2, 12, 1, 5, 4) - 0.5)
    hold(best_map(W, P, true), by_parabola(W, P, true), blend_mistakes(W, P, true), what="the map of twelve examples", atol=1e-4)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "blend-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: beyond both ends. The truth is brighter than what was fetched, and then darker than own.
mistakes = {
    "A map is between 0 and 1: chapter 05, 'The decoder, and what it fetches'": torch.tensor([[[1.25]]]),
    "The sizes of differences are compared; they have signs: chapter 05, 'What the authors did'": torch.tensor([[[0.8]]]),
}
hold(best_map(one(0.8), one(0.4), one(0.9)), torch.tensor([[[1.0]]]), mistakes, what="the map where the truth is brighter than both")
mistakes = {
    "A map is between 0 and 1: chapter 05, 'The decoder, and what it fetches'": torch.tensor([[[-0.5]]]),
    "The sizes of differences are compared; they have signs: chapter 05, 'What the authors did'": torch.tensor([[[0.5]]]),
}
hold(best_map(one(0.8), one(0.4), one(0.2)), torch.tensor([[[0.0]]]), mistakes, what="the map where the truth is darker than both")
### BEGIN HIDDEN TESTS
W, P, D = (drawn(seed, 3, 1, 6, 6) for seed in (31, 32, 33))
hold(best_map(W, P, D), by_parabola(W, P, D), blend_mistakes(W, P, D), what="the map of pictures that have nothing in common", atol=1e-4)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "blend-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: three colours share a map. Red alone says 1, green alone 0; blue agrees. And: multiplying alone.
colours = lambda *values: torch.tensor(values).view(1, 3, 1, 1)
found = best_map(colours(0.8, 0.6, 0.5), colours(0.2, 0.4, 0.5), colours(0.8, 0.4, 0.0))
mistakes = {
    "Each colour has a map of its own; there is one for all: chapter 05, 'What the authors did'": torch.tensor([1.0, 0, 1]).view(3, 1, 1),
    "Maps of single colours are averaged: chapter 05, 'What the authors did'": torch.tensor([[[0.5]]]),
    "Colours are averaged before they are compared: chapter 05, 'What the authors did'": torch.tensor([[[0.125]]]),
}
hold(found, torch.tensor([[[0.9]]]), mistakes, what="the map of three colours", atol=1e-4)
mistakes = {"The best maps of single examples are averaged; there is one map for all: chapter 05, 'The decoder, and what it fetches'": torch.tensor([[[0.75]]])}
hold(best_map(one(0.8, 0.2), one(0.0, 0.0), one(0.4, 0.2)), torch.tensor([[[0.36 / 0.68]]]), mistakes, what="the map of multiplying alone", atol=1e-4)
### BEGIN HIDDEN TESTS
true = drawn(40, 7, 3, 4, 5)
W, P = (true + 0.4 * (drawn(s, 7, 3, 4, 5) - 0.5) for s in (41, 42))
for own in (P, 0 * P):
    mistakes = {f"Each colour has a map of its own; there is one for all: {AUTHORS}": lambda own=own: by_parabola(W, own, true, each=True)}
    hold(best_map(W, own, true), by_parabola(W, own, true), mistakes | blend_mistakes(W, own, true), what="the map of seven coloured examples", atol=1e-4)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "blend-5", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: where fetched and own agree everywhere, the map is 1; and what was given stays as it is.
given_maps = (torch.full((2, 3, 1, 2), 0.25), torch.tensor([0.25, 0.75]).expand(2, 3, 1, 2).clone(), torch.full((2, 3, 1, 2), 0.5))
before = tuple(maps.clone() for maps in given_maps)
mistakes = {
    "Where both agree any map is as good, and 1 is asked for: chapter 05, 'Losses that look at the motion'": torch.tensor([[[0.0, 0.5]]]),
}
hold(best_map(*given_maps), torch.tensor([[[1.0, 0.5]]]), mistakes, what="the map where fetched and own agree")
hold(given_maps, before, what="what was given, after the call: it must stay as it is, and it")
### BEGIN HIDDEN TESTS
W, P, D = (drawn(seed, 4, 3, 5, 5) for seed in (51, 52, 53))
P[..., 2] = W[..., 2]
P[:, :, 3] = W[:, :, 3] + 1e-3 * (P[:, :, 3] - W[:, :, 3])  # nearly, but not
before = tuple(maps.clone() for maps in (W, P, D))
mistakes = {f"A small difference is one: only where both agree the map is 1 by decree: {AUTHORS}": lambda: torch.where(((W - P).square().sum(dim=(0, 1)) < 1e-3), 1.0, by_parabola(W, P, D))}
hold(best_map(W, P, D), by_parabola(W, P, D), mistakes, what="the map where fetched and own agree, or nearly", atol=1e-3)
hold((W, P, D), before, what="what was given, after the call: it must stay as it is, and it")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "blend-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
n, size = 40, 32
bars = lambda seed: drawn(seed, n, 3, 1, size // 2).repeat_interleave(2, dim=3).expand(n, 3, size, size)
driving, other = bars(1), bars(2)
hidden = ((torch.arange(size) >= 12) & (torch.arange(size) < 20)).float()
fetched = torch.where(hidden.bool(), other, driving + 0.03 * torch.randn(driving.shape, generator=torch.Generator().manual_seed(0)))
own = F.avg_pool2d(F.pad(driving, (3, 3, 3, 3), mode="replicate"), 7, stride=1)
shown = [fetched[0].clamp(0, 1), own[0], driving[0], best_map(fetched, own, driving), best_map(fetched, 0 * own, driving)]
viz.image_row(shown, ["fetched", "own", "driving", "map: blend", "map: multiply"], scale=4)

# %% [markdown]
# ## 6. The price of moving (7 points, 40 minutes)
#
# **You learn** what a penalty on the *length* of a flow does, and why it is not squared. **Read first** chapter 05, "Losses that look at the motion" (for its tolerance) and chapter 01, "The colour wheel".
#
# Where every look-up finds the same colour, the picture losses do not mind what the flow does. So let motion have a price where the
# picture stands still. A place is *still* by
#
# $$s = \exp(-c / \tau), \qquad c = \text{the largest change of any colour between source and driving frame, in the place and its eight neighbours.}$$
#
# Neighbours that lie outside the picture do not count. Let $f$ be the flow that the other losses want, each place by itself, and
# $g$ the one that you get. Find the $g$ with the smallest
#
# $$\tfrac12 \lVert g - f \rVert^2 + \lambda\, s\, \lVert g \rVert$$
#
# at every place. (In which direction must $g$ point? Then only a length is to be found. Mind that it cannot be negative, and what
# happens where $f = 0$.)
#
# ![Three flows in colours: a disc that moves, on a ground where the flow wanders in pale colours; the same by the price on length, in which the ground is nearly white, but for the place that the disc left; the same by a price on the squared length, in which the ground is a little paler. A fourth picture shows how still each place is.](figures/ps3_autoencoder_stilled.png)
#
# *What a right answer draws: what the other losses want, what you get, what a price on the squared length gives, and how still each
# place is (white: still).*

# %% nbgrader={"grade": false, "grade_id": "stilled", "locked": false, "schema_version": 3, "solution": true, "task": false}
def stilled(flow: Tensor, source: Tensor, driving: Tensor, price: float, tolerance: float) -> Tensor:
    """The flow that is the best compromise between what is wanted and rest.

    Args:
        flow: f, (b, 2, h, w), normalized.
        source, driving: (b, 3, h, w), RGB.
        price: lambda, at least 0.
        tolerance: tau, above 0.

    Returns:
        g, (b, 2, h, w).
    """
    ### BEGIN SOLUTION
    change = F.max_pool2d((source - driving).abs().amax(dim=1, keepdim=True), 3, stride=1, padding=1)
    still = torch.exp(-change / tolerance)
    length = flow.norm(dim=1, keepdim=True)
    return flow * (1 - price * still / length.clamp(min=1e-20)).clamp(min=0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "stilled-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: moving costs nothing where the picture changes, nor at a price of 0.
### BEGIN HIDDEN TESTS
def by_search(flow, source, driving, price, tolerance, s=None):
    """The length by halving an interval where the cost still falls; neighbours by loops. All tests use it."""
    s = stillness(source, driving, tolerance) if s is None else s
    wanted = flow.double().norm(dim=1, keepdim=True)
    low, high = torch.zeros_like(wanted), wanted.clone()
    for _ in range(60):
        middle = (low + high) / 2
        falls = middle - wanted + price * s < 0
        low, high = torch.where(falls, middle, low), torch.where(falls, high, middle)
    return torch.where(wanted > 0, flow * (low / wanted.clamp(min=1e-12)), 0.0).float()


def stillness(source, driving, tolerance, around=1, of=max, mean=False, power=1):
    b, _, h, w = source.shape
    s = torch.zeros(b, 1, h, w, dtype=torch.float64)
    colour = (source - driving).double().abs() ** power
    colour = colour.mean(dim=1) if mean else colour.amax(dim=1)
    for k in range(b):
        for i in range(h):
            for j in range(w):
                near = colour[k, max(i - around, 0) : i + around + 1, max(j - around, 0) : j + around + 1]
                s[k, 0, i, j] = math.exp(-(near.max() if of is max else near.mean()) / tolerance)
    return s


### END HIDDEN TESTS
flow, black = everywhere(0.3, -0.4, 4, 5), torch.zeros(1, 3, 4, 5)
mistakes = {
    "The price is paid where the picture changes; it should be where it stays: chapter 05, 'Losses that look at the motion'": 0.8 * flow,
    "The price is paid everywhere: chapter 05, 'Losses that look at the motion'": 0.8 * flow + 0,
}
hold(stilled(flow, black, black + 1, 0.1, 0.01), flow, mistakes, what="the flow where all changes")
hold(stilled(flow, black, black, 0.0, 0.01), flow, what="the flow at a price of 0")
### BEGIN HIDDEN TESTS
flow, pictures = drawn(1, 1, 2, 5, 4) - 0.5, drawn(2, 1, 3, 5, 4)
hold(stilled(flow, pictures, 1 - pictures.round(), 0.2, 0.004), flow, what="another flow where all changes", atol=1e-4)
hold(stilled(flow, pictures, pictures, 0.0, 0.1), flow, what="another flow at a price of 0")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "stilled-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: nothing changes in the picture. A flow of length 0.5 gets as much shorter as the price says.
### BEGIN HIDDEN TESTS
def priced_mistakes(flow, source, driving, price, tolerance):
    """What comes out under each misconception."""
    given_maps = (flow, source, driving, price, tolerance)
    s = stillness(source, driving, tolerance).float()
    length = flow.norm(dim=1, keepdim=True).clamp(min=1e-12)
    with_s = lambda **choices: by_search(*given_maps, s=stillness(source, driving, tolerance, **choices))
    GRID, LIKE = "chapter 01, 'The colour wheel'", "chapter 05, 'Losses that look at the motion'"
    return {
        f"This is what a price on the squared length gives; that never reaches rest: {LIKE}": lambda: flow / (1 + price * s),
        f"This is what a price on the squared length gives, twice: {LIKE}": lambda: flow / (1 + 2 * price * s),
        f"x and y are shortened one by one; the length of the flow is: {GRID}": lambda: flow.sign() * (flow.abs() - price * s).clamp(min=0),
        f"A flow turns round when the price is higher than its length; it must rest: {GRID}": lambda: flow * (1 - price * s / length),
        f"What is longer than the price stays as it is; it gets shorter, too: {GRID}": lambda: flow * (length > price * s),
        f"The price is paid where the picture changes: {LIKE}": lambda: by_search(*given_maps, s=1 - s.double()),
        f"The price is paid everywhere: {LIKE}": lambda: by_search(*given_maps, s=1 + 0 * s.double()),
        f"Neighbours count, too: what changes beside a place may come from it: {LIKE}": lambda: with_s(around=0),
        f"Neighbours count up to one pixel away, not two: {LIKE}": lambda: with_s(around=2),
        f"This is the mean change of neighbours, not the largest: {LIKE}": lambda: with_s(of=None),
        f"This is the mean change of colours, not the largest: {LIKE}": lambda: with_s(mean=True),
        f"The change is squared; its size is asked for: {LIKE}": lambda: with_s(power=2),
        f"The flow is multiplied by what is left of stillness; find the smallest cost: {LIKE}": lambda: flow * (1 - price * s).clamp(min=0),
        f"The price is a share of the length here; it is a length: {GRID}": lambda: flow * (1 - s),
    }


### END HIDDEN TESTS
flow, black = everywhere(0.3, -0.4, 4, 5), torch.zeros(1, 3, 4, 5)
mistakes = {
    "This is what a price on the squared length gives: chapter 05, 'Losses that look at the motion'": flow / 1.1,
    "This is what a price on the squared length gives, twice: chapter 05, 'Losses that look at the motion'": flow / 1.2,
    "x and y are shortened one by one; the length of the flow is: chapter 01, 'The colour wheel'": everywhere(0.2, -0.3, 4, 5),
    "What is longer than the price stays as it is; it gets shorter, too: chapter 05, 'Losses that look at the motion'": flow,
    "The price is a share of the length here; it is a length: chapter 05, 'Losses that look at the motion'": 0.9 * flow,
    "The sign is turned: it gets longer": 1.2 * flow,
    "The length is squared where you divide by it: chapter 01, 'The colour wheel'": 0.6 * flow,
}
hold(stilled(flow, black, black, 0.1, 0.01), everywhere(0.24, -0.32, 4, 5), mistakes, what="the flow where nothing changes")
### BEGIN HIDDEN TESTS
flow, picture = drawn(3, 1, 2, 6, 5) + 0.2, drawn(4, 1, 3, 6, 5)
hold(stilled(flow, picture, picture, 0.25, 0.05), by_search(flow, picture, picture, 0.25, 0.05), priced_mistakes(flow, picture, picture, 0.25, 0.05), what="long flows where nothing changes")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "stilled-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: flows that are shorter than the price, and a flow of 0, come to rest.
flow, black = everywhere(0.03, -0.04, 1, 4), torch.zeros(1, 3, 1, 4)
flow[..., 0], flow[..., 1] = 0.0, -flow[..., 1]
mistakes = {
    "A flow turns round when the price is higher than its length; it must rest: chapter 01, 'The colour wheel'": -flow,
    "A price on the squared length never leads to rest: chapter 05, 'Losses that look at the motion'": flow / 1.1,
    "A price on the squared length never leads to rest, twice: chapter 05, 'Losses that look at the motion'": flow / 1.2,
}
hold(stilled(flow, black, black, 0.1, 0.01), 0 * flow, mistakes, what="short flows where nothing changes")
### BEGIN HIDDEN TESTS
flow, picture = 0.6 * (drawn(5, 2, 2, 6, 5) - 0.5), drawn(6, 2, 3, 6, 5)
flow[:, :, 2] = 0
hold(stilled(flow, picture, picture, 0.2, 0.05), by_search(flow, picture, picture, 0.2, 0.05), priced_mistakes(flow, picture, picture, 0.2, 0.05), what="flows of all lengths where nothing changes")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "stilled-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: how still a place is. One pixel of a row changes, by 0.02 in red and 0.01 in green; and what was given stays.
flow, source, driving = everywhere(0.5, 0, 1, 5), torch.zeros(1, 3, 1, 5), torch.zeros(1, 3, 1, 5)
driving[0, 0, 0, 0], driving[0, 1, 0, 0] = 0.02, 0.01
before = tuple(maps.clone() for maps in (flow, source, driving))
found = stilled(flow, source, driving, 0.1, 0.02)
row = lambda first, second: 0.5 - torch.tensor([first, second, 0.1, 0.1, 0.1])
along = found[0, 0, 0] if isinstance(found, Tensor) and found.shape == (1, 2, 1, 5) else found
mistakes = {
    "Neighbours count, too: chapter 05, 'Losses that look at the motion'": row(0.0367879, 0.1),
    "This is the mean change of colours, not the largest: chapter 05, 'Losses that look at the motion'": row(0.0606531, 0.0606531),
    "This is the sum of the changes of colours, not the largest: chapter 05, 'Losses that look at the motion'": row(0.022313, 0.022313),
    "The price is paid where the picture changes: chapter 05, 'Losses that look at the motion'": 0.5 - torch.tensor([0.0632121, 0.0632121, 0, 0, 0]),
    "Darker is a change, too; the size counts: chapter 05, 'Losses that look at the motion'": row(0.1, 0.1),
}
hold(along, row(0.0367879, 0.0367879), mistakes, what="the flow beside a change")
hold((flow, source, driving), before, what="what was given, after the call: it must stay as it is, and it")
### BEGIN HIDDEN TESTS
flow, source = 0.6 * (drawn(7, 2, 2, 7, 6) - 0.5), drawn(8, 2, 3, 7, 6)
driving = source + 0.3 * (drawn(9, 2, 3, 7, 6) - 0.5) * (drawn(10, 2, 1, 7, 6) < 0.1)
before = tuple(maps.clone() for maps in (flow, source, driving))
hold(stilled(flow, source, driving, 0.15, 0.1), by_search(flow, source, driving, 0.15, 0.1), priced_mistakes(flow, source, driving, 0.15, 0.1), what="flows where some places change")
hold((flow, source, driving), before, what="what was given, after the call: it must stay as it is, and it")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "stilled-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
h = w = 64
grid = lfdm.identity_grid(h, w)
disc = lambda x: ((grid - torch.tensor([x, 0.0])[:, None, None]).norm(dim=0) < 0.3).float().expand(1, 3, h, w)
source, driving = 0.2 + 0.6 * disc(-0.2), 0.2 + 0.6 * disc(0.2)
wander = F.interpolate(0.08 * torch.randn(1, 2, 5, 5, generator=torch.Generator().manual_seed(1)), size=(h, w), mode="bicubic")
flow = torch.where(driving[:, :1] > 0.5, everywhere(-0.4, 0, h, w), wander)
still = 1 - stilled(everywhere(1, 0, h, w), source, driving, 1.0, 0.02).norm(dim=1, keepdim=True)
flows = {"wanted": flow, "price on length": stilled(flow, source, driving, 0.2, 0.02), "on squared length": flow / (1 + 0.4 * still)}
viz.image_row([lfdm.flow_to_rgb(f, max_norm=0.4)[0] for f in flows.values()] + [still[0]], [*flows, "how still"], scale=2)

# %% [markdown]
# ## 7. Five faults in a training (9 points, 60 minutes)
#
# **You learn** to find faults that raise no error, from what they do. **Read first** chapter 05, "Losses that look at the motion" and
# "Training, live".
#
# The network of the next cell has all parts of stage one, each as small as can be. Below it stand a step of its training
# and its grade on pairs of frames. Shapes are right, the loss falls, and there are five faults.
#
# ```python
# def train_step(network, optimizer, source, driving):
#     motion = network.motion(source, driving)
#     z = lfdm.warp(network.encode(source), motion.flow.detach(), motion.occlusion)
#     colour = pyramid_loss(network.decode(z), driving)
#     error = (lfdm.warp(source, motion.flow) - driving).abs().mean(dim=1, keepdim=True)
#     V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
#     visibility = -(V * m.log() + (1 - V) * (1 - m).log()).mean()
#     (colour + WEIGHT * visibility).backward()
#     optimizer.step()
#     nn.utils.clip_grad_norm_(network.parameters(), CLIP)
#     return {"colour": colour, "visibility": visibility}
#
#
# def grade(network, source, driving):
#     with torch.no_grad():
#         motion = network.motion(source, driving)
#         painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
#     return psnr(painted, driving).mean().item()
# ```
#
# Five people have used it:
#
# * "Without the visibility loss my flow does not learn at all. With it, the flow goes where colours happen to agree,
#   whatever the paintings look like."
# * "My steps get longer and longer, and then the training explodes."
# * "I made `CLIP` a thousand times smaller, and nothing changed, not in the last digit."
# * "I keep what `train_step` returns in a list, for the curves. Memory runs out."
# * "The grade of a pair depends on which other pairs I grade beside it. And if I grade more often I get another network."
#
# Mend all five. A step minimizes colour + `WEIGHT` times visibility, with the norm of its gradient held to `CLIP`, and reports
# the two parts as plain numbers, as they were before the step. A grade is the mean PSNR of the pairs in dB, of the network as it will
# be used after training; it leaves everything as it was.
#
# ![Left: the colour loss falls over 150 steps, fast at first. Right: PSNR of other pairs rises from 20 to 22.6 decibels, and ends below the dotted line of a copied source at 23.](figures/ps3_autoencoder_step.png)
#
# *What a right answer draws: a training of 150 steps on spots that move, and its grade on other spots. It is too short to
# beat a copy.*

# %% nbgrader={"grade": false, "grade_id": "toy", "locked": true, "schema_version": 3, "solution": false, "task": false}
WEIGHT, TOLERANCE, CLIP = 0.5, 0.1, 1.0


class Toy(nn.Module):
    """Encoder, motion and decoder, without halving: all maps have the size of the pictures."""

    def __init__(self, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.look = nn.Sequential(nn.Conv2d(6, 12, 7, padding=3), nn.ReLU())
        self.to_motion = nn.Conv2d(12, 3, 3, padding=1)  # rows 0 and 1 make the flow, row 2 makes the map
        self.decoder = nn.Conv2d(6, 3, 3, padding=1)

    def encode(self, source: Tensor) -> Tensor:
        return self.encoder(source)

    def motion(self, source: Tensor, driving: Tensor) -> Motion:
        raw = self.to_motion(self.look(torch.cat([source, driving], dim=1)))
        return Motion(0.4 * raw[:, :2].tanh(), raw[:, 2:].sigmoid())

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)


# %% nbgrader={"grade": false, "grade_id": "step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_step(network: Toy, optimizer: torch.optim.Optimizer, source: Tensor, driving: Tensor) -> dict[str, float]:
    """One step on pairs of frames (b, 3, h, w); the parts of the loss, "colour" and "visibility"."""
    ### BEGIN SOLUTION
    motion = network.motion(source, driving)
    colour = pyramid_loss(network.decode(lfdm.warp(network.encode(source), *motion)), driving)
    error = (lfdm.warp(source, motion.flow.detach()) - driving).abs().mean(dim=1, keepdim=True)
    target, seen = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    visibility = -(target * seen.log() + (1 - target) * (1 - seen).log()).mean()
    optimizer.zero_grad()
    (colour + WEIGHT * visibility).backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    return {"colour": colour.item(), "visibility": visibility.item()}
    ### END SOLUTION


def grade(network: Toy, source: Tensor, driving: Tensor) -> float:
    """Mean PSNR of the pairs, in dB."""
    ### BEGIN SOLUTION
    mode = network.training
    network.eval()
    with torch.no_grad():
        painted = network.decode(lfdm.warp(network.encode(source), *network.motion(source, driving)))
    network.train(mode)
    return psnr(painted, driving).mean().item()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "step-1", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# 3 points: which loss teaches the flow? After one step, do the rows of `to_motion` that make it differ?
### BEGIN HIDDEN TESTS
def parts_of(network, source, driving, paint_fixed=False, pulled=False, no_map=False, weight=WEIGHT, error=1):
    """Gradients of both parts, each alone; that of the map's in closed form. All tests use it."""
    network = copy.deepcopy(network)
    names, tensors = zip(*network.named_parameters(), strict=True)
    motion = network.motion(source, driving)
    seen = torch.ones_like(motion.occlusion) if no_map else motion.occlusion
    z = lfdm.warp(network.encode(source), motion.flow.detach() if paint_fixed else motion.flow) * seen
    colour = pyramid_loss(network.decode(z), driving)
    V = torch.exp(-(lfdm.warp(source, motion.flow) - driving).abs().mean(dim=1, keepdim=True) * error / TOLERANCE)
    m = motion.occlusion
    by_m, by_V = ((m - V) / (m * (1 - m)) / m.numel()).detach(), (((1 - m) / m).log() / m.numel()).detach()
    of = lambda y, out: torch.autograd.grad(y, tensors, out, retain_graph=True, allow_unused=True)
    total = [torch.zeros_like(p) for p in tensors]
    for share, found in ((1, of(colour, None)), (weight, of(m, by_m)), (weight * pulled, of(V, by_V))):
        total = [g if f is None else g + share * f for g, f in zip(total, found, strict=True)]
    return dict(zip(names, total, strict=True)), {"colour": colour.item(), "visibility": F.binary_cross_entropy(m, V).item()}


def step_of(network, source, driving, rate, clip=True, left=0.0, times=1, **choices):
    """The parameters after a step of plain gradient descent."""
    gradient, _ = parts_of(network, source, driving, **choices)
    gradient = {name: times * g + left for name, g in gradient.items()}
    norm = math.sqrt(sum(g.square().sum().item() for g in gradient.values()))
    shrink = min(1.0, CLIP / norm) if clip else 1.0
    return {name: p.detach() - rate * shrink * gradient[name] for name, p in network.named_parameters()}


### END HIDDEN TESTS
pair = drawn(1, 2, 3, 8, 10), drawn(2, 2, 3, 8, 10)


def rows_after(network, source, driving, rate=1.0):
    train_step(network, torch.optim.SGD(network.parameters(), rate), source, driving)
    return network.to_motion.weight[:2].detach().clone()


silent = Toy(0)
nn.init.zeros_(silent.decoder.weight)  # paints one colour, whatever it gets
before = silent.to_motion.weight[:2].detach().clone()
moved = "moves" if (rows_after(silent, *pair) - before).abs().max() > 1e-7 else "stays"
hold(moved, "stays", {"The map's loss pulls at the flow; there the flow is held fixed: chapter 05, 'Losses that look at the motion'": "moves"}, what="a flow that no painting needs")
grey, plain = torch.full((2, 3, 8, 10), 0.5), Toy(0)  # grey pictures: the flow makes no difference to V, but to the edge of z
before = plain.to_motion.weight[:2].detach().clone()
moved = "moves" if (rows_after(plain, grey, grey) - before).abs().max() > 1e-7 else "stays"
hold(moved, "moves", {"The painting does not teach the flow: chapter 05, 'What stage one has to learn'": "stays"}, what="a flow that paintings need")
### BEGIN HIDDEN TESTS
FIXED, PAINT = "chapter 05, 'Losses that look at the motion'", "chapter 05, 'What stage one has to learn'"
for seed in (3, 4):
    network, source, driving = Toy(seed), drawn(seed, 3, 3, 9, 8), drawn(seed + 10, 3, 3, 9, 8)
    rows = lambda **choices: step_of(network, source, driving, 1.0, **choices)["to_motion.weight"][:2]
    mistakes = {
        f"The painting does not teach the flow, and the map's loss does; the other way round: {PAINT}": lambda: rows(paint_fixed=True, pulled=True),
        f"The painting does not teach the flow: {PAINT}": lambda: rows(paint_fixed=True),
        f"The map's loss pulls at the flow; there the flow is held fixed: {FIXED}": lambda: rows(pulled=True),
        f"The map is not used in the painting: {PAINT}": lambda: rows(no_map=True),
    }
    hold(rows_after(copy.deepcopy(network), source, driving), rows(), mistakes, what="what makes the flow, after a step", atol=1e-6)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "step-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: gradients of the step before do not count.
### BEGIN HIDDEN TESTS
def named(network):
    return {name: p.detach().clone() for name, p in network.named_parameters()}


### END HIDDEN TESTS
dirty, clean = Toy(5), Toy(5)
for p in dirty.parameters():
    p.grad = torch.full_like(p, 0.05)
pair = drawn(5, 2, 3, 8, 8), drawn(6, 2, 3, 8, 8)
for one in (dirty, clean):
    train_step(one, torch.optim.SGD(one.parameters(), 0.1), *pair)
same = max((a - b).abs().max().item() for a, b in zip(dirty.parameters(), clean.parameters(), strict=True)) < 1e-6
mistakes = {"Gradients of the step before are still there; they have to be set back: chapter 05, 'Training, live'": "another"}
hold("the same" if same else "another", "the same", mistakes, what="a step with old gradients")
### BEGIN HIDDEN TESTS
network = Toy(7)
first, second = ((drawn(s, 2, 3, 8, 8), drawn(s + 1, 2, 3, 8, 8)) for s in (70, 72))
optimizer = torch.optim.SGD(network.parameters(), 0.05)
train_step(network, optimizer, *first)
middle_state, half_way = named(network), copy.deepcopy(network)
old = {name: g for name, g in parts_of(Toy(7), *first)[0].items()}
train_step(network, optimizer, *second)
moved = sum((p.detach() - middle_state[name]).square().sum().item() for name, p in network.named_parameters()) ** 0.5
plain = step_of(half_way, *second, 0.05)
should = sum((plain[name] - middle_state[name]).square().sum().item() for name in plain) ** 0.5
both = step_of(half_way, *second, 0.05)
carried = sum((plain[name] - 0.05 * old[name] - middle_state[name]).square().sum().item() for name in plain) ** 0.5
mistakes = {"Gradients of the step before are still there: chapter 05, 'Training, live'": carried, "No gradient is left when the step is made: chapter 05, 'Training, live'": 0.0}
hold(moved, should, mistakes, what="the length of the second step", atol=1e-6, rtol=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "step-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: the gradient is held to CLIP. This decoder is loud, so its gradient is long; the rate is 1.
loud = Toy(8)
with torch.no_grad():
    loud.decoder.weight.mul_(30)
before = torch.cat([p.detach().flatten() for p in loud.parameters()])
train_step(loud, torch.optim.SGD(loud.parameters(), 1.0), drawn(8, 2, 3, 8, 8), drawn(9, 2, 3, 8, 8))
length = (torch.cat([p.detach().flatten() for p in loud.parameters()]) - before).norm().item()
long = "held" if length < 1.01 * CLIP else "longer than CLIP"
hold(long, "held", {"The gradient is clipped too late or not at all: before the optimizer's step: chapter 05, 'Training, live'": "longer than CLIP"}, what="a long step")
### BEGIN HIDDEN TESTS
hold(length, CLIP, {"No gradient is left when the step is made: chapter 05, 'Training, live'": 0.0}, what="the length of a long step", rtol=1e-3)
quiet = Toy(9)
with torch.no_grad():
    quiet.encoder[1].weight.mul_(0.1)
pair = 0.1 * drawn(10, 2, 3, 8, 8), 0.1 * drawn(11, 2, 3, 8, 8)
right = step_of(quiet, *pair, 0.5)
mistakes = {
    "Every gradient is brought to the length CLIP; short ones stay as they are: chapter 05, 'Training, live'": lambda: {
        name: p.detach() - 0.5 * g * CLIP / math.sqrt(sum(g.square().sum().item() for g in parts_of(quiet, *pair)[0].values()))
        for (name, p), g in zip(quiet.named_parameters(), parts_of(quiet, *pair)[0].values(), strict=True)
    },
}
stepped = copy.deepcopy(quiet)
train_step(stepped, torch.optim.SGD(stepped.parameters(), 0.5), *pair)
decoder = lambda state: {name: value for name, value in state.items() if name.startswith("decoder")}
mistakes = {name: (lambda f=f: decoder(f())) for name, f in mistakes.items()}
hold(decoder(named(stepped)), decoder(right), mistakes, what="the decoder after a short step", atol=1e-5)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "step-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: what is reported: plain numbers, as they were before the step.
network, pair = Toy(12), (drawn(12, 2, 3, 8, 8), drawn(13, 2, 3, 8, 8))
parts = train_step(network, torch.optim.SGD(network.parameters(), 0.1), *pair)
kinds = {name: "a plain number" if isinstance(part, float) else "a tensor" if isinstance(part, Tensor) else "something else" for name, part in parts.items()} if isinstance(parts, dict) else parts
mistakes = {"A part that is a tensor keeps everything alive that it was computed from: chapter 05, 'Training, live'": {"colour": "a tensor", "visibility": "a tensor"}}
hold(kinds, {"colour": "a plain number", "visibility": "a plain number"}, mistakes, what="the parts of the loss")
### BEGIN HIDDEN TESTS
right = parts_of(Toy(12), *pair)[1]
mistakes = {
    "These are the losses after the step: chapter 05, 'Training, live'": lambda: parts_of(network, *pair)[1],
    "Report the parts before they are weighted: chapter 05, 'Training, live'": {"colour": right["colour"], "visibility": WEIGHT * right["visibility"]},
}
hold(parts, right, mistakes, what="the parts of the loss", rtol=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "step-5", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# 3 points: a grade depends on the pair alone, and leaves everything as it was.
network, light = Toy(14), torch.tensor([0.1, 0.4, 0.7, 1.0]).view(4, 1, 1, 1)
pairs = light * drawn(14, 4, 3, 8, 8), light * drawn(15, 4, 3, 8, 8)
for p in range(3):
    network.encode(drawn(20 + p, 8, 3, 8, 8))  # statistics of other pictures
before = {name: value.clone() for name, value in network.state_dict().items()}
together = grade(network, *pairs)
hold({name: value.float() for name, value in network.state_dict().items()}, {name: value.float() for name, value in before.items()}, what="the network's state, after a grade: it must stay as it is, and it")
hold("training" if network.training else "evaluation", "training", {"The network was training before it was graded, and must be after: chapter 05, 'Training, live'": "evaluation"}, what="the mode after a grade")
alone = [grade(network, pairs[0][i : i + 1], pairs[1][i : i + 1]) for i in range(4)]
pooled = -10 * math.log10(sum(10 ** (-decibels / 10) for decibels in alone) / 4)
found = "is its own" if abs(together - sum(alone) / 4) < 1e-3 else "is pooled" if abs(together - pooled) < 1e-3 else "depends on the others"
mistakes = {
    "The norms use the statistics of what is graded together, as in training: chapter 05, 'The blocks'": "depends on the others",
    "The mean of the pairs' PSNR is asked for, not that of all errors pooled: chapter 05, 'What stage one has to learn'": "is pooled",
}
hold(found, "is its own", mistakes, what="the grade of a pair")
### BEGIN HIDDEN TESTS
def graded(network, source, driving, mean_of=True):
    """The decibels of each pair, in a copy that is used as after training."""
    used = copy.deepcopy(network).eval()
    decibels, errors = [], []
    for s, d in zip(source.split(1), driving.split(1), strict=True):
        m = used.motion(s, d)
        errors.append((used.decode(m.occlusion * lfdm.warp(used.encode(s), m.flow)) - d).square().mean().item())
        decibels.append(-10 * math.log10(errors[-1]))
    return sum(decibels) / len(decibels) if mean_of else -10 * math.log10(sum(errors) / len(errors))


def look_at_grade(mode):
    network = Toy(16).train()
    for p in range(3):
        network.encode(drawn(30 + p, 8, 3, 8, 8))
    network.train(mode)
    pairs = drawn(16, 3, 3, 8, 8) * torch.tensor([0.1, 0.5, 1.0]).view(3, 1, 1, 1), drawn(17, 3, 3, 8, 8)
    mistakes = {
        "The norms use the statistics of what is graded, as in training: chapter 05, 'The blocks'": lambda: psnr(copy.deepcopy(network).train().decode(lfdm.warp(copy.deepcopy(network).train().encode(pairs[0]), *network.motion(*pairs))), pairs[1]).mean().item(),
        "This is the PSNR of all errors pooled; the mean of the pairs' is asked for: chapter 05, 'What stage one has to learn'": lambda: graded(network, *pairs, mean_of=False),
    }
    hold(grade(network, *pairs), graded(network, *pairs), mistakes, what="the grade of three pairs", rtol=1e-3)
    hold("training" if network.training else "evaluation", "training" if mode else "evaluation", {"The mode before the grade is to be put back, whichever it was: chapter 05, 'Training, live'": "evaluation" if mode else "training"}, what="the mode after a grade")


look_at_grade(True)
look_at_grade(False)
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "step-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
def spots(count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pairs of coloured spots that moved by at most five pixels."""
    place = 0.5 * (2 * torch.rand(count, 2, generator=draw) - 1)
    way = 0.3 * (2 * torch.rand(count, 2, generator=draw) - 1)
    colour = 0.3 + 0.7 * torch.rand(count, 3, 1, 1, generator=draw)
    at = lambda centre: torch.cat([spot(*c.tolist()) for c in centre]) * colour
    return at(place), at(place + way)


draw, network, log, grades = torch.Generator().manual_seed(0), Toy(3), [], []
optimizer, others = torch.optim.Adam(network.parameters(), 0.005), spots(24, torch.Generator().manual_seed(1))
for step in range(151):
    if step % 10 == 0:
        grades.append((step, grade(network, *others)))
    log.append(train_step(network, optimizer, *spots(8, draw))["colour"])
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.6))
left.plot(log)
left.set(xlabel="step", ylabel="colour loss", yscale="log")
right.plot(*zip(*grades, strict=True), label="painted")
right.axhline(psnr(*others).mean().item(), color=viz.COLOURS["black"], linestyle=":", label="source copied")
right.set(xlabel="step", ylabel="PSNR, dB")
right.legend()
plt.show()

# %% [markdown]
# ## 8. Four trainings (4 points, 20 minutes)
#
# **You learn** to read a training by more than its loss. **Read first** chapter 05, "Training, live" and "Collapse,
# reproduced and cured".
#
# ![Four panels over 300 steps, with a broken line and four marked ones. Colour loss: A falls to 0.016; B lies on the broken line and C next to it, both end near 0.04; D ends at 0.054. Gain: A, C and the broken line end near 1.5 decibels; D stays below 0; B falls to -7. Flow: A ends near 1 pixel, D near 6, B and C on or near the broken line, at 8. Mean of the map: all near 0.9, but C, near 0.33.](figures/ps3_autoencoder_reading.png)
#
# *The network of exercise 7, trained five times for 300 steps on 480 pairs of spots, from the same start (Adam, rate 0.005). Colour loss: mean of 20
# steps. Gain: over a copied source, on 24 other pairs, with the network as it is used after training. Flow: its mean
# length where the picture changes. Broken line: the training as in exercise 7, mended; B hides most of it.*
#
# In each of A to D one thing is wrong. Candidates, of which two do not occur:
#
# 1. the running statistics of the norms are never updated;
# 2. the flow is detached where the features are fetched;
# 3. the visibility loss is left out;
# 4. the encoder gets the driving frame, in training;
# 5. the learning rate is zero from step 40 on;
# 6. frames are graded that the network was trained on.
#
# Answer in the cell below, in at most 200 words:
#
# * Which candidate belongs to A, B, C and D, and which panel says so? (Two points.)
# * A has the lowest loss. Why does that say nothing of what it can do with a first frame and a motion? (One point.)
# * The spots move by less than 4 pixels on average. The broken line ends with a gain above 0, and a flow of 8 pixels.
#   Its paintings have 0.42 of the sharpness of the true ones (exercise 2). What do you conclude? (One point.)

# %% [markdown] nbgrader={"grade": true, "grade_id": "reading", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# A is 4: the loss falls far below all others while the flow stays near one pixel, so it paints without moving. B is 1: in
# training it is the broken line, since the norms then use the batch's own statistics; only as it is used afterwards, with
# running statistics, it fails. C is 3: all panels agree with the broken line, but for the map, which nobody asks for
# anything. D is 2: loss and gain stop early, since no painting teaches the flow; it still drifts, because the layer in front of it is
# shared with the map.
#
# A sees in training what it shall paint. It learned to copy, and that needs no motion; when the first frame comes in
# the place of the driving frame, there is nothing to copy.
#
# A gain above 0 is no proof of motion. A painting that is soft and dim where it is unsure loses less than a copy at the
# wrong place, so PSNR rises without a right flow. Compare the flow with the true one, and put sharpness beside the gain.
