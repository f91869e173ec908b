"""Pictures of videos and flows, and players that move without a kernel.

Everything here returns a `Picture` or a `Player`. Both show themselves at the end of a Jupyter cell, carry a text for who
cannot see them (`alt`), and save themselves. Pillow draws the letters and lines; it is imported where it is used.
"""

import base64
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .flow import flow_to_rgb, in_pixels
from .geometry import identity_grid

PAD = 2  # white pixels around every frame


@dataclass(frozen=True)
class Picture:
    """A still that shows itself in Jupyter."""

    image: Float[Tensor, "3 h w"]  # RGB in [0, 1]
    alt: str  # says what is to be seen
    caption: str = ""  # says how to read it; below the picture

    def __repr__(self) -> str:
        return f"Picture({self.image.shape[2]}x{self.image.shape[1]}: {self.alt})"

    def save(self, path: str | Path) -> Path:
        """Write a PNG file, whole or not at all; its folder is created."""
        from .data.media import write_image

        write_image(path, self.image.cpu())
        return Path(path)

    def _repr_html_(self) -> str:
        width = self.image.shape[2]
        return _figure(
            f'<img src="data:image/png;base64,{_png(self.image)}" alt="{html.escape(self.alt)}" width="{width}" '
            'style="max-width:100%;image-rendering:pixelated">',
            self.caption,
        )


@dataclass(frozen=True)
class Player:
    """Frames behind a slider that needs no kernel: plain HTML, alive in a notebook, a static page and a file."""

    frames: Float[Tensor, "3 t h w"]  # RGB in [0, 1]
    alt: str  # says what is to be seen
    caption: str = ""  # says how to read it; below the slider
    labels: tuple[str, ...] = ()  # what the slider says at each frame; the frame's number unless given
    fps: float | int | None = 8  # frames a second once played; None: a slider without a play button
    scale: int = 1  # magnification of every pixel

    def __repr__(self) -> str:
        _, t, h, w = self.frames.shape
        return f"Player({t} frames of {w}x{h}: {self.alt})"

    def save(self, path: str | Path) -> Path:
        """Write `.html` (with the slider), `.gif` or `.mp4`; its folder is created.

        Raises:
            ValueError: another suffix.
        """
        from .data.media import write_gif, write_mp4

        path, fps = Path(path), self.fps or 2
        if path.suffix.lower() == ".html":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"<!doctype html><meta charset='utf-8'>{self._repr_html_()}", encoding="utf-8")
        elif path.suffix.lower() == ".gif":
            write_gif(path, self.frames, fps, self.scale)
        elif path.suffix.lower() == ".mp4":
            write_mp4(path, self.frames, fps, self.scale)
        else:
            raise ValueError(f"cannot save a player as {path.name!r}: the name must end in .html, .gif or .mp4")
        return path

    def _repr_html_(self) -> str:
        """All frames side by side in one picture; the slider shifts it behind a window of one frame's width.

        The few lines of script are in the elements themselves and look for their neighbours, so that a page may hold any
        number of players, and no names clash.
        """
        _, t, h, w = self.frames.shape
        labels = self.labels or tuple(f"frame {i}" for i in range(t))
        sheet = self.frames.permute(0, 2, 1, 3).reshape(3, h, t * w)
        w, h = w * self.scale, h * self.scale
        show = (
            "const box=this.closest('.lfdm-player'),slider=box.querySelector('input');"
            f"box.querySelector('[role=img]').style.backgroundPositionX=-slider.value*{w}+'px';"
            "box.querySelector('output').textContent=slider.dataset.labels.split('|')[slider.value]"
        )
        play = (
            "const box=this.closest('.lfdm-player'),slider=box.querySelector('input');"
            "if(box.timer){clearInterval(box.timer);box.timer=0;this.textContent='▶'}else{this.textContent='❚❚';"
            "box.timer=setInterval(()=>{slider.value=(+slider.value+1)%(+slider.max+1);"
            f"slider.dispatchEvent(new Event('input'))}},{round(1000 / self.fps) if self.fps else 0})}}"
        )
        button = f'<button type="button" onclick="{play}" aria-label="play or pause">▶</button> ' if self.fps else ""
        listed = html.escape("|".join(label.replace("|", "/") for label in labels))
        return _figure(
            f'<div class="lfdm-player"><div role="img" aria-label="{html.escape(self.alt)}" style="width:{w}px;'
            f"height:{h}px;background:url(data:image/png;base64,{_png(sheet)}) 0 0/{t * w}px {h}px;"
            'image-rendering:pixelated"></div>'
            f'{button}<input type="range" min="0" max="{t - 1}" value="0" step="1" data-labels="{listed}" '
            f'oninput="{show}" aria-label="{html.escape(self.alt)}: choose what is shown" '
            f'style="width:{max(w - 60, 100)}px;vertical-align:middle"> <output>{html.escape(labels[0])}</output></div>',
            self.caption,
        )


