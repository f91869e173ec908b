# Plausible wrong answers to the exercises of chapter 6; see tests/exercises.py for the form.

# %% eps_to_v: the sign is turned -> sign
def eps_to_v(eps, x_t, alpha, sigma):
    return (sigma * x_t - eps) / alpha


# %% eps_to_v: x_t is taken for the data -> x_t stands where x0 belongs
def eps_to_v(eps, x_t, alpha, sigma):
    return alpha * eps - sigma * x_t


# %% eps_to_v: the guess of the data is not divided by alpha -> division
def eps_to_v(eps, x_t, alpha, sigma):
    return alpha * eps - sigma * (x_t - sigma * eps)


# %% eps_to_v: the last division is forgotten -> alpha times v
def eps_to_v(eps, x_t, alpha, sigma):
    return eps - sigma * x_t


# %% eps_to_v: a plus before sigma x0 -> before sigma x0
def eps_to_v(eps, x_t, alpha, sigma):
    return alpha * eps + sigma * (x_t - sigma * eps) / alpha


# %% eps_to_v: alpha and sigma are swapped -> swapped
def eps_to_v(eps, x_t, alpha, sigma):
    return sigma * eps - alpha * (x_t - sigma * eps) / alpha


# %% eps_to_v: it stops at the data -> that is x0
def eps_to_v(eps, x_t, alpha, sigma):
    return (x_t - sigma * eps) / alpha


# %% eps_to_v: one number for all points -> shape
def eps_to_v(eps, x_t, alpha, sigma):
    return ((eps - sigma * x_t) / alpha).mean()


# %% betas_from_log_snr: lambda is taken for the whole logarithm -> half
def betas_from_log_snr(lamda):
    alpha_bar = lamda.sigmoid()
    return 1 - alpha_bar / torch.cat([torch.ones(1).to(alpha_bar), alpha_bar[:-1]])


# %% betas_from_log_snr: the first step is missing -> before the first step
def betas_from_log_snr(lamda):
    alpha_bar = (2 * lamda).sigmoid()
    return 1 - alpha_bar[1:] / alpha_bar[:-1]


# %% betas_from_log_snr: the first step is 0 -> before the first step
def betas_from_log_snr(lamda):
    alpha_bar = (2 * lamda).sigmoid()
    return torch.cat([torch.zeros(1).to(alpha_bar), 1 - alpha_bar[1:] / alpha_bar[:-1]])


# %% betas_from_log_snr: the share of noise is taken for beta -> 1 - alpha_bar
def betas_from_log_snr(lamda):
    return (-2 * lamda).sigmoid()


# %% betas_from_log_snr: the share of signal is taken for beta -> alpha_bar
def betas_from_log_snr(lamda):
    return (2 * lamda).sigmoid()


# %% betas_from_log_snr: the share that a step leaves is returned -> 1 - beta
def betas_from_log_snr(lamda):
    alpha_bar = (2 * lamda).sigmoid()
    return alpha_bar / torch.cat([torch.ones(1).to(alpha_bar), alpha_bar[:-1]])


# %% betas_from_log_snr: each step leads to the next alpha_bar -> shifted by one
def betas_from_log_snr(lamda):
    alpha_bar = (2 * lamda).sigmoid()
    beta = 1 - alpha_bar[1:] / alpha_bar[:-1]
    return torch.cat([beta, beta[-1:]])


# %% betas_from_log_snr: the sign of lambda is turned -> sign of lambda
def betas_from_log_snr(lamda):
    alpha_bar = (-2 * lamda).sigmoid()
    return 1 - alpha_bar / torch.cat([torch.ones(1).to(alpha_bar), alpha_bar[:-1]])


# %% betas_from_log_snr: the same step throughout -> three steps
def betas_from_log_snr(lamda):
    return torch.full_like(lamda, 0.05)


# %% betas_from_log_snr: a slip that raises -> stops
def betas_from_log_snr(lamda):
    return 1 - lamda[1:] / lamda


# %% Memory: alpha is forgotten -> alpha x0
class Memory(_right):
    def weights(self, x_t, alpha, sigma):
        return (-torch.cdist(x_t, self.points).square() / (2 * sigma**2)).softmax(dim=1)


# %% Memory: sigma is not squared -> sigma squared
class Memory(_right):
    def weights(self, x_t, alpha, sigma):
        return (-torch.cdist(x_t, alpha * self.points).square() / sigma).softmax(dim=1)


# %% Memory: the half of the exponent is missing -> half
class Memory(_right):
    def weights(self, x_t, alpha, sigma):
        return (-torch.cdist(x_t, alpha * self.points).square() / sigma**2).softmax(dim=1)


# %% Memory: the softmax runs over the wrong axis -> sum to 1
class Memory(_right):
    def weights(self, x_t, alpha, sigma):
        return (-torch.cdist(x_t, alpha * self.points).square() / (2 * sigma**2)).softmax(dim=0)


# %% Memory: the weights are not normalized -> divide by their sum
class Memory(_right):
    def weights(self, x_t, alpha, sigma):
        return (-torch.cdist(x_t, alpha * self.points).square() / (2 * sigma**2)).exp()


# %% Memory: the exponent is positive -> a minus is missing
class Memory(_right):
    def weights(self, x_t, alpha, sigma):
        return (torch.cdist(x_t, alpha * self.points).square() / (2 * sigma**2)).softmax(dim=1)


