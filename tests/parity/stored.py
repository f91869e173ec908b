"""What `lfae_small/` holds, as our objects: the authors' network, transform and loss."""

import torch
from torch import Tensor, nn

from lfdm_lite.autoencoder import LatentFlowAutoencoder, LFAEConfig
from lfdm_lite.evaluation.perceptual import PerceptualFeatures
from lfdm_lite.files.variants import construct
from lfdm_lite.geometry import identity_grid
from lfdm_lite.motion import Motion
from lfdm_lite.official import autoencoder as official
from lfdm_lite.official.files import AUTOENCODER_PARTS
from lfdm_lite.official.objective import StageOneObjective, objective_config
from lfdm_lite.official.parts.configs import with_published
from lfdm_lite.official.parts.stage_one import TaxicabTransform
from lfdm_lite.regions import Regions

from .report import Golden, Report

FOLDER = "lfae_small/"


def stored_config(report: Report) -> dict | None:
    """The authors' config, as a whole."""
    golden = report.open(FOLDER + "config.json")
    return None if golden is None else golden.state()


def stored_states(report: Report) -> dict[str, dict[str, Tensor]] | None:
    """The authors' three state dicts."""
    files = {part: report.open(f"{FOLDER}state_{part}.safetensors") for part in AUTOENCODER_PARTS}
    return None if None in files.values() else {part: file.state() for part, file in files.items()}


def build(config: LFAEConfig, states: dict[str, dict[str, Tensor]]) -> LatentFlowAutoencoder:
    network = construct(config).eval()
    network.load_state_dict(official.from_official(states, config), strict=True)
    return network


def stored_network(report: Report, **changes) -> LatentFlowAutoencoder | None:
    """The folder's network, with published fields of its config changed; None where the folder lacks it."""
    config, states = stored_config(report), stored_states(report)
    if config is None or states is None:
        return None
    return build(with_published(official.lfae_config(config), **changes), states)


def without_skips(report: Report) -> LatentFlowAutoencoder | None:
    """The same weights in the network that their config with `skips: false` describes."""
    config, states = stored_config(report), stored_states(report)
    if config is None or states is None:
        return None
    model = config["model_params"]
    generator = model["generator_params"] | {"skips": False}
    return build(official.lfae_config({"model_params": model | {"generator_params": generator}}), states)


def stored_transform(report: Report) -> TaxicabTransform | None:
    """The random transform, with the numbers that were drawn."""
    if (golden := report.open(FOLDER + "transform_io.safetensors")) is None:
        return None
    affine, weights = golden.given("in.theta"), golden.given("in.control_params").squeeze(1)
    transform = TaxicabTransform(len(affine), points=round(weights.shape[1] ** 0.5))
    transform.affine, transform.weights = affine, weights
    return transform


def stored_objective(report: Report) -> StageOneObjective | None:
    """The folder's network, its stand-in for VGG-19 and the weights of its config."""
    names = report.glob(FOLDER + "vgg_div*_state.safetensors")
    network = stored_network(report)
    if not names or network is None:
        return None
    state = report.open(names[0]).state()
    first_of_resolution = [len(state[f"slice{n}.{i}.weight"]) for n, i in ((1, 0), (2, 5), (3, 10), (4, 19), (5, 28))]
    perceptual = PerceptualFeatures(first_of_resolution)
    perceptual.load_state_dict(state)
    return StageOneObjective(network, perceptual, objective_config(stored_config(report)))


# Between their layouts and ours: they keep absolute positions, channels last


def to_motion(positions: Tensor, occlusion: Tensor) -> Motion:
    grid = positions.movedim(-1, 1)
    return Motion(grid - identity_grid(*grid.shape[-2:]), occlusion)


def positions_of(motion: Motion) -> Tensor:
    return (motion.flow + identity_grid(*motion.flow.shape[-2:])).movedim(1, -1)


def to_regions(golden: Golden, prefix: str) -> Regions:
    """Regions as the flow predictor sees them: it looks at no heat map."""
    shift, covariance, affine = (golden.given(f"{prefix}.{field}") for field in ("shift", "covar", "affine"))
    return Regions(shift, covariance, affine, torch.zeros(*shift.shape[:2], 1, 1))


def whole_matrix(matrix: Tensor) -> Tensor:
    """3x3, also where the last row is always 0, 0, 1."""
    last = torch.tensor([0.0, 0.0, 1.0]).expand(len(matrix), 1, 3)
    return matrix if matrix.shape[1] == 3 else torch.cat([matrix, last], dim=1)


def deformed(network: LatentFlowAutoencoder, source: Tensor, motion: Motion) -> Tensor:
    """The source image warped and not masked: as it is blended in, with everything visible."""
    visible = Motion(motion.flow, torch.ones_like(motion.occlusion))
    return network.fetch(source, visible)


def answers(network: nn.Module, *names: str) -> dict[str, Tensor]:
    """Filled by the next run of the network: what the submodules of these names answer, the last time they run."""
    kept: dict[str, Tensor] = {}
    for name in names:
        module = network.get_submodule(name)
        module.register_forward_hook(lambda module, given, answer, name=name: kept.__setitem__(name, answer))
    return kept


def official_tensors(network: LatentFlowAutoencoder, gradients: bool = False) -> dict[str, Tensor]:
    """Parameters and buffers, or the parameters' gradients, under the authors' names."""
    tensors = {name: value.grad for name, value in network.named_parameters()} if gradients else network.state_dict()
    return official.tensors_to_official(tensors, network.config)


def same_sign(ours: Tensor, theirs: Tensor) -> Tensor:
    """2x2 frames of ours, each with the sign that brings it closer to theirs: a principal axis has no direction."""
    agree = (ours * theirs).sum((-1, -2), keepdim=True)
    return torch.where(agree < 0, -ours, ours)
