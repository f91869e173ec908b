# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Problem set 5: Inside the 3D U-Net
#
# You say what attention can know about time, write down the bill of an attention, drop conditions, fold step and label
# into a norm, load another program's weights, mend an attention with three bugs, and read a frame that is too large to
# be seen at once.
#
# **You need** chapter 08 (The 3D U-Net), PyTorch tensors, and `rearrange` of the package `einops`. **It takes** about
# four and a half hours: seven exercises, 51 points, and 3 more for a written answer. **You may use** PyTorch, einops,
# `lfdm_lite`, and your own cells of the chapter. No exercise needs the answer of another, so begin where you like; they
# are sorted from easy to hard.
#
# **How it works.** Write your code below the docstring, in place of `raise NotImplementedError`; keep names and
# arguments as they are. Helpers of your own belong into the same cell. The cells below an answer test it: run them. If
# nothing is printed the test passes, and otherwise it says what is amiss. When your work is marked, the same cells test
# more cases than you see here. The last cell of each exercise draws what your function does; change it as you like.
#
# | exercise | kind | minutes | points |
# |---|---|---|---|
# | 1 What may be shuffled | predict | 35 | 6, and 3 written |
# | 2 The bill of an attention | implement | 30 | 7 |
# | 3 Conditions that fall out | implement | 25 | 6 |
# | 4 All conditions in one norm | derive and check | 40 | 7 |
# | 5 Another program's rotary | implement | 40 | 7 |
# | 6 Three bugs in time | debug | 55 | 10 |
# | 7 A frame in pieces | implement | 50 | 8 |
#
# Everywhere, $b$ is the number of clips, $t$ the number of frames, $c$ the number of features of a token, and $d$ the
# number of features of one head. A *multiply-add* is one product and one sum.

# %% nbgrader={"grade": false, "grade_id": "given", "locked": true, "schema_version": 3, "solution": false, "task": false}
import math
import weakref
from collections.abc import Iterator
from functools import partial

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lfdm_lite import attention, viz
from lfdm_lite.course.checks import hold
from lfdm_lite.unet3d import ResidualBlock

viz.use_style()

CURES = ("none", "rotary", "distance", "absolute distance", "circle", "embedding")
CHANGES = ("shuffle", "reverse", "roll", "later")


def as_table(answer: object) -> object:
    """A table of words, in one form: cure -> the changes in alphabetical order; anything else stays as it is."""
    if not isinstance(answer, dict):
        return answer
    listed = lambda words: words.split() if isinstance(words, str) else map(str, words) if isinstance(words, set | list | tuple) else [str(words)]
    return {cure: " ".join(sorted(listed(words))) for cure, words in answer.items()}


def entry(answer: object, name: str) -> object:
    """One number of a bill; what is no bill stays as it is, so that a test can say so."""
    return answer[name] if isinstance(answer, dict) and name in answer else answer


