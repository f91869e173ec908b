"""The sheet on which a reader tells filmed from generated clips: its folded key is the one that scores the guesses."""

import json
import re

from .chapter_pairs import CHAPTERS

GUESS = CHAPTERS.parent / "assets" / "guess"


def test_the_key_that_is_folded_in_chapter_11_is_that_of_the_sheet():
    kinds = [place["kind"] for place in json.loads((GUESS / "key.json").read_text(encoding="utf-8"))]
    text = (CHAPTERS / "11_evaluation.py").read_text(encoding="utf-8").replace("\n# ", " ")
    told = [int(number) for number in re.search(r"Generated: ([\d, ]+)\.", text)[1].split(",")]
    assert told == [i for i, kind in enumerate(kinds, 1) if kind == "generated"]
    assert len(kinds) == 24 and len(told) == 12
