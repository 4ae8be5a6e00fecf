"""A pool of processes for work on untrusted input, with limits on time and memory."""

import asyncio
import importlib
import multiprocessing
import resource
from collections.abc import Callable
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

from rhocast.errors import InvalidFile, RhocastError

Answer = TypeVar("Answer")

_TASKS_PER_PROCESS = 200  # a fresh process now and then: parsers leak


class Sandbox:
    """Runs functions in other processes.

    Args:
        n_processes: How many.
        seconds: Time limit of one call; the process is killed at it.
        max_bytes: Address space of a process; 0 for no limit.
        preload: Modules that a new process imports before it takes work.
        error: What is raised if a call takes too long or kills its process: whose fault that is.
    """

    def __init__(
        self,
        n_processes: int,
        seconds: float,
        max_bytes: int = 0,
        preload: tuple[str, ...] = (),
        error: type[RhocastError] = InvalidFile,
    ) -> None:
        self.seconds = seconds
        self._error = error
        self._pool = ProcessPool(
            max_workers=n_processes,
            max_tasks=_TASKS_PER_PROCESS,
            initializer=_prepare,
            initargs=(max_bytes, preload),
            context=multiprocessing.get_context("spawn"),
        )

    async def run(self, function: Callable[..., Answer], *arguments: Any) -> Answer:
        """What a function answers from a sandboxed process.

        Args:
            function: Importable by name.
            arguments: Picklable.

        Raises:
            RhocastError: Of the class of this sandbox, if the function takes too long or its process dies. What the
                function raises is raised here.
        """
        future = self._pool.schedule(function, args=arguments, timeout=self.seconds)
        try:
            return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise self._error(
                f"found that this takes more than {self.seconds:g} s; expected less; send a smaller structure, "
                "or a CIF with its symmetry written out"
            ) from error
        except ProcessExpired as error:
            raise self._error(
                "found that this kills the process that reads it; expected a valid structure; check it with another "
                "program, and report it if that one reads it"
            ) from error

    def close(self) -> None:
        self._pool.stop()
        self._pool.join()


def _prepare(max_bytes: int, preload: tuple[str, ...]) -> None:
    for name in preload:
        importlib.import_module(name)
    if max_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
