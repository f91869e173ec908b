"""How people signal: gestures as keyframes of both arms and hands, and the curves between them.

Keys are written for an arm that hangs from a shoulder; the image's left arm mirrors the right one. What varies between
clips (who leads, onset, pace, repeats, strength, relaxation, sway) says nothing about the label, and every
curve is exactly at rest in frame 0.
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .expressions import ease

Value = Tensor | float | int
SIDES = (-1, 1)  # the arm on the left of the image, and the one on its right
LEADS = {"turn left": -1, "turn right": 1}  # where the side is the meaning; elsewhere either arm may lead


@dataclass(frozen=True)
class Arm:
    """Where an arm and its hand are. Degrees in a table of keys; one value a frame (T,), in radians, in an act.

    Directions in the image: 0 hangs, 90 out to the arm's side, 180 up; below 0 across the body. Directions out of it:
    0 in the plane of the image, 90 towards the viewer, 180 in it again, but the opposite way.
    """

    upper: Value = 13.0  # upper arm, direction in the image
    fore: Value = 4.0  # forearm, likewise
    upper_ahead: Value = 0.0  # upper arm towards the viewer
    fore_ahead: Value = 14.0  # forearm, likewise
    wrist: Value = 0.0  # hand against forearm, counted as the forearm's direction is
    hand_ahead: Value = 10.0  # hand towards the viewer
    splay: Value = 12.0  # thumb away from the fingers; 90 at right angles, below 0 folded over them
    curl: Value = 0.35  # of the fingers: 0 straight, 1 a fist
    thumb: Value = 0.45  # where the thumb is: 1 on the body's side while the arm hangs, -1 opposite, 0 ahead


@dataclass(frozen=True)
class Act:
    """One clip's performance: everything over time, each (T,); lengths in image units, angles in radians."""

    arms: tuple[Arm, Arm]  # in the order of `SIDES`
    shift: Tensor  # of the whole person, to the right
    lean: Tensor  # about the hips, clockwise
    nod: Tensor  # head down
    roll: Tensor  # head clockwise


Keys = list[tuple[float, Arm, Arm]]  # when (0 to 1), the leading arm, the other one
HANG = Arm()
OPEN, FIST = dict(curl=0.0, splay=42.0, hand_ahead=0.0), dict(curl=1.0, splay=-58.0, hand_ahead=0.0)


def _both(at: float, arm: Arm) -> tuple[float, Arm, Arm]:
    return at, arm, arm


def _strokes(times: int, stroke: Callable[[Callable[[float], float]], Keys], start: float) -> Keys:
    """A stroke again and again from `start` on: it is given a clock that runs from 0 to 1."""
    length = (1 - start) / times

    def clock(n: int) -> Callable[[float], float]:
        return lambda part: start + length * (n + part)

    return [key for n in range(times) for key in stroke(clock(n))]


def _thumb(arm: Arm, other: Arm) -> Callable[[int], Keys]:
    """Show a thumb, and shake it a little."""

    def keys(times: int) -> Keys:
        shake = lambda at: [(at(0.5), other, HANG), (at(1.0), arm, HANG)]  # noqa: E731
        return [(0.45, arm, HANG), *_strokes(times, shake, 0.5)]

    return keys


