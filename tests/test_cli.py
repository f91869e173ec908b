"""The `lfdm` command: what it writes, and how it says what is wrong."""

import csv
import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from lfdm_lite import LFDM, Motion, asset
from lfdm_lite.cli import OVERVIEW, main
from lfdm_lite.commands.common import UsageError
from lfdm_lite.commands.generating.wishes import Control, Wishes, wishes_of
from lfdm_lite.conditions import NumberRange
from lfdm_lite.control import mask_of, only, retimed, timing
from lfdm_lite.files.media import read_video
from lfdm_lite.generated import GeneratedVideo

from .test_pipeline import LABELS, tiny_model

QUICK = ["--steps", "2", "--seed", "0", "--quiet", "--device", "cpu"]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    folder = tiny_model().save_pretrained(tmp_path_factory.mktemp("shipped") / "model")
    (folder / "recipe.json").write_text(json.dumps({"command": "lfdm train diffusion", "config": {"steps": 7}}))
    (folder / "metrics.json").write_text(json.dumps({"psnr": {"value": 30.123, "low": 29.5, "high": 31.0, "n": 120}}))
    return folder


@pytest.fixture(autouse=True)
def workplace(shipped, tmp_path, monkeypatch):
    """An empty working folder with a picture in it; the shipped checkpoint is a tiny one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LFDM_CHECKPOINT", str(shipped))
    monkeypatch.delenv("LFDM_DEBUG", raising=False)
    pixels = np.linspace(0, 255, 40 * 50 * 3).reshape(40, 50, 3).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")


@pytest.fixture
def broken(shipped, tmp_path):
    return shutil.copytree(shipped, tmp_path / "broken")


def fails(capsys, *arguments: str) -> str:
    """The one line on stderr of a command that must end with exit code 2."""
    assert main(arguments) == 2
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("lfdm: error: ") and "Traceback" not in said, said
    return lines[0].removeprefix("lfdm: error: ")


# ---------------------------------------------------------------- generate


def test_an_image_and_a_label_become_a_file(tmp_path):
    assert main(["generate", "face.png", "--label", "surprise", "--out", "out.gif", *QUICK]) == 0
    assert read_video(tmp_path / "out.gif").shape == (3, 4, 32, 32)


def test_without_out_the_video_is_in_out_gif(tmp_path, capsys):
    assert main(["generate", "face.png", "--label", "fear", "--steps", "1"]) == 0
    assert (tmp_path / "out.gif").is_file()
    said = capsys.readouterr().out
    assert "seed" in said and "out.gif" in said


def test_a_model_that_says_how_few_steps_serve_it_is_asked_in_these_unless_others_are_given(broken, monkeypatch):
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"quick": [3, 1, 1.5]}))
    asked, real = [], LFDM.generate

    def spy(self, *given, **how):
        asked.append(tuple(how[name] for name in ("steps", "guided_steps", "spacing")))
        return real(self, *given, **how)

    monkeypatch.setattr(LFDM, "generate", spy)
    command = f"generate face.png --label fear --seed 0 --quiet --device cpu --checkpoint {broken}"
    ways = ("", "--fast", "--steps 2", "--guided-steps 1", "--spacing 2", "--sampler ddim", "--mix fear=0.5,anger=0.5")
    for more in ways:
        words = [word for word in command.split() if "mix" not in more or word not in ("--label", "fear")]
        assert main([*words, *more.split()]) == 0
    assert asked == [(3, 1, 1.5), (3, 1, 1.5), (2, 2, 1), (20, 1, 1), (20, 20, 2), (20, 20, 1)]
    assert main([*command.split(), "--fast", "--steps", "2"]) == 2, "no fast network is there to take them"


def test_the_same_seed_writes_the_same_file(tmp_path):
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        main(["generate", "face.png", "--label", "fear", "--out", f"{name}.gif", *QUICK, "--seed", seed])
    a, b, c = ((tmp_path / f"{name}.gif").read_bytes() for name in "abc")
    assert a == b != c


def test_several_labels_write_a_file_each_and_a_sheet(tmp_path):
    arguments = "--label fear --label anger --out v/out.mp4 --out v/out.gif --sheet v/all.png --num-frames 3"
    assert main(["generate", "face.png", *arguments.split(), *QUICK]) == 0
    names = sorted(p.name for p in (tmp_path / "v").iterdir())
    assert names == ["all.png", "out-anger.gif", "out-anger.mp4", "out-fear.gif", "out-fear.mp4"]
    assert read_video(tmp_path / "v" / "out-fear.mp4").shape == (3, 3, 32, 32)


def test_all_labels_and_several_images(tmp_path):
    shutil.copy("face.png", "other.png")
    assert main(["generate", "face.png", "other.png", "--label", "all", "--out", "o.gif", *QUICK, "--steps", "1"]) == 0
    assert len(list(tmp_path.glob("o-*.gif"))) == 12 and (tmp_path / "o-other-surprise.gif").is_file()


def test_the_same_label_twice_makes_two_files(tmp_path):
    assert main(["generate", "face.png", "--label", "fear", "--label", "fear", "--out", "o.gif", *QUICK]) == 0
    assert sorted(p.name for p in tmp_path.glob("*.gif")) == ["o-fear-1.gif", "o-fear.gif"]


def test_a_video_is_weaker_later_in_one_place_and_of_a_mixture_as_asked(monkeypatch):
    """Each option does what `lfdm_lite.control` does with the motion that is generated without it."""
    made = []
    monkeypatch.setattr("lfdm_lite.generated.GeneratedVideo.save", lambda self, *_, **__: made.append(self))

    def run(*words: str, label: bool = True) -> GeneratedVideo:
        assert main(["generate", "face.png", *(["--label", "fear"] if label else []), *words, *QUICK]) == 0
        return made[-1]

    plain = run()
    motion = Motion(plain.flow, plain.occlusion)
    half, rest = run("--strength", "0.5"), run("--strength", "0")
    assert_close(half.flow, 0.5 * plain.flow)  # this model knows no strengths
    assert not rest.flow.any() and torch.equal(rest.occlusion, motion.rest.expand_as(motion.occlusion))
    assert half.captions == ["fear (strength 0.5)"]
    late = run("--onset", "1", "--duration", "1.5")
    assert_close(late.flow, retimed(motion, 1, 1.5).flow)
    assert_close(run("--onset", "1").flow, retimed(motion, 1, timing(motion)[1]).flow)
    left = run("--only", "left_half")
    assert_close(left.flow, only(motion, mask_of("left_half", *motion.flow.shape[-2:])).flow)
    assert_close(run("--only=-1,-1,0,1").flow, left.flow)
    assert not torch.equal(half.video, plain.video)
    alone, mixture = (run("--mix", text, label=False) for text in ("fear=1", "fear=0.5,surprise=0.5"))
    assert_close(alone.flow, plain.flow, rtol=0, atol=1e-4)
    assert mixture.captions == ["0.5 fear + 0.5 surprise"] and mixture.flow.shape == plain.flow.shape


def test_a_strength_is_told_as_far_as_the_model_knows_and_the_rest_is_scaled(monkeypatch):
    model = LFDM.from_pretrained(asset("checkpoints/faces64"))  # told 0.5 to 1.45 in training
    for asked, told in ((0.0, 0.5), (0.25, 0.5), (0.8, 0.8), (1.5, 1.45)):
        wishes = wishes_of(Control(), asked, ["fear"], model, 16)
        assert wishes.told == told and wishes.told * wishes.factor == pytest.approx(asked)
        assert wishes.change_motion == (asked != told)
    weak = NumberRange("strength", 0.5, 0.8)  # of another model: motion is scaled by 1.5 at most
    monkeypatch.setattr(model.unet, "config", replace(model.unet.config, numbers=(weak,)))
    assert wishes_of(Control(), 1.2, ["fear"], model, 16).factor == pytest.approx(1.5)
    with pytest.raises(UsageError, match=r"^--strength is 1\.3; expected a number from 0 \(rest\) to 1\.2$"):
        wishes_of(Control(), 1.3, ["fear"], model, 16)


def test_a_model_without_a_flow_has_nothing_to_control():
    with pytest.raises(UsageError, match="^--onset and --mix: this model has no flow to control; leave it out$"):
        wishes_of(Control(onset=1.0, mix="fear=1"), None, [], object(), 16)
    assert wishes_of(Control(), None, ["fear"], object(), 16) == Wishes()


# ---------------------------------------------------------------- what is wrong is said in one line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("generate face.png --label smile", "label 'smile' is not one of: anger, disgust, fear, happiness, sad"),
        ("generate face.png", "no label was given: use --label with one of: anger"),
        ("generate --label fear", "no image was given"),
        ("generate face.png --label fear --only 10,20,30,40", "--only 10,20,30,40: expected one of left_half"),
        ("generate face.png --label fear --only=-inf,0,1,1", "--only -inf,0,1,1: expected one of left_half"),
        ("generate face.png --label fear --only mouth,eyes", "--only mouth,eyes: expected one of left_half"),
        ("generate face.png --label fear --only 0,0,1e-3,1e-3", "--only 0,0,1e-3,1e-3: no pixel of the motion's maps"),
        ("generate face.png --label fear --onset 1 --num-frames=-3", "--num-frames is -3; expected a whole number"),
        ("generate face.png --label fear --onset 4 --num-frames 4", "--onset is 4; expected a frame from 0 to 3"),
        ("generate absent.png --label fear", "absent.png"),
        ("generate . --label fear", "."),
        ("generate face.png --label fear --out out.avi", "cannot save a video as 'out.avi': the name must end in .gif"),
        ("generate face.png --label fear --sheet sheet.gif", "--sheet sheet.gif: the name must end in .png"),
        ("generate face.png --label fear --out face.png/out.gif", "face.png"),
        ("generate face.png --label fear --checkpoint nowhere", "no checkpoint folder at nowhere"),
        ("generate face.png --label fear --checkpoint .", "no checkpoint in .: it has no config.json"),
        ("generate face.png --label fear --checkpoint face.png", "face.png is a file; a checkpoint is a folder"),
        ("generate face.png --label fear --strength 1.6", "--strength is 1.6; expected a number from 0 (rest) to 1.5"),
        ("generate face.png --label fear --strength -1", "--strength is -1; expected a number from 0 (rest) to 1.5"),
        ("generate face.png --label fear --onset 99", "--onset is 99; expected a frame from 0 to "),
        ("generate face.png --label fear --duration 0", "--duration is 0; expected a number of frames above 0"),
        ("generate face.png --label fear --only nose", "--only nose: expected one of left_half, right_half, brows,"),
        ("generate face.png --label fear --only 0.5,0,0,1", "or LEFT,TOP,RIGHT,BOTTOM in this order, from -1 to 1"),
        ("generate face.png --label fear --only 0,0,1", "or LEFT,TOP,RIGHT,BOTTOM in this order, from -1 to 1"),
        ("generate face.png --label fear --mix fear=1", "--label fear and --mix fear=1: give one of them; a mixture"),
        ("generate face.png --mix fear=0.5,anger=0.6", "--mix fear=0.5,anger=0.6: the weights sum to 1.1; make it 1"),
        ("generate face.png --mix fear,anger", "--mix fear,anger: expected labels with weights, such as fear=0.5"),
        ("generate face.png --mix fear=0.5,smile=0.5", "label 'smile' is not one of: anger, disgust"),
        ("generate face.png --mix fear=0.5,fear=0.5", "fear stands there twice; add its weights"),
        ("generate face.png --mix fear=2,anger=-1", "the weight of anger is -1; expected a number above 0"),
        ("generate face.png --mix fear=1 --guided-steps 1", "--mix and --guided-steps: a mixture needs guidance"),
        ("generate face.png --label fear --steps 4 --guided-steps 5", "guided_steps is 5; expected a whole number"),
        ("generate face.png --mix fear=1 --fast", "--mix and --fast: the fast network answers with guidance built in"),
        ("generate face.png --label fear --steps 0", "steps is 0; expected a whole number from 1 to 1000"),
        (
            "generate face.png --label fear --steps many",
            "--steps is 'many'; expected a whole number (see",
        ),
        ("generate face.png --label fear --num-frames 0", "num_frames is 0"),
        ("generate face.png --label fear --guidance-scale -1", "guidance_scale is -1.0"),
        ("generate face.png --label fear --sampler euler", "--sampler 'euler' is not one of: dpm++, ddim, ddpm"),
        ("generate face.png --label fear --device warp", "device 'warp' cannot be used here"),
        ("generate face.png --label fear --smile", "there is no option --smile"),
        ("generate face.png --lable fear", "there is no option --lable; did you mean --label"),
        ("generate face.png --label fear anger", "repeat the option: --label fear --label anger"),
        ("generate face.png --label fear --quiet yes", "'yes' is one word too many"),
        ("generate face.png --label fear --out", "--out FILE: the value is missing"),
        ("generate face.png --label Surprise", "label 'Surprise' is not one of: anger"),
        ("generate face.png --label Surprise", "did you mean 'surprise'?"),
        ("generate face.png --label fear --num-frames x", "--num-frames is 'x'; expected a whole number"),
        ("generate face.png --label fear --guidance-scale=1,5", "--guidance-scale is '1,5'; expected a number"),
        ("generate face.png --label fear --guidance-scale inf", "guidance_scale is inf"),
        ("generate face.png --label fear --device meta", "device 'meta' cannot be used here; this machine has: auto"),
        ("generate face.png --label fear --device hpu", "device 'hpu' cannot be used here; this machine has: auto"),
        ("dance", "command 'dance' is not one of: generate, train, evaluate, convert, export-onnx, data"),
        ("train", "one of these must follow: autoencoder, diffusion, decoder, judge,"),
        ("train dance", "'dance' is not one of: autoencoder, diffusion, decoder, judge,"),
        ("train decoder --preset tiny --out x", "--checkpoint FOLDER is missing"),
        ("train few-steps --preset tiny --out x --scales 1", "--scales"),
        ("train autoencoder", "--out FOLDER missing (see lfdm train autoencoder --help)"),
        ("train --out x autoencoder", "one of these must come first: autoencoder, diffusion"),
        ("generate face.png --label fear,anger", "repeat --label: --label fear --label anger"),
        ("generate face.png --label fear -- --out x", "--out stands where no option can"),
        ("train autoencoder --preset tiny --preset huge --out x", "preset 'huge' is not one of: tiny"),
        ("train autoencoder --preset tiny --out face.png", "--out face.png is a file; expected a folder"),
        ("train autoencoder --preset huge --out x", "preset 'huge' is not one of: tiny"),
        ("train diffusion --preset tiny --out x", "--autoencoder FOLDER is missing"),
        ("train diffusion --preset tiny --out x --autoencoder nowhere", "no checkpoint folder at nowhere"),
        ("train autoencoder --preset tiny --out x --optim.steps q", "no option --optim.steps; did you mean --steps?"),
        ("train diffusion --preset tiny --out x --unet.dmi 8", "no option --unet.dmi; did you mean --unet.dim"),
        ("data", "one of these must follow: preview, export, prepare, lpips, i3d (see lfdm data --help)"),
        ("data preview cats", "data set 'cats' is not one of: faces"),
        ("data export . --out x", "only procedural sets can be exported (faces"),
        ("data export faces", "--out"),
        ("data prepare mug", "SRC and DST missing"),
        ("data prepare cat . x", "'cat' is not one of: mug, mhad, natops"),
        ("plan tiny --price nan", "--price is nan; expected what an hour costs"),
        ("plan tiny --price=-1", "--price is -1"),
        ("plan tiny --memory inf", "--memory is inf; expected gigabytes above 0"),
        ("data preview faces --clips 0", "--clips is 0"),
        ("evaluate nowhere", "no checkpoint folder at nowhere"),
        ("info nowhere", "no checkpoint folder at nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, arguments, message):
    assert message in fails(capsys, *arguments.split())


@pytest.mark.parametrize("missing", ["the hook", "what an event holds"])
def test_with_another_tyro_its_own_words_are_left(capsys, monkeypatch, missing):
    if missing == "the hook":
        monkeypatch.setitem(sys.modules, "tyro._errors", None)
    else:
        monkeypatch.setattr("lfdm_lite.commands.common.surplus", lambda *_: object().gone)
    assert main(["generate", "face.png", "--smile"]) == 2
    assert "Unrecognized options: --smile" in capsys.readouterr().err


def test_a_text_file_named_png_is_one_line(capsys, tmp_path):
    (tmp_path / "note.png").write_text("not a picture")
    assert "note.png" in fails(capsys, "generate", "note.png", "--label", "fear")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("unet.head.bias"), "tensor 'unet.head.bias' of shape (3,) is missing"),
        (lambda t: t.update({"unet.head.bias": torch.zeros(9)}), "'unet.head.bias' has shape (9,), expected (3,)"),
    ],
)
@pytest.mark.parametrize("command", ["generate face.png --label fear --checkpoint", "info", "evaluate"])
def test_a_checkpoint_with_a_wrong_tensor_is_one_line(capsys, broken, edit, message, command):
    tensors = load_file(broken / "model.safetensors")
    edit(tensors)
    save_file(tensors, broken / "model.safetensors")
    assert message in fails(capsys, *command.split(), str(broken))


def test_damaged_files_are_one_line(capsys, broken):
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "damaged" in fails(capsys, "info", str(broken))
    (broken / "config.json").write_text("{")
    assert "not valid JSON" in fails(capsys, "info", str(broken))


def test_without_any_checkpoint_the_options_are_named(capsys, monkeypatch):
    monkeypatch.delenv("LFDM_CHECKPOINT")
    monkeypatch.setattr("lfdm_lite.commands.common.SHIPPED", Path("no", "such"))
    said = fails(capsys, "generate", "face.png", "--label", "fear")
    assert "name one by --checkpoint FOLDER or LFDM_CHECKPOINT" in said


def test_a_bug_of_ours_is_one_line_that_tells_how_to_see_more(monkeypatch, capsys):
    monkeypatch.setattr("lfdm_lite.pipeline.LFDM.generate", lambda *_, **__: 1 / 0)
    assert main(["generate", "face.png", "--label", "fear", *QUICK]) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said and "LFDM_DEBUG=1" in said and said.count("\n") == 1
    monkeypatch.setenv("LFDM_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["generate", "face.png", "--label", "fear", *QUICK])


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: ..."),
        RuntimeError("could not create a primitive"),
        RuntimeError("can't start new thread"),
        ImportError("libx264.so: failed to map segment from shared object"),
        ValueError("quantization error"),
        OSError(errno.ENOMEM, "Cannot allocate memory", "face.png"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_too_little_memory_is_said_as_such(monkeypatch, capsys, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("lfdm_lite.pipeline.LFDM.generate", fail)
    assert "not enough memory" in fails(capsys, "generate", "face.png", "--label", "fear")


def test_a_file_that_finds_no_room_in_memory_is_not_called_damaged(monkeypatch, capsys):
    def fail(*_, **__):
        raise RuntimeError("unable to mmap 11935990 bytes: Cannot allocate memory (12)")

    monkeypatch.setattr("safetensors.torch.load_file", fail)
    said = fails(capsys, "generate", "face.png", "--label", "fear")
    assert "not enough memory" in said and "damaged" not in said


@pytest.mark.parametrize("name", ["out of memory.png", "new thread.png", "quantization error"])
def test_words_in_a_name_are_not_taken_for_too_little_memory(capsys, name):
    assert name in fails(capsys, "generate", name, "--label", "fear")


def test_a_long_message_is_cut(monkeypatch, capsys):
    def fail(*_, **__):
        raise ValueError("word " * 1000)

    monkeypatch.setattr("lfdm_lite.pipeline.LFDM.generate", fail)
    assert len(fails(capsys, "generate", "face.png", "--label", "fear")) <= 500


def test_lfdm_debug_shows_tracebacks(monkeypatch):
    monkeypatch.setenv("LFDM_DEBUG", "1")
    with pytest.raises(ValueError, match="smile"):
        main(["generate", "face.png", "--label", "smile"])


def test_ctrl_c_is_no_traceback(monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("lfdm_lite.pipeline.LFDM.generate", interrupt)
    assert main(["generate", "face.png", "--label", "fear"]) == 130
    assert capsys.readouterr().err == "lfdm: interrupted\n"


def test_a_real_process_ends_the_same_way(tmp_path):
    (tmp_path / "note.png").write_text("not a picture")
    command = [sys.executable, "-m", "lfdm_lite.cli", "generate", "note.png", "--label", "fear"]
    path = os.pathsep.join(filter(None, [os.path.dirname(os.path.dirname(__file__)), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("lfdm: error: ") and done.stderr.count("\n") == 1 and "note.png" in done.stderr


# ---------------------------------------------------------------- help


def test_the_overview_names_every_command(capsys):
    from lfdm_lite.commands import COMMANDS

    assert main(["--help"]) == 0
    assert capsys.readouterr().out == OVERVIEW
    assert all(f"lfdm {name}" in OVERVIEW for name in COMMANDS)
    assert main([]) == 2
    assert main(["--version"]) == 0 and "lfdm 0." in capsys.readouterr().out.removeprefix(OVERVIEW)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("generate", ["IMAGE", "--label", "--guidance-scale", "--num-frames", "the shipped faces64"]),
        ("train", ["autoencoder", "diffusion", "decoder", "judge", "an image and a label become motion"]),
        ("train autoencoder", ["--preset", "--out", "--resume", "--steps", "--model.num-regions", "share of pairs"]),
        ("train diffusion --preset tiny", ["--autoencoder", "--unet.dim", "--diffusion.schedule"]),
        ("train judge", ["--learning-rate", "--data.train-clips"]),
        ("evaluate", ["--data", "--split", "--clips", "--judge"]),
        ("data", ["preview", "export", "prepare", "Draw a few clips"]),
        ("data preview", ["SET", "--split"]),
        ("data export", ["--flow", "--out"]),
        ("info", ["CHECKPOINT"]),
    ],
)
def test_help_names_the_options(capsys, command, words):
    assert main([*command.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in words), said


# ---------------------------------------------------------------- train


def test_overrides_reach_the_run(monkeypatch, tmp_path):
    from lfdm_lite import training

    seen = []
    monkeypatch.setattr(training, "train_autoencoder", lambda *arguments: seen.append(arguments))
    arguments = "train autoencoder --preset tiny --out runs/x --steps 5 --batch-size 3 --model.width 16 --data.size 64"
    assert main(arguments.split()) == 0
    ((config, out, resume),) = seen
    assert (config.optim.steps, config.optim.batch_size, config.model.width, config.data.size) == (5, 3, 16, 64)
    assert config.model.num_regions == training.PRESETS["tiny"].autoencoder.model.num_regions
    assert str(out) == os.path.join("runs", "x") and resume is False


def test_a_resumed_run_keeps_the_options_that_it_was_started_with(monkeypatch, tmp_path):
    from dataclasses import asdict, replace

    from lfdm_lite import training

    config = training.PRESETS["tiny"].judge
    config = replace(config, optim=replace(config.optim, steps=77))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text(json.dumps({"config": asdict(config)}))
    seen = []
    monkeypatch.setattr(training, "train_judge", lambda *arguments: seen.append(arguments))
    assert main(["train", "judge", "--out", "run", "--resume"]) == 0
    assert seen[0][0] == config and seen[0][2] is True


def test_of_two_presets_the_last_counts_for_the_defaults_too(monkeypatch):
    from lfdm_lite import training

    seen = []
    monkeypatch.setattr(training, "train_judge", lambda *arguments: seen.append(arguments))
    words = "train judge --preset=faces32 --out a --steps 9 --preset tiny --out b"
    assert main(words.split()) == 0
    config, out, _ = seen[0]
    tiny = training.PRESETS["tiny"].judge
    assert config.data == tiny.data and config.model == tiny.model and config.optim.steps == 9 and str(out) == "b"
    assert tiny.data != training.PRESETS["faces32"].judge.data


def test_the_run_of_another_stage_is_refused(capsys, tmp_path):
    from dataclasses import asdict

    from lfdm_lite import training

    (tmp_path / "run").mkdir()
    recipe = json.dumps({"config": asdict(training.PRESETS["tiny"].decoder)})
    (tmp_path / "run" / "recipe.json").write_text(recipe)
    assert "run" in fails(capsys, "train", "autoencoder", "--preset", "tiny", "--out", "run", "--resume")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["recipe.json"]


@pytest.mark.parametrize("stage", ["autoencoder", "diffusion", "decoder", "judge"])
def test_every_stage_has_help_with_the_defaults_of_its_preset(capsys, stage):
    from lfdm_lite import training

    assert main(["train", stage, "--preset", "tiny", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    steps = getattr(training.PRESETS["tiny"], stage).optim.steps
    assert "The defaults are those of --preset tiny." in said and f"(default: {steps})" in said


# ---------------------------------------------------------------- info, data


def test_info_prints_what_is_known(capsys, shipped):
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    figures = "psnr: 30.123 [29.5, 31] (n = 120)"
    for words in ("LFDM", "autoencoder", "numbers in", "labels: anger, disgust", "steps: 7", figures):
        assert words in said, said


def test_preview_draws_a_sheet_and_a_film(tmp_path):
    arguments = "data preview faces --split val --clips 2 --size 32 --num-frames 3 --out look/faces"
    assert main(arguments.split()) == 0
    _, frames, height, width = read_video(tmp_path / "look" / "faces.gif").shape
    assert frames == 3 and height > 32 and width > 2 * 3 * 32, "two clips of three pictures, each with its label"
    assert (tmp_path / "look" / "faces.png").is_file()


def test_exported_clips_are_a_video_folder_with_a_table(tmp_path):
    from lfdm_lite.data import Faces, VideoFolder

    assert main("data export faces --split val --clips 3 --size 32 --num-frames 4 --out clips --flow npz".split()) == 0
    with open("clips/clips.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    item = Faces("val", size=32, num_frames=4, length=3, seed=0)[1]
    assert rows[1]["label_name"] == item["label_name"] and int(rows[1]["subject"]) == item["subject"]
    path = tmp_path / "clips" / rows[1]["file"]
    assert (read_video(path) - item["video"]).abs().mean() < 0.03
    with np.load(path.with_suffix(".npz")) as truth:
        np.testing.assert_allclose(truth["flow"], item["flow"].numpy())
        np.testing.assert_allclose(truth["visible"], item["visible"].numpy())
    assert main("data export faces --split test --clips 2 --size 32 --num-frames 4 --out clips".split()) == 0
    folder = VideoFolder(tmp_path / "clips", size=32, num_frames=4)
    assert len(folder) == 5 and folder.subjects and set(folder.labels) <= set(LABELS)
    assert len(VideoFolder(tmp_path / "clips", size=32, num_frames=4, split="test")) == 2
    assert main("data preview clips --split all --size 32 --num-frames 4 --out look".split()) == 0
    _, frames, height, width = read_video(tmp_path / "look.gif").shape
    assert frames == 4 and height > 32 and width > 5 * 32, "five clips side by side, each with its label"


def test_flow_is_exported_in_pixels_as_middlebury_files(tmp_path):
    from lfdm_lite.data import Faces

    assert main("data export faces --clips 1 --size 32 --num-frames 3 --out clips --flow flo".split()) == 0
    (path,) = tmp_path.glob("clips/*/*_flow/002.flo")
    content = path.read_bytes()
    assert content[:4] == b"PIEH" and np.frombuffer(content, "<i4", 2, 4).tolist() == [32, 32]
    pixels = np.frombuffer(content, "<f4", offset=12).reshape(32, 32, 2)
    flow = Faces("train", size=32, num_frames=3, length=1, seed=0)[0]["flow"][:, 2].numpy()
    np.testing.assert_allclose(pixels.transpose(2, 0, 1), flow * 16, atol=1e-5)
