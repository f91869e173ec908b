"""Rivals that learn nothing: what a generator must beat before its numbers mean anything."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..geometry import resize, warp

COARSE = 16  # pixels a side at which two frames are compared


def repeat_frame_0(image: Float[Tensor, "n 3 h w"], num_frames: int) -> Float[Tensor, "n 3 t h w"]:
    """Videos in which nothing moves."""
    return image[:, :, None].expand(-1, -1, num_frames, -1, -1)


def nearest_clips(
    image: Float[Tensor, "n 3 h w"],
    label: Int[Tensor, " n"],
    train: Float[Tensor, "m 3 t h w"],
    train_label: Int[Tensor, " m"],
) -> Float[Tensor, "n 3 t h w"]:
    """The training clip of the label whose frame 0 is most like the image, by its colours at 16 x 16; as it is.

    Raises:
        ValueError: a label of which there is no training clip.
    """
    check_labels(label, train_label)
    ours, theirs = (resize(frames, COARSE).flatten(1) for frames in (image, train[:, :, 0]))
    distance = torch.cdist(ours, theirs).masked_fill(label[:, None] != train_label, torch.inf)
    return train[distance.argmin(dim=1)]


def mean_motion(
    image: Float[Tensor, "n 3 h w"],
    label: Int[Tensor, " n"],
    train_flow: Float[Tensor, "m 2 t h w"],
    train_label: Int[Tensor, " m"],
) -> Float[Tensor, "n 3 t h w"]:
    """The image warped by the mean flow of the training clips of its label: everyone moves alike.

    Args:
        train_flow: normalized, backward, every frame with respect to frame 0. The true one, where it is known: no
            estimate of ours then takes part in what an estimate measures.

    Raises:
        ValueError: a label of which there is no training clip.
    """
    check_labels(label, train_label)
    means = {i: train_flow[train_label == i].mean(dim=0) for i in label.unique().tolist()}
    return warp(image, torch.stack([means[i] for i in label.tolist()]))


def check_labels(label: Int[Tensor, " n"], train_label: Int[Tensor, " m"]) -> None:
    """Look whether there is a training clip of every label.

    Raises:
        ValueError: not so.
    """
    missing = sorted(set(label.tolist()) - set(train_label.tolist()))
    if missing:
        raise ValueError(f"of label {missing[0]} there is no training clip; use more of them")
