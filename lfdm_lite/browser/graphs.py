"""One network → one ONNX file. Needs the packages onnx and onnxscript, of the extra `web`."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..files.atomic import write_atomically
from .parts import Part

if TYPE_CHECKING:
    import onnx

OPSET = 18  # the newest with GridSample as of opset 16, which runtimes have on graphics processors too
FEW = 256  # numbers of a tensor that is not worth halving


def write_graph(part: Part, path: Path) -> None:
    """Write a part as ONNX, its weights inside, in half precision where that loses nothing.

    What reads the file computes in float32 all the same: a cast behind each halved tensor is carried out once, when
    the file is loaded.
    """
    import onnx

    network = part.network.eval()
    with torch.no_grad(), quiet():
        program = torch.onnx.export(
            network,
            part.example,
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            verbose=False,
        )
    graph = program.model_proto  # type: ignore[union-attr]  # None comes of `dynamo=False` alone
    halve(graph)
    onnx.checker.check_model(graph)
    write_atomically(path, lambda temporary: temporary.write_bytes(graph.SerializeToString()))


def halve(model: "onnx.ModelProto") -> None:
    """Store in float16 every large tensor that float16 holds exactly, and cast it back."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size >= FEW and np.array_equal(half.astype(np.float32), values):
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *rest])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what the exporter of torch 2.13 says at every use, of packages that are not there and of its own code."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
