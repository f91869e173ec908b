"""The live page's model without a browser: node runs the page's modules and ONNX Runtime, and makes PyTorch's clip."""

import base64
import json
import shutil
import subprocess

import numpy as np
import pytest
import torch

from lfdm_lite import LFDM, asset

from .test_live_page import LABEL, LIVE, PICTURE, SEED, needs_model

CLOSE = 1e-3  # as in a browser

pytestmark = [
    pytest.mark.site,
    needs_model,
    pytest.mark.skipif(not shutil.which("node"), reason="node is missing"),
]

SCRIPT = """
    import { readFileSync } from "node:fs";
    import { gunzipSync } from "node:zlib";
    const { live, ...asked } = JSON.parse(readFileSync(0)), at = (name) => new URL(name, live);
    const ort = await import(at("runtime/ort.wasm.min.mjs"));
    ort.env.wasm.wasmBinary = gunzipSync(readFileSync(at("runtime/ort-wasm-simd-threaded.wasm.gz"))).buffer;
    ort.env.wasm.wasmPaths = { mjs: at("runtime/ort-wasm-simd-threaded.mjs").href };
    ort.env.wasm.numThreads = 1;
    const description = JSON.parse(readFileSync(at("model/model.json")));
    const read = ([name, { file }]) => [name, new Uint8Array(readFileSync(at(`model/${file}`)))];
    const files = Object.fromEntries(Object.entries(description.parts).map(read));
    const { Model } = await import(at("model.mjs")), numbers = description.numbers.map(() => NaN);
    const model = await Model.load(ort, description, files, "wasm");
    const made = await model.generate({ ...asked, image: Float32Array.from(asked.image), numbers });
    const text = ([name, numbers]) => [name, Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength)
        .toString("base64")];
    console.log(JSON.stringify({ passes: model.passes, ...Object.fromEntries(Object.entries(made).map(text)) }));
"""


def test_node_makes_the_clip_of_pytorch():
    model = LFDM.from_pretrained(asset("checkpoints/faces64"))
    (steps, guided_steps, spacing), image = model.quick, model.prepare_images(PICTURE)
    quick = dict(steps=steps, guided_steps=guided_steps, spacing=spacing)
    wanted = model.generate(PICTURE, LABEL, **quick, seed=SEED, progress=False)
    asked = {"image": image.flatten().tolist(), "label": model.labels.index(LABEL), "scale": model.guidance_scale}
    asked |= {"steps": steps, "guidedSteps": guided_steps, "spacing": spacing}
    asked |= {"seed": SEED, "live": f"{LIVE.as_uri()}/"}
    command = ["node", "--input-type=module", "-e", SCRIPT]
    ran = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    made = json.loads(ran.stdout)
    assert made["passes"] == steps + guided_steps
    for name in ("video", "flow", "occlusion"):
        ours = getattr(wanted, name)[0]
        theirs = np.frombuffer(base64.b64decode(made[name]), dtype=np.float32).copy()
        difference = (torch.from_numpy(theirs).view(ours.shape) - ours).abs().max().item()
        print(f"{name}: node is at most {difference:.1e} from PyTorch")
        assert difference < CLOSE, f"{name}: {difference}"
