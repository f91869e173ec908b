"""Plausible wrong answers to the exercises of chapter 07, each with a word of the hint that it must get."""


# %% invert_step: the guess is asked where one goes -> you are at step
def invert_step(x_t, denoise, t, noisier):
    return ddim_v2(x_t, denoise(x_t, noisier), alpha_bar[t], alpha_bar[noisier])


# %% invert_step: fresh noise, as in the forward process -> fresh
def invert_step(x_t, denoise, t, noisier):
    ratio = alpha_bar[noisier] / alpha_bar[t]
    return ratio**0.5 * x_t + (1 - ratio) ** 0.5 * torch.randn_like(x_t)


# %% invert_step: new noise on the guess -> fresh
def invert_step(x_t, denoise, t, noisier):
    at = alpha_bar[noisier]
    return at**0.5 * denoise(x_t, t) + (1 - at) ** 0.5 * torch.randn_like(x_t)


# %% invert_step: the noise is left out -> shrinks
def invert_step(x_t, denoise, t, noisier):
    return alpha_bar[noisier] ** 0.5 * denoise(x_t, t)


# %% invert_step: the levels are swapped -> of the noisier step
def invert_step(x_t, denoise, t, noisier):
    return ddim_v2(x_t, denoise(x_t, t), alpha_bar[noisier], alpha_bar[t])


# %% invert_step: alpha_bar without its root -> of the noisier step
def invert_step(x_t, denoise, t, noisier):
    x0 = denoise(x_t, t)
    eps = (x_t - alpha_bar[t] * x0) / (1 - alpha_bar[t])
    return alpha_bar[noisier] * x0 + (1 - alpha_bar[noisier]) * eps


# %% even_in_lamda: even in t -> even in t
def even_in_lamda(lamdas, steps):
    return torch.linspace(len(lamdas) - 1, 0, steps).round().long().tolist()


# %% even_in_lamda: a leap to the last few steps -> largest stride
def even_in_lamda(lamdas, steps):
    return [len(lamdas) - 1, *range(steps - 2, -1, -1)]


# %% even_in_lamda: goes back once -> goes back
def even_in_lamda(lamdas, steps):
    wanted = torch.linspace(lamdas[-1].item(), lamdas[0].item(), steps)
    path = [(lamdas - value).abs().argmin().item() for value in wanted]
    path[3], path[4] = path[4], path[3]
    return path


# %% even_in_lamda: the data first -> start at the noisiest
def even_in_lamda(lamdas, steps):
    wanted = torch.linspace(lamdas[0].item(), lamdas[-1].item(), steps)
    return [(lamdas - value).abs().argmin().item() for value in wanted]


# %% even_in_lamda: the values instead of the steps -> step numbers
def even_in_lamda(lamdas, steps):
    return torch.linspace(lamdas[-1].item(), lamdas[0].item(), steps).tolist()


# %% even_in_lamda: trailing strides that never reach step 0 -> end at step 0
def even_in_lamda(lamdas, steps):
    return timesteps(len(lamdas), steps)


# %% even_in_lamda: even in a root of the signal-to-noise ratio -> stands still
def even_in_lamda(lamdas, steps):
    snr = (2 * lamdas).exp()
    wanted = torch.linspace(snr[-1].item() ** 0.25, snr[0].item() ** 0.25, steps) ** 4
    return [(snr - value).abs().argmin().item() for value in wanted]


# %% heun_step: Euler -> ask twice
def heun_step(x_t, denoise, alpha_bar_t, alpha_bar_next):
    return ddim_v2(x_t, denoise(x_t, alpha_bar_t), alpha_bar_t, alpha_bar_next)


# %% heun_step: the second step starts at the trial -> mean of both
def heun_step(x_t, denoise, alpha_bar_t, alpha_bar_next):
    trial = ddim_v2(x_t, denoise(x_t, alpha_bar_t), alpha_bar_t, alpha_bar_next)
    if alpha_bar_next == 1:
        return trial
    return ddim_v2(x_t, denoise(trial, alpha_bar_next), alpha_bar_t, alpha_bar_next)


