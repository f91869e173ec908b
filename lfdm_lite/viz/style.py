"""One look for every plot of the book: legible on white and on dark pages, to everyone, and small on disk.

Colours have the hues of Okabe and Ito ("Color Universal Design", 2008), which people with any kind of colour vision
tell apart. Blue, orange, yellow and sky are darker than theirs: each line stands out from white by three to one, and to
eyes without red or green cones the nearest two are no nearer. Every colour has a line style of its own, so that a print
in grey says the same.
"""

from io import BytesIO
from typing import Any

import numpy as np

COLOURS = {
    "blue": "#005F99",
    "orange": "#B34700",
    "green": "#009E73",
    "purple": "#CC79A7",
    "yellow": "#C58800",
    "sky": "#4499DD",
    "black": "#222222",
}
LINES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), (0, (1, 1))]
DPI = 100  # 10 inches are 1,000 pixels: three square panels of more than 256 pixels side by side
SEEN = 12  # levels of 255 by which a colour of the palette may be off: beyond it a picture keeps all its colours


def use_style() -> None:
    """Give matplotlib the look of the book, from here on; Jupyter then stores its plots as `small_png`.

    Raises:
        ImportError: matplotlib is missing.
    """
    import matplotlib as mpl
    from cycler import cycler

    colours = list(COLOURS.values())
    mpl.rcParams.update(
        {
            "figure.dpi": DPI,
            "figure.facecolor": "white",  # a card on a dark page
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": cycler(color=colours) + cycler(linestyle=LINES[: len(colours)]),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": False,
            "axes.titlesize": 11,
            "axes.labelsize": 10,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "image.cmap": "viridis",
            "image.interpolation": "nearest",
            "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters everywhere
        }
    )
    store_few_colours()


def store_few_colours() -> None:
    """In a notebook, let a plot be stored by `small_png`; where there is none, or it stores no PNG, nothing changes."""
    try:
        from IPython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    plt.switch_backend(plt.get_backend())  # loaded now, since loading it says how plots are stored
    formatter = shell.display_formatter.formatters["image/png"]
    if Figure not in formatter.type_printers:
        return

    def stored(figure: Figure) -> Any:
        from IPython.core.pylabtools import print_figure

        png = print_figure(figure, "png", base64=False, bbox_inches="tight")
        return None if png is None else small_png(png)

    formatter.for_type(Figure, stored)


def small_png(png: bytes) -> bytes:
    """A PNG with a palette of 256 colours where that shows no difference, otherwise as it was: a third of the bytes."""
    from PIL import Image

    image = Image.open(BytesIO(png)).convert("RGB")
    # Of Pillow's methods this one keeps the colours of thin lines, of which there are few pixels.
    few = image.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    away = np.abs(np.asarray(few.convert("RGB"), dtype=int) - np.asarray(image, dtype=int)).max()
    if away > SEEN:
        return png
    stream = BytesIO()
    few.save(stream, "png", optimize=True)
    return min(png, stream.getvalue(), key=len)
