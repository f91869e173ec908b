"""The paper's data sets and its preprocessing: what lies outside the stored examples."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lfdm_lite.cli import main
from lfdm_lite.data import MHAD, MUG, NATOPS, VideoFolder
from lfdm_lite.data.folders.video_folder import frame_indices
from lfdm_lite.data.paper import prepare as preparing
from lfdm_lite.data.paper.facts import FACTS
from lfdm_lite.data.paper.films import LABELS, frame_pair, letterbox
from lfdm_lite.data.paper.layouts import read_segmentation, survey
from lfdm_lite.data.paper.prepare import prepare, write_lossless
from lfdm_lite.files.locks import FolderInUse, hold_folder
from lfdm_lite.files.media import MediaError, iterate_frames

SIZE = 32


@pytest.fixture(autouse=True)
def plain_errors(monkeypatch):
    monkeypatch.delenv("LFDM_DEBUG", raising=False)


# ---------------------------------------------------------------- small trees of each layout


def write_avi(path: Path, frames: list[np.ndarray], codec: str = "mpeg4", pixels: str = "yuv420p") -> None:
    """A film, almost without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream(codec, rate=20)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pixels
        stream.options = {"qscale": "1"}
        for values in frames:
            frame = av.VideoFrame.from_ndarray(values, format="rgb24")
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode())


def write_take(folder: Path, count: int, grey: int = 100) -> None:
    """A take of MUG: pictures, and the film that lies beside them."""
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(np.full((30, 40, 3), grey + i, np.uint8)).save(folder / f"img_{i:04d}.jpg", quality=95)
    (folder / "take.avi").write_bytes(b"not looked at")


def mug_tree(root: Path) -> Path:
    """Subjects of train (008), val (084), test (001, and 002 in sessions), and one whom the paper leaves out (005)."""
    for subject in ("001", "002/session0", "002/session1", "005", "008", "084"):
        for expression in ("anger", "surprise"):
            for take in range(1 + (subject == "008")):
                write_take(root / "subjects3" / subject / expression / f"take{take:03d}", 3 + take)
    (root / "readme.txt").write_text("not a clip")
    return root


def mhad_tree(root: Path) -> Path:
    """Three subjects, two actions, four trials; the strip that the paper keeps is white, the rest blue."""
    pixels = np.zeros((480, 640, 3), np.uint8)
    pixels[..., 2], pixels[:, 156:492] = 255, 255
    for subject in (1, 4, 5):
        for action in (1, 27):
            for trial in range(1, 5):
                write_avi(root / "RGB" / f"a{action}_s{subject}_t{trial}_color.avi", [pixels] * 3)
    (root / "Depth").mkdir()
    (root / "Depth" / "a1_s1_t1_depth.mat").write_bytes(b"not looked at")
    return root


CUTS = {repeat: (3 * repeat - 1, 3 * repeat + 1) for repeat in range(1, 21)}  # frames from 1, the last included


def natops_tree(root: Path) -> Path:
    """Two gestures of three subjects; frame i is 40 + 3 * i bright, and its border, which the paper cuts off, white."""
    frames = []
    for i in range(62):
        pixels = np.full((240, 320, 3), 255, np.uint8)
        pixels[10:239, 30:290] = 40 + 3 * i
        frames.append(pixels)
    films = [(gesture, subject) for gesture in (1, 24) for subject in (2, 3, 20)]
    first = root / "data" / "gesture01" / "g01s02.avi"
    write_avi(first, frames, "mjpeg", "yuvj420p")
    for gesture, subject in films:
        path = root / "data" / f"gesture{gesture:02d}" / f"g{gesture:02d}s{subject:02d}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path != first:
            shutil.copy(first, path)
    shutil.copy(first, first.with_name("g01s02m.avi"))  # a mask
    lines = ["// The format of this file is explained here", ""]
    for subject in (1, 2, 3, 20):
        lines.append(f"// Subject {subject}")
        for gesture in (1, 24):
            lines += [f"{subject},{gesture},20", *(f"{n}:{a},{b}" for n, (a, b) in CUTS.items()), ""]
    (root / "data" / "segmentation.txt").write_text("\r\n".join(lines))
    return root


