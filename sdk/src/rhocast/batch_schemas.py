"""Batches on the wire."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from rhocast.model_info import Property
from rhocast.quantity import Quantity
from rhocast.schemas import AnyStructure, GridRequest, Job, Problem, Schema, StructureFormat

LONGEST_ID = 255
"""Characters of a custom_id."""

Vacuum = Annotated[float, Quantity("Å", "Empty space on each side of a molecule", gt=0, le=50)]
ModelNames = Annotated[
    list[str], Field(description="Names of models; each property comes from the first that provides it")
]


class BatchStatus(StrEnum):
    VALIDATING = "validating"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self not in (BatchStatus.VALIDATING, BatchStatus.RUNNING)


class ItemStatus(StrEnum):
    """How an item of a batch ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    INVALID = "invalid"


class BatchSettings(Schema):
    """What is asked of every structure of a batch, where its own line says nothing else."""

    want: Annotated[list[Property], Field(min_length=1)] = Field(default=[Property.DENSITY])
    model: ModelNames = Field(default=[])
    grid: GridRequest = GridRequest()
    vacuum: Vacuum = 5.0
    format: Annotated[
        StructureFormat | None, Field(description="Format of the files, if their content does not tell")
    ] = None


class BatchRequestLine(Schema):
    """A line of a JSONL file: one structure. What it leaves out, the settings of the batch say."""

    custom_id: Annotated[str, Field(min_length=1, max_length=LONGEST_ID, description="Unique within the batch")]
    structure: AnyStructure
    want: Annotated[list[Property] | None, Field(min_length=1)] = None
    model: ModelNames | None = None
    grid: GridRequest | None = None
    vacuum: Vacuum | None = None


class BatchCounts(Schema):
    """How far the items of a batch are; the last six add up to the total."""

    total: Annotated[int, Quantity("1", "Items")]
    queued: Annotated[int, Quantity("1", "Items that wait")] = 0
    running: Annotated[int, Quantity("1", "Items that a worker has in hand")] = 0
    succeeded: Annotated[int, Quantity("1", "Items with a result")] = 0
    failed: Annotated[int, Quantity("1", "Items whose computation failed")] = 0
    cancelled: Annotated[int, Quantity("1", "Items that were cancelled")] = 0
    invalid: Annotated[int, Quantity("1", "Items that were refused, and have no job")] = 0

    @property
    def ended(self) -> int:
        """Items that will not change any more."""
        return self.total - self.queued - self.running


class Batch(Schema):
    """Many requests sent at once, and how far they are."""

    id: str
    status: Annotated[
        BatchStatus,
        Field(description="succeeded: every item has ended, well or not; failed: it could not be taken apart"),
    ]
    counts: BatchCounts
    created_at: datetime
    finished_at: datetime | None = None
    expires_at: datetime
    settings: BatchSettings = BatchSettings()
    warnings: list[str] = Field(default=[])
    error: Problem | None = None
    links: dict[str, str] = Field(default={})


class BatchPage(Schema):
    """A page of batches, newest first."""

    batches: list[Batch]
    next: Annotated[str | None, Field(description="URL of the next page")] = None


class BatchLine(Schema):
    """A line of the output: how one item ended."""

    index: Annotated[int, Quantity("1", "Place of the item in the batch, counted from 0")]
    custom_id: Annotated[str | None, Field(description="Null where the line that was sent has none to be read")]
    status: ItemStatus
    job: Annotated[Job | None, Field(description="The item's job with its result; null if it was refused")] = None
    error: Annotated[Problem | None, Field(description="Why there is no result")] = None
