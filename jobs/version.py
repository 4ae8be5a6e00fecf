"""Which code answers."""

import functools
import os
import subprocess
from pathlib import Path

import rhocast

RESULT_SCHEMA = 5
"""Part of every content key: raise it when the same model gives another result or another record of it."""


@functools.cache
def code_version() -> str:
    """Version and commit, such as '0.1.0+3f2a91c'; the commit comes from RHOCAST_COMMIT or from git."""
    commit = os.environ.get("RHOCAST_COMMIT", "")
    if not commit:
        reply = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
        commit = reply.stdout.strip()
    return f"{rhocast.__version__}+{commit}" if commit else rhocast.__version__
