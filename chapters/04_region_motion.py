# ---
# jupyter:
#   book:
#     equals:
#       BackgroundDetector: lfdm_lite.regions.BackgroundPredictor
#       Deformation: lfdm_lite.geometry.RandomTransform
#       DenseMotion: lfdm_lite.motion.FlowPredictor
#       RegionDetector: lfdm_lite.regions.RegionPredictor
#       affine_frame_v3: lfdm_lite.regions.affine_frame
#       bumps: lfdm_lite.motion.gaussian_heatmaps
#       equivariance: lfdm_lite.losses.equivariance_loss
#       inverse: lfdm_lite.regions.inverse_2x2
#       least_turn: lfdm_lite.motion.sign_of_turn
#       moments_v2: lfdm_lite.regions.moments
#       sparse_motions_v2: lfdm_lite.motion.sparse_motions
#     goals:
#     - turn a heat map into a position, a spread and a frame, all with useful gradients
#     - say what two frames tell of a region's motion, and what they cannot
#     - build a dense flow and an occlusion map from a few region motions
#     - use known deformations as supervision, and say what happens without
#     - judge what learned regions stand on, and how many are needed
#     minutes: 45
#     peak_mb: 560
#     prerequisites:
#     - chapter 03, for the warp and its gradient
#     - mean, covariance, eigenvalues of a symmetric matrix, change of basis
#     - training a small network in PyTorch
#     seconds: 11
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 04 Region motion
#
# A flow with two free numbers a pixel fits any picture and means nothing; you saw that at the end of [chapter
# 3](03_latent_warping.ipynb). LFDM forces the flow through a bottleneck: a handful of regions that nobody
# labelled, each with one motion. In this chapter you build that bottleneck, part by part, on a puppet whose
# true motion is known. Then you look at what the trained regions of the shipped model stand on.
#
# **At the end you can**
#
# * turn a heat map into a position, a spread and a frame, all with useful gradients;
# * say what two frames tell of a region's motion, and what they cannot;
# * build a dense flow and an occlusion map from a few region motions;
# * use known deformations as supervision, and say what happens without;
# * judge what learned regions stand on, and how many are needed.
#
# **You need** [chapter 3](03_latent_warping.ipynb) for the warp; means and covariances, and the eigenvalues of
# a symmetric matrix; and to have trained a small network once. **It takes** 45 minutes to read, and about 11
# seconds and 560 MB of memory to run on two CPU cores.
#
# ![The block diagram of the whole system. The words flow f and occlusion m, and the box that uses them, are highlighted; a new box, regions of two frames, points to them. The rest is pale.](../assets/figures/road_04.svg)
#
# *Where you are: where flow and occlusion come from in stage one, when two frames are given. Stage two will
# draw the same two things from noise.*

# %% [markdown]
# ## Why a bottleneck
#
# A face turns its head. Thousands of pixels move, but they move *together*: most of them by one turn of one
# rigid thing. How few motions explain a flow? Here a motion is an affine map, six numbers $(B, b)$ that say
# where in the source a position $\mathbf p$ looks: $B \mathbf p + b$. Drawn clips come with their true flow,
# so we can ask.
#
# The answer below is greedy. Fit one affine map to all pixels by least squares. Give the worst quarter of the
# pixels a second map. Let every pixel choose the map that fits it best, fit the maps again to those who chose
# them, a few times. Then a third map, and so on.

# %%
import json
import math
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

import lfdm_lite as lfdm
from lfdm_lite import geometry, losses, motion, regions, viz
from lfdm_lite.geometry import identity_grid, resize, sample_at
from lfdm_lite.layers import AntiAliasedDownsample, Hourglass, down_block

plt.rcParams["figure.dpi"] = 80
ASSETS = lfdm.asset()

# %%
def fit_affine(points: Tensor, targets: Tensor) -> Tensor:
    """The affine map (3, 2) that brings points (n, 2) nearest to targets (n, 2)."""
    return torch.linalg.lstsq(F.pad(points, (0, 1), value=1.0), targets, driver="gelsd").solution


def few_motions(flow: Tensor, most: int, rounds: int = 5) -> list[tuple[Tensor, Tensor]]:
    """Flow (2, h, w) -> for 1, 2, ... motions: root mean square error in pixels, and who follows which."""
    h, w = flow.shape[-2:]
    points = identity_grid(h, w).flatten(1).mT  # (h w, 2)
    targets = points + flow.flatten(1).mT
    maps, found = [fit_affine(points, targets)], []
    for _ in range(most):
        for _ in range(rounds):
            off = torch.stack([(F.pad(points, (0, 1), value=1.0) @ m - targets).norm(dim=1) for m in maps])
            choice = off.argmin(dim=0)
            maps = [fit_affine(points[choice == k], targets[choice == k]) if (choice == k).sum() > 3 else m
                    for k, m in enumerate(maps)]  # fmt: skip
        least = off.amin(dim=0)
        found.append((w / 2 * least.square().mean().sqrt(), choice.view(h, w)))
        worst = least > least.quantile(0.75)
        maps.append(fit_affine(points[worst], targets[worst]))
    return found

# %%
clip = lfdm.data.Faces("val", size=64)[13]
clip = {key: clip[key][None].float() for key in ("video", "flow", "visible")}
t = 13
first, frame = clip["video"][:, :, 0], clip["video"][:, :, t]  # (1, 3, 64, 64): source and driving frame
true_flow, visible = clip["flow"][:, :, t], clip["visible"][:, :, t]
explained = few_motions(true_flow[0], most=12)
print("motions tried:", len(explained), " pixels that choose:", explained[0][1].numel())

# %%
LABEL = dict(fontsize=8, bbox=dict(facecolor="white", edgecolor="black", pad=1))  # for numbers


def a_pixel_of(choice: Tensor, k: int) -> tuple[float, float]:
    """A pixel (x, y) of piece k of a map of pieces, well inside if possible: where to write its number."""
    piece, width = (choice == k).float(), len(choice) // 8 * 2 + 1
    inside = F.avg_pool2d(piece[None, None], width, stride=1, padding=width // 2)[0, 0] * piece
    y, x = divmod(inside.argmax().item(), choice.shape[1])
    return x, y


square = torch.zeros(16, 16)
square[4:9, 2:7] = 1
assert a_pixel_of(square, 1) == (4, 6)
print("the middle of a square:", a_pixel_of(square, 1))

# %% mystnb={"image": {"alt": "Left: a drawn face with its head turned. Middle: the same square divided into four shades, the pixels that follow each of four affine maps: one for background and shoulders, three for bands of head and hair. Right: a falling line of the error in pixels against 1 to 12 motions, steep up to two, nearly flat after four."}}
rms = [error.item() for error, _ in explained]
still = 32 * true_flow.square().sum(dim=1).mean().sqrt().item()
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9, 2.8), width_ratios=(1, 1, 1.5))
left.imshow(frame[0].movedim(0, -1))
middle.imshow(explained[3][1], cmap="cividis")
for k in range(4):
    middle.text(*a_pixel_of(explained[3][1], k), str(k), ha="center", va="center", **LABEL)
right.plot(range(1, 13), rms, "o-", color="#1f3b57", label="best affine maps")
right.axhline(still, color="black", linestyle=":", label="no motion")
right.set(xlabel="number of motions", ylabel="error of the flow, pixels", ylim=(0, None))
right.legend()
for ax, title in ((left, "frame 13"), (middle, "who follows which of 4")):
    ax.set(xticks=[], yticks=[], title=title)
figure.tight_layout()
plt.show()

assert all(b <= a + 1e-3 for a, b in zip(rms[:-1], rms[1:], strict=True))  # another motion never hurts
assert rms[9] < 0.2 * still
print("ten motions leave less than a fifth:", rms[9] < 0.2 * still)
print("numbers in the flow:", true_flow.numel(), " in ten affine maps:", 10 * 6)

# %% [markdown]
# *Middle: one shade and number a map. One is for everything that rests; the head takes the others. Right:
# what is left of the true flow, against the number of maps.*
#
# So 60 numbers say almost what 8192 say. That is the bottleneck: a few motions, and a map of who follows
# which. It rules out the wrong flows of chapter 3, which send every pixel to any place of the right colour.
# Two questions remain. Where do the motions come from, when only two pictures are given? And who says who
# follows which?
#
# **Keypoints, then regions.** An earlier method, the first order motion model {cite:p}`siarohin2019fomm`,
# answers the first question with keypoints. A network marks $K$ places in each picture; a second output of the
# network gives each of them a $2 \times 2$ matrix, which says how the picture turns and stretches there. Both
# are learned without labels. Its successor {cite:p}`siarohin2021mraa`, which LFDM builds on, drops the second
# output. The marks become *regions*, and the matrix is measured: it is the spread of the region. You build the
# successor.

# %% [markdown]
# ## A puppet whose motion is known
#
# The running example is a puppet of four rigid parts on a ground that does not move. Each part has a turn and
# a place (its joint). A point of the part at $u$, in the part's own coordinates, stands at turn times $u$
# plus place.

# %%
PARTS = ["ground", "trunk", "left arm", "right arm", "head"]
LIMBS = [(-0.25, 0.35, 0.2), (0.0, 0.55, 0.12), (0.0, 0.55, 0.12), (-0.28, -0.2, 0.2)]  # from y, to y, radius


class Pose(NamedTuple):
    turn: Tensor  # (b, 5, 2, 2), a rotation for every part, the ground first
    place: Tensor  # (b, 5, 2)


def rotation(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)

# %%
def pose_of(lean: Tensor, left: Tensor, right: Tensor, nod: Tensor, place: Tensor) -> Pose:
    """Angles (b,) in radians and the trunk's place (b, 2) -> a pose; arms hang from the trunk, so does the head."""
    quarter = math.pi / 2
    angles = torch.stack([0 * lean, lean, lean + quarter + left, lean - quarter + right, lean + nod], dim=1)
    joints = torch.tensor([[0.0, 0.0], [-0.22, -0.22], [0.22, -0.22], [0.0, -0.3]])
    places = place[:, None] + joints @ rotation(lean).mT
    return Pose(rotation(angles), torch.cat([0 * place[:, None], places], dim=1))


def random_pose(count: int, generator: torch.Generator) -> Pose:
    u = 2 * torch.rand(count, 6, generator=generator) - 1
    return pose_of(0.3 * u[:, 0], 0.8 * u[:, 1], 0.8 * u[:, 2], 0.4 * u[:, 3], u[:, 4:] * torch.tensor([0.25, 0.12]))

# %%
def own_coordinates(pose: Pose, points: Tensor) -> Tensor:
    """Points (b, n, 2) in the coordinates of every part, (b, 5, n, 2)."""
    return (points[:, None] - pose.place[:, :, None]) @ pose.turn  # the inverse of a turn is its transpose

# %%
def draw(pose: Pose, colours: Tensor, size: int = 32) -> tuple[Tensor, Tensor]:
    """A pose and the colours (b, 5, 3) of its parts -> images (b, 3, s, s), and which part shows where, (b, s, s)."""
    b = len(pose.place)
    points = identity_grid(size, size).flatten(1).mT.expand(b, -1, -1)
    own = own_coordinates(pose, points).mT.unflatten(-1, (size, size))  # (b, 5, 2, s, s)
    x, y = own[:, 0, 0], own[:, 0, 1]
    waves = (6 * x + 4 * y).sin() + (7 * y - 5 * x).sin()
    image = colours[:, 0, :, None, None] + 0.08 * waves[:, None]
    shown = torch.zeros(b, size, size, dtype=torch.long)
    for part, (start, end, radius) in enumerate(LIMBS, start=1):
        x, y = own[:, part, 0], own[:, part, 1]
        distance = torch.hypot(x, y - y.clamp(start, end)) - radius  # a capsule along the part's own y
        cover = (0.5 - distance * size / 2).clamp(0, 1)
        stripes = 0.82 + 0.18 * (16 * y + 3 * x).sin()
        image = torch.lerp(image, colours[:, part, :, None, None] * stripes[:, None], cover[:, None])
        shown = torch.where(cover > 0.5, part, shown)
    return image.clamp(0, 1), shown


def random_colours(count: int, generator: torch.Generator) -> Tensor:
    parts = 0.05 + 0.6 * torch.rand(count, 5, 3, generator=generator)
    return torch.cat([0.7 + parts[:, :1] / 3, parts[:, 1:]], dim=1)  # a light ground

# %% [markdown]
# The true motion follows. A position of the driving picture, taken into the coordinates of a part there, and
# from these coordinates into the source picture, is where this part has to be looked up.

# %%
def true_motions(source: Pose, driving: Pose, points: Tensor) -> Tensor:
    """Points (b, n, 2) of the driving picture -> where each part would look in the source, (b, 5, n, 2)."""
    return own_coordinates(driving, points) @ source.turn.mT + source.place[:, :, None]


