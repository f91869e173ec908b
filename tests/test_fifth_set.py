"""A set of one's own: about sixty lines, on the engine as it is."""

import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lfdm_lite.data.drawn.engine.scenes import (
    Layer,
    LayerMotion,
    affine,
    colour,
    ellipse,
    everywhere,
    mix,
    rectangle,
    render,
    step,
)
from lfdm_lite.data.drawn.procedural import ProceduralSet

from .exactness import SIZES, a_few, check_flow, check_rest, check_visibility

COLOURS = ((0.86, 0.25, 0.20), (0.95, 0.64, 0.18), (0.97, 0.86, 0.45), (0.18, 0.55, 0.55), (0.30, 0.33, 0.62))


class Balloons(ProceduralSet):
    """Hot-air balloons over a valley in the morning: they rise, land behind the near hill or swing in the wind."""

    labels = ("rise", "land", "swing")
    key = 0xBA1100

    def draw(self, label: str, subject: int, rng: np.random.Generator) -> list[Layer]:
        onset, strength, wind, turns = rng.uniform((0, 0.8, -0.25, 1.2), (0.2, 1.1, 0.25, 1.8))
        swell = rng.uniform(0.05, 0.12)
        time = ((torch.linspace(0, 1, self.num_frames) - onset) / (1 - onset)).clamp(min=0)
        ease = time.square() * (3 - 2 * time)
        climb = {"rise": -0.8, "land": 0.75, "swing": 0.0}[label] * strength
        sway = (0.45 if label == "swing" else 0.06) * strength * torch.sin(2 * math.pi * turns * time) * ease
        drift = 0.25 * torch.sin(sway) + wind * ease
        return valley(subject, climb * ease + swell * ease * torch.sin(5 * time), sway, drift)


def valley(subject: int, climb: torch.Tensor, sway: torch.Tensor, drift: torch.Tensor) -> list[Layer]:
    person = np.random.default_rng(subject)
    first, second = (colour(COLOURS[k]) for k in person.choice(len(COLOURS), 2, replace=False))
    gores, phase, across, size = person.integers(3, 6), person.uniform(0, 6), *person.uniform((-0.4, 0.42), (0.4, 0.55))
    still, sky = LayerMotion(affine()), mix(colour((0.45, 0.66, 0.86)), colour((0.99, 0.87, 0.72)), 0.2)
    flying = LayerMotion(affine(size, sway, across + drift, -0.2 + climb))
    frame = (-1.0, -1.0, 1.0, 1.0)

    def morning(x, y):
        glow = torch.exp(-2 * (x - 0.5).square() - 2 * (y - 0.2).square())
        return mix(mix(sky, colour((1.0, 0.80, 0.62)), ((y + 1) / 1.6).clamp(0, 1)), colour((1.0, 0.95, 0.80)), glow)

    def stripes(x, y):
        around = torch.asin((x / (0.66 * (1 - 0.3 * y.clamp(0, 1)))).clamp(-0.99, 0.99))
        rgb = mix(first, second, step(torch.sin(2 * gores * around), 0.4))
        return rgb * (1.08 - 0.5 * (x / 0.7 + 0.45).square().clamp(max=1))

    def envelope(x, y):
        return torch.maximum(ellipse(x / (1 - 0.35 * y.clamp(0, 1).square()), y, 0.68, 0.8), y - 0.74)

    def hill(height, wave, rgb):
        edge = lambda x: height + 0.08 * torch.sin(wave * x + phase)
        shape = lambda x, y: edge(x) - y
        return Layer(shape, lambda x, y: colour(rgb) * (1.05 - 0.3 * (y - edge(x)).clamp(0, 1)), still, frame)

    brown = colour((0.55, 0.36, 0.20))
    cords = lambda x, y: rectangle(x.abs() - 0.17, y - 0.87, 0.025, 0.2)
    basket = lambda x, y: rectangle(x, y - 1.12, 0.2, 0.13, 0.05)
    return [
        Layer(everywhere, morning, still, frame),
        hill(0.25, 2.3, (0.62, 0.72, 0.78)),
        hill(0.45, 3.1, (0.48, 0.64, 0.56)),
        Layer(cords, lambda x, y: brown * 0.55, flying, (-0.2, 0.6, 0.2, 1.1)),
        Layer(basket, lambda x, y: brown, flying, (-0.2, 0.9, 0.2, 1.3)),
        Layer(envelope, stripes, flying, (-0.7, -0.82, 0.7, 0.76)),
        hill(0.62, 2.0, (0.35, 0.52, 0.30)),
    ]


def clips(size: int, num_frames: int = 4, **more) -> Balloons:
    return Balloons(size=size, num_frames=num_frames, length=2**31, **more)


def test_it_takes_about_sixty_lines():
    lines = "".join(inspect.getsource(part) for part in (Balloons, valley)).splitlines()
    assert len(lines) <= 60 and max(map(len, lines)) <= 120


@settings(max_examples=4, deadline=None)
@given(st.sampled_from(SIZES), st.integers(0, 2**31), st.integers(0, 10**6))
def test_frame_0_has_the_colours_of_frame_t_where_the_true_flow_points(size, seed, index):
    check_flow(clips(size, seed=seed), a_few(size, index))


@settings(max_examples=4, deadline=None)
@given(st.sampled_from(SIZES), st.integers(0, 2**31), st.integers(0, 10**6))
def test_hidden_pixels_are_those_whose_source_is_covered(size, seed, index):
    check_visibility(clips(size, seed=seed), a_few(size, index), finer=5)


@pytest.mark.parametrize("index", range(3))
def test_frame_0_is_at_rest_and_does_not_depend_on_the_label(index):
    check_rest(clips(32, 3), index)
    rest = [clips(32, 3).draw(label, 17, np.random.default_rng(4)) for label in Balloons.labels]
    rest = [render(layers, 32, 3).video[:, 0] for layers in rest]
    assert torch.equal(rest[index], rest[0])


def test_a_balloon_that_rises_comes_from_below_and_one_that_lands_from_above():
    rising, landing, swinging = (clips(48, 5)[i] for i in range(3))
    assert rising["flow"][1, 4].max() > 0.5
    assert landing["flow"][1, 4].min() < -0.3
    assert swinging["flow"][1, 4].abs().max() < 0.4


def test_bad_arguments_get_the_messages_of_every_set():
    with pytest.raises(ValueError, match="split 'dev' is not one of: train, val, test"):
        Balloons("dev")
    with pytest.raises(ValueError, match="size is 31; give a whole number of pixels from 32 to 256"):
        Balloons(size=31)
    with pytest.raises(IndexError, match=r"there is no clip 2: 'train' has 2 \(0 to 1\)"):
        Balloons(length=2)[2]
