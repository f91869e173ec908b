"""`lfdm convert`: the authors' checkpoints to ours, and back. `lfdm export-onnx`: ours for the browser."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from .common import UsageError, parse
from .outputs import is_checkpoint, output_folder
from .terminal import say


@dataclass(frozen=True)
class Convert:
    """Turn the authors' two .pth files into a checkpoint folder, or such a folder back into two files.

    Tensors are renamed and rearranged, never computed with. Nothing in a .pth file is run.
    """

    source: Positional[Annotated[tuple[Path, ...], arg(metavar="LFAE.pth DM.pth | FOLDER")]]
    """The authors' checkpoints of stage one and stage two; or a folder that this command made, to go back."""
    out: Annotated[Path, arg(metavar="FOLDER")]
    """Where the result goes."""
    preset: Literal["mug128", "mhad128", "natops128"] = "mug128"
    """Which of the paper's models the files hold."""
    label_vectors: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: computed)")] = None
    """A safetensors file with the text encoder's vector of each label, named after it. Without it the vectors are
    computed once, which needs the package transformers and the weights of bert-base-cased."""


def convert(arguments: list[str]) -> None:
    options = parse(Convert, "lfdm convert", arguments)
    match options.source:
        case (folder,) if folder.is_dir():
            back(folder, options.out)
        case (lfae, dm):
            forth(lfae, dm, options)
        case _:
            raise UsageError(
                f"got {len(options.source)} sources: give the two files LFAE.pth DM.pth, or one checkpoint folder"
            )


def forth(lfae: Path, dm: Path, options: Convert) -> None:
    """The authors' files to a checkpoint folder."""
    from ..files.checkpoints import check_free
    from ..official.convert import from_official
    from ..official.labels import compute_label_vectors, read_label_vectors
    from ..official.presets import paper_model

    for path in (lfae, dm):
        if not path.is_file():
            raise UsageError(f"no file at {path}")
    output_folder(options.out)
    check_free(options.out)
    paper = paper_model(options.preset, official=True)
    if options.label_vectors is not None:
        vectors = read_label_vectors(options.label_vectors, paper.labels)
    else:
        vectors = compute_label_vectors(paper.labels)
    from_official(lfae, dm, paper, vectors).save_pretrained(options.out)
    say(f"{options.preset}: {options.out}")


def back(folder: Path, out: Path) -> None:
    """A checkpoint folder to the authors' files."""
    from ..official.convert import FILES, to_official
    from ..pipeline import LFDM

    output_folder(out, reads=[folder], fresh=FILES)
    say(*to_official(LFDM.from_pretrained(folder), out))


# ---------------------------------------------------------------- for the browser


@dataclass(frozen=True)
class ExportOnnx:
    """Write a model as ONNX graphs that the book's live page loads, and compare them with PyTorch.

    The folder gets encoder.onnx, denoiser.onnx, decoder.onnx, fast.onnx for a fast network, and model.json. Ends with 1
    if a graph answers otherwise than the model. Needs the packages of the extra `web`.
    """

    checkpoint: Positional[Annotated[Path, arg(metavar="CHECKPOINT")]]
    """A checkpoint folder that makes videos, such as assets/checkpoints/faces64."""
    out: Annotated[Path, arg(metavar="FOLDER")]
    """Where the files go."""


def export_onnx(arguments: list[str]) -> int:
    options = parse(ExportOnnx, "lfdm export-onnx", arguments)
    output_folder(options.out, reads=[options.checkpoint])
    if is_checkpoint(options.out):
        raise UsageError(f"--out {options.out} is a checkpoint; name a folder of its own")
    from ..browser.checking import differences
    from ..browser.export import export
    from ..pipeline import LFDM

    model = LFDM.from_pretrained(options.checkpoint)
    parts = export(model, options.out)["parts"]
    for name, part in parts.items():
        say(f"{name:9} {part['bytes'] / 1e6:6.2f} MB   {options.out / part['file']}")
    say(f"{'all':9} {sum(part['bytes'] for part in parts.values()) / 1e6:6.2f} MB")
    say("", "largest difference from PyTorch")
    found = differences(model, options.out)
    for difference in found:
        verdict = "" if difference.is_small else f"   more than {difference.allowed:g}"
        say(f"{difference.what:9} {difference.largest:.1e}{verdict}")
    return 0 if all(difference.is_small for difference in found) else 1
