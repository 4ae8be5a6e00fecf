"""One line that says where and of what a figure was measured."""

import os
import platform
import subprocess
from pathlib import Path


def machine_line() -> str:
    """Processor, cores, Python and commit."""
    return f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, commit {_commit()}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    root = Path(__file__).parent
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, check=False
    )
    return described.stdout.strip() or "none"
