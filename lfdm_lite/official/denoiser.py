"""The authors' denoiser and noise process, out of our modules; their 'diffusion' state dict, both ways."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from ..attention import Frames, TemporalAttention
from ..diffusion import DiffusionConfig
from ..unet3d import UNet3D, UNet3DConfig
from .files import check_names, compare_constants
from .parts.configs import PublishedDiffusionConfig, PublishedUNet3DConfig, with_published
from .parts.diffusion import PublishedDiffusion
from .renaming import frequencies, unet_from_official, unet_to_official

PREFIX = "denoise_fn."


def unet_config(
    *,
    dim: int = 64,
    channels: int = 259,
    dim_mults: Sequence[int] = (1, 2, 4, 8),
    attn_heads: int = 8,
    attn_dim_head: int = 32,
    out_grid_dim: int = 2,
    out_conf_dim: int = 1,
    cond_dim: int | None = None,
    use_bert_text_cond: bool = False,
    learn_null_cond: bool = False,
    use_deconv: bool = True,
    padding_mode: str = "zeros",
    init_kernel_size: int = 7,
    resnet_groups: int = 8,
    num_labels: int = 6,
    num_frames: int = 40,
) -> PublishedUNet3DConfig:
    """Our config of one of their networks; the names of the arguments are theirs, the defaults those of MUG.

    Args:
        dim, dim_mults: width, and multiples of it at each level.
        channels: of the network's input, noisy motion and z0 together.
        attn_heads, attn_dim_head: heads of all attentions, and features of a head of the temporal ones; spatial ones
            have 32, and rotary embeddings turn at most 32.
        out_grid_dim, out_conf_dim: channels of flow and occlusion.
        cond_dim: numbers of a label's vector; None: no condition, unless `use_bert_text_cond`, which means 768.
        learn_null_cond: the vector of "no condition" is learned, else zeros.
        use_deconv: up-sample by transposed convolution, else by nearest neighbour and a convolution ...
        padding_mode: ... padded by this, "zeros" or "reflect".
        init_kernel_size, resnet_groups: size of the first convolution; groups of the group norms.
        num_labels: rows of our table of label vectors.
        num_frames: frames of a training clip.
    """
    motion_channels = out_grid_dim + out_conf_dim
    return PublishedUNet3DConfig(
        feature_channels=channels - motion_channels,
        num_labels=num_labels,
        channels=motion_channels,
        num_frames=num_frames,
        dim=dim,
        dim_mults=tuple(dim_mults),
        blocks=2,
        heads=attn_heads,
        head_dim=attn_dim_head,
        spatial_attention=("linear",) * len(dim_mults),
        rotary=True,
        norm_groups=resnet_groups,
        init_kernel=init_kernel_size,
        frame_index=False,
        frame_embedding=False,
        label_dim=768 if use_bert_text_cond else cond_dim or 0,
        fixed_labels=True,
        learned_null=learn_null_cond,
        spatial_head_dim=32,
        rotary_dim=min(32, attn_dim_head),
        upsampling="transposed" if use_deconv else "nearest",
        upsampling_padding=padding_mode,
        norm_shift=False,
        attention_bias=False,
        last_condition=False,
        first_skip="convolution",
        split_heads=(out_grid_dim, out_conf_dim),
    )


def diffusion_config(
    *,
    timesteps: int = 1000,
    ddim_sampling_eta: float = 1.0,
    null_cond_prob: float = 0.1,
    use_dynamic_thres: bool = True,
    use_residual_flow: bool = False,
) -> PublishedDiffusionConfig:
    """Our config of their noise process; the names of the arguments are theirs, the defaults those of their runs.

    Args:
        timesteps: steps T.
        ddim_sampling_eta: noise of DDIM; 1 in their test scripts.
        null_cond_prob: share of training examples whose label is dropped.
        use_dynamic_thres: dynamic thresholding at the 0.9 quantile in sampling, else clip x0 to [-1, 1].
        use_residual_flow: denoise displacements, else absolute positions.
    """
    return PublishedDiffusionConfig(
        num_steps=timesteps,
        schedule="cosine",
        parameterization="eps",
        motion="residual" if use_residual_flow else "absolute",
        null_probability=null_cond_prob,
        max_beta=0.9999,
        corner_origin=True,
        threshold=0.9 if use_dynamic_thres else 0.0,
        threshold_eps=False,
        min_alpha_bar=0.0,
        spacing="interior",
        ddim_eta=ddim_sampling_eta,
        early_alpha_bar=True,
        draw_unused=True,
    )


def to_official(
    state: Mapping[str, Tensor], config: UNet3DConfig, diffusion_config: DiffusionConfig
) -> dict[str, Tensor]:
    """The authors' 'diffusion' state dict: a network of ours under `denoise_fn.`, and the schedule beside it.

    Args:
        state: of a `PublishedUNet3D`.
        config: its config, of `unet_config`.
        diffusion_config: of the process that it was trained with.

    Raises:
        ValueError: if the network has a part that theirs lacks.
    """
    network = unet_to_official(state, config) | frequencies(with_published(config))
    return schedule(diffusion_config) | {PREFIX + name: tensor for name, tensor in network.items()}


def from_official(
    state: Mapping[str, Tensor], config: PublishedUNet3DConfig, label_vectors: Float[Tensor, "n e"] | None = None
) -> dict[str, Tensor]:
    """Inverse of `to_official`: the state dict of a `PublishedUNet3D`, complete.

    Args:
        state: the authors' 'diffusion' state dict, on the CPU.
        config: of `unet_config`.
        label_vectors: the text encoder's vector of each label; None: zeros, to be filled in later.

    Raises:
        CheckpointError: a tensor is missing, unknown or misshapen.
        ValueError: if the network has a part that theirs lacks, or the label vectors do not fit it.
    """
    network = {name.removeprefix(PREFIX): tensor for name, tensor in state.items() if name.startswith(PREFIX)}
    stored = {name: tensor for name, tensor in state.items() if not name.startswith(PREFIX)}
    steps = len(stored["betas"]) if "betas" in stored else 1
    expected = schedule(diffusion_config(timesteps=steps))
    check_names(stored, {name: tuple(values.shape) for name, values in expected.items()})
    compare_constants(stored, expected)
    return unet_from_official(network, config, label_vectors)


def schedule(config: DiffusionConfig) -> dict[str, Float[Tensor, " t"]]:
    """The twelve sequences that the authors store with a model, by their names; float32, computed in float64.

    Source: Ho et al. 2020, forward process and its posterior.
    """
    diffusion = PublishedDiffusion(with_published(config))
    betas, alpha_bar = diffusion.exact_betas(), diffusion.exact_alpha_bar()
    before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
    variance = betas * (1 - before) / (1 - alpha_bar)
    exact = {
        "betas": betas,
        "alphas_cumprod": alpha_bar,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": alpha_bar.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - alpha_bar).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - alpha_bar).log(),
        "sqrt_recip_alphas_cumprod": (1 / alpha_bar).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / alpha_bar - 1).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": betas * before.sqrt() / (1 - alpha_bar),
        "posterior_mean_coef2": (1 - before) * (1 - betas).sqrt() / (1 - alpha_bar),
    }
    return {name: values.float() for name, values in exact.items()}


@contextmanager
def focus_present(unet: UNet3D) -> Iterator[None]:
    """Inside, every frame attends to itself alone in all temporal attentions but the first, as the authors' code does.

    Their network can be asked for this, clip by clip, to train on frames that have nothing to do with each other;
    LFDM's training never asks. The first attention seems forgotten: through it the frames still see each other.
    """

    def alone(attention: TemporalAttention, inputs: tuple[Tensor, Frames]) -> tuple[Tensor, Frames]:
        x, frames = inputs
        others = ~torch.eye(frames.count, dtype=torch.bool, device=x.device)
        return x, frames._replace(bias=frames.bias.masked_fill(others, -torch.inf))

    temporal = [module for module in unet.modules() if isinstance(module, TemporalAttention)]
    hooks = [module.register_forward_pre_hook(alone) for module in temporal if module is not unet.temporal]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
