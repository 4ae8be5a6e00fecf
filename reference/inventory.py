"""What there is: counts and costs of a set, verification of files, shards merged into one."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reference.checks import check_record
from reference.errors import BadRecord, DamagedShard, UnknownSet
from reference.folder import logged_failures
from reference.record import Record
from reference.settings import set_settings
from reference.shards import read_listing, read_records, shards, write_shard


@dataclass
class Summary:
    """A set in numbers.

    Attributes:
        n_records: Records.
        splits: Records of each split.
        groups: Keys of the groups: formulas, compositions or trajectories.
        elements: Atomic numbers that occur.
        seconds: Wall time of all records that have one.
        n_timed: How many these are.
        n_failures: Structures that failed and have no record.
        damaged: What could not be read.
    """

    n_records: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    groups: set[str] = field(default_factory=set)
    elements: set[int] = field(default_factory=set)
    seconds: float = 0.0
    n_timed: int = 0
    n_failures: int = 0
    damaged: list[str] = field(default_factory=list)

    def count(self, attributes: Mapping[str, Any]) -> None:
        """Counts one record, of which `read_listing` has read the attributes."""
        self.n_records += 1
        self.splits[attributes["split"]] += 1
        self.groups.add(attributes["group"])
        self.elements.update(attributes["numbers"])
        self.seconds += attributes["wall_time"]
        self.n_timed += attributes["wall_time"] > 0

    @property
    def per_core_hour(self) -> float:
        """Structures per hour on one core; 0 if none was timed."""
        return 3600 * self.n_timed / self.seconds if self.seconds else 0.0


def summary(folder: Path) -> Summary:
    """The numbers of a set's folder."""
    found = Summary()
    failed = logged_failures(folder)
    for path in shards(folder):
        try:
            listing = read_listing(path)
        except DamagedShard as damage:
            found.damaged.append(str(damage))
            continue
        for name, attributes in listing.items():
            failed.pop(name, None)
            found.count(attributes)
    found.n_failures = len(failed)
    return found


@dataclass
class Verification:
    """What came of verifying files.

    Attributes:
        n_records: Records that obey every law.
        complaints: Everything else, by name.
    """

    n_records: int = 0
    complaints: list[str] = field(default_factory=list)


def verification(paths: Iterable[Path]) -> Verification:
    """Every record of the files checked again, and all of them against each other: no content twice, no group in two
    splits."""
    found = Verification()
    places: dict[str, str] = {}
    splits: dict[tuple[str, str], str] = {}
    for path in paths:
        try:
            for record in read_records(path):
                complaints = [f"{path.name}: {text}" for text in _complaints(record, places, splits)]
                found.complaints += complaints
                found.n_records += not complaints
        except DamagedShard as damage:
            found.complaints.append(str(damage))
    return found


def _complaints(record: Record, places: dict[str, str], splits: dict[tuple[str, str], str]) -> Iterator[str]:
    try:
        check_record(record, set_settings(str(record.attributes.get("set"))))
    except (BadRecord, UnknownSet) as bad:
        yield str(bad)
        return
    first = places.setdefault(record.attributes["content_hash"], record.name)
    if first != record.name:
        yield f"{record.name}: found the content of {first} once more"
    key = record.attributes["set"], record.attributes["group"]
    split = splits.setdefault(key, record.attributes["split"])
    if split != record.attributes["split"]:
        yield f"{record.name}: found group {key[1]} in {split} and in {record.attributes['split']}"


def export(folder: Path, out: Path) -> int:
    """Number of records in the new file `out`, which holds all of a set's folder, each content once.

    Raises:
        DamagedShard: If a shard cannot be read; nothing is written then.
        BadRecord: If two different records have one name.
    """
    names: set[str] = set()
    contents: set[str] = set()
    chosen: dict[Path, set[str]] = {path: set() for path in shards(folder)}
    for path, of_path in chosen.items():
        for name, attributes in read_listing(path).items():
            if attributes["content_hash"] in contents:
                continue
            if name in names:
                raise BadRecord(f"found two records {name} in {folder}; expected one")
            names.add(name)
            contents.add(attributes["content_hash"])
            of_path.add(name)
    write_shard(out, (record for path, of_path in chosen.items() for record in read_records(path, of_path)))
    return len(names)
