# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Problem set 1: Motion
#
# You read flows and draw them, you say what a camera cannot have seen, and you find out what two pictures tell about
# motion when the lamp flickers and the camera is noisy.
#
# **You need** chapters 01 (Video as motion) and 02 (Flow estimation), PyTorch tensors, linear least squares, and for
# exercise 7 the variance of a sum. **It takes** about four and a half hours, and the chapters come on top: seven
# exercises, 52 points, and 3 more for a written answer. **You may use** PyTorch, `lfdm_lite`, and your own cells of the
# chapters. No exercise needs the answer of another, so begin where you like; they are sorted from easy to hard.
#
# **How it works.** Write your code below the docstring, in place of `raise NotImplementedError`; keep names and
# arguments as they are. Helpers of your own belong in the same cell; define them inside the function, or begin their
# names with `my_`, since test cells define names, too. The cells below an answer test it: run them in their order,
# from the first, again after every restart. If nothing is printed the test passes, and otherwise it says what is
# amiss. When your work is marked, the same cells test more cases than you see here, and those of an exercise should end
# within 20 seconds: loops over pixels are fast enough. The last cell of each exercise draws what your function does;
# change it as you like.
#
# | exercise | kind | minutes | points |
# |---|---|---|---|
# | 1 Six flows | interpret | 15, and 10 to write | 6, and 3 written |
# | 2 Another program's flow | implement | 20 | 6 |
# | 3 What must be painted | predict | 30 | 7 |
# | 4 Three bugs in a turn | debug | 40 | 8 |
# | 5 Somebody dims the lamp | implement | 40 | 7 |
# | 6 The smoothest flow | implement | 50 | 8 |
# | 7 Noise makes flow look small | derive and check | 60 | 10 |
#
# Everywhere, a *flow* is backward, its channel 0 is $x$ to the right and channel 1 is $y$ down, and it is normalized
# unless the text says pixels: the picture spans $[-1, 1]$, from edge to edge.

# %% nbgrader={"grade": false, "grade_id": "given", "locked": true, "schema_version": 3, "solution": false, "task": false}
import math
from functools import partial

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor

import lfdm_lite as lfdm
from lfdm_lite import viz
from lfdm_lite.course.checks import hold
from lfdm_lite.flow import in_pixels, normalized

viz.use_style()


def texture(h: int, w: int, seed: int = 0) -> Tensor:
    """A grey picture of a dozen waves, (1, 1, h, w), with a mean of about 0.5."""
    draw = torch.Generator().manual_seed(seed)
    angle, phase = 2 * math.pi * torch.rand(2, 12, 1, 1, generator=draw)
    wavelength = 6 + 26 * torch.rand(12, 1, 1, generator=draw)  # 6 to 32 pixels
    row, column = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    along = column * angle.cos() + row * angle.sin()
    return (0.5 + 0.06 * torch.cos(2 * math.pi * along / wavelength + phase).sum(0))[None, None]


def slopes(picture: Tensor) -> tuple[Tensor, Tensor]:
    """I_x and I_y of pictures (b, 1, h, w): central differences; at the border the picture is repeated."""
    padded = F.pad(picture, (1, 1, 1, 1), mode="replicate")
    I_x = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    I_y = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return I_x, I_y


def one_flow(source: Tensor, driving: Tensor) -> Tensor:
    """The one flow (u, v), in pixels, that fits the flow equations of all inner pixels best: (b, 1, h, w) -> (b, 2)."""
    I_x, I_y, e = (maps[..., 1:-1, 1:-1].flatten(1) for maps in (*slopes(source), source - driving))
    equations = torch.stack([I_x, I_y], dim=2)  # (b, n, 2)
    return torch.linalg.solve(equations.mT @ equations, -(equations.mT @ e[..., None]))[..., 0]


# %% [markdown]
# ## 1. Six flows (6 points, 15 minutes)
#
# **You learn** to read the colours of a backward flow. **Read first** chapter 01, "Forward or backward?" and "The
# colour wheel".
#
# ![Six squares with the letters A to F, each filled with the colours and arrows of a flow, and the wheel of colours. A is red with arrows to the right, D yellow with arrows down. In B arrows lead to the middle, in E away from it. In C they go around the middle anticlockwise, in F clockwise.](figures/ps1_motion_reading.png)
#
# *Six backward flows in the colours of the book, and the wheel. The arrows say the same as the colours: each leads from
# a pixel of the new frame to where it looks in the source. They are not the arrows of the chapter, which* `viz.flow_arrows`
# *draws the other way, as the content goes.*
#
# What does the *content* of the picture do, from the source to the new frame? Answer for each letter with one of the
# words left, right, up, down, grows, shrinks, clockwise, anticlockwise. No word is needed twice. The tests that you see
# look at the kind of motion only, a shift, a change of size or a turn, and pass whichever way it goes. That is yours to
# find, and the picture below the tests helps.

# %% nbgrader={"grade": false, "grade_id": "reading", "locked": false, "schema_version": 3, "solution": true, "task": false}
def reading() -> dict[str, str]:
    """What the content does under each flow of the picture: letter -> word, {"A": ..., ..., "F": ...}."""
    ### BEGIN SOLUTION
    return {"A": "left", "B": "grows", "C": "clockwise", "D": "up", "E": "shrinks", "F": "anticlockwise"}
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "reading-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: the table has a word for each letter.
KINDS = dict.fromkeys(("left", "right", "up", "down"), "a shift") | dict.fromkeys(("grows", "shrinks"), "a change of size")
KINDS |= dict.fromkeys(("clockwise", "anticlockwise"), "a turn")


def _kinds(letters: str) -> dict[str, str]:
    """What kinds of motion the table has for some letters."""
    table = reading()
    assert isinstance(table, dict), "your table should be a dictionary with the keys A, B, C, D, E, F"
    return {k: KINDS.get(str(table.get(k)), "none of the eight words") for k in letters}


table = reading()
found = {letter: "known" if word in list(KINDS) else word for letter, word in table.items()} if isinstance(table, dict) else table
own_words = {"Use one of the eight words, in small letters": dict(found) if isinstance(found, dict) else {}}
hold(found, dict.fromkeys("ABCDEF", "known"), own_words, what="your table")
### BEGIN HIDDEN TESTS
twice = [word for word in table.values() if list(table.values()).count(word) > 1]
hold(" ".join(sorted(set(twice))), "", what="what occurs more than once")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "reading-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: A and D, where everything moves alike.
alike = {"In A and D the colour is the same everywhere, so everything moves alike: chapter 01, 'The colour wheel'": _kinds("AD")}
hold(_kinds("AD"), dict.fromkeys("AD", "a shift"), alike, what="the kind of motion")
### BEGIN HIDDEN TESTS
part = {letter: reading()[letter] for letter in "AD"}
opposite = "The flow is read as if it said where content goes; it says where to look: chapter 01, 'Forward or backward?'"
mistakes = {
    opposite: {"A": "right", "D": "down"},
    "The two axes look swapped: red is x, to the right: chapter 01, 'The colour wheel'": {"A": "up", "D": "left"},
    "Vertical motion looks upside down: y grows downward: chapter 01, 'Where is a pixel?'": {"A": "left", "D": "down"},
    "A is read as if the flow said where content goes, D is not: chapter 01, 'Forward or backward?'": {"A": "right", "D": "up"},
}
hold(part, {"A": "left", "D": "up"}, mistakes, what="the word")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "reading-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: B and E, where the size changes.
size = {"In B and E the arrows lead to the middle or away from it, so the size changes: chapter 01, 'The colour wheel'": _kinds("BE")}
hold(_kinds("BE"), dict.fromkeys("BE", "a change of size"), size, what="the kind of motion")
### BEGIN HIDDEN TESTS
mistake = (
    "Every pixel that looks towards the middle shows what was nearer to the middle, so things come outward; "
    "read again chapter 01, 'Forward or backward?'"
)
part = {letter: reading()[letter] for letter in "BE"}
hold(part, {"B": "grows", "E": "shrinks"}, {mistake: {"B": "shrinks", "E": "grows"}}, what="the word")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "reading-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: C and F, which turn.
around = {"In C and F the arrows go around the middle, so everything turns: chapter 01, 'The colour wheel'": _kinds("CF")}
hold(_kinds("CF"), dict.fromkeys("CF", "a turn"), around, what="the kind of motion")
### BEGIN HIDDEN TESTS
mistake = (
    "The turn goes the other way: the flow leads back to the source, or y was taken to grow upward; "
    "read again chapter 01, 'Forward or backward?'"
)
turns = {"C": "clockwise", "F": "anticlockwise"}
part = {letter: reading()[letter] for letter in "CF"}
hold(part, turns, {mistake: {"C": "anticlockwise", "F": "clockwise"}}, what="the word")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "reading-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
MOVES = {  # forward, of points x and y; y grows down
    "left": lambda x, y: (x - 0.3, y),
    "right": lambda x, y: (x + 0.3, y),
    "up": lambda x, y: (x, y - 0.3),
    "down": lambda x, y: (x, y + 0.3),
    "grows": lambda x, y: (1.4 * x, 1.4 * y),
    "shrinks": lambda x, y: (0.7 * x, 0.7 * y),
    "clockwise": lambda x, y: (0.88 * x - 0.48 * y, 0.48 * x + 0.88 * y),
    "anticlockwise": lambda x, y: (0.88 * x + 0.48 * y, -0.48 * x + 0.88 * y),
}
x = torch.tensor([-0.3, 0.4, 0.4, -0.1, -0.1, 0.2, 0.2, -0.1, -0.1, -0.3, -0.3])  # the letter F
y = torch.tensor([-0.5, -0.5, -0.3, -0.3, -0.1, -0.1, 0.1, 0.1, 0.5, 0.5, -0.5])
figure, axes = plt.subplots(1, 6, figsize=(10.2, 2.2))
for ax, (letter, word) in zip(axes, sorted(reading().items()), strict=True):
    ax.fill(x, y, color=viz.COLOURS["sky"], alpha=0.4)
    ax.plot(*MOVES[word](x, y), color=viz.COLOURS["black"])
    ax.set(xlim=(-1, 1), ylim=(1, -1), aspect="equal", xticks=[], yticks=[], title=f"{letter}: {word}")
plt.show()

# %% [markdown]
# *What your words say: the letter in the source is filled, in the new frame it is a line. To check a word, begin at a
# corner of the line, since that is what the new frame shows, and go the way that the arrows of the flow go there. It must
# lead towards the same corner of the filled letter.*

