"""The named sizes are what they say, and what they need is there."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lfdm_lite.autoencoder import LatentFlowAutoencoder, LFAEConfig
from lfdm_lite.data import PROCEDURAL
from lfdm_lite.data.drawn.acting.expressions import Acting
from lfdm_lite.data.paper.films import LABELS
from lfdm_lite.data.paper.layouts import survey
from lfdm_lite.data.paper.prepare import prepare
from lfdm_lite.evaluation.judges import VideoClassifier
from lfdm_lite.evaluation.perceptual import PerceptualFeatures, load_vgg
from lfdm_lite.files.reading import CheckpointError
from lfdm_lite.official.objective import ObjectiveConfig
from lfdm_lite.training import PRESETS, DataConfig, train_autoencoder, train_diffusion
from lfdm_lite.training.full_scale import paper_preset
from lfdm_lite.training.stages.clips import build_dataset, cached_clips, draw_clips
from lfdm_lite.training.stages.judge import draw_view
from lfdm_lite.training.stages.stage_one import AutoencoderObjective, draw_pair
from lfdm_lite.unet3d import UNet3D

from .test_paper_data import mug_tree


def numbers(preset) -> int:
    """Parameters of both stages."""
    with torch.device("meta"):
        parts = LatentFlowAutoencoder(preset.autoencoder.model), UNet3D(preset.diffusion.unet)
    return sum(p.numel() for part in parts for p in part.parameters())


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("faces128", 100e6, 112e6), ("faces128s", 6e6, 7.4e6), ("faces128cpu", 5e6, 5.5e6), ("faces64", 5e6, 6e6)],
)
def test_models_are_as_large_as_they_say(name, least, most):
    assert least < numbers(PRESETS[name]) < most  # 7.4e6 are 15 MB in half precision


def test_the_small_models_have_the_task_of_the_large_one():
    assert PRESETS["faces128s"].diffusion.data == PRESETS["faces128"].diffusion.data
    assert PRESETS["faces128cpu"].diffusion.data == replace(PRESETS["faces64"].diffusion.data, size=128)


@pytest.mark.parametrize("name", ["mug128", "mhad128", "natops128"])
def test_the_papers_presets_have_its_steps_batches_and_rates(name):
    preset, official = paper_preset(name), paper_preset(name, official=True)
    steps = {"mug128": (46_500, 111_600), "mhad128": (43_100, 86_400), "natops128": (24_000, 33_600)}[name]
    assert (preset.autoencoder.optim.steps, preset.diffusion.optim.steps) == steps
    assert preset.autoencoder.optim.batch_size == 100 and preset.diffusion.data.num_frames == 40
    assert preset.diffusion.optim.learning_rate == (1e-4 if name == "natops128" else 2e-4)
    assert preset.diffusion.unet.num_labels == len(LABELS[name.removesuffix("128")])
    assert official.autoencoder.model.corner_grids and type(preset.autoencoder.model) is LFAEConfig
    assert official.diffusion.optim.ema == 0 and official.diffusion.loop.precision == "no"
    assert abs(numbers(official) - 108.7e6) < 1e6


@pytest.mark.parametrize("name", ["mug128", "mhad128", "natops128"])
def test_the_official_presets_are_trained_by_our_trainer(name):
    """As `differences.md` says: three sizes, each an average of blocks, where the published loss has four Gaussians."""
    run = paper_preset(name, official=True).autoencoder
    with torch.device("meta"):
        objective = AutoencoderObjective(LatentFlowAutoencoder(LFAEConfig()), run, PerceptualFeatures((4, 4, 4, 4, 4)))
    assert [(type(shrink), shrink.kernel_size) for shrink in objective.shrinks] == [
        (nn.AvgPool2d, n) for n in (1, 2, 4)
    ]
    assert ObjectiveConfig().scales == (1, 2, 4, 8)
    assert run.from_rest == 0.5


def test_a_pair_of_frames_keeps_its_colours_and_half_of_the_pairs_begin_at_rest():
    video = torch.arange(8, dtype=torch.uint8).expand(3, 2, 2, 8).permute(0, 3, 1, 2).contiguous()  # frame k is all k
    generator = torch.Generator().manual_seed(0)
    pairs = [draw_pair({"video": video}, generator, from_rest=0.5) for _ in range(2000)]
    source, driving = (torch.stack([pair[key] for pair in pairs]) for key in ("source", "driving"))
    assert (source == source[:, :1, :1, :1]).all() and (driving == driving[:, :1, :1, :1]).all()  # a frame as it was
    at_rest = (source[:, 0, 0, 0] == 0).float().mean().item()
    assert at_rest == pytest.approx(0.5 + 0.5 / 8, abs=0.03)
    assert (source[:, 0, 0, 0] > driving[:, 0, 0, 0]).any() and (source[:, 0, 0, 0] < driving[:, 0, 0, 0]).any()


def test_a_rate_drops_after_the_papers_epochs():
    drops = paper_preset("mug128").diffusion.optim.drops
    assert [round(share * 1200) for share in drops] == [800, 1000]
    assert [round(share * 140) for share in paper_preset("natops128").diffusion.optim.drops] == [80, 100]


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_part_of_a_preset_knows_the_same_labels_and_frames(name):
    preset = PRESETS[name]
    data = preset.diffusion.data
    known = PROCEDURAL[data.name].labels if data.name in PROCEDURAL else LABELS[data.name]
    assert preset.diffusion.unet.num_labels == preset.judge.model.num_labels == len(known)
    assert preset.diffusion.unet.num_frames == data.num_frames
    assert preset.diffusion.unet.feature_channels == preset.autoencoder.model.latent_channels
    assert preset.autoencoder.data == data
    usual = replace(data, acting=Acting())  # a judge must not know how far the judged have been taught to go
    assert preset.judge.data == preset.decoder.data == usual


def test_where_left_and_right_mean_something_the_judge_sees_no_mirror_image():
    assert [PRESETS[name].judge.mirror for name in ("faces64", "gestures64", "figures64")] == [True, False, False]
    clip = {"video": torch.arange(3 * 2 * 4 * 4).view(3, 2, 4, 4), "label": 0}
    drawn = [draw_view(clip, torch.Generator().manual_seed(seed), mirror=False) for seed in range(20)]
    assert all(torch.equal(view["video"], clip["video"]) for view in drawn)
    drawn = [draw_view(clip, torch.Generator().manual_seed(seed)) for seed in range(20)]
    assert 2 < sum(torch.equal(view["video"], clip["video"].flip(-1)) for view in drawn) < 18


# ---------------------------------------------------------------- the paper's data in training


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """MUG in small, as `lfdm data prepare` leaves it."""
    folder = tmp_path_factory.mktemp("mug")
    prepare(survey("mug", mug_tree(folder / "tree")), folder / "prepared", 64)
    return folder / "prepared"


def test_a_video_is_sampled_as_often_as_asked_at_other_frames(prepared):
    data = DataConfig("mug", str(prepared), size=32, num_frames=3, sampling="very_random", draws=6)
    clips, single = draw_clips(data, "train"), build_dataset(data, "train")
    assert len(clips) == 6 * len(single)
    same = [torch.equal(clips[0]["video"], clips[i * len(single)]["video"]) for i in range(1, 6)]
    assert not all(same)
    assert {clips[i * len(single)]["label"] for i in range(6)} == {single[0]["label"]}


def test_validation_takes_at_most_what_it_is_given_from_all_over_the_split(tmp_path):
    data = DataConfig(size=32, num_frames=2, train_clips=4, val_clips=3)
    assert len(cached_clips(data, "val", tmp_path)) == 3


def test_a_set_of_videos_needs_its_folder():
    with pytest.raises(ValueError, match=r"data.name is 'mug', so data.root must name the folder of its videos"):
        build_dataset(DataConfig("mug"), "train")
    with pytest.raises(ValueError, match="data.name 'cats' is not one of: faces, .*, mug, mhad, natops, folder"):
        build_dataset(DataConfig("cats"), "train")


@pytest.mark.parametrize("official", [False, True])
def test_the_papers_training_starts_on_its_data(official, prepared, tmp_path):
    """Both stages at toy size, with every switch of the preset."""
    preset = paper_preset("mug128", official)
    data = replace(preset.autoencoder.data, root=str(prepared), size=64, num_frames=3, val_clips=2, draws=1)
    loop = dict(sample_every=0, tracker="none", log_every=1)
    narrow = dict(width=8, latent_channels=16, num_residual=1, region_width=4, region_depth=2, region_max_width=16,
                  flow_width=4, flow_depth=2, flow_max_width=16, background_width=4, background_depth=2)  # fmt: skip
    weights = {f"features.{n}": value for n, value in vgg_weights()}
    torch.save(weights, tmp_path / "vgg.pth")
    ae = replace(
        preset.autoencoder,
        model=replace(preset.autoencoder.model, **narrow),
        data=data,
        optim=replace(preset.autoencoder.optim, steps=1, batch_size=2),
        loop=replace(preset.autoencoder.loop, **loop),
        vgg=str(tmp_path / "vgg.pth"),
    )
    train_autoencoder(ae, tmp_path / "ae")
    assert "perceptual" in (tmp_path / "ae" / "log.csv").read_text().splitlines()[0].split(",")
    unet = replace(preset.diffusion.unet, dim=8, dim_mults=(1, 2), spatial_attention=("linear", "linear"), num_frames=3)
    dm = replace(
        preset.diffusion,
        autoencoder=str(tmp_path / "ae"),
        unet=unet,
        data=data,
        optim=replace(preset.diffusion.optim, steps=1, batch_size=2),
        loop=replace(preset.diffusion.loop, **loop),
    )
    model = train_diffusion(dm, tmp_path / "dm")
    assert len(model.labels) == len(LABELS["mug"])


# ---------------------------------------------------------------- the perceptual network


def vgg_weights():
    """Random weights under the numbers that torchvision gives its layers."""
    state = PerceptualFeatures().state_dict()
    return [(name.split(".", 1)[1], value) for name, value in state.items() if name.startswith("slice")]


def test_the_weights_of_torchvisions_vgg_go_where_they_belong(tmp_path):
    weights = dict(vgg_weights())
    torch.save({f"features.{name}": value for name, value in weights.items()}, tmp_path / "vgg.pth")
    network = load_vgg(tmp_path / "vgg.pth")
    image = torch.rand(1, 3, 32, 32)
    x = (image - network.mean) / network.std
    first = nn.functional.conv2d(x, weights["0.weight"], weights["0.bias"], padding=1).relu()
    torch.testing.assert_close(network(image)[0], first)
    assert not any(p.requires_grad for p in network.parameters())


def test_a_file_that_is_no_vgg_is_refused(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pth")
    for path in (tmp_path / "other.pth", tmp_path / "absent.pth"):
        with pytest.raises(CheckpointError, match="expected torchvision's weights of VGG-19"):
            load_vgg(path)


def test_the_loss_is_the_weighted_sum_of_its_parts():
    run = PRESETS["tiny"].autoencoder
    run = replace(run, pixel_weight=0.5, perceptual_weight=0.1, data=replace(run.data, size=64))
    run = replace(run, warp_weight=0.3, stillness_weight=0.7, smoothness_weight=0.2)
    objective = AutoencoderObjective(LatentFlowAutoencoder(run.model), run, PerceptualFeatures((4, 4, 4, 4, 4)))
    batch = {name: torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8) for name in ("source", "driving")}
    batch |= {"affine": torch.eye(2, 3).expand(2, 2, 3), "weights": torch.zeros(2, objective_points())}
    parts = objective(batch)
    expected = 0.5 * parts["reconstruction"] + 0.1 * parts["perceptual"] + run.visibility_weight * parts["visibility"]
    expected = expected + run.shift_weight * parts["shift"] + run.affine_weight * parts["affine"]
    expected = expected + 0.3 * parts["warp"] + 0.7 * parts["stillness"] + 0.2 * parts["smoothness"]
    torch.testing.assert_close(parts["loss"], expected)


def test_the_perceptual_loss_looks_no_deeper_than_asked():
    network = PerceptualFeatures((4, 4, 4, 4, 4))
    full = network(torch.rand(1, 3, 32, 32))
    assert len(network.keep(2)(torch.rand(1, 3, 32, 32))) == 2 and len(full) == 5
    run = replace(PRESETS["tiny"].autoencoder, perceptual_weight=1.0, depths=2, scales=1)
    objective = AutoencoderObjective(LatentFlowAutoencoder(run.model), run, PerceptualFeatures((4, 4, 4, 4, 4)))
    a, b = torch.rand(2, 2, 3, 32, 32)
    maps = zip(objective.features(a), objective.features(b), strict=True)
    expected = sum((x - y).abs().mean() for x, y in maps)
    torch.testing.assert_close(objective.perceptual(a, b), expected)
    with pytest.raises(ValueError, match="depths=6: must be at most 5"):
        replace(run, depths=6)


def objective_points() -> int:
    """Numbers of a random transform's spline."""
    from lfdm_lite.geometry import RandomTransform

    return RandomTransform(1).weights.shape[1]


def test_a_judge_of_128_pixels_reads_them():
    judge = VideoClassifier(replace(PRESETS["faces128"].judge.model))
    assert judge(torch.rand(1, 3, 4, 128, 128)).shape == (1, 6)
