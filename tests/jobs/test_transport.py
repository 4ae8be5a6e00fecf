"""The queue: messages are found by name, read by a real worker thread, kept if the handler refuses or raises."""

import threading
import time
from collections.abc import Callable

import dramatiq
import pytest
import redis
from dramatiq.brokers.redis import RedisBroker

from jobs.ledger import Ledger
from jobs.transport import Ticket, Transport
from rhocast.schemas import Priority
from tests.end_to_end.processes import wait_until
from tests.jobs.builders import job, order

QUEUE = Transport.queue_name("m", Priority.INTERACTIVE)


def send(ledger: Ledger, message_id: str, key: str, cost: float, queue: str = QUEUE) -> None:
    envelope = Transport.envelope(message_id, key, cost, queue)
    ledger.transport.broker.do_enqueue(queue, message_id, envelope)


def served(ledger: Ledger, handle: Callable[[Ticket], bool]) -> dramatiq.Worker:
    ledger.transport.serve(["m", "n"], handle)
    worker = dramatiq.Worker(
        ledger.transport.broker, queues=set(Transport.queue_names(["m", "n"])), worker_timeout=20, worker_threads=4
    )
    worker.start()
    return worker


def test_a_message_is_held_until_it_is_handled(ledger: Ledger) -> None:
    send(ledger, "id1", "key", 2.5)
    assert ledger.transport.holds("id1", QUEUE)
    assert not ledger.transport.holds("id2", QUEUE)
    assert ledger.transport.depth(QUEUE) == 1
    seen: list[Ticket] = []
    worker = served(ledger, lambda ticket: seen.append(ticket) is None)
    wait_until(lambda: not ledger.transport.holds("id1", QUEUE), 10, "the queue is as expected")
    worker.stop()
    assert seen == [Ticket("id1", "key", 2.5, "m", Priority.INTERACTIVE)]


def test_each_priority_of_each_model_is_read(ledger: Ledger) -> None:
    seen: set[tuple[str, str]] = set()
    for queue in Transport.queue_names(["m", "n"]):
        send(ledger, queue, queue, 1.0, queue)
    worker = served(ledger, lambda ticket: seen.add((ticket.model, ticket.priority)) is None)
    wait_until(lambda: len(seen) == 4, 10, "the queue is as expected")
    worker.stop()
    assert seen == {("m", "interactive"), ("m", "bulk"), ("n", "interactive"), ("n", "bulk")}


@pytest.mark.parametrize("raises", [False, True])
def test_a_message_that_is_refused_or_raises_is_dead_lettered(ledger: Ledger, raises: bool) -> None:
    def refuse(ticket: Ticket) -> bool:
        if raises:
            raise ValueError("no")
        return False

    send(ledger, "id1", "key", 1.0)
    worker = served(ledger, refuse)
    wait_until(lambda: ledger.transport.dead_letters(QUEUE) == 1, 10, "the queue is as expected")
    worker.stop()
    assert not ledger.transport.holds("id1", QUEUE)


def test_a_message_that_was_given_out_and_never_received_is_given_again(ledger: Ledger, lost_answer: None) -> None:
    send(ledger, "id1", "key", 1.0)
    seen: list[str] = []
    worker = served(ledger, lambda ticket: seen.append(ticket.message_id) is None)
    wait_until(lambda: not ledger.transport.holds("id1", QUEUE), 20, "the message was handled")
    worker.stop()
    assert seen == ["id1"]


@pytest.fixture
def lost_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first messages that are given out are lost on the way, as when the store dies before it answers."""
    is_lost = threading.Event()
    dispatch = RedisBroker._dispatch

    def losing(broker: RedisBroker, command: str) -> Callable[..., object]:
        def do(*arguments: object) -> object:
            found = dispatch(broker, command)(*arguments)
            if command == "fetch" and found and not is_lost.is_set():
                is_lost.set()
                raise redis.ConnectionError("the store died")
            return found

        return do

    monkeypatch.setattr(RedisBroker, "_dispatch", losing)


def test_a_message_in_hand_is_not_given_again_after_an_error(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.transport._BEAT_SECONDS", 0.05)
    may_end = threading.Event()
    seen: list[str] = []
    send(ledger, "id1", "key", 1.0)
    worker = served(ledger, lambda ticket: seen.append(ticket.message_id) is None and may_end.wait(20))
    wait_until(lambda: seen == ["id1"], 10, "the message is in hand")
    with monkeypatch.context() as broken:
        asked = threading.Event()

        def unreachable(name: str) -> None:
            if name.endswith(f":{QUEUE}"):
                asked.set()
            raise redis.ConnectionError("the store died")

        broken.setattr(ledger.client, "llen", unreachable)
        assert asked.wait(10)
    next_beat = ledger.transport.broker._next_beat
    before = next_beat[QUEUE]
    wait_until(lambda: next_beat[QUEUE] > before, 20, "a new consumer reads")
    time.sleep(0.3)
    may_end.set()
    wait_until(lambda: not ledger.transport.holds("id1", QUEUE), 10, "the message was handled")
    worker.stop()
    assert seen == ["id1"]


def test_an_idle_reader_seldom_writes(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    dispatch = RedisBroker._dispatch

    def counting(broker: RedisBroker, command: str) -> Callable[..., object]:
        written.extend([command] if broker is ledger.transport.broker else [])
        return dispatch(broker, command)

    monkeypatch.setattr(RedisBroker, "_dispatch", counting)
    worker = served(ledger, lambda ticket: True)
    time.sleep(1.0)
    worker.stop()
    assert 1 <= len(written) <= 8  # one for each queue and for what is put off in it


def test_a_stopped_worker_finishes_what_it_holds_and_returns_the_rest(ledger: Ledger) -> None:
    started = threading.Event()

    def slow(ticket: Ticket) -> bool:
        started.set()
        time.sleep(0.2)
        return True

    for index in range(8):
        send(ledger, f"id{index}", f"k{index}", 1.0)
    worker = served(ledger, slow)
    started.wait(5)
    worker.stop()
    assert ledger.transport.depth(QUEUE) == 4


def test_a_submission_leaves_a_queue_as_dramatiq_itself_would(ledger: Ledger) -> None:
    ledger.submit(job(order()), [order()])
    queue = f"{ledger.transport.namespace}:{QUEUE}"
    ours = (ledger.client.lrange(queue, 0, -1), ledger.client.hgetall(f"{queue}.msgs"))
    message = dramatiq.Message.decode(next(iter(ours[1].values())))
    ledger.transport.broker.flush(QUEUE)
    ledger.transport.broker.do_enqueue(QUEUE, message.message_id, message.encode())
    assert ours == (ledger.client.lrange(queue, 0, -1), ledger.client.hgetall(f"{queue}.msgs"))


def test_a_handler_called_without_a_message_says_so(ledger: Ledger) -> None:
    ledger.transport.serve(["m"], lambda ticket: True)
    with pytest.raises(RuntimeError, match="an actor ran outside a worker"):
        ledger.transport.broker.get_actor("predict_interactive").fn("key", 1.0)
