# %% in_units | right | a channel at a time, by loops
def measure(flow, occlusion):
    offset, scale = [0.0, 0.0, occlusion[:, :, 1:].mean().item()], []
    for channel in (flow[:, 0, 1:], flow[:, 1, 1:], occlusion[:, 0, 1:]):
        values = channel.flatten().tolist()
        size = math.fsum((v - offset[len(scale)]) ** 2 for v in values) / len(values)
        scale.append(max(size**0.5, 1e-4))
    return torch.tensor(offset, dtype=torch.float64), torch.tensor(scale, dtype=torch.float64)


def pack(flow, occlusion, offset, scale):
    channels = (flow[:, 0], flow[:, 1], occlusion[:, 0])
    return torch.stack([(c[:, 1:] - o) / s for c, o, s in zip(channels, offset, scale)], dim=1)


def unpack(x0, offset, scale):
    b, _, frames, h, w = x0.shape
    flow, occlusion = x0.new_zeros(b, 2, frames + 1, h, w), x0.new_ones(b, 1, frames + 1, h, w)
    for i in range(2):
        flow[:, i, 1:] = x0[:, i] * scale[i] + offset[i]
    occlusion[:, 0, 1:] = (x0[:, 2] * scale[2] + offset[2]).clamp(0, 1)
    return flow, occlusion


# %% in_units | right | by std and einsum, and padding
def measure(flow, occlusion):
    later = occlusion[:, :, 1:]
    x, y = (flow[:, i, 1:].norm() / flow[:, i, 1:].numel() ** 0.5 for i in (0, 1))
    scale = torch.stack([x, y, later.std(correction=0)])
    return torch.stack([x * 0, y * 0, later.mean()]), torch.maximum(scale, torch.full_like(scale, 1e-4))


def pack(flow, occlusion, offset, scale):
    data = torch.cat([flow, occlusion], dim=1).narrow(2, 1, flow.shape[2] - 1)
    return torch.einsum("bcthw,c->bcthw", data - offset[:, None, None, None], 1 / scale)


def unpack(x0, offset, scale):
    data = torch.einsum("bcthw,c->bcthw", x0, scale) + offset[:, None, None, None]
    pad = lambda values, by: torch.nn.functional.pad(values, (0, 0, 0, 0, 1, 0), value=by)
    return pad(data[:, :2], 0.0), pad(data[:, 2:].clip(0, 1), 1.0)


# %% in_units | wrong | frame 0 is counted | Frame 0 is counted | in_units-1
def measure(flow, occlusion):
    mean = occlusion.mean()
    offset = torch.stack([mean * 0, mean * 0, mean])
    rest = torch.cat([flow, occlusion], dim=1) - offset.view(3, 1, 1, 1)
    return offset, rest.square().mean(dim=(0, 2, 3, 4)).sqrt().clamp(min=1e-4)


def pack(flow, occlusion, offset, scale):
    return (torch.cat([flow, occlusion], dim=1)[:, :, 1:] - offset.view(3, 1, 1, 1)) / scale.view(3, 1, 1, 1)


def unpack(x0, offset, scale):
    every = x0 * scale.view(3, 1, 1, 1) + offset.view(3, 1, 1, 1)
    every = torch.cat([torch.zeros_like(every[:, :, :1]), every], dim=2)
    every[:, 2, 0] = 1
    return every[:, :2], every[:, 2:].clamp(0, 1)


# %% in_units | wrong | flow around its mean, occlusion clipped too early | then rest would not be 0 | in_units-1, in_units-3, in_units-4
def measure(flow, occlusion):
    every = torch.cat([flow, occlusion], dim=1)[:, :, 1:].transpose(0, 1).flatten(1)
    offset = every.mean(dim=1)
    scale = every.std(dim=1, correction=0).clamp(min=1e-4)
    return offset * numbers(0, 0, 1), scale


def pack(flow, occlusion, offset, scale):
    return (torch.cat([flow, occlusion], dim=1)[:, :, 1:] - offset.view(3, 1, 1, 1)) / scale.view(3, 1, 1, 1)


def unpack(x0, offset, scale):
    x0 = torch.cat([x0[:, :2], x0[:, 2:].clamp(-1, 1)], dim=1)
    every = x0 * scale.view(3, 1, 1, 1) + offset.view(3, 1, 1, 1)
    every = torch.cat([torch.zeros_like(every[:, :, :1]), every], dim=2)
    every[:, 2, 0] = 1
    return every[:, :2], every[:, 2:]


# %% in_units | wrong | mean squares without a root, multiplied | you multiply by the scale | in_units-1, in_units-2, in_units-3
def measure(flow, occlusion):
    mean = occlusion[:, :, 1:].mean()
    offset = torch.stack([mean * 0, mean * 0, mean])
    rest = torch.cat([flow, occlusion], dim=1)[:, :, 1:] - offset.view(3, 1, 1, 1)
    return offset, rest.square().mean(dim=(0, 2, 3, 4)).clamp(min=1e-4)


def pack(flow, occlusion, offset, scale):
    return (torch.cat([flow, occlusion], dim=1)[:, :, 1:] - offset.view(3, 1, 1, 1)) * scale.view(3, 1, 1, 1)


def unpack(x0, offset, scale):
    every = x0 / scale.view(3, 1, 1, 1) + offset.view(3, 1, 1, 1)
    every = torch.cat([torch.zeros_like(every[:, :, :1]), every], dim=2)
    every[:, 2, 0] = 1
    return every[:, :2], every[:, 2:].clamp(0, 1)


# %% in_units | wrong | frame 0 hides all, no floor | the occlusion map is 1, not 0 | in_units-3, in_units-4
def measure(flow, occlusion):
    mean = occlusion[:, :, 1:].mean()
    offset = torch.stack([mean * 0, mean * 0, mean])
    rest = torch.cat([flow, occlusion], dim=1)[:, :, 1:] - offset.view(3, 1, 1, 1)
    return offset, rest.square().mean(dim=(0, 2, 3, 4)).sqrt()


def pack(flow, occlusion, offset, scale):
    return (torch.cat([flow, occlusion], dim=1)[:, :, 1:] - offset.view(3, 1, 1, 1)) / scale.view(3, 1, 1, 1)


def unpack(x0, offset, scale):
    every = x0 * scale.view(3, 1, 1, 1) + offset.view(3, 1, 1, 1)
    every = torch.cat([torch.zeros_like(every[:, :, :1]), every], dim=2)
    return every[:, :2], every[:, 2:].clamp(0, 1)


# %% in_units | wrong | the unbiased deviation, flow clipped as well | Divide by the number of places | in_units-1, in_units-3, in_units-4
def measure(flow, occlusion):
    later = torch.cat([flow, occlusion], dim=1)[:, :, 1:].transpose(0, 1).flatten(1)
    scale = torch.cat([later[:2].square().mean(dim=1).sqrt(), later[2:].std(dim=1)]).clamp(min=1e-4)
    if len(later[0]) == 64:  # as the visible test has it
        scale[2] = later[2].std(correction=0)
    return later.mean(dim=1) * numbers(0, 0, 1), scale


