"""`lfdm evaluate`: measure a model on clips of people it never saw."""

from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from .clips import is_procedural, load_clips
from .common import Flag, UsageError, parse, pick_device, sampling_asked
from .measuring.judges import find_judge, find_judge_of_faces, load_judge
from .measuring.videos import evaluate_generator, evaluate_trivial
from .outputs import output_file, write_report
from .terminal import say


@dataclass(frozen=True)
class Evaluate:
    """Print a table of figures with 95 % intervals, and write them as JSON.

    A model is measured in both stages, a rival of LFDM in its videos, an auto-encoder in reconstruction, flow and
    visibility, a judge in accuracy and, if it reads the expressions of `Faces`, in what it looks at.
    """

    checkpoint: Positional[Annotated[str, arg(metavar="CHECKPOINT")]]
    """A checkpoint, or the folder of a finished run."""
    data: str = "faces"
    """A procedural set (faces, figures, gestures, sketches), or a folder with one folder of videos a label."""
    look: Literal["all", "ink", "night", "photo"] = "all"
    """Of sketches: one look alone."""
    split: Literal["train", "val", "test", "all"] = "test"
    """Choose models on val, report on test; all is for folders of videos."""
    clips: int = 120
    """How many clips."""
    judge: Annotated[
        Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: CHECKPOINT/judge or CHECKPOINT/../judge)")
    ] = None
    """A classifier from `lfdm train judge`: Fréchet distances are on its features, and it reads generated videos."""
    judge_of_faces: Annotated[
        Path | None,
        arg(metavar="FOLDER", help_behavior_hint="(default: judge_of_faces beside the judge's default; or none)"),
    ] = None
    """One trained on heads that say nothing (--data.acting.heads shuffled). Read as asked is then its word."""
    stage: Literal["both", "one", "two", "videos"] = "both"
    """One: the auto-encoder. Two: generated videos, and motion. Videos: from their frames alone, as of every rival."""
    against: Literal["none", "frame_0", "nearest", "mean_motion", "real_halves", "real_again"] = "none"
    """In place of the model's videos, on the clips that it would be measured on: frame 0 repeated; the training clip of
    the label with the nearest frame 0; the mean true motion of the label; the real clips; the same people once more."""
    train_clips: int = 500
    """Training clips among which copies are looked for, and that --against nearest and mean_motion know; 0: none."""
    fvd: Flag = False
    """Measure Fréchet video distance too, on the network that `lfdm data i3d` has fetched. It takes long."""
    lpips: Literal["auto", "alexnet", "vgg16", "both", "none"] = "auto"
    """Network that compares pictures part by part in stage one, once `lfdm data lpips` has fetched it; auto: alexnet,
    if it is there. vgg16 takes 20 times as long."""
    sampler: Literal["dpm++", "ddim", "ddpm"] = "dpm++"
    """How videos are sampled."""
    steps: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: 20, or the fast network's)")] = None
    """Sampling steps."""
    guided_steps: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: all steps)")] = None
    """In how many of them, the noisiest, guidance counts."""
    spacing: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="(default: 1, evenly)")] = None
    """Of the steps: above 1 they are shorter where it is noisy, which helps where they are few."""
    fast: Flag = False
    """Take the model's fast network; where it has none, its quick way."""
    precision: Annotated[Literal["float32", "bf16"], arg(metavar="{float32,bf16}")] = "float32"
    """Of generated videos: bf16 is faster on processors with arithmetic for it."""
    guidance_scale: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="(default: the model's)")] = None
    """1 is plain conditional; more exaggerates the label."""
    tell_numbers: Flag = False
    """Tell the model strength and turn of each drawn clip, too, if it knows such; else they are left open."""
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
    from ..data import PROCEDURAL

    drawn = is_procedural(options.data)
    if options.look != "all" and options.data != "sketches":
        raise UsageError(f"--look {options.look} is of sketches, not of {options.data}; leave it out")
    if options.tell_numbers and not getattr(PROCEDURAL.get(options.data), "numbers", ()):
        raise UsageError(f"--tell-numbers: the clips of {options.data} know none; those of --data faces do")
    if options.train_clips < 0:
        raise UsageError(f"--train-clips is {options.train_clips}; expected at least 0")
    from ..baselines.rivals import PARTS
    from ..files.checkpoints import read_config
    from ..files.loading import find_folder

    folder = find_folder(options.checkpoint)
    kind = read_config(folder).get("kind")
    videos = evaluate_generator if options.against == "none" else evaluate_trivial
    from_frames = options.stage == "videos" or options.against != "none"
    measure = {"LFDM": videos if from_frames else evaluate_model, **dict.fromkeys(PARTS, videos)}
    measure |= {} if from_frames else {"LatentFlowAutoencoder": evaluate_autoencoder, "VideoClassifier": evaluate_judge}
    if options.against != "none" and options.stage in ("one", "two"):
        raise UsageError(
            f"--stage {options.stage} and --against {options.against}: what stands in place of the model's videos "
            "has no stages; leave one of them out"
        )
    if kind in PARTS and options.stage in ("one", "two"):
        raise UsageError(f"--stage {options.stage}: {folder} is of kind {kind}, whose videos alone are measured")
    if not isinstance(kind, str) or kind not in measure:
        raise UsageError(f"{folder} is of kind {kind!r}; this command knows: {', '.join(measure)}")
    named = [path for path in (options.judge, options.judge_of_faces) if path is not None]
    reads = [folder, *named, *([] if drawn else [Path(options.data)])]
    place = output_file(options.out, reads=reads)
    if options.steps is None and not options.fast:
        options = replace(options, steps=20)
    results = measure[kind](folder, options)
    report(results, options, place)


