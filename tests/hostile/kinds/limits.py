"""Sizes just above a limit of the library, which the sample sets low: what is refused is small."""

import json

import numpy as np

from ..sample import LOOK, Sample, generate, kind, preview


@kind
def json_larger_than_is_read(rng, place):
    place.give("model")
    name = rng.choice(["recipe.json", "metrics.json", "config.json"])
    values = json.loads((place / "model" / name).read_text()) | {"more": "x" * 9000}
    (place / "model" / name).write_text(json.dumps(values))
    return Sample(["info", "model"], codes=(2,), limits={"lfdm_lite.files.reading:MAX_JSON": 8000})


@kind
def json_nested_deeper_than_is_read(rng, place):
    place.give("model")
    depth = rng.randrange(12, 20)
    (place / "model/metrics.json").write_text('{"a":' * depth + "1" + "}" * depth)
    return Sample(["info", "model"], codes=(2,), limits={"lfdm_lite.files.reading:MAX_NESTING": 10})


@kind
def clip_of_more_pixels_than_are_held(rng, place):
    place.give("plain")
    place.give("film.mp4", "plain/fear/long.mp4")
    return Sample(
        preview("plain"), LOOK, (2,), limits={"lfdm_lite.files.media:MAX_CLIP": 32 * 32 * rng.randrange(6, 12)}
    )


@kind
def frame_larger_than_is_written(rng, place):
    limits = {"lfdm_lite.files.media:MAX_SIDE": 63}
    return Sample(generate(place, "--scale", "2", out=rng.choice(["out.gif", "out.mp4"])), (), (2,), limits=limits)


@kind
def arrays_of_more_numbers_than_are_held(rng, place):
    """Packed small: all the same."""
    place.give("films")
    path = rng.choice(sorted((place / "films").rglob("*.npz")))
    np.savez_compressed(path, flow=np.zeros((2, 4, 32, 32), np.float32), visible=np.ones((1, 4, 32, 32), np.float32))
    return Sample(preview(), LOOK, (2,), limits={"lfdm_lite.files.motion_files:MAX_NUMBERS": 8191})


@kind
def states_with_more_names_than_are_read(rng, place):
    import torch

    place.give("lfae.pth")
    torch.save(
        {"diffusion": {f"{'x' * 100}{i}": torch.zeros(1) for i in range(rng.randrange(100, 200))}}, place / "dm.pth"
    )
    command = "convert lfae.pth dm.pth --out new".split()
    return Sample(command, codes=(2,), limits={"lfdm_lite.files.models.pickles:MAX_PICKLE": 5000})
