"""`/healthz`, `/readyz`, `/metrics`."""

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service.parts import Service
from service.routes.answers import READINESS

router = APIRouter(tags=["operation"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    response_model=READINESS,
    responses={503: {"model": READINESS, "description": "Not ready: `reasons` says why."}},
)
async def readyz(parts: Service, response: Response) -> dict[str, Any]:
    """503 while the engine or a part of the service fails, or it ends; cameras may be down."""
    reasons = [*parts.broken]
    if parts.draining:
        reasons.append("the service is ending")
    if parts.batcher.over:
        reasons.append(f"the engine is over: {parts.batcher.over}")
    elif parts.batcher.stuck:
        reasons.append("the engine hangs")
    elif not parts.batcher.healthy:
        reasons.append(f"the engine failed {parts.batcher.failures_in_a_row} times in a row")
    response.status_code = 503 if reasons else 200
    return {
        "ready": not reasons,
        "reasons": reasons,
        "engine": parts.engine.name,
        "precision": parts.engine.precision,
        "load": round(parts.pace.load, 2),
        "history": parts.history.degraded or "ok",
        "settings": (parts.file and parts.file.problems) or "ok",
    }


@router.head("/metrics", include_in_schema=False)
@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}},
)
async def metrics(parts: Service) -> Response:
    """For Prometheus."""
    return Response(generate_latest(parts.registry), media_type=CONTENT_TYPE_LATEST)
