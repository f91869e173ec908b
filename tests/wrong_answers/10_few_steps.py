# Plausible wrong answers to the exercises of chapter 10; see tests/exercises.py for the form.

# %% chain_level: the share of the noise -> share of the noise
def chain_level(t):
    return t**2 / ((1 - t) ** 2 + t**2)


# %% chain_level: alpha is returned -> its square
def chain_level(t):
    return (1 - t) / ((1 - t) ** 2 + t**2).sqrt()


# %% chain_level: not brought to variance 1 -> divide by their sum
def chain_level(t):
    return (1 - t) ** 2


# %% chain_level: deviations are added -> variances add up
def chain_level(t):
    return (1 - t) / ((1 - t) + t)


# %% chain_level: the signal is taken for what the noise leaves -> fill
def chain_level(t):
    return 1 - t**2


# %% chain_level: by the ratio of signal to noise, which has no end at t = 0 -> divide by 0
def chain_level(t):
    ratio = ((1 - t) / t) ** 2
    return ratio / (1 + ratio)


# %% straight_target: the velocity is returned -> follow it
def straight_target(x_t, x_next, t, t_next):
    return (x_next - x_t) / (t_next - t)[:, None]


# %% straight_target: from x_t by the time of x_next -> not t_next
def straight_target(x_t, x_next, t, t_next):
    return x_t - t_next[:, None] * (x_next - x_t) / (t_next - t)[:, None]


# %% straight_target: from x_next by the time of x_t -> only t_next
def straight_target(x_t, x_next, t, t_next):
    return x_next - t[:, None] * (x_next - x_t) / (t_next - t)[:, None]


# %% straight_target: the sign is turned -> sign
def straight_target(x_t, x_next, t, t_next):
    return x_t + t[:, None] * (x_next - x_t) / (t_next - t)[:, None]


# %% straight_target: the other end of the line -> noise
def straight_target(x_t, x_next, t, t_next):
    return x_t + (1 - t)[:, None] * (x_next - x_t) / (t_next - t)[:, None]


# %% straight_target: not divided by the time between -> divide
def straight_target(x_t, x_next, t, t_next):
    return x_t + t[:, None] * (x_next - x_t)


# %% straight_target: where the teacher came to -> on the way
def straight_target(x_t, x_next, t, t_next):
    return x_next


# %% straight_target: times are not shaped to multiply places -> it stops
def straight_target(x_t, x_next, t, t_next):
    return x_t - t * (x_next - x_t) / (t_next - t)


# %% many_guesses: the noise that the guess implies -> DDIM
def many_guesses(guess, x, path, noises):
    x0 = guess(x, path[0])
    for step, next_step in zip(path, path[1:]):
        eps = (x - process.alpha[step] * x0) / process.sigma[step]
        x = process.alpha[next_step] * x0 + process.sigma[next_step] * eps
        x0 = guess(x, next_step)
    return x0


# %% many_guesses: always the first noise -> for each pass
def many_guesses(guess, x, path, noises):
    x0 = guess(x, path[0])
    for step in path[1:]:
        x0 = guess(process.alpha[step] * x0 + process.sigma[step] * x, step)
    return x0


# %% many_guesses: the last noisy place is returned -> return the guess
def many_guesses(guess, x, path, noises):
    x0 = guess(x, path[0])
    for step, fresh in zip(path[1:], noises):
        x = process.alpha[step] * x0 + process.sigma[step] * fresh
        x0 = guess(x, step)
    return x


# %% many_guesses: noise of the level before -> brought to
def many_guesses(guess, x, path, noises):
    x0 = guess(x, path[0])
    for before, step, fresh in zip(path, path[1:], noises):
        x0 = guess(process.alpha[before] * x0 + process.sigma[before] * fresh, step)
    return x0


# %% many_guesses: alpha and sigma are exchanged -> sigma with the noise
def many_guesses(guess, x, path, noises):
    x0 = guess(x, path[0])
    for step, fresh in zip(path[1:], noises):
        x0 = guess(process.sigma[step] * x0 + process.alpha[step] * fresh, step)
    return x0


# %% many_guesses: the guess is not scaled -> scaled
def many_guesses(guess, x, path, noises):
    x0 = guess(x, path[0])
    for step, fresh in zip(path[1:], noises):
        x0 = guess(x0 + process.sigma[step] * fresh, step)
    return x0


# %% many_guesses: noise is put on the place -> made from
def many_guesses(guess, x, path, noises):
    for step, fresh in zip(path[1:], noises):
        x = process.alpha[step] * x + process.sigma[step] * fresh
    return guess(x, path[-1])


# %% many_guesses: one guess and no more -> as many as
def many_guesses(guess, x, path, noises):
    return guess(x, path[0])


# %% many_guesses: asked at the level before -> brought the place to
def many_guesses(guess, x, path, noises):
    x0 = guess(x, path[0])
    for before, step, fresh in zip(path, path[1:], noises):
        x0 = guess(process.alpha[step] * x0 + process.sigma[step] * fresh, before)
    return x0