# %% [markdown]
# **In your own words** (3 points, 10 minutes). One of the flows B and E leaves holes *between* the pixels that it draws
# if it is turned into a forward flow, and every pixel of the source is pushed to the nearest pixel of the new frame.
# Which one, why, and why has the backward flow no holes? (That a margin may stay empty all around is no hole.) Four
# sentences are enough.

# %% [markdown] nbgrader={"grade": true, "grade_id": "reading-why", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
# *Your answer here.*

# %% [markdown]
# ## 2. Another program's flow (6 points, 25 minutes)
#
# **You learn** to connect two programs that exchange flows. **Read first** chapter 01, "Where is a pixel?" and "A flow,
# misread".
#
# You are given backward flows as arrays `(h, w, 2)`. Their last axis holds first $x$ and then $y$, or the other way
# round. Their unit is one of three: *pixels*; *edges*, where $-1$ and $1$ are the edges of the picture, as in this
# book; or *centres*, where $-1$ and $1$ are the centres of the first and the last pixel (PyTorch calls that
# `align_corners=True`). Turn them into flows of this book.
#
# ![Four pictures: a drawn face at rest; the same face, smiling; and twice the face at rest warped by a flow, both like the smiling one but for a smeared mouth.](figures/ps1_motion_foreign.png)
#
# *What a right answer draws: the source, the driving frame, and the source warped by two flows, which came in pixels
# and between centres.*

# %% nbgrader={"grade": false, "grade_id": "foreign", "locked": false, "schema_version": 3, "solution": true, "task": false}
def from_foreign(flow: Tensor, order: str, unit: str) -> Tensor:
    """Another program's backward flow in this book's form.

    Args:
        flow: (h, w, 2), float32; it stays as it is.
        order: "xy" if the last axis holds right, then down; "yx" if it holds down, then right.
        unit: "pixels", "edges" or "centres".

    Returns:
        (1, 2, h, w), normalized: right, then down, and -1 and 1 are the edges of the picture.
    """
    ### BEGIN SOLUTION
    h, w = flow.shape[:2]
    x, y = (flow if order == "xy" else flow.flip(-1)).unbind(-1)
    to_x, to_y = {"pixels": (2 / w, 2 / h), "edges": (1, 1), "centres": ((w - 1) / w, (h - 1) / h)}[unit]
    return torch.stack([to_x * x, to_y * y])[None]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "foreign-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: the axes. The unit is the book's own.
theirs = torch.arange(24.0).view(3, 4, 2)
even, odd = torch.arange(0.0, 24, 2).view(3, 4), torch.arange(1.0, 24, 2).view(3, 4)
mistakes = {
    "x and y look swapped: channel 0 is x, to the right: chapter 01, 'Where is a pixel?'": torch.stack([odd, even])[None],
    "The numbers are reshaped, so that x and y get mixed; move the axis instead, as in chapter 01, 'A video is a file'": torch.arange(
        24.0
    ).view(1, 2, 3, 4),
}
hold(from_foreign(theirs.clone(), "xy", "edges"), torch.stack([even, odd])[None], mistakes, what="the flow")
### BEGIN HIDDEN TESTS
theirs = torch.randn(5, 7, 2, generator=torch.Generator().manual_seed(1))
right = torch.zeros(1, 2, 5, 7)
for j in range(5):
    for i in range(7):
        right[0, 0, j, i], right[0, 1, j, i] = theirs[j, i, 0], theirs[j, i, 1]
hold(from_foreign(theirs.clone(), "xy", "edges"), right, what="the flow of 5 rows and 7 columns")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "foreign-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: pixels. One pixel right and one down, on 4 rows and 8 columns.


def _everywhere(x: float, y: float, h: int, w: int) -> Tensor:
    return torch.tensor([float(x), float(y)])[None, :, None, None].expand(1, 2, h, w)


mistakes = {
    "Width and height look exchanged: x goes with the width: chapter 01, 'Where is a pixel?'": _everywhere(0.5, 0.25, 4, 8),
    "Half of what it should be: the picture is 2 wide, not 1: chapter 01, 'Where is a pixel?'": _everywhere(0.125, 0.25, 4, 8),
    "This goes from normalized units to pixels, and you want the way back: chapter 01, 'Where is a pixel?'": _everywhere(4, 2, 4, 8),
    "A pixel is 2 / w wide, not 2 / (w - 1), since -1 and 1 are edges: chapter 01, 'Where is a pixel?'": _everywhere(2 / 7, 2 / 3, 4, 8),
    "The numbers look unchanged: pixels must become normalized units: chapter 01, 'A flow, misread'": _everywhere(1, 1, 4, 8),
    "That is the place of pixel (1, 1), and a flow is a displacement: chapter 01, 'A flow, misread'": _everywhere(-0.625, -0.25, 4, 8),
}
hold(from_foreign(torch.ones(4, 8, 2), "xy", "pixels"), _everywhere(0.25, 0.5, 4, 8), mistakes, what="the flow of one pixel right and down")
### BEGIN HIDDEN TESTS
for h, w, seed in ((6, 9, 2), (9, 5, 3)):
    theirs = torch.randn(h, w, 2, generator=torch.Generator().manual_seed(seed))
    grid = lfdm.identity_grid(h, w)
    step_x, step_y = grid[0, 0, 1] - grid[0, 0, 0], grid[1, 1, 0] - grid[1, 0, 0]  # from a pixel to its neighbour
    right = torch.stack([theirs[..., 0] * step_x, theirs[..., 1] * step_y])[None]
    exchanged = torch.stack([theirs[..., 0] * step_y, theirs[..., 1] * step_x])[None]
    mistakes = {"Width and height look exchanged: x goes with the width: chapter 01, 'Where is a pixel?'": exchanged}
    hold(from_foreign(theirs.clone(), "xy", "pixels"), right, mistakes, what=f"a flow in pixels, {h} rows and {w} columns")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "foreign-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: between centres. 3 rows, 5 columns: 2 leads from the first centre to the last, 4 pixels right and 2 down.
mistakes = {
    "This is as if -1 and 1 were edges already: chapter 01, 'Where is a pixel?'": _everywhere(2, 2, 3, 5),
    "The factor looks upside down: from centre to centre is less than from edge to edge: chapter 01, 'Where is a pixel?'": _everywhere(
        2.5, 3, 3, 5
    ),
    "Width and height look exchanged: x goes with the width: chapter 01, 'Where is a pixel?'": _everywhere(4 / 3, 1.6, 3, 5),
    "These are pixels, not normalized units: chapter 01, 'A flow, misread'": _everywhere(4, 2, 3, 5),
}
hold(from_foreign(torch.full((3, 5, 2), 2.0), "xy", "centres"), _everywhere(1.6, 4 / 3, 3, 5), mistakes, what="the flow from the first centre to the last")
### BEGIN HIDDEN TESTS
h, w = 6, 11
theirs = torch.randn(h, w, 2, generator=torch.Generator().manual_seed(4))
right = torch.zeros(1, 2, h, w)
for axis, size in ((0, w), (1, h)):  # to their position, to a place counted in pixels, to our position
    start = torch.linspace(-1, 1, size)
    start = start[None, :] if axis == 0 else start[:, None]
    place = (start + theirs[..., axis] + 1) / 2 * (size - 1)
    right[0, axis] = (2 * place + 1) / size - 1 - lfdm.identity_grid(h, w)[axis]
mistakes = {"This is as if -1 and 1 were edges already: chapter 01, 'Where is a pixel?'": theirs.movedim(-1, 0)[None]}
hold(from_foreign(theirs.clone(), "xy", "centres"), right, mistakes, what="a flow between centres")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "foreign-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: down first, then right; and what was given stays as it is.
theirs = torch.tensor([1.0, 4.0]).repeat(4, 8, 1)  # 1 pixel down, 4 to the right
given_before = theirs.clone()
mistakes = {
    "The order is passed over: here the last axis holds y first: chapter 01, 'A flow, misread'": _everywhere(0.25, 2, 4, 8),
    "The numbers are in order, but each has the other's unit: chapter 01, 'Where is a pixel?'": _everywhere(2, 0.25, 4, 8),
    "The units are in order, but y stands before x: chapter 01, 'Where is a pixel?'": _everywhere(0.5, 1, 4, 8),
}
hold(from_foreign(theirs, "yx", "pixels"), _everywhere(1, 0.5, 4, 8), mistakes, what="the flow of 1 pixel down and 4 right")
from_foreign(theirs, "xy", "pixels")
hold(theirs, given_before, what="the flow that was given must stay as it is; after the call it")
### BEGIN HIDDEN TESTS
for unit in ("pixels", "edges", "centres"):
    theirs = torch.randn(5, 8, 2, generator=torch.Generator().manual_seed(5))
    given_before = theirs.clone()
    other_order = theirs[..., [1, 0]].contiguous()
    one, two = from_foreign(theirs, "xy", unit), from_foreign(other_order, "yx", unit)
    hold(two, one, what=f"a flow in the other order, in {unit}")
    hold(theirs, given_before, what="the flow that was given must stay as it is; after the call it")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "foreign-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
clip = lfdm.data.Faces("test")[3]
source, driving, flow = clip["video"][None, :, 0], clip["video"][None, :, 12], clip["flow"][None, :, 12]
theirs = {"pixels": in_pixels(flow)[0].permute(1, 2, 0), "centres": flow[0].permute(1, 2, 0) * 64 / 63}
warped = [lfdm.warp(source, from_foreign(flow, "xy", unit))[0] for unit, flow in theirs.items()]
viz.image_row([source[0], driving[0], *warped], ["source", "driving", "from pixels", "from centres"], scale=3)

# %% [markdown]
# ## 3. What must be painted (7 points, 35 minutes)
#
# **You learn** which pixels of a new frame an old one does not show, and to keep apart three reasons. **Read first**
# chapter 01, "Renderer, version 3: visibility" and "Occlusion and disocclusion".
#
# A box stands before a wall. From frame 0 to the new frame the box moves, and so does the wall, since the camera pans.
# Both movements are those that one sees, in whole pixels of the picture; a box that the camera follows moves by (0, 0).
# So every pixel of either frame shows one point of box or wall, exactly. Predict the *hidden* pixels of the new frame:
# those whose point frame 0 does not show, because it was behind the box or out of the picture.
#
# ![Three pictures. Frame 0: a dark box on a striped wall. The new frame: the box further right and down, the stripes further left. The hidden pixels, black on light: the place that the box has left, shifted with the wall and without what the box covers again, and a strip along the right border.](figures/ps1_motion_uncovered.png)
#
# *What a right answer draws: both frames, and in black what is hidden.*

