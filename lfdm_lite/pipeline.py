"""The whole road: an image and a label become a video. `LFDM` generates, saves and loads."""

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn

from .autoencoder import LatentFlowAutoencoder
from .diffusion import GaussianDiffusion
from .files.checkpoints import load_module, save_module
from .files.loading import KIND, find_folder, read_parts
from .files.models.cards import model_card, write_card
from .files.models.weights import unwrapped
from .generated import GeneratedVideo, check_finite
from .inputs import Number, check_parts, label_indices, pair_up, sampling, usable_device
from .samplers import guided, sample
from .unet3d import UNet3D


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
            NotFiniteError: the result holds numbers that are infinite or none (a ValueError too).

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
        check_finite(video, motion, scale)
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
            ValueError: no image was given.
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
        dtype: torch.dtype | str | None = None,
        overwrite: bool = False,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **upload: Any,
    ) -> Path:
        """Write `config.json`, `model.safetensors` and, unless there is one, a model card `README.md`.

        A model that is there already is replaced in one step. Parts that torch.compile or DataParallel have wrapped
        are stored like others.

        Args:
            save_directory: created if needed; other files in it are left alone.
            dtype: store the parameters in this precision, e.g. `torch.float16`: half the size.
            overwrite: also replace a checkpoint of another kind.
            push_to_hub: upload the model to the Hugging Face Hub afterwards.
            repo_id: its name there; the folder's name unless given.
            upload: further options of `push_to_hub`, such as `private` and `token`.

        Raises:
            TypeError: an option that nobody knows, or one of an upload without `push_to_hub`.
            ValueError: the folder is a file or holds another kind of model, `dtype` is no floating-point type, or the
                model holds numbers that are infinite or none.
        """
        check_upload({"repo_id": repo_id, **upload}, push_to_hub)
        autoencoder, unet, diffusion = map(unwrapped, (self.autoencoder, self.unet, self.diffusion))
        config = {
            "labels": self.labels,
            "image_size": self.image_size,
            "guidance_scale": self.guidance_scale,
            "autoencoder": asdict(autoencoder.config),
            "unet": asdict(unet.config),
            "diffusion": asdict(diffusion.config),
        }
        folder = save_module(save_directory, self, KIND, config, dtype, overwrite)
        write_card(folder, self.generate_model_card(folder.resolve().name))
        if push_to_hub:
            self.push_to_hub(repo_id=repo_id or folder.resolve().name, **upload)
        return folder

    def generate_model_card(self, title: str = "model") -> ModelCard:
        """What the Hub and people read of this model: its task, labels and sizes, and how to use it."""
        parts = {"auto-encoder": self.autoencoder, "denoiser": self.unet}
        return model_card(
            self._hub_mixin_info.model_card_data,
            title,
            self.labels,
            self.image_size,
            unwrapped(self.unet).config.num_frames,
            self.guidance_scale,
            {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
        )

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
            ValueError: a device that cannot be used here.
        """
        device = usable_device(device)
        folder = find_folder(
            pretrained_model_name_or_path,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        model = load_module(folder, lambda: cls(**read_parts(folder)))
        return model.eval().requires_grad_(False).to(device)


def check_upload(options: dict[str, Any], push_to_hub: bool) -> None:
    """Look whether what is left of the options of `save_pretrained` are those of an upload, and one is wanted.

    Raises:
        TypeError: not so; names the option.
    """
    parameters = inspect.signature(ModelHubMixin.push_to_hub).parameters
    ours = ("config", "model_card_kwargs")  # which the Hub's mixin sends as None; the model makes both itself
    known = [name for name in parameters if name not in ("self", *ours)]
    for name, value in options.items():
        if name not in known and (name not in ours or value is not None):
            raise TypeError(
                f"save_pretrained has no option {name!r}; it knows dtype and overwrite, "
                f"and with push_to_hub=True: {', '.join(known)}"
            )
        if value is not None and not push_to_hub:
            raise TypeError(
                f"save_pretrained got {name!r}, which is of an upload: add push_to_hub=True, or leave it out"
            )


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
