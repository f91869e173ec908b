# Plausible wrong answers to the exercises of chapter 11; see tests/exercises.py for the form.

# %% confusion: counts are returned -> divide each row
def confusion(asked, read, labels):
    return torch.bincount(labels * asked + read, minlength=labels**2).view(labels, labels).float()


# %% confusion: rows and columns are exchanged, columns sum to 1 -> rows are what was asked
def confusion(asked, read, labels):
    counts = torch.bincount(labels * asked + read, minlength=labels**2).view(labels, labels).float()
    return (counts / counts.sum(dim=1, keepdim=True)).T


# %% confusion: the arguments are exchanged -> yours are what was read
def confusion(asked, read, labels):
    counts = torch.bincount(labels * read + asked, minlength=labels**2).view(labels, labels).float()
    return counts / counts.sum(dim=1, keepdim=True)


# %% confusion: columns are divided by their sums -> not each column
def confusion(asked, read, labels):
    counts = torch.bincount(labels * asked + read, minlength=labels**2).view(labels, labels).float()
    return counts / counts.sum(dim=0)


# %% confusion: shares of all clips -> not of all clips
def confusion(asked, read, labels):
    counts = torch.bincount(labels * asked + read, minlength=labels**2).view(labels, labels).float()
    return counts / counts.sum()


# %% confusion: rows are not put back into a table -> shape
def confusion(asked, read, labels):
    counts = torch.bincount(labels * asked + read, minlength=labels**2).float()
    return counts / counts.sum()


# %% extrapolated: the slope is returned -> that is c
def extrapolated(n, distance):
    line = torch.stack([torch.ones_like(n), 1 / n], dim=1)
    return torch.linalg.lstsq(line, distance[:, None]).solution[1, 0]


# %% extrapolated: the line is fitted against n -> not against n
def extrapolated(n, distance):
    line = torch.stack([torch.ones_like(n), n], dim=1)
    return torch.linalg.lstsq(line, distance[:, None]).solution[0, 0]


# %% extrapolated: the distance of the most clips is taken -> still too large
def extrapolated(n, distance):
    return distance[n.argmax()]


# %% extrapolated: a line through the last two points -> not through the last two
def extrapolated(n, distance):
    slope = (distance[-2] - distance[-1]) / (1 / n[-2] - 1 / n[-1])
    return distance[-1] - slope / n[-1]


# %% extrapolated: the rise is taken for that of a mean's error -> sqrt
def extrapolated(n, distance):
    line = torch.stack([torch.ones_like(n), n**-0.5], dim=1)
    return torch.linalg.lstsq(line, distance[:, None]).solution[0, 0]


# %% extrapolated: the mean of all distances -> mean of the rise
def extrapolated(n, distance):
    return distance.mean()


# %% extrapolated: the axes are exchanged -> 1 / n is known
def extrapolated(n, distance):
    line = torch.stack([torch.ones_like(distance), distance], dim=1)
    constant, slope = torch.linalg.lstsq(line, (1 / n)[:, None]).solution[:, 0]
    return -constant / slope


# %% extrapolated: both numbers of the line are returned -> shape
def extrapolated(n, distance):
    line = torch.stack([torch.ones_like(n), 1 / n], dim=1)
    return torch.linalg.lstsq(line, distance[:, None]).solution[:, 0]


# %% clips_of_drawn_people: clips are drawn -> all of their clips
def clips_of_drawn_people(person, generator):
    return torch.randint(len(person), (len(person),), generator=generator)


# %% clips_of_drawn_people: people are drawn without replacement -> with replacement
def clips_of_drawn_people(person, generator):
    people = person.unique()
    drawn = people[torch.randperm(len(people), generator=generator)]
    return torch.cat([(person == who).nonzero().flatten() for who in drawn])


# %% clips_of_drawn_people: one clip of each drawn person -> all of their clips
def clips_of_drawn_people(person, generator):
    people = person.unique()
    drawn = people[torch.randint(len(people), (len(people),), generator=generator)]
    return torch.stack([(person == who).nonzero().flatten()[0] for who in drawn])


# %% clips_of_drawn_people: as many draws as clips -> as many people as there are
def clips_of_drawn_people(person, generator):
    people = person.unique()
    drawn = people[torch.randint(len(people), (len(person),), generator=generator)]
    return torch.cat([(person == who).nonzero().flatten() for who in drawn])


# %% clips_of_drawn_people: a person with many clips is drawn more often -> same chance
def clips_of_drawn_people(person, generator):
    drawn = person[torch.randint(len(person), (len(person.unique()),), generator=generator)]
    return torch.cat([(person == who).nonzero().flatten() for who in drawn])


# %% clips_of_drawn_people: the generator is not used -> same generator
def clips_of_drawn_people(person, generator):
    people = person.unique()
    drawn = people[torch.randint(len(people), (len(people),))]
    return torch.cat([(person == who).nonzero().flatten() for who in drawn])


# %% clips_of_drawn_people: a generator of its own -> another generator
def clips_of_drawn_people(person, generator):
    people = person.unique()
    drawn = people[torch.randint(len(people), (len(people),), generator=torch.Generator().manual_seed(0))]
    return torch.cat([(person == who).nonzero().flatten() for who in drawn])


# %% clips_of_drawn_people: names of people are returned -> not their names
def clips_of_drawn_people(person, generator):
    people = person.unique()
    return people[torch.randint(len(people), (len(people),), generator=generator)]
