"""Every error is problem JSON (RFC 9457) with a stable code."""

import sqlite3

import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from models.errors import ConfigError, EngineError, Overloaded, PictureError
from service.problems import NotFound, install
from tests.fakes import TestClient

RAISED = {
    "picture": (PictureError("picture_broken", "cut", status=422), 422, "picture_broken"),
    "overloaded": (Overloaded("busy", retry_after_s=7), 503, "overloaded"),
    "engine": (EngineError("no"), 503, "engine_failed"),
    "history": (sqlite3.OperationalError("disk I/O error"), 503, "history_failed"),
    "config": (ConfigError("x: unknown key"), 422, "settings_invalid"),
    "unknown": (NotFound("camera_unknown", "no camera"), 404, "camera_unknown"),
    "bug": (KeyError("s3cr3t"), 500, "internal"),
    "teapot": (HTTPException(418, "short and stout", {"x-kettle": "on"}), 418, "http_418"),
}


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    install(app)

    @app.get("/raise/{name}")
    async def _raise(name: str) -> None:
        raise RAISED[name][0]

    @app.get("/number/{number}")
    @app.put("/number/{number}")
    async def _number(number: int) -> int:
        return number

    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize("name", RAISED)
def test_an_error_is_a_problem(client: TestClient, name: str) -> None:
    error, status, code = RAISED[name]
    answer = client.get(f"/raise/{name}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "code"}
    assert (body["type"], body["status"], body["code"]) == ("about:blank", status, code)
    assert body["title"]
    assert "\n" not in body["detail"]
    assert (str(getattr(error, "detail", error)) in body["detail"]) == (name != "bug")
    assert "s3cr3t" not in answer.text


def test_a_bug_is_passed_on_to_the_server_which_logs_it(client: TestClient) -> None:
    with pytest.raises(KeyError, match="s3cr3t"):
        TestClient(client.app).get("/raise/bug")


def test_a_wrong_method_is_told_the_right_ones(client: TestClient) -> None:
    assert client.delete("/number/1").headers["allow"] == "GET, PUT"


def test_headers_of_the_framework_are_passed_on(client: TestClient) -> None:
    assert client.get("/raise/teapot").headers["x-kettle"] == "on"


def test_who_comes_too_early_is_told_when_to_come_again(client: TestClient) -> None:
    assert client.get("/raise/overloaded").headers["retry-after"] == "7"
    assert "retry-after" in client.get("/raise/engine").headers
    assert "retry-after" not in client.get("/raise/picture").headers


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "http_404"),
        ("POST", "/number/1", 405, "http_405"),
        ("GET", "/number/one", 422, "request_invalid"),
    ],
)
def test_what_the_framework_refuses_is_a_problem_too(
    client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    answer = client.request(method, path)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_bad_parameter_is_named(client: TestClient) -> None:
    assert client.get("/number/one").json()["detail"].startswith("path.number: ")
