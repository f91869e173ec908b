"""What the library keeps for itself: counts of frames, decoded frames, training clips. Damaged, it is made anew."""

import hashlib
import json
import os

import numpy as np

from ..sample import STRANGE, Sample, cut, edit_json, kind, leaves, nested, not_json, put, replace_by

CACHE = {"LFDM_CACHE": "cache"}  # of its own, inside the place


def filled(place) -> None:
    """A cache as a data set leaves it: counts of frames of the films in `films`."""
    place.give("films")
    films = sorted((place / "films").rglob("*.mp4"))
    counts = {}
    for film in films:
        found = film.stat()
        counts[str(film)] = [found.st_size, found.st_mtime_ns, 4]
    text = json.dumps({"format": 1, "clips": counts})
    name = hashlib.sha256(os.fsencode(place / "films")).hexdigest()[:24]
    (place / "cache/index").mkdir(parents=True)
    (place / f"cache/index/{name}.json").write_text(text)


def through(place) -> Sample:
    arguments = "data preview films --split all --size 32 --num-frames 4 --clips 4 --out look".split()
    return Sample(arguments, ("look.png", "look.gif", "cache"), (0,), environment=CACHE)


@kind
def counts_that_are_no_counts(rng, place):
    filled(place)
    (path,) = (place / "cache/index").iterdir()

    def edit(values):
        put(values, rng.choice(leaves(values)), rng.choice(STRANGE))

    edit_json(path, edit)
    return through(place)


@kind
def counts_that_are_no_json(rng, place):
    filled(place)
    (path,) = (place / "cache/index").iterdir()
    if rng.random() < 0.3:
        path.write_text(nested())
    else:
        not_json(rng, path)
    return through(place)


@kind
def counts_that_promise_more_than_there_is(rng, place):
    filled(place)
    (path,) = (place / "cache/index").iterdir()

    def edit(values):
        for entry in values["clips"].values():
            entry[2] = rng.choice([1, 5, 1000, 2**40])

    edit_json(path, edit)
    return through(place)


@kind
def decoded_frames_that_are_damaged(rng, place):
    """Whatever lies in the folder of frames under any name."""
    filled(place)
    (place / "cache/frames").mkdir()
    path = place / "cache/frames/0123456789abcdef0123456789abcdef.npy"
    np.save(path, np.zeros((2, 3, 32, 32), np.uint8))
    rng.choice([cut, replace_by])(rng, path)
    return through(place)


@kind
def cache_that_cannot_be_a_folder(rng, place):
    """Reading goes on without a cache."""
    place.give("films")
    where = rng.choice(["cache", "cache/frames", "cache/index"])
    (place / where).parent.mkdir(exist_ok=True)
    (place / where).write_text("a file where a folder should be")
    return through(place)


@kind
def training_clips_that_are_damaged(rng, place):
    """Half a shard, another file, a manifest that is gone: made anew, or refused by name."""
    place.give_run("ae", "run")
    shards, manifests = (sorted((place / "cache").rglob(name)) for name in ("*.safetensors", "made_from.json"))
    if rng.random() < 0.6:
        rng.choice([cut, replace_by])(rng, rng.choice(shards))
    else:
        rng.choice([not_json, lambda _, path: path.unlink()])(rng, rng.choice(manifests))
    return Sample("train autoencoder --preset tiny --out new --steps 1".split(), ("new", "cache"))
