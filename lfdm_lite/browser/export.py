"""A model as a folder that a web page can load: its graphs, and `model.json` with all else that sampling needs.

What the page computes itself (the steps of a sampler, guidance, the seed's noise) is arithmetic on numbers of that
file, and two answers of PyTorch's stand in it, so that the page can say how far its own are from them.
"""

import copy
import hashlib
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..diffusion import GaussianDiffusion
from ..files.atomic import write_json
from ..files.checkpoints import FORMAT_VERSION
from ..files.fast import fingerprint_of
from ..files.places import check_folder
from ..generated import clip_generators
from ..pipeline import LFDM
from ..samplers import sampling_path
from .graphs import write_graph
from .parts import parts_of

KIND = "LFDM for the browser"
MODEL_FILE = "model.json"
GIVEN = 64  # numbers of a known answer that are kept, about
KNOWN_SEED, KNOWN_LABEL = 0, 0  # what it is the answer to, beside half of the steps and a grey picture


def export(model: LFDM, folder: str | Path) -> dict[str, Any]:
    """Write `encoder.onnx`, `denoiser.onnx`, `decoder.onnx`, `fast.onnx` if there is a fast network, and `model.json`.

    Weights are rounded to half precision and stored so, but for the few that the exporter has merged with others.

    Args:
        model: on the CPU, in float32.
        folder: made if needed; files of these names in it are replaced.

    Returns:
        What `model.json` holds.

    Raises:
        ValueError: the folder is a file, the model samples in a way that the page does not know, or other weights than
            its own taught its fast network.
        ModuleNotFoundError: onnx or onnxscript is missing; both are in the extra `web`.
    """
    if type(model.diffusion) is not GaussianDiffusion:
        raise ValueError(
            f"the noise process is a {type(model.diffusion).__name__}; the page samples with GaussianDiffusion alone: "
            "export a model without the published code's accidents"
        )
    if model.has_fast:  # that it is this model's, before anything is written
        model.fast.check(model.unet, model.fast.scales[0], model.fast.sampler, model.fast.steps)
    folder = check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = rounded(model)
    files = {}
    for part in parts_of(model):
        path = folder / f"{part.name}.onnx"
        write_graph(part, path)
        files[part.name] = {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}
        files[part.name] |= {"inputs": list(part.inputs), "outputs": list(part.outputs)}
    described = describe(model) | {"parts": files}
    write_json(folder / MODEL_FILE, described)
    return described


def rounded(model: LFDM) -> LFDM:
    """A copy whose parameters, and its fast network's, are what half precision keeps of them."""
    if model.has_fast:
        model.fast  # noqa: B018 (read from its folder, to be copied too)
    model = copy.deepcopy(model).eval()
    networks: list[nn.Module] = [model, *([model.fast.unet] if model.has_fast else [])]
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():
                parameter.copy_(parameter.half().float())
    return model


def describe(model: LFDM) -> dict[str, Any]:
    """All that a page must know beside the networks; alpha_bar in full, for the steps cancel in float32."""
    unet, diffusion = model.unet.config, model.diffusion.config
    side = model.image_size // model.autoencoder.config.flow_stride
    described = {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "weights": fingerprint_of(model.unet),
        "labels": model.labels,
        "null_label": model.unet.null_label,
        "numbers": [asdict(number) for number in unet.numbers],
        "image_size": model.image_size,
        "guidance_scale": model.guidance_scale,
        "motion_shape": [unet.channels, model.num_frames, side, side],
        "flow_scale": model.diffusion.flow_scale(torch.zeros(1)).flatten().tolist(),
        "flow_is_absolute": diffusion.motion == "absolute",
        "parameterization": diffusion.parameterization,
        "alpha_bar": model.diffusion.exact_alpha_bar().tolist(),
        "usable_steps": len(sampling_path(model.diffusion)),
        "known_answer": known_answer(model),
    }
    if model.quick:
        described["quick"] = list(model.quick)
    if model.has_fast:
        low, high = model.fast.scales
        described["fast"] = {"steps": model.fast.steps, "sampler": model.fast.sampler, "scales": [low, high]}
    return described


@torch.no_grad()
def known_answer(model: LFDM) -> dict[str, Any]:
    """Evenly spaced numbers of what two networks answer to a seed's noise and a grey picture.

    For the denoiser it is noisy motion at half of all steps, for the decoder it is the motion.
    """
    t = model.diffusion.config.num_steps // 2
    x, *asked = question(model, t)
    grey = torch.full((1, 3, model.image_size, model.image_size), 0.5)
    video = model.autoencoder.decode(grey, model.diffusion.unpack_motion(x))
    answers = {"denoiser": model.unet(x, *asked), "decoder": video}
    kept = {name: answer.flatten()[:: max(1, answer.numel() // GIVEN)].tolist() for name, answer in answers.items()}
    return {"seed": KNOWN_SEED, "label": KNOWN_LABEL, "t": t, "answers": kept}


def question(model: LFDM, t: int) -> tuple[Float[Tensor, "1 c t h w"], Int[Tensor, " 1"], Tensor, Tensor, Tensor]:
    """What the denoiser is given there, every number being left out."""
    side = model.image_size // model.autoencoder.config.flow_stride
    shape = (model.unet.config.channels, model.num_frames, side, side)
    x = torch.randn(shape, generator=clip_generators(KNOWN_SEED, 1)[0])[None]
    z0 = model.autoencoder.encode(torch.full((1, 3, model.image_size, model.image_size), 0.5))
    numbers = torch.full((1, len(model.unet.config.numbers)), math.nan)
    return x, torch.tensor([t]), z0, torch.tensor([KNOWN_LABEL]), numbers


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()

