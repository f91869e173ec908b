"""Fast networks that are damaged or of another model, and the commands that make, measure and export them."""

from ..sample import STRANGE, Sample, cut, edit_json, generate, kind, leaves, not_json, put, replace_by, words
from .options import NUMBERS

FEW = "train few-steps --preset tiny --steps 1 --cache-folder drawn --out new"


def in_its_own_steps(arguments: list[str]) -> list[str]:
    """The command without a number of steps."""
    return [word for word in arguments if word not in ("--steps", "1")]


def odd_number(rng, place, options: str) -> str:
    """One of the options with an odd value, but for those that are only slow; the model and its clips lie there."""
    place.give("model")
    place.give("drawn")
    value = rng.choice([number for number in NUMBERS if number not in ("1_000", "9" * 40, "1e30")])
    return f"--{rng.choice(words(options))}={value}"


def broken(rng, place) -> str:
    """A model's folder whose fast network, whole or as a change, has met with something."""
    name = rng.choice(["fast", "kept"])
    network = place.give(name) / "fast"

    def edit(values):
        put(values, rng.choice(leaves(values)), rng.choice(STRANGE))

    rng.choice([
        lambda: edit_json(network / "config.json", edit),
        lambda: not_json(rng, network / "config.json"),
        lambda: rng.choice([cut, replace_by])(rng, network / "model.safetensors"),
        lambda: (network / "model.safetensors").unlink(),
        lambda: (network / "config.json").unlink(),
    ])()  # fmt: skip
    return name


@kind
def fast_network_that_is_damaged(rng, place):
    """Insisted on, it is named; else the long way is taken."""
    name = broken(rng, place)
    more = ["--fast"] if rng.random() < 0.5 else []
    arguments = in_its_own_steps(generate(place, *more, model=name))
    return Sample(arguments, ("out.gif",))


@kind
def fast_network_that_is_damaged_and_measured(rng, place):
    name = broken(rng, place)
    return Sample([*words("evaluate --stage two --clips 2 --fast --quiet --out f.json"), name], ("f.json",))


@kind
def fast_network_of_another_model(rng, place):
    """What taught it are other weights than stand above it: insisted on, it is refused."""
    name = rng.choice([place.give("fast"), place.give("kept")]).name
    edit_json(place / name / "fast/config.json", lambda values: values | {"teacher": "0" * 64})
    arguments = in_its_own_steps(generate(place, model=name))
    return Sample([*arguments, "--fast"], ("out.gif",), (2,))


@kind
def steps_that_a_fast_network_does_not_take(rng, place):
    odd = ["--steps=1", "--steps=0", "--sampler=ddpm", "--guidance-scale=99", "--guidance-scale=nan",
           "--guided-steps=1", "--spacing=2", "--mix=fear=0.5,anger=0.5"]  # fmt: skip
    name = rng.choice([place.give("fast"), place.give("kept")]).name
    if rng.random() < 0.4:
        given = rng.choice([option for option in odd if "mix" not in option])
        command = words(f"evaluate {name} --stage two --clips 2 --fast --quiet --out f.json {given}")
        return Sample(command, ("f.json",), (2,))
    arguments = in_its_own_steps(generate(place, "--fast", model=name))
    return Sample([*arguments, rng.choice(odd)], ("out.gif",), (2,))


@kind
def number_of_a_few_steps_that_is_odd(rng, place):
    odd = odd_number(rng, place, "student-steps teacher-steps kept batch-size learning-rate data.size ema warmup")
    given = rng.choice([odd, "--scales 3 1", "--scales nan 2", "--scales -1 1", "--student-steps 3"])
    return Sample([*words(f"{FEW} --checkpoint model"), *words(given)], ("new", "drawn"))


@kind
def number_of_a_decoder_that_is_odd(rng, place):
    odd = odd_number(rng, place, "from-rest gradient-weight batch-size learning-rate data.size ema weight-decay")
    command = "train decoder --preset tiny --checkpoint model --steps 1 --cache-folder drawn --out new"
    return Sample([*words(command), odd], ("new", "drawn"))


@kind
def teacher_that_is_none(rng, place):
    """Two stages are needed: a judge, an auto-encoder, a folder that is not there, and none at all are refused."""
    place.give("ae")
    place.give("run")
    place.give("model")
    (place / "model/model.safetensors").write_bytes(b"")
    name = rng.choice(["ae", "run", "nowhere", "ae/config.json", "model"])
    given = rng.choice([["--checkpoint", name], ["--checkpoint", ""], []])
    return Sample([*words(FEW), *given], codes=(2,))


@kind
def model_that_is_not_exported(rng, place):
    """Damaged, or no model of two stages; or where the files are to go there is something else."""
    odd = rng.choice(["ae", "run", "nowhere", "broken", "fast"])
    place.give("face.png")
    if odd in ("ae", "run"):
        place.give(odd)
    if odd == "broken":
        place.give("model", "broken")
        rng.choice([cut, replace_by])(rng, place / "broken/model.safetensors")
    if odd == "fast":
        place.give("fast")
    out = "face.png" if odd == "fast" or rng.random() < 0.3 else "page"
    return Sample(["export-onnx", odd, "--out", out], codes=(2,), seconds=30)
