"""The paper's data sets as they are distributed: which clips a folder holds, and which it lacks.

All are searched for recursively by the names that the sets themselves use, so it does not matter which folder above
them is given, nor what lies beside them.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...files.pictures import IMAGE_SUFFIXES
from .facts import FACTS, REMOVED, Facts

SEGMENTATION = "segmentation.txt"


@dataclass(frozen=True)
class Take:
    """One clip of a set as distributed."""

    name: str  # within the set
    label: int  # place in the set's labels
    subject: int
    source: Path  # a film, or a folder of pictures
    frames: range | None = None  # of the film; None is all


@dataclass(frozen=True)
class Survey:
    """What was found in a folder."""

    facts: Facts
    root: Path
    takes: tuple[Take, ...]  # what the paper uses, by name
    missing: tuple[str, ...]  # what the set should hold and the folder does not
    unused: tuple[str, ...]  # what the paper does not use, and why
    doubled: tuple[str, ...]  # what is there twice; the first is taken

    def text(self, shown: int | None = None) -> str:
        """A table of the clips of every class and part, and what is odd; `shown` lines of a list, or all."""
        facts = self.facts
        subjects = len({take.subject for take in self.takes})
        of = len(facts.train) + len(facts.test)
        counts = Counter((take.label, facts.split_of(take.subject)) for take in self.takes)
        lines = [f"{facts.title}: {len(self.takes)} clips by {subjects} of {of} subjects in {self.root}", ""]
        lines += [count_table(facts, counts)]
        trained = sum(number for (_, part), number in counts.items() if part != "test")
        if trained != facts.training_takes:
            lines += ["", f"train and val: {trained} clips; the paper's training set has {facts.training_takes}"]
        for what, names in (
            ("missing", self.missing),
            ("not used by the paper, left out", self.unused),
            ("there twice, the first is taken", self.doubled),
        ):
            if names:
                lines += ["", f"{what} ({len(names)}):", *(f"  {name}" for name in names[:shown])]
                if len(names) > len(names[:shown]):
                    lines.append(f"  and {len(names) - len(names[:shown])} more")
        return "\n".join(lines)


def survey(name: str, root: str | Path) -> Survey:
    """Look for a set as it is distributed.

    Args:
        name: "mug", "mhad" or "natops".
        root: the folder into which it was unpacked, or one above.

    Raises:
        ValueError: an unknown set, no such folder, nothing of the set in it, or a list of cuts that is damaged.
    """
    if name not in FACTS:
        raise ValueError(f"data set {name!r} is not one of: {', '.join(FACTS)}")
    facts, root = FACTS[name], Path(root)
    if not root.is_dir():
        raise ValueError(f"{root} is {'a file' if root.exists() else 'not there'}; expected {_expected(facts)}")
    files = [(folder, names) for folder, names in _walk(root)]
    found, missing, unused = FIND[name](facts, files)
    if not found:
        raise ValueError(f"{root} holds nothing of {facts.title}; expected {_expected(facts)}; {_hint(facts, files)}")
    first: dict[str, Take] = {}
    doubled = []
    for take in sorted(found, key=lambda take: (take.name, take.source)):
        if first.setdefault(take.name, take) is not take:
            doubled.append(f"{take.name}: {first[take.name].source} and {take.source}")
    used = []
    others: Counter[int] = Counter()
    for take in first.values():
        if facts.split_of(take.subject):
            used.append(take)
        else:
            others[take.subject] += 1
    unused += [f"subject {facts.subject_name(n)}: {others[n]} clips; in neither of the paper's lists" for n in others]
    missing += _missing_takes(facts, first)
    return Survey(facts, root, tuple(used), tuple(missing), tuple(unused), tuple(doubled))


def count_table(facts: Facts, counts: Counter[tuple[int, str | None]]) -> str:
    """Clips by class and part, `counts[label, part]`, as found/expected where the set fixes how many there are."""
    used = facts.train + facts.test
    parts = {part: [s for s in used if facts.split_of(s) == part] for part in ("train", "val", "test")}
    rows: list[tuple[str, list[int], list[int]]] = []
    for label, name in enumerate(facts.labels):
        expected = [sum(len(facts.expected(label, s)) for s in subjects) for subjects in parts.values()]
        rows.append((name, [counts[label, part] for part in parts], expected))
    all_found = [sum(column) for column in zip(*(row[1] for row in rows), strict=True)]
    rows.append(("all", all_found, [sum(column) for column in zip(*(row[2] for row in rows), strict=True)]))
    width = max(len(name) for name, _, _ in rows) + 2
    lines = [f"{'class':<{width}}" + "".join(f"{part:>12}" for part in parts)]
    for name, found, expected in rows:
        cells = [f"{a}/{b}" if facts.repeats else str(a) for a, b in zip(found, expected, strict=True)]
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


# ---------------------------------------------------------------- one finder a set

Files = list[tuple[Path, list[str]]]  # folders and the names of the files directly in them
Found = tuple[list[Take], list[str], list[str]]  # takes, missing, unused


def _find_mug(facts: Facts, files: Files) -> Found:
    """Folders of pictures below a folder named after an expression, below one of three digits."""
    takes: list[Take] = []
    odd: Counter[str] = Counter()
    numbers = {name: number for number, name in enumerate(facts.labels)}
    for folder, names in files:
        expression = folder.parent.name.lower()
        subject = next((part for part in reversed(folder.parts[:-2]) if re.fullmatch(r"\d{3}", part)), None)
        if expression not in numbers or subject is None or not any(_is_picture(name) for name in names):
            continue
        sessions = [part.lower() for part in folder.parts[:-2] if re.fullmatch(r"(?i)session\d+", part)]
        if sessions and sessions[-1] != "session0":
            odd[f"subject {subject}, {sessions[-1]}: the paper takes session0 alone"] += 1
            continue
        name = "_".join([subject, *sessions[-1:], expression, folder.name])
        takes.append(Take(name, numbers[expression], int(subject), folder))
    return takes, [], [f"{what} ({number} takes)" for what, number in odd.items()]


def _find_mhad(facts: Facts, files: Files) -> Found:
    takes, unused = [], []
    for folder, names in files:
        for name in names:
            if (numbers := re.fullmatch(r"(?i)a(\d+)_s(\d+)_t(\d+)_color\.avi", name)) is None:
                continue
            action, subject, trial = map(int, numbers.groups())
            take = Take(f"a{action}_s{subject}_t{trial}", action - 1, subject, folder / name)
            if take.name in REMOVED:
                unused.append(f"{name}: one of the three recordings that the set's makers removed as damaged")
            elif not 1 <= action <= len(facts.labels) or not 1 <= trial <= (facts.repeats or 0):
                limits = f"actions 1 to {len(facts.labels)}, trials 1 to {facts.repeats}"
                unused.append(f"{folder / name}: the set has {limits}")
            else:
                takes.append(take)
    return takes, [], unused


def _find_natops(facts: Facts, files: Files) -> Found:
    """Films of 20 repetitions each, and the list of where to cut them."""
    lists = [folder / name for folder, names in files for name in names if name.lower() == SEGMENTATION]
    films: dict[tuple[int, int], list[Path]] = {}
    for folder, names in files:
        for name in names:
            if numbers := re.fullmatch(r"(?i)g(\d\d)s(\d\d)\.avi", name):
                films.setdefault((int(numbers[1]), int(numbers[2])), []).append(folder / name)
    if not films:
        return [], [], []
    if not lists:
        raise ValueError(f"{len(films)} films of {facts.title}, but no {SEGMENTATION}; expected {_expected(facts)}")
    cuts = read_segmentation(sorted(lists)[0])
    takes, missing, unused = [], [], []
    for (gesture, subject), paths in sorted(films.items()):
        here = cuts.get((subject, gesture), {})
        if not 1 <= gesture <= len(facts.labels):
            unused.append(f"{paths[0]}: the set has gestures 1 to {len(facts.labels)}")
            continue
        for repeat, frames in sorted(here.items()):
            name = facts.take_name(gesture - 1, subject, repeat)
            takes += [Take(name, gesture - 1, subject, path, frames) for path in sorted(paths)]
        lost = [repeat for repeat in range(1, (facts.repeats or 0) + 1) if repeat not in here]
        if here and lost and facts.split_of(subject):
            repeats = ", ".join(map(str, lost))
            missing.append(f"{lists[0].name}: subject {subject}, gesture {gesture}, repetition {repeats}")
    return takes, missing, unused


FIND: dict[str, Callable[[Facts, Files], Found]] = {"mug": _find_mug, "mhad": _find_mhad, "natops": _find_natops}


def read_segmentation(path: Path) -> dict[tuple[int, int], dict[int, range]]:
    """Where NATOPS' films are to be cut: (subject, gesture) → repetition → frames, counted from 0.

    A line of three numbers with commas begins with the subject and the gesture that the lines behind it are about;
    those read `repetition:first,last`, with frames counted from 1 and the last included. Other lines are remarks.

    Raises:
        ValueError: the file cannot be read, or a cut is impossible or stands before any subject and gesture.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{path} is no file; download it again")
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); download it again") from None
    cuts: dict[tuple[int, int], dict[int, range]] = {}
    current: dict[int, range] | None = None
    for number, line in enumerate(lines, start=1):
        if head := re.fullmatch(r"\s*(\d{1,9})\s*,\s*(\d{1,9})\s*,\s*\d+\s*", line):
            current = cuts.setdefault((int(head[1]), int(head[2])), {})
        elif cut := re.fullmatch(r"\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*,?\s*", line):
            repeat, first, last = (int(text) if len(text) < 10 else 0 for text in cut.groups())
            if current is None or not 1 <= first <= last:
                raise ValueError(
                    f"{path}, line {number}: {line.strip()[:80]!r} is no cut; expected REPETITION:FIRST,LAST "
                    "below a line SUBJECT,GESTURE,NUMBER; download the file again"
                )
            current[repeat] = range(first - 1, last)
    if not cuts:
        raise ValueError(f"{path} lists no cuts; expected lines REPETITION:FIRST,LAST; download it again")
    return cuts


