"""`Figures`: whole bodies that act, with the true flow and visibility of every frame."""

from pathlib import Path
from typing import Any

import numpy as np

from .acting.captured import ACTIONS, found, motion_folder, play, read
from .acting.performing import LABELS, act
from .acting.skeletons import Camera
from .engine.scenes import Layer
from .people.bodies import figure, subject_build
from .people.subjects import subject_look
from .procedural import ProceduralSet


class Figures(ProceduralSet):
    """Drawn people in front of a quiet wall who stand, and then bow, clap, jump, kick, throw, wave and more.

    Arguments and items are those of every `ProceduralSet`, and:

    Args:
        motion: "procedural", or "captured": recordings of people, which the package `pybullet` carries. Its labels
            are the recorded actions that are found.
        motions: for "captured", a folder with motion files in place of that package's.

    Raises:
        ImportError: for captured motion, if neither the package nor a folder is there.
        FileNotFoundError: if the folder has no motion files.
        ValueError: if an argument or a motion file is not what is expected.
    """

    labels = LABELS
    key = 0xB0D1E5

    def __init__(
        self, *arguments: Any, motion: str = "procedural", motions: str | Path | None = None, **more: Any
    ) -> None:
        super().__init__(*arguments, **more)
        if motion not in ("procedural", "captured"):
            raise ValueError(f"motion {motion!r} is not one of: procedural, captured")
        if motion == "procedural" and motions is not None:
            raise ValueError(f'motions={str(motions)!r} is a folder of captured motion; give motion="captured" too')
        self.motion, self.files = motion, {}
        if motion == "captured":
            self.files = found(motion_folder() if motions is None else Path(motions))
            self.labels = tuple(self.files)

    def draw(self, label: str, subject: int, rng: np.random.Generator) -> list[Layer]:
        yaw, pitch = np.radians(rng.uniform(22, 36)), np.radians(rng.uniform(4, 9))
        looks = 1 if rng.random() < 0.5 else -1
        camera = Camera(looks * yaw, pitch, rng.uniform(-0.06, 0.06), rng.uniform(0.82, 0.86))
        build = subject_build(subject)
        if self.motion == "captured":
            skeleton = play(read(self.files[label]), build.bones, self.num_frames, rng, looks * ACTIONS[label])
        else:
            skeleton = act(label, build.bones, self.num_frames, rng, looks)
        return figure(subject_look(subject), build, skeleton, camera)
