"""A folder that fills with the results of many files, and goes on filling after whatever stopped it.

    out/manifest.json    what was asked, the hash of each file, and which batches of the service are under way
    out/errors.jsonl     a line for each file that has no result, and why; remove it to have them tried again
    out/summary.csv      a line for each file
    out/….json           the answer for a file, named like the file; it is written last, so what is there is whole

A file is done when its answer is there, or its error. What is neither is in a batch that is under way, or is sent.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rhocast.batch_files import is_structure_file
from rhocast.density.files import ENDINGS
from rhocast.errors import InvalidFile
from rhocast.schemas import DownloadFormat, Problem

_VERSION = 1


@dataclass(frozen=True)
class Source:
    """A structure file.

    Attributes:
        name: What it is called in the batch and in the folder of results.
        path: Where it is.
        digest: SHA-256 of its content.
    """

    name: str
    path: Path
    digest: str


@dataclass
class Chunk:
    """Files that are sent together.

    Attributes:
        key: Idempotency key of their batch: the same batch comes back if it was sent and nobody noted its id.
        digests: Hash of each file by its name.
        batch: Id of the batch; empty until it is accepted.
    """

    key: str
    digests: dict[str, str]
    batch: str = ""


def sources_of(paths: Sequence[Path], out: Path) -> list[Source]:
    """The structure files among some files and folders, by name.

    Args:
        paths: Files, which are taken whatever they are called, and folders, in which those that are called like a
            structure are taken.
        out: Folder of the results, which is passed over.

    Raises:
        InvalidFile: If a path leads nowhere, there is no structure, or two would have one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            prefix = Path(path.resolve().name) if len(paths) > 1 else Path()
            inside = [one for one in sorted(path.rglob("*")) if one.is_file() and is_structure_file(one.name)]
            named = {(prefix / one.relative_to(path)).as_posix(): one for one in inside if not _is_below(one, out)}
        elif path.is_file():
            named = {path.name: path}
        else:
            raise InvalidFile(f"found nothing at {str(path)!r}; expected a structure file or a folder of them")
        for name, one in named.items():
            if name in found:
                raise InvalidFile(
                    f"found two files that would be called {name!r}: {found[name]} and {one}; expected one; "
                    "rename one, or name the folder that holds both"
                )
            found[name] = one
    if not found:
        raise InvalidFile(
            f"found no structure in {', '.join(map(str, paths))}; expected files named *.cif, *.vasp, POSCAR*, "
            "CONTCAR*, *.xyz or *.extxyz; name them one by one if they are called otherwise"
        )
    return [Source(name, path, hashlib.sha256(path.read_bytes()).hexdigest()) for name, path in found.items()]


def _is_below(path: Path, folder: Path) -> bool:
    return folder.resolve() in path.resolve().parents


@dataclass
class BatchFolder:
    """What is known of a folder of results.

    Attributes:
        path: The folder.
        asked: What is asked of every file.
        digests: Hash of each file that was ever sent, by its name.
        chunks: Files that are under way.
        errors: Why files have no result, by their name.
    """

    path: Path
    asked: Mapping[str, Any]
    digests: dict[str, str] = field(default_factory=dict[str, str])
    chunks: list[Chunk] = field(default_factory=list[Chunk])
    errors: dict[str, Problem] = field(default_factory=dict[str, Problem])

    @classmethod
    def opened(cls, path: Path, asked: Mapping[str, Any]) -> "BatchFolder":
        """The folder as it was left, or a new one.

        Args:
            path: The folder.
            asked: What is asked of every file.

        Raises:
            InvalidFile: If it holds results of something else, or a manifest that cannot be read.
        """
        folder = cls(path, json.loads(json.dumps(asked)))
        path.mkdir(parents=True, exist_ok=True)
        if folder.manifest.exists():
            folder._read()
        return folder

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def error_file(self) -> Path:
        return self.path / "errors.jsonl"

    def _read(self) -> None:
        try:
            found = json.loads(self.manifest.read_text(encoding="utf-8"))
            if found["version"] != _VERSION:
                raise ValueError(f"version {found['version']}")
            self.digests = dict(found["digests"])
            self.chunks = [Chunk(one["key"], dict(one["digests"]), one["batch"]) for one in found["chunks"]]
            asked = found["asked"]
            lines = self.error_file.read_text(encoding="utf-8").splitlines() if self.error_file.exists() else []
            rows = [json.loads(line) for line in lines]
            self.errors = {row["file"]: Problem.model_validate(row["error"]) for row in rows}
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidFile(
                f"found that {self.path} holds a manifest.json or errors.jsonl that cannot be read "
                f"({type(error).__name__}: {error}); expected those of `rhocast batch`; choose another folder for -o"
            ) from error
        if asked != self.asked:
            changed = sorted(key for key in {*asked, *self.asked} if asked.get(key) != self.asked.get(key))
            raise InvalidFile(
                f"found results in {self.path} for which something else was asked ({', '.join(changed)}); expected "
                "the same again; choose another folder for -o"
            )

    def save(self) -> None:
        """Writes the manifest and the errors, each whole or not at all."""
        chunks = [{"key": one.key, "batch": one.batch, "digests": one.digests} for one in self.chunks]
        content = {"version": _VERSION, "asked": self.asked, "digests": self.digests, "chunks": chunks}
        rows = [{"file": name, "error": self.errors[name].model_dump(mode="json")} for name in sorted(self.errors)]
        if rows or self.error_file.exists():
            write_whole(self.error_file, "".join(json.dumps(row) + "\n" for row in rows))
        write_whole(self.manifest, json.dumps(content))

    def answer_path(self, name: str) -> Path:
        """Where the answer for a file is or will be."""
        return self.path / f"{name}.json"

    def density_path(self, name: str, format: DownloadFormat) -> Path:
        """Where the density of a file is or will be, named so that its name tells its format."""
        whole = self.path / name
        if format in ("chgcar", "chg"):
            return whole.with_name(f"{format.upper()}.{whole.name}")
        return whole.with_name(whole.name + ENDINGS[format])

    def is_done(self, name: str) -> bool:
        return name in self.errors or self.answer_path(name).exists()

    def open_files(self, sources: Sequence[Source]) -> list[Source]:
        """Those of some files that are neither done nor under way. What is known of a changed file is forgotten."""
        for source in sources:
            if self.digests.get(source.name, source.digest) != source.digest:
                self.answer_path(source.name).unlink(missing_ok=True)
                self.errors.pop(source.name, None)
                del self.digests[source.name]
        under_way = {(name, digest) for chunk in self.chunks for name, digest in chunk.digests.items()}
        return [
            source
            for source in sources
            if (source.name, source.digest) not in under_way
            and not (source.name in self.digests and self.is_done(source.name))
        ]


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that whoever is killed meanwhile leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
