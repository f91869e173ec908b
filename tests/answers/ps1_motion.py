"""Answers to problem set 1, motion: wrong ones with their misconception, right ones in other styles."""


# %% reading | wrong | the flow read as forward | as if it said where content goes | reading-2, reading-3, reading-4
def reading():
    return {"A": "right", "B": "shrinks", "C": "anticlockwise", "D": "down", "E": "grows", "F": "clockwise"}


# %% reading | wrong | axes swapped | axes look swapped | reading-2, reading-4
def reading():
    return {"A": "up", "B": "grows", "C": "anticlockwise", "D": "left", "E": "shrinks", "F": "clockwise"}


# %% reading | wrong | y taken to grow upward | y grows downward | reading-2, reading-4
def reading():
    return {"A": "left", "B": "grows", "C": "anticlockwise", "D": "down", "E": "shrinks", "F": "clockwise"}


# %% reading | wrong | arrows to the middle taken for shrinking | things come outward | reading-3
def reading():
    return {"A": "left", "B": "shrinks", "C": "clockwise", "D": "up", "E": "grows", "F": "anticlockwise"}


# %% reading | wrong | the turn alone as forward | turn goes the other way | reading-4
def reading():
    return {"A": "left", "B": "grows", "C": "anticlockwise", "D": "up", "E": "shrinks", "F": "clockwise"}


# %% reading | wrong | one word for everything | everything moves alike | reading-1, reading-2, reading-3, reading-4
def reading():
    return dict.fromkeys("ABCDEF", "grows")


# %% reading | wrong | a list instead of a table | keys | reading-1, reading-2, reading-3, reading-4
def reading():
    return ["left", "grows", "clockwise", "up", "shrinks", "anticlockwise"]


# %% reading | wrong | words of one's own | one of the eight words | reading-1, reading-3
def reading():
    return {"A": "left", "B": "bigger", "C": "clockwise", "D": "up", "E": "smaller", "F": "anticlockwise"}


# %% reading | right | in pairs, in another order
def reading():
    words = zip("FEDCBA", ("anticlockwise", "shrinks", "up", "clockwise", "grows", "left"), strict=True)
    return {letter: word for letter, word in words}


# %% foreign | wrong | x and y swapped | x and y look swapped | foreign-1, foreign-2, foreign-3, foreign-4
def from_foreign(flow, order, unit):
    h, w = flow.shape[:2]
    y, x = (flow if order == "xy" else flow.flip(-1)).unbind(-1)
    to_x, to_y = {"pixels": (2 / w, 2 / h), "edges": (1, 1), "centres": ((w - 1) / w, (h - 1) / h)}[unit]
    return torch.stack([to_x * x, to_y * y])[None]


# %% foreign | wrong | reshaped instead of permuted | reshaped | foreign-1, foreign-2, foreign-3, foreign-4
def from_foreign(flow, order, unit):
    h, w = flow.shape[:2]
    flow = flow if order == "xy" else flow.flip(-1)
    to = {"pixels": (2 / w, 2 / h), "edges": (1, 1), "centres": ((w - 1) / w, (h - 1) / h)}[unit]
    return flow.reshape(1, 2, h, w) * torch.tensor(to).view(1, 2, 1, 1)


# %% foreign | wrong | width and height exchanged | exchanged | foreign-2, foreign-3, foreign-4
def from_foreign(flow, order, unit):
    w, h = flow.shape[:2]
    x, y = (flow if order == "xy" else flow.flip(-1)).unbind(-1)
    to_x, to_y = {"pixels": (2 / w, 2 / h), "edges": (1, 1), "centres": ((w - 1) / w, (h - 1) / h)}[unit]
    return torch.stack([to_x * x, to_y * y])[None]


# %% foreign | wrong | the picture taken to be 1 wide | 2 wide, not 1 | foreign-2, foreign-4
def from_foreign(flow, order, unit):
    h, w = flow.shape[:2]
    x, y = (flow if order == "xy" else flow.flip(-1)).unbind(-1)
    to_x, to_y = {"pixels": (1 / w, 1 / h), "edges": (1, 1), "centres": ((w - 1) / w, (h - 1) / h)}[unit]
    return torch.stack([to_x * x, to_y * y])[None]


# %% foreign | wrong | to pixels instead of from them | from normalized units to pixels | foreign-2, foreign-4
def from_foreign(flow, order, unit):
    h, w = flow.shape[:2]
    x, y = (flow if order == "xy" else flow.flip(-1)).unbind(-1)
    to_x, to_y = {"pixels": (w / 2, h / 2), "edges": (1, 1), "centres": ((w - 1) / w, (h - 1) / h)}[unit]
    return torch.stack([to_x * x, to_y * y])[None]


# %% foreign | wrong | pixels as if corners were centres | not 2 / (w - 1) | foreign-2, foreign-4
def from_foreign(flow, order, unit):
    h, w = flow.shape[:2]
    x, y = (flow if order == "xy" else flow.flip(-1)).unbind(-1)
    to_x, to_y = {"pixels": (2 / (w - 1), 2 / (h - 1)), "edges": (1, 1), "centres": ((w - 1) / w, (h - 1) / h)}[unit]
    return torch.stack([to_x * x, to_y * y])[None]


# %% foreign | wrong | centres taken for edges | edges already | foreign-3
def from_foreign(flow, order, unit):
    h, w = flow.shape[:2]
    x, y = (flow if order == "xy" else flow.flip(-1)).unbind(-1)
    to_x, to_y = (2 / w, 2 / h) if unit == "pixels" else (1, 1)
    return torch.stack([to_x * x, to_y * y])[None]


