"""One camera of Beijing-BRT as a site: the demo of `throng-distill adapt`.

    python -m distill.brt_site ../shared/data STUDENT.safetensors runs/brt
    throng-distill adapt --camera-frames runs/brt/frames --judge runs/brt/judge.csv \\
        --student STUDENT.safetensors --out runs/brt/adapted

The first three fifths of the camera's day are what the site collected: ten frames, spread evenly,
get labels, the others none. The rest of the day judges. Frames that the student, a teacher of it or
a run that it started from was trained on are in neither.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.crops import samples_of
from distill.data import Sample
from distill.recipes import Part, recipe
from models.checkpoint import load_checkpoint
from models.commands import run_command
from models.errors import DataError

COLLECTED = 0.6
LABELLED = 10
LEAST = 20


def lay_out(samples: Sequence[Sample], out: Path) -> None:
    """Link the pictures into `out/frames`, and write labels.csv there and judge.csv beside it.

    `samples` in the order of time. Raises DataError where there are too few.
    """
    if len(samples) < LEAST:
        raise DataError(f"{len(samples)} frames that nobody was trained on: wanted {LEAST} or more")
    frames = out / "frames"
    if frames.exists():
        raise DataError(f"{frames} is there already: choose another folder, or remove it")
    frames.mkdir(parents=True)
    for sample in samples:
        (frames / sample.path.name).symlink_to(sample.path.resolve())
    ends = int(len(samples) * COLLECTED)
    labelled = [samples[(2 * i + 1) * ends // (2 * LABELLED)] for i in range(LABELLED)]
    write_labels(frames / "labels.csv", labelled)
    write_labels(out / "judge.csv", samples[ends:])


def write_labels(path: Path, samples: Sequence[Sample]) -> None:
    """As `distill.site` reads them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("picture", "x", "y"))
        for sample in samples:
            points = sample.points_P2.tolist() or [("", "")]
            rows.writerows((sample.path.name, x, y) for x, y in points)


def shown_to(described: Mapping[str, Any]) -> Iterator[Part]:
    """What a recipe (as JSON), its teachers' and its forebears' were trained on."""
    yield from (Part(**part) for part in described["train"])
    runs = [teacher["run"] for teacher in described.get("teachers", {}).values()]
    starts = [described.get("starts_from"), *described.get("averaged_with", ())]
    for run in filter(None, [*runs, *starts]):
        yield from shown_to(asdict(recipe(run)))


def site(
    data: Annotated[Path, typer.Argument(help="Folder of the data pack.")],
    student: Annotated[Path, typer.Argument(help="The checkpoint that will be adapted.")],
    out: Annotated[Path, typer.Argument(help="A new folder, below runs/: it links pictures.")],
    camera: Annotated[int, typer.Option(min=1, max=2)] = 1,
) -> None:
    """Lay out one camera of Beijing-BRT for `throng-distill adapt`."""
    facts = load_checkpoint(student).facts
    if "recipe" not in facts:
        raise DataError(f"{student} does not say what it was trained on: train it again")
    parts = [part for part in shown_to(facts["recipe"]) if part.split == "train_brt"]
    seen = {sample.id for part in parts for sample in samples_of(part, data)}
    whole = samples_of(Part("pack", "train_brt", prefix=f"brt_{camera}-"), data)
    lay_out([sample for sample in whole if sample.id not in seen], out)


if __name__ == "__main__":
    run_command(lambda: typer.run(site), "brt_site")
