"""Where the `lfdm` commands write, and where they refuse to, before anything is computed; what reaches the terminal."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lfdm_lite as lfdm
from lfdm_lite.cli import main
from lfdm_lite.commands.common import pick_device
from lfdm_lite.files.media import read_video

from .quick import quick_figures
from .test_cli import QUICK, fails, shipped, workplace  # noqa: F401
from .test_pipeline import LABELS

GENERATE = ["generate", "face.png", "--label", "fear", *QUICK]


@pytest.fixture(autouse=True)
def nothing_is_computed(monkeypatch, request):
    """What is refused is refused before a step of sampling, training or measuring."""
    if "works" not in request.node.name:
        for name in ("pipeline.LFDM.generate", "evaluation.tables.collect", "training.planning.plans.plan_stage"):
            monkeypatch.setattr(f"lfdm_lite.{name}", lambda *_, **__: pytest.fail("computed first"))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    quick_figures(monkeypatch)


def content(folder: str | Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


# ---------------------------------------------------------------- what is read is never replaced


@pytest.mark.parametrize("option", ["--out", "--sheet"])
def test_a_picture_is_not_replaced_by_what_is_made_of_it(capsys, option, tmp_path):
    before = content(tmp_path)
    assert "face.png is the file that is read" in fails(capsys, *GENERATE, option, "face.png")
    os.symlink("face.png", "link.png")
    assert "is the file that is read" in fails(capsys, *GENERATE, option, "link.png")
    assert content(tmp_path) == before | {str(tmp_path / "link.png"): before[str(tmp_path / "face.png")]}


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "new.json", "judge/config.json"])
def test_nothing_is_written_into_a_checkpoint_but_its_metrics(capsys, shipped, name):  # noqa: F811
    model = shutil.copytree(shipped, "model")
    before = content(model)
    said = fails(capsys, "evaluate", "model", "--stage", "one", "--out", f"model/{name}")
    assert f"--out model/{name} lies inside the checkpoint model" in said
    assert "inside the checkpoint" in fails(capsys, *GENERATE, "--checkpoint", "model", "--out", "model/x.gif")
    assert content(model) == before


def test_metrics_beside_the_weights_works(shipped):  # noqa: F811
    shutil.copytree(shipped, "model")
    words = "evaluate model --stage one --clips 2 --quiet --device cpu --out model/metrics.json"
    assert main(words.split()) == 0
    assert json.loads(Path("model/metrics.json").read_text())["measured"]["clips"] == 2


def test_a_film_of_the_set_that_is_shown_is_not_replaced(capsys):
    Path("films/joy").mkdir(parents=True)
    film = Path("films/joy/a.gif")
    film.write_bytes(b"a film")
    assert "is a file of films, which is read" in fails(capsys, "data", "preview", "films", "--out", "films/joy/a")
    assert film.read_bytes() == b"a film"


def test_a_model_is_not_replaced_by_another_that_is_converted(capsys, shipped):  # noqa: F811
    shutil.copytree(shipped, "model")
    before = content("model")
    for name in ("a.pth", "b.pth"):
        Path(name).write_bytes(b"weights")
    said = fails(capsys, "convert", "a.pth", "b.pth", "--out", "model")
    assert said.startswith("model") and "would be lost" in said
    assert "lies inside model, which is read" in fails(capsys, "convert", "model", "--out", "model/back")
    Path("back").mkdir()
    Path("back/lfae.pth").write_bytes(b"theirs")
    said = fails(capsys, "convert", "model", "--out", "back")
    assert said == "back/lfae.pth is there already and would be lost; choose another --out"
    assert content("model") == before and content("back") == {"back/lfae.pth": b"theirs"}


# ---------------------------------------------------------------- what is no file is never replaced


WRITERS = {
    "generate": [*GENERATE, "--out"],
    "evaluate": ["evaluate", "model", "--stage", "one", "--out"],
    "plan": ["plan", "tiny", "--out"],
}


@pytest.mark.parametrize("command", WRITERS)
def test_a_pipe_a_folder_and_a_circle_of_links_stay_what_they_are(capsys, shipped, command):  # noqa: F811
    os.symlink(shipped, "model")
    os.mkfifo("pipe.gif")
    os.mkdir("folder.gif")
    os.symlink("circle.gif", "circle.gif")
    for name, said in (("pipe", "is a device, a pipe"), ("folder", "is a folder"), ("circle", "is a link in a circle")):
        assert said in fails(capsys, *WRITERS[command], f"{name}.gif")
    assert stat.S_ISFIFO(os.lstat("pipe.gif").st_mode) and Path("folder.gif").is_dir()
    assert os.readlink("circle.gif") == "circle.gif"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_a_device_is_not_replaced(capsys):
    for command in ("generate", "plan"):
        os.symlink("/dev/full", f"{command}.gif")
        assert "is a device" in fails(capsys, *WRITERS[command], f"{command}.gif")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_writing_through_a_link_works_and_leaves_the_link():
    os.mkdir("elsewhere")
    for name in ("a.gif", "e.json"):
        os.symlink(f"elsewhere/{name}", name)
    assert main([*GENERATE, "--out", "a.gif"]) == 0
    assert (
        main(
            "evaluate --stage one --clips 2 --quiet --device cpu --out e.json".split() + [os.environ["LFDM_CHECKPOINT"]]
        )
        == 0
    )
    assert os.readlink("a.gif") == "elsewhere/a.gif" and read_video("elsewhere/a.gif").shape[1] == 4
    assert os.readlink("e.json") == "elsewhere/e.json" and json.loads(Path("elsewhere/e.json").read_text())


@pytest.mark.parametrize("command", ["evaluate", "plan"])
def test_what_cannot_be_written_is_said_with_the_name_that_was_given(capsys, shipped, command):  # noqa: F811
    os.symlink(shipped, "model")
    Path("file").write_text("x")
    said = fails(capsys, *WRITERS[command], "file/e.json")
    assert "--out file/e.json: " in said and "file is a file, not a folder" in said and ".tmp" not in said


# ---------------------------------------------------------------- several outputs


def test_two_outputs_of_one_name_are_refused(capsys):
    assert "a.gif would be written twice" in fails(capsys, *GENERATE, "--out", "a.gif", "--out", "./a.gif")
    assert "would be written twice" in fails(capsys, *GENERATE, "--out", "a.gif", "--out", "A.gif")
    assert "would be written twice" in fails(capsys, *GENERATE, "--out", "s.png", "--sheet", "s.png")


def test_images_of_one_name_works_and_each_gets_a_file(capsys):
    for name in ("d1/a.png", "a-1.png", "d2/a.png"):
        Path(name).parent.mkdir(exist_ok=True)
        shutil.copy("face.png", name)
    words = "generate d1/a.png a-1.png d2/a.png --label fear --out z.gif --steps 1 --seed 0 --device cpu"
    assert main(words.split()) == 0
    said = capsys.readouterr().out.split()[2:]
    assert said == ["z-a.gif", "z-a-1.gif", "z-a-2.gif"] and all(Path(name).is_file() for name in said)


def test_a_sheet_is_not_replaced_by_a_clip_of_its_name_works():
    words = "--label fear --label anger --out s.png --sheet s-fear.png"
    assert main(["generate", "face.png", *words.split(), *QUICK]) == 0
    assert sorted(path.name for path in Path().glob("s*.png")) == ["s-anger.png", "s-fear-1.png", "s-fear.png"]


# ---------------------------------------------------------------- everything is checked first


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--out a.mp4 --out a.gif --fps 60", "fps is 60"),
        ("--out a.gif --fps 0", "fps is 0"),
        ("--out a.mp4 --fps=-5", "fps is -5"),
        ("--out a.mp4 --fps nan", "fps is nan"),
        ("--out a.mp4 --fps 2147483648", "fps is 2147483648"),
        ("--scale 0", "scale is 0"),
        ("--scale 4000", "million pixels; the largest scale is"),
        ("--num-frames 1000000", "more than 90 million pixels"),
        ("--sheet s.jpg", "--sheet s.jpg: the name must end in .png"),
        ("--out /proc/x/out.gif", "/proc/x/out.gif"),
        ("--out outdir/", "the name must end in .gif"),
    ],
)
def test_impossible_films_are_refused_before_sampling(capsys, words, said, tmp_path):
    before = content(tmp_path)
    assert said in fails(capsys, *GENERATE, *words.split())
    assert content(tmp_path) == before and list(tmp_path.glob("*")) == [tmp_path / "face.png"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--steps 5000", "steps is 5000; expected a whole number from 1 to 1000"),
        ("--guidance-scale -2", "guidance_scale is -2"),
        ("--data nowhere", "data set 'nowhere' is not one of: faces"),
        ("--data figures --tell-numbers", "the clips of figures know none"),
        ("--look ink", "--look ink is of sketches, not of faces"),
        ("--tell-numbers", "this model was trained with labels alone"),
        ("--judge nowhere", "no checkpoint folder at nowhere"),
        ("--judge-of-faces nowhere", "no checkpoint folder at nowhere"),
    ],
)
def test_an_evaluation_is_refused_before_it_measures(capsys, words, said):
    assert said in fails(capsys, "evaluate", os.environ["LFDM_CHECKPOINT"], *words.split())


def test_an_evaluation_of_a_look_sees_that_look_alone():
    from lfdm_lite.commands.clips import dataset_of
    from lfdm_lite.commands.evaluate import Evaluate
    from lfdm_lite.data import Sketches

    asked = dataset_of(Evaluate("model", data="sketches", look="ink", clips=2), 32, 2)
    for look, same in (("ink", True), ("night", False)):
        assert torch.equal(asked[1]["video"], Sketches("test", 32, 2, 2, look=look)[1]["video"]) == same


@pytest.fixture
def judge():
    """A judge of random weights for the shipped model."""
    from lfdm_lite import VideoClassifier

    network = VideoClassifier(6)
    network.labels = LABELS
    return network.save("judge")


def test_an_evaluation_of_both_stages_works_with_the_judge_of_faces_and_the_first_one_beside_it(judge):
    """Eight clips are the fewest for two halves."""
    from lfdm_lite import VideoClassifier

    of_anger = VideoClassifier.load(judge)
    torch.nn.init.constant_(of_anger.classify.bias[:1], 1e4)  # it reads anger in everything
    folder = of_anger.save("of_anger")
    words = ["evaluate", os.environ["LFDM_CHECKPOINT"], "--judge", str(judge), "--clips", "8", "--steps", "2"]
    words += "--guidance-scale 2 --device cpu --out e.json --quiet".split()
    found = []
    for more in ([], ["--judge-of-faces", str(folder), "--stage", "two"]):
        assert main([*words, *more]) == 0
        found.append(json.loads(Path("e.json").read_text()))
    assert set(found[0]) == {"measured", "stage_one", "stage_two"} and found[0]["measured"]["steps"] == 2
    assert set(found[1]) == {"measured", "stage_two"}
    alone, both = (figures["stage_two"] for figures in found)
    assert alone["label_accuracy_generated"]["n"] == 8
    for name in ("generated", "real", "frame_0_repeated"):
        assert both[f"label_accuracy_{name}"]["value"] == pytest.approx(2 / 8)
        assert both[f"first_judge_label_accuracy_{name}"] == alone[f"label_accuracy_{name}"]
    assert both["frechet_generated"] == alone["frechet_generated"]

    assert main([*words, "--stage", "two", "--precision", "bf16"]) == 0
    rounded = json.loads(Path("e.json").read_text())
    assert rounded["measured"]["precision"] == "bf16"
    exact, near = (figures["motion_generated_pixels"]["value"] for figures in (alone, rounded["stage_two"]))
    assert near != exact and near == pytest.approx(exact, rel=0.1)


def test_telling_the_clips_own_numbers_works_beside_the_measures_of_stage_one():
    from lfdm_lite.commands.evaluate import Evaluate, load_clips
    from lfdm_lite.evaluation.tables import evaluate_autoencoder, generate_like

    heard, model = [], lfdm.LFDM.from_pretrained(os.environ["LFDM_CHECKPOINT"])
    size, frames = model.image_size, model.unet.config.num_frames

    def listening(images, labels, **asked):
        heard.append({name: asked.get(name) for name in ("strength", "turn")})
        return generate(images, labels, steps=1, seed=0, progress=False)  # this model was trained without

    generate, model.generate = model.generate, listening
    for tell in (False, True):
        clips = load_clips(Evaluate("model", clips=3, tell_numbers=tell), size, frames, model.labels, closely=True)
        generate_like(model, clips, seed=0, batch=2)
        told = [lfdm.data.Faces("test").told(index) for index in range(3)]
        for name in ("strength", "turn"):
            parts = [clip[name] for clip in told]
            wanted = [pytest.approx(parts[:2]), pytest.approx(parts[2:])] if tell else [None, None]
            assert [asked[name] for asked in heard] == wanted
        heard.clear()
        assert evaluate_autoencoder(model.autoencoder, clips)["psnr"].n == 3


def test_a_judge_works_through_its_examination(judge, capsys):
    assert main(["evaluate", str(judge), "--clips", "6", "--out", "e.json"]) == 0
    figures = json.loads(Path("e.json").read_text())["examination"]
    assert figures["head_at_rest"]["n"] == 6 and figures["verdict"].startswith("fails, ")  # its weights are random
    assert figures["verdict"] in capsys.readouterr().out


def test_too_few_clips_for_two_halves_works_for_stage_one_alone(capsys, judge, monkeypatch):
    words = ["evaluate", os.environ["LFDM_CHECKPOINT"], "--clips", "7", "--device", "cpu", "--judge", str(judge)]
    with monkeypatch.context() as patched:
        for stage in ("autoencoder", "generation"):
            name = f"lfdm_lite.evaluation.tables.evaluate_{stage}"
            patched.setattr(name, lambda *_, **__: pytest.fail("measured first"))
        assert main(words) == 2
    assert "error: 7 clips are too few for stage two" in capsys.readouterr().err
    assert main([*words, "--stage", "one", "--clips", "1", "--quiet"]) == 0


@pytest.mark.parametrize("rate", ["0", "nan", "1099511627776"])
def test_an_impossible_rate_of_a_data_set_is_refused_before_anything_is_written(capsys, rate, tmp_path):
    for words in ("data preview faces", "data export faces --out clips"):
        assert "fps is" in fails(capsys, *words.split(), "--fps", rate)
    assert list(tmp_path.glob("*")) == [tmp_path / "face.png"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--num-frames 1000000", "1000000 frames of 64 pixels; a clip may have 90 million pixels at most"),
        ("--clips 100 --num-frames 400", "a film of more than 90 million pixels; fewer --clips"),
        ("--scale 1000", "a film of more than 90 million pixels; fewer --clips"),
        ("--out .", "--out . is a folder; expected the beginning of a name"),
    ],
)
def test_a_preview_that_cannot_be_is_refused_before_a_clip_is_drawn(capsys, monkeypatch, words, said):
    monkeypatch.setattr("lfdm_lite.data.Faces.__getitem__", lambda *_: pytest.fail("drawn first"))
    assert said in fails(capsys, "data", "preview", "faces", *words.split())


def test_a_rate_that_is_no_whole_number_works():
    assert main([*GENERATE, "--fps", "29.97", "--out", "a.mp4"]) == 0
    assert read_video("a.mp4").shape[1] == 4


# ---------------------------------------------------------------- the terminal


def test_control_characters_of_data_do_not_reach_the_terminal_works(capsys, shipped, tmp_path):  # noqa: F811
    model = shutil.copytree(shipped, tmp_path / "model")
    (model / "recipe.json").write_text(json.dumps({"command": "\x1b[31mred\x07\u202e", "note": "two\nlines"}))
    assert main(["info", "model"]) == 0
    said = capsys.readouterr().out
    assert "\\u001b[31mred\\u0007\\u202e" in said and "note: two lines" in said
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
    said = fails(capsys, "info", "no\x1b]0;such\x07\r")
    assert "\\u001b]0;such\\u0007" in said


def test_a_warning_is_one_line_without_code():
    code = """
