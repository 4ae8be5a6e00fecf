"""Services of real processes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.processes import Stack


@pytest.fixture
def make_stack(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    stacks: list[Stack] = []

    def make(**environment: str) -> Stack:
        stacks.append(Stack(tmp_path, environment))
        return stacks[-1].start()

    yield make
    for stack in stacks:
        stack.stop()
