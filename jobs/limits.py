"""How many atoms a key may ask for: a bucket that fills again within a minute, and a sum for each day (UTC).

One Lua script decides, by the store's clock: it does not matter how many web processes ask at once, nor what their
own clocks say.
"""

from dataclasses import dataclass

import redis

from jobs.scripts import registered
from jobs.settings import Settings


@dataclass(frozen=True)
class Account:
    """How an account stands after a cost was taken, or not.

    Attributes:
        refused_by: "minute" or "day": what had not enough left; empty if the cost was taken.
        per_minute: Atoms that the bucket holds; 0 for no limit.
        per_day: Atoms of a day; 0 for no limit.
        left: Atoms left in the bucket; negative while one larger than the bucket is being paid for.
        used_today: Atoms taken today.
        seconds: Seconds until the same cost would be taken.
        seconds_of_day: Seconds until the next day begins.
    """

    refused_by: str
    per_minute: int
    per_day: int
    left: float
    used_today: int
    seconds: float
    seconds_of_day: float


class Limits:
    """The accounts of keys in the store.

    Args:
        client: Client of the store.
        settings: Namespace, and the limits of a key that has none of its own.
    """

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._settings = settings
        self._take = registered(client, "take")["take"]

    def take(self, key: str, cost: int, per_minute: int | None = None, per_day: int | None = None) -> Account:
        """Takes a cost from a key's account, from all of it or from nothing.

        Args:
            key: Id of the key.
            cost: Atoms; 0 takes nothing and tells how the account stands.
            per_minute: Atoms a minute, 0 for any number; None for what the settings say.
            per_day: Atoms a day, 0 for any number; None for what the settings say.
        """
        minute = self._settings.atoms_per_minute if per_minute is None else per_minute
        day = self._settings.atoms_per_day if per_day is None else per_day
        account = f"{self._settings.namespace}:account:{key}"
        outcome, left, used, seconds, night = self._take(keys=[account], args=[cost, minute, day])
        refused_by = "" if outcome == b"taken" else outcome.decode()
        return Account(refused_by, minute, day, float(left), int(used), float(seconds), float(night))
