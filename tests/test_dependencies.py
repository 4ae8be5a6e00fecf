"""What a room imports, its dependency group installs: an image has nothing else."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {
    *("rhocast", "app", "jobs", "workers", "models", "dynamics", "training", "reference", "benchmarks"),
    *("examples", "tests"),
}


def imported(*rooms: str) -> set[str]:
    """Distributions that the code of some rooms imports, anywhere in a file."""
    names: set[str] = set()
    for path in (path for room in rooms for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    known = packages_distributions()
    foreign = names - set(sys.stdlib_module_names) - OURS
    return {normal(known.get(name, [name])[0]) for name in foreign}


def normal(requirement: str) -> str:
    return re.split(r"[\[<>=~! ]", requirement)[0].lower().replace("_", "-")


def group(name: str) -> set[str]:
    """Distributions that a dependency group of the application names, with those that the SDK brings."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    sdk = tomllib.loads((ROOT / "sdk" / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    found = {normal(one) for one in sdk}
    for entry in groups[name]:
        found |= group(entry["include-group"]) if isinstance(entry, dict) else {normal(entry)}
    return found


BROUGHT_ALONG = {
    "starlette": "fastapi",
    "pymatgen-core": "pymatgen",
    "triton": "torch",  # with CUDA, in the version that it needs; without, nothing of ours imports it but tests
}
"""Distributions that are part of another one in all but name, or come with it."""


@pytest.mark.parametrize(
    ("name", "rooms"),
    [
        ("jobs", ["jobs"]),
        ("web", ["app", "jobs"]),
        ("worker", ["workers", "jobs", "dynamics", "models"]),
        ("training", ["training", "models"]),
    ],
)
def test_a_group_names_what_its_rooms_import(name: str, rooms: list[str]) -> None:
    needed = {BROUGHT_ALONG.get(one, one) for one in imported(*rooms)}
    assert needed - group(name) == set()


def test_the_sdk_names_what_it_imports() -> None:
    sdk = tomllib.loads((ROOT / "sdk" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {normal(one) for one in sdk["dependencies"]}
    optional = {normal(one) for extra in sdk["optional-dependencies"].values() for one in extra}
    needed = {BROUGHT_ALONG.get(one, one) for one in imported("sdk/src")}
    assert needed - named - optional == set()


def test_every_named_distribution_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normal(line) for line in lines if "==" in line}
    assert (group("dev") | {"ase", "pymatgen"}) - pinned - {"triton"} == set()