def true_puppet_flow(source: Pose, driving: Pose, shown: Tensor) -> Tensor:
    """The flow (b, 2, s, s) of the part that shows at every pixel of the driving picture."""
    b, size = len(shown), shown.shape[-1]
    points = identity_grid(size, size).flatten(1).mT.expand(b, -1, -1)
    chosen = shown.flatten(1)[:, None, :, None].expand(-1, 1, -1, 2)
    lookup = true_motions(source, driving, points).gather(1, chosen)[:, 0]  # (b, s s, 2)
    return (lookup - points).mT.unflatten(-1, (size, size))


def one(*angles: float, place=(0.0, 0.1)) -> Pose:
    return pose_of(*(torch.tensor([a]) for a in angles), torch.tensor([place]))


source_pose, driving_pose = one(0.0, 0.2, -0.5, 0.0), one(0.2, -0.5, 0.4, 0.15, place=(0.15, 0.05))
paint = torch.tensor([[[0.85, 0.88, 0.92], [0.1, 0.2, 0.5], [0.9, 0.45, 0.1], [0.1, 0.6, 0.3], [0.5, 0.1, 0.2]]])
source, source_parts = draw(source_pose, paint, size=64)
driving, driving_parts = draw(driving_pose, paint, size=64)
puppet_flow = true_puppet_flow(source_pose, driving_pose, driving_parts)

# %%
same = true_puppet_flow(driving_pose, driving_pose, driving_parts)
assert_close(same, torch.zeros_like(same), atol=1e-5, rtol=0)  # from a pose to itself nothing moves
by_truth = lfdm.warp(source, puppet_flow)
error_still, error_true = ((picture - driving).abs().mean().item() for picture in (source, by_truth))
assert error_true < 0.7 * error_still
print("longest flow:", round(32 * puppet_flow.norm(dim=1).max().item()), "of 64 pixels")
viz.image_row(
    [source[0], driving[0], by_truth[0], lfdm.flow_to_rgb(puppet_flow)[0]],
    ["source", "driving", "warped by truth", "true flow"],
    alt="A puppet of trunk, two arms and head; the same with arms, trunk and head moved; the first warped by the true flow, like the second but with ghosts where the parts stood; the flow in colours, one for each part.",
)

# %% [markdown]
# *The puppet in two poses at 64 x 64 pixels, and the true flow between them. The warp is right where the source
# shows what is needed. Ghosts stand where it does not.*

# %% [markdown]
# ## From a heat map to a position
#
# A convolutional network answers with maps. For region $k$ it gives a number $l_k(\mathbf p)$ at every pixel
# centre $\mathbf p$, large where it sees the region. We need a *position*. The place of the largest number is
# one, but it has no gradient, and it jumps from pixel to pixel. Instead, make the numbers a distribution over
# places, by a softmax with temperature $\tau$, and take the mean:
#
# $$\eta_k(\mathbf p) = \frac{e^{l_k(\mathbf p) / \tau}}{\sum_{\mathbf p'} e^{l_k(\mathbf p') / \tau}}, \qquad
# \mu_k = \sum_{\mathbf p} \eta_k(\mathbf p)\, \mathbf p$$
#
# $\eta_k$ is the *heat map* and sums to 1. The mean $\mu_k$ is called *shift* in the code. This is the *soft
# argmax*.
#
# As long as nothing is trained we need a stand-in for the network. The puppet's arm is orange, so
# let $l$ be minus the distance of a pixel's colour from orange.

# %%
def likeness(image: Tensor, colour: Tensor) -> Tensor:
    """Images (b, 3, h, w) -> (b, 1, h, w): minus the distance from a colour (3,), in its mean shade."""
    return -(image - 0.82 * colour[:, None, None]).abs().sum(dim=1, keepdim=True)


def heat(logits: Tensor, temperature: float) -> Tensor:
    """Logits (b, k, h, w) -> heat maps of the same size, each sums to 1."""
    return (logits / temperature).flatten(2).softmax(dim=-1).view_as(logits)


def soft_argmax(heatmap: Tensor) -> Tensor:
    """Heat maps (b, k, h, w) -> shifts (b, k, 2) as (x, y)."""
    grid = identity_grid(*heatmap.shape[-2:])  # (2, h, w)
    return torch.einsum("bkhw,chw->bkc", heatmap, grid)


ORANGE = paint[0, 2]
heatmap = heat(likeness(source, ORANGE), 0.1)
assert_close(heatmap.sum(dim=(2, 3)), torch.ones(1, 1))
point = torch.zeros(1, 1, 64, 64)
point[..., 20, 50] = 1.0
assert_close(soft_argmax(point)[0, 0], identity_grid(64, 64)[:, 20, 50])  # all heat on one pixel: its centre
print("shift:", tuple(soft_argmax(heatmap).shape))

# %% mystnb={"image": {"alt": "Left: position found against true position as the puppet slides by four pixels. The soft line follows the diagonal, the hard one is a staircase. Right: four heat maps of the orange arm at temperatures 1, 0.3, 0.1 and 0.02: at 1 the whole picture glows, at 0.1 the arm alone, at 0.02 a few of its pixels."}}
slides = torch.linspace(0, 8 / 64, 41)  # up to 4 of 64 pixels, to the right
soft, hard = [], []
for slide in slides.tolist():
    moved, _ = draw(one(0.0, 0.2, -0.5, 0.0, place=(slide, 0.1)), paint, size=64)
    logits = likeness(moved, ORANGE)
    soft.append(32 * soft_argmax(heat(logits, 0.1))[0, 0, 0].item())
    hard.append(32 * identity_grid(64, 64)[0].flatten()[logits.flatten().argmax()].item())
figure, axes = plt.subplots(1, 5, figsize=(10, 2.4), width_ratios=(1.6, 1, 1, 1, 1))
axes[0].plot(32 * slides, [s - soft[0] for s in soft], "-", color="#1f3b57", label="soft, $\\tau$ = 0.1")
axes[0].plot(32 * slides, [s - hard[0] for s in hard], "--", color="#b35900", label="largest value")
axes[0].set(xlabel="puppet slides, pixels", ylabel="found, pixels")
axes[0].legend()
for ax, temperature in zip(axes[1:], (1.0, 0.3, 0.1, 0.02), strict=True):
    ax.imshow(heat(likeness(source, ORANGE), temperature)[0, 0], cmap="gray")
    ax.set(xticks=[], yticks=[], title=f"$\\tau$ = {temperature}")
figure.tight_layout()
plt.show()
soft_off = max(abs(s - soft[0] - 32 * d) for s, d in zip(soft, slides.tolist(), strict=True))
hard_off = max(abs(s - hard[0] - 32 * d) for s, d in zip(hard, slides.tolist(), strict=True))
assert soft_off < 1.5 < 10 < hard_off
print("largest error: soft about a pixel, hard more than ten:", soft_off < 1.5, hard_off > 10)

# %% [markdown]
# *Left: the puppet slides evenly by four pixels. The mean of the heat map follows, between pixels too, with a
# wobble where stripes pass over pixels. The largest value jumps along the arm, from one stripe that looks
# orange to another. Right: the heat map of the orange arm, each scaled to its own largest value. A low
# temperature picks few pixels, a high one mixes the whole picture in.*
#
# The gradient can be written down. For a change of one number $l_k(\mathbf p)$,
#
# $$\frac{\partial \mu_k}{\partial l_k(\mathbf p)} = \frac{\eta_k(\mathbf p)\, (\mathbf p - \mu_k)}{\tau}$$
#
# Raising a value pulls the mean towards its place; places without heat have no pull. So a region that sits at
# the wrong end of the picture learns nothing from the right end. The temperature $\tau = 0.1$ serves both ends
# of a training: at the start the logits differ little, so there is heat everywhere; later they differ more, and
# the heat gathers.

# %%
logits = likeness(source, ORANGE).requires_grad_()
mu = soft_argmax(heat(logits, 0.1))[0, 0]  # (2,)
by_autograd = torch.stack([torch.autograd.grad(mu[i], logits, retain_graph=True)[0][0, 0] for i in (0, 1)])
eta, p = heat(logits, 0.1)[0, 0].detach(), identity_grid(64, 64)
assert_close(by_autograd, eta * (p - mu.detach()[:, None, None]) / 0.1, atol=1e-6, rtol=1e-4)
print("by hand = autograd:", tuple(by_autograd.shape))

# %% [markdown]
# ## From a heat map to a spread
#
# A position alone cannot say that an arm turned about its middle. The *shape* of the heat can: an arm is
# long. The second moment of the heat map is its covariance,
#
# $$\Sigma_k = \sum_{\mathbf p} \eta_k(\mathbf p)\, (\mathbf p - \mu_k)(\mathbf p - \mu_k)^\top$$

# %%
def moments_v2(heatmap: Tensor) -> tuple[Tensor, Tensor]:
    """Heat maps (b, k, h, w) -> shifts (b, k, 2) and covariances (b, k, 2, 2)."""
    grid = identity_grid(*heatmap.shape[-2:])
    shift = torch.einsum("bkhw,chw->bkc", heatmap, grid)
    offset = grid - shift[..., None, None]  # (b, k, 2, h, w)
    covariance = torch.einsum("bkhw,bkihw,bkjhw->bkij", heatmap, offset, offset)
    return shift, covariance


anything = heat(torch.randn(2, 3, 20, 30, generator=torch.Generator().manual_seed(0)), 0.5)
for ours, theirs in zip(moments_v2(anything), regions.moments(anything), strict=True):
    assert_close(ours, theirs)  # the library's
shift, covariance = moments_v2(anything)
assert_close(covariance, covariance.mT)
assert (torch.linalg.eigvalsh(covariance) > 0).all()
_, mirrored = moments_v2(anything.flip(-1))  # x -> -x keeps the variances and turns the sign of the covariance
assert_close(mirrored, covariance * torch.tensor([[1.0, -1], [-1, 1]]), atol=1e-6, rtol=1e-4)
print("shifts:", tuple(shift.shape), " covariances:", tuple(covariance.shape))

# %% [markdown]
# What does a linear map $Q$ of the picture do to it? Offsets $\mathbf p - \mu_k$ become
# $Q (\mathbf p - \mu_k)$, so $\Sigma_k$ becomes $Q \Sigma_k Q^\top$. Test it on the puppet: turn it as a whole,
# and measure again.

# %%
def arm_moments(lean: float) -> tuple[Tensor, Tensor]:
    picture, _ = draw(one(lean, 0.2, -0.5, 0.0), paint, size=64)
    shift, covariance = moments_v2(heat(likeness(picture, ORANGE), 0.1))
    return shift[0, 0], covariance[0, 0]


_, upright = arm_moments(0.0)
for lean in (-0.4, 0.3, 0.8):
    Q = rotation(torch.tensor(lean))
    _, measured = arm_moments(lean)
    assert (measured - Q @ upright @ Q.mT).abs().max() < 0.1 * upright.abs().max()
deviations = 32 * torch.linalg.eigvalsh(upright).sqrt()
print("standard deviations of the arm, in pixels:", [round(v, 1) for v in deviations.tolist()])

# %% [markdown]
# ## From a spread to a frame
#
# Say the region is spread by $\Sigma^{\mathrm S}$ in the source and by $\Sigma^{\mathrm D}$ in the driving
# picture. Which $2 \times 2$ matrix brings the one to the other? If we had a *frame* $A$ for each, a matrix
# with
#
# $$A A^\top = \Sigma$$
#
# then $A^{\mathrm S} (A^{\mathrm D})^{-1}$ would do: it maps $\Sigma^{\mathrm D}$ to $\Sigma^{\mathrm S}$.
# But $A A^\top = \Sigma$ has many solutions: with $A$, also $A$ times any rotation. The choice matters, and
# the first that comes to mind is wrong.
#
# **Version 1: the symmetric square root.** For a $2 \times 2$ matrix it has a closed form:
#
# $$\Sigma^{1/2} = \frac{\Sigma + d\, I}{\sqrt{\operatorname{tr} \Sigma + 2 d}}, \qquad d = \sqrt{\det \Sigma}$$
#
# Multiply it by itself and use that a $2 \times 2$ matrix satisfies
# $\Sigma^2 = (\operatorname{tr} \Sigma) \Sigma - d^2 I$ (Cayley and Hamilton); what comes out is $\Sigma$.

# %%
def affine_frame_v1(covariance: Tensor) -> Tensor:
    """The symmetric square root of covariances (..., 2, 2)."""
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    d = torch.linalg.det(covariance).sqrt()[..., None, None]
    return (covariance + d * torch.eye(2)) / (trace + 2 * d).sqrt()


A = affine_frame_v1(covariance)
assert_close(A @ A.mT, covariance)
assert_close(A, A.mT)
print("a square root of", tuple(covariance.shape))

