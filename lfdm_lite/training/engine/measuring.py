"""What a step of training costs on this device: memory, time, arithmetic."""

import threading
import time
from collections.abc import Callable
from functools import partial

import torch

FAST = 0.01  # seconds: a product of matrices that takes less may be of larger ones


class PeakMemory:
    """The most memory that this process held while the `with` block ran, in bytes, as `peak`.

    On a GPU that is what torch's allocator reserved there. On a CPU it is the memory of the process that is its own
    alone, so without libraries and data files that are mapped into it; a thread looks every `every` seconds, and a
    peak that is shorter can be missed.
    """

    def __init__(self, device: torch.device, every: float = 0.005):
        self.device, self.every, self.peak = device, every, 0

    def __enter__(self) -> "PeakMemory":
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return self
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            self.peak = torch.cuda.max_memory_reserved(self.device)
            return
        self.stop.set()
        self.thread.join()

    def _watch(self) -> None:
        import psutil

        process = psutil.Process()
        while True:
            info = process.memory_info()
            self.peak = max(self.peak, info.rss - getattr(info, "shared", 0))
            if self.stop.wait(self.every):
                return


def memory_at_hand(device: torch.device) -> int:
    """Bytes of the GPU, or those that are free on this machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    import psutil

    return psutil.virtual_memory().available


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of `work`, until the device has done it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def matrix_rate(device: torch.device, precision: str) -> float:
    """Floating-point operations a second of a large matrix product: the practical limit of the device's arithmetic.

    On a CPU the matrices grow only while products are fast: one that emulates bfloat16 would compute for minutes.

    Args:
        precision: "no" for float32, "bf16" or "fp16".
    """
    dtype = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    side, largest = (8192, 8192) if device.type == "cuda" else (256, 2048)
    while True:
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        seconds = min(seconds_of(partial(torch.matmul, a, b), device) for _ in range(6))
        if side == largest or seconds > FAST:
            return 2 * side**3 / seconds
        side *= 2
