"""LFDM, its rivals and what learns nothing, on the same real test clips: what every row of the comparison is worth.

    nice python assets/runs/rivals/measure.py --runs FOLDER --cache FOLDER --fvd

writes `measured.json`, `per_clip.npz` and `samples/` beside this file, again after every row. RUNS holds the folders of
finished runs (`lfdm train lfdm|vdm|ldm|lamd`). What was generated and looked at is kept in CACHE, so the script can be
stopped at any time and goes on where it was. Figures are those that `lfdm evaluate RUN --stage videos --fvd --steps 10`
prints; but a second video, with another seed, is made of the first 40 clips alone.

A row is the name of a run, `RUN@STEP` for the averaged weights of a checkpoint that it kept, `RUN~SCALE` for another
guidance scale than the run's, or what stands in a model's place: frame_0, nearest, mean_motion, real_halves,
real_again, as of `lfdm evaluate --against`.
"""

import argparse
import copy
import functools
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from lfdm_lite.baselines.trivial import mean_motion, nearest_clips, repeat_frame_0
from lfdm_lite.commands.common import load_generator
from lfdm_lite.commands.evaluate import as_json
from lfdm_lite.data import Faces
from lfdm_lite.evaluation.frames import Moved, estimate_motion
from lfdm_lite.evaluation.i3d import LEAST_FRAMES, i3d_features, load_i3d
from lfdm_lite.evaluation.judges import VideoClassifier
from lfdm_lite.evaluation.tables import CONTROLS, collect, generate_like, performed_again
from lfdm_lite.evaluation.videos import Seen, VideoMeasures
from lfdm_lite.files.assets import asset
from lfdm_lite.files.atomic import write_atomically
from lfdm_lite.files.pictures import to_pillow
from lfdm_lite.inputs import sampling
from lfdm_lite.training.engine.saving import name_of, read_state

HERE = Path(__file__).parent
TRIVIAL = ("real_halves", "real_again", "frame_0", "nearest", "mean_motion")
STAGE_TWO = {"LFDM": "diffusion", "VDM": "vdm-diffusion", "LDM": "ldm-diffusion", "LaMD": "lamd-diffusion"}
BATCH = 12  # clips that `lfdm evaluate` generates at a time
FEW = 10  # clips that the network of FVD looks at before they are kept
SHOWN = 3  # clips of a row in its sample
MOST = 1_000_000  # bytes of per_clip.npz


@dataclass(frozen=True)
class Options:
    """Of the command line, but for the rows."""

    runs: Path
    cache: Path
    clips: int
    again: int
    train_clips: int
    steps: int
    fvd: bool
    size: int
    frames: int
    judges: Path | None
    out: Path


