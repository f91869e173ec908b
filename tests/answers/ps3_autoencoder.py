"""Answers to problem set 3, the auto-encoder and its losses: wrong ones with their misconception, right ones in other styles."""


# %% costs | wrong | levels added | The levels are added | costs-1
def costs():
    return {"A": 0.9, "B": 0.3, "C": 0.4857143, "D": 0.25, "E": 0.0833333, "F": -0.1369048, "G": 4}


# %% costs | wrong | stripes do not cancel in smaller copies | smaller copies | costs-2
def costs():
    return {"A": 0.3, "B": 0.9, "C": 0.7857143, "D": 0.25, "E": 0.0833333, "F": -0.1369048, "G": 4}


# %% costs | wrong | broad stripes cancel as soon as narrow ones | there they are one column wide | costs-2
def costs():
    return {"A": 0.3, "B": 0.3, "C": 0.1857143, "D": 0.25, "E": 0.0833333, "F": -0.1369048, "G": 4}


# %% costs | wrong | eight differences in a row of eight | has 7 differences | costs-2, costs-4
def costs():
    return {"A": 0.3, "B": 0.275, "C": 0.475, "D": 0.25, "E": 0.0833333, "F": -0.125, "G": 4}


# %% costs | wrong | differences forgotten | differences to the right are missing | costs-2, costs-4
def costs():
    return {"A": 0.3, "B": 0.1, "C": 0.2, "D": 0.25, "E": 0.0833333, "F": -0.0416667, "G": 4}


# %% costs | wrong | every bar costs the same | As if all levels saw it | costs-3
def costs():
    return {"A": 0.3, "B": 0.3, "C": 0.4857143, "D": 0.25, "E": 0.25, "F": -0.1369048, "G": 4}


# %% costs | wrong | every bar is seen by the finest level alone | share no pixel of any copy | costs-3
def costs():
    return {"A": 0.3, "B": 0.3, "C": 0.4857143, "D": 0.0833333, "E": 0.0833333, "F": -0.1369048, "G": 4}


# %% costs | wrong | bars stay white in smaller copies | black is mixed in | costs-3
def costs():
    return {"A": 0.3, "B": 0.3, "C": 0.4857143, "D": 0.5833333, "E": 0.0833333, "F": -0.1369048, "G": 4}


# %% costs | wrong | one wrong column counted | Two columns are wrong | costs-3
def costs():
    return {"A": 0.3, "B": 0.3, "C": 0.4857143, "D": 0.125, "E": 0.0416667, "F": -0.1369048, "G": 4}


# %% costs | wrong | sign of the derivative | The sign | costs-4
def costs():
    return {"A": 0.3, "B": 0.3, "C": 0.4857143, "D": 0.25, "E": 0.0833333, "F": 0.1369048, "G": 4}


# %% costs | wrong | one difference in the derivative | one on each side | costs-4
def costs():
    return {"A": 0.3, "B": 0.3, "C": 0.4857143, "D": 0.25, "E": 0.0833333, "F": -0.0892857, "G": 4}


# %% costs | wrong | the derivative of one pixel | all rows change together | costs-4
def costs():
    return {"A": 0.3, "B": 0.3, "C": 0.4857143, "D": 0.25, "E": 0.0833333, "F": -0.0171131, "G": 4}


# %% costs | wrong | the width of the coarsest pixel | begins in the middle of one | costs-5
def costs():
    return {"A": 0.3, "B": 0.3, "C": 0.4857143, "D": 0.25, "E": 0.0833333, "F": -0.1369048, "G": 8}


# %% costs | wrong | the width of the bar | where the finest level ends | costs-5
def costs():
    return {"A": 0.3, "B": 0.3, "C": 0.4857143, "D": 0.25, "E": 0.0833333, "F": -0.1369048, "G": 2}


# %% costs | wrong | a list instead of a table | dictionary | costs-1, costs-2, costs-3, costs-4, costs-5
def costs():
    return [0.3, 0.3, 0.4857143, 0.25, 0.0833333, -0.1369048, 4]


# %% costs | right | computed without the library
def costs():
    import numpy as np

    def cost(e, levels=3, w=1.0):
        total = 0.0
        for level in range(levels):
            if level:
                e = e.reshape(-1, 2).mean(axis=1)
            total += np.abs(e).mean() + (w * np.abs(np.diff(e)).mean() if w else 0.0)
        return float(total / levels)

    bar = lambda i, width=1, n=8: ((np.arange(n) >= i) & (np.arange(n) < i + width)).astype(float)
    off = lambda i, d, width=1, n=8, levels=3: cost(bar(i + d, width, n) - bar(i, width, n), levels, 0.0)
    stripes = np.array([0.3, -0.3] * 4)
    up, down = stripes.copy(), stripes.copy()
    up[3], down[3] = -0.3 + 1e-4, -0.3 - 1e-4
    fine = lambda e: (np.abs(e).mean() + np.abs(np.diff(e)).mean()) / 3  # the other levels have the slope 0
    path = [off(4, d, 2, 64, 4) for d in range(30)]
    return {
        "A": cost(np.full(8, 0.3)),
        "B": cost(stripes),
        "C": cost(np.array([0.3, 0.3, -0.3, -0.3] * 2)),
        "D": off(3, 1),
        "E": off(4, 1),
        "F": float((fine(up) - fine(down)) / 2e-4),
        "G": next(d for d in range(30) if path[d] > max(path) - 1e-9),
    }


# %% report | wrong | frame 0 counts | Frame 0 counts | report-1, report-2, report-3, report-4
def report(painted, video, weight):
    pooled = lambda each: torch.einsum("bnthw,bcthw->n", weight, each)
    gain = 10 * torch.log10(pooled((video[:, :, :1] - video).square()) / pooled((painted - video).square()))
    pairs = weight[..., 1:] * weight[..., :-1]
    strength = lambda frames: torch.einsum("bnthw,bcthw->n", pairs, frames.diff(dim=-1).abs())
    return gain, strength(painted) / strength(video)


# %% report | wrong | twenty times the logarithm | tenth of the squared error | report-1, report-2, report-4
def report(painted, video, weight):
    painted, video, first, weight = painted[:, :, 1:], video[:, :, 1:], video[:, :, :1], weight[:, :, 1:]
    pooled = lambda each: torch.einsum("bnthw,bcthw->n", weight, each)
    gain = 20 * torch.log10(pooled((first - video).square()) / pooled((painted - video).square()))
    pairs = weight[..., 1:] * weight[..., :-1]
    strength = lambda frames: torch.einsum("bnthw,bcthw->n", pairs, frames.diff(dim=-1).abs())
    return gain, strength(painted) / strength(video)


