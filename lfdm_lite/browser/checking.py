"""Do exported graphs compute what PyTorch does? Part by part, and a whole clip. Needs the package onnxruntime."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..generated import clip_generators
from ..pipeline import LFDM
from ..samplers import guided, sample
from .export import rounded
from .parts import Part, parts_of

CLOSE = 1e-4  # the largest difference of a number that a part may show
CLOSE_VIDEO = 2e-3  # of a whole clip, in [0, 1]: half of a step of 8 bits


class Difference(NamedTuple):
    """How far apart the answers of PyTorch and of ONNX are."""

    what: str
    largest: float
    allowed: float

    @property
    def is_small(self) -> bool:
        return self.largest <= self.allowed


class Graph:
    """An exported part; called like its network."""

    def __init__(self, folder: Path, part: Part):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors alone
        self.part = part
        file = str(Path(folder) / f"{part.name}.onnx")
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        given = {name: tensor.numpy() for name, tensor in zip(self.part.inputs, tensors, strict=True)}
        return [torch.from_numpy(found) for found in self.session.run(list(self.part.outputs), given)]


@torch.no_grad()
def differences(model: LFDM, folder: str | Path, steps: int = 4, seed: int = 0) -> list[Difference]:
    """Compare every exported part with the model's, on random input, and a clip of `steps` steps with guidance.

    Args:
        model: that was exported to `folder`.
        steps: of the clip, which the graphs make in float32, one pass for each half of guidance.

    Raises:
        ModuleNotFoundError: onnxruntime is missing; it is in the extra `web`.
    """
    model = rounded(model)
    draw = torch.Generator().manual_seed(seed)
    graphs, found = {}, []
    for part in parts_of(model):
        graphs[part.name] = graph = Graph(Path(folder), part)
        given = [random_like(tensor, name, model, draw) for tensor, name in zip(part.example, part.inputs, strict=True)]
        wanted, made = part.network.eval()(*given), graph(*given)
        pairs = zip(wanted if isinstance(wanted, tuple) else [wanted], made, strict=True)
        found.append(Difference(part.name, max(largest(a, b) for a, b in pairs), CLOSE))
    image = torch.rand(1, 3, model.image_size, model.image_size, generator=draw)
    wanted = model.generate(image[0], model.labels[-1], steps=steps, seed=seed, progress=False).video
    return [*found, Difference("clip", largest(wanted, clip(model, graphs, image, steps, seed)), CLOSE_VIDEO)]


def clip(model: LFDM, graphs: dict[str, Graph], image: Tensor, steps: int, seed: int) -> Tensor:
    """`model.generate`, computed by graphs, for the last label and no numbers."""
    features = graphs["encoder"](image)
    label = torch.tensor([len(model.labels) - 1])
    numbers = torch.full((1, len(model.unet.config.numbers)), float("nan"))
    twice = guided(OneByOne(model, graphs["denoiser"]), features[-1], label, model.guidance_scale, numbers)
    shape = tuple(graphs["denoiser"].part.example[0].shape)
    x0 = sample(model.diffusion, twice, shape, steps=steps, generator=clip_generators(seed, 1), progress=False)
    return graphs["decoder"](*model.diffusion.unpack_motion(x0), *features)[0]


class OneByOne:
    """A graph as the denoiser of `samplers.guided`, which asks for two clips at once."""

    def __init__(self, model: LFDM, graph: Graph):
        self.null_label, self.graph = model.unet.null_label, graph

    def __call__(self, *tensors: Tensor) -> Tensor:
        rows = zip(*(tensor.split(1) for tensor in tensors), strict=True)
        return torch.cat([self.graph(*row[: len(self.graph.part.inputs)])[0] for row in rows])


def random_like(example: Tensor, name: str, model: LFDM, draw: torch.Generator) -> Tensor:
    """Something that a part may be given under that name."""
    match name:
        case "t":
            return torch.randint(model.diffusion.config.num_steps, (1,), generator=draw)
        case "label":
            return torch.randint(len(model.labels) + 1, (1,), generator=draw)
        case "image" | "occlusion":
            return torch.rand(example.shape, generator=draw)
        case "flow":
            return 0.3 * torch.randn(example.shape, generator=draw)
    return torch.randn(example.shape, generator=draw)


def largest(a: Tensor, b: Tensor) -> float:
    """The largest difference of two numbers at one place; infinite where one of them is none."""
    return float(np.nan_to_num((a - b).abs().max().item(), nan=np.inf))
