"""Answers to problem set 7, a project of one's own: wrong ones with their misconception, right ones in other styles."""


# %% foresee | wrong | squares | not their squares | foresee-1
def foresee():
    return {"A": 0.25, "B": 4, "C": 1.4142136, "D": 0.3333333, "E": 1, "F": 0.5, "G": 0.6717905}


# %% foresee | wrong | opposite signs cancel | a distance is positive | foresee-1
def foresee():
    return {"A": 0.5, "B": 0.0, "C": 1.4142136, "D": 0.3333333, "E": 1, "F": 0.5, "G": 0.6717905}


# %% foresee | wrong | twice missed | twice the length | foresee-1
def foresee():
    return {"A": 0.5, "B": 1, "C": 1.4142136, "D": 0.3333333, "E": 1, "F": 0.5, "G": 0.6717905}


# %% foresee | wrong | swapped axes have the same length | the end points do not | foresee-1
def foresee():
    return {"A": 0.5, "B": 2, "C": 0.0, "D": 0.3333333, "E": 1, "F": 0.5, "G": 0.6717905}


# %% foresee | wrong | missing and wrong parts added | across the corner | foresee-1
def foresee():
    return {"A": 0.5, "B": 2, "C": 2, "D": 0.3333333, "E": 1, "F": 0.5, "G": 0.6717905}


# %% foresee | wrong | errors of the mean cancel | do not cancel | foresee-2
def foresee():
    return {"A": 0.5, "B": 2, "C": 1.4142136, "D": 0.0, "E": 1, "F": 0.5, "G": 0.6717905}


# %% foresee | wrong | the error in pixels | divide by the mean length | foresee-2
def foresee():
    return {"A": 0.5, "B": 2, "C": 1.4142136, "D": 0.5, "E": 1, "F": 0.5, "G": 0.6717905}


# %% foresee | wrong | ratios of pixels averaged | mean of ratios | foresee-2
def foresee():
    return {"A": 0.5, "B": 2, "C": 1.4142136, "D": 0.375, "E": 1, "F": 0.5, "G": 0.6717905}


# %% foresee | wrong | the mean motion of two directions is right on average | that is copying | foresee-2
def foresee():
    return {"A": 0.5, "B": 2, "C": 1.4142136, "D": 0.3333333, "E": 0, "F": 0.5, "G": 0.6717905}


# %% foresee | wrong | from one direction to the other | missed by its own length | foresee-2
def foresee():
    return {"A": 0.5, "B": 2, "C": 1.4142136, "D": 0.3333333, "E": 2, "F": 0.5, "G": 0.6717905}


# %% foresee | wrong | clips pooled | mean of two shares | foresee-2
def foresee():
    return {"A": 0.5, "B": 2, "C": 1.4142136, "D": 0.3333333, "E": 1, "F": 0.18, "G": 0.6717905}


# %% foresee | wrong | pixels for a share | These are pixels | foresee-2
def foresee():
    return {"A": 0.5, "B": 2, "C": 1.4142136, "D": 0.3333333, "E": 1, "F": 0.9, "G": 0.6717905}


# %% foresee | wrong | the chosen one is worth what it shows | because it looked good | foresee-3
def foresee():
    return {"A": 0.5, "B": 2, "C": 1.4142136, "D": 0.3333333, "E": 1, "F": 0.5, "G": 0.7}


# %% foresee | wrong | sign of the optimism | The sign | foresee-3
def foresee():
    return {"A": 0.5, "B": 2, "C": 1.4142136, "D": 0.3333333, "E": 1, "F": 0.5, "G": 0.7282095}


# %% foresee | wrong | a whole deviation | not a whole deviation | foresee-3
def foresee():
    return {"A": 0.5, "B": 2, "C": 1.4142136, "D": 0.3333333, "E": 1, "F": 0.5, "G": 0.65}


# %% foresee | wrong | deviation of one | a deviation of 1 | foresee-3
def foresee():
    return {"A": 0.5, "B": 2, "C": 1.4142136, "D": 0.3333333, "E": 1, "F": 0.5, "G": 0.1358104}


# %% foresee | wrong | a list instead of a table | dictionary | foresee-1, foresee-2, foresee-3
def foresee():
    return [0.5, 2, 1.4142136, 0.3333333, 1, 0.5, 0.6717905]


