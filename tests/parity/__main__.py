"""`python -m tests.parity FOLDER`: the whole comparison, as a table; exit code 0 if all of it passes."""

import sys
from pathlib import Path

import torch

from . import data, stage_one, stage_two
from .report import Report


def compare(folder: Path) -> Report:
    """Everything that the folder holds, against `lfdm_lite`."""
    report = Report(folder)
    with torch.random.fork_rng():
        for part in (stage_one, stage_two, data):
            part.compare(report)
    return report


def main(arguments: list[str]) -> int:
    """Returns the exit code: 0 all passed, 1 something did not, 2 wrong use."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print(f"usage: python -m tests.parity FOLDER, with an existing folder; got {arguments}", file=sys.stderr)
        return 2
    report = compare(Path(arguments[0]))
    print(report.table())
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
