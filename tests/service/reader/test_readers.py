"""Real reader processes: frames come, and whatever becomes of a process, its attempts end."""

import asyncio
import errno
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import pytest
from prometheus_client import CollectorRegistry

from models.errors import SourceError
from service.ingest import Ask, Frame, Stream
from service.metrics import Metrics
from service.reader import process
from service.reader.process import Attempt
from service.reader.readers import Readers
from tests.fakes import video
from tests.running import ROOT

pytestmark = pytest.mark.anyio

DEMO = Ask("demo", size=(320, 192), rate=20)


@dataclass
class Notes:
    """Ears that write down what they hear."""

    frames: list[Frame] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    gone: list[tuple[str, int]] = field(default_factory=list)

    def frame(self, frame: Frame) -> None:
        self.frames.append(frame)

    def stream(self, stream: Stream) -> None:
        self.streams.append(stream)

    def lost(self, why: str, frames: int) -> None:
        self.gone.append((why, frames))


@asynccontextmanager
async def readers(*, each: int = 8) -> AsyncIterator[tuple[Readers, Metrics]]:
    metrics = Metrics(CollectorRegistry())
    all_of_them = Readers(metrics, each=each)
    try:
        yield all_of_them, metrics
    finally:
        all_of_them.close()


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(15):
        while not holds():  # noqa: ASYNC110  # another process answers
            await anyio.sleep(0.01)


