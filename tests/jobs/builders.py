"""Rows for tests of the ledger."""

import secrets
from datetime import UTC, datetime

from jobs.canonical import structure_record
from jobs.records import JobRecord, TaskInput, TaskOrder
from jobs.transport import Ticket
from rhocast.model_info import Property
from rhocast.schemas import Priority
from rhocast.structure import Structure

SILICON = Structure.from_symbols(
    ["Si", "Si"], [[0, 0, 0], [1.36, 1.36, 1.36]], [[0, 2.7, 2.7], [2.7, 0, 2.7], [2.7, 2.7, 0]]
)


def order(key: str = "k1", model: str = "m", cost: float = 1.0) -> TaskOrder:
    task = TaskInput(model=model, weights_sha256="w", structure=structure_record(SILICON), want=[Property.ENERGY])
    return TaskOrder(key=key, model=model, cost=cost, input=task)


def job(*orders: TaskOrder, priority: Priority = Priority.INTERACTIVE) -> JobRecord:
    return JobRecord(
        id=secrets.token_hex(6),
        created_at=datetime.now(UTC),
        structure=structure_record(SILICON),
        order=[0, 1],
        want=[Property.ENERGY],
        tasks={one.model: one.key for one in orders},
        models={"energy": "m"},
        priority=priority,
    )


def ticket(
    key: str, message: str, model: str = "m", cost: float = 1.0, priority: Priority = Priority.INTERACTIVE
) -> Ticket:
    return Ticket(message, key, cost, model, priority)