TREES = {"mug": mug_tree, "mhad": mhad_tree, "natops": natops_tree}
CLASSES = {"mug": MUG, "mhad": MHAD, "natops": NATOPS}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return {name: tree(tmp_path_factory.mktemp("trees") / name) for name, tree in TREES.items()}


@pytest.fixture(scope="module")
def prepared(trees, tmp_path_factory):
    made = {}
    for name, tree in trees.items():
        made[name] = tmp_path_factory.mktemp("prepared") / name
        prepare(survey(name, tree), made[name], SIZE)
    return made


@pytest.fixture
def mug(trees, tmp_path):
    """A tree that may be spoilt."""
    return shutil.copytree(trees["mug"], tmp_path / "mug")


def rows(root: Path) -> list[dict[str, str]]:
    with open(root / "clips.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def films(root: Path) -> dict[str, int]:
    """Clips that are there, and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in root.rglob("*.mkv")}


def fails(capsys, *arguments: object) -> str:
    """The one line on stderr of a preparation that must end with 2."""
    assert main(["data", "prepare", *map(str, arguments)]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lfdm")]
    assert len(said) == 1, said
    return said[0]


# ---------------------------------------------------------------- facts


@pytest.mark.parametrize("name", FACTS)
def test_nobody_is_in_two_splits_and_every_class_has_its_text(name):
    facts = FACTS[name]
    assert not set(facts.train) & set(facts.test) and set(facts.val) < set(facts.train)
    assert len(set(facts.labels)) == len(facts.labels) == len(LABELS[name])
    assert facts.texts[facts.labels[-1]] == LABELS[name][-1]


def test_one_training_subject_in_ten_is_held_out():
    assert {name: facts.val for name, facts in FACTS.items()} == {"mug": (77, 83, 84), "mhad": (5,), "natops": (20,)}


@pytest.mark.parametrize("name, takes", [("mhad", 861), ("natops", 19 * 24 * 20)])
def test_what_a_set_should_hold_adds_up(name, takes):
    facts = FACTS[name]
    count = {s: sum(len(facts.expected(i, s)) for i in range(len(facts.labels))) for s in facts.train + facts.test}
    assert sum(count.values()) == takes
    assert sum(count[subject] for subject in facts.train) == facts.training_takes


# ---------------------------------------------------------------- what is prepared


def test_clips_carry_the_split_of_their_subject(prepared):
    split = {name: {(row["subject"], row["split"]) for row in rows(root)} for name, root in prepared.items()}
    assert split["mug"] == {("001", "test"), ("002", "test"), ("008", "train"), ("084", "val")}
    assert split["mhad"] == {("1", "train"), ("5", "val"), ("4", "test")}
    assert split["natops"] == {("03", "train"), ("20", "val"), ("02", "test")}


def test_every_take_is_there_once(prepared):
    counts = {name: Counter(row["label"] for row in rows(root)) for name, root in prepared.items()}
    assert counts["mug"] == {"anger": 5, "surprise": 5}
    assert counts["mhad"] == {"swipe left": 12, "squat": 12}
    assert counts["natops"] == {"I Have Command": 60, "Cut Engine": 60}
    for name, root in prepared.items():
        assert all((root / row["path"]).is_file() for row in rows(root))
        assert len(films(root)) == sum(counts[name].values())


@pytest.mark.parametrize("name", CLASSES)
def test_items_are_as_everywhere(prepared, name):
    data = CLASSES[name](prepared[name], "all", SIZE, num_frames=3)
    for i in (0, len(data) - 1):
        item = data[i]
        assert item["video"].shape == (3, 3, SIZE, SIZE) and item["video"].dtype == torch.float32
        assert 0 <= item["video"].min() and item["video"].max() <= 1
        assert data.labels[item["label"]] == item["label_name"] and item["subject"] in data.subjects
    assert data[-1]["label"] == len(data.labels) - 1 and data[0]["label"] == 0
    assert len(data.labels) == len(LABELS[name])
    with pytest.raises(IndexError, match=f"of {len(data)}"):
        data[len(data)]


def test_splits_hold_the_papers_subjects(prepared):
    people = {split: MUG(prepared["mug"], split, SIZE, 3).subjects for split in ("train", "val", "trainval", "test")}
    assert people == {"train": (8,), "val": (84,), "trainval": (8, 84), "test": (1, 2)}
    data = MUG(prepared["mug"], "trainval", SIZE, 3)
    assert {data[i]["subject"] for i in range(len(data))} == {8, 84} and len(data) == 6


def test_published_label_texts_are_those_of_converted_checkpoints(prepared):
    short, long = (MHAD(prepared["mhad"], "test", SIZE, 3, published=published) for published in (False, True))
    assert short[0]["label_name"] == "swipe left" and long[0]["label_name"] == "right arm swipe to the left"
    assert short[0]["label"] == long[0]["label"] and long.labels == LABELS["mhad"]


def test_random_frames_differ_from_epoch_to_epoch(prepared):
    data = NATOPS(prepared["natops"], "train", SIZE, num_frames=40, sampling="very_random", seed=3)
    first, again = data[0]["video"], data[0]["video"]
    assert torch.equal(first, again)
    data.set_epoch(1)
    assert not torch.equal(first, data[0]["video"])


def test_video_folder_reads_a_prepared_set(prepared):
    data = VideoFolder(prepared["mhad"], SIZE, 3, split="test")
    assert data.labels == ("squat", "swipe left") and {clip.subject for clip in data.clips} == {"4"}


def test_prepared_frames_are_the_papers_to_the_last_bit(trees, prepared):
    source = trees["mhad"] / "RGB" / "a27_s4_t2_color.avi"
    expected = [letterbox(frame.permute(1, 2, 0).numpy()[:480, 156:492], SIZE) for frame in iterate_frames(source)]
    data = MHAD(prepared["mhad"], "test", SIZE, num_frames=3)
    found = next(data[i] for i, clip in enumerate(data.clips) if clip.path.stem == "a27_s4_t2")["video"]
    assert torch.equal((found * 255).round().byte(), torch.from_numpy(np.stack(expected)).permute(3, 0, 1, 2))


def test_utd_mhad_keeps_the_strip_in_which_people_move(prepared):
    video = MHAD(prepared["mhad"], "test", SIZE, num_frames=2)[0]["video"]
    assert not video[..., :5].any() and not video[..., 27:].any()  # 336 of 480 become 22 of 32, between black bars
    assert (video[..., 6:26] > 0.97).all()  # white: nothing of the blue around it


def test_natops_films_are_cut_where_the_list_says(prepared):
    data = NATOPS(prepared["natops"], "train", SIZE, num_frames=3)
    for i, clip in enumerate(data.clips):
        first, last = CUTS[int(clip.path.stem[-2:])]
        centre = data[i]["video"][:, :, SIZE // 2, SIZE // 2].mean(dim=0) * 255
        assert ((centre - 39) / 3).round().tolist() == list(range(first - 1, last))


def test_natops_films_lose_their_border(prepared):
    video = NATOPS(prepared["natops"], "test", SIZE, num_frames=3)[0]["video"]
    top, height = 2, 28  # 229 of 260 rows become 28 of 32, between black bars
    assert not video[:, :, :top].any() and not video[:, :, top + height :].any()
    inside = video[:, :, top : top + height]
    assert (inside - inside[:, :, 9:10, 9:10]).abs().max() < 0.04


def test_a_lossless_film_gives_back_every_bit(tmp_path):
    frames = list(np.random.default_rng(0).integers(0, 256, (4, 20, 24, 3), dtype=np.uint8))
    write_lossless(tmp_path / "new" / "noise.mkv", frames, fps=20)
    back = [frame.permute(1, 2, 0).numpy() for frame in iterate_frames(tmp_path / "new" / "noise.mkv")]
    assert np.array_equal(back, frames)


# ---------------------------------------------------------------- what is said


def test_counts_are_held_against_what_the_set_should_hold(trees):
    text = survey("mhad", trees["mhad"]).text()
    assert re.search(r"^swipe left +4/12 +4/4 +4/16$", text, re.M) and "UTD-MHAD: 24 clips by 3 of 8 subjects" in text
    assert re.search(r"^all +8/323 +8/108 +8/430$", text, re.M)
    assert "train and val: 16 clips; the paper's training set has 431" in text


def test_missing_files_are_named(trees, tmp_path):
    tree = shutil.copytree(trees["mhad"], tmp_path / "tree")
    (tree / "RGB" / "a27_s4_t3_color.avi").unlink()
    missing = survey("mhad", tree).missing
    assert "a27_s4_t3_color.avi" in missing and "all of subjects 2, 3, 6, 7, 8" in missing
    assert "all of class 3, 'wave'" in missing
    assert len(missing) == 1 + 1 + 25  # no line for every file where a subject or a class is missing as a whole


def test_missing_films_and_missing_cuts_are_named(trees, tmp_path):
    tree = shutil.copytree(trees["natops"], tmp_path / "tree")
    (tree / "data" / "gesture24" / "g24s03.avi").unlink()
    listed = tree / "data" / "segmentation.txt"
    listed.write_text(listed.read_text().replace("2,1,20\n1:2,4\n2:5,7\n", "2,1,20\n1:2,4\n", 1))
    found = survey("natops", tree)
    assert "g24s03.avi, or its cuts in segmentation.txt (20 clips)" in found.missing
    assert "segmentation.txt: subject 2, gesture 1, repetition 2" in found.missing
    assert len(found.takes) == 120 - 20 - 1


def test_what_the_paper_does_not_use_is_named_and_left_out(trees, tmp_path):
    unused = survey("mug", trees["mug"]).unused
    assert any("subject 005: 2 clips" in line for line in unused)
    assert any("subject 002, session1" in line and "2 takes" in line for line in unused)
    tree = shutil.copytree(trees["mhad"], tmp_path / "tree")
    for name in ("a8_s1_t4", "a28_s1_t1"):
        shutil.copy(tree / "RGB" / "a1_s1_t1_color.avi", tree / "RGB" / f"{name}_color.avi")
    found = survey("mhad", tree)
    assert len(found.takes) == 24 and len(found.unused) == 2
    assert any("removed as damaged" in line for line in found.unused)


def test_a_take_that_is_there_twice_is_taken_once(mug):
    shutil.copytree(mug / "subjects3" / "001", mug / "subjects3" / "copy" / "001")
    found = survey("mug", mug)
    assert len(found.takes) == 10 and len(found.doubled) == 2 and "001_anger_take000" in found.doubled[0]


def test_the_folder_may_be_given_from_above_or_from_within(mug):
    (mug / "subjects3" / "circle").symlink_to(mug, target_is_directory=True)
    names = {root: [t.name for t in survey("mug", root).takes] for root in (mug.parent, mug, mug / "subjects3")}
    assert len(set(map(tuple, names.values()))) == 1 and len(names[mug]) == 10
    assert [take.name for take in survey("mug", mug / "subjects3" / "001").takes] == [
        "001_anger_take000",
        "001_surprise_take000",
    ]


@pytest.mark.parametrize("name", FACTS)
def test_a_wrong_folder_is_told_what_is_expected(name, trees, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.jpg").write_bytes(b"")
    said = fails(capsys, name, tmp_path / "mine", tmp_path / "out")
    assert FACTS[name].layout in said and FACTS[name].home in said and "1 .jpg" in said
    assert not (tmp_path / "out").exists()
    assert "not there" in fails(capsys, name, tmp_path / "nowhere", tmp_path / "out")
    other = {"mug": "mhad", "mhad": "natops", "natops": "mug"}[name]
    assert f"lfdm data prepare {other}" in fails(capsys, name, trees[other], tmp_path / "out")


def test_an_archive_must_be_unpacked_first(tmp_path):
    (tmp_path / "RGB.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"unpack RGB\.zip first"):
        survey("mhad", tmp_path)


def test_natops_needs_its_list_of_cuts(trees, tmp_path):
    with pytest.raises(ValueError, match=r"3 films of NATOPS .* but no segmentation\.txt"):
        survey("natops", trees["natops"] / "data" / "gesture24")
    for text, said in (
        ("1:1,20\n", "below a line SUBJECT"),
        ("1,1,20\n1:9,2\n", "'1:9,2' is no cut"),
        ("//", "no cuts"),
    ):
        (tmp_path / "segmentation.txt").write_text(text)
        with pytest.raises(ValueError, match=said):
            read_segmentation(tmp_path / "segmentation.txt")


SPANS = st.tuples(st.integers(1, 5000), st.integers(0, 200)).map(lambda span: (span[0], sum(span)))
FILMS = st.tuples(st.integers(1, 20), st.integers(1, 24))
GESTURES = st.dictionaries(FILMS, st.dictionaries(st.integers(1, 20), SPANS), min_size=1)


@given(GESTURES, st.sampled_from(["\n", "\r\n"]))
def test_cuts_are_read_as_they_were_written(tmp_path_factory, gestures, end):
    path = tmp_path_factory.getbasetemp() / "segmentation.txt"
    lines = []
    for (subject, gesture), cuts in gestures.items():
        lines += [f"// Subject {subject}", f"{subject},{gesture},{len(cuts)}"]
        lines += [f"{repeat}:{first},{last}" for repeat, (first, last) in cuts.items()] + [""]
    path.write_bytes(end.join(lines).encode())
    expected = {key: {n: range(a - 1, b) for n, (a, b) in cuts.items()} for key, cuts in gestures.items()}
    assert read_segmentation(path) == expected


# ---------------------------------------------------------------- going on, and what is broken


def test_only_what_is_missing_is_made_again(mug, tmp_path, capsys):
    assert main(["data", "prepare", "mug", str(mug), str(tmp_path / "out"), "--size", str(SIZE)]) == 0
    before = films(tmp_path / "out")
    lost = next((tmp_path / "out").rglob("001_surprise_take000.mkv"))
    lost.unlink()
    assert main(["data", "prepare", "mug", str(mug), str(tmp_path / "out"), "--size", str(SIZE)]) == 0
    after = films(tmp_path / "out")
    assert "1 clips written, 9 were there" in capsys.readouterr().out
    assert {name for name in after if after[name] != before.get(name)} == {lost.name} and len(after) == 10


def test_parts_of_a_set_may_come_one_after_the_other(trees, tmp_path):
    for gesture in ("gesture01", "gesture24"):
        part = shutil.copytree(trees["natops"] / "data" / gesture, tmp_path / gesture)
        shutil.copy(trees["natops"] / "data" / "segmentation.txt", part)
        prepare(survey("natops", part), tmp_path / "out", SIZE)
    assert len(rows(tmp_path / "out")) == 120


@pytest.mark.parametrize("workers", [1, 3])
def test_after_an_interruption_all_clips_are_whole_and_the_rest_follows(mug, tmp_path, monkeypatch, capsys, workers):
    whole, made = preparing.write_atomically, []

    def interrupted(path, write):
        if path.suffix == ".mkv":
            made.append(path)
            if len(made) == 4:
                raise KeyboardInterrupt
        whole(path, write)

    arguments = ["data", "prepare", "mug", str(mug), str(tmp_path / "out"), f"--size={SIZE}", f"--workers={workers}"]
    with monkeypatch.context() as patch:
        patch.setattr(preparing, "write_atomically", interrupted)
        assert main(arguments) == 130
    assert 3 <= len(films(tmp_path / "out")) < 10 and not list((tmp_path / "out").rglob(".*.tmp"))
    with pytest.raises(ValueError, match="did not come to its end"):
        MUG(tmp_path / "out", "all", SIZE, 3)
    assert main(arguments) == 0 and len(MUG(tmp_path / "out", "all", SIZE, 3)) == 10


KILLED = """
import os, signal, sys
from lfdm_lite.data.paper import prepare as preparing
from lfdm_lite.data.paper.layouts import survey

whole, made = preparing.write_atomically, []

def killed(path, write):
    def half(temporary):
        write(temporary)
        made.append(path)
        if len(made) == 4:
            os.truncate(temporary, 100)
            os.kill(os.getpid(), signal.SIGKILL)
    whole(path, half)

preparing.write_atomically = killed
preparing.prepare(survey("mug", sys.argv[1]), sys.argv[2], 32, workers=1)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_killed_preparation_leaves_no_half_clip(mug, tmp_path):
    root = Path(preparing.__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(mug), str(tmp_path / "out")]
    ended = subprocess.run(command, cwd=root, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    there = list((tmp_path / "out").rglob("*.mkv"))
    assert len(there) == 3 and all(len(list(iterate_frames(path))) >= 3 for path in there)
    assert len(list((tmp_path / "out").rglob(".*.tmp"))) == 1
    done = prepare(survey("mug", mug), tmp_path / "out", SIZE)
    assert (done.written, done.kept) == (7, 3) and not list((tmp_path / "out").rglob(".*.tmp"))


def test_two_preparations_into_one_folder_do_not_meet(mug, tmp_path):
    with hold_folder(tmp_path / "dst"), pytest.raises(FolderInUse, match="dst is in use by process"):
        prepare(survey("mug", mug), tmp_path / "dst", SIZE)
    assert prepare(survey("mug", mug), tmp_path / "dst", SIZE).written
    assert not list((tmp_path / "dst").glob(".*"))


def test_an_empty_film_is_made_again(mug, tmp_path):
    first = prepare(survey("mug", mug), tmp_path / "dst", SIZE)
    film = next((tmp_path / "dst").glob("*/*/*.mkv"))
    frames = [frame.tolist() for frame in iterate_frames(film)]
    film.write_bytes(b"")
    second = prepare(survey("mug", mug), tmp_path / "dst", SIZE)
    assert (second.written, second.kept) == (1, first.written - 1)
    assert [frame.tolist() for frame in iterate_frames(film)] == frames


@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000, '{"set": "mug"}', '{"set": 1, "size": "x"}'])
def test_a_damaged_manifest_is_one_line(tmp_path, content):
    (tmp_path / "prepared.json").write_text(content)
    with pytest.raises(ValueError, match="prepared.json is damaged .*; prepare the set anew") as caught:
        MUG(tmp_path)
    assert "\n" not in str(caught.value)


