"""A run of `bench` for people: a table, a Markdown page, and errors against processor time."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from deploy.bench import Row, Run
from deploy.bench_case import Measured

HEAD = (
    "model", "engine", "size", "batch", "lanes", "frames/s", "p50 ms", "p99 ms", "CPU ms/frame",
    "ratio", "GMAC", "of peak", "in convs", "RSS MB", "load s", "first s", "others",
)  # fmt: skip
PANELS = 3  # of the plot, side by side
MARKERS = {"fp32": "o", "fp16": "D", "bf16": "s", "int8": "^"}


def save(run: Run, folder: Path, *, reference: str | None = None) -> list[Path]:
    """JSON, Markdown and, where a bundle has validation errors, PNG, named by date and commit, in
    a folder that is there."""
    stem = folder / f"{run.date[:19].replace(':', '')}-{run.commit}"
    data, page, plot = (stem.with_name(stem.name + end) for end in (".json", ".md", ".png"))
    data.write_text(json.dumps(run.plain(), indent=2) + "\n", encoding="utf-8")
    page.write_text(markdown(run, reference=reference), encoding="utf-8")
    parts = _parts(run.rows)
    if parts:
        figure_of(run.rows, parts).savefig(plot, dpi=90)
    return [path for path in (data, page, plot) if path.exists()]


def table(run: Run, *, reference: str | None = None) -> Table:
    shown = Table(*(Column(name, no_wrap=True) for name in HEAD), box=SIMPLE_HEAD, pad_edge=False)
    for row in run.rows:
        shown.add_row(*_cells(run, row, reference))
    return shown


def markdown(run: Run, *, reference: str | None = None) -> str:
    machine, peak = run.machine, run.peak
    most = ", ".join(f"{key} {macs / 1e12:.3g}" for key, macs in peak.items())
    lines = [HEAD, ("---", "---", *("---:" for _ in HEAD[2:]))]
    lines += [_cells(run, row, reference) for row in run.rows]
    parts = [
        f"# Bench of {run.date}",
        f"Commit `{run.commit}`, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}, Python {machine['python']}, "
        + ", ".join(f"{name} {number}" for name, number in run.versions.items())
        + ".",
        f"Peak of one core from registers, 10^12 multiply-adds a second: {most or 'not measured'}.",
        "\n".join(f"| {' | '.join(line)} |" for line in lines),
        _legend(run, reference),
    ]
    return "\n\n".join(parts) + "\n"


def _legend(run: Run, reference: str | None) -> str:
    loads = [row.load_average for row in run.rows]
    beside = f"of `{reference}` in int8 on the same engine, size, batch and lanes"
    failed = "".join(
        f"- failed: {row.name}, {row.case.engine} {row.case.precision}: {row.error}\n"
        for row in run.rows
        if row.error
    )
    return f"""{failed}- Latencies are of one batch, with as many batches under way as lanes.
- frames/s and CPU ms/frame are medians over rounds. CPU time is the whole process's.
- ratio: CPU ms/frame divided by that {beside if reference else "of a reference (none given)"}.
- of peak: convolutions' multiply-adds against the peak in that precision, by CPU time.
- in convs: the same, by the convolutions' share of that time, measured on one thread where the
  engine counts layers. A dash: not known, or more than can be.
- load s: from loading the framework to a loaded engine; first s: to the first answer. RSS includes
  Python and numpy.
