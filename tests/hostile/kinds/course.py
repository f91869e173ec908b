"""`python -m lfdm_lite.course`: what students hand in and what is typed when it is marked."""

import json

from ...small_set import ANSWER, RIGHT, body, write
from ..sample import STRANGE, Sample, cut, fifo, kind, leaves, nested, not_json, put, replace_by


def grade(*more: str, **sample) -> Sample:
    """Marks for all that lies in `in`."""
    return Sample(["grade", "ps9.ipynb", "in", "--out", "marks", *more], ("marks",), program="course", **sample)


@kind
def submission_that_is_no_notebook(rng, place):
    """It gets no points, and all others their marks."""
    write(place / "ps9.ipynb", ANSWER.format(RIGHT))
    write(place / "in/ann.ipynb", ANSWER.format(RIGHT))
    bob = write(place / "in/bob.ipynb", body("return image.roll(dx, 1)"))
    spoil = [cut, replace_by, not_json, lambda _, path: path.write_text(nested()), lambda _, path: fifo(path)]
    rng.choice(spoil)(rng, bob)
    return grade(codes=(0,))


@kind
def submission_with_another_value(rng, place):
    write(place / "ps9.ipynb", ANSWER.format(RIGHT))
    bob = write(place / "in/bob.ipynb", body("return image.roll(dx, 1)"))
    values = json.loads(bob.read_text())
    put(values, rng.choice(leaves(values)), rng.choice(STRANGE))
    bob.write_text(json.dumps(values))
    return grade(codes=(0,))


@kind
def submission_with_codes_for_the_terminal(rng, place):
    write(place / "ps9.ipynb", ANSWER.format(RIGHT))
    code = rng.choice(["\x1b[31m", "\x1b]0;title\x07", "\x9b1m", "\x08", "\x7f"])
    write(place / f"in/a{code}nn.ipynb", body(f"raise ValueError({code!r})"))
    return grade(codes=(0,))


@kind
def marking_that_cannot_be_done(rng, place):
    """A set that is none, no submissions, numbers out of range, a file where a folder is meant: no marks."""
    path = write(place / "ps9.ipynb", ANSWER.format(RIGHT))
    write(place / "in/ann.ipynb", "")
    (place / "taken").write_text("a file")
    more = rng.choice([["--workers=0"], ["--workers=-1"], ["--seconds=nan"], ["--seconds=0"], ["--megabytes=-1"],
                       ["nowhere"], ["nowhere.ipynb"], ["--out", "taken"], []])  # fmt: skip
    if not more:
        rng.choice([cut, replace_by, not_json])(rng, path)
    return grade(*more, codes=(2,))


@kind
def course_that_cannot_be_released(rng, place):
    (place / "sets").mkdir()
    (place / "taken").write_text("a file")
    (place / "full").mkdir()
    (place / "full/mine.txt").write_text("keep this")
    if rng.random() < 0.5:
        write(place / "sets/ps9.ipynb", ANSWER.format(RIGHT))
        out = rng.choice(["taken", "full"])
    else:
        rng.choice([lambda: None, (place / "sets").rmdir, lambda: (place / "sets/ps9.ipynb").write_text("{")])()
        out = "new"
    return Sample(["release", "--sets", "sets", "--out", out], codes=(2,), program="course")
