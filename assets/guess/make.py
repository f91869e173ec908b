"""Make the sheet of real and generated clips, and its key: `python assets/guess/make.py CHECKPOINT FOLDER`."""

import json
import random
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import lfdm_lite as lfdm

model, out, seed = lfdm.LFDM.from_pretrained(sys.argv[1]), Path(sys.argv[2]), 11
people = lfdm.data.Faces("test", length=24, seed=1)
kinds = ["real"] * 12 + ["generated"] * 12
random.Random(seed).shuffle(kinds)
clips, key = [], []
for place, kind in enumerate(kinds):
    item = people[place]
    video = item["video"]
    if kind == "generated":
        video = model.generate(video[:, 0], item["label_name"], seed=seed + place, progress=False).video[0]
    clips.append(torch.nn.functional.interpolate(video.transpose(0, 1), scale_factor=2, mode="bicubic").clamp(0, 1))
    key.append({"place": place + 1, "kind": kind, "label": item["label_name"]})
frames = torch.stack(clips)  # 24 t 3 h w
rows = [torch.cat(list(frames[6 * r : 6 * r + 6]), -1) for r in range(4)]
sheet = torch.cat(rows, -2).permute(0, 2, 3, 1)
images = [Image.fromarray((f.numpy() * 255).round().astype(np.uint8)) for f in sheet]
still = [0] * 4 + list(range(16)) + [15] * 6
images[0].save(
    out / "clips.webp",
    save_all=True,
    append_images=[images[i] for i in still[1:]],
    duration=120,
    loop=0,
    quality=65,
    method=6,
)
(out / "key.json").write_text(json.dumps(key, indent=1) + "\n")
