"""The model card that goes along with a saved model: `README.md`, as the Hugging Face Hub reads it."""

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData, ModelHubMixin

from ..atomic import write_atomically

CARD_FILE = "README.md"

TEXT = """\
---
{metadata}
---

# {title}

A latent flow diffusion model: one image and a label become a video. A diffusion model draws the motion in a latent
space, and an auto-encoder moves the given image by it. Made with `lfdm_lite`.

| what | value |
|---|---|
| images and videos | {image_size}x{image_size} pixels, RGB |
| frames of a video | {num_frames} |
| guidance unless told otherwise | {guidance_scale:g} |
| parameters | {parameters} |

Labels: {labels}

```python
import lfdm_lite as lfdm

model = lfdm.LFDM.from_pretrained({name})  # this folder, or its name on the Hub
model.generate("image.png", {first}, seed=0).save("out.gif")
```

What it learned from, how, and how good it is: not said here yet.
"""


def model_card(
    data: ModelCardData,
    title: str,
    labels: Sequence[str],
    image_size: int,
    num_frames: int,
    guidance_scale: float,
    parameters: Mapping[str, int],
) -> ModelCard:
    """The card of a model.

    Args:
        data: what the Hub reads, such as licence and task.
        title: the model's name.
        parameters: how many numbers each part has learned.
    """
    return ModelCard(
        TEXT.format(
            metadata=data.to_yaml(),
            title=plain(title),
            name=repr(title),
            labels=", ".join(f"`{plain(label)}`" for label in labels),
            first=repr(labels[0]),
            image_size=image_size,
            num_frames=num_frames,
            guidance_scale=guidance_scale,
            parameters=", ".join(f"{name} {count:,}" for name, count in parameters.items()),
        )
    )


def write_card(folder: Path, card: Any) -> None:
    """Write a card into a model's folder, unless there is one, which may hold what its owner wrote."""
    path = folder / CARD_FILE
    if not os.path.lexists(path):
        write_atomically(path, lambda temporary: temporary.write_text(str(card), encoding="utf-8"))


def plain(text: str) -> str:
    """A text without what would end its marking in Markdown."""
    return "".join(letter if letter.isprintable() else "?" for letter in text).replace("`", "'")


def check_upload(options: dict[str, Any], push_to_hub: bool) -> None:
    """Look whether what is left of the options of `save_pretrained` are those of an upload, and one is wanted.

    Raises:
        TypeError: not so; names the option.
    """
    parameters = inspect.signature(ModelHubMixin.push_to_hub).parameters
    ours = ("config", "model_card_kwargs")  # which the Hub's mixin sends as None; the model makes both itself
    known = [name for name in parameters if name not in ("self", *ours)]
    for name, value in options.items():
        if name not in known and (name not in ours or value is not None):
            raise TypeError(
                f"save_pretrained has no option {name!r}; it knows dtype and overwrite, "
                f"and with push_to_hub=True: {', '.join(known)}"
            )
        if value is not None and not push_to_hub:
            raise TypeError(
                f"save_pretrained got {name!r}, which is of an upload: add push_to_hub=True, or leave it out"
            )
