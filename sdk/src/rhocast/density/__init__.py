"""Densities: the class, its files and the shapes of its grids."""

from rhocast.density.chgcar import read_chgcar, write_chg, write_chgcar
from rhocast.density.cube import read_cube, write_cube
from rhocast.density.files import shape_like
from rhocast.density.grids import shape_for_encut, shape_for_spacing, spacing_of
from rhocast.density.npz import read_npz, write_npz
from rhocast.density.volumetric import Augmentation, Density

__all__ = [
    "Augmentation",
    "Density",
    "read_chgcar",
    "read_cube",
    "read_npz",
    "shape_for_encut",
    "shape_for_spacing",
    "shape_like",
    "spacing_of",
    "write_chg",
    "write_chgcar",
    "write_cube",
    "write_npz",
]
