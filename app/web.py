"""`python -m app.web`: one web process. `rhocast serve` runs one; a larger service as many as it likes."""

import argparse
import sys
from collections.abc import Sequence

import uvicorn

from app.access import require_keys
from app.factory import create_app
from jobs import logs
from jobs.artifacts import require_artifact_store
from jobs.settings import Settings
from rhocast.errors import RhocastError


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point.

    Args:
        arguments: What comes after the program's name; what the process was given if None.
    """
    parser = argparse.ArgumentParser(prog="python -m app.web", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--grace", type=int, default=10, help="seconds that answers under way have after SIGTERM")
    asked = parser.parse_args(arguments)
    logs.configure()
    settings = Settings()
    try:
        require_artifact_store(settings)
        require_keys(settings, asked.host, settings.redis_url)
    except RhocastError as error:
        sys.exit(error.detail)
    # app.observation writes the line of each request; what uvicorn says comes out as all else does.
    uvicorn.run(
        create_app(settings),
        host=asked.host,
        port=asked.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=asked.grace,
    )


if __name__ == "__main__":
    main()