def multiply_adds(compute, *inputs: Tensor) -> int:
    """Products, each with a sum, in all matrix products and convolutions of compute(*inputs)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        compute(*inputs)
    return counter.get_total_flops() // 2


def clone(given):
    """Arguments of `look` with an x of their own: a function that changes it shall not change what it is held against."""
    return given[0].clone(), *given[1:]


def drawn(b, t, c, h, w, heads, d, seed):
    """Arguments of `look` for b clips of t frames: frames, random weights, and both counts; always the same for a seed."""
    draw = torch.Generator().manual_seed(seed)
    sizes = (b * t, c, h, w), (3 * heads * d, c), (c, heads * d)
    x, to_qkv, to_out = (torch.randn(size, generator=draw) for size in sizes)
    return x, to_qkv / c**0.5 * 1.5, to_out / d**0.5, heads, t


# %% [markdown]
# ## 1. What may be shuffled (6 points, 25 minutes)
#
# **You learn** what each way to tell frames apart can know, and what it cannot. **Read first** chapter 08, "Attention
# through time", "Rotary embedding", "Relative position bias" and "Which frame is which".
#
# A temporal attention with one head and random weights looks at a clip of 8 frames. Frame $i$ is the one that comes in
# place $i$, counted from 0. The attention knows their order by *one* of these cures:
#
# * `none`: by nothing;
# * `rotary`: queries and keys of frame $i$ are turned by angles that are $i$ times a frequency;
# * `distance`: a bias $B_{ij}$ from a table of random numbers, one for each $j - i$ from $-7$ to $7$;
# * `absolute distance`: the same with $|j - i|$;
# * `circle`: the same with $(j - i) \bmod 8$, which is 0 to 7;
# * `embedding`: sinusoids of $i$ are added to the token of frame $i$.
#
# ![Five maps of 8 by 8 frames. None is one grey. Rotary and distance have stripes along the diagonal, each its own shade, distance without symmetry. Absolute distance is symmetric about the diagonal. In circle the stripes go on at the other border.](figures/ps5_unet3d_shuffle.png)
#
# *What four of the cures add to the score of frame $i$ (rows) with frame $j$ (columns), and what rotary makes of a query
# and a key that are alike in all frames. Dark is less. The sixth, the embedding, acts on the tokens.*
#
# Now somebody changes the clip, or the frames' numbers:
#
# * `shuffle`: frames come in any other order;
# * `reverse`: the last frame comes first;
# * `roll`: every frame moves on by one, and the last becomes the first;
# * `later`: the clip stays as it is, and its frames are numbered from 5 to 12 in place of 0 to 7.
#
# Under which changes is the answer *merely changed alike* (shuffled, reversed, rolled), and for `later` the same as
# before? Predict it for each cure, whatever the clip. You may check your prediction by a program; write it down before.

# %% nbgrader={"grade": false, "grade_id": "shuffle", "locked": false, "schema_version": 3, "solution": true, "task": false}
def unnoticed() -> dict[str, set[str]]:
    """Changes that each cure does not notice: cure -> names of changes, for all six cures; set() where it notices all."""
    ### BEGIN SOLUTION
    return {
        "none": {"shuffle", "reverse", "roll", "later"},
        "rotary": {"later"},
        "distance": {"later"},
        "absolute distance": {"reverse", "later"},
        "circle": {"roll", "later"},
        "embedding": set(),
    }
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "shuffle-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: the table has all cures and knows the words; and the row of "none".
### BEGIN HIDDEN TESTS
def through_time(x, cure, first=0):
    """(8, 16) -> (8, 16); the tests below use this, too."""
    draw = torch.Generator().manual_seed(1)
    weights = torch.randn(3, 16, 16, generator=draw, dtype=torch.float64) / 3
    table = torch.randn(15, generator=draw, dtype=torch.float64)
    frame = torch.arange(first, first + 8)
    if cure == "embedding":
        x = x + attention.sinusoids(frame, 16, max_period=100.0).double()
    q, k, v = x @ weights
    if cure == "rotary":
        angle = attention.rotary_angles(first + 8, 16, torch.device("cpu"))[first:].double()
        q, k = (attention.rotate(y, angle.cos(), angle.sin()) for y in (q, k))
    r = frame[None] - frame[:, None]
    number = {"distance": r + 7, "absolute distance": r.abs(), "circle": r % 8}.get(cure)
    return (q @ k.T / 4 + (0 if number is None else table[number])).softmax(dim=-1) @ v


def truth(cure):
    """The changes that are not noticed, by trying."""
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(8, 16, generator=draw, dtype=torch.float64)
    order = torch.tensor([2, 7, 0, 5, 3, 1, 6, 4])
    changes = {"shuffle": lambda x: x[order], "reverse": lambda x: x.flip(0), "roll": lambda x: x.roll(1, 0)}
    same = [name for name, change in changes.items() if torch.allclose(through_time(change(x), cure), change(through_time(x, cure)), atol=1e-5)]
    return same + ["later"] * torch.allclose(through_time(x, cure, 5), through_time(x, cure), atol=1e-5)


def hold_column(table, change, reasons):
    """One change for all cures; reasons: cure -> what is misunderstood if it is wrong."""
    for cure, reason in reasons.items():
        said, right = ("unnoticed" if change in words else "noticed" for words in (table[cure].split(), truth(cure)))
        other = {"noticed": "unnoticed", "unnoticed": "noticed"}[right]
        hold(said, right, {reason: other}, what=f"{change!r} under {cure!r}")


### END HIDDEN TESTS
table = as_table(unnoticed())
words = {cure: "known" if set(found.split()) <= set(CHANGES) else found for cure, found in table.items()} if isinstance(table, dict) else table
hold(words, dict.fromkeys(CURES, "known"), what="your table, which may hold the four words of the text only,")
### BEGIN HIDDEN TESTS
bag = "Without a cure a clip is a bag of frames, and nothing is noticed: chapter 08, 'Attention through time'"
for change in CHANGES:
    hold_column(table, change, {"none": bag})
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "shuffle-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: other numbers ("later"), and any other order ("shuffle").
table = as_table(unnoticed())
kinds = {cure: isinstance(found, str) for cure, found in table.items()} if isinstance(table, dict) else table
hold(kinds, dict.fromkeys(CURES, True), what="your table")
### BEGIN HIDDEN TESTS
alone = "The embedding says which frame is which, by its number: chapter 08, 'Which frame is which'"
turned = "Turning both by the same angle changes no product, so only the distance of two frames counts: chapter 08, 'Rotary embedding'"
apart = "Equal distances have equal numbers, wherever the clip begins: chapter 08, 'Relative position bias'"
hold_column(table, "later", {"embedding": alone, "rotary": turned, "distance": apart, "absolute distance": apart, "circle": apart})
mixed = "Shuffled frames have other distances, which this cure knows: chapter 08, 'Relative position bias'"
hold_column(table, "shuffle", {"embedding": alone, "rotary": mixed, "distance": mixed, "absolute distance": mixed, "circle": mixed})
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "shuffle-3", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# 3 points: backwards ("reverse") and round ("roll").
table = as_table(unnoticed())
kinds = {cure: isinstance(found, str) for cure, found in table.items()} if isinstance(table, dict) else table
hold(kinds, dict.fromkeys(CURES, True), what="your table")
### BEGIN HIDDEN TESTS
sign = "Backwards, j - i becomes i - j. Does this cure tell them apart? chapter 08, 'Relative position bias'"
turn = "Backwards, j - i becomes i - j, and a turn by minus the angle is another turn: chapter 08, 'Rotary embedding'"
hold_column(table, "reverse", {"rotary": turn, "distance": sign, "absolute distance": sign, "circle": sign, "embedding": alone})
ends = "After a roll, the last frame and the first are neighbours; were they before? chapter 08, 'Relative position bias'"
hold_column(table, "roll", {"rotary": ends, "distance": ends, "absolute distance": ends, "circle": ends, "embedding": alone})
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "shuffle-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
table = as_table(unnoticed())
seen = torch.tensor([[change in table[cure].split() for change in CHANGES] for cure in CURES])
figure, ax = plt.subplots(figsize=(6, 2.6))
ax.imshow(seen, cmap="Greys", vmin=0, vmax=2, aspect="auto")
for row, column in seen.nonzero().tolist():
    ax.text(column, row, "unnoticed", ha="center", va="center")
ax.set(xticks=range(4), xticklabels=CHANGES, yticks=range(6), yticklabels=CURES)
plt.show()

# %% [markdown]
# **In your own words** (3 points, 10 minutes). In chapter 08 a network that knows distances alone draws some clips that
# run towards rest, and one with frame index and embedding draws none ("Clips that run backwards"). Your table says that
# `distance` notices when a clip is reversed. Why can such a network go wrong all the same, and what would you feed to
# it, other than the frame's index, so that it can tell the first frame? Four sentences are enough.

# %% [markdown] nbgrader={"grade": true, "grade_id": "shuffle-why", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
# *Your answer here.*

# %% [markdown]
# ## 2. The bill of an attention (7 points, 30 minutes)
#
# **You learn** to say what a layer costs before you build it. **Read first** chapter 08, "Why space and time are
# split", "Linear attention" and "Shapes, parameters, cost, memory".
#
# An attention of the chapter, on one clip, has three parts: the matrix that makes queries, keys and values and the one
# that brings the heads together (both without bias); two products, with what lies between them; and things that
# cost next to nothing, such as norm and softmax. Write down the bill of four kinds: `space` and `linear`, which look
# within each frame; `time`, which looks through the frames at each place; and `joint`, where every place of every frame
# looks at every place of every frame.
#
# ![A plot of multiply-adds against places in a frame, on logarithmic axes, of the two products of the four kinds on 16 frames. Joint is highest. Joint and space rise twice as steeply as time and linear. Space and linear cross at 32 places.](figures/ps5_unet3d_bill.png)
#
# *What a right answer draws: the two products of the four kinds, for 16 frames, 2 heads of 32 features.*

# %% nbgrader={"grade": false, "grade_id": "bill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bill(kind: str, frames: int, places: int, dim: int, heads: int, head_dim: int) -> dict[str, int]:
    """What an attention costs on one clip.

    Args:
        kind: "space", "linear", "time" or "joint".
        frames, places: of the clip; places are rows times columns.
        dim: features of a token, as it comes in and goes out.
        heads, head_dim: number of heads, and features of each of q, k and v in one head.

    Returns:
        "matrices": multiply-adds of the two matrices, for all tokens.
        "products": multiply-adds of the two products, of all heads.
        "between": how many numbers the first of the two products gives, in all: scores, or the summaries of "linear".
    """
    ### BEGIN SOLUTION
    width, tokens = heads * head_dim, frames * places
    groups, n = {"time": (places, frames), "joint": (1, tokens)}.get(kind, (frames, places))
    side = head_dim if kind == "linear" else n
    return {
        "matrices": 4 * tokens * dim * width,
        "products": 2 * groups * n * side * width,
        "between": groups * heads * (head_dim**2 if kind == "linear" else n**2),
    }
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "bill-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: the two matrices. 2 frames of 3 places, 5 features, 1 head of 7: q, k, v take 6 * 5 * 21, and back takes 6 * 7 * 5.
cost_of = "chapter 08, 'Shapes, parameters, cost, memory'"
mistakes = {
    f"The matrix behind the heads seems to be left out: {cost_of}": 630,
    f"q, k and v are three, made by one matrix: {cost_of}": 420,
    f"Multiply-adds are asked for, and a product with its sum is one: {cost_of}": 1680,
    f"This is the bill of one frame: {cost_of}": 420,
}
found = bill("space", 2, 3, 5, 1, 7)
hold(found, dict.fromkeys(("matrices", "products", "between"), 0), what="the bill", atol=1e18)  # its form
hold(entry(found, "matrices"), 840, mistakes, what="the cost of the matrices")
### BEGIN HIDDEN TESTS
for kind in ("space", "linear", "time", "joint"):
    x, into, back = torch.empty(4 * 15, 24, device="meta"), nn.Linear(24, 3 * 6 * 8, device="meta"), nn.Linear(6 * 8, 24, device="meta")
    right = multiply_adds(into, x) + multiply_adds(back, into(x)[:, :48])
    mistakes = {
        f"Each head has matrices of its own: {cost_of}": right // 6,
        f"The matrix behind the heads seems to be left out: {cost_of}": right * 3 // 4,
        f"Multiply-adds are asked for, and a product with its sum is one: {cost_of}": right * 2,
        f"This is the bill of one frame: {cost_of}": right // 4,
    }
    hold(entry(bill(kind, 4, 15, 24, 6, 8), "matrices"), right, mistakes, what=f"the cost of the matrices of {kind!r}")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "bill-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the products of "space", "time" and "joint". One head of 7 features, 2 frames of 3 places.
split = "chapter 08, 'Why space and time are split'"
named = {
    f"There are two products, to compare and to collect: {split}": 0.5,
    f"Multiply-adds are asked for, and a product with its sum is one: {split}": 2,
}
for kind, right in (("space", 2 * 2 * 3 * 3 * 7), ("time", 2 * 3 * 2 * 2 * 7), ("joint", 2 * 6 * 6 * 7)):
    other = {"space": ("'time'", 168), "time": ("'space'", 252), "joint": ("'space' and 'time' together", 420)}[kind]
    mistakes = {f"{sentence}": right * factor for sentence, factor in named.items()}
    mistakes |= {f"This is the cost of {other[0]}: who looks at whom? {split}": other[1], f"The products of one group of tokens only: {split}": 2 * 7 * {"space": 9, "time": 4, "joint": 0}[kind]}
    hold(entry(bill(kind, 2, 3, 5, 1, 7), "products"), right, mistakes, what=f"the products of {kind!r}")
### BEGIN HIDDEN TESTS
for kind, groups, n in (("space", 4, 15), ("time", 15, 4), ("joint", 1, 60)):
    q, k, v = torch.empty(3, groups, 6, n, 8, device="meta")
    right = multiply_adds(lambda q, k, v: (q @ k.mT) @ v, q, k, v)
    mistakes = {f"{sentence}": right * factor for sentence, factor in named.items()}
    mistakes |= {
        f"Heads are several, and each makes both products: {split}": right // 6,
        f"The products of one group of tokens only: {split}": right // groups,
        f"Queries and keys have the features of a head, not of a token: {split}": right // 48 * 24,
        f"Queries and keys have the features of a head, not of a token: {split} ": right // 8 * 24,
    }
    hold(entry(bill(kind, 4, 15, 24, 6, 8), "products"), right, mistakes, what=f"the products of {kind!r} with 6 heads")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "bill-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the products of "linear". Keys and values meet first.
summary_first = "Keys and values meet first, in a summary of d x d numbers, whatever the number of places: chapter 08, 'Linear attention'"
mistakes = {
    summary_first: 252,
    "There are two products, the summary and its reading: chapter 08, 'Linear attention'": 294,
    "Multiply-adds are asked for, and a product with its sum is one: chapter 08, 'Linear attention'": 1176,
    "The products of one frame only: chapter 08, 'Linear attention'": 294,
    "The summary is of d x d numbers, and every place adds to each of them: chapter 08, 'Linear attention'": 84,
}
hold(entry(bill("linear", 2, 3, 5, 1, 7), "products"), 588, mistakes, what="the products of 'linear'")
### BEGIN HIDDEN TESTS
for frames, places, heads, head_dim in ((4, 15, 6, 8), (3, 64, 2, 32)):
    q, k, v = torch.empty(3, frames, heads, places, head_dim, device="meta")
    right = multiply_adds(lambda q, k, v: q @ (k.mT @ v), q, k, v)
    mistakes = {
        summary_first: multiply_adds(lambda q, k, v: (q @ k.mT) @ v, q, k, v),
        "Each head has a summary of its own: chapter 08, 'Linear attention'": right // heads,
        "Heads do not see each other: a summary has head_dim x head_dim numbers, not those of all heads squared: chapter 08, 'Linear attention'": right * heads,
        "Multiply-adds are asked for, and a product with its sum is one: chapter 08, 'Linear attention'": right * 2,
        "There are two products, the summary and its reading: chapter 08, 'Linear attention'": right // 2,
    }
    hold(entry(bill("linear", frames, places, 24, heads, head_dim), "products"), right, mistakes, what="the products of 'linear'")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "bill-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: what lies between the products, in all frames, places and heads.
kept = "chapter 08, 'Shapes, parameters, cost, memory'"
for kind, right in (("space", 18), ("time", 12), ("joint", 36), ("linear", 98)):
    one_group = {"space": 9, "time": 4, "joint": 0, "linear": 49}[kind]
    mistakes = {
        f"This is one group of tokens, and all are asked for: {kept}": one_group,
        "Linear attention has no scores of all pairs; it keeps a summary: chapter 08, 'Linear attention'": 18 if kind == "linear" else right,
        f"Scores have no features any more: {kept}": right * 7,
    }
    hold(entry(bill(kind, 2, 3, 5, 1, 7), "between"), right, mistakes, what=f"what lies between the products of {kind!r}")
### BEGIN HIDDEN TESTS
for kind, groups, n in (("space", 4, 15), ("time", 15, 4), ("joint", 1, 60), ("linear", 4, 15)):
    q, k, v = torch.empty(3, groups, 6, n, 8, device="meta")
    right = (k.mT @ v if kind == "linear" else q @ k.mT).numel()
    mistakes = {
        f"Each head has scores, or a summary, of its own: {kept}": right // 6,
        f"Heads do not see each other, so it is heads times head_dim squared: {kept}": right * 6,
        f"This is one group of tokens, and all are asked for: {kept}": right // groups,
        f"Scores have no features any more: {kept}": right * 8,
    }
    hold(entry(bill(kind, 4, 15, 24, 6, 8), "between"), right, mistakes, what=f"what lies between the products of {kind!r}")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "bill-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
sizes = [4, 8, 16, 32, 64, 128, 256, 1024]
figure, ax = plt.subplots(figsize=(6, 3.2))
for kind, style in (("joint", "D-."), ("space", "o-"), ("linear", "s--"), ("time", "^:")):
    ax.loglog(sizes, [bill(kind, 16, n, 64, 2, 32)["products"] for n in sizes], style, label=kind)
ax.set(xlabel="places in a frame", ylabel="multiply-adds")
ax.legend()
plt.show()

# %% [markdown]
# ## 3. Conditions that fall out (6 points, 25 minutes)
#
# **You learn** how one network is trained for several questions at once. **Read first** chapter 08, "What is the
# condition?" and "How the picture gets in".
#
# The chapter drops the label of a tenth of the clips. Here the picture may fall out, too, so that one network can be
# asked in four ways: with both, with the picture alone, with the label alone, and with neither. "Neither" must come
# often enough, so it is not left to chance: one number $u$ a clip, drawn evenly from 0 to 1, decides.
#
# | $u$ | what falls out |
# |---|---|
# | from 0 to below $p_\mathrm{both}$ | label and picture |
# | from there, as wide as $p_\mathrm{label}$ | the label alone |
# | from there, as wide as $p_\mathrm{picture}$ | the picture alone |
# | the rest | nothing |
#
# A dropped label becomes the null label, a dropped picture zeros. A lower end belongs to its row, an upper end to the
# next.
#
# ![Two rows of 40 cells over u from 0 to 1. The label is missing, dark, for u from 0 to 0.25. The picture is missing from 0 to 0.1 and from 0.25 to 0.45.](figures/ps5_unet3d_drop.png)
#
# *What a right answer draws: 40 clips with rising $u$; dark is what fell out. The shares are 0.1, 0.15 and 0.2.*

# %% nbgrader={"grade": false, "grade_id": "drop", "locked": false, "schema_version": 3, "solution": true, "task": false}
def drop(
    label: Tensor, picture: Tensor, u: Tensor, p_both: float, p_label: float, p_picture: float, null_label: int
) -> tuple[Tensor, Tensor]:
    """Labels and pictures of a batch, of which some fall out.

    Args:
        label: (b,), int64; it stays as it is.
        picture: (b, f, h, w), latent maps; they stay as they are.
        u: (b,), from 0 to below 1.
        p_both, p_label, p_picture: shares of clips; their sum is at most 1.
        null_label: what stands for no label.

    Returns:
        (b,) and (b, f, h, w), of the same types.
    """
    ### BEGIN SOLUTION
    both = u < p_both
    no_label = u < p_both + p_label
    no_picture = both | (~no_label & (u < p_both + p_label + p_picture))
    return torch.where(no_label, null_label, label), torch.where(no_picture[:, None, None, None], 0.0, picture)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "drop-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: shapes, types, and that what is given stays as it is.
label_before, picture_before = torch.tensor([3, 1, 2]), torch.arange(1.0, 25).view(3, 2, 2, 2)
label, picture = label_before.clone(), picture_before.clone()
found = drop(label, picture, torch.tensor([0.1, 0.6, 0.9]), 0.0, 0.0, 0.0, 6)
hold(found, (label_before, picture_before), what="label and picture when nothing falls out")
### BEGIN HIDDEN TESTS
found = drop(label, picture, torch.tensor([0.1, 0.6, 0.9]), 1.0, 0.0, 0.0, 6)
hold(found, (torch.full((3,), 6), torch.zeros(3, 2, 2, 2)), what="label and picture when all falls out")
hold((label, picture), (label_before, picture_before), what="what was given, after the call: it must stay as it is, and it")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "drop-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: labels. Shares of a quarter each, and u in the middle of the four rows of the table.
### BEGIN HIDDEN TESTS
def row_by_row(label, picture, u, widths, null):
    """One clip at a time: (both, label, picture) are three intervals, one behind the other; the tests below use this."""
    new_label, new_picture = label.clone(), picture.clone()
    for clip, number in enumerate(u.tolist()):
        ends, row = 0.0, 3
        for index in (2, 1, 0):
            ends = sum(widths[: index + 1])
            row = index if number < ends else row
        if row in (0, 1):
            new_label[clip] = null
        if row in (0, 2):
            new_picture[clip] = 0
    return new_label, new_picture


### END HIDDEN TESTS
middle = torch.tensor([0.125, 0.375, 0.625, 0.875])
dropping = "chapter 08, 'What is the condition?'"
ones = torch.ones(4, 1, 2, 2)
mistakes = {
    f"Where both fall out, the label does, too: {dropping}": torch.tensor([0, 9, 2, 3]),
    f"The label falls out in the second row, too; rows of the table lie one behind the other: {dropping}": torch.tensor([9, 1, 2, 3]),
    f"Labels fall out where they should stay, and stay where they should fall out: {dropping}": torch.tensor([0, 1, 9, 9]),
    f"It looks as if the label fell out where the picture does: {dropping}": torch.tensor([9, 1, 9, 3]),
    f"No label is a row of its own in the table, the null label; 0 is a label like others: {dropping}": torch.tensor([0, 0, 2, 3]),
    f"No label is the null label, which is given, not -1: {dropping}": torch.tensor([-1, -1, 2, 3]),
}
found = drop(torch.arange(4), ones, middle, 0.25, 0.25, 0.25, 9)
hold(found, (torch.arange(4), ones), what="the answer", atol=1e9)  # its form
hold(found[0], torch.tensor([9, 9, 2, 3]), mistakes, what="the labels")
### BEGIN HIDDEN TESTS
u = torch.rand(400, generator=torch.Generator().manual_seed(5))
many, maps = torch.arange(400) % 7 + 1, torch.ones(400, 1, 1, 1)
for widths in ((0.1, 0.15, 0.2), (0.0, 0.5, 0.1), (0.3, 0.0, 0.7)):
    right = row_by_row(many, maps, u, widths, 8)[0]
    both, alone = u < widths[0], (u >= widths[0]) & (u < widths[0] + widths[1])
    mistakes = {
        f"Rows of the table lie one behind the other: add the shares: {dropping}": torch.where(u < max(widths[:2]), 8, many),
        f"Rows of the table lie one behind the other, and this one begins where the first ends: {dropping}": torch.where(both | (u < widths[1]), 8, many),
        f"Where both fall out, the label does, too: {dropping}": torch.where(alone, 8, many),
        f"The label falls out in the second row, too; rows of the table lie one behind the other: {dropping}": torch.where(both, 8, many),
        f"It looks as if the label fell out where the picture does: {dropping}": torch.where(both | ((u >= sum(widths[:2])) & (u < sum(widths))), 8, many),
    }
    hold(drop(many.clone(), maps, u, *widths, 8)[0], right, mistakes, what=f"400 labels with the shares {widths}")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "drop-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: pictures, with the same numbers.
empty = "chapter 08, 'How the picture gets in'"
mistakes = {
    f"Where both fall out, the picture does, too: {empty}": torch.tensor([1, 1, 0, 1]),
    f"The picture falls out in the third row, too; rows of the table lie one behind the other: {empty}": torch.tensor([0, 1, 1, 1]),
    f"It looks as if the picture fell out where the label does: {empty}": torch.tensor([0, 0, 1, 1]),
    f"All rows of the table seem to lose the picture; the label alone falls out in the second: {empty}": torch.tensor([0, 0, 0, 1]),
    f"Pictures are kept where they should fall out: {empty}": torch.tensor([1, 0, 1, 0]),
}
mistakes = {sentence: value.float()[:, None, None, None] * ones for sentence, value in mistakes.items()}
mistakes |= {f"This looks like dropout, which makes up for what is lost; conditions stay as large as they are: {empty}": torch.tensor([0.0, 2, 0, 2])[:, None, None, None] * ones}
found = drop(torch.arange(4), ones, middle, 0.25, 0.25, 0.25, 9)
hold(found, (torch.arange(4), ones), what="the answer", atol=1e9)  # its form
hold(found[1], torch.tensor([0.0, 1, 0, 1])[:, None, None, None] * ones, mistakes, what="the pictures")
### BEGIN HIDDEN TESTS
draw = torch.Generator().manual_seed(6)
u, maps = torch.rand(300, generator=draw), torch.randn(300, 3, 2, 4, generator=draw)
for widths in ((0.1, 0.15, 0.2), (0.0, 0.5, 0.1), (0.3, 0.0, 0.7)):
    a, b, c = (sum(widths[: i + 1]) for i in range(3))
    zeros = lambda gone: torch.where(gone[:, None, None, None], 0, maps)
    mistakes = {
        f"Where both fall out, the picture does, too: {empty}": zeros((u >= b) & (u < c)),
        f"Rows of the table lie one behind the other, and this one begins where the second ends: {empty}": zeros(u < a + widths[2]),
        f"All rows of the table seem to lose the picture; the label alone falls out in the second: {empty}": zeros(u < c),
        f"It looks as if the picture fell out where the label does: {empty}": zeros(u < b),
    }
    right = row_by_row(torch.ones(300).long(), maps, u, widths, 8)[1]
    hold(drop(torch.ones(300).long(), maps.clone(), u, *widths, 8)[1], right, mistakes, what=f"300 pictures with the shares {widths}")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "drop-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: u at the ends of the rows. Shares of a quarter, which floats hold exactly.
ends_at = torch.tensor([0.0, 0.25, 0.5, 0.75])
right = (torch.tensor([9, 9, 2, 3]), torch.tensor([0.0, 1, 0, 1])[:, None, None, None] * ones)
upper = "A lower end belongs to its row, an upper end to the next: 'below' is <, as where a tenth is dropped in chapter 08, 'What is the condition?'"
mistakes = {upper: (torch.tensor([9, 9, 9, 3]), torch.tensor([0.0, 0, 1, 0])[:, None, None, None] * ones)}
hold(drop(torch.arange(4), ones, ends_at, 0.25, 0.25, 0.25, 9), right, mistakes, what="label and picture")
### BEGIN HIDDEN TESTS
for null in (0, 4, 100):
    found = drop(torch.arange(4), ones, ends_at, 0.5, 0.0, 0.25, null)
    right = row_by_row(torch.arange(4), ones, ends_at, (0.5, 0.0, 0.25), null)
    hold(found, right, what=f"label and picture with the null label {null}, and no row for the label alone,")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "drop-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
u = (torch.arange(40) + 0.5) / 40
found = drop(torch.zeros(40).long(), torch.ones(40, 1, 1, 1), u, 0.1, 0.15, 0.2, 1)
figure, ax = plt.subplots(figsize=(7, 1.6))
ax.imshow(torch.stack([found[0].float(), 1 - found[1].flatten()]), cmap="Greys", vmin=0, vmax=1.3, aspect="auto", extent=(0, 1, 2, 0))
ax.set(xlabel="u", yticks=[0.5, 1.5], yticklabels=["label", "picture"])
ax.grid(False)
plt.show()

# %% [markdown]
# ## 4. All conditions in one norm (7 points, 40 minutes)
#
# **You learn** what scale and shift do to a norm, and where step and label meet. **Read first** chapter 08, "The
# residual block" and "What is the condition?".
#
# In a residual block of the chapter, step and label come as two vectors side by side, first the step, $e_t$, then the
# label, $e_y$. A soft threshold and one linear layer make $\gamma$ and $\psi$ of them, in this order, a number a channel:
#
# $$[\gamma, \psi] = \Theta\, \mathrm{silu}\big([e_t, e_y]\big) + \theta$$
#
# The group norm has numbers of its own, a factor $w$ and a summand $s$ for every channel, and so the block computes
# $(1 + \gamma)(w\,\hat y + s) + \psi$. For one step and one label that is just another norm, with a factor $w'$ and
# a summand $s'$. (When one samples, the norms of all steps can be made in advance.) Find $w'$ and $s'$, first on paper.
#
# ![A plot with four lines against the normalized input: the norm alone, and folded with three conditions. They differ in slope and height, and one of them falls.](figures/ps5_unet3d_fold.png)
#
# *What a right answer draws: lines are $w' \hat y + s'$ of one channel under three conditions, dots the block's own steps.*

# %% nbgrader={"grade": false, "grade_id": "fold", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fold(
    factor: Tensor, summand: Tensor, matrix: Tensor, bias: Tensor, step: Tensor, label: Tensor
) -> tuple[Tensor, Tensor]:
    """The norm that does what norm, scale and shift do.

    Args:
        factor, summand: (c,), the norm's own.
        matrix, bias: (2 c, n + m) and (2 c,), of the linear layer.
        step: (b, n), one vector a clip.
        label: (b, m).

    Returns:
        Factor and summand, (b, c) each. What is given stays as it is.
    """
    ### BEGIN SOLUTION
    gamma, psi = (F.silu(torch.cat([step, label], dim=1)) @ matrix.T + bias).chunk(2, dim=1)
    return (1 + gamma) * factor, (1 + gamma) * summand + psi
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "fold-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: a network that knows nothing (matrix and bias are 0) lets the norm as it is.
ones = torch.ones(3, 2)
norm = torch.tensor([2.0, -1]), torch.tensor([0.5, 3])
found = fold(*norm, torch.zeros(4, 7), torch.zeros(4), torch.randn(3, 5), torch.randn(3, 2))
mistakes = {
    "With scale and shift 0 things pass: what is the 1 for? chapter 08, 'The residual block'": (0 * ones, 0 * ones),
    "One pair of numbers a clip and channel is asked for: chapter 08, 'The residual block'": norm,
}
hold(found, (ones * norm[0], ones * norm[1]), mistakes, what="factor and summand")
### BEGIN HIDDEN TESTS
given = [torch.randn(size, generator=torch.Generator().manual_seed(3)) for size in ((2,), (2,), (4, 7), (4,), (3, 5), (3, 2))]
before = [tensor.clone() for tensor in given]
fold(*given)
hold(given, before, what="what was given, after the call: it must stay as it is, and it")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "fold-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: scale and shift that do not depend on step and label (the matrix is 0). One channel, w = 3, s = 5.
### BEGIN HIDDEN TESTS
def at_points(factor, summand, matrix, bias, step, label, turn=lambda y: y, silu=F.silu, first="step", one=1.0, order=("scale", "shift")):
    """The line through the block's outputs at 0 and 1, channel by channel; the tests below use this, too."""
    lines = torch.zeros(2, len(step), len(factor), dtype=torch.float64)
    for clip in range(len(step)):
        told = [silu(float(number)) for part in ((step, label) if first == "step" else (label, step)) for number in part[clip]]
        numbers = [float(bias[i]) + sum(float(m) * a for m, a in zip(matrix[i], told, strict=True)) for i in range(len(bias))]
        for channel in range(len(factor)):
            halves = dict(zip(order, (numbers[: len(factor)], numbers[len(factor) :]), strict=True))
            out = [(one + halves["scale"][channel]) * (float(factor[channel]) * y + float(summand[channel])) + halves["shift"][channel] for y in (0.0, 1.0)]
            lines[:, clip, channel] = torch.tensor([out[1] - out[0], out[0]])
    return tuple(lines.float())


