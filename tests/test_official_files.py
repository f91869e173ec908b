"""The authors' `.pth` files: read without running anything, refused with a clear message."""

import sys
import types

import pytest
import torch
from safetensors.torch import save_file

from lfdm_lite.files.checkpoints import CheckpointError
from lfdm_lite.official.files import AUTOENCODER_PARTS, read_states, write_states
from lfdm_lite.official.labels import compute_label_vectors, encode_labels, read_label_vectors


@pytest.fixture
def states():
    generator = torch.Generator().manual_seed(0)
    return {part: {"a.weight": torch.randn(30, 40, generator=generator)} for part in AUTOENCODER_PARTS}


def test_what_is_written_is_read_back_bitwise(tmp_path, states):
    write_states(tmp_path / "lfae.pth", states)
    again = read_states(tmp_path / "lfae.pth", AUTOENCODER_PARTS)
    assert set(again) == set(states)
    assert all(torch.equal(again[part]["a.weight"], states[part]["a.weight"]) for part in states)


def test_optimizer_and_counters_may_stand_beside_the_states(tmp_path, states):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(3))]).state_dict()
    torch.save({"example": 100, "epoch": 3, **states, "optimizer": optimizer}, tmp_path / "lfae.pth")
    assert set(read_states(tmp_path / "lfae.pth", AUTOENCODER_PARTS)) == set(AUTOENCODER_PARTS)


def test_a_file_in_the_old_format_of_torch_is_read(tmp_path, states):
    torch.save(states, tmp_path / "lfae.pth", _use_new_zipfile_serialization=False)
    again = read_states(tmp_path / "lfae.pth", AUTOENCODER_PARTS)
    assert torch.equal(again["generator"]["a.weight"], states["generator"]["a.weight"])


class Trap:
    """Unpickled, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("new_format", [True, False])
def test_a_file_with_code_in_it_is_refused_and_nothing_runs(tmp_path, states, new_format):
    trap, path = tmp_path / "it-ran", tmp_path / "lfae.pth"
    torch.save({**states, "extra": Trap(trap)}, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match="nothing in it was run"):
        read_states(path, AUTOENCODER_PARTS)
    assert not trap.exists()
    torch.load(path, weights_only=False)["extra"].close()  # the trap is real
    assert trap.exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_a_truncated_file_is_refused(tmp_path, states, share):
    path = tmp_path / "lfae.pth"
    write_states(path, states)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match="truncated"):
        read_states(path, AUTOENCODER_PARTS)


def test_a_missing_file_a_missing_part_and_a_foreign_part_are_named(tmp_path, states):
    with pytest.raises(CheckpointError, match="no such file"):
        read_states(tmp_path / "none.pth", AUTOENCODER_PARTS)
    del states["bg_predictor"]
    write_states(tmp_path / "lfae.pth", states)
    with pytest.raises(CheckpointError, match="no 'bg_predictor'; at its top are: .*generator"):
        read_states(tmp_path / "lfae.pth", AUTOENCODER_PARTS)
    torch.save({"diffusion": 3}, tmp_path / "dm.pth")
    with pytest.raises(CheckpointError, match="'diffusion' is no state dict"):
        read_states(tmp_path / "dm.pth", ("diffusion",))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds a list"):
        read_states(tmp_path / "list.pth", ("diffusion",))


def test_label_vectors_come_in_the_order_of_the_labels(tmp_path):
    save_file({"b": torch.full((4,), 2.0), "a": torch.ones(4), "c": torch.zeros(4)}, tmp_path / "v.safetensors")
    assert read_label_vectors(tmp_path / "v.safetensors", ["a", "b"]).tolist() == [[1.0] * 4, [2.0] * 4]
    with pytest.raises(CheckpointError, match="lack 'd'; there are: "):
        read_label_vectors(tmp_path / "v.safetensors", ["a", "d"])
    with pytest.raises(CheckpointError, match="no such file"):
        read_label_vectors(tmp_path / "none.safetensors", ["a"])
    save_file({"a": torch.ones(4), "b": torch.ones(5)}, tmp_path / "v.safetensors")
    with pytest.raises(CheckpointError, match="one length"):
        read_label_vectors(tmp_path / "v.safetensors", ["a", "b"])


def test_a_label_is_the_mean_of_its_token_vectors_but_the_first():
    hidden = torch.arange(12.0).view(1, 4, 3)
    model = lambda input_ids: types.SimpleNamespace(last_hidden_state=hidden[:, : input_ids.shape[1]])
    tokenizer = lambda text, return_tensors: {"input_ids": torch.zeros(1, len(text), dtype=torch.long)}
    assert encode_labels(["abcd", "ab"], tokenizer, model).tolist() == [[6.0, 7.0, 8.0], [3.0, 4.0, 5.0]]


def test_without_transformers_the_message_tells_both_ways_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(CheckpointError, match="pip install transformers, or give .*--label-vectors"):
        compute_label_vectors(["anger"])
