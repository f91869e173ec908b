"""Sphinx: put pictures, recorded videos, and what `make site-assets` made, beside the modules of the live page."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image, ImageSequence

from . import FOLDER, MADE, ROOT, cards

PICTURES = ROOT / "assets" / "examples"
RECORDED = ROOT / "assets" / "figures" / "cover.webp"
MENDED = {
    '<summary aria-label="Toggle hidden content">': "<summary>",  # myst-nb 1.4.0: not the words that the fold shows
    'role="doc-biblioentry"': 'role="listitem"',  # docutils 0.21: a role that is no longer one
}


def fill(app: Any, exception: Exception | None) -> None:
    """After the pages are written: `_static/live/`, and in it `contents.json`, which says what is there."""
    if exception is not None or app.builder.format != "html":
        return
    place = Path(app.outdir) / "_static" / "live"
    place.mkdir(parents=True, exist_ok=True)
    pictures = sorted(PICTURES.glob("*.png"))
    (place / "pictures").mkdir(exist_ok=True)
    for picture in pictures:
        shutil.copy2(picture, place / "pictures")
    shutil.copy2(RECORDED, place / "recorded.webp")
    cover(place)
    ready = all((FOLDER / name / MADE).is_file() for name in ("model", "runtime"))
    sizes = {}
    for name in ("model", "runtime"):
        shutil.rmtree(place / name, ignore_errors=True)
        if ready:
            shutil.copytree(FOLDER / name, place / name, ignore=shutil.ignore_patterns(MADE))
    if ready:
        sizes = {path.name: path.stat().st_size for path in sorted((place / "runtime").iterdir())}
    contents = {"pictures": [path.name for path in pictures], "model": ready, "runtime": sizes}
    (place / "contents.json").write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")


def cover(place: Path) -> None:
    """The frames of the recorded videos, one below the other, and one of them alone, for the first page."""
    with Image.open(RECORDED) as film:
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(film)]
    width, height = frames[0].size
    sheet = Image.new("RGB", (width, height * len(frames)))
    for i, frame in enumerate(frames):
        sheet.paste(frame, (0, height * i))
    sheet.save(place / "cover.webp", quality=85)
    frames[2 * len(frames) // 3].save(place / "still.webp", quality=90)


def once(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Leave out inline scripts that stand on a page already: sphinx-thebe 0.3.1 declares its constants twice."""
    seen: set[str] = set()
    kept = []
    for script in context.get("script_files", []):
        body = getattr(script, "attributes", {}).get("body")
        if body is None or body not in seen:
            kept.append(script)
        seen.add(body)
    context["script_files"] = kept


def named(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Put right what others write into pages: what a screen reader would misread, and long names in narrow columns."""
    if "body" in context:
        for theirs, ours in MENDED.items():
            context["body"] = context["body"].replace(theirs, ours)
        context["body"] = re.sub(r"<table\b.*?</table>", breakable, context["body"], flags=re.DOTALL)


def breakable(table: re.Match[str]) -> str:
    """A table whose names of code may break between their words, `lfdm_` and `lite.`, where a column is narrow."""
    return re.sub(
        r'(<span class="pre">)([^<]*)',
        lambda code: code[1] + re.sub(r"(?<=[_.:/,(=-])(?=\w)", "<wbr>", code[2]),
        table[0],
    )


def joined(app: Any, tree: nodes.document, page: str) -> None:
    """Tie the punctuation around a formula to it: a browser would begin a line with what ends a sentence."""
    for formula in list(tree.findall(nodes.math)):
        parent, tied = formula.parent, nodes.inline(classes=["formula-end"])
        at = parent.index(formula)
        before, after = (parent[i] if 0 <= i < len(parent) else None for i in (at - 1, at + 1))
        opening = re.search(r"[(\[“]*$", before)[0] if isinstance(before, nodes.Text) else ""
        ending = re.match(r"[.,:;!?)\]”’]*", after)[0] if isinstance(after, nodes.Text) else ""
        if not opening + ending:
            continue
        if opening:
            parent[at - 1] = nodes.Text(before[: -len(opening)])
            tied += nodes.Text(opening)
        parent[at] = tied
        tied += formula
        if ending:
            tied += nodes.Text(ending)
            parent[at + 1] = nodes.Text(after[len(ending) :])


def setup(app: Any) -> dict[str, Any]:
    cards.setup(app)
    app.connect("build-finished", fill)
    app.connect("doctree-resolved", joined)
    app.connect("html-page-context", once, priority=900)
    app.connect("html-page-context", named)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
