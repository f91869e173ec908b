"""Answers to problem set 2, warping and regions: wrong ones with their misconception, right ones in other styles."""


# %% pencil | wrong | the flow taken for pixels | taken for pixels | pencil-1, pencil-3
def pencil():
    return {"A": 1.0, "B": 20.0, "C": 3.0, "D": 2.16, "E": -7.5, "F": 6.75, "G": 2.25}


# %% pencil | wrong | the centres taken for -1 and 1 | -1 and 1 are edges | pencil-1, pencil-2
def pencil():
    return {"A": 0.0, "B": 16.0, "C": 3.0, "D": 0.9, "E": -6.0, "F": 6.75, "G": 2.25}


# %% pencil | wrong | the picture taken to be 1 wide | from edge to edge is 2 | pencil-1, pencil-2
def pencil():
    return {"A": 5.5, "B": 40.0, "C": 3.0, "D": 0.9, "E": -15.0, "F": 6.75, "G": 2.25}


# %% pencil | wrong | slopes per pixel | slope per pixel | pencil-2
def pencil():
    return {"A": 2.0, "B": 8.0, "C": 3.0, "D": 0.9, "E": -3.0, "F": 6.75, "G": 2.25}


# %% pencil | wrong | the slope at the pixel itself | not where it looks | pencil-2
def pencil():
    return {"A": 2.0, "B": -5.0, "C": 3.0, "D": 0.9, "E": -7.5, "F": 6.75, "G": 2.25}


# %% pencil | wrong | no slope outside | zeros fade in | pencil-2
def pencil():
    return {"A": 2.0, "B": 20.0, "C": 3.0, "D": 0.9, "E": 0.0, "F": 6.75, "G": 2.25}


# %% pencil | wrong | zero at once outside | zeros fade in | pencil-3
def pencil():
    return {"A": 2.0, "B": 20.0, "C": 3.0, "D": 0.0, "E": -7.5, "F": 6.75, "G": 2.25}


# %% pencil | wrong | borders exchanged | zeros outside give | pencil-3
def pencil():
    return {"A": 2.0, "B": 20.0, "C": 0.9, "D": 3.0, "E": -7.5, "F": 6.75, "G": 2.25}


# %% pencil | wrong | conventions taken to be the same | both programs meant the same | pencil-4
def pencil():
    return {"A": 2.0, "B": 20.0, "C": 3.0, "D": 0.9, "E": -7.5, "F": 8.0, "G": 2.25}


# %% pencil | wrong | reader and writer exchanged | Writing and reading are exchanged | pencil-4
def pencil():
    return {"A": 2.0, "B": 20.0, "C": 3.0, "D": 0.9, "E": -7.5, "F": 6.4, "G": 2.25}


# %% pencil | wrong | scattering taken for one fetch a pixel | add the weights of all pixels | pencil-5
def pencil():
    return {"A": 2.0, "B": 20.0, "C": 3.0, "D": 0.9, "E": -7.5, "F": 6.75, "G": 1.0}


# %% pencil | wrong | outside pixels send nothing back | they count in full | pencil-5
def pencil():
    return {"A": 2.0, "B": 20.0, "C": 3.0, "D": 0.9, "E": -7.5, "F": 6.75, "G": 0.25}


# %% pencil | wrong | sign of the slopes | The sign | pencil-2
def pencil():
    return {"A": 2.0, "B": -20.0, "C": 3.0, "D": 0.9, "E": 7.5, "F": 6.75, "G": 2.25}


# %% pencil | wrong | a list instead of a table | dictionary | pencil-1, pencil-2, pencil-3, pencil-4, pencil-5
def pencil():
    return [2.0, 20.0, 3.0, 0.9, -7.5, 6.75, 2.25]


# %% pencil | wrong | a number forgotten | dictionary | pencil-1, pencil-5
def pencil():
    return {"A": 2.0, "B": 20.0, "C": 3.0, "D": 0.9, "E": -7.5, "F": 6.75}


# %% pencil | right | computed
def pencil():
    row = [5.0, 2, 0, 8, 3]

    def read(a, zeros=False):
        a = a if zeros else min(max(a, 0), 4)
        return sum(max(0, 1 - abs(a - i)) * value for i, value in enumerate(row))

    A, D = read(1 + 0.5 * 2.5), read(4 + 0.28 * 2.5, zeros=True)
    looks = [min(i + 1.25, 4) for i in range(5)]
    return {
        "A": A,
        "B": 2.5 * (row[3] - row[2]),
        "C": read(4 + 0.28 * 2.5),
        "D": D,
        "E": 2.5 * (0 - row[4]),
        "F": read(((2 * 3 / 4 - 1 + 1) * 5 - 1) / 2),
        "G": sum(max(0, 1 - abs(a - 4)) for a in looks),
    }


# %% pencil | right | as fractions of whole numbers
def pencil():
    return {"A": 2, "B": 20, "C": 3, "D": 9 / 10, "E": -15 / 2, "F": 27 / 4, "G": 9 / 4}


# %% blended | wrong | the function as it was given | two conventions of the corners | blended-1, blended-2, blended-3, blended-4
def blended(features, flow, visible, paint):
    h, w = features.shape[-2:]
    flow = h / flow.shape[-2] * F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
    m = F.interpolate(visible, size=(h, w), mode="bilinear", align_corners=False)
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    at = torch.stack([x, y], dim=-1) + flow.movedim(1, -1)
    kept = F.grid_sample(m * features, at, padding_mode="border", align_corners=False)
    return kept + (1 - m) * paint


# %% blended | wrong | corners still mixed | two conventions of the corners | blended-1, blended-2, blended-3, blended-4
def blended(features, flow, visible, paint):
    h, w = features.shape[-2:]
    flow = F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
    m = F.interpolate(visible, size=(h, w), mode="bilinear", align_corners=False)
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    at = torch.stack([x, y], dim=-1) + flow.movedim(1, -1)
    kept = m * F.grid_sample(features, at, padding_mode="border", align_corners=False)
    return kept + (1 - m) * paint


