"""What the published code does otherwise when it samples."""

import torch


def interior_timesteps(num_steps: int, steps: int) -> list[int]:
    """The points between `steps` + 1 equal parts of 0 to num_steps, rounded down, descending: 909 of 1000 for 10 steps.

    Args:
        steps: at least 1, below num_steps.
    """
    return torch.linspace(0, num_steps, steps + 2)[1:-1].long().flip(0).tolist()