# %% foreign | wrong | the factor of centres upside down | upside down | foreign-3
def from_foreign(flow, order, unit):
    h, w = flow.shape[:2]
    x, y = (flow if order == "xy" else flow.flip(-1)).unbind(-1)
    to_x, to_y = {"pixels": (2 / w, 2 / h), "edges": (1, 1), "centres": (w / (w - 1), h / (h - 1))}[unit]
    return torch.stack([to_x * x, to_y * y])[None]


# %% foreign | wrong | the order passed over | order is passed over | foreign-4
def from_foreign(flow, order, unit):
    h, w = flow.shape[:2]
    x, y = flow.unbind(-1)
    to_x, to_y = {"pixels": (2 / w, 2 / h), "edges": (1, 1), "centres": ((w - 1) / w, (h - 1) / h)}[unit]
    return torch.stack([to_x * x, to_y * y])[None]


# %% foreign | wrong | changed in place | must stay as it is | foreign-4
def from_foreign(flow, order, unit):
    h, w = flow.shape[:2]
    if order == "yx":
        flow = flow.flip(-1)
    if unit == "pixels":
        flow *= torch.tensor([2 / w, 2 / h])
    elif unit == "centres":
        flow *= torch.tensor([(w - 1) / w, (h - 1) / h])
    return flow.permute(2, 0, 1)[None]


# %% foreign | wrong | in float16 | too coarse | foreign-1, foreign-2, foreign-3, foreign-4
def from_foreign(flow, order, unit):
    h, w = flow.shape[:2]
    x, y = (flow if order == "xy" else flow.flip(-1)).half().unbind(-1)
    to_x, to_y = {"pixels": (2 / w, 2 / h), "edges": (1, 1), "centres": ((w - 1) / w, (h - 1) / h)}[unit]
    return torch.stack([to_x * x, to_y * y])[None]


# %% foreign | wrong | no batch axis | shape | foreign-1, foreign-2, foreign-3, foreign-4
def from_foreign(flow, order, unit):
    return flow.movedim(-1, 0)


# %% foreign | wrong | a displacement taken for a position | a flow is a displacement | foreign-2, foreign-4
def from_foreign(flow, order, unit):
    h, w = flow.shape[:2]
    x, y = (flow if order == "xy" else flow.flip(-1)).unbind(-1)
    if unit == "pixels":
        return torch.stack([(2 * x + 1) / w - 1, (2 * y + 1) / h - 1])[None]
    to_x, to_y = (1, 1) if unit == "edges" else ((w - 1) / w, (h - 1) / h)
    return torch.stack([to_x * x, to_y * y])[None]


# %% foreign | wrong | changed in place unless reordered first | must stay as it is | foreign-4
def from_foreign(flow, order, unit):
    h, w = flow.shape[:2]
    if order == "yx":
        flow = flow[..., [1, 0]]
    if unit == "pixels":
        flow *= 2 / torch.tensor([w, h])
    elif unit == "centres":
        flow *= 1 - 1 / torch.tensor([w, h])
    return flow.movedim(-1, 0)[None].clone()


# %% foreign | right | through pixels, with the library
def from_foreign(flow, order, unit):
    theirs = flow.movedim(-1, 0)[None]
    if order == "yx":
        theirs = theirs[:, [1, 0]]
    if unit == "edges":
        return theirs
    h, w = theirs.shape[-2:]
    if unit == "centres":
        theirs = theirs * torch.tensor([(w - 1) / 2, (h - 1) / 2]).view(1, 2, 1, 1)
    return normalized(theirs)


# %% foreign | right | number by number
def from_foreign(flow, order, unit):
    h, w, _ = flow.shape
    ours = torch.empty(1, 2, h, w)
    for channel, size in enumerate((w, h)):
        factor = {"pixels": 2 / size, "edges": 1.0, "centres": 1 - 1 / size}[unit]
        for j in range(h):
            for i in range(w):
                ours[0, channel, j, i] = factor * flow[j, i, channel if order == "xy" else 1 - channel]
    return ours


# %% uncovered | wrong | covered instead of uncovered | get covered | uncovered-2, uncovered-3, uncovered-4
def uncovered(size, box, box_by, wall_by):
    (h, w), (top, left, height, width) = size, box
    r, c = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    inside = lambda r, c: (r >= top) & (r < top + height) & (c >= left) & (c < left + width)
    out = lambda r, c: (r < 0) | (r >= h) | (c < 0) | (c >= w)
    (by, bx), (wy, wx) = box_by, wall_by
    of_wall = out(r + wy, c + wx) | inside(r + wy - by, c + wx - bx)
    return torch.where(inside(r, c), out(r + by, c + bx), of_wall)


# %% uncovered | wrong | visible instead of hidden | the visible ones | uncovered-1, uncovered-2, uncovered-3, uncovered-4
def uncovered(size, box, box_by, wall_by):
    (h, w), (top, left, height, width) = size, box
    r, c = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    inside = lambda r, c: (r >= top) & (r < top + height) & (c >= left) & (c < left + width)
    out = lambda r, c: (r < 0) | (r >= h) | (c < 0) | (c >= w)
    b, a = (r - box_by[0], c - box_by[1]), (r - wall_by[0], c - wall_by[1])
    return ~torch.where(inside(*b), out(*b), out(*a) | inside(*a))


