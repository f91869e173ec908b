# ---
# jupyter:
#   book:
#     equals:
#       fetch_v1: lfdm_lite.autoencoder.fetch
#       resize_v2: lfdm_lite.geometry.resize
#       sample_v3: lfdm_lite.geometry.sample_at
#       warp_v3: lfdm_lite.geometry.warp
#     goals:
#     - compute a warped pixel and its gradient with pencil and paper
#     - find the half pixel that is lost where two conventions of coordinates meet
#     - compose, invert and resize flows
#     - say what a coarse flow can move, and what occlusion has to do with ghosts
#     - predict whether gradient descent will repair a wrong flow, or get stuck
#     minutes: 45
#     minutes_all: 110
#     peak_mb: 720
#     prerequisites:
#     - chapter 01, for backward flow, pixel centres and visibility
#     - partial derivatives and the chain rule
#     - PyTorch tensors and autograd
#     seconds: 25
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 03 Latent warping
#
# A flow says where to look. Looking there is one line of code in LFDM, and every frame that it makes passes through
# that line. You write it here three times: as a loop that you can follow by hand, without the loop, and as the
# library has it. Then you find out what it can carry, what it cannot, and what a wrong flow learns through it.
#
# **You need** [chapter 1](01_video_as_motion.ipynb) for backward flow, pixel centres and visibility, partial
# derivatives and the chain rule, and autograd. **It takes** 45 minutes to read, and about 25 seconds and 720 MB
# of memory to run on two CPU cores. That is a first reading, without the code and the parts marked *may be
# skipped*; all of it, line by line, takes about 110 minutes, and the exercises come on top.

# %%
import lfdm_lite as lfdm  # before torch, whose threads then keep no core while they wait

lfdm.check_environment()  # says so where a version is not one that the book was run with
import torch

from lfdm_lite import viz
from lfdm_lite.geometry import resize, sample_at

autoencoder = lfdm.LFDM.from_pretrained(lfdm.asset("checkpoints/faces64")).autoencoder.eval().requires_grad_(False)
person = lfdm.data.Faces("val", size=64)[13]["video"][None]
first, frame = person[:, :, 0], person[:, :, 13]  # (1, 3, 64, 64): what is given, what is wanted
motion = autoencoder.estimate_motion(first, frame)

def part_of_the_way(share: float) -> viz.Picture:
    flow = share * motion.flow
    looked_up = lfdm.warp(first, resize(flow, 64))
    painted = autoencoder.decode(first, lfdm.Motion(flow, motion.occlusion))
    titles = ["frame 0", "pixels, moved", "features, moved", "frame 13"]
    return viz.image_row([first[0], looked_up[0], painted[0], frame[0]], titles, scale=4)

longest = 32 * motion.flow.norm(dim=1).max().item()
assert 2 < longest < 32
print(f"from frame 13 to frame 0: the longest estimated flow is {longest:.0f} pixels")
told = "A face at rest; the same face with its pixels moved; painted by a network from moved features; and frame 13"
viz.dial(part_of_the_way, alt=told, reach={"share": (-1.0, 2.0)}, share=[0.0, 0.5, 1.0, 1.5])

# %% [markdown]
# *Turn* share. *At 0 nothing moves; at 1 the flow leads from frame 13 back to frame 0; beyond, it leads too far. Second:
# colours of frame 0, fetched from where the flow points. Third: features of frame 0, fetched with the same flow, masked
# where frame 0 hides what is wanted, and painted by the decoder: teeth, for one. (At 0 nothing moves, but the mouth is
# masked all the same, and painted anew.) A network has estimated flow and mask from both frames; of frame 13 nothing else
# is used.*
#
# **At the end you can**
#
# * compute a warped pixel and its gradient with pencil and paper;
# * find the half pixel that is lost where two conventions of coordinates meet;
# * compose, invert and resize flows;
# * say what a coarse flow can move, and what occlusion has to do with ghosts;
# * predict whether gradient descent will repair a wrong flow, or get stuck.
#
# ![The block diagram of the whole system. The box in the middle, warp by flow, times occlusion, is highlighted; encoder, decoder and diffusion model are pale.](../assets/figures/road_03.svg)
#
# *Where you are: between encoder and decoder. Nothing in this box is trained. But what comes before it in stage one, the
# encoder and the network that estimates the motion, learns from the painted picture through it. The decoder, behind
# it, needs no gradient of the warp, nor does the diffusion model, which is shown finished motions.*

# %% [markdown]
# ## Half a pixel
#
# In this book a picture spans $[-1, 1]$ from edge to edge, and column $i$ of $W$ has its centre at
# $x_i = (2 i + 1) / W - 1$, as you know from chapter 1. Other programs put $-1$ and $1$ at the *centres* of the first and
# the last pixel, so that column $i$ is at $2 i / (W - 1) - 1$. PyTorch knows both, as `align_corners=False` and
# `align_corners=True`.
#
# What goes wrong when one part of a program writes by the second convention, and another part reads by the first?
# Reading turns a coordinate $x$ into a column position $a$ in pixels, which is 0 at the centre of the first pixel:
#
# $$a = \frac{(x + 1)\, W - 1}{2}$$
#
# Put $x = 2 i / (W - 1) - 1$ into it. Column $i$ should be found at $a = i$. It is missed by
#
# $$\Delta_i = \frac{i}{W - 1} - \frac{1}{2}$$

# %%
import math
from collections.abc import Callable
from functools import cache
from typing import Literal

import matplotlib.pyplot as plt
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from lfdm_lite.autoencoder import fetch

viz.use_style()


# %%
def centres(size: int) -> Tensor:
    return (2 * torch.arange(size) + 1) / size - 1


def corner_centres(size: int) -> Tensor:
    return 2 * torch.arange(size) / (size - 1) - 1


def to_pixels(x: Tensor, size: int) -> Tensor:
    return ((x + 1) * size - 1) / 2


for size in (4, 16, 64):
    i = torch.arange(size)
    assert_close(to_pixels(centres(size), size), i.float())  # the same convention twice: nothing is lost
    missed = to_pixels(corner_centres(size), size) - i
    assert_close(missed, i / (size - 1) - 1 / 2)
    print(f"W = {size:2}: the first column is missed by {missed[0]:.2f} pixels, the last by {missed[-1]:.2f}")

# %% mystnb={"image": {"alt": "Three rows, each a strip of four square pixels. In the first, dots at the pixel centres are labelled -0.75, -0.25, 0.25, 0.75. In the second, the same dots are labelled -1, -0.33, 0.33, 1. In the third, with the labels of the second, arrows lead from each centre outward: half a pixel at both ends, a sixth of a pixel in the middle."}}
figure, axes = plt.subplots(3, 1, figsize=(8, 5.2))
rows = {
    "edges are -1 and 1": (centres(4), torch.arange(4.0)),
    "centres are -1 and 1": (corner_centres(4), torch.arange(4.0)),
    "written by the second, read by the first": (corner_centres(4), to_pixels(corner_centres(4), 4)),
}
for ax, (title, (x, found)) in zip(axes, rows.items(), strict=True):
    ax.bar(range(4), 1, width=1, color="#e8eef4", edgecolor=viz.COLOURS["black"])
    ax.plot(range(4), [0.5] * 4, "o", color=viz.COLOURS["blue"])
    for i in range(4):
        ax.text(i, 0.13, f"{x[i]:.2f}", ha="center", bbox=dict(facecolor="white", edgecolor="none", pad=1))
        if found[i] != i:
            arrow = dict(arrowstyle="->", color=viz.COLOURS["orange"], lw=2)
            ax.annotate("", (found[i], 0.5), (i, 0.5), arrowprops=arrow)
    ax.set(xlim=(-0.8, 3.8), ylim=(0, 1), yticks=[], xticks=[-0.5, 0, 1, 2, 3, 3.5], title=title)
plt.show()

outward = rows["written by the second, read by the first"][1] - torch.arange(4)
assert_close(outward, torch.tensor([-1 / 2, -1 / 6, 1 / 6, 1 / 2]))
print("missed by, in sixths of a pixel:", (6 * outward).round().int().tolist())

# %% [markdown]
# *Squares are pixels, dots their centres. The number in a pixel is the coordinate of its centre; the axis below
# counts pixels. Arrows lead from a centre to where it is looked up: outward, so the picture shrinks. The worst error
# is half a pixel, at the border, for any $W$.*
#
# Half a pixel of what? A latent map of $16 \times 16$ that stands for a picture of $64 \times 64$ has pixels four
# times as large. There the slip moves the border by two pixels of the picture.

# %% [markdown]
# ## Between pixels
#
# A flow rarely points at the centre of a pixel. Between centres, values are mixed by a *tent*: the weight of a pixel
# falls linearly from 1 at its centre to 0 at its neighbour's centre.
#
# $$\Lambda(r) = \max(0,\, 1 - |r|)$$
#
# Bilinear sampling uses one tent across and one down. For a map $Z$ with the value $Z_{ji}$ in row $j$ and column
# $i$, the value at row position $b$ and column position $a$, both in pixels, is
#
# $$\hat Z(a, b) = \sum_{j} \sum_{i} \Lambda(b - j)\, \Lambda(a - i)\, Z_{ji}$$
#
# The sum runs over the whole map, but at most four weights are not zero. Written as it stands:

# %%
def tent(r: float) -> float:
    return max(0.0, 1 - abs(r))


def look_up(Z: Tensor, a: float, b: float) -> float:
    h, w = Z.shape
    return sum(tent(b - j) * tent(a - i) * Z[j, i].item() for j in range(h) for i in range(w))


toy = torch.tensor([[0.0, 1, 2, 3], [1, 9, 4, 2], [2, 4, 8, 1], [3, 0, 1, 5]])  # the running example of 4 x 4
print("at a centre:", look_up(toy, a=1, b=2), " half way to the right:", look_up(toy, a=1.5, b=2))

# %% [markdown]
# Four properties follow from the tent, and each is a check. At a centre the value is the pixel's. The weights sum
# to 1, so a constant map stays constant. A map that rises evenly is reproduced *exactly*, also between the pixels.
# And no value lies outside the range of the four neighbours.

# %%
columns = torch.arange(4.0).expand(4, 4)
plane = 2 * columns - 3 * columns.T + 1  # rises evenly
a, b = (3 * torch.rand(2, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).tolist()

off = {"a constant map": 0.0, "an even slope": 0.0}
for a_, b_ in zip(a, b, strict=True):
    off["a constant map"] = max(off["a constant map"], abs(look_up(torch.ones(4, 4), a_, b_) - 1))
    off["an even slope"] = max(off["an even slope"], abs(look_up(plane, a_, b_) - (2 * a_ - 3 * b_ + 1)))
    corner = toy[int(b_) : int(b_) + 2, int(a_) : int(a_) + 2]
    assert corner.min() - 1e-6 <= look_up(toy, a_, b_) <= corner.max() + 1e-6
assert all(look_up(toy, i, j) == toy[j, i] for j in range(4) for i in range(4))
assert max(off.values()) < 1e-5
print("at 100 positions, largest error of", ", ".join(f"{name}: {value:.4f}" for name, value in off.items()))

# %% mystnb={"image": {"alt": "Left: a square of four pixels with a cross inside at 0.7 to the right and 0.4 down. Lines through the cross cut the square into four rectangles, each labelled with its area, the weight of the pixel at the opposite corner: 0.42 is the largest. Right: the 4 by 4 toy as a smooth surface in grey, with dots at pixel centres."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(9.4, 4.4))
a_, b_ = 0.7, 0.4
for i, j, hatch in ((0, 0, "/"), (1, 0, "\\"), (0, 1, "."), (1, 1, "x")):
    weight = tent(a_ - i) * tent(b_ - j)
    corner = (0 if i else a_, 0 if j else b_)  # the rectangle across from pixel (i, j)
    size = (a_ if i else 1 - a_, b_ if j else 1 - b_)
    left.add_patch(plt.Rectangle(corner, *size, facecolor="#e8eef4", edgecolor="#7f9bb5", hatch=hatch))
    middle = (corner[0] + size[0] / 2, corner[1] + size[1] / 2)
    left.text(*middle, f"{weight:.2f}", ha="center", va="center", bbox=dict(facecolor="white", edgecolor="none"))
    left.plot(i, j, "o", color=viz.COLOURS["blue"], markersize=10)
left.plot(a_, b_, "P", color=viz.COLOURS["orange"], markersize=12)
left.set(xlim=(-0.1, 1.1), ylim=(1.1, -0.1), aspect="equal", title="weights are areas", xlabel="a", ylabel="b")
fine = torch.tensor([[look_up(toy, a_ / 10, b_ / 10) for a_ in range(31)] for b_ in range(31)])
right.imshow(fine, cmap="gray", extent=(-0.05, 3.05, 3.05, -0.05))
right.plot(*torch.cartesian_prod(torch.arange(4), torch.arange(4)).T, "o", color=viz.COLOURS["orange"])
right.set(title="the toy between its pixels", xlabel="a", ylabel="b")
plt.show()
assert fine[20, 10] == toy[2, 1]
print(f"row 2, column 1: {fine[20, 10]:.0f} in the fine drawing, {toy[2, 1]:.0f} in the toy")

# %% [markdown]
# *Left: the cross looks between four pixels. Each pixel's weight is the area of the rectangle on the opposite side of
# the cross; the nearer, the larger. Right: the toy read at 31 x 31 positions; dots are its pixels.*
#
# ### Version 1: a loop over pixels
#
# Now the warp. For every pixel of the new map: where is it, where does the flow point, what is found there? For now
# a position outside the map is moved to the nearest position inside.

# %%
def warp_v1(Z: Tensor, flow: Tensor) -> Tensor:
    """Map (h, w), normalized backward flow (2, h, w) -> map (h, w)."""
    h, w = Z.shape
    warped = torch.empty(h, w)
    for j in range(h):
        for i in range(w):
            x = (2 * i + 1) / w - 1 + flow[0, j, i].item()
            y = (2 * j + 1) / h - 1 + flow[1, j, i].item()
            a = ((x + 1) * w - 1) / 2
            b = ((y + 1) * h - 1) / 2
            warped[j, i] = look_up(Z, min(max(a, 0), w - 1), min(max(b, 0), h - 1))
    return warped


flow = 0.4 * torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(1))
by_loop = warp_v1(toy, flow)

