"""Every way to fewer passes that needs no training, against 20 guided steps: the same pictures, labels and noise.

    nice python assets/runs/few_steps/measure.py [--fast] [--checkpoint FOLDER] [--anew]

writes `plain.json` beside this file; with --fast `measured.json`, the same of the fast network in FOLDER (`lfdm train
few-steps`; of the one that was measured `fast_recipe.json` has the command, `fast_log.csv` the losses). One row is a
way, one number in a list a clip: 12 people of the validation split, two of each label, twice, from two seeds. Some four
minutes of one processor. Ways that `plain.json` has already are kept, but for --anew.

`psnr`: dB against the long way's clip, frames 1 to 15. `change`: mean difference of the frames from frame 0, in
hundredths. `motion`, `small`, `large`: mean length in pixels of the flow that is painted: everywhere; where the long
way's is from 0.2 to 1 pixel; where it is above 2. `read`, `read_by_first`: whether the judge of faces, and the first
judge, reads the label. `apart`: mean difference in hundredths between the two seeds' clips, one number a picture.

`deviations`: the standard deviations of what stage two denoises, of 200 training clips around the mean of their label,
along the principal directions; `share_of_all`: the share of all variance that each holds.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lfdm_lite import LFDM
from lfdm_lite.data import Faces
from lfdm_lite.evaluation.judges import VideoClassifier
from lfdm_lite.evaluation.metrics import psnr
from lfdm_lite.files.assets import asset
from lfdm_lite.files.atomic import write_atomically
from lfdm_lite.flow import in_pixels
from lfdm_lite.geometry import resize
from lfdm_lite.memory import autocast
from lfdm_lite.pipeline import clip_generators
from lfdm_lite.samplers import guided, guided_until, sample

HERE = Path(__file__).parent
PICTURES, SEEDS = 12, (0, 1)


class Way(NamedTuple):
    steps: int
    guided: str  # in which steps: "all", "first" or "none"
    precision: str | None = None
    spacing: float = 1  # of the steps, see `samplers.timesteps`

    @property
    def passes(self) -> int:
        return self.steps + {"all": self.steps, "first": 1, "none": 0}[self.guided]

    @property
    def name(self) -> str:
        more = f" {self.precision}" if self.precision else "" if self.spacing == 1 else f" {self.spacing:g}"
        return f"{self.steps} {self.guided}{more}"


LONG = Way(20, "all")
WAYS = [
    LONG,
    *(Way(steps, "all") for steps in (14, 10, 7, 5, 4)),
    *(Way(steps, "none") for steps in (20, 10, 7, 5, 4)),
    *(Way(steps, "first") for steps in (10, 7, 5, 4, 3)),
    Way(20, "all", "bf16"),
    Way(4, "first", "bf16"),
    *(Way(4, "first", spacing=spacing) for spacing in (1.25, 1.5, 1.75, 2, 2.5)),
    *(Way(steps, "first", spacing=1.75) for steps in (10, 7, 5, 3, 2)),
    Way(4, "all", spacing=1.75),
]
DIRECTIONS = 40  # of which deviations are kept


def make(model: LFDM, image: Tensor, label: Tensor, seed: int, way: Way | None) -> tuple[Tensor, Tensor]:
    """Videos and flows (normalized, of the video's size); of the fast network if `way` is None."""
    told = torch.full((len(label), len(model.unet.config.numbers)), float("nan"))
    size = model.image_size // model.autoencoder.config.flow_stride
    steps, sampler = (model.fast.steps, model.fast.sampler) if way is None else (way.steps, "dpm++")
    with torch.no_grad(), autocast(way and way.precision, torch.device("cpu")):
        features = model.autoencoder.encode(image)
        if way is None:
            denoise = model.fast.at_scale(features, label, model.guidance_scale, told)
        else:
            scale = 1.0 if way.guided == "none" else model.guidance_scale
            until = guided_until(model.diffusion, steps, 1, way.spacing) if way.guided == "first" else 0
            denoise = guided(model.unet, features, label, scale, told, until=until)
        x0 = sample(
            model.diffusion,
            denoise,
            (len(label), model.unet.config.channels, model.num_frames, size, size),
            sampler=sampler,
            steps=steps,
            spacing=1 if way is None else way.spacing,
            generator=clip_generators(seed, len(label)),
            progress=False,
        )
        motion = model.diffusion.unpack_motion(x0)
        video = model.autoencoder.decode(image, motion).float()
    return video, resize(motion.flow, (model.image_size,) * 2)


def look(video: Tensor, flow: Tensor, long: tuple[Tensor, Tensor], judges: dict[str, Any], label: Tensor) -> dict:
    """The numbers of the clips of one seed."""
    far, long_far = (in_pixels(one)[:, :, 1:].norm(dim=1) for one in (flow, long[1]))
    mean = lambda where: ((far * where).flatten(1).sum(1) / where.flatten(1).sum(1)).tolist()
    with torch.no_grad():
        read = {name: (judge(video).argmax(dim=1) == label).float().tolist() for name, judge in judges.items()}
    return {
        "psnr": psnr(video[:, :, 1:], long[0][:, :, 1:]).clamp(max=99).tolist(),
        "change": (100 * (video[:, :, 1:] - video[:, :, :1]).abs().flatten(1).mean(1)).tolist(),
        "motion": far.flatten(1).mean(1).tolist(),
        "small": mean((long_far > 0.2) & (long_far < 1)),
        "large": mean(long_far > 2),
        **read,
    }


@torch.no_grad()
def spectrum(model: LFDM, count: int = 200) -> dict[str, list[float]]:
    """How far what is denoised spreads among clips of a label along its principal directions, widest first."""
    data, kept, labels = Faces("train", length=count), [], []
    for i in range(count):
        video = data[i]["video"][None]
        motion = model.autoencoder.estimate_motion(video[:, :, 0], video)
        kept.append(model.diffusion.pack_motion(motion).flatten())
        labels.append(int(data[i]["label"]))
    moved, label = torch.stack(kept), torch.tensor(labels)
    for one in label.unique():
        moved[label == one] -= moved[label == one].mean(dim=0)
    variances = torch.linalg.eigvalsh((moved @ moved.T).double() / (count - len(label.unique()))).flip(0)
    wide = variances[:DIRECTIONS]
    shares = [round(v, 5) for v in (wide / variances.sum()).tolist()]
    return {"deviations": [round(v, 3) for v in wide.sqrt().tolist()], "share_of_all": shares}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", type=Path, default=asset("checkpoints/faces64"))
    parser.add_argument("--fast", action="store_true", help="the checkpoint's fast network instead")
    parser.add_argument("--anew", action="store_true", help="measure ways again that are there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = LFDM.from_pretrained(options.checkpoint)
    judges = {"read": "judge_of_faces", "read_by_first": "judge"}
    judges = {name: VideoClassifier.load(asset("checkpoints/faces64") / folder) for name, folder in judges.items()}
    clips = [Faces("val", length=PICTURES)[i] for i in range(PICTURES)]
    image = torch.stack([clip["video"][:, 0] for clip in clips])
    label = torch.tensor([clip["label"] for clip in clips])

    of = partial(make, model, image, label)
    long = {seed: of(seed, LONG) for seed in SEEDS}
    between = psnr(long[0][0][:, :, 1:], long[1][0][:, :, 1:]).tolist()
    still = psnr(image[:, :, None].expand_as(long[0][0])[:, :, 1:], long[0][0][:, :, 1:]).tolist()
    known = {"psnr_of_another_seed": between, "psnr_of_frame_0": still, "guidance_scale": model.guidance_scale}
    known |= {"pictures": PICTURES, "seeds": SEEDS, "split": "val", "torch": torch.__version__}
    report = HERE / ("measured.json" if options.fast else "plain.json")
    before = json.loads(report.read_text()) if report.exists() and not options.anew else {}
    rows: dict[str, Any] = before.get("ways", {})
    if not options.fast:
        known |= {key: before[key] for key in ("deviations", "share_of_all") if key in before} or spectrum(model)
    for way in [None] if options.fast else [way for way in WAYS if way.name not in rows]:
        began = time.process_time()
        made = long if way == LONG else {seed: of(seed, way) for seed in SEEDS}
        seconds = (time.process_time() - began) / (PICTURES * len(SEEDS))
        found = [look(*made[seed], long[seed], judges, label) for seed in SEEDS]
        row = {key: [round(value, 4) for one in found for value in one[key]] for key in found[0]}
        row["apart"] = [round(v, 4) for v in (100 * (made[0][0] - made[1][0]).abs().flatten(1).mean(1)).tolist()]
        passes = model.fast.steps if way is None else way.passes
        name = "fast network" if way is None else way.name
        rows[name] = {"passes": passes} | ({"seconds": round(seconds, 3)} if way != LONG else {}) | row
        print(name, passes, *(f"{key} {sum(row[key]) / len(row[key]):.2f}" for key in row), flush=True)
        write(report, known | {"ways": rows})
    write(report, known | {"ways": rows})


def write(report: Path, found: dict[str, Any]) -> None:
    text = json.dumps(found).replace('"ways": {', '"ways": {\n').replace("]}, ", "]},\n")
    write_atomically(report, lambda place: place.write_text(text + "\n"))


if __name__ == "__main__":
    main()