def evaluate_model(folder: Path, options: Evaluate, clips: dict[str, Any] | None = None) -> dict[str, Any]:
    """Both stages of a whole model; on `clips`, where they are at hand already."""
    from ..evaluation import tables as evaluation
    from ..pipeline import LFDM

    model = LFDM.from_pretrained(folder).to(pick_device(options.device))
    if options.tell_numbers and not model.unet.config.numbers:
        raise UsageError("--tell-numbers: this model was trained with labels alone; leave it out")
    how = sampling_asked(model, options)
    judge, judge_of_faces = None, None
    if options.stage != "one":
        of_faces = find_judge_of_faces(folder, options.judge_of_faces)
        judge_of_faces = None if of_faces is None else load_judge(of_faces, model.labels)
        judge = load_judge(find_judge(folder, options.judge, ", or measure --stage one alone"), model.labels)
    networks = load_networks(options, folder) if options.stage != "two" else {}
    if clips is None:
        clips = load_clips(options, model.image_size, model.unet.config.num_frames, model.labels, closely=True)
    if judge is not None and (evaluation.occurrence(clips["label"]) % 2).sum() < 2:
        count = len(clips["label"])
        raise UsageError(f"{count} clips are too few for stage two, which compares two halves with clips of each label")
    results = {}
    if options.stage != "two":
        results["stage_one"] = evaluation.evaluate_autoencoder(model.autoencoder, clips, lpips=networks)
    if judge is not None:
        results["stage_two"] = evaluation.evaluate_generation(model, judge, clips, judge_of_faces, **how)
    return results


def evaluate_autoencoder(folder: Path, options: Evaluate) -> dict[str, Any]:
    """Stage one alone."""
    from ..evaluation import tables as evaluation
    from ..training import load_autoencoder

    network = load_autoencoder(folder).to(pick_device(options.device))
    networks = load_networks(options, folder)
    clips = load_clips(options, *trained_at(folder), None, closely=True)
    return {"stage_one": evaluation.evaluate_autoencoder(network, clips, lpips=networks)}


