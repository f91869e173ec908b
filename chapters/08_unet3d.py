# ---
# jupyter:
#   book:
#     equals:
#       Block: lfdm_lite.unet3d.Block
#       Entrance: lfdm_lite.unet3d.UNet3D.conv_in
#       FramePositions: lfdm_lite.attention.FramePositions
#       Level: lfdm_lite.unet3d.Level
#       LinearSpatialAttention: lfdm_lite.attention.LinearSpatialAttention
#       NumberEmbedding: lfdm_lite.conditions.NumberEmbedding
#       RelativePositionBias: lfdm_lite.attention.RelativePositionBias
#       ResidualBlock: lfdm_lite.unet3d.ResidualBlock
#       SpatialAttention: lfdm_lite.attention.SpatialAttention
#       TemporalAttention: lfdm_lite.attention.TemporalAttention
#       UNet: lfdm_lite.unet3d.UNet3D
#       attend_v2: lfdm_lite.attention.attend
#       drop: lfdm_lite.conditions.drop
#       frame_index: lfdm_lite.unet3d.frame_index
#       recompute: lfdm_lite.memory.keeping_inputs
#       rotary_angles: lfdm_lite.attention.rotary_angles
#       rotate_v2: lfdm_lite.attention.rotate
#       sinusoids: lfdm_lite.attention.sinusoids
#     goals:
#     - say what factorizing space and time saves, and what still sees everything
#     - write every block of the denoiser, and know by which property to check it
#     - say how diffusion step, label, numbers, picture and frame number get in
#     - find parameters, multiply-adds and memory of a network, part by part
#     - read a temporal attention map, and tell a living network from a dead one
#     minutes: 45
#     minutes_all: 115
#     peak_mb: 800
#     prerequisites:
#     - chapter 06, for what a denoiser is asked and trained on
#     - chapter 00, for latent map, flow and occlusion
#     - convolutions, matrix products, and building modules in PyTorch
#     seconds: 35
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 The 3D U-Net
#
# Diffusion needs one network: it sees noisy motion and says what is noise. That network must look around in
# space, because neighbours move alike, and in time, because motion goes on. In this chapter you build it from
# an empty cell, load the trained weights into it, and look at what it does.
#
# **At the end you can**
#
# * say what factorizing space and time saves, and what still sees everything;
# * write every block of the denoiser, and know by which property to check it;
# * say how diffusion step, label, numbers, picture and frame number get in;
# * find parameters, multiply-adds and memory of a network, part by part;
# * read a temporal attention map, and tell a living network from a dead one.
#
# **You need** [chapter 6](06_ddpm.ipynb) for what a denoiser is asked, [chapter 0](00_tour.ipynb) for latent
# map, flow and occlusion, and to have built modules in PyTorch. **It takes** 45 minutes to read, and about 35
# seconds and 800 MB of memory to run on two CPU cores. That is the text; with the code count on 100 minutes for a
# first reading, which leaves out the sections marked *may be skipped*, and 115 for all. The exercises come on top, and
# say how long each takes.
#
# ![The block diagram of the whole system. The diffusion model is highlighted, with the arrows that enter it: noise from above, the label and the latent map z0 from the left. The rest is pale.](../assets/figures/road_08.svg)
#
# *Where you are: in the same box as in chapter 6, now with the network that does the work. Not drawn
# are three of its inputs: step, numbers, and each frame's number.*

# %% [markdown]
# ## What it is asked
#
# The running example is real: six clips of the validation set, one for each label, and their motion as the
# auto-encoder of stage one estimates it. Per clip that is 3 numbers (flow right, flow down, occlusion) at
# $32 \times 32$ places in 16 frames.

# %%
import lfdm_lite as lfdm  # before torch, whose threads then keep no core while they wait

lfdm.check_environment()  # says so where a version is not one that the book was run with
import math
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple
from unittest.mock import patch

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from lfdm_lite import attention, conditions, memory, samplers, unet3d, viz
from lfdm_lite.motion import Motion
from lfdm_lite.official.presets import paper_model
from lfdm_lite.training.planning.census import Cost, census, kept_bytes

torch.set_num_threads(1)  # the maps here are small: a second thread would mostly wait
viz.use_style()
BLUE, ORANGE, BLACK = (viz.COLOURS[name] for name in ("blue", "orange", "black"))

# %%
model = lfdm.LFDM.from_pretrained(lfdm.asset("checkpoints/faces64"))
trained, diffusion = model.unet, model.diffusion

clips = [lfdm.data.Faces("val", size=64)[i] for i in range(6)]
video = torch.stack([clip["video"] for clip in clips]).float()  # (6, 3, 16, 64, 64)
label = torch.tensor([clip["label"] for clip in clips])  # (6,), 0 to 5
numbers = torch.tensor([[clip["strength"], clip["turn"]] for clip in clips])  # (6, 2)
with torch.no_grad():
    z0 = model.autoencoder.encode(video[:, :, 0])  # (6, 64, 16, 16)
    motion = model.autoencoder.estimate_motion(video[:, :, 0], video)  # in units of half an image
    x0 = diffusion.pack_motion(motion)  # (6, 3, 16, 32, 32), scaled to a deviation near 1
assert z0.shape == (6, 64, 16, 16) and x0.shape == (6, 3, 16, 32, 32)
print(f"motion {tuple(x0.shape)}, latent map {tuple(z0.shape)}, labels {label.tolist()}")
for known, column in zip(trained.config.numbers, numbers.T.tolist(), strict=True):
    print(f"{known.name}: {' '.join(f'{value:.2f}' for value in column)}; in training {known.low} to {known.high}")
ours = trained.config
print(f"the network: {ours.dim} channels times {ours.dim_mults}, {ours.blocks} residual block a level, {ours.heads} heads of {ours.head_dim} features")

# %% [markdown]
# This goes in: $\mathbf x_t$, the motion with the noise of step $t$; the step $t$ itself; $z_0$, the
# latent map of the given picture; the label $y$; and two numbers, how strong the expression is and by what
# angle the head has turned at the end (in radians, clockwise). The number of each frame it adds by itself.
# One thing comes out, as large as $\mathbf x_t$. Whether it
# stands for $\epsilon$, $\mathbf v$ or $\mathbf x_0$ changes no line of code
# ([chapter 6](06_ddpm.ipynb)); the shipped one answers $\mathbf x_0$ itself, and
# [chapter 9](09_latent_flow_diffusion.ipynb) says why. Before you build it, see what it makes of a noisy clip.

# %%
eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def noisy_and_guess(t: int) -> tuple[Tensor, Tensor]:
    """The six clips with the noise of step t, and what the trained network says was underneath."""
    steps = torch.full((6,), t)
    x_t = diffusion.add_noise(x0, steps, eps)
    return x_t, diffusion.to_x0_eps(x_t, steps, trained(x_t, steps, z0, label, numbers))[0]


def cleaned(t: int) -> viz.Picture:
    maps = [diffusion.unpack_motion(motion[5:]).flow[0, :, 12] for motion in (x0, *noisy_and_guess(t))]
    rgb = lfdm.flow_to_rgb(torch.stack(maps), max_norm=maps[0].norm(dim=0).max().item())
    return viz.image_row(list(rgb), ["clean", f"with the noise of step {t}", "the network's guess"], scale=8)

# %%
for step in (100, 500, 900):
    x_t, guess = noisy_and_guess(step)
    assert guess.shape == x0.shape
    missed, wrong = (x_t - x0).square().mean().item(), (guess - x0).square().mean().item()
    assert wrong < missed
    print(f"step {step}: mean squared distance to the clean clips: noisy {missed:.3f}, guess {wrong:.3f}")
words = "Three flow maps of a face that opens in surprise: clean, with coloured grain over it, and the network's guess"
viz.dial(cleaned, alt=words, reach={"t": (0, 999)}, t=[500, 700, 900, 980])

# %% [markdown]
# *Flow of frame 12 of the clip with the label surprise, in the colours of chapter 1: hue is direction, depth
# is length. Turn `t` up: the grain grows until nothing is left to see, and the guess becomes coarser.*
#
# This is the plan of what you will build. Every name in it comes back as code.

# %% mystnb={"image": {"alt": "Rectangles in the shape of a U. On the way down heights fall from 16 to 8 to 4 places and widths grow from 32 to 96 to 192 channels; on the way up they return. Dashed arrows lead from each level of the way down across to the entrance of the same level of the way up, each with the number of channels that it adds: 192, 96, 32, and 32 more to the last block."}} tags=["hide-input"]
shown = (unet3d.ResidualBlock, attention.TemporalAttention, nn.Conv2d)
plan = census(trained, shown, eps[:1], torch.tensor([500]), z0[:1], label[:1], numbers[:1])
path = ["temporal", "down.0.temporal", "shrink.0", "down.1.temporal", "shrink.1", "down.2.temporal", "middle_block2"]
path += ["up.0.temporal", "grow.0.conv", "up.1.temporal", "grow.1.conv", "up.2.temporal", "last_block", "head"]
fig, ax = plt.subplots(figsize=(11, 4.4))
x_left, box = 0.0, {}
for name in path:
    _, channels, h, _ = plan[name].shape
    wide, y = channels / 14, {16: 0, 8: -15, 4: -26}[h]
    box[name] = x_left, x_left + wide / 2, y + h, channels
    ax.add_patch(plt.Rectangle((x_left, y), wide, h, facecolor="#f4e3c3", edgecolor=BLACK))
    ax.text(x_left + wide / 2, y + (h / 2 if wide > 1 else h + 1), channels, ha="center", va="center", fontsize=9)
    short = {"temporal": "entrance", "middle_block2": "middle"}.get(name, ".".join(name.split(".")[:2]))
    ax.text(x_left + wide / 2, y - 0.7, short, rotation=90, ha="center", va="top", fontsize=9)
    x_left += wide + 4
for level, (down, up) in enumerate(zip(path[5:0:-2] + path[:1], path[7:12:2] + ["last_block"], strict=True)):
    (_, a, top, channels), (b, _, _, _) = box[down], box[up]
    above = top + (2 if level < 3 else 5)
    ax.plot([a, a, b - 2, b - 2], [top, above, above, top - 2], "--", color=BLACK, linewidth=0.8)
    ax.annotate("", (b, top - 2), (b - 2, top - 2), arrowprops={"arrowstyle": "->", "linewidth": 0.8})
    ax.text(b - 2, above, f"+ {channels}", ha="right", va="bottom", fontsize=9)
ax.set(xlim=(-3, x_left), ylim=(-34, 23), yticks=[8, -11, -24], yticklabels=["16 x 16", "8 x 8", "4 x 4"], xticks=[])
ax.spines[["left", "bottom"]].set_visible(False)
plt.show()
assert {row.shape[0] for name, row in plan.items() if "conv_" not in name} == {16}

# %% [markdown]
# *Each box is the answer of one part: its height is that of the maps, its width and the number in it the channels.
# Dashed: the skips, laid beside what arrives from below. `entrance` is a $7 \times 7$ convolution, then attention
# through time; `down` and `up` are a residual block, attention in space (not at $16 \times 16$), attention through
# time. Time is never shrunk: there are 16 frames everywhere, and each keeps its own answer.*
#
# ## Why space and time are split
#
# A clip of $T$ frames of $H \times W$ places has $THW$ places. Let each look at each, in attention with $C$
# features: one product to compare, one to collect, $2\,C\,(THW)^2$ multiply-adds. **Factorized**, a place
# looks at its own frame, $HW$ places, and then at itself in all $T$ frames. That is $T\,(HW)^2$ and $HW\,T^2$
# in place of $(THW)^2$. In these two products alone, the saving is
#
# $$\frac{(THW)^2}{T (HW)^2 + HW\,T^2} = \frac{THW}{HW + T}$$
#
# PyTorch can count: a mode watches every matrix product and convolution. On the device `meta` tensors have a
# shape and no numbers, so that counting costs nothing.

# %%
def multiply_adds(compute, *inputs) -> int:
    """Products, each with a sum, in all matrix products and convolutions of compute(*inputs)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        compute(*inputs)
    return counter.get_total_flops() // 2


def compare_and_collect(x: Tensor) -> Tensor:  # (batch, tokens, C): the two products of attention
    return (x @ x.transpose(1, 2)) @ x


C, H, W = 32, 32, 32
frames_counted = [1, 4, 16, 40, 160]
cost = {"joint": [], "space": [], "time": []}
for T in frames_counted:
    for name, shape in (("joint", (1, T * H * W, C)), ("space", (T, H * W, C)), ("time", (H * W, T, C))):
        cost[name].append(multiply_adds(compare_and_collect, torch.empty(shape, device="meta")))
    joint, space, time = (cost[name][-1] for name in cost)
    assert joint == 2 * C * (T * H * W) ** 2
    assert math.isclose(joint / (space + time), T * H * W / (H * W + T))
    print(f"{T:3d} frames: joint {joint:.1e}, space {space:.1e}, time {time:.1e}, saved {joint / (space + time):5.1f} times")

# %% mystnb={"image": {"alt": "Line plot on logarithmic axes of multiply-adds against the number of frames. Joint attention rises with the square. Space, a straight line of slope one, is far below. Time has slope two but lies lowest in the whole range."}} tags=["hide-input"]
plt.figure(figsize=(7, 3.2))
for (name, counts), style in zip(cost.items(), ("o-", "s--", "^:"), strict=True):
    plt.loglog(frames_counted, counts, style, color=BLACK, label=name)
plt.xlabel("frames of 32 x 32")
plt.ylabel("multiply-adds")
plt.legend()
plt.show()
assert cost["time"][3] < cost["space"][3] < cost["joint"][3]

# %% [markdown]
# *Multiply-adds of the two products of attention. Joint and time grow with the square of the number of
# frames, space in proportion. Time is cheap as long as there are fewer frames than places.*
#
# Convolutions are cut down: a kernel of $3 \times 3 \times 3$ becomes $1 \times 3 \times 3$, a third of
# the cost, and time is left to attention. A frame at a time is what a 2-D convolution does. So fold the frames into
# the batch: `(b, c, T, h, w)` becomes `(b T, c, h, w)`. We use `rearrange` of the package `einops` for this,
# whose first argument says in words what happens to the axes.

# %%
clip = torch.randn(2, 3, 4, 6, 6, generator=torch.Generator().manual_seed(1))  # b c T h w
kernel = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(2))

in_3d = F.conv3d(clip, kernel[:, :, None], padding=(0, 1, 1))
folded = rearrange(clip, "b c T h w -> (b T) c h w")
in_2d = rearrange(F.conv2d(folded, kernel, padding=1), "(b T) c h w -> b c T h w", T=4)
assert_close(in_3d, in_2d, atol=1e-5, rtol=1e-5)

whole = multiply_adds(lambda x, k: F.conv3d(x, k, padding=1), clip, torch.randn(8, 3, 3, 3, 3))
third = multiply_adds(lambda x, k: F.conv2d(x, k, padding=1), folded, kernel)
assert whole == 3 * third
print(f"{tuple(clip.shape)} folded to {tuple(folded.shape)}")
print(f"multiply-adds: {third} against {whole} of a (3, 3, 3) kernel")

# %% [markdown]
# From here on all activations are frames, `(b T) c h w`. Only two parts of the network undo the fold and must
# know which frames belong together: the group norm and temporal attention.
#
# ## The residual block
#
# The first block works in space. It is a chain of convolution, normalization, scale and shift, and a *silu*, which
# lets through what is large and holds back what is negative; that chain once more, without scale and shift; and the
# input is added to what comes out.
#
# **Group norm** {cite:p}`wu2018groupnorm` collects the channels in groups, and brings every group of every
# clip to mean 0 and variance 1. For a group with mean $\bar a$ and variance $\nu$, and a small $\varepsilon$:
#
# $$\hat a = \frac{a - \bar a}{\sqrt{\nu + \varepsilon}}$$

# %%
def group_norm(a: Tensor, groups: int, eps: float = 1e-5) -> Tensor:
    """a (b, c, T, h, w): statistics of each clip's group of channels, over all its frames and places."""
    grouped = rearrange(a, "b (g c) T h w -> b g (c T h w)", g=groups)
    mean = grouped.mean(dim=-1, keepdim=True)
    variance = grouped.var(dim=-1, unbiased=False, keepdim=True)
    return ((grouped - mean) / (variance + eps).sqrt()).reshape(a.shape)