assert_close(warp_v1(toy, torch.zeros(2, 4, 4)), toy)  # no motion, no change
one_right = torch.tensor([2 / 4, 0])[:, None, None].expand(2, 4, 4)  # one of four pixels is 2 / 4
assert_close(warp_v1(toy, one_right)[:, :3], toy[:, 1:])  # every pixel brings its right neighbour
assert_close(by_loop[None, None], lfdm.warp(toy[None, None], flow[None]))  # the library agrees already
print("upper row:", toy[0].tolist(), "-> warped:", [round(value, 2) for value in by_loop[0].tolist()])

# %% [markdown]
# PyTorch's `grid_sample` does the same work, with the two conventions as a switch. The rule between pixels is the
# same under both. Only the step from coordinate to position differs: $a = ((x + 1) W - 1) / 2$ against
# $a = (x + 1)(W - 1) / 2$. So a position that is written and read by one convention gives one answer, whichever it
# is.

# %%
def torch_sample(Z: Tensor, x: Tensor, y: Tensor, align_corners: bool) -> Tensor:
    at = torch.stack([x, y], dim=-1)[None, None]  # (1, 1, n, 2)
    return F.grid_sample(Z[None, None], at, align_corners=align_corners, padding_mode="border")[0, 0, 0]


a, b = 3 * torch.rand(2, 50, generator=torch.Generator().manual_seed(2))
by_hand = torch.tensor([look_up(toy, a_, b_) for a_, b_ in zip(a.tolist(), b.tolist(), strict=True)])
answers = {
    "edges, twice": torch_sample(toy, (2 * a + 1) / 4 - 1, (2 * b + 1) / 4 - 1, align_corners=False),
    "centres, twice": torch_sample(toy, 2 * a / 3 - 1, 2 * b / 3 - 1, align_corners=True),
    "written by centres, read by edges": torch_sample(toy, 2 * a / 3 - 1, 2 * b / 3 - 1, align_corners=False),
}
off = {name: (answer - by_hand).abs().max().item() for name, answer in answers.items()}
for name, value in off.items():
    print(f"{name}: off by up to {value:.2f}")
assert max(off["edges, twice"], off["centres, twice"]) < 1e-5 and off["written by centres, read by edges"] > 0.5

# %% [markdown]
# ## Borders
#
# What is found outside the map is a choice. Version 1 moved the position to the nearest one inside: the *border*
# repeats. The sum as it stands says something else: outside there is no pixel, so no weight, so *zero*. Both exist in
# PyTorch (`padding_mode`) and in the library (`outside`).

# %% mystnb={"image": {"alt": "Line plot of the looked-up value against the position a from -2.5 to 5.5 in a row of four pixels. Both lines agree between positions 0 and 3. Outside, the solid line stays at the border values, the dashed line falls to zero within one pixel."}}
row = torch.tensor([2.0, 4, 1, 3])
a = torch.linspace(-2.5, 5.5, 161)
x = (2 * a + 1) / 4 - 1
border = torch.tensor([look_up(row[None], min(max(a_, 0), 3), 0) for a_ in a.tolist()])
zeros = torch.tensor([look_up(row[None], a_, 0) for a_ in a.tolist()])
plt.figure(figsize=(8, 3.6))
plt.plot(a, border, label="border repeats")
plt.plot(a, zeros, label="zeros outside")
plt.plot(range(4), row, "o", color=viz.COLOURS["black"], label="pixels")
plt.gca().set(xlabel="position a, in pixels", ylabel="value")
plt.legend()
plt.show()

at = torch.stack([x, 0 * x])[None, :, None]  # (1, 2, 1, 161)
assert_close(sample_at(row[None, None, None], at)[0, 0, 0], border, atol=1e-5, rtol=0)
assert_close(sample_at(row[None, None, None], at, outside="zeros")[0, 0, 0], zeros, atol=1e-5, rtol=0)
half_out = [look_up(row[None], 3, 0), look_up(row[None], 3.5, 0)]
print(f"half a pixel beyond the last: {half_out[0]:.1f} if the border repeats, {half_out[1]:.1f} with zeros outside")

# %% [markdown]
# *A row of four pixels, read from far left to far right. Inside, the two agree. Between the centre of the last
# pixel and one pixel further, zeros fade in: a map darkens at its border even where the flow is only half a pixel
# off.*
#
# We repeat the border. Shoulders that the lower edge cuts off, and that move up a little, are then continued by their
# last row; with zeros they would end in a black bar. Also, the flow of a border pixel may point slightly outside
# without a penalty. The price shows in the plot: outside, the line is flat. You meet flat lines again when you ask for
# gradients.

# %% [markdown]
# ## Version 2: all pixels at once
#
# The loop computes 16 weights for each of 16 pixels. But only four are not zero: those of the pixels around the position.
# With $i = \lfloor a \rfloor$, the column to the left, and the remainder $a - i$, the two weights across are
# $1 - (a - i)$ and $a - i$. The same holds down. So *gather* four values for every pixel, and mix them.

# %%
def warp_v2(features: Tensor, flow: Tensor) -> Tensor:
    """Features (c, h, w), normalized backward flow (2, h, w) -> features (c, h, w)."""
    h, w = flow.shape[-2:]
    x, y = lfdm.identity_grid(h, w) + flow
    a, b = to_pixels(x, w).clamp(0, w - 1), to_pixels(y, h).clamp(0, h - 1)  # (h, w)
    i, j = a.floor().long(), b.floor().long()
    right, down = (i + 1).clamp(max=w - 1), (j + 1).clamp(max=h - 1)
    a, b = a - i, b - j  # how far beyond the left column and the upper row
    upper = (1 - a) * features[:, j, i] + a * features[:, j, right]
    lower = (1 - a) * features[:, down, i] + a * features[:, down, right]
    return (1 - b) * upper + b * lower


wide = torch.randn(5, 6, 9, generator=torch.Generator().manual_seed(3))  # several channels, not square
wide_flow = 0.5 * torch.randn(2, 6, 9, generator=torch.Generator().manual_seed(4))
at = (lfdm.identity_grid(6, 9) + wide_flow).movedim(0, -1)[None]
expected = F.grid_sample(wide[None], at, padding_mode="border", align_corners=False)[0]
assert_close(warp_v2(toy[None], flow)[0], by_loop, atol=1e-5, rtol=0)
assert_close(warp_v2(wide, wide_flow), expected, atol=1e-5, rtol=0)
print(f"largest difference to the loop: {(warp_v2(toy[None], flow)[0] - by_loop).abs().max():.4f};", end=" ")
print(f"to grid_sample, on {tuple(wide.shape)}: {(warp_v2(wide, wide_flow) - expected).abs().max():.4f}")

# %% [markdown]
# ## The gradient, by hand
#
# A network that predicts a flow learns from the derivative of a loss $\ell$ with respect to that flow. A network that
# makes features learns from the derivative with respect to the features. Both pass through the warp. Autograd knows
# them; the question is what they *say*. Let $G = \partial \ell / \partial \hat Z$ be what arrives at one pixel of
# the warped map.
#
# **With respect to the features**, the definition is linear, so the derivative is the weight:
#
# $$\frac{\partial \ell}{\partial Z_{ji}} = \Lambda(b - j)\, \Lambda(a - i)\, G$$
#
# What was *gathered* from four pixels is *scattered* back to the same four, with the same weights. Pixels that nobody
# looked at get nothing.
#
# **With respect to the position**, only $\Lambda(a - i)$ depends on $a$. It falls on one side and rises on the other,
# both with slope 1. With $i = \lfloor a \rfloor$, what is left is the difference of neighbours:
#
# $$\frac{\partial \hat Z}{\partial a} = \sum_j \Lambda(b - j)\, (Z_{j,\,i+1} - Z_{ji})$$
#
# The flow enters by $a = ((x + 1) W - 1) / 2$ with $x = x_i + f_x$, so
#
# $$\frac{\partial \ell}{\partial f_x} = \frac{W}{2}\, \frac{\partial \hat Z}{\partial a}\, G$$
#
# and it is zero where the position was moved in from outside: there the line was flat.

# %%
def warp_backward(Z: Tensor, flow: Tensor, G: Tensor) -> tuple[Tensor, Tensor]:
    """Of a loss with gradient G (h, w) at the warped map: gradients at Z (h, w) and at the flow (2, h, w)."""
    h, w = Z.shape
    x, y = lfdm.identity_grid(h, w) + flow
    free_a, free_b = to_pixels(x, w), to_pixels(y, h)
    a, b = free_a.clamp(0, w - 1), free_b.clamp(0, h - 1)
    i, j = a.floor().long(), b.floor().long()
    right, down = (i + 1).clamp(max=w - 1), (j + 1).clamp(max=h - 1)

    to_Z = torch.zeros(h, w)
    for rows, weight_down in ((j, 1 - (b - j)), (down, b - j)):
        for cols, weight_across in ((i, 1 - (a - i)), (right, a - i)):
            to_Z.index_put_((rows, cols), weight_down * weight_across * G, accumulate=True)  # scatter

    slope_a = (1 - (b - j)) * (Z[j, right] - Z[j, i]) + (b - j) * (Z[down, right] - Z[down, i])
    slope_b = (1 - (a - i)) * (Z[down, i] - Z[j, i]) + (a - i) * (Z[down, right] - Z[j, right])
    to_x = w / 2 * slope_a * G * (free_a == a)  # nothing where the position was moved in
    to_y = h / 2 * slope_b * G * (free_b == b)
    return to_Z, torch.stack([to_x, to_y])

# %% [markdown]
# Held against autograd, through version 2 and through the library:

# %%
G = torch.randn(4, 4, generator=torch.Generator().manual_seed(5))
to_Z, to_flow = warp_backward(toy, flow, G)

warps = {
    "version 2": lambda Z, f: warp_v2(Z[None], f)[0],
    "the library": lambda Z, f: lfdm.warp(Z[None, None], f[None])[0, 0],
}
print(f"gradients reach {to_Z.abs().max():.1f} at the map, {to_flow.abs().max():.0f} at the flow")
for name, function in warps.items():
    Z, f = toy.clone().requires_grad_(), flow.clone().requires_grad_()
    (G * function(Z, f)).sum().backward()
    assert_close(to_Z, Z.grad, atol=1e-5, rtol=1e-5)
    assert_close(to_flow, f.grad, atol=1e-4, rtol=1e-5)
    apart = (to_Z - Z.grad).abs().max(), (to_flow - f.grad).abs().max()
    print(f"autograd through {name} differs by {apart[0]:.3f} and {apart[1]:.3f} at most")
assert_close(to_Z.sum(), G.sum())  # scattering loses nothing

# %% [markdown]
# What does the second formula mean? Take a row of four pixels, and slide the place where one pixel looks.

# %%
def value_and_slope(a: float) -> tuple[float, float]:
    """What a pixel of the row reads at position a, and its derivative by a."""
    looks = torch.zeros(2, 1, 4)
    looks[0, 0, 0] = (a - 0) * 2 / 4  # the pixel of column 0 looks at column a
    only_this = torch.tensor([[1.0, 0, 0, 0]])
    _, to_flow = warp_backward(row[None], looks, only_this)
    return warp_v2(row[None, None], looks)[0, 0, 0].item(), to_flow[0, 0, 0].item() / 2  # W / 2 = 2


places = torch.linspace(-1.5, 4.5, 241) + 0.01  # no place is a centre
value, slope = zip(*[value_and_slope(a) for a in places.tolist()], strict=True)


def staircase(a: float) -> plt.Figure:
    figure, (above, below) = plt.subplots(2, 1, figsize=(7, 5.4), dpi=80, sharex=True)
    here, rises = value_and_slope(a)
    above.plot(places, value)
    above.plot(range(4), row, "o", color=viz.COLOURS["black"])
    above.plot([a - 1, a + 1], [here - rises, here + rises])
    above.plot(a, here, "s", color=viz.COLOURS["orange"], markersize=9)
    below.plot(places, slope, ".", color=viz.COLOURS["blue"], markersize=3)
    below.plot(a, rises, "s", color=viz.COLOURS["orange"], markersize=9)
    above.set(ylabel="value", xlim=(-1.8, 4.8), ylim=(0, 5))
    below.set(ylabel="slope per pixel", xlabel="position a, in pixels", ylim=(-3.6, 3.6))
    return figure

# %%
levels = sorted({round(s, 3) for s in slope})
assert levels == [-3, 0, 2]
print("the slope takes the values", levels)
told = "Above, the value read from four pixels, straight pieces with kinks at the pixels, and a square on it with the tangent there. Below, its slope, a staircase that is zero outside the pixels and jumps at each of them, and the square"
viz.dial(staircase, alt=told, reach={"a": (-1.5, 4.5)}, a=[-0.75, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5])

# %% [markdown]
# *Turn $a$. Top: what is read from the row of four pixels, with the tangent at the square. Bottom: its slope, a
# staircase. Between two pixels the slope is their difference, wherever the square is between them; outside it is zero.
# At a pixel's centre it jumps. A zero flow stands exactly on such a jump; there autograd takes one of the two sides.*
#
# Keep the staircase in mind. A wrong flow sees as far as one pixel. Everything in the section on wrong flows follows
# from it.
#
# ### Against the definition
#
# *May be skipped on a first reading.*
#
# A derivative is what happens when you push a little, so push every number of the flow.

# %%
step = 1e-4
numeric = torch.zeros(2, 4, 4)
for channel in (0, 1):
    for j in range(4):
        for i in range(4):
            push = torch.zeros(2, 4, 4, dtype=torch.float64)
            push[channel, j, i] = step
            there, here = (warp_v2(toy[None].double(), flow.double() + sign * push)[0] for sign in (1, -1))
            numeric[channel, j, i] = (G * (there - here)).sum() / (2 * step)
