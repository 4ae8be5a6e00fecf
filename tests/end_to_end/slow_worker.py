"""A real worker with a slow model: `python -m tests.end_to_end.slow_worker`. The model is never in the catalogue."""

import os

from jobs.settings import Settings
from tests.workers.fakes import CountingPotential, Uniform
from workers.process import run

if __name__ == "__main__":
    seconds = float(os.environ.get("SLOW_SECONDS", "0.05"))
    run(Settings(), [CountingPotential("slow", seconds=seconds), Uniform(seconds=seconds)])
