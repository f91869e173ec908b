# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Problem set 7: A project of your own
#
# You bring clips of your own, or an idea, and carry it from a page of intentions to figures that somebody else can trust. The
# exercises are the parts that every such project needs, and that go wrong in silence: a split that leaks nothing, a data
# card, baselines, a motion model that is judged on people it has never met, intervals, and a gallery of the worst. A
# drawn world stands in for your clips until you have them, with a true flow, so that all of it can be graded.
#
# **You need** chapters 01 to 05 and 09, PyTorch tensors, least squares or a small training. **It takes** about six hours,
# without the time for your own clips: seven exercises with code, 46 points, and 16 more for a proposal and a report. **You
# may use** PyTorch, `lfdm_lite`, and your own cells of the book. No test needs the answer of another
# exercise; the pictures of 6 and 7 use your answers to 4 and 5.
#
# **How it works.** Write your code below the docstring, in place of `raise NotImplementedError`; keep names and
# arguments as they are. Helpers of your own belong into the same cell. The cells below an answer test it: run them. If
# nothing is printed the test passes, and otherwise it says what is amiss. When your work is marked, the same cells test
# more cases than you see here, in worlds that you do not see. No function may change what it is given.
#
# | exercise | kind | minutes | points |
# |---|---|---|---|
# | 1 Before any model | predict, then run | 30 | 6 |
# | 2 A split that leaks nothing | implement | 30 | 6 |
# | 3 The data card | implement and check | 30 | 6 |
# | 4 What has to be beaten | implement | 35 | 7 |
# | 5 A motion model of your own | design; marks by a figure | 80 | 9 |
# | 6 The table of the report | implement and interpret | 45 | 7 |
# | 7 The worst, not the prettiest | implement | 20 | 5 |
# | 8 The proposal | write | 30 | 4, written |
# | 9 The report | write | 60 | 12, written |
#
# Everywhere, a *flow* is backward and normalized: channel 0 is $x$ to the right, channel 1 is $y$ down, and the picture
# spans $[-1, 1]$, from edge to edge. Frame 0 is the given picture, at rest. Pictures are RGB in $[0, 1]$, float32.
#
# The **error share** of a clip is the sum of the distances between predicted and true flow, over all pixels of all frames but
# frame 0, divided by the sum of the lengths of the true flow, both in pixels. Who copies frame 0, and so predicts no motion,
# has the share 1.
#
# **The drawn world.** Every subject is a disc of its own size and colour, which does what a label says: go right, go up,
# swell, or turn. How much it does so has a part that the picture tells and a part that nobody can know. `draw_world` draws
# the same clips for the same names and seed.

# %% nbgrader={"grade": false, "grade_id": "given", "locked": true, "schema_version": 3, "solution": false, "task": false}
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from torch import Tensor

import lfdm_lite as lfdm
from lfdm_lite import viz
from lfdm_lite.course.checks import hold

viz.use_style()

LABELS = ("right", "up", "swell", "turn")
SPLITS = ("train", "val", "test")


class Clips(NamedTuple):
    video: Tensor  # (n, 3, t, h, w)
    flow: Tensor  # (n, 2, t, h, w), of every frame to frame 0
    label: Tensor  # (n,), int64
    subject: list[str]  # n names; "" where unknown


def draw_clip(centre: Tensor, radius: float, red: float, label: int, amount: float, size: int, frames: int) -> tuple[Tensor, Tensor]:
    """A striped disc that does what its label says, `amount` far: a video (3, t, h, w) and its flow (2, t, h, w)."""
    done = amount * torch.arange(frames)[:, None, None] / (frames - 1)
    x, y = (lfdm.identity_grid(size, size) - centre[:, None, None])[:, None].expand(-1, frames, -1, -1)
    if label == 0:
        seen = torch.stack([x - done, y])
    elif label == 1:
        seen = torch.stack([x, y + done])
    elif label == 2:
        seen = torch.stack([x, y]) / (1 + done)
    else:
        seen = torch.stack([done.cos() * x + done.sin() * y, done.cos() * y - done.sin() * x])
    inside = seen.norm(dim=0) < radius
    disc = torch.stack([torch.full_like(x, red), 0.4 + 0.3 * torch.sin(9 * seen[0]), torch.full_like(x, 0.9)])
    behind = 0.15 + 0.1 * (y + centre[1])
    return torch.where(inside, disc, behind), torch.where(inside, seen - torch.stack([x, y]), 0.0)


FAR = (0.35, 0.35, 0.4, 1.0)  # to the right, up, growth, radians: what each label does in this world
LIVELY = (0.4, 1.0)  # and how much of it: at least, and more for the red


def draw_world(
    names: list[str], takes: int, seed: int, size: int = 20, frames: int = 4, far: tuple = FAR, lively: tuple = LIVELY
) -> Clips:
    """`takes` clips of every label by every subject."""
    drawn, label, subject = [], [], []
    for name in names:
        draw = torch.Generator().manual_seed(zlib.crc32(f"{name} {seed}".encode()))
        red, girth = torch.rand(2, generator=draw).tolist()
        for act in list(range(len(LABELS))) * takes:
            x, y, mood = torch.rand(3, generator=draw).tolist()
            centre = torch.tensor([0.5 * x - 0.45, 0.5 * y - 0.05])
            amount = far[act] * (lively[0] + lively[1] * red) * (0.9 + 0.2 * mood)
            drawn.append(draw_clip(centre, 0.28 + 0.12 * girth, red, act, amount, size, frames))
            label.append(act)
            subject.append(name)
    video, flow = (torch.stack(part) for part in zip(*drawn, strict=True))
    return Clips(video, flow, torch.tensor(label), subject)


def from_folder(root: str | Path, size: int = 48, frames: int = 8) -> Clips:
    """Your own clips, from folders ROOT/LABEL/SUBJECT/clip.mp4. Their flow is estimated: a teacher, but not the truth."""
    data = lfdm.data.VideoFolder(root, size=size, num_frames=frames, split="all")
    items = [data[i] for i in range(len(data))]
    video = torch.stack([item["video"] for item in items])
    flow = torch.stack([lfdm.horn_schunck(video[:, :, 0], video[:, :, t]) for t in range(frames)], dim=2)
    names = [data.subjects[item["subject"]] if item["subject"] >= 0 else "" for item in items]
    return Clips(video, flow, torch.tensor([item["label"] for item in items]), names)


