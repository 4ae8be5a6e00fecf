"""When a request is sent again, and after what pause. Decides, and never sleeps: every kind of client can share it."""

import random
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED_STATUSES = frozenset({408, 429, 502, 503, 504})
"""Answers after which the same request may succeed. All are safe to repeat: a POST carries an idempotency key."""

_ATTEMPTS_BEFORE_CONTACT = 3


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential back-off with full jitter, bounded in number and in time.

    Attributes:
        attempts: Times that a request is sent at most.
        seconds: Time in s after which no further attempt starts.
        first_pause: Upper limit in s of the pause after the first attempt; it doubles with each.
        longest_pause: Upper limit in s of all pauses but those that the server asks for.
    """

    attempts: int = 6
    seconds: float = 60.0
    first_pause: float = 0.5
    longest_pause: float = 8.0

    def pause(self, attempt: int, elapsed: float, retry_after: float = 0.0) -> float | None:
        """Seconds until the next attempt, or None if there shall be none.

        Args:
            attempt: Attempts made so far.
            elapsed: Seconds since the first one began.
            retry_after: Seconds that the server asks to wait; the jitter comes on top, so that clients which were
                turned away together do not return together.
        """
        if attempt >= self.attempts:
            return None
        jitter = random.uniform(0, min(self.longest_pause, self.first_pause * 2 ** (attempt - 1)))
        pause = retry_after + jitter
        return pause if elapsed + pause <= self.seconds else None

    def before_contact(self) -> "RetryPolicy":
        """The policy towards a server that has never answered: it is more likely absent than restarting."""
        return replace(self, attempts=min(self.attempts, _ATTEMPTS_BEFORE_CONTACT))

    def within(self, seconds: float | None) -> "RetryPolicy":
        """The same policy for a caller who has only some seconds left."""
        return self if seconds is None else replace(self, seconds=min(self.seconds, seconds))


class Attempts:
    """Attempts at one call, and the pause after each.

    Args:
        policy: What decides.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._n_made = 0
        self._started = time.monotonic()

    def pause(self, retry_after: float = 0.0) -> float | None:
        """Seconds until the next attempt, or None if there shall be none.

        Args:
            retry_after: Seconds that the server asks to wait.
        """
        return self._pause(self._policy, retry_after)

    def pause_after_silence(self, has_answered: bool) -> float | None:
        """Seconds until the next attempt after one that had no answer, or None if there shall be none.

        Args:
            has_answered: Whether the server has ever answered.
        """
        return self._pause(self._policy if has_answered else self._policy.before_contact(), 0.0)

    def _pause(self, policy: RetryPolicy, retry_after: float) -> float | None:
        self._n_made += 1
        return policy.pause(self._n_made, time.monotonic() - self._started, retry_after)


def seconds_of(retry_after: str, now: datetime | None = None) -> float:
    """Seconds that a Retry-After header asks for; 0 if there is none or it cannot be read.

    Args:
        retry_after: The header: a number of seconds or an HTTP date.
        now: Moment from which a date is counted; this one if None.
    """
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
