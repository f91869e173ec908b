#!/usr/bin/env bash
# torch 2.13.0: on a CPU, the backward pass of BatchNorm2d is many times slower if the gradient lies in another order.
#
# Input and gradient both contiguous, or both channels_last, are about equally fast. With one contiguous and the other
# channels_last the same numbers take several times as long, up to 15 times; to copy the gradient into the input's
# order first and then go back takes less than a third of that. Such gradients come by themselves: the one that
# `grid_sample` hands to its input is contiguous, also for a channels_last input, so a channels_last network whose
# normalised features are warped meets this at every step. A ReLU between the two turns the gradient, and hides it.
#
# Seen, for 2 x 256 x 64 x 64 with one thread, in milliseconds of the processor: 1.2 both contiguous, 1.6 both
# channels_last, 7.3 a channels_last gradient for a contiguous input, 21.9 the reverse, 6.7 if that gradient is turned
# first. In three runs the reverse took 13 to 15 times as long as both channels_last.
#
# Exits with 0 while a contiguous gradient for a channels_last input takes at least 4 times as long as one in its order.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'P'
import statistics
import time

import torch
from torch.nn.functional import grid_sample

print("torch", torch.__version__)
torch.set_num_threads(1)
torch.manual_seed(0)
SHAPE = (2, 256, 64, 64)
ORDERS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
norm = torch.nn.BatchNorm2d(SHAPE[1])
values, gradient = torch.randn(SHAPE), torch.randn(SHAPE)


def backward(order, given, turn=False):
    """A backward pass through the norm: an input in one order, a gradient in another, turned first if asked."""
    x = values.clone(memory_format=ORDERS[order]).requires_grad_()
    y, g = norm(x), gradient.clone(memory_format=ORDERS[given])
    inputs = (x, norm.weight, norm.bias)

    def go():
        turned = g.contiguous(memory_format=ORDERS[order]) if turn else g
        return torch.autograd.grad(y, inputs, turned, retain_graph=True)

    return go


calls = {(order, given, False): backward(order, given) for order in ORDERS for given in ORDERS}
calls["channels_last", "contiguous", True] = backward("channels_last", "contiguous", True)
results = [call() for call in calls.values()]
off = max((a - b).abs().max().item() / b.abs().max().item() for found in results for a, b in zip(found, results[0]))
times = {name: [] for name in calls}
for _ in range(21):
    for name, call in calls.items():
        start = time.process_time()
        call()
        times[name].append(time.process_time() - start)
median = {name: statistics.median(seconds) for name, seconds in times.items()}
for (order, given, turn), seconds in median.items():
    print(f"input {order:13} gradient {given + ', turned' * turn:18} {seconds:.4f} s")
ratio = median["channels_last", "contiguous", False] / median["channels_last", "channels_last", False]
print(f"{ratio:.1f} times as long; results differ by {off:.0e} of the largest")

x = norm(values.to(memory_format=torch.channels_last))
found = torch.autograd.grad(grid_sample(x, torch.rand(2, 64, 64, 2) * 2 - 1, align_corners=False).sum(), x)[0]
print("grid_sample: input channels_last", x.is_contiguous(memory_format=torch.channels_last), end=", ")
print("its gradient contiguous", found.is_contiguous())
raise SystemExit(0 if ratio > 4 and off < 1e-4 and found.is_contiguous() else 1)
P
