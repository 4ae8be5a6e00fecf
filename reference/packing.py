"""Shipped data: a set's records made compact, in `data/SET/`, with a manifest of everything that is there.

What was shipped once stays as it is: new records make a new shard, and only points to learn from may become fewer.
Records to learn from keep `TRAINING_POINTS`; held-out ones keep more, for the error is measured on them, and a few of
them the whole grid.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference.checks import SPLITS
from reference.errors import UnknownSet
from reference.folder import SetFolder
from reference.inventory import Summary
from reference.record import Record
from reference.sampling import compact, thinned
from reference.settings import SET_SETTINGS, set_settings
from reference.shards import DENSITY, FORMAT, SUFFIX, read_listing, read_records, shards, write_shard

TRAINING_POINTS = {"organics": 7000, "water": 15000, "aluminium": 7000, "crystals": 3000, "molecule-md": 2000}
"""Points of each record to learn from; `docs/data.md` says how they were chosen."""

HELD_OUT_POINTS = 20_000

N_WHOLE = 5
"""Held-out records of each set that keep the whole grid, those with the smallest grids."""

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Candidate:
    """A record that is not shipped yet.

    Attributes:
        path: Its shard.
        name: Its name.
        n_grid_points: Points of its whole grid.
        is_held_out: Whether it is for validation or test.
    """

    path: Path
    name: str
    n_grid_points: int
    is_held_out: bool


def pack(set_name: str, made: Path, shipped: Path) -> list[Path]:
    """New shards with the compact form of every record that was made and is not shipped yet.

    Args:
        set_name: The set.
        made: Folder of all sets with whole grids.
        shipped: Folder of all sets with compact records.

    Raises:
        DamagedShard: If a shard cannot be read; nothing is written then.
        ForeignSettings: If a record does not belong to the set.
        DiskFull: If they do not fit; nothing is left of the shard that did not.
    """
    source, target = (SetFolder(folder / set_name, set_settings(set_name)) for folder in (made, shipped))
    if not shards(source.path):
        return []
    with target.locked():
        target.load()
        held_out = [attributes for attributes in target.listing.values() if attributes["split"] != "train"]
        n_whole = sum(attributes["n_points"] == attributes["n_grid_points"] for attributes in held_out)
        candidates = list(_candidates(source, target.content_hashes))
        if not candidates:
            return []
        smallest = sorted((c for c in candidates if c.is_held_out), key=lambda c: (c.n_grid_points, c.name))
        stay_whole = {candidate.name for candidate in smallest[: max(0, N_WHOLE - n_whole)]}
        path = target.path / f"{set_name}-{len(shards(target.path)):03d}{SUFFIX}"
        write_shard(path, _compacted(set_name, candidates, stay_whole))
    return [path]


def _candidates(source: SetFolder, known: set[str]) -> Iterator[Candidate]:
    for path in shards(source.path):
        for name, attributes in read_listing(path).items():
            if attributes["content_hash"] not in known:
                known.add(attributes["content_hash"])
                yield Candidate(path, name, attributes["n_grid_points"], attributes["split"] != "train")


def _compacted(set_name: str, candidates: list[Candidate], stay_whole: set[str]) -> Iterator[Record]:
    for path in dict.fromkeys(candidate.path for candidate in candidates):
        of_path = {candidate.name: candidate for candidate in candidates if candidate.path == path}
        for record in read_records(path, of_path):
            n_points = HELD_OUT_POINTS if of_path[record.name].is_held_out else TRAINING_POINTS[set_name]
            yield compact(record, None if record.name in stay_whole else n_points)


def thin(set_name: str, shipped: Path) -> int:
    """Makes room: shipped records to learn from keep `TRAINING_POINTS` where they have more; returns how many did.

    Args:
        set_name: The set.
        shipped: Folder of all sets with compact records.

    Raises:
        DamagedShard: If a shard cannot be read.
        DiskFull: If a shard does not fit; it stays as it is.
    """
    most, folder = TRAINING_POINTS[set_name], SetFolder(shipped / set_name, set_settings(set_name))
    n_thinned = 0
    with folder.locked():
        for path in shards(folder.path):
            records = list(read_records(path))
            # A point more or less is what drawing leaves open.
            fewer = [
                (compact if one.is_whole else thinned)(one, most)
                if one.attributes["split"] == "train" and len(one.arrays["density"]) > most + 1
                else one
                for one in records
            ]
            changed = sum(new is not old for new, old in zip(fewer, records, strict=True))
            if changed:
                write_shard(path, fewer)
            n_thinned += changed
    return n_thinned


def manifest(shipped: Path) -> dict[str, Any]:
    """What the shipped folder holds: source, settings, counts, hashes, licence."""
    return {
        "format": FORMAT,
        "licence": "CC-BY-4.0",
        "density": DENSITY,
        "source": "rhocast, `python -m reference make`",
        "sets": {name: _set_manifest(shipped / name) for name in SET_SETTINGS if shards(shipped / name)},
    }


def _set_manifest(folder: Path) -> dict[str, Any]:
    listings = {path: read_listing(path) for path in shards(folder)}
    rows = [attributes for listing in listings.values() for attributes in listing.values()]
    counts = Summary()
    for row in rows:
        counts.count(row)
    return {
        "n_records": counts.n_records,
        "splits": {split: counts.splits[split] for split in SPLITS},
        "n_groups": len(counts.groups),
        "n_elements": len(counts.elements),
        "n_whole_grids": sum(row["n_points"] == row["n_grid_points"] for row in rows),
        "n_points": sum(row["n_points"] for row in rows),
        "codes": sorted({row["code"] for row in rows}),
        "settings": {row["settings_hash"]: json.loads(row["settings"]) for row in rows},
        "shards": {
            path.name: {"n_records": len(listing), "bytes": path.stat().st_size, "sha256": _sha256(path)}
            for path, listing in listings.items()
        },
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(shipped: Path) -> Path:
    """The manifest's file, written anew.

    Raises:
        UnknownSet: If nothing is shipped there.
    """
    contents = manifest(shipped)
    if not contents["sets"]:
        raise UnknownSet(f"found no shipped set in {shipped}; expected one of {', '.join(SET_SETTINGS)}")
    path = shipped / MANIFEST
    path.write_text(json.dumps(contents, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