assert_close(numeric, to_flow, atol=1e-3, rtol=1e-3)
print(f"32 numbers of the flow: by hand and by pushing differ by {(numeric - to_flow).abs().max():.2f} at most")

# %% [markdown]
# ## Version 3: batches, videos, occlusion
#
# *May be skipped on a first reading.*
#
# What is missing is bookkeeping. First the look-up for a batch, at positions of any number, with both borders. The
# four neighbours become a loop of four, and `gather` takes flat indices.

# %%
def sample_v3(maps: Tensor, grid: Tensor, outside: Literal["border", "zeros"] = "border") -> Tensor:
    """Maps (b, c, h, w), normalized positions (b, 2, h2, w2) -> values (b, c, h2, w2)."""
    h, w = maps.shape[-2:]
    a, b = to_pixels(grid[:, 0], w), to_pixels(grid[:, 1], h)  # (b, h2, w2)
    if outside == "border":
        a, b = a.clamp(0, w - 1), b.clamp(0, h - 1)
    i, j = a.floor(), b.floor()
    found = torch.zeros(*maps.shape[:2], *grid.shape[-2:])
    for row, weight_down in ((j, 1 - (b - j)), (j + 1, b - j)):
        for col, weight_across in ((i, 1 - (a - i)), (i + 1, a - i)):
            inside = (row >= 0) & (row < h) & (col >= 0) & (col < w)
            flat = (row.clamp(0, h - 1) * w + col.clamp(0, w - 1)).long().flatten(1)  # (b, h2 * w2)
            values = maps.flatten(2).gather(2, flat[:, None].expand(-1, maps.shape[1], -1))
            found = found + (weight_down * weight_across * inside)[:, None] * values.view_as(found)
    return found


maps = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(6))
anywhere = 3 * torch.rand(2, 2, 4, 6, generator=torch.Generator().manual_seed(7)) - 1.5  # many of them outside
for outside in ("border", "zeros"):
    apart = (sample_v3(maps, anywhere, outside) - sample_at(maps, anywhere, outside)).abs().max()
    assert apart < 1e-5
    print(f"{outside:6}: values {tuple(sample_v3(maps, anywhere).shape)}, the library's differ by {apart:.4f} at most")

# %% [markdown]
# Then the three uses: one map and one flow; one map that all frames of a video look up, which is what LFDM does with
# $z_0$; and a video whose frames each have their own flow. The middle one needs no copies of the map: lay the
# flows of all frames below each other, and read the map with one tall grid. At last the product with the occlusion
# map: a feature counts as far as it was visible.

# %%
def warp_v3(features: Tensor, flow: Tensor, occlusion: Tensor | None = None, outside="border") -> Tensor:
    """Features (b, c, h, w) or (b, c, T, h, w), flow (b, 2, h, w) or (b, 2, T, h, w) -> features, one a flow."""
    if features.shape[-2:] != flow.shape[-2:] or features.shape[0] != flow.shape[0] or features.ndim > flow.ndim:
        raise ValueError(f"features {tuple(features.shape)} and flow {tuple(flow.shape)} do not fit")
    batch, channels = features.shape[:2]
    h, w = flow.shape[-2:]
    if flow.ndim == 4:  # one map, one flow
        warped = sample_v3(features, lfdm.identity_grid(h, w) + flow, outside)
    else:
        grid = lfdm.identity_grid(h, w)[:, None] + flow  # (b, 2, T, h, w)
        if features.ndim == 4:  # one map for all frames
            warped = sample_v3(features, grid.flatten(2, 3), outside).view(batch, channels, -1, h, w)
        else:  # frame by frame
            frames = sample_v3(features.transpose(1, 2).flatten(0, 1), grid.transpose(1, 2).flatten(0, 1), outside)
            warped = frames.unflatten(0, (batch, -1)).transpose(1, 2)
    return warped if occlusion is None else occlusion * warped

# %%
generator = torch.Generator().manual_seed(8)
image = torch.randn(2, 3, 5, 7, generator=generator)
video = torch.randn(2, 3, 4, 5, 7, generator=generator)
flows = 0.5 * torch.randn(2, 2, 4, 5, 7, generator=generator)
seen = torch.rand(2, 1, 4, 5, 7, generator=generator)

cases = {
    "one map, one flow": (image, flows[:, :, 0], seen[:, :, 0]),
    "one map, a video of flows": (image, flows, seen),
    "frame by frame": (video, flows, seen),
}
for name, (features, f, m) in cases.items():
    apart = 0.0
    for outside in ("border", "zeros"):
        assert_close(warp_v3(features, f, m, outside), lfdm.warp(features, f, m, outside), atol=1e-5, rtol=0)
        apart = max(apart, (warp_v3(features, f, m, outside) - lfdm.warp(features, f, m, outside)).abs().max().item())
    print(f"{name}: {tuple(warp_v3(features, f, m).shape)}, lfdm_lite.warp differs by {apart:.4f} at most")
assert_close(warp_v3(image, flows)[:, :, 2], warp_v3(image, flows[:, :, 2]))  # a video is its frames
assert torch.finfo(torch.bfloat16).eps * 64 / 2 == 1 / 4  # pixels of 64, between 1 and the next bfloat16

# %% [markdown]
# That is `lfdm_lite.warp`. The library hands the look-up itself to `grid_sample`, which is compiled. It also keeps
# coordinates in float32 when a network runs in bfloat16, the half-size numbers of fast training: from 1 to the next
# larger one is $2^{-7}$, a quarter of a pixel of 64. From here on you use the library's.

# %% [markdown]
# ## A true flow, to the last visible pixel
#
# Is warping right? The clip of the first page is drawn, so its true flow and visibility are known. If warping is right,
# then frame 0 warped by the true flow *is* frame $k$, wherever frame $k$ shows what frame 0 showed.

# %%
def clip_at(size: int, index: int = 13) -> dict:
    """A clip of the validation set, drawn at this size, with a batch axis."""
    clip = lfdm.data.Faces("val", size=size)[index]
    return {key: clip[key][None].float() for key in ("video", "flow", "visible")}


def mean_error(one: Tensor, other: Tensor, mask: Tensor) -> float:
    return ((one - other).abs().mean(dim=1, keepdim=True) * mask).sum().item() / mask.sum().item()


clip, k = clip_at(64), 13
true_flow, visible = clip["flow"][:, :, k], clip["visible"][:, :, k]  # (1, 2, 64, 64), (1, 1, 64, 64)
warped = lfdm.warp(first, true_flow)

standing, error = mean_error(first, frame, visible), mean_error(warped, frame, visible)
on_hidden = mean_error(warped, frame, 1 - visible)
assert error < 0.5 * standing and error < 0.1 * on_hidden
print(f"longest flow: {32 * true_flow.norm(dim=1).max():.0f} pixels; hidden in frame 0: {1 - visible.mean():.0%}")
print(f"error where visible: {standing:.3f} without motion, {error:.3f} warped; where hidden: {on_hidden:.2f} warped")
viz.image_row(
    [first[0], frame[0], warped[0], 0.85 * visible[0]],
    ["frame 0", "frame 13", "frame 0, warped", "visible"],
    scale=4,
    alt="A drawn face at rest; the same head turned, frowning; frame 0 warped, like the second but with double hair edges and a closed mouth; the visible places in light grey, the hidden ones in black: along the hair, at eyes and mouth.",
)

# %% [markdown]
# *From left: what is given; what should come out; what the warp makes of the first; where it can be right (light). In
# the light places the third picture is like the second. In the black ones, at the hair and in the mouth, it shows
# something else.*
#
# Is the small error that is left a mistake in the flow? Then it would stay. If it is only the softness of bilinear
# sampling at edges, a finer drawing of the same clip must have less of it.

# %% mystnb={"image": {"alt": "Line plot on logarithmic axes of the mean error against the picture's size, 32 to 256. For visible pixels it falls, to a little more than half with each doubling. For hidden pixels it rises a little; it is fifteen times as high at the left end, and more than a hundred times at the right."}}
sizes = [32, 64, 128, 256]
on_visible, on_hidden = [], []
for size in sizes:
    drawn = clip_at(size)
    at_size = lfdm.warp(drawn["video"][:, :, 0], drawn["flow"])
    on_visible.append(mean_error(at_size, drawn["video"], drawn["visible"]))
    on_hidden.append(mean_error(at_size, drawn["video"], 1 - drawn["visible"]))

plt.figure(figsize=(7, 3.8))
plt.loglog(sizes, on_visible, marker="o", label="visible in frame 0")
plt.loglog(sizes, on_hidden, marker="s", label="hidden in frame 0")
plt.gca().set(xlabel="width and height, pixels", ylabel="mean error")
plt.xticks(sizes, sizes)
plt.minorticks_off()
plt.legend()
plt.show()

halved = [coarse / fine for coarse, fine in zip(on_visible[:-1], on_visible[1:], strict=True)]
assert min(halved) > 1.5 and min(on_hidden) > 10 * max(on_visible)
print("each doubling divides the visible error by", [round(ratio, 1) for ratio in halved])
print("hidden:", [round(value, 2) for value in on_hidden])

# %% [markdown]
# *Mean absolute difference between warped and true frames, over the whole clip. The error on visible pixels nearly
# halves with every doubling, as the share of edge pixels does: the flow is exact. The error on hidden pixels does
# not fall. No flow can bring what frame 0 does not show.*

# %% [markdown]
# ## One flow after another
#
# Flow $g$ leads from the newest frame to the middle one, flow $f$ from the middle one to the first. Start at a
# position $\mathbf p$ of the newest frame. Follow $g$; you are at $\mathbf p + g(\mathbf p)$. Follow $f$ *from there*:
#
# $$(f \circ g)(\mathbf p) = g(\mathbf p) + f(\mathbf p + g(\mathbf p))$$
#
# The last term is $f$ looked up where $g$ points. That is a warp, of a flow.

# %%
def compose(f: Tensor, g: Tensor) -> Tensor:
    """First look along g, then from there along f."""
    return g + lfdm.warp(f, g)


def rotation(degrees: float, size: int = 64) -> Tensor:
    """The flow that turns a square picture about its middle, (1, 2, size, size)."""
    angle = math.radians(degrees)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    grid = lfdm.identity_grid(size, size)
    return (torch.einsum("ij,jhw->ihw", turn, grid) - grid)[None]


middle = (lfdm.identity_grid(64, 64).norm(dim=0) < 0.9).float()[None, None]  # a disc that no rotation leaves
assert_close(compose(rotation(10), torch.zeros(1, 2, 64, 64)), rotation(10), atol=1e-5, rtol=0)
both = {"composed": compose(rotation(10), rotation(15)), "added": rotation(10) + rotation(15)}
apart = {name: 32 * ((sum_ - rotation(25)) * middle).norm(dim=1).max().item() for name, sum_ in both.items()}
for name, pixels in apart.items():
    print(f"turns by 10 and 15 degrees, {name}: off by up to {pixels:.1f} pixels from the turn by 25")
assert apart["composed"] < 1e-3 and apart["added"] > 1

# %% [markdown]
# Why compose flows, rather than warp pictures one after the other? Each look-up mixes neighbours, so each costs
# sharpness. Flows are smooth and lose little by it; pictures have edges.

# %%
turned, total = first, torch.zeros(1, 2, 64, 64)
for _ in range(10):
    turned = lfdm.warp(turned, rotation(3))  # ten warps of the picture
    total = compose(rotation(3), total)  # ten compositions of the flow
once = lfdm.warp(first, total)  # and one warp


def sharpness(picture: Tensor) -> float:
    """Mean squared difference of horizontal neighbours, in the disc."""
    return (picture.diff(dim=-1).square() * middle[..., 1:]).mean().item()


assert_close(total * middle, rotation(30) * middle, atol=1e-4, rtol=0)
left = [sharpness(picture) / sharpness(first) for picture in (once, turned)]
assert left[0] > 1.3 * left[1]
print(f"sharpness that is left: {left[0]:.0%} after one warp by the composed flow, {left[1]:.0%} after ten warps")
viz.image_row(
    [first[0], once[0], turned[0]],
    ["given", "composed, then 1 warp", "10 warps"],
    scale=4,
    alt="The face upright; turned by 30 degrees with sharp features; turned by 30 degrees with blurred features.",
)

# %% [markdown]
# *Turned by 30 degrees in ten steps of 3. Middle: the steps are composed, the picture is looked up once. Right: the
# picture is looked up ten times. Compare the rays behind the head and the eyes. Sharpness is the mean squared
# difference of neighbouring pixels.*
#
# ### The inverse of a flow
#
# *May be skipped on a first reading.*
#
# The inverse of $f$ is the flow $g$ that leads back: $f \circ g = 0$. Written out, $g(\mathbf p) = -f(\mathbf p +
# g(\mathbf p))$. So $-f$ is *not* the inverse: it is looked up where the trip begins, not where it ends. But an equation of the
# form $g = \text{something of } g$ invites iteration:
#
# $$g_{n+1}(\mathbf p) = -f(\mathbf p + g_n(\mathbf p)), \qquad g_0 = 0$$

# %%
def inverse(f: Tensor, iterations: int = 20) -> Tensor:
    g = torch.zeros_like(f)
    for _ in range(iterations):
        g = -lfdm.warp(f, g)
    return g


def pixels_off(g: Tensor, truth: Tensor) -> float:
    return 32 * ((g - truth) * inner).norm(dim=1).max().item()


inner = (lfdm.identity_grid(64, 64).norm(dim=0) < 0.5).float()[None, None]
ways_back = {"-f": -rotation(20), "3 iterations": inverse(rotation(20), 3), "20 iterations": inverse(rotation(20))}
for name, g in ways_back.items():
    print(f"way back from a turn by 20 degrees, {name}: off by up to {pixels_off(g, rotation(-20)):.1f} pixels")
