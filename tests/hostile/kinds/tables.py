"""`clips.csv`: columns, cells, encodings, paths that lead elsewhere, clips that contradict each other."""

import codecs

from ..sample import LOOK, Sample, cut, fifo, kind, preview, replace_by

TABLE = "films/clips.csv"


@kind
def table_cut_short_or_replaced(rng, place):
    place.give("films")
    rng.choice([cut, replace_by])(rng, place / TABLE)
    return Sample(preview(), LOOK, seconds=20)


@kind
def table_in_another_encoding(rng, place):
    place.give("films")
    text = (place / TABLE).read_text(encoding="utf-8").replace("fear", "für")
    odd = [
        text.encode("utf-16"),
        text.encode("latin-1"),
        codecs.BOM_UTF8 + text.encode(),
        text.replace("\n", "\r").encode(),
    ]
    odd += [text.encode() + b"\0\0\0", text.replace(",", ";").encode(), text.replace(",", "\t").encode()]
    (place / TABLE).write_bytes(rng.choice(odd))
    return Sample(preview(), LOOK)


@kind
def table_with_an_odd_cell(rng, place):
    place.give("films")
    lines = (place / TABLE).read_text(encoding="utf-8").splitlines()
    row = rng.randrange(1, len(lines))
    cells = lines[row].split(",")
    odd = [
        "",
        " ",
        "nowhere.mp4",
        "\x1b[31m",
        "../films",
        "/",
        ".",
        "a\x00b",
        '"two\nlines"',
        "x" * 140_000,
        '"',
        "-1",
        "nan",
    ]
    cells[rng.randrange(len(cells))] = rng.choice(odd)
    lines[row] = ",".join(cells)
    (place / TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Sample(preview(), LOOK)


@kind
def table_with_other_columns(rng, place):
    place.give("films")
    text = (place / TABLE).read_text(encoding="utf-8")
    header, _, rest = text.partition("\n")
    odd = [
        "",
        "a,b,c,d,e",
        header.upper(),
        "file,file,file,file,file",
        header + ",more",
        "file",
        "label",
        header.replace("label,", ""),
    ]
    (place / TABLE).write_text(rng.choice(odd) + "\n" + rest, encoding="utf-8")
    return Sample(preview(), LOOK)


@kind
def table_that_contradicts_itself(rng, place):
    """One film with two labels, in two splits; one person in two splits: none of it may pass."""
    place.give("films")
    lines = (place / TABLE).read_text(encoding="utf-8").splitlines()
    file, _, _, _, subject = lines[1].split(",")
    again = [
        f"{file},train,2,fear,{subject}",
        f"{file},test,0,anger,{subject}",
        f"{lines[2].split(',')[0]},test,0,anger,{subject}",
    ]
    (place / TABLE).write_text("\n".join([*lines, rng.choice(again)]) + "\n", encoding="utf-8")
    return Sample(preview(), LOOK, (2,))


@kind
def table_that_lists_what_is_no_clip(rng, place):
    place.give("films")
    place.give("face.png", "films/face.png")
    fifo(place / "films/pipe.mp4")
    (place / "films/dead.mp4").symlink_to("nowhere")
    name = rng.choice(["face.png", "pipe.mp4", "dead.mp4", "clips.csv", "anger", "/dev/null", "../films/nowhere.mp4"])
    with open(place / TABLE, "a", encoding="utf-8") as file:
        file.write(f"{name},train,0,anger,7\n")
    return Sample(preview(), LOOK, seconds=20)


@kind
def table_with_a_header_alone_or_nothing(rng, place):
    place.give("films")
    (place / TABLE).write_text(
        rng.choice(["", "\n\n\n", "file,split,label,label_name,subject\n", "\ufeff", ",,,,\n,,,,\n"])
    )
    return Sample(preview(), LOOK, (2,))