# %% nbgrader={"grade": false, "grade_id": "uncovered", "locked": false, "schema_version": 3, "solution": true, "task": false}
def uncovered(
    size: tuple[int, int], box: tuple[int, int, int, int], box_by: tuple[int, int], wall_by: tuple[int, int]
) -> Tensor:
    """Pixels of the new frame whose content frame 0 does not show.

    Args:
        size: rows and columns of the picture.
        box: in frame 0, its first row, first column, number of rows, number of columns; a part may lie outside.
        box_by: by how many pixels of the picture the box moves, down and right.
        wall_by: the same for the wall, which has no end.

    Returns:
        (rows, columns) of bool: True is hidden in frame 0.
    """
    ### BEGIN SOLUTION
    (h, w), (top, left, height, width) = size, box
    row, column = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")

    def in_box(r: Tensor, c: Tensor) -> Tensor:  # of frame 0
        return (r >= top) & (r < top + height) & (c >= left) & (c < left + width)

    def outside(r: Tensor, c: Tensor) -> Tensor:
        return (r < 0) | (r >= h) | (c < 0) | (c >= w)

    of_box, of_wall = ((row - by[0], column - by[1]) for by in (box_by, wall_by))  # where each was in frame 0
    return torch.where(in_box(*of_box), outside(*of_box), outside(*of_wall) | in_box(*of_wall))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "uncovered-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: nothing moves, so nothing is hidden.
### BEGIN HIDDEN TESTS
def _points(size, box, box_by, wall_by):
    """What each pixel of a frame shows, by name. The tests below use what this cell defines."""
    (h, w), (top, left, height, width) = size, box
    shown = []
    for r in range(h):
        for c in range(w):
            y, x = r - box_by[0] - top, c - box_by[1] - left
            on_box = 0 <= y < height and 0 <= x < width
            shown.append(("box", y, x) if on_box else ("wall", r - wall_by[0], c - wall_by[1]))
    return shown


def _lacking(wanted, shown, size):
    """Names that do not occur among others, as a map."""
    known = set(shown)
    return torch.tensor([name not in known for name in wanted]).view(size)


def _only_covered(wanted, size, box):
    """Names that would not occur if frame 0 showed all around itself, too."""
    (h, w), (top, left, height, width) = size, box
    far = _points((3 * h, 3 * w), (top + h, left + w, height, width), (0, 0), (0, 0))
    far = [(name, r - h * (name == "wall"), c - w * (name == "wall")) for name, r, c in far]
    return _lacking(wanted, far, size)


### END HIDDEN TESTS
nothing = torch.zeros(6, 9, dtype=torch.bool)
still = (0, 0)
mistakes = {"These pixels are the visible ones: chapter 01, 'Occlusion and disocclusion'": ~nothing}
hold(uncovered((6, 9), (1, 2, 3, 4), still, still), nothing, mistakes, what="the map when nothing moves")
### BEGIN HIDDEN TESTS
hold(uncovered((6, 9), (4, -2, 3, 4), still, still), nothing, mistakes, what="the map of a box that is half outside, at rest")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "uncovered-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the wall stands still. One row of eight pixels; the box is in columns 1 and 2, and moves 3 to the right.
### BEGIN HIDDEN TESTS
def _cases(size, box, box_by, wall_by):
    """The right map, and those under each misconception."""
    rest = _points(size, box, (0, 0), (0, 0))
    new = _points(size, box, box_by, wall_by)
    right = _lacking(new, rest, size)
    (h, w), (top, left, _, _) = size, box
    known = set(rest)
    in_place = [  # the wall behind the old box is looked for where that was, as if the wall stood still
        (was[0] == "box" or not (0 <= n[1] < h and 0 <= n[2] < w)) if n[0] == "wall" else n not in known
        for was, n in zip(rest, new, strict=True)
    ]
    moves = {"round": [tuple(-n for n in by) for by in (box_by, wall_by)], "swapped": (box_by[::-1], wall_by[::-1])}
    here = "chapter 01, 'Occlusion and disocclusion'"
    return right, {
        f"These pixels are the visible ones, and the hidden ones are asked for: {here}": ~right,
        f"These are pixels of frame 0 that get covered; nobody asks for them in the new frame: {here}": lambda: _lacking(rest, new, size),
        f"What comes in at the border was outside of frame 0, so it is hidden, too: {here}": lambda: _only_covered(new, size, box),
        "The wall has moved: look for its points where they were in frame 0: chapter 01, 'Renderer, version 3: visibility'": torch.tensor(in_place).view(size),
        "A pixel of the new frame that shows the box is no wall; is it hidden? chapter 01, 'Renderer, version 3: visibility'": lambda: _lacking(
            _points(size, (top, left, 0, 0), box_by, wall_by), rest, size
        ),
        "The direction looks turned round: what moved right was further left before: chapter 01, 'Forward or backward?'": lambda: _lacking(
            _points(size, box, *moves["round"]), rest, size
        ),
        "Down and right look swapped: rows come first here: chapter 01, 'A flow, misread'": lambda: _lacking(
            _points(size, box, *moves["swapped"]), rest, size
        ),
        f"Old and new place of the box both count here; only what is uncovered is hidden: {here}": torch.tensor(
            [(a[0] == "box") != (b[0] == "box") for a, b in zip(rest, new, strict=True)]
        ).view(size),
    }


### END HIDDEN TESTS


def _row(*hidden: int) -> Tensor:
    """One row of eight pixels, of which some columns are hidden."""
    return torch.tensor([[column in hidden for column in range(8)]])


mistakes = {
    "These are the pixels that get covered, and the uncovered ones are asked for: chapter 01, 'Occlusion and disocclusion'": _row(4, 5),
    "Old and new place of the box both count here; only what is uncovered is hidden: chapter 01, 'Occlusion and disocclusion'": _row(
        1, 2, 4, 5
    ),
    "These pixels are the visible ones, and the hidden ones are asked for: chapter 01, 'Occlusion and disocclusion'": _row(0, 3, 4, 5, 6, 7),
}
hold(uncovered((1, 8), (0, 1, 1, 2), (0, 3), (0, 0)), _row(1, 2), mistakes, what="the map of the row")
### BEGIN HIDDEN TESTS
for box, by in (((3, 4, 5, 6), (2, 3)), ((3, 4, 5, 6), (-1, 2)), ((2, 3, 4, 4), (5, -1)), ((4, 5, 3, 7), (0, -4))):
    right, mistakes = _cases((12, 16), box, by, (0, 0))
    hold(uncovered((12, 16), box, by, (0, 0)), right, mistakes, what=f"the map of a box that moves by {by}")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "uncovered-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the wall moves 2 to the left, and the box, in columns 3 and 4, 1 to the right.
mistakes = {
    "What comes in at the border was outside of frame 0, so it is hidden, too: chapter 01, 'Renderer, version 3: visibility'": _row(1, 2),
    "The wall has moved: look for its points where they were in frame 0: chapter 01, 'Renderer, version 3: visibility'": _row(3, 6, 7),
    "The box moves by box_by in the picture; the camera's pan is in that already: chapter 01, 'Renderer, version 3: visibility'": _row(1, 6, 7),
    "The direction looks turned round: what moved left was further right before: chapter 01, 'Forward or backward?'": _row(0, 1, 5, 6),
    "The wall's direction alone looks turned round; the box goes the right way: chapter 01, 'Forward or backward?'": _row(0, 1, 6),
    "A pixel of the new frame that shows the box is no wall; is it hidden? chapter 01, 'Renderer, version 3: visibility'": _row(1, 2, 4, 5, 6, 7),
    "Down and right look swapped: rows come first here: chapter 01, 'A flow, misread'": _row(*range(8)),
}
hold(uncovered((1, 8), (0, 3, 1, 2), (0, 1), (0, -2)), _row(1, 2, 6, 7), mistakes, what="the map of the row")
### BEGIN HIDDEN TESTS
for wall_by in ((2, 1), (-3, 2), (0, -5), (1, -1)):
    right, mistakes = _cases((12, 16), (4, 5, 3, 6), (0, 0), wall_by)
    hold(uncovered((12, 16), (4, 5, 3, 6), (0, 0), wall_by), right, mistakes, what=f"the map when the wall moves by {wall_by}")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "uncovered-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: all at once. A box of two columns begins one column left of the picture and moves 3 right, the wall 1 left.
mistakes = {
    "A part of the box came in at the border, so it is hidden, like new wall: chapter 01, 'Renderer, version 3: visibility'": _row(7),
    "What comes in at the border was outside of frame 0, so it is hidden, too: chapter 01, 'Renderer, version 3: visibility'": _row(),
}
hold(uncovered((1, 8), (0, -1, 1, 2), (0, 3), (0, -1)), _row(2, 7), mistakes, what="the map of the row")
# Three rows of five: a box of two rows and two columns moves 1 down, and the wall stands still.
mistakes = {
    "Down and right look swapped: rows come first here: chapter 01, 'A flow, misread'": [[0, 1, 0, 0, 0], [0, 1, 0, 0, 0], [0] * 5],
    "A box that moves down uncovers rows: look at rows as you do at columns: chapter 01, 'Occlusion and disocclusion'": [[0] * 5] * 3,
}
mistakes = {sentence: torch.tensor(map_).bool() for sentence, map_ in mistakes.items()}
right = torch.tensor([[0, 1, 1, 0, 0], [0] * 5, [0] * 5]).bool()
hold(uncovered((3, 5), (0, 1, 2, 2), (1, 0), (0, 0)), right, mistakes, what="the map of three rows")
### BEGIN HIDDEN TESTS
draw = torch.Generator().manual_seed(6)
for _ in range(8):
    top, left, down, right_by, pan_down, pan_right = torch.randint(-4, 5, (6,), generator=draw).tolist()
    box, box_by, wall_by = (4 + top, 6 + 2 * left, 5, 6), (down, right_by), (pan_down, pan_right)
    right, mistakes = _cases((12, 16), box, box_by, wall_by)
    what = f"the map of the box {box} that moves by {box_by} on a wall that moves by {wall_by}"
    hold(uncovered((12, 16), box, box_by, wall_by), right, mistakes, what=what)
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "uncovered-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
size, box, box_by, wall_by = (48, 72), (10, 14, 20, 24), (6, 10), (0, -8)