# %% blended | wrong | values of the flow still scaled | keeps its values | blended-2, blended-3, blended-4
def blended(features, flow, visible, paint):
    h, w = features.shape[-2:]
    flow = h / flow.shape[-2] * F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
    m = F.interpolate(visible, size=(h, w), mode="bilinear", align_corners=False)
    x, y = lfdm.identity_grid(h, w)
    at = torch.stack([x, y], dim=-1) + flow.movedim(1, -1)
    kept = m * F.grid_sample(features, at, padding_mode="border", align_corners=False)
    return kept + (1 - m) * paint


# %% blended | wrong | values of the flow scaled down | too short | blended-2, blended-3, blended-4
def blended(features, flow, visible, paint):
    h, w = features.shape[-2:]
    flow = flow.shape[-2] / h * F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
    m = F.interpolate(visible, size=(h, w), mode="bilinear", align_corners=False)
    x, y = lfdm.identity_grid(h, w)
    at = torch.stack([x, y], dim=-1) + flow.movedim(1, -1)
    kept = m * F.grid_sample(features, at, padding_mode="border", align_corners=False)
    return kept + (1 - m) * paint


# %% blended | wrong | the mask still carried along | belongs to the new frame | blended-3, blended-4
def blended(features, flow, visible, paint):
    h, w = features.shape[-2:]
    flow = F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
    m = F.interpolate(visible, size=(h, w), mode="bilinear", align_corners=False)
    x, y = lfdm.identity_grid(h, w)
    at = torch.stack([x, y], dim=-1) + flow.movedim(1, -1)
    kept = F.grid_sample(m * features, at, padding_mode="border", align_corners=False)
    return kept + (1 - m) * paint


# %% blended | wrong | mask and scale still wrong | too long | blended-2, blended-3, blended-4
def blended(features, flow, visible, paint):
    h, w = features.shape[-2:]
    flow = h / flow.shape[-2] * F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
    m = F.interpolate(visible, size=(h, w), mode="bilinear", align_corners=False)
    x, y = lfdm.identity_grid(h, w)
    at = torch.stack([x, y], dim=-1) + flow.movedim(1, -1)
    kept = F.grid_sample(m * features, at, padding_mode="border", align_corners=False)
    return kept + (1 - m) * paint


# %% blended | wrong | visible and hidden exchanged | 1 is visible | blended-1, blended-2, blended-3, blended-4
def blended(features, flow, visible, paint):
    h, w = features.shape[-2:]
    flow = F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
    m = F.interpolate(visible, size=(h, w), mode="bilinear", align_corners=False)
    x, y = lfdm.identity_grid(h, w)
    at = torch.stack([x, y], dim=-1) + flow.movedim(1, -1)
    kept = (1 - m) * F.grid_sample(features, at, padding_mode="border", align_corners=False)
    return kept + m * paint


# %% blended | wrong | paint everywhere | Paint is added | blended-1, blended-3, blended-4
def blended(features, flow, visible, paint):
    h, w = features.shape[-2:]
    flow = F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
    m = F.interpolate(visible, size=(h, w), mode="bilinear", align_corners=False)
    x, y = lfdm.identity_grid(h, w)
    at = torch.stack([x, y], dim=-1) + flow.movedim(1, -1)
    kept = m * F.grid_sample(features, at, padding_mode="border", align_corners=False)
    return kept + paint


# %% blended | wrong | no paint | Nothing is painted | blended-3, blended-4
def blended(features, flow, visible, paint):
    h, w = features.shape[-2:]
    flow = F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
    m = F.interpolate(visible, size=(h, w), mode="bilinear", align_corners=False)
    x, y = lfdm.identity_grid(h, w)
    at = torch.stack([x, y], dim=-1) + flow.movedim(1, -1)
    kept = m * F.grid_sample(features, at, padding_mode="border", align_corners=False)
    return kept + 0 * paint


# %% blended | wrong | a hard mask | 0 or 1 | blended-3, blended-4
def blended(features, flow, visible, paint):
    h, w = features.shape[-2:]
    flow = F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
    m = F.interpolate(visible, size=(h, w), mode="bilinear", align_corners=False)
    m = (m > 0.5).float()
    x, y = lfdm.identity_grid(h, w)
    at = torch.stack([x, y], dim=-1) + flow.movedim(1, -1)
    kept = m * F.grid_sample(features, at, padding_mode="border", align_corners=False)
    return kept + (1 - m) * paint


# %% blended | wrong | flow turned round | turned round | blended-2, blended-3, blended-4
def blended(features, flow, visible, paint):
    h, w = features.shape[-2:]
    flow = -F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
    m = F.interpolate(visible, size=(h, w), mode="bilinear", align_corners=False)
    x, y = lfdm.identity_grid(h, w)
    at = torch.stack([x, y], dim=-1) + flow.movedim(1, -1)
    kept = m * F.grid_sample(features, at, padding_mode="border", align_corners=False)
    return kept + (1 - m) * paint


# %% blended | wrong | the mask changed in place | must stay as it is | blended-3, blended-4
def blended(features, flow, visible, paint):
    h, w = features.shape[-2:]
    m = resize(visible, (h, w))
    paint *= 1 - m
    return m * lfdm.warp(features, resize(flow, (h, w))) + paint


# %% blended | wrong | neighbours instead of bilinear | - | blended-2, blended-3, blended-4
def blended(features, flow, visible, paint):
    h, w = features.shape[-2:]
    flow = F.interpolate(flow, size=(h, w), mode="nearest")
    m = F.interpolate(visible, size=(h, w), mode="nearest")
    x, y = lfdm.identity_grid(h, w)
    at = torch.stack([x, y], dim=-1) + flow.movedim(1, -1)
    kept = m * F.grid_sample(features, at, padding_mode="border", align_corners=False)
    return kept + (1 - m) * paint