assert pixels_off(inverse(rotation(20)), rotation(-20)) < 1e-3

# %% [markdown]
# When does it converge? Take two candidates for $g$, a little apart. One iteration brings them closer if $f$ changes
# by less than one pixel per pixel. For a turn the rate is known: $f$ changes by twice the sine of half the angle per
# unit, so every iteration should shrink the error by this factor. At 60 degrees that is 1, and the iteration comes no
# nearer.

# %%
for degrees in (10, 20, 40, 60):
    off = [pixels_off(inverse(rotation(degrees), n), rotation(-degrees)) for n in range(5)]
    rate = 2 * math.sin(math.radians(degrees) / 2)
    print(f"{degrees} degrees: error in pixels {[round(o, 2) for o in off]}, last ratio {off[4] / off[3]:.2f}, predicted {rate:.2f}")
    assert abs(off[4] / off[3] - rate) < 0.05 * rate

# %% [markdown]
# A true flow of a clip has no inverse everywhere. A place of frame 0 that is covered in frame $k$ is fetched by no
# pixel of frame $k$, and there the inverse flow has no answer. Comparing $f \circ g$ with zero finds such places; you
# do that in an exercise.

# %% [markdown]
# ## Resizing a flow
#
# `warp` wants features and flow of one size. The authors of LFDM draw the flow at the size of the latent map, so there
# it fits. In our model three sizes meet: the motion has half of the picture's width, the latent map a quarter, and the
# decoder fetches two finer maps of the encoder besides. One flow serves all of them, and is resized for each.

# %%
motion_size, latent_size = motion.flow.shape[-1], autoencoder.encode(first).shape[-1]
stride = autoencoder.config.latent_stride
print(f"picture {first.shape[-1]}, motion {motion_size}, latent map {latent_size}: a latent pixel is {stride} pixels wide")
assert latent_size == 64 // stride and motion_size == 64 // autoencoder.config.flow_stride

# %% [markdown]
# A normalized flow keeps its *values* when it is resized: a quarter of the picture is a quarter of the picture. (A flow
# in pixels has to be scaled as well; that is why ours is not in pixels.) Its *grid* changes. To enlarge a map, look it
# up at the centres of the new pixels:

