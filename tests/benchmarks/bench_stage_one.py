"""A training step of stage one, against the published formulation, and against another checkout of this library.

    python tests/benchmarks/bench_stage_one.py                        mug128: the published function, batch 2
    python tests/benchmarks/bench_stage_one.py --preset faces64 --before FOLDER       ours, at the batch of the preset
    --before FOLDER    a checkout of this repository that takes part
    --only NAME ...    formulations that take part, see the table that is printed
    --repeats 5        steps of each formulation that count, after two that do not
    --tiny             a small network: a check of this script, no measurement

The published formulation is `tests/parity/plain*.py`, with Adam as torch has it by default. At mug128 all formulations
have the same weights and random numbers, and must give the same loss; three scales of the perceptual loss.
Each runs in a process of its own, with one thread unless OMP_NUM_THREADS says otherwise, and they step in turn, so that
other work slows all of them. Times are CPU seconds. Ours keeps freed memory, as training does; "kept" is the published
formulation with that too. Memory is the most that the process held beyond what it held with its networks built.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("forward", "backward", "optimizer")
NAMES = {  # formulation: library, precision, memory order of the weights
    "mug128": {
        "published": ("published", "no", "rows"),
        "published, kept": ("published", "no", "rows"),
        "before": ("ours", "no", "channels last"),
        "ours": ("ours", "no", "rows"),
        "before, bf16": ("ours", "bf16", "channels last"),
        "ours, bf16": ("ours", "bf16", "channels last"),
        "ours, bf16, rows": ("ours", "bf16", "rows"),
    },
    "faces64": {"before": ("ours", "bf16", "channels last"), "ours": ("ours", "bf16", "channels last")},
}
TOLERANCE = {"no": 1e-3, "bf16": 5e-2}  # of the loss, relative


# ---------------------------------------------------------------- what is run, in a process of its own


def published_problem(tiny: bool):
    """The authors' network, their loss with three scales, a pair of frames and a transform."""
    import torch

    from lfdm_lite.evaluation.perceptual import PerceptualFeatures
    from lfdm_lite.files.variants import construct
    from lfdm_lite.official.autoencoder import PAPER, lfae_config
    from lfdm_lite.official.objective import ObjectiveConfig, StageOneObjective

    torch.manual_seed(0)
    model = json.loads(json.dumps(PAPER["model_params"]))
    if tiny:
        for part in ("bg_predictor_params", "region_predictor_params"):
            model[part] |= {"block_expansion": 4, "max_features": 16, "num_blocks": 2}
        model["generator_params"] |= {"block_expansion": 8, "max_features": 16, "num_bottleneck_blocks": 1}
        flow = model["generator_params"]["pixelwise_flow_predictor_params"]
        flow |= {"block_expansion": 8, "max_features": 16, "num_blocks": 2}
    features = PerceptualFeatures((8, 8, 8, 8, 8)) if tiny else PerceptualFeatures()
    network = construct(lfae_config({"model_params": model}, 3))
    objective = StageOneObjective(network, features, ObjectiveConfig(scales=(1, 2, 4))).train()
    side = 64 if tiny else 128
    coarse = torch.rand(2, 3, 2, 8, 8)
    source, driving = torch.nn.functional.interpolate(coarse, (2, side, side), mode="trilinear").unbind(2)
    transform = objective.draw(2, torch.Generator().manual_seed(0))
    return objective, model, source.contiguous(), driving.contiguous(), transform


def published_step(tiny: bool):
    """The published formulation: loss, parameters, optimizer."""
    import torch

    from lfdm_lite.official.autoencoder import to_official
    from tests.parity import plain_loss

    objective, model, source, driving, transform = published_problem(tiny)
    states = to_official(objective.network.state_dict(), objective.network.config)
    parameters = []
    for state in states.values():
        for name, tensor in state.items():
            state[name] = tensor.detach().clone()
            learned = name.endswith((".weight", ".bias")) and not name.startswith("down.weight")
            if learned and "predictor.down.weight" not in name:
                parameters.append(state[name].requires_grad_())
    features = {name: value.detach().clone() for name, value in objective.features.state_dict().items()}
    c = objective.config
    weights = {"perceptual": list(c.perceptual_weights)}
    weights |= {"equivariance_shift": c.shift_weight, "equivariance_affine": c.affine_weight}
    config = {"model_params": model, "train_params": {"scales": [1, 0.5, 0.25], "loss_weights": weights}}
    theta, control = transform.affine, transform.weights[:, None]

    def loss():
        found, _ = plain_loss.loss(states, features, config, source, driving, theta, control, train=True)
        return found["loss.total"]

    return loss, parameters, torch.optim.Adam(parameters, 2e-4, (0.5, 0.999))