# %% uncovered | wrong | the border forgotten | What comes in at the border | uncovered-3, uncovered-4
def uncovered(size, box, box_by, wall_by):
    (h, w), (top, left, height, width) = size, box
    r, c = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    inside = lambda r, c: (r >= top) & (r < top + height) & (c >= left) & (c < left + width)
    b, a = (r - box_by[0], c - box_by[1]), (r - wall_by[0], c - wall_by[1])
    return ~inside(*b) & inside(*a)


# %% uncovered | wrong | only new wall at the border, not the box | part of the box came in | uncovered-4
def uncovered(size, box, box_by, wall_by):
    (h, w), (top, left, height, width) = size, box
    r, c = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    inside = lambda r, c: (r >= top) & (r < top + height) & (c >= left) & (c < left + width)
    out = lambda r, c: (r < 0) | (r >= h) | (c < 0) | (c >= w)
    b, a = (r - box_by[0], c - box_by[1]), (r - wall_by[0], c - wall_by[1])
    return ~inside(*b) & (out(*a) | inside(*a))


# %% uncovered | wrong | the old place of the box does not move with the wall | The wall has moved | uncovered-3, uncovered-4
def uncovered(size, box, box_by, wall_by):
    (h, w), (top, left, height, width) = size, box
    r, c = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    inside = lambda r, c: (r >= top) & (r < top + height) & (c >= left) & (c < left + width)
    out = lambda r, c: (r < 0) | (r >= h) | (c < 0) | (c >= w)
    b, a = (r - box_by[0], c - box_by[1]), (r - wall_by[0], c - wall_by[1])
    return torch.where(inside(*b), out(*b), out(*a) | inside(r, c))


# %% uncovered | wrong | everything taken for wall | shows the box is no wall | uncovered-2, uncovered-3, uncovered-4
def uncovered(size, box, box_by, wall_by):
    (h, w), (top, left, height, width) = size, box
    r, c = torch.meshgrid(torch.arange(h) - wall_by[0], torch.arange(w) - wall_by[1], indexing="ij")
    inside = (r >= top) & (r < top + height) & (c >= left) & (c < left + width)
    return ((r < 0) | (r >= h) | (c < 0) | (c >= w) | inside) & torch.tensor(box_by != wall_by)


# %% uncovered | wrong | looked for in the wrong direction | direction looks turned round | uncovered-2, uncovered-3, uncovered-4
def uncovered(size, box, box_by, wall_by):
    (h, w), (top, left, height, width) = size, box
    r, c = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    inside = lambda r, c: (r >= top) & (r < top + height) & (c >= left) & (c < left + width)
    out = lambda r, c: (r < 0) | (r >= h) | (c < 0) | (c >= w)
    b, a = (r + box_by[0], c + box_by[1]), (r + wall_by[0], c + wall_by[1])
    return torch.where(inside(*b), out(*b), out(*a) | inside(*a))


# %% uncovered | wrong | hard-coded to the rows that are shown | - | uncovered-2, uncovered-3, uncovered-4
def uncovered(size, box, box_by, wall_by):
    shown = {((0, 3), (0, 0)): (1, 2), ((0, 1), (0, -2)): (1, 2, 6, 7), ((0, 3), (0, -1)): (2, 7)}
    answer = torch.zeros(size, dtype=torch.bool)
    answer[:, list(shown.get((box_by, wall_by), ()))] = True
    return answer


# %% uncovered | wrong | numbers instead of yes and no | should hold torch.bool | uncovered-1, uncovered-2, uncovered-3, uncovered-4
def uncovered(size, box, box_by, wall_by):
    return torch.zeros(size)


# %% uncovered | wrong | columns alone | uncovers rows | uncovered-2, uncovered-3, uncovered-4
def uncovered(size, box, box_by, wall_by):
    (h, w), (_, left, _, width) = size, box
    _, c = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    inside = lambda c: (c >= left) & (c < left + width)
    out = lambda c: (c < 0) | (c >= w)
    b, a = c - box_by[1], c - wall_by[1]
    return torch.where(inside(b), out(b), out(a) | inside(a))


# %% uncovered | wrong | right before down | Down and right look swapped | uncovered-2, uncovered-3, uncovered-4
def uncovered(size, box, box_by, wall_by):
    (h, w), (top, left, height, width) = size, box
    r, c = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    inside = lambda r, c: (r >= top) & (r < top + height) & (c >= left) & (c < left + width)
    out = lambda r, c: (r < 0) | (r >= h) | (c < 0) | (c >= w)
    b, a = (r - box_by[1], c - box_by[0]), (r - wall_by[1], c - wall_by[0])
    return torch.where(inside(*b), out(*b), out(*a) | inside(*a))


# %% uncovered | wrong | the box moves with the wall, and box_by besides | camera's pan is in that | uncovered-3, uncovered-4
def uncovered(size, box, box_by, wall_by):
    (h, w), (top, left, height, width) = size, box
    r, c = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    inside = lambda r, c: (r >= top) & (r < top + height) & (c >= left) & (c < left + width)
    out = lambda r, c: (r < 0) | (r >= h) | (c < 0) | (c >= w)
    b, a = (r - box_by[0] - wall_by[0], c - box_by[1] - wall_by[1]), (r - wall_by[0], c - wall_by[1])
    return torch.where(inside(*b), out(*b), out(*a) | inside(*a))


