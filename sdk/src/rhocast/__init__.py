"""rhocast: where the electrons are, in seconds.

    from rhocast import Client

    job = Client().submit("POSCAR", want=["density", "forces"])
    density = job.wait(timeout=600).density()

Names are imported when they are first used, so that code which needs only the structure type or the errors
(the models, on a machine without pydantic or an HTTP client) loads nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rhocast.async_client import AsyncClient
    from rhocast.client import Batch, Client, Job, Result
    from rhocast.density import Density
    from rhocast.errors import RhocastError
    from rhocast.model_info import ModelInfo, Property
    from rhocast.structure import Structure

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "Batch",
    "Client",
    "Density",
    "Job",
    "ModelInfo",
    "Property",
    "Result",
    "RhocastError",
    "Structure",
    "__version__",
]

_HOMES = {
    "AsyncClient": "rhocast.async_client",
    "Batch": "rhocast.client",
    "Client": "rhocast.client",
    "Job": "rhocast.client",
    "Result": "rhocast.client",
    "Density": "rhocast.density",
    "ModelInfo": "rhocast.model_info",
    "Property": "rhocast.model_info",
    "RhocastError": "rhocast.errors",
    "Structure": "rhocast.structure",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rhocast' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
