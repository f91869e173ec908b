"""What finetuned models paint on test clips of new domains, and what they forget of the old one.

`python assets/runs/domains/measure.py --runs FOLDER` measures what `train.py` has left in FOLDER and adds to
`measured.json` and `per_clip.npz` beside this file. Rows are kept in FOLDER, too; those that are anywhere are not
measured again, unless all are by `--afresh`, which also writes `samples.webp`.

`per_clip.npz` has an array (rows, clips) for every measure, so that intervals over people and differences clip by clip
can be had; NaN where a clip has no such place. Frames 1, 4, 7, 10 and 13 of every clip count, painted from frame 0.
`psnr_borrowed` paints a look with the motion that the model before saw in the clip of `Faces` that moves alike. Rows of
`nothing`, the model before, have controls beside them: frame 0 repeated, and no motion.
"""

import argparse
import copy
import json
import math
import re
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from lfdm_lite import LFDM, LatentFlowAutoencoder, Motion, asset
from lfdm_lite.data import Faces, Figures, Sketches
from lfdm_lite.evaluation.judges import VideoClassifier
from lfdm_lite.evaluation.lpips import LPIPS, load_lpips
from lfdm_lite.evaluation.parts import EVERY, look_closer, lpips_where, places, psnr_where
from lfdm_lite.evaluation.tables import collect
from lfdm_lite.evaluation.truth import split_pixels
from lfdm_lite.files.atomic import write_json
from lfdm_lite.flow import in_pixels
from lfdm_lite.geometry import resize
from lfdm_lite.training.engine.saving import read_state

HERE = Path(__file__).parent
CLIPS, SAMPLING = 24, {"steps": 4, "guided_steps": 1}  # test clips of a row; how their videos are generated
SEEN = slice(1, None, EVERY)  # frames
LOOKS = ("ink", "night", "photo")
SETS = {"faces": lambda: Faces("test", length=CLIPS), "figures": lambda: Figures("test", length=CLIPS)}
SETS |= {look: lambda look=look: Sketches("test", length=CLIPS, look=look) for look in LOOKS}
PLACES = ("all", "eyes", "mouth", "hidden", "eyes_mouth")
SHOWN = 4  # clip of the samples, and its frame
FRAME = 13


@cache
def clips(name: str) -> dict[str, Tensor]:
    """Test clips of a domain, with their true parts where it has faces."""
    dataset = SETS[name]()
    return collect(dataset, CLIPS) | look_closer(dataset, CLIPS, takes=1)


@cache
def lpips() -> LPIPS:
    return load_lpips("alexnet")


@cache
@torch.no_grad()
def motion_of_faces() -> Motion:
    """What the model before sees in the clips of `Faces`."""
    video = clips("faces")["video"]
    parts = [original().estimate_motion(some[:, :, 0], some[:, :, SEEN]) for some in video.split(4)]
    return Motion(*map(torch.cat, zip(*parts, strict=True)))


@cache
def original() -> LatentFlowAutoencoder:
    return LFDM.from_pretrained(asset("checkpoints/faces64")).autoencoder.eval()


def network(runs: Path, run: str, step: int | None = None) -> LatentFlowAutoencoder:
    """The average of a run's weights after so many steps, or at its end; `nothing` is the model before."""
    made = copy.deepcopy(original())
    if run == "statistics":
        return statistics_alone(made)
    if run != "nothing":
        states = sorted((runs / run / "checkpoints").glob("step_*"))
        path = states[-1] if step is None else runs / run / "checkpoints" / f"step_{step:07d}"
        made.load_state_dict(read_state(path)["average"])
    return made


@torch.no_grad()
def statistics_alone(made: LatentFlowAutoencoder, batch: int = 8) -> LatentFlowAutoencoder:
    """No weight moves; the decoder's batch norms count means and variances anew on 20 clips of the night."""
    train = Sketches("train", length=20, look="night")
    norms = [m for name in ("residual", "up", "merge") for m in getattr(made, name).modules() if hasattr(m, "momentum")]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
        norm.train()
    dice = torch.Generator().manual_seed(0)
    for begin in range(0, 40, batch):
        video = torch.stack([train[i % 20]["video"] for i in range(begin, begin + batch)])
        frame = torch.randint(1, 16, (batch,), generator=dice)
        driving = video[torch.arange(batch), :, frame]
        made.decode(video[:, :, 0], made.estimate_motion(video[:, :, 0], driving))
    return made.eval()


