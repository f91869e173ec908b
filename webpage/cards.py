"""Sphinx: a directive that shows chapters as cards, `{chapter-cards}`.

Each line of its body names a page, how hard it is, and what one builds there: `01_video_as_motion | 1 | backward flow`.
Title, goals and minutes are the page's own: a notebook has them in its metadata, where `make times` and its author
write them, so that a card never says something else than its chapter. A page without a notebook has neither, and "-"
for its difficulty.
"""

import json
import re
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

HARDEST = 3


class Card(NamedTuple):
    """What a card says; `difficulty` 0 and no minutes where a page is no chapter."""

    page: str
    title: str
    difficulty: int
    builds: str
    goals: tuple[str, ...] = ()
    minutes: int = 0  # to read, without sections that may be skipped
    minutes_all: int = 0  # with everything and its code
    seconds: int = 0  # to run

    def html(self) -> str:
        """One item of the list of cards."""
        goals = "".join(f"<li>{escape(goal)}</li>" for goal in self.goals)
        link = f'<a href="{escape(self.page)}.html">{escape(self.title)}</a>'
        parts = [f"<h3>{link}</h3>", f"<p>{escape(self.builds)}</p>"]
        if goals:
            dots = "●" * self.difficulty + "○" * (HARDEST - self.difficulty)
            parts += [
                '<p class="card-facts">'
                f'<span title="difficulty {self.difficulty} of {HARDEST}"><span aria-hidden="true">{dots}</span>'
                f'<span class="card-words">difficulty {self.difficulty} of {HARDEST};</span></span> '
                f"{self.minutes} minutes to read, {self.minutes_all} with all code; runs in {self.seconds} s</p>",
                f'<p class="card-goals">At the end you can</p><ul>{goals}</ul>',
            ]
        return f'<li>{"".join(parts)}</li>'


def read(folder: Path, line: str) -> Card:
    """The card of a line of the directive.

    Raises:
        ValueError: the line has other than three parts, or a difficulty that is none.
        FileNotFoundError: no such page.
    """
    parts = [part.strip() for part in line.split("|")]
    if len(parts) != 3 or parts[1] not in ("-", *map(str, range(1, HARDEST + 1))):
        raise ValueError(f"{line!r}: expected `page | difficulty from 1 to {HARDEST}, or - | what one builds there`")
    page, difficulty, builds = parts
    if (folder / f"{page}.md").is_file():
        return Card(page, title((folder / f"{page}.md").read_text(encoding="utf-8")), 0, builds)
    notebook = json.loads((folder / f"{page}.ipynb").read_text(encoding="utf-8"))
    about = notebook["metadata"]["book"]
    return Card(
        page,
        title("".join(notebook["cells"][0]["source"])),
        int(difficulty),
        builds,
        tuple(about["goals"]),
        about["minutes"],
        about["minutes_all"],
        about["seconds"],
    )


def title(text: str) -> str:
    """The first heading of a page in Markdown."""
    return re.search(r"(?m)^# (.+)$", text)[1].strip()


class ChapterCards(SphinxDirective):
    """`{chapter-cards}`: see this module."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.doc2path(self.env.docname)).parent
        try:
            cards = [read(folder, line) for line in self.content if line.strip()]
        except (ValueError, FileNotFoundError) as problem:
            raise self.error(str(problem)) from None
        for card in cards:
            self.env.note_dependency(str(folder / f"{card.page}.ipynb"))
        listed = "\n".join(card.html() for card in cards)
        return [nodes.raw("", f'<ul class="book-cards">\n{listed}\n</ul>', format="html")]


def setup(app: Any) -> None:
    app.add_directive("chapter-cards", ChapterCards)
