# ---
# jupyter:
#   book:
#     equals:
#       Block: lfdm_lite.unet3d.Block
#       Entrance: lfdm_lite.unet3d.UNet3D.conv_in
#       FramePositions: lfdm_lite.attention.FramePositions
#       Level: lfdm_lite.unet3d.Level
#       LinearSpatialAttention: lfdm_lite.attention.LinearSpatialAttention
#       RelativePositionBias: lfdm_lite.attention.RelativePositionBias
#       ResidualBlock: lfdm_lite.unet3d.ResidualBlock
#       SpatialAttention: lfdm_lite.attention.SpatialAttention
#       TemporalAttention: lfdm_lite.attention.TemporalAttention
#       UNet: lfdm_lite.unet3d.UNet3D
#       attend_v2: lfdm_lite.attention.attend
#       frame_index: lfdm_lite.unet3d.frame_index
#       recompute: lfdm_lite.memory.keeping_inputs
#       rotary_angles: lfdm_lite.attention.rotary_angles
#       rotate_v2: lfdm_lite.attention.rotate
#       sinusoids: lfdm_lite.attention.sinusoids
#     goals:
#     - say what factorizing space and time saves, and what still sees everything
#     - write every block of the denoiser, and know by which property to check it
#     - say how diffusion step, label, picture and frame number get in
#     - find parameters, multiply-adds and memory of a network, block by block
#     - read a temporal attention map, and tell a living network from a dead one
#     minutes: 45
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
# * say how the diffusion step, the label, the picture and the frame number get in;
# * find parameters, multiply-adds and memory of a network, block by block;
# * read a temporal attention map, and tell a living network from a dead one.
#
# **You need** [chapter 6](06_ddpm.ipynb) for what a denoiser is asked, [chapter 0](00_tour.ipynb) for latent
# map, flow and occlusion, and to have built modules in PyTorch. **It takes** 45 minutes to read, and about 35
# seconds and 800 MB of memory to run on two CPU cores.
#
# ![The block diagram of the whole system. The diffusion model is highlighted, with the arrows that enter it: noise from above, the label and the latent map z0 from the left. The rest is pale.](../assets/figures/road_08.svg)
#
# *Where you are: in the same box as in chapter 6, now with the network that does the work, and all that
# enters it.*

# %% [markdown]
# ## What it is asked
#
# The running example is real: six clips of the validation set, one a label, and their motion as the
# auto-encoder of stage one estimates it. Per clip that is 3 numbers (flow right, flow down, occlusion) at
# $16 \times 16$ places in 16 frames.

# %%
import math
from collections import defaultdict
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

import lfdm_lite as lfdm
from lfdm_lite import attention, memory, samplers, unet3d, viz
from lfdm_lite.official.presets import paper_model

# %%
torch.set_num_threads(1)  # the maps here are small: a second thread would mostly wait
plt.rcParams["figure.dpi"] = 80
model = lfdm.LFDM.from_pretrained(lfdm.asset("checkpoints/faces64"))
trained, diffusion = model.unet, model.diffusion

clips = [lfdm.data.Faces("val", size=64)[i] for i in range(6)]
video = torch.stack([clip["video"] for clip in clips]).float()  # (6, 3, 16, 64, 64)
label = torch.tensor([clip["label"] for clip in clips])  # (6,), 0 to 5
with torch.no_grad():
    z0 = model.autoencoder.encode(video[:, :, 0])  # (6, 64, 16, 16)
    x0 = diffusion.pack_motion(model.autoencoder.estimate_motion(video[:, :, 0], video))  # (6, 3, 16, 16, 16)
print("x0:", tuple(x0.shape), " z0:", tuple(z0.shape), " labels:", label.tolist())

# %% [markdown]
# Four things go in: $\mathbf x_t$, the motion with the noise of step $t$; the step $t$ itself; $z_0$, the
# latent map of the given picture; and the label $y$. One comes out, as large as $\mathbf x_t$: here
# $\mathbf v$, from which $\mathbf x_0$ follows ([chapter 6](06_ddpm.ipynb)). This is what the trained network
# makes of it.

# %%
eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
t = torch.full((6,), 500)
x_t = diffusion.add_noise(x0, t, eps)
with torch.no_grad():
    guess, _ = diffusion.to_x0_eps(x_t, t, trained(x_t, t, z0, label))
assert guess.shape == x_t.shape
below = (guess - x0).square().mean() < 0.2 * (x_t - x0).square().mean()
assert below

flows = torch.stack([diffusion.unpack_motion(motion[5:]).flow[0] for motion in (x0, x_t, guess)])
longest = flows[0].norm(dim=0).max().item()
print("error of the guess is below a fifth of the noise:", bool(below))
viz.contact_sheet(
    lfdm.flow_to_rgb(flows, max_norm=longest),
    ["clean", "noisy", "cleaned"],
    frames=8,
    scale=4,
    alt="Three rows of eight small flow maps of the label surprise: the clean motion, coloured grain, and the network's guess, which looks like the first row.",
)

# %% [markdown]
# *The flow of one clip, of the label surprise, in the colours of chapter 1: hue is direction, depth is
# length. Columns are frames. Middle: with the noise of step 500. Bottom: what the network says was
# underneath.*
#
# ## Why space and time are split
#
# A clip of $T$ frames of $H \times W$ places has $THW$ places. Let each look at each, in attention with $C$
# features: one product to compare, one to collect, $2\,C\,(THW)^2$ multiply-adds. **Factorized**, a place
# looks at its own frame, $HW$ places, and then at itself in all $T$ frames. That is $T\,(HW)^2$ and $HW\,T^2$
# in place of $(THW)^2$. The saving is
#
# $$\frac{(THW)^2}{T (HW)^2 + HW\,T^2} = \frac{THW}{HW + T}$$
#
# Nobody has to trust that. PyTorch counts: a mode that watches every matrix product and convolution. On the
# device `meta` tensors have a shape and no numbers, so that counting costs nothing.

# %%
def multiply_adds(compute, *inputs) -> int:
    """Products, each with a sum, in all matrix products and convolutions of compute(*inputs)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        compute(*inputs)
    return counter.get_total_flops() // 2


def compare_and_collect(x: Tensor) -> Tensor:  # (batch, tokens, C): the two products of attention
    return (x @ x.transpose(1, 2)) @ x


C, cost = 32, defaultdict(list)
frames_counted = [1, 4, 16, 40, 160]
for T in frames_counted:
    H = W = 32
    joint = multiply_adds(compare_and_collect, torch.empty(1, T * H * W, C, device="meta"))
    space = multiply_adds(compare_and_collect, torch.empty(T, H * W, C, device="meta"))
    time = multiply_adds(compare_and_collect, torch.empty(H * W, T, C, device="meta"))
    assert joint == 2 * C * (T * H * W) ** 2
    assert math.isclose(joint / (space + time), T * H * W / (H * W + T))
    for name, count in (("joint", joint), ("space", space), ("time", time)):
        cost[name].append(count)
print("saved at 40 frames of 32 x 32: a factor of", round(40 * 1024 / (1024 + 40), 1))

# %% mystnb={"image": {"alt": "Line plot on logarithmic axes of multiply-adds against the number of frames. Joint attention rises with the square. Space, a straight line of slope one, is far below. Time has slope two but lies lowest in the whole range."}}
plt.figure(figsize=(6, 3), layout="constrained")
for (name, counts), style in zip(cost.items(), ("o-", "s--", "^:"), strict=True):
    plt.loglog(frames_counted, counts, style, color="k", label=name)
plt.xlabel("frames of 32 x 32")
plt.ylabel("multiply-adds")
plt.legend()
plt.show()
assert cost["time"][3] < cost["space"][3] < cost["joint"][3]
print("looking through time is the cheapest:", cost["time"][3] < cost["space"][3])

# %% [markdown]
# *Multiply-adds of the two products of attention. Joint and time grow with the square of the number of
# frames, space in proportion. Time is cheap as long as there are fewer frames than places.*
#
# Convolutions are split alike: a kernel of $3 \times 3 \times 3$ becomes $1 \times 3 \times 3$, a third of
# the cost, and looks at one frame. A frame at a time is what a 2-D convolution does. So fold the frames into
# the batch: `(b, c, t, h, w)` becomes `(b t, c, h, w)`. We use `rearrange` of the package `einops` for this,
# whose first argument says in words what happens to the axes.

# %%
clip = torch.randn(2, 3, 4, 6, 6, generator=torch.Generator().manual_seed(1))  # b c t h w
kernel = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(2))

in_3d = F.conv3d(clip, kernel[:, :, None], padding=(0, 1, 1))
folded = rearrange(clip, "b c t h w -> (b t) c h w")
in_2d = rearrange(F.conv2d(folded, kernel, padding=1), "(b t) c h w -> b c t h w", t=4)
assert_close(in_3d, in_2d, atol=1e-5, rtol=1e-5)

whole_kernel = torch.randn(8, 3, 3, 3, 3)
third = multiply_adds(F.conv2d, folded, kernel) / multiply_adds(F.conv3d, F.pad(clip, (0, 0, 0, 0, 1, 1)), whole_kernel)
assert math.isclose(third, 1 / 3)
print("a (1, 3, 3) convolution is a 2-D convolution of each frame:", tuple(folded.shape))

# %% [markdown]
# From here on all activations are frames, `(b t) c h w`. Only two parts of the network undo the fold and must
# know which frames belong together: the group norm and temporal attention.
#
# ## The residual block
#
# The first block works in space. It is a chain of convolution, normalization, scale and shift, and a soft
# threshold; that chain once more, without scale and shift; and the input is added to what comes out.
#
# **Group norm** {cite:p}`wu2018groupnorm` collects the channels in groups, and brings every group of every
# clip to mean 0 and variance 1. For a group with mean $\bar y$ and variance $\nu$, and a small $\varepsilon$:
#
# $$\hat y = \frac{y - \bar y}{\sqrt{\nu + \varepsilon}}$$

# %%
def group_norm(y: Tensor, groups: int, eps: float = 1e-5) -> Tensor:
    """y (b, c, t, h, w): statistics of each clip's group of channels, over all its frames and places."""
    grouped = rearrange(y, "b (g c) t h w -> b g (c t h w)", g=groups)
    mean = grouped.mean(dim=-1, keepdim=True)
    variance = grouped.var(dim=-1, unbiased=False, keepdim=True)
    return ((grouped - mean) / (variance + eps).sqrt()).reshape(y.shape)