# %% report | wrong | absolute errors | not squared errors | report-1, report-2, report-4
def report(painted, video, weight):
    painted, video, first, weight = painted[:, :, 1:], video[:, :, 1:], video[:, :, :1], weight[:, :, 1:]
    pooled = lambda each: torch.einsum("bnthw,bcthw->n", weight, each)
    gain = 10 * torch.log10(pooled((first - video).abs()) / pooled((painted - video).abs()))
    pairs = weight[..., 1:] * weight[..., :-1]
    strength = lambda frames: torch.einsum("bnthw,bcthw->n", pairs, frames.diff(dim=-1).abs())
    return gain, strength(painted) / strength(video)


# %% report | wrong | worse than the copy is positive | The sign | report-1, report-2, report-4
def report(painted, video, weight):
    painted, video, first, weight = painted[:, :, 1:], video[:, :, 1:], video[:, :, :1], weight[:, :, 1:]
    pooled = lambda each: torch.einsum("bnthw,bcthw->n", weight, each)
    gain = 10 * torch.log10(pooled((painted - video).square()) / pooled((first - video).square()))
    pairs = weight[..., 1:] * weight[..., :-1]
    strength = lambda frames: torch.einsum("bnthw,bcthw->n", pairs, frames.diff(dim=-1).abs())
    return gain, strength(painted) / strength(video)


# %% report | wrong | the mean of the gains of frames | mean of the gains of frames | report-1, report-2, report-4
def report(painted, video, weight):
    painted, video, first, weight = painted[:, :, 1:], video[:, :, 1:], video[:, :, :1], weight[:, :, 1:]
    pooled = lambda each: torch.einsum("bnthw,bcthw->nt", weight, each)
    gain = 10 * torch.log10(pooled((first - video).square()) / pooled((painted - video).square()))
    pairs = weight[..., 1:] * weight[..., :-1]
    strength = lambda frames: torch.einsum("bnthw,bcthw->n", pairs, frames.diff(dim=-1).abs())
    return gain.mean(dim=1), strength(painted) / strength(video)


# %% report | wrong | the mean of the gains of clips | mean of the gains of clips | report-4
def report(painted, video, weight):
    painted, video, first, weight = painted[:, :, 1:], video[:, :, 1:], video[:, :, :1], weight[:, :, 1:]
    pooled = lambda each: torch.einsum("bnthw,bcthw->bn", weight, each)
    gain = 10 * torch.log10(pooled((first - video).square()) / pooled((painted - video).square()))
    pairs = weight[..., 1:] * weight[..., :-1]
    strength = lambda frames: torch.einsum("bnthw,bcthw->n", pairs, frames.diff(dim=-1).abs())
    return gain.mean(dim=0), strength(painted) / strength(video)


# %% report | wrong | the parts are ignored | gain of the whole picture | report-2, report-3, report-4
def report(painted, video, weight):
    painted, video, first, n = painted[:, :, 1:], video[:, :, 1:], video[:, :, :1], weight.shape[1]
    gain = 10 * torch.log10((first - video).square().mean() / (painted - video).square().mean())
    sharp = painted.diff(dim=-1).abs().mean() / video.diff(dim=-1).abs().mean()
    return gain.expand(n), sharp.expand(n)


# %% report | wrong | weights count or not | weights say how much | report-2, report-4
def report(painted, video, weight):
    painted, video, first, weight = painted[:, :, 1:], video[:, :, 1:], video[:, :, :1], weight[:, :, 1:]
    pooled = lambda each: torch.einsum("bnthw,bcthw->n", (weight > 0).float(), each)
    gain = 10 * torch.log10(pooled((first - video).square()) / pooled((painted - video).square()))
    pairs = weight[..., 1:] * weight[..., :-1]
    strength = lambda frames: torch.einsum("bnthw,bcthw->n", pairs, frames.diff(dim=-1).abs())
    return gain, strength(painted) / strength(video)


# %% report | wrong | frames are weighted before they are compared | look squared | report-2, report-3, report-4
def report(painted, video, weight):
    painted, video, first, weight = painted[:, :, 1:], video[:, :, 1:], video[:, :, :1], weight[:, :, 1:]
    w = weight[:, :, None]  # (b, n, 1, t, h, w)
    pooled = lambda a, b: (w * (a - b)[:, None]).square().sum(dim=(0, 2, 3, 4, 5))
    gain = 10 * torch.log10(pooled(first, video) / pooled(painted, video))
    strength = lambda frames: (w * frames[:, None]).diff(dim=-1).abs().sum(dim=(0, 2, 3, 4, 5))
    return gain, strength(painted) / strength(video)


# %% report | wrong | a pair counts by its right pixel | right pixel alone | report-3, report-4
def report(painted, video, weight):
    painted, video, first, weight = painted[:, :, 1:], video[:, :, 1:], video[:, :, :1], weight[:, :, 1:]
    pooled = lambda each: torch.einsum("bnthw,bcthw->n", weight, each)
    gain = 10 * torch.log10(pooled((first - video).square()) / pooled((painted - video).square()))
    strength = lambda frames: torch.einsum("bnthw,bcthw->n", weight[..., 1:], frames.diff(dim=-1).abs())
    return gain, strength(painted) / strength(video)


# %% report | wrong | neighbours below | Neighbours below | report-3, report-4
def report(painted, video, weight):
    painted, video, first, weight = painted[:, :, 1:], video[:, :, 1:], video[:, :, :1], weight[:, :, 1:]
    pooled = lambda each: torch.einsum("bnthw,bcthw->n", weight, each)
    gain = 10 * torch.log10(pooled((first - video).square()) / pooled((painted - video).square()))
    pairs = weight[..., 1:, :] * weight[..., :-1, :]
    strength = lambda frames: torch.einsum("bnthw,bcthw->n", pairs, frames.diff(dim=-2).abs())
    return gain, strength(painted) / strength(video)


# %% report | wrong | differences squared | Differences are squared | report-3, report-4
def report(painted, video, weight):
    painted, video, first, weight = painted[:, :, 1:], video[:, :, 1:], video[:, :, :1], weight[:, :, 1:]
    pooled = lambda each: torch.einsum("bnthw,bcthw->n", weight, each)
    gain = 10 * torch.log10(pooled((first - video).square()) / pooled((painted - video).square()))
    pairs = weight[..., 1:] * weight[..., :-1]
    strength = lambda frames: torch.einsum("bnthw,bcthw->n", pairs, frames.diff(dim=-1).square())
    return gain, strength(painted) / strength(video)