# %% [markdown]
# Now turn the region by $Q$. The motion that we want to recover is $Q$. The symmetric root of $Q \Sigma Q^\top$
# is $Q \Sigma^{1/2} Q^\top$, so the recovered matrix is $Q \Sigma^{1/2} Q^\top \Sigma^{-1/2}$. That is not $Q$;
# you will see how wrong it is. For a frame that *turns with the region*, $Q A$, it would be $Q A A^{-1} = Q$.
#
# **Version 2: the axes.** The principal axes turn with the region. Write
#
# $$p = \Sigma_{xx} - \Sigma_{yy}, \qquad q = 2 \Sigma_{xy}, \qquad
# \Sigma = \tfrac12 (\operatorname{tr} \Sigma)\, I + \tfrac12 \begin{pmatrix} p & q \\ q & -p \end{pmatrix}$$
#
# A spread with variances $v_1 \ge v_2$ along axes turned by $\vartheta$ has $p = (v_1 - v_2) \cos 2 \vartheta$
# and $q = (v_1 - v_2) \sin 2 \vartheta$. Solve for all three, and put the axes into the columns of the frame:
#
# $$\vartheta = \tfrac12 \operatorname{atan2}(q, p), \qquad
# v_{1, 2} = \tfrac12 \left( \operatorname{tr} \Sigma \pm \sqrt{p^2 + q^2} \right), \qquad
# A = R(\vartheta) \begin{pmatrix} \sqrt{v_1} & 0 \\ 0 & \sqrt{v_2} \end{pmatrix}$$
#
# with $R(\vartheta)$ the rotation by $\vartheta$. No iteration, no library for eigenvalues.

# %%
def affine_frame_v2(covariance: Tensor) -> Tensor:
    """Axes of covariances (..., 2, 2), the longer first, each as long as the standard deviation along it."""
    p, q = covariance[..., 0, 0] - covariance[..., 1, 1], 2 * covariance[..., 0, 1]
    trace = covariance[..., 0, 0] + covariance[..., 1, 1]
    angle = torch.atan2(q, p) / 2
    gap = torch.hypot(p, q)
    v = torch.stack([(trace + gap) / 2, (trace - gap) / 2], dim=-1)
    return rotation(angle) * v.sqrt()[..., None, :]


A = affine_frame_v2(covariance)
assert_close(A @ A.mT, covariance)
assert_close(A.square().sum(dim=-2).flip(-1), torch.linalg.eigvalsh(covariance))  # squared lengths of the columns
assert_close((A[..., 0] * A[..., 1]).sum(-1), torch.zeros(2, 3), atol=1e-6, rtol=0)  # they are orthogonal
print("frames:", tuple(A.shape))

# %% [markdown]
# **An axis has no direction.** Turn an arm by half a turn about its middle, and its covariance is the same as
# before. So $\Sigma$ knows a turn up to half turns, and $A^{\mathrm S} (A^{\mathrm D})^{-1}$ is known up to
# its sign. We have to choose. Between two frames of a video things rarely turn by more than a quarter, so
# choose the sign that turns less. A rotation by less than a quarter has a positive trace:

# %%
def inverse(matrix: Tensor) -> Tensor:
    """Inverses of (..., 2, 2), in closed form."""
    (a, b), (c, d) = matrix[..., 0, :].unbind(-1), matrix[..., 1, :].unbind(-1)
    swapped = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    return swapped / (a * d - b * c)[..., None, None]


def least_turn(matrix: Tensor) -> Tensor:
    """The sign, 1 or -1, with which matrices (..., 2, 2) turn by less than a quarter."""
    return torch.where(matrix.diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0)


def degrees_of(matrix: Tensor) -> Tensor:
    """By how much matrices (..., 2, 2) turn: the angle of the rotation that is nearest to each."""
    return torch.rad2deg(torch.atan2(matrix[..., 1, 0] - matrix[..., 0, 1], matrix[..., 0, 0] + matrix[..., 1, 1]))


some = torch.randn(50, 2, 2, generator=torch.Generator().manual_seed(1))
assert_close(inverse(some), torch.linalg.inv(some), atol=1e-4, rtol=1e-4)
assert_close(inverse(some), regions.inverse_2x2(some))
assert_close(least_turn(some), motion.sign_of_turn(some))
assert_close(degrees_of(rotation(torch.tensor([-1.0, 0.5]))), torch.rad2deg(torch.tensor([-1.0, 0.5])))
print("signs:", sorted(set(least_turn(some).tolist())))

# %% mystnb={"image": {"alt": "Line plot of the recovered turn against the true turn from -180 to 180 degrees. The axes with the rule of least turn follow the diagonal between -90 and 90 and jump there by 180. Without the rule they are off by 180 over part of the range. The symmetric root stays near zero, and falls where the diagonal rises."}}
turns = torch.arange(-179.0, 180, 2)
Q = rotation(torch.deg2rad(turns))
spread = Q @ upright @ Q.mT
recovered = {}
for name, frame_of in (("symmetric root", affine_frame_v1), ("axes", affine_frame_v2)):
    recovered[name] = frame_of(spread) @ inverse(frame_of(upright))
relative = recovered["axes"]
recovered["axes, least turn"] = relative * least_turn(relative)[:, None, None]

plt.figure(figsize=(6, 3.4))
styles = {"symmetric root": ("-.", "#777777"), "axes": (":", "#b35900"), "axes, least turn": ("-", "#1f3b57")}
for name, (line, colour) in styles.items():
    plt.plot(turns, degrees_of(recovered[name]), line, color=colour, label=name, linewidth=3 if line == ":" else 1.8)
plt.gca().set(xlabel="true turn, degrees", ylabel="recovered turn, degrees", xticks=range(-180, 181, 90))
plt.legend()
plt.show()

below = turns.abs() < 90
assert_close(recovered["axes, least turn"][below], Q[below], atol=1e-4, rtol=0)  # Q itself, not only its angle
too_small = degrees_of(recovered["symmetric root"]).abs().max() < 45
assert too_small
print("axes recover every turn below a quarter; the symmetric root never reaches 45 degrees:", bool(too_small))

# %% [markdown]
# *The covariance of the orange arm is turned by a known angle, and the angle is read back from two frames.
# Solid: what we use. It is exact up to a quarter turn, and jumps by half a turn beyond. Dotted: axes without
# the rule, which jump at some other angle. Dash-dotted: the symmetric root: it reads a turn as a smaller one,
# the wrong way round.*
#
# What else can frames tell? If the region is stretched *along its own axes*, frames recover that exactly. A
# shear they read as a turn and a stretch, since five numbers are known of a region, two of the shift and
# three of the spread, and an affine map has six. The sixth is lost.

# %% [markdown]
# **Version 3: a gradient that stays finite.** Where both variances are equal, the region is round and has no
# axes. The value of $\vartheta$ means nothing there, and its derivative blows up on the way:
#
# $$d \vartheta = \frac{p\, d q - q\, d p}{2\, (p^2 + q^2)}$$
#
# Early in training heat maps are nearly even, and an even map is round. One gradient that is not finite
# destroys a network. So keep the value, and put a small share of the squared trace into the denominator of the
# gradient. In code: detach the angle, and add a term that is zero and has the gradient we want. A floor keeps
# the shorter axis from vanishing, as $A$ will be inverted.

# %%
def affine_frame_v3(covariance: Tensor, floor: float = 1e-6, soften: float = 1e-3) -> Tensor:
    """Axes as in version 2, with a gradient that is finite for round regions too."""
    p = covariance[..., 0, 0] - covariance[..., 1, 1]
    q = covariance[..., 0, 1] + covariance[..., 1, 0]
    trace = covariance[..., 0, 0] + covariance[..., 1, 1]
    p0, q0 = p.detach(), q.detach()
    denominator = 2 * (p0**2 + q0**2 + soften * trace.detach() ** 2 + floor**2)
    angle = torch.atan2(q0, p0) / 2 + (p0 * q - q0 * p) / denominator  # the second term is 0
    gap = (p**2 + q**2 + floor**2).sqrt()
    v = torch.stack([(trace + gap) / 2, (trace - gap) / 2], dim=-1).clamp_min(floor)
    return rotation(angle) * v.sqrt()[..., None, :]


def gradient(frame_of, covariance: Tensor) -> Tensor:
    """Of the angle of the first axis, with respect to the covariance, (n, 2, 2)."""
    leaf = covariance.clone().requires_grad_()
    frame = frame_of(leaf)
    torch.atan2(frame[..., 1, 0], frame[..., 0, 0]).sum().backward()
    return leaf.grad


assert_close(affine_frame_v3(covariance), affine_frame_v2(covariance))  # the same values ...
assert_close(affine_frame_v3(covariance), regions.affine_frame(covariance))  # ... and the library's,
assert_close(gradient(affine_frame_v3, covariance), gradient(regions.affine_frame, covariance))  # gradients too
print("finite at a round region:", bool(gradient(affine_frame_v3, 0.1 * torch.eye(2)[None]).isfinite().all()))

# %% mystnb={"image": {"alt": "Plot on logarithmic axes of the size of the gradient of the angle against the relative difference of the two variances, from 1 down to a millionth. The decomposition's gradient rises as a straight line without end. Version 3 agrees with it at the right, bends below a few hundredths and falls."}}
gaps = torch.logspace(-6, 0, 25)
round_ones = 0.05 * torch.eye(2) + torch.diag_embed(torch.stack([gaps, -gaps], dim=-1)) * 0.0499


def by_eigh(covariance: Tensor) -> Tensor:
    return torch.linalg.eigh(covariance).eigenvectors.flip(-1)  # the longer axis first


pair = {"eigh": by_eigh, "version 3": affine_frame_v3}
sizes = {name: gradient(f, round_ones).abs().amax(dim=(1, 2)) for name, f in pair.items()}
plt.figure(figsize=(6, 3))
plt.loglog(gaps, sizes["eigh"], "s--", color="#b35900", label="torch.linalg.eigh", markersize=4)
plt.loglog(gaps, sizes["version 3"], "o-", color="#1f3b57", label="version 3", markersize=4)
plt.gca().set(xlabel="difference of the variances over their sum", ylabel="gradient of the angle")
plt.legend()
plt.show()

assert sizes["version 3"].max() < 1000 < 1e5 < sizes["eigh"].max()
agree = (sizes["version 3"] / sizes["eigh"])[gaps > 0.3].mean().item()
assert 0.9 < agree < 1.1
print("version 3 stays bounded, the decomposition does not:", bool(sizes["version 3"].max() < 1000))

# %% [markdown]
# *How strongly the angle reacts to the covariance, as a region gets rounder (to the left). Where the axes are
# clear, both agree. Where they are not, version 3 fades out.*

# %% [markdown]
# ## The motion of a region
#
# Shift and frame together place a small coordinate system on the picture. The same coordinates in both
# pictures mean the same point of the region. So a position $\mathbf p$ of the driving picture, taken into the
# region's coordinates there, and out of them in the source, gives the motion of region $k$:
#
# $$M_k(\mathbf p) = \mu_k^{\mathrm S} +
# A_k^{\mathrm S} \left( A_k^{\mathrm D} \right)^{-1} (\mathbf p - \mu_k^{\mathrm D})$$
#
# It is the affine form of what the puppet did with its joints. It is *backward*: driving position in, source
# position out.
#
# To see what this can do at best, give it perfect heat maps: the true pixels of each part.

# %%
def motion_of_v1(source_heat: Tensor, driving_heat: Tensor, points: Tensor) -> Tensor:
    """Heat maps (b, k, h, w) of both pictures, points (b, n, 2) -> where each region looks, (b, k, n, 2)."""
    (shift_s, cov_s), (shift_d, cov_d) = moments_v2(source_heat), moments_v2(driving_heat)
    relative = affine_frame_v3(cov_s) @ inverse(affine_frame_v3(cov_d))
    relative = relative * least_turn(relative)[..., None, None]
    return shift_s[:, :, None] + (points[:, None] - shift_d[:, :, None]) @ relative.mT


def true_heat(parts: Tensor) -> Tensor:
    """Which part shows where, (b, h, w) -> an even heat map for each of the four parts, (b, 4, h, w)."""
    masks = F.one_hot(parts, 5).movedim(-1, 1)[:, 1:].float()
    return masks / masks.sum(dim=(2, 3), keepdim=True)


