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
#     - draw scenes with exact flow and visibility, with a layer of your own
#     - tell occlusion from disocclusion, and say which of them an occlusion map marks
#     minutes: 45
#     peak_mb: 550
#     prerequisites:
#     - a Python that you are at ease with, and PyTorch tensors
#     - 2 x 2 matrices and their inverses
#     seconds: 7
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 Video as motion
#
# A video is nearly the same picture, again and again. What differs is where things are. In this chapter you
# learn to write that down as a *flow*, to see it, and to draw scenes in which it is known exactly. No network
# yet.
#
# **At the end you can**
#
# * say what a difference of frames does and does not tell about motion;
# * read and write backward flow in normalized units, with pixel centres;
# * see a flow: by warping with it, in colours, and as arrows;
# * draw scenes with exact flow and visibility, with a layer of your own;
# * tell occlusion from disocclusion, and say which of them an occlusion map marks.
#
# **You need** Python, PyTorch tensors, and 2 x 2 matrices with their inverses. **It takes** 45 minutes to read,
# and about 7 seconds and 550 MB of memory to run on two CPU cores.
#
# ![The block diagram of the whole system. The image at the left end, the video at the right end, and the words flow f, occlusion m in the middle are framed; encoder, decoder and diffusion model are pale.](../assets/figures/road_01.svg)
#
# *Where you are: with what goes in, what comes out, and what travels between. The boxes are later chapters.*

# %% [markdown]
# ## A video is a tensor
#
# The running example is a drawn person who starts at rest and shows surprise. It was never filmed; why that is
# good for us, you will see.

# %%
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

import lfdm_lite as lfdm
from lfdm_lite import viz
from lfdm_lite.data.drawn.engine import scenes, sprites

face = lfdm.data.Faces("val", size=64, num_frames=16)[11]
video = face["video"]

assert video.dtype == torch.float32 and video.min() >= 0 and video.max() <= 1
print(face["label_name"], tuple(video.shape), "colour, frame, row, column")
viz.player(video, alt="A drawn face that opens mouth and eyes wide in surprise, then relaxes a little.")

# %% [markdown]
# *Press play, or move the slider. Sixteen frames; frame 0 is at rest.*
#
# The shape is `(3, T, H, W)`: red, green and blue in $[0, 1]$, then $T$ frames of $H$ rows and $W$ columns. A
# batch puts an axis in front. An index along the second axis is a frame. But a tensor can be cut the other
# way as well. Take the middle *column* of every frame, and lay these columns side by side:

# %%
column = video[:, :, :, 32]  # (3, T, H)
space_time = column.transpose(1, 2)  # (3, H, T): down is down, to the right is later
assert_close(space_time[:, :, 5], video[:, 5, :, 32])
change = space_time.diff(dim=2).abs().mean(dim=(0, 2))  # how much each row changes from frame to frame
mouth, above = change[40:54].mean(), change[:6].mean()
assert mouth > 5 * above
print("slice:", tuple(space_time.shape), " the mouth changes more than the wall above the head:", bool(mouth > 5 * above))
viz.image_row(
    [video[:, 0], video[:, 6], space_time.repeat_interleave(4, dim=2)],
    ["frame 0", "frame 6", "column 32, in time"],
    alt="The face at rest, the face with open mouth, and the middle column of all frames side by side: hair, brow, nose and chin are bands that bend downward and upward; a dark wedge opens at the mouth.",
)

# %% [markdown]
# *Right: one column through time, each frame four pixels wide. The wall at the top makes a straight band. What
# moves makes a bent one: the chin sinks, the brow rises. The dark wedge is the inside of the mouth. It does not
# bend, it begins: nothing of it is in frame 0.*
#
# Bands are the first hint at what this book does. There are 16 frames in this picture, but hardly more than one
# frame's worth of *colours*. The rest is where they go.
#
# ### A video is a file
#
# Films of your own come as files. `imageio` writes and reads one in a line each. A file has its own order of
# axes, `(T, H, W, 3)`: frame, row, column, colour; and its own numbers, whole ones from 0 to 255. So a tensor
# is turned on the way out, and back on the way in.

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
# An MP4 keeps less than a tenth of the bytes, and so not all of what was there: it rounds what the eye hardly
# sees, above all colour. The library's `read_video` also heeds what a file says about itself: how the
# camera was held, pixels that are not square, frames that last unequally long. `imageio` hands out the frames
# as they are stored.

# %% [markdown]
# ## Frame differences mislead
#
# The quickest way to "see motion" is to subtract one frame from the next. Four small cases show what that
# measures. Each has two frames of 64 x 64 pixels, and we know what moves, because we move it.

# %%
rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")


def disc(shift: float, dark: float) -> Tensor:
    """A grey disc of radius 16 on a lighter wall, (64, 64)."""
    inside = (columns - 24 - shift).hypot(rows - 32) < 16
    return torch.where(inside, dark, 0.9)


def stripes(shift: float) -> Tensor:
    return 0.5 + 0.4 * torch.cos(2 * math.pi * (columns - shift) / 8)


cases = {  # before, after, by how many pixels the content moved
    "a dark disc": (disc(0, 0.2), disc(4, 0.2), 4),
    "a faint disc": (disc(0, 0.8), disc(4, 0.8), 4),
    "stripes": (stripes(0), stripes(8), 8),
    "dimmed light": (disc(0, 0.2), 0.7 * disc(0, 0.2), 0),
}
difference = {name: (after - before).abs().mean().item() for name, (before, after, _) in cases.items()}
for name, (_, _, moved) in cases.items():
    print(f"{name:14} moved by {moved} pixels, mean difference {difference[name]:.3f}")

# %%
assert difference["dimmed light"] > difference["a dark disc"] > 3 * difference["a faint disc"]
assert difference["stripes"] < 1e-5
unmoved = (cases["a dark disc"][1] - cases["a dark disc"][0]).abs() > 0.1
inside = (disc(0, 0) < 0.5) & (disc(4, 0) < 0.5)  # of the disc before and after
assert not unmoved[inside].any()
print("inside of the moving disc the difference is zero:", not unmoved[inside].any().item())
triples = [torch.stack([before, after, (after - before).abs()]) for before, after, _ in cases.values()]
viz.contact_sheet(
    torch.stack(triples)[:, None].expand(-1, 3, -1, -1, -1),
    list(cases),
    numbers=False,
    scale=2,
    alt="Four rows of three pictures: before, after, absolute difference. Dark disc: two bright crescents. Faint disc: two dim crescents. Stripes: the difference is black. Dimmed light: the wall is bright in the difference.",
)

# %% [markdown]
# *From left: before, after, absolute difference (white is large). The disc moves as a whole, but only its rim
# differs. The faint disc moves just as far, and differs less. The stripes all move by 8 pixels, and nothing
# differs. The light is dimmed, nothing moves, and nearly everything differs.*
#
# A difference mixes two things: how far something moved, and how much the picture varies there. It says *that*
# something changed at a pixel. It does not say *where to* something went. For that we need two numbers at every
# pixel: how far across, and how far down. In which unit?

# %% [markdown]
# ## Where is a pixel?
#
# Positions are *normalized*: the picture spans $[-1, 1]$ in both directions, whatever its size. $x$ grows to
# the right, $y$ grows down. A pixel is a little square, and its position is its *centre*. There are $W$ of
# them in a length of 2, so each is $2 / W$ wide. The first begins at $-1$, so its centre is at $-1 + 1 / W$.
# With rows and columns counted from 0, column $i$ and row $j$ are at
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
# So $-1$ and $1$ are the outer *edges*; no pixel is there. PyTorch calls this `align_corners=False`. It has a
# pleasant property. Make pixels twice as large. Then the centre of a large pixel is the mean of the centres
# that it covers, and a position means the same place in both pictures.

# %% mystnb={"image": {"alt": "A square from -1 to 1 with thin lines around 8 by 8 small squares and thick lines around 4 by 4 large ones. A dot is at the centre of every small square, a cross at the centre of every large one. Each cross is in the middle of four dots."}}
fine, coarse = identity_grid(8, 8), identity_grid(4, 4)
assert_close(F.avg_pool2d(fine, 2), coarse)  # means of 2 x 2 centres

figure, ax = plt.subplots(figsize=(4.6, 4.6))
ax.set_xticks(torch.linspace(-1, 1, 9), minor=True)
ax.set_yticks(torch.linspace(-1, 1, 9), minor=True)
ax.set(xlim=(-1, 1), ylim=(1, -1), aspect="equal", xticks=[-1, -0.5, 0, 0.5, 1], yticks=[-1, -0.5, 0, 0.5, 1])
ax.grid(which="minor", color="#c9d3dc", linewidth=0.8)
ax.grid(which="major", color="#1f3b57", linewidth=2)
ax.plot(*fine.flatten(1), "o", color="#7f9bb5", markersize=4, label="centres of 8 x 8 pixels")
ax.plot(*coarse.flatten(1), "x", color="#b35900", markersize=10, markeredgewidth=2, label="centres of 4 x 4 pixels")
ax.set(xlabel="x", ylabel="y")
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.01), ncols=2, fontsize=8)
plt.show()
print("each cross is the mean of four dots:", bool(torch.equal(F.avg_pool2d(fine, 2), coarse)))

