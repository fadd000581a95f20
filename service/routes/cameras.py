"""`/v1/cameras`: what runs, its last reading, its pictures, its history; adding and removing."""

import asyncio
import io
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Body, Path, Query, Response

from models.errors import ConfigError, SourceError
from service.hub import Seen, described
from service.ingest import kind_of, now, redacted
from service.means import as_csv
from service.overlay import Image, Preview, encode, ground
from service.parts import Parts, Service
from service.problems import NotFound
from service.routes import answers
from service.routes.answers import files, problems
from service.settings import CAMERA_ID, settings_of

router = APIRouter(prefix="/v1/cameras", tags=["cameras"])

Name = Annotated[str, Path(pattern=CAMERA_ID)]
From = Annotated[datetime | None, Query(alias="from", description="default: an hour ago")]
To = Annotated[datetime | None, Query(description="default: now")]
LONGEST = 100_000  # lines of an answer
EPOCH = datetime.fromtimestamp(0, UTC)
MIME = {"png": "image/png", "jpg": "image/jpeg"}

# What /openapi.json tells of answers and errors.
EXAMPLE = {"source": "rtsp://10.0.0.7/stream1", "rate": 5}
UNKNOWN = problems("request_invalid", "camera_unknown")
UNSEEN = problems("request_invalid", "camera_unknown", "reading_none")
PUT = {201: {"model": answers.CAMERA, "description": "It is new."}} | problems(
    *("http_400", "http_413", "request_invalid", "settings_invalid", "overloaded")
)
HEATMAP = UNSEEN | files("image/png", "image/jpeg", headers=answers.AGE)
DENSITY = UNSEEN | files("application/x-npy", headers=answers.AGE)
VIEW = files("image/jpeg") | problems(
    *("request_invalid", "camera_unknown", "preview_none", "view_none", "overloaded")
)
PAST = problems("request_invalid", "camera_unknown", "history_failed")
PAST_CSV = PAST | files("text/csv; charset=utf-8")


@router.get("", response_model=answers.CAMERAS)
async def cameras(parts: Service) -> dict[str, Any]:
    """Every camera: settings without secrets, state, last reading with its age."""
    return {"cameras": [_described(parts, name) for name in parts.cameras.names()]}


@router.get("/{name}", response_model=answers.CAMERA, responses=UNKNOWN)
async def camera(name: Name, parts: Service) -> dict[str, Any]:
    """One camera: settings without secrets, state, last reading with its age."""
    _must_exist(parts, name)
    return _described(parts, name)


@router.put("/{name}", response_model=answers.CAMERA, responses=PUT)
async def put_camera(
    name: Name,
    parts: Service,
    settings: Annotated[dict[str, Any], Body(examples=[EXAMPLE]), answers.ENTRY],
    response: Response,
) -> dict[str, Any]:
    """Add a camera, or replace one, until the service ends: the YAML file is not written.

    The body is a camera's entry as in the YAML; what it leaves out is as the YAML's `defaults` say.
    Only rtsp(s) addresses and `demo` may come this way: files and http are read where the YAML
    names them.
    """
    defaults = parts.defaults.model_dump()
    tree = {"defaults": defaults, "cameras": {name: settings}}
    entry = settings_of(tree, "body").cameras[name]
    for key, address in (("source", entry.source), ("view", entry.view)):
        if address is not None and kind_of(address.get_secret_value()) not in ("rtsp", "demo"):
            raise ConfigError(
                f"cameras.{name}.{key}: only rtsp://, rtsps:// and demo by this route"
            )
        if address is not None and "${" in address.get_secret_value():
            raise ConfigError(
                f"cameras.{name}.{key}: ${{...}} stands for a secret in the settings file alone: "
                "send the password itself, %-quoted"
            )
    known = name in parts.cameras
    if not known or entry.rate > parts.cameras.settings(name).rate:
        parts.pace.admit()
    response.status_code = 200 if known else 201
    parts.cameras.add(name, entry)
    return _described(parts, name)


@router.delete("/{name}", status_code=204, responses=UNKNOWN)
async def delete_camera(name: Name, parts: Service) -> None:
    """Stop a camera and forget its series."""
    _must_exist(parts, name)
    parts.cameras.remove(name)


@router.get("/{name}/latest", response_model=answers.READING, responses=UNSEEN)
async def latest(name: Name, parts: Service) -> dict[str, Any]:
    """The last reading, with its age now and whether that makes it stale."""
    return _seen(parts, name).reading.message()


@router.get("/{name}/heatmap.{kind}", response_class=Response, responses=HEATMAP)
async def heatmap(name: Name, kind: Literal["png", "jpg"], parts: Service) -> Response:
    """The last counted picture with its density, as its privacy setting allows."""
    seen = _seen(parts, name)
    stride = parts.bundle.manifest.input.stride
    drawn = await seen.drawn("jpeg" if kind == "jpg" else "png", stride=stride)
    return Response(drawn, media_type=MIME[kind], headers=_age(seen))


