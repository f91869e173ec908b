"""Motion against the truth, and pictures part by part: each measure moves when what it measures is broken."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lfdm_lite.commands.evaluate import saw_a_vgg
from lfdm_lite.data import Faces, Figures, Sketches
from lfdm_lite.data.drawn.engine.scenes import render
from lfdm_lite.evaluation.intervals import ratio_estimate
from lfdm_lite.evaluation.metrics import psnr
from lfdm_lite.evaluation.parts import PartsTable, look_closer, places, psnr_where
from lfdm_lite.evaluation.tables import as_table, broken, collect, evaluate_autoencoder, motion_against_truth
from lfdm_lite.evaluation.truth import motion_figures, motion_scores, split_pixels
from lfdm_lite.files.assets import asset
from lfdm_lite.flow import normalized
from lfdm_lite.geometry import warp
from lfdm_lite.motion import Motion
from lfdm_lite.pipeline import LFDM

SIZE, FRAMES, CLIPS = 48, 4, 6


@pytest.fixture(scope="module")
def faces() -> dict[str, torch.Tensor]:
    """A clip of every label, looked at closely."""
    dataset = Faces("val", size=SIZE, num_frames=FRAMES, length=CLIPS)
    return collect(dataset, CLIPS) | look_closer(dataset, CLIPS, takes=3)


def scores_of(clips, flow):
    return motion_scores(flow, clips["flow"], clips["visible"], clips["never"])


def figures_of(clips, flow, **more):
    return motion_figures(scores_of(clips, flow), scores_of(clips, clips["flow"]), **more)


def leak(like: torch.Tensor, pixels: float) -> torch.Tensor:
    """A flow to the right of so many pixels, everywhere."""
    return normalized(torch.tensor([pixels, 0.0]).view(1, 2, 1, 1, 1).expand_as(like))


# ---------------------------------------------------------------- motion


def test_every_pixel_moves_stands_still_or_is_hidden(faces):
    pixels = split_pixels(faces["flow"], faces["visible"])
    assert torch.stack(list(pixels)).sum(dim=0).eq(1).all()
    assert all(mask[:, :, 1:].any() for mask in pixels)


def test_the_true_flow_and_zero_flow_are_told_apart_by_every_figure(faces):
    real, zero = figures_of(faces, faces["flow"]), figures_of(faces, torch.zeros_like(faces["flow"]))
    assert real.keys() == zero.keys() and len(real) == 7
    for name in ("true_motion_ratio", "true_motion_ratio_moving", "true_motion_ratio_hidden"):
        assert real[name].value == pytest.approx(1) and zero[name].value == 0
    assert real["end_point_error_share"].value == 0 and zero["end_point_error_share"].value == pytest.approx(1)
    assert real["still_flow"].value < 0.01 and real["still_stirred"].value == 0


@settings(max_examples=6, deadline=None)
@given(st.floats(0.3, 3))
def test_motion_that_is_stronger_everywhere_has_a_ratio_as_much_larger(faces, strength):
    figures = figures_of(faces, strength * faces["flow"])
    for name in ("true_motion_ratio", "true_motion_ratio_moving", "true_motion_ratio_hidden"):
        assert figures[name].value == pytest.approx(strength, rel=1e-4)
        assert figures[name].high - figures[name].low < 1e-4, "pairs: strength is the same in all clips"
    assert figures["end_point_error_share"].value == pytest.approx(abs(strength - 1), abs=1e-4)
    assert figures["still_flow"].value < 0.01


@settings(max_examples=4, deadline=None)
@given(st.floats(0.1, 0.9))
def test_what_leaks_into_still_pixels_is_seen_there_and_nowhere_else(faces, pixels):
    still = split_pixels(faces["flow"], faces["visible"]).still
    figures = figures_of(faces, faces["flow"] + leak(faces["flow"], pixels) * still)
    assert figures["still_flow"].value == pytest.approx(pixels, abs=0.02) and figures["still_stirred"].value == 0
    assert figures["never_moving_flow"].value > 0.9 * pixels
    assert figures["true_motion_ratio_moving"].value == pytest.approx(1) and figures["true_motion_ratio"].value > 1


def test_weak_motion_and_a_leak_that_make_up_for_each_other_do_not_hide_in_the_mean(faces):
    still = split_pixels(faces["flow"], faces["visible"]).still
    weak = 0.5 * faces["flow"]
    missing = scores_of(faces, faces["flow"])["length"] - scores_of(faces, weak)["length"]
    share = still[:, :, 1:].float().flatten(1).mean(1)
    per_pixel = (missing / share).view(-1, 1, 1, 1, 1)
    flow = weak + normalized(torch.cat([per_pixel, 0 * per_pixel], dim=1).expand_as(weak)) * still
    figures = figures_of(faces, flow)
    assert figures["true_motion_ratio"].value == pytest.approx(1, abs=0.02), "this one is fooled"
    assert figures["true_motion_ratio_moving"].value == pytest.approx(0.5, abs=0.01)
    assert figures["still_flow"].value > 0.1


def test_a_few_pixels_that_jump_are_a_share_and_not_a_mean(faces):
    still = split_pixels(faces["flow"], faces["visible"]).still
    tenth = still & (torch.rand(still.shape, generator=torch.Generator().manual_seed(0)) < 0.1)
    figures = figures_of(faces, faces["flow"] + leak(faces["flow"], 1.5) * tenth)
    assert figures["still_stirred"].value == pytest.approx(0.1, abs=0.02)
    assert figures["still_flow"].value == pytest.approx(0.15, abs=0.03)


def test_the_motion_of_another_clip_is_wrong_where_the_mean_length_is_right(faces):
    figures = figures_of(faces, faces["flow"].roll(1, dims=0))
    assert figures["true_motion_ratio"].value == pytest.approx(1), "the mean does not see whose motion it is"
    assert figures["end_point_error_share"].value > 0.7
    assert figures["still_flow"].value > 0.02 and figures["still_stirred"].value > 0


def test_motion_in_frame_0_does_not_count(faces):
    flow = faces["flow"].clone()
    flow[:, :, 0] = 1
    assert figures_of(faces, flow) == figures_of(faces, faces["flow"])


def test_clips_without_the_pixels_in_question_are_left_out_and_counted(faces):
    clips = {**faces, "visible": faces["visible"].clone()}
    clips["visible"][:2] = 1
    figures = figures_of(clips, clips["flow"])
    assert figures["true_motion_ratio_hidden"].n == CLIPS - 2 and figures["true_motion_ratio"].n == CLIPS
    clips["visible"][:] = 1
    assert "true_motion_ratio_hidden" not in figures_of(clips, clips["flow"])


def test_a_generated_motion_has_no_error_but_has_controls(faces):
    small = torch.nn.functional.interpolate(faces["flow"], (FRAMES, 12, 12), mode="trilinear", align_corners=False)
    figures = motion_against_truth(2 * small, faces)
    assert not any(name.startswith("end_point") for name in figures)
    assert figures["true_motion_ratio"].value == pytest.approx(2, rel=0.15)
    assert figures["true_motion_ratio_of_real"].value == 1 and figures["true_motion_ratio_of_frame_0"].value == 0
    assert figures["still_flow_of_broken"].value > 0 == figures["still_flow_of_frame_0"].value
    assert motion_against_truth(small, {"video": faces["video"]}) == {}


def test_a_ratio_of_means_has_the_interval_of_pairs():
    below = torch.linspace(1, 9, 40)
    noise = torch.randn(40, generator=torch.Generator().manual_seed(1))
    paired = ratio_estimate(2 * below + 0.1 * noise, below)
    assert paired.value == pytest.approx(2, abs=0.02) and paired.low <= paired.value <= paired.high
    apart = ratio_estimate((2 * below + 0.1 * noise).flip(0), below)
    assert apart.high - apart.low > 10 * (paired.high - paired.low)
    for above, divisor in ((below, 0 * below), (below, -below), (below * torch.nan, below)):
        with pytest.raises(ValueError, match="as many scores above as below"):
            ratio_estimate(above, divisor)


# ---------------------------------------------------------------- what the renderer knows


def test_a_person_acts_a_label_otherwise_each_time_from_the_same_image():
    dataset = Faces("val", size=32, num_frames=3, length=12)
    item, takes = dataset[5], [dataset.scene(5, take) for take in range(4)]
    drawn = [render(layers, 32, 3).video for layers, _, _ in takes]
    assert {(label, subject) for _, label, subject in takes} == {(item["label"], item["subject"])}
    assert drawn[0].equal(item["video"])
    for one in range(4):
        torch.testing.assert_close(drawn[one][:, 0], drawn[0][:, 0])
        assert all((drawn[one][:, 2] - drawn[other][:, 2]).abs().max() > 0.05 for other in range(one))


def test_nothing_moves_where_nothing_ever_moves():
    dataset = Faces("val", size=32, num_frames=6, length=12)
    few, more = dataset.never_moves(4, takes=2), dataset.never_moves(4, takes=8)
    assert (more & ~few).sum() == 0 and 0.1 < more.float().mean() < few.float().mean() < 0.9
    for take in (1, 2):
        made = render(dataset.scene(4, take)[0], 32, 6)
        assert made.flow[:, :, few[0]].abs().max() * 16 < 0.01 and made.visible[:, :, few[0]].all()


def test_the_parts_of_a_face_are_where_one_expects_them():
    dataset = Faces("test", size=64, num_frames=8, length=12)
    for i in range(6):
        part = dataset.part_map(i)
        assert part.shape == (1, 8, 64, 64) and part.max() < len(Faces.parts)
        mask = {name: (part == number)[0] for number, name in enumerate(Faces.parts)}
        assert mask["background"][:, 0, 0].all() and mask["clothes"][:, -1, 32].any()
        rows = {name: mask[name][0].nonzero()[:, 0].float().mean() for name in ("brows", "eyes", "mouth")}
        assert rows["brows"] < rows["eyes"] < rows["mouth"]
        for name, least, most in (("eyes", 0.01, 0.06), ("mouth", 0.002, 0.05), ("brows", 0.001, 0.03)):
            assert least < mask[name][0].float().mean() < most
        area = mask["eyes"].flatten(1).sum(1).float()
        assert area.max() < 1.3 * area.min(), "lids belong to the eye that they cover"


def test_a_mouth_that_opens_grows():
    surprise = Faces("test", size=64, num_frames=8, length=12).part_map(5)
    area = (surprise == Faces.parts.index("mouth")).flatten(2).sum(2)[0].float()
    assert area.max() > 1.8 * area[0]


def test_items_know_nothing_of_parts_and_sets_without_names_say_so():
    assert set(Faces("val", size=32, num_frames=2)[0]) == {
        "video", "label", "label_name", "subject", "flow", "visible", "strength", "turn",
    }  # fmt: skip
    sketch, face = (kind("val", size=32, num_frames=3).part_map(2) for kind in (Sketches, Faces))
    assert sketch.equal(face)
    with pytest.raises(ValueError, match="Figures does not name its parts; Faces and Sketches do"):
        Figures("val", size=32, num_frames=2).part_map(0)
    assert look_closer(Figures("val", size=32, num_frames=2), 2) == {}


# ---------------------------------------------------------------- pictures


def test_psnr_of_a_place_is_that_of_its_pixels_alone(faces):
    video, noise = faces["video"], 0.1 * torch.randn(faces["video"].shape, generator=torch.Generator().manual_seed(0))
    masks = places(faces["part"], faces["visible"])
    torch.testing.assert_close(psnr_where(video + noise, video, masks["all"]), psnr(video + noise, video))
    for name in ("eyes", "mouth", "hair"):
        damaged = psnr_where(video + noise * masks[name], video, masks[name])
        assert damaged.sub(20).abs().max() < 1.5
        others = [other for other in ("eyes", "mouth", "hair", "background") if other != name]
        assert all(psnr_where(video + noise * masks[name], video, masks[o]).nan_to_num(58.9).min() > 58 for o in others)
        whole = psnr_where(video + noise * masks[name], video, masks["all"])
        assert (whole - damaged)[~damaged.isnan()].min() > 3, "the whole picture hardly sees it"


def test_errors_are_pooled_over_a_clip_and_an_empty_place_has_no_score(faces):
    mask = torch.zeros_like(faces["part"], dtype=torch.bool)
    mask[1:, :, 1, :10], mask[2:, :, 2, :30] = True, True
    prediction = faces["video"].clone()
    prediction[:, :, 1] += 0.1
    scores = psnr_where(prediction, faces["video"], mask)
    assert scores[0].isnan()
    assert scores[1].item() == pytest.approx(20, abs=1e-3)
    assert scores[2].item() == pytest.approx(20 + 10 * np.log10(4), abs=1e-3)


def test_unions_hold_what_their_members_hold(faces):
    masks = places(faces["part"], faces["visible"])
    assert masks["eyes_mouth"].equal(masks["eyes"] | masks["mouth"])
    assert masks["hidden_eyes_mouth"].equal(masks["eyes_mouth"] | (faces["visible"] <= 0.5))
    assert masks["all"].all() and not (masks["eyes"] & masks["mouth"]).any()


def test_margins_are_of_each_clip_and_controls_stand_beside_them(faces):
    target, source = faces["video"][:, :, 1:], faces["video"][:, :, 0]
    true_warp = warp(source, faces["flow"][:, :, 1:])
    videos = {"": 0.5 * true_warp + 0.5 * target, "frame_0": source[:, :, None], "true_warp": true_warp}
    table = PartsTable({})
    for some in (slice(0, 4), slice(4, 6)):
        part = {name: video[some] for name, video in videos.items()}
        table.add(part, target[some], faces["part"][some, :, 1:], faces["visible"][some, :, 1:])
    figures = table.figures()
    for place in ("all", "mouth", "hidden_eyes_mouth"):
        assert figures[f"psnr_over_true_warp_in_{place}"].value == pytest.approx(20 * np.log10(2), abs=0.01)
        assert figures[f"psnr_in_{place}"].value > figures[f"psnr_in_{place}_of_true_warp"].value
        margin = figures[f"psnr_in_{place}"].value - figures[f"psnr_in_{place}_of_frame_0"].value
        assert figures[f"psnr_over_frame_0_in_{place}"].value == pytest.approx(margin, abs=1e-4)
    lines = as_table(figures).splitlines()
    assert len(lines) == sum("_of_" not in name for name in figures)
    assert "true warp" in lines[0] and "frame 0" in lines[0]


# ---------------------------------------------------------------- a model


def test_a_broken_model_has_the_motion_of_another_clip_and_hides_nothing():
    motion = Motion(torch.rand(3, 2, 2, 4, 4), torch.rand(3, 1, 2, 4, 4))
    wrong = broken(motion)
    assert wrong.flow[1].equal(motion.flow[0]) and wrong.flow[0].equal(motion.flow[2])
    assert wrong.occlusion.eq(1).all()


def test_the_shipped_model_stands_between_real_clips_and_the_controls():
    network = LFDM.from_pretrained(asset("checkpoints/faces64")).autoencoder
    dataset = Faces("val", size=64, num_frames=4, length=6)
    figures = evaluate_autoencoder(network, collect(dataset, 5) | look_closer(dataset, 5, takes=2))
    value = {name: estimate.value for name, estimate in figures.items()}
    for name in ("still_flow", "end_point_error_share"):
        assert value[f"{name}_of_real"] < value[name] < value[f"{name}_of_broken"]
    assert value["end_point_error_share"] < value["end_point_error_share_of_frame_0"] == pytest.approx(1)
    for place in ("all", "eyes", "hidden"):
        worse = [value[f"psnr_in_{place}_of_{control}"] for control in ("frame_0", "broken")]
        assert value[f"psnr_in_{place}"] > max(worse)
    assert value["psnr"] == pytest.approx(value["psnr_in_all"], abs=1e-3)
    assert value["psnr_copy_of_frame_0"] == pytest.approx(value["psnr_in_all_of_frame_0"], abs=1e-3)


@pytest.mark.parametrize(
    "recipe, seen",
    [
        ({"autoencoder": {"config": {"perceptual_weight": 0.1}}}, True),
        ({"autoencoder": {"config": {"perceptual_weight": 0}}}, False),
        ({"config": {"perceptual_weight": 2}}, True),
        ({"config": {}}, True),  # says nothing of stage one
        ({"config": {"checkpoint": "a model"}}, True),
        ({"config": {"perceptual_weight": 0.0}}, False),
        ({"config": {"perceptual_weight": 0.0, "init": "a model"}}, True),
        ({"config": {"autoencoder": "ae"}}, True),
        ({"config": {"autoencoder": "gone"}}, True),
        ([], True),
        (None, True),
    ],
)
def test_a_recipe_says_whether_a_loss_looked_through_a_vgg(recipe, seen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ae").mkdir()
    Path("ae", "recipe.json").write_text(json.dumps({"config": {"perceptual_weight": 1.0}}))
    if recipe is not None:
        Path(tmp_path, "recipe.json").write_text(json.dumps(recipe))
    assert saw_a_vgg(tmp_path) is seen
