"""The same item is the same on any machine: every set draws what is stored of it."""

import numpy as np
import pytest

from lfdm_lite.data import PROCEDURAL

from . import stored_clips

HOW = "changed on purpose? Then `python -m tests.stored_clips {}` stores the clips anew"


@pytest.mark.parametrize("name", PROCEDURAL)
def test_a_set_draws_its_stored_clips_to_a_ten_thousandth(name):
    drawn, stored = stored_clips.draw(name), stored_clips.read()
    of_set = {key: array for key, array in stored.items() if key.split(":")[0].split()[0] == name}
    assert drawn.keys() == of_set.keys(), HOW.format(name)
    for key, array in drawn.items():
        difference = np.abs(array.astype(np.float64) - of_set[key])
        if key.endswith((": flow", ": visible")):  # a pixel amid an edge may belong to either side
            assert (difference > 1e-4).sum() <= 2, f"{key}: {HOW.format(name)}"
        else:
            assert difference.max() <= 1e-4, f"{key}: {HOW.format(name)}"


def test_stored_clips_move_and_hide_something():
    stored = stored_clips.read()
    for key, array in stored.items():
        if key.endswith(": flow"):
            assert np.abs(array).max() > 0.05, key
        if key.endswith(": visible"):
            assert not array.all() and array.mean() > 0.5, key


def test_the_stored_file_is_small():
    assert stored_clips.FILE.stat().st_size < 200_000


def test_one_set_is_stored_anew_and_the_others_stay(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stored_clips, "FILE", tmp_path / "data" / "clips.npz")
    assert stored_clips.main(["sketches"]) == 0
    before = stored_clips.read()
    changed = before | {"faces: video": np.zeros(3), "gone: video": np.zeros(3)}
    np.savez(stored_clips.FILE, **changed)
    assert stored_clips.main(["sketches"]) == 0
    after = stored_clips.read()
    assert after.keys() == before.keys() | {"faces: video"}
    assert stored_clips.main(["fases"]) == 2 and "no set 'fases'; there are: faces" in capsys.readouterr().err
