# ---
# jupyter:
#   book:
#     equals:
#       composed_v1: lfdm_lite.control.composed
#       exaggerated_v1: lfdm_lite.control.exaggerated
#       only_v3: lfdm_lite.control.only
#       pulled_v1: lfdm_lite.control.pulled
#       retimed_v1: lfdm_lite.control.retimed
#       scaled_v3: lfdm_lite.control.scaled
#       windowed_v1: lfdm_lite.control.windowed
#     goals:
#     - make a generated motion weaker, later, slower or smaller, and mix labels
#     - drag a point of the picture to where you want it
#     - measure what was asked against what is seen, with a ruler that took no part
#     - say what an explicit flow can control that a label cannot, and where that breaks
#     minutes: 45
#     minutes_all: 65
#     peak_mb: 610
#     prerequisites:
#     - chapter 07, for guidance
#     - chapter 09, for how a motion is drawn
#     seconds: 18
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 14 Control: what is asked, and what is seen
#
# A label is a coarse wish. You may want a *little* surprise, a smile that begins at frame 6, a mouth that moves in a
# face that does not, something halfway between fear and surprise, or this corner of the mouth to end exactly there.
# In this chapter you write all of these, most of them in five lines, and then you measure whether you got what you
# asked for.
#
# The verdict first. *When* is obeyed best: onsets are read with a correlation of 0.97 with what was asked, 0.7 frames
# late on average whatever was asked; durations are missed by a quarter of their range. *How strong* is obeyed with a
# correlation of 0.90 to 0.92, and with errors as large as those of the ruler that says so. *Where* is kept to 91 % by a
# border that is soft and fades inwards. A dragged point ends 1.9 pixels from where it was wanted, 4.2 without a wish. A
# turn of the head is obeyed by a third, and by two thirds if that wish alone is exaggerated. And three ways to mix two
# labels, which look very different as code, cannot be told apart by where they put the face.
#
# **At the end you can**
#
# * make a generated motion weaker, later, slower or smaller, and mix labels;
# * drag a point of the picture to where you want it;
# * measure what was asked against what is seen, with a ruler that took no part;
# * say what an explicit flow can control that a label cannot, and where that breaks.
#
# **You need** [chapter 7](07_samplers.ipynb) for guidance and [chapter 9](09_latent_flow_diffusion.ipynb) for
# how a motion is drawn. **It takes** 45 minutes to read, and about 18 seconds and 610 MB of memory to run on
# two CPU cores. That is a first reading, without the sections that are marked; all of it, with the code, takes
# about 65 minutes, and the exercises come on top.
#
# ![The block diagram of the whole system, drawn pale; two places are marked: the many small denoising steps, and the arrow from the diffusion model to the warp, on which flow and occlusion travel.](../assets/figures/road_14.svg)
#
# *Where you are: on the arrow between the two stages, where the motion can be read and changed, and inside the
# denoising steps, where it can be steered while it is drawn.*

# %%
import lfdm_lite as lfdm  # before torch, whose threads then keep no core while they wait

lfdm.check_environment()  # says so where a version is not one that the book was run with
import json
import math
from collections.abc import Callable

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from lfdm_lite import Motion, control, viz
from lfdm_lite.data import Faces
from lfdm_lite.evaluation.rulers.faces import LANDMARKS, Ruler, true_clip
from lfdm_lite.samplers import guided

viz.use_style()

# %%
RUNS = lfdm.asset() / "runs" / "control"
MEASURED = json.loads((RUNS / "measured.json").read_text())
HALF, STEPS, SEED = 32, 10, 3  # pixels in half a picture: a flow of 1; sampling steps; of the running example

model = lfdm.LFDM.from_pretrained(lfdm.asset("checkpoints/faces64"))
ruler = Ruler.load(RUNS / "ruler")
PEOPLE = Faces("test")
picture = PEOPLE[10]["video"][:, :1].movedim(1, 0)  # frame 0 of one test person, (1, 3, 64, 64)

# %% [markdown]
# ## The running example, and a ruler
#
# One person whom no network has seen, and one motion: surprise. Guidance is 1 in this chapter unless it is said, so
# that nothing is exaggerated but by our own wish. `draw_motion` is the middle of `LFDM.generate`, without the painting:
# it takes a denoiser and gives back the motion, so that you can change it before it is decoded.

# %%
def drawn(label: str, strength: float = 1.0, turn: float = math.nan, guidance_scale: float = 1.0) -> Motion:
    """The motion that the model draws for the running picture."""
    told, index = torch.tensor([[strength, turn]]), torch.tensor([model.labels.index(label)])
    denoise = guided(model.unet, features, index, guidance_scale, told)
    return control.draw_motion(model, denoise, 1, steps=STEPS, seed=SEED)


@torch.no_grad()
def decoded(motion: Motion) -> Tensor:
    """The clip (1, 3, T, H, W) that a motion of the running picture makes."""
    return model.autoencoder.decode(picture, motion).clamp(0, 1)


with torch.no_grad():
    features = model.autoencoder.encode(picture)
surprise, fear = drawn("surprise"), drawn("fear")
video = decoded(surprise)
assert surprise.flow.shape == (1, 2, 16, 32, 32) and video.shape == (1, 3, 16, 64, 64)
print("flow", tuple(surprise.flow.shape), "occlusion", tuple(surprise.occlusion.shape), "video", tuple(video.shape))
viz.player(video[0], scale=4, alt="A drawn face that is neutral at first and then looks surprised: brows up, mouth open")

# %% [markdown]
# *The clip that all of this chapter changes. Flow and map have half of the picture's size.*
#
# How strong is that? To say it we need a ruler that reads decoded frames and nothing else, and that took no part in
# making them. The flow is no such ruler: we are about to scale it, and it would agree with us whatever the decoder
# painted.
#
# So a small network was trained on *drawn* clips of training people, of which the renderer knows everything: where
# twelve landmarks are, how far the expression has come (its *level*: 0 at rest, its strength at the height), and how
# the head is turned. It never saw a generated clip. First you ask how far the ruler itself errs, on test people.

# %%
OWN = MEASURED["ruler"]
print(f"{OWN['clips']} real test clips; landmarks {OWN['landmarks_px']:.2f} pixels off on average")
for name in ("strength", "onset", "duration", "turn"):
    row = [OWN[f"{name}_{what}"] for what in ("error", "worst", "correlation")]
    print(f"{name:9} mean error {row[0]:.3f}, worst {row[1]:.2f}, correlation with the truth {row[2]:.3f}")
assert OWN["strength_correlation"] > 0.85 and OWN["turn_correlation"] > 0.98 and OWN["landmarks_px"] < 1

# %% mystnb={"image": {"alt": "Two faces of one person, left sad, right surprised. On the left one circles and crosses mark brows, eyes, nose, mouth and chin, each cross near its circle. On the right one crosses alone."}}
real, true = true_clip(PEOPLE, 10)
read = ruler.measure(real[None])
of_ours = ruler.measure(video)
shown = torch.cat([real[:, 15], video[0, :, 15]], dim=-1)
big = F.interpolate(shown[None], scale_factor=5, mode="nearest")[0]
fig, ax = plt.subplots(figsize=(8, 4.1))
ax.imshow(big.permute(1, 2, 0))
for k, (places, style) in enumerate(((true, "o"), (read, "x"), (of_ours, "x"))):
    x, y = ((places.landmarks[0, 15] + 1) * 160).unbind(1)
    ax.plot(x + 320 * (k == 2), y, style, color="k", markersize=9, fillstyle="none", markeredgewidth=1.6)
ax.set(xticks=[], yticks=[])
plt.show()
error = HALF * (read.landmarks - true.landmarks).norm(dim=-1).mean()
print(f"this real clip: landmarks {error:.1f} pixels off, strength {read.strength.item():.1f} read")
assert error < 1.5

# %% [markdown]
# *Left a real clip's last frame, in which the same person is sad; right our generated one. Circles: where the renderer has the landmarks. Crosses:
# where the ruler reads them. Of the generated face nobody knows the truth; the ruler's reading is all there is.*

