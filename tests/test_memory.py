"""What training keeps for its backward pass, and that computing it again changes nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lfdm_lite import memory
from lfdm_lite.unet3d import UNet3D, UNet3DConfig

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import bench_official  # noqa: E402

SMALL = UNet3DConfig(feature_channels=5, num_labels=3, num_frames=4, dim=16, dim_mults=(1, 2), heads=2, head_dim=8)
FULL_SIZE = dict(dim=16, channels=67, dim_mults=(1, 2), attn_heads=8, cond_dim=24, num_frames=20)


def loss_and_gradients(unet: UNet3D) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    x, features = torch.randn(2, 3, 4, 8, 8, generator=g), torch.randn(2, 5, 8, 8, generator=g)
    unet.zero_grad()
    loss = F.mse_loss(unet(x, torch.tensor([3, 700]), features, torch.tensor([0, 2])), x)
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in unet.parameters() if p.grad is not None)]


@pytest.mark.parametrize("kind", ["linear", "full"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_checkpointing_changes_neither_loss_nor_gradients(kind, dtype):
    torch.manual_seed(0)
    unet = UNet3D(UNet3DConfig(**vars(SMALL) | dict(spatial_attention=(kind, kind), rotary=True)))
    torch.nn.init.normal_(unet.head.weight)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        plain = loss_and_gradients(unet)
        unet.checkpointing = True
        again = loss_and_gradients(unet)
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))


def test_checkpointing_is_no_part_of_what_is_saved():
    unet = UNet3D(SMALL)
    names = list(unet.state_dict())
    unet.checkpointing = True
    assert list(unet.state_dict()) == names and UNet3D(SMALL).checkpointing is False


@pytest.mark.parametrize("size", [1, 3, 100])
def test_pieces_make_up_the_whole_and_so_do_their_gradients(size, monkeypatch):
    weight = torch.randn(6, 6, requires_grad=True)
    x = torch.randn(4, 5, 6, requires_grad=True)
    whole = torch.softmax(x @ weight, dim=1)  # every slice along the first axis alone
    expected = torch.autograd.grad(whole.square().sum(), (x, weight))
    monkeypatch.setattr(memory, "PIECE", size * 5 * 6)
    for kept in (0, 2**20):
        monkeypatch.setattr(memory, "KEPT_BYTES", kept)
        found = memory.in_pieces(lambda piece: torch.softmax(piece @ weight, dim=1), x, 0, 6)
        torch.testing.assert_close(found, whole)
        torch.testing.assert_close(torch.autograd.grad(found.square().sum(), (x, weight)), expected)


def kept_bytes(loss, parameters: list[Tensor]) -> int:
    """Bytes of all storages that the backward pass of a loss keeps, but for those of the parameters."""
    known = {p.untyped_storage().data_ptr() for p in parameters}
    storages = {}  # kept alive while counting, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss()
    return sum(storage.nbytes() for address, storage in storages.items() if address not in known)


def test_training_keeps_a_part_of_what_the_straightforward_formulation_keeps(monkeypatch):
    """At the published size attentions are cut, and the largest are not kept; so they shall be here."""
    monkeypatch.setattr(memory, "PIECE", 2**12)
    monkeypatch.setattr(memory, "KEPT_BYTES", 2**18)
    sizes = bench_official.Sizes(image_size=64, num_frames=20, matrix_size=1, autoencoder={}, unet=FULL_SIZE)
    subject = bench_official.Subject(sizes, with_autoencoder=False)
    plain, ours = bench_official.PlainTraining(subject), bench_official.OurTraining(subject)
    given = subject.x0, subject.features
    most = kept_bytes(lambda: plain.loss(*given), list(plain.state.values()))
    assert kept_bytes(lambda: ours.loss(*given), ours.parameters) < 0.60 * most
    ours.unet.checkpointing = True
    assert kept_bytes(lambda: ours.loss(*given), ours.parameters) < 0.35 * most


FAULTS = """
import resource, sys
from lfdm_lite.training.engine.computing import keep_freed_memory
import torch
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for _ in range(20):  # until what was freed is large enough
    faults()
print(sum(faults() for _ in range(10)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is changed")
def test_memory_that_is_kept_is_not_asked_for_again():
    """Ten tensors of 64 MiB have 163,840 pages of 4 KiB, or some thousands with huge ones; kept ones ask for none."""
    found = {
        how: int(subprocess.check_output([sys.executable, "-c", FAULTS, how], text=True)) for how in ("keep", "return")
    }
    if found["return"] < 320:
        pytest.skip("the allocator of this system keeps memory by itself")
    assert found["keep"] < found["return"] / 4
