"""The paper's three data sets: their classes, and how its own loaders treat a film."""

import numpy as np
from jaxtyping import Shaped

# The names that stage two's text encoder reads, in the order of the data sets' own numbers (MUG: of its folders).
LABELS: dict[str, tuple[str, ...]] = {
    "mug": ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    "mhad": (
        "right arm swipe to the left",
        "right arm swipe to the right",
        "right hand wave",
        "two hand front clap",
        "right arm throw",
        "cross arms in the chest",
        "basketball shooting",
        "draw x",
        "draw circle clockwise",
        "draw circle counter clockwise",
        "draw triangle",
        "right hand bowling",
        "front boxing",
        "baseball swing from right",
        "tennis forehand swing",
        "two arms curl",
        "tennis serve",
        "two hand push",
        "knock on door",
        "hand catch",
        "pick up and throw",
        "jogging",
        "walking",
        "sit to stand",
        "stand to sit",
        "forward lunge (left foot forward)",
        "squat",
    ),
    "natops": (
        "I Have Command",
        "All Clear",
        "Not Clear",
        "Spread Wings",
        "Fold Wings",
        "Lock Wings",
        "Up Hook",
        "Down Hook",
        "Remove Tiedowns",
        "Remove Chocks",
        "Insert Chocks",
        "Move Ahead",
        "Turn Left",
        "Turn Right",
        "Next Marshaller",
        "Slow Down",
        "Stop",
        "Nosegear Steering",
        "Hot Brakes",
        "Brakes On",
        "Brakes Off",
        "Install Tiedowns",
        "Fire",
        "Cut Engine",
    ),
}


def letterbox(image: Shaped[np.ndarray, "h w 3"], size: int) -> Shaped[np.ndarray, "{size} {size} 3"]:
    """Scale an image so that its longer side fits `size`, and pad it with black to a square.

    The shorter side is cut to whole pixels. Where the padding is odd, bottom and right get the larger half.

    Args:
        image: RGB, uint8 or float32.
        size: new height and width in pixels, at least 1.

    Raises:
        ValueError: `size` is below 1, or so small that a side vanishes.
        ImportError: OpenCV, whose area interpolation this is, is not installed.

    Source: the data preparation of LFDM's published code, by its measured behaviour.
    """
    try:
        import cv2
    except ImportError:
        from ...files.machine.packages import advice

        raise ImportError(f"letterbox needs OpenCV: {advice('cv2')}") from None

    ratio = size / max(image.shape[:2])
    h, w = (int(side * ratio) for side in image.shape[:2])
    if size < 1 or min(h, w) < 1:
        raise ValueError(f"an image of {image.shape[0]}x{image.shape[1]} pixels does not fit into size={size}")
    canvas = np.zeros((size, size, 3), image.dtype)
    top, left = (size - h) // 2, (size - w) // 2
    canvas[top : top + h, left : left + w] = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
    return canvas


def frame_pair(length: int, rng: np.random.RandomState) -> tuple[int, int]:
    """Two frames of a clip of `length` frames, drawn with replacement, the earlier first.

    Source: stage one's loader in LFDM's published code, by its measured behaviour.
    """
    first, second = sorted(rng.randint(0, length, 2).tolist())
    return first, second
