"""Pictures of videos and flows, and players that move without a kernel.

What is drawn comes as a `Picture` or a `Player`: both show themselves at the end of a Jupyter cell, carry a text for
who cannot see them (`alt`), and save themselves. `show_images` and `show_strips` show at once, also amid a cell.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .flow_pictures import colour_wheel_picture, flow_arrows, flow_overlay
from .lettering import text_line, text_width
from .players import Player, player, slider
from .stills import PAD, Picture, check_titles, display, magnified, padded, scale_to

__all__ = ["Picture", "Player", "colour_wheel_picture", "contact_sheet", "flow_arrows", "flow_overlay", "grid_of_clips"]
__all__ += ["image_row", "player", "show_images", "show_strips", "slider", "video_strip"]


def show_images(
    images: Sequence[Tensor] | Float[Tensor, "n c h w"],
    titles: Sequence[str] = (),
    scale: int | None = None,
    alt: str = "",
) -> None:
    """Show `image_row` here and now."""
    display(image_row(images, titles, scale, alt))


def show_strips(
    videos: Float[Tensor, "n 3 t h w"], titles: Sequence[str] = (), scale: int | None = None, alt: str = ""
) -> None:
    """Show all frames of several clips here and now, one clip a row, its title at the left."""
    scale = scale_to(96, videos.shape[3]) if scale is None else scale
    display(contact_sheet(videos, titles, videos.shape[2], scale, numbers=False, alt=alt))


def image_row(
    images: Sequence[Tensor] | Float[Tensor, "n c h w"],
    titles: Sequence[str] = (),
    scale: int | None = None,
    alt: str = "",
) -> Picture:
    """Images and maps side by side, a title above each.

    Args:
        images: RGB `(3, h, w)` or grey `(h, w)` or `(1, h, w)`, values in [0, 1]; smaller ones are magnified to match.
        titles: one an image, or none at all.
        scale: magnification of every pixel of the largest; to about 128 pixels of height unless given.

    Raises:
        ValueError: titles, but not one an image; or no images.
    """
    if len(images) == 0:
        raise ValueError("no images to show; expected at least one")
    check_titles(titles, len(images), "images")
    tallest = max(image.shape[-2] for image in images)
    scale = scale_to(128, tallest) if scale is None else scale
    cells = []
    for i, image in enumerate(images):
        rgb = image.detach().float().cpu().expand(3, *image.shape[-2:])[:, None]
        cell = padded(magnified(rgb, scale * max(1, tallest // image.shape[-2])))[:, 0]
        cell = F.pad(cell, (0, 0, 0, scale * tallest + 2 * PAD - cell.shape[1]), value=1.0)
        cells.append(torch.cat([text_line(titles[i], cell.shape[2], middle=True), cell], dim=1) if titles else cell)
    shown = f": {', '.join(titles)}" if titles else ""
    return Picture(torch.cat(cells, dim=2), alt or f"{len(images)} images side by side{shown}")


def video_strip(
    video: Float[Tensor, "3 t h w"], frames: int = 8, scale: int = 1, numbers: bool = True, alt: str = ""
) -> Picture:
    """A clip as a row of frames, spread evenly from first to last; time runs to the right.

    Args:
        video: RGB in [0, 1].
        frames: how many, at most all of them.
        scale: magnification of every pixel.
        numbers: write above each frame which one it is.
        alt: text for who cannot see it; says the number of frames unless given.
    """
    count = min(frames, video.shape[1])
    return contact_sheet(video[None], (), frames, scale, numbers, alt or f"{count} frames of a video side by side")


def contact_sheet(
    videos: Float[Tensor, "n 3 t h w"],
    labels: Sequence[str] = (),
    frames: int = 8,
    scale: int = 1,
    numbers: bool = True,
    alt: str = "",
) -> Picture:
    """Several clips, one a row, its label at the left; time runs to the right.

    Args:
        labels: one a clip, or none at all.
        frames: frames of each clip, spread evenly.
        scale: magnification of every pixel.
        numbers: write above each column which frame it is.

    Raises:
        ValueError: labels, but not one a clip.
    """
    check_titles(labels, len(videos), "videos")
    t = videos.shape[2]
    chosen = torch.linspace(0, t - 1, max(1, min(t, frames))).round().long().tolist()
    rows = [torch.cat(padded(magnified(v[:, chosen].cpu(), scale)).unbind(1), dim=2) for v in videos]
    if numbers:
        cell = rows[0].shape[2] // len(chosen)
        rows.insert(0, torch.cat([text_line(str(i), cell, middle=True) for i in chosen], dim=2))
    if labels:
        width = max(text_width(label) for label in labels) + 8
        left = [*[""] * (len(rows) - len(labels)), *labels]
        margins = [text_line(text, width, row.shape[1]) for text, row in zip(left, rows, strict=True)]
        rows = [torch.cat(pair, dim=2) for pair in zip(margins, rows, strict=True)]
    shown = f": {', '.join(labels)}" if labels else ""
    return Picture(torch.cat(rows, dim=1), alt or f"{len(videos)} videos as rows of {len(chosen)} frames{shown}")


def grid_of_clips(
    videos: Float[Tensor, "n 3 t h w"], labels: Sequence[str] = (), columns: int | None = None, scale: int = 1
) -> Float[Tensor, "3 t y x"]:
    """Several clips → one clip that shows them side by side, each with its label above; for a `Player` or a file.

    Args:
        labels: one a clip, or none at all.
        columns: clips in a row; at most 6 unless given.
        scale: magnification of every pixel.

    Raises:
        ValueError: labels, but not one a clip.
    """
    check_titles(labels, len(videos), "videos")
    columns = min(len(videos), 6) if columns is None else columns
    cells = []
    for i, video in enumerate(videos):
        cell = padded(magnified(video.cpu(), scale))
        if labels:
            title = text_line(labels[i], cell.shape[3], middle=True)[:, None].expand(-1, cell.shape[1], -1, -1)
            cell = torch.cat([title, cell], dim=2)
        cells.append(cell)
    cells += [torch.ones_like(cells[0])] * (-len(cells) % columns)
    rows = [torch.cat(cells[i : i + columns], dim=3) for i in range(0, len(cells), columns)]
    return torch.cat(rows, dim=2)
