"""Densities: the class, its files, the shapes of its grids, and what can be learned from them."""

from rhocast.density.chgcar import read_chgcar, write_chg, write_chgcar
from rhocast.density.comparison import Comparison, compare, nmae
from rhocast.density.cube import read_cube, write_cube
from rhocast.density.expansion import DensityExpansion
from rhocast.density.files import shape_like
from rhocast.density.free_atoms import FreeAtoms
from rhocast.density.gaussian_products import GaussianProducts
from rhocast.density.gaussians import Gaussians
from rhocast.density.grids import shape_for_encut, shape_for_spacing, spacing_of
from rhocast.density.hirshfeld import HirshfeldCharges, hirshfeld_charges
from rhocast.density.npz import read_npz, write_npz
from rhocast.density.potential import Potential, VacuumLevel, electrostatic_potential, vacuum_level
from rhocast.density.profiles import LineProfile, PlanarProfile, line_profile, macroscopic_average, planar_average
from rhocast.density.promolecule import difference_to_promolecule, expected_error, promolecule
from rhocast.density.regridding import regridded
from rhocast.density.volumetric import Augmentation, Density
from rhocast.density.zarr_archive import read_zarr, write_zarr

__all__ = [
    "Augmentation",
    "Comparison",
    "Density",
    "DensityExpansion",
    "FreeAtoms",
    "GaussianProducts",
    "Gaussians",
    "HirshfeldCharges",
    "LineProfile",
    "PlanarProfile",
    "Potential",
    "VacuumLevel",
    "compare",
    "difference_to_promolecule",
    "electrostatic_potential",
    "expected_error",
    "hirshfeld_charges",
    "line_profile",
    "macroscopic_average",
    "nmae",
    "planar_average",
    "promolecule",
    "read_chgcar",
    "read_cube",
    "read_npz",
    "read_zarr",
    "regridded",
    "shape_for_encut",
    "shape_for_spacing",
    "shape_like",
    "spacing_of",
    "vacuum_level",
    "write_chg",
    "write_chgcar",
    "write_cube",
    "write_npz",
    "write_zarr",
]
