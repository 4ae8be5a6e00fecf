"""Models and health."""

import redis
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from app.problems import documented
from app.services import ServicesDep
from jobs.directory import defaults_first
from jobs.version import code_version
from rhocast.errors import RhocastError
from rhocast.model_info import Property
from rhocast.schemas import Health, ModelEntry, ModelList

router = APIRouter(tags=["service"])
probes = APIRouter(tags=["service"])
"""For who watches the service, who has no key."""


@router.get(
    "/v1/models", responses=documented(), summary="Models, what each covers, and how many live workers serve it"
)
def list_models(services: ServicesDep) -> ModelList:
    entries = services.directory.entries()
    ranked = [entry.info for entry in defaults_first(entries)]
    defaults = {wanted: next((info.name for info in ranked if wanted in info.provides), None) for wanted in Property}
    return ModelList(
        models=[
            ModelEntry(
                info=entry.info,
                n_workers=entry.n_workers,
                is_default_for=[wanted for wanted, name in defaults.items() if name == entry.info.name],
            )
            for entry in entries.values()
        ]
    )


@probes.get("/healthz", summary="Whether this process answers")
def health() -> Health:
    return Health(status="ok", version=code_version())


@probes.get(
    "/readyz",
    responses={503: {"model": Health, "description": "Something is missing"}},
    summary="Whether work can be done",
    description="Without a live expander, which only batches need, the service is ready all the same: they wait.",
)
def ready(services: ServicesDep) -> JSONResponse:
    checks: dict[str, str] = {}
    try:
        entries = services.directory.entries()
        checks["store"] = "ok"
        checks["workers"] = "ok" if entries else "no worker has started"
        checks |= {f"model {name}": "ok" if entry.n_workers else "no live worker" for name, entry in entries.items()}
        checks["expander"] = "ok" if services.directory.n_expanders() else "no live expander: batches wait"
    except redis.RedisError as error:
        checks["store"] = f"does not answer ({type(error).__name__})"
    try:
        services.artifacts.require_space()
        services.artifacts.require_reachable()
        checks["artifacts"] = "ok"
    except (RhocastError, OSError) as error:
        checks["artifacts"] = str(error)
    is_ready = all(found == "ok" for name, found in checks.items() if name != "expander")
    health = Health(status="ok" if is_ready else "not ready", version=code_version(), checks=checks)
    return JSONResponse(health.model_dump(mode="json"), 200 if is_ready else 503)