def drawn(seed: int, *shape: int) -> Tensor:
    """Even random numbers from 0 to 1, always the same for a seed."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


NAMES = [f"person {i}" for i in range(20)]
WORLD = draw_world(NAMES, takes=2, seed=0)  # person 12 to 15 are its val split, 16 to 19 its test split
DEALT = ["train" if int(name.split()[1]) < 12 else "val" if int(name.split()[1]) < 16 else "test" for name in WORLD.subject]

# %% [markdown]
# Look at the world before you do anything with it; later, look at your own clips in the same way.

# %% nbgrader={"grade": false, "grade_id": "world-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
figure, axes = plt.subplots(2, 8, figsize=(9, 2.4))
for column in range(8):
    clip = column if column < 4 else 8 * 7 + column - 4
    axes[0, column].imshow(WORLD.video[clip, :, 0].movedim(0, 2), interpolation="nearest")
    axes[1, column].imshow(lfdm.flow_to_rgb(WORLD.flow[clip : clip + 1, :, -1])[0].movedim(0, 2), interpolation="nearest")
    axes[0, column].set_title(f"{WORLD.subject[clip][-1]}: {LABELS[WORLD.label[clip]]}", fontsize=8)
for ax in axes.flat:
    ax.axis("off")
plt.show()

# %% [markdown]
# ## 1. Before any model (6 points, 30 minutes)
#
# **You learn** what an error share must be, so that you notice when your code says otherwise. **Read first** chapter 02,
# "The verdict", and the definition of the error share above.
#
# ![A curve falls from 0.64 at five models to 0.59 at forty, more steeply at first. A dotted line stays at 0.7.](figures/ps7_project_foresee.png)
#
# *A hint for G: the lowest of several measured shares, on average, over the number of models; all are worth 0.7.*
#
# Find seven numbers with pencil and paper, then run the tests. What you see of them only looks whether these are numbers.
#
# * **A** Share of a model that predicts half of the true flow, everywhere.
# * **B** Share of a model that predicts the true flow with the opposite sign.
# * **C** Everything moves to the right. Share of a model with the right lengths, whose $x$ and $y$ are swapped.
# * **D** The left half of the picture moves by 2 pixels, the right half by 1, both to the right. Share of a model that
#   predicts the mean motion, everywhere.
# * **E** Half the clips of a label move by 2 pixels to the left, the others by 2 to the right. Mean share of a model that predicts the
#   label's mean motion.
# * **F** Two clips, in which everything moves by 1 pixel and by 9 pixels. A model is wrong by 0.9 pixels in both.
#   Mean of the two clips' shares.
# * **G** Two models have a true share of 0.7 each. On your validation clips you measure each of them with an error that is
#   Gaussian with mean 0 and deviation 0.05, one independent of the other. You keep the one that looks better. Which
#   share do you report for it, on average, if you measure no more? (The mean of the larger of two independent standard
#   Gaussian numbers is $1/\sqrt{\pi}$.)

# %% nbgrader={"grade": false, "grade_id": "foresee", "locked": false, "schema_version": 3, "solution": true, "task": false}
def foresee() -> dict[str, float]:
    """Your seven numbers: {"A": ..., ..., "G": ...}."""
    ### BEGIN SOLUTION
    return {"A": 0.5, "B": 2, "C": math.sqrt(2), "D": 0.5 / 1.5, "E": 1, "F": (0.9 + 0.1) / 2, "G": 0.7 - 0.05 / math.sqrt(math.pi)}
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "foresee-1", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the table has seven numbers; A, B and C, one flow against another.
### BEGIN HIDDEN TESTS
def sideways(*lengths):
    """A flow (2, pixels) to the right."""
    return torch.tensor([lengths, [0.0] * len(lengths)], dtype=torch.float32)


def one_share(predicted, true):
    return ((predicted - true).norm(dim=0).sum() / true.norm(dim=0).sum()).item()


VERDICT = "chapter 02, 'The verdict'"


### END HIDDEN TESTS
table = foresee()
kinds = {letter: "a number" if isinstance(n, int | float) else n for letter, n in table.items()} if isinstance(table, dict) else table
hold(kinds, dict.fromkeys("ABCDEFG", "a number"), what="your table")
### BEGIN HIDDEN TESTS
true = sideways(1, 2, 3)
hold(table["A"], one_share(true / 2, true), {f"Distances count, not their squares: {VERDICT}": 0.25, f"This is how much is right; the share says how much is wrong: {VERDICT}": 1.5}, what="A")
mistakes = {f"From one end to the other it is twice the length: {VERDICT}": 1.0, f"A wrong sign does not cancel anything, a distance is positive: {VERDICT}": 0.0, f"Distances count, not their squares: {VERDICT}": 4.0}
hold(table["B"], one_share(-true, true), mistakes, what="B")
mistakes = {
    f"The lengths agree, but the end points do not: {VERDICT}": 0.0,
    f"The wrong part and the missing part are added; a distance is asked for, across the corner: {VERDICT}": 2.0,
    f"What is missing counts, and what is wrongly there does, too: {VERDICT}": 1.0,
}
hold(table["C"], one_share(true.flip(0), true), mistakes, what="C")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "foresee-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: D, E and F, means.
table = foresee()
kinds = {k: "a number" if isinstance(table.get(k), int | float) else None for k in "DEF"} if isinstance(table, dict) else table
hold(kinds, dict.fromkeys("DEF", "a number"), what="your shares of means")
### BEGIN HIDDEN TESTS
where = "chapter 02, 'Where the error is'"
mistakes = {
    f"Errors of opposite sign do not cancel, each is a distance: {where}": 0.0,
    f"This is the error in pixels; divide by the mean length: {where}": 0.5,
    f"This is a mean of ratios of pixels; sums are divided: {where}": 0.375,
    f"Divide by the mean length, not by the largest: {where}": 0.25,
}
hold(table["D"], one_share(sideways(1.5, 1.5), sideways(2, 1)), mistakes, what="D")
mistakes = {f"The mean of both directions is no motion at all: that is copying: {VERDICT}": 0.0, f"Each clip is missed by its own length, not by the way between the two: {VERDICT}": 2.0, f"No clip is right, and none is nearer than another: {VERDICT}": 0.5}
hold(table["E"], sum(one_share(sideways(0), sideways(x)) for x in (-2, 2)) / 2, mistakes, what="E")
mistakes = {f"Sums over both clips are divided; the mean of two shares is asked for: {VERDICT}": 0.18, f"These are pixels; each clip has a share of its own: {VERDICT}": 0.9, f"The two shares are added: {VERDICT}": 1.0}
hold(table["F"], (one_share(sideways(1.9), sideways(1)) + one_share(sideways(9.9), sideways(9))) / 2, mistakes, what="F")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "foresee-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: G, to three digits.
table = foresee()
hold(table.get("G") if isinstance(table, dict) else table, 0.0, what="G", atol=1e3)  # a number
### BEGIN HIDDEN TESTS
unseen = "chapter 09, 'Unseen subjects'"
z = torch.linspace(-6, 6, 601, dtype=torch.float64)
weight = torch.exp(-(z[:, None] ** 2 + z[None] ** 2) / 2)
lower = (weight * torch.minimum(z[:, None], z[None])).sum() / weight.sum()
mistakes = {
    f"What one chose because it looked good looks better than it is: measure it anew: {unseen}": 0.7,
    f"The sign: a lower share looks better, so the kept one is too low: {unseen}": 0.7 + 0.05 / math.sqrt(math.pi),
    f"Two models are not a whole deviation: use the mean that is given: {unseen}": 0.65,
    f"This is half the deviation: use the mean that is given: {unseen}": 0.675,
    f"The mean is given for a deviation of 1; here it is 0.05: {unseen}": 0.7 - 1 / math.sqrt(math.pi),
}
hold(table["G"], 0.7 + 0.05 * lower.item(), mistakes, what="G", atol=6e-4)
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "foresee-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
counts = list(range(5, 41))
measured = 0.7 + 0.05 * torch.randn(20_000, 40, generator=torch.Generator().manual_seed(0))
figure, ax = plt.subplots(figsize=(5, 2.6))
ax.plot(counts, [measured[:, :k].min(dim=1).values.mean().item() for k in counts], "o-", markersize=3, label="the best looking")
ax.axhline(0.7, color=viz.COLOURS["black"], linestyle=":", label="what they are worth")
ax.set(xlabel="models tried", ylabel="share reported")
ax.legend()
plt.show()

# %% [markdown]
# ## 2. A split that leaks nothing (6 points, 30 minutes)
#
# **You learn** to deal subjects, not clips. **Read first** chapter 01, "From a scene to a data set", and chapter 09,
# "Unseen subjects".
#
# If one person's clips lie in training and in test, the test asks what a model remembers of that person. So the persons
# are dealt. Of $n$ different known subjects, $\max(1, \lfloor n/5 \rfloor)$ go to test, as many to val, and the rest to
# train; which ones, chance decides, from a seed. The same seed deals a subject the same way, in whatever order the clips
# come and however many clips a subject has. Clips whose subject is unknown, "", may be of anybody: they belong to train,
# and are no subject. There are at least three known subjects.
#
# ![Three rows of marks over 20 subjects, one for each seed. In every row four subjects are test, four are val, and twelve are train; they are others in every row.](figures/ps7_project_deal.png)
#
# *What a right answer draws: how 20 subjects are dealt, with three seeds. Which subjects go where may differ from yours.*

# %% nbgrader={"grade": false, "grade_id": "deal", "locked": false, "schema_version": 3, "solution": true, "task": false}
def deal(subject: list[str], seed: int) -> list[str]:
    """The split of every clip: "train", "val" or "test".

    Args:
        subject: the name of every clip's subject, "" where unknown.
        seed: of chance.
    """
    ### BEGIN SOLUTION
    names = sorted(set(subject) - {""})
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    few = max(1, len(names) // 5)
    place = {names[i]: "test" if rank < few else "val" if rank < 2 * few else "train" for rank, i in enumerate(order)}
    return [place.get(name, "train") for name in subject]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "deal-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: one word for every clip, and all three words occur.
UNSEEN, DATASET = "chapter 09, 'Unseen subjects'", "chapter 01, 'From a scene to a data set'"


def roles(subject, seed):
    """Which splits every known subject is in."""
    given = list(subject)
    found = deal(given, seed)
    if given != list(subject):
        raise AssertionError("the list of subjects was changed: work on a copy")
    form = "a list with one of three words for every clip"
    fits = isinstance(found, list) and len(found) == len(given) and all(word in SPLITS for word in found)
    hold(form if fits else "something else", form, what="what deal returns")
    return {name: {word for word, n in zip(found, given, strict=True) if n == name} for name in sorted(set(given) - {""})}


roles(WORLD.subject, 0)
hold(sorted(set(deal(WORLD.subject, 0))), ["test", "train", "val"], what="the words that occur")
### BEGIN HIDDEN TESTS
hold(sorted(set(deal(["Ada", "Bo", "Cy"], 3))), ["test", "train", "val"], {f"Three subjects are one for each split: {DATASET}": ["train"]}, what="the words that occur among three subjects")
roles(["b", "a", "c", "a", "d", "b"], 5)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "deal-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: nobody is in two splits.
def leaks(subject, seed):
    several = sum(len(words) > 1 for words in roles(subject, seed).values())
    share = "nobody" if several == 0 else "somebody"
    hold(share, "nobody", {f"One person's clips lie in several splits, so clips are dealt; deal subjects: {UNSEEN}": "somebody"}, what="who is in two splits")


leaks(WORLD.subject, 0)
### BEGIN HIDDEN TESTS
mixed = [f"s{(7 * i * i + 3 * i) % 11}" for i in range(60)]  # clips of a subject are not next to each other
leaks(mixed, 1)
leaks(mixed[::-1], 2)
leaks(["Ada"] * 30 + ["Bo", "Cy", "Di", "Ed", "Flo", "Gus"], 3)
leaks([f"{i % 8}" for i in range(80)], 4)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "deal-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: how many subjects are where. The subject of a split is counted where its first clip lies.
def counted(subject, seed):
    found = deal(list(subject), seed)
    where = {}
    for name, word in zip(subject, found, strict=True):
        if name:
            where.setdefault(name, word)
    return {word: sum(w == word for w in where.values()) for word in SPLITS}


def look_at_counts(subject, seed):
    n, few = len(set(subject) - {""}), max(1, len(set(subject) - {""}) // 5)
    mistakes = {
        f"The fifth is rounded down, but never to none: {DATASET}": {"train": n - 2 * math.ceil(n / 5), "val": math.ceil(n / 5), "test": math.ceil(n / 5)},
        f"A tenth is less than was asked for: {DATASET}": {"train": n - 2 * max(1, n // 10), "val": max(1, n // 10), "test": max(1, n // 10)},
        f"A fifth of few subjects is none: then it is one: {DATASET}": {"train": n - 2 * (n // 5), "val": n // 5, "test": n // 5},
        f"The parts of val and of train are swapped: {DATASET}": {"train": few, "val": n - 2 * few, "test": few},
    }
    found = counted(subject, seed)
    mistakes |= {f"Chance decides how many; their number is asked for: {DATASET}": found} if found != counted(subject, seed + 1) else {}
    hold(found, {"train": n - 2 * few, "val": few, "test": few}, mistakes, what=f"the number of subjects, of {n}")


look_at_counts(WORLD.subject, 0)
### BEGIN HIDDEN TESTS
look_at_counts([f"n{i}" for i in range(14)], 1)
look_at_counts([f"n{i % 4}" for i in range(40)], 2)
look_at_counts(["Ada"] * 30 + ["Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal", "Ida", "Jo", "Kim"], 4)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "deal-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: chance, from the seed alone.
def first_roles(subject, seed):
    found = {}
    for name, word in zip(subject, deal(list(subject), seed), strict=True):
        found.setdefault(name, word)
    return dict(sorted(found.items()))


fifteen = [f"n{i}" for i in range(15)]
twice = "the same" if first_roles(fifteen, 1) == first_roles(fifteen, 1) else "another"
hold(twice, "the same", {f"Chance does not come from the seed: make a generator of your own from it: {DATASET}": "another"}, what="the split with the same seed")
turned = "the same" if first_roles(fifteen, 1) == first_roles(fifteen[::-1], 1) else "another"
hold(turned, "the same", {f"The order of the clips decides; sort the names first: {DATASET}": "another"}, what="the split of the same clips in another order")
### BEGIN HIDDEN TESTS
more = fifteen + ["n3"] * 20 + ["n8"]
found = "the same" if first_roles(more, 1) == first_roles(fifteen, 1) else "another"
hold(found, "the same", {f"It depends on how many clips a subject has; deal each name once: {DATASET}": "another"}, what="the split, with more clips of two subjects,")
others = "others" if any(first_roles(fifteen, seed) != first_roles(fifteen, 1) for seed in range(2, 8)) else "the same"
hold(others, "others", {f"The seed makes no difference: {DATASET}": "the same"}, what="what other seeds deal")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "deal-5", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: clips of unknown subjects.
def unknown(subject, seed):
    found = [word for word, name in zip(deal(list(subject), seed), subject, strict=True) if not name]
    where = "train" if set(found) == {"train"} else "elsewhere, too"
    hold(where, "train", {f"An unknown clip may be of anybody in train, so it can judge nothing: {UNSEEN}": "elsewhere, too"}, what="where unknown subjects are")
    known = [name for name in subject if name]
    same = "as without them" if first_roles(known, seed) == {k: v for k, v in first_roles(subject, seed).items() if k} else "another"
    hold(same, "as without them", {f"The unknown are taken for a subject, and take a place from one: {UNSEEN}": "another"}, what="the split of the others")


unknown(["", "a", "b", "", "c", "d", "e", ""], 0)
### BEGIN HIDDEN TESTS
for seed in range(6):
    unknown([f"n{i}" for i in range(9)] + [""] * 12, seed)
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "deal-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
figure, ax = plt.subplots(figsize=(6, 1.8))
for marker, word in zip("os^", SPLITS, strict=True):
    spots = [(i, seed) for seed in range(3) for i, found in enumerate(deal(NAMES, seed)) if found == word]
    ax.plot(*zip(*spots, strict=True), marker, label=word, markersize=6)
ax.set(xlabel="subject", xticks=range(0, 20, 5), yticks=range(3), yticklabels=[f"seed {i}" for i in range(3)], ylim=(-0.5, 2.5))
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## 3. The data card (6 points, 30 minutes)
#
# **You learn** to count before you train, and to find the two leaks that nobody sees in a preview. **Read first** chapter
# 01, "From a scene to a data set", and chapter 04, "What the shipped regions stand on".
#
# The card of a data set says how many clips of each label are in each split, how many known subjects, which of these are in
# more than one split, and how many clips were copied from one split to another: downloaded twice, or exported under two
# names. A *copied pair* is two clips in different splits whose videos are the same in all frames once they are rounded
# to the 256 steps in which files store them. An unknown subject, "", is neither counted nor a leak.
#
# ![A table of three rows and four columns with counts. Train has 24 clips of every label, val and test have 8; one cell, test and turn, has 0.](figures/ps7_project_card.png)
#
# *What a right answer draws: the card of the world, from which the test clips of the label "turn" were taken away. What could you no
# longer say of a model?*

# %% nbgrader={"grade": false, "grade_id": "card", "locked": false, "schema_version": 3, "solution": true, "task": false}
def card(clips: Clips, split: list[str], labels: int) -> dict:
    """What is in a data set.

    Args:
        clips: n clips.
        split: n words, "train", "val" or "test".
        labels: how many labels there are, also where some have no clip.

    Returns:
        "clips": (3, labels), int64, the number of clips; rows are train, val and test;
        "subjects": a list of three numbers, the known subjects in train, val and test;
        "leaks": a sorted list of the known subjects in more than one split;
        "copies": the number of copied pairs.
    """
    ### BEGIN SOLUTION
    table = torch.zeros(3, labels, dtype=torch.int64)
    people: list[set[str]] = [set(), set(), set()]
    for word, label, name in zip(split, clips.label.tolist(), clips.subject, strict=True):
        table[SPLITS.index(word), label] += 1
        people[SPLITS.index(word)] |= {name} - {""}
    leaks = sorted((people[0] & people[1]) | (people[0] & people[2]) | (people[1] & people[2]))
    stored = (255 * clips.video).round().flatten(1)
    copies = sum(
        split[i] != split[j] and torch.equal(stored[i], stored[j]) for i in range(len(split)) for j in range(i)
    )
    return {"clips": table, "subjects": [len(names) for names in people], "leaks": leaks, "copies": copies}
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "card-1", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the form of the card, and the number of clips.
SCENE = "chapter 01, 'From a scene to a data set'"


def small(label, subject, seed=0):
    """Clips that hold noise; their flow is zero."""
    video = drawn(seed, len(label), 3, 2, 4, 4)
    return Clips(video, torch.zeros(len(label), 2, 2, 4, 4), torch.tensor(label), subject)


def entry(found, name):
    keys = sorted(found) if isinstance(found, dict) else found
    hold(keys, ["clips", "copies", "leaks", "subjects"], what="the names on the card")
    return found[name]


three = small([0, 1, 1, 0, 1], ["a", "a", "b", "c", "c"])
hold(entry(card(three, ["train", "train", "val", "test", "test"], 2), "clips"), torch.tensor([[1, 1], [0, 1], [1, 1]]), {f"The rows are train, val, test, in this order: {SCENE}": torch.tensor([[1, 1], [1, 1], [0, 1]])}, what="the number of clips")
### BEGIN HIDDEN TESTS
def look_at_clips(n, labels, seed):
    label = (drawn(seed, n) * labels).long().tolist()
    split = [SPLITS[int(3 * x)] for x in drawn(seed + 1, n).tolist()]
    clips = small(label, [f"s{i}" for i in range(n)])
    right = torch.stack([torch.bincount(torch.tensor([y for y, w in zip(label, split, strict=True) if w == word], dtype=torch.int64), minlength=labels) for word in SPLITS])
    mistakes = {
        f"Rows and columns are swapped: {SCENE}": right.T if labels == 3 else right + 1,
        f"The rows are train, val, test, in this order: {SCENE}": right[[2, 0, 1]],
        f"Shares instead of numbers, or all splits together: {SCENE}": right.sum(dim=0).expand(3, -1),
        f"This says whether there is a clip; how many is asked for: {SCENE}": right.clamp(max=1),
    }
    hold(entry(card(clips, split, labels), "clips"), right, mistakes, what="the number of clips")


look_at_clips(24, 3, 3)
look_at_clips(30, 5, 5)
hold(entry(card(three, ["train"] * 5, 4), "clips"), torch.tensor([[2, 3, 0, 0], [0] * 4, [0] * 4]), what="the number of clips where labels have none")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "card-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: known subjects.
hold(entry(card(three, ["train", "train", "val", "test", "test"], 2), "subjects"), [1, 1, 1], {f"These are clips; a subject counts once: {SCENE}": [2, 1, 2]}, what="the number of subjects")
### BEGIN HIDDEN TESTS
some = small([0] * 8, ["a", "b", "a", "", "c", "", "a", "c"])
words = ["train", "train", "train", "train", "val", "val", "test", "test"]
mistakes = {
    f"The unknown are no subject: {SCENE}": [3, 2, 2],
    f"These are clips; a subject counts once: {SCENE}": [4, 2, 2],
    f"These are clips; a subject counts once: {SCENE} ": [3, 1, 2],
    f"Who is in two splits is counted in each: {SCENE}": [2, 1, 0],
}
hold(entry(card(some, words, 1), "subjects"), [2, 1, 2], mistakes, what="the number of subjects")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "card-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: who is in more than one split.
APART = "chapter 09, 'Unseen subjects'"


def look_at_leaks(subject, split, right):
    found = entry(card(small([0] * len(subject), subject), split, 1), "leaks")
    known = lambda a, b: sorted({n for n, w in zip(subject, split, strict=True) if w == a and n} & {n for n, w in zip(subject, split, strict=True) if w == b and n})
    mistakes = {
        f"An unknown name in two splits need not be one person: {APART}": sorted({"", *right}),
        f"Val and test must have nobody in common, either: {APART}": sorted({*known("train", "val"), *known("train", "test")}),
        f"Val counts, too: what is chosen there must not know its people: {APART}": known("train", "test"),
        f"Only who is in all three is named; two are enough: {APART}": sorted(set(known("train", "val")) & set(known("val", "test"))),
        f"In the order of their names: {APART}": right[::-1],
        f"Several clips are no leak, several splits are: {APART}": sorted({n for n in subject if subject.count(n) > 1 and n}),
    }
    hold(found, right, mistakes, what="the leaks")


look_at_leaks(["a", "a", "b", "c"], ["train", "train", "val", "test"], [])
look_at_leaks(["a", "b", "b", "c", "a"], ["train", "train", "val", "test", "test"], ["a", "b"])
### BEGIN HIDDEN TESTS
look_at_leaks(["z", "", "k", "", "k", "z", "m"], ["train", "train", "val", "val", "test", "test", "test"], ["k", "z"])
look_at_leaks(["b", "d", "d", "b", "a", "a"], ["val", "val", "test", "train", "train", "train"], ["b", "d"])
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "card-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: copied pairs.
def with_copies(*pairs, n=9, change=0.0):
    """Noise clips, of which some are copies of others; `change` is added to the copies' last frame."""
    clips = small([0] * n, [f"s{i}" for i in range(n)], 9)
    video = (255 * clips.video).round() / 255
    for one, other in pairs:
        video[other] = video[one]
        video[other, :, -1] += change
    return clips._replace(video=video)


