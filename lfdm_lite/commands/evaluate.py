"""`lfdm evaluate`: measure a model on clips of people it never saw."""

from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from .clips import is_procedural
from .common import Flag, UsageError, parse, pick_device
from .outputs import output_file, write_report
from .terminal import say


@dataclass(frozen=True)
class Evaluate:
    """Print a table of figures with 95 % intervals, and write them as JSON.

    A model is measured in both stages, an auto-encoder in reconstruction, flow and visibility, a judge in accuracy.
    """

    checkpoint: Positional[Annotated[str, arg(metavar="CHECKPOINT")]]
    """A checkpoint, or the folder of a finished run."""
    data: str = "faces"
    """A procedural set (faces, figures, gestures, sketches), or a folder with one folder of videos a label."""
    split: Literal["train", "val", "test", "all"] = "test"
    """Choose models on val, report on test; all is for folders of videos."""
    clips: int = 120
    """How many clips."""
    judge: Annotated[
        Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: CHECKPOINT/judge or CHECKPOINT/../judge)")
    ] = None
    """A classifier from `lfdm train judge`, which reads the labels of generated videos."""
    stage: Literal["both", "one", "two"] = "both"
    """One: the auto-encoder. Two: generated videos."""
    sampler: Literal["dpm++", "ddim", "ddpm"] = "dpm++"
    """How videos are sampled."""
    steps: int = 20
    """Sampling steps."""
    guidance_scale: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="(default: the model's)")] = None
    """1 is plain conditional; more exaggerates the label."""
    seed: int = 0
    """Of the generated videos."""
    data_seed: int = 0
    """Of the procedural clips."""
    device: str = "auto"
    """auto takes a GPU where there is one: cuda, or Apple's mps (untried on Apple hardware); else cpu."""
    out: Annotated[Path, arg(metavar="FILE.json")] = Path("evaluation.json")
    """Where the figures are written; `metrics.json` in the checkpoint's folder is what `lfdm info` prints."""
    quiet: Flag = False
    """No table."""


def evaluate(arguments: list[str]) -> None:
    options = parse(Evaluate, "lfdm evaluate", arguments)
    if options.clips < 1:
        raise UsageError(f"--clips is {options.clips}; expected at least 1")
    drawn = is_procedural(options.data)
    from ..files.checkpoints import read_config
    from ..files.loading import find_folder

    folder = find_folder(options.checkpoint)
    kind = read_config(folder).get("kind")
    measure = {"LFDM": evaluate_model, "LatentFlowAutoencoder": evaluate_autoencoder, "VideoClassifier": evaluate_judge}
    if not isinstance(kind, str) or kind not in measure:
        raise UsageError(f"{folder} is of kind {kind!r}; this command knows: {', '.join(measure)}")
    reads = [folder, *([options.judge] if options.judge else []), *([] if drawn else [Path(options.data)])]
    place = output_file(options.out, reads=reads)
    results = measure[kind](folder, options)
    report(results, options, place)


def evaluate_model(folder: Path, options: Evaluate) -> dict[str, Any]:
    """Both stages of a whole model."""
    from ..evaluation import tables as evaluation
    from ..evaluation.judges import VideoClassifier
    from ..inputs import sampling
    from ..pipeline import LFDM

    model = LFDM.from_pretrained(folder).to(pick_device(options.device))
    how = sampling(model, None, options.guidance_scale, options.sampler, options.steps, options.seed)
    judge = None
    if options.stage != "one":
        judge_folder = find_judge(folder, options.judge)
        judge = VideoClassifier.load(judge_folder)
        if judge.labels != model.labels:
            raise UsageError(f"the judge in {judge_folder} knows the labels {judge.labels}, the model {model.labels}")
    clips = load_clips(options, model.image_size, model.unet.config.num_frames, model.labels)
    if judge is not None and (evaluation.occurrence(clips["label"]) % 2).sum() < 2:
        count = len(clips["label"])
        raise UsageError(f"{count} clips are too few for stage two, which compares two halves with clips of each label")
    results = {}
    if options.stage != "two":
        results["stage_one"] = evaluation.evaluate_autoencoder(model.autoencoder, clips)
    if judge is not None:
        results["stage_two"] = evaluation.evaluate_generation(model, judge, clips, **vars(how))
    return results


def evaluate_autoencoder(folder: Path, options: Evaluate) -> dict[str, Any]:
    """Stage one alone."""
    from ..evaluation import tables as evaluation
    from ..training import load_autoencoder

    network = load_autoencoder(folder).to(pick_device(options.device))
    clips = load_clips(options, *trained_at(folder), None)
    return {"stage_one": evaluation.evaluate_autoencoder(network, clips)}


def evaluate_judge(folder: Path, options: Evaluate) -> dict[str, Any]:
    """How often a judge reads the label of a real clip."""
    from ..evaluation.judges import VideoClassifier
    from ..evaluation.metrics import label_accuracy

    judge = VideoClassifier.load(folder)
    clips = load_clips(options, *trained_at(folder), judge.labels)
    predicted = judge.probabilities(clips["video"]).argmax(1)
    return {"judge": {"label_accuracy_real": label_accuracy(predicted, clips["label"])}}


def find_judge(folder: Path, named: Path | None) -> Path:
    """The judge that was named, or the one that lies with the model."""
    candidates = [named] if named is not None else [folder / "judge", folder.resolve().parent / "judge"]
    for candidate in candidates:
        if named is not None or (candidate / "config.json").is_file():
            return candidate
    raise UsageError(
        f"no judge in {candidates[0]} or {candidates[1]}: name one by --judge FOLDER, or measure --stage one alone"
    )


def trained_at(folder: Path) -> tuple[int, int]:
    """Image size and number of frames of the clips that a run saw, from its recipe; 64 and 16 without one."""
    from ..files.reading import read_json

    try:
        data = read_json(folder / "recipe.json", "a recipe")["config"]["data"]
        return int(data["size"]), int(data["num_frames"])
    except (ValueError, KeyError, TypeError):
        return 64, 16


def load_clips(options: Evaluate, size: int, num_frames: int, labels: list[str] | None) -> dict[str, Any]:
    """The clips to measure on, labelled as `labels` counts."""
    from .. import data
    from ..evaluation.tables import collect

    if is_procedural(options.data):
        dataset: Any = data.PROCEDURAL[options.data](
            options.split, size=size, num_frames=num_frames, length=options.clips, seed=options.data_seed
        )
    else:
        dataset = data.VideoFolder(options.data, size, num_frames, split=options.split)
    clips = collect(dataset, options.clips)
    if labels is not None and list(dataset.labels) != labels:
        import torch

        unknown = sorted(set(dataset.labels) - set(labels))
        if unknown:
            raise UsageError(f"the clips have the label {unknown[0]!r}, the model knows: {', '.join(labels)}")
        clips["label"] = torch.tensor([labels.index(dataset.labels[i]) for i in clips["label"].tolist()])
    return clips


def report(results: dict[str, Any], options: Evaluate, place: Path) -> None:
    """Print the tables; write the figures and what they were measured on."""
    from ..evaluation.tables import as_table

    if not options.quiet:
        for title, figures in results.items():
            say(f"\n{title.replace('_', ' ')}\n{as_table(figures)}")
    how = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}
    how = {name: value for name, value in how.items() if name not in ("out", "quiet")}
    figures = {
        title: {name: asdict(value) if is_dataclass(value) else value for name, value in part.items()}
        for title, part in results.items()
    }
    write_report(place, {"measured": how, **figures})
    if not options.quiet:
        say(f"\nwritten to {options.out}")
