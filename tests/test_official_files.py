"""The authors' `.pth` files: read without running anything, refused with a clear message."""

import os
import sys
import types
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lfdm_lite.files.models import pickles
from lfdm_lite.files.reading import CheckpointError
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


def test_the_same_states_are_the_same_file(tmp_path, states):
    for name in ("a.pth", "b.pth"):
        write_states(tmp_path / name, states)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


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
    with pytest.raises(CheckpointError, match=r"nothing in it was run: .* \(\w*\.open\)$"):
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


def test_every_flipped_bit_of_a_weight_is_noticed(tmp_path, states):
    path = tmp_path / "lfae.pth"
    write_states(path, states)
    whole = path.read_bytes()
    first = whole.index(states["generator"]["a.weight"].numpy().tobytes())
    for place in range(first, first + 4800, 401):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is damaged: the checksum of 'archive/data/0' is wrong"):
            read_states(path, AUTOENCODER_PARTS)


def rewritten(path, edit):
    """The archive again, member by member, as `edit` has it: (name, content, compression)."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name), zipfile.ZIP_STORED) for name in archive.namelist()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        with zipfile.ZipFile(path, "w") as archive:
            for name, content, compression in edit(members):
                archive.writestr(name, content, compression)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: [*m, m[-1]], "twice"),
        (
            lambda m: [*m, ("archive/notes.txt", b"hello", 0)],
            "'archive/notes.txt' in a way that torch.save does not",
        ),
        (lambda m: [*m, ("../data/7", b"1234", 0)], "holds several folders"),
        (lambda m: [*m, ("other/data/7", b"1234", 0)], "holds several folders"),
        (lambda m: [(n, c, zipfile.ZIP_DEFLATED) for n, c, _ in m], "in a way that torch.save does not write"),
    ],
)
def test_an_archive_that_torch_did_not_write_is_refused(tmp_path, states, edit, message):
    path = tmp_path / "lfae.pth"
    write_states(path, states)
    rewritten(path, lambda members: members)
    assert set(read_states(path, AUTOENCODER_PARTS)) == set(AUTOENCODER_PARTS)
    rewritten(path, edit)
    with pytest.raises(CheckpointError, match=message):
        read_states(path, AUTOENCODER_PARTS)


def test_an_index_above_the_limit_is_refused_unread(tmp_path, states, monkeypatch):
    write_states(tmp_path / "lfae.pth", states)
    monkeypatch.setattr(pickles, "MAX_PICKLE", 100)
    with pytest.raises(CheckpointError, match=r"holds \d+ bytes of names; expected 100"):
        read_states(tmp_path / "lfae.pth", AUTOENCODER_PARTS)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.tensor([1.0, float("nan")]), "tensor 'a' holds nan in 1 of 2 places"),
        (torch.tensor([float("inf")]), "tensor 'a' holds inf in 1 of 1 places"),
        (torch.ones(3, dtype=torch.bool), "tensor 'a' is of type torch.bool, expected torch.float64, torch.float32"),
        (torch.ones(3, dtype=torch.uint8), "tensor 'a' is of type torch.uint8"),
        (torch.ones(3, dtype=torch.int64), "tensor 'a' is of type torch.int64"),
        (torch.ones(3, dtype=torch.complex64), "tensor 'a' is of type torch.complex64"),
        (torch.ones(3).to(torch.float8_e5m2), "tensor 'a' is of type torch.float8_e5m2"),
        (torch.ones(3, device="meta"), "tensor 'a' has no numbers in it"),
        (torch.eye(3).to_sparse(), "tensor 'a' has no numbers in it"),
        (torch.ones(1).expand(1000), "tensor 'a' is larger than the numbers that are stored of it"),
    ],
)
def test_numbers_that_are_no_weights_are_named(tmp_path, tensor, message):
    torch.save({"diffusion": {"a": tensor}}, tmp_path / "dm.pth")
    with pytest.raises(CheckpointError, match=f"'diffusion': {message}"):
        read_states(tmp_path / "dm.pth", ("diffusion",))


def test_counters_are_whole_numbers(tmp_path):
    torch.save({"diffusion": {"norm.num_batches_tracked": torch.tensor(3)}}, tmp_path / "dm.pth")
    (state,) = read_states(tmp_path / "dm.pth", ("diffusion",)).values()
    assert state["norm.num_batches_tracked"] == 3


def test_names_of_wrappers_do_not_count(tmp_path, states):
    wrapped = {part: {f"module.{name}": tensor for name, tensor in state.items()} for part, state in states.items()}
    torch.save(wrapped, tmp_path / "lfae.pth")
    assert set(read_states(tmp_path / "lfae.pth", AUTOENCODER_PARTS)["generator"]) == {"a.weight"}


def test_counters_may_be_numbers_of_numpy(tmp_path, states):
    torch.save({"epoch": np.int64(3), "best": np.float64(0.5), **states}, tmp_path / "lfae.pth")
    assert set(read_states(tmp_path / "lfae.pth", AUTOENCODER_PARTS)) == set(AUTOENCODER_PARTS)


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "lfae.pth")
    for read in (lambda path: read_states(path, AUTOENCODER_PARTS), lambda path: read_label_vectors(path, ["a"])):
        with pytest.raises(CheckpointError, match="a pipe, socket or device, not a file"):
            read(tmp_path / "lfae.pth")


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
    for bad, message in (
        (torch.full((4,), torch.nan), "holds nan"),
        (torch.ones(4).long(), "of a floating-point type"),
    ):
        save_file({"a": bad}, tmp_path / "v.safetensors")
        with pytest.raises(CheckpointError, match=message):
            read_label_vectors(tmp_path / "v.safetensors", ["a"])
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