in_thirds = ["train"] * 3 + ["val"] * 3 + ["test"] * 3
mistakes = {f"Each pair is counted in both directions: {SCENE}": 4, f"Copies within a split leak nothing: {SCENE}": 3}
hold(entry(card(with_copies((0, 3), (1, 8), (4, 5)), in_thirds, 1), "copies"), 2, mistakes, what="the number of copied pairs")
### BEGIN HIDDEN TESTS
mistakes = {f"Other frames differ; all frames are compared, not the first: {SCENE}": 2, f"Other frames differ; all frames are compared: {SCENE}": 4}
hold(entry(card(with_copies((0, 3), (1, 8), change=0.1), in_thirds, 1), "copies"), 0, mistakes, what="the number of pairs with the same first frame")
mistakes = {f"Round to the steps in which files store them; equal floats are too much to ask: {SCENE}": 0}
hold(entry(card(with_copies((0, 3), (1, 8), change=0.0005), in_thirds, 1), "copies"), 2, mistakes, what="the number of pairs, read from files")
mistakes = {
    f"Val and test can share a copy, too, so a clip that is in all three splits is three pairs: {SCENE}": 2,
    f"Pairs are asked for, this is one clip: {SCENE}": 1,
    f"Each pair is counted in both directions: {SCENE}": 6,
}
hold(entry(card(with_copies((0, 3), (0, 6)), in_thirds, 1), "copies"), 3, mistakes, what="the number of pairs of a clip that lies in all splits")
clips = with_copies((0, 3))
kept = clips.video.clone()
card(clips, in_thirds, 1)
hold(clips.video, kept, what="the videos, after the call: they must stay as they are, and they")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "card-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
keep = [i for i, word in enumerate(DEALT) if word != "test" or WORLD.label[i] != 3]
part = Clips(WORLD.video[keep], WORLD.flow[keep], WORLD.label[keep], [WORLD.subject[i] for i in keep])
table = card(part, [DEALT[i] for i in keep], 4)["clips"]
figure, ax = plt.subplots(figsize=(4, 2.2))
ax.imshow(table, cmap="Greys", vmin=0, vmax=60, aspect="auto")
for row in range(3):
    for column in range(4):
        ax.text(column, row, int(table[row, column]), ha="center", va="center")
