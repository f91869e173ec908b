"""What every procedural set owes: flow that reproduces its frames, and visibility that a depth test confirms."""

from collections.abc import Iterable
from dataclasses import replace

import torch
import torch.nn.functional as F

from lfdm_lite.data import ProceduralSet
from lfdm_lite.data.drawn.engine.scenes import Clip, Field, Layer, LayerMotion, Rendered, render
from lfdm_lite.geometry import identity_grid, sample_at

SIZES = (32, 64, 128)


def a_few(size: int, start: int) -> range:
    """Clips enough to tell something from: a small frame has few pixels away from edges that move or are hidden."""
    return range(start, start + max(2, 256 // size))


def near_edges(picture: torch.Tensor, contrast: float, width: int = 3) -> torch.Tensor:
    """(c t h w) -> (t h w): the values in a window of `width` pixels differ by more than `contrast`."""
    frames = picture.float().transpose(0, 1)
    return (F.max_pool2d(frames, width, 1, width // 2) + F.max_pool2d(-frames, width, 1, width // 2)).amax(1) > contrast


def first_frame(layers: list[Layer], size: int) -> Rendered:
    """Frame 0 alone, at any size: there every motion is affine."""

    def still(part: Layer | Clip, **more) -> Layer | Clip:
        return replace(part, shape=first(part.shape), motion=LayerMotion(part.motion.to_image[:1]), **more)

    def first(field: Field) -> Field:  # an opening may have a shape for every frame
        return lambda x, y: field(x, y)[..., :1, :, :]

    layers = [still(layer, paint=first(layer.paint), clip=layer.clip and still(layer.clip)) for layer in layers]
    return render(layers, size, 1)


def check_rest(clips: ProceduralSet, index: int) -> None:
    """Frame 0 is where all motion starts."""
    layers, _, _ = clips.scene(index)
    video, flow, visible, _ = render(layers, clips.size, clips.num_frames)
    assert (flow[:, 0] == 0).all() and visible[:, 0].all()
    torch.testing.assert_close(video[:, :1], first_frame(layers, clips.size).video, atol=1e-5, rtol=0)


def check_flow(clips: ProceduralSet, indices: Iterable[int]) -> None:
    """Where a pixel is visible, away from edges, frame 0 has its colour at the place that the true flow names.

    At small sizes nearly every pixel is near an edge. So colours are read from frames drawn finer by an odd factor,
    whose pixel centres include those of the small ones.
    """
    errors, moved = [], []
    size = clips.size
    finer = max(1, 160 // size) // 2 * 2 + 1
    for index in indices:
        layers, _, _ = clips.scene(index)
        _, flow, visible, _ = render(layers, size, clips.num_frames)
        fine = render(layers, finer * size, clips.num_frames).video
        edges = near_edges(fine, 0.15)
        middle = (..., slice(finer // 2, None, finer), slice(finer // 2, None, finer))
        places = (identity_grid(size, size)[:, None] + flow).transpose(0, 1)
        source = sample_at(fine[:, 0].expand(len(places), -1, -1, -1), places).transpose(0, 1)
        near = sample_at(edges[0].float().expand(len(places), 1, -1, -1), places)[:, 0] > 0
        flat = visible[0] & ~edges[middle] & ~near
        assert flat.float().mean() > 0.2
        errors.append((source - fine[middle]).abs().mean(0)[flat])
        moved.append((flow.norm(dim=0) > 2 / size)[flat])  # by a pixel or more: a wall at rest would hide errors
    error, moved = torch.cat(errors), torch.cat(moved)
    assert error.mean() <= 0.01
    assert moved.sum() > 20
    assert error[moved].mean() <= 0.02


def check_visibility(clips: ProceduralSet, indices: Iterable[int], finer: int = 7) -> None:
    """Hidden pixels are those whose source shows another layer in a frame 0 drawn several times finer."""
    right, said, true = 0, 0, 0
    for index in indices:
        layers, _, _ = clips.scene(index)
        _, flow, visible, owner = render(layers, clips.size, clips.num_frames)
        many = finer * clips.size
        fine = first_frame(layers, many).owner[0]
        place = ((identity_grid(clips.size, clips.size)[:, None] + flow + 1) * many - 1) / 2
        column, row = place.round().long().unbind(0)
        inside = (column >= 0) & (column < many) & (row >= 0) & (row < many)
        column, row = column.clamp(0, many - 1), row.clamp(0, many - 1)
        hidden = ~(inside & (fine[row, column] == owner))
        away = ~near_edges(fine[None, None], 0.5, finer)[0][row, column]  # half a pixel from where the owner changes
        said, true = said + (~visible[0] & away).sum(), true + (hidden & away).sum()
        right = right + (~visible[0] & hidden & away).sum()
    assert true > 20
    assert right >= 0.95 * said
    assert right >= 0.95 * true
