"""What is typed: numbers, names, options that are unknown, incomplete or given twice, files with odd names."""

from ..sample import Sample, generate, kind, preview, words

NUMBERS = (
    "nan", "inf", "-inf", "1e999", "-1", "0", "", " ", "1_000", "0x10", "1.5", "٣", "many", "None", "9" * 40, "1e30",
    "-0", "True",
)  # fmt: skip


@kind
def number_that_is_odd(rng, place):
    option = rng.choice(["--steps", "--seed", "--guidance-scale", "--num-frames", "--fps", "--scale"])
    huge = {"--steps", "--num-frames", "--scale", "--fps"}
    value = rng.choice([n for n in NUMBERS if not (option in huge and n in ("1_000", "0x10"))])
    return Sample(generate(place, f"{option}={value}"), ("out.gif",))


@kind
def number_of_a_plan_or_a_measurement_that_is_odd(rng, place):
    place.give("model")
    value = rng.choice(NUMBERS)
    if rng.random() < 0.4:
        option = rng.choice(["--price", "--memory", "--processes"])
        return Sample(["plan", "nothing", f"{option}={value}"], codes=(2,))
    option = rng.choice(["--clips", "--steps", "--seed", "--data-seed", "--guidance-scale"])
    value = rng.choice([n for n in NUMBERS if n not in ("1_000", "0x10", "9" * 40)])
    arguments = [
        "evaluate",
        "model",
        "--stage=two",
        "--steps=1",
        "--clips=2",
        "--quiet",
        "--out=f.json",
        f"{option}={value}",
    ]
    return Sample(arguments, ("f.json",))


@kind
def number_of_a_training_that_is_odd(rng, place):
    names = "batch-size learning-rate warmup ema max-hours save-every validate-every log-every weight-decay"
    option = "--" + rng.choice([*words(names), *words("data.size data.num-frames data.val-clips data.draws")])
    value = rng.choice([n for n in NUMBERS if n not in ("1_000", "9" * 40, "1e30")])
    arguments = [
        "train",
        "judge",
        "--preset=tiny",
        "--steps=1",
        "--data.train-clips=4",
        "--out=run",
        f"{option}={value}",
    ]
    return Sample(arguments, ("run", "cache"))


@kind
def number_of_a_preview_that_is_odd(rng, place):
    option = rng.choice(["--clips", "--size", "--num-frames", "--seed", "--fps", "--frames", "--scale"])
    value = rng.choice([n for n in NUMBERS if n not in ("1_000", "9" * 40)])
    arguments = [
        "data",
        "preview",
        "faces",
        "--clips=2",
        "--size=32",
        "--num-frames=3",
        "--out=look",
        f"{option}={value}",
    ]
    return Sample(arguments, ("look.png", "look.gif"))


@kind
def size_just_above_what_fits(rng, place):
    """Magnified pictures, many frames: refused by their size, before they are made."""
    option = rng.choice(["--scale=5000", "--num-frames=100000", "--steps=1001"])
    return Sample(generate(place, option), ("out.gif",), (2,))


@kind
def word_that_is_odd(rng, place):
    option = rng.choice(["--label", "--sampler", "--device", "--checkpoint"])
    odd = [
        "",
        " ",
        "a\x1b[31mb",
        "x" * 5000,
        "-",
        "--",
        "ünï ☃",
        "a\nb",
        "%s%n",
        "meta",
        "../..",
        "None",
        "fear,anger",
        "FEAR",
    ]
    return Sample(generate(place, f"{option}={rng.choice(odd)}"), ("out.gif", "out-fear.gif"))


@kind
def option_that_is_unknown_incomplete_or_twice(rng, place):
    more = rng.choice([
        ["--smile"], ["--lable", "fear"], ["--label"], ["--steps"], ["--steps", "1", "--steps"], ["-x"],
        ["—label", "fear"], ["--seed", "1", "--seed", "2"], ["--device", "cpu", "--device", "none"], ["--help-me"],
        ["--out"], ["--\x1b[31m"],
    ])  # fmt: skip
    return Sample(generate(place, *more), ("out.gif",))