ax.set(xticks=range(4), xticklabels=LABELS, yticks=range(3), yticklabels=SPLITS)
ax.grid(False)
plt.show()

# %% [markdown]
# ## 4. What has to be beaten (7 points, 35 minutes)
#
# **You learn** to measure, and which two opponents every motion model has. **Read first** chapter 02, "The verdict" and
# "Where the error is", and chapter 01, "Where is a pixel?".
#
# Write the error share, as defined at the top, and a model that knows nothing but labels: for every clip it predicts the mean
# flow of the training clips of its label. Pictures need not be square, so mind the pixels: a picture of width $W$ has
# $W/2$ pixels to a unit of $x$. A clip in which nothing moves has no share: NaN. A label without training clips has no mean: no
# motion.
#
# ![Bars for four labels. The error share of a copy is 1 for all. That of the label's mean is higher for all four, from 1.3 to 1.6.](figures/ps7_project_yard.png)
#
# *What a right answer draws: the share of both opponents on the val clips, by label. The mean loses to the copy. Why, if no
# other flow that is the same for all clips has smaller squared errors?*

# %% nbgrader={"grade": false, "grade_id": "yard", "locked": false, "schema_version": 3, "solution": true, "task": false}
def error_share(flow: Tensor, truth: Tensor) -> Tensor:
    """The error share (n,) of every clip; NaN where nothing truly moves.

    Args:
        flow: predicted, normalized, (n, 2, t, h, w); its frame 0 does not count.
        truth: true, of the same shape.
    """
    ### BEGIN SOLUTION
    h, w = truth.shape[-2:]
    pixels = torch.tensor([w / 2, h / 2]).view(1, 2, 1, 1, 1)
    length = lambda field: (field * pixels)[:, :, 1:].norm(dim=1).sum(dim=(1, 2, 3))
    return torch.where(length(truth) > 0, length(flow - truth) / length(truth), math.nan)
    ### END SOLUTION


