"""`Gestures`: people who signal with both arms, with the true flow and visibility of every frame."""

import numpy as np

from .acting.gesturing import LABELS, act
from .engine.scenes import Layer
from .people.signallers import signaller, subject_kit
from .people.subjects import subject_look
from .procedural import ProceduralSet


class Gestures(ProceduralSet):
    """Drawn people, from the hips up, who let their arms hang and then give one of 14 signals to an aircraft.

    The people are those of `Faces`: the same number is the same person. Arguments and items are those of every
    `ProceduralSet`; 6000, 300 and 300 clips unless `length` says otherwise.
    """

    labels = LABELS
    key = 0x6E57

    def draw(self, label: str, subject: int, rng: np.random.Generator) -> list[Layer]:
        return signaller(subject_look(subject), subject_kit(subject), act(label, self.num_frames, rng), self.size)
