"""`config.json` of a checkpoint: values, structure, labels, sizes that do not belong to the weights."""

import random

from ..sample import STRANGE, Place, Sample, edit_json, generate, get, kind, leaves, nested, not_json, put

CONFIG = "model/config.json"


def use(rng: random.Random, place: Place, codes=(0, 2)) -> Sample:
    """Some command that reads the checkpoint."""
    measure = "evaluate model --data faces --clips 2 --stage one --quiet --out figures.json".split()
    commands = [(generate(place), ("out.gif",)), (["info", "model"], ()), (measure, ("figures.json",))]
    return Sample(*rng.choice(commands), codes)


@kind
def config_value_of_another_type(rng, place):
    place.give("model")

    def edit(values):
        put(values, rng.choice(leaves(values)), rng.choice(STRANGE))

    edit_json(place / CONFIG, edit)
    return use(rng, place)


@kind
def config_value_of_the_judge(rng, place):
    place.give("model")

    def edit(values):
        put(values, rng.choice(leaves(values)), rng.choice(STRANGE))

    edit_json(place / "model/judge/config.json", edit)
    return Sample(
        "evaluate model --clips 2 --stage two --steps 1 --quiet --out figures.json".split(), ("figures.json",)
    )


@kind
def config_number_out_of_range(rng, place):
    place.give("model")

    def edit(values):
        paths = [path for path in leaves(values) if type(get(values, path)) in (int, float)]
        put(values, rng.choice(paths), rng.choice([0, -1, -0.5, 1e-300, float("nan"), float("inf"), -float("inf")]))

    edit_json(place / CONFIG, edit)
    return use(rng, place)


@kind
def config_sizes_of_another_model(rng, place):
    """A little larger or smaller than what the weights are of: their header tells before anything is built."""
    place.give("model")

    def edit(values):
        sizes = [p for p in leaves(values) if p[0] in ("autoencoder", "unet") and type(get(values, p)) is int]
        path = rng.choice([p for p in sizes if get(values, p) > 1])
        put(values, path, rng.choice([get(values, path) * 2, get(values, path) + 1, get(values, path) - 1]))

    edit_json(place / CONFIG, edit)
    return use(rng, place)


@kind
def config_missing_or_unknown_field(rng, place):
    place.give("model")

    def edit(values):
        path = rng.choice([p for p in leaves(values) if isinstance(p[-1], str)])
        if rng.random() < 0.5:
            del get(values, path[:-1])[path[-1]]
        else:
            get(values, path[:-1])[rng.choice(["surprise", "", "a.b", "\x1b[1m", "x" * 5000])] = 1

    edit_json(place / CONFIG, edit)
    return use(rng, place)


@kind
def config_that_is_no_json(rng, place):
    place.give("model")
    not_json(rng, place / CONFIG)
    return use(rng, place, (2,))


@kind
def config_nested_deeper_than_a_stack(rng, place):
    place.give("model")
    (place / CONFIG).write_text(nested())
    return use(rng, place, (2,))


@kind
def config_of_another_kind_or_format(rng, place):
    place.give("model")
    name = rng.choice(["kind", "format_version"])
    edit_json(
        place / CONFIG, lambda values: values | {name: rng.choice([None, [], {}, "", "VideoClassifier", 99, -1, 1.5])}
    )
    return use(rng, place, (2,))


@kind
def labels_that_are_no_names(rng, place):
    place.give("model")
    odd = ["", " ", "fear", "two\nlines", "\x1b[31mred", "a\x00b", None, 3, [], "s" * 5000, "\ud800"]

    def edit(values):
        values["labels"][rng.randrange(2)] = rng.choice(odd)
        if rng.random() < 0.3:
            values["labels"].append("seventh")

    edit_json(place / CONFIG, edit)
    return use(rng, place)


@kind
def labels_that_are_paths(rng, place):
    """A name becomes part of a file's name, and must not lead out of the folder."""
    place.give("model")
    place.give("face.png")
    name = rng.choice(["../escaped", "/tmp/escaped", "a/b", "..", "CON", "x" * 300, "ünï ☃", "a\\b", "-rf"])
    edit_json(place / CONFIG, lambda values: values | {"labels": [name, *values["labels"][1:]]})
    arguments = [
        "generate",
        "face.png",
        "--label=all",
        "--steps",
        "1",
        "--quiet",
        "--checkpoint",
        "model",
        "--out",
        "o/v.gif",
    ]
    return Sample(arguments, ("o",))


@kind
def no_checkpoint_at_all(rng, place):
    place.give("face.png")
    (place / "empty").mkdir()
    (place / "link").symlink_to("nowhere")
    name = rng.choice(
        ["empty", "link", "face.png", "none", ".", "", "hub/none", "a:b", "~nobody/x", "x" * 300, "empty/../none"]
    )
    if rng.random() < 0.5:
        return Sample(["info", name or "none"], codes=(2,))
    return Sample(generate(place, model=name), ("out.gif",), (2,) if name else (0, 2))
