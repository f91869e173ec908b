"""`lfdm data export` and `preview`: what is written is whole, goes on after an interruption, and reads back."""

import csv
from pathlib import Path

import pytest
import torch

from lfdm_lite.cli import main
from lfdm_lite.commands import export as export_module
from lfdm_lite.data import PROCEDURAL, VideoFolder
from lfdm_lite.files.locks import hold_folder
from lfdm_lite.files.media import MediaError, read_image, read_video

SIZE, FRAMES = 32, 4


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LFDM_DEBUG", raising=False)
    return tmp_path


CLIPS = f"--size {SIZE} --num-frames {FRAMES}"


def run(arguments: str, status: int = 0) -> None:
    assert main(["data", *arguments.split()]) == status


def export(more: str = "", name: str = "faces", clips: int = 2, status: int = 0) -> None:
    run(f"export {name} --clips {clips} {CLIPS} --out clips {more}", status)


def files(folder: str = "clips") -> dict[str, tuple[int, bytes]]:
    """The time and content of every file."""
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def made(name: str = "faces", clips: int = 2):
    return PROCEDURAL[name]("train", size=SIZE, num_frames=FRAMES, length=clips)


# ---------------------------------------------------------------- export


@pytest.mark.parametrize("name", list(PROCEDURAL))
def test_every_procedural_set_is_exported_with_its_flow_and_reads_back(name):
    export("--flow kitti", name)
    back, truth = VideoFolder("clips", SIZE, FRAMES, with_flow=True), made(name)
    assert len(back) == 2
    for i in range(2):
        got, expected = back[i], truth[i]
        assert got["label_name"] == expected["label_name"]
        assert back.subjects[got["subject"]] == str(expected["subject"])
        assert (got["video"] - expected["video"]).abs().mean() < 0.03
        torch.testing.assert_close(got["flow"], expected["flow"], atol=0.5 / 64 * 2 / SIZE + 1e-5, rtol=0)
        assert got["visible"].equal(expected["visible"])


@pytest.mark.parametrize("flow", ["npz", "flo", "kitti"])
def test_flow_of_every_format_follows_the_sampled_frames_at_another_size(flow):
    export(f"--flow {flow}", clips=1)
    for sampling in ("uniform", "very_random"):
        item = VideoFolder("clips", 16, 3, sampling=sampling, with_flow=True)[0]
        assert item["flow"].shape == (2, 3, 16, 16) and item["visible"].shape == (1, 3, 16, 16)
        assert item["flow"][:, 0].abs().max() < 1e-6 and item["visible"][:, 0].min() == 1, "frame 0 is itself"
    even = VideoFolder("clips", SIZE, 2, with_flow=True)[0]
    torch.testing.assert_close(even["flow"][:, 1], made()[0]["flow"][:, -1], atol=0.001, rtol=0)


def test_flow_is_no_clip_even_without_the_table():
    export("--flow kitti")
    Path("clips/clips.csv").unlink()
    assert len(VideoFolder("clips", SIZE, FRAMES)) == 2


def test_clips_without_motion_are_named_or_left_out_where_it_is_asked_for():
    export("--flow flo", clips=1)
    export("--flow none", clips=2)
    with pytest.raises(MediaError, match="1 of 2 clips.*\n.*train_00001.mp4: no flow and visibility beside it"):
        VideoFolder("clips", SIZE, FRAMES, with_flow=True)
    with pytest.warns(UserWarning, match="train_00001.mp4: no flow"):
        assert len(VideoFolder("clips", SIZE, FRAMES, with_flow=True, on_error="skip")) == 1
    assert "flow" not in VideoFolder("clips", SIZE, FRAMES)[0]