# %% [markdown]
# ## How strong
#
# A backward flow $f$ says how far away each pixel looks. Half of that is half of the motion. **Version 1** scales the
# flow by a strength $\Gamma$ and leaves the map alone:
#
# $$f \mapsto \Gamma f$$

# %%
def scaled_v1(motion: Motion, strength: float) -> Motion:
    return Motion(strength * motion.flow, motion.occlusion)


still = scaled_v1(surprise, 0)
kept = decoded(Motion(0 * surprise.flow, torch.ones_like(surprise.occlusion)))
gap = [(255 * (decoded(motion) - kept)[0, :, 15].abs().mean()).item() for motion in (still, surprise)]
assert gap[0] > 0.3
print(f"strength 0, in 255ths: {gap[0]:.1f} from rest in frame 15, the whole motion {gap[1]:.1f}")

# %% [markdown]
# At strength 0 nothing moves, and yet the picture is not at rest: the map still says that the inside of the mouth is
# to be painted, and the decoder paints. A weaker motion *hides* less, too. The map cannot say which part of it is
# still hidden at half the way. **Version 2** shares the doubt: at strength $\Gamma$ about the share $\Gamma$ of what
# the full motion hides is hidden. Above 1 more is hidden than the map knows of, and it stays as it is.
#
# $$f \mapsto \Gamma f, \qquad m \mapsto 1 - \min(\Gamma, 1)\, (1 - m)$$

# %%
def scaled_v2(motion: Motion, strength: float) -> Motion:
    return Motion(strength * motion.flow, 1 - min(strength, 1) * (1 - motion.occlusion))


assert_close(scaled_v2(scaled_v2(surprise, 0.5), 0.5), scaled_v2(surprise, 0.25))
rest = scaled_v2(surprise, 0)
assert not rest.flow.any() and bool((rest.occlusion == 1).all())
hides = [1 - surprise.occlusion[:, :, k].mean().item() for k in (0, 15)]
print(f"hidden in frame 0, in which nothing has moved: {hides[0]:.1%}; in frame 15: {hides[1]:.1%}")
assert 0.2 * hides[1] < hides[0] < hides[1]

# %% [markdown]
# Rest is not where version 2 has it. In frame 0 nothing has moved, nothing is hidden, and the model's map is below 1
# all the same: there are places that it would rather paint than fetch, whatever happens. **Version 3** therefore begins
# at the clip's own map of rest, $m_0$, that of frame 0. What grows with the motion is only what is hidden beyond that,
# and above 1 it goes on growing.
#
# $$f \mapsto \Gamma f, \qquad m \mapsto m_0 + \Gamma\, (m - m_0), \quad \text{kept from 0 to 1}$$

# %%
def scaled_v3(motion: Motion, strength: float) -> Motion:
    rest = motion.occlusion[:, :, :1]
    return Motion(strength * motion.flow, (rest + strength * (motion.occlusion - rest)).clamp(0, 1))


for strength in (0, 0.3, 1, 1.5):
    assert_close(scaled_v3(surprise, strength), control.scaled(surprise, strength))  # the library's
assert_close(scaled_v3(scaled_v3(surprise, 0.5), 0.5), scaled_v3(surprise, 0.25))
away = [(decoded(way(surprise, 0))[0, :, 15] - picture[0]).square().mean() for way in (scaled_v2, scaled_v3)]
quality = [-10 * error.log10().item() for error in away]
print(f"at rest, from the given picture: version 2 {quality[0]:.1f} dB, version 3 {quality[1]:.1f}")
assert quality[1] > quality[0] + 0.5
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
reads = {s: ruler.measure(decoded(scaled_v3(surprise, s))).strength.item() for s in STRENGTHS}
print("asked: read", {s: round(value, 1) for s, value in reads.items()})
assert list(reads.values())[0] < 0.5 < list(reads.values())[4]
viz.dial(
    lambda strength: F.interpolate(decoded(control.scaled(surprise, strength))[0, :, 15][None], scale_factor=4)[0],
    alt="The last frame of the surprised face; with more strength the brows are higher and the mouth is wider open",
    strength=list(STRENGTHS),
)

# %% [markdown]
# *Frame 15 at seven strengths of one and the same motion. Turn the dial back to 0: that is the picture as the
# auto-encoder keeps it.*
#
# The other way is to *tell* the model. It was trained with strengths from 0.5 to 1.45 beside the label (chapter 8
# shows where the number goes in), and draws another motion for each. The third way does both: tell what can be told,
# scale by what is left. `lfdm generate --strength` does that, with guidance 1.5.
#
# Which one gives what was asked? 48 pictures of test people, seven strengths (five for telling), read by the ruler.

# %%
WAYS = {"told": "told", "scaled": "scaled from 1", "both_guided": "both, guidance 1.5"}
WAYS_TOO = {"told_guided": "told, guidance 1.5", "both": "told, the rest scaled"}
rows = MEASURED["strength"]
for way, title in (WAYS | WAYS_TOO).items():
    found, inside = rows[way]["all"], rows[way]["as_told"]
    span = f"{min(map(float, rows[way]['by_strength'])):g} to {max(map(float, rows[way]['by_strength'])):g}"
    error = f"mean error {found['error']:.2f}, {100 * found['error_of_range']:.0f} % of the range"
    told = f"correlation {found['correlation']:.2f} (from 0.5 to 1.45 {inside['correlation']:.2f}), {error}"
    print(f"{title:22} {span:11} {told}, slope {found['slope']:.2f}")
print(f"the ruler's own mean error on real clips: {OWN['strength_error']:.2f}")
print("real clips, true: read", {s: round(value, 2) for s, value in OWN["strength_curve"].items()})
good = [rows[way]["all"] for way in ("scaled", "both_guided")]
assert rows["scaled"]["all"]["correlation"] > 0.9 > rows["told"]["all"]["correlation"] + 0.2
assert max(found["error"] for found in good) < OWN["strength_error"] + 0.12 * 1.5

# %% mystnb={"image": {"alt": "Three plots of read against asked strength, grey dots for clips and a black line for their mean, with a dotted diagonal. Told rises evenly and too slowly; scaled stays low up to 0.5, then rises steeply; both together is nearest to the diagonal, and every way ends between 1.1 and 1.2."}}
fig, axes = plt.subplots(1, 3, figsize=(11, 3.8), sharey=True)
for ax, (way, title) in zip(axes, WAYS.items(), strict=True):
    by = {float(s): row["read"] for s, row in rows[way]["by_strength"].items()}
    for s, values in by.items():
        ax.plot([s] * len(values), values, ".", color="0.65")
    ax.plot(list(by), [sum(values) / len(values) for values in by.values()], "ko-")
    ax.plot([0, 1.5], [0, 1.5], ":", color="0.4")
    ax.set(title=title, xlabel="strength asked")
axes[0].set_ylabel("strength read")
plt.show()
assert sum(len(row["read"]) for row in rows["both_guided"]["by_strength"].values()) == 7 * MEASURED["measured"]["clips"]

# %% [markdown]
# *A dot is a clip, black is the mean of 48, dotted is what was asked for.*
#
# Read the middle plot first. Half of the motion does not look like half of the expression: it is read as a third, and a
# quarter of it as hardly anything.
#
# Told 0.5, the model draws a motion that was learned as one of 0.5, and 0.55 is what is read. But it cannot be told less
# than it has seen, and it answers too weakly to large numbers: asked for 1.45 it gives 1.1, with guidance 1.2. Both
# together, with guidance, err least: 0.17 on average, no more than the ruler errs on real clips, with a correlation of
# 0.90. Scaled alone has 0.19 and 0.92. Within the told range alone the order is less sure (correlation 0.63 to 0.82), and
# part of that is the ruler's own scatter of 0.18. Identity suffers little: the distance of colours from the picture
# grows from 0.04 at rest to 0.08 at the strongest.
#
# ### Why half looks like less
#
# *May be skipped on a first reading.*
#
# Is it the ruler, the decoder, or the scaling? Let 24 test people be drawn at six strengths, all else alike, let stage one
# look at the clips, and paint each clip with the motion that was seen in it, or with one that was put together.

