"""The pages of `docs/` say what is so: tables, messages and examples are held to the service."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from prometheus_client import CollectorRegistry

from service.metrics import Metrics
from service.routes.answers import CODES
from service.settings import Defaults, Settings, load_settings
from tests.e2e.test_monitoring import check, tool
from tests.fakes import FakeEngine
from tests.running import ROOT, Running
from tests.service.api.asking import api
from tests.service.api.contract import contract
from tests.service.test_live import first

API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
SECTIONS = {
    "server": "Server", "model": "Model", "batching": "Batching", "defaults": "Defaults",
    "cameras": "Camera", "zones": "Zone", "history": "History",
}  # fmt: skip
SERVICE = "http://127.0.0.1:8000"
SUFFIX = re.compile(r"_(bucket|sum|count)$")


def blocks(language: str, page: str = API) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def table(page: str, after: str) -> list[tuple[str, ...]]:
    """The cells of the first table behind a mark, without its head."""
    behind = dropwhile(lambda line: line[:1] != "|", page.partition(after)[2].splitlines())
    rows = list(takewhile(lambda line: line[:1] == "|", behind))[2:]
    return [tuple(cell.strip() for cell in row.strip("|").split(" | ")) for row in rows]


def messages(kind: str) -> list[dict[str, Any]]:
    return [one for text in blocks("json") if (one := json.loads(text)).get("type") == kind]


def exported() -> Iterator[tuple[str, ...]]:
    for one in vars(Metrics(CollectorRegistry())).values():
        if hasattr(one, "describe"):
            labels = ", ".join(f"`{label}`" for label in one._labelnames)
            [family] = one.describe()
            name = family.name + "_total" * (family.type == "counter")
            yield f"`{name}`", family.type, labels, family.documentation


def test_every_code_of_an_error_is_in_its_table() -> None:
    wanted = [(str(status), f"`{code}`", says) for code, (status, says) in CODES.items()]
    assert table(API, "held to service/routes/answers.py by a test -->") == wanted


def test_every_metric_is_in_its_table() -> None:
    wanted = list(exported())
    assert len(wanted) > 20
    assert table(API, "held to service/metrics.py by a test -->") == wanted


def test_no_metric_is_named_that_does_not_exist() -> None:
    known = {name.strip("`") for name, *_ in exported()}
    named = set(re.findall(r"\bthrong_\w+", API))
    assert {one for one in named if one not in known and SUFFIX.sub("", one) not in known} == set()


def test_prometheus_can_read_the_queries(tmp_path: Path) -> None:
    queries = blocks("promql")
    assert len(queries) > 5
    rules = [{"record": f"q:{i}", "expr": query} for i, query in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "docs", "rules": rules}]}))
    check(tool("promtool"), "check", "rules", file)


def test_what_is_to_be_typed_are_requests_that_the_service_knows() -> None:
    lines = [line for text in blocks("sh") for line in text.splitlines() if "curl" in line]
    asked = set()
    for line in lines:
        words = shlex.split(line)
        [url] = [urlsplit(word) for word in words if word.startswith(SERVICE)]
        method = words[words.index("-X") + 1] if "-X" in words else "GET"
        method = "POST" if {"-F", "--data-binary"} & set(words) else method
        operation = contract().operation(method, url.path)
        assert operation is not None, line
        known = {one["name"] for one in operation.get("parameters", ())}
        assert {pair.partition("=")[0] for pair in url.query.split("&") if pair} <= known
        asked.add(operation["operationId"])
    told = {one["operationId"] for p in contract().openapi["paths"].values() for one in p.values()}
    assert asked == told


def test_every_message_of_the_websocket_is_shown_as_it_is_sent(tmp_path: Path) -> None:
    with api(tmp_path, FakeEngine()) as client, client.websocket_connect("/v1/live") as live:
        client.put("/v1/cameras/new", json={"source": "demo", "size": [64, 48]})
        live.send_text("{}x")
        sent: dict[str, Any] = {}

        def all_came(message: dict[str, Any]) -> bool:
            if sent.setdefault(message["type"], message)["type"] == "reading":
                client.delete("/v1/cameras/new")
            return len(sent) == 7

        first(live, all_came)
    del sent["reading"]["truth"]  # of the demo alone
    for kind, message in sent.items():
        [shown] = messages(kind)
        assert set(shown) == set(message), kind


def test_the_examples_of_answers_keep_to_their_schemas() -> None:
    for schema, marks in {"Count": "timing_ms", "CameraView": "source", "Problem": "title"}.items():
        [shown] = [one for text in blocks("json") if marks in (one := json.loads(text))]
        told = {"$ref": f"#/components/schemas/{schema}"}
        contract().validator(told).validate(shown)


def kind(schema: dict[str, Any]) -> str:
    """What a setting takes, in words."""
    match schema:
        case {"anyOf": [first, {"type": "null"}]}:
            return f"{kind(first)}, or null"
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"prefixItems": items}:
            return f"[{'; '.join(map(kind, items))}]"
        case {"type": "array", "minItems": least, "maxItems": most, "items": items}:
            return f"{least} to {most} of {kind(items)}"
        case {"type": "object", "maxProperties": most}:
            return f"names to settings, at most {most}"
        case {"exclusiveMinimum": least, "maximum": most}:
            return f"{schema['type']}, over {least} to {most}"
        case {"minimum": least, "maximum": most}:
            return f"{schema['type']}, {least} to {most}"
        case {"type": "string", "maxLength": most}:
            return f"text, at most {most} characters"
        case {"type": "string"}:
            return "text"
    return str(schema["type"])


def default(schema: dict[str, Any], *, required: bool) -> str:
    if "default" not in schema:
        return "required" if required else "none"
    value = schema["default"]
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def settings_of(section: str) -> list[tuple[str, ...]]:
    schema = Settings.model_json_schema()["$defs"][SECTIONS[section]]
    required = schema.get("required", ())
    inherited = Defaults.model_fields if section == "cameras" else ()
    return [
        (f"`{name}`", kind(one), default(one, required=name in required))
        for name, one in schema["properties"].items()
        if name not in inherited
    ]


def test_every_section_of_the_settings_has_its_table() -> None:
    schema = Settings.model_json_schema()
    assert {*schema["properties"], "zones"} == set(SECTIONS)
    assert set(schema["$defs"]) == set(SECTIONS.values())


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_in_its_table_with_type_default_and_meaning(section: str) -> None:
    rows = table(SETTINGS, f"\n## `{section}`")
    assert [row[:3] for row in rows] == settings_of(section)
    assert all(len(row) == 4 and row[3] for row in rows)


def test_the_examples_of_settings_can_be_loaded_and_use_every_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_A_PASSWORD", "x")
    file, used = tmp_path / "throng.yaml", set()
    for text in blocks("yaml", SETTINGS):
        file.write_text(text)
        load_settings(file)
        used |= set(re.findall(r"(\w+):", text))
    assert {name.strip("`") for section in SECTIONS for name, *_ in settings_of(section)} <= used


@pytest.mark.slow
def test_the_listener_of_the_page_runs(service: Running, tmp_path: Path) -> None:
    [script] = blocks("python")
    script = script.replace("127.0.0.1:8000", urlsplit(service.url).netloc)
    script = script.replace("frame[end:])", "frame[end:])\n            break")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, timeout=30, check=False
    )
    assert done.stderr == b""
    assert done.stdout.startswith(b"demo ")
    assert (tmp_path / "demo.jpg").read_bytes().startswith(b"\xff\xd8")