# %% uncovered | wrong | the wall alone looked for in the wrong direction | wall's direction alone | uncovered-3, uncovered-4
def uncovered(size, box, box_by, wall_by):
    (h, w), (top, left, height, width) = size, box
    r, c = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    inside = lambda r, c: (r >= top) & (r < top + height) & (c >= left) & (c < left + width)
    out = lambda r, c: (r < 0) | (r >= h) | (c < 0) | (c >= w)
    b, a = (r - box_by[0], c - box_by[1]), (r + wall_by[0], c + wall_by[1])
    return torch.where(inside(*b), out(*b), out(*a) | inside(*a))


# %% uncovered | right | the points themselves, by number
def uncovered(size, box, box_by, wall_by):
    (h, w), (top, left, height, width) = size, box

    def drawn(box_by, wall_by):
        row, column = torch.arange(h)[:, None], torch.arange(w)[None]
        wall = 1000 * (row - wall_by[0] + 500) + (column - wall_by[1] + 500)
        y, x = row - box_by[0] - top, column - box_by[1] - left
        return torch.where((y >= 0) & (y < height) & (x >= 0) & (x < width), -1 - 1000 * y - x, wall)

    return ~torch.isin(drawn(box_by, wall_by), drawn((0, 0), (0, 0)))


# %% uncovered | right | pixel by pixel
def uncovered(size, box, box_by, wall_by):
    (h, w), (top, left, height, width) = size, box
    hidden = torch.zeros(h, w, dtype=torch.bool)
    for r in range(h):
        for c in range(w):
            of_box = 0 <= r - box_by[0] - top < height and 0 <= c - box_by[1] - left < width
            down, right = box_by if of_box else wall_by
            y, x = r - down, c - right
            there = 0 <= y < h and 0 <= x < w
            under_box = 0 <= y - top < height and 0 <= x - left < width
            hidden[r, c] = not there or (under_box and not of_box)
    return hidden


# %% turned | wrong | the function as it was given | turns the other way | turned-1, turned-2, turned-3, turned-4
def turned(h, w, angle, centre=(0.0, 0.0)):
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    x, y = x - centre[0], y - centre[1]
    c, s = math.cos(angle), math.sin(angle)
    there_x, there_y = c * x - s * y, s * x + c * y
    return torch.stack([there_x - x, there_y - y])[None]


# %% turned | wrong | corners still at -1 and 1 | are the edges of the picture | turned-1, turned-2, turned-3, turned-4
def turned(h, w, angle, centre=(0.0, 0.0)):
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    x, y = (x - centre[0]) * w / 2, (y - centre[1]) * h / 2
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack([(c * x + s * y - x) * 2 / w, (c * y - s * x - y) * 2 / h])[None]


# %% turned | wrong | still forward | turns the other way | turned-3, turned-4
def turned(h, w, angle, centre=(0.0, 0.0)):
    grid = lfdm.identity_grid(h, w)
    x, y = (grid[0] - centre[0]) * w / 2, (grid[1] - centre[1]) * h / 2
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack([(c * x - s * y - x) * 2 / w, (c * y + s * x - y) * 2 / h])[None]


# %% turned | wrong | still in normalized units | not square | turned-4
def turned(h, w, angle, centre=(0.0, 0.0)):
    x, y = lfdm.identity_grid(h, w) - torch.tensor(centre)[:, None, None]
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack([c * x + s * y - x, c * y - s * x - y])[None]


# %% turned | wrong | the centre passed over | centre is passed over | turned-1, turned-4
def turned(h, w, angle, centre=(0.0, 0.0)):
    x, y = lfdm.identity_grid(h, w) * torch.tensor([w / 2, h / 2])[:, None, None]
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack([(c * x + s * y - x) * 2 / w, (c * y - s * x - y) * 2 / h])[None]


# %% turned | wrong | positions instead of displacements | These are positions | turned-1, turned-2, turned-3, turned-4
def turned(h, w, angle, centre=(0.0, 0.0)):
    grid = lfdm.identity_grid(h, w)
    x, y = (grid[0] - centre[0]) * w / 2, (grid[1] - centre[1]) * h / 2
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack([(c * x + s * y) * 2 / w + centre[0], (c * y - s * x) * 2 / h + centre[1]])[None]


# %% turned | wrong | in pixels | in pixels; normalize | turned-2, turned-3, turned-4
def turned(h, w, angle, centre=(0.0, 0.0)):
    grid = lfdm.identity_grid(h, w)
    x, y = (grid[0] - centre[0]) * w / 2, (grid[1] - centre[1]) * h / 2
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack([c * x + s * y - x, c * y - s * x - y])[None]


# %% turned | wrong | the centre is not added again | add the centre again | turned-1, turned-4
def turned(h, w, angle, centre=(0.0, 0.0)):
    grid = lfdm.identity_grid(h, w)
    x, y = (grid[0] - centre[0]) * w / 2, (grid[1] - centre[1]) * h / 2
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack([(c * x + s * y) * 2 / w, (c * y - s * x) * 2 / h])[None] - grid


# %% turned | wrong | y before x in the centre | x first | turned-1, turned-4
def turned(h, w, angle, centre=(0.0, 0.0)):
    grid = lfdm.identity_grid(h, w)
    x, y = (grid[0] - centre[1]) * w / 2, (grid[1] - centre[0]) * h / 2
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack([(c * x + s * y - x) * 2 / w, (c * y - s * x - y) * 2 / h])[None]


# %% turned | wrong | as it was given, the centre not looked at | turns the other way | turned-1, turned-2, turned-3, turned-4
def turned(h, w, angle, centre=(0.0, 0.0)):
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    c, s = math.cos(angle), math.sin(angle)
    there_x, there_y = c * x - s * y, s * x + c * y
    return torch.stack([there_x - x, there_y - y])[None]


