"""`lfdm generate`: an image and a label become a video."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from .common import Flag, UsageError, default_checkpoint, file_name, parse, pick_device
from .outputs import key, no_two_alike, output_file
from .terminal import say


@dataclass(frozen=True)
class Generate:
    """Turn an image and a label into a video.

    Several images or labels make one video for each pair, named after them: out-surprise.gif.
    """

    image: Positional[Annotated[tuple[Path, ...], arg(metavar="IMAGE [IMAGE ...]", help_behavior_hint="(required)")]]
    """A picture; its central square is used."""
    label: UseAppendAction[Annotated[tuple[str, ...], arg(help_behavior_hint="(required, repeatable)")]]
    """A label, or "all". Repeat the option for several."""
    out: UseAppendAction[
        Annotated[tuple[Path, ...], arg(metavar="FILE", help_behavior_hint="(repeatable, default: out.gif)")]
    ] = ()
    """Where to write: .gif or .mp4, or .png for a still sheet."""
    checkpoint: Annotated[str | None, arg(metavar="FOLDER", help_behavior_hint="(default: the shipped faces64)")] = None
    """A checkpoint folder, or a model's id on the Hugging Face Hub. $LFDM_CHECKPOINT does the same."""
    seed: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: a new one each time)")] = None
    """The same seed gives the same videos."""
    sampler: Literal["dpm++", "ddim", "ddpm"] = "dpm++"
    """How the noise becomes motion."""
    steps: int = 20
    """Sampling steps."""
    guidance_scale: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="(default: the model's)")] = None
    """1 is plain conditional; more exaggerates the label."""
    num_frames: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: the model's)")] = None
    """Frames of a video."""
    sheet: Annotated[Path | None, arg(metavar="FILE.png", help_behavior_hint="(default: none)")] = None
    """Also write one still of all videos: a row each, time runs right."""
    fps: float = 8.0
    """Frames a second."""
    scale: int = 1
    """Magnification of every pixel, in the files."""
    device: Annotated[str, arg(metavar="DEVICE")] = "auto"
    """auto takes a GPU where there is one: cuda, or Apple's mps (untried on Apple hardware); else cpu."""
    quiet: Flag = False
    """No progress bar, no list of files."""


def generate(arguments: list[str]) -> None:
    options = parse(Generate, "lfdm generate", arguments)
    if not options.image:
        raise UsageError("no image was given: lfdm generate IMAGE --label LABEL")
    outs = options.out or (Path("out.gif"),)
    sheets = [options.sheet] if options.sheet else []
    if options.sheet and options.sheet.suffix.lower() != ".png":
        raise UsageError(f"--sheet {options.sheet}: the name must end in .png")
    no_two_alike([*outs, *sheets])
    from ..files.loading import find_folder  # torch loads here; --help and mistyped options need not wait for it
    from ..generated import check_saving
    from ..inputs import sampling
    from ..pipeline import LFDM

    for path in (*outs, *sheets):
        check_saving(path, (1, 3, 1, 1, 1), options.fps, options.scale)
    folder = find_folder(options.checkpoint or default_checkpoint())
    model = LFDM.from_pretrained(folder).to(pick_device(options.device))
    if not options.label:
        raise UsageError(f"no label was given: use --label with one of: {', '.join(model.labels)}, all")
    for label in options.label:
        if label not in model.labels and set(label.split(",")) <= set(model.labels):
            raise UsageError(
                f"{label!r} is no label; for several, repeat --label: --label {label.replace(',', ' --label ')}"
            )
    labels = list(model.labels) if "all" in options.label else list(options.label)
    images = [image for image in options.image for _ in labels]
    indices = model.label_indices(labels).tolist() * len(options.image)
    how = sampling(model, options.num_frames, options.guidance_scale, options.sampler, options.steps, options.seed)
    several = len(options.image) > 1, len(labels) > 1
    names = [clip_name(image, model.labels[label], *several) for image, label in zip(images, indices, strict=True)]
    files = distinct([out.with_name(out.stem + name + out.suffix) for name in names for out in outs], sheets)
    clip, sheet = ((n, 3, how.num_frames, model.image_size, model.image_size) for n in (1, len(images)))
    for path, shape in [*((path, clip) for path in files), *((path, sheet) for path in sheets)]:
        output_file(path, reads=[*options.image, folder])
        check_saving(path, shape, options.fps, options.scale)
    result = model.generate(images, indices, **vars(how), progress=not options.quiet)
    for i, path in enumerate(files):
        result[i // len(outs)].save(path, fps=options.fps, scale=options.scale)
    for path in sheets:
        result.save(path, scale=options.scale)
    if not options.quiet:
        say(f"seed {result.seed}", *files, *sheets)


def clip_name(image: Path, label: str, of_image: bool, of_label: bool) -> str:
    """What is put behind the name of an output: the image's name and the label, where there are several."""
    parts = [image.stem] * of_image + [label] * of_label
    return "".join(f"-{file_name(part)}" for part in parts)


def distinct(paths: list[Path], others: list[Path]) -> list[Path]:
    """The paths, numbered where one would be another, or one of `others`: a label given twice, two images of a name."""
    taken, chosen = {key(path) for path in others}, []
    for path in paths:
        free, number = path, 0
        while key(free) in taken:
            number += 1
            free = path.with_name(f"{path.stem}-{number}{path.suffix}")
        taken.add(key(free))
        chosen.append(free)
    return chosen