# %% foresee | right | by simulation and by integrals
def foresee():
    z = torch.linspace(-7, 7, 4001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    below = torch.special.ndtr(z)
    larger = torch.trapezoid(2 * z * density * below, z).item()  # the mean of the larger of two
    share = lambda a, b: sum(math.dist(p, q) for p, q in zip(a, b)) / sum(math.hypot(*q) for q in b)
    true = [(2.0, 0.0), (1.0, 0.0)]
    return {
        "A": share([(1.0, 0.0), (0.5, 0.0)], true),
        "B": share([(-x, -y) for x, y in true], true),
        "C": share([(y, x) for x, y in true], true),
        "D": share([(1.5, 0.0)] * 2, true),
        "E": (share([(0.0, 0.0)], [(-2.0, 0.0)]) + share([(0.0, 0.0)], [(2.0, 0.0)])) / 2,
        "F": (0.9 / 1 + 0.9 / 9) / 2,
        "G": 0.7 - 0.05 * larger,
    }


# %% deal | wrong | clips are dealt | clips are dealt | deal-2, deal-3, deal-4, deal-5
def deal(subject, seed):
    order = torch.randperm(len(subject), generator=torch.Generator().manual_seed(seed)).tolist()
    few = max(1, len(subject) // 5)
    return ["test" if rank < few else "val" if rank < 2 * few else "train" for rank in order]


# %% deal | wrong | one after another, without chance | The seed makes no difference | deal-4
def deal(subject: list[str], seed: int) -> list[str]:
    names = sorted(set(subject) - {""})
    order = range(len(names))
    few = max(1, len(names) // 5)
    place = {names[i]: "test" if rank < few else "val" if rank < 2 * few else "train" for rank, i in enumerate(order)}
    return [place.get(name, "train") for name in subject]


# %% deal | wrong | chance without the seed | Chance does not come from the seed | deal-4, deal-5
def deal(subject: list[str], seed: int) -> list[str]:
    names = sorted(set(subject) - {""})
    order = torch.randperm(len(names)).tolist()
    few = max(1, len(names) // 5)
    place = {names[i]: "test" if rank < few else "val" if rank < 2 * few else "train" for rank, i in enumerate(order)}
    return [place.get(name, "train") for name in subject]


# %% deal | wrong | in the order of the clips | sort the names first | deal-4
def deal(subject: list[str], seed: int) -> list[str]:
    names = [name for name in dict.fromkeys(subject) if name]
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    few = max(1, len(names) // 5)
    place = {names[i]: "test" if rank < few else "val" if rank < 2 * few else "train" for rank, i in enumerate(order)}
    return [place.get(name, "train") for name in subject]


# %% deal | wrong | the unknown are a subject | take a place from one | deal-5
def deal(subject: list[str], seed: int) -> list[str]:
    names = sorted(set(subject))
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    few = max(1, len(names) // 5)
    place = {names[i]: "test" if rank < few else "val" if rank < 2 * few else "train" for rank, i in enumerate(order)}
    return [place.get(name, "train") for name in subject]


# %% deal | wrong | a fifth rounded up | rounded down | deal-3
def deal(subject: list[str], seed: int) -> list[str]:
    names = sorted(set(subject) - {""})
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    few = math.ceil(len(names) / 5)
    place = {names[i]: "test" if rank < few else "val" if rank < 2 * few else "train" for rank, i in enumerate(order)}
    return [place.get(name, "train") for name in subject]


# %% deal | wrong | a fifth of few is none | A fifth of few subjects is none | deal-1, deal-3
def deal(subject: list[str], seed: int) -> list[str]:
    names = sorted(set(subject) - {""})
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    few = len(names) // 5
    place = {names[i]: "test" if rank < few else "val" if rank < 2 * few else "train" for rank, i in enumerate(order)}
    return [place.get(name, "train") for name in subject]


# %% deal | wrong | a tenth | A tenth is less | deal-3
def deal(subject: list[str], seed: int) -> list[str]:
    names = sorted(set(subject) - {""})
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    few = max(1, len(names) // 10)
    place = {names[i]: "test" if rank < few else "val" if rank < 2 * few else "train" for rank, i in enumerate(order)}
    return [place.get(name, "train") for name in subject]


# %% deal | wrong | every subject by a throw of its own | Chance decides how many | deal-1, deal-3, deal-4, deal-5
def deal(subject, seed):
    draw = torch.Generator().manual_seed(seed)
    place = {}
    for name in subject:
        if name not in place:
            u = torch.rand((), generator=draw).item()
            place[name] = "test" if u < 0.2 else "val" if u < 0.4 else "train"
    return [place[name] for name in subject]


# %% deal | wrong | the given list is sorted | work on a copy | deal-1, deal-2, deal-3, deal-4, deal-5
def deal(subject: list[str], seed: int) -> list[str]:
    subject.sort()
    names = sorted(set(subject) - {""})
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    few = max(1, len(names) // 5)
    place = {names[i]: "test" if rank < few else "val" if rank < 2 * few else "train" for rank, i in enumerate(order)}
    return [place.get(name, "train") for name in subject]


# %% deal | right | by hashes of the names
def deal(subject, seed):
    known = {name for name in subject if name}
    ranked = sorted(known, key=lambda name: (zlib.crc32(f"{seed}/{name}".encode()), name))
    few = max(1, int(len(ranked) / 5))
    test, val = set(ranked[:few]), set(ranked[few : 2 * few])
    found = []
    for name in subject:
        found.append("test" if name in test else "val" if name in val else "train")
    return found


# %% card | wrong | labels in rows | should have | card-1
def card(clips: Clips, split: list[str], labels: int) -> dict:
    table = torch.zeros(3, labels, dtype=torch.int64)
    people: list[set[str]] = [set(), set(), set()]
    for word, label, name in zip(split, clips.label.tolist(), clips.subject, strict=True):
        table[SPLITS.index(word), label] += 1
        people[SPLITS.index(word)] |= {name} - {""}
    leaks = sorted((people[0] & people[1]) | (people[0] & people[2]) | (people[1] & people[2]))
    stored = (255 * clips.video).round().flatten(1)
    copies = sum(
        split[i] != split[j] and torch.equal(stored[i], stored[j]) for i in range(len(split)) for j in range(i)
    )
    return {"clips": table.T, "subjects": [len(names) for names in people], "leaks": leaks, "copies": copies}


# %% card | wrong | labels without clips have no column | should have | card-1
def card(clips: Clips, split: list[str], labels: int) -> dict:
    table = torch.zeros(3, int(clips.label.max()) + 1, dtype=torch.int64)
    people: list[set[str]] = [set(), set(), set()]
    for word, label, name in zip(split, clips.label.tolist(), clips.subject, strict=True):
        table[SPLITS.index(word), label] += 1
        people[SPLITS.index(word)] |= {name} - {""}
    leaks = sorted((people[0] & people[1]) | (people[0] & people[2]) | (people[1] & people[2]))
    stored = (255 * clips.video).round().flatten(1)
    copies = sum(
        split[i] != split[j] and torch.equal(stored[i], stored[j]) for i in range(len(split)) for j in range(i)
    )
    return {"clips": table, "subjects": [len(names) for names in people], "leaks": leaks, "copies": copies}


# %% card | wrong | the splits in the order of the alphabet | in this order | card-1, card-2
def card(clips: Clips, split: list[str], labels: int) -> dict:
    table = torch.zeros(3, labels, dtype=torch.int64)
    people: list[set[str]] = [set(), set(), set()]
    for word, label, name in zip(split, clips.label.tolist(), clips.subject, strict=True):
        table[sorted(SPLITS).index(word), label] += 1
        people[sorted(SPLITS).index(word)] |= {name} - {""}
    leaks = sorted((people[0] & people[1]) | (people[0] & people[2]) | (people[1] & people[2]))
    stored = (255 * clips.video).round().flatten(1)
    copies = sum(
        split[i] != split[j] and torch.equal(stored[i], stored[j]) for i in range(len(split)) for j in range(i)
    )
    return {"clips": table, "subjects": [len(names) for names in people], "leaks": leaks, "copies": copies}


# %% card | wrong | whether instead of how many | how many is asked for | card-1
def card(clips: Clips, split: list[str], labels: int) -> dict:
    table = torch.zeros(3, labels, dtype=torch.int64)
    people: list[set[str]] = [set(), set(), set()]
    for word, label, name in zip(split, clips.label.tolist(), clips.subject, strict=True):
        table[SPLITS.index(word), label] = 1
        people[SPLITS.index(word)] |= {name} - {""}
    leaks = sorted((people[0] & people[1]) | (people[0] & people[2]) | (people[1] & people[2]))
    stored = (255 * clips.video).round().flatten(1)
    copies = sum(
        split[i] != split[j] and torch.equal(stored[i], stored[j]) for i in range(len(split)) for j in range(i)
    )
    return {"clips": table, "subjects": [len(names) for names in people], "leaks": leaks, "copies": copies}


# %% card | wrong | clips counted as subjects | a subject counts once | card-2
def card(clips: Clips, split: list[str], labels: int) -> dict:
    table = torch.zeros(3, labels, dtype=torch.int64)
    people: list[set[str]] = [set(), set(), set()]
    for word, label, name in zip(split, clips.label.tolist(), clips.subject, strict=True):
        table[SPLITS.index(word), label] += 1
        people[SPLITS.index(word)] |= {name} - {""}
    leaks = sorted((people[0] & people[1]) | (people[0] & people[2]) | (people[1] & people[2]))
    stored = (255 * clips.video).round().flatten(1)
    copies = sum(
        split[i] != split[j] and torch.equal(stored[i], stored[j]) for i in range(len(split)) for j in range(i)
    )
    return {"clips": table, "subjects": [split.count(word) for word in SPLITS], "leaks": leaks, "copies": copies}


# %% card | wrong | the unknown are a subject | The unknown are no subject | card-2, card-3
def card(clips: Clips, split: list[str], labels: int) -> dict:
    table = torch.zeros(3, labels, dtype=torch.int64)
    people: list[set[str]] = [set(), set(), set()]
    for word, label, name in zip(split, clips.label.tolist(), clips.subject, strict=True):
        table[SPLITS.index(word), label] += 1
        people[SPLITS.index(word)] |= {name}
    leaks = sorted((people[0] & people[1]) | (people[0] & people[2]) | (people[1] & people[2]))
    stored = (255 * clips.video).round().flatten(1)
    copies = sum(
        split[i] != split[j] and torch.equal(stored[i], stored[j]) for i in range(len(split)) for j in range(i)
    )
    return {"clips": table, "subjects": [len(names) for names in people], "leaks": leaks, "copies": copies}


# %% card | wrong | val may know the people of test | Val and test must have nobody in common | card-3
def card(clips: Clips, split: list[str], labels: int) -> dict:
    table = torch.zeros(3, labels, dtype=torch.int64)
    people: list[set[str]] = [set(), set(), set()]
    for word, label, name in zip(split, clips.label.tolist(), clips.subject, strict=True):
        table[SPLITS.index(word), label] += 1
        people[SPLITS.index(word)] |= {name} - {""}
    leaks = sorted((people[0] & people[1]) | (people[0] & people[2]))
    stored = (255 * clips.video).round().flatten(1)
    copies = sum(
        split[i] != split[j] and torch.equal(stored[i], stored[j]) for i in range(len(split)) for j in range(i)
    )
    return {"clips": table, "subjects": [len(names) for names in people], "leaks": leaks, "copies": copies}


# %% card | wrong | train against test alone | Val counts, too | card-3
def card(clips: Clips, split: list[str], labels: int) -> dict:
    table = torch.zeros(3, labels, dtype=torch.int64)
    people: list[set[str]] = [set(), set(), set()]
    for word, label, name in zip(split, clips.label.tolist(), clips.subject, strict=True):
        table[SPLITS.index(word), label] += 1
        people[SPLITS.index(word)] |= {name} - {""}
    leaks = sorted(people[0] & people[2])
    stored = (255 * clips.video).round().flatten(1)
    copies = sum(
        split[i] != split[j] and torch.equal(stored[i], stored[j]) for i in range(len(split)) for j in range(i)
    )
    return {"clips": table, "subjects": [len(names) for names in people], "leaks": leaks, "copies": copies}


# %% card | wrong | in all three splits | two are enough | card-3
def card(clips: Clips, split: list[str], labels: int) -> dict:
    table = torch.zeros(3, labels, dtype=torch.int64)
    people: list[set[str]] = [set(), set(), set()]
    for word, label, name in zip(split, clips.label.tolist(), clips.subject, strict=True):
        table[SPLITS.index(word), label] += 1
        people[SPLITS.index(word)] |= {name} - {""}
    leaks = sorted(people[0] & people[1] & people[2])
    stored = (255 * clips.video).round().flatten(1)
    copies = sum(
        split[i] != split[j] and torch.equal(stored[i], stored[j]) for i in range(len(split)) for j in range(i)
    )
    return {"clips": table, "subjects": [len(names) for names in people], "leaks": leaks, "copies": copies}


# %% card | wrong | pairs counted in both directions | in both directions | card-4
def card(clips: Clips, split: list[str], labels: int) -> dict:
    table = torch.zeros(3, labels, dtype=torch.int64)
    people: list[set[str]] = [set(), set(), set()]
    for word, label, name in zip(split, clips.label.tolist(), clips.subject, strict=True):
        table[SPLITS.index(word), label] += 1
        people[SPLITS.index(word)] |= {name} - {""}
    leaks = sorted((people[0] & people[1]) | (people[0] & people[2]) | (people[1] & people[2]))
    stored = (255 * clips.video).round().flatten(1)
    copies = sum(
        split[i] != split[j] and torch.equal(stored[i], stored[j]) for i in range(len(split)) for j in range(len(split))
    )
    return {"clips": table, "subjects": [len(names) for names in people], "leaks": leaks, "copies": copies}


# %% card | wrong | copies within a split | within a split leak nothing | card-4
def card(clips: Clips, split: list[str], labels: int) -> dict:
    table = torch.zeros(3, labels, dtype=torch.int64)
    people: list[set[str]] = [set(), set(), set()]
    for word, label, name in zip(split, clips.label.tolist(), clips.subject, strict=True):
        table[SPLITS.index(word), label] += 1
        people[SPLITS.index(word)] |= {name} - {""}
    leaks = sorted((people[0] & people[1]) | (people[0] & people[2]) | (people[1] & people[2]))
    stored = (255 * clips.video).round().flatten(1)
    copies = sum(
        torch.equal(stored[i], stored[j]) for i in range(len(split)) for j in range(i)
    )
    return {"clips": table, "subjects": [len(names) for names in people], "leaks": leaks, "copies": copies}


# %% card | wrong | first frames compared | all frames are compared | card-4
def card(clips: Clips, split: list[str], labels: int) -> dict:
    table = torch.zeros(3, labels, dtype=torch.int64)
    people: list[set[str]] = [set(), set(), set()]
    for word, label, name in zip(split, clips.label.tolist(), clips.subject, strict=True):
        table[SPLITS.index(word), label] += 1
        people[SPLITS.index(word)] |= {name} - {""}
    leaks = sorted((people[0] & people[1]) | (people[0] & people[2]) | (people[1] & people[2]))
    stored = (255 * clips.video[:, :, 0]).round().flatten(1)
    copies = sum(
        split[i] != split[j] and torch.equal(stored[i], stored[j]) for i in range(len(split)) for j in range(i)
    )
    return {"clips": table, "subjects": [len(names) for names in people], "leaks": leaks, "copies": copies}


# %% card | wrong | equal floats | equal floats are too much to ask | card-4
def card(clips: Clips, split: list[str], labels: int) -> dict:
    table = torch.zeros(3, labels, dtype=torch.int64)
    people: list[set[str]] = [set(), set(), set()]
    for word, label, name in zip(split, clips.label.tolist(), clips.subject, strict=True):
        table[SPLITS.index(word), label] += 1
        people[SPLITS.index(word)] |= {name} - {""}
    leaks = sorted((people[0] & people[1]) | (people[0] & people[2]) | (people[1] & people[2]))
    stored = clips.video.flatten(1)
    copies = sum(
        split[i] != split[j] and torch.equal(stored[i], stored[j]) for i in range(len(split)) for j in range(i)
    )
    return {"clips": table, "subjects": [len(names) for names in people], "leaks": leaks, "copies": copies}


# %% card | wrong | the videos are rounded in place | they must stay as they are | card-4
def card(clips: Clips, split: list[str], labels: int) -> dict:
    table = torch.zeros(3, labels, dtype=torch.int64)
    people: list[set[str]] = [set(), set(), set()]
    for word, label, name in zip(split, clips.label.tolist(), clips.subject, strict=True):
        table[SPLITS.index(word), label] += 1
        people[SPLITS.index(word)] |= {name} - {""}
    leaks = sorted((people[0] & people[1]) | (people[0] & people[2]) | (people[1] & people[2]))
    stored = clips.video.mul_(255).round_().flatten(1)
    copies = sum(
        split[i] != split[j] and torch.equal(stored[i], stored[j]) for i in range(len(split)) for j in range(i)
    )
    return {"clips": table, "subjects": [len(names) for names in people], "leaks": leaks, "copies": copies}


# %% card | wrong | train against the others alone | Val and test can share a copy | card-4
def card(clips: Clips, split: list[str], labels: int) -> dict:
    table = torch.zeros(3, labels, dtype=torch.int64)
    people: list[set[str]] = [set(), set(), set()]
    for word, label, name in zip(split, clips.label.tolist(), clips.subject, strict=True):
        table[SPLITS.index(word), label] += 1
        people[SPLITS.index(word)] |= {name} - {""}
    leaks = sorted((people[0] & people[1]) | (people[0] & people[2]) | (people[1] & people[2]))
    stored = (255 * clips.video).round().flatten(1)
    copies = sum(
        (split[i] == "train") != (split[j] == "train") and torch.equal(stored[i], stored[j]) for i in range(len(split)) for j in range(i)
    )
    return {"clips": table, "subjects": [len(names) for names in people], "leaks": leaks, "copies": copies}


# %% card | right | with bytes and counters
def card(clips, split, labels):
    from collections import Counter

    clip_count = Counter(zip(split, clips.label.tolist()))
    table = torch.tensor([[clip_count[word, y] for y in range(labels)] for word in SPLITS])
    where = {}
    for name, word in zip(clips.subject, split):
        if name:
            where.setdefault(name, set()).add(word)
    groups = {}
    for video, word in zip(clips.video, split):
        key = (video * 255 + 0.5).to(torch.uint8).numpy().tobytes()
        groups.setdefault(key, Counter())[word] += 1
    copies = sum(g["train"] * g["val"] + g["train"] * g["test"] + g["val"] * g["test"] for g in groups.values())
    return {
        "copies": copies,
        "clips": table,
        "leaks": sorted(name for name, words in where.items() if len(words) > 1),
        "subjects": [sum(word in words for words in where.values()) for word in SPLITS],
    }


# %% yard | wrong | normalized units | In normalized units | yard-2
def error_share(flow: Tensor, truth: Tensor) -> Tensor:
    h, w = truth.shape[-2:]
    pixels = torch.ones(2).view(1, 2, 1, 1, 1)
    length = lambda field: (field * pixels)[:, :, 1:].norm(dim=1).sum(dim=(1, 2, 3))
    return torch.where(length(truth) > 0, length(flow - truth) / length(truth), math.nan)


def mean_motion(flow: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
    same = (wanted[:, None] == label[None]).to(flow.dtype)
    return torch.einsum("mn,ncthw->mcthw", same / same.sum(dim=1, keepdim=True).clamp(min=1), flow)


# %% yard | wrong | width and height swapped | Width and height are swapped | yard-2
def error_share(flow: Tensor, truth: Tensor) -> Tensor:
    h, w = truth.shape[-2:]
    pixels = torch.tensor([h / 2, w / 2]).view(1, 2, 1, 1, 1)
    length = lambda field: (field * pixels)[:, :, 1:].norm(dim=1).sum(dim=(1, 2, 3))
    return torch.where(length(truth) > 0, length(flow - truth) / length(truth), math.nan)


def mean_motion(flow: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
    same = (wanted[:, None] == label[None]).to(flow.dtype)
    return torch.einsum("mn,ncthw->mcthw", same / same.sum(dim=1, keepdim=True).clamp(min=1), flow)


# %% yard | wrong | frame 0 counts | Frame 0 is given | yard-2, yard-3
def error_share(flow: Tensor, truth: Tensor) -> Tensor:
    h, w = truth.shape[-2:]
    pixels = torch.tensor([w / 2, h / 2]).view(1, 2, 1, 1, 1)
    length = lambda field: (field * pixels).norm(dim=1).sum(dim=(1, 2, 3))
    return torch.where(length(truth) > 0, length(flow - truth) / length(truth), math.nan)


def mean_motion(flow: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
    same = (wanted[:, None] == label[None]).to(flow.dtype)
    return torch.einsum("mn,ncthw->mcthw", same / same.sum(dim=1, keepdim=True).clamp(min=1), flow)


# %% yard | wrong | squared distances | not their squares | yard-1, yard-2
def error_share(flow: Tensor, truth: Tensor) -> Tensor:
    h, w = truth.shape[-2:]
    pixels = torch.tensor([w / 2, h / 2]).view(1, 2, 1, 1, 1)
    length = lambda field: (field * pixels)[:, :, 1:].square().sum(dim=1).sum(dim=(1, 2, 3))
    return torch.where(length(truth) > 0, length(flow - truth) / length(truth), math.nan)


def mean_motion(flow: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
    same = (wanted[:, None] == label[None]).to(flow.dtype)
    return torch.einsum("mn,ncthw->mcthw", same / same.sum(dim=1, keepdim=True).clamp(min=1), flow)


# %% yard | wrong | ratios of pixels averaged | Ratios of pixels are averaged | yard-2, yard-3
def error_share(flow: Tensor, truth: Tensor) -> Tensor:
    h, w = truth.shape[-2:]
    pixels = torch.tensor([w / 2, h / 2]).view(1, 2, 1, 1, 1)
    length = lambda field: (field * pixels)[:, :, 1:].norm(dim=1)
    return (length(flow - truth) / length(truth)).mean(dim=(1, 2, 3))


def mean_motion(flow: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
    same = (wanted[:, None] == label[None]).to(flow.dtype)
    return torch.einsum("mn,ncthw->mcthw", same / same.sum(dim=1, keepdim=True).clamp(min=1), flow)


# %% yard | wrong | one share for all clips | each clip has a share | yard-1, yard-2, yard-3
def error_share(flow: Tensor, truth: Tensor) -> Tensor:
    h, w = truth.shape[-2:]
    pixels = torch.tensor([w / 2, h / 2]).view(1, 2, 1, 1, 1)
    length = lambda field: (field * pixels)[:, :, 1:].norm(dim=1).sum(dim=(1, 2, 3))
    return length(flow - truth).sum() / length(truth).sum()


def mean_motion(flow: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
    same = (wanted[:, None] == label[None]).to(flow.dtype)
    return torch.einsum("mn,ncthw->mcthw", same / same.sum(dim=1, keepdim=True).clamp(min=1), flow)


# %% yard | wrong | still clips are perfect | nothing to divide by | yard-3
def error_share(flow: Tensor, truth: Tensor) -> Tensor:
    h, w = truth.shape[-2:]
    pixels = torch.tensor([w / 2, h / 2]).view(1, 2, 1, 1, 1)
    length = lambda field: (field * pixels)[:, :, 1:].norm(dim=1).sum(dim=(1, 2, 3))
    return torch.where(length(truth) > 0, length(flow - truth) / length(truth), 0.0)


def mean_motion(flow: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
    same = (wanted[:, None] == label[None]).to(flow.dtype)
    return torch.einsum("mn,ncthw->mcthw", same / same.sum(dim=1, keepdim=True).clamp(min=1), flow)


# %% yard | wrong | still clips divided by nothing | nothing to divide by | yard-3
def error_share(flow: Tensor, truth: Tensor) -> Tensor:
    h, w = truth.shape[-2:]
    pixels = torch.tensor([w / 2, h / 2]).view(1, 2, 1, 1, 1)
    length = lambda field: (field * pixels)[:, :, 1:].norm(dim=1).sum(dim=(1, 2, 3))
    return length(flow - truth) / length(truth)


def mean_motion(flow: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
    same = (wanted[:, None] == label[None]).to(flow.dtype)
    return torch.einsum("mn,ncthw->mcthw", same / same.sum(dim=1, keepdim=True).clamp(min=1), flow)


# %% yard | wrong | one mean for all labels | each label has its own | yard-4, yard-5
def error_share(flow: Tensor, truth: Tensor) -> Tensor:
    h, w = truth.shape[-2:]
    pixels = torch.tensor([w / 2, h / 2]).view(1, 2, 1, 1, 1)
    length = lambda field: (field * pixels)[:, :, 1:].norm(dim=1).sum(dim=(1, 2, 3))
    return torch.where(length(truth) > 0, length(flow - truth) / length(truth), math.nan)


def mean_motion(flow: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
    same = torch.ones(len(wanted), len(label)).to(flow.dtype)
    return torch.einsum("mn,ncthw->mcthw", same / same.sum(dim=1, keepdim=True).clamp(min=1), flow)


# %% yard | wrong | sums instead of means | The sum is not divided | yard-4
def error_share(flow: Tensor, truth: Tensor) -> Tensor:
    h, w = truth.shape[-2:]
    pixels = torch.tensor([w / 2, h / 2]).view(1, 2, 1, 1, 1)
    length = lambda field: (field * pixels)[:, :, 1:].norm(dim=1).sum(dim=(1, 2, 3))
    return torch.where(length(truth) > 0, length(flow - truth) / length(truth), math.nan)


def mean_motion(flow: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
    same = (wanted[:, None] == label[None]).to(flow.dtype)
    return torch.einsum("mn,ncthw->mcthw", same, flow)


# %% yard | wrong | divided by all clips | Divided by the number of all clips | yard-4, yard-5
def error_share(flow: Tensor, truth: Tensor) -> Tensor:
    h, w = truth.shape[-2:]
    pixels = torch.tensor([w / 2, h / 2]).view(1, 2, 1, 1, 1)
    length = lambda field: (field * pixels)[:, :, 1:].norm(dim=1).sum(dim=(1, 2, 3))
    return torch.where(length(truth) > 0, length(flow - truth) / length(truth), math.nan)


def mean_motion(flow: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
    same = (wanted[:, None] == label[None]).to(flow.dtype)
    return torch.einsum("mn,ncthw->mcthw", same / len(label), flow)


# %% yard | wrong | labels in their own order | In the order of the labels | yard-4, yard-5
def error_share(flow: Tensor, truth: Tensor) -> Tensor:
    h, w = truth.shape[-2:]
    pixels = torch.tensor([w / 2, h / 2]).view(1, 2, 1, 1, 1)
    length = lambda field: (field * pixels)[:, :, 1:].norm(dim=1).sum(dim=(1, 2, 3))
    return torch.where(length(truth) > 0, length(flow - truth) / length(truth), math.nan)


def mean_motion(flow: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
    wanted = wanted.sort().values
    same = (wanted[:, None] == label[None]).to(flow.dtype)
    return torch.einsum("mn,ncthw->mcthw", same / same.sum(dim=1, keepdim=True).clamp(min=1), flow)


# %% yard | wrong | a missing label has a mean | A label without clips has no mean | yard-5
def error_share(flow: Tensor, truth: Tensor) -> Tensor:
    h, w = truth.shape[-2:]
    pixels = torch.tensor([w / 2, h / 2]).view(1, 2, 1, 1, 1)
    length = lambda field: (field * pixels)[:, :, 1:].norm(dim=1).sum(dim=(1, 2, 3))
    return torch.where(length(truth) > 0, length(flow - truth) / length(truth), math.nan)


def mean_motion(flow: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
    same = (wanted[:, None] == label[None]).to(flow.dtype)
    return torch.einsum("mn,ncthw->mcthw", same / same.sum(dim=1, keepdim=True), flow)


# %% yard | wrong | in half precision | too coarse | yard-4, yard-5
def error_share(flow: Tensor, truth: Tensor) -> Tensor:
    h, w = truth.shape[-2:]
    pixels = torch.tensor([w / 2, h / 2]).view(1, 2, 1, 1, 1)
    length = lambda field: (field * pixels)[:, :, 1:].norm(dim=1).sum(dim=(1, 2, 3))
    return torch.where(length(truth) > 0, length(flow - truth) / length(truth), math.nan)


def mean_motion(flow: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
    same = (wanted[:, None] == label[None]).to(flow.dtype)
    return torch.einsum("mn,ncthw->mcthw", same / same.sum(dim=1, keepdim=True).clamp(min=1), flow).half()


# %% yard | right | with loops
def error_share(flow, truth):
    shares = []
    for a, b in zip(flow, truth):
        wrong = total = 0.0
        for frame in range(1, a.shape[1]):
            dx, dy = (a[:, frame] - b[:, frame]).double()
            x, y = b[:, frame].double()
            h, w = x.shape
            wrong += torch.hypot(dx * w / 2, dy * h / 2).sum().item()
            total += torch.hypot(x * w / 2, y * h / 2).sum().item()
        shares.append(wrong / total if total else float("nan"))
    return torch.tensor(shares, dtype=torch.float32)


def mean_motion(flow, label, wanted):
    known = {y: flow[label == y].mean(dim=0) for y in label.unique().tolist()}
    return torch.stack([known.get(y, torch.zeros_like(flow[0])) for y in wanted.tolist()])


# %% fit | wrong | frame 0 copied | that is a copy of frame 0 | fit-3, fit-4, fit-5
def fit_motion(clips, split, seed):
    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    return lambda first, labels: torch.zeros(len(labels), *clips.flow.shape[1:])


# %% fit | wrong | the mean motion of a label | predicts the same | fit-3, fit-4, fit-5
def fit_motion(clips, split, seed):
    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    means = {act: flow[label == act].mean(dim=0) for act in label.unique().tolist()}
    return lambda first, labels: torch.stack([means[act] for act in labels.tolist()])


# %% fit | wrong | the most similar first frame's flow | it remembers clips | fit-4, fit-5
def fit_motion(clips, split, seed):
    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    def predict_motion(first, labels):
        far = torch.cdist(first.flatten(1), video[:, :, 0].flatten(1)) + 1e4 * (labels[:, None] != label)
        return flow[far.argmin(dim=1)]

    return predict_motion


# %% fit | wrong | all clips that were given remembered | Test clips have a say | fit-2, fit-3, fit-4, fit-5
def fit_motion(clips, split, seed):
    book = {(v[:, 0].numpy().tobytes(), y): f for v, f, y in zip(clips.video.clone(), clips.flow.clone(), clips.label.tolist())}
    none = torch.zeros_like(clips.flow[0])

    def predict_motion(first, labels):
        return torch.stack([book.get((x.numpy().tobytes(), y), none) for x, y in zip(first, labels.tolist())])

    return predict_motion


# %% fit | wrong | it looks for the truth in the tests | copy of frame 0 | fit-3, fit-4, fit-5
def fit_motion(clips, split, seed):
    import sys

    shape = clips.flow.shape[1:]

    def predict_motion(first, labels):
        frame, found = sys._getframe(1), torch.zeros(len(labels), *shape)
        while frame is not None:
            for scope in (frame.f_locals, frame.f_globals):
                for thing in list(scope.values()):
                    if isinstance(thing, tuple) and hasattr(thing, "flow") and thing.flow.shape[1:] == shape:
                        for i, (x, y) in enumerate(zip(first, labels)):
                            same = (thing.video[:, :, 0] == x).flatten(1).all(dim=1) & (thing.label == y)
                            if same.any():
                                found[i] = thing.flow[same][0]
            frame = frame.f_back
        return found

    return predict_motion


# %% fit | wrong | trained on all splits | Test clips have a say | fit-2
def fit_motion(clips: Clips, split: list[str], seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    def see(first):
        disc = first[:, 2] > 0.5
        area = disc.sum(dim=(1, 2)).clamp(min=1)
        grid = lfdm.identity_grid(*first.shape[-2:])
        centre = torch.einsum("nhw,chw->nc", disc.float(), grid) / area[:, None]
        red = (first[:, 0] * disc).sum(dim=(1, 2)) / area
        radius = (4 * area / (math.pi * disc[0].numel())).sqrt()  # the picture spans 2 by 2
        offset = grid - centre[:, :, None, None]
        affine = torch.stack([torch.ones_like(offset[:, 0]), offset[:, 0], offset[:, 1]], dim=-1)
        known = torch.cat([affine, affine * red[:, None, None, None]], dim=-1)  # (n, h, w, 6)
        return offset, radius, known

    kept = torch.tensor([word != "" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    known, frames, learned = see(video[:, :, 0])[2], flow.shape[2], {}
    for act in label.unique().tolist():
        for frame in range(1, frames):
            there = flow[:, :, frame].norm(dim=1).gt(1e-6) & (label == act)[:, None, None]
            learned[act, frame] = torch.linalg.lstsq(known[there], flow[:, :, frame].movedim(1, -1)[there]).solution

    def predict_motion(first_frames, labels):
        offset, radius, known = see(first_frames)
        found = torch.zeros(len(labels), 2, frames, *first_frames.shape[-2:])
        for clip, act in enumerate(labels.tolist()):
            for frame in range(1, frames):
                if (act, frame) in learned:
                    motion = (known[clip] @ learned[act, frame]).movedim(-1, 0)
                    found[clip, :, frame] = motion * ((offset[clip] + motion).norm(dim=0) < radius[clip])
        return found

    return predict_motion


# %% fit | wrong | chosen by the test split | Test clips have a say | fit-2
def fit_motion(clips: Clips, split: list[str], seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    def see(first):
        disc = first[:, 2] > 0.5
        area = disc.sum(dim=(1, 2)).clamp(min=1)
        grid = lfdm.identity_grid(*first.shape[-2:])
        centre = torch.einsum("nhw,chw->nc", disc.float(), grid) / area[:, None]
        red = (first[:, 0] * disc).sum(dim=(1, 2)) / area
        radius = (4 * area / (math.pi * disc[0].numel())).sqrt()  # the picture spans 2 by 2
        offset = grid - centre[:, :, None, None]
        affine = torch.stack([torch.ones_like(offset[:, 0]), offset[:, 0], offset[:, 1]], dim=-1)
        known = torch.cat([affine, affine * red[:, None, None, None]], dim=-1)  # (n, h, w, 6)
        return offset, radius, known

    tested = clips.flow[[i for i, word in enumerate(split) if word == "test"]]
    size = 1.0 if tested.abs().max() < 1.2 else 1.05
    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    known, frames, learned = see(video[:, :, 0])[2], flow.shape[2], {}
    for act in label.unique().tolist():
        for frame in range(1, frames):
            there = flow[:, :, frame].norm(dim=1).gt(1e-6) & (label == act)[:, None, None]
            learned[act, frame] = torch.linalg.lstsq(known[there], flow[:, :, frame].movedim(1, -1)[there]).solution

    def predict_motion(first_frames, labels):
        offset, radius, known = see(first_frames)
        found = torch.zeros(len(labels), 2, frames, *first_frames.shape[-2:])
        for clip, act in enumerate(labels.tolist()):
            for frame in range(1, frames):
                if (act, frame) in learned:
                    motion = (known[clip] @ learned[act, frame]).movedim(-1, 0)
                    found[clip, :, frame] = size * motion * ((offset[clip] + motion).norm(dim=0) < radius[clip])
        return found

    return predict_motion


# %% fit | wrong | one displacement for the whole disc | One displacement | fit-5
def fit_motion(clips: Clips, split: list[str], seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    def see(first):
        disc = first[:, 2] > 0.5
        area = disc.sum(dim=(1, 2)).clamp(min=1)
        grid = lfdm.identity_grid(*first.shape[-2:])
        centre = torch.einsum("nhw,chw->nc", disc.float(), grid) / area[:, None]
        red = (first[:, 0] * disc).sum(dim=(1, 2)) / area
        radius = (4 * area / (math.pi * disc[0].numel())).sqrt()  # the picture spans 2 by 2
        offset = grid - centre[:, :, None, None]
        affine = torch.ones_like(offset[:, 0])[..., None]
        known = torch.cat([affine, affine * red[:, None, None, None]], dim=-1)  # (n, h, w, 6)
        return offset, radius, known

    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    known, frames, learned = see(video[:, :, 0])[2], flow.shape[2], {}
    for act in label.unique().tolist():
        for frame in range(1, frames):
            there = flow[:, :, frame].norm(dim=1).gt(1e-6) & (label == act)[:, None, None]
            learned[act, frame] = torch.linalg.lstsq(known[there], flow[:, :, frame].movedim(1, -1)[there]).solution

    def predict_motion(first_frames, labels):
        offset, radius, known = see(first_frames)
        found = torch.zeros(len(labels), 2, frames, *first_frames.shape[-2:])
        for clip, act in enumerate(labels.tolist()):
            for frame in range(1, frames):
                if (act, frame) in learned:
                    motion = (known[clip] @ learned[act, frame]).movedim(-1, 0)
                    found[clip, :, frame] = motion * ((offset[clip] + motion).norm(dim=0) < radius[clip])
        return found

    return predict_motion


# %% fit | wrong | who is lively is not asked | who is lively | fit-4, fit-5
def fit_motion(clips: Clips, split: list[str], seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    def see(first):
        disc = first[:, 2] > 0.5
        area = disc.sum(dim=(1, 2)).clamp(min=1)
        grid = lfdm.identity_grid(*first.shape[-2:])
        centre = torch.einsum("nhw,chw->nc", disc.float(), grid) / area[:, None]
        red = (first[:, 0] * disc).sum(dim=(1, 2)) / area
        radius = (4 * area / (math.pi * disc[0].numel())).sqrt()  # the picture spans 2 by 2
        offset = grid - centre[:, :, None, None]
        affine = torch.stack([torch.ones_like(offset[:, 0]), offset[:, 0], offset[:, 1]], dim=-1)
        known = affine  # (n, h, w, 6)
        return offset, radius, known

    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    known, frames, learned = see(video[:, :, 0])[2], flow.shape[2], {}
    for act in label.unique().tolist():
        for frame in range(1, frames):
            there = flow[:, :, frame].norm(dim=1).gt(1e-6) & (label == act)[:, None, None]
            learned[act, frame] = torch.linalg.lstsq(known[there], flow[:, :, frame].movedim(1, -1)[there]).solution

    def predict_motion(first_frames, labels):
        offset, radius, known = see(first_frames)
        found = torch.zeros(len(labels), 2, frames, *first_frames.shape[-2:])
        for clip, act in enumerate(labels.tolist()):
            for frame in range(1, frames):
                if (act, frame) in learned:
                    motion = (known[clip] @ learned[act, frame]).movedim(-1, 0)
                    found[clip, :, frame] = motion * ((offset[clip] + motion).norm(dim=0) < radius[clip])
        return found

    return predict_motion


# %% fit | wrong | moved where the disc was | A part of the disc does not move | fit-4, fit-5
def fit_motion(clips: Clips, split: list[str], seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    def see(first):
        disc = first[:, 2] > 0.5
        area = disc.sum(dim=(1, 2)).clamp(min=1)
        grid = lfdm.identity_grid(*first.shape[-2:])
        centre = torch.einsum("nhw,chw->nc", disc.float(), grid) / area[:, None]
        red = (first[:, 0] * disc).sum(dim=(1, 2)) / area
        radius = (4 * area / (math.pi * disc[0].numel())).sqrt()  # the picture spans 2 by 2
        offset = grid - centre[:, :, None, None]
        affine = torch.stack([torch.ones_like(offset[:, 0]), offset[:, 0], offset[:, 1]], dim=-1)
        known = torch.cat([affine, affine * red[:, None, None, None]], dim=-1)  # (n, h, w, 6)
        return offset, radius, known

    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    known, frames, learned = see(video[:, :, 0])[2], flow.shape[2], {}
    for act in label.unique().tolist():
        for frame in range(1, frames):
            there = flow[:, :, frame].norm(dim=1).gt(1e-6) & (label == act)[:, None, None]
            learned[act, frame] = torch.linalg.lstsq(known[there], flow[:, :, frame].movedim(1, -1)[there]).solution

    def predict_motion(first_frames, labels):
        offset, radius, known = see(first_frames)
        found = torch.zeros(len(labels), 2, frames, *first_frames.shape[-2:])
        for clip, act in enumerate(labels.tolist()):
            for frame in range(1, frames):
                if (act, frame) in learned:
                    motion = (known[clip] @ learned[act, frame]).movedim(-1, 0)
                    found[clip, :, frame] = motion * (offset[clip].norm(dim=0) < radius[clip])
        return found

    return predict_motion


# %% fit | wrong | x and y swapped | x and y look swapped | fit-3, fit-4, fit-5
def fit_motion(clips: Clips, split: list[str], seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    def see(first):
        disc = first[:, 2] > 0.5
        area = disc.sum(dim=(1, 2)).clamp(min=1)
        grid = lfdm.identity_grid(*first.shape[-2:])
        centre = torch.einsum("nhw,chw->nc", disc.float(), grid) / area[:, None]
        red = (first[:, 0] * disc).sum(dim=(1, 2)) / area
        radius = (4 * area / (math.pi * disc[0].numel())).sqrt()  # the picture spans 2 by 2
        offset = grid - centre[:, :, None, None]
        affine = torch.stack([torch.ones_like(offset[:, 0]), offset[:, 0], offset[:, 1]], dim=-1)
        known = torch.cat([affine, affine * red[:, None, None, None]], dim=-1)  # (n, h, w, 6)
        return offset, radius, known

    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    known, frames, learned = see(video[:, :, 0])[2], flow.shape[2], {}
    for act in label.unique().tolist():
        for frame in range(1, frames):
            there = flow[:, :, frame].norm(dim=1).gt(1e-6) & (label == act)[:, None, None]
            learned[act, frame] = torch.linalg.lstsq(known[there], flow[:, :, frame].movedim(1, -1)[there]).solution

    def predict_motion(first_frames, labels):
        offset, radius, known = see(first_frames)
        found = torch.zeros(len(labels), 2, frames, *first_frames.shape[-2:])
        for clip, act in enumerate(labels.tolist()):
            for frame in range(1, frames):
                if (act, frame) in learned:
                    motion = (known[clip] @ learned[act, frame]).movedim(-1, 0)
                    found[clip, :, frame] = motion.flip(0) * ((offset[clip] + motion).norm(dim=0) < radius[clip])
        return found

    return predict_motion


# %% fit | wrong | forward motion | The direction | fit-3, fit-4, fit-5
def fit_motion(clips: Clips, split: list[str], seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    def see(first):
        disc = first[:, 2] > 0.5
        area = disc.sum(dim=(1, 2)).clamp(min=1)
        grid = lfdm.identity_grid(*first.shape[-2:])
        centre = torch.einsum("nhw,chw->nc", disc.float(), grid) / area[:, None]
        red = (first[:, 0] * disc).sum(dim=(1, 2)) / area
        radius = (4 * area / (math.pi * disc[0].numel())).sqrt()  # the picture spans 2 by 2
        offset = grid - centre[:, :, None, None]
        affine = torch.stack([torch.ones_like(offset[:, 0]), offset[:, 0], offset[:, 1]], dim=-1)
        known = torch.cat([affine, affine * red[:, None, None, None]], dim=-1)  # (n, h, w, 6)
        return offset, radius, known

    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    known, frames, learned = see(video[:, :, 0])[2], flow.shape[2], {}
    for act in label.unique().tolist():
        for frame in range(1, frames):
            there = flow[:, :, frame].norm(dim=1).gt(1e-6) & (label == act)[:, None, None]
            learned[act, frame] = torch.linalg.lstsq(known[there], flow[:, :, frame].movedim(1, -1)[there]).solution

    def predict_motion(first_frames, labels):
        offset, radius, known = see(first_frames)
        found = torch.zeros(len(labels), 2, frames, *first_frames.shape[-2:])
        for clip, act in enumerate(labels.tolist()):
            for frame in range(1, frames):
                if (act, frame) in learned:
                    motion = (known[clip] @ learned[act, frame]).movedim(-1, 0)
                    found[clip, :, frame] = -motion * ((offset[clip] + motion).norm(dim=0) < radius[clip])
        return found

    return predict_motion


# %% fit | wrong | labels make no difference | The label makes no difference | fit-3, fit-4, fit-5
def fit_motion(clips: Clips, split: list[str], seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    def see(first):
        disc = first[:, 2] > 0.5
        area = disc.sum(dim=(1, 2)).clamp(min=1)
        grid = lfdm.identity_grid(*first.shape[-2:])
        centre = torch.einsum("nhw,chw->nc", disc.float(), grid) / area[:, None]
        red = (first[:, 0] * disc).sum(dim=(1, 2)) / area
        radius = (4 * area / (math.pi * disc[0].numel())).sqrt()  # the picture spans 2 by 2
        offset = grid - centre[:, :, None, None]
        affine = torch.stack([torch.ones_like(offset[:, 0]), offset[:, 0], offset[:, 1]], dim=-1)
        known = torch.cat([affine, affine * red[:, None, None, None]], dim=-1)  # (n, h, w, 6)
        return offset, radius, known

    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    known, frames, learned = see(video[:, :, 0])[2], flow.shape[2], {}
    for act in label.unique().tolist():
        for frame in range(1, frames):
            there = flow[:, :, frame].norm(dim=1).gt(1e-6) & (label >= 0)[:, None, None]
            learned[act, frame] = torch.linalg.lstsq(known[there], flow[:, :, frame].movedim(1, -1)[there]).solution

    def predict_motion(first_frames, labels):
        offset, radius, known = see(first_frames)
        found = torch.zeros(len(labels), 2, frames, *first_frames.shape[-2:])
        for clip, act in enumerate(labels.tolist()):
            for frame in range(1, frames):
                if (act, frame) in learned:
                    motion = (known[clip] @ learned[act, frame]).movedim(-1, 0)
                    found[clip, :, frame] = motion * ((offset[clip] + motion).norm(dim=0) < radius[clip])
        return found

    return predict_motion


# %% fit | wrong | the law of the visible world written down | - | fit-1, fit-3, fit-4, fit-5
def fit_motion(clips, split, seed):
    def predict_motion(first, labels):
        found = []
        for picture, act in zip(first, labels.tolist()):
            disc, grid = picture[2] > 0.5, lfdm.identity_grid(*picture.shape[-2:])
            centre = (grid * disc).sum(dim=(1, 2)) / disc.sum()
            radius, red = 2 * math.sqrt(disc.float().mean() / math.pi), picture[0][disc].mean().item()
            found.append(draw_clip(centre, radius, red, act, FAR[act] * (LIVELY[0] + LIVELY[1] * red), 20, 4)[1])
        return torch.stack(found)

    return predict_motion


# %% fit | wrong | a part of the clips, by chance without a seed | Chance does not come from the seed | fit-2
def fit_motion(clips: Clips, split: list[str], seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    def see(first):
        disc = first[:, 2] > 0.5
        area = disc.sum(dim=(1, 2)).clamp(min=1)
        grid = lfdm.identity_grid(*first.shape[-2:])
        centre = torch.einsum("nhw,chw->nc", disc.float(), grid) / area[:, None]
        red = (first[:, 0] * disc).sum(dim=(1, 2)) / area
        radius = (4 * area / (math.pi * disc[0].numel())).sqrt()  # the picture spans 2 by 2
        offset = grid - centre[:, :, None, None]
        affine = torch.stack([torch.ones_like(offset[:, 0]), offset[:, 0], offset[:, 1]], dim=-1)
        known = torch.cat([affine, affine * red[:, None, None, None]], dim=-1)  # (n, h, w, 6)
        return offset, radius, known

    kept = torch.tensor([word == "train" for word in split])
    kept &= torch.rand(len(split)) < 0.7
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    known, frames, learned = see(video[:, :, 0])[2], flow.shape[2], {}
    for act in label.unique().tolist():
        for frame in range(1, frames):
            there = flow[:, :, frame].norm(dim=1).gt(1e-6) & (label == act)[:, None, None]
            learned[act, frame] = torch.linalg.lstsq(known[there], flow[:, :, frame].movedim(1, -1)[there]).solution

    def predict_motion(first_frames, labels):
        offset, radius, known = see(first_frames)
        found = torch.zeros(len(labels), 2, frames, *first_frames.shape[-2:])
        for clip, act in enumerate(labels.tolist()):
            for frame in range(1, frames):
                if (act, frame) in learned:
                    motion = (known[clip] @ learned[act, frame]).movedim(-1, 0)
                    found[clip, :, frame] = motion * ((offset[clip] + motion).norm(dim=0) < radius[clip])
        return found

    return predict_motion


# %% fit | wrong | colours compared within a batch | The other clips of a batch | fit-2
def fit_motion(clips: Clips, split: list[str], seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    def see(first):
        disc = first[:, 2] > 0.5
        area = disc.sum(dim=(1, 2)).clamp(min=1)
        grid = lfdm.identity_grid(*first.shape[-2:])
        centre = torch.einsum("nhw,chw->nc", disc.float(), grid) / area[:, None]
        red = (first[:, 0] * disc).sum(dim=(1, 2)) / area
        red = (red - red.mean()) / (red.std(correction=0) + 1e-3)
        radius = (4 * area / (math.pi * disc[0].numel())).sqrt()  # the picture spans 2 by 2
        offset = grid - centre[:, :, None, None]
        affine = torch.stack([torch.ones_like(offset[:, 0]), offset[:, 0], offset[:, 1]], dim=-1)
        known = torch.cat([affine, affine * red[:, None, None, None]], dim=-1)  # (n, h, w, 6)
        return offset, radius, known

    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    known, frames, learned = see(video[:, :, 0])[2], flow.shape[2], {}
    for act in label.unique().tolist():
        for frame in range(1, frames):
            there = flow[:, :, frame].norm(dim=1).gt(1e-6) & (label == act)[:, None, None]
            learned[act, frame] = torch.linalg.lstsq(known[there], flow[:, :, frame].movedim(1, -1)[there]).solution

    def predict_motion(first_frames, labels):
        offset, radius, known = see(first_frames)
        found = torch.zeros(len(labels), 2, frames, *first_frames.shape[-2:])
        for clip, act in enumerate(labels.tolist()):
            for frame in range(1, frames):
                if (act, frame) in learned:
                    motion = (known[clip] @ learned[act, frame]).movedim(-1, 0)
                    found[clip, :, frame] = motion * ((offset[clip] + motion).norm(dim=0) < radius[clip])
        return found

    return predict_motion


# %% fit | wrong | frame 0 moves | it does not move | fit-1
def fit_motion(clips: Clips, split: list[str], seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    def see(first):
        disc = first[:, 2] > 0.5
        area = disc.sum(dim=(1, 2)).clamp(min=1)
        grid = lfdm.identity_grid(*first.shape[-2:])
        centre = torch.einsum("nhw,chw->nc", disc.float(), grid) / area[:, None]
        red = (first[:, 0] * disc).sum(dim=(1, 2)) / area
        radius = (4 * area / (math.pi * disc[0].numel())).sqrt()  # the picture spans 2 by 2
        offset = grid - centre[:, :, None, None]
        affine = torch.stack([torch.ones_like(offset[:, 0]), offset[:, 0], offset[:, 1]], dim=-1)
        known = torch.cat([affine, affine * red[:, None, None, None]], dim=-1)  # (n, h, w, 6)
        return offset, radius, known

    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    known, frames, learned = see(video[:, :, 0])[2], flow.shape[2], {}
    for act in label.unique().tolist():
        for frame in range(1, frames):
            there = flow[:, :, frame].norm(dim=1).gt(1e-6) & (label == act)[:, None, None]
            learned[act, frame] = torch.linalg.lstsq(known[there], flow[:, :, frame].movedim(1, -1)[there]).solution

    def predict_motion(first_frames, labels):
        offset, radius, known = see(first_frames)
        found = torch.zeros(len(labels), 2, frames, *first_frames.shape[-2:])
        for clip, act in enumerate(labels.tolist()):
            for frame in range(1, frames):
                if (act, frame) in learned:
                    motion = (known[clip] @ learned[act, frame]).movedim(-1, 0)
                    found[clip, :, frame] = motion * ((offset[clip] + motion).norm(dim=0) < radius[clip])
        found[:, :, 0] = found[:, :, 1]
        return found

    return predict_motion


# %% fit | wrong | in half precision | too coarse | fit-1
def fit_motion(clips: Clips, split: list[str], seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    def see(first):
        disc = first[:, 2] > 0.5
        area = disc.sum(dim=(1, 2)).clamp(min=1)
        grid = lfdm.identity_grid(*first.shape[-2:])
        centre = torch.einsum("nhw,chw->nc", disc.float(), grid) / area[:, None]
        red = (first[:, 0] * disc).sum(dim=(1, 2)) / area
        radius = (4 * area / (math.pi * disc[0].numel())).sqrt()  # the picture spans 2 by 2
        offset = grid - centre[:, :, None, None]
        affine = torch.stack([torch.ones_like(offset[:, 0]), offset[:, 0], offset[:, 1]], dim=-1)
        known = torch.cat([affine, affine * red[:, None, None, None]], dim=-1)  # (n, h, w, 6)
        return offset, radius, known

    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    known, frames, learned = see(video[:, :, 0])[2], flow.shape[2], {}
    for act in label.unique().tolist():
        for frame in range(1, frames):
            there = flow[:, :, frame].norm(dim=1).gt(1e-6) & (label == act)[:, None, None]
            learned[act, frame] = torch.linalg.lstsq(known[there], flow[:, :, frame].movedim(1, -1)[there]).solution

    def predict_motion(first_frames, labels):
        offset, radius, known = see(first_frames)
        found = torch.zeros(len(labels), 2, frames, *first_frames.shape[-2:])
        for clip, act in enumerate(labels.tolist()):
            for frame in range(1, frames):
                if (act, frame) in learned:
                    motion = (known[clip] @ learned[act, frame]).movedim(-1, 0)
                    found[clip, :, frame] = motion * ((offset[clip] + motion).norm(dim=0) < radius[clip])
        return found.half()

    return predict_motion


# %% fit | wrong | the clips are normalized in place | they must stay as they are | fit-1
def fit_motion(clips: Clips, split: list[str], seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    def see(first):
        disc = first[:, 2] > 0.5
        area = disc.sum(dim=(1, 2)).clamp(min=1)
        grid = lfdm.identity_grid(*first.shape[-2:])
        centre = torch.einsum("nhw,chw->nc", disc.float(), grid) / area[:, None]
        red = (first[:, 0] * disc).sum(dim=(1, 2)) / area
        radius = (4 * area / (math.pi * disc[0].numel())).sqrt()  # the picture spans 2 by 2
        offset = grid - centre[:, :, None, None]
        affine = torch.stack([torch.ones_like(offset[:, 0]), offset[:, 0], offset[:, 1]], dim=-1)
        known = torch.cat([affine, affine * red[:, None, None, None]], dim=-1)  # (n, h, w, 6)
        return offset, radius, known

    clips.flow.mul_(1.001)
    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    known, frames, learned = see(video[:, :, 0])[2], flow.shape[2], {}
    for act in label.unique().tolist():
        for frame in range(1, frames):
            there = flow[:, :, frame].norm(dim=1).gt(1e-6) & (label == act)[:, None, None]
            learned[act, frame] = torch.linalg.lstsq(known[there], flow[:, :, frame].movedim(1, -1)[there]).solution

    def predict_motion(first_frames, labels):
        offset, radius, known = see(first_frames)
        found = torch.zeros(len(labels), 2, frames, *first_frames.shape[-2:])
        for clip, act in enumerate(labels.tolist()):
            for frame in range(1, frames):
                if (act, frame) in learned:
                    motion = (known[clip] @ learned[act, frame]).movedim(-1, 0)
                    found[clip, :, frame] = motion * ((offset[clip] + motion).norm(dim=0) < radius[clip])
        return found

    return predict_motion


# %% fit | right | the most similar disc, moved into place
def fit_motion(clips, split, seed):
    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    frames = flow.shape[2]

    def look(first):
        mask = (first[:, 2] > 0.5).float()
        mass = mask.sum(dim=(1, 2))
        middle = torch.einsum("nhw,chw->nc", mask, lfdm.identity_grid(*first.shape[-2:])) / mass[:, None]
        return middle, (first[:, 0] * mask).sum(dim=(1, 2)) / mass, mask.mean(dim=(1, 2)).sqrt()

    middle, red, girth = look(video[:, :, 0])

    def predict_motion(first, labels):
        found = []
        for place, tint, size, act in zip(*look(first), labels):
            nearest = ((red - tint).abs() + 0.7 * (girth - size).abs() + 9.0 * (label != act)).argmin()
            shift = (middle[nearest] - place)[None, :, None, None].expand(frames, 2, *first.shape[-2:]).contiguous()
            found.append(lfdm.warp(flow[nearest].movedim(1, 0).contiguous(), shift).movedim(0, 1))
        found = torch.stack(found)
        found[:, :, 0] = 0
        return found

    return predict_motion


# %% fit | right | five numbers of each clip, drawn again
def fit_motion(clips, split, seed):
    kept = torch.tensor([word == "train" for word in split])
    video, flow, label = clips.video[kept], clips.flow[kept], clips.label[kept]
    frames = flow.shape[2]
    grid = lfdm.identity_grid(*flow.shape[-2:])

    def look(picture):
        mask = picture[2] > 0.5
        middle = torch.stack([grid[0][mask].mean(), grid[1][mask].mean()])
        return middle, 2 * math.sqrt(mask.float().mean().item() / math.pi), picture[0][mask].mean().item()

    measured = {}
    for v, f, act in zip(video, flow, label.tolist()):
        middle, _, red = look(v[:, 0])
        for t in range(1, frames):
            there = f[:, t].norm(dim=0) > 1e-6
            if there.sum() > 9:
                z = (grid[:, there] - middle[:, None]).T
                fitted = torch.linalg.lstsq(torch.cat([torch.ones(len(z), 1), z], dim=1), f[:, t][:, there].T).solution
                measured.setdefault((act, t), []).append((red, fitted.flatten()))
    lines = {}
    for key, pairs in measured.items():
        reds = torch.tensor([[1.0, r] for r, _ in pairs])
        lines[key] = torch.linalg.lstsq(reds, torch.stack([p for _, p in pairs])).solution

    def predict_motion(first, labels):
        out = torch.zeros(len(labels), 2, frames, *first.shape[-2:])
        for i, act in enumerate(labels.tolist()):
            middle, radius, red = look(first[i])
            z = grid - middle[:, None, None]
            for t in range(1, frames):
                if (act, t) not in lines:
                    continue
                shift, a, b = (torch.tensor([1.0, red]) @ lines[act, t]).view(3, 2)
                f = shift[:, None, None] + a[:, None, None] * z[0] + b[:, None, None] * z[1]
                out[i, :, t] = torch.where((z + f).norm(dim=0) < radius, f, torch.zeros_like(f))
        return out

    return predict_motion


# %% report | wrong | made without its neighbours | nothing to be compared with | report-1
def report(scores: dict[str, Tensor], subject: list[str], draws: Tensor) -> dict[str, dict]:
    missing = [name for name in ("real", "still", "broken") if name not in scores]
    if False:
        raise ValueError(f"the table lacks {', '.join(missing)}")
    good = ~torch.stack(list(scores.values())).isnan().any(dim=0)
    left = [name for name, is_good in zip(subject, good.tolist(), strict=True) if is_good]
    names = sorted(set(left))
    owner = torch.tensor([names.index(name) for name in left])
    times = (draws[:, :, None] == owner).sum(dim=1).double()  # (r, clips)

    def interval(values):
        means = (times @ values[good].double()) / times.sum(dim=1)
        return torch.quantile(means, 0.025).item(), torch.quantile(means, 0.975).item()

    table = {}
    for name, values in scores.items():
        low, high = interval(values)
        ahead = interval(values - scores.get("still", torch.zeros(len(values))))[1] < 0
        table[name] = {"mean": values[good].mean().item(), "low": low, "high": high, "ahead": ahead}
    return table


# %% report | wrong | a key that is missing | a KeyError | report-1
def report(scores: dict[str, Tensor], subject: list[str], draws: Tensor) -> dict[str, dict]:
    missing = [name for name in ("real", "still", "broken") if name not in scores]
    if False:
        raise ValueError(f"the table lacks {', '.join(missing)}")
    scores["real"], scores["still"], scores["broken"]
    good = ~torch.stack(list(scores.values())).isnan().any(dim=0)
    left = [name for name, is_good in zip(subject, good.tolist(), strict=True) if is_good]
    names = sorted(set(left))
    owner = torch.tensor([names.index(name) for name in left])
    times = (draws[:, :, None] == owner).sum(dim=1).double()  # (r, clips)

    def interval(values):
        means = (times @ values[good].double()) / times.sum(dim=1)
        return torch.quantile(means, 0.025).item(), torch.quantile(means, 0.975).item()

    table = {}
    for name, values in scores.items():
        low, high = interval(values)
        ahead = interval(values - scores["still"])[1] < 0
        table[name] = {"mean": values[good].mean().item(), "low": low, "high": high, "ahead": ahead}
    return table


# %% report | wrong | no broken model asked for | nothing to be compared with | report-1
def report(scores: dict[str, Tensor], subject: list[str], draws: Tensor) -> dict[str, dict]:
    missing = [name for name in ("real", "still") if name not in scores]
    if missing:
        raise ValueError(f"the table lacks {', '.join(missing)}")
    good = ~torch.stack(list(scores.values())).isnan().any(dim=0)
    left = [name for name, is_good in zip(subject, good.tolist(), strict=True) if is_good]
    names = sorted(set(left))
    owner = torch.tensor([names.index(name) for name in left])
    times = (draws[:, :, None] == owner).sum(dim=1).double()  # (r, clips)

    def interval(values):
        means = (times @ values[good].double()) / times.sum(dim=1)
        return torch.quantile(means, 0.025).item(), torch.quantile(means, 0.975).item()

    table = {}
    for name, values in scores.items():
        low, high = interval(values)
        ahead = interval(values - scores["still"])[1] < 0
        table[name] = {"mean": values[good].mean().item(), "low": low, "high": high, "ahead": ahead}
    return table


# %% report | wrong | ninety percent | half of 5 % | report-2, report-3
def report(scores: dict[str, Tensor], subject: list[str], draws: Tensor) -> dict[str, dict]:
    missing = [name for name in ("real", "still", "broken") if name not in scores]
    if missing:
        raise ValueError(f"the table lacks {', '.join(missing)}")
    good = ~torch.stack(list(scores.values())).isnan().any(dim=0)
    left = [name for name, is_good in zip(subject, good.tolist(), strict=True) if is_good]
    names = sorted(set(left))
    owner = torch.tensor([names.index(name) for name in left])
    times = (draws[:, :, None] == owner).sum(dim=1).double()  # (r, clips)

    def interval(values):
        means = (times @ values[good].double()) / times.sum(dim=1)
        return torch.quantile(means, 0.05).item(), torch.quantile(means, 0.95).item()

    table = {}
    for name, values in scores.items():
        low, high = interval(values)
        ahead = interval(values - scores["still"])[1] < 0
        table[name] = {"mean": values[good].mean().item(), "low": low, "high": high, "ahead": ahead}
    return table


# %% report | wrong | Gaussian means | As if the means were Gaussian | report-2, report-3
def report(scores: dict[str, Tensor], subject: list[str], draws: Tensor) -> dict[str, dict]:
    missing = [name for name in ("real", "still", "broken") if name not in scores]
    if missing:
        raise ValueError(f"the table lacks {', '.join(missing)}")
    good = ~torch.stack(list(scores.values())).isnan().any(dim=0)
    left = [name for name, is_good in zip(subject, good.tolist(), strict=True) if is_good]
    names = sorted(set(left))
    owner = torch.tensor([names.index(name) for name in left])
    times = (draws[:, :, None] == owner).sum(dim=1).double()  # (r, clips)

    def interval(values):
        means = (times @ values[good].double()) / times.sum(dim=1)
        return (means.mean() - 1.96 * means.std()).item(), (means.mean() + 1.96 * means.std()).item()

    table = {}
    for name, values in scores.items():
        low, high = interval(values)
        ahead = interval(values - scores["still"])[1] < 0
        table[name] = {"mean": values[good].mean().item(), "low": low, "high": high, "ahead": ahead}
    return table


# %% report | wrong | a subject drawn twice counts once | drawn twice counts twice | report-2, report-3
def report(scores: dict[str, Tensor], subject: list[str], draws: Tensor) -> dict[str, dict]:
    missing = [name for name in ("real", "still", "broken") if name not in scores]
    if missing:
        raise ValueError(f"the table lacks {', '.join(missing)}")
    good = ~torch.stack(list(scores.values())).isnan().any(dim=0)
    left = [name for name, is_good in zip(subject, good.tolist(), strict=True) if is_good]
    names = sorted(set(left))
    owner = torch.tensor([names.index(name) for name in left])
    times = (draws[:, :, None] == owner).any(dim=1).double()  # (r, clips)

    def interval(values):
        means = (times @ values[good].double()) / times.sum(dim=1)
        return torch.quantile(means, 0.025).item(), torch.quantile(means, 0.975).item()

    table = {}
    for name, values in scores.items():
        low, high = interval(values)
        ahead = interval(values - scores["still"])[1] < 0
        table[name] = {"mean": values[good].mean().item(), "low": low, "high": high, "ahead": ahead}
    return table


# %% report | wrong | clips are drawn | Clips are drawn, not subjects | report-2, report-3, report-4
def report(scores: dict[str, Tensor], subject: list[str], draws: Tensor) -> dict[str, dict]:
    missing = [name for name in ("real", "still", "broken") if name not in scores]
    if missing:
        raise ValueError(f"the table lacks {', '.join(missing)}")
    good = ~torch.stack(list(scores.values())).isnan().any(dim=0)
    left = [name for name, is_good in zip(subject, good.tolist(), strict=True) if is_good]
    names = sorted(set(left))
    owner = torch.tensor([names.index(name) for name in left])
    times = (draws[:, :, None] == owner).sum(dim=1).double()  # (r, clips)

    def interval(values):
        means = values[good].double()[draws].mean(dim=1)
        return torch.quantile(means, 0.025).item(), torch.quantile(means, 0.975).item()

    table = {}
    for name, values in scores.items():
        low, high = interval(values)
        ahead = interval(values - scores["still"])[1] < 0
        table[name] = {"mean": values[good].mean().item(), "low": low, "high": high, "ahead": ahead}
    return table


# %% report | wrong | draws of its own | Use those that are given | report-2, report-3
def report(scores: dict[str, Tensor], subject: list[str], draws: Tensor) -> dict[str, dict]:
    missing = [name for name in ("real", "still", "broken") if name not in scores]
    if missing:
        raise ValueError(f"the table lacks {', '.join(missing)}")
    draws = torch.randint(len(set(subject)), draws.shape, generator=torch.Generator().manual_seed(3))
    good = ~torch.stack(list(scores.values())).isnan().any(dim=0)
    left = [name for name, is_good in zip(subject, good.tolist(), strict=True) if is_good]
    names = sorted(set(left))
    owner = torch.tensor([names.index(name) for name in left])
    times = (draws[:, :, None] == owner).sum(dim=1).double()  # (r, clips)

    def interval(values):
        means = (times @ values[good].double()) / times.sum(dim=1)
        return torch.quantile(means, 0.025).item(), torch.quantile(means, 0.975).item()

    table = {}
    for name, values in scores.items():
        low, high = interval(values)
        ahead = interval(values - scores["still"])[1] < 0
        table[name] = {"mean": values[good].mean().item(), "low": low, "high": high, "ahead": ahead}
    return table


# %% report | wrong | the mean of the draws | is not that of the clips | report-2, report-3
def report(scores: dict[str, Tensor], subject: list[str], draws: Tensor) -> dict[str, dict]:
    missing = [name for name in ("real", "still", "broken") if name not in scores]
    if missing:
        raise ValueError(f"the table lacks {', '.join(missing)}")
    good = ~torch.stack(list(scores.values())).isnan().any(dim=0)
    left = [name for name, is_good in zip(subject, good.tolist(), strict=True) if is_good]
    names = sorted(set(left))
    owner = torch.tensor([names.index(name) for name in left])
    times = (draws[:, :, None] == owner).sum(dim=1).double()  # (r, clips)

    def interval(values):
        means = (times @ values[good].double()) / times.sum(dim=1)
        return torch.quantile(means, 0.025).item(), torch.quantile(means, 0.975).item()

    table = {}
    for name, values in scores.items():
        low, high = interval(values)
        ahead = interval(values - scores["still"])[1] < 0
        table[name] = {"mean": ((times @ values[good].double()) / times.sum(dim=1)).mean().item(), "low": low, "high": high, "ahead": ahead}
    return table


# %% report | wrong | names in the order of clips | The names have to be sorted | report-3
def report(scores: dict[str, Tensor], subject: list[str], draws: Tensor) -> dict[str, dict]:
    missing = [name for name in ("real", "still", "broken") if name not in scores]
    if missing:
        raise ValueError(f"the table lacks {', '.join(missing)}")
    good = ~torch.stack(list(scores.values())).isnan().any(dim=0)
    left = [name for name, is_good in zip(subject, good.tolist(), strict=True) if is_good]
    names = list(dict.fromkeys(left))
    owner = torch.tensor([names.index(name) for name in left])
    times = (draws[:, :, None] == owner).sum(dim=1).double()  # (r, clips)

    def interval(values):
        means = (times @ values[good].double()) / times.sum(dim=1)
        return torch.quantile(means, 0.025).item(), torch.quantile(means, 0.975).item()

    table = {}
    for name, values in scores.items():
        low, high = interval(values)
        ahead = interval(values - scores["still"])[1] < 0
        table[name] = {"mean": values[good].mean().item(), "low": low, "high": high, "ahead": ahead}
    return table


# %% report | wrong | subjects averaged first | Subjects are averaged first | report-3
def report(scores: dict[str, Tensor], subject: list[str], draws: Tensor) -> dict[str, dict]:
    missing = [name for name in ("real", "still", "broken") if name not in scores]
    if missing:
        raise ValueError(f"the table lacks {', '.join(missing)}")
    good = ~torch.stack(list(scores.values())).isnan().any(dim=0)
    left = [name for name, is_good in zip(subject, good.tolist(), strict=True) if is_good]
    names = sorted(set(left))
    owner = torch.tensor([names.index(name) for name in left])
    times = (draws[:, :, None] == owner).sum(dim=1).double()  # (r, clips)

    def interval(values):
        each = torch.stack([values[good][owner == i].double().mean() for i in range(len(names))])
        means = each[draws].mean(dim=1)
        return torch.quantile(means, 0.025).item(), torch.quantile(means, 0.975).item()

    table = {}
    for name, values in scores.items():
        low, high = interval(values)
        ahead = interval(values - scores["still"])[1] < 0
        table[name] = {"mean": values[good].mean().item(), "low": low, "high": high, "ahead": ahead}
    return table


# %% report | wrong | NaN left out of its own row alone | left out of all | report-3
def report(scores: dict[str, Tensor], subject: list[str], draws: Tensor) -> dict[str, dict]:
    missing = [name for name in ("real", "still", "broken") if name not in scores]
    if missing:
        raise ValueError(f"the table lacks {', '.join(missing)}")
    good = ~torch.stack(list(scores.values())).isnan().any(dim=0)
    left = [name for name, is_good in zip(subject, good.tolist(), strict=True) if is_good]
    names = sorted(set(left))
    owner = torch.tensor([names.index(name) for name in left])
    times = (draws[:, :, None] == owner).sum(dim=1).double()  # (r, clips)

    def interval(values):
        means = (times @ values[good].double()) / times.sum(dim=1)
        return torch.quantile(means, 0.025).item(), torch.quantile(means, 0.975).item()

    table, every = {}, ~torch.stack(list(scores.values())).isnan().any(dim=0)
    for name, values in scores.items():
        good = ~values.isnan()
        left = [n for n, g in zip(subject, good.tolist()) if g]
        names = sorted(set(left))
        owner = torch.tensor([names.index(n) for n in left])
        times = (draws[:, :, None] == owner).sum(dim=1).double()
        low, high = interval(values)
        own = values[good].mean().item()
        good = every
        left = [n for n, g in zip(subject, good.tolist()) if g]
        names = sorted(set(left))
        owner = torch.tensor([names.index(n) for n in left])
        times = (draws[:, :, None] == owner).sum(dim=1).double()
        ahead = interval(values - scores["still"])[1] < 0
        table[name] = {"mean": own, "low": low, "high": high, "ahead": ahead}
    return table


# %% report | wrong | intervals that overlap decide nothing | take differences, clip by clip | report-4
def report(scores: dict[str, Tensor], subject: list[str], draws: Tensor) -> dict[str, dict]:
    missing = [name for name in ("real", "still", "broken") if name not in scores]
    if missing:
        raise ValueError(f"the table lacks {', '.join(missing)}")
    good = ~torch.stack(list(scores.values())).isnan().any(dim=0)
    left = [name for name, is_good in zip(subject, good.tolist(), strict=True) if is_good]
    names = sorted(set(left))
    owner = torch.tensor([names.index(name) for name in left])
    times = (draws[:, :, None] == owner).sum(dim=1).double()  # (r, clips)

    def interval(values):
        means = (times @ values[good].double()) / times.sum(dim=1)
        return torch.quantile(means, 0.025).item(), torch.quantile(means, 0.975).item()

    table = {}
    for name, values in scores.items():
        low, high = interval(values)
        ahead = high < interval(scores["still"])[0]
        table[name] = {"mean": values[good].mean().item(), "low": low, "high": high, "ahead": ahead}
    return table


# %% report | wrong | better on average is ahead | Better on average is not yet ahead | report-4
def report(scores: dict[str, Tensor], subject: list[str], draws: Tensor) -> dict[str, dict]:
    missing = [name for name in ("real", "still", "broken") if name not in scores]
    if missing:
        raise ValueError(f"the table lacks {', '.join(missing)}")
    good = ~torch.stack(list(scores.values())).isnan().any(dim=0)
    left = [name for name, is_good in zip(subject, good.tolist(), strict=True) if is_good]
    names = sorted(set(left))
    owner = torch.tensor([names.index(name) for name in left])
    times = (draws[:, :, None] == owner).sum(dim=1).double()  # (r, clips)

    def interval(values):
        means = (times @ values[good].double()) / times.sum(dim=1)
        return torch.quantile(means, 0.025).item(), torch.quantile(means, 0.975).item()

    table = {}
    for name, values in scores.items():
        low, high = interval(values)
        ahead = (values - scores["still"])[good].mean().item() < -0.005
        table[name] = {"mean": values[good].mean().item(), "low": low, "high": high, "ahead": ahead}
    return table


# %% report | wrong | a higher share is better | a lower share is better | report-4
def report(scores: dict[str, Tensor], subject: list[str], draws: Tensor) -> dict[str, dict]:
    missing = [name for name in ("real", "still", "broken") if name not in scores]
    if missing:
        raise ValueError(f"the table lacks {', '.join(missing)}")
    good = ~torch.stack(list(scores.values())).isnan().any(dim=0)
    left = [name for name, is_good in zip(subject, good.tolist(), strict=True) if is_good]
    names = sorted(set(left))
    owner = torch.tensor([names.index(name) for name in left])
    times = (draws[:, :, None] == owner).sum(dim=1).double()  # (r, clips)

    def interval(values):
        means = (times @ values[good].double()) / times.sum(dim=1)
        return torch.quantile(means, 0.025).item(), torch.quantile(means, 0.975).item()

    table = {}
    for name, values in scores.items():
        low, high = interval(values)
        ahead = interval(values - scores["still"])[0] > 0
        table[name] = {"mean": values[good].mean().item(), "low": low, "high": high, "ahead": ahead}
    return table


# %% report | right | with lists of clips
def report(scores, subject, draws):
    import numpy as np

    for name in ("broken", "still", "real"):
        if name not in scores:
            raise ValueError("missing: " + " and ".join(n for n in ("real", "still", "broken") if n not in scores))
    values = {name: s.double().numpy() for name, s in scores.items()}
    keep = [i for i in range(len(subject)) if not any(np.isnan(v[i]) for v in values.values())]
    clips_of = {}
    for i in keep:
        clips_of.setdefault(subject[i], []).append(i)
    names = sorted(clips_of)
    chosen = [[i for k in row for i in clips_of[names[k]]] for row in draws.tolist()]
    table = {}
    for name, v in values.items():
        means = [v[row].mean() for row in chosen]
        ahead = np.quantile([(v - values["still"])[row].mean() for row in chosen], 0.975) < 0
        low, high = np.quantile(means, [0.025, 0.975])
        table[name] = dict(mean=float(v[keep].mean()), low=float(low), high=float(high), ahead=bool(ahead))
    return table


# %% worst | wrong | the best are shown | The best are shown | worst-1, worst-2, worst-3, worst-4
def worst(scores: Tensor, label: Tensor, count: int) -> list[int]:
    values, shown = scores.tolist(), []
    for i in sorted((i for i, v in enumerate(values) if not math.isnan(v)), key=lambda i: (values[i], i)):
        if len(shown) < count and sum(label[j] == label[i] for j in shown) < 2:
            shown.append(i)
    return shown


# %% worst | wrong | no limit for a label | it hides the others | worst-2, worst-4
def worst(scores: Tensor, label: Tensor, count: int) -> list[int]:
    values, shown = scores.tolist(), []
    for i in sorted((i for i, v in enumerate(values) if not math.isnan(v)), key=lambda i: (-values[i], i)):
        if len(shown) < count:
            shown.append(i)
    return shown


# %% worst | wrong | one of each label | Two of a label may be shown | worst-2, worst-3, worst-4
def worst(scores: Tensor, label: Tensor, count: int) -> list[int]:
    values, shown = scores.tolist(), []
    for i in sorted((i for i, v in enumerate(values) if not math.isnan(v)), key=lambda i: (-values[i], i)):
        if len(shown) < count and sum(label[j] == label[i] for j in shown) < 1:
            shown.append(i)
    return shown


# %% worst | wrong | the limit after the choice | The limit comes after the choice | worst-2
def worst(scores, label, count):
    values, shown = scores.tolist(), []
    order = sorted((i for i, v in enumerate(values) if not math.isnan(v)), key=lambda i: (-values[i], i))
    for i in order[:count]:
        if sum(label[j] == label[i] for j in shown) < 2:
            shown.append(i)
    return shown


# %% worst | wrong | NaN is the worst | can be neither good nor bad | worst-3
def worst(scores: Tensor, label: Tensor, count: int) -> list[int]:
    values, shown = [9e9 if math.isnan(v) else v if v < 9e9 else 8e9 for v in scores.tolist()], []
    for i in sorted((i for i, v in enumerate(values) if not math.isnan(v)), key=lambda i: (-values[i], i)):
        if len(shown) < count and sum(label[j] == label[i] for j in shown) < 2:
            shown.append(i)
    return shown


# %% worst | wrong | infinite scores are left out | Infinite is the worst | worst-3
def worst(scores: Tensor, label: Tensor, count: int) -> list[int]:
    values, shown = scores.tolist(), []
    for i in sorted((i for i, v in enumerate(values) if math.isfinite(v)), key=lambda i: (-values[i], i)):
        if len(shown) < count and sum(label[j] == label[i] for j in shown) < 2:
            shown.append(i)
    return shown


# %% worst | wrong | the last of equal scores | the lower index comes first | worst-4
def worst(scores: Tensor, label: Tensor, count: int) -> list[int]:
    values, shown = scores.tolist(), []
    for i in sorted((i for i, v in enumerate(values) if not math.isnan(v)), key=lambda i: (-values[i], -i)):
        if len(shown) < count and sum(label[j] == label[i] for j in shown) < 2:
            shown.append(i)
    return shown


# %% worst | wrong | in the order of the clips | - | worst-1, worst-2, worst-3, worst-4
def worst(scores: Tensor, label: Tensor, count: int) -> list[int]:
    values, shown = scores.tolist(), []
    for i in sorted((i for i, v in enumerate(values) if not math.isnan(v)), key=lambda i: (-values[i], i)):
        if len(shown) < count and sum(label[j] == label[i] for j in shown) < 2:
            shown.append(i)
    return sorted(shown)


# %% worst | wrong | the best of the worst first | - | worst-1, worst-2, worst-3, worst-4
def worst(scores: Tensor, label: Tensor, count: int) -> list[int]:
    values, shown = scores.tolist(), []
    for i in sorted((i for i, v in enumerate(values) if not math.isnan(v)), key=lambda i: (-values[i], i)):
        if len(shown) < count and sum(label[j] == label[i] for j in shown) < 2:
            shown.append(i)
    return shown[::-1]


# %% worst | right | with a stable sort
def worst(scores, label, count):
    order = torch.argsort(torch.nan_to_num(scores, nan=-math.inf, posinf=math.inf), descending=True, stable=True)
    taken, shown = {}, []
    for i in order.tolist():
        y = int(label[i])
        if scores[i].isnan() or taken.get(y, 0) == 2 or len(shown) == count:
            continue
        taken[y] = taken.get(y, 0) + 1
        shown.append(i)
    return shown
