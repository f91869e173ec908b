"""What is asked of a motion against what the ruler reads in the decoded frames, for each kind of control.

    nice python assets/runs/control/measure.py --cache FOLDER

writes `measured.json` beside this file. Motions are generated once and kept in FOLDER, so that it can be stopped at
any time and goes on where it was; the file is written again after every part. Pictures are frame 0 of test clips; the
model is `faces64`, ten steps of DPM-Solver++, guidance 1 (nothing is exaggerated unless a part says so). The ruler
(`ruler/`) and the judges took no part in generating. `--parts` names some of: strength, seen, timing, point, place,
mixing, longer, several.
"""

import argparse
import copy
import hashlib
import json
import math
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from lfdm_lite import LFDM, Motion, asset
from lfdm_lite.control import (
    PLACES,
    composed,
    draw_motion,
    exaggerated,
    mask_of,
    mixed,
    only,
    pulled,
    retimed,
    scaled,
    windowed,
)
from lfdm_lite.data import Faces
from lfdm_lite.data.drawn.acting.expressions import Acting
from lfdm_lite.evaluation.frames import identity_distance
from lfdm_lite.evaluation.judges import VideoClassifier
from lfdm_lite.evaluation.rulers.faces import LANDMARKS, PLACE_OF, Measured, Ruler, true_clip
from lfdm_lite.files.atomic import write_atomically
from lfdm_lite.geometry import identity_grid, sample_at
from lfdm_lite.samplers import guided

HERE = Path(__file__).parent
STEPS, SCALE, GUIDED = 10, 1.0, 1.5  # sampling steps, guidance; where it is said, the model's own guidance
FEW, FARTHER = 12, 2.0  # pictures of what costs much; how far the wish for a turn is exaggerated, where it is
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
LOW, HIGH = 0.5, 1.45  # strengths that the model was told in training
ONSETS, RISES = (0.0, 2.0, 4.0, 6.0, 8.0), (2.0, 4.0, 6.0, 8.0)  # frames
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
PAIRS = (("fear", "surprise"), ("anger", "happiness"))
HANDLES = ("mouth_left", "mouth_right", "brow_left_inner", "brow_right_outer", "lip_lower")
HALF = 32  # pixels of a normalized unit


