#!/usr/bin/env bash
# torch 2.13.0: a network with 2-D and 3-D convolutions cannot be brought into channels-last memory by Module.to.
#
# Module.to's page gives `memory_format` as the one "for 4D parameters and buffers". A 5-D parameter is not passed over,
# though: it is given the same format, and that raises, be it channels_last (which wants rank 4) or channels_last_3d
# (which wants rank 5 and meets the 4-D ones). The error comes in the middle of the way: what came before stays turned,
# so the network that refused is half converted. A video network whose image encoder is 2-D and whose motion encoder is
# 3-D meets this at its first line; what works is to turn each parameter by its own rank.
#
# Seen: with Conv2d then Conv3d, channels_last raises "required rank 4 tensor", and the 4-D weight is turned all the
# same; channels_last_3d raises "required rank 5 tensor". By rank both are turned, and the answer stays the same.
#
# Exits with 0 while both calls raise, the first leaves the 4-D weight turned, and turning by rank works.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'P'
import torch
from torch import nn

print("torch", torch.__version__)
ORDER_OF_RANK = {4: torch.channels_last, 5: torch.channels_last_3d}
torch.manual_seed(0)


class Video(nn.Module):
    def __init__(self):
        super().__init__()
        self.of_frames, self.of_clips = nn.Conv2d(3, 4, 3), nn.Conv3d(4, 4, 3)

    def forward(self, clip):
        frames = self.of_frames(clip.transpose(1, 2).flatten(0, 1))
        return self.of_clips(frames.unflatten(0, (clip.shape[0], -1)).transpose(1, 2))


def refusal(order):
    network = Video()
    try:
        network.to(memory_format=order)
    except RuntimeError as error:
        turned = network.of_frames.weight.is_contiguous(memory_format=torch.channels_last)
        print(f"{order}: {error}; 4-D weight turned: {turned}")
        return turned
    return None


first, second = refusal(torch.channels_last), refusal(torch.channels_last_3d)
network, clip = Video(), torch.rand(2, 3, 5, 8, 8)
before = network(clip)
for weight in network.parameters():
    if weight.ndim in ORDER_OF_RANK:
        weight.data = weight.data.to(memory_format=ORDER_OF_RANK[weight.ndim])
weights = network.of_frames.weight, network.of_clips.weight
by_rank = all(w.is_contiguous(memory_format=ORDER_OF_RANK[w.ndim]) for w in weights)
off = (network(clip) - before).abs().max().item()
print(f"by rank: both turned {by_rank}, answers differ by {off:.0e}")
raise SystemExit(0 if first is True and second is not None and by_rank and off < 1e-5 else 1)
P
