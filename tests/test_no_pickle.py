"""Whatever file it is handed, no reader of the library executes what is pickled in it.

The payload is harmless: whoever executes it makes an empty folder, whose absence is what is tested.
"""

import io
import os
import pickle
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lfdm_lite as lfdm
from lfdm_lite.baselines.rivals import Rival, load_codec
from lfdm_lite.course.sets import read_cells
from lfdm_lite.data import VideoFolder
from lfdm_lite.data.drawn.acting import captured
from lfdm_lite.data.folders.clip_table import read_table
from lfdm_lite.data.folders.frame_cache import FrameCache
from lfdm_lite.data.paper.sets import read_manifest
from lfdm_lite.evaluation import i3d
from lfdm_lite.evaluation.judges import VideoClassifier
from lfdm_lite.evaluation.lpips import load_lpips
from lfdm_lite.evaluation.perceptual import VGG_URL, load_vgg, load_vgg16
from lfdm_lite.files import fast
from lfdm_lite.files.flow_files import read_flo, read_kitti_flow
from lfdm_lite.files.media import read_video
from lfdm_lite.files.models import lpips_archive
from lfdm_lite.files.models.weights import read_safetensors
from lfdm_lite.files.motion_files import read_motion
from lfdm_lite.files.pictures import read_image
from lfdm_lite.files.reading import read_json
from lfdm_lite.official.convert import AUTOENCODER_PARTS
from lfdm_lite.official.files import read_states
from lfdm_lite.official.labels import read_label_vectors
from lfdm_lite.training.configs import JudgeRun
from lfdm_lite.training.engine.recipes import read_run
from lfdm_lite.training.engine.records import read_log
from lfdm_lite.training.engine.saving import read_state
from lfdm_lite.training.stages.finished import load_autoencoder
from lfdm_lite.training.stages.shards import fault_of

from .test_pipeline import tiny_model
from .test_trunks import pinned

SHARED = tempfile.TemporaryDirectory()  # goes with the process
CONFIG, WEIGHTS = "config.json", "model.safetensors"


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path):
        self.place = str(place)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (self.place,)


def contents(payload: Payload) -> dict[str, bytes]:
    """The payload in every kind of file that can hold a pickle."""
    held = {"step": 1, "generator": payload, "features.0.weight": payload}
    made = {"pickle": pickle.dumps(held)}
    for name, zipped in (("torch", True), ("torch before 1.6", False)):
        torch.save(held, file := io.BytesIO(), _use_new_zipfile_serialization=zipped)
        made[name] = file.getvalue()
    objects = np.array([payload], dtype=object)
    np.save(file := io.BytesIO(), objects, allow_pickle=True)
    made["npy"] = file.getvalue()
    np.savez(file := io.BytesIO(), flow=objects, visible=objects)
    made["npz"] = file.getvalue()
    return made


KINDS = ("pickle", "torch", "torch before 1.6", "npy", "npz")
Reader = Callable[[Path, bytes, pytest.MonkeyPatch], Any]
READERS: dict[str, Reader] = {}


def reader(function: Reader) -> Reader:
    READERS[function.__name__] = function
    return function


def of_file(name: str, read: Callable[[Path], Any], called: str | None = None) -> None:
    """A reader of a file of that name."""

    def given(folder: Path, content: bytes, patch: pytest.MonkeyPatch) -> Any:
        (folder / name).write_bytes(content)
        return read(folder / name)

    READERS[called or name] = given


of_file("picture.png", read_image)
of_file("picture.tiff", read_image)
of_file("film.mp4", read_video)
of_file("film.gif", read_video)
of_file("flow.flo", read_flo)
of_file("kitti.png", read_kitti_flow)
of_file("values.json", read_json)
of_file("weights.safetensors", read_safetensors)
of_file("vectors.safetensors", lambda path: read_label_vectors(path, ["smile"]))
of_file("shard.safetensors", lambda path: fault_of(path, "", 1))
of_file("frames.npy", lambda path: FrameCache(path.parent, 10**6).read(path, 1, 8))
of_file("clips.csv", read_table)
of_file("prepared.json", lambda path: read_manifest(path.parent))
of_file("humanoid3d_walk.txt", captured.read)
of_file("LFAE.pth", lambda path: read_states(path, AUTOENCODER_PARTS))
of_file("vgg19.pth", load_vgg)
of_file("recipe.json", lambda path: read_run(JudgeRun, path))
of_file("log.csv", lambda path: read_log(path, 1))
of_file("state.pt", lambda path: read_state(path.parent))
of_file("answer.ipynb", read_cells)
of_file("answer.py", read_cells)


