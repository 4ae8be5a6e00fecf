"""The supervisor, over real processes that do nothing."""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time

import pytest
import redis

from app import supervisor
from app.supervisor import Child, main, supervise
from jobs.embedded import EmbeddedStore
from jobs.settings import Settings
from rhocast.errors import ServiceUnavailable


@pytest.fixture
def child():
    made = []

    def make(*command: str) -> Child:
        made.append(Child("one", command, dict(os.environ)))
        return made[-1]

    yield make
    for one in made:
        one.stop(5)


def waited(condition, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def died(one: Child) -> None:
    waited(lambda: one.process.poll() is not None)
    one.keep_alive()


def test_a_living_child_is_left_alone(child):
    one = child("sleep", "60")
    one.keep_alive()
    first = one.process
    one.keep_alive()
    assert one.process is first


def test_a_dead_child_is_started_again_after_a_pause(child):
    one = child("sleep", "60")
    one.keep_alive()
    first = one.process
    first.kill()
    died(one)
    assert one.process is None
    waited(lambda: one.keep_alive() or one.process is not None)
    assert one.process.pid != first.pid


def test_pauses_grow_while_a_child_keeps_dying_and_shrink_when_it_lives(child, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: clock[0])
    one = child("false")
    pauses = []
    for _ in range(8):
        one.keep_alive()
        one.process.wait()
        one.keep_alive()
        assert one.process is None
        pauses.append(one._pause)
        clock[0] += one._pause - 0.01
        one.keep_alive()
        assert one.process is None
        clock[0] += 0.02
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    one.keep_alive()
    one.process.wait()
    clock[0] += 31
    one.keep_alive()
    assert one._pause == 0.5


def test_a_child_that_does_not_stop_is_killed(child):
    one = child(
        sys.executable, "-c", "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); signal.pause()"
    )
    one.keep_alive()
    time.sleep(0.5)
    one.stop(0.2)
    assert one.process.returncode == -signal.SIGKILL


def test_a_child_that_never_started_stops(child):
    child("sleep", "60").stop(1)


@pytest.fixture
def idle(monkeypatch):
    """A supervisor whose web and workers are sleeping processes; signal handlers are put back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    started = []
    popen = subprocess.Popen

    def remembering(command, **options):
        started.append(popen(command, **options))
        return started[-1]

    monkeypatch.setattr(supervisor.subprocess, "Popen", remembering)
    monkeypatch.setattr(supervisor, "_web_command", lambda *_: ["sleep", "60"])
    monkeypatch.setattr(supervisor, "_worker_command", lambda: ["sleep", "60"])
    monkeypatch.setattr(supervisor, "_expander_command", lambda: ["sleep", "60"])
    yield started
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_the_service_comes_up_restarts_its_store_and_goes_down(idle, tmp_path, monkeypatch):
    stores = []

    class Remembered(EmbeddedStore):
        def start(self, timeout: float = 20.0):
            stores.append(self)
            return super().start(timeout)

    monkeypatch.setattr(supervisor, "EmbeddedStore", Remembered)
    seen = []

    def watch() -> None:
        try:
            waited(lambda: len(idle) == 5)
            first = stores[0].pid
            with redis.Redis.from_url(stores[0].url) as client:
                client.set("kept", "yes")
                time.sleep(1.1)  # the append-only file is synced every second
                os.kill(first, signal.SIGKILL)
                waited(lambda: len(stores) == 2 and stores[0].pid != first)
                waited(lambda: _value(client, "kept") == b"yes")
            seen.append("restarted")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=watch)
    watcher.start()
    supervise(Settings(data=tmp_path, redis_url=""), "127.0.0.1", 0, n_workers=2)
    watcher.join()
    assert seen == ["restarted"]
    assert all(process.poll() is not None for process in idle)


def _value(client: redis.Redis, name: str) -> bytes | None:
    try:
        return client.get(name)
    except redis.ConnectionError:
        return None


def test_a_store_of_somebody_else_is_left_alone(idle, store, tmp_path):
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    supervise(Settings(data=tmp_path, redis_url=store.url), "127.0.0.1", 0, n_workers=0)
    assert len(idle) == 2
    assert _value(redis.Redis.from_url(store.url), "nothing") is None


def test_a_store_that_does_not_come_back_is_tried_again():
    class Broken:
        def keep_alive(self):
            raise ServiceUnavailable("found it silent")

    supervisor._keep_alive(Broken())


def test_children_are_the_web_server_the_expander_and_the_workers():
    web = supervisor._web_command("127.0.0.1", 8123)
    assert web[:3] == [sys.executable, "-m", "app.web"]
    assert web[web.index("--port") + 1] == "8123"
    assert supervisor._worker_command() == [sys.executable, "-m", "workers"]
    assert supervisor._expander_command() == [sys.executable, "-m", "app.batches"]


def test_beyond_this_machine_the_service_does_not_start_without_a_key(idle, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RHOCAST_DATA", str(tmp_path))
    monkeypatch.setattr(supervisor.logs, "configure", lambda: None)
    monkeypatch.setattr(sys, "argv", ["serve", "--host", "0.0.0.0"])
    with pytest.raises(SystemExit, match=r"found no good API key, .* listen on 0\.0\.0\.0 .*rhocast keys create NAME"):
        main()
    assert idle[0].poll() is not None  # the store
    assert len(idle) == 1


def test_each_worker_has_its_metrics_on_a_port_of_its_own():
    assert supervisor._metrics_port(Settings(), 3) == {}
    chosen = Settings(worker_metrics_port=9100)
    ports = [supervisor._metrics_port(chosen, index) for index in range(2)]
    assert ports == [{"RHOCAST_WORKER_METRICS_PORT": "9100"}, {"RHOCAST_WORKER_METRICS_PORT": "9101"}]


def test_the_command_line_gives_host_port_and_workers(monkeypatch):
    asked = []
    monkeypatch.setattr(supervisor, "supervise", lambda settings, *rest: asked.append(rest))
    monkeypatch.setattr(supervisor.logs, "configure", lambda: None)
    monkeypatch.setattr(sys, "argv", ["serve", "--host", "127.0.0.1", "--port", "1", "--workers", "3"])
    main()
    assert asked == [("127.0.0.1", 1, 3)]


@pytest.mark.filterwarnings("ignore:'app.supervisor' found in sys.modules")
def test_it_is_a_program(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["serve", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("app.supervisor", run_name="__main__")