# %%
seen = MEASURED["seen"]["by_strength"]
PAINTED = {"real": "as it was drawn", "own": "painted with its own motion", "scaled": "with that of strength 1, scaled"}
PAINTED |= {"scaled_flow_own_map": "scaled flow, its own map", "own_flow_scaled_map": "its own flow, scaled map"}
PAINTED |= {"carried": "scaled, and vectors carried along"}
print(f"{'asked':34}" + "  ".join(f"{float(s):.2f}" for s in seen))
for way, title in PAINTED.items():
    print(f"{title:34}" + "  ".join(f"{row[way]:.2f}" for row in seen.values()))
for way, title in {"own": "hidden at the end, by its own map", "scaled": "and by the scaled one"}.items():
    print(f"{title:34}" + "  ".join(f"{row[f'hidden_{way}']:.1%}" for row in seen.values()))
half = seen["0.5"]
assert abs(half["own"] - half["real"]) < 0.05 < half["own"] - half["scaled"] - 0.1
assert half["carried"] < half["scaled"] + 0.02 < min(half["scaled_flow_own_map"], half["own_flow_scaled_map"])

# %% [markdown]
# *Strengths that the ruler reads, means of 24 clips.*
#
# Ruler and decoder are not to blame: painted with its own motion, a clip of strength 0.5 is read as 0.69, drawn as 0.67.
# The motion of strength 1, scaled, gives 0.45. Put back either part, its own map or its own flow, and half of the gap closes:
# so both are at fault. A mouth that is half open hides nearly as much as an open one, which a share of what is hidden
# cannot know; and a weak clip's flow is no small copy of a strong one's.
#
# We had suspected something else. A backward flow lives at the pixels of the *moved* face, so a halved vector stands at
# the wrong place, and could be carried to where its pixel is at half of the way. The last line of the table does that
# and is read no better, 0.44. So the library does not.

# %% [markdown]
# ## When
#
# A motion has a course: it rests, rises, and holds or relaxes. Let the *level* of a clip be the mean length of its
# flow, frame by frame. The straight line through the moments at which it first passes a quarter and three quarters of
# its maximum has two ends: the *onset* $k_{\text{on}}$, and the onset plus the *duration* $k_{\text{rise}}$. The
# library finds both (`control.timing`), and you move and stretch the clip's own course so that it has those that you
# want. Frame $k$ shows what the clip showed at
#
# $$k' = k'_{\text{on}} + (k - k_{\text{on}})\, \frac{k'_{\text{rise}}}{k_{\text{rise}}}$$
#
# where the primes are the clip's own. Between two frames flow and map are interpolated, before the first is rest, and
# the last is held.

# %%
def retimed_v1(motion: Motion, onset: float, duration: float) -> Motion:
    own_onset, own_duration = (float(found) for found in control.timing(motion))
    count, rest, frames = motion.flow.shape[2], motion.occlusion[:, :, :1], {"flow": [], "more": []}
    for k in range(count):
        at = min(own_onset + (k - onset) * own_duration / duration, count - 1)
        before = math.floor(at)
        for name, maps in (("flow", motion.flow), ("more", motion.occlusion - rest)):
            frame = lambda i, maps=maps: maps[:, :, i] if 0 <= i < count else 0 * maps[:, :, 0]
            frames[name].append((before + 1 - at) * frame(before) + (at - before) * frame(before + 1))
    flow, more = (torch.stack(maps, dim=2) for maps in frames.values())
    return Motion(flow, rest + more)


own_onset, own_duration = (found.item() for found in control.timing(surprise))
assert_close(retimed_v1(surprise, own_onset, own_duration), surprise, rtol=0, atol=1e-4)
for onset, duration in ((0, 3), (4, 4), (7, 2.5)):
    assert_close(retimed_v1(surprise, onset, duration), control.retimed(surprise, onset, duration), rtol=0, atol=1e-4)
print(f"as it was drawn: begins at frame {own_onset:.1f}, rises for {own_duration:.1f} frames")

# %%
def level_picture(onset: float, duration: float) -> plt.Figure:
    motion = control.retimed(surprise, onset, duration)
    clip = decoded(motion)
    level = ruler.measure(clip).level[0]
    strip = torch.cat([clip[0, :, k] for k in (0, 5, 10, 15)], dim=-1)
    fig, (top, bottom) = plt.subplots(2, 1, figsize=(6, 3.4), height_ratios=(1, 1.2))
    top.imshow(strip.permute(1, 2, 0))
    top.set(xticks=[], yticks=[])
    bottom.plot(level, "ko-", markersize=4)
    bottom.axvspan(onset, onset + duration, facecolor="#f4e3c3", hatch="//", edgecolor="#9a6b14", alpha=0.7)
    bottom.set(xlabel="frame", ylabel="level read", ylim=(-0.2, 1.5))
    return fig


late = ruler.measure(decoded(control.retimed(surprise, 7, 4))).onset.item()
early = ruler.measure(decoded(control.retimed(surprise, 1, 4))).onset.item()
print(f"asked for onset 1 and 7, the ruler reads {early:.0f} and {late:.0f}")
assert 4 < late - early < 8
viz.dial(
    level_picture,
    alt="Four frames of a face that becomes surprised, and the level that the ruler reads, rising in the hatched frames",
    onset=[1.0, 5.0, 9.0],
    duration=[2.0, 5.0],
)

# %% [markdown]
# *Above frames 0, 5, 10 and 15, below what the ruler reads in all of them. Hatched: when it was asked to rise. It rises there, and a
# little later.*

# %%
timing = MEASURED["timing"]
for name in ("onset", "duration"):
    found, other = timing[name]["all"], "duration" if name == "onset" else "onset"
    told = f"correlation {found['correlation']:.3f}, mean error {found['error']:.2f} frames"
    print(f"{name:9} ({other} {timing[name]['other']:g}): {told}, {100 * found['error_of_range']:.0f} % of the range")
print(f"the ruler's own: onset {OWN['onset_error']:.2f} frames, duration {OWN['duration_error']:.2f}")
assert timing["onset"]["all"]["correlation"] > 0.95 and timing["onset"]["all"]["error_of_range"] < 0.12
assert timing["duration"]["all"]["error_of_range"] > 0.12  # a miss

# %% [markdown]
# Onsets are where they were asked to be, up to a constant: on average they are read 0.7 frames late, whatever was
# asked. That may be, for the course is found in the flow, in which the head's sway counts too, and is read in the
# expression. In single clips the sway wins: the worst onset is seven frames off.
#
# Durations are a miss. Two frames asked are read as 2.8, eight as 5.3. What rises on a straight line in the flow does
# not do so in the expression. The ruler is a poor witness here, too: real clips last nearly alike, and on them its
# own durations are a frame off with hardly any correlation.

# %% [markdown]
# ## Where
#
# Only the mouth: a mask $\Omega$, 1 where things may move, 0 elsewhere, multiplies the flow and what is hidden:
#
# $$f \mapsto \Omega f, \qquad m \mapsto m_0 + \Omega\, (m - m_0)$$
#
# With a sharp mask a moving pixel stands beside one that does not move, and what lies between them tears. **Version
# 2** blurs the mask first, with a Gaussian of a pixel or two, so that the motion fades out.

# %%
def only_v1(motion: Motion, mask: Tensor) -> Motion:
    rest = motion.occlusion[:, :, :1]
    return Motion(mask * motion.flow, rest + mask * (motion.occlusion - rest))


def blurred(mask: Tensor, softness: float) -> Tensor:
    for axis, length in enumerate(mask.shape):
        pixel = torch.arange(length).float()
        weight = torch.softmax(-0.5 * ((pixel - pixel[:, None]) / softness) ** 2, dim=0)  # columns sum to 1
        mask = torch.tensordot(mask, weight, dims=([axis], [0])).movedim(-1, axis)
    return mask.clamp(max=1)


def only_v2(motion: Motion, mask: Tensor, softness: float = 1.0) -> Motion:
    return only_v1(motion, blurred(mask, softness))


