"""The fast network of a model: a student that is told the guidance scale, in the folder `fast` of the model's own.

It is read when it is first asked for. What the student learned is in `distillation`.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..samplers import SAMPLERS, Denoise, guided
from ..unet3d import UNet3D, UNet3DConfig
from .checkpoints import CONFIG_FILE, load_module, read_config, save_module
from .models.configs import make_config, read_fields
from .models.weights import build, fingerprint, plain_names, unwrapped
from .reading import CheckpointError, shown
from .variants import construct

FAST = "fast"  # the folder, within a model's
KIND = "FastDenoiser"
FIELDS = ("unet", "steps", "sampler", "teacher")


@dataclass(frozen=True)
class FastDenoiser:
    """A network that answers in one pass what guidance takes two for, and how to sample with it."""

    unet: UNet3D  # its last number is the guidance scale, from the least to the greatest that it has learned
    steps: int  # passes a clip; a student of few steps knows these alone
    teacher: str  # `fingerprint_of` the network that taught it
    sampler: str = "ddim"  # that takes these steps

    @property
    def scales(self) -> tuple[float, float]:
        """The least and the greatest guidance scale that it knows."""
        scale = self.unet.config.numbers[-1]
        return scale.low, scale.high

    def check(self, unet: UNet3D, guidance_scale: float, sampler: str, steps: int) -> None:
        """Look whether the network has learned what is asked of it, and from the denoiser in whose place it shall be.

        Args:
            unet: that denoiser.
            sampler: "dpm++", which is that of the long way, or the network's own.

        Raises:
            ValueError: it has not; says what it knows.
        """
        if self.teacher != fingerprint_of(unwrapped(unet)):
            raise ValueError(
                "the fast network was taught by other weights than this model has: train it again "
                "(lfdm train few-steps), or leave fast out"
            )
        low, high = self.scales
        if steps != self.steps:
            raise ValueError(f"steps is {steps}; the fast network takes {self.steps}: leave steps out, or fast")
        if sampler not in ("dpm++", self.sampler):
            raise ValueError(
                f"sampler is {sampler!r}; the fast network takes {self.sampler!r}: leave sampler out, or fast"
            )
        if not low <= guidance_scale <= high:
            raise ValueError(
                f"guidance_scale is {guidance_scale:g}; the fast network was trained from {low:g} to {high:g}: "
                "choose one of these, or leave fast out"
            )

    def at_scale(
        self,
        features: Float[Tensor, "b f *frames h w"],
        label: Int[Tensor, " b"],
        guidance_scale: float,
        numbers: Float[Tensor, "b n"] | None = None,
    ) -> Denoise:
        """What `samplers.guided` is for two passes; the arguments mean what they mean there."""
        scale = torch.full((len(label), 1), guidance_scale, device=label.device)
        told = scale if numbers is None else torch.cat([numbers, scale], dim=1)
        return guided(self.unet, features, label, 1.0, told)


class WithFast:
    """A model that may have a fast network: in memory, or in the folder that the model was read from."""

    folder: Path | None
    quick: tuple[int, int, float] | None
    unet: UNet3D
    _fast: list[FastDenoiser]  # none or one; in a list, so that it is no part of the module and of its weights

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        raise NotImplementedError

    @property
    def fast(self) -> FastDenoiser:
        """The fast network, on the model's device; read from the model's folder when it is first asked for.

        Raises:
            CheckpointError: there is none (a ValueError too).
        """
        if not self._fast:
            self._fast.append(read_fast(self.folder or Path("this model"), unwrapped(self.unet).config))
        self._fast[0].unet.to(self.device)
        return self._fast[0]

    @fast.setter
    def fast(self, fast: FastDenoiser) -> None:
        self._fast[:] = [fast]

    @property
    def has_fast(self) -> bool:
        """Whether there is a fast network, in memory or in the model's folder."""
        return bool(self._fast) or (self.folder is not None and (self.folder / FAST).exists())

    def way(
        self, fast: bool, sampler: str, steps: Any, guided_steps: Any, spacing: Any, quick: bool = False
    ) -> tuple[FastDenoiser | None, Any, Any, Any]:
        """The fast network or None, steps, how many of them guided, spacing: how to sample with these options of
        `generate`.

        Args:
            fast: the fast network is asked for; the quick way where there is none.
            quick: the quick way is asked for, as the model's `quick` has it: it stands for 20 guided steps of dpm++,
                so it is taken where neither steps nor another sampler are given.

        Raises:
            CheckpointError: there is no fast network, and no quick way in its place (a ValueError too).
        """
        free = sampler == "dpm++" and (steps, guided_steps, spacing) == (None, None, None)
        if self.quick and free and (not self.has_fast if fast else quick):
            return None, *self.quick
        return self.fast if fast else None, steps, guided_steps, spacing


def save_fast(folder: Path, fast: FastDenoiser) -> Path:
    """Put a fast network, in half precision, into the folder of the model whose denoiser was its teacher.

    Raises:
        CheckpointError: the folder for it holds something else, or a number is infinite or none.
    """
    config = {"unet": asdict(fast.unet.config), "steps": fast.steps, "sampler": fast.sampler}
    config["teacher"] = fast.teacher
    return save_module(Path(folder) / FAST, fast.unet, KIND, config, torch.float16)


def read_fast(folder: Path, teacher: UNet3DConfig) -> FastDenoiser:
    """The fast network in a model's folder, in evaluation mode.

    Args:
        teacher: the config of the model's denoiser.

    Raises:
        CheckpointError: there is none, it is damaged, or of another shape than the model's.
    """
    place = Path(folder) / FAST
    if not place.exists():
        raise CheckpointError(
            f"{folder} has no fast network (a folder {FAST!r} in it): lfdm train few-steps makes one; "
            "or leave fast out, for the long way"
        )
    where = place / CONFIG_FILE
    values, steps, sampler, taught_by = read_fields(read_config(place, KIND), FIELDS, where)
    config = make_config(UNet3DConfig, values, f"{where}: unet")
    if not config.numbers or replace(config, numbers=config.numbers[:-1]) != teacher:
        raise CheckpointError(f"{where}: unet is not the config of the model in {folder} with the guidance scale added")
    if sampler not in SAMPLERS or type(steps) is not int or steps < 1:
        raise CheckpointError(f"{where}: steps {shown(steps)} or sampler {shown(sampler)} is none that can be taken")
    if not isinstance(taught_by, str):
        raise CheckpointError(f"{where}: teacher is {shown(taught_by)}, expected a fingerprint")
    unet = load_module(place, lambda: build(lambda: construct(config), f"{where}: unet"))
    return FastDenoiser(unet.eval().requires_grad_(False), steps, taught_by, sampler)


def fingerprint_of(unet: UNet3D) -> str:
    """A hash of a network's weights in half precision, so that it is the same whether they were stored so or not."""
    state = unet.state_dict()
    return fingerprint({plain: state[name].half() for plain, name in plain_names(state, "the denoiser").items()})
