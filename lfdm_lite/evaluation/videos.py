"""What a set of videos is worth, from its frames alone: the same figures for every generator, beside the same controls.

A video is given for every real clip, made from its frame 0 and its label. How it was made plays no part.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..flow import in_pixels
from ..geometry import resize
from .distances import frechet_across, frechet_distance, kernel_distance
from .frames import Moved, estimate_motion, exchange, flicker, freeze, identity_distance, nearest, shuffle
from .i3d import I3D, FrechetProtocol, i3d_features
from .intervals import Estimate, mean_estimate, ratio_estimate
from .judges import VideoClassifier
from .metrics import label_accuracy, pairwise_flow_distance, psnr
from .truth import beside, split_pixels

COARSE = 16  # pixels to which frames are shrunk before the nearest training clip is looked for


@dataclass(frozen=True)
class Confusion:
    """How often a judge read each label where each was asked for."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]  # a row for every label that was asked for, a column for every one that is read

    def __str__(self) -> str:
        pairs = [
            (count, f"{asked} read as {read} {count}")
            for asked, row in zip(self.labels, self.counts, strict=True)
            for read, count in zip(self.labels, row, strict=True)
            if read != asked and count
        ]
        return ", ".join(text for _, text in sorted(pairs, reverse=True)) or "none"


class Seen(NamedTuple):
    """What is kept of a set of videos, one row a clip."""

    moved: Moved
    scores: dict[str, Float[Tensor, " n"]]  # by the figure's name
    read: dict[str, Int[Tensor, " n"]]  # the label that each judge reads
    features: dict[str, Float[Tensor, "n _"]]  # that Fréchet and kernel distances compare, by the figure's ending


