"""Answers to problem set 5, inside the 3D U-Net: wrong ones with their misconception, right ones in other styles."""


# %% shuffle | wrong | distances taken for numbers of frames | so only the distance of two frames counts | shuffle-2
def unnoticed():
    return {
        "none": {"shuffle", "reverse", "roll", "later"},
        "rotary": set(),
        "distance": {"later"},
        "absolute distance": {"reverse", "later"},
        "circle": {"roll", "later"},
        "embedding": set(),
    }


# %% shuffle | wrong | the embedding taken for a distance | says which frame is which | shuffle-2
def unnoticed():
    return {
        "none": {"shuffle", "reverse", "roll", "later"},
        "rotary": {"later"},
        "distance": {"later"},
        "absolute distance": {"reverse", "later"},
        "circle": {"roll", "later"},
        "embedding": {"later"},
    }


# %% shuffle | wrong | distances without a sign | Does this cure tell them apart | shuffle-3
def unnoticed():
    return {
        "none": {"shuffle", "reverse", "roll", "later"},
        "rotary": {"later"},
        "distance": {"reverse", "later"},
        "absolute distance": {"reverse", "later"},
        "circle": {"reverse", "roll", "later"},
        "embedding": set(),
    }


# %% shuffle | wrong | rotary blind to the direction of time | a turn by minus the angle is another turn | shuffle-3
def unnoticed():
    return {
        "none": {"shuffle", "reverse", "roll", "later"},
        "rotary": {"reverse", "later"},
        "distance": {"later"},
        "absolute distance": {"reverse", "later"},
        "circle": {"roll", "later"},
        "embedding": set(),
    }


# %% shuffle | wrong | a roll taken for a shift | the last frame and the first are neighbours | shuffle-3
def unnoticed():
    return {
        "none": {"shuffle", "reverse", "roll", "later"},
        "rotary": {"roll", "later"},
        "distance": {"roll", "later"},
        "absolute distance": {"reverse", "roll", "later"},
        "circle": {"roll", "later"},
        "embedding": set(),
    }


# %% shuffle | wrong | the table of what is noticed | bag of frames | shuffle-1, shuffle-2, shuffle-3
def unnoticed():
    return {
        "none": set(),
        "rotary": {"shuffle", "reverse", "roll"},
        "distance": {"shuffle", "reverse", "roll"},
        "absolute distance": {"shuffle", "roll"},
        "circle": {"shuffle", "reverse"},
        "embedding": {"shuffle", "reverse", "roll", "later"},
    }


# %% shuffle | wrong | words of one's own | four words of the text | shuffle-1, shuffle-2, shuffle-3
def unnoticed():
    return dict.fromkeys(("none", "rotary", "distance", "absolute distance", "circle", "embedding"), {"shift"})


# %% shuffle | wrong | a list instead of a table | keys | shuffle-1, shuffle-2, shuffle-3
def unnoticed():
    return [{"later"}, {"later"}]


# %% shuffle | right | lists, and texts, in another order
def unnoticed():
    return {
        "embedding": "",
        "circle": ["later", "roll"],
        "absolute distance": "later reverse",
        "distance": ("later",),
        "rotary": "later",
        "none": "later roll reverse shuffle",
    }


# %% bill | wrong | the matrix behind the heads is left out | behind the heads seems to be left out | bill-1
def bill(kind, frames, places, dim, heads, head_dim):
    width, tokens = heads * head_dim, frames * places
    groups, n = {"time": (places, frames), "joint": (1, tokens)}.get(kind, (frames, places))
    side = head_dim if kind == "linear" else n
    between = groups * heads * (head_dim**2 if kind == "linear" else n**2)
    return {"matrices": 3 * tokens * dim * width, "products": 2 * groups * n * side * width, "between": between}


# %% bill | wrong | every product and every sum counts | a product with its sum is one | bill-1, bill-2, bill-3
def bill(kind, frames, places, dim, heads, head_dim):
    width, tokens = heads * head_dim, frames * places
    groups, n = {"time": (places, frames), "joint": (1, tokens)}.get(kind, (frames, places))
    side = head_dim if kind == "linear" else n
    between = groups * heads * (head_dim**2 if kind == "linear" else n**2)
    return {"matrices": 8 * tokens * dim * width, "products": 4 * groups * n * side * width, "between": between}


# %% bill | wrong | one product only | two products | bill-2, bill-3
def bill(kind, frames, places, dim, heads, head_dim):
    width, tokens = heads * head_dim, frames * places
    groups, n = {"time": (places, frames), "joint": (1, tokens)}.get(kind, (frames, places))
    side = head_dim if kind == "linear" else n
    between = groups * heads * (head_dim**2 if kind == "linear" else n**2)
    return {"matrices": 4 * tokens * dim * width, "products": groups * n * side * width, "between": between}


