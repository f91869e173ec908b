"""People who move as people did: captured motion, from files in the format of DeepMimic.

Nothing of it is part of this library. The files are those of the package `pybullet`, if it is installed, or of a folder
that you name. `humanoid3d_<action>.txt` is JSON: "Loop" ("wrap" or "none") and "Frames", each 44 numbers: seconds; the
root's place (x forward, y up, z right); and for root, chest, neck, then right and left hip, knee, ankle, shoulder and
elbow a quaternion (w, x, y, z), or, for knee and elbow, an angle.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Float

from .performing import ANKLE, SPLAY, frame_times
from .skeletons import SIDES, Bones, Skeleton, turn_x, turn_y, turned_by, unit

# Those that begin on the feet (people who first have to lie down look odd), and which of the recording (1) and its
# mirror image (-1) a camera sees well when it sees the person look to the right of the image; 0: both.
ACTIONS = {"backflip": 0, "cartwheel": 0, "dance_a": 0, "dance_b": 0, "jump": 0, "kick": -1, "punch": 1, "roll": 0,
           "run": 0, "spin": 0, "spinkick": 0, "walk": 0}  # fmt: skip
STANDING = 0.88  # height of the root in the files when a person stands
_WIDTH = 44
_TURNS = {"root": 4, "chest": 8, "neck": 12, "hip -1": 16, "ankle -1": 21, "shoulder -1": 25, "hip 1": 30,
          "ankle 1": 35, "shoulder 1": 39}  # fmt: skip
_HINGES = {"knee -1": 20, "elbow -1": 29, "knee 1": 34, "elbow 1": 43}
_AXES = np.array(((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)))  # from the files' axes to ours
_HANGING = {"shoulder -1": (1.0, -0.033, 0.0, -0.071), "shoulder 1": (1.0, -0.033, 0.0, 0.071)}  # at rest
_BENT = {"elbow -1": 0.3, "elbow 1": 0.3}


@dataclass(frozen=True)
class Captured:
    """One recorded action, in our axes: x to the person's left, y up, z forward."""

    times: Float[np.ndarray, "n"]  # seconds, from 0
    root: Float[np.ndarray, "n 3"]  # metres
    turns: dict[str, Float[np.ndarray, "n 4"]]
    hinges: dict[str, Float[np.ndarray, "n"]]
    loops: bool

    def at(self, seconds: Float[np.ndarray, "t"]) -> "Captured":
        """The same at other moments, between frames too. A loop goes on from where it ends; others wait there."""
        whole = self.times[-1]
        rounds = np.floor(seconds / whole) if self.loops else np.zeros_like(seconds)
        inside = np.clip(seconds - rounds * whole, 0, whole)
        k = np.clip(np.searchsorted(self.times, inside, side="right") - 1, 0, len(self.times) - 2)
        part = (inside - self.times[k]) / (self.times[k + 1] - self.times[k])
        between = lambda v: v[k] + part.reshape(-1, *[1] * (v.ndim - 1)) * (v[k + 1] - v[k])  # noqa: E731
        onward = rounds[:, None] * (self.root[-1] - self.root[0]) * (1, 0, 1)
        turns = {name: between(q) for name, q in self.turns.items()}
        return Captured(
            seconds, between(self.root) + onward, turns, {n: between(v) for n, v in self.hinges.items()}, False
        )


def motion_folder() -> Path:
    """Where the package `pybullet` keeps its motions.

    Raises:
        ImportError: if it is not installed.
    """
    package = find_spec("pybullet_data")
    if package is None or not package.submodule_search_locations:
        raise ImportError(
            'captured motion comes with the package pybullet, which is not installed; run "pip install pybullet", or '
            'name a folder with humanoid3d_<action>.txt files (motions=...), or use motion="procedural"'
        )
    return Path(package.submodule_search_locations[0]) / "data" / "motions"


def found(folder: Path) -> dict[str, Path]:
    """The motion files of a folder by action.

    Raises:
        FileNotFoundError: if there is none of an action that `ACTIONS` names.
    """
    files = {action: folder / f"humanoid3d_{action}.txt" for action in ACTIONS}
    files = {action: file for action, file in files.items() if file.is_file()}
    if not files:
        raise FileNotFoundError(f"{folder} has no humanoid3d_<action>.txt of an action among: {', '.join(ACTIONS)}")
    return files


@lru_cache(maxsize=64)
def read(file: Path) -> Captured:
    """One motion file.

    Raises:
        ValueError: if it is not in the format that the module's text describes.
    """
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        frames, loops = np.array(told["Frames"], dtype=np.float64), told["Loop"] == "wrap"
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{file} is not a motion file: JSON with "Loop" and "Frames" ({error!r})') from None
    if frames.ndim != 2 or frames.shape[1] != _WIDTH or len(frames) < 2 or not np.isfinite(frames).all():
        raise ValueError(f"{file}: expected at least 2 frames of {_WIDTH} finite numbers, found {frames.shape}")
    if not (frames[:-1, 0] > 0).all():
        raise ValueError(f"{file}: every frame but the last takes some time, found {frames[:-1, 0].min()} seconds")
    turns = {}
    for part, column in _TURNS.items():
        q = unit(frames[:, column : column + 4])
        flips = np.where((q[1:] * q[:-1]).sum(-1) < 0, -1.0, 1.0)  # q and -q are the same turn: take the nearer one
        q[1:] *= np.cumprod(flips)[:, None]
        turns[part] = np.concatenate([q[:, :1], q[:, 1:] @ _AXES.T], -1)
    hinges = {part: frames[:, column] for part, column in _HINGES.items()}
    times = np.concatenate([[0.0], np.cumsum(frames[:-1, 0])])
    return Captured(times, frames[:, 1:4] @ _AXES.T, turns, hinges, loops)


