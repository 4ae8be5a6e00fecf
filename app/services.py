"""What a request handler needs, made once when the application starts."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.answers import Answers
from app.metrics import WebMetrics
from app.structures.sandbox import Sandbox
from app.waiting import Waiter
from jobs.artifacts import ArtifactStore
from jobs.batches import Batches
from jobs.directory import Directory
from jobs.keys import Keys
from jobs.ledger import Ledger
from jobs.limits import Limits
from jobs.settings import Settings


@dataclass(frozen=True)
class Services:
    """Everything behind the routes."""

    settings: Settings
    ledger: Ledger
    batches: Batches
    directory: Directory
    artifacts: ArtifactStore
    waiter: Waiter
    parser: Sandbox
    converter: Sandbox
    analyst: Sandbox
    unpacker: Sandbox
    keys: Keys
    limits: Limits
    metrics: WebMetrics

    @property
    def answers(self) -> Answers:
        """What turns rows of the ledger into answers."""
        return Answers(self.artifacts, self.settings.job_days)

    def close(self) -> None:
        """Ends the processes of the sandboxes."""
        for sandbox in (self.parser, self.converter, self.analyst, self.unpacker):
            sandbox.close()


def services(request: Request) -> Services:
    return request.app.state.services


ServicesDep = Annotated[Services, Depends(services)]
