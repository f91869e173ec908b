# %% walk_on | right | a loop over the examples that walks the chain
def walk_on(x_t, t, later, alpha_bar, eps):
    rows = []
    for i in range(len(x_t)):
        factor, variance, before = 1.0, 0.0, 1.0
        for step in range(later[i] + 1):
            share = float(alpha_bar[step]) / before
            before = float(alpha_bar[step])
            if step > t[i]:
                factor, variance = factor * share**0.5, share * variance + 1 - share
        rows.append(factor * x_t[i] + variance**0.5 * eps[i])
    return torch.stack(rows)


# %% walk_on | right | in log space
def walk_on(x_t, t, later, alpha_bar, eps):
    log = torch.cat([alpha_bar.new_zeros(1), alpha_bar.log()])
    gone = (log[later + 1] - log[t + 1]).view(-1, *[1] * (x_t.dim() - 1))
    return torch.exp(gone / 2) * x_t + torch.sqrt(-torch.expm1(gone)) * eps


# %% walk_on | wrong | as if from clean data | way from clean data; x_t has lost signal already | walk_on-2, walk_on-3, walk_on-4
def walk_on(x_t, t, later, alpha_bar, eps):
    at = alpha_bar[later].reshape(-1, *[1] * (x_t.ndim - 1))
    return torch.where(at < 1, at.sqrt() * x_t + (1 - at).sqrt() * eps, x_t)


# %% walk_on | wrong | alpha_bar[-1] for clean data | alpha_bar[-1] is the last step | walk_on-1, walk_on-2, walk_on-3
def walk_on(x_t, t, later, alpha_bar, eps):
    left = (alpha_bar[later] / alpha_bar[t]).reshape(-1, *[1] * (x_t.ndim - 1))
    return left.sqrt() * x_t + (1 - left).sqrt() * eps


# %% walk_on | wrong | the difference of the variances is fresh | old noise shrinks too | walk_on-2, walk_on-3, walk_on-4
def walk_on(x_t, t, later, alpha_bar, eps):
    every = torch.cat([torch.ones(1).double(), alpha_bar])
    shape = (-1, *[1] * (x_t.ndim - 1))
    now, then = every[t + 1].view(shape), every[later + 1].view(shape)
    return (then / now).sqrt() * x_t + (now - then).sqrt() * eps


# %% walk_on | wrong | no root of the signal's share | square root of a share of variance | walk_on-1, walk_on-2, walk_on-3, walk_on-4
def walk_on(x_t, t, later, alpha_bar, eps):
    every = torch.cat([torch.ones(1).double(), alpha_bar])
    left = (every[later + 1] / every[t + 1]).reshape(-1, *[1] * (x_t.ndim - 1))
    return left * x_t + (1 - left).sqrt() * eps


# %% walk_on | wrong | no root of the noise's variance | multiplied by its square root | walk_on-1, walk_on-2, walk_on-3, walk_on-4
def walk_on(x_t, t, later, alpha_bar, eps):
    every = torch.cat([torch.ones(1).double(), alpha_bar])
    left = (every[later + 1] / every[t + 1]).reshape(-1, *[1] * (x_t.ndim - 1))
    return left.sqrt() * x_t + (1 - left) * eps


# %% walk_on | wrong | one step too early | one step too early | walk_on-1, walk_on-2, walk_on-3, walk_on-4
def walk_on(x_t, t, later, alpha_bar, eps):
    every = torch.cat([torch.ones(1).double(), alpha_bar])
    left = (every[later] / every[t.clamp(min=0)]).reshape(-1, *[1] * (x_t.ndim - 1))
    return left.sqrt() * x_t + (1 - left).sqrt() * eps


# %% walk_on | wrong | the difference of the deviations is fresh | add up in variance, not in deviation | walk_on-2, walk_on-3, walk_on-4
def walk_on(x_t, t, later, alpha_bar, eps):
    every = torch.cat([torch.ones(1).double(), alpha_bar])
    shape = (-1, *[1] * (x_t.ndim - 1))
    now, then = every[t + 1].view(shape), every[later + 1].view(shape)
    return (then / now).sqrt() * x_t + ((1 - then).sqrt() - (1 - now).sqrt()) * eps


# %% walk_on | wrong | reads the notebook's alpha_bar | not the alpha_bar that your function is given | walk_on-3
def walk_on(x_t, t, later, alpha_bar, eps):
    every = torch.cat([torch.ones(1).double(), ALPHA_BAR])
    left = (every[later + 1] / every[t + 1]).reshape(-1, *[1] * (x_t.ndim - 1))
    return left.sqrt() * x_t + (1 - left).sqrt() * eps


# %% walk_on | wrong | changes the noise | eps after the call (your function changes its input in place | walk_on-4
def walk_on(x_t, t, later, alpha_bar, eps):
    every = torch.cat([torch.ones(1).double(), alpha_bar])
    left = (every[later + 1] / every[t + 1]).reshape(-1, *[1] * (x_t.ndim - 1))
    eps *= (1 - left).sqrt()
    return left.sqrt() * x_t + eps


# %% walk_on | wrong | changes its input | changes its input in place | walk_on-4
def walk_on(x_t, t, later, alpha_bar, eps):
    every = torch.cat([torch.ones(1).double(), alpha_bar])
    left = (every[later + 1] / every[t + 1]).reshape(-1, *[1] * (x_t.ndim - 1))
    x_t *= left.sqrt()
    x_t += (1 - left).sqrt() * eps
    return x_t


# %% walk_on | wrong | two axes only | must match the size | walk_on-1, walk_on-3, walk_on-4
def walk_on(x_t, t, later, alpha_bar, eps):
    every = torch.cat([torch.ones(1).double(), alpha_bar])
    left = (every[later + 1] / every[t + 1])[:, None]
    return left.sqrt() * x_t + (1 - left).sqrt() * eps


