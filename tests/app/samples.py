"""Structures in every form in which they can be sent, small and quick to answer for."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SMALL_GRID = {"shape": [12, 12, 12]}

NACL_POSCAR = """NaCl
1.0
5.64 0.0 0.0
0.0 5.64 0.0
0.0 0.0 5.64
Na Cl
1 1
Direct
0.0 0.0 0.0
0.5 0.5 0.5
"""

NACL_CIF = """data_NaCl
_cell_length_a 5.64
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Na1 Na 0.0 0.0 0.0 1.0
Cl1 Cl 0.5 0.5 0.5 1.0
"""

NACL_EXTXYZ = """2
Lattice="5.64 0 0 0 5.64 0 0 0 5.64" Properties=species:S:1:pos:R:3 pbc="T T T"
Na 0.0 0.0 0.0
Cl 2.82 2.82 2.82
"""

WATER_XYZ = """3
water
O 0.0 0.0 0.0
H 0.9572 0.0 0.0
H -0.24 0.927 0.0
"""


def plain(symbols: list[str], positions: Any, cell: Any = None, **more: Any) -> dict[str, Any]:
    """A structure as plain arrays."""
    return {
        "symbols": symbols,
        "positions": np.asarray(positions).tolist(),
        "cell": None if cell is None else np.asarray(cell).tolist(),
        **more,
    }


def rock_salt(a: float = 5.64) -> dict[str, Any]:
    """Two atoms of NaCl in a cube, far from its symmetric structure but quick."""
    return plain(["Na", "Cl"], [[0, 0, 0], [a / 2, a / 2, a / 2]], a * np.eye(3))


def crooked_salt(seed: int = 0) -> dict[str, Any]:
    """Eight atoms in a skewed cell, off their sites, some outside the cell, species interleaved."""
    random = np.random.default_rng(seed)
    cell = np.array([[5.7, 0.1, 0.0], [0.3, 5.5, 0.2], [0.0, -0.4, 5.9]])
    sites = np.array(
        [[0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0], [0.5, 0, 0.5], [0, 0, 0.5], [0, 0.5, 0.5], [0.5, 0.5, 0.5]]
    )
    images = random.integers(-2, 3, sites.shape)
    fractional = sites + 0.03 * random.standard_normal(sites.shape) + images
    return plain(["Na", "Cl"] * 4, fractional @ cell, cell)


def permuted(structure: dict[str, Any], order: list[int]) -> dict[str, Any]:
    """The same structure with atom k taken from atom `order[k]`."""
    return structure | {name: [structure[name][k] for k in order] for name in ("symbols", "positions")}


def rotation(seed: int = 0) -> FloatArray:
    """A proper rotation, to be applied to rows from the right."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    return q * np.sign(np.linalg.det(q))


def cif_bomb(n_sites: int = 200) -> str:
    """General positions in Fm-3m: a few kilobytes that stand for 192 atoms a line."""
    random = np.random.default_rng(0)
    lines = [f"C{k} C {x:.4f} {y:.4f} {z:.4f} 1.0" for k, (x, y, z) in enumerate(random.random((n_sites, 3)))]
    return NACL_CIF.replace("'P 1'", "'F m -3 m'").partition("Na1")[0].replace("5.64", "60.0") + "\n".join(lines) + "\n"


def pymatgen_record(**more: Any) -> dict[str, Any]:
    """NaCl as `Structure.as_dict()` gives it."""
    from pymatgen.core import Lattice, Structure

    structure = Structure(Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return json.loads(json.dumps(structure.as_dict())) | more


def optimade_entry(**more: Any) -> dict[str, Any]:
    """NaCl as an OPTIMADE provider answers it; `more` are attributes."""
    attributes = {
        "dimension_types": [1, 1, 1],
        "lattice_vectors": (5.64 * np.eye(3)).tolist(),
        "cartesian_site_positions": [[0, 0, 0], [2.82, 2.82, 2.82]],
        "species_at_sites": ["Na", "Cl"],
        "species": [{"name": name, "chemical_symbols": [name], "concentration": [1.0]} for name in ("Na", "Cl")],
    }
    return {"id": "1", "type": "structures", "attributes": attributes | more}


def decorated_record(**more: Any) -> dict[str, Any]:
    """NaCl with oxidation labels, as `Structure.as_dict()` gives it."""
    from pymatgen.core import Lattice, Structure

    structure = Structure(Lattice.cubic(5.64), ["Na+", "Cl-"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return json.loads(json.dumps(structure.as_dict())) | more


def molecule_record() -> dict[str, Any]:
    """Water as `Molecule.as_dict()` gives it."""
    from pymatgen.core import Molecule

    molecule = Molecule(["O", "H", "H"], [[0, 0, 0], [0.9572, 0, 0], [-0.24, 0.927, 0]])
    return json.loads(json.dumps(molecule.as_dict()))