# %%
def resize_v1(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (b, c, h, w) -> (b, c, *size), by looking up the new pixels' centres."""
    return sample_v3(maps, lfdm.identity_grid(*size).expand(len(maps), 2, *size))


small = torch.randn(1, 2, 5, 7, generator=torch.Generator().manual_seed(9))
large = torch.randn(1, 2, 64, 64, generator=torch.Generator().manual_seed(10))
gaps = {
    "grows": (resize_v1(small, (10, 21)) - resize(small, (10, 21))).abs().max().item(),
    "shrinks": (resize_v1(large, (16, 16)) - resize(large, (16, 16))).abs().max().item(),
}
for name, gap in gaps.items():
    print(f"when a map {name}, version 1 and the library's resize differ by up to {gap:.1f}")
assert gaps["grows"] < 1e-5 and gaps["shrinks"] > 0.5

# %% [markdown]
# To shrink a map by four, version 1 looks at four pixels of every sixteen, and misses the rest. The library widens
# the tent, so that every old pixel is counted: to half-width $R$, the ratio of the sizes, or 1 when the map grows. New
# column $c$ of $W'$ has its centre at the old position $a_c$. Its value is a weighted mean, with the weights
#
# $$S_{ci} = \frac{\Lambda((a_c - i) / R)}{\sum_{i'} \Lambda((a_c - i') / R)}, \qquad R = \max(1,\, W / W')$$
#
# Rows and columns are done by one matrix each: $Z' = S_h\, Z\, S_w^\top$. One formula holds for both directions.

# %%
def tents(old: int, new: int) -> Tensor:
    """Share of each old column in each new one, (new, old)."""
    R = max(1, old / new)
    a = to_pixels(centres(new), old)  # old positions of the new centres
    weights = (1 - (a[:, None] - torch.arange(old)).abs() / R).clamp(min=0)
    return weights / weights.sum(dim=1, keepdim=True)


def resize_v2(maps: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Maps (b, c, h, w) or (b, c, T, h, w) -> the same with another height and width."""
    h, w = (size, size) if isinstance(size, int) else size
    return tents(maps.shape[-2], h) @ maps @ tents(maps.shape[-1], w).T


for size in ((16, 16), (128, 96), (7, 64), (5, 200)):
    assert_close(resize_v2(large, size), resize(large, size), atol=1e-4, rtol=0)
gap = (resize_v2(clip["flow"], 16) - resize(clip["flow"], 16)).abs().max()
assert gap < 1e-5
assert_close(tents(64, 16).sum(dim=1), torch.ones(16))
print(f"a video of flows {tuple(clip['flow'].shape)} -> {tuple(resize_v2(clip['flow'], 16).shape)}, the library's differs by {gap:.4f}")

# %% mystnb={"image": {"alt": "Two plots of weights over the old columns. Left, four columns become sixteen: each new one takes from one or two old ones; the first has all of its weight on the first old column, the last on the last. Right, sixteen become four: wide triangles, of which those at both ends are cut off by the border and higher than they would be otherwise."}}
figure, axes = plt.subplots(1, 2, figsize=(10, 4.6))
for ax, (old, new, drawn_columns) in zip(axes, ((4, 16, (0, 4, 5, 15)), (16, 4, (0, 1, 2, 3))), strict=True):
    for c, marker in zip(drawn_columns, "osD^", strict=True):
        ax.plot(range(old), tents(old, new)[c], marker=marker, markersize=5, label=f"new column {c}")
    ax.set(xlabel="old column i", ylabel="its share", title=f"{old} columns become {new}", xticks=range(0, old, max(1, old // 8)))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)
plt.show()

cut = tents(16, 4)[0]
wide_row = torch.arange(-8, 24).clamp(0, 15)  # what stood there if the border were repeated: old columns -8 to 23
repeated = torch.zeros(16).index_add(0, wide_row, (1 - (1.5 - torch.arange(-8.0, 24)).abs() / 4).clamp(min=0) / 4)
print("growing 4 -> 16, first column: ", [round(share, 2) for share in tents(4, 16)[0].tolist()])
print("shrinking 16 -> 4, first column:", [round(share, 2) for share in cut[:6].tolist()])
print("the same, if the border repeated:", [round(share, 2) for share in repeated[:6].tolist()])
assert tents(4, 16)[0, 0] == 1 and (cut - repeated).abs().max() > 0.05

# %% [markdown]
# *Each line is one new column: how much it takes of every old one. Left: the map grows. The first new column lies left of
# the first old centre, and its only neighbour gets all of the weight: the border repeats. Right: the map shrinks. The
# first tent is cut off at the border, and what is left of it is scaled up. That is not a repeated border, which would
# give the outermost column the largest share.*
#
# It matters little for a flow, and much for positions. The mean of the old columns, weighted by the cut tent, lies
# further inside than the new centre.

# %%
inward = cut @ torch.arange(16.0) - 1.5  # in old pixels; the centre of the first new column is at 1.5
grid_64 = lfdm.identity_grid(64, 64)[None]
positions = 32 * (resize(grid_64, 16) - lfdm.identity_grid(16, 16)[None])  # pixels of the picture
displacements = 32 * (resize(rotation(10), 16) - rotation(10, 16))
print(f"16 -> 4: the first new column takes from {inward:.2f} old pixels too far inside")
print(f"64 -> 16: positions, resized, are off by up to {positions.norm(dim=1).max():.2f} pixels of the picture,")
print(f"          and displacements of a turn by 10 degrees by {displacements.norm(dim=1).max():.2f}")
assert positions.norm(dim=1).max() > 3 * displacements.norm(dim=1).max()
assert resize(torch.zeros(1, 2, 64, 64), 16).abs().max() == 0

# %% [markdown]
# So resize displacements, not positions. A displacement of zero stays zero at every size; positions of rest do not stay
# where they are.
#
# ### What a coarse flow cannot move
#
# A flow of 16 x 16 has one answer for a place of 4 x 4 pixels. What if a bar moves over a background that stands
# still, and the bar is thinner than that? Draw this scene, with its true flow and visibility, for bars of any width.

# %%
def bar_scene(width: int, shift: int = 12, start: int = 20) -> dict[str, Tensor]:
    """A dark bar in front of stripes moves right by `shift` pixels; the background stands still."""
    column, row = torch.arange(64).expand(64, 64), torch.arange(64)[:, None].expand(64, 64)
    ground = torch.where((row + column // 2) % 8 < 4, 0.9, 0.7)
    before = (column >= start) & (column < start + width)
    after = (column >= start + shift) & (column < start + shift + width)
    flow = torch.stack([torch.where(after, -shift * 2 / 64, 0.0), torch.zeros(64, 64)])
    return {
        "source": torch.where(before, 0.2, ground)[None, None],
        "target": torch.where(after, 0.2, ground)[None, None],
        "flow": flow[None],
        "visible": (after | ~before).float()[None, None],
        "bar": after.float()[None, None],
    }


scene = bar_scene(6)
exact = lfdm.warp(scene["source"], scene["flow"])
assert_close(exact * scene["visible"], scene["target"] * scene["visible"], atol=1e-5, rtol=0)
apart = mean_error(exact, scene["target"], scene["visible"]), mean_error(exact, scene["target"], 1 - scene["visible"])
print(f"warped by the true flow: off by {apart[0]:.2f} where visible, by {apart[1]:.2f} where the bar was")

# %% [markdown]
# Now send the flow through a coarser grid and back. How much of the bar's motion is left on the bar?

# %% mystnb={"image": {"alt": "Line plot of the share of its motion that a bar keeps, against its width from 1 to 32 pixels. All lines rise with the width, steeply at first. The flow of 32 by 32 lies highest, that of 16 by 16 below, that of 8 by 8 lowest."}}
widths = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
shares = {}
plt.figure(figsize=(7, 4))
for size, marker in ((32, "s"), (16, "o"), (8, "^")):
    shares[size] = []
    for width in widths:
        kept = []
        for start in range(12, 20):  # anywhere with respect to the coarse grid
            scene = bar_scene(width, start=start)
            back = resize(resize(scene["flow"], size), 64)[:, :1]
            kept.append((back * scene["bar"]).sum() / (scene["flow"][:, :1] * scene["bar"]).sum())
        shares[size].append(torch.stack(kept).mean().item())
    plt.plot(widths, shares[size], marker=marker, label=f"flow of {size} x {size}")
    assert sorted(shares[size]) == shares[size]  # wider bars keep more
plt.gca().set(xlabel="width of the bar, pixels", ylabel="share of its motion that is left", ylim=(0, 1))
plt.legend()
plt.show()
assert shares[16][0] < 0.3 and shares[16][-1] > 0.85 and shares[32][0] < 0.5
for size in (32, 16, 8):
    pixel = widths.index(64 // size)
    print(f"{size} x {size}: a bar of 1 pixel keeps {shares[size][0]:.0%}, one as wide as a coarse pixel {shares[size][pixel]:.0%}")

# %% [markdown]
# *Mean flow on the bar after it passed through a coarse grid, over its true flow. A bar as wide as one pixel of the
# coarse grid keeps about half of its motion, whatever the grid, and smears the rest over its neighbours. Even wide ones
# lose at their edges.*

# %%
def bar_warped(width: int, grid: int) -> viz.Picture:
    scene = bar_scene(width)
    moved = lfdm.warp(scene["source"], resize(resize(scene["flow"], grid), 64))
    shown = [scene["source"], scene["target"], moved, 1 - 2 * (moved - scene["target"]).abs()]
    titles = ["source", "target", f"by a flow of {grid} x {grid}", "difference"]
    return viz.image_row([picture[0].clamp(0, 1) for picture in shown], titles, scale=4)


bars = {}
for grid in (64, 32, 16):
    bars[grid] = []
    for width in (2, 6, 16):
        scene = bar_scene(width)
        moved = lfdm.warp(scene["source"], resize(resize(scene["flow"], grid), 64))
        bars[grid].append(mean_error(moved, scene["target"], scene["bar"]))
    print(f"flow of {grid} x {grid}, error on bars 2, 6, 16 wide:", [round(value, 2) for value in bars[grid]])
assert max(bars[64]) < 1e-5 and min(bars[16]) > 0.05
told = "A dark bar on stripes; the same bar further right; the warped source, and what differs from the target, dark"
viz.dial(bar_warped, alt=told, reach={"width": (1, 32), "grid": (2, 64)}, width=[2, 6, 16], grid=[64, 32, 16])

# %% [markdown]
# *Turn the width of the bar, then the grid that its flow passes through. Right: white where warped and target agree. At
# 64 each bar arrives as it is. The bar of 2 pixels arrives on no coarser grid: what is left of its flow leads to the
# ground beside it. Of the bar of 6, the right edge is missing at 32, and half at 16. Beside the bars, ground that should
# stand still is bent at 16, since it shares places with them. At every setting a bar is also left where it was: the next
# section.*
#
# A latent map can soften this. It holds many features at every place, so a decoder can be told of a thin line *within* a
# place. But a place has one flow: what shares a place moves together. In our model the motion is finer than the latent
# map, so that the finer maps, at least, are moved by a finer flow.

# %% [markdown]
# ## Occlusion: what is not there to be fetched
#
# Look again at the full flow's bar: it is there twice. The flow is right. The background did not move, so its
# flow is zero, also where the bar *was*; and looked up there, frame 0 shows the bar. No flow can do better, since
# frame 0 does not show what is behind. So LFDM says which answers not to trust:
#
# $$\hat z = m \odot \mathrm{warp}(z_0, f)$$
#
# with $m = 1$ where the place was visible, $0$ where it was hidden, and the product $\odot$ taken place by place.
# Something else has to fill the gap; in LFDM the decoder does.

# %%
scene = bar_scene(6)
bare = lfdm.warp(scene["source"], scene["flow"])
masked = lfdm.warp(scene["source"], scene["flow"], scene["visible"])
paint = torch.full_like(bare, 0.8)  # what somebody who knows backgrounds could guess
blended = masked + (1 - scene["visible"]) * paint

assert_close(masked, scene["visible"] * bare)
assert_close(lfdm.warp(scene["source"], scene["flow"], torch.ones_like(scene["visible"])), bare)  # m = 1: no change
dark = [int((picture < 0.5).sum() / 64) for picture in (scene["target"], bare, blended)]
assert dark == [6, 12, 6]
print("dark columns: target, bare warp, painted:", dark)
viz.image_row(
    [picture[0] for picture in (scene["target"], bare, masked, blended)],
    ["target", "bare warp", "m x warp", "painted"],
    scale=4,
    alt="A dark bar on stripes; two bars; the right bar, and black where the left one was; the right bar, and plain grey where the left one was.",
)

# %% [markdown]
# *The ghost and its cure. The bare warp shows the bar where it is and where it was. Multiplied by $m$, the ghost is
# blank, black here; painted in one grey, it is gone, though the stripes are missing.*
#
# In the drawn face above it was the double edge of the hair, and lips inside the open mouth.

# %% [markdown]
# ## Warping a latent map
#
# Everything so far moved pixels, or numbers that might be anything. LFDM moves $z_0$, the encoder's map. When is that
# the same as moving the picture first and encoding then? Slide the picture to the left by a number of pixels, and
# compare both orders.

# %%
z0 = autoencoder.encode(first)
print("picture:", tuple(first.shape), " latent map:", tuple(z0.shape))


def slide(pixels: float, size: int) -> Tensor:
    """A flow that looks to the right by this many pixels of the 64, on a grid of any size."""
    return torch.tensor([pixels * 2 / 64, 0.0])[None, :, None, None].expand(1, 2, size, size)


def relative(one: Tensor, other: Tensor, mask: Tensor | float = 1.0) -> float:
    return (((one - other).square() * mask).sum() / (other.square() * mask).sum()).sqrt().item()

# %% mystnb={"image": {"alt": "Line plot of the relative difference between the two orders against the slide in pixels, 0 to 12. It touches zero at 0, 4, 8 and 12 pixels and has arches between."}}
slides = [d / 2 for d in range(25)]
between_orders = []
for d in slides:
    moved_first = autoencoder.encode(lfdm.warp(first, slide(d, 64)))
    encoded_first = lfdm.warp(z0, slide(d, latent_size))
    between_orders.append(relative(encoded_first[..., 3:-6], moved_first[..., 3:-6]))  # away from the borders

plt.figure(figsize=(7, 3.6))
plt.plot(slides, between_orders, marker="o")
for whole in (0, 4, 8, 12):
    plt.axvline(whole, color=viz.COLOURS["black"], linestyle=":", linewidth=1)
plt.gca().set(xlabel="slide, pixels of the picture", ylabel="relative difference", ylim=(-0.01, None))
plt.show()

at_whole, between = [between_orders[2 * d] for d in (0, 4, 8, 12)], [between_orders[2 * d] for d in (2, 6, 10)]
assert max(at_whole) < 0.01 < 0.05 < min(between)
print("difference at whole latent pixels:", [round(value, 2) for value in at_whole])
print("half way between them:            ", [round(value, 2) for value in between])

# %% [markdown]
# *Difference between "encode, then warp" and "warp, then encode", over the length of the latter. Dotted: slides by a
# whole latent pixel.*
#
# At whole latent pixels the two orders agree: convolutions and averaging do not care where they are. In between, they
# do not. A mix of two neighbours in $z_0$ is not what the encoder says of a picture that moved half way. So a
# warped latent is slightly *unlike* every latent of a picture. The decoder is trained on warped ones, and learns to
# read them.
#
# With a real motion, how near does the warp come to the true latent map of frame 13? The library keeps a flow and an
# occlusion map together in a `Motion`. What `fetch` does with it are steps that you know: resize the motion to the
# features, warp, mask. The frames of a video then go into the batch, for a decoder that knows single pictures.

# %%
def fetch_v1(features: Tensor, motion: lfdm.Motion) -> Tensor:
    size = features.shape[-2:]
    masked = warp_v3(features, resize_v2(motion.flow, size), resize_v2(motion.occlusion, size))
    return masked if masked.ndim == 4 else masked.transpose(1, 2).flatten(0, 1)  # (b * T, c, h, w)


every_frame = lfdm.Motion(clip["flow"], clip["visible"])
one_frame = lfdm.Motion(true_flow, visible)
for true_motion in (one_frame, every_frame):
    fetched = fetch_v1(z0, true_motion)
    assert_close(fetched, fetch(z0, true_motion), atol=1e-4, rtol=1e-4)
    apart = (fetched - fetch(z0, true_motion)).abs().max()
    print(f"motion {tuple(true_motion.flow.shape)}, fetched {tuple(fetched.shape)}, the library's differs by {apart:.3f}")

# %%
z_k = autoencoder.encode(frame)  # the truth
flow_z, m_z = resize(true_flow, latent_size), resize(visible, latent_size)  # for the latent map
warped_z = lfdm.warp(z0, flow_z)
far = {
    "z0 as it is": relative(z0, z_k),
    "warp(z0, f)": relative(warped_z, z_k),
    "m * warp(z0, f)": relative(m_z * warped_z, z_k),
    "warp(z0, f), where m": relative(warped_z, z_k, m_z),
    "encoder on warped pixels, where m": relative(autoencoder.encode(warped), z_k, m_z),
}
assert far["z0 as it is"] > far["warp(z0, f)"] > far["warp(z0, f), where m"]
for name, distance in far.items():
    print(f"{name}: {distance:.2f}")

busiest = z_k[0].flatten(1).std(1).argmax()
maps = [m[0, busiest] / z_k[0, busiest].max() for m in (z0, warped_z, m_z * warped_z, z_k)]
viz.image_row(
    [channel.clamp(0, 1) for channel in maps],
    ["z0", "warp(z0, f)", "m x warp", "z of frame 13"],
    scale=256 // latent_size,
    alt="One channel of four latent maps in grey: of frame 0; warped; warped and masked; of frame 13. The second is turned like the fourth.",
)

# %% [markdown]
# *The channel that varies most. The numbers are distances to the last map, over its length. Warping brings $z_0$
# nearer, masking nearer still. On visible places it makes little difference whether features are moved, or pixels and
# then encoded again.*
#
# Then why move latents? Because what comes out can be *repaired*: the warped map goes through a network that was trained
# to paint what is masked, and to mend what a coarse flow tears. How much is that? Take two motions of the size that our
# model has: the true one, made coarse, and the one that the auto-encoder estimates itself, having seen both frames. By
# each of them move pixels, or move features and paint. Pictures are compared by their PSNR in decibels: 10 more mean a
# tenth of the squared error.

# %%
def psnr(one: Tensor, other: Tensor) -> float:
    return (-10 * (one - other).square().mean().log10()).item()


def compared(index: int) -> dict[str, float]:
    """PSNR of frame 13 of a clip, made of frame 0 in five ways."""
    drawn = clip_at(64, index)
    source, target = drawn["video"][:, :, 0], drawn["video"][:, :, k]
    true = lfdm.Motion(*(resize(drawn[key][:, :, k], motion_size) for key in ("flow", "visible")))
    quality = {"as it is": psnr(source, target)}
    for name, moved_by in {"true motion": true, "its own": autoencoder.estimate_motion(source, target)}.items():
        quality[f"pixels, {name}"] = psnr(lfdm.warp(source, resize(moved_by.flow, 64)), target)
        quality[f"painted, {name}"] = psnr(autoencoder.decode(source, moved_by), target)
    return quality


print(f"numbers of the motion: {3 * motion_size**2}; of the picture: {frame.numel()}")
for index in (13, 11, 12):
    quality = compared(index)
    print(f"clip {index}, dB:", "; ".join(f"{name} {value:.1f}" for name, value in quality.items()))
    assert sorted(quality, key=quality.get) == list(quality) and quality["painted, its own"] > quality["pixels, its own"] + 1

# %% [markdown]
# The verdict: neither half does it alone. Painting by the true motion is a little better than moving pixels by it. Pixels
# that the auto-encoder's own flow moves are better than both, on each of the three clips; painted, its own motion gains
# some decibels more. Where is the gain of its own flow, on the clip of this chapter?

# %%
coarse = lfdm.Motion(resize(true_flow, motion_size), resize(visible, motion_size))
for where, mask in {"frame 0 shows them": visible, "it does not": 1 - visible}.items():
    by = [mean_error(lfdm.warp(first, resize(m.flow, 64)), frame, mask) for m in (coarse, motion)]
    away = lfdm.end_point_error(resize(motion.flow, 64), true_flow, mask, pixels=True)
    print(f"pixels, where {where}: error {by[0]:.2f} by the true flow, {by[1]:.2f} by its own, which is {away:.1f} pixels off")
assert by[1] < 0.5 * by[0] and away > 1
painted = [autoencoder.decode(first, moved_by)[0] for moved_by in (coarse, motion)]
viz.image_row(
    [lfdm.warp(first, resize(coarse.flow, 64))[0], *painted, frame[0]],
    ["pixels, true motion", "painted, true motion", "painted, its own", "frame 13"],
    scale=4,
    alt="Four faces: turned, with the rim of the hair too wide on the left and a closed mouth; with teeth, wide eyes and a pale double rim of hair on the left; with narrow eyes, teeth and hair as in the last; the true frame 13, frowning, with teeth.",
)

# %% [markdown]
# *All but the last are made of frame 0 and a motion of 32 x 32. Second and third: the same features, moved by two motions.
# With the true one the hair has a double rim at the left, and the eyes stay open. With its own, hair and lids are nearly
# where they should be. Teeth, which frame 0 does not show, are painted in both; their shape is not that of the truth.*
#
# The gain is at hidden places. There the true flow is right, and fetches a ghost. The auto-encoder's own flow was trained
# to make the picture right, so it looks elsewhere, for something that will do. It is no better estimate of the motion; it
# is a better instruction to this decoder, which has never been given another.
#
# [Chapter 5](05_autoencoder.ipynb) trains this pair.

# %% [markdown]
# ## Where a wrong flow learns to point
#
# Nobody shows an auto-encoder the true flow. It starts with a wrong one, sees that the picture is wrong, and gets a
# gradient through the warp. By the staircase above, that gradient looks one pixel far. When is it enough?
#
# Take the simplest case. The picture is one blob, a Gaussian of height 1 and standard deviation $\tau$ pixels. In the
# target it has moved by $d$ pixels. The flow is one number, a slide. As the loss, take the sum of squared differences.
# It has a closed form: the product of two such blobs sums to $\pi \tau^2 e^{-d^2 / 4 \tau^2}$, so
#
# $$\ell(d) = 2 \pi \tau^2 \left(1 - e^{-d^2 / 4 \tau^2}\right)$$

# %%
def blob(column: float, tau: float) -> Tensor:
    i = torch.arange(64.0)
    distance = (i - column) ** 2 + (i[:, None] - 31.5) ** 2
    return torch.exp(-distance / (2 * tau**2))[None, None]


def loss_of(slid: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Sum of squared differences after a slide by this many pixels of the 64."""
    flow = torch.stack([slid * 2 / 64, 0 * slid])[None, :, None, None].expand(1, 2, *source.shape[-2:])
    return (lfdm.warp(source, flow) - target).square().sum()


def loss_at(d: float, tau: float) -> float:
    return 2 * math.pi * tau**2 * (1 - math.exp(-(d**2) / (4 * tau**2)))


for tau in (1.5, 3.0, 6.0):
    measured = [loss_of(torch.tensor(0.0), blob(31.5, tau), blob(31.5 - d, tau)).item() for d in range(20)]
    worst = max(abs(m - loss_at(d, tau)) for d, m in enumerate(measured)) / loss_at(99, tau)
    print(f"tau {tau}: loss for d = 4 {measured[4]:.1f}, by the formula {loss_at(4, tau):.1f}; worst of d < 20 {worst:.1%}")
    assert worst < 0.01

# %% [markdown]
# The slope of $\ell$ is largest at $d = \sqrt 2\, \tau$ and then dies like $e^{-d^2 / 4\tau^2}$. Beyond a few $\tau$
# the blobs do not touch, and the loss is a plain. The curvature at $d = 0$ is $\pi$ for any $\tau$, so plain gradient
# descent with step $1 / \pi$ is fast near the truth. From where does it get there in 100 steps?

# %%
def descend(source: Tensor, target: Tensor, start: float = 0.0, steps: int = 100) -> list[float]:
    """The slides that gradient descent goes through."""
    path = [start]
    area = (64 / source.shape[-1]) ** 2  # a pixel of a smaller picture counts for several
    for _ in range(steps):
        slid = torch.tensor(path[-1], requires_grad=True)
        (slope,) = torch.autograd.grad(area * loss_of(slid, source, target), slid)
        path.append((slid - slope / math.pi).item())
    return path


@cache
def path_of(tau: float, d: float) -> list[float]:
    return descend(blob(31.5, tau), blob(31.5 - d, tau))


basins = {}
for tau in (1.5, 3.0, 6.0):
    reached = [d for d in range(1, round(5 * tau) + 2) if abs(path_of(tau, d)[-1] - d) < 0.5]
    assert reached == list(range(1, len(reached) + 1))  # from near, never only from far
    basins[tau] = len(reached)
    print(f"tau {tau}: found from up to {basins[tau]} pixels, {basins[tau] / tau:.1f} tau")
assert all(2.5 * tau < basin < 5 * tau for tau, basin in basins.items())

# %%
def basin(tau: float, moved_by: float) -> plt.Figure:
    source, target = blob(31.5, tau), blob(31.5 - moved_by, tau)
    path = path_of(tau, moved_by)
    slides = torch.arange(-6, 30.25, 0.25)
    losses = [loss_of(s, source, target).item() for s in slides]
    figure, (above, below) = plt.subplots(2, 1, figsize=(7, 5.8), dpi=80)
    columns = torch.arange(64) - 31.5
    for name, picture in {"source": source, "target": target}.items():
        above.plot(columns, picture[0, 0, 31], label=name)
    above.fill_between(columns, lfdm.warp(source, slide(path[-1], 64))[0, 0, 31], color=viz.COLOURS["sky"], alpha=0.4, label="warped in the end")
    above.set(xlim=(-32, 32), ylim=(0, 1.05), xlabel="column, from the middle of the source's blob", ylabel="value")
    above.legend(loc="upper right")
    below.plot(slides, losses)
    on_path = [loss_of(torch.tensor(s), source, target).item() for s in path]
    below.plot(path, on_path, "o", color=viz.COLOURS["orange"], markersize=5, label="descent, 100 steps")
    below.axvline(moved_by, color=viz.COLOURS["black"], linestyle=":", linewidth=1.2, label="truth")
    below.set(xlabel="slide, pixels", ylabel="loss", ylim=(0, None))
    below.legend(loc="lower right")
    return figure


def basin_in_words(tau: float, moved_by: float) -> str:
    end = path_of(tau, moved_by)[-1]
    how = "ends at the truth" if abs(end - moved_by) < 0.5 else f"ends at a slide of {end:.1f}, far from the truth"
    return f"Above, the bumps of source and target, and the warped source shaded. Below, the loss over the slide, a pit at the truth, and the points of the descent, which {how}"

# %%
print("ends of the descent, moved by 12:", {tau: round(path_of(tau, 12)[-1], 1) for tau in basins})
assert abs(path_of(1.5, 12)[-1] - 12) > 10 and abs(path_of(6.0, 12)[-1] - 12) < 0.1
viz.dial(basin, alt=basin_in_words, reach={"tau": (1.0, 8.0), "moved_by": (0, 28)}, tau=[1.5, 3.0, 6.0], moved_by=[4, 12, 20])

# %% [markdown]
# *Turn the width of the blob, and how far it has moved. Top: one row of the pictures. Bottom: the loss over the slide, and
# where descent goes from a slide of 0. A thin blob makes a narrow pit in a plain. The plain has a ripple: at half pixels
# the tent blurs the blob, which makes the loss a little smaller, right or wrong, and descent stays in the first dent. A
# wide blob makes a wide pit.*
#
# So the basin of attraction is close to $4 \tau$, about the width at which you see the blob, whatever the size of the
# picture. And a pit need not be the right one: stripes make one at every period.

# %%
stripes = (0.5 + 0.5 * torch.cos(2 * math.pi * torch.arange(64) / 8)).expand(1, 1, 64, 64)
pits = []
for s in range(-24, 25):
    inner_part = (lfdm.warp(stripes, slide(s, 64)) - stripes)[..., 24:40]  # away from the border
    if inner_part.square().sum() < 1e-6:
        pits.append(s)
print("slides that explain stripes of period 8 perfectly:", pits)
assert pits == [-24, -16, -8, 0, 8, 16, 24]

# %% [markdown]
# Where does the gradient point beyond the basin? Give every pixel a flow of its own again, and draw what a step of
# descent would do to it. A flow has two places: it *starts* at a pixel of the new frame, and *ends* where it looks, in
# the source. The gradient is a product of what is wrong at the start and of the slope at the end. Turn two dials: how
# far the blob moved, and which part of its way the flow has found so far.

# %%
pull_right = {}  # of all arrows: their sum over the sum of their lengths


def pull_of(moved_by: int, found: float) -> plt.Figure:
    blob_there, blob_here = blob(31.5, 3), blob(31.5 - moved_by, 3)  # source and target
    dense = slide(found * moved_by, 64).clone().requires_grad_()
    wrong = lfdm.warp(blob_there, dense) - blob_here
    (pull,) = torch.autograd.grad(-wrong.square().sum(), dense)
    pull_right[moved_by, found] = (pull[0, 0].sum() / pull[0].norm(dim=0).sum().clamp(min=1e-6)).item()
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.2), dpi=80)
    y, x = 2 * (pull[0, :, ::2, ::2].norm(dim=0) > 0.5).nonzero().T  # every second pixel
    for ax, picture, shift in zip(axes, (wrong.detach().abs(), blob_there), (0, found * moved_by), strict=True):
        ax.imshow(picture[0, 0], cmap="gray_r", vmin=0, vmax=1.5)
        ring = dict(fill=False, linestyle="--", color=viz.COLOURS["blue"])
        ax.add_patch(plt.Circle((31.5 - moved_by + shift, 31.5), 6, **ring))
        ax.quiver(x + shift, y, *pull[0][:, y, x].numpy(), color=viz.COLOURS["orange"], angles="xy", scale=140)
        ax.set(xlim=(8, 46), ylim=(46, 17), xticks=[], yticks=[])
        ax.spines[:].set_visible(True)
    axes[0].set_title("start: what is wrong in the new frame")
    axes[1].set_title("end: where it looks in the source")
    return figure