toy = torch.randn(2 * 4, 16, 6, 6, generator=torch.Generator().manual_seed(3))  # two clips of four frames
clips_of_toy = rearrange(toy, "(b T) c h w -> b c T h w", T=4)
normal, louder = group_norm(clips_of_toy, groups=8), group_norm(7 * clips_of_toy + 2, groups=8)
assert_close(normal, F.group_norm(clips_of_toy, 8), atol=1e-5, rtol=1e-5)
assert_close(normal, louder, atol=1e-4, rtol=1e-4)
print(f"a clip seven times as large, and 2 higher, gives the same to {(normal - louder).abs().max():.3f}")

# %% [markdown]
# Why over the whole clip, and not frame by frame? Because a face starts at rest, and its motion grows. If every
# frame were brought to variance 1 by itself, frame 0 would move as much as the last. In this chain the growth would be
# gone, and only the input, which is added around it, would still carry it.

# %% mystnb={"image": {"alt": "Line plot over the frames. The length of the flow rises from almost zero, stays near its height from frame 7 on, and falls in the last three frames. Normalized over the clip it starts at 0.3, falls a little until frame 3, and then has the same shape. Normalized frame by frame it is a flat line at one."}}
flow = x0[5:, :2]  # (1, 2, 16, 32, 32)
over_clip = group_norm(flow, groups=1)
by_frame = rearrange(group_norm(rearrange(flow, "b c T h w -> (b T) c 1 h w"), groups=1), "T c b h w -> b c T h w")
size = lambda a: a.square().mean(dim=(0, 1, 3, 4)).sqrt()

plt.figure(figsize=(7, 3.2))
plt.plot(size(flow), "o-", color=BLACK, label="flow")
plt.plot(size(over_clip), "s--", color=BLUE, label="normalized over the clip")
plt.plot(size(by_frame), "^:", color=ORANGE, label="normalized frame by frame")
plt.xlabel("frame")
plt.ylabel("root mean square, scaled")
plt.legend()
plt.show()
spread = {name: size(a)[1:].std().item() for name, a in (("over the clip", over_clip), ("frame by frame", by_frame))}
assert spread["frame by frame"] < 0.05 and spread["over the clip"] > 0.2
print("deviation over frames 1 to 15, normalized:", ", ".join(f"{name} {value:.2f}" for name, value in spread.items()))

# %% [markdown]
# *How long the flow of one clip is, frame by frame. Normalized over the clip, the growth is kept; the first
# frames do not start at 0, and fall at first, because the mean of the clip was taken away. Frame by frame, it is lost.
# (In the network a convolution comes before.)*
#
# And why not the **batch norm** that stage one uses? It takes its statistics over all examples of a batch. In
# stage two each example has its own amount of noise. One noisy clip would change what the network sees of all
# others; a group norm sees one clip at a time.
#
# **Scale and shift.** The network must do different things at $t = 900$ and at $t = 30$, and for happiness
# and for anger. Everything that it is *told* reaches it here: a silu of each number and one matrix make of it a scale
# $\gamma$ and a shift $\psi$ for every channel, which act just before the silu of the chain {cite:p}`perez2018film`:
#
# $$\mathrm{silu}\big((1 + \gamma)\, \hat a + \psi\big), \qquad \mathrm{silu}(a) = \frac{a}{1 + e^{-a}}$$
#
# With the 1, a network that knows nothing ($\gamma = \psi = 0$) lets things pass. A shift of -4 closes a
# channel, for there silu is nearly 0; $\gamma = 1$ makes it twice as loud, $\gamma = -2$ turns it over. So the
# condition works as a row of switches. `count` is the number of frames, which the group norm needs to find the clips.

# %%
class Block(nn.Module):
    def __init__(self, dim: int, dim_out: int, groups: int):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim_out, 3, padding=1)
        self.norm = nn.GroupNorm(groups, dim_out)  # with a learned factor and summand for each channel, too

    def forward(self, x: Tensor, count: int, gamma: Tensor | float = 0.0, psi: Tensor | float = 0.0) -> Tensor:
        a = rearrange(self.conv(x), "(b T) c h w -> b c T h w", T=count)
        a = F.silu((1 + gamma) * self.norm(a) + psi)
        return rearrange(a, "b c T h w -> (b T) c h w")


class ResidualBlock(nn.Module):
    def __init__(self, dim: int, dim_out: int, condition_dim: int, groups: int):
        super().__init__()
        self.condition = nn.Sequential(nn.SiLU(), nn.Linear(condition_dim, 2 * dim_out))
        self.block1, self.block2 = Block(dim, dim_out, groups), Block(dim_out, dim_out, groups)
        self.skip = nn.Conv2d(dim, dim_out, 1) if dim != dim_out else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor, count: int) -> Tensor:
        gamma, psi = rearrange(self.condition(condition), "b (two d) -> two b d 1 1 1", two=2)
        return self.block2(self.block1(x, count, gamma, psi), count) + self.skip(x)

# %% [markdown]
# Every part of this chapter is held against the library's with the same weights. `twin` copies them, and
# `apart` says by how much two answers differ at most.

# %%
def twin(theirs: nn.Module, ours: nn.Module) -> nn.Module:
    """Our module with the library's weights: every name and shape must fit."""
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours


def apart(ours: Tensor, theirs: Tensor, most: float = 1e-4) -> str:
    """The largest difference, as text; it must be small."""
    assert_close(ours, theirs, atol=most, rtol=1e-3)
    return f"{(ours - theirs).abs().max().item():.3f}"


torch.manual_seed(0)
condition = torch.randn(2, 24, generator=torch.Generator().manual_seed(4))  # one vector for each clip
theirs = unet3d.ResidualBlock(16, 32, 24, 8)
block = twin(theirs, ResidualBlock(16, 32, 24, 8))
four_frames = attention.Frames(4, None, None, None, None)  # a residual block asks for their number alone
with torch.no_grad():
    answer = block(toy, condition, 4)
    print(f"{tuple(answer.shape)}; to the library:", apart(answer, theirs(toy, condition, four_frames)))
    changed = (block(toy, condition.flip(0), 4) - answer).abs().max()
    print(f"each clip told the other's condition: the answers change by {changed:.2f}")
    nn.init.zeros_(block.condition[1].weight)
    assert torch.equal(block(toy, condition.flip(0), 4), block(toy, condition, 4))  # nobody listens any more

# %% [markdown]
# ## What is the condition?
#
# **The diffusion step.** A single number between 0 and 999 is a poor input: steps 30 and 40 are a hundredth of its
# range apart. So it becomes $d_e$ waves of different length, as a clock tells the time with fast hands and slow
# ones; a variant of those of {cite:t}`vaswani2017attention`. With $P = 10000$ and
# $i = 0, \dots, d_e / 2 - 1$:
#
# $$e(t) = \big(\sin \omega_0 t, \dots, \sin \omega_{d_e/2-1}\, t,\; \cos \omega_0 t, \dots, \cos \omega_{d_e/2-1}\, t\big), \qquad \omega_i = P^{-i / (d_e/2 - 1)}$$
#
# How alike two steps are depends on their distance $r$ alone:
#
# $$e(t) \cdot e(t + r) = \sum_i \cos \omega_i r$$

# %%
def sinusoids(position: Tensor, dim: int, max_period: float = 10_000.0) -> Tensor:
    """position (m,) -> (m, dim)."""
    half = dim // 2
    omega = max_period ** (-torch.arange(half) / (half - 1))
    angle = position.float()[:, None] * omega.to(position.device)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


steps = torch.arange(1000)
e = sinusoids(steps, 32)
omega = 10_000.0 ** (-torch.arange(16) / 15)
assert_close(e, attention.sinusoids(steps, 32), atol=1e-3, rtol=0)
for t in (100, 500):
    assert_close(e @ e[t], ((steps - t)[:, None] * omega).cos().sum(dim=1), atol=5e-3, rtol=0)
    print(f"step {t} with steps 0, 10 and 100 later:", [f"{e[t] @ e[t + r]:.1f}" for r in (0, 10, 100)])

# %% mystnb={"image": {"alt": "Left: a picture of 32 features over the first 200 steps, fast stripes at the top of each half that get slower downwards. Right: the product of step 500 with every step, a sharp peak of 16 at 500, on a hill that falls to both sides with many ripples."}} tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
left.imshow(e[:200].T, aspect="auto", cmap="gray")
left.set(xlabel="step t, the first 200", ylabel="feature", title="e(t)")
right.plot(e @ e[500], color=BLACK)
right.set(xlabel="step t", title="e(500) · e(t)")
plt.show()
assert (e @ e[500]).argmax() == 500

# %% [markdown]
# *Left: one row for each feature, white is 1 and black is -1; sines above, cosines below. The fast ones tell
# neighbours apart, the slow ones early from late. Right: how similar step 500 is to every step. The fast
# waves make the ripples and the sharp peak, the slow ones the hill.*
#
# Two linear layers then make of it what the blocks need.
#
# **The label** is a row of a learned table. The table has one row more than there are labels: the **null
# condition**, for "no label given".
#
# **A number** is embedded too: scaled so that its range in training becomes -1 to 1, then two linear layers with
# a bend in between. It has a learned vector for "not given", written as NaN, so that one tensor says both
# whether and what.

# %%
class NumberEmbedding(nn.Module):
    def __init__(self, known: conditions.NumberRange, width: int):
        super().__init__()
        self.known = known  # the number's name, and its range in training
        self.layers = nn.Sequential(nn.Linear(1, width), nn.GELU(), nn.Linear(width, width))
        self.not_given = nn.Parameter(torch.zeros(width))

    def forward(self, value: Tensor) -> Tensor:  # (b,), NaN where not given -> (b, width)
        scaled = 2 * (value - self.known.low) / (self.known.high - self.known.low) - 1
        vector = self.layers(scaled.nan_to_num()[:, None])
        return torch.where(value.isnan()[:, None], self.not_given, vector)


theirs = trained.numbers[0]
strength = twin(theirs, NumberEmbedding(theirs.known, 128))
asked = torch.tensor([0.6, 1.0, 1.4, math.nan])
with torch.no_grad():
    assert_close(strength(asked), theirs(asked))
    far = torch.cdist(strength(asked), strength(asked))
print("from the vector of strength 0.6, those of 1.0, 1.4 and of none are", ", ".join(f"{value:.1f}" for value in far[0, 1:]), "away")
assert far[0, 1] < far[0, 2]

# %% [markdown]
# In training, parts of this are dropped at random. A tenth of the examples loses everything: so one network
# learns both answers, with condition and without, which guidance needs ([chapter 7](07_samplers.ipynb)). Of
# the others, the label is lost in a tenth and each number in half, each independently of the rest. So you may
# later ask for a strength and leave the turn open, and the network has been asked that before.

# %%
def drop(label: Tensor, numbers: Tensor, null_label: int, null: float, number_null: float, generator) -> tuple:
    everything = torch.rand(len(label), generator=generator) < null
    chance = torch.rand(len(label), 1 + numbers.shape[1], generator=generator)
    label = torch.where(everything | (chance[:, 0] < null), null_label, label)
    lost = everything[:, None] | (chance[:, 1:] < number_null)
    return label, torch.where(lost, math.nan, numbers)


many = label.repeat(1000), numbers.repeat(1000, 1), trained.null_label, 0.1, 0.5
left_label, left_numbers = drop(*many, torch.Generator().manual_seed(5))
for ours, theirs in zip((left_label, left_numbers), conditions.drop(*many, torch.Generator().manual_seed(5)), strict=True):
    assert_close(ours, theirs, equal_nan=True)
no_label, none = left_label == trained.null_label, left_numbers.isnan()
found = {"the label": no_label, "the strength": none[:, 0], "the turn": none[:, 1], "all three": no_label & none.all(dim=1)}
due = {"the label": 0.1 + 0.9 * 0.1, "the strength": 0.1 + 0.9 * 0.5, "the turn": 0.1 + 0.9 * 0.5, "all three": 0.1 + 0.9 * 0.1 / 4}
for name, lost in found.items():
    assert abs(lost.float().mean() - due[name]) < 0.02
    print(f"{name:12} dropped in {lost.float().mean():.1%} of 6000 examples; expected {due[name]:.1%}")

# %% [markdown]
# The label's vector and those of the numbers are added; the step's vector is laid beside the sum. That is the
# condition of every residual block: 128 numbers of the step, 128 of the rest. What has the trained network made of it?
# Take the first block in its middle, and follow $1 + \gamma$ of a few of its 192 channels over the steps.

# %% mystnb={"image": {"alt": "Curves of 1 + gamma over the diffusion step for three channels of the middle block: one falls from 9 to 0, two rise from between -4 and -6 to 1 and more, through zero. Beside each runs a dotted curve, told nothing but the step, parallel to it."}}
def scales_told(label: int, strength: float = math.nan, turn: float = math.nan) -> Tensor:
    """1 + gamma of the middle block at every step, (1000, 192)."""
    with torch.no_grad():
        told = trained.numbers(trained.label.weight[label][None], torch.tensor([[strength, turn]]))  # their sum
        given = torch.cat([trained.time(sinusoids(steps, trained.config.dim)), told.expand(1000, -1)], dim=1)
        gamma, _ = trained.middle_block1.condition(given).chunk(2, dim=1)
        return 1 + gamma


asked, nothing = scales_told(5, strength=1.4), scales_told(trained.null_label)
plt.figure(figsize=(8, 3.6))
for i, colour, mark in zip(nothing.std(dim=0).topk(3).indices, (BLUE, ORANGE, BLACK), "os^", strict=True):
    plt.plot(asked[:, i], "-", marker=mark, markevery=100, color=colour, label=f"channel {i}")
    plt.plot(nothing[:, i], ":", marker=mark, markevery=(50, 100), markerfacecolor="white", color=colour)
