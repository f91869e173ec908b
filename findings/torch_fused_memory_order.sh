#!/usr/bin/env bash
# torch 2.13.0: on a CPU, fused optimizers pair numbers by their place in memory, not by their index.
#
# A weight, its gradient and the optimizer's averages are read as flat memory, whatever their strides. If one of them
# lies in another order, each number is updated with what belongs to another one: no error, no warning. One way there
# is ordinary: `load_state_dict` of an optimizer keeps the order in which its averages were saved, so a run that was
# saved before `to(memory_format=torch.channels_last)` and goes on after it has weights in one order and averages in
# the other. A network that is turned between two steps gets there too, and a gradient that is set by hand. Adam,
# AdamW, SGD with momentum and Adagrad are all affected; without `fused` all of them are right.
#
# Below, three steps, a save, and three steps more, at a learning rate of 0.01, fused and not, in float64 so that
# rounding is no excuse. Seen: weights that differ by less than 1e-16 where the order stays, and where it changes by
# 0.05 (Adam, AdamW), 0.01 (Adagrad) and 0.006 (SGD), of weights of at most 0.12 at the start.
#
# Exits with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'P'
import copy

import torch

print("torch", torch.__version__)
torch.set_num_threads(1)
ORDERS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
KINDS = {
    "Adam": (torch.optim.Adam, {}),
    "AdamW": (torch.optim.AdamW, {}),
    "SGD": (torch.optim.SGD, {"momentum": 0.9}),
    "Adagrad": (torch.optim.Adagrad, {}),
}
x = torch.randn(2, 8, 10, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def begin(kind, order, fused):
    torch.manual_seed(0)
    network = torch.nn.Conv2d(8, 8, 3).double().to(memory_format=ORDERS[order])
    optimizer, settings = KINDS[kind]
    return network, optimizer(network.parameters(), lr=0.01, fused=fused, **settings)


def go_on(network, optimizer):
    for _ in range(3):
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()


def run(kind, saved, resumed, fused):
    """Three steps, saved; three more after loading. The weights at the end."""
    network, optimizer = begin(kind, saved, fused)
    go_on(network, optimizer)
    weights, state = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    network, optimizer = begin(kind, resumed, fused)
    network.load_state_dict(weights)
    optimizer.load_state_dict(state)
    go_on(network, optimizer)
    return network.weight.detach()


so = True
for kind in KINDS:
    for saved in ORDERS:
        for resumed in ORDERS:
            plain, fused = (run(kind, saved, resumed, fused) for fused in (False, True))
            off = (plain - fused).abs().max().item()
            print(f"{kind:8} saved {saved:13} resumed {resumed:13} fused differs by {off:.1e}")
            so &= off < 1e-9 if saved == resumed else off > 1e-3
raise SystemExit(0 if so else 1)
P
