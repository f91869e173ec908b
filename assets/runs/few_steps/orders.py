"""In which order the directions of a student's change should be kept: by what they lessen the error of the weights, or
by their share in what their own tensor changed by.

    nice python assets/runs/few_steps/orders.py --student RUN

writes `orders.json` beside this file. RUN is what `lfdm train few-steps` left without `--kept` (`fast_recipe.json` has
the command), so that its fast network is whole. PSNR is of clips of six people of the validation split, from the same
noise, against those of the whole student. The library keeps them by their share, see `files/models/changes.py`.
"""

import argparse
import copy
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from lfdm_lite import LFDM
from lfdm_lite.data import Faces
from lfdm_lite.evaluation.metrics import psnr
from lfdm_lite.files.fast import begun, plain_state
from lfdm_lite.files.models.changes import leading_change, matrix_sides

HERE = Path(__file__).parent
PICTURES = 6


def cut(before: dict[str, Tensor], after: dict[str, Tensor], numbers: int, by_share: bool) -> dict[str, Tensor]:
    """The student's tensors with only so many numbers of their change, none of them rounded."""
    parts = {n: torch.linalg.svd((after[n] - before[n]).reshape(matrix_sides(after[n].shape)), False) for n in after}
    gains = []
    for name, (_, q, _) in parts.items():
        cost = sum(matrix_sides(after[name].shape))
        worth = 1 / (q.square().sum().item() or 1) if by_share else 1 / cost
        gains += [(worth * value, name, cost) for value in q.square().tolist() if value]
    ranks = dict.fromkeys(after, 0)
    for _, name, cost in sorted(gains, reverse=True):
        numbers -= cost
        if numbers < 0:
            break
        ranks[name] += 1
    kept = {n: (a[:, : ranks[n]] * q[: ranks[n]]) @ b[: ranks[n]] for n, (a, q, b) in parts.items()}
    return {n: before[n] + change.view(after[n].shape) for n, change in kept.items()}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--student", type=Path, required=True, help="a run of lfdm train few-steps")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = LFDM.from_pretrained(options.student)
    student = model.fast
    after = plain_state(student.unet)
    before = begun(model.unet, after)
    clips = [Faces("val", length=PICTURES)[i] for i in range(PICTURES)]
    image, label = torch.stack([clip["video"][:, 0] for clip in clips]), [int(clip["label"]) for clip in clips]
    squared = lambda one, other: sum((one[n] - other[n]).square().sum().item() for n in after)

    def made(state: dict[str, Tensor]) -> Tensor:
        unet = copy.deepcopy(student.unet)
        unet.load_state_dict(state)
        model.fast = replace(student, unet=unet)
        return model.generate(image, label, fast=True, seed=0, progress=False).video[:, :, 1:]

    whole, all_of_it, found = made(after), squared(before, after), []
    length = sum(value.square().sum().item() for value in before.values())
    for numbers in (350_000, 700_000):
        ways = {order: cut(before, after, numbers, order == "share") for order in ("error", "share")}
        ways["share, in bytes"] = leading_change(before, after, numbers)(before)
        for order, state in ways.items():
            row = {"order": order, "numbers": numbers, "lost": squared(state, after) / all_of_it}
            row["rounding"] = (squared(state, ways["share"]) / all_of_it) ** 0.5 if order.endswith("bytes") else 0.0
            found.append(row | {"psnr": psnr(made(state), whole).mean().item()})
            print(found[-1], flush=True)
    report = {"moved": (all_of_it / length) ** 0.5, "pictures": PICTURES, "torch": torch.__version__, "rows": found}
    (HERE / "orders.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
