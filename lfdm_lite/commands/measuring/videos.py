"""`lfdm evaluate` of videos from their frames alone: the same figures for LFDM, its rivals and trivial ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..clips import dataset_of, is_procedural, load_clips, relabel
from ..common import UsageError, load_generator, pick_device, sampling_asked
from .judges import find_judge, find_judge_of_faces, load_judge


def evaluate_generator(folder: Path, options: Any) -> dict[str, Any]:
    """One video for each clip, and another with another seed."""
    from ...evaluation.tables import generate_like
    from ...pipeline import LFDM

    model = load_generator(folder).to(pick_device(options.device))
    if options.tell_numbers and not (isinstance(model, LFDM) and model.unet.config.numbers):
        raise UsageError("--tell-numbers: this model was trained with labels alone; leave it out")
    how = sampling_asked(model, options)
    clips, measures = at_hand(folder, options, model)
    made, seconds = generate_like(model, clips, **how)
    again, _ = generate_like(model, clips, **how | {"seed": how["seed"] + 10_007})
    figures = measures.figures(made["video"], again["video"])
    return {"videos": figures | {"seconds_per_video": seconds / len(clips["label"])}}


def evaluate_trivial(folder: Path, options: Any) -> dict[str, Any]:
    """What learns nothing, on the clips that the model in `folder` would be measured on."""
    from ...baselines.trivial import mean_motion, nearest_clips, repeat_frame_0

    if options.against in ("nearest", "mean_motion") and not options.train_clips:
        raise UsageError(f"--against {options.against} needs training clips: give some by --train-clips")
    if options.against == "real_again" and not is_procedural(options.data):
        raise UsageError("--against real_again: nobody performs again in a folder of videos; use a drawn set")
    model = load_generator(folder)
    clips, measures = at_hand(folder, options, model)
    image, label = clips["video"][:, :, 0], clips["label"]
    again = None
    match options.against:
        case "frame_0":
            made = repeat_frame_0(image, model.num_frames)
        case "nearest":
            made = nearest_clips(image, label, *training(options, model, ("video", "label")))
        case "mean_motion":
            made = mean_motion(image, label, *training(options, model, ("flow", "label")))
        case "real_again":
            made, again = clips["again"], clips["video"]
        case _:
            made, again = clips["video"], clips.get("again")
    return {"videos": measures.figures(made.contiguous(), again)}


def at_hand(folder: Path, options: Any, model: Any) -> tuple[dict[str, Any], Any]:
    """The real clips for a model, and what measures videos beside them."""
    from ...evaluation.i3d import load_i3d
    from ...evaluation.tables import performed_again
    from ...evaluation.videos import VideoMeasures

    folders = {"judge": find_judge(folder, options.judge)}
    of_faces = find_judge_of_faces(folder, options.judge_of_faces)
    folders |= {} if of_faces is None else {"judge_of_faces": of_faces}
    judges = {name: load_judge(place, model.labels) for name, place in folders.items()}
    i3d = load_i3d() if options.fvd else None
    sizes = model.image_size, model.num_frames
    clips = load_clips(options, *sizes, model.labels, closely=True)
    if "subject" not in clips:
        raise UsageError(f"{options.data} does not say who each clip shows; people are drawn anew for the intervals")
    if is_procedural(options.data):
        clips["again"] = performed_again(dataset_of(options, *sizes), options.clips)
    train = training(options, model, ("video",))[0] if options.train_clips else None
    return clips, VideoMeasures(clips, judges, train, i3d)


def training(options: Any, model: Any, names: tuple[str, ...]) -> list[Any]:
    """Some of the clips that models learn from, by what is asked of them; labelled as the model counts.

    Raises:
        UsageError: they do not know what is asked.
    """
    from ...evaluation.tables import collect

    dataset = dataset_of(replace(options, split="train", clips=options.train_clips), model.image_size, model.num_frames)
    found = collect(dataset, options.train_clips)
    missing = [name for name in names if name not in found]
    if missing:
        raise UsageError(f"--against {options.against}: the clips of {options.data} do not know their {missing[0]}")
    relabel(found, dataset.labels, model.labels)
    return [found[name] for name in names]
