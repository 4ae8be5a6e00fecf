"""What may stand for a structure, and how each of them is sent. Neither pymatgen nor ASE is imported."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rhocast.density import shape_like
from rhocast.errors import InvalidField, InvalidFile, InvalidGrid, InvalidStructure
from rhocast.model_info import Property
from rhocast.schemas import (
    STRUCTURE_FORMATS,
    GridRequest,
    PlainStructure,
    PredictionRequest,
    PymatgenStructure,
    RelaxationRequest,
    StructureText,
)
from rhocast.structure import Structure

LARGEST_FILE = 100_000_000
"""Bytes of a structure file; more is taken for a density file named by mistake."""

_FORMATS = ", ".join(STRUCTURE_FORMATS[:-1]) + " or " + STRUCTURE_FORMATS[-1]
_PYMATGEN_KEYS = ("@module", "@class", "lattice", "sites", "charge", "spin_multiplicity")
_PYMATGEN_SITE_KEYS = ("species", "abc", "xyz", "label")


@dataclass(frozen=True)
class Choices:
    """What may be chosen beside the structure and the properties; None stands for the service's own choice.

    Attributes:
        model: Names of models, or one of them, or several separated by commas.
        shape: Grid points along each cell vector.
        spacing: Largest distance of neighbouring grid points, in Å.
        encut: Plane-wave cut-off in eV whose fine FFT grid is made.
        like: A density file whose grid is copied.
        vacuum: Empty space on each side of a molecule, in Å.
        priority: interactive or bulk.
    """

    model: str | Sequence[str] | None = None
    shape: Sequence[int] | None = None
    spacing: float | None = None
    encut: float | None = None
    like: str | os.PathLike[str] | None = None
    vacuum: float | None = None
    priority: str = "interactive"


def prediction_request(structure: object, want: str | Sequence[str], choices: Choices) -> PredictionRequest:
    """The request for some properties of a structure.

    Args:
        structure: A path, the text of a structure file, or an object of rhocast, pymatgen or ASE.
        want: Properties, or one of them, or several separated by commas.
        choices: Everything else.

    Raises:
        InvalidFile: If a structure or density file cannot be read.
        InvalidStructure: If the object is none of those.
        InvalidGrid: If the grid is chosen twice.
        InvalidField: If a value cannot be used.
    """
    fields = {"structure": structure_input(structure), **chosen_fields(want, choices), "priority": choices.priority}
    return validated(PredictionRequest, fields)


@dataclass(frozen=True)
class RelaxationChoices:
    """What may be chosen of a relaxation beside the structure; None stands for the service's own choice.

    Attributes:
        model: Names of potentials, or one of them, or several separated by commas.
        fmax: Largest force that a relaxed structure has, in eV/Å.
        steps: Most steps.
        relax_cell: Whether the cell relaxes too.
        vacuum: Empty space on each side of a molecule, in Å.
        priority: interactive or bulk.
    """

    model: str | Sequence[str] | None = None
    fmax: float | None = None
    steps: int | None = None
    relax_cell: bool | None = None
    vacuum: float | None = None
    priority: str = "interactive"


def relaxation_request(structure: object, choices: RelaxationChoices) -> RelaxationRequest:
    """The request to relax a structure.

    Args:
        structure: A path, the text of a structure file, or an object of rhocast, pymatgen or ASE.
        choices: Everything else.

    Raises:
        InvalidFile: If a structure file cannot be read.
        InvalidStructure: If the object is none of those.
        InvalidField: If a value cannot be used.
    """
    given = {name: getattr(choices, name) for name in ("fmax", "steps", "relax_cell", "vacuum")}
    fields = {name: value for name, value in given.items() if value is not None}
    fields |= {"structure": structure_input(structure), "model": _names(choices.model or ())}
    return validated(RelaxationRequest, fields | {"priority": choices.priority})


def chosen_fields(want: str | Sequence[str], choices: Choices) -> dict[str, Any]:
    """The fields of a request that do not depend on the structure, without its priority.

    Args:
        want: Properties, or one of them, or several separated by commas.
        choices: Everything else.

    Raises:
        InvalidFile: If a density file cannot be read.
        InvalidGrid: If the grid is chosen twice.
        InvalidField: If a value cannot be used.
    """
    fields: dict[str, Any] = {
        "want": wanted_properties(want),
        "model": _names(choices.model or ()),
        "grid": _grid(choices),
    }
    if choices.vacuum is not None:
        fields["vacuum"] = choices.vacuum
    return fields


def validated(schema: Any, fields: dict[str, Any]) -> Any:
    """An object of the wire.

    Args:
        schema: Its class.
        fields: Its fields.

    Raises:
        InvalidField: If a field has a value that cannot be used.
    """
    try:
        return schema(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidField(
            f"found {where} = {first['input']!r:.80}; expected otherwise: {first['msg']}; change that value"
        ) from error


def wanted_properties(want: str | Sequence[str]) -> list[Property]:
    """Properties by their names.

    Args:
        want: Names, or one of them, or several separated by commas.

    Raises:
        InvalidField: If there is none, or one is unknown.
    """
    names = _names(want)
    unknown = [name for name in names if name not in set(Property)]
    if unknown or not names:
        raise InvalidField(
            f"found {f'{unknown[0]!r} wanted' if unknown else 'nothing wanted'}; expected some of {', '.join(Property)}"
        )
    return [Property(name) for name in names]


def structure_input(structure: object) -> PlainStructure | PymatgenStructure | StructureText:
    """A structure as it is sent.

    Args:
        structure: A path, the text of a structure file, or an object of rhocast, pymatgen or ASE.

    Raises:
        InvalidFile: If a file cannot be read.
        InvalidStructure: If the object is none of those, or a coordinate is not finite.
    """
    if isinstance(structure, str) and "\n" in structure:
        return StructureText(text=structure)
    if isinstance(structure, str | os.PathLike):
        return StructureText(text=_text_of(Path(structure)))
    if isinstance(structure, Structure):
        cell = structure.cell.tolist() if structure.is_periodic else None
        return _plain(structure.symbols, structure.positions.tolist(), cell)
    names = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(structure).__mro__}
    if names & {"pymatgen.IStructure", "pymatgen.IMolecule"}:
        return _pymatgen(structure, "Structure" if "pymatgen.IStructure" in names else "Molecule")
    if "ase.Atoms" in names:
        return _ase(structure)
    raise InvalidStructure(
        f"found a {type(structure).__module__}.{type(structure).__name__}; expected the path or the text of a "
        f"structure file ({_FORMATS}), a rhocast or pymatgen Structure, a pymatgen Molecule or ASE Atoms"
    )


def _text_of(path: Path) -> str:
    """Text of a structure file."""
    if not os.path.isfile(path):  # unlike Path.is_file, false where the name is too long to be one
        what = "a folder" if os.path.isdir(path) else "no file"
        raise InvalidFile(
            f"found {what} at {str(path)[:200]!r}; expected a structure file ({_FORMATS}), or its text with line breaks"
        )
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise InvalidFile(f"found {size / 1e6:.0f} MB in {str(path)!r}; expected a structure file; is it a density?")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidFile(
            f"found that {str(path)!r} is not UTF-8 text; expected a structure file ({_FORMATS}); unpack or convert it"
        ) from error
    except OSError as error:
        raise InvalidFile(
            f"found that {str(path)!r} cannot be read ({error.strerror}); expected a structure file"
        ) from error
    if not text.strip():
        raise InvalidFile(f"found that {str(path)!r} is empty; expected a structure file ({_FORMATS})")
    return text


def _pymatgen(structure: Any, kind: str) -> PymatgenStructure:
    """A structure of pymatgen without its properties, which no model reads and JSON may not hold."""
    record: dict[str, Any] = structure.as_dict()
    kept = {key: record[key] for key in _PYMATGEN_KEYS if key in record} | {"@class": kind}
    kept["sites"] = [{key: site[key] for key in _PYMATGEN_SITE_KEYS if key in site} for site in record["sites"]]
    try:
        plain = json.loads(json.dumps(kept, default=_listed, allow_nan=False))
    except ValueError as error:
        raise InvalidStructure(
            "found a number in this pymatgen object that is not finite; expected finite ones"
        ) from error
    return PymatgenStructure.model_validate(plain)


def _listed(value: Any) -> Any:
    """A numpy array or number as JSON knows it."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _ase(atoms: Any) -> PlainStructure:
    cell = atoms.cell.array.tolist() if atoms.pbc.any() and atoms.cell.rank == 3 else None
    charge = float(atoms.info.get("charge", atoms.info.get("total_charge", 0.0)))
    return _plain(atoms.get_chemical_symbols(), atoms.positions.tolist(), cell, charge)


