"""What each fault does to each measure: real test clips of faces64, broken on purpose, beside the same clips unbroken.

    nice python assets/runs/measures/measure.py --cache FOLDER

writes `measured.json` beside this file. What was looked at is kept in FOLDER, so it can be stopped at any time and goes
on where it was; the file is written again after every part. It needs the archive that `lfdm data i3d` fetches. Looking
at a clip takes 0.15 s of one processor for its motion and 1.1 s for FVD.

Sets: `again` are other performances of the same people with the same labels, which a perfect generator might give; the
others are the real clips with one fault of `lfdm_lite.evaluation.frames.BREAKINGS`; `train` are clips that a generator
would have learned from, handed out as they are. For FVD the faults are those of one half of the people, and the
distance is that to the real clips of the other half: `real` is the distance of two sets without a fault.
"""

import argparse
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lfdm_lite.data import Faces
from lfdm_lite.evaluation.distances import bias_curve, frechet_at_infinity, frechet_distance, kernel_distance
from lfdm_lite.evaluation.frames import BREAKINGS, estimate_steps, since_frame_0
from lfdm_lite.evaluation.i3d import ENLARGEMENTS, FrechetProtocol, i3d_features, load_i3d
from lfdm_lite.evaluation.intervals import Estimate, mean_estimate
from lfdm_lite.evaluation.judges import VideoClassifier
from lfdm_lite.evaluation.tables import collect, performed_again
from lfdm_lite.evaluation.videos import Seen, VideoMeasures, half_of_the_people
from lfdm_lite.files.assets import asset
from lfdm_lite.files.atomic import write_atomically
from lfdm_lite.flow import in_pixels

HERE = Path(__file__).parent
SIZE, FRAMES, CLIPS = 64, 16, 200
TAKES = 6  # other performances, by which it is known where nothing ever moves
FEW = 10  # clips that the network of FVD looks at before they are kept, and of the comparison of enlargements
SIZES = (10, 20, 50, 100, 200, 500, 1000, 2000)  # clips on either side
JUDGES = {"first_judge": "judge", "judge_of_faces": "judge_of_faces"}


class Remembering(VideoMeasures):
    """Looks once at every set of videos, also when it is started again."""

    cache: Path

    def look(self, video: Tensor) -> Seen:
        place = self.cache / f"{hashlib.sha256(video.contiguous().numpy().tobytes()).hexdigest()[:24]}.pt"
        if not place.is_file():
            keep(super().look(video), place)
        return torch.load(place, weights_only=False)  # our own file


def keep(what: Any, place: Path) -> None:
    write_atomically(place, lambda temporary: torch.save(what, temporary))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cache", type=Path, required=True, help="a folder for what was looked at")
    parser.add_argument("--clips", type=int, default=CLIPS, help="real test clips (default: %(default)s)")
    parser.add_argument(
        "--fvd-clips", type=int, default=CLIPS // 2, help="on either side, for FVD (default: %(default)s)"
    )
    parser.add_argument("--parts", nargs="*", default=["sets", "bias", "fvd"], help="which parts; all unless given")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    report = HERE / "measured.json"
    measured = {"data": "faces", "split": "test", "clips": options.clips, "size": SIZE, "frames": FRAMES}
    for part in options.parts:
        for found in {"sets": sets, "bias": bias, "fvd": fvd}[part](options):
            results = json.loads(report.read_text()) if report.is_file() else {}
            write(results | {"measured": measured} | found, report)


def write(results: dict[str, Any], report: Path) -> None:
    text = json.dumps(rounded(results), indent=1) + "\n"
    write_atomically(report, lambda temporary: temporary.write_text(text))


def real_clips(options: argparse.Namespace) -> tuple[Faces, dict[str, Tensor]]:
    dataset = Faces("test", size=SIZE, num_frames=FRAMES, length=options.clips)
    return dataset, collect(dataset, options.clips)


