"""axe-core, which finds in a page what keeps people out: fetched from npm for the tests, and no part of the book."""

import io
import tarfile

from .npm import Archive

ARCHIVE = Archive(
    package="axe-core",
    version="4.14.1",
    sha256="e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745",
    size=708_405,
    variable="LFDM_AXE",
)


def script() -> str:
    """The script that a page runs.

    Raises:
        NotFetched: it is not at hand, and no registry answers.
    """
    with tarfile.open(fileobj=io.BytesIO(ARCHIVE.content()), mode="r:gz") as members:
        return members.extractfile("package/axe.min.js").read().decode()
