"""What a short run tells people: its README, from what it knows."""

from collections.abc import Iterator
from typing import Any

HOW = {("no", False): "float32", ("bf16", False): "bfloat16", ("bf16", True): "bfloat16, compiled"}


def readme(summary: dict[str, Any]) -> str:
    """The page, from a summary with "began", "minutes", "preset", "command", "card", "slices", "measured", "clips",
    "notes", "recipes", "metrics" and "files".
    """
    parts = [
        f"# A short run: {summary['preset']}, {summary['minutes']:g} minutes",
        f"```bash\n{summary['command']}\n```",
        f"{summary['began']}, {summary['card']}. State: {summary['state']}.",
        "## Where the time went",
        "\n".join(slices(summary["slices"])),
        f"Training clips: {summary['clips'] or 'none'}, drawn while stage one learned.",
        "## What a step costs",
        "\n".join(steps(summary["measured"])),
        "The share is of what a product of two large matrices reaches in the same precision, measured too; operations "
        "are those of products and convolutions. In float32 cuDNN's convolutions may use TF32. Memory is what torch "
        "reserved on the card; on a CPU, that of the process.",
        "## What came of it",
        *measures(summary["metrics"]),
        *(judged(summary["recipes"]["judge"]) if "label_accuracy" in str(summary["metrics"]) else ()),
        "## Files",
        "\n".join(f"* `{name}`: {MEANING.get(name, MEANING['model.safetensors'])}" for name in summary["files"]),
    ]
    if summary["notes"]:
        parts += ["## What went otherwise", "\n".join(f"* {note}" for note in summary["notes"])]
    return "\n\n".join(parts) + "\n"


MEANING = {
    "README.md": "this page",
    "summary.json": "the same and more for programs: recipes with all options, versions, figures with intervals",
    "log.csv": "losses, rates, validation and seconds over the steps of all stages",
    "curves.png": "losses, and what validation found",
    "samples.jpg": "what both stages drew on the way, from first to last",
    "clips.gif": "for each label a real clip, a generated one from its frame 0, and its flow",
    "config.json": "what the weights are of",
    "model.safetensors": "the weights, in half precision",
}


def slices(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Times in seconds since the beginning."""
    yield "| slice | planned | was | steps | how it ended |"
    yield "|---|---|---|---|---|"
    for row in rows:
        was = " to ".join("" if row[name] is None else f"{row[name]:.1f}" for name in ("began", "ended"))
        planned = f"{row['planned'][0]:.1f} to {row['planned'][1]:.1f}"
        yield f"| {row['name']} | {planned} | {was} | {row['steps'] or ''} | {row['status']} |"


def steps(measured: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """One row for each way in which a step of a stage was tried."""
    yield "| stage | how | a step, s | the first, s | memory, GB | GFLOP | TFLOP/s | share | |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for stage, trials in measured.items():
        for trial in trials:
            name = HOW[trial["precision"], trial["compile"]]
            if "failed" in trial:
                yield f"| {stage} | {name} | | | | | | | {trial['failed']} |"
                continue
            rate = trial["flops"] / trial["seconds"]
            yield (
                f"| {stage} | {name} | {trial['seconds']:.4f} | {trial['first']:.1f} | {trial['peak'] / 1e9:.2f} | "
                f"{trial['flops'] / 1e9:.1f} | {rate / 1e12:.3g} | {rate / trial['rate']:.0%} | "
                f"{'trained so' if trial.get('chosen') else ''} |"
            )


def measures(metrics: dict[str, Any] | None) -> Iterator[str]:
    """The tables of `lfdm evaluate`."""
    if metrics is None:
        yield "Nothing was measured."
        return
    yield f"On {metrics['clips']} clips of people never seen, with 95 % intervals, as `lfdm evaluate` measures:"
    for title, table in metrics["tables"].items():
        yield f"{title.replace('_', ' ')}\n\n```text\n{table}\n```"


def judged(recipe: dict[str, Any] | None) -> Iterator[str]:
    """What the judge's word is worth, from its recipe; nothing where there is none."""
    if recipe is None:
        return
    data = recipe["config"]["data"]
    if data["name"] == "faces" and data["acting"]["heads"] == "own":
        yield (
            "The judge learned from the training clips, in which the head moves with the label: the head's motion "
            "alone may suffice for it, so that its accuracy does not say whether a face moves as asked. That takes "
            "a judge trained with `--data.acting.heads shuffled`, which there was no time to draw clips for."
        )
    else:
        yield f"The judge learned from the training clips ({data['name']}), as in the preset."