toy = torch.randn(2 * 4, 16, 6, 6, generator=torch.Generator().manual_seed(3))  # two clips of four frames
clips_of_toy = rearrange(toy, "(b t) c h w -> b c t h w", t=4)
normal = group_norm(clips_of_toy, groups=8)
assert_close(normal, F.group_norm(clips_of_toy, 8), atol=1e-5, rtol=1e-5)
assert_close(normal, group_norm(7 * clips_of_toy + 2, groups=8), atol=1e-4, rtol=1e-4)
print("equal to torch; blind to the loudness and level of its input:", tuple(normal.shape))

# %% [markdown]
# Why over the whole clip, and not frame by frame? Because motion *grows*. A face starts at rest. If every
# frame were brought to variance 1 by itself, frame 0 would move as much as the last, and no later block could
# tell.

# %% mystnb={"image": {"alt": "Line plot over the frames. The length of the flow rises from almost zero and levels off. Normalized over the clip it has the same shape. Normalized frame by frame it is a flat line at one."}}
flow = x0[5:, :2]  # (1, 2, 16, 16, 16)
over_clip = group_norm(flow, groups=1)
by_frame = rearrange(group_norm(rearrange(flow, "b c t h w -> (b t) c 1 h w"), groups=1), "t c b h w -> b c t h w")
size = lambda y: y.square().mean(dim=(0, 1, 3, 4)).sqrt()

plt.figure(figsize=(6, 3), layout="constrained")
plt.plot(size(flow), "o-", color="k", label="flow")
plt.plot(size(over_clip), "s--", color="#1f3b57", label="normalized over the clip")
plt.plot(size(by_frame), "^:", color="#b35900", label="normalized frame by frame")
plt.xlabel("frame")
plt.ylabel("root mean square")
plt.legend()
plt.show()
assert size(by_frame).std() < 0.01 and size(over_clip).std() > 0.2
print("frame by frame, the growth is gone:", bool(size(by_frame).std() < 0.01))

# %% [markdown]
# *How long the flow of one clip is, frame by frame. Normalized over the clip, the growth is kept; the first
# frames do not start at 0, because the mean of the clip was taken away. Frame by frame, the growth is lost.*
#
# And why not the **batch norm** that stage one uses? It takes its statistics over all examples of a batch. In
# stage two each example has its own amount of noise. One noisy clip would change what the network sees of all
# others.

# %%
poked = toy.clone()
poked[4:] *= 10  # the second clip gets louder; what happens to the first?
stage_one = lfdm.layers.ResidualBlock(16).train()
with torch.no_grad():
    leak = (stage_one(toy)[:4] - stage_one(poked)[:4]).abs().max()
kept_apart = group_norm(rearrange(poked, "(b t) c h w -> b c t h w", t=4), 8)[0] - normal[0]
assert leak > 0.1 and kept_apart.abs().max() == 0
print("batch norm mixes clips:", bool(leak > 0.1), " group norm does:", bool(kept_apart.abs().max() > 0))

# %% [markdown]
# **Scale and shift.** The network must do different things at $t = 900$ and at $t = 30$, and for happiness
# and for anger. Step and label reach it here. They are turned into a scale $\gamma$ and a shift $\psi$ for
# every channel, which act just before the threshold {cite:p}`perez2018film`:
#
# $$\mathrm{silu}\big((1 + \gamma)\, \hat y + \psi\big), \qquad \mathrm{silu}(a) = \frac{a}{1 + e^{-a}}$$
#
# With the 1, a network that knows nothing ($\gamma = \psi = 0$) lets things pass.

# %% mystnb={"image": {"alt": "Four curves of the output against the normalized input. Scale 0, shift 0: the usual soft threshold at zero. Scale 1: twice as steep. Shift minus 4: nearly zero everywhere. Scale minus 2: mirrored."}}
def scaled_silu(y: Tensor, gamma: float, psi: float) -> Tensor:
    a = (1 + gamma) * y + psi
    return a / (1 + torch.exp(-a))


y = torch.linspace(-3, 3, 121)
plt.figure(figsize=(6, 3), layout="constrained")
for (gamma, psi), style in zip(((0, 0), (1, 0), (0, -4), (-2, 0)), ("-", "--", ":", "-."), strict=True):
    plt.plot(y, scaled_silu(y, gamma, psi), style, color="k", label=rf"$\gamma$ = {gamma}, $\psi$ = {psi}")
plt.xlabel(r"$\hat y$")
plt.legend()
plt.show()
assert_close(scaled_silu(y, 0, 0), F.silu(y))
assert scaled_silu(y, 0, -4).abs().max() < 0.3 * scaled_silu(y, 0, 0).max()
print("a shift of -4 closes a channel")

# %% [markdown]
# *The same channel under four conditions: open, louder, closed, mirrored. Step and label work as switches.*
#
# Now the block. `count` is the number of frames, which the group norm needs to find the clips.

# %%
class Block(nn.Module):
    def __init__(self, dim: int, dim_out: int, groups: int):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim_out, 3, padding=1)
        self.norm = nn.GroupNorm(groups, dim_out)  # with a learned factor and summand a channel, too

    def forward(self, x: Tensor, count: int, gamma: Tensor | float = 0.0, psi: Tensor | float = 0.0) -> Tensor:
        y = rearrange(self.conv(x), "(b t) c h w -> b c t h w", t=count)
        y = F.silu((1 + gamma) * self.norm(y) + psi)
        return rearrange(y, "b c t h w -> (b t) c h w")


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
# Every part of this chapter is held against the library's with the same weights. `twin` copies them.

# %%
def twin(theirs: nn.Module, ours: nn.Module) -> nn.Module:
    """Our module with the library's weights: every name and shape must fit."""
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours


def plain_frames(count: int) -> attention.Frames:
    return attention.Frames(count, None, None, None, None)


torch.manual_seed(0)
condition = torch.randn(2, 24, generator=torch.Generator().manual_seed(4))  # one vector a clip
theirs = unet3d.ResidualBlock(16, 32, 24, 8)
block = twin(theirs, ResidualBlock(16, 32, 24, 8))
assert block(toy, condition, 4).shape == (8, 32, 6, 6)
assert_close(block(toy, condition, 4), theirs(toy, condition, plain_frames(4)), atol=1e-5, rtol=1e-5)
assert_close(block.block1(toy, 4), theirs.block1(toy, plain_frames(4)), atol=1e-5, rtol=1e-5)

other = condition.flip(0)  # exchange what the two clips are told
assert (block(toy, other, 4) - block(toy, condition, 4)).abs().max() > 0.01
nn.init.zeros_(block.condition[1].weight)
assert_close(block(toy, other, 4), block(toy, condition, 4))  # without those weights, nobody listens
print("residual block: equal to the library's; the condition acts through one matrix")

# %% [markdown]
# ## What is the condition?
#
# **The diffusion step.** A single number between 0 and 999 is a poor input: a network is slow to tell step 40
# from step 30. So it becomes many numbers, waves of different length, like the hands of a clock with many
# hands; a variant of those of {cite:t}`vaswani2017attention`. With $P = 10000$ and $i = 0, \dots, n - 1$:
#
# $$e(t) = \big(\sin \omega_0 t, \dots, \sin \omega_{n-1} t,\; \cos \omega_0 t, \dots, \cos \omega_{n-1} t\big)$$
#
# $$\omega_i = P^{-i / (n - 1)}$$
#
# How alike two steps are depends on their distance alone:
#
# $$e(s) \cdot e(t) = \sum_{i=0}^{n-1} \cos \omega_i (s - t)$$

# %%
def sinusoids(position: Tensor, dim: int, max_period: float = 10_000.0) -> Tensor:
    """position (n,) -> (n, dim)."""
    n = dim // 2
    omega = max_period ** (-torch.arange(n) / (n - 1))
    angle = position.float()[:, None] * omega.to(position.device)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


steps = torch.arange(1000)
e = sinusoids(steps, 32)
assert e.shape == (1000, 32)
assert_close(e, attention.sinusoids(steps, 32), atol=1e-3, rtol=0)
omega = 10_000.0 ** (-torch.arange(16) / 15)
apart = (500 - steps)[:, None] * omega
assert_close(e @ e[500], apart.cos().sum(dim=1), atol=5e-3, rtol=0)
print("step as a vector:", tuple(e.shape), " their products know the distance alone")

# %% mystnb={"image": {"alt": "Left: a picture of 32 features over 1000 steps, fast stripes at the top of each half that get slower downwards. Right: the product of step 500 with every step, a sharp peak of 16 at 500, on a hill that falls to both sides with many ripples."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
left.imshow(e.T, aspect="auto", cmap="gray", interpolation="nearest")
left.set(xlabel="step t", ylabel="feature", title="e(t)")
right.plot(e @ e[500], color="k")
right.set(xlabel="step t", title="e(500) · e(t)")
plt.show()
assert (e @ e[500]).argmax() == 500
print("most like step 500 is step", (e @ e[500]).argmax().item())

# %% [markdown]
# *Left: one row a feature, white is 1 and black is -1; sines above, cosines below. The fast ones tell
# neighbours apart, the slow ones early from late. Right: how similar step 500 is to every step. The fast
# waves make the ripples and the sharp peak, the slow ones the hill.*
#
# Two linear layers then make of it what the blocks need.
#
# **The label** is a row of a learned table. The table has one row more than there are labels: the **null
# condition**, for "no label given". In training a tenth of the labels is replaced by it. So one network
# learns both answers, with label and without, which guidance needs ([chapter 7](07_samplers.ipynb)). A
# label's row learns only from clips of that label, the null row only from dropped labels:

# %%
table = nn.Embedding(6 + 1, 128)
null_label = 6
generator = torch.Generator().manual_seed(5)
dropped = torch.rand(6000, generator=generator) < 0.1
seen = torch.where(dropped, null_label, label.repeat(1000))
assert abs(dropped.float().mean() - 0.1) < 0.01

table(torch.tensor([0, null_label, 2])).sum().backward()
learned_from = table.weight.grad.abs().sum(dim=1) > 0
print("of 6000 labels dropped, in percent:", round(100 * (seen == null_label).float().mean().item()))
print("rows that learn from a batch of labels 0, null, 2:", learned_from.nonzero().flatten().tolist())

# %% [markdown]
# Step and label are laid side by side: that is the condition of every residual block. What has the trained
# network made of it? Take the block in its middle, and follow the scale of a few channels over the steps.

