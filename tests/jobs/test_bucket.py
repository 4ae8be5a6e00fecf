"""What is special about objects in a bucket; what holds for both stores is in test_artifacts."""

import os
import time
from http import HTTPStatus
from pathlib import Path

import pytest
import structlog

from jobs import bucket
from jobs.artifacts import ArtifactStore, artifact_store, require_artifact_store
from jobs.bucket import BucketStore
from jobs.settings import Settings
from rhocast.errors import InvalidField, ServerError, ServiceUnavailable
from tests.bucket_server import n_matching

NAME = "ab12.zarr.zip"


@pytest.fixture
def store(bucket_url: str, tmp_path: Path) -> BucketStore:
    return BucketStore(bucket_url, tmp_path / "copies", 0, 10**9)


@pytest.fixture
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(bucket, "_RETRY_SECONDS", 1.0)


def small(path: Path) -> None:
    path.write_bytes(b"content")


def test_the_settings_choose_the_store(settings: Settings, bucket_url: str) -> None:
    assert type(artifact_store(settings)) is ArtifactStore
    found = artifact_store(settings.model_copy(update={"artifacts": bucket_url}))
    assert isinstance(found, BucketStore)
    assert found.url == bucket_url


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://", "http://host/path", "folder", "s3:///x"])
def test_a_url_without_a_bucket_and_a_prefix_of_its_own_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidField, match=r"found RHOCAST_ARTIFACTS=.*; expected s3://bucket/prefix"):
        BucketStore(url, tmp_path, 0, 1)


def test_a_large_object_goes_in_parts_and_comes_in_pieces(store, bucket_server, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bucket, "_PIECE", 5_000_000)
    content = os.urandom(12_000_001)
    bucket_server.seen.clear()
    store.write(NAME, lambda path: path.write_bytes(content))
    assert n_matching(bucket_server, "PUT .*partNumber=") >= 2
    elsewhere = BucketStore(store.url, tmp_path / "elsewhere", 0, 10**9)
    assert elsewhere.fetch(NAME).read_bytes() == content
    assert n_matching(bucket_server, "GET .* bytes=") == 3


def test_what_is_here_is_not_fetched_again(store, bucket_server) -> None:
    store.write(NAME, small)
    bucket_server.seen.clear()
    assert store.fetch(NAME).read_bytes() == b"content"
    assert bucket_server.seen == []


def test_what_is_made_of_objects_stays_on_this_machine(store, bucket_server) -> None:
    bucket_server.seen.clear()
    store.local.write("ab.chgcar", small)
    assert store.local.holds("ab.chgcar")
    assert bucket_server.seen == []
    assert not store.holds("ab.chgcar")


def test_a_bucket_that_is_unwell_for_a_moment_is_asked_again(store, bucket_server) -> None:
    with bucket_server.refusing(2):
        store.write(NAME, small)
    assert bucket_server.path(store.url, NAME).read_bytes() == b"content"


def test_a_bucket_that_stays_unwell_is_said_and_nothing_is_left(store, bucket_server, impatient) -> None:
    with bucket_server.refusing():
        start = time.monotonic()
        with pytest.raises(
            ServiceUnavailable, match=r"does not answer \(.*503.*\); expected results .*try again later"
        ):
            store.write(NAME, small)
        assert time.monotonic() - start < 10
        with pytest.raises(ServiceUnavailable, match="does not answer"):
            store.fetch(NAME)
        with pytest.raises(ServiceUnavailable, match="does not answer"):
            store.holds(NAME)
        with pytest.raises(ServiceUnavailable, match="does not answer"):
            store.require_reachable()
    assert not store.path(NAME).exists()
    store.require_reachable()


def test_a_bucket_that_is_unwell_keeps_no_process_from_starting(settings, bucket_url, bucket_server) -> None:
    with bucket_server.refusing(), structlog.testing.capture_logs() as lines:
        require_artifact_store(settings.model_copy(update={"artifacts": bucket_url}))
    assert [line["event"] for line in lines] == ["artifacts_unreachable"]
    assert f"found that {bucket_url} does not answer" in lines[0]["error"]
    require_artifact_store(settings)


def test_a_bucket_that_is_not_there_is_said(bucket_server, bucket_url, tmp_path) -> None:
    store = BucketStore("s3://no-such-bucket/results", tmp_path, 0, 10**9)
    sentence = r"found no bucket for s3://no-such-bucket/results; expected .*RHOCAST_ARTIFACTS.*; make it, or correct"
    with pytest.raises(ServerError, match=sentence):
        store.require_reachable()
    with pytest.raises(ServerError, match=sentence):
        store.write(NAME, small)
    assert not store.path(NAME).exists()


def test_a_bucket_that_refuses_is_said_without_trying_again(store, bucket_server) -> None:
    with bucket_server.refusing(status=HTTPStatus.FORBIDDEN):
        bucket_server.seen.clear()
        with pytest.raises(ServerError, match=r"refuses \(.*\); expected leave to list.*AWS_ACCESS_KEY_ID") as found:
            store.write(NAME, small)
    assert not isinstance(found.value, ServiceUnavailable)
    assert len(bucket_server.seen) <= 2


def test_an_object_that_is_not_there_is_no_defect_of_the_bucket(store) -> None:
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        store.fetch(NAME)
    with pytest.raises(FileNotFoundError):
        store.touch(NAME)


def test_an_object_that_was_touched_lately_is_not_copied_again(store, bucket_server) -> None:
    store.write(NAME, small)
    bucket_server.seen.clear()
    store.touch(NAME)
    assert n_matching(bucket_server, "^PUT") == 0
    bucket_server.age(store.url, NAME, 2 * bucket._TOUCHED_SECONDS)
    store.touch(NAME)
    assert n_matching(bucket_server, "^PUT") == 2
    assert store.prune(bucket._TOUCHED_SECONDS) == 0
    assert [path.name for path in bucket_server.path(store.url, "").iterdir()] == [NAME]


def test_objects_of_others_are_never_pruned(store, bucket_server) -> None:
    store.write(NAME, small)
    other = bucket_server.path(store.url, "").parent / "other" / "file"
    other.parent.mkdir()
    other.write_bytes(b"theirs")
    os.utime(other, (0, 0))
    bucket_server.age(store.url, NAME, 1000)
    assert store.prune(500) == 1
    assert other.exists()


def test_the_folder_of_copies_is_bounded_and_keeps_what_is_in_use(bucket_url, tmp_path, monkeypatch) -> None:
    store = BucketStore(bucket_url, tmp_path / "copies", 0, 2500)
    for number in range(4):
        store.write(f"a{number}", lambda path: path.write_bytes(b"x" * 1000))
        age = 10 * bucket._IN_USE_SECONDS - number
        os.utime(store.path(f"a{number}"), (time.time() - age,) * 2)
    store.fetch("a0")
    assert store.n_bytes() == 4000  # it looks once a minute
    monkeypatch.setattr(bucket, "_LOOK_SECONDS", 0.0)
    store._next_look = 0.0
    store.write("b4", lambda path: path.write_bytes(b"x" * 1000))
    assert [name for name in ("a0", "a1", "a2", "a3", "b4") if store.path(name).exists()] == ["a0", "b4"]
    for number in range(4):
        store.fetch(f"a{number}")
    assert store.n_bytes() == 5000  # all of it is in use
