"""`python -m workers`: serves the models named in the settings."""

import sys

from jobs import logs
from jobs.artifacts import require_artifact_store
from jobs.settings import Settings
from models.catalog import load_model
from rhocast.errors import RhocastError
from workers.process import run


def main() -> None:
    """Entry point of a worker process."""
    logs.configure()
    settings = Settings()
    try:
        require_artifact_store(settings)
    except RhocastError as error:
        sys.exit(error.detail)
    run(settings, [load_model(name, settings.device) for name in settings.models])


if __name__ == "__main__":
    main()
