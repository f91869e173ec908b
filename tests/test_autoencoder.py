"""The auto-encoder and its motion: shapes, the identity, and one batched call for all frames."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from lfdm_lite import layers
from lfdm_lite.autoencoder import LatentFlowAutoencoder, LFAEConfig
from lfdm_lite.files.models.weights import WithoutMemory
from lfdm_lite.geometry import RandomTransform, identity_grid, resize, warp
from lfdm_lite.layers import UpBlock
from lfdm_lite.losses import (
    equivariance_loss,
    local_contrast,
    pyramid_loss,
    smoothness_loss,
    stillness_loss,
    visibility_loss,
)
from lfdm_lite.motion import FlowRefiner, Motion, gaussian_heatmaps, sparse_motions
from lfdm_lite.regions import Regions, affine_frame
from lfdm_lite.training.configs import AutoencoderRun
from lfdm_lite.training.stages.stage_one import AutoencoderObjective

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


def test_stillness_counts_flow_only_where_nothing_changes():
    source = torch.rand(1, 3, 16, 16)
    driving = source.clone()
    driving[..., 8:] = 1 - source[..., 8:]  # the right half is another picture
    flow = torch.full((1, 2, 8, 8), 0.1, requires_grad=True)
    occlusion = torch.ones(1, 1, 8, 8)
    stillness_loss(Motion(flow, occlusion), source, driving).backward()
    assert (flow.grad[..., :3] > 0).all(), "what stands still shall move less"
    assert (flow.grad[..., 4:] < 1e-6).all(), "what changes may move"
    still = stillness_loss(Motion(torch.zeros(1, 2, 8, 8), occlusion), source, source)
    moves = stillness_loss(Motion(flow.detach(), occlusion), source, source)
    assert still < 1e-3
    torch.testing.assert_close(moves, torch.tensor(0.1 * 2**0.5), rtol=1e-4, atol=0)  # its length, where all counts


def test_stillness_looks_at_the_size_of_the_motion_whatever_that_is():
    source, driving = torch.rand(2, 1, 3, 16, 16)
    found = [
        stillness_loss(Motion(torch.ones(1, 2, side, side), torch.ones(1, 1, side, side)), source, source)
        for side in (4, 8, 16)
    ]
    torch.testing.assert_close(torch.stack(found), torch.full((3,), 2**0.5))
    assert stillness_loss(Motion(torch.ones(1, 2, 8, 8), torch.ones(1, 1, 8, 8)), source, driving) < 0.05


def test_smoothness_carries_a_motion_across_one_colour_and_not_across_an_edge():
    picture = torch.zeros(1, 3, 16, 16)
    picture[..., 8:] = 1  # one edge, between columns 7 and 8
    flow = torch.zeros(1, 2, 16, 16)
    flow[..., 4:] = 0.1  # the left thing moves by halves, the right one as a whole
    flow.requires_grad_()
    loss = smoothness_loss(Motion(flow, torch.ones(1, 1, 16, 16)), picture, tolerance=0.05)
    torch.testing.assert_close(loss, torch.tensor(2 * 0.1 / 15), rtol=1e-4, atol=0)  # one of 15 pairs in a row jumps
    loss.backward()
    assert (flow.grad[..., 3] < 0).all() and (flow.grad[..., 4] > 0).all(), "both sides of the jump draw together"
    jump = torch.zeros(1, 2, 16, 16)
    jump[..., 8:] = 0.1  # where the edge is
    assert smoothness_loss(Motion(jump, torch.ones(1, 1, 16, 16)), picture, tolerance=0.05) < 1e-6
    assert smoothness_loss(Motion(jump, torch.ones(1, 1, 16, 16)), picture, tolerance=1e9) > 0.01


def test_local_contrast_makes_a_weak_shade_count_as_much_as_a_strong_edge():
    stripes = (torch.arange(32) // 4 % 2).float().expand(1, 3, 32, 32)
    strong, weak = (local_contrast(0.5 + size * (stripes - 0.5), floor=1e-4) for size in (0.8, 0.02))
    torch.testing.assert_close(weak, strong, atol=0.03, rtol=0)
    assert strong.std() > 0.5
    assert local_contrast(torch.full((1, 3, 32, 32), 0.7)).abs().max() < 1e-3, "no shade is no contrast"
    faint = local_contrast(0.5 + 0.001 * (stripes - 0.5))
    assert faint.std() < 0.05, "what is far below the floor does not count"


def test_a_second_look_changes_nothing_at_first_and_finds_what_the_first_one_left():
    torch.manual_seed(0)
    refiner = FlowRefiner(8, 2, 16)
    source = resize(torch.rand(1, 3, 6, 6), (32, 32))  # soft blobs
    shift = torch.zeros(1, 2, 16, 16)
    shift[:, 0] = 2 / 16  # two pixels of 32
    driving = warp(source, resize(shift, (32, 32)))
    still = Motion(torch.zeros(1, 2, 16, 16), torch.full((1, 1, 16, 16), 0.9))
    first = refiner(source, driving, still)
    torch.testing.assert_close(first.flow, still.flow)
    torch.testing.assert_close(first.occlusion, still.occlusion)
    optimizer = torch.optim.Adam(refiner.parameters(), 1e-3)
    for _ in range(60):
        found = refiner(source, driving, still)
        loss = (warp(source, resize(found.flow, (32, 32))) - driving).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * (source - driving).abs().mean(), "it sees both pictures, so it can learn to bring them together"


def test_an_autoencoder_with_a_second_look_keeps_its_shapes():
    network = LatentFlowAutoencoder(replace(SMALL, refine_width=8)).eval()
    video = torch.rand(2, 3, 5, 32, 32)
    motion = network.estimate_motion(video[:, :, 0], video)
    plain = LatentFlowAutoencoder(SMALL)
    plain.load_state_dict(network.state_dict(), strict=False)
    first = plain.eval().estimate_motion(video[:, :, 0], video)
    torch.testing.assert_close(motion.flow, first.flow)  # untrained, it changes nothing
    assert network.reconstruct(video).shape == video.shape


def test_the_motion_may_be_finer_than_the_latent():
    torch.manual_seed(0)
    fine = LatentFlowAutoencoder(replace(SMALL, motion_stride=2)).eval()
    video = torch.rand(2, 3, 5, 32, 32)
    motion = fine.estimate_motion(video[:, :, 0], video)
    assert motion.flow.shape == (2, 2, 5, 16, 16) and motion.occlusion.shape == (2, 1, 5, 16, 16)
    assert fine.encode(video[:, :, 0]).shape == (2, 16, 8, 8)
    assert fine.reconstruct(video).shape == video.shape
    assert SMALL.flow_stride == 4 and fine.config.flow_stride == 2
    for stride in (0, 3, 8):
        with pytest.raises(ValueError, match=f"motion_stride={stride}: must divide 4"):
            replace(SMALL, motion_stride=stride)


def test_a_network_built_without_memory_spreads_its_kernels_as_any():
    with WithoutMemory():
        sketch = UpBlock(4, 4)
    assert sketch.spread.device.type == "meta" or sketch.spread.equal(UpBlock(4, 4).spread)
    assert UpBlock(4, 4).spread.sum() == 9 * 4 and UpBlock(4, 4).spread.unique().tolist() == [0, 1]


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

@pytest.mark.parametrize(("kernel", "h", "w"), [(7, 16, 16), (7, 64, 48), (7, 3, 5), (7, 1, 1), (3, 2, 8), (1, 4, 4)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_picture_is_made_row_by_row_as_by_the_convolution_itself(kernel, h, w, layout):
    to_image = layers.ToImage(5, kernel).double()
    x = torch.randn(2, 5, h, w, dtype=torch.float64).to(memory_format=layout)
    with torch.no_grad():
        made = to_image(x)
    assert torch.allclose(made, F.conv2d(x, to_image.weight, to_image.bias, padding=kernel // 2), atol=1e-12)
    assert torch.allclose(made, to_image(x), atol=1e-12), "with gradients"


def test_a_picture_is_summed_in_float32_when_its_rows_are_made_in_bfloat16():
    to_image, x = layers.ToImage(32), torch.randn(2, 32, 24, 24)
    with torch.no_grad():
        true = to_image(x)
        with torch.autocast("cpu", torch.bfloat16):
            ours, plain = to_image(x), F.conv2d(x, to_image.weight, to_image.bias, padding=3)
    assert ours.dtype == torch.float32
    assert (ours - true).square().mean() < 1.5 * (plain.float() - true).square().mean()



@pytest.mark.parametrize("side", [3, 32], ids=["few pixels", "many pixels"])
@pytest.mark.parametrize("biased", [False, True])
def test_doubling_and_convolving_at_once_equals_one_after_the_other(side, biased):
    x, weight = torch.randn(2, 5, side, side).double(), torch.randn(4, 5, 3, 3).double()
    bias = torch.randn(4).double() if biased else None
    given = [tensor.requires_grad_() for tensor in (x, weight, bias) if tensor is not None]
    plain = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, bias, padding=1)
    ours = layers.double_and_convolve(x, weight, layers.spreading_kernel().double(), bias)
    torch.testing.assert_close(ours, plain)
    wanted = torch.autograd.grad(plain.square().sum(), given)
    for found, known in zip(torch.autograd.grad(ours.square().sum(), given), wanted, strict=True):
        torch.testing.assert_close(found, known)
    assert (x.shape[0] * side**2 >= layers.PIXELS_WORTH_IT) == (side == 32), "both ways are taken"


def test_regions_that_are_known_need_not_be_found_again(network):
    source, video = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 2, 64, 64)
    known = network.regions(video.transpose(1, 2).flatten(0, 1))
    found, again = network.estimate_motion(source, video), network.estimate_motion(source, video, known)
    torch.testing.assert_close(found, again)
    others = Regions(*(field.flip(0) for field in known))
    assert not torch.equal(network.estimate_motion(source, video, others).flow, found.flow), "they are looked at"


def test_a_training_step_finds_each_regions_once_and_leaves_out_what_has_no_weight(network):
    seen = []
    network.regions.register_forward_hook(lambda module, given, found: seen.append(len(given[0])))
    run = AutoencoderRun(pixel_weight=0.0, shift_weight=2.0, affine_weight=0.0, visibility_weight=3.0)
    transform = RandomTransform(2)
    frames = (255 * torch.rand(2, 2, 3, 64, 64)).to(torch.uint8)
    batch = {"source": frames[0], "driving": frames[1], "affine": transform.affine, "weights": transform.weights}
    found = AutoencoderObjective(network, run)(batch)
    assert seen == [2, 2, 2], "source, driving and deformed driving frames"
    torch.testing.assert_close(found["loss"], 2 * found["shift"] + 3 * found["visibility"])
    assert found["reconstruction"] > 0, "it is still told"


def test_a_loss_without_any_weight_is_refused(network):
    weightless = replace(AutoencoderRun(), perceptual_weight=0.0)
    objective = AutoencoderObjective(network, weightless)
    objective.weight_of = lambda name: 0.0
    with pytest.raises(ValueError, match="no part of the loss has a weight"):
        objective.weigh({"reconstruction": torch.ones(())})
