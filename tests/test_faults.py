"""Processes that die under a run: it ends in words, and goes on as if nothing had been."""

import os
import signal
from pathlib import Path

import pytest
from torch.utils.data import get_worker_info

from lfdm_lite import cli
from lfdm_lite.training.engine.randomness import Examples


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
