"""Who asks, and whether they may: anybody on this machine alone, by API key everywhere else.

`caller` is a dependency of every router under /v1 (`app.factory`), so that no route can forget it. Looking needs the
scope `read`, everything else `submit`. A route that shows or takes jobs asks for `CallerDep`.
"""

import asyncio
import ipaddress
from dataclasses import dataclass
from typing import Annotated

import redis
import structlog
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import Scope

from app.services import Services, ServicesDep
from jobs.connection import connect
from jobs.keys import Key, Keys
from jobs.keys import Scope as KeyScope
from jobs.limits import Account
from jobs.records import JobView, no_job
from jobs.settings import Settings
from rhocast.errors import Forbidden, QuotaExceeded, RateLimited, Unauthorized

_LOOKING = ("GET", "HEAD", "OPTIONS")

_bearer = HTTPBearer(auto_error=False, scheme_name="bearer", description="An API key: `Authorization: Bearer rho_…`")
_header = APIKeyHeader(
    name="X-API-Key", auto_error=False, scheme_name="header", description="An API key, where Authorization is taken"
)

log = structlog.get_logger()


@dataclass
class Caller:
    """Who sent a request.

    Attributes:
        key: The API key; None where the service is open.
        account: How the key's account stands, once this request was charged to it.
    """

    key: Key | None = None
    account: Account | None = None

    @property
    def owner(self) -> str:
        """Whose the jobs are that this caller makes; empty where the service is open."""
        return self.key.name if self.key is not None else ""

    @property
    def is_admin(self) -> bool:
        """Whether the jobs of everybody are shown."""
        return self.key is None or self.key.scope == KeyScope.ADMIN

    def sees(self, owner: str) -> bool:
        """Whether something that belongs to an owner is shown."""
        return self.is_admin or owner == self.owner

    def require_seen(self, view: JobView) -> JobView:
        """A job, if it may be seen.

        Args:
            view: The job.

        Raises:
            JobNotFound: If it belongs to somebody else; that it exists is not told.
        """
        if not self.sees(view.record.owner):
            raise no_job(view.record.id)
        return view


def caller_with(request: Request, services: Services, plain: str, needed: KeyScope) -> Caller:
    """Who sent a request, if they may do what it asks.

    Args:
        request: The request; the caller is noted in its state.
        services: What the application has.
        plain: The API key that came with it, empty for none.
        needed: What the key must be for.

    Raises:
        Unauthorized: If a key is needed and none came, or none that is good.
        Forbidden: If the key is for something else.
    """
    if is_open(services.settings, request.scope):
        request.state.caller = Caller()
        return request.state.caller
    if not plain:
        raise Unauthorized(
            "found no API key; expected one in the header Authorization (Bearer rho_…) or X-API-Key; "
            "ask whoever runs this service for one, and set RHOCAST_API_KEY"
        )
    key = services.keys.find(plain)
    request.state.caller = Caller(key)
    if not key.scope.includes(needed):
        raise Forbidden(
            f"found an API key of scope {key.scope.value!r}; expected {needed.value!r} for this; "
            "ask whoever runs this service for another key"
        )
    return request.state.caller


Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
Header = Annotated[str | None, Security(_header)]


def sent_key(bearer: Bearer, header: Header) -> str:
    """The API key that came with a request, empty for none."""
    return bearer.credentials if bearer is not None else header or ""


async def caller(request: Request, services: ServicesDep, plain: Annotated[str, Depends(sent_key)]) -> Caller:
    needed = KeyScope.READ if request.method in _LOOKING else KeyScope.SUBMIT
    if is_open(services.settings, request.scope):
        return caller_with(request, services, plain, needed)  # asks the store nothing, hence no thread
    return await asyncio.to_thread(caller_with, request, services, plain, needed)


CallerDep = Annotated[Caller, Depends(caller)]


def reader_of_metrics(request: Request, services: ServicesDep, plain: Annotated[str, Depends(sent_key)]) -> Caller:
    return caller_with(request, services, plain, KeyScope.METRICS)


def is_open(settings: Settings, scope: Scope) -> bool:
    """Whether a request needs no key: by the settings, else by the address at which it arrived.

    Args:
        settings: Settings of the service.
        scope: The request. One that a proxy has forwarded comes from elsewhere, wherever the proxy runs.
    """
    if settings.auth != "auto":
        return settings.auth == "none"
    host = (scope.get("server") or ("",))[0]
    was_forwarded = any(name in (b"forwarded", b"x-forwarded-for", b"via") for name, _ in scope["headers"])
    return is_loopback(host) and not was_forwarded


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def require_keys(settings: Settings, host: str, url: str) -> None:
    """Refuses to serve where nobody could get in.

    Args:
        settings: Settings of the service.
        host: Address that it is about to listen on.
        url: Address of the store. If that does not answer yet, the service may start: it refuses who has no key.

    Raises:
        Unauthorized: If keys are needed and there are none.
    """
    if settings.auth == "none" or (settings.auth == "auto" and is_loopback(host)):
        return
    try:
        with connect(url) as client:
            has_keys = Keys(client, settings).exist()
    except redis.RedisError as error:
        log.warning("keys_not_looked_up", error=str(error))
        return
    if not has_keys:
        raise Unauthorized(
            f"found no good API key, and that the service is to listen on {host} (RHOCAST_AUTH={settings.auth}); "
            "expected one; make it with `rhocast keys create NAME`, or set RHOCAST_AUTH=none if everybody who can "
            "reach this address may use it"
        )


def charge(services: Services, caller: Caller, cost: int) -> None:
    """Takes the cost of a request from the account of its caller; nothing where the service is open.

    Args:
        services: What the application has.
        caller: Who asks.
        cost: Atoms of all that is new in it, at least 1.

    Raises:
        RateLimited: If it is more than is left just now.
        QuotaExceeded: If it is more than is left of today.
    """
    key = caller.key
    if key is None:
        return
    account = caller.account = services.limits.take(key.id, cost, key.atoms_per_minute, key.atoms_per_day)
    if account.refused_by == "day":
        raise QuotaExceeded(
            f"found a request that costs {cost} atoms, and {account.used_today} of {account.per_day} used today by the "
            f"API key of {key.name!r}; expected no more than {account.per_day} a day; the next day begins at 00:00 UTC"
        )
    if account.refused_by == "minute":
        raise RateLimited(
            f"found a request that costs {cost} atoms, and {max(0.0, account.left):.0f} left of {account.per_minute} a "
            f"minute for the API key of {key.name!r}; expected fewer; try again in {account.seconds:.0f} s"
        )


def still_allowed(services: Services, caller: Caller) -> bool:
    """Whether the key of a caller is good now, as it was when the request came."""
    if caller.key is None:
        return True
    try:
        services.keys.good(caller.key.digest)
    except Unauthorized:
        return False
    except redis.RedisError:
        return True  # the store will be asked again
    return True
