"""What a run learns from is what lies on disk: caches of clips follow every change, and damage is seen."""

import errno
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lfdm_lite import LFDM
from lfdm_lite.data import Sketches
from lfdm_lite.evaluation.judges import VideoClassifier
from lfdm_lite.files.media import MediaError, write_gif
from lfdm_lite.training import PRESETS, DataConfig, train_autoencoder, train_decoder, train_diffusion, train_judge
from lfdm_lite.training.engine.core import Engine
from lfdm_lite.training.stages import clips as clips_module
from lfdm_lite.training.stages import shards
from lfdm_lite.training.stages.clips import build_dataset, cached_clips
from lfdm_lite.training.stages.shards import sharded_clips

from .patience import HUNG

ROOT = Path(__file__).parents[1]
TINY = PRESETS["tiny"]
DARK, BRIGHT = 0.2, 0.8


def write(path: Path, level: float) -> None:
    write_gif(path, torch.full((3, 4, 32, 32), level) + 0.02 * torch.rand(3, 4, 32, 32))


@pytest.fixture
def root(tmp_path) -> Path:
    """Five dark clips and five bright ones."""
    for label, level in (("angry", DARK), ("sad", BRIGHT)):
        for i in range(5):
            write(tmp_path / "set" / label / f"{i}.gif", level)
    return tmp_path / "set"


def data_of(root: Path):
    return replace(TINY.judge.data, name="folder", root=str(root))


def cache_of(root: Path, split: str = "train"):
    return cached_clips(data_of(root), split, root.parent / "cache")


def levels(clips) -> list[float]:
    return [round(level, 1) for level in (clips.whole("video").float().mean(dim=(1, 2, 3, 4)) / 255).tolist()]


def said(capsys) -> list[str]:
    """The lines that are addressed to whoever trains."""
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("lfdm: ")]


# ---------------------------------------------------------------- changes


def test_unchanged_clips_are_read_once(root, monkeypatch, capsys):
    first = cache_of(root)
    monkeypatch.setattr(clips_module.EightBit, "__getitem__", lambda *_: pytest.fail("read anew"))
    second = cache_of(root)
    assert first.whole("video").equal(second.whole("video")) and second.key == first.key and not said(capsys)
    assert first.labels == ["angry", "sad"] and len(first) == 8


def test_clips_written_anew_are_seen_and_named(root, capsys):
    before = cache_of(root)
    for path in root.rglob("*.gif"):
        write(path, 0.5)
    after = cache_of(root)
    assert set(levels(before)) == {DARK, BRIGHT} and set(levels(after)) == {0.5}
    (line,) = said(capsys)
    assert f"of the clips in {root} these have changed: angry/" in line and "and 5 more" in line
    assert len(list((root.parent / "cache").glob("folder-train-*"))) == 1, "the outdated cache is gone"


def test_names_that_a_terminal_would_obey_are_shown_without_that(root, capsys):
    write(root / "angry" / "\x1b[31mred.gif", DARK)
    (root / "angry" / "\x1b[2J.mpg").touch()
    with pytest.warns(UserWarning, match=r"angry/\?\[2J.mpg"):
        cache_of(root)
        write(root / "angry" / "\x1b[31mred.gif", BRIGHT)
        cache_of(root)
    assert "\x1b[" not in "".join(said(capsys))


def test_a_label_corrected_in_a_table_is_seen(root):
    table = [f"{label}/{i}.gif,{label}" for label in ("angry", "sad") for i in range(5)]
    (root / "clips.csv").write_text("\n".join(["path,label", *table]))
    before = cache_of(root).whole("label")
    (root / "clips.csv").write_text("\n".join(["path,label", *table]).replace("0.gif,angry", "0.gif,sad", 1))
    after = cache_of(root)
    assert (after.whole("label") - before).tolist().count(1) == 1 and after.labels == ["angry", "sad"]


