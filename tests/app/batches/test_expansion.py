"""Expansion: every item is looked at once, whatever happens meanwhile."""

import itertools
import threading
import time
from dataclasses import replace

import pytest
import redis

from app.batches import expansion
from app.batches.expansion import Expander, item_request
from jobs.batches import QUEUE, SOURCE
from jobs.transport import Ticket
from rhocast.batch_schemas import BatchSettings
from rhocast.model_info import Property
from rhocast.schemas import Priority
from tests.app.batches.conftest import sent_lines
from tests.app.samples import SMALL_GRID, rock_salt


def message_of(services, batch_id: str) -> Ticket:
    """The message that names a batch now."""
    found = services.ledger.client.hget(f"{services.settings.namespace}:task:{batch_id}", "message")
    return Ticket(found.decode(), batch_id, 0.0, SOURCE, Priority.BULK)


_number = itertools.count()


def salts(n_items: int) -> list[dict]:
    """Lines for crystals that no other test has asked for."""
    sizes = [5.0 + 0.001 * next(_number) for _ in range(n_items)]
    return [{"custom_id": f"s{k}", "structure": rock_salt(a), "grid": SMALL_GRID} for k, a in enumerate(sizes)]


def depth(services) -> int:
    return services.ledger.transport.depth("promolecule.bulk")


@pytest.fixture
def services(idle):
    return idle.app.state.services


@pytest.fixture
def sent(idle):
    """Id of a batch that was accepted and not expanded."""
    return lambda n_items: sent_lines(idle, salts(n_items)).json()["id"]


@pytest.fixture
def crowded(idle):
    """The services of an application for which one task in a queue is too many."""
    services = idle.app.state.services
    return replace(services, settings=services.settings.model_copy(update={"max_queued": 1}))


def test_every_item_becomes_a_job_of_its_own(services, sent):
    batch_id = sent(40)
    assert Expander(services, "x").handle(message_of(services, batch_id))
    view = services.batches.view(batch_id)
    assert view.states == "q" * 40
    views = services.ledger.views([f"{batch_id}-{k}" for k in range(40)])
    sizes = [found.record.structure["cell"][0][0] for found in views]
    assert sizes == pytest.approx([sizes[0] + 0.001 * k for k in range(40)])
    assert {found.record.priority for found in views} == {Priority.BULK}
    assert {found.record.request_id for found in views} == {view.record.request_id}
    assert view.record.request_id


