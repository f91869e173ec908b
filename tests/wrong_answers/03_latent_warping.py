"""Plausible wrong answers to the exercises of chapter 03; see `tests/exercises.py` for the form."""


# %% resize_pixel_flow: the numbers stay as they are -> still 3 pixels
def resize_pixel_flow(flow, h, w):
    return resize(flow, (h, w))


# %% resize_pixel_flow: the ratio is turned over -> longer in pixels
def resize_pixel_flow(flow, h, w):
    ratio = torch.tensor([flow.shape[-1] / w, flow.shape[-2] / h])
    return resize(flow, (h, w)) * ratio[:, None, None]


# %% resize_pixel_flow: x and y have each other's factor -> last axis
def resize_pixel_flow(flow, h, w):
    ratio = torch.tensor([h / flow.shape[-2], w / flow.shape[-1]])
    return resize(flow, (h, w)) * ratio[:, None, None]


# %% resize_pixel_flow: one factor for both, of the widths -> of the heights
def resize_pixel_flow(flow, h, w):
    return resize(flow, (h, w)) * (w / flow.shape[-1])


# %% resize_pixel_flow: one factor for both, of the heights -> of the widths
def resize_pixel_flow(flow, h, w):
    return resize(flow, (h, w)) * (h / flow.shape[-2])


# %% resize_pixel_flow: looked up at the new centres, which misses pixels when it shrinks -> every old pixel
def resize_pixel_flow(flow, h, w):
    ratio = torch.tensor([w / flow.shape[-1], h / flow.shape[-2]])
    return resize_v1(flow, (h, w)) * ratio[:, None, None]


# %% resize_pixel_flow: the nearest old pixel -> every old pixel
def resize_pixel_flow(flow, h, w):
    ratio = torch.tensor([w / flow.shape[-1], h / flow.shape[-2]])
    return F.interpolate(flow, (h, w)) * ratio[:, None, None]


# %% resize_pixel_flow: the batch axis is lost -> shape
def resize_pixel_flow(flow, h, w):
    ratio = torch.tensor([w / flow.shape[-1], h / flow.shape[-2]])
    return (resize(flow, (h, w)) * ratio[:, None, None])[0]


# %% consistent: g is looked up where f starts -> where f points
def consistent(f, g, tolerance=1.0):
    return (lfdm.flow.in_pixels(f + g).norm(dim=1, keepdim=True) <= tolerance).float()


# %% consistent: the two ways are subtracted -> add both ways
def consistent(f, g, tolerance=1.0):
    return (lfdm.flow.in_pixels(f - lfdm.warp(g, f)).norm(dim=1, keepdim=True) <= tolerance).float()


# %% consistent: a picture is taken to span 1, not 2 -> spans 2
def consistent(f, g, tolerance=1.0):
    h, w = f.shape[-2:]
    trip = compose(g, f) * torch.tensor([w, h])[:, None, None]
    return (trip.norm(dim=1, keepdim=True) <= tolerance).float()


# %% consistent: the larger part, not the length -> the larger part
def consistent(f, g, tolerance=1.0):
    return (lfdm.flow.in_pixels(compose(g, f)).abs().amax(dim=1, keepdim=True) <= tolerance).float()


# %% consistent: the sum of the parts, not the length -> the sum of parts
def consistent(f, g, tolerance=1.0):
    return (lfdm.flow.in_pixels(compose(g, f)).abs().sum(dim=1, keepdim=True) <= tolerance).float()


# %% consistent: the tolerance is not asked for -> tolerance of 0.5
def consistent(f, g, tolerance=1.0):
    return (lfdm.flow.in_pixels(compose(g, f)).norm(dim=1, keepdim=True) <= 1).float()


# %% consistent: lengths in normalized units -> count in pixels
def consistent(f, g, tolerance=1.0):
    return (compose(g, f).norm(dim=1, keepdim=True) <= tolerance).float()


# %% consistent: squares against the tolerance itself -> not squares
def consistent(f, g, tolerance=1.0):
    return (lfdm.flow.in_pixels(compose(g, f)).square().sum(dim=1, keepdim=True) <= tolerance).float()


# %% consistent: the width for both directions -> own factor
def consistent(f, g, tolerance=1.0):
    return ((compose(g, f) * f.shape[-1] / 2).norm(dim=1, keepdim=True) <= tolerance).float()


