"""The handle of a job that a service has accepted."""

import time
from collections.abc import AsyncGenerator, Callable, Generator

from rhocast.conversation import Conversation
from rhocast.errors import ConnectionFailed, JobCancelled, JobNotFinished, PredictionFailed, WaitTimeout
from rhocast.events import followed
from rhocast.progress import spinner
from rhocast.result import Result
from rhocast.schemas import Job as JobState
from rhocast.schemas import JobStatus, Prediction
from rhocast.session import Session, done, each
from rhocast.wire import LONGEST_POLL, error_of_problem, job_cancellation, job_look

_SHORTEST_POLL = 0.5  # seconds between two looks, should a server not wait when it is asked to


class JobHandle:
    """One request and how far it is: what `Job` and `AsyncJob` share.

    Args:
        conversation: Where it is asked about.
        state: What the server said of it last.
    """

    def __init__(self, conversation: Conversation, state: JobState) -> None:
        self._conversation = conversation
        self.state = state

    @property
    def id(self) -> str:
        return self.state.id

    @property
    def status(self) -> JobStatus:
        """How far the job was when the server was last asked."""
        return self.state.status

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}: {', '.join(self.state.want)} of {self.state.formula}, {self.status}>"

    async def refreshed(self) -> None:
        """Asks the server how far the job is."""
        self.state = await self._conversation.ask(job_look(self.id), JobState)

    async def ended(
        self, timeout: float, longest_poll: float = LONGEST_POLL, tell: Callable[[int, int], None] | None = None
    ) -> None:
        """Returns when the job has ended.

        Args:
            timeout: Seconds after which waiting ends; the job goes on.
            longest_poll: Seconds after which the server is asked anew.
            tell: Called with how much of how much is done, each time that the server says it.

        Raises:
            WaitTimeout: If the job has not ended by then.
        """
        deadline = time.monotonic() + timeout
        while not self.status.is_final:
            await self._look_until(deadline, longest_poll)
            if tell is not None and self.state.progress is not None:
                tell(self.state.progress.done, self.state.progress.total)

    async def cancelled(self) -> None:
        """Cancels the job, if it is not cancelled yet."""
        try:
            self.state = await self._conversation.ask(job_cancellation(self.id), JobState)
        except JobCancelled:
            await self.refreshed()

    async def told(self, timeout: float) -> AsyncGenerator[JobState]:
        """States of the job as they come, up to the last one.

        Args:
            timeout: Seconds after which listening ends; the job goes on.

        Raises:
            WaitTimeout: If the job has not ended by then.
        """
        async for state in followed(self._conversation, self.id, timeout):
            self.state = state
            yield state
        if not self.status.is_final:
            raise self._too_late()

    async def answered(self) -> Prediction:
        """What the job predicted.

        Raises:
            JobNotFinished: If it had not ended when the server was last asked.
            RhocastError: The job's own error if it failed, was cancelled or has expired.
        """
        if not self.status.is_final:
            raise JobNotFinished(
                f"found job {self.id!r} {self.status}; expected it to have ended; call wait() for its result"
            )
        if self.state.error is not None:
            raise error_of_problem(self.state.error)
        if self.status is not JobStatus.SUCCEEDED:
            raise PredictionFailed(f"found job {self.id!r} {self.status} without a reason; submit it again")
        if self.state.result is None:  # lists of jobs and events leave results out
            await self.refreshed()
        if self.state.result is None:
            raise ConnectionFailed(
                f"found job {self.id!r} succeeded without a result; expected one; "
                f"is {self._conversation.url} a rhocast service?"
            )
        return self.state.result

    async def _look_until(self, deadline: float, longest_poll: float) -> None:
        """Asks the server once, and lets it answer when the job ends."""
        started = time.monotonic()
        left = max(0.0, deadline - started)
        self.state = await self._conversation.ask(job_look(self.id, min(left, longest_poll)), JobState, left)
        if self.status.is_final:
            return
        now = time.monotonic()
        if now >= deadline:
            raise self._too_late()
        await self._conversation.transport.pause(max(0.0, min(_SHORTEST_POLL - (now - started), deadline - now)))

    def _too_late(self) -> WaitTimeout:
        return WaitTimeout(
            f"found job {self.id!r} still {self.status}; expected it to have ended in time; it goes on: "
            f"pick it up again with Client({self._conversation.url!r}).job({self.id!r}).wait()"
        )


class Job(JobHandle):
    """One request and how far it is.

    Args:
        session: Where it is asked about.
        state: What the server said of it last.
    """

    def __init__(self, session: Session, state: JobState) -> None:
        super().__init__(session.conversation, state)
        self._session = session

    def refresh(self) -> "Job":
        """This job, after asking the server how far it is.

        Raises:
            JobNotFound: If it is no longer kept.
        """
        done(self.refreshed())
        return self

    def wait(self, timeout: float = 600.0) -> Result:
        """The result, once there is one.

        Args:
            timeout: Seconds after which waiting ends; the job goes on.

        Raises:
            WaitTimeout: If the job has not ended by then.
            RhocastError: The job's own error if it failed or was cancelled.
        """
        with spinner(f"waiting for {self.state.formula}", self._session.progress) as tell:
            done(self.ended(timeout, self._session.longest_poll, tell))
        return self.result()

    def events(self, timeout: float = 600.0) -> Generator[JobState]:
        """How far the job is, each time that changes, up to its end; a broken connection is made anew.

        Args:
            timeout: Seconds after which listening ends; the job goes on.

        Raises:
            WaitTimeout: If the job has not ended by then.
            RhocastError: If it is no longer kept, or no server answers.
        """
        return each(self.told(timeout))

    def cancel(self) -> "Job":
        """This job, cancelled. To cancel it twice does no harm.

        Raises:
            Conflict: If it has ended; its results stay.
            JobNotFound: If it is no longer kept.
        """
        done(self.cancelled())
        return self

    def result(self) -> Result:
        """The result that was there when the server was last asked.

        Raises:
            JobNotFinished: If it was not.
            RhocastError: The job's own error if it failed, was cancelled or has expired.
        """
        prediction = done(self.answered())
        return Result(self._session, self.state, prediction)
