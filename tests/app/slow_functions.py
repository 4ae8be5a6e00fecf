"""Functions for a sandbox to run: importable by name, as it demands."""

import os
import signal
import sys
import time

from rhocast.errors import InvalidStructure


def sleeping(seconds: float) -> str:
    time.sleep(seconds)
    return "awake"


def dying() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def slow_reader(*_: object) -> None:
    time.sleep(60)


def dying_reader(*_: object) -> None:
    dying()


def hungry(n_bytes: int) -> int:
    return len(bytearray(n_bytes))


def refusing() -> None:
    raise InvalidStructure("found nothing; expected something")


def loaded(name: str) -> bool:
    return name in sys.modules
