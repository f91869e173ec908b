# ---
# jupyter:
#   book:
#     equals:
#       affine: lfdm_lite.data.drawn.engine.scenes.affine
#       colour_wheel: lfdm_lite.flow.colour_wheel
#       flow_to_rgb_v2: lfdm_lite.flow.flow_to_rgb
#       identity_grid: lfdm_lite.geometry.identity_grid
#       in_pixels: lfdm_lite.flow.in_pixels
#       render_v3: lfdm_lite.data.drawn.engine.scenes.render
#       warp_v2: lfdm_lite.geometry.warp
#       wheel_picture: lfdm_lite.viz.flow_pictures.colour_wheel_picture
#     goals:
#     - say what a difference of frames does and does not tell about motion
#     - read and write backward flow in normalized units, with pixel centres
#     - see a flow, by warping with it, in colours, and as arrows
#     - draw scenes with exact flow and known visibility, with a layer of your own
#     - tell occlusion from disocclusion, and say which of them an occlusion map marks
#     minutes: 45
#     minutes_all: 105
#     peak_mb: 570
#     prerequisites:
#     - a Python that you are at ease with, and PyTorch tensors
#     - 2 x 2 matrices and their inverses
#     seconds: 8
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 Video as motion
#
# A video is nearly the same picture, again and again; what differs is where things are. In this chapter you
# learn to write that down as a *flow*, to see it, and to draw scenes in which it is known. No network yet.
#
# **You need** Python, PyTorch tensors, and 2 x 2 matrices with their inverses. **It takes** 45 minutes to read,
# and about 8 seconds and 570 MB of memory to run on two CPU cores. That is a first reading, of text and
# pictures, without the sections that are marked; with their code it is nearer 90 minutes, and all of the chapter with
# all of its code takes about 105. The exercises come on top.

# %% tags=["hide-input"]
import lfdm_lite as lfdm  # before torch, whose threads then keep no core while they wait

lfdm.check_environment()  # says so where a version is not one that the book was run with
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from lfdm_lite import viz
from lfdm_lite.data.drawn.engine import proofs, scenes

viz.use_style()

def side_by_side(*panels: Tensor) -> Tensor:
    """Pictures or clips (3 or 1, ..., h, w) -> one, with white between them."""
    framed = [F.pad(panel.expand(3, *panel.shape[1:]), (0, 2), value=1.0) for panel in panels]
    return torch.cat(framed, -1)[..., :-2]  # no white after the last


# %%
# drawn people of the validation split; number 11 is surprised
face = lfdm.data.Faces("val", size=64, num_frames=16)[11]
video = face["video"]
assert video.dtype == torch.float32 and video.min() >= 0 and video.max() <= 1
print(face["label_name"], tuple(video.shape), "colour, frame, row, column")
viz.player(video, scale=6, alt="A drawn face that opens mouth and eyes wide in surprise, then relaxes a little.")

# %% [markdown]
# *Press play, or move the slider. Sixteen frames; frame 0 is at rest.* This drawn person is the running example.
#
# **At the end you can**
#
# * say what a difference of frames does and does not tell about motion;
# * read and write backward flow in normalized units, with pixel centres;
# * see a flow: by warping with it, in colours, and as arrows;
# * draw scenes with exact flow and known visibility, with a layer of your own;
# * tell occlusion from disocclusion, and say which of them an occlusion map marks.
#
# ![The block diagram of the whole system. The image at the left end, the video at the right end, and the words flow f, occlusion m in the middle are framed; encoder, decoder and diffusion model are pale.](../assets/figures/road_01.svg)
#
# *You are at the three dashed frames: image, flow and occlusion map, video. (The picture calls the image $x$ and the label
# $y$; in this chapter $x$ and $y$ are coordinates.) The boxes are later chapters.*

# %% [markdown]
# ## A video is a tensor
#
# Its shape is `(3, T, H, W)`: red, green and blue in $[0, 1]$, then $T$ frames of $H$ rows and $W$ columns. A
# batch puts one more axis in front.
#
# An index along the second axis is a frame. But you can cut the tensor the other way as well: take one *column*
# out of every frame, and lay these columns side by side. To see more, draw the same clip with three frames between two,
# so 61 in all; the person moves as before, and every fourth frame is one of the sixteen.

# %%
smooth = lfdm.data.Faces("val", size=64, num_frames=61)[11]["video"]
assert_close(smooth[:, ::4], video)


def cut(clip: Tensor, column: int, moment: int) -> Tensor:
    """A clip (3, T, H, W) -> frame 0, frame `moment`, and a column in time, side by side."""
    yellow = torch.tensor([1.0, 1, 0])[:, None, None]
    marked, space_time = clip[:, [0, moment]].clone(), clip[..., column].transpose(1, 2).clone()  # (3, H, T)
    marked[..., column] = yellow
    space_time[:, [0, 1, -2, -1], moment] = yellow[..., 0]  # ticks
    return side_by_side(marked[:, 0], marked[:, 1], space_time)


change = video.diff(dim=1).abs().mean(dim=(0, 1))  # (H, W): from each frame to the next, on average
at_mouth, at_brow, at_wall = change[44:52, 28:36].mean(), change[20:26, 19:28].mean(), change[:6].mean()
print(f"change from frame to frame: mouth {at_mouth:.3f}, brow {at_brow:.3f}, wall {at_wall:.3f}")
assert at_mouth > at_brow > 0.01 and change[:6].max() < 0.01
viz.dial(
    lambda column: cut(smooth, column, 24),
    alt="The face at rest, the face with open mouth, each with a yellow line down one column, and that column in time, as bands, with yellow ticks at the time of the second face",
    reach={"column": (0, 63)},
    column=[26, 29, 32, 38],
)

# %% [markdown]
# *From left: frame 0, frame 6, and the column under the yellow line in time, which runs to the right; the ticks are at
# frame 6. What stands still makes a level band. What moves up or down makes a sloped one, and the slope is its speed; what
# moves sideways enters and leaves the column. In column 26 a brow rises, the thin dark band, and comes down a little at
# the end. In column 32 the mouth opens. Its dark inside is no band that slopes, it begins: nothing of it is in frame 0.*
#
# Bands are the first hint at what this book does. Follow one from left to right, and its colour hardly changes; what
# changes is where it is.
#
# ### A video is a file
#
# *May be skipped on a first reading.*
#
# Films of your own come as files, and `imageio` writes or reads one in a line. A file has its own order of axes,
# `(T, H, W, 3)`: frame, row, column, colour; and its own numbers, whole ones from 0 to 255. So a tensor is turned
# on the way out, and back on the way in.

# %%
import tempfile
from pathlib import Path

import imageio.v3 as iio

from lfdm_lite.files.media import read_video

folder = tempfile.TemporaryDirectory()
film = Path(folder.name, "surprise.mp4")
pixels = video.mul(255).round().byte().permute(1, 2, 3, 0).numpy()  # (T, H, W, 3)

iio.imwrite(film, pixels, plugin="pyav", codec="libx264", fps=8)
again = iio.imread(film, plugin="pyav")

back = torch.from_numpy(again).permute(3, 0, 1, 2) / 255  # (3, T, H, W)
lost = (back - video).abs().mean().item()
assert back.shape == video.shape and 0 < lost < 0.03
assert_close(read_video(film), back, atol=1.5 / 255, rtol=0)  # the library's
assert film.stat().st_size < pixels.nbytes / 10
print("in the file:", again.shape, again.dtype, f" back in the tensor, to {100 * lost:.0f} % of white")

# %% [markdown]
# An MP4 keeps less than a tenth of the bytes, and so not all of what was there: it rounds what the eye hardly sees,
# above all colour. The library's `read_video` also heeds what a file says about itself: how the camera was held,
# pixels that are not square, frames that last unequally long. `imageio` hands out the frames as they are stored.

# %% [markdown]
# ## Frame differences mislead
#
# The quickest way to "see motion" is to subtract one frame from the next. Four small cases show what that measures.
# Each has two frames of 64 x 64 pixels, and you know what moves, because you move it. (The stripes repeat every 8 pixels.)

# %%
rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")


def disc(shift: float, dark: float) -> Tensor:
    """A grey disc of radius 16 on a lighter wall, (64, 64)."""
    return torch.where((columns - 24 - shift).hypot(rows - 32) < 16, dark, 0.9)


def stripes(shift: float) -> Tensor:
    return 0.5 + 0.4 * torch.cos(2 * math.pi * (columns - shift) / 8)


cases = {  # before, after, by how many pixels the content moved
    "a dark disc": (disc(0, 0.2), disc(4, 0.2), 4),
    "a faint disc": (disc(0, 0.8), disc(4, 0.8), 4),
    "stripes": (stripes(0), stripes(8), 8),
    "dimmed light": (disc(0, 0.2), 0.7 * disc(0, 0.2), 0),
}
difference = {name: (after - before).abs() for name, (before, after, _) in cases.items()}
for name, (_, _, moved) in cases.items():
    print(f"{name:14} moved by {moved} pixels, mean difference {difference[name].mean():.3f}")

# %%
both = (disc(0, 0) < 0.5) & (disc(4, 0) < 0.5)  # pixels that are of the disc before and after
mean = {name: d.mean().item() for name, d in difference.items()}
assert mean["dimmed light"] > mean["a dark disc"] > 3 * mean["a faint disc"] and mean["stripes"] < 1e-5
assert difference["a dark disc"][both].max() == 0
share = both.sum() / (disc(0, 0) < 0.5).sum()
print(f"{share:.0%} of the moving disc's pixels do not change: difference {difference['a dark disc'][both].max():.3f}")
seen = {
    "a dark disc": "two light grey crescents",
    "a faint disc": "two crescents, almost black",
    "stripes": "all black",
    "dimmed light": "a dark grey wall, and a disc that is nearly black",
}
viz.dial(
    lambda case: viz.image_row([*cases[case][:2], difference[case]], ["before", "after", "difference"], scale=4),
    alt=lambda case: f"Before, after, and their absolute difference: {seen[case]}",
    case=list(cases),
)

# %% [markdown]
# *Choose a case. Right: the absolute difference, lighter where it is larger. The disc moves as a whole, but only its
# rim differs. The faint disc moves just as far and differs less. The stripes move by 8 pixels, each to where the next one
# was, and nothing differs. When the light is dimmed nothing moves, and nearly everything differs.*
#
# A difference mixes two things: how far something moved, and how much the picture varies there. It says *that*
# something changed at a pixel, and nothing of *where* it went. For that you need two numbers at every pixel, how far
# across and how far down. These two numbers at every pixel are a **flow**. In which unit?

# %% [markdown]
# ## Where is a pixel?
#
# Positions are *normalized*: the picture spans $[-1, 1]$ in both directions, whatever its size. $x$ grows to the
# right, $y$ grows down. A pixel is a little square, and its position is that of its *centre*. There are $W$ of them
# in a length of 2, so each is $2 / W$ wide; the first begins at $-1$, and its centre is at $-1 + 1 / W$. With rows
# and columns counted from 0, column $i$ and row $j$ are at
#
# $$x_i = \frac{2 i + 1}{W} - 1, \qquad y_j = \frac{2 j + 1}{H} - 1$$

# %%
def identity_grid(h: int, w: int) -> Tensor:
    """Normalized pixel centres, (2, h, w): channel 0 is x, channel 1 is y."""
    x = (2 * torch.arange(w) + 1) / w - 1
    y = (2 * torch.arange(h) + 1) / h - 1
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)])


grid = identity_grid(2, 4)
assert_close(grid, -grid.flip(1, 2))  # the middle of the picture is (0, 0)
assert_close(identity_grid(48, 64), lfdm.identity_grid(48, 64))  # the library's
print("grid:", tuple(grid.shape), " x of the first row:", grid[0, 0].tolist())

# %% [markdown]
# So $-1$ and $1$ are the outer *edges*, and no pixel's centre is there. PyTorch calls this `align_corners=False`. It
# has a pleasant property: if you make pixels twice as large, the centre of a large pixel is the mean of the centres
# that it covers. A position means the same place in both pictures.

# %% mystnb={"image": {"alt": "A square from -1 to 1 with thin lines around 8 by 8 small squares and thick lines around 4 by 4 large ones. A dot is at the centre of every small square, a cross at the centre of every large one. Each cross is in the middle of four dots."}}
fine, coarse = identity_grid(8, 8), identity_grid(4, 4)
assert_close(F.avg_pool2d(fine, 2), coarse)  # means of 2 x 2 centres

figure, ax = plt.subplots(figsize=(5, 5.2))
ax.set_xticks(torch.linspace(-1, 1, 9), minor=True)
ax.set_yticks(torch.linspace(-1, 1, 9), minor=True)
ax.set(xlim=(-1, 1), ylim=(1, -1), aspect="equal", xticks=[-1, -0.5, 0, 0.5, 1], yticks=[-1, -0.5, 0, 0.5, 1])
ax.grid(which="minor", color="#c9d3dc", linestyle="-", linewidth=0.8)
ax.grid(which="major", color=viz.COLOURS["black"], linestyle="-", linewidth=1.6)
ax.plot(*fine.flatten(1), "o", color=viz.COLOURS["blue"], markersize=4, label="centres of 8 x 8 pixels")
ax.plot(*coarse.flatten(1), "x", color=viz.COLOURS["orange"], markersize=10, markeredgewidth=2, label="of 4 x 4 pixels")
ax.set(xlabel="x", ylabel="y")
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.01), ncols=2)
plt.show()
print("four dots:", fine[0, 0, :2].tolist(), "across; their cross:", coarse[0, 0, 0].item())

