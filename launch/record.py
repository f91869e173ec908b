"""Keep what a finished run of `launch/full_scale.sh` can teach, and leave its weights: a few megabytes for the book.

    python launch/record.py runs/faces128 assets/runs/faces128

Copies recipes, logs, plan, profiles and metrics; draws the curves; shrinks the pictures that were taken on the way; and
measures, from the log, the time of a step, the share of the device's arithmetic that it reached, and the energy.
"""

import argparse
import csv
import json
import shutil
import statistics
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

STAGES = {"autoencoder": "ae", "judge": "judge", "diffusion": "dm"}  # and the folder of each
PICTURES = 8  # kept of each stage, from first to last
WIDTH = 1024  # pixels of a kept picture
ROWS = {"autoencoder": 1 / 3, "diffusion": 1.0}  # share of a sample picture's rows that is kept, from the top


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder that launch/full_scale.sh has filled")
    parser.add_argument("out", type=Path, help="folder to fill; a few megabytes")
    options = parser.parse_args()
    for folder in STAGES.values():
        if not (options.run / folder / "recipe.json").is_file():
            parser.error(f"{options.run / folder} holds no run: launch/full_scale.sh PRESET {options.run} makes one")
    options.out.mkdir(parents=True, exist_ok=True)
    recipes = {stage: json.loads((options.run / f / "recipe.json").read_text()) for stage, f in STAGES.items()}
    write(options.out / "recipe.json", recipes)
    logs = {stage: read_log(options.run / folder / "log.csv") for stage, folder in STAGES.items()}
    for stage, folder in STAGES.items():
        shutil.copy(options.run / folder / "log.csv", options.out / f"{stage}_log.csv")
        keep_pictures(options.run / folder / "samples", options.out / "samples", stage)
        for kind in ("txt", "png"):
            profile = options.run / "profile" / stage / f"profile.{kind}"
            if profile.is_file():
                shutil.copy(profile, options.out / f"profile_{stage}.{kind}")
    for name in ("plan.txt", "plan.json", "metrics.json"):
        if (options.run / name).is_file():
            shutil.copy(options.run / name, options.out / name)
    plan = json.loads((options.run / "plan.json").read_text()) if (options.run / "plan.json").is_file() else {}
    found = {stage: measured(logs[stage], recipes[stage], plan.get(stage)) for stage in STAGES}
    write(options.out / "measured.json", found | {"energy_kilowatt_hours": energy(options.run / "power.csv")})
    draw_curves(logs, options.out / "curves.png")
    print(json.dumps(found, indent=2))


def write(path: Path, values: dict) -> None:
    """JSON that a person can read."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a log, as numbers; a figure that a row lacks is absent."""
    with open(path, newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def measured(log: list[dict[str, float]], recipe: dict, plan: dict | None) -> dict[str, float | str]:
    """Of a stage: time, memory, and how much of the device's arithmetic it used."""
    pairs = zip(log, log[1:], strict=False)
    steps = [(b["seconds"] - a["seconds"]) / (b["step"] - a["step"]) for a, b in pairs if b["seconds"] > a["seconds"]]
    steps = steps or [recipe["seconds"] / log[-1]["step"]]  # a run too short for its clock
    found = {
        "device": recipe["versions"]["device"],
        "hours": recipe["seconds"] / 3600,
        "seconds_per_step_median": statistics.median(steps),
        "seconds_per_step_fastest_tenth": sorted(steps)[len(steps) // 10],
        "peak_memory": recipe.get("peak_memory"),
        "interruptions": len(recipe.get("resumed", [])),
    }
    if plan:
        limit = plan["flops_per_second_of_a_matrix_product"]
        found["flops_per_step"] = plan["flops_per_step"]
        found["share_of_a_matrix_product"] = plan["flops_per_step"] / found["seconds_per_step_median"] / limit
        found["planned_seconds_per_step"] = plan["seconds_per_step"]
        found["planned_memory"] = plan["memory"]
    return found


def energy(path: Path) -> float | None:
    """Kilowatt hours of a GPU, from its watts every ten seconds; None where nothing told."""
    if not path.is_file():
        return None
    watts = [float(row[1]) for row in csv.reader(path.open()) if len(row) > 1 and row[1].strip()[:1].isdigit()]
    return sum(watts) * 10 / 3.6e6


def keep_pictures(folder: Path, out: Path, stage: str) -> None:
    """A few of the sample pictures, from first to last, small."""
    taken = sorted(folder.glob("step_*.png"))
    if not taken:
        return
    out.mkdir(exist_ok=True)
    count = min(PICTURES, len(taken))
    for i in range(count):
        path = taken[i * (len(taken) - 1) // max(1, count - 1)]
        with Image.open(path) as image:
            image = image.convert("RGB").crop((0, 0, image.width, round(image.height * ROWS[stage])))
            image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
            image.save(out / f"{stage}_{path.stem.removeprefix('step_')}.jpg", quality=82)


def draw_curves(logs: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Loss and what validation found, of each stage, over its steps."""
    shown = {"autoencoder": "val_psnr", "judge": "val_accuracy", "diffusion": "val_loss"}
    names = {"val_psnr": "PSNR, dB", "val_accuracy": "accuracy", "val_loss": "loss"}
    figure = Figure(figsize=(11, 5), layout="constrained")
    for column, (stage, rows) in enumerate(logs.items()):
        axes = figure.add_subplot(2, 3, column + 1, title=stage, xlabel="step", ylabel="loss", yscale="log")
        axes.plot([row["step"] for row in rows], [row["loss"] for row in rows], color="#4878a8", linewidth=1)
        known = [(row["step"], row[shown[stage]]) for row in rows if shown[stage] in row]
        axes = figure.add_subplot(2, 3, column + 4, xlabel="step", ylabel=names[shown[stage]], title="unseen people")
        axes.plot(*zip(*known, strict=True), color="#a85448", marker="o", markersize=3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