def test_broken_clips_are_named_and_left_out(mug, tmp_path, capsys):
    picture = mug / "subjects3" / "008" / "anger" / "take001" / "img_0002.jpg"
    picture.write_bytes(picture.read_bytes()[:200])
    out = tmp_path / "out"
    assert main(["data", "prepare", "mug", str(mug), str(out), "--size", str(SIZE)]) == 1
    said = capsys.readouterr().out
    assert "008_anger_take001" in said and "img_0002.jpg" in said and "9 clips written" in said
    assert len(films(out)) == len(rows(out)) == 9 and "img_0002.jpg" in (out / "report.txt").read_text()
    assert len(MUG(out, "all", SIZE, 3)) == 9
    with pytest.raises(MediaError, match="008_anger_take001"):
        whole = survey("mug", mug)
        prepare(type(whole)(whole.facts, whole.root, whole.takes, (), (), ()), tmp_path / "other", SIZE, strict=True)


def test_a_film_that_was_cut_short_is_broken(trees, tmp_path):
    tree = shutil.copytree(trees["mhad"], tmp_path / "tree")
    film = tree / "RGB" / "a1_s5_t2_color.avi"
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    write_avi(tree / "RGB" / "a1_s5_t3_color.avi", [np.zeros((48, 64, 3), np.uint8)] * 3)
    done = prepare(survey("mhad", tree), tmp_path / "out", SIZE)
    assert set(done.broken) == {"a1_s5_t2", "a1_s5_t3"} and done.written == 22
    assert (
        "damaged or cut short" in done.broken["a1_s5_t2"]
        and "64x48 pixels, expected 640x480" in done.broken["a1_s5_t3"]
    )