heat_s, heat_d = true_heat(source_parts), true_heat(driving_parts)
pixels = identity_grid(64, 64).flatten(1).mT[None]  # (1, n, 2)
guess = motion_of_v1(heat_s, heat_d, pixels)  # (1, 4, n, 2)
wanted = true_motions(source_pose, driving_pose, pixels)[:, 1:]
off = 32 * ((guess - wanted).norm(dim=-1) * heat_d.flatten(2)).sum(-1)[0]  # mean over the pixels of the part
unmoved = 32 * ((pixels[:, None] - wanted).norm(dim=-1) * heat_d.flatten(2)).sum(-1)[0]
assert (off[:3] < 0.35 * unmoved[:3]).all()
for part, error, distance in zip(PARTS[1:], off, unmoved, strict=True):
    print(f"{part}: off by {'less' if error < distance / 2 else 'more'} than half of its motion")

# %% mystnb={"image": {"alt": "The puppet in source and driving pose. An ellipse lies over each part, with a thick line along its longer axis and a thin one along the shorter. Ellipses of arms and trunk follow the parts; that of the head is nearly a circle."}}
def draw_regions(ax, picture: Tensor, shift: Tensor, affine: Tensor, names=None) -> None:
    """A picture (3, h, w) and over it, for each region, the ellipse of two standard deviations and its axes."""
    ax.imshow(picture.movedim(0, -1), extent=(-1, 1, 1, -1))
    around = torch.linspace(0, 2 * math.pi, 60)
    for k, (mu, frame) in enumerate(zip(shift, 2 * affine, strict=True)):
        ax.plot(*(mu[:, None] + frame @ torch.stack([around.cos(), around.sin()])), color="black", linewidth=2.2)
        ax.plot(*(mu[:, None] + frame @ torch.stack([around.cos(), around.sin()])), color="white", linewidth=1)
        for column, width in ((0, 3), (1, 1)):
            ends = torch.stack([mu - frame[:, column], mu + frame[:, column]], dim=1)
            ax.plot(*ends, color="white", linewidth=width)
        ax.text(*mu, str(k if names is None else names[k]), ha="center", va="center", **LABEL)
    ax.set(xlim=(-1, 1), ylim=(1, -1), xticks=[], yticks=[])


figure, axes = plt.subplots(1, 2, figsize=(7, 3.5))
for ax, picture, heatmap, title in zip(axes, (source, driving), (heat_s, heat_d), ("source", "driving"), strict=True):
    mu, sigma = moments_v2(heatmap)
    draw_regions(ax, picture[0], mu[0], affine_frame_v3(sigma)[0], "TLRH")
    ax.set_title(title)
figure.tight_layout()
plt.show()
longer = affine_frame_v3(moments_v2(heat_s)[1])[0].norm(dim=-2)
ratio = longer[:, 0] / longer[:, 1]
assert ratio[:3].min() > 1.5 > ratio[3]
print("longer axis at least 1.5 times the shorter:", (ratio > 1.5).tolist())

# %% [markdown]
# *T trunk, L and R arms, H head. Ellipses reach two standard deviations; the thick line is the longer axis. For
# arms and trunk it turns with the part. The head is almost round, and its axis is less certain.* So a region
# should be longer than wide, or its turn is a guess. And what is measured of a region is what can be seen of
# it; the gallery comes back to that.

# %% [markdown]
# ## The motion of the background
#
# The ground is no region. It is everywhere, and what happens to it is the camera's motion. The model gives it
# a map of its own, motion number 0, without heat map: a small network looks at both pictures and answers with
# six numbers,
#
# $$M_0(\mathbf p) = B\, \mathbf p + b$$
#
# It starts as the identity: the last layer has zero weights, and the bias says $B = I$, $b = 0$. So before
# training a ground that rests is explained already.
#
# The blocks come from `lfdm_lite.layers` ([chapter 5](05_autoencoder.ipynb) builds them):
# `AntiAliasedDownsample` blurs and shrinks a picture, `down_block` is convolution, batch norm, ReLU, and half
# the size. `Hourglass`, used below, is an encoder and decoder with skips: its output has the size of its input,
# and every output pixel has seen the whole picture.

# %%
class BackgroundDetector(nn.Module):
    """Two images (b, 3, h, w) -> the affine map (b, 2, 3) of the ground, from driving to source."""

    def __init__(self, width: int, depth: int, max_width: int, downscale: int):
        super().__init__()
        widths = [6] + [min(max_width, width * 2**level) for level in range(depth)]
        self.down = AntiAliasedDownsample(6, downscale)
        self.encoder = nn.Sequential(*(down_block(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)))
        self.to_affine = nn.Linear(widths[-1], 6)
        nn.init.zeros_(self.to_affine.weight)
        with torch.no_grad():
            self.to_affine.bias.copy_(torch.eye(2, 3).flatten())

    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        features = self.encoder(self.down(torch.cat([source, driving], dim=1)))
        return self.to_affine(features.mean(dim=(2, 3))).view(-1, 2, 3)


torch.manual_seed(0)
untrained = BackgroundDetector(8, 3, 32, 2)
assert_close(untrained(source, driving), torch.eye(2, 3)[None])
print("before training:", untrained(source, driving)[0].tolist())

# %% [markdown]
# Now all $K + 1$ motions at once, as maps: for every pixel of the driving picture, where each motion looks.
# They are called *sparse*, since each is known by a few numbers.

# %%
def sparse_motions_v2(source, driving, background: Tensor, h: int, w: int) -> Tensor:
    """Two `Regions`, the ground's map (b, 2, 3) -> where each motion looks, ground first, (b, k + 1, 2, h, w)."""
    grid = identity_grid(h, w)
    relative = source.affine @ inverse(driving.affine)
    relative = relative * least_turn(relative)[..., None, None]
    offset = grid - driving.shift[..., None, None]  # (b, k, 2, h, w)
    of_regions = torch.einsum("bkij,bkjhw->bkihw", relative, offset) + source.shift[..., None, None]
    of_ground = torch.einsum("bij,jhw->bihw", background[:, :, :2], grid) + background[:, :, 2, None, None]
    return torch.cat([of_ground[:, None], of_regions], dim=1)

# %%
class Regions(NamedTuple):
    shift: Tensor  # (b, k, 2)
    covariance: Tensor  # (b, k, 2, 2)
    affine: Tensor  # (b, k, 2, 2)
    heatmap: Tensor  # (b, k, h, w)


def describe(heatmap: Tensor) -> Regions:
    shift, covariance = moments_v2(heatmap)
    return Regions(shift, covariance, affine_frame_v3(covariance), heatmap)


perfect_s, perfect_d = describe(heat_s), describe(heat_d)
ground = torch.eye(2, 3)[None]
motions = sparse_motions_v2(perfect_s, perfect_d, ground, 64, 64)
assert_close(motions, motion.sparse_motions(perfect_s, perfect_d, ground, 64, 64))  # the library's
assert_close(motions[:, 1:].flatten(3).mT, guess, atol=1e-5, rtol=0)  # version 1
at_rest = sparse_motions_v2(perfect_s, perfect_s, ground, 64, 64)
assert_close(at_rest, identity_grid(64, 64).expand_as(at_rest), atol=1e-5, rtol=0)  # nothing moved
print("motions:", tuple(motions.shape))

# %%
def error_on(picture: Tensor, part: int) -> Tensor:
    """Mean difference from the driving picture, where it shows this part."""
    return (picture - driving[0]).abs().mean(dim=0)[driving_parts[0] == part].mean()


each = torch.cat([sample_at(source, motions[:, k]) for k in range(5)])
better = [bool(error_on(each[k], k) < error_on(source[0], k)) for k in range(1, 5)]
assert all(better[:3])
print("trunk and arms fit better than at rest, where they show:", better[:3])
viz.image_row(
    [driving[0], *each],
    ["driving", *PARTS],
    alt="The driving picture; then the source picture warped by each of five motions as a whole. In each of these, one part of the puppet stands as in the driving picture and the rest is turned and moved along with it.",
)

# %% [markdown]
# *The source, warped as a whole by each motion. In every picture one thing stands where the driving picture
# has it: first the ground, then the trunk, each arm, the head. The rest goes along and is wrong.*

# %% [markdown]
# And when the camera moves? Then every part moves with the picture, and the ground's map says how. Here the
# camera turns a little, pans, and comes nearer; we give the ground its true map:

# %%
camera = torch.tensor([[[0.9, -0.15, 0.1], [0.15, 0.9, -0.05]]])  # B and b, from driving to source
grid = identity_grid(64, 64)
looks = (camera[:, :, :2] @ grid.flatten(1)).view(1, 2, 64, 64) + camera[:, :, 2, None, None]
seen_by_camera = sample_at(source, looks)
by_ground = sparse_motions_v2(perfect_s, perfect_s, camera, 64, 64)[:, 0]  # (1, 2, 64, 64)
assert_close(sample_at(source, by_ground), seen_by_camera, atol=1e-4, rtol=0)
assert (source - seen_by_camera).abs().mean() > 0.05
print("one map of six numbers explains a whole moving picture:", tuple(by_ground.shape))
viz.image_row(
    [source[0], seen_by_camera[0], sample_at(source, by_ground)[0]],
    ["source", "camera moved", "motion 0 alone"],
    alt="The puppet; the puppet and the ground turned, shifted and larger; the source warped by the ground's motion, the same picture.",
)

# %% [markdown]
# *A camera move is one affine map for all. Without motion 0, every region would have to carry a share of the
# ground.*

# %% [markdown]
# ## Who follows which: dense flow and occlusion
#
# What is missing is a map that cuts one right piece out of each of these pictures. At every place, $K + 1$
# weights $\rho_k(\mathbf p)$, none negative, sum 1. The place looks at the weighted mean of what the motions
# propose, a *convex combination*:
#
# $$f(\mathbf p) = \sum_{k=0}^{K} \rho_k(\mathbf p)\, M_k(\mathbf p) - \mathbf p, \qquad
# \rho_k(\mathbf p) = \frac{e^{r_k(\mathbf p)}}{\sum_{k'} e^{r_{k'}(\mathbf p)}}, \qquad
# m(\mathbf p) = \frac{1}{1 + e^{-o(\mathbf p)}}$$
#
# The last is the occlusion map. All logits, $r_k$ and $o$, are answers of one network, an hourglass. Convex
# means that a place can only look between the places that the motions propose. If all motions rest, the flow is
# zero whatever the weights are.

# %%
def blend(motions: Tensor, weights: Tensor) -> Tensor:
    """Motions (b, k + 1, 2, h, w) and weights (b, k + 1, h, w) that sum to 1 -> flow (b, 2, h, w)."""
    lookup = (weights[:, :, None] * motions).sum(dim=1)
    return lookup - identity_grid(*lookup.shape[-2:])


any_weights = torch.randn(1, 5, 64, 64, generator=torch.Generator().manual_seed(2)).softmax(dim=1)
assert_close(blend(at_rest, any_weights), torch.zeros(1, 2, 64, 64), atol=1e-5, rtol=0)
inside = blend(motions, any_weights) + identity_grid(64, 64)
assert (inside <= motions.amax(dim=1) + 1e-5).all() and (inside >= motions.amin(dim=1) - 1e-5).all()
true_weights = F.one_hot(driving_parts, 5).movedim(-1, 1).float()
by_regions = blend(motions, true_weights)  # five motions, each where its part shows
left_over = ((by_regions - puppet_flow).norm(dim=1).mean() / puppet_flow.norm(dim=1).mean()).item()
assert left_over < 0.3
print("five motions and the right weights leave less than a third of the flow:", left_over < 1 / 3)

# %% [markdown]
# **What the network sees.** To say who follows which, it needs evidence. For each motion it gets four channels,
# at the latent map's size. Three are the source *image warped by this motion alone*, as you saw it above for
# trunk, arms and head. The fourth tells where the region is now and was before, as a difference of two bumps:
#
# $$\chi_k(\mathbf p) = \exp\left(
# -\tfrac12 (\mathbf p - \mu_k)^\top (\Sigma_k + \varsigma I)^{-1} (\mathbf p - \mu_k) \right)$$
#
# $\varsigma = 10^{-4}$ keeps the matrix invertible when a region is a single point.
#
# The driving picture is *not* among the inputs. What the blend knows of it came through the regions and the
# ground: 56 numbers for ten regions. That is the bottleneck. From them the network must tell, where region 3 is
# now, which of the warped pictures shows a whole thing there.

# %%
def bumps(regions, h: int, w: int, spread: float = 1e-4) -> Tensor:
    """A bump of height 1 for every region, (b, k, h, w)."""
    precision = inverse(regions.covariance + spread * torch.eye(2))
    offset = identity_grid(h, w) - regions.shift[..., None, None]  # (b, k, 2, h, w)
    distance = torch.einsum("bkihw,bkij,bkjhw->bkhw", offset, precision, offset)
    return torch.exp(-distance / 2)