# %%
def pull_in_words(moved_by: int, found: float) -> str:
    right = pull_right[moved_by, found]
    where = "all ways, and cancel"
    if right > 0.2:
        where = "right, the true direction" if right > 0.5 else "right, by a little more"
    if found == 1:
        where = "nowhere, there are none"
    return f"A grey blob, a dashed ring where the target shows it, twice, and arrows. The arrows point {where}"


pulls = viz.dial(pull_of, alt=pull_in_words, reach={"moved_by": (1, 18), "found": (0.0, 1.0)},
                 moved_by=[2, 6, 16], found=[0.0, 0.5, 0.75, 1.0])  # fmt: skip
at_start = [round(pull_right[d, 0.0], 1) for d in (2, 6, 16)]
assert at_start[0] > 0.6 and abs(at_start[2]) < 0.2 < 0.5 < pull_right[16, 0.75]
assert all(abs(pull_right[d, 1.0]) < 1e-6 for d in (2, 6, 16))
print("share of the pull that points to the truth, at the start, moved by 2, 6, 16:", at_start)
print("moved by 16, three quarters found:", round(pull_right[16, 0.75], 1))
pulls

# %% [markdown]
# *Left: each flow drawn where it starts; grey is how wrong the warped picture is there. Right: the same flows drawn
# where they end, over the source. Ring: the pixels that should show the blob. Arrows: where a step of gradient descent
# turns the flow; right is the truth. Moved by 2: inside the ring arrows point right. Turn to 16: each pixel of the blob
# sees that it should be white, and looks for white over the nearest edge. At the ring, where the blob is missed, all is
# wrong at the start, but the source is flat at the end, so there is no arrow. Now turn* found *to 0.75: the ring's ends
# reach the blob's slope, and the arrows point home.*
#
# That is how a flow gets stuck. It learns to hide what is in the wrong place, and cannot learn to fetch what is
# missing.
#
# **What helps is a wider feature.** Shrink both pictures: the tents of `resize` blur them, and the same motion is
# fewer pixels. Find the slide there, then refine it at full size, from where you are. Because flow is normalized,
# the slide needs no scaling between sizes. This is *coarse to fine*, as in [chapter 2](02_flow_estimation.ipynb).

# %%
def coarse_to_fine(source: Tensor, target: Tensor, sizes=(8, 16, 32, 64)) -> list[float]:
    """The slide before and after each size."""
    path = [0.0]
    for size in sizes:
        path.append(descend(resize(source, size), resize(target, size), start=path[-1])[-1])
    return path


for d in (4, 8, 12, 20):
    pair = blob(31.5, 1.5), blob(31.5 - d, 1.5)
    at_once, path = descend(*pair)[-1], coarse_to_fine(*pair)
    steps = ", ".join(f"{slid:.1f}" for slid in path[1:])
    print(f"truth {d:2}: at full size {at_once:.1f}; at 8, 16, 32, 64 one after another {steps}")
    assert (abs(at_once - d) < 0.1) == (d == 4) and (abs(path[-1] - d) < 0.1) == (d <= 12)
    assert d == 4 or abs(at_once - 0.5) < 0.1  # caught in the ripple

# %% [markdown]
# With full pictures only the nearest is found. From the others, descent rolls into the first dent of the ripple, half a
# pixel from its start, and stays. Coarse to fine finds 8 and 12 pixels too: each picture brings the slide into the
# basin of the next. Twenty pixels are beyond the basin of even the smallest: there the blob is as wide as the tent that
# shrank it, and no wider. A motion predictor with a wide view, such as the regions of
# [chapter 4](04_region_motion.ipynb), is another way out: it does not search, it sees both places.
#
# ### Is a flow with a low loss the true one?
#
# No. Give every pixel its own flow and minimize the picture error on three clips, from coarse to fine.

# %%
def fit_flow(source: Tensor, target: Tensor, sizes: tuple[int, ...], steps: int = 50) -> Tensor:
    flow = torch.zeros(1, 2, sizes[0], sizes[0])
    for size in sizes:
        small, goal = resize(source, size), resize(target, size)
        flow = resize(flow, size).requires_grad_()
        optimizer = torch.optim.Adam([flow], lr=0.3 / size)
        for _ in range(steps):
            optimizer.zero_grad()
            (lfdm.warp(small, flow) - goal).square().mean().backward()
            optimizer.step()
        flow = flow.detach()
    return flow


photometric, flow_error, on_hidden = {}, {}, {}  # clip -> one number a flow
for index in (13, 11, 12):
    other = clip_at(64, index)
    pair, truth, shown = (other["video"][:, :, 0], other["video"][:, :, k]), other["flow"][:, :, k], other["visible"][:, :, k]
    fits = {"no flow": 0 * truth, "full size only": fit_flow(*pair, (64,), steps=200)}
    fits |= {"coarse to fine": fit_flow(*pair, (8, 16, 32, 64)), "true flow": truth}
    photometric[index] = [(lfdm.warp(pair[0], f) - pair[1]).square().mean().item() for f in fits.values()]
    flow_error[index] = [lfdm.end_point_error(f, truth, shown, pixels=True).item() for f in fits.values()]
    on_hidden[index] = [mean_error(lfdm.warp(pair[0], f), pair[1], 1 - shown) for f in fits.values()]

# %% book={"picture": {"largest": 200, "mean": 2, "why": "the ends of bars: two hundred steps of fitting end a little elsewhere on another processor"}} mystnb={"image": {"alt": "Two bar charts over four flows: none, fitted at full size, fitted coarse to fine, true, three bars each. Left, the squared picture error is lowest for coarse to fine in each clip, below the true flow's. Right, the flow error on visible pixels is highest for coarse to fine and zero for the true flow."}}
figure, panels = plt.subplots(1, 2, figsize=(10.2, 4), sharey=True)
for ax, values, label in zip(panels, (photometric, flow_error), ("squared picture error", "flow error where visible, pixels"), strict=True):
    for place, (index, hatch, colour) in enumerate(zip(values, ("", "//", ".."), ("blue", "sky", "yellow"), strict=True)):
        heights = [n + 0.26 * (place - 1) for n in range(4)]
        ax.barh(heights, values[index], 0.25, hatch=hatch, color=viz.COLOURS[colour], edgecolor="white", label=f"clip {index}")
    ax.set(xlabel=label, yticks=range(4), yticklabels=list(fits))
panels[0].invert_yaxis()
panels[1].legend()
plt.show()
for index in photometric:
    none, at_once, fine, true = photometric[index]
    print(f"clip {index}: picture error {at_once / none:.0%} of that of no flow, {fine / none:.0%}, and {true / none:.0%} by the true flow;", end=" ")
    print(f"where hidden, coarse to fine {on_hidden[index][2]:.2f}, true flow {on_hidden[index][3]:.2f}")
    assert none > at_once > fine and fine < true
    assert flow_error[index][2] > flow_error[index][0] > 0.2 and on_hidden[index][2] < 0.5 * on_hidden[index][3]

# %% [markdown]
# *Three clips. Left: how well the warped picture fits. Right: how wrong the flow is on visible pixels. The best picture
# comes with the worst flow, worse than none. Where frame 0 hides what is wanted, the true flow fetches a ghost, and the
# fitted one any pixel of the right colour.*
#
# Two numbers a pixel are too much freedom. Chapter 2 takes it away by smoothness, chapter 4 by a bottleneck: a dozen
# motions explain the whole picture. LFDM keeps the warp and the picture error, and bottlenecks the flow.

# %% [markdown]
# ## Failure gallery
#
# Three ways to get a warp wrong. All run without an error message.
#
# ### Mixed corners
#
# At zero flow nothing should move. Make the grid by one convention, look it up by the other, and do it again for every
# step of a chain. How much is half a pixel? That depends on the size: a dial for it, one for the number of warps.

# %%
def mixed_warp(features: Tensor, flow: Tensor) -> Tensor:
    """A warp with a bug: the grid says centres are -1 and 1, the look-up reads edges."""
    h, w = flow.shape[-2:]
    x, y = corner_centres(w).expand(h, w), corner_centres(h)[:, None].expand(h, w)
    return sample_at(features, torch.stack([x, y]) + flow)


half_pixel = {}  # size, warps -> mean error


