"""The sets: one module each, with a seeded generator of structures."""

from collections.abc import Callable
from importlib import import_module

from reference.errors import MissingPackage
from reference.settings import SET_SETTINGS, set_settings
from reference.structure import StructureSet

NAMES: tuple[str, ...] = tuple(SET_SETTINGS)
"""Sets of structures, one module each; `atoms` is a table and has none."""


def structure_set(name: str) -> StructureSet:
    """The set of that name.

    Raises:
        UnknownSet: If there is none.
        MissingPackage: If the generator's packages are not installed.
    """
    home = f"reference.sets.{set_settings(name).name.replace('-', '_')}"
    try:
        found: Callable[[], StructureSet] = import_module(home).structure_set
    except ImportError as error:
        raise MissingPackage(f"the set {name!r} needs {error.name}; pip install --group reference") from error
    return found()
