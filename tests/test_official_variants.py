"""What the published auto-encoder does otherwise, each thing alone: what it is, and what it costs."""

from dataclasses import replace

import pytest
import torch

from lfdm_lite.autoencoder import LatentFlowAutoencoder, LFAEConfig
from lfdm_lite.files.variants import construct
from lfdm_lite.geometry import identity_grid, resize, warp
from lfdm_lite.layers import AntiAliasedDownsample, conv_block
from lfdm_lite.motion import Motion, gaussian_heatmaps, sign_of_turn, sparse_motions
from lfdm_lite.official.parts.autoencoder import add_biases
from lfdm_lite.official.parts.configs import with_published
from lfdm_lite.official.parts.stage_one import (
    StridedGaussian,
    TaxicabTransform,
    corner_grid,
    projective_motion,
    resize_positions,
    round_heatmaps,
    sign_of_first,
)
from lfdm_lite.regions import Regions, affine_frame

TINY = LFAEConfig(
    num_regions=3, width=8, latent_channels=16, num_residual=1, region_width=8, region_depth=2, flow_width=8,
    flow_depth=2, background_width=8, background_depth=2,
)  # fmt: skip


def network(**changes) -> LatentFlowAutoencoder:
    torch.manual_seed(0)
    return construct(with_published(TINY, **changes)).eval()


def smooth_image(size: int = 64) -> torch.Tensor:
    x, y = 3 * identity_grid(size, size)
    return (0.5 + 0.5 * torch.stack([(2 * x).sin(), (x + 2 * y).cos(), (3 * y - x).sin()]))[None]


def regions_of(affine: torch.Tensor, shift: torch.Tensor | None = None) -> Regions:
    shift = torch.zeros(*affine.shape[:2], 2) if shift is None else shift
    return Regions(shift, affine @ affine.mT, affine, torch.zeros(*affine.shape[:2], 4, 4))


def turned(degrees: float) -> torch.Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    c, s = angle.cos(), angle.sin()
    return torch.stack([torch.stack([c, -s]), torch.stack([s, c])])


AT_REST = torch.eye(2, 3)[None]


# Coordinates: corner_grids, outside, absolute_resize


def test_positions_on_the_corner_grid_are_no_identity_for_sampling():
    image = smooth_image()
    still = regions_of(torch.eye(2)[None, None])
    error = {}
    for grid_of in (identity_grid, corner_grid):
        motion = sparse_motions(still, still, AT_REST, 64, 64, grid_of=grid_of)[:, 0]
        error[grid_of] = (warp(image, motion - identity_grid(64, 64)) - image).abs().mean()
    assert error[identity_grid] < 1e-6
    assert error[corner_grid] > 0.01


@pytest.mark.parametrize("corner_grids", [False, True])
def test_the_config_reaches_all_three_uses_of_a_grid(corner_grids):
    parts = network(corner_grids=corner_grids)
    still = regions_of(torch.eye(2)[None, None])
    grid = (corner_grid if corner_grids else identity_grid)(8, 8)
    torch.testing.assert_close(parts.flow.motions(still, still, AT_REST, 8, 8)[0, 0], grid)
    column = torch.zeros(1, 1, 8, 8)
    column[..., 2, 5] = 1  # all of a heat map on one pixel: its shift is that pixel's place
    torch.testing.assert_close(parts.regions.describe(column, column).shift[0, 0], grid[:, 2, 5])
    bump = parts.flow.bumps(still, 8, 8)[0, 0]
    torch.testing.assert_close(bump, torch.exp(-grid.square().sum(0) / 2), atol=1e-3, rtol=0)


def test_outside_is_black_or_the_border_repeated():
    image, flow = torch.ones(1, 3, 8, 8), torch.zeros(1, 2, 8, 8)
    flow[:, 0] = 1.0  # half the image to the right
    assert (warp(image, flow) == 1).all()
    dark = warp(image, flow, outside="zeros")
    assert (dark[..., :4] == 1).all() and (dark[..., 4:] == 0).all()


