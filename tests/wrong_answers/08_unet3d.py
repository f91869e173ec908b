# Plausible wrong answers to the exercises of chapter 8; see tests/exercises.py for the form.

# %% causal_attend: nothing is hidden -> nothing is hidden
def causal_attend(q, k, v):
    return attend_v2(q, k, v)


# %% causal_attend: the past is hidden -> turned
def causal_attend(q, k, v):
    count = q.shape[-2]
    return attend_v2(q, k, v, torch.full((count, count), -math.inf).tril(-1))


# %% causal_attend: the shares are cut after the softmax -> after the softmax
def causal_attend(q, k, v):
    A = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(dim=-1)
    return A.tril() @ v


# %% causal_attend: a score of 0 is taken for hidden -> e^0
def causal_attend(q, k, v):
    score = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return score.tril().softmax(dim=-1) @ v


# %% causal_attend: without the root -> root of d
def causal_attend(q, k, v):
    score = q @ k.transpose(-1, -2)
    return (score + torch.full(score.shape[-2:], -math.inf).triu(1)).softmax(dim=-1) @ v


# %% causal_attend: a frame may not see itself -> itself
def causal_attend(q, k, v):
    count = q.shape[-2]
    return attend_v2(q, k, v, torch.full((count, count), -math.inf).triu(0))


# %% causal_attend: one frame is forgotten -> shape
def causal_attend(q, k, v):
    return attend_v2(q, k, v)[..., :-1, :]


# %% causal_attend: minus infinity times a mask of 0 -> masked_fill
def causal_attend(q, k, v):
    count = q.shape[-2]
    return attend_v2(q, k, v, torch.full((count, count), -math.inf) * torch.ones(count, count).triu(1))


# %% causal_attend: queries and keys are exchanged -> q @ k.T
def causal_attend(q, k, v):
    count = q.shape[-2]
    return attend_v2(k, q, v, torch.full((count, count), -math.inf).triu(1))


# %% causal_attend: columns sum to 1 -> over j
def causal_attend(q, k, v):
    score = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return (score + torch.full(score.shape[-2:], -math.inf).triu(1)).softmax(dim=-2) @ v


# %% causal_attend: the root of the number of frames -> not that of the frames
def causal_attend(q, k, v):
    score = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-2])
    return (score + torch.full(score.shape[-2:], -math.inf).triu(1)).softmax(dim=-1) @ v


# %% causal_attend: keys in place of values -> none of the slips
def causal_attend(q, k, v):
    count = q.shape[-2]
    return attend_v2(q, k, k, torch.full((count, count), -math.inf).triu(1))


# %% residual_parameters: no skip -> 1 x 1
def residual_parameters(dim, dim_out, condition_dim):
    return 9 * dim * dim_out + 9 * dim_out**2 + 6 * dim_out + (condition_dim + 1) * 2 * dim_out


# %% residual_parameters: a skip even where nothing changes -> has no parameters
def residual_parameters(dim, dim_out, condition_dim):
    skip = (dim + 1) * dim_out
    return 9 * dim * dim_out + 9 * dim_out**2 + 6 * dim_out + (condition_dim + 1) * 2 * dim_out + skip


# %% residual_parameters: norms without parameters -> group norm
def residual_parameters(dim, dim_out, condition_dim):
    skip = 0 if dim == dim_out else (dim + 1) * dim_out
    return 9 * dim * dim_out + 9 * dim_out**2 + 2 * dim_out + (condition_dim + 1) * 2 * dim_out + skip


# %% residual_parameters: no biases of the convolutions -> biases
def residual_parameters(dim, dim_out, condition_dim):
    skip = 0 if dim == dim_out else (dim + 1) * dim_out
    return 9 * dim * dim_out + 9 * dim_out**2 + 4 * dim_out + (condition_dim + 1) * 2 * dim_out + skip


# %% residual_parameters: one number a channel -> scale and shift
def residual_parameters(dim, dim_out, condition_dim):
    skip = 0 if dim == dim_out else (dim + 1) * dim_out
    return 9 * dim * dim_out + 9 * dim_out**2 + 6 * dim_out + (condition_dim + 1) * dim_out + skip


# %% residual_parameters: it builds the block and asks -> without building
def residual_parameters(dim, dim_out, condition_dim):
    return sum(p.numel() for p in ResidualBlock(dim, dim_out, condition_dim, 8).parameters())


# %% residual_parameters: only one of the two sizes is answered -> a number
def residual_parameters(dim, dim_out, condition_dim):
    return _right(dim, dim_out, condition_dim) if dim != dim_out else None


# %% residual_parameters: the skip without its bias -> skip has a bias
def residual_parameters(dim, dim_out, condition_dim):
    skip = 0 if dim == dim_out else dim * dim_out
    return 9 * dim * dim_out + 9 * dim_out**2 + 6 * dim_out + (condition_dim + 1) * 2 * dim_out + skip


# %% residual_parameters: both chains are told -> only the first
def residual_parameters(dim, dim_out, condition_dim):
    return _right(dim, dim_out, condition_dim) + (condition_dim + 1) * 2 * dim_out


# %% residual_parameters: no bias anywhere but in the skip -> matrix has a bias
def residual_parameters(dim, dim_out, condition_dim):
    return _right(dim, dim_out, condition_dim) - 4 * dim_out