def by_mixed_corners(size: int, warps: int) -> viz.Picture:
    small = resize(first, size)
    shrunk = small
    for _ in range(warps):
        shrunk = mixed_warp(shrunk, torch.zeros(1, 2, size, size))
    half_pixel[size, warps] = mean_error(shrunk, small, torch.ones(1, 1, size, size))
    difference = (5 * (shrunk - small).abs().mean(dim=1)[0]).clamp(0, 1)
    titles = ["given", f"zero warps: {warps}", "difference x 5"]
    return viz.image_row([small[0], shrunk[0], difference], titles, scale=256 // size)

# %%
counts = [0, 1, 4, 16]
mixed = viz.dial(
    by_mixed_corners,
    alt=lambda size, warps: f"A face of {size} pixels, after {warps} warps by zero, and five times the difference",
    reach={"warps": (0, 32)}, size=[16, 32, 64], warps=counts,
)  # fmt: skip
assert_close(lfdm.warp(first, torch.zeros(1, 2, 64, 64)), first, atol=1e-5, rtol=0)  # corners that agree: no error
for size in (16, 32, 64):
    errors = [half_pixel[size, warps] for warps in counts]
    assert errors == sorted(errors) and errors[0] == 0 and errors[1] > 0.005
    assert size == 64 or errors[1] > half_pixel[2 * size, 1]  # the smaller, the larger is half a pixel
    width = 100 * (1 - 1 / size) ** 16
    print(f"size {size}: mean error {errors[1]:.3f} after 1 warp, {errors[3]:.2f} after 16, at {width:.0f} % of the width")
mixed

# %% [markdown]
# *Turn the number of warps, then the size. The sign to look for: a difference that is least in the middle and grows
# towards the border. One step is easy to overlook at 64 pixels, and hard to miss at 16, where half a pixel is four times
# as long. Sixteen shrink a picture of 64 to $(63 / 64)^{16} = 78$ % of its width, one of 16 to $(15 / 16)^{16} = 36$ %,
# and blur it. A latent map has this size.*
#
# ### A flow in pixels, at another size
#
# Chapter 1 reads flows wrongly in four ways. Here is a fifth, which needs two grids: a program keeps its flow in pixels,
# and forgets to scale the numbers when it resizes the grid. Say the flow is estimated at 32 x 32, as our motion is. On
# the latent map of 16 x 16 each number then means twice the motion, on the picture of 64 half of it.

# %%
in_pixels_of_32 = resize(true_flow, 32) * 32 / 2
lengths = {}
for size in (16, 32, 64):
    taken = resize(in_pixels_of_32, size) * 2 / size  # the numbers are read as pixels of this grid
    lengths[size] = (taken.norm(dim=1).mean() / resize(true_flow, size).norm(dim=1).mean()).item()
shown = {name: lfdm.warp(first, factor * resize(resize(true_flow, 32), 64)) for name, factor in (("right", 1), ("twice", 2), ("half", 0.5))}
where = {name: mean_error(picture, frame, visible) for name, picture in shown.items()}
print("length of the motion, at 16, 32, 64:", [round(length, 1) for length in lengths.values()])
print(f"error where visible: no motion {standing:.3f},", ", ".join(f"{name} {value:.3f}" for name, value in where.items()))
assert where["right"] < where["half"] < standing < where["twice"]
viz.image_row(
    [frame[0], *(picture[0] for picture in shown.values())],
    ["frame 13", "right length", "twice as long", "half as long"],
    scale=4,
    alt="The true frame 13; frame 0 warped by the flow of 32 x 32, much like it; by twice that flow, leaning further with torn hair; by half of it, hardly leaning.",
)

# %% [markdown]
# *Frame 13, and frame 0 warped by the true flow after it passed through 32 x 32: as it is, taken for pixels of 16, and
# taken for pixels of 64. Half of the motion is still better than none, and looks like a model that is merely timid. Twice
# the motion is worse than none. Compare the length of a flow before and after every resize.*
#
# ### A gradient that is silent
#
# The third is silent even in training. Where does the picture error of this clip pull at a zero flow at all?

# %%
dense = torch.zeros(1, 2, 64, 64, requires_grad=True)
(pull,) = torch.autograd.grad((lfdm.warp(first, dense) - frame).square().sum(), dense)
strength = pull[0].norm(dim=0)
moves = 32 * true_flow[0].norm(dim=0) > 1  # by more than a pixel
silent = strength < 0.01 * strength.max()
share = (moves & silent).sum() / moves.sum()
assert share > 0.5
print(f"of the pixels that move by more than one pixel, {share:.0%} feel less than a hundredth of the largest gradient")
viz.image_row(
    [first[0], (strength / strength.max()).sqrt(), moves.float(), (moves & silent).float()],
    ["frame 0", "strength", "moves", "moves, no pull"],
    scale=4,
    alt="A face; the strength of the gradient, bright along edges of face and hair only; the moving places, nearly all of head and hair; moving places without gradient, the insides of cheeks, hair and forehead.",
)

# %% [markdown]
# *Strength is drawn as its square root, or you would see nothing but the strongest edges. White in the last: places
# that move by more than a pixel, where the gradient is less than a hundredth of the largest. Their flow is
# learned from their neighbours, by whatever ties neighbours together, or not at all.*

# %% [markdown]
# ## Summary
#
# * A warp looks every pixel up where the flow points, with tents between the pixels; its gradient is the difference
#   of two neighbours, and it sees one pixel far.
# * Pixel centres at $(2 i + 1) / W - 1$ make a flow mean the same at every size; flows compose, invert and resize, and
#   a coarse one moves everything that shares a place together.
# * No flow brings what was hidden: $m \odot \mathrm{warp}(z_0, f)$ blanks it for the decoder. A wrong flow finds the
#   truth from about a feature's width; coarse to fine widens the feature.
#
# ## Exercises
#
# **1. Check yourself** (two minutes, easy). A row of four pixels holds 2, 4, 1, 3. The flow at column 1 is $f_x =
# 0.75$. Which value is fetched? What is its derivative with respect to $f_x$?
#
# <details>
# <summary>Solution</summary>
#
# Four pixels span 2, so $0.75$ is one and a half pixels: $a = 2.5$. Half way between 1 and 3 is 2. The slope is
# $3 - 1 = 2$ per pixel, and $W / 2 = 2$ pixels per unit of flow, so the derivative is 4.
#
# ```python
# strip = torch.zeros(2, 1, 4)
# strip[0, 0, 1] = 0.75
# assert_close(warp_v2(row[None, None], strip)[0, 0, 1], torch.tensor(2.0))
# assert_close(warp_backward(row[None], strip, torch.eye(4)[1:2])[1][0, 0, 1], torch.tensor(4.0))
# ```
#
# </details>
#
# **2. Check yourself** (three minutes, medium). The left edge of the picture cuts a head in half, and the head moves to
# the right, into view. You train with zeros outside instead of a repeated border. What does the flow of the leftmost
# column learn that it would not with borders?
#
# <details>
# <summary>Solution</summary>
#
# The leftmost column should look further left, outside. Zeros fade in within one pixel there, so the loss has a slope:
# black is wrong, and the gradient pulls the position back in. With a repeated border the value does not change
# outside, the slope is zero, and the flow there is free. So zeros give a signal, but a false one: the right answer lies
# outside, and the occlusion map, not the flow, should say so.
#
# ```python
# edge = torch.tensor([[[[1.0, 0.6, 0.5, 0.5]]]])
# for outside, pulls in (("border", False), ("zeros", True)):
#     looks = torch.full((1, 2, 1, 4), -0.3).requires_grad_()
#     sample_at(edge, lfdm.identity_grid(1, 4)[None] + looks * torch.tensor([1.0, 0])[:, None, None], outside).sum().backward()
#     assert bool(looks.grad[0, 0, 0, 0] != 0) == pulls
# ```
#
# </details>
#
# The checks below ask your function through this helper, so that an answer of another kind gets a sentence back.

# %% tags=["hide-input"]
def asked(function: Callable, shape: tuple, *given) -> Tensor | str:
    """What a function answers, as a tensor of a shape; or a sentence that says why it is none."""
    try:
        answer = function(*(g.clone() if isinstance(g, Tensor) else g for g in given))
        if answer is None:
            return f"not yet: there is no answer; return a tensor of shape {shape}"
        answer = torch.as_tensor(answer, dtype=torch.float32)
    except Exception as error:
        return f"not yet: return a tensor of shape {shape} (this time: {type(error).__name__}, {error})"
    return answer if answer.shape == shape else f"not yet: the shape is {tuple(answer.shape)}, expected {shape}"


def at_rest(u: float, v: float, h: int, w: int) -> Tensor:
    """The same flow everywhere, u pixels to the right and v down, normalized, (1, 2, h, w)."""
    return torch.tensor([u * 2 / w, v * 2 / h])[None, :, None, None].expand(1, 2, h, w)


# %% tags=["hide-input"]
ROUND_TRIPS = (  # pixels right and down, tolerance, what is right, and what to say otherwise
    (0.8, 0, 1.0, 1, "0.8 pixels are within 1; a picture spans 2, so W pixels of x are 2"),
    (0.8, 0, 0.5, 0, "0.8 pixels are more than a tolerance of 0.5; is it used, and do you count in pixels?"),
    (0.8, 0, 0.7, 0, "0.8 pixels are more than 0.7; compare lengths, not squares"),
    (2, 0, 3.0, 1, "2 pixels are within a tolerance of 3"),
    (0, 2, 3.0, 1, "2 pixels down are within 3, where w is 64 and h is 32; y has its own factor"),
    (2, 2, 2.5, 0, "2 right and 2 down are 2.8 as the crow flies, more than 2.5; take the length, not the larger part"),
    (2, 2, 3.0, 1, "2 right and 2 down are 2.8 as the crow flies, within 3; take the length, not the sum of parts"),
)


# %% [markdown]
# **3. Code it** (ten minutes, easy). Many programs store flow in pixels, not normalized. Write `resize_pixel_flow`:
# it takes a flow in pixels of its own grid and gives the same motion in pixels of the new grid. Mind pictures that are
# not square.

# %% tags=["exercise"]
def resize_pixel_flow(flow: Tensor, h: int, w: int) -> Tensor:
    """Flow (b, 2, h_old, w_old) in pixels of its grid -> (b, 2, h, w) in pixels of the new grid."""
    return None  # your lines


def check_resize_pixel_flow(function) -> str:
    answer = asked(function, (1, 2, 16, 40), torch.tensor([3.0, -1.0])[None, :, None, None].expand(1, 2, 8, 10), 16, 40)
    smaller = asked(function, (1, 2, 16, 16), true_flow * 32, 16, 16)
    if complaint := [found for found in (answer, smaller) if isinstance(found, str)]:
        return complaint[0]
    hints = {
        (3.0, -1.0): "the grid grew, but 3 pixels are still 3 pixels; scale the values too",
        (0.75, -0.5): "more pixels in the same picture make a motion longer in pixels, not shorter",
        (6.0, -4.0): "channel 0 is x and goes with the width, which is the last axis",
        (12.0, -4.0): "y has its own factor, of the heights",
        (6.0, -2.0): "x has its own factor, of the widths",
    }
    x, y = [round(value, 3) for value in answer[0, :, 8, 20].tolist()]
    if (x, y) != (12.0, -2.0):
        return f"not yet: {hints.get((x, y), 'x scales with the widths, y with the heights')}"
    even = torch.allclose(smaller, resize(true_flow, 16) * 8, atol=1e-4)
    return "solved" if even else "not yet: when a grid shrinks every old pixel must count, as in resize"


print(check_resize_pixel_flow(resize_pixel_flow))

# %% tags=["hide-input"]
fine_flow, coarse_flow = lfdm.flow.in_pixels(true_flow), lfdm.flow.in_pixels(resize(true_flow, 16))
for name, in_their_pixels in (("64 x 64", fine_flow), ("16 x 16", coarse_flow)):
    print(f"{name}: longest flow {in_their_pixels.norm(dim=1).max():.1f} of its own pixels")
assert 3 < fine_flow.norm(dim=1).max() / coarse_flow.norm(dim=1).max() < 6
viz.image_row(
    [lfdm.flow_to_rgb(fine_flow, 8.0)[0], lfdm.flow_to_rgb(coarse_flow, 2.0)[0], lfdm.flow_to_rgb(coarse_flow, 8.0)[0]],
    ["64 x 64, wheel of 8 pixels", "16 x 16, of 2 pixels", "16 x 16, of 8 pixels"],
    scale=4,
    alt="The flow of frame 13 in colours; the same in squares, as deep; and the same in squares, but pale.",
)

# %% [markdown]
# *What a right answer draws: the flow of the clip in pixels, resized to 16 x 16. On a grid a quarter as wide its numbers
# are about a quarter as large: a wheel of 2 pixels shows them as deep as one of 8 did. On the old wheel, right, they are
# pale.*
#
# <details>
# <summary>Solution</summary>
#
# Go through normalized units, or scale each channel by the ratio of its sizes:
#
# ```python
# def resize_pixel_flow(flow, h, w):
#     ratio = torch.tensor([w / flow.shape[-1], h / flow.shape[-2]])
#     return resize(flow, (h, w)) * ratio[:, None, None]
#
#
# assert check_resize_pixel_flow(resize_pixel_flow) == "solved"
# ```
#
# </details>
#
# **4. Code it** (fifteen minutes, medium). Flow $f$ leads from frame A to frame B, and $g$ from frame B back to A,
# both backward flows. Where both are right and nothing is hidden, going along $f$ and from there along $g$ leads back
# to the start. Write `consistent`: 1 where the round trip ends within `tolerance` pixels of its start, as the crow
# flies, and else 0. It finds hidden places without being told.

# %% tags=["exercise"]
def consistent(f: Tensor, g: Tensor, tolerance: float = 1.0) -> Tensor:
    """Flows (b, 2, h, w) -> (b, 1, h, w): 1 where following f, then g from there, leads back, else 0."""
    return None  # your lines


def check_consistent(function) -> str:
    turned = asked(function, (1, 1, 64, 64), rotation(20), rotation(-20), 1.0)
    if isinstance(turned, str):
        return turned
    if not ((turned == 0) | (turned == 1)).all() or (turned * inner != inner).any():
        return "not yet: a turn there and back is 1 in the middle: look g up where f points, add both ways, answer 0 or 1"
    for u, v, tolerance, right, hint in ROUND_TRIPS:
        trip = asked(function, (1, 1, 32, 64), at_rest(u + 3, v, 32, 64), at_rest(-3, 0, 32, 64), tolerance)
        if isinstance(trip, str) or trip[0, 0, 16, 32] != right:
            return trip if isinstance(trip, str) else f"not yet: {hint}"
    scene, back = bar_scene(6), bar_scene(6, -12, 32)["flow"]
    found = asked(function, (1, 1, 64, 64), scene["flow"], back, 1.0)
    return "solved" if torch.equal(found, scene["visible"]) else "not yet: start with f, then look g up; you began with g"


print(check_consistent(consistent))

# %% tags=["hide-input"]
scene = bar_scene(16)
lost = int((1 - scene["visible"]).sum() / 64)
print(f"a bar of 16 pixels moved by 12: {lost} columns are inconsistent")
assert lost == 12
viz.image_row(
    [scene[key][0] for key in ("source", "target")] + [0.85 * scene["visible"][0]],
    ["frame B", "frame A", "consistent"],
    scale=4,
    alt="A dark bar on stripes; the same bar further right; a light map with a black strip where the bar has been and is no more.",
)

# %% [markdown]
# *What a right answer draws. Frame A looks up frame B. Black: places of A whose round trip ends elsewhere. The strip that
# the bar has left stands still, so it looks straight ahead, at the bar in B; and the bar's way back leads elsewhere.*
#
# <details>
# <summary>Solution</summary>
#
# ```python
# def consistent(f, g, tolerance=1.0):
#     trip = lfdm.flow.in_pixels(compose(g, f))
#     return (trip.norm(dim=1, keepdim=True) <= tolerance).float()
#
#
# assert check_consistent(consistent) == "solved"
# scene = bar_scene(16)
# assert torch.equal(consistent(scene["flow"], bar_scene(16, -12, 32)["flow"]), scene["visible"])
# ```
#
# The tolerance here is plain; the check of [chapter 2](02_flow_estimation.ipynb) forgives more where flows are longer.
#
# </details>
#
# **5. Build it** (fifty minutes, hard). `resize_v1` missed old pixels when it shrank a map. Every warp does that
# wherever its flow makes things smaller: it reads four pixels, and steps over the rest. Fine patterns turn into coarse
# ones that are not there. Build a warp that does not, as graphics cards do: keep the picture at several sizes, and look
# where pixels are as large as the step.
#
# 1. *Steps.* Where does each pixel look, in pixels of the picture? How far from that does its right neighbour look, and
#    how far the one below? The longer of both is the step. At the last column and row repeat the one before.
# 2. *Level.* A step of 1 or less is level 0, of 2 level 1, of 4 level 2: the logarithm to base 2. With $n$ halvings
#    to choose from, $n$ is the highest.
# 3. *Pyramid.* Halve the picture again and again, by the mean of 2 x 2 pixels, and look all sizes up at the same places.
#    (What makes that so easy? A normalized position means the same place at every size.)
# 4. *Blend.* A level of 1.3 takes 0.7 of level 1 and 0.3 of level 2, at every pixel by its own level.

# %% tags=["hide-input"]
def zoomed_out(factor: float, h: int, w: int) -> Tensor:
    """A flow that makes a picture smaller by a factor, about a place near its middle, (1, 2, h, w)."""
    return (factor - 1) * lfdm.identity_grid(h, w)[None] + at_rest(0.5, 0.5, h, w)


def at_level(image: Tensor, flow: Tensor, n: int) -> Tensor:
    """The picture, halved n times, looked up at the same places."""
    return sample_at(F.avg_pool2d(image, 2**n), lfdm.identity_grid(*image.shape[-2:])[None] + flow)


# %% tags=["exercise", "assembly"]
def smooth_warp(image: Tensor, flow: Tensor, halvings: int = 3) -> Tensor:
    """Picture (b, c, h, w), flow (b, 2, h, w) -> picture, without stepping over pixels; sides divide by 2**halvings."""
    # 1. steps, in pixels
    # 2. level, 0 to halvings
    # 3. pyramid: the picture at halvings + 1 sizes, each looked up
    # 4. blend
    return None


def check_smooth_warp(function) -> str:
    image = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    square, above = image[..., :32], lfdm.identity_grid(32, 64)[1] < 0
    flows = {factor: zoomed_out(factor, 32, 64) for factor in (0.5, 2**0.5, 2, 4, 16)}
    flows |= {"rest": 0 * flows[2], "flat": flows[4] * torch.tensor([1, 0])[:, None, None], "half": flows[2] * ~above}
    flows["turn"] = 2 * rotation(90, 32) + lfdm.identity_grid(32, 32) + at_rest(0.5, 0.5, 32, 32)  # and twice as small
    found = {name: asked(function, (1, 3, 32, flow.shape[-1]), square if name == "turn" else image, flow, 3) for name, flow in flows.items()}
    if complaint := [answer for answer in found.values() if isinstance(answer, str)]:
        return complaint[0]

    def right(name, *levels, rows=slice(0, 31)):  # the mean of these levels; the last row and column repeat their step
        expected = sum(at_level(square if name == "turn" else image, flows[name], n) for n in levels) / len(levels)
        return torch.allclose(found[name][..., rows, :-1], expected[..., rows, :-1], atol=1e-4)

    if not right("rest", 0):
        return "not yet, part 1: with no flow a pixel's neighbour looks one pixel further; the step is 1, the level 0"
    if not right(0.5, 0):
        return "not yet, part 2: enlarged, steps are below 1, and the level stays 0: the plain warp"
    if right(2, 0):
        return "not yet, part 1: twice as small, neighbours look 2 pixels apart; yours is the plain warp still"
    if not right(2, 1):
        return "not yet: twice as small is level 1 (part 2: to base 2), means of 2 x 2 pixels, looked up at the same normalized places"
    if not right(4, 2):
        return "not yet, part 2: four times as small is level 2, the picture halved twice"
    if not right(16, 3):
        return "not yet, part 2: sixteen times as small is beyond the highest level; stay at that one"
    if not right("flat", 2):
        return "not yet, part 1: squeezed in x alone by 4, the longer step counts, not the shorter one or their product"
    if not right("turn", 1):
        return "not yet, part 1: turned by 90 degrees, the right neighbour looks down; a step has two parts, take its length"
    if not right("half", 0, rows=slice(0, 14)) or not right("half", 1, rows=slice(17, 31)):
        return "not yet, part 4: where nothing moves the picture must stay; each pixel has a level of its own"
    if not right(2**0.5, 0, 1):
        return "not yet, part 4: a step of the root of 2 is level 0.5: half of level 0 and half of level 1"
    return "solved"


print(check_smooth_warp(smooth_warp))

# %% tags=["hide-input"]
fine = clip_at(256)["video"][:, :, 0]  # the same face on 256 x 256 pixels
small_flow = zoomed_out(4, 256, 256) - at_rest(0.5, 0.5, 256, 256)
stepped_over = lfdm.warp(fine, small_flow)[..., 96:160, 96:160]
averaged = F.avg_pool2d(fine, 4)  # a flow that makes a picture four times smaller is level 2 everywhere
for name, picture in {"plain warp": stepped_over, "with levels": averaged}.items():
    print(f"{name}: mean difference to the drawn picture {(picture - first).abs().mean():.3f}")
assert (averaged - first).abs().mean() < 0.5 * (stepped_over - first).abs().mean()
viz.image_row(
    [stepped_over[0], averaged[0], first[0]],
    ["plain warp", "with levels", "drawn at 64 x 64"],
    scale=4,
    alt="The face at a quarter of its size: with jagged edges; smooth; and as it is drawn at that size, much like the second.",
)

# %% [markdown]
# *What your warp draws: the middle of the face of 256 x 256 pixels, made four times smaller by a flow. Right: the same
# face, drawn at that size.*
#
# <details>
# <summary>Solution</summary>
#
# ```python
# def smooth_warp(image, flow, halvings=3):
#     h, w = image.shape[-2:]
#     places = lfdm.identity_grid(h, w) + flow
#     at = torch.stack([to_pixels(places[:, 0], w), to_pixels(places[:, 1], h)], dim=1)
#     across = F.pad(at.diff(dim=3), (0, 1, 0, 0), mode="replicate")
#     down = F.pad(at.diff(dim=2), (0, 0, 0, 1), mode="replicate")
#     step = torch.maximum(across.norm(dim=1, keepdim=True), down.norm(dim=1, keepdim=True))
#     level = step.clamp(min=1).log2().clamp(max=halvings)
#     smaller, blended = image, 0
#     for n in range(halvings + 1):
#         blended = blended + (1 - (level - n).abs()).clamp(min=0) * sample_at(smaller, places)
#         smaller = F.avg_pool2d(smaller, 2)
#     return blended
#
#
# assert check_smooth_warp(smooth_warp) == "solved"
# whole = smooth_warp(fine, small_flow)[..., 96:160, 96:160]
# assert_close(whole, averaged, atol=1e-4, rtol=0)
# ```
#
# Part 4 is the tent once more, over levels instead of pixels. Graphics cards call this a mipmap with trilinear
# filtering. Where a flow squeezes in one direction alone, the longer step blurs the other direction, too.
#
# </details>
#
# **6. Explore** (half an hour, medium). The basin of a blob is about $4 \tau$. What if you *blur* source and target
# before descent, by a Gaussian of standard deviation $\varrho$ pixels, instead of shrinking them? A blurred blob is a
# blob again, of standard deviation $\sqrt{\tau^2 + \varrho^2}$, so you can predict the basin before you measure it.
#
# *Where to begin*: `descend` with two blurred blobs; the height sinks to $\tau^2 / (\tau^2 + \varrho^2)$, so enlarge
# what goes into the loss by its inverse, or the step is too short. *What to plot*: the basin over $\varrho$ for $\tau =
# 1.5$, with the line $4 \sqrt{\tau^2 + \varrho^2}$. *A good answer* says how far line and measurement part, what blur
# costs once the blob is found, and in which order you would use several $\varrho$.
#
# <details>
# <summary>Solution</summary>
#
# ```python
# def basin_of_blurred(tau, rho):
#     wider = math.sqrt(tau**2 + rho**2)
#     pairs = {d: (blob(40.5, wider), blob(40.5 - d, wider)) for d in range(2, 24, 2)}
#     return max(d for d, pair in pairs.items() if abs(descend(*pair)[-1] - d) < 0.5)
#
#
# measured = {rho: basin_of_blurred(1.5, rho) for rho in (0.0, 2.0, 4.0)}
# predicted = {rho: 4 * math.sqrt(1.5**2 + rho**2) for rho in measured}
# print(measured, predicted)
# assert all(abs(measured[rho] - predicted[rho]) < 0.4 * predicted[rho] for rho in measured)
# ```
#
# The basin grows as predicted, to within two pixels. What blur costs is depth: the height counts squared in the loss, so
# with $\varrho = 4$ the curvature at the truth is $\pi\, (2.25 / 18.25)^2$, which is 1.5 % of what it was, and any noise
# moves the lowest point further. A wide pit finds the place, and a narrow one fixes it: begin wide, and end sharp.
#
# </details>
#
# **7. Explore** (an evening, hard). Replace the tent by a smoother weight with four neighbours a direction, the cubic
# of Keys ($a = -1/2$; `grid_sample` has a cubic with $a = -3/4$). Repeat three experiments: ten warps of 3 degrees, one
# slide of half a latent pixel, and the basin of a blob. What is gained, what is lost? Which property of the tent does
# the cubic not have?
#
# *Where to begin*: `grid_sample` with `mode="bicubic"`. *What to plot*: for each experiment the tent and the cubic side
# by side. *A good answer* has three pairs of numbers, and names a place in LFDM where the cubic would do harm.
#
# <details>
# <summary>Solution</summary>
#
# ```python
# def cubic_warp(features, flow):
#     at = (lfdm.identity_grid(*flow.shape[-2:]) + flow).movedim(1, -1)
#     return F.grid_sample(features, at, mode="bicubic", padding_mode="border", align_corners=False)
#
#
# turned_cubic = first
# for _ in range(10):
#     turned_cubic = cubic_warp(turned_cubic, rotation(3))
# print(f"sharpness left: cubic {sharpness(turned_cubic) / sharpness(first):.0%}, tent {left[1]:.0%}")
# print(f"lowest and highest value: {turned_cubic.min():.2f}, {turned_cubic.max():.2f}")
# truth = autoencoder.encode(cubic_warp(first, slide(2, 64)))[..., 3:-6]  # half a latent pixel
# by_cubic = relative(cubic_warp(z0, slide(2, latent_size))[..., 3:-6], truth)
# print(f"half a latent pixel: cubic {by_cubic:.2f}, tent {between_orders[4]:.2f}")
# ```
#
# Pictures stay much sharper over many warps. The slide by half a latent pixel improves only a little: what
# the encoder says between two places is no smooth curve through what it says at them. The basins hardly grow: put
# `cubic_warp` into `loss_of`, and you find 5, 12 and 26 pixels. They are those of the blob. The cubic has
# negative weights, so values can leave the range of their neighbours, and an occlusion map can leave $[0, 1]$.
#
# </details>
#
# ## What the authors did
#
# The paper warps the latent map bilinearly by a backward flow and multiplies with the occlusion map, as you did
# {cite:p}`ni2023lfdm`. Their published code differs in places that you can now judge. All but the third are switches of
# `lfdm_lite`, measured in [what differs from the published code](differences.md).
#
# * Grids put the outermost pixel *centres* at $-1$ and $1$, and sampling takes these numbers for the *edges*: the mixed
#   corners of the gallery. Networks that were trained with the slip depend on it.
# * Outside the picture they find zeros; we repeat the border.
# * Their flow has the size of the latent map. Ours is twice as wide, and is resized for each map that it moves.
# * They resize absolute positions, not displacements. A displacement of zero stays zero, while positions that are
#   resized are drawn inward near the border.
# * At the end their decoder's picture is blended with the warped *source image*, where the source is visible. Ours
#   paints the whole picture.
#
# ## Further reading
#
# * {cite:t}`jaderberg2015stn`: bilinear sampling as a layer with a gradient; the equations of this chapter.
# * {cite:t}`siarohin2021mraa`: the warp with an occlusion map that LFDM builds on.
# * {cite:t}`siarohin2019fomm`: the same with keypoints in place of regions.
# * {cite:t}`keys1981cubic`: the cubic weights of the last exercise.