def test_cuts_behind_the_end_of_a_film_are_broken(trees, tmp_path):
    tree = shutil.copytree(trees["natops"], tmp_path / "tree")
    listed = tree / "data" / "segmentation.txt"
    listed.write_text(listed.read_text().replace("20:59,61", "20:59,99"))
    done = prepare(survey("natops", tree), tmp_path / "out", SIZE)
    assert len(done.broken) == 6 and done.written == 114
    assert "ends before the clip does" in done.broken["g01s02p20"]


def test_strict_refuses_an_incomplete_set_before_anything_is_written(mug, tmp_path, capsys):
    said = fails(capsys, "mug", mug, tmp_path / "out", "--strict")
    assert "missing" in said and "006, 007" in said and not (tmp_path / "out").exists()


# ---------------------------------------------------------------- folders of something else


def test_a_folder_of_something_else_is_refused(trees, prepared, tmp_path, capsys):
    said = fails(capsys, "mug", trees["mug"], prepared["mhad"], "--size", SIZE)
    assert "holds mhad of 32 pixels, not mug of 32" in said
    assert "holds mug of 32 pixels, not mug of 64" in fails(capsys, "mug", trees["mug"], prepared["mug"], "--size=64")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    assert "is not empty" in fails(capsys, "mug", trees["mug"], tmp_path / "full")
    assert "is a file" in fails(capsys, "mug", trees["mug"], tmp_path / "full" / "thesis.txt")
    assert "which is read" in fails(capsys, "mug", trees["mug"], trees["mug"] / "out")
    assert "size is 8" in fails(capsys, "mug", trees["mug"], tmp_path / "out", "--size", 8)
    assert not (tmp_path / "out").exists()


