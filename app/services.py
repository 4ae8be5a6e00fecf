"""What a request handler needs, made once when the application starts."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.answers import Answers
from app.structures.sandbox import Sandbox
from app.waiting import Waiter
from jobs.artifacts import ArtifactStore
from jobs.directory import Directory
from jobs.ledger import Ledger
from jobs.settings import Settings


@dataclass(frozen=True)
class Services:
    """Everything behind the routes."""

    settings: Settings
    ledger: Ledger
    directory: Directory
    artifacts: ArtifactStore
    waiter: Waiter
    parser: Sandbox
    converter: Sandbox

    @property
    def answers(self) -> Answers:
        """What turns rows of the ledger into answers."""
        return Answers(self.artifacts, self.settings.job_days)


def services(request: Request) -> Services:
    return request.app.state.services


ServicesDep = Annotated[Services, Depends(services)]