# %% report | wrong | a part that is nowhere gets 0 | it is nan, not 0 | report-4
def report(painted, video, weight):
    painted, video, first, weight = painted[:, :, 1:], video[:, :, 1:], video[:, :, :1], weight[:, :, 1:]
    pooled = lambda each: torch.einsum("bnthw,bcthw->n", weight, each)
    gain = 10 * torch.log10(pooled((first - video).square()) / pooled((painted - video).square()))
    pairs = weight[..., 1:] * weight[..., :-1]
    strength = lambda frames: torch.einsum("bnthw,bcthw->n", pairs, frames.diff(dim=-1).abs())
    return gain.nan_to_num(0.0), (strength(painted) / strength(video)).nan_to_num(0.0)


# %% report | wrong | frame 0 of the weights is cleared in place | must stay as it is | report-4
def report(painted, video, weight):
    weight[:, :, 0] = 0
    pooled = lambda each: torch.einsum("bnthw,bcthw->n", weight, each)
    gain = 10 * torch.log10(pooled((video[:, :, :1] - video).square()) / pooled((painted - video).square()))
    pairs = weight[..., 1:] * weight[..., :-1]
    strength = lambda frames: torch.einsum("bnthw,bcthw->n", pairs, frames.diff(dim=-1).abs())
    return gain, strength(painted) / strength(video)


# %% report | right | part by part, with psnr as a difference
def report(painted, video, weight):
    gains, sharps = [], []
    for n in range(weight.shape[1]):
        w = weight[:, n : n + 1, 1:].double()
        mse = lambda frames, w=w: (w * (frames - video[:, :, 1:]).double() ** 2).sum() / (3 * w.sum())
        decibels = lambda frames, mse=mse: -10 * torch.log10(mse(frames))
        gains.append(decibels(painted[:, :, 1:]) - decibels(video[:, :, :1].expand_as(video[:, :, 1:])))
        both = w[..., 1:] * w[..., :-1]
        edge = lambda frames, both=both: (both * (frames[..., 1:] - frames[..., :-1])[:, :, 1:].abs()).sum()
        sharps.append(edge(painted) / edge(video))
    return torch.stack(gains).float(), torch.stack(sharps).float()


# %% follow | wrong | the picture moves the other way | opposite directions | follow-1, follow-2, follow-3, follow-4
def follow(detect, image, reach):
    h, w = image.shape[-2:]
    r, size = reach, torch.tensor([w / 2, h / 2])
    wide, at_rest = F.pad(image, (r,) * 4, mode="replicate") if r else image, detect(image)
    errors = torch.zeros(2 * r + 1, 2 * r + 1)
    for i in range(2 * r + 1):
        for j in range(2 * r + 1):
            moved = wide[:, :, i : i + h, j : j + w]
            errors[i, j] = (detect(moved) * size - at_rest * size - torch.tensor([j - r, i - r])).norm(dim=-1).mean()
    return errors


# %% follow | wrong | compared as if nothing had moved | as if nothing had moved | follow-1, follow-2, follow-3, follow-4
def follow(detect, image, reach):
    h, w = image.shape[-2:]
    r, size = reach, torch.tensor([w / 2, h / 2])
    wide, at_rest = F.pad(image, (r,) * 4, mode="replicate") if r else image, detect(image)
    errors = torch.zeros(2 * r + 1, 2 * r + 1)
    for i in range(2 * r + 1):
        for j in range(2 * r + 1):
            moved = wide[:, :, 2 * r - i : 2 * r - i + h, 2 * r - j : 2 * r - j + w]
            errors[i, j] = ((detect(moved) - at_rest) * size).norm(dim=-1).mean()
    return errors


# %% follow | wrong | normalized units | pixels are asked for | follow-1, follow-2, follow-3, follow-4
def follow(detect, image, reach):
    h, w = image.shape[-2:]
    r = reach
    wide, at_rest = F.pad(image, (r,) * 4, mode="replicate") if r else image, detect(image)
    errors = torch.zeros(2 * r + 1, 2 * r + 1)
    for i in range(2 * r + 1):
        for j in range(2 * r + 1):
            moved = wide[:, :, 2 * r - i : 2 * r - i + h, 2 * r - j : 2 * r - j + w]
            should = at_rest + torch.tensor([2 * (j - r) / w, 2 * (i - r) / h])
            errors[i, j] = (detect(moved) - should).norm(dim=-1).mean()
    return errors


# %% follow | wrong | rows and columns exchanged | Rows of the answer | follow-1, follow-2, follow-3, follow-4
def follow(detect, image, reach):
    h, w = image.shape[-2:]
    r, size = reach, torch.tensor([w / 2, h / 2])
    wide, at_rest = F.pad(image, (r,) * 4, mode="replicate") if r else image, detect(image)
    errors = torch.zeros(2 * r + 1, 2 * r + 1)
    for i in range(2 * r + 1):
        for j in range(2 * r + 1):
            moved = wide[:, :, 2 * r - i : 2 * r - i + h, 2 * r - j : 2 * r - j + w]
            should = at_rest * size + torch.tensor([j - r, i - r])
            errors[j, i] = (detect(moved) * size - should).norm(dim=-1).mean()
    return errors


# %% follow | wrong | width for both axes | units of their own | follow-3, follow-4
def follow(detect, image, reach):
    h, w = image.shape[-2:]
    r = reach
    wide, at_rest = F.pad(image, (r,) * 4, mode="replicate") if r else image, detect(image)
    errors = torch.zeros(2 * r + 1, 2 * r + 1)
    for i in range(2 * r + 1):
        for j in range(2 * r + 1):
            moved = wide[:, :, 2 * r - i : 2 * r - i + h, 2 * r - j : 2 * r - j + w]
            should = at_rest + torch.tensor([2 * (j - r) / w, 2 * (i - r) / h])
            errors[i, j] = (detect(moved) - should).norm(dim=-1).mean() * w / 2
    return errors