@torch.no_grad()
def row(made: LatentFlowAutoencoder, domain: str, control: bool = False) -> dict[str, list[float]]:
    """PSNR and LPIPS by place, and the end-point error of the motion where something truly moves, of every clip.

    Args:
        control: also of frame 0 repeated, and of no motion.
    """
    found: dict[str, list[float]] = {}
    for i in range(0, CLIPS, 4):
        some = {name: value[i : i + 4] for name, value in clips(domain).items()}
        target = some["video"][:, :, SEEN]
        motion = made.estimate_motion(some["video"][:, :, 0], target)
        painted = made.decode(some["video"][:, :, 0], motion)
        true, visible = some["flow"][:, :, SEEN], some["visible"][:, :, SEEN]
        moving = split_pixels(true, visible).moving
        error = in_pixels(resize(motion.flow, target.shape[-2:]) - true).norm(dim=1, keepdim=True)
        over_moving = lambda lengths, moving=moving: (lengths * moving).flatten(1).sum(1) / moving.flatten(1).sum(1)
        scores = {"flow_error": over_moving(error)}
        masks = {"all": torch.ones_like(visible, dtype=torch.bool), "hidden": visible <= 0.5}
        if "part" in some:
            known = places(some["part"][:, :, SEEN], visible)
            masks = {place: known[place] for place in PLACES}
        scores |= {f"psnr_{place}": psnr_where(painted, target, mask) for place, mask in masks.items()}
        few = {place: mask for place, mask in masks.items() if place in ("all", "eyes_mouth")}
        scores |= {f"lpips_{place}": value for (place, _), value in by_frame(painted, target, few).items()}
        if control:
            scores["flow_error_of_none"] = over_moving(in_pixels(true).norm(dim=1, keepdim=True))
            scores["psnr_of_frame_0"] = psnr_where(some["video"][:, :, :1].expand_as(target), target, masks["all"])
        if domain in LOOKS:
            lent = Motion(*(maps[i : i + 4] for maps in motion_of_faces()))
            borrowed = made.decode(some["video"][:, :, 0], lent)
            scores["psnr_borrowed"] = psnr_where(borrowed, target, masks["all"])
        for name, values in scores.items():
            found.setdefault(name, []).extend(round(value, 4 if "lpips" in name else 2) for value in values.tolist())
    return found


def by_frame(painted: Tensor, target: Tensor, masks: dict[str, Tensor]) -> dict[tuple[str, str], Tensor]:
    """LPIPS of all frames that are given: `lpips_where` looks at every third, so each is repeated."""
    repeat = lambda video: video.repeat_interleave(EVERY, dim=2)
    return lpips_where(lpips(), {"": repeat(painted)}, repeat(target), {p: repeat(m) for p, m in masks.items()})


def rows_of(runs: Path) -> dict[str, tuple[str, int | None, str]]:
    """All rows, most important first: run, step (None: the last), domain."""
    trained = {path.parent.name for path in runs.glob("*/model.safetensors")}
    wanted = [("nothing", None, domain) for domain in SETS] + [("statistics", None, "night")]
    of = {run: next(d for d in SETS if run.startswith(d)) for run in trained}
    on_the_way = [run for run in sorted(of) if run in ("night_5", "night_20", "night_100", "night_20_everything")]
    wanted += [(run, None, domain) for run, domain in sorted(of.items())]
    wanted += [(run, None, "faces") for run in sorted(of)]
    wanted += [(run, step, "night") for run in on_the_way for step in (50, 100, 200)]
    return {f"{run} {'end' if step is None else step} {domain}": (run, step, domain) for run, step, domain in wanted}


@cache
@torch.no_grad()
def drawn_from_faces() -> Motion:
    """Motions that the model before draws from frame 0 of clips of `Faces`, with labels and seeds of `generated`."""
    model, few, motions = LFDM.from_pretrained(asset("checkpoints/faces64")), clips("faces"), []
    for i in range(0, CLIPS, 4):
        labels = [model.labels[k] for k in few["label"][i : i + 4].tolist()]
        seeds = list(range(i, i + 4))
        made = model.generate(few["video"][i : i + 4, :, 0], labels, seed=seeds, progress=False, **SAMPLING)
        motions.append((made.flow, made.occlusion))
    return Motion(*map(torch.cat, zip(*motions, strict=True)))


@torch.no_grad()
def generated(runs: Path, run: str, domain: str) -> dict[str, object]:
    """Videos drawn from frame 0 of test clips of a domain, with one run's auto-encoder in the model, and read.

    Borrowed, of what was trained, are those whose motion was drawn by the model before, from the frame 0 of `Faces`
    that belongs to them.
    """
    model = LFDM.from_pretrained(asset("checkpoints/faces64"))
    model.autoencoder = network(runs, run)
    few, made, lent = clips(domain), [], []
    for i in tqdm(range(0, CLIPS, 4), desc=f"{run} on {domain}"):
        labels = [model.labels[k] for k in few["label"][i : i + 4].tolist()]
        image = few["video"][i : i + 4, :, 0]
        seeds = list(range(i, i + 4))
        made.append(model.generate(image, labels, seed=seeds, progress=False, **SAMPLING).video.cpu())
        if run != "nothing":
            lent.append(model.autoencoder.decode(image, Motion(*(maps[i : i + 4] for maps in drawn_from_faces()))))
    video = torch.cat(made)
    films = {"generated": video, "real": few["video"]} | ({"borrowed": torch.cat(lent)} if lent else {})
    read = {"labels": few["label"].tolist()}
    for name in ("judge", "judge_of_faces"):
        judge = VideoClassifier.load(asset(f"checkpoints/faces64/{name}"))
        for whose, film in films.items():
            read[f"{name}_reads_{whose}"] = judge.probabilities(film).argmax(1).tolist()
    rest = psnr_where(video[:, :, :1], few["video"][:, :, :1], torch.ones_like(few["visible"][:, :, :1]).bool())
    return read | {"psnr_of_frame_0": [round(value, 2) for value in rest.tolist()]}