# %% [markdown]
# *Thin squares are 64 pixels, thick ones the same picture with 16, and $y$ grows downward. That positions are shared will
# matter: LFDM, latent flow diffusion, has its flow on a grid that is coarser than the picture.*
# [*Chapter 3*](03_latent_warping.ipynb) *measures what goes wrong if a program mixes this convention with another.*
#
# A *displacement* is a difference of two positions, so its unit is half a picture. To count in pixels, divide by the
# size of one:
#
# $$u = \frac{W}{2} f_x, \qquad v = \frac{H}{2} f_y$$
#
# Here $f_x$ and $f_y$ are the two channels of a flow, to the right and down.

# %%
def in_pixels(flow: Tensor) -> Tensor:
    """Normalized displacement (b, 2, ..., h, w) -> displacement in pixels of its own grid."""
    h, w = flow.shape[-2:]
    u, v = w / 2 * flow[:, 0], h / 2 * flow[:, 1]
    return torch.stack([u, v], dim=1)


quarter = torch.full((1, 2, 48, 64), 0.5)  # of width and height, which are 2
assert in_pixels(quarter)[0, :, 0, 0].tolist() == [16, 12]
assert_close(in_pixels(quarter), lfdm.flow.in_pixels(quarter))
print("a quarter of 64 columns and of 48 rows:", in_pixels(quarter)[0, :, 0, 0].tolist(), "pixels")

# %% [markdown]
# ## Forward or backward?
#
# There are two ways to say that a picture moves. **Forward**: every pixel of the old frame says where it *goes*.
# **Backward**: every pixel of the new frame says where it *comes from*. It seems a matter of taste, and it is not.
#
# Take a row of eight pixels that is stretched to 1.7 times its length, while its left edge stays. The centre of
# pixel $i$ is $i + \frac12$ pixels from that edge. So forward pixel $i$ goes to, and backward it comes from, pixel
#
# $$1.7\, \left(i + \frac12\right) - \frac12 \qquad\text{and}\qquad \left(i + \frac12\right) / 1.7 - \frac12$$
#
# each rounded.

# %%
row = torch.arange(8)
goes_to = (1.7 * (row + 0.5) - 0.5).round().long()
comes_from = ((row + 0.5) / 1.7 - 0.5).round().long()

row_pushed = torch.full((8,), -1)  # -1: nobody came
row_pushed[goes_to[goes_to < 8]] = row[goes_to < 8]
row_pulled = row[comes_from]

assert (row_pushed == -1).sum() == 3 and not (row_pulled == -1).any()
print("pushed:", row_pushed.tolist())
print("pulled:", row_pulled.tolist())

# %% mystnb={"image": {"alt": "Two panels with eight numbered squares above and eight below. Left, forward: arrows lead from the upper squares down; three of the lower squares are hatched, since no arrow reaches them, and three arrows end to the right of the lower squares. Right, backward: every lower square has exactly one arrow, that points up to a square."}}
figure, axes = plt.subplots(1, 2, figsize=(10.2, 2.9))
panels = {"forward: where does it go?": (goes_to, row_pushed), "backward: where does it come from?": (comes_from, row_pulled)}
for ax, (title, (other, result)) in zip(axes, panels.items(), strict=True):
    for i in range(8):
        for y, number in ((1, i), (0, result[i].item())):
            hole = number == -1
            look = dict(facecolor="#f4e3c3" if hole else "#e8eef4", hatch="///" if hole else None)
            ax.add_patch(plt.Rectangle((i - 0.45, y - 0.2), 0.9, 0.4, edgecolor=viz.COLOURS["black"], **look))
            ax.text(i, y, "" if hole else number, ha="center", va="center")
        start, end = ((i, 0.78), (other[i], 0.22)) if "forward" in title else ((i, 0.22), (other[i], 0.78))
        ax.annotate("", end, start, arrowprops=dict(arrowstyle="->", color=viz.COLOURS["orange"]))
    ax.set(xlim=(-0.6, 12.4), ylim=(-0.3, 1.3), xticks=[], yticks=[0, 1], title=title)
    ax.set_yticklabels(["new", "old"])
plt.show()
assert (goes_to >= 8).sum() == 3
print("holes:", (row_pushed == -1).sum().item(), "forward,", (row_pulled == -1).sum().item(), "backward")

# %% [markdown]
# *Numbers in the lower row say which old pixel is shown. Forward, hatched pixels get nothing, and three old ones leave the
# row. Backward, each gets exactly one answer; some old pixels answer twice, and 5, 6 and 7 are never asked.*
#
# In two dimensions it is the same. Zoom into the face, by $\zeta = 1.5$ about the middle. A pixel
# at $\mathbf p = (x, y)$ goes to $\zeta\, \mathbf p$. So forward and backward flow are
#
# $$g(\mathbf p) = (\zeta - 1)\, \mathbf p, \qquad f(\mathbf p) = \left(\frac{1}{\zeta} - 1\right) \mathbf p$$
#
# Note that $f$ is not $-g$. At a place of the new frame, $f$ leads back; if you go there and then along $g$ *from
# there*, you must end where you began: $f(\mathbf p) + g(\mathbf p + f(\mathbf p)) = 0$.
#
# First the push: each pixel has to find out on which pixel it lands. Solved for $i$, the formula of centres says that
# position $x$ is in column $((x + 1)\, W - 1) / 2$, rounded.

# %%
def splat(image: Tensor, forward: Tensor) -> tuple[Tensor, Tensor]:
    """Push every pixel of (3, h, w) along its forward flow (2, h, w) -> picture, and which pixels were reached."""
    h, w = image.shape[1:]
    x, y = identity_grid(h, w) + forward
    i, j = (((x + 1) * w - 1) / 2).round().long(), (((y + 1) * h - 1) / 2).round().long()  # column and row
    lands = (i >= 0) & (i < w) & (j >= 0) & (j < h)
    pushed, reached = torch.ones_like(image), torch.zeros(h, w, dtype=torch.bool)
    pushed[:, j[lands], i[lands]] = image[:, lands]  # of several that land on a pixel, one stays
    reached[j[lands], i[lands]] = True
    return pushed, reached


p = identity_grid(64, 64)
for zeta in (1.5, 2.0, 3.0):
    f, g = 1 / zeta - 1, zeta - 1  # the factors of p
    assert_close(f * p + g * (p + f * p), 0 * p)
    _, reached = splat(video[:, 6], g * p)
    assert abs(reached.float().mean() - 1 / zeta**2) < 0.02
    print(f"zeta {zeta}: {reached.float().mean():.1%} of the pixels are reached; 1 / zeta^2 = {1 / zeta**2:.1%}")

# %% [markdown]
# Only old pixels with $|x|, |y| < 1 / \zeta$ land inside the new frame. That is a share of $1 / \zeta^2$ of them (but for
# rounding at the border, where whole rows and columns come in or stay out), and no two land on the same place, since they
# land $\zeta > 1$ pixels apart. So the pushed picture has more holes than colours from $\zeta = \sqrt 2$ on.
#
# ### Warp, version 1: pull, to the nearest pixel
#
# Now the other direction. Each new pixel looks up the old frame where the flow points. This is the definition that
# the whole book uses. With $I_s$ for the old frame, the *source* (later always frame 0):
#
# $$\mathrm{warp}(I_s, f)(\mathbf p) = I_s(\mathbf p + f(\mathbf p))$$
#
# The simplest look-up takes the nearest pixel, and the border where the flow points outside.

# %%
def warp_v1(image: Tensor, flow: Tensor) -> Tensor:
    """Picture (3, h, w), backward flow (2, h, w) -> picture (3, h, w)."""
    h, w = image.shape[1:]
    x, y = identity_grid(h, w) + flow
    i = (((x + 1) * w - 1) / 2).round().long().clamp(0, w - 1)
    j = (((y + 1) * h - 1) / 2).round().long().clamp(0, h - 1)
    return image[:, j, i]


def push_and_pull(zeta: float) -> viz.Picture:
    p = identity_grid(64, 64)
    pushed, reached = splat(video[:, 6], (zeta - 1) * p)
    pulled = warp_v1(video[:, 6], (1 / zeta - 1) * p)
    return viz.image_row([pushed, 0.85 * reached.float(), pulled], ["pushed", "reached", "pulled"], scale=4)


assert_close(warp_v1(video[:, 6], torch.zeros(2, 64, 64)), video[:, 6])  # no flow, no change
right = torch.tensor([8 * 2 / 64, 0])[:, None, None].expand(2, 64, 64)  # look 8 pixels to the right
assert_close(warp_v1(video[:, 6], right)[:, :, :-8], video[:, 6, :, 8:])  # content comes from there: it moves left
told = "Frame 6 enlarged, by pushing, with a regular pattern of white holes; the pixels that were reached, light; and by pulling, without holes"
viz.dial(push_and_pull, alt=told, reach={"zeta": (1.25, 4.0)}, zeta=[1.5, 2.0, 3.0])

# %% [markdown]
# *Turn $\zeta$. Pushed, the enlarged face is a sieve: white in "pushed" and black in "reached" are holes. Pulled, it
# is whole.*
#
# Remember the sign, it will trip you once: **a flow that points right moves the content left.** Backward flow points
# to where things come from.
#
# Why backward, then? Every pixel of the new frame gets exactly one answer, without holes or collisions, and all
# pixels can be computed at once, in any order. And, unlike with the simple push, the answer depends on the flow without
# jumps, if you look *between* pixels; a network can then learn a flow, since there is a derivative. The price comes
# later in this chapter: a pixel may ask for what the source does not show.

# %% [markdown]
# ### Warp, version 2: between pixels
#
# `grid_sample` of PyTorch looks up a picture between its pixels: it mixes the four nearest, by distance. You build it
# from nothing in [chapter 3](03_latent_warping.ipynb). Here it is a tool to see a flow with. It wants one grid of places for
# each picture. All frames of a video look into the same source, so stack their grids into one tall one, of height $T H$.

# %%
def warp_v2(image: Tensor, flow: Tensor) -> Tensor:
    """Source (b, c, h, w), backward flow (b, 2, h, w) or (b, 2, T, h, w) -> the source, warped by every flow."""
    b, c, h, w = image.shape
    grid = identity_grid(h, w) if flow.ndim == 4 else identity_grid(h, w)[:, None]
    places = (grid + flow).reshape(b, 2, -1, w)  # all frames as one tall grid
    found = F.grid_sample(image, places.movedim(1, -1), padding_mode="border", align_corners=False)
    return found.view(b, c, *flow.shape[2:])


draw = torch.Generator().manual_seed(0)
image, any_flow = torch.rand(2, 3, 10, 12, generator=draw), 0.5 * torch.randn(2, 2, 4, 10, 12, generator=draw)
assert_close(warp_v2(image, torch.zeros(2, 2, 10, 12)), image)
assert_close(warp_v2(image, any_flow)[:, :, 3], warp_v2(image, any_flow[:, :, 3]))  # a video is its frames
assert_close(warp_v2(image, any_flow), lfdm.warp(image, any_flow))
assert_close(warp_v2(image, any_flow[:, :, 0]), lfdm.warp(image, any_flow[:, :, 0]))
assert_close(warp_v2(video[None, :, 6], right[None])[0], warp_v1(video[:, 6], right), atol=1e-4, rtol=0)
print("four warped frames of two pictures:", tuple(warp_v2(image, any_flow).shape))

# %% [markdown]
# ### One picture, and where it goes
#
# Now the running example. It comes with its *true* flow: for every pixel of every frame, where in frame 0 this piece
# of the person was. Warp frame 0 by it, all frames in one call.

# %%
source, flow = video[None, :, 0], face["flow"][None]  # (1, 3, 64, 64), (1, 2, 16, 64, 64)
visible = face["visible"][None]  # (1, 1, 16, 64, 64): 1 where frame 0 shows it too
warped = warp_v2(source, flow)


def error(one: Tensor, other: Tensor, mask: Tensor) -> float:
    """Mean absolute difference where the mask is 1."""
    return ((one - other).abs().mean(1, keepdim=True) * mask).sum().item() / mask.sum().item()


still = source[:, :, None].expand_as(warped)
print(f"longest flow: {in_pixels(flow).norm(dim=1).max():.1f} pixels; frame 0 shows {visible.mean():.1%} of all pixels")
for where, mask in {"visible in frame 0:": visible, "hidden in frame 0: ": 1 - visible}.items():
    as_it_is, moved = error(still, video[None], mask), error(warped, video[None], mask)
    print(f"error of all 16 frames where {where} frame 0 as it is {as_it_is:.3f}, warped {moved:.3f}")
assert error(warped, video[None], visible) < 0.5 * error(still, video[None], visible)
assert error(warped, video[None], 1 - visible) > 5 * error(warped, video[None], visible)

