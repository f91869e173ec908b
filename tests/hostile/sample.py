"""What a kind of broken input is: a function of a random generator and a place, which gives a command to run."""

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Sample:
    """A command and what may come of it."""

    arguments: list[str]  # the words behind `lfdm`
    outputs: tuple[str, ...] = ()  # what it may write, relative to the place; all else must stay as it is
    codes: tuple[int, ...] = (0, 2)  # ways it may end: (2,) where a sound result is impossible, (0,) where all is well
    then: tuple[str, ...] = ()  # a command that must work after the first was refused
    absent: tuple[str, ...] = ()  # files that must not appear: they would say that something ran
    kept: dict[str, str] = field(default_factory=dict)  # file → what it must still hold, changed or not
    uniform: bool = False  # what is given has one colour, and so may the result
    limits: dict[str, Any] = field(default_factory=dict)  # "module:NAME" of the library → a lower one for this sample
    environment: dict[str, str] = field(default_factory=dict)
    program: str = "cli"  # of the library; another than `lfdm` runs through a shell
    seconds: float = 60.0  # how long it may take; less where a mistake would wait for ever


class Place:
    """The folder in which a command runs; what the sample needs is copied there from a world that stays whole."""

    def __init__(self, folder: Path, world: Path):
        self.folder, self.world = folder, world
        folder.mkdir(parents=True)

    def give(self, name: str, to: str | None = None) -> Path:
        """A copy of a file or folder of the world, to be broken."""
        there = self.folder / (to or name)
        there.parent.mkdir(parents=True, exist_ok=True)
        source = self.world / name
        return Path(shutil.copytree(source, there) if source.is_dir() else shutil.copy(source, there))

    def give_run(self, name: str = "run", to: str | None = None) -> Path:
        """A finished run, with the clips that it was trained on beside it."""
        self.give("cache")
        return self.give(name, to)

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


Kind = Callable[[random.Random, Place], Sample]
KINDS: dict[str, Kind] = {}


def kind(make: Kind) -> Kind:
    """Enter a kind into the list, by the name of its function."""
    if make.__name__ in KINDS:
        raise ValueError(f"two kinds have the name {make.__name__!r}")
    KINDS[make.__name__] = make
    return make


# ---------------------------------------------------------------- commands that most kinds use


def generate(
    place: Place, *more: str, image: str = "face.png", model: str = "model", out: str = "out.gif"
) -> list[str]:
    """The smallest `lfdm generate`; picture and model are made whole where the kind has not put its own there."""
    for name, wanted in ((image, "face.png"), (model, "model")):
        if wanted == name and not os.path.lexists(place / name):  # a link to nowhere is there too
            place.give(name)
    asked = words("generate --label fear --steps 1 --seed 0 --quiet --device cpu")
    return [*asked, image, "--checkpoint", model, "--out", out, *more]


def preview(folder: str = "films", *more: str) -> list[str]:
    """Look at a folder of videos: each clip is counted and decoded."""
    return ["data", "preview", folder, *words("--split all --size 32 --num-frames 4 --clips 4 --out look"), *more]


LOOK = ("look.png", "look.gif")  # what `preview` writes


def words(text: str) -> list[str]:
    return text.split()


# ---------------------------------------------------------------- ways to break things


def cut(rng: random.Random, path: Path) -> None:
    """Cut a file short: by a little, by much, or to nothing."""
    size = path.stat().st_size
    keep = rng.choice([0, 1, size // 10, size // 2, size * 9 // 10, size - 1])
    with open(path, "rb+") as file:
        file.truncate(keep)


def replace_by(rng: random.Random, path: Path) -> None:
    """Put something else under its name: text, zeros, a folder, a link to nowhere, a pipe."""
    path.unlink()
    match rng.randrange(5):
        case 0:
            path.write_text("not what the name says\n" * 20)
        case 1:
            path.write_bytes(bytes(4096))
        case 2:
            path.mkdir()
        case 3:
            path.symlink_to("nowhere")
        case 4:
            fifo(path)


def fifo(path: Path) -> None:
    """A named pipe that nobody writes to."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def nested(depth: int = 30_000) -> str:
    """JSON that is deeper than a parser's stack."""
    return '{"a":' + "[" * depth + "]" * depth + "}"


# No large whole number: as a count of steps or blocks it would be work without end, not a mistake.
STRANGE: tuple[Any, ...] = (
    None, True, [], {}, "", "two words", -1, 0, 1.5, 1e308, float("nan"), float("inf"), "1", [1], {"a": 1}, [[]],
    "\x1b[31mred", "a\x00b", 3,
)  # fmt: skip


def leaves(values: Any, path: tuple = ()) -> list[tuple]:
    """Paths to everything inside JSON values."""
    inside = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [deeper for name, value in inside for deeper in ((*path, name), *leaves(value, (*path, name)))]


def put(values: Any, path: tuple, value: Any) -> None:
    for name in path[:-1]:
        values = values[name]
    values[path[-1]] = value


def get(values: Any, path: tuple) -> Any:
    for name in path:
        values = values[name]
    return values


def edit_json(path: Path, edit: Callable[[Any], Any]) -> None:
    """Change JSON in place, or write what `edit` gives."""
    values = json.loads(path.read_text(encoding="utf-8"))
    changed = edit(values)
    path.write_text(json.dumps(values if changed is None else changed), encoding="utf-8")


def not_json(rng: random.Random, path: Path) -> None:
    """Make a JSON file one that no parser takes, or that holds something else."""
    text = path.read_text(encoding="utf-8")
    cuts = [
        text[: len(text) // 2],
        "",
        " \n",
        "{",
        "null",
        "[]",
        "3",
        '"text"',
        "NaN",
        text + "}",
        text.replace('"', "'"),
    ]
    choice = rng.randrange(len(cuts) + 4)
    if choice < len(cuts):
        path.write_text(cuts[choice], encoding="utf-8")
    else:
        odd = [text.encode("utf-16"), b"\xff\xfe\x00" + text.encode(), bytes(64), nested().encode()]
        path.write_bytes(odd[choice - len(cuts)])
