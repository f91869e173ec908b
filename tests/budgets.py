"""What the project may take, `budgets.toml`, beside what it takes: `python -m tests.budgets` prints it and checks it.

Minutes are those that `tests.took` noted, a row without a note took none; megabytes are those of the tracked files in
this folder, modules and lines those of the library.
"""

import subprocess
import sys
import tomllib
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from . import import_graph
from .took import NOTES

ROOT = Path(__file__).parents[1]
TABLES = tomllib.loads((Path(__file__).parent / "budgets.toml").read_text(encoding="utf-8"))
MOVED = TABLES.pop("moved", [])
UNITS = {"minutes": "minutes of `make test` on two cores", "megabytes": "megabytes of tracked files"}


class Row(NamedTuple):
    """One line of a table; `allowed` and `taken` in the table's unit."""

    name: str
    what: str
    allowed: float
    taken: float


def rows(table: str, taken: dict[str, float], tables: dict = TABLES, moved: list[dict] = MOVED) -> list[Row]:
    """The rows of a table after what was moved, and what each took; the last one is the sum.

    Raises:
        ValueError: if something is moved or taken that no row is there for, or rows do not add up to their sum.
    """
    allowed = {row["name"]: row["allowed"] for row in tables[table]["rows"]}
    for move in moved:
        if move["table"] == table:
            if not {move["from"], move["to"]} <= set(allowed) or not 0 < move["amount"] <= allowed[move["from"]]:
                raise ValueError(f"{table}: no {move['amount']} can be moved from {move['from']!r} to {move['to']!r}")
            allowed[move["from"]] -= move["amount"]
            allowed[move["to"]] += move["amount"]
    if strange := set(taken) - set(allowed):
        raise ValueError(f"{table}: no row for {', '.join(sorted(strange))}; the rows are: {', '.join(allowed)}")
    if sum(allowed.values()) != tables[table]["all"]:
        raise ValueError(f"{table}: the rows add up to {sum(allowed.values())}, not to {tables[table]['all']}")
    made = [
        Row(row["name"], row.get("what", row["name"]), allowed[row["name"]], taken.get(row["name"], 0))
        for row in tables[table]["rows"]
    ]
    return [*made, Row("all", "all", tables[table]["all"], sum(taken.values()))]


def exceeded(table: list[Row], usual: float | None = None) -> list[Row]:
    """Rows that are exceeded by half, and a sum that is exceeded at all.

    Args:
        usual: what the sum takes where rows were measured. On a machine that takes longer for all, a row may take
            longer by as much; the sum may not, but for `on_this_processor`.
    """
    *parts, whole = table
    slower = max(1.0, whole.taken / usual) if usual else 1.0
    return [*(row for row in parts if row.taken > 1.5 * slower * row.allowed), *[whole] * (whole.taken > whole.allowed)]


def on_this_processor(table: list[Row], without_bf16: float = 1.0) -> list[Row]:
    """The table, whose sum may be `without_bf16` times as large where the processor has no AVX-512 for bfloat16."""
    import torch

    if torch.cpu._is_avx512_bf16_supported():
        return table
    return [*table[:-1], table[-1]._replace(allowed=round(table[-1].allowed * without_bf16, 1))]


def minutes(notes: Path = NOTES) -> dict[str, float]:
    """Of each row, from the notes of its parts."""
    taken: Counter = Counter()
    for note in sorted(notes.glob("*")):
        taken[note.name.partition(".")[0]] += float(note.read_text(encoding="utf-8")) / 60
    return taken


def tracked() -> dict[str, int]:
    """Bytes of every tracked file.

    Raises:
        RuntimeError: where there is no clone to ask.
    """
    asked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if asked.returncode:
        raise RuntimeError(f"which files are tracked is known in a clone alone: {asked.stderr.decode().strip()}")
    paths = [path for path in asked.stdout.decode().split("\0") if path and (ROOT / path).exists()]
    return {path: (ROOT / path).lstat().st_size for path in paths}


def megabytes(sizes: dict[str, int], tables: dict = TABLES) -> dict[str, float]:
    """Of each row, from the sizes of files."""
    taken: Counter = Counter()
    for path, size in sizes.items():
        fits = (row["name"] for row in tables["megabytes"]["rows"] if any(fnmatchcase(path, p) for p in row["files"]))
        taken[next(fits)] += size / 1e6
    return taken


def rooms() -> tuple[dict[str, float], dict[str, float]]:
    """Modules and lines of each room of the library."""
    number, lines = Counter(), Counter()
    for name, file in import_graph.modules().items():
        if name:
            room = import_graph.folder(file).partition("/")[0]
            number[room] += 1
            lines[room] += import_graph.lines(file)
    return number, lines


def taken() -> dict[str, dict[str, float]]:
    number, lines = rooms()
    return {"minutes": minutes(), "megabytes": megabytes(tracked()), "modules": number, "lines": lines}


def main() -> int:
    """Print all tables; 1 where a row is exceeded."""
    too_much = []
    for table, amounts in taken().items():
        made = on_this_processor(rows(table, amounts), TABLES[table].get("without_bf16", 1.0))
        digits = 1 if table in UNITS else 0
        print(f"\n{UNITS.get(table, table + ' of the library'):40} {'allowed':>8} {'taken':>8}")
        for row in made:
            print(f"  {row.what:38} {row.allowed:8} {row.taken:8.{digits}f}{'  <- more' * (row.taken > row.allowed)}")
        found = exceeded(made, TABLES[table].get("usual"))
        too_much += [f"{table}, {row.what}: {row.taken:.1f} of {row.allowed}" for row in found]
    print()
    for line in too_much:
        print(f"a budget is exceeded: {line}", file=sys.stderr)
    return 1 if too_much else 0


if __name__ == "__main__":
    sys.exit(main())