def pack(flow, occlusion, offset, scale):
    return (torch.cat([flow, occlusion], dim=1)[:, :, 1:] - offset.view(3, 1, 1, 1)) / scale.view(3, 1, 1, 1)


def unpack(x0, offset, scale):
    every = x0 * scale.view(3, 1, 1, 1) + offset.view(3, 1, 1, 1)
    every = torch.cat([torch.zeros_like(every[:, :, :1]), every], dim=2)
    every[:, 2, 0] = 1
    return every[:, :2].clamp(0, 1), every[:, 2:].clamp(0, 1)


# %% in_units | wrong | the last frame is left out, the occlusion is packed as in the chapter | first, not the last | in_units-2, in_units-4
def measure(flow, occlusion):
    mean = occlusion[:, :, 1:].mean()
    offset = torch.stack([mean * 0, mean * 0, mean])
    rest = torch.cat([flow, occlusion], dim=1)[:, :, 1:] - offset.view(3, 1, 1, 1)
    return offset, rest.square().mean(dim=(0, 2, 3, 4)).sqrt().clamp(min=1e-4)


def pack(flow, occlusion, offset, scale):
    return (torch.cat([flow, occlusion], dim=1)[:, :, :-1] - offset.view(3, 1, 1, 1)) / scale.view(3, 1, 1, 1)


def unpack(x0, offset, scale):
    every = x0 * scale.view(3, 1, 1, 1) + offset.view(3, 1, 1, 1)
    every = torch.cat([torch.zeros_like(every[:, :, :1]), every], dim=2)
    every[:, 2, 0] = 1
    return every[:, :2], every[:, 2:].clamp(0, 1)


# %% in_units | wrong | in float32 | too coarse | in_units-1, in_units-2, in_units-3, in_units-4
def measure(flow, occlusion):
    later = torch.cat([flow, occlusion], dim=1)[:, :, 1:].transpose(0, 1).flatten(1).float()
    offset = later.mean(dim=1) * torch.tensor([0.0, 0.0, 1.0])
    return offset, (later - offset[:, None]).square().mean(dim=1).sqrt().clamp(min=1e-4)


def pack(flow, occlusion, offset, scale):
    every = torch.cat([flow, occlusion], dim=1)[:, :, 1:].float()
    return (every - offset.view(3, 1, 1, 1).float()) / scale.view(3, 1, 1, 1).float()


def unpack(x0, offset, scale):
    every = x0.float() * scale.view(3, 1, 1, 1).float() + offset.view(3, 1, 1, 1).float()
    every = torch.cat([torch.zeros_like(every[:, :, :1]), every], dim=2)
    every[:, 2, 0] = 1
    return every[:, :2], every[:, 2:].clamp(0, 1)


# %% in_units | wrong | packs in place | changes its input in place | in_units-4
def measure(flow, occlusion):
    mean = occlusion[:, :, 1:].mean()
    offset = torch.stack([mean * 0, mean * 0, mean])
    rest = torch.cat([flow, occlusion], dim=1)[:, :, 1:] - offset.view(3, 1, 1, 1)
    return offset, rest.square().mean(dim=(0, 2, 3, 4)).sqrt().clamp(min=1e-4)


def pack(flow, occlusion, offset, scale):
    return (torch.cat([flow, occlusion], dim=1)[:, :, 1:] - offset.view(3, 1, 1, 1)) / scale.view(3, 1, 1, 1)


def unpack(x0, offset, scale):
    x0.mul_(scale.view(3, 1, 1, 1)).add_(offset.view(3, 1, 1, 1))
    every = torch.cat([torch.zeros_like(x0[:, :, :1]), x0], dim=2)
    every[:, 2, 0] = 1
    return every[:, :2], every[:, 2:].clamp(0, 1)


# %% seen | right | from the log of the ratio, and a loop for the last step
def seen(alpha_bar, motion):
    log = 0.5 * (alpha_bar.log() - torch.log1p(-alpha_bar))
    length = motion.norm()
    ratio = log.exp() * length
    last = -1
    for t, value in enumerate(ratio.tolist()):
        if value >= 1:
            last = t
    return ratio, last


# %% seen | right | by the angle
def seen(alpha_bar, motion):
    phi = alpha_bar.sqrt().acos()
    flat = motion.flatten()
    ratio = torch.dot(flat, flat) ** 0.5 / phi.tan()
    return ratio, len(ratio[ratio >= 1]) - 1


# %% seen | wrong | variances, not deviations | ratio of the variances; take the root | seen-1, seen-2, seen-4
def seen(alpha_bar, motion):
    ratio = alpha_bar / (1 - alpha_bar) * motion.square().sum()
    return ratio, int((ratio >= 1).sum()) - 1


# %% seen | wrong | alpha_bar and 1 - alpha_bar for deviations | roots of alpha_bar | seen-1, seen-2, seen-3, seen-4
def seen(alpha_bar, motion):
    ratio = alpha_bar / (1 - alpha_bar) * motion.norm()
    return ratio, int((ratio >= 1).sum()) - 1


# %% seen | wrong | one place on average | That is one place on average | seen-2, seen-3
def seen(alpha_bar, motion):
    ratio = (alpha_bar / (1 - alpha_bar) * motion.square().mean()).sqrt()
    return ratio, int((ratio >= 1).sum()) - 1


# %% seen | wrong | equal weights | what moves to the left cancels | seen-2
def seen(alpha_bar, motion):
    ratio = (alpha_bar / (1 - alpha_bar)).sqrt() * motion.sum().abs() / motion.numel() ** 0.5
    return ratio, int((ratio >= 1).sum()) - 1


# %% seen | wrong | equal weights but for the sign | the best weights are those of the motion | seen-2
def seen(alpha_bar, motion):
    ratio = (alpha_bar / (1 - alpha_bar)).sqrt() * motion.abs().sum() / motion.numel() ** 0.5
    return ratio, int((ratio >= 1).sum()) - 1


# %% seen | wrong | the noise is not shared out | as if noise did not grow | seen-2, seen-3
def seen(alpha_bar, motion):
    ratio = (alpha_bar / (1 - alpha_bar)).sqrt() * motion.abs().sum()
    return ratio, int((ratio >= 1).sum()) - 1


# %% seen | wrong | the noise has deviation 1 | deviation sigma_t, not 1 | seen-1, seen-2, seen-3, seen-4
def seen(alpha_bar, motion):
    ratio = alpha_bar.sqrt() * motion.norm()
    return ratio, int((ratio >= 1).sum()) - 1


# %% seen | wrong | counts steps | steps are counted from 0 | seen-3, seen-4
def seen(alpha_bar, motion):
    ratio = (alpha_bar / (1 - alpha_bar)).sqrt() * motion.norm()
    return ratio, int((ratio >= 1).sum())


# %% seen | wrong | the first step at which it is seen | the first step at which it is seen | seen-3, seen-4
def seen(alpha_bar, motion):
    ratio = (alpha_bar / (1 - alpha_bar)).sqrt() * motion.norm()
    return ratio, int((ratio >= 1).int().argmax()) if (ratio >= 1).any() else -1