threshold = lambda a: a / (1 + math.exp(-a))
at_points = partial(at_points, silu=threshold)
### END HIDDEN TESTS
block = "chapter 08, 'The residual block'"
mistakes = {
    f"The summand of the norm is scaled, too: {block}": (9.0, 12.0),
    f"The shift comes after the scale, and is not scaled: {block}": (9.0, 36.0),
    f"The scale is 1 + gamma, so that 0 lets things pass: {block}": (6.0, 17.0),
    f"The order is gamma first, then psi: {block}": (24.0, 42.0),
    f"The norm's own summand is left out: {block}": (9.0, 7.0),
    f"The norm's own factor is left out: {block}": (3.0, 22.0),
    f"This adds the scale to the factor, and it multiplies: {block}": (5.0, 12.0),
}
mistakes = {sentence: tuple(torch.tensor([[number]]) for number in pair) for sentence, pair in mistakes.items()}
found = fold(torch.tensor([3.0]), torch.tensor([5.0]), torch.zeros(2, 4), torch.tensor([2.0, 7.0]), torch.randn(1, 2), torch.randn(1, 2))
hold(found, (torch.tensor([[9.0]]), torch.tensor([[22.0]])), mistakes, what="factor and summand for gamma = 2 and psi = 7")
### BEGIN HIDDEN TESTS
draw = torch.Generator().manual_seed(4)
factor, summand, gamma, psi = torch.randn(4, 6, generator=draw)
given = factor, summand, torch.zeros(12, 5), torch.cat([gamma, psi]), torch.randn(2, 3, generator=draw), torch.randn(2, 2, generator=draw)
interleaved = torch.cat([gamma, psi]).view(6, 2)
mistakes = {
    f"The summand of the norm is scaled, too: {block}": ((1 + gamma) * factor, summand + psi),
    f"The shift comes after the scale, and is not scaled: {block}": ((1 + gamma) * factor, (1 + gamma) * (summand + psi)),
    f"The scale is 1 + gamma, so that 0 lets things pass: {block}": (gamma * factor, gamma * summand + psi),
    f"The order is gamma first, then psi: {block}": ((1 + psi) * factor, (1 + psi) * summand + gamma),
    f"The first half of the numbers is gamma; they do not alternate: {block}": ((1 + interleaved[:, 0]) * factor, (1 + interleaved[:, 0]) * summand + interleaved[:, 1]),
}
mistakes = {sentence: tuple(part.expand(2, 6) for part in pair) for sentence, pair in mistakes.items()}
hold(fold(*given), at_points(*given), mistakes, what="factor and summand of six channels")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "fold-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: step and label. One channel; step (1, 2), label (-1); gamma sees the step's first, psi the label.
matrix = torch.tensor([[1.0, 0, 0], [0, 0, 1]])
given = torch.tensor([1.0]), torch.tensor([0.0]), matrix, torch.zeros(2), torch.tensor([[1.0, 2.0]]), torch.tensor([[-1.0]])
silu_1, silu_minus_1 = 1 / (1 + math.exp(-1)), -1 / (1 + math.exp(1))
asked = "chapter 08, 'What is the condition?'"
mistakes = {
    f"A soft threshold comes before the linear layer: {block}": (2.0, -1.0),
    f"The step comes first, then the label: {asked}": (1 + silu_minus_1, 2 / (1 + math.exp(-2))),
    f"The step comes first, then the label; and a soft threshold before the linear layer: {asked}": (0.0, 2.0),
    f"The soft threshold is silu, a / (1 + exp(-a)), not the sigmoid: {block}": (1 + 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))),
    f"The soft threshold is silu, a / (1 + exp(-a)), and not cut off at 0: {block}": (2.0, 0.0),
}
mistakes = {sentence: tuple(torch.tensor([[number]]) for number in pair) for sentence, pair in mistakes.items()}
hold(fold(*given), (torch.tensor([[1 + silu_1]]), torch.tensor([[silu_minus_1]])), mistakes, what="factor and summand")
### BEGIN HIDDEN TESTS
draw = torch.Generator().manual_seed(5)
given = [torch.randn(size, generator=draw) for size in ((3,), (3,), (6, 7), (6,), (4, 5), (4, 2))]
gamma, psi = F.silu(torch.cat(given[4:], dim=1) @ given[2].T + given[3]).chunk(2, dim=1)
mistakes = {
    f"The soft threshold comes before the linear layer, not behind it: {block}": ((1 + gamma) * given[0], (1 + gamma) * given[1] + psi),
    f"A soft threshold comes before the linear layer: {block}": partial(at_points, *given, silu=lambda a: a),
    f"The step comes first, then the label: {asked}": partial(at_points, *given, first="label"),
    f"The scale is 1 + gamma, so that 0 lets things pass: {block}": partial(at_points, *given, one=0.0),
    f"The order is gamma first, then psi: {block}": partial(at_points, *given, order=("shift", "scale")),
    f"The bias of the linear layer is left out: {block}": partial(at_points, *given[:3], 0 * given[3], *given[4:]),
    f"The soft threshold is silu, a / (1 + exp(-a)), not the sigmoid: {block}": partial(at_points, *given, silu=lambda a: 1 / (1 + math.exp(-a))),
    f"The soft threshold is silu, a / (1 + exp(-a)), and not cut off at 0: {block}": partial(at_points, *given, silu=lambda a: max(a, 0.0)),
    f"All clips seem to have the condition of the first: {asked}": tuple(part[:1].expand(4, 3) for part in at_points(*given)),
}
hold(fold(*given), at_points(*given), mistakes, what="factor and summand of four clips")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "fold-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: in a block of the library. What leaves it may not change. (Sums of hundreds of numbers: within 1e-4.)
torch.manual_seed(0)
block_of_6 = ResidualBlock(4, 6, 5, 2).requires_grad_(False)
norm, linear = block_of_6.block1.norm, block_of_6.condition[1]
norm.weight.normal_(), norm.bias.normal_()
step, label = torch.randn(2, 3), torch.randn(2, 2)
x = torch.randn(2 * 3, 4, 5, 5)  # 2 clips of 3 frames
frames = attention.Frames(3, None, None, None, None)
right = block_of_6(x, torch.cat([step, label], dim=1), frames)
found = fold(norm.weight.clone(), norm.bias.clone(), linear.weight, linear.bias, step, label)
hold(found, (torch.zeros(2, 6), torch.zeros(2, 6)), what="the answer", atol=1e9)  # its form
new_factor, new_summand = found
y = F.group_norm(rearrange(block_of_6.block1.conv(x), "(b t) c h w -> b c t h w", t=3), 2)
folded = F.silu(new_factor[:, :, None, None, None] * y + new_summand[:, :, None, None, None])
found = block_of_6.block2(rearrange(folded, "b c t h w -> (b t) c h w"), frames) + block_of_6.skip(x)
hold(found, right, what=f"what leaves the block ({block}), with the folded norm,", atol=1e-4)
### BEGIN HIDDEN TESTS
for seed in (6, 7):
    draw = torch.Generator().manual_seed(seed)
    given = [torch.randn(size, generator=draw) for size in ((5,), (5,), (10, 6), (10,), (3, 1), (3, 5))]
    mistakes = {
        f"All clips seem to have the condition of the first: {asked}": tuple(part[:1].expand(3, 5) for part in at_points(*given)),
        f"The step comes first, then the label: {asked}": partial(at_points, *given, first="label"),
    }
    hold(fold(*given), at_points(*given), mistakes, what="factor and summand of three clips", atol=1e-4)
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "fold-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
draw = torch.Generator().manual_seed(23)
given = torch.tensor([1.2]), torch.tensor([0.3]), torch.randn(2, 4, generator=draw), torch.zeros(2), 2 * torch.randn(3, 2, generator=draw), torch.randn(3, 2, generator=draw)
new_factor, new_summand = fold(*given)
y = torch.linspace(-2, 2, 9)
figure, ax = plt.subplots(figsize=(6, 3.2))
ax.plot(y, 1.2 * y + 0.3, ":", label="the norm alone")
for clip, style in enumerate(("-", "--", "-.")):
    gamma, psi = given[2] @ F.silu(torch.cat([given[4][clip], given[5][clip]]))
    (line,) = ax.plot(y, new_factor[clip] * y + new_summand[clip], style, label=f"condition {clip}")
    ax.plot(y, (1 + gamma) * (1.2 * y + 0.3) + psi, "o", color=line.get_color(), markersize=4)
