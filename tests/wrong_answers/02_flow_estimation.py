# Wrong answers to the exercises of chapter 02; see tests/exercises.py.

# %% census: not brighter, but not darker -> >=
def census(image):
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    h, w = image.shape[-2:]
    around = [padded[..., y : y + h, x : x + w] for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    return (torch.cat(around, dim=1) >= image).float()


# %% census: the pixel is brighter than the neighbour -> neighbour
def census(image):
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    h, w = image.shape[-2:]
    around = [padded[..., y : y + h, x : x + w] for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    return (torch.cat(around, dim=1) < image).float()


# %% census: zeros around the picture -> border
def census(image):
    padded = F.pad(image, (1, 1, 1, 1))
    h, w = image.shape[-2:]
    around = [padded[..., y : y + h, x : x + w] for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    return (torch.cat(around, dim=1) > image).float()


# %% census: the picture goes on at the other side -> border
def census(image):
    around = [image.roll((y, x), (2, 3)) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    return (torch.cat(around, dim=1) > image).float()


# %% census: mirrored at the border -> border
def census(image):
    padded = F.pad(image, (1, 1, 1, 1), mode="reflect")
    h, w = image.shape[-2:]
    around = [padded[..., y : y + h, x : x + w] for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    return (torch.cat(around, dim=1) > image).float()


# %% census: by how much -> how much
def census(image):
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    h, w = image.shape[-2:]
    around = [padded[..., y : y + h, x : x + w] for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    return (torch.cat(around, dim=1) - image).clamp(min=0)


# %% census: brighter than a fixed grey -> light
def census(image):
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    h, w = image.shape[-2:]
    around = [padded[..., y : y + h, x : x + w] for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    return (torch.cat(around, dim=1) > 0.5).float()


# %% census: the pixel among its own neighbours -> itself
def census(image):
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    h, w = image.shape[-2:]
    return torch.cat([(padded[..., y : y + h, x : x + w] > image).float() for y in range(3) for x in range(3)], dim=1)


# %% census: one neighbour eight times -> eight
def census(image):
    return (F.pad(image, (1, 0, 0, 0), mode="replicate")[..., :-1] > image).float().expand(-1, 8, -1, -1)


# %% fit_affine: the right side without its minus -> sign
def fit_affine(source, driving):
    I_x, I_y, e = flow_equation(source, driving)
    x, y = col - 31.5, row - 31.5
    columns = [slope * position for slope in (I_x, I_y) for position in (torch.ones_like(x), x, y)]
    matrix = torch.stack([column.flatten() for column in columns], dim=1)
    return torch.linalg.lstsq(matrix, e.flatten()[:, None]).solution[:, 0]


# %% fit_affine: rows for columns -> exchanged
def fit_affine(source, driving):
    I_x, I_y, e = flow_equation(source, driving)
    x, y = row - 31.5, col - 31.5
    columns = [slope * position for slope in (I_x, I_y) for position in (torch.ones_like(x), x, y)]
    matrix = torch.stack([column.flatten() for column in columns], dim=1)
    return torch.linalg.lstsq(matrix, -e.flatten()[:, None]).solution[:, 0]


# %% fit_affine: counted from the corner -> middle
def fit_affine(source, driving):
    I_x, I_y, e = flow_equation(source, driving)
    columns = [slope * position for slope in (I_x, I_y) for position in (torch.ones_like(col), col, row)]
    matrix = torch.stack([column.flatten() for column in columns], dim=1)
    return torch.linalg.lstsq(matrix, -e.flatten()[:, None]).solution[:, 0]


# %% fit_affine: positions in normalized units -> pixels
def fit_affine(source, driving):
    I_x, I_y, e = flow_equation(source, driving)
    x, y = lfdm.identity_grid(64, 64)
    columns = [slope * position for slope in (I_x, I_y) for position in (torch.ones_like(x), x, y)]
    matrix = torch.stack([column.flatten() for column in columns], dim=1)
    return torch.linalg.lstsq(matrix, -e.flatten()[:, None]).solution[:, 0]


# %% fit_affine: one flow for all pixels -> six columns
def fit_affine(source, driving):
    I_x, I_y, e = flow_equation(source, driving)
    matrix = torch.stack([I_x.flatten(), I_y.flatten()], dim=1)
    u, v = torch.linalg.lstsq(matrix, -e.flatten()[:, None]).solution[:, 0]
    return torch.stack([u, 0 * u, 0 * u, v, 0 * v, 0 * v])


# %% fit_affine: a tuple of six -> tensor
def fit_affine(source, driving):
    return (0.3, 0.01, -0.008, -0.2, 0.006, 0.012)


# %% fit_affine: a column of six -> shape
def fit_affine(source, driving):
    return _right(source, driving)[:, None]


# %% weighted_fit: the weights are forgotten -> no say
def weighted_fit(source, driving, w):
    return _right(source, driving, torch.ones_like(w))


# %% weighted_fit: both sides times w, not its root -> twice
def weighted_fit(source, driving, w):
    return _right(source, driving, w.square())


# %% weighted_fit: the right side without its minus -> sign
def weighted_fit(source, driving, w):
    return -_right(source, driving, w)


# %% weighted_fit: the right side is not weighted -> alike
def weighted_fit(source, driving, w):
    I_x, I_y, e = flow_equation(source, driving)
    x, y = col - 31.5, row - 31.5
    columns = [slope * position for slope in (I_x, I_y) for position in (torch.ones_like(x), x, y)]
    matrix = torch.stack([column.flatten() for column in columns], dim=1) * w.sqrt().flatten()[:, None]
    return torch.linalg.lstsq(matrix, -e.flatten()[:, None]).solution[:, 0]


# %% weighted_fit: a flow, not six numbers -> six numbers
def weighted_fit(source, driving, w):
    return affine_flow(_right(source, driving, w))


# %% trusted_pixels: the source is not warped -> warp the source
def trusted_pixels(source, driving, m, epsilon):
    return weight((source - driving).square(), epsilon)


# %% trusted_pixels: the flow backwards -> sign
def trusted_pixels(source, driving, m, epsilon):
    return weight((lfdm.warp(source, normalized(-affine_flow(m))) - driving).square(), epsilon)


# %% trusted_pixels: a flow in pixels given to warp -> normalized
def trusted_pixels(source, driving, m, epsilon):
    return weight((lfdm.warp(source, affine_flow(m)) - driving).square(), epsilon)


# %% trusted_pixels: the error is not squared -> squared
def trusted_pixels(source, driving, m, epsilon):
    return weight((lfdm.warp(source, normalized(affine_flow(m))) - driving).abs(), epsilon)


# %% trusted_pixels: what is wrong is trusted -> small errors
def trusted_pixels(source, driving, m, epsilon):
    return 1 - weight((lfdm.warp(source, normalized(affine_flow(m))) - driving).square(), epsilon)


# %% ground_motion: every pixel counts alike -> card still pulls
def ground_motion(source, driving):
    m = torch.zeros(6)
    for _ in range(15):
        warped = lfdm.warp(source, normalized(affine_flow(m)))
        m = m + weighted_fit(warped, driving, torch.ones_like(warped))
    return m


# %% ground_motion: epsilon stays large -> epsilon
def ground_motion(source, driving):
    m = torch.zeros(6)
    for _ in range(15):
        w = trusted_pixels(source, driving, m, 0.3)
        m = m + weighted_fit(lfdm.warp(source, normalized(affine_flow(m))), driving, w)
    return m


# %% ground_motion: the source is never warped -> warp the source
def ground_motion(source, driving):
    m = torch.zeros(6)
    for epsilon in torch.linspace(0.3, 0.02, 15).tolist():
        m = weighted_fit(source, driving, trusted_pixels(source, driving, m, epsilon))
    return m


# %% ground_motion: each fit replaces the guess -> add
def ground_motion(source, driving):
    m = torch.zeros(6)
    for epsilon in torch.linspace(0.3, 0.02, 15).tolist():
        w = trusted_pixels(source, driving, m, epsilon)
        m = weighted_fit(lfdm.warp(source, normalized(affine_flow(m))), driving, w)
    return m


# %% ground_motion: each fit is taken away -> sign
def ground_motion(source, driving):
    m = torch.zeros(6)
    for epsilon in torch.linspace(0.3, 0.02, 15).tolist():
        w = trusted_pixels(source, driving, m, epsilon)
        m = m - weighted_fit(lfdm.warp(source, normalized(affine_flow(m))), driving, w)
    return m


# %% ground_motion: the answer points the other way -> sign
def ground_motion(source, driving):
    return -_right(source, driving)