def our_step(preset: str, name: str, tiny: bool):
    """The library's step: loss, parameters, optimizer."""
    import torch

    from lfdm_lite.files.variants import construct
    from lfdm_lite.geometry import RandomTransform
    from lfdm_lite.training import PRESETS
    from lfdm_lite.training.stages.stage_one import AutoencoderObjective

    _, precision, order = NAMES[preset][name]
    if preset == "mug128":
        objective, _, source, driving, transform = published_problem(tiny)
        if name.startswith("ours") and precision == "bf16":
            objective.features.in_precision(torch.bfloat16)  # as a run does
        compute: Callable = lambda: objective(source, driving, transform)["loss"]  # noqa: E731
    else:
        run = PRESETS["tiny" if tiny else preset].autoencoder
        torch.manual_seed(0)
        objective = AutoencoderObjective(construct(run.model), run).train()
        count, side = run.optim.batch_size, run.data.size
        coarse = torch.rand(count, 3, 2, 8, 8)
        video = torch.nn.functional.interpolate(coarse, (2, side, side), mode="trilinear")
        source, driving = (255 * video).to(torch.uint8).unbind(2)
        transform = RandomTransform(count, generator=torch.Generator().manual_seed(0))
        batch = {"source": source.contiguous(), "driving": driving.contiguous()}
        batch |= {"affine": transform.affine, "weights": transform.weights}
        compute = lambda: objective(batch)["loss"]  # noqa: E731
    network = objective.network
    if order == "channels last":
        network.to(memory_format=torch.channels_last)
    parameters = list(network.parameters())

    def loss():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return compute()

    return loss, parameters, torch.optim.AdamW(parameters, 2e-4, (0.5, 0.999), weight_decay=0.0, fused=True)


def work(preset: str, name: str, tiny: bool) -> None:
    """One step for each line that comes in; one line of numbers goes out for each."""
    library = NAMES[preset][name][0]
    if name == "published, kept" or (library == "ours" and not name.startswith("before")):
        from lfdm_lite.training.engine.computing import keep_freed_memory

        keep_freed_memory()
    made = published_step(tiny) if library == "published" else our_step(preset, name, tiny)
    loss, parameters, optimizer = made
    before = status("VmRSS")
    for _ in sys.stdin:
        times = [time.process_time()]
        value = loss()
        times.append(time.process_time())
        value.backward()
        times.append(time.process_time())
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.process_time())
        found = {part: b - a for part, a, b in zip(PARTS, times[:-1], times[1:], strict=True)}
        found |= {"loss": value.item(), "memory": status("VmHWM") - before}
        print(json.dumps(found), flush=True)


def status(name: str) -> float:
    """A line of /proc/self/status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 2**10


# ---------------------------------------------------------------- in turn


def alternate(options: argparse.Namespace, names: list[str]) -> dict[str, list[dict]]:
    """What each formulation found in each of its steps, the two first left out."""
    workers = {}
    for name in names:
        root = options.before if name.startswith("before") else ROOT
        environment = {"OMP_NUM_THREADS": "1"} | os.environ | {"PYTHONPATH": f"{Path(root).resolve()}"}
        command = [sys.executable, __file__, "--preset", options.preset, "--work", name, *["--tiny"] * options.tiny]
        pipe = subprocess.PIPE
        workers[name] = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
    runs: dict[str, list[dict]] = {name: [] for name in names}
    for repeat in range(options.repeats + 2):
        for name, worker in workers.items():
            print("step", file=worker.stdin, flush=True)
            line = worker.stdout.readline()
            if not line:
                raise SystemExit(f"{name}: its process has ended, see above")
            runs[name].append(json.loads(line))
            took = sum(runs[name][-1][part] for part in PARTS)
            print(f"{name}, step {repeat}: {took:.3f} s", file=sys.stderr, flush=True)
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    check_losses(options.preset, runs)
    return {name: found[2:] for name, found in runs.items()}


def check_losses(preset: str, runs: dict[str, list[dict]]) -> None:
    """Before the first step all must have the same loss: else they are not the same function."""
    base = next(iter(runs.values()))[0]["loss"]
    for name, found in runs.items():
        far = abs(found[0]["loss"] - base) / abs(base)
        if not far <= TOLERANCE[NAMES[preset][name][1]]:
            raise SystemExit(f"{name}: the loss is {found[0]['loss']:.6g}, not {base:.6g}: not the same function")


def table(runs: dict[str, list[dict]]) -> str:
    """Medians; ratios are of the first row's whole step, the median over rounds."""
    head = "formulation", *PARTS, "step", "times faster", "memory"
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    whole = {name: [sum(step[part] for part in PARTS) for step in found] for name, found in runs.items()}
    base = next(iter(whole.values()))
    for name, found in runs.items():
        cells = [f"{statistics.median(step[part] for step in found):.3g} s" for part in PARTS]
        ratios = [a / b for a, b in zip(base, whole[name], strict=True)]
        ratio = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        cells += [f"{statistics.median(whole[name]):.3g} s", ratio, f"{found[-1]['memory']:,.0f} MiB"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> dict[str, list[dict]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=NAMES, default="mug128")
    parser.add_argument("--before", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        work(options.preset, options.work, options.tiny)
        return {}
    known = [name for name in NAMES[options.preset] if options.before or not name.startswith("before")]
    names = options.only or known
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown here: {', '.join(unknown)}; known: {', '.join(known)} (before: with --before FOLDER)")
    runs = alternate(options, names)
    told = ", tiny: no measurement" if options.tiny else ""
    print(f"{options.preset}{told}; {options.repeats} rounds\n\n{table(runs)}")
    return runs


if __name__ == "__main__":
    main()
