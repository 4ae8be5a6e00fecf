"""Sizes that keep the code readable: files, functions, parameters."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("sdk/src", "app", "jobs", "workers", "models", "dynamics", "reference", "benchmarks", "examples", "tests")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60
VAGUE_NAMES = {"utils", "util", "common", "helpers", "core", "misc"}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_can_be_read_at_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES_OF_A_FILE
    for function in functions(path):
        body = function.body[1:] if ast.get_docstring(function) else function.body
        lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
        assert lines <= MOST_LINES_OF_A_FUNCTION, function.name


def test_names_say_what_is_inside() -> None:
    assert [str(path) for path in FILES if path.stem in VAGUE_NAMES or path.parent.name in VAGUE_NAMES] == []


def test_the_names_of_the_rooms_never_reach_a_users_packages() -> None:
    assert 'packages = ["src/rhocast"]' in (ROOT / "sdk" / "pyproject.toml").read_text()
    assert "[project]" not in (ROOT / "pyproject.toml").read_text()
