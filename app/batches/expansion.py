"""From the items of a batch to jobs, one by one, by a process that may die at any moment and be run again.

An item is looked at once: the script that makes its job, and the one that refuses it, both do nothing to an item that
was looked at before. So it does not matter how often a batch is expanded, nor by how many at once.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import redis
import structlog
from pydantic import ValidationError

from app.access import Caller
from app.batches.items import headings_name, requests_name
from app.bodies import json_value
from app.problems import invalid_fields, problem
from app.services import Services
from app.submission import submit
from jobs.batches import BatchRecord
from jobs.ledger import End
from jobs.records import BatchItem, Failure
from jobs.transport import Ticket
from rhocast.batch_schemas import BatchRequestLine, BatchSettings
from rhocast.errors import (
    ArtifactExpired,
    BatchNotFound,
    RhocastError,
    ServerError,
    ServiceUnavailable,
    StorageFull,
    TooManyRequests,
)
from rhocast.schemas import PredictionRequest, Priority, Problem, StructureText

_PASSING = (ServiceUnavailable, TooManyRequests, StorageFull)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0  # seconds before an item is tried again for which there is no room now
_PAGE = 16  # items in hand at once

log = structlog.get_logger()


class _Stopped(Exception):
    """The process is to end."""


class Expander:
    """Makes the jobs of batches.

    Args:
        services: What the application has.
        name: Name of this process.
    """

    def __init__(self, services: Services, name: str) -> None:
        self._services = services
        self._name = name
        self._is_stopping = False

    def stop(self) -> None:
        """Makes `handle` return after the items that it has in hand."""
        self._is_stopping = True

    def handle(self, ticket: Ticket) -> bool:
        """Expands the batch that a message names; returns whether the message is done with."""
        ledger = self._services.ledger
        (claim,) = ledger.claim([ticket], self._name, is_shared=False)
        if claim.outcome != "claimed":
            return claim.outcome != "exhausted"
        started = time.monotonic()
        error: Failure | None = None
        try:
            asyncio.run(self._expand(ticket.key))
        except _Stopped:
            ledger.resend(ticket.key)  # another process goes on at once
            return True
        except ServiceUnavailable as found:
            log.warning("batch_waits", batch=ticket.key, error=found.detail)
            ledger.resend(ticket.key, is_unharmed=True)
            return True
        except ServerError as found:
            error = Failure(code=type(found).__name__, detail=found.detail)
            log.error("batch_unreadable", batch=ticket.key, error=found.detail)
        except BatchNotFound:
            pass  # it was so old that it is no longer kept
        except OSError as found:
            lost = ArtifactExpired(f"found that what was sent cannot be read ({found.strerror}); send it again")
            error = Failure(code=type(lost).__name__, detail=lost.detail)
            log.error("batch_unreadable", batch=ticket.key, error=str(found))
        seconds = time.monotonic() - started
        ledger.finish([End(ticket.key, seconds, result={}, error=error)])
        log.info("batch_expanded", batch=ticket.key, seconds=round(seconds, 3))
        return True

    async def _expand(self, batch_id: str) -> None:
        record = self._services.batches.view(batch_id).record
        with structlog.contextvars.bound_contextvars(request_id=record.request_id, batch=batch_id):
            for first, page in self._pages(batch_id):
                if self._is_stopping:
                    raise _Stopped
                states = self._services.batches.states(batch_id, first, first + len(page) - 1)
                await asyncio.gather(
                    *(
                        self._look_at(record, first + offset, *line)
                        for offset, (line, state) in enumerate(zip(page, states, strict=False))
                        if state == "."
                    )
                )

    def _pages(self, batch_id: str) -> Iterator[tuple[int, list[tuple[bytes, bytes]]]]:
        """Place of the first item of each page, and the lines of its items."""
        artifacts = self._services.artifacts
        with (
            artifacts.fetch(requests_name(batch_id)).open("rb") as requests,
            artifacts.fetch(headings_name(batch_id)).open("rb") as headings,
        ):
            lines = zip(requests, headings, strict=True)
            for number in itertools.count():
                if not (page := list(itertools.islice(lines, _PAGE))):
                    return
                yield number * _PAGE, page

    async def _look_at(self, record: BatchRecord, index: int, request: bytes, heading: bytes) -> None:
        """Makes the job of an item, or refuses the item."""
        item = BatchItem(batch=record.id, index=index)
        refusal = json.loads(heading)["error"]
        found = Problem.model_validate(refusal) if refusal else await self._problem_with(record, item, request)
        if found is not None:
            await asyncio.to_thread(self._services.batches.refuse, item, found)

    async def _problem_with(self, record: BatchRecord, item: BatchItem, request: bytes) -> Problem | None:
        """Why an item is refused; None once its job is made. What is wrong with the service for now is waited for."""
        pause = _FIRST_PAUSE
        while True:
            try:
                asked = item_request(request, BatchSettings.model_validate(record.settings))
                caller = await asyncio.to_thread(self._caller, record)
                await submit(self._services, caller, asked, "", "", item)
                return None
            except _PASSING as error:
                if pause == _FIRST_PAUSE:
                    log.warning("batch_waits", index=item.index, error=error.detail)
            except ValidationError as error:
                return problem(*invalid_fields(error))
            except RhocastError as error:
                return problem(error)
            except redis.RedisError:
                raise  # the whole batch comes back once the store does
            except Exception:
                log.exception("item_failed", index=item.index)
                return problem(
                    ServerError("found a defect of the service; expected none; the log has it: report what you sent")
                )
            if self._is_stopping:
                raise _Stopped
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _caller(self, record: BatchRecord) -> Caller:
        """Who sent the batch, whose key must still be good."""
        return Caller(self._services.keys.good(record.key)) if record.key else Caller()


def item_request(line: bytes, settings: BatchSettings) -> PredictionRequest:
    """What an item asks: its own line, and the settings of its batch where that says nothing.

    Args:
        line: The item in JSON.
        settings: Settings of the batch.

    Raises:
        InvalidRequest: If the line is no JSON.
        ValidationError: If a field is wrong.
    """
    asked = BatchRequestLine.model_validate(json_value(line))
    structure = asked.structure
    if isinstance(structure, StructureText) and structure.format is None:
        structure = structure.model_copy(update={"format": settings.format})
    chosen: dict[str, Any] = {
        name: getattr(asked if getattr(asked, name) is not None else settings, name)
        for name in ("want", "model", "grid", "vacuum")
    }
    return PredictionRequest(structure=structure, priority=Priority.BULK, **chosen)
