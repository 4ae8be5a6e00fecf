"""The client of a rhocast service for an event loop."""

import asyncio
import functools
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import BinaryIO, Concatenate, ParamSpec, TypeVar

from rhocast.answer import Answer
from rhocast.async_transport import AsyncHttpTransport, AsyncTransport
from rhocast.client import addressed
from rhocast.conversation import Conversation
from rhocast.errors import RhocastError
from rhocast.inputs import Choices, RelaxationChoices, prediction_request, relaxation_request
from rhocast.job import JobHandle
from rhocast.many import CONCURRENCY, awaited_outcomes, plan_of
from rhocast.result import Result
from rhocast.retrying import RetryPolicy
from rhocast.schemas import AnyRequest, ModelEntry, Prediction
from rhocast.schemas import Job as JobState
from rhocast.transport import Call
from rhocast.wire import LONGEST_POLL, job_look

P = ParamSpec("P")
T = TypeVar("T")


def _awaited(method: Callable[Concatenate[Result, P], T]) -> Callable[Concatenate["AsyncResult", P], Awaitable[T]]:
    """A method of `Result` that is awaited: files are downloaded in the event loop, and read in a thread."""

    @functools.wraps(method)
    async def awaited(self: "AsyncResult", *given: P.args, **named: P.kwargs) -> T:
        return await asyncio.to_thread(method, self.in_threads, *given, **named)

    return awaited


class AsyncResult(Answer):
    """What was predicted. Arrays are in the order of the atoms sent; what is downloaded is awaited.

    Args:
        conversation: Where files are downloaded from.
        state: A job that has succeeded.
        prediction: Its answer.

    Attributes:
        in_threads: The same for threads outside the event loop, whose methods block.
    """

    def __init__(self, conversation: Conversation, state: JobState, prediction: Prediction) -> None:
        super().__init__(state, prediction)
        self.in_threads = Result(_DownloadsInLoop(conversation), state, prediction)

    density = _awaited(Result.density)
    expansion = _awaited(Result.expansion)
    charges = _awaited(Result.charges)
    profile = _awaited(Result.profile)
    comparison = _awaited(Result.comparison)
    download = _awaited(Result.download)


class _DownloadsInLoop:
    """Downloads that are asked for in a thread and made in the event loop.

    Args:
        conversation: Where to ask.
    """

    progress = False

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._loop = asyncio.get_running_loop()

    def download(self, call: Call, target: BinaryIO) -> None:
        asyncio.run_coroutine_threadsafe(self._conversation.download(call, target), self._loop).result()


class AsyncJob(JobHandle):
    """One request and how far it is."""

    async def refresh(self) -> "AsyncJob":
        """This job, after asking the server how far it is, as `Job.refresh` does."""
        await self.refreshed()
        return self

    async def wait(self, timeout: float = 600.0) -> AsyncResult:
        """The result, once there is one, as `Job.wait` has it."""
        await self.ended(timeout)
        return await self.result()

    def events(self, timeout: float = 600.0) -> AsyncGenerator[JobState]:
        """How far the job is, each time that changes, up to its end, as `Job.events` has it."""
        return self.told(timeout)

    async def cancel(self) -> "AsyncJob":
        """This job, cancelled, as `Job.cancel` does."""
        await self.cancelled()
        return self

    async def result(self) -> AsyncResult:
        """The result that was there when the server was last asked, as `Job.result` has it."""
        prediction = await self.answered()
        return AsyncResult(self._conversation, self.state, prediction)


