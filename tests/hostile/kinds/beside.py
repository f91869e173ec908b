"""`recipe.json` and `metrics.json` beside a model, and JSON that other commands left."""

import json

from ..sample import STRANGE, Sample, edit_json, fifo, kind, leaves, nested, not_json, put


def which(rng) -> str:
    return rng.choice(["model/recipe.json", "model/metrics.json"])


@kind
def recipe_or_metrics_with_another_value(rng, place):
    place.give("model")

    def edit(values):
        put(values, rng.choice(leaves(values)), rng.choice(STRANGE))

    edit_json(place / which(rng), edit)
    return Sample(["info", "model"])


@kind
def recipe_or_metrics_that_are_no_json(rng, place):
    place.give("model")
    not_json(rng, place / which(rng))
    return Sample(["info", "model"])


@kind
def recipe_or_metrics_nested_deeper_than_a_stack(rng, place):
    place.give("model")
    (place / which(rng)).write_text(nested())
    return Sample(["info", "model"], codes=(2,))


@kind
def recipe_with_codes_for_the_terminal(rng, place):
    place.give("model")
    code = rng.choice(["\x1b[31m", "\x1b]0;title\x07", "\x9b1m", "\r", "\x08", "\x7f"])
    (place / which(rng)).write_text(json.dumps({"command": f"a{code}b", f"k{code}": [f"{code}v"]}), encoding="utf-8")
    return Sample(["info", "model"])


@kind
def recipe_that_is_a_pipe_a_folder_or_a_dead_link(rng, place):
    place.give("model")
    path = place / which(rng)
    path.unlink()
    rng.choice([fifo, lambda p: p.mkdir(), lambda p: p.symlink_to("nowhere"), lambda p: p.symlink_to(p.name)])(path)
    return Sample(["info", "model"], seconds=20)


@kind
def recipe_longer_than_a_screen(rng, place):
    place.give("model")
    (place / which(rng)).write_text(json.dumps({"a" * 3000: ["b" * 9000] * 3, "c": 10**60, "d": -1e-300}))
    return Sample(["info", "model"])


@kind
def export_that_was_made_from_something_unreadable(rng, place):
    place.give("films")
    path = place / "films/export.json"
    if rng.random() < 0.5:
        not_json(rng, path)
    else:

        def edit(values):
            put(values, rng.choice(leaves(values)), rng.choice(STRANGE))

        edit_json(path, edit)
    command = "data export faces --clips 4 --size 32 --num-frames 4 --flow npz --out films"
    return Sample(command.split(), ("films/export.json", "films/clips.csv"))
