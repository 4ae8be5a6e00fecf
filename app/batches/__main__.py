"""`python -m app.batches`: expands the batches that the web server accepted."""

from app.batches.process import run
from jobs import logs
from jobs.settings import Settings


def main() -> None:
    """Entry point of the process."""
    logs.configure()
    run(Settings())


if __name__ == "__main__":
    main()