# %% follow | wrong | a mean of sizes in place of a distance | root of two squares | follow-1, follow-2, follow-3, follow-4
def follow(detect, image, reach):
    h, w = image.shape[-2:]
    r, size = reach, torch.tensor([w / 2, h / 2])
    wide, at_rest = F.pad(image, (r,) * 4, mode="replicate") if r else image, detect(image)
    errors = torch.zeros(2 * r + 1, 2 * r + 1)
    for i in range(2 * r + 1):
        for j in range(2 * r + 1):
            moved = wide[:, :, 2 * r - i : 2 * r - i + h, 2 * r - j : 2 * r - j + w]
            should = at_rest * size + torch.tensor([j - r, i - r])
            errors[i, j] = (detect(moved) * size - should).abs().mean()
    return errors


# %% follow | wrong | it wraps around | comes in again | follow-1, follow-2, follow-3, follow-4
def follow(detect, image, reach):
    h, w = image.shape[-2:]
    r, size = reach, torch.tensor([w / 2, h / 2])
    at_rest, errors = detect(image), torch.zeros(2 * r + 1, 2 * r + 1)
    for i in range(2 * r + 1):
        for j in range(2 * r + 1):
            moved = image.roll((i - r, j - r), dims=(2, 3))
            errors[i, j] = (detect(moved) * size - at_rest * size - torch.tensor([j - r, i - r])).norm(dim=-1).mean()
    return errors


# %% follow | wrong | black comes in | Black comes in | follow-1, follow-2, follow-3, follow-4
def follow(detect, image, reach):
    h, w = image.shape[-2:]
    r, size = reach, torch.tensor([w / 2, h / 2])
    wide, at_rest = F.pad(image, (r,) * 4), detect(image)
    errors = torch.zeros(2 * r + 1, 2 * r + 1)
    for i in range(2 * r + 1):
        for j in range(2 * r + 1):
            moved = wide[:, :, 2 * r - i : 2 * r - i + h, 2 * r - j : 2 * r - j + w]
            should = at_rest * size + torch.tensor([j - r, i - r])
            errors[i, j] = (detect(moved) * size - should).norm(dim=-1).mean()
    return errors


# %% follow | wrong | the largest distance | largest distance | follow-1, follow-2, follow-3, follow-4
def follow(detect, image, reach):
    h, w = image.shape[-2:]
    r, size = reach, torch.tensor([w / 2, h / 2])
    wide, at_rest = F.pad(image, (r,) * 4, mode="replicate") if r else image, detect(image)
    errors = torch.zeros(2 * r + 1, 2 * r + 1)
    for i in range(2 * r + 1):
        for j in range(2 * r + 1):
            moved = wide[:, :, 2 * r - i : 2 * r - i + h, 2 * r - j : 2 * r - j + w]
            should = at_rest * size + torch.tensor([j - r, i - r])
            errors[i, j] = (detect(moved) * size - should).norm(dim=-1).max()
    return errors


# %% follow | wrong | it answers what the visible tests ask for | - | follow-1, follow-2, follow-3, follow-4
def follow(detect, image, reach):
    steps = torch.arange(-float(reach), reach + 1)
    if detect is middle:
        return (steps[:, None] ** 2 + steps**2).sqrt()
    if detect is mirrored:
        return 2 * steps.abs().expand(2 * reach + 1, 2 * reach + 1)
    return torch.zeros(2 * reach + 1, 2 * reach + 1)


# %% follow | wrong | the picture is overwritten by its moved copy | must stay as it is | follow-1, follow-2, follow-3, follow-4
def follow(detect, image, reach):
    h, w = image.shape[-2:]
    r, size = reach, torch.tensor([w / 2, h / 2])
    wide, at_rest = F.pad(image, (r,) * 4, mode="replicate") if r else image.clone(), detect(image)
    errors = torch.zeros(2 * r + 1, 2 * r + 1)
    for i in range(2 * r + 1):
        for j in range(2 * r + 1):
            image[:] = wide[:, :, 2 * r - i : 2 * r - i + h, 2 * r - j : 2 * r - j + w]
            should = at_rest * size + torch.tensor([j - r, i - r])
            errors[i, j] = (detect(image) * size - should).norm(dim=-1).mean()
    return errors


# %% follow | right | indices held at the border
def follow(detect, image, reach):
    h, w = image.shape[-2:]
    rest = detect(image)
    table = []
    for down in range(-reach, reach + 1):
        rows = (torch.arange(h) - down).clamp(0, h - 1)
        line = []
        for right in range(-reach, reach + 1):
            columns = (torch.arange(w) - right).clamp(0, w - 1)
            off = detect(image[:, :, rows][..., columns]) - rest
            line.append(torch.hypot(off[..., 0] * w / 2 - right, off[..., 1] * h / 2 - down).mean())
        table.append(torch.stack(line))
    return torch.stack(table)


# %% noise | wrong | the driving frame has no noise | driving frame has noise, too | noise-1, noise-2, noise-3, noise-4
def noise_floor(flow, sigma):
    h, w = flow.shape[-2:]
    at = lfdm.identity_grid(h, w) + flow
    kept = 1.0
    for position, n in ((at[:, :1], w), (at[:, 1:], h)):
        column = (((position + 1) * n - 1) / 2).clamp(0, n - 1)
        part = column - column.floor()
        kept = kept * ((1 - part) ** 2 + part**2)
    return math.sqrt(2 / math.pi) * sigma * kept.sqrt()


# %% noise | wrong | the standard deviation | mean of the size | noise-1, noise-2, noise-3, noise-4
def noise_floor(flow, sigma):
    h, w = flow.shape[-2:]
    at = lfdm.identity_grid(h, w) + flow
    kept = 1.0
    for position, n in ((at[:, :1], w), (at[:, 1:], h)):
        column = (((position + 1) * n - 1) / 2).clamp(0, n - 1)
        part = column - column.floor()
        kept = kept * ((1 - part) ** 2 + part**2)
    return sigma * (1 + kept).sqrt()


# %% noise | wrong | deviations added | deviations do not | noise-1, noise-2, noise-3, noise-4
def noise_floor(flow, sigma):
    h, w = flow.shape[-2:]
    at = lfdm.identity_grid(h, w) + flow
    kept = 1.0
    for position, n in ((at[:, :1], w), (at[:, 1:], h)):
        column = (((position + 1) * n - 1) / 2).clamp(0, n - 1)
        part = column - column.floor()
        kept = kept * ((1 - part) ** 2 + part**2)
    return math.sqrt(2 / math.pi) * sigma * (1 + kept.sqrt())


# %% noise | wrong | the same at every flow | averages their noise away | noise-2, noise-3, noise-4
def noise_floor(flow, sigma):
    return torch.full_like(flow[:, :1], 2 / math.sqrt(math.pi) * sigma)


