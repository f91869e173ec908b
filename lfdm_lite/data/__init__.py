"""Videos to learn from: procedural scenes whose true motion is known, and folders of videos.

`Faces` draws its clips when they are asked for; `VideoFolder` reads yours. Both give the same items.
"""

from importlib import import_module
from typing import Any

from .faces import Faces
from .procedural import ProceduralSet

PROCEDURAL: dict[str, type[ProceduralSet]] = {"faces": Faces}  # by the name that commands and configs use

__all__ = ["PROCEDURAL", "Faces", "ProceduralSet", "VideoFolder", "media"]


def __getattr__(name: str) -> Any:
    if name == "VideoFolder":
        return import_module(".video_folder", __name__).VideoFolder
    if name == "media":
        return import_module(".media", __name__)
    raise AttributeError(f"module 'lfdm_lite.data' has no attribute {name!r}")
