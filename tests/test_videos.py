"""Figures of sets of videos: the same for every generator, and each of them notices the fault that it is there for."""

from collections.abc import Callable
from functools import cache

import pytest
import torch

from lfdm_lite.data import Faces
from lfdm_lite.evaluation.frames import BREAKINGS
from lfdm_lite.evaluation.intervals import Estimate
from lfdm_lite.evaluation.judges import VideoClassifier
from lfdm_lite.evaluation.tables import as_table, collect, performed_again
from lfdm_lite.evaluation.videos import VideoMeasures, confusion, evaluate_videos, half_of_the_people
from lfdm_lite.files.assets import asset

N = 9


@pytest.fixture(scope="module")
def clips() -> dict[str, torch.Tensor]:
    dataset = Faces("val", size=64, num_frames=10, length=N)
    gathered = collect(dataset, N)
    gathered["never"] = torch.stack([dataset.never_moves(i, takes=2) for i in range(N)])
    return gathered | {"again": performed_again(dataset, N)}


@pytest.fixture(scope="module")
def judges() -> dict[str, VideoClassifier]:
    return {"judge_of_faces": VideoClassifier.load(asset("checkpoints/faces64/judge_of_faces"))}


@pytest.fixture(scope="module")
def train() -> torch.Tensor:
    return collect(Faces("train", size=64, num_frames=10, length=N), N)["video"]


@pytest.fixture(scope="module")
def measures(clips, judges, train) -> VideoMeasures:
    return VideoMeasures(clips, judges, train=train, resamples=20)


@pytest.fixture(scope="module")
def good(measures, clips) -> dict:
    """Of a perfect generator: other performances of the same people, with the same labels."""
    return measures.figures(clips["again"], clips["video"])


@pytest.fixture(scope="module")
def broken(measures, clips) -> Callable[[str], dict]:
    """The figures of that generator with a fault; each is looked at once."""
    return cache(lambda fault: measures.of_one_set("", measures.look(BREAKINGS[fault](clips["again"]))))


def value(figures: dict, name: str) -> float:
    return figures[name].value


def test_other_real_performances_are_as_good_as_the_real_ones(good):
    for name in ("identity_distance", "estimated_motion_ratio", "diversity_of_label", "nearest_train_picture"):
        assert value(good, name) == pytest.approx(value(good, f"{name}_of_real"), rel=0.35), name
    assert value(good, "read_as_asked_judge_of_faces") > 0.8
    assert value(good, "psnr_frame_0") == pytest.approx(58.9)
    assert value(good, "diversity_two_seeds") == pytest.approx(value(good, "diversity_two_seeds_of_real"))
    assert value(good, "frechet_motion") < 0.5 * value(good, "frechet_motion_of_frame_0")
    assert value(good, "frechet_judge_of_faces") < 0.2 * value(good, "frechet_judge_of_faces_of_frame_0")


def test_controls_stand_beside_the_figures_and_all_of_it_prints(good, clips):
    for name, figure in good.items():
        if isinstance(figure, Estimate):
            assert figure.low <= figure.value <= figure.high, name
    for control in ("frame_0", "broken"):
        assert f"frechet_motion_of_{control}" in good and f"kernel_motion_of_{control}" in good
    assert "frechet_motion_of_real" not in good, "nothing is learned from a set against itself"
    assert "frechet_motion_other_people_of_real" in good
    assert good["people"] == len(clips["subject"].unique())
    table = as_table(good)
    assert table.count("\n") < 30 and "confused_judge_of_faces" in table
    assert not any(name.startswith("frechet_video") for name in good), "without its network there is no FVD"


@pytest.mark.parametrize(
    "fault, figure, factor",
    [
        ("freeze", "estimated_motion_ratio", (0.0, 0.01)),
        ("freeze", "frechet_motion", (2, 1e9)),
        ("freeze", "read_as_asked_judge_of_faces", (0, 0.6)),
        ("shuffle", "frechet_motion", (5, 1e9)),
        ("shuffle", "estimated_motion_where_never", (1.2, 1e9)),
        ("half_speed", "estimated_motion_ratio", (0.2, 0.9)),
        ("exchange", "identity_distance", (3, 1e9)),
        ("another", "identity_distance", (5, 1e9)),
        ("another", "psnr_frame_0", (0.1, 0.5)),
        ("another", "read_as_asked_judge_of_faces", (0, 0.3)),
        ("blur", "psnr_frame_0", (0.2, 0.8)),
    ],
)
def test_each_figure_notices_its_fault(fault, figure, factor, broken, good):
    wrong = broken(fault)
    assert factor[0] * value(good, figure) <= value(wrong, figure) <= factor[1] * value(good, figure)


def test_a_generator_that_ignores_its_seed_or_copies_the_training_clips_is_seen(measures, clips, train, good):
    figures = measures.figures(train, train)
    assert value(figures, "diversity_two_seeds") == 0 < value(good, "diversity_two_seeds")
    for name in ("nearest_train_picture", "nearest_train_motion"):
        assert value(figures, name) < 1e-3 < 0.5 * value(good, name)
        assert value(good, f"{name}_of_broken") < 1e-3


def test_clips_without_truth_or_training_clips_leave_those_figures_out(clips, judges):
    few = {name: clips[name][:6] for name in ("video", "label", "subject")}
    figures = evaluate_videos(few["video"], few, judges, resamples=5)
    assert {"psnr_frame_0", "identity_distance", "frechet_motion"} <= set(figures)
    for name in ("estimated_motion_ratio", "flicker_of_still", "nearest_train_picture", "diversity_two_seeds"):
        assert name not in figures


def test_what_does_not_fit_is_refused(measures, clips, judges):
    with pytest.raises(ValueError, match="real clips"):
        measures.figures(clips["video"][:, :, :5])
    with pytest.raises(ValueError, match="do not say who"):
        VideoMeasures({name: clips[name] for name in ("video", "label")}, judges)
    with pytest.raises(ValueError, match="reads 2 labels"):
        VideoMeasures(clips, {"small": VideoClassifier(2)})


def test_confusion_counts_every_clip():
    asked, read = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 2, 1, 1])
    table = confusion(read, asked, ["a", "b", "c"])
    assert table.counts == ((1, 0, 1), (0, 1, 0), (0, 1, 0))
    assert str(table) == "c read as b 1, a read as c 1"
    assert str(confusion(asked, asked, ["a", "b", "c"])) == "none"


def test_no_person_is_in_both_halves():
    subject = torch.tensor([5, 3, 5, 9, 3, 1])
    half = half_of_the_people(subject)
    assert not set(subject[half].tolist()) & set(subject[~half].tolist())
    assert half.tolist() == [True, False, True, True, False, False]


def test_people_of_folders_are_numbered_and_unknown_ones_left_out():
    def item(person) -> dict:
        return {"video": torch.zeros(3, 2, 4, 4), "label": 0, "subject": person}

    assert collect([item("eve"), item("ann"), item("eve")], 3)["subject"].tolist() == [1, 0, 1]
    assert collect([item(7), item(2)], 2)["subject"].tolist() == [7, 2]
    assert "subject" not in collect([item("eve"), item("")], 2)
