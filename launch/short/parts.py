"""The parts of a short run, each in a process of its own: `slices.Part` starts it and hands it its tasks."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, is_dataclass, replace
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from lfdm_lite.commands import evaluate as command
from lfdm_lite.data import PROCEDURAL
from lfdm_lite.evaluation.tables import as_table, evaluate_autoencoder
from lfdm_lite.files.atomic import write_json
from lfdm_lite.files.media import write_gif
from lfdm_lite.files.reading import read_json
from lfdm_lite.flow import flow_to_rgb
from lfdm_lite.geometry import resize
from lfdm_lite.pipeline import LFDM
from lfdm_lite.training import PRESETS, load_autoencoder, train_autoencoder, train_diffusion, train_judge
from lfdm_lite.training.configs import DataConfig
from lfdm_lite.training.engine.stopping import Stopped
from lfdm_lite.training.planning.trial import try_here
from lfdm_lite.training.stages.clips import cached_clips
from lfdm_lite.training.stages.finished import KIND
from lfdm_lite.training.stages.growing import growing_clips
from lfdm_lite.viz.pictures import grid_of_clips

from . import folder

Ask = Callable[[], dict[str, Any]]
Tell = Callable[..., None]
STEPS = 5  # that are timed
VALIDATIONS = 8  # of a stage
PICTURES = 2  # of a stage, and one at the end; large ones take seconds
VAL_CLIPS = 24  # at most, for choosing nothing: the last weights count
FIRST = 24  # test clips that are measured first, in case there is no time for all


def run(kind: str, tasks: Connection, found: Path) -> None:
    """Be a part: one of the functions below that take `ask`, for the next task, and `tell`, for what was found."""

    def ask() -> dict[str, Any]:
        try:
            return tasks.recv()
        except EOFError:  # the run is over
            sys.exit(0)

    def tell(**values: Any) -> None:
        with open(found, "a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    if "OMP_NUM_THREADS" in os.environ:  # of this part: torch has been imported before
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    kinds = {part.__name__: part for part in (draw, measure, train, evaluate, pack)}
    kinds[kind](ask, tell)


def data_of(preset: str, stage: str, train_clips: int | None = None) -> DataConfig:
    """The clips of a stage, as many as there will be."""
    data = getattr(PRESETS[preset], stage).data
    train_clips = data.train_clips if train_clips is None else train_clips
    return replace(data, train_clips=train_clips, val_clips=min(data.val_clips, VAL_CLIPS))


# ---------------------------------------------------------------- clips


def draw(ask: Ask, tell: Tell) -> None:
    """Draw the clips for validation, which tells how fast that is; then as many for training as the time allows."""
    task = ask()
    drawn = [name for name, preset in PRESETS.items() if preset.autoencoder.data.name in PROCEDURAL]
    if task["preset"] not in drawn:
        tell(refused=f"--preset {task['preset']!r} is not one whose clips are drawn: {', '.join(drawn)}")
        return
    data, cache = data_of(task["preset"], "autoencoder"), Path(task["cache"])
    began = time.time()
    cached_clips(data, "val", cache, workers=task["workers"])
    each = (time.time() - began) / data.val_clips
    fitting = int(0.9 * (task["until"] - time.time()) / each)  # some of the cores have other work by then
    count = max(min(task["at_least"], data.train_clips), min(fitting, data.train_clips))
    tell(train_clips=count, seconds_per_clip=each)
    cached_clips(replace(data, train_clips=count), "train", cache, workers=task["workers"])
    tell(drawn=count, seconds=time.time() - began)


# ---------------------------------------------------------------- what a step costs


def measure(ask: Ask, tell: Tell) -> None:
    """Try a stage's step in bfloat16, float32 and, if asked, bfloat16 compiled; each is told when it is known."""
    task = ask()
    preset, stage = PRESETS[task["preset"]], task["stage"]
    run = getattr(preset, stage)
    for precision, compiled in [("bf16", False), ("no", False), ("bf16", True)][: 3 if task["compile"] else 2]:
        switches = {"precision": precision, "compile": compiled}
        loop = replace(run.loop, **switches)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            trial = try_here(replace(run, loop=loop), run.optim.batch_size, STEPS, preset.autoencoder.model)
            tell(**switches, **asdict(trial))
        except Exception as error:  # whatever a compiler, or a card without enough memory, has to say
            tell(**switches, failed=" ".join(f"{type(error).__name__}: {error}".split())[:300])


# ---------------------------------------------------------------- training