class Bench:
    """The model, the pictures, and what looks at clips."""

    def __init__(self, cache: Path, count: int) -> None:
        self.cache, self.count = cache, count
        self.model = LFDM.from_pretrained(asset("checkpoints/faces64"))
        self.ruler = Ruler.load(HERE / "ruler")
        self.ruler_code = hashlib.sha256((HERE / "ruler" / "model.safetensors").read_bytes()).hexdigest()[:12]
        self.judges = {name: VideoClassifier.load(asset(f"checkpoints/faces64/{name}")) for name in JUDGES}
        self.faces = Faces("test", length=count)
        clips = [true_clip(self.faces, i) for i in range(count)]
        self.source = torch.stack([video[:, 0] for video, _ in clips])
        self.true = Measured(*(torch.cat(parts) for parts in zip(*(true for _, true in clips), strict=True)))
        self.label = torch.tensor([i % 6 for i in range(count)])
        with torch.no_grad():
            self.features = self.model.autoencoder.encode(self.source)

    def told(self, strength: float | None = None, turn: float | None = None, n: int | None = None) -> Tensor:
        row = [math.nan if value is None else value for value in (strength, turn)]
        return torch.tensor([row]).expand(n or self.count, -1)

    def kept(self, name: str, make: Callable[[slice], Motion], n: int | None = None, batch: int = 3) -> Motion:
        """Motions of the first n pictures, made a batch at a time, or as they were made before."""
        parts = []
        for begin in range(0, n or self.count, batch):
            place = self.cache / f"{name}_{begin:03d}.pt"
            if not place.is_file():
                motion = make(slice(begin, min(begin + batch, n or self.count)))
                half = [maps.float().half() for maps in motion]
                write_atomically(place, lambda temporary, half=half: torch.save(half, temporary))
            parts.append([maps.float() for maps in torch.load(place)])
        return Motion(*map(torch.cat, zip(*parts, strict=True)))

    def plain(
        self, name: str, strength=None, turn=None, label: Tensor | None = None, n=None, frames=None, scale=SCALE
    ) -> Motion:
        """As `LFDM.generate` draws them."""
        label = self.label if label is None else label

        def make(some: slice) -> Motion:
            told = self.told(strength, turn)[some]
            denoise = guided(self.model.unet, self.features[some], label[some], scale, told)
            return draw_motion(self.model, denoise, len(told), num_frames=frames, steps=STEPS, seed=self.seeds(some))

        return self.kept(name, make, n, batch=3 if frames is None else 1)

    def seeds(self, some: slice) -> list[int]:
        return list(range(self.count))[some]

    @torch.no_grad()
    def decode(self, motion: Motion) -> Tensor:
        """Frames in [0, 1], as eight bits hold them."""
        n = len(motion.flow)
        parts = [
            self.model.autoencoder.decode(self.source[i : i + 4][: n - i], Motion(*(m[i : i + 4] for m in motion)))
            for i in range(0, n, 4)
        ]
        return (255 * torch.cat(parts).float().clamp(0, 1)).round() / 255

    def look(self, motion: Motion) -> tuple[Tensor, Measured]:
        """Decoded frames and what the ruler reads in them; kept, for several parts look at the same motions."""
        code = hashlib.sha256(b"".join(maps.contiguous().numpy().tobytes() for maps in motion)).hexdigest()[:24]
        place = self.cache / f"seen_{code}.pt"
        if not place.is_file():
            frames = (255 * self.decode(motion)).round().byte()
            write_atomically(place, lambda temporary: torch.save([frames], temporary))
        video, reading = torch.load(place)[0].float() / 255, self.cache / f"read_{self.ruler_code}_{code}.pt"
        if not reading.is_file():
            found = list(self.ruler.measure(video))
            write_atomically(reading, lambda temporary: torch.save(found, temporary))
        return video, Measured(*torch.load(reading))

    def identity(self, video: Tensor) -> Tensor:
        return identity_distance(video, self.source[: len(video)])

    @torch.no_grad()
    def reads(self, video: Tensor) -> dict[str, Tensor]:
        return {name: judge.probabilities(video) for name, judge in self.judges.items()}


JUDGES = ("judge", "judge_of_faces")


def against(asked: Tensor, read: Tensor, span: float) -> dict[str, float]:
    """Correlation, mean and worst error, also as a share of the range that was asked for, bias, and the slope."""
    gap = read - asked
    slope = ((asked - asked.mean()) * (read - read.mean())).sum() / (asked - asked.mean()).square().sum()
    return {
        "clips": len(gap),
        "correlation": torch.corrcoef(torch.stack([asked, read]))[0, 1].item(),
        "error": gap.abs().mean().item(),
        "error_of_range": gap.abs().mean().item() / span,
        "worst": gap.abs().max().item(),
        "bias": gap.mean().item(),
        "slope": slope.item(),
    }


