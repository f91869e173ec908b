"""What is true of the factorized space-time UNet."""

import pytest
import torch
from torch.testing import assert_close

from lfdm_lite.attention import (
    FramePositions,
    LinearSpatialAttention,
    SpatialAttention,
    TemporalAttention,
    attend,
    rotary_angles,
    rotate,
)
from lfdm_lite.diffusion import DiffusionConfig, GaussianDiffusion
from lfdm_lite.samplers import guided, sample
from lfdm_lite.unet3d import UNet3D, UNet3DConfig, frame_index

SMALL = UNet3DConfig(feature_channels=5, num_labels=3, num_frames=4, dim=16, dim_mults=(1, 2), heads=2, head_dim=8)


def network(config: UNet3DConfig = SMALL) -> UNet3D:
    """A small network whose zero-initialized head is opened, so that its output depends on its input."""
    torch.manual_seed(0)
    unet = UNet3D(config)
    torch.nn.init.normal_(unet.head.weight)
    return unet.eval()


def inputs(b: int = 2, t: int = 4, size: int = 8, seed: int = 0) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return dict(
        x=torch.randn(b, 3, t, size, size, generator=g),
        t=torch.randint(1000, (b,), generator=g),
        features=torch.randn(b, 5, size, size, generator=g),
        label=torch.randint(3, (b,), generator=g),
    )


def test_an_untrained_network_answers_zero():
    torch.manual_seed(0)
    assert UNet3D(SMALL)(**inputs()).abs().max() == 0


def test_output_has_the_shape_of_the_motion_for_any_size_and_length():
    unet = network()
    for b, t, size in [(1, 4, 8), (3, 7, 12), (2, 1, 16)]:
        assert unet(**inputs(b, t, size)).shape == (b, 3, t, size, size)


def test_clips_of_a_batch_do_not_see_each_other():
    unet, both = network(), inputs(b=2)
    alone = {name: value[:1] for name, value in both.items()}
    assert_close(unet(**both)[:1], unet(**alone), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["x", "t", "features", "label"])
def test_every_input_matters(name):
    unet, a, b = network(), inputs(), inputs(seed=1)
    changed = a | {name: b[name] if name != "label" else torch.full_like(a["label"], unet.null_label)}
    assert (unet(**a) - unet(**changed)).abs().max() > 1e-3


def test_first_layer_equals_the_convolution_of_the_concatenated_input():
    unet, given = network(), inputs()
    x, features = given["x"], given["features"]
    index = frame_index(4, 4, x.device).view(1, 1, 4, 1, 1).expand(2, 1, 4, 8, 8)
    whole = torch.cat([x, index, features[:, :, None].expand(-1, -1, 4, -1, -1)], dim=1)
    weight = torch.cat([unet.conv_motion.weight, unet.conv_index.weight, unet.conv_features.weight], dim=1)
    expected = torch.nn.functional.conv3d(whole, weight[:, :, None], unet.conv_motion.bias, padding=(0, 3, 3))
    actual = unet.conv_in(x, features).unflatten(0, (2, 4)).transpose(1, 2)
    assert_close(actual, expected, atol=1e-4, rtol=1e-4)


def test_with_distances_alone_a_reversed_clip_of_symmetric_bias_is_as_good_as_the_clip():
    """Without a frame index and with a bias blind to direction, nothing tells forwards from backwards; with the
    index, something does.
    """

    def reversal_gap(frame_index: bool) -> float:
        config = UNet3DConfig(**(vars(SMALL) | dict(frame_index=frame_index, frame_embedding=frame_index)))
        unet, given = network(config), inputs()
        with torch.no_grad():
            unet.positions.bias.table.weight.zero_()
            backwards = unet(**(given | {"x": given["x"].flip(2)})).flip(2)
            return (unet(**given) - backwards).abs().max().item()

    assert reversal_gap(frame_index=False) < 1e-4
    assert reversal_gap(frame_index=True) > 1e-3