# %% mystnb={"image": {"alt": "Six full curves of 1 + gamma over the diffusion step for six channels of the middle block. Five fall from about 4 to between 0 and 1, one rises from 0.6 to over 4. A dotted curve of the null condition runs parallel to each, some nearby, one about 1.7 lower."}}
with torch.no_grad():
    told = trained.time(sinusoids(steps, 32))  # (1000, 128)
    scales = {}
    for name, row in (("surprise", 5), ("null", trained.null_label)):
        given = torch.cat([told, trained.label.weight[row].expand(1000, -1)], dim=1)
        scales[name] = 1 + trained.middle_block1.condition(given)[:, :192]
busiest = scales["surprise"].std(dim=0).topk(6).indices

plt.figure(figsize=(7, 3.2), layout="constrained")
for i, colour in zip(busiest.tolist(), plt.cm.viridis(torch.linspace(0, 0.85, 6)), strict=True):
    plt.plot(scales["surprise"][:, i], "-", color=colour)
    plt.plot(scales["null"][:, i], ":", color=colour)
plt.plot([], "k-", label="surprise")
plt.plot([], "k:", label="null condition")
plt.xlabel("step t")
plt.ylabel(r"$1 + \gamma$")
plt.legend()
plt.show()
over_steps = scales["surprise"].std(dim=0).mean()
label_part = scales["surprise"] - scales["null"]
assert over_steps > 0.05 and label_part.square().mean().sqrt() > 0.05
assert_close(label_part, label_part[:1].expand_as(label_part), atol=1e-3, rtol=0)
print("both move the scales; the label by the same amount at every step:", label_part.std(dim=0).max().item() < 1e-3)

