"""`python -m app.batches`: expands the batches that the web server accepted."""

import sys

from app.batches.process import run
from jobs import logs
from jobs.artifacts import require_artifact_store
from jobs.settings import Settings
from rhocast.errors import RhocastError


def main() -> None:
    """Entry point of the process."""
    logs.configure()
    settings = Settings()
    try:
        require_artifact_store(settings)
    except RhocastError as error:
        sys.exit(error.detail)
    run(settings)


if __name__ == "__main__":
    main()
