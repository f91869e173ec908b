"""`Faces`: portraits that act out six expressions, with the true flow and visibility of every frame."""

import numpy as np

from .acting.expressions import LABELS, act
from .engine.scenes import Layer
from .people.portraits import portrait
from .people.subjects import subject_look
from .procedural import ProceduralSet


class Faces(ProceduralSet):
    """Drawn people who start neutral and show anger, disgust, fear, happiness, sadness or surprise.

    Arguments and items are those of every `ProceduralSet`; 6000, 300 and 300 clips unless `length` says otherwise.
    """

    labels = LABELS
    key = 0xFACE5

    def draw(self, label: str, subject: int, rng: np.random.Generator) -> list[Layer]:
        return portrait(subject_look(subject), act(label, self.num_frames, rng))
