"""Who had the processor: read of this very process."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from service.bench.processor import (
    STAGES,
    Snapshot,
    Watched,
    descendants,
    memory,
    share,
    snapshot,
    stage_of,
)
from tests.running import wait_until

SLEEPER = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"


def burn(seconds: float) -> None:
    until_s = time.thread_time() + seconds
    while time.thread_time() < until_s:
        pass


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("openvino_0", "engine"),
        ("tensorrt-1", "engine"),
        ("asyncio_3", "workers"),
        ("AnyIO worker th", "workers"),
        ("history", "history"),
        ("python", "other threads"),
    ],
)
def test_a_thread_works_for_the_stage_that_its_name_tells(name: str, stage: str) -> None:
    assert stage_of(name, main=False) == stage
    assert stage_of(name, main=True) == "event loop"


def test_work_of_a_process_is_found_in_its_thread_and_nowhere_else() -> None:
    watched = Watched(os.getpid(), clients=[])
    before = snapshot(watched)

    def engine() -> None:
        at = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
        at.write_text("openvino (0) 1", encoding="utf-8")
        burn(0.2)
        burnt.set()
        done.wait(10)

    burnt, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=engine)
    thread.start()
    assert burnt.wait(10)
    after = snapshot(watched)
    done.set()
    thread.join()
    busy_s = {stage: after.stages[stage] - before.stages[stage] for stage in STAGES}
    assert busy_s["engine"] == pytest.approx(0.2, abs=0.05)
    assert busy_s["history"] == busy_s["workers"] == 0
    assert after.busy_s - before.busy_s >= 0.15


def test_work_of_a_thread_that_ended_is_not_lost() -> None:
    watched = Watched(os.getpid(), clients=[])
    before = snapshot(watched)
    thread = threading.Thread(target=burn, args=(0.1,))
    thread.start()
    thread.join()
    after = snapshot(watched)
    assert after.stages["other threads"] - before.stages["other threads"] >= 0.05


def test_children_and_their_children_are_the_readers_also_once_they_have_ended() -> None:
    others = set(descendants(os.getpid()))
    before = snapshot(Watched(os.getpid(), clients=[]))
    child = subprocess.Popen([sys.executable, "-c", SLEEPER], stdin=subprocess.PIPE)
    try:
        wait_until(
            lambda: len({*descendants(os.getpid())} - others) == 2, seconds=10, what="a grandchild"
        )
        used = memory(os.getpid())
        during = snapshot(Watched(os.getpid(), clients=[]))
    finally:
        child.communicate(b"\n")
    after = snapshot(Watched(os.getpid(), clients=[]))
    assert child.pid in descendants(os.getpid()) or child.returncode == 0
    assert len(used.readers_mb) == len(others) + 2
    assert all(mb > 1 for mb in (used.service_mb, *used.readers_mb))
    assert used.together_mb is None or used.together_mb < used.service_mb + sum(used.readers_mb)
    assert before.stages["readers"] <= during.stages["readers"] <= after.stages["readers"]


def test_a_service_that_is_gone_is_an_error() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(ProcessLookupError):
        snapshot(Watched(child.pid, clients=[]))


def test_what_nobody_of_ours_used_is_of_others() -> None:
    stages = dict.fromkeys(STAGES, 0.0)
    before = Snapshot(0.0, stages, clients_s=1.0, server_s=2.0, busy_s=100.0)
    worked = {**stages, "engine": 4.0, "readers": 6.0}
    after = Snapshot(10.0, worked, clients_s=2.0, server_s=4.0, busy_s=118.0)
    found = share(before, after)
    assert found.service == pytest.approx(1.0)
    assert (found.stages["engine"], found.stages["readers"]) == (0.4, 0.6)
    assert (found.clients, found.server, found.others) == pytest.approx((0.1, 0.2, 0.5))
