"""Shards: HDF5 files with one group per record. Any number of shards is a set, in any order, merged or not."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from reference.errors import DamagedShard, DiskFull
from reference.record import ATTRIBUTES, FIELDS, Record

SUFFIX = ".h5"
UNFINISHED = ".part"
"""Ending of a shard that is being written. Renamed when it is whole, so a shard without it always is."""

Group = Any
"""An open HDF5 group: h5py's own types do not tell a group from an array."""

FORMAT = "rhocast-reference-1"
DENSITY = (
    "PBE/PAW valence density: smooth pseudo density without the partial core, plus compensation charges drawn as "
    "Gaussians exp(−(r/w)²), charge and multipoles exact to l = 2; grid point (i, j, k) at i/n0·a + j/n1·b + k/n2·c"
)
CHUNK = 24
"""Points of a chunk of the density along each axis: about 50 kB."""


def write_shard(path: Path, records: Iterable[Record]) -> None:
    """A new file with the records, whole or not at all.

    Args:
        path: Where it will be.
        records: What it holds.

    Raises:
        DiskFull: If it does not fit; nothing is left of it.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        with h5py.File(unfinished, "w") as file:
            file.attrs.update({"format": FORMAT, "density": DENSITY, "licence": "CC-BY-4.0"})
            for record in records:
                _write_record(file, record)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC or "No space left" in str(error):
            raise DiskFull(f"found no room for {path.name}; free some disk and start again") from error
        raise


def _write_record(file: Group, record: Record) -> None:
    group = file.create_group(record.name)
    for name, field in FIELDS.items():
        if name not in record.arrays:
            continue
        array = np.asarray(record.arrays[name]).astype(field.dtype)
        options: dict[str, Any] = {}
        if name == "density":
            chunks = tuple(min(CHUNK, n) for n in array.shape)
            options = {"chunks": chunks, "compression": "gzip", "compression_opts": 6, "shuffle": True}
        group.create_dataset(name, data=array, **options).attrs["unit"] = field.unit
    for name, (kind, _, _) in ATTRIBUTES.items():
        group.attrs[name] = kind(record.attributes[name])


@contextmanager
def open_shard(path: Path) -> Iterator[Group]:
    """The open file.

    Raises:
        DamagedShard: If it was cut short, or is not HDF5.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError) as error:
        raise DamagedShard(f"found {path.name} half-written or damaged ({error})") from error


def read_record(group: Group) -> Record:
    """A record in memory."""
    arrays = {name: np.asarray(group[name]) for name in FIELDS if name in group}
    return Record(str(group.name).strip("/"), arrays, read_attributes(group))


def read_attributes(group: Group) -> dict[str, Any]:
    """Attributes of a record as Python's own types."""
    return {name: kind(group.attrs[name]) for name, (kind, _, _) in ATTRIBUTES.items() if name in group.attrs}


def read_records(path: Path) -> Iterator[Record]:
    """All records of a shard, one in memory at a time.

    Raises:
        DamagedShard: If it was cut short, or is not HDF5.
    """
    with open_shard(path) as file:
        for name in file:
            yield read_record(file[name])


def read_listing(path: Path) -> dict[str, dict[str, Any]]:
    """Attributes of every record of a shard by name; densities stay on disk.

    Raises:
        DamagedShard: If it was cut short, or is not HDF5.
    """
    with open_shard(path) as file:
        return {name: read_attributes(file[name]) | {"numbers": file[name]["numbers"][:].tolist()} for name in file}


def shards(folder: Path) -> list[Path]:
    """Whole shards of a folder, sorted by name."""
    return sorted(folder.glob(f"*{SUFFIX}"))
