"""What each part of a network costs, by hand and as counted."""

import pytest
import torch
from torch import nn

from lfdm_lite.attention import SpatialAttention, TemporalAttention
from lfdm_lite.training.planning.census import census, kept_bytes, outermost
from lfdm_lite.unet3d import ResidualBlock, UNet3D, UNet3DConfig

KINDS = (ResidualBlock, SpatialAttention, TemporalAttention, nn.Conv2d)
SMALL = UNet3DConfig(feature_channels=5, num_labels=3, num_frames=4, dim=16, dim_mults=(1, 2), heads=2, head_dim=8)


def given(device: str = "cpu") -> tuple[torch.Tensor, ...]:
    steps = torch.zeros(2, dtype=torch.long, device=device)
    return torch.randn(2, 3, 4, 8, 8, device=device), steps, torch.randn(2, 5, 8, 8, device=device), steps


def test_a_convolution_costs_what_is_counted_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 2, 1))
    found = census(network, (nn.Conv2d,), torch.randn(5, 3, 6, 7, requires_grad=True))
    assert list(found) == ["0", "2"] and found["0"].shape == (5, 8, 6, 7)
    assert found["0"].parameters == 3 * 8 * 9 + 8 and found["0"].multiply_adds == 5 * 6 * 7 * 3 * 8 * 9
    assert found["2"].multiply_adds == 5 * 6 * 7 * 8 * 2
    assert found["0"].kept == 4 * 5 * 3 * 6 * 7 and found["2"].kept == 4 * 5 * 8 * 6 * 7  # their inputs


def test_what_lies_in_another_part_is_counted_with_it():
    network = UNet3D(SMALL)
    parts = outermost(network, KINDS)
    assert {"conv_motion", "down.0.blocks.0", "middle_spatial", "grow.0.conv", "head"} <= set(parts)
    assert not [name for name in parts if "block1.conv" in name or name.endswith("to_qkv")]
    found = census(network, KINDS, *given())
    assert set(found) == set(parts)
    assert found["middle_block1"].parameters == sum(p.numel() for p in network.middle_block1.parameters())


def test_a_network_without_numbers_costs_the_same():
    def network() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), SpatialAttention(16, 2, 8), nn.Conv2d(16, 3, 1))

    here = census(network(), KINDS, torch.randn(2, 3, 8, 8))
    with torch.device("meta"):
        nowhere = census(network(), KINDS, torch.empty(2, 3, 8, 8))
    assert {n: cost._replace(kept=0) for n, cost in here.items()} == {
        n: cost._replace(kept=0) for n, cost in nowhere.items()
    }


def test_hooks_are_gone_afterwards_even_after_an_error():
    network = UNet3D(SMALL)
    with pytest.raises(ValueError, match="halved"):
        census(network, KINDS, torch.randn(2, 3, 4, 7, 8), *given()[1:])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_network_without_such_parts_is_refused():
    with pytest.raises(ValueError, match="Linear has no Conv2d"):
        census(nn.Linear(2, 2), (nn.Conv2d,), torch.zeros(1, 2))


def test_views_of_one_tensor_and_parameters_are_kept_once():
    layer, x = nn.Linear(6, 6), torch.randn(4, 6, requires_grad=True)
    assert kept_bytes(layer, x, known=layer.parameters()) == 4 * 24
    assert kept_bytes(lambda x: layer(x) + layer(x.view(4, 6)), x, known=layer.parameters()) == 4 * 24
    assert kept_bytes(layer, x) == 4 * 24 + 4 * 36
