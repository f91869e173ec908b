"""What a trained model is worth on clips of people it never saw, beside what doing nothing would be worth."""

import time
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from ..autoencoder import LatentFlowAutoencoder
from ..flow import end_point_error
from ..geometry import resize, warp
from ..pipeline import LFDM
from .judges import VideoClassifier
from .metrics import (
    Estimate,
    flow_magnitude,
    frechet_distance,
    label_accuracy,
    mean_estimate,
    occlusion_auc,
    pairwise_flow_distance,
    psnr,
)

MOVING = 0.5  # pixels: a pixel that moved farther than this counts as moving


def collect(dataset: Any, count: int) -> dict[str, Tensor]:
    """The first `count` items of a data set, stacked; flow and visibility where the set knows them."""
    items = [dataset[i] for i in tqdm(range(min(count, len(dataset))), desc="clips")]
    stacked = {name: torch.stack([i[name] for i in items]) for name in ("video", "flow", "visible") if name in items[0]}
    return stacked | {"label": torch.tensor([item["label"] for item in items])}


@torch.no_grad()
def evaluate_autoencoder(
    network: LatentFlowAutoencoder, clips: dict[str, Tensor], batch: int = 4
) -> dict[str, Estimate]:
    """Stage one on real clips: reconstruction, and where the truth is known, flow and visibility.

    Frames 1 to T-1 count, all painted from frame 0. PSNR in dB per clip; end-point errors in pixels, over pixels
    that are truly visible and truly move by more than half a pixel.
    """
    scores: dict[str, list[Tensor]] = {}
    device = next(network.parameters()).device

    def add(name: str, values: Tensor) -> None:
        scores.setdefault(name, []).append(values.flatten().cpu())

    count = len(clips["video"])
    for start in tqdm(range(0, count, batch), desc="stage one"):
        part = {name: tensor[start : start + batch].to(device) for name, tensor in clips.items()}
        video, source = part["video"], part["video"][:, :, 0]
        motion = network.estimate_motion(source, video)
        flow = resize(motion.flow, video.shape[-2:])
        still = source[:, :, None].expand_as(video)
        add("psnr", psnr(network.decode(source, motion)[:, :, 1:], video[:, :, 1:]))
        add("psnr_copy_of_frame_0", psnr(still[:, :, 1:], video[:, :, 1:]))
        add("psnr_bare_warp", psnr(warp(source, flow)[:, :, 1:], video[:, :, 1:]))
        if "flow" not in part:
            continue
        true, visible = part["flow"][:, :, 1:], part["visible"][:, :, 1:] > 0.5
        width = video.shape[-1]
        moving = visible & (true.norm(dim=1, keepdim=True) * width / 2 > MOVING)
        for i in range(len(video)):
            if moving[i].any():
                pair = flow[i : i + 1, :, 1:], true[i : i + 1], moving[i : i + 1].float()
                add("end_point_error", end_point_error(*pair, pixels=True))
                add("end_point_error_of_zero_flow", end_point_error(torch.zeros_like(pair[0]), *pair[1:], pixels=True))
            hidden = ~visible[i]
            if hidden.any() and visible[i].any():
                occlusion = resize(motion.occlusion[i : i + 1], video.shape[-2:])[0, :, 1:]
                add("occlusion_auc", torch.as_tensor(occlusion_auc(occlusion, visible[i].float())))
    return {name: mean_estimate(torch.cat(values)) for name, values in scores.items()}


@torch.no_grad()
def generate_like(
    model: LFDM, clips: dict[str, Tensor], seed: int, batch: int = 12, **options: Any
) -> tuple[dict[str, Tensor], float]:
    """One video for every clip's frame 0 and label; and the seconds that took."""
    parts, began, device = [], time.monotonic(), next(model.parameters()).device
    for start in tqdm(range(0, len(clips["label"]), batch), desc="generate"):
        images, labels = clips["video"][start : start + batch, :, 0], clips["label"][start : start + batch]
        parts.append(model.generate(images.to(device), labels.tolist(), seed=seed + start, progress=False, **options))
    made = {name: torch.cat([getattr(p, name).cpu() for p in parts]) for name in ("video", "flow", "occlusion")}
    return made, time.monotonic() - began