- others: cores that other processes kept busy during the case. The load average was
  {min(loads):.1f} to {max(loads):.1f}; where others is not near zero, trust CPU ms alone."""


def _cells(run: Run, row: Row, reference: str | None) -> tuple[str, ...]:
    case = row.case
    size = f"{case.width}x{case.height}"
    what = (row.name, f"{case.engine} {case.precision}", size, str(case.batch), str(case.lanes))
    if row.result is None:
        return (*what, "failed", *("" for _ in HEAD[len(what) + 1 :]))
    r, ratio = row.result, _ratio(run.rows, row, reference)
    shares = (row.share_of_peak(run.peak), row.share_in_convolutions(run.peak))
    return (
        *what,
        f"{r.frames_per_s:.1f}",
        f"{r.p50_ms:.1f}",
        f"{r.p99_ms:.1f}",
        f"{r.cpu_ms:.1f}",
        "" if ratio is None else f"{ratio:.2f}",
        f"{row.gmac:.2f}",
        *("-" if share is None else f"{share:.0%}" for share in shares),
        f"{r.rss_mb:.0f}",
        f"{r.load_s:.2f}",
        f"{r.first_s:.2f}",
        f"{r.others:.1f}",
    )


def _ratio(rows: Sequence[Row], row: Row, reference: str | None) -> float | None:
    """To the reference in int8, else alike: bundles differ in their folders only."""
    same = replace(row.case, precision="int8", bundle="")
    for other in rows:
        if other.name == reference and replace(other.case, bundle="") == same:
            return _cpu_ms(row.result) / _cpu_ms(other.result) if other.result else None
    return None


def _cpu_ms(result: Measured | None) -> float:
    return result.cpu_ms if result else float("nan")


def _parts(rows: Sequence[Row]) -> list[str]:
    """Parts that some measured bundle was validated on, in the order of the first that has them."""
    return list(dict.fromkeys(part for row in rows if row.result for part in row.validation))


def figure_of(rows: Sequence[Row], parts: Sequence[str]) -> Figure:
    """A panel a part, and the legend in a panel of its own; a level is a bundle.

    Nets of random weights have a cost and no error: each is a dashed line down the panel.
    """
    high = len(parts) // PANELS + 1
    figure = Figure(figsize=(4.5 * PANELS, 3.6 * high), layout="constrained")
    panels = list(figure.subplots(high, PANELS, squeeze=False).flat)
    for panel, part in zip(panels, parts, strict=False):
        _draw_part(panel, [row for row in rows if part in row.validation], part)
        _draw_untrained(panel, [row for row in rows if row.result and not row.validation])
    for panel in panels[len(parts) :]:
        panel.axis("off")
    panels[-1].legend(*panels[0].get_legend_handles_labels(), loc="center left")
    figure.supylabel("validation MAE of the net in fp32, people a picture")
    return figure


def _draw_part(panel: Axes, rows: Sequence[Row], part: str) -> None:
    engines = list(dict.fromkeys(row.case.engine for row in rows))
    seen: set[str] = set()
    for row in rows:
        if row.result is None:
            continue
        case, error = row.case, row.validation[part]
        kind = f"{case.engine} {case.precision}"
        panel.plot(
            row.result.cpu_ms, error, linestyle="", marker=MARKERS.get(case.precision, "x"),
            color=f"C{engines.index(case.engine)}", label="_" if kind in seen else kind,
        )  # fmt: skip
        seen.add(kind)
    for name, error in {row.name: row.validation[part] for row in rows}.items():
        panel.text(0.02, error, name, transform=panel.get_yaxis_transform(), va="bottom", size=8)
        panel.axhline(error, color="grey", linewidth=0.5, zorder=0)
    panel.set(xscale="log", xlabel="CPU ms a frame", title=part)
    panel.set_ylim(0, 1.15 * max(row.validation[part] for row in rows) or 1)
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    panel.xaxis.set_minor_formatter("{x:g}")
    panel.tick_params(axis="x", which="both", labelsize=7)


def _draw_untrained(panel: Axes, rows: Sequence[Row]) -> None:
    """One line for each net, engine and precision, at the first of its rows."""
    first = {(row.name, row.case.engine, row.case.precision): row for row in reversed(rows)}
    nets = sorted({row.name for row in rows})
    for number, ((name, engine, precision), row) in enumerate(sorted(first.items())):
        cost = _cpu_ms(row.result)
        label = "_" if number else "random weights, untrained"
        panel.axvline(cost, color="grey", linestyle="--", linewidth=0.8, zorder=0, label=label)
        panel.text(
            cost, 0.02 + nets.index(name) / len(nets), f"{name} {engine} {precision}", size=6,
            transform=panel.get_xaxis_transform(), rotation=90, ha="right", va="bottom",
        )  # fmt: skip
