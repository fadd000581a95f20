"""Cameras come and go, connects fail: what the service holds is the same afterwards."""

import os
from contextlib import ExitStack
from functools import partial

import pytest

from tests.faults.camera import Camera, address
from tests.faults.conftest import Record
from tests.faults.figures import Fault, Figure
from tests.faults.processes import held
from tests.faults.proxy import Harm, Proxy
from tests.faults.town import Town, Victim
from tests.running import wait_until

CYCLES = int(os.environ.get("THRONG_LEAK_CYCLES", "60"))
TOGETHER = 10
WARM = 5  # cycles after which threads and processes are there that stay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + 5 * CYCLES)]


def come_and_go(town: Town, sources: list[str]) -> None:
    """Cameras are added together, counted, removed."""
    with ExitStack() as stack:
        added = [
            stack.enter_context(town.camera(f"comes-{number}", source))
            for number, source in enumerate(sources)
        ]
        for one in added:
            wait_until(partial(counts, one), seconds=20, what=f"a count of {one.name}")


def counts(victim: Victim) -> bool:
    return bool(victim.town.diary.fresh(victim.name, since_s=victim.put_s))


def test_cameras_that_come_and_go_leave_nothing_behind(
    shared: Town, steady: Camera, record: Record
) -> None:
    fault = Fault("cameras added, removed", f"{CYCLES} times by the API, every tenth RTSP")
    sources = [
        address(steady.port) if number % 10 == 0 else f"demo:{number}" for number in range(CYCLES)
    ]
    groups = [sources[at : at + TOGETHER] for at in range(0, CYCLES, TOGETHER)]
    come_and_go(shared, groups[0])
    come_and_go(shared, groups[-1])
    before = held(shared.pid)
    for group in groups:
        come_and_go(shared, group)
    wait_until(
        lambda: not held(shared.pid).exceeds(before), seconds=20, what=f"{before} to be held again"
    )
    record(Figure(fault, "live", note=f"before {before}; after {held(shared.pid)}"))


def test_connects_that_fail_leave_nothing_behind(
    shared: Town, steady: Camera, record: Record
) -> None:
    fault = Fault("failed connects", f"{CYCLES} by cameras that are added and removed")
    with Proxy(steady.port) as proxy:
        proxy.harm(Harm(refuse=True))

        def fail(number: int) -> None:
            accepted = proxy.accepted
            with shared.camera(f"fails-{number}", address(proxy.port)):
                wait_until(lambda: proxy.accepted > accepted, seconds=10, what="a connect")

        for number in range(WARM):
            fail(number)
        before = held(shared.pid)
        for number in range(CYCLES):
            fail(number)
        wait_until(
            lambda: not held(shared.pid).exceeds(before), seconds=20, what=f"{before} held again"
        )
        record(Figure(fault, "live", note=f"before {before}; after {held(shared.pid)}"))
