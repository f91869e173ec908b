"""The page of failures shows what the chapters show now."""

import io

import numpy as np
import pytest
from PIL import Image

from . import failure_gallery as gallery
from .chapter_pairs import CHAPTERS

ENTRIES = gallery.entries()
RENEW = "a chapter's picture or a text changed: python -m tests.failure_gallery"


def test_page_and_pictures_are_those_of_the_chapters():
    assert gallery.PAGE.read_text(encoding="utf-8") == gallery.page(), RENEW
    names = {gallery.file_name(entry, gallery.find(entry).picture) for entry in ENTRIES}
    assert {path.name for path in gallery.PICTURES.iterdir()} == names, RENEW


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: gallery.slug(entry["title"]))
def test_a_picture_is_small_and_looks_like_that_of_its_chapter(entry):
    found = gallery.find(entry)
    kept = (gallery.PICTURES / gallery.file_name(entry, found.picture)).read_bytes()
    with Image.open(io.BytesIO(kept)) as image, Image.open(io.BytesIO(gallery.reduced(found))) as anew:
        assert max(image.size) <= gallery.WIDEST and image.size == anew.size
        away = np.abs(np.asarray(image.convert("RGB"), int) - np.asarray(anew.convert("RGB"), int))
    assert away.mean() < 2, RENEW
    assert entry["about"] in found.alt and len(found.alt.split()) >= 5


def test_all_pictures_together_take_little():
    assert sum(path.stat().st_size for path in gallery.PICTURES.iterdir()) < 600e3


def test_every_chapter_has_a_failure_and_every_title_is_its_own():
    assert {entry["chapter"] for entry in ENTRIES} == {path.stem for path in CHAPTERS.glob("[0-9]*.ipynb")}
    assert len({entry["title"] for entry in ENTRIES}) == len(ENTRIES)


def test_another_picture_or_another_text_in_a_chapter_is_noticed(monkeypatch):
    notebook = gallery.chapter.__wrapped__("08_unet3d")
    monkeypatch.setattr(gallery, "chapter", lambda stem: notebook)
    monkeypatch.setattr(gallery, "entries", lambda: [entry])
    entry = next(entry for entry in ENTRIES if entry["chapter"] == "08_unet3d")
    before = gallery.file_name(entry, gallery.find(entry).picture)
    (cell,) = [c for c in gallery.sections("08_unet3d")[entry["section"]] if "frames of the answer" in str(c.metadata)]
    (output,) = [output for output in cell.outputs if "image/png" in output.get("data", {})]
    output.data["image/png"] = output.data["image/png"][:-8] + "AAAAAAA="
    assert gallery.file_name(entry, gallery.find(entry).picture) != before
    cell.metadata["mystnb"]["image"]["alt"] = "A cat."
    with pytest.raises(ValueError, match="is another one, not about 'frames of the answer': 'A cat.'"):
        gallery.find(entry)


def test_what_is_not_there_is_said():
    with pytest.raises(ValueError, match="08_unet3d has no section 'Cats'; it has: 08 The 3D U-Net"):
        gallery.find({"chapter": "08_unet3d", "section": "Cats"})
    with pytest.raises(ValueError, match="The wrong fold: 1 pictures, not 2"):
        gallery.find({"chapter": "08_unet3d", "section": "The wrong fold", "picture": 2})


@pytest.mark.parametrize(
    "heading, anchor",
    [
        ("A range that is not the data's", "a-range-that-is-not-the-datas"),
        (r"Answering $\epsilon$ where there is no signal", "answering--where-there-is-no-signal"),
        ("Lucas–Kanade: `one` *flow*", "lucaskanade-one-flow"),
    ],
)
def test_anchors_are_those_of_myst(heading, anchor):
    assert gallery.slug(heading) == anchor