@reader
def vgg_in_the_cache_of_torch(folder, content, patch):
    patch.setenv("TORCH_HOME", str(folder))
    place = folder / "hub" / "checkpoints" / Path(VGG_URL).name
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    load_vgg()


@reader
def motion_beside_a_clip(folder, content, patch):
    (folder / "clip").mkdir()
    (folder / "clip.npz").write_bytes(content)
    read_motion(folder / "clip", [0], 8)


@reader
def folder_of_videos(folder, content, patch):
    (folder / "smile").mkdir()
    (folder / "smile" / "a.mp4").write_bytes(content)
    VideoFolder(folder, 8, 2)[0]


@reader
def published_lpips(folder, content, patch):
    for trunk in lpips_archive.MEMBERS:
        path = archive(folder, lpips_archive.MEMBERS[trunk], content)
        patch.setattr(lpips_archive, "LPIPS", pinned(lpips_archive.LPIPS, path))
        with suppress(ValueError):
            load_lpips(trunk, path)
    load_vgg16(path)


@reader
def published_i3d(folder, content, patch):
    path = archive(folder, i3d.MEMBER, content)
    patch.setattr(i3d, "ARCHIVE", pinned(i3d.ARCHIVE, path))
    i3d.load_i3d(path)


def archive(folder: Path, name: str, content: bytes) -> Path:
    """A .tar.gz with one member."""
    with tarfile.open(folder / "archive.tar.gz", "w:gz", compresslevel=1) as members:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        members.addfile(member, io.BytesIO(content))
    return folder / "archive.tar.gz"


MODELS = {
    "LFDM": lfdm.LFDM.from_pretrained,
    "LatentFlowAutoencoder": load_autoencoder,
    "VideoClassifier": VideoClassifier.load,
    "rival": Rival.load,
    "codec of a rival": lambda folder: load_codec(folder, "lamd"),
    "fast": lambda folder: fast.read_fast(folder, tiny_model().unet),
}


@cache
def saved_model() -> Path:
    """A small model on disk, for all tests here."""
    return tiny_model().save_pretrained(Path(SHARED.name) / "model")


def of_model(name: str, file: str) -> None:
    """A reader of a model's folder, in which one file is not what it should be."""

    def given(folder: Path, content: bytes, patch: pytest.MonkeyPatch) -> None:
        saved = shutil.copytree(saved_model(), folder / "model")
        if name == "fast":
            shutil.copytree(saved, saved / fast.FAST)
            saved = saved / fast.FAST
        if file not in (CONFIG, WEIGHTS):
            (saved / WEIGHTS).unlink()
        (saved / file).write_bytes(content)
        MODELS[name](folder / "model")

    READERS[f"{name}: {file}"] = given


for name in MODELS:
    for file in (CONFIG, WEIGHTS):
        of_model(name, file)
for file in ("pytorch_model.bin", "model.pt", "model.pkl"):  # what other libraries look for
    of_model("LFDM", file)


@pytest.mark.parametrize("name", READERS)
def test_no_reader_executes_what_a_file_holds(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    executed = tmp_path / "executed"
    for kind, content in contents(Payload(executed)).items():
        folder = tmp_path / kind
        folder.mkdir()
        try:
            READERS[name](folder, content, monkeypatch)
        except (ValueError, OSError, KeyError) as error:
            assert str(error), f"{name} of {kind} says nothing"
        assert not executed.exists(), f"{name} executed a {kind}"


@pytest.mark.parametrize("kind", KINDS)
def test_the_payload_is_one(kind, tmp_path):
    """Read without care, each of these files does execute it: else the test above could not fail."""
    executed = tmp_path / "executed"
    content = io.BytesIO(contents(Payload(executed))[kind])
    match kind:
        case "pickle":
            pickle.load(content)
        case "torch" | "torch before 1.6":
            torch.load(content, weights_only=False)
        case "npy":
            np.load(content, allow_pickle=True)
        case "npz":
            np.load(content, allow_pickle=True)["flow"]
    assert executed.is_dir()


def test_the_kinds_are_those_that_are_made(tmp_path):
    assert tuple(contents(Payload(tmp_path))) == KINDS