ax.set(xlabel="normalized input")
ax.legend()
plt.show()

# %% [markdown]
# ## 5. Another program's rotary (7 points, 40 minutes)
#
# **You learn** how to load weights of a program that does the same, but lays its numbers down in another order. **Read
# first** chapter 08, "Attention within a frame" and "Rotary embedding".
#
# Rotary embedding turns *pairs* of features. In this book feature $f$ of a head and feature $f + d/2$ are a pair. Another
# program pairs neighbours, $2f$ and $2f + 1$. Both turn pair $f$ of frame $i$ by the angle $\omega_f i$, from its first
# feature to its second, with the same frequencies. You are given the matrix of queries, keys and values that the
# other program has learned. Put its rows into an order in which this book's attention finds what the other program finds.
#
# ![Three maps of 12 by 12 frames. The first and the third look alike, with stripes along the diagonal. The second has other stripes.](figures/ps5_unet3d_rotary.png)
#
# *What a right answer draws: scores of every frame with every other, for tokens that are alike in all frames. Left the
# other program's, in the middle this book's with the same weights, right with the reordered ones.*

# %% nbgrader={"grade": false, "grade_id": "rotary", "locked": false, "schema_version": 3, "solution": true, "task": false}
def from_neighbours(to_qkv: Tensor, heads: int) -> Tensor:
    """The matrix for an attention that pairs features f and f + d / 2, from one for pairs of neighbours.

    Args:
        to_qkv: (3 heads d, c), rows of queries, keys and values; in each the heads in their order. It stays as it is.
        heads: number of heads, of d features each; d is even.

    Returns:
        (3 heads d, c): the same rows, in another order.
    """
    ### BEGIN SOLUTION
    q, k, v = to_qkv.chunk(3)
    q, k = (rearrange(part, "(heads f two) c -> (heads two f) c", heads=heads, two=2) for part in (q, k))
    return torch.cat([q, k, v])
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "rotary-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: with two features a head there is one pair, which both programs know. Nothing changes. (Row r holds the number r.)
rows = lambda *numbers: torch.tensor(numbers, dtype=torch.float32)[:, None].repeat(1, 2)
hold(from_neighbours(rows(*range(12)), 2), rows(*range(12)), what="the rows for two features a head")
### BEGIN HIDDEN TESTS
def reordered(to_qkv, heads, *, q=True, k=True, v=False, inverse=False, odd_first=False, across=False):
    """Row by row, or with a misconception; the tests below use this, too."""
    size = len(to_qkv) // 3
    d = size if across else size // heads
    result = to_qkv.clone()
    for part, moves in enumerate((q, k, v)):
        for first in range(part * size, part * size + size, d) if moves else ():
            for f in range(d // 2):
                for second in (0, 1):
                    ours, theirs = first + f + second * (d // 2), first + 2 * f + (1 - second if odd_first else second)
                    if inverse:
                        ours, theirs = theirs, ours
                    result[ours] = to_qkv[theirs]
    return result


again = "chapter 08, 'Rotary embedding'"
REORDERED = {
    f"The order looks turned round: it leads from pairs f and f + d / 2 to neighbours: {again}": dict(inverse=True),
    f"The second of a pair comes before the first, so it turns the other way: {again}": dict(odd_first=True),
    "Values are not turned, and their order must fit the matrix behind the heads: chapter 08, 'Attention within a frame'": dict(v=True),
    "Each head has pairs of its own, and no row changes its head: chapter 08, 'Attention within a frame'": dict(across=True),
    f"Keys are turned like queries, so their rows move, too: {again}": dict(k=False),
    f"Queries are turned like keys, so their rows move, too: {again}": dict(q=False),
    f"Nothing has moved, and pairs are not the same: {again}": dict(q=False, k=False),
}
named_orders = lambda given, heads: {sentence: partial(reordered, given, heads, **change) for sentence, change in REORDERED.items()}
given = torch.randn(3 * 3 * 8, 5, generator=torch.Generator().manual_seed(1))
before = given.clone()
hold(from_neighbours(given, 3), before, what="the matrix for three heads", atol=1e9)  # its form
hold(given, before, what="what was given, after the call: it must stay as it is, and it")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "rotary-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: one head of six features. Row r holds the number r: 0 to 5 are queries, 6 to 11 keys, 12 to 17 values.
values = (12, 13, 14, 15, 16, 17)
pairs = "chapter 08, 'Rotary embedding'"
mistakes = {
    f"The order looks turned round: it leads from pairs f and f + d / 2 to neighbours: {pairs}": rows(0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11, *values),
    f"The second of a pair comes before the first, so it turns the other way: {pairs}": rows(1, 3, 5, 0, 2, 4, 7, 9, 11, 6, 8, 10, *values),
    "Values are not turned, and their order must fit the matrix behind the heads: chapter 08, 'Attention within a frame'": rows(
        0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11, 12, 14, 16, 13, 15, 17
    ),
    f"Keys are turned like queries, so their rows move, too: {pairs}": rows(0, 2, 4, 1, 3, 5, *range(6, 18)),
    f"Queries are turned like keys, so their rows move, too: {pairs}": rows(*range(6), 6, 8, 10, 7, 9, 11, *values),
    f"Nothing has moved, and pairs are not the same: {pairs}": rows(*range(18)),
}
hold(from_neighbours(rows(*range(18)), 1), rows(0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11, *values), mistakes, what="the rows of one head")
### BEGIN HIDDEN TESTS
for d in (4, 10):
    given = torch.randn(3 * d, 4, generator=torch.Generator().manual_seed(d))
    hold(from_neighbours(given.clone(), 1), reordered(given, 1), named_orders(given, 1), what=f"the matrix for one head of {d} features")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "rotary-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: two heads of four features, in queries (0 to 7), keys (8 to 15) and values (16 to 23).
mistakes = {
    "Each head has pairs of its own, and no row changes its head: chapter 08, 'Attention within a frame'": rows(
        0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15, *range(16, 24)
    ),
    f"Nothing has moved, and pairs are not the same: {pairs}": rows(*range(24)),
}
right = rows(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15, *range(16, 24))
hold(from_neighbours(rows(*range(24)), 2), right, mistakes, what="the rows of two heads")
### BEGIN HIDDEN TESTS
for heads, d in ((2, 6), (5, 8)):
    given = torch.randn(3 * heads * d, 4, generator=torch.Generator().manual_seed(d))
    hold(from_neighbours(given.clone(), heads), reordered(given, heads), named_orders(given, heads), what=f"the matrix for {heads} heads of {d} features")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "rotary-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: what counts in the end. A pair of neighbours is a complex number, and turning it is a product.


def scores(to_qkv: Tensor, x: Tensor, heads: int, neighbours: bool) -> Tensor:
    """(t, c) -> (heads, t, t), turned as the other program does it or as this book does."""
    q, k, _ = rearrange(x @ to_qkv.T, "t (three heads d) -> three heads t d", three=3, heads=heads)
    angle = attention.rotary_angles(len(x), q.shape[-1], torch.device("cpu"))
    if not neighbours:
        q, k = (attention.rotate(y, angle.cos(), angle.sin()) for y in (q, k))
        return q @ k.mT
    half = angle[:, : angle.shape[1] // 2]
    turn = torch.polar(torch.ones_like(half), half)
    q, k = (torch.view_as_complex(y.unflatten(-1, (-1, 2)).contiguous()) * turn for y in (q, k))
    return (q @ k.mH).real


draw = torch.Generator().manual_seed(3)
to_qkv, x = torch.randn(3 * 2 * 6, 5, generator=draw), torch.randn(7, 5, generator=draw)
found = from_neighbours(to_qkv.clone(), 2)
hold(found, to_qkv, what="the matrix", atol=1e9)  # its form
# Sums of products of numbers up to 10: within 0.001.
hold(scores(found, x, 2, False), scores(to_qkv, x, 2, True), what="what this book's attention compares (chapter 08, 'Rotary embedding')", atol=1e-3)
### BEGIN HIDDEN TESTS
for heads, d in ((1, 8), (3, 4)):
    to_qkv, x = torch.randn(3 * heads * d, 6, generator=draw), torch.randn(9, 6, generator=draw)
    found = from_neighbours(to_qkv.clone(), heads)
    mistakes = {sentence: partial(lambda change: scores(reordered(to_qkv, heads, **change), x, heads, False), change) for sentence, change in REORDERED.items()}  # noqa: B023
    hold(scores(found, x, heads, False), scores(to_qkv, x, heads, True), mistakes, what=f"the scores of {heads} heads", atol=1e-3)
    hold(x @ found[2 * heads * d :].T, x @ to_qkv[2 * heads * d :].T, what="the values, which nobody turns (chapter 08, 'Attention within a frame'): they")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "rotary-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
draw = torch.Generator().manual_seed(5)
to_qkv, token = torch.randn(3 * 8, 6, generator=draw), torch.randn(6, generator=draw).expand(12, 6)
cases = {"other program": (to_qkv, True), "this book, same weights": (to_qkv, False), "this book, reordered": (from_neighbours(to_qkv, 1), False)}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2))
for ax, (title, (weights, neighbours)) in zip(axes, cases.items(), strict=True):
    q, k, _ = (token @ weights.T).chunk(3, dim=-1)
    angle = attention.rotary_angles(12, 8, torch.device("cpu"))
    if neighbours:  # side by side: a pair is turned by the angle of its first feature
        angle = angle[:, :4].repeat_interleave(2, dim=1)
        across = lambda y: torch.stack([-y[:, 1::2], y[:, ::2]], dim=-1).flatten(1)
    else:
        across = lambda y: torch.cat([-y[:, 4:], y[:, :4]], dim=-1)
    q, k = (y * angle.cos() + across(y) * angle.sin() for y in (q, k))
    ax.imshow(q @ k.T, cmap="gray")
    ax.set(title=title, xlabel="frame j", ylabel="frame i")
    ax.grid(False)
plt.show()

# %% [markdown]
# ## 6. Three bugs in time (10 points, 55 minutes)
#
# **You learn** to find bugs of an attention by what it must not change, and to hide frames. **Read first** chapter 08,
# "Attention within a frame", "Attention through time" and "The wrong fold".
#
# This function should let every place of every clip look at itself in all frames, as the temporal attention of the
# chapter does; norm, bias and embedding are left out. Frames are folded as `(b t) c h w`. All shapes are right.
#
# ```python
# def look(x, to_qkv, to_out, heads, count):
#     tokens = rearrange(x, "(t b) c h w -> (b h w) t c", t=count)
#     q, k, v = rearrange(tokens @ to_qkv.T, "n t (three heads d) -> three n heads t d", three=3, heads=heads)
#     score = q @ k.mT / math.sqrt(x.shape[1])
#     o = score.softmax(dim=-2) @ v
#     o = rearrange(o, "n heads t d -> n t (heads d)") @ to_out.T
#     return x + rearrange(o, "(b h w) t c -> (t b) c h w", h=x.shape[2], w=x.shape[3])
# ```
#
# Three people have used it, and each has found something else:
#
# * "A single clip gets one answer, and the same clip beside another one gets a different answer."
# * "I chose weights that make the value alike in all frames. A mean of equal things is that thing, but the function finds
#   another."
# * "I compared with PyTorch's `scaled_dot_product_attention`. The values of one head agree only if there are
#   as many features a head as channels."
#
# Mend all three. And let frames be hidden: with `past` given, frame $i$ sees itself and at most `past` frames before
# it, and none behind it.
#
# ![Two maps of 16 by 16 frames: which frame of the answer depends on which frame of the input. Left, two full blocks of 8 on the diagonal. Right, two blocks in which only the diagonal and two places left of it are dark.](figures/ps5_unet3d_look.png)
#
# *What a right answer draws, for two clips of 8 frames: dark cells of a row are the frames that one frame of the answer
# depends on. Left all frames are seen, right* `past` *is 2.*

# %% nbgrader={"grade": false, "grade_id": "look", "locked": false, "schema_version": 3, "solution": true, "task": false}
def look(x: Tensor, to_qkv: Tensor, to_out: Tensor, heads: int, count: int, past: int | None = None) -> Tensor:
    """Every place looks at itself in the frames of its clip; what it finds is added.

    Args:
        x: (b t, c, h, w), the frames of b clips, one clip after the other; it stays as it is.
        to_qkv: (3 heads d, c), the matrix of queries, keys and values, in this order; in each the heads in their order.
        to_out: (c, heads d).
        heads: number of heads, with d features each.
        count: t, the number of frames.
        past: None to see all frames; a number: only the frame itself and that many before it.

    Returns:
        (b t, c, h, w).
    """
    ### BEGIN SOLUTION
    tokens = rearrange(x, "(b t) c h w -> (b h w) t c", t=count)
    q, k, v = rearrange(tokens @ to_qkv.T, "n t (three heads d) -> three n heads t d", three=3, heads=heads)
    score = q @ k.mT / math.sqrt(q.shape[-1])
    if past is not None:
        back = torch.arange(count)[:, None] - torch.arange(count)  # how far frame j lies before frame i
        score = score.masked_fill((back < 0) | (back > past), -math.inf)
    o = rearrange(score.softmax(dim=-1) @ v, "n heads t d -> n t (heads d)") @ to_out.T
    return x + rearrange(o, "(b h w) t c -> (b t) c h w", h=x.shape[2], w=x.shape[3])
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "look-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: one frame. It can look at itself only, so its value is added. And x stays as it is.
### BEGIN HIDDEN TESTS
def by_loops(x, to_qkv, to_out, heads, count, past=None, fold="bt", over="keys", root="d", seen="past", mask="before", add=True):
    """The same in loops, or with a misconception; the tests below use this, too."""
    x, to_qkv, to_out = x.double(), to_qkv.double(), to_out.double()
    clips, d = len(x) // count, to_out.shape[1] // heads
    result = x.clone() if add else torch.zeros_like(x)
    place = lambda clip, i: clip * count + i if fold == "bt" else i * clips + clip
    hides = {"past": lambda i, j: not 0 <= i - j <= past, "future": lambda i, j: not 0 <= j - i <= past, "both": lambda i, j: abs(i - j) > past}
    hides |= {"less": lambda i, j: not 0 <= i - j < max(past, 1), "more": lambda i, j: not 0 <= i - j <= past + 1, "all before": lambda i, j: j > i, "all": lambda i, j: False}
    for clip in range(clips):
        frames = torch.stack([x[place(clip, i)] for i in range(count)])  # t c h w
        qkv = torch.einsum("oc,tchw->othw", to_qkv, frames)
        for head in range(heads):
            q, k, v = (qkv[(part * heads + head) * d :][:d] for part in range(3))  # d t h w
            score = torch.einsum("dihw,djhw->ijhw", q, k) / {"d": d, "c": x.shape[1], "width": heads * d, "none": 1}[root] ** 0.5
            hidden = torch.tensor([[past is not None and hides[seen](i, j) for j in range(count)] for i in range(count)])[:, :, None, None]
            if mask in ("before", "zero"):
                score = torch.where(hidden, {"before": -math.inf, "zero": 0.0}[mask], score)
            share = score.exp() / score.exp().sum(dim={"keys": 1, "queries": 0}[over], keepdim=True)
            share = torch.where(hidden & (mask == "after"), 0, share)
            o = torch.einsum("ijhw,djhw->idhw", share, v)
            for i, found in enumerate(torch.einsum("cd,idhw->ichw", to_out[:, head * d :][:, :d], o)):
                result[place(clip, i)] += found
    return result.float()


inside, in_time, folded_wrong = "chapter 08, 'Attention within a frame'", "chapter 08, 'Attention through time'", "chapter 08, 'The wrong fold'"
FAULTS = {"fold": ("tb", f"Clips watch each other: the first axis is (b t): {folded_wrong}")}
FAULTS |= {"over": ("queries", f"The shares with which a frame looks at all others must sum to 1, so softmax goes over j, the keys: {inside}")}
FAULTS |= {"root": ("c", f"The root is of d, the features of a head, which are compared: {inside}")}


def remaining(*given, **more):
    """The answers of every set of bugs that may be left, by what is then to be said."""
    found = {}
    for number in range(1, 8):
        left = [name for bit, name in enumerate(FAULTS) if number >> bit & 1]
        changes = {name: FAULTS[name][0] for name in left}
        found[". Then: ".join(FAULTS[name][1] for name in left)] = partial(by_loops, *given, **changes, **more)
    found[f"The root is of d, the features of one head, not of all heads together: {inside}"] = partial(by_loops, *given, root="width", **more)
    found[f"Scores are divided by the root of d: {inside}"] = partial(by_loops, *given, root="none", **more)
    found[f"What is found is added to x: attention is residual: {inside}"] = partial(by_loops, *given, add=False, **more)
    return found


### END HIDDEN TESTS
x = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1)
to_qkv, to_out = torch.tensor([[1.0, 0], [0, 1], [1, 1]]), torch.tensor([[10.0], [20.0]])  # the value is 1 + 2
mistakes = {
    "What is found is added to x: attention is residual: chapter 08, 'Attention within a frame'": torch.tensor([30.0, 60]).view(1, 2, 1, 1),
    "Queries, keys and values come in this order, and the values are looked up: chapter 08, 'Attention within a frame'": torch.tensor([11.0, 22]).view(1, 2, 1, 1),
}
hold(look(x, to_qkv, to_out, 1, 1), torch.tensor([31.0, 62]).view(1, 2, 1, 1), mistakes, what="the answer for one frame")
### BEGIN HIDDEN TESTS
given = drawn(3, 1, 6, 2, 3, 2, 4, 1)
copy = clone(given)
hold(look(*copy), by_loops(*given), remaining(*given), what="the answer for three clips of one frame")
hold(copy[0], given[0], what="x, after the call: it must stay as it is, and it")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "look-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: one clip, one head, as many features a head as channels. The value is alike in all frames, and so what is found
# is that value, whatever the scores.
x = torch.tensor([[1.0, 0.0], [1, 1], [1, 3]])[:, :, None, None]  # three frames
to_qkv = torch.tensor([[0.0, 1], [1, 0], [1, 1], [0, 1], [2, 0], [1, 0]])  # the values are 2 and 1
right = x + torch.tensor([2.0, 1])[:, None, None]
hold(look(x, to_qkv, torch.eye(2), 1, 3), right, what="the answer when all values are alike: shares sum to 1 (chapter 08, 'Attention within a frame'), and it")
### BEGIN HIDDEN TESTS
given = drawn(1, 5, 6, 2, 3, 1, 6, 2)
hold(look(*clone(given)), by_loops(*given), remaining(*given), what="the answer for one clip and one head")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "look-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: several heads, of fewer features than channels; one clip. PyTorch has the middle part, too.
draw = torch.Generator().manual_seed(3)
x, to_qkv, to_out = torch.randn(4, 8, 1, 1, generator=draw), torch.randn(12, 8, generator=draw), torch.eye(8)[:, :4]
q, k, v = (x[:, :, 0, 0] @ to_qkv.T).view(4, 3, 2, 2).permute(1, 2, 0, 3)  # heads t d
scaled = {
    scale: F.pad(F.scaled_dot_product_attention(q, k, v, scale=scale**-0.5).permute(1, 0, 2).reshape(4, 4), (0, 4))[:, :, None, None] + x
    for scale in (2, 8, 4, 1)
}
mistakes = {
    "The root is of d, the features of a head, which are compared: chapter 08, 'Attention within a frame'": scaled[8],
    "The root is of d, the features of one head, not of all heads together: chapter 08, 'Attention within a frame'": scaled[4],
    "Scores are divided by the root of d: chapter 08, 'Attention within a frame'": scaled[1],
}
right = scaled[2]
hold(look(x, to_qkv, to_out, 2, 4), right, mistakes, what="the answer of two heads of two features, eight channels (chapter 08, 'Attention within a frame'),")
### BEGIN HIDDEN TESTS
for seed in (4, 5):
    given = drawn(1, 5, 8, 2, 3, 3, 4, seed)
    hold(look(*clone(given)), by_loops(*given), remaining(*given), what="the answer for one clip and three heads")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "look-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: several clips. Each gets the answer that it gets alone.
