"""Motion against the true motion: how far does what moves go, and does what stands still stand still?

A network's own estimate on real clips is no truth to compare with: what leaks into it leaks into both sides. Frames 1
to T-1 count, lengths are in pixels of the video, and every score is one number a clip, NaN for a clip that has none of
the pixels in question.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..data.drawn.procedural import AT_REST
from ..flow import in_pixels
from .intervals import Estimate, mean_estimate, ratio_estimate

FAR = 1.0  # pixels: a still pixel that moves farther is seen to move

Scores = dict[str, Float[Tensor, " b"]]


class Pixels(NamedTuple):
    """Every pixel of a clip is one of these, by its true flow and visibility."""

    moving: Bool[Tensor, "b 1 t h w"]  # its source is visible, and elsewhere
    still: Bool[Tensor, "b 1 t h w"]  # its source is visible, at the same place
    hidden: Bool[Tensor, "b 1 t h w"]  # its source cannot be seen in frame 0


def split_pixels(true: Float[Tensor, "b 2 t h w"], visible: Float[Tensor, "b 1 t h w"]) -> Pixels:
    """Moving, still and hidden pixels. `true` is normalized backward flow to frame 0; visible above 0.5."""
    seen, still = visible > 0.5, in_pixels(true).norm(dim=1, keepdim=True) < AT_REST
    return Pixels(seen & ~still, seen & still, ~seen)


def mean_where(values: Float[Tensor, "b 1 t h w"], mask: Bool[Tensor, "b 1 #t h w"]) -> Float[Tensor, " b"]:
    """The mean of every clip's values over a mask; NaN where the mask is empty."""
    mask = mask.expand_as(values)
    return (values * mask).flatten(1).sum(1) / mask.flatten(1).sum(1)


def motion_scores(
    flow: Float[Tensor, "b 2 t h w"],
    true: Float[Tensor, "b 2 t h w"],
    visible: Float[Tensor, "b 1 t h w"],
    never: Bool[Tensor, "b 1 h w"] | None = None,
) -> Scores:
    """What a flow does on the pixels that truly move, stand still or are hidden.

    Args:
        flow: normalized, of the video's size; a generated clip's, for what is not an error.
        true, visible: of the real clip. All three for every frame, frame 0 too.
        never: where nothing moves whenever the subject acts this label (`ProceduralSet.never_moves`).

    Returns:
        `length`, `length_moving`, `length_still`, `length_hidden`, `length_never`: mean lengths. `stirred`: share of
        the still pixels that move by more than 1 pixel. `error`: end-point error on moving pixels.
    """
    flow, true, visible = flow[:, :, 1:], true[:, :, 1:], visible[:, :, 1:]
    length = in_pixels(flow).norm(dim=1, keepdim=True)
    pixels = split_pixels(true, visible)
    scores = {"length": length.flatten(1).mean(1)}
    scores |= {f"length_{name}": mean_where(length, mask) for name, mask in pixels._asdict().items()}
    scores["stirred"] = mean_where((length > FAR).float(), pixels.still)
    scores["error"] = mean_where(in_pixels(flow - true).norm(dim=1, keepdim=True), pixels.moving)
    if never is not None:
        scores["length_never"] = mean_where(length, never[:, :, None])
    return scores


def motion_figures(scores: Scores, truth: Scores, errors: bool = True) -> dict[str, Estimate]:
    """Scores of many clips against those of the true flow, each clip drawn with both (`ratio_estimate`).

    Args:
        scores, truth: `motion_scores` of a flow, and of the true flow, on the same clips.
        errors: also the end-point error as a share of zero flow's, which is no measure of a motion that was invented.

    Returns:
        `true_motion_ratio` (mean length over the true one), the same for moving and for hidden pixels, `still_flow`
        (pixels), `still_stirred` (share), `never_moving_flow` (pixels), `end_point_error_share`. What no clip has is
        left out.
    """
    ratios = {
        "true_motion_ratio": ("length", "length"),
        "true_motion_ratio_moving": ("length_moving", "length_moving"),
        "true_motion_ratio_hidden": ("length_hidden", "length_hidden"),
    }
    if errors:
        ratios["end_point_error_share"] = ("error", "length_moving")
    means = {"still_flow": "length_still", "still_stirred": "stirred", "never_moving_flow": "length_never"}
    figures = {}
    for figure, (above, below) in ratios.items():
        there = ~truth[below].isnan()
        if truth[below][there].sum() > 0:
            figures[figure] = ratio_estimate(scores[above][there], truth[below][there])
    for figure, name in means.items():
        if name in scores and not scores[name].isnan().all():
            figures[figure] = mean_of_those_there(scores[name])
    return figures


def mean_of_those_there(scores: Float[Tensor, " b"]) -> Estimate:
    """The mean over the clips that have the pixels in question; `n` says how many."""
    return mean_estimate(scores[~scores.isnan()])


class MotionTable:
    """Gathers the scores of several flows on the same clips: the model's, and those of controls beside it."""

    def __init__(self) -> None:
        self.scores: dict[str, dict[str, list[float]]] = {}

    def add(self, flows: dict[str, Tensor], true: Tensor, visible: Tensor, never: Tensor | None) -> None:
        """Some clips more. Flows by name: "" is the model's; "real" is added here. The rest as in `motion_scores`."""
        for name, flow in {**flows, "real": true}.items():
            kept = self.scores.setdefault(name, {})
            for score, values in motion_scores(flow, true, visible, never).items():
                kept.setdefault(score, []).extend(values.tolist())

    def figures(self, errors: bool = True) -> dict[str, Estimate]:
        """`motion_figures` of the model, each followed by those of the controls, under its name and `_of_CONTROL`."""
        if not self.scores:
            return {}
        scores = {name: {k: torch.tensor(v) for k, v in kept.items()} for name, kept in self.scores.items()}
        return beside({name: motion_figures(kept, scores["real"], errors) for name, kept in scores.items()})


def beside(figures: dict[str, dict[str, Estimate]]) -> dict[str, Estimate]:
    """Figures of the model (named ""), each followed by the same of every control as `FIGURE_of_CONTROL`."""
    return {
        f"{figure}_of_{name}" if name else figure: those[figure]
        for figure in figures[""]
        for name, those in figures.items()
        if figure in those
    }
