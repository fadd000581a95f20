"""What the routes answer, as /openapi.json tells it: nothing is checked or sent by these models.

The routes send plain dicts, which cost less; tests hold what they send to what stands here.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core.core_schema import CoreSchema, definitions_schema

from service import settings
from service.ingest import Decoding
from service.problems import TITLES, Problem
from service.readings import Invalid, State

PROBLEM = {"$ref": f"#/components/schemas/{Problem.__name__}"}
BYTES = {"type": "string", "format": "binary"}

Responses = dict[int | str, dict[str, Any]]
RETRY = {
    "Retry-After": {
        "description": "Seconds, where coming again may help.",
        "schema": {"type": "integer"},
    }
}

CODES: dict[str, tuple[int, str]] = {
    "form_broken": (400, "the multipart form cannot be read, or holds more than one file"),
    "form_empty": (400, "the form holds no file"),
    "http_400": (400, "the body cannot be read"),
    "picture_empty": (400, "the body is empty"),
    "camera_unknown": (404, "there is no camera of that name"),
    "http_404": (404, "there is nothing at that path"),
    "preview_none": (404, "the camera shows no pictures (`preview: none`)"),
    "reading_none": (404, "the camera gave no reading yet"),
    "view_none": (404, "the camera shows nothing now"),
    "http_405": (405, "that path has no such method"),
    "picture_slow": (408, "the body did not arrive within 30 s"),
    "http_413": (413, "the body is larger than 1 MB"),
    "picture_bytes": (413, "the picture is larger than `server.max_picture_bytes`"),
    "picture_pixels": (413, "more pixels than `server.max_picture_pixels`, or than 16,384 a side"),
    "picture_type": (415, "no JPEG, PNG or WebP, whatever its name says"),
    "picture_broken": (422, "the picture is damaged or cut short"),
    "request_invalid": (422, "a parameter or the body makes no sense: see `detail`"),
    "settings_invalid": (422, "a setting makes no sense, or may not come this way: see `detail`"),
    "picture_gone": (499, "the client went away before the answer (seen in metrics only)"),
    "internal": (500, "a fault of ours: the service's log tells more"),
    "engine_failed": (503, "the engine failed on it"),
    "history_failed": (503, "the history cannot be read"),
    "overloaded": (503, "too much is asked of the machine now, or too many wait"),
}
"""Every code that an error can have, by status. Codes are stable; `detail` is for people."""


@dataclass(frozen=True)
class _Shown:
    """Annotates a dict that is described by a model, and taken and sent as it is."""

    model: type[BaseModel]

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(definitions_schema(self.model.__pydantic_core_schema__, []))  # a $ref to it


class _Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Reading(_Answer):
    """What one picture of a camera gave."""

    type: Literal["reading"]
    schema_: Literal[1] = Field(alias="schema")
    camera: str
    seq: int
    """Counts the readings of this camera since it was added or changed."""
    captured_at: datetime
    """When the picture was taken, in UTC by the service's clock."""
    age_ms: float
    """Since then, at the time of this answer."""
    count: float
    """People in the picture: a sum of densities, so not a whole number."""
    interval: tuple[float, float]
    """How far the count may be off, for pictures like those of validation."""
    zones: dict[str, float]
    """People in each zone, by its name."""
    state: State
    stale: bool
    """Too old (`stale_after_s`) to be shown as the present, or of a camera that is not live."""
    fps: float
    """Counts a second, over ten seconds or three of the periods asked for."""
    valid: bool
    """Whether the picture came whole and shows anything that can be counted. If not, the count is
    none."""
    invalid: Invalid | None = None
    """Why it is not valid; absent where it is."""
    truth: float | None = None
    """People that are really there: the drawn demo scene alone knows, elsewhere absent."""


class Stream(_Answer):
    """What a camera sends."""

    codec: str
    width: int
    height: int
    fps: float | None
    """Pictures a second, measured; null until known."""
    keyframe_s: float | None
    """Seconds from one key frame to the next, measured; null until known."""
    decoding: Decoding
    """What is decoded at present: key frames alone, or all that due pictures depend on."""


class CameraView(settings.Defaults):
    """A camera: its settings without secrets, its state, its last reading."""

    model_config = ConfigDict(extra="ignore", json_schema_serialization_defaults_required=True)

    id: str
    source: str
    """Its address without user, password, path and parameters."""
    view: str | None
    """The same of its larger stream, where it has one."""
    loop: bool
    state: State
    reason: str
    """Why it is in that state; empty where there is nothing to say."""
    zones: dict[str, list[tuple[float, float]]]
    """Corners of each zone as (x, y) in 0..1 of the picture."""
    reader: int | None
    """The process that reads it now."""
    stream: Stream | None
    latest: Reading | None


class CameraList(_Answer):
    cameras: list[CameraView]


class PastReading(_Answer):
    """A reading as history keeps it. Only valid ones are kept."""

    captured_at: datetime
    count: float
    interval: tuple[float, float]
    zones: dict[str, float]


class Span(_Answer):
    """Readings of a span of time, oldest first."""

    camera: str
    readings: list[PastReading]
    truncated: bool
    """There were more than `limit`: the oldest are left out."""


class Readiness(_Answer):
    ready: bool
    reasons: list[str]
    """Why it is not ready."""
    engine: str
    precision: str
    load: float
    """Share of the asked counts that is given; 1 for all."""
    history: str
    """`ok`, or why readings are not kept."""
    settings: str
    """`ok`, or what of the settings file does not run and why."""


CAMERA = Annotated[dict[str, Any], _Shown(CameraView)]
CAMERAS = Annotated[dict[str, Any], _Shown(CameraList)]
READING = Annotated[dict[str, Any], _Shown(Reading)]
SPAN = Annotated[dict[str, Any], _Shown(Span)]
READINESS = Annotated[dict[str, Any], _Shown(Readiness)]
ENTRY = _Shown(settings.Camera)

AGE = {
    "X-Throng-Age-Ms": {
        "description": "Since the picture was taken, in milliseconds.",
        "schema": {"type": "integer"},
    }
}
POSTED = {
    "required": True,
    "description": "The picture itself, or a form with it as its only file, under any name.",
    "content": {
        **{f"image/{kind}": {"schema": BYTES} for kind in ("jpeg", "png", "webp")},
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"picture": BYTES}, "required": ["picture"]}
        },
    },
}


def problems(*codes: str) -> Responses:
    """The errors of a route, by status."""
    told: Responses = {}
    for status in sorted({CODES[code][0] for code in codes}):
        means = [f"`{code}`: {CODES[code][1]}" for code in codes if CODES[code][0] == status]
        told[status] = {
            "description": f"{TITLES[status]}. {'; '.join(means)}.",
            "content": {"application/problem+json": {"schema": PROBLEM}},
        }
    if 503 in told:
        told[503]["headers"] = RETRY
    return told


def files(*kinds: str, headers: dict[str, Any] | None = None) -> Responses:
    """The answer of a route that sends a file."""
    content = {kind: {"schema": BYTES} for kind in kinds}
    return {200: {"content": content, "headers": headers or {}}}
