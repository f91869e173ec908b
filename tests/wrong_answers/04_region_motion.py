# Wrong answers to the exercises of chapter 04; see tests/exercises.py.

# %% triangular_axes: the symmetric root -> first row
def triangular_axes(covariance):
    return axes_v1(covariance)


# %% triangular_axes: the principal axes -> first row
def triangular_axes(covariance):
    return axes_v2(covariance)


# %% triangular_axes: upper triangular -> upper
def triangular_axes(covariance):
    return torch.linalg.cholesky(covariance).mT


# %% triangular_axes: the roots of the entries -> entries
def triangular_axes(covariance):
    return covariance.clamp_min(0).sqrt().tril()


# %% triangular_axes: the transpose on the left -> transpose
def triangular_axes(covariance):
    return torch.linalg.cholesky(covariance.flip(-1, -2)).flip(-1, -2).mT


# %% triangular_axes: the last entry forgets what the first column took -> three entries
def triangular_axes(covariance):
    xx = covariance[..., 0, 0].sqrt()
    yx = covariance[..., 0, 1] / xx
    yy = covariance[..., 1, 1].sqrt()
    return torch.stack([torch.stack([xx, 0 * xx], -1), torch.stack([yx, yy], -1)], -2)


# %% triangular_axes: negative roots -> positive
def triangular_axes(covariance):
    return -torch.linalg.cholesky(covariance)


# %% follow_error: in normalized units -> scale
def follow_error(shift_source, shift_driving, flow):
    moved = sample_at(flow, shift_driving.mT[..., None])[..., 0].mT
    return (shift_driving + moved - shift_source).norm(dim=-1)


# %% follow_error: the whole width for 1 -> scale
def follow_error(shift_source, shift_driving, flow):
    moved = sample_at(flow, shift_driving.mT[..., None])[..., 0].mT
    return flow.shape[-1] * (shift_driving + moved - shift_source).norm(dim=-1)


# %% follow_error: a width of 64, whatever the flow's -> 32 columns
def follow_error(shift_source, shift_driving, flow):
    moved = sample_at(flow, shift_driving.mT[..., None])[..., 0].mT
    return 32 * (shift_driving + moved - shift_source).norm(dim=-1)


# %% follow_error: without the flow -> forget
def follow_error(shift_source, shift_driving, flow):
    return flow.shape[-1] / 2 * (shift_driving - shift_source).norm(dim=-1)


# %% follow_error: the flow is taken away -> sign
def follow_error(shift_source, shift_driving, flow):
    moved = sample_at(flow, shift_driving.mT[..., None])[..., 0].mT
    return flow.shape[-1] / 2 * (shift_driving - moved - shift_source).norm(dim=-1)


# %% follow_error: the flow is asked in the source -> driving position
def follow_error(shift_source, shift_driving, flow):
    moved = sample_at(flow, shift_source.mT[..., None])[..., 0].mT
    return flow.shape[-1] / 2 * (shift_driving + moved - shift_source).norm(dim=-1)


# %% follow_error: the sum of both differences -> squares
def follow_error(shift_source, shift_driving, flow):
    moved = sample_at(flow, shift_driving.mT[..., None])[..., 0].mT
    return flow.shape[-1] / 2 * (shift_driving + moved - shift_source).abs().sum(dim=-1)


# %% follow_axes: each frame on its own -> part
def follow_axes(covariances):
    return axes_v2(covariances)


# %% follow_axes: only the sign is chosen -> exchange
def follow_axes(covariances):
    chosen = [axes_v2(covariances[0])]
    for axes in axes_v2(covariances[1:]):
        chosen.append(axes * least_turn(axes @ inverse(chosen[-1])))
    return torch.stack(chosen)


# %% follow_axes: against frame 0 -> frame before
def follow_axes(covariances):
    all_axes = axes_v2(covariances)
    chosen = []
    for first, second in (axes.unbind(-1) for axes in all_axes):
        pairs = (first, second), (second, -first), (-first, -second), (-second, first)
        candidates = torch.stack([torch.stack(pair, dim=-1) for pair in pairs])
        turn = degrees_of(candidates @ inverse(all_axes[:1].expand(4, 2, 2))).abs()
        chosen.append(candidates[turn.argmin()])
    return torch.stack(chosen)


# %% follow_axes: columns exchanged without a sign -> mirrored
def follow_axes(covariances):
    chosen = []
    for axes in axes_v2(covariances):
        first, second = axes.unbind(-1)
        pairs = (first, second), (second, first), (-first, -second), (-second, -first)
        candidates = torch.stack([torch.stack(pair, dim=-1) for pair in pairs])
        if chosen:
            axes = candidates[(candidates - chosen[-1]).abs().sum(dim=(1, 2)).argmin()]
        chosen.append(axes)
    return torch.stack(chosen)


# %% follow_axes: columns exchanged and no half turn -> half a turn
def follow_axes(covariances):
    chosen = []
    for axes in axes_v2(covariances):
        first, second = axes.unbind(-1)
        candidates = torch.stack([torch.stack(pair, dim=-1) for pair in ((first, second), (second, -first))])
        if chosen:
            turn = degrees_of(candidates @ inverse(chosen[-1].expand(2, 2, 2))).abs()
            axes = candidates[turn.argmin()]
        chosen.append(axes)
    return torch.stack(chosen)


# %% follow_axes: rows exchanged for columns -> part 2
def follow_axes(covariances):
    chosen = []
    for axes in axes_v2(covariances):
        candidates = torch.stack([axes, axes.flip(-2), -axes, -axes.flip(-2)])
        if chosen:
            axes = candidates[(candidates - chosen[-1]).abs().sum(dim=(1, 2)).argmin()]
        chosen.append(axes)
    return torch.stack(chosen)


# %% follow_axes: the motion since frame 0 in place of the axes -> part 2
def follow_axes(covariances):
    axes = axes_v2(covariances)
    return axes @ inverse(axes[:1].expand_as(axes))
