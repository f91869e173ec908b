"""What is kept between two starts: how many frames each clip has, and the frames themselves."""

import errno
import json
import multiprocessing
import os
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lfdm_lite.data import VideoFolder
from lfdm_lite.data.folders import clip_index, frame_cache, video_folder
from lfdm_lite.data.folders.clip_index import cache_folder
from lfdm_lite.data.folders.frame_cache import FrameCache
from lfdm_lite.files.media import MediaError, write_gif, write_image, write_mp4

from .patience import HUNG
from .test_video_folder import grey_clip, write_frames

SIZE = 8
BYTES = 3 * SIZE * SIZE  # of a frame


@pytest.fixture(scope="module")
def written_once(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    for label, value in (("jump", 0.3), ("wave", 0.6)):
        write_mp4(folder / label / "film.mp4", grey_clip(12, value))
        write_gif(folder / label / "film.gif", grey_clip(12, value))
        write_frames(folder / label / "frames", grey_clip(12, value))
    return folder


@pytest.fixture
def root(written_once: Path, tmp_path: Path) -> Path:
    """Six clips of twelve frames: films, GIFs and folders of pictures."""
    return shutil.copytree(written_once, tmp_path / "clips")


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """The names of clips whose frames were counted, in the course of time."""
    names: list[str] = []
    count = clip_index.count_frames
    monkeypatch.setattr(clip_index, "count_frames", lambda path: names.append(Path(path).name) or count(path))
    return names


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of clips that were decoded for an item."""
    names: list[str] = []
    iterate = video_folder.iterate_frames
    monkeypatch.setattr(video_folder, "iterate_frames", lambda path: names.append(Path(path).name) or iterate(path))
    return names


def make(root: Path, **options) -> VideoFolder:
    return VideoFolder(root, SIZE, 5, **{"cache": root.parent / "cache"} | options)


def videos(data: VideoFolder) -> torch.Tensor:
    return torch.stack([data[i]["video"] for i in range(len(data))])


def kept(root: Path) -> list[Path]:
    return sorted((root.parent / "cache" / "frames").glob("*.npy"))


# ---------------------------------------------------------------- where


def test_the_cache_lies_where_one_says(monkeypatch, tmp_path):
    monkeypatch.setenv("LFDM_CACHE", str(tmp_path / "mine"))
    assert cache_folder(True) == tmp_path / "mine" and cache_folder("x") == Path("x")
    assert cache_folder(None) is None and cache_folder(False) is None
    monkeypatch.setenv("LFDM_CACHE", os.path.join("~", "x"))
    assert cache_folder(True) == Path.home() / "x", "also where no shell has put the home folder for ~"
    monkeypatch.delenv("LFDM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder(True) == tmp_path / "lfdm_lite"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder(True) == Path.home() / ".cache" / "lfdm_lite"


def test_without_a_cache_nothing_is_written(root, opened, decoded):
    before = sorted(root.parent.rglob("*"))
    for _ in range(2):
        videos(make(root, cache=None))
    assert sorted(root.parent.rglob("*")) == before and len(opened) == len(decoded) == 12


# ---------------------------------------------------------------- the index


def test_a_second_start_opens_no_clip(root, opened):
    first = make(root)
    assert len(opened) == 6
    second = make(root, sampling="random", split="all")
    assert len(opened) == 6 and second.clips == first.clips and {clip.frames for clip in second.clips} == {12}


def test_only_what_changed_is_counted_anew_and_what_is_gone_is_forgotten(root, opened):
    make(root)
    opened.clear()
    write_gif(root / "jump" / "film.gif", grey_clip(9))
    write_image(root / "wave" / "frames" / "12.png", grey_clip(1)[:, 0])
    write_gif(root / "wave" / "new.gif", grey_clip(7))
    (root / "jump" / "film.mp4").unlink()
    data = make(root)
    assert sorted(opened) == ["film.gif", "frames", "new.gif"]
    assert [clip.frames for clip in data.clips] == [9, 12, 12, 12, 13, 7]
    (index,) = (root.parent / "cache" / "index").iterdir()
    assert not [name for name in json.loads(index.read_text())["clips"] if name.endswith("jump/film.mp4")]


def test_a_change_that_keeps_the_size_is_seen_by_its_time(root, opened):
    make(root)
    opened.clear()
    os.utime(root / "jump" / "film.mp4", (0, 0))
    make(root)
    assert opened == ["film.mp4"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": 1}', b'{"format": 1, "clips": [1]}', b'{"format": 0}']
)
def test_a_damaged_index_is_made_anew(root, opened, content):
    good = make(root).clips
    (index,) = (root.parent / "cache" / "index").iterdir()
    whole = index.read_bytes()
    index.write_bytes(content)
    opened.clear()
    assert make(root).clips == good and len(opened) == 6 and index.read_bytes() == whole


@pytest.mark.parametrize("damage", ["many", [1], 0, 11, 10**9])
def test_a_count_that_nobody_made_is_not_believed(root, opened, damage):
    """One that looks like a count too: a film said to have a billion frames would show its last one all along."""
    good = make(root).clips
    (index,) = (root.parent / "cache" / "index").iterdir()
    values = json.loads(index.read_text())
    first = next(iter(values["clips"]))
    values["clips"][first] = values["clips"][first][:2] + [damage] if isinstance(damage, int) else damage
    index.write_text(json.dumps(values))
    opened.clear()
    with pytest.warns(UserWarning, match=f"the counts of frames in {index} are damaged; all clips are counted anew"):
        assert make(root).clips == good
    assert len(opened) == 6


def test_tables_and_folders_have_indices_of_their_own(root, opened):
    table = root.parent / "some.csv"
    table.write_text(f"path,label\n{root / 'jump' / 'film.gif'},x\n")
    for _ in range(2):
        make(root)
        make(root, table=table)
    assert len(opened) == 6 + 1


def test_broken_clips_are_looked_at_each_time(root, opened):
    (root / "wave" / "broken.mp4").write_text("not a film")
    for _ in range(2):
        with pytest.raises(MediaError, match="1 of 7 clips cannot be read"):
            make(root)
    assert len(opened) == 6, "the good ones are known all the same"
    write_mp4(root / "wave" / "broken.mp4", grey_clip(3))
    with pytest.warns(UserWarning, match="fewer than 5 frames"):
        assert len(make(root)) == 7


def test_an_interrupted_count_keeps_what_it_knows(root, opened, monkeypatch):
    count = clip_index.count_frames

    def interrupted(path):
        if Path(path).name == "frames":
            raise KeyboardInterrupt
        return count(path)

    monkeypatch.setattr(clip_index, "THREADS", 1)
    monkeypatch.setattr(clip_index, "count_frames", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(root)
    before = len(opened)
    assert 2 <= before < 6, "the two films of the first label, and perhaps what was under way"
    monkeypatch.setattr(clip_index, "count_frames", count)
    make(root)
    assert 6 - before <= len(opened) - before <= 4
    opened.clear()
    make(root)
    assert not opened


def test_counting_in_threads_leaves_the_filters_of_warnings_alone(root):
    before = list(warnings.filters)
    make(root)
    assert warnings.filters == before


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize("sampling", ["uniform", "random", "very_random"])
def test_items_are_the_same_with_and_without_a_cache(root, decoded, sampling):
    data, plain = make(root, sampling=sampling), make(root, sampling=sampling, cache=None)
    for epoch in range(3):
        data.set_epoch(epoch)
        plain.set_epoch(epoch)
        decoded.clear()
        cached = videos(data)
        assert len(decoded) == (6 if epoch == 0 else 0), "all frames of a clip were kept from the first epoch on"
        assert cached.equal(videos(plain))
    assert len(kept(root)) == 6


def test_another_size_is_cached_apart(root):
    small, large = make(root), VideoFolder(root, 2 * SIZE, 5, cache=root.parent / "cache")
    for _ in range(2):
        assert small[0]["video"].shape[2:] == (SIZE, SIZE) and large[0]["video"].shape[2:] == (2 * SIZE, 2 * SIZE)


def test_a_changed_clip_is_decoded_anew(root):
    assert make(root)[0]["video"].mean() == pytest.approx(0.35, abs=0.02)
    write_gif(root / "jump" / "film.gif", grey_clip(12, 0.8))
    assert make(root)[0]["video"].mean() == pytest.approx(0.85, abs=0.02)


@pytest.mark.parametrize("damage", [b"", b"no array", bytes(1000), "cut", "shape", "two frames", "header"])
def test_a_damaged_file_counts_as_missing_and_is_replaced(root, damage):
    data = make(root)
    expected = data[0]["video"]
    (file,) = kept(root)
    whole = file.read_bytes()
    if damage in ("shape", "two frames"):
        shape = (12, 3, SIZE, SIZE + 1) if damage == "shape" else (2, 3, SIZE, SIZE)
        np.save(file, np.zeros(shape, np.uint8))
    elif damage == "header":
        file.write_bytes(whole.replace(b"(12,", b'(1"'))
    else:
        file.write_bytes(whole[:-1] if damage == "cut" else damage)
    with pytest.warns(UserWarning, match=f"{file} is damaged; its clip is decoded anew"):
        assert data[0]["video"].equal(expected) and file.read_bytes() == whole


def test_a_clip_that_breaks_off_is_not_kept(tmp_path):
    write_frames(tmp_path / "clips" / "wave" / "a", grey_clip(5))
    data = make(tmp_path / "clips", on_error="skip")
    (tmp_path / "clips" / "wave" / "a" / "3.png").write_text("no longer a picture")
    for _ in range(2):
        with pytest.warns(UserWarning, match="3.png"):
            data[0]
    assert not kept(tmp_path / "clips")


def test_a_film_that_holds_fewer_frames_than_counted_ends_alike_everywhere(root, monkeypatch):
    count = clip_index.count_frames
    monkeypatch.setattr(clip_index, "count_frames", lambda path: count(path) + 6)
    data, plain = make(root), make(root, cache=None)
    assert videos(data).equal(videos(plain)) and videos(data).equal(videos(plain))


def cache_of(folder: Path, clips: int) -> FrameCache:
    """With room for that many clips of one frame, headers included."""
    return FrameCache(folder, clips * (BYTES + 128))


def frame(value: int) -> np.ndarray:
    return np.full((1, 3, SIZE, SIZE), value, np.uint8)


def test_the_longest_unused_leave_and_the_limit_holds(tmp_path):
    cache, files = cache_of(tmp_path, 10), [tmp_path / f"{i}.npy" for i in range(12)]
    for i in range(10):
        cache.write(files[i], frame(i))
        os.utime(files[i], (i, i))  # the order in which they were used
    assert all(cache.read(files[i], 1, SIZE) is not None for i in (0, 1))  # used now
    cache.write(files[10], frame(10))
    assert [i for i in range(12) if files[i].exists()] == [0, 1, 4, 5, 6, 7, 8, 9, 10]
    cache.write(files[11], frame(11))
    total = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert total <= cache.limit and (cache.read(files[11], 1, SIZE) == 11).all()


def test_a_data_set_larger_than_the_cache_still_reads_right(root):
    limit = 40 * 12 * BYTES / 1e9  # two clips of 12 frames are 1/20 of it each: fill it with others
    data, plain = make(root, cache_gb=limit), make(root, cache=None)
    for i in range(60):
        data._cache.write(data._cache.folder / f"{i}.npy", np.zeros((12, 3, SIZE, SIZE), np.uint8))
    for _ in range(2):
        assert videos(data).equal(videos(plain))
    assert sum(file.stat().st_size for file in kept(root)) <= 1.02 * limit * 1e9


def test_a_clip_too_large_for_the_cache_is_decoded_each_time(root, decoded):
    data = make(root, cache_gb=15 * 12 * BYTES / 1e9)
    for _ in range(2):
        videos(data)
    assert len(decoded) == 12 and not kept(root)


def test_files_that_dead_processes_left_are_swept_away(tmp_path):
    (tmp_path / ".old.npy.x.tmp").write_bytes(b"half")
    os.utime(tmp_path / ".old.npy.x.tmp", (0, 0))
    (tmp_path / ".young.npy.x.tmp").write_bytes(b"half")
    cache_of(tmp_path, 10).write(tmp_path / "a.npy", frame(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".young.npy.x.tmp", "a.npy"]


def test_a_cache_that_cannot_be_made_is_one_warning_each_and_no_error(root):
    (root.parent / "file").write_text("in the way")
    with pytest.warns(UserWarning) as warned:
        data = make(root, cache=root.parent / "file")
    said = [str(warning.message) for warning in warned]
    assert len(said) == 2 and "the number of frames cannot be kept" in said[0] and "decoded frames cannot" in said[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert videos(data).equal(videos(make(root, cache=None)))


def test_a_full_disk_is_one_warning_and_no_error(root, monkeypatch):
    data = make(root)

    def full(path, write):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(frame_cache, "write_atomically", full)
    with pytest.warns(UserWarning, match="decoded frames cannot be kept .*No space left") as warned:
        for _ in range(2):
            assert videos(data).equal(videos(make(root, cache=None)))
    assert len(warned) == 1 and not kept(root)


def test_nothing_half_written_is_left_when_writing_fails(tmp_path, monkeypatch):
    cache = cache_of(tmp_path, 10)

    def broken(file, array):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", broken)
    with pytest.warns(UserWarning, match="No space left"):
        cache.write(tmp_path / "a.npy", frame(1))
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- many at once


def use(root: Path, seed: int, queue) -> None:
    data = make(root, sampling="random", cache_gb=40 * 12 * BYTES / 1e9)
    order = np.random.default_rng(seed).permutation(np.repeat(np.arange(6), 5))
    queue.put({int(i): data[int(i)]["video"].numpy().tobytes() for i in order})


@pytest.mark.parametrize("again", [False, True], ids=["empty", "filled"])
def test_processes_that_start_at_once_agree(root, again):
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this test's processes are forked")
    plain = make(root, sampling="random", cache=None)
    if again:
        videos(make(root))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=use, args=(root, seed, queue)) for seed in range(3)]
    for process in processes:
        process.start()
    answers = [queue.get(timeout=HUNG) for _ in processes]
    for process in processes:
        process.join()
    expected = {i: plain[i]["video"].numpy().tobytes() for i in range(6)}
    assert answers == [expected] * 3
    (index,) = (root.parent / "cache" / "index").iterdir()
    assert len(json.loads(index.read_text())["clips"]) == 6 and len(kept(root)) == 6


def test_workers_fill_the_cache_and_read_from_it(root, decoded):
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this test's workers are forked")
    data = make(root)
    loader = DataLoader(data, batch_size=2, multiprocessing_context="fork", num_workers=2)
    batches = torch.cat([batch["video"] for batch in loader])
    assert len(kept(root)) == 6
    assert batches.equal(videos(data)) and not decoded


def test_a_data_set_travels_to_workers_that_are_started_anew(root):
    data = make(root, sampling="random")
    assert videos(pickle.loads(pickle.dumps(data))).equal(videos(data))
