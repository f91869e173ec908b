"""Processes that die under a run, too little memory, full disks: it ends in words, and goes on as if undisturbed."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from torch.utils.data import get_worker_info

from lfdm_lite import cli
from lfdm_lite.training.engine.randomness import Examples

from .patience import HUNG

ROOT = Path(__file__).parents[1]


def train(runs: Path, out: str, *more: str) -> int:
    return cli.main(["train", "judge", "--preset", "tiny", "--no-progress", "--out", str(runs / out), *more])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes that prepare batches are forked")
def test_a_killed_worker_ends_the_run_in_one_line_and_it_goes_on_as_if_undisturbed(runs, monkeypatch, capsys):
    """As a system does that has no memory left: it kills one of the processes that prepare batches."""
    assert train(runs, "undisturbed") == 0
    prepare = Examples.__getitem__

    def killed(self, place):
        if get_worker_info() is not None and not (runs / "killed").exists():
            (runs / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return prepare(self, place)

    monkeypatch.setattr(Examples, "__getitem__", killed)
    capsys.readouterr()
    assert train(runs, "run", "--workers", "1") == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lfdm: error")]
    assert len(said) == 1 and "not enough memory" in said[0] and "fewer" in said[0] and "processes" in said[0]
    resumed = ["--resume"] if (runs / "run" / "recipe.json").exists() else []
    assert train(runs, "run", "--workers", "1", *resumed) == 0
    weights = [(runs / out / "model.safetensors").read_bytes() for out in ("run", "undisturbed")]
    assert weights[0] == weights[1]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="how much memory a process has is read from /proc")
@pytest.mark.parametrize("command", ["generate", "train"])
def test_with_too_little_memory_that_is_said_in_one_line_and_nothing_half_is_left(command):
    """By the limit of `ulimit -v`, met where weights are read and where a training begins."""
    limits = [0, 10, 20, 30, 400]
    words = ["tests.little_memory", "--command", command, *map(str, limits)]
    *short, last = json.loads(started(*words))
    assert last["status"] == 0, last
    assert short[0]["status"], "no megabyte more is not enough"
    for outcome in short:
        files = [file for file in outcome["files"] if Path(file).name in ("clip.gif", "model.safetensors")]
        if outcome["status"]:
            assert outcome["status"] == 2 and not files, outcome
            assert len(outcome["errors"]) == 1 and "damaged" not in outcome["errors"][0], outcome
            if command != "train":  # of a process that cannot be begun, the system has many things to say
                assert "not enough memory" in outcome["errors"][0], outcome


@pytest.mark.slow
def test_on_a_full_or_read_only_disk_nothing_is_lost_and_the_work_goes_on_when_there_is_room(tmp_path, undisturbed):
    """A disk of its own; a film that was left open would keep it from being set read-only in the end."""
    apart = next((how for how in (["unshare", "-m"], ["unshare", "-rm"]) if mounts(how, tmp_path)), None)
    if apart is None:
        pytest.skip("no file system can be mounted here, which takes root's rights or namespaces of users")
    (tmp_path / "disk").mkdir()
    first, *others = json.loads(started("tests.small_disk", str(tmp_path / "disk"), before=apart))
    assert first["status"] == 0 and list(first["files"]) == ["clip.gif"]
    cases = {outcome["case"]: outcome for outcome in others}
    for case, outcome in cases.items():
        assert outcome["files"]["clip.gif"] == first["files"]["clip.gif"], "what was there stays"
        assert not [name for name in outcome["files"] if name.endswith(".tmp")], case
        if case in ("training", "export"):
            assert outcome["status"] == 0, outcome
            continue
        assert outcome["status"] == 2 and outcome["error"].count("\n") == 0, outcome
        wanted = ("write-protected", "Read-only") if case.endswith("read-only") else ("No space left on device",)
        assert any(words in outcome["error"] for words in wanted), outcome
    weights = cases["training"]["files"]["run/model.safetensors"]
    assert weights == hashlib.sha256(undisturbed.read_bytes()).hexdigest()
    films = [name for name in cases["export"]["files"] if name.endswith(".mp4")]
    assert len(films) == 3 and cases["set read-only"]["files"] == cases["export"]["files"]


@pytest.fixture
def undisturbed(runs):
    """The model of a run that had all the room it wanted."""
    assert train(runs, "undisturbed") == 0
    return runs / "undisturbed" / "model.safetensors"


def mounts(apart: list[str], folder: Path) -> bool:
    """Whether a process that is started so may mount a file system that it alone sees."""
    command = [*apart, "mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def started(module: str, *words: str, before: Sequence[str] = ()) -> str:
    """What a module of the tests prints, which is run in a process of its own."""
    command = [*before, sys.executable, "-m", module, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HUNG)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