mask = control.mask_of("mouth", 32, 32)
assert_close(only_v1(surprise, mask), control.only(surprise, mask, softness=0))
assert_close(only_v2(surprise, torch.ones(32, 32)), surprise)
halves = [only_v2(surprise, control.mask_of(f"{side}_half", 32, 32)).flow for side in ("left", "right")]
assert_close(halves[0] + halves[1], surprise.flow)
outside = only_v2(surprise, mask).flow.norm(dim=1)[0, 15, mask == 0].max() / surprise.flow[0, :, 15].norm(dim=0).max()
print(f"the mouth's box is {mask.mean():.0%} of the picture; beside it version 2 still moves, by {outside:.0%} of the most")

# %% [markdown]
# The two halves of version 2 sum to the whole, which is pleasant, and it moves things outside of the box, which is not
# what "only the mouth" says. **Version 3** lets the motion fade *inwards*. Where the blurred mask $\bar\Omega$ is one
# half, at a straight border, nothing moves, and from there it rises:
#
# $$\Omega \mapsto \min\big(\Omega,\ \max(0,\ 2 \bar\Omega - \Omega)\big)$$
#
# A mask that is the same everywhere stays what it is, whatever its height.

# %%
def only_v3(motion: Motion, mask: Tensor, softness: float = 1.0) -> Motion:
    inwards = (2 * blurred(mask, softness) - mask).clamp(min=0)
    return only_v1(motion, torch.minimum(mask, inwards))


assert_close(only_v3(surprise, mask), control.only(surprise, mask))  # the library's
assert not only_v3(surprise, mask).flow[..., mask == 0].any(), "nothing moves outside"
assert_close(only_v3(surprise, torch.full((32, 32), 0.4)), only_v1(surprise, torch.full((32, 32), 0.4)))
# %%
def part_picture(part: str) -> Tensor:
    motion = surprise if part == "all" else control.only(surprise, control.mask_of(part, 32, 32))
    clip = decoded(motion)[0, :, 15]
    change = (clip - at_rest[0, :, 15]).abs().mean(dim=0).mul(4).clamp(max=1).expand(3, -1, -1)
    return F.interpolate(torch.cat([clip, 1 - change], dim=-1)[None], scale_factor=4)[0]


at_rest, inside = decoded(control.scaled(surprise, 0)), control.mask_of("mouth", 64, 64)
change = (decoded(control.only(surprise, mask)) - at_rest).abs().mean(dim=1)[0, 1:]
share = ((change * inside).sum() / change.sum()).item()
print(f"only the mouth: {share:.1f} of all change is inside the box")
assert share > 0.8
viz.dial(
    part_picture,
    alt=lambda part: f"Left the last frame with motion in {part}, right how much each pixel differs from rest, dark",
    part=["all", "mouth", "brows", "eyes", "left_half", "right_half"],
)

# %% [markdown]
# *Left frame 15, right where it differs from the picture at rest; black is a quarter of the full range or more.*

# %%
place = MEASURED["place"]
print("share of all change inside the box (with 4 pixels of border; worst clip); change beside and at the border, in 255ths")
for part in ("mouth", "brows", "left_half"):
    for softness, row in place[part]["by_softness"].items():
        told = f"{row['inside']:.2f} ({row['inside_and_4_px']:.2f}; {row['inside_worst']:.2f})"
        bend = f"bend across it {row['roughness_at_border']:.1f}"
        print(f"{part:10} softness {softness:8}: {told}; beside {255 * row['error_beside']:.1f}; {bend}")
    print(f"{part:10} of the whole motion: {place[part]['inside_of_full']:.2f}")
for part in ("mouth", "brows"):
    row = place[part]["by_softness"]["1.0"]
    moved = f"{part} moves {row['moved']:.1f} of {row['moved_of_full']:.1f} pixels"
    print(f"only {moved}, other landmarks {row['others_moved']:.1f} of {row['others_moved_of_full']:.1f}")
boxes = [place[part]["by_softness"] for part in ("mouth", "brows", "left_half")]
assert min(box[softness]["inside"] for box in boxes for softness in ("0.0", "1.0")) > 0.85
assert all(box["1.0"]["roughness_at_border"] < 0.6 * box["0.0"]["roughness_at_border"] for box in boxes)

# %% [markdown]
# With a sharp border 87 % of all change and more is inside the box, and with a soft one, which fades inwards over a pixel
# or two of the motion's map, 91 %; nearly all of the rest lies in the four pixels beside the border, where a decoder
# spreads what it paints. What is soft *outwards*, version 2, keeps 79 % of mouth and brows: to be gentle and to
# stay inside are no opposites. The soft border is the smoothest of the three, too: across it the picture bends by 0.4
# of what it does across a sharp one, where version 2 has 0.6 to 0.9. The others' landmarks hold still to a tenth or a fifth of a pixel, where they moved by 1.7.
#
# But the asked part moves less than in the whole motion, too, 1.2 and 1.3 pixels of 1.9 and 2.0. That is what "part" means here:
# the mouth's box also leaves out the head's sway, which moved the mouth along with everything else.

# %% [markdown]
# ## Of what mixture
#
# Half fear, half surprise. Three ways, with weights $w_i$ that sum to 1:
#
# * **average the flows** of two clips that were drawn from the same noise, one for each label;
# * **interpolate the embeddings**: give the network a label vector halfway between;
# * **compose the guidance** {cite:p}`liu2022composable`: ask the network for each label in every step, and add up the
#   directions:
#
# $$\hat\epsilon = \epsilon_\varnothing + s \sum_i w_i\, (\epsilon_i - \epsilon_\varnothing)$$
#
# Here $\epsilon_i$ is the answer for label $i$, and one label of weight 1 is the guidance of chapter 7. A negative
# weight leads away from a label.

# %%
def composed_v1(unet, features: Tensor, labels: Tensor, weights, guidance_scale: float, numbers: Tensor) -> Callable:
    def denoise(x: Tensor, t: Tensor) -> Tensor:
        none = unet(x, t, features, torch.full_like(labels[:, 0], unet.null_label), torch.full_like(numbers, math.nan))
        answers = [unet(x, t, features, label, numbers) for label in labels.unbind(1)]
        return none + guidance_scale * sum(w * (answer - none) for w, answer in zip(weights, answers, strict=True))

    return denoise


