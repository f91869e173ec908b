"""Both stages one after the other, in one folder and with one budget."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...files.atomic import write_json
from ...files.checkpoints import CONFIG_FILE
from ...files.reading import read_json
from ..configs import AutoencoderRun, DiffusionRun
from ..engine.recipes import RECIPE, Recipe, recipe_for
from ..rivals import AnyRun, BothStages, LaMDCodecRun, LaMDDiffusionRun, LDMCodecRun, LDMDiffusionRun, VDMDiffusionRun
from .rehearsal import rehearse
from .rivals import train_lamd_codec, train_ldm_codec, train_rival
from .stage_one import train_autoencoder
from .stage_two import train_diffusion

TRAINERS: dict[type, Callable[..., Any]] = {  # of each kind of run, what carries it out
    AutoencoderRun: train_autoencoder,
    DiffusionRun: train_diffusion,
    LDMCodecRun: train_ldm_codec,
    LDMDiffusionRun: train_rival,
    LaMDCodecRun: train_lamd_codec,
    LaMDDiffusionRun: train_rival,
    VDMDiffusionRun: train_rival,
}


def train_both(config: AnyRun, out: Path, resume: bool = False) -> Any:
    """Run both stages, each in a folder of its own below `out`, and leave the whole model in `out`.

    The first stage gets its share of `config.cpu_minutes`, the second what is left. A second stage whose config names
    a finished first one begins with that, and what that one took counts. `recipe.json` has, under "effort", steps,
    processor seconds and seconds of each.

    Returns:
        The model, an `LFDM` or a `Rival`.

    Raises:
        ValueError: `out` holds another run; the stages and the clips do not fit together, which is said before anything
            is learned; or the first stage took all of the minutes.
        Stopped: a stage was stopped; it has saved first.
    """
    out = Path(out)
    main = os.environ.get("RANK", "0") == "0"
    if main:
        recipe = recipe_for(out, config, resume, int(os.environ.get("WORLD_SIZE", 1)), "", "*/checkpoints/step_*")
        if not (getattr(config.second, "autoencoder", "") or getattr(config.second, "codec", "")):
            rehearse(config)  # a first stage that is finished may have other sizes, and costs nothing
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / RECIPE, recipe)
    first: Any = getattr(config, "first", None)
    second: Any = config.second
    recipes: dict[str, Recipe] = {}
    if first is not None:
        source = "autoencoder" if hasattr(second, "autoencoder") else "codec"
        folder = Path(getattr(second, source) or out / first.stage)
        if folder == out / first.stage and not (folder / CONFIG_FILE).is_file():
            minutes = None if config.cpu_minutes is None else config.share * config.cpu_minutes
            TRAINERS[type(first)](within(first, minutes, out), folder, resume)
        recipes[first.stage] = read_json(folder / RECIPE)
        second = replace(second, **{source: str(folder)})
    left = minutes_left(config, recipes)
    model = TRAINERS[type(second)](within(second, left, out), out / second.stage, resume)
    recipes[second.stage] = read_json(out / second.stage / RECIPE)
    if main:
        save = getattr(model, "save_pretrained", None) or model.save
        save(out)
        effort = {stage: effort_of(found) for stage, found in recipes.items()}
        total = {
            name: round(sum(part[name] for part in effort.values()), 1) for name in ("processor_seconds", "seconds")
        }
        write_json(out / RECIPE, recipe | recipes | total | {"effort": effort})
    return model


def within(run: Any, minutes: float | None, out: Path) -> Any:
    """A stage's run with so many processor minutes, and with clips that runs beside `out` share."""
    folder = run.loop.cache_folder or str(out.parent / "cache")
    minutes = run.loop.cpu_minutes if minutes is None else minutes
    return replace(run, loop=replace(run.loop, cpu_minutes=minutes, cache_folder=folder))


def minutes_left(config: BothStages, recipes: dict[str, Recipe]) -> float | None:
    """Processor minutes that the first stage leaves to the second.

    Raises:
        ValueError: none.
    """
    if config.cpu_minutes is None:
        return None
    spent = sum(effort_of(recipe)["processor_seconds"] for recipe in recipes.values()) / 60
    if spent >= config.cpu_minutes:
        raise ValueError(f"cpu_minutes={config.cpu_minutes:g}: the first stage took {spent:.1f}; give both more")
    return config.cpu_minutes - spent


def effort_of(recipe: Recipe) -> dict[str, int | float]:
    """Steps, processor seconds and seconds that a finished run took."""
    steps = recipe.get("steps", recipe["config"]["optim"]["steps"])
    return {"steps": steps, "processor_seconds": recipe["processor_seconds"], "seconds": recipe["seconds"]}
