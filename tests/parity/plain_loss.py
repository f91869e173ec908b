"""The authors' loss of stage one as plain functions, beside `plain`; nothing of `lfdm_lite` in it."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from . import plain
from .plain import State

POOLED = (4, 9, 18, 27)  # layers of VGG-19 that halve the size
SEEN = (0, 5, 10, 19, 28)  # convolutions whose activations are compared


def perceptual(state: State, image: Tensor) -> list[Tensor]:
    """Five activations; layers have VGG-19's numbers."""
    x = (image - state["mean"]) / state["std"]
    layers = {int(name.split(".")[1]): name.removesuffix(".weight") for name in state if name.endswith(".weight")}
    seen = []
    for i in range(max(layers) + 1):
        if i in POOLED:
            x = F.max_pool2d(x, 2)
        elif i in layers:
            x = plain.convolve(state, layers[i], x).relu()
            seen += [x] if i in SEEN else []
    return seen


def pyramid_loss(state: State, ours: Tensor, theirs: Tensor, train_params: Mapping) -> Tensor:
    """Mean absolute differences of the activations at all scales, weighted by depth."""
    total = torch.zeros(())
    for scale in train_params["scales"]:
        pair = [perceptual(state, plain.shrink(image, round(1 / scale))) for image in (ours, theirs)]
        for weight, a, b in zip(train_params["loss_weights"]["perceptual"], *pair, strict=True):
            total = total + weight * (a - b.detach()).abs().mean()
    return total


def move(theta: Tensor, control: Tensor, points: Tensor) -> Tensor:
    """(b, n, 2) points under an affine map and a spline of the taxicab distance r: sum of w r^2 log r, on both axes."""
    side = round(control.shape[-1] ** 0.5)
    moved = torch.einsum("bij,bnj->bni", theta, torch.cat([points, torch.ones_like(points[..., :1])], dim=-1))
    bend = torch.zeros_like(points[..., 0])
    for k, anchor in enumerate(plain.corners(side, side).flatten(0, 1)):
        r = (points[..., 0] - anchor[0]).abs() + (points[..., 1] - anchor[1]).abs()
        bend = bend + control[:, 0, k, None] * r * r * (r + 1e-6).log()
    return moved + bend[..., None]


def jacobian(theta: Tensor, control: Tensor, points: Tensor) -> Tensor:
    """(b, n, 2, 2) derivatives of `move`, by autograd; they can be differentiated once more."""
    with torch.enable_grad():
        points = points if points.requires_grad else points.clone().requires_grad_()
        moved = move(theta, control, points)
        rows = [torch.autograd.grad(moved[..., i].sum(), points, create_graph=True)[0] for i in range(2)]
    return torch.stack(rows, dim=-2)


def deform(theta: Tensor, control: Tensor, frame: Tensor) -> Tensor:
    """The frame looked up where the transform sends its pixels; mirrored outside."""
    b, _, h, w = frame.shape
    grid = plain.corners(h, w).view(1, -1, 2).expand(b, -1, -1)
    return plain.look_up(frame, move(theta, control, grid).view(b, h, w, 2), outside="reflection")


def loss(
    states: Mapping[str, State],
    features: State,
    config: Mapping,
    source: Tensor,
    driving: Tensor,
    theta: Tensor,
    control: Tensor,
    train: bool,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """`loss.*` by the names of the authors, and the outputs that are stored with them."""
    found = plain.whole(states, config["model_params"], source, driving, train)
    frame = deform(theta, control, driving)
    regions_config = config["model_params"]["region_predictor_params"]
    turned = plain.regions(states["region_predictor"], frame, regions_config, train=train)
    before = found["driving_region_params"]
    weights = config["train_params"]["loss_weights"]

    shift = (before["shift"] - move(theta, control, turned["shift"])).abs().mean()
    back = torch.linalg.solve(before["affine"], jacobian(theta, control, turned["shift"]) @ turned["affine"])
    affine = (plain.first_positive(back) - torch.eye(2)).abs().mean()
    losses = {
        "loss.perceptual": pyramid_loss(features, found["prediction"], driving, config["train_params"]),
        "loss.equivariance_shift": weights["equivariance_shift"] * shift,
        "loss.equivariance_affine": weights["equivariance_affine"] * affine,
    }
    losses["loss.total"] = sum(losses.values())
    outputs = {
        "out.prediction": found["prediction"],
        "out.transformed_frame": frame,
        "out.transformed_shift": turned["shift"],
        "out.transformed_affine": turned["affine"],
    }
    return losses, outputs
