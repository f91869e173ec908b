"""Players that move without a kernel: frames behind a slider, in plain HTML. `viz` hands them out."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..files.media import write_gif, write_mp4
from ..files.pictures import encode_png, to_pillow, write_whole

HEIGHT = 192  # pixels that a player aims at unless a scale is given
NARROW = 320  # pixels of width that the controls below a small picture take
WIDEST = 16_383  # pixels of a side that WebP can hold
KEYS_STAY = 'onkeydown="event.stopPropagation()"'  # JupyterLab (4.6) takes arrows to move between cells


@dataclass(frozen=True)
class Player:
    """Frames behind a slider that needs no kernel: alive in a notebook, on a static page and in a file."""

    frames: Float[Tensor, "3 t h w"]  # RGB in [0, 1]
    alt: str  # says what is to be seen, for who cannot see it
    labels: tuple[str, ...]  # what the slider says at each frame
    fps: float | int | None = 8  # frames a second once played; None: a slider without a play button
    scale: int = 1  # magnification of every pixel
    quality: int | None = None  # of WebP, for a page that would be too heavy; None: PNG, without loss
    start: int = 0  # the frame that is seen first, and alone where nothing moves (on paper, say)

    def __repr__(self) -> str:
        _, t, h, w = self.frames.shape
        return f"Player({t} frames of {w}x{h}: {self.alt})"

    def save(self, path: str | Path) -> Path:
        """Write `.html` (with the slider), `.gif` or `.mp4`, whole or not at all; its folder is created.

        Raises:
            ValueError: another suffix.
        """
        path, fps = Path(path), self.fps or 2
        if path.suffix.lower() == ".html":
            page = f"<!doctype html><meta charset='utf-8'>{self._repr_html_()}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
        elif path.suffix.lower() == ".gif":
            write_gif(path, self.frames, fps, self.scale)
        elif path.suffix.lower() == ".mp4":
            write_mp4(path, self.frames, fps, self.scale)
        else:
            raise ValueError(f"cannot save a player as {path.name!r}: the name must end in .html, .gif or .mp4")
        return path

    def _repr_html_(self) -> str:
        """All frames side by side in one picture; the slider shifts it behind a window of one frame's shape, which is
        no wider than the page.

        The window shrinks where the page is narrower, so places in the picture are shares and not pixels. The few lines
        of script are in the elements themselves and look for their neighbours, so that a page may hold any number of
        players and no names clash.
        """
        _, t, h, w = self.frames.shape
        kind, sheet = _sheet(self.frames.permute(0, 2, 1, 3).reshape(3, h, t * w), self.quality)
        find = "const box=this.closest('.lfdm-player'),slider=box.querySelector('input');"
        show = (
            f"{find}box.querySelector('img').style.objectPosition=100*slider.value/(slider.max||1)+'% 0';"
            "box.querySelector('output').textContent=slider.dataset.labels.split('|')[slider.value]"
        )
        play = (
            f"{find}if(box.timer){{clearInterval(box.timer);box.timer=0;this.textContent='\u25b6'}}"
            "else{this.textContent='\u275a\u275a';"
            "box.timer=setInterval(()=>{slider.value=(+slider.value+1)%(+slider.max+1);"
            f"slider.dispatchEvent(new Event('input'))}},{round(1000 / (self.fps or 2))})}}"
        )
        button = f'<button type="button" onclick="{play}" aria-label="play or pause">\u25b6</button> '
        alt, first = html.escape(self.alt), html.escape(self.labels[self.start])
        left = f"{100 * self.start / max(1, t - 1):g}%"
        listed = html.escape("|".join(label.replace("|", "/") for label in self.labels))
        return (
            f'<div class="lfdm-player" {KEYS_STAY}><img alt="{alt}" style="width:{w * self.scale}px;max-width:100%;'
            f"height:auto;aspect-ratio:{w}/{h};object-fit:cover;object-position:{left} 0;margin:0;padding:0;"
            f'image-rendering:pixelated" src="data:image/{kind};base64,{sheet}">'
            f'<div style="display:flex;align-items:center;gap:0.5em;max-width:{max(w * self.scale, NARROW)}px">'
            f'{button if self.fps else ""}<input type="range" min="0" max="{t - 1}" value="{self.start}" '
            f'step="1" data-labels="{listed}" oninput="{show}" aria-label="{alt}: choose what is shown" '
            f'style="flex:1;min-width:6em"> <output>{first}</output></div></div>'
        )


def player(
    video: Float[Tensor, "3 t h w"],
    fps: float | int = 8,
    scale: int | None = None,
    labels: Sequence[str] = (),
    alt: str = "",
    quality: int | None = None,
    start: int = 0,
) -> Player:
    """A clip behind a slider with a play button.

    Args:
        video: RGB in [0, 1].
        scale: magnification of every pixel; to about 192 pixels of height unless given.
        labels: what to say at each frame; its number unless given.
        alt: text for who cannot see it.
        quality: 0 to 100, of WebP: at 95 about a third of the bytes; without loss (PNG) unless given.
        start: the frame that is seen first.

    Raises:
        ValueError: labels, but not one a frame; no frames; a start that is none of them; a quality beyond 0 to 100, or
            for films too wide for WebP.
    """
    numbers = tuple(f"frame {i}" for i in range(video.shape[1]))
    return _player(video, labels or numbers, alt or f"a video of {video.shape[1]} frames", fps, scale, quality, start)


def slider(
    pictures: Sequence[Any] | Float[Tensor, "3 t h w"],
    labels: Sequence[str],
    scale: int | None = None,
    alt: str = "",
    quality: int | None = None,
    start: int = 0,
) -> Player:
    """Pictures computed beforehand, one for each position of a slider: the twin of a widget that needs a kernel.

    Args:
        pictures: `Picture`s of one size, or their RGB values in [0, 1].
        labels: what the slider says at each, such as "guidance 1.5".
        scale: magnification of every pixel; to about 192 pixels of height unless given.
        alt: text for who cannot see it; lists the labels unless given.
        quality, start: as those of `player`.

    Raises:
        ValueError: not one label a picture; pictures of different size; what `player` does not take.
    """
    if not isinstance(pictures, Tensor):
        sizes = {tuple(picture.image.shape) for picture in pictures}
        if len(sizes) != 1:
            raise ValueError(f"pictures of sizes {sorted(sizes)}; expected at least one, and one size")
        pictures = torch.stack([picture.image.cpu() for picture in pictures], dim=1)
    return _player(pictures, labels, alt or f"a picture for each of {', '.join(labels)}", None, scale, quality, start)


def _player(
    frames: Float[Tensor, "3 t h w"],
    labels: Sequence[str],
    alt: str,
    fps: float | int | None,
    scale: int | None,
    quality: int | None,
    start: int,
) -> Player:
    t, h, w = frames.shape[1:]
    if t == 0 or len(labels) != t:
        raise ValueError(f"{len(labels)} labels for {t} frames; expected one a frame, and at least one frame")
    if not 0 <= start < t:
        raise ValueError(f"start {start} is none of the {t} frames; expected 0 to {t - 1}")
    if quality is not None and not (0 <= quality <= 100 and max(t * w, h) <= WIDEST):
        raise ValueError(
            f"quality={quality} for {t} frames of {w}x{h}; expected 0 to 100, and at most {WIDEST} pixels side by side"
        )
    scale = max(1, round(HEIGHT / h)) if scale is None else scale
    return Player(frames.detach().cpu(), alt, tuple(labels), fps, scale, quality, start)


def _sheet(image: Float[Tensor, "3 h w"], quality: int | None) -> tuple[str, str]:
    """The format of a picture, and its bytes in base 64."""
    if quality is None:
        kind, encoded = "png", encode_png(image)
    else:
        kind, file = "webp", io.BytesIO()
        to_pillow(image).save(file, "WEBP", quality=quality, method=6)
        encoded = file.getvalue()
    return kind, base64.b64encode(encoded).decode()
