"""What several `lfdm` commands need: the parser, with errors in words, devices, names."""

import contextlib
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_type_hints

import tyro
from tyro.conf import FlagCreatePairsOff, UseAppendAction, subcommand

Flag = FlagCreatePairsOff[bool]
APPENDS = get_args(UseAppendAction[int])[1]  # the mark of an option that may be given several times
SAMPLING = ("guidance_scale", "sampler", "steps", "guided_steps", "spacing", "seed")  # of the options of a command
SHIPPED = Path("assets", "checkpoints", "faces64")


class UsageError(ValueError):
    """A command line that asks for something impossible."""


def default_checkpoint() -> Path:
    """$LFDM_CHECKPOINT, or the checkpoint that comes with the sources, or the one below the working folder.

    Raises:
        UsageError: there is none of these.
    """
    if named := os.environ.get("LFDM_CHECKPOINT"):
        return Path(named).expanduser()
    package = Path(__file__).resolve().parents[1]
    for root in (package.parent, package, Path.cwd()):
        if (root / SHIPPED / "config.json").is_file():
            return root / SHIPPED
    raise UsageError(
        f"the shipped checkpoint {SHIPPED.as_posix()} is not at hand: "
        "name one by --checkpoint FOLDER or LFDM_CHECKPOINT"
    )


def pick_device(name: str) -> Any:
    """The torch device of that name; "auto" is a GPU where there is one (CUDA, or Apple's, mps), else the CPU.

    mps was never tried on Apple hardware.

    Raises:
        UsageError: no such device here.
    """
    import torch

    devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    devices += ["mps"] if torch.backends.mps.is_available() else []
    if name == "auto":
        return torch.device(devices[0].split(":")[0] if devices else "cpu")
    try:
        torch.zeros(1, device=name).cpu()  # what is on "meta" cannot be read
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, ImportError):  # torch 2.13 says why in up to 1,200 characters
        known = ", ".join(["auto", "cpu", *devices])
        raise UsageError(f"device {name!r} cannot be used here; this machine has: {known}") from None


def load_generator(folder: Path) -> Any:
    """The model in a folder that makes videos: an `LFDM`, or a `Rival`.

    Raises:
        CheckpointError: there is none.
    """
    from ..baselines.rivals import PARTS, Rival
    from ..files.checkpoints import read_config
    from ..pipeline import LFDM

    return Rival.load(folder) if read_config(folder)["kind"] in PARTS else LFDM.from_pretrained(folder)


def check_for_rivals(model: Any, options: Any) -> None:
    """Raises a UsageError where bfloat16 or a fast network is asked of a rival."""
    from ..pipeline import LFDM

    if not isinstance(model, LFDM) and (options.fast or options.precision != "float32"):
        raise UsageError("--fast and --precision are of latent flow diffusion models; this is another: leave them out")


def sampling_asked(model: Any, options: Any) -> dict[str, Any]:
    """What an evaluation asks of `model.generate`.

    Raises:
        UsageError: bfloat16 or a fast network, of a rival.
        ValueError: an option is out of range, or there is no fast network.
    """
    from ..inputs import sampling
    from ..pipeline import LFDM

    check_for_rivals(model, options)
    if not isinstance(model, LFDM):
        return vars(sampling(model, **{name: getattr(options, name) for name in SAMPLING}))
    path = [getattr(options, name) for name in ("sampler", "steps", "guided_steps", "spacing")]
    network, steps, *path = model.way(options.fast, *path)
    how = sampling(model, None, options.guidance_scale, options.sampler, steps, options.seed, network, *path)
    computed = {} if options.precision == "float32" else {"precision": options.precision}
    return vars(how) | computed | ({"fast": True} if network else {})