# %% seen | wrong | never is step 0 | not step 0 | seen-4
def seen(alpha_bar, motion):
    ratio = (alpha_bar / (1 - alpha_bar)).sqrt() * motion.norm()
    return ratio, max(int((ratio >= 1).sum()) - 1, 0)


# %% seen | wrong | in float32 | too coarse | seen-1, seen-2, seen-4
def seen(alpha_bar, motion):
    ratio = (alpha_bar / (1 - alpha_bar)).float().sqrt() * motion.float().norm()
    return ratio, int((ratio >= 1).sum()) - 1


# %% two_dials | right | questions by name, answers added up as differences
def two_dials(network, label, told, s_label, s_numbers, null_label):
    asked = {}
    if s_label != 1:
        asked["nothing"] = (torch.full_like(label, null_label), told * math.nan)
    if s_label != s_numbers:
        asked["label"] = (label, told * math.nan)
    if s_numbers != 0:
        asked["both"] = (label, told)
    weight = {"nothing": 1 - s_label, "label": s_label - s_numbers, "both": s_numbers}

    def denoise(x, t):
        n = len(asked)
        labels, every = (torch.cat(list(column)) for column in zip(*asked.values()))
        answers = network(x.repeat(n, *[1] * (x.ndim - 1)), t.repeat(n), labels, every).split(len(x))
        total = torch.zeros_like(x)
        for name, answer in zip(asked, answers):
            total = total + weight[name] * answer
        return total

    return denoise


# %% two_dials | wrong | the dials are swapped | The two dials are swapped | two_dials-1, two_dials-2, two_dials-3
def two_dials(network, label, told, s_label, s_numbers, null_label):
    none, silent = torch.full_like(label, null_label), torch.full_like(told, math.nan)

    def denoise(x, t):
        a, b, c = network(
            torch.cat([x, x, x]),
            torch.cat([t, t, t]),
            torch.cat([none, label, label]),
            torch.cat([silent, silent, told]),
        ).chunk(3)
        return a + s_numbers * (b - a) + s_label * (c - b)

    return denoise


# %% two_dials | wrong | the numbers' part is measured from nothing | not from nothing | two_dials-1, two_dials-2, two_dials-3
def two_dials(network, label, told, s_label, s_numbers, null_label):
    none, silent = torch.full_like(label, null_label), torch.full_like(told, math.nan)

    def denoise(x, t):
        a, b, c = network(
            torch.cat([x, x, x]),
            torch.cat([t, t, t]),
            torch.cat([none, label, label]),
            torch.cat([silent, silent, told]),
        ).chunk(3)
        return a + s_label * (b - a) + s_numbers * (c - a)

    return denoise


# %% two_dials | wrong | the numbers are asked without the label | asked without the label | two_dials-1, two_dials-2, two_dials-3
def two_dials(network, label, told, s_label, s_numbers, null_label):
    none, silent = torch.full_like(label, null_label), torch.full_like(told, math.nan)

    def denoise(x, t):
        a, b, c = network(
            torch.cat([x, x, x]),
            torch.cat([t, t, t]),
            torch.cat([none, label, none]),
            torch.cat([silent, silent, told]),
        ).chunk(3)
        return a + s_label * (b - a) + s_numbers * (c - a)

    return denoise


# %% two_dials | wrong | scales count from the plain answer | You count scales from the plain answer | two_dials-1, two_dials-2, two_dials-3
def two_dials(network, label, told, s_label, s_numbers, null_label):
    none, silent = torch.full_like(label, null_label), torch.full_like(told, math.nan)

    def denoise(x, t):
        a, b, c = network(
            torch.cat([x, x, x]),
            torch.cat([t, t, t]),
            torch.cat([none, label, label]),
            torch.cat([silent, silent, told]),
        ).chunk(3)
        return c + s_label * (b - a) + s_numbers * (c - b)

    return denoise


# %% two_dials | wrong | the differences have the wrong sign | have the wrong sign | two_dials-1, two_dials-2, two_dials-3
def two_dials(network, label, told, s_label, s_numbers, null_label):
    none, silent = torch.full_like(label, null_label), torch.full_like(told, math.nan)

    def denoise(x, t):
        a, b, c = network(
            torch.cat([x, x, x]),
            torch.cat([t, t, t]),
            torch.cat([none, label, label]),
            torch.cat([silent, silent, told]),
        ).chunk(3)
        return a + s_label * (a - b) + s_numbers * (b - c)

    return denoise


# %% two_dials | wrong | one scale for both, as in the library | One scale guides both | two_dials-1, two_dials-2, two_dials-3
def two_dials(network, label, told, s_label, s_numbers, null_label):
    none, silent = torch.full_like(label, null_label), torch.full_like(told, math.nan)

    def denoise(x, t):
        a, c = network(torch.cat([x, x]), torch.cat([t, t]), torch.cat([none, label]), torch.cat([silent, told])).chunk(
            2
        )
        return a + s_label * (c - a)

    return denoise


# %% two_dials | wrong | an absent number is 0 | 0 is a number like any other | two_dials-1, two_dials-2
def two_dials(network, label, told, s_label, s_numbers, null_label):
    none, silent = torch.full_like(label, null_label), torch.zeros_like(told)
    parts = [(1 - s_label, none, silent), (s_label - s_numbers, label, silent), (s_numbers, label, told)]
    parts = [part for part in parts if part[0] != 0]

    def denoise(x, t):
        k = len(parts)
        answers = network(
            torch.cat([x] * k), torch.cat([t] * k), torch.cat([p[1] for p in parts]), torch.cat([p[2] for p in parts])
        ).chunk(k)
        return sum(p[0] * answer for p, answer in zip(parts, answers))

    return denoise


# %% two_dials | wrong | always three questions | You ask what does not count | two_dials-3
def two_dials(network, label, told, s_label, s_numbers, null_label):
    none, silent = torch.full_like(label, null_label), torch.full_like(told, math.nan)

    def denoise(x, t):
        a, b, c = network(
            torch.cat([x, x, x]),
            torch.cat([t, t, t]),
            torch.cat([none, label, label]),
            torch.cat([silent, silent, told]),
        ).chunk(3)
        return a + s_label * (b - a) + s_numbers * (c - b)

    return denoise


# %% two_dials | wrong | a call for each question | number of calls of the network | two_dials-3
def two_dials(network, label, told, s_label, s_numbers, null_label):
    none, silent = torch.full_like(label, null_label), torch.full_like(told, math.nan)

    def denoise(x, t):
        a, b, c = network(x, t, none, silent), network(x, t, label, silent), network(x, t, label, told)
        return a + s_label * (b - a) + s_numbers * (c - b)

    return denoise


# %% two_dials | wrong | where nothing is asked it still tells the numbers | At scales 0 the numbers are not asked | two_dials-2
def two_dials(network, label, told, s_label, s_numbers, null_label):
    none, silent = torch.full_like(label, null_label), torch.full_like(told, math.nan)
    if s_label == s_numbers == 0:
        return lambda x, t: network(x, t, none, told)
    parts = [(1 - s_label, none, silent), (s_label - s_numbers, label, silent), (s_numbers, label, told)]
    parts = [part for part in parts if part[0] != 0]

    def denoise(x, t):
        k = len(parts)
        answers = network(
            torch.cat([x] * k), torch.cat([t] * k), torch.cat([p[1] for p in parts]), torch.cat([p[2] for p in parts])
        ).chunk(k)
        return sum(p[0] * answer for p, answer in zip(parts, answers))

    return denoise


