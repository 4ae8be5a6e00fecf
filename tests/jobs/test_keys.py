"""Keys: the store never has what opens it, and what is taken back is taken back at once."""

import hashlib
import re
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.keys import Key, Keys, Scope
from jobs.records import timestamp
from rhocast.errors import Conflict, InvalidField, NotFound, Unauthorized


@pytest.fixture
def keys(ledger) -> Keys:
    return Keys(ledger.client, ledger.settings)


def everything(client, namespace: str) -> bytes:
    """All that the store has under a namespace, as it would be dumped."""
    found = []
    for name in client.scan_iter(f"{namespace}:*"):
        kind = client.type(name)
        found += [name, client.dump(name), *(client.hgetall(name).items() if kind == b"hash" else ())]
    return b"\n".join(b"=".join(one) if isinstance(one, tuple) else one for one in found)


def test_a_key_is_found_by_its_plain_text_and_by_nothing_else(keys):
    key, plain = keys.create("alice")
    assert re.fullmatch(r"rho_[\w-]{43}", plain)
    assert keys.find(plain) == key
    for other in ("", plain[:-1], plain + "x", plain.upper(), key.digest, key.id, "rho_"):
        with pytest.raises(Unauthorized, match="found an API key that is not known; expected one that begins"):
            keys.find(other)


def test_the_store_has_the_hash_and_never_the_key(keys, ledger):
    key, plain = keys.create("alice")
    keys.find(plain)
    dump = everything(ledger.client, ledger.settings.namespace)
    assert key.digest == hashlib.sha256(plain.encode()).hexdigest()
    assert key.digest.encode() in dump
    assert plain.encode() not in dump
    assert plain.removeprefix("rho_").encode() not in dump


def test_no_two_keys_are_alike(keys):
    plains = {keys.create("alice")[1] for _ in range(50)}
    assert len(plains) == 50
    assert len({key.id for key in keys.all()}) == 50


def test_a_revoked_key_opens_nothing_from_then_on_and_others_do(keys):
    key, plain = keys.create("alice")
    _, other = keys.create("bob")
    revoked = keys.revoke(key.id)
    assert revoked.revoked_at is not None
    with pytest.raises(Unauthorized, match=f"API key {key.id} of 'alice', which is revoked; expected a good one"):
        keys.find(plain)
    with pytest.raises(Unauthorized, match="which is revoked"):
        keys.good(key.digest)
    assert keys.find(other).name == "bob"
    with pytest.raises(Conflict, match=r"was revoked at .*; nothing to do"):
        keys.revoke(key.id)


def test_an_expired_key_opens_nothing(keys):
    key, plain = keys.create("alice", days=0)
    with pytest.raises(Unauthorized, match="which is expired"):
        keys.find(plain)
    _, lasting = keys.create("alice", days=1)
    assert keys.find(lasting).expires_at - keys.now() < timedelta(days=1)
    assert key.state(key.expires_at - timedelta(seconds=1)) == "good"


def test_whether_a_key_has_expired_is_told_by_the_clock_of_the_store(keys, monkeypatch):
    _, plain = keys.create("alice", days=1)
    monkeypatch.setattr("time.time", lambda: 4e9)  # this machine thinks that it is the year 2096
    assert keys.find(plain).name == "alice"


def test_a_key_exists_while_one_is_good(keys):
    assert not keys.exist()
    key, _ = keys.create("alice")
    keys.create("late", days=0)
    assert keys.exist()
    keys.revoke("alice")
    assert not keys.exist()
    assert [one.name for one in keys.all()] == ["alice", "late"]
    assert key.revoked_at is None


def test_a_key_is_named_by_its_id_or_by_a_name_of_one_good_key(keys):
    first, _ = keys.create("alice")
    assert keys.named("alice") == keys.named(first.id) == first
    second, _ = keys.create("alice")
    with pytest.raises(Conflict, match=f"found 2 keys of 'alice'; expected one; .*{first.id}, {second.id}"):
        keys.revoke("alice")
    keys.revoke(first.id)
    assert keys.named("alice") == second
    with pytest.raises(NotFound, match="found no key 'nobody'; expected an id or the name"):
        keys.named("nobody")


@pytest.mark.parametrize("scope", ["", "Admin", "write", "read,submit", "*"])
def test_an_unknown_scope_is_refused(keys, scope):
    with pytest.raises(InvalidField, match=r"found the scope .*; expected one of read, submit, metrics, admin"):
        keys.create("alice", scope)
    assert keys.all() == []


@pytest.mark.parametrize("name", ["", " ", "a:b", "a\nb", "-a", "x" * 65, "a\x00"])
def test_a_name_that_would_be_ambiguous_is_refused(keys, name):
    with pytest.raises(InvalidField, match=r"found the name .*; expected 1 to 64 letters"):
        keys.create(name)


@pytest.mark.parametrize("numbers", [(-1, None, None), (None, -1, None), (None, None, -5)])
def test_negative_numbers_are_refused(keys, numbers):
    with pytest.raises(InvalidField, match="found a negative number; expected days or atoms"):
        keys.create("alice", "submit", *numbers)


def test_scopes_include_what_they_need_and_no_more():
    included = {scope: {other for other in Scope if scope.includes(other)} for scope in Scope}
    assert included == {
        Scope.READ: {Scope.READ},
        Scope.SUBMIT: {Scope.READ, Scope.SUBMIT},
        Scope.METRICS: {Scope.METRICS},
        Scope.ADMIN: set(Scope),
    }


@hypothesis_settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(revoked=st.none() | st.floats(0, 4e9), expires=st.none() | st.floats(0, 4e9), now=st.floats(0, 4e9))
def test_a_key_is_good_unless_it_was_revoked_or_its_time_is_over(revoked, expires, now):
    key = Key(
        digest="00",
        name="a",
        scope=Scope.READ,
        created_at=timestamp(0),
        revoked_at=None if revoked is None else timestamp(revoked),
        expires_at=None if expires is None else timestamp(expires),
    )
    is_over = expires is not None and timestamp(expires) <= timestamp(now)
    assert (key.state(timestamp(now)) == "good") == (revoked is None and not is_over)
