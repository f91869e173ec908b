"""Who is in the picture: every subject number is one person, with skin, hair, features, clothes and a background."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RGB = tuple[float, float, float]

SKINS = ("ffe3d1", "fbd3b4", "f3c19d", "e8ac82", "d99a6c", "c58555", "ac6c42", "935a37", "7c4b2e", "694029")
HAIRS = (
    "1d1716",
    "2b1d18",
    "3d2517",
    "5a3520",
    "7a4a26",
    "9c6331",
    "c08a45",
    "dfb565",
    "b4502a",
    "8d2f1d",
    "8c8885",
    "d8d3cc",
)
DYED = ("d4568a", "3f7fbf", "2f9d8c", "7d55b5")
IRISES = ("4a2d1a", "6b4423", "3f6b3a", "4f86a8", "2f6f9f", "5b6e78", "7b5f2a")
CLOTHES = (
    "d9483b",
    "e98b2e",
    "f2c14e",
    "4caf6e",
    "2b8c8c",
    "3a6fb5",
    "5a4fa2",
    "b5498f",
    "f3efe6",
    "2f3542",
    "8fb8de",
    "c7664e",
)
BACKDROPS = (
    "f7c9a9",
    "ffe29a",
    "b8e0c8",
    "a9d6e5",
    "c6c1ec",
    "f4b6c2",
    "8ecae6",
    "e9d8a6",
    "95b8a2",
    "7286a8",
    "e07a5f",
    "5f7a9c",
)
HAIR_STYLES = (
    "short",
    "parted",
    "bangs",
    "long",
    "long bangs",
    "bun",
    "curly",
    "afro",
    "bald",
    "balding",
    "beanie",
    "scarf",
    "bob",
    "quiff",
)
PATTERNS = ("plain", "stripes", "pinstripes", "dots", "checks", "sweater")
BACKDROP_PATTERNS = ("gradient", "stripes", "dots", "disc", "hills", "rays")


@dataclass(frozen=True)
class Look:
    """One person. Lengths are in units of the head, whose half height is about 0.7."""

    skin: RGB
    hair: RGB
    iris: RGB
    lips: RGB
    clothes: tuple[RGB, RGB]
    backdrop: tuple[RGB, RGB]
    hair_style: str
    pattern: str
    backdrop_pattern: str
    collar: str
    beard: float  # 0 none, 0.35 stubble, 0.9 full
    moustache: bool
    glasses: str  # "", "round" or "square"
    glasses_colour: RGB
    earrings: bool
    freckles: float
    blush: float
    head_width: float
    chin: float  # y of the chin
    jaw: float  # how much the face narrows downwards
    eye_x: float
    eye_y: float
    eye_rx: float
    eye_ry: float
    iris_radius: float
    brow_gap: float
    brow_thickness: float
    brow_tilt: float
    nose_length: float
    nose_width: float
    mouth_y: float
    mouth_width: float
    lip: float  # lower lip's thickness
    ear: float
    lashes: float
    shoulder: float
    phase: float  # of every pattern
    frequency: float
    tilt: float  # how the head sits
    offset_x: float
    offset_y: float
    scale: float


def _rgb(code: str) -> np.ndarray:
    return np.array([int(code[k : k + 2], 16) / 255 for k in (0, 2, 4)])


def _colour(values: np.ndarray) -> RGB:
    r, g, b = np.clip(values, 0, 1).tolist()
    return r, g, b


def hex_colour(code: str) -> RGB:
    """The colour of six hexadecimal digits."""
    return _colour(_rgb(code))


@lru_cache(maxsize=4096)
def subject_look(subject: int) -> Look:
    """The appearance of a subject: it depends on the number alone, on every platform."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((0x5AB1EC7, subject))))
    u, pick = rng.uniform, lambda options: options[int(rng.integers(len(options)))]
    tone = u(0, len(SKINS) - 1.001)
    low, part = int(tone), tone % 1
    skin = _rgb(SKINS[low]) * (1 - part) + _rgb(SKINS[low + 1]) * part + u(-0.015, 0.015, 3)
    hair = _rgb(pick(DYED) if rng.random() < 0.08 else pick(HAIRS)) + u(-0.02, 0.02, 3)
    if tone > 5.5 and rng.random() < 0.75:
        hair = _rgb(HAIRS[int(rng.integers(3))])
    man = rng.random() < 0.5
    style = pick(HAIR_STYLES)
    lips = (
        skin * (0.80, 0.62, 0.62) + np.array((0.10, 0.02, 0.04))
        if man
        else skin * (0.68, 0.4, 0.42) + np.array((0.24, 0.07, 0.11))
    )
    clothes, second = rng.choice(len(CLOTHES), 2, replace=False)
    backdrop, accent = rng.choice(len(BACKDROPS), 2, replace=False)
    has_beard = man and style != "scarf" and rng.random() < 0.45
    beard = (0.3 if rng.random() < 0.4 else 0.88) if has_beard else 0.0
    eye_rx = u(0.135, 0.158)
    return Look(
        skin=_colour(skin), hair=_colour(hair), iris=_colour(_rgb(pick(IRISES))), lips=_colour(lips),
        clothes=(_colour(_rgb(CLOTHES[clothes]) + u(-0.03, 0.03, 3)), _colour(_rgb(CLOTHES[second]))),
        backdrop=(_colour(_rgb(BACKDROPS[backdrop]) + u(-0.03, 0.03, 3)), _colour(_rgb(BACKDROPS[accent]))),
        hair_style=style, pattern=pick(PATTERNS), backdrop_pattern=pick(BACKDROP_PATTERNS),
        collar=pick(("round", "vee", "shirt")), beard=beard,
        moustache=man and style != "scarf" and (beard > 0.5 or rng.random() < 0.2),
        glasses=pick(("round", "square")) if rng.random() < 0.25 else "",
        glasses_colour=_colour(_rgb(pick(("22242a", "6b3f22", "a33b3b", "2f4f7f")))),
        earrings=not man and rng.random() < 0.5, freckles=u(0.3, 0.7) if rng.random() < 0.25 and tone < 5 else 0.0,
        blush=u(0.06, 0.26), head_width=u(0.47, 0.53), chin=u(0.65, 0.71), jaw=u(0.0, 0.17),
        eye_x=u(0.205, 0.23), eye_y=u(-0.04, 0.0), eye_rx=eye_rx, eye_ry=eye_rx * u(0.86, 1.0),
        iris_radius=u(0.066, 0.08), brow_gap=u(0.225, 0.25), brow_thickness=u(0.026, 0.042), brow_tilt=u(-0.008, 0.016),
        nose_length=u(0.17, 0.22), nose_width=u(0.055, 0.085), mouth_y=u(0.375, 0.405), mouth_width=u(0.165, 0.205),
        lip=u(0.04, 0.062), ear=u(0.085, 0.115), lashes=0.011 if man else u(0.016, 0.022), shoulder=u(0.72, 0.95),
        phase=u(0, 6.28), frequency=u(0.85, 1.2), tilt=u(-0.05, 0.05), offset_x=u(-0.05, 0.05), offset_y=u(-0.02, 0.04),
        scale=u(1.0, 1.07),
    )  # fmt: skip