# ---------------------------------------------------------------- stills of videos


def video_strip(
    video: Float[Tensor, "3 t h w"], frames: int = 8, scale: int = 1, numbers: bool = True, alt: str = "", caption: str = ""
) -> Picture:
    """A clip as a row of frames, spread evenly from first to last; time runs to the right.

    Args:
        video: RGB in [0, 1].
        frames: how many, at most all of them.
        scale: magnification of every pixel.
        numbers: write above each frame which one it is.
        alt: text for who cannot see it; says the number of frames unless given.
    """
    chosen = _spread(video.shape[1], frames)
    row = _row(video[:, chosen], scale)
    if numbers:
        row = torch.cat([_header([str(i) for i in chosen], row.shape[2] // len(chosen)), row], dim=1)
    return Picture(row, alt or f"{len(chosen)} frames of a video side by side", caption)


def contact_sheet(
    videos: Float[Tensor, "n 3 t h w"],
    labels: Sequence[str] = (),
    frames: int = 8,
    scale: int = 1,
    alt: str = "",
    caption: str = "",
) -> Picture:
    """Several clips, one a row, its label at the left; time runs to the right.

    Args:
        labels: one a clip, or none at all.
        frames: frames of each clip, spread evenly.
        scale: magnification of every pixel.

    Raises:
        ValueError: labels, but not one a clip.
    """
    _check_labels(labels, len(videos))
    chosen = _spread(videos.shape[2], frames)
    rows = [_row(video[:, chosen], scale) for video in videos]
    head = _header([str(i) for i in chosen], rows[0].shape[2] // len(chosen))
    if labels:
        width = max(_text_width(label) for label in labels) + 8
        rows = [torch.cat([_text(name, width, row.shape[1]), row], 2) for name, row in zip(labels, rows, strict=True)]
        head = torch.cat([torch.ones(3, head.shape[1], width), head], dim=2)
    shown = f": {', '.join(labels)}" if labels else ""
    return Picture(torch.cat([head, *rows], dim=1), alt or f"{len(videos)} videos, {len(chosen)} frames each{shown}", caption)


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
    _check_labels(labels, len(videos))
    n, _, t, _, _ = videos.shape
    columns = min(n, 6) if columns is None else columns
    cells = []
    for i, video in enumerate(videos):
        cell = _padded(_magnified(video.cpu(), scale))
        if labels:
            title = _text(labels[i], cell.shape[3], middle=True)
            cell = torch.cat([title[:, None].expand(-1, t, -1, -1), cell], dim=2)
        cells.append(cell)
    cells += [torch.ones_like(cells[0])] * (-n % columns)
    rows = [torch.cat(cells[i : i + columns], dim=3) for i in range(0, len(cells), columns)]
    return torch.cat(rows, dim=2)


# ---------------------------------------------------------------- stills of flows


def colour_wheel_picture(size: int = 96, alt: str = "", caption: str = "") -> Picture:
    """The legend of `flow_to_rgb`: the colour of every direction and length, from none in the middle to full at the rim."""
    grid = identity_grid(size, size)
    disc = (grid.norm(dim=0) <= 1).float()
    image = flow_to_rgb(grid, max_norm=1.0) * disc + (1 - disc)
    alt = alt or "Colour wheel of flow: right red, down yellow, left cyan, up violet; white is no motion"
    return Picture(image, alt, caption)


def flow_overlay(
    image: Float[Tensor, "3 h w"],
    flow: Float[Tensor, "2 h w"],
    strength: float = 0.6,
    max_norm: float | int | None = None,
    scale: int = 1,
    alt: str = "",
    caption: str = "",
) -> Picture:
    """The colours of a flow over the grey image that moves.

    Args:
        image: the driving frame, RGB in [0, 1].
        flow: normalized, of the image's size.
        strength: of the colours against the image, in [0, 1].
        max_norm: as in `flow_to_rgb`.
    """
    grey = image.mean(0, keepdim=True).expand(3, -1, -1)
    mixed = (1 - strength) * grey + strength * flow_to_rgb(flow, max_norm) * (0.3 + 0.7 * grey)
    return Picture(_magnified(mixed[:, None].cpu(), scale)[:, 0], alt or "flow in colours over the frame", caption)


def flow_arrows(
    image: Float[Tensor, "3 h w"],
    flow: Float[Tensor, "2 h w"],
    every: int = 8,
    scale: int = 4,
    alt: str = "",
    caption: str = "",
) -> Picture:
    """Arrows over the driving frame: each starts where the source shows the content and ends where it is now.

    Backward flow points the other way, from here to where to look. What moves less than half a pixel gets a dot.

    Args:
        image: the driving frame, RGB in [0, 1].
        flow: normalized, of the image's size.
        every: pixels between arrows.
        scale: magnification of every pixel.
    """
    pillow = _pillow("ImageDraw")
    fine = 3  # drawn larger, then made small: smooth lines
    canvas = _magnified(image[:, None].cpu(), scale)[:, 0]
    picture = _to_pillow(canvas).resize((canvas.shape[2] * fine, canvas.shape[1] * fine))
    draw, unit = pillow.Draw(picture), scale * fine
    moved = in_pixels(flow[None].cpu())[0]
    for y in range(every // 2, image.shape[1], every):
        for x in range(every // 2, image.shape[2], every):
            dx, dy = (unit * -moved[:, y, x]).tolist()
            tip_x, tip_y, length = (x + 0.5) * unit, (y + 0.5) * unit, math.hypot(dx, dy)
            if length < 0.5 * unit:
                draw.ellipse([tip_x - 2, tip_y - 2, tip_x + 2, tip_y + 2], fill="white", outline="black")
                continue
            head = min(length, 4 * fine)
            ux, uy = dx / length * head, dy / length * head
            wings = [(tip_x - ux - uy / 2, tip_y - uy + ux / 2), (tip_x - ux + uy / 2, tip_y - uy - ux / 2)]
            for colour, width in (("black", 2 * fine), ("white", fine)):  # seen on dark and on light
                draw.line([(tip_x - dx, tip_y - dy), (tip_x, tip_y)], fill=colour, width=width)
                draw.line([wings[0], (tip_x, tip_y), wings[1]], fill=colour, width=width, joint="curve")
    drawn = picture.resize((canvas.shape[2], canvas.shape[1]), _pillow("Image").Resampling.LANCZOS)
    return Picture(_from_pillow(drawn), alt or "arrows of motion over the frame", caption)


# ---------------------------------------------------------------- what moves


def player(
    video: Float[Tensor, "3 t h w"],
    fps: float | int = 8,
    scale: int | None = None,
    labels: Sequence[str] = (),
    alt: str = "",
    caption: str = "",
) -> Player:
    """A clip behind a slider with a play button.

    Args:
        scale: magnification of every pixel; to about 192 pixels of height unless given.
        labels: what to say at each frame; its number unless given.
        alt: text for who cannot see it.

    Raises:
        ValueError: labels, but not one a frame, or no frames.
    """
    return _player(video, labels, alt or f"a video of {video.shape[1]} frames", caption, fps, scale)


def slider(
    pictures: Sequence[Picture] | Float[Tensor, "3 t h w"],
    labels: Sequence[str],
    scale: int | None = None,
    alt: str = "",
    caption: str = "",
) -> Player:
    """Pictures computed beforehand, one for each position of a slider: the twin of a widget that needs a kernel.

    Args:
        pictures: of one size.
        labels: what the slider says at each, such as "guidance 1.5".

    Raises:
        ValueError: not one label a picture, or pictures of different size.
    """
    if not isinstance(pictures, Tensor):
        sizes = {tuple(picture.image.shape) for picture in pictures}
        if len(sizes) != 1:
            raise ValueError(f"pictures of sizes {sorted(sizes)}; expected at least one, and one size")
        pictures = torch.stack([picture.image.cpu() for picture in pictures], dim=1)
    return _player(pictures, labels, alt or f"a picture for each of {', '.join(labels)}", caption, None, scale)


# ---------------------------------------------------------------- parts


def _player(
    frames: Tensor, labels: Sequence[str], alt: str, caption: str, fps: float | int | None, scale: int | None
) -> Player:
    if frames.shape[1] == 0 or len(labels) not in (0, frames.shape[1]):
        raise ValueError(f"{len(labels)} labels for {frames.shape[1]} frames; expected one a frame, and at least one frame")
    scale = max(1, round(192 / frames.shape[2])) if scale is None else scale
    return Player(frames.detach().cpu(), alt, caption, tuple(labels), fps, scale)


def _check_labels(labels: Sequence[str], n: int) -> None:
    if labels and len(labels) != n:
        raise ValueError(f"{len(labels)} labels for {n} videos; expected one a video, or none")


def _spread(t: int, frames: int) -> list[int]:
    """Up to `frames` of `t` frames, evenly, with the first and the last."""
    count = max(1, min(t, frames))
    return torch.linspace(0, t - 1, count).round().long().tolist()


def _row(video: Float[Tensor, "3 t h w"], scale: int) -> Float[Tensor, "3 y x"]:
    return torch.cat(_padded(_magnified(video.cpu(), scale)).unbind(1), dim=2)


def _padded(video: Float[Tensor, "3 t h w"]) -> Float[Tensor, "3 t y x"]:
    return torch.nn.functional.pad(video, (PAD,) * 4, value=1.0)


def _magnified(video: Float[Tensor, "3 t h w"], scale: int) -> Float[Tensor, "3 t y x"]:
    return video.detach().clamp(0, 1).repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)


def _header(names: Sequence[str], width: int) -> Float[Tensor, "3 y x"]:
    return torch.cat([_text(name, width, middle=True) for name in names], dim=2)


def _pillow(module: str) -> ModuleType:
    from .data.pictures import need

    need("PIL.Image")  # or say how to get it
    from importlib import import_module

    return import_module(f"PIL.{module}")


def _font():
    return _pillow("ImageFont").load_default(12)


def _text_width(text: str) -> int:
    return math.ceil(_font().getlength(text))


def _text(text: str, width: int, height: int = 16, middle: bool = False) -> Float[Tensor, "3 {height} {width}"]:
    """One line of black text on white; what does not fit ends in dots."""
    strip = _pillow("Image").new("RGB", (width, height), "white")
    while len(text) > 2 and _text_width(text) > width - 2:
        text = text.rstrip("…")[:-1] + "…"
    place = ((width / 2, height / 2), "mm") if middle else ((3, height / 2), "lm")
    _pillow("ImageDraw").Draw(strip).text(place[0], text, fill="black", font=_font(), anchor=place[1])
    return _from_pillow(strip)


def _from_pillow(picture) -> Float[Tensor, "3 h w"]:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


def _to_pillow(image: Float[Tensor, "3 h w"]):
    pixels = image.detach().cpu().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()
    return _pillow("Image").fromarray(pixels)


def _png(image: Float[Tensor, "3 h w"]) -> str:
    """The bytes of a PNG file in base64."""
    buffer = io.BytesIO()
    _to_pillow(image).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _figure(content: str, caption: str) -> str:
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f'<figure style="margin:4px 0;text-align:left">{content}{below}</figure>'