class VideoMeasures:
    """Looks at the real clips and at the controls once; `figures` then measures one set of videos after the other.

    Args:
        clips: `collect`ed: `video`, `label` and `subject`; of drawn ones also `flow` and `visible`, `never` from
            `parts.look_closer`, and `again` from `tables.performed_again`. True flow serves to measure alone.
        judges: by the name that their figures get, such as `judge_of_faces`; of the clips' labels.
        train: clips that the generators learned from, at the same size; without them nobody can say what is a copy.
        i3d: the network of FVD, `i3d.load_i3d()`; without it FVD is left out.
        how, frame_rate: see `frechet_video_distance`.
        resamples: of every interval, people drawn anew; a fifth of them for Fréchet distances.
        seed: of the shuffled frames and the intervals.

    Raises:
        ValueError: clips without `subject`, or a judge of another number of labels.
    """

    def __init__(
        self,
        clips: Mapping[str, Tensor],
        judges: Mapping[str, VideoClassifier],
        train: Float[Tensor, "m 3 t h w"] | None = None,
        i3d: I3D | None = None,
        how: str = "published",
        frame_rate: float | int | None = None,
        resamples: int = 1000,
        seed: int = 0,
    ) -> None:
        if "subject" not in clips:
            raise ValueError("these clips do not say who they show; expected `subject`, a number for every clip")
        self.judges, self.i3d, self.how, self.frame_rate = dict(judges), i3d, how, frame_rate
        self.drawn: dict[str, Any] = {"resamples": resamples, "seed": seed}
        self.real, self.label, self.subject = (clips[name].cpu() for name in ("video", "label", "subject"))
        for name, judge in self.judges.items():
            if int(self.label.max()) >= judge.config.num_labels:
                raise ValueError(f"{name} reads {judge.config.num_labels} labels, the clips have {self.label.max()}")
        self.half = half_of_the_people(self.subject)
        self.never, self.still, self.true_length = clips.get("never"), clips.get("never"), None
        if "flow" in clips:
            pixels = split_pixels(clips["flow"], clips["visible"])
            self.still = pixels.still.all(dim=2) if self.never is None else self.never
            self.true_length = in_pixels(clips["flow"][:, :, 1:]).norm(dim=1).flatten(1).mean(1)
        self.again = estimate_motion(clips["again"]) if "again" in clips else None
        self.train = None if train is None else (coarse(train), estimate_motion(train).features)
        frozen, wrong = freeze(self.real), shuffle(exchange(self.real), seed)
        self.of_real = self.look(self.real)
        self.controls = {"real": self.of_real, "frame_0": self.look(frozen), "broken": self.look(wrong)}
        self.known = {name: self.of_one_set(name, seen) for name, seen in self.controls.items()}
        if self.train is not None:  # what is broken there is a generator that hands out what it learned from
            for figure, rows in zip(("nearest_train_picture", "nearest_train_motion"), self.train, strict=True):
                copies = rows[: len(self.real)]
                self.known["broken"][figure] = mean_estimate(nearest(copies, rows), **self.drawn)

    @torch.no_grad()
    def look(self, video: Float[Tensor, "n 3 t h w"]) -> Seen:
        """All that is kept of videos that belong to the real clips, one to each."""
        moved, frame_0 = estimate_motion(video, self.never), self.real[:, :, 0]
        scores = {
            "psnr_frame_0": psnr(video[:, :, 0], frame_0).clamp(max=58.9),  # what eight bits can tell
            "identity_distance": identity_distance(video, frame_0),
            "estimated_motion_where_never": moved.length_never,
        }
        if self.still is not None:
            scores["flicker_of_still"] = flicker(video, self.still)
        if self.train is not None:
            pixels, motion = self.train
            scores["nearest_train_picture"] = nearest(coarse(video), pixels)
            scores["nearest_train_motion"] = nearest(moved.features, motion)
        read, features = {}, {"motion": moved.features}
        for name, judge in self.judges.items():
            device = next(judge.parameters()).device
            rows = torch.cat([judge.features(some.to(device)).cpu() for some in video.split(16)])
            read[name] = judge.classify(rows.to(device)).argmax(1).cpu()
            features[name] = rows
        if self.i3d is not None:
            features["video"] = i3d_features(self.i3d, video, self.how)
        return Seen(moved, scores, read, features)

    def of_one_set(self, name: str, seen: Seen) -> dict[str, Estimate]:
        """The figures of a generator (named "") or a control."""
        figures: dict[str, Estimate] = {}
        for judge, read in seen.read.items():
            figures[f"read_as_asked_{judge}"] = label_accuracy(read, self.label, subject=self.subject, **self.drawn)
        for figure, values in seen.scores.items():
            there = ~values.isnan()
            if there.any():
                figures[figure] = mean_estimate(values[there], subject=self.subject[there], **self.drawn)
        if self.true_length is not None and self.true_length.mean() > 0:
            lengths = seen.moved.length, self.true_length
            figures["estimated_motion_ratio"] = ratio_estimate(*lengths, subject=self.subject, **self.drawn)
        if (self.label[:, None] == self.label).sum() > len(self.label):
            flow = seen.moved.flow * (self.real.shape[-1] / 2)
            spread = pairwise_flow_distance(flow, self.label, subject=self.subject, **self.drawn)
            figures["diversity_of_label"] = spread
        for features, rows in seen.features.items():
            figures |= self.distances(name, features, rows)
        return figures

    def distances(self, name: str, features: str, rows: Float[Tensor, "n d"]) -> dict[str, Estimate]:
        """Fréchet and kernel distances to all real clips, and of one half of the people to the real other half."""
        real, half, people = self.of_real.features[features], self.half, self.subject
        measures = {
            f"frechet_{features}": partial(frechet_distance, resamples=max(1, self.drawn["resamples"] // 5)),
            f"kernel_{features}": partial(kernel_distance, resamples=self.drawn["resamples"]),
        }
        figures = {}
        for figure, measure in measures.items():
            if name != "real":  # nothing is learned from a set against itself
                figures[figure] = measure(rows, real, subject=people, seed=self.drawn["seed"])
            sides = {"subject": people[half], "subject_b": people[~half]}
            figures[f"{figure}_other_people"] = measure(rows[half], real[~half], **sides, seed=self.drawn["seed"])
        return figures

    def between(self, first: Moved, second: Moved) -> Estimate:
        """Mean distance of two motions of every clip, in pixels of the clips."""
        gap = (first.flow - second.flow).norm(dim=1).flatten(1).mean(1) * (self.real.shape[-1] / 2)
        return mean_estimate(gap, subject=self.subject, **self.drawn)

    def figures(
        self, made: Float[Tensor, "n 3 t h w"], again: Float[Tensor, "n 3 t h w"] | None = None
    ) -> dict[str, Any]:
        """What the videos of one generator are worth, each figure followed by those of the controls.

        Args:
            made: one for each clip, from its frame 0 and its label.
            again: the same with another seed; without it nobody can say what the seed changes.

        Returns:
            `Estimate`s with intervals over people, by the names that `evaluation/README.md` explains; `FIGURE_of_real`,
            `_of_frame_0`, `_of_broken`; a `Confusion` for each judge; with FVD, cFVD, sFVD and the protocol.

        Raises:
            ValueError: videos of another shape than the real clips.
        """
        for video in (made, again):
            if video is not None and video.shape != self.real.shape:
                raise ValueError(f"videos are {tuple(video.shape)}, real clips {tuple(self.real.shape)}")
        seen = self.look(made.cpu())
        results: dict[str, Any] = beside({"": self.of_one_set("", seen), **self.known})
        for name, read in seen.read.items():
            results[f"confused_{name}"] = confusion(read, self.label, self.judges[name].labels)
        if again is not None:
            results["diversity_two_seeds"] = self.between(seen.moved, estimate_motion(again.cpu()))
            if self.again is not None:
                results["diversity_two_seeds_of_real"] = self.between(self.of_real.moved, self.again)
        if "video" in seen.features:
            sides = seen.features["video"], self.of_real.features["video"]
            results["frechet_video_by_label"] = frechet_across(*sides, self.label)
            if self.subject.unique(return_counts=True)[1].max() > 1:
                results["frechet_video_by_subject"] = frechet_across(*sides, self.subject)
            n, _, t, h, _ = made.shape
            results["frechet_video_protocol"] = FrechetProtocol(n, t, h, self.frame_rate, self.how)
        results["people"] = len(self.subject.unique())
        return results


def evaluate_videos(
    made: Float[Tensor, "n 3 t h w"],
    clips: Mapping[str, Tensor],
    judges: Mapping[str, VideoClassifier],
    again: Float[Tensor, "n 3 t h w"] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """The figures of one set of videos; for several sets on the same clips, keep a `VideoMeasures`.

    Args:
        made, again: see `VideoMeasures.figures`.
        clips, judges, options: see `VideoMeasures`.
    """
    return VideoMeasures(clips, judges, **options).figures(made, again)


def half_of_the_people(subject: Int[Tensor, " n"]) -> Tensor:
    """True for the clips of one half of the people, in the order of their first clips; as many clips as that gives."""
    order = {person: None for person in subject.tolist()}
    first = set(list(order)[::2])
    return torch.tensor([person in first for person in subject.tolist()])


def coarse(video: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n d"]:
    """Every second frame of 16 x 16 pixels, as one row."""
    return resize(video[:, :, ::2], COARSE).flatten(1)


def confusion(read: Int[Tensor, " n"], asked: Int[Tensor, " n"], labels: list[str]) -> Confusion:
    """How often each label was read where each was asked for."""
    counts = torch.bincount(asked * len(labels) + read, minlength=len(labels) ** 2).view(len(labels), -1)
    return Confusion(tuple(labels), tuple(tuple(row) for row in counts.tolist()))
