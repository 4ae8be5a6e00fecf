"""Objects appear whole or not at all, and go when they are old."""

import errno
import os
import time
from pathlib import Path

import pytest

from jobs.artifacts import ArtifactStore
from rhocast.errors import StorageFull

NAME = "ab12.zarr.zip"


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts", min_free_bytes=0)


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


def test_too_little_free_space_is_said_before_anything_is_written(tmp_path: Path) -> None:
    greedy = ArtifactStore(tmp_path / "artifacts", min_free_bytes=10**18)
    with pytest.raises(StorageFull, match="MB free where results are kept; expected at least 1000000000000 MB"):
        greedy.write(NAME, lambda path: path.write_bytes(b"x"))
    assert not greedy.holds(NAME)


def test_old_objects_are_pruned_unless_they_were_touched(artifacts: ArtifactStore) -> None:
    for name in ("ab1.x", "cd2.x", ".ef3.x"):
        artifacts.write(name, lambda path: path.write_bytes(b"x"))
        os.utime(artifacts.path(name), (0, time.time() - 1000))
    artifacts.touch("cd2.x")
    assert artifacts.prune(500) == 2
    assert artifacts.holds("cd2.x")
    assert not artifacts.holds("ab1.x")


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
    assert artifacts.prune(60) == 1


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