def frame(box_by: tuple[int, int], wall_by: tuple[int, int]) -> Tensor:
    row, column = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    r, c = row - box_by[0] - box[0], column - box_by[1] - box[1]
    on_box = (r >= 0) & (r < box[2]) & (c >= 0) & (c < box[3])
    return torch.where(on_box, 0.25 + 0.1 * ((r + c) // 4 % 2), 0.9 - 0.15 * ((column - wall_by[1]) // 6 % 2))


hidden = uncovered(size, box, box_by, wall_by)
viz.image_row([frame((0, 0), (0, 0)), frame(box_by, wall_by), 0.85 * (~hidden).float()], ["frame 0", "new frame", "hidden"], scale=4)

# %% [markdown]
# ## 4. Three bugs in a turn (8 points, 40 minutes)
#
# **You learn** to find bugs from what they do. **Read first** chapter 01, "Where is a pixel?", "Forward or backward?",
# and "A layer, in its own coordinates".
#
# The function below should give the flow of a picture that turns clockwise about its middle. The shape is right.
# Three people have used it, and each has found something else:
#
# * "I turn a square picture by a quarter, and it turns the wrong way."
# * "I turn a picture by half a turn, twice. That should be the picture again, but it is blurred, and at the
#   border something is missing."
# * "My pictures are twice as wide as high. When I turn them a little, circles become ellipses."
#
# Mend all three. And let the centre of the turn be any point: `centre` holds its $x$ and $y$, normalized.
#
# ![Two wide pictures: four rings on a textured ground; the same turned clockwise by about 14 degrees about the ring at the left, in which all rings are still round.](figures/ps1_motion_turned.png)
#
# *What a right answer draws: rings stay round on a picture that is not square. The turn is about the ring at the left.*

# %% nbgrader={"grade": false, "grade_id": "turned", "locked": false, "schema_version": 3, "solution": true, "task": false}
def turned(h: int, w: int, angle: float, centre: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    """The flow of a picture that turns clockwise on the screen.

    Args:
        h, w: rows and columns; pixels are squares, so a picture need not be.
        angle: in radians.
        centre: x and y of the point that stays, normalized.

    Returns:
        (1, 2, h, w), normalized.
    """
    ### BEGIN SOLUTION
    grid = lfdm.identity_grid(h, w)
    x, y = (grid[0] - centre[0]) * w / 2, (grid[1] - centre[1]) * h / 2  # pixels, seen from the centre
    c, s = math.cos(angle), math.sin(angle)
    from_x, from_y = c * x + s * y, c * y - s * x  # turned back
    return torch.stack([(from_x - x) * 2 / w, (from_y - y) * 2 / h])[None]
    ### END SOLUTION
    # The function as they used it. Take away the line above, and mend these.
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    c, s = math.cos(angle), math.sin(angle)
    there_x, there_y = c * x - s * y, s * x + c * y
    return torch.stack([there_x - x, there_y - y])[None]


# %% nbgrader={"grade": true, "grade_id": "turned-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: no turn, no flow; and the centre of a turn stays.
mistakes = {"These are positions, and a flow is a displacement: chapter 01, 'A flow, misread'": lfdm.identity_grid(4, 6)[None]}
hold(turned(4, 6, 0.0), torch.zeros(1, 2, 4, 6), mistakes, what="the flow of no turn", atol=1e-5)
# 2 rows and 4 columns, a quarter turn about the third pixel of row 0, which is at (0.25, -0.5).
mistakes = {
    "The centre is passed over, and the middle of the picture stays: chapter 01, 'A layer, in its own coordinates'": [-0.5, 0],
    "The centre is normalized; subtract it before you scale x or y, or scale it, too: chapter 01, 'Where is a pixel?'": [-0.125, -0.25],
    "Seen from the centre it is right; add the centre again: chapter 01, 'A layer, in its own coordinates'": [-0.25, 0.5],
    "The centre holds x first, then y: chapter 01, 'Where is a pixel?'": [-1.125, -0.75],
    "This is the function as it was given, which knows no centre: mend the three bugs first": [2 / 3, 4 / 3],
}
mistakes = {sentence: torch.tensor(flow) for sentence, flow in mistakes.items()}
hold(turned(2, 4, math.pi / 2, (0.25, -0.5))[0, :, 0, 2], torch.zeros(2), mistakes, what="the flow at the centre of the turn")
### BEGIN HIDDEN TESTS
centre = lfdm.identity_grid(6, 10)[:, 1, 7]  # a pixel's
stays = turned(6, 10, 0.7, tuple(centre.tolist()))
hold(stays, torch.zeros(1, 2, 6, 10), what="the flow with a centre", atol=1e9)  # its kind and shape
mistakes = {
    "The centre is passed over, and the middle of the picture stays: chapter 01, 'A layer, in its own coordinates'": turned(
        6, 10, 0.7
    )[0, :, 1, 7]
}
hold(stays[0, :, 1, 7], torch.zeros(2), mistakes, what="the flow at the centre of the turn")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "turned-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: half a turn. On 2 x 2 pixels each looks at the one across: one pixel, which is 1, in x and in y.
half_turn = torch.tensor([[[1.0, -1], [1, -1]], [[1, 1], [-1, -1]]])[None]
_corners = "-1 and 1 are the edges of the picture, and no pixel's centre is there: chapter 01, 'Where is a pixel?'"
_negated = "A flow with the other sign does not undo a turn; turn the other way instead: chapter 01, 'Forward or backward?'"
mistakes = {_corners: 2 * half_turn, _negated: -half_turn, f"{_negated}. Then: {_corners}": -2 * half_turn}
hold(turned(2, 2, math.pi), half_turn, mistakes, what="half a turn of 2 x 2 pixels")
### BEGIN HIDDEN TESTS
for h, w in ((5, 8), (16, 16)):
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    mistakes = {
        _corners: -2 * torch.stack([x, y])[None],
        "The flow is in pixels; normalize it at the end: chapter 01, 'Where is a pixel?'": in_pixels(-2 * lfdm.identity_grid(h, w)[None]),
    }
    hold(turned(h, w, math.pi), -2 * lfdm.identity_grid(h, w)[None], mistakes, what=f"half a turn of {h} x {w} pixels")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "turned-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: a quarter. Turned clockwise, the pixel at the top right looks at the top left: one pixel to the left.
quarter = torch.tensor([[[0.0, -1], [1, 0]], [[1, 0], [0, -1]]])[None]
_forward = "It turns the other way: a pixel looks where it came from, so the turn must be undone: chapter 01, 'Forward or backward?'"
other_way = torch.tensor([[[1.0, 0], [0, -1]], [[0, 1], [-1, 0]]])[None]
mistakes = {_forward: other_way, _corners: 2 * quarter, f"{_forward}. Then: {_corners}": 2 * other_way}
mistakes |= {_negated: -other_way, f"{_negated}. Then: {_corners}": -2 * other_way}
hold(turned(2, 2, math.pi / 2), quarter, mistakes, what="a quarter turn of 2 x 2 pixels")
### BEGIN HIDDEN TESTS
picture = texture(24, 24, 1)
after = {name: lfdm.warp(picture, turned(24, 24, a)) for name, a in {"right": math.pi / 2, "left": -math.pi / 2}.items()}
mistakes = {_forward: torch.rot90(picture, 1, (2, 3)), "Only a mirror: a turn mixes x and y": picture.mT}
hold(after["right"], torch.rot90(picture, -1, (2, 3)), mistakes, what="a picture turned by a quarter", atol=1e-3)  # between pixels
hold(after["left"], torch.rot90(picture, 1, (2, 3)), what="a picture turned back by a quarter", atol=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "turned-4", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# 3 points: any turn, any size, any centre. On 1 row and 4 columns, a quarter turn about the middle looks 1.5 pixels up
# or down at the ends; the picture is 1 pixel high, so that is 3.
inward, outward = [0.75, 0.25, -0.25, -0.75], [-0.75, -0.25, 0.25, 0.75]
_square = "It turns in normalized units, and on a picture that is not square they differ in x and y: chapter 01, 'Where is a pixel?'"
_pixels = "The flow is in pixels; normalize it at the end: chapter 01, 'Where is a pixel?'"
_passed_over = "The centre is passed over: chapter 01, 'A layer, in its own coordinates'"
_not_added = "Seen from the centre it is right; add the centre again: chapter 01, 'A layer, in its own coordinates'"
mistakes = {
    _square: (inward, inward),
    _forward: (inward, [-3, -1, 1, 3]),
    f"{_forward}. Then: {_square}": (inward, outward),
    _negated: (outward, [3, 1, -1, -3]),
    f"{_negated}. Then: {_square}": (outward, inward),
    f"{_corners}. Then: {_square}": ([0, -2 / 3, -4 / 3, -2], [2, 4 / 3, 2 / 3, 0]),
    f"{_forward}. Then: {_corners}. Then: {_square}": ([2, 4 / 3, 2 / 3, 0], [0, 2 / 3, 4 / 3, 2]),
    "w / h and h / w look exchanged: a wide picture has more pixels in x: chapter 01, 'Where is a pixel?'": (inward, [n / 4 for n in inward]),
    "After the turn, x goes back with the width and y with the height: chapter 01, 'Where is a pixel?'": ([3, 1, -1, -3], [3, 1, -1, -3]),
    _pixels: ([1.5, 0.5, -0.5, -1.5], [1.5, 0.5, -0.5, -1.5]),
}
mistakes = {sentence: torch.tensor(flow)[None, :, None] for sentence, flow in mistakes.items()}
ends = torch.tensor([inward, [3, 1, -1, -3]])[None, :, None]
hold(turned(1, 4, math.pi / 2), ends, mistakes, what="a quarter turn of 1 x 4 pixels")
right = torch.tensor([[1.5, 1, 0.5, 0], [6, 4, 2, 0]])[None, :, None]  # the last pixel stays, at (0.75, 0)
mistakes = {_passed_over: ends, _not_added: right - torch.tensor([0.75, 0])[None, :, None, None]}
hold(turned(1, 4, math.pi / 2, (0.75, 0.0)), right, mistakes, what="a quarter turn about the last of 1 x 4 pixels")
### BEGIN HIDDEN TESTS


def _by_complex_numbers(h, w, angle, centre, square=False):
    """Positions in pixels are complex numbers, and a turn is a product."""
    flow = torch.zeros(1, 2, h, w)
    half_w, half_h = (1, 1) if square else (w / 2, h / 2)
    middle = complex(centre[0] * half_w, centre[1] * half_h)
    for j in range(h):
        for i in range(w):
            z = complex(((2 * i + 1) / w - 1) * half_w, ((2 * j + 1) / h - 1) * half_h)
            step = (z - middle) * complex(math.cos(angle), -math.sin(angle)) + middle - z
            flow[0, :, j, i] = torch.tensor([step.real / half_w, step.imag / half_h])
    return flow


for h, w, angle, centre in ((6, 12, 0.4, (0.0, 0.0)), (12, 6, 2.5, (0.0, 0.0)), (7, 10, -1.1, (0.5, -0.3)), (9, 4, 0.9, (-0.8, 0.6))):
    right = _by_complex_numbers(h, w, angle, centre)
    mistakes = {
        _square: _by_complex_numbers(h, w, angle, centre, square=True),
        _forward: _by_complex_numbers(h, w, -angle, centre),
        _passed_over: _by_complex_numbers(h, w, angle, (0, 0)),
        "The centre holds x first, then y: chapter 01, 'Where is a pixel?'": _by_complex_numbers(h, w, angle, centre[::-1]),
        _not_added: right - torch.tensor(centre)[:, None, None],
        _pixels: in_pixels(right),
        "These are positions, and a flow is a displacement: chapter 01, 'A flow, misread'": right + lfdm.identity_grid(h, w),
    }
    hold(turned(h, w, angle, centre), right, mistakes, what=f"a turn by {angle} of {h} x {w} pixels about {centre}")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "turned-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
x, y = lfdm.identity_grid(96, 192) * torch.tensor([96, 48])[:, None, None]
rings = [((x - a).hypot(y - b) - 15).abs() < 4 for a, b in ((-58, 0), (-10, -24), (6, 10), (60, -10))]
picture = torch.where(torch.stack(rings).any(0), 0.1, 0.55 + 0.5 * texture(96, 192)[0, 0])[None, None].clamp(0, 1)
after = lfdm.warp(picture, turned(96, 192, 0.25, (-58 / 96, 0.0)))
viz.image_row([picture[0], after[0]], ["before", "after"], scale=2)

# %% [markdown]
# ## 5. Somebody dims the lamp (7 points, 40 minutes)
#
# **You learn** to put one more thing into the flow equation. **Read first** chapter 02, "Brightness constancy" and
# "Lucas–Kanade: one flow for a window".
#
# Every pixel of the new frame looks at the place that lies $(u, v)$ further in the source, the same for all, and between
# the frames the light changes by a *gain* $g$ and an *offset* $o$:
#
# $$I_d(x, y) = g\, I_s(x + u,\; y + v) + o$$
#
# Put the Taylor expansion of $I_s$ into it. The result is not linear in $u$, $v$, $g$ and $o$; but it is linear in four
# other unknowns, from which these follow. Find them by least squares, with $I_d$ alone on its side as above: fitted to
# $I_s$, pictures with noise give other numbers. Each pixel's squared equation counts by a weight $w$ of at least 0.
#
# ![Four pictures: a texture; the same, moved a little and darker; the texture after shift and light are applied to it, like the second; and their difference, five times enlarged, nearly black.](figures/ps1_motion_light.png)
#
# *What a right answer draws: the source moved and dimmed by the four numbers looks like the driving frame.*

# %% nbgrader={"grade": false, "grade_id": "light", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flow_and_light(source: Tensor, driving: Tensor, weight: Tensor) -> Tensor:
    """One small motion and one change of light for all pixels, by weighted least squares.

    Args:
        source, driving: grey pictures (1, 1, h, w).
        weight: (1, 1, h, w), at least 0: how much the squared equation of each pixel counts.

    Returns:
        (4,): u and v in pixels, backward; then gain and offset. (0, 0, 1, 0) is no change.
    """
    ### BEGIN SOLUTION
    columns = [*slopes(source), source, torch.ones_like(source)]  # times g u, g v, g, o
    matrix = torch.stack([column.flatten() for column in columns], dim=1)
    root = weight.flatten().sqrt()[:, None]
    gu, gv, gain, offset = torch.linalg.lstsq(root * matrix, root * driving.flatten()[:, None]).solution[:, 0]
    return torch.stack([gu / gain, gv / gain, gain, offset])
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "light-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: two equal frames. (Least squares in float32: within 0.001.)
scene, alike = texture(24, 32), torch.ones(1, 1, 24, 32)
mistakes = {
    "A gain of 1 is the same light, and you return what is added to that: chapter 02, 'Brightness constancy'": torch.zeros(4),
    "The offset stands before the gain; return u, v, gain, offset: chapter 02, 'Brightness constancy'": torch.tensor([0.0, 0, 0, 1]),
}
hold(flow_and_light(scene.clone(), scene.clone(), alike.clone()), torch.tensor([0.0, 0, 1, 0]), mistakes, what="no change", atol=1e-3)
### BEGIN HIDDEN TESTS
scene = texture(17, 13, 2)
given_before = scene.clone()
hold(flow_and_light(scene, given_before.clone(), torch.ones(1, 1, 17, 13)), torch.tensor([0.0, 0, 1, 0]), mistakes, what="no change of 17 x 13 pixels", atol=1e-3)
hold(scene, given_before, what="the source must stay as it is; after the call it")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "light-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the light alone, then a shift alone. The second frame is made by the expansion itself, so nothing is left over.


def _moved(picture: Tensor, u: float, v: float, gain: float, offset: float) -> Tensor:
    I_x, I_y = slopes(picture)
    return gain * (picture + u * I_x + v * I_y) + offset


scene, alike = texture(24, 32), torch.ones(1, 1, 24, 32)
mistakes = {
    "This is the light from the driving frame to the source: chapter 02, 'Brightness constancy'": torch.tensor([0.0, 0, 2, -0.4]),
    "The offset has the wrong sign: chapter 02, 'Brightness constancy'": torch.tensor([0.0, 0, 0.5, -0.2]),
    "A gain of 1 is the same light, and you return what is added to that: chapter 02, 'Brightness constancy'": torch.tensor([0.0, 0, -0.5, 0.2]),
    "The offset stands before the gain; return u, v, gain, offset: chapter 02, 'Brightness constancy'": torch.tensor([0.0, 0, 0.2, 0.5]),
    "The sign of e is turned: with g - 1 as unknown, I_d - I_s stands alone, and e is I_s - I_d: chapter 02, 'Brightness constancy'": torch.tensor([0.0, 0, 1.5, -0.2]),
    "The offset is left out: it is an unknown of its own, times 1 at every pixel: chapter 02, 'Brightness constancy'": torch.tensor([-0.0375, 0.0544, 0.8627, 0]),
}
hold(flow_and_light(scene, 0.5 * scene + 0.2, alike), torch.tensor([0.0, 0, 0.5, 0.2]), mistakes, what="half the light, and 0.2", atol=1e-3)
mistakes = {
    "The sign is turned: the flow points to the source, e = I_s - I_d: chapter 02, 'Brightness constancy'": torch.tensor([-0.5, 0.25, 1, 0]),
    "u and v look swapped: u goes with I_x: chapter 02, 'Brightness constancy'": torch.tensor([-0.25, 0.5, 1, 0]),
    "These are the slopes of the driving frame; the expansion is that of I_s: chapter 02, 'Brightness constancy'": torch.tensor([0.4495, -0.2139, 1.0419, -0.0211]),
}
hold(flow_and_light(scene, _moved(scene, 0.5, -0.25, 1, 0), alike), torch.tensor([0.5, -0.25, 1, 0]), mistakes, what="a shift", atol=1e-3)
### BEGIN HIDDEN TESTS
for u, v, gain, offset in ((0.0, 0.0, 1.3, -0.1), (0.0, 0.0, 0.8, 0.0), (-0.7, 0.4, 1.0, 0.0)):
    found = flow_and_light(texture(20, 24, 3), _moved(texture(20, 24, 3), u, v, gain, offset), torch.ones(1, 1, 20, 24))
    mistakes = {
        "The sign is turned: the flow points to the source, e = I_s - I_d: chapter 02, 'Brightness constancy'": torch.tensor([-u, -v, gain, offset]),
        "u and v look swapped: u goes with I_x: chapter 02, 'Brightness constancy'": torch.tensor([v, u, gain, offset]),
    }
    hold(found, torch.tensor([u, v, gain, offset]), mistakes, what=f"({u}, {v}, {gain}, {offset})", atol=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "light-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: motion and light together.
mistakes = {
    "This is gain times flow: divide by the gain at the end: chapter 02, 'Brightness constancy'": torch.tensor([0.3, -0.2, 0.5, 0.2]),
    "The sign is turned: the flow points to the source, e = I_s - I_d: chapter 02, 'Brightness constancy'": torch.tensor([-0.6, 0.4, 0.5, 0.2]),
    "Multiplied by the gain twice: which way round is it? chapter 02, 'Brightness constancy'": torch.tensor([0.15, -0.1, 0.5, 0.2]),
    "These are the slopes of the driving frame; the expansion is that of I_s: chapter 02, 'Brightness constancy'": torch.tensor([1.0041, -0.6363, 0.5328, 0.1834]),
}
with_both = _moved(scene, 0.6, -0.4, 0.5, 0.2)
hold(flow_and_light(scene, with_both, alike), torch.tensor([0.6, -0.4, 0.5, 0.2]), mistakes, what="motion and light", atol=1e-3)
### BEGIN HIDDEN TESTS
for seed in range(3):
    u, v, more, offset = torch.empty(4).uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(seed)).tolist()
    gain, picture = 1 + 0.8 * more, texture(22, 27, seed + 4)
    mistakes = {
        "This is gain times flow: divide by the gain at the end: chapter 02, 'Brightness constancy'": torch.tensor([gain * u, gain * v, gain, offset]),
        "u and v look swapped: u goes with I_x: chapter 02, 'Brightness constancy'": torch.tensor([v, u, gain, offset]),
        "The sign is turned: the flow points to the source: chapter 02, 'Brightness constancy'": torch.tensor([-u, -v, gain, offset]),
    }
    found = flow_and_light(picture, _moved(picture, u, v, gain, offset), torch.ones(1, 1, 22, 27))
    hold(found, torch.tensor([u, v, gain, offset]), mistakes, what="motion and light", atol=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "light-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: weights. The lower half of the driving frame is spoilt, and has weight 0.
spoilt, trusted = with_both.clone(), alike.clone()
spoilt[..., 12:, :], trusted[..., 12:, :] = torch.linspace(0, 1, 32), 0
_no_say = "The weights have no say: chapter 02, 'Lucas–Kanade: one flow for a window'"
mistakes = {_no_say: torch.tensor([-2.0949, 2.6706, -0.2186, 0.5911])}
hold(flow_and_light(scene, spoilt, trusted), torch.tensor([0.6, -0.4, 0.5, 0.2]), mistakes, what="what the trusted half says", atol=1e-3)
# Then the lower half says (-0.2, 0.3, 0.8, 0), and counts four times as much as the upper one. (Worked out beforehand.)
torn, fourfold = with_both.clone(), alike.clone()
torn[..., 12:, :], fourfold[..., 12:, :] = _moved(scene, -0.2, 0.3, 0.8, 0)[..., 12:, :], 4
_twice = "The weights count twice; before it is squared, an equation gets the root of its weight: chapter 02, 'Version 1: one pixel'"
mistakes = {
    _no_say: torch.tensor([0.1130, 0.0747, 0.7039, 0.0715]),
    _twice: torch.tensor([-0.1633, 0.2764, 0.7927, 0.0064]),
    "The root is taken once too often: it is the squared equation that gets w: chapter 02, 'Version 1: one pixel'": torch.tensor([0.0053, 0.1593, 0.7452, 0.0430]),
    "Fitted to I_s; leave I_d alone on its side: chapter 02, 'Brightness constancy'": torch.tensor([-0.0726, 0.2042, 0.8097, 0.0051]),
}
right = torch.tensor([-0.0767, 0.2183, 0.7712, 0.0238])
hold(flow_and_light(scene, torn, fourfold), right, mistakes, what="what both halves say", atol=1e-3)
### BEGIN HIDDEN TESTS


def _lowest(source, driving, weight):
    """The lowest point of the weighted sum of squares, by its derivatives, in float64."""
    source, driving, weight = source.double(), driving.double(), weight.double()
    columns = torch.cat([*slopes(source), source, torch.ones_like(source)], dim=1)
    misfit = lambda m: (weight * ((columns * m[:, None, None]).sum(1, keepdim=True) - driving).square()).sum()
    start = torch.zeros(4, dtype=torch.float64)
    slope, bend = torch.autograd.functional.jacobian(misfit, start), torch.autograd.functional.hessian(misfit, start)
    m = -torch.linalg.solve(bend, slope)
    return torch.stack([m[0] / m[2], m[1] / m[2], m[2], m[3]]).float()


draw = torch.Generator().manual_seed(7)
picture = texture(24, 30, 9)
noisy = _moved(picture, 0.3, -0.5, 0.8, 0.1) + 0.1 * torch.randn(1, 1, 24, 30, generator=draw)
weight = torch.rand(1, 1, 24, 30, generator=draw).square() * 3
right = _lowest(picture, noisy, weight)
mistakes = {
    _no_say: _lowest(picture, noisy, torch.ones_like(weight)),
    _twice: _lowest(picture, noisy, weight.square()),
    "The weights are taken for a mask: they may be any number from 0 up, chapter 02, 'Lucas–Kanade: one flow for a window'": _lowest(
        picture, noisy, (weight > 0.5).float()
    ),
}
hold(flow_and_light(picture, noisy, weight), right, mistakes, what="a weighted fit of noisy pictures", atol=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "light-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
still = texture(64, 64, 5)
shift = normalized(torch.tensor([0.7, -0.5])[None, :, None, None].expand(1, 2, 64, 64))
dimmed = 0.6 * lfdm.warp(still, shift) + 0.05
u, v, gain, offset = flow_and_light(still, dimmed, torch.ones_like(still)).tolist()
found = normalized(torch.tensor([u, v])[None, :, None, None].expand(1, 2, 64, 64))
matched = gain * lfdm.warp(still, found) + offset
print(f"u {u:.2f}, v {v:.2f}, gain {gain:.2f}, offset {offset:.2f}")
panels = [still, dimmed, matched, 5 * (matched - dimmed).abs()]
viz.image_row([panel[0].clamp(0, 1) for panel in panels], ["source", "driving", "matched", "difference x 5"], scale=3)

# %% [markdown]
# *A right answer prints u 0.74, v -0.52, gain 0.57, offset 0.07, where 0.7, -0.5, 0.6 and 0.05 went in. Most of the
# difference is due to the expansion, which ends after the first order: of a picture that is shifted without the blur of
# warping, it finds 0.75, -0.52, 0.58 and 0.06.*

# %% [markdown]
# ## 6. The smoothest flow (8 points, 50 minutes)
#
# **You learn** what the smoothness term does where pictures say nothing. **Read first** chapter 02, "Horn–Schunck: one
# flow for the whole picture".
#
# Suppose a flow is known at some pixels, and nothing is known at the others. The smoothest flow keeps what is known, and
# makes the sum of squared differences between neighbours as small as it gets; neighbours are two pixels with a common
# side. Set the derivative with respect to an unknown pixel to zero, and you find: the pixel is the mean of its
# neighbours, four of them, or fewer at the border (`neighbours` of chapter 02 takes eight). That is one linear equation
# for each unknown pixel. Solve them, exactly rather than by a few rounds: pictures have at most 600 pixels here. For a
# matrix, number the pixels row by row: the one in row $r$ and column $c$ gets $r\, w + c$ if there are $w$ columns.
#
# ![Three pictures: the colours of a flow at scattered pixels, with black between; all of the picture filled with smooth colours; and the true flow, which has the same colours with sharper edges.](figures/ps1_motion_fill.png)
#
# *What a right answer draws: one pixel in eight is known; filled in; the true flow. Full colour is a flow of 1.5 of these
# pixels; longer ones get darker, so that a long orange is brown.*

# %% nbgrader={"grade": false, "grade_id": "fill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fill_in(flow: Tensor, known: Tensor) -> Tensor:
    """The smoothest flow that keeps what is known.

    Args:
        flow: (1, 2, h, w), in any unit; at unknown pixels it holds anything, NaN too. It stays as it is.
        known: (1, 1, h, w) of bool, True at one pixel at least.

    Returns:
        (1, 2, h, w): at unknown pixels, each channel is the mean of the neighbours left, right, above and below, as
        far as they lie in the picture.
    """
    ### BEGIN SOLUTION
    h, w = flow.shape[-2:]
    index = torch.arange(h * w).view(h, w)
    pairs = torch.cat([torch.stack([a.flatten(), b.flatten()]) for a, b in ((index[:, 1:], index[:, :-1]), (index[1:], index[:-1]))], dim=1)
    near = torch.zeros(h * w, h * w, dtype=torch.float64)
    near[pairs[0], pairs[1]] = near[pairs[1], pairs[0]] = 1
    equations = near.sum(1).diag() - near  # number of neighbours times the pixel, minus their sum
    fixed = known.flatten()
    equations[fixed] = torch.eye(h * w, dtype=torch.float64)[fixed]
    right = torch.where(known, flow, 0).view(2, h * w).T.double()
    return torch.linalg.solve(equations, right).T.reshape(flow.shape).to(flow.dtype)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "fill-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: what is known stays, and what was given stays as it is.
### BEGIN HIDDEN TESTS
def _rounds(flow, known, count, border="left out", kernel=((0, 1, 0), (1, 0, 1), (0, 1, 0)), keep=True):
    """Means of neighbours, again and again, from 0; what is unknown in `flow` is not looked at. For the tests below."""
    kernel = torch.tensor(kernel, dtype=torch.float64)[None, None]
    now, fixed = torch.where(known, flow, 0).double().transpose(0, 1), known.expand(2, 1, -1, -1)
    start, inside = now, torch.ones_like(now)
    if border != "wraps":
        divide = F.conv2d(inside, kernel, padding=1) if border == "left out" else kernel.sum()
    for _ in range(count):
        if border == "wraps":
            mean = sum(now.roll(by, axis) for axis in (2, 3) for by in (1, -1)) / 4
        elif border == "repeated":
            mean = F.conv2d(F.pad(now, (1, 1, 1, 1), mode="replicate"), kernel) / kernel.sum()
        else:
            mean = F.conv2d(now, kernel, padding=1) / divide
        now = torch.where(fixed, start, mean) if keep else mean
    return now.transpose(0, 1).float()


### END HIDDEN TESTS
draw = torch.Generator().manual_seed(0)
whole, all_known = torch.randn(1, 2, 3, 4, generator=draw), torch.ones(1, 1, 3, 4, dtype=torch.bool)
hold(fill_in(whole.clone(), all_known), whole, what="a flow that is known everywhere")
flow, known = whole.clone(), torch.rand(1, 1, 3, 4, generator=draw) < 0.5
flow_before, known_before = flow.clone(), known.clone()
answer = fill_in(flow, known)
hold(flow, flow_before, what="the flow that was given must stay as it is; after the call it")
hold(known, known_before, what="the map of known pixels must stay as it is; after the call it")
### BEGIN HIDDEN TESTS
changed = "Known pixels may not change: smooth the others only: chapter 02, 'Horn–Schunck: one flow for the whole picture'"
hold(answer, flow, what="the answer", atol=1e9)  # its kind and shape
hold(torch.where(known, answer, 0), torch.where(known, flow, 0), {changed: torch.where(known, answer, 0)}, what="the known pixels")
### END HIDDEN TESTS
one_known = torch.zeros(1, 1, 3, 4, dtype=torch.bool)
one_known[..., 1, 2] = True
right = whole[..., 1:2, 2:3].expand(1, 2, 3, 4)
filled = fill_in(torch.where(one_known, whole, float("nan")), one_known)
mistakes = {"What is unknown comes through; NaN times 0 is NaN, too, so choose with torch.where": lambda: torch.where(filled.isnan(), filled, right)}
hold(filled, right, mistakes, what="a flow that is known at one pixel, and NaN elsewhere: it")

# %% nbgrader={"grade": true, "grade_id": "fill-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: one row. Between two known pixels the smoothest flow is a ramp; behind the last one it stays level.


def _both_channels(*values: float) -> Tensor:
    """One row, in channel 0, and times -2 in channel 1."""
    return torch.tensor(values)[None, None, None] * torch.tensor([1.0, -2])[None, :, None, None]


ends = torch.tensor([True, False, False, False, False, True])[None, None, None]
_smooth = "chapter 02, 'Horn–Schunck: one flow for the whole picture'"
mistakes = {
    f"Each unknown pixel takes what its nearest known one has; it should take the mean of its neighbours: {_smooth}": _both_channels(0, 0, 0, 10, 10, 10),
    f"Each unknown pixel takes the mean of all known ones; its neighbours count: {_smooth}": _both_channels(0, 5, 5, 5, 5, 10),
    f"The unknown pixels look unchanged: {_smooth}": _both_channels(0, 7, 7, 7, 7, 10),
    f"One round of means only: go on, or solve the equations: {_smooth}": _both_channels(0, 3.5, 7, 7, 8.5, 10),
    f"The unknown pixels are 0: {_smooth}": _both_channels(0, 0, 0, 0, 0, 10),
    f"The border counts as zeros; a pixel there has fewer neighbours: {_smooth}": _both_channels(0, 0.0478, 0.1914, 0.7177, 2.6794, 10),
}
hold(fill_in(_both_channels(0, 7, 7, 7, 7, 10), ends), _both_channels(0, 2, 4, 6, 8, 10), mistakes, what="the ramp", atol=1e-3)
inside = torch.tensor([False, True, False, True, False])[None, None, None]
mistakes = {f"The picture wraps around at the border: {_smooth}": _both_channels(11 / 3, 3, 4, 5, 13 / 3)}
hold(fill_in(_both_channels(9, 3, 9, 5, 9), inside), _both_channels(3, 3, 4, 5, 5), mistakes, what="a ramp with open ends", atol=1e-3)
### BEGIN HIDDEN TESTS
one = torch.tensor([False, True, False, True, False, False])[None, None, None]
row_of_flow = _both_channels(9, 3, 9, 5, 9, 9)
mistakes = {
    f"The border counts as zeros; a pixel there has fewer neighbours: {_smooth}": partial(_rounds, row_of_flow, one, 300, border="zeros"),
    f"The picture wraps around at the border: {_smooth}": partial(_rounds, row_of_flow, one, 300, border="wraps"),
    f"Not at rest yet: go on, or solve the equations: {_smooth}": partial(_rounds, row_of_flow, one, 10),
}
hold(fill_in(row_of_flow, one), _both_channels(3, 3, 4, 5, 5, 5), mistakes, what="a row with open ends", atol=1e-3)
hold(fill_in(row_of_flow.mT.contiguous(), one.mT), _both_channels(3, 3, 4, 5, 5, 5).mT, mistakes, what="a column with open ends", atol=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "fill-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: a known border. Of x^2 - y^2 and x y every pixel is the mean of its four neighbours, so they come back.
# (Solved in float32, 1e-3 of 40 is near enough.)
y, x = torch.meshgrid(torch.arange(7.0), torch.arange(9.0), indexing="ij")
harmonic = torch.stack([x * x - y * y, x * y])[None]
border = torch.ones(1, 1, 7, 9, dtype=torch.bool)
border[..., 1:-1, 1:-1] = False
hold(fill_in(torch.where(border, harmonic, 0), border), harmonic, what="the inside, from the border", atol=0.04)
### BEGIN HIDDEN TESTS
y, x = torch.meshgrid(torch.arange(20.0) - 8, torch.arange(24.0) - 11, indexing="ij")
harmonic = torch.stack([(x**3 - 3 * x * y * y) / 50, 2 * x - y])[None]
border = torch.ones(1, 1, 20, 24, dtype=torch.bool)
border[..., 1:-1, 1:-1] = False
given_border = torch.where(border, harmonic, 0)
mistakes = {f"Not at rest yet, as after {n} rounds: go on, or solve the equations: {_smooth}": partial(_rounds, given_border, border, n) for n in (1, 10, 50, 100, 200)}
hold(fill_in(given_border, border), harmonic, mistakes, what="the inside of 20 x 24 pixels, from the border", atol=0.04)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "fill-4", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# 3 points: scattered pixels. Here is what must hold at an unknown pixel in the corner, with one neighbour known.
corner = torch.zeros(1, 2, 2, 2)
corner[..., 0, 1], corner[..., 1, 0] = 1, 3
two = torch.tensor([[False, True], [True, False]])[None, None]
answer = torch.tensor([[2.0, 1], [3, 2]]).expand(1, 2, 2, 2)
by_rows = torch.tensor([[1.0, 1], [3, 3]]).expand(1, 2, 2, 2)
mistakes = {f"Each row by itself; the neighbours above and below count, too: {_smooth}": by_rows}
hold(fill_in(corner, two), answer, mistakes, what="two unknown corners")
# 12 in one corner of 3 x 3, 0 in the others: 3 in the middle, and two numbers on the sides, near and far.


def _from_corners(near: float, far: float) -> Tensor:
    return torch.tensor([[12.0, near, 0], [near, 3, far], [0, far, 0]]).expand(1, 2, 3, 3)


_four = "only the four with a common side are neighbours: chapter 02, 'Horn–Schunck: one flow for the whole picture'"
mistakes = {
    f"Here the chapter's eight neighbours count; {_four}": _from_corners(4.8, 1.2),
    f"Corners count as neighbours here, with half the weight; {_four}": _from_corners(4.5, 1.5),
    f"Corners count as neighbours here, and the border is repeated; {_four}": _from_corners(33 / 7, 9 / 7),
    f"Corners count as neighbours here; {_four}": _from_corners(4.2, 1.8),
    f"The border counts as zeros; a pixel there has fewer neighbours: {_smooth}": _from_corners(3.5, 0.5) - torch.tensor([[0, 0, 0], [0, 1, 0], [0, 0, 0]]),
}
at_corners = torch.tensor([[True, False, True], [False] * 3, [True, False, True]])[None, None]
hold(fill_in(torch.where(at_corners, _from_corners(0, 0), 0), at_corners), _from_corners(5, 1), mistakes, what="3 x 3 pixels with known corners", atol=1e-3)
### BEGIN HIDDEN TESTS
for h, w, seed in ((8, 10, 1), (11, 6, 2)):
    draw = torch.Generator().manual_seed(seed)
    flow, known = torch.randn(1, 2, h, w, generator=draw), torch.rand(1, 1, h, w, generator=draw) < 0.15
    right = _rounds(flow, known, 800)
    mistakes = {
        f"The border counts as zeros; a pixel there has fewer neighbours: {_smooth}": partial(_rounds, flow, known, 800, border="zeros"),
        f"The picture wraps around at the border: {_smooth}": partial(_rounds, flow, known, 800, border="wraps"),
        f"Here the chapter's eight neighbours count; {_four}": partial(
            _rounds, flow, known, 800, border="repeated", kernel=((1, 2, 1), (2, 0, 2), (1, 2, 1))
        ),
        f"Corners count as neighbours here; {_four}": partial(_rounds, flow, known, 800, kernel=((1, 1, 1), (1, 0, 1), (1, 1, 1))),
        f"Corners count as neighbours here, with half the weight; {_four}": partial(
            _rounds, flow, known, 800, kernel=((1, 2, 1), (2, 0, 2), (1, 2, 1))
        ),
    }
    mistakes |= {f"Not at rest yet, as after {n} rounds: go on, or solve the equations: {_smooth}": partial(_rounds, flow, known, n) for n in (1, 10, 20, 50, 100)}
    hold(fill_in(flow.clone(), known), right, mistakes, what=f"scattered pixels on {h} x {w}", atol=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "fill-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
clip = lfdm.data.Faces("test")[3]
true_flow = lfdm.geometry.resize(clip["flow"][None, :, 12], 24)
known = torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(0)) < 1 / 8
filled = fill_in(true_flow, known)
colours = [lfdm.flow_to_rgb(flow[0], max_norm=4 / 32) for flow in (true_flow, filled)]
viz.image_row([torch.where(known[0], colours[0], 0), colours[1], colours[0]], ["known", "filled in", "true flow"], scale=8)

# %% [markdown]
# ## 7. Noise makes flow look small (10 points, 55 minutes)
#
# **You learn** why least squares underestimates motion in noisy pictures, and to check a derivation by experiment.
# **Read first** chapter 02, "The aperture problem" and "Lucas–Kanade: one flow for a window".
#
# All pixels have one flow $(u, v)$, so small that the flow equation $I_x u + I_y v + e = 0$ holds exactly on clean
# pictures. Now noise is added: to every pixel an independent random number of mean 0 and variance $\sigma^2$.
# The slopes are measured on the noisy source by central differences, $I_x = \frac12 (I_s(x + 1, y) - I_s(x - 1, y))$,
# as `slopes` does, and $e = I_s - I_d$ is noisy, too. `one_flow` solves the normal equations with all of this. What
# does it find *on average*?
#
# Take the mean of each of the sums $a, b, c, p, q$ of the normal equations over the noise, for $n$ pixels that count alike
# ($w_k = 1$), and solve with these means. (For many pixels that is near enough to the mean of the solution.) You need two
# rules. If $X$ and $Y$ are independent and have mean 0, the mean of $X Y$ is 0, and the variance, which is the mean of the
# square, of $\alpha X + \beta Y$ is $\alpha^2$ times that of $X$ and $\beta^2$ times that of $Y$. To find out:
#
# 1. By how much does noise in the source change the mean of $I_x^2$? Of $I_x I_y$?
# 2. Is the noise in $I_x$ related to the noise in $e$ at the same pixel?
# 3. What does noise in the driving frame change?
#
# ![A plot of the flow that is found, u and v, against the standard deviation of the noise. With noise in the driving frame, dashed lines and squares stay level at 0.8 and -0.5. With noise in the source frame, solid lines and dots come from there nearly to 0.1 and -0.1.](figures/ps1_motion_noise.png)
#
# *What a right answer draws: lines are predicted, markers are measured with* `one_flow` *on 100 noisy pairs each. Noise
# in the source pulls both components to zero, not equally; noise in the driving frame does not.*

# %% nbgrader={"grade": false, "grade_id": "noise", "locked": false, "schema_version": 3, "solution": true, "task": false}
def expected_flow(I_x: Tensor, I_y: Tensor, flow: Tensor, sigma: float, noisy: str) -> Tensor:
    """The flow that least squares finds on average in noisy pictures.

    Args:
        I_x, I_y: (n,), the slopes of the clean source at n pixels, in brightness per pixel.
        flow: (2,), the true u and v, in pixels.
        sigma: standard deviation of the noise.
        noisy: which frame has noise, "source", "driving" or "both".

    Returns:
        (2,), in pixels. Slopes that are all parallel come only where the source has noise.
    """
    ### BEGIN SOLUTION
    equations = torch.stack([I_x, I_y], dim=1)
    normal = equations.T @ equations
    in_slopes = len(I_x) * sigma**2 / 2 if noisy in ("source", "both") else 0.0  # of (n_right - n_left) / 2, n times
    return torch.linalg.solve(normal + in_slopes * torch.eye(2), normal @ flow)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "noise-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: without noise, least squares finds the true flow. (As in all tests of this exercise, within 0.001.)
across, down = (torch.tensor(signs).repeat(25) / 10 for signs in ([1.0, 1, -1, -1], [1.0, -1, 1, -1]))  # 100 pixels
slow = torch.tensor([1.2, -0.6])
hold(expected_flow(across, down, slow.clone(), 0.0, "both"), slow, what="the flow without noise", atol=1e-3)
### BEGIN HIDDEN TESTS
for frame in ("source", "driving", "both"):
    hold(expected_flow(0.3 * across, down + across / 2, slow.clone(), 0.0, frame), slow, what="the flow without noise", atol=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "noise-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: noise in the driving frame only. Which of the sums of the normal equations does it get into?
_driving_only = "Noise in the driving frame is in e only, and its mean there is 0: chapter 02, 'Lucas–Kanade: one flow for a window'"
mistakes = {_driving_only: slow * 2 / 3, f"Not less than the truth. {_driving_only}": slow / 2, f"Less is right for the source. {_driving_only}": slow / 3}
hold(expected_flow(across, down, slow.clone(), 0.1, "driving"), slow, mistakes, what="the flow, noise in the driving frame", atol=1e-3)
### BEGIN HIDDEN TESTS
mistakes = {_driving_only: expected_flow(0.5 * across, down, slow.clone(), 0.2, "source")}
hold(expected_flow(0.5 * across, down, slow.clone(), 0.2, "driving"), slow, mistakes, what="the flow, noise in the driving frame", atol=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "noise-3", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# 3 points: noise in the source, with slopes that are alike in both directions: a = c = 1, b = 0, n = 100, sigma = 0.1.
_equations = "chapter 02, 'Lucas–Kanade: one flow for a window'"
mistakes = {
    f"A central difference has half the variance of the noise, not all of it: {_equations}": slow / 2,
    f"The difference has twice the variance, and half of the difference a quarter of what the difference has: {_equations}": slow / 3,
    f"Half of the difference of two numbers: variances add, a factor is squared; you have a quarter: {_equations}": slow / 1.25,
    f"It looks as if the noise of one pixel were added to the sums of all: {_equations}": slow / 1.005,
    f"Is it the variance, sigma squared, that adds up? {_equations}": slow / 6,
    f"Noise makes the sums of squares larger, so the flow smaller, not larger: {_equations}": slow * 2,
    f"There is no bias in your answer; the mean of a square is not the square of the mean: {_equations}": slow,
    f"I_x and I_y have their noise from different pixels: what is its mean in b? {_equations}": torch.tensor([1.05, -0.75]),
}
_apart = f"I_x has its noise from the pixels beside, e from the pixel itself: what is its mean in p and q? {_equations}"
mistakes |= {_apart: (slow - 0.5) / 1.5, f"{_apart} ": (slow + 0.5) / 1.5, f"{_apart}  ": (slow - 1) / 1.5, f"{_apart}   ": (slow + 1) / 1.5}
hold(expected_flow(across, down, slow.clone(), 0.1, "source"), slow * 2 / 3, mistakes, what="the flow, noise in the source", atol=1e-3)
_once = f"Noise in both frames: does the second add anything to the sums a, b, c? {_equations}"
hold(expected_flow(across, down, slow.clone(), 0.1, "both"), slow * 2 / 3, {_once: slow / 2} | mistakes, what="the flow, noise in both frames", atol=1e-3)
### BEGIN HIDDEN TESTS
stripes = torch.linspace(-0.2, 0.2, 50)  # slopes to the right only
kept = (stripes.square().sum() / (stripes.square().sum() + 50 * 0.1**2 / 2)).item()
mistakes = {
    f"Along the stripes nothing is seen, and noise pulls that part to zero, all of it: {_equations}": torch.tensor([kept, 1.0]) * slow,
    f"One number shrinks both components; along the stripes it must be all: {_equations}": slow * kept,
}
found = expected_flow(stripes, torch.zeros(50), slow.clone(), 0.1, "source")
hold(found, torch.tensor([kept * 1.2, 0.0]), mistakes, what="the flow of stripes", atol=1e-3)
source_and_both = expected_flow(0.7 * across, down, slow.clone(), 0.15, "source")
both_frames = expected_flow(0.7 * across, down, slow.clone(), 0.15, "both")
mistakes = {_once: expected_flow(0.7 * across, down, slow.clone(), 0.15 * 2**0.5, "source")}
hold(both_frames, source_and_both, mistakes, what="the flow, noise in both frames", atol=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "noise-4", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
# 4 points: any slopes. Two sorts of pixels: 8 with slopes (0.1, 0.1), 8 with (0.1, 0); sigma = 0.1.
I_x, I_y = torch.full((16,), 0.1), torch.tensor([0.1, 0.0]).repeat(8)
mistakes = {
    "The sum b is left out: the slopes in x and y belong together: chapter 02, 'The aperture problem'": torch.tensor([2 / 3, -0.5]),
    "One number shrinks both components; but each direction has its own: chapter 02, 'The aperture problem'": torch.tensor([0.6, -0.6]),
    "There is no bias in your answer; noise adds to a and c, and not to b: chapter 02, 'Lucas–Kanade: one flow for a window'": torch.tensor([1.0, -1]),
    _apart: torch.tensor([0.2, -0.6]),
    f"{_apart} ": torch.tensor([0.6, 0.2]),
}
hold(expected_flow(I_x, I_y, torch.tensor([1.0, -1]), 0.1, "source"), torch.tensor([0.4, -0.2]), mistakes, what="the flow", atol=1e-3)
### BEGIN HIDDEN TESTS


def _shrunk(I_x, I_y, flow, added):
    """Along each eigenvector of the normal matrix the flow shrinks by its own factor."""
    matrix = torch.tensor([[(I_x * I_x).sum(), (I_x * I_y).sum()], [(I_x * I_y).sum(), (I_y * I_y).sum()]])
    values, vectors = torch.linalg.eigh(matrix)
    return sum(value / (value + added) * (vector @ flow) * vector for value, vector in zip(values, vectors.T, strict=True))


for seed in range(3):
    draw = torch.Generator().manual_seed(seed)
    I_x, more = 0.1 * torch.randn(2, 60, generator=draw)
    I_y, truth, sigma = 0.6 * I_x + 0.5 * more, torch.randn(2, generator=draw), 0.05 + 0.05 * seed
    added = 60 * sigma**2 / 2
    by_one = (I_x.square() + I_y.square()).sum() / ((I_x.square() + I_y.square()).sum() + 2 * added)
    apart = torch.stack([s.square().sum() / (s.square().sum() + added) for s in (I_x, I_y)]) * truth
    mistakes = {
        "The sum b is left out: the slopes in x and y belong together: chapter 02, 'The aperture problem'": apart,
        "One number shrinks both components; but each direction has its own: chapter 02, 'The aperture problem'": truth * by_one,
        "A central difference has half the variance of the noise, not all of it: chapter 02, 'Lucas–Kanade: one flow for a window'": _shrunk(I_x, I_y, truth, 2 * added),
    }
    for frame in ("source", "both"):
        hold(expected_flow(I_x, I_y, truth.clone(), sigma, frame), _shrunk(I_x, I_y, truth, added), mistakes, what=f"the flow, noise in {frame}", atol=1e-3)
# The experiment: the mean of 200 fits. It scatters by less than 0.005, and 0.02 is less than any misconception is off.
draw, clean, sigma = torch.Generator().manual_seed(11), texture(48, 48, 6), 0.05
I_x, I_y = (maps[0, 0, 1:-1, 1:-1].flatten() for maps in slopes(clean))
after = clean + 0.8 * slopes(clean)[0] - 0.5 * slopes(clean)[1]
pairs = [frame + sigma * torch.randn(200, 1, 48, 48, generator=draw) for frame in (clean, after)]
measured = one_flow(*pairs).mean(0)
predicted = expected_flow(I_x, I_y, torch.tensor([0.8, -0.5]), sigma, "both")
hold(predicted, measured, what="the prediction for 200 noisy pairs", atol=0.02)
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "noise-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
clean, truth = texture(48, 48, 6), torch.tensor([0.8, -0.5])
slope_x, slope_y = slopes(clean)
after = clean + truth[0] * slope_x + truth[1] * slope_y
inner = [maps[0, 0, 1:-1, 1:-1].flatten() for maps in (slope_x, slope_y)]
sigmas, draw = torch.linspace(0, 0.12, 7).tolist(), torch.Generator().manual_seed(0)
figure, ax = plt.subplots(figsize=(6.4, 3.4))
for noisy, marker, line in (("source", "o", "-"), ("driving", "s", "--")):
    measured = []
    for sigma in sigmas:
        grain = sigma * torch.randn(100, 1, 48, 48, generator=draw)
        pair = (clean + grain, after) if noisy == "source" else (clean, after + grain)
        measured.append(one_flow(*(frame.expand(100, 1, 48, 48) for frame in pair)).mean(0))
    predicted = torch.stack([expected_flow(*inner, truth, sigma, noisy) for sigma in sigmas])
    for part, colour in ((0, "blue"), (1, "orange")):
        ax.plot(sigmas, predicted[:, part], line, color=viz.COLOURS[colour], label=f"{'uv'[part]}, noise in the {noisy} frame")
        ax.plot(sigmas, torch.stack(measured)[:, part], marker, color=viz.COLOURS[colour])
ax.set(xlabel="standard deviation of the noise", ylabel="flow that is found, pixels", ylim=(-0.7, 1.0))
ax.legend(ncols=2, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1))
plt.show()