# %%
def beside(clip: int) -> viz.Player:
    """A clip; its frame 0, warped; their difference; what frame 0 shows. Side by side, (3, 16, 64, 262)."""
    item = lfdm.data.Faces("val", size=64, num_frames=16)[clip]
    moved = warp_v2(item["video"][None, :, 0], item["flow"][None])[0]
    apart = (moved - item["video"]).abs().mean(0, keepdim=True)
    panels = side_by_side(item["video"], moved, 1 - 3 * apart, 0.85 * item["visible"]).clamp(0, 1)
    return viz.player(panels, start=6)


apart = (warped - video[None]).abs().mean(1)[0, 6]  # (64, 64), in frame 6
parts = {"mouth": apart[42:54, 28:38], "eyes and brows": apart[23:35, 18:47], "all of the frame": apart}
for name, box in parts.items():
    print(f"difference in frame 6, {name}: {box.mean():.2f}")
assert apart[42:54, 28:38].mean() > apart[23:35, 18:47].mean() > 2 * apart.mean()
shows = {
    11: "whose mouth stays full of lip and skin; the difference, white but for dark places at mouth and eyes and thin lines elsewhere; and a map, black at mouth, eyelids and jaw",
    12: "whose eyes and brows are smeared; the difference, white but for dark places at brows and eyes, a bar at the lips, and thin lines; and a map, black at the brows, along the glasses, at the lips and along the shoulders",
}
viz.dial(beside, alt=lambda clip: f"The clip; frame 0 warped to it, {shows[clip]}", clip={"surprise": 11, "anger": 12})

# %% [markdown]
# *From left: the clip; frame 0 alone, pulled along the true flow; dark where they differ, amplified three times; and
# black what frame 0 does not show. Play it. Head, brows and jaw go where they should, but for thin lines at their edges,
# where colours are looked up between pixels. The open mouth stays wrong, since frame 0 has no open mouth to take it from.
# Around the raised lids is the second largest difference, and there the map is black too. In anger the mouth stays shut, and
# brows and eyes, behind glasses, are what frame 0 does not show.*

# %% [markdown]
# ## The colour wheel
#
# A flow has two numbers per pixel. To look at it, you need colours for pairs of numbers. The usual answer is a wheel:
# the *hue* is the direction, and the *saturation*, how far it is from white, is the length. No motion is white
# {cite:p}`baker2011database`.
#
# The hues go once around, from red over yellow, green, cyan, blue and magenta back to red. Between two corners of this
# tour one of the three channels rises or falls evenly. The eye tells more shades apart between red and yellow than
# between yellow and green, so the corners are not equally many steps apart: 15, 6, 4, 11, 13 and 6.

# %%
CORNERS = torch.tensor([(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0)]).float()
STEPS = (15, 6, 4, 11, 13, 6)


def colour_wheel() -> Tensor:
    """The hues once around, (55, 3)."""
    hues = []
    for here, there, steps in zip(CORNERS[:-1], CORNERS[1:], STEPS, strict=True):
        part = torch.arange(steps)[:, None] / steps
        hues.append(here + part * (there - here))
    return torch.cat(hues)


wheel = colour_wheel()
assert wheel.shape == (55, 3)
assert (wheel.amax(1) == 1).all() and (wheel.amin(1) == 0).all()  # as saturated as colours get
assert ((wheel - wheel.roll(1, 0)).abs() > 1e-6).sum(1).eq(1).all()  # one channel at a time, also where it closes
assert_close(wheel, lfdm.flow.colour_wheel())
print("wheel:", tuple(wheel.shape), " between red and yellow:", [round(g, 2) for g in wheel[:15:5, 1].tolist()])

# %% [markdown]
# ### Colours, version 1: direction alone
#
# Take the flow of a pixel as an arrow. Its angle, and its length in units of a given $r_{\max}$ (in the same unit as the
# flow, normalized or pixels; unless it is given, the longest flow of the picture), are
#
# $$\vartheta = \operatorname{atan2}(f_y, f_x), \qquad r = \frac{\sqrt{f_x^2 + f_y^2}}{r_{\max}}$$
#
# With $y$ down, $\vartheta$ runs clockwise on the screen: 0 is right, a quarter turn is down. It is a place on the
# wheel, usually between two neighbouring hues, which are mixed.

# %%
def hue_of(f_x: Tensor, f_y: Tensor) -> Tensor:
    """Directions (...) -> hues (..., 3)."""
    theta = torch.atan2(f_y, f_x)
    place = ((theta / (2 * math.pi)) % 1) * len(wheel)  # 0 to 55
    lower = place.long() % len(wheel)
    part = (place - place.floor())[..., None]
    return (1 - part) * wheel[lower] + part * wheel[(lower + 1) % len(wheel)]


def flow_to_rgb_v1(flow: Tensor) -> Tensor:
    """Flow (b, 2, ...) -> its directions in colours, (b, 3, ...)."""
    f_x, f_y = flow.unbind(1)
    return hue_of(f_x, f_y).movedim(-1, 1)


directions = torch.tensor([(1.0, 0), (0, 1), (-1, 0), (0, -1)])  # right, down, left, up
for name, hue in zip(("right", "down", "left", "up"), hue_of(*directions.T), strict=True):
    print(f"{name:5}", [round(c, 2) for c in hue.tolist()])
turn = torch.linspace(0, 2 * math.pi, 500)
assert hue_of(turn.cos(), turn.sin()).diff(dim=0).abs().max() < 0.2  # no jump, also where the wheel closes
assert_close(hue_of(7 * turn.cos(), 7 * turn.sin()), hue_of(turn.cos(), turn.sin()), atol=1e-3, rtol=0)

# %% [markdown]
# ### Colours, version 2: saturation is length
#
# Let $\mathbf c(\vartheta)$ be the hue. Mix it with white, so that the colour is white at $r = 0$ and the hue at
# $r = 1$:
#
# $$\mathrm{rgb} = 1 - r\, (1 - \mathbf c(\vartheta))$$
#
# What is longer than $r_{\max}$ turns darker, $0.75\, \mathbf c(\vartheta)$, so that you notice.

# %%
def flow_to_rgb_v2(flow: Tensor, max_norm: float | None = None, pixels: bool = False) -> Tensor:
    """Flow (b, 2, ...) -> colours (b, 3, ...); the longest flow gets full colour unless `max_norm` is given."""
    f_x, f_y = (in_pixels(flow) if pixels else flow).unbind(1)
    length = torch.hypot(f_x, f_y)
    r = (length / (max_norm or length.max().clamp(min=1e-12)))[..., None]
    c = hue_of(f_x, f_y)
    return torch.where(r <= 1, 1 - r * (1 - c), 0.75 * c).movedim(-1, 1)


assert_close(flow_to_rgb_v2(torch.zeros(1, 2, 4, 4)), torch.ones(1, 3, 4, 4))  # white
for options in ({}, {"max_norm": 0.1}, {"max_norm": 3.0, "pixels": True}):
    assert_close(flow_to_rgb_v2(flow, **options), lfdm.flow_to_rgb(flow, **options), atol=1e-5, rtol=0)
print("the flow of 16 frames in colours:", tuple(flow_to_rgb_v2(flow).shape))

# %% [markdown]
# A picture of a flow needs a legend, and that is the picture of the simplest flow of all: at each position, the
# position itself. Keep it in mind: all flows of this chapter are read with it.

# %%
def wheel_picture(size: int = 96) -> Tensor:
    """Every direction and length, (3, size, size); outside of the wheel it is white."""
    grid = identity_grid(size, size)
    inside = (grid.norm(dim=0) <= 1).float()
    return flow_to_rgb_v2(grid[None], max_norm=1.0)[0] * inside + 1 - inside


assert_close(wheel_picture(96), viz.colour_wheel_picture(96).image, atol=1e-5, rtol=0)
flow_6 = flow[:, :, 6]
for place, where in {"forehead": (18, 32), "chin": (57, 32), "wall": (3, 3)}.items():
    u, v = in_pixels(flow_6)[0, :, where[0], where[1]].tolist()
    print(f"{place:8} row {where[0]}, column {where[1]}: flow ({round(u)}, {round(v)}) pixels")
assert in_pixels(flow_6)[0, 1, 18, 32] > 1 and in_pixels(flow_6)[0, 1, 57, 32] < -1 and flow_6[0, :, 3, 3].norm() == 0
viz.image_row(
    [video[:, 6], flow_to_rgb_v1(flow_6)[0], flow_to_rgb_v2(flow_6)[0], wheel_picture(64)],
    ["frame 6", "version 1", "version 2", "legend"],
    scale=4,
    alt="The surprised face. Version 1: the wall is full red, though it is still; the head has strong colours. Version 2: the wall is white, the upper head yellow, the chin violet, the corners of the mouth green and red. The wheel: right red, down yellow, left cyan, up violet.",
)

# %% [markdown]
# *Read it with the legend: the forehead is yellow, so it looks down for its content, and so it has moved up. The chin
# is violet: it looks up, and has moved down. Version 1 paints the still wall red, since a flow of zero has no
# direction. Version 2 leaves it white.*
#
# Unless you fix $r_{\max}$, each picture is scaled by its own longest flow, and a faint motion looks like a strong one.
# Turn $r_{\max}$, for this flow and for a tenth of it:

# %%
faint = 0.1 * flow_6
assert_close(flow_to_rgb_v2(faint), flow_to_rgb_v2(flow_6), atol=1e-4, rtol=0)  # each by its own longest: no difference
longest = in_pixels(flow_6).norm(dim=1).max().item()
palest = [flow_to_rgb_v2(motion, longest, pixels=True).min().item() for motion in (flow_6, faint)]
print(f"lowest channel, both at r_max = {longest:.1f}: {palest[0]:.2f}; of a tenth of the motion {palest[1]:.2f} (white: 1)")
assert palest[0] < 0.01 and palest[1] > 0.89
viz.dial(
    lambda r_max: side_by_side(*(flow_to_rgb_v2(motion, r_max, pixels=True)[0] for motion in (flow_6, faint))),
    alt="The flow of frame 6 in colours, and a tenth of it in much paler ones; where a flow is longer than r max, the colour is dark",
    reach={"r_max": (0.5, 70.0)},
    r_max=[3.5, 7.0, 14.0, 28.0],
)

# %% [markdown]
# *Left the flow of frame 6, right a tenth of it, both at the same $r_{\max}$ in pixels. At 3.5 the longest flows turn
# dark; at 7 all are within the wheel; beyond, they turn pale.*
#
# Besides, not everybody sees these hues apart, so give a second cue: arrows. The library draws them the way the
# *content* went, opposite to the flow.

# %%
u, v = in_pixels(flow_6)[0, :, 18, 32].tolist()
print(f"forehead: the flow is ({round(u)}, {round(v)}) pixels, so the content went {round(v)} pixels up")
assert v > 3
viz.flow_arrows(
    video[:, 6],
    flow_6[0],
    every=5,
    scale=6,
    alt="The surprised face, pale, with arrows: upward at forehead and brows, downward at the chin, dots on the wall.",
)

# %% [markdown]
# *Arrows start where frame 0 has the content, and end where it is now. Dots: less than half a pixel.*

# %% [markdown]
# ## A world whose motion is known
#
# Where does the true flow of the face come from? Nobody measured it: the clip is *drawn*, by a small renderer that
# knows where everything came from, and you build that renderer now. The idea is old {cite:p}`wang1994layers`: a scene
# is a stack of *layers*, from back to front, and each layer moves in its own way. Ours has three: a wall, a ball that
# rolls along it, and a post that the ball passes behind.
#
# ### A layer, in its own coordinates
#
# A ball does not change when it rolls; only its place does. So draw it once, in coordinates of its own in which it
# never moves: they are called *canonical*, and written $\mathbf q$. A layer has
#
# * a **shape**: for each $\mathbf q$ the *signed distance* $D(\mathbf q)$ to its edge, negative inside;
# * a **paint**: for each $\mathbf q$ a colour;
# * a **motion**: where canonical coordinates lie in each frame.
#
# For the motion, take an affine map for every frame $k$: a 2 x 2 matrix $A_k$ that turns and scales, and a shift
# $\mathbf b_k$:
#
# $$\mathbf p = A_k\, \mathbf q + \mathbf b_k, \qquad A_k = \sigma_k \begin{pmatrix} \cos\varphi_k & -\sin\varphi_k \\ \sin\varphi_k & \cos\varphi_k \end{pmatrix}$$
#
# With $y$ down, $\varphi_k$ turns clockwise on the screen; $\sigma_k$ is the scale.

# %%
def affine(scale=1.0, angle=0.0, x=0.0, y=0.0) -> Tensor:
    """Numbers, or one number per frame -> A and b side by side, (T, 2, 3); T is 1 for a layer that never moves."""
    given = [torch.as_tensor(value, dtype=torch.float32).reshape(-1) for value in (scale, angle, x, y)]
    sigma, phi, x, y = torch.broadcast_tensors(*given)
    upper = torch.stack([sigma * phi.cos(), -sigma * phi.sin(), x], dim=-1)
    lower = torch.stack([sigma * phi.sin(), sigma * phi.cos(), y], dim=-1)
    return torch.stack([upper, lower], dim=1)