def sets(options: argparse.Namespace):
    """Every measure but FVD, of every set; how well motion is estimated; what drawing people does to intervals."""
    dataset, clips = real_clips(options)
    place = options.cache / f"never_{options.clips}.pt"
    if not place.is_file():
        keep(torch.stack([dataset.never_moves(i, TAKES) for i in range(options.clips)]), place)
    clips["never"] = torch.load(place)
    judges = {name: VideoClassifier.load(asset(f"checkpoints/faces64/{folder}")) for name, folder in JUDGES.items()}
    train = collect(Faces("train", size=SIZE, num_frames=FRAMES, length=options.clips), options.clips)["video"]
    Remembering.cache = options.cache
    measures = Remembering(clips, judges, train=train, resamples=400)
    found = {"real": measures.known["real"]}
    yield {"sets": found, "intervals": by_clip_and_by_person(measures), "motion": against_the_truth(clips)}
    for name, make in BREAKINGS.items():
        found[name] = measures.of_one_set("", measures.look(make(clips["video"])))
        yield {"sets": found}
    for name, video in (("again", performed_again(dataset, options.clips)), ("train", train)):
        found[name] = measures.of_one_set("", measures.look(video))
        yield {"sets": found}


def by_clip_and_by_person(measures: VideoMeasures) -> dict[str, Any]:
    """How much wider intervals are where people are drawn."""
    seen, found = measures.of_real, {}
    counts = measures.subject.unique(return_counts=True)[1]
    for name in ("identity_distance", "flicker_of_still", "nearest_train_picture", "nearest_train_motion"):
        values = seen.scores[name]
        people, clips = (mean_estimate(values, subject=s) for s in (measures.subject, None))
        found[name] = {"by_clip": clips, "by_person": people, "ratio": width(people) / width(clips)}
    return {"people": len(counts), "most_clips_of_one": int(counts.max()), "figures": found}


def width(estimate: Estimate) -> float:
    return estimate.high - estimate.low


def against_the_truth(clips: dict[str, Tensor]) -> dict[str, float]:
    """Estimated motion of 60 real clips against their true flow."""
    flow = in_pixels(since_frame_0(estimate_steps(clips["video"][:60])))
    true = in_pixels(clips["flow"][:60, :, 1:])
    error, length = (flow - true).norm(dim=1), true.norm(dim=1)

    def by_place(maps: Tensor) -> Tensor:
        return maps.unflatten(-1, (4, -1)).unflatten(-3, (4, -1)).mean(dim=(-1, -3))

    def correlation(a: Tensor, b: Tensor) -> float:
        return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()

    found = flow.norm(dim=1)
    return {
        "clips": len(flow),
        "ratio": (found.mean() / length.mean()).item(),
        "correlation_of_clips": correlation(found.flatten(1).mean(1), length.flatten(1).mean(1)),
        "correlation_of_places": correlation(by_place(found), by_place(length)),
        "correlation_of_pixels": correlation(found, length),
        "correlation_with_sign": correlation(flow, true),
        "end_point_error": error.mean().item(),
        "end_point_error_of_zero_flow": length.mean().item(),
    }


