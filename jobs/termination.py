"""Being told to stop."""

import signal
import time

_LOOK_SECONDS = 0.05


class Termination:
    """Whether SIGTERM or SIGINT has arrived; to be made in the main thread.

    The handler only sets a flag. An Event would not do: its lock is not re-entrant, and a signal that arrives while the
    same thread holds it in `wait` hangs the process for ever.
    """

    def __init__(self) -> None:
        self.is_requested = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request)

    def _request(self, *_: object) -> None:
        self.is_requested = True

    def wait(self, seconds: float) -> bool:
        """Sleeps for some seconds, or less once a signal has arrived; returns whether one has."""
        deadline = time.monotonic() + seconds
        while not self.is_requested and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_SECONDS))
        return self.is_requested
