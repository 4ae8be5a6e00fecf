"""Limits: no crowd gets more than the bucket holds, and no clock locks anybody out."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobs.connection import connect
from jobs.limits import Limits


@pytest.fixture
def limits(ledger) -> Limits:
    return Limits(ledger.client, ledger.settings)


def account_of(ledger, key: str) -> str:
    return f"{ledger.settings.namespace}:account:{key}"


def server_seconds(ledger) -> float:
    seconds, microseconds = ledger.client.time()
    return seconds + microseconds / 1e6


@pytest.mark.parametrize("cost", [1, 7, 40])
def test_many_at_once_never_get_more_than_the_bucket_allows(ledger, settings, cost):
    per_minute, n_clients, n_each = 300, 16, 40

    def one_client(_: int) -> int:
        with connect(settings.redis_url) as client:
            own = Limits(client, settings)
            return sum(not own.take("k", cost, per_minute, 0).refused_by for _ in range(n_each))

    started = server_seconds(ledger)
    with ThreadPoolExecutor(n_clients) as pool:
        n_taken = sum(pool.map(one_client, range(n_clients)))
    passed = server_seconds(ledger) - started
    assert n_taken * cost <= per_minute + per_minute * passed / 60
    assert n_taken * cost > per_minute - cost  # and all of what it holds is given out


def test_many_at_once_never_get_more_than_a_day_allows(settings):
    def one_client(_: int) -> int:
        with connect(settings.redis_url) as client:
            own = Limits(client, settings)
            return sum(not own.take("k", 3, 0, 100).refused_by for _ in range(20))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one_client, range(8))) == 33


def test_a_bucket_fills_again_with_time(limits):
    assert limits.take("k", 600, 600, 0).refused_by == ""
    refused = limits.take("k", 5, 600, 0)
    assert refused.refused_by == "minute"
    assert 0 < refused.seconds <= 0.5
    time.sleep(refused.seconds + 0.01)
    assert limits.take("k", 5, 600, 0).refused_by == ""


def test_what_is_larger_than_the_bucket_passes_once_and_is_paid_for(limits):
    huge = limits.take("k", 6000, 600, 0)
    assert huge.refused_by == ""
    assert huge.left == -5400
    after = limits.take("k", 1, 600, 0)
    assert after.refused_by == "minute"
    assert after.seconds == pytest.approx(540.1, abs=1)


def test_what_is_larger_than_the_bucket_needs_a_full_one(limits):
    limits.take("k", 60, 600, 0)
    refused = limits.take("k", 6000, 600, 0)
    assert (refused.refused_by, round(refused.seconds)) == ("minute", 6)


def test_a_refusal_takes_nothing(limits):
    limits.take("k", 500, 600, 700)
    before = limits.take("k", 0, 600, 700)
    assert limits.take("k", 300, 600, 700).refused_by == "day"
    assert limits.take("k", 150, 600, 700).refused_by == "minute"
    after = limits.take("k", 0, 600, 700)
    assert after.used_today == before.used_today == 500
    assert after.left == pytest.approx(before.left, abs=5)


def test_accounts_are_apart(limits):
    assert limits.take("one", 600, 600, 600).refused_by == ""
    assert limits.take("other", 600, 600, 600).refused_by == ""
    assert limits.take("one", 600, 600, 600).refused_by == "day"


def test_the_day_begins_anew(limits, ledger):
    assert limits.take("k", 100, 0, 100).refused_by == ""
    refused = limits.take("k", 1, 0, 100)
    assert refused.refused_by == "day"
    assert refused.seconds == pytest.approx(86_400 - server_seconds(ledger) % 86_400, abs=2)
    ledger.client.hincrby(account_of(ledger, "k"), "day", -1)  # as if all that had been yesterday
    assert limits.take("k", 100, 0, 100).refused_by == ""


@pytest.mark.parametrize("jump", [60, 86_400, 10 * 365 * 86_400])
def test_a_clock_that_was_put_back_locks_nobody_out(limits, ledger, jump):
    """What a clock that is put back leaves behind is an account last used in the future."""
    limits.take("k", 600, 600, 600)
    ahead = server_seconds(ledger) + jump
    ledger.client.hset(account_of(ledger, "k"), mapping={"at": ahead, "day": int(ahead // 86_400), "used": 0})
    assert limits.take("k", 10, 600, 600).refused_by == "minute"  # still empty: the jump gives nothing either
    time.sleep(1.1)
    assert limits.take("k", 10, 600, 600).refused_by == ""


def test_a_day_used_up_under_a_wrong_clock_does_not_count_when_it_comes(limits, ledger):
    limits.take("k", 1, 0, 100)
    tomorrow = int(server_seconds(ledger) // 86_400) + 1
    ledger.client.hset(account_of(ledger, "k"), mapping={"day": tomorrow, "used": 100})
    assert limits.take("k", 100, 0, 100).refused_by == ""
    assert int(ledger.client.hget(account_of(ledger, "k"), "day")) == tomorrow - 1


def test_a_clock_that_jumps_ahead_gives_a_full_bucket_and_no_more(limits, ledger):
    limits.take("k", 600, 600, 0)
    ledger.client.hset(account_of(ledger, "k"), "at", 0)
    assert limits.take("k", 0, 600, 0).left == 600


def test_the_clocks_of_the_web_processes_do_not_matter(limits, monkeypatch):
    limits.take("k", 600, 600, 0)
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert limits.take("k", 10, 600, 0).refused_by == "minute"


def test_nought_is_no_limit_and_none_is_that_of_the_settings(ledger):
    chosen = ledger.settings.model_copy(update={"atoms_per_minute": 10, "atoms_per_day": 15})
    limits = Limits(ledger.client, chosen)
    assert limits.take("free", 10**9, 0, 0).refused_by == ""
    assert limits.take("free", 10**9, 0, 0).refused_by == ""
    first = limits.take("k", 10)
    assert (first.refused_by, first.per_minute, first.per_day) == ("", 10, 15)
    assert limits.take("k", 5).refused_by == "minute"
    assert limits.take("k", 6).refused_by == "day"


def test_an_account_is_forgotten_when_it_no_longer_matters(limits, ledger):
    limits.take("k", 10, 600, 600)
    assert 86_400 < ledger.client.ttl(account_of(ledger, "k")) <= 2 * 86_400
    limits.take("deep", 6_000_000, 600, 0)
    assert ledger.client.ttl(account_of(ledger, "deep")) > 500_000