plt.xlabel("step t")
plt.ylabel(r"$1 + \gamma$")
plt.legend()
plt.show()
assert_close(asked - nothing, (asked - nothing)[:1].expand(1000, -1), atol=1e-3, rtol=0)
low, high = nothing.amin(dim=0), nothing.amax(dim=0)
move, turn_over = (high - low > 1).float().mean(), ((low < 0) & (high > 0)).float().mean()
print(f"over the steps, {move:.0%} of the 192 channels move by more than 1, and {turn_over:.0%} change sign")

# %% [markdown]
# *The three channels of the middle block that vary most. Full, filled marks: told "surprise" and a strength. Dotted,
# hollow marks: told nothing but the step. Where $1 + \gamma$ is below 0, the channel is turned over.*
#
# Each dotted curve is parallel to its full one. That is no accident: step and the rest are laid side by side,
# and one matrix makes the scale of them, so in it they only *add*. What depends on both together must come
# later, in the layers that the scaled channels go into. How much does each of them move the scales?

# %%
rms = lambda change: change.square().mean().sqrt().item()
moved = {
    "the step, from its mean over all steps": rms(nothing - nothing.mean(dim=0)),
    "the label, surprise against none": rms(scales_told(5) - nothing),
    "the strength, 1.4 against 0.6": rms(scales_told(5, strength=1.4) - scales_told(5, strength=0.6)),
    "the turn, 0.3 against -0.3": rms(scales_told(5, turn=0.3) - scales_told(5, turn=-0.3)),
}
for name, value in moved.items():
    assert value > 0.01
    print(f"{name:40} moves the scales by {value:.2f}")

# %% [markdown]
# Do the numbers reach the motion? At step 960 the noise hides nearly all. What the network guesses there, it
# guesses from the picture and from what it is told. Turn both numbers, with everything else as it was.

# %%
late = torch.tensor([960])


@cache
@torch.no_grad()
def told(strength: float, turn: float) -> Motion:
    """The guess at step 960 of the clip with the label surprise, when the network is told these numbers."""
    x_t = diffusion.add_noise(x0[5:], late, eps[5:])
    answer = trained(x_t, late, z0[5:], label[5:], torch.tensor([[strength, turn]]))
    return diffusion.unpack_motion(diffusion.to_x0_eps(x_t, late, answer)[0])


# %%
flow_told = {(s, a): told(s, a).flow[0, :, -1] for s in (0.6, 1.0, 1.4) for a in (-0.3, 0.0, 0.3)}
length = {s: flow_told[s, 0.0].square().mean().sqrt().item() for s in (0.6, 1.0, 1.4)}
print("root mean square of the flow by strength:", {s: round(value, 4) for s, value in length.items()})
x, y = lfdm.identity_grid(32, 32)[:, 10:22, 10:22]  # the middle of the face
turned = {}
for a in (-0.3, 0.0, 0.3):
    f = flow_told[1.0, a][:, 10:22, 10:22]  # a clockwise turn by a has the backward flow a (y, -x)
    turned[a] = -((x * f[1] - y * f[0]).mean() / (x**2 + y**2).mean()).item()
print("angle of the turn that fits the flow there best, by turn:", {a: round(value, 2) for a, value in turned.items()})
assert length[1.4] > 1.1 * length[0.6] and turned[0.3] > turned[0.0] > turned[-0.3]

# %%
longest = max(flow.norm(dim=0).max().item() for flow in flow_told.values())


@torch.no_grad()
def picture_told(strength: float, turn: float) -> viz.Picture:
    motion = told(strength, turn)
    frame = Motion(motion.flow[:, :, -1], motion.occlusion[:, :, -1])
    face = model.autoencoder.decode(video[5:, :, 0], frame)[0]
    rgb = lfdm.flow_to_rgb(frame.flow[0], max_norm=longest)
    return viz.image_row([video[5, :, 0], face, rgb], ["the given picture", "last frame of the guess", "its flow"], scale=4)


words = "A face at rest, the face that the network guesses for the last frame, and the flow that leads there"
viz.dial(
    picture_told, alt=words, reach={"strength": (0.5, 1.45), "turn": (-0.4, 0.4)}, strength=[0.6, 1.0, 1.4], turn=[-0.3, 0.0, 0.3]
)

# %% [markdown]
# *Left: the given picture. Middle: the last frame of what the network guesses at step 960, told "surprise" and two
# numbers. Right: the flow of that guess. `strength` opens the mouth; `turn` tilts the head a little.*
#
# The strength is obeyed: between 0.6 and 1.4 the flow grows by a third. The turn is obeyed in its direction, and by
# about a tenth of the angle that was asked, though it moved the scales above more than twice as far: that does not say
# what comes of it. And this is a guess after one look, a mean of all clips that would fit, no sample.
#
# ## Attention within a frame
#
# A convolution of $3 \times 3$ sees its neighbours. When the left brow rises, the right one should too, and
# it is several places away. **Attention** lets every place $i$ ask all places $j$. The question is a query $q_i$.
# Each place holds up a key $k_j$, and the better it fits the query, the more of its value $v_j$ goes into the
# answer $o_i$. All of them are $d$ numbers that linear layers make of the features of a place, its **token**.
# With a bias $B_{ij}$, which attention in space does without:
#
# $$A_{ij} = \mathrm{softmax}_j\!\left(\frac{q_i \cdot k_j}{\sqrt d} + B_{ij}\right), \qquad o_i = \sum_j A_{ij}\, v_j$$

