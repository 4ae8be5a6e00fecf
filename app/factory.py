"""Makes the application."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from app import problems
from app.routes import jobs as job_routes
from app.routes import predictions, service
from app.services import Services
from app.structures.sandbox import Sandbox
from app.waiting import Waiter
from jobs.artifacts import ArtifactStore
from jobs.connection import connect
from jobs.directory import Directory
from jobs.ledger import Ledger
from jobs.settings import Settings
from jobs.version import code_version
from rhocast import __version__
from rhocast.errors import InvalidField, ServerError
from rhocast.schemas import PredictionRequest, Problem

_CONVERSION_SECONDS = 600.0
_DESCRIPTION = "Electron densities, energies, forces and stress for a CIF or POSCAR. Units: Å, eV, e/Å³."


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application, by its settings; it may be made many times in one process.

    Args:
        settings: Settings; read from the environment if None.
    """
    chosen = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        client = connect(chosen.redis_url)
        ledger = Ledger(client, chosen)
        services = Services(
            settings=chosen,
            ledger=ledger,
            directory=Directory(client, chosen),
            artifacts=ArtifactStore(chosen.artifacts_folder, chosen.min_free_bytes),
            waiter=Waiter(chosen.redis_url, ledger.channel),
            parser=Sandbox(
                chosen.parser_processes,
                chosen.parser_seconds,
                chosen.parser_bytes,
                preload=("app.structures.parsing", "pymatgen.io.cif", "pymatgen.io.vasp", "ase.io"),
            ),
            converter=Sandbox(1, _CONVERSION_SECONDS, preload=("app.downloads",), error=ServerError),
        )
        app.state.services = services
        services.waiter.start()
        code_version()
        yield
        services.parser.close()
        services.converter.close()
        client.close()
        await services.waiter.stop()

    app = FastAPI(
        title="rhocast",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        responses={422: problems.documented(InvalidField)[422]},
    )
    problems.install(app)
    for router in (predictions.router, job_routes.router, service.router):
        app.include_router(router)
    _complete_openapi(app)
    return app


def _complete_openapi(app: FastAPI) -> None:
    """Adds the schemas that only hand-read bodies and problem documents mention."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        schemas = document["components"]["schemas"]
        for schema in (PredictionRequest, Problem):
            described = schema.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(described.pop("$defs", {}))
            schemas[schema.__name__] = described
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        return document

    app.openapi = openapi
