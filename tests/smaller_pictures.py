"""Stored PNG pictures in fewer bytes, pixel for pixel the same: `python -m tests.smaller_pictures chapters/*.ipynb`.

`make run-notebooks` does it after the notebooks have run. A fifth of what matplotlib writes is saved, and that is more
than another chapter brings.
"""

import base64
import re
import sys
from pathlib import Path
from typing import Any

import nbformat

INSIDE = re.compile(r"(data:image/png;base64,)([A-Za-z0-9+/=]+)")


def smaller(picture: str) -> str:
    """A PNG in base64, lines or not, as one with the same pixels and as many bytes or fewer.

    Raises:
        ImportError: pyoxipng is not installed (it has no wheel for this Python, or `.[dev]` was left out).
    """
    import oxipng

    raw = base64.b64decode(picture)
    found = oxipng.optimize_from_memory(raw, level=4)
    return base64.b64encode(found).decode() if len(found) < len(raw) else picture


def shrink(notebook: Any) -> None:
    """Do so with every PNG among the outputs of a notebook, alone or inside HTML."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = smaller(data["image/png"])
            if "text/html" in data:
                data["text/html"] = INSIDE.sub(lambda found: found[1] + smaller(found[2]), data["text/html"])


def main(paths: list[str]) -> None:
    for path in map(Path, paths):
        before, notebook = path.stat().st_size, nbformat.read(path, nbformat.NO_CONVERT)
        try:
            shrink(notebook)
        except ImportError as error:
            sys.exit(f"pictures stay as large as they are: {error}; pip install pyoxipng")
        nbformat.write(notebook, path, nbformat.NO_CONVERT)
        print(f"{path}: {before / 1e3:.0f} -> {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
