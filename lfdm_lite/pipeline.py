"""The whole road: an image and a label become a video. `LFDM` generates, saves and loads."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn

from .autoencoder import LatentFlowAutoencoder
from .diffusion import GaussianDiffusion
from .files.checkpoints import CONFIG_FILE, WEIGHTS_FILE, build, load_weights, read_tensors, save_module
from .files.loading import KIND, find_folder, read_parts
from .generated import GeneratedVideo
from .inputs import Number, check_parts, label_indices, pair_up, sampling
from .samplers import guided, sample
from .unet3d import UNet3D

__all__ = ["LFDM", "GeneratedVideo", "clip_generators", "find_folder"]


class LFDM(nn.Module, ModelHubMixin, library_name="lfdm_lite", license="mit", pipeline_tag="image-to-video"):
    """Latent flow diffusion model: a frozen auto-encoder, and a diffusion model of its latent motion.

    Args:
        autoencoder: stage one; it carries appearance from the given image into every frame.
        unet: stage two's denoiser, for latents of that auto-encoder.
        diffusion: the noise process that `unet` was trained with.
        labels: the name of each label; `labels[i]` names data label i.
        image_size: height and width in pixels that the model was trained at; given images are brought to it.
        guidance_scale: what `generate` uses unless told otherwise; 1 is plain conditional sampling.

    Raises:
        ValueError: if the parts do not fit together.

    Source: LFDM, inference.
    """

    def __init__(
        self,
        autoencoder: LatentFlowAutoencoder,
        unet: UNet3D,
        diffusion: GaussianDiffusion,
        labels: Sequence[str],
        image_size: int = 64,
        guidance_scale: float | int = 1.5,
    ) -> None:
        super().__init__()
        self.labels = [str(label) for label in labels]
        check_parts(autoencoder.config, unet.config, self.labels, image_size)
        self.autoencoder, self.unet, self.diffusion = autoencoder, unet, diffusion
        self.image_size = image_size
        self.guidance_scale = float(guidance_scale)

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where `generate` computes."""
        return next(self.parameters()).device

    @torch.no_grad()
    def generate(
        self,
        image: Any,
        label: Any,
        *,
        num_frames: Number | None = None,
        guidance_scale: Number | None = None,
        sampler: str = "dpm++",
        steps: Number = 20,
        seed: Number | None = None,
        progress: bool = True,
    ) -> GeneratedVideo:
        """Sample a video for each image and label.

        Several labels for one image, several images for one label, or as many of both make a batch.
        The noise of clip i depends on `seed` and i alone: the clip stays the same in a batch of another size.

        Args:
            image: a path, PIL image, array or tensor, or a sequence (or batch) of these; each is cut to its
                central square and resized to `image_size`.
            label: a name or index, or a sequence (list, tuple, array, tensor) of these.
            num_frames: frames a clip, at least 1; None: as many as the model was trained on.
            guidance_scale: 0 ignores the label, 1 is plain conditional, above 1 exaggerates; None: the model's own.
            sampler: "dpm++" (good in 20 steps), "ddim" or "ddpm".
            steps: network evaluations, from 1 to the number of diffusion steps (less those that hold no signal).
            seed: the same seed gives the same clips; None draws one from torch's global generator.
            progress: show a progress bar.

        Returns:
            A `GeneratedVideo`: videos in [0, 1], flow in normalized units, occlusion in [0, 1], on the CPU.

        Raises:
            ValueError: unknown label or sampler, numbers out of range, images and labels that do not pair up.
            MediaError: an image that cannot be read (a ValueError too).

        Source: LFDM, inference.
        """
        how = sampling(self, num_frames, guidance_scale, sampler, steps, seed)
        num_frames, scale, steps, seed = how.num_frames, how.guidance_scale, how.steps, how.seed
        label = self.label_indices(label)
        source, label = pair_up(self.prepare_images(image), label)
        source, label = source.to(self.device), label.to(self.device)

        with evaluation_mode(self):
            features = self.autoencoder.encode(source)
            size = self.image_size // self.autoencoder.config.latent_stride
            shape = (len(source), self.unet.config.channels, num_frames, size, size)
            denoise = guided(self.unet, features, label, scale)
            x0 = sample(
                self.diffusion,
                denoise,
                shape,
                sampler=sampler,
                steps=steps,
                generator=clip_generators(seed, len(source)),
                progress=progress,
            )
            motion = self.diffusion.unpack_motion(x0)
            video = self.autoencoder.decode(source, motion)
        names = [self.labels[i] for i in label.tolist()]
        return GeneratedVideo(video.cpu(), motion.flow.cpu(), motion.occlusion.cpu(), names, source.cpu(), seed)

    def label_indices(self, label: Any) -> Tensor:
        """Label names or indices → a `(b,)` tensor of indices.

        Raises:
            ValueError: a name or index that the model does not have.
        """
        return label_indices(label, self.labels)

    def prepare_images(self, image: Any) -> Float[Tensor, "b 3 s s"]:
        """Read one image or several, each cut to its central square and resized to `image_size`.

        Raises:
            MediaError: an image that cannot be read, named.
        """
        from .files.media import crop_resize, read_image

        several = isinstance(image, list | tuple) or getattr(image, "ndim", 0) == 4
        images = list(image) if several else [image]
        if not images:
            raise ValueError("no image was given")
        return torch.stack([crop_resize(read_image(item), self.image_size) for item in images])

    # ------------------------------------------------------------ saving and loading

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        dtype: torch.dtype | None = None,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **hub: Any,
    ) -> Path:
        """Write `config.json` and `model.safetensors`; each file is replaced whole or not at all.

        Args:
            save_directory: created if needed; other files in it are left alone.
            dtype: store the parameters in this precision, e.g. `torch.float16`: half the size.
            push_to_hub: upload the folder to the Hugging Face Hub afterwards.
            repo_id: its name there; the folder's name unless given.
            hub: further options of `push_to_hub`.

        Raises:
            ValueError: if the folder is a file, or `dtype` no floating-point type.
        """
        config = {
            "labels": self.labels,
            "image_size": self.image_size,
            "guidance_scale": self.guidance_scale,
            "autoencoder": asdict(self.autoencoder.config),
            "unet": asdict(self.unet.config),
            "diffusion": asdict(self.diffusion.config),
        }
        folder = save_module(save_directory, self, KIND, config, dtype)
        if push_to_hub:
            hub = {name: value for name, value in hub.items() if name not in ("config", "model_card_kwargs")}
            self.push_to_hub(repo_id=repo_id or folder.name, **hub)
        return folder

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        device: str | torch.device = "cpu",
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> "LFDM":
        """Load a model from a folder, or from the Hugging Face Hub; float32, in evaluation mode.

        Args:
            pretrained_model_name_or_path: a folder that `save_pretrained` wrote, or an id such as "name/model".
                A `Path`, and a name that can only be a path, are never looked up on the Hub.
            device: where the model shall live.
            revision, cache_dir, force_download, local_files_only, token: of a download.

        Raises:
            CheckpointError: no checkpoint there, or a damaged, incomplete or unfitting one; the message names what.
        """
        folder = find_folder(
            pretrained_model_name_or_path,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        parts = read_parts(folder)
        model = build(lambda: cls(**parts), folder / CONFIG_FILE)
        load_weights(model, read_tensors(folder), folder / WEIGHTS_FILE)
        return model.eval().requires_grad_(False).to(device)


def clip_generators(seed: int, count: int) -> list[torch.Generator]:
    """One CPU generator per clip; that of clip i depends on `seed` and i alone."""
    return [torch.Generator().manual_seed((seed * 1_000_003 + i) % 2**63) for i in range(count)]


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Normalization uses its running statistics inside; every module's mode is restored after."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
