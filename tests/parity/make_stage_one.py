"""`lfae_small/` of a made folder: inputs, weights, and what `plain` computes from them in float64."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lfdm_lite.evaluation.perceptual import PerceptualFeatures
from lfdm_lite.files.variants import construct
from lfdm_lite.official import autoencoder as official

from . import plain, plain_loss
from .drawn import Folder, draw_images, draw_normal, draw_weights, exact, is_learned, rounded

HERE = "lfae_small/"
SHIPPED = Path(__file__).parent / "data"
BATCH, HEIGHT, WIDTH, POINTS = 3, 48, 64, 4
LEARNING_RATE = 2e-4  # of stage one, which no file says
AFTER_ADAM = ("bg_predictor.fc.weight", "generator.final.weight", "region_predictor.regions.weight")
CONFIG = {
    "model_params": {
        "num_regions": 5,
        "num_channels": 3,
        "estimate_affine": True,
        "revert_axis_swap": True,
        "bg_predictor_params": {"block_expansion": 5, "max_features": 18, "num_blocks": 2, "bg_type": "affine"},
        "region_predictor_params": {
            "temperature": 0.25,
            "block_expansion": 6,
            "max_features": 20,
            "scale_factor": 0.5,
            "num_blocks": 2,
            "pca_based": True,
            "fast_svd": False,
        },
        "generator_params": {
            "block_expansion": 6,
            "max_features": 10,
            "num_down_blocks": 1,
            "num_bottleneck_blocks": 3,
            "skips": True,
            "pixelwise_flow_predictor_params": {
                "block_expansion": 7,
                "max_features": 26,
                "num_blocks": 2,
                "scale_factor": 0.5,
                "use_deformed_source": True,
                "use_covar_heatmap": True,
                "estimate_occlusion_map": True,
            },
        },
    },
    "train_params": {
        "scales": [1, 0.3333333333333333],
        "transform_params": {"sigma_affine": 0.08, "sigma_tps": 0.01, "points_tps": POINTS},
        "loss_weights": {"perceptual": [3, 5, 7, 9, 11], "equivariance_shift": 4, "equivariance_affine": 6},
    },
}
MODEL = CONFIG["model_params"]
REGIONS, GENERATOR = MODEL["region_predictor_params"], MODEL["generator_params"]
FLOW = GENERATOR["pixelwise_flow_predictor_params"]
VGG_WIDTHS, VGG_DIVISOR = (3, 4, 5, 6, 6), 20
FIELDS = ("shift", "covar", "heatmap", "affine", "u", "d")
States = Mapping[str, Mapping[str, Tensor]]


def make(folder: Folder) -> States:
    """Writes the files; returns the three state dicts."""
    states = draw_states(folder)
    folder.json(HERE + "config", CONFIG)
    for part, state in states.items():
        folder.tensors(f"{HERE}state_{part}", state)
    source, driving = draw_images(2, BATCH, 3, HEIGHT, WIDTH, generator=folder.generator("images"))
    with plain.float64():
        with torch.no_grad():
            make_regions(folder, states, source, driving)
            make_background(folder, states, source, driving)
            make_flow(folder, states, source, driving)
            make_generator(folder, states, source, driving)
            make_helpers(folder)
        make_losses(folder, states, source, driving, make_transform(folder, driving))
    make_keys(folder, states)
    return states


def draw_states(folder: Folder) -> dict[str, dict[str, Tensor]]:
    """Random weights under the authors' names; kernels are of `plain`'s formula. The background hardly moves."""
    config = official.lfae_config(CONFIG)
    shapes = official.to_official(construct(config).state_dict(), config)
    states = {part: draw_weights(state, folder.generator(part)) for part, state in shapes.items()}
    states["region_predictor"]["down.weight"] = plain.kernel(round(1 / REGIONS["scale_factor"]))
    states["generator"]["pixelwise_flow_predictor.down.weight"] = plain.kernel(round(1 / FLOW["scale_factor"]))
    states["bg_predictor"] |= at_rest([1.0, 0, 0, 0, 1, 0], states["bg_predictor"]["fc.weight"], folder, "fc")
    return states


def at_rest(rest: list[float], like: Tensor, folder: Folder, purpose: str) -> dict[str, Tensor]:
    """A last layer of the background predictor that answers something near `rest`."""
    generator = folder.generator(purpose)
    weight = 0.05 * draw_normal(generator, len(rest), like.shape[1])
    bias = torch.tensor(rest) + 0.05 * draw_normal(generator, len(rest))
    return {"fc.weight": weight.float(), "fc.bias": bias.float()}


def fields(found: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": found[name] for name in FIELDS if name in found}


def make_regions(folder: Folder, states: States, source: Tensor, driving: Tensor) -> None:
    state = exact(states["region_predictor"])
    of_source, of_driving = (plain.regions(state, image, REGIONS, padding=2) for image in (source, driving))
    values = {"in.image": source, "in.image_driving": driving}
    values |= {f"mid.{name}": of_source[name] for name in ("down", "feature_map", "logits")}
    values |= fields(of_source, "out") | fields(of_driving, "out_driving")
    folder.tensors(HERE + "region_predictor_pad2_io", values)
    small = plain.regions(state, driving, REGIONS, padding=1)
    folder.tensors(HERE + "region_predictor_pad1_io", {"in.image": driving} | fields(small, "out"))

    features = states["region_predictor"]["regions.weight"].shape[1]
    jacobian = {"jacobian.weight": torch.empty(4, features, 7, 7), "jacobian.bias": torch.empty(4)}
    regressed = draw_weights(states["region_predictor"] | jacobian, folder.generator("regressed"))
    found = plain.regions(exact(regressed), source, REGIONS)
    values = {"in.image": source} | fields(found, "out") | {f"state.{key}": value for key, value in regressed.items()}
    folder.tensors(HERE + "region_predictor_regression", values)


def make_background(folder: Folder, states: States, source: Tensor, driving: Tensor) -> None:
    state = states["bg_predictor"]
    values = {"in.source": source, "in.driving": driving}
    values["out.affine"] = plain.background(exact(state), source, driving)
    for kind, rest in (("shift", [0.0, 0]), ("perspective", [1.0, 0, 0, 0, 1, 0, 0, 0])):
        layer = at_rest(rest, state["fc.weight"], folder, kind)
        values |= {f"state.{kind}.{key}": value for key, value in layer.items()}
        values[f"out.{kind}"] = plain.background(exact({**state, **layer}), source, driving, kind)
    folder.tensors(HERE + "bg_predictor_io", values)


def make_flow(folder: Folder, states: States, source: Tensor, driving: Tensor) -> None:
    """The regions that are given are those of the pair, rounded as they are stored."""
    state = exact(plain.below(states["generator"], "pixelwise_flow_predictor"))
    given = {}
    for name, image in (("driving", driving), ("source_region", source)):
        found = plain.regions(exact(states["region_predictor"]), image, REGIONS)
        given |= {f"in.{name}.{field}": found[field].float() for field in ("shift", "covar", "affine")}
    bg = plain.background(exact(states["bg_predictor"]), source, driving).float()
    of_source, of_driving = (exact(plain.below(given, f"in.{name}")) for name in ("source_region", "driving"))

    def run(bg: Tensor | None, revert: bool = True) -> dict[str, Tensor]:
        bg = None if bg is None else bg.double()
        return plain.pixelwise_flow(state, source, of_source, of_driving, bg, FLOW, revert)

    found, values = run(bg), given | {"in.source": source, "in.bg_params": bg}
    values |= {f"mid.{name}": found[name] for name in ("down", "heatmap", "sparse_motion", "deformed_source")}
    for prefix, motion in (("out", found), ("out_nobg", run(None)), ("out_norevert", run(bg, revert=False))):
        values |= {f"{prefix}.{name}": motion[name] for name in ("optical_flow", "occlusion_map")}
    folder.tensors(HERE + "pixelwise_flow_io", values)


def make_generator(folder: Folder, states: States, source: Tensor, driving: Tensor) -> None:
    networks = {part: exact(state) for part, state in states.items()}
    generator, pair = networks["generator"], plain.whole(networks, MODEL, source, driving)
    outputs = {key: value for key, value in pair.items() if not isinstance(value, dict)}
    inputs = {"in.ref_img": source, "in.dri_img": driving}
    regions = fields(pair["source_region_params"], "out.source_region_params")
    regions |= fields(pair["driving_region_params"], "out.driving_region_params")
    folder.tensors(HERE + "flowae_io", inputs | regions | {f"out.{key}": value for key, value in outputs.items()})

    drawn, (h, w) = folder.generator("motion"), pair["optical_flow"].shape[1:3]
    positions = rounded(2.2 * torch.rand(BATCH, h, w, 2, generator=drawn) - 1.1)
    occlusion = rounded(torch.rand(BATCH, 1, h, w, generator=drawn))
    features = plain.encode(generator, source)
    values = {"in.source": source, "in.optical_flow": positions, "in.occlusion_map": occlusion}
    values |= {"out.compute_fea": features[-1], "out.with_flow.deformed": plain.look_up(source, positions)}
    painted = [plain.decode(generator, source, features, positions, occlusion, skips) for skips in (True, False)]
    values["out.with_flow.prediction"] = painted[0]
    folder.tensors(HERE + "generator_io", values | {f"out.forward.{key}": value for key, value in outputs.items()})
    folder.tensors(HERE + "generator_noskips_io", {"out.with_flow.prediction": painted[1]})


def make_helpers(folder: Folder) -> None:
    generator = folder.generator("helpers")
    image = draw_images(2, 3, 40, 56, generator=generator)
    values: dict[str, Tensor] = {"in.image": image, "grid.3x9": plain.corners(3, 9)}
    for factor in (2, 3, 5):
        scale = f"{1 / factor:.6g}"
        values |= {f"state.{scale}.weight": plain.kernel(factor), f"out.{scale}": plain.shrink(image, factor)}
    centre = rounded(1.6 * torch.rand(2, 6, 2, generator=generator) - 0.8)
    root = 0.2 * draw_normal(generator, 2, 6, 2, 2)
    covariance = rounded(root @ root.mT + 0.02 * torch.eye(2))
    found = {"shift": centre, "covar": covariance}
    values |= {"gauss.center": centre, "gauss.covar": covariance, "gauss.out_12x20": plain.bumps(found, 12, 20)}
    values["gauss.out_fixed0.03"] = plain.bumps(found, 9, 11, variance=0.03)
    folder.tensors(HERE + "util_io", values)
    pyramid = {f"prediction_{1 / factor:.6g}": plain.shrink(image, factor) for factor in (1, 2, 5, 8)}
    folder.tensors(HERE + "pyramid_io", {"in": image} | pyramid)


def make_transform(folder: Folder, frame: Tensor) -> tuple[Tensor, Tensor]:
    generator, sizes = folder.generator("transform"), CONFIG["train_params"]["transform_params"]
    theta = rounded(torch.eye(2, 3) + sizes["sigma_affine"] * draw_normal(generator, BATCH, 2, 3))
    control = rounded(sizes["sigma_tps"] * draw_normal(generator, BATCH, 1, POINTS**2))
    points = rounded(2 * torch.rand(BATCH, 11, 2, generator=generator) - 1)
    values = {"in.theta": theta, "in.control_params": control, "in.coords": points, "in.frame": frame}
    values["out.warped_coords"] = plain_loss.move(theta, control, points)
    values["out.jacobian"] = plain_loss.jacobian(theta, control, points)
    values["out.frame"] = plain_loss.deform(theta, control, frame)
    folder.tensors(HERE + "transform_io", values)
    return theta, control


def make_losses(
    folder: Folder, states: States, source: Tensor, driving: Tensor, transform: tuple[Tensor, Tensor]
) -> None:
    shapes = PerceptualFeatures(VGG_WIDTHS).state_dict()
    features = {key: shapes[key] for key in ("mean", "std")} | draw_weights(
        {key: value for key, value in shapes.items() if key not in ("mean", "std")}, folder.generator("vgg")
    )
    folder.tensors(f"{HERE}vgg_div{VGG_DIVISOR}_state", features)
    scalars = {}
    for mode in ("eval", "train"):
        networks = {part: exact(state, learn=True) for part, state in states.items()}
        losses, outputs = plain_loss.loss(
            networks, exact(features), CONFIG, source, driving, *transform, train=mode == "train"
        )
        losses["loss.total"].backward()
        scalars[mode] = {name: value.item() for name, value in losses.items()}
        values = {name: value.reshape(1) for name, value in losses.items()} | outputs
        everything = {f"{part}.{name}": value for part, state in networks.items() for name, value in state.items()}
        learned = {name: value for name, value in everything.items() if is_learned(name)}
        values |= {f"grad.{name}": value.grad for name, value in learned.items()}
        if mode == "train":
            running = {name: value for name, value in everything.items() if "running_" in name}
            values |= {f"buffer_after.{name}": value for name, value in running.items()}
            for name in AFTER_ADAM:  # the first step: all averages are the gradient itself
                gradient = learned[name].grad
                step = LEARNING_RATE * gradient / (gradient.abs() + 1e-8)
                values[f"after_adam.{name}"] = learned[name].detach() - step
        folder.tensors(f"{HERE}reconstruction_loss_{mode}", values)
    folder.json(HERE + "reconstruction_loss", scalars)


def make_keys(folder: Folder, states: States) -> None:
    """Shapes of what was written; the fourth network's are the shipped ones for another number of regions."""
    shapes = {f"{part}.{name}": list(t.shape) for part, state in states.items() for name, t in state.items()}
    folder.json(HERE + "flowae_state_keys", shapes)
    shipped = json.loads((SHIPPED / HERE / "avd_state_keys.json").read_text())
    ours = {name: [6 * MODEL["num_regions"] if side == 24 else side for side in s] for name, s in shipped.items()}
    folder.json(HERE + "avd_state_keys", ours)
