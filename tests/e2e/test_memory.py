"""The memory of the service, as it runs."""

import json
from pathlib import Path

import pytest
import yaml

from tests.faults.processes import rss_mib
from tests.running import serving, wait_until

pytestmark = pytest.mark.slow

CAMERAS = 16
MOST_MIB = 1.02 * 250e6 / 2**20  # it differs by one percent from run to run


def test_the_service_takes_about_250_mb_with_sixteen_cameras(tmp_path: Path) -> None:
    cameras = {f"gate-{n}": {"source": f"demo:{n}", "rate": 1} for n in range(CAMERAS)}
    file = tmp_path / "throng.yaml"
    file.write_text(yaml.safe_dump({"cameras": cameras}))
    with serving(tmp_path, "--config", str(file)) as running:

        def all_counted() -> bool:
            cameras = json.loads(running.get("/v1/cameras"))["cameras"]
            return all((one["latest"] or {}).get("seq", 0) > 1 for one in cameras)

        wait_until(all_counted, seconds=60, what="two counts of every camera")
        assert rss_mib(running.process.pid) < MOST_MIB
