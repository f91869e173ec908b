#!/usr/bin/env bash
# PyAV 18.1.0 (no more 19.0.2): a container whose header finds no room on the disk stays open until the process ends.
#
# Leaving `with av.open(PATH, "w")` closes the file, also after an error, but for one: if FFmpeg cannot write the header
# (an mp4 on a disk without a free byte), the OSError comes and the descriptor remains, one more with each try, whether
# or not the container is collected: the file system can neither be unmounted nor set read-only. Matroska's header is
# buffered, its error comes later, and its file is closed. Before writing films on a disk that may be full, write a few
# bytes into the file: if that fails, nothing is left open.
#
# Linux's /dev/full plays the disk. Exits with 0 while mp4 leaves a descriptor a try and Matroska none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -q --disable-pip-version-check av==18.1.0 numpy==2.4.6
venv/bin/python - <<'P'
import errno
import gc
import os

import av
import numpy as np

FULL = "/dev/full"


def kept_open() -> int:
    """Descriptors of this process that lead there."""
    links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    return sum(os.path.exists(link) and os.readlink(link) == FULL for link in links)


def refused(container: str) -> bool:
    """Write a film of one frame, and be told that there is no room."""
    try:
        with av.open(FULL, "w", format=container) as film:
            stream = film.add_stream("mpeg4", rate=8)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
            film.mux(stream.encode())
    except OSError as error:
        return error.errno == errno.ENOSPC
    return False


left = {}
for container in ("mp4", "matroska"):
    before = kept_open()
    told = [refused(container) for _ in range(3)]
    gc.collect()
    left[container] = kept_open() - before
    print("av", av.__version__, container, "refused", told, "left open", left[container])
    assert all(told)
raise SystemExit(0 if left == {"mp4": 3, "matroska": 0} else 1)
P
