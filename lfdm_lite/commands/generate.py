"""`lfdm generate`: an image and a label become a video."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from .common import (
    Flag,
    UsageError,
    check_for_rivals,
    default_checkpoint,
    file_name,
    load_generator,
    parse,
    pick_device,
)
from .generating.wishes import Control, generate_mixture, videos_as_wished, wishes_of
from .outputs import key, no_two_alike, output_file
from .terminal import say

WRITERS = 2  # files that are written side by side; more would need the memory of as many films


@dataclass(frozen=True)
class Generate:
    """Turn an image and a label into a video.

    Several images or labels make one video for each pair, named after them: out-surprise.gif.
    """

    image: Positional[Annotated[tuple[Path, ...], arg(metavar="IMAGE [IMAGE ...]", help_behavior_hint="(required)")]]
    """A picture; its central square is used."""
    label: UseAppendAction[
        Annotated[tuple[str, ...], arg(help_behavior_hint="(required unless --mix is given, repeatable)")]
    ] = ()
    """A label, or "all". Repeat the option for several."""
    strength: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="(default: any)")] = None
    """How strong the motion is, from 0 (rest) over 1 (as poses were drawn) to 1.5. A model that was trained with
    strengths is told it, or the nearest that it knows; what is left, the motion is scaled by."""
    turn: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="(default: any)")] = None
    """How far the head turns, in radians clockwise; of models that were trained with turns."""
    control: Annotated[Control, arg(name="")] = field(default_factory=Control)
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
    steps: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: as few as serve the model)")] = None
    """Sampling steps. Unless asked for: those of the model's fast network, where it has learned what is asked; else as
    few as the model says serve it; else 20, all of them guided."""
    guided_steps: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: all steps)")] = None
    """In how many of the steps, the noisiest, guidance counts. The others cost half as much: --steps 4 --guided-steps 1
    are five passes of the network, where 20 steps are forty."""
    spacing: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="(default: 1, evenly)")] = None
    """Of the steps: above 1 they are shorter where it is noisy, which helps where they are few."""
    fast: Flag = False
    """Insist on the model's fast network: where it has not learned what is asked, say so instead of taking another."""
    precision: Annotated[Literal["float32", "bf16"], arg(metavar="{float32,bf16}")] = "float32"
    """bf16 is faster on processors with arithmetic for it."""
    guidance_scale: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="(default: the model's)")] = None
    """1 is plain conditional; more exaggerates what is asked: label, strength and turn."""
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
    from ..inputs import label_indices, number_values, sampling
    from ..pipeline import LFDM

    for path in (*outs, *sheets):
        check_saving(path, (1, 3, 1, 1, 1), options.fps, options.scale)
    folder = find_folder(options.checkpoint or default_checkpoint())
    model = load_generator(folder).to(pick_device(options.device))
    if not options.label and options.control.mix is None:
        raise UsageError(f"no label was given: use --label with one of: {', '.join(model.labels)}, all")
    for label in options.label:
        if label not in model.labels and set(label.split(",")) <= set(model.labels):
            raise UsageError(
                f"{label!r} is no label; for several, repeat --label: --label {label.replace(',', ' --label ')}"
            )
    wanted = options.control, options.strength, options.label, model, options.num_frames or model.num_frames
    wishes = wishes_of(*wanted)
    if wishes.weights and options.fast:
        raise UsageError("--mix and --fast: the fast network answers with guidance built in; leave one of them out")
    if wishes.weights and options.guided_steps is not None:
        raise UsageError("--mix and --guided-steps: a mixture needs guidance in every step; leave one of them out")
    labels = list(model.labels) if "all" in options.label else list(options.label or list(wishes.weights)[:1])
    images = [image for image in options.image for _ in labels]
    indices = label_indices(labels, model.labels).tolist() * len(options.image)
    asked = {"strength": wishes.told, "turn": options.turn}
    known = model.unet.config.numbers if isinstance(model, LFDM) else ()  # rivals learn from labels alone
    number_values(known, asked)  # refused before anything is written
    asked = {number.name: asked[number.name] for number in known}
    check_for_rivals(model, options)
    given = options.sampler, options.steps, options.guided_steps, options.spacing
    scale, fast, steps, guided_steps, spacing = options.guidance_scale, None, *given[1:]
    if isinstance(model, LFDM):
        fast, steps, guided_steps, spacing = model.way(options.fast, *given, quick=not wishes.weights, scale=scale)
    asked_of = options.num_frames, options.guidance_scale, options.sampler, steps, options.seed
    how = sampling(model, *asked_of, fast, guided_steps, spacing)
    several = len(options.image) > 1, len(labels) > 1
    names = [clip_name(image, model.labels[label], *several) for image, label in zip(images, indices, strict=True)]
    files = distinct([out.with_name(out.stem + name + out.suffix) for name in names for out in outs], sheets)
    clip, sheet = ((n, 3, how.num_frames, model.image_size, model.image_size) for n in (1, len(images)))
    for path, shape in [*((path, clip) for path in files), *((path, sheet) for path in sheets)]:
        output_file(path, reads=[*options.image, folder])
        check_saving(path, shape, options.fps, options.scale)
    precision = None if options.precision == "float32" else options.precision
    computed = dict(fast=fast is not None, precision=precision) if isinstance(model, LFDM) else {}
    if wishes.weights:
        result = generate_mixture(model, images, wishes.weights, asked, how, precision, progress=not options.quiet)
    else:
        result = model.generate(images, indices, **asked, **vars(how), **computed, progress=not options.quiet)
    if isinstance(model, LFDM):
        result = videos_as_wished(result, model, wishes, options.strength)
    with ThreadPoolExecutor(WRITERS) as threads:  # what encodes a film leaves Python to others meanwhile
        clips = (result[i // len(outs)] for i in range(len(files)))
        list(threads.map(lambda clip, path: clip.save(path, fps=options.fps, scale=options.scale), clips, files))
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
