"""Pictures part by part: eyes and mouths are a few per cent of the pixels, and most of what one looks at.

The masks are the renderer's, of the true frame. They serve to measure alone.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from tqdm.auto import tqdm

from ..data.drawn.faces import Faces
from .intervals import Estimate
from .lpips import LPIPS, average_where
from .truth import beside, mean_of_those_there

FLOOR = (1 / 255) ** 2 / 12  # squared error of rounding to eight bits; nothing counts as nearer: 58.9 dB
EVERY = 3  # LPIPS looks at frames 1, 4, 7, ...
UNIONS = {"eyes_mouth": ("eyes", "mouth"), "hidden_eyes_mouth": ("hidden", "eyes", "mouth")}


def look_closer(dataset: Any, count: int, takes: int = 16) -> dict[str, Tensor]:
    """What is known of the first `count` drawn faces beyond their items: parts, and where nothing ever moves.

    Args:
        dataset: of any kind; nothing is known of one that does not name the parts of a face.
        takes: other performances of each clip that are drawn for the second.

    Returns:
        `part` (n, 1, t, h, w), numbers in `Faces.parts`, and `never` (n, 1, h, w), true where nothing moves; or none.
    """
    if getattr(dataset, "parts", ()) != Faces.parts:
        return {}
    numbers = tqdm(range(min(count, len(dataset))), desc="parts")
    seen = [(dataset.part_map(i), dataset.never_moves(i, takes)) for i in numbers]
    part, never = (torch.stack(maps) for maps in zip(*seen, strict=True))
    return {"part": part, "never": never}


def places(
    part: UInt8[Tensor, "b 1 t h w"], visible: Float[Tensor, "b 1 t h w"]
) -> dict[str, Bool[Tensor, "b 1 t h w"]]:
    """Masks of the places that are measured: all, parts of the face, what is hidden in frame 0, and unions of them."""
    masks = {"all": torch.ones_like(part, dtype=torch.bool)}
    masks |= {name: part == Faces.parts.index(name) for name in ("eyes", "brows", "mouth", "hair", "background")}
    masks["hidden"] = visible <= 0.5
    for name, members in UNIONS.items():
        masks[name] = torch.stack([masks[member] for member in members]).any(dim=0)
    return masks


def psnr_where(
    prediction: Float[Tensor, "b 3 #t h w"], target: Float[Tensor, "b 3 t h w"], mask: Bool[Tensor, "b 1 t h w"]
) -> Float[Tensor, " b"]:
    """PSNR of every clip in dB over the pixels of a mask, whose squared errors are pooled; NaN where it is empty.

    At most 58.9 dB, which eight bits can tell.

    Raises:
        ValueError: a prediction that is not finite; it is not taken for an empty mask.
    """
    error = (prediction.double() - target.double()).square().mean(dim=1, keepdim=True)
    if not error.isfinite().all():
        raise ValueError("a video to be measured holds numbers that are infinite or none")
    pooled = (error * mask).flatten(1).sum(1) / mask.flatten(1).sum(1)
    return (-10 * pooled.clamp(min=FLOOR).log10()).float()


@torch.no_grad()
def lpips_where(
    lpips: LPIPS,
    candidates: dict[str, Float[Tensor, "b 3 _ h w"]],
    target: Float[Tensor, "b 3 t h w"],
    masks: dict[str, Bool[Tensor, "b 1 t h w"]],
) -> dict[tuple[str, str], Float[Tensor, " b"]]:
    """LPIPS of every clip over each mask, for several candidates at once; NaN where the mask is empty.

    Every third frame counts, from the first that is given; a candidate of one frame repeats it.

    Returns:
        by the names of mask and candidate.
    """
    sums = {(place, name): torch.zeros(2, len(target)) for place in masks for name in candidates}
    seen = {name: lpips.features(video[:, :, 0]) for name, video in candidates.items() if video.shape[2] == 1}
    for t in range(0, target.shape[2], EVERY):
        wanted = lpips.features(target[:, :, t])
        for name, video in candidates.items():
            distance = lpips.between(seen[name] if name in seen else lpips.features(video[:, :, t]), wanted)
            for place, mask in masks.items():
                sums[place, name] += torch.stack(average_where(distance, mask[:, :, t])).cpu()
    return {key: distance / weight for key, (distance, weight) in sums.items()}


class PartsTable:
    """Gathers PSNR and LPIPS by place of several videos of the same clips: the model's, and controls beside it.

    Args:
        networks: of LPIPS, by the name that their figures get; none leaves LPIPS out.
    """

    def __init__(self, networks: Mapping[str, LPIPS]) -> None:
        self.networks = networks
        self.scores: dict[tuple[str, str, str], list[float]] = {}  # by measure, place, and whose video

    def add(self, videos: dict[str, Tensor], target: Tensor, part: Tensor, visible: Tensor) -> None:
        """Some clips more. Videos by name: "" is the model's, "frame_0" and "true_warp" are compared with; frames 1 to
        T-1 of everything, or one frame that is repeated."""
        masks = places(part, visible)
        for (place, mask), (name, video) in product(masks.items(), videos.items()):
            self.scores.setdefault(("psnr", place, name), []).extend(psnr_where(video, target, mask).tolist())
        for network, lpips in self.networks.items():
            for (place, name), values in lpips_where(lpips, videos, target, masks).items():
                self.scores.setdefault((f"lpips_{network}", place, name), []).extend(values.tolist())

    def figures(self) -> dict[str, Estimate]:
        """`psnr_in_PLACE`, by how much it is above two controls, clip by clip, and `lpips_NETWORK_in_PLACE`; each
        followed by the same of every control."""
        scores = {key: torch.tensor(values) for key, values in self.scores.items()}
        figures: dict[str, dict[str, Estimate]] = {}
        for (measure, place, name), values in scores.items():
            kept = figures.setdefault(name, {})
            if values.isnan().all():
                continue
            kept[f"{measure}_in_{place}"] = mean_of_those_there(values)
            for other in ("frame_0", "true_warp"):
                if measure == "psnr" and name != other:
                    margin = values - scores[measure, place, other]
                    kept[f"psnr_over_{other}_in_{place}"] = mean_of_those_there(margin)
        return beside(figures) if figures else {}
