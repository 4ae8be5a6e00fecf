"""The handle of a job that a service has accepted."""

import time

from rhocast.errors import ConnectionFailed, JobCancelled, JobNotFinished, PredictionFailed, WaitTimeout
from rhocast.progress import spinner
from rhocast.result import Result
from rhocast.schemas import Job as JobState
from rhocast.schemas import JobStatus
from rhocast.session import Session
from rhocast.wire import LONGEST_POLL, error_of_problem, job_cancellation, job_look

_SHORTEST_POLL = 0.5  # seconds between two looks, should a server not wait when it is asked to


class Job:
    """One request and how far it is.

    Args:
        session: Where it is asked about.
        state: What the server said of it last.
    """

    def __init__(self, session: Session, state: JobState) -> None:
        self._session = session
        self.state = state

    @property
    def id(self) -> str:
        return self.state.id

    @property
    def status(self) -> JobStatus:
        """How far the job was when the server was last asked."""
        return self.state.status

    def refresh(self) -> "Job":
        """This job, after asking the server how far it is.

        Raises:
            JobNotFound: If it is no longer kept.
        """
        self.state = self._session.ask(job_look(self.id), JobState)
        return self

    def wait(self, timeout: float = 600.0) -> Result:
        """The result, once there is one.

        Args:
            timeout: Seconds after which waiting ends; the job goes on.

        Raises:
            WaitTimeout: If the job has not ended by then.
            RhocastError: The job's own error if it failed or was cancelled.
        """
        deadline = time.monotonic() + timeout
        with spinner(f"waiting for {self.state.formula}", self._session.progress):
            while not self.status.is_final:
                self._look_until(deadline)
        return self.result()

    def cancel(self) -> "Job":
        """This job, cancelled. To cancel it twice does no harm.

        Raises:
            Conflict: If it has ended; its results stay.
            JobNotFound: If it is no longer kept.
        """
        try:
            self.state = self._session.ask(job_cancellation(self.id), JobState)
        except JobCancelled:
            self.refresh()
        return self

    def result(self) -> Result:
        """The result that was there when the server was last asked.

        Raises:
            JobNotFinished: If it was not.
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
        if self.state.result is None:  # lists of jobs leave results out
            self.refresh()
        if self.state.result is None:
            raise ConnectionFailed(
                f"found job {self.id!r} succeeded without a result; expected one; "
                f"is {self._session.url} a rhocast service?"
            )
        return Result(self._session, self.state, self.state.result)

    def __repr__(self) -> str:
        return f"<Job {self.id}: {', '.join(self.state.want)} of {self.state.formula}, {self.status}>"

    def _look_until(self, deadline: float) -> None:
        """Asks the server once, and lets it answer when the job ends."""
        started = time.monotonic()
        left = max(0.0, deadline - started)
        self.state = self._session.ask(job_look(self.id, min(left, LONGEST_POLL)), JobState, left)
        if self.status.is_final:
            return
        now = time.monotonic()
        if now >= deadline:
            raise WaitTimeout(
                f"found job {self.id!r} still {self.status}; expected it to have ended in time; it goes on: "
                f"pick it up again with Client({self._session.url!r}).job({self.id!r}).wait()"
            )
        self._session.pause(max(0.0, min(_SHORTEST_POLL - (now - started), deadline - now)))