shown_bumps = bumps(perfect_d, 64, 64)
assert_close(shown_bumps, motion.gaussian_heatmaps(perfect_d, 64, 64))
assert shown_bumps.max() <= 1
again = describe(shown_bumps / shown_bumps.sum(dim=(2, 3), keepdim=True))
assert_close(again.covariance[:, :2], perfect_d.covariance[:, :2], atol=1e-3, rtol=0.05)  # moments of a bump
print("bumps:", tuple(shown_bumps.shape))
viz.image_row(
    [(shown_bumps - bumps(perfect_s, 64, 64))[0, k] / 2 + 0.5 for k in range(4)],
    PARTS[1:],
    alt="Four maps in grey, one a part: a bright elongated spot where the part is in the driving picture, a dark one where it was in the source.",
)

# %% [markdown]
# *Driving bump minus source bump. Bright: the region is here now. Dark: it was here. Grey: neither.*
#
# All of it together:

# %% tags=["assembly"]
class DenseMotion(nn.Module):
    """A source image and the regions of two pictures -> dense flow and occlusion map."""

    def __init__(self, num_regions: int, width: int, depth: int, max_width: int, occlusion_bias: float = 1.0):
        super().__init__()
        self.hourglass = Hourglass((num_regions + 1) * 4, width, depth, max_width)
        self.to_weights = nn.Conv2d(self.hourglass.out_channels, num_regions + 1, 7, padding=3)
        self.to_occlusion = nn.Conv2d(self.hourglass.out_channels, 1, 7, padding=3)
        nn.init.constant_(self.to_occlusion.bias, occlusion_bias)  # starts near 0.73: neither certain nor saturated

    def look(self, image, source, driving, background, size):
        """Motions (b, k + 1, 2, h, w) and the features of the hourglass (b, c, h, w)."""
        h, w = size
        image = resize(image, size)
        b, k1 = len(image), source.shift.shape[1] + 1
        change = bumps(driving, h, w) - bumps(source, h, w)
        change = torch.cat([torch.zeros_like(change[:, :1]), change], dim=1)  # (b, k + 1, h, w); the ground has none
        motions = sparse_motions_v2(source, driving, background, h, w)
        tall = motions.transpose(1, 2).reshape(b, 2, k1 * h, w)  # all look-ups in one call
        warped = sample_at(image, tall).view(b, 3, k1, h, w)
        seen = torch.cat([change[:, None], warped], dim=1).flatten(1, 2)  # (b, 4 (k + 1), h, w)
        return motions, self.hourglass(seen)

    def forward(self, image, source, driving, background, size):
        motions, features = self.look(image, source, driving, background, size)
        weights = self.to_weights(features).softmax(dim=1)
        return blend(motions, weights), self.to_occlusion(features).sigmoid()

# %% [markdown]
# And the network in front, from an image to regions. Its heat maps come from the features of an hourglass, by
# one more convolution.

# %%
class RegionDetector(nn.Module):
    """Images (b, 3, h, w) -> `Regions`."""

    def __init__(self, num_regions: int, width: int, depth: int, max_width: int, downscale: int, temperature: float):
        super().__init__()
        self.down = AntiAliasedDownsample(3, downscale)
        self.hourglass = Hourglass(3, width, depth, max_width)
        self.to_logits = nn.Conv2d(self.hourglass.out_channels, num_regions, 7, padding=3)
        self.temperature = temperature

    def forward(self, image: Tensor) -> Regions:
        logits = self.to_logits(self.hourglass(self.down(image)))  # (b, k, h / downscale, w / downscale)
        return describe(heat(logits, self.temperature))

# %% [markdown]
# Are these the library's? Give ours the weights of the shipped model, and compare every number on the way.

# %%
shipped = lfdm.LFDM.from_pretrained(ASSETS / "checkpoints" / "faces64").autoencoder
config = shipped.config
detector = RegionDetector(config.num_regions, config.region_width, config.region_depth, config.region_max_width,
                          config.region_downscale, config.temperature)  # fmt: skip
ground_detector = BackgroundDetector(config.background_width, config.background_depth, config.flow_max_width,
                                     config.region_downscale)  # fmt: skip
dense = DenseMotion(config.num_regions, config.flow_width, config.flow_depth, config.flow_max_width)
for ours, theirs in ((detector, shipped.regions), (ground_detector, shipped.background), (dense, shipped.flow)):
    ours.load_state_dict(theirs.state_dict())  # the same names, so the same weights
    ours.eval().requires_grad_(False)

of_first, of_frame = detector(first), detector(frame)
ground = ground_detector(first, frame)
flow, occlusion = dense(first, of_first, of_frame, ground, (16, 16))
for ours, theirs in zip(of_frame, shipped.regions(frame), strict=True):
    assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
assert_close(ground, shipped.background(first, frame), atol=1e-5, rtol=1e-4)
expected = shipped.estimate_motion(first, frame)
assert_close(flow, expected.flow, atol=1e-4, rtol=1e-3)
assert_close(occlusion, expected.occlusion, atol=1e-4, rtol=1e-3)
print("equal to the library: regions, ground, flow", tuple(flow.shape), "and occlusion", tuple(occlusion.shape))
assert (ground - torch.eye(2, 3)).abs().max() < 0.05
print("its ground nearly rests, as the camera does in these clips:", bool((ground - torch.eye(2, 3)).abs().max() < 0.05))

# %%
true_small, seen_small = resize(true_flow, 16), resize(visible, 16)
weights = dense.to_weights(dense.look(first, of_first, of_frame, ground, (16, 16))[1]).softmax(dim=1)  # (1, 11, 16, 16)
assert_close(weights.sum(dim=1), torch.ones(1, 16, 16))
off, rest = ((f - true_small).norm(dim=1, keepdim=True) * seen_small for f in (flow, 0 * flow))
flow_off, flow_rest = (32 * distance.sum() / seen_small.sum() for distance in (off, rest))
hides = (1 - occlusion).flatten()
covered = (seen_small < 0.99).flatten()  # not wholly visible
ranked = (hides[covered][:, None] > hides[~covered]).float().mean()  # of all pairs, how many are in order
assert flow_off < 0.8 * flow_rest and ranked > 0.75
print("flow nearer to the truth than rest:", bool(flow_off < flow_rest))
print("of a covered and a visible place it ranks more than 3 of 4 pairs rightly:", bool(ranked > 0.75))
longest = true_small.norm(dim=1).max().item()


def contrast(grey: Tensor) -> Tensor:
    return (grey - grey.min()) / (grey.max() - grey.min())


viz.image_row(
    [first[0], frame[0], *lfdm.flow_to_rgb(torch.cat([flow, true_small]), max_norm=longest), contrast(occlusion[0]), seen_small[0]],
    ["source", "driving", "flow", "true flow", "occlusion", "visible"],
    alt="A drawn face at rest and turned; the estimated flow on 16 by 16 places, hues running around the head, the ground nearly white; the true flow, alike; the occlusion map, dark at eyes and mouth and grey along the edge of the hair; the true visibility, dark along the hair.",
)

# %% [markdown]
# *A clip of a subject that the model never saw. Third and fourth: estimated and true flow, hue for direction,
# depth for length. Hues run around the head, since it tilts. Last two: occlusion map, its contrast stretched,
# and true visibility; white can be seen in the source.*
#
# Nobody ever showed the model a true flow or a true visibility. It learned the occlusion map from where its
# warp fails. That is why its darkest places are the eyes, which close, and the mouth, rather than the edge of
# the hair.

# %% [markdown]
# ## Equivariance: a known deformation as a teacher
#
# What makes a region stand *on* something? The picture error does not ask for it. If a network moves
# region 3 by the right amount whenever an arm moves, the flow is right, wherever region 3 is. It might sit in a
# corner of the picture and signal from there.
#
# So ask for it. Deform a picture by a map $\Phi$ that you chose yourself. A detector of *places* must answer
# with the deformed places. No label is needed, since you know $\Phi$. The map of LFDM is a small random
# affine map, plus a thin-plate spline that bends: at control points $c_j$ stand random weights $w_j$.
#
# $$\Phi(\mathbf p) = B \mathbf p + b
# + \sum_j w_j\, U(\lVert \mathbf p - c_j \rVert) \begin{pmatrix} 1 \\ 1 \end{pmatrix},
# \qquad U(r) = r^2 \log r^2$$

# %%
class Deformation:
    """A random affine map plus a thin-plate spline, one for each picture of a batch."""

    def __init__(self, batch: int, sigma_affine=0.05, sigma_spline=0.005, points=5, generator=None):
        self.affine = torch.eye(2, 3) + sigma_affine * torch.randn(batch, 2, 3, generator=generator)
        axis = torch.linspace(-1, 1, points)
        self.control_points = torch.cartesian_prod(axis, axis)
        self.weights = sigma_spline * torch.randn(batch, points * points, generator=generator)

    def __call__(self, points: Tensor) -> Tensor:
        moved = points @ self.affine[:, :, :2].mT + self.affine[:, None, :, 2]  # (b, n, 2)
        r2 = (points[:, :, None] - self.control_points).square().sum(-1)  # (b, n, control points)
        return moved + (r2 * torch.log(r2 + 1e-6) * self.weights[:, None]).sum(-1, keepdim=True)

    def jacobian(self, points: Tensor) -> Tensor:
        offset = points[:, :, None] - self.control_points
        r2 = offset.square().sum(-1)
        slope = torch.log(r2 + 1e-6) + r2 / (r2 + 1e-6)  # of r2 log r2 with respect to r2
        gradient = (2 * offset * (slope * self.weights[:, None])[..., None]).sum(2)  # (b, n, 2)
        return self.affine[:, None, :, :2] + gradient[:, :, None, :]

    def frames(self, images: Tensor) -> Tensor:
        b, _, h, w = images.shape
        grid = self(identity_grid(h, w).flatten(1).mT.expand(b, -1, -1)).view(b, h, w, 2)
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

# %%
kinds = (Deformation, geometry.RandomTransform)
ours, theirs = (kind(3, generator=torch.Generator().manual_seed(3)) for kind in kinds)
places = 2 * torch.rand(3, 20, 2, generator=torch.Generator().manual_seed(4)) - 1
pictures = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))
assert_close(ours(places), theirs(places))
assert_close(ours.jacobian(places), theirs.jacobian(places))
assert_close(ours.frames(pictures), theirs.frames(pictures))

by_autograd = torch.func.vmap(torch.func.jacrev(lambda z: ours(z.expand(3, 1, 2))[0, 0]))(places[0])
assert_close(ours.jacobian(places)[0], by_autograd, atol=1e-4, rtol=1e-4)  # the derivative is the derivative
known = Deformation(1, generator=torch.Generator().manual_seed(16))
deformed = known.frames(driving)
print("Jacobians:", tuple(ours.jacobian(places).shape))
viz.image_row([driving[0], deformed[0]], ["driving", "deformed"], alt="The puppet, and the puppet shifted and bent a little.")

# %% [markdown]
# *The driving picture and a deformed copy. Deforming is a look-up too: a place $\mathbf p$ of the copy shows
# what stood at $\Phi(\mathbf p)$. Where that lies outside, the picture is mirrored in: see the second green
# tip at the right.*
#
# Mind the direction. Let primes mark what the detector says of the copy. Then $\Phi(\mu'_k)$ must be $\mu_k$:
# the copy's position, taken through the look-up. Frames go through the derivative $J$ of $\Phi$: $J A'_k$
# must be $A_k$, up to the sign that no axis has. Both are compared in units that make sense for them:
# positions in those of the picture, frames relative to the region's own.
#
# $$\ell_\mu = \left| \Phi(\mu'_k) - \mu_k \right|, \qquad
# \ell_A = \left| \pm A_k^{-1} J(\mu'_k)\, A'_k - I \right|$$
#
# averaged over regions and entries.

# %%
def equivariance(predictor, image: Tensor, of_image: Regions, transform) -> tuple[Tensor, Tensor]:
    """Errors of shifts and of frames under a known deformation, two numbers."""
    of_copy = predictor(transform.frames(image))
    shift_error = (transform(of_copy.shift) - of_image.shift).abs().mean()
    carried = inverse(of_image.affine) @ transform.jacobian(of_copy.shift) @ of_copy.affine
    carried = least_turn(carried)[..., None, None] * carried
    return shift_error, (carried - torch.eye(2)).abs().mean()


for ours, theirs in zip(
    equivariance(detector, frame, of_frame, known),
    losses.equivariance_loss(shipped.regions, frame, shipped.regions(frame), known),
    strict=True,
):
    assert_close(ours, theirs, atol=1e-5, rtol=1e-3)
print("equal to the library's, with the shipped detector")

# %% [markdown]
# To get a feeling for the two numbers, three detectors by hand. One looks for the orange arm. One always
# answers the middle of the picture. One answers with the arm's position mirrored: it *moves* when the arm
# moves, but is not there. The errors below are means over twenty deformations.

# %%
def sees_orange(image: Tensor) -> Regions:
    return describe(heat(likeness(image, ORANGE), 0.1))