# %% walk_on | wrong | in float32 | too coarse | walk_on-1, walk_on-2, walk_on-3, walk_on-4
def walk_on(x_t, t, later, alpha_bar, eps):
    every = torch.cat([torch.ones(1).double(), alpha_bar])
    left = (every[later + 1] / every[t + 1]).reshape(-1, *[1] * (x_t.ndim - 1)).float()
    return left.sqrt() * x_t.float() + (1 - left).sqrt() * eps.float()


# %% betas_for | right | a loop over noise-to-signal ratios
def betas_for(beta, tau):
    n, found = 0.0, []
    for b in beta.tolist():
        n_next = (n + b) / (1 - b)
        found.append(tau**2 * (n_next - n) / (1 + tau**2 * n_next))
        n = n_next
    return torch.tensor(found, dtype=torch.float64)


# %% betas_for | right | by lambda
def betas_for(beta, tau):
    log = torch.log1p(-beta).cumsum(0)
    lamda = 0.5 * (log - torch.log(-torch.expm1(log))) - math.log(tau)
    share = torch.nn.functional.logsigmoid(2 * lamda)
    return -torch.expm1(share.diff(prepend=share.new_zeros(1)))


# %% betas_for | wrong | the other way | went the other way | betas_for-2, betas_for-3, betas_for-4
def betas_for(beta, tau):
    alpha_bar = torch.cumprod(1 - beta, 0)
    wanted = alpha_bar * tau**2 / (alpha_bar * tau**2 + 1 - alpha_bar)
    return 1 - wanted / torch.cat([torch.ones(1).double(), wanted[:-1]])


# %% betas_for | wrong | tau is not squared | the deviation is squared | betas_for-2, betas_for-3, betas_for-4
def betas_for(beta, tau):
    alpha_bar = torch.cumprod(1 - beta, 0)
    wanted = alpha_bar / (alpha_bar + tau * (1 - alpha_bar))
    return 1 - wanted / torch.cat([torch.ones(1).double(), wanted[:-1]])


# %% betas_for | wrong | divides alpha_bar | it is the SNR that changes | betas_for-2, betas_for-3, betas_for-4
def betas_for(beta, tau):
    wanted = torch.cumprod(1 - beta, 0) / tau**2
    return 1 - wanted / torch.cat([torch.ones(1).double(), wanted[:-1]])


# %% betas_for | wrong | multiplies the betas | Multiplying beta is not | betas_for-2, betas_for-3, betas_for-4
def betas_for(beta, tau):
    return tau**2 * beta


# %% betas_for | wrong | returns alpha_bar | These are the shares of signal | betas_for-1, betas_for-2, betas_for-3, betas_for-4
def betas_for(beta, tau):
    alpha_bar = torch.cumprod(1 - beta, 0)
    return alpha_bar / (alpha_bar + tau**2 * (1 - alpha_bar))


# %% betas_for | wrong | returns 1 - alpha_bar | That is 1 - alpha_bar | betas_for-1, betas_for-3, betas_for-4
def betas_for(beta, tau):
    alpha_bar = torch.cumprod(1 - beta, 0)
    return 1 - alpha_bar / (alpha_bar + tau**2 * (1 - alpha_bar))


# %% betas_for | wrong | forgets the step before the first | before the first step the share of signal is 1 | betas_for-1, betas_for-2, betas_for-3, betas_for-4
def betas_for(beta, tau):
    alpha_bar = torch.cumprod(1 - beta, 0)
    wanted = alpha_bar / (alpha_bar + tau**2 * (1 - alpha_bar))
    return 1 - wanted / torch.cat([wanted[:1], wanted[:-1]])


# %% betas_for | wrong | one beta is missing | has the shape | betas_for-1, betas_for-2, betas_for-3, betas_for-4
def betas_for(beta, tau):
    alpha_bar = torch.cumprod(1 - beta, 0)
    wanted = alpha_bar / (alpha_bar + tau**2 * (1 - alpha_bar))
    return 1 - wanted[1:] / wanted[:-1]


# %% betas_for | wrong | hard-coded to the first test | The chain is as it was | betas_for-2, betas_for-3, betas_for-4
def betas_for(beta, tau):
    return beta.clone()


# %% betas_for | wrong | in float32 | too coarse | betas_for-1, betas_for-2, betas_for-3, betas_for-4
def betas_for(beta, tau):
    alpha_bar = torch.cumprod(1 - beta.float(), 0)
    wanted = alpha_bar / (alpha_bar + tau**2 * (1 - alpha_bar))
    return 1 - wanted / torch.cat([torch.ones(1), wanted[:-1]])


# %% betas_for | wrong | changes its input | changes its input in place | betas_for-4
def betas_for(beta, tau):
    alpha_bar = torch.cumprod(beta.neg_().add_(1), 0)
    wanted = alpha_bar / (alpha_bar + tau**2 * (1 - alpha_bar))
    return 1 - wanted / torch.cat([torch.ones(1).double(), wanted[:-1]])


# %% as_v | right | v in one line, one example at a time
def as_v(edm, x_t, t, alpha_bar):
    a = alpha_bar[t]
    guess = edm(x_t / a.sqrt().unsqueeze(1), torch.sqrt(1 / a - 1))
    rows = [(at.sqrt() * x - x0) / (1 - at).sqrt() for at, x, x0 in zip(a, x_t, guess, strict=True)]
    return torch.stack(rows)


# %% as_v | right | by the angle
def as_v(edm, x_t, t, alpha_bar):
    phi = torch.acos(alpha_bar[t].sqrt())
    cos, sin = phi.cos()[:, None], phi.sin()[:, None]
    return cos / sin * x_t - edm(x_t / cos, phi.tan()) / sin


# %% as_v | wrong | x_t is not brought to scale | The network knows no shrinking | as_v-1, as_v-3, as_v-4
def as_v(edm, x_t, t, alpha_bar):
    alpha, sigma = alpha_bar[t].sqrt()[:, None], (1 - alpha_bar[t]).sqrt()[:, None]
    x0 = edm(x_t, (sigma / alpha)[:, 0])
    return alpha * (x_t - alpha * x0) / sigma - sigma * x0