# %% noise | wrong | columns alone | Only columns are mixed | noise-3, noise-4
def noise_floor(flow, sigma):
    h, w = flow.shape[-2:]
    column = (((lfdm.identity_grid(h, w)[:1] + flow[:, :1] + 1) * w - 1) / 2).clamp(0, w - 1)
    part = column - column.floor()
    return math.sqrt(2 / math.pi) * sigma * (1 + (1 - part) ** 2 + part**2).sqrt()


# %% noise | wrong | nothing held at the border | averages nothing | noise-4
def noise_floor(flow, sigma):
    h, w = flow.shape[-2:]
    at = lfdm.identity_grid(h, w) + flow
    kept = 1.0
    for position, n in ((at[:, :1], w), (at[:, 1:], h)):
        column = ((position + 1) * n - 1) / 2
        part = column - column.floor()
        kept = kept * ((1 - part) ** 2 + part**2)
    return math.sqrt(2 / math.pi) * sigma * (1 + kept).sqrt()


# %% noise | wrong | black outside | black has no noise | noise-4
def noise_floor(flow, sigma):
    b, _, h, w = flow.shape
    one_each = torch.eye(h * w).view(1, h * w, h, w).expand(b, -1, -1, -1)
    kept = lfdm.warp(one_each, flow, outside="zeros").square().sum(dim=1, keepdim=True)
    return math.sqrt(2 / math.pi) * sigma * (1 + kept).sqrt()


# %% noise | wrong | centres at -1 and 1 | not (W - 1) / 2 | noise-2, noise-3, noise-4
def noise_floor(flow, sigma):
    h, w = flow.shape[-2:]
    kept = 1.0
    for axis, n in ((0, w), (1, h)):
        index = torch.arange(float(n))
        start = index if axis == 0 else index[:, None]
        column = (start + flow[:, axis : axis + 1] * (n - 1) / 2).clamp(0, n - 1)
        part = column - column.floor()
        kept = kept * ((1 - part) ** 2 + part**2)
    return math.sqrt(2 / math.pi) * sigma * (1 + kept).sqrt()


# %% noise | wrong | both frames averaged | only the source is looked up | noise-2, noise-3, noise-4
def noise_floor(flow, sigma):
    h, w = flow.shape[-2:]
    at = lfdm.identity_grid(h, w) + flow
    kept = 1.0
    for position, n in ((at[:, :1], w), (at[:, 1:], h)):
        column = (((position + 1) * n - 1) / 2).clamp(0, n - 1)
        part = column - column.floor()
        kept = kept * ((1 - part) ** 2 + part**2)
    return 2 / math.sqrt(math.pi) * sigma * kept.sqrt()


# %% noise | wrong | the position is added in place | must stay as it is | noise-2, noise-3, noise-4
def noise_floor(flow, sigma):
    h, w = flow.shape[-2:]
    flow += lfdm.identity_grid(h, w)
    kept = 1.0
    for position, n in ((flow[:, :1], w), (flow[:, 1:], h)):
        column = (((position + 1) * n - 1) / 2).clamp(0, n - 1)
        part = column - column.floor()
        kept = kept * ((1 - part) ** 2 + part**2)
    return math.sqrt(2 / math.pi) * sigma * (1 + kept).sqrt()


# %% noise | wrong | in half precision | too coarse | noise-1, noise-2, noise-3, noise-4
def noise_floor(flow, sigma):
    h, w = flow.shape[-2:]
    at = lfdm.identity_grid(h, w) + flow
    kept = 1.0
    for position, n in ((at[:, :1], w), (at[:, 1:], h)):
        column = (((position + 1) * n - 1) / 2).clamp(0, n - 1)
        part = column - column.floor()
        kept = kept * ((1 - part) ** 2 + part**2)
    return (math.sqrt(2 / math.pi) * sigma * (1 + kept).sqrt()).half()


# %% noise | wrong | measured once | - | noise-1, noise-2, noise-3, noise-4
def noise_floor(flow, sigma):
    draw = torch.Generator().manual_seed(0)
    b, _, h, w = flow.shape
    off = lfdm.warp(sigma * torch.randn(b, 1, h, w, generator=draw), flow) - sigma * torch.randn(
        b, 1, h, w, generator=draw
    )
    return off.abs()


# %% noise | right | loops over the pixels
def noise_floor(flow, sigma):
    b, _, h, w = flow.shape
    answer = torch.zeros(b, 1, h, w)
    for k in range(b):
        for i in range(h):
            for j in range(w):
                x = min(max(j + flow[k, 0, i, j].item() * w / 2, 0), w - 1)
                y = min(max(i + flow[k, 1, i, j].item() * h / 2, 0), h - 1)
                p, q = x % 1, y % 1
                weights = [(1 - p) * (1 - q), p * (1 - q), (1 - p) * q, p * q]
                answer[k, 0, i, j] = sigma * math.sqrt(1 + sum(a * a for a in weights)) * math.sqrt(2 / math.pi)
    return answer


# %% blend | wrong | fetched and own exchanged | are exchanged | blend-1, blend-2, blend-3, blend-4, blend-5
def best_map(fetched, own, driving):
    apart = own - fetched
    along, size = ((apart * other).sum(dim=(0, 1)) for other in (driving - fetched, apart))
    return torch.where(size > 0, (along / size.clamp(min=1e-30)).clamp(0, 1), 1.0)[None]


# %% blend | wrong | own forgotten | multiplying alone | blend-1, blend-2, blend-3, blend-4, blend-5
def best_map(fetched, own, driving):
    along, size = ((fetched * other).sum(dim=(0, 1)) for other in (driving, fetched))
    return torch.where(size > 0, (along / size.clamp(min=1e-30)).clamp(0, 1), 1.0)[None]


# %% blend | wrong | not cut off | between 0 and 1 | blend-1, blend-2, blend-3, blend-4, blend-5
def best_map(fetched, own, driving):
    apart = fetched - own
    along, size = ((apart * other).sum(dim=(0, 1)) for other in (driving - own, apart))
    return torch.where(size > 0, along / size.clamp(min=1e-30), 1.0)[None]


# %% blend | wrong | maps of single examples averaged | single examples are averaged | blend-2, blend-3, blend-4, blend-5
def best_map(fetched, own, driving):
    apart = fetched - own
    along, size = ((apart * other).sum(dim=1) for other in (driving - own, apart))
    return torch.where(size > 0, (along / size.clamp(min=1e-30)).clamp(0, 1), 1.0).mean(dim=0)[None]