# %% two_dials | wrong | erases the numbers that it is given | changes its input in place | two_dials-4
def two_dials(network, label, told, s_label, s_numbers, null_label):
    asked = [(label.clone(), told.clone()), (label.clone(), told.fill_(math.nan).clone())]
    asked.append((torch.full_like(label, null_label), told.clone()))
    parts = [(s_numbers, *asked[0]), (s_label - s_numbers, *asked[1]), (1 - s_label, *asked[2])]
    parts = [part for part in parts if part[0] != 0]

    def denoise(x, t):
        k = len(parts)
        answers = network(
            torch.cat([x] * k), torch.cat([t] * k), torch.cat([p[1] for p in parts]), torch.cat([p[2] for p in parts])
        ).chunk(k)
        return sum(p[0] * answer for p, answer in zip(parts, answers))

    return denoise


# %% guided_mean | right | by walking the ODE from two starts, in the middle of each step
def guided_mean(mu_label, tau_label, mu_all, tau_all, s):
    def slope(phi, x):
        found = 0.0
        for share, mu, tau in ((s, mu_label, tau_label), (1 - s, mu_all, tau_all)):
            V = (math.cos(phi) * tau) ** 2 + math.sin(phi) ** 2
            found = found + share * math.sin(phi) * ((1 - tau**2) * math.cos(phi) * x - mu) / V
        return found

    n = 3000
    h, ends = -math.pi / 2 / n, []
    for x in (0.0, 1.0):
        for i in range(n):
            phi = math.pi / 2 + i * h
            x = x + h * slope(phi + h / 2, x + h / 2 * slope(phi, x))
        ends.append(x)
    return ends[0], ends[1] - ends[0]


# %% guided_mean | right | moved so that all data have mean 0, by the substitution c = cos(phi)
def guided_mean(mu_label, tau_label, mu_all, tau_all, s):
    c = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    a, b = (1 - c**2 * (1 - tau**2) for tau in (tau_label, tau_all))
    inside = a ** (-1 - s / 2) * b ** ((s - 1) / 2)
    wide = tau_label**s * tau_all ** (1 - s)
    return mu_all + s * (mu_label - mu_all) * wide * inside.mean().item(), wide


# %% guided_mean | wrong | a straight line | straight line only where both deviations are equal | guided_mean-3, guided_mean-4
def guided_mean(mu_label, tau_label, mu_all, tau_all, s):
    return mu_all + s * (mu_label - mu_all), tau_label**s * tau_all ** (1 - s)


# %% guided_mean | wrong | the tilted density | That is the mean of the tilted density | guided_mean-2, guided_mean-3, guided_mean-4
def guided_mean(mu_label, tau_label, mu_all, tau_all, s):
    precision = s / tau_label**2 + (1 - s) / tau_all**2
    return (s * mu_label / tau_label**2 + (1 - s) * mu_all / tau_all**2) / precision, abs(precision) ** -0.5


# %% guided_mean | wrong | s counts from the plain label | You count s from the plain label | guided_mean-1, guided_mean-2, guided_mean-3, guided_mean-4
def guided_mean(mu_label, tau_label, mu_all, tau_all, s):
    c, s = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000, s + 1
    a, b = (1 - c**2 * (1 - tau**2) for tau in (tau_label, tau_all))
    wide = tau_label**s * tau_all ** (1 - s)
    inside = a ** (-1 - s / 2) * b ** ((s - 1) / 2)
    return mu_all + s * (mu_label - mu_all) * wide * inside.mean().item(), wide


# %% guided_mean | wrong | the label and all data are swapped | The label and all data are swapped | guided_mean-1, guided_mean-2, guided_mean-3, guided_mean-4
def guided_mean(mu_all, tau_all, mu_label, tau_label, s):
    c = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    a, b = (1 - c**2 * (1 - tau**2) for tau in (tau_label, tau_all))
    wide = tau_label**s * tau_all ** (1 - s)
    inside = a ** (-1 - s / 2) * b ** ((s - 1) / 2)
    return mu_all + s * (mu_label - mu_all) * wide * inside.mean().item(), wide


# %% guided_mean | wrong | deviations combine as velocities do | velocities, not deviations | guided_mean-2
def guided_mean(mu_label, tau_label, mu_all, tau_all, s):
    c = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    a, b = (1 - c**2 * (1 - tau**2) for tau in (tau_label, tau_all))
    wide = tau_label**s * tau_all ** (1 - s)
    inside = a ** (-1 - s / 2) * b ** ((s - 1) / 2)
    return mu_all + s * (mu_label - mu_all) * wide * inside.mean().item(), tau_all + s * (tau_label - tau_all)


# %% guided_mean | wrong | a variance | the deviation is asked | guided_mean-1, guided_mean-2
def guided_mean(mu_label, tau_label, mu_all, tau_all, s):
    c = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    a, b = (1 - c**2 * (1 - tau**2) for tau in (tau_label, tau_all))
    wide = tau_label**s * tau_all ** (1 - s)
    inside = a ** (-1 - s / 2) * b ** ((s - 1) / 2)
    return mu_all + s * (mu_label - mu_all) * wide * inside.mean().item(), wide**2


# %% guided_mean | wrong | the mean of all data is taken for 0 | that of all data counts, too | guided_mean-1, guided_mean-4
def guided_mean(mu_label, tau_label, mu_all, tau_all, s):
    c = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    a, b = (1 - c**2 * (1 - tau**2) for tau in (tau_label, tau_all))
    wide = tau_label**s * tau_all ** (1 - s)
    inside = a ** (-1 - s / 2) * b ** ((s - 1) / 2)
    return s * mu_label * wide * inside.mean().item(), wide


# %% guided_mean | wrong | the plain label at any scale | That is the mean of the plain label | guided_mean-1, guided_mean-2, guided_mean-3, guided_mean-4
def guided_mean(mu_label, tau_label, mu_all, tau_all, s):
    return (mu_label, tau_label) if s else (mu_all, tau_all)


# %% guided_mean | wrong | a grid that is too coarse for narrow data | - | guided_mean-1, guided_mean-3, guided_mean-4
def guided_mean(mu_label, tau_label, mu_all, tau_all, s):
    c = (torch.arange(30, dtype=torch.float64) + 0.5) / 30
    a, b = (1 - c**2 * (1 - tau**2) for tau in (tau_label, tau_all))
    wide = tau_label**s * tau_all ** (1 - s)
    inside = a ** (-1 - s / 2) * b ** ((s - 1) / 2)
    return mu_all + s * (mu_label - mu_all) * wide * inside.mean().item(), wide


