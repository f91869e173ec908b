"""The folder that a short run leaves: at most eight files, none larger than asked, up to date at any moment.

    python -m launch.short.folder FOLDER      puts weights together that had to be cut in two
"""

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL import Image
from safetensors import safe_open

from lfdm_lite.files.atomic import write_atomically, write_json
from lfdm_lite.files.checkpoints import CONFIG_FILE, WEIGHTS_FILE, save_module
from lfdm_lite.files.reading import read_json
from lfdm_lite.files.variants import construct
from lfdm_lite.pipeline import LFDM
from lfdm_lite.training import AutoencoderRun, load_autoencoder
from lfdm_lite.training.engine.recipes import read_run
from lfdm_lite.training.engine.records import read_log
from lfdm_lite.training.engine.saving import newest_state
from lfdm_lite.training.stages.finished import KIND

STAGES = {"autoencoder": "ae", "diffusion": "dm", "judge": "judge"}  # and the folder of each
SHOWN = {"autoencoder": "val_psnr", "diffusion": "val_loss", "judge": "val_accuracy"}
WIDTH = 1280  # pixels of the sheet of samples
SAMPLES = 3  # pictures of a stage, from first to last
MOST_PARTS = 2  # files that weights may be cut into


def write(work: Path, out: Path, max_bytes: int) -> list[str]:
    """Write what there is of a run; one file that cannot be written, or is too large, keeps none of the others.

    Args:
        work: where the parts of the run work.
        out: the folder that is left.
        max_bytes: of a file.

    Returns:
        What there is to say about it.
    """
    notes = []
    logs = {stage: read_log(p, 10**9) for stage, name in STAGES.items() if (p := work / name / "log.csv").is_file()}

    def attempt(name: str, make: Callable[[], Any]) -> None:
        try:
            make()
        except Exception as error:  # the rest still counts
            notes.append(f"{name} could not be written: {type(error).__name__}: {error}")

    attempt("weights", lambda: notes.extend(write_weights(work, out, max_bytes)))
    attempt("log.csv", lambda: write_logs(logs, out / "log.csv"))
    if (work / "clips.gif").is_file():
        attempt("clips.gif", lambda: copy(work / "clips.gif", out / "clips.gif"))
    attempt("samples.jpg", lambda: write_samples(work, out / "samples.jpg", max_bytes))
    attempt("curves.png", lambda: draw_curves(logs, out / "curves.png"))
    for path in out.glob("[!.]*"):
        if path.stat().st_size > max_bytes:
            path.unlink()
            notes.append(f"{path.name} was larger than asked, and is left out")
    return notes


def copy(source: Path, target: Path) -> None:
    """A copy that is whole or not there."""
    write_atomically(target, lambda path: path.write_bytes(source.read_bytes()))


# ---------------------------------------------------------------- weights


def write_weights(work: Path, out: Path, max_bytes: int) -> list[str]:
    """The whole model in half precision, or the auto-encoder as far as it is; what is the same already stays.

    Returns:
        What there is to say about it.
    """
    sources = [work / "dm" / WEIGHTS_FILE, work / "ae" / WEIGHTS_FILE, *sorted(work.glob("ae/checkpoints/step_*"))[-1:]]
    source = next((path for path in sources if path.exists()), None)
    if source is None:
        return ["no weights: stage one saved none"]
    ready = work / "half"
    made_from = f"{source} {source.stat().st_mtime_ns}"
    if not (ready / "made_from").is_file() or (ready / "made_from").read_text() != made_from:
        if source == sources[0]:
            LFDM.from_pretrained(source.parent).save_pretrained(ready, dtype=torch.float16, overwrite=True)
        else:
            network = autoencoder_of(work / "ae")
            save_module(ready, network, KIND, {"model": config_of(work / "ae")}, torch.float16, overwrite=True)
        (ready / "made_from").write_text(made_from)
    return put_weights(ready, out, max_bytes)


def config_of(folder: Path) -> dict[str, Any]:
    """The network of a stage-one run."""
    return read_json(folder / "recipe.json")["config"]["model"]


def autoencoder_of(folder: Path) -> torch.nn.Module:
    """The auto-encoder of a finished run, or of an unfinished one's newest checkpoint."""
    if (folder / WEIGHTS_FILE).is_file():
        return load_autoencoder(folder)
    network = construct(read_run(AutoencoderRun, folder / "recipe.json").model)
    network.load_state_dict(newest_state(folder / "checkpoints")["average"])
    return network.eval()