def test_a_second_export_writes_only_what_is_missing(monkeypatch):
    export("--flow flo")
    before = files()
    films = sorted(name for name in before if name.endswith(".mp4"))
    Path(films[0]).unlink()
    drawn = []
    kind = PROCEDURAL["faces"]
    draw = kind.__getitem__
    monkeypatch.setattr(kind, "__getitem__", lambda self, index: drawn.append(index) or draw(self, index))
    export("--flow flo", clips=3)
    after = files()
    assert len(drawn) == 2, "one was missing, one is new"
    untouched = set(before) - {films[0], "clips/clips.csv", "clips/export.json"}
    assert all(after[name] == before[name] for name in untouched)
    assert after[films[0]][1] == before[films[0]][1]
    with open("clips/clips.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 3


def test_an_interrupted_export_leaves_nothing_half_and_goes_on(monkeypatch):
    export("--flow kitti", clips=3)
    whole = {name: content for name, (_, content) in files().items()}
    write_one, write_all = export_module.write_clip, export_module.write_folder

    def stop(folder, maps, suffix, write):
        def until_the_third(path, values):
            if path.stem == "002":
                raise KeyboardInterrupt
            write(path, values)

        write_all(folder, maps, suffix, until_the_third)

    def second(film, item, fps, flow):
        if "00001" in film.name:
            export_module.write_folder = stop
        write_one(film, item, fps, flow)

    Path("clips").rename("first")
    with monkeypatch.context() as patched:
        patched.setattr(export_module, "write_clip", second)
        patched.setattr(export_module, "write_folder", write_all)  # so that it is put back after `stop`
        export("--flow kitti", clips=3, status=130)
        assert export_module.write_folder is stop
    left = {name: content for name, (_, content) in files().items()}
    assert {name for name in left if "00000" in name} == {name for name in whole if "00000" in name}
    assert not [name for name in left if "00001" in name or "00002" in name]
    assert [name for name in Path("clips").rglob(".*")] == []
    assert len(VideoFolder("clips", SIZE, FRAMES)) == 1, "the table lists what is there"
    export("--flow kitti", clips=3)
    assert {name: content for name, (_, content) in files().items()} == whole


def test_clips_made_otherwise_are_not_mixed(capsys):
    export()
    before = files()
    capsys.readouterr()
    for more, said in (("--seed 1", "seed 0, now 1"), ("--fps 4", "fps 8.0, now 4.0")):
        export(more, status=2)
        message = capsys.readouterr().err
        assert "holds 'train' clips that were made otherwise" in message and said in message
        assert message.count("\n") == 1
    assert files() == before
    export("--split val --seed 1")
    assert len(VideoFolder("clips", SIZE, FRAMES)) == 4


def test_flow_in_two_formats_is_not_mixed(capsys):
    export("--flow flo", clips=1)
    export("--flow kitti", clips=1, status=2)
    assert "holds flow in another format" in capsys.readouterr().err


def test_a_damaged_note_is_named(capsys):
    export()
    Path("clips/export.json").write_text("[")
    export(status=2)
    assert "export.json is damaged" in capsys.readouterr().err


def test_an_odd_size_is_refused_before_anything_is_written(capsys):
    run("export faces --size 33 --out clips", status=2)
    assert "--size is 33; a film needs an even number of pixels" in capsys.readouterr().err
    assert not Path("clips").exists()


# ---------------------------------------------------------------- a folder that others know too


def test_a_table_of_others_is_not_touched(capsys):
    Path("clips").mkdir()
    for text, said in (
        ("path,label\nmine.mp4,wave\n", "is no table of an export: its columns are path, label, not file, split"),
        ("file,split,label,label_name,subject\na.mp4,train,0,x,1,2\n", "is no table of an export"),
        ('file,"split\n', "clips.csv cannot be read"),
    ):
        Path("clips/clips.csv").write_text(text)
        export(status=2)
        message = capsys.readouterr().err
        assert said in message and message.count("\n") == 1 and "export into another folder" in message
        assert [path.name for path in Path("clips").iterdir()] == ["clips.csv"]
        assert Path("clips/clips.csv").read_text() == text


def test_rows_and_columns_that_somebody_added_stay():
    export(clips=1)
    with open("clips/clips.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    with open("clips/clips.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, [*row, "note"])
        writer.writeheader()
        writer.writerows([row | {"note": "good"}, row | {"file": "mine.mp4", "note": "my own"}])
    export(clips=2)
    with open("clips/clips.csv", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert len(rows) == 3 and rows["mine.mp4"]["note"] == "my own" and rows[row["file"]] == row | {"note": "good"}


def test_what_is_there_but_empty_is_written_again():
    export("--flow kitti", clips=1)
    whole = {name: content for name, (_, content) in files().items()}
    film, flow = (next(name for name in whole if end in name) for end in (".mp4", "_flow/002"))
    Path(film).write_bytes(b"")
    Path(flow).write_bytes(b"")
    export("--flow kitti", clips=1)
    assert {name: content for name, (_, content) in files().items()} == whole


def test_what_a_killed_export_left_goes_with_the_next_and_nothing_else():
    export(clips=1)
    label = next(path.parent for path in Path("clips").glob("*/*.mp4"))
    (label / ".train_00001_flow.abcdefgh").mkdir()
    (label / ".train_00001_flow.abcdefgh" / "000.flo").write_bytes(b"half")
    (label / ".train_00001.mp4.abcdefgh.tmp").write_bytes(b"half")
    (label / ".mine.tmp").write_bytes(b"somebody's")
    export(clips=1)
    assert [path.name for path in label.glob(".*")] == [".mine.tmp"]


def test_two_exports_into_one_folder_do_not_meet(capsys):
    with hold_folder("clips"):
        export(status=2)
        assert "clips is in use by process" in capsys.readouterr().err
        assert not list(Path("clips").rglob("*.mp4"))
    export()


# ---------------------------------------------------------------- preview


@pytest.mark.parametrize("name", list(PROCEDURAL))
def test_every_procedural_set_is_shown_with_flow_and_visibility(name):
    run(f"preview {name} --clips 2 {CLIPS} --frames 3 --scale 1 --out look/x")
    _, height, width = read_image("look/x.png").shape
    assert width >= 3 * SIZE and height > 2 * 3 * SIZE, "three frames across; two clips of three rows"
    _, frames, height, width = read_video("look/x.gif").shape
    assert frames == FRAMES and width > 2 * 3 * SIZE > height > SIZE, "two clips of three pictures beside each other"


def test_a_folder_is_shown_with_its_flow_where_it_has_any():
    export("--flow flo")
    run(f"preview clips --split all {CLIPS} --out with")
    export(clips=3)  # one without
    run(f"preview clips --split all {CLIPS} --out without")
    assert read_image("with.png").shape[1] > read_image("without.png").shape[1]


def test_a_preview_of_a_folder_shows_all_labels_first():
    from lfdm_lite.commands.preview import spread

    assert spread(10, 3) == [0, 3, 6] and spread(2, 12) == [0, 1] and spread(6, 6) == list(range(6))


def test_what_frame_0_hides_is_black_in_the_third_picture():
    from lfdm_lite.commands.preview import pictures

    item = made()[1]
    video, flow, hidden = pictures(item)
    assert video is item["video"] and flow.shape == hidden.shape == video.shape
    black = hidden.amax(dim=0, keepdim=True) == 0
    assert black.equal(item["visible"] == 0) and black.any()
    assert (flow[:, 0].amax(0) - flow[:, 0].amin(0)).max() < 1e-6, "no motion in frame 0: no colour"
    assert (flow[:, -1].amax(0) - flow[:, -1].amin(0)).max() > 0.5, "the longest motion has full colour"
    assert hidden[:, ~black[0]].min() >= 0.7