import sys, warnings
from lfdm_lite import cli
cli.run = lambda arguments: warnings.warn("few \\x1b clips")
cli.main(["info"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert done.stderr == "lfdm: warning: few \\u001b clips\n"


def test_a_null_character_is_said(capsys):
    assert "null character" in fails(capsys, "generate", "a\0.png", "--label", "fear")


def test_folders_in_the_environment_may_begin_at_home(monkeypatch, tmp_path):
    from lfdm_lite.commands.common import default_checkpoint
    from lfdm_lite.data.folders.clip_index import cache_folder

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LFDM_CACHE", "~/kept")
    monkeypatch.setenv("LFDM_CHECKPOINT", "~/model")
    assert cache_folder(True) == tmp_path / "kept" and default_checkpoint() == tmp_path / "model"


# ---------------------------------------------------------------- devices


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [(2, True, "cuda"), (0, True, "mps"), (0, False, "cpu")])
def test_auto_takes_a_gpu_where_there_is_one(monkeypatch, cuda, mps, chosen):
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: cuda)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)
    assert pick_device("auto").type == chosen
    assert pick_device("cpu") == torch.device("cpu")


# ---------------------------------------------------------------- info


@pytest.mark.parametrize(
    ("values", "said"),
    [({"kind": "Gizmo"}, "is of kind 'Gizmo'"), ({"kind": []}, "is of kind []"), ({}, "is of kind None")],
)
def test_info_knows_what_it_does_not_know(capsys, shipped, values, said):  # noqa: F811
    model = shutil.copytree(shipped, Path("model"))
    (model / "config.json").write_text(json.dumps({"format_version": 1, **values}))
    assert said in fails(capsys, "info", "model")