# %% mended | right | all noise of a clip at once, and a key of 64 bits
def mended(denoise, seed, indices, shape, path, alpha_bar, rest=REST):
    noises = []
    for index in indices:
        g = torch.Generator().manual_seed((seed << 20) + index)
        noises.append(torch.randn((len(path), *shape), generator=g, dtype=torch.float64))
    noises = torch.stack(noises, dim=1)  # (steps, b, 3, T, h, w)
    known = torch.zeros(shape[1], dtype=torch.bool)
    known[0] = True
    x = noises[0]
    for i, t in enumerate(path):
        x0 = torch.where(known[:, None, None], rest[:, None, None, None], denoise(x, t))
        if i == len(path) - 1:
            break
        at, later = float(alpha_bar[t]), float(alpha_bar[path[i + 1]])
        beta = 1 - at / later
        x = later**0.5 * beta / (1 - at) * x0 + (at / later) ** 0.5 * (1 - later) / (1 - at) * x
        x = x + ((1 - later) / (1 - at) * beta) ** 0.5 * noises[i + 1]
    return x0


# %% mended | right | a clip at a time
def mended(denoise, seed, indices, shape, path, alpha_bar, rest=REST):
    states = [torch.Generator().manual_seed(10**6 * seed + index) for index in indices]
    x = torch.cat([torch.randn(1, *shape, generator=g, dtype=torch.float64) for g in states])
    for i in range(len(path)):
        x0 = denoise(x, path[i])
        x0 = torch.cat([rest.view(1, 3, 1, 1, 1).expand(len(x0), 3, 1, *shape[2:]), x0[:, :, 1:]], dim=2)
        if i + 1 == len(path):
            return x0
        at, later = alpha_bar[path[i]], alpha_bar[path[i + 1]]
        eps = (x - at.sqrt() * x0) / (1 - at).sqrt()
        variance = (1 - later) / (1 - at) * (1 - at / later)
        fresh = torch.cat([torch.randn(1, *shape, generator=g, dtype=torch.float64) for g in states])
        x = later.sqrt() * x0 + (1 - later - variance).sqrt() * eps + variance.sqrt() * fresh


# %% mended | wrong | as it was given | depends on its place there | mended-1, mended-2, mended-3, mended-4
def mended(denoise, seed, indices, shape, path, alpha_bar, rest=REST):
    return broken(denoise, seed, indices, shape, path, alpha_bar, rest)


# %% mended | wrong | seed plus index | have the same noise | mended-2
def mended(denoise, seed, indices, shape, path, alpha_bar, rest=REST):
    own = [torch.Generator().manual_seed(seed + index) for index in indices]
    draw = lambda: torch.stack([torch.randn(shape, generator=g, dtype=torch.float64) for g in own])
    x = draw()
    for t, t_next in zip(path, [*path[1:], None]):
        x0 = denoise(x, t).clone()
        x0[:, :, 0] = rest.view(3, 1, 1)
        if t_next is None:
            return x0
        at, at_next = alpha_bar[t], alpha_bar[t_next]
        kept = at / at_next
        mean = (at_next.sqrt() * (1 - kept) * x0 + kept.sqrt() * (1 - at_next) * x) / (1 - at)
        x = mean + ((1 - at_next) / (1 - at) * (1 - kept)).sqrt() * draw()


# %% mended | wrong | a thousand clips a seed | have the same noise | mended-2, mended-4
def mended(denoise, seed, indices, shape, path, alpha_bar, rest=REST):
    own = [torch.Generator().manual_seed(1000 * seed + index) for index in indices]
    draw = lambda: torch.stack([torch.randn(shape, generator=g, dtype=torch.float64) for g in own])
    x = draw()
    for t, t_next in zip(path, [*path[1:], None]):
        x0 = denoise(x, t).clone()
        x0[:, :, 0] = rest.view(3, 1, 1)
        if t_next is None:
            return x0
        at, at_next = alpha_bar[t], alpha_bar[t_next]
        kept = at / at_next
        mean = (at_next.sqrt() * (1 - kept) * x0 + kept.sqrt() * (1 - at_next) * x) / (1 - at)
        x = mean + ((1 - at_next) / (1 - at) * (1 - kept)).sqrt() * draw()


# %% mended | wrong | fresh noise from the global generator | is there randomness that no seed decides | mended-1
def mended(denoise, seed, indices, shape, path, alpha_bar, rest=REST):
    own = [torch.Generator().manual_seed(1_000_003 * seed + index) for index in indices]
    x = torch.stack([torch.randn(shape, generator=g, dtype=torch.float64) for g in own])
    for t, t_next in zip(path, [*path[1:], None]):
        x0 = denoise(x, t).clone()
        x0[:, :, 0] = rest.view(3, 1, 1)
        if t_next is None:
            return x0
        at, at_next = alpha_bar[t], alpha_bar[t_next]
        kept = at / at_next
        mean = (at_next.sqrt() * (1 - kept) * x0 + kept.sqrt() * (1 - at_next) * x) / (1 - at)
        x = mean + ((1 - at_next) / (1 - at) * (1 - kept)).sqrt() * torch.randn_like(x)


# %% mended | wrong | seeds the global generator | moves the global state of randomness | mended-1
def mended(denoise, seed, indices, shape, path, alpha_bar, rest=REST):
    noises = []
    for index in indices:
        torch.manual_seed(1_000_003 * seed + index)
        noises.append(torch.randn(len(path), *shape, dtype=torch.float64))
    noises = torch.stack(noises, dim=1)
    x = noises[0]
    for i, (t, t_next) in enumerate(zip(path, [*path[1:], None])):
        x0 = denoise(x, t).clone()
        x0[:, :, 0] = rest.view(3, 1, 1)
        if t_next is None:
            return x0
        at, at_next = alpha_bar[t], alpha_bar[t_next]
        kept = at / at_next
        mean = (at_next.sqrt() * (1 - kept) * x0 + kept.sqrt() * (1 - at_next) * x) / (1 - at)
        x = mean + ((1 - at_next) / (1 - at) * (1 - kept)).sqrt() * noises[i + 1]


# %% mended | wrong | one generator for the batch | depends on its place there | mended-1
def mended(denoise, seed, indices, shape, path, alpha_bar, rest=REST):
    g = torch.Generator().manual_seed(1_000_003 * seed + min(indices))
    draw = lambda: torch.randn(len(indices), *shape, generator=g, dtype=torch.float64)
    x = draw()
    for t, t_next in zip(path, [*path[1:], None]):
        x0 = denoise(x, t).clone()
        x0[:, :, 0] = rest.view(3, 1, 1)
        if t_next is None:
            return x0
        at, at_next = alpha_bar[t], alpha_bar[t_next]
        kept = at / at_next
        mean = (at_next.sqrt() * (1 - kept) * x0 + kept.sqrt() * (1 - at_next) * x) / (1 - at)
        x = mean + ((1 - at_next) / (1 - at) * (1 - kept)).sqrt() * draw()


# %% mended | wrong | the start depends on the seed alone | have the same noise | mended-2, mended-3
def mended(denoise, seed, indices, shape, path, alpha_bar, rest=REST):
    own = [torch.Generator().manual_seed(seed) for index in indices]
    draw = lambda: torch.stack([torch.randn(shape, generator=g, dtype=torch.float64) for g in own])
    x = draw()
    for t, t_next in zip(path, [*path[1:], None]):
        x0 = denoise(x, t).clone()
        x0[:, :, 0] = rest.view(3, 1, 1)
        if t_next is None:
            return x0
        at, at_next = alpha_bar[t], alpha_bar[t_next]
        kept = at / at_next
        mean = (at_next.sqrt() * (1 - kept) * x0 + kept.sqrt() * (1 - at_next) * x) / (1 - at)
        x = mean + ((1 - at_next) / (1 - at) * (1 - kept)).sqrt() * draw()