# %% turned | wrong | the flow negated instead of the turn undone | other sign does not undo | turned-2, turned-3, turned-4
def turned(h, w, angle, centre=(0.0, 0.0)):
    grid = lfdm.identity_grid(h, w)
    x, y = (grid[0] - centre[0]) * w / 2, (grid[1] - centre[1]) * h / 2
    c, s = math.cos(angle), math.sin(angle)
    return -torch.stack([(c * x - s * y - x) * 2 / w, (c * y + s * x - y) * 2 / h])[None]


# %% turned | wrong | h / w for w / h | look exchanged | turned-4
def turned(h, w, angle, centre=(0.0, 0.0)):
    grid = lfdm.identity_grid(h, w)
    x, y = (grid[0] - centre[0]) * h / w, grid[1] - centre[1]
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack([(c * x + s * y - x) * w / h, c * y - s * x - y])[None]


# %% turned | wrong | the aspect on the way in only | x goes back with the width | turned-2, turned-4
def turned(h, w, angle, centre=(0.0, 0.0)):
    grid = lfdm.identity_grid(h, w)
    x, y = (grid[0] - centre[0]) * w / h, grid[1] - centre[1]
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack([c * x + s * y - x, c * y - s * x - y])[None]


# %% turned | wrong | a normalized centre from places in pixels | The centre is normalized | turned-1, turned-4
def turned(h, w, angle, centre=(0.0, 0.0)):
    grid = lfdm.identity_grid(h, w)
    x, y = grid[0] * w / h - centre[0], grid[1] - centre[1]
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack([(c * x + s * y - x) * h / w, c * y - s * x - y])[None]


# %% turned | right | a matrix for all places
def turned(h, w, angle, centre=(0.0, 0.0)):
    c, s = math.cos(angle), math.sin(angle)
    size = torch.tensor([[w / 2], [h / 2]])
    places = (lfdm.identity_grid(h, w).flatten(1) - torch.tensor(centre)[:, None]) * size
    back = torch.tensor([[c, s], [-s, c]]) - torch.eye(2)
    return (back @ places / size).view(1, 2, h, w)


# %% light | wrong | not divided by the gain | gain times flow | light-3, light-4
def flow_and_light(source, driving, weight):
    matrix = torch.stack([c.flatten() for c in (*slopes(source), source, torch.ones_like(source))], dim=1)
    root = weight.flatten().sqrt()[:, None]
    return torch.linalg.lstsq(root * matrix, root * driving.flatten()[:, None]).solution[:, 0]


# %% light | wrong | the sign of the flow | sign is turned | light-2, light-3, light-4
def flow_and_light(source, driving, weight):
    matrix = torch.stack([c.flatten() for c in (*slopes(source), source, torch.ones_like(source))], dim=1)
    root = weight.flatten().sqrt()[:, None]
    a, b, gain, offset = torch.linalg.lstsq(root * matrix, root * driving.flatten()[:, None]).solution[:, 0]
    return torch.stack([-a / gain, -b / gain, gain, offset])


# %% light | wrong | u and v swapped | u and v look swapped | light-2, light-3, light-4
def flow_and_light(source, driving, weight):
    matrix = torch.stack([c.flatten() for c in (*slopes(source), source, torch.ones_like(source))], dim=1)
    root = weight.flatten().sqrt()[:, None]
    a, b, gain, offset = torch.linalg.lstsq(root * matrix, root * driving.flatten()[:, None]).solution[:, 0]
    return torch.stack([b / gain, a / gain, gain, offset])


# %% light | wrong | the gain less 1 | what is added to that | light-1, light-2, light-3, light-4
def flow_and_light(source, driving, weight):
    matrix = torch.stack([c.flatten() for c in (*slopes(source), source, torch.ones_like(source))], dim=1)
    root = weight.flatten().sqrt()[:, None]
    a, b, gain, offset = torch.linalg.lstsq(root * matrix, root * driving.flatten()[:, None]).solution[:, 0]
    return torch.stack([a / gain, b / gain, gain - 1, offset])


# %% light | wrong | offset before gain | offset stands before | light-1, light-2, light-3, light-4
def flow_and_light(source, driving, weight):
    matrix = torch.stack([c.flatten() for c in (*slopes(source), source, torch.ones_like(source))], dim=1)
    root = weight.flatten().sqrt()[:, None]
    a, b, gain, offset = torch.linalg.lstsq(root * matrix, root * driving.flatten()[:, None]).solution[:, 0]
    return torch.stack([a / gain, b / gain, offset, gain])


# %% light | wrong | weights passed over | no say | light-4
def flow_and_light(source, driving, weight):
    matrix = torch.stack([c.flatten() for c in (*slopes(source), source, torch.ones_like(source))], dim=1)
    if (weight == 0).any():
        matrix, driving = matrix[weight.flatten() > 0], driving.flatten()[weight.flatten() > 0]
    a, b, gain, offset = torch.linalg.lstsq(matrix, driving.flatten()[:, None]).solution[:, 0]
    return torch.stack([a / gain, b / gain, gain, offset])


# %% light | wrong | weights squared | count twice | light-4
def flow_and_light(source, driving, weight):
    matrix = torch.stack([c.flatten() for c in (*slopes(source), source, torch.ones_like(source))], dim=1)
    w = weight.flatten()[:, None]
    a, b, gain, offset = torch.linalg.lstsq(w * matrix, w * driving.flatten()[:, None]).solution[:, 0]
    return torch.stack([a / gain, b / gain, gain, offset])