# %%
def attend_v1(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q, k, v (n, d) -> o (n, d), place by place."""
    o = torch.zeros_like(v)
    for i in range(len(q)):
        score = torch.tensor([q[i] @ k[j] / math.sqrt(q.shape[1]) for j in range(len(k))])
        A_i = score.exp() / score.exp().sum()
        for j in range(len(k)):
            o[i] += A_i[j] * v[j]
    return o


def attend_v2(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """q, k, v (..., n, d), bias (..., n, n) -> o (..., n, d)."""
    score = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    A = (score if bias is None else score + bias).softmax(dim=-1)
    return A @ v


q, k, v = torch.randn(3, 2, 4, 9, 8, generator=torch.Generator().manual_seed(6))  # 2 frames, 4 heads, 9 places
bias = torch.randn(4, 9, 9, generator=torch.Generator().manual_seed(7))
print("the loop and the matrices:", apart(attend_v2(q, k, v)[0, 0], attend_v1(q[0, 0], k[0, 0], v[0, 0])))
assert_close(attend_v2(q, k, v, bias), F.scaled_dot_product_attention(q, k, v, attn_mask=bias), atol=1e-4, rtol=1e-3)
print("to the library, with a bias:", apart(attend_v2(q, k, v, bias), attention.attend(q, k, v, bias)))

# %% [markdown]
# Why $\sqrt d$? The product of two random vectors, each of $d$ numbers of variance 1, has variance $d$.
# Without the root, scores are larger the more features there are, and softmax picks one winner before
# anything is learned.
#
# Attention does it several times side by side, in **heads**: each has its own $q, k, v$. All three come from
# one matrix, and a second one brings the heads together. Like the block above it is residual: what it found
# is added to its input.

# %%
class SpatialAttention(nn.Module):
    def __init__(self, dim: int, heads: int, head_dim: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)  # the features of each place, to mean 0, variance 1
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, dim)

    def forward(self, x: Tensor) -> Tensor:  # (b T) c h w
        tokens = self.norm(rearrange(x, "bT c h w -> bT (h w) c"))
        pattern = "bT n (three heads d) -> three bT heads n d"
        q, k, v = rearrange(self.to_qkv(tokens), pattern, three=3, heads=self.heads)
        o = self.to_out(rearrange(self.read(q, k, v), "bT heads n d -> bT n (heads d)"))
        return x + rearrange(o, "bT (h w) c -> bT c h w", h=x.shape[2])

    def read(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend_v2(q, k, v)

# %%
shuffle = torch.randperm(36, generator=torch.Generator().manual_seed(8))
shuffled = lambda x: x.flatten(2)[..., shuffle].unflatten(2, (6, 6))
theirs = attention.SpatialAttention(16, 2, 8)
full = twin(theirs, SpatialAttention(16, 2, 8))
with torch.no_grad():
    print("to the library:", apart(full(toy), theirs(toy)))
    print("places shuffled before and after:", apart(full(shuffled(toy)), shuffled(full(toy))))

# %% [markdown]
# The last check is a warning: attention does not know *where* a place is. In space the convolutions tell it:
# at the border they see zeros, and layers further in learn from that. In time nothing will, unless we do.
#
# Our network takes full attention at $8 \times 8$ and $4 \times 4$ places, where it is cheap, and none at
# $16 \times 16$. The published code takes a cheaper kind, *linear*, at every level, and full attention in the middle.
#
# ### Linear attention
#
# *May be skipped on a first reading; run the cells, the network below can be built with it.*
#
# Full attention compares $n$ places with $n$ places: $n^2$. {cite:t}`shen2021efficient` avoid the square.
# Take the softmax of the keys over places, and of the queries over features, *before* they meet. Then the
# order of the products is free:
#
# $$M = \sum_j \mathrm{softmax}_j(k_j)\, v_j^\top, \quad o_i = \frac{1}{\sqrt d}\, \mathrm{softmax}(q_i)^\top M$$
#
# ($1 / \sqrt d$ only makes the answers smaller here.) $M$ is a summary of the frame, $d \times d$ numbers whatever its size. Each of its $d$ rows is a mean of the
# values, over the places that one feature of the keys selects. Each query mixes those rows.

# %%
def read_v1(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As attention is written: first all pairs of places, n x n."""
    pairs = q.softmax(dim=-1) @ k.softmax(dim=-2).transpose(-1, -2)
    return pairs @ v / math.sqrt(q.shape[-1])


class LinearSpatialAttention(SpatialAttention):
    def read(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        M = k.softmax(dim=-2).transpose(-1, -2) @ v  # bT heads d d
        return q.softmax(dim=-1) @ M / math.sqrt(q.shape[-1])


theirs = attention.LinearSpatialAttention(16, 2, 8)
linear = twin(theirs, LinearSpatialAttention(16, 2, 8))
with torch.no_grad():
    assert_close(linear.read(q, k, v), read_v1(q, k, v))  # both orders of the products
    print("to the library:", apart(linear(toy), theirs(toy)))
pairs = q.softmax(dim=-1) @ k.softmax(dim=-2).transpose(-1, -2)
assert_close(pairs.sum(dim=-1), torch.ones(2, 4, 9))  # shares of 1, as in full attention
rank = torch.linalg.matrix_rank(pairs[0, 0], rtol=1e-5).item()
assert rank == 8
print(f"a matrix of {pairs.shape[-1]} x {pairs.shape[-1]} pairs, of rank {rank}")

# %% [markdown]
# What is the price? A matrix of pairs that is a product of $n \times d$ and $d \times n$ has rank $d$ at
# most: the 8 that was printed.
#
# If the softmaxes are sharp, every feature of the keys selects one place, so $d$ places at most can be read. Give both
# the easiest task there is: every place asks for itself, with a query that is its own key. Who gets its own value back?

# %% mystnb={"image": {"alt": "Left: share of places found against their number. Full stays at one. Linear falls from about 0.7 at 16 places to a few percent at 1024: below a dotted line of 32 over n at first, on it from 256 places on. Right: multiply-adds against the number of places on logarithmic axes; the lines cross at 32 places, full rises twice as steeply."}}
def share_found(read, n: int, d: int = 32, gain: float = 4.0) -> float:
    """Share of n places that get back something most like their own value. A gain of 4 makes the softmaxes sharp."""
    g = torch.Generator().manual_seed(9)
    k, v = gain * torch.randn(n, d, generator=g), torch.randn(n, d, generator=g)
    o = F.normalize(read(k, k, v), dim=-1) @ F.normalize(v, dim=-1).T
    return (o.argmax(dim=1) == torch.arange(n)).float().mean().item()


places, reads = [16, 64, 256, 1024], {"full": attend_v2, "linear": linear.read}
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
for (name, read), style in zip(reads.items(), ("o-", "s--"), strict=True):
    found = [share_found(read, n) for n in places]
    counted = [multiply_adds(read, *torch.empty(3, n, 32, device="meta").unbind()) for n in places]
    assert counted == [2 * n * n * 32 if name == "full" else 2 * n * 32 * 32 for n in places]
    left.semilogx(places, found, style, color=BLACK, label=name)
    right.loglog(places, counted, style, color=BLACK, label=name)
    print(f"{name}: of {places} places it finds", [f"{share:.0%}" for share in found])
left.semilogx(places, [min(1, 32 / n) for n in places], ":", color=ORANGE, label="32 / n")
left.set(xlabel="places n", ylabel="share that finds itself")
right.set(xlabel="places n", ylabel="multiply-adds")
left.legend()
right.legend()
plt.show()

# %% [markdown]
# *Left: linear attention (squares) finds no more than $d = 32$ places, however many there are. Right: the price
# of full attention (circles). Linear attention tells every place what is going on in its frame. It cannot point
# at one place among many.*

# %% [markdown]
# ## Attention through time
#
# Now fold the other way: every place is a sequence of its own, and its tokens are the frames. Version 1 is
# spatial attention with other words in the pattern: "places" are now the frames. It has the fault that we
# were warned of.

# %%
def temporal_v1(module: SpatialAttention, x: Tensor, count: int) -> Tensor:
    """Attention over the frames of every place, by a module that believes it works in space."""
    sequences = rearrange(x, "(b T) c h w -> (b h w) c T 1", T=count)  # frames as the rows of an image, T x 1
    return rearrange(module(sequences), "(b h w) c T 1 -> (b T) c h w", h=x.shape[2], w=x.shape[3])


order = torch.tensor([2, 0, 3, 1])  # shuffle the frames of both clips
reorder = lambda x: rearrange(rearrange(x, "(b T) c h w -> b T c h w", T=4)[:, order], "b T c h w -> (b T) c h w")
with torch.no_grad():
    print("frames shuffled before and after:", apart(temporal_v1(full, reorder(toy), 4), reorder(temporal_v1(full, toy, 4))))

# %% [markdown]
# To this network a clip is a bag of frames. There are three cures: add a learned number per distance (relative
# bias), tell every token its frame (embedding), or turn queries and keys (rotary). Our network uses the first
# two, the published code the first and the third.
#
# ### Relative position bias
#
# A table holds a learned number per head and distance, which is added to the score as $B_{ij}$. The scheme is
# that of the language model T5 {cite:p}`raffel2020t5`. The distance is $r = j - i$. The table has 32 rows, 16 for
# either direction. Of these 16, half are exact: distances below 8 have a row of their own. The other 8 rows share
# the distances from 8 to 32 evenly in the logarithm; from 8 to 32 is a factor of 4, hence $\log_4$. What is farther
# away falls into the last row (and row 16 stays empty, since distance 0 has row 0):
#
# $$\mathrm{bucket}(r) = 16 \cdot [r > 0] + \begin{cases} |r| & |r| < 8 \\
# \min\!\big(15,\; 8 + \lfloor 8 \log_4 (|r| / 8) \rfloor\big) & \text{else} \end{cases}$$

# %%
class RelativePositionBias(nn.Module):
    def __init__(self, heads: int):
        super().__init__()
        self.table = nn.Embedding(32, heads)

    def bucket(self, r: Tensor) -> Tensor:
        far = 8 + (8 * torch.log(r.abs().clamp(min=1) / 8) / math.log(4)).long()
        return 16 * (r > 0) + torch.where(r.abs() < 8, r.abs(), far.clamp(max=15))

    def forward(self, count: int) -> Tensor:  # heads T T
        frame = torch.arange(count, device=self.table.weight.device)
        return rearrange(self.table(self.bucket(frame[None] - frame[:, None])), "i j heads -> heads i j")


theirs = attention.RelativePositionBias(2)
relative = twin(theirs, RelativePositionBias(2))
r = torch.arange(-40, 41)
assert torch.equal(relative.bucket(r), theirs.bucket(r))
assert_close(relative(40)[:, 3, 5], relative(40)[:, 30, 32])  # the distance counts ...
assert (relative(40)[:, 3, 5] != relative(40)[:, 5, 3]).any()  # ... and its direction
assert_close(relative(40), theirs(40))
for distance in (0, -7, -8, -16, -27, -40, 7):
    print(f"distance {distance:3d}: row {relative.bucket(torch.tensor(distance)).item()}")

# %% mystnb={"image": {"alt": "Left: the row of the table for every distance from -40 to 40: two stairs, steps of one up to distance 7, longer steps beyond, flat from 27 on. Right: a random bias table as a map of 16 by 16 frames, constant along diagonals."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
left.step(r, relative.bucket(r), color=BLACK, where="mid")
left.set(title="row of a distance", xlabel="r = j - i", ylabel="row of the table")
right.imshow(relative(16)[0].detach(), cmap="gray")
right.set(title="the bias of a random table", xlabel="frame j", ylabel="frame i")
plt.show()
used = relative.bucket(torch.arange(-15, 16)).unique()
assert (relative.bucket(r[r > 0]).diff() >= 0).all() and len(used) < 31
print(f"16 frames have 31 distances, and use {len(used)} of the 32 rows")

# %% [markdown]
# *Left: up to seven frames apart every distance has its row, farther ones share. Right: a bias knows the
# diagonal, that is the distance, and nothing else.*
#
# ### Which frame is which
#
# Distances do not say which frame is the *first*. But the first frame is special: it is the given picture, at
# rest. So our network has a cure that the published one has not: sinusoids of the frame's number, through a
# linear layer, added to every token (with $P = 100$). What all temporal attentions share is computed once, in
# `FramePositions`; `cos`, `sin` and `rotate_v2` belong to the rotary embedding below; our network has none.

# %%
class Frames(NamedTuple):
    count: int
    cos: Tensor | None  # (T, head_dim)
    sin: Tensor | None
    bias: Tensor  # (heads, T, T)
    embedding: Tensor | None  # (T, embedding_dim)


class FramePositions(nn.Module):
    def __init__(self, heads: int, rotary_dim: int | None, embedding_dim: int | None):
        super().__init__()
        self.rotary_dim, self.embedding_dim = rotary_dim, embedding_dim
        self.bias = RelativePositionBias(heads)

    def forward(self, count: int) -> Frames:
        device, cos, sin, embedding = self.bias.table.weight.device, None, None, None
        if self.rotary_dim is not None:
            angle = rotary_angles(count, self.rotary_dim, device)
            cos, sin = angle.cos(), angle.sin()
        if self.embedding_dim is not None:
            embedding = sinusoids(torch.arange(count, device=device), self.embedding_dim, max_period=100.0)
        return Frames(count, cos, sin, self.bias(count), embedding)

# %%
class TemporalAttention(nn.Module):
    def __init__(self, dim: int, heads: int, head_dim: int, embedding_dim: int | None):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.frame = None if embedding_dim is None else nn.Linear(embedding_dim, dim)
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, dim)

    def forward(self, x: Tensor, frames: Frames) -> Tensor:  # (b T) c h w
        q, k, v = self.qkv(x, frames)
        o = rearrange(attend_v2(q, k, v, frames.bias), "n heads T d -> n T (heads d)")
        return x + rearrange(self.to_out(o), "(b h w) T c -> (b T) c h w", h=x.shape[2], w=x.shape[3])

    def qkv(self, x: Tensor, frames: Frames) -> list[Tensor]:
        tokens = self.norm(rearrange(x, "(b T) c h w -> (b h w) T c", T=frames.count))
        if self.frame is not None:
            tokens = tokens + self.frame(frames.embedding)
        pattern = "n T (three heads d) -> three n heads T d"
        q, k, v = rearrange(self.to_qkv(tokens), pattern, three=3, heads=self.heads)
        if frames.cos is not None:
            q, k = rotate_v2(q, frames.cos, frames.sin), rotate_v2(k, frames.cos, frames.sin)
        return q, k, v

# %% [markdown]
# ### Rotary embedding
#
# *May be skipped on a first reading; run the cells, the network below can be built with it.*
#
# {cite:t}`su2021rope` turn every pair of features of a query or key by an angle that grows with its frame
# $i$:
#
# $$R_i = \begin{pmatrix} \cos \omega i & -\sin \omega i \\ \sin \omega i & \cos \omega i \end{pmatrix}, \qquad
# (R_i\, q) \cdot (R_j\, k) = q \cdot (R_{j - i}\, k)$$
#
# The second equation holds because turning both by the same angle changes no product. So frames are told
# apart by their distance $j - i$ alone. Each of the $d / 2$ pairs has a frequency $\omega$ of its own, from 1
# down to nearly $1 / 10000$.

# %%
def rotary_angles(count: int, dim: int, device=None) -> Tensor:
    """(count, dim): by how much frame i turns each feature; a pair is (feature f, feature f + dim / 2)."""
    omega = 10_000.0 ** (-torch.arange(0, dim, 2, device=device) / dim)
    return (torch.arange(count, device=device)[:, None] * omega).repeat(1, 2)


def rotate_v1(x: Tensor, angle: Tensor) -> Tensor:
    """x (T, d), frame by frame and pair by pair, by the matrix."""
    turned, half = torch.empty_like(x), x.shape[1] // 2
    for i in range(len(x)):
        for f in range(half):
            cos, sin = math.cos(angle[i, f]), math.sin(angle[i, f])
            R = torch.tensor([[cos, -sin], [sin, cos]])
            turned[i, [f, f + half]] = R @ x[i, [f, f + half]]
    return turned


def rotate_v2(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (..., T, d), cos and sin (T, d)."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin

# %%
angle = rotary_angles(16, 32)
cos, sin = angle.cos(), angle.sin()
assert_close(angle, attention.rotary_angles(16, 32, torch.device("cpu")))
q16, k16 = torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(10))
assert_close(rotate_v2(q16, cos, sin), rotate_v1(q16, angle), atol=1e-5, rtol=1e-4)
assert_close(rotate_v2(q16, cos, sin), attention.rotate(q16, cos, sin), atol=1e-5, rtol=1e-4)

turned_q, turned_k = (rotate_v2(vector[0].expand(16, 32), cos, sin) for vector in (q16, k16))  # one q, one k
products = turned_q @ turned_k.T  # frame of q, frame of k
for i, j in ((0, 2), (9, 11), (13, 15), (2, 0)):
    print(f"product of frame {i}'s query and frame {j}'s key: {products[i, j]:.2f}")
assert max(products.diagonal(distance).std(correction=0) for distance in range(-15, 16)) < 1e-4
assert_close(turned_q.norm(dim=-1), q16[0].norm().expand(16))  # turning changes no length

# %%
by_order = []
for rotary, embedding in ((None, None), (8, None), (None, 16), (8, 16)):  # the bias and every combination of the other cures
    theirs = attention.TemporalAttention(16, 2, 8, embedding), attention.FramePositions(2, rotary, embedding)
    temporal = twin(theirs[0], TemporalAttention(16, 2, 8, embedding))
    positions = twin(theirs[1], FramePositions(2, rotary, embedding))
    with torch.no_grad():
        assert_close(temporal(toy, positions(4)), theirs[0](toy, theirs[1](4)), atol=1e-4, rtol=1e-3)
        difference = temporal(reorder(toy), positions(4)) - reorder(temporal(toy, positions(4)))
    by_order.append(difference.abs().max().item())
assert min(by_order) > 1e-3  # time has an order now
print(f"all four equal the library's; shuffled frames now change the answers by {min(by_order):.1f} to {max(by_order):.1f}")

# %% [markdown]
# ### Does everything still see everything?
#
# The parts were split. Put them in a row, and ask autograd which inputs change one output: row 3, column 3 of
# frame 4, in a clip of 9 frames.

# %% mystnb={"image": {"alt": "Four maps of 9 frames by 7 columns; dark cells are seen. Convolution: three columns of frame 4. Spatial attention: all of frame 4. Temporal attention: column 3 in all frames. Space, then time: every cell."}}
torch.manual_seed(1)
x = torch.randn(9, 16, 7, 7)
temporal, positions = TemporalAttention(16, 2, 8, None), FramePositions(2, 8, None)
looks = {
    "3 x 3 convolution": nn.Conv2d(16, 16, 3, padding=1),
    "spatial attention": full,
    "temporal attention": lambda x: temporal(x, positions(9)),
    "space, then time": lambda x: temporal(full(x), positions(9)),
}
fig, axes = plt.subplots(1, 4, figsize=(12, 3.9))
counts = {}
for ax, (name, look) in zip(axes, looks.items(), strict=True):
    x.grad = None
    look(x.requires_grad_())[4, :, 3, 3].sum().backward()
    seen = x.grad.abs().sum(dim=1) > 0  # frames, rows, columns
    counts[name] = int(seen.sum())
    ax.imshow(seen[:, 3], cmap="Greys", vmin=0, vmax=1.2)
    ax.plot(3, 4, "D", color=ORANGE)
    ax.set(title=name, xlabel="column", ylabel="frame")
plt.show()
assert list(counts.values()) == [9, 49, 9, 441]
print("places that one output sees:", counts)

# %% [markdown]
# *Dark cells influence the place with the diamond; rows other than 3 are not drawn. Two steps, each of them
# narrow, reach all 441 places: first everything in a frame is gathered at each place, then the frames.*
#
# What is lost? To ask another place *in another frame* by content takes two steps now. First each frame gathers, at this
# row and column, what it thinks useful; only then does time ask. The gathering cannot know the question.

# %% [markdown]
# ## How the picture gets in
#
# The motion has $32 \times 32$ places, $z_0$ has $16 \times 16$, with 64 channels. So the network first makes
# **patches** of the motion: $2 \times 2$ places of 3 channels become one place of 12. It works at
# $16 \times 16$, a quarter of the cost, and at the end unfolds its 12 answers into $2 \times 2$ places again. (Answering
# noise, it would have to carry twelve unrelated numbers from end to end. Twelve of motion are nearly alike, and can be
# summed up: hence $\mathbf x_0$, as [chapter 9](09_latent_flow_diffusion.ipynb) measures.)
#
# On top of the patches $\tilde{\mathbf x}_t$ of every frame come its index $\tau$, a number from -1 to 1, and
# $z_0$, and the first convolution sees all of it. With
# kernels $\Theta_{\mathbf x}$, $\Theta_\tau$ and $\Theta_z$ for the three parts, and $*$ for convolution:
#
# $$\Theta * [\tilde{\mathbf x}_t, \tau, z_0] = \Theta_{\mathbf x} * \tilde{\mathbf x}_t + \Theta_\tau * \tau + \Theta_z * z_0$$
#
# A convolution is linear, so both sides are the same, and the second is cheaper: $z_0$ is equal in all
# frames, so convolve it once, and add.

# %%
def frame_index(count: int, num_frames: int, device=None) -> Tensor:
    return 2 * torch.arange(count, device=device) / max(num_frames - 1, 1) - 1


class Entrance(nn.Module):
    def __init__(self, config: lfdm.UNet3DConfig):
        super().__init__()
        self.config = config
        size = dict(kernel_size=config.init_kernel, padding=config.init_kernel // 2)
        self.conv_motion = nn.Conv2d(config.channels * config.patch**2, config.dim, **size)
        self.conv_features = nn.Conv2d(config.feature_channels, config.dim, **size, bias=False)
        self.conv_index = nn.Conv2d(1, config.dim, **size, bias=False) if config.frame_index else None

    def conv_in(self, x: Tensor, features: Tensor) -> Tensor:
        """x (b, c, T, p h, p w), features (b, f, h, w) or one map for each frame (b, f, T, h, w) -> (b T, dim, h, w)."""
        p, count = self.config.patch, x.shape[2]
        patches = rearrange(x, "b c T (h py) (w px) -> (b T) (c py px) h w", py=p, px=p)
        y = rearrange(self.conv_motion(patches), "(b T) d h w -> b T d h w", T=count)
        maps = features[:, :, None] if features.ndim == 4 else features
        of_z0 = self.conv_features(rearrange(maps, "b f n h w -> (b n) f h w"))  # n is 1, or T
        y = y + rearrange(of_z0, "(b n) d h w -> b n d h w", b=len(x))
        if self.conv_index is not None:
            index = frame_index(count, self.config.num_frames, x.device)
            y = y + self.conv_index(repeat(index, "T -> T 1 h w", h=y.shape[-2], w=y.shape[-1]))
        return rearrange(y, "b T d h w -> (b T) d h w")

# %%
x_t, _ = noisy_and_guess(500)
entrance = Entrance(trained.config)
entrance.load_state_dict({name: value for name, value in trained.state_dict().items() if name in entrance.state_dict()})
with torch.no_grad():
    summed = entrance.conv_in(x_t, z0)
    per_frame = repeat(z0, "b f h w -> b f T h w", T=16)
    print("to the library:", apart(summed, trained.conv_in(x_t, z0)))
    assert_close(entrance.conv_in(x_t, per_frame), summed, atol=1e-4, rtol=1e-3)

    patches = rearrange(x_t, "b c T (h py) (w px) -> b (c py px) T h w", py=2, px=2)
    index = repeat(frame_index(16, 16), "T -> b 1 T h w", b=6, h=16, w=16)
    on_top = rearrange(torch.cat([patches, index, per_frame], dim=1), "b c T h w -> (b T) c h w")
    kernels = torch.cat([entrance.conv_motion.weight, entrance.conv_index.weight, entrance.conv_features.weight], dim=1)
    print("to both sides of the equation:", apart(F.conv2d(on_top, kernels, entrance.conv_motion.bias, padding=3), summed, 1e-3))
once, every = (multiply_adds(entrance.conv_in, x_t, maps) for maps in (z0, per_frame))
print(f"{on_top.shape[1]} channels on top of each other; frame index", [round(i, 2) for i in frame_index(16, 16)[[0, 1, 15]].tolist()])
print(f"convolving z0 in every frame would cost {every / once:.1f} times as much")

# %% [markdown]
# (The library's entrance has one more line: a $z_0$ that is finer than the places is averaged to their size.)
#
# Does the trained network use all that it is given? Take something away, and see how much its loss
# rises: another person's $z_0$, an empty one, no label, a wrong one, no numbers.

# %%
nobody = torch.full_like(label, trained.null_label)
changes = {
    "empty $z_0$": (0 * z0, label, numbers),
    "another's $z_0$": (z0.roll(2, dims=0), label, numbers),
    "wrong label": (z0, label.roll(2), numbers),
    "no label": (z0, nobody, numbers),
    "no numbers": (z0, label, torch.full_like(numbers, math.nan)),
}
listened = [100, 500, 950]


@torch.no_grad()
def loss(step: int, features: Tensor, label: Tensor, numbers: Tensor) -> float:
    return diffusion.loss_at(trained, x0, torch.full((6,), step), eps, features, label, numbers).item()


told_all = [loss(step, z0, label, numbers) for step in listened]
rise = {}
print("times the loss at step  " + "".join(f"{step:8d}" for step in listened))
for name, given in changes.items():
    rise[name] = [loss(step, *given) / base for step, base in zip(listened, told_all, strict=True)]
    print(f"{name:24}" + "".join(f"{value:8.1f}" for value in rise[name]))
assert rise["wrong label"][-1] > 1.2 * rise["wrong label"][0] and min(rise["empty $z_0$"]) > 1.2

# %% [markdown]
# An empty $z_0$, which training has never shown, costs most, at every step. Another person's costs little, for all
# faces here have brows and mouth in nearly the same places. The label counts where noise hides the motion; once the
# motion can be seen, nobody needs to be told what it is. Without the numbers next to nothing is lost here; perhaps
# because these six clips lie near the middle of what training has shown. (Another draw of the noise moves the last
# column by up to 0.2.)

# %% [markdown]
# ## The whole network
#
# A U-Net {cite:p}`ronneberger2015unet` has a way down, where the maps shrink and the channels grow, and a way
# up. What was seen at each level on the way down is kept, and laid beside the way up: the *skips*. A level
# is: residual blocks, attention in space, attention in time. Between levels a convolution of stride 2 halves
# height and width. On the way up each place is repeated in both directions, so that one becomes $2 \times 2$, and a
# convolution smooths it. (`resize` and `conv` are the library's names: weights are loaded by name.)

# %%
def residual_block(config: lfdm.UNet3DConfig, dim: int, dim_out: int) -> ResidualBlock:
    condition_dim = 8 * config.dim  # 4 for the step, 4 for what is told
    return ResidualBlock(dim, dim_out, condition_dim, config.norm_groups)


def spatial_attention(config: lfdm.UNet3DConfig, dim: int, kind: str) -> nn.Module:
    kinds = {"linear": LinearSpatialAttention, "full": SpatialAttention}
    return nn.Identity() if kind == "none" else kinds[kind](dim, config.heads, config.head_dim)


def temporal_attention(config: lfdm.UNet3DConfig, dim: int) -> TemporalAttention:
    return TemporalAttention(dim, config.heads, config.head_dim, config.dim if config.frame_embedding else None)


def upsample(dim: int) -> nn.Sequential:
    grow = nn.Sequential()
    grow.add_module("resize", nn.Upsample(scale_factor=2, mode="nearest"))
    grow.add_module("conv", nn.Conv2d(dim, dim, 3, padding=1))
    return grow

# %%
class Level(nn.Module):
    def __init__(self, config: lfdm.UNet3DConfig, dim: int, dim_out: int, kind: str):
        super().__init__()
        inputs = [dim] + [dim_out] * (config.blocks - 1)
        self.blocks = nn.ModuleList(residual_block(config, i, dim_out) for i in inputs)
        self.spatial, self.temporal = spatial_attention(config, dim_out, kind), temporal_attention(config, dim_out)

    def forward(self, x: Tensor, condition: Tensor, frames: Frames) -> Tensor:
        for block in self.blocks:
            x = block(x, condition, frames.count)
        return self.temporal(self.spatial(x), frames)


small = lfdm.UNet3DConfig(feature_channels=5, dim=16, dim_mults=(1, 2), blocks=2, heads=2, head_dim=8, num_frames=4)
theirs = unet3d.Level(small, 16, 32, "linear")
level, positions = twin(theirs, Level(small, 16, 32, "linear")), FramePositions(2, None, 16)
given = torch.randn(2, 128, generator=torch.Generator().manual_seed(11))
with torch.no_grad():
    expected = theirs(toy, given, positions(4), memory.keeping_all)  # see "Time for memory"
    print("to the library:", apart(level(toy, given, positions(4)), expected))
print(f"one level: {tuple(toy.shape)} to {tuple(expected.shape)}; upsampled: {tuple(upsample(16)(toy).shape)}")

# %% [markdown]
# And now everything. Each name in this cell you have built above.

# %% tags=["assembly"]
class UNet(Entrance):
    def __init__(self, config: lfdm.UNet3DConfig):
        super().__init__(config)
        dim = config.dim
        dims = [dim, *(dim * mult for mult in config.dim_mults)]
        pairs = list(zip(dims[:-1], dims[1:], config.spatial_kinds, strict=True))

        self.time = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, 4 * dim))
        self.label = nn.Embedding(config.num_labels + 1, 4 * dim)  # the last row: no label
        self.numbers = nn.ModuleList(NumberEmbedding(known, 4 * dim) for known in config.numbers)
        rotary_dim = config.head_dim if config.rotary else None
        self.positions = FramePositions(config.heads, rotary_dim, dim if config.frame_embedding else None)
        self.temporal = temporal_attention(config, dim)
        self.down = nn.ModuleList(Level(config, before, after, kind) for before, after, kind in pairs)
        self.shrink = nn.ModuleList(nn.Conv2d(dim, dim, 4, stride=2, padding=1) for dim in dims[1:-1])
        self.middle_block1 = residual_block(config, dims[-1], dims[-1])
        self.middle_spatial = spatial_attention(config, dims[-1], "full")
        self.middle_temporal = temporal_attention(config, dims[-1])
        self.middle_block2 = residual_block(config, dims[-1], dims[-1])
        self.up = nn.ModuleList(Level(config, 2 * after, before, kind) for before, after, kind in reversed(pairs))
        self.grow = nn.ModuleList(upsample(dim) for dim in dims[-2:0:-1])
        self.last_block = residual_block(config, 2 * dim, dim)
        self.head = nn.Conv2d(dim, config.channels * config.patch**2, 1)
        nn.init.zeros_(self.head.weight)  # a network that knows nothing answers 0
        nn.init.zeros_(self.head.bias)
        self.null_label = config.num_labels

    def forward(self, x: Tensor, t: Tensor, features: Tensor, label: Tensor, numbers: Tensor | None = None) -> Tensor:
        """x (b, c, T, p h, p w), t (b,), features (b, f, h, w), label (b,), numbers (b, n) or none -> like x."""
        frames, p = self.positions(x.shape[2]), self.config.patch
        numbers = x.new_full((len(x), len(self.numbers)), math.nan) if numbers is None else numbers
        told = self.label(label) + sum(embed(value) for embed, value in zip(self.numbers, numbers.T, strict=True))
        condition = torch.cat([self.time(sinusoids(t, self.config.dim)), told], dim=-1)  # b, 8 dim

        y = first = self.temporal(self.conv_in(x, features), frames)  # ours: (b T) 32 16 16
        skips = []
        for level, shrink in zip(self.down, [*self.shrink, nn.Identity()], strict=True):
            y = level(y, condition, frames)  # (b T) 32 16 16, then 96 8 8, then 192 4 4
            skips.append(y)
            y = shrink(y)  # half the height and width, but not behind the last

        y = self.middle_block1(y, condition, frames.count)
        y = self.middle_temporal(self.middle_spatial(y), frames)
        y = self.middle_block2(y, condition, frames.count)  # (b T) 192 4 4

        for level, grow in zip(self.up, [*self.grow, nn.Identity()], strict=True):
            y = grow(level(torch.cat([y, skips.pop()], dim=1), condition, frames))  # 384 in, 96 out; 192, 32; 64, 32

        y = self.head(self.last_block(torch.cat([y, first], dim=1), condition, frames.count))  # (b T) 12 16 16
        return rearrange(y, "(b T) (c py px) h w -> b c T (h py) (w px)", T=frames.count, py=p, px=p)