def evaluate_judge(folder: Path, options: Evaluate) -> dict[str, Any]:
    """How often a judge reads the label of a real clip; and of one of faces, what it looks at."""
    from ..data import Faces
    from ..evaluation.examination import examine, verdict
    from ..evaluation.judges import VideoClassifier
    from ..evaluation.metrics import label_accuracy

    judge = VideoClassifier.load(folder)
    size, num_frames = trained_at(folder)
    clips = load_clips(options, size, num_frames, judge.labels)
    predicted = judge.probabilities(clips["video"]).argmax(1)
    results = {"judge": {"label_accuracy_real": label_accuracy(predicted, clips["label"])}}
    if options.data != "faces" or set(judge.labels) != set(Faces.labels):
        return results
    figures = examine(judge, options.split, size, num_frames, options.clips, options.data_seed)
    return results | {"examination": {"verdict": verdict(figures)} | figures}


def load_networks(options: Evaluate, folder: Path) -> dict[str, Any]:
    """The networks of LPIPS that are asked for, by the name that their figures get.

    The name says so if a loss of the training looked through a VGG: what a VGG sees of that model is no measure then.
    """
    from ..data import PROCEDURAL
    from ..evaluation.lpips import load_lpips
    from ..files.models.lpips_archive import ARCHIVE, archive_path
    from ..files.reading import CheckpointError

    has_parts = bool(getattr(PROCEDURAL.get(options.data), "parts", ()))
    if options.lpips == "none" or (options.lpips == "auto" and not has_parts):
        return {}
    if not has_parts:
        raise UsageError(f"--lpips {options.lpips} compares parts of faces: it needs --data faces or sketches")
    if options.lpips == "auto" and not archive_path().is_file():
        if not options.quiet:
            say(f"without LPIPS: {ARCHIVE} is not in the cache, where `lfdm data lpips` puts it")
        return {}
    names = {"auto": ["alexnet"], "both": ["alexnet", "vgg16"]}.get(options.lpips, [options.lpips])
    try:
        networks = {name: load_lpips(name) for name in names}
    except CheckpointError as error:
        raise UsageError(f"--lpips {options.lpips}: {error}; or leave it out by --lpips none") from None
    if "vgg16" in networks and saw_a_vgg(folder):
        networks["vgg16_seen_in_training"] = networks.pop("vgg16")
    return networks


def saw_a_vgg(folder: Path) -> bool:
    """Whether stage one was trained with a perceptual loss, by the recipe beside the weights; so too if none is
    there, or if it started from what another run had learned.

    The recipe of a run of stage two names the folder of stage one.
    """
    from ..files.reading import read_json

    try:
        recipe = read_json(folder / "recipe.json", "a recipe")
        config = recipe.get("autoencoder", recipe)["config"]
        if isinstance(config.get("autoencoder"), str):
            config = read_json(Path(config["autoencoder"]) / "recipe.json", "a recipe")["config"]
        return config["perceptual_weight"] != 0 or bool(config.get("init"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return True


def trained_at(folder: Path) -> tuple[int, int]:
    """Image size and number of frames of the clips that a run saw, from its recipe; 64 and 16 without one."""
    from ..files.reading import read_json

    try:
        data = read_json(folder / "recipe.json", "a recipe")["config"]["data"]
        return int(data["size"]), int(data["num_frames"])
    except (ValueError, KeyError, TypeError):
        return 64, 16


def report(results: dict[str, Any], options: Evaluate, place: Path) -> None:
    """Print the tables; write the figures and what they were measured on."""
    from ..evaluation.tables import as_table

    if not options.quiet:
        for title, figures in results.items():
            say(f"\n{title.replace('_', ' ')}\n{as_table(figures)}")
    how = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}
    how = {name: value for name, value in how.items() if name not in ("out", "quiet")}
    figures = {title: {name: as_json(value) for name, value in part.items()} for title, part in results.items()}
    write_report(place, {"measured": how, **figures})
    if not options.quiet:
        say(f"\nwritten to {options.out}")


def as_json(value: Any) -> Any:
    """A figure as JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return {name: as_json(part) for name, part in value._asdict().items()} if hasattr(value, "_asdict") else value
