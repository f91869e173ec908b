"""Plausible wrong answers to the exercises of chapter 09; see `tests/exercises.py` for the form."""


# %% drop_labels: the first tenth is dropped -> another generator
def drop_labels(label, none, probability, generator):
    dropped = torch.arange(len(label)) < probability * len(label)
    return torch.where(dropped, none, label)


# %% drop_labels: the first labels of a shuffled start are dropped -> same chance
def drop_labels(label, none, probability, generator):
    chance = torch.rand(len(label), generator=generator)
    return torch.where((chance < 5 * probability) & (torch.arange(len(label)) < len(label) * max(0.2, probability)), none, label)


# %% drop_labels: chance from the global generator -> same generator
def drop_labels(label, none, probability, generator):
    return torch.where(torch.rand(len(label)) < probability, none, label)


# %% drop_labels: a generator of its own -> another generator
def drop_labels(label, none, probability, generator):
    return torch.where(torch.rand(len(label), generator=torch.Generator().manual_seed(0)) < probability, none, label)


# %% drop_labels: exactly a tenth, at random places -> always equally many
def drop_labels(label, none, probability, generator):
    order = torch.randperm(len(label), generator=generator)
    return torch.where(order < probability * len(label), none, label)


# %% drop_labels: one throw for all -> one throw
def drop_labels(label, none, probability, generator):
    return torch.where(torch.rand(1, generator=generator) < probability, none, label)


# %% drop_labels: turned around -> turned around
def drop_labels(label, none, probability, generator):
    return torch.where(torch.rand(len(label), generator=generator) < probability, label, none)


# %% drop_labels: 0 for none -> 0 is a label
def drop_labels(label, none, probability, generator):
    return torch.where(torch.rand(len(label), generator=generator) < probability, 0, label)


# %% drop_labels: the dropped are left out -> shape
def drop_labels(label, none, probability, generator):
    return label[torch.rand(len(label), generator=generator) >= probability]


# %% drop_labels: a list of numbers -> return a tensor
def drop_labels(label, none, probability, generator):
    return [none if torch.rand((), generator=generator) < probability else int(y) for y in label]


# %% slow_index: as many gaps as frames -> four gaps
def slow_index(count):
    return 2 * torch.arange(count) / count - 1


# %% slow_index: the index of training -> index of training
def slow_index(count):
    return 2 * torch.arange(count) / 15 - 1


# %% slow_index: from 0 to 1 -> starts at -1
def slow_index(count):
    return torch.arange(count) / max(count - 1, 1)


# %% slow_index: a single frame divides by zero -> single frame
def slow_index(count):
    return 2 * torch.arange(count) / (count - 1) - 1


# %% slow_index: a list -> return a tensor
def slow_index(count):
    return [2 * i / max(count - 1, 1) - 1 for i in range(count)]


# %% slow_index: backwards -> frame 0
def slow_index(count):
    return 1 - 2 * torch.arange(count) / max(count - 1, 1)


# %% TwoDials: one scale for all -> stage 1: one scale
class TwoDials(_right):
    def answer(self, x, t, s_label, s_numbers):
        return guided_v2(self.network, self.z0, *GIVEN[1:], s_label)(x, t)


# %% TwoDials: both differences begin at nothing -> label's answer, not at nothing
class TwoDials(_right):
    def answer(self, x, t, s_label, s_numbers):
        nothing, label, both = three_answers(self.network, *GIVEN, x, t)
        return nothing + s_label * (label - nothing) + s_numbers * (both - nothing)


# %% TwoDials: the label is never asked alone -> open
class TwoDials(_right):
    def answer(self, x, t, s_label, s_numbers):
        nothing, label, both = three_answers(self.network, *GIVEN, x, t)
        return nothing + s_label * (both - nothing) + s_numbers * (both - label)


# %% TwoDials: the scales are exchanged -> exchanged
class TwoDials(_right):
    def answer(self, x, t, s_label, s_numbers):
        return mixed(three_answers(self.network, *GIVEN, x, t), s_numbers, s_label)


# %% TwoDials: 0 in place of NaN -> 0 is a value
class TwoDials(_right):
    def answer(self, x, t, s_label, s_numbers):
        nothing, _, both = three_answers(self.network, *GIVEN, x, t)
        label = three_answers(self.network, GIVEN[0], GIVEN[1], torch.zeros(2, 2), x, t)[2]
        return mixed((nothing, label, both), s_label, s_numbers)


# %% TwoDials: the label 0 in place of none -> label none
class TwoDials(_right):
    def answer(self, x, t, s_label, s_numbers):
        _, label, both = three_answers(self.network, *GIVEN, x, t)
        return mixed((self.network(x, t, GIVEN[0], 0 * GIVEN[1], math.nan * GIVEN[2]), label, both), s_label, s_numbers)


# %% TwoDials: three calls a step -> one call
class TwoDials(_right):
    def answer(self, x, t, s_label, s_numbers):
        return mixed(three_answers(self.network, *GIVEN, x, t), s_label, s_numbers)


# %% TwoDials: all three answers, needed or not -> answers count
class TwoDials(_right):
    def answer(self, x, t, s_label, s_numbers):
        (labels, numbers), z0 = (torch.cat(part) for part in zip(*self.asked)), torch.cat([self.z0] * 3)
        answers = self.network(torch.cat([x] * 3), torch.cat([t] * 3), z0, labels, numbers).chunk(3)
        return mixed(answers, s_label, s_numbers)


# %% TwoDials: guided at every step -> every step
class TwoDials(_right):
    def sample(self, noise, path, s_label, s_numbers, low, high):
        return super().sample(noise, path, s_label, s_numbers, 0, 999)


# %% TwoDials: guided outside the interval -> inside the interval
class TwoDials(_right):
    def sample(self, noise, path, s_label, s_numbers, low, high):
        return by_ddim(lambda x, t: self.answer(x, t, *((1.0, 1.0) if low <= t[0] <= high else (s_label, s_numbers))), noise, path)


# %% TwoDials: the ends are left out -> both ends
class TwoDials(_right):
    def sample(self, noise, path, s_label, s_numbers, low, high):
        return super().sample(noise, path, s_label, s_numbers, low + 1, high - 1)


# %% TwoDials: it stops one step early -> stage 3
class TwoDials(_right):
    def sample(self, noise, path, s_label, s_numbers, low, high):
        return super().sample(noise, path[:-1], s_label, s_numbers, low, high)


# %% TwoDials: an answer that is a list -> stage 1
class TwoDials(_right):
    def answer(self, x, t, s_label, s_numbers):
        return super().answer(x, t, s_label, s_numbers).tolist()
