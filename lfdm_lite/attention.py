"""Attention over the pixels of a frame, and over the frames of a pixel.

Activations are batches of frames, `(b t) c h w`, in channels-last memory, where the vector of a pixel is contiguous: it
is the pixel's token as it lies. Every attention is residual: it returns its input plus what it found.

Tokens grow to three times `heads * head_dim` features inside an attention, which is where a denoiser's memory and much
of its time go. On a CPU an attention therefore works piece by piece, each small enough for the processor's cache; where
all of them are large, the backward pass computes each again instead of keeping what is in it.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from .memory import in_pieces


class Frames(NamedTuple):
    """What all temporal attentions of a network know about the frames; computed once per forward pass.

    `bias` depends on the distance between two frames, `cos` and `sin` rotate queries and keys so that their product
    depends on the distance too; `embedding` alone says which frame is which. Distances do not anchor frame 0: without
    an anchor, a network easily generates clips that run backwards.
    """

    count: int  # type: ignore[assignment]  # number of frames t; the method of a tuple that it hides nobody calls
    cos: Float[Tensor, "t d"] | None  # of the rotary angles
    sin: Float[Tensor, "t d"] | None
    bias: Float[Tensor, "heads t t"]  # added to the attention logits
    embedding: Float[Tensor, "t e"] | None  # absolute: the sinusoids of the frame's index


def sinusoids(position: Real[Tensor, " n"], dim: int, max_period: float = 10_000.0) -> Float[Tensor, "n dim"]:
    """Sines and cosines of a position at `dim / 2` frequencies from 1 to 1 / max_period, in float32.

    Args:
        position: diffusion steps or frame indices.
        dim: even number of features.

    Source: Vaswani et al. 2017, sinusoidal position encoding.
    """
    frequency = torch.exp(-math.log(max_period) * torch.arange(dim // 2, device=position.device) / (dim // 2 - 1))
    angle = position.float()[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def rotary_angles(count: int, dim: int, device: torch.device) -> Float[Tensor, "t {dim}"]:
    """Angle by which frame k turns the dim / 2 pairs of features, in radians: k times a frequency per pair.

    Source: Su et al. 2021, rotary position embedding.
    """
    frequency = 10_000.0 ** (-torch.arange(0, dim, 2, device=device) / dim)
    return (torch.arange(count, device=device)[:, None] * frequency).repeat(1, 2)


def rotate(
    x: Float[Tensor, "... t d"], cos: Float[Tensor, "t d"], sin: Float[Tensor, "t d"]
) -> Float[Tensor, "... t d"]:
    """Turn each pair of features (i, i + d / 2) by its frame's angle: products then depend on the frames' distance.

    Source: Su et al. 2021, rotary position embedding.
    """
    first, second = x.chunk(2, dim=-1)
    low, high = sin.chunk(2, dim=-1)
    signed_sin = torch.cat([-low, high], dim=-1)
    return torch.addcmul(x * cos.to(x.dtype), torch.cat([second, first], dim=-1), signed_sin.to(x.dtype))


def attend(
    q: Float[Tensor, "n heads i d"],
    k: Float[Tensor, "n heads j d"],
    v: Float[Tensor, "n heads j d"],
    bias: Float[Tensor, "heads i j"] | None = None,
) -> Float[Tensor, "n heads i d"]:
    """softmax(q k^T / sqrt(d) + bias) v: a fused kernel on a GPU; on a CPU the formula, which trains faster there.

    Source: Vaswani et al. 2017, scaled dot-product attention.
    """
    bias = None if bias is None else bias.to(q.dtype)
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # n heads i j
    if bias is not None:
        logits += bias
    return logits.softmax(dim=-1).to(v.dtype) @ v


class RelativePositionBias(nn.Module):
    """A learned number per head and distance between two frames; near distances have their own, far ones share.

    Source: Raffel et al. 2020 (T5), relative position bias.
    """

    def __init__(self, heads: int, num_buckets: int = 32, max_distance: int = 32):
        super().__init__()
        self.num_buckets, self.max_distance = num_buckets, max_distance
        self.table = nn.Embedding(num_buckets, heads)

    def bucket(self, distance: Int[Tensor, "t t"]) -> Int[Tensor, "t t"]:
        """Bucket of each distance key - query: half of them for either sign; of those, half exact, half logarithmic."""
        half, exact = self.num_buckets // 2, self.num_buckets // 4
        far = exact + (
            torch.log(distance.abs().clamp(min=1) / exact) / math.log(self.max_distance / exact) * (half - exact)
        ).long().clamp(max=half - exact - 1)
        return torch.where(distance.abs() < exact, distance.abs(), far) + half * (distance > 0)

    def forward(self, count: int) -> Float[Tensor, "heads t t"]:
        frame = torch.arange(count, device=self.table.weight.device)
        return rearrange(self.table(self.bucket(frame[None, :] - frame[:, None])), "i j heads -> heads i j")


class FramePositions(nn.Module):
    """Computes `Frames` for a number of frames; no rotary angles, no absolute embedding where their width is None."""

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
            frame = torch.arange(count, device=device, dtype=torch.float32)
            embedding = sinusoids(frame, self.embedding_dim, max_period=100.0)
        return Frames(count, cos, sin, self.bias(count), embedding)


class TemporalAttention(nn.Module):
    """Every pixel looks at itself in all frames of its clip.

    Args of `forward`:
        x: frames of clips, `bt = b * frames.count`.
        frames: from `FramePositions`.

    Source: Ho et al. 2022 (video diffusion models), factorized space-time attention; LFDM, stage two.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, embedding_dim: int | None):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.frame = None if embedding_dim is None else nn.Linear(embedding_dim, dim)
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, dim)

    def forward(self, x: Float[Tensor, "bt c h w"], frames: Frames) -> Float[Tensor, "bt c h w"]:
        clips = rearrange(x, "(b t) c h w -> b t (h w) c", t=frames.count)
        clips = in_pieces(lambda piece: piece + self.find(piece, frames), clips, 2, self.to_qkv.out_features)
        return rearrange(clips, "b t (h w) c -> (b t) c h w", h=x.shape[2])

    def find(self, clips: Float[Tensor, "b t n c"], frames: Frames) -> Float[Tensor, "b t n c"]:
        tokens = self.norm(rearrange(clips, "b t n c -> b n t c"))
        if self.frame is not None:
            tokens = tokens + self.frame(frames.embedding)
        q, k, v = rearrange(
            self.to_qkv(tokens), "b n t (three heads d) -> three (b n) heads t d", three=3, heads=self.heads
        )
        if frames.cos is not None and frames.sin is not None:
            q, k = rotate(q, frames.cos, frames.sin), rotate(k, frames.cos, frames.sin)
        found = attend(q, k, v, frames.bias)  # (b n) heads t d
        found = self.to_out(rearrange(found, "bn heads t d -> bn t (heads d)"))
        return rearrange(found, "(b n) t c -> b t n c", b=len(clips))