# %% blended | wrong | in float16 | too coarse | blended-1, blended-2, blended-3, blended-4
def blended(features, flow, visible, paint):
    h, w = features.shape[-2:]
    flow = F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
    m = F.interpolate(visible, size=(h, w), mode="bilinear", align_corners=False)
    x, y = lfdm.identity_grid(h, w)
    at = torch.stack([x, y], dim=-1) + flow.movedim(1, -1)
    kept = m * F.grid_sample(features, at, padding_mode="border", align_corners=False)
    return (kept + (1 - m) * paint).half()


# %% blended | right | with grid_sample
def blended(features, flow, visible, paint):
    h, w = features.shape[-2:]
    flow = F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
    m = F.interpolate(visible, size=(h, w), mode="bilinear", align_corners=False)
    x, y = lfdm.identity_grid(h, w)
    at = torch.stack([x, y], dim=-1) + flow.movedim(1, -1)
    kept = m * F.grid_sample(features, at, padding_mode="border", align_corners=False)
    return kept + (1 - m) * paint


# %% blended | right | pixel by pixel
def blended(features, flow, visible, paint):
    b, c, h, w = features.shape
    flow = F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
    m = F.interpolate(visible, size=(h, w), mode="bilinear", align_corners=False)
    made = torch.empty_like(features)
    for n in range(b):
        for j in range(h):
            for i in range(w):
                x = min(max(i + flow[n, 0, j, i].item() * w / 2, 0), w - 1)
                y = min(max(j + flow[n, 1, j, i].item() * h / 2, 0), h - 1)
                left, top = int(x), int(y)
                right, low = min(left + 1, w - 1), min(top + 1, h - 1)
                x, y = x - left, y - top
                upper = (1 - x) * features[n, :, top, left] + x * features[n, :, top, right]
                lower = (1 - x) * features[n, :, low, left] + x * features[n, :, low, right]
                seen = m[n, 0, j, i]
                made[n, :, j, i] = seen * ((1 - y) * upper + y * lower) + (1 - seen) * paint[n, :, j, i]
    return made


# %% blended | right | a mix from paint to what was fetched
def blended(features, flow, visible, paint):
    size = tuple(features.shape[-2:])
    return torch.lerp(paint, lfdm.warp(features, resize(flow, size)), resize(visible, size))


# %% between | wrong | half the flow | at the wrong place | between-3, between-4
def between(flow, t):
    return t * flow


# %% between | wrong | the other part of the way | from the new frame to the one between | between-1, between-2, between-3, between-4
def between(flow, t):
    way = flow
    for _ in range(60):
        way = lfdm.warp(flow, -(1 - t) * way)
    return (1 - t) * way


# %% between | wrong | time runs the other way | Time runs the other way | between-1, between-2, between-3, between-4
def between(flow, t):
    way = flow
    for _ in range(60):
        way = lfdm.warp(flow, -t * way)
    return (1 - t) * way


# %% between | wrong | one step of the iteration | One step | between-3
def between(flow, t):
    return t * lfdm.warp(flow, -(1 - t) * flow)


# %% between | wrong | too few steps | take more | between-3
def between(flow, t):
    way = flow
    for _ in range(3):
        way = lfdm.warp(flow, -(1 - t) * way)
    return t * way


# %% between | wrong | looked up on the wrong side, once | wrong side | between-3, between-4
def between(flow, t):
    return t * lfdm.warp(flow, (1 - t) * flow)


# %% between | wrong | looked up on the wrong side, again and again | wrong side | between-3, between-4
def between(flow, t):
    way = flow
    for _ in range(60):
        way = lfdm.warp(flow, (1 - t) * way)
    return t * way


# %% between | wrong | the inverse of the flow, in part | starts from the inverse | between-1, between-3, between-4
def between(flow, t):
    back = torch.zeros_like(flow)
    for _ in range(60):
        back = -lfdm.warp(flow, back)
    return -t * back


# %% between | wrong | a forward flow | sign is turned | between-1, between-2, between-3, between-4
def between(flow, t):
    way = flow
    for _ in range(60):
        way = lfdm.warp(flow, -(1 - t) * way)
    return -t * way


# %% between | wrong | the whole flow at the right place | the whole flow | between-1, between-2, between-3, between-4
def between(flow, t):
    way = flow
    for _ in range(60):
        way = lfdm.warp(flow, -(1 - t) * way)
    return way


# %% between | wrong | only the first of a batch | shape | between-4
def between(flow, t):
    flow = flow[:1]
    way = flow
    for _ in range(60):
        way = lfdm.warp(flow, -(1 - t) * way)
    return t * way


# %% between | wrong | changed in place | must stay as it is | between-4
def between(flow, t):
    way = flow.clone()
    for _ in range(60):
        way = lfdm.warp(flow, -(1 - t) * way)
    flow.copy_(t * way)
    return flow.clone()


# %% between | wrong | in float16 | too coarse | between-1, between-2, between-3, between-4
def between(flow, t):
    way = flow
    for _ in range(60):
        way = lfdm.warp(flow, -(1 - t) * way)
    return (t * way).half()


# %% between | wrong | hard-coded to the zoom that is shown | - | between-3, between-4
def between(flow, t):
    return flow * (t if flow.std() < 0.25 and t < 0.5 else 0.4 if t == 0.5 else t)


# %% between | right | twenty steps from zero
def between(flow, t):
    way = torch.zeros_like(flow)
    for _ in range(20):
        way = lfdm.warp(flow, -(1 - t) * way)
    return t * way


# %% between | right | the position in the new frame is iterated
def between(flow, t):
    grid = lfdm.identity_grid(*flow.shape[-2:])
    place = grid.expand_as(flow)  # in the new frame, of what stands at each pixel at time t
    for _ in range(80):
        place = grid - (1 - t) * sample_at(flow, place)
    return t * sample_at(flow, place)


# %% between | right | with the inverse of a shorter flow
def between(flow, t):
    step = (1 - t) * flow  # from the new frame to the one between
    back = torch.zeros_like(flow)
    for _ in range(80):
        back = -lfdm.warp(step, back)
    return t * lfdm.warp(flow, back)


