# Plausible wrong answers to the exercises of chapter 13; see tests/exercises.py for the form.

# %% counted: the deviation for the variance -> not its root
def counted(features):
    return torch.stack([features.mean(dim=(0, 2, 3)), features.std(dim=(0, 2, 3))])


# %% counted: divided by the count -> less one
def counted(features):
    return torch.stack([features.mean(dim=(0, 2, 3)), features.var(dim=(0, 2, 3), unbiased=False)])


# %% counted: variance before mean -> mean comes first
def counted(features):
    return torch.stack([features.var(dim=(0, 2, 3)), features.mean(dim=(0, 2, 3))])


# %% counted: the mean of the squares -> before you square
def counted(features):
    return torch.stack([features.mean(dim=(0, 2, 3)), features.square().mean(dim=(0, 2, 3))])


# %% counted: each clip for itself -> at once
def counted(features):
    return torch.stack([features.mean(dim=(0, 2, 3)), features.var(dim=(2, 3)).mean(dim=0)])


# %% counted: places are kept apart -> shape
def counted(features):
    return torch.stack([features.mean(dim=0), features.var(dim=0)])


# %% counted: a pair is returned -> return a tensor
def counted(features):
    return features.mean(dim=(0, 2, 3)), features.var(dim=(0, 2, 3))


# %% with_labels: behind no label -> last row
def with_labels(table, count):
    fresh = table[:-1].mean(dim=0, keepdim=True).expand(count, -1)
    return torch.cat([table, fresh])


# %% with_labels: no label counts in the mean -> out of the mean
def with_labels(table, count):
    fresh = table.mean(dim=0, keepdim=True).expand(count, -1)
    return torch.cat([table[:-1], fresh, table[-1:]])


# %% with_labels: zeros -> not as zeros
def with_labels(table, count):
    return torch.cat([table[:-1], table.new_zeros(count, table.shape[1]), table[-1:]])


# %% with_labels: new ones first -> keep their places
def with_labels(table, count):
    fresh = table[:-1].mean(dim=0, keepdim=True).expand(count, -1)
    return torch.cat([fresh, table])


# %% with_labels: the last label is copied -> none of the old ones
def with_labels(table, count):
    return torch.cat([table[:-1], table[-2:-1].expand(count, -1), table[-1:]])


# %% with_labels: no label is copied -> is not no label
def with_labels(table, count):
    return torch.cat([table[:-1], table[-1:].expand(count, -1), table[-1:]])


# %% with_labels: one row whatever the count -> shape
def with_labels(table, count):
    return torch.cat([table[:-1], table[:-1].mean(dim=0, keepdim=True), table[-1:]])


# %% unit: frame 0 counts -> leave it out
def unit(flow):
    return flow.square().mean(dim=(0, 2, 3, 4)).sqrt()


# %% unit: the deviation about the mean -> about zero
def unit(flow):
    return flow[:, :, 1:].std(dim=(0, 2, 3, 4), unbiased=False)


# %% unit: no root -> root is missing
def unit(flow):
    return flow[:, :, 1:].square().mean(dim=(0, 2, 3, 4))


# %% unit: the mean of lengths -> square before you average
def unit(flow):
    return flow[:, :, 1:].abs().mean(dim=(0, 2, 3, 4))


# %% unit: both directions together -> apart
def unit(flow):
    return flow[:, :, 1:].square().mean().sqrt().expand(2)


# %% unit: a root for each clip -> then the root
def unit(flow):
    return flow[:, :, 1:].square().mean(dim=(2, 3, 4)).sqrt().mean(dim=0)


# %% unit: one number -> shape
def unit(flow):
    return flow[:, :, 1:].square().mean().sqrt()
