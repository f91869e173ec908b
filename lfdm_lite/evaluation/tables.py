"""What a trained model is worth on clips of people it never saw, beside what doing nothing would be worth."""

import time
from collections.abc import Mapping
from math import ceil
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from ..autoencoder import LatentFlowAutoencoder
from ..data.drawn.engine.scenes import render
from ..data.drawn.faces import Faces
from ..data.drawn.procedural import ProceduralSet
from ..flow import end_point_error
from ..geometry import resize, warp
from ..motion import Motion
from ..pipeline import LFDM
from .distances import frechet_distance
from .intervals import Estimate, mean_estimate
from .judges import VideoClassifier
from .lpips import LPIPS
from .metrics import flow_magnitude, label_accuracy, occlusion_auc, pairwise_flow_distance, psnr
from .parts import PartsTable
from .truth import MotionTable

MOVING = 0.5  # pixels: a pixel that moved farther than this counts as moving
CONTROLS = ("real", "frame_0", "true_warp", "broken")  # what stands beside a figure of the model, as FIGURE_of_CONTROL


def collect(dataset: Any, count: int) -> dict[str, Tensor]:
    """The first `count` items of a data set, stacked; flow, visibility and who it is where the set knows them."""
    items = [dataset[i] for i in tqdm(range(min(count, len(dataset))), desc="clips")]
    stacked = {name: torch.stack([i[name] for i in items]) for name in ("video", "flow", "visible") if name in items[0]}
    numbers = {"label": [item["label"] for item in items]}
    people = [item.get("subject", "") for item in items]
    if "" not in people:  # of folders of videos they are names, and may be unknown
        numbers["subject"] = [sorted(set(people)).index(one) if isinstance(one, str) else one for one in people]
    return stacked | {name: torch.tensor(values) for name, values in numbers.items()}


def performed_again(dataset: ProceduralSet, count: int, take: int = 1) -> Float[Tensor, "n 3 t h w"]:
    """Other performances of the first `count` clips: the same people start from the same frame 0 with the same label.

    Args:
        take: the number of the performance, at least 1; no item shows it.
    """
    scenes = (dataset.scene(i, take)[0] for i in range(min(count, len(dataset))))
    drawn = [render(layers, dataset.size, dataset.num_frames)[0] for layers in scenes]
    return torch.stack(drawn)


def broken(motion: Motion) -> Motion:
    """What a deliberately broken model would see: the motion of another clip of the batch, with nothing hidden."""
    return Motion(of_another(motion.flow), torch.ones_like(motion.occlusion))


def of_another(flow: Float[Tensor, "b 2 t h w"]) -> Float[Tensor, "b 2 t h w"]:
    """Every clip gets the flow of the one before it; a lone clip its own, mirrored left to right."""
    return flow.roll(1, dims=0) if len(flow) > 1 else flow.flip(-1)


@torch.no_grad()
def evaluate_autoencoder(
    network: LatentFlowAutoencoder, clips: dict[str, Tensor], batch: int = 4, lpips: Mapping[str, LPIPS] | None = None
) -> dict[str, Estimate]:
    """Stage one on real clips: reconstruction, and where the truth is known, flow and visibility.

    Frames 1 to T-1 count, all painted from frame 0. PSNR in dB per clip; `end_point_error` in pixels, over pixels
    that are truly visible and truly move by more than half a pixel; `evaluation/README.md` says what all others see.

    Args:
        clips: `collect`ed, and what `parts.look_closer` adds for figures by part and of where nothing ever moves.
        lpips: networks by the name that their figures get.
    """
    scores: dict[str, list[Tensor]] = {}
    device = next(network.parameters()).device
    motions, parts = MotionTable(), PartsTable({name: net.to(device) for name, net in (lpips or {}).items()})

    def add(name: str, values: Tensor) -> None:
        scores.setdefault(name, []).append(values.flatten().cpu())

    count = len(clips["video"])
    for chosen in tqdm(torch.arange(count).tensor_split(ceil(count / batch)), desc="stage one"):
        part = {name: tensor[chosen].to(device) for name, tensor in clips.items()}
        video, source = part["video"], part["video"][:, :, 0]
        motion = network.estimate_motion(source, video)
        flow = resize(motion.flow, video.shape[-2:])
        painted, still = network.decode(source, motion)[:, :, 1:], source[:, :, None].expand_as(video)
        add("psnr", psnr(painted, video[:, :, 1:]))
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
        wrong = broken(motion)
        flows = {"": flow, "frame_0": torch.zeros_like(flow), "broken": resize(wrong.flow, video.shape[-2:])}
        motions.add(flows, part["flow"], part["visible"], part.get("never"))
        if "part" in part:
            videos = {"": painted, "frame_0": source[:, :, None], "true_warp": warp(source, true)}
            videos["broken"] = network.decode(source, wrong)[:, :, 1:]
            parts.add(videos, video[:, :, 1:], part["part"][:, :, 1:], part["visible"][:, :, 1:])
    means = {name: mean_estimate(torch.cat(values)) for name, values in scores.items()}
    return means | motions.figures() | parts.figures()