def bias(options: argparse.Namespace):
    """Distances of two sets without a fault, of more and more clips: the same people perform anew in either.

    Clips of 8 frames: there are many.
    """
    most = 2 * SIZES[-1] + 10 * FEW  # some over, so that either side has enough
    dataset = Faces("test", size=SIZE, num_frames=FRAMES // 2, length=most, seed=1)
    judge = VideoClassifier.load(asset("checkpoints/faces64/judge"))
    rows = []
    for start in range(0, most, FEW * 10):
        place = options.cache / f"bias_{start:05d}.pt"
        if not place.is_file():
            video = torch.stack([dataset[i]["video"] for i in range(start, start + FEW * 10)])
            with torch.no_grad():
                keep(judge.features(video), place)
        rows.append(torch.load(place))
    features, turn = torch.cat(rows), torch.arange(most) // len(dataset.labels) % 2 == 0  # each label on either side
    sides = features[turn][: SIZES[-1]], features[~turn][: SIZES[-1]]
    sizes = [size for size in SIZES if size <= min(len(side) for side in sides)]
    curve = [at._asdict() for at in bias_curve(*sides, sizes)]
    infinity = {n: frechet_at_infinity(*(side[:n] for side in sides)) for n in sizes if n >= 100}
    about = {"features": features.shape[1], "frames": FRAMES // 2}
    yield {"bias_first_judge": about | {"curve": curve, "at_infinity": infinity}}


def fvd(options: argparse.Namespace):
    """FVD of one half of the people against the other, for every fault, and for three ways to enlarge frames."""
    _, clips = real_clips(options)
    real, half = clips["video"], half_of_the_people(clips["subject"])
    one, other = ({"subject": clips["subject"][side]} for side in (half, ~half))
    videos = {"A": real[half], "B": real[~half]}
    videos |= {name: make(real)[half] for name, make in BREAKINGS.items() if name != "another"}
    videos["train"] = collect(Faces("train", size=SIZE, num_frames=FRAMES, length=CLIPS // 2), CLIPS // 2)["video"]
    network, seconds = load_i3d(), []

    def features(name: str, how: str, clips: int) -> Tensor:
        rows = []
        for start in range(0, clips, FEW):
            place = options.cache / f"{name}_{how}_{start // FEW:02d}.pt"
            if not place.is_file():
                began, some = time.process_time(), videos[name][start : start + FEW]
                keep(i3d_features(network, some, how), place)
                seconds.append((time.process_time() - began) / len(some))
            rows.append(torch.load(place))
        return torch.cat(rows)[:clips]

    n = min(options.fvd_clips, len(videos["A"]), len(videos["B"]))
    people = {"subject": one["subject"][:n], "subject_b": other["subject"][:n]}
    wanted, found = features("B", "published", n), {}
    for name in ["A", *(name for name in videos if name not in "AB")]:
        rows = features(name, "published", n)
        sides = people if name != "train" else {}  # other people altogether
        found["real" if name == "A" else name] = {
            "frechet": frechet_distance(rows, wanted, **sides),
            "kernel": kernel_distance(rows, wanted, **sides),
        }
        yield {"fvd": {"protocol": str(FrechetProtocol(n, FRAMES, SIZE)), "other_people": found}}
    sizes = [size for size in (10, 20, 50, 100) if size <= n]
    curve = [at._asdict() for at in bias_curve(features("A", "published", n), wanted, sizes)]
    found_also = {"bias_curve": curve, "enlarged": {}}
    few = min(FEW, n)
    for how in ENLARGEMENTS:
        theirs = features("B", how, few)
        found_also["enlarged"][how] = {
            ("real" if name == "A" else name): frechet_distance(features(name, how, few), theirs, resamples=1).value
            for name in ("A", "shuffle")
        }
    published = {name: features(name, "published", few) for name in ("A", "B")}
    found_also["enlarged"]["clips"] = few
    for how in ENLARGEMENTS[1:]:
        gap = (features("A", how, few) - published["A"]).norm(dim=1).mean()
        between = torch.cdist(published["A"], published["A"]).sum() / (few * (few - 1))
        found_also["enlarged"][f"{how}_moves_features_by_share_of_clips_distance"] = (gap / between).item()
    if seconds:
        found_also["seconds_of_processor_a_clip"] = sum(seconds) / len(seconds)
    yield {"fvd": {"protocol": str(FrechetProtocol(n, FRAMES, SIZE)), "other_people": found} | found_also}


def rounded(value: Any) -> Any:
    """With five digits, and as JSON writes it."""
    if isinstance(value, Estimate):
        return rounded(vars(value))
    if isinstance(value, dict):
        return {str(name): rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