def test_a_set_that_is_not_prepared_is_told_how(trees, tmp_path):
    with pytest.raises(ValueError, match=r"has no prepared\.json.*lfdm data prepare mug SRC DST"):
        MUG(trees["mug"])
    with pytest.raises(ValueError, match=r"is not there"):
        NATOPS(tmp_path / "nowhere")


def test_impossible_wishes_are_refused(prepared, tmp_path):
    with pytest.raises(ValueError, match="holds mug, not mhad"):
        MHAD(prepared["mug"])
    with pytest.raises(ValueError, match="split 'training' is not one of: train, val"):
        MUG(prepared["mug"], "training")
    with pytest.raises(ValueError, match="frames of 32x32 pixels"):
        MUG(prepared["mug"], "train")
    part = shutil.copytree(prepared["mug"], tmp_path / "part")
    made = json.loads((part / "prepared.json").read_text())
    (part / "prepared.json").write_text(json.dumps(made | {"clips": {"train": 4, "val": 0, "test": 4}}))
    with pytest.raises(ValueError, match=r"no clips of split 'val' \(it has: train 4, val 0"):
        MUG(part, "val", SIZE)
    (part / "prepared.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        MUG(part, "train", SIZE)


# ---------------------------------------------------------------- which frames

SAMPLED = {  # by the authors' loaders, with numpy's legacy generator seeded 1234
    ("uniform", 57): """0 1 2 4 5 7 8 10 11 12 14 15 17 18 20 21 22 24 25 27 28 30 31 33 34 35 37 38 40 41 43 44 45 47
        48 50 51 53 54 56""",
    ("random", 57): """0 1 3 4 5 7 8 9 11 12 14 16 17 19 20 21 22 23 26 26 28 29 31 32 34 35 36 38 39 42 42 44 46 47 48
        49 52 52 54 56""",
    ("very_random", 57): """0 3 3 5 9 11 11 12 12 15 16 16 19 23 24 26 26 28 30 30 34 37 38 38 39 41 41 43 44 47 47 48
        48 49 50 52 53 54 54 56""",
    ("uniform", 20): "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18" + 21 * " 19",
    ("very_random", 20): """0 1 2 2 3 3 5 5 6 6 7 7 9 9 9 10 11 11 11 11 11 12 12 12 12 14 15 15 15 16 16 16 16 17 17
        18 19 19 19 19""",
}


@pytest.mark.parametrize("mode, length", SAMPLED)
def test_frames_are_sampled_as_the_authors_sample_them(mode, length):
    expected = [int(i) for i in SAMPLED[mode, length].split()]
    assert frame_indices(length, 40, mode, np.random.RandomState(1234)) == expected


# ---------------------------------------------------------------- one image, one pair


def test_a_wide_image_gets_black_bars_above_and_below():
    out = letterbox(np.full((20, 40, 3), 255, np.uint8), 32)
    assert out.shape == (32, 32, 3) and out.dtype == np.uint8
    assert (out[8:24] == 255).all() and not out[:8].any() and not out[24:].any()


def test_odd_padding_is_larger_at_the_bottom():
    out = letterbox(np.ones((15, 32, 3), np.float32), 32)
    assert not out[:8].any() and (out[8:23] == 1).all() and not out[23:].any()


@pytest.mark.parametrize("shape, size", [((10, 10, 3), 0), ((1, 100, 3), 32)])
def test_a_size_that_does_not_fit_is_named(shape, size):
    with pytest.raises(ValueError, match=f"size={size}"):
        letterbox(np.zeros(shape, np.uint8), size)


def test_without_opencv_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"pip install .*train"):
        letterbox(np.zeros((8, 8, 3), np.uint8), 8)


def test_a_pair_is_ordered_and_may_repeat_a_frame():
    rng = np.random.RandomState(0)
    pairs = [frame_pair(3, rng) for _ in range(200)]
    assert all(0 <= a <= b < 3 for a, b in pairs) and {(0, 0), (0, 2), (1, 2)} <= set(pairs)