def gone(pid: int) -> bool:
    """Not running: no such process, or one that only waits for its parent to notice."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text("ascii")
    except OSError:
        return True


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def read(all_of_them: Readers, ask: Ask = DEMO) -> tuple[Attempt, Notes]:
    """An attempt that has given a frame."""
    notes = Notes()
    attempt = all_of_them.begin(ask, notes)
    await until(lambda: bool(notes.frames))
    return attempt, notes


async def test_frames_come_from_another_process_with_their_capture_time() -> None:
    async with readers() as (all_of_them, _):
        attempt, notes = await read(all_of_them)
        await until(lambda: len(notes.frames) >= 3)
        first, second, *_ = notes.frames
        assert attempt.reader != os.getpid()
        assert first.image_HW3.shape == (192, 320, 3)
        assert first.truth is not None
        assert 0 < second.captured_s - first.captured_s < 5
        assert (second.captured_at - first.captured_at).total_seconds() == pytest.approx(
            second.captured_s - first.captured_s, abs=0.05
        )
        assert attempt.silent_s < 5


async def test_a_file_ends_its_attempt_and_the_process_goes_on(tmp_path: Path) -> None:
    file = video(tmp_path / "short.mp4", [(0, 100), (0.1, 100)])
    async with readers() as (all_of_them, _):
        attempt, notes = await read(all_of_them, Ask(str(file), rate=30))
        ended = await attempt.ended
        assert (ended.why, len(notes.frames)) == ("ended", 2)
        other, _ = await read(all_of_them)
        assert other.reader == attempt.reader


async def test_after_stop_nothing_is_heard_any_more() -> None:
    async with readers() as (all_of_them, _):
        attempt, notes = await read(all_of_them)
        attempt.stop()
        heard = len(notes.frames)
        other, _ = await read(all_of_them)
        await until(lambda: other.silent_s > 0)
        assert len(notes.frames) == heard
        assert (await attempt.ended).why == "stopped"


async def test_a_lower_rate_gives_fewer_frames() -> None:
    async with readers() as (all_of_them, _):
        attempt, notes = await read(all_of_them)
        attempt.set_rate(0.1)
        await anyio.sleep(0.3)  # what was due already may still come
        heard = len(notes.frames)
        await anyio.sleep(0.7)
        assert len(notes.frames) <= heard + 1


async def test_so_many_cameras_share_a_process_and_one_more_gets_another() -> None:
    async with readers(each=2) as (all_of_them, _):
        attempts = [(await read(all_of_them))[0] for _ in range(3)]
        first, second, third = (attempt.reader for attempt in attempts)
        assert first == second != third


async def test_one_that_shall_be_alone_is() -> None:
    async with readers() as (all_of_them, _):
        suspect = all_of_them.begin(DEMO, Notes(), alone=True)
        other, _ = await read(all_of_them)
        assert suspect.reader != other.reader


async def test_a_crash_ends_all_attempts_of_the_process_and_no_other() -> None:
    async with readers(each=2) as (all_of_them, metrics):
        first, second, third = [(await read(all_of_them))[0] for _ in range(3)]
        os.kill(first.reader, signal.SIGSEGV)
        for attempt in (first, second):
            ended = await asyncio.wait_for(attempt.ended, 5)
            assert (ended.why, "SIGSEGV" in ended.reason) == ("crashed", True)
        assert not third.ended.done()
        assert metrics.reader_crashes._value.get() == 1
        fourth, _ = await read(all_of_them)
        assert fourth.reader not in (first.reader, second.reader)


async def test_a_process_that_hangs_is_killed_and_only_the_one_that_hung_is_blamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "HUNG_S", 0.4)
    quick = Ask("demo", size=(320, 192), rate=20, open_timeout_s=0.1, read_timeout_s=0.1)
    async with readers() as (all_of_them, _):
        attempt, _ = await read(all_of_them, quick)
        patient, _ = await read(all_of_them, DEMO)
        os.kill(attempt.reader, signal.SIGSTOP)
        await until(lambda: attempt.hangs and not patient.hangs)
        all_of_them.look_after()
        assert (await asyncio.wait_for(attempt.ended, 5)).why == "crashed"
        assert (await asyncio.wait_for(patient.ended, 5)).why == "failed"


async def test_what_a_hanging_process_reads_ends_before_the_system_gets_rid_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with readers() as (all_of_them, _):
        attempt, _ = await read(all_of_them)
        patient, _ = await read(all_of_them, replace(DEMO, read_timeout_s=60))
        with monkeypatch.context() as patched:
            patched.setattr(process, "HUNG_S", 0.1)
            patched.setattr(subprocess.Popen, "kill", lambda _: None)  # as in a disk's work
            attempt.ask = replace(DEMO, read_timeout_s=0.01)
            os.kill(attempt.reader, signal.SIGSTOP)
            await until(lambda: attempt.hangs)
            all_of_them.look_after()
            patient.set_rate(1.0)  # who talks to it later changes nobody's fault
        assert not gone(attempt.reader)
        assert (await asyncio.wait_for(attempt.ended, 1)).reason == "reading it hung"
        assert (await asyncio.wait_for(patient.ended, 1)).why == "failed"
        other, _ = await read(all_of_them)
        assert other.reader != attempt.reader
        os.kill(attempt.reader, signal.SIGKILL)
        await until(lambda: gone(attempt.reader))


async def test_opening_may_take_as_long_as_a_lookup_and_two_time_outs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "HUNG_S", 0.1)
    monkeypatch.setattr(process, "LOOKUP_S", 0.5)
    async with readers() as (all_of_them, _):
        other, _ = await read(all_of_them)
        os.kill(other.reader, signal.SIGSTOP)
        began_s = time.monotonic()
        ask = replace(DEMO, open_timeout_s=0.3, read_timeout_s=0.01)
        attempt = all_of_them.begin(ask, Notes())
        await until(lambda: attempt.hangs)
        assert time.monotonic() - began_s > 1.1


@pytest.mark.slow
async def test_a_name_that_nobody_answers_for_costs_no_other_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = "import socket, time\n\ndef late(*_):\n    time.sleep(4)\n    raise OSError\n\n"
    (tmp_path / "sitecustomize.py").write_text(f"{late}socket.getaddrinfo = late\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(process, "HUNG_S", 2.5)
    monkeypatch.setattr(process, "LOOKUP_S", 0.0)
    async with readers() as (all_of_them, _):
        neighbour, _ = await read(all_of_them)
        ask = Ask("rtsp://camera.test/live", open_timeout_s=0.1)
        attempt = all_of_them.begin(ask, Notes())

        def ended() -> bool:
            all_of_them.look_after()
            return attempt.ended.done()

        await until(ended)
        assert attempt.ended.result().why == "failed"
        assert attempt.ended.result().reason == "the name of the camera cannot be resolved"
        assert not neighbour.ended.done()


@pytest.mark.parametrize("call", ["os.memfd_create", "mmap.mmap", "subprocess.Popen"])
async def test_where_the_system_has_no_room_that_is_an_error_and_nothing_stays_open(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with readers() as (all_of_them, _):
        await read(all_of_them)
        gc.collect()
        before = open_files()
        with monkeypatch.context() as patched:
            patched.setattr(call, refuse)
            with pytest.raises(SourceError, match="Too many open files"):
                all_of_them.begin(DEMO, Notes(), alone=call == "subprocess.Popen")
        assert open_files() == before
        await read(all_of_them)


@pytest.mark.parametrize("length", [70_000, 300_000])
async def test_an_address_too_long_for_a_message_is_an_error_and_costs_no_other_camera(
    length: int,
) -> None:
    async with readers() as (all_of_them, _):
        neighbour, _ = await read(all_of_them)
        with pytest.raises(SourceError, match="too long"):
            all_of_them.begin(Ask("rtsp://camera.test/" + length * "x"), Notes())
        other, _ = await read(all_of_them)
        assert other.reader == neighbour.reader
        assert not neighbour.ended.done()


async def test_a_process_for_one_source_ends_with_it() -> None:
    async with readers() as (all_of_them, metrics):
        attempt = all_of_them.begin(DEMO, Notes(), alone=True)
        await until(attempt.opened.is_set)
        attempt.stop()
        all_of_them.look_after()
        await until(lambda: gone(attempt.reader))
        assert metrics.readers._value.get() == 0


async def test_an_idle_process_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async with readers() as (all_of_them, metrics):
        attempt, _ = await read(all_of_them)
        attempt.stop()
        monkeypatch.setattr("service.reader.readers.IDLE_S", 0.0)

        def ended() -> bool:
            all_of_them.look_after()
            return gone(attempt.reader)

        await until(ended)
        assert metrics.readers._value.get() == 0
        assert metrics.reader_crashes._value.get() == 0


async def test_frames_that_we_do_not_take_in_time_are_counted_and_block_nobody() -> None:
    async with readers() as (all_of_them, _):
        ask = Ask("demo", size=(64, 64), rate=60)
        _, notes = await read(all_of_them, ask)
        before = len(notes.frames)
        time.sleep(1.0)  # noqa: ASYNC251  # the loop is busy elsewhere
        await until(lambda: len(notes.frames) - before + sum(n for _, n in notes.gone) >= 20)
        assert notes.gone
        assert {why for why, _ in notes.gone} <= {"busy", "late"}


async def test_other_work_comes_between_frames_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sixty a second, each as dear as a large picture's."""
    async with readers() as (all_of_them, _):
        _, notes = await read(all_of_them, Ask("demo", size=(64, 64), rate=60))
        monkeypatch.setattr(notes, "frame", lambda _: time.sleep(0.02))
        began_s, turns = time.monotonic(), 0
        while time.monotonic() - began_s < 2:
            await asyncio.sleep(0)
            turns += 1
        assert turns > 20