# ---------------------------------------------------------------- parts of the above


def _missing_takes(facts: Facts, found: dict[str, Take]) -> list[str]:
    """What should be there: by subject, class or file, whichever says it shortest."""
    used = sorted(facts.train + facts.test)
    there = {(take.label, take.subject) for take in found.values()}
    subjects = {subject for _, subject in there}
    present = [s for s in used if s in subjects]
    absent = [facts.subject_name(s) for s in used if s not in subjects]
    classes = [i for i in range(len(facts.labels)) if any((i, s) in there for s in present)]
    lines = [f"all of subjects {', '.join(absent)}"] if absent else []
    lines += [f"all of class {i + 1}, {name!r}" for i, name in enumerate(facts.labels) if i not in classes]
    for label in classes:
        for subject in present:
            lost = [take for take in facts.expected(label, subject) if take not in found]
            if facts.name == "mhad":
                lines += [f"{take}_color.avi" for take in lost]
            elif facts.name == "natops" and (label, subject) not in there:
                film = f"g{label + 1:02d}s{subject:02d}.avi"
                lines.append(f"{film}, or its cuts in {SEGMENTATION} ({len(lost)} clips)")
    return lines


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders and their files, in the order of their names; links are followed, circles and hidden folders not."""
    seen = set()
    for folder, folders, names in os.walk(root.resolve(), followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if real not in seen else []
        if real not in seen:
            seen.add(real)
            yield Path(folder), sorted(name for name in names if not name.startswith("."))


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _expected(facts: Facts) -> str:
    return f"the set as distributed: {facts.layout}; see {facts.home}"


def _hint(facts: Facts, files: Files) -> str:
    """What may be wrong with a folder in which nothing was found."""
    for other in FACTS.values():
        try:
            if other is not facts and FIND[other.name](other, files)[0]:
                return f"it looks like {other.title}: lfdm data prepare {other.name}"
        except ValueError:
            continue
    kinds = Counter(os.path.splitext(name)[1].lower() or "no suffix" for _, names in files for name in names)
    if archives := [name for _, names in files for name in names if re.search(r"(?i)\.(zip|rar|tar|t?gz|7z)$", name)]:
        return f"unpack {archives[0]} first"
    seen = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common(3))
    return f"found {seen} files" if seen else "it is empty"
