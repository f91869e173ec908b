"""Weights on disk: safetensors files, whose header is looked at before anything is loaded or allocated.

Networks are first built without weights, to be compared with that header.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..reading import CheckpointError, one_line, regular_file, shown

PRECISIONS = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
COUNTER = torch.int64  # what batch norms count their batches with; a fast network's change is in whole numbers too
FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
STORED = FLOATS | {"I64": COUNTER, "I8": torch.int8}
WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")  # of torch: what they call
# the module within: torch.compile, DataParallel and DistributedDataParallel, FSDP, activation checkpointing
Network = TypeVar("Network", bound=nn.Module)


# ---------------------------------------------------------------- names


def plain_name(name: str) -> str:
    """A tensor's name without those that wrappers of torch put in, `unet._orig_mod.head.bias` → `unet.head.bias`."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def plain_names(names: Iterable[str], where: Any) -> dict[str, str]:
    """Plain names, each with the name that it stands for.

    Raises:
        CheckpointError: two names become one.
    """
    plain: dict[str, str] = {}
    for name in names:
        if plain.setdefault(plain_name(name), name) != name:
            raise CheckpointError(f"{where}: {shown(plain[plain_name(name)])} and {shown(name)} are one tensor's names")
    return plain


def unwrapped(module: Network) -> Network:
    """The module within what torch.compile, DataParallel and the like have put around it."""
    inner: list[Any] = [child for name, child in module.named_children() if name in WRAPPERS]
    return unwrapped(inner[0]) if inner else module


# ---------------------------------------------------------------- reading and writing


def read_header(path: str | Path, what: str = "a safetensors file") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Names, shapes and types of a file's tensors, as tensors without memory, and its metadata.

    Raises:
        CheckpointError: no such file, a damaged one, or one with a tensor that holds no weights.
    """
    from safetensors import safe_open

    path = regular_file(path, what)
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
            header = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
            metadata = file.metadata() or {}
        for name, (kind, _) in header.items():
            if kind not in STORED:
                raise CheckpointError(f"{path}: tensor {shown(name)} is of type {kind}; expected {', '.join(STORED)}")
        return {n: torch.empty(shape, dtype=STORED[k], device="meta") for n, (k, shape) in header.items()}, metadata
    except CheckpointError:
        raise
    except Exception as error:  # SafetensorError, and what else its parser may raise of a foreign file
        raise CheckpointError(f"{path} is damaged or no safetensors file: {one_line(error)}{hint(path)}") from None


def hint(path: Path) -> str:
    """What to do about a file that a clone without Git LFS has in the place of weights."""
    with open(path, "rb") as file:
        pointer = file.read(40).startswith(b"version https://git-lfs.github.com/")
    return "; it is a pointer of Git LFS: run git lfs pull" if pointer else ""


def read_safetensors(path: str | Path, what: str = "a safetensors file") -> dict[str, Tensor]:
    """The tensors of a file, on the CPU; all are finite.

    Raises:
        CheckpointError: no such file, a damaged one, or one with a tensor that holds no finite weights.
    """
    from safetensors.torch import load_file

    read_header(path, what)
    try:
        tensors = load_file(path)
    except Exception as error:  # as above
        raise CheckpointError(f"{path} is damaged or no safetensors file: {one_line(error)}") from None
    check_finite(tensors, path)
    return tensors


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a file that is the same, byte for byte, whenever its content is.

    Of safetensors 0.8 two habits are avoided. It keeps metadata in a hash table, so that their order differs from run
    to run: here they are sorted. And its save_file puts another file, which its owner alone can read, in the place of
    the given one, and leaves a `.tmpXXXXXX` behind when it is killed: here the given file is written.
    """
    from safetensors.torch import save

    content = memoryview(save(dict(tensors), metadata=dict(metadata or {})))
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(bytes(content[8:start]))
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of 8 bytes
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        file.write(content[start:])


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


# ---------------------------------------------------------------- checks