time = torch.linspace(0, 1, 9)  # the scene has nine frames
spin = affine(1 + time, math.pi * time, 0.3, -0.2 * time)
A, b = spin[..., :2], spin[..., 2]
assert_close(A.mT @ A, (1 + time).square()[:, None, None] * torch.eye(2))  # turns keep lengths, scales stretch them
assert_close(spin, scenes.affine(1 + time, math.pi * time, 0.3, -0.2 * time))
print("a motion:", tuple(spin.shape), " none:", tuple(affine().shape))

# %% [markdown]
# The renderer asks, for a pixel $\mathbf p$ of frame $k$: which $\mathbf q$ is there? That is the inverse,
#
# $$\mathbf q = A_k^{-1} (\mathbf p - \mathbf b_k)$$
#
# and it runs in the same direction as backward flow: from the new frame to where things are kept.

# %%
Field = Callable[[Tensor, Tensor], Tensor]  # canonical x, y -> a number at each place, or three: a colour


@dataclass(frozen=True)
class Layer:
    shape: Field  # signed distance, negative inside
    paint: Field  # colour, (3, ...)
    to_image: Tensor  # (T, 2, 3), or (1, 2, 3) if it never moves
    local: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None  # for "Things that bend" alone


# %%
def to_canonical(layer: Layer, p: Tensor) -> Tensor:
    """Positions (2, 1 or T, h, w) in the frames -> canonical coordinates (2, 1 or T, h, w)."""
    A, b = layer.to_image[..., :2], layer.to_image[..., 2]
    p = p - b.T[:, :, None, None]
    # frame by frame (k), matrix times vector (m, n), at every pixel (h, w)
    q = torch.einsum("kmn,nkhw->mkhw", torch.linalg.inv(A), p.expand(2, len(A), -1, -1))
    return torch.stack(layer.local(*q)) if layer.local else q


def to_rest(layer: Layer, q: Tensor) -> Tensor:
    """Canonical coordinates -> positions in frame 0; here and in the library, at rest means in frame 0."""
    A, b = layer.to_image[0, :, :2], layer.to_image[0, :, 2]
    return torch.einsum("mn,nkhw->mkhw", A, q) + b[:, None, None, None]


small = identity_grid(5, 5)[:, None]
spinning = Layer(shape=None, paint=None, to_image=spin)
assert_close(to_rest(spinning, to_canonical(spinning, small))[:, 0], small[:, 0])  # in frame 0 they are inverses
print("canonical coordinates of every pixel of every frame:", tuple(to_canonical(spinning, small).shape))

# %% [markdown]
# ### Shape and paint
#
# A signed distance is more than a mask: it says *how far* the edge is, and that gives smooth edges. Let $\delta$ be the
# width that a pixel of frame 0 has in canonical units. In the picture it is $2 / W$ wide; a map scales areas by its
# determinant, and lengths by the root of that. A pixel whose centre is on the edge is half covered, one whose centre is
# half a pixel inside is full. So $\delta$ and the *coverage*, about, are
#
# $$\delta = \frac{2}{W} \,\Big/ \sqrt{|\det A_0|}, \qquad \alpha = \min\left(1,\; \max\left(0,\; \frac{1}{2} - \frac{D(\mathbf q)}{\delta}\right)\right)$$
#
# With a disc the area is known, so the claim can be checked: the coverages must add up to $\pi \varrho^2$, for a
# radius $\varrho$, far better than counting pixels inside does. (What the formula needs is the distance near edges. Shapes
# with corners may say too little outside of a corner, as the post's below does; that changes the few pixels there.)

# %%
def ball_shape(x: Tensor, y: Tensor, radius: float = 0.3) -> Tensor:
    return x.hypot(y) - radius


def coverage(distance: Tensor, layer: Layer, size: int) -> Tensor:
    """Signed distance in canonical units -> share of a pixel that is covered, 0 to 1."""
    delta = 2 / size / torch.linalg.det(layer.to_image[0, :, :2]).abs().sqrt()
    return (0.5 - distance / delta).clamp(0, 1)


counted, summed = [], []
for size in range(16, 64, 4):
    distance = ball_shape(*identity_grid(size, size))
    alpha = coverage(distance, Layer(ball_shape, None, affine()), size)
    area, truth = 4 / size**2, math.pi * 0.3**2
    counted.append(abs((distance < 0).sum().item() * area / truth - 1))
    summed.append(abs(alpha.sum().item() * area / truth - 1))
assert 5 * max(summed) < max(counted) and max(summed) < 0.02
print(f"worst error of the area: counted {max(counted):.0%}, with coverage {max(summed):.1%}")

# %% [markdown]
# The same $\delta$ serves all frames, here as in the library: a layer that grows to twice its size has an edge two pixels
# wide.
#
# Now the things of the scene. Paint is any function of canonical coordinates. The ball has six sectors, red and cream
# in turns, so that you can see it turn. It rolls without slipping: when it has gone as far as its radius, it has turned by one
# radian. In the code, `rolled` is how far it has gone in each frame.

# %%
def rgb(*channels: float) -> Tensor:
    return torch.tensor(channels)[:, None, None, None]


def wall_paint(x: Tensor, y: Tensor) -> Tensor:
    boards = 0.93 + 0.07 * torch.tanh(6 * torch.sin(9 * x)) * (y < 0.62)
    return torch.where(y < 0.62, rgb(0.86, 0.84, 0.76), rgb(0.55, 0.47, 0.38)) * boards


def ball_paint(x: Tensor, y: Tensor) -> Tensor:
    sectors = torch.sin(3 * torch.atan2(y, x)) > 0
    return torch.where(sectors, rgb(0.80, 0.22, 0.15), rgb(0.98, 0.93, 0.80)) * (1 - x.hypot(y).square())


def post_shape(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x.abs() - 0.09, y.abs() - 0.75)  # a tall box


def post_paint(x: Tensor, y: Tensor) -> Tensor:
    return rgb(0.24, 0.36, 0.42) * (1.2 - 4 * x.abs()) + 0.06 * torch.sin(14 * (y + x))


# %%
rolled = 1.2 * time
wall = Layer(lambda x, y: torch.full_like(x, -9.0), wall_paint, affine())  # inside everywhere
ball = Layer(ball_shape, ball_paint, affine(1.0, rolled / 0.3, -0.55 + rolled, 0.42))
post = Layer(post_shape, post_paint, affine(x=0.3, y=0.0))
scene = [wall, ball, post]  # back to front

# %% [markdown]
# ### Renderer, version 1: a video
#
# Draw the layers from back to front. Each mixes its paint over what is there, as far as it covers
# {cite:p}`porter1984compositing`.

# %%
def render_v1(layers: list[Layer], size: int, frames: int) -> Tensor:
    """Layers, back to front -> video (3, T, size, size)."""
    p = identity_grid(size, size)[:, None]
    video = torch.zeros(3, frames, size, size)
    for layer in layers:
        q = to_canonical(layer, p)
        alpha = coverage(layer.shape(*q), layer, size)
        video = (1 - alpha) * video + alpha * layer.paint(*q)
    return video.clamp(0, 1)


rolling = render_v1(scene, 64, 9)
assert_close(render_v1([wall], 64, 1)[:, 0], wall_paint(*identity_grid(64, 64)[:, None])[:, 0])
assert_close(render_v1([wall, post], 64, 9)[:, 0], render_v1([wall, post], 64, 9)[:, 8])  # nothing moves
print("scene:", tuple(rolling.shape))
viz.player(
    rolling,
    fps=4,
    scale=5,
    alt="A ball with red and cream sectors rolls from left to right along a wall, passes behind a post, and comes out on the other side.",
)

# %% [markdown]
# *The scene of the rest of this chapter. Play it: the sectors turn, and the post covers the ball.*
#
# ### Renderer, version 2: exact flow
#
# Now the reward. A pixel $\mathbf p$ of frame $k$ shows a point $\mathbf q$ of the topmost layer there. In frame 0 the
# same point is at $A_0 \mathbf q + \mathbf b_0$. So the true backward flow is
#
# $$f_k(\mathbf p) = A_0\, A_k^{-1} (\mathbf p - \mathbf b_k) + \mathbf b_0 - \mathbf p$$
#
# Nothing is estimated, and nothing is rounded to pixels. The renderer has computed $\mathbf q$ anyway, and only has to
# note who is on top (the *owner*: the last layer that covers more than half of the pixel), and where that was in frame 0
# (`rest`).