def put_weights(ready: Path, out: Path, max_bytes: int) -> list[str]:
    """Into one file, or two; else none."""
    data = (ready / WEIGHTS_FILE).read_bytes()
    parts = [data[i : i + max_bytes] for i in range(0, len(data), max_bytes)]
    wanted = {WEIGHTS_FILE: data} if len(parts) == 1 else {f"{WEIGHTS_FILE}.{i}": p for i, p in enumerate(parts, 1)}
    size = f"{len(data) / 1e6:.1f} MB of weights"
    if len(parts) > MOST_PARTS:
        wanted = {}
    for old in out.glob(f"{WEIGHTS_FILE}*"):
        if old.name not in wanted:
            old.unlink()
    for name, content in wanted.items():
        write_atomically(out / name, lambda path, content=content: path.write_bytes(content))
    if len(parts) == 1:
        copy(ready / CONFIG_FILE, out / CONFIG_FILE)
        return []
    (out / CONFIG_FILE).unlink(missing_ok=True)
    if not wanted:
        return [f"{size} would take {len(parts)} files: they are left out"]
    return [f"{size} are in {len(parts)} files: `python -m launch.short.folder {out.name}` puts them together"]


def join(folder: Path) -> None:
    """Put weights together that were cut, with the config that they carry, so that `LFDM.from_pretrained` reads them.

    Raises:
        ValueError: there are none.
    """
    parts = sorted(folder.glob(f"{WEIGHTS_FILE}.*"))
    if not parts:
        raise ValueError(f"{folder} holds no {WEIGHTS_FILE}.1; name a folder that launch/short_gpu.sh left")
    whole = b"".join(path.read_bytes() for path in parts)
    write_atomically(folder / WEIGHTS_FILE, lambda path: path.write_bytes(whole))
    with safe_open(folder / WEIGHTS_FILE, "pt") as file:
        write_json(folder / CONFIG_FILE, json.loads(file.metadata()["config"]))
    for path in parts:
        path.unlink()


# ---------------------------------------------------------------- log and pictures


def write_logs(logs: dict[str, list[dict[str, str]]], path: Path) -> None:
    """The rows of all stages, each with its stage."""
    rows = [{"stage": stage} | row for stage, log in logs.items() for row in log]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(n for row in rows for n in row)), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8"))


def draw_curves(logs: dict[str, list[dict[str, str]]], path: Path) -> None:
    """Loss and what validation found of each stage, over its minutes."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    axes = figure.subplots(2, len(STAGES))
    for (top, bottom), stage in zip(axes.T, STAGES, strict=True):
        rows = [{name: float(value) for name, value in row.items() if value} for row in logs.get(stage, [])]
        if not rows:
            top.set(title=f"{stage}: no step yet")
            for empty in (top, bottom):
                empty.set_axis_off()
            continue
        top.set(title=stage, ylabel="loss", yscale="log")
        top.plot([row["seconds"] / 60 for row in rows], [row["loss"] for row in rows], color="#1f3b57", linewidth=1)
        known = [(row["seconds"] / 60, row[SHOWN[stage]]) for row in rows if SHOWN[stage] in row]
        bottom.set(xlabel="minutes", ylabel=f"{SHOWN[stage].removeprefix('val_')}, unseen people")
        bottom.plot([m for m, _ in known], [v for _, v in known], color="#b35900", marker="^", linestyle="--")
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=110, format="png"))


def write_samples(work: Path, path: Path, max_bytes: int) -> None:
    """Some of the pictures that both stages drew on the way, from first to last, one below the other."""
    shown = []
    for stage, rows in (("ae", 1 / 3), ("dm", 1.0)):  # of the first, two clips of six
        taken = sorted((work / stage / "samples").glob("step_*.png"))
        count = min(SAMPLES, len(taken))
        for i in range(count):
            with Image.open(taken[i * (len(taken) - 1) // max(1, count - 1)]) as image:
                image = image.convert("RGB").crop((0, 0, image.width, max(1, round(image.height * rows))))
                shown.append(image.resize((WIDTH, max(1, round(image.height * WIDTH / image.width)))))
    if not shown:
        return
    gap = 8
    sheet = Image.new("RGB", (WIDTH, sum(image.height + gap for image in shown) - gap), "white")
    top = 0
    for image in shown:
        sheet.paste(image, (0, top))
        top += image.height + gap
    for part, quality in ((1, 88), (1, 75), (1, 50), (1, 25), (1 / 2, 50), (1 / 4, 50), (1 / 8, 25)):
        size, data = [max(1, round(side * part)) for side in sheet.size], io.BytesIO()
        sheet.resize(size).save(data, format="JPEG", quality=quality)
        if data.tell() <= max_bytes:
            write_atomically(path, lambda temporary, data=data: temporary.write_bytes(data.getvalue()))
            return
    raise ValueError(f"even an eighth of its size takes more than {max_bytes / 1e6:g} MB")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m launch.short.folder FOLDER")
    try:
        join(Path(sys.argv[1]))
    except ValueError as error:
        sys.exit(str(error))
