"""The floor: of how many cameras every picture could be decoded if nothing else were done.

One process a core decodes the same streams from memory; each is called as
`python -m service.bench.floor ASKED.json` and prints what it measured as JSON.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import av

from models.errors import ConfigError, SourceError
from models.machine import cores

READ_S = 10.0  # of each stream, into memory
ROUND_S = 3.0  # for every picture, and as long for key frames alone
MOST_SOURCES = 4  # more are taken to be alike
BROKEN = (av.error.FFmpegError, OSError, ValueError, RuntimeError)


@dataclass(frozen=True)
class Decoded:
    """One stream and what its decoding takes of a core that decodes nothing else."""

    codec: str
    width: int
    height: int
    fps: float
    keyframe_s: float
    mbit_s: float
    cpu_ms: float
    """Processor time a picture, all of them decoded."""
    key_cpu_ms: float
    """The same for a key frame, key frames alone decoded."""


@dataclass(frozen=True)
class Floor:
    """`streams` as the first process saw them; cameras from the means of all processes."""

    streams: Sequence[Decoded]
    cores: int
    cameras: float
    """Of which every picture could be decoded by all cores."""
    keyframe_cameras: float


def measure(sources: Sequence[str]) -> Floor:
    """Raises ConfigError where a source cannot be read: by its place, never by its address."""
    runs = [_start(sources[:MOST_SOURCES]) for _ in range(cores())]
    try:
        said = [run.communicate() for run in runs]
    finally:
        for run in runs:
            run.kill()
            run.wait()
    for run, (_, errors) in zip(runs, said, strict=True):
        if run.returncode:
            last = errors.strip().splitlines()[-1:]
            raise ConfigError(last[0] if last else "decoding alone could not be measured")
    return floor_of([[Decoded(**one) for one in json.loads(out)] for out, _ in said])


def floor_of(processes: Sequence[Sequence[Decoded]]) -> Floor:
    every = [one for process in processes for one in process]
    number = len(processes)
    return Floor(
        streams=processes[0],
        cores=number,
        cameras=number / fmean(1e-3 * one.cpu_ms * one.fps for one in every),
        keyframe_cameras=number / fmean(1e-3 * one.key_cpu_ms / one.keyframe_s for one in every),
    )


def _start(sources: Sequence[str]) -> subprocess.Popen[str]:
    """The sources go in by the pipe: addresses on a command line are seen by all users."""
    run = subprocess.Popen(
        (sys.executable, "-m", "service.bench.floor"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert run.stdin
    run.stdin.write(json.dumps(list(sources)) + "\n")
    run.stdin.flush()
    return run


def decoded(source: str, *, read_s: float = READ_S, round_s: float = ROUND_S) -> Decoded:
    """Raises SourceError, without the address."""
    av.logging.set_level(None)  # FFmpeg's own log lines carry addresses
    options = {"rtsp_transport": "tcp"} if source.lower().startswith("rtsp") else {}
    try:
        with av.open(source, options=options, timeout=(10.0, 10.0)) as container:
            if not container.streams.video:
                raise SourceError("there is no video in it")
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            packets = _packets(container, read_s)
            context: Any = stream.codec_context
            facts = _facts(packets, stream)
            keys = [packet for packet in packets if packet.is_keyframe]
            cpu_ms = _cpu_ms(context, packets, round_s)
            context.skip_frame = "NONKEY"
            return Decoded(**facts, cpu_ms=cpu_ms, key_cpu_ms=_cpu_ms(context, keys, round_s))
    except BROKEN as error:
        raise SourceError(f"cannot be read: {type(error).__name__}") from error


def _packets(container: Any, read_s: float) -> list[Any]:
    """Some seconds from the first key frame on."""
    kept: list[Any] = []
    for packet in container.demux(video=0):
        if packet.pts is None or not packet.size or not (kept or packet.is_keyframe):
            continue
        kept.append(packet)
        if float((packet.pts - kept[0].pts) * packet.time_base) >= read_s:
            break
    if len(kept) < 2:
        raise SourceError("there are no pictures in it")
    return kept


def _facts(packets: Sequence[Any], stream: Any) -> Mapping[str, Any]:
    span_s = float((packets[-1].pts - packets[0].pts) * packets[0].time_base)
    if span_s <= 0:
        raise SourceError("its pictures carry no times")
    seconds = span_s * len(packets) / (len(packets) - 1)  # the last picture lasts, too
    keys = [packet.pts for packet in packets if packet.is_keyframe]
    between_s = float((keys[-1] - keys[0]) * packets[0].time_base) / max(1, len(keys) - 1)
    return {
        "codec": stream.codec_context.name,
        "width": stream.codec_context.width,
        "height": stream.codec_context.height,
        "fps": len(packets) / seconds,
        "keyframe_s": between_s or seconds,
        "mbit_s": 8e-6 * sum(packet.size for packet in packets) / seconds,
    }


def _cpu_ms(
    context: Any,
    packets: Sequence[Any],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Processor time a packet; the first pass only warms up."""
    for packet in packets[:25]:
        context.decode(packet)
    done, began_s, cpu_s = 0, clock(), time.process_time()
    while clock() - began_s < seconds:
        context.flush_buffers()
        for packet in packets:
            context.decode(packet)
        done += len(packets)
    return 1e3 * (time.process_time() - cpu_s) / done


def main() -> None:
    found = []
    for number, source in enumerate(json.loads(sys.stdin.readline()), start=1):
        try:
            found.append(asdict(decoded(source)))
        except SourceError as error:
            sys.exit(f"SOURCE number {number}: {error}")
    print(json.dumps(found))  # noqa: T201  # for who started this process


if __name__ == "__main__":
    main()
