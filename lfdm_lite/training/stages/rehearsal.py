"""Do both stages of a run fit together? Asked before the first of them learns for hours, without computing a thing."""

from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
)

from ...files.reading import one_line
from ...files.variants import construct
from ...inputs import check_parts
from ...motion import Motion
from ..rivals import AnyRun, LaMDRun, LDMRun, LFDMRun, VDMRun
from .stage_two import fitting

LABELS = 2  # any number of them makes the same shapes
CANNOT_TELL = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedFakeTensorException)
REFUSALS = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)  # of constructors too


def rehearse(config: AnyRun) -> None:
    """Build what a run will train, and let it see a clip: an image, what is denoised, and frames painted from that.

    Raises:
        ValueError: a network cannot be built, or does not fit the other or the clips; says why.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
            if isinstance(config, LFDMRun):
                lfdm_sees_a_clip(config)
            else:
                rival_sees_a_clip(config)
    except CANNOT_TELL:
        return  # an operation that another version of torch does not know without contents
    except REFUSALS as error:
        size = config.second.data.size
        raise ValueError(f"these networks and clips of {size} pixels do not fit together: {one_line(error)}") from None


def lfdm_sees_a_clip(config: LFDMRun) -> None:
    """The forward passes of LFDM's stages."""
    model, (t, size) = config.first.model, (config.second.data.num_frames, config.second.data.size)
    known = fitting(config.second.unet, model, LABELS, ())
    check_parts(model, known, [str(i) for i in range(LABELS)], size)
    autoencoder: Any = construct(model).eval()
    unet = construct(known).eval()
    image, side = torch.zeros(1, 3, size, size), size // model.flow_stride
    x = torch.zeros(1, 3, t, side, side)
    unet(x, torch.tensor([1]), autoencoder.encode(image), torch.tensor([0]))
    autoencoder.decode(image, Motion(x[:, :2], x[:, 2:]))


def rival_sees_a_clip(config: VDMRun | LDMRun | LaMDRun) -> None:
    """The forward passes of a rival's stages."""
    t, size = config.second.data.num_frames, config.second.data.size
    if isinstance(config, VDMRun) and size % config.second.pixels.patch:
        raise ValueError(f"patch={config.second.pixels.patch} must divide the height and width")
    codec: Any = construct(config.second.pixels if isinstance(config, VDMRun) else config.first.model).eval()
    denoiser = construct(codec.fit(config.second.denoiser, LABELS)).eval()
    image, x = torch.zeros(1, 3, size, size), torch.zeros(1, *codec.shape(t, size))
    represented = codec.represent(image[:, :, None].expand(-1, -1, t, -1, -1))
    if represented.shape != x.shape:
        raise ValueError(f"a clip becomes {tuple(represented.shape)}, expected {tuple(x.shape)}")
    denoiser(x, torch.tensor([1]), codec.encode(image), torch.tensor([0]))
    codec.unpack(x, image, t)