# %% bill | wrong | space and time exchanged | This is the cost of 'time' | bill-2, bill-4
def bill(kind, frames, places, dim, heads, head_dim):
    width, tokens = heads * head_dim, frames * places
    groups, n = {"space": (places, frames), "joint": (1, tokens)}.get(kind, (frames, places))
    side = head_dim if kind == "linear" else n
    between = groups * heads * (head_dim**2 if kind == "linear" else n**2)
    return {"matrices": 4 * tokens * dim * width, "products": 2 * groups * n * side * width, "between": between}


# %% bill | wrong | joint as space and then time | space' and 'time' together | bill-2, bill-4
def bill(kind, frames, places, dim, heads, head_dim):
    width, tokens = heads * head_dim, frames * places
    if kind == "joint":
        one, two = (bill(other, frames, places, dim, heads, head_dim) for other in ("space", "time"))
        return {"matrices": one["matrices"]} | {name: one[name] + two[name] for name in ("products", "between")}
    groups, n = (places, frames) if kind == "time" else (frames, places)
    side = head_dim if kind == "linear" else n
    between = groups * heads * (head_dim**2 if kind == "linear" else n**2)
    return {"matrices": 4 * tokens * dim * width, "products": 2 * groups * n * side * width, "between": between}


# %% bill | wrong | linear attention as full | whatever the number of places | bill-3, bill-4
def bill(kind, frames, places, dim, heads, head_dim):
    width, tokens = heads * head_dim, frames * places
    groups, n = {"time": (places, frames), "joint": (1, tokens)}.get(kind, (frames, places))
    between = groups * heads * n**2
    return {"matrices": 4 * tokens * dim * width, "products": 2 * groups * n * n * width, "between": between}


# %% bill | wrong | heads forgotten in the products | each makes both products | bill-2, bill-3
def bill(kind, frames, places, dim, heads, head_dim):
    tokens = frames * places
    groups, n = {"time": (places, frames), "joint": (1, tokens)}.get(kind, (frames, places))
    side = head_dim if kind == "linear" else n
    between = groups * heads * (head_dim**2 if kind == "linear" else n**2)
    return {
        "matrices": 4 * tokens * dim * heads * head_dim,
        "products": 2 * groups * n * side * head_dim,
        "between": between,
    }


# %% bill | wrong | one summary for all heads | not those of all heads squared | bill-3, bill-4
def bill(kind, frames, places, dim, heads, head_dim):
    width, tokens = heads * head_dim, frames * places
    groups, n = {"time": (places, frames), "joint": (1, tokens)}.get(kind, (frames, places))
    side = width if kind == "linear" else n
    between = groups * (width**2 if kind == "linear" else heads * n**2)
    return {"matrices": 4 * tokens * dim * width, "products": 2 * groups * n * side * width, "between": between}


# %% bill | wrong | what lies between, of one head | has scores, or a summary, of its own | bill-4
def bill(kind, frames, places, dim, heads, head_dim):
    width, tokens = heads * head_dim, frames * places
    groups, n = {"time": (places, frames), "joint": (1, tokens)}.get(kind, (frames, places))
    side = head_dim if kind == "linear" else n
    between = groups * (head_dim**2 if kind == "linear" else n**2)
    return {"matrices": 4 * tokens * dim * width, "products": 2 * groups * n * side * width, "between": between}


# %% bill | wrong | hard-coded to the example | - | bill-1, bill-2, bill-3, bill-4
def bill(kind, frames, places, dim, heads, head_dim):
    products = {"space": 252, "time": 168, "joint": 504, "linear": 588}[kind]
    between = {"space": 18, "time": 12, "joint": 36, "linear": 98}[kind]
    return {"matrices": 840, "products": products, "between": between}


# %% bill | right | counted by PyTorch, on meta
def bill(kind, frames, places, dim, heads, head_dim):
    tokens = torch.empty(frames, places, dim, device="meta")
    if kind == "time":
        tokens = tokens.transpose(0, 1).contiguous()
    elif kind == "joint":
        tokens = tokens.reshape(1, -1, dim)
    to_qkv = torch.empty(dim, 3 * heads * head_dim, device="meta")
    to_out = torch.empty(heads * head_dim, dim, device="meta")
    q, k, v = rearrange(tokens @ to_qkv, "g n (three heads d) -> three g heads n d", three=3, heads=heads)
    if kind == "linear":
        first, both = k.mT @ v, lambda q, k, v: q @ (k.mT @ v)
    else:
        first, both = q @ k.mT, lambda q, k, v: (q @ k.mT) @ v
    matrices = multiply_adds(lambda x: (x @ to_qkv)[..., : heads * head_dim] @ to_out, tokens)
    return {"matrices": matrices, "products": multiply_adds(both, q, k, v), "between": first.numel()}


