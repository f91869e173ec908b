"""How long every chapter runs and how much memory it takes, measured and written where readers look.

`python -m tests.chapter_times [NN ...]` runs the chapters one after the other (all, or those that begin with these
numbers), then writes seconds and megabytes into the metadata and the first page of both halves of each pair, and
into the README's table.
"""

import re
import sys
import textwrap
import threading
import time
from pathlib import Path

import jupytext
import nbformat
import psutil

ROOT = Path(__file__).parents[1]
CHAPTERS = ROOT / "chapters"


def measure(path: Path) -> tuple[int, int]:
    """Seconds and peak megabytes of one run, top to bottom; of the kernel and of what it starts."""
    from nbclient import NotebookClient

    notebook = jupytext.read(path)
    client = NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": CHAPTERS}})
    peak, stop = 0, threading.Event()
    me = psutil.Process()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.05):
            held = 0
            for process in me.children(recursive=True):
                try:
                    held += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak = max(peak, held)

    thread = threading.Thread(target=watch)
    thread.start()
    began = time.monotonic()
    try:
        client.execute()
    finally:
        seconds = time.monotonic() - began
        stop.set()
        thread.join()
    return max(1, round(seconds)), int(round(peak / 1e6, -1))


def sentence(book: dict) -> str:
    """What the first page of a chapter says of its times."""
    run = f"{book['seconds']} seconds and {book['peak_mb']} MB of memory to run on two CPU cores"
    return f"**It takes** {book['minutes']} minutes to read, and about {run}."


def with_sentence(text: str, book: dict, prefix: str = "") -> str:
    """A page, or a script whose lines of text begin with a prefix, with that sentence in its place."""
    lines = text.split("\n")
    middle = next(i for i, line in enumerate(lines) if "**It takes**" in line)
    start = next(i for i in range(middle, 0, -1) if lines[i - 1] == prefix.strip())
    end = next((i for i in range(middle, len(lines)) if lines[i] in ("", prefix.strip())), len(lines))
    paragraph = " ".join(line.removeprefix(prefix) for line in lines[start:end])
    paragraph, count = re.subn(r"\*\*It takes\*\* .*? cores\.", sentence(book), paragraph)
    if count != 1:
        raise ValueError(f"the paragraph with **It takes** has {count} sentences that end in 'cores.', expected one")
    wrapped = textwrap.wrap(paragraph, 110, break_long_words=False, break_on_hyphens=False)
    return "\n".join([*lines[:start], *(prefix + line for line in wrapped), *lines[end:]])


def write_into_pair(path: Path, seconds: int, peak: int) -> None:
    """Into `.ipynb` and `.py`."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["book"] |= {"seconds": seconds, "peak_mb": peak}
    notebook.cells[0].source = with_sentence(notebook.cells[0].source, notebook.metadata["book"])
    nbformat.write(notebook, path)
    script = path.with_suffix(".py")
    head, mark, rest = script.read_text(encoding="utf-8").partition("\n# ---\n\n")
    head = re.sub(r"(?m)^(#\s+seconds:).*$", rf"\1 {seconds}", head)
    head = re.sub(r"(?m)^(#\s+peak_mb:).*$", rf"\1 {peak}", head)
    rest = with_sentence(rest, notebook.metadata["book"], "# ")
    script.write_text(head + mark + rest, encoding="utf-8")


def write_readme(stem: str, seconds: int) -> None:
    """Into the last column of the chapter's row."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    row = rf"(?m)^(\| \[[^\]]*\]\(chapters/{stem}\.ipynb\) \|.*\|)[^|]*\|$"
    text, count = re.subn(row, rf"\1 {seconds} s |", text)
    if count != 1:
        raise ValueError(f"README.md has {count} rows for {stem}, expected one")
    readme.write_text(text, encoding="utf-8")


def main(wanted: list[str]) -> None:
    total = 0
    for path in sorted(CHAPTERS.glob("[0-9]*.ipynb")):
        if wanted and not path.stem.startswith(tuple(wanted)):
            continue
        seconds, peak = measure(path)
        write_into_pair(path, seconds, peak)
        write_readme(path.stem, seconds)
        total += seconds
        print(f"{path.stem:28} {seconds:4d} s {peak:6d} MB", flush=True)
    print(f"{'all':28} {total:4d} s")


if __name__ == "__main__":
    main(sys.argv[1:])
