"""A folder of somebody's videos as a data set."""

import csv
import multiprocessing
import os
import shutil
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from lfdm_lite.data import VideoFolder
from lfdm_lite.data.folders import clip_table
from lfdm_lite.data.folders.video_folder import frame_indices
from lfdm_lite.files.media import MediaError, write_gif, write_image, write_mp4

from .test_media import write_film

SIZE, FRAMES = 16, 5


def grey_clip(t: int, value: float = 0.5, h: int = 18, w: int = 26) -> torch.Tensor:
    """Frame i of t is (value + i / 100) bright all over."""
    return (value + torch.arange(t) / 100).view(1, t, 1, 1).expand(3, t, h, w)


def write_frames(folder: Path, video: torch.Tensor) -> None:
    for i, frame in enumerate(video.unbind(1)):
        write_image(folder / f"{i}.png", frame)


@pytest.fixture(scope="module")
def written_once(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    for label, value in (("wave", 0.2), ("jump", 0.4), ("sit", 0.6)):
        write_mp4(folder / label / "film.mp4", grey_clip(12, value))
        write_gif(folder / label / "film.gif", grey_clip(12, value))
        write_frames(folder / label / "frames", grey_clip(12, value))
    (folder / "README.txt").write_text("not a clip")
    return folder


@pytest.fixture
def root(written_once: Path, tmp_path: Path) -> Path:
    """Three labels; a film, a GIF and a folder of pictures each, of 12 frames."""
    return shutil.copytree(written_once, tmp_path, dirs_exist_ok=True)


def names(data: VideoFolder) -> list[str]:
    return [clip.path.relative_to(data.root).as_posix() for clip in data.clips]


# ---------------------------------------------------------------- what is found


def test_every_kind_of_clip_is_found_with_its_label(root):
    data = VideoFolder(root, SIZE, FRAMES)
    assert data.labels == ("jump", "sit", "wave") and len(data) == 9
    assert Counter(clip.path.name for clip in data.clips) == {"film.mp4": 3, "film.gif": 3, "frames": 3}
    for i, clip in enumerate(data.clips):
        item = data[i]
        assert item["video"].shape == (3, FRAMES, SIZE, SIZE) and item["video"].dtype == torch.float32
        assert 0 <= item["video"].min() and item["video"].max() <= 1
        assert item["label_name"] == data.labels[item["label"]] == clip.path.parent.name
        assert item["subject"] == -1
    assert "9 clips" in repr(data)


@pytest.mark.parametrize("kind", ["film.mp4", "film.gif", "frames"])
def test_the_sampled_frames_are_the_right_ones(root, kind):
    data = VideoFolder(root, SIZE, FRAMES)
    item = next(data[i] for i, clip in enumerate(data.clips) if clip.path == root / "jump" / kind)
    expected = 0.4 + torch.tensor([0, 2, 5, 8, 11]) / 100
    torch.testing.assert_close(item["video"].mean(dim=(0, 2, 3)), expected, atol=0.012, rtol=0)


@pytest.mark.parametrize("name, codec", [("x.webm", "libvpx-vp9"), ("x.avi", "mpeg4"), ("x.MKV", "libx264")])
def test_films_of_other_make_give_the_same_frames(tmp_path, name, codec):
    (tmp_path / "wave").mkdir()
    write_film(tmp_path / "wave" / name, grey_clip(12, h=32, w=48), codec)
    data = VideoFolder(tmp_path, SIZE, FRAMES)
    assert [clip.frames for clip in data.clips] == [12]
    expected = 0.5 + torch.tensor([0, 2, 5, 8, 11]) / 100
    torch.testing.assert_close(data[0]["video"].mean(dim=(0, 2, 3)), expected, atol=0.015, rtol=0)
    content = (tmp_path / "wave" / name).read_bytes()
    (tmp_path / "wave" / name).write_bytes(content[: len(content) // 3])
    with pytest.raises(MediaError, match=f"{name}: "):
        VideoFolder(tmp_path, SIZE, FRAMES)[0]


def test_folders_between_label_and_clip_name_the_subject(tmp_path):
    for subject in ("anna", "bert"):
        write_gif(tmp_path / "wave" / subject / "1.gif", grey_clip(3))
    data = VideoFolder(tmp_path, SIZE, 3)
    assert data.subjects == ("anna", "bert") and [data[i]["subject"] for i in range(2)] == [0, 1]


def test_clips_without_a_label_and_stray_pictures(tmp_path):
    write_gif(tmp_path / "a.gif", grey_clip(3))
    write_gif(tmp_path / "wave" / "b.gif", grey_clip(3))
    write_image(tmp_path / "wave" / "thumbnail.png", grey_clip(1)[:, 0])
    write_gif(tmp_path / ".trash" / "c.gif", grey_clip(3))
    data = VideoFolder(tmp_path, SIZE, 3)
    assert data.labels == ("unlabelled", "wave") and names(data) == ["a.gif", "wave/b.gif"]


@pytest.mark.parametrize("sampling", ["uniform", "random"])
def test_a_short_clip_repeats_its_last_frame_and_is_named(tmp_path, sampling):
    write_frames(tmp_path / "wave" / "a", grey_clip(3))
    write_frames(tmp_path / "wave" / "b", grey_clip(5))
    with pytest.warns(UserWarning, match="1 of 2 clips have fewer than 5 frames; their last frame repeats:\n.*a: 3"):
        data = VideoFolder(tmp_path, SIZE, 5, sampling=sampling)
    means = data[0]["video"].mean(dim=(0, 2, 3))
    torch.testing.assert_close(means, 0.5 + torch.tensor([0, 1, 2, 2, 2]) / 100, atol=0.004, rtol=0)


def test_indices_are_those_of_a_sequence(root):
    data = VideoFolder(root, SIZE, FRAMES)
    assert data[-1]["video"].equal(data[len(data) - 1]["video"])
    with pytest.raises(IndexError):
        data[len(data)]


# ---------------------------------------------------------------- tables


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_table_names_labels_subjects_and_splits(root):
    rows = [
        {"path": "wave/film.mp4", "label": "hello", "subject": "a", "split": "train"},
        {"path": "jump/frames", "label": "up", "subject": "b", "split": "test"},
        {"path": "sit/film.gif", "label": "up", "subject": "c", "split": "train"},
    ]
    write_table(root / "clips.csv", rows)
    data = VideoFolder(root, SIZE, FRAMES, split="train")
    assert names(data) == ["wave/film.mp4", "sit/film.gif"]
    assert data.labels == ("hello", "up") and data.subjects == ("a", "b", "c")
    items = [data[i] for i in range(2)]
    assert [(item["label_name"], item["subject"]) for item in items] == [("hello", 0), ("up", 2)]


def test_a_table_may_lie_elsewhere_and_use_the_names_of_an_export(root, tmp_path_factory):
    table = tmp_path_factory.mktemp("tables") / "mine.csv"
    write_table(table, [{"file": str(root / "wave" / "film.mp4"), "label": "3", "label_name": "hello"}])
    data = VideoFolder(root, SIZE, FRAMES, table=table)
    assert data.labels == ("hello",) and len(data) == 1


@pytest.mark.parametrize(
    "text, message",
    [
        ("clip,kind\na,b\n", "its columns are clip, kind; expected path and label"),
        ("", "its columns are missing"),
        ("path,label\n", "no clips listed"),
        ("path,label\nwave/film.mp4,\n", "line 2: path or label is empty"),
        ("path,label,split\nwave/film.mp4,x,dev\n", "line 2: split 'dev' is not one of: train, val, test"),
        ("path,label\nwave/film.mp4,x\nnowhere.mp4,x\n", "clips.csv, line 3: .*nowhere.mp4: no such file"),
        ("path,label\n\nwave,x\n", "clips.csv, line 3: .*wave: no frame in it"),
    ],
)
def test_a_bad_table_is_refused_with_a_reason(root, text, message):
    (root / "clips.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        VideoFolder(root, SIZE, FRAMES)


# ---------------------------------------------------------------- splits


def many(tmp_path: Path, subjects: int, clips: int) -> Path:
    """A folder with `clips` one-frame clips of each subject."""
    for s in range(subjects):
        for c in range(clips):
            write_image(tmp_path / "wave" / f"person{s}" / f"clip{c}" / "0.png", grey_clip(1, h=2, w=2)[:, 0])
    return tmp_path


def test_splits_part_the_clips_and_keep_subjects_together(tmp_path):
    many(tmp_path, 10, 2)
    parts = {split: VideoFolder(tmp_path, 2, 1, split=split) for split in ("train", "val", "test")}
    assert {split: len(data) for split, data in parts.items()} == {"train": 16, "val": 2, "test": 2}
    people = [{clip.subject for clip in data.clips} for data in parts.values()]
    assert len(set.union(*people)) == 10 == sum(map(len, people))
    everything = sum((names(data) for data in parts.values()), [])
    assert sorted(everything) == sorted(names(VideoFolder(tmp_path, 2, 1)))
    assert {data.labels for data in parts.values()} == {("wave",)}


def test_without_subjects_clips_are_parted_and_no_split_of_three_is_empty(tmp_path):
    for c in range(3):
        write_gif(tmp_path / "wave" / f"{c}.gif", grey_clip(2, h=4, w=4))
    parts = [names(VideoFolder(tmp_path, 4, 2, split=split)) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [1, 1, 1] and len({name for part in parts for name in part}) == 3


def test_splits_do_not_depend_on_where_the_folder_lies(tmp_path):
    first, second = many(tmp_path / "a", 6, 1), many(tmp_path / "b", 6, 1)
    assert names(VideoFolder(first, 2, 1, split="test")) == names(VideoFolder(second, 2, 1, split="test"))


def test_an_empty_split_says_so(tmp_path):
    many(tmp_path, 1, 2)
    with pytest.raises(ValueError, match="split 'val' .* is empty"):
        VideoFolder(tmp_path, 2, 1, split="val")


# ---------------------------------------------------------------- layouts that may mean something else


def grey_clips(root: Path, *names: str) -> Path:
    for name in names:
        write_gif(root / name, grey_clip(2, h=4, w=4))
    return root


def test_folders_named_after_splits_hold_labels(tmp_path):
    clips = [f"{split}/{label}/{i}.gif" for split in ("Train", "valid", "test") for label in "ab" for i in range(2)]
    grey_clips(tmp_path, *clips)
    for split, folder in (("train", "Train"), ("val", "valid"), ("test", "test")):
        data = VideoFolder(tmp_path, 4, 2, split=split)
        assert data.labels == ("a", "b") and {name.split("/")[0] for name in names(data)} == {folder}
    assert len(VideoFolder(tmp_path, 4, 2)) == 12


def test_nobody_is_in_two_folders_of_splits(tmp_path):
    grey_clips(tmp_path, "train/a/ann/0.gif", "train/a/bob/0.gif", "test/b/ann/0.gif")
    with pytest.raises(ValueError, match="subject ann is in two splits, test .*train .*; nobody may be"):
        VideoFolder(tmp_path, 4, 2)


def test_clips_without_labels_in_folders_of_splits_are_refused(tmp_path):
    grey_clips(tmp_path, "train/0.gif", "test/a/0.gif")
    with pytest.raises(ValueError, match="train is named after a split, but holds 0.gif itself.*SPLIT.LABEL.clip"):
        VideoFolder(tmp_path, 4, 2)


def test_a_label_named_like_a_split_is_named(tmp_path):
    grey_clips(tmp_path, "train/0.gif", "car/0.gif")
    with pytest.warns(UserWarning, match=r"named after a split, and read as labels \(1\): train"):
        assert VideoFolder(tmp_path, 4, 2).labels == ("car", "train")


def test_pictures_where_labels_are_expected_are_named(tmp_path):
    for label in ("happy", "sad"):
        write_frames(tmp_path / label, grey_clip(3))
    with pytest.warns(UserWarning, match=r"each is read as one clip without a label \(2\): happy, sad"):
        assert VideoFolder(tmp_path, 4, 3).labels == ("unlabelled",)


def test_films_of_kinds_that_are_not_read_are_named(tmp_path):
    grey_clips(tmp_path, "a/0.gif")
    unread = [f"a/{i}.{kind}" for i, kind in enumerate(("MPG", "wmv", "flv", "3gp", "ts", "ogv", "mpeg", "mts"), 1)]
    for name in unread:
        (tmp_path / name).write_bytes(b"film")
    moving_webp(tmp_path / "a" / "w.webp")
    with pytest.warns(UserWarning, match=r"kinds that are not read .* \(9\): a/1.MPG, a/2.wmv, .* and 4 more"):
        assert names(VideoFolder(tmp_path, 4, 2)) == ["a/0.gif"]
    with pytest.warns(UserWarning, match=r"\(2\): b/0.webp, b/1.webp"), pytest.raises(ValueError, match="no clips in"):
        for i in range(2):
            moving_webp(tmp_path / "only" / "b" / f"{i}.webp")
        VideoFolder(tmp_path / "only", 4, 2)


def moving_webp(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = (Image.new("RGB", (8, 8), (80 * i,) * 3) for i in range(3))
    first.save(path, save_all=True, append_images=others)


def test_a_film_and_its_frames_are_named_and_never_in_two_splits(tmp_path):
    grey_clips(tmp_path, *(f"a/{i}.gif" for i in range(8)))
    for i in range(8):
        write_frames(tmp_path / "a" / str(i), grey_clip(2))
    with pytest.warns(UserWarning, match=r"a film of the same name beside them; both are read \(8\): a/0, a/1"):
        parts = [VideoFolder(tmp_path, 4, 2, split=split) for split in ("train", "val", "test")]
    stems = [{name.removesuffix(".gif") for name in names(data)} for data in parts]
    assert sum(map(len, stems)) == 8 and sum(map(len, parts)) == 16


def test_what_links_show_twice_is_in_one_split(tmp_path):
    grey_clips(tmp_path, *(f"a/{i}.gif" for i in range(9)))
    for i in range(9):
        link(tmp_path / "b" / f"{i}x.gif", tmp_path / "a" / f"{i}.gif")
    shown = [{os.path.realpath(c.path) for c in VideoFolder(tmp_path, 4, 2, split=s).clips} for s in ("train", "val")]
    assert not shown[0] & shown[1] and len(shown[1]) == 1


def test_people_who_share_a_film_by_a_link_share_a_split(tmp_path):
    for label in ("happy", "sad"):
        for person in ("ann", "bob", "cyn", "dan", "eve", "fay"):
            for number in range(2):
                write_gif(tmp_path / label / person / f"{number}.gif", torch.rand(3, 4, 8, 8))
    shared = tmp_path / "sad" / "eve" / "1.gif"
    shared.unlink()
    shared.symlink_to(tmp_path / "happy" / "ann" / "0.gif")
    splits = {}
    for split in ("train", "val", "test"):
        for clip in VideoFolder(tmp_path, 8, 2, split=split, cache=None).clips:
            splits.setdefault(clip.subject, set()).add(split)
    assert splits["ann"] == splits["eve"] and all(len(found) == 1 for found in splits.values())


def test_a_subject_with_a_split_for_some_clips_has_it_for_all(tmp_path):
    grey_clips(tmp_path, *(f"{i}.gif" for i in range(8)))
    rows = [("ann", "train"), ("ann", ""), ("ann", ""), *((f"s{i}", "") for i in range(3, 8))]
    table = "".join(f"{i}.gif,a,{subject},{split}\n" for i, (subject, split) in enumerate(rows))
    (tmp_path / "clips.csv").write_text("path,label,subject,split\n" + table)
    people = [{clip.subject for clip in VideoFolder(tmp_path, 4, 2, split=s).clips} for s in ("train", "val", "test")]
    assert "ann" in people[0] and sum(map(len, people)) == len(set.union(*people)) == 6


@pytest.mark.parametrize(
    "rows, message",
    [
        ("x.gif,a,,train\nx.gif,a,,test\ny.gif,b,,train\n", "line 3: x.gif is listed in line 2 already"),
        ("x.gif,a,,\n./x.gif,b,,\n", "line 3: ./x.gif is listed in line 2 already"),
        ("x.gif,a,ann,train\ny.gif,a,ann,val\n", "subject ann is in two splits, train .*line 2.* and val .*line 3"),
        ("x.gif,a,ann,train,y\n", "line 2: 5 cells for 4 columns"),
        ('x.gif,"a\nb",,\n', r"line 3: 'a\\nb' is no name"),
        (f"x.gif,{'a' * 300},,\n", "is no name; expected one line of at most 255"),
        ('x.gif,"a,,\n', "no line of a table"),
        (f"x.gif,{'a' * 200_000},,\n", "no line of a table"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused_by_line(tmp_path, rows, message):
    grey_clips(tmp_path, "x.gif", "y.gif")
    (tmp_path / "clips.csv").write_text("path,label,subject,split\n" + rows)
    with pytest.raises(ValueError, match=message):
        VideoFolder(tmp_path, 4, 2)


def test_a_table_that_is_no_file_is_not_passed_over(tmp_path, monkeypatch):
    grey_clips(tmp_path, "a/x.gif")
    link(tmp_path / "clips.csv", tmp_path / "nowhere.csv")
    with pytest.raises(ValueError, match="clips.csv: not a table that can be read"):
        VideoFolder(tmp_path, 4, 2)
    (tmp_path / "clips.csv").unlink()
    (tmp_path / "clips.csv").write_text("path,label\na/x.gif,a\n")
    monkeypatch.setattr(clip_table, "LARGEST", 10)
    with pytest.raises(ValueError, match="it is a file of 2[0-9] bytes"):
        VideoFolder(tmp_path, 4, 2)


def test_labels_that_are_numbers_count_like_numbers(tmp_path):
    grey_clips(tmp_path, *(f"{label}/x.gif" for label in range(12)))
    data = VideoFolder(tmp_path, 4, 2)
    assert data.labels == tuple(map(str, range(12))) and all(item["label"] == int(item["label_name"]) for item in data)


def test_two_people_are_not_enough_and_the_message_says_so(tmp_path):
    grey_clips(tmp_path, *(f"a/{who}/{i}.gif" for who in ("ann", "bob") for i in range(4)))
    message = r"its 8 clips show 2 people \(ann, bob\), and nobody may be in two splits; three people are needed, or a"
    with pytest.raises(ValueError, match=message + " table .*clips.csv"):
        VideoFolder(tmp_path, 4, 2, split="val")


# ---------------------------------------------------------------- what is refused


def test_a_missing_or_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(ValueError, match="is not there; expected a folder"):
        VideoFolder(tmp_path / "nowhere")
    (tmp_path / "note.txt").write_text("x")
    with pytest.raises(ValueError, match="is a file; expected a folder"):
        VideoFolder(tmp_path / "note.txt")
    with pytest.raises(ValueError, match="no clips in .*; expected sub-folders .*mp4.*gif"):
        VideoFolder(tmp_path)


@pytest.mark.parametrize("option", [{"split": "dev"}, {"on_error": "ignore"}, {"size": 0}, {"num_frames": 0}])
def test_unknown_options_are_refused(root, option):
    with pytest.raises(ValueError, match="is not one of|expected"):
        VideoFolder(root, **option)


def test_broken_clips_are_named_or_left_out(root):
    (root / "wave" / "broken.mp4").write_text("not a film")
    (root / "jump" / "empty.avi").touch()
    with pytest.raises(MediaError, match="2 of 11 clips cannot be read") as caught:
        VideoFolder(root, SIZE, FRAMES)
    assert "broken.mp4" in str(caught.value) and "empty.avi" in str(caught.value)
    with pytest.warns(UserWarning, match="2 of 11 clips cannot be read and are left out") as warned:
        data = VideoFolder(root, SIZE, FRAMES, on_error="skip")
    assert "broken.mp4" in str(warned[0].message) and len(data) == 9
    with pytest.raises(MediaError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (root / "clips.csv").write_text("path,label\nwave/broken.mp4,wave\n")
        VideoFolder(root, SIZE, FRAMES, on_error="skip")


def test_a_film_that_was_cut_short_is_named_or_left_out(root):
    film = root / "wave" / "film.mp4"
    whole = film.read_bytes()
    for share in (0.3, 0.6, 0.95):
        film.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(MediaError, match="1 of 9 clips cannot be read.*\n.*wave/film.mp4: "):
            VideoFolder(root, SIZE, FRAMES)
        with pytest.warns(UserWarning, match="wave/film.mp4: "):
            assert len(VideoFolder(root, SIZE, FRAMES, on_error="skip")) == 8


def test_an_empty_gif_is_named_as_one(root):
    (root / "wave" / "film.gif").write_bytes(b"")
    with pytest.raises(MediaError, match="wave/film.gif: an empty file; expected a video"):
        VideoFolder(root, SIZE, FRAMES)


def test_a_link_back_to_a_folder_above_is_left_out_with_a_warning(root):
    link(root / "wave" / "again", root)
    with pytest.warns(UserWarning, match="wave/again: a link back to a folder that holds it; left out"):
        assert len(VideoFolder(root, SIZE, FRAMES)) == 9


def test_links_between_two_folders_end(root):
    link(root / "wave" / "other", root / "jump")
    link(root / "jump" / "other", root / "wave")
    with pytest.warns(UserWarning, match="a link back") as warned:
        data = VideoFolder(root, SIZE, FRAMES)
    assert len(warned) == 2 and len(data) == 9 + 2 * 3, "each is seen once more through the other's link"


def test_links_to_films_and_folders_elsewhere_are_followed(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_gif(elsewhere / "a.gif", grey_clip(FRAMES))
    link(root / "far", elsewhere)
    link(root / "near" / "b.gif", elsewhere / "a.gif")
    assert {"far/a.gif", "near/b.gif"} <= set(names(VideoFolder(root, SIZE, FRAMES)))


def test_a_link_to_nowhere_or_to_itself_is_named(root):
    link(root / "wave" / "gone.mp4", root / "nowhere.mp4")
    link(root / "wave" / "self.gif", root / "wave" / "self.gif")
    with pytest.raises(MediaError, match="2 of 11 clips") as caught:
        VideoFolder(root, SIZE, FRAMES)
    for name in ("gone.mp4", "self.gif"):
        assert f"{name}: a link that leads nowhere or in a circle" in str(caught.value)


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("no links here")


@pytest.mark.parametrize("folder", ["ein Ordner", "größer", "波", "naïve & 'quoted'"])
def test_names_with_spaces_and_letters_of_any_language(tmp_path, folder):
    root = tmp_path / f"meine {folder}"
    write_mp4(root / folder / "mon été.mp4", grey_clip(FRAMES))
    write_gif(root / folder / "сон.gif", grey_clip(FRAMES))
    write_frames(root / folder / "夢 1", grey_clip(FRAMES))
    for _ in range(2):
        data = VideoFolder(root, SIZE, FRAMES)
        assert data.labels == (folder,) and len(data) == 3
    assert all(data[i]["video"].mean() == pytest.approx(0.52, abs=0.02) for i in range(3))
    table = "path,label\n" + "".join(f'"{name}",{folder}\n' for name in names(data))
    (root / "clips.csv").write_text(table, encoding="utf-8")
    assert names(VideoFolder(root, SIZE, FRAMES)) == names(data)


def test_a_name_that_is_not_text_is_read_all_the_same(tmp_path):
    write_gif(tmp_path / "a.gif", grey_clip(FRAMES))
    try:
        (tmp_path / "wave").mkdir()
        os.rename(tmp_path / "a.gif", os.fsencode(tmp_path) + b"/wave/\xe9t\xe9.gif")
    except OSError:
        pytest.skip("this file system has no such names")
    for _ in range(2):
        data = VideoFolder(tmp_path, SIZE, FRAMES)
        assert data[0]["video"].shape == (3, FRAMES, SIZE, SIZE)


def test_a_clip_that_breaks_in_the_middle_ends_there_or_is_an_error(tmp_path):
    write_frames(tmp_path / "wave" / "a", grey_clip(4))
    data = {on_error: VideoFolder(tmp_path, SIZE, 4, on_error=on_error) for on_error in ("raise", "skip")}
    (tmp_path / "wave" / "a" / "2.png").write_text("no longer a picture")
    with pytest.raises(MediaError, match="2.png"):
        data["raise"][0]
    with pytest.warns(UserWarning, match="2.png"):
        means = data["skip"][0]["video"].mean(dim=(0, 2, 3))
    torch.testing.assert_close(means, 0.5 + torch.tensor([0, 1, 1, 1]) / 100, atol=0.004, rtol=0)


# ---------------------------------------------------------------- frames


def test_uniform_frames_run_evenly_from_first_to_last():
    rng = np.random.RandomState(0)
    assert frame_indices(20, 40, "uniform", rng) == [*range(20), *[19] * 20]
    assert frame_indices(40, 40, "uniform", rng) == list(range(40))
    assert frame_indices(41, 40, "uniform", rng) == [*range(39), 40]
    assert frame_indices(80, 40, "uniform", rng) == [*range(0, 78, 2), 79]
    assert frame_indices(7, 1, "uniform", rng) == [0]


def test_random_frames_are_those_of_the_published_loaders():
    """Index lists that the authors' code gave for a clip of 57 frames after seeding numpy with 1234."""
    expected = [0, 1, 3, 4, 5, 7, 8, 9, 11, 12, 14, 16, 17, 19, 20, 21, 22, 23, 26, 26, 28, 29, 31, 32, 34, 35, 36]
    expected += [38, 39, 42, 42, 44, 46, 47, 48, 49, 52, 52, 54, 56]
    assert frame_indices(57, 40, "random", np.random.RandomState(1234)) == expected
    expected = [0, 3, 3, 5, 9, 11, 11, 12, 12, 15, 16, 16, 19, 23, 24, 26, 26, 28, 30, 30, 34, 37, 38, 38, 39, 41]
    expected += [41, 43, 44, 47, 47, 48, 48, 49, 50, 52, 53, 54, 54, 56]
    assert frame_indices(57, 40, "very_random", np.random.RandomState(1234)) == expected


@pytest.mark.parametrize("length", [1, 3, 16, 17, 50])
@pytest.mark.parametrize("sampling", ["uniform", "random", "very_random"])
def test_frames_start_at_the_first_never_run_back_and_stay_inside(length, sampling):
    for seed in range(20):
        taken = frame_indices(length, 16, sampling, np.random.RandomState(seed))
        assert len(taken) == 16 and taken[0] == 0 and taken == sorted(taken) and taken[-1] < length
        if sampling != "very_random":
            assert taken[-1] == length - 1


def test_random_frames_stay_between_their_even_neighbours():
    even = frame_indices(50, 16, "uniform", np.random.RandomState(0))
    taken = np.array([frame_indices(50, 16, "random", np.random.RandomState(s)) for s in range(50)])
    assert (taken[:, 1:-1] > even[:-2]).all() and (taken[:, 1:-1] < even[2:]).all()
    assert len({tuple(row) for row in taken.tolist()}) > 40


def test_unknown_sampling_is_refused(root):
    with pytest.raises(ValueError, match="expected both to be at least 1"):
        frame_indices(0, 4, "uniform", np.random.RandomState(0))


# ---------------------------------------------------------------- many readers


def test_random_frames_depend_on_seed_and_epoch_alone(root):
    def clips(seed: int, epoch: int) -> torch.Tensor:
        data = VideoFolder(root, SIZE, FRAMES, sampling="random", seed=seed)
        data.set_epoch(epoch)
        return torch.stack([data[i]["video"] for i in range(len(data))])

    assert clips(0, 0).equal(clips(0, 0))
    assert not clips(0, 0).equal(clips(1, 0))
    assert not clips(0, 0).equal(clips(0, 1))


def test_workers_read_the_same_clips_and_hear_of_a_new_epoch(root):
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this test's workers are forked")
    data = VideoFolder(root, SIZE, FRAMES, sampling="random")
    options = dict(batch_size=3, multiprocessing_context="fork", num_workers=2, persistent_workers=True)
    loader = DataLoader(data, **options)
    for epoch in (0, 1):
        data.set_epoch(epoch)
        alone = torch.stack([data[i]["video"] for i in range(len(data))])
        assert torch.cat([batch["video"] for batch in loader]).equal(alone)


# ---------------------------------------------------------------- names that look alike, places that differ


def small(folder: Path, **options) -> VideoFolder:
    return VideoFolder(folder, SIZE, FRAMES, cache=None, **options)


def test_an_accent_is_one_letter_however_a_system_stores_it(tmp_path):
    for name in ("caf\u00e9", "cafe\u0301"):
        write_frames(tmp_path / name / f"zo{name[3:]}" / f"clip{len(name)}", grey_clip(FRAMES))
    data = small(tmp_path)
    assert len(data) == 2 and data.labels == ("caf\u00e9",) and data.subjects == ("zo\u00e9",)
    (tmp_path / "clips.csv").write_text(
        "path,label,subject,split\n"
        "caf\u00e9/zo\u00e9/clip4,wave,zo\u00eb,train\ncafe\u0301/zoe\u0301/clip5,wave,zoe\u0308,test\n",
        encoding="utf-8",
    )
    with pytest.raises(ValueError, match="is in two splits"):
        small(tmp_path)


def test_columns_of_a_table_may_have_capitals_and_are_there_once(root):
    table = root / "clips.csv"
    table.write_text("Path,Label,Subject,Split\nwave/film.gif,a,p,train\nsit/film.gif,b,q,test\n")
    assert names(small(root, split="test")) == ["sit/film.gif"]
    table.write_text("path,label,Label\nwave/film.gif,a,b\n")
    with pytest.raises(ValueError, match="column 'label' is there twice"):
        small(root)


def test_splits_are_the_same_from_every_working_folder(root, monkeypatch):
    lists = root / "lists"
    lists.mkdir()
    clips = [f"{label}/{clip}" for label in ("wave", "jump", "sit") for clip in ("film.mp4", "frames")]
    (lists / "a.csv").write_text("path,label\n" + "".join(f"{root}/{clip},x\n" for clip in clips))

    def split_from(folder, given, table):
        monkeypatch.chdir(folder)
        return {os.path.realpath(clip.path) for clip in small(given, split="train", table=table).clips}

    here = split_from(root, ".", "lists/a.csv")
    assert here == split_from(root.parent, root.name, lists / "a.csv") == split_from(lists, root, "a.csv")


def test_pictures_that_are_left_out_are_named(root):
    write_gif(root / "wave" / "frames" / "preview.GIF", grey_clip(FRAMES))
    with pytest.warns(UserWarning, match=r"pictures beside films or folders are left out.*wave/frames/0\.png"):
        assert "wave/frames/preview.GIF" in names(small(root))


def test_a_stack_of_pictures_in_one_file_is_no_frame(root):
    pages = [Image.new("L", (SIZE, SIZE), 9 * i) for i in range(FRAMES)]
    pages[0].save(root / "wave" / "stack.tif", save_all=True, append_images=pages[1:])
    with pytest.warns(UserWarning, match=r"films of kinds that are not read are left out.*wave/stack\.tif"):
        small(root)
    thumbnail = pages[1].resize((4, 4))
    pages[0].save(root / "wave" / "frames" / "12.tif", save_all=True, append_images=[thumbnail])
    (root / "wave" / "stack.tif").unlink()
    assert {clip.frames for clip in small(root).clips if clip.path == root / "wave" / "frames"} == {13}


def test_folders_that_may_be_one_persons_are_named(tmp_path):
    for session in ("monday", "friday"):
        write_frames(tmp_path / "wave" / "ann" / session / "clip", grey_clip(FRAMES))
    with pytest.warns(UserWarning, match="several levels count as one person each.*ann/friday, ann/monday"):
        small(tmp_path)


def test_a_film_of_the_same_size_and_time_is_counted_anew(tmp_path):
    film, other = tmp_path / "mine" / "wave" / "a.gif", tmp_path / "other.gif"
    write_gif(film, grey_clip(FRAMES))
    write_gif(other, grey_clip(FRAMES, 0.1))
    size = max(film.stat().st_size, other.stat().st_size)
    for path in (film, other):
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
        os.utime(path, (1e9, 1e9))
    options = {"cache": tmp_path / "cache"}
    before = VideoFolder(tmp_path / "mine", SIZE, FRAMES, **options)[0]["video"].mean()
    shutil.copy2(other, film)
    assert VideoFolder(tmp_path / "mine", SIZE, FRAMES, **options)[0]["video"].mean() < before - 0.3