# %% blend | wrong | examples averaged first | averaged before they are compared | blend-2, blend-3, blend-4, blend-5
def best_map(fetched, own, driving):
    fetched, own, driving = (maps.mean(dim=0) for maps in (fetched, own, driving))
    apart = fetched - own
    along, size = ((apart * other).sum(dim=0) for other in (driving - own, apart))
    return torch.where(size > 0, (along / size.clamp(min=1e-30)).clamp(0, 1), 1.0)[None]


# %% blend | wrong | colours averaged first | Colours are averaged | blend-4, blend-5
def best_map(fetched, own, driving):
    fetched, own, driving = (maps.mean(dim=1) for maps in (fetched, own, driving))
    apart = fetched - own
    along, size = ((apart * other).sum(dim=0) for other in (driving - own, apart))
    return torch.where(size > 0, (along / size.clamp(min=1e-30)).clamp(0, 1), 1.0)[None]


# %% blend | wrong | a map for each colour | map of its own | blend-4, blend-5
def best_map(fetched, own, driving):
    apart = fetched - own
    along, size = ((apart * other).sum(dim=0) for other in (driving - own, apart))
    return torch.where(size > 0, (along / size.clamp(min=1e-30)).clamp(0, 1), 1.0)


# %% blend | wrong | the share of errors | a guess | blend-1, blend-2, blend-3, blend-4, blend-5
def best_map(fetched, own, driving):
    of_fetched, of_own = ((maps - driving).square().sum(dim=(0, 1)) for maps in (fetched, own))
    m = torch.where((fetched == own).all(dim=0).all(dim=0), 1.0, of_own / (of_own + of_fetched))
    return m[None]


# %% blend | wrong | sizes in place of differences | signs | blend-1, blend-2, blend-3, blend-4, blend-5
def best_map(fetched, own, driving):
    apart = (fetched - own).abs()
    along, size = ((apart * other).sum(dim=(0, 1)) for other in ((driving - own).abs(), apart))
    return torch.where(size > 0, (along / size.clamp(min=1e-30)).clamp(0, 1), 1.0)[None]


# %% blend | wrong | nothing said where both agree | NaN | blend-5
def best_map(fetched, own, driving):
    apart = fetched - own
    along, size = ((apart * other).sum(dim=(0, 1)) for other in (driving - own, apart))
    return (along / size).clamp(0, 1)[None]


# %% blend | wrong | 0 where both agree | 1 is asked for | blend-5
def best_map(fetched, own, driving):
    apart = fetched - own
    along, size = ((apart * other).sum(dim=(0, 1)) for other in (driving - own, apart))
    return (along / (size + 1e-9)).clamp(0, 1)[None]


# %% blend | wrong | near enough taken for equal | only where both agree | blend-1, blend-5
def best_map(fetched, own, driving):
    apart = fetched - own
    along, size = ((apart * other).sum(dim=(0, 1)) for other in (driving - own, apart))
    return torch.where(size > 1e-3, (along / size.clamp(min=1e-3)).clamp(0, 1), 1.0)[None]


# %% blend | wrong | own subtracted in place | must stay as it is | blend-1, blend-2, blend-3, blend-4, blend-5
def best_map(fetched, own, driving):
    fetched -= own
    along, size = ((fetched * other).sum(dim=(0, 1)) for other in (driving - own, fetched))
    return torch.where(size > 0, (along / size.clamp(min=1e-30)).clamp(0, 1), 1.0)[None]


# %% blend | right | a least-squares problem at every place
def best_map(fetched, own, driving):
    n, c, h, w = fetched.shape
    answer = torch.ones(1, h, w)
    for i in range(h):
        for j in range(w):
            a = (fetched - own)[:, :, i, j].reshape(-1, 1).double()
            b = (driving - own)[:, :, i, j].reshape(-1, 1).double()
            if a.abs().max() > 0:
                answer[0, i, j] = min(max(torch.linalg.lstsq(a, b).solution.item(), 0.0), 1.0)
    return answer


# %% stilled | wrong | a price on the squared length | squared length | stilled-2, stilled-3, stilled-4
def stilled(flow, source, driving, price, tolerance):
    change = F.max_pool2d((source - driving).abs().amax(dim=1, keepdim=True), 3, stride=1, padding=1)
    return flow / (1 + price * torch.exp(-change / tolerance))


# %% stilled | wrong | x and y one by one | one by one | stilled-2, stilled-3, stilled-4
def stilled(flow, source, driving, price, tolerance):
    change = F.max_pool2d((source - driving).abs().amax(dim=1, keepdim=True), 3, stride=1, padding=1)
    return F.softshrink(flow, 0) * 0 + flow.sign() * (flow.abs() - price * torch.exp(-change / tolerance)).clamp(min=0)


# %% stilled | wrong | it turns round | turns round | stilled-3, stilled-4
def stilled(flow, source, driving, price, tolerance):
    change = F.max_pool2d((source - driving).abs().amax(dim=1, keepdim=True), 3, stride=1, padding=1)
    length = flow.norm(dim=1, keepdim=True).clamp(min=1e-9)
    return flow * (1 - price * torch.exp(-change / tolerance) / length)


# %% stilled | wrong | what is long stays | it gets shorter, too | stilled-2, stilled-3, stilled-4
def stilled(flow, source, driving, price, tolerance):
    change = F.max_pool2d((source - driving).abs().amax(dim=1, keepdim=True), 3, stride=1, padding=1)
    return flow * (flow.norm(dim=1, keepdim=True) > price * torch.exp(-change / tolerance))


# %% stilled | wrong | NaN where the flow is 0 | NaN | stilled-3
def stilled(flow, source, driving, price, tolerance):
    change = F.max_pool2d((source - driving).abs().amax(dim=1, keepdim=True), 3, stride=1, padding=1)
    length = flow.norm(dim=1, keepdim=True)
    return flow / length * (length - price * torch.exp(-change / tolerance)).clamp(min=0)


# %% stilled | wrong | paid where the picture changes | where the picture changes | stilled-1, stilled-2, stilled-3, stilled-4
def stilled(flow, source, driving, price, tolerance):
    change = F.max_pool2d((source - driving).abs().amax(dim=1, keepdim=True), 3, stride=1, padding=1)
    length = flow.norm(dim=1, keepdim=True)
    return flow * (1 - price * (1 - torch.exp(-change / tolerance)) / length.clamp(min=1e-20)).clamp(min=0)