# %% drop | wrong | both forgotten for the label | Where both fall out, the label does, too | drop-1, drop-2, drop-4
def drop(label, picture, u, p_both, p_label, p_picture, null_label):
    a, b, c = p_both, p_both + p_label, p_both + p_label + p_picture
    no_label, no_picture = (u >= a) & (u < b), (u < a) | ((u >= b) & (u < c))
    return torch.where(no_label, null_label, label), picture * ~no_picture[:, None, None, None]


# %% drop | wrong | both forgotten for the picture | Where both fall out, the picture does, too | drop-1, drop-3, drop-4
def drop(label, picture, u, p_both, p_label, p_picture, null_label):
    b, c = p_both + p_label, p_both + p_label + p_picture
    return torch.where(u < b, null_label, label), picture * ~((u >= b) & (u < c))[:, None, None, None]


# %% drop | wrong | the picture falls out in all rows | the label alone falls out in the second | drop-3, drop-4
def drop(label, picture, u, p_both, p_label, p_picture, null_label):
    gone = u < p_both + p_label + p_picture
    return torch.where(u < p_both + p_label, null_label, label), picture * ~gone[:, None, None, None]


# %% drop | wrong | shares not added | Rows of the table lie one behind the other | drop-2, drop-3, drop-4
def drop(label, picture, u, p_both, p_label, p_picture, null_label):
    no_label, no_picture = (u < p_both) | (u < p_label), (u < p_both) | (u < p_picture)
    return torch.where(no_label, null_label, label), picture * ~no_picture[:, None, None, None]


# %% drop | wrong | label and picture exchanged | as if the label fell out where the picture does | drop-2, drop-3, drop-4
def drop(label, picture, u, p_both, p_label, p_picture, null_label):
    a, b, c = p_both, p_both + p_label, p_both + p_label + p_picture
    no_picture, no_label = u < b, (u < a) | ((u >= b) & (u < c))
    return torch.where(no_label, null_label, label), picture * ~no_picture[:, None, None, None]


# %% drop | wrong | label 0 for none | 0 is a label like others | drop-1, drop-2, drop-4
def drop(label, picture, u, p_both, p_label, p_picture, null_label):
    a, b, c = p_both, p_both + p_label, p_both + p_label + p_picture
    gone = (u < a) | ((u >= b) & (u < c))
    return label * (u >= b), picture * ~gone[:, None, None, None]


# %% drop | wrong | the null label is -1 | which is given, not -1 | drop-1, drop-2, drop-4
def drop(label, picture, u, p_both, p_label, p_picture, null_label):
    a, b, c = p_both, p_both + p_label, p_both + p_label + p_picture
    gone = (u < a) | ((u >= b) & (u < c))
    return torch.where(u < b, -1, label), picture * ~gone[:, None, None, None]


# %% drop | wrong | upper ends belong to their rows | an upper end to the next | drop-4
def drop(label, picture, u, p_both, p_label, p_picture, null_label):
    a, b, c = p_both, p_both + p_label, p_both + p_label + p_picture
    gone = (u <= a) | ((u > b) & (u <= c))
    return torch.where(u <= b, null_label, label), picture * ~gone[:, None, None, None]


# %% drop | wrong | made up for as dropout does | conditions stay as large as they are | drop-3, drop-4
def drop(label, picture, u, p_both, p_label, p_picture, null_label):
    a, b, c = p_both, p_both + p_label, p_both + p_label + p_picture
    gone = (u < a) | ((u >= b) & (u < c))
    left = max(1 - p_both - p_picture, 1e-3)
    return torch.where(u < b, null_label, label), picture * ~gone[:, None, None, None] / left


# %% drop | wrong | changed in place | must stay as it is | drop-1
def drop(label, picture, u, p_both, p_label, p_picture, null_label):
    a, b, c = p_both, p_both + p_label, p_both + p_label + p_picture
    label[u < b] = null_label
    picture[(u < a) | ((u >= b) & (u < c))] = 0
    return label, picture


# %% drop | right | by the number of the row
def drop(label, picture, u, p_both, p_label, p_picture, null_label):
    ends = torch.tensor([p_both, p_both + p_label, p_both + p_label + p_picture])
    row = torch.bucketize(u, ends, right=True)  # 0 to 3
    label = label.clone()
    label[row <= 1] = null_label
    stays = torch.tensor([0.0, 1, 0, 1])[row]
    return label, picture * stays.view(-1, 1, 1, 1)


# %% drop | right | clip by clip
def drop(label, picture, u, p_both, p_label, p_picture, null_label):
    labels, pictures = [], []
    for y, z, number in zip(label, picture, u, strict=True):
        both = number < p_both
        only_label = not both and number < p_both + p_label
        only_picture = not both and not only_label and number < p_both + p_label + p_picture
        labels.append(torch.tensor(null_label) if both or only_label else y)
        pictures.append(torch.zeros_like(z) if both or only_picture else z)
    return torch.stack(labels), torch.stack(pictures)


