#!/usr/bin/env bash
# PyAV 18.1.0: one kind of side data that it has no name for hides all the others of a frame.
#
# A frame carries notes beside its pixels, among them the display matrix that says how the camera was held.
# `frame.side_data` looks up the name of each note. Its list of names ends before FFmpeg 8.1's does: EXIF has none.
# So for the pictures of a Motion JPEG film whose camera wrote EXIF, `frame.side_data` raises a ValueError, and the
# matrix that FFmpeg has made of the EXIF cannot be reached there. `frame.rotation` reads it still, but knows turns
# alone: what is mirrored is lost.
#
# Exits with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -q --disable-pip-version-check av==18.1.0 numpy==2.4.6 pillow==13.0.0
venv/bin/python - <<'P'
import io
from fractions import Fraction

import av
from PIL import Image

print("PyAV", av.__version__, "with FFmpeg", av.ffmpeg_version_info)


def film(name, orientation):
    """Two pictures as a camera stores them: JPEG files, with EXIF if it was held otherwise than flat."""
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    picture = io.BytesIO()
    Image.new("RGB", (96, 64), "teal").save(picture, format="JPEG", **({"exif": exif} if orientation else {}))
    with av.open(name, "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        container.start_encoding()
        for i in range(2):
            packet = av.Packet(picture.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, i, i, Fraction(1, 10)
            container.mux(packet)
    with av.open(name) as container:
        frame = next(container.decode(video=0))
        try:
            return f"{len(frame.side_data)} notes", frame.rotation
        except ValueError as error:
            return f"ValueError: {error}", frame.rotation


seen = {what: film("x.avi", number) for what, number in (("no EXIF", 0), ("turned", 6), ("mirrored", 2))}
for what, (notes, rotation) in seen.items():
    print(f"{what:9} side_data: {notes:32} rotation: {rotation}")
expected = {"no EXIF": "0 notes", "turned": "ValueError: 31 is not a valid Type", "mirrored": "ValueError: 31 is not a valid Type"}
raise SystemExit(0 if {what: notes for what, (notes, _) in seen.items()} == expected and seen["turned"][1] == -90 else 1)
P
