"""Clips that can be trained on while others are still being drawn."""

import time
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import Dataset

from ..configs import DataConfig
from .clips import draw_clips, place_of
from .shards import SHARD


class GrowingClips(Dataset[dict[str, Tensor]]):
    """The clips of a cache that another process fills: clip i, or while it is not there yet, one that is.

    As long as clips are missing, those that are there stand in for them, so what a step sees depends on how fast
    they come.

    Args:
        folder: of the cache; shards appear there one after the other, each whole.
        count: clips that there will be.
        labels: their names.
        patience: seconds to wait for the first shard.

    Raises:
        TimeoutError: from `clips[i]`, when there is still no shard then.
    """

    def __init__(self, folder: Path, count: int, labels: list[str], patience: float = 120.0):
        self.folder, self.count, self.labels, self.patience = folder, count, labels, patience
        self.said = f"{count} clips, drawn meanwhile"
        self.shards: list[dict[str, Tensor]] = []
        self.looked = 0.0

    def __len__(self) -> int:
        return self.count

    @property
    def there(self) -> int:
        """How many clips there are by now; looked at once a second, as long as some are missing."""
        known = sum(len(shard["video"]) for shard in self.shards)
        if known < self.count and time.monotonic() - self.looked > 1:
            while (path := self.folder / f"{len(self.shards) * SHARD:06d}.safetensors").is_file():
                self.shards.append(load_file(path))
            self.looked = time.monotonic()
            known = sum(len(shard["video"]) for shard in self.shards)
        return known

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        given_up = time.monotonic() + self.patience
        while not (there := self.there):
            if time.monotonic() > given_up:
                raise TimeoutError(f"no clips came to {self.folder} within {self.patience:.0f} seconds")
            time.sleep(0.05)
        shard, row = divmod(index % there, SHARD)
        return {name: tensor[row] for name, tensor in self.shards[shard].items()}


def growing_clips(config: DataConfig, folder: Path) -> GrowingClips:
    """The training clips of a config, in a folder of caches that `cached_clips` is filling in another process."""
    dataset = draw_clips(config, "train")
    place, made_from = place_of(config, "train", folder, dataset)
    return GrowingClips(place, len(dataset), made_from["labels"])
