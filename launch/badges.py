"""Launch badges for every chapter: Colab and Binder, with a first cell that fetches and installs the book there.

    python launch/badges.py https://github.com/NAME/REPOSITORY      put them in, or point them elsewhere
    python launch/badges.py                                         take them out

Badges need an address to open, so the book has none until you name it. Both halves of each pair, `.ipynb` and `.py`,
get two cells behind the title. The code cell fetches the version of this checkout, installs it and goes to its
chapters, whose files are beside them then; at home it does nothing.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import jupytext
import nbformat

ROOT = Path(__file__).resolve().parents[1]
TAG = "launch"  # of the two cells

INSTALL = """\
import os
import subprocess
from pathlib import Path

if not Path("../lfdm_lite").is_dir():  # away from the book, as on Colab
    if not Path("book/lfdm_lite").is_dir():
        fetch = "git init -q book && cd book && git fetch -q --depth 1 {url} {version} && git checkout -q FETCH_HEAD"
        subprocess.run(fetch, shell=True, check=True)
    %pip install -q "./book[all]"
    os.chdir("book/chapters")"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="of the repository, such as https://github.com/NAME/REPOSITORY")
    parser.add_argument("--chapters", type=Path, default=ROOT / "chapters", help="folder of the notebooks")
    parser.add_argument("--version", help="branch, tag or commit to install and to open; this checkout's unless given")
    options = parser.parse_args()
    found = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+?)(\.git)?/?", options.url or "")
    if options.url and not found:
        parser.error(f"{options.url!r} is no address of a repository such as https://github.com/NAME/REPOSITORY")
    version = options.version or (commit() if options.url else "")
    for path in sorted(options.chapters.glob("[0-9]*.ipynb")):
        cells = [] if not found else made(path.name, f"{found[1]}/{found[2]}", version)
        for half in (path, path.with_suffix(".py")):
            rewrite(half, cells)
    print(f"badges {'point to ' + options.url if found else 'are taken out'}")


def commit() -> str:
    """The commit of this checkout."""
    return subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()


def made(name: str, repository: str, version: str) -> list[nbformat.NotebookNode]:
    """The two cells of a chapter."""
    there = f"{repository}/blob/{version}/chapters/{name}"
    colab = f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/{there})"
    at = f"{repository}/{quote(version, safe='')}?labpath={quote(f'chapters/{name}', safe='')}"
    binder = f"[![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/{at})"
    install = INSTALL.format(url=f"https://github.com/{repository}", version=version)
    cells = [nbformat.v4.new_markdown_cell(f"{colab} {binder}"), nbformat.v4.new_code_cell(install)]
    for place, cell in enumerate(cells):
        cell.metadata["tags"] = [TAG]
        cell["id"] = f"launch-{place}"
    return cells


def rewrite(path: Path, cells: list[nbformat.NotebookNode]) -> None:
    """Replace the launch cells of a notebook, or of its `.py`, by these; all else stays as it is."""
    notebook = jupytext.read(path)
    kept = [cell for cell in notebook.cells if TAG not in cell.metadata.get("tags", [])]
    if len(kept) == len(notebook.cells) and not cells:
        return
    notebook.cells = [kept[0], *cells, *kept[1:]]
    jupytext.write(notebook, path, fmt="ipynb" if path.suffix == ".ipynb" else "py:percent")


if __name__ == "__main__":
    sys.exit(main())
