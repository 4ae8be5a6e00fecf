"""What the vacuum around molecules changes."""

import numpy as np

from reference.physics.interpolation import difference, grid_points, interpolated
from reference.physics.laboratory import Laboratory
from reference.physics.report import Row
from reference.physics.structures import FLUOROMETHANOL, FORMAMIDE, WIDE, Molecule
from reference.structure import VACUUM

COULOMB = 14.399645
"""e²/4πε₀ in eV·Å."""


def vacuum_rows(laboratory: Laboratory) -> list[Row]:
    """Changes of density, energy and forces from the sets' vacuum to a wide one."""
    return [row for molecule in (FLUOROMETHANOL, FORMAMIDE) for row in _rows_of(laboratory, molecule)]


def _rows_of(laboratory: Laboratory, molecule: Molecule) -> list[Row]:
    near, far = molecule.boxed(), molecule.boxed(WIDE)
    narrow, wide = laboratory.labels(near), laboratory.labels(far)
    density = narrow.arrays["density"]
    points = grid_points(density.shape, near.cell, step=2)
    there = interpolated(wide.arrays["density"], far.cell, points + (far.positions - near.positions)[0])
    here = density[::2, ::2, ::2].ravel()
    by_density = difference(there, here)
    by_energy = 1000 * (wide.attributes["energy"] - narrow.attributes["energy"])
    by_force = 1000 * np.abs(wide.arrays["forces"] - narrow.arrays["forces"]).max()
    strongest = 1000 * np.abs(narrow.arrays["forces"]).max()
    dipole = np.linalg.norm(wide.arrays["molecular_dipole"])
    volumes = [abs(np.linalg.det(structure.cell)) for structure in (near, far)]
    # Energy of a lattice of dipoles in a conductor, −2πp²/3V for a cube.
    by_images = 1000 * 2 * np.pi / 3 * COULOMB * dipole**2 * (1 / volumes[0] - 1 / volumes[1])
    what = f"with {WIDE:g} Å of vacuum instead of {VACUUM:g} Å"
    return [
        Row(f"density {what}", molecule.name, by_density, "% NMAE", None, "inside the small box"),
        Row(
            f"energy {what}",
            molecule.name,
            by_energy,
            "meV",
            None,
            f"images of its dipole, {dipole:.2f} e·Å, account for {by_images:.0f}",
        ),
        Row(f"forces {what}", molecule.name, by_force, "meV/Å", None, f"largest component, of {strongest:.0f}"),
    ]
