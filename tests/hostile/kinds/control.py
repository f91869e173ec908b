"""What `generate` is asked for beyond a label: how strong, when, where, of what mixture, and in which steps."""

from ..sample import Sample, generate, kind
from .options import NUMBERS


def without_label(arguments: list[str]) -> list[str]:
    """The command as a mixture needs it, which names its labels itself."""
    at = arguments.index("--label")
    return arguments[:at] + arguments[at + 2 :]


@kind
def number_of_a_wish_that_is_odd(rng, place):
    option = rng.choice(["--strength", "--turn", "--onset", "--duration", "--guided-steps", "--spacing"])
    value = rng.choice([*NUMBERS, "1e-300", "0.5", "1.4999"])
    return Sample(generate(place, f"{option}={value}"), ("out.gif",))


@kind
def place_that_is_odd(rng, place):
    odd = [
        "", " ", "Mouth", "mouth,eyes", "nose", "0,0,1", "0,0,1,1,1", "a,b,c,d", "1,1,0,0", "0,0,0,0", "nan,0,1,1",
        "-inf,-1,inf,1", "0,0,64,64", "0.01,0.01,0.02,0.02", "-1,-1,1,1", " -1 , -1 , 1 , 1 ", "a\x1b[31mb", "x" * 5000,
        "mouth\n", "٠,٠,١,١",
    ]  # fmt: skip
    return Sample(generate(place, f"--only={rng.choice(odd)}"), ("out.gif",))


@kind
def mixture_that_is_odd(rng, place):
    odd = [
        "", "fear", "fear=", "=1", "fear=1", "fear=1,", "fear=0.5", "fear=0.5,fear=0.5", "fear=0.5,smile=0.5",
        "fear=2,surprise=-1", "fear=nan,surprise=0.5", "fear=inf,surprise=-inf", "fear=1e999,surprise=0",
        "fear=0.5;surprise=0.5", "fear=0.5,surprise=0.5=1", "fear:0.5,surprise:0.5", "fear=½,surprise=½",
        " fear = 0.5 , surprise = 0.5 ", "a\x1b[31mb=1", "x" * 5000, "fear=0.33,surprise=0.33,anger=0.33", "all=1",
    ]  # fmt: skip
    arguments = generate(place, f"--mix={rng.choice(odd)}")
    return Sample(arguments if rng.random() < 0.2 else without_label(arguments), ("out.gif",))


@kind
def wishes_that_do_not_go_together(rng, place):
    """One of them cannot be had beside the other, or of this model."""
    odd = [
        ["--mix=fear=0.5,anger=0.5", "--guided-steps=1"], ["--mix=fear=0.5,anger=0.5", "--fast"],
        ["--turn=0.1", "--strength=1"], ["--num-frames=2", "--onset=3"], ["--only=mouth", "--strength=2"],
        ["--steps=2", "--guided-steps=3"], ["--fast"], ["--duration=0", "--onset=0"],
    ]  # fmt: skip
    more = rng.choice(odd)
    arguments = generate(place, *more)
    return Sample(without_label(arguments) if more[0].startswith("--mix") else arguments, ("out.gif",), (2,))
