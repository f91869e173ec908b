# ---
# jupyter:
#   book:
#     equals:
#       fetch_v1: lfdm_lite.autoencoder.fetch
#       pixel_centres: lfdm_lite.geometry.identity_grid
#       resize_v2: lfdm_lite.geometry.resize
#       sample_v3: lfdm_lite.geometry.sample_at
#       warp_v3: lfdm_lite.geometry.warp
#     goals:
#     - compute a warped pixel and its gradient with pencil and paper
#     - say where a pixel is, and find the half pixel that mixed conventions lose
#     - compose, invert and resize flows
#     - say what a coarse flow can move, and what occlusion has to do with ghosts
#     - predict whether gradient descent will repair a wrong flow, or get stuck
#     minutes: 45
#     peak_mb: 570
#     prerequisites:
#     - chapter 01, for backward flow and visibility
#     - partial derivatives and the chain rule
#     - PyTorch tensors and autograd
#     seconds: 13
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
# **At the end you can**
#
# * compute a warped pixel and its gradient with pencil and paper;
# * say where a pixel is, and find the half pixel that mixed conventions lose;
# * compose, invert and resize flows;
# * say what a coarse flow can move, and what occlusion has to do with ghosts;
# * predict whether gradient descent will repair a wrong flow, or get stuck.
#
# **You need** [chapter 1](01_video_as_motion.ipynb) for backward flow and visibility, partial derivatives and
# the chain rule, and autograd. **It takes** 45 minutes to read, and about 13 seconds and 570 MB of memory to
# run on two CPU cores.
#
# ![The block diagram of the whole system. The box in the middle, warp by flow, times occlusion, is highlighted; encoder, decoder and diffusion model are pale.](../assets/figures/road_03.svg)
#
# *Where you are: between encoder and decoder. Nothing in this box is trained. Everything that is trained sends its
# gradient through it.*

# %% [markdown]
# ## Where is a pixel?
#
# The toy of this chapter is a row of four pixels. Normalized coordinates run from $-1$ to $1$ over the picture. That
# sentence has two readings. Either $-1$ and $1$ are the *outer edges* of the first and the last pixel, or they are
# the *centres* of the first and the last pixel. For column $i$ of $W$, counted from 0, the first reading gives
#
# $$x_i = \frac{2 i + 1}{W} - 1$$
#
# and the second gives $2 i / (W - 1) - 1$. This book, and `lfdm_lite`, take the first everywhere. PyTorch knows both,
# as `align_corners=False` and `align_corners=True`.

# %%
import math
from typing import Literal

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

import lfdm_lite as lfdm
from lfdm_lite import viz
from lfdm_lite.autoencoder import fetch
from lfdm_lite.geometry import resize, sample_at


def centres(size: int) -> Tensor:
    return (2 * torch.arange(size) + 1) / size - 1


def corner_centres(size: int) -> Tensor:
    return 2 * torch.arange(size) / (size - 1) - 1


print("edges are -1 and 1:  ", centres(4).tolist())
print("centres are -1 and 1:", [round(x, 3) for x in corner_centres(4).tolist()])

# %% [markdown]
# A grid holds both coordinates of every pixel centre: channel 0 is $x$, to the right, and channel 1 is $y$, down.

# %%
def pixel_centres(h: int, w: int) -> Tensor:
    x, y = centres(w), centres(h)
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)])  # (2, h, w)


grid = pixel_centres(3, 4)
assert grid.shape == (2, 3, 4)
assert_close(grid, lfdm.identity_grid(3, 4))  # the library's
assert_close(grid, -grid.flip(1, 2))  # the middle of the picture is 0
print("grid:", tuple(grid.shape))

# %% [markdown]
# What goes wrong when one part of a program writes by one convention and another part reads by the other? Say the
# numbers come from the second convention, and are read by the first. Reading turns a coordinate $x$ into a column
# position $a$ in pixels, which is 0 at the centre of the first pixel:
#
# $$a = \frac{(x + 1)\, W - 1}{2}$$
#
# Put $x = 2 i / (W - 1) - 1$ into it. Column $i$ should be found at $a = i$. It is missed by
#
# $$\Delta_i = \frac{i}{W - 1} - \frac{1}{2}$$

# %%
def to_pixels(x: Tensor, size: int) -> Tensor:
    return ((x + 1) * size - 1) / 2


for size in (4, 16, 64):
    i = torch.arange(size)
    assert_close(to_pixels(centres(size), size), i.float())  # the same convention twice: nothing is lost
    missed = to_pixels(corner_centres(size), size) - i
    assert_close(missed, i / (size - 1) - 1 / 2)
    print(f"W = {size:2}: missed by up to {missed.abs().max().item():.3f} pixels")

# %% mystnb={"image": {"alt": "Three rows, each a strip of four square pixels. In the first, dots at the pixel centres are labelled -0.75, -0.25, 0.25, 0.75, and -1 and 1 mark the outer edges. In the second, the same dots are labelled -1, -0.33, 0.33, 1. In the third, arrows lead from each centre to where it is looked up: half a pixel outward at both ends, a sixth of a pixel in the middle."}}
figure, axes = plt.subplots(3, 1, figsize=(7, 4.2))
rows = {
    "edges are -1 and 1": (centres(4), torch.arange(4.0)),
    "centres are -1 and 1": (corner_centres(4), torch.arange(4.0)),
    "written by the second, read by the first": (corner_centres(4), to_pixels(corner_centres(4), 4)),
}
for ax, (title, (x, found)) in zip(axes, rows.items(), strict=True):
    ax.bar(range(4), 1, width=1, color="#e8eef4", edgecolor="#1f3b57")
    ax.plot(range(4), [0.5] * 4, "o", color="#1f3b57")
    for i in range(4):
        ax.text(i, 0.13, f"{x[i]:.2f}", ha="center", bbox=dict(facecolor="white", edgecolor="none", pad=1))
        if found[i] != i:
            ax.annotate("", (found[i], 0.5), (i, 0.5), arrowprops=dict(arrowstyle="->", color="#b35900", lw=2))
    ax.set(xlim=(-0.8, 3.8), ylim=(0, 1), yticks=[], xticks=[-0.5, 0, 1, 2, 3, 3.5], title=title)
figure.tight_layout()
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

for a_, b_ in zip(a, b, strict=True):
    assert math.isclose(look_up(torch.ones(4, 4), a_, b_), 1, abs_tol=1e-6)
    assert math.isclose(look_up(plane, a_, b_), 2 * a_ - 3 * b_ + 1, abs_tol=1e-5)
    corner = toy[int(b_) : int(b_) + 2, int(a_) : int(a_) + 2]
    assert corner.min() - 1e-6 <= look_up(toy, a_, b_) <= corner.max() + 1e-6
assert all(look_up(toy, i, j) == toy[j, i] for j in range(4) for i in range(4))
print("exact at centres, constant and even slopes kept, no overshoot: 100 positions")

# %% mystnb={"image": {"alt": "Left: a square of four pixels with a cross inside at 0.7 to the right and 0.4 down. Lines through the cross cut the square into four rectangles, each labelled with its area, the weight of the pixel at the opposite corner. Right: the 4 by 4 toy as a smooth surface in grey, with dots at pixel centres."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4))
a_, b_ = 0.7, 0.4
for i, j, hatch in ((0, 0, "/"), (1, 0, "\\"), (0, 1, "."), (1, 1, "x")):
    weight = tent(a_ - i) * tent(b_ - j)
    corner = (0 if i else a_, 0 if j else b_)  # the rectangle across from pixel (i, j)
    size = (a_ if i else 1 - a_, b_ if j else 1 - b_)
    left.add_patch(plt.Rectangle(corner, *size, facecolor="#e8eef4", edgecolor="#7f9bb5", hatch=hatch))
    middle = (corner[0] + size[0] / 2, corner[1] + size[1] / 2)
    left.text(*middle, f"{weight:.2f}", ha="center", va="center", bbox=dict(facecolor="white", edgecolor="none"))
    left.plot(i, j, "o", color="#1f3b57", markersize=10)
