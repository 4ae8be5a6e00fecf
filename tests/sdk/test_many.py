"""Many structures: order, bounds, errors, and runs that go on."""

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rhocast import AsyncClient, Client
from rhocast.errors import (
    ConnectionFailed,
    InvalidField,
    InvalidFile,
    InvalidStructure,
    PredictionFailed,
    RhocastError,
    ServiceUnavailable,
    UnsupportedByModel,
)
from rhocast.many import Manifest, in_order, key_of
from rhocast.retrying import RetryPolicy
from rhocast.schemas import Job
from rhocast.transport import Call, Reply

N = 40


def structure(index: int) -> str:
    return f"H{index}\n1.0\n{5 + index} 0 0\n0 5 0\n0 0 5\nH\n1\nDirect\n0 0 0\n"


def index_of(call: Call) -> int:
    text = json.loads(call.body)["structure"]["text"]
    return int(text[1 : text.index("\n")])


class Service:
    """Answers with an energy that is the index of the structure, the later ones sooner; nine fail in three ways."""

    url = "http://here"

    def __init__(self, job_record) -> None:
        self._job_record = job_record
        self._lock = threading.Lock()
        self.calls: list[Call] = []
        self.n_under_way = 0
        self.most_under_way = 0
        self.is_gone = False
        self.spoilt: dict[int, str] = {}

    def answer(self, call: Call) -> Reply:
        if self.is_gone:
            raise ConnectionFailed("found no server that answers")
        index = int(call.path.rsplit("/job", 1)[1].split("?")[0]) if call.method == "GET" else index_of(call)
        what = self.spoilt.get(index, "")
        if what == "refused":
            return _problem(UnsupportedByModel, f"found structure {index}")
        if what == "forgotten" and call.method == "GET":
            return Reply(
                404, {}, json.dumps({"title": "x", "status": 404, "code": "JobNotFound", "detail": "no"}).encode()
            )
        record = self._job_record(id=f"job{index}")
        if what in ("failed", "failed once") and (call.method == "GET" or what == "failed"):
            error = {"title": "x", "status": 500, "code": "PredictionFailed", "detail": f"found that {index} failed"}
            record = self._job_record("failed", id=f"job{index}", error=error)
        else:
            record["result"]["potential"]["energy"] = float(index)
        return Reply(200, {}, json.dumps(record).encode())

    def begin(self, call: Call) -> float:
        with self._lock:
            self.calls.append(call)
            self.n_under_way += 1
            self.most_under_way = max(self.most_under_way, self.n_under_way)
        return 0.0 if self.is_gone else 0.01 * (len(self.calls) % 7)

    def end(self) -> None:
        with self._lock:
            self.n_under_way -= 1


