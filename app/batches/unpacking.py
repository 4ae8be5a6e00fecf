"""From an upload to items; runs in a sandboxed process, for what is uploaded may be anything.

An upload is JSONL, or a form with structure files, archives of them, or JSONL files in parts named 'file'.
"""

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.batches.archives import Passed, is_tar, is_zip, members
from app.batches.items import (
    Item,
    Limits,
    headings_name,
    item_of_file,
    items_of_lines,
    requests_name,
    write_items,
)
from app.bodies import settings_of_form
from app.problems import invalid_fields
from jobs.artifacts import ArtifactStore
from rhocast.batch_schemas import BatchSettings
from rhocast.errors import InvalidField, InvalidRequest

FORM_FIELDS = ("want", "model", "format", "shape", "spacing", "encut", "vacuum")

JSONL_TYPES = ("application/jsonl", "application/x-ndjson")

_CHUNK = 1_000_000
_LARGEST_FIELD = 10_000  # bytes of a text field
_JSONL_ENDINGS = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class Upload:
    """An upload.

    Attributes:
        batch_id: Id of the batch that it is to be.
        path: What was sent, as it came.
        content_type: Its content type: JSONL or a form.
    """

    batch_id: str
    path: Path
    content_type: str


@dataclass(frozen=True)
class Contents:
    """What an upload holds.

    Attributes:
        n_items: Number of items.
        digest: Hash of all that it asks.
        settings: What it asks of every item.
        warnings: What its sender should know.
    """

    n_items: int
    digest: str
    settings: BatchSettings
    warnings: list[str]


def unpack(upload: Upload, artifacts: ArtifactStore, limits: Limits) -> Contents:
    """What an upload holds; its items are kept as artifacts then.

    Args:
        upload: The upload.
        artifacts: Where the items go.
        limits: How much is taken in.

    Raises:
        RhocastError: Whatever is wrong with the upload as a whole; nothing is kept then.
    """
    form = _Form(limits, upload.path.parent)
    found: list[Contents] = []

    def fill(requests: Path) -> None:
        def fill_headings(headings: Path) -> None:
            with upload.path.open("rb") as stream:
                is_lines = media_type(upload.content_type) in JSONL_TYPES
                items = items_of_lines(stream, limits) if is_lines else form.items(stream, upload.content_type)
                written = write_items(items, requests, headings, limits)
            settings = form.settings
            digest = f"{written.digest} {settings.model_dump_json()}"
            found.append(Contents(written.n_items, digest, settings, form.warnings))

        artifacts.write(headings_name(upload.batch_id), fill_headings)

    artifacts.write(requests_name(upload.batch_id), fill)
    return found[0]


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


class _Form:
    """A form, read part by part, however many there are.

    Args:
        limits: How much is taken in.
        folder: Where parts go that are too large for the memory.
    """

    def __init__(self, limits: Limits, folder: Path) -> None:
        self._limits = limits
        self._folder = folder
        self._passed = Passed()
        self._texts: dict[str, list[str]] = {}
        self._headers: dict[bytes, bytes] = {}
        self._header = (b"", b"")
        self._content: IO[bytes] = io.BytesIO()
        self._parts: list[tuple[str, str | None, IO[bytes]]] = []
        self._is_whole = False

    @property
    def settings(self) -> BatchSettings:
        """What its text fields ask; InvalidField if that cannot be."""
        chosen = "".join(self._texts.get("format", [])[-1:])
        try:
            return BatchSettings.model_validate(settings_of_form(self._texts) | ({"format": chosen} if chosen else {}))
        except ValidationError as error:  # it would not come out of this process
            raise invalid_fields(error)[0] from None

    @property
    def warnings(self) -> list[str]:
        if not self._passed.n_files:
            return []
        return [
            f"found {self._passed.n_files} files that are no structures by their names (such as "
            f"{self._passed.example[:80]!r}); they were passed over"
        ]

    def items(self, stream: IO[bytes], content_type: str) -> Iterator[Item]:
        """The items of all files in the form.

        Args:
            stream: Body of the request.
            content_type: Its content type, which names the boundary.

        Raises:
            InvalidRequest: If it cannot be read.
            InvalidField: If it has a field that is not known.
        """
        _, options = parse_options_header(content_type)
        try:
            parser = MultipartParser(
                options.get(b"boundary", b""),
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, start, end: self._name(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value(data[start:end]),
                    "on_header_end": self._end_of_header,
                    "on_part_data": lambda data, start, end: self._data(data[start:end]),
                    "on_part_end": self._end,
                    "on_end": self._note_end,
                },
            )
            while chunk := stream.read(_CHUNK):
                parser.write(chunk)
                yield from self._items_of_parts()
            if not self._is_whole:
                raise FormParserError("it breaks off")
        except FormParserError as error:
            raise InvalidRequest(
                f"found a multipart body that cannot be read ({error}); expected parts named 'file'; "
                "send it again, whole"
            ) from error
        finally:
            for content in (self._content, *(part[-1] for part in self._parts)):
                content.close()

    def _begin(self) -> None:
        self._headers = {}
        self._content = tempfile.SpooledTemporaryFile(self._limits.item_bytes, dir=str(self._folder))  # noqa: SIM115  (closed with its part)

    def _name(self, data: bytes) -> None:
        self._header = (self._header[0] + data, self._header[1])

    def _value(self, data: bytes) -> None:
        self._header = (self._header[0], self._header[1] + data)

    def _end_of_header(self) -> None:
        name, value = self._header
        self._headers[name.lower()] = value
        self._header = (b"", b"")

    def _data(self, data: bytes) -> None:
        self._content.write(data)

    def _end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        file_name = options[b"filename"].decode("utf-8", "replace") if b"filename" in options else None
        self._content.seek(0)
        self._parts.append((name, file_name, self._content))

    def _note_end(self) -> None:
        self._is_whole = True

    def _items_of_parts(self) -> Iterator[Item]:
        """The items of the parts that are whole by now."""
        while self._parts:
            name, file_name, content = self._parts.pop(0)
            with content:
                if name == "file" and file_name is not None:
                    yield from self._items_of_file(file_name, content)
                elif name in FORM_FIELDS and file_name is None:
                    text = content.read(_LARGEST_FIELD).decode("utf-8", "replace")
                    self._texts.setdefault(name, []).append(text)
                else:
                    raise InvalidField(
                        f"found the {'field' if file_name is None else 'file in the field'} {name[:40]!r}; "
                        f"expected files in 'file', and text in {', '.join(FORM_FIELDS)}"
                    )

    def _items_of_file(self, name: str, content: IO[bytes]) -> Iterator[Item]:
        start = content.read(512)
        content.seek(0)
        if is_zip(start) or is_tar(start):
            yield from members(content, self._limits, self._passed)
        elif name.lower().endswith(_JSONL_ENDINGS):
            yield from items_of_lines(content, self._limits)
        else:
            yield item_of_file(name, content.read(self._limits.item_bytes + 1), self._limits)