class AsyncClient:
    """A rhocast service, for an event loop: the methods of `Client`, awaited.

        async with AsyncClient() as client:
            result = await client.predict("POSCAR", want="energy")

    Args:
        url: Address of the service; RHOCAST_URL if None, else this machine's port 8000.
        api_key: API key, if the service asks for one; RHOCAST_API_KEY if None.
        timeout: Silence in s after which the service counts as gone; what it is asked to wait comes on top.
        retries: When a request is sent again.
        transport: What carries the calls, in place of HTTP to `url`.

    Raises:
        ConnectionFailed: If the address is no URL.
        ClientError: If the key is no key.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        retries: RetryPolicy | None = None,
        transport: AsyncTransport | None = None,
    ) -> None:
        address, key = addressed(url, api_key)
        self._conversation = Conversation(
            transport or AsyncHttpTransport(address, timeout, key), retries or RetryPolicy()
        )

    @property
    def url(self) -> str:
        return self._conversation.url

    async def predict(  # noqa: PLR0913  (one keyword for each thing that can be chosen)
        self,
        structure: object,
        want: str | Sequence[str] = ("density",),
        model: str | Sequence[str] | None = None,
        *,
        spacing: float | None = None,
        encut: float | None = None,
        shape: Sequence[int] | None = None,
        like: str | os.PathLike[str] | None = None,
        vacuum: float | None = None,
        priority: str = "interactive",
        idempotency_key: str | None = None,
        timeout: float = 600.0,
    ) -> AsyncResult:
        """What is predicted for a structure, once it is there; arguments and errors are those of `Client.predict`."""
        choices = Choices(model, shape, spacing, encut, like, vacuum, priority)
        return await self._answered(prediction_request(structure, want, choices), idempotency_key, timeout)

    async def submit(  # noqa: PLR0913  (one keyword for each thing that can be chosen)
        self,
        structure: object,
        want: str | Sequence[str] = ("density",),
        model: str | Sequence[str] | None = None,
        *,
        spacing: float | None = None,
        encut: float | None = None,
        shape: Sequence[int] | None = None,
        like: str | os.PathLike[str] | None = None,
        vacuum: float | None = None,
        priority: str = "interactive",
        idempotency_key: str | None = None,
    ) -> AsyncJob:
        """The job that predicts something, as soon as it is accepted; arguments and errors as for `Client.submit`."""
        choices = Choices(model, shape, spacing, encut, like, vacuum, priority)
        request = prediction_request(structure, want, choices)
        return AsyncJob(self._conversation, await self._conversation.submitted(request, 0.0, idempotency_key))

    async def relax(  # noqa: PLR0913  (one keyword for each thing that can be chosen)
        self,
        structure: object,
        model: str | Sequence[str] | None = None,
        *,
        fmax: float | None = None,
        steps: int | None = None,
        relax_cell: bool | None = None,
        vacuum: float | None = None,
        priority: str = "interactive",
        idempotency_key: str | None = None,
        timeout: float = 3600.0,
    ) -> AsyncResult:
        """Where a structure relaxes to, once it is there; arguments and errors are those of `Client.relax`."""
        choices = RelaxationChoices(model, fmax, steps, relax_cell, vacuum, priority)
        return await self._answered(relaxation_request(structure, choices), idempotency_key, timeout)

    async def submit_relaxation(  # noqa: PLR0913  (one keyword for each thing that can be chosen)
        self,
        structure: object,
        model: str | Sequence[str] | None = None,
        *,
        fmax: float | None = None,
        steps: int | None = None,
        relax_cell: bool | None = None,
        vacuum: float | None = None,
        priority: str = "interactive",
        idempotency_key: str | None = None,
    ) -> AsyncJob:
        """The job that relaxes a structure, as soon as it is accepted; arguments and errors as for `Client.relax`."""
        choices = RelaxationChoices(model, fmax, steps, relax_cell, vacuum, priority)
        request = relaxation_request(structure, choices)
        return AsyncJob(self._conversation, await self._conversation.submitted(request, 0.0, idempotency_key))

    async def predict_many(  # noqa: PLR0913  (one keyword for each thing that can be chosen)
        self,
        structures: Iterable[object],
        want: str | Sequence[str] = ("density",),
        model: str | Sequence[str] | None = None,
        *,
        spacing: float | None = None,
        encut: float | None = None,
        shape: Sequence[int] | None = None,
        like: str | os.PathLike[str] | None = None,
        vacuum: float | None = None,
        priority: str = "interactive",
        concurrency: int = CONCURRENCY,
        resume: str | os.PathLike[str] | None = None,
        return_errors: bool = False,
        timeout: float = 600.0,
    ) -> AsyncGenerator[AsyncResult | RhocastError]:
        """What is predicted for each of many structures, in their order; arguments as for `Client.predict_many`."""
        choices = Choices(model, shape, spacing, encut, like, vacuum, priority)
        plan = plan_of(want, choices, timeout, concurrency, resume)
        async with aclosing(awaited_outcomes(self._conversation, plan, structures)) as outcomes:
            async for outcome in outcomes:
                if not isinstance(outcome, RhocastError):
                    yield AsyncResult(self._conversation, *outcome)
                elif return_errors:
                    yield outcome
                else:
                    raise outcome

    async def _answered(self, request: AnyRequest, idempotency_key: str | None, timeout: float) -> AsyncResult:
        started = time.monotonic()
        state = await self._conversation.submitted(request, min(timeout, LONGEST_POLL), idempotency_key)
        return await AsyncJob(self._conversation, state).wait(max(0.0, timeout - (time.monotonic() - started)))

    async def job(self, id: str) -> AsyncJob:
        """A job by its id, as `Client.job` has it."""
        return AsyncJob(self._conversation, await self._conversation.ask(job_look(id), JobState))

    async def jobs(self, limit: int = 20) -> list[AsyncJob]:
        """The jobs of the service, newest first.

        Args:
            limit: Most jobs to return.
        """
        return [AsyncJob(self._conversation, state) for state in await self._conversation.jobs(limit)]

    async def models(self) -> list[ModelEntry]:
        """The models of the service, and how many live workers serve each."""
        return await self._conversation.models()

    async def close(self) -> None:
        """Closes the connections, also those of jobs and results that came from this client."""
        await self._conversation.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
