"""What does a judge look at? Clips of the same people are shown to it with one part of the performance at rest.

A judge that reads expressions must still read them when the head is at rest, and must be lost when nothing but the
head moves. One that is content with the head says little about eyes and mouth, however many labels it reads.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from ..data.drawn.acting.expressions import FACE, Acting
from ..data.drawn.faces import Faces
from .intervals import Estimate, mean_estimate
from .judges import VideoClassifier

ALL = (*FACE, "head")


def alone(part: str) -> Acting:
    """Everything at rest but one part."""
    return Acting(frozen=tuple(other for other in ALL if other != part))


QUESTIONS: dict[str, Acting] = {
    "all_parts": Acting(),
    "head_at_rest": Acting(frozen=("head",)),
    "head_of_another": Acting(heads="shuffled"),
    "mouth_frozen": Acting(frozen=("mouth",)),
    "brows_frozen": Acting(frozen=("brows",)),
    "lids_frozen": Acting(frozen=("lids",)),
    "mouth_alone": alone("mouth"),
    "brows_alone": alone("brows"),
    "lids_alone": alone("lids"),
    "head_alone": alone("head"),  # the face frozen
    "nothing_moves": Acting(frozen=ALL),
}
LOSSES = ("mouth", "brows", "lids")  # what the judge loses with each of these frozen is a figure of its own
LEAST = {"all_parts": 0.90, "head_at_rest": 0.90, "head_of_another": 0.90}  # shares; chance is one in six
MOST = {"head_alone": 0.25}


@torch.no_grad()
def readings(
    judge: VideoClassifier, acting: Acting, split: str, size: int, num_frames: int, clips: int, seed: int = 0
) -> Float[Tensor, " n"]:
    """Whether the judge reads the label of each clip that is acted so: 1 or 0."""
    device, labels = next(judge.parameters()).device, list(judge.labels)
    faces = Faces(split, size, num_frames, length=clips, seed=seed, acting=acting)
    right = []
    for start in range(0, clips, 30):
        items = [faces[i] for i in range(start, min(start + 30, clips))]
        video = torch.stack([item["video"] for item in items]).to(device)
        label = torch.tensor([labels.index(item["label_name"]) for item in items])
        right.append((judge(video).argmax(1).cpu() == label).float())
    return torch.cat(right)


def examine(
    judge: VideoClassifier, split: str = "test", size: int = 64, num_frames: int = 16, clips: int = 120, seed: int = 0
) -> dict[str, Estimate]:
    """What a judge of `Faces` reads when parts of the performance are at rest, as shares of the labels.

    Args:
        split, size, num_frames, seed: of the clips, see `Faces`; the size is that of the clips it was trained on.
        clips: how many for each of the `QUESTIONS`; always the same people, whose other parts do the same.

    Returns:
        one figure a question, and `lost_without_mouth` and so on: how much less is read than with all parts, clip by
        clip.

    Raises:
        ValueError: the judge knows other labels than `Faces`.
    """
    if set(judge.labels) != set(Faces.labels):
        known, needed = (", ".join(labels) for labels in (judge.labels, Faces.labels))
        raise ValueError(f"the judge knows the labels {known}; only a judge of {needed} is examined")
    found = {
        name: readings(judge, acting, split, size, num_frames, clips, seed)
        for name, acting in tqdm(QUESTIONS.items(), desc="questions")
    }
    results = {name: mean_estimate(right) for name, right in found.items()}
    for part in LOSSES:
        results[f"lost_without_{part}"] = mean_estimate(found["all_parts"] - found[f"{part}_frozen"])
    return results


def verdict(figures: dict[str, Estimate]) -> str:
    """Whether a judge looks at the face, in a line; if not, why."""
    said = lambda name, bound, limit: f"{name} {figures[name].value:.2f}, {bound} {limit:.2f}"  # noqa: E731
    faults = [said(name, "expected at least", least) for name, least in LEAST.items() if figures[name].value < least]
    faults += [said(name, "expected at most", most) for name, most in MOST.items() if figures[name].value > most]
    clips = f"{figures['all_parts'].n} clips a question"
    return f"fails, {clips}: " + "; ".join(faults) if faults else f"looks at the face, {clips}"