def sees_middle(image: Tensor) -> Regions:
    return describe(heat(torch.zeros_like(image[:, :1]), 1.0))  # even heat


def sees_mirrored(image: Tensor) -> Regions:
    return describe(sees_orange(image).heatmap.flip(-1))


many = [Deformation(1, generator=torch.Generator().manual_seed(seed)) for seed in range(20)]
for name, sees in {"orange": sees_orange, "middle": sees_middle, "mirrored": sees_mirrored}.items():
    errors = torch.tensor([equivariance(sees, driving, sees(driving), known) for known in many]).mean(dim=0)
    print(f"{name:8} shift error {32 * errors[0]:.1f} pixels, frame error {errors[1]:.2f}")

# %% [markdown]
# Only the first is (nearly) equivariant. Note what equivariance does *not* ask: the orange detector need not
# be useful. The picture error has to see to that. Together they ask for places that stay on things *and*
# explain motion.

# %% [markdown]
# ## Training it: with and without
#
# Now train regions without any label. No decoder yet: the source picture, warped by the flow, must look like
# the driving picture. The error is `pyramid_loss` of the library, the mean difference of colours and of
# neighbours' differences at three sizes; [chapter 5](05_autoencoder.ipynb) takes it apart. The occlusion map is
# left out. The puppets are 32 x 32 pixels, each with its own colours, and both frames are drawn anew for every
# step.

# %%
class PuppetMotion(nn.Module):
    """Source and driving image (b, 3, 32, 32) -> regions of both, and the flow on 16 x 16 places."""

    def __init__(self, num_regions: int):
        super().__init__()
        self.regions = RegionDetector(num_regions, width=16, depth=2, max_width=48, downscale=2, temperature=0.1)
        self.background = BackgroundDetector(width=8, depth=3, max_width=32, downscale=2)
        self.dense = DenseMotion(num_regions, width=16, depth=2, max_width=48)

    def forward(self, source: Tensor, driving: Tensor):
        of_source, of_driving = self.regions(source), self.regions(driving)
        ground = self.background(source, driving)
        motions, features = self.dense.look(source, of_source, of_driving, ground, (16, 16))
        weights = self.dense.to_weights(features).softmax(dim=1)
        return of_source, of_driving, weights, blend(motions, weights)

# %%
def train(num_regions: int, equivariant: bool, seed: int, steps: int = 220) -> PuppetMotion:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = PuppetMotion(num_regions)
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        colours = random_colours(16, generator)
        source, driving = (draw(random_pose(16, generator), colours)[0] for _ in range(2))
        _, of_driving, _, flow = network(source, driving)
        loss = losses.pyramid_loss(lfdm.warp(source, resize(flow, 32)), driving)
        if equivariant:
            deformation = Deformation(16, generator=generator)
            shift_error, affine_error = equivariance(network.regions, driving, of_driving, deformation)
            loss = loss + shift_error + 0.2 * affine_error
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)

# %% [markdown]
# Then measure, on 64 pairs of puppets that no training saw, what the training never asked for in these words:
#
# * **flow**: distance from the true flow, where a part moves and can be seen in the source;
# * **follow**: a region stands somewhere in the driving picture. The thing under it came from a place in
#   the source, which is known. How far is the region in the source from that place?
# * **deform**: distance of $\Phi(\mu'_k)$ from $\mu_k$, for known deformations.
#
# All in pixels of the 32.

# %%
def exam(count: int = 64) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(99)
    colours, source_pose, driving_pose = (f(count, generator) for f in (random_colours, random_pose, random_pose))
    (source, source_parts), (driving, parts) = draw(source_pose, colours), draw(driving_pose, colours)
    flow = true_puppet_flow(source_pose, driving_pose, parts)
    one_hot = F.one_hot(source_parts, 5).movedim(-1, 1).float()
    found = lfdm.warp(one_hot, flow).gather(1, parts[:, None])[:, 0]  # is the same part there?
    counts = ((found > 0.5) & (parts > 0)).float()
    return {"source": source, "driving": driving, "parts": parts, "flow": flow, "counts": counts,
            "source_pose": source_pose, "driving_pose": driving_pose}  # fmt: skip

# %%
def grade(network: PuppetMotion, e: dict) -> dict[str, float]:
    of_source, of_driving, _, flow = network(e["source"], e["driving"])
    off = 16 * (resize(flow, 32) - e["flow"]).norm(dim=1)
    under = sample_at(F.one_hot(e["parts"], 5).movedim(-1, 1).float(), of_driving.shift.mT[..., None])[..., 0]
    under = under.argmax(dim=1)[:, :, None, None].expand(-1, -1, 1, 2)  # which part each region stands on
    origins = true_motions(e["source_pose"], e["driving_pose"], of_driving.shift).transpose(1, 2)  # (b, k, 5, 2)
    came_from = origins.gather(2, under)[:, :, 0]
    deformation = Deformation(len(off), generator=torch.Generator().manual_seed(1))
    of_copy = network.regions(deformation.frames(e["driving"]))
    return {
        "flow": ((off * e["counts"]).sum() / e["counts"].sum()).item(),
        "follow": 16 * (of_source.shift - came_from).norm(dim=-1).mean().item(),
        "deform": 16 * (deformation(of_copy.shift) - of_driving.shift).norm(dim=-1).mean().item(),
    }

# %%
examples = exam()
flow_of_rest = (16 * examples["flow"].norm(dim=1) * examples["counts"]).sum() / examples["counts"].sum()
untrained_grades = grade(PuppetMotion(5).eval(), examples)
assert examples["counts"].mean() > 0.05 and all(math.isfinite(v) for v in untrained_grades.values())
print(f"the moving parts move by {flow_of_rest:.1f} pixels on average; grades: {', '.join(untrained_grades)}")

# %% [markdown]
# Twelve networks: one, two, three, five and eight regions with equivariance, and five without, each with two
# seeds. All take about five minutes on one CPU core, so what they said was recorded. `RETRAIN = True` trains
# them again and writes the same two files.

# %%
RETRAIN = False
RECORD = ASSETS / "chapters" / "04"
kinds = {"1 with": (1, True), "2 with": (2, True), "3 with": (3, True), "5 with": (5, True), "8 with": (8, True),
         "5 without": (5, False)}  # fmt: skip
RUNS = {name + again: (*kind, seed) for name, kind in kinds.items() for seed, again in ((0, ""), (1, ", again"))}
SETTINGS = {name: dict(zip(("regions", "equivariant", "seed"), run, strict=True)) for name, run in RUNS.items()}
six = {key: examples[key][:6] for key in ("source", "driving")}


def record(runs: dict) -> None:
    """Train, grade, and keep the grades and what each network says of the first six pairs."""
    grades, said = {}, {}
    for name, run in runs.items():
        network = train(*run)
        grades[name] = grade(network, examples)
        _, of_driving, weights, _ = network(**six)
        said[f"{name}/shift"], said[f"{name}/affine"] = of_driving.shift.numpy(), of_driving.affine.numpy()
        said[f"{name}/rules"] = weights.argmax(dim=1).byte().numpy()  # which motion has the largest weight
    RECORD.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(RECORD / "puppets.npz", **said)
    recipe = {"recipe": "chapters/04_region_motion.ipynb with RETRAIN = True", "torch": torch.__version__}
    recipe |= {"runs": SETTINGS, "grades_in_pixels_of_32": grades}
    (RECORD / "puppets.json").write_text(json.dumps(recipe, indent=1) + "\n")

# %%
if RETRAIN:
    record(RUNS)
recorded = json.loads((RECORD / "puppets.json").read_text())
grades, said = recorded["grades_in_pixels_of_32"], np.load(RECORD / "puppets.npz")
assert recorded["runs"] == SETTINGS  # the record is of these runs
print("recorded runs:", len(grades))

# %% mystnb={"image": {"alt": "Two panels of bars for four networks with five regions, two trained with equivariance and two without. Left, follow: short bars with, bars several times as long without. Right, deform: the same. A dotted line marks how far things move."}}
names = ["5 with", "5 with, again", "5 without", "5 without, again"]
figure, axes = plt.subplots(1, 3, figsize=(9, 2.4), sharey=True)
for ax, key in zip(axes, ("follow", "deform", "flow"), strict=True):
    for row, name in enumerate(names):
        hatch = ".." if "without" in name else "/"
        ax.barh(row, grades[name][key], hatch=hatch, color="#e8eef4", edgecolor="#1f3b57")
    ax.set(xlabel=f"{key}, pixels", yticks=range(4), yticklabels=names)
axes[2].axvline(flow_of_rest, color="black", linestyle=":", label="no motion")
axes[2].legend(fontsize=8)
axes[0].invert_yaxis()
figure.tight_layout()
plt.show()

ratios = [min(grades[n][key] for n in names[2:]) / max(grades[n][key] for n in names[:2]) for key in ("follow", "deform")]
assert min(ratios) > 2
print("the better without is worse than the worse with, in follow and deform:", [f"{r:.1f} times" for r in ratios])

# %% [markdown]
# *Shorter is better. Slashes: trained with equivariance; dots: without. The two seeds of each kind show how
# much is chance.*

# %% mystnb={"image": {"alt": "Three rows of three puppets. First row, trained with equivariance: five ellipses crowd on the trunk of each puppet. Second row, another seed: two ellipses on the trunk, one reaching up to the head, one at the left shoulder along the arm, one at the right edge of the trunk. Third row, without: most ellipses lie on the ground at the lower left, nearly in the same places for each puppet."}}
figure, axes = plt.subplots(3, 3, figsize=(8, 8))
for row, name in zip(axes, ("5 with", "5 with, again", "5 without"), strict=True):
    for i, ax in enumerate(row):
        shift, affine = (torch.from_numpy(said[f"{name}/{key}"])[i] for key in ("shift", "affine"))
        draw_regions(ax, examples["driving"][i], shift, affine, range(1, 6))
    row[0].set_ylabel(name)
figure.tight_layout()
plt.show()


def share_on_puppet(name: str) -> float:
    """Of all regions in six pictures, how many have their shift on the puppet, not on the ground."""
    shift = torch.from_numpy(said[f"{name}/shift"])
    on = sample_at((examples["parts"][:6, None] > 0).float(), shift.mT[..., None])[:, 0, :, 0]
    return (on > 0.5).float().mean().item()


on_puppet = {name: share_on_puppet(name) for name in names}
assert min(on_puppet[n] for n in names[:2]) > max(on_puppet[n] for n in names[2:])
print({name: f"{share:.0%}" for name, share in on_puppet.items()}, "of the regions stand on the puppet")

# %% [markdown]
# *Three driving pictures with what three networks say. Above, with equivariance: all regions crowd on the trunk
# and go with it. Middle, with equivariance and another seed: 3 and 4 on the trunk, 1 up to the head, 5 at the
# left shoulder and along the arm; 2 stands on the edge of the trunk and turns with the right arm. Below,
# without: most regions stand on the ground, in nearly the same place whatever the puppet does.*
#
# Look at the third row again. These regions do their work in the loss: they change a little when the puppet
# moves, and a little is enough to carry a number to the blend. They are signals, not places. Nobody could tell
# from their positions what moved, and no one could steer the puppet by moving them.
#
# And the first row: equivariance says that a region must stay on what it stands on. It does not say that
# regions must stand on *different* things.

# %% [markdown]
# ## How many regions?
#
# The puppet has four moving parts. Is four the number? The same training with one, two, three, five, eight
# regions:

# %% mystnb={"image": {"alt": "Left: two points of flow error for each number of regions, 1, 2, 3, 5, 8, all below half of a dotted line for no motion; most lie at the same height, one of two and one of five lower. Right: maps of which motion rules where; one piece for 1, 3 and 8 regions, two for 2, and trunk, head and arms apart for 5."}}
seeds = ("", ", again")
numbers = {k: min((f"{k} with{again}" for again in seeds), key=lambda n: grades[n]["flow"]) for k in (1, 2, 3, 5, 8)}
figure, axes = plt.subplots(1, 6, figsize=(10, 2.4), width_ratios=(2, 1, 1, 1, 1, 1))
for again, marker in zip(seeds, "o^", strict=True):
    errors = [grades[f"{k} with{again}"]["flow"] for k in numbers]
    axes[0].plot(list(numbers), errors, marker, label=f"seed {int(again != '')}")
axes[0].axhline(flow_of_rest, color="black", linestyle=":", label="no motion")
axes[0].set(xlabel="regions", ylabel="flow error, pixels", ylim=(0, None), xticks=list(numbers))
axes[0].legend(fontsize=7)
for ax, (k, name) in zip(axes[1:], numbers.items(), strict=True):
    rules = torch.from_numpy(said[f"{name}/rules"])[0]
    ax.imshow(rules, cmap="cividis", vmin=0, vmax=k)
    for motion_k in rules.unique().tolist():
        ax.text(*a_pixel_of(rules, motion_k), str(motion_k), ha="center", va="center", **LABEL)
    ax.set(xticks=[], yticks=[], title=f"{k} region{'s' * (k > 1)}")
