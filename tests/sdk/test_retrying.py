from datetime import UTC, datetime

import pytest

from rhocast.retrying import RetryPolicy, seconds_of

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5.0),
        ("", 0.0),
        ("soon", 0.0),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 12:00:30 -0000", 30.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("-3", 0.0),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(header, seconds):
    assert seconds_of(header, NOW) == seconds


def test_a_date_counts_from_now():
    assert seconds_of("Sat, 21 Nov 2000 12:00:30 GMT") == 0.0


def test_pauses_have_full_jitter_under_a_limit_that_doubles_up_to_the_longest():
    policy = RetryPolicy(attempts=100, first_pause=1.0, longest_pause=4.0)
    for attempt, limit in ((1, 1.0), (2, 2.0), (3, 4.0), (9, 4.0)):
        pauses = [policy.pause(attempt, 0.0) for _ in range(500)]
        assert 0 <= min(pauses) < 0.1 * limit
        assert 0.9 * limit < max(pauses) <= limit


def test_the_server_s_wish_comes_before_the_jitter():
    assert 5.0 <= RetryPolicy(first_pause=0.5).pause(1, 0.0, retry_after=5.0) <= 5.5


def test_attempts_are_bounded_in_number():
    policy = RetryPolicy(attempts=3)
    assert policy.pause(2, 0.0) is not None
    assert policy.pause(3, 0.0) is None


def test_attempts_are_bounded_in_time():
    policy = RetryPolicy(attempts=100, seconds=10.0)
    assert policy.pause(1, 11.0) is None
    assert policy.pause(1, 0.0, retry_after=11.0) is None
    assert policy.within(1.0).pause(1, 2.0) is None
    assert policy.within(None) is policy
    assert policy.within(1000.0) == policy


def test_a_server_that_never_answered_is_tried_less_often():
    assert RetryPolicy(attempts=9).before_contact().attempts == 3
    assert RetryPolicy(attempts=1).before_contact().attempts == 1
