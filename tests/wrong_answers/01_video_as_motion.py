"""Plausible wrong answers to the exercises of chapter 01; see `tests/exercises.py` for the form."""


# %% ring_shape: a mask -> mask
def ring_shape(x, y):
    return (x.hypot(y) - 0.3).abs() < 0.05


# %% ring_shape: positive inside -> sign
def ring_shape(x, y):
    return 0.05 - (x.hypot(y) - 0.3).abs()


# %% ring_shape: the hole is filled -> disc
def ring_shape(x, y):
    return x.hypot(y) - 0.35


# %% ring_shape: the whole width is taken off -> whole width
def ring_shape(x, y):
    return (x.hypot(y) - 0.3).abs() - 0.1


# %% ring_shape: squares compared, with no root -> distance is not
def ring_shape(x, y):
    square = x.square() + y.square()
    return torch.maximum(0.25**2 - square, square - 0.35**2)


# %% ring_shape: two distances are added, -0.1 everywhere -> larger
def ring_shape(x, y):
    return (0.25 - x.hypot(y)) + (x.hypot(y) - 0.35)


# %% ring_shape: the smaller of two distances -> larger
def ring_shape(x, y):
    return torch.minimum(0.25 - x.hypot(y), x.hypot(y) - 0.35)


# %% ring_shape: no sign -> nothing is inside
def ring_shape(x, y):
    return (x.hypot(y) - 0.3).abs()


# %% ring_shape: a ring from 0.3 to 0.4 -> another place
def ring_shape(x, y):
    return (x.hypot(y) - 0.35).abs() - 0.05


# %% ring_shape: outside, half of the distance -> distance is not
def ring_shape(x, y):
    return torch.maximum(0.25 - x.hypot(y), 0.5 * (x.hypot(y) - 0.35))


# %% ring_shape: a point alone, in numbers -> tensor
def ring_shape(x, y):
    return math.hypot(x, y) - 0.3


# %% flow_between: the position, not the difference -> taken away
def flow_between(layer, p, k, other):
    A_k, b_k = layer.to_image[k, :, :2], layer.to_image[k, :, 2, None, None]
    A, b = layer.to_image[other, :, :2], layer.to_image[other, :, 2, None, None]
    q = torch.einsum("ij,jhw->ihw", torch.linalg.inv(A_k), p - b_k)
    return torch.einsum("ij,jhw->ihw", A, q) + b


# %% flow_between: the sign is turned -> sign
def flow_between(layer, p, k, other):
    A_k, b_k = layer.to_image[k, :, :2], layer.to_image[k, :, 2, None, None]
    A, b = layer.to_image[other, :, :2], layer.to_image[other, :, 2, None, None]
    q = torch.einsum("ij,jhw->ihw", torch.linalg.inv(A_k), p - b_k)
    return p - torch.einsum("ij,jhw->ihw", A, q) - b


# %% flow_between: the matrix of frame k is applied, not undone -> inverse
def flow_between(layer, p, k, other):
    A_k, b_k = layer.to_image[k, :, :2], layer.to_image[k, :, 2, None, None]
    A, b = layer.to_image[other, :, :2], layer.to_image[other, :, 2, None, None]
    q = torch.einsum("ij,jhw->ihw", A_k, p - b_k)
    return torch.einsum("ij,jhw->ihw", A, q) + b - p


# %% flow_between: p is taken for canonical coordinates -> not canonical yet
def flow_between(layer, p, k, other):
    A, b = layer.to_image[other, :, :2], layer.to_image[other, :, 2, None, None]
    return torch.einsum("ij,jhw->ihw", A, p) + b - p


# %% flow_between: the frames are taken the other way round -> must be undone
def flow_between(layer, p, other, k):
    A_k, b_k = layer.to_image[k, :, :2], layer.to_image[k, :, 2, None, None]
    A, b = layer.to_image[other, :, :2], layer.to_image[other, :, 2, None, None]
    q = torch.einsum("ij,jhw->ihw", torch.linalg.inv(A_k), p - b_k)
    return torch.einsum("ij,jhw->ihw", A, q) + b - p


