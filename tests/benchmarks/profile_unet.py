"""Where one call of the authors' U-Net spends its time, before and after: `python tests/benchmarks/profile_unet.py`.

Prints, in Markdown, the self time of every operator in the straightforward formulation, in ours, and in ours under
bfloat16 autocast; the arithmetic that each counts against what this machine reaches in a matrix product; and what
limits ours, as these numbers say. `--quick` runs the whole logic on a tiny network.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import straightforward
import torch
from bench_official import FULL, QUICK, Subject, bfloat16, machine, speed_of_matrix_product
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

KINDS = {  # the first kind of which a word is in the operator's name
    "convolution": ("conv",),
    "matrix product": ("mm", "dot_product", "linear", "matmul", "einsum"),
    "softmax": ("softmax",),
    "normalization": ("norm", "var", "mean"),
    "copy": ("copy", "cat", "clone", "stack", "contiguous", "index", "pad", "repeat"),
    "view": (  # nothing is computed or moved: the time of the call itself
        "view",
        "reshape",
        "permute",
        "transpose",
        "stride",
        "expand",
        "squeeze",
        "slice",
        "select",
        "chunk",
        "split",
        "narrow",
        "empty",
    ),
}
ARITHMETIC = ("convolution", "matrix product")


@dataclass
class Profile:
    """One formulation: seconds of a call, alone and by operator when profiled, and the arithmetic that it counts."""

    seconds: float
    flops: float
    gflops_of_product: float  # GFLOP/s of a matrix product in this precision
    operators: dict[str, float] = field(default_factory=dict)  # self seconds of one call

    @property
    def total(self) -> float:
        return sum(self.operators.values())

    def share(self, seconds: float) -> float:
        return 100 * seconds / self.total

    def kinds(self) -> dict[str, float]:
        """Self seconds by kind of operator, most first."""
        seconds: dict[str, float] = defaultdict(float)
        for name, own in self.operators.items():
            seconds[kind_of(name)] += own
        return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def kind_of(operator: str) -> str:
    return next((kind for kind, words in KINDS.items() if any(word in operator for word in words)), "elementwise")


@torch.no_grad()
def profile_call(call: Callable[[], object], gflops_of_product: float, repeats: int) -> Profile:
    """Time, count and profile a function, after one call that is not counted."""
    call()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    seconds = (time.perf_counter() - start) / repeats
    with FlopCounterMode(display=False) as counter:
        call()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(repeats):
            call()
    operators = {
        event.key.removeprefix("aten::"): event.self_cpu_time_total / 1e6 / repeats
        for event in profiler.key_averages()
        if event.self_cpu_time_total > 0
    }
    return Profile(seconds, counter.get_total_flops(), gflops_of_product, operators)


def table(profiles: dict[str, Profile], rows: int) -> str:
    """Self time of the operators that take most, and of the kinds of operators."""
    lines = ["| operator | " + " | ".join(f"{name}, ms | share" for name in profiles) + " |"]
    lines.append("|---|" + "---|---|" * len(profiles))
    most = {name: max(p.operators.get(name, 0) / p.total for p in profiles.values()) for name in all_names(profiles)}

    def add(name: str, seconds: list[float]) -> None:
        cells = [f"{1000 * own:.3g} | {p.share(own):.1f} %" for own, p in zip(seconds, profiles.values(), strict=True)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    shown = sorted(most, key=lambda name: -most[name])[:rows]
    for name in shown:
        add(f"`{name}`", [p.operators.get(name, 0) for p in profiles.values()])
    add("all others", [sum(own for name, own in p.operators.items() if name not in shown) for p in profiles.values()])
    for kind in dict.fromkeys(kind for p in profiles.values() for kind in p.kinds()):
        add(f"**all of kind {kind}**", [p.kinds().get(kind, 0) for p in profiles.values()])
    return "\n".join(lines)


def all_names(profiles: dict[str, Profile]) -> set[str]:
    return {name for p in profiles.values() for name in p.operators}


def counts(profiles: dict[str, Profile]) -> str:
    """Arithmetic, speed, and the time that the arithmetic alone would take at the speed of a matrix product."""
    lines = [
        "| formulation | seconds | GFLOP | GFLOP/s | of a matrix product's | floor, s |",
        "|---|---|---|---|---|---|",
    ]
    for name, p in profiles.items():
        speed, most = p.flops / p.seconds / 1e9, p.gflops_of_product
        floor = p.flops / most / 1e9
        lines.append(
            f"| {name} | {p.seconds:.3g} | {p.flops / 1e9:.3g} | {speed:.0f} | "
            f"{100 * speed / most:.0f} % of {most:.0f} | {floor:.2g} |"
        )
    return "\n".join(lines)


def limits(name: str, p: Profile) -> str:
    """A sentence or two on where the time goes, from the numbers alone."""
    kinds = p.kinds()
    arithmetic = sum(kinds.get(kind, 0) for kind in ARITHMETIC)
    rest = {kind: own for kind, own in kinds.items() if kind not in ARITHMETIC}
    floor = p.flops / p.gflops_of_product / 1e9
    slack = max(arithmetic - floor, 0.0)
    first = max(rest, key=rest.get)
    told = ", ".join(f"{kind} {p.share(own):.0f} %" for kind, own in rest.items())
    shares = {
        "the arithmetic itself": min(floor, arithmetic),
        f"memory traffic between the arithmetic, {first} before all": sum(rest.values()),
        "convolutions and products that stay below the speed of a large matrix product": slack,
    }
    reason = max(shares, key=shares.get)
    return (
        f"**{name}**: convolutions and matrix products take {p.share(arithmetic):.0f} % of the self time and reach "
        f"{p.flops / max(arithmetic, 1e-9) / 1e9:.0f} GFLOP/s; at the speed of a large matrix product they would take "
        f"{p.share(floor):.0f} %. The rest, {p.share(sum(rest.values())):.0f} %, reads and writes activations: {told}. "
        f"So what limits it most is {reason}."
    )


def main(arguments: list[str] | None = None) -> dict[str, Profile]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny network: a check of this script, no measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=18, help="operators in the table")
    options = parser.parse_args(arguments)
    sizes = QUICK if options.quick else FULL
    s = Subject(sizes, with_autoencoder=False)

    def plain():
        return straightforward.unet(s.state, straightforward.with_features(s.x_t, s.features), s.t, s.condition)

    def ours():
        return s.unet(s.x_t, s.t, s.features, s.label)

    def ours_bfloat16():
        with bfloat16():
            return ours()

    single = speed_of_matrix_product(sizes.matrix_size)
    half = speed_of_matrix_product(sizes.matrix_size, torch.bfloat16)
    profiles = {
        "straightforward": profile_call(plain, single, options.repeats),
        "ours": profile_call(ours, single, options.repeats),
        "ours, bf16": profile_call(ours_bfloat16, half, options.repeats),
    }
    print(
        f"{'Quick check, no measurement: ' if options.quick else ''}one call of the U-Net on {s.x_t.shape[2]} frames."
    )
    print("; ".join(f"{name}: {value}" for name, value in machine().items()) + f"; mean of {options.repeats} calls.\n")
    print(table(profiles, options.rows))
    print()
    print(counts(profiles))
    for name, p in profiles.items():
        print()
        print(limits(name, p))
    return profiles


if __name__ == "__main__":
    main()
