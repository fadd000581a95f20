"""A comparison of routes to int8 for people: a table and a Markdown page."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from deploy.card import PARTS
from deploy.compare import Comparison, Row

LEFT = ("route", "CPU", "rules broken")
EACH = ("MAE lost", "gap", "shift")


def save(comparison: Comparison, folder: Path) -> list[Path]:
    """JSON and Markdown, named by date, bundle and commit, in a folder that is there."""
    date = comparison.date[:19].replace(":", "")
    stem = f"{date}-routes-{comparison.bundle}-{comparison.commit}"
    data, page = folder / f"{stem}.json", folder / f"{stem}.md"
    data.write_text(json.dumps(asdict(comparison), indent=2) + "\n", encoding="utf-8")
    page.write_text(markdown(comparison), encoding="utf-8")
    return [data, page]


def table(comparison: Comparison) -> Table:
    columns = (Column(name, no_wrap=True) for name in _head(comparison))
    shown = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    for row in comparison.rows:
        shown.add_row(*_cells(comparison, row))
    return shown


def markdown(comparison: Comparison) -> str:
    machine = comparison.machine
    head = _head(comparison)
    lines = [head, ("---", *("---:" for _ in head[1:]))]
    lines += [_cells(comparison, row) for row in comparison.rows]
    parts = [
        f"# Routes to int8 for {comparison.bundle}, {comparison.date}",
        f"Commit `{comparison.commit}`; the bundle was exported at `{comparison.trained}`. "
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, "
        + ", ".join(f"{name} {number}" for name, number in comparison.versions.items())
        + f". Routes were calibrated on {comparison.crops} crops, or on some of them "
        "where one says so. The load average was "
        f"{comparison.load_average:.1f} at the end.",
        "\n".join(f"| {' | '.join(line)} |" for line in lines),
        "\n".join(f"- {row.name}: {row.error or row.what}" for row in comparison.rows),
        LEGEND,
        "\n".join(f"- {part}: {_in_words(comparison, part)}" for part in _parts(comparison)),
    ]
    return "\n\n".join(parts) + "\n"


LEGEND = """MAE lost is relative to the fp32 graph, in the same engine; gap is the mean relative
difference of a picture's count from the fp32 graph's, shift that of the sum of all counts: both say
more than MAE, which a net that counts too few can win by luck. CPU is the processor time of a frame
of 768 x 432 on one lane over that of bf16 (of fp32, where bf16 is not in the table). Rules broken
are those of `deploy/lint.py`: TensorRT's parser may refuse such a graph."""


def _head(comparison: Comparison) -> tuple[str, ...]:
    return (*LEFT, *(f"{what} {part}" for part in _parts(comparison) for what in EACH))


def _cells(comparison: Comparison, row: Row) -> tuple[str, ...]:
    if row.error is not None:
        return (row.name, "not run", *("" for _ in _head(comparison)[2:]))
    found = (row.parts[part] for part in _parts(comparison))
    figures = (f"{share:+.2%}" for one in found for share in (one.mae_lost, one.gap, one.shift))
    ratio = "" if row.cpu_ratio is None else f"{row.cpu_ratio:.2f}"
    return (row.name, ratio, str(row.broken), *figures)


def _in_words(comparison: Comparison, part: str) -> str:
    first = comparison.rows[0].parts[part]
    return f"{PARTS.get(part, part)}, {first.pictures} pictures, MAE in fp32 {first.mae:.2f}"


def _parts(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(part for row in comparison.rows for part in row.parts))