def file_name(text: str) -> str:
    """A label or an image's name, fit for a file name everywhere."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in text)


# ---------------------------------------------------------------- parsing
#
# What a mistake was, tyro tells a hook in `tyro._errors` (1.0.14 to 1.0.17 at least), which its authors call unstable;
# the public interface of 1.0.17 has nothing but a box drawn on stderr. So all that knows the hook is below, and where
# it is missing or has changed, tyro's own box is what one sees, with the same exit code.


def parse(options: type | Mapping[str, type], prog: str, arguments: Sequence[str], **settings: Any) -> Any:
    """What `arguments` ask for.

    Args:
        options: the dataclass whose fields are the options; or several, by the name of their sub-command.

    Returns:
        An instance of the dataclass, of the chosen one if there are several.

    Raises:
        UsageError: what is wrong with the arguments.
        SystemExit: after `--help`.
    """
    chosen: Any = options
    if isinstance(options, Mapping):
        chosen = Union[tuple(Annotated[kind, subcommand(name)] for name, kind in options.items())]  # noqa: UP007
        settings = {"description": "", **settings}
    with refusing(options, prog, list(arguments)):
        return tyro.cli(chosen, prog=prog, args=list(arguments), **settings)


@contextlib.contextmanager
def refusing(options: type | Mapping[str, type], prog: str, arguments: list[str]) -> Iterator[None]:
    """What tyro says against the arguments becomes a UsageError."""
    try:
        from tyro._errors import on_parse_error
    except ImportError:  # another tyro: it draws its box
        yield
        return
    if isinstance(options, Mapping) and arguments and arguments[0] in options:
        options, prog = options[arguments[0]], f"{prog} {arguments[0]}"

    def refuse(event: Any) -> None:
        try:
            said = sentence(event, options, arguments)
        except AttributeError:  # another tyro, whose events look different
            return
        if said:
            raise UsageError(f"{said} (see {prog} --help)")

    with on_parse_error(refuse):
        yield


def sentence(event: Any, options: type | Mapping[str, type], arguments: list[str]) -> str | None:
    """One of tyro's events in words; None for a kind that is not known here."""
    match type(event).__name__:
        case "UnrecognizedArgs":
            return surplus(event.tokens, options, arguments)
        case "MissingArgs":
            missing = " and ".join(invocation(member.arg) for member in event.missing_arguments)
            strange = event.unrecognized_tokens
            return f"{missing} missing" + (f"; {surplus(strange, options, arguments)}" if strange else "")
        case "MissingSubcommand":
            return f"one of these must follow: {', '.join(event.subcommand_spec.parser_from_name)}"
        case "InvalidChoice":
            option = event.argument.display_name() if event.argument.display_name().startswith("-") else ""
            return f"{option} {event.value!r} is not one of: {', '.join(event.choices)}".strip()
        case "BadValue":
            return f"{invocation(event.argument)}: the value is missing"
        case "InstantiationFailure" if event.argument is None:  # what a dataclass says against its values
            return event.message
        case "InstantiationFailure":
            name = event.argument.display_name()
            return f"{name} is {value_of(name, arguments)!r}; expected {expected(event.argument.field.type_stripped)}"
    return None


def surplus(words: list[str], options: type | Mapping[str, type], arguments: list[str]) -> str:
    """What to say of words that are no options, or too many."""
    if isinstance(options, Mapping):
        known, first = ", ".join(options), arguments[0]
        return (
            f"one of these must come first: {known}" if first.startswith("-") else f"{first!r} is not one of: {known}"
        )
    strange = next((word for word in words if word.startswith("-")), None)
    if strange is not None:
        return unknown(strange.split("=")[0], flags(options))
    word, several = words[0], flags(options, several=True)
    for option, value, third in zip(arguments, arguments[1:], arguments[2:], strict=False):
        if third == word and option in several and not value.startswith("-"):
            return f"{word!r} stands alone; for several, repeat the option: {option} {value} {option} {word}"
    return f"{word!r} is one word too many"


def unknown(option: str, known: list[str]) -> str:
    """An option that is not there, and what may have been meant."""
    if option in known:
        return f"{option} stands where no option can"
    last = "--" + option.rpartition(".")[2].lstrip("-")  # --optim.steps: the name of a part before one that has none
    near = [last] if last in known else difflib.get_close_matches(option, known, n=2)
    return f"there is no option {option}" + (f"; did you mean {' or '.join(near)}?" if near else "")


def flags(options: type, several: bool = False, prefix: str = "") -> list[str]:
    """The options that tyro makes of a dataclass: `--steps`, and `--model.width` of a part.

    Args:
        several: those alone that may be repeated.
    """
    names, hints = [], get_type_hints(options, include_extras=True)
    for field in fields(options):
        hint = hints[field.name]
        kind, *notes = get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
        name = field.name.replace("_", "-")
        if isinstance(kind, type) and is_dataclass(kind):
            bare = any(getattr(note, "name", None) == "" for note in notes)
            names += flags(kind, several, prefix if bare else f"{prefix}{name}.")
        elif APPENDS in notes or not several:
            names.append(f"--{prefix}{name}")
    return names


def invocation(argument: Any) -> str:
    """An argument as one types it: `--out FOLDER`, or SET."""
    name, metavar = argument.display_name(), argument.lowered.metavar
    return f"{name} {metavar}" if name.startswith("-") and metavar else str(metavar or name)


def value_of(option: str, arguments: list[str]) -> str | None:
    """What was given to an option; the last counts."""
    given = None
    for word, following in zip(arguments, [*arguments[1:], None], strict=True):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") == option:
            given = value if equals else following
    return given


def expected(hint: Any) -> str:
    """What a value of such a type is, in words."""
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
    if float in kinds:
        return "a number"
    return "a whole number" if int in kinds else " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
