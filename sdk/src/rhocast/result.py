"""The answer to one request: numbers as numpy arrays, the density as an object or a file."""

import errno
import html
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from rhocast.density import Density, DensityExpansion
from rhocast.density.expansion_npz import read_expansion
from rhocast.density.files import FORMATS, format_of, names_coefficients
from rhocast.errors import ArtifactNotFound
from rhocast.model_info import Property
from rhocast.progress import spinner
from rhocast.schemas import (
    DENSITY_FORMATS,
    DensityAnswer,
    DensityFormat,
    DownloadFormat,
    PotentialAnswer,
    Prediction,
    Provenance,
    Uncertainty,
)
from rhocast.schemas import Job as JobState
from rhocast.session import Session
from rhocast.structure import Structure
from rhocast.wire import density_download

FloatArray = NDArray[np.float64]

_IN_MEMORY = 64_000_000  # bytes of a download above which it goes through the disk
_FROM_THE_ENERGY = (Property.ENERGY, Property.FORCES, Property.STRESS, Property.MAGMOMS)


class Result:
    """What was predicted. Arrays are in the order of the atoms sent.

    Args:
        session: Where files are downloaded from.
        state: A job that has succeeded.
        prediction: Its answer.
    """

    def __init__(self, session: Session, state: JobState, prediction: Prediction) -> None:
        self._session = session
        self._state = state
        self.prediction = prediction
        self._densities: dict[DensityFormat, Density] = {}
        self._expansion: DensityExpansion | None = None

    @property
    def job_id(self) -> str:
        return self._state.id

    @property
    def formula(self) -> str:
        return self._state.formula

    @property
    def structure(self) -> Structure:
        """The structure that was answered for; a molecule stands in the box of its grid."""
        found = self.prediction.structure
        return Structure.from_symbols(found.symbols, found.positions, found.cell, found.is_periodic)

    @property
    def energy(self) -> float:
        """Total energy of the cell in eV; its zero is in `provenance`."""
        return self._of_potential(Property.ENERGY, "energy")

    @property
    def energy_per_atom(self) -> float:
        """Energy divided by the number of atoms, in eV."""
        return self._of_potential(Property.ENERGY, "energy_per_atom")

    @property
    def forces(self) -> FloatArray:
        """Forces in eV/Å, [n_atoms, 3]."""
        return np.array(self._of_potential(Property.FORCES, "forces"), dtype=np.float64).reshape(-1, 3)

    @property
    def stress(self) -> FloatArray:
        """Stress in eV/Å³, tension positive, [3, 3]."""
        return np.array(self._of_potential(Property.STRESS, "stress"), dtype=np.float64)

    @property
    def magmoms(self) -> FloatArray:
        """Magnetic moments in Bohr magnetons, [n_atoms]."""
        return np.array(self._of_potential(Property.MAGMOMS, "magmoms"), dtype=np.float64)

    @property
    def warnings(self) -> list[str]:
        """What a user should know before trusting this."""
        return list(self._state.warnings)

    @property
    def compute_seconds(self) -> float | None:
        """Time in s that the models took."""
        return self._state.compute_seconds

    @property
    def provenance(self) -> dict[Property, Provenance]:
        """Where each property that was wanted comes from."""
        return {wanted: part.provenance for wanted, part in self._parts().items()}

    @property
    def uncertainty(self) -> dict[Property, Uncertainty]:
        """How far to trust each property that was wanted."""
        return {wanted: part.uncertainty for wanted, part in self._parts().items()}

    def density(self, format: DensityFormat = "npz") -> Density:
        """The density in e/Å³, downloaded when first asked for.

        Args:
            format: Format of the transfer. A text format has fewer digits and takes longer.

        Raises:
            ArtifactNotFound: If the job did not want it.
            DamagedDownload: If the bytes do not match their hash.
            RhocastError: What the server answers instead.
        """
        if format not in self._densities:
            with self._downloaded(format) as stream:
                self._densities[format] = FORMATS[format].read(stream)
        return self._densities[format]

    def expansion(self) -> DensityExpansion:
        """The density as coefficients, downloaded when first asked for: it knows values anywhere, and moments.

        Its values are the model's own; those on the service's grid are scaled to the number of electrons and rounded.

        Raises:
            ArtifactNotFound: If the job did not want a density, or its model has no coefficients.
            DamagedDownload: If the bytes do not match their hash.
            RhocastError: What the server answers instead.
        """
        if self._expansion is None:
            with self._downloaded("coefficients") as stream:
                self._expansion = read_expansion(stream)
        return self._expansion

    def download(self, path: str | os.PathLike[str], format: DownloadFormat | None = None) -> Path:
        """The path of the server's density file, after it has been written there whole.

        Args:
            path: Where to; a file that is there is replaced at the end.
            format: Its format; the file's name says it if None.

        Raises:
            ArtifactNotFound: If the job did not want a density.
            UnsupportedFormat: If neither the name nor `format` says a format.
            DamagedDownload: If the bytes do not match their hash.
            RhocastError: What the server answers instead.
            OSError: If the file cannot be written.
        """
        self._require_density()
        chosen = format_name(Path(path), format)
        target = Path(path).resolve()  # a link stays a link to the new file
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder; add a file name", str(path))
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            with spinner(f"downloading {target.name}", self._session.progress), partial.open("w+b") as stream:
                self._session.download(density_download(self.job_id, chosen), stream)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return Path(path)

    @contextmanager
    def _downloaded(self, format: DownloadFormat) -> Generator[BinaryIO]:
        """The server's file at its beginning; a large one is on the disk."""
        self._require_density()
        with (
            spinner(f"downloading the density of {self.formula}", self._session.progress),
            tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file,
        ):
            stream = cast(BinaryIO, file)
            self._session.download(density_download(self.job_id, format), stream)
            stream.seek(0)
            yield stream

    def __repr__(self) -> str:
        wanted = ", ".join(self._state.want)
        return f"<Result of job {self.job_id}: {wanted} of {self.formula}>"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in self.summary().items()
        )
        return f"<table>{rows}</table>"

    def summary(self) -> dict[str, str]:
        """The answer in a few lines: what each is called, and its value with its unit."""
        rows = {"formula": self.formula, "atoms": str(self._state.n_atoms)}
        rows["model"] = ", ".join(dict.fromkeys(self._state.models.values()))
        if density := self.prediction.density:
            valence = density.provenance.valence_electrons or {}
            each = ", ".join(f"{symbol} {count:g}" for symbol, count in valence.items())
            rows["valence electrons"] = f"{density.n_electrons:g} e" + (f" ({each})" if each else "")
            rows["∫ρ of the file"] = f"{density.integral:.8f} e"
            shape, spacing = " × ".join(map(str, density.shape)), max(density.spacing)
            rows["grid"] = f"{shape}, at most {spacing:.3f} Å apart"
        if potential := self.prediction.potential:
            rows["energy"] = f"{potential.energy:.6f} eV ({potential.energy_per_atom:.6f} eV an atom)"
            if potential.forces is not None:
                rows["max |F|"] = f"{np.linalg.norm(self.forces, axis=1).max():.6f} eV/Å"
        cached = " (known before)" if self._state.was_cached else ""
        rows["seconds"] = f"{self.compute_seconds or 0.0:.2f}{cached}"
        if self.warnings:
            rows["warnings"] = "; ".join(self.warnings)
        return rows

    def to_json(self) -> str:
        """The job and its answer as the service sent them."""
        return self._state.model_dump_json(indent=2)

    def _parts(self) -> dict[Property, DensityAnswer | PotentialAnswer]:
        answers = dict.fromkeys(_FROM_THE_ENERGY, self.prediction.potential)
        parts = {Property.DENSITY: self.prediction.density, **answers}
        return {wanted: part for wanted in self._state.want if (part := parts[wanted]) is not None}

    def _of_potential(self, wanted: Property, name: str) -> Any:
        value = getattr(self.prediction.potential, name, None)
        if value is None:
            raise self._not_wanted(wanted)
        return value

    def _require_density(self) -> None:
        if self.prediction.density is None:
            raise self._not_wanted(Property.DENSITY)

    def _not_wanted(self, missing: Property) -> ArtifactNotFound:
        return ArtifactNotFound(
            f"found that this job did not want {missing}; it wanted {', '.join(self._state.want)}; "
            f"submit with want=['{missing}']"
        )


def format_name(path: Path, format: str | None = None) -> DownloadFormat:
    """Name of the format of a file that the service gives.

    Args:
        path: The file.
        format: Its format where the file's name does not say it.

    Raises:
        UnsupportedFormat: If neither says one.
    """
    if names_coefficients(path, format):
        return "coefficients"
    found = format_of(path, format)
    return next(name for name in DENSITY_FORMATS if FORMATS[name] is found)
