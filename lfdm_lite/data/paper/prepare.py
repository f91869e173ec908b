"""The paper's data sets → folders to train on: cut, cropped and resized once, as the paper's code did it.

A clip becomes `LABEL/SUBJECT/NAME.mkv`, a film in FFV1: lossless, as the pictures are that the paper's code trains on,
yet one file a clip instead of one a frame. `clips.csv` lists them with label, subject and split, so `VideoFolder`
reads the folder too.
"""

import csv
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tqdm.auto import tqdm

from ... import __version__
from ...files.atomic import write_atomically, write_json
from ...files.locks import HOLDER, LOCK, hold_folder
from ...files.media import MediaError, frame_files, iterate_frames, read_image
from ...files.pictures import ACCEPTED, FORMATS, check_file, need, to_uint8
from ...files.video.films import LOSSLESS, encode_film
from ..folders.clip_table import TABLE
from .facts import Facts
from .films import letterbox
from .layouts import Survey, Take, count_table
from .sets import MANIFEST, read_manifest

REPORT = "report.txt"  # what was found, missing and broken, in full
SUFFIX = ".mkv"
SMALLEST, LARGEST = 16, 1024  # pixels

Frame = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class Prepared:
    """What a preparation has done."""

    survey: Survey
    root: Path
    written: int  # clips made this time
    kept: int  # clips that were there
    broken: dict[str, str]  # clip → what is wrong with it
    counts: Counter[tuple[int, str | None]]  # clips now there, by label and part

    def text(self, shown: int | None = None) -> str:
        """Counts, and the broken clips by name; `shown` of them, or all."""
        lines = [f"{self.root}: {self.written} clips written, {self.kept} were there"]
        if self.broken:
            names = [f"  {name}: {why}" for name, why in self.broken.items()]
            lines += ["", f"broken, left out ({len(names)}):", *names[:shown]]
            if len(names) > len(names[:shown]):
                lines.append(f"  and {len(names) - len(names[:shown])} more, in {self.root / REPORT}")
        return "\n".join(lines)


def prepare(found: Survey, root: str | Path, size: int = 128, workers: int = 0, strict: bool = False) -> Prepared:
    """Make the folder that `MUG`, `MHAD` or `NATOPS` reads.

    What is there already is kept, so an interrupted preparation goes on where it stopped, and parts of a set may be
    prepared one after the other. A clip appears whole or not at all.

    Args:
        found: what `paper_layouts.survey` found.
        root: the folder to fill; new, empty, or one of the same set and size.
        size: height and width in pixels, 16 to 1024; the paper: 128.
        workers: threads; 0 is one a core, at most 8.
        strict: refuse a set of which something is missing or there twice, and stop at the first broken clip.

    Raises:
        ValueError: an impossible size, a folder of something else, or with `strict` an incomplete set.
        MediaError: with `strict`, a clip that cannot be read.
        ImportError: OpenCV or PyAV is not installed.
    """
    root, facts = Path(root), found.facts
    if not SMALLEST <= size <= LARGEST or workers < 0:
        raise ValueError(f"size is {size}, workers {workers}; expected {SMALLEST} to {LARGEST}, and at least 0")
    if strict and (found.missing or found.doubled):
        odd = [*found.missing, *found.doubled]
        raise ValueError(
            f"{len(odd)} entries are missing or there twice, the first: {odd[0]}; leave out --strict to go on"
        )
    letterbox(np.zeros((1, 1, 3), np.uint8), 1)  # says what to install if OpenCV is missing
    need("av")
    _check_place(root, found)
    with hold_folder(root):
        _claim(root, found, size)
        wanted = {take: clip_path(root, facts, take) for take in found.takes}
        missing: dict[Path, list[Take]] = {}
        for take, path in wanted.items():
            if not path.exists() or not path.stat().st_size:
                missing.setdefault(take.source, []).append(take)
        count = sum(map(len, missing.values()))
        broken: dict[str, str] = {}
        stop = threading.Event()
        with tqdm(total=len(wanted), initial=len(wanted) - count, desc=facts.name, unit="clip") as bar:
            # Threads are enough: decoders, encoders and resizing leave Python's lock.
            pool = ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1))
            try:
                job = partial(_make, facts=facts, root=root, size=size, stop=stop, bar=bar)
                for done in as_completed([pool.submit(job, source, takes) for source, takes in missing.items()]):
                    broken |= done.result()
                    if strict and broken:
                        raise MediaError("{}: {}".format(*next(iter(broken.items()))))
            finally:  # after Ctrl-C too: what is being written comes to its end or vanishes
                stop.set()
                pool.shutdown(cancel_futures=True)
        counts = write_table(root, facts)
        broken = dict(sorted(broken.items()))
        prepared = Prepared(found, root, count - len(broken), len(wanted) - count, broken, counts)
        report = "\n\n".join([found.text(), prepared.text(), f"now there:\n\n{count_table(facts, counts)}"]) + "\n"
        write_atomically(root / REPORT, lambda path: path.write_text(report, encoding="utf-8"))
        parts = {part: sum(n for (_, its), n in counts.items() if its == part) for part in ("train", "val", "test")}
        _write_manifest(root, facts, size, complete=True, clips=parts)
        return prepared


def clip_path(root: Path, facts: Facts, take: Take) -> Path:
    """Where a prepared clip lies."""
    name = re.sub(r"[^\w.-]", "_", take.name)
    return root / _folder(facts.labels[take.label]) / facts.subject_name(take.subject) / f"{name}{SUFFIX}"


