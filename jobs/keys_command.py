"""`rhocast keys`: makes, lists and revokes the API keys of the service whose store the settings name.

The plain key is printed once, alone on standard output; the store has its hash. A service that runs need not be
stopped: what is done here counts from the next request on.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import datetime

import redis

from jobs.connection import connect
from jobs.embedded import store_of
from jobs.keys import Key, Keys, Scope
from jobs.limits import Limits
from jobs.settings import Settings
from rhocast.errors import RhocastError

_WIDTHS = (13, 21, 8, 17, 17, 8, 12, 12)
_SCOPES = """scopes:
  read     look at models and at the own jobs, and download results
  submit   that, and submit and cancel
  metrics  read /metrics
  admin    everything, also the jobs of others
"""


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    made = argparse.ArgumentParser(
        prog="rhocast keys", description=__doc__, epilog=_SCOPES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = made.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key and print it, once")
    create.add_argument("name", help="whose it is; jobs belong to the name")
    create.add_argument("--scope", default=Scope.SUBMIT, help=f"one of {', '.join(Scope)}; submit if not given")
    create.add_argument("--days", type=float, help="days until it ends by itself")
    create.add_argument("--atoms-per-minute", type=int, help="0: any number; RHOCAST_ATOMS_PER_MINUTE if not given")
    create.add_argument("--atoms-per-day", type=int, help="0: any number; RHOCAST_ATOMS_PER_DAY if not given")
    commands.add_parser("list", help="all keys")
    for name, text in (("show", "one key, and what it has used"), ("revoke", "take a key back, at once and for good")):
        command = commands.add_parser(name, help=text)
        command.add_argument("which", metavar="KEY", help="its id, or its name if there is one good key of it")
    return made


def create(client: redis.Redis, settings: Settings, asked: argparse.Namespace) -> None:
    """Prints a new key, and on standard error what it is."""
    key, plain = Keys(client, settings).create(
        asked.name, asked.scope, asked.days, asked.atoms_per_minute, asked.atoms_per_day
    )
    _say(f"key {key.id} of {key.name!r}, scope {key.scope}. It is shown this once; give it on by a safe way:")
    sys.stdout.write(plain + "\n")


def show_all(client: redis.Redis, settings: Settings, _: argparse.Namespace) -> None:
    """Prints a line for each key."""
    keys = Keys(client, settings)
    now = keys.now()
    _row("id", "name", "scope", "created (UTC)", "expires (UTC)", "state", "atoms/minute", "atoms/day")
    for key in keys.all():
        _row(key.id, key.name, key.scope, _when(key.created_at), _when(key.expires_at), key.state(now), *_limits(key))


def show(client: redis.Redis, settings: Settings, asked: argparse.Namespace) -> None:
    """Prints all that is known of a key."""
    keys = Keys(client, settings)
    key = keys.named(asked.which)
    account = Limits(client, settings).take(key.id, 0, key.atoms_per_minute, key.atoms_per_day)
    minute, day = _limits(key)
    lines = {
        "id": key.id,
        "name": key.name,
        "scope": key.scope,
        "state": key.state(keys.now()),
        "created (UTC)": _when(key.created_at),
        "expires (UTC)": _when(key.expires_at),
        "revoked (UTC)": _when(key.revoked_at),
        "atoms/minute": minute,
        "atoms/day": day,
        "atoms left now": f"{account.left:.0f}" if account.per_minute else "any number",
        "atoms used today": str(account.used_today),
    }
    for name, value in lines.items():
        sys.stdout.write(f"{name:18}{value}\n")


def revoke(client: redis.Redis, settings: Settings, asked: argparse.Namespace) -> None:
    """Takes a key back and says so."""
    key = Keys(client, settings).revoke(asked.which)
    _say(f"key {key.id} of {key.name!r} is revoked")


COMMANDS: dict[str, Callable[[redis.Redis, Settings, argparse.Namespace], None]] = {
    "create": create,
    "list": show_all,
    "show": show,
    "revoke": revoke,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code.

    Args:
        arguments: What comes after the program's name; what the process was given if None.
    """
    asked = parser().parse_args(arguments)
    settings = Settings()
    try:
        with store_of(settings) as url, connect(url) as client:
            COMMANDS[asked.command](client, settings, asked)
    except RhocastError as error:
        _say(error.detail)
        return 1
    except redis.RedisError as error:
        _say(f"found that the job store does not answer ({error}); expected the one that REDIS_URL names; start it")
        return 1
    return 0


def _limits(key: Key) -> tuple[str, str]:
    numbers = (key.atoms_per_minute, key.atoms_per_day)
    minute, day = ("default" if number is None else str(number) if number else "any" for number in numbers)
    return minute, day


def _when(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _row(*cells: str) -> None:
    sys.stdout.write("".join(f"{cell:{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip() + "\n")


def _say(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")


if __name__ == "__main__":
    sys.exit(main())