class Made(NamedTuple):
    """Videos, and what one of them took."""

    video: Tensor
    seconds: float
    processor_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=Path, required=True, help="the folder with the folders of runs")
    parser.add_argument("--cache", type=Path, required=True, help="a folder for what was generated and looked at")
    parser.add_argument("--rows", nargs="*", help="which rows (default: the trivial ones, and all runs but try-, one-)")
    parser.add_argument("--clips", type=int, default=200, help="real test clips (default: %(default)s)")
    parser.add_argument("--again", type=int, default=40, help="clips with a second seed (default: %(default)s)")
    parser.add_argument("--train-clips", type=int, default=500, help="as of lfdm evaluate (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="of sampling (default: %(default)s)")
    parser.add_argument("--fvd", action="store_true", help="Fréchet video distance too: a second a clip and more")
    parser.add_argument("--size", type=int, default=64, help="of the trivial rows (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=16, help="of the trivial rows (default: %(default)s)")
    parser.add_argument("--judges", type=Path, help="the folder with judge and judge_of_faces (default: faces64's)")
    parser.add_argument("--out", type=Path, default=HERE, help="where the results go (default: beside this file)")
    given = parser.parse_args()
    options = Options(**{field.name: getattr(given, field.name) for field in fields(Options)})
    torch.set_num_threads(1)
    for name in given.rows or [*TRIVIAL, *finished(options.runs)]:
        began = time.process_time()
        write(measure(name, options), options.out)
        print(f"{name}: {time.process_time() - began:.0f} s of processor", flush=True)


def finished(runs: Path) -> list[str]:
    """The runs that have left a whole model, but for tries and first stages."""
    kinds = {path.parent.name: json.loads(path.read_text())["kind"] for path in sorted(runs.glob("*/config.json"))}
    return [name for name, kind in kinds.items() if kind in STAGE_TWO and not name.startswith(("try-", "one-"))]


# ---------------------------------------------------------------- what is kept


def kept(place: Path, make: Callable[[], Any]) -> Any:
    """What was made before, or else is made now."""
    if not place.is_file():
        made = make()
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, lambda temporary: torch.save(made, temporary))
    return torch.load(place, weights_only=False)  # our own file


class Remembering(VideoMeasures):
    """Looks once at every set of videos, also when it is started again; the network of FVD at a few clips at a time."""

    def __init__(self, folder: Path, fvd: bool, *given: Any) -> None:
        self.folder, self.fvd = folder, fvd
        super().__init__(*given)

    def look(self, video: Tensor) -> Seen:
        seen = kept(self.folder / f"seen_{fingerprint(video)}.pt", lambda: super(Remembering, self).look(video))
        if self.fvd:
            seen.features["video"] = torch.cat([self.look_for_fvd(some) for some in video.split(FEW)])
        return seen

    def look_for_fvd(self, some: Tensor) -> Tensor:
        place = self.folder / f"fvd_{fingerprint(some)}.pt"
        return kept(place, lambda: i3d_features(network_of_fvd(), some, self.how))


def fingerprint(video: Tensor) -> str:
    return hashlib.sha256(video.contiguous().numpy().tobytes()).hexdigest()[:24]


@functools.cache
def network_of_fvd() -> Any:
    return load_i3d()


# ---------------------------------------------------------------- clips, real ones and others


@functools.cache
def at_hand(size: int, frames: int, options: Options) -> tuple[Path, dict[str, Tensor], Remembering]:
    """A folder for what belongs to clips of this size, the real clips, and what measures videos beside them."""
    fvd = options.fvd and frames >= LEAST_FRAMES
    folder = options.cache / f"{size}px_{frames}f_{options.clips}_of_{options.train_clips}{'_fvd' if fvd else ''}"
    clips = kept(folder / "clips.pt", lambda: real_clips(size, frames, options.clips))

    def make() -> Remembering:
        place = options.judges or asset("checkpoints/faces64")
        names = [name for name in ("judge", "judge_of_faces") if (place / name / "config.json").is_file()]
        judges = {name: VideoClassifier.load(place / name) for name in names}
        return Remembering(folder, fvd, clips, judges, training_clips(size, frames, options)["video"])

    return folder, clips, kept(folder / "measures.pt", make)


def real_clips(size: int, frames: int, count: int) -> dict[str, Tensor]:
    """Of test people, with all that `lfdm evaluate` knows of them and compares videos with."""
    dataset = Faces("test", size=size, num_frames=frames, length=count)
    never = torch.stack([dataset.never_moves(i) for i in range(count)])
    return collect(dataset, count) | {"never": never, "again": performed_again(dataset, count)}


def training_clips(size: int, frames: int, options: Options) -> dict[str, Tensor]:
    dataset = Faces("train", size=size, num_frames=frames, length=options.train_clips)
    return collect(dataset, options.train_clips)


def stand_in(name: str, options: Options) -> tuple[Tensor, Tensor | None]:
    """The videos of what learns nothing; and others with another seed, where there is such a thing."""
    _, clips, _ = at_hand(options.size, options.frames, options)
    image, label = clips["video"][:, :, 0], clips["label"]
    if name == "frame_0":
        return repeat_frame_0(image, options.frames).contiguous(), None
    if name in ("real_halves", "real_again"):
        both = clips["video"], clips["again"]
        return both if name == "real_halves" else both[::-1]
    train = training_clips(options.size, options.frames, options)
    if name == "nearest":
        return nearest_clips(image, label, train["video"], train["label"]), None
    return mean_motion(image, label, train["flow"], train["label"]), None


def generate(model: Any, clips: dict[str, Tensor], folder: Path, count: int, seed: int, how: dict[str, Any]) -> Made:
    """One video for each of the first clips, as `lfdm evaluate` makes them; every batch is kept."""
    batches = []
    for start in range(0, count, BATCH):
        some = {name: clips[name][start : min(start + BATCH, count)] for name in ("video", "label")}

        def make(some: dict[str, Tensor] = some, seed: int = seed + start) -> Made:
            began = time.process_time()
            made, seconds = generate_like(model, some, seed, BATCH, **how)
            return Made(made["video"], seconds, time.process_time() - began)

        batches.append(kept(folder / f"seed_{seed}" / f"{start:03d}_{len(some['label'])}.pt", make))
    video, seconds, processor = zip(*batches, strict=True)
    return Made(torch.cat(video), sum(seconds) / count, sum(processor) / count)


# ---------------------------------------------------------------- a row


def measure(name: str, options: Options) -> dict[str, Any]:
    """All that is kept of a row, and of the controls of its size."""
    few, size, frames, about = min(options.again, options.clips), options.size, options.frames, {}
    if name in TRIVIAL:
        folder, clips, measures = at_hand(size, frames, options)
        video, again = stand_in(name, options)
        again = None if again is None else again[:few]
    else:
        run, _, scale = name.partition("~")
        model, about = load(run, options.runs)
        size, frames = model.image_size, model.num_frames
        folder, clips, measures = at_hand(size, frames, options)
        how = vars(sampling(model, None, float(scale) if scale else None, "dpm++", options.steps, 0))
        seed, place = how.pop("seed"), folder / f"{name}_{about['weights']}_{options.steps}"
        made = generate(model, clips, place, options.clips, seed, how)
        again = generate(model, clips, place, few, seed + 10_007, how).video
        video, seconds = made.video, {name: getattr(made, name) for name in Made._fields[1:]}
        about |= {"sampling": how, "of_a_video": seconds}
    figures = measures.figures(video)
    own = {figure: value for figure, value in figures.items() if figure.rpartition("_of_")[2] not in CONTROLS}
    seen = measures.look(video)
    if again is not None:
        own |= two_seeds(measures, seen.moved, again)
    return {
        "name": name if name not in TRIVIAL or frames == 16 else f"{name}-{frames}f",
        "row": about | {"clips": f"{options.clips} of {frames} frames, {size} pixels", "figures": own},
        "controls": measures.known,
        "per_clip": per_clip(seen) | {"person": measures.subject, "label": measures.label},
        "sample": video[:SHOWN],
    }


def two_seeds(measures: VideoMeasures, moved: Moved, again: Tensor) -> dict[str, Any]:
    """What the seed changes in the first clips, of which there is a second video."""
    few, n = copy.copy(measures), len(again)
    few.subject = measures.subject[:n]
    first, real, real_again = (Moved(*(x[:n] for x in m)) for m in (moved, measures.of_real.moved, measures.again))
    return {
        "diversity_two_seeds": few.between(first, estimate_motion(again)),
        "diversity_two_seeds_of_real": few.between(real, real_again),
    }


def per_clip(seen: Seen) -> dict[str, Tensor]:
    """The labels that are read, and every score of each clip."""
    scores = {"motion_length": seen.moved.length, **seen.scores}
    return {**{f"read_{name}": read for name, read in seen.read.items()}, **scores}


def load(name: str, runs: Path) -> tuple[Any, dict[str, Any]]:
    """A run's model, perhaps with the weights of a checkpoint, and what the run took."""
    folder, _, step = name.partition("@")
    model = load_generator(runs / folder)
    names = ("unet", "autoencoder") if hasattr(model, "unet") else ("denoiser", "codec")
    parts = {part: getattr(model, name) for part, name in zip(("denoiser", "codec"), names, strict=True)}
    kind = json.loads((runs / folder / "config.json").read_text())["kind"]
    if step:
        state = read_state(runs / folder / STAGE_TWO[kind] / "checkpoints" / name_of(int(step)))
        parts["denoiser"].load_state_dict(state["average"])
    weights = hashlib.sha256(b"".join(value.numpy().tobytes() for value in model.state_dict().values())).hexdigest()
    recipe = json.loads((runs / folder / "recipe.json").read_text())
    second = recipe["config"]["second"]
    about = {
        "model": kind,
        "parameters": {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
        "effort": recipe["effort"],
        "learning_rate": second["optim"]["learning_rate"],
        "seed": second["loop"]["seed"],
        "weights": weights[:12],
    }
    return model.eval(), about | ({"at_step": int(step)} if step else {})


# ---------------------------------------------------------------- results


def write(found: dict[str, Any], out: Path) -> None:
    """Put a row to the others."""
    (out / "samples").mkdir(parents=True, exist_ok=True)
    name, report, table = found["name"], out / "measured.json", out / "per_clip.npz"
    results = json.loads(report.read_text()) if report.is_file() else {"controls": {}, "rows": {}}
    results["rows"][name] = rounded(found["row"])
    known = results["controls"].setdefault(found["row"]["clips"], {})  # those with FVD stay when others come without
    for control, figures in found["controls"].items():
        known[control] = known.get(control, {}) | rounded(figures)
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    write_atomically(report, lambda temporary: temporary.write_text(text, encoding="utf-8"))

    columns = dict(np.load(table)) if table.is_file() else {}
    small = {torch.float32: torch.float16, torch.int64: torch.int16}
    columns |= {f"{name}/{key}": value.to(small[value.dtype]).numpy() for key, value in found["per_clip"].items()}
    with_suffix = table.with_name("per_clip.npz.tmp.npz")  # numpy names files itself
    np.savez_compressed(with_suffix, **columns)
    with_suffix.replace(table)
    if table.stat().st_size > MOST:
        print(f"{table} has {table.stat().st_size / 1e6:.2f} MB; measure fewer rows into it")
    sheet = rearrange(found["sample"], "n c t h w -> c (n h) (t w)")  # a clip a row, time to the right
    to_pillow(sheet).save(out / "samples" / f"{name}.webp", quality=85, method=6)


def rounded(value: Any) -> Any:
    """As JSON writes it, numbers with five digits."""
    value = as_json(value)
    if isinstance(value, dict):
        return {str(name): rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