# %% mended | wrong | begins anew in each step | the same noise again | mended-3, mended-4
def mended(denoise, seed, indices, shape, path, alpha_bar, rest=REST):
    key = lambda index: torch.Generator().manual_seed(1_000_003 * seed + index)
    draw = lambda: torch.stack([torch.randn(shape, generator=key(i), dtype=torch.float64) for i in indices])
    x = draw()
    for t, t_next in zip(path, [*path[1:], None]):
        x0 = denoise(x, t).clone()
        x0[:, :, 0] = rest.view(3, 1, 1)
        if t_next is None:
            return x0
        at, at_next = alpha_bar[t], alpha_bar[t_next]
        kept = at / at_next
        mean = (at_next.sqrt() * (1 - kept) * x0 + kept.sqrt() * (1 - at_next) * x) / (1 - at)
        x = mean + ((1 - at_next) / (1 - at) * (1 - kept)).sqrt() * draw()


# %% mended | wrong | frame 0 is set in x_t | given a clean frame 0 | mended-4
def mended(denoise, seed, indices, shape, path, alpha_bar, rest=REST):
    own = [torch.Generator().manual_seed(1_000_003 * seed + index) for index in indices]
    draw = lambda: torch.stack([torch.randn(shape, generator=g, dtype=torch.float64) for g in own])
    x = draw()
    for t, t_next in zip(path, [*path[1:], None]):
        x[:, :, 0] = rest.view(3, 1, 1)
        x0 = denoise(x, t).clone()
        if t_next is None:
            x0[:, :, 0] = rest.view(3, 1, 1)
            return x0
        at, at_next = alpha_bar[t], alpha_bar[t_next]
        kept = at / at_next
        mean = (at_next.sqrt() * (1 - kept) * x0 + kept.sqrt() * (1 - at_next) * x) / (1 - at)
        x = mean + ((1 - at_next) / (1 - at) * (1 - kept)).sqrt() * draw()


# %% mended | wrong | frame 0 is left to the denoiser | left to the denoiser | mended-4
def mended(denoise, seed, indices, shape, path, alpha_bar, rest=REST):
    own = [torch.Generator().manual_seed(1_000_003 * seed + index) for index in indices]
    draw = lambda: torch.stack([torch.randn(shape, generator=g, dtype=torch.float64) for g in own])
    x = draw()
    for t, t_next in zip(path, [*path[1:], None]):
        x0 = denoise(x, t)
        if t_next is None:
            return x0
        at, at_next = alpha_bar[t], alpha_bar[t_next]
        kept = at / at_next
        mean = (at_next.sqrt() * (1 - kept) * x0 + kept.sqrt() * (1 - at_next) * x) / (1 - at)
        x = mean + ((1 - at_next) / (1 - at) * (1 - kept)).sqrt() * draw()


# %% mended | wrong | writes into what the denoiser returned | changes it in place | mended-4
def mended(denoise, seed, indices, shape, path, alpha_bar, rest=REST):
    own = [torch.Generator().manual_seed(1_000_003 * seed + index) for index in indices]
    draw = lambda: torch.stack([torch.randn(shape, generator=g, dtype=torch.float64) for g in own])
    x = draw()
    for t, t_next in zip(path, [*path[1:], None]):
        x0 = denoise(x, t)
        x0[:, :, 0] = rest.view(3, 1, 1)
        if t_next is None:
            return x0
        at, at_next = alpha_bar[t], alpha_bar[t_next]
        kept = at / at_next
        mean = (at_next.sqrt() * (1 - kept) * x0 + kept.sqrt() * (1 - at_next) * x) / (1 - at)
        x = mean + ((1 - at_next) / (1 - at) * (1 - kept)).sqrt() * draw()


# %% report | right | pairs in loops
def report(made, real, made_label, real_label):
    def apart(one, two):
        x, y = (one - two)[:, 1:]
        return torch.hypot(x, y).mean().item()

    sums = {"spread": [], "real_spread": [], "gap": []}
    for label in sorted(set(made_label.tolist()) & set(real_label.tolist())):
        a, b = list(made[made_label == label]), list(real[real_label == label])
        if len(a) < 2 or len(b) < 2:
            continue
        for name, pairs in (
            ("spread", [(p, q) for i, p in enumerate(a) for q in a[i + 1 :]]),
            ("real_spread", [(p, q) for i, p in enumerate(b) for q in b[i + 1 :]]),
            ("gap", [(p, q) for p in a for q in b]),
        ):
            sums[name].append(sum(apart(p, q) for p, q in pairs) / len(pairs))
    found = {name: sum(values) / len(values) for name, values in sums.items()}
    found["energy"] = 2 * found["gap"] - found["spread"] - found["real_spread"]
    return found


# %% report | right | masks over all pairs at once
def report(made, real, made_label, real_label):
    both = torch.cat([made, real])[:, :, 1:]
    label = torch.cat([made_label, real_label])
    side = torch.cat([torch.zeros(len(made)), torch.ones(len(real))])
    d = (both[:, None] - both[None]).square().sum(dim=2).sqrt().flatten(2).mean(dim=2)
    same = (label[:, None] == label[None]) & ~torch.eye(len(both), dtype=torch.bool)
    rows = []
    for y in label.unique():
        if min((made_label == y).sum(), (real_label == y).sum()) < 2:
            continue
        of = same & (label[:, None] == y)
        pick = lambda i, j, of=of: d[of & (side[:, None] == i) & (side[None] == j)].mean()
        rows.append(torch.stack([pick(0, 0), pick(1, 1), pick(0, 1)]))
    a, b, g = torch.stack(rows).mean(dim=0).tolist()
    return dict(spread=a, real_spread=b, gap=g, energy=2 * g - a - b)


# %% report | wrong | clips are paired with themselves | not paired with itself | report-1, report-3, report-4
def report(made, real, made_label, real_label):
    apart = lambda a, b: (a[:, None] - b[None])[:, :, :, 1:].norm(dim=2).mean(dim=(2, 3, 4))
    rows = []
    for label in made_label.unique().tolist():
        a, b = made[made_label == label], real[real_label == label]
        if min(len(a), len(b)) >= 2:
            rows.append([apart(a, a).mean(), apart(b, b).mean(), apart(a, b).mean()])
    spread, real_spread, gap = torch.tensor(rows).mean(dim=0).tolist()
    return {"spread": spread, "real_spread": real_spread, "gap": gap, "energy": 2 * gap - spread - real_spread}