# %% [markdown]
# *Thin squares: 64 pixels. Thick squares: the same picture with 16. Note that $y$ grows downward. This will
# matter: LFDM draws its flow on a grid four times as coarse as the picture.* [*Chapter
# 3*](03_latent_warping.ipynb) *measures what goes wrong if a program mixes this convention with another.*
#
# A *displacement* is a difference of two positions, so its unit is half a picture. To count in pixels, divide
# by the size of one:
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


neighbours = identity_grid(48, 64)[:, 1:, 1:] - identity_grid(48, 64)[:, :-1, :-1]  # one pixel right and down
whole = F.pad(neighbours, (0, 1, 0, 1))[None]  # back to 48 x 64
assert_close(in_pixels(whole)[..., :-1, :-1], torch.ones(1, 2, 47, 63), atol=1e-5, rtol=0)
assert_close(in_pixels(whole), lfdm.flow.in_pixels(whole))
print("a quarter of the width of 64 pixels:", in_pixels(torch.full((1, 2, 48, 64), 0.5))[0, 0, 0, 0].item(), "pixels")

# %% [markdown]
# ## Forward or backward?
#
# There are two ways to say that a picture moves. **Forward**: every pixel of the old frame says where it
# *goes*. **Backward**: every pixel of the new frame says where it *comes from*. It seems a matter of taste.
# It is not.
#
# Take a row of eight pixels that is stretched to 1.6 times its length, from the left end. Forward, pixel $i$
# goes to $1.6\, i$, rounded. Backward, pixel $i$ comes from $i / 1.6$, rounded.

# %%
row = torch.arange(8)
goes_to = (1.6 * row).round().long()
comes_from = (row / 1.6).round().long()

pushed = torch.full((8,), -1)  # -1: nobody came
pushed[goes_to[goes_to < 8]] = row[goes_to < 8]
pulled = row[comes_from]

assert (pushed == -1).any() and not (pulled == -1).any()
print("pushed:", pushed.tolist())
print("pulled:", pulled.tolist())

# %% mystnb={"image": {"alt": "Two panels with eight numbered squares above and eight below. Left, forward: arrows lead from the upper squares down; three of the lower squares are hatched, since no arrow reaches them, and three arrows leave the picture. Right, backward: every lower square has exactly one arrow, that points up to a square."}}
figure, axes = plt.subplots(1, 2, figsize=(9, 2.6))
panels = {"forward: where does it go?": (goes_to, pushed), "backward: where does it come from?": (comes_from, pulled)}
for ax, (title, (other, result)) in zip(axes, panels.items(), strict=True):
    for i in range(8):
        for y, number in ((1, i), (0, result[i].item())):
            hole = number == -1
            look = dict(facecolor="#f4e3c3" if hole else "#e8eef4", hatch="///" if hole else None)
            ax.add_patch(plt.Rectangle((i - 0.45, y - 0.2), 0.9, 0.4, edgecolor="#1f3b57", **look))
            ax.text(i, y, "" if hole else number, ha="center", va="center")
        start, end = ((i, 0.78), (other[i], 0.22)) if "forward" in title else ((i, 0.22), (other[i], 0.78))
        ax.annotate("", end, start, arrowprops=dict(arrowstyle="->", color="#b35900"))
    ax.set(xlim=(-0.6, 11.4), ylim=(-0.3, 1.3), xticks=[], yticks=[0, 1], title=title)
    ax.set_yticklabels(["new", "old"])
figure.tight_layout()
plt.show()
holes = (pushed == -1).sum().item()
assert holes == 3
print("holes:", holes, "forward,", (pulled == -1).sum().item(), "backward")

# %% [markdown]
# *Numbers in the lower row say which old pixel is shown. Forward, hatched pixels get nothing. Backward, each
# gets exactly one answer; some old pixels answer twice.*
#
# The picture has the same trouble in two directions. Zoom into the face, by $\zeta = 1.5$ about the middle. A
# pixel at $\mathbf p = (x, y)$ goes to $\zeta\, \mathbf p$. So forward and backward flow are
#
# $$g(\mathbf p) = (\zeta - 1)\, \mathbf p, \qquad f(\mathbf p) = \left(\frac{1}{\zeta} - 1\right) \mathbf p$$
#
# Note that $f$ is not $-g$. At a place of the new frame, $f$ leads back; going there and then along $g$ *from
# there* must end where we began.
#
# First the push. Each pixel has to find out on which pixel it lands. Solved for $i$, the formula of centres
# says that position $x$ is in column $((x + 1)\, W - 1) / 2$, rounded.

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


zeta, p = 1.5, identity_grid(64, 64)
g, f = (zeta - 1) * p, (1 / zeta - 1) * p
middle = p.abs().amax(0) < 0.9  # f at p leads to q = p + f(p), and g at q leads back to p
q = p + f
assert_close((q + (zeta - 1) * q)[:, middle], p[:, middle])
pushed, reached = splat(video[:, 6], g)
print("reached:", f"{reached.float().mean():.0%} of the pixels;", "1 / zeta^2 =", f"{1 / zeta**2:.0%}")

# %% [markdown]
# Only old pixels with $|x|, |y| < 1 / \zeta$ land inside the new frame. That is a share of $1 / \zeta^2$ of
# them, and two never land on the same place, since they land 1.5 pixels apart. So the pushed picture has more
# holes than colours.
#
# ### Version 1: pull, to the nearest pixel
#
# Now the other way. Each new pixel looks up the old frame where the flow points. This is the definition that
# the whole book uses. With $I_s$ for the old frame, the *source*:
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


assert_close(warp_v1(video[:, 6], torch.zeros(2, 64, 64)), video[:, 6])  # no flow, no change
right = torch.tensor([8 * 2 / 64, 0])[:, None, None].expand(2, 64, 64)  # look 8 pixels to the right
assert_close(warp_v1(video[:, 6], right)[:, :, :-8], video[:, 6, :, 8:])  # content comes from there: it moves left
assert abs(reached.float().mean() - 1 / zeta**2) < 0.02
viz.image_row(
    [video[:, 6], pushed, 0.85 * reached.float(), warp_v1(video[:, 6], f)],
    ["given", "pushed", "reached", "pulled"],
    scale=2,
    alt="The face; the face enlarged with a regular pattern of white holes; the pattern of reached pixels, less than half; the face enlarged without holes.",
)

# %% [markdown]
# *Pushed, the enlarged face is a sieve. White in "pushed" and black in "reached" are holes. Pulled, it is
# whole.*
#
# Remember the sign, it will trip you once: **a flow that points right moves the content left.** Backward flow
# points to where things come from.
#
# Why backward, then? Every pixel of the new frame gets exactly one answer; no holes, no collisions. All
# pixels can be computed at once, in any order. And the answer depends on the flow without jumps, if we look
# *between* pixels. Then a network can learn a flow, since there is a derivative. The price comes later in
# this chapter: a pixel may ask for something that the old frame does not show.

# %% [markdown]
# ### Version 2: between pixels, in ten lines
#
# `grid_sample` of PyTorch looks up a picture between its pixels: it mixes the four nearest, by distance. You
# build it from nothing in [chapter 3](03_latent_warping.ipynb). Here it is a tool to see a flow with. It
# takes one list of places for each picture; so for a video that looks up one source, we lay the flows of all
# frames below each other.

# %%
def warp_v2(image: Tensor, flow: Tensor) -> Tensor:
    """Source (b, c, h, w), backward flow (b, 2, h, w) or (b, 2, t, h, w) -> one warped source a flow."""
    b, c, h, w = image.shape
    grid = identity_grid(h, w) if flow.ndim == 4 else identity_grid(h, w)[:, None]
    places = (grid + flow).reshape(b, 2, -1, w)  # all frames as one tall one
    found = F.grid_sample(image, places.movedim(1, -1), padding_mode="border", align_corners=False)
    return found.view(b, c, *flow.shape[2:])


draw = torch.Generator().manual_seed(0)
image, any_flow = torch.rand(2, 3, 10, 12, generator=draw), 0.5 * torch.randn(2, 2, 4, 10, 12, generator=draw)
assert_close(warp_v2(image, torch.zeros(2, 2, 10, 12)), image)
assert_close(warp_v2(image, any_flow)[:, :, 3], warp_v2(image, any_flow[:, :, 3]))  # a video is its frames
assert_close(warp_v2(image, any_flow), lfdm.warp(image, any_flow))
assert_close(warp_v2(image, any_flow[:, :, 0]), lfdm.warp(image, any_flow[:, :, 0]))
assert_close(warp_v2(video[None, :, 6], right[None])[0], warp_v1(video[:, 6], right), atol=1e-4, rtol=0)
print("equal to lfdm_lite.warp:", tuple(warp_v2(image, any_flow).shape))

# %% [markdown]
# Now the running example. It comes with its *true* flow: for every pixel of every frame, where in frame 0
# this piece of the person was. Let frame 0 be warped by it, all frames in one call.

# %%
source, flow = video[None, :, 0], face["flow"][None]  # (1, 3, 64, 64), (1, 2, 16, 64, 64)
visible = face["visible"][None]  # (1, 1, 16, 64, 64): 1 where frame 0 shows it too
warped = warp_v2(source, flow)