# %% copy | wrong | taken through the map, not back | Taken through B | copy-1, copy-2, copy-3, copy-4
def of_copy(shift, covariance, B, b):
    return shift @ B.mT + b, B @ covariance @ B.mT


# %% copy | wrong | the offset with the wrong sign | wrong way | copy-1, copy-2, copy-4
def of_copy(shift, covariance, B, b):
    back = torch.linalg.inv(B)
    return (shift + b) @ back.mT, back @ covariance @ back.mT


# %% copy | wrong | matrix and offset undone in the wrong order | undone first | copy-2, copy-4
def of_copy(shift, covariance, B, b):
    back = torch.linalg.inv(B)
    return shift @ back.mT - b, back @ covariance @ back.mT


# %% copy | wrong | the transpose forgotten in the means | looks transposed | copy-2, copy-4
def of_copy(shift, covariance, B, b):
    back = torch.linalg.inv(B)
    return (shift - b) @ back, back @ covariance @ back.mT


# %% copy | wrong | the transpose on the wrong side | wrong side | copy-3, copy-4
def of_copy(shift, covariance, B, b):
    back = torch.linalg.inv(B)
    return (shift - b) @ back.mT, back.mT @ covariance @ back


# %% copy | wrong | one factor only | from the left | copy-3, copy-4
def of_copy(shift, covariance, B, b):
    back = torch.linalg.inv(B)
    return (shift - b) @ back.mT, covariance @ back.mT


# %% copy | wrong | the other factor only | One factor is missing | copy-3, copy-4
def of_copy(shift, covariance, B, b):
    back = torch.linalg.inv(B)
    return (shift - b) @ back.mT, back @ covariance


# %% copy | wrong | covariance taken forward | Taken through B | copy-3, copy-4
def of_copy(shift, covariance, B, b):
    back = torch.linalg.inv(B)
    return (shift - b) @ back.mT, B @ covariance @ B.mT


# %% copy | wrong | covariance unchanged | did not change | copy-3, copy-4
def of_copy(shift, covariance, B, b):
    return (shift - b) @ torch.linalg.inv(B).mT, covariance


# %% copy | wrong | no transpose at all | transposed | copy-2, copy-3, copy-4
def of_copy(shift, covariance, B, b):
    back = torch.linalg.inv(B)
    return (shift - b) @ back, back @ covariance @ back


# %% copy | wrong | the inverse of a turn for every map | - | copy-2, copy-3, copy-4
def of_copy(shift, covariance, B, b):
    return (shift - b) @ B, B.mT @ covariance @ B


# %% copy | wrong | the means changed in place | must stay as it is | copy-1, copy-2, copy-4
def of_copy(shift, covariance, B, b):
    back = torch.linalg.inv(B)
    shift -= b
    return shift @ back.mT, back @ covariance @ back.mT


# %% copy | wrong | means alone | 2 things | copy-1, copy-2, copy-3, copy-4
def of_copy(shift, covariance, B, b):
    return (shift - b) @ torch.linalg.inv(B).mT


# %% copy | wrong | in float16 | too coarse | copy-1, copy-2, copy-3, copy-4
def of_copy(shift, covariance, B, b):
    back = torch.linalg.inv(B)
    return ((shift - b) @ back.mT).half(), (back @ covariance @ back.mT).half()


# %% copy | right | region by region, with solve
def of_copy(shift, covariance, B, b):
    means, spreads = torch.empty_like(shift), torch.empty_like(covariance)
    for n in range(len(shift)):
        for k in range(shift.shape[1]):
            means[n, k] = torch.linalg.solve(B, shift[n, k] - b)
            half = torch.linalg.solve(B, covariance[n, k])
            spreads[n, k] = torch.linalg.solve(B, half.T)
    return means, spreads


# %% copy | right | with sums over indices and the determinant
def of_copy(shift, covariance, B, b):
    (p, q), (r, s) = B.tolist()
    back = torch.tensor([[s, -q], [-r, p]]) / (p * s - q * r)
    means = torch.einsum("ij,nkj->nki", back, shift - b)
    return [means, torch.einsum("ij,nkjl,ml->nkim", back, covariance, back)]


# %% merged | wrong | spreads averaged only | parts that lie apart | merged-3, merged-4
def merged(mass, shift, covariance):
    share = mass / mass.sum(dim=1, keepdim=True)
    mean = (share[..., None] * shift).sum(dim=1)
    spread = (share[..., None, None] * covariance).sum(dim=1)
    return mean, spread


# %% merged | wrong | spread of the means only | a spread of its own | merged-1, merged-3, merged-4
def merged(mass, shift, covariance):
    share = mass / mass.sum(dim=1, keepdim=True)
    mean = (share[..., None] * shift).sum(dim=1)
    offset = shift - mean[:, None]
    around = offset[..., :, None] * offset[..., None, :]
    spread = (share[..., None, None] * around).sum(dim=1)
    return mean, spread


# %% merged | wrong | about the origin | about the origin | merged-1, merged-3, merged-4
def merged(mass, shift, covariance):
    share = mass / mass.sum(dim=1, keepdim=True)
    mean = (share[..., None] * shift).sum(dim=1)
    offset = shift
    around = covariance + offset[..., :, None] * offset[..., None, :]
    spread = (share[..., None, None] * around).sum(dim=1)
    return mean, spread


# %% merged | wrong | masses without a say | no say | merged-2, merged-3, merged-4
def merged(mass, shift, covariance):
    share = torch.full_like(mass, 1 / mass.shape[1])
    mean = (share[..., None] * shift).sum(dim=1)
    offset = shift - mean[:, None]
    around = covariance + offset[..., :, None] * offset[..., None, :]
    spread = (share[..., None, None] * around).sum(dim=1)
    return mean, spread


