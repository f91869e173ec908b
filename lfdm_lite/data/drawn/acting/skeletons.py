"""Bodies in space: joints that rotate or reach, seen by a camera.

Lengths are in units of the image. A person stands in a frame of their own: x to their left (right in the image when
they face the camera), y up, z towards where they face. The columns of a turn are these axes of a part of the body.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from ..engine.limbs import Track

Places = Float[np.ndarray, "t 3"]
Turns = Float[np.ndarray, "t 3 3"]
SIDES = (-1, 1)  # the right and the left one of a pair


@dataclass(frozen=True)
class Bones:
    """The lengths of a body."""

    neck: float = 0.032  # its base to the chin
    head: float = 0.16  # half the head's height
    torso: float = 0.425  # hips to the base of the neck
    shoulder: float = 0.155  # half the way between the shoulder joints
    hip: float = 0.072
    upper_arm: float = 0.25
    forearm: float = 0.225
    thigh: float = 0.305
    shin: float = 0.29
    foot: float = 0.133

    @property
    def arm(self) -> float:
        return self.upper_arm + self.forearm

    @property
    def leg(self) -> float:
        return self.thigh + self.shin


@dataclass(frozen=True)
class Skeleton:
    """Where everything is, frame by frame."""

    joints: dict[str, Places]  # "pelvis", "neck", "head", and "shoulder -1" (right) or "shoulder 1" (left), and so on
    pelvis: Turns
    chest: Turns
    face: Turns

    def turned(self, turn: Turns) -> "Skeleton":
        """The same after one more turn around the point on the floor between the feet."""
        places = (turn @ np.stack(list(self.joints.values()))[..., None])[..., 0]
        joints = dict(zip(self.joints, places, strict=True))
        return Skeleton(joints, turn @ self.pelvis, turn @ self.chest, turn @ self.face)


class Camera:
    """How a person stands before the camera, which is so far away that parallel lines stay parallel.

    Args:
        yaw: radians; above 0 the person looks to the right of the image.
        pitch: radians; above 0 the camera looks down.
        x, y: where in the image the point on the floor between the feet is.
    """

    def __init__(self, yaw: float, pitch: float, x: float = 0.0, y: float = 0.84) -> None:
        self.yaw, self.x, self.y = yaw, x, y
        self.turn: Float[np.ndarray, "3 3"] = turn_x(pitch) @ turn_y(yaw)

    def tracks(self, skeleton: Skeleton) -> dict[str, Track]:
        """The joints' places in the image."""
        seen = np.stack(list(skeleton.joints.values())) @ self.turn.T
        seen = torch.from_numpy(np.stack([self.x + seen[..., 0], self.y - seen[..., 1]], -1)).float()
        return dict(zip(skeleton.joints, seen.unbind(0), strict=True))

    def depth(self, places: Places) -> Float[np.ndarray, "t"]:
        """How much nearer than the point on the floor a place is."""
        return places @ self.turn[2]


def _turn(angle: np.ndarray | float, first: int, second: int) -> np.ndarray:
    angle = np.asarray(angle, dtype=np.float64)
    turn = np.zeros((*angle.shape, 3, 3)) + np.eye(3)
    turn[..., first, first] = turn[..., second, second] = np.cos(angle)
    turn[..., second, first] = np.sin(angle)
    turn[..., first, second] = -np.sin(angle)
    return turn


def turn_x(angle: np.ndarray | float) -> np.ndarray:
    """Turns that carry y (up) towards z (forward): a bow."""
    return _turn(angle, 1, 2)


def turn_y(angle: np.ndarray | float) -> np.ndarray:
    """Turns that carry z (forward) towards x (the person's left)."""
    return _turn(angle, 2, 0)


def turn_z(angle: np.ndarray | float) -> np.ndarray:
    """Turns that carry x towards y: a bend to the person's right."""
    return _turn(angle, 0, 1)


def turned_by(turn: Turns, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Places:
    """Where the turns carry one point."""
    return turn @ np.array((x, y, z))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1 in the same directions."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def reach(start: Places, goal: Places, first: float, second: float, pole: Places) -> tuple[Places, Places]:
    """A chain of two bones that ends at the goal, or as near as it can: its middle joint and its end.

    Args:
        first, second: the bones' lengths.
        pole: where the middle joint points, at a right angle to the line from start to end.
    """
    line = goal - start
    distance = np.linalg.norm(line, axis=-1, keepdims=True)
    far = np.clip(distance, abs(first - second) + 1e-3, 0.998 * (first + second))
    line = line / np.maximum(distance, 1e-9)
    along = (first**2 + far**2 - second**2) / (2 * far)
    aside = np.sqrt(np.maximum(first**2 - along**2, 0))
    pole = unit(pole - (pole * line).sum(-1, keepdims=True) * line)
    return start + along * line + aside * pole, start + far * line


def carried(direction: np.ndarray, start: np.ndarray, end: Places) -> Places:
    """Directions after the shortest turn that carries the unit vector `start` to the unit vectors `end`."""
    axis, cos = np.cross(start, end), (start * end).sum(-1, keepdims=True)
    once = np.cross(axis, direction)
    return direction + once + np.cross(axis, once) / np.maximum(1 + cos, 0.1)
