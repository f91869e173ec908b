"""Plausible wrong answers to the exercises of chapter 00; see `tests/exercises.py` for the form."""


# %% scaled: the occlusion map stays -> still hides
def scaled(motion, factor):
    return lfdm.Motion(factor * motion.flow, motion.occlusion)


# %% scaled: the occlusion map shrinks with the flow -> 0 means hidden
def scaled(motion, factor):
    return lfdm.Motion(factor * motion.flow, factor * motion.occlusion)


# %% scaled: a step, whole map or none -> a step
def scaled(motion, factor):
    return lfdm.Motion(factor * motion.flow, motion.occlusion if factor else torch.ones_like(motion.occlusion))


# %% scaled: a power of the map, right at both ends -> half of the factor
def scaled(motion, factor):
    return lfdm.Motion(factor * motion.flow, motion.occlusion**factor)


# %% scaled: the flow as it is -> half of the way
def scaled(motion, factor):
    return lfdm.Motion(motion.flow, 1 - factor * (1 - motion.occlusion))


# %% scaled: the flow alone -> return lfdm.Motion
def scaled(motion, factor):
    return factor * motion.flow


# %% scaled: for one clip without its batch -> expected
def scaled(motion, factor):
    return lfdm.Motion(factor * motion.flow[0], 1 - factor * (1 - motion.occlusion[0]))


def _composed(upper, lower, share, time, occlusion=True, nearest=False):
    last = upper.flow.shape[2] - 1
    before = time.floor().long().clamp(max=last - 1)
    part = (time - before)[:, None, None]
    part = part.round() if nearest else part

    def mixed(a, b, share):
        both = (1 - share) * a + share * b
        return (1 - part) * both[:, :, before] + part * both[:, :, before + 1]

    return lfdm.Motion(
        mixed(upper.flow, lower.flow, share),
        mixed(upper.occlusion, lower.occlusion, share if occlusion else 0 * share),
    )


def _share(flow, seam, soft, axis=1):
    return ((lfdm.identity_grid(*flow.shape[-2:])[axis] - seam + soft) / (2 * soft)).clamp(0, 1)


def _times(flow, num_frames):
    return (flow.shape[2] - 1) * (1 - torch.linspace(-1, 1, num_frames).abs())


# %% composed: upper and lower are exchanged -> exchanged
def composed(upper, lower, seam, soft, num_frames):
    return _composed(lower, upper, _share(upper.flow, seam, soft), _times(upper.flow, num_frames))


# %% composed: left and right in place of above and below -> column
def composed(upper, lower, seam, soft, num_frames):
    return _composed(upper, lower, _share(upper.flow, seam, soft, axis=0), _times(upper.flow, num_frames))


# %% composed: a hard seam -> hard
def composed(upper, lower, seam, soft, num_frames):
    share = (lfdm.identity_grid(*upper.flow.shape[-2:])[1] > seam).float()
    return _composed(upper, lower, share, _times(upper.flow, num_frames))


# %% composed: rows from border to border -> centres
def composed(upper, lower, seam, soft, num_frames):
    y = torch.linspace(-1, 1, upper.flow.shape[-2])[:, None]
    return _composed(upper, lower, ((y - seam + soft) / (2 * soft)).clamp(0, 1), _times(upper.flow, num_frames))


# %% composed: soft is the whole width of the seam -> from seam - soft to seam + soft
def composed(upper, lower, seam, soft, num_frames):
    return _composed(upper, lower, _share(upper.flow, seam, soft / 2), _times(upper.flow, num_frames))


# %% composed: a smooth curve in place of an even one -> part 1
def composed(upper, lower, seam, soft, num_frames):
    share = _share(upper.flow, seam, soft)
    return _composed(upper, lower, share * share * (3 - 2 * share), _times(upper.flow, num_frames))


# %% composed: the occlusion map of the upper motion alone -> occlusion map must be mixed
def composed(upper, lower, seam, soft, num_frames):
    share = _share(upper.flow, seam, soft)
    return _composed(upper, lower, share, _times(upper.flow, num_frames), occlusion=False)


# %% composed: there, and not back -> then back
def composed(upper, lower, seam, soft, num_frames):
    time = torch.linspace(0, upper.flow.shape[2] - 1, num_frames)
    return _composed(upper, lower, _share(upper.flow, seam, soft), time)


# %% composed: the nearest frame -> not the nearest
def composed(upper, lower, seam, soft, num_frames):
    share = _share(upper.flow, seam, soft)
    return _composed(upper, lower, share, _times(upper.flow, num_frames), nearest=True)


# %% composed: backwards first, from the last frame to the first and on -> part 3
def composed(upper, lower, seam, soft, num_frames):
    time = (upper.flow.shape[2] - 1) * torch.linspace(-1, 1, num_frames).abs()
    return _composed(upper, lower, _share(upper.flow, seam, soft), time)


# %% composed: as many frames as there were -> expected
def composed(upper, lower, seam, soft, num_frames):
    return _composed(upper, lower, _share(upper.flow, seam, soft), _times(upper.flow, upper.flow.shape[2]))