def error(one: Tensor, other: Tensor, mask: Tensor) -> float:
    """Mean absolute difference where the mask is 1."""
    return ((one - other).abs().mean(1, keepdim=True) * mask).sum().item() / mask.sum().item()


still = source[:, :, None].expand_as(warped)
assert error(warped, video[None], visible) < 0.5 * error(still, video[None], visible)
assert error(warped, video[None], 1 - visible) > 5 * error(warped, video[None], visible)
apart = (warped[0] - video).abs().mean(0, keepdim=True).expand_as(video)
print("longest flow:", round(in_pixels(flow).norm(dim=1).max().item()), "pixels")
viz.contact_sheet(
    torch.stack([video, warped[0], 1 - 3 * apart]),
    ["true", "frame 0, warped", "difference"],
    frames=6,
    scale=2,
    alt="Three rows of frames: the surprised face; frame 0 warped to it, whose mouth is stretched lips instead of a dark opening; and the difference, white but for a black mouth and thin dark lines at eyes, brows and the rim of the head.",
)

# %% [markdown]
# *Top: the clip. Middle: frame 0 alone, pulled along the true flow. Bottom: dark where they differ, three
# times enlarged. Head, brows and chin are where they should be. The mouth is not: there is no open mouth in
# frame 0 to take it from.*

# %% [markdown]
# ## The colour wheel
#
# A flow has two numbers a pixel. To look at it, we need colours for pairs of numbers. The usual answer is a
# wheel: the *hue* is the direction, and the *depth* of the colour is the length. No motion is white
# {cite:p}`baker2011database`.
#
# The hues go once around, from red over yellow, green, cyan, blue and magenta back to red. Between two
# corners of this tour one of the three channels rises or falls evenly. The eye tells more shades apart
# between red and yellow than between yellow and green. So the steps between corners are not equally many: 15,
# 6, 4, 11, 13 and 6.

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
assert (wheel.amax(1) == 1).all() and (wheel.amin(1) == 0).all()  # as deep as colours get
assert ((wheel - wheel.roll(1, 0)).abs() > 1e-6).sum(1).eq(1).all()  # one channel at a time, also where it closes
assert_close(wheel, lfdm.flow.colour_wheel())
print("wheel:", tuple(wheel.shape))

# %% [markdown]
# ### Version 1: direction alone
#
# Take the flow of a pixel as an arrow. Its angle, and its length in units of a given $r_{\max}$, are
#
# $$\vartheta = \operatorname{atan2}(f_y, f_x), \qquad r = \frac{\sqrt{f_x^2 + f_y^2}}{r_{\max}}$$
#
# With $y$ down, $\vartheta$ runs clockwise on the screen: 0 is right, a quarter turn is down. It is a place
# on the wheel, usually between two hues $k$ and $k + 1$, which are mixed.

# %%
def hue_of(f_x: Tensor, f_y: Tensor) -> Tensor:
    """Directions (...) -> hues (..., 3)."""
    theta = torch.atan2(f_y, f_x)
    place = theta / (2 * math.pi) % 1 * len(wheel)  # 0 to 55
    k = place.long() % len(wheel)
    part = (place - place.floor())[..., None]
    return (1 - part) * wheel[k] + part * wheel[(k + 1) % len(wheel)]


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
# ### Version 2: depth is length
#
# Let $\mathbf c(\vartheta)$ be the hue. Mix it with white, so that the colour is white at $r = 0$ and the hue
# at $r = 1$:
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
print("equal to lfdm_lite.flow_to_rgb:", tuple(flow_to_rgb_v2(flow).shape))

# %% [markdown]
# A picture of a flow needs a legend. It is the picture of the simplest flow of all: at each position, the
# position itself.

# %%
def wheel_picture(size: int = 96) -> Tensor:
    """Every direction and length, (3, size, size); outside of the wheel it is white."""
    grid = identity_grid(size, size)
    inside = (grid.norm(dim=0) <= 1).float()
    return flow_to_rgb_v2(grid[None], max_norm=1.0)[0] * inside + 1 - inside


assert_close(wheel_picture(96), viz.colour_wheel_picture(96).image, atol=1e-5, rtol=0)
t6 = flow[:, :, 6]
viz.image_row(
    [video[:, 6], flow_to_rgb_v1(t6)[0], flow_to_rgb_v2(t6)[0], wheel_picture(64)],
    ["frame 6", "version 1", "version 2", "legend"],
    scale=2,
    alt="The surprised face. Version 1: the wall is full red, though it is still; the head has strong colours. Version 2: the wall is white, the upper head yellow, the chin violet, the corners of the mouth green and red. The wheel: right red, down yellow, left cyan, up violet.",
)

# %% [markdown]
# *Read it with the legend: the forehead is yellow, so it looks down for its content, and so it has moved up.
# The chin is violet, so it looks up, and has moved down. Version 1 paints the still wall red, since a flow of
# zero has no direction. Version 2 leaves it white.*
#
# Two warnings. Unless you fix $r_{\max}$, each picture is scaled by its own longest flow, and a faint motion
# looks like a strong one. And not everybody sees these hues apart. So give a second cue: arrows. The library
# draws them the way the *content* went, opposite to the flow.

# %%
faint = 0.1 * t6
same = torch.allclose(flow_to_rgb_v2(faint), flow_to_rgb_v2(t6), atol=1e-4)
longest = t6.norm(dim=1).max().item()
assert same and flow_to_rgb_v2(faint, longest).min() > 0.89  # on a common scale, it is nearly white
print("without a common scale, a tenth of the motion has the same picture:", same)
viz.image_row(
    [
        flow_to_rgb_v2(t6, longest)[0].repeat_interleave(5, 1).repeat_interleave(5, 2),
        flow_to_rgb_v2(faint, longest)[0].repeat_interleave(5, 1).repeat_interleave(5, 2),
        viz.flow_arrows(video[:, 6], t6[0], every=5, scale=5).image,
    ],
    ["this flow", "a tenth of it", "where the content went"],
    scale=1,
    alt="The flow in colours; a tenth of it on the same scale, nearly white; the face with arrows: upward at forehead and brows, downward at the chin, dots on the wall.",
)

# %% [markdown]
# *Left and middle on one scale. Right: arrows start where frame 0 has the content, and end where it is now.
# Dots: less than half a pixel.*

# %% [markdown]
# ## A world whose motion is known
#
# Where does the true flow of the face come from? Nobody measured it. The clip is *drawn*, by a small renderer
# that knows where everything came from. You build that renderer now. The idea is old
# {cite:p}`wang1994layers`: a scene is a stack of *layers*, from back to front, and each layer moves in its
# own way. Our scene has three. A ball rolls along a wall and passes behind a post.
#
# ### A layer, in its own coordinates
#
# A ball does not change when it rolls; only its place does. So draw it once, in coordinates of its own, in
# which it never moves. They are called *canonical*, and written $\mathbf q$. A layer has
#
# * a **shape**: for each $\mathbf q$ the *signed distance* $D(\mathbf q)$ to its edge, negative inside;
# * a **paint**: for each $\mathbf q$ a colour;
# * a **motion**: where canonical coordinates lie in each frame.
#
# For the motion, take an affine map for every frame $k$: a 2 x 2 matrix $A_k$ that turns and scales, and a
# shift $\mathbf b_k$:
#
# $$\mathbf p = A_k\, \mathbf q + \mathbf b_k, \qquad A_k = \sigma_k \begin{pmatrix} \cos\varphi_k & -\sin\varphi_k \\ \sin\varphi_k & \cos\varphi_k \end{pmatrix}$$
#
# With $y$ down, $\varphi_k$ turns clockwise on the screen; $\sigma_k$ is the scale.

# %%
def affine(scale=1.0, angle=0.0, x=0.0, y=0.0) -> Tensor:
    """Numbers, or one number a frame -> A and b side by side, (frames, 2, 3); frames is 1 for a layer at rest."""
    given = [torch.as_tensor(value, dtype=torch.float32).reshape(-1) for value in (scale, angle, x, y)]
    sigma, phi, x, y = torch.broadcast_tensors(*given)
    upper = torch.stack([sigma * phi.cos(), -sigma * phi.sin(), x], dim=-1)
    lower = torch.stack([sigma * phi.sin(), sigma * phi.cos(), y], dim=-1)
    return torch.stack([upper, lower], dim=1)


time = torch.linspace(0, 1, 9)  # the scene has nine frames
spin = affine(1 + time, math.pi * time, 0.3, -0.2 * time)
A, b = spin[..., :2], spin[..., 2]
assert_close(A.mT @ A, (1 + time).square()[:, None, None] * torch.eye(2))  # turns keep lengths, scales stretch them
assert_close(torch.linalg.det(A), (1 + time).square())
assert_close(spin, scenes.affine(1 + time, math.pi * time, 0.3, -0.2 * time))
print("a motion:", tuple(spin.shape), " at rest:", tuple(affine().shape))

# %% [markdown]
# The renderer asks, for a pixel $\mathbf p$ of frame $k$: which $\mathbf q$ is there? That is the inverse,
#
# $$\mathbf q = A_k^{-1} (\mathbf p - \mathbf b_k)$$
#
# and it is backward flow once more: from the new frame to where things are kept.

# %%
Field = Callable[[Tensor, Tensor], Tensor]  # canonical x, y -> a number at each place, or three: a colour