def write_table(root: Path, facts: Facts) -> Counter[tuple[int, str | None]]:
    """List all clips that are there in `clips.csv`, and count them by label and part."""
    counts: Counter[tuple[int, str | None]] = Counter()
    rows = []
    for number, label in enumerate(facts.labels):
        for path in sorted((root / _folder(label)).glob(f"*/[!.]*{SUFFIX}")):
            subject = path.parent.name
            part = facts.split_of(int(subject)) if subject.isdigit() else None
            if part is not None:
                counts[number, part] += 1
                rows.append((path.relative_to(root).as_posix(), label, subject, part))

    def write(temporary: Path) -> None:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("path", "label", "subject", "split"), *rows])

    write_atomically(root / TABLE, write)
    return counts


def write_lossless(path: Path, frames: list[Frame], fps: int) -> None:
    """Write frames as a film from which exactly they come back; its folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: encode_film(temporary, frames, fps, LOSSLESS))


# ---------------------------------------------------------------- parts of the above


def _make(
    source: Path, takes: list[Take], facts: Facts, root: Path, size: int, stop: threading.Event, bar: tqdm
) -> dict[str, str]:
    """Write the clips of one source; returns what is wrong with those that could not be made."""
    left = {take.name: take for take in takes}
    why = "it was interrupted"
    try:
        for take, frames in _frames(source, takes, facts, size, stop):
            write_lossless(clip_path(root, facts, take), frames, facts.fps)
            del left[take.name]
            bar.update()
    except MediaError as error:
        why = str(error)
    else:
        why = f"{source} ends before the clip does"
    return {} if stop.is_set() else dict.fromkeys(left, why)


def _frames(
    source: Path, takes: list[Take], facts: Facts, size: int, stop: threading.Event
) -> Iterator[tuple[Take, list[Frame]]]:
    """The frames of each clip of a source, cropped and resized, as soon as its last is read."""
    kept: dict[Take, list[Frame]] = {take: [] for take in takes}
    for number, frame in enumerate(_decoded(source)):
        if stop.is_set():
            return
        open_now = [take for take in kept if take.frames is None or number in take.frames]
        if open_now:
            small = _small(frame, source, facts, size)
        for take in open_now:
            kept[take].append(small)
            if take.frames is not None and number == take.frames[-1]:
                yield take, kept.pop(take)
        if not kept:
            return
    yield from ((take, frames) for take, frames in kept.items() if take.frames is None)


def _decoded(source: Path) -> Iterator[Frame]:
    """The frames of a film or a folder of pictures."""
    if source.is_dir():
        yield from map(_pixels, frame_files(source))
    else:
        for frame in iterate_frames(source):
            yield frame.permute(1, 2, 0).numpy()


def _pixels(file: Path) -> Frame:
    """A picture; one that needs no conversion, as MUG's, comes ten times as fast as by `read_image`."""
    check_file(file, ACCEPTED)
    try:
        with need("PIL.Image").open(file, formats=FORMATS) as picture:
            if picture.mode == "RGB" and not {"exif", "transparency", "icc_profile"} & set(picture.info):
                return np.asarray(picture)
    except Exception:  # read_image says what is wrong
        pass
    return to_uint8(read_image(file)).permute(1, 2, 0).numpy()


def _small(frame: Frame, source: Path, facts: Facts, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """A frame as the paper's code cuts and resizes it."""
    if facts.source_size not in (None, frame.shape[:2]):
        h, w = facts.source_size
        raise MediaError(f"{source}: its frames have {frame.shape[1]}x{frame.shape[0]} pixels, expected {w}x{h}")
    try:
        return letterbox(frame[facts.crop], size)
    except ValueError as error:
        raise MediaError(f"{source}: {error}") from None


def _check_place(root: Path, found: Survey) -> None:
    """Whether a prepared set may lie there."""
    source = found.root.resolve()
    if root.resolve() == source or source in root.resolve().parents:
        raise ValueError(f"{root} lies in {found.root}, which is only to be read; give a folder elsewhere")
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is a file; give a new or empty folder")


def _claim(root: Path, found: Survey, size: int) -> None:
    """Make the folder ours, unless it holds something else; remove what a killed run left half written."""
    made = read_manifest(root)
    if made is None and any(path.name not in (LOCK, HOLDER) for path in root.iterdir()):
        raise ValueError(f"{root} is not empty and has no {MANIFEST}; give a new or empty folder")
    if made is not None and (made["set"], made["size"]) != (found.facts.name, size):
        raise ValueError(
            f"{root} holds {made['set']} of {made['size']} pixels, not {found.facts.name} of {size}; "
            "give another folder, or delete that one"
        )
    for leftover in root.glob("**/.*.tmp"):  # nobody else is writing here
        leftover.unlink()
    before = made["clips"] if made else dict.fromkeys(("train", "val", "test"), 0)
    _write_manifest(root, found.facts, size, complete=False, clips=before)


def _write_manifest(root: Path, facts: Facts, size: int, complete: bool, clips: dict[str, int]) -> None:
    made = {"set": facts.name, "size": size, "complete": complete, "clips": clips, "version": __version__}
    write_json(root / MANIFEST, made)


def _folder(label: str) -> str:
    return re.sub(r"\W+", "_", label).strip("_")
