"""`lfdm generate`: an image and a label become a video."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from .common import Flag, UsageError, default_checkpoint, file_name, parse, pick_device


@dataclass(frozen=True)
class Generate:
    """Turn an image and a label into a video.

    Several images or labels make one video for each pair, named after them: out-surprise.gif.
    """

    image: Positional[Annotated[tuple[Path, ...], arg(metavar="IMAGE [IMAGE ...]", help_behavior_hint="(required)")]]
    """A picture; its central square is used."""
    label: UseAppendAction[Annotated[tuple[str, ...], arg(help_behavior_hint="(required, repeatable)")]]
    """A label, or "all"."""
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
    fps: int = 8
    """Frames a second."""
    scale: int = 1
    """Magnification of every pixel, in the files."""
    device: Annotated[str, arg(metavar="DEVICE")] = "auto"
    """cpu, cuda, mps; auto takes a GPU where there is one."""
    quiet: Flag = False
    """No progress bar, no list of files."""


def generate(arguments: list[str]) -> None:
    options = parse(Generate, "lfdm generate", arguments)
    if not options.image:
        raise UsageError("no image was given: lfdm generate IMAGE --label LABEL")
    outs = options.out or (Path("out.gif"),)
    from ..generated import check_destination  # torch loads here; --help and mistyped options need not wait for it

    for path in (*outs, *([options.sheet] if options.sheet else [])):
        check_destination(path)
    if options.sheet and options.sheet.suffix.lower() != ".png":
        raise UsageError(f"--sheet {options.sheet}: the name must end in .png")
    from ..pipeline import LFDM

    model = LFDM.from_pretrained(options.checkpoint or default_checkpoint()).to(pick_device(options.device))
    if not options.label:
        raise UsageError(f"no label was given: use --label with one of: {', '.join(model.labels)}, all")
    labels = list(model.labels) if "all" in options.label else list(options.label)
    images = [image for image in options.image for _ in labels]
    result = model.generate(
        images,
        labels * len(options.image),
        num_frames=options.num_frames,
        guidance_scale=options.guidance_scale,
        sampler=options.sampler,
        steps=options.steps,
        seed=options.seed,
        progress=not options.quiet,
    )
    written: list[Path] = []
    for i, (image, label) in enumerate(zip(images, result.label_names, strict=True)):
        parts = ([image.stem] if len(options.image) > 1 else []) + ([label] if len(labels) > 1 else [])
        for out in outs:
            path = out.with_name("-".join([out.stem, *map(file_name, parts)]) + out.suffix)
            if path in written:  # the same label twice, or two images of one name
                path = path.with_name(f"{path.stem}-{i}{path.suffix}")
            written.append(result[i].save(path, fps=options.fps, scale=options.scale))
    if options.sheet:
        written.append(result.save(options.sheet, scale=options.scale))
    if not options.quiet:
        print(f"seed {result.seed}")
        print("\n".join(map(str, written)))
