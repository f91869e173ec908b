"""Can the label be read from a clip's motion, and not from its first frame? `python tests/benchmarks/learnability.py`.

For each procedural set a small classifier learns from a few hundred training clips and is asked about clips of
subjects whom it never saw: once with whole clips, once with frame 0 alone. It should be right for the first and at
chance for the second, or a model could learn the label from the given image.

    SET ...          of lfdm_lite.data.PROCEDURAL; all of them unless given
    --clips 600      training clips
    --steps 600      of training, 16 clips each
"""

import argparse
import math
import time

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from lfdm_lite.data import PROCEDURAL
from lfdm_lite.evaluation.judges import VideoClassifier

SIZE, FRAMES, TEST_CLIPS, BATCH, SHIFT = 64, 16, 240, 16, 3


def clips(name: str, split: str, length: int) -> tuple[Tensor, Tensor]:
    """Videos (n, 3, t, h, w) as bytes, and their labels."""
    dataset = PROCEDURAL[name](split, size=SIZE, num_frames=FRAMES, length=length)
    items = [dataset[i] for i in tqdm(range(length), desc=f"{name}, {split}", leave=False)]
    video = torch.stack([(255 * item["video"]).round().byte() for item in items])
    return video, torch.tensor([item["label"] for item in items])


def augmented(video: Tensor, generator: torch.Generator) -> Tensor:
    """Shifted by a few pixels and in colour: what says nothing about the label. Not mirrored: left may be a label."""
    dy, dx = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator).tolist()
    padded = F.pad(video.float() / 255, (SHIFT, SHIFT, SHIFT, SHIFT, 0, 0), mode="replicate")
    moved = padded[..., SHIFT + dy : SHIFT + dy + SIZE, SHIFT + dx : SHIFT + dx + SIZE]
    return moved + 0.2 * torch.rand(len(video), 3, 1, 1, 1, generator=generator) - 0.1


def accuracy_on_unseen(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], steps: int, seed: int = 0) -> float:
    """Train a classifier on some clips, and ask it about others."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = VideoClassifier(int(train[1].max()) + 1)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    for _ in tqdm(range(steps), leave=False):
        chosen = torch.randint(len(train[1]), (BATCH,), generator=generator)
        logits = network(augmented(train[0][chosen], generator))
        optimizer.zero_grad()
        F.cross_entropy(logits, train[1][chosen], label_smoothing=0.05).backward()
        optimizer.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        predicted = torch.cat([network(part.float() / 255).argmax(1) for part in test[0].split(32)])
    return (predicted == test[1]).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET")
    parser.add_argument("--clips", type=int, default=600)
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    print("| set | labels | training clips | whole clips | frame 0 alone | chance | seconds |")
    print("|---" * 7 + "|")
    for name in options.sets or PROCEDURAL:
        start = time.perf_counter()
        train, test = clips(name, "train", options.clips), clips(name, "test", TEST_CLIPS)
        whole = accuracy_on_unseen(train, test, options.steps)
        first = accuracy_on_unseen(*((video[:, :, :1], label) for video, label in (train, test)), options.steps)
        labels = len(PROCEDURAL[name].labels)
        told = " | ".join(f"{100 * p:.1f} ± {196 * math.sqrt(p * (1 - p) / TEST_CLIPS):.1f} %" for p in (whole, first))
        seconds = time.perf_counter() - start
        print(f"| {name} | {labels} | {options.clips} | {told} | {100 / labels:.1f} % | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