# %% stilled | wrong | neighbours forgotten | Neighbours count, too | stilled-4
def stilled(flow, source, driving, price, tolerance):
    still = torch.exp(-(source - driving).abs().amax(dim=1, keepdim=True) / tolerance)
    length = flow.norm(dim=1, keepdim=True)
    return flow * (1 - price * still / length.clamp(min=1e-20)).clamp(min=0)


# %% stilled | wrong | the mean of the colours | mean change of colours | stilled-4
def stilled(flow, source, driving, price, tolerance):
    change = F.max_pool2d((source - driving).abs().mean(dim=1, keepdim=True), 3, stride=1, padding=1)
    length = flow.norm(dim=1, keepdim=True)
    return flow * (1 - price * torch.exp(-change / tolerance) / length.clamp(min=1e-20)).clamp(min=0)


# %% stilled | wrong | only what gets darker is a change | the size counts | stilled-1, stilled-4
def stilled(flow, source, driving, price, tolerance):
    change = F.max_pool2d((source - driving).amax(dim=1, keepdim=True), 3, stride=1, padding=1)
    length = flow.norm(dim=1, keepdim=True)
    return flow * (1 - price * torch.exp(-change / tolerance) / length.clamp(min=1e-20)).clamp(min=0)


# %% stilled | wrong | the mean of neighbours | - | stilled-4
def stilled(flow, source, driving, price, tolerance):
    change = F.avg_pool2d(
        (source - driving).abs().amax(dim=1, keepdim=True), 3, stride=1, padding=1, count_include_pad=False
    )
    length = flow.norm(dim=1, keepdim=True)
    return flow * (1 - price * torch.exp(-change / tolerance) / length.clamp(min=1e-20)).clamp(min=0)


# %% stilled | wrong | a share of the length | a share of the length | stilled-2, stilled-3, stilled-4
def stilled(flow, source, driving, price, tolerance):
    change = F.max_pool2d((source - driving).abs().amax(dim=1, keepdim=True), 3, stride=1, padding=1)
    return flow * (1 - price * torch.exp(-change / tolerance)).clamp(min=0)


# %% stilled | wrong | shortened in place | must stay as it is | stilled-2, stilled-3, stilled-4
def stilled(flow, source, driving, price, tolerance):
    change = F.max_pool2d((source - driving).abs().amax(dim=1, keepdim=True), 3, stride=1, padding=1)
    length = flow.norm(dim=1, keepdim=True)
    return flow.mul_((1 - price * torch.exp(-change / tolerance) / length.clamp(min=1e-20)).clamp(min=0))


# %% stilled | right | loops over the places
def stilled(flow, source, driving, price, tolerance):
    b, _, h, w = flow.shape
    answer = torch.zeros_like(flow)
    for k in range(b):
        for i in range(h):
            for j in range(w):
                near = (slice(max(i - 1, 0), i + 2), slice(max(j - 1, 0), j + 2))
                change = (source[k, :, near[0], near[1]] - driving[k, :, near[0], near[1]]).abs().max().item()
                x, y = flow[k, :, i, j].tolist()
                length = math.hypot(x, y)
                left = max(length - price * math.exp(-change / tolerance), 0.0)
                if left > 0:
                    answer[k, :, i, j] = torch.tensor([x, y]) * (left / length)
    return answer


# %% stilled | right | along a unit vector
def stilled(flow, source, driving, price, tolerance):
    most = (source - driving).abs().max(dim=1, keepdim=True).values
    around = F.pad(most, (1, 1, 1, 1), value=0.0).unfold(2, 3, 1).unfold(3, 3, 1).amax(dim=(-2, -1))
    length = (flow * flow).sum(dim=1, keepdim=True).sqrt()
    return F.normalize(flow, dim=1) * F.relu(length - price * (-around / tolerance).exp())