# %% as_v | wrong | x_t is shrunken once more | You shrink the point once more | as_v-1, as_v-3, as_v-4
def as_v(edm, x_t, t, alpha_bar):
    alpha, sigma = alpha_bar[t].sqrt()[:, None], (1 - alpha_bar[t]).sqrt()[:, None]
    x0 = edm(x_t * alpha, (sigma / alpha)[:, 0])
    return alpha * (x_t - alpha * x0) / sigma - sigma * x0


# %% as_v | wrong | v of unshrunken points | That is v / alpha | as_v-2, as_v-3
def as_v(edm, x_t, t, alpha_bar):
    kappa = (1 / alpha_bar[t] - 1).sqrt()
    y = x_t / alpha_bar[t].sqrt()[:, None]
    x0 = edm(y, kappa)
    return (y - x0) / kappa[:, None] - kappa[:, None] * x0


# %% as_v | wrong | the noise of y in units of sigma | has the deviation kappa, not sigma | as_v-1, as_v-2, as_v-3
def as_v(edm, x_t, t, alpha_bar):
    alpha, sigma = alpha_bar[t].sqrt()[:, None], (1 - alpha_bar[t]).sqrt()[:, None]
    x0 = edm(x_t / alpha, (sigma / alpha)[:, 0])
    return alpha * (x_t / alpha - x0) / sigma - sigma * x0


# %% as_v | wrong | takes x0 from x_t unshrunken | x_t holds alpha x0 and not x0 | as_v-1, as_v-2, as_v-3
def as_v(edm, x_t, t, alpha_bar):
    alpha, sigma = alpha_bar[t].sqrt()[:, None], (1 - alpha_bar[t]).sqrt()[:, None]
    x0 = edm(x_t / alpha, (sigma / alpha)[:, 0])
    return alpha * (x_t - x0) / sigma - sigma * x0


# %% as_v | wrong | reads the notebook's alpha_bar | not the alpha_bar that your function is given | as_v-2
def as_v(edm, x_t, t, alpha_bar):
    alpha, sigma = ALPHA_BAR[t].sqrt()[:, None], (1 - ALPHA_BAR[t]).sqrt()[:, None]
    x0 = edm(x_t / alpha, (sigma / alpha)[:, 0])
    return alpha * (x_t - alpha * x0) / sigma - sigma * x0


# %% as_v | wrong | sigma for kappa | kappa is sigma / alpha, the noise in units | as_v-1, as_v-3, as_v-4
def as_v(edm, x_t, t, alpha_bar):
    alpha, sigma = alpha_bar[t].sqrt()[:, None], (1 - alpha_bar[t]).sqrt()[:, None]
    x0 = edm(x_t / alpha, sigma[:, 0])
    return alpha * (x_t - alpha * x0) / sigma - sigma * x0


# %% as_v | wrong | kappa upside down | not alpha / sigma | as_v-1, as_v-3, as_v-4
def as_v(edm, x_t, t, alpha_bar):
    alpha, sigma = alpha_bar[t].sqrt()[:, None], (1 - alpha_bar[t]).sqrt()[:, None]
    x0 = edm(x_t / alpha, (alpha / sigma)[:, 0])
    return alpha * (x_t - alpha * x0) / sigma - sigma * x0


# %% as_v | wrong | kappa squared | kappa squared, the ratio of the variances | as_v-1, as_v-3, as_v-4
def as_v(edm, x_t, t, alpha_bar):
    alpha, sigma = alpha_bar[t].sqrt()[:, None], (1 - alpha_bar[t]).sqrt()[:, None]
    x0 = edm(x_t / alpha, (sigma / alpha)[:, 0] ** 2)
    return alpha * (x_t - alpha * x0) / sigma - sigma * x0


# %% as_v | wrong | the sign of v | The sign is wrong | as_v-2, as_v-3
def as_v(edm, x_t, t, alpha_bar):
    alpha, sigma = alpha_bar[t].sqrt()[:, None], (1 - alpha_bar[t]).sqrt()[:, None]
    x0 = edm(x_t / alpha, (sigma / alpha)[:, 0])
    return sigma * x0 - alpha * (x_t - alpha * x0) / sigma


# %% as_v | wrong | alpha and sigma swapped in v | alpha and sigma are swapped | as_v-1, as_v-2, as_v-3
def as_v(edm, x_t, t, alpha_bar):
    alpha, sigma = alpha_bar[t].sqrt()[:, None], (1 - alpha_bar[t]).sqrt()[:, None]
    x0 = edm(x_t / alpha, (sigma / alpha)[:, 0])
    return sigma * (x_t - alpha * x0) / sigma - alpha * x0


# %% as_v | wrong | returns the noise | That is the guess of the noise | as_v-1, as_v-2, as_v-3
def as_v(edm, x_t, t, alpha_bar):
    alpha, sigma = alpha_bar[t].sqrt()[:, None], (1 - alpha_bar[t]).sqrt()[:, None]
    return (x_t - alpha * edm(x_t / alpha, (sigma / alpha)[:, 0])) / sigma


# %% as_v | wrong | returns the guess of the data | That is the guess of x0 | as_v-1, as_v-2, as_v-3
def as_v(edm, x_t, t, alpha_bar):
    alpha, sigma = alpha_bar[t].sqrt()[:, None], (1 - alpha_bar[t]).sqrt()[:, None]
    return edm(x_t / alpha, (sigma / alpha)[:, 0])


# %% as_v | wrong | alpha_bar for alpha | square root of alpha_bar | as_v-1, as_v-2, as_v-3, as_v-4
def as_v(edm, x_t, t, alpha_bar):
    alpha, sigma = alpha_bar[t][:, None], (1 - alpha_bar[t])[:, None]
    x0 = edm(x_t / alpha, (sigma / alpha)[:, 0].sqrt())
    return alpha * (x_t - alpha * x0) / sigma - sigma * x0


# %% as_v | wrong | hard-coded to the first test | - | as_v-2, as_v-3, as_v-4
def as_v(edm, x_t, t, alpha_bar):
    return torch.zeros_like(x_t)


