"""Pilot records, made before this program, in its format."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.formula import Formula

from reference.errors import BadRecord
from reference.record import RawLabels, Record, assembled_record
from reference.settings import INSULATOR, LEAST_GAP, MOLECULE, PILOT_METAL, DftSettings
from reference.shards import open_shard
from reference.structure import ReferenceStructure, split_by_group

Group = Any
"""A pilot record: an HDF5 group."""

FORMAT = "pilot-1"
PILOT_SEED = -1


def pilot_set(path: Path) -> str:
    """Name of the set of a pilot file.

    Raises:
        BadRecord: If the file is not a pilot's.
        DamagedShard: If it was cut short, or is not HDF5.
    """
    with open_shard(path) as file:
        if file.attrs.get("format") != FORMAT or file.attrs.get("set") not in ("organics", "crystals"):
            raise BadRecord(f"found {path.name} of format {file.attrs.get('format')!r}; expected {FORMAT!r}")
        return str(file.attrs["set"])


def pilot_records(path: Path, has_metals: bool = False) -> Iterator[Record]:
    """Records of a pilot file, one in memory at a time.

    Args:
        path: An HDF5 file of the pilot.
        has_metals: Whether to keep crystals without a gap, whose energies the pilot's k-meshes do not converge.

    Raises:
        BadRecord: If the file is not a pilot's.
        DamagedShard: If it was cut short, or is not HDF5.
    """
    set_name = pilot_set(path)
    with open_shard(path) as file:
        for index, name in enumerate(sorted(file)):
            structure = _structure(file[name], set_name, index)
            if structure.is_periodic and not has_metals and not has_converged_mesh(file[name]):
                continue
            labels = _labels(file[name], structure.settings, str(file.attrs["code"]))
            record = assembled_record(structure, labels, FORMAT)
            # The pilot's densities are scaled already: what they integrated to before is in its own attributes.
            before = {key: float(file[name].attrs[key]) for key in ("integral_before_rescaling", "density_min")}
            yield replace(record, attributes=dict(record.attributes) | before)


def has_converged_mesh(group: Group) -> bool:
    """Whether a pilot crystal was labelled with the mesh that its gap asks for: never true of metals."""
    return bool(group.attrs["kind"] == "ins" and group.attrs["gap"] >= LEAST_GAP)


def _settings(group: Group, set_name: str) -> DftSettings:
    if set_name == "organics":
        return MOLECULE
    return PILOT_METAL if group.attrs["kind"] == "met" else INSULATOR


def _structure(group: Group, set_name: str, index: int) -> ReferenceStructure:
    numbers = np.asarray(group["numbers"], dtype=np.int64)
    formula = Atoms(numbers=numbers).get_chemical_formula("hill")
    is_molecule = set_name == "organics"
    key = formula if is_molecule else Formula(formula).reduce()[0].format("hill")
    provenance: dict[str, str | float | int] = {
        name: str(group.attrs[name]) for name in ("kind", "smiles", "proto", "mode") if name in group.attrs
    }
    if "T" in group.attrs:
        provenance["temperature"] = float(group.attrs["T"])
    return ReferenceStructure(
        set_name=set_name,
        seed=PILOT_SEED,
        index=index,
        numbers=numbers,
        positions=np.asarray(group["positions"]),
        cell=np.asarray(group["cell"]),
        is_periodic=not is_molecule,
        group=key,
        split=split_by_group(key),
        settings=_settings(group, set_name),
        provenance=provenance | {"source": "pilot"},
    )


def _labels(group: Group, settings: DftSettings, code: str) -> RawLabels:
    names = (
        "forces", "density", "compensation_width", "multipoles", "atomic_density_matrices",
        "atomic_density_matrix_offsets", "stress",
    )  # fmt: skip
    arrays: dict[str, Any] = {name: np.asarray(group[name]) for name in names if name in group}
    arrays["density"] = arrays["density"].astype(np.float64)
    arrays["k_mesh"] = np.array(k_mesh(np.asarray(group["cell"]), settings.k_density))
    attributes: dict[str, Any] = {name: float(group.attrs[name]) for name in ("energy", "free_energy", "gap")}
    attributes |= {
        "is_converged": True,  # the pilot kept no other
        "n_irreducible_k": 0,
        "wall_time": 0.0,
        "code": code.split(", PBE", maxsplit=1)[0],
        "settings_hash": settings.hash,
    }
    return RawLabels(arrays, attributes)


def k_mesh(cell: np.ndarray, k_density: float) -> tuple[int, int, int]:
    """Γ-centred mesh of at least that density in Å."""
    if not k_density:
        return (1, 1, 1)
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
    a, b, c = (max(1, int(np.ceil(length * k_density - 1e-9))) for length in lengths)
    return a, b, c
