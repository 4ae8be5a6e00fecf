"""What `rhocast doctor` looks at: this installation, the service, and what the service can do."""

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from rhocast import __version__
from rhocast.application import find_application, missing_packages
from rhocast.client import DEFAULT_URL
from rhocast.errors import RhocastError
from rhocast.model_info import Property
from rhocast.retrying import RetryPolicy
from rhocast.schemas import Health, ModelEntry, ModelList
from rhocast.session import Session
from rhocast.transport import Call, HttpTransport, Reply
from rhocast.wire import answer_of

_ENOUGH_DISK = 1_000_000_000
_NOT_READY = 503


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What it is.
        found: What was found.
        is_good: Whether it is as it should be; None where it is only told.
    """

    name: str
    found: str
    is_good: bool | None = None


def findings(url: str | None) -> list[Finding]:
    """Everything that was looked at.

    Args:
        url: Address of the service; RHOCAST_URL, else this machine's port 8000, if None.
    """
    address = url or os.environ.get("RHOCAST_URL") or DEFAULT_URL
    return [*_installation(), _application(), _disk(Path.cwd()), *_service(address)]


def _installation() -> list[Finding]:
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pydantic", "httpx2", "rich", "typer"))
    return [
        Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Finding("rhocast", __version__),
        Finding("packages", packages),
    ]


def _application() -> Finding:
    """The application is needed for `serve` and `worker` alone, so its absence is no fault."""
    try:
        home = find_application(os.environ, Path.cwd())
    except RhocastError:
        return Finding("application", "not installed: this is the client alone, `serve` and `worker` will not run")
    missing = sorted({*missing_packages("app.supervisor"), *missing_packages("workers")})
    return Finding("application", f"in {home}" + (f", but without {', '.join(missing)}" if missing else ""))


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free in {folder}"
    is_enough = free >= _ENOUGH_DISK
    return Finding("disk", text if is_enough else f"{text}; a density file may take 1 GB: free some", is_enough)


def _service(url: str) -> list[Finding]:
    """The service, its readiness and its models; the first failure ends the list."""
    try:
        session = Session(
            HttpTransport(url, 5.0, os.environ.get("RHOCAST_API_KEY", "")), RetryPolicy(attempts=1), progress=False
        )
        health = session.ask(Call("GET", "/healthz"), Health)
        found = [Finding("service", f"{health.version} at {url}", True), *_readiness(session)]
        entries = session.ask(Call("GET", "/v1/models"), ModelList).models
    except RhocastError as error:
        return [Finding("service", error.detail, False)]
    return [*found, *map(_model, entries), *_coverage(entries)]


def _readiness(session: Session) -> list[Finding]:
    reply = session.reply(Call("GET", "/readyz"))
    if reply.status == _NOT_READY:  # its body says what is missing, as that of a ready service does
        reply = Reply(200, reply.headers, reply.body)
    checks = answer_of(reply, Health, session.url).checks
    return [Finding(name, found, found == "ok") for name, found in checks.items() if not name.startswith("model ")]


def _model(entry: ModelEntry) -> Finding:
    workers = f"{entry.n_workers} live worker{'' if entry.n_workers == 1 else 's'}"
    return Finding(f"model {entry.info.name}", f"{', '.join(entry.info.provides)}; {workers}", entry.n_workers > 0)


def _coverage(entries: list[ModelEntry]) -> list[Finding]:
    """The properties that no live worker answers."""
    served = {wanted for entry in entries if entry.n_workers for wanted in entry.info.provides}
    needed = (Property.DENSITY, Property.ENERGY, Property.FORCES)
    return [Finding(wanted, "no live worker answers it", False) for wanted in needed if wanted not in served]
