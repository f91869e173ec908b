"""Folders of videos: links, empty ones, layouts that a reader did not expect, things that are no files."""

import os
import shutil

from ..sample import LOOK, Sample, fifo, kind, preview


@kind
def folder_with_links_in_a_circle(rng, place):
    place.give("plain")
    name = rng.choice(["plain/fear/again", "plain/again"])
    (place / name).symlink_to(rng.choice([place / "plain", place / "plain/fear", "again"]))
    return Sample(preview("plain"), LOOK)


@kind
def folder_with_links_that_branch(rng, place):
    """Two links at each of a few levels: paths double with each, though there is one film."""
    place.give("film.mp4", "plain/fear/film.mp4")
    depth = rng.randrange(6, 9)
    for level in range(depth):
        here, there = place / f"plain/fear/{level}", place / f"plain/fear/{level + 1}"
        here.mkdir(exist_ok=True)
        there.mkdir(exist_ok=True)
        (here / "left").symlink_to(there)
        (here / "right").symlink_to(there)
    place.give("film.mp4", f"plain/fear/{depth}/deep.mp4")
    return Sample(preview("plain"), LOOK)


@kind
def folder_without_clips(rng, place):
    (place / "plain/fear").mkdir(parents=True)
    if rng.random() < 0.5:
        place.give("film.mp4", "plain/fear/.hidden.mp4")
    else:
        (place / "plain/fear/notes.txt").write_text("nothing to see")
    return Sample(preview("plain"), LOOK, (2,))


@kind
def folder_with_what_is_no_file(rng, place):
    place.give("plain")
    path = place / "plain/fear" / rng.choice(["pipe.mp4", "pipe.gif", "pipe.png", "dead.mp4", "folder.mp4"])
    if path.name.startswith("pipe"):
        fifo(path)
    elif path.name.startswith("dead"):
        path.symlink_to("nowhere")
    else:
        path.mkdir()
    return Sample(preview("plain"), LOOK, seconds=20)


@kind
def folder_in_another_layout(rng, place):
    """Splits above labels, pictures directly in a label's folder, films of suffixes that are not read."""
    place.give("plain")
    match rng.randrange(4):
        case 0:
            for split in ("train", "test"):
                shutil.copytree(place / "plain", place / f"sets/{split}")
        case 1:
            shutil.copytree(place / "plain", place / "sets")
            place.give("face.png", "sets/fear/face.png")
        case 2:
            shutil.copytree(place / "plain", place / "sets")
            place.give("film.avi", "sets/fear/film.flv")
        case 3:
            shutil.copytree(place / "plain/fear", place / "sets/deep/er/and/deeper/fear")
    return Sample(preview("sets"), LOOK)


@kind
def folder_with_odd_names(rng, place):
    """Right films under odd labels are read, and their names are printed without harm."""
    name = rng.choice(
        ["two words", "ünï ☃", "-rf", "a\x1b[31mb", "%s", "a'b", "x" * 200, "a\nb", os.fsdecode(b"\xff\xfe")]
    )
    place.give("plain")
    shutil.move(place / "plain/fear", place / "plain" / name)
    codes = (0,) if name.isprintable() else (0, 2)
    return Sample(preview("plain"), LOOK, codes)


@kind
def folder_of_two_people(rng, place):
    """Too few people for three splits is said of people, before anything is trained."""
    place.give("film.mp4", "few/fear/ann/1.mp4")
    for i in range(rng.randrange(1, 5)):
        place.give("film.avi", f"few/fear/{rng.choice(['ann', 'bob'])}/{i + 2}.avi")
    command = "train judge --preset tiny --steps 1 --data.name folder --data.root few --out run".split()
    return Sample(command, ("run", "cache"))


@kind
def folder_that_holds_modules(rng, place):
    """One stands in a folder with files named as modules: none of them is run."""
    name = rng.choice(["heapq", "lfdm_lite", "torch", "json", "random"])
    (place / f"{name}.py").write_text("open('RAN', 'w').close()\n")
    place.give("model")
    return Sample(["plan", "nothing"] if rng.random() < 0.3 else ["info", "model"], absent=("RAN",))


@kind
def folder_that_holds_modules_when_a_child_is_started(rng, place):
    name = rng.choice(["heapq", "lfdm_lite/__init__", "json"])
    (place / f"{name}.py").parent.mkdir(exist_ok=True)
    (place / f"{name}.py").write_text("open('RAN', 'w').close()\n")
    arguments = "plan tiny --stage autoencoder --memory 0.001 --out plan.json".split()
    return Sample(arguments, ("plan.json",), absent=("RAN",))
