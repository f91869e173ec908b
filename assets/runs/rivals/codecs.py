"""What the first stages of the comparison can paint at all: there and back, and with some noise on the way.

    nice python assets/runs/rivals/codecs.py --runs FOLDER

writes `codecs.json` and `codecs.webp` beside this file, or into --out. RUNS holds the folders of finished runs; of
their models the first stage alone is used. A clip becomes x0, the numbers that the denoiser models, and is painted
again. Then the same with white noise of a given standard deviation added to x0: what an error of one size costs in the
picture, if it has no pattern. Noise of a denoiser has one, so these are not forecasts of its pictures. Of the clips
without noise the judges read the labels too: what they cannot read there, no denoiser can make them read.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from lfdm_lite.baselines.trivial import repeat_frame_0
from lfdm_lite.commands.common import load_generator
from lfdm_lite.data import Faces
from lfdm_lite.evaluation.intervals import mean_estimate
from lfdm_lite.evaluation.judges import VideoClassifier
from lfdm_lite.evaluation.metrics import label_accuracy, psnr
from lfdm_lite.evaluation.tables import collect
from lfdm_lite.files.assets import asset
from lfdm_lite.files.pictures import to_pillow
from lfdm_lite.pipeline import LFDM

HERE = Path(__file__).parent
NOISE = (0.0, 0.2, 0.4)
JUDGES = ("judge", "judge_of_faces")
SHOWN, FRAMES = 5, (4, 12)  # the clip and the frames of the picture
BATCH = 6


def there_and_back(model: torch.nn.Module) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]:
    """`pack(video) -> x0` and `unpack(x0, image) -> video` of a model's first stage."""
    if isinstance(model, LFDM):
        see, paint = model.autoencoder.estimate_motion, model.autoencoder.decode
        pack = lambda video: model.diffusion.pack_motion(see(video[:, :, 0], video))  # noqa: E731
        return pack, lambda x0, image: paint(image, model.diffusion.unpack_motion(x0)).clamp(0, 1)
    return model.codec.pack, lambda x0, image: model.codec.unpack(x0, image, model.num_frames)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=Path, required=True, help="the folder with the folders of runs")
    parser.add_argument("--models", nargs="+", default=["lfdm-s0", "vdm-s0", "ldm-s0", "lamd-s0"])
    parser.add_argument("--clips", type=int, default=48, help="real test clips (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=HERE, help="where the results go (default: beside this file)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    clips = collect(Faces("test", length=options.clips), options.clips)
    video, subject = clips["video"], clips["subject"]
    judges = {name: VideoClassifier.load(asset("checkpoints/faces64") / name) for name in JUDGES}
    still = psnr(repeat_frame_0(video[:, :, 0], video.shape[2])[:, :, 1:], video[:, :, 1:])
    found, rows = {"frame_0": vars(mean_estimate(still, subject=subject))}, [video[SHOWN][:, FRAMES]]
    for name in options.models:
        pack, unpack = there_and_back(load_generator(options.runs / name).eval())
        errors: dict[float, list[Tensor]] = {noise: [] for noise in NOISE}
        read: dict[str, list[Tensor]] = {judge: [] for judge in judges}
        for start in range(0, len(video), BATCH):
            real = video[start : start + BATCH]
            x0, generator = pack(real), torch.Generator().manual_seed(start)
            white = torch.randn(x0.shape, generator=generator)
            for noise in NOISE:
                painted = unpack(x0 + noise * white, real[:, :, 0])
                errors[noise].append(psnr(painted[:, :, 1:], real[:, :, 1:]).clamp(max=58.9))
                if noise == 0:
                    for judge, network in judges.items():
                        read[judge].append(network(painted).argmax(dim=1))
                if start <= SHOWN < start + BATCH and noise in (0.0, 0.2):
                    rows.append(painted[SHOWN - start][:, FRAMES])
        figures = {str(noise): mean_estimate(torch.cat(some), subject=subject) for noise, some in errors.items()}
        found[name] = {
            "shape": list(x0.shape[1:]),
            "deviation": [float(f"{x0[:, i].std():.3g}") for i in range(x0.shape[1])],
            "psnr": {noise: vars(figure) for noise, figure in figures.items()},
            "read_as_asked": {
                judge: vars(label_accuracy(torch.cat(some), clips["label"], subject=subject))
                for judge, some in read.items()
            },
        }
        print(name, {noise: round(figure.value, 2) for noise, figure in figures.items()}, found[name]["read_as_asked"])
    (options.out / "codecs.json").write_text(json.dumps(found, indent=1) + "\n")
    # the real clip, then each model without and with noise of 0.2, one below the other; two frames side by side
    to_pillow(torch.cat([torch.cat(row.unbind(1), dim=-1) for row in rows], dim=-2)).save(
        options.out / "codecs.webp", quality=92, method=6
    )


if __name__ == "__main__":
    main()
