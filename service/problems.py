"""Errors as RFC 9457 problem JSON with a stable `code`. No traceback and no secret leaves here."""

import sqlite3
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.routing import Match

from models.errors import ConfigError, EngineError, Overloaded, PictureError

TITLES = {
    400: "Bad request", 404: "Not found", 405: "Method not allowed", 408: "Too slow",
    413: "Too large", 415: "Unsupported media type", 422: "Cannot be used",
    500: "Internal error", 503: "Unavailable",
}  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class Problem(BaseModel):
    """What went wrong (RFC 9457), as `problem` sends it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    """Always about:blank: `code` says more."""
    title: str
    status: int
    """The HTTP status again."""
    detail: str
    """For people, in one line. It may be worded otherwise tomorrow."""
    code: str
    """For programs. It stays."""


class NotFound(Exception):  # noqa: N818  # a fact, not a fault
    """There is nothing by that name. `code` is stable: `camera_unknown`, `reading_none`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def problem(
    status: int, code: str, detail: str, *, retry_after_s: int | None = None
) -> JSONResponse:
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s else None
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
    }
    return JSONResponse(
        body, status_code=status, headers=headers, media_type="application/problem+json"
    )


def install(app: FastAPI) -> None:
    """Teach an app to answer with problems."""
    app.add_exception_handler(Exception, _bug)

    @app.exception_handler(PictureError)
    async def _picture(_: Request, error: PictureError) -> JSONResponse:
        return problem(error.status, error.code, str(error))

    @app.exception_handler(Overloaded)
    async def _overloaded(_: Request, error: Overloaded) -> JSONResponse:
        return problem(503, "overloaded", str(error), retry_after_s=error.retry_after_s)

    @app.exception_handler(EngineError)
    async def _engine(_: Request, error: EngineError) -> JSONResponse:
        return problem(503, "engine_failed", str(error), retry_after_s=5)

    @app.exception_handler(sqlite3.Error)
    async def _history(_: Request, error: sqlite3.Error) -> JSONResponse:
        return problem(503, "history_failed", f"the history cannot be read: {error}")

    @app.exception_handler(ConfigError)
    async def _config(_: Request, error: ConfigError) -> JSONResponse:
        return problem(422, "settings_invalid", str(error))

    @app.exception_handler(NotFound)
    async def _not_found(_: Request, error: NotFound) -> JSONResponse:
        return problem(404, error.code, str(error))

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem(422, "request_invalid", f"{where}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        answer = problem(error.status_code, f"http_{error.status_code}", str(error.detail))
        answer.headers.update(error.headers or {})
        if "Allow" in answer.headers:
            answer.headers["Allow"] = _allowed(request)
        return answer


async def _bug(_: Request, __: Exception) -> JSONResponse:
    """The server is given the error, too, and logs it."""
    return problem(500, "internal", "a fault of ours: the service's log tells more")


def _allowed(request: Request) -> str:
    """Of an address: each of its routes knows its own methods only."""
    routes = request.app.routes
    scopes = {method: {**request.scope, "method": method} for method in METHODS}
    return ", ".join(
        method
        for method, scope in scopes.items()
        if any(route.matches(scope)[0] is Match.FULL for route in routes)
    )
