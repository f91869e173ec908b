"""`data/` of a made folder: frame sampling and the letterbox resize, from other formulas than the library's."""

import numpy as np
import torch

from .drawn import Folder

SEED = 77  # of numpy's legacy generator
FRAMES, LENGTHS = 12, (5, 12, 13, 19, 41)
SIZE = 20
SHAPES = ((33, 47), (31, 20), (60, 60), (20, 9), (10, 5), (53, 21))  # smaller, equal, and enlarged by a whole number


def make(folder: Folder) -> None:
    """Writes both files."""
    sampled = {}
    for length in LENGTHS:
        sampled[f"uniform_T{length}_N{FRAMES}"] = uniform(length, FRAMES)
        if length >= FRAMES:
            sampled[f"random_T{length}_N{FRAMES}_npseed{SEED}"] = jittered(length, FRAMES)
        drawn = np.sort(np.random.RandomState(SEED).choice(length, FRAMES, replace=True))
        drawn[0] = 0
        sampled[f"very_random_T{length}_N{FRAMES}_npseed{SEED}"] = drawn.tolist()
        pair = np.random.RandomState(SEED).choice(length, 2, replace=True)
        sampled[f"lfae_pair_T{length}_npseed{SEED}"] = [int(pair.min()), int(pair.max())]
    folder.json("data/frame_sampling", sampled)

    generator, values = folder.generator("letterbox"), {}
    for i, (h, w) in enumerate(SHAPES):
        image = torch.randint(0, 256, (h, w, 3), generator=generator).to(torch.uint8)
        exact = letterboxed(image.numpy().astype(np.float64), SIZE)
        values[f"{i}.in"] = image
        values[f"{i}.out_f32_to{SIZE}"] = torch.from_numpy(exact).float()
        values[f"{i}.out_u8_to{SIZE}"] = torch.from_numpy(np.rint(exact)).to(torch.uint8)
    folder.tensors("data/resize_inter_area", values)


def uniform(length: int, count: int) -> list[int]:
    """Whole parts of evenly spaced positions, in whole numbers; a short clip's last frame is repeated."""
    if length < count:
        return [*range(length), *[length - 1] * (count - length)]
    return [i * (length - 1) // (count - 1) for i in range(count)]


def jittered(length: int, count: int) -> list[int]:
    """All but the ends anywhere between their neighbours of the uniform ones."""
    even, rng = np.array(uniform(length, count)), np.random.RandomState(SEED)
    inner = [rng.choice(np.arange(a + 1, b)) for a, b in zip(even[:-2], even[2:], strict=True)]
    return np.sort([even[0], *inner, even[-1]]).tolist()


def letterboxed(image: np.ndarray, size: int) -> np.ndarray:
    """Both sides by the longer one's ratio, cut to whole pixels, in the middle of a black square."""
    longer = max(image.shape[:2])
    h, w = (side * size // longer for side in image.shape[:2])
    canvas = np.zeros((size, size, 3))
    top, left = (size - h) // 2, (size - w) // 2
    canvas[top : top + h, left : left + w] = np.einsum(
        "yh,xw,hwc->yxc", shares(image.shape[0], h), shares(image.shape[1], w), image
    )
    return canvas


def shares(before: int, after: int) -> np.ndarray:
    """(after, before): how much of every old pixel lies in a new one; where there are more new ones, repetition."""
    if after >= before:
        assert after % before == 0, "of enlargements, only those by a whole number are known here"
        return np.repeat(np.eye(before), after // before, axis=0)
    edges = np.arange(after + 1) * before / after
    left, right = edges[:-1, None], edges[1:, None]
    pixels = np.arange(before)
    return np.clip(np.minimum(right, pixels + 1) - np.maximum(left, pixels), 0, None) * after / before
