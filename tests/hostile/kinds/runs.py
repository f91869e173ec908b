"""Runs that are resumed: states, manifests, logs and recipes that are damaged or of something else."""

import json
import pickle

from ..sample import STRANGE, Sample, cut, edit_json, kind, leaves, nested, not_json, put, replace_by

RESUME = "train judge --preset tiny --out run --resume".split()
NEWEST = "run/checkpoints/step_0000002"


def resumed(codes=(0, 2)) -> Sample:
    return Sample(list(RESUME), ("run", "cache"), codes)


@kind
def state_cut_short_or_replaced(rng, place):
    """The one before it takes over."""
    place.give_run()
    rng.choice([cut, replace_by])(rng, place / NEWEST / "state.pt")
    return resumed()


@kind
def state_that_holds_more_than_numbers(rng, place):
    place.give_run()
    (place / NEWEST / "state.pt").write_bytes(pickle.dumps({"model": Opens(str(place / "RAN"))}))
    sample = resumed()
    return Sample(sample.arguments, sample.outputs, sample.codes, absent=("RAN",))


class Opens:
    """Unpickled, it makes a file."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@kind
def manifest_with_another_value(rng, place):
    place.give_run()

    def edit(values):
        put(values, rng.choice(leaves(values)), rng.choice(STRANGE))

    edit_json(place / NEWEST / "manifest.json", edit)
    return resumed()


@kind
def manifest_that_is_no_json(rng, place):
    place.give_run()
    not_json(rng, place / NEWEST / "manifest.json")
    return resumed()


@kind
def recipe_with_another_value(rng, place):
    place.give_run()

    def edit(values):
        put(values, rng.choice([path for path in leaves(values) if path[0] == "config"]), rng.choice(STRANGE))

    edit_json(place / "run/recipe.json", edit)
    return resumed()


@kind
def recipe_that_is_no_json(rng, place):
    place.give_run()
    if rng.random() < 0.3:
        (place / "run/recipe.json").write_text(nested())
    else:
        not_json(rng, place / "run/recipe.json")
    return resumed((2,))


@kind
def log_that_is_no_table(rng, place):
    place.give_run()
    text = (place / "run/log.csv").read_text()
    odd = [
        "",
        "step\n",
        "a,b\n1,2\n",
        "step,loss\nmany,1\n",
        text.replace("step", "stp"),
        text + "1\x00,2\n",
        '"' + text,
        text * 2,
        "step\nnan\n",
    ]
    (place / "run/log.csv").write_text(rng.choice(odd))
    return resumed()


@kind
def checkpoints_under_odd_names(rng, place):
    place.give_run()
    name = rng.choice(["step_x", "step_", "step_-1", "step_99999999999999999999", "step_0000003", "step_1.5"])
    made = place / "run/checkpoints" / name
    if rng.random() < 0.5:
        made.mkdir()
    else:
        made.write_text("a file")
    return resumed()


@kind
def another_run_where_one_is_named(rng, place):
    """The auto-encoder of stage two is a judge, a model of another size, a run without an end."""
    place.give_run("run", "other")
    place.give("model")
    if rng.random() < 0.4:
        (place / "other/model.safetensors").unlink()
    name = rng.choice(["other", "model", "model/judge", "nowhere"])
    stage = rng.choice(["diffusion --autoencoder", "decoder --checkpoint"])
    command = f"train {stage} {name} --preset tiny --steps 1 --out new".split()
    return Sample(command, ("new", "cache"))


@kind
def options_of_a_run_that_contradict_it(rng, place):
    place.give_run()
    more = rng.choice(
        ["--steps 3", "--batch-size 3", "--data.size 64", "--model.num-labels 3", "--seed 9", "--precision bf16"]
    )
    return Sample([*RESUME, *more.split()], ("run", "cache"))


@kind
def model_that_would_be_trained_over(rng, place):
    """A folder that holds a finished model without a recipe is not a place for another."""
    place.give("model")
    (place / "model/recipe.json").unlink()
    command = f"train {rng.choice(['judge', 'autoencoder'])} --preset tiny --steps 1 --out model".split()
    return Sample(command, ("cache",), (2,))


@kind
def mistake_that_must_not_block_the_folder(rng, place):
    """Refused, then corrected: the second command works."""
    place.give("plain")
    start = "train judge --preset tiny --steps 1 --data.name folder --out run".split()
    wrong = rng.choice(
        ["--data.root nowhere", "--data.root plain --learning-rate 0", "--data.root plain --batch-size 0"]
    )
    if rng.random() < 0.3:
        start, wrong = "train judge --preset tiny --steps 1 --out run".split(), "--model.channels 0 0"
    right = "train judge --preset tiny --steps 1 --out run".split()
    return Sample([*start, *wrong.split()], ("run", "cache"), (2,), then=tuple(right))


@kind
def judge_of_fewer_labels_than_the_data(rng, place):
    """Said before training."""
    count = rng.choice([1, 2, 3, 5, 7])
    command = f"train judge --preset tiny --steps 1 --model.num-labels {count} --out run".split()
    return Sample(command, ("run", "cache"), then=tuple("train judge --preset tiny --steps 1 --out run".split()))


@kind
def recipe_of_a_model_that_is_measured(rng, place):
    """`evaluate` reads from the recipe which clips a judge is for."""
    place.give_run()

    def edit(values):
        data = {path: None for path in leaves(values) if path[:2] == ("config", "data")}
        put(values, rng.choice(sorted(data, key=str)), rng.choice(STRANGE))

    edit_json(place / "run/recipe.json", edit)
    command = "evaluate run --data faces --clips 2 --quiet --out figures.json".split()
    return Sample(command, ("figures.json",))


@kind
def log_beside_a_recipe_of_a_single_number(rng, place):
    place.give_run()
    (place / "run/recipe.json").write_text(json.dumps(rng.choice([3, [], {}, {"config": 3}, {"config": []}])))
    return resumed((2,))
