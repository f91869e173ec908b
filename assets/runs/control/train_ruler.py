"""Train the ruler of `lfdm_lite.evaluation.rulers.faces` on drawn faces of training people, and say how far it errs.

    nice python assets/runs/control/train_ruler.py --cache FOLDER

writes `ruler/` beside this file: weights in half precision, `recipe.json`, `log.csv` and, from test clips of people
whom it never saw, `metrics.json`. Clips are drawn once and kept in FOLDER. No generated clip plays a part. The shipped
one was trained in two rounds: the second, with `--more --steps 600 --seed 1`, began with the weights of the first.
"""

import argparse
import csv
import json
import platform
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lfdm_lite.data import Acting, Faces
from lfdm_lite.data.drawn.acting.expressions import PARTS
from lfdm_lite.evaluation.rulers.faces import LANDMARKS, MIRRORED, PLACE_OF, Measured, Ruler, RulerConfig, true_clip
from lfdm_lite.files.atomic import write_atomically
from lfdm_lite.geometry import resize

HERE = Path(__file__).parent
SPEAKING = {"brows", "cheeks", "mouth"}  # where one of them is at rest, the clip has no level


@dataclass(frozen=True)
class Recipe:
    """All that was chosen."""

    clips: int = 1800  # drawn clips of training people
    strength: tuple[float, float] = (0.0, 1.6)
    turn: float = 0.3  # radians to either side, beyond what heads do by themselves
    wear: float = 1.0  # how far clips are blurred and made grainy at most
    steps: int = 1100
    batch_size: int = 8
    learning_rate: float = 2e-3  # of AdamW, warm-up of 50 steps, then cosine to 0
    weight_decay: float = 0.01
    ema: float = 0.995  # decay of the weights' moving average
    level_weight: float = 3.0  # against 1 for landmarks in pixels
    roll_weight: float = 10.0
    seed: int = 0


