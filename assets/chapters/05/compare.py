"""What stage one owes to each of its parts: small networks of 32 pixels, one change each, three seeds.

    nice python assets/chapters/05/compare.py

trains what is not yet in `comparison.json` beside this file, run by run, and can be stopped at any time. It takes about
ten minutes of one processor's time. The perceptual loss and LPIPS read the archive that `lfdm data lpips` fetches.
True flow, true visibility, the parts of faces and the network of LPIPS (an AlexNet) take part in measuring alone.
"""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lfdm_lite as lfdm
from lfdm_lite.evaluation.lpips import average_where, load_lpips
from lfdm_lite.evaluation.metrics import occlusion_auc, psnr
from lfdm_lite.evaluation.parts import places
from lfdm_lite.evaluation.perceptual import load_vgg16
from lfdm_lite.evaluation.truth import motion_figures, motion_scores
from lfdm_lite.geometry import resize, sample_at
from lfdm_lite.losses import perceptual_loss
from lfdm_lite.motion import Motion
from lfdm_lite.training.configs import AutoencoderRun, DataConfig, LoopConfig
from lfdm_lite.training.stages.stage_one import AutoencoderObjective, draw_pair

HERE = Path(__file__).parent
STEPS, BATCH, SEEDS, CLIPS, HELD = 240, 4, (0, 1, 2), 120, 16
LOOKED_AT = slice(1, 8, 3)  # frames that LPIPS sees, of the first CLOSE clips
CLOSE = 6
SHOWN = (1, 4, 7, 10)  # held clips whose frame 5 is kept
SMALL = lfdm.LFAEConfig(
    num_regions=6, width=12, latent_channels=24, num_down=2, motion_stride=2, num_residual=1, region_width=12,
    region_depth=3, region_max_width=48, region_downscale=2, flow_width=12, flow_depth=2, flow_max_width=48,
    background_width=8, background_depth=3,
)  # fmt: skip
PERCEPTUAL = {"perceptual_weight": 0.035, "features": "vgg16", "depths": 3, "scales": 1}
FREE = {"shift_weight": 0.0, "affine_weight": 0.0}
RUNS = {  # by what they change of the first
    "plain": {},
    "no motion": {"visibility_weight": 0.0} | FREE,
    "second look": {"model": {"refine_width": 12}},
    "stillness": {"stillness_weight": 1.0},
    "perceptual": PERCEPTUAL,
    "no equivariance": FREE,
    "hot": {"model": {"temperature": 10.0}},
    "hot, no equivariance": {"model": {"temperature": 10.0}} | FREE,
    "no visibility": {"visibility_weight": 0.0},
    "coarse motion": {"model": {"motion_stride": 4}},
}


