"""`python -m workers`: serves the models named in the settings."""

import logging

import structlog

from jobs.settings import Settings
from models.catalog import load_model
from workers.process import run


def main() -> None:
    """Entry point of a worker process."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    settings = Settings()
    run(settings, [load_model(name, settings.device) for name in settings.models])


if __name__ == "__main__":
    main()
