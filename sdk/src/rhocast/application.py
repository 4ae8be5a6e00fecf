"""The application that `serve`, `worker` and `keys` start: a checkout, beside the SDK or named by RHOCAST_HOME."""

import importlib.util
import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rhocast.errors import ApplicationMissing

_PACKAGES = {
    "app.supervisor": ("uvicorn", "fastapi", "redis", "dramatiq", "structlog", "zarr"),
    "jobs.keys_command": ("redis", "pydantic_settings"),
    "workers": ("redis", "dramatiq", "structlog", "zarr", "torch"),
}
"""Packages without which a process of the application ends at once."""


@dataclass(frozen=True)
class Launch:
    """A process to become.

    Attributes:
        command: Program and arguments.
        environment: All of its environment.
        folder: Where it runs.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path


def candidates(environment: Mapping[str, str], folder: Path) -> list[Path]:
    """Folders that may be the checkout, most explicit first.

    Args:
        environment: Environment of the user.
        folder: The user's current folder.
    """
    home = environment.get("RHOCAST_HOME")
    beside_the_sdk = Path(__file__).resolve().parents[3]  # sdk/src/rhocast of an editable install
    return [*([folder / home] if home else []), folder, beside_the_sdk]


def is_application(folder: Path) -> bool:
    """Whether a folder is a checkout of the application, as its pyproject.toml says."""
    try:
        settings = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return settings.get("tool", {}).get("rhocast", {}).get("application") is True


def find_application(environment: Mapping[str, str], folder: Path) -> Path:
    """The checkout of the application.

    Args:
        environment: Environment of the user.
        folder: The user's current folder.

    Raises:
        ApplicationMissing: If there is none.
    """
    places = candidates(environment, folder)
    for place in places:
        if is_application(place):
            return place.resolve()
    raise ApplicationMissing(
        f"found no rhocast application in {', '.join(map(str, places))}; expected a checkout of its repository, which "
        "`serve` and `worker` need (the installed package is the client alone); go to the checkout, or name it by "
        "RHOCAST_HOME"
    )


def missing_packages(module: str) -> list[str]:
    """Packages that a module of the application needs and this Python lacks.

    Args:
        module: app.supervisor, workers or jobs.keys_command.
    """
    return [name for name in _PACKAGES[module] if importlib.util.find_spec(name) is None]


def launch_of(
    module: str, arguments: tuple[str, ...], environment: Mapping[str, str], folder: Path, data: Path | None = None
) -> Launch:
    """How a module of the application is run.

    Args:
        module: app.supervisor, workers or jobs.keys_command.
        arguments: Its arguments.
        environment: Environment of the user.
        folder: The user's current folder, from which relative paths count.
        data: Folder of the service's data; RHOCAST_DATA, else the application's own choice, if None.

    Raises:
        ApplicationMissing: If there is no application, or it lacks packages.
    """
    home = find_application(environment, folder)
    missing = missing_packages(module)
    if missing:
        raise ApplicationMissing(
            f"found the application in {home}, and in this Python ({sys.executable}) no {', '.join(missing)}; "
            f"expected its packages; run: cd {home} && {sys.executable} -m pip install --group web --group worker"
        )
    chosen = str(data) if data is not None else environment.get("RHOCAST_DATA")
    settings = {"RHOCAST_DATA": str((folder / chosen).resolve())} if chosen else {}
    return Launch((sys.executable, "-m", module, *arguments), {**environment, **settings}, home)


def become(launch: Launch) -> None:
    """Replaces this process, so that signals reach the application itself.

    Args:
        launch: What to become.
    """
    os.chdir(launch.folder)
    os.execve(launch.command[0], launch.command, dict(launch.environment))  # noqa: S606  (no shell is wanted)