def samples(runs: Path) -> list[tuple[str, Tensor]]:
    """Frame 13 of one test clip a domain, painted from frame 0 by what several runs and steps have made."""
    shown = []
    steps = [("nothing", None, "0"), *(("20", step, str(step)) for step in (50, 100)), ("20", None, "300")]
    more = {"night": [("5", None, "5 clips"), ("100", None, "100 clips"), ("20_everything", None, "everything")]}
    more["figures"] = [("20_everything", None, "everything")]
    for domain in (*LOOKS, "figures"):
        few = {name: value[SHOWN : SHOWN + 1] for name, value in clips(domain).items()}
        source, driving = few["video"][:, :, 0], few["video"][:, :, FRAME]
        shown += [(f"{domain} frame 0", source), (f"{domain} true", driving)]
        for run, step, name in steps + more.get(domain, []):
            made = network(runs, run if run == "nothing" else f"{domain}_{run}", step)
            with torch.no_grad():
                shown.append((f"{domain} {name}", made.decode(source, made.estimate_motion(source, driving))))
    return [(name, frame[0].clamp(0, 1)) for name, frame in shown]


def write_samples(runs: Path, place: Path) -> list[str]:
    """All samples side by side in one picture; their names, from left to right."""
    named = samples(runs)
    strip = torch.cat([frame for _, frame in named], dim=2)
    Image.fromarray((255 * strip).round().byte().permute(1, 2, 0).numpy()).save(place, quality=90, method=6)
    return [name for name, _ in named]


def write_rows(rows: dict[str, dict[str, list[float]]], place: Path) -> None:
    """One array (rows, clips) a measure, in half precision."""
    measures = sorted({measure for values in rows.values() for measure in values})
    none = [math.nan] * CLIPS
    table = {name: np.array([values.get(name, none) for values in rows.values()], np.float16) for name in measures}
    np.savez_compressed(place, **table)


def recorded() -> dict[str, dict[str, list[float]]]:
    """The rows beside this file."""
    names, tables = json.loads((HERE / "measured.json").read_text())["rows"], np.load(HERE / "per_clip.npz")
    of = {name: {key: tables[key][i].astype(float).tolist() for key in tables.files} for i, name in enumerate(names)}
    return {name: {k: v for k, v in values.items() if not np.isnan(v).all()} for name, values in of.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="folder that train.py wrote")
    parser.add_argument("--afresh", action="store_true", help="all that is beside this file, too; needs every run")
    given = parser.parse_args()
    place, known = given.runs / "rows.json", json.loads((HERE / "measured.json").read_text())
    kept = json.loads(place.read_text()) if place.exists() else {"rows": {}, "generated": {}}
    before = {"rows": {}, "generated": {}} if given.afresh else {"rows": recorded(), "generated": known["generated"]}
    for name, (run, step, domain) in rows_of(given.runs).items():
        if name not in before["rows"] | kept["rows"]:
            kept["rows"][name] = row(network(given.runs, run, step), domain, control=run == "nothing")
            write_json(place, kept)
            means = {key: round(sum(v) / len(v), 3) for key, v in kept["rows"][name].items() if "eye" not in key}
            print(name, means, flush=True)
    drawn = [("nothing", "faces"), ("nothing", "night"), *((f"{look}_20", look) for look in LOOKS)]
    for run, domain in [*drawn, ("night_20_everything", "night")]:
        if f"{run} {domain}" not in before["generated"] | kept["generated"]:
            kept["generated"][f"{run} {domain}"] = generated(given.runs, run, domain)
            write_json(place, kept)
    rows = before["rows"] | kept["rows"]
    write_rows(rows, HERE / "per_clip.npz")
    recipes = {path.parent.name: json.loads(path.read_text()) for path in sorted(given.runs.glob("*/recipe.json"))}
    runs = {name: {key: recipe[key] for key in ("command", "seconds", "versions")} for name, recipe in recipes.items()}
    for run in runs.values():
        run["command"] = run["command"].replace(str(given.runs), "FOLDER")
    known |= {"clips": CLIPS, "frames": list(range(16))[SEEN], "generated": before["generated"] | kept["generated"]}
    known |= {"subject": {name: clips(name)["subject"].tolist() for name in SETS}, "rows": list(rows)}
    known["runs"] = ({} if given.afresh else known["runs"]) | runs
    if given.afresh:
        known["samples"] = write_samples(given.runs, HERE / "samples.webp")
    (HERE / "measured.json").write_text(as_lines(known))


def as_lines(known: dict[str, object]) -> str:
    """JSON, one line for whatever is a list."""
    text = json.dumps(known, indent=1)
    return re.sub(r"\[[^\[\]{}]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text) + "\n"


if __name__ == "__main__":
    main()