def strength(bench: Bench):
    """By telling the model, by scaling the motion of strength 1, and by both: what cannot be told is scaled."""
    levels = (LOW, 0.75, 1.0, 1.25, HIGH)
    told = {s: bench.plain(f"strength_{s}", strength=s) for s in levels}
    exaggerating = {s: bench.plain(f"strength_{s}_guided", strength=s, scale=GUIDED) for s in levels}
    near = {s: min(max(s, LOW), HIGH) for s in STRENGTHS}
    ways = {
        "told": told,
        "told_guided": exaggerating,
        "scaled": {s: scaled(told[1.0], s) for s in STRENGTHS},
        "both": {s: scaled(told[near[s]], s / near[s]) for s in STRENGTHS},
        "both_guided": {s: scaled(exaggerating[near[s]], s / near[s]) for s in STRENGTHS},  # as `lfdm generate` does
    }
    found: dict[str, Any] = {}
    for way, motions in ways.items():
        rows = {}
        for s, motion in motions.items():
            video, read = bench.look(motion)
            reads = bench.reads(video)
            right = {name: (p.argmax(1) == bench.label).float().mean().item() for name, p in reads.items()}
            rows[s] = {
                "read": read.strength.tolist(),
                "turn": read.turn.abs().mean().item(),
                "identity": bench.identity(video).mean().item(),
                "identity_worst": bench.identity(video).max().item(),
                **{f"read_as_asked_{name}": value for name, value in right.items()},
            }
        asked = torch.cat([torch.full((bench.count,), s) for s in rows])
        read = torch.cat([torch.tensor(row["read"]) for row in rows.values()])
        found[way] = {"all": against(asked, read, max(rows) - min(rows)), "by_strength": rows}
        inside = (asked >= LOW) & (asked <= HIGH)
        found[way]["as_told"] = against(asked[inside], read[inside], HIGH - LOW)
    yield {"strength": found}


def carried(motion: Motion, strength: float, rounds: int = 8) -> Motion:
    """Scaled, and each vector taken to where its pixel is by then: what is at p now will be at p - (1 - s) f."""
    maps = torch.cat(list(motion), dim=1).transpose(1, 2)
    grid, full = identity_grid(*maps.shape[-2:])[None], maps.flatten(0, 1)
    found = full
    for _ in range(rounds):
        found = sample_at(full, grid - (1 - strength) * found[:, :2])
    moved = found.unflatten(0, maps.shape[:2]).transpose(1, 2)
    return Motion(strength * moved[:, :2], motion.rest.lerp(moved[:, 2:], strength).clamp(0, 1))


def seen(bench: Bench):
    """Why half of a motion does not look like half: motions *seen* in drawn clips of every strength, all else alike.

    Each clip is painted with its own motion, with that of strength 1 scaled, with the flow of the one and the map of
    the other, and with the scaled one whose vectors are `carried`.
    """
    n, rows = 24, {}
    drawn = {s: Faces("test", length=n, acting=Acting(strength=(s, s))) for s in STRENGTHS[1:]}
    videos = {s: torch.stack([faces[i]["video"] for i in range(n)]) for s, faces in drawn.items()}
    with torch.no_grad():
        look = bench.model.autoencoder.estimate_motion
        own = {
            s: Motion(*map(torch.cat, zip(*(look(v[:, :, 0], v) for v in video.split(4)), strict=True)))
            for s, video in videos.items()
        }
    source, bench.source = bench.source, videos[1.0][:, :, 0]
    for s, motion in own.items():
        less = scaled(own[1.0], s)
        ways = {"own": motion, "scaled": less, "scaled_flow_own_map": Motion(less.flow, motion.occlusion)}
        ways |= {"own_flow_scaled_map": Motion(motion.flow, less.occlusion), "carried": carried(own[1.0], s)}
        rows[s] = {name: bench.ruler.measure(bench.decode(way)).strength.mean().item() for name, way in ways.items()}
        rows[s] |= {"real": bench.ruler.measure(videos[s]).strength.mean().item()}
        hidden = {"own": motion, "scaled": less}
        rows[s] |= {f"hidden_{name}": 1 - way.occlusion[:, :, -4:].mean().item() for name, way in hidden.items()}
    bench.source = source
    yield {"seen": {"clips": n, "by_strength": rows, "hidden_at_rest": 1 - own[1.0].occlusion[:, :, 0].mean().item()}}


