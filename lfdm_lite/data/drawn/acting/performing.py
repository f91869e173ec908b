"""From keyframes to bodies in space: what is between keys, what varies between clips, where elbows and knees are."""

from dataclasses import fields

import numpy as np
from jaxtyping import Float

from .actions import ACTIONS, Key
from .skeletons import SIDES, Bones, Skeleton, carried, reach, turn_x, turn_y, turn_z, turned_by, unit

LABELS = tuple(ACTIONS)
NEAR = ("throw",)  # led by the side nearer to the camera: from behind, it would be hidden
STANCE, SPLAY = 0.09, 0.45  # feet: how far each is from the middle, and turned out (radians)
ANKLE = 0.045  # its height above the floor
# What nobody means: hips aside and forward; lean, bend, twist, nod, tilt and turn in degrees
SWAY = np.array((0.012, 0.01, 1.5, 1.5, 2.5, 2.0, 2.5, 4.0))


def act(label: str, bones: Bones, num_frames: int, rng: np.random.Generator, looks: int = 1) -> Skeleton:
    """One clip's performance of an action.

    Args:
        label: one of `LABELS`.
        bones: whose body.
        num_frames: at least 1; any number shows the same performance, sampled more or less finely.
        rng: what varies: leading side, repeats, onset, pace, strength, which part comes late, sway.
        looks: 1 if the camera sees the person look to the right of the image, -1 to the left.

    Returns:
        joints for every frame; those of frame 0 are the body at rest, whatever the label.
    """
    # Draw everything in one place and in one order, whatever the label: what varies says nothing about the label.
    lead, times = -1 if rng.random() < 0.6 else 1, 1 + int(rng.integers(2))
    lead = -looks if label in NEAR else lead
    onset, end, strength = rng.uniform(0.02, 0.09), rng.uniform(0.92, 1.06), rng.uniform(0.93, 1.05)
    late = rng.uniform(0, 0.02, len(fields(Key)))
    sway, speed, phase = rng.uniform(-1, 1, 8), rng.uniform(0.4, 1.0, 8), rng.uniform(0, 2 * np.pi, 8)

    time = frame_times(num_frames)
    keys = [Key(0.0), *ACTIONS[label](times)]
    at = onset + (end - onset) * np.array([key.at for key in keys])
    table, widths = columns(keys)
    curves = glide(at, table[0] + strength * (table - table[0]), time[:, None] - np.repeat(late, widths))
    names = [field.name for field in fields(Key)]
    now = dict(zip(names, np.split(curves, np.cumsum(widths)[:-1], axis=1), strict=True))
    drift = SWAY * sway * (np.sin(2 * np.pi * speed * time[:, None] + phase) - np.sin(phase))
    now["hips"] = now["hips"] + np.stack([drift[:, 0], 0 * time, drift[:, 1]], -1)
    for k, name in enumerate(("lean", "bend", "twist", "nod", "tilt", "turn"), 2):
        now[name] = now[name] + drift[:, k : k + 1]
    return pose(now, lead, bones).turned(turn_y(looks * np.radians(now["aside"][:, 0])))


def columns(keys: list[Key]) -> tuple[Float[np.ndarray, "n k"], list[int]]:
    """The numbers of keys, a row a key, and how many of them each field has."""
    rows = [[np.atleast_1d(getattr(key, field.name)) for field in fields(Key)] for key in keys]
    return np.array([np.concatenate(row) for row in rows], dtype=np.float64), [len(value) for value in rows[0]]


def frame_times(num_frames: int) -> Float[np.ndarray, "t"]:
    """The moments of a clip's frames, from 0 to 1."""
    return np.linspace(0, 1, num_frames) if num_frames > 1 else np.zeros(1)