def play(motion: Captured, bones: Bones, num_frames: int, rng: np.random.Generator, mirror: int = 0) -> Skeleton:
    """One clip's playing of a recorded action, by a body that first stands at rest.

    Args:
        motion: what to play.
        bones: whose body: lengths are its own, turns are the recorded ones.
        num_frames: at least 1; any number shows the same performance, sampled more or less finely.
        rng: what varies: pace, how soon it begins, where a loop starts, the mirror image.
        mirror: 1 as recorded, -1 left and right changed, 0 one of them.
    """
    side, begins, pace = -1 if rng.random() < 0.5 else 1, rng.uniform(0.1, 0.18), rng.uniform(0.9, 1.1)
    start = rng.uniform(0, 0.25) * motion.times[-1] * motion.loops
    time = frame_times(num_frames)
    seconds = np.clip(motion.times[-1], 1.6, 3.2) * pace
    now = motion.at(start + seconds * np.clip(time - 0.3 * begins, 0, None))
    first = motion.at(np.array([start]))
    share = np.clip(time / begins, 0, 1)
    share = (share**2 * (3 - 2 * share))[:, None]  # how much of the recorded pose the body has taken on

    forward = _matrices(first.turns["root"])[0, :, 2]
    heading = np.arctan2(forward[0], forward[2])  # all people begin with their face to the same side
    now.turns["root"] = _product((np.cos(heading / 2), 0.0, -np.sin(heading / 2), 0.0), now.turns["root"])
    standing = ANKLE + 0.998 * bones.leg
    way = (now.root - first.root) @ turn_y(-heading).T * (standing / STANDING)
    way[:, [0, 2]] -= time[:, None] * way[-1, [0, 2]]  # stays before the camera
    way[:, 1] = now.root[:, 1] * (standing / STANDING) - standing
    return _mirrored(_posed(now, share, share * way + (0, standing, 0), bones), mirror or side)


def _posed(now: Captured, share: np.ndarray, pelvis: np.ndarray, bones: Bones) -> Skeleton:
    """Forward kinematics: every turn comes on top of that of the part it hangs from."""

    def turn(part: str) -> np.ndarray:
        rest, q = np.array(_HANGING.get(part, (1.0, 0.0, 0.0, 0.0))), now.turns[part]
        q = q * np.where(q[:1] @ rest < 0, -1.0, 1.0)
        return _matrices(rest + share * (q - rest))

    def bent(part: str) -> np.ndarray:
        rest = _BENT.get(part, 0.0)
        return turn_x(-(rest + share[:, 0] * (now.hinges[part] - rest)))

    root = turn("root")
    chest = root @ turn("chest")
    face = chest @ turn("neck")
    neck = pelvis + turned_by(root, y=bones.torso / 2) + turned_by(chest, y=bones.torso / 2)
    joints = {"pelvis": pelvis, "neck": neck, "head": neck + turned_by(face, y=bones.neck + bones.head)}
    for side in SIDES:
        upper = root @ turn(f"hip {side}")
        lower = upper @ bent(f"knee {side}")
        hip = pelvis + turned_by(root, x=side * bones.hip)
        knee = hip + turned_by(upper, y=-bones.thigh)
        ankle = knee + turned_by(lower, y=-bones.shin)
        sole = bones.foot * unit(np.array((side * np.sin(SPLAY), -0.2, np.cos(SPLAY))))
        joints |= {f"hip {side}": hip, f"knee {side}": knee, f"ankle {side}": ankle}
        joints[f"toe {side}"] = ankle + turned_by(lower @ turn(f"ankle {side}"), *sole)
        upper = chest @ turn(f"shoulder {side}")
        shoulder = neck + turned_by(chest, x=side * bones.shoulder, y=-0.035)
        elbow = shoulder + turned_by(upper, y=-bones.upper_arm)
        wrist = elbow + turned_by(upper @ bent(f"elbow {side}"), y=-bones.forearm)
        joints |= {f"shoulder {side}": shoulder, f"elbow {side}": elbow, f"wrist {side}": wrist}
    return Skeleton(joints, root, chest, face)


def _mirrored(body: Skeleton, mirror: int) -> Skeleton:
    """Left and right changed, if `mirror` is -1."""
    if mirror > 0:
        return body
    flip = np.array((-1.0, 1.0, 1.0))
    other = lambda name: name[:-2] + "1" if name.endswith("-1") else name[:-1] + "-1" if name[-1] == "1" else name  # noqa: E731
    turns = (flip[:, None] * turn * flip for turn in (body.pelvis, body.chest, body.face))
    return Skeleton({name: body.joints[other(name)] * flip for name in body.joints}, *turns)


def _product(first: tuple[float, ...], second: np.ndarray) -> np.ndarray:
    """Of two quaternions: the turn `second`, then `first`."""
    w, v = first[0], np.array(first[1:])
    scalar = w * second[:, :1] - second[:, 1:] @ v[:, None]
    return np.concatenate([scalar, w * second[:, 1:] + second[:, :1] * v + np.cross(v, second[:, 1:])], -1)


def _matrices(q: Float[np.ndarray, "t 4"]) -> Float[np.ndarray, "t 3 3"]:
    """Quaternions of any length to turns."""
    w, x, y, z = unit(q).T
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)