_UP = Arm(36, 132, 25, 45, wrist=-32, thumb=-1.0, curl=1.0, splay=84, hand_ahead=0)
_DOWN = Arm(42, 80, 25, 45, wrist=8, thumb=1.0, curl=1.0, splay=88, hand_ahead=0)
_HUG = Arm(28, 52, 20, 168, wrist=-6, thumb=-0.9, curl=0.05, splay=20, hand_ahead=178)
_WIDE = Arm(91, 91, thumb=-0.9, **OPEN)
_HIGH = Arm(140, 172, 0, 0, thumb=-1.0)
_BECKON_FAR = Arm(64, 112, 20, 35, thumb=-0.5, curl=0.0, splay=25, hand_ahead=20)
_BECKON_NEAR = Arm(78, 184, 15, 5, wrist=14, thumb=-0.5, curl=0.1, splay=25, hand_ahead=10)
_CROSS = Arm(172, 228, 0, 0, wrist=-8, thumb=-0.9, curl=0.0, splay=38, hand_ahead=0)
_ASIDE_HIGH = Arm(82, 88, 0, 0, wrist=6, thumb=0.0, curl=0.0, splay=20, hand_ahead=20)
_ASIDE_LOW = Arm(40, 38, 0, 0, wrist=16, thumb=0.0, curl=0.0, splay=20, hand_ahead=20)
_CHOCK_OUT, _CHOCK_IN = Arm(46, 54, 5, 10), Arm(19, -22, 5, 25)
_THROAT_FAR = Arm(87, -98, 52, 0, wrist=4, thumb=0.4, curl=0.0, splay=10, hand_ahead=0)
_THROAT_NEAR = Arm(98, -92, 10, 35, wrist=2, thumb=0.4, curl=0.0, splay=10, hand_ahead=0)


def _spread(times: int) -> Keys:
    return [_both(0.32, _HUG), _both(0.45, _HUG), _both(0.85, _WIDE), _both(1.0, _WIDE)]


def _fold(times: int) -> Keys:
    return [_both(0.35, _WIDE), _both(0.48, _WIDE), _both(0.88, _HUG), _both(1.0, _HUG)]


def _ahead(times: int) -> Keys:
    pull = lambda at: [_both(at(0.35), _BECKON_FAR), _both(at(0.85), _BECKON_NEAR), _both(at(1.0), _BECKON_NEAR)]  # noqa: E731
    return [_both(0.22, _BECKON_NEAR), *_strokes(times + 1, pull, 0.24)]


def _turn(times: int) -> Keys:
    pull = lambda at: [  # noqa: E731
        (at(0.35), _WIDE, _BECKON_FAR),
        (at(0.85), _WIDE, _BECKON_NEAR),
        (at(1.0), _WIDE, _BECKON_NEAR),
    ]
    return [(0.24, _WIDE, _BECKON_NEAR), *_strokes(times + 1, pull, 0.26)]


def _slow(times: int) -> Keys:
    press = lambda at: [_both(at(0.5), _ASIDE_LOW), _both(at(1.0), _ASIDE_HIGH)]  # noqa: E731
    return [_both(0.2, _ASIDE_HIGH), *_strokes(times + 1, press, 0.2)]


def _stop(times: int) -> Keys:
    return [_both(0.28, replace(_HIGH, upper=118, fore=150, **OPEN)), _both(0.62, _CROSS), _both(1.0, _CROSS)]


def _brakes(first: dict[str, float], then: dict[str, float]) -> Callable[[int], Keys]:
    """Hands high: in one state, then in the other."""

    def keys(times: int) -> Keys:
        before, after = replace(_HIGH, **first), replace(_HIGH, **then)
        return [_both(0.36, before), _both(0.55, before), _both(0.75, after), _both(1.0, after)]

    return keys


def _chocks(start: Arm, end: Arm, thumb: float) -> Callable[[int], Keys]:
    """Fists with their thumbs out swing from the first place to the second."""
    fist = dict(curl=1.0, splay=90, thumb=thumb, hand_ahead=0)
    start, end = replace(start, **fist), replace(end, **fist)

    def keys(times: int) -> Keys:
        swing = lambda at: [_both(at(0.15), start), _both(at(0.55), end), _both(at(0.75), end), _both(at(1.0), start)]  # noqa: E731
        return [_both(0.2, start), *_strokes(times, swing, 0.2)[:-1], _both(1.0, end)]

    return keys


def _cut(times: int) -> Keys:
    slash = lambda at: [  # noqa: E731
        (at(0.45), _THROAT_NEAR, HANG),
        (at(0.6), _THROAT_NEAR, HANG),
        (at(1.0), _THROAT_FAR, HANG),
    ]
    return [(0.3, _THROAT_FAR, HANG), *_strokes(times + 1, slash, 0.32)[:-1], (1.0, _THROAT_NEAR, HANG)]