class SpatialAttention(nn.Module):
    """Every pixel looks at all pixels of its frame: cost grows with the square of the number of pixels.

    Source: Ho et al. 2022 (video diffusion models), factorized space-time attention.
    """

    def __init__(self, dim: int, heads: int, head_dim: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, dim)

    def forward(self, x: Float[Tensor, "bt c h w"]) -> Float[Tensor, "bt c h w"]:
        maps = rearrange(x, "bt c h w -> bt (h w) c")
        maps = in_pieces(lambda piece: piece + self.find(piece), maps, 0, self.to_qkv.out_features)
        return rearrange(maps, "bt (h w) c -> bt c h w", h=x.shape[2])

    def find(self, maps: Float[Tensor, "bt n c"]) -> Float[Tensor, "bt n c"]:
        q, k, v = rearrange(
            self.to_qkv(self.norm(maps)), "bt n (three heads d) -> three bt heads n d", three=3, heads=self.heads
        )
        return self.to_out(rearrange(self.read(q, k, v), "bt heads n d -> bt n (heads d)"))

    def read(
        self, q: Float[Tensor, "bt heads n d"], k: Float[Tensor, "bt heads n d"], v: Float[Tensor, "bt heads n d"]
    ) -> Float[Tensor, "bt heads n d"]:
        return attend(q, k, v)


class LinearSpatialAttention(SpatialAttention):
    """Every pixel reads from one summary of its frame: cost grows with the number of pixels, for large feature maps.

    The summary sum_n softmax_n(k)_n v_n^T is a d x d matrix per head; each query, softmax over its features, reads it.

    Source: Shen et al. 2021, efficient attention with linear complexity; LFDM, stage two.
    """

    def read(
        self, q: Float[Tensor, "bt heads n d"], k: Float[Tensor, "bt heads n d"], v: Float[Tensor, "bt heads n d"]
    ) -> Float[Tensor, "bt heads n d"]:
        q = q.softmax(dim=-1) * q.shape[-1] ** -0.5
        summary = k.softmax(dim=-2).transpose(-1, -2) @ v.to(k.dtype)  # bt heads d d
        return q.to(summary.dtype) @ summary
