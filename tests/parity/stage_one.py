"""Stage one: the auto-encoder, its helpers, its losses and one step of training."""

import re

import torch
from torch import Tensor

from lfdm_lite.autoencoder import LatentFlowAutoencoder
from lfdm_lite.motion import Motion, gaussian_heatmaps
from lfdm_lite.official import autoencoder as official
from lfdm_lite.official.parts.configs import with_published
from lfdm_lite.official.parts.stage_one import StridedGaussian, corner_grid, round_heatmaps
from lfdm_lite.regions import Regions

from .report import Golden, Report
from .stored import (
    FOLDER,
    answers,
    build,
    deformed,
    positions_of,
    same_sign,
    stored_config,
    stored_network,
    stored_states,
    stored_transform,
    to_motion,
    to_regions,
    whole_matrix,
    without_skips,
)
from .tables import compare_full_size, compare_keys
from .training import compare_losses


def compare(report: Report) -> None:
    """Fills `report` with the comparisons of `lfae_small/` and of the full-size key tables."""
    for part in (
        compare_helpers,
        compare_transform,
        compare_pyramid,
        compare_regions,
        compare_regressed_regions,
        compare_background,
        compare_flow,
        compare_generator,
        compare_whole,
        compare_keys,
        compare_losses,
        compare_full_size,
    ):
        with report.section(f"stage one: {part.__name__}"):
            part(report)


def compare_helpers(report: Report) -> None:
    """Keys: `state.SCALE.weight` and `out.SCALE` of anti-aliased down-sampling, `grid.HxW`, `gauss.out_HxW`, and
    `gauss.out_fixedVARIANCE`."""
    if (golden := report.open(FOLDER + "util_io.safetensors")) is None:
        return
    image = golden.given("in.image")
    for key in golden.keys("out."):
        scale = key.removeprefix("out.")
        shrink = StridedGaussian(image.shape[1], round(1 / float(scale)))
        report.check(f"kernel {scale}", shrink.kernel, golden, f"state.{scale}.weight")
        report.check(key, shrink(image), golden, key)
    for key in golden.keys("grid."):
        h, w = map(int, re.fullmatch(r"grid\.(\d+)x(\d+)", key).groups())
        report.check(key, corner_grid(h, w).movedim(0, -1), golden, key)
    centre, covariance = golden.given("gauss.center"), golden.given("gauss.covar")
    regions = Regions(centre, covariance, covariance, covariance[..., :1, :1])
    for key in golden.keys("gauss.out_"):
        size = golden.values[key].shape[-2:]
        if (fixed := re.fullmatch(r"gauss\.out_fixed([\d.]+)", key)) is not None:
            ours = round_heatmaps(regions, *size, variance=float(fixed[1]))
        else:
            ours = gaussian_heatmaps(regions, *size, spread=0.0, grid_of=corner_grid)
        report.check(key, ours, golden, key)


def compare_transform(report: Report) -> None:
    if (transform := stored_transform(report)) is None:
        return
    golden = report.open(FOLDER + "transform_io.safetensors")
    points = golden.given("in.coords")
    report.check("warped_coords", transform(points), golden, "out.warped_coords")
    report.check("jacobian", transform.jacobian(points), golden, "out.jacobian")
    report.check("frame", transform.frames(golden.given("in.frame")), golden, "out.frame")


def compare_pyramid(report: Report) -> None:
    if (golden := report.open(FOLDER + "pyramid_io.safetensors")) is None:
        return
    image = golden.given("in")
    for key in golden.keys("prediction_"):
        factor = round(1 / float(key.removeprefix("prediction_")))
        ours = image if factor == 1 else StridedGaussian(image.shape[1], factor)(image)
        report.check(key, ours, golden, key)


def check_regions(report: Report, ours: Regions, golden: Golden, prefix: str) -> None:
    """Every stored field: u and d are the frames' directions and lengths, one row per region of the batch.

    A principal axis has no direction: affine and u agree up to one sign per region, that of the closest.
    """
    fields = {"shift": ours.shift, "covar": ours.covariance, "heatmap": ours.heatmap, "affine": ours.affine}
    lengths = ours.affine.norm(dim=-2)
    fields["d"] = torch.diag_embed(lengths).flatten(0, 1)
    fields["u"] = (ours.affine / lengths[..., None, :]).flatten(0, 1)
    for key in golden.keys(f"{prefix}."):
        name = key.removeprefix(f"{prefix}.")
        value = fields[name]
        if name in ("affine", "u"):
            value = same_sign(value, golden.values[key])
        report.check(key, value, golden, key)


def compare_regions(report: Report) -> None:
    """Files are named after the padding; `in.image_SUFFIX` belongs to `out_SUFFIX`, and `mid` to `out`."""
    for name in report.glob(FOLDER + "region_predictor_pad*_io.safetensors"):
        padding = int(re.search(r"pad(\d+)", name)[1])
        golden, network = report.open(name), stored_network(report, region_padding=padding)
        if network is None:
            return
        kept = answers(network.regions, "down", "hourglass", "to_logits")
        for key in sorted(golden.keys("in.image"), reverse=True):  # plain `in.image` last, whose answers are kept
            regions = network.regions(golden.given(key))
            check_regions(report, regions, golden, key.replace("in.image", "out"))
        names = {"mid.down": "down", "mid.feature_map": "hourglass", "mid.logits": "to_logits"}
        for key in golden.keys("mid."):
            report.check(key, kept[names[key]], golden, key)


