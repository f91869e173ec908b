# Plausible wrong answers to the exercises of chapter 14; see tests/exercises.py for the form.

# %% later: the end comes in at the beginning -> come in at the beginning
def later(flow, frames):
    return flow.roll(frames, dims=2)


# %% later: it happens earlier -> earlier, not later
def later(flow, frames):
    rest = torch.zeros_like(flow[:, :, :1]).expand(-1, -1, frames, -1, -1)
    return torch.cat([flow, rest], dim=2)[:, :, frames:]


# %% later: frame 0 is held before it begins -> rest, not frame 0
def later(flow, frames):
    return flow[:, :, (torch.arange(flow.shape[2]) - frames).clamp(min=0)]


# %% later: the clip becomes longer -> shape
def later(flow, frames):
    rest = torch.zeros_like(flow[:, :, :1]).expand(-1, -1, frames, -1, -1)
    return torch.cat([rest, flow], dim=2)


# %% later: a list of frames is returned -> return a tensor
def later(flow, frames):
    return [torch.zeros_like(flow[:, :, 0])] * frames + list(flow.unbind(2))


# %% compose: the answers are added as they are -> less the one without
def compose(none, answers, weights, guidance_scale):
    return none + guidance_scale * sum(w * answer for w, answer in zip(weights, answers))


# %% compose: the scale is left out -> guidance_scale is missing
def compose(none, answers, weights, guidance_scale):
    return none + sum(w * (answer - none) for w, answer in zip(weights, answers))


# %% compose: weights are normalized -> not divided by their sum
def compose(none, answers, weights, guidance_scale):
    return none + guidance_scale * sum(w * (a - none) for w, a in zip(weights, answers)) / sum(weights)


# %% compose: every label begins at the answer without one -> directions alone
def compose(none, answers, weights, guidance_scale):
    return guidance_scale * sum(w * (answer - none) for w, answer in zip(weights, answers))


# %% compose: the weighted mean of the answers -> mean of the answers
def compose(none, answers, weights, guidance_scale):
    return sum(w * answer for w, answer in zip(weights, answers))


# %% along: the length of the way gone -> never below 0
def along(first, second, here):
    return (here - first).norm() / (second - first).norm()


# %% along: divided by the length once -> square
def along(first, second, here):
    way = second - first
    return ((here - first) * way).sum() / way.norm()


# %% along: the cosine of the angle -> cosine
def along(first, second, here):
    way, gone = second - first, here - first
    return (gone * way).sum() / way.norm() / gone.norm()


# %% along: a mean over landmarks -> all landmarks together
def along(first, second, here):
    way = second - first
    return (((here - first) * way).sum(1) / way.square().sum(1)).mean()


# %% along: the first face is not subtracted -> subtract it
def along(first, second, here):
    way = second - first
    return (here * way).sum() / way.square().sum()


# %% along: one number a landmark -> shape
def along(first, second, here):
    way = second - first
    return ((here - first) * way).sum(1) / way.square().sum(1)