# %% Memory: x_t is divided by alpha, sigma is not -> sigma / alpha
class Memory(_right):
    def weights(self, x_t, alpha, sigma):
        return (-torch.cdist(x_t / alpha, self.points).square() / (2 * sigma**2)).softmax(dim=1)


# %% Memory: the nearest point is the guess -> stage 2: the nearest
class Memory(_right):
    def guess(self, x_t, alpha, sigma):
        return self.points[self.weights(x_t, alpha, sigma).argmax(dim=1)]


# %% Memory: the guess is shrunken -> alpha x0
class Memory(_right):
    def guess(self, x_t, alpha, sigma):
        return self.weights(x_t, alpha, sigma) @ (alpha * self.points)


# %% Memory: no noise on the way -> stage 3: every step but the last
class Memory(_right):
    def sample(self, alpha_bar, noises):
        x = noises[0]
        for now, then in zip(alpha_bar, alpha_bar[1:]):
            x = ddpm_step(x, self.guess(x, now**0.5, (1 - now) ** 0.5), now, then, 0 * x)
        return self.guess(x, alpha_bar[-1] ** 0.5, (1 - alpha_bar[-1]) ** 0.5)


# %% Memory: it stops one step early -> comes the guess
class Memory(_right):
    def sample(self, alpha_bar, noises):
        x = noises[0]
        for now, then, noise in zip(alpha_bar, alpha_bar[1:], noises[1:]):
            x = ddpm_step(x, self.guess(x, now**0.5, (1 - now) ** 0.5), now, then, noise)
        return x


# %% Memory: it draws from the list and walks nowhere -> stage 3
class Memory(_right):
    def sample(self, alpha_bar, noises):
        return self.points[torch.arange(len(noises[0])) % len(self.points)]


# %% Memory: the last guess of the loop is returned -> guess once more
class Memory(_right):
    def sample(self, alpha_bar, noises):
        x = noises[0]
        for now, then, noise in zip(alpha_bar, alpha_bar[1:], noises[1:]):
            x0 = self.guess(x, now**0.5, (1 - now) ** 0.5)
            x = ddpm_step(x, x0, now, then, noise)
        return x0


# %% Memory: the noise that it starts from is used again -> noises[0] is where it starts
class Memory(_right):
    def sample(self, alpha_bar, noises):
        x = noises[0]
        for now, then, noise in zip(alpha_bar, alpha_bar[1:], noises):
            x0 = self.guess(x, now**0.5, (1 - now) ** 0.5)
            x = ddpm_step(x, x0, now, then, noise)
        return self.guess(x, alpha_bar[-1] ** 0.5, (1 - alpha_bar[-1]) ** 0.5)


# %% Memory: alpha_bar is taken for alpha -> alpha is the root
class Memory(_right):
    def sample(self, alpha_bar, noises):
        x = noises[0]
        for now, then, noise in zip(alpha_bar, alpha_bar[1:], noises[1:]):
            x0 = self.guess(x, now, 1 - now)
            x = ddpm_step(x, x0, now, then, noise)
        return self.guess(x, alpha_bar[-1], 1 - alpha_bar[-1])


# %% Memory: the root of alpha_bar is forgotten, not that of the noise -> alpha is the root
class Memory(_right):
    def sample(self, alpha_bar, noises):
        x = noises[0]
        for now, then, noise in zip(alpha_bar, alpha_bar[1:], noises[1:]):
            x0 = self.guess(x, now, (1 - now) ** 0.5)
            x = ddpm_step(x, x0, now, then, noise)
        return self.guess(x, alpha_bar[-1], (1 - alpha_bar[-1]) ** 0.5)


# %% Memory: x_t and the guess change places -> x_t first
class Memory(_right):
    def sample(self, alpha_bar, noises):
        x = noises[0]
        for now, then, noise in zip(alpha_bar, alpha_bar[1:], noises[1:]):
            x0 = self.guess(x, now**0.5, (1 - now) ** 0.5)
            x = ddpm_step(x0, x, now, then, noise)
        return self.guess(x, alpha_bar[-1] ** 0.5, (1 - alpha_bar[-1]) ** 0.5)


# %% Memory: the two steps change places -> less noisy
class Memory(_right):
    def sample(self, alpha_bar, noises):
        x = noises[0]
        for now, then, noise in zip(alpha_bar, alpha_bar[1:], noises[1:]):
            x0 = self.guess(x, now**0.5, (1 - now) ** 0.5)
            x = ddpm_step(x, x0, then, now, noise)
        return self.guess(x, alpha_bar[-1] ** 0.5, (1 - alpha_bar[-1]) ** 0.5)


# %% Memory: the list is sorted, falling -> less noisy
class Memory(_right):
    def sample(self, alpha_bar, noises):
        return super().sample(sorted(alpha_bar, reverse=True), noises)


# %% Memory: one guess, of the start, serves all steps -> a new guess each step
class Memory(_right):
    def sample(self, alpha_bar, noises):
        x = noises[0]
        x0 = self.guess(x, alpha_bar[0] ** 0.5, (1 - alpha_bar[0]) ** 0.5)
        for now, then, noise in zip(alpha_bar, alpha_bar[1:], noises[1:]):
            x = ddpm_step(x, x0, now, then, noise)
        return self.guess(x, alpha_bar[-1] ** 0.5, (1 - alpha_bar[-1]) ** 0.5)