# %% consistent: g first, then f from there -> began with g
def consistent(f, g, tolerance=1.0):
    return (lfdm.flow.in_pixels(compose(f, g)).norm(dim=1, keepdim=True) <= tolerance).float()


# %% consistent: how far off, not yes or no -> 0 or 1
def consistent(f, g, tolerance=1.0):
    return lfdm.flow.in_pixels(compose(g, f)).norm(dim=1, keepdim=True)


def _smooth(
    image, flow, halvings, step=None, log=torch.log2, lowest=1, whole=False, nearest=False, pick=False, pixels=True
):
    h, w = image.shape[-2:]
    places = lfdm.identity_grid(h, w) + flow
    at = torch.stack([to_pixels(places[:, 0], w), to_pixels(places[:, 1], h)], dim=1) if pixels else places
    across = F.pad(at.diff(dim=3), (0, 1, 0, 0), mode="replicate")
    down = F.pad(at.diff(dim=2), (0, 0, 0, 1), mode="replicate")
    lengths = across.norm(dim=1, keepdim=True), down.norm(dim=1, keepdim=True)
    length = step(across, down) if step else torch.maximum(*lengths)
    if whole:
        length = length.mean().expand_as(length)
    level = log(length.clamp(min=lowest)).clamp(max=halvings)
    level = level.round() if nearest else level
    smaller, blended = image, 0
    for n in range(halvings + 1):
        blended = blended + (1 - (level - n).abs()).clamp(min=0) * sample_at(smaller, places)
        smaller = smaller[..., ::2, ::2] if pick else F.avg_pool2d(smaller, 2)
    return blended


# %% smooth_warp: the plain warp -> plain warp still
def smooth_warp(image, flow, halvings=3):
    return lfdm.warp(image, flow)


# %% smooth_warp: steps of the flow, not of the places -> part 1
def smooth_warp(image, flow, halvings=3):
    h, w = image.shape[-2:]
    moved = flow * torch.tensor([w / 2, h / 2])[:, None, None]
    across = F.pad(moved.diff(dim=3), (0, 1, 0, 0), mode="replicate").norm(dim=1, keepdim=True)
    down = F.pad(moved.diff(dim=2), (0, 0, 0, 1), mode="replicate").norm(dim=1, keepdim=True)
    return _smooth(image, flow, halvings, step=lambda *_: torch.maximum(across, down))


# %% smooth_warp: steps in normalized units -> part 1
def smooth_warp(image, flow, halvings=3):
    return _smooth(image, flow, halvings, pixels=False)


# %% smooth_warp: the natural logarithm -> to base 2
def smooth_warp(image, flow, halvings=3):
    return _smooth(image, flow, halvings, log=torch.log)


# %% smooth_warp: the level may be below 0 -> level stays 0
def smooth_warp(image, flow, halvings=3):
    return _smooth(image, flow, halvings, lowest=1e-6)


# %% smooth_warp: the shorter step -> the longer step
def smooth_warp(image, flow, halvings=3):
    lengths = lambda across, down: torch.minimum(across.norm(dim=1, keepdim=True), down.norm(dim=1, keepdim=True))
    return _smooth(image, flow, halvings, step=lengths)


# %% smooth_warp: columns across and rows down alone -> two parts
def smooth_warp(image, flow, halvings=3):
    return _smooth(
        image, flow, halvings, step=lambda across, down: torch.maximum(across[:, :1].abs(), down[:, 1:].abs())
    )


# %% smooth_warp: one level for the whole picture -> level of its own
def smooth_warp(image, flow, halvings=3):
    return _smooth(image, flow, halvings, whole=True)


# %% smooth_warp: the nearest level, no blend -> level 0.5
def smooth_warp(image, flow, halvings=3):
    return _smooth(image, flow, halvings, nearest=True)


# %% smooth_warp: every second pixel, not the mean of four -> means of 2 x 2
def smooth_warp(image, flow, halvings=3):
    return _smooth(image, flow, halvings, pick=True)


# %% smooth_warp: no highest level -> highest level
def smooth_warp(image, flow, halvings=3):
    return _smooth(image, flow, halvings + 1)