@torch.no_grad()
def generate_like(
    model: Any, clips: dict[str, Tensor], seed: int, batch: int = 12, **options: Any
) -> tuple[dict[str, Tensor], float]:
    """One video for each clip's frame 0, label, and numbers of `Faces` if it has any; and the seconds that took.

    Args:
        model: an `LFDM`, or a `Rival`, which makes videos without flow and occlusion.
    """
    parts, began, device = [], time.monotonic(), next(model.parameters()).device
    for start in tqdm(range(0, len(clips["label"]), batch), desc="generate"):
        images, labels = clips["video"][start : start + batch, :, 0], clips["label"][start : start + batch]
        told = {name: clips[name][start : start + batch].tolist() for name in Faces.numbers if name in clips}
        asked = {"seed": seed + start, **told, **options}
        parts.append(model.generate(images.to(device), labels.tolist(), progress=False, **asked))
    names = [name for name in ("video", "flow", "occlusion") if getattr(parts[0], name) is not None]
    made = {name: torch.cat([getattr(p, name).cpu() for p in parts]) for name in names}
    return made, time.monotonic() - began


@torch.no_grad()
def evaluate_generation(
    model: LFDM,
    judge: VideoClassifier,
    clips: dict[str, Tensor],
    judge_of_faces: VideoClassifier | None = None,
    seed: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """Stage two: one generated video for every real clip, with its frame 0 and its label.

    Motion is the model's own latent flow, generated beside what stage one sees in the real clips, in pixels of the
    video. Fréchet distances are on the judge's features: a distance needs a scale, so they stand beside that of one
    half of the real clips from the other, and that of videos that repeat frame 0. Labels are read by the judge of
    faces, where there is one, and what the other reads stands beside it.
    """
    real, label = clips["video"], clips["label"]
    device = next(model.parameters()).device
    readers = {"": judge} if judge_of_faces is None else {"": judge_of_faces, "first_judge_": judge}
    for reader in readers.values():
        reader.to(device)
    made, seconds = generate_like(model, clips, seed, **options)
    again, _ = generate_like(model, clips, seed + 10_007, **options)

    def flow_of(video: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n 2 t h2 w2"]:
        return model.autoencoder.estimate_motion(video[:, :, 0], video).flow

    real_flow = torch.cat([flow_of(part.to(device)).cpu() for part in real.split(4)])
    half_width = real.shape[-1] / 2

    def features(video: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n d"]:
        return torch.cat([judge.features(part.to(device)).cpu() for part in video.split(16)])

    def read(reader: VideoClassifier, video: Float[Tensor, "n 3 t h w"]) -> Estimate:
        predicted = torch.cat([reader(part.to(device)).argmax(1).cpu() for part in video.split(16)])
        return label_accuracy(predicted, label)

    def magnitude(flow: Float[Tensor, "n 2 t h w"]) -> Tensor:
        return flow_magnitude(flow[:, :, 1:]) * half_width

    still = real[:, :, :1].expand_as(real)
    of_real, of_made = features(real), features(made["video"])
    half = occurrence(label) % 2 == 0  # as many clips of every label in both halves
    seen = {"generated": made["video"], "real": real, "frame_0_repeated": still}
    results: dict[str, Any] = {
        f"{prefix}label_accuracy_{name}": read(reader, video)
        for prefix, reader in readers.items()
        for name, video in seen.items()
    }
    results |= {
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
    return results | motion_against_truth(made["flow"], clips)


def motion_against_truth(flow: Float[Tensor, "n 2 t h w"], clips: dict[str, Tensor]) -> dict[str, Estimate]:
    """Generated motion beside the true motion of the real clips with the same frame 0 and label, where it is known.

    Args:
        flow: generated, one for every clip, of any size.
    """
    table, size = MotionTable(), clips["video"].shape[-2:]
    if "flow" in clips:
        swapped = of_another(flow)
        for some in torch.arange(len(flow)).split(8):
            made = resize(flow[some], size)
            flows = {"": made, "frame_0": torch.zeros_like(made), "broken": resize(swapped[some], size)}
            never = clips["never"][some] if "never" in clips else None
            table.add(flows, clips["flow"][some], clips["visible"][some], never)
    return table.figures(errors=False)


def occurrence(label: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """How many earlier clips have the label of each clip."""
    same = label[:, None] == label[None]
    return same.tril(-1).sum(dim=1)


def as_table(results: dict[str, Any]) -> str:
    """One line a figure: name, value, its 95 % interval, and the values of its controls, where it has any."""
    lines = []
    for name, value in results.items():
        base, _, control = name.rpartition("_of_")
        if control in CONTROLS and base in results:
            continue
        shown = f"{value:9.3f}" if isinstance(value, float) else f"{value}"
        if isinstance(value, Estimate):
            shown = f"{value.value:9.3f}   [{value.low:.3f}, {value.high:.3f}]   n = {value.n}"
        others = [
            f"{c.replace('_', ' ')} {results[f'{name}_of_{c}'].value:.3f}"
            for c in CONTROLS
            if f"{name}_of_{c}" in results
        ]
        lines.append(f"{name:45s} {shown:43s}   {'   '.join(others)}".rstrip())
    return "\n".join(lines)