ids = torch.tensor([[model.labels.index(name) for name in ("fear", "surprise")]])
told = torch.tensor([[1.0, math.nan]])
given = (model.unet, features, ids, (0.5, 0.5), 1.0, told)
x, t = torch.randn(1, 3, 16, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
with torch.no_grad():
    assert_close(composed_v1(*given)(x, t), control.composed(*given)(x, t))  # the library's
    one = control.composed(model.unet, features, ids[:, 1:], [1.0], 1.0, told)(x, t)
    assert_close(one, guided(model.unet, features, ids[:, 1], 1.0, told)(x, t), rtol=0, atol=1e-4)
print("network calls a step, without exaggeration: one label 1, composed of two 3, averaged flows 2")

# %%
MIXTURES = {"fear": fear, "surprise": surprise, "flows averaged": control.mixed([fear, surprise], [0.5, 0.5])}
MIXTURES["guidance composed"] = control.draw_motion(model, control.composed(*given), 1, steps=STEPS, seed=SEED)
last = [decoded(motion)[0, :, 15] for motion in MIXTURES.values()]
apart = [(255 * (last[3] - other).abs().mean()).item() for other in last[:3]]
print(f"composed, in 255ths: {apart[0]:.0f} from fear, {apart[1]:.0f} from surprise, {apart[2]:.0f} from the average")
assert min(apart[:2]) > 0.5
viz.image_row(last, list(MIXTURES), scale=4, alt="Four faces: afraid, surprised, the average of both flows, composed")

# %% [markdown]
# *The two ends and two ways between them, frame 15.*
#
# What lies between is read by the ruler's landmarks. Let the way from the first label's face to the second's be a
# straight line in all twelve of them; *along* says how far a mixture has come on it (0 to 1), and *off* how far it
# stands beside it, in pixels. You write that measure in exercise 5. Both judges also say what they read.

# %% mystnb={"image": {"alt": "Two plots of how far along a mixture is against the weight. In both, three lines with different markers run close to each other and to the diagonal."}}
fig, axes = plt.subplots(1, 2, figsize=(10.5, 3.8), sharey=True)
for ax, pair in zip(axes, ("fear_surprise", "anger_happiness"), strict=True):
    for (way, by), style in zip(MEASURED["mixing"][pair].items(), ("o-", "s--", "^:"), strict=True):
        ax.plot([float(w) for w in by], [row["along"] for row in by.values()], style, label=way, fillstyle="none")
    ax.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    ax.set(title=pair.replace("_", " to "), xlabel="weight of the second label")
axes[0].set_ylabel("along, by landmarks")
axes[0].legend()
plt.show()
for pair, ways in MEASURED["mixing"].items():
    if pair != "clips":
        first, second = pair.split("_")
        for way, by in ways.items():
            row = by["0.5"]
            p = {label: f"{row['judge_of_faces'][label]:.2f}" for label in (first, second, "other")}
            print(f"{first} and {second}, {way:9} along {row['along']:.2f}, off {row['off_px']:.1f} pixels; judge {p}")
mixes = [by for pair, ways in MEASURED["mixing"].items() if pair != "clips" for by in ways.values()]
far = max(abs(row["along"] - float(w)) for by in mixes for w, row in by.items())
off = max(row["off_px"] for by in mixes for row in by.values())
print(f"farthest of any mixture from its weight: {far:.2f}; farthest off the line: {off:.1f} pixels")
assert far < 0.15 and off < 1

# %% [markdown]
# *Twelve people, one seed each. Grey: as if the weight alone decided. The printed lines are those of equal weights;
# the judge is the judge of faces.*
#
# By landmarks the three ways are hard to tell apart, within 0.1 of each other at every weight, and all of them do about
# what the weight says. So take the one that
# suits you: averaged flows ask for nothing new once both ends are drawn, composed guidance also takes weights that lead
# away from a label, and an interpolated embedding costs no more than a label.
#
# What the judges read is no straight line. Half fear and half surprise is a face that the judge of faces calls
# surprised with 0.65 to 0.81, and afraid with 0.14 to 0.28: a judge has a border somewhere, and a mixture lies on one
# side of it. Where two labels pull the other way, as anger and happiness do at the mouth's corners, they cancel, and
# less is left: the *strength* that is read is 0.83 and 0.74 at the ends, and 0.6 in the middle.

# %% [markdown]
# ## Several wishes at once
#
# *May be skipped on a first reading.*
#
# Label, strength and turn are three conditions of one network, so they are simply told together. The printed table
# below will show that the turn is then obeyed far too little. Guidance is the known cure, and it exaggerates label,
# strength and turn alike. The cure for *one* wish is the same idea, from another starting point. Let $\epsilon_1$ be
# the answer without that wish, and $\epsilon_2$ with it {cite:p}`brooks2023instructpix2pix`:
#
# $$\hat\epsilon = \epsilon_1 + s'\, (\epsilon_2 - \epsilon_1)$$

# %%
def exaggerated_v1(plain: Callable, asked: Callable, weight: float) -> Callable:
    return lambda x, t: plain(x, t) + weight * (asked(x, t) - plain(x, t))


def with_turn(strength: float, turn: float) -> Callable:
    """The denoiser of the running picture, surprised, and told a strength and a turn."""
    return guided(model.unet, features, ids[:, 1], 1.5, torch.tensor([[strength, turn]]))


with torch.no_grad():
    pair = with_turn(1.0, math.nan), with_turn(1.0, 0.25)
    assert_close(exaggerated_v1(*pair, 2.0)(x, t), control.exaggerated(*pair, 2.0)(x, t), rtol=0, atol=1e-4)
    assert_close(control.exaggerated(*pair, 1.0)(x, t), pair[1](x, t), rtol=0, atol=1e-4)  # as it is told
three_turns = {}
for name, turn in {"left": -0.25, "straight on": 0.0, "right": 0.25}.items():
    denoise = control.exaggerated(pair[0], with_turn(1.0, turn), 2.0)
    three_turns[name] = decoded(control.draw_motion(model, denoise, 1, steps=STEPS, seed=SEED))
roll = {name: ruler.measure(clip).turn.item() for name, clip in three_turns.items()}
print("turn read, radians:", {name: round(value, 1) + 0.0 for name, value in roll.items()})
assert roll["left"] < roll["right"] - 0.2
viz.image_row([clip[0, :, 15] for clip in three_turns.values()], list(three_turns), scale=4, alt="The surprised face with its head turned three ways")

# %% [markdown]
# *One label, one strength, one seed, three turns: -0.25, 0 and 0.25 radians; guidance 1.5, and of the turn alone $s' = 2$.*
#
# Now the table: twelve people, two strengths, three turns, 72 clips a way. The ruler is not in doubt here: on real
# clips it reads turns to 0.02 radians.

# %%
several, mean = MEASURED["several"], lambda values: sum(values) / len(values)
for way, how in several.items():
    print(f"{way.replace('_', ' ')}, guidance {how['guidance_scale']:g}")
    for name, unit in (("strength", ""), ("turn", " radians")):
        found = how[name]
        told = f"correlation {found['correlation']:.2f}, mean error {found['error']:.2f}{unit}"
        print(f"  {name:8} {told}, slope {found['slope']:.2f}")
    for row in how["rows"]:
        seen = f"read {mean(row['read_strength']):.2f} and {mean(row['read_turn']):+.2f}"
        print(f"  asked {row['strength']:.1f} and {row['turn']:+.2f}: {seen}; label {row['judge_of_faces']:.2f}")
slopes = {way: how["turn"]["slope"] for way, how in several.items()}
assert slopes["plain"] < slopes["guided"] < 0.6 < slopes["turn_exaggerated"]

# %% [markdown]
# Told together, strength is obeyed as well as alone, and the turn in order and far too little: asked for a quarter of a
# radian, heads turn by 0.05 to 0.12, a slope of 0.29 where 1 would be obedience. Guidance of everything brings 0.40.
# With the turn alone exaggerated it is 0.70, heads turn by 0.14 to 0.19 radians, and the correlation with what was asked
# rises from 0.73 to 0.92.
#
# That has a price. Where heads turn as asked, the judge of faces reads the label in 0.50 to 0.92 of the clips, with the same
# guidance and less turn in 0.67 to 0.92. In the clips that the model learned from, heads move with the expression;
# a head that turns otherwise speaks for another label. Twelve clips a cell are few; in three of the four cells the share
# falls, and in none it rises.
#
# ## A point that you drag
#
# So far wishes were words and numbers. Now take a point of the picture, a corner of the mouth at $\mathbf{p}_0$, and
# want it at $\mathbf{p}_1$ in the last frame. In terms of the flow that is a wish for *one vector*: in that frame,
# what is at $\mathbf{p}_1$ must look back to $\mathbf{p}_0$.
#
# $$\mathbf{r} = f(\mathbf{p}_1) - (\mathbf{p}_0 - \mathbf{p}_1), \qquad \text{wanted: } \mathbf{r} = \mathbf{0}$$
#
# You could write that vector into the finished flow. One pixel would obey, and its neighbours would not. Instead
# steer while the motion is drawn: in every step the network predicts the clean motion $\hat{\mathbf{x}}_\theta$ from
# the noisy one, so the missing $\mathbf{r}$ is known, and its gradient through the network says how the *whole*
# motion must change so that this one vector comes right {cite:p}`chung2023dps`:
#
# $$\mathbf{d} = \frac{\sigma_t^2}{\alpha_t}\, \nabla_{\mathbf{x}_t} \tfrac{1}{2} \lVert \mathbf{r} \rVert^2, \qquad \hat{\mathbf{x}}_\theta \mapsto \hat{\mathbf{x}}_\theta - \frac{\lVert \mathbf{r} \rVert^2}{\mathbf{r} \cdot \mathbf{d}(\mathbf{p}_1) + \varepsilon^2 \lVert \mathbf{r} \rVert^2}\; \mathbf{d}$$
#
# How far to go along $\mathbf{d}$ is not a matter of taste. The fraction is the length that closes the gap, were it not
# for the tolerance $\varepsilon$, a tenth of a pixel: for Gaussian data $\mathbf{d}$ is a covariance times
# $\mathbf{r}$, and the step is the exact update of a Gaussian by a measurement along $\mathbf{r}$.

# %%
def pulled_v1(diffusion, denoise: Callable, frame: int, start: Tensor, end: Tensor, tolerance: float = 0.003) -> Callable:
    def vector(x: Tensor) -> Tensor:  # the flow at the end, (b, 2)
        flow = diffusion.unpack_motion(x).flow[:, :, frame]
        return F.grid_sample(flow, end.expand(len(x), 1, 1, 2), padding_mode="border", align_corners=False)[:, :, 0, 0]

    def steered(x: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            x0, _ = diffusion.to_x0_eps(x, t, denoise(x, t))
            r = vector(x0) - (start - end)
            (slope,) = torch.autograd.grad(r.square().sum() / 2, x)
        (alpha, sigma), x0, r, x = diffusion.at(t, x), x0.detach(), r.detach(), x.detach()
        d = sigma**2 / alpha * slope
        gap, closed = r.square().sum(1), (r * vector(d)).sum(1)
        step = torch.where(closed > 0, gap / (closed + tolerance**2 * gap), 0.0)
        x0 = x0 - step.view(-1, 1, 1, 1, 1) * d
        return diffusion.target(x0, (x - alpha * x0) / sigma, t)

    return steered

# %%
sad = torch.tensor([model.labels.index("sadness")])  # a closed mouth, whose corners are plain to see
plain = guided(model.unet, features, sad, 1.0, torch.full((1, 2), math.nan))
corner = ruler.measure(picture[:, :, None]).landmarks[0, 0, [LANDMARKS.index("mouth_left")]]  # (1, 2)
pull = (15, corner, corner + torch.tensor([[-3.0, 2.0]]) / HALF)
mine, theirs = pulled_v1(model.diffusion, plain, *pull)(x, t), control.pulled(model.diffusion, plain, *pull)(x, t)
assert_close(mine, theirs, rtol=0, atol=1e-4)  # the library's
print(f"the corner is at {[round(v, 2) for v in corner[0].tolist()]}, and is wanted 3 pixels to the left, 2 down")

# %% [markdown]
# A lip is more than a point. So pull nine at once, the handle and the eight around it, all by the same: $\mathbf{r}$
# then has nine vectors, and everything else stays.

# %%
PULLS = {"free": None, "out": (-3, 0), "up": (0, -3), "down": (0, 3)}
steps = torch.tensor([-2.0, 0.0, 2.0]) / HALF  # a pixel of the motion's map is two of the picture
nine = torch.cartesian_prod(steps, steps)  # the handle, and eight points around it
ends, clips = {}, {}
for name, by in PULLS.items():
    end = corner + torch.tensor([by or (0, 0)]) / HALF
    denoise = plain if by is None else control.pulled(model.diffusion, plain, 15, corner + nine, end + nine)
    clips[name] = decoded(control.draw_motion(model, denoise, 1, steps=STEPS, seed=SEED))[0]
    ends[name] = end[0], ruler.measure(clips[name][None]).landmarks[0, 15, LANDMARKS.index("mouth_left")]
missed = {name: HALF * (ends[name][0] - ends[name][1]).norm().item() for name in PULLS if name != "free"}
print("pixels from where it was wanted, by the ruler:", {name: f"{value:.0f}" for name, value in missed.items()})
assert max(missed.values()) < 5


def handle_picture(pull: str) -> plt.Figure:
    fig, ax = plt.subplots(figsize=(4, 4))
    ax.imshow(clips[pull][:, 15].permute(1, 2, 0), extent=(-1, 1, 1, -1))
    ax.plot(*corner[0], "ko", fillstyle="none", markersize=9)
    ax.annotate("", ends[pull][0].tolist(), corner[0].tolist(), arrowprops={"arrowstyle": "->", "lw": 2})
    ax.plot(*ends[pull][1], "wx", markersize=10, markeredgewidth=2.5)
    ax.set(xticks=[], yticks=[])
    return fig


viz.dial(handle_picture, alt=lambda pull: f"Last frame with the mouth's left corner pulled: {pull}", pull=list(PULLS))

# %% [markdown]
# *Frame 15. Circle: where the corner was in the picture; arrow: where it is wanted; white cross: where the ruler finds
# it. "free" is the same seed without a wish.*

# %%
point = MEASURED["point"]
asked_px = sum(point["asked_px"]) / len(point["asked_px"])
for name, title in {"free": "no wish", "pulled": "one point", "patch": "nine points"}.items():
    row = point[name]
    told = f"{row['miss_px']:.1f} pixels from the wish, worst {row['worst_px']:.1f}; in the flow {row['flow_miss_px']:.1f}"
    print(f"{title:11} {told}; label read {row['judge_of_faces']:.2f}, identity distance {row['identity']:.3f}")
print(f"asked for {asked_px:.1f} pixels on average")
for name, title in {"pulled": "one point", "patch": "nine points"}.items():
    row = point[name]
    print(f"by {title}: the handle went {row['handle_went_px']:.1f}, the other landmarks {row['others_went_px']:.1f}")
print(f"the ruler's own error at these handles at rest: {point['pulled']['at_rest_px']:.1f} pixels")
near = sum(miss < 2 + OWN["landmarks_px"] for miss in point["patch"]["misses"])
print(f"by nine points, within 2 pixels beyond the ruler's own error: {near} of {len(point['patch']['misses'])} wishes")
assert point["patch"]["miss_px"] < point["pulled"]["miss_px"] < point["free"]["miss_px"]
assert point["patch"]["miss_px"] < 2 + OWN["landmarks_px"]

# %% [markdown]
# In the flow a wish is met to 0.8 pixels by one point and to 0.2 by nine. In the picture one point brings the landmark
# only part of the way: it is read 2.6 pixels from its end, of 4.2 without a wish. A single vector can be right while the
# lip around it stays. Nine points, the handle and the eight around it at a distance of one pixel of the motion's map,
# hold the lip at a patch, and it ends 1.9 pixels away on average. Of 48 wishes 38 end within 2 pixels beyond the ruler's
# own error, and the worst misses by 5.8. These wishes point anywhere, a mouth's corner into the chin, a brow's end into
# the eye. What the training never did is resisted, and that is the meaning of a model.
#
# The price: other landmarks go along, by a pixel and a half, and of twelve clips two more are read as another label.

# %% [markdown]
# ## Longer than it was trained for
#
# *May be skipped on a first reading.*
#
# The model learned clips of 16 frames, and you want 64. Three ways: simply ask for 64; denoise all of them at once in
# overlapping windows of 16, and average what the windows predict in each step {cite:p}`bartal2023multidiffusion`; or
# return and go on, which the flow makes easy: play a clip forth and back, and it ends where every clip begins, at
# rest.

# %%
def windowed_v1(denoise: Callable, length: int, step: int) -> Callable:
    def whole(x: Tensor, t: Tensor) -> Tensor:
        last = max(0, x.shape[2] - length)
        total, times = torch.zeros_like(x), torch.zeros(x.shape[2])
        for begin in sorted({*range(0, last, step), last}):
            total[:, :, begin : begin + length] += denoise(x[:, :, begin : begin + length], t)
            times[begin : begin + length] += 1
        return total / times.view(-1, 1, 1)

    return whole


long = torch.randn(1, 3, 24, 32, 32, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    assert_close(windowed_v1(plain, 16, 8)(long, t), control.windowed(plain, 16, 8)(long, t))  # the library's
back = Motion(*(torch.cat([maps, maps.flip(2)], dim=2) for maps in surprise))
assert not back.flow[:, :, -1].abs().max() > surprise.flow[:, :, 0].abs().max() and back.flow.shape[2] == 32
print(f"forth and back: {back.flow.shape[2]} frames, the last is the first")

# %% mystnb={"image": {"alt": "Three plots of level over 64 frames. Asked for at once: it rises and stays at 1.3. Windows: six pulses, then it holds. Forth and back: two plateaus with rest between."}}
LONG = {"at_once": "asked for at once", "windows": "windows of 16, every 8", "forth_and_back": "forth and back, twice"}
fig, axes = plt.subplots(1, 3, figsize=(11, 3), sharey=True)
for ax, (name, title) in zip(axes, LONG.items(), strict=True):
    ax.plot(MEASURED["longer"][name]["level"], "k")
    ax.set(title=title, xlabel="frame")
axes[0].set_ylabel("level read")
plt.show()
for name, title in {**LONG, "sixteen": "16 frames, as trained"}.items():
    row = MEASURED["longer"][name]
    told = f"largest step {row['largest_step_px']:.2f} pixels, identity distance at the end {row['identity_last']:.3f}"
    print(f"{title:23} {told}")
assert all(len(MEASURED["longer"][name]["level"]) == 64 for name in LONG)

# %% [markdown]
# *The level that the ruler reads, mean of four people.*
#
# Asked for at once, the expression rises and stays, at a level of 1.3 where 1 was asked (above, a strength of 1.5 was
# read as 1.2): frames 16 to 63 are frames that the network has never seen, and the colours drift nearly three times as
# far from the picture as in a clip of 16. Windows pulse; the failure gallery has more of them. Forth and back keeps
# exactly what sixteen frames had. Its price is that the face relaxes through the very pictures through which it rose.

# %% [markdown]
# ## What precise control means elsewhere
#
# The word has many meanings. Here are those that this chapter offers, by name, beside where others stand.
#
# | kind of control | here | needs |
# |---|---|---|
# | continuous strength | told to the network, or the flow scaled | a number in training, or a flow |
# | timing | the flow's course moved and stretched | a flow |
# | place | the flow masked | a flow |
# | several conditions | label, strength and turn told together | numbers in training |
# | mixtures of labels | guidance composed {cite:p}`liu2022composable` | any conditional diffusion model |
# | a point's path | the drawing steered by the flow at one place | a flow, and gradients |
# | length | windows averaged, or forth and back | any; returning needs a flow |
#
# What *only an explicit flow* offers are the rows with "a flow": in a model that paints pixels, no tensor says what
# moves where, so there is nothing to scale, move, mask or read at a point.
#
# A paper whose title announces the same word is *Conditional Latent Diffusion for Precision-Controllable Image
# Generation* {cite:p}`su2025precision`. We could get its title alone, not its text; so we name it, and say nothing
# about what it does.
#
# ## Failure gallery
#
# **1. Half of a face that turns.** "Only the left half" is a place in the *picture*, and the head moves through it. If
# the head turns, the left half turns and the right half stays, and the face bends at the seam.

# %% mystnb={"image": {"alt": "Three faces, disgusted and turned. Whole: both eyes narrow. Left half only, sharp: one eye narrow, one wide, the mouth broken in the middle. Left half only, soft: the same, the mouth bent."}}
turning = drawn("disgust", 1.2, 0.35, guidance_scale=1.5)
half_mask = control.mask_of("left_half", 32, 32)
seams = {"whole": turning, "left half, sharp": control.only(turning, half_mask, 0)}
seams["left half, soft"] = control.only(turning, half_mask, 2)
fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.8))
for ax, (name, motion) in zip(axes, seams.items(), strict=True):
    ax.imshow(decoded(motion)[0, :, 15].permute(1, 2, 0))
    ax.set(title=name, xticks=[], yticks=[])
plt.show()
step_at = lambda motion: (HALF * (motion.flow[0, :, 15, :, 16] - motion.flow[0, :, 15, :, 15]).norm(dim=0)).mean().item()
steps_at = {name: step_at(motion) for name, motion in seams.items()}
print("step of the flow across the middle, pixels:", {name: f"{value:.1f}" for name, value in steps_at.items()})
assert steps_at["left half, sharp"] > 2 * steps_at["left half, soft"]

# %% [markdown]
# *Frame 15 of a head that turns in disgust. A soft border hides the tear and keeps the bend: the wish itself is impossible for a
# rigid head. A mask that travels with the face, or a motion drawn without a turn, would be the cure.*
#
# **2. Windows that all begin at rest.** Asked for 64 frames in windows, the face pulses. The model learned clips that
# begin at rest, so every window begins so, and there it is averaged with the second half of the window before.

# %% mystnb={"image": {"alt": "Level over 64 frames, with a grey line where each window begins: the level falls to nearly 0 at every line but rises between. A dotted curve of one clip of 16 frames rises once and holds."}}
fig, ax = plt.subplots(figsize=(8.5, 3))
ax.plot(MEASURED["longer"]["windows"]["level"], "k", label="windows of 16, every 8")
ax.plot(MEASURED["longer"]["sixteen"]["level"], "k:", label="one clip of 16")
for begin in range(0, 49, 8):
    ax.axvline(begin, color="0.8", linewidth=1)
ax.set(xlabel="frame", ylabel="level read", ylim=(None, 1.3))
ax.legend(loc="upper right", ncols=2)
plt.show()
windows = MEASURED["longer"]["windows"]["level"]
low, high = max(min(windows[k : k + 4]) for k in range(8, 48, 8)), min(max(windows[k : k + 8]) for k in range(8, 48, 8))
print(f"after every window's begin the level falls to {low:.1f} or less, and then rises to {high:.1f} or more")
assert low < 0.5 * high

# %% [markdown]
# *Grey: where a window begins. Wherever one begins, half of the answers say "rest", and the face obeys. From eight
# frames after the last line on there is one window alone, and the face holds as in a clip.*
#
# ## Summary
#
# * A flow between two stages is a place to stand: scale it, move it in time, mask it, average it, each in a few lines,
#   and decode.
# * What was asked is not what is seen until a ruler that took no part says so, with its own error beside it. Half of a
#   backward flow shows a third of the expression; an onset comes where it was asked; a duration does not.
# * Steering while a motion is drawn lets the rest follow: guidance composed of labels, one wish exaggerated, and a point that
#   is pulled through the gradient of the predicted motion.
#
# ## Exercises
#
# **1. Check yourself** (three minutes, easy). You scale a motion of strength 1 by 0.5, and somebody else tells the
# model 0.5. Both clips have the same seed. Are they the same clip? Which of the two would you trust at 0.1?
#
# <details>
# <summary>Solution</summary>
#
# No. Scaling keeps the course and halves every vector, sway of the head and blinks included; telling draws another
# motion, whose sway is as large as ever. At 0.1 only scaling can be trusted: the network has never been told less than
# 0.5, while a tenth of a motion is small for certain.
#
# ```python
# pair = [decoded(drawn("surprise", 0.5)), decoded(control.scaled(surprise, 0.5))]
# print([round(ruler.measure(clip).strength.item(), 2) for clip in pair])
# ```
#
# </details>
#
# **2. Check yourself** (four minutes, medium). You average the flows of a smile and of the *same* smile with the head
# turned the other way. What moves in the result, and why is that no mixture of two clips that anybody could film?
#
# <details>
# <summary>Solution</summary>
#
# The turns cancel, and the smile stays: both flows agree there. But vectors were averaged at fixed *pixels*, and under
# two different turns one pixel shows two different parts of the face. So at the edges of the mouth a lip's vector is
# averaged with a cheek's. Averaging is right where both motions are small, or where they carry the same thing to the
# same pixel.
#
# ```python
# both = [drawn("happiness", 1.0, turn) for turn in (-0.3, 0.3)]
# mean = control.mixed(both, [0.5, 0.5])
# print([round(HALF * motion.flow[:, :, 15].norm(dim=1).mean().item(), 2) for motion in (*both, mean)], "pixels")
# ```
#
# </details>
#
# **3. Code it** (eight minutes, easy). Later by whole frames: shift a flow so that everything happens `frames` frames
# later. Before it begins there is rest; what would come after the end is dropped.

# %%
def answer_of(function: Callable, *given, shape: tuple) -> Tensor | str:
    """What a reader's function answers, in float64; or a hint, if it is no tensor of that shape."""
    try:
        answer = function(*given)
    except Exception as error:  # a reader's slip is a hint here, no traceback
        return f"not yet: it stops with {type(error).__name__}: {error}"
    if not isinstance(answer, Tensor):
        return f"not yet: return a tensor, not {'nothing' if answer is None else 'a ' + type(answer).__name__}"
    if answer.shape != shape:
        return f"not yet: return the shape {shape}, not {tuple(answer.shape)}"
    return answer.double()


def named(answer: Tensor | str, right: Tensor, wrong: dict[str, Tensor], otherwise: str) -> str:
    """Solved, or the hint of the wrong answer that it is."""
    if isinstance(answer, str):
        return answer
    if torch.allclose(answer, right.double(), atol=1e-4):
        return "solved"
    hints = [hint for hint, value in wrong.items() if torch.allclose(answer, value.double(), atol=1e-4)]
    return f"not yet: {[*hints, otherwise][0]}"

# %% tags=["exercise"]
def later(flow: Tensor, frames: int) -> Tensor:
    """A flow (b, 2, T, h, w), and how many frames later it shall happen, 0 or more -> the flow, of the same shape."""
    return None  # your lines


def check_later(function) -> str:
    flow = torch.randn(2, 2, 6, 3, 4, generator=torch.Generator().manual_seed(0))
    for frames in (2, 0, 6):
        pad = torch.zeros(2, 2, frames, 3, 4)
        right = torch.cat([pad, flow], dim=2)[:, :, :6]
        wrong = {
            "what leaves at the end must not come in at the beginning": flow.roll(frames, dims=2),
            "that is earlier, not later": torch.cat([flow, pad], dim=2)[:, :, frames:],
            "before it begins there is rest, not frame 0 of the flow": flow[:, :, (torch.arange(6) - frames).clamp(0)],
        }
        told = named(answer_of(function, flow.clone(), frames, shape=flow.shape), right, wrong, "zeros, then the flow")
        if told != "solved":
            return told
    return "solved"


print(check_later(later))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def later(flow, frames):
#     rest = torch.zeros_like(flow[:, :, :1]).expand(-1, -1, frames, -1, -1)
#     return torch.cat([rest, flow], dim=2)[:, :, : flow.shape[2]]
#
#
# assert check_later(later) == "solved"
# ```
#
# </details>
#
# **4. Code it** (ten minutes, medium). The one line of composed guidance: the answer without a condition, those of $k$
# labels, their weights and the scale. Weights need not sum to 1, and may be below 0.

# %% tags=["exercise"]
def compose(none: Tensor, answers: list[Tensor], weights: list[float], guidance_scale: float) -> Tensor:
    """Answers of one shape -> the answer that the sampler is given, of that shape."""
    return None  # your lines


def check_compose(function) -> str:
    none, *answers = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0)).unbind(0)
    for weights, s in (([0.7, 0.6, -0.2], 1.5), ([1.0, 0.0, 0.0], 2.0), ([0.3, 0.3, 0.4], 1.0)):
        summed = sum(w * a for w, a in zip(weights, answers, strict=True))
        right = none + s * sum(w * (a - none) for w, a in zip(weights, answers, strict=True))
        wrong = {
            "each label's direction is its answer less the one without": none + s * summed,
            "guidance_scale is missing": none + (right - none) / s,
            "the weights are used as they are, not divided by their sum": none + (right - none) / sum(weights),
            "that is the directions alone; begin at the answer without a condition": right - none,
            "the mean of the answers is not led away from the one without": summed,
        }
        answer = answer_of(function, none.clone(), [a.clone() for a in answers], list(weights), s, shape=none.shape)
        told = named(answer, right, wrong, "none + guidance_scale * the sum of w * (answer - none)")
        if told != "solved":
            return told
    return "solved"