# %% fold | wrong | without the soft threshold | soft threshold comes before the linear layer | fold-3, fold-4
def fold(factor, summand, matrix, bias, step, label):
    gamma, psi = (torch.cat([step, label], dim=1) @ matrix.T + bias).chunk(2, dim=1)
    return (1 + gamma) * factor, (1 + gamma) * summand + psi


# %% fold | wrong | the soft threshold behind the linear layer | not behind it | fold-2, fold-3, fold-4
def fold(factor, summand, matrix, bias, step, label):
    gamma, psi = F.silu(torch.cat([step, label], dim=1) @ matrix.T + bias).chunk(2, dim=1)
    return (1 + gamma) * factor, (1 + gamma) * summand + psi


# %% fold | wrong | without the 1 | what is the 1 for | fold-1, fold-2, fold-3, fold-4
def fold(factor, summand, matrix, bias, step, label):
    gamma, psi = (F.silu(torch.cat([step, label], dim=1)) @ matrix.T + bias).chunk(2, dim=1)
    return gamma * factor, gamma * summand + psi


# %% fold | wrong | the summand is not scaled | summand of the norm is scaled, too | fold-2, fold-3, fold-4
def fold(factor, summand, matrix, bias, step, label):
    gamma, psi = (F.silu(torch.cat([step, label], dim=1)) @ matrix.T + bias).chunk(2, dim=1)
    return (1 + gamma) * factor, summand + psi


# %% fold | wrong | the shift is scaled | is not scaled | fold-2, fold-3, fold-4
def fold(factor, summand, matrix, bias, step, label):
    gamma, psi = (F.silu(torch.cat([step, label], dim=1)) @ matrix.T + bias).chunk(2, dim=1)
    return (1 + gamma) * factor, (1 + gamma) * (summand + psi)


# %% fold | wrong | psi before gamma | gamma first, then psi | fold-2, fold-3, fold-4
def fold(factor, summand, matrix, bias, step, label):
    psi, gamma = (F.silu(torch.cat([step, label], dim=1)) @ matrix.T + bias).chunk(2, dim=1)
    return (1 + gamma) * factor, (1 + gamma) * summand + psi


# %% fold | wrong | gamma and psi alternate | they do not alternate | fold-2, fold-3, fold-4
def fold(factor, summand, matrix, bias, step, label):
    gamma, psi = (F.silu(torch.cat([step, label], dim=1)) @ matrix.T + bias).view(len(step), -1, 2).unbind(-1)
    return (1 + gamma) * factor, (1 + gamma) * summand + psi


# %% fold | wrong | label before step | step comes first, then the label | fold-3, fold-4
def fold(factor, summand, matrix, bias, step, label):
    gamma, psi = (F.silu(torch.cat([label, step], dim=1)) @ matrix.T + bias).chunk(2, dim=1)
    return (1 + gamma) * factor, (1 + gamma) * summand + psi


# %% fold | wrong | sigmoid for silu | not the sigmoid | fold-3, fold-4
def fold(factor, summand, matrix, bias, step, label):
    gamma, psi = (torch.cat([step, label], dim=1).sigmoid() @ matrix.T + bias).chunk(2, dim=1)
    return (1 + gamma) * factor, (1 + gamma) * summand + psi


# %% fold | wrong | the condition of the first clip for all | condition of the first | fold-3, fold-4
def fold(factor, summand, matrix, bias, step, label):
    gamma, psi = (F.silu(torch.cat([step, label], dim=1)) @ matrix.T + bias)[:1].expand(len(step), -1).chunk(2, dim=1)
    return (1 + gamma) * factor, (1 + gamma) * summand + psi


# %% fold | wrong | in float16 | too coarse | fold-1, fold-2, fold-3, fold-4
def fold(factor, summand, matrix, bias, step, label):
    gamma, psi = (F.silu(torch.cat([step, label], dim=1)) @ matrix.T + bias).half().chunk(2, dim=1)
    return (1 + gamma) * factor.half(), (1 + gamma) * summand.half() + psi


# %% fold | right | step and label by themselves, number by number
def fold(factor, summand, matrix, bias, step, label):
    c, n = len(factor), step.shape[1]
    new_factor, new_summand = torch.empty(2, len(step), c)
    silu = lambda a: a * torch.sigmoid(a)
    for clip in range(len(step)):
        numbers = matrix[:, :n] @ silu(step[clip]) + matrix[:, n:] @ silu(label[clip]) + bias
        for i in range(c):
            new_factor[clip, i] = factor[i] + numbers[i] * factor[i]
            new_summand[clip, i] = summand[i] + numbers[i] * summand[i] + numbers[c + i]
    return new_factor, new_summand


