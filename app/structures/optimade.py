"""Structures in the JSON of OPTIMADE (specification 1.2, entry type `structures`)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rhocast.errors import InvalidFile, InvalidStructure
from rhocast.structure import Structure

NOT_ELEMENTS = {"X": "atoms of unknown element", "vacancy": "vacancies"}


def read_optimade(content: str) -> Structure:
    """The structure in an entry, or in an answer that holds one entry.

    Args:
        content: JSON: an entry with its `attributes`, or a whole answer with the entry in its `data`.

    Raises:
        InvalidFile: If there is none, or several.
        InvalidStructure: If sites are not one whole atom each, or it is periodic in one or two directions alone.
    """
    attributes = _attributes(json.loads(content))
    kinds = {kind["name"]: kind for kind in attributes.get("species") or ()}
    symbols = [_symbol(name, kinds) for name in attributes["species_at_sites"]]
    positions = attributes["cartesian_site_positions"]
    if len(symbols) != len(positions):
        raise InvalidFile(
            f"found {len(positions)} cartesian_site_positions and {len(symbols)} species_at_sites; "
            "expected as many of both"
        )
    periodic = attributes["dimension_types"]
    if sum(periodic) not in (0, 3):
        raise InvalidStructure(
            f"found dimension_types {periodic}; expected a crystal ([1, 1, 1]) or a molecule ([0, 0, 0]); "
            "send a slab or a wire as a crystal with empty space in its cell"
        )
    is_periodic = sum(periodic) == 3
    cell = attributes["lattice_vectors"] if is_periodic else np.eye(3)
    return Structure.from_symbols(symbols, positions, cell, is_periodic)


def _attributes(record: Mapping[str, Any]) -> Mapping[str, Any]:
    entry = record.get("data", record)
    if isinstance(entry, Sequence):
        if len(entry) != 1:
            raise InvalidFile(f"found {len(entry)} entries of OPTIMADE; expected one; send them one by one")
        entry = entry[0]
    if entry.get("type", "structures") != "structures":
        raise InvalidFile(
            f"found an OPTIMADE entry of type {entry['type']!r}; expected 'structures'; send one of those"
        )
    return entry["attributes"]


def _symbol(name: str, kinds: Mapping[str, Mapping[str, Any]]) -> str:
    """Chemical symbol of a site of this species."""
    symbols = kinds[name]["chemical_symbols"] if kinds else [name]
    if len(symbols) != 1:
        raise InvalidStructure(
            f"found the species {name!r} of {' and '.join(symbols)}; expected one whole atom on each site; "
            "send an ordered model of it"
        )
    (share,) = kinds[name]["concentration"] if kinds else (1.0,)
    if share < 1 - 1e-6:
        raise InvalidStructure(
            f"found the species {name!r} with a concentration of {share:g}; expected fully occupied sites; "
            "send an ordered model of it"
        )
    if what := NOT_ELEMENTS.get(symbols[0]):
        raise InvalidStructure(f"found {what} ({name!r}); expected atoms of known elements; name or remove them")
    return symbols[0]