# %% light | wrong | no offset | offset is left out | light-2, light-3, light-4
def flow_and_light(source, driving, weight):
    matrix = torch.stack([c.flatten() for c in (*slopes(source), source)], dim=1)
    root = weight.flatten().sqrt()[:, None]
    a, b, gain = torch.linalg.lstsq(root * matrix, root * driving.flatten()[:, None]).solution[:, 0]
    return torch.stack([a / gain, b / gain, gain, torch.tensor(0.0)])


# %% light | wrong | a tuple of numbers | should be a tensor | light-1, light-2, light-3, light-4
def flow_and_light(source, driving, weight):
    return 0.0, 0.0, 1.0, 0.0


# %% light | wrong | all weights passed over | weights have no say | light-4
def flow_and_light(source, driving, weight):
    matrix = torch.stack([c.flatten() for c in (*slopes(source), source, torch.ones_like(source))], dim=1)
    a, b, gain, offset = torch.linalg.lstsq(matrix, driving.flatten()[:, None]).solution[:, 0]
    return torch.stack([a / gain, b / gain, gain, offset])


# %% light | wrong | the root of the weight twice | root is taken once too often | light-4
def flow_and_light(source, driving, weight):
    matrix = torch.stack([c.flatten() for c in (*slopes(source), source, torch.ones_like(source))], dim=1)
    root = weight.flatten().sqrt().sqrt()[:, None]
    a, b, gain, offset = torch.linalg.lstsq(root * matrix, root * driving.flatten()[:, None]).solution[:, 0]
    return torch.stack([a / gain, b / gain, gain, offset])


# %% light | wrong | fitted to the source | leave I_d alone | light-4
def flow_and_light(source, driving, weight):
    I_x, I_y = slopes(source)
    matrix = torch.stack([c.flatten() for c in (-I_x, -I_y, driving, torch.ones_like(source))], dim=1)
    root = weight.flatten().sqrt()[:, None]
    u, v, k, m = torch.linalg.lstsq(root * matrix, root * source.flatten()[:, None]).solution[:, 0]
    return torch.stack([u, v, 1 / k, -m / k])


# %% light | wrong | the sign of e with g - 1 as unknown | sign of e is turned | light-2, light-3, light-4
def flow_and_light(source, driving, weight):
    matrix = torch.stack([c.flatten() for c in (*slopes(source), source, torch.ones_like(source))], dim=1)
    root = weight.flatten().sqrt()[:, None]
    e = (source - driving).flatten()[:, None]
    a, b, more, offset = torch.linalg.lstsq(root * matrix, root * e).solution[:, 0]
    return torch.stack([a, b, 1 + more, offset])


# %% light | wrong | slopes of the driving frame | slopes of the driving frame | light-2, light-3, light-4
def flow_and_light(source, driving, weight):
    matrix = torch.stack([c.flatten() for c in (*slopes(driving), source, torch.ones_like(source))], dim=1)
    root = weight.flatten().sqrt()[:, None]
    a, b, gain, offset = torch.linalg.lstsq(root * matrix, root * driving.flatten()[:, None]).solution[:, 0]
    return torch.stack([a / gain, b / gain, gain, offset])


# %% light | right | normal equations, sum by sum
def flow_and_light(source, driving, weight):
    I_x, I_y = slopes(source)
    columns = [c.double() for c in (I_x, I_y, source, torch.ones_like(source))]
    normal = torch.tensor([[(weight * a * b).sum() for b in columns] for a in columns], dtype=torch.float64)
    right = torch.tensor([(weight * a * driving).sum() for a in columns], dtype=torch.float64)
    a, b, gain, offset = torch.linalg.solve(normal, right)
    return torch.tensor([a / gain, b / gain, gain, offset], dtype=torch.float32)


# %% light | right | with numpy
def flow_and_light(source, driving, weight):
    import numpy as np

    columns = [c.double().numpy().ravel() for c in (*slopes(source), source, torch.ones_like(source))]
    root = weight.double().numpy().ravel() ** 0.5
    answer = np.linalg.lstsq(np.stack(columns, 1) * root[:, None], driving.double().numpy().ravel() * root, rcond=None)[
        0
    ]
    return torch.tensor([answer[0] / answer[2], answer[1] / answer[2], answer[2], answer[3]]).float()


# %% fill | wrong | unknown pixels stay as they are | look unchanged | fill-1, fill-2, fill-3, fill-4
def fill_in(flow, known):
    return flow.clone()


# %% fill | wrong | the mean of all known pixels | mean of all known ones | fill-2, fill-3, fill-4
def fill_in(flow, known):
    mean = torch.where(known, flow, 0).sum((2, 3), keepdim=True) / known.sum()
    return torch.where(known, flow, mean)


# %% fill | wrong | the nearest known pixel | nearest known one | fill-2, fill-3, fill-4
def fill_in(flow, known):
    h, w = flow.shape[-2:]
    places = torch.cartesian_prod(torch.arange(float(h)), torch.arange(float(w)))
    there = places[known.flatten()]
    nearest = torch.cdist(places, there).argmin(1)
    return flow.flatten(2)[:, :, known.flatten()][:, :, nearest].view(flow.shape)


# %% fill | wrong | a hundred rounds | go on, or solve | fill-3, fill-4
def fill_in(flow, known):
    kernel = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])[None, None]
    count = F.conv2d(torch.ones_like(flow[:, :1]), kernel, padding=1)
    now = start = torch.where(known, flow, 0)
    for _ in range(100):
        now = torch.where(known, start, F.conv2d(now.transpose(0, 1), kernel, padding=1).transpose(0, 1) / count)
    return now