@dataclass(frozen=True)
class Layer:
    shape: Field  # signed distance, negative inside
    paint: Field  # colour, (3, ...)
    to_image: Tensor  # (frames, 2, 3), or (1, 2, 3) at rest
    local: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None  # for things that bend; see below


# %%
def to_canonical(layer: Layer, p: Tensor) -> Tensor:
    """Positions (2, 1 or t, h, w) in the frames -> canonical coordinates (2, 1 or t, h, w)."""
    A, b = layer.to_image[..., :2], layer.to_image[..., 2]
    p = p - b.T[:, :, None, None]
    # frame by frame (k), matrix times vector (i, j), at every pixel (h, w)
    q = torch.einsum("kij,jkhw->ikhw", torch.linalg.inv(A), p.expand(2, len(A), -1, -1))
    return torch.stack(layer.local(*q)) if layer.local else q


def to_rest(layer: Layer, q: Tensor) -> Tensor:
    """Canonical coordinates -> positions in frame 0."""
    A, b = layer.to_image[0, :, :2], layer.to_image[0, :, 2]
    return torch.einsum("ij,jkhw->ikhw", A, q) + b[:, None, None, None]


p = identity_grid(5, 5)[:, None]
spinning = Layer(shape=None, paint=None, to_image=spin)
assert_close(to_rest(spinning, to_canonical(spinning, p))[:, 0], p[:, 0])  # in frame 0 they are inverses
print("canonical coordinates of every pixel of every frame:", tuple(to_canonical(spinning, p).shape))

# %% [markdown]
# ### Shape and paint
#
# A signed distance is more than a mask: it says *how far* the edge is. That gives smooth edges. Let $\delta$
# be the width of a pixel in canonical units. (A map scales areas by its determinant, and lengths by the root
# of that. So $\delta$ is the width in the picture, $2 / W$, over the root.) A pixel whose centre is on the
# edge is half covered, one whose centre is half a pixel inside is full. So its *coverage* is about
#
# $$\alpha = \min\left(1,\; \max\left(0,\; \frac{1}{2} - \frac{D(\mathbf q)}{\delta}\right)\right)$$
#
# With a disc the area is known, so the claim can be checked: the coverages must add up to $\pi \varrho^2$,
# for a radius $\varrho$, far better than counting pixels inside does.

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
print(f"worst error of the area: counted {max(counted):.0%}, with coverage {max(summed):.0%}")

# %% [markdown]
# Now the things of the scene. Paint is any function of canonical coordinates. The ball has six coloured
# sectors, so that you can see it turn. It rolls without slipping: after a way of one radius
# it has turned by one radian. In the code, `way` is how far it has rolled in each frame.

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
way = 1.2 * time
wall = Layer(lambda x, y: torch.full_like(x, -9.0), wall_paint, affine())  # inside everywhere
ball = Layer(ball_shape, ball_paint, affine(1.0, way / 0.3, -0.55 + way, 0.42))
post = Layer(post_shape, post_paint, affine(x=0.3, y=0.0))
scene = [wall, ball, post]  # back to front

# %% [markdown]
# ### Version 1: a video
#
# Draw the layers from back to front. Each mixes its paint over what is there, as far as it covers
# {cite:p}`porter1984compositing`.

# %%
def render_v1(layers: list[Layer], size: int, frames: int) -> Tensor:
    """Layers, back to front -> video (3, frames, size, size)."""
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
viz.video_strip(rolling, frames=9, alt="A striped ball rolls from left to right along a wall, passes behind a post, and comes out on the other side.")

# %% [markdown]
# *The running scene of the rest of this chapter. Watch the sectors turn, and the ball vanish behind the post.*
#
# ### Version 2: exact flow
#
# Now the reward. A pixel $\mathbf p$ of frame $k$ shows a point $\mathbf q$ of the topmost layer there. In
# frame 0 the same point is at $A_0 \mathbf q + \mathbf b_0$. So the true backward flow is
#
# $$f_k(\mathbf p) = A_0\, A_k^{-1} (\mathbf p - \mathbf b_k) + \mathbf b_0 - \mathbf p$$
#
# Nothing is estimated, and nothing is rounded. The renderer has computed $\mathbf q$ anyway. It only has to
# note who is on top (the *owner*: the last layer that covers more than half of the pixel), and where that was
# at rest.

