"""Limits on time and memory."""

import asyncio
import resource

import pytest

from app.structures import sandbox
from app.structures.sandbox import Sandbox
from rhocast.errors import InvalidFile, InvalidStructure, ServerError
from tests.app.conversation import newest_job, posted, refused
from tests.app.samples import rock_salt
from tests.app.slow_functions import dying, dying_reader, hungry, loaded, refusing, sleeping, slow_reader


@pytest.fixture(scope="module")
def tiny():
    box = Sandbox(1, 1.0, max_bytes=2_000_000_000, preload=("colorsys",))
    yield box
    box.close()


def test_what_a_function_answers_or_raises_comes_back(tiny):
    assert asyncio.run(tiny.run(sleeping, 0.0)) == "awake"
    with pytest.raises(InvalidStructure, match="found nothing; expected something"):
        asyncio.run(tiny.run(refusing))


def test_modules_are_there_before_the_first_call(tiny):
    assert asyncio.run(tiny.run(loaded, "colorsys"))


def test_a_slow_function_is_ended_and_the_next_one_runs(tiny):
    with pytest.raises(InvalidFile, match="takes more than 1 s; expected less; send a smaller structure"):
        asyncio.run(tiny.run(sleeping, 60.0))
    assert asyncio.run(tiny.run(sleeping, 0.0)) == "awake"


def test_a_function_that_kills_its_process_kills_nothing_else(tiny):
    with pytest.raises(InvalidFile, match="kills the process that reads it; expected a valid structure"):
        asyncio.run(tiny.run(dying))
    assert asyncio.run(tiny.run(sleeping, 0.0)) == "awake"


def test_memory_has_an_end(tiny):
    assert asyncio.run(tiny.run(hungry, 1_000_000)) == 1_000_000
    with pytest.raises(MemoryError):
        asyncio.run(tiny.run(hungry, 4_000_000_000))


def test_whose_fault_it_is_can_be_said():
    box = Sandbox(1, 0.1, error=ServerError)
    with pytest.raises(ServerError, match=r"takes more than 0\.1 s"):
        asyncio.run(box.run(sleeping, 60.0))
    box.close()


def test_a_new_process_sets_its_limits(monkeypatch):
    limits = {}
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: limits.update({which: pair}))
    sandbox._prepare(123, ("colorsys",))
    assert limits == {resource.RLIMIT_AS: (123, 123), resource.RLIMIT_CORE: (0, 0)}
    limits.clear()
    sandbox._prepare(0, ())
    assert limits == {resource.RLIMIT_CORE: (0, 0)}


def test_a_structure_that_takes_too_long_to_read_or_kills_its_reader_is_refused(app_of, monkeypatch):
    client = app_of(parser_seconds=0.5)
    monkeypatch.setattr("app.submission.parsed", slow_reader)
    refused(posted(client, rock_salt()), InvalidFile, "takes more than 0.5 s", "expected less", "send a smaller")
    monkeypatch.setattr("app.submission.parsed", dying_reader)
    refused(posted(client, rock_salt()), InvalidFile, "kills the process", "expected a valid structure", "check it")
    monkeypatch.undo()
    assert newest_job(client) is None
    assert posted(client, rock_salt()).status_code == 202
