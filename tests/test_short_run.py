"""The short run: slices hold whatever becomes of their parts, and the folder is whole at any moment."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from launch.short import desk, folder, packages, parts, report
from launch.short.folder import write_samples
from launch.short.options import parsed
from launch.short.run import Run
from launch.short.slices import Part, slices
from lfdm_lite import LFDM
from lfdm_lite.training import PRESETS
from lfdm_lite.training.stages.finished import load_autoencoder

from .patience import HUNG, OwnTime, until
from .test_training_engine import finished  # noqa: F401 (fixtures)

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "launch" / "short_gpu.sh"
TINY = PRESETS["tiny"]
MEGABYTE = 0.2  # of a file, so that weights must be cut


# ---------------------------------------------------------------- the whole run


def command(out: Path, minutes: float, *more: str) -> list[str]:
    words = ["--minutes", f"{minutes:.2f}", "--device", "cpu", "--preset", "tiny", "--no-compile", "--clips", "12"]
    return ["bash", str(SCRIPT), *words, "--max-file", str(MEGABYTE), "--out", str(out), *more]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Of a machine that has neither what reads films nor what draws bars in a browser."""
    absent = tmp_path_factory.mktemp("absent")
    for name in ("av", "imageio", "cv2", "tensorboard"):
        (absent / f"{name}.py").write_text("raise ImportError('not here')\n")
    return os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(absent)}


@pytest.fixture(scope="module")
def minutes(environment):
    """One and a half, or more on a machine that is slow or has other work: importing everything tells how much."""
    took = []
    for _ in range(2):  # the first one may read everything from the disk
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "import launch.short.parts"], cwd=ROOT, check=True)
        took.append(time.monotonic() - began)
    return round(min(6.0, max(1.5, min(took) / 1.5)), 2)  # to two digits, as the command is told


class Whole(NamedTuple):
    """A run, and what became of it."""

    out: Path
    summary: dict
    seconds: float
    late: float  # of these, that the process that ends the others was itself kept from a core by other programs
    said: str


@pytest.fixture(scope="module")
def whole(tmp_path_factory, environment, minutes):
    """A run whose first training is killed in the middle."""
    place = tmp_path_factory.mktemp("short")
    began, own = time.monotonic(), OwnTime()
    with (place / "said").open("w") as said:
        run = subprocess.Popen(command(place / "out", minutes), env=environment, stdout=said, stderr=said)
    training = place / "out.work" / "train_ae.txt"
    until(lambda: run.poll() is not None or list(place.glob("out.work/ae/checkpoints/step_*")))
    if run.poll() is None:
        os.kill(int(training.read_text().split()[1]), signal.SIGKILL)
    until(lambda: run.poll() is not None or own.seconds([run.pid]) > 60 * minutes + HUNG)
    took = time.monotonic() - began
    assert run.returncode == 0, (place / "said").read_text()
    summary = json.loads((place / "out" / "summary.json").read_text())
    return Whole(place / "out", summary, took, own.waited, (place / "said").read_text())


@pytest.mark.slow
def test_slices_hold_although_a_training_is_killed(whole, minutes):
    summary, said = whole.summary, whole.said
    seconds, late = 60 * minutes, 2 + whole.late
    assert whole.seconds < seconds + late
    rows = {row["name"]: row for row in summary["slices"]}
    assert list(rows) == ["preparation", "stage one", "stage two", "evaluation"]
    for row in rows.values():
        assert row["ended"] < row["planned"][1] + late + 0.01 * seconds or row["name"] == "preparation"
    for name, share in (("stage one", 0.5), ("stage two", 0.35), ("evaluation", 0.1)):
        begins, ends = rows[name]["planned"]
        assert ends - begins == pytest.approx(share * seconds)
    for name in ("stage one", "stage two"):  # and none of their time is given away
        assert rows[name]["ended"] > rows[name]["planned"][1] - 0.1 * seconds
        assert rows[name]["steps"] > 10 and rows[name]["status"].startswith(("done", "overran")), said
    assert any(note.startswith("ae died and was started again") for note in summary["notes"])
    assert summary["recipes"]["ae"]["resumed"], "from its checkpoint"


@pytest.mark.slow
def test_the_folder_is_whole_and_no_file_is_larger_than_asked(whole):
    out, summary = whole.out, whole.summary
    sizes = {path.name: path.stat().st_size for path in out.iterdir()}
    assert sorted(sizes) == summary["files"] and len(sizes) <= 8
    assert {"README.md", "summary.json", "log.csv", "curves.png", "samples.jpg", "clips.gif"} < set(sizes)
    assert max(sizes.values()) <= MEGABYTE * 1e6
    page = (out / "README.md").read_text()
    assert "State: finished." in page and "psnr_bare_warp" in page and "label_accuracy_generated" in page
    assert "the head's motion alone may suffice" in page
    assert all(f"* `{name}`" in page for name in sizes)
    log = (out / "log.csv").read_text().splitlines()
    assert {line.split(",")[0] for line in log[1:]} == {"autoencoder", "diffusion", "judge"}
    tried = [(t["precision"], t["compile"]) for trials in summary["measured"].values() for t in trials]
    assert tried == 2 * [("bf16", False), ("no", False)]


