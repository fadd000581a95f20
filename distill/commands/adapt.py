"""`throng-distill adapt`."""

import hashlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from distill import adapt as adapting
from distill.commands._options import Threads, size_hw
from distill.site import read_labels, read_site
from models.checkpoint import load_checkpoint
from models.errors import ConfigError, DataError
from models.machine import commit_here, machine
from models.progress import tracked


def adapt(  # noqa: PLR0913  # a command's options are its arguments
    camera_frames: Annotated[Path, typer.Option(help="Folder of pictures from the site.")],
    student: Annotated[Path, typer.Option(help="A best.safetensors, or a bundle's weights.")],
    out: Annotated[Path, typer.Option(help="A new folder for checkpoint and report.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="Head points of some of them [default: labels.csv or .json there]."),
    ] = None,
    judge: Annotated[
        Path | None, typer.Option(help="More head points, only to measure by: never learned from.")
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE=CHECKPOINT",
            help="Twice, for deeper and wider [default: the student's moving average, and itself].",
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Of 8 crops.")] = 600,
    most: Annotated[int, typer.Option(min=1, help="Frames without labels, at most.")] = 400,
    size: Annotated[
        str, typer.Option(help="Width x height that the service counts at [default: as stored].")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of the crops.")] = 0,
    threads: Threads = 0,
) -> None:
    """Adapt a student to one site: many of its frames without labels, and six or more with.

    Labels are a CSV with the columns `picture,x,y`, a row a head (a picture without people: one row
    with x and y empty), or JSON, {"a.jpg": [[x, y], ...], "empty.jpg": []}; pixels as a viewer
    shows the picture. Every third labelled frame, and no fewer than three, is held out; the adapted
    student is written only where it counts those no worse than before (else exit code 2). OUT gets
    adapted.safetensors (for `throng-deploy export`), report.json and report.md.

    Give --size where the service scales frames: people of another size are another crowd. Teachers
    must be good at the site's kind of picture; the default ones know what the student knew and what
    the labels tell.
    """
    if threads:
        torch.set_num_threads(threads)
    adapting.claim(out)
    began_s = time.monotonic()
    learner = load_checkpoint(student)
    named = _named(teacher or [])
    recipe = adapting.site_recipe(learner, teachers=named, steps=steps, seed=seed)
    taught_by = {role: load_checkpoint(Path(path)).net for role, path in named.items()}
    site = read_site(
        camera_frames,
        read_labels(labels or _labels_in(camera_frames)),
        judge=read_labels(judge) if judge else {},
        most=most,
        box=size_hw(size) if size else None,
        track=lambda names: tracked("reading", total=len(names))(names),
    )
    if site.skipped:
        said = f"{len(site.skipped)} pictures cannot be read, such as {site.skipped[0]}"
        Console().print(said, soft_wrap=True, markup=False)
    net = adapting.adapted(learner, site, teachers=taught_by, recipe=recipe)
    here = machine()
    facts = {
        "student": f"{student}, SHA-256 {hashlib.sha256(student.read_bytes()).hexdigest()}",
        "teachers": ", ".join(f"{role}: {one.run}" for role, one in recipe.teachers.items()),
        "steps": steps,
        "seed": seed,
        "size": size or "as stored",
        "seconds": round(time.monotonic() - began_s),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit_here(),
        "machine": f"{here['processor']}, {here['cores']} cores",
    }
    outcome = adapting.Outcome.of(site, before=learner.net, after=net, facts=facts)
    path = adapting.keep(net, learner, recipe=recipe, outcome=outcome, out=out)
    held = outcome.held
    Console().print(
        f"MAE on {len(held.frames)} held-out frames: {held.before.mae:.2f} before, "
        f"{held.after.mae:.2f} after"
    )
    Console().print(f"saved {path}", soft_wrap=True)


def _named(given: list[str]) -> dict[str, str]:
    named = dict(one.split("=", 1) for one in given if "=" in one)
    if len(named) != len(given):
        raise ConfigError(f"--teacher {' '.join(given)}: wanted ROLE=CHECKPOINT, each role once")
    return named


def _labels_in(folder: Path) -> Path:
    for path in (folder / "labels.csv", folder / "labels.json"):
        if path.is_file():
            return path
    raise DataError(f"no labels.csv or labels.json in {folder}: give --labels FILE")