@router.get("/{name}/view.jpg", response_class=Response, responses=VIEW)
async def view(name: Name, parts: Service) -> Response:
    """A picture of now at up to 1920 x 1080, from its `view` stream; without density.

    Takes as long as that stream takes to open and to reach a key frame. 503 while one is being
    taken for somebody else, 404 unless the camera is live, dark or frozen.
    """
    _must_exist(parts, name)
    preview = parts.cameras.settings(name).preview
    if preview == "none":
        raise NotFound("preview_none", f"camera {name!r} shows no pictures (preview: none)")
    try:
        frame = await parts.cameras.view(name)
    except SourceError as error:
        raise NotFound("view_none", f"camera {name!r} shows nothing now: {error}") from error
    picture = await asyncio.to_thread(_shown, frame.image_HW3, preview)
    return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


@router.get("/{name}/density.npy", response_class=Response, responses=DENSITY)
async def density(name: Name, parts: Service) -> Response:
    """The last density map: float32, people a cell; its sum is the count."""
    seen = _seen(parts, name)
    buffer = io.BytesIO()
    np.save(buffer, seen.density_hw, allow_pickle=False)
    return Response(buffer.getvalue(), media_type="application/x-npy", headers=_age(seen))


@router.get("/{name}/history", response_model=answers.SPAN, responses=PAST)
async def history(
    name: Name,
    parts: Service,
    from_: From = None,
    to: To = None,
    limit: Annotated[int, Query(ge=1, le=LONGEST)] = 10_000,
) -> dict[str, Any]:
    """The newest `limit` readings of a span, oldest first. Times: ISO 8601; without zone, UTC."""
    _must_exist(parts, name)
    start, end = _span(from_, to)
    between = partial(parts.history.between, name, start=start, end=end, limit=limit)
    loop = asyncio.get_running_loop()
    readings, more = await loop.run_in_executor(parts.history.askers, between)
    return {"camera": name, "readings": readings, "truncated": more}


@router.get("/{name}/history.csv", response_class=Response, responses=PAST_CSV)
async def history_csv(
    name: Name,
    parts: Service,
    from_: From = None,
    to: To = None,
    every: Annotated[int, Query(ge=1, le=86_400, description="seconds a line")] = 60,
) -> Response:
    """Means over stretches of `every` seconds, oldest first, for a spreadsheet; the newest 100,000.

    A line: when its stretch begins, how many readings it has, their mean count, the mean ends of
    their intervals, their lowest and highest count, and the mean of each zone.
    """
    _must_exist(parts, name)
    start, end = _span(from_, to)

    def written() -> str:
        past = parts.history.means(name, start=start, end=end, every_s=every, limit=LONGEST)
        return as_csv(past)

    body = await asyncio.get_running_loop().run_in_executor(parts.history.askers, written)
    told = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(body, media_type="text/csv", headers=told)


def _described(parts: Parts, name: str) -> dict[str, Any]:
    settings = parts.cameras.settings(name)
    state, reason = parts.hub.states[name]
    seen = parts.hub.seen.get(name)
    return {
        "id": name,
        "state": state,
        "reason": reason,
        **settings.model_dump(mode="json", exclude={"source", "view", "zones"}),
        "source": redacted(settings.source.get_secret_value()),
        "view": settings.view and redacted(settings.view.get_secret_value()),
        "zones": {zone: one.polygon for zone, one in settings.zones.items()},
        "reader": parts.cameras.reader(name),
        "stream": described(stream) if (stream := parts.hub.streams.get(name)) else None,
        "latest": seen.reading.message() if seen else None,
    }


def _must_exist(parts: Parts, name: str) -> None:
    if name not in parts.cameras:
        raise NotFound("camera_unknown", f"there is no camera {name!r}")


def _seen(parts: Parts, name: str) -> Seen:
    _must_exist(parts, name)
    if name not in parts.hub.seen:
        state, reason = parts.hub.states[name]
        says = f"{state}: {reason}" if reason else state
        raise NotFound("reading_none", f"camera {name!r} gave no reading yet ({says})")
    return parts.hub.seen[name]


def _shown(image_HW3: Image, preview: Preview) -> bytes:
    return encode(ground(image_HW3, preview), "jpeg")


def _age(seen: Seen) -> dict[str, str]:
    return {"Cache-Control": "no-store", "X-Throng-Age-Ms": f"{seen.reading.age_s * 1e3:.0f}"}


def _span(from_: datetime | None, to: datetime | None) -> tuple[datetime, datetime]:
    end = _utc(to) if to else now()
    return _utc(from_) if from_ else max(end, EPOCH) - timedelta(hours=1), end


def _utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=now().tzinfo)