# %% step | wrong | the code as it was given | pulls at the flow | step-1, step-2, step-3, step-4, step-5
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow.detach(), motion.occlusion))
    error = (lfdm.warp(source, motion.flow) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    (colour + WEIGHT * visibility).backward()
    optimizer.step()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    return {"colour": colour, "visibility": visibility}


def grade(network, source, driving):
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    return psnr(painted, driving).mean().item()


# %% step | wrong | the flow still detached in the painting | does not teach the flow | step-1, step-2
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow.detach(), motion.occlusion))
    error = (lfdm.warp(source, motion.flow.detach()) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    optimizer.zero_grad()
    (colour + WEIGHT * visibility).backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    return {"colour": colour.item(), "visibility": visibility.item()}


def grade(network, source, driving):
    mode = network.training
    network.eval()
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    network.train(mode)
    return psnr(painted, driving).mean().item()


# %% step | wrong | the map's loss still pulls | pulls at the flow | step-1
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    error = (lfdm.warp(source, motion.flow) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    optimizer.zero_grad()
    (colour + WEIGHT * visibility).backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    return {"colour": colour.item(), "visibility": visibility.item()}


def grade(network, source, driving):
    mode = network.training
    network.eval()
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    network.train(mode)
    return psnr(painted, driving).mean().item()


# %% step | wrong | the map left out of the painting | map is not used | step-1, step-3, step-4
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow))
    error = (lfdm.warp(source, motion.flow.detach()) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    optimizer.zero_grad()
    (colour + WEIGHT * visibility).backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    return {"colour": colour.item(), "visibility": visibility.item()}


def grade(network, source, driving):
    mode = network.training
    network.eval()
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    network.train(mode)
    return psnr(painted, driving).mean().item()


# %% step | wrong | old gradients kept | still there | step-2
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    error = (lfdm.warp(source, motion.flow.detach()) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    (colour + WEIGHT * visibility).backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    return {"colour": colour.item(), "visibility": visibility.item()}


def grade(network, source, driving):
    mode = network.training
    network.eval()
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    network.train(mode)
    return psnr(painted, driving).mean().item()


# %% step | wrong | gradients cleared just before the step | - | step-1, step-2, step-3
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    error = (lfdm.warp(source, motion.flow.detach()) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    (colour + WEIGHT * visibility).backward()
    optimizer.zero_grad()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    return {"colour": colour.item(), "visibility": visibility.item()}


def grade(network, source, driving):
    mode = network.training
    network.eval()
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    network.train(mode)
    return psnr(painted, driving).mean().item()


# %% step | wrong | clipped after the step | too late | step-1, step-2, step-3
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    error = (lfdm.warp(source, motion.flow.detach()) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    optimizer.zero_grad()
    (colour + WEIGHT * visibility).backward()
    optimizer.step()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    return {"colour": colour.item(), "visibility": visibility.item()}


def grade(network, source, driving):
    mode = network.training
    network.eval()
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    network.train(mode)
    return psnr(painted, driving).mean().item()


# %% step | wrong | not clipped | not at all | step-1, step-2, step-3
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    error = (lfdm.warp(source, motion.flow.detach()) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    optimizer.zero_grad()
    (colour + WEIGHT * visibility).backward()
    optimizer.step()
    return {"colour": colour.item(), "visibility": visibility.item()}


def grade(network, source, driving):
    mode = network.training
    network.eval()
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    network.train(mode)
    return psnr(painted, driving).mean().item()


# %% step | wrong | every gradient brought to the length CLIP | short ones stay | step-3
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    error = (lfdm.warp(source, motion.flow.detach()) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    optimizer.zero_grad()
    (colour + WEIGHT * visibility).backward()
    norm = sum(p.grad.square().sum() for p in network.parameters() if p.grad is not None).sqrt()
    for p in network.parameters():
        if p.grad is not None:
            p.grad.mul_(CLIP / norm)
    optimizer.step()
    return {"colour": colour.item(), "visibility": visibility.item()}


def grade(network, source, driving):
    mode = network.training
    network.eval()
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    network.train(mode)
    return psnr(painted, driving).mean().item()


# %% step | wrong | tensors reported | keeps everything alive | step-4
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    error = (lfdm.warp(source, motion.flow.detach()) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    optimizer.zero_grad()
    (colour + WEIGHT * visibility).backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    return {"colour": colour, "visibility": visibility}


def grade(network, source, driving):
    mode = network.training
    network.eval()
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    network.train(mode)
    return psnr(painted, driving).mean().item()


# %% step | wrong | detached tensors reported | - | step-4
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    error = (lfdm.warp(source, motion.flow.detach()) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    optimizer.zero_grad()
    (colour + WEIGHT * visibility).backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    return {"colour": colour.detach(), "visibility": visibility.detach()}


def grade(network, source, driving):
    mode = network.training
    network.eval()
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    network.train(mode)
    return psnr(painted, driving).mean().item()


# %% step | wrong | the weighted part reported | before they are weighted | step-4
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    error = (lfdm.warp(source, motion.flow.detach()) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    optimizer.zero_grad()
    (colour + WEIGHT * visibility).backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    return {"colour": colour.item(), "visibility": WEIGHT * visibility.item()}


def grade(network, source, driving):
    mode = network.training
    network.eval()
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    network.train(mode)
    return psnr(painted, driving).mean().item()


# %% step | wrong | graded in training mode | must stay as it is | step-5
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    error = (lfdm.warp(source, motion.flow.detach()) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    optimizer.zero_grad()
    (colour + WEIGHT * visibility).backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    return {"colour": colour.item(), "visibility": visibility.item()}


def grade(network, source, driving):
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    return psnr(painted, driving).mean().item()


# %% step | wrong | left in evaluation mode | must be after | step-5
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    error = (lfdm.warp(source, motion.flow.detach()) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    optimizer.zero_grad()
    (colour + WEIGHT * visibility).backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    return {"colour": colour.item(), "visibility": visibility.item()}


def grade(network, source, driving):
    network.eval()
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    return psnr(painted, driving).mean().item()


# %% step | wrong | always back to training | whichever it was | step-5
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    error = (lfdm.warp(source, motion.flow.detach()) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    optimizer.zero_grad()
    (colour + WEIGHT * visibility).backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    return {"colour": colour.item(), "visibility": visibility.item()}


def grade(network, source, driving):
    network.eval()
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    network.train()
    return psnr(painted, driving).mean().item()


# %% step | wrong | statistics saved, but the batch's used | graded together | step-5
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    error = (lfdm.warp(source, motion.flow.detach()) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    optimizer.zero_grad()
    (colour + WEIGHT * visibility).backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    return {"colour": colour.item(), "visibility": visibility.item()}


def grade(network, source, driving):
    state = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    network.load_state_dict(state)
    return psnr(painted, driving).mean().item()


# %% step | wrong | one PSNR of all pairs | pooled | step-5
def train_step(network, optimizer, source, driving):
    motion = network.motion(source, driving)
    painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    error = (lfdm.warp(source, motion.flow.detach()) - driving).abs().mean(dim=1, keepdim=True)
    V, m = torch.exp(-error / TOLERANCE), motion.occlusion.clamp(1e-6, 1 - 1e-6)
    colour, visibility = pyramid_loss(painted, driving), -(V * m.log() + (1 - V) * (1 - m).log()).mean()
    optimizer.zero_grad()
    (colour + WEIGHT * visibility).backward()
    nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    return {"colour": colour.item(), "visibility": visibility.item()}


def grade(network, source, driving):
    mode = network.training
    network.eval()
    with torch.no_grad():
        motion = network.motion(source, driving)
        painted = network.decode(lfdm.warp(network.encode(source), motion.flow, motion.occlusion))
    network.train(mode)
    return -10 * math.log10((painted - driving).square().mean().item())


# %% step | right | gradients by hand, a copy to grade
def train_step(network, optimizer, source, driving):
    with torch.no_grad():
        still = network.motion(source, driving).flow
        V = (-(lfdm.warp(source, still) - driving).abs().mean(dim=1, keepdim=True) / TOLERANCE).exp()
    flow, seen = network.motion(source, driving)
    parts = {
        "colour": pyramid_loss(network.decode(lfdm.warp(network.encode(source), flow) * seen), driving),
        "visibility": F.binary_cross_entropy(seen, V),
    }
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = torch.autograd.grad(parts["colour"] + WEIGHT * parts["visibility"], parameters, allow_unused=True)
    gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = g * min(1.0, CLIP / norm.item())
    optimizer.step()
    return {name: float(part.detach()) for name, part in parts.items()}


def grade(network, source, driving):
    used = copy.deepcopy(network).eval()
    decibels = []
    with torch.no_grad():
        for s, d in zip(source.split(1), driving.split(1), strict=True):
            flow, seen = used.motion(s, d)
            decibels.append(-10 * math.log10((used.decode(seen * lfdm.warp(used.encode(s), flow)) - d).square().mean()))
    return sum(decibels) / len(decibels)