class Motionless(lfdm.LatentFlowAutoencoder):
    """Its flow is 0 and its map is 1, whatever it sees."""

    def estimate_motion(self, source, driving, of_driving=None):
        size = [side // self.config.flow_stride for side in source.shape[-2:]]
        blank = torch.zeros(len(source), 2, *driving.shape[2:-2], *size)
        return Motion(blank, torch.ones_like(blank[:, :1]))


def drawn(split: str, count: int) -> dict[str, Tensor]:
    clips = lfdm.data.Faces(split, size=32, num_frames=8, length=count)
    items = [clips[i] for i in range(count)]
    found = {key: torch.stack([item[key].float() for item in items]) for key in ("video", "flow", "visible")}
    if split == "val":
        found["part"] = torch.stack([torch.as_tensor(clips.part_map(i)) for i in range(count)])
    return found


def train(name: str, seed: int, video: Tensor) -> lfdm.LatentFlowAutoencoder:
    change = dict(RUNS[name])
    model = replace(SMALL, **change.pop("model", {}))
    config = AutoencoderRun(model, DataConfig(size=32, num_frames=8), loop=LoopConfig(precision="no"), **change)
    torch.manual_seed(seed)
    network = (Motionless if name == "no motion" else lfdm.LatentFlowAutoencoder)(model)
    network.to(memory_format=torch.channels_last)
    objective = AutoencoderObjective(network, config)
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.99), fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, STEPS, pct_start=0.1)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        which = torch.randint(len(video), (BATCH,), generator=generator)
        pairs = [draw_pair({"video": video[i]}, generator, config.from_rest) for i in which]
        loss = objective({key: torch.stack([pair[key] for pair in pairs]) for key in pairs[0]})["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step(), rate.step()
    return network.eval()


def eyes_and_mouth(painted: Tensor, held: dict[str, Tensor], lpips) -> float:
    """LPIPS over eyes and mouths of three frames of a few clips."""
    ours, true = (frames[:CLOSE, :, LOOKED_AT].transpose(1, 2).flatten(0, 1) for frames in (painted, held["video"]))
    if "seen" not in held:
        held["seen"] = lpips.features(true)
    place = places(held["part"], held["visible"])["eyes_mouth"][:CLOSE, :, LOOKED_AT].transpose(1, 2).flatten(0, 1)
    above, below = average_where(lpips.between(lpips.features(ours), held["seen"]), place)
    return (above.sum() / below.sum()).item()


def grades(painted: Tensor, motion: Motion, held: dict[str, Tensor], lpips) -> dict[str, float]:
    """Of frames 1 to 7 of the held clips."""
    video, flow, size = held["video"], held["flow"], held["video"].shape[-1]
    of_flow = motion_figures(
        motion_scores(resize(motion.flow, size), flow, held["visible"]), motion_scores(flow, flow, held["visible"])
    )
    return {
        "PSNR": psnr(painted[:, :, 1:], video[:, :, 1:]).mean().item(),
        "flow error": of_flow["end_point_error_share"].value,
        "still": of_flow["still_flow"].value,
        "LPIPS": eyes_and_mouth(painted, held, lpips),
        "AUC": occlusion_auc(resize(motion.occlusion, size)[:, :, 1:], held["visible"][:, :, 1:]),
    }


def of_regions(network, held: dict[str, Tensor]) -> dict[str, float]:
    """How far apart regions are, and how far from where the thing under them came from, in pixels."""
    video, flow = held["video"], held["flow"]
    first, size = network.regions(video[:, :, 0]), video.shape[-1]
    off = []
    for k in range(1, video.shape[2]):
        here = network.regions(video[:, :, k]).shift
        came_from = here + sample_at(flow[:, :, k], here.mT[..., None])[..., 0].mT
        off.append(size / 2 * (came_from - first.shift).norm(dim=-1).mean())
    distance = torch.cdist(first.shift, first.shift) * size / 2
    pairs = torch.triu_indices(distance.shape[1], distance.shape[1], 1)
    return {"apart": distance[:, *pairs].mean().item(), "follow": torch.stack(off).mean().item()}


def maps_and_regions(network, video: Tensor) -> dict[str, np.ndarray]:
    motion, regions = network.estimate_motion(video[:, :, 0], video[:, :, 5]), network.regions(video[:, :, 5])
    return {
        "occlusion": (255 * motion.occlusion).round().byte().numpy(),
        "shift": regions.shift.half().numpy(),
        "affine": regions.affine.half().numpy(),
    }


@torch.no_grad()
def wrong_pictures() -> dict[str, float]:
    """What the perceptual loss says of three wrong copies of the chapter's driving frame."""
    right = lfdm.data.Faces("val", size=64, num_frames=16)[13]["video"][None, :, 13]
    bump = torch.exp(-(torch.arange(-9, 10) ** 2) / (2 * 1.5**2))
    kernel = (torch.outer(bump, bump) / bump.sum() ** 2).expand(3, 1, 19, 19)
    blurred = F.conv2d(F.pad(right, (9,) * 4, mode="replicate"), kernel, groups=3)
    wrong = {"tinted": right + (blurred - right).abs().mean(), "blurred": blurred, "slid by a pixel": right.roll(1, -1)}
    features = load_vgg16().keep(3)
    same_size, weights = [nn.Identity()], (1.0,) * 3
    return {name: perceptual_loss(features, one, right, same_size, weights).item() for name, one in wrong.items()}


@torch.no_grad()
def measured(network, held: dict[str, Tensor], lpips) -> dict[str, float]:
    motion = network.estimate_motion(held["video"][:, :, 0], held["video"])
    painted = network.decode(held["video"][:, :, 0], motion)
    return grades(painted, motion, held, lpips) | of_regions(network, held)


def main() -> None:
    torch.set_num_threads(1)
    record, kept_in = HERE / "comparison.json", HERE / "comparison.npz"
    found = json.loads(record.read_text()) if record.exists() else {"seeds": {}}
    found |= {"recipe": "assets/chapters/05/compare.py", "torch": torch.__version__, "steps": STEPS, "runs": RUNS}
    found["wrong pictures"] = wrong_pictures()
    kept = dict(np.load(kept_in)) if kept_in.exists() else {}
    held, lpips, video = drawn("val", HELD), load_lpips(), None
    still = torch.zeros(HELD, 2, *held["video"].shape[2:])
    copied = held["video"][:, :, :1].expand_as(held["video"])
    with torch.no_grad():
        found["copy"] = grades(copied, Motion(still, torch.ones_like(still[:, :1])), held, lpips)
    for first, after in ((0, 5), (5, 9), (9, 10)):  # all seeds of a few runs, then of the next few
        for seed, name in product(SEEDS, list(RUNS)[first:after]):
            if str(seed) in found["seeds"].get(name, {}):
                continue
            video = drawn("train", CLIPS)["video"].mul(255).round().byte() if video is None else video
            network = train(name, seed, video)
            found["seeds"].setdefault(name, {})[str(seed)] = measured(network, held, lpips)
            print(seed, name, {k: round(v, 3) for k, v in found["seeds"][name][str(seed)].items()}, flush=True)
            if seed == 0:
                with torch.no_grad():
                    shown = maps_and_regions(network, held["video"][list(SHOWN)])
                kept |= {f"{name}/{key}": value for key, value in shown.items()}
                np.savez_compressed(kept_in, **kept)
            record.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
