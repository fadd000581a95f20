"""Plots of results: numbers only, never a picture of a data set, so they may be committed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distill.evaluate import Counted

Curves = Mapping[str, Mapping[str, Sequence[Sequence[tuple[int, float]]]]]
"""By part, then row: (crops seen, validation MAE) along each run."""

Counts = Mapping[str, Mapping[str, Sequence[Counted]]]
"""By part, then row: counts of the part's pictures."""


def draw_curves(curves: Curves, path: Path) -> None:
    """Validation error against crops seen: a panel a part, a colour a row, a line a run."""
    figure, panels = _panels(list(curves))
    for panel, rows in zip(panels, curves.values(), strict=True):
        for number, (row, runs) in enumerate(rows.items()):
            for first, run in enumerate(runs):
                crops, errors = zip(*run, strict=True) if run else ((), ())
                panel.plot(
                    crops, errors, color=f"C{number}", marker=".", linewidth=1,
                    label="_" if first else row,
                )  # fmt: skip
        panel.set(xlabel="crops seen", ylabel="validation MAE, people a picture", yscale="log")
        panel.xaxis.set_major_formatter(lambda crops, _: f"{crops / 1000:g}k")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter("{x:g}")
    _save(figure, panels, path)


def draw_scatter(counts: Counts, path: Path) -> None:
    """Counts against the truth: a panel a part, a colour a row; on the line, all is right."""
    figure, panels = _panels(list(counts))
    for panel, rows in zip(panels, counts.values(), strict=True):
        for row, counted in rows.items():
            true, predicted = ([one.true for one in counted], [one.predicted for one in counted])
            panel.plot(true, predicted, linestyle="", marker=".", alpha=0.7, label=row)
        panel.axline((0, 0), slope=1, color="grey", linewidth=0.8)
        panel.set(xlabel="heads", ylabel="count")
    _save(figure, panels, path)


def _panels(titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(5.5 * len(titles), 4.2), layout="constrained")
    panels = list(figure.subplots(1, len(titles), squeeze=False).flat)
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title)
        panel.grid(alpha=0.3)
    return figure, panels


def _save(figure: Figure, panels: Sequence[Axes], path: Path) -> None:
    shown = panels[-1].get_legend_handles_labels()
    figure.legend(*shown, loc="outside lower center", ncols=3, fontsize=8)
    figure.savefig(path, dpi=90)