def timing(bench: Bench):
    """Onset and duration of the motions of strength 1, each asked for by itself; beside those that were drawn."""
    n, found = bench.count, {}
    motion = bench.plain("strength_1.0", strength=1.0)
    _, own = bench.look(motion)
    found["own"] = {"onset": own.onset.tolist(), "duration": own.duration.tolist()}
    for name, asked_of, other in (("onset", ONSETS, 4.0), ("duration", RISES, 2.0)):
        rows, gap = {}, []
        for value in asked_of:
            onset, rise = (value, other) if name == "onset" else (other, value)
            video, read = bench.look(retimed(motion, onset, rise))
            rows[value] = {"read": getattr(read, name).tolist(), "strength": read.strength.mean().item()}
            rows[value]["identity"] = bench.identity(video).mean().item()
        asked = torch.cat([torch.full((n,), value) for value in asked_of])
        gap = torch.cat([torch.tensor(row["read"]) for row in rows.values()])
        found[name] = {"all": against(asked, gap, asked_of[-1] - asked_of[0]), "by_value": rows, "other": other}
    yield {"timing": found}


def ring(mask: Tensor, width: int) -> Tensor:
    """Pixels outside of a mask, at most so far from it."""
    grown = nn.functional.max_pool2d(mask[None], 2 * width + 1, 1, width)[0]
    return grown - mask


def place(bench: Bench):
    """Mouth, brows or the left half alone: where the frames change, what happens beside the border, who it is."""
    motion, found = bench.plain("strength_1.0", strength=1.0), {}
    turning = bench.plain("turn_0.3", strength=1.0, turn=0.3, n=FEW)
    rest = scaled(motion, 0)
    rest_video, still = bench.look(rest)
    full_video, full = bench.look(motion)
    cases = {name: (motion, name) for name in ("mouth", "brows", "left_half")}
    cases["left_half_turning"] = (turning, "left_half")
    for title, (whole, name) in cases.items():
        n = len(whole.flow)
        inside, small = mask_of(name, 64, 64), mask_of(name, 32, 32)
        rows = {}
        outwards = torch.from_numpy(gaussian_filter(small.numpy(), 1.0, mode="nearest"))
        for softness, share in ((0.0, small), (1.0, small), ("outwards", outwards)):
            video, read = bench.look(only(whole, share, softness if share is small else 0))
            change = (video - rest_video[:n]).abs().mean(dim=1)[:, 1:]  # b t h w
            near = (inside + ring(inside, 4)).clamp(max=1)  # with four pixels of border, over which the mask fades
            total = change.sum((1, 2, 3))
            beside = ring(inside, 3)
            row = {
                "inside": ((change * inside).sum((1, 2, 3)) / total).mean().item(),
                "inside_worst": ((change * inside).sum((1, 2, 3)) / total).min().item(),
                "inside_and_4_px": ((change * near).sum((1, 2, 3)) / total).mean().item(),
                "error_beside": ((change * beside).sum((1, 2, 3)) / beside.sum() / 15).mean().item(),
                "identity": bench.identity(video).mean().item(),
                "roughness_at_border": roughness(video, inside),
                "roughness_of_rest": roughness(rest_video[:n], inside),
            }
            if title in PLACE_OF:
                names, others = PLACE_OF[title], [k for part, k in PLACE_OF.items() if part != title]
                row["moved"] = HALF * read.moved(*names)[:, -1].mean().item()
                row["moved_of_full"] = HALF * full.moved(*names)[:n, -1].mean().item()
                row["others_moved"] = HALF * read.moved(*sum(others, ()))[:, -1].mean().item()
                row["others_moved_of_full"] = HALF * full.moved(*sum(others, ()))[:n, -1].mean().item()
            rows[softness] = row
        change = (full_video - rest_video).abs().mean(dim=1)[:, 1:]
        own = ((change * inside).sum((1, 2, 3)) / change.sum((1, 2, 3))).mean().item()
        found[title] = {"by_softness": rows, "inside_of_full": own, "clips": n, "box": PLACES[name]}
    found["ruler_at_rest"] = {part: HALF * still.moved(*k)[:, -1].mean().item() for part, k in PLACE_OF.items()}
    yield {"place": found}


