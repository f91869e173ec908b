"""What samples break: a small model with its judge, with fast networks, pictures, films with flow, an interrupted run.

Everything is made by the project itself, in seconds; the networks have learnt nothing.
"""

import json
import os
import shutil
from pathlib import Path

LABELS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
FEW = "train few-steps --preset tiny --checkpoint model --steps 1 --cache-folder drawn"
EXPORT = "data export faces --clips 4 --size 32 --num-frames 4"


def build(folder: Path) -> None:
    """Fill an empty folder."""
    from lfdm_lite.cli import main

    os.chdir(folder)
    pictures(folder)
    model(folder / "model")
    commands = [
        f"{EXPORT} --flow npz --out films",
        f"{EXPORT} --flow flo --out flo",
        f"{EXPORT} --flow kitti --out kitti",
        "train judge --preset tiny --out run --steps 2 --save-every 1",
        "train autoencoder --preset tiny --out ae --steps 1",
        f"{FEW} --out fast",
        f"{FEW} --out kept --kept 2000",
    ]
    for command in commands:
        if main(command.split()) != 0:
            raise RuntimeError(f"lfdm {command} failed, though nothing is broken yet")
    for name in ("config.json", "model.safetensors", "recipe.json"):
        (folder / "model" / "judge").mkdir(exist_ok=True)
        shutil.copy(folder / "run" / name, folder / "model" / "judge" / name)
    for part in ("fast", "kept"):
        shutil.rmtree(folder / part / "checkpoints")  # large, and broken of other runs
    for part in ("flo", "kitti"):
        (folder / part / "clips.csv").unlink()
    shutil.copytree(folder / "films", folder / "plain", ignore=shutil.ignore_patterns("*.csv", "*.json", "*.npz"))
    other_films(folder)
    states(folder)


def pictures(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    ramp = np.linspace(0, 255, 40 * 50 * 3).reshape(40, 50, 3).astype(np.uint8)
    Image.fromarray(ramp).save(folder / "face.png")
    frames = [Image.fromarray(np.roll(ramp, 5 * i, axis=1)) for i in range(6)]
    (folder / "stills").mkdir()
    for i, frame in enumerate(frames):
        frame.save(folder / "stills" / f"{i}.png")
    frames[0].save(folder / "clip.gif", save_all=True, append_images=frames[1:], duration=100)


def model(folder: Path) -> None:
    """A whole model of random weights, so large that every part shows in the result."""
    import torch

    from lfdm_lite import LFDM, GaussianDiffusion, LatentFlowAutoencoder, UNet3D
    from lfdm_lite.training import PRESETS

    torch.manual_seed(0)
    tiny = PRESETS["tiny"]
    networks = LatentFlowAutoencoder(tiny.autoencoder.model), UNet3D(tiny.diffusion.unet)
    whole = LFDM(*networks, GaussianDiffusion(tiny.diffusion.diffusion), labels=list(LABELS), image_size=32)
    for parameter in whole.unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    whole.save_pretrained(folder)
    (folder / "recipe.json").write_text(json.dumps({"command": "lfdm train", "config": {"steps": 7, "names": ["a"]}}))
    (folder / "metrics.json").write_text(json.dumps({"psnr": {"value": 30.1, "low": 29.5, "high": 31.0, "n": 120}}))


def other_films(folder: Path) -> None:
    """One clip in containers of several makes."""
    import av
    import numpy as np

    frames = np.random.default_rng(0).integers(0, 255, (12, 32, 32, 3), dtype=np.uint8)
    codecs = {".mp4": "mpeg4", ".avi": "mpeg4", ".mkv": "mpeg4", ".webm": "libvpx", ".mov": "mjpeg"}
    for suffix, codec in codecs.items():
        with av.open(str(folder / f"film{suffix}"), "w") as container:
            stream = container.add_stream(codec, rate=8)
            stream.width = stream.height = 32
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for pixels in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())


def states(folder: Path) -> None:
    """Two files as the authors' code saves them, with parts far too few to be a model."""
    import torch

    weights = lambda: {"a.weight": torch.randn(30, 40, generator=torch.Generator().manual_seed(0))}
    parts = ("generator", "region_predictor", "bg_predictor")
    torch.save({"example": 100, "epoch": 3, **{part: weights() for part in parts}}, folder / "lfae.pth")
    torch.save({"example": 100, "diffusion": weights()}, folder / "dm.pth")
