"""The sets: one module each, with a seeded generator of structures."""

from collections.abc import Callable
from importlib import import_module

from reference.errors import MissingPackage, UnknownSet
from reference.structure import StructureSet

_HOMES = {
    "organics": "reference.sets.organics",
    "water": "reference.sets.water",
    "aluminium": "reference.sets.aluminium",
    "crystals": "reference.sets.crystals",
    "molecule-md": "reference.sets.molecule_md",
}
NAMES: tuple[str, ...] = tuple(_HOMES)
"""Sets of structures; `atoms` is a table and has none."""


def structure_set(name: str) -> StructureSet:
    """The set of that name.

    Raises:
        UnknownSet: If there is none.
        MissingPackage: If the generator's packages are not installed.
    """
    if name not in _HOMES:
        raise UnknownSet(f"found no set {name!r}; expected one of {', '.join(NAMES)} or atoms")
    try:
        found: Callable[[], StructureSet] = import_module(_HOMES[name]).structure_set
    except ImportError as error:
        raise MissingPackage(f"the set {name!r} needs {error.name}; pip install --group reference") from error
    return found()
