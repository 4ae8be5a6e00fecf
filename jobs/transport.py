"""Dramatiq on Redis, behind the few things that the service needs of a queue.

One message moves one task key to one worker and comes back if that worker dies: workers keep a lease by heartbeat,
so a job of three hours and one of 50 ms recover alike. Everything else about a task is in the ledger.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dramatiq
import redis
import structlog
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import CurrentMessage, Middleware, SkipMessage

from jobs.records import RELAXATIONS
from jobs.settings import Settings
from rhocast.schemas import Priority

DEAD_LETTER_DAYS = 7
_PATIENT_MILLISECONDS = 200
_BEAT_SECONDS = 2.0  # between the signs of life that a reader of a queue gives
_COUNTED_PLACES = 1000  # a look at a place costs Redis as much as the place is far back

log = structlog.get_logger()

_ACTORS = {Priority.INTERACTIVE: ("predict_interactive", 0), Priority.BULK: ("predict_bulk", 10)}


class _Broker(RedisBroker):
    """Dramatiq's broker, made to be idle while nothing happens, and to find what it was given and did not get.

    Every write waits for the store's disk, so an empty queue is looked at, and written to at each beat alone. A store
    that dies between giving messages out and its answer leaves messages in the hands of a reader that never saw them;
    as its lease goes on, nobody else would get them. At each beat they go back to their queue.
    """

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self._held: dict[str, set[str]] = {}
        self._next_beat: dict[str, float] = {}

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> dramatiq.broker.Consumer:
        is_urgent = queue_name.endswith(f".{Priority.INTERACTIVE}") and RELAXATIONS not in queue_name
        consumer = super().consume(queue_name, prefetch, timeout if is_urgent else max(timeout, _PATIENT_MILLISECONDS))
        # After an error Dramatiq reads on with a new consumer, while what the one before read is still in hand.
        consumer.queued_message_ids = self._held.setdefault(queue_name, set())  # pyright: ignore[reportAttributeAccessIssue]
        return consumer

    def do_fetch(self, queue_name: str, count: int) -> list[bytes]:
        """Up to some messages for a reader that has handed out all it had, now in its hands."""
        if time.monotonic() >= self._next_beat.get(queue_name, 0.0):
            self._beat(queue_name)
        if not self.client.llen(f"{self.namespace}:{queue_name}"):
            return []
        return self._dispatch("fetch")(queue_name, count)

    def _beat(self, queue_name: str) -> None:
        """Gives a sign of life, returns what was never received, and takes messages from those who are silent."""
        self._next_beat[queue_name] = time.monotonic() + min(_BEAT_SECONDS, self.heartbeat_timeout / 4000)
        # Copied before the look: what is handled between the two is in neither.
        held = {message_id.encode() for message_id in self._held.get(queue_name, set()).copy()}
        noted = self.client.smembers(f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}")
        lost = [message_id for message_id in noted if message_id not in held]
        if lost:
            log.warning("messages_returned", queue=queue_name, count=len(lost))
        self.do_requeue(queue_name, *lost)

    def _should_do_maintenance(self, command: str) -> int:
        """Whether a command also looks for silent readers; Dramatiq itself rolls dice."""
        return int(command == "requeue")


@dataclass(frozen=True)
class Ticket:
    """A message in a worker's hand: which task, what it costs, for which model, how urgent."""

    message_id: str
    key: str
    cost: float
    model: str
    priority: Priority


@dataclass(frozen=True)
class QueueState:
    """How many messages of a queue wait and how many are with workers, and how long the next one has waited (s)."""

    n_waiting: int
    n_in_hand: int
    oldest_seconds: float


class _DeadLetter(Middleware):
    """Keeps a message whose handler raised, instead of acknowledging it."""

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.broker.MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        if exception is not None:
            message.fail()