draw = torch.Generator().manual_seed(6)
x, to_qkv, to_out = torch.randn(2 * 3, 4, 2, 2, generator=draw), torch.randn(12, 4, generator=draw), torch.randn(4, 4, generator=draw)
alone = [look(clip, to_qkv, to_out, 2, 3) for clip in (x[:3].clone(), x[3:].clone())]
hold(alone, [torch.zeros(3, 4, 2, 2)] * 2, what="the answers for each of two clips", atol=1e9)  # their form
hold(look(x, to_qkv, to_out, 2, 3), torch.cat(alone), what="the answer for two clips, beside those for each alone (chapter 08, 'The wrong fold'),")
### BEGIN HIDDEN TESTS
for seed in (7, 8):
    given = drawn(3, 4, 6, 2, 3, 2, 5, seed)
    hold(look(*clone(given)), by_loops(*given), remaining(*given), what="the answer for three clips")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "look-5", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# 3 points: hidden frames. With past = 0 every frame sees itself alone: its own value is added.
draw = torch.Generator().manual_seed(9)
x, to_qkv, to_out = torch.randn(5, 4, 1, 1, generator=draw), torch.randn(12, 4, generator=draw), torch.randn(4, 4, generator=draw)
right = x + torch.einsum("ov,vc,tchw->tohw", to_out, to_qkv[8:], x)
mistakes = {
    "With past = 0 a frame still sees itself, and nothing else: chapter 08, 'Attention through time'": x,
    "Nothing seems to be hidden: chapter 08, 'Attention through time'": lambda: look(x, to_qkv, to_out, 1, 5, None),
}
hold(look(x, to_qkv, to_out, 1, 5, 0), right, mistakes, what="the answer for past = 0")
### BEGIN HIDDEN TESTS
for past, seed in ((1, 10), (2, 11), (3, 12)):
    given = drawn(2, 6, 6, 1, 2, 2, 5, seed)
    mistakes = {
        f"Nothing seems to be hidden: {in_time}": partial(by_loops, *given, past, seen="all"),
        f"The triangle is turned: these frames see what comes, not what was: {in_time}": partial(by_loops, *given, past, seen="future"),
        f"Frames behind are hidden, too: past says how many before it a frame sees: {in_time}": partial(by_loops, *given, past, seen="both"),
        f"Off by one: the frame itself is not one of the {past} before it: {in_time}": partial(by_loops, *given, past, seen="less"),
        f"Off by one: a frame too many is seen: {in_time}": partial(by_loops, *given, past, seen="more"),
        f"The future is hidden, but the distant past is not: {in_time}": partial(by_loops, *given, past, seen="all before"),
        f"Hidden after the softmax, so that shares no longer sum to 1; hide before it: {inside}": partial(by_loops, *given, past, mask="after"),
        f"A score of 0 is not hidden, softmax makes a share of it; minus infinity is: {inside}": partial(by_loops, *given, past, mask="zero"),
    }
    hold(look(*clone(given), past), by_loops(*given, past), mistakes | remaining(*given, past=past), what=f"the answer for past = {past}")