def test_folders_of_one_name_are_not_taken_for_each_other(root, tmp_path, monkeypatch):
    write(tmp_path / "elsewhere" / "set" / "x" / "0.gif", 0.5)
    for name in ("1.gif", "2.gif"):
        shutil.copy(tmp_path / "elsewhere/set/x/0.gif", tmp_path / "elsewhere/set/x" / name)
    for folder, expected in ((tmp_path, {DARK, BRIGHT}), (tmp_path / "elsewhere", {0.5})):
        monkeypatch.chdir(folder)
        assert set(levels(cached_clips(data_of(Path("set")), "train", tmp_path / "cache"))) == expected


def test_another_version_of_what_draws_is_another_cache(tmp_path, monkeypatch, capsys):
    first = cached_clips(TINY.judge.data, "val", tmp_path)
    monkeypatch.setattr(clips_module, "drawing_version", lambda: "another")
    assert cached_clips(TINY.judge.data, "val", tmp_path).key != first.key
    assert "val clips" in said(capsys)[0] and len(list(tmp_path.glob("faces-val-*"))) == 1


# ---------------------------------------------------------------- looks


def sketches(look: str) -> DataConfig:
    return replace(TINY.judge.data, name="sketches", look=look, val_clips=3)


def test_a_run_learns_one_look_alone_or_all_of_them(tmp_path):
    caches = {look: cached_clips(sketches(look), "val", tmp_path) for look in ("all", "ink", "night", "photo")}
    assert len({cache.key for cache in caches.values()}) == 4
    size, frames = TINY.judge.data.size, TINY.judge.data.num_frames
    for look, cache in caches.items():
        drawn = Sketches("val", size, frames, 3, look=look)
        for index in range(3):
            assert torch.equal(cache[index]["video"], (255 * drawn[index]["video"]).round().byte()), look
    assert not torch.equal(caches["ink"][0]["video"], caches["night"][0]["video"])


def test_looks_are_of_sketches_and_have_names():
    for name in ("faces", "figures", "folder"):
        with pytest.raises(ValueError, match=f"data.look='ink' is of sketches, data.name is '{name}': leave data.look"):
            build_dataset(DataConfig(name, root=".", look="ink"), "train")
    with pytest.raises(ValueError, match="look 'oil' is not one of: all, ink, night, photo"):
        build_dataset(sketches("oil"), "train")


def test_the_cache_of_one_look_neither_replaces_another_nor_one_from_before_there_was_a_choice(tmp_path, capsys):
    kept = [cached_clips(sketches(look), "val", tmp_path) for look in ("all", "ink", "night")]
    made_from = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*/made_from.json"))]
    assert sorted(values.get("look", "") for values in made_from) == ["", "ink", "night"]
    for look, before in zip(("all", "ink", "night"), kept, strict=True):
        assert cached_clips(sketches(look), "val", tmp_path).key == before.key
    assert len(list(tmp_path.glob("sketches-val-*"))) == 3 and not said(capsys)


def test_an_outdated_cache_of_a_look_goes_alone(tmp_path, monkeypatch, capsys):
    for look in ("all", "ink"):
        cached_clips(sketches(look), "val", tmp_path)
    monkeypatch.setattr(clips_module, "drawing_version", lambda: "another")
    cached_clips(sketches("ink"), "val", tmp_path)
    drawings = {}
    for path in tmp_path.glob("*/made_from.json"):
        values = json.loads(path.read_text())
        drawings[values.get("look", "all")] = values["drawing"]
    assert drawings["ink"] == "another" != drawings["all"] and len(said(capsys)) == 1


def test_a_label_renamed_between_the_stages_names_what_it_stands_for(root, tmp_path):
    runs, preset = tmp_path / "runs", TINY.with_data(data_of(root))
    train_autoencoder(preset.autoencoder, runs / "ae")
    (root / "angry").rename(root / "upset")
    model = train_diffusion(replace(preset.diffusion, autoencoder=str(runs / "ae")), runs / "dm")
    assert model.labels == LFDM.from_pretrained(runs / "dm").labels == ["sad", "upset"]
    (shard,) = (load_file(path) for path in (runs / "cache").glob("folder-train-*/*.safetensors"))
    dark = shard["video"].float().mean(dim=(1, 2, 3, 4)) < 128
    assert [model.labels[i] for i in shard["label"]] == ["upset" if is_dark else "sad" for is_dark in dark]
    motions = list((runs / "cache").glob("ae-*/motions-train-*"))
    assert len(motions) == 1, "those of the clips as they were called before are gone"


