"""The plot of a report. matplotlib comes with the extra `train`: without it there is none."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from service.bench.probe import Probe
from service.bench.processor import STAGES
from service.bench.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(report: Report, path: Path) -> bool:
    """Latency and share of the rate against cameras; cores by stage. False without matplotlib."""
    try:
        from matplotlib.figure import Figure  # not in the base installation
    except ImportError:
        return False
    figure = Figure(figsize=(13.5, 3.8), layout="constrained")
    latency, share, stages = figure.subplots(1, 3)
    measured = sorted((one for one in report.probes if one.delivered), key=lambda p: p.cameras)
    _draw_latency(latency, measured, goal_ms=1e3 * report.goal.fresh_s)
    _draw_share(share, measured, goal=report.goal.share)
    _draw_stages(stages, [one for one in (report.full, report.part) if one and one.processor])
    for panel in (latency, share):
        panel.axvline(report.held, color="grey", linewidth=0.8, linestyle=":")
        panel.set_xlabel("cameras")
    figure.savefig(path, dpi=90)
    return True


def _draw_latency(panel: "Axes", probes: Sequence[Probe], *, goal_ms: float) -> None:
    fresh = [(one.cameras, one.delivered.fresh) for one in probes if one.delivered]
    known = [(cameras, at) for cameras, at in fresh if at]
    for name in ("p50", "p95", "p99"):
        values = [getattr(at, f"{name}_ms") for _, at in known]
        panel.plot([cameras for cameras, _ in known], values, marker="o", markersize=3, label=name)
    panel.axhline(goal_ms, color="grey", linewidth=0.8, label="goal of p99")
    panel.set(yscale="log", ylabel="ms", title="capture to listener")
    panel.yaxis.set_major_formatter("{x:g}")
    panel.legend()


def _draw_share(panel: "Axes", probes: Sequence[Probe], *, goal: float) -> None:
    got = [(one.cameras, one.delivered) for one in probes if one.delivered]
    cameras = [n for n, _ in got]
    panel.plot(cameras, [at.share for _, at in got], marker="o", markersize=3, label="all")
    panel.plot(cameras, [at.worst_share for _, at in got], marker="o", markersize=3, label="worst")
    panel.axhline(goal, color="grey", linewidth=0.8, label="goal of the worst")
    panel.set(ylim=(0, 1.05), title="share of the asked rate")
    panel.legend()


def _draw_stages(panel: "Axes", probes: Sequence[Probe]) -> None:
    """What the service used, stage on stage; beside it, what else the machine did, in grey."""
    labels = [f"{one.cameras} cameras" for one in probes]
    shares = [one.processor for one in probes if one.processor]
    base = [0.0] * len(shares)
    for stage in STAGES:
        base = _stack(panel, labels, base, [one.stages[stage] for one in shares], stage)
    for name, grey in (("clients", "0.55"), ("server", "0.7"), ("others", "0.85")):
        label = {"clients": "(listeners)", "server": "(sender)", "others": "(others)"}[name]
        base = _stack(panel, labels, base, [getattr(one, name) for one in shares], label, grey)
    panel.set(title="cores busy", xlim=(-0.6, len(labels) + 0.9))
    panel.legend(loc="right", fontsize=8)


def _stack(
    panel: "Axes",
    labels: Sequence[str],
    base: Sequence[float],
    values: Sequence[float],
    name: str,
    color: str | None = None,
) -> list[float]:
    panel.bar(labels, values, bottom=base, label=name, color=color, width=0.5)
    return [below + value for below, value in zip(base, values, strict=True)]
