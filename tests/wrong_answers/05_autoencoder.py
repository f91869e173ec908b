"""Plausible wrong answers to the exercises of chapter 05; see `tests/exercises.py` for the form."""


# %% bare_warp: the flow keeps its own size -> size first
def bare_warp(image, motion):
    return warp(image, motion.flow)


# %% bare_warp: it is masked -> masked
def bare_warp(image, motion):
    return warp(image, resize(motion.flow, image.shape[-2:]), resize(motion.occlusion, image.shape[-2:]))


# %% bare_warp: flow is taken for pixels -> normalized
def bare_warp(image, motion):
    return warp(image, resize(2 * motion.flow, image.shape[-2:]))


# %% bare_warp: the sign is turned -> sign
def bare_warp(image, motion):
    return warp(image, resize(-motion.flow, image.shape[-2:]))


# %% bare_warp: the last frame alone -> one frame for each flow
def bare_warp(image, motion):
    return warp(image, resize(motion.flow[:, :, -1], image.shape[-2:]))


# %% bare_warp: the picture, repeated -> other pixels
def bare_warp(image, motion):
    return image[:, :, None].expand(-1, -1, motion.flow.shape[2], -1, -1)


# %% exaggerated: the place is scaled -> scaled the place
def exaggerated(of_first, of_driving, factor):
    return of_driving._replace(shift=factor * of_driving.shift)


# %% exaggerated: the way back -> not back
def exaggerated(of_first, of_driving, factor):
    return of_driving._replace(shift=of_first.shift - factor * (of_driving.shift - of_first.shift))


# %% exaggerated: counted from the driving frame -> factor 1
def exaggerated(of_first, of_driving, factor):
    return of_driving._replace(shift=of_driving.shift + factor * (of_driving.shift - of_first.shift))


# %% exaggerated: matrices are those of the first frame -> affine
def exaggerated(of_first, of_driving, factor):
    return of_first._replace(shift=of_first.shift + factor * (of_driving.shift - of_first.shift))


# %% exaggerated: the shift alone is returned -> Regions
def exaggerated(of_first, of_driving, factor):
    return of_first.shift + factor * (of_driving.shift - of_first.shift)


# %% round_trip: the way back is not looked up -> look `back` up
def round_trip(flow, back):
    h, w = flow.shape[-2:]
    to_pixels = flow.new_tensor([w / 2, h / 2]).view(1, 2, 1, 1)
    gap, onward, way_back = (((way * to_pixels) ** 2).sum(dim=1) for way in (flow + back, flow, back))
    inside = (identity_grid(h, w) + flow).abs().amax(dim=1) <= 1
    return ((gap < 0.01 * (onward + way_back) + 0.5) & inside).float()[:, None]


# %% round_trip: the two ways are subtracted -> add the two
def round_trip(flow, back):
    h, w = flow.shape[-2:]
    to_pixels = flow.new_tensor([w / 2, h / 2]).view(1, 2, 1, 1)
    homeward = warp(back, flow)
    gap, onward, way_back = (((way * to_pixels) ** 2).sum(dim=1) for way in (flow - homeward, flow, homeward))
    inside = (identity_grid(h, w) + flow).abs().amax(dim=1) <= 1
    return ((gap < 0.01 * (onward + way_back) + 0.5) & inside).float()[:, None]


# %% round_trip: the gap is measured in normalized units -> part 2
def round_trip(flow, back):
    homeward = warp(back, flow)
    gap, onward, way_back = ((way**2).sum(dim=1) for way in (flow + homeward, flow, homeward))
    inside = (identity_grid(*flow.shape[-2:]) + flow).abs().amax(dim=1) <= 1
    return ((gap < 0.01 * (onward + way_back) + 0.5) & inside).float()[:, None]


# %% round_trip: height and width are swapped -> part
def round_trip(flow, back):
    h, w = flow.shape[-2:]
    to_pixels = flow.new_tensor([h / 2, w / 2]).view(1, 2, 1, 1)
    homeward = warp(back, flow)
    gap, onward, way_back = (((way * to_pixels) ** 2).sum(dim=1) for way in (flow + homeward, flow, homeward))
    inside = (identity_grid(h, w) + flow).abs().amax(dim=1) <= 1
    return ((gap < 0.01 * (onward + way_back) + 0.5) & inside).float()[:, None]


# %% round_trip: what leads outside counts as seen -> part 4
def round_trip(flow, back):
    h, w = flow.shape[-2:]
    to_pixels = flow.new_tensor([w / 2, h / 2]).view(1, 2, 1, 1)
    homeward = warp(back, flow)
    gap, onward, way_back = (((way * to_pixels) ** 2).sum(dim=1) for way in (flow + homeward, flow, homeward))
    return (gap < 0.01 * (onward + way_back) + 0.5).float()[:, None]


# %% round_trip: long ways are allowed no more than short ones -> long ways
def round_trip(flow, back):
    h, w = flow.shape[-2:]
    to_pixels = flow.new_tensor([w / 2, h / 2]).view(1, 2, 1, 1)
    gap = (((flow + warp(back, flow)) * to_pixels) ** 2).sum(dim=1)
    inside = (identity_grid(h, w) + flow).abs().amax(dim=1) <= 1
    return ((gap < 0.5) & inside).float()[:, None]


# %% round_trip: the length, not its square -> below 0.5
def round_trip(flow, back):
    h, w = flow.shape[-2:]
    to_pixels = flow.new_tensor([w / 2, h / 2]).view(1, 2, 1, 1)
    homeward = warp(back, flow)
    gap, onward, way_back = ((way * to_pixels).norm(dim=1) for way in (flow + homeward, flow, homeward))
    inside = (identity_grid(h, w) + flow).abs().amax(dim=1) <= 1
    return ((gap < 0.01 * (onward + way_back) + 0.5) & inside).float()[:, None]


# %% round_trip: 1 marks what is hidden -> 1 means visible
def round_trip(flow, back):
    h, w = flow.shape[-2:]
    to_pixels = flow.new_tensor([w / 2, h / 2]).view(1, 2, 1, 1)
    homeward = warp(back, flow)
    gap, onward, way_back = (((way * to_pixels) ** 2).sum(dim=1) for way in (flow + homeward, flow, homeward))
    inside = (identity_grid(h, w) + flow).abs().amax(dim=1) <= 1
    return 1 - ((gap < 0.01 * (onward + way_back) + 0.5) & inside).float()[:, None]
