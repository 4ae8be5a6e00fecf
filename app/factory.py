"""Makes the application."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import redis
from fastapi import Depends, FastAPI

from app import problems
from app.access import caller
from app.metrics import StoreMetrics, WebMetrics
from app.observation import Observed
from app.revocation import EndsWithItsKey
from app.routes import analysis, batches, events, metrics, predictions, relaxations, service
from app.routes import jobs as job_routes
from app.routes.page import page_files, page_router
from app.services import Services
from app.structures.sandbox import Sandbox
from app.waiting import Waiter, called_on_termination
from jobs.artifacts import artifact_store
from jobs.batches import Batches
from jobs.connection import connect
from jobs.directory import Directory
from jobs.keys import Keys
from jobs.ledger import Ledger
from jobs.limits import Limits
from jobs.settings import Settings
from jobs.version import code_version
from rhocast import __version__
from rhocast.batch_schemas import BatchLine, BatchRequestLine
from rhocast.errors import Forbidden, InvalidField, ServerError, Unauthorized
from rhocast.schemas import PredictionRequest, Problem, RelaxationRequest

_CONVERSION_SECONDS = 600.0
_UNPACKING_SECONDS = 120.0
_DESCRIPTION = "Electron densities, energies, forces and stress for a CIF or POSCAR. Units: Å, eV, e/Å³."


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application, by its settings; it may be made many times in one process.

    Args:
        settings: Settings; read from the environment if None.
    """
    chosen = settings or Settings()
    counted = WebMetrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        client = connect(chosen.redis_url)
        services = services_of(chosen, client, counted)
        app.state.services = services
        services.waiter.start()
        code_version()
        in_store = StoreMetrics(services.directory, services.ledger.transport, services.artifacts)
        counted.registry.register(in_store)
        with called_on_termination(services.waiter.end_watches):
            yield
        counted.registry.unregister(in_store)
        await services.waiter.stop()
        services.close()
        client.close()

    app = FastAPI(
        title="rhocast",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        responses={422: problems.documented(InvalidField)[422]},
    )
    problems.install(app)
    app.add_middleware(EndsWithItsKey)
    app.add_middleware(Observed, metrics=counted)
    # What is under /v1 belongs here, behind the key.
    rooms = (predictions, relaxations, job_routes, analysis, batches, events, service)
    for router in (room.router for room in rooms):
        app.include_router(
            router, dependencies=[Depends(caller)], responses=problems.documented(Unauthorized, Forbidden)
        )
    for router in (service.probes, metrics.router, page_router(page_files())):
        app.include_router(router)
    _complete_openapi(app)
    return app


def services_of(settings: Settings, client: redis.Redis, counted: WebMetrics) -> Services:
    """What a process of the application needs.

    Args:
        settings: Settings of the service.
        client: Client of the store.
        counted: Counters of the process.
    """
    ledger = Ledger(client, settings)
    return Services(
        settings=settings,
        ledger=ledger,
        batches=Batches(ledger),
        directory=Directory(client, settings),
        artifacts=artifact_store(settings),
        waiter=Waiter(settings.redis_url, ledger),
        parser=Sandbox(
            settings.parser_processes,
            settings.parser_seconds,
            settings.parser_bytes,
            preload=("app.structures.parsing", "pymatgen.io.cif", "pymatgen.io.vasp", "ase.io"),
        ),
        converter=Sandbox(1, _CONVERSION_SECONDS, preload=("app.downloads",), error=ServerError),
        analyst=Sandbox(1, _CONVERSION_SECONDS, preload=("app.analyses", "app.downloads"), error=ServerError),
        unpacker=Sandbox(1, _UNPACKING_SECONDS, settings.parser_bytes, preload=("app.batches.unpacking",)),
        keys=Keys(client, settings),
        limits=Limits(client, settings),
        metrics=counted,
    )


def _complete_openapi(app: FastAPI) -> None:
    """Adds the schemas that only hand-read bodies and problem documents mention, and that keys may not be needed."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        schemas = document["components"]["schemas"]
        for schema in (PredictionRequest, RelaxationRequest, BatchRequestLine, BatchLine, Problem):
            described = schema.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(described.pop("$defs", {}))
            schemas[schema.__name__] = described
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for operation in (one for operations in document["paths"].values() for one in operations.values()):
            security = operation.get("security", [{}])
            if {} not in security:
                security.insert(0, {})  # nothing is needed where the service is open
        return document

    app.openapi = openapi
