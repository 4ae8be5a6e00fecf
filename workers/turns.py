"""Whose turn it is to use the device, where two threads share it."""

import threading
from types import TracebackType


class Turns:
    """A lock that is given in the order in which it is asked for, so that nobody takes it twice while another waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_given = 0
        self._n_over = 0

    def __enter__(self) -> None:
        with self._changed:
            mine = self._n_given
            self._n_given += 1
            self._changed.wait_for(lambda: self._n_over == mine)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._changed:
            self._n_over += 1
            self._changed.notify_all()