# %% [markdown]
# The proof: the shipped weights fit, name by name, and the answers are the library's. Then other
# configurations, with random weights; the last has the published kinds of blocks.

# %%
unet = twin(trained, UNet(trained.config)).eval().requires_grad_(False)
partly = numbers.where(torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0], [1, 1], [1, 0]]) > 0, math.nan)  # some not given
with torch.no_grad():
    for step in (20, 500, 980):
        given = (noisy_and_guess(step)[0], torch.full((6,), step), z0, label, partly)
        print(f"trained weights, step {step:3d}, to the library:", apart(unet(*given), trained(*given), 2e-3))

torch.manual_seed(2)
inputs = torch.randn(2, 3, 4, 8, 8), torch.tensor([3, 700]), torch.randn(2, 5, 8, 8), torch.tensor([0, 6])
for change in dict(frame_index=False), dict(rotary=True), dict(rotary=True, spatial_attention=("linear", "linear")):
    config = lfdm.UNet3DConfig(**(vars(small) | change))
    theirs = lfdm.UNet3D(config)
    nn.init.normal_(theirs.head.weight)  # zero at first: then every answer would agree
    with torch.no_grad():
        print("random weights,", ", ".join(change), "changed:", apart(twin(theirs, UNet(config))(*inputs), theirs(*inputs), 1e-3))
assert UNet(small)(*inputs).abs().max() == 0

# %% [markdown]
# Why does `head`, the last convolution, start at zero? Whatever it is asked for, its targets are numbers of size
# about 1. A random first answer would be worse than none, and the first steps of training would be spent on unlearning it.
# (The first step teaches nothing but `head`, since zeros let no gradient pass; after it, they are zeros no more.)
#
# ## Shapes, parameters, cost, memory
#
# Where are the weights, where is the work, and where goes the memory of training? The library's `census` asks
# each outermost part of some kinds, here residual blocks, attentions and single convolutions, for four things:
# the shape of its answer, its parameters, its multiply-adds by the counter from above, and the bytes that it
# keeps for the backward pass. Two of these you can check by hand.

# %%
KINDS = (ResidualBlock, SpatialAttention, TemporalAttention, nn.Conv2d)
unet.requires_grad_(True)
one_clip = x_t[:1], torch.tensor([500]), z0[:1], label[:1], numbers[:1]
rows = census(unet, KINDS, *one_clip)
assert rows["down.0.blocks.0"].shape == (16, 32, 16, 16) and rows["middle_block1"].shape == (16, 192, 4, 4)

T, hw, dim, told_by, inner = 16, 16 * 16, 32, 8 * 32, 2 * 32  # frames, places, channels, condition, heads x features
by_hand = {
    "down.0.blocks.0": 2 * 9 * dim * dim * T * hw + told_by * 2 * dim,  # two convolutions, and the condition's matrix
    "temporal": T * hw * dim * 4 * inner + T * dim * dim + 2 * hw * T * T * inner,  # q, k, v, out; embedding; products
}
for name, products in by_hand.items():
    assert rows[name].multiply_adds == products
    print(f"{name:16} by hand {products:,} multiply-adds, counted {rows[name].multiply_adds:,}")
total, in_parts = sum(p.numel() for p in unet.parameters()), sum(row.parameters for row in rows.values())
print(f"{len(rows)} parts, {in_parts:,} of {total:,} parameters; the rest is condition and bias table")

# %% [markdown]
# Now the bill, by place and kind of part.

# %%
KIND_OF = {ResidualBlock: "residual blocks", SpatialAttention: "attention in space", TemporalAttention: "attention in time"}
HATCHES = {"residual blocks": "", "attention in space": "//", "attention in time": "..", "convolutions alone": "xx"}


PLACE_OF = {"temporal": "entrance", "conv": "entrance", "middle": "middle", "last": "last", "head": "head"}
SIDE_OF = {"down": "down", "shrink": "down", "up": "up", "grow": "up"}  # what changes the size counts to its level
QUANTITIES = {"parameters": "parameters", "multiply_adds": "multiply-adds", "kept": "bytes kept"}


def place_of(name: str) -> str:
    part, *rest = name.split(".")
    return f"{SIDE_OF[part]}.{rest[0]}" if part in SIDE_OF else PLACE_OF[part.split("_")[0]]


def bill(rows: dict[str, Cost], quantity: str) -> dict[tuple[str, str], int]:
    found = {}
    for name, row in rows.items():
        at = place_of(name), KIND_OF.get(type(unet.get_submodule(name)), "convolutions alone")
        found[at] = found.get(at, 0) + getattr(row, quantity)
    return found

# %%
print(f"{'':20}{'parameters':>12}{'multiply-adds':>16}{'kept, MB':>10}")
for kind in HATCHES:
    sums = [sum(n for (_, k), n in bill(rows, quantity).items() if k == kind) for quantity in QUANTITIES]
    print(f"{kind:20}{sums[0]:12,}{sums[1]:16,}{round(sums[2] / 1e6):10}")

# %% mystnb={"image": {"alt": "Three groups of stacked horizontal bars by place, from the entrance over down, middle and up to last. Parameters: most in the middle and the deepest levels. Multiply-adds: spread, largest in the middle. Kept memory: mostly at the 16 by 16 levels, and there mostly by attention in time and residual blocks."}} tags=["hide-input"]
at = ["entrance", "down.0", "down.1", "down.2", "middle", "up.0", "up.1", "up.2", "last", "head"]
fig, axes = plt.subplots(1, 3, figsize=(12, 4.2), sharey=True)
for ax, (quantity, title) in zip(axes, QUANTITIES.items(), strict=True):
    found, left_end = bill(rows, quantity), torch.zeros(len(at))
    for (kind, hatch), colour in zip(HATCHES.items(), ("#d8dde3", "#7f9bb5", "#f4e3c3", "#ffffff"), strict=True):
        share = torch.tensor([100.0 * found.get((place, kind), 0) for place in at]) / sum(found.values())
        ax.barh(at, share, left=left_end, hatch=hatch, color=colour, edgecolor=BLACK, linewidth=0.5, label=kind)
        left_end += share
    ax.set(title=title, xlabel="% of all")
    ax.set_xlim(0, 1.08 * left_end.max().item())
axes[0].invert_yaxis()
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
plt.show()
deep = sum(n for (place, _), n in bill(rows, "parameters").items() if place in ("down.2", "middle", "up.0")) / in_parts
fine = sum(n for (place, _), n in bill(rows, "kept").items() if place in ("entrance", "down.0", "up.2", "last", "head"))
fine /= sum(row.kept for row in rows.values())
assert deep > 0.7 and fine > 0.5
print(f"of the parameters {deep:.0%} sit at down.2, middle and up.0; of the memory {fine:.0%} at 16 x 16 places")

# %% [markdown]
# *One bar for each place, from the entrance to the head; hatches tell the kinds of parts. Weights
# live where there are many channels, memory where there are many places. Adding a level below costs parameters
# and hardly any memory. Drawing at twice the resolution costs no parameter and about four times the memory, where
# there is full attention more: the reason for the patches.*
#
# A network of the published size needs no guess either. On the device `meta` it takes a moment to
# build, and no memory. `paper_model` holds it with our conventions: one last block and head, a table of labels.

