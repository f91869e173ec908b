"""Stills of flows: the legend of the colours, colours over a frame, arrows over a frame. `viz` hands them out.

Pillow draws the arrows; it is imported where it is used.
"""

from importlib import import_module

import torch
from jaxtyping import Float
from torch import Tensor

from ..files.pictures import need, to_pillow
from ..flow import flow_to_rgb, in_pixels
from ..geometry import identity_grid
from .lettering import from_pillow_rgb
from .stills import Picture, magnified


def colour_wheel_picture(size: int = 96, alt: str = "") -> Picture:
    """The legend of `flow_to_rgb`: every direction and length, from none in the middle to full colour at the rim."""
    grid = identity_grid(size, size)
    inside = (grid.norm(dim=0) <= 1).float()
    image = flow_to_rgb(grid, max_norm=1.0) * inside + (1 - inside)
    return Picture(image, alt or "Colour wheel: right red, down yellow, left cyan, up violet; no motion white")


def flow_overlay(
    image: Float[Tensor, "3 h w"],
    flow: Float[Tensor, "2 h w"],
    strength: float = 0.6,
    max_norm: float | int | None = None,
    scale: int = 4,
    alt: str = "",
) -> Picture:
    """The colours of a flow over the grey image that moves.

    Args:
        image: the driving frame, RGB in [0, 1].
        flow: normalized, of the image's size.
        strength: of the colours against the image, in [0, 1].
        max_norm: as in `flow_to_rgb`.
        scale: magnification of every pixel.
    """
    grey = image.mean(0, keepdim=True)
    mixed = (1 - strength) * grey + strength * flow_to_rgb(flow, max_norm) * (0.3 + 0.7 * grey)
    return Picture(magnified(mixed[:, None].cpu(), scale)[:, 0], alt or "flow in colours over the frame")


def flow_arrows(
    image: Float[Tensor, "3 h w"], flow: Float[Tensor, "2 h w"], every: int = 6, scale: int = 6, alt: str = ""
) -> Picture:
    """Arrows over the driving frame: each starts where the source shows the content and ends where it is now.

    Backward flow itself points the other way, from here to where to look. Less than half a pixel is drawn as a dot.

    Args:
        image: the driving frame, RGB in [0, 1].
        flow: normalized, of the image's size.
        every: pixels between arrows.
        scale: magnification of every pixel.
    """
    need("PIL.Image")
    canvas = magnified(image[:, None].cpu(), scale)[:, 0]
    size, fine = (canvas.shape[2], canvas.shape[1]), 3  # drawn three times as large, then made small: smooth lines
    picture = to_pillow(0.5 + 0.5 * canvas).resize((size[0] * fine, size[1] * fine))
    draw, unit = import_module("PIL.ImageDraw").Draw(picture), scale * fine
    moved = unit * in_pixels(flow[None].cpu())[0]
    for y in range(every // 2, image.shape[1], every):
        for x in range(every // 2, image.shape[2], every):
            back_x, back_y = moved[:, y, x].tolist()
            tip = torch.tensor([(x + 0.5) * unit, (y + 0.5) * unit])
            back = torch.tensor([back_x, back_y])
            if back.norm() < 0.5 * unit:
                draw.ellipse([*(tip - fine).tolist(), *(tip + fine).tolist()], fill=(90, 90, 90))
                continue
            along = back / back.norm() * min(back.norm().item(), 5 * fine)
            across = along.flip(0) * torch.tensor([-0.6, 0.6])
            wings = [tuple((tip + along + side * across).tolist()) for side in (1, -1)]
            shaft = [tuple((tip + back).tolist()), tuple((tip + along / 2).tolist())]
            draw.line(shaft, fill="black", width=round(1.5 * fine))
            draw.polygon([tuple(tip.tolist()), *wings], fill="black")
    drawn = picture.resize(size, import_module("PIL.Image").Resampling.LANCZOS)
    return Picture(from_pillow_rgb(drawn), alt or "arrows of motion over the frame")
