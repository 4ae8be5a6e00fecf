"""A set's folder: shards, failures and the lock that keeps two makers apart."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reference.checks import check_record
from reference.errors import DamagedShard, DiskFull, FolderInUse, ForeignSettings
from reference.record import Record
from reference.settings import KnownSet
from reference.shards import SUFFIX, UNFINISHED, read_listing, shards, write_shard

LEAST_FREE = 500 * 2**20
"""Bytes that must be free before another structure is started."""

DAMAGED = ".damaged"
FAILURES = "failures.jsonl"
LOCK = ".lock"


@dataclass
class SetFolder:
    """What a set has so far.

    Attributes:
        path: The folder.
        of: The set.
        shipped: Another folder of the set, whose records count as made; never written to.
        listing: Attributes of every record, by name.
        notices: What was found wrong and set aside.
    """

    path: Path
    of: KnownSet
    shipped: Path | None = None
    listing: dict[str, dict[str, Any]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The folder for one maker alone; the lock ends with its process, however that ends.

        Raises:
            FolderInUse: If another maker holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise FolderInUse(
                    f"found {self.path} in use by process {lock.read().strip() or 'unknown'}; let it end first"
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def load(self) -> None:
        """Reads what is there. Half-written files are set aside by name, and their structures made again.

        Raises:
            ForeignSettings: If a record was made with settings that the set does not have.
            DamagedShard: If a shipped shard cannot be read.
        """
        for path in shards(self.shipped) if self.shipped else ():
            self._enter(path, read_listing(path))
        for unfinished in sorted(self.path.glob(f"*{UNFINISHED}")):
            unfinished.unlink()
            self.notices.append(f"removed the half-written shard {unfinished.name}")
        for path in shards(self.path):
            try:
                listing = read_listing(path)
            except DamagedShard as damage:
                path.replace(path.with_name(path.name + DAMAGED))
                self.notices.append(f"{damage}; set aside as {path.name}{DAMAGED}")
                continue
            self._enter(path, listing)

    def _enter(self, path: Path, listing: Mapping[str, dict[str, Any]]) -> None:
        for name, attributes in listing.items():
            self._refuse_foreign(path, name, attributes)
            self.listing[name] = attributes

    def _refuse_foreign(self, path: Path, name: str, attributes: Mapping[str, Any]) -> None:
        if attributes.get("set") != self.of.name or attributes.get("settings_hash") not in self.of.settings_hashes:
            raise ForeignSettings(
                f"found in {path.name} the record {name} of set {attributes.get('set')!r} with settings "
                f"{attributes.get('settings')}; expected those of {self.of.name!r}. Move it elsewhere"
            )

    @property
    def content_hashes(self) -> set[str]:
        return {attributes["content_hash"] for attributes in self.listing.values()}

    def add(self, record: Record) -> Path:
        """The new shard of one record. One record a shard: a kill then loses nothing that was finished.

        Raises:
            DiskFull: If it does not fit.
        """
        path = self.path / f"{record.name}-{record.attributes['content_hash'][:12]}{SUFFIX}"
        write_shard(path, [record])
        self.listing[record.name] = dict(record.attributes)
        return path

    def need_room(self, least: int = LEAST_FREE) -> None:
        """Nothing, if that many bytes are free.

        Raises:
            DiskFull: If not.
        """
        free = shutil.disk_usage(self.path).free
        if free < least:
            raise DiskFull(
                f"found {free / 2**20:.0f} MB free at {self.path}; expected {least / 2**20:.0f} MB before another "
                "structure is started. What is made is kept: free some disk and start again"
            )

    def failures(self) -> dict[str, dict[str, Any]]:
        """Last failure of each structure that failed and has no record, by name."""
        return {name: row for name, row in logged_failures(self.path).items() if name not in self.listing}

    def log_failure(self, name: str, code: str, message: str, provenance: Mapping[str, Any]) -> None:
        """A line in the folder's list of failures."""
        row = {
            "name": name,
            "code": code,
            "message": message,
            "provenance": dict(provenance),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        with (self.path / FAILURES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def logged_failures(path: Path) -> dict[str, dict[str, Any]]:
    """Last failure of each structure that ever failed, by name; a line cut short by a kill is passed over.

    Args:
        path: A set's folder.
    """
    log = path / FAILURES
    found: dict[str, dict[str, Any]] = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else []:
        try:
            row = json.loads(line)
            found[row["name"]] = row
        except (ValueError, KeyError, TypeError):
            continue
    return found


def new_records(records: Iterable[Record], folder: SetFolder) -> Iterator[Record]:
    """The records that obey every law and whose content the folder does not have.

    Raises:
        BadRecord: If one breaks a law.
    """
    known = folder.content_hashes
    for record in records:
        if record.attributes["content_hash"] not in known:
            check_record(record, folder.of)
            known.add(record.attributes["content_hash"])
            yield record