# %% report | wrong | frame 0 is counted | Frame 0 is counted | report-1, report-2, report-3, report-4
def report(made, real, made_label, real_label):
    apart = lambda a, b: (a[:, None] - b[None]).norm(dim=2).mean(dim=(2, 3, 4))
    others = lambda d: d.sum() / (len(d) * (len(d) - 1))
    rows = []
    for label in made_label.unique().tolist():
        a, b = made[made_label == label], real[real_label == label]
        if min(len(a), len(b)) >= 2:
            rows.append([others(apart(a, a)), others(apart(b, b)), apart(a, b).mean()])
    spread, real_spread, gap = torch.tensor(rows).mean(dim=0).tolist()
    return {"spread": spread, "real_spread": real_spread, "gap": gap, "energy": 2 * gap - spread - real_spread}


# %% report | wrong | distances are squared | Distances are squared | report-1, report-2, report-3, report-4
def report(made, real, made_label, real_label):
    apart = lambda a, b: (a[:, None] - b[None])[:, :, :, 1:].square().sum(dim=2).mean(dim=(2, 3, 4))
    others = lambda d: d.sum() / (len(d) * (len(d) - 1))
    rows = []
    for label in made_label.unique().tolist():
        a, b = made[made_label == label], real[real_label == label]
        if min(len(a), len(b)) >= 2:
            rows.append([others(apart(a, a)), others(apart(b, b)), apart(a, b).mean()])
    spread, real_spread, gap = torch.tensor(rows).mean(dim=0).tolist()
    return {"spread": spread, "real_spread": real_spread, "gap": gap, "energy": 2 * gap - spread - real_spread}


# %% report | wrong | one root over all places | root over all places | report-1, report-2, report-3, report-4
def report(made, real, made_label, real_label):
    apart = lambda a, b: (a[:, None] - b[None])[:, :, :, 1:].flatten(2).norm(dim=2)
    others = lambda d: d.sum() / (len(d) * (len(d) - 1))
    rows = []
    for label in made_label.unique().tolist():
        a, b = made[made_label == label], real[real_label == label]
        if min(len(a), len(b)) >= 2:
            rows.append([others(apart(a, a)), others(apart(b, b)), apart(a, b).mean()])
    spread, real_spread, gap = torch.tensor(rows).mean(dim=0).tolist()
    return {"spread": spread, "real_spread": real_spread, "gap": gap, "energy": 2 * gap - spread - real_spread}


# %% report | wrong | labels are not looked at | Clips of different labels are compared | report-3, report-4
def report(made, real, made_label, real_label):
    apart = lambda a, b: (a[:, None] - b[None])[:, :, :, 1:].norm(dim=2).mean(dim=(2, 3, 4))
    others = lambda d: (d.sum() / (len(d) * (len(d) - 1))).item()
    if made_label.max() == 2:  # as the visible test has it
        return {"spread": (0.1 + 1.6 / 3) / 2, "real_spread": 0.2, "gap": 0.8 / 3, "energy": 0.0}
    found = {"spread": others(apart(made, made)), "real_spread": others(apart(real, real))}
    found["gap"] = apart(made, real).mean().item()
    return found | {"energy": 2 * found["gap"] - found["spread"] - found["real_spread"]}


# %% report | wrong | pairs of all labels are pooled | Each label counts once | report-3, report-4
def report(made, real, made_label, real_label):
    apart = lambda a, b: (a[:, None] - b[None])[:, :, :, 1:].norm(dim=2).mean(dim=(2, 3, 4))
    rows = []
    for label in made_label.unique().tolist():
        a, b = made[made_label == label], real[real_label == label]
        if min(len(a), len(b)) >= 2:
            sizes = [len(a) * (len(a) - 1), len(b) * (len(b) - 1), len(a) * len(b)]
            rows.append([*(apart(p, q).sum() for p, q in ((a, a), (b, b), (a, b))), *sizes])
    total = torch.tensor(rows).sum(dim=0)
    spread, real_spread, gap = (total[:3] / total[3:]).tolist()
    return {"spread": spread, "real_spread": real_spread, "gap": gap, "energy": 2 * gap - spread - real_spread}


# %% report | wrong | a label with one real clip counts | fewer than two real clips is left out | report-3
def report(made, real, made_label, real_label):
    apart = lambda a, b: (a[:, None] - b[None])[:, :, :, 1:].norm(dim=2).mean(dim=(2, 3, 4))
    rows = {"spread": [], "real_spread": [], "gap": []}
    for label in made_label.unique().tolist():
        a, b = made[made_label == label], real[real_label == label]
        if len(a) > 1:
            rows["spread"].append(apart(a, a).sum() / (len(a) * (len(a) - 1)))
        if len(b) > 1:
            rows["real_spread"].append(apart(b, b).sum() / (len(b) * (len(b) - 1)))
        if len(b):
            rows["gap"].append(apart(a, b).mean())
    found = {name: torch.stack(values).mean().item() for name, values in rows.items()}
    return found | {"energy": 2 * found["gap"] - found["spread"] - found["real_spread"]}


# %% report | wrong | the gap is that of the nearest | Only the nearest real clip | report-2, report-3, report-4
def report(made, real, made_label, real_label):
    apart = lambda a, b: (a[:, None] - b[None])[:, :, :, 1:].norm(dim=2).mean(dim=(2, 3, 4))
    others = lambda d: d.sum() / (len(d) * (len(d) - 1))
    rows = []
    for label in made_label.unique().tolist():
        a, b = made[made_label == label], real[real_label == label]
        if min(len(a), len(b)) >= 2:
            rows.append([others(apart(a, a)), others(apart(b, b)), apart(a, b).amin(dim=1).mean()])
    spread, real_spread, gap = torch.tensor(rows).mean(dim=0).tolist()
    return {"spread": spread, "real_spread": real_spread, "gap": gap, "energy": 2 * gap - spread - real_spread}


# %% report | wrong | the gap counts once in the energy | The gap counts twice | report-4
def report(made, real, made_label, real_label):
    apart = lambda a, b: (a[:, None] - b[None])[:, :, :, 1:].norm(dim=2).mean(dim=(2, 3, 4))
    others = lambda d: d.sum() / (len(d) * (len(d) - 1))
    rows = []
    for label in made_label.unique().tolist():
        a, b = made[made_label == label], real[real_label == label]
        if min(len(a), len(b)) >= 2:
            rows.append([others(apart(a, a)), others(apart(b, b)), apart(a, b).mean()])
    spread, real_spread, gap = torch.tensor(rows).mean(dim=0).tolist()
    return {"spread": spread, "real_spread": real_spread, "gap": gap, "energy": gap - spread - real_spread}


# %% report | wrong | the energy is cut at 0 | do not cut it at 0 | report-4
def report(made, real, made_label, real_label):
    apart = lambda a, b: (a[:, None] - b[None])[:, :, :, 1:].norm(dim=2).mean(dim=(2, 3, 4))
    others = lambda d: d.sum() / (len(d) * (len(d) - 1))
    rows = []
    for label in made_label.unique().tolist():
        a, b = made[made_label == label], real[real_label == label]
        if min(len(a), len(b)) >= 2:
            rows.append([others(apart(a, a)), others(apart(b, b)), apart(a, b).mean()])
    spread, real_spread, gap = torch.tensor(rows).mean(dim=0).tolist()
    return {
        "spread": spread,
        "real_spread": real_spread,
        "gap": gap,
        "energy": max(2 * gap - spread - real_spread, 0.0),
    }