print(check_compose(compose))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def compose(none, answers, weights, guidance_scale):
#     directions = [w * (answer - none) for w, answer in zip(weights, answers, strict=True)]
#     return none + guidance_scale * sum(directions)
#
#
# assert check_compose(compose) == "solved"
# ```
#
# </details>
#
# **5. Code it** (fifteen minutes, medium). The measure of the mixtures: landmarks of the first face, of the second,
# and of one between. How far along the straight line from the first to the second is it? Of all landmarks together:
# the point of the line that is nearest, as a share of the line.

# %% tags=["exercise"]
def along(first: Tensor, second: Tensor, here: Tensor) -> Tensor:
    """Landmarks (k, 2) each -> a number, (): 0 at the first face, 1 at the second, beyond them below 0 or above 1."""
    return None  # your lines


def check_along(function) -> str:
    dice = torch.Generator().manual_seed(0)
    for _ in range(3):
        first, second, here = torch.randn(3, 5, 2, generator=dice, dtype=torch.float64)
        way, gone = second - first, here - first
        right = (gone * way).sum() / way.square().sum()
        wrong = {
            "a distance is never below 0; take the part along the line": gone.norm() / way.norm(),
            "divide by the square of the line's length": (gone * way).sum() / way.norm(),
            "that is the cosine of the angle": (gone * way).sum() / way.norm() / gone.norm(),
            "all landmarks together, not the mean over each": ((gone * way).sum(1) / way.square().sum(1)).mean(),
            "from the first face on: subtract it": (here * way).sum() / way.square().sum(),
        }
        told = named(answer_of(function, first, second, here, shape=()), right, wrong, "project onto second - first")
        if told != "solved":
            return told
    return "solved"


