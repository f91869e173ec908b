"""A few clips of every procedural set as one machine drew them, for all others to compare: `tests/data/clips.npz`.

A set's pictures are part of what a checkpoint trained on them knows. Who changes them on purpose draws the stored clips
anew and says so:

    python -m tests.stored_clips            all sets
    python -m tests.stored_clips faces      one set; the clips of the others stay as they are
"""

import sys
from pathlib import Path

import numpy as np

from lfdm_lite.data import PROCEDURAL
from lfdm_lite.data.drawn.engine.looks import LOOKS
from lfdm_lite.files.atomic import write_atomically

FILE = Path(__file__).parent / "data" / "clips.npz"
INDEX, SIZE, FRAMES = 3, 32, 3


def draw(name: str) -> dict[str, np.ndarray]:
    """What the file holds of a set: the first and the last frame, and where the last one came from."""
    kind, stored = PROCEDURAL[name], {}
    for look in LOOKS if name == "sketches" else [""]:
        item = kind("test", SIZE, FRAMES, **({"look": look} if look else {}))[INDEX]
        clip = f"{name} {look}".strip()
        stored[f"{clip}: video"] = item["video"][:, :: FRAMES - 1].numpy()
        stored[f"{clip}: flow"] = item["flow"][:, -1].numpy()
        stored[f"{clip}: visible"] = item["visible"][0, -1].bool().numpy()
        stored[f"{clip}: label, subject"] = np.array([item["label"], item["subject"]])
    return stored


def read() -> dict[str, np.ndarray]:
    """All that is stored; nothing, if there is no file yet."""
    if not FILE.exists():
        return {}
    with np.load(FILE) as arrays:
        return dict(arrays)


def main(names: list[str]) -> int:
    """Returns the exit code: 0 written, 2 wrong use."""
    unknown = [name for name in names if name not in PROCEDURAL]
    if unknown:
        print(f"there is no set {unknown[0]!r}; there are: {', '.join(PROCEDURAL)}", file=sys.stderr)
        return 2
    drawn = {name: draw(name) for name in names or PROCEDURAL}
    kept = {key: array for key, array in read().items() if key.split(":")[0].split()[0] in PROCEDURAL.keys() - drawn}
    arrays = dict(sorted((kept | {key: array for part in drawn.values() for key, array in part.items()}).items()))

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)

    FILE.parent.mkdir(exist_ok=True)
    write_atomically(FILE, write)
    print(f"{FILE.name}: {', '.join(drawn)} drawn anew, {FILE.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