@torch.no_grad()
def evaluate_generation(
    model: LFDM, judge: VideoClassifier, clips: dict[str, Tensor], seed: int = 0, **options: Any
) -> dict[str, Any]:
    """Stage two: one generated video for every real clip, with its frame 0 and its label.

    Motion is the model's own latent flow, generated beside what stage one sees in the real clips, in pixels of the
    video. Fréchet distances are on the judge's features: a distance needs a scale, so they stand beside that of one
    half of the real clips from the other, and that of videos that repeat frame 0.
    """
    real, label = clips["video"], clips["label"]
    device = next(model.parameters()).device
    judge.to(device)
    made, seconds = generate_like(model, clips, seed, **options)
    again, _ = generate_like(model, clips, seed + 10_007, **options)

    def flow_of(video: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n 2 t h2 w2"]:
        return model.autoencoder.estimate_motion(video[:, :, 0], video).flow

    real_flow = torch.cat([flow_of(part.to(device)).cpu() for part in real.split(4)])
    half_width = real.shape[-1] / 2

    def features(video: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n d"]:
        return torch.cat([judge.features(part.to(device)).cpu() for part in video.split(16)])

    def predictions(video: Float[Tensor, "n 3 t h w"]) -> Tensor:
        return torch.cat([judge(part.to(device)).argmax(1).cpu() for part in video.split(16)])

    def magnitude(flow: Float[Tensor, "n 2 t h w"]) -> Tensor:
        return flow_magnitude(flow[:, :, 1:]) * half_width

    still = real[:, :, :1].expand_as(real)
    of_real, of_made = features(real), features(made["video"])
    half = occurrence(label) % 2 == 0  # as many clips of every label in both halves
    results: dict[str, Any] = {
        "label_accuracy_generated": label_accuracy(predictions(made["video"]), label),
        "label_accuracy_real": label_accuracy(predictions(real), label),
        "label_accuracy_frame_0_repeated": label_accuracy(predictions(still), label),
        "psnr_generated_frame_0": mean_estimate(psnr(made["video"][:, :, :1], real[:, :, :1])),
        "motion_generated_pixels": mean_estimate(magnitude(made["flow"])),
        "motion_real_pixels": mean_estimate(magnitude(real_flow)),
        "distance_two_seeds_pixels": mean_estimate(magnitude(made["flow"] - again["flow"])),
        "distance_real_same_label_pixels": pairwise_flow_distance(real_flow * half_width, label),
        "distance_generated_same_label_pixels": pairwise_flow_distance(made["flow"] * half_width, label),
        "frechet_generated": frechet_distance(of_made, of_real),
        "frechet_real_halves": frechet_distance(of_real[half], of_real[~half]),
        "frechet_generated_half_against_other_half": frechet_distance(of_made[half], of_real[~half]),
        "frechet_frame_0_repeated": frechet_distance(features(still), of_real),
        "seconds_per_video": seconds / len(label),
    }
    return results


def occurrence(label: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """How many earlier clips have the label of each clip."""
    same = label[:, None] == label[None]
    return same.tril(-1).sum(dim=1)


def as_table(results: dict[str, Any]) -> str:
    """One line a figure: name, value, and its 95 % interval."""
    lines = []
    for name, value in results.items():
        if isinstance(value, Estimate):
            lines.append(f"{name:45s} {value.value:9.3f}   [{value.low:.3f}, {value.high:.3f}]   n = {value.n}")
        else:
            lines.append(f"{name:45s} {value:9.3f}" if isinstance(value, float) else f"{name:45s} {value}")
    return "\n".join(lines)