def test_a_run_does_not_go_on_with_other_labels_clips_or_networks(root, tmp_path):
    runs, preset = tmp_path / "runs", TINY.with_data(data_of(root))
    train_judge(preset.judge, runs / "judge")
    (root / "angry").rename(root / "upset")
    with pytest.raises(ValueError, match=r"labels: then angry, sad; now sad, upset\); put that back"):
        train_judge(preset.judge, runs / "judge", resume=True)
    (root / "upset").rename(root / "angry")
    os.utime(root / "angry" / "0.gif")
    train_judge(preset.judge, runs / "judge", resume=True)  # as copied to another disk: read anew, and gone on with
    write(root / "angry" / "9.gif", DARK)
    with pytest.raises(ValueError, match=r"train: then 8 clips \(\w+\); now 9 clips"):
        train_judge(preset.judge, runs / "judge", resume=True)
    train_autoencoder(TINY.autoencoder, runs / "ae")
    shutil.copytree(runs / "ae", runs / "tuned")
    decoder = replace(TINY.decoder, checkpoint=str(runs / "tuned"))
    train_decoder(decoder, runs / "decoder")
    shutil.rmtree(runs / "tuned")
    seed = replace(TINY.autoencoder, loop=replace(TINY.autoencoder.loop, seed=1))
    train_autoencoder(seed, runs / "tuned")
    with pytest.raises(ValueError, match=r"checkpoint: then \w+; now \w+"):
        train_decoder(decoder, runs / "decoder", resume=True)


def test_a_run_goes_on_with_its_networks_in_another_folder(tmp_path, drawn):
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "cache").symlink_to(drawn)
    train_autoencoder(TINY.autoencoder, runs / "ae")
    decoder = replace(TINY.decoder, checkpoint=str(runs / "ae"))
    train_decoder(decoder, runs / "decoder")
    runs.rename(tmp_path / "moved")
    moved = replace(decoder, checkpoint=str(tmp_path / "moved" / "ae"))
    train_decoder(moved, tmp_path / "moved" / "decoder", resume=True)


def test_the_judge_has_as_many_labels_as_the_clips(root, tmp_path):
    assert TINY.judge.model.num_labels == 6
    judge = train_judge(TINY.with_data(data_of(root)).judge, tmp_path / "runs" / "judge")
    assert judge.labels == VideoClassifier.load(tmp_path / "runs" / "judge").labels == ["angry", "sad"]
    for label in "bcdefgh":
        write(root / label / "0.gif", 0.5)
    assert len(train_judge(TINY.with_data(data_of(root)).judge, tmp_path / "runs" / "nine").labels) == 9


# ---------------------------------------------------------------- damage


def spoil(path: Path, how: str) -> None:
    with_header = {"metadata": {"made_from": shards.values_fingerprint({"x": 1}), "checksum": "00000000"}}
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "one byte":
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    elif how == "fewer":
        save_file({"x": torch.ones(3, 2)}, path, **with_header)
    else:
        save_file({"x": torch.zeros(7, 2)}, path, **with_header)


@pytest.mark.parametrize(
    "how, said_of_it",
    [
        ("cut", "it cannot be read"),
        ("empty", "it cannot be read"),
        ("one byte", "its content has changed"),
        ("fewer", "it holds 3 clips, not 7"),
        ("black", "its content has changed"),
    ],
)
def test_a_damaged_shard_is_made_anew_and_said(tmp_path, capsys, how, said_of_it):
    make = lambda r: {"x": torch.ones(len(r), 2)}
    sharded_clips(tmp_path, {"x": 1}, 107, make, "x")
    spoil(tmp_path / "000100.safetensors", how)
    capsys.readouterr()
    assert sharded_clips(tmp_path, {"x": 1}, 107, make, "x").whole("x").equal(torch.ones(107, 2))
    (line,) = said(capsys)
    assert f"1 of 2 files of the cache in {tmp_path} were damaged (000100.safetensors: {said_of_it})" in line
    sharded_clips(tmp_path, {"x": 1}, 107, make, "x")
    assert not said(capsys)


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"name": "folder", "clips": [1, [2], {}]}'])
def test_a_cache_needs_no_note_of_what_it_was_made_from(root, content, capsys):
    cache_of(root)
    (note,) = (root.parent / "cache").glob("*/made_from.json")
    whole = note.read_bytes()
    note.unlink() if content is None else note.write_text(content)
    cache_of(root)
    assert note.read_bytes() == whole and not said(capsys)


