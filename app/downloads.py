"""Density and potential files: which there are, and how each is written from what a worker stored."""

from pathlib import Path

from app.kept_files import Recipe
from app.stored_density import StoredDensity
from jobs.grids import grid_on_disk
from rhocast.analysis_schemas import GridQuantity, PotentialFormat
from rhocast.density import Density
from rhocast.density.files import ENDINGS, write_whole
from rhocast.density.potential_files import write_locpot, write_potential_cube
from rhocast.density.zarr_archive import FULL_MANTISSA, write_zarr
from rhocast.errors import InvalidField
from rhocast.schemas import DENSITY_FORMATS, DownloadFormat

POTENTIAL_FILE_NAMES: dict[PotentialFormat, str] = {"locpot": "LOCPOT", "cube": "potential.cube"}
_POTENTIAL_WRITERS = {"locpot": write_locpot, "cube": write_potential_cube}
_TEXT = "text/plain; charset=utf-8"
_BINARY = "application/octet-stream"
MEDIA_TYPES: dict[DownloadFormat | PotentialFormat, str] = {
    "chgcar": _TEXT,
    "chg": _TEXT,
    "cube": _TEXT,
    "locpot": _TEXT,
    "npz": _BINARY,
    "zarr": _BINARY,
    "coefficients": _BINARY,
}


def file_name(format: DownloadFormat, quantity: GridQuantity = "density") -> str:
    """Name of a density file that says its format to every program that reads it."""
    if format in ENDINGS:
        return quantity + ENDINGS[format]
    return format.upper() + ("" if quantity == "density" else f"_{quantity}")


def density_recipe(stored: StoredDensity, format: DownloadFormat, quantity: GridQuantity = "density") -> Recipe:
    """How a density file is made.

    Args:
        stored: The density.
        format: Format of the file.
        quantity: What it holds.

    Raises:
        ArtifactNotFound: If the job lacks what it is made of.
        InvalidField: If coefficients are wanted of something else than the density.
    """
    if format != "coefficients":
        sources, write = stored.sources(quantity), write_grid_file
    elif quantity == "density":
        sources, write = (stored.kept_coefficients("they are what is asked for"),), write_coefficients
    else:
        raise InvalidField(
            f"found quantity={quantity} with format=coefficients; expected coefficients of the density itself, in "
            f"which free atoms and what the model adds stand apart; take a grid ({', '.join(DENSITY_FORMATS)})"
        )
    key = stored.key(f"{quantity} {format}", quantity)
    return Recipe(stored.job_id, key, format, sources, write, (stored, format, quantity))


def potential_recipe(stored: StoredDensity, format: PotentialFormat) -> Recipe:
    """How a file of the electrostatic potential is made.

    Args:
        stored: The density.
        format: Format of the file.

    Raises:
        TooLarge: If it takes too much memory.
    """
    stored.refuse_large_potential()
    key, sources = stored.key(f"potential {format}", "potential"), stored.sources("potential")
    return Recipe(stored.job_id, key, f"potential.{format}", sources, write_potential_file, (stored, format))


def write_coefficients(path: Path, stored: StoredDensity, *_: str) -> None:
    """Writes the density as coefficients.

    Args:
        path: Where to.
        stored: The density.
    """
    stored.expansion().write(path)


def write_grid_file(path: Path, stored: StoredDensity, format: str, quantity: GridQuantity) -> None:
    """Writes the density on its grid, or what is derived of it.

    Args:
        path: Where to; the folder also holds the grid meanwhile.
        stored: The density.
        format: Format of the file.
        quantity: What it holds.
    """
    if quantity == "density":
        with grid_on_disk(stored.grid, path.parent) as values:
            density = Density(stored.structure, values, comment=stored.comment("npz"))
            _write(density, path, format, stored.answer.mantissa_bits, stored.answer.scale_factor)
    else:
        _write(stored.on_grid(quantity), path, format, FULL_MANTISSA, 1.0)


def _write(density: Density, path: Path, format: str, mantissa_bits: int, scale: float) -> None:
    if format == "zarr":  # float32, which needs no more bits than the stored values have
        write_whole(path, "density", lambda stream: write_zarr(density, stream, mantissa_bits, scale))
    else:
        density.write(path, format=format)


def write_potential_file(path: Path, stored: StoredDensity, format: PotentialFormat) -> None:
    """Writes the electrostatic potential.

    Args:
        path: Where to.
        stored: The density that it is of.
        format: Format of the file.
    """
    potential = stored.potential()
    write_whole(path, "potential", lambda stream: _POTENTIAL_WRITERS[format](potential, stream))