figure.tight_layout()
plt.show()
flows = {name: grades[name]["flow"] for name in grades if "without" not in name}
assert max(flows.values()) < 0.5 * flow_of_rest
assert flows[numbers[5]] < 0.6 * flows[numbers[1]]
print("every run halves the error:", max(flows.values()) < 0.5 * flow_of_rest, "- best:", min(flows, key=flows.get))

# %% [markdown]
# *Left: flow error. Right: for one pair, the motion with the largest weight at every place; 0 is the ground,
# and a number stands inside its piece; of the two seeds, the better one is shown.*
#
# Eight regions are not better than one because they are eight. One motion for the whole puppet halves the
# error, and most runs stop there, with all regions on the trunk or all but one unused. Where the error falls
# further, the map shows why: the arms got motions of their own. In these short runs that depends on the seed
# more than on the number. A further region is a chance to find another piece, and no promise.

# %% [markdown]
# ## What the shipped regions stand on
#
# The model that comes with this book has ten regions, and was trained on faces for 5000 steps with a decoder.
# Where are its regions, and which of its motions are used?

# %%
video = clip["video"]
frames_of = video[0].movedim(1, 0)  # (16, 3, 64, 64)
of_all = detector(frames_of)
of_rest = Regions(*(field.expand(16, *field.shape[1:]) for field in of_first))
grounds = ground_detector(first.expand(16, -1, -1, -1), frames_of)
motions_all, features_all = dense.look(first.expand(16, -1, -1, -1), of_rest, of_all, grounds, (16, 16))
weights_all = dense.to_weights(features_all).softmax(dim=1)  # (16, 11, 16, 16)
share = weights_all[1:].mean(dim=(0, 2, 3))  # of each motion, over the clip
used = [k for k in range(11) if share[k] > 0.02]
assert_close(share.sum(), torch.tensor(1.0))
assert 0 in used and 2 <= len(used) <= 8
print("motions:", len(share), " with more than 2 % of the picture:", len(used))

# %% mystnb={"image": {"alt": "Left: a drawn face with numbered ellipses; they lie on the face and hair, several on one side over each other. Middle: the map of the motion with the largest weight. Right: bars of each motion's share; ground and a few regions have nearly all of it."}}
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3.2), width_ratios=(1, 1, 1.3))
draw_regions(left, frame[0], of_frame.shift[0], of_frame.affine[0], range(1, 11))
rules = weights_all[t].argmax(dim=0)
middle.imshow(rules, cmap="cividis")
for k in rules.unique().tolist():
    middle.text(*a_pixel_of(rules, k), str(k), ha="center", va="center", **LABEL)
right.bar(range(11), share, hatch="/", color="#e8eef4", edgecolor="#1f3b57")
right.set(xticks=range(11), xlabel="motion, 0 is the ground", ylabel="share of the picture")
for ax, title in ((left, "regions of frame 13"), (middle, "who rules where")):
    ax.set(xticks=[], yticks=[], title=title)
figure.tight_layout()
plt.show()
top = share.sort(descending=True).values
assert top[:5].sum() > 0.9
print("five motions of eleven share more than 90 % of the picture:", bool(top[:5].sum() > 0.9))

# %% [markdown]
# *Regions are counted from 1 here, as motion 0 is the ground. Bars: the mean weight of each motion over the
# clip.*
#
# Nobody told the model what an eye is. It found what the picture error pays for: the head, one side of it, and
# smaller pieces at the eyes and at the mouth, whose motions differ from the head's. The other regions crowd
# where some region stands already, and rule nothing. No loss asks them to leave. That is the first row of the
# puppets again, in a model of 5000 steps.
#
# Regions move with the head. Play the clip:

# %%
def ellipse_frame(i: int) -> Tensor:
    """Frame i, magnified, with the used regions drawn into it as outlines."""
    picture = resize(frames_of[i][None], 192)[0].clone()
    points = identity_grid(192, 192)
    for k in [k - 1 for k in used if k > 0]:
        offset = points - of_all.shift[i, k][:, None, None]
        own = torch.einsum("ij,jhw->ihw", inverse(of_all.affine[i, k]), offset)
        r = own.norm(dim=0) / 2  # 1 on the ellipse of two standard deviations
        thin = 0.015 / (2 * torch.linalg.det(of_all.affine[i, k]).sqrt())  # a line of about this width, in such units
        line, axis = (r - 1).abs() < thin, (own[1].abs() < thin) & (r < 1) & (own[0] > 0)
        picture[:, line | axis] = 1.0
    return picture


drawn = torch.stack([ellipse_frame(i) for i in range(16)], dim=1)  # (3, 16, 192, 192)
assert drawn.shape == (3, 16, 192, 192)
print("frames:", drawn.shape[1])
viz.slider(drawn, [f"frame {i}" for i in range(16)], alt="The face of the clip; white outlines of the used regions move with head and hair.")

# %% [markdown]
# *The regions that rule more than 2 % of the picture; the line from the centre is one end of the longer axis.*
#
# Now pull one yourself. Take the regions of frame 0, slide one to the right and turn its frame, leave the others, and
# let the shipped model paint what follows.

# %%
goes_along = {}  # what is under the region's centre: pixels of 64, to the right


@torch.no_grad()
def pulled(region: int, right: float, turn: float) -> plt.Figure:
    shift, affine = of_first.shift.clone(), of_first.affine.clone()
    shift[:, region - 1, 0] += right / 32
    affine[:, region - 1] = rotation(torch.tensor(math.radians(turn))) @ affine[:, region - 1]
    by_hand = of_first._replace(shift=shift, affine=affine)
    made = shipped.flow(first, of_first, by_hand, torch.eye(2, 3)[None], (16, 16))
    looks = sample_at(made.flow, shift[:, region - 1, :, None, None])[0, 0].item()  # backward: where it came from
    goes_along[region, right, turn] = -32 * looks
    figure, axes = plt.subplots(1, 2, figsize=(6.6, 3.5), dpi=80, layout="constrained")
    pictures = shipped.decode(first, made)[0].clamp(0, 1), lfdm.flow_to_rgb(made.flow, max_norm=0.4)[0]
    for ax, picture, title in zip(axes, pictures, ("painted", "flow"), strict=True):
        draw_regions(ax, picture, shift[0, region - 1][None], affine[0, region - 1][None], [region])
        ax.set_title(title)
    axes[0].plot(*of_first.shift[0, region - 1], "P", color="white", markeredgecolor="black")
    return figure

# %%
def pulled_in_words(region: int, right: float, turn: float) -> str:
    by = round(goes_along[region, right, turn])
    moved = f"moves {abs(by)} pixels to the {'right' if by > 0 else 'left'}" if by else "stays"
    return f"A drawn face and its flow in colours, with the region's ellipse over both. What is under its centre {moved}"


strongest = sorted((k for k in used if k > 0), key=lambda k: -share[k])[:2]
pulls = viz.dial(pulled, alt=pulled_in_words, reach={"region": (1, 10), "right": (-8, 8), "turn": (-45, 45)},
                 region=strongest, right=[-6, 0, 6], turn=[0, 30])  # fmt: skip
for k in strongest:
    print(f"region {k} slides by -6, 0, 6 pixels; under its centre:", [round(goes_along[k, by, 0]) for by in (-6, 0, 6)])
    assert goes_along[k, -6, 0] < -1 and goes_along[k, 6, 0] > 0.5 and abs(goes_along[k, 0, 0]) < 0.01
    assert abs(goes_along[k, 0, 30]) < 0.5  # a turn leaves its centre where it is
pulls

# %% [markdown]
# *Left: what the model paints, with the frame that you set; the cross marks where the region was. Right: the flow, 16 x
# 16 places. Slide a region: what is under it goes along, but not by six pixels. The other motions have shares there too,
# and they say: stay. Turn it: the centre stays, and the colours change sides around it. The face pays for what no face
# does: it bends.*
#
# How well do they follow, and what does a known deformation do to them? The same two grades as for the
# puppets, over several clips of people whom the model never saw:

# %%
def follow_and_deform(index: int) -> Tensor:
    """Of one clip, in pixels of 64: follow, what follow would be if regions stood still, deform, and its size."""
    item = lfdm.data.Faces("val", size=64)[index]
    pictures, flows = item["video"].movedim(1, 0)[[4, 8, 12]], item["flow"].movedim(1, 0)[[4, 8, 12]].float()
    here, there = detector(item["video"][None, :, 0]), detector(pictures)
    moved = sample_at(flows, there.shift.mT[..., None])[..., 0].mT  # true flow under each region
    strange = Deformation(3, generator=torch.Generator().manual_seed(index))
    copy = detector(strange.frames(pictures))
    lengths = [there.shift + moved - here.shift, moved,
               strange(copy.shift) - there.shift, strange(there.shift) - there.shift]  # fmt: skip
    return 32 * torch.stack([length.norm(dim=-1).mean() for length in lengths])


follow, moved, deform, deformed_by = torch.stack([follow_and_deform(i) for i in range(0, 60, 6)]).mean(dim=0).tolist()
assert follow < moved and deform < 0.5 * deformed_by
print(f"follow: off by {follow / moved:.1f} of the motion under the region")
print(f"deform: off by {deform / deformed_by:.1f} of the deformation")

# %% [markdown]
# So deformations are followed well, which is what the training asked for. True motion is followed less well. A
# region that covers half of a head follows the head as a whole, while the thing under its centre may be a lid
# that closes on its own.

# %% [markdown]
# ## Failure gallery
#
# **Two things, one region.** Paint both arms orange. The heat map has two modes, and its mean lies between
# them, on the trunk, where no orange is.

# %% mystnb={"image": {"alt": "Left: the puppet with two orange arms; one wide ellipse spans both, its centre on the trunk. Middle: the heat map with two separate bright arms. Right: one arm alone raised; the ellipse tilts as a whole."}}
both = paint.clone()
both[0, 3] = both[0, 2]
figure, axes = plt.subplots(1, 3, figsize=(9, 3))
for ax, raise_right in ((axes[0], 0.0), (axes[2], -0.7)):
    twins, parts = draw(one(0.0, 0.0, raise_right, 0.0), both, size=64)
    of_twins = describe(heat(likeness(twins, ORANGE), 0.1))
    draw_regions(ax, twins[0], of_twins.shift[0], of_twins.affine[0])
    ax.set_title("both down" if raise_right == 0 else "one raised")
    column, line = ((of_twins.shift[0, 0] + 1) * 32).long().tolist()
    on_arm = parts[0, line, column].item() in (2, 3)
    assert not on_arm
axes[1].imshow(of_twins.heatmap[0, 0], cmap="gray")
axes[1].set(xticks=[], yticks=[], title="heat map, one raised")
figure.tight_layout()
plt.show()
print("the shift stands on an arm:", on_arm)

# %% [markdown]
# *One arm moved, the other did not. The region says: something wide turned a little. The plot that reveals it
# is the heat map beside the ellipse: an ellipse with nothing in its middle.*
#
# **The sign rule of the first entry.** There is a simpler rule for the sign: make the first entry of
# $A^{\mathrm S} (A^{\mathrm D})^{-1}$ positive. For a pure turn it is the same as ours. For a region that
# also changes its shape it flips motions by half a turn although they turned by less than a quarter.

# %% mystnb={"image": {"alt": "Scatter plot: how far a random change of a region turns, against the turn that is read with the rule of the first entry. Most points lie on the diagonal; some lie half a turn off although the true turn is below a quarter."}}
generator = torch.Generator().manual_seed(6)
angle = (torch.rand(3000, generator=generator) * 2 - 1) * math.pi * 0.45
before = rotation(torch.rand(3000, generator=generator) * 3.1)  # the region lies anyhow, 4 times as long as wide ...
longer = (0.6 * (2 * torch.rand(3000, generator=generator) - 1)).exp()
stretch = torch.diag_embed(torch.stack([longer, 1 / longer], dim=-1))
frame_d = before * torch.tensor([0.4, 0.1])
wanted = rotation(angle) @ before @ stretch @ before.mT  # ... changes its shape, and turns
frame_s = wanted @ frame_d
relative = affine_frame_v3(frame_s @ frame_s.mT) @ inverse(affine_frame_v3(frame_d @ frame_d.mT))
by_trace = relative * least_turn(relative)[:, None, None]
by_first = relative * relative[:, 0, 0].sign()[:, None, None]
plt.figure(figsize=(5, 3.4))
plt.plot(torch.rad2deg(angle), degrees_of(by_first), ".", color="#b35900", markersize=3, label="first entry")
plt.plot(torch.rad2deg(angle), degrees_of(by_trace), "x", color="#1f3b57", markersize=2, label="least turn")
plt.gca().set(xlabel="true turn, degrees", ylabel="read turn, degrees")
plt.legend()
plt.show()
flipped = [((rule - wanted).norm(dim=(1, 2)) > 0.1).float().mean().item() for rule in (by_first, by_trace)]
assert flipped[0] > 0.005 and flipped[1] < 1e-3
print("flipped by the first entry: some; by least turn: none", flipped[1] == 0)

