"""Parsing, run in a sandboxed process: text or plain objects in, a checked structure out."""

import io
import json
import math
import warnings
from collections.abc import Callable
from typing import Any

import gemmi
import numpy as np

from app.structures.optimade import read_optimade
from app.structures.preflight import structure_block
from rhocast.elements import ATOMIC_NUMBERS
from rhocast.errors import InvalidFile, InvalidStructure, RhocastError, TooLarge
from rhocast.structure import Structure

MIN_DISTANCE = 0.5  # Å; H2 has 0.74
MIN_VOLUME_PER_ATOM = 2.0  # Å³; diamond has 5.7
MIN_LENGTH, MAX_LENGTH = 1.0, 500.0  # Å
MAX_COORDINATE = 1e5  # Å; further out the rounding of a double approaches the resolution of the content key
MAX_CHARGE = 1e-6  # e; what rounding leaves of a neutral cell


def parsed(kind: str, content: str, max_atoms: int, vacuum: float) -> Structure:
    """A structure that a model can be asked about.

    Args:
        kind: Format of the content: one of the structure file formats, or "pymatgen" or "plain" for JSON.
        content: Text of the file, or JSON.
        max_atoms: Largest structure that is accepted.
        vacuum: Empty space in Å on each side of a molecule.

    Raises:
        InvalidFile: If the content cannot be read.
        InvalidStructure: If what it says is not physical.
        TooLarge: If it has too many atoms.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # parsers warn about cosmetics; what matters is checked below
            structure = _READERS[kind](content)
    except RhocastError:
        raise
    except MemoryError as error:
        raise TooLarge("found a structure that does not fit the parser's memory; expected a smaller one") from error
    except Exception as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise InvalidFile(
            f"found a {kind} structure that cannot be read ({reason[:200]}); expected a complete, valid one; "
            "check it with another program"
        ) from error
    if structure.n_atoms == 0:
        raise InvalidStructure("found no atoms; expected at least one; check that the file is complete")
    if structure.n_atoms > max_atoms:
        raise TooLarge(f"found {structure.n_atoms} atoms; expected at most {max_atoms}; send a smaller cell")
    if not structure.is_periodic:
        structure = boxed(structure, vacuum)
    check_physical(structure)
    return structure


def boxed(molecule: Structure, vacuum: float) -> Structure:
    """A molecule moved into an orthorhombic box with empty space on each side.

    Args:
        molecule: Atoms; their cell is not looked at.
        vacuum: Empty space in Å.
    """
    if not np.isfinite(molecule.positions).all():
        raise InvalidStructure(_not_finite(molecule))
    low, high = molecule.positions.min(axis=0), molecule.positions.max(axis=0)
    box = np.diag(high - low + 2 * vacuum)
    return Structure(molecule.numbers, molecule.positions - low + vacuum, box, is_periodic=False)


def check_physical(structure: Structure) -> None:
    """Refuses atoms that no model can answer for.

    Raises:
        InvalidStructure: If numbers are missing, the cell is flat or absurd, or atoms overlap.
    """
    if not (np.isfinite(structure.positions).all() and np.isfinite(structure.cell).all()):
        raise InvalidStructure(_not_finite(structure))
    lengths = np.linalg.norm(structure.cell, axis=1)
    if lengths.min() < MIN_LENGTH or lengths.max() > MAX_LENGTH:
        raise InvalidStructure(
            f"found cell vectors of {', '.join(f'{length:.3g}' for length in lengths)} Å; expected between "
            f"{MIN_LENGTH:g} and {MAX_LENGTH:g} Å; check the unit and the scale factor"
        )
    if structure.volume < max(1e-3 * lengths.prod(), MIN_VOLUME_PER_ATOM * structure.n_atoms):
        raise InvalidStructure(
            f"found a cell of {structure.volume:.3g} Å³ for {structure.n_atoms} atoms; expected at least "
            f"{MIN_VOLUME_PER_ATOM:g} Å³ an atom and vectors that span space; check the cell"
        )
    furthest = float(np.abs(structure.positions).max())
    if furthest > MAX_COORDINATE:
        raise InvalidStructure(
            f"found an atom at a coordinate of {furthest:.3g} Å; expected at most {MAX_COORDINATE:g} Å; "
            "check the unit, or wrap the atoms into the cell"
        )
    _check_overlap(structure)


def _check_overlap(structure: Structure) -> None:
    from pymatgen.optimization.neighbors import (  # noqa: PLC0415  (only the sandbox loads pymatgen)
        find_points_in_spheres,
    )

    # The search costs as much as there are cells between the atoms, hence wrapped; and as there are bins of width
    # min_r in the cell, hence a few bins an atom.
    positions = np.ascontiguousarray(structure.wrapped_positions)
    first, second, _, distances = find_points_in_spheres(
        positions,
        positions,
        r=MIN_DISTANCE,
        pbc=np.ones(3, dtype=np.int64) * int(structure.is_periodic),
        lattice=np.ascontiguousarray(structure.cell),
        tol=1e-8,
        min_r=max(1.0, 0.5 * (structure.volume / structure.n_atoms) ** (1 / 3)),
    )
    others = [(d, i, j) for d, i, j in zip(distances, first, second, strict=True) if i != j or d > 1e-8]
    if others:
        distance, i, j = min(others)
        raise InvalidStructure(
            f"found atoms {i} and {j} ({structure.symbols[i]}, {structure.symbols[j]}; counted from 0) "
            f"{distance:.3f} Å apart; expected at least {MIN_DISTANCE:g} Å; remove the duplicate or check the unit"
        )


def _not_finite(structure: Structure) -> str:
    bad = [i for i, row in enumerate(structure.positions) if not all(map(math.isfinite, row))]
    where = f"atom {bad[0]} (counted from 0)" if bad else "the cell"
    return f"found a coordinate of {where} that is not a number; expected finite coordinates"


def _from_pymatgen(structure: Any) -> Structure:
    """A structure of pymatgen, its species as elements: an oxidation label (Na1+) is not a charge."""
    if not structure.is_ordered:
        site = next(site for site in structure if not site.is_ordered)
        raise InvalidStructure(
            f"found a partly occupied site ({site.species_string}); expected fully occupied sites; "
            "send an ordered model of it"
        )
    symbols = [getattr(site.specie, "symbol", str(site.specie)) for site in structure]
    symbols = ["H" if symbol in ("D", "T") else symbol for symbol in symbols]
    lattice = getattr(structure, "lattice", None)
    cell = lattice.matrix if lattice is not None else np.eye(3)
    return Structure.from_symbols(symbols, structure.cart_coords, cell, is_periodic=lattice is not None)


def _read_cif(text: str) -> Structure:
    from pymatgen.io.cif import CifParser  # noqa: PLC0415

    document = gemmi.cif.Document()
    document.add_copied_block(structure_block(text))
    alone = io.StringIO(document.as_string())  # pymatgen stumbles over blocks without atoms
    return _from_pymatgen(CifParser(alone).parse_structures(primitive=False, on_error="raise")[0])


def _read_poscar(text: str) -> Structure:
    from pymatgen.io.vasp import Poscar  # noqa: PLC0415

    symbols = text.splitlines()[5].split()
    unknown = [symbol for symbol in symbols if symbol.split("_")[0].split("/")[0] not in ATOMIC_NUMBERS]
    if unknown:
        raise InvalidStructure(f"found {unknown[0]!r} on the species line; expected chemical symbols such as 'Si'")
    return _from_pymatgen(Poscar.from_str(text, read_velocities=False).structure)


def _read_xyz(text: str) -> Structure:
    from ase.io import read  # noqa: PLC0415

    frames: Any = read(io.StringIO(text), index=":", format="extxyz")
    if len(frames) != 1:
        raise InvalidFile(f"found {len(frames)} frames; expected one structure a request; send them one by one")
    atoms = frames[0]
    for name in ("charge", "total_charge"):
        _refuse_charge(float(atoms.info.get(name, 0.0)))
    cell = atoms.cell.array
    if atoms.pbc.any() and atoms.cell.rank < 3:
        raise InvalidStructure(
            f"found a periodic structure whose cell vectors {cell.tolist()} span no space; expected three independent "
            'ones; mend Lattice="…", or leave it out for a molecule'
        )
    return Structure.from_symbols(
        atoms.get_chemical_symbols(), atoms.positions, cell, is_periodic=bool(atoms.pbc.any())
    )


def _read_pymatgen(content: str) -> Structure:
    from pymatgen.core import Molecule  # noqa: PLC0415
    from pymatgen.core import Structure as PymatgenStructure  # noqa: PLC0415

    record = _bare(json.loads(content))
    structure = (Molecule if record["@class"] == "Molecule" else PymatgenStructure).from_dict(record)
    labels = sum(getattr(site.specie, "oxi_state", 0) or 0 for site in structure if site.is_ordered)
    charge = float(record.get("charge") or 0.0)
    # pymatgen writes the sum of oxidation labels as the charge of a structure that was given none.
    _refuse_charge(0.0 if abs(charge - labels) < 1e-6 else charge)
    return _from_pymatgen(structure)


def _bare(record: dict[str, Any]) -> dict[str, Any]:
    """A pymatgen record without what is not read here: pymatgen imports and calls whatever its properties name."""
    sites = [{key: site[key] for key in ("species", "abc", "xyz") if key in site} for site in record["sites"]]
    return {key: record[key] for key in ("@class", "lattice", "charge") if key in record} | {"sites": sites}


def _read_plain(content: str) -> Structure:
    record = json.loads(content)
    _refuse_charge(record["charge"])
    if len(record["symbols"]) != len(record["positions"]):
        raise InvalidStructure(
            f"found {len(record['symbols'])} symbols and {len(record['positions'])} positions; expected as many of both"
        )
    cell = record["cell"] or np.eye(3)
    return Structure.from_symbols(record["symbols"], record["positions"], cell, is_periodic=record["cell"] is not None)


def _refuse_charge(charge: float) -> None:
    if not abs(charge) <= MAX_CHARGE:  # so written, it refuses NaN too
        raise InvalidStructure(
            f"found a total charge of {charge:+g} e; expected a neutral cell; no model here was made for charged ones"
        )


_READERS: dict[str, Callable[[str], Structure]] = {
    "cif": _read_cif,
    "poscar": _read_poscar,
    "extxyz": _read_xyz,
    "xyz": _read_xyz,
    "optimade": read_optimade,
    "pymatgen": _read_pymatgen,
    "plain": _read_plain,
}
