"""`POST /v1/count`: a picture in, its count out."""

import asyncio
import base64
import io
import math
import time
from collections.abc import AsyncGenerator, Coroutine
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from models.errors import EngineError, Overloaded, PictureError
from service.counting import Answer, Image
from service.overlay import encode, overlay
from service.parts import Parts, Service
from service.pictures import decode, gather
from service.pieces import scaled_down
from service.routes import answers
from service.settings import Server

router = APIRouter(prefix="/v1", tags=["pictures"])

ERRORS = answers.problems(
    *("picture_empty", "form_broken", "form_empty", "picture_slow", "picture_bytes"),
    *("picture_pixels", "picture_type", "picture_broken", "request_invalid"),
    *("overloaded", "engine_failed"),
)
MAX_WAIT_S = 5.0  # for the engine: a client does better to come again than to wait longer


class Embedded(BaseModel):
    """A file inside the answer."""

    mime: str
    base64: str


class Count(BaseModel):
    """People in a posted picture, and how far that may be off."""

    count: float
    interval: tuple[float, float]
    width: int
    height: int
    model: str
    timing_ms: dict[str, float]
    heatmap: Embedded | None = None
    density: Embedded | None = None


@router.post(
    "/count",
    response_model_exclude_none=True,
    responses=ERRORS,
    openapi_extra={"requestBody": answers.POSTED},
)
async def count(
    request: Request,
    parts: Service,
    heatmap: Annotated[Literal["png", "none"], Query()] = "none",
    density: Annotated[Literal["npy", "none"], Query()] = "none",
) -> Count:
    """Post a JPEG, PNG or WebP picture as the raw body, or as one file of a multipart form.

    `heatmap=png` adds the density over the picture, `density=npy` the float32 map itself (people a
    cell), both as base64 inside the answer. 503 with Retry-After where it would wait too long.
    """
    try:
        _come_again(parts.batcher.wait_s)
        answer = await _count(request, parts, heatmap=heatmap == "png", density=density == "npy")
    except PictureError as error:
        parts.metrics.pictures.labels(error.code).inc()
        raise
    except (Overloaded, EngineError) as error:
        code = "overloaded" if isinstance(error, Overloaded) else "engine_failed"
        parts.metrics.pictures.labels(code).inc()
        raise
    parts.metrics.pictures.labels("ok").inc()
    return answer


async def _count(request: Request, parts: Parts, *, heatmap: bool, density: bool) -> Count:
    server = parts.settings.server
    with parts.pictures.place():
        began_s = time.monotonic()
        data = await _picture(request, limit=server.max_picture_bytes)
        read_s = time.monotonic()
        async with parts.decoding:
            image, (height, width) = await asyncio.to_thread(_decoded, data, server)
        decoded_s = time.monotonic()
        answer = await _while_awaited(request, parts.pictures.count(image))
        result = Count(
            count=round(answer.count, 2),
            interval=(round(answer.interval[0], 2), round(answer.interval[1], 2)),
            width=width,
            height=height,
            model=parts.bundle.name,
            timing_ms={
                "receive": round((read_s - began_s) * 1e3, 2),
                "decode": round((decoded_s - read_s) * 1e3, 2),
                "count": round(answer.counting_ms, 2),
            },
        )
        if heatmap:
            stride = parts.bundle.manifest.input.stride
            result.heatmap = await asyncio.to_thread(_heatmap, image, answer, stride)
        if density:
            result.density = _npy(answer)
        result.timing_ms["total"] = round((time.monotonic() - began_s) * 1e3, 2)
        return result


def _decoded(data: bytes, server: Server) -> tuple[Image, tuple[int, ...]]:
    """The picture as it is counted, and its own size: what waits for the engine is small."""
    image_HW3 = decode(data, max_pixels=server.max_picture_pixels)
    return scaled_down(image_HW3, server.max_picture_side), image_HW3.shape[:2]


def _come_again(wait_s: float) -> None:
    if wait_s > MAX_WAIT_S:
        says = f"a picture would wait {wait_s:.0f} s for the engine: try again then"
        raise Overloaded(says, retry_after_s=math.ceil(wait_s))


async def _while_awaited(request: Request, counting: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer; given up once the client is gone, so that its place serves another."""
    work, gone = asyncio.create_task(counting), asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise _gone()
        return work.result()
    finally:
        work.cancel()
        gone.cancel()
        await asyncio.wait((work,))  # it takes its pieces back before its place is free again


def _gone() -> PictureError:
    return PictureError("picture_gone", "the client went away before the answer", status=499)


async def _picture(request: Request, *, limit: int) -> bytes:
    """The raw body, or the first file of a form; bounded while it arrives in both cases."""
    declared = request.headers.get("content-length")
    try:
        data = await gather(request.stream(), declared=declared, limit=limit)
    except ClientDisconnect as error:
        raise _gone() from error
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return data

    async def again() -> AsyncGenerator[bytes, None]:
        yield data

    try:
        parser = MultiPartParser(request.headers, again(), max_files=1)
        parser.spool_max_size = limit  # pictures are never put on a disk
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        many = "Too many files" in str(error)
        says = "the form holds several files: send one" if many else "the form cannot be read"
        raise PictureError("form_broken", says, status=400) from error
    try:
        for value in form.values():
            if isinstance(value, UploadFile):
                return await value.read()
    finally:
        await form.close()
    raise PictureError("form_empty", "the form holds no file: send one picture", status=400)


def _heatmap(image_HW3: Image, answer: Answer, stride: int) -> Embedded:
    drawn = overlay(image_HW3, answer.density_hw, preview="clear", stride=stride)
    return Embedded(mime="image/png", base64=base64.b64encode(encode(drawn, "png")).decode())


def _npy(answer: Answer) -> Embedded:
    buffer = io.BytesIO()
    np.save(buffer, answer.density_hw, allow_pickle=False)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return Embedded(mime="application/x-npy", base64=encoded)
