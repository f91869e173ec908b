"""Pictures of videos and flows, and players that move without a kernel.

What is drawn comes as a `Picture` or a `Player`: both show themselves at the end of a Jupyter cell, carry a text for
who cannot see them (`alt`), and save themselves. `show_images` and `show_strips` show at once, also amid a cell.
Pillow draws letters and lines; it is imported where it is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .data.media import write_image
from .data.pictures import encode_png, need, to_pillow
from .flow import flow_to_rgb, in_pixels
from .geometry import identity_grid
from .lettering import from_pillow_rgb, text_line, text_width
from .players import Player, player, slider

__all__ = ["Picture", "Player", "colour_wheel_picture", "contact_sheet", "flow_arrows", "flow_overlay", "grid_of_clips"]
__all__ += ["image_row", "player", "show_images", "show_strips", "slider", "video_strip"]

PAD = 2  # white pixels around every frame


@dataclass(frozen=True)
class Picture:
    """A still that shows itself in Jupyter."""

    image: Float[Tensor, "3 h w"]  # RGB in [0, 1]
    alt: str  # says what is to be seen, for who cannot see it

    def __repr__(self) -> str:
        return f"Picture({self.image.shape[2]}x{self.image.shape[1]}: {self.alt})"

    def save(self, path: str | Path) -> Path:
        """Write a PNG or JPEG file, whole or not at all; its folder is created."""
        write_image(path, self.image.cpu())
        return Path(path)

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        return encode_png(self.image), {"alt": self.alt}


# ---------------------------------------------------------------- stills of videos


def show_images(
    images: Sequence[Tensor] | Float[Tensor, "n c h w"],
    titles: Sequence[str] = (),
    scale: int | None = None,
    alt: str = "",
) -> None:
    """Show `image_row` here and now."""
    _display(image_row(images, titles, scale, alt))


def show_strips(
    videos: Float[Tensor, "n 3 t h w"], titles: Sequence[str] = (), scale: int | None = None, alt: str = ""
) -> None:
    """Show all frames of several clips here and now, one clip a row, its title at the left."""
    scale = _scale_to(96, videos.shape[3]) if scale is None else scale
    _display(contact_sheet(videos, titles, videos.shape[2], scale, numbers=False, alt=alt))


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
    _check_titles(titles, len(images), "images")
    tallest = max(image.shape[-2] for image in images)
    scale = _scale_to(128, tallest) if scale is None else scale
    cells = []
    for i, image in enumerate(images):
        rgb = image.detach().float().cpu().expand(3, *image.shape[-2:])[:, None]
        cell = _padded(_magnified(rgb, scale * max(1, tallest // image.shape[-2])))[:, 0]
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
    _check_titles(labels, len(videos), "videos")
    t = videos.shape[2]
    chosen = torch.linspace(0, t - 1, max(1, min(t, frames))).round().long().tolist()
    rows = [torch.cat(_padded(_magnified(v[:, chosen].cpu(), scale)).unbind(1), dim=2) for v in videos]
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
    _check_titles(labels, len(videos), "videos")
    columns = min(len(videos), 6) if columns is None else columns
    cells = []
    for i, video in enumerate(videos):
        cell = _padded(_magnified(video.cpu(), scale))
        if labels:
            title = text_line(labels[i], cell.shape[3], middle=True)[:, None].expand(-1, cell.shape[1], -1, -1)
            cell = torch.cat([title, cell], dim=2)
        cells.append(cell)
    cells += [torch.ones_like(cells[0])] * (-len(cells) % columns)
    rows = [torch.cat(cells[i : i + columns], dim=3) for i in range(0, len(cells), columns)]
    return torch.cat(rows, dim=2)


# ---------------------------------------------------------------- stills of flows


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
    return Picture(_magnified(mixed[:, None].cpu(), scale)[:, 0], alt or "flow in colours over the frame")


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
    canvas = _magnified(image[:, None].cpu(), scale)[:, 0]
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


# ---------------------------------------------------------------- parts


def _display(picture: Picture) -> None:
    try:
        from IPython.display import display
    except ImportError as error:
        advice = 'pip install "lfdm_lite[teach]"; or keep what image_row and contact_sheet return, and save it'
        raise ImportError(f"showing a picture needs IPython; install it with: {advice}") from error
    display(picture)


def _check_titles(titles: Sequence[str], n: int, what: str) -> None:
    if len(titles) not in (0, n):
        raise ValueError(f"{len(titles)} labels for {n} {what}; expected one for each, or none")


def _scale_to(height: int, h: int) -> int:
    return max(1, round(height / h))


def _padded(video: Float[Tensor, "3 t h w"]) -> Float[Tensor, "3 t y x"]:
    return F.pad(video, (PAD,) * 4, value=1.0)


def _magnified(video: Float[Tensor, "3 t h w"], scale: int) -> Float[Tensor, "3 t y x"]:
    return video.detach().clamp(0, 1).repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
