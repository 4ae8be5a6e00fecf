"""Shards: HDF5 files of any number of records. Any number of shards is a set, in any order, merged or not.

Records lie one after the other in one dataset per field, for a dataset of its own for each record's few numbers would
cost more than what it holds. Fields whose first axis has a length of its own in each record are divided by the rows of
`offsets/LETTER`; fields of a fixed shape and attributes have one row per record.
"""

import errno
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from reference.errors import DamagedShard, DiskFull
from reference.record import ATTRIBUTES, FIELDS, Array, Record

SUFFIX = ".h5"
UNFINISHED = ".part"
"""Ending of a shard that is being written. Renamed when it is whole, so a shard without it always is."""

File = Any
"""An open HDF5 file: h5py's own types do not tell a group from an array."""

FORMAT = "rhocast-reference-2"
DENSITY = (
    "PBE/PAW valence density: smooth pseudo density without the partial core, plus compensation charges drawn as "
    "Gaussians exp(−(r/w)²), charge and multipoles exact to l = 2; grid point (i, j, k) at i/n0·a + j/n1·b + k/n2·c"
)

STEPPED = "point_indices"
"""The only field that is stored as differences, each from the one before: they take half the room."""

COMPRESSION: dict[str, Any] = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
LARGEST_CHUNK = 2**16
"""Rows: what has to be read for one record out of many."""


def write_shard(path: Path, records: Iterable[Record]) -> None:
    """A new file with the records, whole or not at all.

    Args:
        path: Where it will be.
        records: What it holds; all of it is in memory at once.

    Raises:
        DiskFull: If it does not fit; nothing is left of it.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        with h5py.File(unfinished, "w", libver="latest") as file:
            file.attrs.update({"format": FORMAT, "density": DENSITY, "licence": "CC-BY-4.0"})
            _write_records(file, list(records))
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC or "No space left" in str(error):
            raise DiskFull(f"found no room for {path.name}; free some disk and start again") from error
        raise


def _write_records(file: File, records: Sequence[Record]) -> None:
    names = np.array([record.name.encode() for record in records], dtype="S")
    _write(file, "name", names, "")
    for name, (kind, unit, _) in ATTRIBUTES.items():
        values = [kind(record.attributes[name]) for record in records]
        column = np.array([text.encode() for text in values], dtype="S") if kind is str else np.array(values, kind)
        _write(file, name, column, unit)
    for name, field in FIELDS.items():
        arrays = [_stored(record, name) for record in records]
        is_ragged = isinstance(field.shape[0], str)
        together = (np.concatenate if is_ragged else np.stack)(arrays) if arrays else np.empty(0, field.dtype)
        _write(file, name, together, field.unit)
    for letter in _LETTERS:
        _write(file, f"offsets/{letter}", np.cumsum([0, *(_length(record, letter) for record in records)]), "")


_LETTERS: dict[str, str] = {
    str(field.shape[0]): name
    for name, field in reversed(FIELDS.items())
    if isinstance(field.shape[0], str) and field.is_required
} | {"q": STEPPED}
"""A field for each length that differs between records; q counts the indices, of which a whole grid has none."""


def _length(record: Record, letter: str) -> int:
    return len(record.arrays.get(_LETTERS[letter], ()))


def _stored(record: Record, name: str) -> Array:
    """What a record adds to the field's dataset: where it has none, nothing or NaN."""
    field = FIELDS[name]
    if name == STEPPED:
        return np.diff(record.arrays.get(name, np.empty(0, np.int64)), prepend=0).astype(np.int32)
    if name not in record.arrays:
        return np.full([n for n in field.shape if isinstance(n, int)], np.nan, field.dtype)
    return np.asarray(record.arrays[name]).astype(field.dtype)


def _write(file: File, name: str, array: Array, unit: str) -> None:
    options: dict[str, Any] = {}
    if array.nbytes > 4096:
        # Smaller ones do not pay for their chunk's index.
        options = COMPRESSION | {"chunks": (min(len(array), LARGEST_CHUNK), *array.shape[1:])}
    dataset = file.create_dataset(name, data=array, **options)
    if unit:
        dataset.attrs["unit"] = unit


@contextmanager
def open_shard(path: Path) -> Iterator[File]:
    """The open file.

    Raises:
        DamagedShard: If it was cut short, or is not HDF5.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError) as error:
        raise DamagedShard(f"found {path.name} half-written or damaged ({error})") from error


def read_records(path: Path, names: Collection[str] | None = None) -> Iterator[Record]:
    """Records of a shard, one in memory at a time.

    Args:
        path: The shard.
        names: Names of those to read, which may name others too; all if None. Arrays of the others stay on disk.

    Raises:
        DamagedShard: If it was cut short, is not HDF5, or has another format.
    """
    with open_shard(path) as file:
        offsets = _offsets(path, file)
        for row, (name, attributes) in enumerate(_attributes(file)):
            if names is None or name in names:
                yield Record(name, dict(_arrays(file, offsets, row)), attributes)


def _offsets(path: Path, file: File) -> dict[str, Array]:
    if file.attrs.get("format") != FORMAT:
        raise DamagedShard(f"found {path.name} of format {file.attrs.get('format')!r}; expected {FORMAT!r}")
    return {letter: file[f"offsets/{letter}"][:] for letter in _LETTERS}


def _arrays(file: File, offsets: dict[str, Array], row: int) -> Iterator[tuple[str, Array]]:
    is_periodic = bool(file["pbc"][row].all())
    for name, field in FIELDS.items():
        if not isinstance(field.shape[0], str):
            if name != "stress" or is_periodic:
                yield name, file[name][row]
            continue
        first, last = offsets["q" if name == STEPPED else field.shape[0]][row : row + 2]
        if name != STEPPED:
            yield name, file[name][first:last]
        elif first < last:
            yield name, np.cumsum(file[name][first:last], dtype=np.int64)


def _attributes(file: File) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and attributes of each record, as Python's own types."""
    columns = {name: file[name][:] for name in ATTRIBUTES}
    for row, name in enumerate(file["name"][:]):
        yield name.decode(), {key: _own(kind, columns[key][row]) for key, (kind, _, _) in ATTRIBUTES.items()}


def _own(kind: type, value: Any) -> Any:
    return value.decode() if kind is str else kind(value)


def read_listing(path: Path) -> dict[str, dict[str, Any]]:
    """Attributes of every record of a shard by name, with `numbers`, `n_points` and `n_grid_points`; densities stay on
    disk.

    Raises:
        DamagedShard: If it was cut short, is not HDF5, or has another format.
    """
    with open_shard(path) as file:
        offsets, numbers = _offsets(path, file), file["numbers"][:].tolist()
        n_points, n_grid_points = np.diff(offsets["p"]).tolist(), file["grid_shape"][:].prod(axis=1).tolist()
        return {
            name: attributes
            | {
                "numbers": numbers[offsets["n"][row] : offsets["n"][row + 1]],
                "n_points": n_points[row],
                "n_grid_points": n_grid_points[row],
            }
            for row, (name, attributes) in enumerate(_attributes(file))
        }


def shards(folder: Path) -> list[Path]:
    """Whole shards of a folder, sorted by name."""
    return sorted(folder.glob(f"*{SUFFIX}"))
