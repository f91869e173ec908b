"""The authors' `.pth` files and the paper's data sets: damaged, of something else, with code in them."""

import io
import pickle
import zipfile

from ..sample import Sample, cut, kind, replace_by

CONVERT = "convert lfae.pth dm.pth --out new".split()


def both(place) -> None:
    place.give("lfae.pth")
    place.give("dm.pth")


@kind
def states_cut_short_or_replaced(rng, place):
    both(place)
    rng.choice([cut, replace_by])(rng, place / rng.choice(["lfae.pth", "dm.pth"]))
    return Sample(list(CONVERT), codes=(2,), seconds=20)


@kind
def states_of_too_few_parts(rng, place):
    """Right files of another model."""
    both(place)
    odd = [
        CONVERT,
        "convert dm.pth lfae.pth --out new".split(),
        "convert lfae.pth lfae.pth --out new".split(),
        "convert lfae.pth --out new".split(),
    ]
    return Sample(list(rng.choice(odd)), codes=(2,))


@kind
def states_that_hold_more_than_tensors(rng, place):
    both(place)
    held = {"generator": Opens(str(place / "RAN")), "region_predictor": {}, "bg_predictor": {}}
    (place / "lfae.pth").write_bytes(pickle.dumps(held, protocol=2))
    return Sample(list(CONVERT), codes=(2,), absent=("RAN",))


class Opens:
    """Unpickled, it makes a file."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@kind
def states_with_one_changed_bit(rng, place):
    """The file keeps a sum of each of its parts, which no longer fits."""
    both(place)
    path = place / "lfae.pth"
    with zipfile.ZipFile(path) as archive:
        entry = max(archive.infolist(), key=lambda entry: entry.file_size)
    content = bytearray(path.read_bytes())
    content[entry.header_offset + 200 + rng.randrange(entry.file_size // 2)] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return Sample(list(CONVERT), codes=(2,))


@kind
def states_of_another_structure(rng, place):
    import torch

    both(place)
    odd = [
        [],
        3,
        None,
        torch.zeros(3),
        {"generator": 3},
        {"generator": {"a": 3}},
        {3: {}},
        {"generator": {3: torch.zeros(1)}},
    ]
    torch.save(rng.choice(odd), place / rng.choice(["lfae.pth", "dm.pth"]))
    return Sample(list(CONVERT), codes=(2,))


@kind
def states_in_an_archive_of_something_else(rng, place):
    both(place)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(
            rng.choice(["a.txt", "archive/data.pkl", "../escaped", "archive/version"]),
            rng.choice([b"", b"3\n", b"\x80\x02}."]),
        )
    (place / "dm.pth").write_bytes(buffer.getvalue())
    return Sample(list(CONVERT), codes=(2,))


@kind
def vectors_of_labels_that_do_not_fit(rng, place):
    import numpy as np
    from safetensors.numpy import save_file

    both(place)
    shape = rng.choice([(768,), (3,), (768, 2), ()])
    names = rng.choice([["anger"], ["anger", "fear"], ["a\x1b[31m"], []])
    save_file(
        {name: np.full(shape, rng.choice([0, np.nan]), np.float32) for name in names}, place / "vectors.safetensors"
    )
    if rng.random() < 0.4:
        rng.choice([cut, replace_by])(rng, place / "vectors.safetensors")
    return Sample([*CONVERT, "--label-vectors", "vectors.safetensors"], codes=(2,), seconds=20)


@kind
def model_that_cannot_be_converted_back(rng, place):
    place.give("model")
    name = rng.choice(["model", "model/judge", "empty"])
    (place / "empty").mkdir()
    return Sample(["convert", name, "--out", "back"], ("back",), (2,))


@kind
def set_of_the_paper_that_is_not_there(rng, place):
    """Another folder, an empty one, a file, one that is the destination too."""
    place.give("plain")
    (place / "empty").mkdir()
    place.give("face.png")
    source = rng.choice(["plain", "empty", "face.png", "nowhere", "plain/fear"])
    to = rng.choice(["new", source, f"{source}/inside", "face.png"])
    size = rng.choice(["--size=32", "--size=0", "--size=-1", "--workers=-1", "--size=nan", "--strict"])
    return Sample(["data", "prepare", rng.choice(["mug", "mhad", "natops", "none"]), source, to, size], ("new",), (2,))
