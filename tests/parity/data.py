"""Frame sampling and resizing."""

import re

import numpy as np
import torch

from lfdm_lite.data.folders.video_folder import frame_indices
from lfdm_lite.data.paper.films import frame_pair, letterbox

from .report import Golden, Report


def compare(report: Report) -> None:
    """Fills `report` with the comparisons of `data/`."""
    if (golden := report.open("data/frame_sampling.json")) is not None:
        with report.section("frame sampling"):
            compare_sampling(report, golden)
    if (golden := report.open("data/resize_inter_area.safetensors")) is not None:
        with report.section("letterbox resize"):
            compare_resizing(report, golden)


def compare_sampling(report: Report, golden: Golden) -> None:
    """Keys name the mode, the clip's length T, the number of frames N and the seed of numpy's legacy generator."""
    for key in golden.keys():
        name = re.fullmatch(r"(?P<mode>\w+?)_T(?P<T>\d+)(_N(?P<N>\d+))?(_npseed(?P<seed>\d+))?", key)
        rng = np.random.RandomState(int(name["seed"] or 0))
        if name["mode"] == "lfae_pair":
            ours = list(frame_pair(int(name["T"]), rng))
        else:
            ours = frame_indices(int(name["T"]), int(name["N"]), name["mode"], rng)
        report.check(key, ours, golden, key)


def compare_resizing(report: Report, golden: Golden) -> None:
    """Keys are `i.in` and `i.out_TYPE_toSIZE`, with TYPE u8 or f32."""
    for key in golden.keys():
        if (name := re.fullmatch(r"(?P<i>\d+)\.out_(?P<type>u8|f32)_to(?P<size>\d+)", key)) is not None:
            image = golden.given(f"{name['i']}.in").numpy()
            image = image if name["type"] == "u8" else image.astype(np.float32)
            report.check(key, torch.from_numpy(letterbox(image, int(name["size"]))), golden, key)
