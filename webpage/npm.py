"""Archives of npm, from the registry that npm is set to: fetched once into the user's cache and checked.

Whoever has no npm, or has an archive at hand, names the archive by its environment variable.
"""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from lfdm_lite.files.atomic import write_atomically
from lfdm_lite.files.places import user_cache

SECONDS = 60  # without an answer after which the registry is given up


class NotFetched(Exception):
    """An archive is not at hand and could not be fetched; says why and what to do."""


@dataclass(frozen=True)
class Archive:
    """One version of a package, known by its checksum."""

    package: str
    version: str
    sha256: str
    size: int  # bytes
    variable: str  # of the environment: where a copy lies

    @property
    def name(self) -> str:
        return f"{self.package}-{self.version}.tgz"

    @property
    def advice(self) -> str:
        return f"get {self.name} from npm yourself and name it by {self.variable}"

    def content(self) -> bytes:
        """The bytes of the archive, of the pinned checksum.

        Raises:
            NotFetched: no registry answers, or what came is another file; nothing is kept then.
        """
        named = os.environ.get(self.variable)
        place = Path(named) if named else user_cache() / self.name
        if place.is_file():
            content = place.read_bytes()
            if self.is_right(content):
                return content
            if named:
                raise NotFetched(f"{named} is not the {self.name} that this book knows, by its checksum")
        content = self.download()
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, lambda temporary: temporary.write_bytes(content))
        return content

    def is_right(self, content: bytes) -> bool:
        return hashlib.sha256(content).hexdigest() == self.sha256

    def download(self) -> bytes:
        """The archive from the registry."""
        if not shutil.which("npm"):
            raise NotFetched(f"npm is not installed here, which knows where packages are; {self.advice}")
        url = f"{registry().rstrip('/')}/{self.package}/-/{self.name}"
        if not url.startswith("https://"):
            raise NotFetched(f"npm's registry is no https:// address; {self.advice}")
        try:
            with urlopen(url, timeout=SECONDS) as answer:
                content = answer.read(self.size + 1)
        except OSError as error:
            why = f"{type(error).__name__}: {error}"
            raise NotFetched(f"{self.name} could not be fetched ({why}); {self.advice}") from None
        if not self.is_right(content):
            raise NotFetched(f"what the registry sent as {self.name} has another checksum; {self.advice}")
        return content


def registry() -> str:
    """The registry that npm is set to."""
    asked = subprocess.run(["npm", "config", "get", "registry"], capture_output=True, text=True)
    return asked.stdout.strip()