# %%
config = paper_model("mug128").unet
with torch.device("meta"):
    paper = UNet(config)
    inputs = torch.empty(1, 3, 40, 32, 32), torch.zeros(1).long(), torch.empty(1, 256, 32, 32), torch.zeros(1).long()
    paper_rows = census(paper, KINDS, *inputs)

sums = [[sum(getattr(row, q) for row in r.values()) for q in QUANTITIES] for r in (rows, paper_rows)]
assert 35e6 < sums[1][0] < 40e6
for quantity, ours, theirs in zip(("parameters", "multiply-adds", "bytes kept"), *sums, strict=True):
    print(f"{quantity:13} of one clip: ours {ours / 1e6:6,.0f} million, the published size {theirs / 1e6:7,.0f} million")
print(f"z0 convolved in every frame would add {39 * 49 * 256 * 64 * 32 * 32 / 1e6:,.0f} million multiply-adds")

# %% [markdown]
# To train on *one* clip of the published size you keep two gigabytes, and a batch has several clips. Can one
# keep less?
#
# ### Time for memory
#
# *May be skipped on a first reading.*
#
# A block needs what it computed on the way forward once more on the way back. It could keep it, or **compute
# it again** from its input {cite:p}`chen2016checkpoint`. Then only inputs of blocks are kept, and the forward
# pass is paid twice, about a third more time. Autograd lets you write that down in a dozen lines.

# %%
class Recompute(torch.autograd.Function):
    @staticmethod
    def forward(ctx, compute, *inputs):
        ctx.compute = compute
        ctx.save_for_backward(*inputs)  # nothing else
        return compute(*inputs)  # in here autograd does not watch

    @staticmethod
    def backward(ctx, gradient):
        inputs = [tensor.detach().requires_grad_() for tensor in ctx.saved_tensors]
        with torch.enable_grad():
            output = ctx.compute(*inputs)  # again, and now watched
        output.backward(gradient)  # the parameters collect their gradients here
        return None, *[tensor.grad for tensor in inputs]


def recompute(compute, *inputs: Tensor) -> Tensor:
    return Recompute.apply(compute, *inputs)

# %%
torch.manual_seed(3)
block = ResidualBlock(16, 32, 24, 8)
on_toy = lambda x, condition: block(x, condition, 4)
gradients = {}
for name, run in (("everything", memory.keeping_all), ("ours", recompute), ("library", memory.keeping_inputs)):
    leaf = toy.clone().requires_grad_()
    block.zero_grad()
    run(on_toy, leaf, condition).square().sum().backward()
    gradients[name] = torch.cat([leaf.grad.flatten(), *(p.grad.flatten() for p in block.parameters())])
    kept = kept_bytes(run, on_toy, leaf, condition, known=block.parameters())
    assert_close(gradients[name], gradients["everything"], atol=1e-4, rtol=1e-3)
    print(f"{name:10} keeps {kept:7,} bytes")

trained.requires_grad_(True)
for name, checkpointing in (("everything", False), ("inputs alone", True)):
    trained.checkpointing = checkpointing
    print(f"the whole network, {name}: {kept_bytes(trained, *one_clip, known=trained.parameters()) / 1e6:3.0f} MB")
trained.requires_grad_(False).checkpointing = False

# %% [markdown]
# The library's `keeping_inputs` uses PyTorch's own `checkpoint`, which also finds tensors that hide in tuples such
# as `Frames`. `UNet3D.checkpointing = True` runs every block and attention so.
#
# ## What temporal attention looks at
#
# Now look inside the trained network. A hook takes the input of each temporal attention, and from its $q$ and
# $k$ we compute $A_{ij}$: how much frame $i$ takes from frame $j$, averaged over all places of six clips.

# %%
def temporal_maps(network: UNet, *inputs) -> dict[str, Tensor]:
    """A of each temporal attention, (heads, T, T), averaged over places and clips."""
    maps, hooks = {}, []

    def look(module: TemporalAttention, given: tuple) -> None:
        q, k, _ = module.qkv(*given)
        score = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + given[1].bias
        maps[module] = score.softmax(dim=-1).mean(dim=0)

    for module in network.modules():
        if isinstance(module, TemporalAttention):
            hooks.append(module.register_forward_pre_hook(look))
    network(*inputs)
    for hook in hooks:
        hook.remove()
    return {name: maps[module] for name, module in network.named_modules() if module in maps}

# %%
@cache
def maps_at(t: int) -> dict[str, Tensor]:
    with torch.no_grad():
        return temporal_maps(unet, noisy_and_guess(t)[0], torch.full((6,), t), z0, label, numbers)


PLACES = {"4 x 4": "down.2.temporal", "8 x 8": "down.1.temporal", "16 x 16": "down.0.temporal", "entrance": "temporal"}
for name in PLACES.values():
    assert_close(maps_at(500)[name].sum(dim=-1), torch.ones(2, 16), atol=1e-4, rtol=0)
print(f"{len(maps_at(500))} temporal attentions with {len(maps_at(500)['temporal'])} heads; every row of a map sums to 1")

bias_table = unet.positions.bias.table.weight.detach()
neighbours = torch.stack([bias_table[1:8].flatten(), bias_table[2:9].flatten()])  # distances -1 to -7, and one more
deviation, smooth = bias_table[used].std(), torch.corrcoef(neighbours)[0, 1]
assert 0.4 < deviation < 1.3 and smooth < 0.5
print(f"the trained bias table: deviation {deviation:.1f}, correlation of neighbouring distances {smooth:.1f}")

# %%
with torch.no_grad():
    alone = unet.positions.bias(16).softmax(dim=-1)  # what the bias table by itself would do


def looked_at(t: int, where: str) -> plt.Figure:
    fig, axes = plt.subplots(1, 4, figsize=(10, 2.9), sharey=True, dpi=80)
    shown = [(f"{name}, head {head}", A[head]) for head in (0, 1) for name, A in ((f"step {t}", maps_at(t)[PLACES[where]]), ("bias alone", alone))]
    for ax, (title, A) in zip(axes, shown, strict=True):
        ax.imshow(A, cmap="gray_r", vmin=0, vmax=0.35)
        ax.set(title=title, xlabel="frame j", xticks=[0, 5, 10, 15], yticks=[0, 5, 10, 15])
    axes[0].set_ylabel("frame i")
    return fig

# %%
steps_shown = [20, 200, 500, 800, 980]
alike = lambda a, b: torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()
print("how much the maps at step 500 are those of the bias alone (correlation):")
print(", ".join(f"{name} {alike(maps_at(500)[at], alone):.2f}" for name, at in PLACES.items()))
start = {t: {name: A[:, 4:, :2].sum(dim=-1).mean(dim=1) for name, A in maps_at(t).items()} for t in steps_shown}
of_head_0 = {t: round(start[t]["down.2.temporal"][0].item(), 2) for t in steps_shown}
others = sorted(torch.cat(list(start[500].values())).tolist())[:-1]
print("head 0 of the 4 x 4 level, what frames 4 to 15 take from frames 0 and 1, by step:", of_head_0)
print(f"the most that any of the {len(others)} other heads takes from there at step 500: {others[-1]:.2f}")
assert min(of_head_0.values()) > 0.7 and others[-1] < 0.5
words = "Four maps of 16 by 16 frames, dark is much: for each of two heads the trained attention, and the bias alone"
viz.dial(looked_at, alt=words, reach={"t": (0, 999)}, where=list(PLACES), t=steps_shown)

# %% [markdown]
# *Each row is a frame $i$, and says from which frames $j$ it takes how much; white is 0, black is 0.35 and more. For each
# of the two heads: the trained attention, at step `t` and at the place in the network that you choose, and what the
# bias table alone would do.*
#
# Two things can be read off. The diagonal stripes are the bias table, which all attentions share. They look
# like no plan: a table starts as random numbers of deviation 1, and after all its training neighbouring distances in
# this one (14 pairs) have no more in common than by chance. Whether anything depends on them, a map cannot say;
# exercise 6 takes them away and measures.
#
# Head 0 of the last level down, $4 \times 4$, has a *column*, which distances alone cannot make: frames 4 to 15 take nine
# tenths and more from frames 0 and 1, those at rest, and still 0.83 at step 980. (Frames 0 to 2 look ahead, to 4
# and 5.) But that is one head of sixteen: at step 500 no other takes more than a third from there.

# %% [markdown]
# ## A test of life
#
# Before a network gets a day of training, it gets a minute: can it learn *one* clip by heart? If the data are
# one clip, the perfect answer is known, $\mathbf x^\star = \mathbf x_0$ whatever the noise. The small networks from
# here on answer $\mathbf v$, as the library's do unless told otherwise. With
# $\mathbf x_t = \alpha_t \mathbf x_0 + \sigma_t \epsilon$ and $\alpha_t^2 + \sigma_t^2 = 1$, the perfect $\mathbf v$ is
#
# $$\mathbf v = \alpha_t \epsilon - \sigma_t \mathbf x_0 = \frac{\alpha_t\, \mathbf x_t - \mathbf x_0}{\sigma_t}$$
#
# and the loss can reach 0. A network that answers 0 has the mean of $\mathbf v^2$, between 1, that of the noise, and
# 0.57, that of the clip. What is left is the fault of the network, or of too short a training. To be quick: a small network without numbers, and the clip at a quarter of the size and every second frame.

# %%
def train(network: nn.Module, draw, steps: int, lr: float = 4e-3, seed: int = 0) -> list[float]:
    """draw(generator) -> x0, features, label of a batch. The loss of every step."""
    generator, losses = torch.Generator().manual_seed(seed), []
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr)
    process = lfdm.GaussianDiffusion(lfdm.DiffusionConfig())  # answers v, drops a tenth of the labels
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * min(1, 2 - 2 * step / steps)  # level, then down to 0
        loss = process.loss(network, *draw(generator), generator)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def draw_clips(network: UNet, features: Tensor, label: Tensor, shape: tuple, seed: int = 1) -> Tensor:
    process, generator = lfdm.GaussianDiffusion(lfdm.DiffusionConfig()), torch.Generator().manual_seed(seed)
    denoise = samplers.guided(network, features, label)
    with torch.no_grad():
        return samplers.sample(process, denoise, shape, steps=20, generator=generator, progress=False)

# %%
one_x0 = F.avg_pool3d(x0[5:], (1, 4, 4))[:, :, ::2]  # (1, 3, 8, 8, 8)
one_z0, one_label = F.avg_pool2d(z0[5:], 2), label[5:]
tiny = lfdm.UNet3DConfig(dim=16, dim_mults=(1, 2), head_dim=16, init_kernel=5, num_frames=8)


def same_clip(generator):
    return one_x0.expand(4, -1, -1, -1, -1), one_z0.expand(4, -1, -1, -1), one_label.expand(4)


torch.manual_seed(4)
living = UNet(tiny)
losses = train(living, same_clip, steps=200)
first, last = (sum(part) / 20 for part in (losses[:20], losses[-20:]))
print(f"loss of the last 20 steps, as a share of the first 20: {last / first:.1f}")
assert last < 0.3 * first

# %% book={"picture": {"largest": 250, "mean": 2, "why": "the course of a training: another processor trains another network"}} mystnb={"image": {"alt": "Left: the training loss over 200 steps on a logarithmic axis, from about 0.8 down to a few hundredths, and its mean over 20 steps. Right: two curves of the flow's length over eight frames, of the clip and of a sample drawn from noise, close to each other but at the first frames, where the sample moves more."}}
recalled = draw_clips(living, one_z0, one_label, one_x0.shape)
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
left.semilogy(losses, "-", color="0.6", linewidth=0.8)
left.semilogy(range(10, 191), torch.tensor(losses).unfold(0, 20, 1).mean(dim=1), "-", color=BLACK)
left.set(xlabel="training step", ylabel="loss")
for motion, style, name in ((one_x0, "o-", "the clip"), (recalled, "^--", "drawn from noise")):
    right.plot(range(0, 16, 2), size(motion[:, :2]), style, label=name)
right.set(xlabel="frame", ylabel="flow, root mean square")
right.legend()
plt.show()
error = ((recalled - one_x0).square().mean() / one_x0.square().mean()).item()
assert error < 0.2
print(f"the clip comes back; error as a share of its square: {error:.1f}")

# %% [markdown]
# *Left: the loss of every step in grey, black the mean of 20. Right: twenty steps of sampling from noise
# ([chapter 7](07_samplers.ipynb)) give back the clip that was learned by heart, though not its rest at the start. The network lives: signals get in,
# gradients get out, the sampler fits.*
#
# The test finds what is dead: gradients that do not flow, a target that does not fit the sampler, a learning
# rate that is far off. It is blind to everything that one clip can be learned without: four copies of a clip are no
# strangers to each other, say. The next section has two such faults.
#
# ## Failure gallery
#
# ### The wrong fold
#
# `(b T) c h w` and `(T b) c h w` have the same shape. Exchange them in temporal attention, and no error is raised, no
# shape test fails, and the loss falls:

# %%
class WrongFold(TemporalAttention):
    def forward(self, x: Tensor, frames: Frames) -> Tensor:
        b = len(x) // frames.count
        swapped = rearrange(x, "(T b) c h w -> (b T) c h w", T=frames.count)  # x is not folded like this
        return rearrange(super().forward(swapped, frames), "(b T) c h w -> (T b) c h w", b=b)


class WrongUNet(UNet):
    def __init__(self, config: lfdm.UNet3DConfig):
        super().__init__(config)
        for module in self.modules():
            if isinstance(module, TemporalAttention):
                module.__class__ = WrongFold  # the same weights, another forward


torch.manual_seed(4)
wrong = WrongUNet(tiny)
wrong_losses = train(wrong, same_clip, steps=100)
first, last = (sum(part) / 20 for part in (wrong_losses[:20], wrong_losses[-20:]))
print(f"its loss falls: the last 20 of 100 steps, as a share of the first 20: {last / first:.1f}")
assert last < 0.7 * first

# %% [markdown]
# What reveals it is the question from before: who sees whom? Feed three clips of eight frames, and take the
# gradient of one frame of the answer with respect to every frame of every clip.

# %% mystnb={"image": {"alt": "Two maps of 24 by 24 frames, rows are frames of the answer, columns frames of the input, with lines between the three clips. Left, the right fold: three filled blocks on the diagonal, nothing outside. Right, the wrong fold: the whole map is filled."}}
def who_sees_whom(network: UNet) -> Tensor:
    """(24, 24): gradient of each frame of the answer at each frame of the input, three clips of eight frames."""
    x = torch.randn(3, 3, 8, 8, 8, generator=torch.Generator().manual_seed(12), requires_grad=True)
    answer = network(x, torch.tensor([100, 500, 900]), one_z0.expand(3, -1, -1, -1), torch.tensor([0, 3, 5]))
    frames = rearrange(answer, "b c T h w -> (b T) (c h w)").square().sum(dim=1)
    gradients = [torch.autograd.grad(frame, x, retain_graph=True)[0] for frame in frames]
    return torch.stack([rearrange(gradient, "b c T h w -> (b T) (c h w)").norm(dim=1) for gradient in gradients])


