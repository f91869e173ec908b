"""The fast network of a model: a student that is told the guidance scale, in the folder `fast` of the model's own.

It is read when it is first asked for. What the student learned is in `distillation`. It may be stored as what it has
learned beyond its teacher, see `models.changes`.
"""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..samplers import SAMPLERS, Denoise, guided
from ..unet3d import UNet3D, UNet3DConfig
from .checkpoints import CONFIG_FILE, load_module, read_config, save_module
from .models.changes import Change, leading_change
from .models.configs import make_config, read_fields
from .models.weights import build, check_finite, fingerprint, plain_names, unwrapped
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
    kept: int = 0  # numbers of its change from the teacher that are stored; 0: the whole network is
    change: Change | None = None  # that it was read from

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

    def knows(self, unet: UNet3D, guidance_scale: float) -> bool:
        """Whether it has learned from this denoiser, and this scale."""
        try:
            self.check(unet, guidance_scale, self.sampler, self.steps)
        except ValueError:
            return False
        return True

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
    guidance_scale: float
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
            self._fast.append(read_fast(self.folder or Path("this model"), unwrapped(self.unet)))
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
        self,
        fast: bool,
        sampler: str,
        steps: Any,
        guided_steps: Any,
        spacing: Any,
        quick: bool = False,
        scale: float | None = None,
    ) -> tuple[FastDenoiser | None, Any, Any, Any]:
        """The fast network or None, steps, how many of them guided, spacing: how to sample with these options of
        `generate`.

        Args:
            fast: the fast network is asked for; the quick way where there is none.
            quick: the shortest way that serves is asked for: the fast network, where it has learned what is asked of
                it; else the quick way, as the model's `quick` has it. Both stand for 20 guided steps of dpm++, so they
                are taken where neither steps nor another sampler are given.
            scale: of guidance; None: the model's.

        Raises:
            CheckpointError: there is no fast network, and no quick way in its place (a ValueError too).
        """
        free = sampler == "dpm++" and (steps, guided_steps, spacing) == (None, None, None)
        if quick and free and not fast and self.has_fast:
            try:
                fast = self.fast.knows(self.unet, self.guidance_scale if scale is None else scale)
            except CheckpointError as error:
                warnings.warn(f"{error}; going on without the fast network", stacklevel=2)
        if self.quick and free and (not self.has_fast if fast else quick):
            return None, *self.quick
        return self.fast if fast else None, steps, guided_steps, spacing

    def stored_fast(self) -> tuple[nn.Module, dict[str, Any]] | None:
        """What of the fast network is stored with the model: nothing if that in its folder is damaged, or belongs to
        the weights that the model had before it learned more.

        Raises:
            CheckpointError: the one in memory holds a number that is infinite or none.
        """
        try:
            return fast_to_store(self.fast, unwrapped(self.unet)) if self.has_fast else None
        except CheckpointError as error:
            if self._fast:
                raise
            warnings.warn(f"{error}; saving without the fast network", stacklevel=2)
            return None


def fast_to_store(fast: FastDenoiser, teacher: UNet3D) -> tuple[nn.Module, dict[str, Any]]:
    """What is stored of a fast network: itself, or its change from the denoiser that taught it; and its config.

    Raises:
        CheckpointError: a number is infinite or none.
    """
    config: dict[str, Any] = {"unet": asdict(fast.unet.config), "steps": fast.steps, "sampler": fast.sampler}
    config["teacher"], after = fast.teacher, plain_state(fast.unet)
    check_finite(after, "the fast network")
    if not fast.kept or fast.teacher != fingerprint_of(teacher):
        return fast.unet, config
    before, change = begun(teacher, after), fast.change
    if change is None or not all(value.equal(after[name]) for name, value in change(before).items()):
        change = leading_change(before, after, fast.kept)
        lost, all_of_it = (sum((x[n] - after[n]).square().sum() for n in after) for x in (change(before), before))
        if lost > all_of_it / 2:
            warnings.warn(f"of what the fast network learned, kept={fast.kept} holds less than half", stacklevel=2)
    return change, config | {"ranks": change.ranks}