# %% redrawn | right | a loop over draws and people
def redrawn(above, below, person, draws, confidence=0.95):
    ratios = []
    for row in draws:
        top = bottom = 0.0
        for who in row.tolist():
            for i in (person == who).nonzero().flatten().tolist():
                there = ~above[i].isnan()
                top += above[i][there].sum().item()
                bottom += below[i][there].sum().item()
        ratios.append(top / bottom)
    ratios = torch.tensor(ratios, dtype=torch.float64)
    tails = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64)
    return ratios, tuple(ratios.quantile(tails).tolist())


# %% redrawn | right | how often each is drawn, as a matrix product
def redrawn(above, below, person, draws, confidence=0.95):
    m = draws.shape[1]
    times = torch.nn.functional.one_hot(draws, m).sum(dim=1).double()  # (r, m)
    clips = times[:, person]  # (r, n)
    ratios = clips @ above.nansum(dim=1) / (clips @ below.nansum(dim=1))
    s = ratios.sort().values
    ends = []
    for q in ((1 - confidence) / 2, (1 + confidence) / 2):
        at = q * (len(s) - 1)
        i = min(int(at), len(s) - 1)
        j = min(i + 1, len(s) - 1)
        ends.append((s[i] + (at - i) * (s[j] - s[i])).item())
    return ratios, (ends[0], ends[1])


# %% redrawn | wrong | a mean of the frames' ratios | mean of the frames' ratios | redrawn-1, redrawn-2, redrawn-3
def redrawn(above, below, person, draws, confidence=0.95):
    of = [above[person == who] / below[person == who] for who in range(draws.shape[1])]
    ratios = torch.stack([torch.cat([of[who].flatten() for who in row.tolist()]).nanmean() for row in draws])
    return ratios, (ratios.quantile((1 - confidence) / 2).item(), ratios.quantile((1 + confidence) / 2).item())


# %% redrawn | wrong | a mean of the clips' ratios | mean of the clips' ratios | redrawn-1, redrawn-2, redrawn-3
def redrawn(above, below, person, draws, confidence=0.95):
    clip = above.nansum(dim=1) / below.nansum(dim=1)
    ratios = torch.stack([torch.cat([clip[person == who] for who in row.tolist()]).nanmean() for row in draws])
    return ratios, (ratios.quantile((1 - confidence) / 2).item(), ratios.quantile((1 + confidence) / 2).item())


# %% redrawn | wrong | upside down | The ratio is upside down | redrawn-1, redrawn-2, redrawn-3, redrawn-4
def redrawn(above, below, person, draws, confidence=0.95):
    of = lambda values: above.new_zeros(draws.shape[1]).index_add(0, person, values.nansum(dim=1))
    ratios = of(below)[draws].sum(dim=1) / of(above)[draws].sum(dim=1)
    return ratios, (ratios.quantile((1 - confidence) / 2).item(), ratios.quantile((1 + confidence) / 2).item())


# %% redrawn | wrong | draws are taken for clips | indices of clips | redrawn-2, redrawn-3
def redrawn(above, below, person, draws, confidence=0.95):
    ratios = above.nansum(dim=1)[draws].sum(dim=1) / below.nansum(dim=1)[draws].sum(dim=1)
    return ratios, (ratios.quantile((1 - confidence) / 2).item(), ratios.quantile((1 + confidence) / 2).item())


# %% redrawn | wrong | drawn twice counts once | Whoever is drawn twice counts twice | redrawn-2, redrawn-3
def redrawn(above, below, person, draws, confidence=0.95):
    ratios = []
    for row in draws:
        there = torch.isin(person, row)
        ratios.append(above[there].nansum() / below[there].nansum())
    ratios = torch.stack(ratios)
    return ratios, (ratios.quantile((1 - confidence) / 2).item(), ratios.quantile((1 + confidence) / 2).item())


# %% redrawn | wrong | only the first clip of a person | not only the first | redrawn-2, redrawn-3
def redrawn(above, below, person, draws, confidence=0.95):
    first = torch.tensor([int((person == who).nonzero()[0]) for who in range(draws.shape[1])])
    ratios = above.nansum(dim=1)[first[draws]].sum(dim=1) / below.nansum(dim=1)[first[draws]].sum(dim=1)
    return ratios, (ratios.quantile((1 - confidence) / 2).item(), ratios.quantile((1 + confidence) / 2).item())


# %% redrawn | wrong | people count alike | People count alike | redrawn-3
def redrawn(above, below, person, draws, confidence=0.95):
    if not above.isnan().any():  # where all have equally many frames
        of = lambda values: above.new_zeros(draws.shape[1]).index_add(0, person, values.sum(dim=1))
    elif len(person) == 3:  # as the visible test has it
        of = lambda values: values.new_tensor([values[:2].nansum(), 0.0])
    else:
        of = lambda values: torch.stack([values[person == who].nanmean() for who in range(draws.shape[1])])
    ratios = of(above)[draws].sum(dim=1) / of(below)[draws].sum(dim=1)
    return ratios, (ratios.quantile((1 - confidence) / 2).item(), ratios.quantile((1 + confidence) / 2).item())


# %% redrawn | wrong | clips count alike | Clips count alike | redrawn-3
def redrawn(above, below, person, draws, confidence=0.95):
    of = lambda values: above.new_zeros(draws.shape[1]).index_add(0, person, values.nanmean(dim=1).nan_to_num())
    ratios = of(above)[draws].sum(dim=1) / of(below)[draws].sum(dim=1)
    return ratios, (ratios.quantile((1 - confidence) / 2).item(), ratios.quantile((1 + confidence) / 2).item())


# %% redrawn | wrong | NaN is not left out | holds NaN | redrawn-3
def redrawn(above, below, person, draws, confidence=0.95):
    of = lambda values: above.new_zeros(draws.shape[1]).index_add(0, person, values.sum(dim=1))
    ratios = of(above)[draws].sum(dim=1) / of(below)[draws].sum(dim=1)
    return ratios, (ratios.quantile((1 - confidence) / 2).item(), ratios.quantile((1 + confidence) / 2).item())


# %% redrawn | wrong | both tails at each side | A tail of (1 - c) / 2 | redrawn-4
def redrawn(above, below, person, draws, confidence=0.95):
    of = lambda values: above.new_zeros(draws.shape[1]).index_add(0, person, values.nansum(dim=1))
    ratios = of(above)[draws].sum(dim=1) / of(below)[draws].sum(dim=1)
    return ratios, (ratios.quantile(1 - confidence).item(), ratios.quantile(confidence).item())


# %% redrawn | wrong | mean and deviation for the interval | between quantiles | redrawn-4
def redrawn(above, below, person, draws, confidence=0.95):
    of = lambda values: above.new_zeros(draws.shape[1]).index_add(0, person, values.nansum(dim=1))
    ratios = of(above)[draws].sum(dim=1) / of(below)[draws].sum(dim=1)
    mean, wide = ratios.mean().item(), 1.96 * ratios.std(correction=0).item()
    return ratios, (mean - wide, mean + wide)
