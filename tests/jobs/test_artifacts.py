"""Objects appear whole or not at all, and go when they are old."""

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.artifacts import ArtifactStore
from jobs.bucket import BucketStore
from rhocast.errors import StorageFull
from tests.bucket_server import BucketServer

NAME = "ab12.zarr.zip"


@pytest.fixture(params=["folder", "bucket"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., ArtifactStore]:
    """Makes stores of one kind; those of one folder each are machines that share the objects."""
    url = request.getfixturevalue("bucket_url") if request.param == "bucket" else ""

    def make(folder: str = "artifacts", min_free_bytes: int = 0) -> ArtifactStore:
        if url:
            return BucketStore(url, tmp_path / folder, min_free_bytes, 10**9)
        return ArtifactStore(tmp_path / "artifacts", min_free_bytes)

    return make


@pytest.fixture
def artifacts(make_store: Callable[..., ArtifactStore]) -> ArtifactStore:
    return make_store()


@pytest.fixture
def age(bucket_server: BucketServer) -> Callable[[ArtifactStore, str, float], None]:
    """Makes an object older by some seconds."""

    def age(store: ArtifactStore, name: str, seconds: float) -> None:
        if isinstance(store, BucketStore):
            bucket_server.age(store.url, name, seconds)
        path = store.path(name)
        os.utime(path, (0, path.stat().st_mtime - seconds))

    return age


def test_what_one_machine_wrote_another_reads(make_store) -> None:
    one, other = make_store(), make_store("another")
    one.write(NAME, lambda path: path.write_bytes(b"content"))
    assert other.holds(NAME)
    assert other.fetch(NAME).read_bytes() == b"content"
    assert other.fetch(NAME) == other.path(NAME)
    other.remove(NAME)
    assert not one.holds(NAME)


def test_a_store_can_be_sent_to_another_process(artifacts: ArtifactStore) -> None:
    artifacts.write(NAME, lambda path: path.write_bytes(b"content"))
    assert pickle.loads(pickle.dumps(artifacts)).fetch(NAME).read_bytes() == b"content"


def test_a_store_that_is_well_can_be_reached(artifacts: ArtifactStore) -> None:
    artifacts.require_reachable()


def test_what_is_made_of_objects_is_kept_apart_or_with_them(artifacts: ArtifactStore) -> None:
    artifacts.local.write("ab.cube", lambda path: path.write_bytes(b"x"))
    assert artifacts.local.holds("ab.cube")
    assert artifacts.path("ab.cube").read_bytes() == b"x"


def test_an_object_can_be_read_once_it_is_written_and_while_it_is_written_again(artifacts: ArtifactStore) -> None:
    assert not artifacts.holds(NAME)
    artifacts.write(NAME, lambda path: path.write_bytes(b"first"))
    with artifacts.path(NAME).open("rb") as reader:
        artifacts.write(NAME, lambda path: path.write_bytes(b"second"))
        assert reader.read() == b"first"
    assert artifacts.path(NAME).read_bytes() == b"second"
    assert artifacts.holds(NAME)


def test_a_write_that_stops_half_way_leaves_nothing(artifacts: ArtifactStore) -> None:
    def half(path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        artifacts.write(NAME, half)
    assert not artifacts.holds(NAME)
    assert list(artifacts.folder.rglob("*.zip")) == []


def test_a_full_disk_is_said(artifacts: ArtifactStore) -> None:
    def full(path: Path) -> None:
        path.write_bytes(b"some")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageFull, match=r"No space left on device.*free some space and submit again"):
        artifacts.write(NAME, full)
    assert list(artifacts.folder.rglob("*.zip")) == []


def test_too_little_free_space_is_said_before_anything_is_written(make_store) -> None:
    greedy = make_store(min_free_bytes=10**18)
    with pytest.raises(StorageFull, match="MB free where results are kept; expected at least 1000000000000 MB"):
        greedy.write(NAME, lambda path: path.write_bytes(b"x"))
    assert not greedy.holds(NAME)


def test_old_objects_are_pruned_unless_they_were_touched(artifacts: ArtifactStore, age) -> None:
    for name in ("ab1.x", "cd2.x", "ef3.x"):
        artifacts.write(name, lambda path: path.write_bytes(b"x"))
        age(artifacts, name, 20_000)
    artifacts.touch("cd2.x")
    assert artifacts.prune(10_000) == 2
    assert artifacts.holds("cd2.x")
    assert not artifacts.holds("ab1.x")
    assert not artifacts.path("ab1.x").exists()


def test_objects_are_weighed(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, min_free_bytes=0)
    assert store.n_bytes() == 0
    for name, size in (("aa1", 10), ("aa2", 20), ("bb1", 300)):
        store.write(name, lambda path, size=size: path.write_bytes(b"x" * size))
    (tmp_path / "stray").write_bytes(b"x")
    assert store.n_bytes() == 330
    assert store.free_bytes() > 0


def test_what_is_written_piece_by_piece_has_a_place_that_is_pruned_if_it_is_left(artifacts: ArtifactStore) -> None:
    partial = artifacts.partial(NAME)
    partial.write_bytes(b"half")
    assert partial.parent == artifacts.path(NAME).parent
    assert not artifacts.holds(NAME)
    os.utime(partial, (0, 0))
    artifacts.prune(60)
    assert not partial.exists()


def test_a_folder_that_cannot_be_made_is_said(artifacts: ArtifactStore) -> None:
    artifacts.folder.rmdir()
    artifacts.folder.write_bytes(b"a file where a folder should be")
    with pytest.raises(StorageFull, match=r"cannot be written \(Not a directory\).*free some space"):
        artifacts.partial(NAME)


def test_an_object_that_nothing_points_to_is_removed(artifacts: ArtifactStore) -> None:
    artifacts.write(NAME, lambda path: path.write_bytes(b"x"))
    artifacts.remove(NAME)
    artifacts.remove(NAME)
    assert not artifacts.holds(NAME)