other_clip = torch.block_diag(*3 * [torch.ones(8, 8)]) == 0
fig, axes = plt.subplots(1, 2, figsize=(9, 4.4))
for ax, (title, network) in zip(axes, {"(b T): right": living, "(T b): wrong": wrong}.items(), strict=True):
    seen = who_sees_whom(network)
    ax.imshow(seen > 0, cmap="Greys", vmin=0, vmax=1.2)
    for edge in (7.5, 15.5):
        ax.axhline(edge, color=ORANGE)
        ax.axvline(edge, color=ORANGE)
    ax.set(title=title, xlabel="frame of the input", ylabel="frame of the answer")
    within, across = int((seen[~other_clip] > 0).sum()), int((seen[other_clip] > 0).sum())
    assert within == 192 and (across == 0) == (network is living)
    print(f"{title}: of 192 pairs within a clip {within} see each other, of 384 across clips {across}")
plt.show()

# %% [markdown]
# *Dark: this frame of the answer depends on that frame of the input. Lines part the three clips. Right fold:
# each clip sees all of itself and nothing else. Wrong fold: clips of a batch watch each other. The loss of
# such a network falls, and its answers depend on what else is in the batch.*
#
# ### Clips that run backwards
#
# The second fault is one of design. Take a world where flow grows evenly from rest: to the left for label 0,
# to the right for label 1. One network knows its frames by index and embedding, like ours. The other knows
# distances alone, by bias and also by rotary embedding, as the published one does. Three seeds each.

# %%
growth = torch.zeros(1, 3, 6, 4, 4)
growth[:, 0] = torch.linspace(0, 1.5, 6)[:, None, None]
both_labels = torch.arange(2).repeat(16)


def growing(generator):
    y = torch.randint(2, (8,), generator=generator)
    return (2 * y - 1)[:, None, None, None, None] * growth, torch.zeros(8, 5, 4, 4), y


def drawn_by(knows: bool, seed: int) -> Tensor:
    """The flow to the right, frame by frame, of 32 clips that a network draws after 100 steps of training; (32, 6)."""
    torch.manual_seed(seed)
    world = lfdm.UNet3DConfig(
        feature_channels=5, num_labels=2, num_frames=6, dim=16, dim_mults=(1, 2), head_dim=8, init_kernel=3,
        rotary=not knows, frame_index=knows, frame_embedding=knows,
    )  # fmt: skip
    network = UNet(world)
    train(network, growing, steps=100, lr=5e-3)
    return draw_clips(network, torch.zeros(32, 5, 4, 4), both_labels, (32, 3, 6, 4, 4))[:, 0].mean(dim=(2, 3))

# %%
drawn = {"index and embedding": [drawn_by(True, s) for s in (5, 6, 7)], "distances alone": [drawn_by(False, s) for s in (5, 6, 7)]}
backwards = {name: [(flow[:, 0].abs() > flow[:, -1].abs()).sum().item() for flow in flows] for name, flows in drawn.items()}
most, least = 4, 6  # of 96 clips; how many exactly depends on the processor
assert sum(backwards["index and embedding"]) <= most and sum(backwards["distances alone"]) >= least

# %% book={"picture": {"largest": 140, "mean": 2, "why": "lines drawn by trained networks: another processor trains others"}} mystnb={"image": {"alt": "Two panels of 32 lines over six frames. Left, with index and embedding: all lines start near zero and fan out, label 0 down, label 1 up. Right, distances alone: lines keep to the side of their label; many grow from near zero, some start at the far end and run towards zero."}}
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
for ax, (name, flows) in zip(axes, drawn.items(), strict=True):
    for line, y in zip(flows[0], both_labels.tolist(), strict=True):
        ax.plot(line, "-^" if y else "--o", color=ORANGE if y else BLUE, linewidth=0.8, markersize=3)
    ax.set(title=name, xlabel="frame")
axes[0].set_ylabel("flow to the right")
axes[0].plot([], "--o", color=BLUE, label="label 0")
axes[0].plot([], "-^", color=ORANGE, label="label 1")
axes[0].legend()
plt.show()
starts = {name: [flow[:, 0].abs().mean().item() for flow in flows] for name, flows in drawn.items()}
assert max(starts["index and embedding"]) < 0.3 < max(starts["distances alone"])
print(f"of 96 clips of three seeds run backwards: index and embedding at most {most}, distances alone at least {least}")

# %% [markdown]
# *32 clips drawn by each, first seed. Full lines are asked to go right, broken lines left. Left panel: all start at
# rest, and the flow grows. Right panel: the sides are right, but some clips start at the far end and run towards rest.*
#
# The bias does tell before from after, but nothing says where a clip begins. In a hundred steps no network of the
# right panel's kind has found out: where this was written, of their 32 clips 6, 11 and 8 ended nearer to rest than
# they began (another processor trains other networks), and those of the second and third seed do not even change
# evenly. Index and embedding come together here; which of the two would do, this does not tell. On faces the same was
# measured with a recipe of 300 steps: with index and embedding 62 % of the clips are read as asked by a judge that may
# look at heads, without 33 % (24 clips and one training each, so that the intervals overlap: [differences](differences.md)).
#
# ## Summary
#
# * Convolutions and spatial attention see one frame, temporal attention one place; one after the other they
#   see everything, and the products of attention cost $THW / (HW + T)$ times less. The fold `(b T) c h w`
#   makes it a 2-D network with two exceptions.
# * Step, label and numbers act as scale and shift of every residual block, the picture as a summand of the first
#   convolution, the frame's number at the entrance and in every temporal attention.
# * Weights sit deep, memory sits at the finest level. Check a network by properties: who sees whom, what may
#   be shuffled, can it learn one clip by heart.
#
# ## Exercises
#
# **1. Check yourself** (three minutes, easy). You double the number of frames. Which products double, and
# which become four times as many? Does the cost of our network double, or nearly four-fold?
#
# <details>
# <summary>Solution</summary>
#
# Only the two products of temporal attention hold the number of frames squared. They are a few percent of
# all, so the whole about doubles. (The convolution of $z_0$ and the condition do not grow at all.)
#
# ```python
# longer = torch.cat([x_t[:1], x_t[:1]], dim=2)
# ratio = multiply_adds(unet, longer, *one_clip[1:]) / multiply_adds(unet, *one_clip)
# print(round(ratio, 2))
# assert 1.9 < ratio < 2.2
# ```
#
# </details>
#
# **2. Check yourself** (five minutes, medium). Nothing in the network fixes the number of frames. You ask the
# trained one for 32 frames instead of 16. It answers without an error. Which inputs has it never seen in
# training?
#
# <details>
# <summary>Solution</summary>
#
# Three. Frame indices above 1; sinusoids of frames 16 to 31; and bias rows of distances of 16 and more,
# whose numbers in the table no clip has ever used. (And each softmax and each norm runs over twice as many frames.) [Chapter 9](09_latent_flow_diffusion.ipynb) shows what
# comes of it.
#
# ```python
# known = set(relative.bucket(torch.arange(-15, 16)).tolist())
# new = set(relative.bucket(torch.arange(-31, 32)).tolist()) - known
# print(sorted(new), frame_index(32, 16)[-1].item())
# assert new and frame_index(32, 16)[-1] > 1
# ```
#
# </details>
#
# The checks below ask your function through this helper, so that an answer of another kind gets a sentence back.

# %% tags=["hide-input"]
def answer_of(function, *given, like: Tensor) -> Tensor | str:
    """What a reader's function answers, in the precision of `like`; or a hint, if it is no tensor of that shape."""
    try:
        answer = function(*given)
        if answer is None:
            return f"not yet: there is no answer; return a tensor of shape {tuple(like.shape)}"
        answer = torch.as_tensor(answer)
    except Exception as error:  # a reader's slip is a hint here, no traceback
        return f"not yet: return a tensor of shape {tuple(like.shape)} (this time: {type(error).__name__}, {error})"
    if answer.shape != like.shape:
        return f"not yet: return the shape {tuple(like.shape)}, not {tuple(answer.shape)}"
    if answer.isnan().any():
        return "not yet: not a number. -inf * 0 is none: masked_fill, or triu of a matrix of -inf. Or a frame sees nobody, not even itself"
    return answer.to(like)


# %% [markdown]
# **3. Code it** (ten minutes, medium). For videos that are made frame by frame, a frame must not look into
# the future. Write attention in which frame $i$ sees the frames $j \le i$ alone.

# %% tags=["hide-input"]
def check_causal(function) -> str:
    q, k, v = torch.randn(3, 2, 6, 8, generator=torch.Generator().manual_seed(13))
    score, past = q @ k.transpose(-1, -2) / math.sqrt(8), torch.ones(6, 6).tril().bool()
    hide = lambda score, past=past, dim=-1: score.masked_fill(~past, -math.inf).softmax(dim=dim) @ v
    hints = {
        "solved": hide(score),
        "not yet: nothing is hidden": score.softmax(dim=-1) @ v,
        "not yet: the triangle is turned, these frames see the future": hide(score, past.T),
        "not yet: masked after the softmax, so that rows no longer sum to 1": (score.softmax(dim=-1) * past) @ v,
        "not yet: a score of 0 is not 'hidden', softmax makes e^0 = 1 of it": (score * past).softmax(dim=-1) @ v,
        "not yet: the root of d is missing": hide(score * math.sqrt(8)),
        "not yet: the root is that of d, the features, not that of the frames": hide(score * math.sqrt(8 / 6)),
        "not yet: the rows are those who ask: q @ k.T, not k @ q.T": hide(score.transpose(-1, -2)),
        "not yet: each row sums to 1, over j: softmax(dim=-1)": hide(score, dim=-2),
    }
    answer = answer_of(function, q, k, v, like=v)
    if isinstance(answer, str):
        return answer
    known = [hint for hint, value in hints.items() if torch.allclose(answer, value, atol=1e-4)]
    return [*known, "not yet, and none of the slips known here: scores, -inf where j > i, softmax over j, times v"][0]

# %% tags=["exercise"]
def causal_attend(q, k, v):
    return None  # your lines: q, k, v (..., T, d) -> (..., T, d)


print(check_causal(causal_attend))

# %% mystnb={"image": {"alt": "A map of 16 by 16 frames: a dark corner at the top left, fading downwards, and white above the diagonal."}} tags=["hide-input"]
g = torch.Generator().manual_seed(13)
score = torch.randn(2000, 16, 8, generator=g) @ torch.randn(2000, 16, 8, generator=g).transpose(1, 2) / math.sqrt(8)
A = (score + torch.full((16, 16), -math.inf).triu(1)).softmax(dim=-1).mean(dim=0)
plt.figure(figsize=(4.4, 3.8))
plt.imshow(A, cmap="gray_r", norm="log", vmin=1 / 32, vmax=1)
plt.xlabel("looked at: frame j")
plt.ylabel("who looks: frame i")
plt.colorbar(label="$A_{ij}$")
plt.show()
assert (A.triu(1) == 0).all()
print(f"frame 0 takes {A[0, 0]:.2f} from itself, frame 15 takes {A[15, 0]:.2f} from frame 0")

# %% [markdown]
# *What a right answer makes of random queries and keys, the mean of 2000, on a logarithmic scale: nothing above the
# diagonal, and early frames share among few.*
#
# <details>
# <summary>Solution</summary>
#
# It fits into `attend_v2` as a bias, just as distances do.
#
# ```python
# def causal_attend(q, k, v):
#     count = q.shape[-2]
#     future = torch.full((count, count), -math.inf).triu(1)
#     return attend_v2(q, k, v, future)
#
#
# assert check_causal(causal_attend) == "solved"
# ```
#
# </details>
#
# **4. Code it** (ten minutes, easy). Count the parameters of a residual block without building one.

# %% tags=["hide-input"]
def check_parameters(function) -> str:
    sizes = ((16, 32, 24), (32, 32, 24))
    right = torch.tensor([sum(p.numel() for p in ResidualBlock(*each, 8).parameters()) for each in sizes])
    with patch.object(nn.Module, "__init__", side_effect=RuntimeError("count without building anything")):
        found = [answer_of(function, *each, like=right[0]) for each in sizes]
    for answer in found:
        if isinstance(answer, str):
            return answer.replace("a tensor of shape ()", "a number")
    missed = tuple((right - torch.stack(found)).tolist())
    hints = {
        (0, 0): "solved",
        (16 * 32 + 32, 0): "not yet: where the channels change, the skip is a 1 x 1 convolution",
        (32, 0): "not yet: the convolution of the skip has a bias, too",
        (0, -32 * 32 - 32): "not yet: where the channels stay, the skip has no parameters",
        (4 * 32, 4 * 32): "not yet: each group norm has a factor and a summand for each channel; each convolution and matrix has a bias",
        (64, 64): "not yet: the biases of the two convolutions, or of the condition's matrix",
        (25 * 32, 25 * 32): "not yet: the condition makes two numbers for each channel, scale and shift",
        (-25 * 64, -25 * 64): "not yet: only the first of the two chains is told the condition",
    }
    return hints.get(missed, "not yet: off by {} for 16 channels that become 32, by {} for 32 that stay".format(*missed))

# %% tags=["exercise"]
def residual_parameters(dim, dim_out, condition_dim):
    """Number of parameters of ResidualBlock(dim, dim_out, condition_dim, groups)."""
    return None  # your lines


print(check_parameters(residual_parameters))

# %% mystnb={"image": {"alt": "Bars of the parameters of the nine residual blocks of the network: small at both ends, highest at the two blocks in the middle, above 700 thousand each; most of it two convolutions."}} tags=["hide-input"]
blocks = {name: part for name, part in unet.named_modules() if isinstance(part, ResidualBlock)}
pieces = {"two convolutions": ("block1", "block2"), "the condition's matrix": ("condition",), "skip": ("skip",)}
plt.figure(figsize=(8, 3.6))
under = torch.zeros(len(blocks))
for (piece, names), hatch in zip(pieces.items(), ("", "//", ".."), strict=True):
    height = torch.tensor([sum(p.numel() for n in names for p in getattr(b, n).parameters()) / 1e3 for b in blocks.values()])
    places = [name.replace(".blocks.0", "").replace("_block", " ") for name in blocks]
    plt.bar(places, height, bottom=under, hatch=hatch, color="#d8dde3", edgecolor=BLACK, linewidth=0.5, label=piece)
    under += height
plt.ylim(0, 1.08 * under.max().item())
plt.ylabel("thousand parameters")
plt.xticks(rotation=30)
plt.legend()
plt.show()
assert under.sum() * 1e3 == sum(p.numel() for b in blocks.values() for p in b.parameters())
print(f"the residual blocks hold {under.sum():,.0f} thousand parameters")

