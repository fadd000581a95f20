"""A measured table for people: Markdown beside its JSON, and plots without a single picture."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from distill.crops import samples_of
from distill.plots import Curves, draw_curves, draw_scatter
from distill.report import draw_predictions
from distill.tables import Table
from distill.tables._measured import SCORES, Line, Made, Over, Seen
from distill.tables._runs import CHECKPOINTS
from models.checkpoint import load_checkpoint
from models.whole import folder_at, write_text

WORST = 10

CHOSEN = """Validation, not a test. `best` is the checkpoint that a run chose on val, by rank (see
`distill.run.ranking`), so its errors are too good; `last` is the one after the last step, which
nothing chose. Errors are people a picture: whole pictures, in fp32, against the number of head
points. "trimmed" leaves out the three largest errors of a part; ± is the sample standard deviation
over the n seeds."""
SPENT = """Crops and hours are a run's, with those of the runs it started from, without its
teachers'. Hours are of the wall clock, validation included, on whatever machine it ran.
Commits are those that its runs were begun or went on by; the JSON says at which step."""


def save(made: Made, table: Table, seen: Sequence[Seen], *, name: str, out: Path) -> list[Path]:
    """JSON, Markdown and plots, named by date and table; results are added, never edited."""
    folder_at(out)
    stem = f"{made.date[:19].replace(':', '')}-{name}"
    data, page = out / f"{stem}.json", out / f"{stem}.md"
    write_text(data, json.dumps(made.plain(), indent=2) + "\n")
    plots = []
    if made.lines:
        plots.append(out / f"{stem}-curves.png")
        draw_curves(_curves(table, seen), plots[-1])
    shown = [one for one in seen if one.row.name in table.scattered and one.runs]
    if shown:
        plots.append(out / f"{stem}-scatter.png")
        counts = {
            part: {one.row.name: one.counted("best", part)[0] for one in shown}
            for part in table.parts
        }
        draw_scatter(counts, plots[-1])
    write_text(page, markdown(made, plots))
    return [data, page, *plots]


def draw_worst(table: Table, seen: Sequence[Seen], *, runs: Path, data: Path) -> list[Path]:
    """The pictures that each run's best checkpoint counts worst, with maps, into its folder.

    They show pictures of the data sets: never commit them.
    """
    samples = {s.id: s for part in table.parts.values() for s in samples_of(part, data)}
    drawn = []
    for one in seen:
        for run, counts in zip(one.runs, one.counts, strict=True):
            counted = [c for some in counts["best"].values() for c in some]
            counted.sort(key=lambda c: -abs(c.predicted - c.true))
            net = load_checkpoint(runs / run.name / "best.safetensors").net
            drawn.append(runs / run.name / "worst.png")
            draw_predictions([samples[c.id] for c in counted[:WORST]], net, drawn[-1])
    return drawn


def markdown(made: Made, plots: Sequence[Path] = ()) -> str:
    how = made.machine
    parts = ", ".join(f"{part}: {number} pictures" for part, number in made.parts.items())
    sections = [
        f"# {made.title}",
        made.says,
        f"Made {made.date}, commit `{made.commit}`, {how['processor']}, {how['cores']} cores, "
        f"torch {made.versions.get('torch')}. Validation on {parts}.",
        CHOSEN,
        *(_errors(made, part) for part in made.parts),
        _cost(made),
        _compared(made),
        _remarks(made),
        *(f"![{plot.stem.rpartition('-')[2]}]({plot.name})" for plot in plots),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _errors(made: Made, part: str) -> str:
    words = {"mae": "MAE", "mae_trimmed": "trimmed", "rmse": "RMSE", "bias": "bias"}
    head = [part, "n"]
    head += [f"{checkpoint} {words[score]}" for checkpoint in CHECKPOINTS for score in SCORES]
    rows = []
    for line in made.lines:
        errors = [line.errors[name][part] if name in line.errors else {} for name in CHECKPOINTS]
        cells = [_over(some[score]) if some else "-" for some in errors for score in SCORES]
        rows.append([line.name, str(len(line.runs)), *cells])
    return _table(head, rows) if rows else ""


def _over(number: Over) -> str:
    spread = "" if number.deviation is None else f" ± {number.deviation:.1f}"
    return f"{number.mean:.1f}{spread}"


def _cost(made: Made) -> str:
    head = ["cost", "parameters", "GMAC at 864 x 576", "crops seen", "hours", "seeds", "commits"]
    rows = [_spent(line) for line in made.lines]
    return f"{_table(head, rows)}\n\n{SPENT}" if rows else ""


def _spent(line: Line) -> list[str]:
    seeds, commits = ", ".join(map(str, line.seeds)), ", ".join(line.commits)
    hours = f"{line.seconds / 3600:.2f}"
    size = f"{line.parameters / 1e6:.2f} M"
    return [line.name, size, f"{line.gmacs:.1f}", f"{line.crops:,}", hours, seeds, commits]


def _compared(made: Made) -> str:
    if not made.compared:
        return ""
    head = ["MAE of", "less that of", "checkpoint", "part", "difference"]
    head += ["95 % interval", "seed by seed"]
    rows = [
        [
            one.row, one.than, one.checkpoint, one.part, f"{one.difference.mean:+.1f}",
            f"{one.difference.low:+.1f} to {one.difference.high:+.1f}",
            ", ".join(f"{gap:+.1f}" for gap in one.by_seed.values()),
        ]
        for one in made.compared
    ]  # fmt: skip
    return (
        _table(head, rows)
        + "\n\nBelow zero, the first is better. Bootstrap over pictures, paired, errors averaged "
        "over seeds first: the interval says how other pictures would have come out, not how other "
        "seeds would. For that there is the difference of the two runs of each seed that both have."
    )


def _remarks(made: Made) -> str:
    """What has not run, with the command that runs it, and what to know of what has."""
    lines = [f"- {note}." for line in made.lines for note in line.notes]
    absent = [(row.name, name) for row in made.absent for name in row.runs]
    absent += [(line.name, name) for line in made.lines for name in line.missing]
    lines += [f"- Not run, of {row}: `throng-distill run {name}`." for row, name in absent]
    return "\n".join(lines)


def _curves(table: Table, seen: Sequence[Seen]) -> Curves:
    """By part and row, the logged errors of each run, told apart as the log does."""
    some = [one for one in seen if one.runs]
    words = {part: some[0].counted("best", part)[0][0].id.split("_")[0] for part in table.parts}
    return {
        part: {
            one.row.name: [
                [(crops, errors[word]) for crops, errors in run.curve if word in errors]
                for run in one.runs
            ]
            for one in some
        }
        for part, word in words.items()
    }


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))
