"""Fixtures that more than one room uses, and the rule that CI skips nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.running import ROOT, Running, free_port, serving, wait_until  # noqa: F401

DATA = ROOT.parent / "shared" / "data"
MAY_SKIP = (
    "no data pack",
    "NVIDIA GPU",
    "torch-cpu has no int8",
    "no network namespace",
    "no small disk can be mounted",
)

settings.register_profile("plain", deadline=None, derandomize=True)
settings.load_profile("plain")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With THRONG_SKIP_NOTHING a skipped test fails the run, but for what may be absent in CI."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not os.environ.get("THRONG_SKIP_NOTHING"):
        return
    reasons = [str(report.longrepr[2]) for report in reporter.stats.get("skipped", [])]
    if [reason for reason in reasons if not any(may in reason for may in MAY_SKIP)]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def data() -> Path:
    """The pictures with head points; tests that need them skip where they are absent."""
    if not DATA.is_dir():
        pytest.skip(f"no data pack at {DATA}")
    return DATA


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The service as a newcomer starts it: no settings, the demo camera."""
    with serving(tmp_path_factory.mktemp("service")) as running:
        yield running
