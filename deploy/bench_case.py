"""One case of `bench`, alone in a process: its memory and its time to load are its own.

Called as `python -m deploy.bench_case CASE.json`; the last line it prints is the result as JSON.
Nothing heavier than an engine is imported here.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

from deploy.bench_layers import convolutions_share
from deploy.bundle import open_bundle
from deploy.engines import BACKENDS, Engine, Frames, Precision
from models.errors import ThrongError

LEAST = 3  # batches that each lane runs in a round, however long they take


@dataclass(frozen=True)
class Case:
    """What is measured: `lanes` batches of `batch` frames under way at any time."""

    bundle: str
    engine: str
    precision: Precision
    height: int
    width: int
    batch: int
    lanes: int
    rounds: int = 5
    round_s: float = 1.0


@dataclass(frozen=True)
class Measured:
    """Rates are medians over the rounds; latencies are of single batches, over all rounds."""

    frames_per_s: float
    p50_ms: float
    p99_ms: float
    batches: int
    cpu_ms: float
    """Processor time of the whole process a frame: what another job on the machine alters least."""
    others: float
    """Cores that other processes kept busy meanwhile."""
    load_s: float
    """From the first line of the framework to a loaded engine."""
    first_s: float
    """The same, to the first answer: compiling included."""
    rss_mb: float
    peak_rss_mb: float
    convolutions_ms: float | None
    """Of the processor time of one batch, the share that its convolutions take on one thread, where
    the engine counts layers."""
    count: float
    """Of the first frame, which is noise: shows that engines computed the same thing."""


@dataclass(frozen=True)
class _Round:
    seconds: float
    cpu_s: float
    others_s: float
    latencies_s: list[float]


def measure(case: Case) -> Measured:
    """Raises EngineError or BundleError."""
    bundle = open_bundle(case.bundle)
    shape = (case.lanes, case.batch, case.height, case.width, 3)
    frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    begin_s = time.perf_counter()
    engine = BACKENDS[case.engine].load(bundle, precision=case.precision, lanes=case.lanes)
    load_s = time.perf_counter() - begin_s
    first = engine.submit(frames[0]).result()
    first_s = time.perf_counter() - begin_s
    _run(engine, frames, seconds=case.round_s)  # the first calls of each lane are slow
    rounds = [_run(engine, frames, seconds=case.round_s) for _ in range(case.rounds)]
    memory = dict(_memory_mb())
    engine.close()
    counts = case.engine == "openvino"
    share = convolutions_share(bundle, case.precision, frames[0]) if counts else None
    latencies_ms = 1e3 * np.concatenate([one.latencies_s for one in rounds])
    done = [len(one.latencies_s) * case.batch for one in rounds]
    cpu_ms = 1e3 * median(r.cpu_s / n for n, r in zip(done, rounds, strict=True))
    return Measured(
        frames_per_s=median(n / r.seconds for n, r in zip(done, rounds, strict=True)),
        p50_ms=float(np.percentile(latencies_ms, 50)),
        p99_ms=float(np.percentile(latencies_ms, 99)),
        batches=len(latencies_ms),
        cpu_ms=cpu_ms,
        others=max(0.0, sum(r.others_s for r in rounds) / sum(r.seconds for r in rounds)),
        load_s=load_s,
        first_s=first_s,
        rss_mb=memory["VmRSS"],
        peak_rss_mb=memory["VmHWM"],
        convolutions_ms=None if share is None else share * cpu_ms * case.batch,
        count=float(first[0].sum()),
    )


def _run(engine: Engine, frames: Frames, *, seconds: float) -> _Round:
    """Every lane submits its batch, waits for the answer, and submits it again."""
    latencies_s: list[float] = []
    cpu_s, busy_s, begin_s = time.process_time(), _busy_s(), time.perf_counter()

    def lane(batch_NHW3: Frames) -> None:
        for runs in range(sys.maxsize):
            at_s = time.perf_counter()
            if runs >= LEAST and at_s - begin_s >= seconds:
                return
            engine.submit(batch_NHW3).result()
            latencies_s.append(time.perf_counter() - at_s)

    with ThreadPoolExecutor(len(frames)) as lanes:
        list(lanes.map(lane, frames))
    took_s = time.perf_counter() - begin_s
    cpu_s = time.process_time() - cpu_s
    return _Round(took_s, cpu_s, _busy_s() - busy_s - cpu_s, latencies_s)


def _busy_s() -> float:
    """Processor time that all processes of the machine have had, stolen time included."""
    _, user, nice, system, _, _, *more = Path("/proc/stat").read_text("ascii").split()[:9]
    ticks = sum(map(int, (user, nice, system, *more)))
    return ticks / os.sysconf("SC_CLK_TCK")


def _memory_mb() -> Iterator[tuple[str, float]]:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(("VmRSS:", "VmHWM:")):
            key, kib, _ = line.split()
            yield key.rstrip(":"), int(kib) * 1024 / 1e6


def main() -> None:
    case = Case(**json.loads(sys.argv[1]))
    try:
        print(json.dumps(asdict(measure(case))))  # noqa: T201  # for who started this process
    except ThrongError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