# %% flow_between: the difference of two flows to frame 0 -> moved on
def flow_between(layer, p, k, other):
    def to_first(n):
        A, b = layer.to_image[n, :, :2], layer.to_image[n, :, 2, None, None]
        q = torch.einsum("ij,jhw->ihw", torch.linalg.inv(A), p - b)
        return torch.einsum("ij,jhw->ihw", layer.to_image[0, :, :2], q) + layer.to_image[0, :, 2, None, None] - p

    return to_first(k) - to_first(other)


# %% flow_between: the shift is forgotten on the way in -> shift of frame k
def flow_between(layer, p, k, other):
    A, b = layer.to_image[other, :, :2], layer.to_image[other, :, 2, None, None]
    q = torch.einsum("ij,jhw->ihw", torch.linalg.inv(layer.to_image[k, :, :2]), p)
    return torch.einsum("ij,jhw->ihw", A, q) + b - p


# %% flow_between: the flow to frame 0, whatever is asked -> leads to frame 0
def flow_between(layer, p, k, other):
    A, b = layer.to_image[k, :, :2], layer.to_image[k, :, 2, None, None]
    q = torch.einsum("ij,jhw->ihw", torch.linalg.inv(A), p - b)
    return torch.einsum("ij,jhw->ihw", layer.to_image[0, :, :2], q) + layer.to_image[0, :, 2, None, None] - p


# %% push: each pixel lands on the nearest alone -> share it
def push(image, forward, importance):
    h, w = image.shape[1:]
    x, y = identity_grid(h, w) + forward
    i, j = (((x + 1) * w - 1) / 2).round(), (((y + 1) * h - 1) / 2).round()
    inside = (i >= 0) & (i < w) & (j >= 0) & (j < h)
    index = (j * w + i)[inside].long()
    weight = torch.zeros(h * w).index_add_(0, index, importance[inside])
    colours = torch.zeros(3, h * w).index_add_(1, index, (image * importance)[:, inside])
    return torch.where(weight > 0, colours / weight.clamp(min=1e-12), 1.0).view(3, h, w), weight.view(h, w)


# %% push: it is the backward flow that is followed -> part 4
def push(image, forward, importance):
    return warp_v2(image[None], -forward[None])[0], transposed_look_up(image, forward, importance)[1]


def _pushed(image, forward, importance, drop=True, add=True, divide=True, white=True, weigh=True, turned=False):
    h, w = image.shape[1:]
    x, y = (identity_grid(h, w) + forward).flip(0) if turned else identity_grid(h, w) + forward
    a, b = ((x + 1) * w - 1) / 2, ((y + 1) * h - 1) / 2
    colours, weight = torch.zeros(3, h * w), torch.zeros(h * w)
    for i in (a.floor(), a.floor() + 1):
        for j in (b.floor(), b.floor() + 1):
            share = (1 - (a - i).abs()) * (1 - (b - j).abs())
            inside = (i >= 0) & (i < w) & (j >= 0) & (j < h)
            if not drop:
                i, j, inside = i.clamp(0, w - 1), j.clamp(0, h - 1), torch.ones_like(inside)
            index = (j * w + i)[inside].long()
            heavy = share * importance
            if add:
                weight.index_add_(0, index, heavy[inside])
                colours.index_add_(1, index, ((heavy if weigh else share) * image)[:, inside])
            else:
                weight[index] += heavy[inside]
                colours[:, index] += (heavy * image)[:, inside]
    picture = colours / weight.clamp(min=1e-12) if divide else colours
    picture = torch.where(weight > 0, picture, 1.0) if white else picture
    return picture.view(3, h, w), weight.view(h, w)


