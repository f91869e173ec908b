"""`lfdm data preview`: a contact sheet and a film of a few clips, their flow and visibility beside them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from .clips import Clips, build, check, is_procedural
from .common import UsageError
from .outputs import output_file
from .terminal import say


@dataclass(frozen=True)
class Preview:
    """Draw a few clips: PREFIX.png and PREFIX.gif.

    Where the true motion is known, a clip is three pictures: the video; on it, pale, its flow with respect to frame 0
    in colours (hue is where to look, depth of colour how far, full at the clip's longest); on it, pale, in black what
    frame 0 does not show.
    """

    clips: Annotated[Clips, arg(name="")]
    out: Annotated[Path, arg(metavar="PREFIX")] = Path("preview")
    """Where to write; .png and .gif are added."""
    frames: int = 8
    """Frames of a clip in the still, spread evenly."""
    scale: int = 0
    """Magnification of every pixel; 0 makes pictures of 64 pixels or more."""


def preview(options: Preview) -> None:
    """One row a clip in the still, of each picture; one cell a clip in the film."""
    if options.frames < 1 or options.scale < 0:
        raise UsageError(f"--frames is {options.frames}, --scale {options.scale}; expected at least 1, and at least 0")
    if not options.out.name:
        raise UsageError(f"--out {options.out} is a folder; expected the beginning of a name, such as preview")
    check(options.clips, options.out.with_name(options.out.name + ".gif"))
    reads = [] if is_procedural(options.clips.name) else [Path(options.clips.name)]
    png, gif = (output_file(options.out.with_name(options.out.name + end), reads=reads) for end in (".png", ".gif"))
    dataset = build(options.clips)
    import torch

    from ..files.media import write_gif
    from ..files.pictures import MAX_PIXELS
    from ..viz import Picture, grid_of_clips

    shown, size, frames = spread(len(dataset), options.clips.clips), options.clips.size, options.clips.num_frames
    scale = options.scale or max(1, round((96 if len(shown) <= 4 else 64) / size))
    if len(shown) * frames * (size * scale) ** 2 > MAX_PIXELS:
        million = MAX_PIXELS // 10**6
        raise UsageError(
            f"a film of more than {million} million pixels; fewer --clips or --num-frames, or a smaller --scale"
        )
    items = [dataset[i] for i in shown]
    clips = [pictures(item) for item in items]
    people = getattr(dataset, "subjects", range(2**31))  # the names that a folder gives, or numbers
    names = [
        item["label_name"] + (f", subject {people[item['subject']]}" if item["subject"] >= 0 else "") for item in items
    ]
    Picture(sheet(clips, names, options.frames, scale), f"{len(items)} clips: {', '.join(names)}").save(png)
    say(f"{options.out}.png")
    film = torch.stack([torch.cat(clip, dim=3) for clip in clips])
    columns = 6 if len(clips[0]) == 1 else 3 if len(items) > 4 else 2
    write_gif(gif, grid_of_clips(film, names, min(len(items), columns), scale), fps=options.clips.fps)
    say(f"{options.out}.gif")


def spread(length: int, count: int) -> list[int]:
    """Up to `count` indices, evenly from first to last: a folder's clips are sorted by label."""
    count = min(length, count)
    return [i * length // count for i in range(count)]


def pictures(item: dict[str, Any]) -> list[Any]:
    """The videos (3, t, h, w) that show a clip: as it is, its flow, what is hidden; the first alone without flow."""
    from ..flow import flow_to_rgb

    video = item["video"]
    if "flow" not in item:
        return [video]
    longest = max(item["flow"].norm(dim=0).max().item(), 1e-6)
    grey = video.mean(dim=0, keepdim=True)
    coloured = flow_to_rgb(item["flow"][None], longest)[0] * (0.8 + 0.2 * grey)
    return [video, coloured, (0.7 + 0.3 * grey.expand(3, -1, -1, -1)) * item["visible"]]


def sheet(clips: list[list[Any]], names: list[str], frames: int, scale: int) -> Any:
    """All clips as one picture (3, h, w): time runs to the right; each clip's name above its rows."""
    import torch
    import torch.nn.functional as F

    from ..viz import video_strip
    from ..viz.lettering import text_line

    rows = []
    for clip, name in zip(clips, names, strict=True):
        strips = [video_strip(video, frames, scale, numbers=False).image for video in clip]
        gap = torch.ones(3, 6, strips[0].shape[2])
        rows += [text_line(name, strips[0].shape[2], 18), *strips, gap]
    numbers = video_strip(clips[0][0], frames, scale).image[:, :16]
    parts = [torch.cat([numbers, *rows], dim=1), *([legend()] if len(clips[0]) > 1 else [])]
    width = max(part.shape[2] for part in parts)
    whole = torch.cat([F.pad(part, (0, width - part.shape[2]), value=1.0) for part in parts], dim=1)
    return F.pad(whole, (6, 6, 4, 4), value=1.0)


def legend() -> Any:
    """What the colours of the rows mean, (3, h, w)."""
    import torch

    from ..viz import colour_wheel_picture
    from ..viz.lettering import text_line, text_width

    wheel = colour_wheel_picture(48).image
    words = (
        "Rows: the frames; flow, where in frame 0 to look;",
        "in black what frame 0 does not show.",
        "The wheel has the directions of the flow; no motion has no colour.",
    )
    width = max(text_width(line) for line in words) + 8
    text = torch.cat([text_line(line, width, 16) for line in words], dim=1)
    return torch.cat([wheel, torch.ones(3, 48, 8), text], dim=2)