# %% rotary | wrong | the order turned round | order looks turned round | rotary-2, rotary-3, rotary-4
def from_neighbours(to_qkv, heads):
    q, k, v = to_qkv.chunk(3)
    q, k = (rearrange(part, "(heads two f) c -> (heads f two) c", heads=heads, two=2) for part in (q, k))
    return torch.cat([q, k, v])


# %% rotary | wrong | the second of a pair first | turns the other way | rotary-1, rotary-2, rotary-3, rotary-4
def from_neighbours(to_qkv, heads):
    q, k, v = to_qkv.chunk(3)
    q, k = (
        rearrange(part, "(heads f two) c -> heads two f c", heads=heads, two=2).flip(1).flatten(0, 2) for part in (q, k)
    )
    return torch.cat([q, k, v])


# %% rotary | wrong | values reordered, too | Values are not turned | rotary-2, rotary-3, rotary-4
def from_neighbours(to_qkv, heads):
    return rearrange(to_qkv, "(three heads f two) c -> (three heads two f) c", three=3, heads=heads, two=2)


# %% rotary | wrong | heads passed over | no row changes its head | rotary-1, rotary-2, rotary-3, rotary-4
def from_neighbours(to_qkv, heads):
    q, k, v = to_qkv.chunk(3)
    return torch.cat([q[::2], q[1::2], k[::2], k[1::2], v])


# %% rotary | wrong | queries only | Keys are turned like queries | rotary-2, rotary-3, rotary-4
def from_neighbours(to_qkv, heads):
    q, k, v = to_qkv.chunk(3)
    return torch.cat([rearrange(q, "(heads f two) c -> (heads two f) c", heads=heads, two=2), k, v])


# %% rotary | wrong | nothing is moved | Nothing has moved | rotary-2, rotary-3, rotary-4
def from_neighbours(to_qkv, heads):
    return to_qkv.clone()


# %% rotary | wrong | changed in place | must stay as it is | rotary-1
def from_neighbours(to_qkv, heads):
    q, k, v = to_qkv.chunk(3)
    for part in (q, k):
        part[:] = rearrange(part, "(heads f two) c -> (heads two f) c", heads=heads, two=2).clone()
    return to_qkv


# %% rotary | wrong | the other axis | - | rotary-2, rotary-3, rotary-4
def from_neighbours(to_qkv, heads):
    return torch.cat([to_qkv[:, ::2], to_qkv[:, 1::2]], dim=1)


# %% rotary | right | by the numbers of the rows
def from_neighbours(to_qkv, heads):
    d = len(to_qkv) // (3 * heads)
    order = []
    for part in range(3):
        for head in range(heads):
            start = (part * heads + head) * d
            within = range(d) if part == 2 else [*range(0, d, 2), *range(1, d, 2)]
            order += [start + f for f in within]
    return to_qkv[order]


