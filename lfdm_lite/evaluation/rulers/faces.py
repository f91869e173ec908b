"""A ruler for drawn faces: where landmarks are, how far the expression has come and how the head is turned, by frame.

It reads decoded frames alone, was trained on drawn clips of training people, and takes no part in generating.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...control import rise
from ...data.drawn.acting.expressions import PARTS, perform
from ...data.drawn.engine.scenes import LayerMotion, render
from ...data.drawn.faces import Faces
from ...data.drawn.people.subjects import Look, subject_look
from ...files.checkpoints import CONFIG_FILE, load_module, read_config, save_module
from ...files.models.configs import make_config, read_fields
from ...geometry import identity_grid

KIND = "Ruler"
LANDMARKS = (  # left and right as one sees them
    "brow_left_outer", "brow_left_inner", "brow_right_inner", "brow_right_outer", "eye_left", "eye_right", "nose",
    "mouth_left", "lip_upper", "lip_lower", "mouth_right", "chin",
)  # fmt: skip
PLACE_OF = {"brows": LANDMARKS[:4], "eyes": LANDMARKS[4:6], "mouth": LANDMARKS[7:11]}  # of `control.PLACES`
MIRRORED = tuple(
    LANDMARKS.index(name.replace("left", "!").replace("right", "left").replace("!", "right")) for name in LANDMARKS
)
ACTS = tuple(field for part in ("brows", "cheeks", "mouth") for field in PARTS[part])  # move for expressions alone


class Measured(NamedTuple):
    """What a ruler reads in clips, or what is true of drawn ones."""

    landmarks: Float[Tensor, "b t k 2"]  # positions x, y in normalized units, in the order of `LANDMARKS`
    level: Float[Tensor, "b t"]  # how far the expression has come: 0 at rest, the clip's strength at its height
    roll: Float[Tensor, "b t"]  # of the head since frame 0, radians clockwise

    @property
    def strength(self) -> Float[Tensor, " b"]:
        """The largest level of a clip: 1 as the table of poses has it."""
        return self.level.amax(dim=1)

    @property
    def onset(self) -> Float[Tensor, " b"]:
        """The frame in which the level begins to rise, see `control.rise`."""
        return rise(self.level)[0]

    @property
    def duration(self) -> Float[Tensor, " b"]:
        """Frames in which the level rises, see `control.rise`."""
        return rise(self.level)[1]

    @property
    def turn(self) -> Float[Tensor, " b"]:
        """The roll in the last frame."""
        return self.roll[:, -1]

    def moved(self, *names: str) -> Float[Tensor, "b t"]:
        """Mean distance of landmarks from where they were in frame 0, in normalized units; of all unless named."""
        chosen = self.landmarks[:, :, [LANDMARKS.index(name) for name in names or LANDMARKS]]
        return (chosen - chosen[:, :1]).norm(dim=-1).mean(dim=-1)


# ---------------------------------------------------------------- the truth, as the renderer has it


def at_rest(look: Look) -> dict[str, tuple[float, float]]:
    """Where a person's landmarks lie at rest, in units of the head."""
    ex, brow_y, w = look.eye_x, look.eye_y - look.brow_gap + 0.03, look.mouth_width
    places = {"nose": (0.0, look.eye_y + look.nose_length), "chin": (0.0, look.chin - 0.04)}
    places |= {"lip_upper": (0.0, look.mouth_y - 0.4 * look.lip), "lip_lower": (0.0, look.mouth_y + 0.5 * look.lip)}
    for name, side in (("left", -1.0), ("right", 1.0)):
        places[f"eye_{name}"] = (side * ex, look.eye_y)
        places[f"mouth_{name}"] = (side * 0.9 * w, look.mouth_y - 0.016)
        places[f"brow_{name}_inner"] = (side * (ex - 0.13), brow_y - look.brow_tilt)
        places[f"brow_{name}_outer"] = (side * (ex + 0.13), brow_y + look.brow_tilt)
    return places


def followed(motion: LayerMotion, point: tuple[float, float], steps: int = 12) -> Float[Tensor, "t 2"]:
    """Where a point of a layer, in canonical coordinates, is in every frame, in normalized units.

    What is known is the way back, from the image to the layer; the way there is a fixed point of it.
    """
    linear, shift = motion.to_image[:, :, :2], motion.to_image[:, :, 2]
    wanted = torch.tensor(point)
    place = linear @ wanted + shift
    for _ in range(steps if motion.local else 0):
        back = motion.to_canonical(*place[:, :, None, None].unbind(1))
        error = wanted - torch.stack([axis.flatten() for axis in back], dim=1)
        place = place + 0.7 * (linear @ error[:, :, None])[:, :, 0]
    return place


