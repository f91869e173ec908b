# Plausible wrong answers to the exercises of chapter 12; see tests/exercises.py for the form.

# %% to_places: rows and columns within a place are exchanged -> rows come before columns
def to_places(video, patch):
    return rearrange(video, "b c t (h p) (w q) -> b (c q p) t h w", p=patch, q=patch)


# %% to_places: the place within comes before the colour -> colour comes first
def to_places(video, patch):
    return rearrange(video, "b c t (h p) (w q) -> b (p q c) t h w", p=patch, q=patch)


# %% to_places: the picture is cut into quarters -> neighbouring pixels
def to_places(video, patch):
    return rearrange(video, "b c t (p h) (q w) -> b (c p q) t h w", p=patch, q=patch)


# %% to_places: frames become the batch and are not brought back -> behind the channels
def to_places(video, patch):
    return F.pixel_unshuffle(video.transpose(1, 2), patch)


# %% to_places: pixels of a place are averaged -> not averaged
def to_places(video, patch):
    return F.avg_pool3d(video, (1, patch, patch))


# %% to_places: pixels are put together, not laid out -> return the shape
def to_places(video, patch):
    return F.pixel_shuffle(video.repeat(1, 4, 1, 1, 1).transpose(1, 2), patch).transpose(1, 2)


# %% hinge: the painter wants small numbers -> mind the sign
def hinge(real, painted):
    return painted.mean(), F.relu(1 - real).mean() + F.relu(1 + painted).mean()


# %% hinge: the painter's loss is cut off too -> no hinge
def hinge(real, painted):
    return F.relu(1 - painted).mean(), F.relu(1 - real).mean() + F.relu(1 + painted).mean()


# %% hinge: sums in place of means -> not a sum
def hinge(real, painted):
    return -painted.sum(), F.relu(1 - real).sum() + F.relu(1 + painted).sum()


# %% hinge: the losses are exchanged -> comes first
def hinge(real, painted):
    return F.relu(1 - real).mean() + F.relu(1 + painted).mean(), -painted.mean()


# %% hinge: real is below 0 -> signs are exchanged
def hinge(real, painted):
    return -painted.mean(), F.relu(1 + real).mean() + F.relu(1 - painted).mean()


# %% hinge: nothing is cut off -> that is no hinge
def hinge(real, painted):
    return -painted.mean(), (1 - real).mean() + (1 + painted).mean()


# %% hinge: the margin is forgotten -> at 1 and -1
def hinge(real, painted):
    return -painted.mean(), F.relu(-real).mean() + F.relu(painted).mean()


# %% hinge: the mean of both halves -> not half of it
def hinge(real, painted):
    return -painted.mean(), (F.relu(1 - real).mean() + F.relu(1 + painted).mean()) / 2


# %% Keyframes: frames in place of differences -> differences from frame 0
class Keyframes(_right):
    def represent(self, video):
        return video[:, :, list(self.keys)]


# %% Keyframes: frame 0 less the frame -> not the other way round
class Keyframes(_right):
    def represent(self, video):
        return video[:, :, :1] - video[:, :, list(self.keys)]


# %% Keyframes: differences from the key before -> not from the key before
class Keyframes(_right):
    def represent(self, video):
        return video[:, :, [0, *self.keys]].diff(dim=2)


# %% Keyframes: frame 0 is not added again -> added again
class Keyframes(_right):
    def paint(self, x, source, num_frames):
        return super().paint(x, source, num_frames) - source[:, :, None]


# %% Keyframes: a key is held until the next one -> holds a key
class Keyframes(_right):
    def paint(self, x, source, num_frames):
        whole = torch.cat([torch.zeros_like(x[:, :, :1]), x], dim=2)
        before = [sum(key <= frame for key in self.keys) for frame in range(num_frames)]
        return source[:, :, None] + whole[:, :, before]


# %% Keyframes: the nearest key is taken -> nearest key
class Keyframes(_right):
    def paint(self, x, source, num_frames):
        whole, ends = torch.cat([torch.zeros_like(x[:, :, :1]), x], dim=2), [0, *self.keys]
        nearest = [min(range(len(ends)), key=lambda j: abs(ends[j] - k)) for k in range(num_frames)]
        return source[:, :, None] + whole[:, :, nearest]


# %% Keyframes: keys are taken to be evenly spaced -> evenly spaced
class Keyframes(_right):
    def paint(self, x, source, num_frames):
        whole = torch.cat([torch.zeros_like(x[:, :, :1]), x], dim=2)
        blended = F.interpolate(whole, size=(num_frames, *x.shape[-2:]), mode="trilinear", align_corners=True)
        return source[:, :, None] + blended