def test_a_full_disk_is_said_with_the_name_of_the_file(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards, "write_safetensors", full)
    with pytest.raises(OSError, match="No space left on device.*000000.safetensors") as caught:
        sharded_clips(tmp_path, {}, 3, lambda r: {"x": torch.ones(3)}, "x")
    assert caught.value.errno == 28 and not list(tmp_path.glob("*.safetensors")) and not list(tmp_path.glob(".*.tmp"))


# ---------------------------------------------------------------- workers


def workers_of(loop_workers: int | None, tmp_path: Path) -> int:
    config = replace(TINY.judge, loop=replace(TINY.judge.loop, workers=loop_workers))
    return Engine(config, tmp_path / "x").workers(3)


def test_workers_are_as_many_as_asked_and_none_where_they_would_import_the_script(tmp_path, monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "fork")
    assert [workers_of(workers, tmp_path) for workers in (None, 0, 2)] == [3, 0, 2]
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "spawn")
    assert [workers_of(workers, tmp_path) for workers in (None, 0, 2)] == [0, 0, 2]


def test_without_workers_no_process_is_started(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a process was started")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", refuse)
    train_judge(replace(TINY.judge, loop=replace(TINY.judge.loop, workers=0)), tmp_path / "judge")
    with pytest.raises(AssertionError, match="a process was started"):
        train_judge(replace(TINY.judge, loop=replace(TINY.judge.loop, workers=1)), tmp_path / "other" / "judge")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_clip_that_breaks_while_it_is_read_is_one_line_with_its_name(root, tmp_path, monkeypatch, workers):
    config = replace(TINY.judge, data=data_of(root), loop=replace(TINY.judge.loop, workers=workers))
    draw = clips_module.draw_clips

    def break_one(*arguments):
        clips = draw(*arguments)
        for path in root.rglob("*.gif"):
            path.write_text("no longer a film")
        return clips

    monkeypatch.setattr(clips_module, "draw_clips", break_one)
    with pytest.raises(MediaError, match=r"\.gif: ") as caught:
        train_judge(config, tmp_path / "runs" / "judge")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert not (tmp_path / "runs" / "judge").exists()


def test_clips_are_known_by_the_same_names_from_every_working_folder(root, monkeypatch):
    def clips_from(folder, given):
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        config = replace(data_of(root), root=given)
        return clips_module.origin(config, "val", clips_module.draw_clips(config, "val"))["clips"]

    here = clips_from(root.parent / "a", f"../{root.name}")
    assert here == clips_from(root, ".") and not here[0][0].startswith("/")


def test_the_note_of_a_cache_names_every_clip(root):
    cache_of(root, "val")
    (note,) = (root.parent / "cache").glob("folder-val-*/made_from.json")
    made_from = json.loads(note.read_text())
    assert made_from["root"] == str(root) and made_from["labels"] == ["angry", "sad"]
    ((path, label, size, changed, frames),) = made_from["clips"]
    found = (root / path).stat()
    assert (size, changed, frames) == (found.st_size, max(found.st_mtime_ns, found.st_ctime_ns), 4) and path.startswith(
        label
    )


SPAWNED = """
import multiprocessing, sys
from pathlib import Path
multiprocessing.set_start_method("spawn")
from lfdm_lite.training import PRESETS, train_judge
train_judge(PRESETS["tiny"].judge, Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_where_processes_are_started_anew_a_script_without_a_main_guard_trains(tmp_path):
    (tmp_path / "script.py").write_text(SPAWNED)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "judge")]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=HUNG, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0 and (tmp_path / "judge" / "model.safetensors").exists(), done.stderr
