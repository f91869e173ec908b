"""ONNX Runtime for browsers: the files of its npm archive that the live page loads."""

import gzip
import io
import tarfile
from pathlib import Path

from lfdm_lite.files.atomic import write_atomically

from .npm import Archive

ARCHIVE = Archive(
    package="onnxruntime-web",
    version="1.30.0",
    sha256="d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
    size=33_106_585,
    variable="LFDM_ORT_WEB",
)
FILES = (  # of the archive's folder dist/; programs are packed, for few servers do that on the way
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)


def unpack(content: bytes, folder: Path) -> dict[str, int]:
    """Write the files that the page loads; their sizes by name."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as members:
        for name in FILES:
            data = members.extractfile(f"package/dist/{name}").read()
            if name.endswith(".wasm"):
                name, data = f"{name}.gz", gzip.compress(data, 9, mtime=0)
            write_atomically(folder / name, lambda temporary, data=data: temporary.write_bytes(data))
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