def precision(dtype: Any) -> torch.dtype:
    """A precision that weights can be stored in, also by its name.

    Raises:
        ValueError: another; the message lists them.
    """
    found = PRECISIONS.get(str(dtype).removeprefix("torch."))
    if found is None:
        raise ValueError(f"dtype {dtype} is not a floating-point type for weights: {', '.join(PRECISIONS)}")
    return found


def check_finite(tensors: Mapping[str, Tensor], where: Any) -> None:
    """Raises a CheckpointError that names the first tensor with a number that is infinite or none."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel():
            # aminmax hands on NaN, and is 20 times as fast as isfinite on a CPU (torch 2.13)
            if not torch.stack(tensor.aminmax()).isfinite().all():
                bad = tensor[~tensor.isfinite()].flatten()
                raise CheckpointError(
                    f"{where}: tensor {shown(name)} holds {bad[0].item()} in {len(bad):,} of {tensor.numel():,} places"
                )


def check_fit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], where: Any) -> None:
    """Compare names, shapes and kinds of tensors; what memory they have does not matter.

    Raises:
        CheckpointError: one is missing, extra, misshapen or of another kind; the first is named.
    """
    for name, tensor in expected.items():
        if name not in found:
            continue
        if found[name].shape != tensor.shape:
            raise CheckpointError(
                f"{where}: tensor {name!r} has shape {_shape(found[name])}, expected {_shape(tensor)}"
            )
        kind, is_float = found[name].dtype, tensor.is_floating_point()
        if not (kind in PRECISIONS.values() if is_float else kind is tensor.dtype):
            wanted = "a floating-point type" if is_float else "whole numbers"
            raise CheckpointError(f"{where}: tensor {name!r} is of type {_type(found[name])}, expected {wanted}")
    missing = [name for name in expected if name not in found]
    if missing:
        name = missing[0]
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise CheckpointError(f"{where}: tensor {name!r} of shape {_shape(expected[name])} is missing{more}")
    extra = [name for name in found if name not in expected]
    if extra:
        more = f" (and {len(extra) - 1} more)" if len(extra) > 1 else ""
        raise CheckpointError(f"{where}: unexpected tensor {shown(extra[0])} of shape {_shape(found[extra[0]])}{more}")


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], where: Any) -> None:
    """Copy tensors into a module, in the module's own precision; every name and shape must agree.

    Names that wrappers of torch put in do not count, on either side.

    Raises:
        CheckpointError: a tensor is missing, extra, misshapen or of another kind, or its numbers are too large.
    """
    state = module.state_dict()
    own, given = plain_names(state, where), plain_names(tensors, where)
    expected = {plain: state[name] for plain, name in own.items()}
    found = {plain: tensors[name] for plain, name in given.items()}
    check_fit(expected, found, where)
    converted = {own[plain]: tensor.to(expected[plain].dtype) for plain, tensor in found.items()}
    check_finite(converted, where)
    module.load_state_dict(converted, strict=True)


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


# ---------------------------------------------------------------- networks without weights


class WithoutMemory(TorchFunctionMode):
    """Modules built inside have weights of the right shapes, but without memory and numbers.

    Only what allocates weights is sent to the meta device: under `torch.device("meta")` arithmetic such as a noise
    schedule's, and the first draw of weights, would import torch's compiler, which takes seconds (torch 2.13).
    """

    ALLOCATE = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn)
    DRAW = (Tensor.uniform_, Tensor.normal_)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in self.ALLOCATE:
            kwargs["device"] = "meta"
        if function in self.DRAW or getattr(function, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


def build(make: Callable[[], Network], where: Any) -> Network:
    """Build a network from a config that was read from disk; what its constructor refuses is a fault of the file.

    Raises:
        CheckpointError: it refuses; `where` is named.
    """
    try:
        return make()
    except CheckpointError:
        raise
    except (ArithmeticError, AssertionError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{where} does not describe a model: {one_line(error)}") from None