# %% residual_parameters: the first convolution is counted twice -> off by
def residual_parameters(dim, dim_out, condition_dim):
    return 18 * dim * dim_out


# %% Stream: the future is open -> stage 1: the future
class Stream(_right):
    def bias(self, count):
        back = torch.arange(count)[:, None] - torch.arange(count)
        return self.distances(count).masked_fill(back >= self.window, -math.inf)


# %% Stream: one frame too many -> one too wide
class Stream(_right):
    def bias(self, count):
        back = torch.arange(count)[:, None] - torch.arange(count)
        return self.distances(count).masked_fill((back < 0) | (back > self.window), -math.inf)


# %% Stream: the frame itself is not counted as one of the window's -> one too narrow
class Stream(_right):
    def bias(self, count):
        back = torch.arange(count)[:, None] - torch.arange(count)
        return self.distances(count).masked_fill((back < 0) | (back >= self.window - 1), -math.inf)


# %% Stream: the mask is transposed -> turned
class Stream(_right):
    def bias(self, count):
        back = torch.arange(count) - torch.arange(count)[:, None]
        return self.distances(count).masked_fill((back < 0) | (back >= self.window), -math.inf)


# %% Stream: transposed, with a large negative number for minus infinity -> turned
class Stream(_right):
    def bias(self, count):
        back = torch.arange(count) - torch.arange(count)[:, None]
        return self.distances(count).masked_fill((back < 0) | (back >= self.window), -1e9)


# %% Stream: a large negative number hides, and the window is too wide -> one too wide
class Stream(_right):
    def bias(self, count):
        back = torch.arange(count)[:, None] - torch.arange(count)
        return self.distances(count).masked_fill((back < 0) | (back > self.window), -1e9)


# %% Stream: the bias is multiplied by the mask -> 0 is not hidden
class Stream(_right):
    def bias(self, count):
        back = torch.arange(count)[:, None] - torch.arange(count)
        return self.distances(count) * ((back >= 0) & (back < self.window))


# %% Stream: a mask without the distances -> keeps the bias of its distance
class Stream(_right):
    def bias(self, count):
        back = torch.arange(count)[:, None] - torch.arange(count)
        return torch.zeros(2, count, count).masked_fill((back < 0) | (back >= self.window), -math.inf)


# %% Stream: nothing is hidden -> nothing is hidden
class Stream(_right):
    def bias(self, count):
        return self.distances(count)


# %% Stream: the input is not added -> stage 2: the input
class Stream(_right):
    def clip(self, x, count):
        return super().clip(x, count) - x


# %% Stream: the clip is given the distances alone -> without your bias
class Stream(_right):
    def clip(self, x, count):
        return self.attention(x, Frames(count, None, None, self.distances(count), None))


# %% Stream: each frame by itself -> keep keys and values
class Stream(_right):
    def next(self, frame):
        self.keys = self.values = None
        return super().next(frame)


# %% Stream: nothing is ever forgotten -> forget
class Stream(_right):
    def next(self, frame):
        self.window = 99
        return super().next(frame)


# %% Stream: one frame too many is kept -> stage 3: one frame too many
class Stream(_right):
    def next(self, frame):
        self.window = 5
        return super().next(frame)


# %% Stream: the old frames are kept beside, though not looked at -> more and more
class Stream(_right):
    def next(self, frame):
        self.seen = [*getattr(self, "seen", []), frame]
        return super().next(frame)


# %% Stream: the distances are lost in the stream -> the bias of distances is lost
class Stream(_right):
    def next(self, frame):
        right, self.distances = self.distances, lambda count: torch.zeros(2, count, count)
        answer = super().next(frame)
        self.distances = right
        return answer


# %% Stream: the table is read transposed -> not its last column
class Stream(_right):
    def next(self, frame):
        right = self.distances
        self.distances = lambda count: right(count).transpose(1, 2)
        answer = super().next(frame)
        self.distances = right
        return answer


# %% Stream: the first row of the bias in place of the last -> not the first
class Stream(_right):
    def next(self, frame):
        right = self.distances
        self.distances = lambda count: right(count).flip(1)
        answer = super().next(frame)
        self.distances = right
        return answer


# %% Stream: the input is not added in the stream -> stage 3: the input is to be added
class Stream(_right):
    def next(self, frame):
        return super().next(frame) - frame


# %% Stream: the last frames are kept and computed anew -> 4 frames are computed
class Stream(_right):
    def next(self, frame):
        self.seen = [*getattr(self, "seen", []), frame][-self.window :]
        count = len(self.seen)
        whole = self.clip(torch.stack(self.seen, dim=1).flatten(0, 1), count)
        return whole.unflatten(0, (-1, count))[:, -1]


# %% Stream: old frames in a queue that grows -> more and more
class Stream(_right):
    def next(self, frame):
        from collections import deque

        self.seen = getattr(self, "seen", deque())
        self.seen.append(frame)
        return super().next(frame)


# %% Stream: old keys in a dictionary that grows -> more and more
class Stream(_right):
    def next(self, frame):
        answer = super().next(frame)
        self.seen = getattr(self, "seen", {})
        self.seen[len(self.seen)] = self.keys[:, :, -1]
        return answer