def roughness(video: Tensor, mask: Tensor) -> float:
    """Mean second difference across the vertical borders of a mask, in 255ths: a seam is rough."""
    step = (mask[:, 1:] - mask[:, :-1]).abs() > 0  # h w-1, between columns
    step[:, :2] = step[:, -2:] = False
    bend = (video[..., 1:] - video[..., :-1])[:, :, 1:].abs().mean(1)  # b t h w-1
    before = (video[..., 1:] - video[..., :-1])[:, :, :1].abs().mean(1)
    return 255 * (bend - before)[..., step].clamp(min=0).mean().item()


def mixing(bench: Bench):
    """From one label to another: guidance composed, embeddings interpolated, flows averaged."""
    n, labels, found = FEW, bench.model.labels, {}
    for first, second in PAIRS:
        ids = [labels.index(first), labels.index(second)]
        pair = torch.tensor([ids]).expand(n, -1)
        ends = [bench.plain(f"end_{x}", strength=1.0, label=pair[:, k], n=n) for k, x in enumerate((first, second))]

        def compose(w: float, pair=pair) -> Callable[[slice], Motion]:
            def make(some: slice) -> Motion:
                told = bench.told(1.0)[:n][some]
                denoise = composed(bench.model.unet, bench.features[:n][some], pair[some], (1 - w, w), SCALE, told)
                return draw_motion(bench.model, denoise, len(told), steps=STEPS, seed=bench.seeds(some))

            return make

        def interpolate(w: float, ids=ids) -> Callable[[slice], Motion]:
            unet = copy.deepcopy(bench.model.unet)
            rows = unet.label.weight
            between = (1 - w) * rows[ids[0]] + w * rows[ids[1]]
            unet.label = nn.Embedding.from_pretrained(torch.cat([rows, between[None]]))

            def make(some: slice) -> Motion:
                told = bench.told(1.0)[:n][some]
                new = torch.full((len(told),), len(rows))
                denoise = guided(unet, bench.features[:n][some], new, SCALE, told)
                return draw_motion(bench.model, denoise, len(told), steps=STEPS, seed=bench.seeds(some))

            return make

        name, inner = f"{first}_{second}", WEIGHTS[1:-1]
        ways = {
            "composed": {w: bench.kept(f"composed_{name}_{w}", compose(w), n) for w in inner},
            "embedding": {w: bench.kept(f"embedding_{name}_{w}", interpolate(w), n) for w in inner},
            "flows": {w: mixed(ends, (1 - w, w)) for w in inner},
        }
        seen = [bench.look(end) for end in ends]
        reach = [HALF * (read.landmarks[:, -1] - read.landmarks[:, 0]) for _, read in seen]  # n k 2
        whole = (reach[1] - reach[0]).flatten(1)
        for way, motions in ways.items():
            rows = {}
            for w, motion in {0.0: ends[0], **motions, 1.0: ends[1]}.items():
                video, read = bench.look(motion)
                here = (HALF * (read.landmarks[:, -1] - read.landmarks[:, 0]) - reach[0]).flatten(1)
                along = (here * whole).sum(1) / whole.square().sum(1)
                off = (here - along[:, None] * whole).unflatten(1, (-1, 2)).norm(dim=-1).mean(1)
                row = {"along": along.mean().item(), "off_px": off.mean().item()}
                row["strength"] = read.strength.mean().item()
                for judge, p in bench.reads(video).items():
                    row[judge] = {label: p[:, i].mean().item() for label, i in zip((first, second), ids, strict=True)}
                    row[judge]["other"] = 1 - sum(row[judge].values())
                row["identity"] = bench.identity(video).mean().item()
                rows[w] = row
            found.setdefault(name, {})[way] = rows
    yield {"mixing": found | {"clips": n}}


