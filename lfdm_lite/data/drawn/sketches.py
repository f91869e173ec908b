"""`Sketches`: the people and the performances of `Faces`, drawn in ink, seen at night or photographed."""

from typing import Any

import numpy as np

from .acting.expressions import AS_PEOPLE_DO, Acting
from .engine.looks import LOOKS
from .engine.scenes import Layer
from .faces import Faces


class Sketches(Faces):
    """The clips of `Faces` in other looks: the new domain on which a decoder alone is finetuned.

    Clip i shows the subject, the performance, the flow and the visibility of clip i of `Faces` with the same split and
    seed; only what it looks like differs. Items have one key more, `look`: the name of the clip's look.

    Args:
        split, size, num_frames, length, seed: those of every `ProceduralSet`.
        look: "ink", "night" or "photo"; "all" draws one for every clip.
        acting: that of `Faces`.

    Raises:
        ValueError: if an argument is not one of these.
    """

    def __init__(
        self,
        split: str = "train",
        size: int = 64,
        num_frames: int = 16,
        length: int | None = None,
        seed: int = 0,
        look: str = "all",
        acting: Acting = AS_PEOPLE_DO,
    ) -> None:
        super().__init__(split, size, num_frames, length, seed, acting)
        if look != "all" and look not in LOOKS:
            raise ValueError(f"look {look!r} is not one of: all, {', '.join(LOOKS)}")
        self.look = look

    def scene(self, index: int, take: int = 0) -> tuple[list[Layer], int, int]:
        layers, label, subject = super().scene(index, take)
        look, rng = self._look(index)
        return LOOKS[look](layers, rng), label, subject

    def __getitem__(self, index: int) -> dict[str, Any]:
        return super().__getitem__(index) | {"look": self._look(index)[0]}

    def look_of(self, index: int) -> str:
        """The name of the look of clip `index`."""
        if not -self.length <= index < self.length:
            super().scene(index)  # raises
        return self._look(index)[0]

    def _look(self, index: int) -> tuple[str, np.random.Generator]:
        """The look of a clip that is there, and the random numbers for its paper, pen or lamps."""
        # Drawn apart from who acts and how, so that these stay those of `Faces`.
        entropy = (0x10045, list(self.splits).index(self.split), self.seed, index % self.length)
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
        drawn = list(LOOKS)[int(rng.integers(len(LOOKS)))]
        return drawn if self.look == "all" else self.look, rng