# %%
def render_v2(layers: list[Layer], size: int, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """Layers -> video (3, T, h, w), flow to frame 0 (2, T, h, w), owner (T, h, w)."""
    p = identity_grid(size, size)[:, None]
    video = torch.zeros(3, frames, size, size)
    rest = p.repeat(1, frames, 1, 1)
    owner = torch.zeros(frames, size, size, dtype=torch.int16)
    for index, layer in enumerate(layers):
        q = to_canonical(layer, p)
        alpha = coverage(layer.shape(*q), layer, size)
        video = (1 - alpha) * video + alpha * layer.paint(*q)
        on_top = alpha > 0.5
        owner = torch.where(on_top, index, owner)
        rest = torch.where(on_top, to_rest(layer, q), rest)
    return video.clamp(0, 1), rest - p, owner


drawn, scene_flow, owner = render_v2(scene, 64, 9)
assert_close(drawn, rolling)
assert scene_flow[:, 0].abs().max() < 1e-6  # frame 0 has not moved
assert scene_flow[:, owner != 1].abs().max() < 1e-6  # wall and post do not move
moved = in_pixels(scene_flow[None])[0].norm(dim=0)[8]
on_ball = owner[8] == 1
print(f"length of the flow in frame 8: on average {moved[on_ball].mean():.0f} pixels on the ball, {moved[~on_ball].mean():.1f} elsewhere")

# %% [markdown]
# ### Renderer, version 3: visibility
#
# The wall that the ball uncovers has a flow, too: it is zero. But following it leads to a pixel of frame 0 that shows
# the *ball*. The flow is right, and the colour is wrong, so the renderer must say which pixels these are. Let $o_k(\mathbf p)$
# be the owner of pixel $\mathbf p$ in frame $k$. The place $\mathbf p + f_k(\mathbf p)$ where it comes from is *visible* if
# it lies inside the picture, and the same layer is on top there:
#
# $$m_k(\mathbf p) = \begin{cases} 1 & \text{if } o_0(\mathbf p + f_k(\mathbf p)) = o_k(\mathbf p) \\ 0 & \text{otherwise, or outside the picture} \end{cases}$$
#
# LFDM calls $m$ the *occlusion map*. Mind the sense: 1 is visible, 0 is hidden in the source. In the code it is `visible`.
#
# That place lies between pixels of frame 0. So ask who owns frame 0 on a grid three times as
# fine, and round to that.

# %%
def owner_at_rest(layers: list[Layer], size: int) -> Tensor:
    """Who is on top in frame 0, (size, size)."""
    owner = torch.zeros(size, size, dtype=torch.int16)
    for index, layer in enumerate(layers[1:], start=1):
        first = replace(layer, to_image=layer.to_image[:1], local=None)  # nothing bends at rest
        inside = first.shape(*to_canonical(first, identity_grid(size, size)[:, None]))[0] < 0
        owner = torch.where(inside, index, owner)
    return owner


def visible_from(rest: Tensor, owner: Tensor, at_rest: Tensor) -> Tensor:
    """Places in frame 0 (2, T, h, w), owners (T, h, w), owners of frame 0 -> (1, T, h, w)."""
    size = len(at_rest)
    i, j = (((rest + 1) * size - 1) / 2).round().long().clamp(0, size - 1)
    inside = rest.abs().amax(0) <= 1
    return (inside & (at_rest[j, i] == owner))[None]


at_rest = owner_at_rest(scene, 3 * 64)
assert_close(at_rest[1::3, 1::3], owner[0])  # the middle of each 3 x 3 is the pixel itself
print("owners of frame 0, fine:", tuple(at_rest.shape))

# %% [markdown]
# All parts are there, and the third version puts them together, in the form that the library returns: as version 2, and
# visibility at the end.

# %%
class Rendered(NamedTuple):
    video: Tensor  # (3, T, h, w)
    flow: Tensor  # (2, T, h, w), backward, to frame 0
    visible: Tensor  # (1, T, h, w)
    owner: Tensor  # (T, h, w)


def render_v3(layers: list[Layer], size: int, frames: int) -> Rendered:
    p = identity_grid(size, size)[:, None]
    video = torch.zeros(3, frames, size, size)
    rest = p.repeat(1, frames, 1, 1)
    owner = torch.zeros(frames, size, size, dtype=torch.int16)
    for index, layer in enumerate(layers):
        q = to_canonical(layer, p)
        alpha = coverage(layer.shape(*q), layer, size)
        video = (1 - alpha) * video + alpha * layer.paint(*q)
        on_top = alpha > 0.5
        owner = torch.where(on_top, index, owner)
        rest = torch.where(on_top, to_rest(layer, q), rest)
    visible = visible_from(rest, owner, owner_at_rest(layers, 3 * size))  # what is new
    return Rendered(video.clamp(0, 1), rest - p, visible, owner)

# %%
def library_layer(layer: Layer) -> scenes.Layer:
    """The library also wants a box that holds the shape, to draw no more than that."""
    motion = scenes.LayerMotion(layer.to_image, layer.local)
    return scenes.Layer(layer.shape, layer.paint, motion, box=(-9, -9, 9, 9))


def apart_from_library(layers: list[Layer], size: int, frames: int) -> str:
    ours, theirs = render_v3(layers, size, frames), scenes.render([library_layer(n) for n in layers], size, frames)
    assert_close(ours.video, theirs.video, atol=1e-4, rtol=0)
    assert_close(ours.flow, theirs.flow, atol=1e-5, rtol=0)
    # two sums in another order may round a place half between two pixels to another side
    tied = (ours.visible != theirs.visible).float().mean() + (ours.owner != theirs.owner).float().mean()
    assert tied < 1e-3
    colours, flows = (ours.video - theirs.video).abs().max(), (ours.flow - theirs.flow).abs().max()
    return f"colours {colours:.3f}, flow {flows:.4f}; {tied:.1%} of owners and visibility"


clip = render_v3(scene, 64, 9)
for size in (48, 64):
    print(f"{size} pixels: against lfdm_lite's render, at most:", apart_from_library(scene, size, 9))

# %%
def three_panels(clip: Rendered) -> Tensor:
    """Frames, their flow in colours, and what frame 0 shows, side by side, (3, T, h, 3 w + 4)."""
    colours = flow_to_rgb_v2(clip.flow[None], clip.flow.norm(dim=0).max().item())[0]
    return side_by_side(clip.video, colours, 0.85 * clip.visible.float())


names = [f"frame {k}" for k in range(9)]
hidden = (~clip.visible).sum(dim=(0, 2, 3))
assert hidden[0] == 0 and (hidden[1:4].diff() > 0).all() and hidden[8] < 1.1 * math.pi * (0.3 * 32) ** 2
of_ball = hidden / (math.pi * (0.3 * 32) ** 2)  # its radius is 0.3 * 32 pixels
print("hidden pixels over those of the ball, frames 0 to 8:", [round(share, 1) for share in of_ball.tolist()])
viz.slider(
    three_panels(clip),
    names,
    scale=4,
    start=5,
    alt="The rolling ball, its flow in colours, and visibility. A black shape grows where the ball was in frame 0, first a crescent, then a full disc.",
)

# %% [markdown]
# *Move the slider. Left: the scene. Middle: its flow, in the colours of the wheel, full at the longest flow of the clip; the
# ball is cyan where it looks to the left, and its hues differ from place to place since it also turns. Right: light is
# visible in frame 0, black is hidden there. The black disc is the wall where the ball was at first. Single black pixels are
# rims, where a third of a pixel is too coarse.*

# %% [markdown]
# ## Add a layer of your own
#
# The next cells add a kite between wall and ball, and measure how right its flow and visibility are. Run them, then
# change the kite to a layer of yours: another shape, another paint, another motion, another place in the stack. The two
# measures come from the library. Both know what your layers look like and where they are; neither uses the renderer's
# formula for flow, or its table of owners in frame 0.
#
# **The flow**: `proofs.colours_apart` compares the colours of visible pixels with those of frame 0 at the place that
# the flow names. (Near edges a pixel mixes two colours, so it leaves out pixels near edges, on drawings that are five
# times finer.)
#
# **The visibility**: `proofs.depth_test` takes the owners of the new frame, goes to the exact place in frame 0, with no grid
# and no rounding, and asks every layer whether it is there. The last one that is, is on top.

# %%
def measured_scene(layers: list[Layer]) -> Rendered:
    """The scene, drawn; prints how right its flow and visibility are."""
    clip, theirs = render_v3(layers, 64, 9), [library_layer(layer) for layer in layers]
    along, still = proofs.colours_apart(theirs, clip.flow, clip.visible)
    agree = 100 * (proofs.depth_test(theirs, clip.flow, clip.owner) == clip.visible).float().mean().item()
    print(f"colours differ by {along:.3f} along the flow, by {still:.2f} without it")
    print(f"the depth test agrees on more than {math.floor(2 * agree) / 2} % of the pixels")
    assert along < 0.02, "colours change along the flow: does your paint depend on more than canonical x and y?"
    assert agree > 99, "the depth test disagrees: is a layer bent in frame 0, or finer than a pixel?"
    return clip


clip = measured_scene(scene)
theirs = [library_layer(layer) for layer in scene]
wrong = proofs.colours_apart(theirs, -clip.flow, clip.visible)[0]
assert wrong > 0.05  # the measure can fail
print(f"with a flow of the wrong sign colours would differ by {wrong:.2f}")

# %%
def my_shape(x: Tensor, y: Tensor) -> Tensor:
    return (x.abs() + 0.7 * y.abs() - 0.26) / math.hypot(1, 0.7)  # a diamond; negative inside


def my_paint(x: Tensor, y: Tensor) -> Tensor:
    return torch.where(x * y > 0, rgb(0.20, 0.45, 0.70), rgb(0.95, 0.75, 0.25))  # four quarters, two colours


my_motion = affine(
    scale=1 + 0.2 * time,
    angle=0.5 * torch.sin(2 * math.pi * time),  # it sways
    x=0.22 - 0.65 * time,
    y=-0.2 - 0.35 * time,
)
my_layer = Layer(my_shape, my_paint, my_motion)
my_scene = [wall, my_layer, ball, post]  # back to front: the kite is behind the ball and the post

if fault := proofs.fault(library_layer(my_layer), num_frames=9):  # a mask, a turned sign, a motion of another length
    print("my layer:", fault)
my_clip = measured_scene(my_scene)
mine = my_clip.owner == my_scene.index(my_layer)
print(f"my layer has {mine[0].float().mean():.0%} of the picture at first, {mine[8].float().mean():.0%} at last")

# %%
hidden_of_mine = (mine & ~my_clip.visible[0]).sum(dim=(1, 2)) / mine.sum(dim=(1, 2)).clamp(min=1)
assert hidden_of_mine[0] < 0.02, "frame 0 hides nothing of itself"
print("share of it that frame 0 hides:", [round(share, 1) for share in hidden_of_mine.tolist()])
viz.slider(
    three_panels(my_clip),
    names,
    scale=4,
    start=5,
    alt="The scene with a kite of four coloured quarters that rises to the left, out of the cover of the post. In the visibility map a strip of the kite is black, besides the wall where ball and kite were.",
)

# %% [markdown]
# *The kite comes out from behind the post. In frame 0 the post covers a part of it; that part is black in every later
# frame, and it moves with the kite: about half of what you see of it. (For a layer of yours that nothing covers in frame 0
# the share is near 0: a few pixels at its rim.) Nothing in the renderer was changed: the flow follows from the motion of the
# layer, to the last digits of a float, and visibility is known to a third of a pixel but for single pixels at rims.*
#
# ### Things that bend
#
# *May be skipped on a first reading.*
#
# A turn, a shift and a scale are all that our affine map offers, and a smile needs more. The trick of the library is one
# function: after the inverse affine map, a *local* displacement bends canonical coordinates, in every frame as it likes,
# but not in frame 0. With $L_k$ for it, and $L_0$ the identity,
#
# $$\mathbf q = L_k\!\left(A_k^{-1} (\mathbf p - \mathbf b_k)\right)$$
#
# So the map *to* canonical coordinates can be any function, while the map from there to frame 0 is still affine and known.
# No inverse of the bending is ever needed, and the flow stays exact.

# %%
def flutter(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """A wave that runs along the flag; at time 0 it has no height, and at the pole it never has."""
    height = 0.5 * time[:, None, None] * (x + 0.3)
    y = y + height * torch.sin(8 * x - 9 * time[:, None, None])  # (9, h, w)
    return x.expand_as(y), y


def flag_shape(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x.abs() - 0.3, y.abs() - 0.18)


def flag_paint(x: Tensor, y: Tensor) -> Tensor:
    return torch.where((x / 0.15).floor() % 2 == (y / 0.18).floor() % 2, rgb(0.95, 0.95, 0.9), rgb(0.2, 0.5, 0.4))


# %%
flag = Layer(flag_shape, flag_paint, affine(x=0.62, y=-0.5), local=flutter)
bending = measured_scene([wall, flag, post])
apart_from_library([wall, flag, post], 64, 9)  # asserts that both agree
x, y = identity_grid(9, 9)[:, None]
assert_close(flutter(x, y)[1][0], y[0])  # at rest nothing bends
viz.slider(
    three_panels(bending),
    names,
    scale=4,
    start=5,
    alt="A chequered flag beside the post that begins to wave. The flow of the flag is yellow and violet in turns, which means up and down. In the visibility map strips along the flag are black.",
)

# %% [markdown]
# *A flag that waves. Its flow changes from place to place; hidden is the wall that the flag uncovers.*
#
# The faces of this book are made like that: about twenty layers (18 in our running example), and a field of smooth bumps
# that moves brows, cheeks and lips. (For speed, layers that move alike, such as ears and hair, are drawn once, in canonical
# coordinates, into a picture, a *sprite*, and looked up there in every frame.)

# %% [markdown]
# ## Occlusion and disocclusion
#
# Two things happen when the ball moves. Some wall is *covered*, which was visible in frame 0 and is not any more: that
# is **occlusion**. And some wall is *uncovered*, which is visible now and was not in frame 0: that is **disocclusion**.
#
# Which of them is in the map $m$? Backward flow asks on behalf of the pixels of the *new* frame. What was covered has no
# pixel there, so nobody asks for it. Only the uncovered pixels ask for something that frame 0 does not show. So the zeros
# of LFDM's occlusion map mark disocclusion: pixels whose place was occluded in the source, and no longer is.
#
# To see the other half, play the video backwards. Then frame $k$ is the given one, and what was covered is uncovered.

# %%
def reversed_scene(layers: list[Layer], k: int) -> list[Layer]:
    """Two frames: frame k first, then frame 0."""
    two = [layer.to_image if len(layer.to_image) == 1 else layer.to_image[[k, 0]] for layer in layers]
    return [replace(layer, to_image=motion) for layer, motion in zip(layers, two, strict=True)]


k = 8
uncovered = ~clip.visible[0, k]
_, seen_from_0 = render_v3(reversed_scene(scene, k), 64, 2).visible[0]  # of the two frames, the second is frame 0
covered = ~seen_from_0
of_ball = [(clip.owner[0][uncovered] == 1).float().mean(), (clip.owner[k][covered] == 1).float().mean()]
print(f"uncovered since frame 0: {uncovered.sum()} pixels, {of_ball[0]:.0%} of them the ball's in frame 0")
print(f"covered until frame {k}:   {covered.sum()} pixels, {of_ball[1]:.0%} of them the ball's in frame {k}")
assert min(of_ball) > 0.9 and abs(covered.sum() / uncovered.sum() - 1) < 0.1
viz.image_row(
    [clip.video[:, 0], clip.video[:, k], 0.85 * (~covered).float(), 0.85 * (~uncovered).float()],
    ["frame 0", "frame 8", "covered later", "uncovered since"],
    scale=4,
    alt="The ball left of the post; the ball right of it; frame 0's pixels that will be covered, a black disc on the right and a sliver of the ball; frame 8's pixels that were uncovered, a black disc on the left.",
)

# %% [markdown]
# *Third: pixels of frame 0 that frame 8 does not show (occlusion). Fourth: pixels of frame 8 that frame 0 did not show
# (disocclusion). The sliver in the third is a piece of the ball that ends up behind the post; single pixels are rims,
# rounded to the other side. Only the fourth needs work: these pixels must be painted, and there is nothing to copy.*
#
# What does a warp show at uncovered pixels? It does as it is told and looks up frame 0, where it finds the ball; so the
# ball is there twice, and the one at its old place is a *ghost*. The remedy is to blank ghosts, by the product with the map
# (the source $I_s$ is frame 0, $I_0$):
#
# $$\hat I_k = m_k \odot \mathrm{warp}(I_0, f_k)$$
#
# The circled dot is multiplication, pixel by pixel. Black means: *not known, to be painted*.

# %%
def show_warp(clip: Rendered, k: int, alt: str) -> viz.Picture:
    moved = warp_v2(clip.video[None, :, 0], clip.flow[None, :, k])[0]
    known = clip.visible[:, k].float() * moved
    titles = ["frame 0", f"frame {k}", "warped", "times m"]
    return viz.image_row([clip.video[:, 0], clip.video[:, k], moved, known], titles, scale=4, alt=alt)


k = 5
moved = warp_v2(my_clip.video[None, :, 0], my_clip.flow[None, :, k])[0]
wrong = (moved - my_clip.video[:, k]).abs().mean(0)
ghost = ~my_clip.visible[0, k]
with_library = lfdm.warp(my_clip.video[None, :, 0], my_clip.flow[None, :, k], my_clip.visible[None, :, k].float())
assert_close(my_clip.visible[:, k] * moved, with_library[0], atol=1e-5, rtol=0)
print(f"error of the warped frame: {wrong[ghost].mean():.2f} at hidden pixels, {wrong[~ghost].mean():.2f} at visible ones")
assert wrong[ghost].mean() > 8 * wrong[~ghost].mean()
show_warp(my_clip, k, alt="The scene at first; the scene in frame 5; frame 0 warped, with a second ball at the left and a second kite; the same with these ghosts in black.")

# %% [markdown]
# *Third: the warped picture has two balls and two kites. Where the post hid the kite, the warped kite wears a piece of
# post. Fourth: times $m$. What is left is right but for thin lines at edges, and what is black is for a decoder to
# paint: a network that turns warped features into frames, built in [chapter 5](05_autoencoder.ipynb).*
#
# Now look again at the surprised face, whose open mouth is a disocclusion.

# %%
k = 6
face_clip = Rendered(video, face["flow"], face["visible"] > 0.5, owner=None)
shares = {"frame": face_clip.visible[0, k], "mouth": face_clip.visible[0, k, 42:54, 28:38], "wall": face_clip.visible[0, k, :6]}
print("hidden in frame 0:", ", ".join(f"{1 - seen.float().mean():.1%} of the {name}" for name, seen in shares.items()))
assert 1 - shares["frame"].float().mean() < 0.05 and shares["mouth"].float().mean() < 0.7
show_warp(face_clip, k, alt="The face at rest; surprised; frame 0 warped, with stretched lips where the mouth opens; times the map, with black at the mouth, above the eyes and along the jaw.")

# %% [markdown]
# *4 % of this frame is hidden in frame 0. So the rest can be copied, if the flow is known. That is the bet of LFDM: generate
# the flow, which is smooth nearly everywhere, and paint only what is left.*
#
# ### How much is uncovered?
#
# *May be skipped on a first reading.*
#
# For a disc of radius $\varrho$ that has moved by $d$, it is the disc's area without the lens in which old and new disc
# overlap. The lens is two equal segments of a circle, each of them a sector less a triangle. For $d \le 2 \varrho$
#
# $$S(d) = \pi \varrho^2 - 2 \varrho^2 \operatorname{arccos}\frac{d}{2 \varrho} + \frac{d}{2} \sqrt{4 \varrho^2 - d^2}$$
#
# and then all of $\pi \varrho^2$.

# %%
def uncovered_area(d: float, rho: float) -> float:
    d = min(d, 2 * rho)
    return math.pi * rho**2 - 2 * rho**2 * math.acos(d / (2 * rho)) + d / 2 * math.sqrt(4 * rho**2 - d**2)


assert uncovered_area(0, 0.3) < 1e-12 and math.isclose(uncovered_area(9, 0.3), math.pi * 0.3**2)
distances = torch.linspace(0, 0.9, 19)
measured = {}
for rho in (0.2, 0.3):
    rolls = Layer(lambda x, y, r=rho: ball_shape(x, y, r), ball_paint, affine(x=-0.45 + distances))
    seen = render_v3([wall, rolls], 128, 19).visible
    measured[rho] = (~seen).sum(dim=(0, 2, 3)) * 4 / 128**2  # a pixel's area is 4 / 128^2

# %% mystnb={"image": {"alt": "Uncovered area against the distance that the disc has moved, for radii 0.2 and 0.3. Markers lie on the predicted curves, which rise steeply at first, then flatten, and stay level from a distance of twice the radius on."}}
plt.figure(figsize=(7, 3.8))
for (rho, areas), marker, style in zip(measured.items(), "os", ("-", "--"), strict=True):
    predicted = torch.tensor([uncovered_area(d, rho) for d in distances.tolist()])
    plt.plot(distances, predicted, style, color=viz.COLOURS["black"], label=f"predicted, radius {rho}")
    plt.plot(distances, areas, marker, color=viz.COLOURS["black"], markerfacecolor="white", label=f"measured, radius {rho}")
    worst = (areas - predicted).abs().max().item()
    assert worst < 0.005
    plt.axvline(2 * rho, color=viz.COLOURS["black"], linestyle=":", linewidth=1)
    print(f"radius {rho}: measured {areas[4]:.2f}, predicted {predicted[4]:.2f} at d = 0.2; {areas[-1]:.2f}, {predicted[-1]:.2f} at 0.9")
plt.gca().set(xlabel="distance d, in normalized units", ylabel="uncovered area")
plt.legend()
plt.show()

# %% [markdown]
# *Dotted: a distance of twice the radius. From there on, nothing more is uncovered, however far the disc goes. At first
# its slope is $2 \varrho$: a thin crescent, as high as the disc is.*

# %% [markdown]
# ## From a scene to a data set
#
# *May be skipped on a first reading.*
#
# A scene is one clip. To train and to measure, you need thousands, of different people, with labels. In the library a
# set is a class with names of labels, and one method that answers with layers. Three rules make it honest.
#
# * *Who* is seen depends on the subject's number alone. Subjects of the test split occur in no other split.
# * *How* somebody moves depends on random numbers that are drawn in the same order for each label, so that two clips may
#   differ in the label and in nothing else.
# * Frame 0 is at rest, whatever the label, since a picture must not tell what will happen.
#
# Here is a set of rolling balls. A subject is a colour; a label is a direction.

# %%
class Rolling(lfdm.data.ProceduralSet):
    labels = ("left", "right")
    key = 0xBA11  # keeps its random numbers apart from those of other sets

    def draw(self, label: str, subject: int, rng: np.random.Generator) -> list[scenes.Layer]:
        own_colour = rgb(*np.random.default_rng(subject).uniform(0.1, 0.9, 3).tolist())
        speed, height = rng.uniform((0.35, 0.2), (0.6, 0.5))  # each from its own range
        rolled = speed * torch.linspace(0, 1, self.num_frames) * {"left": -1, "right": 1}[label]

        def paint(x: Tensor, y: Tensor) -> Tensor:
            return torch.where(torch.sin(3 * torch.atan2(y, x)) > 0, own_colour, rgb(0.98, 0.93, 0.80))

        rolls = Layer(ball_shape, paint, affine(1.0, rolled / 0.3, rolled, height))
        return [library_layer(layer) for layer in (wall, rolls)]


balls = Rolling("train", size=64, num_frames=9)
print(len(balls), "clips;", {key: tuple(v.shape) for key, v in balls[0].items() if isinstance(v, Tensor)})

# %%
both = [balls.draw(label, subject=3, rng=np.random.default_rng(0)) for label in balls.labels]
to_left, to_right = (scenes.render(layers, 64, 9) for layers in both)
apart = (to_left.video - to_right.video).abs().mean(dim=(0, 2, 3))
assert torch.equal(to_left.video[:, 0], to_right.video[:, 0]) and apart[8] > 0.01  # frame 0 does not tell
print(f"left against right, the same subject: colours differ by {apart[0]:.2f} in frame 0, by {apart[8]:.2f} in frame 8")
assert torch.equal(balls[5]["video"], Rolling("train", 64, 9, length=6)[5]["video"])  # the index alone decides
people = {split: {Rolling(split)[i]["subject"] for i in range(20)} for split in ("train", "test")}
assert not people["train"] & people["test"]
print("subjects of 20 clips:", {split: len(them) for split, them in people.items()}, "in both:", len(people["train"] & people["test"]))
clips, label_names = zip(*((balls[i]["video"], balls[i]["label_name"]) for i in range(4)), strict=True)
print("labels of the first four:", label_names)
viz.player(
    viz.grid_of_clips(torch.stack(clips), columns=2),
    scale=4,
    alt="Four clips, two above two: balls of different colours that start in the middle and roll, those at the left to the left and those at the right to the right, at different heights and speeds.",
)

# %% [markdown]
# *Four clips of a data set of 6,000 (a set's length, unless you give another), in twenty lines. The two at the left roll to
# the left, the two at the right to the right. Flow and visibility come with each.*
#
# The four sets of the library are made in this way, with more care for looks. `Faces` has six expressions, `Figures`
# fifteen actions, `Gestures` fourteen signals; `Sketches` shows the clips of `Faces` in other styles. The file
# `lfdm_lite/data/README.md` has all labels in pictures.

# %%
def of_set(data_set: str) -> viz.Player:
    """A clip, its flow, and what frame 0 shows, every second frame, (3, 8, 64, 196)."""
    item = getattr(lfdm.data, data_set)("val", size=64, num_frames=16)[11]
    assert (item["flow"][:, 0] == 0).all() and (item["visible"][:, 0] == 1).all()  # all start at rest
    panels = side_by_side(item["video"], flow_to_rgb_v2(item["flow"][None], 0.3)[0], 0.85 * item["visible"])
    return viz.player(panels[:, ::2], start=3)


faces, sketches = (kind("val", size=64, num_frames=16)[11] for kind in (lfdm.data.Faces, lfdm.data.Sketches))
apart = {key: (faces[key] - sketches[key]).abs().mean().item() for key in ("video", "flow", "visible")}
print("Faces against Sketches, clip 11:", ", ".join(f"{key} {value:.2f}" for key, value in apart.items()))
assert apart["video"] > 0.05 and apart["flow"] == apart["visible"] == 0
labels = {name: getattr(lfdm.data, name)("val")[11]["label_name"] for name in ("Faces", "Sketches", "Figures", "Gestures")}
viz.dial(
    of_set,
    alt=lambda data_set: f"A clip of label {labels[data_set]}, its flow in colours, and a map, black where frame 0 hides what is seen",
    data_set=list(labels),
)

# %% [markdown]
# *Choose a set, and play; these are the even frames of 16. From left: the clip; its flow, with $r_{\max} = 0.3$ for all, so
# that longer ones, of arms and hands, are dark; black what frame 0 does not show. Two clips may differ in all their colours
# and have the same flow: `Faces` and `Sketches`. That separation is the idea of the whole book.*

# %% [markdown]
# ## Failure gallery
#
# ### A flow, misread
#
# Many flows that go wrong are right flows, read wrongly. Here are four mistakes that nearly everybody makes once, with
# the true flow of the surprised face.

# %%
k = 6
f, truth, m = flow[:, :, k], video[None, :, k], visible[:, :, k]
readings = {
    "right": f,
    "wrong sign": -f,
    "x, y swapped": f.flip(1),
    "in pixels": in_pixels(f),  # pixels, taken for normalized units
    "position": f + identity_grid(64, 64),  # where to look, taken for how far to look
}
shown = {name: warp_v2(source, reading) for name, reading in readings.items()}
errors = {name: error(picture, truth, m) for name, picture in shown.items()}
no_flow = error(source, truth, m)
print(f"error of frame 6 where visible: no flow {no_flow:.3f};", ", ".join(f"{name} {value:.3f}" for name, value in errors.items()))
assert errors["right"] < 0.5 * no_flow < no_flow < min(list(errors.values())[1:])
looks = ["surprised", "lips shut and a collar over the chin", "a crooked mouth and chin"]
looks = dict(zip(readings, [*looks, "torn pieces of clothes where the face should be", "half its size, with smeared borders"], strict=True))
viz.dial(
    lambda read: side_by_side(truth[0], shown[read][0], 1 - 3 * (shown[read] - truth).abs().mean(1)).clamp(0, 1),
    alt=lambda read: f"Frame 6; frame 0 warped by its flow: {looks[read]}; where they differ, dark",
    read=list(readings),
)

# %% [markdown]
# *Choose how the flow is read. From left: frame 6, frame 0 warped, their difference amplified three times. The torn and the
# shrunken picture are noticed at a glance. With a wrong sign there is still a face, with its mouth shut. So do not trust
# a glance: measure.*

# %% mystnb={"image": {"alt": "Bar chart of the error on visible pixels. Right is the lowest. Wrong sign and swapped axes are above the dashed line of no flow at all, position and pixels far above."}}
plt.figure(figsize=(7, 3.4))
bars = plt.bar(list(errors), list(errors.values()), color=viz.COLOURS["sky"])
plt.bar_label(bars, fmt="%.2f")
plt.axhline(no_flow, color=viz.COLOURS["black"], linestyle="--", label="no flow at all")
plt.ylabel("error on visible pixels")
plt.legend()
plt.show()
assert errors["wrong sign"] > 1.2 * no_flow

# %% [markdown]
# *The line is the test. When a flow does worse than no flow at all, suspect first that it is misread. (It may also be a
# poor estimate: some of those in* [*chapter 2*](02_flow_estimation.ipynb) *lose to no motion at all.) Keep this plot at
# hand whenever you connect two programs that exchange flows.*
#
# ### Changes that no flow can carry
#
# *May be skipped on a first reading.*
#
# Warping assumes that colours travel and do not change. A shadow, a lamp, a pane of tinted glass break that. Let a pane
# slide over the scene at rest. Each pixel shows two things then, the pane and what is behind it, and they move
# differently. There is one flow per pixel, and the renderer gives it to what is behind: a layer whose *opacity*, a
# factor of its coverage, is at most one half owns nothing.

# %%
pane = scenes.Layer(
    lambda x, y: scenes.rectangle(x, y, 0.3, 0.6),
    lambda x, y: rgb(0.1, 0.5, 0.4),
    scenes.LayerMotion(affine(x=-0.6 + 1.2 * time)),
    box=(-0.3, -0.6, 0.3, 0.6),
    opacity=0.45,
)
at_ease = replace(ball, to_image=ball.to_image[:1])
glass = scenes.render([*(library_layer(layer) for layer in (wall, at_ease, post)), pane], 64, 9)
pulled = warp_v2(glass.video[None, :, 0], glass.flow[None])[0]
apart = (pulled - glass.video).abs().mean(0)
print(f"longest flow {glass.flow.norm(dim=0).max():.3f}, visible {glass.visible.float().mean():.0%}")
print("error in frames 0, 4, 8:", [round(apart[k].mean().item(), 2) for k in (0, 4, 8)])
assert glass.flow.abs().max() < 1e-6 and glass.visible.all()  # nothing moves, all is visible
assert apart[0].max() < 1e-6 and apart[4:].mean(dim=(1, 2)).min() > 0.05
viz.image_row(
    [glass.video[:, 6], pulled[:, 6], 1 - 3 * apart[6]],
    ["frame 6", "frame 0, warped", "difference"],
    scale=4,
    alt="A green pane in front of the post; the warped picture, where it is still in front of the ball; the difference shows the pane twice, dark.",
)

# %% [markdown]
# *Left: a pane of glass has slid to the right, and nothing else has moved. Middle: frame 0, warped by the true flow,
# which is zero. Right: the difference; the pane is missing on the right and left over on the left. The visibility map
# is white all over, and no help. A decoder must repair this, or the flow must give up on truth and move what it can.*
#
# LFDM's auto-encoder is free to do both: nobody tells it the true flow, so it is trained towards the flow that helps its
# decoder most. How a flow can be found from pictures alone is the question of [chapter 2](02_flow_estimation.ipynb).

# %% [markdown]
# ## Summary
#
# * A backward flow says, for every pixel of a new frame, where in the source to look; positions are pixel centres in a
#   picture that spans $[-1, 1]$, and a warp looks there.
# * In a scene of layers the flow is exact, since each pixel knows its canonical coordinates; and a pixel is visible in
#   frame 0 if the same layer is on top at the place where it comes from.
# * What a motion uncovers cannot be copied from anywhere. The occlusion map marks it, and somebody has to paint it.
#
# ## Exercises
#
# **1. Check yourself** (two minutes, easy). A picture has 32 rows and 64 columns. Its flow is $(0.25, -0.125)$
# everywhere. By how many pixels did the content move, and in which direction?
#
# <details>
# <summary>Solution</summary>
#
# $u = 32 \cdot 0.25 = 8$ and $v = 16 \cdot (-0.125) = -2$: each pixel looks 8 to the right and 2 up. So the content came
# from there: it moved 8 pixels to the left and 2 down.
#
# ```python
# everywhere = torch.tensor([0.25, -0.125])[None, :, None, None].expand(1, 2, 32, 64)
# assert in_pixels(everywhere)[0, :, 0, 0].tolist() == [8, -2]
# spot = torch.zeros(1, 1, 32, 64)
# spot[0, 0, 10, 40] = 1
# assert warp_v2(spot, everywhere)[0, 0].argmax().item() == 12 * 64 + 32  # row 12, column 32
# ```
#
# </details>
#
# **2. Check yourself** (three minutes, easy). A clip of 40 frames has 128 x 128 pixels. How many numbers are its
# colours? How many are flow and occlusion map, on a grid of 32 x 32? What is their ratio, and what would it be with one
# colour only?
#
# <details>
# <summary>Solution</summary>
#
# Colours: $3 \cdot 40 \cdot 128^2 = 1{,}966{,}080$. Motion: two channels of flow and one of occlusion, $3 \cdot 40 \cdot
# 32^2 = 122{,}880$. The ratio is $16$, all from the coarser grid. With one colour it is $16 / 3$.
#
# ```python
# assert 3 * 40 * 128**2 == 16 * (2 + 1) * 40 * 32**2
# ```
#
# </details>
#
# **3. Check yourself** (three minutes, medium). The ball rolls behind the post and stays there, half covered. Which
# pixels of the last frame are hidden in frame 0? What about the half of the ball that is behind the post?
#
# <details>
# <summary>Solution</summary>
#
# Only the wall where the ball was. The visible half of the ball was visible in frame 0 as well, and so was the post. The
# covered half has no pixel in the last frame, so nobody asks for it: it is in no map.
#
# ```python
# stops = replace(ball, to_image=affine(1.0, 0.8 * time / 0.3, -0.55 + 0.8 * time, 0.42))
# last = render_v3([wall, stops, post], 64, 9)
# of_wall = last.owner[8][~last.visible[0, 8]] == 0
# assert of_wall.float().mean() > 0.95  # but for a few pixels at rims, which round to the other side
# ```
#
# </details>

# %% jupyter={"source_hidden": true} tags=["hide-input"]
def asked(function: Callable, shape: tuple, *given) -> Tensor | str:
    """What a function answers, as a tensor of a shape; or a sentence that says why it is none."""
    try:
        answer = function(*given)
        if answer is None:
            return f"not yet: there is no answer; return a tensor of shape {shape}"
        answer = torch.as_tensor(answer, dtype=torch.float32)
    except Exception as error:
        return f"not yet: return a tensor of shape {shape} (this time: {type(error).__name__}, {error})"
    return answer if answer.shape == shape else f"not yet: the shape is {tuple(answer.shape)}, expected {shape}"


def like(found: Tensor, other: Tensor) -> bool:
    return torch.allclose(found, other, atol=1e-5)


def verdict(hints: dict[str, bool]) -> str:
    """The first hint that applies."""
    return next((f"not yet{hint}" for hint, applies in hints.items() if applies), "solved")


# %% jupyter={"source_hidden": true} tags=["hide-input"]
def carried(layer: Layer, p: Tensor, k: int, other: int, inward: Callable = torch.linalg.inv, shift: float = 1.0) -> Tensor:
    """Positions in frame k -> where this is in another frame; or, for the check, a wrong way there."""
    A, b = layer.to_image[..., :2], layer.to_image[..., 2:]
    return (A[other] @ inward(A[k]) @ (p.flatten(1) - shift * b[k]) + b[other]).view_as(p)


# %% [markdown]
# **4. Code it** (ten minutes, easy). Write the signed distance of a ring: all points whose distance to the origin is
# between 0.25 and 0.35.

# %% tags=["exercise"]
def ring_shape(x: Tensor, y: Tensor) -> Tensor:
    return None  # your line


def check_ring(shape) -> str:
    x, y = torch.tensor([[0.3, 0.0, 0.5, 0.3, 0.26, 0.0], [0.0, 0.0, 0.0, 0.4, 0.0, 0.38]])
    found, right = asked(shape, (6,), x, y), torch.tensor([-0.05, 0.25, 0.15, 0.15, -0.01, 0.03])
    if isinstance(found, str):
        return found
    return verdict({
        ": that is a mask; a distance also says how far the edge is, or edges get jagged": set(found.abs().tolist()) <= {0.0, 1.0},
        ": the sign is the other way round; inside is negative": like(found, -right),
        ": 0.1 is the whole width; the edge is half of it away from the middle of the ring": like(found, right - 0.05),
        ": yours is negative everywhere; inside is what both circles call inside, so of their two distances the larger decides": (found < 0).all(),
        ": nothing of yours is negative, so nothing is inside": (found > -1e-5).all(),
        ": the hole of the ring is filled; that is a disc": found[1] < 0,
        f": the ring is at another place; (0.26, 0) is inside, and yours says {found[4]:.2f} there": found[4] > 0,
        f": the ring is at another place; (0, 0.38) is outside, and yours says {found[5]:.2f} there": found[5] < 0,
        f": inside and outside are right, the distance is not: {found[2]:.3f} at (0.5, 0), which is 0.15 away": not like(found, right),
    })


print(check_ring(ring_shape))

# %% jupyter={"source_hidden": true} tags=["hide-input"]
def hoop_shape(x: Tensor, y: Tensor) -> Tensor:
    """A hoop bent from 24 straight tubes, which is near enough to the ring."""
    corners = [(0.3 * math.cos(n * math.pi / 12), 0.3 * math.sin(n * math.pi / 12)) for n in range(25)]
    return reduce(torch.minimum, (scenes.capsule(x, y, *corners[n], *corners[n + 1], 0.05) for n in range(24)))


hoop = Layer(hoop_shape, lambda x, y: rgb(0.7, 0.2, 0.5) + 0.2 * x, affine(1.0, 3 * time, -0.5 + time, -0.5))
with_hoop = measured_scene([wall, hoop, ball, post])
assert (with_hoop.owner == 1).any()
viz.slider(
    three_panels(with_hoop),
    [f"frame {k}" for k in range(9)],
    scale=4,
    start=5,
    alt="The scene with a hoop that rolls above the ball, seen through in its middle; its flow; and visibility, where a black ring stays behind.",
)

# %% [markdown]
# *What your ring draws, as a hoop between wall and ball. Through its hole you see the wall, and the wall there is
# visible or hidden as the hoop of frame 0 says.*
#
# <details>
# <summary>Solution</summary>
#
# How far is a point from the circle in the middle of the ring, of radius 0.3? Less half of the width, that is the
# distance to the edge.
#
# ```python
# def ring_shape(x, y):
#     return (x.hypot(y) - 0.3).abs() - 0.05
#
#
# assert check_ring(ring_shape) == "solved"
# ```
#
# </details>
#
# **5. Code it** (fifteen minutes, medium). All flows so far lead to frame 0. Write the flow of a layer from frame $k$
# to any other frame, at positions `p` of shape `(2, h, w)`: what a pixel of frame $k$ shows, how far away is it in that
# frame, across and down?

# %% tags=["exercise"]
def flow_between(layer: Layer, p: Tensor, k: int, other: int) -> Tensor:
    return None  # your lines; layer.to_image has the A and b of every frame


def check_flow_between(function) -> str:
    turning = Layer(None, None, affine(1 + 0.5 * time, 2 * time, 0.6 * time - 0.2, 0.3 * time))
    p = 0.5 * identity_grid(4, 6)
    found, there = asked(function, (2, 4, 6), turning, p.clone(), 5, 2), carried(turning, p, 5, 2)
    if isinstance(found, str):
        return found
    mistakes = {
        ": that is the position in the other frame; a flow is the difference, so p must be taken away": there,
        ": the sign is the other way round; the place in the other frame comes first, and p is taken away": p - there,
        ": that leads to frame 0, whichever frame is asked for": carried(turning, p, 5, 0) - p,
        ": p is a position in frame k, and must be undone with the motion of frame k": carried(turning, p, 2, 5) - p,
        ": on the way in, the matrix of frame k must be undone, by its inverse": carried(turning, p, 5, 2, lambda A: A) - p,
        ": p is not canonical yet; the way in is the inverse of frame k's motion": carried(turning, p, 5, 2, lambda A: torch.eye(2), 0) - p,
        ": on the way in, the shift of frame k must be undone as well, before the matrix": carried(turning, p, 5, 2, shift=0) - p,
        ": the difference of two flows to frame 0 is taken at one place; the thing itself has moved on": carried(turning, p, 5, 0) - carried(turning, p, 2, 0),
    }
    hints = {hint: like(found, wrong) for hint, wrong in mistakes.items()}
    return verdict(hints | {": to canonical coordinates, then out": not like(found, there - p)})


print(check_flow_between(flow_between))

# %% jupyter={"source_hidden": true} tags=["hide-input"]
def onward(k: int) -> Tensor:
    """Where each pixel of frame 0 goes until frame k, (2, 64, 64): if the ball's, about its centre and to the right."""
    centre, angle = torch.tensor([-0.55, 0.42])[:, None, None], rolled[k] / 0.3
    x, y = identity_grid(64, 64) - centre
    turned = torch.stack([x * angle.cos() - y * angle.sin() + rolled[k], x * angle.sin() + y * angle.cos()])
    return torch.where(clip.owner[0] == 1, turned + centre - identity_grid(64, 64), 0.0)


forward = [onward(k) for k in (2, 4, 8)]
there = in_pixels(forward[2][None])[0, :, 45, 14]
assert abs(there[0] - 1.2 * 32) < 1  # near its centre, the ball goes 1.2 to the right
print(f"the centre of the ball goes {there[0]:.0f} pixels to the right until frame 8")
colours = [flow_to_rgb_v2(flow[None], 2.2)[0] for flow in forward]
viz.image_row(
    [clip.video[:, 0], *colours],
    ["frame 0", "to frame 2", "to frame 4", "to frame 8"],
    scale=4,
    alt="The ball in frame 0; its flow to frame 2 in pale colours, to frame 4 and to frame 8 in deeper ones, mostly red, which is right.",
)

# %% [markdown]
# *What a right answer gives with $k = 0$: forward flow of the ball, to three later frames on one scale. Red is right,
# and the hues differ within the ball since it turns.*
#
# <details>
# <summary>Solution</summary>
#
# To canonical coordinates by frame $k$, and out again by the other frame. If that is frame 0 it is the flow of this
# chapter.
#
# ```python
# def flow_between(layer, p, k, other):
#     A_k, b_k = layer.to_image[k, :, :2], layer.to_image[k, :, 2, None, None]
#     A, b = layer.to_image[other, :, :2], layer.to_image[other, :, 2, None, None]
#     q = torch.einsum("mn,nhw->mhw", torch.linalg.inv(A_k), p - b_k)
#     return torch.einsum("mn,nhw->mhw", A, q) + b - p
#
#
# assert check_flow_between(flow_between) == "solved"
# on_ball = clip.owner[3] == 1
# p = identity_grid(64, 64)
# assert_close(flow_between(ball, p, 3, 0)[:, on_ball], clip.flow[:, 3][:, on_ball], atol=1e-5, rtol=0)
# assert_close(flow_between(ball, p, 0, 8)[:, clip.owner[0] == 1], onward(8)[:, clip.owner[0] == 1], atol=1e-5, rtol=0)
# ```
#
# Chapter 3 composes flows of which no layer is known.
#
# </details>
#
# **6. Build it** (fifty minutes, hard). Pushing left a sieve. That is not the last word on forward flow: programs that
# make frames between frames push, too, with more care. Build such a push, in four parts.
#
# 1. *Where?* Each pixel lands between pixels, at column $a$ and row $b$, counted from the centre of the first. Find the
#    four pixels around that place, as whole numbers.
# 2. *Shares.* It gives each of the four a share. In columns it falls evenly from 1 to 0 over a distance of one pixel, in
#    rows as well, and the share is the product; so the four are together 1. What is outside of the picture gets nothing.
# 3. *Add up.* Every pixel of the new picture collects weights, which are shares times the importance of what lands,
#    and colours times weights. (`index_add_` adds to places that occur several times; plain indexing does not.)
# 4. *Divide.* The new colour is the weighted mean; white where nothing landed. Importance decides who wins where two
#    things land together: with 10,000 for a post and 100 for a ball, the post covers the ball.

# %% jupyter={"source_hidden": true} tags=["hide-input"]
def transposed_look_up(image: Tensor, forward: Tensor, importance: Tensor) -> tuple[Tensor, Tensor]:
    """Another push, for the check: looking up is linear in the picture, and the gradient of a sum is its transpose."""
    blank = torch.zeros(1, 4, *image.shape[1:], requires_grad=True)
    places = (identity_grid(*image.shape[1:]) + forward).movedim(0, -1)[None]
    found = F.grid_sample(blank, places, padding_mode="zeros", align_corners=False)
    (landed,) = torch.autograd.grad(found, blank, (torch.cat([image, torch.ones_like(image[:1])]) * importance)[None])
    colours, weight = landed[0, :3], landed[0, 3]
    return torch.where(weight > 0, colours / weight.clamp(min=1e-12), 1.0), weight


# %% tags=["exercise", "assembly"]
def push(image: Tensor, forward: Tensor, importance: Tensor) -> tuple[Tensor, Tensor]:
    """Picture (3, h, w), forward flow (2, h, w), importance (h, w) above 0 -> picture, and weight (h, w) that landed."""
    # 1. where: a and b, and the four pixels around
    # 2. shares
    # 3. add up weights, and colours times weights
    # 4. divide
    return None, None


def check_push(push) -> str:
    image = torch.rand(3, 6, 8, generator=torch.Generator().manual_seed(0))
    even, grid = torch.ones(6, 8), identity_grid(6, 8)
    across, down = torch.zeros(2, 2, 6, 8)
    across[0], down[1] = 2 / 8, 2 / 6  # by one pixel
    corner, inner = even.clone(), even.clone()
    corner[0, 0], inner[2, 3] = 1e5, 7.0  # one pixel is important

    def landed(forward, importance=even):
        answer = push(image.clone(), forward.clone(), importance.clone())
        if answer is None or answer[0] is None:
            raise ValueError("there is no answer yet")
        picture, weight = (torch.as_tensor(part, dtype=torch.float32) for part in answer)
        if picture.shape != image.shape or weight.shape != even.shape:
            raise ValueError(f"shapes {tuple(picture.shape)} and {tuple(weight.shape)}, expected (3, 6, 8) and (6, 8)")
        return picture, weight

    def near(found, expected):
        return torch.allclose(found, torch.as_tensor(expected, dtype=torch.float32).expand_as(found), rtol=1e-3, atol=1e-3)

    try:
        (still, ones), (_, half), (right, moved), (_, back) = map(landed, (0 * grid, (across + down) / 2, 3 * across, -3 * across))
        (meeting, all_there), (won, _), (mixed, most) = landed(-grid), landed(-grid, corner), landed(0.3 * grid, inner)
    except Exception as error:
        return f"not yet: return a picture and a weight (this time: {type(error).__name__}, {error})"
    shared, misplaced = near(half[0, 0], 0.25) and near(half[1:, 1:], 1), not near(still, image) or not near(ones, even)
    wanted, weights = transposed_look_up(image, 0.3 * grid, inner)
    return verdict({
        f", part 2: the four shares of a pixel are together 1; yours are {ones[3, 4]:.1f}": ones.sum() > 48.1,
        ", part 2: your shares are the same wherever a pixel lands; the closer one gets more": misplaced and near(half, ones),
        ", part 2: what lands on a pixel gives its all to it; the closer one gets more, and column and row are multiplied": misplaced and shared,
        ", part 1: with no flow, each pixel lands on itself, with weight 1; column from x and w, row from y and h": misplaced,
        ", part 2: moved 3 of 8 pixels to the right, or left, a part is outside and must be dropped; yours comes in again": not near(moved.sum(), 30) or not near(back.sum(), 30),
        ", part 2: half a pixel right and down, each lands on one pixel only; share it among the four around": near(half, half.round()),
        f", part 2: half a pixel right and down each share is a quarter; yours for the first pixel is {half[0, 0]:.2f}": not shared,
        ", part 3: when all 48 land in the middle, four pixels get 12 each; does only the last one stay?": not near(all_there[2:4, 3:5], 12),
        ", part 4: white where nothing landed; mind the division by zero": not near(right[:, :, :3], 1),
        ", part 4: when all land in the middle, the colour there is their mean; divide by the weight": not near(meeting[:, 2, 3], image.mean(dim=(1, 2))),
        ", part 3: importance must weigh the colours as well as the weights": not near(won[:, 2, 3], image[:, 0, 0]),
        ", part 2: a share is a product of two tents": not near(mixed, wanted),
        ", part 3: importance is part of the weight that you return": not near(most, weights),
    })


print(check_push(push))

# %% jupyter={"source_hidden": true} tags=["hide-input"]
zoom, even = 0.5 * identity_grid(64, 64), torch.ones(64, 64)
pushed, weight = transposed_look_up(video[:, 6], zoom, even)
sieve, _ = splat(video[:, 6], zoom)
rolled_on, _ = transposed_look_up(clip.video[:, 0], onward(5), 100.0 ** clip.owner[0])
pulled = warp_v2(video[None, :, 6], (1 / 1.5 - 1) * identity_grid(64, 64)[None])[0]
apart = {"nearest": (sieve - pulled).abs().mean().item(), "with care": (pushed - pulled).abs().mean().item()}
assert weight.min() > 0 and apart["with care"] < 0.1 * apart["nearest"]
print("difference to the pulled picture:", ", ".join(f"{name} {value:.2f}" for name, value in apart.items()))
print(f"least weight: {weight.min():.2f}")
viz.image_row(
    [sieve, pushed, clip.video[:, 5], rolled_on],
    ["nearest", "with care", "frame 5, drawn", "frame 0, pushed"],
    scale=4,
    alt="The enlarged face as a sieve; the same without holes; the ball, half behind the post; and frame 0 pushed to that, where the post covers the ball and the place that the ball has left is white.",
)

# %% [markdown]
# *What your push draws. Zoomed by 1.5, no hole is left: the least weight is above zero, and the picture is near the
# pulled one. Right: frame 0, pushed along the flow of exercise 5, with an importance of 1, 100 and 10,000 for wall,
# ball and post. The order is right, and what the ball has uncovered stays white: a push marks disocclusion by itself.*
#
# <details>
# <summary>Solution</summary>
#
# The share of a pixel is the product of two tents, $1$ less the distance in columns and in rows.
#
# ```python
# def push(image, forward, importance):
#     h, w = image.shape[1:]
#     x, y = identity_grid(h, w) + forward
#     a, b = ((x + 1) * w - 1) / 2, ((y + 1) * h - 1) / 2
#     colours, weight = torch.zeros(3, h * w), torch.zeros(h * w)
#     for i in (a.floor(), a.floor() + 1):
#         for j in (b.floor(), b.floor() + 1):
#             share = (1 - (a - i).abs()) * (1 - (b - j).abs()) * importance
#             inside = (i >= 0) & (i < w) & (j >= 0) & (j < h)
#             index = (j * w + i)[inside].long()
#             weight.index_add_(0, index, share[inside])
#             colours.index_add_(1, index, (share * image)[:, inside])
#     picture = torch.where(weight > 0, colours / weight.clamp(min=1e-12), 1.0)
#     return picture.view(3, h, w), weight.view(h, w)
#
#
# assert check_push(push) == "solved"
# assert_close(push(video[:, 6], zoom, even)[0], pushed, atol=1e-4, rtol=0)
# holes = [(push(video[:, 6], 2 * (zeta - 1) * zoom, even)[1] == 0).float().mean().item() for zeta in (2.0, 2.1)]
# assert holes[0] == 0 and 0.1 < holes[1] < 0.15
# ```
#
# At what zoom do holes come back? When pixels land more than two apart: none at $\zeta = 2$, an eighth of the picture at
# 2.1. The check pushes in another way: to look up is linear in the picture, and its transpose is a push. It is also what
# the gradient of a warp does, as [chapter 3](03_latent_warping.ipynb) shows.
#
# </details>
#
# **7. Explore** (half an hour, medium). Let the camera move: give all three, wall, ball and post, one more shift, to the
# left. What enters at the right border, and is it visible in frame 0?
#
# *Where to begin*: `replace(wall, to_image=affine(x=-0.4 * time))`, then `measured_scene` and `three_panels`. *What to
# plot*: the share of hidden pixels in each frame, once with frame 0 as the given one and once with frame 4 (put it first
# in every `to_image`). *A good answer* says what is hidden at the border and why, which of the two curves is lower and
# by how much, which frame you would give if you could choose, and why LFDM cannot choose.
#
# <details>
# <summary>Solution</summary>
#
# What enters at the border was outside of frame 0, so it is hidden, like what is uncovered. With the middle frame as the
# given one, each frame is at most half a clip away, and less of it is hidden: 10 % of all pixels on average, against 15 %.
# LFDM gives frame 0 all the same: it starts from a picture and invents what comes next.
#
# ```python
# pan = affine(x=-0.4 * time) - affine()
# layers = [replace(layer, to_image=layer.to_image + pan) for layer in scene]
# panned = render_v3(layers, 64, 9)
# new_wall = panned.owner[8, :, -12:] == 0  # the last 12 columns, without the ball
# assert not panned.visible[0, 8, :, -12:][new_wall].any()
# order = [4, 0, 1, 2, 3, 5, 6, 7, 8]  # frame 4 first: it becomes the given one
# given_middle = render_v3([replace(layer, to_image=layer.to_image[order]) for layer in layers], 64, 9)
# shares = [(~clip.visible).float().mean().item() for clip in (panned, given_middle)]
# assert [round(share, 2) for share in shares] == [0.15, 0.1]
# ```
#
# </details>
#
# **8. Explore** (an evening, open). Film something with a fixed camera, and cut the clip into space–time slices along
# rows and columns. Which bands have the same slope? Where does a band begin or end, and is that an occlusion or a
# disocclusion?
#
# *Where to begin*: two seconds of somebody who walks past a chair; `lfdm.data.VideoFolder(folder, size=128,
# num_frames=60)[0]["video"]`, then `cut(clip, column, moment)`; for rows, lay the picture on its side first, by
# `clip.transpose(2, 3)`. *What to plot*: three rows at different heights, and for
# one band a straight line drawn over it. *A good answer* has a speed in pixels per frame read from that line, one place
# where a band is covered and one where it comes out again, and one change that is no motion, such as a shadow.
#
# <details>
# <summary>Solution</summary>
#
# The slope of a band is a speed. Things that are one layer and move sideways have bands of one slope at all heights. A
# band that ends under another is occluded; one that comes out from under it is disoccluded. Bands that change their
# brightness, not their place, are shadows and lamps. Trees and water are made of more layers than you want to draw.
#
# </details>
#
# ## What the authors did
#
# LFDM {cite:p}`ni2023lfdm` is trained on films of people, for which no true flow exists. There, flow and occlusion map
# are what a network estimates such that a decoder can paint the frame; they are judged by the frames alone. We begin
# with drawn scenes, since what is exact can be tested.
#
# Their flow is backward and normalized too. Three things differ in their published code. Grids put $-1$ and $1$ at the
# *centres* of the outermost pixels, while the look-up takes them for the edges of the picture; we have one meaning
# everywhere. Outside of the picture, their look-up finds black; ours repeats the border. And the diffusion model is
# given absolute positions, $\mathbf p + f(\mathbf p)$, where ours sees displacements. [What differs, and
# why](differences.md) has the cost of each, measured.
#
# ## Further reading
#
# * {cite:t}`baker2011database`: the colour wheel, and how flows are compared.
# * {cite:t}`wang1994layers`: videos as layers that move, estimated from films.
# * {cite:t}`porter1984compositing`: what it means to put one picture over another.
# * {cite:t}`butler2012sintel`: a drawn film with true flow, to measure estimates with.
# * {cite:t}`dosovitskiy2015flownet`: enough drawn pairs to train a network that finds flow in films.