# %% heun_step: the sum of both velocities, not their mean -> off the flow
def heun_step(x_t, denoise, alpha_bar_t, alpha_bar_next):
    kappa_t, kappa_next = (((1 - at) / at) ** 0.5 for at in (alpha_bar_t, alpha_bar_next))
    eps = (x_t - alpha_bar_t**0.5 * denoise(x_t, alpha_bar_t)) / (1 - alpha_bar_t) ** 0.5
    trial = alpha_bar_next**0.5 * (x_t / alpha_bar_t**0.5 + (kappa_next - kappa_t) * eps)
    there = (trial - alpha_bar_next**0.5 * denoise(trial, alpha_bar_next)) / (1 - alpha_bar_next) ** 0.5
    return alpha_bar_next**0.5 * (x_t / alpha_bar_t**0.5 + (kappa_next - kappa_t) * (eps + there))


# %% heun_step: the shrinking is not undone -> x / alpha
def heun_step(x_t, denoise, alpha_bar_t, alpha_bar_next):
    kappa_t, kappa_next = (((1 - at) / at) ** 0.5 for at in (alpha_bar_t, alpha_bar_next))
    eps = (x_t - alpha_bar_t**0.5 * denoise(x_t, alpha_bar_t)) / (1 - alpha_bar_t) ** 0.5
    trial = x_t + (kappa_next - kappa_t) * eps
    there = (trial - alpha_bar_next**0.5 * denoise(trial, alpha_bar_next)) / (1 - alpha_bar_next) ** 0.5
    return x_t + (kappa_next - kappa_t) * (eps + there) / 2


# %% heun_step: divides by the noise of clean data -> last step
def heun_step(x_t, denoise, alpha_bar_t, alpha_bar_next):
    kappa_t, kappa_next = (((1 - at) / at) ** 0.5 for at in (alpha_bar_t, alpha_bar_next))
    eps = (x_t - alpha_bar_t**0.5 * denoise(x_t, alpha_bar_t)) / (1 - alpha_bar_t) ** 0.5
    trial = alpha_bar_next**0.5 * (x_t / alpha_bar_t**0.5 + (kappa_next - kappa_t) * eps)
    there = (trial - alpha_bar_next**0.5 * denoise(trial, alpha_bar_next)) / max(1 - alpha_bar_next, 1e-12) ** 0.5
    return alpha_bar_next**0.5 * (x_t / alpha_bar_t**0.5 + (kappa_next - kappa_t) * (eps + there) / 2)


# %% shrinking_levels: even in kappa -> even in kappa
def shrinking_levels(first, last, steps):
    kappa = torch.linspace(first, last, steps).double()
    return [*(1 / (1 + kappa**2)).tolist(), 1.0]


# %% shrinking_levels: even in lambda -> even in lambda
def shrinking_levels(first, last, steps):
    kappa = torch.linspace(math.log(first), math.log(last), steps).double().exp()
    return [*(1 / (1 + kappa**2)).tolist(), 1.0]


# %% shrinking_levels: no clean data behind -> behind them
def shrinking_levels(first, last, steps):
    kappa = torch.linspace(first ** (1 / 7), last ** (1 / 7), steps).double() ** 7
    return (1 / (1 + kappa**2)).tolist()


# %% shrinking_levels: kappa itself -> levels are alpha_bar
def shrinking_levels(first, last, steps):
    return [*(torch.linspace(first ** (1 / 7), last ** (1 / 7), steps).double() ** 7).tolist(), 1.0]


# %% shrinking_levels: the data first -> asked was
def shrinking_levels(first, last, steps):
    kappa = torch.linspace(last ** (1 / 7), first ** (1 / 7), steps).double() ** 7
    return [*(1 / (1 + kappa**2)).tolist(), 1.0]


# %% shrinking_levels: the cube root -> seventh
def shrinking_levels(first, last, steps):
    kappa = torch.linspace(first ** (1 / 3), last ** (1 / 3), steps).double() ** 3
    return [*(1 / (1 + kappa**2)).tolist(), 1.0]


# %% heun_sample: Euler all the way -> you asked
def heun_sample(x, denoise, levels):
    for at, at_next in pairwise(levels):
        x = ddim_v2(x, denoise(x, at), at, at_next)
    return x


# %% heun_sample: every step starts at the noise -> each step starts
def heun_sample(x, denoise, levels):
    for at, at_next in pairwise(levels):
        end = heun_step(x, denoise, at, at_next)
    return end


# %% heun_sample: the levels the other way round -> back and forth
def heun_sample(x, denoise, levels):
    for at, at_next in pairwise([*levels[-2::-1], 1.0]):
        x = heun_step(x, denoise, at, at_next)
    return x


# %% heun_sample: stops before clean data -> you asked
def heun_sample(x, denoise, levels):
    for at, at_next in pairwise(levels[:-1]):
        x = heun_step(x, denoise, at, at_next)
    return x