def compare_regressed_regions(report: Report) -> None:
    """The file holds the whole region predictor; the other networks are those of the folder."""
    golden = report.open(FOLDER + "region_predictor_regression.safetensors")
    config, states = stored_config(report), stored_states(report)
    if golden is None or config is None or states is None:
        return
    network = build(
        with_published(official.lfae_config(config), frames="regressed"),
        states | {"region_predictor": golden.state("state.")},
    )
    for key, value in zip(
        ("shift", "covar", "affine", "heatmap"), network.regions(golden.given("in.image")), strict=True
    ):
        report.check(key, value, golden, f"out.{key}")


def compare_background(report: Report) -> None:
    """`out.KIND`: of the folder's network, with `state.KIND.fc` where the file has one. Ours leave out a last row
    that is 0, 0, 1."""
    golden = report.open(FOLDER + "bg_predictor_io.safetensors")
    config, states = stored_config(report), stored_states(report)
    if golden is None or config is None or states is None:
        return
    source, driving = golden.given("in.source"), golden.given("in.driving")
    for key in golden.keys("out."):
        kind = key.removeprefix("out.")
        states_of_kind = states | {"bg_predictor": states["bg_predictor"] | golden.state(f"state.{kind}.")}
        network = build(with_published(official.lfae_config(config), background=kind), states_of_kind)
        report.check(key, whole_matrix(network.background(source, driving)), golden, key)


def compare_flow(report: Report) -> None:
    """`out`: with the given background; `out_nobg`: with one at rest; `out_norevert`: without choosing signs."""
    golden = report.open(FOLDER + "pixelwise_flow_io.safetensors")
    if golden is None or (network := stored_network(report)) is None:
        return
    flow, image = network.flow, golden.given("in.source")
    source, driving = to_regions(golden, "in.source_region"), to_regions(golden, "in.driving")
    background = golden.given("in.bg_params")[:, :2]
    rest = torch.eye(2, 3).expand_as(background)
    size = tuple(golden.values["out.optical_flow"].shape[1:3])
    seen: dict[str, Tensor] = {}
    flow.hourglass.register_forward_pre_hook(lambda module, given: seen.__setitem__("hourglass", given[0]))

    check_motion(report, flow(image, source, driving, background, size), golden, "out")
    bumps, red, green, blue = seen["hourglass"].unflatten(1, (4, -1)).unbind(1)  # each (b, k + 1, h, w)
    report.check("mid.down", flow.shrink(image, size), golden, "mid.down")
    report.check("mid.heatmap", bumps[:, :, None], golden, "mid.heatmap")
    motions = flow.motions(source, driving, background, *size)
    report.check("mid.sparse_motion", motions.movedim(2, -1), golden, "mid.sparse_motion")
    report.check("mid.deformed_source", torch.stack([red, green, blue], dim=2), golden, "mid.deformed_source")

    check_motion(report, flow(image, source, driving, rest, size), golden, "out_nobg")
    flow = stored_network(report, axis_sign="none").flow
    check_motion(report, flow(image, source, driving, background, size), golden, "out_norevert")


def check_motion(report: Report, motion: Motion, golden: Golden, prefix: str) -> None:
    report.check(f"{prefix}.optical_flow", positions_of(motion), golden, f"{prefix}.optical_flow")
    report.check(f"{prefix}.occlusion_map", motion.occlusion, golden, f"{prefix}.occlusion_map")


def compare_generator(report: Report) -> None:
    """Encoder, and decoder of a given motion; `out.forward` is the whole network on the pair of `flowae_io`."""
    golden = report.open(FOLDER + "generator_io.safetensors")
    if golden is None or (network := stored_network(report)) is None:
        return
    source = golden.given("in.source")
    motion = to_motion(golden.given("in.optical_flow"), golden.given("in.occlusion_map"))
    report.check("compute_fea", network.encode(source), golden, "out.compute_fea")
    report.check("with_flow.prediction", network.decode(source, motion), golden, "out.with_flow.prediction")
    report.check("with_flow.deformed", deformed(network, source, motion), golden, "out.with_flow.deformed")
    if (pair := report.open(FOLDER + "flowae_io.safetensors")) is not None:
        check_whole(report, network, pair, golden, "out.forward")
    if (golden := report.open(FOLDER + "generator_noskips_io.safetensors")) is not None:
        painted = without_skips(report).decode(source, motion)
        report.check("with_flow.prediction", painted, golden, "out.with_flow.prediction")


def check_whole(report: Report, network: LatentFlowAutoencoder, pair: Golden, golden: Golden, prefix: str) -> None:
    """Everything but the regions; what is called the bottleneck's feature is z0, neither warped nor masked."""
    source, driving = pair.given("in.ref_img"), pair.given("in.dri_img")
    painted, motion = network(source, driving)
    check_motion(report, motion, golden, prefix)
    report.check(f"{prefix}.bottle_neck_feat", network.encode(source), golden, f"{prefix}.bottle_neck_feat")
    report.check(f"{prefix}.deformed", deformed(network, source, motion), golden, f"{prefix}.deformed")
    report.check(f"{prefix}.prediction", painted, golden, f"{prefix}.prediction")


def compare_whole(report: Report) -> None:
    golden = report.open(FOLDER + "flowae_io.safetensors")
    if golden is None or (network := stored_network(report)) is None:
        return
    check_whole(report, network, golden, golden, "out")
    check_regions(report, network.regions(golden.given("in.ref_img")), golden, "out.source_region_params")
    check_regions(report, network.regions(golden.given("in.dri_img")), golden, "out.driving_region_params")