left.plot(a_, b_, "P", color="#b35900", markersize=12)
left.set(xlim=(-0.1, 1.1), ylim=(1.1, -0.1), aspect="equal", title="weights are areas", xlabel="a", ylabel="b")
fine = [[look_up(toy, a_ / 10, b_ / 10) for a_ in range(31)] for b_ in range(31)]
right.imshow(fine, cmap="gray", extent=(0, 3, 3, 0))
right.plot(*torch.cartesian_prod(torch.arange(4), torch.arange(4)).T, "o", color="#b35900", markersize=4)
right.set(title="the toy between its pixels", xlabel="a", ylabel="b")
figure.tight_layout()
plt.show()
assert fine[20][10] == toy[2, 1]
print("row 2, column 1 keeps its value:", fine[20][10] == toy[2, 1].item())

# %% [markdown]
# *Left: the cross looks between four pixels. Each pixel's weight is the area of the rectangle on the opposite side of
# the cross; the nearer, the larger. Right: the toy read at 31 x 31 positions; dots are its pixels.*
#
# ### Version 1: a loop over pixels
#
# Now the warp. For every pixel of the new map: where is it, where does the flow point, what is found there? For now
# we agree that a position outside the map is moved to the nearest position inside.

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
print("warped toy:", tuple(by_loop.shape))

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
edges = torch_sample(toy, (2 * a + 1) / 4 - 1, (2 * b + 1) / 4 - 1, align_corners=False)
corners = torch_sample(toy, 2 * a / 3 - 1, 2 * b / 3 - 1, align_corners=True)
mixed = torch_sample(toy, 2 * a / 3 - 1, 2 * b / 3 - 1, align_corners=False)

assert_close(edges, by_hand, atol=1e-5, rtol=0)
assert_close(corners, by_hand, atol=1e-5, rtol=0)
assert (mixed - by_hand).abs().max() > 0.5
print("each convention agrees with the definition; mixed, values are off by up to 0.5 and more")

# %% [markdown]
# ## Borders
#
# What is found outside the map is a choice. We moved the position to the nearest one inside: the *border* repeats.
# The sum as it stands says something else: outside there is no pixel, so no weight, so *zero*. Both exist in
# PyTorch (`padding_mode`) and in the library (`outside`).

# %% mystnb={"image": {"alt": "Line plot of the looked-up value against the position a from -2.5 to 5.5 in a row of four pixels. Both lines agree between positions 0 and 3. Outside, the solid line stays at the border values, the dashed line falls to zero within one pixel."}}
row = torch.tensor([2.0, 4, 1, 3])
a = torch.linspace(-2.5, 5.5, 161)
x = (2 * a + 1) / 4 - 1
border = torch.tensor([look_up(row[None], min(max(a_, 0), 3), 0) for a_ in a.tolist()])
zeros = torch.tensor([look_up(row[None], a_, 0) for a_ in a.tolist()])
plt.figure(figsize=(6.4, 3))
plt.plot(a, border, "-", color="#1f3b57", label="border repeats")
plt.plot(a, zeros, "--", color="#b35900", label="zeros outside")
plt.plot(range(4), row, "o", color="black", label="pixels")
plt.xlabel("position a, in pixels")
plt.legend()
plt.show()

at = torch.stack([x, 0 * x])[None, :, None]  # (1, 2, 1, 161)
assert_close(sample_at(row[None, None, None], at)[0, 0, 0], border, atol=1e-5, rtol=0)
assert_close(sample_at(row[None, None, None], at, outside="zeros")[0, 0, 0], zeros, atol=1e-5, rtol=0)
print("beyond the last pixel:", border[-1].item(), "or", zeros[-1].item())

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
# $1 - (a - i)$ and $a - i$. The same holds down. So we *gather* four values for every pixel, and mix them.

# %%
def warp_v2(features: Tensor, flow: Tensor) -> Tensor:
    """Features (c, h, w), normalized backward flow (2, h, w) -> features (c, h, w)."""
    h, w = flow.shape[-2:]
    x, y = pixel_centres(h, w) + flow
    a, b = to_pixels(x, w).clamp(0, w - 1), to_pixels(y, h).clamp(0, h - 1)  # (h, w)
    i, j = a.floor().long(), b.floor().long()
    right, down = (i + 1).clamp(max=w - 1), (j + 1).clamp(max=h - 1)
    a, b = a - i, b - j  # how far beyond the left column and the upper row
    upper = (1 - a) * features[:, j, i] + a * features[:, j, right]
    lower = (1 - a) * features[:, down, i] + a * features[:, down, right]
    return (1 - b) * upper + b * lower


assert_close(warp_v2(toy[None], flow)[0], by_loop, atol=1e-5, rtol=0)

wide = torch.randn(5, 6, 9, generator=torch.Generator().manual_seed(3))  # several channels, not square
wide_flow = 0.5 * torch.randn(2, 6, 9, generator=torch.Generator().manual_seed(4))
at = (pixel_centres(6, 9) + wide_flow).movedim(0, -1)[None]
expected = F.grid_sample(wide[None], at, padding_mode="border", align_corners=False)[0]
assert_close(warp_v2(wide, wide_flow), expected, atol=1e-5, rtol=0)
print("equal to the loop, and to grid_sample on", tuple(wide.shape))

# %% [markdown]
# ## The gradient, by hand
#
# A network that predicts a flow learns from the derivative of a loss $\ell$ with respect to that flow. A network that
# makes features learns from the derivative with respect to the features. Both pass through the warp. Autograd knows
# them; we want to know what they *say*. Let $G = \partial \ell / \partial \hat Z$ be what arrives at one pixel of
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
    x, y = pixel_centres(h, w) + flow
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
# Held against autograd through our own version 2, and through `grid_sample`:

# %%
G = torch.randn(4, 4, generator=torch.Generator().manual_seed(5))
to_Z, to_flow = warp_backward(toy, flow, G)

warps = {
    "version 2": lambda Z, f: warp_v2(Z[None], f)[0],
    "library": lambda Z, f: lfdm.warp(Z[None, None], f[None])[0, 0],
}
for name, function in warps.items():
    Z, f = toy.clone().requires_grad_(), flow.clone().requires_grad_()
    (G * function(Z, f)).sum().backward()
    assert_close(to_Z, Z.grad, atol=1e-5, rtol=1e-5)
    assert_close(to_flow, f.grad, atol=1e-4, rtol=1e-5)
    print(f"by hand = autograd through {name}")
assert_close(to_Z.sum(), G.sum())  # scattering loses nothing

# %% [markdown]
# And against the definition of a derivative: push the position a little.

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
print("by hand = finite differences:", tuple(numeric.shape))

# %% mystnb={"image": {"alt": "Two plots above each other over the position from -1.5 to 4.5. The upper shows the value read from four pixels, straight pieces with kinks at the pixels. The lower shows its slope, a staircase that is zero outside the pixels and jumps at each pixel."}}
a = torch.linspace(-1.5, 4.5, 241) + 0.01
reads = (2 * a + 1) / 4 - 1 - centres(4)[0]  # flows of a pixel in column 0
value, slope = [], []
for f_x in reads:
    strip = torch.zeros(2, 1, 4).index_fill(2, torch.tensor([0]), f_x.item()) * torch.tensor([1.0, 0])[:, None, None]
    value.append(warp_v2(row[None, None], strip)[0, 0, 0].item())
    slope.append(warp_backward(row[None], strip, torch.tensor([[1.0, 0, 0, 0]]))[1][0, 0, 0].item() / 2)  # W / 2 = 2

