"""How a face acts: six expressions as poses of brows, lids, mouth and head, and curves that lead there and back.

A pose is a handful of numbers in the units of the head (its half height is about 0.7), at strength 1. A clip scales
them by its strength, lets each part of the face start at its own moment, and adds what faces do without meaning it:
sway, blinks, glances. Every curve is exactly zero in frame 0.

Two numbers say how a clip was acted: its *strength*, 1 for the poses of the table, and its *turn*, the angle in radians
by which the head has turned clockwise in the last frame; the turn sums pose, sway and what `Acting` adds.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

LABELS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")


@dataclass(frozen=True)
class Pose:
    """Where the parts of a face are, away from rest. Numbers in a table; one value a frame (T, 1, 1) in an act."""

    brow_inner: Tensor | float = 0.0  # inner ends of the brows, up
    brow_outer: Tensor | float = 0.0  # outer ends, up
    brow_pinch: Tensor | float = 0.0  # inner ends towards each other
    lid: Tensor | float = 0.0  # upper lids down, as a share of the eye's height; negative: wide eyes
    lid_slant: Tensor | float = 0.0  # upper lids lower at the outer end; negative: at the inner end
    lower_lid: Tensor | float = 0.0  # lower lids up, as a share of the eye's height
    gaze_x: Tensor | float = 0.0  # irises to the right
    gaze_y: Tensor | float = 0.0  # irises down
    nose: Tensor | float = 0.0  # nose wrinkled up
    cheek: Tensor | float = 0.0  # cheeks up
    corner: Tensor | float = 0.0  # lip corners up
    width: Tensor | float = 0.0  # lip corners apart, each
    open: Tensor | float = 0.0  # lower lip and jaw down
    upper: Tensor | float = 0.0  # upper lip up
    sneer: Tensor | float = 0.0  # upper lip up on one side
    grit: Tensor | float = 0.0  # lower teeth up into view
    head_x: Tensor | float = 0.0  # head to the right
    head_y: Tensor | float = 0.0  # head down
    roll: Tensor | float = 0.0  # head turned clockwise, radians
    zoom: Tensor | float = 0.0  # head nearer


POSES: dict[str, tuple[Pose, ...]] = {  # some expressions have more than one face
    "anger": (
        Pose(brow_inner=-0.115, brow_outer=0.05, brow_pinch=0.05, lid=0.16, lid_slant=-0.22, lower_lid=0.14,
             nose=0.015, corner=-0.075, width=-0.02, upper=-0.012, head_y=0.045, zoom=0.06),
        Pose(brow_inner=-0.115, brow_outer=0.05, brow_pinch=0.05, lid=0.14, lid_slant=-0.22, lower_lid=0.16,
             nose=0.03, corner=-0.05, width=0.03, open=0.085, upper=0.03, grit=0.055, head_y=0.035, zoom=0.06),
    ),
    "disgust": (
        Pose(brow_inner=-0.06, brow_outer=-0.05, brow_pinch=0.015, lid=0.26, lid_slant=0.02, lower_lid=0.3,
             nose=0.065, cheek=0.04, corner=-0.05, width=0.0, open=0.03, upper=0.02, sneer=0.075,
             head_x=0.045, head_y=-0.015, roll=0.12, zoom=-0.06),
    ),
    "fear": (
        Pose(brow_inner=0.12, brow_outer=0.0, brow_pinch=0.035, lid=-0.22, lower_lid=-0.06,
             corner=-0.06, width=0.075, open=0.13, upper=0.03, grit=0.06, head_y=0.03, zoom=-0.09),
    ),
    "happiness": (
        Pose(brow_inner=0.025, brow_outer=0.035, lid=0.05, lower_lid=0.27, cheek=0.06,
             corner=0.105, width=0.085, open=0.125, head_y=-0.025, roll=0.04, zoom=0.02),
        Pose(brow_inner=0.02, brow_outer=0.03, lid=0.06, lower_lid=0.3, cheek=0.06,
             corner=0.12, width=0.09, open=0.075, upper=0.012, head_y=-0.015, roll=-0.04, zoom=0.02),
    ),
    "sadness": (
        Pose(brow_inner=0.105, brow_outer=-0.075, brow_pinch=0.02, lid=0.2, lid_slant=0.2, lower_lid=0.02, gaze_y=0.022,
             corner=-0.105, width=-0.02, open=-0.01, upper=-0.01, head_y=0.075, roll=0.07, zoom=-0.01),
    ),
    "surprise": (
        Pose(brow_inner=0.145, brow_outer=0.11, lid=-0.24, lower_lid=-0.06, corner=-0.01,
             width=-0.055, open=0.235, upper=0.035, head_y=-0.045, zoom=-0.01),
    ),
}  # fmt: skip


PARTS: dict[str, tuple[str, ...]] = {  # of a performance, and the fields of `Pose` that move them
    "brows": ("brow_inner", "brow_outer", "brow_pinch"),
    "lids": ("lid", "lid_slant", "lower_lid"),
    "gaze": ("gaze_x", "gaze_y"),
    "cheeks": ("nose", "cheek"),
    "mouth": ("corner", "width", "open", "upper", "sneer", "grit"),
    "head": ("head_x", "head_y", "roll", "zoom"),
}
FACE = tuple(part for part in PARTS if part != "head")
HEADS = ("own", "shuffled")


@dataclass(frozen=True)
class Performance(Pose):
    """A pose over time, (T, 1, 1) a field, and what a clip can say of it in numbers."""

    strength: float = 1.0  # what the pose of the table is multiplied with; 1 is the table's

    @property
    def turn(self) -> float:
        """Roll of the head in the last frame, radians, clockwise as one sees it."""
        return float(torch.as_tensor(self.roll).flatten()[-1])


@dataclass(frozen=True)
class Acting:
    """How widely performances vary, which parts of a face act, and what its head does; by default what people do.

    Raises:
        ValueError: a range of strength that is none, a turn below 0 or beyond a right angle, or a part or a way of the
            head that is not known.
    """

    strength: tuple[float, float] = (0.8, 1.15)  # least and largest; faces stay faces from 0 to 1.6
    turn: float = 0.0  # radians by which heads turn at most to either side, beyond what they do by themselves
    frozen: tuple[str, ...] = ()  # of `PARTS`: these stay at rest
    heads: str = "own"  # of `HEADS`; shuffled: the head moves as for another label, drawn apart: it says nothing

    def __post_init__(self) -> None:
        if not 0 <= self.strength[0] <= self.strength[1] < np.inf:
            raise ValueError(f"strength is {self.strength}; give the least and the largest, 0 or more")
        if not 0 <= self.turn <= np.pi / 2:
            raise ValueError(f"turn is {self.turn}; give radians from 0 to {np.pi / 2:.2f}")
        for part in self.frozen:
            if part not in PARTS:
                raise ValueError(f"frozen part {part!r} is not one of: {', '.join(PARTS)}")
        if self.heads not in HEADS:
            raise ValueError(f"heads {self.heads!r} is not one of: {', '.join(HEADS)}")


AS_PEOPLE_DO = Acting()


def ease(u: np.ndarray) -> np.ndarray:
    """A smooth way from 0 (at u = 0 and before) to 1 (at u = 1 and after)."""
    u = np.clip(u, 0, 1)
    return u**3 * (u * (6 * u - 15) + 10)


def act(label: str, num_frames: int, rng: np.random.Generator, acting: Acting = AS_PEOPLE_DO) -> Performance:
    """One clip's performance of an expression: every part of the pose over time.

    Args:
        label: one of `LABELS`.
        num_frames: at least 1; any number shows the same performance, sampled more or less finely.
        rng: what varies: onset, speed, strength, relaxation, sway, blink, glance, the side of one-sided motion.
        acting: how widely strength and turn vary; all else stays the same.

    Returns:
        a `Pose` whose fields are (T, 1, 1), exactly 0 in frame 0, with its strength.
    """
    # Draw everything in one place and in one order, whatever the label: what varies says nothing about the label.
    variant, side = rng.integers(1000), 1.0 if rng.random() < 0.5 else -1.0
    strength, onset, rise = rng.uniform(*acting.strength), rng.uniform(0.03, 0.16), rng.uniform(0.22, 0.36)
    relaxes, relax_at, relax_to = rng.random() < 0.35, rng.uniform(0.7, 0.85), rng.uniform(0.0, 0.4)
    part_delay = rng.uniform(0, 0.05, len(fields(Pose)))
    part_strength = rng.uniform(0.88, 1.12, len(fields(Pose)))
    sway = rng.uniform(-1, 1, 3) * (0.02, 0.014, 0.028)  # x, y, roll
    sway_speed, sway_phase = rng.uniform(0.4, 1.1, 3), rng.uniform(0, 2 * np.pi, 3)
    blinks, blink_at = rng.random() < 0.3, rng.uniform(0.15, 0.95)
    glances, glance_at, glance = rng.random() < 0.4, rng.uniform(0.1, 0.8), rng.uniform(-1, 1, 2) * (0.035, 0.014)
    tremble, tremble_phase = rng.uniform(0.006, 0.011), rng.uniform(0, 2 * np.pi)
    turn = rng.uniform(-acting.turn, acting.turn) if acting.turn else 0.0  # last: so all before it stays the same

    pose = POSES[label][variant % len(POSES[label])]
    pose = replace(pose, head_x=pose.head_x * side, roll=pose.roll * side, sneer=pose.sneer * side)
    time = np.linspace(0, 1, num_frames) if num_frames > 1 else np.zeros(1)
    curves = {}
    for field, delay, part in zip(fields(Pose), part_delay, part_strength, strict=True):
        level = ease((time - onset - delay) / rise)
        if relaxes:
            level = level * (1 - relax_to * ease((time - relax_at) / 0.3))
        curves[field.name] = getattr(pose, field.name) * strength * part * level
    wave = lambda k: sway[k] * (np.sin(2 * np.pi * sway_speed[k] * time + sway_phase[k]) - np.sin(sway_phase[k]))  # noqa: E731
    for k, name in enumerate(("head_x", "head_y", "roll")):
        curves[name] = curves[name] + wave(k)
    curves["roll"] = curves["roll"] + turn * ease((time - onset) / rise)
    if label == "fear":
        tremor = np.sin(2 * np.pi * 4.5 * time + tremble_phase) * ease((time - onset) / rise)
        curves["head_x"] = curves["head_x"] + strength * tremble * tremor
    if glances:
        for name, amount in zip(("gaze_x", "gaze_y"), glance, strict=True):
            curves[name] = curves[name] + amount * ease((time - glance_at) / 0.12)
    if blinks:
        closed = ease(1 - np.abs(time - blink_at) / 0.13)
        curves["lid"] = curves["lid"] * (1 - closed) + 0.62 * closed
        curves["lid_slant"] = curves["lid_slant"] * (1 - closed)
        curves["lower_lid"] = curves["lower_lid"] + 0.06 * closed
    frames = {name: torch.from_numpy(curve).float()[:, None, None] for name, curve in curves.items()}
    return Performance(**frames, strength=float(strength))


def perform(label: str, num_frames: int, rng: np.random.Generator, acting: Acting = AS_PEOPLE_DO) -> Performance:
    """One clip's performance as `act` gives it, with another's head or without some parts, as `acting` says.

    A shuffled head takes all of its motion, a tremor too, from a whole performance of its own; the label of that one
    is any of the six, drawn apart. What the face does is the same with either head.
    """
    performance = act(label, num_frames, rng, acting)
    if acting.heads == "shuffled":
        other = act(LABELS[rng.integers(len(LABELS))], num_frames, rng, acting)
        performance = replace(performance, **{name: getattr(other, name) for name in PARTS["head"]})
    still = torch.zeros(num_frames, 1, 1)
    frozen: dict[str, Any] = {name: still for part in acting.frozen for name in PARTS[part]}
    return replace(performance, **frozen)