def mean_motion(flow: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
    """The mean flow of every wanted label, (m, 2, t, h, w).

    Args:
        flow: of training clips, (n, 2, t, h, w).
        label: of training clips, (n,), int64.
        wanted: labels of other clips, (m,), int64.
    """
    ### BEGIN SOLUTION
    same = (wanted[:, None] == label[None]).to(flow.dtype)
    return torch.einsum("mn,ncthw->mcthw", same / same.sum(dim=1, keepdim=True).clamp(min=1), flow)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "yard-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: a share a clip, on square pictures.
TOLD, PLACE, PIXEL = "chapter 02, 'The verdict'", "chapter 02, 'Where the error is'", "chapter 01, 'Where is a pixel?'"


def noise(seed, n=3, t=3, h=8, w=8):
    """A flow that is zero in frame 0."""
    flow = 0.4 * (drawn(seed, n, 2, t, h, w) - 0.5)
    flow[:, :, 0] = 0
    return flow


flow = noise(0)
mistakes = {
    f"Distances count, not their squares: {TOLD}": torch.full((3,), 0.25),
    f"One number for all clips; each clip has a share: {TOLD}": torch.tensor(0.5),
    f"This is true over wrong, or how much is right: {TOLD}": torch.full((3,), 2.0),
}
hold(error_share(0.5 * flow, flow), torch.full((3,), 0.5), mistakes, what="the share of half the flow")
### BEGIN HIDDEN TESTS
hold(error_share(torch.zeros_like(flow), flow), torch.ones(3), what="the share of a copy")
hold(error_share(-flow, flow), torch.full((3,), 2.0), {f"Lengths are compared; directions count, too: {TOLD}": torch.zeros(3)}, what="the share of the opposite flow")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "yard-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: pictures that are not square, frame 0, and what is divided by what.
wide = torch.zeros(1, 2, 2, 4, 16)
wide[:, 0, 1] = 0.25  # to the right
tilted = wide.clone()
tilted[:, 1, 1] = 0.5  # and down, where a unit has fewer pixels
mistakes = {f"In normalized units; a unit of x and one of y have different numbers of pixels: {PIXEL}": torch.tensor([2.0]), f"Width and height are swapped: {PIXEL}": torch.tensor([8.0])}
hold(error_share(tilted, wide), torch.tensor([0.5]), mistakes, what="the share in a wide picture")
### BEGIN HIDDEN TESTS
def slow_share(flow, truth, first=1, units=None, ratios=False, squares=False):
    """Pixel by pixel, in double precision."""
    n, _, t, h, w = truth.shape
    sx, sy = units or (w / 2, h / 2)
    found = []
    for a, b in zip(flow.double().tolist(), truth.double().tolist(), strict=True):
        error, length = [], []
        for frame in range(first, t):
            for y in range(h):
                for x in range(w):
                    true = (sx * b[0][frame][y][x], sy * b[1][frame][y][x])
                    error.append(math.hypot(sx * a[0][frame][y][x] - true[0], sy * a[1][frame][y][x] - true[1]))
                    length.append(math.hypot(*true))
        if squares:
            found.append(math.sqrt(sum(e * e for e in error) / sum(e * e for e in length)))
        else:
            found.append(sum(e / m for e, m in zip(error, length, strict=True)) / len(error) if ratios else sum(error) / sum(length))
    return torch.tensor(found)


flow, truth = noise(1, h=5, w=9), noise(2, h=5, w=9) * torch.tensor([1.0, 0.5, 2.0]).view(3, 1, 1, 1, 1)
flow[:, :, 0] = 0.3
mistakes = {
    f"Frame 0 is given, and does not count: {TOLD}": lambda: slow_share(flow, truth, first=0),
    f"In normalized units; count in pixels: {PIXEL}": lambda: slow_share(flow, truth, units=(1, 1)),
    f"Width and height are swapped: {PIXEL}": lambda: slow_share(flow, truth, units=(2.5, 4.5)),
    f"Ratios of pixels are averaged; sums are divided: {PLACE}": lambda: slow_share(flow, truth, ratios=True),
    f"Roots of mean squares; distances are summed: {TOLD}": lambda: slow_share(flow, truth, squares=True),
}
before = flow.clone(), truth.clone()
hold(error_share(flow, truth), slow_share(flow, truth), mistakes, what="the shares", rtol=1e-3)
hold((flow, truth), before, what="the flows, after the call: they must stay as they are, and they")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "yard-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: a clip in which nothing moves has no share.
truth = noise(3)
truth[1] = 0
found = error_share(torch.zeros_like(truth), truth)
none = f"Where nothing moves there is nothing to divide by: NaN, not a number that would join the mean: {TOLD}"
mistakes = {none: torch.tensor([1.0, 0.0, 1.0]), f"{none} ": torch.tensor([1.0, 1.0, 1.0])}
hold(found, torch.tensor([1.0, math.nan, 1.0]), mistakes, what="the shares of a copy")
### BEGIN HIDDEN TESTS
truth = noise(4, n=4)
truth[2:] = 0
truth[3, 0, 0] = 0.2  # in frame 0, which does not count
words = ["no share" if math.isnan(share) else "a share" for share in error_share(truth + 0.1, truth)[2:].tolist()]
hold(words, ["no share"] * 2, {none: ["a share"] * 2}, what="the answer for motion where nothing moves")
found = error_share(torch.zeros_like(truth), truth)
hold(found, torch.tensor([1.0, 1.0, math.nan, math.nan]), {none: torch.tensor([1.0, 1.0, 0.0, 0.0]), f"Frame 0 is given, and does not count: {TOLD}": torch.tensor([1.0, 1.0, math.nan, 1.0])}, what="the shares of a copy")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "yard-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the mean motion of a label.
flow, label = noise(5, n=4), torch.tensor([0, 1, 0, 0])
mistakes = {
    "The mean of all labels; each label has its own: chapter 01, 'From a scene to a data set'": flow.mean(dim=0).expand(2, -1, -1, -1, -1),
    "The sum is not divided by the number of clips of this label: chapter 01, 'From a scene to a data set'": torch.stack([flow[1], flow[[0, 2, 3]].sum(dim=0)]),
    "Divided by the number of all clips, not of those of the label: chapter 01, 'From a scene to a data set'": torch.stack([flow[1] / 4, flow[[0, 2, 3]].sum(dim=0) / 4]),
    "One clip of the label, not their mean: chapter 01, 'From a scene to a data set'": torch.stack([flow[1], flow[0]]),
    "In the order of the labels, not of the clips that are asked for: chapter 01, 'From a scene to a data set'": torch.stack([flow[[0, 2, 3]].mean(dim=0), flow[1]]),
}
hold(mean_motion(flow, label, torch.tensor([1, 0])), torch.stack([flow[1], flow[[0, 2, 3]].mean(dim=0)]), mistakes, what="the mean motions")
### BEGIN HIDDEN TESTS
flow, label, wanted = noise(6, n=9, w=6), torch.tensor([2, 0, 1, 2, 2, 0, 1, 0, 2]), torch.tensor([2, 2, 0, 1, 0])
right = torch.stack([sum(f for f, y in zip(flow, label, strict=True) if y == want) / sum(y == want for y in label) for want in wanted])
before = flow.clone()
mistakes = {
    "A median is no mean: chapter 01, 'From a scene to a data set'": lambda: torch.stack([flow[label == y].median(dim=0).values for y in wanted]),
    "In the order of the labels, not of the clips that are asked for: chapter 01, 'From a scene to a data set'": lambda: right[[2, 3, 0]],
}
hold(mean_motion(flow, label, wanted), right, mistakes, what="the mean motions")
hold(flow, before, what="the flows, after the call: they must stay as they are, and they")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "yard-5", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: a label without training clips.
flow, label = noise(7, n=2), torch.tensor([0, 2])
absent = "A label without clips has no mean; then nothing moves: chapter 01, 'From a scene to a data set'"
mistakes = {
    absent: torch.stack([flow[0], torch.full_like(flow[0], math.nan)]),
    f"{absent} ": torch.stack([flow[0], flow.mean(dim=0)]),
}
hold(torch.nan_to_num(mean_motion(flow, label, torch.tensor([0, 1])), 9.0), torch.stack([flow[0], torch.zeros_like(flow[0])]), {s: torch.nan_to_num(v, 9.0) for s, v in mistakes.items()}, what="the mean motions")
### BEGIN HIDDEN TESTS
found = mean_motion(flow, label, torch.tensor([5, 2, 3]))
hold(found, torch.stack([torch.zeros_like(flow[0]), flow[1], torch.zeros_like(flow[0])]), {absent: torch.stack([flow.mean(dim=0), flow[1], flow.mean(dim=0)])}, what="the mean motions")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "yard-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
train, val = (torch.tensor([word == wanted for word in DEALT]) for wanted in ("train", "val"))
guess = mean_motion(WORLD.flow[train], WORLD.label[train], WORLD.label[val])
shares = error_share(0 * guess, WORLD.flow[val]), error_share(guess, WORLD.flow[val])
figure, ax = plt.subplots(figsize=(5, 2.4))
for i, (share, name) in enumerate(zip(shares, ("frame 0 copied", "mean of the label"), strict=True)):
    means = [share[WORLD.label[val] == y].mean().item() for y in range(4)]
    ax.bar([y - 0.2 + 0.4 * i for y in range(4)], means, width=0.38, label=name, hatch="//" if i else "")
ax.set(xticks=range(4), xticklabels=LABELS, ylabel="error share", ylim=(0, 2.3))
ax.legend(ncol=2)
plt.show()

# %% [markdown]
# ## 5. A motion model of your own (9 points, 80 minutes)
#
# **You learn** to build something small that holds for people it never met. **Read first** chapter 04, "From a heat map
# to a position", "The motion of a region" and "What the shipped regions stand on", chapter 03, "A true flow, to the last visible pixel",
# and chapter 09, "Unseen subjects".
#
# Write a function that trains a model and returns `predict_motion(first_frames, labels) -> flow`. How is up to you: least
# squares, a small network, or drawing by rules whose numbers are learned. Choose on val as you like, but leave the test clips alone,
# their flow and their pictures. The marks come from a figure, not from looks: the mean error share on clips of people
# whom nobody gave to your function, drawn after it has answered. It is trained anew there, on clips of a world
# in which the labels go other ways and other people are lively, so nothing that you know of `WORLD` helps.
#
# | mean error share on other people | points |
# |---|---|
# | 1 or more | 0 of 6 |
# | below 0.95 | 2 |
# | below 0.6 | 4 |
# | below 0.45 | 6 |
#
# Of the other three points one is for form, and two are for an honest training. A training should end within three
# seconds of one core; when your work is marked this exercise has 20 seconds, in which it trains up to five times.
#
# Hints, from cheap to dear: who sees where the disc is need not learn it (blue is bright there). A
# backward flow lives where the disc *is* in that frame, not where it was. And look at who moves a lot.
#
# ![Four val clips in four rows: their first frame, the predicted and the true flow of the last frame. The predicted discs have the colours and places of the true ones, with slightly different edges.](figures/ps7_project_fit.png)
#
# *What a right answer draws: first frames of val clips, the predicted flow of the last frame, and the true one.*

# %% nbgrader={"grade": false, "grade_id": "fit", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fit_motion(clips: Clips, split: list[str], seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Train a model of motion.

    Args:
        clips: n clips; they stay as they are.
        split: n words; train on "train", choose on "val" if you choose, and leave "test" alone.
        seed: of all chance; the same seed gives the same model.

    Returns:
        `predict_motion(first_frames, labels)`: from first frames (m, 3, h, w) and labels (m,), int64, a flow
        (m, 2, t, h, w) with as many frames as the clips have, in which frame 0 does not move; every clip is predicted from
        its own picture and label alone.
    """
    ### BEGIN SOLUTION
    def see(first):
        disc = first[:, 2] > 0.5
        area = disc.sum(dim=(1, 2)).clamp(min=1)
        grid = lfdm.identity_grid(*first.shape[-2:])
        centre = torch.einsum("nhw,chw->nc", disc.float(), grid) / area[:, None]
        red = (first[:, 0] * disc).sum(dim=(1, 2)) / area
        radius = (4 * area / (math.pi * disc[0].numel())).sqrt()  # the picture spans 2 by 2
        offset = grid - centre[:, :, None, None]
        affine = torch.stack([torch.ones_like(offset[:, 0]), offset[:, 0], offset[:, 1]], dim=-1)
        known = torch.cat([affine, affine * red[:, None, None, None]], dim=-1)  # (n, h, w, 6)
        return offset, radius, known

    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    known, frames, learned = see(video[:, :, 0])[2], flow.shape[2], {}
    for act in label.unique().tolist():
        for frame in range(1, frames):
            there = flow[:, :, frame].norm(dim=1).gt(1e-6) & (label == act)[:, None, None]
            learned[act, frame] = torch.linalg.lstsq(known[there], flow[:, :, frame].movedim(1, -1)[there]).solution

    def predict_motion(first_frames, labels):
        offset, radius, known = see(first_frames)
        found = torch.zeros(len(labels), 2, frames, *first_frames.shape[-2:])
        for clip, act in enumerate(labels.tolist()):
            for frame in range(1, frames):
                if (act, frame) in learned:
                    motion = (known[clip] @ learned[act, frame]).movedim(-1, 0)
                    found[clip, :, frame] = motion * ((offset[clip] + motion).norm(dim=0) < radius[clip])
        return found

    return predict_motion
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "fit-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: the form of what is predicted; frame 0 does not move, and what is given stays as it is.
TRAINED = {}  # by function and world: what was trained once serves all tests
STRANGERS = "chapter 09, 'Unseen subjects'"


def model_of(fit, world, split, key):
    if (fit, key) not in TRAINED:
        TRAINED[fit, key] = fit(world, list(split), 0)
    return TRAINED[fit, key]


def copied(clips):
    return Clips(clips.video.clone(), clips.flow.clone(), clips.label.clone(), list(clips.subject))


def look_at_form(world, split, key):
    before = copied(world)
    predict = model_of(fit_motion, world, split, key)
    first, label = world.video[:7, :, 0].clone(), world.label[:7].clone()
    flow = predict(first.clone(), label.clone())
    hold(flow, world.flow[:7], what="the predicted flow", atol=1e9)  # its form
    hold(flow[:, :, 0], torch.zeros_like(flow[:, :, 0]), {"Frame 0 is the given picture, it does not move: chapter 01, 'Forward or backward?'": flow[:, :, 0].detach()}, what="the flow of frame 0")
    hold((world.video, world.flow), (before.video, before.flow), what="the clips, after the training: they must stay as they are, and they")


look_at_form(WORLD, DEALT, "world")
### BEGIN HIDDEN TESTS
other = draw_world([f"guest {i}" for i in range(8)], 1, 5, size=16, frames=3)
look_at_form(other, ["train"] * 20 + ["val"] * 4 + ["test"] * 8, "small")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "fit-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: an honest training: seeded, from the train clips, and every clip predicted by itself.
def share_of(flow, truth):
    pixels = lambda field: field[:, :, 1:].double().norm(dim=1).sum(dim=(1, 2, 3))  # the pictures are square
    return (pixels(flow - truth) / pixels(truth)).mean().item()


def as_before(answer, before):
    return "as before" if torch.allclose(answer, before, atol=1e-3) else "another"


def look_at_honesty(world, split, key):
    first, label = world.video[::17, :, 0], world.label[::17]
    flow = model_of(fit_motion, world, split, key)(first, label)
    again = as_before(fit_motion(world, list(split), 0)(first, label), flow)
    hold(again, "as before", {"Chance does not come from the seed alone: make a generator from it: chapter 15, 'What stays the same'": "another"}, what="the flow of a second training with the same seed")
    alone = as_before(torch.cat([model_of(fit_motion, world, split, key)(first[i : i + 1], label[i : i + 1]) for i in range(len(label))]), flow)
    hold(alone, "as before", {f"The other clips of a batch, or its order, make a difference; each clip has its own picture and label: {STRANGERS}": "another"}, what="the flow of clips that are predicted one by one")
    test = torch.tensor([word == "test" for word in split])
    changed = copied(world)
    changed.flow[test], changed.video[test] = -3 * changed.flow[test], 1 - changed.video[test]
    poisoned = as_before(fit_motion(changed, list(split), 0)(first, label), flow)
    hold(poisoned, "as before", {f"Test clips have a say in the training; they are for the last figure alone: {STRANGERS}": "another"}, what="the flow of a model whose test clips were replaced")


look_at_honesty(WORLD, DEALT, "world")

# %% nbgrader={"grade": true, "grade_id": "fit-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the first band, below 0.95. Here on val; when marked, on people whom you cannot see, after a training on others.
def diagnosis(flow, truth, label, predict, train):
    """What a share looks like that is too high."""
    if flow.abs().max() < 1e-6:
        return f"Nothing is predicted to move; that is a copy of frame 0: {STRANGERS}"
    first = train.video[::5, :, 0]
    if share_of(predict(first, train.label[::5]), train.flow[::5]) < 0.5 * share_of(flow, truth):
        return f"On its own train clips it is far better: it remembers clips, and people: {STRANGERS}"
    if (predict(first, 0 * train.label[::5]) - predict(first, 0 * train.label[::5] + 1)).abs().max() < 1e-6:
        return "The label makes no difference: chapter 08, 'What is the condition?'"
    if (flow - flow[label == label[0]][0]).abs()[label == label[0]].max() < 1e-6:
        return "Whatever the picture shows, it predicts the same; look where the disc is: chapter 04, 'From a heat map to a position'"
    turned = {
        "The direction: a backward flow looks up where it came from: chapter 01, 'Forward or backward?'": share_of(-flow, truth),
        "The flow's x and y look swapped: chapter 01, 'The colour wheel'": share_of(flow.flip(1), truth),
    }
    if min(turned.values()) < 0.6 * share_of(flow, truth):
        return min(turned, key=turned.get)
    error, long = (flow - truth).norm(dim=1), truth.norm(dim=1)
    there = flow.norm(dim=1) > 1e-6
    if long[~there].sum() > 0.15 * long.sum() and error[there & (long > 0)].sum() < 0.35 * long[there].sum():
        return "A part of the disc does not move, the rest does; the flow lives where the disc is in that frame: chapter 03, 'A true flow, to the last visible pixel'"
    moved = flow[:, :, -1].flatten(2)
    if all((f[:, f.norm(dim=0) > 1e-6].std(dim=1) < 1e-4).all() for f in moved):
        return "One displacement for the whole disc; what swells or turns needs more: chapter 04, 'The motion of a region'"
    size = ((flow * truth).sum(dim=(1, 2, 3, 4)) / flow.square().sum(dim=(1, 2, 3, 4)).clamp(min=1e-9)).view(-1, 1, 1, 1, 1)
    if share_of(size * flow, truth) < 0.75 * share_of(flow, truth):
        return f"The length is off clip by clip; does the picture tell who is lively? {STRANGERS}"
    return "Look at the worst clips: how far, how large, and where: chapter 02, 'Where the error is'"


def band(bound):
    """Whether the mean share on other people is below a bound."""
    for world, split, key, seed, names, law in CASES:
        train = [i for i, word in enumerate(split) if word == "train"]
        part = Clips(world.video[train], world.flow[train], world.label[train], [])
        predict = model_of(fit_motion, world, split, key)
        met = draw_world(names, 1, seed, **law)
        first, label = met.video[:, :, 0].clone(), met.label.clone()
        del met  # its flow is drawn again once the answer is there
        flow = predict(first, label.clone()).detach()
        truth = draw_world(names, 1, seed, **law).flow
        share = share_of(flow, truth)
        right = f"below {bound}"
        found = right if share < bound else f"{share:.2f}, not {right}"
        hold(found, right, {} if found == right else {diagnosis(flow, truth, label, predict, part): found}, what=f"the mean error share on {len(names)} other people")


CASES = [(WORLD, DEALT, "world", 0, NAMES[12:16], {})]
### BEGIN HIDDEN TESTS
quiet = {"far": (-0.3, 0.3, 0.35, -0.9), "lively": (1.4, -1.0)}  # another law: whoever copied that of the visible world fails
crowd = draw_world([f"villager {i}" for i in range(16)], 1, 21, **quiet)
crowd_split = ["test" if name[9:] in ("4", "7", "9") else "val" if name[9:] in ("2", "5", "11") else "train" for name in crowd.subject]
CASES.append((crowd, crowd_split, "crowd", 22, [f"sailor {i}" for i in range(12)], quiet))
### END HIDDEN TESTS
band(0.95)

# %% nbgrader={"grade": true, "grade_id": "fit-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the second band, below 0.6.
band(0.6)

# %% nbgrader={"grade": true, "grade_id": "fit-5", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: the third band, below 0.45.
band(0.45)

# %% nbgrader={"grade": false, "grade_id": "fit-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
chosen = [12 * 8, 13 * 8 + 1, 14 * 8 + 2, 15 * 8 + 3]
flow = fit_motion(WORLD, DEALT, 0)(WORLD.video[chosen][:, :, 0], WORLD.label[chosen])
figure, axes = plt.subplots(3, 4, figsize=(5, 3.8))
for column, clip in enumerate(chosen):
    pictures = WORLD.video[clip, :, 0], lfdm.flow_to_rgb(flow[column, :, -1][None], 0.6)[0], lfdm.flow_to_rgb(WORLD.flow[clip, :, -1][None], 0.6)[0]
    for row, (picture, name) in enumerate(zip(pictures, ("first", "predicted", "true"), strict=True)):
        axes[row, column].imshow(picture.movedim(0, 2), interpolation="nearest")
        axes[row, column].set(xticks=[], yticks=[], ylabel=name if column == 0 else "")
plt.show()

# %% [markdown]
# ## 6. The table of the report (7 points, 45 minutes)
#
# **You learn** to give every figure an interval and its neighbours. **Read first** chapter 02, "The verdict", chapter 09,
# "Unseen subjects", and chapter 05, "What each part is worth".
#
# A share alone says little. Beside your model's stand three others: "real", what real clips get from the same ruler; "still", frame 0
# copied; and "broken", a model that you broke on purpose, say with the labels mixed up. A table that lacks one of them is refused.
#
# Clips of one subject resemble each other, so a bootstrap draws subjects, not clips. Sort the different names. A row of
# `draws` holds indices into them; the draw's mean is taken over all clips of all drawn subjects, and the clips of a subject that is
# drawn twice count twice. The interval reaches from the 2.5 % to the 97.5 % quantile of the draws' means (`torch.quantile`
# as it is). A model is *ahead* if the same kind of interval, of its share minus that of "still", clip by clip, lies below
# 0 as a whole; the same draws serve for both. A clip whose share is NaN in any row of the table is left out of all rows, and
# a subject of whom no clip is left is none.
#
# ![Four rows with a dot and a bar each. The real clips are at 0, mine at 0.15, still exactly at 1, and broken near 1.8.](figures/ps7_project_report.png)
#
# *What a right answer draws: mean shares with intervals. The broken model gets the labels of other clips.*

# %% nbgrader={"grade": false, "grade_id": "report", "locked": false, "schema_version": 3, "solution": true, "task": false}
def report(scores: dict[str, Tensor], subject: list[str], draws: Tensor) -> dict[str, dict]:
    """The table: for every model the mean share, its interval, and whether it is ahead of a copy.

    Args:
        scores: the models' error shares by name, each (n,); "real", "still" and "broken" must be among them.
        subject: n names.
        draws: (r, s), int64, indices into the sorted different names.

    Returns:
        By name, in the given order: {"mean": ..., "low": ..., "high": ..., "ahead": True or False}, plain numbers.

    Raises:
        ValueError: "real", "still" or "broken" is missing; the message names which.
    """
    ### BEGIN SOLUTION
    missing = [name for name in ("real", "still", "broken") if name not in scores]
    if missing:
        raise ValueError(f"the table lacks {', '.join(missing)}")
    good = ~torch.stack(list(scores.values())).isnan().any(dim=0)
    left = [name for name, is_good in zip(subject, good.tolist(), strict=True) if is_good]
    names = sorted(set(left))
    owner = torch.tensor([names.index(name) for name in left])
    times = (draws[:, :, None] == owner).sum(dim=1).double()  # (r, clips)

    def interval(values):
        means = (times @ values[good].double()) / times.sum(dim=1)
        return torch.quantile(means, 0.025).item(), torch.quantile(means, 0.975).item()

    table = {}
    for name, values in scores.items():
        low, high = interval(values)
        ahead = interval(values - scores["still"])[1] < 0
        table[name] = {"mean": values[good].mean().item(), "low": low, "high": high, "ahead": ahead}
    return table
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "report-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: the form of the table, and that it is refused without its neighbours.
VERDICT = "chapter 02, 'The verdict'"


def subjects_of(counts):
    return [name for name, count in counts.items() for _ in range(count)]


def draws_of(seed, rows, subjects, columns=None):
    return (drawn(seed, rows, columns or subjects) * subjects).long()


def some_scores(seed, n):
    still = torch.ones(n)
    return {"mine": 0.2 + drawn(seed, n), "real": 0.1 * drawn(seed + 1, n), "still": still, "broken": 1.5 + drawn(seed + 2, n)}


def refused(lacking):
    scores = {name: value for name, value in some_scores(0, 4).items() if name not in lacking}
    try:
        report(scores, list("aabb"), draws_of(0, 20, 2))
    except ValueError as error:
        named = [name for name in ("real", "still", "broken") if name in str(error)]
        hold(named, list(lacking), what="what the ValueError names as missing")
        return
    except KeyError as error:
        raise AssertionError(f"a KeyError, {error}, where a ValueError should name what is missing: {VERDICT}") from None
    raise AssertionError(f"a table without {', '.join(lacking)} was made; its other rows have nothing to be compared with: {VERDICT}")


table = report(some_scores(0, 4), list("aabb"), draws_of(0, 20, 2))
kinds = {name: sorted(row) if isinstance(row, dict) else row for name, row in table.items()} if isinstance(table, dict) else table
hold(kinds, dict.fromkeys(some_scores(0, 4), ["ahead", "high", "low", "mean"]), what="the rows of the table")
refused(["broken"])
### BEGIN HIDDEN TESTS
refused(["real"])
refused(["still", "broken"])
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "report-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: means and intervals, where all subjects have equally many clips.
### BEGIN HIDDEN TESTS
def resampled(values, subject, draws, by="clips"):
    """The means of the draws, by lists of clips."""
    names = sorted({name for name, value in zip(subject, values.tolist(), strict=True) if not math.isnan(value)})
    means = []
    for row in draws.tolist():
        clips = [[v for v, n in zip(values.tolist(), subject, strict=True) if n == names[i] and not math.isnan(v)] for i in (set(row) if by == "once" else row)]
        if by == "subjects":
            means.append(sum(sum(c) / len(c) for c in clips) / len(clips))
        else:
            means.append(sum(map(sum, clips)) / sum(map(len, clips)))
    return torch.tensor(means, dtype=torch.float64)


def ends(means, low=0.025):
    return {"low": torch.quantile(means, low).item(), "high": torch.quantile(means, 1 - low).item()}


def normal(means):
    return {"low": (means.mean() - 1.96 * means.std()).item(), "high": (means.mean() + 1.96 * means.std()).item()}


APART = "chapter 09, 'Unseen subjects'"


### END HIDDEN TESTS
scores = some_scores(3, 8)
table = report(scores, list("abcdabcd"), torch.arange(4).expand(30, -1))  # every draw has every subject once
mine = {key: table["mine"][key] for key in ("mean", "low", "high")}
first_four = scores["mine"][:4].mean().item()
mistakes = {
    "Clips are drawn, not subjects; the indices are of the sorted names: chapter 09, 'Unseen subjects'": {**mine, "low": first_four, "high": first_four},
    "Draws that are all alike have no spread; are these of your own? Use those that are given: chapter 09, 'Unseen subjects'": mine,
}
hold(mine, dict.fromkeys(("mean", "low", "high"), scores["mine"].mean().item()), mistakes, what="the row of draws that are all alike")
### BEGIN HIDDEN TESTS
scores, subject, draws = some_scores(4, 15), [f"s{i % 5}" for i in range(15)], draws_of(5, 80, 5)
table = report(scores, subject, draws)
for name in ("mine", "broken"):
    means = resampled(scores[name], subject, draws)
    half = scores[name].std().item() / math.sqrt(15) * 1.96
    mistakes = {
        f"This is the interval to 5 % and 95 %; half of 5 % lies on each side: {VERDICT}": lambda: ends(means, 0.05),
        f"As if the means were Gaussian; quantiles are asked for: {VERDICT}": lambda: normal(means),
        f"A subject that is drawn twice counts twice: {APART}": lambda: ends(resampled(scores[name], subject, draws, "once")),
        f"This is an interval of clips that know nothing of each other; draw subjects: {APART}": lambda: {"low": scores[name].mean().item() - half, "high": scores[name].mean().item() + half},
        f"These are the lowest and the highest draw: {VERDICT}": lambda: ends(means, 0.0),
        f"Clips are drawn, not subjects: the indices are of the sorted names: {APART}": lambda: ends(scores[name].double()[draws].mean(dim=1)),
    }
    hold({key: table[name][key] for key in ("low", "high")}, ends(means), mistakes, what=f"the interval of {name!r}")
    hold(table[name]["mean"], scores[name].mean().item(), {f"The mean of the draws is not that of the clips: {VERDICT}": means.mean().item()}, what=f"the mean of {name!r}")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "report-3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: subjects with different numbers of clips, names in any order, and clips without a share.
scores, subject = some_scores(6, 4), ["b", "a", "b", "b"]
table = report(scores, subject, torch.zeros(5, 3, dtype=torch.int64))  # only the first of the sorted names
hold(table["mine"]["low"], scores["mine"][1].item(), {"The names have to be sorted; index 0 is the first of the alphabet: chapter 09, 'Unseen subjects'": scores["mine"][[0, 2, 3]].mean().item()}, what="the low end of draws of one subject")
### BEGIN HIDDEN TESTS
counts = {"z": 7, "k": 1, "b": 2, "x": 4}
scores, subject, draws = some_scores(7, 14), subjects_of(counts), draws_of(8, 60, 4)
table, means = report(scores, subject, draws), resampled(scores["mine"], subject, draws)
mistakes = {
    f"Subjects are averaged first; all clips of those drawn count alike: {APART}": lambda: ends(resampled(scores["mine"], subject, draws, "subjects")),
    f"A subject that is drawn twice counts twice: {APART}": lambda: ends(resampled(scores["mine"], subject, draws, "once")),
    f"The names have to be sorted: {APART}": lambda: ends(resampled(scores["mine"], [dict(zip("zkbx", "0123", strict=True))[n] for n in subject], draws)),
}
hold({key: table["mine"][key] for key in ("low", "high")}, ends(means), mistakes, what="the interval with subjects of 1 to 7 clips")
gap, own = torch.zeros(14), some_scores(9, 14)
gap[[2, 7]] = math.nan  # 7 is the only clip of k
holes = own | {"still": own["still"] + gap}
three = draws_of(10, 60, 3)
table = report(holes, subject, three)
right = {"mean": (own["mine"] + gap).nanmean().item(), **ends(resampled(own["mine"] + gap, subject, three))}
mistakes = {
    f"A clip that has no share in one row is left out of all: {VERDICT}": lambda: {"mean": own["mine"].mean().item(), **ends(resampled(own["mine"], subject, three))},
    f"A subject of whom no clip is left is none: {APART}": {key: table["mine"][key] for key in ("mean", "low", "high")} if abs(table["mine"]["mean"] - right["mean"]) < 1e-5 else math.nan,
}
hold({key: table["mine"][key] for key in ("mean", "low", "high")}, right, mistakes, what="the row, where two clips have no share")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "report-4", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: who is ahead of a copy. "still" is no constant here: the ruler has a flaw, so that hard clips are hard for both.
PAIRED = "chapter 05, 'What each part is worth'"
hard = torch.tensor([0.6, 0.7, 0.9, 1.0, 1.4, 1.6])
scores = {"mine": hard - 0.05, "level": hard + 0.01 * torch.tensor([1.0, -1, 1, -1, 1, -1]), "real": 0.1 * hard, "still": hard, "broken": hard + 0.5}
table = report(scores, list("aabbcc"), draws_of(11, 200, 3))
ahead = {name: bool(row["ahead"]) for name, row in table.items()}
mistakes = {
    f"The two intervals overlap, and yet every clip is better: take differences, clip by clip: {PAIRED}": {"mine": False, "level": False, "real": True, "still": False, "broken": False},
    f"The sign: a lower share is better: {PAIRED}": {"mine": False, "level": False, "real": False, "still": False, "broken": True},
}
hold(ahead, {"mine": True, "level": False, "real": True, "still": False, "broken": False}, mistakes, what="who is ahead")
### BEGIN HIDDEN TESTS
subject = subjects_of({"a": 3, "b": 3, "c": 3, "d": 3})
base = 0.8 + 0.4 * drawn(12, 12)
wins = torch.tensor([-0.3, -0.3, -0.3, -0.2, -0.2, -0.2, 0.15, 0.15, 0.15, -0.1, -0.1, -0.1])  # better on average, not for c
scores = {"often": base + wins, "sure": base - 0.01, "real": 0 * base, "still": base, "broken": base + 1}
table = report(scores, subject, draws_of(13, 300, 4))
mistakes = {
    f"Better on average is not yet ahead; the upper end has to be below 0: {VERDICT}": {"often": True, "sure": True, "real": True, "still": False, "broken": False},
    f"The two intervals overlap, and yet every clip is better: take differences, clip by clip: {PAIRED}": {"often": False, "sure": False, "real": True, "still": False, "broken": False},
}
found = {name: bool(row["ahead"]) for name, row in table.items()}
hold(found, {"often": False, "sure": True, "real": True, "still": False, "broken": False}, mistakes, what="who is ahead")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "report-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
val = [i for i, word in enumerate(DEALT) if word == "val"]
first, label, truth = WORLD.video[val][:, :, 0], WORLD.label[val], WORLD.flow[val]
predict = fit_motion(WORLD, DEALT, 0)
flows = {"mine": predict(first, label), "real": truth, "still": 0 * truth, "broken": predict(first, (label + 1) % 4)}
draws = torch.randint(4, (1000, 4), generator=torch.Generator().manual_seed(0))
table = report({name: error_share(flow, truth) for name, flow in flows.items()}, [WORLD.subject[i] for i in val], draws)
figure, ax = plt.subplots(figsize=(5, 1.9))
for place, row in enumerate(table.values()):
    ax.plot([row["low"], row["high"]], [place, place], color=viz.COLOURS["black"], linewidth=2)
    ax.plot(row["mean"], place, "D" if row["ahead"] else "o", color=viz.COLOURS["blue"])
ax.set(yticks=range(4), yticklabels=table, xlabel="error share (diamond: ahead of a copy)", ylim=(3.5, -0.5))
plt.show()

# %% [markdown]
# ## 7. The worst, not the prettiest (5 points, 20 minutes)
#
# **You learn** to choose what you show by a rule. **Read first** chapter 05, "Failure gallery", and chapter 09, "Failure
# gallery".
#
# A gallery that a hand has picked shows what the hand liked. Choose by rule: the clips with the highest scores, worst first, but at
# most two of each label, so that one hopeless label does not hide what goes wrong with the others. Of equal scores the lower
# index comes first. An infinite score is the worst there is, and NaN is no score: such a clip is not shown. If there are
# fewer clips than asked for, all that may be shown are.
#
# ![Three clips with the highest share, in three columns: the first frame, the predicted and the true flow, with their shares above.](figures/ps7_project_worst.png)
#
# *What a right answer draws: the three worst val clips of the model of exercise 5. What do they have in common?*

# %% nbgrader={"grade": false, "grade_id": "worst", "locked": false, "schema_version": 3, "solution": true, "task": false}
def worst(scores: Tensor, label: Tensor, count: int) -> list[int]:
    """Indices of the clips to be shown, worst first.

    Args:
        scores: (n,), error shares; infinite ones and NaN may be among them.
        label: (n,), int64.
        count: how many at most.
    """
    ### BEGIN SOLUTION
    values, shown = scores.tolist(), []
    for i in sorted((i for i, v in enumerate(values) if not math.isnan(v)), key=lambda i: (-values[i], i)):
        if len(shown) < count and sum(label[j] == label[i] for j in shown) < 2:
            shown.append(i)
    return shown
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "worst-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: worst first, where every label occurs once.
GALLERY = "chapter 05, 'Failure gallery'"


def numbers(found):
    return [int(i) if isinstance(i, int) or (isinstance(i, Tensor) and i.numel() == 1) else i for i in found] if isinstance(found, list | tuple | Tensor) else found


mistakes = {f"The best are shown, or the sign is wrong: {GALLERY}": [2, 0, 3], f"The worst comes first: {GALLERY}": [4, 3, 1][1:] + [4], f"These are the first clips, or shown in the order of their indices: {GALLERY}": [1, 3, 4]}
found = numbers(worst(torch.tensor([0.3, 0.9, 0.1, 0.5, 0.7]), torch.arange(5), 3))
hold(found, [1, 4, 3], mistakes, what="the clips")
### BEGIN HIDDEN TESTS
scores = drawn(21, 12)
right = sorted(range(12), key=lambda i: -scores[i].item())[:5]
hold(numbers(worst(scores, torch.arange(12), 5)), right, {f"The best are shown, or the sign is wrong: {GALLERY}": sorted(range(12), key=lambda i: scores[i].item())[:5]}, what="the clips")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "worst-2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# 2 points: at most two of each label.
many = torch.tensor([0, 0, 0, 1, 0, 1, 1, 2])
falling = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
mistakes = {
    f"More than two of one label; it hides the others: {GALLERY}": [0, 1, 2, 3],
    f"Two of a label may be shown, this is one: {GALLERY}": [0, 3, 7],
    f"The limit comes after the choice, so too few are left; go on to the next: {GALLERY}": [0, 1, 3],
    f"Label by label; the worst comes first, whatever its label: {GALLERY}": [0, 3, 7, 1],
}
hold(numbers(worst(falling, many, 4)), [0, 1, 3, 5], mistakes, what="the clips of few labels")
### BEGIN HIDDEN TESTS
def by_removal(scores, label, count):
    """Take the worst that is left; after two of a label, all others of it go."""
    left, shown = {i: v for i, v in enumerate(scores.tolist()) if v == v}, []
    while left and len(shown) < count:
        i = max(left, key=lambda j: (left[j], -j))
        shown.append(i)
        del left[i]
        if sum(label[j].item() == label[i].item() for j in shown) == 2:
            left = {j: v for j, v in left.items() if label[j].item() != label[i].item()}
    return shown


for seed, count in ((31, 4), (33, 6), (35, 5)):
    scores, label = drawn(seed, 20), (4 * drawn(seed + 1, 20)).long()
    order = sorted(range(20), key=lambda i: -scores[i].item())
    firsts = [i for n, i in enumerate(order) if label[i] not in label[order[:n]]]
    seconds = lambda few: [i for n, i in enumerate(few) if sum(label[j] == label[i] for j in few[:n]) < 2]
    mistakes = {
        f"More than two of one label; it hides the others: {GALLERY}": order[:count],
        f"Two of a label may be shown, this is one: {GALLERY}": firsts[:count],
        f"The limit comes after the choice, so too few are left; go on to the next: {GALLERY}": seconds(order[:count]),
        f"The worst comes first, whatever its label: {GALLERY}": sorted(by_removal(scores, label, count)),
    }
    hold(numbers(worst(scores, label, count)), by_removal(scores, label, count), mistakes, what="the clips of four labels")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "worst-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: infinite scores, and none.
odd = torch.tensor([0.4, math.nan, 0.6, math.inf, 0.5])
mistakes = {
    f"A clip without a score can be neither good nor bad, it is not shown: {GALLERY}": [1, 3, 2],
    f"Infinite is the worst there is, and it is shown: {GALLERY}": [2, 4, 0],
}
hold(numbers(worst(odd, torch.arange(5), 3)), [3, 2, 4], mistakes, what="the clips")
### BEGIN HIDDEN TESTS
odd = torch.tensor([math.nan, 2.0, math.nan, 1.0, math.inf])
mistakes = {f"A clip without a score can be neither good nor bad, it is not shown: {GALLERY}": [4, 1, 3, 0], f"A clip without a score is not shown: {GALLERY}": [4, 1, 3, 0, 2], f"It takes the place of a label's clips, and is not shown: {GALLERY}": [4, 3]}
hold(numbers(worst(odd, torch.tensor([1, 1, 1, 0, 1]), 5)), [4, 1, 3], mistakes, what="the clips, of which two have no score")
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "worst-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# 1 point: equal scores, and fewer clips than asked for.
equal = torch.tensor([0.5, 0.7, 0.7, 0.5, 0.7])
hold(numbers(worst(equal, torch.arange(5), 4)), [1, 2, 4, 0], {f"Of equal scores the lower index comes first: {GALLERY}": [4, 2, 1, 3]}, what="the clips with equal scores")
### BEGIN HIDDEN TESTS
same = torch.ones(40)
hold(numbers(worst(same, torch.arange(40) % 3, 9)), [0, 1, 2, 3, 4, 5], {f"Of equal scores the lower index comes first: {GALLERY}": [39, 38, 37, 36, 35, 34]}, what="the clips with equal scores, of three labels,")
hold(numbers(worst(torch.tensor([0.1]), torch.tensor([3]), 4)), [0], what="the one clip that there is")
### END HIDDEN TESTS

# %% nbgrader={"grade": false, "grade_id": "worst-look", "locked": false, "schema_version": 3, "solution": false, "task": false}
val = [i for i, word in enumerate(DEALT) if word == "val"]
flow = fit_motion(WORLD, DEALT, 0)(WORLD.video[val][:, :, 0], WORLD.label[val])
shares = error_share(flow, WORLD.flow[val])
figure, axes = plt.subplots(3, 3, figsize=(4, 4.2))
for column, i in enumerate(worst(shares, WORLD.label[val], 3)):
    pictures = WORLD.video[val[i], :, 0], lfdm.flow_to_rgb(flow[i, :, -1][None], 0.6)[0], lfdm.flow_to_rgb(WORLD.flow[val[i], :, -1][None], 0.6)[0]
    for row, (picture, name) in enumerate(zip(pictures, ("first", "predicted", "true"), strict=True)):
        axes[row, column].imshow(picture.movedim(0, 2), interpolation="nearest")
        axes[row, column].set(xticks=[], yticks=[], ylabel=name if column == 0 else "")
    axes[0, column].set_title(f"{LABELS[WORLD.label[val[i]]]}, {shares[i]:.2f}", fontsize=9)
plt.show()

# %% [markdown]
# ## 8. The proposal (4 points, 30 minutes)
#
# **You learn** to fix what would count as success before you see a figure. Write at most one page, 350 words, in the cell
# below, *before* you train anything on your clips or your world:
#
# * **Question.** One sentence that a figure can answer with no, and what you would do then.
# * **Data.** Where the clips come from, whether you may use and show them, how many people and labels, and what the card
#   of exercise 3 says. Who must not be in two splits? `from_folder` reads clips of your own (about five people with four
#   clips of three labels are a start); its flow is estimated, so say how you will check it, for instance against 20 points
#   that you follow by hand. Without clips of your own, take the drawn world with a change of your own: a label, a
#   background that moves, a cause of motion that the picture does not tell.
# * **Measure.** Which ruler, which opponents, which broken model, and the number from which you call it a success.
# * **Prediction.** The figure that you expect, with a range; and the failure that you expect.

# %% [markdown] nbgrader={"grade": true, "grade_id": "proposal", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# *One possible proposal.* **Question.** Does a model that knows where the disc is predict motion better than copying
# frame 0 when the background moves, too? If not, I separate the two motions first. **Data.** The drawn world, in which
# the background drifts to the left by 0.1 in all clips; 20 subjects, four labels, 160 clips, dealt by `deal` with seed 0:
# 12, 4 and 4 subjects, no leak, no copied pair, 8 clips of each label in val and in test. It is drawn by code, so it may
# be shown. Its flow is exact but for pixels that are uncovered at the border. **Measure.** Mean error share over test
# clips with a bootstrap over subjects; beside it the real clips, the copy, the label's mean, and my model with the labels
# moved by one. Success: the upper end below 0.6. I choose on val, and look at test once. **Prediction.** 0.35, between 0.25
# and 0.5, since the drift is in most pixels and easy to learn. I expect the worst clips to be small discs that swell:
# their true motion is short, and the edge is most of it.

# %% [markdown]
# ## 9. The report (12 points, 60 minutes)
#
# **You learn** to say what you found, with what speaks against it. Write at most 900 words and three figures in the cell
# below (attach or draw them in cells behind it). The rubric has six criteria; each gives 0, 1 or 2 points.
#
# | criterion | 2 points | 1 point | 0 points |
# |---|---|---|---|
# | Verdict first | the first sentence answers the question of the proposal, with a figure and its interval | an answer, without its interval | none, or another question |
# | Data and split | the card's counts, who was dealt where, leaks looked for and what was found | counts or split alone | "80 % for training" |
# | Table | own model, real clips, copy, label's mean and a broken model, with intervals over subjects, test used once | one row or the intervals are missing | a figure alone |
# | Predicted and found | the proposal's figure beside the one that came, and why they differ, with a run that isolates the reason | both, the reason is guessed | no prediction, or changed afterwards |
# | Failures | the worst clips by a rule, a cause for them, and how the cause was checked | the worst by a rule, no cause | the prettiest |
# | Limits and repetition | what the figures do not say, seeds and times, enough to be run again by somebody else | one of the two | none |
#
# A disappointing figure costs nothing. A claim that goes further than its figure loses the points of its criterion.

# %% [markdown] nbgrader={"grade": true, "grade_id": "account", "locked": false, "points": 12, "schema_version": 3, "solution": true, "task": false}
# *See the rubric beside this set: it says how to mark a report in ten minutes, with an example of every level.*
