"""Which route to int8 loses least? All calibrate on the same crops, and OpenVINO runs them.

A graph is judged by whole pictures at their own size, against the fp32 graph in the same engine.
Its processor time is that of a frame on one lane over bf16's (fp32's, where the processor has no
bf16), in rounds that take turns: a ratio that other work on the machine alters little.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from deploy.bundle import Bundle, open_bundle
from deploy.engines import BACKENDS, Engine, Frames, Maps, Precision
from deploy.lint import lint
from deploy.parity import Picture, by_part, density_by, mae_lost
from deploy.quantise import put_int8
from deploy.routes import Crops, Route
from models.density import count
from models.errors import BundleError, DataError, EngineError
from models.machine import commit_here, machine, versions
from models.metrics import mae
from models.progress import tracked

ENGINE = "openvino"
TIMED = (1, 432, 768, 3)  # frames
ROUNDS = 8


@dataclass(frozen=True)
class Gap:
    """The counts of one data set beside those of the fp32 graph."""

    pictures: int
    mae: float
    mae_lost: float
    """Relative to the MAE of the fp32 graph."""
    gap: float
    """Mean relative difference of a picture's count."""
    shift: float
    """Relative difference of the sum of all counts."""


@dataclass(frozen=True)
class Row:
    """A graph and what came of it, or why there is none."""

    name: str
    what: str
    parts: Mapping[str, Gap]
    cpu_ratio: float | None
    broken: int
    """Rules of `deploy/lint.py` that it breaks: TensorRT's parser may refuse it."""
    error: str | None = None


@dataclass(frozen=True)
class Comparison:
    """The rows, and all that one must know to compare them with others."""

    date: str
    commit: str
    bundle: str
    trained: str
    """The commit that the bundle was exported at."""
    crops: int
    load_average: float
    """Of the machine in the last minute, in which frames were timed."""
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    rows: Sequence[Row]


@dataclass(frozen=True)
class _Graph:
    name: str
    what: str
    bundle: Bundle
    precision: Precision
    broken: int = 0

    def load(self) -> Engine:
        return BACKENDS[ENGINE].load(self.bundle, precision=self.precision, lanes=1)


def compare(
    bundle: Bundle,
    routes: Mapping[str, Route],
    *,
    crops: Crops,
    pictures: Sequence[Picture],
    round_s: float = 0.3,
) -> Comparison:
    """A route that gives no graph, as one whose package is not installed, is a row that says so.

    Raises DataError for pictures without true counts, EngineError where OpenVINO cannot run.
    """
    if reason := BACKENDS[ENGINE].unavailable():
        raise EngineError(f"routes are compared in {ENGINE}: {reason}")
    if any(one.true is None for one in pictures):
        raise DataError("routes are compared by MAE: wanted pictures with an index.csv")
    with tempfile.TemporaryDirectory() as folder:
        graphs = _floats(bundle)
        absent = []
        for name, route in tracked("making graphs", total=len(routes))(routes.items()):
            try:
                graphs.append(_int8(bundle, name, route, crops, Path(folder) / name))
            except (ModuleNotFoundError, BundleError) as error:
                absent.append(Row(name, _said(route), {}, None, 0, error=_why(error)))
        rows = _rows(graphs, pictures, round_s)
    load_average, *_ = os.getloadavg()
    return Comparison(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit_here(),
        bundle=bundle.name,
        trained=bundle.manifest.commit,
        crops=len(crops),
        load_average=load_average,
        machine=machine(),
        versions=versions(),
        rows=[*rows, *absent],
    )


def _why(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed (pip install 'throng[routes]')"
    return str(error)


def _floats(bundle: Bundle) -> list[_Graph]:
    can = [one for one in BACKENDS[ENGINE].precisions(bundle) if one != "int8"]
    return [_Graph(one, f"the trained graph in {one}", bundle, one) for one in can]


def _int8(bundle: Bundle, name: str, route: Route, crops: Crops, folder: Path) -> _Graph:
    """In a copy of the bundle."""
    model = route(bundle, crops)
    copy = open_bundle(str(shutil.copytree(bundle.folder, folder)))
    put_int8(copy, model, pictures=len(crops))
    return _Graph(name, _said(route), open_bundle(str(folder)), "int8", len(lint(model)))


def _rows(graphs: Sequence[_Graph], pictures: Sequence[Picture], round_s: float) -> list[Row]:
    """The first graph is the reference of all."""
    counts = [_counts(graph, pictures) for graph in graphs]
    ratios = _cpu_ratios(graphs, round_s)
    return [
        Row(graph.name, graph.what, _gaps(own, counts[0], pictures), ratio, graph.broken)
        for graph, own, ratio in zip(graphs, counts, ratios, strict=True)
    ]


def _counts(graph: _Graph, pictures: Sequence[Picture]) -> list[float]:
    with closing(graph.load()) as engine:

        def run(frames_NHW3: Frames) -> Maps:
            return engine.submit(frames_NHW3).result()

        follow = tracked(f"counting with {graph.name}", total=len(pictures))
        return [
            count(density_by(run, picture.read(), graph.bundle.manifest.input))
            for picture in follow(pictures)
        ]


def _gaps(
    own: Sequence[float], reference: Sequence[float], pictures: Sequence[Picture]
) -> dict[str, Gap]:
    gaps = {}
    for part, which in by_part(pictures).items():
        ours, theirs = ([counts[i] for i in which] for counts in (own, reference))
        true = [pictures[i].true or 0.0 for i in which]
        gaps[part] = Gap(
            pictures=len(which),
            mae=mae(predicted=ours, true=true),
            mae_lost=mae_lost(ours, theirs, true),
            gap=float(np.mean(np.abs(np.subtract(ours, theirs)) / np.maximum(theirs, 1.0))),
            shift=(sum(ours) - sum(theirs)) / max(sum(theirs), 1.0),
        )
    return gaps


def _cpu_ratios(graphs: Sequence[_Graph], round_s: float) -> list[float]:
    frames_NHW3 = np.random.default_rng(0).integers(0, 256, TIMED, dtype=np.uint8)
    names = [graph.name for graph in graphs]
    base = names.index("bf16" if "bf16" in names else "fp32")
    with ExitStack() as stack:
        engines = [stack.enter_context(closing(graph.load())) for graph in graphs]
        for engine in engines:
            engine.submit(frames_NHW3).result()  # compiles
        rounds = [
            [_cpu_s(engine, frames_NHW3, round_s) for engine in engines] for _ in range(ROUNDS)
        ]
    return [float(median(r[i] / r[base] for r in rounds)) for i in range(len(engines))]


def _cpu_s(engine: Engine, frames_NHW3: Frames, round_s: float) -> float:
    """Processor time of this process a batch."""
    begin_s, cpu_s, batches = time.perf_counter(), time.process_time(), 0
    while not batches or time.perf_counter() - begin_s < round_s:
        engine.submit(frames_NHW3).result()
        batches += 1
    return (time.process_time() - cpu_s) / batches


def _said(route: Route) -> str:
    return (route.__doc__ or "").strip().partition("\n")[0]
