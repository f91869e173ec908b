"""`make site-assets`: the model and the runtime of the live page, into `_build/live`. What is there already is kept.

The book's build puts them beside the page; without them the page shows recorded videos.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lfdm_lite.files.atomic import write_json

from . import FOLDER, MADE, ROOT, runtime
from .npm import NotFetched

CHECKPOINT = ROOT / "assets" / "checkpoints" / "faces64"


def main() -> int:
    try:
        make("runtime", runtime.ARCHIVE.sha256, lambda folder: runtime.unpack(runtime.ARCHIVE.content(), folder))
        make("model", key_of_model(), export)
    except (NotFetched, ModuleNotFoundError) as problem:
        print(f"the live page will show recorded videos: {problem}", file=sys.stderr)
        return 1
    return 0


def make(name: str, key: str, fill: Callable[[Path], Any]) -> None:
    """Fill a folder, unless it was made of the same."""
    folder = FOLDER / name
    note = folder / MADE
    if note.is_file() and json.loads(note.read_text(encoding="utf-8")) == key:
        return
    note.unlink(missing_ok=True)
    fill(folder)
    write_json(note, key)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder.relative_to(ROOT)}: {size / 1e6:.1f} MB")


def key_of_model() -> str:
    """Changes with the weights, and with any source that may shape a graph."""
    sources = [*(ROOT / "lfdm_lite").glob("*.py"), *(ROOT / "lfdm_lite" / "browser").glob("*.py")]
    digest = hashlib.sha256()
    for path in sorted([*sources, *CHECKPOINT.rglob("config.json")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def export(folder: Path) -> None:
    from lfdm_lite.browser.checking import differences
    from lfdm_lite.browser.export import export
    from lfdm_lite.pipeline import LFDM

    model = LFDM.from_pretrained(CHECKPOINT)
    model.folder = None  # the page goes the quick way; a fast network from there would be another 8 MB to load
    export(model, folder)
    far = [difference for difference in differences(model, folder) if not difference.is_small]
    if far:
        raise RuntimeError(f"the exported graphs answer otherwise than the model: {far}")


if __name__ == "__main__":
    sys.exit(main())