def save_fast(folder: Path, stored: tuple[nn.Module, dict[str, Any]]) -> Path:
    """Put a fast network, in half precision, into the folder of the model whose denoiser was its teacher.

    Args:
        stored: of `fast_to_store`.

    Raises:
        CheckpointError: the folder for it holds something else.
    """
    return save_module(Path(folder) / FAST, stored[0], KIND, stored[1], torch.float16)


def read_fast(folder: Path, teacher: UNet3D) -> FastDenoiser:
    """The fast network in a model's folder, in evaluation mode.

    Args:
        teacher: the model's denoiser.

    Raises:
        CheckpointError: there is none, it is damaged, or of another shape than the model's.
    """
    place = Path(folder) / FAST
    if not place.exists():
        raise CheckpointError(
            f"{folder} has no fast network (a folder {FAST!r} in it): lfdm train few-steps makes one; "
            "or leave fast out, for the long way"
        )
    where, found = place / CONFIG_FILE, read_config(place, KIND)
    names = (*FIELDS, *(name for name in ("ranks",) if name in found))  # those of a change alone
    values, steps, sampler, taught_by, *ranks = read_fields(found, names, where)
    config = make_config(UNet3DConfig, values, f"{where}: unet")
    if not config.numbers or replace(config, numbers=config.numbers[:-1]) != teacher.config:
        raise CheckpointError(
            f"{where}: unet is not the config of the model in {folder} with the guidance scale added; "
            f"if another model left it there, delete the folder {FAST!r}"
        )
    if sampler not in SAMPLERS or type(steps) is not int or steps < 1:
        raise CheckpointError(f"{where}: steps {shown(steps)} or sampler {shown(sampler)} is none that can be taken")
    if not isinstance(taught_by, str):
        raise CheckpointError(f"{where}: teacher is {shown(taught_by)}, expected a fingerprint")
    make = lambda: build(lambda: construct(config), f"{where}: unet")
    if not ranks:
        unet, change = load_module(place, make), None
    elif taught_by != fingerprint_of(teacher):
        raise CheckpointError(f"{place} is a change of other weights than this model has: lfdm train few-steps")
    else:
        unet = make()
        change = read_change(place, unet, *ranks)
        after = change(begun(teacher, unet.state_dict()))
        check_finite(after, place)
        unet.load_state_dict(after)
    kept = len(change.numbers) if change else 0
    return FastDenoiser(unet.eval().requires_grad_(False), steps, taught_by, sampler, kept, change)


def read_change(place: Path, unet: UNet3D, ranks: Any) -> Change:
    """What is stored of a student's change.

    Raises:
        CheckpointError: it is damaged, or does not fit the network.
    """
    where = f"{place / CONFIG_FILE}: ranks"
    if not isinstance(ranks, list) or not all(type(rank) is int for rank in ranks):
        raise CheckpointError(f"{where} is {shown(ranks)}, expected a list of whole numbers")
    shapes = [value.shape for value in unet.state_dict().values()]
    return load_module(place, lambda: build(lambda: Change(shapes, ranks), where))


def begun(teacher: UNet3D, student: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that a student's change is counted from: its teacher's, and zero where the teacher has none."""
    state = plain_state(teacher)
    return {name: state.get(name, torch.zeros_like(value)) for name, value in student.items()}


def plain_state(unet: UNet3D) -> dict[str, Tensor]:
    """A network's tensors on the CPU in float32, without the names that wrappers of torch put in."""
    state = unet.state_dict()
    return {plain: state[name].cpu().float() for plain, name in plain_names(state, "the denoiser").items()}


def fingerprint_of(unet: UNet3D) -> str:
    """A hash of a network's weights in half precision, so that it is the same whether they were stored so or not."""
    return fingerprint({name: value.half() for name, value in plain_state(unet).items()})