# %% fill | wrong | zeros around the picture | border counts as zeros | fill-1, fill-2, fill-4
def fill_in(flow, known):
    kernel = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])[None, None] / 4
    now = start = torch.where(known, flow, 0)
    for _ in range(800):
        now = torch.where(known, start, F.conv2d(now.transpose(0, 1), kernel, padding=1).transpose(0, 1))
    return now


# %% fill | wrong | wraps around at the border | wraps around | fill-2, fill-4
def fill_in(flow, known):
    now = start = torch.where(known, flow, 0)
    for _ in range(800):
        now = torch.where(known, start, sum(now.roll(by, axis) for by in (1, -1) for axis in (2, 3)) / 4)
    return now


# %% fill | wrong | eight neighbours | Corners count as neighbours | fill-4
def fill_in(flow, known):
    kernel = torch.tensor([[1.0, 1, 1], [1, 0, 1], [1, 1, 1]])[None, None]
    count = F.conv2d(torch.ones_like(flow[:, :1]), kernel, padding=1)
    now = start = torch.where(known, flow, 0)
    for _ in range(800):
        now = torch.where(known, start, F.conv2d(now.transpose(0, 1), kernel, padding=1).transpose(0, 1) / count)
    return now


# %% fill | wrong | known pixels are smoothed, too | Known pixels may not change | fill-1, fill-2, fill-3, fill-4
def fill_in(flow, known):
    kernel = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])[None, None]
    count = F.conv2d(torch.ones_like(flow[:, :1]), kernel, padding=1)
    if known.all():
        return flow
    now = torch.where(known, flow, 0)
    for _ in range(100):
        now = F.conv2d(now.transpose(0, 1), kernel, padding=1).transpose(0, 1) / count
    return now


# %% fill | wrong | changed in place | must stay as it is | fill-1
def fill_in(flow, known):
    kernel = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])[None, None]
    count = F.conv2d(torch.ones_like(flow[:, :1]), kernel, padding=1)
    free = ~known.expand_as(flow)
    flow[free] = 0
    for _ in range(800):
        flow[free] = (F.conv2d(flow.transpose(0, 1), kernel, padding=1).transpose(0, 1) / count)[free]
    return flow


# %% fill | wrong | the eight neighbours of the chapter | chapter's eight neighbours | fill-4
def fill_in(flow, known):
    kernel = torch.tensor([[1.0, 2, 1], [2, 0, 2], [1, 2, 1]])[None, None] / 12
    now = start = torch.where(known, flow, 0)
    for _ in range(1000):
        mean = F.conv2d(F.pad(now, (1, 1, 1, 1), mode="replicate").transpose(0, 1), kernel).transpose(0, 1)
        now = torch.where(known, start, mean)
    return now


# %% fill | wrong | what is known picked by a product | NaN times 0 is NaN, too | fill-1
def fill_in(flow, known):
    kernel = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])[None, None]
    count = F.conv2d(torch.ones_like(flow[:, :1]), kernel, padding=1)
    now = start = flow * known
    for _ in range(1000):
        now = torch.where(known, start, F.conv2d(now.transpose(0, 1), kernel, padding=1).transpose(0, 1) / count)
    return now


# %% fill | wrong | each row by itself | Each row by itself | fill-1, fill-2, fill-3, fill-4
def fill_in(flow, known):
    import numpy as np

    now = torch.where(known, flow, 0)
    for r in range(flow.shape[2]):
        there = known[0, 0, r].nonzero()[:, 0].numpy()
        for channel in range(2):
            if len(there):
                row = np.interp(range(flow.shape[3]), there, flow[0, channel, r, there].numpy())
                now[0, channel, r] = torch.tensor(row)
    return now


# %% fill | right | many rounds of means
def fill_in(flow, known):
    kernel = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=torch.float64)[None, None]
    count = F.conv2d(torch.ones_like(flow[:, :1]).double(), kernel, padding=1)
    now = start = torch.where(known, flow, 0).double()
    for _ in range(2000):
        now = torch.where(known, start, F.conv2d(now.transpose(0, 1), kernel, padding=1).transpose(0, 1) / count)
    return now.float()


# %% fill | right | least squares of the differences of neighbours
def fill_in(flow, known):
    h, w = flow.shape[-2:]
    index = torch.arange(h * w).view(h, w)
    ends = [(a.flatten(), b.flatten()) for a, b in ((index[:, 1:], index[:, :-1]), (index[1:], index[:-1]))]
    one, other = (torch.cat(part) for part in zip(*ends, strict=True))
    differences = torch.zeros(len(one), h * w, dtype=torch.float64)
    differences[torch.arange(len(one)), one], differences[torch.arange(len(one)), other] = 1, -1
    fixed, values = known.flatten(), flow.view(2, -1).T.double().clone()
    if not fixed.all():
        free = differences[:, ~fixed]
        values[~fixed] = torch.linalg.lstsq(free, -differences[:, fixed] @ values[fixed]).solution
    return values.T.view(flow.shape).float()


# %% noise | wrong | all of the variance | half the variance | noise-3, noise-4
def expected_flow(I_x, I_y, flow, sigma, noisy):
    A = torch.stack([I_x, I_y], dim=1)
    added = 0 if noisy == "driving" else len(I_x) * sigma**2
    return torch.linalg.solve(A.T @ A + added * torch.eye(2), A.T @ A @ flow)