GESTURES: dict[str, Callable[[int], Keys]] = {
    "brakes off": _brakes(FIST, OPEN),
    "brakes on": _brakes(OPEN, FIST),
    "chocks in": _chocks(_CHOCK_OUT, _CHOCK_IN, 1.0),
    "chocks out": _chocks(_CHOCK_IN, _CHOCK_OUT, -1.0),
    "cut engine": _cut,
    "fold wings": _fold,
    "move ahead": _ahead,
    "slow down": _slow,
    "spread wings": _spread,
    "stop": _stop,
    "thumbs down": _thumb(_DOWN, replace(_DOWN, upper=34, fore=64)),
    "thumbs up": _thumb(_UP, replace(_UP, upper=34, fore=118, wrist=-18)),
    "turn left": _turn,
    "turn right": _turn,
}
LABELS = tuple(GESTURES)


def act(label: str, num_frames: int, rng: np.random.Generator) -> Act:
    """One clip's performance of a gesture.

    Args:
        label: one of `LABELS`.
        num_frames: at least 1; any number shows the same performance, sampled more or less finely.
        rng: what varies; frame 0 depends on it, but not on the label.
    """
    # Draw everything in one place and in one order, whatever the label: what varies says nothing about the label.
    lead, times = -1 if rng.random() < 0.5 else 1, 1 + int(rng.integers(2))
    onset, end, strength = rng.uniform(0.02, 0.1), rng.uniform(0.88, 1.0), rng.uniform(0.95, 1.04)
    relaxes, relax_at, relax_to = rng.random() < 0.3, rng.uniform(0.84, 0.92), rng.uniform(0.05, 0.15)
    late, loose = rng.uniform(0, 0.03, 2), rng.uniform(-1, 1, (2, 9)) * (4, 5, 5, 5, 6, 4, 5, 0.05, 0.08)
    rest_loose = rng.uniform(-1, 1, (2, 9)) * (2, 3, 0, 4, 4, 4, 4, 0.08, 0.12)
    place = rng.uniform(-0.03, 0.03)
    sway = rng.uniform(-1, 1, 4) * (0.012, 0.02, 0.008, 0.04)  # shift, lean, nod, roll
    speed, phase = rng.uniform(0.4, 1.1, 4), rng.uniform(0, 2 * np.pi, 4)

    lead = LEADS.get(label, lead)
    time = np.linspace(0, 1, num_frames) if num_frames > 1 else np.zeros(1)
    keys = GESTURES[label](times)
    at = np.array([0.0, *(key[0] for key in keys)])
    arms = []
    for side, delay, off, rest_off in zip(SIDES, late, loose, rest_loose, strict=True):
        rest = np.array(astuple(HANG)) + rest_off
        goals = np.array([astuple(key[1] if side == lead else key[2]) for key in keys])
        idle = (goals == astuple(HANG)).all()
        goals[:, :7] = rest[:7] + strength * (goals[:, :7] - rest[:7])
        goals = rest + 0 * goals if idle else goals + off
        values = np.concatenate([rest[None], goals])
        now = _between(onset + (end - onset) * at + delay, values, time)
        if relaxes:
            now = now + relax_to * ease((time - relax_at) / 0.2)[:, None] * (rest - now)
        now[:, :7] = np.radians(now[:, :7])
        arms.append(Arm(*torch.from_numpy(now).float().unbind(1)))
    waves = sway * (np.sin(2 * np.pi * speed * time[:, None] + phase) - np.sin(phase))
    shift, lean, nod, roll = torch.from_numpy(waves).float().unbind(1)
    return Act((arms[0], arms[1]), shift + place, lean, nod, roll)


def _between(at: np.ndarray, values: np.ndarray, time: np.ndarray) -> np.ndarray:
    """From key to key, standing still at each: values (k, n) at moments (k,) become (t, n)."""
    after = np.clip(np.searchsorted(at, time, side="right"), 1, len(at) - 1)
    part = ease((time - at[after - 1]) / (at[after] - at[after - 1]))[:, None]
    return values[after - 1] + part * (values[after] - values[after - 1])
