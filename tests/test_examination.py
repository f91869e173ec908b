"""An examination tells a judge that looks at the face from one that is content with the head."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lfdm_lite.data import Faces
from lfdm_lite.data.drawn.acting.expressions import FACE, PARTS, perform
from lfdm_lite.evaluation import examination
from lfdm_lite.evaluation.examination import LEAST, LOSSES, MOST, QUESTIONS, examine, readings, verdict
from lfdm_lite.evaluation.intervals import Estimate
from lfdm_lite.evaluation.judges import VideoClassifier

CHECKPOINTS = Path(__file__).parents[1] / "assets" / "checkpoints"
FIELDS = [name for part in PARTS.values() for name in part]


class Diagrams(Faces):
    """Performances that are written down in place of drawn: a row a field of the pose, as bright as it is large."""

    def __getitem__(self, index):
        label = self.labels[index % len(self.labels)]
        rng = np.random.default_rng((len(self.split), self.seed, index))
        pose = perform(label, self.num_frames, rng, self.acting)
        rows = torch.stack([getattr(pose, name).flatten() for name in FIELDS], 1)  # t fields
        return {"video": rows[None, :, :, None].expand(3, -1, -1, 2), "label_name": label}


class Rule(VideoClassifier):
    """A judge that looks at some parts alone: a linear rule on their rows, learned from training clips."""

    def __init__(self, *parts: str):
        super().__init__(6)
        self.labels = list(reversed(Faces.labels))  # in its own order
        self.rows = [FIELDS.index(name) for part in parts for name in PARTS[part]]
        clips = [Diagrams("train", num_frames=6, length=600)[i] for i in range(600)]
        label = torch.tensor([self.labels.index(clip["label_name"]) for clip in clips])
        seen = self.look(torch.stack([clip["video"] for clip in clips]))
        self.rule = torch.nn.Parameter(torch.linalg.lstsq(seen, torch.eye(6)[label].double(), driver="gelsd").solution)

    def look(self, video):
        rows = video[:, 0, :, self.rows, 0].flatten(1).double()
        return torch.cat([rows, torch.ones(len(rows), 1)], 1)

    def forward(self, video):
        return self.look(video) @ self.rule


@pytest.fixture
def diagrams(monkeypatch):
    monkeypatch.setattr(examination, "Faces", Diagrams)


def test_a_judge_of_the_head_fails(diagrams):
    figures = examine(Rule("head"), num_frames=6)
    assert figures["head_alone"].value == figures["all_parts"].value > 0.5
    assert figures["head_at_rest"].value == figures["nothing_moves"].value < 0.25
    assert all(figures[f"lost_without_{part}"].value == 0 for part in LOSSES)
    said = verdict(figures)
    assert said.startswith("fails, ") and "head_at_rest 0.17, expected at least 0.90" in said
    assert f"head_alone {figures['head_alone'].value:.2f}, expected at most 0.25" in said


def test_a_judge_of_the_face_passes(diagrams):
    figures = examine(Rule(*FACE), num_frames=6)
    assert verdict(figures).startswith("looks at the face, ")
    assert figures["head_of_another"].value == figures["head_at_rest"].value == figures["all_parts"].value > 0.9
    assert figures["head_alone"].value < 0.25


def test_what_a_judge_loses_without_a_part_is_what_it_looked_at(diagrams):
    figures = examine(Rule("mouth"), num_frames=6)
    assert figures["mouth_alone"].value == figures["all_parts"].value
    lost = figures["lost_without_mouth"]
    assert lost.value == pytest.approx(figures["all_parts"].value - figures["mouth_frozen"].value, abs=1e-6)
    assert lost.low > 0.3 and figures["lost_without_brows"] == Estimate(0.0, 0.0, 0.0, 120)


def test_a_judge_of_another_set_is_refused():
    judge = VideoClassifier(2)
    judge.labels = ["wave", "stop"]
    with pytest.raises(ValueError, match="knows the labels wave, stop; only a judge of anger, .* is examined"):
        examine(judge)


@pytest.mark.parametrize("name", ["faces64", "faces128cpu"])
def test_the_shipped_judges_of_faces_pass_and_the_first_ones_do_not(name):
    """By the figures that lie beside them, which `lfdm evaluate JUDGE --out JUDGE/metrics.json` wrote."""
    said = {}
    for judge in ("judge", "judge_of_faces"):
        stored = json.loads((CHECKPOINTS / name / judge / "metrics.json").read_text())
        figures = {question: Estimate(**stored["examination"][question]) for question in QUESTIONS}
        assert stored["measured"]["split"] == "test" and figures["all_parts"].n >= 120
        assert stored["examination"]["verdict"] == verdict(figures)
        said[judge] = verdict(figures)
    assert said["judge_of_faces"].startswith("looks at the face, ")
    assert said["judge"].startswith("fails, 120 clips") and "head_alone" in said["judge"]


def test_the_shipped_judge_of_faces_reads_faces_and_no_heads():
    judge = VideoClassifier.load(CHECKPOINTS / "faces64" / "judge_of_faces")
    still, head = (
        readings(judge, QUESTIONS[name], "val", 64, 16, clips=24).mean() for name in ("head_at_rest", "head_alone")
    )
    assert still >= LEAST["head_at_rest"] - 0.1 and head <= MOST["head_alone"] + 0.15