def glide(
    at: Float[np.ndarray, "n"], values: Float[np.ndarray, "n k"], time: Float[np.ndarray, "t k"]
) -> Float[np.ndarray, "t k"]:
    """Smooth curves through keys that never leave what two neighbours span: flat where a number turns around or waits.

    Args:
        at: when the keys are, growing.
        values: a column a curve.
        time: when to look, each curve at its own moments; before the first key and after the last one they rest.

    Source: Fritsch and Butland, monotone piecewise cubic interpolation (harmonic mean of neighbouring slopes).
    """
    slope = np.diff(values, axis=0) / np.diff(at)[:, None]
    product, tangent = slope[:-1] * slope[1:], np.zeros_like(values)
    np.divide(2 * product, slope[:-1] + slope[1:], out=tangent[1:-1], where=product > 0)
    time = np.clip(time, at[0], at[-1])
    k = np.clip(np.searchsorted(at, time, side="right") - 1, 0, len(at) - 2)
    curve = np.arange(values.shape[1])
    width = at[k + 1] - at[k]
    u = (time - at[k]) / width
    rise = values[k + 1, curve] - values[k, curve]
    bend = tangent[k, curve] * (1 - u) - tangent[k + 1, curve] * u
    return values[k, curve] + rise * u**2 * (3 - 2 * u) + width * u * (1 - u) * bend


def pose(now: dict[str, np.ndarray], lead: int, bones: Bones) -> Skeleton:
    """Joints from where hands, feet and trunk are.

    Args:
        now: `Key`'s fields, each (t, 1) or (t, 3).
        lead: -1 if the right side leads, 1 if the left one.
    """
    angle = {name: np.radians(now[name][:, 0]) for name in ("lean", "bend", "twist", "nod", "tilt", "turn")}
    mirror = np.array((lead, 1, 1))

    def trunk(
        share: float, nod: np.ndarray | float = 0.0, tilt: np.ndarray | float = 0.0, turn: np.ndarray | float = 0.0
    ) -> np.ndarray:
        bent = turn_x(share * angle["lean"] + nod) @ turn_z(-lead * (share * angle["bend"] + tilt))
        return bent @ turn_y(-lead * (share * angle["twist"] + turn))

    chest_turn, pelvis_turn = trunk(1.0), turn_y(-0.3 * lead * angle["twist"])
    head_turn = trunk(0.75, angle["nod"], angle["tilt"], angle["turn"] - 0.45 * angle["twist"])
    standing = ANKLE + np.sqrt((0.985 * bones.leg) ** 2 - (STANCE - bones.hip) ** 2)
    pelvis = bones.leg * mirror * now["hips"] + (0, standing, 0)
    neck = pelvis + turned_by(chest_turn, y=bones.torso)
    head = neck + turned_by(head_turn, y=bones.neck + bones.head)
    joints = {"pelvis": pelvis, "neck": neck, "head": head}
    for side in SIDES:
        foot = now["foot" if side == lead else "other_foot"]
        hip = pelvis + turned_by(pelvis_turn, x=side * bones.hip)
        sole = bones.leg * mirror * foot + (side * STANCE, ANKLE, 0)
        knee, ankle = reach(hip, sole, bones.thigh, bones.shin, turned_by(pelvis_turn, x=0.35 * side, z=1.0))
        lifted = np.clip(foot[:, 1:2] / 0.3, 0, 1)
        flat = unit(np.array((side * np.sin(SPLAY), -0.2, np.cos(SPLAY))))
        hung = unit(carried(flat, np.array((0.0, -1.0, 0.0)), unit(ankle - knee)) - (0, 0.5, 0))
        joints |= {f"hip {side}": hip, f"knee {side}": knee, f"ankle {side}": ankle}
        joints[f"toe {side}"] = ankle + bones.foot * unit(flat + lifted * (hung - flat))

    grip = {}  # where each hand would be by itself
    for side in SIDES:
        raised, plane, far = (now["hand" if side == lead else "other"] * (np.pi / 180, np.pi / 180, bones.arm)).T
        way = (side * np.sin(raised) * np.cos(plane), -np.cos(raised), np.sin(raised) * np.sin(plane))
        joints[f"shoulder {side}"] = neck + turned_by(chest_turn, x=side * bones.shoulder, y=-0.035)
        grip[side] = joints[f"shoulder {side}"] + far[:, None] * np.stack(way, -1)
    grip[-lead] = grip[-lead] + now["together"] * (grip[lead] - grip[-lead])
    for side in SIDES:
        out = side * (0.5 + now["elbow" if side == lead else "other_elbow"])
        pole = np.concatenate([out, 0 * out - 1.0, 0 * out - 0.6], -1)
        elbow, wrist = reach(joints[f"shoulder {side}"], grip[side], bones.upper_arm, bones.forearm, pole)
        joints |= {f"elbow {side}": elbow, f"wrist {side}": wrist}
    return Skeleton(joints, pelvis_turn, chest_turn, head_turn)