# %% rotary | right | by a matrix of zeros and ones
def from_neighbours(to_qkv, heads):
    d = len(to_qkv) // (3 * heads)
    P = torch.zeros(d, d)
    for f in range(d // 2):
        P[f, 2 * f] = P[f + d // 2, 2 * f + 1] = 1
    blocks = [P] * (2 * heads) + [torch.eye(d)] * heads
    return torch.block_diag(*blocks) @ to_qkv


# %% look | wrong | the function as it was given | shares sum to 1 | look-2, look-3, look-4, look-5
def look(x, to_qkv, to_out, heads, count, past=None):
    tokens = rearrange(x, "(t b) c h w -> (b h w) t c", t=count)
    q, k, v = rearrange(tokens @ to_qkv.T, "n t (three heads d) -> three n heads t d", three=3, heads=heads)
    score = q @ k.mT / math.sqrt(x.shape[1])
    o = score.softmax(dim=-2) @ v
    o = rearrange(o, "n heads t d -> n t (heads d)") @ to_out.T
    return x + rearrange(o, "(b h w) t c -> (t b) c h w", h=x.shape[2], w=x.shape[3])


# %% look | wrong | still folded as (t b) | Clips watch each other | look-4, look-5
def look(x, to_qkv, to_out, heads, count, past=None):
    tokens = rearrange(x, "(t b) c h w -> (b h w) t c", t=count)
    q, k, v = rearrange(tokens @ to_qkv.T, "n t (three heads d) -> three n heads t d", three=3, heads=heads)
    score = q @ k.mT / math.sqrt(q.shape[-1])
    if past is not None:
        back = torch.arange(count)[:, None] - torch.arange(count)
        score = score.masked_fill((back < 0) | (back > past), -math.inf)
    o = rearrange(score.softmax(dim=-1) @ v, "n heads t d -> n t (heads d)") @ to_out.T
    return x + rearrange(o, "(b h w) t c -> (t b) c h w", h=x.shape[2], w=x.shape[3])


# %% look | wrong | softmax still over the queries | over j, the keys | look-2, look-3, look-4, look-5
def look(x, to_qkv, to_out, heads, count, past=None):
    tokens = rearrange(x, "(b t) c h w -> (b h w) t c", t=count)
    q, k, v = rearrange(tokens @ to_qkv.T, "n t (three heads d) -> three n heads t d", three=3, heads=heads)
    score = q @ k.mT / math.sqrt(q.shape[-1])
    if past is not None:
        back = torch.arange(count)[:, None] - torch.arange(count)
        score = score.masked_fill((back < 0) | (back > past), -math.inf)
    o = rearrange(score.softmax(dim=-2) @ v, "n heads t d -> n t (heads d)") @ to_out.T
    return x + rearrange(o, "(b h w) t c -> (b t) c h w", h=x.shape[2], w=x.shape[3])


# %% look | wrong | the root still of the channels | root is of d, the features of a head | look-3, look-4, look-5
def look(x, to_qkv, to_out, heads, count, past=None):
    tokens = rearrange(x, "(b t) c h w -> (b h w) t c", t=count)
    q, k, v = rearrange(tokens @ to_qkv.T, "n t (three heads d) -> three n heads t d", three=3, heads=heads)
    score = q @ k.mT / math.sqrt(x.shape[1])
    if past is not None:
        back = torch.arange(count)[:, None] - torch.arange(count)
        score = score.masked_fill((back < 0) | (back > past), -math.inf)
    o = rearrange(score.softmax(dim=-1) @ v, "n heads t d -> n t (heads d)") @ to_out.T
    return x + rearrange(o, "(b h w) t c -> (b t) c h w", h=x.shape[2], w=x.shape[3])


# %% look | wrong | the root of all heads' features | not of all heads together | look-3, look-4, look-5
def look(x, to_qkv, to_out, heads, count, past=None):
    tokens = rearrange(x, "(b t) c h w -> (b h w) t c", t=count)
    q, k, v = rearrange(tokens @ to_qkv.T, "n t (three heads d) -> three n heads t d", three=3, heads=heads)
    score = q @ k.mT / math.sqrt(to_out.shape[1])
    if past is not None:
        back = torch.arange(count)[:, None] - torch.arange(count)
        score = score.masked_fill((back < 0) | (back > past), -math.inf)
    o = rearrange(score.softmax(dim=-1) @ v, "n heads t d -> n t (heads d)") @ to_out.T
    return x + rearrange(o, "(b h w) t c -> (b t) c h w", h=x.shape[2], w=x.shape[3])


# %% look | wrong | nothing is hidden | Nothing seems to be hidden | look-5
def look(x, to_qkv, to_out, heads, count, past=None):
    tokens = rearrange(x, "(b t) c h w -> (b h w) t c", t=count)
    q, k, v = rearrange(tokens @ to_qkv.T, "n t (three heads d) -> three n heads t d", three=3, heads=heads)
    o = rearrange(F.scaled_dot_product_attention(q, k, v), "n heads t d -> n t (heads d)") @ to_out.T
    return x + rearrange(o, "(b h w) t c -> (b t) c h w", h=x.shape[2], w=x.shape[3])


# %% look | wrong | the future is seen | The triangle is turned | look-5
def look(x, to_qkv, to_out, heads, count, past=None):
    tokens = rearrange(x, "(b t) c h w -> (b h w) t c", t=count)
    q, k, v = rearrange(tokens @ to_qkv.T, "n t (three heads d) -> three n heads t d", three=3, heads=heads)
    score = q @ k.mT / math.sqrt(q.shape[-1])
    if past is not None:
        back = torch.arange(count) - torch.arange(count)[:, None]
        score = score.masked_fill((back < 0) | (back > past), -math.inf)
    o = rearrange(score.softmax(dim=-1) @ v, "n heads t d -> n t (heads d)") @ to_out.T
    return x + rearrange(o, "(b h w) t c -> (b t) c h w", h=x.shape[2], w=x.shape[3])


# %% look | wrong | one frame less | Off by one: the frame itself is not one of | look-5
def look(x, to_qkv, to_out, heads, count, past=None):
    tokens = rearrange(x, "(b t) c h w -> (b h w) t c", t=count)
    q, k, v = rearrange(tokens @ to_qkv.T, "n t (three heads d) -> three n heads t d", three=3, heads=heads)
    score = q @ k.mT / math.sqrt(q.shape[-1])
    if past is not None:
        back = torch.arange(count)[:, None] - torch.arange(count)
        score = score.masked_fill((back < 0) | (back >= max(past, 1)), -math.inf)
    o = rearrange(score.softmax(dim=-1) @ v, "n heads t d -> n t (heads d)") @ to_out.T
    return x + rearrange(o, "(b h w) t c -> (b t) c h w", h=x.shape[2], w=x.shape[3])


# %% look | wrong | the distant past is not hidden | but the distant past is not | look-5
def look(x, to_qkv, to_out, heads, count, past=None):
    tokens = rearrange(x, "(b t) c h w -> (b h w) t c", t=count)
    q, k, v = rearrange(tokens @ to_qkv.T, "n t (three heads d) -> three n heads t d", three=3, heads=heads)
    seen = torch.ones(count, count).tril().bool() if past else torch.eye(count).bool() if past == 0 else None
    o = rearrange(F.scaled_dot_product_attention(q, k, v, seen), "n heads t d -> n t (heads d)") @ to_out.T
    return x + rearrange(o, "(b h w) t c -> (b t) c h w", h=x.shape[2], w=x.shape[3])


# %% look | wrong | hidden after the softmax | shares no longer sum to 1 | look-5
def look(x, to_qkv, to_out, heads, count, past=None):
    tokens = rearrange(x, "(b t) c h w -> (b h w) t c", t=count)
    q, k, v = rearrange(tokens @ to_qkv.T, "n t (three heads d) -> three n heads t d", three=3, heads=heads)
    share = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1)
    if past:
        back = torch.arange(count)[:, None] - torch.arange(count)
        share = share * ((back >= 0) & (back <= past))
    elif past == 0:
        share = torch.eye(count)
    o = rearrange(share @ v, "n heads t d -> n t (heads d)") @ to_out.T
    return x + rearrange(o, "(b h w) t c -> (b t) c h w", h=x.shape[2], w=x.shape[3])


# %% look | wrong | changed in place | must stay as it is | look-1
def look(x, to_qkv, to_out, heads, count, past=None):
    tokens = rearrange(x.clone(), "(b t) c h w -> (b h w) t c", t=count)
    q, k, v = rearrange(tokens @ to_qkv.T, "n t (three heads d) -> three n heads t d", three=3, heads=heads)
    back = torch.arange(count)[:, None] - torch.arange(count)
    seen = None if past is None else (back >= 0) & (back <= past)
    o = rearrange(F.scaled_dot_product_attention(q, k, v, seen), "n heads t d -> n t (heads d)") @ to_out.T
    x += rearrange(o, "(b h w) t c -> (b t) c h w", h=x.shape[2], w=x.shape[3])
    return x


# %% look | wrong | what is found is not added | attention is residual | look-1, look-2, look-3, look-4, look-5
def look(x, to_qkv, to_out, heads, count, past=None):
    tokens = rearrange(x, "(b t) c h w -> (b h w) t c", t=count)
    q, k, v = rearrange(tokens @ to_qkv.T, "n t (three heads d) -> three n heads t d", three=3, heads=heads)
    back = torch.arange(count)[:, None] - torch.arange(count)
    seen = None if past is None else (back >= 0) & (back <= past)
    o = rearrange(F.scaled_dot_product_attention(q, k, v, seen), "n heads t d -> n t (heads d)") @ to_out.T
    return rearrange(o, "(b h w) t c -> (b t) c h w", h=x.shape[2], w=x.shape[3])


# %% look | right | with views and PyTorch's attention
def look(x, to_qkv, to_out, heads, count, past=None):
    bt, c, h, w = x.shape
    tokens = x.view(bt // count, count, c, h * w).permute(0, 3, 1, 2)  # b n t c
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(2, 3) for part in (tokens @ to_qkv.T).chunk(3, dim=-1))
    seen = None
    if past is not None:
        seen = torch.ones(count, count, dtype=torch.bool).tril().triu(-past)
    o = F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(2, 3).flatten(3) @ to_out.T  # b n t c
    return x + o.permute(0, 2, 3, 1).reshape(bt, c, h, w)


# %% look | right | frame by frame, over those it sees
def look(x, to_qkv, to_out, heads, count, past=None):
    result = x.clone()
    q, k, v = torch.einsum("oc,nchw->nohw", to_qkv, x).chunk(3, dim=1)
    d = to_out.shape[1] // heads
    for n in range(len(x)):
        first = n // count * count
        seen = range(first, first + count) if past is None else range(max(first, n - past), n + 1)
        for head in range(heads):
            own = slice(head * d, head * d + d)
            score = torch.stack([(q[n, own] * k[j, own]).sum(0) / d**0.5 for j in seen])
            share = score.softmax(dim=0)
            found = sum(s * v[j, own] for s, j in zip(share, seen, strict=True))
            result[n] += torch.einsum("cd,dhw->chw", to_out[:, own], found)
    return result


# %% pieces | wrong | the mean of the pieces' summaries | a mean of the pieces' summaries is another thing | pieces-2, pieces-3, pieces-4
def summary(pieces):
    found = [k.softmax(dim=1).mT @ v for k, v in pieces]
    return sum(found) / len(found)


# %% pieces | wrong | weighted by the number of places | weigh by the sum of exponentials | pieces-2, pieces-3, pieces-4
def summary(pieces):
    M, count = 0.0, 0
    for k, v in pieces:
        M = M + k.shape[1] * (k.softmax(dim=1).mT @ v)
        count += k.shape[1]
    return M / count


# %% pieces | wrong | softmax over features | over places, not over features | pieces-1, pieces-2, pieces-3, pieces-4
def summary(pieces):
    return sum(k.softmax(dim=-1).mT @ v for k, v in pieces)


# %% pieces | wrong | not divided by the sum | divide by the sum | pieces-1, pieces-2, pieces-3, pieces-4
def summary(pieces):
    return sum(k.exp().mT @ v for k, v in pieces)


# %% pieces | wrong | values before keys | Keys come first, then values | pieces-1, pieces-3, pieces-4
def summary(pieces):
    M, total = 0.0, 0.0
    for k, v in pieces:
        M, total = M + v.mT @ k.exp(), total + k.exp().sum(dim=1)
    return M / total[:, None, :]


# %% pieces | wrong | large keys overflow | take the largest key away first | pieces-4
def summary(pieces):
    M, total = 0.0, 0.0
    for k, v in pieces:
        M, total = M + k.exp().mT @ v, total + k.exp().sum(dim=1)
    return M / total[..., None]


# %% pieces | wrong | every piece its own largest key | taken away from the keys of both | pieces-2, pieces-3, pieces-4
def summary(pieces):
    M, total = 0.0, 0.0
    for k, v in pieces:
        e = (k - k.amax(dim=1, keepdim=True)).exp()
        M, total = M + e.mT @ v, total + e.sum(dim=1)
    return M / total[..., None]


# %% pieces | wrong | what was summed up does not shrink | what was summed up before must shrink | pieces-2, pieces-3, pieces-4
def summary(pieces):
    most, M, total = torch.tensor(-math.inf), 0.0, 0.0
    for k, v in pieces:
        most = torch.maximum(most, k.amax(dim=1))
        e = (k - most[:, None]).exp()
        M, total = M + e.mT @ v, total + e.sum(dim=1)
    return M / total[..., None]


# %% pieces | wrong | only the products shrink | must shrink like the sum of products | pieces-2, pieces-3, pieces-4
def summary(pieces):
    most, M, total = torch.tensor(-math.inf), 0.0, 0.0
    for k, v in pieces:
        new = torch.maximum(most, k.amax(dim=1))
        e = (k - new[:, None]).exp()
        M, total = (most - new).exp()[..., None] * M + e.mT @ v, total + e.sum(dim=1)
        most = new
    return M / total[..., None]


# %% pieces | wrong | the whole frame is held | never to hold the whole frame | pieces-4
def summary(pieces):
    keys, values = zip(*pieces, strict=True)
    return torch.cat(keys, dim=1).softmax(dim=1).mT @ torch.cat(values, dim=1)


# %% pieces | wrong | the last piece only | Only the last piece | pieces-2, pieces-3, pieces-4
def summary(pieces):
    for k, v in pieces:
        M = k.softmax(dim=1).mT @ v
    return M


# %% pieces | wrong | divided by the root of d | belongs to the reading | pieces-1, pieces-3, pieces-4
def summary(pieces):
    most, M, total = torch.tensor(-math.inf), 0.0, 0.0
    for k, v in pieces:
        new = torch.maximum(most, k.amax(dim=1))
        e, shrink = (k - new[:, None]).exp(), (most - new).exp()
        M, total, most = shrink[..., None] * M + e.mT @ v, shrink * total + e.sum(dim=1), new
    return M / total[..., None] / v.shape[-1] ** 0.5


# %% pieces | right | logarithms of sums, and a mean that is kept up to date
def summary(pieces):
    log_total = mean = None
    for k, v in pieces:
        own_log, own = k.logsumexp(dim=1), k.softmax(dim=1).mT @ v
        if mean is None:
            log_total, mean = own_log, own
            continue
        both = torch.logaddexp(log_total, own_log)
        mean = (log_total - both).exp()[..., None] * mean + (own_log - both).exp()[..., None] * own
        log_total = both
    return mean


# %% pieces | right | place by place in double precision
def summary(pieces):
    most = M = total = None
    for k, v in pieces:
        for key, value in zip(k.double().unbind(1), v.double().unbind(1), strict=True):
            if most is None:
                most, total, M = key.clone(), torch.zeros_like(key), torch.zeros(*key.shape, value.shape[-1]).double()
            new = torch.maximum(most, key)
            shrink, e = (most - new).exp(), (key - new).exp()
            total = shrink * total + e
            M = shrink[..., None] * M + e[..., None] * value[:, None]
            most = new
    return (M / total[..., None]).float()
