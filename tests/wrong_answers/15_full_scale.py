"""Plausible wrong answers to the exercises of chapter 15; see `tests/exercises.py` for the form."""


# %% at_once: it need not divide -> cannot be cut
def at_once(peak_1, peak_2, memory, share):
    each = peak_2 - peak_1
    return min(share, int((memory - (peak_1 - each)) // each))


# %% at_once: the first example is taken for the cost of each -> first example
def at_once(peak_1, peak_2, memory, share):
    return max((b for b in range(1, share + 1) if share % b == 0 and b * peak_1 <= memory), default=0)


# %% at_once: the base is forgotten -> 80 GB
def at_once(peak_1, peak_2, memory, share):
    each = peak_2 - peak_1
    return int((memory - (peak_1 - each)) // each) // 8 * 8 or 0


# %% at_once: the whole share, whatever the memory -> need 37 GB
def at_once(peak_1, peak_2, memory, share):
    return share


# %% at_once: powers of two alone -> power of 2
def at_once(peak_1, peak_2, memory, share):
    each, b = peak_2 - peak_1, 1
    while 2 * b <= share and peak_1 - each + 2 * b * each <= memory:
        b *= 2
    return b


# %% at_once: what exactly fits is left out -> exactly
def at_once(peak_1, peak_2, memory, share):
    each = peak_2 - peak_1
    return max((b for b in range(1, share + 1) if share % b == 0 and peak_1 - each + b * each < memory), default=0)


# %% at_once: at least one, even where none fits -> not even one
def at_once(peak_1, peak_2, memory, share):
    each = peak_2 - peak_1
    return max((b for b in range(1, share + 1) if share % b == 0 and peak_1 - each + b * each <= memory), default=1)


# %% at_once: it stops where none fits -> return 0
def at_once(peak_1, peak_2, memory, share):
    each = peak_2 - peak_1
    return max(b for b in range(1, share + 1) if share % b == 0 and peak_1 - each + b * each <= memory)


# %% at_once: a share of the memory, as a fraction -> whole number
def at_once(peak_1, peak_2, memory, share):
    return (memory - peak_1) / (peak_2 - peak_1)


# %% diagnose: all is well -> turn round
def diagnose(rows):
    return "flat" if rows[-1]["loss"] > rows[0]["loss"] else "healthy"


# %% diagnose: the lowest training loss is the best -> turn round
def diagnose(rows):
    return (
        "healthy"
        if rows[-1]["loss"] < 0.7 * rows[0]["loss"]
        else "leaps"
        if max(r["loss"] for r in rows[10:]) > 3 * rows[0]["loss"]
        else "flat"
    )


# %% diagnose: thresholds in the unit of the figure -> another unit
def diagnose(rows):
    said = _right(rows)
    return "leaps" if rows[-1]["loss"] > 1.2 else said


# %% diagnose: val_loss is in every row -> now and then
def diagnose(rows):
    return "learned by heart" if rows[-2]["val_loss"] > rows[0]["val_loss"] else _right(rows)


# %% diagnose: two neighbouring rows decide -> single rows wiggle
def diagnose(rows):
    said = _right(rows)
    rises = any(b["loss"] > 1.3 * a["loss"] for a, b in zip(rows, rows[1:]))
    return "leaps" if said == "healthy" and rises else said


# %% diagnose: a number for a name -> return one of
def diagnose(rows):
    return rows[-1]["loss"] / rows[0]["loss"]


# %% diagnose: by heart is what has a low loss -> turn round
def diagnose(rows):
    said = _right(rows)
    losses = [row["loss"] for row in rows]
    if said in ("healthy", "learned by heart"):
        return "learned by heart" if min(losses) < 0.01 * losses[0] else "healthy"
    return said


# %% Resumable: from the global generator -> stage 1: you draw from the global generator
class Resumable(_right):
    def draw(self, step):
        torch.manual_seed(1_000_003 * self.seed + step)
        return torch.randint(64, (8,)), torch.randn(8, 1)


# %% Resumable: one generator for the whole run -> stage 1: asked in another order
class Resumable(_right):
    def draw(self, step):
        self.generator = getattr(self, "generator", None) or torch.Generator().manual_seed(self.seed)
        return torch.randint(64, (8,), generator=self.generator), torch.randn(8, 1, generator=self.generator)


# %% Resumable: the same in each step -> stage 1: every step draws the same
class Resumable(_right):
    def draw(self, step):
        return super().draw(0)


# %% Resumable: the seed is forgotten -> stage 1: two seeds
class Resumable(_right):
    def draw(self, step):
        generator = torch.Generator().manual_seed(step)
        return torch.randint(64, (8,), generator=generator), torch.randn(8, 1, generator=generator)


# %% Resumable: seed and step are added -> stage 1: seed + step
class Resumable(_right):
    def draw(self, step):
        generator = torch.Generator().manual_seed(self.seed + step)
        return torch.randint(64, (8,), generator=generator), torch.randn(8, 1, generator=generator)


# %% Resumable: noise without its second axis -> stage 1: draw returns two tensors
class Resumable(_right):
    def draw(self, step):
        places, noise = super().draw(step)
        return places, noise[:, 0]


# %% Resumable: the weights alone -> stage 2: weights and step are right
class Resumable(_right):
    def state(self):
        return {name: value for name, value in super().state().items() if name != "optimizer"}

    def restore(self, state):
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])


# %% Resumable: the average is the network -> stage 2: the moving average
class Resumable(_right):
    def restore(self, state):
        super().restore(state)
        self.average.load_state_dict(state["network"])


# %% Resumable: the step is forgotten -> stage 2: after 7 steps
class Resumable(_right):
    def restore(self, state):
        super().restore(state | {"step": 0})


# %% Resumable: no copies -> stage 2: the state changes
class Resumable(_right):
    def state(self):
        parts = {"network": self.network, "average": self.average, "optimizer": self.optimizer}
        return {"step": self.step} | {name: part.state_dict() for name, part in parts.items()}


# %% Resumable: in place -> stage 3: load meets a file of which half was written
class Resumable(_right):
    def save(self):
        self.disk.write("step_000000", to_bytes(self.state()))


# %% Resumable: under its own name at once -> half was written
class Resumable(_right):
    def save(self):
        self.disk.write(f"step_{self.step:06d}", to_bytes(self.state()))
        for old in self.checkpoints()[:-2]:
            self.disk.delete(old)


# %% Resumable: the old one goes before the new one comes -> begins anew
class Resumable(_right):
    def save(self):
        for old in self.checkpoints():
            self.disk.delete(old)
        super().save()


# %% Resumable: names sorted as words -> as words
class Resumable(_right):
    def save(self):
        self.disk.write("writing", to_bytes(self.state()))
        self.disk.rename("writing", f"step_{self.step}")


# %% Resumable: all are kept -> fills up
class Resumable(_right):
    def save(self):
        self.disk.write("writing", to_bytes(self.state()))
        self.disk.rename("writing", f"step_{self.step:06d}")


# %% Resumable: nothing is loaded -> finds no checkpoint
class Resumable(_right):
    def load(self):
        pass


# %% Resumable: a half file is met and all is given up -> begins anew
class Resumable(_right):
    def save(self):
        self.disk.write("step_000000", to_bytes(self.state()))

    def load(self):
        try:
            super().load()
        except ValueError:
            pass
