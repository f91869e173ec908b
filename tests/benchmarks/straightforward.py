"""The authors' networks, written out as one would at first: what the benchmark holds the library against.

The denoiser is a function of a state dict under the authors' names. Clips stay `b c t h w`, convolutions are 3-D, z0 is
repeated over the frames, attention is an einsum, a softmax and an einsum. Sizes are read off the tensors. The
auto-encoder runs on one frame at a time and encodes the source anew for each. All of it in contiguous float32.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

from lfdm_lite.autoencoder import LatentFlowAutoencoder
from lfdm_lite.motion import Motion

State = dict[str, Tensor]


# ---------------------------------------------------------------- the denoiser


def unet(
    state: State,
    x: Float[Tensor, "b c t h w"],
    t: Int[Tensor, " b"],
    condition: Float[Tensor, "b e"] | None = None,
    groups: int = 8,
    padding_mode: str = "constant",
) -> Float[Tensor, "b d t h w"]:
    """The network's answer to noisy motion and z0, which are concatenated in `x` already; see `with_features`.

    Args:
        state: the authors' tensors, without the prefix `denoise_fn.`.
        t: diffusion steps.
        condition: the vectors of the labels, or of "no condition"; None for a network without.
        groups: of the group norms; the one number that no tensor tells.
        padding_mode: of the convolution that follows nearest-neighbour up-sampling, "constant" or "reflect".

    Source: LFDM, stage two; Ho et al. 2022 (video diffusion models).
    """
    bias = position_bias(state, x.shape[2])
    embedding = time_embedding(state, t)
    if condition is not None:
        embedding = torch.cat([embedding, condition], dim=1)

    first = convolve(state, "init_conv", x)  # what the last blocks see beside the last level
    x = temporal_attention(state, "init_temporal_attn", first, bias)

    levels = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("downs."))
    skips = []
    for i in range(levels):
        x = level(state, f"downs.{i}", x, embedding, bias, groups)
        skips.append(x)
        if f"downs.{i}.4.weight" in state:
            x = convolve(state, f"downs.{i}.4", x, stride=(1, 2, 2), padding=(0, 1, 1))

    x = residual_block(state, "mid_block1", x, embedding, groups)
    x = spatial_attention(state, "mid_spatial_attn", x)
    x = temporal_attention(state, "mid_temporal_attn", x, bias)
    x = residual_block(state, "mid_block2", x, embedding, groups)

    for i in range(levels):
        x = level(state, f"ups.{i}", torch.cat([x, skips.pop()], dim=1), embedding, bias, groups)
        x = upsample(state, f"ups.{i}.4", x, padding_mode)

    x = torch.cat([x, first], dim=1)
    heads = []
    for name in ("final_conv", "occlusion_map"):  # flow, occlusion
        y = residual_block(state, f"{name}.0", x, None, groups)
        heads.append(convolve(state, f"{name}.1", y))
    return torch.cat(heads, dim=1)


def with_features(x: Float[Tensor, "b c t h w"], features: Float[Tensor, "b f h w"]) -> Float[Tensor, "b g t h w"]:
    """Noisy motion, and beside it z0, repeated over time."""
    return torch.cat([x, repeat(features, "b f h w -> b f t h w", t=x.shape[2])], dim=1)


def level(
    state: State,
    name: str,
    x: Float[Tensor, "b c t h w"],
    embedding: Float[Tensor, "b e"],
    bias: Float[Tensor, "heads t t"],
    groups: int,
) -> Float[Tensor, "b d t h w"]:
    """Two residual blocks, linear attention in space, attention in time."""
    x = residual_block(state, f"{name}.0", x, embedding, groups)
    x = residual_block(state, f"{name}.1", x, embedding, groups)
    x = linear_spatial_attention(state, f"{name}.2", x)
    return temporal_attention(state, f"{name}.3", x, bias)


def convolve(
    state: State,
    name: str,
    x: Float[Tensor, "b c t h w"],
    stride: tuple[int, int, int] = (1, 1, 1),
    padding: tuple[int, int, int] | None = None,
) -> Float[Tensor, "b d t h2 w2"]:
    """A 3-D convolution; its padding keeps the size unless it is given."""
    weight = state[f"{name}.weight"]
    padding = tuple(size // 2 for size in weight.shape[2:]) if padding is None else padding
    return F.conv3d(x, weight, state[f"{name}.bias"], stride=stride, padding=padding)


def upsample(state: State, name: str, x: Float[Tensor, "b c t h w"], padding_mode: str) -> Float[Tensor, "b c t h2 w2"]:
    """Twice the height and width: transposed convolution, or nearest neighbour and convolution; or neither."""
    if f"{name}.weight" in state:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return F.conv_transpose3d(x, weight, bias, stride=(1, 2, 2), padding=(0, 1, 1))
    if f"{name}.1.weight" in state:
        x = F.interpolate(x, scale_factor=(1, 2, 2), mode="nearest")
        x = F.pad(x, (1, 1, 1, 1, 0, 0), mode=padding_mode)
        return convolve(state, f"{name}.1", x, padding=(0, 0, 0))
    return x  # the last level


def residual_block(
    state: State, name: str, x: Float[Tensor, "b c t h w"], embedding: Float[Tensor, "b e"] | None, groups: int
) -> Float[Tensor, "b d t h w"]:
    """Twice convolution, group norm and SiLU, the first with scale and shift; plus the input, convolved if need be."""
    y = convolve(state, f"{name}.block1.proj", x)
    y = F.group_norm(y, groups, state[f"{name}.block1.norm.weight"], state[f"{name}.block1.norm.bias"])
    if embedding is not None:
        told = F.linear(F.silu(embedding), state[f"{name}.mlp.1.weight"], state[f"{name}.mlp.1.bias"])
        scale, shift = rearrange(told, "b e -> b e 1 1 1").chunk(2, dim=1)
        y = y * (1 + scale) + shift
    y = F.silu(y)
    y = convolve(state, f"{name}.block2.proj", y)
    y = F.silu(F.group_norm(y, groups, state[f"{name}.block2.norm.weight"], state[f"{name}.block2.norm.bias"]))
    return y + (convolve(state, f"{name}.res_conv", x) if f"{name}.res_conv.weight" in state else x)


def channel_norm(state: State, name: str, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t h w"]:
    """Each pixel's vector of channels to mean 0 and variance 1, times a learned scale."""
    mean = x.mean(dim=1, keepdim=True)
    variance = x.var(dim=1, unbiased=False, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt() * state[f"{name}.gamma"]


def number_of_heads(state: State) -> int:
    return state["time_rel_pos_bias.relative_attention_bias.weight"].shape[1]


def attend(
    q: Float[Tensor, "b n heads i d"],
    k: Float[Tensor, "b n heads j d"],
    v: Float[Tensor, "b n heads j d"],
    bias: Float[Tensor, "heads i j"] | None = None,
) -> Float[Tensor, "b n heads i d"]:
    """softmax(q k^T / sqrt(d) + bias) v.

    Source: Vaswani et al. 2017, scaled dot-product attention.
    """
    logits = torch.einsum("bnhid,bnhjd->bnhij", q * q.shape[-1] ** -0.5, k)
    logits = logits if bias is None else logits + bias
    return torch.einsum("bnhij,bnhjd->bnhid", logits.softmax(dim=-1), v)


def temporal_attention(
    state: State, name: str, x: Float[Tensor, "b c t h w"], bias: Float[Tensor, "heads t t"]
) -> Float[Tensor, "b c t h w"]:
    """Every pixel looks at itself in all frames."""
    heads, inner = number_of_heads(state), f"{name}.fn.fn.fn"
    tokens = rearrange(channel_norm(state, f"{name}.fn.norm", x), "b c t h w -> b (h w) t c")
    q, k, v = F.linear(tokens, state[f"{inner}.to_qkv.weight"]).chunk(3, dim=-1)
    q, k, v = (rearrange(part, "b n t (heads d) -> b n heads t d", heads=heads) for part in (q, k, v))
    frequencies = state[f"{inner}.rotary_emb.freqs"]
    found = attend(rotate(q, frequencies), rotate(k, frequencies), v, bias)
    found = F.linear(rearrange(found, "b n heads t d -> b n t (heads d)"), state[f"{inner}.to_out.weight"])
    return x + rearrange(found, "b (h w) t c -> b c t h w", h=x.shape[3])


def spatial_attention(state: State, name: str, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t h w"]:
    """Every pixel looks at all pixels of its frame."""
    heads, inner = number_of_heads(state), f"{name}.fn.fn.fn"
    tokens = rearrange(channel_norm(state, f"{name}.fn.norm", x), "b c t h w -> b t (h w) c")
    q, k, v = F.linear(tokens, state[f"{inner}.to_qkv.weight"]).chunk(3, dim=-1)
    q, k, v = (rearrange(part, "b t n (heads d) -> b t heads n d", heads=heads) for part in (q, k, v))
    found = rearrange(attend(q, k, v), "b t heads n d -> b t n (heads d)")
    return x + rearrange(F.linear(found, state[f"{inner}.to_out.weight"]), "b t (h w) c -> b c t h w", h=x.shape[3])


def linear_spatial_attention(state: State, name: str, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t h w"]:
    """Every pixel reads from one d x d summary of its frame: sum over n of softmax_n(k)_n v_n^T.

    Source: Shen et al. 2021, efficient attention with linear complexity.
    """
    (b, _, _, h, w), heads, inner = x.shape, number_of_heads(state), f"{name}.fn.fn"
    frames = rearrange(channel_norm(state, f"{name}.fn.norm", x), "b c t h w -> (b t) c h w")
    q, k, v = F.conv2d(frames, state[f"{inner}.to_qkv.weight"]).chunk(3, dim=1)
    q, k, v = (rearrange(part, "n (heads d) h w -> n heads d (h w)", heads=heads) for part in (q, k, v))
    q = q.softmax(dim=-2) * q.shape[-2] ** -0.5
    summary = torch.einsum("nhdi,nhei->nhde", k.softmax(dim=-1), v)
    found = torch.einsum("nhde,nhdi->nhei", summary, q)
    found = rearrange(found, "n heads e (h w) -> n (heads e) h w", h=h, w=w)
    found = F.conv2d(found, state[f"{inner}.to_out.weight"], state[f"{inner}.to_out.bias"])
    return x + rearrange(found, "(b t) c h w -> b c t h w", b=b)


def rotate(x: Float[Tensor, "... t d"], frequencies: Float[Tensor, " r"]) -> Float[Tensor, "... t d"]:
    """Turn each pair of features (2 i, 2 i + 1) by frame times frequency i; features beyond 2 r stay.

    Source: Su et al. 2021, rotary position embedding.
    """
    turned, rest = x[..., : 2 * len(frequencies)], x[..., 2 * len(frequencies) :]
    angle = torch.arange(x.shape[-2], device=x.device)[:, None] * frequencies.detach()  # t r
    cos, sin = angle.cos(), angle.sin()
    a, b = turned[..., 0::2], turned[..., 1::2]
    turned = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)
    return torch.cat([turned, rest], dim=-1)


def position_bias(state: State, count: int, max_distance: int = 32) -> Float[Tensor, "heads t t"]:
    """A learned number per head and distance between frames: half of the buckets for either sign, of those half exact.

    Source: Raffel et al. 2020 (T5), relative position bias.
    """
    table = state["time_rel_pos_bias.relative_attention_bias.weight"]  # buckets heads
    half, exact = len(table) // 2, len(table) // 4
    frame = torch.arange(count, device=table.device)
    distance = frame[None, :] - frame[:, None]  # key - query
    size = distance.abs()
    ratio = torch.log(size.clamp(min=1) / exact) / math.log(max_distance / exact)
    far = (exact + (ratio * (half - exact)).long()).clamp(max=half - 1)
    bucket = torch.where(size < exact, size, far) + half * (distance > 0)
    return rearrange(table[bucket], "i j heads -> heads i j")


def time_embedding(state: State, t: Int[Tensor, " b"]) -> Float[Tensor, "b e"]:
    """Sinusoids of the diffusion step, linear, GELU, linear.

    Source: Vaswani et al. 2017, sinusoidal position encoding; Ho et al. 2020.
    """
    half = state["time_mlp.1.weight"].shape[1] // 2
    frequency = torch.exp(torch.arange(half, device=t.device) * -math.log(10_000) / (half - 1))
    angle = t[:, None] * frequency
    x = torch.cat([angle.sin(), angle.cos()], dim=-1)
    x = F.gelu(F.linear(x, state["time_mlp.1.weight"], state["time_mlp.1.bias"]))
    return F.linear(x, state["time_mlp.3.weight"], state["time_mlp.3.bias"])


# ---------------------------------------------------------------- sampling and training


def guided(
    state: State,
    x: Float[Tensor, "b c t h w"],
    t: Int[Tensor, " b"],
    features: Float[Tensor, "b f h w"],
    condition: Float[Tensor, "b e"],
    null: Float[Tensor, "b e"],
    scale: float,
) -> Float[Tensor, "b c t h w"]:
    """eps_uncond + s (eps_cond - eps_uncond), by two calls of the network.

    Source: Ho & Salimans 2022, classifier-free guidance.
    """
    seen = with_features(x, features)
    unconditional = unet(state, seen, t, null)
    return unconditional + scale * (unet(state, seen, t, condition) - unconditional)


def estimate_x0(
    x: Float[Tensor, "b c t h w"],
    eps: Float[Tensor, "b c t h w"],
    alpha_bar: Float[Tensor, ""],
    quantile: float = 0.9,
) -> Float[Tensor, "b c t h w"]:
    """(x - sqrt(1 - alpha_bar) eps) / sqrt(alpha_bar), with dynamic thresholding.

    Source: Ho et al. 2020; Saharia et al. 2022 (Imagen).
    """
    x0 = (x - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()
    s = torch.quantile(x0.flatten(1).abs(), quantile, dim=1).clamp(min=1).view(-1, 1, 1, 1, 1)
    return x0.clamp(-s, s) / s


def ddim_step(
    x0: Float[Tensor, "b c t h w"],
    eps: Float[Tensor, "b c t h w"],
    alpha_bar_t: Float[Tensor, ""],
    alpha_bar_s: Float[Tensor, ""],
    noise: Float[Tensor, "b c t h w"],
    eta: float = 1.0,
) -> Float[Tensor, "b c t h w"]:
    """From step t to the less noisy s: sqrt(alpha_bar_s) x0 + sqrt(1 - alpha_bar_s - sigma^2) eps + sigma noise.

    Source: Song et al. 2021, denoising diffusion implicit models.
    """
    sigma = eta * ((1 - alpha_bar_t / alpha_bar_s) * (1 - alpha_bar_s) / (1 - alpha_bar_t)).sqrt()
    return alpha_bar_s.sqrt() * x0 + (1 - alpha_bar_s - sigma**2).sqrt() * eps + sigma * noise


# ---------------------------------------------------------------- the auto-encoder, one frame at a time


def estimate_motion(autoencoder: LatentFlowAutoencoder, video: Float[Tensor, "b 3 t h w"]) -> Motion:
    """Motion of every frame with respect to the first, one frame at a time."""
    source = video[:, :, 0].contiguous()
    motions = [autoencoder.estimate_motion(source, frame.contiguous()) for frame in video.unbind(dim=2)]
    return Motion(*(torch.stack(maps, dim=2) for maps in zip(*motions, strict=True)))


def decode(
    autoencoder: LatentFlowAutoencoder, source: Float[Tensor, "b 3 h w"], motion: Motion
) -> Float[Tensor, "b 3 t h w"]:
    """Frames of a video, one at a time; each encodes the source anew."""
    frames = zip(motion.flow.unbind(dim=2), motion.occlusion.unbind(dim=2), strict=True)
    painted = [autoencoder.decode(source, Motion(flow.contiguous(), seen.contiguous())) for flow, seen in frames]
    return torch.stack(painted, dim=2)


def reconstruct(
    autoencoder: LatentFlowAutoencoder, video: Float[Tensor, "b 3 t h w"]
) -> tuple[Float[Tensor, "b 3 t h w"], Motion]:
    """Every frame, painted from the first one and its motion, and that motion: the whole auto-encoder per frame."""
    source = video[:, :, 0].contiguous()
    painted, motions = [], []
    for frame in video.unbind(dim=2):
        motions.append(autoencoder.estimate_motion(source, frame.contiguous()))
        painted.append(autoencoder.decode(source, motions[-1]))
    return torch.stack(painted, dim=2), Motion(*(torch.stack(maps, dim=2) for maps in zip(*motions, strict=True)))
