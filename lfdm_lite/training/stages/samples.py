"""Pictures of what a network does in the middle of its training."""

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from ...files.atomic import write_atomically
from ...flow import flow_to_rgb
from ...geometry import resize
from ...motion import Motion


def rows_of_frames(video: Float[Tensor, "n 3 t h w"], every: int = 1) -> Float[Tensor, "3 nh tw"]:
    """One clip a row, one frame a column."""
    n, c, t, h, w = video[:, :, ::every].shape
    return video[:, :, ::every].permute(1, 0, 3, 2, 4).reshape(c, n * h, t * w)


def save_rows(path: Path, video: Float[Tensor, "n 3 t h w"], every: int = 2, scale: int = 2) -> None:
    """Write clips as rows of frames into one PNG, `scale` times as large."""
    from PIL import Image

    sheet = rows_of_frames(video, every).clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(sheet).resize((sheet.shape[1] * scale, sheet.shape[0] * scale), Image.Resampling.NEAREST)
    write_atomically(path, lambda temporary: image.save(temporary, format="PNG"))


def motion_rows(
    video: Float[Tensor, "n 3 t h w"], painted: Float[Tensor, "n 3 t h w"], motion: Motion
) -> list[Float[Tensor, "1 3 t h w"]]:
    """Every clip as four rows: as it is, as it is painted, its flow in colours, its occlusion map."""
    h, w = video.shape[-2:]
    flow = resize(flow_to_rgb(motion.flow), (h, w))
    occlusion = resize(motion.occlusion, (h, w)).expand(-1, 3, -1, -1, -1)
    return [row[None] for four in zip(video, painted, flow, occlusion, strict=True) for row in four]