def _plain(symbols: list[str], positions: list[Any], cell: list[Any] | None, charge: float = 0.0) -> PlainStructure:
    rows = positions + (cell or [])
    bad = next((index for index, row in enumerate(rows) if not all(map(math.isfinite, row))), None)
    if bad is not None:
        where = f"atom {bad} (counted from 0)" if bad < len(positions) else "the cell"
        raise InvalidStructure(f"found a coordinate of {where} that is not a number; expected finite coordinates")
    return validated(PlainStructure, {"symbols": symbols, "positions": positions, "cell": cell, "charge": charge})


def _grid(choices: Choices) -> GridRequest:
    given = [name for name in ("shape", "spacing", "encut", "like") if getattr(choices, name) is not None]
    if len(given) > 1:
        raise InvalidGrid(
            f"found {' and '.join(given)}; expected one of shape, spacing, encut and like; leave the others out"
        )
    shape = choices.shape
    if choices.like is not None:
        path = Path(choices.like)
        if not os.path.isfile(path):
            raise InvalidFile(
                f"found no file at {str(path)!r}; expected a CHGCAR, CHG, cube, npz or zarr.zip whose grid is copied"
            )
        shape = shape_like(path)
    points = None if shape is None else tuple(shape)
    return validated(GridRequest, {"shape": points, "spacing": choices.spacing, "encut": choices.encut})


def _names(given: str | Sequence[str]) -> list[str]:
    parts = given.split(",") if isinstance(given, str) else list(given)
    return list(dict.fromkeys(part.strip() for part in map(str, parts) if part.strip()))
