"""Names, shapes, order and counts of the published networks."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from lfdm_lite.autoencoder import LFAEConfig
from lfdm_lite.evaluation.perceptual import PerceptualFeatures
from lfdm_lite.files.variants import construct
from lfdm_lite.official import autoencoder as official
from lfdm_lite.official.files import AUTOENCODER_PARTS, write_states

from .networks import count_parameters, full_size
from .report import Golden, Report
from .stored import FOLDER, stored_network


def compare_keys(report: Report) -> None:
    """Names and shapes of the wrapper around the three networks."""
    if (golden := report.open(FOLDER + "avd_state_keys.json")) is not None:
        golden.state()  # a fourth network for animating other people, which they build and never train: ours has none
    golden = report.open(FOLDER + "flowae_state_keys.json")
    if golden is None or (network := stored_network(report)) is None:
        return
    states = official.to_official(network.state_dict(), network.config)
    ours = {f"{part}.{name}": list(value.shape) for part, state in states.items() for name, value in state.items()}
    for key in golden.keys():
        report.check(key, ours.pop(key, None), golden, key)
    if ours:
        raise ValueError(f"{golden.name} does not know our {', '.join(ours)}")


def compare_full_size(report: Report) -> None:
    """`keys_*`: names, shapes, order and counts of the published checkpoints."""
    tables, config = full_size_tables()
    order = full_size_order(config)
    if (golden := report.open("keys_mug128_lfae.json")) is not None:
        for part in AUTOENCODER_PARTS:
            report.check(f"full-size {part}", tables[part], golden, part)
        optimizer = Golden(f"{golden.name}: optimizer", golden.given("optimizer"))
        report.check("order of parameters", order, optimizer, "index_name_shape")
        report.check("counts of parameters", parameter_counts(order), golden, "param_counts")
        top = Golden(f"{golden.name}: outer", {"names": sorted(golden.expected("outer"))})  # described in words
        report.check("names at the top", sorted(names_at_the_top()), top, "names")
    for name in report.glob("keys_*128_diff_to_mug128.json"):
        for part in AUTOENCODER_PARTS:  # these networks have the same sizes
            none = {"only_mug": [], "only_here": {}, "shape_changed": {}}
            report.check(f"full-size {part}", none, report.open(name), part)
        denoiser = full_size(re.search(r"keys_(\w+?)_diff", name)[1])[0]
        counts = parameter_counts(order) | {"diffusion": count_parameters(denoiser)}
        report.check("counts of parameters", counts, report.open(name), "param_counts")
    if (golden := report.open("keys_vgg19_slices.json")) is not None:
        golden.given("note")
        with torch.device("meta"):
            state = PerceptualFeatures().state_dict()
        ours = {name: [list(t.shape), str(t.dtype).removeprefix("torch.")] for name, t in state.items()}
        report.check("perceptual features", ours, golden, "keys")


def full_size_tables() -> tuple[dict[str, dict[str, list]], LFAEConfig]:
    """Key -> [shape, type] of the published networks, in the authors' order, without memory; and their config."""
    config = official.lfae_config(official.PAPER)
    with torch.device("meta"):
        state = construct(config).state_dict()
    states = official.to_official(state, config)
    return {
        part: {name: [list(t.shape), str(t.dtype).removeprefix("torch.")] for name, t in state.items()}
        for part, state in states.items()
    }, config


def full_size_order(config: LFAEConfig) -> list[list]:
    """[index, name, shape] of every parameter, as their optimizer counts."""
    with torch.device("meta"):
        shapes = {name: list(value.shape) for name, value in construct(config).named_parameters()}
    names = official.official_parameter_order(config)
    return [[i, official.official_name(name), shapes[name]] for i, name in enumerate(names)]


def parameter_counts(order: list[list]) -> dict[str, int]:
    """Numbers that are trained, by network."""
    parts = (*AUTOENCODER_PARTS, "generator.pixelwise_flow_predictor")
    size = {name: torch.Size(shape).numel() for _, name, shape in order}
    return {part: sum(count for name, count in size.items() if name.startswith(f"{part}.")) for part in parts}


def names_at_the_top() -> set[str]:
    """What our files hold, and the optimizer's state, which we leave out."""
    with TemporaryDirectory() as folder:
        write_states(Path(folder) / "empty.pth", dict.fromkeys(AUTOENCODER_PARTS, {}))
        return {*torch.load(Path(folder) / "empty.pth", weights_only=True), "optimizer"}
