"""A report for people: a Markdown page, a table on the terminal, and the plot beside the data."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from rich.table import Table

from models.errors import ConfigError
from service.bench.floor import Decoded
from service.bench.plot import draw
from service.bench.probe import Probe
from service.bench.processor import STAGES, Memory, Share
from service.bench.report import Report

KEPT = Path(__file__).parent.parent / "results"  # of a checkout; an installed package has none
HEAD = (
    "cameras", "window s", "held", "counts/s", "worst share", "p50 ms", "p95 ms", "p99 ms",
    "cores", "others",
)  # fmt: skip

Row = tuple[str, str]


def folder() -> Path:
    """Where reports go unless another place is named."""
    return KEPT if KEPT.is_dir() else Path("results")


def writable(folder: Path) -> Path:
    """The folder, made where it is not there. Raises ConfigError where nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}); name --out") from error


def save(report: Report, folder: Path) -> list[Path]:
    """JSON, Markdown and, where matplotlib is installed, PNG, named by date and commit."""
    stem = folder / f"{report.date[:19].replace(':', '')}-{report.commit}"
    data, page, plot = (stem.with_name(stem.name + end) for end in (".json", ".md", ".png"))
    try:
        data.write_text(json.dumps(report.plain(), indent=2) + "\n", encoding="utf-8")
        page.write_text(markdown(report), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror})") from error
    drawn = draw(report, plot)
    return [data, page, plot] if drawn else [data, page]


def table(report: Report) -> Table:
    """What is printed at the end."""
    shown = Table(show_header=False, box=None, pad_edge=False)
    for what, value in rows(report):
        shown.add_row(what, value)
    return shown


def markdown(report: Report) -> str:
    machine, goal = report.machine, report.goal
    tried = [HEAD, tuple("---:" for _ in HEAD), *map(_cells, report.probes)]
    parts = [
        f"# Cameras held, {report.date}",
        f"Commit `{report.commit}`, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}, Python {machine['python']}, "
        + ", ".join(f"{name} {number}" for name, number in report.versions.items())
        + f". Made by `{report.made_by}`.",
        _lines([("", ""), ("---", "---"), *rows(report)]),
        "## All that was tried",
        _lines(tried),
        f"""- Held: every camera came at {goal.share:.0%} of its rate or more, none was stale, and
  99 of 100 readings were at the listener within {goal.fresh_s:g} s of their capture.
- A file's pictures are decoded before they are due, and due is when they are captured: end to end
  leaves decoding out. Of a camera it does not.
- Cameras came one after another over two seconds: their key frames, and with them their work,
  are spread as those of cameras are.
- Listeners: one websocket with heatmaps of every fourth camera, one without for the rest.
- cores: that the service kept busy, its readers included. others: that everything else on the
  machine did, without listeners and sender; where it is not near zero, trust less.
- Decoding every picture: the same streams, from memory, on all cores, by processor time. The
  service decodes less where no picture is due between some moment and the next key frame.""",
    ]
    return "\n\n".join(parts) + "\n"


def rows(report: Report) -> Iterator[Row]:
    load, full = report.load, report.full
    engine, precision = report.runs
    yield "cameras held", str(report.held)
    yield "asked of each", f"{load.rate:g} counts/s, decode {load.decode}"
    yield "model", f"{load.bundle} on {engine or 'no engine'} ({precision or 'never ready'})"
    for kind, stream in zip(report.sources, report.floor.streams, strict=False):
        yield "stream", _stream(kind, stream)
    if len(report.sources) > len(report.floor.streams):
        yield "more streams", str(len(report.sources) - len(report.floor.streams))
    floor = report.floor
    yield (
        "decoding every picture",
        f"{floor.cameras:.1f} cameras, {floor.keyframe_cameras:.0f} by key frames only",
    )
    yield (
        "cold start",
        f"{report.cold_start_s:.2f} s from the service's start to a first count",
    )
    yield from _window("", full)
    if report.part:
        yield from _window(f" at {report.part.cameras} cameras", report.part)


def _window(at: str, probe: Probe) -> Iterator[Row]:
    if not probe.held:
        yield f"not held{at}", probe.why
    got = probe.delivered
    if got:
        yield (
            f"counts/s{at}",
            f"{got.counts_per_s:.1f} ({got.share:.1%} of what was asked, worst camera "
            f"{got.worst_share:.1%}), {got.heatmaps_per_s:.1f} heatmaps/s",
        )
    if got and got.fresh:
        fresh = got.fresh
        yield (
            f"end to end{at}",
            f"p50 {fresh.p50_ms:.0f} ms, p95 {fresh.p95_ms:.0f} ms, p99 {fresh.p99_ms:.0f} ms",
        )
    if probe.processor:
        yield f"cores busy{at}", _cores(probe.processor)
        yield f"per camera{at}", f"{probe.core_percent:.1f} % of a core"
    if probe.memory:
        yield f"memory{at}", _memory(probe.memory)


def _cores(busy: Share) -> str:
    stages = ", ".join(f"{stage} {busy.stages[stage]:.2f}" for stage in STAGES)
    return (
        f"{busy.service:.2f} ({stages}); beside it listeners {busy.clients:.2f}, "
        f"sender {busy.server:.2f}, others {busy.others:.2f}"
    )


def _memory(used: Memory) -> str:
    readers = ", ".join(f"{mb:.0f}" for mb in used.readers_mb) or "0"
    together = f"; together {used.together_mb:.0f} MB" if used.together_mb else ""
    return f"service {used.service_mb:.0f} MB, readers {readers} MB (RSS){together}"


def _stream(kind: str, one: Decoded) -> str:
    return (
        f"{kind}: {one.codec} {one.width}x{one.height}, {one.fps:.3g} fps, {one.mbit_s:.2g} Mb/s, "
        f"key frame every {one.keyframe_s:.2g} s; {one.cpu_ms:.2f} ms a picture"
    )


def _cells(probe: Probe) -> tuple[str, ...]:
    got, busy = probe.delivered, probe.processor
    fresh = got.fresh if got else None
    return (
        str(probe.cameras),
        f"{probe.seconds:.0f}",
        "yes" if probe.held else probe.why,
        f"{got.counts_per_s:.1f}" if got else "",
        f"{got.worst_share:.1%}" if got else "",
        *(
            (f"{ms:.0f}" for ms in (fresh.p50_ms, fresh.p95_ms, fresh.p99_ms))
            if fresh
            else [""] * 3
        ),
        f"{busy.service:.2f}" if busy else "",
        f"{busy.others:.2f}" if busy else "",
    )


def _lines(table: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in table)
