"""Pictures that are stored in fewer bytes have the same pixels."""

import base64
import sys
from io import BytesIO

import nbformat
import numpy as np
import pytest
from PIL import Image

from .smaller_pictures import main, shrink

pytest.importorskip("oxipng", reason="pyoxipng has no wheel for this Python: stored pictures cannot be made smaller")


def png(pixels: np.ndarray) -> str:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return base64.b64encode(buffer.getvalue()).decode()


def pixels(text: str) -> np.ndarray:
    with Image.open(BytesIO(base64.b64decode(text))) as image:
        return np.asarray(image.convert("RGBA"))


def test_every_stored_png_is_smaller_and_the_same(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 4), dtype=np.uint8)
    plain = np.full((40, 50, 3), 7, dtype=np.uint8)
    html = f'<img src="data:image/png;base64,{png(plain)}"><img src="data:image/webp;base64,AAAA">'
    outputs = [
        nbformat.v4.new_output("display_data", {"image/png": png(noise) + "\n", "text/plain": "a picture"}),
        nbformat.v4.new_output("display_data", {"text/html": html}),
        nbformat.v4.new_output("stream", text="no picture"),
    ]
    cell = nbformat.v4.new_code_cell("draw()", outputs=outputs)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("words"), cell])
    path = tmp_path / "a.ipynb"
    nbformat.write(notebook, path)
    main([str(path)])
    found = nbformat.read(path, 4).cells[1].outputs
    assert np.array_equal(pixels(found[0].data["image/png"]), noise)
    inside = found[1].data["text/html"].partition("base64,")[2].partition('"')[0]
    assert np.array_equal(pixels(inside)[..., :3], plain) and len(inside) < len(png(plain)) / 2
    assert found[1].data["text/html"].endswith('<img src="data:image/webp;base64,AAAA">')
    assert found[2].text == "no picture" and found[0].data["text/plain"] == "a picture"
    once = path.read_bytes()
    main([str(path)])
    assert path.read_bytes() == once, "what is small stays as it is"


def test_without_the_package_nothing_is_written(tmp_path, monkeypatch):
    outputs = [nbformat.v4.new_output("display_data", {"image/png": png(np.zeros((2, 2, 3), np.uint8))})]
    path = tmp_path / "a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=outputs)]), path)
    before = path.read_bytes()
    monkeypatch.setitem(sys.modules, "oxipng", None)
    with pytest.raises(SystemExit, match="pip install pyoxipng"):
        main([str(path)])
    assert path.read_bytes() == before
    with pytest.raises(ImportError):
        shrink(nbformat.read(path, 4))
