"""What bodies do: keyframes of where hands, feet and trunk go.

A key says where the hands and feet are and how the trunk leans; what it does not mention is at rest. Keys are written
for a person who leads with the right side, and `performing` mirrors them for others, fills in what is between them and
finds the elbows and knees.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Number = int | float
Triple = tuple[Number, Number, Number]
Pose = dict[str, Any]  # some fields of a key
HANGING = (9.0, 25.0, 0.97)


@dataclass(frozen=True)
class Key:
    """Where a body is at one moment. Angles in degrees; feet and hips in units of the leg.

    A hand is where its shoulder sees it: how high it is raised (0 hangs, 90 level, 180 up), in which plane (0 out to
    its side, 90 forward, beyond 90 across the body, below 0 behind it), and how far away it is (1: a straight arm).
    A foot or the hips: towards the leading side, up, forward.
    """

    at: Number  # 0 the action begins, 1 it ends
    hand: Triple = HANGING  # of the leading side
    other: Triple = HANGING
    elbow: Number = 0.0  # leading elbow out; negative: in
    other_elbow: Number = 0.0
    foot: Triple = (0.0, 0.0, 0.0)
    other_foot: Triple = (0.0, 0.0, 0.0)
    hips: Triple = (0.0, 0.0, 0.0)
    lean: Number = 0.0  # of the trunk, forward
    bend: Number = 0.0  # of the trunk, towards the leading side
    twist: Number = 0.0  # of the shoulders: the leading one forward
    nod: Number = 0.0  # of the head, as lean, bend and twist of the trunk
    tilt: Number = 0.0
    turn: Number = 0.0
    aside: Number = 0.0  # the whole body turned further to the side where the camera sees it look
    together: Number = 0.0  # 1: the other hand is where the leading one is


def both(at: Number, hand: Triple = HANGING, elbow: Number = 0.0, **more: Any) -> Key:
    """A key whose hands do the same."""
    return Key(at, hand, hand, elbow, elbow, **more)


Clock = Callable[[float], float]  # from 0 to 1 within one round to the moment within the action


def cycle(times: int, keys: Callable[[Clock, int], list[Key]], start: float = 0.0, end: float = 1.0) -> list[Key]:
    """Keys again and again between two moments; `keys` is given the clock of one round, and its number."""
    length = (end - start) / times

    def clock(n: int) -> Clock:
        return lambda part: start + length * (n + part)

    return [key for n in range(times) for key in keys(clock(n), n)]


def bow(times: int) -> list[Key]:
    down: Pose = dict(hand=(20, 80, 0.96), other=(20, 80, 0.96), lean=78, nod=8, hips=(0, -0.02, -0.2), aside=16)
    return [Key(0.42, **down), Key(0.62, **down), Key(1.0)]


def cheer(times: int) -> list[Key]:
    def pump(at: Clock, n: int) -> list[Key]:
        return [
            both(at(0.2), (128, 20, 0.5), 0.9, hips=(0, -0.09, 0), nod=4),
            both(at(0.65), (156, 8, 0.99), 0.3, hips=(0, 0.03, 0), nod=-14),
        ]

    return [*cycle(times + 1, pump, 0.05, 0.9), both(1.0, (150, 8, 0.97), 0.3, nod=-12)]


def clap(times: int) -> list[Key]:
    def meet(at: Clock, n: int) -> list[Key]:
        return [both(at(0.2), (72, 42, 0.84), 0.3), both(at(0.7), (84, 117, 0.74), 0.3, nod=4)]

    return [*cycle(times + 2, meet, 0.08, 0.92), both(1.0, (84, 112, 0.74), 0.3)]


def cross(times: int) -> list[Key]:
    over: Pose = dict(hand=(66, 133, 0.58), other=(58, 130, 0.54), elbow=0.2, other_elbow=0.2)
    open_ = both(0.25, (78, 50, 0.85), 0.3)
    return [open_, Key(0.6, **over, nod=-4, lean=-4), Key(1.0, **over, nod=-4, lean=-4)]


def jack(times: int) -> list[Key]:
    between: Pose = dict(hand=(92, 0, 0.99), foot=(0.24, 0.1, 0), other_foot=(-0.24, 0.1, 0), hips=(0, 0.1, 0))
    wide: Pose = dict(hand=(166, 6, 0.98), foot=(0.48, 0, 0), other_foot=(-0.48, 0, 0), hips=(0, -0.12, 0))

    def hop(at: Clock, n: int) -> list[Key]:
        closed = both(at(0.96), hips=(0, -0.05, 0))
        return [both(at(0.26), **between), both(at(0.5), **wide), both(at(0.74), **between), closed]

    return [*cycle(times, hop), both(1.0)]


def jump(times: int) -> list[Key]:
    def leap(at: Clock, n: int) -> list[Key]:
        air: Pose = dict(foot=(0, 0.3, 0), other_foot=(0, 0.3, 0), hips=(0, 0.26, 0))
        return [
            both(at(0.3), (40, -75, 0.95), hips=(0, -0.36, -0.12), lean=28, nod=-12),
            both(at(0.56), (160, 50, 0.96), **air, nod=-8),
            both(at(0.82), (50, 60, 0.9), hips=(0, -0.22, -0.06), lean=12),
        ]

    return [*cycle(times, leap), both(1.0)]


def kick(times: int) -> list[Key]:
    guard: Pose = dict(hand=(50, 60, 0.6), other=(70, 80, 0.55), aside=28)
    high: Pose = dict(foot=(-0.12, 0.86, 1.05), lean=-24, hips=(-0.1, 0.0, 0.05), aside=34)
    high |= dict(hand=(60, -20, 0.9), other=(80, 20, 0.85))

    def strike(at: Clock, n: int) -> list[Key]:
        return [
            Key(at(0.22), foot=(0, 0.16, -0.36), lean=8, hips=(-0.08, -0.03, 0.04), **guard),
            Key(at(0.4), foot=(-0.06, 0.46, 0.34), lean=-6, hips=(-0.1, -0.02, 0.0), **guard),
            Key(at(0.52), **high),
            Key(at(0.62), **high),
            Key(at(0.78), foot=(-0.04, 0.32, 0.2), lean=-4, hips=(-0.06, -0.02, 0), **guard),
            Key(at(0.98)),
        ]

    return [*cycle(times, strike), Key(1.0)]


def lunge(times: int) -> list[Key]:
    hips: Pose = dict(hand=(38, 62, 0.62), other=(38, 62, 0.62), elbow=1.2, other_elbow=1.2)
    down: Pose = dict(foot=(0.85, 0, 0.1), hips=(0.52, -0.34, 0), bend=6, **hips)

    def step(at: Clock, n: int) -> list[Key]:
        over = Key(at(0.2), foot=(0.4, 0.14, 0.1), hips=(0.16, -0.04, 0), **hips)
        return [
            over,
            Key(at(0.45), **down),
            Key(at(0.6), **down),
            Key(at(0.8), foot=(0.4, 0.12, 0.1), hips=(0.16, -0.04, 0), **hips),
            Key(at(0.98), **hips),
        ]

    return [*cycle(times, step), Key(1.0)]


def march(times: int) -> list[Key]:
    back, front = (38, -80, 0.92), (62, 92, 0.8)

    def stride(at: Clock, n: int) -> list[Key]:
        return [
            Key(at(0.25), back, front, foot=(-0.06, 0.5, 0.34), hips=(-0.05, 0, 0), twist=-10, bend=-3),
            Key(at(0.5)),
            Key(at(0.75), front, back, other_foot=(0.06, 0.5, 0.34), hips=(0.05, 0, 0), twist=10, bend=3),
            Key(at(1.0)),
        ]

    return cycle(times + 1, stride)


def punch(times: int) -> list[Key]:
    guard: Pose = dict(hand=(112, 88, 0.4), other=(108, 92, 0.42), hips=(0, -0.12, 0), lean=6)
    stance: Pose = dict(foot=(0.12, 0, -0.24), other_foot=(-0.1, 0, 0.22), aside=28)
    cross = guard | dict(hand=(90, 98, 1.0), twist=40, lean=12, hips=(0, -0.14, 0.08))
    jab = guard | dict(other=(90, 84, 1.0), twist=-34, lean=10, hips=(0, -0.13, 0.06))

    def one(at: Clock, n: int) -> list[Key]:
        straight = cross if n % 2 else jab
        return [
            Key(at(0.2), **guard, **stance),
            Key(at(0.5), **straight, **stance),
            Key(at(0.72), **straight, **stance),
        ]

    return [*cycle(times + 1, one, 0.06, 0.94), Key(1.0, **guard, **stance)]


def squat(times: int) -> list[Key]:
    low: Pose = dict(hand=(86, 84, 0.97), hips=(0, -0.44, -0.22), lean=24, nod=-16, aside=16)

    def sink(at: Clock, n: int) -> list[Key]:
        return [both(at(0.42), **low), both(at(0.56), **low), both(at(0.96))]

    return [*cycle(times, sink), both(1.0)]


def stretch(times: int) -> list[Key]:
    arch: Pose = dict(hand=(206, 6, 0.95), other=(38, 62, 0.6), other_elbow=1.2, bend=-32, tilt=-6)
    arch |= dict(hips=(0.16, -0.02, 0))
    up: Pose = dict(hand=(166, 5, 0.97), other=(38, 62, 0.62), other_elbow=1.2, bend=-4)

    def pull(at: Clock, n: int) -> list[Key]:
        return [Key(at(0.3), **up), Key(at(0.6), **arch), Key(at(0.85), **arch)]

    return [*cycle(times, pull, 0.0, 0.9), Key(1.0, **up)]


def swing(times: int) -> list[Key]:
    stance: Pose = dict(foot=(0.35, 0, 0), other_foot=(-0.35, 0, 0), together=1.0)
    through = Key(1.0, (118, 165, 0.95), twist=46, turn=-16, hips=(-0.18, -0.08, 0), bend=-6, **stance)

    def bat(at: Clock, n: int) -> list[Key]:
        return [
            Key(at(0.3), (116, 2, 0.7), elbow=0.6, twist=-55, turn=40, hips=(0.16, -0.12, 0), bend=6, **stance),
            Key(at(0.42), (112, 0, 0.7), elbow=0.6, twist=-58, turn=44, hips=(0.18, -0.14, 0), bend=7, **stance),
            Key(at(0.56), (66, 66, 0.88), twist=-14, turn=12, hips=(0.02, -0.18, 0), **stance),
            Key(at(0.66), (72, 118, 0.98), twist=22, hips=(-0.1, -0.14, 0), **stance),
            Key(at(0.8), (122, 165, 0.95), twist=50, turn=-20, hips=(-0.18, -0.08, 0), bend=-8, **stance),
        ]

    return [*cycle(times, bat, 0.0, 0.95), through]


def throw(times: int) -> list[Key]:
    def pitch(at: Clock, n: int) -> list[Key]:
        step: Pose = dict(other_foot=(-0.12, 0.22, 0.2), aside=16)
        plant: Pose = dict(other_foot=(-0.12, 0, 0.42), aside=18)
        return [
            Key(at(0.18), (70, 60, 0.5), (70, 70, 0.5), hips=(0.06, -0.03, 0)),
            Key(
                at(0.42),
                (112, -35, 0.62),
                (84, 62, 0.97),
                0.5,
                twist=-45,
                turn=35,
                bend=12,
                lean=-8,
                hips=(0.12, -0.06, -0.08),
                **step,
            ),
            Key(
                at(0.56),
                (150, 40, 0.8),
                (70, 40, 0.7),
                0.3,
                twist=5,
                bend=-6,
                lean=4,
                hips=(-0.02, -0.1, 0.16),
                **plant,
            ),
            Key(
                at(0.66), (112, 92, 0.99), (40, 20, 0.7), twist=35, lean=18, bend=-8, hips=(-0.06, -0.14, 0.26), **plant
            ),
            Key(
                at(0.8),
                (48, 128, 0.9),
                (30, -30, 0.8),
                twist=42,
                lean=32,
                nod=-14,
                bend=-8,
                hips=(-0.08, -0.16, 0.3),
                **plant,
            ),
        ]

    return [
        *cycle(1, pitch),
        Key(
            1.0, (30, 110, 0.92), (20, 0, 0.9), twist=20, lean=14, hips=(-0.05, -0.08, 0.2), other_foot=(-0.12, 0, 0.42)
        ),
    ]


def wave(times: int) -> list[Key]:
    def sway(at: Clock, n: int) -> list[Key]:
        return [
            Key(at(0.25), (120, 12, 0.9), elbow=0.5, tilt=6, bend=-3),
            Key(at(0.75), (170, 10, 0.84), elbow=0.5, tilt=6, bend=-3),
        ]

    return [*cycle(times + 1, sway, 0.1, 0.9), Key(1.0, (140, 12, 0.86), elbow=0.5, tilt=6)]


ACTIONS: dict[str, Callable[[int], list[Key]]] = {
    "bow": bow,
    "cheer": cheer,
    "clap": clap,
    "cross arms": cross,
    "jump": jump,
    "jumping jack": jack,
    "kick": kick,
    "lunge": lunge,
    "march": march,
    "punch": punch,
    "squat": squat,
    "stretch": stretch,
    "swing": swing,
    "throw": throw,
    "wave": wave,
}
