"""What /openapi.json tells. That answers keep to it is watched in all tests of the API."""

import ast
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator, ValidationError

import service
from service.problems import problem as made
from service.routes.answers import CODES
from tests.service.api.contract import contract

CAMERA = "/v1/cameras/{name}"
SOURCES = sorted(Path(service.__file__).parent.rglob("*.py"))
COMMANDS = {"picture_unreadable"}  # codes that no client sees
PROBLEM = {
    "type": "about:blank", "title": "Not found", "status": 404, "detail": "no", "code": "http_404"
}  # fmt: skip


def operation(method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = contract().openapi["paths"][path][method]
    return found


def answered(method: str, path: str, status: int, body: object, kind: str) -> httpx.Response:
    request = httpx.Request(method, f"http://here{path}")
    return httpx.Response(status, json=body, headers={"content-type": kind}, request=request)


def test_every_error_is_told_as_problem_json() -> None:
    seen = set()
    for path, operations in contract().openapi["paths"].items():
        for method, one in operations.items():
            assert "`internal`" in one["responses"]["500"]["description"]
            for status, told in one["responses"].items():
                if status >= "400" and (path, status) != ("/readyz", "503"):
                    assert list(told["content"]) == ["application/problem+json"], (method, path)
                    seen.add(int(status))
    assert seen == {400, 404, 408, 413, 415, 422, 500, 503}
    assert "HTTPValidationError" not in contract().openapi["components"]["schemas"]


def test_a_picture_is_posted_as_it_is_or_in_a_form() -> None:
    body = operation("post", "/v1/count")["requestBody"]
    assert body["required"]
    assert set(body["content"]) == {
        "image/jpeg", "image/png", "image/webp", "multipart/form-data"
    }  # fmt: skip


def test_a_camera_is_put_as_an_entry_of_the_settings() -> None:
    put = operation("put", CAMERA)
    assert {"200", "201"} <= set(put["responses"])
    entry = contract().validator(put["requestBody"]["content"]["application/json"]["schema"])
    zones = {"left": {"polygon": [[0, 0], [1, 0], [1, 1]]}}
    assert entry.is_valid({"source": "demo", "rate": 5, "zones": zones})
    for wrong in ({}, {"source": "demo", "rat": 5}, {"source": "demo", "rate": 0}):
        assert not entry.is_valid(wrong)


def test_the_schemas_are_schemas() -> None:
    for schema in contract().openapi["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (418, PROBLEM, "application/problem+json"),
        (404, PROBLEM, "application/json"),
        (404, PROBLEM | {"hint": "x"}, "application/problem+json"),
        (404, {"detail": "no"}, "application/problem+json"),
        (200, {"type": "reading"}, "application/json"),
    ],
)
def test_an_answer_that_nobody_told_of_is_seen(status: int, body: object, kind: str) -> None:
    path = "/v1/cameras/gate/latest"
    contract().holds(answered("GET", path, 404, PROBLEM, "application/problem+json"))
    with pytest.raises((AssertionError, ValidationError)):
        contract().holds(answered("GET", path, status, body, kind))


def codes(path: Path) -> set[tuple[str, int]]:
    """The codes that a file gives its errors, and their statuses where they stand beside."""
    found: set[tuple[str, int]] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        values = [one.value for one in node.args if isinstance(one, ast.Constant)]
        status = [one.value for one in node.keywords if one.arg == "status"]
        if node.func.id == "PictureError":
            [given] = [one.value for one in status if isinstance(one, ast.Constant)]
            found.add((str(values[0]), int(str(given))))
        elif node.func.id == "NotFound":
            found.add((str(values[0]), 404))
        elif node.func.id == made.__name__ and len(values) > 1:
            found.add((str(values[1]), int(str(values[0]))))
    return found


def test_every_code_in_the_source_is_told_with_its_status() -> None:
    given = {code for path in SOURCES for code in codes(path) if code[0] not in COMMANDS}
    assert len(given) > 15
    told = {(code, status) for code, (status, _) in CODES.items()}
    assert given <= told
    assert {code for code, _ in told - given if not code.startswith("http_")} == set()
