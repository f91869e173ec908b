"""Films, GIFs and folders of pictures: cut short, of another make than their name says, with odd timing."""

import os
import shutil

import numpy as np
from PIL import Image

from ..sample import LOOK, Sample, cut, fifo, kind, preview, replace_by

FILMS = ("film.mp4", "film.avi", "film.mkv", "film.webm", "film.mov", "clip.gif")


def among_others(place, name: str, to: str | None = None) -> None:
    """A folder `plain` with one more clip, which is the odd one."""
    place.give("plain")
    place.give(name, f"plain/fear/{to or name}")


@kind
def film_cut_short(rng, place):
    """What is left of it must not count as the whole."""
    name = rng.choice(FILMS)
    among_others(place, name)
    path = place / f"plain/fear/{name}"
    size = path.stat().st_size
    if rng.random() < 0.5:
        cut(rng, path)
    else:
        os.truncate(path, int(size * rng.uniform(0.2, 0.95)))
    index = name.endswith(".avi") and 0 < size - path.stat().st_size <= 8  # of an index: no frame is lost
    return Sample(preview("plain"), LOOK, (0, 2) if index else (2,))


@kind
def film_that_is_none(rng, place):
    name = rng.choice(FILMS)
    among_others(place, name)
    replace_by(rng, place / f"plain/fear/{name}")
    return Sample(preview("plain"), LOOK, seconds=20)


@kind
def film_under_the_name_of_another_make(rng, place):
    """Its content says what it is."""
    name, to = rng.sample(FILMS[:5], 2)
    among_others(place, name, "renamed" + os.path.splitext(to)[1])
    return Sample(preview("plain"), LOOK)


@kind
def film_that_is_a_list_of_others(rng, place):
    """A text that some readers follow to other files: here to a film that is no business of this folder."""
    place.give("plain")
    secret = place.give("film.mp4", "elsewhere/secret.mp4")
    text = rng.choice(
        ["ffconcat version 1.0\nfile {}\n", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"]
    )
    name = rng.choice(["list.mp4", "list.avi", "list.mkv", "list.webm", "list.mov"])
    (place / f"plain/fear/{name}").write_text(text.format(os.path.relpath(secret, place / "plain/fear")))
    return Sample(preview("plain"), LOOK, (2,))


@kind
def film_without_pictures_or_of_one(rng, place):
    place.give("plain")
    path = place / "plain/fear/short.gif"
    if rng.random() < 0.5:
        Image.fromarray(np.arange(768, dtype=np.uint8).reshape(16, 16, 3)).save(path)
    else:
        path.write_bytes(b"GIF89a\x10\x00\x10\x00\x00\x00\x00;")
    return Sample(preview("plain"), LOOK)


@kind
def gif_of_unequal_times(rng, place):
    """One frame stands for minutes: at the pace of the shortest it is repeated until memory is full."""
    place.give("plain")
    frames = [Image.fromarray(np.full((16, 16, 3), 40 * i, dtype=np.uint8)) for i in range(4)]
    times = [rng.choice([0, 10, 20, 655_350]) for _ in frames]
    frames[0].save(place / "plain/fear/slow.gif", save_all=True, append_images=frames[1:], duration=times)
    return Sample(preview("plain"), LOOK)


@kind
def frames_of_different_sizes(rng, place):
    place.give("plain")
    folder = place.give("stills", "plain/fear/frames")
    for path in rng.sample(sorted(folder.iterdir()), rng.randrange(1, 4)):
        Image.open(path).resize((rng.randrange(1, 60), rng.randrange(1, 60))).save(path)
    return Sample(preview("plain"), LOOK)


@kind
def frames_of_which_one_is_broken(rng, place):
    place.give("plain")
    folder = place.give("stills", "plain/fear/frames")
    path = rng.choice(sorted(folder.iterdir()))
    rng.choice([cut, replace_by, lambda _, path: fifo(path)])(rng, path)
    return Sample(preview("plain"), LOOK, seconds=20)


@kind
def film_with_an_odd_name(rng, place):
    """A right film is read whatever its name is."""
    place.give("plain")
    name = rng.choice(
        ["a b.mp4", "12:30.mp4", "ünï ☃.mp4", "-o.mp4", "%s.mp4", "a'b\".mp4", "x" * 200 + ".mp4", "A.MP4"]
    )
    shutil.copy(place.world / "film.mp4", place / f"plain/fear/{name}")
    return Sample(preview("plain"), LOOK, (0,))


@kind
def film_of_a_folder_that_is_trained_on(rng, place):
    """Broken clips are named before training, in one line, and the corrected command then works."""
    among_others(place, name := rng.choice(FILMS))
    cut(rng, place / f"plain/fear/{name}")
    command = "train judge --preset tiny --steps 1 --data.name folder --data.root plain --out run".split()
    return Sample(command, ("run", "cache"))