def test_resizing_positions_differs_from_resizing_displacements_at_the_border_alone():
    flow = 0.1 * torch.randn(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    ours, theirs = resize(flow, 32), resize_positions(flow, 32)
    torch.testing.assert_close(ours[..., 2:-2, 2:-2], theirs[..., 2:-2, 2:-2], atol=1e-6, rtol=0)
    rest = resize_positions(torch.zeros(1, 2, 8, 8), (32, 32))
    assert rest[0, 0, :, 0].min() > 0.09, "the left border looks 3/8 of a coarse pixel to the right"
    assert resize_positions(flow, 8) is flow


# Images: strided_downsampling


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_striding_keeps_the_first_pixel_of_a_block_instead_of_its_centre(factor):
    ramp = identity_grid(64, 64)[:1][None]  # the value at x is x
    where = {kind: kind(1, factor)(ramp)[0, 0] for kind in (AntiAliasedDownsample, StridedGaussian)}
    middle = 32 // factor
    centre, first = identity_grid(64 // factor, 1)[1, middle], identity_grid(64, 1)[1, factor * middle]
    torch.testing.assert_close(where[AntiAliasedDownsample][middle, middle], centre[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(where[StridedGaussian][middle, middle], first[0], atol=1e-5, rtol=0)


def test_striding_darkens_the_border_and_refuses_sizes_that_it_does_not_give():
    white = StridedGaussian(3, 4)(torch.ones(1, 3, 32, 32))
    assert white[..., 0, 0].max() < 0.5 and white[..., 4, 4].min() > 0.999
    with pytest.raises(ValueError, match=r"\(32, 32\) reduced by 4 is \(8, 8\), not \(16, 16\)"):
        StridedGaussian(3, 4)(torch.ones(1, 3, 32, 32), (16, 16))


# Networks: conv_bias, region_padding, background


def test_a_bias_before_a_batch_norm_changes_nothing_in_training():
    block, x = conv_block(3, 4), torch.rand(2, 3, 8, 8)
    before = block(x)
    add_biases(block)
    with torch.no_grad():
        block[0].bias += 10
    torch.testing.assert_close(block(x), before, atol=1e-4, rtol=0)


def test_heat_maps_without_padding_are_six_pixels_smaller():
    image = torch.rand(1, 3, 64, 64)
    assert network(region_padding=3).regions(image).heatmap.shape[-1] == 32
    assert network(region_padding=0).regions(image).heatmap.shape[-1] == 26


@pytest.mark.parametrize("background", ["affine", "shift", "perspective"])
def test_every_background_starts_at_rest(background):
    parts = network(background=background)
    matrix = parts.background(*torch.rand(2, 1, 3, 64, 64))
    still = regions_of(torch.eye(2)[None, None])
    moved = parts.flow.motions(still, still, matrix, 8, 8)
    torch.testing.assert_close(moved[0, 0], identity_grid(8, 8))


def test_a_homography_divides_by_its_third_coordinate():
    matrix = torch.eye(3)[None].clone()
    matrix[0, 2, 2] = 2
    torch.testing.assert_close(projective_motion(matrix, identity_grid(4, 4))[0], identity_grid(4, 4) / 2)


# Motions: axis_sign, reflected_frames, bump_spread, bump_variance


def test_the_sign_of_the_first_entry_flips_a_small_change_of_stretched_regions():
    stretched = torch.diag(torch.tensor([1.0, 0.2]))
    source = regions_of((turned(60) @ stretched)[None, None])

    def motion(degrees, sign_of):
        return sparse_motions(
            source, regions_of((turned(degrees) @ stretched)[None, None]), AT_REST, 8, 8, sign_of=sign_of
        )

    # A turn from -29 or -31 degrees to 60: just below, and just above a right angle.
    for sign_of in (sign_of_first, sign_of_turn):
        assert (motion(-29.0, sign_of) - motion(-31.0, sign_of)).abs().max() > 1, "both flip at a right angle"
    # Where two entries of the diagonal disagree, the first alone decides theirs.
    matrix = torch.tensor([[-0.05, 1.0], [-1.0, 0.9]])
    assert sign_of_first(matrix) == -1 and sign_of_turn(matrix) == 1


def test_reflected_frames_cancel_in_every_motion():
    covariances = torch.rand(2, 1, 5, 2, 1, generator=torch.Generator().manual_seed(0)) - 0.5
    covariances = covariances @ covariances.mT + 0.05 * torch.eye(2)
    plain = [regions_of(affine_frame(c)) for c in covariances]
    mirror = torch.tensor([1.0, -1.0])
    reflected = [regions_of(affine_frame(c) * mirror) for c in covariances]
    expected = sparse_motions(*plain, AT_REST, 8, 8)
    torch.testing.assert_close(sparse_motions(*reflected, AT_REST, 8, 8), expected)
    image = torch.rand(1, 3, 64, 64)
    frames = {name: network(reflected_frames=name).regions(image).affine for name in (False, True)}
    torch.testing.assert_close(frames[True], frames[False] * mirror)
    assert (torch.linalg.det(frames[True]) < 0).all() and (torch.linalg.det(frames[False]) > 0).all()


def test_spread_keeps_the_bump_of_a_point_finite():
    point = regions_of(torch.zeros(1, 1, 2, 2))
    assert gaussian_heatmaps(point, 8, 8).isfinite().all()
    assert not gaussian_heatmaps(point, 8, 8, spread=0.0).isfinite().all()


def test_round_bumps_are_gaussians_of_the_same_variance_everywhere():
    same = regions_of(0.1 * torch.eye(2).expand(1, 2, 2, 2), torch.tensor([[[0.2, -0.1], [-0.5, 0.5]]]))
    expected = gaussian_heatmaps(same, 8, 8, spread=0.0)
    torch.testing.assert_close(round_heatmaps(same, 8, 8, variance=0.01, grid_of=identity_grid), expected)
    bumps = network(bump_variance=0.01).flow.bumps
    torch.testing.assert_close(bumps(same, 8, 8), expected)


# Decoder: blend_skips, blend_source


def test_where_all_is_visible_the_final_blend_shows_the_warped_source_and_nothing_painted():
    source = smooth_image(32)
    flow = 0.1 * torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    for blend_source, share in ((True, 1.0), (False, 0.0)):
        decoder = network(blend_skips=True, blend_source=blend_source)
        shown = decoder.decode(source, Motion(flow, torch.ones(1, 1, 8, 8)))
        is_copy = (shown - warp(source, resize(flow, 32))).abs().amax(1) < 1e-6
        assert is_copy.float().mean() == share


def test_where_nothing_is_visible_blends_leave_the_decoder_alone():
    hidden = Motion(torch.zeros(1, 2, 8, 8), torch.zeros(1, 1, 8, 8))
    decoder = network(blend_skips=True, blend_source=True)
    a, b = (decoder.decode(torch.rand(1, 3, 32, 32), hidden) for _ in range(2))
    torch.testing.assert_close(a, b)


def test_blending_skips_adds_no_parameters_and_needs_skips():
    assert not [name for name, _ in network(blend_skips=True).named_parameters() if "merge" in name]
    with pytest.raises(ValueError, match="blend_skips=True needs skips=True"):
        with_published(replace(TINY, skips=False), blend_skips=True)


@pytest.mark.parametrize("variant", [{"blend_skips": True, "blend_source": True}, {"absolute_resize": True}])
def test_variants_decode_all_frames_of_a_video_at_once(variant):
    decoder, video = network(**variant), torch.rand(2, 3, 4, 32, 32)
    source = video[:, :, 0]
    together = decoder.reconstruct(video)
    one_by_one = [decoder.decode(source, decoder.estimate_motion(source, video[:, :, t])) for t in range(4)]
    torch.testing.assert_close(together, torch.stack(one_by_one, dim=2), atol=1e-5, rtol=0)


# All of them

FIELDS_WITHOUT_WEIGHTS = dict(
    corner_grids=True, outside="zeros", reflected_frames=True, frame_soften=0.0, axis_sign="first", bump_spread=0.0,
    bump_variance=0.01, strided_downsampling=True, absolute_resize=True, blend_source=True,
)  # fmt: skip


@pytest.mark.parametrize("field", FIELDS_WITHOUT_WEIGHTS)
def test_a_field_that_is_switched_alone_leaves_initial_weights_and_all_else_alone(field):
    ours, theirs = network(), network(**{field: FIELDS_WITHOUT_WEIGHTS[field]})
    assert list(theirs.state_dict()) == list(ours.state_dict())
    assert all(tensor.equal(ours.state_dict()[name]) for name, tensor in theirs.state_dict().items())
    video = torch.rand(1, 3, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    assert theirs.reconstruct(video).shape == video.shape


# The transform of the equivariance loss


def test_the_taxicab_transform_has_the_jacobian_that_autograd_finds():
    transform = TaxicabTransform(2, 0.1, 0.02, generator=torch.Generator().manual_seed(0))
    points = (2 * torch.rand(2, 7, 2, generator=torch.Generator().manual_seed(1)) - 1).requires_grad_()
    moved = transform(points)
    rows = [torch.autograd.grad(moved[..., i].sum(), points, retain_graph=True)[0] for i in range(2)]
    torch.testing.assert_close(transform.jacobian(points), torch.stack(rows, dim=2), atol=1e-5, rtol=1e-4)


def test_a_taxicab_transform_at_rest_moves_no_point_and_still_shrinks_the_image():
    transform = TaxicabTransform(1, 0.0, 0.0)
    points = torch.rand(1, 7, 2)
    torch.testing.assert_close(transform(points), points)
    image = smooth_image()
    assert (transform.frames(image) - image).abs().mean() > 0.01


# Gradients: frame_soften


def covariances(count: int) -> torch.Tensor:
    """Random ones, and of each kind of degeneracy a share: isotropic, diagonal, nearly isotropic, thin, a point."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(count, 2, 2, generator=generator) * 10 ** (-3 * torch.rand(count, 1, 1, generator=generator))
    found = root @ root.mT
    size = torch.rand(count, 1, 1, generator=generator)
    kind = torch.arange(count) % 8
    found[kind == 1] = (size * torch.eye(2))[kind == 1]
    found[kind == 2] = torch.diag_embed(torch.rand(count, 2, generator=generator))[kind == 2]
    found[kind == 3] = (size * torch.eye(2) + 1e-7 * found)[kind == 3]
    line = torch.randn(count, 2, 1, generator=generator)
    found[kind == 4] = (line @ line.mT)[kind == 4]
    found[kind == 5] = 0.0
    return found


@pytest.mark.parametrize("soften", [1e-3, 0.0], ids=["ours", "theirs"])
def test_gradients_through_regions_and_motions_are_finite_where_those_of_an_svd_are_not(soften):
    # Bumps of covariances without area cannot be inverted unless they are spread, so spread they are in both.
    given = covariances(10_000).view(1, -1, 2, 2).requires_grad_()

    def regions(covariance):
        shift = 0.1 * torch.ones(1, covariance.shape[1], 2)
        return Regions(shift, covariance, affine_frame(covariance, soften=soften), covariance)

    driving, source = regions(given), regions(given.flip(1))
    for sign_of in (sign_of_turn, sign_of_first):
        motions = sparse_motions(source, driving, AT_REST, 2, 2, sign_of=sign_of)
        seen = motions.sum() + gaussian_heatmaps(driving, 2, 2).sum()
        (gradient,) = torch.autograd.grad(seen, given, retain_graph=True)
        assert motions.isfinite().all() and gradient.isfinite().all()

    through_svd = given.detach().clone().requires_grad_()
    u, s, _ = torch.linalg.svd(through_svd)
    (u * s.sqrt()[..., None, :] @ torch.tensor([1.0, 2.0])).sum().backward()
    failed = ~through_svd.grad.isfinite().flatten(2).all(-1)
    assert failed.float().mean() > 0.2


def test_softening_changes_gradients_near_isotropy_and_no_values():
    covariance = torch.tensor([[0.200, 0.001], [0.001, 0.201]], requires_grad=True)
    frames = [affine_frame(covariance, soften=soften) for soften in (1e-3, 0.0)]
    torch.testing.assert_close(*frames, atol=0, rtol=0)
    steep = [torch.autograd.grad(frame[0, 1], covariance)[0].abs().max() for frame in frames]
    assert steep[1] > 10 * steep[0]