# %% [markdown]
# *Each point is one change of a region. Points half a turn from the diagonal were flipped: there the whole
# picture would be looked up upside down.*
#
# **A part that is partly covered.** The trunk rests, and the right arm swings down and across it. True heat
# maps of what can be seen of the trunk:

# %% mystnb={"image": {"alt": "Left: the puppet with the right arm across the trunk; the trunk's ellipse is tilted. Right: line plot against the swing of the arm: shift of the trunk in pixels and its turn in degrees, both zero at first and up to a few when the arm crosses, although the trunk rests."}}
swings = torch.arange(0.0, 151, 10)
_, rest = draw(one(0.0, 0.0, 0.0, 0.0), paint, size=64)
trunk = describe(true_heat(rest)[:, :1])
slid, turned = [], []
for degrees in torch.deg2rad(swings).tolist():
    picture, parts = draw(one(0.0, 0.0, degrees, 0.0), paint, size=64)
    seen_trunk = describe(true_heat(parts)[:, :1])
    relative = seen_trunk.affine @ inverse(trunk.affine)
    slid.append(32 * (seen_trunk.shift - trunk.shift).norm().item())
    turned.append(degrees_of(relative * least_turn(relative)[..., None, None]).abs().item())
    if abs(degrees - math.radians(120)) < 0.01:
        crossed = picture, seen_trunk
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), width_ratios=(1, 1.6))
draw_regions(left, crossed[0][0], crossed[1].shift[0], crossed[1].affine[0], "T")
right.plot(swings, slid, "o-", color="#1f3b57", label="shift, pixels of 64")
right.plot(swings, turned, "s--", color="#b35900", label="turn, degrees")
right.set(xlabel="swing of the arm, degrees", ylabel="read motion of a resting trunk")
right.legend()
figure.tight_layout()
plt.show()
assert max(slid) > 1 and max(turned) > 3
print("a covered trunk seems to move:", max(slid) > 1 and max(turned) > 3)

# %% [markdown]
# *Left: what is left of the trunk when the arm has swung by 120 degrees. Right: the motion that is read from
# it, although the trunk never moved.* The moments of a region are those of what can be seen. A trained
# detector can learn to guess the rest.
#
# **Regions beside what they move.** The fourth failure you have seen already: training without equivariance.
# A picture of the ellipses reveals it; the picture error does not.

# %% [markdown]
# ## Summary
#
# * A region is a heat map, read as a mean (soft argmax) and a covariance. The covariance's axes turn with the
#   region, up to a half turn; two frames of one region make its motion.
# * $K + 1$ motions, the ground's among them, are blended by weights that a network draws from the source
#   warped by each; the blend is the flow, and an occlusion map comes with it.
# * The picture error alone lets regions stand anywhere. Known deformations tie them to what they stand on.
#   More regions are more chances to find a piece
#   that moves, and no promise.
#
# ## Exercises
#
# **1. Check yourself** (three minutes, easy). A heat map has two pixels with heat $1/2$ each, at $(-0.5, 0)$
# and $(0.5, 0)$. What are shift, covariance and frame? What happens when you invert the frame?
#
# <details>
# <summary>Solution</summary>
#
# The shift is the origin. The offsets are $\pm 0.5$ along $x$, so $\Sigma_{xx} = 0.25$ and everything else is
# 0. The longer axis is $x$ with length $0.5$; the shorter has length 0 and could not be inverted. The floor
# makes it $\sqrt{10^{-6}} = 10^{-3}$, so the inverse has an entry of 1000.
#
# ```python
# flat = torch.tensor([[0.25, 0.0], [0.0, 0.0]])
# assert_close(affine_frame_v3(flat).abs(), torch.tensor([[0.5, 0.0], [0.0, 1e-3]]), atol=1e-5, rtol=1e-4)
# assert abs(inverse(affine_frame_v3(flat)).abs().max().item() - 1000) < 1
# ```
#
# </details>
#
# **2. Check yourself** (three minutes, medium). You mirror a picture, left to right. Can regions say that this
# is a mirror image, and not a turn?
#
# <details>
# <summary>Solution</summary>
#
# One region cannot: its ellipse is its own mirror image along its axes, so $\Sigma$ looks as if the region
# had turned. Every frame that we make is a rotation times lengths, so its determinant is positive, and so is
# that of every motion. Several regions together can: their shifts change order, which no turn does. But each
# alone moves its piece wrongly.
#
# ```python
# mirrored = torch.diag(torch.tensor([-1.0, 1.0])) @ upright @ torch.diag(torch.tensor([-1.0, 1.0]))
# assert torch.linalg.det(affine_frame_v3(mirrored) @ inverse(affine_frame_v3(upright))) > 0
# ```
#
# </details>
#
# **3. Code it** (ten minutes, medium). Some use the lower triangular (Cholesky) factor as a frame:
# $L L^\top = \Sigma$, with positive diagonal. For $2 \times 2$ it has a closed form. Write it, and find out
# whether it turns with the region.

# %% tags=["exercise"]
def triangular_frame(covariance: Tensor) -> Tensor:
    """Covariances (..., 2, 2) -> lower triangular L with L L^T = covariance and positive diagonal."""
    return None  # your lines


def check_triangular_frame(function) -> str:
    answer = function(covariance)
    if answer is None or answer.shape != covariance.shape:
        return "not yet: return one 2 x 2 matrix for each covariance"
    if answer[..., 0, 1].abs().max() > 1e-6:
        if answer[..., 1, 0].abs().max() < 1e-6:
            return "not yet: that is upper triangular; the zero belongs into the first row"
        return "not yet: the entry in the first row and second column must be zero"
    if (answer - covariance.clamp_min(0).sqrt().tril()).abs().max() < 1e-6:
        return "not yet: the root of a matrix is not the roots of its entries; multiply L by its transpose"
    if (answer.mT @ answer - covariance).abs().max() < 1e-5:
        return "not yet: you solved L^T L = covariance; the transpose belongs to the right"
    if (answer @ answer.mT - covariance).abs().max() > 1e-5:
        return "not yet: L L^T is not the covariance; write its three entries out and solve them one after the other"
    return "solved" if (answer.diagonal(dim1=-2, dim2=-1) > 0).all() else "not yet: both roots are taken positive"


print(check_triangular_frame(triangular_frame))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# The entries of $L L^\top$ are $L_{xx}^2$, $L_{xx} L_{yx}$ and $L_{yx}^2 + L_{yy}^2$. Solve them in this order.
#
# ```python
# def triangular_frame(covariance):
#     xx = covariance[..., 0, 0].sqrt()
#     yx = covariance[..., 0, 1] / xx
#     yy = (covariance[..., 1, 1] - yx**2).sqrt()
#     return torch.stack([torch.stack([xx, 0 * xx], -1), torch.stack([yx, yy], -1)], -2)
#
#
# assert check_triangular_frame(triangular_frame) == "solved"
# Q = rotation(torch.tensor(0.6))
# recovered_turn = triangular_frame(Q @ upright @ Q.mT) @ inverse(triangular_frame(upright))
# assert (recovered_turn - Q).abs().max() > 0.1
# ```
#
# It does not turn with the region: a product of triangular matrices is triangular, and no turn is.
#
# </details>
#
# **4. Code it** (fifteen minutes, medium). The exam's grade *follow* in one function: regions of source and
# driving picture and the true backward flow (b, 2, h, w) are given. How far is each region, in pixels, from
# where the thing under it came from?

# %% tags=["exercise"]
def follow_error(of_source: Regions, of_driving: Regions, flow: Tensor) -> Tensor:
    """-> distances (b, k), in pixels of the flow's width."""
    return None  # your lines


def check_follow_error(function) -> str:
    pan = 0.25 * (identity_grid(64, 64)[:1] > 0) * torch.eye(2, 1)[None, :, :, None]  # the right half pans 8 pixels
    at = {name: Regions(torch.tensor([[xy]]), None, None, None) for name, xy in
          (("l", [-0.5, 0.1]), ("r", [0.5, 0.1]), ("right of r", [0.75, 0.1]), ("nearly l", [-0.5, 0.2]))}  # fmt: skip
    cases = [("l", "l", 0.0), ("right of r", "r", 0.0), ("r", "r", 8.0), ("nearly l", "l", 3.2), ("l", "r", 40.0)]
    answers = [function(at[s], at[d], pan) for s, d, _ in cases]
    if any(answer is None or answer.shape != (1, 1) for answer in answers):
        return "not yet: return one distance for each region, (b, k)"
    off = [round(answer.item() - truth, 2) for answer, (_, _, truth) in zip(answers, cases, strict=True)]
    if not any(off):
        return "solved"
    if abs(answers[3].item() - 0.1) < 0.01:
        return "not yet: that is in normalized units; the picture spans 2, so half of its width in pixels is 1"
    if off[1] > 7:
        forgot = "a region that rests on a thing that moved is wrong; did you forget the flow?"
        return f"not yet: {forgot if off[2] < 0 else 'backward flow is added to the driving position'}"
    return "not yet: the flow is asked at the driving position, not at the source's"


print(check_follow_error(follow_error))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def follow_error(of_source, of_driving, flow):
#     here = of_driving.shift
#     moved = sample_at(flow, here.mT[..., None])[..., 0].mT  # (b, k, 2)
#     return flow.shape[-1] / 2 * (here + moved - of_source.shift).norm(dim=-1)
#
#
# assert check_follow_error(follow_error) == "solved"
# assert (follow_error(of_first, of_frame, true_flow) >= 0).all()
# ```
#
# </details>
#
# **5. Explore** (an evening, hard). Be the puppeteer of a face, beyond the dial above. Take the regions of the
# clip's first frame, move or turn any of them, and let the shipped model draw what follows: `shipped.flow` with
# your regions gives a motion, `shipped.decode` a picture. Which regions have an effect? What happens when two
# regions of one piece disagree?
#
# <details>
# <summary>Solution</summary>
#
# A start, which slides one region to the right by four pixels:
#
# ```python
# def puppeteer(k, by):
#     shift = of_first.shift.clone()
#     shift[:, k] += torch.tensor(by)
#     pulled = of_first._replace(shift=shift)
#     made = shipped.flow(first, of_first, pulled, torch.eye(2, 3)[None], (16, 16))
#     return shipped.decode(first, made)
#
#
# with torch.no_grad():
#     strength = [(puppeteer(k, [0.125, 0]) - puppeteer(k, [0, 0])).abs().mean().item() for k in range(10)]
# print("strongest region against weakest:", round(max(strength) / (min(strength) + 1e-6)), "times")
# ```
#
# Regions that rule nothing have no effect, whatever you do to them. The strong ones carry large pieces: pull
# one, and half of the head goes along. If two pull in different directions, the blend tears or smears between
# their pieces, and the occlusion map darkens there.
#
# </details>
#
# ## What the authors did
#
# LFDM takes the motion model of {cite:t}`siarohin2021mraa` as it is, ten regions for its data sets
# {cite:p}`ni2023lfdm`. Of what you built, their published code does some things otherwise. Each is a switch of
# `lfdm_lite`, measured in [what differs from the published code](differences.md).
#
# * Frames come from a singular value decomposition on the CPU. Its gradient is not finite where a region is
#   round. The closed form with a softened gradient is ours.
# * The sign of a motion is chosen by the first entry, as in the gallery.
# * Bumps have no floor, so a region of a single pixel divides by zero.
# * Pictures are shrunk to a quarter for the region detector, by keeping every fourth pixel after a blur:
#   corners of blocks, not their centres. Grids mix both meanings of the corners.
# * Their occlusion map learns from the picture alone. Ours gets a small loss of its own, which [chapter
#   5](05_autoencoder.ipynb) explains.
# * Equivariance has the same form. It counts ten for shifts and ten for frames, as much as each term of their
#   perceptual loss.
#
# ## Further reading
#
# * {cite:t}`siarohin2021mraa`: regions in place of keypoints, the background's motion; the model of this
#   chapter.
# * {cite:t}`siarohin2019fomm`: keypoints with local affine maps, and the equivariance loss for them.
# * {cite:t}`thewlis2017landmarks`: places found by asking for equivariance, without painting anything.
# * {cite:t}`jakab2018keypoints`: keypoints without labels through an image's reconstruction.
# * {cite:t}`bookstein1989warps`: the thin-plate spline.
