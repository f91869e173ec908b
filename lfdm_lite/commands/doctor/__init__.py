"""`lfdm doctor`: what this machine has and lacks, for whoever reports a fault or wonders why something crawls."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

from tyro.conf import arg

from ..common import Flag, parse
from ..terminal import say
from .looks import LOOKS, Report


@dataclass(frozen=True)
class Doctor:
    """Print versions, processor, memory, disk and the model at hand, and what to do about each thing that is off.

    The exit status is 1 if something has to be done, 0 if not; a remark alone changes nothing.
    """

    as_json: Annotated[Flag, arg(name="json")] = False
    """The same as JSON, for a report."""


def doctor(arguments: list[str]) -> int:
    options = parse(Doctor, "lfdm doctor", arguments)
    report = examine()
    if options.as_json:
        say(json.dumps(asdict(report), indent=1))
    else:
        say(*as_text(report))
    return 1 if report.problems else 0


def examine() -> Report:
    """Look at everything; what cannot be looked at becomes a problem of its own."""
    report = Report()
    for look in LOOKS:
        try:
            look(report)
        except Exception as error:  # one part that is broken must not hide the others
            report.problems.append(f"{look.__name__} cannot be looked at: {type(error).__name__}: {error}")
    return report


def as_text(report: Report) -> Iterator[str]:
    """The report in lines."""
    for topic, facts in report.facts.items():
        yield topic
        width = max(map(len, facts))
        yield from (f"  {name:<{width}}  {value}" for name, value in facts.items())
    for title, lines in (("to do", report.problems), ("worth knowing", report.remarks)):
        if lines:
            yield f"\n{title}"
            yield from (f"  - {line}" for line in lines)
    if not report.problems:
        yield "\nnothing has to be done"