def several(bench: Bench):
    """Label, strength and turn asked for at once, each clip another combination; the turn alone exaggerated, too."""
    n, found = FEW, {}

    def farther(strength: float, turn: float) -> Callable[[slice], Motion]:
        def make(some: slice) -> Motion:
            told = [bench.told(strength, angle)[:n][some] for angle in (None, turn)]
            given = bench.features[some], bench.label[some], GUIDED
            denoise = exaggerated(*(guided(bench.model.unet, *given, numbers) for numbers in told), FARTHER)
            return draw_motion(bench.model, denoise, len(told[0]), steps=STEPS, seed=bench.seeds(some))

        return make

    for title, scale in (("plain", SCALE), ("guided", GUIDED), ("turn_exaggerated", GUIDED)):
        rows = []
        for s, turn in product((0.6, 1.3), (-0.25, 0.0, 0.25)):
            name = f"several_{s}_{turn}_{title}_{scale}"
            if title == "turn_exaggerated":
                motion = bench.kept(name, farther(s, turn), n)
            else:
                motion = bench.plain(name, strength=s, turn=turn, n=n, scale=scale)
            video, read = bench.look(motion)
            right = {k: (p.argmax(1) == bench.label[:n]).float().mean().item() for k, p in bench.reads(video).items()}
            rows.append({"strength": s, "turn": turn, "read_strength": read.strength.tolist(), **right})
            rows[-1] |= {"read_turn": read.turn.tolist(), "identity": bench.identity(video).mean().item()}
        found[title] = {"rows": rows, "guidance_scale": scale}
        for name, span in (("strength", 0.7), ("turn", 0.5)):
            asked = torch.cat([torch.full((n,), row[name]) for row in rows])
            read = torch.cat([torch.tensor(row[f"read_{name}"]) for row in rows])
            found[title][name] = against(asked, read, span)
    yield {"several": found}


def point(bench: Bench):
    """A landmark is dragged by three to five pixels, alone or with eight points around it; where the ruler finds it."""
    dice = torch.Generator().manual_seed(0)
    which = [HANDLES[i % len(HANDLES)] for i in range(bench.count)]
    index = torch.tensor([LANDMARKS.index(name) for name in which])
    each = torch.arange(bench.count)
    start = bench.true.landmarks[each, 0, index]  # n 2
    angle, length = torch.rand(2, bench.count, generator=dice) * torch.tensor([[2 * math.pi], [2.0]])
    length = 3 + length
    end = start + length[:, None] / HALF * torch.stack([angle.cos(), angle.sin()], dim=1)

    steps = torch.linspace(-1, 1, 3) * 2 / HALF  # a pixel of the motion's map is two of the picture
    patch = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1).view(-1, 2)

    def draw(around: Tensor | None) -> Callable[[slice], Motion]:
        def make(some: slice) -> Motion:
            i = some.start
            denoise = guided(bench.model.unet, bench.features[some], bench.label[some], SCALE, bench.told()[some])
            if around is not None:
                denoise = pulled(bench.model.diffusion, denoise, 15, start[i] + around, end[i] + around)
            return draw_motion(bench.model, denoise, 1, steps=STEPS, seed=i)

        return make

    ways = {"free": ("point_free", None), "pulled": ("point", torch.zeros(1, 2)), "patch": ("point_patch", patch)}
    motions = {name: bench.kept(kept, draw(around), batch=1) for name, (kept, around) in ways.items()}
    found: dict[str, Any] = {"handles": which, "asked_px": length.tolist()}
    places = {}
    for name, motion in motions.items():
        video, read = bench.look(motion)
        places[name] = read.landmarks[:, -1]
        gap = HALF * (read.landmarks[each, -1, index] - end).norm(dim=1)
        right = {k: (p.argmax(1) == bench.label).float().mean().item() for k, p in bench.reads(video).items()}
        found[name] = {"miss_px": gap.mean().item(), "worst_px": gap.max().item(), "misses": gap.tolist(), **right}
        found[name] |= {"identity": bench.identity(video).mean().item(), "strength": read.strength.mean().item()}
        found[name]["at_rest_px"] = (HALF * (read.landmarks[each, 0, index] - start).norm(dim=1)).mean().item()
    for name in ways:
        gone = HALF * (places[name] - places["free"]).norm(dim=-1)  # n k
        others = torch.ones_like(gone, dtype=torch.bool).scatter(1, index[:, None], False)
        found[name] |= {"handle_went_px": gone[~others].mean().item(), "others_went_px": gone[others].mean().item()}
        at_end = sample_at(motions[name].flow[:, :, 15], end[:, :, None, None])[:, :, 0, 0] - (start - end)
        found[name]["flow_miss_px"] = HALF * at_end.norm(dim=1).mean().item()
    yield {"point": found}


