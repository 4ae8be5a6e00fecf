"""`GET /metrics`, for Prometheus."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from prometheus_client.exposition import choose_encoder

from app.access import reader_of_metrics
from app.problems import documented
from app.services import ServicesDep
from rhocast.errors import Forbidden, Unauthorized

router = APIRouter(tags=["service"])

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Prometheus' text format, or OpenMetrics where that is accepted",
        "content": {"text/plain": {"schema": {"type": "string"}}, "application/openmetrics-text": {}},
    },
    **documented(Unauthorized, Forbidden),
}


@router.get(
    "/metrics",
    responses=_RESPONSES,
    response_class=Response,
    dependencies=[Depends(reader_of_metrics)],
    summary="Numbers for Prometheus; where keys are needed, one of scope metrics",
)
def metrics(request: Request, services: ServicesDep) -> Response:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(services.metrics.registry), media_type=content_type)