def true_clip(faces: Faces, index: int) -> tuple[Float[Tensor, "3 t h w"], Measured]:
    """A drawn clip, and what a perfect ruler reads in it.

    Its level is the told strength times the length of the pose of brows, cheeks and mouth as a share of its largest;
    where these stay at rest, as `Acting` may want, it is 0.
    """
    layers, label, subject = faces.scene(index)
    rng = faces._cast(index)[2]
    performance = perform(faces.labels[label], faces.num_frames, rng, faces.acting)
    pose = torch.stack([getattr(performance, name).flatten() for name in ACTS]).norm(dim=0)
    level = performance.strength * pose / pose.max().clamp(min=1e-9)
    named = {part: [layer.motion for layer in layers if layer.part == part] for part in ("skin", "mouth", "brows")}
    head, face = named["brows"][0], next(m for m in named["skin"] if m.local)
    lower_lip, upper_lip = named["mouth"][-2:]
    layer_of = {"brow": head, "eye": LayerMotion(head.to_image), "nose": face, "chin": face, "mouth": upper_lip}
    layer_of |= {"lip_upper": upper_lip, "lip_lower": lower_lip}
    places = at_rest(subject_look(subject))
    tracks = [
        followed(layer_of[name] if name in layer_of else layer_of[name.split("_")[0]], places[name])
        for name in LANDMARKS
    ]
    roll = torch.atan2(head.to_image[:, 1, 0], head.to_image[:, 0, 0])
    video = render(layers, faces.size, faces.num_frames).video
    return video, Measured(torch.stack(tracks, dim=1)[None], level[None], (roll - roll[0])[None])


# ---------------------------------------------------------------- the network


@dataclass(frozen=True)
class RulerConfig:
    """The shape of a `Ruler`; the defaults hold 0.30 M numbers."""

    channels: tuple[int, int] = (32, 48)  # of maps at a half and at a quarter of the frames' size
    depth: int = 3  # residual blocks at a quarter
    width: int = 96  # of the layers along time

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if min(value if isinstance(value, tuple) else (value,)) < 1:
                raise ValueError(f"{field.name} is {value}; expected at least 1")


class Block(nn.Module):
    """Two convolutions that are added to what they look at."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(8, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(8, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return x + self.layers(x)


class Ruler(nn.Module):
    """Heat maps whose means are landmarks; from how these moved, and from features of all frames, level and roll."""

    def __init__(self, config: RulerConfig = RulerConfig()) -> None:
        super().__init__()
        self.config = config
        fine, coarse = config.channels
        self.enter = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, fine, 3, padding=1), nn.SiLU())
        self.look = nn.Sequential(
            nn.Conv2d(fine, coarse, 3, stride=2, padding=1), *(Block(coarse) for _ in range(config.depth))
        )
        count = len(LANDMARKS)
        self.heat = nn.Sequential(nn.GroupNorm(8, coarse), nn.SiLU(), nn.Conv2d(coarse, 4 * count, 3, padding=1))
        self.detail = nn.Conv2d(fine, count, 3, padding=1)
        self.squeeze = nn.Conv2d(coarse, 16, 1)
        known = 2 * count + 16 * 16
        self.track = nn.Conv1d(2 * known, config.width, 1)
        self.clip = nn.Linear(2 * known, config.width)
        self.time = nn.Sequential(
            nn.SiLU(), nn.Conv1d(config.width, config.width, 3, padding=1), nn.SiLU(), nn.Conv1d(config.width, 2, 1)
        )

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Measured:
        """Read clips: RGB in [0, 1], any length, frame 0 at rest; trained at 64 pixels."""
        b, _, t, h, w = video.shape
        half = self.enter(2 * video.transpose(1, 2).flatten(0, 1) - 1)  # bt fine h/2 w/2
        quarter = self.look(half)  # bt coarse h/4 w/4
        heat = F.pixel_shuffle(self.heat(quarter), 2) + self.detail(half)  # bt k h/2 w/2
        share = heat.float().flatten(2).softmax(dim=-1)
        grid = identity_grid(h // 2, w // 2, video.device).flatten(1)
        landmarks = (share @ grid.T).unflatten(0, (b, t))  # b t k 2
        places = F.adaptive_avg_pool2d(self.squeeze(quarter), 4).flatten(1).unflatten(0, (b, t))  # b t 256
        known = torch.cat([10 * landmarks.flatten(2), places], dim=2)  # b t d
        moved = known - known[:, :1]
        clip = self.clip(torch.cat([moved.amax(dim=1), moved.amin(dim=1)], dim=1))  # b width
        track = self.track(torch.cat([moved, known[:, :1].expand_as(known)], dim=2).transpose(1, 2))  # b width t
        level, roll = self.time(track + clip[..., None]).unbind(1)  # b t
        return Measured(landmarks, level, 0.2 * roll)

    @torch.no_grad()
    def measure(self, video: Float[Tensor, "b 3 t h w"], batch_size: int = 16) -> Measured:
        """Read clips without gradients, `batch_size` at a time."""
        parts = [self(some) for some in video.split(batch_size)]
        return Measured(*map(torch.cat, zip(*parts, strict=True)))

    def save(self, folder: str | Path, dtype: torch.dtype | str | None = None, overwrite: bool = False) -> Path:
        """Write `config.json` and `model.safetensors`, in one step; `dtype` stores the parameters in that precision."""
        return save_module(folder, self, KIND, {"model": asdict(self.config)}, dtype, overwrite)

    @classmethod
    def load(cls, folder: str | Path) -> "Ruler":
        """Read a ruler that `save` wrote, in evaluation mode.

        Raises:
            CheckpointError: the folder does not hold a whole, fitting checkpoint.
        """
        return load_module(folder, lambda: cls.described_in(folder)).eval()

    @classmethod
    def described_in(cls, folder: str | Path) -> "Ruler":
        """A ruler with fresh weights, as a folder's config describes it."""
        where = Path(folder) / CONFIG_FILE
        (values,) = read_fields(read_config(folder, KIND), ("model",), where)
        return cls(make_config(RulerConfig, values, f"{where}: model"))