async def test_the_address_is_not_among_the_arguments_of_the_process() -> None:
    async with readers() as (all_of_them, _):
        ask = Ask("rtsp://viewer:c4n4ry@127.0.0.1:1/live")
        attempt = all_of_them.begin(ask, Notes())
        arguments = await asyncio.to_thread(Path(f"/proc/{attempt.reader}/cmdline").read_bytes)
        assert b"c4n4ry" not in arguments
        ended = await asyncio.wait_for(attempt.ended, 10)
        assert ended.why == "failed"
        assert "c4n4ry" not in ended.reason


async def test_readers_end_with_the_service_although_it_was_killed() -> None:
    script = """
import asyncio, sys
from prometheus_client import CollectorRegistry
from service.ingest import Ask
from service.metrics import Metrics
from service.reader.readers import Readers
from tests.service.reader.test_readers import DEMO, read

async def main():
    readers = Readers(Metrics(CollectorRegistry()), each=8)
    attempt, _ = await read(readers)
    print(attempt.reader, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=ROOT, stdout=subprocess.PIPE
    )
    assert parent.stdout
    reader = int(await asyncio.wait_for(parent.stdout.readline(), 20))
    assert not gone(reader)
    parent.kill()
    await parent.wait()
    await until(lambda: gone(reader))
