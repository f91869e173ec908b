"""The page of failures: `python -m tests.failure_gallery` writes `chapters/failures.md` and its pictures anew.

`chapters/failures.toml` says what stands there; pictures and alternative texts are those that the chapters have stored.
A picture is named after the hash of the stored one, so that the page no longer agrees once a chapter draws another.
"""

import hashlib
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from html import unescape
from io import BytesIO
from typing import NamedTuple

import nbformat
from PIL import Image

from .chapter_pairs import CHAPTERS
from .pictures import KINDS, decoded, frames, windowed

PAGE = CHAPTERS / "failures.md"
DECLARED = CHAPTERS / "failures.toml"
PICTURES = CHAPTERS.parent / "assets" / "failures"
WIDEST = 640  # pixels


class Stored(NamedTuple):
    """A picture of a chapter: the bytes, the window that shows a frame of it, and its alternative text."""

    picture: bytes
    window: tuple[int, int] | None
    alt: str


@cache
def chapter(stem: str) -> nbformat.NotebookNode:
    return nbformat.read(CHAPTERS / f"{stem}.ipynb", as_version=4)


def slug(heading: str) -> str:
    """The anchor of a heading, as MyST and GitHub make it; formulas are left out."""
    plain = re.sub(r"\$[^$]*\$|[*`]", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def sections(stem: str) -> dict[str, list[nbformat.NotebookNode]]:
    """The cells under each heading of a chapter, up to the next one of any depth."""
    found, title = {}, ""
    for cell in chapter(stem).cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"(?ms)^```.*?^```\s*$", "", cell.source)
            for heading in re.findall(r"(?m)^#+ (.*)$", text):
                title = heading.strip()
                found[title] = []
        elif title:
            found[title].append(cell)
    return found


def stored(cells: list[nbformat.NotebookNode]) -> Iterator[Stored]:
    """All pictures of some cells, in their order; every state of a dial is one."""
    for cell in cells:
        of_cell = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        for output in cell.outputs:
            data = output.get("data", {})
            for kind in set(KINDS) & set(data):
                alt = output.metadata.get(kind, {}).get("alt", of_cell)
                yield Stored(decoded(data[kind]), None, alt)
            page = "".join(data.get("text/html", ""))
            alts = re.findall(r'<(?:img|div role="img")[^>]*(?:alt|aria-label)="([^"]*)"', page)
            for (picture, window), alt in zip(windowed(page), alts, strict=True):
                yield Stored(picture, window, unescape(alt))


def find(entry: dict) -> Stored:
    """The picture that an entry asks for.

    Raises:
        ValueError: the chapter has no such section, too few pictures in it, or another one there; says what there is.
    """
    there = sections(entry["chapter"])
    if entry["section"] not in there:
        raise ValueError(f"{entry['chapter']} has no section {entry['section']!r}; it has: {', '.join(there)}")
    pictures = list(stored(there[entry["section"]]))
    if not 1 <= entry["picture"] <= len(pictures):
        raise ValueError(f"{entry['chapter']}, {entry['section']}: {len(pictures)} pictures, not {entry['picture']}")
    found = pictures[entry["picture"] - 1]
    if entry["about"] not in found.alt:
        raise ValueError(
            f"{entry['chapter']}, {entry['section']}, picture {entry['picture']} is another one, not about "
            f"{entry['about']!r}: {found.alt!r}; mend its entry in {DECLARED.name}"
        )
    return found


def file_name(entry: dict, picture: bytes) -> str:
    return f"{entry['chapter'][:2]}_{slug(entry['title'])}_{hashlib.sha256(picture).hexdigest()[:8]}.webp"


def entries() -> list[dict]:
    return tomllib.loads(DECLARED.read_text(encoding="utf-8"))["failure"]


def page() -> str:
    """What the page says, as of the chapters' stored outputs."""
    declared = tomllib.loads(DECLARED.read_text(encoding="utf-8"))
    lines, last = [f"# Failure gallery\n\n{declared['before'].strip()}\n"], ""
    for entry in declared["failure"]:
        stem, found = entry["chapter"], find(entry)
        if stem != last:
            lines.append(f"## {next(iter(sections(stem)))}\n")
            last = stem
        alt = " ".join(found.alt.split())
        figure = f"```{{figure}} ../assets/failures/{file_name(entry, found.picture)}\n:alt: {alt}\n\n"
        lines.append(f"### {entry['title']}\n\n{entry['wrong'].strip()}\n\n{figure}{entry['reveals'].strip()}\n```\n")
        lines.append(f"Break it yourself: [{entry['section']}]({stem}.ipynb#{slug(entry['section'])}).\n")
    return "\n".join(lines)


def reduced(found: Stored) -> bytes:
    """The picture on white, at most 640 pixels wide, as WebP; the last frame of one that moves."""
    image = Image.fromarray(frames(found.picture, found.window)[-1])
    if found.window and image.height < 256:
        image = image.resize((4 * image.width, 4 * image.height), Image.Resampling.NEAREST)
    image.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
    file = BytesIO()
    image.save(file, "webp", quality=80, method=6)
    return file.getvalue()


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    PICTURES.mkdir(parents=True, exist_ok=True)
    wanted = {file_name(entry, found.picture): found for entry in entries() for found in [find(entry)]}
    for old in set(PICTURES.iterdir()) - {PICTURES / name for name in wanted}:
        old.unlink()
    for name, found in wanted.items():
        (PICTURES / name).write_bytes(reduced(found))
    size = sum(file.stat().st_size for file in PICTURES.iterdir())
    print(f"{len(wanted)} failures in {PAGE.name}, {size / 1e3:.0f} kB of pictures")


if __name__ == "__main__":
    main()