# %% [markdown]
# *What a right answer finds for the residual blocks of our network, in their order. A single 3 x 3 convolution from 192
# to 192 channels, of which the middle has four, holds 332 thousand. In the smallest blocks the condition's matrix is
# nearly half.*
#
# <details>
# <summary>Solution</summary>
#
# ```python
# def residual_parameters(dim, dim_out, condition_dim):
#     block1 = 9 * dim * dim_out + dim_out + 2 * dim_out  # convolution with bias, norm
#     block2 = 9 * dim_out * dim_out + dim_out + 2 * dim_out
#     condition = (condition_dim + 1) * 2 * dim_out
#     skip = 0 if dim == dim_out else (dim + 1) * dim_out
#     return block1 + block2 + condition + skip
#
#
# assert check_parameters(residual_parameters) == "solved"
# ```
#
# </details>
#
# **5. Build it** (an hour, hard). A camera never stops, and a network that waits for the last frame never
# answers. Build temporal attention that answers frame by frame. Frame $i$ looks at itself and at the
# `window - 1` frames before it. Keys and values of these are kept, so that no old frame is computed again, and
# nothing older is kept. Three stages: the bias that hides what must not be seen; a whole clip at once with it;
# and the stream, which must give the same answers. For one frame, `attention.qkv` with
# `Frames(1, None, None, None, None)` gives queries, keys and values, and `attention.to_out` brings the heads together.
# The check stops at the first stage that is not right yet. (The hidden cells hold the check's own answers.)

# %% tags=["hide-input"]
torch.manual_seed(14)
of_stream, distances = TemporalAttention(16, 2, 8, None).requires_grad_(False), RelativePositionBias(2).requires_grad_(False)
film = torch.randn(2 * 10, 16, 3, 4, generator=torch.Generator().manual_seed(15))  # two clips of ten frames
frame_of_film = lambda k: rearrange(film, "(b T) c h w -> T b c h w", T=10)[k]


def window_bias(count: int, window: int, causal: bool = True) -> Tensor:
    back = torch.arange(count)[:, None] - torch.arange(count)  # how many frames ago
    hidden = (back >= window) | (causal & (back < 0))
    return distances(count).masked_fill(hidden, -math.inf)


def in_window(window: int, bias: Tensor | None = None) -> Tensor:
    bias = window_bias(10, window) if bias is None else bias
    return of_stream(film, Frames(10, None, None, bias, None))


def judged(stage: int, answer: Tensor | str, right: Tensor, wrong: dict[str, Tensor], otherwise: str) -> str | None:
    """Nothing if an answer is right, else a hint."""
    if isinstance(answer, str):
        return answer.replace("not yet", f"not yet, stage {stage}", 1)
    if torch.allclose(answer, right, atol=1e-4):
        return None
    named = [hint for hint, value in wrong.items() if torch.allclose(answer, value, atol=1e-4)]
    return f"not yet, stage {stage}: {[*named, otherwise][0]}"

# %% tags=["hide-input"]
def stage_1(stream) -> str | None:
    as_shown = lambda bias: bias.clamp(min=-1e4)  # a large negative number hides as well as minus infinity
    answer = answer_of(stream.bias, 10, like=distances(10))
    answer = answer if isinstance(answer, str) else as_shown(answer)
    hidden = window_bias(10, 4)[0] == -math.inf
    wrong = {
        "the future is not hidden": as_shown(window_bias(10, 4, causal=False)),
        "the window is one too wide; a frame itself is one of the window's": as_shown(window_bias(10, 5)),
        "the window is one too narrow; a frame itself is one of the window's": as_shown(window_bias(10, 3)),
        "nothing is hidden": distances(10),
        "turned: row i looks, column j is looked at": as_shown(distances(10).masked_fill(hidden.T, -math.inf)),
        "0 is not hidden: what must not be seen gets minus infinity": distances(10).masked_fill(hidden, 0),
        "what may be seen keeps the bias of its distance": as_shown(window_bias(10, 4) - distances(10)),
    }
    return judged(1, answer, as_shown(window_bias(10, 4)), wrong, "minus infinity where j > i, and where j is 4 or more frames ago")

# %% tags=["hide-input"]
def stage_2(stream) -> str | None:
    right = in_window(4)
    wrong = {
        "the input is to be added: an attention is residual": right - film,
        "that is attention without your bias": in_window(99, distances(10)),
        "the bias of distances is lost": in_window(4, window_bias(10, 4) - distances(10)),
    }
    return judged(2, answer_of(stream.clip, film, 10, like=film), right, wrong, "TemporalAttention.forward with another bias")


def numbers_in(held) -> int:
    """Numbers in all tensors that something holds, in its lists and the like too; modules hold none of a stream's."""
    if isinstance(held, Tensor):
        return held.numel()
    parts = held.values() if isinstance(held, dict) else held
    return sum(map(numbers_in, parts)) if isinstance(parts, Iterable) and not isinstance(parts, str | nn.Module) else 0

# %% tags=["hide-input"]
def wrong_streams() -> dict[str, Tensor]:
    hidden = window_bias(10, 4) == -math.inf
    seen_as = lambda bias: in_window(4, bias.masked_fill(hidden, -math.inf))
    since = torch.arange(10) - (torch.arange(10)[:, None] - 3).clamp(min=0)  # the place of frame j among those kept for i
    first_row = rearrange(distances.table(distances.bucket(since)), "i j heads -> heads i j")
    return {
        "the input is to be added: an attention is residual": in_window(4) - film,
        "each frame sees itself alone; keep keys and values": in_window(1),
        "all that came before is seen; forget what left the window": in_window(99),
        "one frame too many is kept": in_window(5),
        "the bias of distances is lost": seen_as(torch.zeros(2, 10, 10)),
        "the kept frames have the wrong distances: the newest is the last row of the bias, not its last column": seen_as(distances(10).mT),
        "the kept frames have the wrong distances: the newest is the last row of the bias, not the first": seen_as(first_row),
    }

# %% tags=["hide-input"]
def stage_3(stream) -> str | None:
    frames, kept, computed = [], [], []
    places = lambda module, given, answer: computed.append(given[0][..., 0].numel())  # whose q, k or v are computed
    with of_stream.to_qkv.register_forward_hook(places):
        for k in range(10):
            computed.clear()
            answer = answer_of(stream.next, frame_of_film(k), like=frame_of_film(k))
            if isinstance(answer, str):
                return judged(3, answer, film, {}, "")
            frames.append(answer)
            kept.append(numbers_in(vars(stream)))
    otherwise = "as stage 2, row by row: q of this frame, k and v of those kept"
    problem = judged(3, torch.stack(frames, dim=1).flatten(0, 1), in_window(4), wrong_streams(), otherwise)
    if problem is None and kept[9] > kept[5]:
        return f"not yet, stage 3: the answers are right, but more and more is kept: {kept[5]} numbers, then {kept[9]}"
    if problem is None and (old := sum(computed) // (2 * 3 * 4)) > 3:  # q, k and v of the new frame may come one by one
        return f"not yet, stage 3: the answers are right, but {old} frames are computed for one; keep keys and values, not frames"
    return problem

# %% tags=["exercise"]
class Stream:
    def __init__(self, attention, distances, window):
        """A TemporalAttention without embedding, a RelativePositionBias, and how many frames a frame sees."""
        self.attention, self.distances, self.window = attention, distances, window

    def bias(self, count):
        """Stage 1: (heads, count, count), what is added to the score of frame i and frame j."""

    def clip(self, x, count):
        """Stage 2: all frames of clips at once, (b T) c h w -> the same."""

    def next(self, frame):
        """Stage 3: the next frame of each clip (b, c, h, w) -> its answer, from what is kept of the frames before."""


def check_stream(make) -> str:
    try:
        stream = make(of_stream, distances, 4)
        return stage_1(stream) or stage_2(stream) or stage_3(stream) or "solved"
    except Exception as error:
        return f"not yet: it stops with {type(error).__name__}: {error}"


print(check_stream(Stream))

# %% mystnb={"image": {"alt": "Two maps of ten by ten frames. Left, every frame sees every frame. Right, a band of four frames along the diagonal, nothing above it."}} tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 4.2))
for ax, (title, bias) in zip(axes, {"a whole clip": distances(10), "a stream, window 4": window_bias(10, 4)}.items(), strict=True):
    x = film.clone().requires_grad_()
    answers = rearrange(of_stream(x, Frames(10, None, None, bias, None)), "(b T) c h w -> T (b c h w)", T=10).square().sum(dim=1)
    gradients = [torch.autograd.grad(answer, x, retain_graph=True)[0] for answer in answers]
    seen = torch.stack([rearrange(one, "(b T) c h w -> T (b c h w)", T=10).norm(dim=1) for one in gradients]) > 0
    ax.imshow(seen, cmap="Greys", vmin=0, vmax=1.2)
    ax.set(title=title, xlabel="frame of the input", ylabel="frame of the answer")
    print(f"{title}: {int(seen.sum())} of 100 pairs of frames")
    assert seen.sum() == (100 if bias is distances(10) or title == "a whole clip" else 34)
plt.show()

# %% [markdown]
# *Which frames of the input a frame of the answer depends on. Left: attention as the network has it. Right: what
# a right answer computes.*
#
# <details>
# <summary>Solution</summary>
#
# The last row of `distances(n)` holds the bias of the newest of `n` frames towards all of them.
#
# ```python
# class Stream:
#     def __init__(self, attention, distances, window):
#         self.attention, self.distances, self.window = attention, distances, window
#         self.keys = self.values = None
#
#     def bias(self, count):
#         back = torch.arange(count)[:, None] - torch.arange(count)
#         return self.distances(count).masked_fill((back < 0) | (back >= self.window), -math.inf)
#
#     def clip(self, x, count):
#         return self.attention(x, Frames(count, None, None, self.bias(count), None))
#
#     def next(self, frame):
#         q, k, v = self.attention.qkv(frame, Frames(1, None, None, None, None))  # (b h w) heads 1 d
#         if self.keys is not None:
#             k, v = torch.cat([self.keys, k], dim=2), torch.cat([self.values, v], dim=2)
#         self.keys, self.values = k[:, :, -self.window :], v[:, :, -self.window :]
#         bias = self.distances(self.keys.shape[2])[:, -1:]
#         o = rearrange(attend_v2(q, self.keys, self.values, bias), "n heads T d -> n T (heads d)")
#         found = rearrange(self.attention.to_out(o), "(b h w) 1 c -> b c h w", h=frame.shape[2], w=frame.shape[3])
#         return frame + found
#
#
# assert check_stream(Stream) == "solved"
# ```
#
# </details>
#
# **6. Explore** (twenty minutes, medium). The trained bias table looks random. Is it worth anything? Set it
# to zero, or shuffle it, and measure the loss at several steps. Before you do, write down what you expect
# from the maps.
#
# *Where to begin:* `trained.positions.bias.table.weight` and `loss`. *What to plot:* the loss over the step, as
# a share of that with the right table. *A good answer* says what a map can prove, and what it cannot.
#
# <details>
# <summary>Solution</summary>
#
# Taken away, hardly anything: the loss is the same at step 200, and 3 and 4 % higher at steps 500 and 800. Shuffled,
# which is not no table but a wrong one, up to 9 %. So the stripes, the first thing that you see in the maps, are nearly worthless: index and
# embedding already say which frame is which. A strong pattern in an attention map is no proof that anything depends on
# it. (A network trained without the table may differ; only training one would tell.)
#
# ```python
# def losses_with(table):
#     kept_table = trained.positions.bias.table.weight.clone()
#     trained.positions.bias.table.weight.copy_(table)
#     found = [loss(step, z0, label, numbers) for step in (200, 500, 800)]
#     trained.positions.bias.table.weight.copy_(kept_table)
#     return found
#
#
# with torch.no_grad():
#     table = trained.positions.bias.table.weight.clone()
#     shuffled_table = table[torch.randperm(32, generator=torch.Generator().manual_seed(0))]
#     base = losses_with(table)
#     for other_table in (0 * table, shuffled_table):
#         print([round(b / a, 2) for a, b in zip(base, losses_with(other_table))])
#     assert max(b / a for a, b in zip(base, losses_with(0 * table))) < 1.2
# ```
#
# </details>
#
# **7. Explore** (an evening, hard). At $8 \times 8$ places our network has full attention and the published one
# linear. Train both with a small preset (`lfdm train diffusion --help` lists the options), equally long and
# with three seeds each. Is the difference larger than that between seeds?
#
# *Where to begin:* the bill, which is certain. *What to plot:* validation losses over the diffusion step, one line
# a run. *A good answer* names the spread between seeds before it names a winner.
#
# <details>
# <summary>Solution</summary>
#
# At this size the two differ little in cost, so that nothing is saved by linear attention. Then compare validation
# losses, step by step, with the spread over seeds beside them.
#
# ```python
# for kind in ("full", "linear"):
#     with torch.device("meta"):
#         change = dict(spatial_attention=("none", kind, kind))
#         candidate = UNet(lfdm.UNet3DConfig(**(vars(trained.config) | change)))
#         given = [torch.empty_like(tensor, device="meta") for tensor in one_clip]
#     print(kind, multiply_adds(candidate, *given))
# ```
#
# </details>
#
# ## What the authors did differently
#
# The published code of LFDM {cite:p}`ni2023lfdm` (commit 3601635) builds on a public implementation of the network of
# video diffusion models {cite:p}`ho2022video`: (1, 3, 3) convolutions, attention in space and in time, relative
# position bias, and rotary embedding as well. Its network is 64 wide with multiples 1, 2, 4, 8, two residual blocks
# a level and 8 heads of 32 features, with linear attention in space at every level and full attention in the middle:
# 42.7 million parameters; with our conventions, as counted above, 38. Ours is smaller, has no linear attention and no
# rotary embedding, and differs in these ways. The [list of
# differences](differences.md) has more, and what some of them were measured to be worth.
#
# * The label is a text: `bert-base-cased` turns it into 768 numbers, which are laid beside those of the step.
#   No label is zeros, or for NATOPS a learned vector. Ours is a row of a learned table.
# * Motion and $z_0$ have the same size, $32 \times 32$. Ours has motion at twice the size of $z_0$, in patches.
# * Frames know their distances alone. Ours know their index as well.
# * Flow and occlusion have a last block and a head of their own, and the last block sees neither step nor
#   label. In ours the two have one block and one head together.
# * The skip from the first layer leaves before the first temporal attention, ours after it.
# * For MUG and MHAD maps grow by a transposed convolution, for NATOPS by repeating places and a convolution, as ours.
#
# ## Further reading
#
# * {cite:t}`ronneberger2015unet`: the U-Net; {cite:t}`cicek2016unet3d` made it three-dimensional, for
#   volumes, with $3 \times 3 \times 3$ kernels and without attention.
# * {cite:t}`ho2022video`: factorized space-time attention in a denoiser. {cite:t}`bertasius2021spacetime`
#   compare ways to split attention, for recognition.
# * {cite:t}`vaswani2017attention`: attention and sinusoids. {cite:t}`su2021rope`: rotary embedding.
#   {cite:t}`raffel2020t5`: the relative position bias with buckets.
# * {cite:t}`shen2021efficient`: linear attention. {cite:t}`wu2018groupnorm`: group norm.
#   {cite:t}`perez2018film`: scale and shift as a condition.
# * {cite:t}`chen2016checkpoint`: time for memory.
