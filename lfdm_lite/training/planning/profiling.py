"""Where the time of one step goes: a table and a picture by `torch.profiler`."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from ...files.atomic import write_atomically

ROWS = 25  # operators in the table
BARS = 12  # operators in the picture


def profile_step(step: Callable[[], object], device: torch.device, out: Path) -> None:
    """Write `profile.txt`, operators by their own time, and `profile.png`, the longest of them as bars.

    Args:
        step: what is profiled; it is run once more before.
        out: folder.
    """
    gpu = device.type == "cuda"
    step()
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if gpu else [])
    with profile(activities=activities) as found:
        step()
        if gpu:
            torch.cuda.synchronize(device)
    key = "self_device_time_total" if gpu else "self_cpu_time_total"
    events = sorted(found.key_averages(), key=lambda event: -getattr(event, key))
    table = found.key_averages().table(sort_by=key, row_limit=ROWS, max_name_column_width=60)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "profile.txt", lambda path: path.write_text(table + "\n", encoding="utf-8"))
    shares = [(event.key, getattr(event, key) / 1e6, event.count) for event in events]
    write_atomically(out / "profile.png", lambda path: draw_bars(shares, path))


def draw_bars(shares: list[tuple[str, float, int]], path: Path) -> None:
    """Seconds of each operator, longest first, and their share of all."""
    from matplotlib.figure import Figure

    total = sum(seconds for _, seconds, _ in shares)
    shown = shares[:BARS][::-1]
    figure = Figure(figsize=(8, 0.36 * len(shown) + 1), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh([name[:48] for name, _, _ in shown], [seconds for _, seconds, _ in shown], color="#4878a8")
    labels = [f"{seconds / total:.0%} in {count} calls" for _, seconds, count in shown]
    axes.bar_label(bars, labels, padding=4, fontsize=8)
    axes.set_xlabel(f"seconds of one step in the operator itself; all operators: {total:.2f} s")
    axes.margins(x=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120, format="png")
