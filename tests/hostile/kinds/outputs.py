"""Where results are to go: over an input, through a link, into a pipe, where a folder is, twice under one name."""

from ..sample import Sample, fifo, generate, kind


@kind
def output_that_is_the_input(rng, place):
    place.give("face.png")
    option = rng.choice(["--out", "--sheet"])
    name = rng.choice(["face.png", "./face.png", "model/../face.png"])
    return Sample([*generate(place), option, name], ("out.gif",), (2,))


@kind
def output_inside_the_checkpoint(rng, place):
    place.give("model")
    name = rng.choice(["config.json", "model.safetensors", "judge/config.json", "recipe.json"])
    arguments = f"evaluate model --data faces --clips 2 --stage one --quiet --out model/{name}".split()
    return Sample(arguments, codes=(2,))


@kind
def output_through_a_link(rng, place):
    """Neither the link nor what it leads to is replaced by accident; the link may be followed."""
    place.give("face.png")
    (place / "precious.gif").write_bytes(b"a sentinel")
    (place / "link.gif").symlink_to("precious.gif")
    (place / "link.json").symlink_to("precious.json")
    if rng.random() < 0.5:
        return Sample(generate(place, out="link.gif"), ("precious.gif",))
    place.give("model")
    arguments = "evaluate model --data faces --clips 2 --stage one --quiet --out link.json".split()
    return Sample(arguments, ("precious.json",))


@kind
def output_that_is_no_file(rng, place):
    place.give("model")
    for name in ("pipe.gif", "pipe.json"):
        fifo(place / name)
    for name in ("folder.gif", "folder.json"):
        (place / name).mkdir()
    kind_of = rng.choice(["pipe", "folder"])
    if rng.random() < 0.5:
        return Sample(generate(place, out=f"{kind_of}.gif"), codes=(2,), seconds=20)
    arguments = f"evaluate model --data faces --clips 2 --stage one --quiet --out {kind_of}.json".split()
    return Sample(arguments, codes=(2,), seconds=20)


@kind
def output_where_no_folder_can_be(rng, place):
    place.give("face.png")
    name = rng.choice(
        ["face.png/out.gif", "a\x00b.gif", "x" * 300 + ".gif", "nowhere/" * 40 + "x" * 300 + ".gif", "", "."]
    )
    return Sample(generate(place, out=name), ("nowhere",), (2,))


@kind
def output_of_a_kind_that_is_not_written(rng, place):
    name = rng.choice(["out", "out.avi", "out.gif.txt", ".gif", "out.GIFF", "out.mp4 ", "out.json"])
    return Sample(generate(place, out=name), (), (2,))


@kind
def two_outputs_of_one_name(rng, place):
    place.give("face.png", "a/face.png")
    place.give("face.png", "b/face.png")
    place.give("face.png")
    both = rng.choice(
        [
            ["--out", "same.png", "--sheet", "same.png"],
            ["--out", "o.gif", "--out", "o.gif"],
            ["--out", "o.gif", "--out", "./o.gif"],
        ]
    )
    place.give("model")
    images = ["a/face.png"] if "--sheet" in both else rng.choice([["a/face.png"], ["a/face.png", "b/face.png"]])
    arguments = ["generate", *images, "--label", "fear", "--steps", "1", "--quiet", "--checkpoint", "model", *both]
    return Sample(
        arguments,
        ("same.png", "o.gif", "o-0.gif", "o-face.gif", "o-face-1.gif", "o-1.gif", "o-face-2.gif", "o-face-3.gif"),
    )


@kind
def numbers_that_a_format_cannot_hold(rng, place):
    """Refused before anything is sampled or written, also where another output could hold it."""
    fps = rng.choice(["0", "-1", "60", "1099511627776", "2147483648", "nan", "inf", "1e400"])
    return Sample(generate(place, "--out", "out.mp4", "--fps", fps), ("out.gif", "out.mp4"))


@kind
def export_beside_a_table_of_the_users_own(rng, place):
    (place / "mine").mkdir()
    (place / "mine/clips.csv").write_text("path,label,note\na.mp4,fear,keep this\n")
    command = "data export faces --clips 2 --size 32 --num-frames 4 --out mine".split()
    return Sample(command, ("mine",), kept={"mine/clips.csv": "keep this"})


@kind
def export_where_something_is_in_the_way(rng, place):
    place.give("films")
    film = rng.choice(sorted((place / "films").rglob("*.mp4")))
    film.unlink()
    rng.choice([lambda p: p.write_bytes(b""), lambda p: p.mkdir(), lambda p: p.symlink_to("nowhere"), fifo])(film)
    command = "data export faces --clips 4 --size 32 --num-frames 4 --flow npz --out films".split()
    name = film.relative_to(place.folder).as_posix()
    led = (film.parent / "nowhere").relative_to(place.folder).as_posix()  # where the link leads, as a shell would
    return Sample(command, (name, led, "films/clips.csv", "films/export.json"), seconds=20)


@kind
def model_converted_over_another(rng, place):
    place.give("model")
    place.give("lfae.pth")
    place.give("dm.pth")
    return Sample("convert lfae.pth dm.pth --out model".split(), codes=(2,))


@kind
def preview_with_a_bad_rate_leaves_nothing(rng, place):
    value = rng.choice(["--fps 0", "--fps -5", "--fps 99999999999", "--scale -1", "--frames 0"])
    command = f"data {rng.choice(['preview', 'export'])} faces --clips 2 --size 32 --num-frames 4 --out look {value}"
    return Sample(command.split(), codes=(2,))
