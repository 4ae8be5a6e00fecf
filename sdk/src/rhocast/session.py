"""One client's conversation with one server: what is sent again, what is downloaded, when it ends."""

import base64
import hashlib
import time
import weakref
from collections.abc import Callable
from typing import BinaryIO

from rhocast.errors import ClientError, ConnectionFailed, DamagedDownload
from rhocast.retrying import RETRIED_STATUSES, RetryPolicy, seconds_of
from rhocast.transport import Call, Reply, Transport
from rhocast.wire import Answer, answer_of, digest_of, error_of


class Session:
    """Calls with retries. Shared by a client and the jobs and results that came from it.

    Args:
        transport: What carries the calls; it is closed when nobody holds the session any more.
        policy: When a call is repeated.
        progress: Whether waiting shows a spinner; None leaves it to RHOCAST_PROGRESS.
    """

    def __init__(self, transport: Transport, policy: RetryPolicy, progress: bool | None = None) -> None:
        self.progress = progress
        self._transport = transport
        self._policy = policy
        self._has_answered = False
        self.close = weakref.finalize(self, transport.close)

    @property
    def url(self) -> str:
        return self._transport.url

    def pause(self, seconds: float) -> None:
        self._transport.pause(seconds)

    def ask(self, call: Call, schema: type[Answer], patience: float | None = None) -> Answer:
        """The object that answers a call.

        Args:
            call: What to ask; it may be sent more than once.
            schema: Class of the answer.
            patience: Seconds after which no repetition starts, if fewer than the policy's.

        Raises:
            RhocastError: What the server answers instead.
            ConnectionFailed: If no rhocast server answers.
        """
        return answer_of(self.reply(call, patience), schema, self.url)

    def reply(self, call: Call, patience: float | None = None) -> Reply:
        """The reply to a call, whatever its status.

        Args:
            call: What to ask; it may be sent more than once.
            patience: Seconds after which no repetition starts, if fewer than the policy's.

        Raises:
            ConnectionFailed: If none comes.
        """
        return self._repeated(lambda: self._transport.send(call), patience)

    def download(self, call: Call, target: BinaryIO) -> None:
        """Writes the file that answers a call.

        Args:
            call: What to ask.
            target: Where the bytes go; an attempt that breaks off is overwritten.

        Raises:
            DamagedDownload: If the bytes do not match the hash that came with them.
            RhocastError: What the server answers instead.
        """
        reply = self._repeated(lambda: self._fetched(call, target))
        if not _is_success(reply):
            raise error_of(reply, self.url)

    def _fetched(self, call: Call, target: BinaryIO) -> Reply:
        with self._transport.stream(call) as reply:
            if not _is_success(reply):
                return Reply(reply.status, reply.headers, b"".join(reply.chunks))
            target.seek(0)
            target.truncate()
            found = hashlib.sha256()
            for chunk in reply.chunks:
                found.update(chunk)
                target.write(chunk)
        digest, expected = base64.b64encode(found.digest()).decode(), digest_of(reply)
        if expected and digest != expected:
            raise DamagedDownload(
                f"found a file of {target.tell()} bytes with SHA-256 {digest}; expected {expected}; download it again, "
                "and see what stands between this machine and the server if it happens twice"
            )
        return reply

    def _repeated(self, attempt: Callable[[], Reply], patience: float | None = None) -> Reply:
        """The last reply of as many attempts as the policy allows."""
        if not self.close.alive:
            raise ClientError("found that this client was closed; expected an open one; use it inside its `with` block")
        started = time.monotonic()
        policy = self._policy.within(patience)
        n_attempts = 0
        while True:
            n_attempts += 1
            try:
                reply = attempt()
            except ConnectionFailed:
                known = policy if self._has_answered else policy.before_contact()
                pause = known.pause(n_attempts, time.monotonic() - started)
                if pause is None:
                    raise
            else:
                self._has_answered = True
                if reply.status not in RETRIED_STATUSES:
                    return reply
                retry_after = seconds_of(reply.headers.get("retry-after", ""))
                pause = policy.pause(n_attempts, time.monotonic() - started, retry_after)
                if pause is None:
                    return reply
            self._transport.pause(pause)


def _is_success(reply: Reply) -> bool:
    return 200 <= reply.status < 300
