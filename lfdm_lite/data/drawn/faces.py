"""`Faces`: portraits that act out six expressions, with the true flow and visibility of every frame."""

import numpy as np

from .acting.expressions import AS_PEOPLE_DO, LABELS, Acting, perform
from .engine.scenes import Layer
from .people.portraits import PARTS, portrait
from .people.subjects import subject_look
from .procedural import ProceduralSet


class Faces(ProceduralSet):
    """Drawn people who start neutral and show anger, disgust, fear, happiness, sadness or surprise.

    Items are those of every `ProceduralSet`; 6000, 300 and 300 clips unless `length` says otherwise. They tell two
    numbers more, floats: `strength` of the expression, and `turn` of the head in the last frame, radians clockwise.

    Args:
        split, size, num_frames, length, seed: those of every `ProceduralSet`.
        acting: how widely strength and turn vary, which parts stay at rest, and whose motion the head has. The same
            index shows the same person, all else done alike.

    Raises:
        ValueError: if an argument is not one of these.
    """

    labels = LABELS
    numbers = ("strength", "turn")
    parts = PARTS
    key = 0xFACE5

    def __init__(
        self,
        split: str = "train",
        size: int = 64,
        num_frames: int = 16,
        length: int | None = None,
        seed: int = 0,
        acting: Acting = AS_PEOPLE_DO,
    ) -> None:
        super().__init__(split, size, num_frames, length, seed)
        self.acting = acting

    def draw(self, label: str, subject: int, rng: np.random.Generator) -> list[Layer]:
        return portrait(subject_look(subject), perform(label, self.num_frames, rng, self.acting))

    def tell(self, label: str, subject: int, rng: np.random.Generator) -> dict[str, float]:
        performance = perform(label, self.num_frames, rng, self.acting)
        return {name: getattr(performance, name) for name in self.numbers}