figure, (above, below) = plt.subplots(2, 1, figsize=(6.4, 4), sharex=True)
above.plot(a, value, color="#1f3b57")
above.plot(range(4), row, "o", color="black")
above.set_ylabel("value")
below.plot(a, slope, ".", color="#b35900", markersize=3)
below.set(ylabel="slope per pixel", xlabel="position a, in pixels")
plt.show()

levels = sorted({round(s, 3) for s in slope})
assert levels == [-3, 0, 2]
print("the slope takes the values", levels)

# %% [markdown]
# *Top: what is read from the row of four pixels. Bottom: its derivative. It knows nothing but the difference of the
# two neighbours: a staircase, zero outside, with a jump at every pixel centre. A zero flow stands exactly on such a
# jump; there autograd takes one of the two sides.*
#
# Keep the staircase in mind. A wrong flow sees as far as one pixel. Everything in the section on wrong flows follows
# from it.

# %% [markdown]
# ## Version 3: batches, videos, occlusion
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
anywhere = 3 * torch.rand(2, 2, 4, 6, generator=torch.Generator().manual_seed(7)) - 1.5  # a quarter is outside
for outside in ("border", "zeros"):
    assert_close(sample_v3(maps, anywhere, outside), sample_at(maps, anywhere, outside), atol=1e-5, rtol=0)
print("equal to the library's look-up:", tuple(sample_v3(maps, anywhere).shape))

# %% [markdown]
# Then the three uses: one map and one flow; one map that all frames of a video look up, which is what LFDM does with
# $z_0$; and a video whose frames each have their own flow. The middle one needs no copies of the map: lay the
# flows of all frames below each other, and read the map with one tall grid. At last the product with the occlusion
# map: a feature counts as far as it was visible.

# %% tags=["assembly"]
def warp_v3(features: Tensor, flow: Tensor, occlusion: Tensor | None = None, outside="border") -> Tensor:
    """Features (b, c, h, w) or (b, c, t, h, w), flow (b, 2, h, w) or (b, 2, t, h, w) -> features, one a flow."""
    if features.shape[-2:] != flow.shape[-2:] or features.shape[0] != flow.shape[0] or features.ndim > flow.ndim:
        raise ValueError(f"features {tuple(features.shape)} and flow {tuple(flow.shape)} do not fit")
    b, c = features.shape[:2]
    h, w = flow.shape[-2:]
    if flow.ndim == 4:  # one map, one flow
        warped = sample_v3(features, pixel_centres(h, w) + flow, outside)
    else:
        grid = pixel_centres(h, w)[:, None] + flow  # (b, 2, t, h, w)
        if features.ndim == 4:  # one map for all frames
            warped = sample_v3(features, grid.flatten(2, 3), outside).view(b, c, -1, h, w)
        else:  # frame by frame
            frames = sample_v3(features.transpose(1, 2).flatten(0, 1), grid.transpose(1, 2).flatten(0, 1), outside)
            warped = frames.unflatten(0, (b, -1)).transpose(1, 2)
    return warped if occlusion is None else occlusion * warped

# %%
generator = torch.Generator().manual_seed(8)
image = torch.randn(2, 3, 5, 7, generator=generator)
video = torch.randn(2, 3, 4, 5, 7, generator=generator)
flows = 0.5 * torch.randn(2, 2, 4, 5, 7, generator=generator)
visible = torch.rand(2, 1, 4, 5, 7, generator=generator)

cases = {
    "one map, one flow": (image, flows[:, :, 0], visible[:, :, 0]),
    "one map, a video of flows": (image, flows, visible),
    "frame by frame": (video, flows, visible),
}
for name, (features, f, m) in cases.items():
    for outside in ("border", "zeros"):
        assert_close(warp_v3(features, f, m, outside), lfdm.warp(features, f, m, outside), atol=1e-5, rtol=0)
    print(f"{name}: {tuple(warp_v3(features, f, m).shape)}, equal to lfdm_lite.warp")
assert_close(warp_v3(image, flows)[:, :, 2], warp_v3(image, flows[:, :, 2]))  # a video is its frames
assert torch.finfo(torch.bfloat16).eps * 64 / 2 == 1 / 4  # pixels of 64, between 1 and the next bfloat16

# %% [markdown]
# That is `lfdm_lite.warp`. The library hands the look-up itself to `grid_sample`, which is compiled. It also keeps
# coordinates in float32 when a network runs in bfloat16, the half-size numbers of fast training: from 1 to the next
# larger one is $2^{-7}$, a quarter of a pixel of 64. From here on we use the library's.

# %% [markdown]
# ## A true flow, to the last visible pixel
#
# Now the second running example, from [chapter 1](01_video_as_motion.ipynb): a drawn clip, for which the true flow
# and the true visibility of every frame are known. If warping is right, then frame 0 warped by the true flow *is*
# frame $t$, wherever frame $t$ shows what frame 0 showed.

# %%
def clip_at(size: int) -> dict:
    """One clip of the validation set, drawn at this size, with a batch axis."""
    clip = lfdm.data.Faces("val", size=size)[13]
    return {key: clip[key][None].float() for key in ("video", "flow", "visible")} | {"label": clip["label_name"]}


def mean_error(one: Tensor, other: Tensor, mask: Tensor) -> float:
    return ((one - other).abs().mean(dim=1, keepdim=True) * mask).sum().item() / mask.sum().item()


clip = clip_at(64)
t = 13
first, frame = clip["video"][:, :, 0], clip["video"][:, :, t]  # (1, 3, 64, 64)
true_flow, visible = clip["flow"][:, :, t], clip["visible"][:, :, t]  # (1, 2, 64, 64), (1, 1, 64, 64)
warped = lfdm.warp(first, true_flow)

error = mean_error(warped, frame, visible)
assert error < 0.5 * mean_error(first, frame, visible) and error < 0.1 * mean_error(warped, frame, 1 - visible)
print(clip["label"], "- longest flow:", round(32 * true_flow.norm(dim=1).max().item()), "pixels")
viz.image_row(
    [first[0], frame[0], warped[0], 0.85 * visible[0], lfdm.flow_to_rgb(true_flow)[0]],
    ["frame 0", "frame 13", "warped", "visible", "true flow"],
    alt="A drawn face at rest; the same head turned, frowning; frame 0 warped, like the second but with double hair edges and a closed mouth; the visible places in light grey, the hidden ones in black; the flow in colours.",
)

# %% [markdown]
# *From left: what is given; what should come out; what the warp makes of it; where it can be right (light); and the
# flow, hue for direction and depth for length. In the light places the third picture is like the second. In the
# black ones, at the hair and in the mouth, it shows something else.*
#
# Is the small error that is left a mistake in the flow? Then it would stay. If it is only the softness of bilinear
# sampling at edges, a finer drawing of the same clip must have less of it.

# %% mystnb={"image": {"alt": "Line plot on logarithmic axes of the mean error against the picture's size, 32 to 256. For visible pixels it falls by a little less than half with each doubling. For hidden pixels it stays, about thirty times as high or more."}}
sizes = [32, 64, 128, 256]
on_visible, on_hidden = [], []
for size in sizes:
    drawn = clip_at(size)
    at_size = lfdm.warp(drawn["video"][:, :, 0], drawn["flow"])
    on_visible.append(mean_error(at_size, drawn["video"], drawn["visible"]))
    on_hidden.append(mean_error(at_size, drawn["video"], 1 - drawn["visible"]))

plt.figure(figsize=(6, 3.2))
plt.loglog(sizes, on_visible, "o-", color="#1f3b57", label="visible in frame 0")
plt.loglog(sizes, on_hidden, "s--", color="#b35900", label="hidden in frame 0")
plt.gca().set(xlabel="width and height, pixels", ylabel="mean error")
plt.xticks(sizes, sizes)
plt.minorticks_off()
plt.legend()
plt.show()

halved = [coarse / fine for coarse, fine in zip(on_visible[:-1], on_visible[1:], strict=True)]
assert min(halved) > 1.5 and min(on_hidden) > 10 * max(on_visible)
print("each doubling divides the visible error by", [round(ratio, 1) for ratio in halved])

