"""One client's conversation with one server: what is sent again, what is downloaded, when it ends.

Coroutines over an `AsyncTransport`. `AsyncClient` awaits them; `rhocast.session.Session` runs them over a transport
that blocks.
"""

import base64
import hashlib
from collections.abc import Awaitable, Callable
from typing import BinaryIO

from rhocast.async_transport import AsyncTransport
from rhocast.errors import ClientError, ConnectionFailed, DamagedDownload
from rhocast.retrying import RETRIED_STATUSES, Attempts, RetryPolicy, seconds_of
from rhocast.schemas import AnyRequest, Job, JobPage, ModelEntry, ModelList
from rhocast.transport import Call, Reply
from rhocast.wire import Answer, answer_of, digest_of, error_of, is_success, job_list, submission

_LARGEST_PAGE = 200


class Conversation:
    """Calls with retries. Shared by a client and the jobs and results that came from it.

    Args:
        transport: What carries the calls.
        policy: When a call is repeated.
    """

    def __init__(self, transport: AsyncTransport, policy: RetryPolicy) -> None:
        self.transport = transport
        self._policy = policy
        self._has_answered = False
        self._is_closed = False

    @property
    def url(self) -> str:
        return self.transport.url

    async def close(self) -> None:
        """Ends the conversation; nothing can be asked after it."""
        self._is_closed = True
        await self.transport.close()

    async def submitted(self, request: AnyRequest, wait: float, idempotency_key: str | None) -> Job:
        """The job of a request, after at most some seconds of waiting for its end.

        Args:
            request: What to predict, or to relax.
            wait: Seconds that the server may wait for the result before it answers.
            idempotency_key: Key under which a repetition gives the same job; a fresh one if None.
        """
        return await self.ask(submission(request, wait, idempotency_key), Job)

    async def jobs(self, limit: int) -> list[Job]:
        """The newest jobs of the service, page by page.

        Args:
            limit: Most jobs to return.
        """
        found: list[Job] = []
        call: Call | None = job_list(max(1, min(limit, _LARGEST_PAGE)))
        while call is not None and len(found) < limit:
            page = await self.ask(call, JobPage)
            found += page.jobs
            call = Call("GET", page.next) if page.next else None
        return found[:limit]

    async def models(self) -> list[ModelEntry]:
        """The models of the service, and how many live workers serve each."""
        return (await self.ask(Call("GET", "/v1/models"), ModelList)).models

    async def ask(self, call: Call, schema: type[Answer], patience: float | None = None) -> Answer:
        """The object that answers a call.

        Args:
            call: What to ask; it may be sent more than once.
            schema: Class of the answer.
            patience: Seconds after which no repetition starts, if fewer than the policy's.

        Raises:
            RhocastError: What the server answers instead.
            ConnectionFailed: If no rhocast server answers.
        """
        return answer_of(await self.reply(call, patience), schema, self.url)

    async def reply(self, call: Call, patience: float | None = None) -> Reply:
        """The reply to a call, whatever its status.

        Args:
            call: What to ask; it may be sent more than once.
            patience: Seconds after which no repetition starts, if fewer than the policy's.

        Raises:
            ConnectionFailed: If none comes.
        """
        return await self._repeated(lambda: self.transport.send(call), patience)

    async def download(self, call: Call, target: BinaryIO) -> None:
        """Writes the file that answers a call.

        Args:
            call: What to ask.
            target: Where the bytes go; an attempt that breaks off is overwritten.

        Raises:
            DamagedDownload: If the bytes do not match the hash that came with them.
            RhocastError: What the server answers instead.
        """
        reply = await self._repeated(lambda: self._fetched(call, target))
        if not is_success(reply.status):
            raise error_of(reply, self.url)

    async def _fetched(self, call: Call, target: BinaryIO) -> Reply:
        async with self.transport.stream(call) as reply:
            if not is_success(reply.status):
                return await reply.read()
            target.seek(0)
            target.truncate()
            found = hashlib.sha256()
            async for chunk in reply.chunks:
                found.update(chunk)
                target.write(chunk)
        received = Reply(reply.status, reply.headers)
        digest, expected = base64.b64encode(found.digest()).decode(), digest_of(received)
        if expected and digest != expected:
            raise DamagedDownload(
                f"found a file of {target.tell()} bytes with SHA-256 {digest}; expected {expected}; download it again, "
                "and see what stands between this machine and the server if it happens twice"
            )
        return received

    def attempts(self, patience: float | None = None) -> Attempts:
        """What decides on the repetitions of one call.

        Args:
            patience: Seconds after which no repetition starts, if fewer than the policy's.

        Raises:
            ClientError: If the client was closed.
        """
        if self._is_closed:
            raise ClientError("found that this client was closed; expected an open one; use it inside its `with` block")
        return Attempts(self._policy.within(patience))

    async def pause_or_raise(self, attempts: Attempts, error: ConnectionFailed) -> None:
        """Waits before the next attempt after one that had no answer.

        Args:
            attempts: Those made so far.
            error: What is raised if there shall be no more.
        """
        pause = attempts.pause_after_silence(self._has_answered)
        if pause is None:
            raise error
        await self.transport.pause(pause)

    async def has_paused(self, attempts: Attempts, status: int, retry_after: str) -> bool:
        """Whether an answer is one after which the call is to be sent again, after the pause that it asks for.

        Args:
            attempts: Those made so far.
            status: Status of the answer.
            retry_after: Its Retry-After header.
        """
        self._has_answered = True
        if status not in RETRIED_STATUSES:
            return False
        pause = attempts.pause(seconds_of(retry_after))
        if pause is not None:
            await self.transport.pause(pause)
        return pause is not None

    async def _repeated(self, attempt: Callable[[], Awaitable[Reply]], patience: float | None = None) -> Reply:
        """The last reply of as many attempts as the policy allows."""
        attempts = self.attempts(patience)
        while True:
            try:
                reply = await attempt()
            except ConnectionFailed as error:
                await self.pause_or_raise(attempts, error)
                continue
            if not await self.has_paused(attempts, reply.status, reply.headers.get("retry-after", "")):
                return reply