def draw(split: str, count: int, recipe: Recipe, cache: Path, varied: bool = True) -> dict[str, Tensor]:
    """Clips and what is true of them. `varied`: a quarter has another's head, a quarter has parts at rest."""
    place = cache / f"{split}_{count}_{varied}_{recipe.strength}_{recipe.turn}.pt"
    if not place.is_file():
        usual, rows, rng = Acting(recipe.strength, recipe.turn), [], np.random.default_rng(recipe.seed)
        for i in range(count):
            frozen = tuple(part for part in PARTS if rng.random() < 0.4) if varied and i // 6 % 4 == 3 else ()
            acting = replace(usual, heads="shuffled" if varied and i // 6 % 4 == 2 else "own", frozen=frozen)
            faces = Faces(split, length=count, acting=acting)
            video, true = true_clip(faces, i)
            rows.append(((255 * video).round().byte(), *(x[0] for x in true), torch.tensor(not SPEAKING & set(frozen))))
        names = ("video", "landmarks", "level", "roll", "speaks")
        clips = dict(zip(names, map(torch.stack, zip(*rows, strict=True)), strict=True))
        write_atomically(place, lambda temporary: torch.save(clips, temporary))
    return torch.load(place)


def view(clips: dict[str, Tensor], index: Tensor, recipe: Recipe, generator: torch.Generator) -> dict[str, Tensor]:
    """A batch: mirrored or not, later and slower or faster, with shifted colours, worn."""
    rand = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    batch = {name: values[index] for name, values in clips.items()}
    frame = torch.arange(batch["level"].shape[1])
    for i in range(len(index)):
        if rand(()) < 0.7:  # the clip's own frames, held, left out or repeated
            begin, speed = int(9 * rand(())), 0.6 + rand(())
            at = ((frame - begin) * speed).round().long().clamp(0, len(frame) - 1)
            batch["video"][i] = batch["video"][i, :, at]
            for name in ("landmarks", "level", "roll"):
                batch[name][i] = batch[name][i, at]
        if rand(()) < 0.5:
            batch["video"][i] = batch["video"][i].flip(-1)
            batch["landmarks"][i] = batch["landmarks"][i][:, MIRRORED] * torch.tensor([-1.0, 1.0])
            batch["roll"][i] = -batch["roll"][i]
    video = batch["video"].float() / 255
    if rand(()) < 0.6:
        video = resize(resize(video, round(64 - 36 * recipe.wear * rand(()).item())), 64)
    video = video + 0.04 * recipe.wear * rand(len(index), 1, 1, 1, 1) * torch.randn(video.shape, generator=generator)
    batch["video"] = video * (0.8 + 0.4 * rand(len(index), 3, 1, 1, 1)) + 0.2 * rand(len(index), 3, 1, 1, 1) - 0.1
    return batch


def loss_of(read: Measured, batch: dict[str, Tensor], recipe: Recipe) -> Tensor:
    """Mean distances: of landmarks in pixels, of level and roll."""
    places = (32 * (read.landmarks - batch["landmarks"])).square().sum(-1).add(0.01).sqrt().mean()
    level = F.smooth_l1_loss(read.level, batch["level"], beta=0.1, reduction="none").mean(1)
    level = (level * batch["speaks"]).sum() / batch["speaks"].sum().clamp(min=1)
    roll = F.smooth_l1_loss(read.roll, batch["roll"], beta=0.03)
    return places + recipe.level_weight * level + recipe.roll_weight * roll


def delayed(clips: dict[str, Tensor]) -> dict[str, Tensor]:
    """Clip i begins i mod 9 frames later: frame 0 is held, the end is left out. By themselves all begin alike."""
    count, frames = clips["level"].shape
    at = (torch.arange(frames) - torch.arange(count)[:, None] % 9).clamp(min=0)  # n t
    each = torch.arange(count)[:, None]
    moved = {name: clips[name][each, at] for name in ("landmarks", "level", "roll")}
    return clips | moved | {"video": clips["video"].transpose(1, 2)[each, at].transpose(1, 2)}


def errors(ruler: Ruler, clips: dict[str, Tensor]) -> dict[str, Any]:
    """Of a ruler on clips, each begun up to 8 frames later: mean and worst distances, correlations with the truth."""
    clips = delayed(clips)
    true = Measured(clips["landmarks"], clips["level"], clips["roll"])
    read = ruler.measure(clips["video"].float() / 255)
    gap = 32 * (read.landmarks - true.landmarks).norm(dim=-1)  # b t k, pixels at 64 x 64
    moved = 32 * ((read.landmarks - read.landmarks[:, :1]) - (true.landmarks - true.landmarks[:, :1])).norm(dim=-1)
    found = {"clips": len(gap), "landmarks_px": gap.mean().item(), "landmarks_px_95th": gap.quantile(0.95).item()}
    found |= {f"{name}_px": gap[..., k].mean().item() for k, name in enumerate(LANDMARKS)}
    found |= {f"moved_{k}_px": moved[..., [*map(LANDMARKS.index, v)]].mean().item() for k, v in PLACE_OF.items()}
    shows = true.strength > 0.25  # an onset needs something that begins
    for name in ("strength", "onset", "duration", "turn"):
        a, b = getattr(read, name), getattr(true, name)
        a, b = (a[shows], b[shows]) if name in ("onset", "duration") else (a, b)
        found[f"{name}_error"] = (a - b).abs().mean().item()
        found[f"{name}_worst"] = (a - b).abs().max().item()
        found[f"{name}_correlation"] = torch.corrcoef(torch.stack([a, b]))[0, 1].item()
    found["level_error"] = (read.level - true.level).abs().mean().item()
    found["strength_curve"] = {}  # is the ruler straight? mean of what is read where this is true
    for low in (0.0, 0.4, 0.8, 1.2):
        here = (true.strength >= low) & (true.strength < low + 0.4)
        found["strength_curve"][f"{true.strength[here].mean().item():.2f}"] = read.strength[here].mean().item()
    return found


def train(recipe: Recipe, cache: Path, out: Path, more: bool = False) -> None:
    before = json.loads((out / "recipe.json").read_text()) if more else []
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    clips, val = draw("train", recipe.clips, recipe, cache), draw("val", 60, recipe, cache, varied=False)
    ruler, began = Ruler.load(out).train() if more else Ruler(RulerConfig()), time.process_time()
    kept = {name: weight.detach().clone() for name, weight in ruler.named_parameters()}
    optimizer = torch.optim.AdamW(ruler.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    rate = lambda n: min((n + 1) / 50, 0.5 + 0.5 * np.cos(np.pi * n / recipe.steps))  # noqa: E731
    schedule, log = torch.optim.lr_scheduler.LambdaLR(optimizer, rate), []
    for step in range(recipe.steps):
        index = torch.randint(len(clips["level"]), (recipe.batch_size,), generator=generator)
        batch = view(clips, index, recipe, generator)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(ruler(batch["video"]), batch, recipe)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(ruler.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        for name, weight in ruler.named_parameters():
            kept[name].lerp_(weight.detach(), 1 - min(recipe.ema, (step + 1) / (step + 10)))
        if step % 50 == 49 or step == recipe.steps - 1:
            log.append({"step": step + 1, "loss": loss.item(), "cpu_seconds": time.process_time() - began})
            if step % 250 == 249:
                seen = errors(ruler, val)
                print(step + 1, {k: seen[k] for k in ("landmarks_px", "strength_error", "turn_error")}, flush=True)
            print({k: round(v, 3) for k, v in log[-1].items()}, flush=True)
    seconds = time.process_time() - began
    ruler.load_state_dict(ruler.state_dict() | kept)
    ruler.save(out, dtype=torch.float16, overwrite=True)
    with open(out / "log.csv", "a" if more else "w", newline="") as file:
        writer = csv.DictWriter(file, log[0], lineterminator="\n")
        if not more:
            writer.writeheader()
        writer.writerows({k: round(v, 4) for k, v in row.items()} for row in log)
    given = " ".join(sys.argv[1:]).replace(str(cache), "FOLDER")
    about = {
        "command": "nice python assets/runs/control/train_ruler.py " + given,
        "recipe": asdict(recipe),
        "model": asdict(ruler.config) | {"parameters": sum(p.numel() for p in ruler.parameters())},
        "cpu_seconds": round(seconds, 1),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "machine": platform.machine()},
        "threads": torch.get_num_threads(),
    }
    write([*before, about], out / "recipe.json")


def write(content: dict | list, place: Path) -> None:
    text = json.dumps(content, indent=1, default=str) + "\n"
    write_atomically(place, lambda temporary: temporary.write_text(text))


def examine(recipe: Recipe, cache: Path, out: Path) -> None:
    """The stored ruler, on people whom it never saw."""
    ruler = Ruler.load(out)
    sets = {split: draw(split, count, recipe, cache, varied=False) for split, count in (("val", 60), ("test", 120))}
    results = {split: errors(ruler, clips) for split, clips in sets.items()}
    write(results, out / "metrics.json")
    print(json.dumps(results["test"], indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cache", type=Path, required=True, help="a folder for drawn clips")
    parser.add_argument("--out", type=Path, default=HERE / "ruler")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--clips", type=int, default=Recipe.clips)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--more", action="store_true", help="begin with the weights that are there")
    parser.add_argument("--examine", action="store_true", help="look at the ruler that is there; train none")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    chosen = Recipe(steps=options.steps, clips=options.clips, seed=options.seed)
    if not options.examine:
        train(chosen, options.cache, options.out, options.more)
    examine(chosen, options.cache, options.out)
