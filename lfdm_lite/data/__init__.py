"""Videos to learn from: procedural scenes whose true motion is known, folders of videos, and the paper's data sets.

`Faces` draws its clips when they are asked for; `VideoFolder` reads yours; `MUG`, `MHAD` and `NATOPS` read what
`lfdm data prepare` has made of the paper's. All give the same items.
"""

from importlib import import_module
from typing import Any

from .drawn.acting.expressions import Acting
from .drawn.faces import Faces
from .drawn.figures import Figures
from .drawn.gestures import Gestures
from .drawn.procedural import ProceduralSet
from .drawn.sketches import Sketches

PROCEDURAL: dict[str, type[ProceduralSet]] = {
    "faces": Faces,
    "figures": Figures,
    "gestures": Gestures,
    "sketches": Sketches,
}  # by the name that commands and configs use

__all__ = [
    "MHAD",
    "MUG",
    "NATOPS",
    "PROCEDURAL",
    "Acting",
    "Faces",
    "Figures",
    "Gestures",
    "ProceduralSet",
    "Sketches",
    "VideoFolder",
]


def __getattr__(name: str) -> Any:
    if name == "VideoFolder":
        return import_module(".folders.video_folder", __name__).VideoFolder
    if name in ("MUG", "MHAD", "NATOPS"):
        return getattr(import_module(".paper.sets", __name__), name)
    raise AttributeError(f"module 'lfdm_lite.data' has no attribute {name!r}")