# %%
def render_v2(layers: list[Layer], size: int, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """Layers -> video (3, t, h, w), flow to frame 0 (2, t, h, w), owner (t, h, w)."""
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
print("flow:", tuple(scene_flow.shape), " owners:", owner.unique().tolist())

# %% [markdown]
# A check that does not use the formula: the centre of the ball does not turn, it only shifts. Take that shift
# away from the flow of the ball. What is left must be a pure turn about the centre. A turn by $\varphi$ moves
# a point at distance $r$ from the centre by $2 r \sin(\varphi / 2)$.

# %%
k = 3
p = identity_grid(64, 64)
centre = torch.tensor([-0.55 + way[k], 0.42])
from_centre = p - centre[:, None, None]
shift = torch.tensor([-way[k], 0.0])
turning = (scene_flow[:, k] - shift[:, None, None]).norm(dim=0)
expected = 2 * from_centre.norm(dim=0) * abs(math.sin(way[k] / 0.3 / 2))
on_ball = owner[k] == 1
assert_close(turning[on_ball], expected[on_ball], atol=1e-5, rtol=0)
nearest = from_centre.norm(dim=0).argmin()
assert_close(scene_flow[:, k].flatten(1)[:, nearest], shift, atol=0.06, rtol=0)
print("the ball's flow is a shift and a turn, on", on_ball.sum().item() // 100 * 100, "pixels and more")

# %% [markdown]
# ### Version 3: visibility
#
# The wall that the ball uncovers has a flow, too: it is zero. But following it leads to a pixel of frame 0
# that shows the *ball*. The flow is right, and the colour is wrong. We must say so. Let $o_k(\mathbf p)$ be
# the owner of pixel $\mathbf p$ in frame $k$. The source of a pixel is *visible* if the same layer is on top
# there, and if it is inside of the picture:
#
# $$m_k(\mathbf p) = \begin{cases} 1 & \text{if } o_0(\mathbf p + f_k(\mathbf p)) = o_k(\mathbf p) \text{, inside the picture} \\ 0 & \text{otherwise} \end{cases}$$
#
# The place $\mathbf p + f_k(\mathbf p)$ lies between pixels of frame 0. So ask who owns frame 0 on a grid
# three times as fine, and round to that.

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
    """Places in frame 0 (2, t, h, w), owners (t, h, w), owners of frame 0 -> (1, t, h, w)."""
    size = len(at_rest)
    i, j = (((rest + 1) * size - 1) / 2).round().long().clamp(0, size - 1)
    inside = rest.abs().amax(0) <= 1
    return (inside & (at_rest[j, i] == owner))[None]


at_rest = owner_at_rest(scene, 3 * 64)
assert_close(at_rest[1::3, 1::3][8:-8], owner[0][8:-8])  # the middle of each 3 x 3 is the pixel itself
print("owners of frame 0, fine:", tuple(at_rest.shape))

# %% [markdown]
# All parts are there. The third version puts them together, in the form that the library returns.

# %% tags=["assembly"]
class Rendered(NamedTuple):
    video: Tensor  # (3, t, h, w)
    flow: Tensor  # (2, t, h, w), backward, to frame 0
    visible: Tensor  # (1, t, h, w)
    owner: Tensor  # (t, h, w)


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
    flow = rest - p
    visible = visible_from(rest, owner, owner_at_rest(layers, 3 * size))
    return Rendered(video.clamp(0, 1), flow, visible, owner)

# %%
def library_layer(layer: Layer) -> scenes.Layer:
    """The library also wants a box that holds the shape, to draw no more than that."""
    motion = scenes.LayerMotion(layer.to_image, layer.local)
    return scenes.Layer(layer.shape, layer.paint, motion, box=(-9, -9, 9, 9))


def same_as_library(layers: list[Layer], size: int, frames: int) -> bool:
    ours, theirs = render_v3(layers, size, frames), scenes.render([library_layer(n) for n in layers], size, frames)
    assert_close(ours.video, theirs.video, atol=1e-4, rtol=0)
    assert_close(ours.flow, theirs.flow, atol=1e-5, rtol=0)
    on_a_tie = (ours.visible != theirs.visible).float().mean() + (ours.owner != theirs.owner).float().mean()
    assert on_a_tie < 1e-3  # two sums in another order may round a place half way to another side
    return True


clip = render_v3(scene, 64, 9)
print("equal to lfdm_lite.data.drawn.engine.scenes.render:", same_as_library(scene, 64, 9), same_as_library(scene, 48, 9))

# %%
def frame_by_frame(clip: Rendered) -> list[viz.Picture]:
    colours = flow_to_rgb_v2(clip.flow[None], clip.flow.norm(dim=0).max().item())[0]
    titles = ["frame", "flow", "visible"]
    return [
        viz.image_row([clip.video[:, k], colours[:, k], 0.85 * clip.visible[:, k].float()], titles, scale=3)
        for k in range(clip.video.shape[1])
    ]


hidden = (~clip.visible).sum(dim=(0, 2, 3))
assert hidden[0] == 0 and (hidden[1:4].diff() > 0).all()  # the farther the ball, the more wall is uncovered
print("hidden pixels grow at first:", bool((hidden[1:4].diff() > 0).all()))
viz.slider(
    frame_by_frame(clip),
    [f"frame {k}" for k in range(9)],
    scale=1,
    alt="The rolling ball, its flow in colours, and visibility. A black shape grows where the ball was in frame 0, first a crescent, then a full disc.",
)

# %% [markdown]
# *Move the slider. Left: the scene. Middle: its flow; the ball is coloured, cyan where it looks to the left,
# and its hues differ from place to place since it also turns. Right: light is visible in frame 0, black is
# hidden there. The black disc is the wall where the ball was at first.*

# %% [markdown]
# ## Add a layer of your own
#
# Your turn. The next cell adds a kite between wall and ball, and holds its flow and visibility to account.
# Run it. Then change it: another shape, another paint, another motion, another place in the stack. The checks
# know nothing of your layer. What they ask must hold for any.
#
# **The flow.** Frame 0 must have the colour of frame $k$ at the place that the flow names, wherever the pixel
# is visible. Near edges a pixel mixes two colours, so look away from edges, and compare on drawings that are
# five times finer.
#
# **The visibility.** Go to the exact place in frame 0, with no grid and no rounding, and ask every layer
# whether it is there. The last one that is, is on top. This is called a *depth test*.

# %%
def away_from_edges(video: Tensor, width: int = 5) -> Tensor:
    """(3, t, h, w) -> (t, h, w): all colours within `width` pixels are much the same."""
    frames = video.transpose(0, 1)
    highest, lowest = F.max_pool2d(frames, width, 1, width // 2), -F.max_pool2d(-frames, width, 1, width // 2)
    return (highest - lowest).amax(1) < 0.15


def flow_error(layers: list[Layer], clip: Rendered) -> tuple[float, float]:
    """Mean colour difference along the flow: on visible pixels away from edges, and without following the flow."""
    size, frames = clip.video.shape[-1], clip.video.shape[1]
    fine = render_v1(layers, 5 * size, frames)
    calm, middle = away_from_edges(fine), (..., slice(2, None, 5), slice(2, None, 5))  # centres of 5 x 5
    places = (identity_grid(size, size)[:, None] + clip.flow).movedim(0, -1).flatten(0, 1)[None]  # (1, t * h, w, 2)
    first = torch.cat([fine[:, 0], calm[:1].float()])[None]
    found = F.grid_sample(first, places, align_corners=False)[0].unflatten(1, (frames, size))
    moves = clip.flow.norm(dim=0) > 2 / size  # by a pixel or more; what is at rest would hide errors
    use = clip.visible[0] & calm[middle] & (found[3] > 0.999) & moves
    along = (found[:3] - fine[middle]).abs().mean(0)[use].mean().item()
    return along, (fine[middle][:, :1] - fine[middle]).abs().mean(0)[use].mean().item()

# %%
def visibility_agreement(layers: list[Layer], clip: Rendered) -> float:
    """Share of the pixels where asking every layer at the exact place in frame 0 gives the same answer."""
    place = identity_grid(*clip.owner.shape[1:])[:, None] + clip.flow  # (2, t, h, w)
    on_top = torch.zeros_like(clip.owner)
    for index, layer in enumerate(layers):
        first = replace(layer, to_image=layer.to_image[:1], local=None)
        there = [first.shape(*to_canonical(first, place[:, [k]]))[0] < 0 for k in range(len(on_top))]
        on_top = torch.where(torch.stack(there), index, on_top)
    truth = (on_top == clip.owner) & (place.abs().amax(0) <= 1)
    return (truth == clip.visible[0]).float().mean().item()

# %%
def check_scene(layers: list[Layer]) -> Rendered:
    clip = render_v3(layers, 64, 9)
    along, still = flow_error(layers, clip)
    agreement = visibility_agreement(layers, clip)
    print(f"flow: colours agree to 2 %: {along < 0.02} (without following it: {still < 0.02})")
    print(f"visibility: agrees with a depth test on 99 % of the pixels: {agreement > 0.99}")
    assert along < 0.02, "colours change along the flow: may your paint depend on more than canonical x and y?"
    assert agreement > 0.99, "the depth test disagrees: is a layer bent in frame 0, or is its shape not a distance?"
    return clip


def check_layer(layer: Layer) -> str:
    """What is most often wrong with a layer, or "fine"."""
    distance = layer.shape(*identity_grid(64, 64)[:, None])
    if distance.dtype == torch.bool or not (distance < 0).any():
        return "the shape is nowhere negative: it must be a signed distance, negative inside, and no mask"
    if (layer.shape(torch.full((1, 1, 1), 9.0), torch.full((1, 1, 1), 9.0)) < 0).any():
        return "the shape is negative far away, so it covers everything: the sign is the other way round"
    if len(layer.to_image) not in (1, 9):
        return f"the layer moves for {len(layer.to_image)} frames, the scene has 9: use `time`"
    return "fine"

# %%
clip = check_scene(scene)
assert flow_error(scene, clip._replace(flow=-clip.flow))[0] > 0.05  # the check can fail: a flow of the wrong sign
assert visibility_agreement(scene, clip._replace(visible=clip.visible | True)) < 0.99  # or all called visible
masked = replace(ball, shape=lambda x, y: ball_shape(x, y) < 0)
inverted = replace(ball, shape=lambda x, y: -ball_shape(x, y))
assert check_layer(ball) == "fine" and "no mask" in check_layer(masked) and "sign" in check_layer(inverted)

# %% [markdown]
# The checks pass for the scene, and fail for a wrong sign and for a map that calls everything visible. Now
# the kite.

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

print("my layer:", check_layer(my_layer))
my_clip = check_scene(my_scene)
index = my_scene.index(my_layer)
print("my layer owns pixels in every frame:", all((owner == index).any() for owner in my_clip.owner))

# %%
mine = my_clip.owner == index
hidden_of_mine = (mine & ~my_clip.visible[0]).sum(dim=(1, 2))
assert hidden_of_mine[0] == 0 and hidden_of_mine.max() > 0  # part of the kite was behind the post at first
assert same_as_library(my_scene, 64, 9)
print("some of my layer was hidden in frame 0:", bool(hidden_of_mine.max() > 0))
viz.slider(
    frame_by_frame(my_clip),
    [f"frame {k}" for k in range(9)],
    scale=1,
    alt="The scene with a kite of four coloured quarters that rises to the left, out of the cover of the post. In the visibility map a strip of the kite is black, besides the wall where ball and kite were.",
)

# %% [markdown]
# *The kite comes out from behind the post. In frame 0 the post covers a part of it. That part is black in
# every later frame, and it moves with the kite. Nothing in the renderer was changed, and flow and visibility
# are exact.*
#
# ### Things that bend
#
# A turn, a shift and a scale are all that an affine map offers. A smile needs more. The trick of the library
# is one function: after the inverse affine map, a *local* displacement bends canonical coordinates, in every
# frame as it likes, but not in frame 0. Then the way *to* canonical coordinates can be any function, and the
# way from there to frame 0 is still affine and known. No inverse of the bending is ever needed. The flow
# stays exact.

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
bending = check_scene([wall, flag, ball, post])
assert same_as_library([wall, flag, ball, post], 64, 9)
x, y = identity_grid(9, 9)[:, None]
assert_close(flutter(x, y)[1][0], y[0])  # at rest nothing bends
viz.contact_sheet(
    torch.stack([bending.video, flow_to_rgb_v2(bending.flow[None], 1.0)[0] * (0.3 + 0.7 * bending.visible)]),
    ["scene", "flow"],
    frames=5,
    scale=2,
    alt="The scene with a chequered flag at the post that begins to wave. Below, the flow: the flag is yellow and violet in turns, which means up and down. Hidden pixels are dark.",
)

# %% [markdown]
# *A flag that waves. In the lower row, hidden pixels are darkened: the wall behind the ball, and the rim of
# wall that the flag uncovers.*
#
# The faces of this book are made like that: a dozen layers, and a field of smooth bumps that moves brows,
# cheeks and lips. One more trick is for speed. Layers that move alike, such as ears and hair, need not be
# drawn in every frame. Draw them once, in canonical coordinates, into a picture, a *sprite*, and look colours
# up there. Its pixels are called *texels*. It is `grid_sample` again.

# %%
def sprite(layer: Layer, half: float, texels: int) -> Layer:
    """The layer with its paint drawn once, on texels x texels points of the box from -half to half."""
    x, y = half * identity_grid(texels, texels)[:, None]
    picture = layer.paint(x, y).transpose(0, 1)  # (1, 3, texels, texels)

    def look_up(x: Tensor, y: Tensor) -> Tensor:
        places = torch.stack([x, y], dim=-1).flatten(0, 1)[None] / half  # (1, t * h, w, 2)
        found = F.grid_sample(picture, places, padding_mode="border", align_corners=False)
        return found[0].unflatten(1, x.shape[:2])

    return replace(layer, paint=look_up)


apart = {}
for texels in (8, 16, 32, 64):
    once = render_v3([wall, sprite(ball, 0.3, texels), post], 64, 9)
    assert torch.equal(once.flow, clip.flow)  # motion is not touched
    apart[texels] = (once.video - clip.video).abs()[:, clip.owner == 1].mean().item()
boxed = scenes.Layer(ball_shape, ball_paint, scenes.LayerMotion(ball.to_image), box=(-0.3, -0.3, 0.3, 0.3))
merged = sprites.merged([boxed], boxed.motion, texel=0.6 / 32)  # the library's, with the shape in the picture too
theirs = scenes.render([library_layer(wall), merged, library_layer(post)], 64, 9).video
assert sorted(apart.values(), reverse=True) == list(apart.values()) and apart[64] < 0.02
assert (theirs - clip.video).abs()[:, clip.owner == 1].mean() < 0.04
print("the finer the sprite, the nearer to the ball:", sorted(apart.values(), reverse=True) == list(apart.values()))

# %% [markdown]
# ## Occlusion and disocclusion
#
# Two things happen when the ball moves. Some wall is *covered*: it was visible in frame 0, and is not any
# more. That is **occlusion**. And some wall is *uncovered*: it is visible now, and was not in frame 0. That
# is **disocclusion**.
#
# Which of them is in the map $m$? Backward flow asks on behalf of the pixels of the *new* frame. What was
# covered has no pixel there, so nobody asks for it. Only the uncovered pixels ask for something that frame 0
# does not show. So the "occlusion map" of LFDM marks disocclusion: what was occluded *in the source*.
#
# To see the other half, play the video backwards. Then frame $k$ is the given one, and what was covered is
# uncovered.

# %%
def reversed_scene(layers: list[Layer], k: int) -> list[Layer]:
    """Two frames: frame k first, then frame 0."""
    two = [layer.to_image if len(layer.to_image) == 1 else layer.to_image[[k, 0]] for layer in layers]
    return [replace(layer, to_image=motion) for layer, motion in zip(layers, two, strict=True)]


k = 8
uncovered = ~clip.visible[0, k]
covered = ~render_v3(reversed_scene(scene, k), 64, 2).visible[0, 1]  # a map on frame 0
assert (clip.owner[0][uncovered] == 1).float().mean() > 0.9  # in frame 0 the ball was there
assert (clip.owner[k][covered] == 1).float().mean() > 0.9  # in frame k the ball is there
print("covered and uncovered areas differ by less than 10 %:", bool(abs(covered.sum() / uncovered.sum() - 1) < 0.1))
viz.image_row(
    [clip.video[:, 0], clip.video[:, k], 0.85 * (~covered).float(), 0.85 * (~uncovered).float()],
    ["frame 0", "frame 8", "covered later", "uncovered since"],
    scale=2,
    alt="The ball left of the post; the ball right of it; frame 0's pixels that will be covered, a black disc on the right and a sliver of the ball; frame 8's pixels that were uncovered, a black disc on the left.",
)

# %% [markdown]
# *Third: pixels of frame 0 that frame 8 does not show (occlusion). Fourth: pixels of frame 8 that frame 0 did
# not show (disocclusion). The sliver in the third is a piece of the ball that ends up
# behind the post. Only the fourth is a task for somebody: these pixels must be painted, and there is
# nothing to copy.*
#
# How much is uncovered? For a disc of radius $\varrho$ that has moved by $d$, it is the disc's area without
# the lens in which old and new disc overlap. The lens is two equal segments of a
# circle, each of them a sector less a triangle. For $d \le 2 \varrho$
#
# $$S(d) = \pi \varrho^2 - 2 \varrho^2 \operatorname{arccos}\frac{d}{2 \varrho} + \frac{d}{2} \sqrt{4 \varrho^2 - d^2}$$
#
# and then all of $\pi \varrho^2$.

# %%
def uncovered_area(d: float, rho: float) -> float:
    d = min(d, 2 * rho)
    return math.pi * rho**2 - 2 * rho**2 * math.acos(d / (2 * rho)) + d / 2 * math.sqrt(4 * rho**2 - d**2)


assert uncovered_area(0, 0.3) < 1e-12 and math.isclose(uncovered_area(9, 0.3), math.pi * 0.3**2)
ways = torch.linspace(0, 0.9, 19)
measured = {}
for rho in (0.2, 0.3):
    rolls = Layer(lambda x, y, r=rho: ball_shape(x, y, r), ball_paint, affine(x=-0.45 + ways))
    seen = render_v3([wall, rolls], 128, 19).visible
    measured[rho] = (~seen).sum(dim=(0, 2, 3)) * 4 / 128**2  # a pixel's area is 4 / 128^2
print("measured at two radii and", len(ways), "ways")

# %% mystnb={"image": {"alt": "Uncovered area against the way of the disc, for radii 0.2 and 0.3. Markers lie on the predicted curves, which rise steeply at first, then flatten, and stay level from a way of twice the radius on."}}
plt.figure(figsize=(6.2, 3.4))
for (rho, areas), marker, style in zip(measured.items(), "os", ("-", "--"), strict=True):
    predicted = torch.tensor([uncovered_area(d, rho) for d in ways.tolist()])
    plt.plot(ways, predicted, style, color="#1f3b57", label=f"predicted, radius {rho}")
    plt.plot(ways, areas, marker, color="#b35900", label=f"measured, radius {rho}")
    worst = (areas - predicted).abs().max().item()
    assert worst < 0.005
    plt.axvline(2 * rho, color="gray", linestyle=":")
plt.gca().set(xlabel="way d, in normalized units", ylabel="uncovered area")
plt.legend(fontsize=8)
plt.show()
print("agree to 0.005 of the picture's area of 4:", worst < 0.005)

# %% [markdown]
# *Dotted: a way of twice the radius. From there on, nothing more is uncovered, however far the disc goes. At
# first the curve is a straight line of slope $2 \varrho$: a thin crescent, as high as the disc is.*
#
# What does a warp show at uncovered pixels? It does as it is told, and looks up frame 0. There it finds the
# ball. So the ball is there twice: a *ghost*. The cure is the product with the map:
#
# $$\hat I_k = m_k \odot \mathrm{warp}(I_0, f_k)$$
#
# The circled dot is multiplication, pixel by pixel. Black means: *not known, to be painted*.

# %%
def show_warp(clip: Rendered, k: int, alt: str) -> viz.Picture:
    moved = warp_v2(clip.video[None, :, 0], clip.flow[None, :, k])[0]
    known = clip.visible[:, k].float() * moved
    titles = ["frame 0", f"frame {k}", "warped", "times m"]
    return viz.image_row([clip.video[:, 0], clip.video[:, k], moved, known], titles, scale=2, alt=alt)


k = 5
moved = warp_v2(my_clip.video[None, :, 0], my_clip.flow[None, :, k])[0]
wrong = (moved - my_clip.video[:, k]).abs().mean(0)
ghost = ~my_clip.visible[0, k]
assert wrong[ghost].mean() > 8 * wrong[~ghost].mean()
with_library = lfdm.warp(my_clip.video[None, :, 0], my_clip.flow[None, :, k], my_clip.visible[None, :, k].float())
assert_close(my_clip.visible[:, k] * moved, with_library[0], atol=1e-5, rtol=0)
print("hidden pixels are wrong by more than 8 times as much:", bool(wrong[ghost].mean() > 8 * wrong[~ghost].mean()))
show_warp(my_clip, k, alt="The scene at first; the scene in frame 5; frame 0 warped, with a second ball at the left and a second kite; the same with these ghosts in black.")

# %% [markdown]
# *Third: the warped picture has two balls and two kites. Where the post hid the kite, the warped kite wears a
# piece of post. Fourth: times $m$. What is left is right, and what is black is for a decoder to paint: a
# network that turns warped features into frames, built in [chapter 5](05_autoencoder.ipynb).*
#
# Now look again at the surprised face. Its open mouth is a disocclusion.

# %%
k = 6
face_clip = Rendered(video, face["flow"], face["visible"] > 0.5, owner=None)
hidden_share = 1 - face["visible"][0, k].mean().item()
mouth = ~face_clip.visible[0, k, 40:58, 22:42]
assert mouth.any() and hidden_share < 0.1
print("hidden:", f"less than a tenth of the frame: {hidden_share < 0.1}", " some of it at the mouth:", bool(mouth.any()))
show_warp(face_clip, k, alt="The face at rest; surprised; frame 0 warped, with stretched lips where the mouth opens; times the map, with black at the mouth, around the eyes and at the rim of the head.")

# %% [markdown]
# *Less than a tenth of the frame is hidden in frame 0. So nine tenths can be copied, if the flow is known.
# That is the bet of LFDM: draw the flow, which is smooth and simple, and paint only the rest.*

# %% [markdown]
# ## From a scene to a data set
#
# A scene is one clip. To train and to measure, we need thousands, of different people, with labels. In the
# library a set is a class with names of labels, and one method that answers with layers. Three rules make it
# honest.
#
# * *Who* is seen depends on the subject's number alone. Subjects of the test split occur in no other split.
# * *How* somebody moves depends on random numbers that are drawn in the same order for each label.
# * Frame 0 is at rest, whatever the label. A picture must not tell what will happen.
#
# Here is a set of rolling balls. A subject is a colour; a label is a direction.

# %%
class Rolling(lfdm.data.ProceduralSet):
    labels = ("left", "right")
    key = 0xBA11  # keeps its random numbers apart from those of other sets

    def draw(self, label: str, subject: int, rng: np.random.Generator) -> list[scenes.Layer]:
        own_colour = rgb(*np.random.default_rng(subject).uniform(0.1, 0.9, 3).tolist())
        speed, height = rng.uniform((0.35, 0.2), (0.6, 0.5))  # each from its own range
        way = speed * torch.linspace(0, 1, self.num_frames) * {"left": -1, "right": 1}[label]

        def paint(x: Tensor, y: Tensor) -> Tensor:
            return torch.where(torch.sin(3 * torch.atan2(y, x)) > 0, own_colour, rgb(0.98, 0.93, 0.80))

        rolls = Layer(ball_shape, paint, affine(1.0, way / 0.3, way, height))
        return [library_layer(layer) for layer in (wall, rolls)]


balls = Rolling("train", size=64, num_frames=9)
print(len(balls), "clips;", {key: tuple(v.shape) for key, v in balls[0].items() if isinstance(v, Tensor)})

# %%
ways_to_go = [balls.draw(label, subject=3, rng=np.random.default_rng(0)) for label in balls.labels]
left, right = (scenes.render(layers, 64, 9) for layers in ways_to_go)
assert torch.equal(left.video[:, 0], right.video[:, 0])  # frame 0 does not tell
assert not torch.equal(left.video[:, 8], right.video[:, 8])
assert torch.equal(balls[5]["video"], Rolling("train", 64, 9, length=6)[5]["video"])  # the index alone decides
train, test = ({Rolling(split)[i]["subject"] for i in range(20)} for split in ("train", "test"))
assert not train & test
print("train and test share subjects:", bool(train & test))
viz.contact_sheet(
    torch.stack([balls[i]["video"] for i in range(4)]),
    [balls[i]["label_name"] for i in range(4)],
    frames=5,
    scale=2,
    alt="Four clips, of labels left and right in turns: balls of different colours that start in the middle and roll to the left or to the right, at different heights and speeds.",
)

# %% [markdown]
# *Four clips of a data set of 6,000, in twenty lines. Flow and visibility come with each.*
#
# The four sets of the library are made in this way, with more care for looks. `Faces` has six expressions,
# `Figures` fifteen actions, `Gestures` fourteen signals; `Sketches` shows the clips of `Faces` in other
# styles. The file `lfdm_lite/data/README.md` has all labels in pictures.

# %%
sheet, titles = [], []
for dataset in (lfdm.data.Faces, lfdm.data.Figures, lfdm.data.Gestures, lfdm.data.Sketches):
    item = dataset("val", size=64, num_frames=16)[11]
    dimmed = flow_to_rgb_v2(item["flow"][None], 0.3)[0] * (0.3 + 0.7 * item["visible"])
    sheet += [item["video"], dimmed]
    titles += [f"{dataset.__name__}: {item['label_name']}", ""]
    assert (item["flow"][:, 0] == 0).all() and (item["visible"][:, 0] == 1).all()  # all start at rest
assert torch.equal(lfdm.data.Sketches("val")[11]["flow"], lfdm.data.Faces("val")[11]["flow"])  # other colours alone
print("clips at rest in frame 0:", len(sheet) // 2)
viz.contact_sheet(
    torch.stack(sheet),
    titles,
    frames=6,
    scale=1,
    alt="Eight rows. For each of Faces, Figures, Gestures and Sketches one clip, and below it its flow in colours, with hidden pixels darkened. The flows of Faces and Sketches are the same.",
)

# %% [markdown]
# *Below each clip its flow, on one scale; hidden pixels are dark. Two clips may differ in all their colours
# and have the same flow: `Faces` and `Sketches` at the top and the bottom. That separation is the idea of the
# whole book.*

# %% [markdown]
# ## Failure gallery
#
# ### A flow, misread
#
# Most flows that go wrong are right flows, read wrongly. Here are four mistakes that everybody makes once,
# with the true flow of the surprised face.

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
mistakes = list(errors.values())[1:]
assert errors["right"] < 0.5 * no_flow < no_flow < min(mistakes)
print("each mistake is worse than no flow at all:", no_flow < min(mistakes))
viz.image_row(
    [picture[0] for picture in shown.values()],
    list(shown),
    scale=2,
    alt="The face warped with the true flow; with the wrong sign, lips pressed together and the chin short; with swapped axes, a crooked mouth and chin; in pixels, a few torn blobs of colour; and with positions, the face at half its size with smeared borders.",
)

# %% [markdown]
# *Only torn and shrunken pictures are noticed at a glance. A wrong sign still gives a face. So do not trust a
# glance; measure.*

# %% mystnb={"image": {"alt": "Bar chart of the error on visible pixels. Right is the lowest. Wrong sign and swapped axes are above the dashed line of no flow at all, position and pixels far above."}}
plt.figure(figsize=(6.4, 3))
hatches = ["", "//", "\\\\", "xx", ".."]
plt.bar(list(errors), list(errors.values()), color="#e8eef4", edgecolor="#1f3b57", hatch=hatches)
plt.axhline(no_flow, color="#b35900", linestyle="--", label="no flow at all")
plt.ylabel("error on visible pixels")
plt.legend()
plt.show()
assert errors["wrong sign"] > 1.2 * no_flow
print("worse than no flow:", [name for name in errors if errors[name] > no_flow])

# %% [markdown]
# *The line is the test. A flow that does worse than no flow is not a bad estimate; it is misread. Keep this
# plot at hand whenever you connect two programs that exchange flows.*
#
# ### Changes that no flow can carry
#
# Warping assumes that colours travel and do not change. A shadow, a lamp, a pane of tinted glass break that.
# Let a pane slide over the scene at rest. Each pixel shows two things then, the pane and what is behind it,
# and they move differently. There is one flow a pixel, and the renderer gives it to what is behind: a layer
# whose *opacity*, a factor of its coverage, is below one half owns nothing.

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
assert glass.flow.abs().max() < 1e-6 and glass.visible.all()  # nothing moves, all is visible
pulled = warp_v2(glass.video[None, :, 0], glass.flow[None])[0]
apart = (pulled - glass.video).abs().mean(0, keepdim=True)
left_over = apart.mean(dim=(0, 2, 3))
assert left_over[0] < 1e-6 and left_over[4:].min() > 0.05
print("flow is zero, and the warped frame is wrong:", bool(left_over[4:].min() > 0.05))
viz.contact_sheet(
    torch.stack([glass.video, pulled, 1 - 3 * apart.expand_as(pulled)]),
    ["true", "warped", "difference"],
    frames=5,
    scale=2,
    alt="A green pane slides over ball and post. Warped by the true flow, which is zero, the pane stays where it was. The difference shows the pane twice, dark.",
)

# %% [markdown]
# *Top: a pane of glass slides to the right, and nothing else moves. Middle: frame 0, warped by the true flow,
# which is zero. Bottom: the difference; the pane is missing on the right and left over on the left. The
# visibility map is white all over, and no help. A decoder must repair this, or the flow must give up on truth
# and move what it can.*
#
# LFDM's auto-encoder does both: nobody tells it the true flow, so it is free to choose the flow that helps
# its decoder most. How a flow can be found from pictures alone is the question of [chapter
# 2](02_flow_estimation.ipynb).

# %% [markdown]
# ## Summary
#
# * A backward flow says, for every pixel of a new frame, where in the source to look; positions are pixel
#   centres in a picture that spans $[-1, 1]$, and a warp looks there.
# * In a scene of layers the flow is exact, since each pixel knows its canonical coordinates; and it is
#   visible in frame 0 if the same layer is on top there.
# * What a motion uncovers cannot be copied from anywhere. The occlusion map marks it, and somebody has to
#   paint it.
#
# ## Exercises
#
# ### Check yourself
#
# **1.** (two minutes, easy) A picture has 32 rows and 64 columns. Its flow is $(0.25, -0.125)$ everywhere. By
# how many pixels did the content move, and in which direction?
#
# <details>
# <summary>Solution</summary>
#
# $u = 32 \cdot 0.25 = 8$ and $v = 16 \cdot (-0.125) = -2$: each pixel looks 8 to the right and 2 up. So the
# content came from there: it moved 8 pixels to the left and 2 down.
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
# **2.** (three minutes, easy) A clip of 40 frames has 128 x 128 pixels. How many numbers are its colours? How
# many are flow and occlusion map, on a grid of 32 x 32? What is the ratio if the picture had one colour only?
#
# <details>
# <summary>Solution</summary>
#
# Colours: $3 \cdot 40 \cdot 128^2 = 1{,}966{,}080$. Motion: two channels of flow and one of occlusion, $3
# \cdot 40 \cdot 32^2 = 122{,}880$. The ratio is $16$, all from the coarser grid. With one colour it is $16 /
# 3$.
#
# ```python
# assert 3 * 40 * 128**2 == 16 * (2 + 1) * 40 * 32**2
# ```
#
# </details>
#
# **3.** (three minutes, medium) The ball rolls behind the post and stays there, half covered. Which pixels of
# the last frame are hidden in frame 0? What about the half of the ball that is behind the post?
#
# <details>
# <summary>Solution</summary>
#
# Only the wall where the ball was. The visible half of the ball was visible in frame 0 as well, and so was
# the post. The covered half has no pixel in the last frame, so nobody asks for it: it is in no map.
#
# ```python
# stops = replace(ball, to_image=affine(1.0, 0.8 * time / 0.3, -0.55 + 0.8 * time, 0.42))
# last = render_v3([wall, stops, post], 64, 9)
# of_wall = last.owner[8][~last.visible[0, 8]] == 0
# assert of_wall.float().mean() > 0.95  # but for a few pixels at rims, which round to the other side
# ```
#
# </details>
#
# ### Code it
#
# **4.** (ten minutes, easy) Write the signed distance of a ring: all points whose distance to the origin is
# between 0.25 and 0.35. Then put a ring into the scene.

# %% tags=["exercise"]
def ring_shape(x: Tensor, y: Tensor) -> Tensor:
    return None  # your line


def check_ring(shape) -> str:
    distance = shape(torch.tensor([0.3, 0.0, 0.5, 0.3]), torch.tensor([0.0, 0.0, 0.0, 0.4]))
    if distance is None:
        return "not yet: return the distance to the edge, negative inside"
    if distance.dtype == torch.bool or set(distance.abs().tolist()) <= {0.0, 1.0}:
        return "not yet: that is a mask; a distance also says how far the edge is, or edges get jagged"
    expected = torch.tensor([-0.05, 0.25, 0.15, 0.15])
    if torch.allclose(distance, -expected, atol=1e-5):
        return "not yet: the sign is the other way round; inside is negative"
    if torch.allclose(distance, expected - 0.05, atol=1e-5):
        return "not yet: 0.1 is the whole width; the edge is half of it away from the middle of the ring"
    if distance[1] < 0:
        return "not yet: the hole of the ring is filled; that is a disc"
    return "solved" if torch.allclose(distance, expected, atol=1e-5) else "not yet: compare with the numbers at (0.5, 0)"


print(check_ring(ring_shape))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# How far is a point from the circle in the middle of the ring, of radius 0.3? Less half of the width, that is
# the distance to the edge.
#
# ```python
# def ring_shape(x, y):
#     return (x.hypot(y) - 0.3).abs() - 0.05
#
#
# assert check_ring(ring_shape) == "solved"
# assert check_ring(lambda x, y: 0.05 - (x.hypot(y) - 0.3).abs()).endswith("inside is negative")
# assert "mask" in check_ring(lambda x, y: (x.hypot(y) - 0.3).abs() < 0.05)
# assert "disc" in check_ring(lambda x, y: x.hypot(y) - 0.35)
# hoop = Layer(ring_shape, lambda x, y: rgb(0.7, 0.2, 0.5) + 0.2 * x, affine(1.0, 3 * time, -0.5 + time, -0.5))
# with_hoop = check_scene([wall, hoop, ball, post])
# viz.video_strip(with_hoop.video, alt="The scene with a hoop that rolls above the ball.")
# ```
#
# Through the hole you see the wall, and the wall there is visible or hidden as the hoop of frame 0 says.
#
# </details>
#
# **5.** (fifteen minutes, medium) All flows so far lead to frame 0. Write the flow of a layer from frame $k$
# to any frame $l$, at positions `p` of shape `(2, h, w)`: for a pixel of frame $k$, where is it in frame $l$?

# %% tags=["exercise"]
def flow_between(layer: Layer, p: Tensor, k: int, l: int) -> Tensor:  # noqa: E741
    return None  # your lines; layer.to_image has the A and b of every frame


def check_flow_between(function) -> str:
    turning = Layer(None, None, affine(1 + 0.5 * time, 2 * time, 0.6 * time - 0.2, 0.3 * time))
    at = 0.5 * identity_grid(4, 6)

    def carried(points, k, l):  # noqa: E741
        (A_k, b_k), (A_l, b_l) = (turning.to_image[n].split((2, 1), dim=1) for n in (k, l))
        return (A_l @ torch.linalg.solve(A_k, points.flatten(1) - b_k) + b_l).view_as(points)

    found, truth = function(turning, at, 5, 2), carried(at, 5, 2) - at
    if found is None:
        return "not yet: return a flow of the shape of p"
    if torch.allclose(found, carried(at, 5, 2), atol=1e-5):
        return "not yet: that is the position in frame l; a flow is the way there, so p must be taken away"
    if torch.allclose(found, carried(at, 2, 5) - at, atol=1e-5):
        return "not yet: p is a position in frame k, and must be undone with the motion of frame k"
    if torch.allclose(found, carried(at, 5, 0) - carried(at, 2, 0), atol=1e-5):
        return "not yet: the difference of two flows to frame 0 is taken at one place; the thing itself has moved on"
    return "solved" if torch.allclose(found, truth, atol=1e-5) else "not yet: go to canonical coordinates, then to frame l"


print(check_flow_between(flow_between))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# To canonical coordinates by frame $k$, and out again by frame $l$. With $l = 0$ it is the flow of this
# chapter.
#
# ```python
# def flow_between(layer, p, k, l):
#     A_k, b_k = layer.to_image[k, :, :2], layer.to_image[k, :, 2, None, None]
#     A_l, b_l = layer.to_image[l, :, :2], layer.to_image[l, :, 2, None, None]
#     q = torch.einsum("ij,jhw->ihw", torch.linalg.inv(A_k), p - b_k)
#     return torch.einsum("ij,jhw->ihw", A_l, q) + b_l - p
#
#
# assert check_flow_between(flow_between) == "solved"
# assert "taken away" in check_flow_between(lambda layer, p, k, l: flow_between(layer, p, k, l) + p)
# assert "must be undone" in check_flow_between(lambda layer, p, k, l: flow_between(layer, p, l, k))
# wrong = lambda layer, p, k, l: flow_between(layer, p, k, 0) - flow_between(layer, p, l, 0)
# assert "moved on" in check_flow_between(wrong)
# on_ball = clip.owner[3] == 1
# p = identity_grid(64, 64)
# assert_close(flow_between(ball, p, 3, 0)[:, on_ball], clip.flow[:, 3][:, on_ball], atol=1e-5, rtol=0)
# ```
#
# Chapter 3 composes flows of which no layer is known.
#
# </details>
#
# ### Explore
#
# **6.** (half an hour, medium) Let the camera move: give the wall and the post one more shift, to the left,
# and the ball its own. What enters at the right border? Is it visible in frame 0? How does the visibility map
# of a clip depend on which frame is the given one, and which frame would you give if you could choose?
#
# <details>
# <summary>Solution</summary>
#
# What enters at the border was outside of frame 0, so it is hidden, like what is uncovered. With the middle
# frame as the given one, each frame is at most half a clip away, and less of it is hidden. LFDM gives frame 0
# all the same: it starts from a picture and invents what comes next.
#
# ```python
# pan = affine(x=-0.4 * time)
# moved_post = replace(post, to_image=post.to_image + affine(x=-0.4 * time) - affine())
# panned = render_v3([replace(wall, to_image=pan), ball, moved_post], 64, 9)
# new_wall = panned.owner[8, :, -12:] == 0  # the last 12 columns, without the ball
# assert not panned.visible[0, 8, :, -12:][new_wall].any()
# order = [4, 0, 1, 2, 3, 5, 6, 7, 8]  # frame 4 first: it becomes the given one
# layers = [replace(wall, to_image=pan[order]), replace(ball, to_image=ball.to_image[order])]
# given_middle = render_v3([*layers, replace(moved_post, to_image=moved_post.to_image[order])], 64, 9)
# assert (~given_middle.visible).sum() < (~panned.visible).sum()
# ```
#
# </details>
#
# **7.** (an evening, open) Film something with a fixed camera, read it with `lfdm.data.VideoFolder`, and cut
# the clip into space–time slices along rows and columns. Which bands have the same slope? Where does a band
# begin or end, and is that an occlusion or a disocclusion?
#
# <details>
# <summary>Solution</summary>
#
# The slope of a band is a speed: columns per frame. Things that are one layer have bands of one slope at all
# heights. A band that ends under another is occluded; one that comes out from under it is disoccluded. Bands
# that change their brightness without bending are shadows and lamps. Trees and water are made of more layers
# than you want to draw.
#
# </details>
#
# ## What the authors did
#
# LFDM {cite:p}`ni2023lfdm` is trained on films of people, for which no true flow exists. There, flow and
# occlusion map are what a network estimates such that a decoder can paint the frame; they are judged by the
# frames alone. We begin with drawn scenes, since what is exact can be tested.
#
# Their flow is backward and normalized too. Three things differ in their published code. Grids put $-1$ and
# $1$ at the *centres* of the outermost pixels, while the look-up takes them for the edges of the picture; we
# have one meaning everywhere. Outside of the picture, their look-up finds black; ours repeats the border. And
# the diffusion model is given absolute positions, $\mathbf p + f(\mathbf p)$, where ours sees displacements.
# [What differs, and why](differences.md) has the cost of each, measured.
#
# ## Further reading
#
# * {cite:t}`baker2011database`: the colour wheel, and how flows are compared.
# * {cite:t}`wang1994layers`: videos as layers that move, estimated from films.
# * {cite:t}`porter1984compositing`: what it means to put one picture over another.
# * {cite:t}`butler2012sintel`: a drawn film with true flow, to measure estimates with.
# * {cite:t}`dosovitskiy2015flownet`: enough drawn pairs to train a network that finds flow in films.
