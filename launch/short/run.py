"""A short run: what happens in each slice, and what is done when a part fails."""

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .desk import Desk, steps_of
from .options import Options
from .report import HOW
from .slices import Part, Slice, slices

DRAWING = 60.0  # seconds at most for drawing clips
MEASURING = 0.25  # of a stage's slice at most for trying its step
JUDGE = 0.4  # of the evaluation for training the judge
AGAIN = 0.25  # of a slice that must be left to start a part once more
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}


@dataclass
class Run:
    """One short run. `stopped` is set to a signal's number to end it early; it then leaves what it has."""

    options: Options
    stopped: int = 0
    method: str = "forkserver"  # in which parts are started
    parts: dict[str, Part] = field(default_factory=dict)

    def __post_init__(self):
        self.seconds = 60 * self.options.minutes
        self.desk = Desk(self.options)
        self.slices = slices(self.options.began, self.options.minutes)
        self.margin = max(1.5, 0.012 * self.seconds)  # before a slice's end, to write a model and to leave
        self.grace = max(2.0, 0.01 * self.seconds)  # after it, for who saves upon a signal

    # ------------------------------------------------------------ the story

    def go(self) -> int:
        """All slices, one after the other; both folders are there, and empty.

        Returns:
            The exit status: 0 if there is a model and its figures; 1 if not; 2 if it cannot begin; 128 and the
            signal's number if one ended it.
        """
        self.desk.say(self.desk.card)
        try:
            for name, do in (
                ("preparation", self.prepare),
                ("stage one", lambda now: self.stage(now, "autoencoder", "ae")),
                ("stage two", lambda now: self.stage(now, "diffusion", "dm")),
                ("evaluation", self.evaluate),
            ):
                self.carry_out(self.slices[name], do)
            return self.finish()
        except Refused as refused:
            for part in self.parts.values():
                part.end(0)
            self.desk.withdraw()
            print(f"short_gpu.sh: {refused}", file=sys.stderr)
            return 2
        finally:
            for part in self.parts.values():
                part.end(0)

    def carry_out(self, now: Slice, do: Any) -> None:
        """One slice; what it found, and how it ended, becomes a row."""
        if self.stopped:
            return
        began = self.options.began
        row = {"name": now.name, "planned": [now.begins - began, now.ends - began], "began": time.time() - began}
        self.desk.rows.append(row | {"ended": None, "steps": None, "status": "going on"})
        try:
            status, steps = do(now)
        except Refused:
            raise
        except Exception as error:  # a fault here must not cost the other slices
            status, steps = f"failed: {type(error).__name__}: {error}", None
            for key in [key for key in self.parts if key.startswith(("measure", "train"))]:  # not beside the next one's
                self.parts.pop(key).end(self.grace)
        self.desk.rows[-1] |= {"ended": time.time() - began, "steps": steps, "status": status}
        self.desk.say(f"{now.name}: {status}" + (f", {steps} steps" if steps else ""))
        self.desk.update()

    def prepare(self, now: Slice) -> tuple[str, None]:
        """Everything is imported, and clips begin to be drawn."""
        options = self.options
        self.begin("draw", nice=5, OMP_NUM_THREADS="1", **NO_GPU)
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.parts["draw"].tell(
            preset=options.preset,
            cache=str(options.work / "cache"),
            workers=max(1, workers),
            at_least=100,
            until=time.time() + min(DRAWING, 0.12 * self.seconds),
        )
        return "done", None

    def stage(self, now: Slice, stage: str, name: str) -> tuple[str, int | None]:
        """Measure a step of a stage, then train it for the rest of its slice."""
        if stage == "diffusion":
            if not (self.options.work / "ae" / "model.safetensors").is_file():
                return "left out: there is no auto-encoder", None
            self.begin("evaluate").tell(
                preset=self.options.preset, clips=self.options.clips, device=self.options.device
            )
        how = self.measure(now, stage)
        task = self.task(stage, name, now.ends - self.margin, **how)
        status = self.train(now, name, task)
        return status, steps_of(self.options.work / name)

    def measure(self, now: Slice, stage: str) -> dict[str, Any]:
        """What a step costs in each precision; the one that makes most steps in the time left is how to train."""
        self.clips()  # there must be some, or this is no preset
        part = self.begin("measure", stage)
        part.tell(preset=self.options.preset, stage=stage, compile=self.options.compile)
        ends = time.time() + MEASURING * (now.ends - time.time())
        status = part.wait(ends, self.is_stopped, self.desk.now_and_then, 0)
        self.desk.measured[stage] = found = part.found()
        if status != "done":
            left = [how for how in (("bf16", False), ("no", False), ("bf16", True)) if how not in map(ways, found)]
            why = "not within its time" if status == "overran" else f"{status}: {part.last_words()}"
            left = left if self.options.compile else left[:-1]
            found += [{"precision": precision, "compile": compiled, "failed": why} for precision, compiled in left]
        good = [trial for trial in found if "failed" not in trial]
        spoilt = any(words in str(found) for words in ("forked", "initialization error"))
        if not good and spoilt and self.method == "forkserver":  # what was imported has touched the GPU: import anew
            self.method = "spawn"
            self.parts = {key: part for key, part in self.parts.items() if key == "draw"}
            return self.measure(now, stage)
        if good and self.options.device == "cuda" and good[0]["device"] == "cpu":
            raise Refused("--device is cuda, but torch sees no GPU here")
        time_left = now.ends - self.margin - time.time()
        best = max(good, key=lambda t: (time_left - t["first"]) / t["seconds"], default=None)
        if best is None:
            self.desk.notes.append(f"{stage}: no step could be measured; trained in bfloat16, uncompiled")
            return {"precision": "bf16", "compile": False, "seconds": 1.0, "steps": max(20, int(time_left))}
        best["chosen"] = True
        for trial in good:
            share = trial["flops"] / trial["seconds"] / trial["rate"]
            cost = f"{trial['seconds']:.4f} s a step, {trial['peak'] / 1e9:.2f} GB, {share:.0%} of a large product"
            self.desk.say(f"{stage}, {HOW[ways(trial)]}: {cost}")
        steps = max(20, int(0.9 * (time_left - best["first"]) / best["seconds"]))
        return {"precision": best["precision"], "compile": best["compile"], "seconds": best["seconds"], "steps": steps}

    def task(self, stage: str, name: str, until: float, **how: Any) -> dict[str, Any]:
        """What a training is told."""
        work, clips = self.options.work, self.clips()
        if clips is None:
            raise RuntimeError(f"no clips were drawn: {self.parts['draw'].last_words()}")
        return how | {
            "preset": self.options.preset,
            "stage": stage,
            "out": str(work / name),
            "autoencoder": str(work / "ae"),
            "train_clips": clips,
            "until": until,
            "seed": self.options.seed,
            "save_minutes": min(1.0, self.options.minutes / 9),
            "row_seconds": max(0.2, self.seconds / 600),
            "plain": False,
        }

    def clips(self) -> int | None:
        """How many training clips there will be; waits until that is known."""
        draw = self.parts["draw"]
        while not (found := draw.found()) and draw.status is None and not self.stopped:
            if time.time() > self.slices["stage one"].ends:
                return None
            self.desk.now_and_then()
            time.sleep(0.05)
        if found and "refused" in found[0]:
            raise Refused(found[0]["refused"])
        self.desk.clips = found[0]["train_clips"] if found else None
        return self.desk.clips

    def train(self, now: Slice, name: str, task: dict[str, Any]) -> str:
        """Train until the slice is over; a training that dies is started once more, uncompiled and without workers.

        Returns:
            How it ended.
        """
        out, tried = Path(task["out"]), 0
        while True:
            part, tried = self.begin("train", name).tell(**task), tried + 1
            status = part.wait(now.ends, self.is_stopped, self.desk.now_and_then, self.grace)
            self.parts.pop(f"train {name}")
            if status != "failed" or tried > 1 or now.ends - time.time() < AGAIN * (now.ends - now.begins):
                break
            self.desk.notes.append(f"{name} died and was started again: {part.last_words()}")
            saved = any(out.glob("checkpoints/step_*"))
            # With a checkpoint it goes on as it began; and where shared memory is scarce, workers may be what died.
            task = task | {"compile": False, "plain": not saved, "workers": 0}
        if status == "failed":
            self.desk.notes.append(f"{name} died: {part.last_words()}")
        if (out / "model.safetensors").is_file() or self.stopped or not any(out.glob("checkpoints/step_*")):
            return status
        part = self.begin("train", name).tell(**task | {"until": time.time() - 1, "compile": False})
        limit = min(max(15.0, 0.04 * self.seconds), AGAIN * (now.ends - now.begins))  # out of the next slice
        ended = part.wait(time.time() + limit, self.is_stopped, self.desk.now_and_then, 0)
        self.parts.pop(f"train {name}")
        return f"{status}; finished from its last checkpoint" if ended == "done" else f"{status}; not finished"

    def evaluate(self, now: Slice) -> tuple[str, int | None]:
        """Train the judge for a part of the time; then measure the model as `lfdm evaluate` does."""
        work = self.options.work
        model = next((work / n for n in ("dm", "ae") if (work / n / "model.safetensors").is_file()), None)
        if model is None:
            return "left out: there is no model", None
        judge = None
        if model.name == "dm":
            ends = time.time() + JUDGE * (now.ends - time.time())
            how = {"precision": "no", "compile": False, "seconds": 0.1, "steps": 200}
            if chosen := [t for t in self.desk.measured.get("autoencoder", []) if t.get("chosen")]:
                how |= {"precision": chosen[0]["precision"], "seconds": chosen[0]["seconds"] / 2}
            task = self.task("judge", "judge", ends - min(self.margin, 2.0), **how)
            self.train(Slice("judge", time.time(), ends), "judge", task)
            judge = work / "judge" if (work / "judge" / "model.safetensors").is_file() else None
            if judge is None:
                self.desk.notes.append("there is no judge, so that generated clips were not measured")
        part = self.begin("evaluate").tell(
            model=str(model),
            judge=judge and str(judge),
            out=str(work),
            until=now.ends - 1,
            max_bytes=self.options.max_bytes,
        )
        status = part.wait(now.ends, self.is_stopped, self.desk.now_and_then, 0)
        self.parts.pop("evaluate")
        measured = [row["measured"] for row in part.found() if "measured" in row]
        if not measured:
            self.desk.notes.append(f"nothing was measured: {part.last_words() if status == 'failed' else status}")
        return status, steps_of(work / "judge")

    def finish(self) -> int:
        """Write the folder for the last time."""
        now, number = self.slices["packing"], self.stopped
        state = f"stopped by signal {number}" if number else "finished"
        for part in self.parts.values():
            part.end(0)
        written = self.desk.finish(state, max(now.ends - 0.5, time.time() + (10 if number else 2)))
        self.desk.say(f"{state}: {self.options.out}")
        if number:
            return 128 + number
        return 0 if written and (self.options.work / "metrics.json").is_file() else 1

    # ------------------------------------------------------------ parts

    def begin(self, kind: str, name: str = "", nice: int = 0, **environment: str) -> Part:
        """A part, which waits for its task; the one that is there already, if there is one."""
        key = f"{kind} {name}".strip()
        if key not in self.parts:
            fixed = {"TORCHINDUCTOR_CACHE_DIR": str(self.options.work / "compiled")}
            fixed |= NO_GPU if self.options.device == "cpu" else {}
            given = self.options.work, fixed | environment, nice, self.method
            self.parts[key] = Part(kind, key.replace(" ", "_"), *given)
        return self.parts[key]

    def is_stopped(self) -> bool:
        """Whether a signal came."""
        return bool(self.stopped)


class Refused(Exception):
    """The run cannot begin."""


def ways(trial: dict[str, Any]) -> tuple[str, bool]:
    """How a step was tried: its precision, and whether it was compiled."""
    return trial["precision"], trial["compile"]
