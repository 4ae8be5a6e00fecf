"""A run of `rhocast batch`: sends what is open, waits, collects, and may be stopped anywhere."""

import csv
import io
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rhocast.batch import Batch, batch_line
from rhocast.batch_folder import BatchFolder, Chunk, Source, write_whole
from rhocast.batch_schemas import BatchLine, BatchStatus, ItemStatus
from rhocast.client import Client
from rhocast.errors import BatchNotFound, ConnectionFailed, RhocastError
from rhocast.schemas import DownloadFormat, Job, Problem

_CHUNK_FILES = 500
_CHUNK_BYTES = 20_000_000
_NOT_FOR_GOOD = (ItemStatus.CANCELLED, ItemStatus.EXPIRED)
"""Ends after which a file is sent again by the next run."""

COLUMNS: tuple[str, ...] = (
    "file", "status", "formula", "n_atoms", "energy_eV", "energy_per_atom_eV", "max_force_eV_per_A", "n_electrons",
    "models", "compute_seconds", "was_cached", "warnings", "error",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What has become of the files.

    Attributes:
        n_files: Number of files.
        n_succeeded: Those with a result.
        n_collected: Those whose result came in this run.
        n_cached: Those whose result the service knew before.
        errors: Why files have none, by their name.
        missing: Names of those without either: cancelled or no longer kept; another run sends them again.
        compute_seconds: Time in s that the models took for all of them.
    """

    n_files: int
    n_succeeded: int
    n_collected: int
    n_cached: int
    errors: Mapping[str, Problem]
    missing: Sequence[str]
    compute_seconds: float


class BatchRun:
    """Files on their way through the service into a folder.

    Args:
        client: Client of the service; a patient one outlives a restart of it.
        folder: Where results go.
        fields: What `inputs.chosen_fields` gave.
        density_format: Format in which densities are downloaded, if they are.
        report: Told how many files have ended so far, and what the service warns of.
    """

    def __init__(
        self,
        client: Client,
        folder: BatchFolder,
        fields: Mapping[str, Any],
        density_format: DownloadFormat | None,
        report: Callable[[int, Sequence[str]], None],
    ) -> None:
        self._client = client
        self._folder = folder
        self._fields = fields
        self._density_format: DownloadFormat | None = density_format
        self._report = report
        self._n_collected = 0

    def run(self, sources: Sequence[Source]) -> Outcome:
        """What has become of some files, once all have ended.

        Args:
            sources: The files.

        Raises:
            RhocastError: What keeps the batch from going on; another run resumes it.
        """
        folder = self._folder
        paths = {source.name: source for source in sources}
        planned = set[str]()
        while True:
            new = [one for one in folder.open_files(sources) if one.name not in planned]
            planned |= {one.name for one in new}
            self._plan(new)
            if not folder.chunks:
                break
            for chunk in folder.chunks:
                self._send(chunk, paths)
            for chunk in list(folder.chunks):
                self._collect(chunk)
                folder.chunks.remove(chunk)
                folder.save()
        return self._outcome(sources)

    def _plan(self, new: Sequence[Source]) -> None:
        """Divides files into chunks, and notes them before anything is sent."""
        chunk: Chunk | None = None
        size = 0
        for source in new:
            length = source.path.stat().st_size
            if chunk is None or len(chunk.digests) >= _CHUNK_FILES or size + length > _CHUNK_BYTES:
                chunk, size = Chunk(str(uuid.uuid4()), {}), 0
                self._folder.chunks.append(chunk)
            size += length
            chunk.digests[source.name] = source.digest
            self._folder.digests[source.name] = source.digest
        self._folder.save()

    def _send(self, chunk: Chunk, sources: Mapping[str, Source]) -> None:
        """Sends a chunk that was not sent; files that cannot be read get their error here."""
        if chunk.batch:
            return
        digests = {name: sources[name].digest for name in chunk.digests if name in sources}
        kept = {name: digest for name, digest in digests.items() if digest == chunk.digests[name]}
        if kept != chunk.digests:  # a key stands for the same files
            chunk.key, chunk.digests = str(uuid.uuid4()), kept
            self._folder.save()
        lines: list[bytes] = []
        for name in chunk.digests:
            try:
                lines.append(batch_line(name, sources[name].path, self._fields))
            except RhocastError as error:
                self._folder.errors[name] = _problem(error)
        if lines:
            chunk.batch = self._client.submit_lines(lines, chunk.key).id
        self._folder.save()

    def _collect(self, chunk: Chunk) -> None:
        """Waits for a chunk and saves what is not there yet."""
        if not chunk.batch:
            return
        n_before = self._n_done()
        in_chunk = sum(map(self._folder.is_done, chunk.digests))
        try:
            batch = self._client.batch(chunk.batch)
            for counts in batch.looks():
                self._report(n_before - in_chunk + max(in_chunk, counts.ended), batch.state.warnings)
        except BatchNotFound:
            return  # it is no longer kept: its files are open again
        if batch.status is BatchStatus.FAILED:
            self._folder.chunks.remove(chunk)  # the next run sends its files again
            self._folder.save()
            batch.wait()  # raises why
        self._save_lines(batch, chunk)
        self._report(self._n_done(), batch.state.warnings)

    def _save_lines(self, batch: Batch, chunk: Chunk) -> None:
        """Saves the lines of a batch from the first one on that is not there."""
        folder = self._folder
        if all(map(folder.is_done, chunk.digests)):
            return
        of_today = {name for name, digest in chunk.digests.items() if folder.digests.get(name) == digest}
        for line in batch.lines(self._first_open(batch, chunk)):
            name = line.custom_id
            if name is not None and name in of_today and not folder.is_done(name):
                self._save_line(batch, name, line)

    def _first_open(self, batch: Batch, chunk: Chunk) -> int:
        """Place of the first item that is not saved; 0 where items were left out when the chunk was sent."""
        names = list(chunk.digests)
        if batch.counts.total != len(names):
            return 0
        return next(index for index, name in enumerate(names) if not self._folder.is_done(name))

    def _save_line(self, batch: Batch, name: str, line: BatchLine) -> None:
        if line.status in _NOT_FOR_GOOD:
            return
        found = batch.result_of(line)
        try:
            if isinstance(found, RhocastError):
                raise found
            if self._density_format is not None:
                path = self._folder.density_path(name, self._density_format)
                path.parent.mkdir(parents=True, exist_ok=True)
                found.download(path, self._density_format)
        except ConnectionFailed:
            raise
        except RhocastError as error:
            self._folder.errors[name] = line.error or _problem(error)
            return
        write_whole(self._folder.answer_path(name), found.to_json())
        self._n_collected += 1

    def _n_done(self) -> int:
        return sum(map(self._folder.is_done, self._folder.digests))

    def _outcome(self, sources: Sequence[Source]) -> Outcome:
        """What the folder says of the files; the summary is written on the way."""
        folder = self._folder
        n_succeeded = n_cached = 0
        seconds, missing = 0.0, list[str]()
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, restval="")
        table.writeheader()
        for source in sources:
            if source.name in folder.errors:
                table.writerow(_row_of_error(source.name, folder.errors[source.name]))
            elif not folder.answer_path(source.name).exists():
                missing.append(source.name)
                table.writerow({"file": source.name, "status": "missing"})
            else:
                job = Job.model_validate_json(folder.answer_path(source.name).read_bytes(), extra="ignore")
                table.writerow(_row_of_job(source.name, job))
                n_succeeded, n_cached = n_succeeded + 1, n_cached + job.was_cached
                seconds += job.compute_seconds or 0.0
        write_whole(folder.path / "summary.csv", text.getvalue())
        errors = {source.name: folder.errors[source.name] for source in sources if source.name in folder.errors}
        return Outcome(len(sources), n_succeeded, self._n_collected, n_cached, errors, missing, seconds)


def _row_of_error(name: str, error: Problem) -> dict[str, Any]:
    return {"file": name, "status": "failed", "error": f"{error.code}: {error.detail}"}


def _row_of_job(name: str, job: Job) -> dict[str, Any]:
    row: dict[str, Any] = {
        "file": name,
        "status": job.status,
        "formula": job.formula,
        "n_atoms": job.n_atoms,
        "models": " ".join(dict.fromkeys(job.models.values())),
        "compute_seconds": job.compute_seconds,
        "was_cached": job.was_cached,
        "warnings": "; ".join(job.warnings),
    }
    density = job.result.density if job.result is not None else None
    potential = job.result.potential if job.result is not None else None
    if density is not None:
        row["n_electrons"] = density.n_electrons
    if potential is not None:
        row |= {"energy_eV": potential.energy, "energy_per_atom_eV": potential.energy_per_atom}
        if potential.forces is not None:
            row["max_force_eV_per_A"] = float(np.linalg.norm(np.array(potential.forces), axis=1).max())
    return row


def _problem(error: RhocastError) -> Problem:
    return Problem(title=type(error).__name__, status=error.status, code=type(error).__name__, detail=error.detail)