@kind
def command_that_is_none(rng, place):
    odd = [["dance"], [""], ["--"], ["-v"], ["train"], ["train", "dance"], ["data"], ["data", ""], ["a\x1b[31mb"],
           ["generate"], ["evaluate"], ["convert"], ["plan"], ["plan", ""], ["info", "a", "b"], ["GENERATE"],
           ["train", "judge"], ["x" * 5000],
           ["data", "prepare"], ["data", "prepare", "mug"], ["convert", "a", "b", "c", "--out", "d"]]  # fmt: skip
    return Sample(rng.choice(odd), codes=(2,))


@kind
def preset_or_set_that_is_none(rng, place):
    odd = [
        "train judge --preset tiny --preset nothing --steps 1 --out run",
        "train judge --preset nothing --steps 1 --out run",
        "plan nothing", "evaluate model --data nothing", "data preview nothing", "data export nothing --out x",
        "train judge --preset tiny --data.name nothing --out run",
        "train judge --preset tiny --data.name folder --out run",
        "train judge --preset tiny --tracker nothing --out run", "train judge --preset tiny --precision fp8 --out run",
    ]  # fmt: skip
    place.give("model")
    return Sample(rng.choice(odd).split(), ("run", "cache"), (2,))


@kind
def preset_or_folder_given_twice(rng, place):
    """Refused, or the last one counts for everything."""
    odd = [
        "--preset faces32 --preset tiny --out run",
        "--preset=nothing --preset=tiny --out run",
        "--preset tiny --out run --out new",
    ]
    return Sample(["train", "judge", "--steps", "1", *rng.choice(odd).split()], ("run", "new", "cache"))


@kind
def file_with_an_odd_name(rng, place):
    """A right picture is read whatever its name is."""
    name = rng.choice(
        [
            "12:30.png",
            "a b.png",
            "ünï ☃.png",
            "%s.png",
            "a'b\".png",
            "x" * 200 + ".png",
            ".png",
            "a.b.c.PNG",
            "~a.png",
            "$HOME.png",
            "a;b&c.png",
        ]
    )
    place.give("face.png", name)
    return Sample(generate(place, image=name), ("out.gif",), (0,))


@kind
def file_whose_name_is_unprintable(rng, place):
    name = rng.choice(["a\x1b[31mb.png", "a\nb.png", "a\rb.png", "a\x7fb.png", "\u202egnp.png"])
    if rng.random() < 0.6:
        place.give("face.png", name)
    return Sample(generate(place, image=name), ("out.gif",))


@kind
def file_that_is_not_there(rng, place):
    name = rng.choice(
        [
            "none.png",
            "none/none.png",
            "face.png/none",
            "a\x00b",
            "~/none.png",
            "x" * 5000,
            "http://none/a.png",
            "C:\\a.png",
            "-",
        ]
    )
    place.give("face.png")
    return Sample(generate(place, image=name), ("out.gif",), (2,))


@kind
def folder_where_a_file_is_meant(rng, place):
    place.give("films")
    place.give("face.png")
    odd = [
        generate(place, image="films"),
        generate(place, model="face.png"),
        preview("face.png"),
        ["info", "films"],
        ["evaluate", "films"],
    ]
    return Sample(rng.choice(odd), ("out.gif",), (2,))


@kind
def variable_of_the_environment_that_is_odd(rng, place):
    place.give("films")
    name = rng.choice(["LFDM_CACHE", "LFDM_CHECKPOINT", "XDG_CACHE_HOME", "TQDM_DISABLE", "OMP_NUM_THREADS", "COLUMNS"])
    value = rng.choice(["", "~/x", "nowhere", "a\x1b[31mb", "x" * 300, "/dev/null/x", "-1", "nan"])
    return Sample(preview(), ("look.png", "look.gif", *({value} - {"", "~/x"})), environment={name: value})