# %% [markdown]
# *Mean absolute difference between warped and true frames, over the whole clip. The error on visible pixels nearly
# halves with every doubling, as the share of edge pixels does: the flow is exact. The error on hidden pixels does
# not care. No flow can bring what frame 0 does not show.*

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
assert_close(compose(rotation(10), rotation(15)) * middle, rotation(25) * middle, atol=1e-5, rtol=0)
assert_close(compose(rotation(10), torch.zeros(1, 2, 64, 64)), rotation(10), atol=1e-5, rtol=0)
wrong = (rotation(10) + rotation(15) - rotation(25)) * middle  # adding without following
print("turns add up: 10 + 15 = 25 degrees; adding flows instead errs by", f"{32 * wrong.norm(dim=1).max():.1f} pixels")

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
print("sharper by composing first:", left[0] > 1.3 * left[1])
viz.image_row(
    [first[0], once[0], turned[0]],
    ["given", "composed, then 1 warp", "10 warps"],
    scale=3,
    alt="The face upright; turned by 30 degrees with sharp features; turned by 30 degrees with blurred features.",
)

# %% [markdown]
# *Turned by 30 degrees in ten steps of 3. Middle: the steps are composed, the picture is looked up once. Right: the
# picture is looked up ten times. Compare the rays behind the head and the eyes.*
#
# ### Inverse
#
# The inverse of $f$ is the flow $g$ that leads back: $f \circ g = 0$. Written out, $g(\mathbf p) = -f(\mathbf p +
# g(\mathbf p))$. So $-f$ is *not* the inverse: it is looked up at the wrong end of the way. But an equation of the
# form $g = \text{something of } g$ invites iteration:
#
# $$g_{k+1}(\mathbf p) = -f(\mathbf p + g_k(\mathbf p)), \qquad g_0 = 0$$

# %%
def inverse(f: Tensor, iterations: int = 20) -> Tensor:
    g = torch.zeros_like(f)
    for _ in range(iterations):
        g = -lfdm.warp(f, g)
    return g


def pixels_off(g: Tensor, truth: Tensor) -> float:
    return 32 * ((g - truth) * inner).norm(dim=1).max().item()


inner = (lfdm.identity_grid(64, 64).norm(dim=0) < 0.5).float()[None, None]
assert pixels_off(inverse(rotation(20)), rotation(-20)) < 1e-3
print("-f is off by up to", f"{pixels_off(-rotation(20), rotation(-20)):.1f} pixels, twenty iterations by 0.0")

# %% [markdown]
# When does it converge? Take two candidates for $g$, a little apart. One iteration brings them closer if $f$ changes
# by less than one pixel per pixel. For a turn the rate is known: $f$ changes by twice the sine of half the angle per unit, so every
# iteration should shrink the error by this factor.

# %% mystnb={"image": {"alt": "Line plot with a logarithmic vertical axis: largest error of the iterated inverse in pixels against the number of iterations, for turns of 10, 20 and 40 degrees. Measured markers lie on straight predicted lines; the larger the turn, the slower the fall."}}
plt.figure(figsize=(6, 3.2))
for degrees, marker in ((10, "o"), (20, "s"), (40, "^")):
    off = [pixels_off(inverse(rotation(degrees), k), rotation(-degrees)) for k in range(7)]
    rate = 2 * math.sin(math.radians(degrees) / 2)
    plt.semilogy(off, marker, label=f"{degrees} degrees")
    plt.semilogy([off[0] * rate**k for k in range(7)], "-", color="gray", zorder=0)
    measured = off[4] / off[3]
    assert abs(measured - rate) < 0.05 * rate
    print(f"{degrees} degrees: predicted rate {rate:.2f}, measured {measured:.2f}")
plt.gca().set(xlabel="iterations k", ylabel="largest error, pixels")
plt.legend()
plt.show()

# %% [markdown]
# *Markers: measured, in a disc around the middle. Grey lines: the error of $g_0 = 0$ times the predicted rate, again
# and again. At 60 degrees the rate is 1: from there on the iteration comes no nearer.*
#
# A true flow of a clip has no inverse everywhere. A place of frame 0 that is covered in frame $t$ is fetched by no
# pixel of frame $t$, and there the inverse flow has no answer. Comparing $f \circ g$ with zero finds such places; you do that in an exercise.

# %% [markdown]
# ## Resizing a flow
#
# LFDM's flow lives on the grid of the latent map, 16 x 16 in our model. A normalized flow keeps its *values* when it
# is resized: a quarter of the picture is a quarter of the picture. (A flow in pixels has to be scaled as well; that is
# why ours is not in pixels.) Its *grid* changes. To enlarge a map, look it up at the centres of the new pixels:

# %%
def resize_v1(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (b, c, h, w) -> (b, c, *size), by looking up the new pixels' centres."""
    return sample_v3(maps, pixel_centres(*size).expand(len(maps), 2, *size))


small = torch.randn(1, 2, 5, 7, generator=torch.Generator().manual_seed(9))
assert_close(resize_v1(small, (10, 21)), resize(small, (10, 21)), atol=1e-5, rtol=0)  # larger: the library's
large = torch.randn(1, 2, 64, 64, generator=torch.Generator().manual_seed(10))
gap = (resize_v1(large, (16, 16)) - resize(large, (16, 16))).abs().max()
assert gap > 0.5
print("equal when it grows:", True, " equal when it shrinks:", bool(gap < 1e-3))

# %% [markdown]
# To shrink a map by four, version 1 looks at four pixels of every sixteen, and misses the rest. The library widens
# the tent, so that every old pixel is counted: to half-width $n$, the ratio of the sizes, or 1 when the map grows. New
# column $k$ of $W'$ has its centre at the old position $a_k$. Its value is a weighted mean, with the weights
#
# $$S_{ki} = \frac{\Lambda((a_k - i) / n)}{\sum_{i'} \Lambda((a_k - i') / n)}, \qquad n = \max(1,\, W / W')$$
#
# Rows and columns are done by one matrix each: $Z' = S_h\, Z\, S_w^\top$. One formula holds for both directions. At the
# border, dividing by the sum means that the border repeats.

# %%
def tents(old: int, new: int) -> Tensor:
    n = max(1, old / new)
    a = to_pixels(centres(new), old)  # old positions of the new centres
    weights = (1 - (a[:, None] - torch.arange(old)).abs() / n).clamp(min=0)  # (new, old)
    return weights / weights.sum(dim=1, keepdim=True)


def resize_v2(maps: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Maps (b, c, h, w) or (b, c, t, h, w) -> the same with another height and width."""
    h, w = (size, size) if isinstance(size, int) else size
    return tents(maps.shape[-2], h) @ maps @ tents(maps.shape[-1], w).T


for size in ((16, 16), (128, 96), (7, 64), (5, 200)):
    assert_close(resize_v2(large, size), resize(large, size), atol=1e-4, rtol=0)
assert_close(resize_v2(clip["flow"], 16), resize(clip["flow"], 16), atol=1e-5, rtol=0)
assert_close(tents(64, 16).sum(dim=1), torch.ones(16))
print("equal to lfdm_lite.geometry.resize:", tuple(resize_v2(clip["flow"], 16).shape))

# %% [markdown]
# ### What a coarse flow cannot move
#
# A flow of 16 x 16 has one answer for a place of 4 x 4 pixels. What if a bar moves over a background that stands
# still, and the bar is thinner than that? We draw this scene, with its true flow and visibility, for bars of any width.

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
print("the true flow is exact on visible pixels: 6 pixels wide")

# %% [markdown]
# Now send the flow through the latent's grid and back, as LFDM must. How much of the bar's motion is left on the bar?

# %% mystnb={"image": {"alt": "Line plot of the share of its motion that a bar keeps, against its width from 1 to 32 pixels. For the 16 by 16 flow it rises from about a sixth at one pixel to more than nine tenths at 32; for the 32 by 32 flow it lies above."}}
widths = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
shares = {}
plt.figure(figsize=(6, 3.2))
for size, style in ((32, "s--"), (16, "o-")):
    shares[size] = []
    for width in widths:
        kept = []
        for start in range(12, 16):  # anywhere with respect to the coarse grid
            scene = bar_scene(width, start=start)
            back = resize(resize(scene["flow"], size), 64)[:, :1]
            kept.append((back * scene["bar"]).sum() / (scene["flow"][:, :1] * scene["bar"]).sum())
        shares[size].append(torch.stack(kept).mean().item())
    plt.plot(widths, shares[size], style, label=f"flow of {size} x {size}")
    assert sorted(shares[size]) == shares[size]  # wider bars keep more
plt.axvline(4, color="gray", linestyle=":")
plt.gca().set(xlabel="width of the bar, pixels", ylabel="share of its motion that is left", ylim=(0, 1))
plt.legend()
plt.show()
assert shares[16][0] < 0.3 and shares[16][-1] > 0.85
print("width:", widths)
print("% left on 16 x 16:", [round(100 * share) for share in shares[16]])

# %% [markdown]
# *Mean flow on the bar after it passed through a coarse grid, over its true flow. Dotted: one latent pixel. A bar of
# one pixel keeps a sixth of its motion and smears the rest over its neighbours. Even wide ones lose at their edges.*

# %%
shown = [bar_scene(width) for width in (2, 6, 16)]
coarse = [lfdm.warp(s["source"], resize(resize(s["flow"], 16), 64)) for s in shown]
full = [lfdm.warp(s["source"], s["flow"]) for s in shown]
for s, one, other in zip(shown, coarse, full, strict=True):
    assert mean_error(one, s["target"], s["bar"]) > 0.05 and mean_error(other, s["target"], s["bar"]) < 1e-5
print("full flow exact on the bar, coarse flow not: 3 scenes")
sources, targets = (torch.cat([s[key] for s in shown]) for key in ("source", "target"))
viz.contact_sheet(
    torch.cat([sources, targets, torch.cat(full), torch.cat(coarse)], dim=1)[:, None].expand(-1, 3, -1, -1, -1),
    ["2 wide", "6 wide", "16 wide"],
    frames=4,
    scale=2,
    numbers=False,
    alt="Three rows of four pictures: bar before, bar after, warped by the full flow with the bar at both places, warped by the coarse flow: the thin bar only where it was, the others short of their new place, the stripes to their right bent.",
)

# %% [markdown]
# *One row a width. From left: source, target, warped by the full flow, warped by the flow that was 16 x 16 once. The
# thin bar does not arrive at all. The middle one arrives at half its width, the wide one falls a little short. To its
# right, the ground that should stand still is bent, since it shares places with the bar.*
#
# A latent map can soften this. It holds many features at every place, so a decoder can be told of a thin line *within* a
# place. But a place has one flow: what shares a place moves together. The authors' sizes are a latent of 32 x 32 for
# pictures of 128 x 128, the same ratio of four.

# %% [markdown]
# ## Occlusion: what is not there to be fetched
#
# Look again at the third column, the full flow's: there are two bars. The flow is right. The background did not move, so its
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
print("dark columns: target, bare warp, blended:", dark)
viz.image_row(
    [p[0, 0] for p in (scene["source"], scene["target"], bare, 0.85 * scene["visible"], masked, blended)],
    ["source", "target", "bare warp", "m", "m x warp", "+ paint"],
    alt="A dark bar; the same bar further right; two bars; a light map with a black strip where the bar was; the second bar alone with a black gap; the gap filled with grey.",
)

# %% [markdown]
# *The ghost and its cure. The bare warp shows the bar where it is and where it was. The map $m$ is black where
# something came to light that the source hides. Multiplied, the ghost is blank; painted, it is gone.*
#
# The toy lets you count: 6 dark columns, 12, and 6 again. In the drawn face above it was the double edge of the
# hair, and lips inside the open mouth.
#
# ## Warping a latent map
#
# Everything so far moved pixels, or numbers that might be anything. LFDM moves $z_0$, the encoder's map. When is that
# the same as moving the picture first and encoding then? We load the trained encoder, slide the picture to the left
# by a number of pixels, and compare both orders.

# %%
model = lfdm.LFDM.from_pretrained(lfdm.asset("checkpoints/faces64"))
autoencoder = model.autoencoder.eval().requires_grad_(False)
z0 = autoencoder.encode(first)
stride = autoencoder.config.latent_stride
print("picture:", tuple(first.shape), " latent map:", tuple(z0.shape), " stride:", stride)


def slide(pixels: float, size: int) -> Tensor:
    """A flow that looks to the right by this many pixels of the 64, on a grid of any size."""
    return torch.tensor([pixels * 2 / 64, 0.0])[None, :, None, None].expand(1, 2, size, size)


def relative(one: Tensor, other: Tensor, mask: Tensor | float = 1.0) -> float:
    return (((one - other).square() * mask).sum() / (other.square() * mask).sum()).sqrt().item()

# %% mystnb={"image": {"alt": "Line plot of the relative difference between the two orders against the slide in pixels, 0 to 12. It touches zero at 0, 4, 8 and 12 pixels and has arches between."}}
slides = [d / 2 for d in range(25)]
apart = []
for d in slides:
    moved_first = autoencoder.encode(lfdm.warp(first, slide(d, 64)))
    encoded_first = lfdm.warp(z0, slide(d, 16))
    apart.append(relative(encoded_first[..., 3:-6], moved_first[..., 3:-6]))  # away from the borders

plt.figure(figsize=(6, 3))
plt.plot(slides, apart, "o-", color="#1f3b57")
for whole in (0, 4, 8, 12):
    plt.axvline(whole, color="gray", linestyle=":")
plt.gca().set(xlabel="slide, pixels of the picture", ylabel="relative difference", ylim=(-0.01, None))
plt.show()

at_whole, between = [apart[2 * d] for d in (0, 4, 8, 12)], [apart[2 * d] for d in (2, 6, 10)]
assert max(at_whole) < 0.01 < 0.1 < min(between)
print("whole latent pixels: same within 1 %:", max(at_whole) < 0.01, " half way: more than 10 %:", min(between) > 0.1)

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
    return masked if masked.ndim == 4 else masked.transpose(1, 2).flatten(0, 1)  # (b * t, c, h, w)


every_frame = lfdm.Motion(clip["flow"], clip["visible"])
one_frame = lfdm.Motion(true_flow, visible)
for motion in (one_frame, every_frame):
    assert_close(fetch_v1(z0, motion), fetch(z0, motion), atol=1e-4, rtol=1e-4)
    print("equal to lfdm_lite.autoencoder.fetch:", tuple(fetch_v1(z0, motion).shape))

# %%
z_t = autoencoder.encode(frame)  # the truth
flow16, m16 = resize(true_flow, 16), resize(visible, 16)
warped_z = lfdm.warp(z0, flow16)
far = {
    "z0 as it is": relative(z0, z_t),
    "warp(z0, f)": relative(warped_z, z_t),
    "m * warp(z0, f)": relative(m16 * warped_z, z_t),
    "the encoder on warped pixels, where m": relative(autoencoder.encode(warped), z_t, m16),
    "warp(z0, f), where m": relative(warped_z, z_t, m16),
}
assert far["z0 as it is"] > far["warp(z0, f)"] > far["m * warp(z0, f)"]
for name, distance in far.items():
    print(f"{name}: {distance:.2f}")

busiest = z_t[0].flatten(1).std(1).argmax()
maps = [m[0, busiest] / z_t[0, busiest].max() for m in (z0, warped_z, m16 * warped_z, z_t)]
viz.image_row(
    maps,
    ["z0", "warp(z0, f)", "m x warp", "z of frame 13"],
    alt="One channel of four latent maps in grey: of frame 0; warped; warped and masked; of frame 13. The second is turned like the fourth.",
)

# %% [markdown]
# *The channel that varies most. The numbers are distances to the last map, over its length. Warping brings $z_0$
# nearer, masking nearer still. On visible places, moving features costs little more than moving pixels and encoding
# again.*
#
# Then why move latents? Here is the count, and what the decoder makes of them. We warp pixels with a flow as coarse as
# the diffusion model draws it, and let the decoder paint with the same flow; then with the flow and occlusion that the
# auto-encoder estimates itself, having seen both frames. Pictures are compared by their PSNR in decibels: 10 more mean
# a tenth of the squared error.

# %%
def psnr(one: Tensor, other: Tensor) -> float:
    return (-10 * (one - other).square().mean().log10()).item()


estimated = autoencoder.estimate_motion(first, frame)
results = {
    "frame 0": first,
    "pixels warped, coarse true flow": lfdm.warp(first, resize(flow16, 64)),
    "decoded, coarse true flow": autoencoder.decode(first, lfdm.Motion(flow16, m16)),
    "decoded, its own flow": autoencoder.decode(first, estimated),
}
quality = [round(psnr(picture, frame)) for picture in results.values()]
assert quality == sorted(quality) and quality[3] - quality[1] > 6
print("numbers to draw:", flow16.numel() + m16.numel(), "instead of", frame.numel())
print("PSNR, dB:", quality)
viz.image_row(
    [picture[0] for picture in results.values()] + [frame[0]],
    ["frame 0", "pixels, true f", "decoded, true f", "decoded, own f", "frame 13"],
    alt="Five faces: at rest; turned, blurred, with hair that sticks out on the left; the same with a paler, half open mouth; smaller hair, narrow blurred eyes and a half open mouth, nearest to the last; the true frame 13, frowning, with teeth.",
)

# %% [markdown]
# *The same coarse motion, moved in pixels (second) and in features (third): hardly more than a decibel apart. The
# decoder was never trained with the true flow. The fourth has the flow and the soft occlusion map that encoder and
# decoder were trained with. The hair now ends where it should, and the picture is ten decibels better than the second.
# Eyes and teeth stay blurred: frame 0 does not show them so.*
#
# So the gain is not in the warp itself. A warped latent can be *repaired*: it goes through a network that was trained
# to paint what is masked and to mend what the coarse flow tears. And flow and occlusion at that size are few numbers
# to draw. [Chapter 5](05_autoencoder.ipynb) trains this pair.

# %% [markdown]
# ## Where a wrong flow learns to point
#
# Nobody shows an auto-encoder the true flow. It starts with a wrong one, sees that the picture is wrong, and gets a
# gradient through the warp. By the staircase above, that gradient looks one pixel far. When is it enough?
#
# Take the simplest case. The picture is one blob, a Gaussian of height 1 and deviation $\tau$ pixels. In the target it
# has moved by $d$ pixels. The flow is one number, a slide. As the loss, take the sum of squared differences. It has a
# closed form: the product of two such blobs sums to $\pi \tau^2 e^{-d^2 / 4 \tau^2}$, so
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


d = torch.arange(0, 25)
for tau in (1.5, 3.0, 6.0):
    measured = torch.stack([loss_of(torch.tensor(0.0), blob(31.5, tau), blob(31.5 - k, tau)) for k in d.tolist()])
    expected = 2 * math.pi * tau**2 * (1 - torch.exp(-(d**2) / (4 * tau**2)))
    assert_close(measured[:20], expected[:20], atol=0.02 * tau**2, rtol=0)
print("the formula holds for blobs of deviation 1.5, 3 and 6")

# %% [markdown]
# The slope of $\ell$ is largest at $d = \sqrt 2\, \tau$ and then dies like $e^{-d^2 / 4\tau^2}$. Beyond a few $\tau$
# the blobs do not touch, and the loss is a plain. The curvature at $d = 0$ is $\pi$ for any $\tau$, so plain gradient
# descent with step $1 / \pi$ is fast near the truth. From where does it get there in 100 steps?

# %%
def descend(source: Tensor, target: Tensor, start: float = 0.0, steps: int = 100) -> float:
    slid = torch.tensor(start)
    area = (64 / source.shape[-1]) ** 2  # a pixel of a smaller picture counts for several
    for _ in range(steps):
        slid.requires_grad_()
        (slope,) = torch.autograd.grad(area * loss_of(slid, source, target), slid)
        slid = slid.detach() - slope / math.pi
    return slid.item()


basins = {}
for tau in (1.5, 3.0, 6.0):
    reached = [d for d in range(1, 31) if abs(descend(blob(31.5, tau), blob(31.5 - d, tau)) - d) < 0.5]
    assert reached == list(range(1, len(reached) + 1))  # from near, never only from far
    basins[tau] = len(reached)
print("found from up to, pixels:", basins)

# %% mystnb={"image": {"alt": "Left: loss against the slide for a thin blob, a wide blob and stripes. The thin blob's curve is a narrow pit in a plain, the wide blob's a wide pit, the stripes' a wave with equal pits every 8 pixels. Right: bars of how far away the truth is found, 5, 11 and 24 pixels for blobs of deviation 1.5, 3 and 6, with a line at four deviations."}}
stripes = (0.5 + 0.5 * torch.cos(2 * math.pi * torch.arange(64) / 8)).expand(1, 1, 64, 64)
cases = {"blob, tau 1.5": (blob(31.5, 1.5), "-"), "blob, tau 6": (blob(31.5, 6), "--")}
cases |= {"stripes, every 8": (stripes, ":")}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
slides = torch.arange(-24, 24.5, 0.5)
losses = {}
for name, (picture, style) in cases.items():
    inner_part = slice(24, 40) if "stripes" in name else slice(0, 64)  # stripes: away from the border
    losses[name] = torch.stack(
        [(lfdm.warp(picture, slide(s, 64)) - picture)[..., inner_part].square().sum() for s in slides.tolist()]
    )
    left.plot(slides, losses[name] / losses[name].max(), style, label=name)
left.set(xlabel="slide minus truth, pixels", ylabel="loss, over its largest")
left.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, fontsize=8, handlelength=1.6)
right.bar([str(tau) for tau in basins], basins.values(), hatch="/", color="#e8eef4", edgecolor="#1f3b57")
right.plot([str(tau) for tau in basins], [4 * tau for tau in basins], "D--", color="#b35900", label="4 tau")
right.set(xlabel="deviation tau, pixels", ylabel="found from up to, pixels")
right.legend()
plt.show()

pits = [s.item() for s, loss in zip(slides, losses["stripes, every 8"], strict=True) if loss < 1e-6]
assert pits == [-24, -16, -8, 0, 8, 16, 24]
assert all(2.5 * tau < found < 5 * tau for tau, found in basins.items())
print("perfect slides for the stripes:", pits)

# %% [markdown]
# *Left: the loss over the slide. A thin blob makes a narrow pit in a plain. The plain has a ripple: at half pixels the
# tent blurs the blob, which makes the loss a little smaller, right or wrong. Stripes make a pit at every period: all
# but one are wrong, and no loss can tell. Right: from how far gradient descent found the truth in 100 steps. It is
# close to $4 \tau$, about the width at which you see the blob.*
#
# So the basin of attraction is about one feature wide, whatever the size of the picture. Where does the gradient
# point beyond it? Give every pixel a flow of its own again, and draw what a step of descent would do to it. A flow
# has two places: it *starts* at a pixel of the new frame, and *ends* where it looks, in the source. The gradient is a
# product of what is wrong at the start and of the slope at the end. Turn two dials: how far the blob moved, and which
# part of its way the flow has found so far.

# %%
pull_right = {}  # of all arrows: their sum over the sum of their lengths


def pull_of(moved_by: int, found: float) -> plt.Figure:
    blob_there, blob_here = blob(31.5, 3), blob(31.5 - moved_by, 3)  # source and target
    dense = slide(found * moved_by, 64).clone().requires_grad_()
    wrong = lfdm.warp(blob_there, dense) - blob_here
    (pull,) = torch.autograd.grad(-wrong.square().sum(), dense)
    pull_right[moved_by, found] = (pull[0, 0].sum() / pull[0].norm(dim=0).sum().clamp(min=1e-6)).item()
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), dpi=80, layout="constrained")
    y, x = 2 * (pull[0, :, ::2, ::2].norm(dim=0) > 0.5).nonzero().T  # every second pixel
    for ax, picture, shift in zip(axes, (wrong.detach().abs(), blob_there), (0, found * moved_by), strict=True):
        ax.imshow(picture[0, 0], cmap="gray_r", vmin=0, vmax=1.5)
        ax.add_patch(plt.Circle((31.5 - moved_by + shift, 31.5), 6, fill=False, linestyle="--", color="#1f3b57"))
        ax.quiver(x + shift, y, *pull[0][:, y, x].numpy(), color="#b35900", angles="xy", scale=140)
        ax.set(xlim=(8, 46), ylim=(46, 17), xticks=[], yticks=[])
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
                 moved_by=[2, 6, 16], found=[0.0, 0.25, 0.5, 0.75, 1.0])  # fmt: skip
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
    path = [0.0]
    for size in sizes:
        path.append(descend(resize(source, size), resize(target, size), start=path[-1]))
    return path


for d in (4, 8, 12, 20):
    pair = blob(31.5, 1.5), blob(31.5 - d, 1.5)
    at_once, path = descend(*pair), coarse_to_fine(*pair)
    print(f"truth {d:2}: found at full size {abs(at_once - d) < 0.1}, coarse to fine {abs(path[-1] - d) < 0.1}")
    assert (abs(at_once - d) < 0.1) == (d == 4) and (abs(path[-1] - d) < 0.1) == (d <= 12)
    assert d == 4 or abs(at_once - 0.5) < 0.1  # caught in the ripple
    if d == 12:
        print("          after each size:", [round(slid) for slid in path])

# %% [markdown]
# With full pictures only the nearest is found. From the others, descent rolls into the first dent of the ripple, half a
# pixel from its start, and stays. Coarse to fine finds 8 and 12 pixels too: each picture brings the slide into the
# basin of the next. Twenty pixels are beyond the basin of even the smallest: there the blob is as wide as the tent that
# shrank it, and no wider. A motion predictor with a wide view, such as the regions of
# [chapter 4](04_region_motion.ipynb), is another way out: it does not search, it sees both places.
#
# **And is a flow with a low loss the true one?** Give every pixel its own flow and minimize the picture error on our
# clip, from coarse to fine.

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


fits = {"no flow": 0 * true_flow, "full size only": fit_flow(first, frame, (64,), steps=200)}
fits |= {"coarse to fine": fit_flow(first, frame, (8, 16, 32, 64)), "true flow": true_flow}
photometric = [(lfdm.warp(first, f) - frame).square().mean().item() for f in fits.values()]
off = [lfdm.end_point_error(f, true_flow, visible, pixels=True).item() for f in fits.values()]

assert photometric[0] > photometric[1] > photometric[2] and photometric[2] < 0.5 * photometric[3]
assert off[2] > off[0] > 0 == off[3]
print("best picture:", list(fits)[photometric.index(min(photometric))])
print("its flow is worse than no flow:", off[2] > off[0])

# %% mystnb={"image": {"alt": "Two bar charts over four flows: none, fitted at full size, fitted coarse to fine, true. Left, the squared picture error is lowest for coarse to fine, far below the true flow's. Right, the flow error on visible pixels is highest for coarse to fine and zero for the true flow."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
left.barh(list(fits), photometric, hatch="/", color="#e8eef4", edgecolor="#1f3b57")
left.set(xlabel="squared picture error")
right.barh(list(fits), off, hatch="\\", color="#f4e3c3", edgecolor="#b35900")
right.set(xlabel="flow error where visible, pixels", yticks=[])
for ax in (left, right):
    ax.invert_yaxis()
figure.tight_layout()
plt.show()
assert min(off[:3]) > 0.5
print("all fitted flows are off by more than half a pixel:", min(off[:3]) > 0.5)

# %% [markdown]
# *Left: how well the warped picture fits. Right: how wrong the flow is on visible pixels. The best picture comes with
# the worst flow. It beats the truth on the left because it fills even hidden places, with any pixel of the right
# colour.*
#
# Two numbers a pixel are too much freedom. Chapter 2 takes it away by smoothness, chapter 4 by a bottleneck: a dozen
# motions explain the whole picture. LFDM keeps the warp and the picture error, and bottlenecks the flow.

# %% [markdown]
# ## Failure gallery
#
# Five ways to get a warp wrong. All run without an error message.
#
# **Mixed corners.** At zero flow nothing should move. Make the grid by one convention, look it up by the other, and do
# it again for every step of a chain. How much is half a pixel? That depends on the size: a dial for it, one for the
# number of warps.

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
counts = [0, 1, 2, 4, 16]
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
    print(f"size {size}: after 16 warps the picture has {100 * (1 - 1 / size) ** 16:.0f} % of its width")
mixed

# %% [markdown]
# *Turn the number of warps, then the size. The sign to look for: a difference that is zero in the middle and grows
# towards the border. One step is easy to overlook at 64 pixels, and hard to miss at 16, where half a pixel is four times
# as long. Sixteen shrink a picture of 64 to $(63 / 64)^{16} = 78$ % of its width, one of 16 to $(15 / 16)^{16} = 36$ %,
# and blur it. A latent map has this size.*
#
# **Wrong unit, wrong direction, no occlusion.** The next three use the true flow of the clip. The coarse flow stands
# among them for comparison: it is no mistake, only coarse.

# %%
in_latent_pixels = flow16 * 16 / 2  # a flow of the 16 x 16 grid in its own pixels ...
mistakes = {
    "right": lfdm.warp(first, true_flow),
    "coarse flow": lfdm.warp(first, resize(flow16, 64)),
    "pixels not rescaled": lfdm.warp(first, resize(in_latent_pixels, 64) * 2 / 64),  # ... read as pixels of 64
    "forward as backward": lfdm.warp(first, inverse(true_flow)),
    "sign turned": lfdm.warp(first, -true_flow),
}
where = [mean_error(picture, frame, visible) for picture in mistakes.values()]
standing = mean_error(first, frame, visible)
assert where[0] == min(where) and where[2] > 2 * where[0]
assert min(where[3:]) > standing > max(where[:3])
print("worse than no motion at all:", [name for name, e in zip(mistakes, where, strict=True) if e > standing])
viz.image_row(
    [picture[0] for picture in mistakes.values()] + [frame[0]],
    [*mistakes, "frame 13"],
    scale=2,
    alt="Six faces: warped rightly with double hair edges; by the coarse flow, blurred; hardly moved; leaning the wrong way with wide torn eyes, twice; the true frame 13.",
)

# %% [markdown]
# *Warped by the true flow; by the flow that was 16 x 16 once; by that flow in pixels of 16, read as pixels of 64; by the
# flow that leads the other way; by the true flow with its sign turned; and the truth. The fourth and fifth lean the
# head to the wrong side, and widen eyes that should close.*

# %% mystnb={"image": {"alt": "Horizontal bars of the mean error on visible pixels for five warps: right is the shortest, then coarse flow, then pixels not rescaled; forward as backward and sign turned lie beyond a dotted line that marks no motion at all."}}
plt.figure(figsize=(6.4, 2.6))
plt.barh(list(mistakes), where, hatch="/", color="#e8eef4", edgecolor="#1f3b57")
plt.axvline(standing, color="black", linestyle=":", label="no motion at all")
plt.gca().invert_yaxis()
plt.xlabel("mean error where visible")
plt.legend()
plt.show()
assert where[2] < standing < where[3]
print("no motion lies between wrong length and wrong direction:", where[2] < standing < where[3])

# %% [markdown]
# *Always plot the line of no motion. A warp that is worse than leaving the picture alone points the wrong way: forward
# flow taken for backward, or a sign. One that is better, but not by much, points the right way by the wrong length:
# 16 pixels taken for 64 make every motion four times too short.*
#
# The double edge of the hair in the *right* picture is the fourth mistake, an occlusion that nobody masked: it does
# not show in these bars, since they count visible pixels only.
#
# **A flat gradient.** The fifth is silent even in training. Where does the picture error of our clip pull at a zero
# flow at all?

# %%
dense = torch.zeros(1, 2, 64, 64, requires_grad=True)
(pull,) = torch.autograd.grad((lfdm.warp(first, dense) - frame).square().sum(), dense)
strength = pull[0].norm(dim=0)
moves = 32 * true_flow[0].norm(dim=0) > 1  # by more than a pixel
silent = strength < 0.01 * strength.max()
share = (moves & silent).sum() / moves.sum()
assert share > 0.5
print("more than half of the moving pixels feel hardly any gradient:", bool(share > 0.5))
viz.image_row(
    [first[0], (strength / strength.max()).sqrt(), moves.float(), (moves & silent).float()],
    ["frame 0", "strength", "moves", "moves, no pull"],
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
# </details>
#
# **3. Code it** (ten minutes, easy). Many programs store flow in pixels, not normalized. Write `resize_pixel_flow`:
# it takes a flow in pixels of its own grid and gives the same motion in pixels of the new grid. Mind pictures that are
# not square.

# %% tags=["exercise"]
def resize_pixel_flow(flow: Tensor, h: int, w: int) -> Tensor:
    """Flow (b, 2, h_old, w_old) in pixels of its grid -> (b, 2, h, w) in pixels of the new grid."""
    return None  # your lines


def check_resize_pixel_flow(function) -> str:
    flow = torch.tensor([3.0, -1.0])[None, :, None, None].expand(1, 2, 8, 10)  # 3 right, 1 up
    answer = function(flow, 16, 40)
    if answer is None or answer.shape != (1, 2, 16, 40):
        return "not yet: return a tensor of shape (b, 2, h, w)"
    x, y = [round(value, 3) for value in answer[0, :, 8, 20].tolist()]
    hints = {
        (12.0, -2.0): "solved",
        (3.0, -1.0): "not yet: the grid grew, but 3 pixels are still 3 pixels; scale the values too",
        (0.75, -0.5): "not yet: more pixels in the same picture make a motion longer in pixels, not shorter",
        (6.0, -4.0): "not yet: channel 0 is x and goes with the width, which is the last axis",
        (12.0, -4.0): "not yet: y has its own factor, of the heights",
        (6.0, -2.0): "not yet: x has its own factor, of the widths",
    }
    return hints.get((x, y), "not yet: x scales with the widths, y with the heights")


print(check_resize_pixel_flow(resize_pixel_flow))

# %% [markdown]
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
# to the start. Write `consistent`: 1 where the round trip ends within `tolerance` pixels of its start. It finds hidden
# places without being told.

# %% tags=["exercise"]
def consistent(f: Tensor, g: Tensor, tolerance: float = 1.0) -> Tensor:
    """Flows (b, 2, h, w) -> (b, 1, h, w): 1 where following f, then g from there, leads back, else 0."""
    return None  # your lines


def check_consistent(function) -> str:
    there, back, scene = rotation(20), rotation(-20), bar_scene(6)
    answer = function(there, back)
    if answer is None or answer.shape != (1, 1, 64, 64) or not ((answer == 0) | (answer == 1)).all():
        return "not yet: return a tensor of shape (b, 1, h, w) in which every value is 0 or 1"
    wrong = answer == 0
    trips = {"g must be looked up where f points, not where f starts": there + back}
    trips["the two ways must add up to zero; you subtract them"] = there - lfdm.warp(back, there)
    for hint, trip in trips.items():
        if torch.equal(wrong, (64 / 2 * trip).norm(dim=1, keepdim=True) > 1):
            return f"not yet: {hint}"
    if (wrong * inner).any():
        return "not yet: a turn there and back is consistent in the middle; is your tolerance in pixels?"
    if function(slide(3, 64), slide(-1, 64)).any():
        return "not yet: 3 pixels there and 1 back do not end where they began"
    right = torch.equal(function(scene["flow"], bar_scene(6, -12, 32)["flow"]) == 1, scene["visible"] == 1)
    return "solved" if right else "not yet: start with f, then look g up; you began with g"


print(check_consistent(consistent))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def consistent(f, g, tolerance=1.0):
#     trip = compose(g, f) * 64 / 2  # in pixels of a 64 x 64 grid
#     return (trip.norm(dim=1, keepdim=True) <= tolerance).float()
#
#
# assert check_consistent(consistent) == "solved"
# ```
#
# The check tries it on the moving bar as well, and compares with the true visibility. The strip that was uncovered
# stands still, so it looks straight ahead, at the bar in the source; and the bar's way back leads elsewhere.
#
# </details>
#
# **5. Explore** (an evening, hard). Replace the tent by a smoother weight with four neighbours a direction, the cubic
# of Keys ($a = -1/2$; `grid_sample` has a cubic with $a = -3/4$). Repeat three experiments: ten warps of 3 degrees, one
# slide of half a latent pixel, and the basin of a blob. What is gained, what is lost? Which property of the tent does
# the cubic not have?
#
# <details>
# <summary>Solution</summary>
#
# A start: `grid_sample` with `mode="bicubic"`.
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
# print("sharper than the tent:", sharpness(turned_cubic) > sharpness(turned))
# print("overshoots:", bool(turned_cubic.min() < 0 or turned_cubic.max() > 1))
# truth = autoencoder.encode(cubic_warp(first, slide(2, 64)))[..., 3:-6]  # half a latent pixel
# by_cubic = relative(cubic_warp(z0, slide(2, 16))[..., 3:-6], truth)
# print(f"half a latent pixel: {by_cubic:.2f}, with the tent {apart[4]:.2f}")
# ```
#
# Pictures stay much sharper over many warps. The slide by half a latent pixel hardly improves, from 0.19 to 0.16: what
# the encoder says between two places is no smooth curve through what it says at them. The basins hardly grow: put
# `cubic_warp` into `loss_of`, and you find 5, 12 and 26 pixels. They are those of the blob. The cubic has
# negative weights, so values can leave the range of their neighbours, and an occlusion map can leave $[0, 1]$.
#
# </details>
#
# ## What the authors did
#
# The paper warps the latent map bilinearly by a backward flow and multiplies with the occlusion map, as you did
# {cite:p}`ni2023lfdm`. Their published code differs in places that you can now judge. Each is a switch of
# `lfdm_lite`, measured in [what differs from the published code](differences.md).
#
# * Grids put the outermost pixel *centres* at $-1$ and $1$, and sampling takes these numbers for the *edges*: the mixed
#   corners of the gallery. Networks that were trained with the slip depend on it.
# * Outside the picture they find zeros; we repeat the border.
# * They resize absolute positions, not displacements. Near the border both differ: a displacement of zero stays
#   zero, while a position that is resized is drawn inward.
# * At the end their decoder's picture is blended with the warped *source image*, where the source is visible. Ours
#   paints the whole picture.
#
# ## Further reading
#
# * {cite:t}`jaderberg2015stn`: bilinear sampling as a layer with a gradient; the equations of this chapter.
# * {cite:t}`siarohin2021mraa`: the warp with an occlusion map that LFDM builds on.
# * {cite:t}`siarohin2019fomm`: the same with keypoints in place of regions.
# * {cite:t}`keys1981cubic`: the cubic weights of the last exercise.
