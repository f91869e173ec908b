"""The auto-encoder and its motion: shapes, the identity, and one batched call for all frames."""

import pytest
import torch

from lfdm_lite.autoencoder import LatentFlowAutoencoder, LFAEConfig
from lfdm_lite.geometry import RandomTransform, identity_grid
from lfdm_lite.losses import equivariance_loss, pyramid_loss, visibility_loss
from lfdm_lite.motion import Motion, gaussian_heatmaps, sparse_motions
from lfdm_lite.regions import Regions, affine_frame

SMALL = LFAEConfig(
    num_regions=3, width=8, latent_channels=16, num_residual=1, region_width=8, region_depth=2, flow_width=8,
    flow_depth=2, background_width=8, background_depth=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return LatentFlowAutoencoder(SMALL).eval()


def regions_at(*points):
    shift = torch.tensor([points])
    covariance = torch.diag(torch.tensor([0.04, 0.01])).expand(1, len(points), 2, 2)
    return Regions(shift, covariance, affine_frame(covariance), torch.zeros(1, len(points), 4, 4))


def test_regions_that_did_not_move_look_where_they_stand():
    still = regions_at([0.1, 0.2], [-0.3, 0.0])
    motions = sparse_motions(still, still, torch.eye(2, 3)[None], 8, 8)
    torch.testing.assert_close(motions, identity_grid(8, 8).expand(1, 3, 2, 8, 8), atol=1e-6, rtol=0)


def test_a_region_that_moved_right_is_looked_up_on_the_left():
    motions = sparse_motions(regions_at([0.0, 0.0]), regions_at([0.25, 0.0]), torch.eye(2, 3)[None], 8, 8)
    flow = motions[:, 1] - identity_grid(8, 8)
    torch.testing.assert_close(flow[0, 0], torch.full((8, 8), -0.25), atol=1e-6, rtol=0)
    torch.testing.assert_close(flow[0, 1], torch.zeros(8, 8), atol=1e-6, rtol=0)


def test_a_bump_peaks_at_its_region():
    bump = gaussian_heatmaps(regions_at([0.125, -0.375]), 8, 8)[0, 0]
    assert divmod(int(bump.argmax()), 8) == (2, 4)


def test_shapes_of_all_parts(network):
    video = torch.rand(2, 3, 5, 32, 32)
    motion = network.estimate_motion(video[:, :, 0], video)
    assert network.encode(video[:, :, 0]).shape == (2, 16, 8, 8)
    assert motion.flow.shape == (2, 2, 5, 8, 8) and motion.occlusion.shape == (2, 1, 5, 8, 8)
    assert network.reconstruct(video).shape == video.shape
    assert ((motion.occlusion > 0) & (motion.occlusion < 1)).all()


def test_all_frames_in_one_batch_equal_frame_by_frame(network):
    video = torch.rand(2, 3, 4, 32, 32)
    source = video[:, :, 0]
    together = network.reconstruct(video)
    one_by_one = [network.decode(source, network.estimate_motion(source, video[:, :, t])) for t in range(4)]
    torch.testing.assert_close(together, torch.stack(one_by_one, dim=2), atol=1e-5, rtol=0)


def test_a_masked_latent_hides_the_source_from_the_decoder(network):
    hidden = Motion(torch.zeros(1, 2, 8, 8), torch.zeros(1, 1, 8, 8))
    a, b = (network.decode(torch.rand(1, 3, 32, 32), hidden) for _ in range(2))
    torch.testing.assert_close(a, b)


def test_sizes_that_do_not_fit_are_named(network):
    with pytest.raises(ValueError, match="must agree in batch and size"):
        network.estimate_motion(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 16, 16))
    with pytest.raises(ValueError, match="divisible by 4"):
        network.estimate_motion(torch.rand(1, 3, 36, 36), torch.rand(1, 3, 36, 36))


def test_the_pyramid_loss_is_zero_for_equal_images_and_sees_blur():
    image = torch.rand(1, 3, 16, 16)
    assert pyramid_loss(image, image) == 0
    grey, bright = torch.full_like(image, 0.5), torch.full_like(image, 0.6)
    torch.testing.assert_close(pyramid_loss(grey, bright), torch.tensor(0.1), atol=1e-6, rtol=0)


def test_the_visibility_loss_wants_low_values_only_where_the_warp_fails():
    source = torch.full((1, 3, 16, 16), 0.2)
    driving = source.clone()
    driving[..., 8:] = 0.9  # the right half cannot be fetched from the source
    flow = torch.zeros(1, 2, 4, 4, requires_grad=True)
    occlusion = torch.full((1, 1, 4, 4), 0.5, requires_grad=True)
    visibility_loss(Motion(flow, occlusion), source, driving).backward()
    assert (occlusion.grad[..., :2] < 0).all(), "more visible where the warp explains the frame"
    assert (occlusion.grad[..., 2:] > 0).all(), "less visible where it does not"
    assert flow.grad is None, "the flow does not learn from it"


def test_equivariance_vanishes_without_a_deformation(network):
    image = torch.rand(2, 3, 32, 32)
    regions = network.regions(image)
    shift, affine = equivariance_loss(network.regions, image, regions, RandomTransform(2, 0.0, 0.0))
    assert shift < 1e-4 and affine < 1e-2


def test_every_parameter_gets_a_gradient_from_the_losses(network):
    network.train()
    source, driving = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    painted, _ = network(source, driving)
    shift, affine = equivariance_loss(network.regions, driving, network.regions(driving), RandomTransform(2))
    (pyramid_loss(painted, driving) + shift + affine).backward()
    network.eval()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
