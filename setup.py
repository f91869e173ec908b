"""What pyproject.toml cannot say: the shipped model lies in the book's folder, and goes into the wheel beside the code.

Pages that go along lead into the repository; of the links in them, those that lead nowhere any more become plain text.
"""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).parent
ALONG = ("assets/checkpoints/faces64", "constraints.txt")  # found by the same paths below lfdm_lite/
LINK = re.compile(r"!?\[([^\]]*)\]\((?!\w+:|#)([^)\s#]+)[^)]*\)")  # a link or picture of a file beside the page


def unlink_what_is_missing(folder: Path) -> None:
    """Of links and pictures whose file is not below `folder`, keep the text."""
    for page in folder.rglob("*.md"):
        text = kept = page.read_text(encoding="utf-8")
        for link in LINK.finditer(text):
            if not (page.parent / link[2]).exists():
                kept = kept.replace(link[0], link[1])
        if kept != text:
            page.unlink()  # it may be the source's second name
            page.write_text(kept, encoding="utf-8")


class BuildWithModel(build_py):
    """Copies files of the repository into the package that is built; an editable installation finds them in place."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        package = Path(self.build_lib, "lfdm_lite")
        for name in ALONG:
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, package / name, dirs_exist_ok=True)
            else:
                shutil.copy2(ROOT / name, package / name)
        unlink_what_is_missing(package)


class SourceDistribution(sdist):
    """The sources without the book."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        unlink_what_is_missing(Path(base_dir))


setup(cmdclass={"build_py": BuildWithModel, "sdist": SourceDistribution})
