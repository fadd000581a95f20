"""One run from a recipe to a checkpoint, in a folder that holds all there is to know about it.

`recipe.json`, `log.jsonl` (a line each hundred steps and each evaluation), `state.safetensors` (to
go on from), `best.safetensors` (the moving average with the lowest validation error so far),
`last.safetensors` (the same after the latest evaluation), `predictions-<step>.png` and `curve.png`.
"""

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile
from typing import Any

import torch
from torch import nn

from distill import log, state
from distill.bank import BankCrops
from distill.crops import CropMaker, samples_of
from distill.data import Sample
from distill.evaluate import counts_of, scores_by_part
from distill.initial import start_from
from distill.lineage import (
    copy_method,
    copy_weights,
    finished,
    forebears,
    steps_before,
    teachers_of,
)
from distill.loop import CPU, Learner, bf16_pays
from distill.recipes import Recipe, same
from distill.report import draw_curve, draw_predictions
from models.checkpoint import save_checkpoint
from models.errors import DataError
from models.machine import commit_here, machine
from models.metrics import Scores
from models.nets import NETS
from models.progress import progress
from models.whole import folder_at, whole, write_text

LOG, BEST, LAST = "log.jsonl", "best.safetensors", "last.safetensors"
LOG_EVERY = 100
SAVE_EVERY_S = 180.0
SHOWN = 6


def train(recipe: Recipe, *, data: Path, out: Path, device: torch.device = CPU) -> Path:
    """Train to the recipe's last step, going on where `out` stopped; returns the best checkpoint.

    Raises DataError where `out` holds the run of another recipe or of other teachers, where a run
    that it needs is missing or not finished, and where the disk is full.
    """
    came_from, before = forebears(recipe, out.parent), steps_before(recipe, out.parent)
    _claim(folder_at(out), recipe, came_from)
    learner = _begun(recipe, data=data, out=out, device=device)
    nets, saved = learner.nets, out / "state.safetensors"
    start = state.restore(saved, nets=nets, optimiser=learner.optimiser) if saved.exists() else 0
    maker = _crops(recipe, data=data, runs=out.parent, stride=learner.student.spec.stride)
    bf16 = bf16_pays(device)
    if start < recipe.steps:
        where = {"commit": commit_here(), "machine": machine()}
        log.append(out / LOG, begins_at=start, came_from=came_from, **where)
    saved_s, began_s = time.monotonic(), time.monotonic()
    with progress(f"training {recipe.net}", total=recipe.steps) as tick:
        steps = range(before + start, before + recipe.steps)
        for step, crops in enumerate(maker.ahead(steps), start=start):
            terms = learner.step(crops, number=step, bf16=bf16)
            done = step + 1
            tick(done, " ".join(f"{name} {value:.1f}" for name, value in terms.items()))
            if done % LOG_EVERY == 0:
                log.append(out / LOG, step=done, seconds=_since(began_s), **terms)
            ends = done % recipe.evaluate_every == 0 or done == recipe.steps
            if ends:
                said = _evaluate(recipe, learner, data=data, out=out, step=done, before=before)
                log.append(out / LOG, step=done, seconds=_since(began_s), **said)
            if ends or time.monotonic() - saved_s > SAVE_EVERY_S:
                state.save(saved, step=done, nets=nets, optimiser=learner.optimiser)
                saved_s = time.monotonic()
            if ends:
                _draw(recipe, learner, data=data, out=out, step=done)
    return out / BEST


def _begun(recipe: Recipe, *, data: Path, out: Path, device: torch.device) -> Learner:
    """What learns, as it is before the first step."""
    torch.manual_seed(recipe.seed)
    student, started = NETS[recipe.net](**recipe.net_arguments), frozenset[nn.Parameter]()
    if recipe.trunk_weights:
        started, checksum = start_from(student.get_submodule("trunk"), data / recipe.trunk_weights)
        log.append(out / LOG, started_from=recipe.trunk_weights, first_layer=checksum)
    if recipe.starts:
        copy_weights([finished(out.parent, start) for start in recipe.starts], student)
    teachers = teachers_of(recipe, out.parent)
    learner = Learner.of(recipe, student, teachers, started=started, device=device)
    if recipe.starts_from:
        copy_method(finished(out.parent, recipe.starts_from), learner.method)
    return learner


def _since(began_s: float) -> float:
    return round(time.monotonic() - began_s, 1)


def _crops(recipe: Recipe, *, data: Path, runs: Path, stride: int) -> CropMaker | BankCrops:
    if recipe.bank:
        return BankCrops(recipe, folder=runs / recipe.bank, stride=stride)
    return CropMaker.of(recipe, data=data, stride=stride)


def _claim(out: Path, recipe: Recipe, came_from: Mapping[str, str]) -> None:
    """A folder belongs to one recipe, and to the nets that it was begun with: going on with another
    is a run that nobody described.
    """
    described = json.dumps(dataclasses.asdict(recipe), indent=2, default=str) + "\n"
    path = out / "recipe.json"
    if not path.exists():
        write_text(path, described)
    elif not same(_json(path), recipe):
        raise DataError(f"{out} holds a run of another recipe: choose another --out, or remove it")
    for entry in log.read(out / LOG):
        if entry.get("came_from", came_from) != came_from:
            was = ", ".join(sorted(dict(came_from.items() ^ entry["came_from"].items())))
            raise DataError(f"{out} began with another {was}: choose another --out, or remove it")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}


def _evaluate(
    recipe: Recipe, learner: Learner, *, data: Path, out: Path, step: int, before: int
) -> dict[str, Any]:
    """Saves the checkpoints; returns what the log is to say of them."""
    counted = counts_of(
        _validation(recipe, data), learner.evaluated, bf16=bf16_pays(learner.pixels.mean.device)
    )
    scores = scores_by_part(counted)
    rank = ranking(scores)
    ranks = [entry["rank"] for entry in log.read(out / LOG) if "rank" in entry]
    best = min(ranks, default=float("inf"))
    # last of all `last`, which makes others believe that a run is finished; and both before the
    # line that says so: a run stopped in between goes on right
    path = out / (BEST if rank < best else LAST)
    save_checkpoint(
        path, learner.evaluated, name=recipe.net, arguments=recipe.net_arguments,
        facts={"step": step, "before": before, "recipe": dataclasses.asdict(recipe)},
    )  # fmt: skip
    if rank < best:  # a copy, so that a table, which knows files by digest, counts it once
        with whole(out / LAST) as partial:
            copyfile(path, partial)
    return {"validation": {part: score.plain() for part, score in scores.items()}, "rank": rank}


def _draw(recipe: Recipe, learner: Learner, *, data: Path, out: Path, step: int) -> None:
    samples = _validation(recipe, data)
    shown = samples[:: max(1, len(samples) // SHOWN)][:SHOWN]
    draw_predictions(shown, learner.evaluated, out / f"predictions-{step}.png")
    draw_curve(out / LOG, out / "curve.png")


def _validation(recipe: Recipe, data: Path) -> list[Sample]:
    return [sample for part in recipe.validate for sample in samples_of(part, data)]


def ranking(scores: dict[str, Scores]) -> float:
    """One number to choose by, lower is better: relative errors of the parts, averaged.

    Each part's trimmed MAE over its mean count (+ 5, so that empty pictures can be ranked): three
    pictures of part A carry a quarter of its MAE, and would choose alone.
    """
    parts = [score.mae_trimmed / (score.mean_true + 5) for score in scores.values()]
    return sum(parts) / len(parts)