given = drawn(2, 4, 6, 1, 2, 2, 5, 13)
hold(look(*clone(given), 100), by_loops(*given, 3), what="the answer for a past that is longer than the clip")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "look-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
draw = torch.Generator().manual_seed(0)
x, to_qkv, to_out = torch.randn(16, 8, 1, 1, generator=draw), torch.randn(24, 8, generator=draw), torch.randn(8, 8, generator=draw)
figure, axes = plt.subplots(1, 2, figsize=(7, 3.4))
for ax, past in zip(axes, (None, 2), strict=True):
    slopes = torch.autograd.functional.jacobian(lambda x: look(x, to_qkv, to_out, 2, 8, past).sum(dim=1), x)  # noqa: B023
    ax.imshow(slopes.abs().sum(dim=(1, 2, 4, 5, 6)) > 0, cmap="Greys", vmin=0, vmax=1.5)
    ax.set(title=f"past = {past}", xlabel="frame of the input", ylabel="frame of the answer")
    ax.grid(False)
plt.show()

# %% [markdown]
# ## 7. A frame in pieces (8 points, 50 minutes)
#
# **You learn** why linear attention suits large frames, and to compute a softmax whose end you have not seen. **Read
# first** chapter 08, "Linear attention".
#
# Linear attention reads a frame through its summary, $d \times d$ numbers a head:
#
# $$M = \sum_j \mathrm{softmax}_j(k_j)\, v_j^\top$$
#
# A frame may be too large to hold all its keys and values at once. Then they come in pieces, one behind the other, of
# some places each. The softmax goes over *all* places, so the first piece cannot be finished before the last has
# come. Find what to carry along from piece to piece, as large as $M$ and a few vectors, so that the end is exact. Keys
# may be large: $e^{200}$ is more than float32 can hold, so take the largest key seen so far away before you exponentiate.
#
# ![A plot of the error of the summary, on a logarithmic axis, against the number of pieces, 1 to 64. The mean of the pieces' own summaries is off by a tenth to a half as soon as there are two pieces. The right answer stays below a millionth.](figures/ps5_unet3d_pieces.png)
#
# *What a right answer draws: its error stays that of rounding however many pieces there are. A mean of the summaries
# of all pieces is another thing.*

