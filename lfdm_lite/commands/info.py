"""`lfdm info`: what a checkpoint holds, how it was trained, how good it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from .common import UsageError, default_checkpoint, parse
from .terminal import one_line, say


@dataclass(frozen=True)
class Info:
    """Print what is in a checkpoint, how it was trained (its recipe.json), and its metrics (its metrics.json)."""

    checkpoint: Positional[
        Annotated[str, arg(metavar="CHECKPOINT", help_behavior_hint="(default: the shipped faces64)")]
    ] = ""
    """A checkpoint folder, or a model's id on the Hugging Face Hub."""


def info(arguments: list[str]) -> None:
    options = parse(Info, "lfdm info", arguments)
    from ..files.checkpoints import CONFIG_FILE, WEIGHTS_FILE, read_config
    from ..files.loading import find_folder

    folder = find_folder(options.checkpoint or default_checkpoint())
    config = read_config(folder)
    kind, version = config.pop("kind", None), config.pop("format_version")
    more = load(kind, folder)
    size = (folder / WEIGHTS_FILE).stat().st_size / 1e6
    say(f"{folder}: {kind}, format {version}\n", weights_table(folder), f"\n{WEIGHTS_FILE}: {size:.1f} MB", *more)
    recipe, metrics = beside(folder / "recipe.json"), beside(folder / "metrics.json")
    for title, values in ((CONFIG_FILE, config), ("recipe.json", recipe), ("metrics.json", metrics)):
        if values is not None:
            say(f"\n{title}", *outline(values, "  "))


def load(kind: Any, folder: Path) -> list[str]:
    """Load the checkpoint whole, so that a damaged one is named as such, whatever it holds; say what lies beside it.

    Raises:
        UsageError: it holds something that this library does not know.
    """
    match kind:
        case "LFDM":
            from ..pipeline import LFDM

            model = LFDM.from_pretrained(folder)
            return [about_fast(folder, model.fast)] if model.has_fast else []
        case "LatentFlowAutoencoder":
            from ..training.stages.finished import load_autoencoder

            load_autoencoder(folder)
        case "VideoClassifier":
            from ..evaluation.judges import VideoClassifier

            VideoClassifier.load(folder)
        case _:
            load_rival(kind, folder)
    return []


def about_fast(folder: Path, fast: Any) -> str:
    """The fast network of a model in a line."""
    from ..files.checkpoints import WEIGHTS_FILE
    from ..files.fast import FAST

    size = (folder / FAST / WEIGHTS_FILE).stat().st_size / 1e6
    low, high = fast.scales
    taught = f"{fast.steps} passes, guidance {low:g} to {high:g}"
    stored = "" if not fast.kept else f", stored as its change from unet, {fast.kept:,} numbers"
    return f"{FAST}/{WEIGHTS_FILE}: {size:.1f} MB, a network of {taught}{stored}"


def load_rival(kind: Any, folder: Path) -> None:
    """Load a rival, or the finished first stage of one.

    Raises:
        UsageError: it is none.
    """
    from ..baselines.rivals import CODEC, PARTS, Rival, load_codec

    codecs = {CODEC.format(name): name for name in PARTS}
    if kind in PARTS:
        Rival.load(folder)
    elif kind in codecs:
        load_codec(folder, codecs[kind])
    else:
        known = ", ".join(["LFDM", "LatentFlowAutoencoder", "VideoClassifier", *PARTS])
        raise UsageError(f"{folder} is of kind {kind!r}; known are {known}")


def weights_table(folder: Path) -> str:
    """Parameters and precision of every part, from the stored tensors."""
    from ..files.checkpoints import read_tensors

    tensors = read_tensors(folder)
    parts: dict[str, list[Any]] = {}
    for name, tensor in tensors.items():
        parts.setdefault(name.split(".")[0], []).append(tensor)
    rows = []
    for part, members in [*parts.items(), ("all", list(tensors.values()))]:
        types = ", ".join(sorted({str(t.dtype).removeprefix("torch.") for t in members}))
        count = sum(t.numel() for t in members)
        rows.append(f"  {part:<12} {count:>12,} numbers in {len(members):>3} tensors ({types})")
    return "\n".join(rows)


def beside(path: Path) -> Any:
    """A JSON file that may be there."""
    from ..files.reading import read_json

    return read_json(path) if path.exists() else None


def outline(values: Any, indent: str = "") -> list[str]:
    """JSON values as indented lines, without quotes and brackets."""
    if isinstance(values, dict):
        lines = []
        for name, value in values.items():
            if has_parts(value):
                lines += [f"{indent}{name}", *outline(value, indent + "  ")]
            else:
                lines.append(f"{indent}{name}: {plain(value)}")
        return lines
    if isinstance(values, list):
        return [line for value in values for line in outline(value, indent)]
    return [f"{indent}{plain(values)}"]


def has_parts(value: Any) -> bool:
    """Whether a value needs lines of its own."""
    if isinstance(value, list):
        return any(isinstance(v, dict | list) for v in value)
    return isinstance(value, dict) and not is_estimate(value)


def is_estimate(value: Any) -> bool:
    """Whether these are the fields of an `intervals.Estimate`."""
    return isinstance(value, dict) and {"value", "low", "high"} <= set(value)


def plain(value: Any) -> str:
    """One value; an estimate with its interval reads 27.1 [26.8, 27.4] (n = 120)."""
    if is_estimate(value):
        return f"{plain(value['value'])} [{plain(value['low'])}, {plain(value['high'])}] (n = {value.get('n', '?')})"
    if isinstance(value, list):
        return ", ".join(map(plain, value))
    return f"{value:.6g}" if isinstance(value, float) else one_line(str(value))