class Transport:
    """Queues of task keys.

    Args:
        client: Client of the store.
        settings: Namespace and lease.
    """

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._client = client
        self.namespace = f"{settings.namespace}:queue"
        self.broker = _Broker(
            client=client,
            namespace=self.namespace,
            heartbeat_timeout=int(settings.lease_seconds * 1000),
            dead_message_ttl=DEAD_LETTER_DAYS * 86_400_000,
            middleware=[CurrentMessage(), _DeadLetter()],
        )

    @staticmethod
    def queue_name(model: str, priority: Priority) -> str:
        return f"{model}.{priority}"

    @staticmethod
    def envelope(message_id: str, key: str, cost: float, queue: str) -> str:
        """A message as it lies in a queue; `lua/enqueue.lua` puts it there.

        Args:
            message_id: Name of the message, by which `holds` finds it.
            key: Content key of the task.
            cost: Cost in the model's unit.
            queue: What `queue_name` gave.
        """
        actor, _ = _ACTORS[Priority(queue.rsplit(".", 1)[1])]
        message = dramatiq.Message(
            queue_name=queue,
            actor_name=actor,
            args=(key, cost),
            kwargs={},
            options={"redis_message_id": message_id},
            message_id=message_id,
        )
        return message.encode().decode()

    def holds(self, message_id: str, queue: str) -> bool:
        """Whether a message waits in its queue or is with a worker."""
        return bool(self._client.hexists(f"{self.namespace}:{queue}.msgs", message_id))

    def depth(self, queue: str) -> int:
        """Messages that wait or are with a worker."""
        return int(self._client.hlen(f"{self.namespace}:{queue}.msgs"))  # type: ignore[arg-type]

    def places(self, messages: Sequence[tuple[str, str]]) -> list[int | None]:
        """Place of each message in its queue, 1 for the next to be taken, in one round trip.

        None for a message that a worker holds, and beyond place 1000.

        Args:
            messages: Name and queue of each message.
        """
        pipeline = self._client.pipeline(transaction=False)
        for message_id, queue in messages:
            pipeline.lpos(f"{self.namespace}:{queue}", message_id, maxlen=_COUNTED_PLACES)
        return [index + 1 if index is not None else None for index in pipeline.execute()]

    def state(self, queue: str) -> QueueState:
        """How a queue stands."""
        name = f"{self.namespace}:{queue}"
        pipeline = self._client.pipeline(transaction=False)
        pipeline.llen(name)
        pipeline.hlen(f"{name}.msgs")
        pipeline.lindex(name, 0)
        n_waiting, n_all, first = pipeline.execute()
        envelope = self._client.hget(f"{name}.msgs", first.decode()) if first is not None else None
        if not isinstance(envelope, bytes):
            return QueueState(n_waiting, max(0, n_all - n_waiting), 0.0)
        age = time.time() - dramatiq.Message.decode(envelope).message_timestamp / 1000
        return QueueState(n_waiting, max(0, n_all - n_waiting), max(0.0, age))

    def dead_letters(self, queue: str) -> int:
        return int(self._client.zcard(f"{self.namespace}:{queue}.XQ"))  # type: ignore[arg-type]

    def serve(self, models: Sequence[str], handle: Callable[[Ticket], bool]) -> None:
        """Declares the queues of some models and what to do with their messages.

        Args:
            models: Names of the models whose queues are read.
            handle: Called in a thread for each message. The message is acknowledged when it returns true, and
                dead-lettered when it returns false or raises.
        """

        def act(key: str, cost: float) -> None:
            message = CurrentMessage.get_current_message()
            if not isinstance(message, dramatiq.MessageProxy):
                raise RuntimeError("an actor ran outside a worker")
            model, priority = message.queue_name.rsplit(".", 1)
            if not handle(Ticket(message.message_id, key, cost, model, Priority(priority))):
                message.fail()
                raise SkipMessage(f"task {key} is dead-lettered")

        for priority, (name, rank) in _ACTORS.items():
            queue = self.queue_name(models[0], priority)
            dramatiq.actor(broker=self.broker, actor_name=name, queue_name=queue, priority=rank)(act)
        for queue in self.queue_names(models):
            self.broker.declare_queue(queue)

    @classmethod
    def queue_names(cls, models: Sequence[str]) -> list[str]:
        """Queues of some models, every priority."""
        return [cls.queue_name(model, priority) for model in models for priority in Priority]
