"""`python -m workers`: serves the models named in the settings."""

from jobs import logs
from jobs.settings import Settings
from models.catalog import load_model
from workers.process import run


def main() -> None:
    """Entry point of a worker process."""
    logs.configure()
    settings = Settings()
    run(settings, [load_model(name, settings.device) for name in settings.models])


if __name__ == "__main__":
    main()
