"""What the logs of the comparison say: which rate each family likes, and where all stand after equally many steps.

    python assets/runs/rivals/read_logs.py --runs FOLDER

writes `logs.json` beside this file, from the `log.csv` of stage two of every run in FOLDER: those that are named
try-KIND-RATE are tries of a rate, all others are runs of the comparison. A loss is a mean squared error of what its
family denoises, in units of that representation: two tries of one family compare, two families do not.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from lfdm_lite.files.atomic import write_json
from lfdm_lite.training.engine.records import read_log

HERE = Path(__file__).parent
STAGES = {"diffusion": "lfdm", "vdm-diffusion": "vdm", "ldm-diffusion": "ldm", "lamd-diffusion": "lamd"}
POINTS = 60  # of a curve
WINDOW = 0.1  # share of the steps before a point over which a training loss is averaged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=Path, required=True, help="the folder with the folders of runs")
    parser.add_argument("--out", type=Path, default=HERE / "logs.json", help="default: beside this file")
    options = parser.parse_args()
    tries: dict[str, dict[str, Any]] = {}
    logs = {}
    for path in sorted(options.runs.glob("*/*/log.csv")):
        run, stage = path.parts[-3:-1]
        if stage not in STAGES or run.startswith("one-"):
            continue
        rows = numbers(path)
        if not run.startswith("try-"):
            logs[run] = rows
        elif (path.parent / "config.json").is_file():  # finished
            tries.setdefault(STAGES[stage], {})[run.removeprefix(f"try-{STAGES[stage]}-")] = {
                **ending(rows), "processor_seconds": recipe(path)["processor_seconds"]
            }  # fmt: skip
    found = {"tries": tries, "curves": {run: curve(rows) for run, rows in logs.items()}}
    if logs:
        steps = int(min(rows[-1]["step"] for rows in logs.values()))
        found["equal_steps"] = {
            "steps": steps,
            "training_loss": {run: loss_at(rows, steps) for run, rows in logs.items()},
        }
    write_json(options.out, found)
    print(table(tries))


def recipe(log: Path) -> dict[str, Any]:
    return json.loads((log.parent / "recipe.json").read_text())


def numbers(path: Path) -> list[dict[str, float]]:
    """A log's rows, without cells that are empty."""
    return [{name: float(cell) for name, cell in row.items() if cell} for row in read_log(path, 10**9)]


def ending(rows: list[dict[str, float]]) -> dict[str, float]:
    """Steps, the last validation loss, and the training loss of the last steps."""
    validated = [row["val_loss"] for row in rows if "val_loss" in row]
    steps = int(rows[-1]["step"])
    return {"steps": steps, "validation_loss": validated[-1], "training_loss": loss_at(rows, steps)}


def loss_at(rows: list[dict[str, float]], step: int) -> float:
    """The mean training loss of the steps before one."""
    some = [row["loss"] for row in rows if (1 - WINDOW) * step <= row["step"] <= step]
    return round(sum(some) / len(some), 5)


def curve(rows: list[dict[str, float]]) -> dict[str, list[list[float]]]:
    """Training loss by step at a few points, and every validation loss."""
    last = int(rows[-1]["step"])
    places = sorted({max(int(rows[0]["step"]), last * (i + 1) // POINTS) for i in range(POINTS)})
    training = [[at, loss_at(rows, at)] for at in places if any((1 - WINDOW) * at <= r["step"] <= at for r in rows)]
    return {"training": training, "validation": [[int(r["step"]), r["val_loss"]] for r in rows if "val_loss" in r]}


def table(tries: dict[str, dict[str, Any]]) -> str:
    """In Markdown; the best rate of each family is marked."""
    lines = ["| family | rate | steps | validation loss |", "|---|---|---|---|"]
    for kind, rates in tries.items():
        best = min(rates, key=lambda rate: rates[rate]["validation_loss"])
        for rate in sorted(rates, key=float):
            mark, row = " *" if rate == best else "", rates[rate]
            lines.append(f"| {kind} | {rate} | {row['steps']} | {row['validation_loss']:.4f}{mark} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
