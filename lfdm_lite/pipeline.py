"""The whole road: an image and a label become a video. `LFDM` generates, saves and loads."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn

from .autoencoder import LatentFlowAutoencoder
from .diffusion import GaussianDiffusion
from .files.checkpoints import load_module, save_module
from .files.fast import FastDenoiser, WithFast, save_fast
from .files.loading import KIND, find_folder, read_parts
from .files.models.cards import check_upload, model_card, write_card
from .files.models.weights import unwrapped
from .generated import GeneratedVideo, check_finite, clip_generators
from .inputs import Number, check_parts, check_quick, label_indices, number_values, pair_up, sampling
from .memory import autocast, evaluation_mode, usable_device
from .samplers import guided, guided_until, sample
from .unet3d import UNet3D


class LFDM(nn.Module, WithFast, ModelHubMixin, library_name="lfdm_lite", license="mit", pipeline_tag="image-to-video"):
    """Latent flow diffusion model: a frozen auto-encoder, and a diffusion model of its latent motion.

    Args:
        autoencoder: stage one; it carries appearance from the given image into every frame.
        unet: stage two's denoiser, for latents of that auto-encoder.
        diffusion: the noise process that `unet` was trained with.
        labels: the name of each label; `labels[i]` names data label i.
        image_size: height and width in pixels that the model was trained at; given images are brought to it.
        guidance_scale: what `generate` uses unless told otherwise; 1 is plain conditional sampling.
        quick: steps, how many of them guided, and their spacing, that were measured to serve this model as well as 20
            guided ones; `generate(fast=True)` takes them where there is no fast network. None: nobody measured.

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
        quick: Any = None,
    ) -> None:
        super().__init__()
        self.labels = [str(label) for label in labels]
        check_parts(autoencoder.config, unet.config, self.labels, image_size)
        self.autoencoder, self.unet, self.diffusion = autoencoder, unet, diffusion
        self.image_size = image_size
        self.guidance_scale, self.quick = float(guidance_scale), check_quick(quick, diffusion.config.num_steps)
        self.folder: Path | None = None  # that the model was read from
        self._fast: list[FastDenoiser] = []

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where `generate` computes."""
        return next(self.parameters()).device

    @property
    def num_frames(self) -> int:
        """Of the clips that the model was trained on."""
        return self.unet.config.num_frames

    @torch.no_grad()
    def generate(
        self,
        image: Any,
        label: Any,
        *,
        strength: Any = None,
        turn: Any = None,
        num_frames: Number | None = None,
        guidance_scale: Number | None = None,
        sampler: str = "dpm++",
        steps: Number | None = None,
        guided_steps: Number | None = None,
        spacing: Number | None = None,
        seed: Any = None,
        fast: bool = False,
        precision: str | None = None,
        progress: bool = True,
    ) -> GeneratedVideo:
        """Sample a video for each image and label.

        Several labels for one image, several images for one label, or as many of both make a batch; several strengths,
        turns or seeds do so too. The noise of clip i depends on the one seed and i alone, whatever the batch's size; or
        on its own seed alone: then it is the clip that is made alone with that seed.

        Args:
            image: a path, PIL image, array or tensor, or a sequence (or batch) of these; each is cut to its
                central square and resized to `image_size`.
            label: a name or index, or a sequence (list, tuple, array, tensor) of these.
            strength: of the expression, 1 as its pose was drawn; None: any that the model has seen; or a sequence.
            turn: of the head in the last frame, in radians clockwise; None: any; or a sequence. A model that learned
                from labels alone knows neither, see `model.unet.config.numbers`.
            num_frames: frames a clip, at least 1; None: as many as the model was trained on.
            guidance_scale: 0 ignores label, strength and turn, 1 is plain conditional, above 1 exaggerates all three;
                None: the model's own.
            sampler: "dpm++" (good in 20 steps), "ddim" or "ddpm".
            steps: network evaluations, from 1 to the number of diffusion steps (less those that hold no signal); None:
                20, or those of the fast network.
            guided_steps: in how many of the steps, the noisiest, guidance counts, from 1; the others cost half as much.
                None: in all. Four steps of which one is guided are five passes, where the default takes forty.
            spacing: of the steps, at least 1; None: 1, evenly. Above 1 they are shorter where it is noisy, which keeps
                more of the variety of seeds where steps are few.
            seed: the same gives the same clips; or a sequence, one a clip; None draws one from torch's generator.
            fast: take the model's fast network, see `model.fast`, which needs fewer passes and one a step; or, where it
                has none and no steps or sampler are given, as few steps as serve it as well, see `model.quick`.
            precision: "bf16" computes in bfloat16, on processors with arithmetic for it; None: in float32.
            progress: show a progress bar.

        Returns:
            A `GeneratedVideo`: videos in [0, 1], flow in normalized units, occlusion in [0, 1], on the CPU.

        Raises:
            ValueError: unknown label or sampler, a strength or turn that the model does not know, numbers out of range,
                images, labels and strengths that do not pair up; no fast network, or one that has not learned this.
            MediaError: an image that cannot be read (a ValueError too).
            NotFiniteError: the result holds numbers that are infinite or none (a ValueError too).

        Source: LFDM, inference.
        """
        computing = autocast(precision, self.device)
        network, *path = self.way(fast, sampler, steps, guided_steps, spacing)
        how = sampling(self, num_frames, guidance_scale, sampler, path[0], seed, network, *path[1:])
        num_frames, scale, steps, seed = how.num_frames, how.guidance_scale, how.steps, how.seed
        label = self.label_indices(label)
        numbers = number_values(self.unet.config.numbers, {"strength": strength, "turn": turn})
        source, label, numbers = pair_up(self.prepare_images(image), label, numbers, seed)
        seed = seed * len(source) if isinstance(seed, list) and len(seed) == 1 else seed
        source = source.to(self.device, memory_format=torch.channels_last)  # in which a CPU decodes a fifth faster
        label = label.to(self.device)
        told = numbers.float().to(self.device) if self.unet.config.numbers else None

        with evaluation_mode(self), computing:
            features = self.autoencoder.encode(source)
            size = self.image_size // self.autoencoder.config.flow_stride
            shape = (len(source), self.unet.config.channels, num_frames, size, size)
            until = guided_until(self.diffusion, steps, how.guided_steps, how.spacing)
            denoise = network.at_scale if network else partial(guided, self.unet, until=until)
            x0 = sample(
                self.diffusion,
                denoise(features, label, scale, told),
                shape,
                sampler=how.sampler,
                steps=steps,
                spacing=how.spacing,
                generator=clip_generators(seed, len(source)),
                progress=progress,
            )
            motion = self.diffusion.unpack_motion(x0)
            video = self.autoencoder.decode(source, motion).float()
        check_finite(video, motion, scale)
        names = [self.labels[i] for i in label.tolist()]
        columns = zip(self.unet.config.numbers, numbers.T.tolist(), strict=True)
        asked = {known.name: [None if math.isnan(value) else value for value in column] for known, column in columns}
        return GeneratedVideo(video.cpu(), motion.flow.cpu(), motion.occlusion.cpu(), names, source.cpu(), seed, asked)

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
        from .files.media import prepare_images  # readers of pictures and films load when the first one is read

        return prepare_images(image, self.image_size)

    # ------------------------------------------------------------ saving and loading

    def save_pretrained(  # type: ignore[override]  # the mixin's answers an address, or nothing
        self,
        save_directory: str | Path,
        *,
        dtype: torch.dtype | str | None = None,
        overwrite: bool = False,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **upload: Any,
    ) -> Path:
        """Write `config.json`, `model.safetensors`, the fast network if there is one, and, unless there is one, a card.

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
        config = {
            "labels": self.labels,
            "image_size": self.image_size,
            "guidance_scale": self.guidance_scale,
            **({"quick": self.quick} if self.quick else {}),
            "autoencoder": asdict(unwrapped(self.autoencoder).config),
            "unet": asdict(unwrapped(self.unet).config),
            "diffusion": asdict(unwrapped(self.diffusion).config),
        }
        fast = self.stored_fast()  # before anything is written
        folder = save_module(save_directory, self, KIND, config, dtype, overwrite)
        if fast:
            save_fast(folder, fast)
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
    def from_pretrained(  # type: ignore[override]  # the mixin's takes whatever a child's may take
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
        model.folder = folder
        return model.eval().requires_grad_(False).to(device)