def configured(task: dict[str, Any]) -> Any:
    """A stage of the preset for the time that it has: the schedule ends when the time does.

    Args:
        task: with "steps" and "seconds", what the measured step foretells.
    """
    run, steps = getattr(PRESETS[task["preset"]], task["stage"]), task["steps"]
    optim = replace(
        run.optim,
        steps=steps,
        schedule="cosine",
        warmup=min(run.optim.warmup, steps // 20),
        ema=min(run.optim.ema, max(0.0, 1 - 20 / steps)),
    )
    loop = replace(
        run.loop,
        seed=task["seed"],
        precision=task["precision"],
        compile=task["compile"],
        until=datetime.fromtimestamp(task["until"]).astimezone().isoformat(),
        save_minutes=task["save_minutes"],
        save_every=10**9,
        validate_every=max(1, steps // VALIDATIONS),
        sample_every=max(1, steps // PICTURES),
        log_every=max(1, round(task["row_seconds"] / task["seconds"])),
        progress=False,
        tracker="none",
        workers=task.get("workers", run.loop.workers),
    )
    run = replace(run, data=data_of(task["preset"], task["stage"], task["train_clips"]), optim=optim, loop=loop)
    if task["plain"] and getattr(run, "perceptual_weight", 0):
        run = replace(run, perceptual_weight=0.0)  # its weights may not be at hand
    return replace(run, autoencoder=task["autoencoder"]) if task["stage"] == "diffusion" else run


def train(ask: Ask, tell: Tell) -> None:
    """Train a stage until its time is up; of one that was interrupted, finish what there is."""
    task = ask()
    config, out = configured(task), Path(task["out"])
    resume = any(out.glob("checkpoints/step_*"))
    try:
        if task["stage"] == "autoencoder":
            train_autoencoder(config, out, resume, growing_clips(config.data, out.parent / "cache"))
        else:
            {"diffusion": train_diffusion, "judge": train_judge}[task["stage"]](config, out, resume)
    except Stopped as stop:
        print(stop)
        sys.exit(stop.status)


# ---------------------------------------------------------------- the result


def evaluate(ask: Ask, tell: Tell) -> None:
    """Draw test clips while others still train; then measure as `lfdm evaluate` does, first a few, then all.

    The first task says which clips, the second which model, which judge (or none) and until when.
    """
    task = ask()
    data = PRESETS[task["preset"]].diffusion.data
    options = command.Evaluate(checkpoint="", data=data.name, clips=task["clips"], device=task["device"])
    clips = command.load_clips(options, data.size, data.num_frames, None)
    tell(clips=task["clips"])
    task = ask()
    model, judge = Path(task["model"]), task["judge"] and Path(task["judge"])
    options = replace(options, checkpoint=str(model), judge=judge, stage="both" if judge else "one")
    for count in dict.fromkeys((min(FIRST, options.clips), options.clips)):
        began = time.time()
        part = {name: values[:count] for name, values in clips.items()}
        results = figures_of(model, replace(options, clips=count), part)
        took = time.time() - began
        figures = {
            title: {name: asdict(value) if is_dataclass(value) else value for name, value in p.items()}
            for title, p in results.items()
        }
        tables = {title: as_table(values) for title, values in results.items()}
        write_json(Path(task["out"]) / "metrics.json", {"clips": count, "figures": figures, "tables": tables})
        tell(measured=count, seconds=took)
        film = Path(task["out"]) / "clips.gif"
        if read_json(model / "config.json")["kind"] != KIND and not film.exists():
            show(model, clips, film, options.device, task["max_bytes"])
        if time.time() + took * options.clips / count * 1.2 > task["until"]:
            break


def figures_of(folder: Path, options: command.Evaluate, clips: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What `lfdm evaluate` finds; of an auto-encoder, where there is nothing else, that of stage one."""
    if read_json(folder / "config.json")["kind"] != KIND:
        return command.evaluate_model(folder, options, clips)
    network = load_autoencoder(folder).to(command.pick_device(options.device))
    return {"stage_one": evaluate_autoencoder(network, clips)}


def show(model: Path, clips: dict[str, torch.Tensor], path: Path, device: str, max_bytes: int) -> None:
    """A film: for each label a real clip, a generated one with its frame 0 and label, and its flow in colours."""
    lfdm = LFDM.from_pretrained(model, device="cuda" if device == "auto" and torch.cuda.is_available() else "cpu")
    count = min(len(lfdm.labels), len(clips["label"]))
    real, label = clips["video"][:count], clips["label"][:count].tolist()
    made = lfdm.generate(real[:, :, 0], label, seed=0, progress=False)
    flow = resize(flow_to_rgb(made.flow), real.shape[-2:])
    names = [lfdm.labels[i] for i in label]
    titles = [*names, *["generated"] * count, *["its flow"] * count]
    film = grid_of_clips(torch.cat([real, made.video, flow]), titles, columns=count)
    for every in (1, 2, 4, 8):  # fewer frames until it is small enough
        write_gif(path, film[:, ::every], fps=8 / every)
        if path.stat().st_size <= max_bytes:
            return
    path.unlink()


def pack(ask: Ask, tell: Tell) -> None:
    """Bring weights, log and pictures in the run's folder up to date, again at every task."""
    while True:
        task = ask()
        notes = folder.write(Path(task["work"]), Path(task["out"]), task["max_bytes"])
        tell(packed=task["number"], notes=notes)