# %% as_v | wrong | asks twice | number of times that the network is asked | as_v-4
def as_v(edm, x_t, t, alpha_bar):
    alpha, sigma = alpha_bar[t].sqrt()[:, None], (1 - alpha_bar[t]).sqrt()[:, None]
    kappa = (sigma / alpha)[:, 0]
    eps = (x_t - alpha * edm(x_t / alpha, kappa)) / sigma
    return alpha * eps - sigma * edm(x_t / alpha, kappa)


# %% as_v | wrong | changes its input | changes its input in place | as_v-4
def as_v(edm, x_t, t, alpha_bar):
    alpha, sigma = alpha_bar[t].sqrt()[:, None], (1 - alpha_bar[t]).sqrt()[:, None]
    y = x_t.div_(alpha)
    x0 = edm(y, (sigma / alpha)[:, 0])
    return alpha * (alpha * y - alpha * x0) / sigma - sigma * x0


# %% between | right | conditioning a Gaussian
def between(x_near, x_far, near, middle, far):
    first, second = middle / near, far / middle
    covariance = second**0.5 * (1 - first)
    gain = covariance / (1 - far / near)
    mean = first**0.5 * x_near + gain * (x_far - (far / near) ** 0.5 * x_near)
    return mean, (1 - first) - gain * covariance


# %% between | right | completing the square, with the ends apart
def between(x_near, x_far, near, middle, far):
    if middle == near or middle == far:
        return (x_near if middle == near else x_far).clone(), 0.0
    first, second = middle / near, far / middle
    A = second / (1 - second) + 1 / (1 - first)
    return (second**0.5 / (1 - second) * x_far + first**0.5 / (1 - first) * x_near) / A, 1 / A


# %% between | wrong | takes the near point for clean data | The near point is no clean data | between-2, between-3, between-4
def between(x_near, x_far, near, middle, far):
    second = far / middle
    mean = middle**0.5 * (1 - second) * x_near + second**0.5 * (1 - middle) * x_far
    return mean / (1 - far), (1 - middle) * (1 - second) / (1 - far)


# %% between | wrong | a straight line between the points | A straight line between the points | between-1, between-2, between-4
def between(x_near, x_far, near, middle, far):
    share = (near - middle) / (near - far)
    first, second = middle / near, far / middle
    return (1 - share) * x_near + share * x_far, (1 - first) * (1 - second) / (1 - first * second)


# %% between | wrong | a straight line, with a variance of its own | A straight line between the points | between-1, between-2, between-4
def between(x_near, x_far, near, middle, far):
    share = (near - middle) / (near - far)
    return (1 - share) * x_near + share * x_far, share * (1 - share)


# %% between | wrong | the right mean, the variance of who knows the near point | The near point alone says this | between-1, between-2, between-3, between-4
def between(x_near, x_far, near, middle, far):
    first, second = middle / near, far / middle
    mean = first**0.5 * (1 - second) * x_near + second**0.5 * (1 - first) * x_far
    return mean / (1 - first * second), 1 - first


# %% between | wrong | the far point's weight without the shrinking | The far point holds the middle shrunken | between-1, between-2, between-4
def between(x_near, x_far, near, middle, far):
    first, second = middle / near, far / middle
    mean = first**0.5 * (1 - second) * x_near + (1 - first) * x_far
    return mean / (1 - first * second), (1 - first) * (1 - second) / (1 - first * second)


# %% between | wrong | ignores the far point | the far point knows something too | between-1, between-2, between-3, between-4
def between(x_near, x_far, near, middle, far):
    return (middle / near) ** 0.5 * x_near, 1 - middle / near


# %% between | wrong | the variance of a forward step | knowing both ends leaves less | between-1, between-2, between-3, between-4
def between(x_near, x_far, near, middle, far):
    first, second = middle / near, far / middle
    mean = first**0.5 * (1 - second) * x_near + second**0.5 * (1 - first) * x_far
    return mean / (1 - first * second), 1 - second


# %% between | wrong | the deviation for the variance | not its square root | between-1, between-2, between-4
def between(x_near, x_far, near, middle, far):
    first, second = middle / near, far / middle
    mean = first**0.5 * (1 - second) * x_near + second**0.5 * (1 - first) * x_far
    return mean / (1 - first * second), ((1 - first) * (1 - second) / (1 - first * second)) ** 0.5


# %% between | wrong | swaps the weights | The two weights are swapped | between-1, between-2, between-3, between-4
def between(x_near, x_far, near, middle, far):
    first, second = middle / near, far / middle
    mean = first**0.5 * (1 - first) * x_near + second**0.5 * (1 - second) * x_far
    return mean / (1 - first * second), (1 - first) * (1 - second) / (1 - first * second)


# %% between | wrong | completes the square and divides by zero at the ends | divides by zero there | between-3
def between(x_near, x_far, near, middle, far):
    first, second = middle / near, far / middle
    A = second / (1 - second) + 1 / (1 - first)
    B = second**0.5 / (1 - second) * x_far + first**0.5 / (1 - first) * x_near
    return B / A, 1 / A


# %% between | wrong | changes its input | changes its input in place | between-3
def between(x_near, x_far, near, middle, far):
    first, second = middle / near, far / middle
    mean = x_near.mul(first**0.5 * (1 - second)) + x_far.mul_(second**0.5 * (1 - first))
    return mean / (1 - first * second), (1 - first) * (1 - second) / (1 - first * second)


# %% between | wrong | the mean alone | should be 2 things | between-1, between-2, between-3, between-4
def between(x_near, x_far, near, middle, far):
    first, second = middle / near, far / middle
    mean = first**0.5 * (1 - second) * x_near + second**0.5 * (1 - first) * x_far
    return mean / (1 - first * second)


