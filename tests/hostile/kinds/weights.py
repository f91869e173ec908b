"""`model.safetensors`: headers that lie, tensors that do not fit, numbers that are none."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from ..sample import Place, Sample, cut, generate, kind, replace_by

WEIGHTS = "model/model.safetensors"
OTHER_TYPES = {"BOOL": 1, "I8": 1, "U8": 1, "I16": 2, "I32": 4, "I64": 8, "F8_E4M3": 1, "C64": 8}  # bytes of a value


def read(path: Path) -> tuple[dict[str, Any], bytearray]:
    """The header and the bytes behind it."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), bytearray(content[8 + length :])


def write(path: Path, header: Any, data: bytes, length: int | None = None) -> None:
    """As the format has it, but for what is wrong; `length` of the header may be a lie."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)


def some_tensor(rng: random.Random, header: dict[str, Any]) -> str:
    return rng.choice(sorted(name for name in header if name != "__metadata__" and header[name]["shape"]))


def use(rng: random.Random, place: Place, codes=(2,)) -> Sample:
    measure = "evaluate model --clips 2 --stage one --quiet --out f.json".split()
    commands = [(generate(place), ("out.gif",)), (["info", "model"], ()), (measure, ("f.json",))]
    return Sample(*rng.choice(commands), codes)


@kind
def weights_cut_short(rng, place):
    place.give("model")
    cut(rng, place / WEIGHTS)
    return use(rng, place)


@kind
def weights_replaced(rng, place):
    place.give("model")
    replace_by(rng, place / WEIGHTS)
    return use(rng, place)


@kind
def weights_with_a_header_that_lies(rng, place):
    place.give("model")
    header, data = read(place / WEIGHTS)
    name = some_tensor(rng, header)
    match rng.randrange(7):
        case 0:
            return lying(rng, place, header, data, length=2**40)
        case 1:
            return lying(rng, place, header, data, length=0)
        case 2:
            header[name]["data_offsets"] = [0, 10**12]
        case 3:
            header[name]["data_offsets"] = list(reversed(header[name]["data_offsets"]))
        case 4:
            header[name]["shape"] = [2**31, 2**31]
        case 5:
            header[name]["dtype"] = rng.choice(["F128", "", None, 3])
        case 6:
            header[name] = rng.choice([None, [], "x", {}])
    return lying(rng, place, header, data)


def lying(rng, place, header, data, length=None) -> Sample:
    write(place / WEIGHTS, header, data, length)
    return use(rng, place)


@kind
def weights_with_a_header_that_is_none(rng, place):
    place.give("model")
    _, data = read(place / WEIGHTS)
    write(place / WEIGHTS, rng.choice([b"", b"{}", b"null", b"[" * 3000, b"\xff" * 40, b'{"a":1}', b'"text"']), data)
    return use(rng, place)


@kind
def weights_that_are_no_numbers(rng, place):
    """Not-a-number or infinite, in one place or everywhere."""
    place.give("model")
    header, data = read(place / WEIGHTS)
    names = [
        name for name in header if name != "__metadata__" and header[name]["dtype"] == "F32" and header[name]["shape"]
    ]
    start, end = header[rng.choice(sorted(names))]["data_offsets"]
    values = np.frombuffer(bytes(data[start:end]), "<f4").copy()
    where = rng.choice([slice(None), slice(0, 1), slice(-1, None)])
    values[where] = rng.choice([np.nan, np.inf, -np.inf])
    data[start:end] = values.tobytes()
    write(place / WEIGHTS, header, data)
    return use(rng, place)


@kind
def weights_of_another_type(rng, place):
    """Truth values, whole numbers, eight bits, complex numbers under the right name and shape."""
    place.give("model")
    header, data = read(place / WEIGHTS)
    dtype = rng.choice(sorted(OTHER_TYPES))
    name, made, offset = some_tensor(rng, header), bytearray(), 0
    for key in (k for k in sorted(header, key=lambda k: header[k].get("data_offsets", [0])) if k != "__metadata__"):
        start, end = header[key]["data_offsets"]
        content = bytes(data[start:end])
        if key == name:
            header[key]["dtype"] = dtype
            content = bytes(int(np.prod(header[key]["shape"])) * OTHER_TYPES[dtype])
        header[key]["data_offsets"] = [offset, offset + len(content)]
        made, offset = made + content, offset + len(content)
    write(place / WEIGHTS, header, made)
    return use(rng, place)


@kind
def weights_missing_extra_or_of_another_shape(rng, place):
    place.give("model")
    header, data = read(place / WEIGHTS)
    name = some_tensor(rng, header)
    match rng.randrange(4):
        case 0:
            del header[name]
            data = repack(header, data)
        case 1:
            header[f"module.{name}"] = header.pop(name)
        case 2:
            header["\x1b[31m" + name] = header.pop(name)
        case 3:
            shape = header[name]["shape"]
            header[name]["shape"] = [*shape, 1] if len(shape) < 4 else [int(np.prod(shape))]
    write(place / WEIGHTS, header, data)
    return use(rng, place)


def repack(header: dict[str, Any], data: bytes) -> bytes:
    """The bytes without the gap that a removed tensor leaves."""
    made, offset = bytearray(), 0
    for key in (k for k in sorted(header, key=lambda k: header[k].get("data_offsets", [0])) if k != "__metadata__"):
        start, end = header[key]["data_offsets"]
        made += data[start:end]
        header[key]["data_offsets"] = [offset, offset + end - start]
        offset += end - start
    return bytes(made)