# %% nbgrader={"grade": false, "grade_id": "pieces", "locked": false, "schema_version": 3, "solution": true, "task": false}
def summary(pieces: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
    """The summary of a frame that comes in pieces.

    Args:
        pieces: gives keys and values of a piece at a time, (heads, n, d) each; n differs from piece to piece. It can
            be gone through once, and each piece may be held until the next has come. At least one piece comes.

    Returns:
        (heads, d, d), first the feature of the keys, then that of the values.
    """
    ### BEGIN SOLUTION
    most, total, M = -math.inf, 0.0, 0.0
    for k, v in pieces:
        new_most = torch.maximum(k.amax(dim=1), torch.as_tensor(most))  # heads d
        shrink, e = (most - new_most).exp(), (k - new_most[:, None]).exp()
        total = shrink * total + e.sum(dim=1)
        M = shrink[..., None] * M + e.mT @ v
        most = new_most
    return M / total[..., None]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pieces-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: one piece. Two heads, three places, four features.
draw = torch.Generator().manual_seed(1)
k, v = torch.randn(2, 2, 3, 4, generator=draw)
linear = "chapter 08, 'Linear attention'"
mistakes = {
    f"The softmax of the keys goes over places, not over features: {linear}": k.softmax(dim=-1).mT @ v,
    f"The softmax is missing: shares of all places sum to 1: {linear}": k.mT @ v,
    f"Shares of all places must sum to 1: divide by the sum: {linear}": k.exp().mT @ v,
    f"Keys come first, then values; this is turned round: {linear}": (k.softmax(dim=1).mT @ v).mT,
    f"The root of d belongs to the reading, not to the summary: {linear}": k.softmax(dim=1).mT @ v / 2,
    f"The mean of the places is not their sum: shares sum to 1 already: {linear}": k.softmax(dim=1).mT @ v / 3,
}
hold(summary(iter([(k.clone(), v.clone())])), k.softmax(dim=1).mT @ v, mistakes, what="the summary of one piece")
### BEGIN HIDDEN TESTS
k, v = torch.randn(2, 1, 50, 5, generator=draw)
kept = k.clone(), v.clone()
hold(summary(iter([(k, v)])), k.softmax(dim=1).mT @ v, what="the summary of one piece of 50 places")
hold((k, v), kept, what="keys and values, after the call: they must stay as they are, and what is given")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "pieces-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: two pieces, one feature. Keys 0 and log 2 with values 0 and 3; then key log 6 with value 8. In shares of 9ths,
# these are 1, 2 and 6, and so the summary is (0 + 6 + 48) / 9.
one_feature = lambda *numbers: torch.tensor(numbers).view(1, -1, 1)
pair = [(one_feature(0.0, math.log(2)), one_feature(0.0, 3.0)), (one_feature(math.log(6)), one_feature(8.0))]
mistakes = {
    f"The softmax goes over all places; a mean of the pieces' summaries is another thing: {linear}": one_feature(5.0),
    f"Weighted by the number of places it is still a mean of summaries; weigh by the sum of exponentials: {linear}": one_feature(4.0),
    f"The softmax goes over all places; the pieces' summaries are added here: {linear}": one_feature(10.0),
    f"Sums of two pieces fit together only if the same number was taken away from the keys of both: what was summed up before must shrink when a larger key comes: {linear}": one_feature(
        4.4
    ),
    f"The sum of exponentials must shrink like the sum of products when a larger key comes: {linear}": one_feature(3.6),
    f"The sum of products must shrink like the sum of exponentials when a larger key comes: {linear}": one_feature(22 / 3),
    f"Shares of all places must sum to 1: divide by the sum over all pieces: {linear}": one_feature(9.0),
    f"Shares of all places must sum to 1, and so divide by their sum: {linear}": one_feature(54.0),
    f"Only the last piece seems to be left: {linear}": one_feature(8.0),
}
hold(summary(iter(pair)), one_feature(6.0), mistakes, what="the summary of two pieces")
### BEGIN HIDDEN TESTS
mistakes |= {f"Only the last piece seems to be left: {linear}": one_feature(2.0)}
hold(summary(iter(pair[::-1])), one_feature(6.0), mistakes, what="the summary of the same pieces, in the other order")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "pieces-3", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# 3 points: any pieces. One of them has 1 place, another 7.
draw = torch.Generator().manual_seed(2)
k, v = 2 * torch.randn(3, 8, 4, generator=draw), torch.randn(3, 8, 4, generator=draw)
in_two = lambda k, v: iter([(k[:, :1], v[:, :1]), (k[:, 1:], v[:, 1:])])
halves = [a.softmax(dim=1).mT @ b for a, b in in_two(k, v)]
mistakes = {
    f"The softmax goes over all places; a mean of the pieces' summaries is another thing: {linear}": sum(halves) / 2,
    f"Weighted by the number of places it is still a mean of summaries; weigh by the sum of exponentials: {linear}": halves[0] / 8 + 7 * halves[1] / 8,
    f"The softmax of the keys goes over places, not over features: {linear}": k.softmax(dim=-1).mT @ v,
}
hold(summary(in_two(k, v)), k.softmax(dim=1).mT @ v, mistakes, what=f"the summary of 1 and 7 places ({linear})")
### BEGIN HIDDEN TESTS
for seed, sizes in ((3, (4, 4, 4)), (4, (9, 1, 3, 20)), (5, (1,) * 30), (6, (30, 2))):
    draw = torch.Generator().manual_seed(seed)
    k, v = 2 * torch.randn(2, sum(sizes), 5, generator=draw), torch.randn(2, sum(sizes), 5, generator=draw)
    parts = list(zip(k.split(sizes, 1), v.split(sizes, 1), strict=True))
    own = torch.stack([a.softmax(dim=1).mT @ b for a, b in parts])
    tops = torch.stack([a.amax(dim=1) for a, b in parts])
    products, counts = {}, {}  # sums of exponentials when each piece takes away ...
    for name, taken in (("its own", tops), ("the largest so far", tops.cummax(0).values), ("the largest", tops.amax(0).expand_as(tops))):
        e = [(a - top[:, None]).exp() for (a, b), top in zip(parts, taken, strict=True)]
        products[name] = sum(one.mT @ b for one, (a, b) in zip(e, parts, strict=True))
        counts[name] = sum(one.sum(1) for one in e)[..., None]
    mistakes = {
        f"The softmax goes over all places; a mean of the pieces' summaries is another thing: {linear}": own.mean(0),
        f"Weighted by the number of places it is still a mean of summaries; weigh by the sum of exponentials: {linear}": sum(n * m for n, m in zip(sizes, own, strict=True)) / sum(sizes),
        f"Every piece takes its own largest key away, so pieces no longer fit together: {linear}": products["its own"] / counts["its own"],
        f"When a larger key comes, what was summed up before must shrink: {linear}": products["the largest so far"] / counts["the largest so far"],
        f"The sum of products must shrink like the sum of exponentials when a larger key comes: {linear}": products["the largest so far"] / counts["the largest"],
        f"The sum of exponentials must shrink like the sum of products when a larger key comes: {linear}": products["the largest"] / counts["the largest so far"],
        f"Only the last piece seems to be left: {linear}": own[-1],
        f"The softmax goes over all places; the pieces' summaries are added here: {linear}": own.sum(0),
        f"The softmax of the keys goes over places, not over features: {linear}": k.softmax(dim=-1).mT @ v,
        f"Shares of all places must sum to 1: divide by the sum: {linear}": k.exp().mT @ v,
    }
    hold(summary(iter(parts)), k.softmax(dim=1).mT @ v, mistakes, what=f"the summary of pieces of {sizes} places")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "pieces-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: large keys, and pieces that are let go. (Keys of hundreds are rounded at the fifth digit: within 0.001.)
draw = torch.Generator().manual_seed(7)
k, v = torch.randn(2, 8, 4, generator=draw) + 300, torch.randn(2, 8, 4, generator=draw)
hold(summary(in_two(k, v)), k.softmax(dim=1).mT @ v, what="the summary for keys around 300: take the largest key away first (chapter 08, 'Linear attention'). It", atol=1e-3)
### BEGIN HIDDEN TESTS
for level in (-300.0, 1000.0):
    hold(summary(in_two(k - 300 + level, v)), (k - 300 + level).softmax(dim=1).mT @ v, what=f"the summary for keys around {level:g}: take the largest key away first (chapter 08, 'Linear attention'). It", atol=1e-3)
apart = k - 300
apart[:, 1:] += 150
hold(summary(in_two(apart, v)), apart.softmax(dim=1).mT @ v, what="the summary when the second piece has much larger keys: what was summed up must shrink (chapter 08, 'Linear attention'). It", atol=1e-3)
hold(summary(in_two(-apart, v)), (-apart).softmax(dim=1).mT @ v, what="the summary when the second piece has much smaller keys (chapter 08, 'Linear attention')", atol=1e-3)
held = []


def watched(alive):
    """Twelve pieces; how many before the last one are still held when a further one is asked for."""
    for seed in range(12):
        draw = torch.Generator().manual_seed(seed)
        a, b = torch.randn(2, 1, 6, 3, generator=draw)
        a, b = a.clone(), b.clone()
        held.append(weakref.ref(a))
        yield a, b
        del a, b
        alive.append(sum(piece() is not None for piece in held[:-1]))


alive = []
summary(watched(alive))
told = "The point is never to hold the whole frame: carry sums along, and let each piece go: chapter 08, 'Linear attention'"
holds = "all pieces" if len(alive) < 12 or max(alive) > 3 else "a piece or two"
hold(holds, "a piece or two", {told: "all pieces"}, what="what the function holds of twelve pieces")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "pieces-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
draw = torch.Generator().manual_seed(0)
k, v = 2 * torch.randn(2, 1024, 8, generator=draw), torch.randn(2, 1024, 8, generator=draw)
whole = (k.double().softmax(dim=1).mT @ v.double()).float()
numbers, errors = [1, 2, 4, 8, 16, 32, 64], {"in pieces": [], "mean of summaries": []}
for number in numbers:
    parts = list(zip(k.chunk(number, 1), v.chunk(number, 1), strict=True))
    mean = sum(a.softmax(dim=1).mT @ b for a, b in parts) / number
    for name, found in (("in pieces", summary(iter(parts))), ("mean of summaries", mean)):
        errors[name].append((found - whole).abs().max().item() + 1e-9)
figure, ax = plt.subplots(figsize=(6, 3.2))
for (name, values), style in zip(errors.items(), ("o-", "s--"), strict=True):
    ax.loglog(numbers, values, style, label=name)
ax.set(xlabel="pieces", ylabel="largest error")
ax.legend()
plt.show()