# %% mended | right | an Euler step in the clock kappa, and noise added behind it
def mended(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    x, levels = noises[0], [*(alpha_bar[t].item() for t in path), 1.0]
    for i, (at, at_next) in enumerate(pairwise(levels)):
        x0 = denoise(x, path[i])
        x0 = x0 if limit is None else torch.clip(x0, -limit, limit)
        beta = 1 - at / at_next
        fresh = eta * (beta * (1 - at_next) / (1 - at)) ** 0.5
        eps = (x - at**0.5 * x0) / (1 - at) ** 0.5
        x = at_next**0.5 * x0 + math.sqrt(max(1 - at_next - fresh * fresh, 0)) * eps
        if i + 1 < len(path):
            x = x + fresh * noises[i + 1]
    return x


# %% mended | wrong | as it was given | The samples still hold the noise | mended-1, mended-2, mended-3, mended-4
def mended(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    return broken(denoise, noises, path, alpha_bar, eta, limit)


# %% mended | wrong | the last step only | must make room for the fresh | mended-2, mended-3, mended-4
def mended(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    x0 = denoise(broken(denoise, noises, path, alpha_bar, eta, limit), path[-1])
    return x0 if limit is None else x0.clamp(-limit, limit)


# %% mended | wrong | all but the last step | one step is left, to clean data | mended-1, mended-4
def mended(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    cut = (lambda x: x) if limit is None else (lambda x: x.clamp(-limit, limit))
    x = noises[0]
    for i, (t, t_next) in enumerate(pairwise(path)):
        at, at_next, x0 = alpha_bar[t], alpha_bar[t_next], cut(denoise(x, t))
        eps = (x - at.sqrt() * x0) / (1 - at).sqrt()
        fresh = eta * ((1 - at_next) / (1 - at) * (1 - at / at_next)).sqrt()
        x = at_next.sqrt() * x0 + (1 - at_next - fresh**2).clamp(min=0).sqrt() * eps + fresh * noises[i + 1]
    return x


# %% mended | wrong | alpha_bar[-1] in the last step | alpha_bar[-1] is the noisiest step | mended-1, mended-2, mended-3, mended-4
def mended(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    x = noises[0]
    for i, (t, t_next) in enumerate(pairwise([*path, -1])):
        at, at_next = alpha_bar[t], alpha_bar[t_next]
        x0 = denoise(x, t)
        if limit is not None:
            x0 = x0.clamp(-limit, limit)
        eps = (x - at.sqrt() * x0) / (1 - at).sqrt()
        fresh = eta * ((1 - at_next) / (1 - at) * (1 - at / at_next).clamp(min=0)).sqrt()
        x = at_next.sqrt() * x0 + (1 - at_next - fresh**2).clamp(min=0).sqrt() * eps
        if t_next >= 0:
            x = x + fresh * noises[i + 1]
    return x


# %% mended | wrong | the noise is not made to follow the cut guess | before it was cut | mended-3, mended-4
def mended(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    cut = (lambda x: x) if limit is None else (lambda x: x.clamp(-limit, limit))
    x = noises[0]
    for i, (t, t_next) in enumerate(pairwise(path)):
        at, at_next = alpha_bar[t], alpha_bar[t_next]
        x0 = denoise(x, t)
        eps = (x - at.sqrt() * x0) / (1 - at).sqrt()
        fresh = eta * ((1 - at_next) / (1 - at) * (1 - at / at_next)).sqrt()
        x = at_next.sqrt() * cut(x0) + (1 - at_next - fresh**2).clamp(min=0).sqrt() * eps + fresh * noises[i + 1]
    return cut(denoise(x, path[-1]))


# %% mended | wrong | takes the fresh deviation from a variance | must be squared before it is taken | mended-2, mended-4
def mended(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    cut = (lambda x: x) if limit is None else (lambda x: x.clamp(-limit, limit))
    x = noises[0]
    for i, (t, t_next) in enumerate(pairwise(path)):
        at, at_next, x0 = alpha_bar[t], alpha_bar[t_next], cut(denoise(x, t))
        eps = (x - at.sqrt() * x0) / (1 - at).sqrt()
        fresh = eta * ((1 - at_next) / (1 - at) * (1 - at / at_next)).sqrt()
        x = at_next.sqrt() * x0 + (1 - at_next - fresh).clamp(min=0).sqrt() * eps + fresh * noises[i + 1]
    return cut(denoise(x, path[-1]))


# %% mended | wrong | deviations are subtracted | Variances add up, not deviations | mended-2, mended-4
def mended(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    cut = (lambda x: x) if limit is None else (lambda x: x.clamp(-limit, limit))
    x = noises[0]
    for i, (t, t_next) in enumerate(pairwise(path)):
        at, at_next, x0 = alpha_bar[t], alpha_bar[t_next], cut(denoise(x, t))
        eps = (x - at.sqrt() * x0) / (1 - at).sqrt()
        fresh = eta * ((1 - at_next) / (1 - at) * (1 - at / at_next)).sqrt()
        x = at_next.sqrt() * x0 + ((1 - at_next).sqrt() - fresh) * eps + fresh * noises[i + 1]
    return cut(denoise(x, path[-1]))


# %% mended | wrong | no noise is put back | No fresh noise arrives | mended-2, mended-4
def mended(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    x = noises[0]
    for t, t_next in pairwise(path):
        at, at_next, x0 = alpha_bar[t], alpha_bar[t_next], denoise(x, t)
        if limit is not None:
            x0 = x0.clamp(-limit, limit)
        x = at_next.sqrt() * x0 + (1 - at_next).sqrt() * (x - at.sqrt() * x0) / (1 - at).sqrt()
    return denoise(x, path[-1]) if limit is None else denoise(x, path[-1]).clamp(-limit, limit)


# %% mended | wrong | squares eta | eta scales the deviation of the noise, and is not squared | mended-2, mended-4
def mended(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    cut = (lambda x: x) if limit is None else (lambda x: x.clamp(-limit, limit))
    x = noises[0]
    for i, (t, t_next) in enumerate(pairwise(path)):
        at, at_next, x0 = alpha_bar[t], alpha_bar[t_next], cut(denoise(x, t))
        eps = (x - at.sqrt() * x0) / (1 - at).sqrt()
        fresh = eta**2 * ((1 - at_next) / (1 - at) * (1 - at / at_next)).sqrt()
        x = at_next.sqrt() * x0 + (1 - at_next - fresh**2).clamp(min=0).sqrt() * eps + fresh * noises[i + 1]
    return cut(denoise(x, path[-1]))


# %% mended | wrong | the last guess is not cut | The last guess is to be cut, too | mended-3, mended-4
def mended(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    cut = (lambda x: x) if limit is None else (lambda x: x.clamp(-limit, limit))
    x = noises[0]
    for i, (t, t_next) in enumerate(pairwise(path)):
        at, at_next, x0 = alpha_bar[t], alpha_bar[t_next], cut(denoise(x, t))
        eps = (x - at.sqrt() * x0) / (1 - at).sqrt()
        fresh = eta * ((1 - at_next) / (1 - at) * (1 - at / at_next)).sqrt()
        x = at_next.sqrt() * x0 + (1 - at_next - fresh**2).clamp(min=0).sqrt() * eps + fresh * noises[i + 1]
    return denoise(x, path[-1])


# %% mended | wrong | reads the notebook's alpha_bar | not the alpha_bar that your function is given | mended-4
def mended(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    cut = (lambda x: x) if limit is None else (lambda x: x.clamp(-limit, limit))
    x = noises[0]
    for i, (t, t_next) in enumerate(pairwise(path)):
        at, at_next, x0 = ALPHA_BAR[t], ALPHA_BAR[t_next], cut(denoise(x, t))
        eps = (x - at.sqrt() * x0) / (1 - at).sqrt()
        fresh = eta * ((1 - at_next) / (1 - at) * (1 - at / at_next)).sqrt()
        x = at_next.sqrt() * x0 + (1 - at_next - fresh**2).clamp(min=0).sqrt() * eps + fresh * noises[i + 1]
    return cut(denoise(x, path[-1]))


# %% mended | wrong | cuts the samples, not the guesses | The samples are cut at the end | mended-3, mended-4
def mended(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    x = noises[0]
    for i, (t, t_next) in enumerate(pairwise(path)):
        at, at_next, x0 = alpha_bar[t], alpha_bar[t_next], denoise(x, t)
        fresh = eta * ((1 - at_next) / (1 - at) * (1 - at / at_next)).sqrt()
        old = (1 - at_next - fresh**2).clamp(min=0).sqrt()
        x = at_next.sqrt() * x0 + old * (x - at.sqrt() * x0) / (1 - at).sqrt() + fresh * noises[i + 1]
    x0 = denoise(x, path[-1])
    return x0 if limit is None else x0.clamp(-limit, limit)


# %% mended | wrong | changes its input | changes its input in place | mended-4
def mended(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    cut = (lambda x: x) if limit is None else (lambda x: x.clamp(-limit, limit))
    x = noises[0]
    for i, (t, t_next) in enumerate(pairwise(path)):
        at, at_next, x0 = alpha_bar[t], alpha_bar[t_next], cut(denoise(x, t))
        eps = (x - at.sqrt() * x0) / (1 - at).sqrt()
        fresh = eta * ((1 - at_next) / (1 - at) * (1 - at / at_next)).sqrt()
        x.copy_(at_next.sqrt() * x0 + (1 - at_next - fresh**2).clamp(min=0).sqrt() * eps + fresh * noises[i + 1])
    return cut(denoise(x, path[-1]))


# %% mended | wrong | asks at the step where it goes | must be asked where you are | mended-2, mended-3, mended-4
def mended(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    cut = (lambda x: x) if limit is None else (lambda x: x.clamp(-limit, limit))
    x = noises[0]
    for i, (t, t_next) in enumerate(pairwise(path)):
        at, at_next, x0 = alpha_bar[t], alpha_bar[t_next], cut(denoise(x, t_next))
        eps = (x - at.sqrt() * x0) / (1 - at).sqrt()
        fresh = eta * ((1 - at_next) / (1 - at) * (1 - at / at_next)).sqrt()
        x = at_next.sqrt() * x0 + (1 - at_next - fresh**2).clamp(min=0).sqrt() * eps + fresh * noises[i + 1]
    return cut(denoise(x, path[-1]))


# %% mended | wrong | every step adds noise, the last too | - | mended-2, mended-4
def mended(denoise, noises, path, alpha_bar, eta=0.0, limit=None):
    cut = (lambda x: x) if limit is None else (lambda x: x.clamp(-limit, limit))
    x, levels = noises[0], [*(alpha_bar[t] for t in path), torch.tensor(1.0, dtype=torch.float64)]
    for i, t in enumerate(path):
        at, at_next, x0 = levels[i], levels[i + 1], cut(denoise(x, t))
        eps = (x - at.sqrt() * x0) / (1 - at).sqrt()
        fresh = eta * (1 - at / at_next).sqrt()
        x = at_next.sqrt() * x0 + (1 - at_next - fresh**2).clamp(min=0).sqrt() * eps
        x = x + fresh * noises[min(i + 1, len(noises) - 1)]
    return x


# %% order_of | right | loops and plain numbers
def order_of(coarse, middle, fine):
    def apart(a, b):
        rows = [sum((p - q) ** 2 for p, q in zip(r, s, strict=True)) ** 0.5 for r, s in zip(a, b, strict=True)]
        return sum(rows) / len(rows)

    first, second = apart(coarse.tolist(), middle.tolist()), apart(middle.tolist(), fine.tolist())
    if middle.equal(fine):
        return float("inf"), fine, 0
    order = (math.log(first) - math.log(second)) / math.log(2)
    gain = 2 ** max(int(order + 0.5), 1)
    return order, (gain * fine - middle) / (gain - 1), second / (gain - 1)


# %% order_of | wrong | the ratio for the order | That is the ratio of the two distances | order_of-1, order_of-2, order_of-3, order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    if second == 0:
        return math.inf, fine, 0.0
    whole = max(1, round(math.log2(first / second)))
    better = fine + (fine - middle) / (2**whole - 1)
    return first / second, better, (better - fine).norm(dim=1).mean().item()


# %% order_of | wrong | the ratio for the order, all through | That is the ratio of the two distances | order_of-1, order_of-2, order_of-3, order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    if second == 0:
        return math.inf, fine, 0.0
    order = first / second
    better = fine + (fine - middle) / (2 ** max(1, round(order)) - 1)
    return order, better, (better - fine).norm(dim=1).mean().item()


# %% order_of | wrong | coarse beside fine | Compare neighbours | order_of-1, order_of-2, order_of-3, order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - fine).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    if second == 0:
        return math.inf, fine, 0.0
    order = math.log2(first / second)
    better = fine + (fine - middle) / (2 ** max(1, round(order)) - 1)
    return order, better, (better - fine).norm(dim=1).mean().item()


# %% order_of | wrong | the error is the root of a mean of squares | not the root of the mean of their squares | order_of-1, order_of-2, order_of-3, order_of-4
def order_of(coarse, middle, fine):
    apart = lambda a, b: (a - b).square().sum(dim=1).mean().sqrt().item()
    if middle.equal(fine):
        return math.inf, fine, 0.0
    order = math.log2(apart(coarse, middle) / apart(middle, fine))
    better = fine + (fine - middle) / (2 ** max(1, round(order)) - 1)
    return order, better, apart(better, fine)


# %% order_of | wrong | the error is the norm of all points together | norm of all points together | order_of-1, order_of-2, order_of-3, order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm().item(), (middle - fine).norm().item()
    if second == 0:
        return math.inf, fine, 0.0
    order = math.log2(first / second)
    better = fine + (fine - middle) / (2 ** max(1, round(order)) - 1)
    return order, better, (better - fine).norm().item()


# %% order_of | wrong | the error of middle | That is the distance of middle from the better ends | order_of-1, order_of-2, order_of-3, order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    if second == 0:
        return math.inf, fine, 0.0
    order = math.log2(first / second)
    better = fine + (fine - middle) / (2 ** max(1, round(order)) - 1)
    return order, better, (better - middle).norm(dim=1).mean().item()


# %% order_of | wrong | goes on with an order below 1 | With an order below 1, go on as with 1 | order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    if second == 0:
        return math.inf, fine, 0.0
    order = math.log2(first / second)
    better = fine + (fine - middle) / (2 ** round(order) - 1)
    return order, better, (better - fine).norm(dim=1).mean().item()


# %% order_of | wrong | the natural logarithm | logarithm to the base 2 | order_of-1, order_of-2, order_of-3, order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    if second == 0:
        return math.inf, fine, 0.0
    order = math.log(first / second)
    better = fine + (fine - middle) / (2 ** max(1, round(order)) - 1)
    return order, better, (better - fine).norm(dim=1).mean().item()


# %% order_of | wrong | the ratio upside down | The ratio is upside down | order_of-1, order_of-2, order_of-3, order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    order = math.log2(second / first) if second > 0 else math.inf
    better = fine + (fine - middle) / (2 ** max(1, round(order)) - 1) if second > 0 else fine
    return order, better, (better - fine).norm(dim=1).mean().item()


# %% order_of | wrong | back instead of on | not back | order_of-1, order_of-2, order_of-3, order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    if second == 0:
        return math.inf, fine, 0.0
    order = math.log2(first / second)
    better = fine + (middle - fine) / (2 ** max(1, round(order)) - 1)
    return order, better, (better - fine).norm(dim=1).mean().item()


# %% order_of | wrong | divides by 2^p | Only the next doubling of the steps leads there | order_of-1, order_of-2, order_of-3, order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    if second == 0:
        return math.inf, fine, 0.0
    order = math.log2(first / second)
    better = fine + (fine - middle) / 2 ** max(1, round(order))
    return order, better, (better - fine).norm(dim=1).mean().item()


# %% order_of | wrong | order 1 always | You go on as with order 1 | order_of-2, order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    order = math.log2(first / second) if second > 0 else math.inf
    better = 2 * fine - middle
    return order, better, (better - fine).norm(dim=1).mean().item()


# %% order_of | wrong | the order is not rounded to extrapolate | rounded to a whole number | order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    if second == 0:
        return math.inf, fine, 0.0
    order = math.log2(first / second)
    better = fine + (fine - middle) / (2**order - 1)
    return order, better, (better - fine).norm(dim=1).mean().item()


# %% order_of | wrong | returns a rounded order | order that you return is not to be rounded | order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    if second == 0:
        return math.inf, fine, 0.0
    order = max(1, round(math.log2(first / second)))
    better = fine + (fine - middle) / (2**order - 1)
    return float(order), better, (better - fine).norm(dim=1).mean().item()


# %% order_of | wrong | cuts the order off | The order is cut off, not rounded | order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    if second == 0:
        return math.inf, fine, 0.0
    order = math.log2(first / second)
    better = fine + (fine - middle) / (2 ** max(1, int(order + 1e-9)) - 1)
    return order, better, (better - fine).norm(dim=1).mean().item()


# %% order_of | wrong | the error of all coordinates | a mean of the points' norms | order_of-1, order_of-2, order_of-3, order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    if second == 0:
        return math.inf, fine, 0.0
    order = math.log2(first / second)
    better = fine + (fine - middle) / (2 ** max(1, round(order)) - 1)
    return order, better, (better - fine).abs().mean().item()


# %% order_of | wrong | extrapolates from coarse | not from coarse | order_of-1, order_of-2, order_of-3, order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    if second == 0:
        return math.inf, fine, 0.0
    order = math.log2(first / second)
    better = fine + (middle - coarse) / (2 ** max(1, round(order)) - 1)
    return order, better, (better - fine).norm(dim=1).mean().item()


# %% order_of | wrong | fine itself is the better end | no better than fine | order_of-1, order_of-2, order_of-3, order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    if second == 0:
        return math.inf, fine, 0.0
    return math.log2(first / second), fine, second


# %% order_of | wrong | divides by zero when it has arrived | nothing is divided | order_of-4
def order_of(coarse, middle, fine):
    first, second = (coarse - middle).norm(dim=1).mean().item(), (middle - fine).norm(dim=1).mean().item()
    order = math.log2(first / second)
    better = fine + (fine - middle) / (2 ** max(1, round(order)) - 1)
    return order, better, (better - fine).norm(dim=1).mean().item()


# %% guided_spread | right | in logarithms
def guided_spread(tau_label, tau_all, s):
    log = math.log(tau_all) + s * (math.log(tau_label) - math.log(tau_all))
    a, b = tau_label * tau_label, tau_all * tau_all
    below = s * b + (1 - s) * a
    return math.exp(log), math.sqrt(a * b / below) if below > 0 else float("inf")


# %% guided_spread | right | the flow, followed numerically
def guided_spread(tau_label, tau_all, s):
    steps, total = 20_000, 0.0
    for i in range(steps):
        phi = math.pi / 2 * (i + 0.5) / steps
        factor = [
            math.sin(2 * phi) * (1 - v * v) / 2 / ((v * math.cos(phi)) ** 2 + math.sin(phi) ** 2)
            for v in (tau_label, tau_all)
        ]
        total -= math.pi / 2 / steps * (factor[1] + s * (factor[0] - factor[1]))
    precision = s / tau_label**2 + (1 - s) / tau_all**2
    return math.exp(total), math.inf if precision <= 0 else (1 / precision) ** 0.5


# %% guided_spread | wrong | guidance samples the tilted density | That is the tilted density | guided_spread-2, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    precision = s / tau_label**2 + (1 - s) / tau_all**2
    tilted = precision**-0.5 if precision > 0 else math.inf
    return tilted, tilted


# %% guided_spread | wrong | the tilted density is what is sampled | not the tilted density | guided_spread-3, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    sampled = tau_label**s * tau_all ** (1 - s)
    return sampled, sampled


# %% guided_spread | wrong | the two deviations exchanged | That is the tilted density | guided_spread-2, guided_spread-3, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    precision = s / tau_label**2 + (1 - s) / tau_all**2
    return precision**-0.5 if precision > 0 else math.inf, tau_label**s * tau_all ** (1 - s)


# %% guided_spread | wrong | divides by the scale | does not divide the deviation by the scale | guided_spread-2, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    precision = s / tau_label**2 + (1 - s) / tau_all**2
    return tau_label / s if s else tau_all, precision**-0.5 if precision > 0 else math.inf


# %% guided_spread | wrong | the data sets swapped in the sampled alone | The two data sets are swapped | guided_spread-1, guided_spread-2, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    precision = s / tau_label**2 + (1 - s) / tau_all**2
    return tau_all**s * tau_label ** (1 - s), precision**-0.5 if precision > 0 else math.inf


# %% guided_spread | wrong | the variance of the tilted density alone | Those are variances | guided_spread-1, guided_spread-3, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    precision = s / tau_label**2 + (1 - s) / tau_all**2
    return tau_label**s * tau_all ** (1 - s), 1 / precision if precision > 0 else math.inf


# %% guided_spread | wrong | the variance of the samples alone | Those are variances | guided_spread-1, guided_spread-2, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    precision = s / tau_label**2 + (1 - s) / tau_all**2
    return tau_label ** (2 * s) * tau_all ** (2 - 2 * s), precision**-0.5 if precision > 0 else math.inf


# %% guided_spread | wrong | counts from the plain label | You count s from the plain label | guided_spread-1, guided_spread-2, guided_spread-3, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    precision = (1 + s) / tau_label**2 - s / tau_all**2
    return tau_label ** (1 + s) * tau_all**-s, precision**-0.5 if precision > 0 else math.inf


# %% guided_spread | wrong | combines deviations | not deviations | guided_spread-2, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    precision = s / tau_label**2 + (1 - s) / tau_all**2
    return tau_all + s * (tau_label - tau_all), precision**-0.5 if precision > 0 else math.inf


# %% guided_spread | wrong | combines variances | not the variances | guided_spread-2, guided_spread-3, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    both = max(tau_all**2 + s * (tau_label**2 - tau_all**2), 0.0) ** 0.5
    return both, both


# %% guided_spread | wrong | returns variances | Those are variances | guided_spread-1, guided_spread-2, guided_spread-3, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    precision = s / tau_label**2 + (1 - s) / tau_all**2
    return (tau_label**s * tau_all ** (1 - s)) ** 2, 1 / precision if precision > 0 else math.inf


# %% guided_spread | wrong | the two data sets swapped | The two data sets are swapped | guided_spread-1, guided_spread-2, guided_spread-3, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    precision = s / tau_all**2 + (1 - s) / tau_label**2
    return tau_all**s * tau_label ** (1 - s), precision**-0.5 if precision > 0 else math.inf


# %% guided_spread | wrong | deviations in the exponent | not over its deviation | guided_spread-3, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    precision = s / tau_label + (1 - s) / tau_all
    return tau_label**s * tau_all ** (1 - s), 1 / precision if precision > 0 else math.inf


# %% guided_spread | wrong | the sign of the tilt | its exponent is 1 - s | guided_spread-3, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    precision = s / tau_label**2 + abs(1 - s) / tau_all**2
    return tau_label**s * tau_all ** (1 - s), precision**-0.5


# %% guided_spread | wrong | no care where there is no tilted density | root of a negative precision | guided_spread-4
def guided_spread(tau_label, tau_all, s):
    return tau_label**s * tau_all ** (1 - s), (s / tau_label**2 + (1 - s) / tau_all**2) ** -0.5


# %% guided_spread | wrong | raises where there is no tilted density | is math.inf, not an error | guided_spread-2, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    return tau_label**s * tau_all ** (1 - s), 1 / math.sqrt(s / tau_label**2 + (1 - s) / tau_all**2)


# %% guided_spread | wrong | the sampled deviation is infinite too | finite also where there is no tilted density | guided_spread-2, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    precision = s / tau_label**2 + (1 - s) / tau_all**2
    if precision <= 0:
        return math.inf, math.inf
    return tau_label**s * tau_all ** (1 - s), precision**-0.5


# %% guided_spread | wrong | the plain label at any scale | plain label at any scale | guided_spread-1, guided_spread-2, guided_spread-3, guided_spread-4
def guided_spread(tau_label, tau_all, s):
    return tau_label, tau_label