# %% merged | wrong | masses not normalized | divide by their sum | merged-1, merged-2, merged-3, merged-4
def merged(mass, shift, covariance):
    share = mass
    mean = (share[..., None] * shift).sum(dim=1)
    offset = shift - mean[:, None]
    around = covariance + offset[..., :, None] * offset[..., None, :]
    spread = (share[..., None, None] * around).sum(dim=1)
    return mean, spread


# %% merged | wrong | covariance not divided | not divided by the sum | merged-1, merged-3, merged-4
def merged(mass, shift, covariance):
    share = mass / mass.sum(dim=1, keepdim=True)
    mean = (share[..., None] * shift).sum(dim=1)
    offset = shift - mean[:, None]
    around = covariance + offset[..., :, None] * offset[..., None, :]
    spread = (mass[..., None, None] * around).sum(dim=1)
    return mean, spread


# %% merged | wrong | softmax of the masses | softmax | merged-2, merged-3, merged-4
def merged(mass, shift, covariance):
    share = mass.softmax(dim=1)
    mean = (share[..., None] * shift).sum(dim=1)
    offset = shift - mean[:, None]
    around = covariance + offset[..., :, None] * offset[..., None, :]
    spread = (share[..., None, None] * around).sum(dim=1)
    return mean, spread


# %% merged | wrong | signs of masses lost | sign of the masses is lost | merged-4
def merged(mass, shift, covariance):
    share = mass.abs() / mass.abs().sum(dim=1, keepdim=True)
    mean = (share[..., None] * shift).sum(dim=1)
    offset = shift - mean[:, None]
    around = covariance + offset[..., :, None] * offset[..., None, :]
    spread = (share[..., None, None] * around).sum(dim=1)
    return mean, spread


# %% merged | wrong | negative masses left out | - | merged-4
def merged(mass, shift, covariance):
    mass = mass.clamp(min=0)
    share = mass / mass.sum(dim=1, keepdim=True)
    mean = (share[..., None] * shift).sum(dim=1)
    offset = shift - mean[:, None]
    around = covariance + offset[..., :, None] * offset[..., None, :]
    spread = (share[..., None, None] * around).sum(dim=1)
    return mean, spread


# %% merged | wrong | distances without a square | square is missing | merged-3, merged-4
def merged(mass, shift, covariance):
    share = mass / mass.sum(dim=1, keepdim=True)
    mean = (share[..., None] * shift).sum(dim=1)
    offset = shift - mean[:, None]
    around = covariance + torch.diag_embed(offset.abs())
    spread = (share[..., None, None] * around).sum(dim=1)
    return mean, spread


# %% merged | wrong | x and y apart | x and y are handled apart | merged-3, merged-4
def merged(mass, shift, covariance):
    share = mass / mass.sum(dim=1, keepdim=True)
    mean = (share[..., None] * shift).sum(dim=1)
    offset = shift - mean[:, None]
    around = covariance + torch.diag_embed(offset.square())
    spread = (share[..., None, None] * around).sum(dim=1)
    return mean, spread


# %% merged | wrong | one sum of masses for the batch | each has its own | merged-1, merged-2
def merged(mass, shift, covariance):
    share = mass / mass.sum()
    mean = (share[..., None] * shift).sum(dim=1)
    offset = shift - mean[:, None]
    around = covariance + offset[..., :, None] * offset[..., None, :]
    spread = (share[..., None, None] * around).sum(dim=1)
    return mean, spread


# %% merged | wrong | spreads added, not averaged | spreads are added | merged-1, merged-3, merged-4
def merged(mass, shift, covariance):
    share = mass / mass.sum(dim=1, keepdim=True)
    mean = (share[..., None] * shift).sum(dim=1)
    offset = shift - mean[:, None]
    around = offset[..., :, None] * offset[..., None, :]
    spread = covariance.sum(dim=1) + (share[..., None, None] * around).sum(dim=1)
    return mean, spread


# %% merged | wrong | masses changed in place | must stay as it is | merged-4
def merged(mass, shift, covariance):
    share = mass.div_(mass.sum(dim=1, keepdim=True))
    mean = (share[..., None] * shift).sum(dim=1)
    offset = shift - mean[:, None]
    around = covariance + offset[..., :, None] * offset[..., None, :]
    spread = (share[..., None, None] * around).sum(dim=1)
    return mean, spread


# %% merged | wrong | in float16 | too coarse | merged-1, merged-2, merged-3, merged-4
def merged(mass, shift, covariance):
    share = mass / mass.sum(dim=1, keepdim=True)
    mean = (share[..., None] * shift).sum(dim=1)
    offset = shift - mean[:, None]
    around = covariance + offset[..., :, None] * offset[..., None, :]
    spread = (share[..., None, None] * around).sum(dim=1)
    return mean.half(), spread.half()


# %% merged | right | second moments about the origin, less the mean's
def merged(mass, shift, covariance):
    total = mass.sum(dim=1)
    mean = torch.einsum("bk,bki->bi", mass, shift) / total[:, None]
    second = torch.einsum("bk,bkij->bij", mass, covariance) + torch.einsum("bk,bki,bkj->bij", mass, shift, shift)
    return mean, second / total[:, None, None] - mean[:, :, None] * mean[:, None]


# %% merged | right | one after the other
def merged(mass, shift, covariance):
    total, mean, spread = mass[:, 0], shift[:, 0], covariance[:, 0]
    for k in range(1, mass.shape[1]):
        both = total + mass[:, k]
        gap = shift[:, k] - mean
        a, c = (total / both)[:, None, None], (mass[:, k] / both)[:, None, None]
        spread = a * spread + c * covariance[:, k] + a * c * gap[:, :, None] * gap[:, None]
        mean = mean + c[..., 0] * gap
        total = both
    return mean, spread


# %% steady | wrong | the flow fitted, not where to look | holds the identity | steady-1, steady-2, steady-3, steady-4
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((weight.flatten(2).mT) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (flow.flatten(2).mT)).mT
    seen = targets - torch.cat([points, 1 + 0 * points[..., :1]], -1) @ camera.mT
    rest = (seen - points).mT.reshape(flow.shape)
    return camera, rest


