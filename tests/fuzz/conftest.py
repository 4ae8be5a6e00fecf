"""The table at the end of `make fuzz`."""

from collections import Counter
from typing import Any

import pytest

from tests.fuzz.documented import Kind

Report = dict[Kind, tuple[Counter[int], float]]
"""Statuses and seconds of each kind of request."""

_REPORT: Report = {}


@pytest.fixture
def report() -> Report:
    return _REPORT


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for kind, (found, seconds) in _REPORT.items():
        statuses = ", ".join(f"{status}: {count}" for status, count in sorted(found.items()))
        terminalreporter.write_line(f"{kind!s:50} {found.total():5d} in {seconds:5.1f} s   {statuses}")
    n_answers = sum(found.total() for found, _ in _REPORT.values())
    n_operations = len({(kind.path, kind.verb) for kind in _REPORT})
    terminalreporter.write_line(f"{n_operations} operations, {n_answers} requests answered as documented")