def test_info_says_what_an_auto_encoder_lacks_works(capsys, tmp_path):
    from dataclasses import asdict

    from safetensors.torch import load_file, save_file

    from lfdm_lite import LatentFlowAutoencoder
    from lfdm_lite.files.checkpoints import save_module
    from lfdm_lite.training import PRESETS

    config = PRESETS["tiny"].autoencoder.model
    save_module("lfae", LatentFlowAutoencoder(config), "LatentFlowAutoencoder", {"model": asdict(config)})
    assert main(["info", "lfae"]) == 0 and "LatentFlowAutoencoder" in capsys.readouterr().out
    tensors = load_file("lfae/model.safetensors")
    name = next(iter(tensors))
    del tensors[name]
    save_file(tensors, "lfae/model.safetensors")
    assert f"tensor {name!r}" in fails(capsys, "info", "lfae")


# ---------------------------------------------------------------- the start is light


def environment() -> dict[str, str]:
    """For a process that imports this copy of the package."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def loaded(*words: str, code: str = "") -> set[str]:
    """The modules that a fresh interpreter has loaded after a command."""
    run = code or f"from lfdm_lite.cli import main; main({list(words)!r})"
    script = f"import contextlib, io, sys\nwith contextlib.redirect_stdout(io.StringIO()): {run}\nprint(*sys.modules)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    return {name.split(".")[0] if not name.startswith("lfdm_lite") else name for name in done.stdout.split()}


HEAVY = {"torch", "numpy", "PIL", "av", "tyro", "accelerate", "matplotlib", "scipy", "tqdm", "huggingface_hub"}


def test_the_package_and_the_overview_load_nothing_heavy():
    assert loaded(code="import lfdm_lite") & HEAVY == set()
    assert {name for name in loaded(code="import lfdm_lite") if name.startswith("lfdm_lite")} == {"lfdm_lite"}
    for words in (["--help"], ["--version"], []):
        found = loaded(*words)
        assert found & HEAVY == set()
        ours = {"", ".cli", ".commands", ".commands.terminal", ".files", ".files.reading"}
        assert {name for name in found if name.startswith("lfdm_lite")} == {f"lfdm_lite{name}" for name in ours}


@pytest.mark.parametrize("words", [["generate", "--help"], ["train", "--help"], ["data", "--help"], ["info", "--help"]])
def test_help_of_a_command_and_mistakes_in_it_need_no_torch(words):
    assert loaded(*words) & HEAVY == {"tyro"}
    assert loaded(words[0], "--smile") & HEAVY == {"tyro"}


def test_info_loads_what_a_network_needs_and_no_more():
    assert loaded("info") & HEAVY <= {"torch", "numpy", "tyro", "tqdm", "huggingface_hub", "PIL"}