def test_an_expansion_that_died_goes_on_where_it_was(services, sent, monkeypatch):
    batch_id = sent(40)
    before_all, seen = depth(services), 0
    submit = expansion.submit

    async def dying(*arguments):
        nonlocal seen
        seen += 1
        if seen > 20:
            raise redis.ConnectionError("killed")
        return await submit(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(expansion, "submit", dying)
        with pytest.raises(redis.ConnectionError, match="killed"):
            Expander(services, "x").handle(message_of(services, batch_id))
    done = services.batches.states(batch_id).count("q")
    assert 0 < done < 40
    before = services.ledger.views([f"{batch_id}-{k}" for k in range(40)])
    assert Expander(services, "y").handle(message_of(services, batch_id))
    assert services.batches.states(batch_id) == "q" * 40
    after = {view.record.id: view.record for view in services.ledger.views([f"{batch_id}-{k}" for k in range(40)])}
    assert all(after[view.record.id] == view.record for view in before)
    assert depth(services) == before_all + 40


def test_two_that_expand_the_same_batch_make_each_job_once(services, sent):
    batch_id, before = sent(60), depth(services)
    ticket = message_of(services, batch_id)
    threads = [threading.Thread(target=Expander(services, name).handle, args=[ticket]) for name in "xy"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert services.batches.states(batch_id) == "q" * 60
    assert depth(services) == before + 60


def test_a_message_that_is_not_the_batch_s_own_does_nothing(services, sent):
    batch_id = sent(2)
    assert Expander(services, "x").handle(Ticket("other", batch_id, 0.0, SOURCE, Priority.BULK))
    assert services.batches.states(batch_id) == ".."


def test_a_batch_that_kills_every_process_is_given_up(services, sent):
    batch_id = sent(1)
    ticket = message_of(services, batch_id)
    for _ in range(3):
        services.ledger.claim([ticket], "x", is_shared=False)
    assert not Expander(services, "x").handle(ticket)
    assert services.batches.view(batch_id).failure.code == "WorkerLost"


def test_a_batch_that_is_no_longer_kept_is_done_with(services, sent):
    batch_id = sent(1)
    ticket = message_of(services, batch_id)
    services.ledger.client.delete(f"{services.settings.namespace}:batch:{batch_id}")
    assert Expander(services, "x").handle(ticket)
    assert services.ledger.tasks([batch_id])[batch_id].error is None


def test_one_that_is_told_to_stop_hands_the_batch_to_another(services, sent):
    batch_id = sent(2)
    expander = Expander(services, "x")
    expander.stop()
    old = message_of(services, batch_id)
    assert expander.handle(old)
    new = message_of(services, batch_id)
    assert new.message_id != old.message_id
    assert services.ledger.transport.holds(new.message_id, QUEUE)
    assert Expander(services, "y").handle(new)
    assert services.batches.states(batch_id) == "qq"


def emptied(services) -> None:
    """What workers leave that take everything."""
    name = f"{services.ledger.transport.namespace}:promolecule.bulk"
    services.ledger.client.delete(name, f"{name}.msgs")


def test_a_full_queue_is_waited_for(services, crowded, sent, monkeypatch):
    monkeypatch.setattr(expansion, "_FIRST_PAUSE", 0.01)
    batch_id = sent(2)
    worker = threading.Thread(target=Expander(crowded, "x").handle, args=[message_of(services, batch_id)])
    worker.start()
    while worker.is_alive():
        emptied(services)
        time.sleep(0.05)
    assert services.batches.states(batch_id) == "qq"


def test_one_that_waits_stops_when_it_is_told_to(services, crowded, sent, monkeypatch):
    emptied(services)
    filling = sent(1)
    Expander(services, "x").handle(message_of(services, filling))
    batch_id, asked, submit = sent(3), threading.Event(), expansion.submit

    async def noted(*arguments):
        asked.set()
        return await submit(*arguments)

    monkeypatch.setattr(expansion, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(expansion, "submit", noted)
    expander = Expander(crowded, "x")
    worker = threading.Thread(target=expander.handle, args=[message_of(services, batch_id)])
    worker.start()
    assert asked.wait(20)
    expander.stop()
    worker.join(20)
    assert not worker.is_alive()
    assert services.batches.states(batch_id) == "..."


def test_a_defect_refuses_its_item_alone(services, sent, monkeypatch):
    batch_id = sent(3)
    submit = expansion.submit

    async def broken(*arguments):
        if arguments[-1].index == 1:
            raise ZeroDivisionError
        return await submit(*arguments)

    monkeypatch.setattr(expansion, "submit", broken)
    assert Expander(services, "x").handle(message_of(services, batch_id))
    assert services.batches.states(batch_id) == "qiq"
    assert services.batches.refusals(batch_id, [1])[1].code == "ServerError"


def test_a_key_that_was_revoked_refuses_what_is_left(services, sent, monkeypatch):
    batch_id = sent(1)
    record = services.batches.view(batch_id).record
    with_key = record.model_copy(update={"key": "0" * 64}).model_dump_json()
    services.ledger.client.hset(f"{services.settings.namespace}:batch:{batch_id}", "record", with_key)
    assert Expander(services, "x").handle(message_of(services, batch_id))
    assert services.batches.refusals(batch_id, [0])[0].code == "Unauthorized"


def test_a_line_wins_over_the_settings_of_its_batch():
    settings = BatchSettings.model_validate(
        {"want": ["energy"], "model": ["a"], "vacuum": 3.0, "grid": {"spacing": 0.2}, "format": "cif"}
    )
    silent = item_request(b'{"custom_id": "x", "structure": {"text": "t"}}', settings)
    assert silent.want == [Property.ENERGY]
    assert (silent.model, silent.vacuum, silent.grid.spacing) == (["a"], 3.0, 0.2)
    assert (silent.structure.format, silent.priority) == ("cif", Priority.BULK)
    own = (
        b'{"custom_id": "x", "structure": {"text": "t", "format": "xyz"}, "want": ["forces"], "vacuum": 2, "model": []}'
    )
    loud = item_request(own, settings)
    assert (loud.want, loud.model, loud.vacuum, loud.structure.format) == ([Property.FORCES], [], 2.0, "xyz")