# %% [markdown]
# *The scale of the six channels that vary most. Full: told "surprise". Dotted: told nothing. Channels get
# louder or quieter with the step: each part of the way has its own workers. The label moves them too.*
#
# Each dotted curve is parallel to its full one. That is no accident: step and label are laid side by side,
# and one matrix makes the scale of them, so in it they only *add*. What depends on both together must come
# later, in the layers that the scaled channels go into.
#
# ## Attention within a frame
#
# A convolution of $3 \times 3$ sees its neighbours. When the left brow rises, the right one should too, and
# it is ten places away. **Attention** lets every place $i$ ask all places $j$. The question is a query $q_i$.
# Each place holds up a key $k_j$, and the better it fits the query, the more of its value $v_j$ goes into the
# answer $o_i$. All of them are $d$ numbers that linear layers make of the features of a place, its **token**.
# With a bias $B_{ij}$, which is 0 for now:
#
# $$A_{ij} = \mathrm{softmax}_j\!\left(\frac{q_i \cdot k_j}{\sqrt d} + B_{ij}\right)$$
#
# $$o_i = \sum_j A_{ij}\, v_j$$

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
assert_close(attend_v2(q, k, v)[0, 0], attend_v1(q[0, 0], k[0, 0], v[0, 0]))
assert_close(attend_v2(q, k, v, bias), attention.attend(q, k, v, bias))
assert_close(attend_v2(q, k, v, bias), F.scaled_dot_product_attention(q, k, v, attn_mask=bias))
print("the loop, the matrices, the library and torch agree")

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
        self.norm = nn.LayerNorm(dim)  # each place's features to mean 0, variance 1
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, dim)

    def forward(self, x: Tensor) -> Tensor:  # (b t) c h w
        tokens = self.norm(rearrange(x, "bt c h w -> bt (h w) c"))
        pattern = "bt n (three heads d) -> three bt heads n d"
        q, k, v = rearrange(self.to_qkv(tokens), pattern, three=3, heads=self.heads)
        o = self.to_out(rearrange(self.read(q, k, v), "bt heads n d -> bt n (heads d)"))
        return x + rearrange(o, "bt (h w) c -> bt c h w", h=x.shape[2])

    def read(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend_v2(q, k, v)

# %%
full = twin(theirs := attention.SpatialAttention(16, 2, 8), SpatialAttention(16, 2, 8))
assert_close(full(toy), theirs(toy), atol=1e-5, rtol=1e-5)

shuffle = torch.randperm(36, generator=torch.Generator().manual_seed(8))
shuffled = lambda x: x.flatten(2)[..., shuffle].unflatten(2, (6, 6))
assert_close(full(shuffled(toy)), shuffled(full(toy)), atol=1e-5, rtol=1e-5)
print("equal to the library's; shuffle the places, and the answers are shuffled alike")

# %% [markdown]
# The last check is a warning: attention does not know *where* a place is. In space the convolutions tell it:
# at the border they see zeros, and layers further in learn from that. In time nothing will, unless we do.
#
# ### Linear attention
#
# Full attention compares $n$ places with $n$ places: $n^2$. {cite:t}`shen2021efficient` avoid the square.
# Take the softmax of the keys over places, and of the queries over features, *before* they meet. Then the
# order of the products is free:
#
# $$M = \sum_j \mathrm{softmax}_j(k_j)\, v_j^\top, \quad o_i = \frac{1}{\sqrt d}\, \mathrm{softmax}(q_i)^\top M$$
#
# $M$ is a summary of the frame, $d \times d$ numbers whatever its size. Each of its $d$ rows is a mean of the
# values, over the places that one feature of the keys selects. Each query mixes those rows.

# %%
def read_v1(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As attention is written: first all pairs of places, n x n."""
    pairs = q.softmax(dim=-1) @ k.softmax(dim=-2).transpose(-1, -2)
    return pairs @ v / math.sqrt(q.shape[-1])


class LinearSpatialAttention(SpatialAttention):
    def read(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        M = k.softmax(dim=-2).transpose(-1, -2) @ v  # bt heads d d
        return q.softmax(dim=-1) @ M / math.sqrt(q.shape[-1])


linear = twin(theirs := attention.LinearSpatialAttention(16, 2, 8), LinearSpatialAttention(16, 2, 8))
assert_close(linear(toy), theirs(toy), atol=1e-5, rtol=1e-5)
assert_close(linear.read(q, k, v), read_v1(q, k, v))
pairs = q.softmax(dim=-1) @ k.softmax(dim=-2).transpose(-1, -2)
assert_close(pairs.sum(dim=-1), torch.ones(2, 4, 9))  # shares of 1, as in full attention
rank = torch.linalg.matrix_rank(pairs[0, 0])  # of 9 x 9
print("both orders give the same; equal to the library's; rank at most 8:", bool(rank <= 8))

# %% [markdown]
# What is the price? A matrix of pairs that is a product of $n \times d$ and $d \times n$ has rank $d$ at
# most. If the softmaxes are sharp, every feature of the keys selects one place. Then at most $d$ places can
# be read at all. Give both the easiest task there is: every place asks for itself, with a query that is its
# own key. Who gets the own value back?

# %%
def share_found(read, n: int, d: int = 32, gain: float = 4.0) -> float:
    """Share of n places that get back something most like their own value."""
    g = torch.Generator().manual_seed(9)
    k, v = gain * torch.randn(n, d, generator=g), torch.randn(n, d, generator=g)
    o = F.normalize(read(k, k, v), dim=-1) @ F.normalize(v, dim=-1).T
    return (o.argmax(dim=1) == torch.arange(n)).float().mean().item()


places = [16, 64, 256, 1024]
found = {name: [share_found(read, n) for n in places] for name, read in (("full", attend_v2), ("linear", linear.read))}
counted = {}
for name, read in (("full", attend_v2), ("linear", linear.read)):
    counted[name] = [multiply_adds(read, *torch.empty(3, n, 32, device="meta").unbind()) for n in places]
assert counted["full"] == [2 * n * n * 32 for n in places] and counted["linear"] == [2 * n * 32 * 32 for n in places]
assert min(found["full"]) > 0.95 and all(share * n <= 32 for share, n in zip(found["linear"], places, strict=True))
print("of 1024 places, linear attention finds at most 32:", found["linear"][-1] * 1024 <= 32)

# %% mystnb={"image": {"alt": "Left: share of places found against their number. Full stays at one. Linear falls from about 0.7 at 16 places to a few percent at 1024, along a dotted line of 32 over n. Right: multiply-adds against the number of places on logarithmic axes; the lines cross at 32 places, full rises twice as steeply."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for name, style in (("full", "o-"), ("linear", "s--")):
    left.semilogx(places, found[name], style, color="k", label=name)
    right.loglog(places, counted[name], style, color="k", label=name)
left.semilogx(places, [min(1, 32 / n) for n in places], ":", color="#b35900", label="32 / n")
left.set(xlabel="places n", ylabel="share that finds itself")
right.set(xlabel="places n", ylabel="multiply-adds")
left.legend()
right.legend()
plt.show()
print("16 x 16 places cost full attention", counted["full"][2] // counted["linear"][2], "times as much as linear")

# %% [markdown]
# *Left: linear attention finds no more than $d = 32$ places, however many there are. Right: the price of full
# attention. Linear attention tells every place what is going on in its frame. It cannot point at one place
# among many.*
#
# So there is a choice at every level. LFDM takes linear attention everywhere but in the middle. Our network
# takes full attention at $8 \times 8$ and $4 \times 4$ places, where it is cheap, and none at $16 \times 16$.

# %% [markdown]
# ## Attention through time
#
# Now fold the other way: every place is a sequence of its own, and its tokens are the frames. Version 1 is
# spatial attention with other words in the pattern: "places" are now the frames. It has the fault that we
# were warned of.

# %%
def temporal_v1(module: SpatialAttention, x: Tensor, count: int) -> Tensor:
    """Attention over the frames of every place, by a module that believes it works in space."""
    sequences = rearrange(x, "(b t) c h w -> (b h w) c t 1", t=count)
    return rearrange(module(sequences), "(b h w) c t 1 -> (b t) c h w", h=x.shape[2], w=x.shape[3])


order = torch.tensor([2, 0, 3, 1])  # shuffle the frames of both clips
reorder = lambda x: rearrange(rearrange(x, "(b t) c h w -> b t c h w", t=4)[:, order], "b t c h w -> (b t) c h w")
assert_close(temporal_v1(full, reorder(toy), 4), reorder(temporal_v1(full, toy, 4)), atol=1e-5, rtol=1e-5)
print("version 1 does not know that time has an order")

# %% [markdown]
# To this network a clip is a bag of frames. There are three cures, and you build each: turn queries and keys
# (rotary), add a learned number per distance (relative bias), or tell every token its frame (embedding).
#
# ### Rotary embedding
#
# {cite:t}`su2021rope` turn every pair of features of a query or key by an angle that grows with its frame
# $i$:
#
# $$R_i = \begin{pmatrix} \cos \omega i & -\sin \omega i \\ \sin \omega i & \cos \omega i \end{pmatrix}$$
#
# $$(R_i\, q) \cdot (R_j\, k) = q \cdot (R_{j - i}\, k)$$
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
    """x (t, d), frame by frame and pair by pair, by the matrix."""
    turned, half = torch.empty_like(x), x.shape[1] // 2
    for i in range(len(x)):
        for f in range(half):
            cos, sin = math.cos(angle[i, f]), math.sin(angle[i, f])
            R = torch.tensor([[cos, -sin], [sin, cos]])
            turned[i, [f, f + half]] = R @ x[i, [f, f + half]]
    return turned


def rotate_v2(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (..., t, d), cos and sin (t, d)."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin

# %%
angle = rotary_angles(16, 32)
cos, sin = angle.cos(), angle.sin()
assert_close(angle, attention.rotary_angles(16, 32, torch.device("cpu")))
q16, k16 = torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(10))
assert_close(rotate_v2(q16, cos, sin), rotate_v1(q16, angle), atol=1e-5, rtol=1e-5)
assert_close(rotate_v2(q16, cos, sin), attention.rotate(q16, cos, sin))

turned_q, turned_k = (rotate_v2(vector[0].expand(16, 32), cos, sin) for vector in (q16, k16))  # one q, one k
products = turned_q @ turned_k.T  # frame of q, frame of k
for distance in range(-15, 16):
    same = products.diagonal(distance)
    assert_close(same, same[:1].expand_as(same), atol=1e-4, rtol=1e-4)
assert_close(turned_q.norm(dim=-1), q16[0].norm().expand(16))  # turning changes no length
assert_close(rotate_v2(q16, cos, sin)[0], q16[0])  # frame 0 stays
print("31 distances, one product each; lengths stay")

# %% [markdown]
# ### Relative position bias
#
# The other way to tell distances: a table with a learned number per head and distance, which is added to the
# score as $B_{ij}$ {cite:p}`raffel2020t5`. Distances $r = j - i$ that are near have a number of their own,
# far ones share:
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

    def forward(self, count: int) -> Tensor:  # heads t t
        frame = torch.arange(count, device=self.table.weight.device)
        return rearrange(self.table(self.bucket(frame[None] - frame[:, None])), "i j heads -> heads i j")


relative = twin(theirs := attention.RelativePositionBias(2), RelativePositionBias(2))
assert_close(relative(40), theirs(40))
r = torch.arange(-40, 41)
assert torch.equal(relative.bucket(r), theirs.bucket(r))
assert_close(relative(40)[:, 3, 5], relative(40)[:, 30, 32])  # the distance counts ...
assert (relative(40)[:, 3, 5] != relative(40)[:, 5, 3]).any()  # ... and its direction
print("buckets of 0, -1, -7, -8, -16, -40:", relative.bucket(torch.tensor([0, -1, -7, -8, -16, -40])).tolist())

# %% mystnb={"image": {"alt": "Left: the products of one turned query and one turned key for 16 by 16 frames, constant along diagonals. Middle: the bucket of every distance from -40 to 40: two mirrored stairs, steps of one up to distance 7, longer steps beyond. Right: a random bias table as a 16 by 16 map, constant along diagonals."}}
fig, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
left.imshow(products, cmap="gray")
left.set(title="rotary: $(R_i q) \\cdot (R_j k)$", xlabel="frame j", ylabel="frame i")
middle.step(r, relative.bucket(r), "k", where="mid")
middle.set(title="bucket of a distance", xlabel="r = j - i", ylabel="bucket")
right.imshow(relative(16)[0].detach(), cmap="gray")
right.set(title="a random bias table", xlabel="frame j", ylabel="frame i")
plt.show()
buckets = relative.bucket(r)
assert (buckets[r > 0].diff() >= 0).all() and (buckets[r <= 0].diff() <= 0).all()
print("buckets in use for 16 frames:", len(buckets[r.abs() < 16].unique()))

# %% [markdown]
# *Left and right: both cures know the diagonal, that is the distance, and nothing else. Middle: the table has
# 32 numbers a head, half of them for either direction.*
#
# ### Which frame is which
#
# Distances do not say which frame is the *first*. But the first frame is special: it is the given picture, at
# rest. So our network has a third cure, which the paper's has not: sinusoids of the frame's number, through a
# linear layer, added to every token. What all temporal attentions share is computed once, in
# `FramePositions`.

# %%
class Frames(NamedTuple):
    count: int
    cos: Tensor | None  # (t, head_dim)
    sin: Tensor | None
    bias: Tensor  # (heads, t, t)
    embedding: Tensor | None  # (t, embedding_dim)


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

    def forward(self, x: Tensor, frames: Frames) -> Tensor:  # (b t) c h w
        q, k, v = self.qkv(x, frames)
        o = rearrange(attend_v2(q, k, v, frames.bias), "n heads t d -> n t (heads d)")
        return x + rearrange(self.to_out(o), "(b h w) t c -> (b t) c h w", h=x.shape[2], w=x.shape[3])

    def qkv(self, x: Tensor, frames: Frames) -> list[Tensor]:
        tokens = self.norm(rearrange(x, "(b t) c h w -> (b h w) t c", t=frames.count))
        if self.frame is not None:
            tokens = tokens + self.frame(frames.embedding)
        pattern = "n t (three heads d) -> three n heads t d"
        q, k, v = rearrange(self.to_qkv(tokens), pattern, three=3, heads=self.heads)
        if frames.cos is not None:
            q, k = rotate_v2(q, frames.cos, frames.sin), rotate_v2(k, frames.cos, frames.sin)
        return q, k, v

# %%
for rotary, embedding in ((None, None), (8, None), (None, 16), (8, 16)):  # every combination of cures
    theirs = attention.TemporalAttention(16, 2, 8, embedding), attention.FramePositions(2, rotary, embedding)
    temporal = twin(theirs[0], TemporalAttention(16, 2, 8, embedding))
    positions = twin(theirs[1], FramePositions(2, rotary, embedding))
    assert_close(temporal(toy, positions(4)), theirs[0](toy, theirs[1](4)), atol=1e-5, rtol=1e-5)
    difference = temporal(reorder(toy), positions(4)) - reorder(temporal(toy, positions(4)))
    assert difference.abs().max() > 1e-3  # time has an order now
print("equal to the library's with every combination, and frames may no longer be shuffled")

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
fig, axes = plt.subplots(1, 4, figsize=(11, 3), layout="constrained")
seen = {}
for ax, (name, look) in zip(axes, looks.items(), strict=True):
    x.grad = None
    look(x.requires_grad_())[4, :, 3, 3].sum().backward()
    seen[name] = x.grad.abs().sum(dim=1) > 0  # frames, rows, columns
    ax.imshow(seen[name][:, 3], cmap="Greys", vmin=0, vmax=1.5)
    ax.plot(3, 4, "D", color="#b35900")
    ax.set(title=name, xlabel="column", ylabel="frame")
plt.show()
counts = [int(cells.sum()) for cells in seen.values()]
assert counts == [9, 49, 9, 441]
print("places that one output sees:", dict(zip(seen, counts, strict=True)))

# %% [markdown]
# *Dark cells influence the place with the diamond; rows other than 3 are not drawn. Two steps, each of them
# narrow, reach all 441 places: first everything in a frame is gathered at each place, then the frames.*
#
# What is lost? A place can no longer ask another place *in another frame* directly, by content. It takes two
# steps: attention in space gathers the other frame at this row and column, before anyone knows who in time
# will ask for it. With many levels there are many such ways.
#
# ## How the picture gets in
#
# $z_0$ has 64 channels and the same size as the motion. It is laid on top of the noisy motion of *every*
# frame, and the first convolution sees all of it. With kernels $\Theta_{\mathbf x}$ and $\Theta_z$ for the
# two parts, and $*$ for convolution:
#
# $$\Theta * [\mathbf x_t, z_0] = \Theta_{\mathbf x} * \mathbf x_t + \Theta_z * z_0$$
#
# A convolution is linear, so both sides are the same, and the second is cheaper: $z_0$ is equal in all
# frames, so convolve it once, and add. A third summand tells each frame its place in the clip, a number from
# -1 to 1.

# %%
def frame_index(count: int, num_frames: int, device=None) -> Tensor:
    return 2 * torch.arange(count, device=device) / max(num_frames - 1, 1) - 1


class Entrance(nn.Module):
    def __init__(self, config: lfdm.UNet3DConfig):
        super().__init__()
        self.config = config
        size = dict(kernel_size=config.init_kernel, padding=config.init_kernel // 2)
        self.conv_motion = nn.Conv2d(config.channels, config.dim, **size)
        self.conv_features = nn.Conv2d(config.feature_channels, config.dim, **size, bias=False)
        self.conv_index = nn.Conv2d(1, config.dim, **size, bias=False) if config.frame_index else None

    def conv_in(self, x: Tensor, features: Tensor) -> Tensor:
        """x (b, c, t, h, w), features (b, f, h, w) or one map a frame (b, f, t, h, w) -> (b t, dim, h, w)."""
        b, _, count, h, w = x.shape
        maps = features[:, :, None] if features.ndim == 4 else features
        y = rearrange(self.conv_motion(rearrange(x, "b c t h w -> (b t) c h w")), "(b t) d h w -> b t d h w", b=b)
        of_z0 = self.conv_features(rearrange(maps, "b f n h w -> (b n) f h w"))  # n is 1, or t
        y = y + rearrange(of_z0, "(b n) d h w -> b n d h w", b=b)
        if self.conv_index is not None:
            index = frame_index(count, self.config.num_frames, x.device)
            y = y + self.conv_index(repeat(index, "t -> t 1 h w", h=h, w=w))
        return rearrange(y, "b t d h w -> (b t) d h w")

# %%
entrance = Entrance(trained.config)
entrance.load_state_dict({name: value for name, value in trained.state_dict().items() if name in entrance.state_dict()})
with torch.no_grad():
    summed = entrance.conv_in(x_t, z0)
    assert_close(summed, trained.conv_in(x_t, z0), atol=1e-4, rtol=1e-4)
    per_frame = repeat(z0, "b f h w -> b f t h w", t=16)
    assert_close(entrance.conv_in(x_t, per_frame), summed, atol=1e-4, rtol=1e-4)

    index = repeat(frame_index(16, 16), "t -> b 1 t h w", b=6, h=16, w=16)
    on_top = rearrange(torch.cat([x_t, index, per_frame], dim=1), "b c t h w -> (b t) c h w")  # 68 channels
    kernels = torch.cat([entrance.conv_motion.weight, entrance.conv_index.weight, entrance.conv_features.weight], dim=1)
    assert_close(F.conv2d(on_top, kernels, entrance.conv_motion.bias, padding=3), summed, atol=1e-3, rtol=1e-3)
    once, every = (multiply_adds(entrance.conv_in, x_t, maps) for maps in (z0, per_frame))
print("frame index:", [round(i, 2) for i in frame_index(16, 16)[[0, 1, 15]].tolist()])
print("both sides agree; convolving z0 in every frame would cost", round(every / once, 1), "times as much")

# %% [markdown]
# Does the trained network use all this? Take something away, and see how much the loss of $\mathbf v$ rises:
# another person's $z_0$, an empty one, no label, a wrong label.

# %%
changes = {
    "empty $z_0$": (0 * z0, label),
    "another's $z_0$": (z0.roll(2, dims=0), label),
    "wrong label": (z0, label.roll(2)),
    "no label": (z0, torch.full_like(label, trained.null_label)),
}
listened = [50, 300, 600, 950]


def loss(step: int, features: Tensor, label: Tensor) -> float:
    with torch.no_grad():
        return diffusion.loss_at(trained, x0, torch.full((6,), step), eps, features, label).item()


right = [loss(step, z0, label) for step in listened]
rise = {}
for name, given in changes.items():
    rise[name] = [loss(step, *given) / base for step, base in zip(listened, right, strict=True)]

# %% mystnb={"image": {"alt": "Line plot of the loss relative to the right inputs, at four diffusion steps. With an empty z0 it is two to three times as high at all steps. A wrong label costs little at step 50 and more than three times at step 950. Another person's z0 and no label lie lower, between one and two."}}
plt.figure(figsize=(6.5, 3.2), layout="constrained")
for (name, values), style in zip(rise.items(), ("o-", "s--", "^:", "D-."), strict=True):
    plt.plot(listened, values, style, label=name)
plt.axhline(1, color="0.5", linewidth=0.8)
plt.xlabel("step t")
plt.ylabel("loss / loss with the right inputs")
plt.legend(fontsize=8)
plt.show()
assert min(rise["empty $z_0$"]) > 1.3 and rise["wrong label"][-1] > 2 * rise["wrong label"][0]
print("the label counts most at the noisy end:", rise["wrong label"][-1] > 2 * rise["wrong label"][0])

# %% [markdown]
# *How many times as high the loss is, on six clips. An empty $z_0$, which training has never shown, hurts
# everywhere. Another person's costs less, since all faces here have brows and mouth in nearly the same
# places. The label counts where noise hides the motion; once the motion can be seen, nobody needs to be told
# what it is.*

# %% [markdown]
# ## The whole network
#
# A U-Net {cite:p}`ronneberger2015unet` has a way down, where the maps shrink and the channels grow, and a way
# up. What was seen at each level on the way down is kept, and laid beside the way up: the *skips*. A level
# is: residual blocks, attention in space, attention in time.

# %%
def residual_block(config: lfdm.UNet3DConfig, dim: int, dim_out: int) -> ResidualBlock:
    return ResidualBlock(dim, dim_out, 8 * config.dim, config.norm_groups)


def spatial_attention(config: lfdm.UNet3DConfig, dim: int, kind: str) -> nn.Module:
    kinds = {"linear": LinearSpatialAttention, "full": SpatialAttention}
    return nn.Identity() if kind == "none" else kinds[kind](dim, config.heads, config.head_dim)


def temporal_attention(config: lfdm.UNet3DConfig, dim: int) -> TemporalAttention:
    return TemporalAttention(dim, config.heads, config.head_dim, config.dim if config.frame_embedding else None)


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

# %% [markdown]
# Between levels a convolution of stride 2 halves height and width. On the way up each place is repeated twice
# in both directions, and a convolution smooths it. (`resize` and `conv` are the library's names: weights are
# loaded by name.)

# %%
def upsample(dim: int) -> nn.Sequential:
    grow = nn.Sequential()
    grow.add_module("resize", nn.Upsample(scale_factor=2, mode="nearest"))
    grow.add_module("conv", nn.Conv2d(dim, dim, 3, padding=1))
    return grow


small = lfdm.UNet3DConfig(feature_channels=5, dim=16, dim_mults=(1, 2), blocks=2, heads=2, head_dim=8, num_frames=4)
theirs = unet3d.Level(small, 16, 32, "linear")
level = twin(theirs, Level(small, 16, 32, "linear"))
positions = FramePositions(2, None, 16)
given = torch.randn(2, 128, generator=torch.Generator().manual_seed(11))
expected = theirs(toy, given, positions(4), memory.keeping_all)
assert_close(level(toy, given, positions(4)), expected, atol=1e-5, rtol=1e-5)
assert upsample(16)(toy).shape == (8, 16, 12, 12)
print("one level:", tuple(toy.shape), "->", tuple(expected.shape))

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
        self.label = nn.Embedding(config.num_labels + 1, 4 * dim)  # the last row: no condition
        self.positions = FramePositions(
            config.heads, config.head_dim if config.rotary else None, dim if config.frame_embedding else None
        )
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
        self.head = nn.Conv2d(dim, config.channels, 1)
        nn.init.zeros_(self.head.weight)  # a network that knows nothing answers 0
        nn.init.zeros_(self.head.bias)

    @property
    def null_label(self) -> int:
        return self.config.num_labels

    def forward(self, x: Tensor, t: Tensor, features: Tensor, label: Tensor) -> Tensor:
        """x (b, c, t, h, w), t (b,), features (b, f, h, w), label (b,) -> like x."""
        frames = self.positions(x.shape[2])
        condition = torch.cat([self.time(sinusoids(t, self.config.dim)), self.label(label)], dim=-1)

        y = first = self.temporal(self.conv_in(x, features), frames)
        skips = []
        for level, shrink in zip(self.down, [*self.shrink, nn.Identity()], strict=True):
            y = level(y, condition, frames)
            skips.append(y)
            y = shrink(y)  # half the height and width

        y = self.middle_block1(y, condition, frames.count)
        y = self.middle_temporal(self.middle_spatial(y), frames)
        y = self.middle_block2(y, condition, frames.count)

        for level, grow in zip(self.up, [*self.grow, nn.Identity()], strict=True):
            y = grow(level(torch.cat([y, skips.pop()], dim=1), condition, frames))  # twice the height and width

        y = self.last_block(torch.cat([y, first], dim=1), condition, frames.count)
        return rearrange(self.head(y), "(b t) c h w -> b c t h w", t=frames.count)

# %% [markdown]
# The proof: the shipped weights fit, name by name, and the answers are the library's. Then other
# configurations, with random weights; the last has the paper's kinds of blocks.

# %%
unet = twin(trained, UNet(trained.config)).eval()
with torch.no_grad():
    for step in (20, 500, 980):
        t = torch.full((6,), step)
        noisy = diffusion.add_noise(x0, t, eps)
        assert_close(unet(noisy, t, z0, label), trained(noisy, t, z0, label), atol=2e-3, rtol=1e-3)

torch.manual_seed(2)
changes = dict(frame_index=False), dict(rotary=True), dict(rotary=True, spatial_attention=("linear", "linear"))
for change in changes:
    config = lfdm.UNet3DConfig(**(vars(small) | change))
    theirs = lfdm.UNet3D(config)
    nn.init.normal_(theirs.head.weight)  # zero at first: then every answer would agree
    inputs = torch.randn(2, 3, 4, 8, 8), torch.tensor([3, 700]), torch.randn(2, 5, 8, 8), torch.tensor([0, 6])
    assert_close(twin(theirs, UNet(config))(*inputs), theirs(*inputs), atol=1e-3, rtol=1e-3)
assert UNet(small)(*inputs).abs().max() == 0
print("equal to lfdm_lite.UNet3D: trained weights at 3 steps,", len(changes), "other configurations")

# %% [markdown]
# Why does the head start at zero? Its targets are mixtures of noise and data, of variance about 1. A random
# first answer would be worse than none, and the first steps of training would be spent on unlearning it.

# %% [markdown]
# ## Shapes, parameters, cost, memory
#
# Hooks let you watch a network from outside: PyTorch calls them before and after every module. For each unit
# we take down the shape that leaves it, its parameters, its multiply-adds by the counter from above, and how
# many bytes it keeps for the backward pass. For the last, autograd calls a function of ours with every tensor
# that it keeps; the memory behind a tensor is counted once, however many tensors share it.

# %%
PREFIXES = ("conv_", "shrink", "grow", "head")


def units(network: nn.Module) -> dict[str, nn.Module]:
    blocks = (ResidualBlock, SpatialAttention, TemporalAttention)
    conv = lambda name, module: isinstance(module, nn.Conv2d) and name.startswith(PREFIXES)
    return {name: m for name, m in network.named_modules() if isinstance(m, blocks) or conv(name, m)}


class Keeper:
    """Counts the bytes of everything that is kept for the backward pass, each storage once, by unit."""

    def __init__(self, network: nn.Module):
        self.inside, self.kept = ["between"], defaultdict(int)
        self.known = {p.untyped_storage()._cdata: p for p in network.parameters()}

    def __call__(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known:
            self.known[storage._cdata] = storage
            self.kept[self.inside[-1]] += storage.nbytes()
        return tensor

# %%
class Row(NamedTuple):
    shape: tuple
    parameters: int
    multiply_adds: int
    kept: int


def census(network: UNet, *inputs) -> dict[str, Row]:
    keeper, shapes, hooks = Keeper(network), {}, []

    def leave(name, output):
        shapes[name] = tuple(output.shape)
        keeper.inside.pop()

    for name, module in units(network).items():
        hooks.append(module.register_forward_pre_hook(lambda m, i, name=name: keeper.inside.append(name)))
        hooks.append(module.register_forward_hook(lambda m, i, output, name=name: leave(name, output)))
    watch = torch.autograd.graph.saved_tensors_hooks(keeper, lambda tensor: tensor)
    with watch, FlopCounterMode(display=False) as counter:
        network(*inputs)
    for hook in hooks:
        hook.remove()
    counts = {name: sum(found.values()) // 2 for name, found in counter.get_flop_counts().items()}
    numbers = {name: sum(p.numel() for p in module.parameters()) for name, module in units(network).items()}
    return {n: Row(shape, numbers[n], counts[f"UNet.{n}"], keeper.kept[n]) for n, shape in shapes.items()}

# %%
unet.requires_grad_(True)
one_clip = x_t[:1], torch.tensor([500]), z0[:1], label[:1]
rows = census(unet, *one_clip)
assert rows["down.0.blocks.0"].shape == (16, 32, 16, 16) and rows["middle_block1"].shape == (16, 192, 4, 4)

# two of them by hand: a residual block of 32 channels, and temporal attention, on 16 frames of 16 x 16 places
convolutions = 2 * 9 * 32 * 32 * 16 * 256
assert rows["down.0.blocks.0"].multiply_adds == convolutions + 256 * 2 * 32  # and the condition's matrix
features, width = 32, 2 * 32
projections = 16 * 256 * features * 4 * width + 16 * 32 * features  # q, k, v and out; the frame's embedding
assert rows["temporal"].multiply_adds == projections + 2 * 256 * 16 * 16 * width
total = sum(p.numel() for p in unet.parameters())
in_units = sum(row.parameters for row in rows.values())
print(f"{len(rows)} units, {in_units:,} of {total:,} parameters; the rest is condition and bias table")

# %% [markdown]
# First the shapes. This figure is drawn from what the hooks saw.

# %% mystnb={"image": {"alt": "A U of rectangles from left to right. Heights fall from 16 to 4 places on the way down and rise again; widths grow from 32 to 192 channels and shrink again. Dashed lines join the two sides at each level: the skips."}}
path = ["temporal", "down.0.temporal", "shrink.0", "down.1.temporal", "shrink.1", "down.2.temporal", "middle_block2"]
path += ["up.0.temporal", "grow.0.conv", "up.1.temporal", "grow.1.conv", "up.2.temporal", "last_block", "head"]
fig, ax = plt.subplots(figsize=(11, 3.4), layout="constrained")
x_left, centre = 0.0, {}
for name in path:
    _, channels, h, _ = rows[name].shape
    wide = channels / 16
    ax.add_patch(plt.Rectangle((x_left, -h / 2), wide, h, facecolor="#f4e3c3", edgecolor="#9a6b14"))
    ax.text(x_left + wide / 2, h / 2 + 0.5, f"{channels}", ha="center", fontsize=8)
    short = name.replace(".temporal", "").replace(".conv", "")
    ax.text(x_left + wide / 2, -9, short, rotation=40, ha="right", va="top", fontsize=8)
    centre[name] = (x_left + wide / 2, h / 2)
    x_left += wide + 2
skips = {"down.2.temporal": "up.0.temporal", "down.1.temporal": "up.1.temporal", "down.0.temporal": "up.2.temporal"}
for down, up in (skips | {"temporal": "last_block"}).items():
    (a, height), (b, _) = centre[down], centre[up]
    top = height + (4.5 if down == "temporal" else 3)
    ax.plot([a, a, b, b], [height + 2, top, top, height + 2], "k--", linewidth=0.8)
ax.set(xlim=(-3, x_left), ylim=(-17, 14), yticks=[-8, 0, 8], xticks=[], ylabel="places, top to bottom")
plt.show()
assert [rows[name].shape[2] for name in path] == [16, 16, 8, 8, 4, 4, 4, 4, 8, 8, 16, 16, 16, 16]
print("every unit sees 16 frames:", {row.shape[0] for name, row in rows.items() if "conv_" not in name} == {16})

# %% [markdown]
# *Each box is what leaves one unit: height is the height of its maps, width and the number above its
# channels. Dashed: the skips. The number of frames is 16 everywhere: time is never shrunk, so each frame
# keeps its own answer.*
#
# Now the bill, by level and kind of unit.

# %%
KINDS = {"residual blocks": "", "attention in space": "//", "attention in time": "..", "first, resizing, head": "xx"}


def kind_of(name: str) -> str:
    words = {"spatial": "attention in space", "temporal": "attention in time"}
    kind = next((kind for word, kind in words.items() if word in name), "residual blocks")
    return "first, resizing, head" if name.startswith(PREFIXES) else kind


def place_of(name: str) -> str:
    place = name.split("_")[0] if "_" in name else ".".join(name.split(".")[:2])
    return {"conv": "first", "temporal": "first"}.get(place, place.replace("shrink", "down").replace("grow", "up"))


def bill(rows: dict[str, Row], quantity: str) -> dict[tuple[str, str], int]:
    found = defaultdict(int)
    for name, row in rows.items():
        found[place_of(name), kind_of(name)] += getattr(row, quantity)
    return found


print(f"{'':22}{'parameters':>14}{'multiply-adds':>16}{'kept, MB':>10}")
for kind in KINDS:
    sums = [sum(n for (_, k), n in bill(rows, quantity).items() if k == kind) for quantity in Row._fields[1:]]
    print(f"{kind:22}{sums[0]:14,}{sums[1]:16,}{round(sums[2] / 1e6):10}")

# %% mystnb={"image": {"alt": "Three groups of stacked horizontal bars by place, from first over down, middle and up to last. Parameters: most in the middle and the deepest levels. Multiply-adds: spread, largest at the middle, up.0 and the 16 by 16 levels. Kept memory: mostly at the 16 by 16 levels, and there mostly by attention in time and residual blocks."}}
order = ["first", "down.0", "down.1", "down.2", "middle", "up.0", "up.1", "up.2", "last", "head"]
fig, axes = plt.subplots(1, 3, figsize=(11, 4), sharey=True, layout="constrained")
for ax, quantity in zip(axes, Row._fields[1:], strict=True):
    found, left_end = bill(rows, quantity), torch.zeros(len(order))
    for (kind, hatch), colour in zip(KINDS.items(), ("#d8dde3", "#7f9bb5", "#f4e3c3", "#ffffff"), strict=True):
        share = torch.tensor([100.0 * found[place, kind] for place in order]) / sum(found.values())
        ax.barh(order, share, left=left_end, hatch=hatch, color=colour, edgecolor="k", linewidth=0.5, label=kind)
        left_end += share
    ax.set(title=quantity.replace("_", "-"), xlabel="% of all")
axes[0].invert_yaxis()
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
plt.show()
deep = sum(n for (place, _), n in bill(rows, "parameters").items() if place in ("down.2", "middle", "up.0"))
wide = sum(n for (place, _), n in bill(rows, "kept").items() if place in ("first", "down.0", "up.2", "last", "head"))
kept_in_all = sum(row.kept for row in rows.values())
assert deep > 0.7 * in_units and wide > 0.5 * kept_in_all
print("over 70 % of the parameters sit deep:", deep > 0.7 * in_units)
print("over half of the memory sits at 16 x 16:", wide > 0.5 * kept_in_all)

# %% [markdown]
# *One bar a level, from the entrance to the head; its parts are kinds of units, told apart by hatches.
# Weights live where there are many channels, memory where there are many places. Adding a level below costs
# parameters and hardly any memory; drawing at twice the resolution costs no parameter and about four times
# the memory, with full attention more.*
#
# The paper's network at the paper's size needs no guess either. On the device `meta` it takes a moment to
# build, and no memory. `paper_model` holds its configuration, with our conventions.

# %%
config = paper_model("mug128").unet
with torch.device("meta"):
    paper = UNet(config)
    inputs = torch.empty(1, 3, 40, 32, 32), torch.zeros(1).long(), torch.empty(1, 256, 32, 32), torch.zeros(1).long()
paper_rows = census(paper, *inputs)
parameters = sum(p.numel() for p in paper.parameters())
assert paper(*inputs).shape == (1, 3, 40, 32, 32)
assert 35e6 < parameters < 40e6

sums = [[sum(getattr(row, q) for row in r.values()) for q in Row._fields[1:]] for r in (rows, paper_rows)]
for quantity, ours, theirs in zip(Row._fields[1:], *sums, strict=True):
    print(f"{quantity:13}: ours {ours / 1e6:6,.0f} million, the paper's size {theirs / 1e6:7,.0f} million")
print(f"z0 convolved in every frame would add {39 * 49 * 256 * 64 * 32 * 32 / 1e6:,.0f} million multiply-adds")

# %% [markdown]
# "Kept" is in bytes: to train on *one* clip of the paper's size you keep two gigabytes, and a batch has
# several clips. Can one keep less?
#
# ### Time for memory
#
# A block needs what it computed on the way forward once more on the way back. It could keep it, or **compute
# it again** from its input {cite:p}`chen2016checkpoint`. Then only inputs of blocks are kept, and the forward
# pass is paid twice. Autograd lets you write that down in a dozen lines.

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
def gradients_and_kept(run, block: ResidualBlock) -> tuple[list[Tensor], int]:
    leaf, keeper = toy.clone().requires_grad_(), Keeper(block)
    block.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(keeper, lambda tensor: tensor):
        output = run(lambda x, condition: block(x, condition, 4), leaf, condition)
    output.square().sum().backward()
    return [output, leaf.grad, *(p.grad for p in block.parameters())], keeper.kept["between"]


torch.manual_seed(3)
block = ResidualBlock(16, 32, 24, 8)
kept = {}
plain, kept["everything"] = gradients_and_kept(memory.keeping_all, block)
for name, run in (("ours", recompute), ("library", memory.keeping_inputs)):
    again, kept[name] = gradients_and_kept(run, block)
    assert_close(again, plain)
assert kept["ours"] < 0.2 * kept["everything"]
print("the same gradients; bytes kept:", kept)

# %% [markdown]
# The library's `keeping_inputs` does the same with PyTorch's own `checkpoint`, which also finds tensors that
# hide in tuples such as `Frames`. `UNet3D.checkpointing = True` runs every block and attention so. On the
# whole network:

# %%
def kept_by(network: nn.Module) -> int:
    keeper = Keeper(network)
    with torch.autograd.graph.saved_tensors_hooks(keeper, lambda tensor: tensor):
        network(*one_clip)
    return sum(keeper.kept.values())


trained.requires_grad_(True)
everything, trained.checkpointing = kept_by(trained), True
inputs_only, trained.checkpointing = kept_by(trained), False
trained.requires_grad_(False)
assert inputs_only < 0.4 * everything
print("kept with checkpointing, of what is kept without: below 40 %:", inputs_only < 0.4 * everything)

# %% [markdown]
# ## What temporal attention looks at
#
# Now look inside the trained network. A hook takes the input of each temporal attention, and from its $q$ and
# $k$ we compute $A_{ij}$: how much frame $i$ takes from frame $j$, averaged over all places of six clips.

# %%
def temporal_maps(network: UNet, *inputs) -> dict[str, Tensor]:
    """A of each temporal attention, (heads, t, t), averaged over places and clips."""
    maps, hooks = {}, []

    def look(name, module, x, frames):
        q, k, _ = module.qkv(x, frames)
        score = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + frames.bias
        maps[name] = score.softmax(dim=-1).mean(dim=0)

    for name, module in units(network).items():
        if isinstance(module, TemporalAttention):
            hooks.append(module.register_forward_pre_hook(lambda m, args, name=name: look(name, m, *args)))
    with torch.no_grad():
        network(*inputs)
    for hook in hooks:
        hook.remove()
    return maps


maps = {}
for step in (50, 200, 500, 800, 950):
    maps[step] = temporal_maps(unet, diffusion.add_noise(x0, t := torch.full((6,), step), eps), t, z0, label)
for A in (A for found in maps.values() for A in found.values()):
    assert_close(A.sum(dim=-1), torch.ones(2, 16), atol=1e-4, rtol=0)
print(len(maps[50]), "temporal attentions with", maps[50]["temporal"].shape[0], "heads; every row sums to 1")

# %% mystnb={"image": {"alt": "Four maps of 16 by 16 frames. The first two, of the bias alone and of the second level, have nearly the same diagonal stripes. The last two, of the deepest level at step 50 and 950, have a bright column at frames 0 and 1, brighter at step 950."}}
with torch.no_grad():
    alone = unet.positions.bias(16).softmax(dim=-1)[0]
deep = {step: found["down.2.temporal"][0] for step, found in maps.items()}
panels = {
    "the bias alone": alone,
    "second level, t = 500": maps[500]["down.1.temporal"][0],
    "deepest level, t = 50": deep[50],
    "deepest level, t = 950": deep[950],
}
fig, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained")
for ax, (title, A) in zip(axes, panels.items(), strict=True):
    image = ax.imshow(A, cmap="gray_r", vmin=0, vmax=0.35)
    ax.set(title=title, xlabel="looked at: frame j", xticks=[0, 5, 10, 15], yticks=[0, 5, 10, 15])
axes[0].set_ylabel("who looks: frame i")
fig.colorbar(image, ax=axes, shrink=0.8, label="$A_{ij}$")
plt.show()

alike = lambda a, b: torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()
to_start = {name: A[4:, :2].sum(dim=1).mean().item() for name, A in panels.items()}  # of frames 4 to 15, to 0 and 1
assert alike(*list(panels.values())[:2]) > 0.8 > alike(alone, deep[50])
assert to_start["deepest level, t = 950"] > 1.5 * to_start["deepest level, t = 50"] > 2 * to_start["the bias alone"]
more = to_start["deepest level, t = 950"] > to_start["deepest level, t = 50"]
print("the more noise, the more the later frames look at frames 0 and 1:", more)

# %% [markdown]
# *Dark is much. Each row is one frame, and says where it looks; head 0 of each. Left to right: what the bias
# table alone would do; the second level, which does little else; the deepest level with little noise, and
# with much.*
#
# Three things can be read off. The diagonal stripes are the bias table, which all attentions share. They look
# like no plan: a table starts as random numbers of variance 1, and after 1600 steps of training this one
# still looks so. Whether anything depends on them, a map cannot say; exercise 5 takes them away and measures.
# The deep map has *columns*, which distances alone cannot make. They stand at the first frames, those at
# rest. And the more noise, the more the other frames lean on them: when nothing can be seen, what is certain
# counts.

# %%
bias_table = unet.positions.bias.table.weight.detach()
used = relative.bucket(torch.arange(-15, 16)).unique()
neighbours = torch.stack([bias_table[1:8].flatten(), bias_table[2:9].flatten()])  # distances -1 to -7, and one more
assert 0.7 < bias_table[used].std() < 1.3 and torch.corrcoef(neighbours)[0, 1] < 0.5
print("deviation of the trained table, rounded:", round(bias_table[used].std().item()))

# %% [markdown]
# ## A test of life
#
# Before a network gets a day of training, it gets a minute: can it learn *one* clip by heart? If the data are
# one clip, the perfect answer is known, $\mathbf x^\star = \mathbf x_0$ whatever the noise. With
# $\mathbf x_t = \alpha_t \mathbf x_0 + \sigma_t \epsilon$ it is, in $\mathbf v$,
#
# $$\mathbf v = \alpha_t \epsilon - \sigma_t \mathbf x_0 = \frac{\alpha_t\, \mathbf x_t - \mathbf x_0}{\sigma_t}$$
#
# and the loss can reach 0. A network that answers 0 has the mean of $\mathbf v^2$, a bit below 1. Everything
# between is the network's fault. To be quick: a small network, and the clip at half the size and every second
# frame.

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

# %%
one_x0 = F.avg_pool3d(x0[5:], (1, 2, 2))[:, :, ::2]  # (1, 3, 8, 8, 8)
one_z0, one_label = F.avg_pool2d(z0[5:], 2), label[5:]
tiny = lfdm.UNet3DConfig(dim=16, dim_mults=(1, 2), head_dim=16, init_kernel=5, num_frames=8)


def same_clip(generator):
    return one_x0.expand(4, -1, -1, -1, -1), one_z0.expand(4, -1, -1, -1), one_label.expand(4)


torch.manual_seed(4)
living = UNet(tiny)
losses = train(living, same_clip, steps=200)
first, last = (sum(part) / 20 for part in (losses[:20], losses[-20:]))
assert first > 0.5 and last < 0.2 * first
print("loss of the last 20 steps, below a fifth of the first 20:", last < 0.2 * first)

# %% mystnb={"image": {"alt": "Left: the training loss over 200 steps on a logarithmic axis, from about 0.8 down to a few hundredths, and its mean over 20 steps. Right: two curves of the flow's length over eight frames, of the clip and of a sample drawn from noise, on top of each other."}}
def draw_clips(network: UNet, features: Tensor, label: Tensor, shape: tuple, seed: int = 1) -> Tensor:
    process = lfdm.GaussianDiffusion(lfdm.DiffusionConfig())
    generator = torch.Generator().manual_seed(seed)
    denoise = samplers.guided(network, features, label)
    with torch.no_grad():
        return samplers.sample(process, denoise, shape, steps=20, generator=generator, progress=False)


recalled = draw_clips(living, one_z0, one_label, one_x0.shape)
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
left.semilogy(losses, color="0.6", linewidth=0.8)
left.semilogy(range(10, 191), torch.tensor(losses).unfold(0, 20, 1).mean(dim=1), color="k")
left.set(xlabel="training step", ylabel="loss")
for motion, style, name in ((one_x0, "o-", "the clip"), (recalled, "^--", "drawn from noise")):
    right.plot(range(0, 16, 2), size(motion[:, :2]), style, label=name)
right.set(xlabel="frame", ylabel="flow, root mean square")
right.legend()
plt.show()
error = ((recalled - one_x0).square().mean() / one_x0.square().mean()).item()
assert error < 0.2
print("the clip comes back; error below a fifth of its square:", error < 0.2)

# %% [markdown]
# *Left: the loss of every step in grey, black the mean of 20. Right: twenty steps of sampling from noise give
# back the clip that was learned by heart. The network lives: signals get in, gradients get out, the sampler
# fits.*
#
# The test finds what is dead: gradients that do not flow, a target that does not fit the sampler, a learning
# rate that is far off. It is blind to everything that one clip can be learned without. The next section has
# two such faults.
#
# ## Failure gallery
#
# ### The wrong fold
#
# `(b t) c h w` and `(t b) c h w` have the same shape. Exchange them in one place, and no error is raised, no
# shape test fails, and the loss falls. Here is temporal attention with that slip:

# %%
class WrongFold(TemporalAttention):
    def forward(self, x: Tensor, frames: Frames) -> Tensor:
        b = len(x) // frames.count
        swapped = rearrange(x, "(t b) c h w -> (b t) c h w", t=frames.count)  # x is not folded like this
        return rearrange(super().forward(swapped, frames), "(b t) c h w -> (t b) c h w", b=b)


class WrongUNet(UNet):
    def __init__(self, config: lfdm.UNet3DConfig):
        super().__init__(config)
        for module in self.modules():
            if isinstance(module, TemporalAttention):
                module.__class__ = WrongFold


torch.manual_seed(4)
wrong = WrongUNet(tiny)
wrong_losses = train(wrong, same_clip, steps=60)
fallen = sum(wrong_losses[-20:]) < 0.7 * sum(wrong_losses[:20])
assert fallen
print("its loss falls:", fallen)

# %% [markdown]
# What reveals it is the question from before: who sees whom? Feed three clips of eight frames, and take the
# gradient of one frame of the answer with respect to every frame of every clip.

# %% mystnb={"image": {"alt": "Two maps of 24 by 24 frames, rows are frames of the answer, columns frames of the input, with lines between the three clips. Left, the right fold: three filled blocks on the diagonal, nothing outside. Right, the wrong fold: the whole map is filled."}}
def who_sees_whom(network: UNet) -> Tensor:
    """(24, 24): gradient of each frame of the answer at each frame of the input, three clips of eight frames."""
    g = torch.Generator().manual_seed(12)
    x = torch.randn(3, 3, 8, 8, 8, generator=g, requires_grad=True)
    answer = network(x, torch.tensor([100, 500, 900]), one_z0.expand(3, -1, -1, -1), torch.tensor([0, 3, 5]))
    rows = []
    for frame in rearrange(answer, "b c t h w -> (b t) (c h w)"):
        (gradient,) = torch.autograd.grad(frame.square().sum(), x, retain_graph=True)
        rows.append(rearrange(gradient, "b c t h w -> (b t) (c h w)").norm(dim=1))
    return torch.stack(rows)


sight = {"(b t): right": who_sees_whom(living), "(t b): wrong": who_sees_whom(wrong)}
fig, axes = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
for ax, (title, seen) in zip(axes, sight.items(), strict=True):
    ax.imshow(seen > 0, cmap="Greys", vmin=0, vmax=1.5)
    for edge in (7.5, 15.5):
        ax.axhline(edge, color="#b35900")
        ax.axvline(edge, color="#b35900")
    ax.set(title=title, xlabel="frame of the input", ylabel="frame of the answer")
plt.show()
other_clip = torch.block_diag(*3 * [torch.ones(8, 8)]) == 0
assert (sight["(b t): right"][other_clip] == 0).all() and (sight["(b t): right"][~other_clip] > 0).all()
assert (sight["(t b): wrong"][other_clip] > 0).any()
print("right fold, clips that see each other:", int((sight["(b t): right"][other_clip] > 0).sum()))

# %% [markdown]
# *Dark: this frame of the answer depends on that frame of the input. Lines part the three clips. Right fold:
# each clip sees all of itself and nothing else. Wrong fold: clips of a batch watch each other. The loss of
# such a network falls, and its answers depend on what else is in the batch.*
#
# ### Clips that run backwards
#
# The second fault is one of design. Take a world where flow grows evenly from rest: to the left for label 0,
# to the right for label 1. One network knows its frames by index and embedding, like ours. The other knows
# distances alone, as the paper's does.

# %%
growth = torch.zeros(1, 3, 6, 4, 4)
growth[:, 0] = torch.linspace(0, 1.5, 6)[:, None, None]


def growing(generator):
    y = torch.randint(2, (8,), generator=generator)
    return (2 * y - 1)[:, None, None, None, None] * growth, torch.zeros(8, 5, 4, 4), y


drawn = {}
both_labels = torch.arange(2).repeat(16)
for name, knows in (("index and embedding", True), ("distances alone", False)):
    torch.manual_seed(5)
    world = lfdm.UNet3DConfig(
        feature_channels=5, num_labels=2, num_frames=6, dim=16, dim_mults=(1, 2), head_dim=8, init_kernel=3,
        rotary=not knows, frame_index=knows, frame_embedding=knows,
    )  # fmt: skip
    network = UNet(world)
    train(network, growing, steps=100, lr=5e-3)
    motion = draw_clips(network, torch.zeros(32, 5, 4, 4), both_labels, (32, 3, 6, 4, 4))
    drawn[name] = motion[:, 0].mean(dim=(2, 3))  # (32, 6): the flow to the right, frame by frame
backwards = {name: (flow[:, 0].abs() > flow[:, -1].abs()).float().mean().item() for name, flow in drawn.items()}
assert backwards["index and embedding"] == 0 and backwards["distances alone"] > 0.05
print("none runs backwards with index and embedding:", backwards["index and embedding"] == 0)

# %% mystnb={"image": {"alt": "Two panels of 32 lines over six frames. Left, with index and embedding: all lines start near zero and fan out, label 0 down, label 1 up. Right, distances alone: lines start anywhere between zero and the far end, and some run towards zero."}}
fig, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for ax, (name, flow) in zip(axes, drawn.items(), strict=True):
    for line, y in zip(flow, both_labels.tolist(), strict=True):
        ax.plot(line, "-^" if y else "--o", color="#b35900" if y else "#1f3b57", linewidth=0.8, markersize=3)
    ax.set(title=name, xlabel="frame")
axes[0].set_ylabel("flow to the right")
axes[0].plot([], "--o", color="#1f3b57", label="label 0")
axes[0].plot([], "-^", color="#b35900", label="label 1")
axes[0].legend()
plt.show()
starts = {name: flow[:, 0].abs().mean().item() for name, flow in drawn.items()}
assert starts["index and embedding"] < 0.2 < starts["distances alone"]
print("starts at rest:", {name: start < 0.2 for name, start in starts.items()})

# %% [markdown]
# *32 clips drawn by each. Full lines are asked to go right, broken lines left. Left panel: all start at rest.
# Right panel: flow changes evenly, but some clips start at the far end and run towards rest.*
#
# The bias does tell before from after. But nothing says where a clip begins, and in a hundred steps this
# network has not found out. On faces the same was measured with the shipped recipe, cut to 300 steps: with
# index and embedding 62 % of the clips are read as asked, without 33 % ([differences](differences.md)).
#
# ## Summary
#
# * Convolutions and spatial attention see one frame, temporal attention one place; one after the other they
#   see everything, and the products of attention cost $THW / (HW + T)$ times less. The fold `(b t) c h w`
#   makes it a 2-D network with two exceptions.
# * Step and label act as scale and shift of every residual block, the picture as a summand of the first
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
# Three. Frame indices above 1; sinusoids of frames 16 to 31; and bias buckets of distances of 16 and more,
# whose numbers in the table no clip has ever used. [Chapter 9](09_latent_flow_diffusion.ipynb) shows what
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
# **3. Code it** (ten minutes, medium). For videos that are made frame by frame, a frame must not look into
# the future. Write attention in which frame $i$ sees the frames $j \le i$ alone.

# %% tags=["exercise"]
def causal_attend(q, k, v):
    return None  # your lines: q, k, v (..., t, d) -> (..., t, d)


def check_causal(function) -> str:
    q, k, v = torch.randn(3, 2, 6, 8, generator=torch.Generator().manual_seed(13))
    answer, score, past = function(q, k, v), q @ k.transpose(-1, -2) / math.sqrt(8), torch.ones(6, 6).tril().bool()
    if answer is None or answer.isnan().any():
        return "not yet: None or not a number; does frame 0 see itself?"
    hide = lambda mask: score.masked_fill(~mask, -math.inf).softmax(dim=-1) @ v
    hints = {
        "solved": hide(past),
        "not yet: nothing is hidden": score.softmax(dim=-1) @ v,
        "not yet: the triangle is turned, these frames see the future": hide(past.T),
        "not yet: masked after the softmax, so that rows no longer sum to 1": (score.softmax(dim=-1) * past) @ v,
        "not yet: a score of 0 is not 'hidden', softmax makes e^0 = 1 of it": (score * past).softmax(dim=-1) @ v,
    }
    for hint, value in hints.items():
        if torch.allclose(answer, value, atol=1e-5):
            return hint
    return "not yet: add minus infinity to the scores of j > i, before the softmax"


print(check_causal(causal_attend))

# %% [markdown]
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

# %% tags=["exercise"]
def residual_parameters(dim, dim_out, condition_dim):
    """Number of parameters of ResidualBlock(dim, dim_out, condition_dim, groups)."""
    return None  # your lines


def check_parameters(function) -> str:
    sizes = ((16, 32, 24), (32, 32, 24))
    right = [sum(p.numel() for p in ResidualBlock(*size, 8).parameters()) for size in sizes]
    found = [function(*size) for size in sizes]
    if None in found:
        return "not yet: return a number"
    missed = [there - here for there, here in zip(right, found, strict=True)]
    hints = {
        (0, 0): "solved",
        (16 * 32 + 32, 0): "not yet: where the channels change, the skip is a 1 x 1 convolution",
        (0, -32 * 32 - 32): "not yet: where the channels stay, the skip has no parameters",
        (4 * 32, 4 * 32): "not yet: each group norm has a factor and a summand a channel",
        (64, 64): "not yet: the biases of the two convolutions, or of the condition's matrix",
        (25 * 32, 25 * 32): "not yet: the condition makes two numbers a channel, scale and shift",
    }
    return hints.get(tuple(missed), f"not yet: off by {missed}; conv 3 x 3, norm, twice; condition; skip")


print(check_parameters(residual_parameters))

# %% [markdown]
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
# **5. Explore** (twenty minutes, medium). The trained bias table looks random. Is it worth anything? Set it
# to zero, or shuffle it, and measure the loss at several steps. Before you do, write down what you expect
# from the maps.
#
# <details>
# <summary>Solution</summary>
#
# Hardly anything. Without the table the loss rises by 4 % at step 200, and not at all at step 800. A wrong
# table costs more, up to 15 %. So the stripes, the first thing that you see in the maps, are nearly
# worthless: index and embedding already say which frame is which. A strong pattern in an attention map is no
# proof that anything depends on it. (A network trained without the table may differ; only training one would
# tell.)
#
# ```python
# def losses_with(table):
#     kept_table = trained.positions.bias.table.weight.clone()
#     trained.positions.bias.table.weight.copy_(table)
#     found = [loss(step, z0, label) for step in (200, 500, 800)]
#     trained.positions.bias.table.weight.copy_(kept_table)
#     return found
#
#
# table = trained.positions.bias.table.weight.clone()
# shuffled_table = table[torch.randperm(32, generator=torch.Generator().manual_seed(0))]
# base = losses_with(table)
# for other_table in (0 * table, shuffled_table):
#     print([round(b / a, 2) for a, b in zip(base, losses_with(other_table))])
# assert max(b / a for a, b in zip(base, losses_with(0 * table))) < 1.1
# ```
#
# </details>
#
# **6. Explore** (an evening, hard). At $8 \times 8$ places our network has full attention and the paper's
# linear. Train both with a small preset (`lfdm train diffusion --help` lists the options), equally long and
# with three seeds each. Is the difference larger than that between seeds?
#
# <details>
# <summary>Solution</summary>
#
# Start with the bill, which is certain: at this size the two differ little in cost, so that nothing is saved
# by linear attention. Then compare validation losses, step by step, with the spread over seeds beside them.
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
# LFDM {cite:p}`ni2023lfdm` takes a public implementation of the network of video diffusion models
# {cite:p}`ho2022video`: (1, 3, 3) convolutions, attention in space and in time, relative position bias; rotary
# embedding comes from the implementation. Their
# network is 64 wide with multiples 1, 2, 4, 8, two residual blocks a level and 8 heads of 32 features, with
# linear attention in space at every level and full attention in the middle: 42.7 million parameters in the
# published code. Ours has the same parts at a smaller size, and with these differences. The [list of
# differences](differences.md) has them all, and what some of them were measured to be worth.
#
# * The label is a text: `bert-base-cased` turns it into 768 numbers, which are laid beside those of the step.
#   No label is zeros, or for one of their data sets a learned vector. Ours is a row of a learned table.
# * Frames know their distances alone. Ours know their index as well.
# * Flow and occlusion have a last block and a head of their own, and the last block sees neither step nor
#   label. Ours has one block and one head.
# * $z_0$ is copied into every frame and convolved there. The result is the same as ours.
# * The skip from the first layer leaves before the first temporal attention, ours after it.
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