@pytest.mark.slow
def test_the_schedule_came_to_its_end_with_the_time(whole):
    out = whole.out
    log = [line.split(",") for line in (out / "log.csv").read_text().splitlines()]
    rate = log[0].index("rate")
    for stage in ("autoencoder", "diffusion"):
        rates = [float(line[rate]) for line in log if line[0] == stage]
        assert rates[-1] < 0.15 * max(rates)


@pytest.mark.slow
def test_weights_that_were_cut_are_put_together_again(whole, tmp_path):
    out, summary = whole.out, whole.summary
    assert "model.safetensors.2" in summary["files"] and "model.safetensors" not in summary["files"]
    done = subprocess.run([sys.executable, "-m", "launch.short.folder", str(out)], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr
    made = LFDM.from_pretrained(out).generate(torch.rand(3, 32, 32), "fear", steps=2, seed=0, progress=False)
    assert made.video.shape == (1, 3, 4, 32, 32)


@pytest.mark.slow
def test_a_run_that_is_asked_to_end_leaves_what_it_has(tmp_path, environment, minutes):
    out = tmp_path / "out"
    run = subprocess.Popen(command(out, 3 * minutes), env=environment, stdout=subprocess.PIPE, text=True)
    log = tmp_path / "out.work" / "ae" / "log.csv"  # with a row: before, there may be nothing to save, or nobody to ask
    until(lambda: run.poll() is not None or (log.is_file() and len(log.read_text().splitlines()) > 1))
    run.terminate()
    said, _ = run.communicate(timeout=HUNG)
    assert run.returncode == 143, said
    page = (out / "README.md").read_text()
    assert "State: stopped by signal 15." in page and "| stage one |" in page and "| evaluation |" not in page
    assert (out / "log.csv").stat().st_size > 100 and (out / "config.json").is_file(), "of the newest checkpoint"
    assert load_autoencoder(out).config == TINY.autoencoder.model


@pytest.mark.parametrize(
    "words, said",
    [
        (["--minutes", "0.1"], "--minutes is 0.1; expected 0.5 to 10000"),
        (["--minutes", "nan"], "--minutes is nan; expected 0.5 to 10000"),
        (["--max-file", "0"], "--max-file is 0; expected 0.05 to 10000"),
        (["--clips", "3"], "--clips is 3; expected at least 12"),
        (["--out", "{here}"], "is not empty; choose another --out or --work, or empty it"),
        (["--preset", "mug128"], "--preset 'mug128' is not one whose clips are drawn: tiny, faces32, "),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_nothing_is_left(words, said, tmp_path, environment):
    (tmp_path / "mine").write_text("mine")
    line = command(tmp_path / "out", 5) + [word.format(here=tmp_path) for word in words]
    run = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=HUNG)
    assert run.returncode == 2 and said in (run.stdout + run.stderr).splitlines()[-1]
    assert not (tmp_path / "out.work").exists() and not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    "words, said",
    [
        (["--out", "."], "is not empty; choose another --out or --work, or empty it"),
        (["--out", "/"], "--out is /, --work /.work; expected two folders"),
        (["--out", "mine/new"], "mine/new: Not a directory; choose another --out or --work"),
        (["--out", "new/a", "--work", "/proc/nope/x"], "/proc/nope: No such file or directory; choose another"),
        (["--out", "new", "--work", "new"], "expected two folders, neither inside the other"),
        (["--out", "new/in", "--work", "new"], "expected two folders, neither inside the other"),
        (["--out", "new", "--work", "link/new/in"], "expected two folders, neither inside the other"),
    ],
)
def test_folders_that_will_not_do_are_refused_in_one_line_and_nothing_is_left(
    words, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("mine").write_text("mine")
    Path("link").symlink_to(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        parsed(words)
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert sorted(os.listdir()) == ["link", "mine"]


def test_an_empty_folder_may_be_the_one_that_we_are_in(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    options = parsed(["--out", "."])
    assert (options.out, options.work) == (tmp_path / "here", tmp_path / "here.work") and options.work.is_dir()


# ---------------------------------------------------------------- its pieces


def test_the_slices_are_shares_of_the_time_and_follow_each_other():
    made = slices(1000.0, 9)
    lengths = {name: (part.ends - part.begins) / 540 for name, part in made.items()}
    assert lengths == pytest.approx(
        {"preparation": 0.03, "stage one": 0.5, "stage two": 0.35, "evaluation": 0.1, "packing": 0.02}
    )
    parts = list(made.values())
    assert parts[0].begins == 1000 and parts[-1].ends == pytest.approx(1540)
    assert all(a.ends == b.begins for a, b in zip(parts, parts[1:], strict=False))


@pytest.fixture
def part(tmp_path):
    """Starts a part, and ends what is left of it."""
    started = []

    def start(kind: str, method: str = "forkserver") -> Part:
        started.append(Part(kind, kind, tmp_path, {"CUDA_VISIBLE_DEVICES": ""}, 0, method))
        return started[-1]

    yield start
    for left in started:
        left.end(0)


def test_a_part_that_fails_says_why_and_one_that_hangs_is_ended_with_all_that_it_has_started(part):
    failing, hanging = part("train"), part("draw")
    failing.tell(stage="autoencoder")
    assert failing.wait(time.time() + HUNG, lambda: False, lambda: None, 0) == "failed"
    assert failing.last_words() == "KeyError: 'preset'"
    with pytest.MonkeyPatch.context() as patch:  # its number may be another's by now
        patch.setattr(os, "killpg", lambda *_: pytest.fail("a dead part was signalled"))
        assert failing.end(0) == 1
    until(hanging.last_words)
    assert hanging.last_words() == "exit status None"
    os.kill(hanging.process.pid, signal.SIGSTOP)  # deaf to SIGTERM too
    assert hanging.wait(time.time() + 0.2, lambda: False, lambda: None, 0.3) == "overran"
    assert hanging.status == -signal.SIGKILL
    hanging.tell(too="late")


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_part_without_a_task_ends_with_the_run(part, method):
    waiting = part("pack", method)
    waiting.tasks.close()
    assert waiting.wait(time.time() + HUNG, lambda: False, lambda: None, 0) == "done"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run that has not begun, with a packer that is no process: it counts what it is told, and may die."""

    class Packer:
        def __init__(self, *_):
            self.status, self.told = None, 0

        def tell(self, **_):
            self.told += 1

        def found(self):
            return []

        def end(self, _):
            self.status = -9

    monkeypatch.setattr(desk, "Part", Packer)
    return Run(parsed(["--device", "cpu", "--out", str(tmp_path / "out")]))


def test_a_packer_that_died_while_it_wrote_is_followed_by_one_that_is_asked_at_once(run):
    run.desk.update()
    first = run.desk.packer
    run.desk.update()
    assert first.told == 1, "it still writes"
    first.status = -9
    run.desk.update()
    assert run.desk.packer is not first and run.desk.packer.told == 1


def test_a_folder_that_cannot_be_written_is_noted_and_does_not_end_the_run(run):
    run.options.out.rmdir()
    for _ in range(2):
        run.desk.asked_at = 0
        run.desk.now_and_then()
    (note,) = run.desk.notes
    assert note.startswith("the folder could not be brought up to date: FileNotFoundError")
    assert not run.desk.finish("finished", time.time())


def test_a_slice_that_fails_leaves_no_training_beside_the_next_one(run):
    class Kept:
        ended = False

        def end(self, _):
            self.ended = True

    run.parts = parts = {name: Kept() for name in ("draw", "measure autoencoder", "train ae", "evaluate")}
    training = parts["train ae"]

    def fail(_):
        raise OSError("no room")

    run.carry_out(run.slices["stage one"], fail)
    assert run.desk.rows[-1]["status"] == "failed: OSError: no room"
    assert training.ended and list(run.parts) == ["draw", "evaluate"]
    assert not any(part.ended for part in run.parts.values())


def test_weights_are_in_one_file_or_two_or_left_out(finished, tmp_path):  # noqa: F811
    work, out = tmp_path / "work", tmp_path / "out"
    out.mkdir()
    work.mkdir()
    assert folder.write(work, out, 10**6) == ["no weights: stage one saved none"]
    (work / "ae").symlink_to(finished / "ae")
    assert folder.write(work, out, 10**6) == []
    assert load_autoencoder(out).config == TINY.autoencoder.model, "as long as there is nothing more"
    (work / "dm").symlink_to(finished / "dm")
    assert folder.write(work, out, 10**6) == []
    model = LFDM.from_pretrained(out)
    (note,) = folder.write(work, out, 150_000)
    assert "0.3 MB of weights are in 2 files" in note and not (out / "config.json").exists()
    folder.join(out)
    again = LFDM.from_pretrained(out)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert any("would take 5 files: they are left out" in note for note in folder.write(work, out, 60_000))
    assert not list(out.glob("model.safetensors*"))
    with pytest.raises(ValueError, match="holds no model.safetensors.1"):
        folder.join(out)


def test_the_page_says_what_was_not_measured_and_what_went_otherwise():
    summary = {
        "state": "finished", "command": "x", "began": "now", "minutes": 9.0, "preset": "p", "card": "c", "clips": None,
        "slices": [{"name": "stage one", "planned": [0, 1], "began": 0.0, "ended": None, "steps": None, "status": "s"}],
        "measured": {"autoencoder": [{"precision": "bf16", "compile": True, "failed": "not within its time"}]},
        "notes": ["something"], "recipes": {}, "metrics": None, "files": ["model.safetensors.2"],
    }  # fmt: skip
    page = report.readme(summary)
    assert "| autoencoder | bfloat16, compiled | | | | | | | not within its time |" in page
    assert "| stage one | 0.0 to 1.0 | 0.0 to  |  | s |" in page and "Nothing was measured." in page
    assert "* something" in page and "* `model.safetensors.2`: the weights" in page


def test_generated_clips_are_shown_although_there_was_no_time_for_a_judge(tmp_path):
    model = ROOT / "assets" / "checkpoints" / "faces64"
    how = {"model": str(model), "judge": None, "out": str(tmp_path), "until": 0, "max_bytes": 1_000_000}
    tasks, told = iter([{"preset": "faces64", "clips": 2, "device": "cpu"}, how]), []
    parts.evaluate(lambda: next(tasks), lambda **row: told.append(row))
    assert [row.get("measured") for row in told] == [None, 2]
    assert (tmp_path / "clips.gif").is_file() and "stage_one" in (tmp_path / "metrics.json").read_text()


def test_the_page_says_what_the_word_of_its_judge_is_worth():
    recipe = {"config": {"data": {"name": "faces", "acting": {"heads": "own"}}}}
    (said,) = report.judged(recipe)
    assert "the head's motion alone may suffice" in said
    recipe["config"]["data"]["acting"]["heads"] = "shuffled"
    (said,) = report.judged(recipe)
    assert "suffice" not in said
    assert not list(report.judged(None))


# ---------------------------------------------------------------- packages


def test_the_run_needs_no_more_than_training_and_a_picture_of_the_curves():
    names = {packages.plain(line) for line in packages.needed()}
    assert {"accelerate", "numpy", "safetensors", "tyro", "matplotlib", "psutil"} <= names
    assert not names & packages.UNUSED
    assert packages.all_there()
    closed = packages.closure(packages.needed())
    assert {"pyyaml", "fonttools", "typeguard"} <= closed and not closed & {"torch", "sympy", "nvidia-cublas"}
    pinned = {packages.plain(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    assert closed <= pinned, "`make wheels` takes the versions that are tested"


def test_what_is_missing_is_said_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(packages, "needed", lambda: ["no-such-package>=3"])
    assert packages.install(tmp_path, tmp_path / "site") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "not at hand: no-such-package>=3; where there is a network, `make wheels` fills" in line


def test_what_is_missing_comes_from_a_folder_of_wheels(tmp_path, monkeypatch):
    wheel = tmp_path / "my wheels, 100%" / "no_such_package-3.1-py3-none-any.whl"
    wheel.parent.mkdir()
    write_wheel(wheel)
    monkeypatch.setattr(packages, "needed", lambda: ["no-such-package>=3"])
    assert packages.install(wheel.parent, tmp_path / "site") == 0
    assert (tmp_path / "site" / "no_such_package.py").read_text() == "x = 1\n"


def write_wheel(path: Path) -> None:
    """The smallest wheel."""
    from zipfile import ZipFile

    info = "no_such_package-3.1.dist-info"
    with ZipFile(path, "w") as file:
        file.writestr("no_such_package.py", "x = 1\n")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: no-such-package\nVersion: 3.1\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


def test_a_sheet_of_noise_is_made_small_enough_and_not_left_out(tmp_path):
    noise = np.random.default_rng(0)
    for stage in ("ae", "dm"):
        (tmp_path / stage / "samples").mkdir(parents=True)
        for step in (10, 20):
            pixels = noise.integers(0, 256, (120, 320, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / stage / "samples" / f"step_{step:06d}.png")
    for most, width in ((10**7, 1280), (60_000, 640)):
        write_samples(tmp_path, tmp_path / "samples.jpg", most)
        assert (tmp_path / "samples.jpg").stat().st_size <= most
        assert Image.open(tmp_path / "samples.jpg").width <= width
    with pytest.raises(ValueError, match="more than 0.0001 MB"):
        write_samples(tmp_path, tmp_path / "none.jpg", 100)
    assert not (tmp_path / "none.jpg").exists()