print(check_along(along))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def along(first, second, here):
#     way = second - first
#     return ((here - first) * way).sum() / way.square().sum()
#
#
# assert check_along(along) == "solved"
# ```
#
# </details>
#
# **6. Explore** (an hour, medium). Let the mask travel with the face. `control.only` masks places of the *picture*;
# move the mask by the flow itself, frame by frame, so that "the mouth" stays the mouth of a turning head.
#
# *Where to begin:* the mask is a picture of frame 0, and `lfdm.warp` carries pictures by a flow. *What to show:* share
# of change inside the travelling mask, and the seam of the failure gallery with it. *A good answer* says what happens
# to the head's own turn, which the mask must either keep everywhere or leave out everywhere.
#
# <details>
# <summary>Solution</summary>
#
# A start: the travelling mask.
#
# ```python
# boxes = control.mask_of("mouth", 32, 32)[None, None]
# travels = lfdm.warp(boxes, turning.flow)  # (1, 1, T, h, w): where the mouth is in every frame
# moved = Motion(travels * turning.flow, turning.rest + travels * (turning.occlusion - turning.rest))
# print(decoded(moved).shape, f"{travels[0, 0, 15].mean():.2f} of the picture")
# ```
#
# </details>
#
# **7. Explore** (an evening, hard). Drag a *path*: the corner of the mouth shall be at another place in frames 4, 8,
# 12 and 15. `control.pulled` takes a frame for each handle; the same start with several ends is a path.
#
# *Where to begin:* the lines below, and a path that goes out and comes back. *What to show:* the ruler's track beside
# the wish, in all 16 frames. *A good answer* says how many frames of a path must be pinned until the frames between
# obey, and what a path costs that no face would ever take.
#
# <details>
# <summary>Solution</summary>
#
# A start, two frames:
#
# ```python
# pinned = {8: (-2.0, 0.0), 15: (-4.0, 0.0)}
# path = corner + torch.tensor(list(pinned.values())) / HALF
# denoise = control.pulled(model.diffusion, plain, list(pinned), corner.expand(2, -1), path)
# track = ruler.measure(decoded(control.draw_motion(model, denoise, 1, steps=4, seed=SEED))).landmarks
# at = HALF * (track[0, :, LANDMARKS.index("mouth_left")] - corner)
# print({frame: [round(v, 1) for v in at[frame].tolist()] for frame in pinned})
# ```
#
# </details>
#
# ## What the authors did differently
#
# LFDM {cite:p}`ni2023lfdm` conditions on a class: its text is read by a language model, and no number stands beside
# it. Strength and turn as conditions are ours, and so are all controls of this chapter, those that change a finished
# motion and those that steer one. None of them needs a change of the method: its flow is there to be used.
#
# ## Further reading
#
# * {cite:t}`liu2022composable`: guidance composed of several conditions. {cite:t}`ho2022guidance`: guidance itself.
# * {cite:t}`chung2023dps`: sampling under a measurement, by a gradient through the predicted clean data.
# * {cite:t}`bartal2023multidiffusion`: overlapping windows, of pictures there, averaged in every step.
