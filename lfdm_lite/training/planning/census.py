"""What each part of a network costs: the shape of its answer, parameters, multiply-adds, memory kept for training.

On the device `meta`, where tensors have shapes and no numbers, the same is found at no cost.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


class Cost(NamedTuple):
    """Of one part of a network in one forward pass."""

    shape: tuple[int, ...]  # of its answer
    parameters: int
    multiply_adds: int  # in matrix products and convolutions
    kept: int  # bytes that autograd keeps for the backward pass


class KeptMemory:
    """Counts the bytes that autograd keeps for the backward pass, every storage once, by the name set at that time."""

    def __init__(self, known: Iterable[Tensor] = ()):
        self.storages = {id(tensor.untyped_storage()): tensor.untyped_storage() for tensor in known}
        self.name = ""
        self.bytes: Counter[str] = Counter()

    def __call__(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(storage) not in self.storages:
            self.storages[id(storage)] = storage  # held, so that no other gets its id
            self.bytes[self.name] += storage.nbytes()
        return tensor

    def watching(self) -> torch.autograd.graph.saved_tensors_hooks:
        return torch.autograd.graph.saved_tensors_hooks(self, lambda tensor: tensor)


def kept_bytes(compute: Callable[..., Tensor], *inputs: Any, known: Iterable[Tensor] = ()) -> int:
    """Bytes that compute(*inputs) keeps for its backward pass.

    Args:
        known: tensors that are there anyway, such as parameters.
    """
    memory = KeptMemory(known)
    with memory.watching():
        compute(*inputs)
    return memory.bytes.total()


def outermost(network: nn.Module, kinds: tuple[type[nn.Module], ...], name: str = "") -> dict[str, nn.Module]:
    """The modules of these kinds that lie in no other module of these kinds, by name."""
    if name and isinstance(network, kinds):
        return {name: network}
    parts: dict[str, nn.Module] = {}
    for child_name, child in network.named_children():
        parts |= outermost(child, kinds, f"{name}.{child_name}".lstrip("."))
    return parts


def census(network: nn.Module, kinds: tuple[type[nn.Module], ...], *inputs: Any) -> dict[str, Cost]:
    """What every outermost module of these kinds costs in network(*inputs), in the order of the call.

    Raises:
        ValueError: the network has no module of these kinds.
    """
    parts, memory = outermost(network, kinds), KeptMemory(network.parameters())
    shapes: dict[str, tuple[int, ...]] = {}
    if not parts:
        raise ValueError(f"{type(network).__name__} has no {' or '.join(kind.__name__ for kind in kinds)}")

    def enter(name: str, module: nn.Module, given: tuple[Any, ...]) -> None:
        memory.name = name

    def leave(name: str, module: nn.Module, given: tuple[Any, ...], answer: Tensor) -> None:
        shapes[name], memory.name = tuple(answer.shape), ""

    hooks = [part.register_forward_pre_hook(partial(enter, name)) for name, part in parts.items()]
    hooks += [part.register_forward_hook(partial(leave, name)) for name, part in parts.items()]
    try:
        with memory.watching(), FlopCounterMode(display=False) as counter:
            network(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    operations = {name: sum(found.values()) // 2 for name, found in counter.get_flop_counts().items()}
    numbers = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    products = {name: operations.get(f"{type(network).__name__}.{name}", 0) for name in parts}
    return {name: Cost(shape, numbers[name], products[name], memory.bytes[name]) for name, shape in shapes.items()}
