"""/openapi.json as a contract: what the service answers is what it told."""

import re
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from jsonschema import Draft202012Validator

from service.app import create_app
from service.settings import Settings
from tests.fakes import FakeEngine, bundle


class Contract:
    def __init__(self, openapi: dict[str, Any]) -> None:
        self.openapi = openapi
        self._components = _closed(openapi["components"])
        self._paths = {
            re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))): operations
            for path, operations in openapi["paths"].items()
        }

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        for pattern, operations in self._paths.items():
            if pattern.fullmatch(path):
                found: dict[str, Any] | None = operations.get(method.lower())
                return found
        return None

    def validator(self, schema: Mapping[str, Any]) -> Draft202012Validator:
        return Draft202012Validator({**schema, "components": self._components})

    def holds(self, answer: httpx.Response) -> None:
        """Raises AssertionError or ValidationError for an answer that nobody told of."""
        asked = answer.request
        told = self.operation(asked.method, asked.url.path)
        if told is None:
            return
        where = f"{asked.method} {asked.url.path}: {answer.status_code}"
        assert str(answer.status_code) in told["responses"], where
        content = told["responses"][str(answer.status_code)].get("content", {})
        kind, body = answer.headers.get("content-type"), answer.read()
        assert kind in content or not (content or body), f"{where} {kind}"
        if kind in content and kind.endswith("json"):
            self.validator(content[kind]["schema"]).validate(answer.json())


@cache
def contract() -> Contract:
    """The same for every service, whatever its settings."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(), bundle=bundle(), engine=FakeEngine(), data=Path(folder))
        return Contract(app.openapi())


def _closed(schema: Any) -> Any:
    """Fields that nobody told of are refused, which a client must not do."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(one) for name, one in schema.items()}
    return {"additionalProperties": False} | closed if "properties" in closed else closed