@pytest.mark.parametrize("anchored", [True, False])
def test_a_network_that_knows_its_frames_learns_to_start_at_rest_and_another_runs_backwards(anchored):
    """Data: flow that grows evenly from rest, to the left for label 0, to the right for label 1."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    config = dict(num_labels=2, num_frames=6, init_kernel=3, frame_index=anchored, frame_embedding=anchored)
    unet = UNet3D(UNet3DConfig(**(vars(SMALL) | config)))
    diffusion = GaussianDiffusion(DiffusionConfig())
    optimizer = torch.optim.AdamW(unet.parameters(), lr=5e-3)
    growth = torch.zeros(1, 3, 6, 4, 4)
    growth[:, 0] = torch.linspace(0, 1.5, 6).view(6, 1, 1)
    for _ in range(80):
        label = torch.randint(2, (8,), generator=generator)
        x0 = (2 * label - 1).view(8, 1, 1, 1, 1) * growth
        optimizer.zero_grad()
        diffusion.loss(unet, x0, torch.zeros(8, 5, 4, 4), label, generator).backward()
        optimizer.step()

    label = torch.arange(2).repeat(16)
    denoise = guided(unet, torch.zeros(32, 5, 4, 4), label)
    x = sample(diffusion, denoise, (32, 3, 6, 4, 4), steps=10, generator=generator, progress=False)
    first, last = x[:, 0, [0, -1]].mean(dim=(2, 3)).unbind(dim=1)
    backwards = (first.abs() > last.abs()).float().mean()
    if anchored:
        assert backwards == 0
        assert first.abs().mean() < 0.3
        assert ((last > 0) == (label == 1)).all()
    else:
        assert backwards > 0.2


def test_frame_index_runs_from_minus_one_at_rest_to_one():
    assert_close(frame_index(5, 5, torch.device("cpu")), torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]))
    assert frame_index(1, 1, torch.device("cpu")).tolist() == [-1.0]


def test_gradients_reach_every_parameter_even_those_of_the_null_label():
    unet, given = network().train(), inputs()
    given["label"] = torch.tensor([0, unet.null_label])
    unet(**given).square().mean().backward()
    for name, parameter in unet.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_bfloat16_autocast_changes_little_and_answers_in_float32():
    unet, given = network(), inputs()
    with torch.no_grad():
        full = unet(**given)
        with torch.autocast("cpu", torch.bfloat16):
            half = unet(**given)
    assert half.dtype == torch.float32
    assert (half - full).std() < 0.05 * full.std()


@pytest.mark.parametrize(
    "changes",
    [
        dict(rotary=True),
        dict(blocks=2, spatial_attention=("linear", "full"), rotary=True),
        dict(frame_index=False, frame_embedding=False, init_kernel=3),
        dict(dim_mults=(1, 2, 4, 8), spatial_attention=("linear",) * 4, blocks=2, heads=8, head_dim=32, rotary=True),
    ],
)
def test_every_switch_of_the_config_gives_a_working_network(changes):
    unet = network(UNet3DConfig(**(vars(SMALL) | dict(spatial_attention=None) | changes)))
    assert unet(**inputs()).isfinite().all()


def test_sizes_that_do_not_fit_are_refused_with_advice():
    unet = network()
    with pytest.raises(ValueError, match="multiples of 2"):
        unet(**inputs(size=7))
    with pytest.raises(ValueError, match="they must have 8x8 places, or a multiple"):
        unet.check_size(torch.zeros(2, 3, 4, 8, 8), torch.zeros(2, 5, 4, 4))
    with pytest.raises(ValueError, match="one kind of attention per level"):
        UNet3DConfig(dim_mults=(1, 2), spatial_attention=("full",))
    with pytest.raises(ValueError, match="accepted are 'none', 'linear' and 'full'"):
        UNet3DConfig(dim_mults=(1,), spatial_attention=("quadratic",))
    with pytest.raises(ValueError, match="multiple of norm_groups"):
        UNet3DConfig(dim=20)


def test_the_formula_of_attention_is_what_torch_computes():
    g = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 6, 8, generator=g)
    bias = torch.randn(4, 6, 6, generator=g)
    assert_close(attend(q, k, v, bias), torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias))


def test_rotary_products_depend_on_the_distance_of_two_frames_alone():
    angle = rotary_angles(9, 8, torch.device("cpu"))
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    turned_q, turned_k = (rotate(vector.expand(9, 8), angle.cos(), angle.sin()) for vector in (q, k))
    product = turned_q @ turned_k.T  # frame of q, frame of k
    for distance in range(-8, 9):
        diagonal = product.diagonal(distance)
        assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert_close(turned_q.norm(dim=-1), q.norm().expand(9))


def test_relative_bias_knows_distance_and_direction():
    bias = FramePositions(heads=2, rotary_dim=None, embedding_dim=None).bias(20)
    assert_close(bias[:, 3, 5], bias[:, 10, 12])
    assert (bias[:, 3, 5] - bias[:, 5, 3]).abs().max() > 0


def test_temporal_attention_looks_at_one_pixel_only_and_spatial_attention_at_one_frame_only():
    torch.manual_seed(0)
    x = torch.randn(2 * 4, 16, 6, 6)  # two clips of four frames
    poked = x.clone()
    poked[1, ::2, 2, 3] += 1  # frame 1 of clip 0
    frames = FramePositions(2, None, 16)(4)
    temporal, spatial, linear = (
        TemporalAttention(16, 2, 8, 16),
        SpatialAttention(16, 2, 8),
        LinearSpatialAttention(16, 2, 8),
    )

    change = (temporal(x, frames) - temporal(poked, frames)).abs().amax(dim=1)  # bt h w
    assert (change[:4, 2, 3] > 1e-6).all()
    change[:4, 2, 3] = 0
    assert change.max() < 1e-6
    for attention in (spatial, linear):
        change = (attention(x) - attention(poked)).abs().amax(dim=(1, 2, 3))  # bt
        assert (change > 1e-6).tolist() == [frame == 1 for frame in range(8)]
