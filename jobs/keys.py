"""API keys: who may ask, what, and how much.

The plain key is shown once, when it is made. The store has its SHA-256 alone: a key is 256 random bits, so its hash
can neither be turned back nor guessed, and needs neither salt nor a slow function. Whether a key has expired is told
by the store's clock, which is one for all machines.
"""

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import cast

import redis

from jobs.records import Row, timestamp
from jobs.settings import Settings
from rhocast.errors import Conflict, InvalidField, NotFound, Unauthorized

PREFIX = "rho_"  # by which a key that was left somewhere is found again
_NAME = re.compile(r"\w[\w.@+ -]{0,63}")  # no colon: names are parts of names in the store


class Scope(StrEnum):
    """What a key is for."""

    READ = "read"
    SUBMIT = "submit"
    METRICS = "metrics"
    ADMIN = "admin"

    def includes(self, other: "Scope") -> bool:
        """Whether a key of this scope may do what the other one is for."""
        return self in (other, Scope.ADMIN) or (self, other) == (Scope.SUBMIT, Scope.READ)


class Key(Row):
    """A key as the store knows it.

    Attributes:
        digest: SHA-256 of the plain key, in hexadecimal digits.
        name: Whose it is. Jobs belong to the name, so that a key can be replaced by a new one of the same name.
        scope: What it is for.
        created_at: When it was made.
        expires_at: When it ends by itself; None for never.
        revoked_at: When it was taken back; None while it is good.
        atoms_per_minute: Atoms a minute, 0 for any number; None for what the settings say.
        atoms_per_day: Atoms a day, 0 for any number; None for what the settings say.
    """

    digest: str
    name: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    atoms_per_minute: int | None = None
    atoms_per_day: int | None = None

    @property
    def id(self) -> str:
        """Public name of the key."""
        return self.digest[:12]

    def state(self, now: datetime) -> str:
        """good, revoked or expired."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else "good"


class Keys:
    """The keys in the store.

    Args:
        client: Client of the store.
        settings: Namespace.
    """

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._client = client
        self._rows = f"{settings.namespace}:keys"

    def create(
        self,
        name: str,
        scope: str = Scope.SUBMIT,
        days: float | None = None,
        atoms_per_minute: int | None = None,
        atoms_per_day: int | None = None,
    ) -> tuple[Key, str]:
        """A new key, and the plain text of it that nobody can ask for again.

        Args:
            name: Whose it is.
            scope: What it is for.
            days: Days until it ends by itself; None for never.
            atoms_per_minute: Atoms a minute, 0 for any number; None for what the settings say.
            atoms_per_day: Atoms a day, 0 for any number; None for what the settings say.

        Raises:
            InvalidField: If the name, the scope or a number cannot be used.
        """
        if _NAME.fullmatch(name) is None:
            raise InvalidField(
                f"found the name {name[:80]!r}; expected 1 to 64 letters, digits, spaces and . @ + _ -, of which the "
                "first is a letter or digit; say whose the key is"
            )
        if scope not in list(Scope):
            raise InvalidField(f"found the scope {scope!r}; expected one of {', '.join(Scope)}; choose the narrowest")
        if any(number is not None and number < 0 for number in (days, atoms_per_minute, atoms_per_day)):
            raise InvalidField("found a negative number; expected days or atoms; leave it out for the default")
        plain = PREFIX + secrets.token_urlsafe(32)
        now = self.now()
        key = Key(
            digest=_digest(plain),
            name=name,
            scope=Scope(scope),
            created_at=now,
            expires_at=None if days is None else timestamp(now.timestamp() + days * 86_400),
            atoms_per_minute=atoms_per_minute,
            atoms_per_day=atoms_per_day,
        )
        self._write(key)
        return key, plain

    def find(self, plain: str) -> Key:
        """The good key that a plain text is.

        Args:
            plain: What the caller sent.

        Raises:
            Unauthorized: If there is none, or it was revoked or has expired.
        """
        return self.good(_digest(plain))

    def good(self, digest: str) -> Key:
        """The key of a hash, if it is still good.

        Args:
            digest: SHA-256 of the plain key.

        Raises:
            Unauthorized: If there is none, or it was revoked or has expired.
        """
        # Found by its hash: how long the search takes tells nothing of the plain text.
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hget(self._rows, digest)
        pipeline.time()
        row, now = pipeline.execute()
        if row is None:
            raise Unauthorized(
                f"found an API key that is not known; expected one that begins with {PREFIX!r}; "
                "ask whoever runs this service for one"
            )
        key = Key.model_validate_json(row)
        if (state := key.state(_moment(now))) != "good":
            raise Unauthorized(
                f"found the API key {key.id} of {key.name!r}, which is {state}; expected a good one; "
                "ask whoever runs this service for a new one"
            )
        return key

    def all(self) -> list[Key]:
        """All keys, oldest first, also those that are no longer good."""
        rows = cast(dict[bytes, bytes], self._client.hgetall(self._rows))
        return sorted((Key.model_validate_json(row) for row in rows.values()), key=lambda key: key.created_at)

    def exist(self) -> bool:
        """Whether any key is good."""
        now = self.now()
        return any(key.state(now) == "good" for key in self.all())

    def named(self, which: str) -> Key:
        """The one key of an id, or of a name that has one good key.

        Args:
            which: Id or name.

        Raises:
            NotFound: If there is none.
            Conflict: If several good keys have the name.
        """
        keys = self.all()
        now = self.now()
        found = [key for key in keys if key.id == which] or [
            key for key in keys if key.name == which and key.state(now) == "good"
        ]
        if not found:
            raise NotFound(f"found no key {which!r}; expected an id or the name of a good key; see `rhocast keys list`")
        if len(found) > 1:
            raise Conflict(f"found {len(found)} keys of {which!r}; expected one; name it by its id: {_ids(found)}")
        return found[0]

    def revoke(self, which: str) -> Key:
        """Takes a key back, from now on and everywhere; returns it.

        Args:
            which: Id or name.

        Raises:
            NotFound: If there is none.
            Conflict: If several good keys have the name, or it was revoked before.
        """
        key = self.named(which)
        if key.revoked_at is not None:
            raise Conflict(f"found that key {key.id} was revoked at {key.revoked_at:%Y-%m-%d %H:%M} UTC; nothing to do")
        revoked = key.model_copy(update={"revoked_at": self.now()})
        self._write(revoked)
        return revoked

    def now(self) -> datetime:
        """The moment by the store's clock."""
        return _moment(self._client.time())

    def _write(self, key: Key) -> None:
        self._client.hset(self._rows, key.digest, key.model_dump_json())


def _digest(plain: str) -> str:
    return hashlib.sha256(plain.encode()).hexdigest()


def _moment(time: tuple[int, int]) -> datetime:
    seconds, microseconds = time
    return timestamp(seconds + microseconds / 1e6)


def _ids(keys: Sequence[Key]) -> str:
    return ", ".join(key.id for key in keys)
