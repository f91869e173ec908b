"""`lfdm data`: look at a data set, or write it as videos."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from ..cli import UsageError, parse
from .common import pick, write_flo

SETS = ("faces",)


@dataclass(frozen=True)
class Clips:
    """Which clips of which set."""

    name: Positional[Annotated[str, arg(metavar="SET")]] = "faces"
    """A procedural set (faces), or a folder of videos."""
    split: Literal["train", "val", "test", "all"] = "train"
    """Splits share no person; all is for folders of videos."""
    clips: int = 12
    """How many clips."""
    size: int = 64
    """Height and width in pixels, 32 to 256."""
    num_frames: int = 16
    """Frames of a clip."""
    seed: int = 0
    """Of the procedural clips."""
    fps: int = 8
    """Frames a second in what is written."""


@dataclass(frozen=True)
class Preview:
    """Draw a few clips: PREFIX.png and PREFIX.gif.

    Where the true motion is known, a clip is three pictures: the video; its flow with respect to frame 0 in colours
    (hue is where to look, depth of colour is how far); in white what frame 0 shows of it.
    """

    clips: Annotated[Clips, arg(name="")]
    out: Annotated[Path, arg(metavar="PREFIX")] = Path("preview")
    """Where to write; .png and .gif are added."""


@dataclass(frozen=True)
class Export:
    """Write clips as FOLDER/LABEL/NAME.mp4 with a table, FOLDER/clips.csv: what `VideoFolder` reads.

    Splits may be written into one folder one after the other.
    """

    clips: Annotated[Clips, arg(name="")]
    out: Annotated[Path, arg(metavar="FOLDER")]
    """Where to write; created if needed."""
    flow: Literal["none", "npz", "flo"] = "none"
    """True flow too. npz: NAME.npz with the arrays flow (2, T, H, W; normalized) and visible (1, T, H, W). flo: a
    folder NAME_flow of Middlebury files, one a frame, in pixels."""


def data(arguments: list[str]) -> None:
    what, rest = pick("lfdm data", "WHAT", ("preview", "export"), arguments)
    if what == "preview":
        preview(parse(Preview, "lfdm data preview", rest))
    else:
        export(parse(Export, "lfdm data export", rest))


def build(clips: Clips) -> Any:
    """The data set that the options name."""
    if clips.name not in SETS and not Path(clips.name).is_dir():
        raise UsageError(f"data set {clips.name!r} is not one of: {', '.join(SETS)}; nor is it a folder of videos")
    if clips.clips < 1:
        raise UsageError(f"--clips is {clips.clips}; expected at least 1")
    from ..data import Faces, VideoFolder

    if clips.name not in SETS:
        return VideoFolder(clips.name, clips.size, clips.num_frames, split=clips.split, seed=clips.seed)
    return Faces(clips.split, size=clips.size, num_frames=clips.num_frames, length=clips.clips, seed=clips.seed)


def preview(options: Preview) -> None:
    """One row a clip in the still, one cell a clip in the film."""
    dataset = build(options.clips)
    import torch

    from ..data.media import write_gif
    from ..flow import flow_to_rgb
    from ..viz import contact_sheet, grid_of_clips

    items = [dataset[i] for i in range(min(options.clips.clips, len(dataset)))]
    film, stills = [], []
    for item in items:
        pictures = [item["video"]]
        if "flow" in item:
            pictures += [flow_to_rgb(item["flow"][None])[0], item["visible"].expand(3, -1, -1, -1)]
        film.append(torch.cat(pictures, dim=3))
        stills.append(torch.cat(pictures, dim=2))
    film, stills = torch.stack(film), torch.stack(stills)
    names = [f"{item['label_name']}, subject {item['subject']}" for item in items]
    png = options.out.with_name(options.out.name + ".png")
    contact_sheet(stills, names).save(png)
    print(png)
    gif = options.out.with_name(options.out.name + ".gif")
    columns = 3 if "flow" in items[0] else 6
    write_gif(gif, grid_of_clips(film, names, min(len(items), columns)), fps=options.clips.fps)
    print(gif)


def export(options: Export) -> None:
    """Write the clips one by one, and a table of them."""
    if options.clips.name not in SETS:
        raise UsageError(f"only procedural sets can be exported ({', '.join(SETS)}), not {options.clips.name!r}")
    dataset = build(options.clips)
    import numpy as np
    from tqdm.auto import tqdm

    from ..data.media import write_mp4

    rows = []
    for i in tqdm(range(len(dataset)), desc="clips", unit="clip"):
        item = dataset[i]
        folder = options.out / item["label_name"]
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{options.clips.split}_{i:05d}"
        write_mp4(folder / f"{name}.mp4", item["video"], fps=options.clips.fps)
        if options.flow == "npz":
            np.savez_compressed(folder / f"{name}.npz", flow=item["flow"].numpy(), visible=item["visible"].numpy())
        elif options.flow == "flo":
            for frame, flow in enumerate(item["flow"].unbind(1)):
                write_flo(folder / f"{name}_flow" / f"{frame:03d}.flo", flow)
        row: dict[str, Any] = {"file": f"{folder.name}/{name}.mp4", "split": options.clips.split}
        rows.append(row | {column: item[column] for column in ("label", "label_name", "subject")})
    update_table(options.out / "clips.csv", rows)
    print(f"{len(rows)} clips in {options.out}")


def update_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a table of clips; what it listed before stays, save the files that are listed anew."""
    before: list[dict[str, Any]] = []
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            before = list(csv.DictReader(file))
    new = {row["file"] for row in rows}
    kept = [row for row in before if row.get("file") not in new and set(row) == set(rows[0])]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept + rows)