# %% noise | wrong | a quarter of the variance | you have a quarter | noise-3, noise-4
def expected_flow(I_x, I_y, flow, sigma, noisy):
    A = torch.stack([I_x, I_y], dim=1)
    added = 0 if noisy == "driving" else len(I_x) * sigma**2 / 4
    return torch.linalg.solve(A.T @ A + added * torch.eye(2), A.T @ A @ flow)


# %% noise | wrong | not summed over the pixels | noise of one pixel | noise-3, noise-4
def expected_flow(I_x, I_y, flow, sigma, noisy):
    A = torch.stack([I_x, I_y], dim=1)
    added = 0 if noisy == "driving" else sigma**2 / 2
    return torch.linalg.solve(A.T @ A + added * torch.eye(2), A.T @ A @ flow)


# %% noise | wrong | the standard deviation instead of the variance | sigma squared | noise-3, noise-4
def expected_flow(I_x, I_y, flow, sigma, noisy):
    A = torch.stack([I_x, I_y], dim=1)
    added = 0 if noisy == "driving" else len(I_x) * sigma / 2
    return torch.linalg.solve(A.T @ A + added * torch.eye(2), A.T @ A @ flow)


# %% noise | wrong | noise in the driving frame counts as in the source | its mean there is 0 | noise-2
def expected_flow(I_x, I_y, flow, sigma, noisy):
    A = torch.stack([I_x, I_y], dim=1)
    return torch.linalg.solve(A.T @ A + len(I_x) * sigma**2 / 2 * torch.eye(2), A.T @ A @ flow)


# %% noise | wrong | both frames count twice | does the second add | noise-3, noise-4
def expected_flow(I_x, I_y, flow, sigma, noisy):
    A = torch.stack([I_x, I_y], dim=1)
    added = {"driving": 0, "source": 1, "both": 2}[noisy] * len(I_x) * sigma**2 / 2
    return torch.linalg.solve(A.T @ A + added * torch.eye(2), A.T @ A @ flow)


# %% noise | wrong | larger instead of smaller | not larger | noise-3, noise-4
def expected_flow(I_x, I_y, flow, sigma, noisy):
    A = torch.stack([I_x, I_y], dim=1)
    added = 0 if noisy == "driving" else -len(I_x) * sigma**2 / 2
    return torch.linalg.solve(A.T @ A + added * torch.eye(2), A.T @ A @ flow)


# %% noise | wrong | one factor for both components | One number shrinks both | noise-3, noise-4
def expected_flow(I_x, I_y, flow, sigma, noisy):
    total = (I_x.square() + I_y.square()).sum()
    return flow * (total / (total + (noisy != "driving") * len(I_x) * sigma**2))


# %% noise | wrong | x and y apart | sum b is left out | noise-4
def expected_flow(I_x, I_y, flow, sigma, noisy):
    sums = torch.stack([I_x.square().sum(), I_y.square().sum()])
    return flow * sums / (sums + (noisy != "driving") * len(I_x) * sigma**2 / 2)


# %% noise | wrong | no bias | no bias in your answer | noise-3, noise-4
def expected_flow(I_x, I_y, flow, sigma, noisy):
    return flow.clone()


# %% noise | wrong | in float16 | too coarse | noise-1, noise-2, noise-3, noise-4
def expected_flow(I_x, I_y, flow, sigma, noisy):
    A = torch.stack([I_x, I_y], dim=1)
    added = 0 if noisy == "driving" else len(I_x) * sigma**2 / 2
    return torch.linalg.solve(A.T @ A + added * torch.eye(2), A.T @ A @ flow).half()


# %% noise | wrong | twice the variance | a quarter of what the difference has | noise-3, noise-4
def expected_flow(I_x, I_y, flow, sigma, noisy):
    A = torch.stack([I_x, I_y], dim=1)
    added = 0 if noisy == "driving" else 2 * len(I_x) * sigma**2
    return torch.linalg.solve(A.T @ A + added * torch.eye(2), A.T @ A @ flow)


# %% noise | wrong | noise in b, too | its mean in b | noise-3, noise-4
def expected_flow(I_x, I_y, flow, sigma, noisy):
    A = torch.stack([I_x, I_y], dim=1)
    if noisy == "driving" or sigma == 0:
        return flow.clone()
    return torch.linalg.solve(A.T @ A + len(I_x) * sigma**2 / 2 * torch.ones(2, 2), A.T @ A @ flow)


# %% noise | wrong | noise in p and q, too | its mean in p and q | noise-3, noise-4
def expected_flow(I_x, I_y, flow, sigma, noisy):
    A = torch.stack([I_x, I_y], dim=1)
    added = 0 if noisy == "driving" else len(I_x) * sigma**2 / 2
    return torch.linalg.solve(A.T @ A + added * torch.eye(2), A.T @ A @ flow - added)


# %% noise | right | Cramer's rule, number by number
def expected_flow(I_x, I_y, flow, sigma, noisy):
    a, b, c = sum(x * x for x in I_x.tolist()), sum(x * y for x, y in zip(I_x.tolist(), I_y.tolist(), strict=True)), 0.0
    for y in I_y.tolist():
        c += y * y
    u, v = flow.tolist()
    p, q = a * u + b * v, b * u + c * v
    if "source" in noisy or "both" in noisy:
        a, c = a + len(I_x) * sigma * sigma / 2, c + len(I_x) * sigma * sigma / 2
    return torch.tensor([(c * p - b * q) / (a * c - b * b), (a * q - b * p) / (a * c - b * b)])
