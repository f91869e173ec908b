"""The paper's preprocessing: what lies outside the stored examples."""

import sys

import numpy as np
import pytest

from lfdm_lite.data.paper import frame_pair, letterbox


def test_a_wide_image_gets_black_bars_above_and_below():
    out = letterbox(np.full((20, 40, 3), 255, np.uint8), 32)
    assert out.shape == (32, 32, 3) and out.dtype == np.uint8
    assert (out[8:24] == 255).all() and not out[:8].any() and not out[24:].any()


def test_odd_padding_is_larger_at_the_bottom():
    out = letterbox(np.ones((15, 32, 3), np.float32), 32)
    assert not out[:8].any() and (out[8:23] == 1).all() and not out[23:].any()


@pytest.mark.parametrize("shape, size", [((10, 10, 3), 0), ((1, 100, 3), 32)])
def test_a_size_that_does_not_fit_is_named(shape, size):
    with pytest.raises(ValueError, match=f"size={size}"):
        letterbox(np.zeros(shape, np.uint8), size)


def test_without_opencv_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"pip install .*train"):
        letterbox(np.zeros((8, 8, 3), np.uint8), 8)


def test_a_pair_is_ordered_and_may_repeat_a_frame():
    rng = np.random.RandomState(0)
    pairs = [frame_pair(3, rng) for _ in range(200)]
    assert all(0 <= a <= b < 3 for a, b in pairs) and {(0, 0), (0, 2), (1, 2)} <= set(pairs)