def longer(bench: Bench):
    """Sixty-four frames of a model of sixteen: asked for at once, in overlapping windows, and forth and back."""
    n, found = 4, {}

    def windows(some: slice) -> Motion:
        told = bench.told(1.0)[some]
        plain = guided(bench.model.unet, bench.features[some], bench.label[some], SCALE, told)
        denoise = windowed(plain, 16, 8)
        return draw_motion(bench.model, denoise, len(told), num_frames=64, steps=STEPS, seed=bench.seeds(some))

    def again(some: slice) -> Motion:
        told = bench.told(1.0)[some]
        denoise = guided(bench.model.unet, bench.features[some], bench.label[some], SCALE, told)
        seeds = [100 + i for i in bench.seeds(some)]
        return draw_motion(bench.model, denoise, len(told), steps=STEPS, seed=seeds)

    one = bench.plain("strength_1.0", strength=1.0)
    one, two = Motion(*(maps[:n] for maps in one)), bench.kept("again", again, n)
    turns = [Motion(*(maps.flip(2) if back else maps for maps in motion)) for motion in (one, two) for back in (0, 1)]
    motions = {
        "at_once": bench.plain("long", strength=1.0, n=n, frames=64),
        "windows": bench.kept("windows", windows, n, batch=1),
        "forth_and_back": Motion(*(torch.cat(parts, dim=2) for parts in zip(*turns, strict=True))),
        "sixteen": one,
    }
    for name, motion in motions.items():
        video, read = bench.look(motion)
        step = (motion.flow[:, :, 1:] - motion.flow[:, :, :-1]).norm(dim=1).mean((2, 3)) * HALF
        found[name] = {
            "level": read.level.mean(0).tolist(),
            "strength": read.strength.mean().item(),
            "largest_step_px": step.amax(1).mean().item(),
            "identity_last": identity_distance(video[:, :, -4:], bench.source[:n]).mean().item(),
            "identity": bench.identity(video).mean().item(),
        }
    yield {"longer": found | {"clips": n}}


PARTS = {"strength": strength, "seen": seen, "timing": timing, "point": point, "place": place, "mixing": mixing}
PARTS |= {"longer": longer, "several": several}


def rounded(value: Any) -> Any:
    """With four digits, and as JSON writes it."""
    if isinstance(value, dict):
        return {str(name): rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cache", type=Path, required=True, help="a folder for generated motions")
    parser.add_argument("--clips", type=int, default=48, help="pictures (default: %(default)s)")
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS), help="all unless given")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    bench, report = Bench(options.cache, options.clips), HERE / "measured.json"
    about = {"model": "faces64", "split": "test", "clips": options.clips, "steps": STEPS, "guidance_scale": SCALE}
    about |= {"torch": torch.__version__}
    own = json.loads((HERE / "ruler" / "metrics.json").read_text())["test"]
    for part in options.parts:
        for found in PARTS[part](bench):
            results = json.loads(report.read_text()) if report.is_file() else {}
            text = json.dumps(rounded(results | {"measured": about, "ruler": own} | found), indent=1) + "\n"
            text = re.sub(r"\[[^\[\]{}]*\]", lambda listed: re.sub(r"\s+", " ", listed[0]), text)  # lists in a line
            write_atomically(report, lambda temporary, text=text: temporary.write_text(text))
        print(part, flush=True)


if __name__ == "__main__":
    main()