class Blocking:
    def __init__(self, service: Service) -> None:
        self.url, self._service = service.url, service

    def send(self, call: Call) -> Reply:
        time.sleep(self._service.begin(call))
        try:
            return self._service.answer(call)
        finally:
            self._service.end()

    def pause(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass


class Awaited(Blocking):
    async def send(self, call: Call) -> Reply:
        await asyncio.sleep(self._service.begin(call))
        try:
            return self._service.answer(call)
        finally:
            self._service.end()

    async def pause(self, seconds: float) -> None:
        pass

    async def close(self) -> None:
        pass


def _problem(kind: type[RhocastError], detail: str) -> Reply:
    record = {"title": "x", "status": kind.status, "code": kind.__name__, "detail": detail}
    return Reply(kind.status, {}, json.dumps(record).encode())


@pytest.fixture
def service(job_record) -> Service:
    return Service(job_record)


def blocking_run(service: Service, structures, stop_after: int | None = None, **asked) -> list:
    found = []
    with Client(transport=Blocking(service), retries=RetryPolicy(attempts=1), progress=False) as client:
        for one in client.predict_many(structures, "energy", **asked):
            found.append(one)
            if len(found) == stop_after:
                break
    return found


def awaited_run(service: Service, structures, stop_after: int | None = None, **asked) -> list:
    async def run() -> list:
        found = []
        async with AsyncClient(transport=Awaited(service), retries=RetryPolicy(attempts=1)) as client:
            results = client.predict_many(structures, "energy", **asked)
            async for one in results:
                found.append(one)
                if len(found) == stop_after:
                    await results.aclose()
                    break
        assert len(asyncio.all_tasks()) == 1
        return found

    return asyncio.run(run())


@pytest.fixture(params=[blocking_run, awaited_run], ids=["Client", "AsyncClient"])
def run(request):
    return request.param


def energies(found: list) -> list:
    return [one if isinstance(one, RhocastError) else one.energy for one in found]


@pytest.mark.parametrize("concurrency", [1, 4, 16])
def test_answers_come_in_order_and_no_more_are_under_way_than_allowed(run, service, concurrency):
    found = run(service, [structure(index) for index in range(N)], concurrency=concurrency)
    assert energies(found) == list(range(N))
    assert service.most_under_way <= concurrency
    assert service.most_under_way > concurrency // 2


def test_structures_are_taken_as_they_are_needed(run, service):
    taken = []

    def endless():
        for index in range(10**6):
            taken.append(index)
            yield structure(index)

    assert energies(run(service, endless(), stop_after=3, concurrency=2)) == [0, 1, 2]
    assert len(taken) <= 3 + 4 * 2


def test_the_error_of_a_structure_is_raised_when_its_turn_comes(run, service):
    service.spoilt = {3: "refused"}
    found = []
    with pytest.raises(UnsupportedByModel, match="found structure 3"):
        found += run(service, [structure(index) for index in range(N)])


def test_errors_stand_in_their_places_if_they_are_wanted(run, service):
    service.spoilt = {2: "refused", 5: "failed"}
    structures: list[object] = [structure(index) for index in range(8)]
    structures[7] = object()
    found = energies(run(service, structures, return_errors=True))
    assert [type(one) for one in found if isinstance(one, RhocastError)] == [
        UnsupportedByModel,
        PredictionFailed,
        InvalidStructure,
    ]
    assert found[0:2] + found[3:5] + found[6:7] == [0, 1, 3, 4, 6]
    assert found[5].detail == "found that 5 failed"


def test_a_service_that_is_gone_ends_the_run_in_any_case(run, service):
    service.is_gone = True
    with pytest.raises(ConnectionFailed, match="found no server that answers"):
        run(service, [structure(index) for index in range(N)], return_errors=True)
    assert len(service.calls) <= 64


def test_a_service_in_trouble_is_no_fault_of_the_structure(run, service, monkeypatch):
    monkeypatch.setattr(service, "answer", lambda call: _problem(ServiceUnavailable, "found the store down"))
    with pytest.raises(ServiceUnavailable, match="found the store down"):
        run(service, [structure(0)], return_errors=True)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"concurrency": 0}, "found a concurrency of 0; expected at least 1"),
        ({"shape": (1, 2)}, r"found shape\.2"),
        ({"vacuum": "much"}, "found vacuum = 'much'"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_sent(run, service, asked, sentence):
    with pytest.raises(InvalidField, match=sentence):
        run(service, [structure(0)], **asked)
    assert service.calls == []


class TestResuming:
    def test_a_run_that_broke_off_sends_nothing_twice(self, run, service, tmp_path):
        path = tmp_path / "manifest"
        structures = [structure(index) for index in range(N)]
        run(service, structures, stop_after=10, resume=path, concurrency=2)
        noted = len(path.read_text().splitlines())
        assert noted >= 10
        service.calls.clear()
        assert energies(run(service, structures, resume=path)) == list(range(N))
        methods = [call.method for call in service.calls]
        assert methods.count("POST") <= N - noted
        assert methods.count("GET") >= noted

    def test_what_failed_or_is_no_longer_kept_is_sent_again(self, run, service, tmp_path):
        path = tmp_path / "manifest"
        structures = [structure(index) for index in range(4)]
        run(service, structures, resume=path)
        service.calls.clear()
        service.spoilt = {1: "failed once", 2: "forgotten"}
        assert energies(run(service, structures, resume=path)) == [0, 1, 2, 3]
        assert sorted(index_of(call) for call in service.calls if call.method == "POST") == [1, 2]

    def test_other_settings_are_other_questions_and_the_priority_is_none(self, run, service, tmp_path):
        path = tmp_path / "manifest"
        run(service, [structure(0)], resume=path)
        service.calls.clear()
        run(service, [structure(0)], resume=path, priority="bulk")
        run(service, [structure(0)], resume=path, model="other")
        assert [call.method for call in service.calls] == ["GET", "POST"]

    def test_a_line_that_was_being_written_is_written_anew(self, tmp_path):
        path = tmp_path / "manifest"
        Manifest(path).note("k1", "j1")
        Manifest(path).note("k2", "j2")
        path.write_bytes(path.read_bytes() + b'{"key": "k3", "jo')
        again = Manifest(path)
        assert (again.job_of("k1"), again.job_of("k2"), again.job_of("k3")) == ("j1", "j2", None)
        again.note("k3", "j3")
        assert [json.loads(line) for line in path.read_text().splitlines()][2] == {"key": "k3", "job": "j3"}

    @pytest.mark.parametrize("content", [b"", b"{", b'{"key": "k', b'{"key": "k", "job": "j"}'])
    def test_not_even_the_first_line_need_be_whole(self, tmp_path, content):
        path = tmp_path / "manifest"
        path.write_bytes(content)
        Manifest(path).note("k1", "j1")
        assert path.read_text() == '{"key": "k1", "job": "j1"}\n'

    @pytest.mark.parametrize("content", [b"NaCl\n1.0\n", b"[1]\n", b'{"key": 1}\n', b"\xff\xfe\n", b"no line break"])
    def test_a_file_of_another_kind_is_refused_and_left_alone(self, run, service, tmp_path, content):
        path = tmp_path / "manifest"
        path.write_bytes(content)
        with pytest.raises(InvalidFile, match=r"found the line .* expected a key and a job .*; name another file"):
            run(service, [structure(0)], resume=path)
        assert path.read_bytes() == content
        assert service.calls == []

    def test_notes_from_many_threads_are_whole_lines(self, tmp_path):
        manifest = Manifest(tmp_path / "manifest")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda index: manifest.note(f"k{index}", "j" * (index % 50)), range(400)))
        again = Manifest(tmp_path / "manifest")
        assert all(again.job_of(f"k{index}") == "j" * (index % 50) for index in range(400))


def test_a_key_is_of_what_is_asked(service):
    from rhocast.inputs import Choices, prediction_request

    def key(want: str = "energy", **chosen) -> str:
        return key_of(prediction_request(structure(0), want, Choices(**chosen)))

    assert key() == key(priority="bulk")
    assert len({key(), key("density"), key(model="m"), key(spacing=0.2), key(vacuum=3.0)}) == 5
    assert len(key()) == 64


def test_in_order_begins_a_few_and_waits_for_the_first():
    begun: list[int] = []

    async def run() -> list[int]:
        def begin(item: int):
            begun.append(item)

            async def end() -> int:
                return item

            return end

        found = []
        async for one in in_order(range(10), begin, 3):
            assert len(begun) - len(found) <= 3
            found.append(one)
        return found

    assert asyncio.run(run()) == list(range(10))


def test_a_result_of_many_is_one_job(service):
    (one,) = blocking_run(service, [structure(5)])
    assert one.job_id == "job5"
    assert isinstance(one._state, Job)
