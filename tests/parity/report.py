"""What a parity run has compared, with which error, and what it has not looked at."""

import json
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

TOLERANCE = 2e-5  # of max(1, largest absolute value of the reference)
SUFFIXES = {".safetensors", ".json"}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    quantity: str
    error: float  # largest absolute difference; infinite where the two cannot be compared
    tolerance: float  # largest difference that passes

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance


class Golden:
    """The named values of one file; remembers which of them were looked at, and how.

    `given` and `state` hand out what the code under test starts from. `expected` hands out what it should arrive at,
    and is called by `Report.check` alone.
    """

    def __init__(self, name: str, values: Mapping[str, Any]):
        self.name, self.values = name, values
        self.unread = set(values)

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def keys(self, prefix: str = "") -> list[str]:
        """Names that begin with `prefix`, sorted."""
        return sorted(key for key in self.values if key.startswith(prefix))

    def given(self, key: str) -> Any:
        """An input, a weight, a random number or a setting."""
        if key == "out" or key.startswith(("out.", "out_", "mid.", "grad.", "loss.")):
            raise ValueError(f"{self.name}: {key} is a result; compare it with `Report.check`")
        self.unread.discard(key)
        return self.values[key]

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        """All tensors below `prefix`, without it: a state dict."""
        return {key.removeprefix(prefix): self.given(key) for key in self.keys(prefix)}

    def expected(self, key: str) -> Any:
        """A result; it counts as compared from now on."""
        self.unread.discard(key)
        return self.values[key]


class Report:
    """Opens the files of a golden folder and collects comparisons.

    Args:
        folder: of the layout `lfae_small/`, `dm_small/`, `data/`; files may be missing.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.rows: list[Row] = []
        self.absent: list[str] = []
        self.opened: dict[str, Golden] = {}
        self.errors: list[str] = []

    def open(self, name: str) -> Golden | None:
        """A `.safetensors` or `.json` file (a dictionary at its top), or None where the folder lacks it."""
        if name in self.opened:
            return self.opened[name]
        path = self.folder / name
        if not path.exists():
            if name not in self.absent:
                self.absent.append(name)
            return None
        values = load_file(path) if path.suffix == ".safetensors" else json.loads(path.read_text())
        self.opened[name] = Golden(name, values)
        return self.opened[name]

    def glob(self, pattern: str) -> list[str]:
        """Names of the files that fit `pattern`, sorted; a pattern that nothing fits is listed as absent."""
        names = sorted(str(path.relative_to(self.folder)) for path in self.folder.glob(pattern))
        if not names and pattern not in self.absent:
            self.absent.append(pattern)
        return names

    def check(self, quantity: str, ours: Any, golden: Golden, key: str, relative: float = TOLERANCE) -> None:
        """Hold `ours` against `golden[key]`: tensors and numbers within `relative * max(1, max|reference|)`.

        Anything else (lists of integers, booleans, names) has to be equal.
        """
        theirs = golden.expected(key)
        quantity = f"{golden.name}: {quantity}"
        if not isinstance(theirs, Tensor | float):
            self.rows.append(Row(quantity, 0.0 if ours == theirs else float("inf"), 0.0))
            return
        ours, theirs = torch.as_tensor(ours).detach().double(), torch.as_tensor(theirs).double()
        tolerance = relative * max(1.0, theirs.abs().max().item() if theirs.numel() else 1.0)
        error = float("inf")
        if ours.shape == theirs.shape:
            difference = torch.where(ours == theirs, 0.0, (ours - theirs).abs())  # equal infinities agree
            error = difference.nan_to_num(nan=float("inf")).max().item() if theirs.numel() else 0.0
        self.rows.append(Row(quantity, error, tolerance))

    @contextmanager
    def section(self, title: str) -> Iterator[None]:
        """A part of the run that may fail by itself: its exception is kept and the run goes on."""
        try:
            yield
        except Exception:
            self.errors.append(f"{title}\n{traceback.format_exc()}")

    def unread(self) -> list[str]:
        """Values of the folder's files that no comparison, and no code under test, has looked at."""
        never = [str(p.relative_to(self.folder)) for p in sorted(self.folder.rglob("*")) if p.suffix in SUFFIXES]
        never = [f"{name} (whole file)" for name in never if name not in self.opened]
        return never + [f"{g.name}: {key}" for g in self.opened.values() for key in sorted(g.unread)]

    @property
    def passed(self) -> bool:
        """Whether something was compared, nothing was left out, and everything agrees."""
        return bool(self.rows) and all(row.passed for row in self.rows) and not self.errors and not self.unread()

    def table(self) -> str:
        """Quantity, largest error, tolerance, verdict; then what is absent, unread or broken."""
        width = max([len(row.quantity) for row in self.rows], default=8)
        lines = [f"{'quantity':{width}}  max error  tolerance  verdict"]
        for row in self.rows:
            verdict = "pass" if row.passed else "FAIL"
            lines.append(f"{row.quantity:{width}}  {row.error:9.2e}  {row.tolerance:9.2e}  {verdict}")
        for title, names in (("absent", self.absent), ("not read", self.unread()), ("broken", self.errors)):
            lines += [f"\n{title}: {len(names)}", *(f"  {name}" for name in names)] if names else []
        failed = sum(not row.passed for row in self.rows)
        lines.append(f"\n{len(self.rows)} comparisons, {failed} failed: {'PASS' if self.passed else 'FAIL'}")
        return "\n".join(lines)
