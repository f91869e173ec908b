#!/usr/bin/env bash
# PyAV 18.1.0 (since 17.0.0): `VideoFrame.reformat` starts as many threads as there are processors, for every frame.
#
# Release 17.0 made the conversion of frames multithreaded, and threads=None means one thread a processor. For a large
# frame that is a gain; for small ones (64x64 pixels here, as thumbnails or the clips of small models have) nearly all
# of the time goes into the threads: on two processors threads=1 was 3 to 7 times as fast, with a `VideoReformatter`
# that is kept for all frames too. Where other programs kept both processors busy it was a hundred times as fast, 0.05
# ms for a frame of 32x32 against 6 ms, for every thread must wait for its turn. The pixels are the same.
#
# Exits with 0 while one thread is less than 0.7 of the default's time, both give the same pixels, and there are two
# processors or more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -q --disable-pip-version-check av==18.1.0 numpy==2.4.6
venv/bin/python - <<'P'
import os
import statistics
import time

import av
import numpy as np

pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
ways = {"default": {}, "threads=1": {"threads": 1}}
taken = {name: [] for name in ways}
for _ in range(15):  # in turn, so that other work of the machine meets both
    for name, how in ways.items():
        began = time.perf_counter()
        for _ in range(40):
            frame.reformat(format="yuv420p", **how)
        taken[name].append((time.perf_counter() - began) / 40)
us = {name: 1e6 * statistics.median(times) for name, times in taken.items()}
same = np.array_equal(*(frame.reformat(format="yuv420p", **how).to_ndarray() for how in ways.values()))
processors = len(os.sched_getaffinity(0))
print("av", av.__version__, {name: f"{value:.0f} us" for name, value in us.items()}, processors, "processors", same)
raise SystemExit(0 if us["threads=1"] < 0.7 * us["default"] and same and processors > 1 else 1)
P
