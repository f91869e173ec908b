"""The label vectors of the authors' models: a text encoder's answer to each label's name, computed once.

A model conditioned on text has learned from those vectors alone, so the very texts of its training have to be used.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..files.models.weights import PRECISIONS, read_safetensors
from ..files.reading import CheckpointError, shown

TEXT_ENCODER = "bert-base-cased"


def read_label_vectors(path: str | Path, labels: Sequence[str]) -> Float[Tensor, "n d"]:
    """The vectors of `labels`, in that order, from a safetensors file with one vector per label, named after it.

    Raises:
        CheckpointError: the file is missing or damaged, lacks a label, or its vectors differ in length or are
            not finite.
    """
    vectors = read_safetensors(path, "label vectors, a safetensors file with one vector per label, named after it")
    missing = [label for label in labels if label not in vectors]
    if missing:
        names = ", ".join(shown(name) for name in list(vectors)[:20])
        raise CheckpointError(f"label vectors {path} lack {missing[0]!r}; there are: {names}")
    shapes = {tuple(vectors[label].shape) for label in labels}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise CheckpointError(f"label vectors {path} must be vectors of one length, got shapes {sorted(shapes)}")
    if not all(vectors[label].dtype in PRECISIONS.values() for label in labels):
        raise CheckpointError(f"label vectors {path} must be of a floating-point type: {', '.join(PRECISIONS)}")
    return torch.stack([vectors[label].float() for label in labels])


def encode_labels(labels: Sequence[str], tokenizer: Any, model: Any) -> Float[Tensor, "n d"]:
    """Each label's text through a BERT: the mean of the last layer's vectors of all its tokens but the first.

    Args:
        labels: texts.
        tokenizer, model: of `transformers`.

    Source: LFDM's published code, condition of stage two, by its documented behaviour.
    """
    vectors = []
    with torch.no_grad():
        for label in labels:
            tokens = tokenizer(label, return_tensors="pt")
            vectors.append(model(**tokens).last_hidden_state[0, 1:].mean(dim=0))
    return torch.stack(vectors)


def compute_label_vectors(labels: Sequence[str], name: str = TEXT_ENCODER) -> Float[Tensor, "n d"]:
    """`encode_labels` with an encoder of the Hugging Face Hub, or of its cache on this machine.

    Raises:
        CheckpointError: `transformers` is not installed, or the encoder cannot be had.
    """
    instead = "give the vectors by --label-vectors FILE, a safetensors file with one vector per label, named after it"
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise CheckpointError(
            f"the labels' texts need the text encoder {name}: pip install transformers, or {instead}"
        ) from None
    try:
        tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name)
    except Exception as error:  # whatever the network, the hub and their libraries may raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"the text encoder {name} could not be fetched ({reason}): {instead}") from error
    return encode_labels(labels, tokenizer, model.eval())
