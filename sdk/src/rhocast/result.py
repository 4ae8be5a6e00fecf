"""The answer to one request: its numbers, and the density as an object or a file."""

import errno
import io
import os
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import numpy as np

from rhocast.analysis_schemas import (
    AxisName,
    ChargesAnswer,
    ComparisonAnswer,
    FieldQuantity,
    GridQuantity,
    ProfileAnswer,
)
from rhocast.answer import Answer, FloatArray
from rhocast.density import Density, DensityExpansion
from rhocast.density.expansion_npz import read_expansion
from rhocast.density.files import FORMATS, format_of, names_coefficients
from rhocast.progress import spinner
from rhocast.schemas import (
    DENSITY_FORMATS,
    DensityFormat,
    DownloadFormat,
    Prediction,
)
from rhocast.schemas import Job as JobState
from rhocast.session import Downloads
from rhocast.transport import Reply
from rhocast.wire import analysis, answer_of, density_download

Learned = TypeVar("Learned", ChargesAnswer, ComparisonAnswer, ProfileAnswer)

_IN_MEMORY = 64_000_000  # bytes of a download above which it goes through the disk


class Result(Answer):
    """What was predicted. Arrays are in the order of the atoms sent.

    Args:
        session: Where files are downloaded from.
        state: A job that has succeeded.
        prediction: Its answer.
    """

    def __init__(self, session: Downloads, state: JobState, prediction: Prediction) -> None:
        super().__init__(state, prediction)
        self._session = session
        self._densities: dict[tuple[DensityFormat, GridQuantity], Density] = {}
        self._expansion: DensityExpansion | None = None

    def density(self, format: DensityFormat = "npz", quantity: GridQuantity = "density") -> Density:
        """The density in e/Å³, or what the service derives of it, downloaded when first asked for.

        Args:
            format: Format of the transfer. A text format has fewer digits and takes longer.
            quantity: The density; its difference to the promolecule; or error, the expected magnitude σ(r) of its
                error, which integrates to the sum of those of the atoms.

        Raises:
            ArtifactNotFound: If the job did not want it, or its model expects no error of each atom.
            DamagedDownload: If the bytes do not match their hash.
            RhocastError: What the server answers instead.
        """
        wanted = (format, quantity)
        if wanted not in self._densities:
            with self._downloaded(format, quantity) as stream:
                self._densities[wanted] = FORMATS[format].read(stream)
        return self._densities[wanted]

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

    def charges(self) -> FloatArray:
        """Hirshfeld charges of the atoms in e, positive where they have lost electrons, [n_atoms].

        The service computes them; nothing large is downloaded.

        Raises:
            ArtifactNotFound: If the job did not want a density, or its model keeps no free atoms.
            RhocastError: What the server answers instead.
        """
        return np.array(self._learned(ChargesAnswer, "charges").charges)

    def profile(
        self, axis: AxisName = "c", quantity: FieldQuantity = "density", windows: Sequence[float] = ()
    ) -> ProfileAnswer:
        """Averages over the lattice planes of two cell vectors; of a potential also the vacuum level.

        The service computes them; nothing large is downloaded.

        Args:
            axis: The cell vector that the planes do not contain.
            quantity: What is averaged.
            windows: Widths in Å of sliding averages, taken one after the other.

        Raises:
            ArtifactNotFound: If the job did not want a density, or has not what is averaged.
            RhocastError: What the server answers instead.
        """
        query = [("axis", axis), ("quantity", quantity), *(("window", window) for window in windows)]
        return self._learned(ProfileAnswer, "profile", query)

    def comparison(self, reference: str) -> ComparisonAnswer:
        """How the density differs from that of another job in the same cell; nothing large is downloaded.

        Args:
            reference: Id of the other job.

        Raises:
            ArtifactNotFound: If the job did not want a density.
            RhocastError: What the server answers instead.
        """
        return self._learned(ComparisonAnswer, "comparison", [("with", reference)])

    def download(
        self,
        path: str | os.PathLike[str],
        format: DownloadFormat | None = None,
        quantity: GridQuantity = "density",
    ) -> Path:
        """The path of the server's density file, after it has been written there whole.

        Args:
            path: Where to; a file that is there is replaced at the end.
            format: Its format; the file's name says it if None.
            quantity: What it holds, as in `density`.

        Raises:
            ArtifactNotFound: If the job did not want a density, or its model expects no error of each atom.
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
                self._session.download(density_download(self.job_id, chosen, quantity), stream)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return Path(path)

    def _learned(self, answer: type[Learned], name: str, query: Sequence[tuple[str, object]] = ()) -> Learned:
        """What the service answers to a question about the density."""
        self._require_density()
        with spinner(f"waiting for the {name} of {self.formula}", self._session.progress), io.BytesIO() as stream:
            self._session.download(analysis(self.job_id, name, query), stream)
            return answer_of(Reply(200, {}, stream.getvalue()), answer, "the service")

    @contextmanager
    def _downloaded(self, format: DownloadFormat, quantity: GridQuantity = "density") -> Generator[BinaryIO]:
        """The server's file at its beginning; a large one is on the disk."""
        self._require_density()
        with (
            spinner(f"downloading the density of {self.formula}", self._session.progress),
            tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file,
        ):
            stream = cast(BinaryIO, file)
            self._session.download(density_download(self.job_id, format, quantity), stream)
            stream.seek(0)
            yield stream


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