def _spread(image, forward, importance, tent, wrap=False, off=0.0):
    """A push with shares of one's own, `tent(column distance, row distance)`."""
    h, w = image.shape[1:]
    x, y = identity_grid(h, w) + forward
    a, b = ((x + 1) * w - 1) / 2 + off, ((y + 1) * h - 1) / 2 + off
    colours, weight = torch.zeros(3, h * w), torch.zeros(h * w)
    for i in (a.floor(), a.floor() + 1):
        for j in (b.floor(), b.floor() + 1):
            share = tent((a - i).abs(), (b - j).abs()) * importance
            i, j = (i % w, j % h) if wrap else (i, j)
            inside = (i >= 0) & (i < w) & (j >= 0) & (j < h)
            index = (j * w + i)[inside].long()
            weight.index_add_(0, index, share[inside])
            colours.index_add_(1, index, (share * image)[:, inside])
    picture = torch.where(weight > 0, colours / weight.clamp(min=1e-12), 1.0)
    return picture.view(3, h, w), weight.view(h, w)


# %% push: what leaves comes in again at the other side -> dropped
def push(image, forward, importance):
    return _spread(image, forward, importance, lambda dx, dy: (1 - dx) * (1 - dy), wrap=True)


# %% push: negative columns and rows count from the end -> dropped
def push(image, forward, importance):
    h, w = image.shape[1:]
    x, y = identity_grid(h, w) + forward
    a, b = ((x + 1) * w - 1) / 2, ((y + 1) * h - 1) / 2
    colours, weight = torch.zeros(3, h, w), torch.zeros(h, w)
    for i in (a.floor(), a.floor() + 1):
        for j in (b.floor(), b.floor() + 1):
            share = (1 - (a - i).abs()) * (1 - (b - j).abs()) * importance
            use = (i < w) & (j < h)
            place = (j[use].long(), i[use].long())
            weight.index_put_(place, share[use], accumulate=True)
            for c in range(3):
                colours[c].index_put_(place, (share * image[c])[use], accumulate=True)
    return torch.where(weight > 0, colours / weight.clamp(min=1e-12), 1.0), weight


# %% push: the tents are the other way round -> part 2: what lands on a pixel
def push(image, forward, importance):
    return _spread(image, forward, importance, lambda dx, dy: dx * dy)


# %% push: a quarter for each, wherever it lands -> same wherever
def push(image, forward, importance):
    return _spread(image, forward, importance, lambda dx, dy: 0.25 + 0 * dx)


# %% push: shares of column and row are added -> multiplied
def push(image, forward, importance):
    return _spread(image, forward, importance, lambda dx, dy: (2 - dx - dy) / 4)


# %% push: shares that are added are together 4 -> together 1
def push(image, forward, importance):
    return _spread(image, forward, importance, lambda dx, dy: 2 - dx - dy)


# %% push: one less the distance in a straight line -> part 2: half a pixel
def push(image, forward, importance):
    return _spread(image, forward, importance, lambda dx, dy: (1 - dx.hypot(dy)).clamp(min=0))


# %% push: places are half a pixel off -> part 1
def push(image, forward, importance):
    return _spread(image, forward, importance, lambda dx, dy: (1 - dx) * (1 - dy), off=0.5)


# %% push: the weight that is returned leaves importance out -> that you return
def push(image, forward, importance):
    picture, _ = _spread(image, forward, importance, lambda dx, dy: (1 - dx) * (1 - dy))
    return picture, _spread(image, forward, torch.ones_like(importance), lambda dx, dy: (1 - dx) * (1 - dy))[1]


# %% push: what lands outside is put at the border -> dropped
def push(image, forward, importance):
    return _pushed(image, forward, importance, drop=False)


# %% push: plain indexing, which keeps one of several -> does only the last
def push(image, forward, importance):
    return _pushed(image, forward, importance, add=False)


# %% push: sums are not divided -> divide
def push(image, forward, importance):
    return _pushed(image, forward, importance, divide=False)


# %% push: black where nothing landed -> white
def push(image, forward, importance):
    return _pushed(image, forward, importance, white=False)


# %% push: importance weighs the weights alone -> importance
def push(image, forward, importance):
    return _pushed(image, forward, importance, weigh=False)


# %% push: x and y are swapped -> part 1
def push(image, forward, importance):
    return _pushed(image, forward, importance, turned=True)


# %% push: no importance at all -> importance
def push(image, forward, importance):
    return _pushed(image, forward, torch.ones_like(importance))


# %% push: the picture alone -> not yet
def push(image, forward, importance):
    return transposed_look_up(image, forward, importance)[0]
