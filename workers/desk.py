"""Where a worker takes tasks, and hands in what became of them."""

import gzip
import json
from collections.abc import Sequence
from typing import Any

import structlog

from jobs.artifacts import ArtifactStore
from jobs.ledger import Claim, End, Ledger
from jobs.records import Failure, TaskInput
from jobs.transport import Ticket
from rhocast.errors import RhocastError, UnknownModel
from rhocast.model_info import ModelInfo
from workers.metrics import WorkerMetrics
from workers.reports import ProgressReport

SMALL_RESULT_BYTES = 256_000  # larger ones go to the blob store; Redis keeps pointers

log = structlog.get_logger()


class Desk:
    """The ledger as one worker sees it.

    Args:
        ledger: Where tasks are claimed and ended.
        artifacts: Where large results go.
        worker: Name of this worker.
        metrics: Where batches and tasks are counted.
    """

    def __init__(self, ledger: Ledger, artifacts: ArtifactStore, worker: str, metrics: WorkerMetrics) -> None:
        self._ledger = ledger
        self._artifacts = artifacts
        self._worker = worker
        self.metrics = metrics

    def claim(self, tickets: Sequence[Ticket], budget: float, *, is_shared: bool) -> list[Claim]:
        """What became of the attempt to take each of some tasks.

        Args:
            tickets: Messages in hand, all of one lane.
            budget: Cost that one batch may have.
            is_shared: Whether they will run beside others.
        """
        claims = self._ledger.claim(tickets, self._worker, is_shared=is_shared)
        self.metrics.count_batch(tickets, claims, budget)
        for ticket in [ticket for ticket, claim in zip(tickets, claims, strict=True) if claim.outcome == "exhausted"]:
            log.error("task_given_up", task=ticket.key, model=ticket.model, outcome="WorkerLost")
        return claims

    def finish(self, lane: str, ends: Sequence[End]) -> None:
        """Records how tasks ended; the first end of each is counted, and logged beside the requests that asked for it.

        Args:
            lane: Whose queue they came from.
            ends: How each ended.
        """
        for end, requests in zip(ends, self._ledger.finish(ends), strict=True):
            if requests is None:
                continue
            outcome = end.error.code if end.error is not None else "succeeded"
            self.metrics.count_end(lane, outcome)
            seconds = round(end.seconds, 4)
            log.info("task_ended", task=end.key, model=lane, outcome=outcome, seconds=seconds, request_id=requests)

    def hand_back(self, key: str, *, was_claimed: bool) -> None:
        """Gives a task that is in hand to another worker, which begins it anew.

        Args:
            key: The task.
            was_claimed: Whether this worker had begun it.
        """
        self._ledger.resend(key, is_unharmed=was_claimed)

    def report(self, key: str) -> ProgressReport:
        """What tells how far a task is."""
        return ProgressReport(self._ledger, key, self._worker)

    def stored(self, key: str, result: dict[str, Any]) -> dict[str, Any]:
        """A result as the ledger keeps it: itself, or where it lies if it is large.

        Args:
            key: The task.
            result: What is to be kept, as JSON.
        """
        text = json.dumps(result).encode()
        if len(text) <= SMALL_RESULT_BYTES:
            return result
        name = f"{key}.json.gz"
        self._artifacts.write(name, lambda path: path.write_bytes(gzip.compress(text)))  # type: ignore[arg-type]
        return {"artifact": name}


def failure(error: Exception, model: str, key: str) -> Failure:
    """Why a task failed, in words for whoever asked.

    Args:
        error: What was raised; what is not of our tree is logged whole.
        model: Name of the model that raised it.
        key: The task.
    """
    if isinstance(error, RhocastError):
        return Failure(code=type(error).__name__, detail=error.detail)
    log.error("prediction_failed", model=model, task=key, exc_info=error)
    return Failure(
        code="PredictionFailed",
        detail=f"found that {model} raised {type(error).__name__}: {error}; expected an answer; "
        "report it with the structure",
    )


def require_weights(info: ModelInfo, asked: TaskInput) -> None:
    """Refusal of a task that was keyed with other weights than those that are loaded.

    Args:
        info: The loaded model.
        asked: The task.

    Raises:
        UnknownModel: If they differ.
    """
    if asked.weights_sha256 != info.weights_sha256:
        raise UnknownModel(
            f"found that {info.name} got new weights after this was asked; expected the same; submit again"
        )