# %% steady | wrong | weights without a say | no say | steady-2, steady-3, steady-4
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((1 + 0 * weight.flatten(2).mT) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    seen = (targets - camera[:, None, :, 2]) @ torch.linalg.inv(camera[:, :, :2]).mT
    rest = (seen - points).mT.reshape(flow.shape)
    return camera, rest


# %% steady | wrong | weights counted twice | count twice | steady-2
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((weight.flatten(2).mT ** 2) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    seen = (targets - camera[:, None, :, 2]) @ torch.linalg.inv(camera[:, :, :2]).mT
    rest = (seen - points).mT.reshape(flow.shape)
    return camera, rest


# %% steady | wrong | roots of weights | roots of the weights | steady-2
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((weight.flatten(2).mT.sqrt()) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    seen = (targets - camera[:, None, :, 2]) @ torch.linalg.inv(camera[:, :, :2]).mT
    rest = (seen - points).mT.reshape(flow.shape)
    return camera, rest


# %% steady | wrong | hard weights | 0 or 1 | steady-2
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = (((weight.flatten(2).mT > 0.5).float()) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    seen = (targets - camera[:, None, :, 2]) @ torch.linalg.inv(camera[:, :, :2]).mT
    rest = (seen - points).mT.reshape(flow.shape)
    return camera, rest


# %% steady | wrong | every weight above 0 counts in full | no say | steady-2
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = (((weight.flatten(2).mT > 0).float()) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    seen = (targets - camera[:, None, :, 2]) @ torch.linalg.inv(camera[:, :, :2]).mT
    rest = (seen - points).mT.reshape(flow.shape)
    return camera, rest


# %% steady | wrong | the flow masked instead of weighted | looked straight ahead | steady-2, steady-3, steady-4
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((1) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (points + (weight * flow).flatten(2).mT)).mT
    seen = (targets - camera[:, None, :, 2]) @ torch.linalg.inv(camera[:, :, :2]).mT
    rest = (seen - points).mT.reshape(flow.shape)
    return camera, rest


# %% steady | wrong | flows subtracted | Flows are subtracted | steady-3, steady-4
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((weight.flatten(2).mT) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    rest = (targets - known @ camera.mT).mT.reshape(flow.shape)
    return camera, rest


# %% steady | wrong | the map applied once more | once more | steady-3, steady-4
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((weight.flatten(2).mT) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    seen = targets @ camera[:, :, :2].mT + camera[:, None, :, 2]
    rest = (seen - points).mT.reshape(flow.shape)
    return camera, rest


# %% steady | wrong | only the matrix undone | b is not | steady-3, steady-4
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((weight.flatten(2).mT) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    seen = targets @ torch.linalg.inv(camera[:, :, :2]).mT
    rest = (seen - points).mT.reshape(flow.shape)
    return camera, rest


# %% steady | wrong | undone in the wrong order | the other way round | steady-3, steady-4
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((weight.flatten(2).mT) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    seen = targets @ torch.linalg.inv(camera[:, :, :2]).mT - camera[:, None, :, 2]
    rest = (seen - points).mT.reshape(flow.shape)
    return camera, rest


# %% steady | wrong | positions instead of displacements | These are positions | steady-3, steady-4
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((weight.flatten(2).mT) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    seen = (targets - camera[:, None, :, 2]) @ torch.linalg.inv(camera[:, :, :2]).mT
    rest = seen.mT.reshape(flow.shape)
    return camera, rest


# %% steady | wrong | the inverse map | from source to new frame | steady-1, steady-2, steady-4
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((weight.flatten(2).mT) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    seen = (targets - camera[:, None, :, 2]) @ torch.linalg.inv(camera[:, :, :2]).mT
    rest = (seen - points).mT.reshape(flow.shape)
    return torch.cat(
        [torch.linalg.inv(camera[:, :, :2]), -torch.linalg.inv(camera[:, :, :2]) @ camera[:, :, 2:]], dim=2
    ), rest


# %% steady | wrong | the matrix transposed | looks transposed | steady-1, steady-2, steady-4
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((weight.flatten(2).mT) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    seen = (targets - camera[:, None, :, 2]) @ torch.linalg.inv(camera[:, :, :2]).mT
    rest = (seen - points).mT.reshape(flow.shape)
    return torch.cat([camera[:, :, :2].mT, camera[:, :, 2:]], dim=2), rest


# %% steady | wrong | undone by the transpose | transposed when it is undone | steady-3, steady-4
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((weight.flatten(2).mT) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    seen = (targets - camera[:, None, :, 2]) @ torch.linalg.inv(camera[:, :, :2])
    rest = (seen - points).mT.reshape(flow.shape)
    return camera, rest


# %% steady | wrong | b before B | B first, then b | steady-1, steady-2, steady-4
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((weight.flatten(2).mT) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    seen = (targets - camera[:, None, :, 2]) @ torch.linalg.inv(camera[:, :, :2]).mT
    rest = (seen - points).mT.reshape(flow.shape)
    return camera[..., [2, 0, 1]], rest


# %% steady | wrong | one camera for the batch | one camera | steady-4
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((weight.flatten(2).mT) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    camera = camera.mean(dim=0, keepdim=True).expand(n, 2, 3)
    seen = (targets - camera[:, None, :, 2]) @ torch.linalg.inv(camera[:, :, :2]).mT
    rest = (seen - points).mT.reshape(flow.shape)
    return camera, rest


# %% steady | wrong | corners at -1 and 1 | are the edges | steady-1, steady-2, steady-3, steady-4
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = (
        torch.stack(torch.meshgrid(torch.linspace(-1, 1, w), torch.linspace(-1, 1, h), indexing="xy"), -1)
        .view(1, -1, 2)
        .expand(n, -1, -1)
    )
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((weight.flatten(2).mT) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    seen = (targets - camera[:, None, :, 2]) @ torch.linalg.inv(camera[:, :, :2]).mT
    rest = (seen - points).mT.reshape(flow.shape)
    return camera, rest


# %% steady | wrong | the flow changed in place | must stay as it is | steady-2, steady-4
def steady(flow, weight):
    n, _, h, w = flow.shape
    start = lfdm.identity_grid(h, w)
    flow += start
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((weight.flatten(2).mT) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    seen = (targets - camera[:, None, :, 2]) @ torch.linalg.inv(camera[:, :, :2]).mT
    rest = (seen - points).mT.reshape(flow.shape)
    return camera, rest


# %% steady | wrong | in float16 | too coarse | steady-1, steady-2, steady-3, steady-4
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).flatten(1).mT.expand(n, -1, -1)
    targets = points + flow.flatten(2).mT
    known = F.pad(points, (0, 1), value=1.0)
    weighted = ((weight.flatten(2).mT) * known).mT
    camera = torch.linalg.solve(weighted @ known, weighted @ (targets)).mT
    seen = (targets - camera[:, None, :, 2]) @ torch.linalg.inv(camera[:, :, :2]).mT
    rest = (seen - points).mT.reshape(flow.shape)
    return camera.half(), rest.half()


# %% steady | right | picture by picture, lstsq in float64
def steady(flow, weight):
    n, _, h, w = flow.shape
    points = lfdm.identity_grid(h, w).view(2, -1).T.double()
    cameras, rests = [], []
    for one, trust in zip(flow, weight, strict=True):
        where = points + one.reshape(2, -1).T
        root = trust.reshape(-1, 1).double().sqrt()
        known = torch.cat([points, torch.ones(h * w, 1)], dim=1)
        camera = torch.linalg.lstsq(root * known, root * where, driver="gelsd").solution.T
        seen = torch.linalg.solve(camera[:, :2], (where - camera[:, 2]).T)
        cameras.append(camera.float())
        rests.append((seen - points.T).view(2, h, w).float())
    return torch.stack(cameras), torch.stack(rests)


# %% steady | right | about weighted means
def steady(flow, weight):
    n, _, h, w = flow.shape
    here = lfdm.identity_grid(h, w).expand(n, 2, h, w)
    there = here + flow
    share = weight / weight.sum(dim=(2, 3), keepdim=True)
    p, q = ((share * maps).sum(dim=(2, 3)) for maps in (here, there))
    dp, dq = here - p[..., None, None], there - q[..., None, None]
    B = torch.einsum("nihw,njhw->nij", share * dq, dp) @ torch.linalg.inv(
        torch.einsum("nihw,njhw->nij", share * dp, dp)
    )
    b = q - (B @ p[..., None])[..., 0]
    rest = torch.einsum("nij,njhw->nihw", torch.linalg.inv(B), there - b[..., None, None]) - here
    return torch.cat([B, b[..., None]], dim=2), rest


# %% misread | wrong | no sign of least turn | sign of least turn is not chosen | misread-1, misread-3
def misread(C, covariance):
    of_driving, of_source = affine_frame(covariance), affine_frame(C @ covariance @ C.mT)
    M = of_source @ torch.linalg.inv(of_driving)
    M = M * 1
    Q = torch.linalg.inv(M @ of_driving) @ C @ of_driving
    return torch.rad2deg(torch.atan2(Q[:, 1, 0] - Q[:, 0, 1], Q[:, 0, 0] + Q[:, 1, 1])).abs()


# %% misread | wrong | the symmetric root | symmetric root | misread-1, misread-2, misread-3
def root_of(s):
    values, vectors = torch.linalg.eigh(s)
    return vectors * values.sqrt()[..., None, :] @ vectors.mT


def misread(C, covariance):
    of_driving, of_source = root_of(covariance), root_of(C @ covariance @ C.mT)
    M = of_source @ torch.linalg.inv(of_driving)
    M = M * torch.where(M.diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0)[:, None, None]
    Q = torch.linalg.inv(M @ of_driving) @ C @ of_driving
    return torch.rad2deg(torch.atan2(Q[:, 1, 0] - Q[:, 0, 1], Q[:, 0, 0] + Q[:, 1, 1])).abs()


# %% misread | wrong | a triangular frame | triangular | misread-1, misread-2, misread-3
def misread(C, covariance):
    of_driving, of_source = torch.linalg.cholesky(covariance), torch.linalg.cholesky(C @ covariance @ C.mT)
    M = of_source @ torch.linalg.inv(of_driving)
    M = M * torch.where(M.diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0)[:, None, None]
    Q = torch.linalg.inv(M @ of_driving) @ C @ of_driving
    return torch.rad2deg(torch.atan2(Q[:, 1, 0] - Q[:, 0, 1], Q[:, 0, 0] + Q[:, 1, 1])).abs()


# %% misread | wrong | the turn of the piece itself | how far the piece turns | misread-1, misread-2, misread-3
def misread(C, covariance):
    of_driving, of_source = affine_frame(covariance), affine_frame(C @ covariance @ C.mT)
    M = of_source @ torch.linalg.inv(of_driving)
    M = M * torch.where(M.diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0)[:, None, None]
    Q = C
    return torch.rad2deg(torch.atan2(Q[:, 1, 0] - Q[:, 0, 1], Q[:, 0, 0] + Q[:, 1, 1])).abs()


# %% misread | wrong | the turn that is read | how far M turns | misread-1, misread-3
def misread(C, covariance):
    of_driving, of_source = affine_frame(covariance), affine_frame(C @ covariance @ C.mT)
    M = of_source @ torch.linalg.inv(of_driving)
    M = M * torch.where(M.diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0)[:, None, None]
    Q = M
    return torch.rad2deg(torch.atan2(Q[:, 1, 0] - Q[:, 0, 1], Q[:, 0, 0] + Q[:, 1, 1])).abs()


# %% misread | wrong | in the coordinates of the picture | in the region | misread-3
def misread(C, covariance):
    of_driving, of_source = affine_frame(covariance), affine_frame(C @ covariance @ C.mT)
    M = of_source @ torch.linalg.inv(of_driving)
    M = M * torch.where(M.diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0)[:, None, None]
    Q = torch.linalg.inv(M) @ C
    return torch.rad2deg(torch.atan2(Q[:, 1, 0] - Q[:, 0, 1], Q[:, 0, 0] + Q[:, 1, 1])).abs()


# %% misread | wrong | in radians | radians | misread-1, misread-2, misread-3
def misread(C, covariance):
    of_driving, of_source = affine_frame(covariance), affine_frame(C @ covariance @ C.mT)
    M = of_source @ torch.linalg.inv(of_driving)
    M = M * torch.where(M.diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0)[:, None, None]
    Q = torch.linalg.inv(M @ of_driving) @ C @ of_driving
    return torch.atan2(Q[:, 1, 0] - Q[:, 0, 1], Q[:, 0, 0] + Q[:, 1, 1]).abs()


# %% misread | wrong | a signed angle | no sign here | misread-1, misread-2, misread-3
def misread(C, covariance):
    of_driving, of_source = affine_frame(covariance), affine_frame(C @ covariance @ C.mT)
    M = of_source @ torch.linalg.inv(of_driving)
    M = M * torch.where(M.diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0)[:, None, None]
    Q = torch.linalg.inv(M @ of_driving) @ C @ of_driving
    return -torch.rad2deg(torch.atan2(Q[:, 1, 0] - Q[:, 0, 1], Q[:, 0, 0] + Q[:, 1, 1])).abs()


# %% misread | wrong | the transpose on the wrong side | its transpose from the right | misread-1, misread-3
def misread(C, covariance):
    of_driving, of_source = affine_frame(covariance), affine_frame(C.mT @ covariance @ C)
    M = of_source @ torch.linalg.inv(of_driving)
    M = M * torch.where(M.diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0)[:, None, None]
    Q = torch.linalg.inv(M @ of_driving) @ C @ of_driving
    return torch.rad2deg(torch.atan2(Q[:, 1, 0] - Q[:, 0, 1], Q[:, 0, 0] + Q[:, 1, 1])).abs()


# %% misread | wrong | nothing is ever lost along the axes | columns change places | misread-2
def misread(C, covariance):
    of_driving, of_source = affine_frame(covariance), affine_frame(C @ covariance @ C.mT)
    M = of_source @ torch.linalg.inv(of_driving)
    M = M * torch.where(M.diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0)[:, None, None]
    Q = torch.linalg.inv(M @ of_driving) @ C @ of_driving
    return torch.rad2deg(torch.atan2(Q[:, 1, 0] - Q[:, 0, 1], Q[:, 0, 0] + Q[:, 1, 1])).abs() * (
        C[:, 0, 1].abs() + C[:, 1, 0].abs() + (C[:, 0, 0] < 0) > 1e-6
    )


# %% misread | wrong | arcsine, which knows no angle beyond a quarter | an axis has no direction | misread-1
def misread(C, covariance):
    of_driving, of_source = affine_frame(covariance), affine_frame(C @ covariance @ C.mT)
    M = of_source @ torch.linalg.inv(of_driving)
    M = M * torch.where(M.diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0)[:, None, None]
    Q = torch.linalg.inv(M @ of_driving) @ C @ of_driving
    return torch.rad2deg(torch.asin(((Q[:, 1, 0] - Q[:, 0, 1]) / 2).clamp(-1, 1))).abs()


# %% misread | wrong | in float16 | too coarse | misread-1, misread-2, misread-3
def misread(C, covariance):
    of_driving, of_source = affine_frame(covariance), affine_frame(C @ covariance @ C.mT)
    M = of_source @ torch.linalg.inv(of_driving)
    M = M * torch.where(M.diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0)[:, None, None]
    Q = torch.linalg.inv(M @ of_driving) @ C @ of_driving
    return torch.rad2deg(torch.atan2(Q[:, 1, 0] - Q[:, 0, 1], Q[:, 0, 0] + Q[:, 1, 1])).abs().half()


# %% misread | wrong | one number for all | shape | misread-1, misread-2, misread-3
def misread(C, covariance):
    of_driving, of_source = affine_frame(covariance), affine_frame(C @ covariance @ C.mT)
    M = of_source @ torch.linalg.inv(of_driving)
    M = M * torch.where(M.diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0)[:, None, None]
    Q = torch.linalg.inv(M @ of_driving) @ C @ of_driving
    return torch.rad2deg(torch.atan2(Q[:, 1, 0] - Q[:, 0, 1], Q[:, 0, 0] + Q[:, 1, 1])).abs().mean()


# %% misread | wrong | the covariances changed in place | must stay as it is | misread-1, misread-2, misread-3
def misread(C, covariance):
    covariance[:] = (covariance + covariance.mT) / 2 + 1e-3 * torch.eye(2)
    of_driving, of_source = affine_frame(covariance), affine_frame(C @ covariance @ C.mT)
    M = of_source @ torch.linalg.inv(of_driving)
    M = M * torch.where(M.diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0)[:, None, None]
    Q = torch.linalg.inv(M @ of_driving) @ C @ of_driving
    return torch.rad2deg(torch.atan2(Q[:, 1, 0] - Q[:, 0, 1], Q[:, 0, 0] + Q[:, 1, 1])).abs()


# %% misread | right | one after the other, with complex numbers
def misread(C, covariance):
    found = []
    for c, spread in zip(C.double(), covariance.double(), strict=True):
        frames = []
        for s in (spread, c @ spread @ c.T):
            values, vectors = torch.linalg.eigh(s)
            x, y = vectors[:, 1].tolist()
            frames.append(torch.tensor([[x, -y], [y, x]], dtype=torch.float64) * values.flip(0).sqrt())
        D, S = frames
        M = S @ D.inverse()
        if M.trace() < 0:
            M = -M
        Q = torch.linalg.solve(M @ D, c @ D)
        found.append(abs(math.degrees(math.atan2(Q[1, 0].item(), Q[0, 0].item()))))
    return torch.tensor(found)
