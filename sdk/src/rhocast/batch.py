"""Many structures sent at once: the handle of a batch that a service has accepted."""

import json
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, cast
from urllib.parse import quote

from pydantic import ValidationError

from rhocast.batch_schemas import Batch as BatchState
from rhocast.batch_schemas import BatchCounts, BatchLine, BatchPage, BatchSettings, BatchStatus
from rhocast.errors import ConnectionFailed, PredictionFailed, RhocastError, WaitTimeout
from rhocast.inputs import structure_input, validated
from rhocast.progress import spinner
from rhocast.result import Result
from rhocast.session import Session
from rhocast.transport import Call
from rhocast.wire import error_of_problem

_UPLOAD_SECONDS = 150.0  # the service looks at every line before it answers
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0  # seconds between two looks at a batch
_IN_MEMORY = 16_000_000  # bytes of an output above which it goes through the disk


def batch_line(custom_id: str, structure: object, fields: Mapping[str, Any]) -> bytes:
    """A line of JSONL that asks for one structure.

    Args:
        custom_id: Name of the structure within the batch.
        structure: A path, the text of a structure file, or an object of rhocast, pymatgen or ASE.
        fields: What `inputs.chosen_fields` gave.

    Raises:
        InvalidFile: If a file cannot be read.
        InvalidStructure: If the object is none of those.
    """
    sent = structure_input(structure).model_dump(mode="json", by_alias=True)
    chosen = validated(BatchSettings, dict(fields)).model_dump(mode="json", exclude_unset=True)
    return json.dumps({"custom_id": custom_id, "structure": sent, **chosen}, allow_nan=False).encode() + b"\n"


def named(structures: Mapping[str, object] | Iterable[object]) -> Iterator[tuple[str, object]]:
    """Structures with their names; those without are counted from 0.

    Args:
        structures: Structures, by name or in a row.
    """
    if isinstance(structures, Mapping):
        return iter(cast(Mapping[str, object], structures).items())
    return ((str(index), structure) for index, structure in enumerate(structures))


def submission_of_lines(lines: Iterable[bytes], idempotency_key: str | None = None) -> Call:
    """The call that submits a batch.

    Args:
        lines: What `batch_line` gave for each structure.
        idempotency_key: Key by which the server knows a repetition; a fresh one if None.
    """
    headers = {"Content-Type": "application/jsonl", "Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    return Call("POST", "/v1/batches", b"".join(lines), headers, seconds=_UPLOAD_SECONDS)


def batch_call(method: str, batch_id: str, rest: str = "") -> Call:
    """A call that concerns one batch."""
    return Call(method, f"/v1/batches/{quote(batch_id, safe='')}{rest}")


def newest_batches(session: Session, limit: int) -> list["Batch"]:
    """The batches of the service, newest first."""
    found: list[BatchState] = []
    call: Call | None = Call("GET", f"/v1/batches?limit={max(1, min(limit, 100))}")
    while call is not None and len(found) < limit:
        page = session.ask(call, BatchPage)
        found += page.batches
        call = Call("GET", page.next) if page.next else None
    return [Batch(session, state) for state in found[:limit]]


class Batch:
    """Many requests sent at once, and how far they are.

    Args:
        session: Where it is asked about.
        state: What the server said of it last.
    """

    def __init__(self, session: Session, state: BatchState) -> None:
        self._session = session
        self.state = state

    @property
    def id(self) -> str:
        return self.state.id

    @property
    def status(self) -> BatchStatus:
        """How far the batch was when the server was last asked."""
        return self.state.status

    @property
    def counts(self) -> BatchCounts:
        """How many of its items were how far when the server was last asked."""
        return self.state.counts

    def refresh(self) -> "Batch":
        """This batch, after asking the server how far it is.

        Raises:
            BatchNotFound: If it is no longer kept.
        """
        self.state = self._session.ask(batch_call("GET", self.id), BatchState)
        return self

    def wait(self, timeout: float = 86_400.0) -> "Batch":
        """This batch, once every item has ended, well or not.

        Args:
            timeout: Seconds after which waiting ends; the batch goes on.

        Raises:
            WaitTimeout: If it has not ended by then.
            RhocastError: Why the service could not take the batch apart.
        """
        with spinner(f"waiting for {self.counts.total} structures", self._session.progress):
            for _ in self.looks(timeout):
                pass
        if self.status is BatchStatus.FAILED and self.state.error is not None:
            raise error_of_problem(self.state.error)
        return self

    def looks(self, timeout: float = 86_400.0) -> Iterator[BatchCounts]:
        """How far the batch is, again and again, until it has ended.

        Args:
            timeout: Seconds after which looking ends.

        Raises:
            WaitTimeout: If it has not ended by then.
        """
        deadline = time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while not self.status.is_final:
            yield self.counts
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(
                    f"found batch {self.id!r} still {self.status} ({self.counts.ended} of {self.counts.total}); "
                    "expected it to have ended in time; it goes on: pick it up again with "
                    f"Client({self._session.url!r}).batch({self.id!r})"
                )
            self._session.pause(min(pause, left))
            pause = min(1.5 * pause, _LONGEST_PAUSE)
            self.refresh()
        yield self.counts

    def results(self) -> Iterator[tuple[str | None, Result | RhocastError]]:
        """Name and result of each item that has ended, in the order of the items; its error if it has none.

        The name is None where a line that was sent had none.

        Raises:
            RhocastError: What the server answers instead.
        """
        for line in self.lines():
            yield line.custom_id, self.result_of(line)

    def result_of(self, line: BatchLine) -> Result | RhocastError:
        """The result that a line tells, or the error."""
        if line.error is not None:
            return error_of_problem(line.error)
        if line.job is None or line.job.result is None:
            return PredictionFailed(f"found item {line.index} {line.status} without a reason; submit it again")
        return Result(self._session, line.job, line.job.result)

    def lines(self, start: int = 0) -> Iterator[BatchLine]:
        """Lines of the output.

        Args:
            start: Place of the first item that is wanted.

        Raises:
            RhocastError: What the server answers instead.
        """
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
            stream = cast(BinaryIO, file)
            self._session.download(batch_call("GET", self.id, f"/output?start={start}"), stream)
            stream.seek(0)
            for line in stream:
                try:
                    yield BatchLine.model_validate_json(line, extra="ignore")
                except ValidationError as error:
                    raise ConnectionFailed(
                        f"found a line of the output of batch {self.id!r} that is none ({line[:80]!r}); expected a "
                        "rhocast service, of this version or newer; check the URL"
                    ) from error

    def cancel(self) -> "Batch":
        """This batch, cancelled; what has ended keeps its results.

        Raises:
            Conflict: If every item has ended.
            BatchNotFound: If it is no longer kept.
        """
        self.state = self._session.ask(batch_call("DELETE", self.id), BatchState)
        return self

    def __repr__(self) -> str:
        return f"<Batch {self.id}: {self.counts.ended} of {self.counts.total} ended, {self.status}>"
