"""Items of a batch as they are kept until they become jobs: one line of JSON each, in two files side by side.

The line of the first file is the request itself, empty where there is none. The line of the second says its custom_id
and, if it is refused already, why. So the second alone is read to write the output.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from app.bodies import json_value
from app.problems import problem
from app.structures.preflight import decoded
from rhocast.batch_schemas import LONGEST_ID
from rhocast.errors import InvalidField, RhocastError, TooLarge
from rhocast.schemas import Problem

_SHOWN_IDS = 5


def requests_name(batch_id: str) -> str:
    """Name of the object that holds the requests of a batch."""
    return f"{batch_id}.requests.jsonl"


def headings_name(batch_id: str) -> str:
    """Name of the object that holds the names of the items of a batch."""
    return f"{batch_id}.headings.jsonl"


@dataclass(frozen=True)
class Limits:
    """How much is taken in.

    Attributes:
        n_items: Most items of a batch.
        item_bytes: Largest item.
        unpacked_bytes: Most bytes that an archive holds.
    """

    n_items: int
    item_bytes: int
    unpacked_bytes: int


@dataclass(frozen=True)
class Item:
    """An item as it was sent.

    Attributes:
        custom_id: The user's name for it; None if it has none that can be read.
        request: The request in JSON, without line breaks; empty if it is refused.
        error: Why it is refused.
    """

    custom_id: str | None
    request: bytes = b""
    error: Problem | None = None

    @property
    def heading(self) -> bytes:
        """Its line in the second file."""
        error = self.error.model_dump(mode="json", exclude_none=True) if self.error is not None else None
        return json.dumps({"custom_id": self.custom_id, "error": error}).encode()


def refused(custom_id: str | None, error: RhocastError) -> Item:
    """An item that gets no job, under a name that can be shown."""
    shown = custom_id.encode("utf-8", "replace").decode()[:LONGEST_ID] if custom_id is not None else None
    return Item(shown, error=problem(error))


def item_of_file(name: str, content: bytes, limits: Limits) -> Item:
    """An item of the text of a structure file; refused if that is too long or no text.

    Args:
        name: Its custom_id.
        content: The file, at least until it is known to be too long.
        limits: How long it may be.
    """
    try:
        _check_id(name)
        if len(content) > limits.item_bytes:
            raise _too_long(limits)
        request = {"custom_id": name, "structure": {"text": decoded(content)}}
    except RhocastError as error:
        return refused(name, error)
    return Item(name, json.dumps(request).encode())


def items_of_lines(stream: IO[bytes], limits: Limits) -> Iterator[Item]:
    """An item for each line of JSONL that is not blank; one that cannot be read is a refused item.

    Args:
        stream: The lines.
        limits: How long a line may be.
    """
    number = 0
    while line := stream.readline(limits.item_bytes + 1):
        number += 1
        is_too_long = len(line) > limits.item_bytes
        while is_too_long and line and not line.endswith(b"\n"):
            line = stream.readline(limits.item_bytes)
        if is_too_long:
            yield refused(None, TooLarge(f"line {number}: {_too_long(limits).detail}"))
        elif text := line.strip():
            yield _item_of_line(number, text.removeprefix(b"\xef\xbb\xbf"))


def _item_of_line(number: int, text: bytes) -> Item:
    try:
        value: Any = json_value(text)
        custom_id: Any = value.get("custom_id") if isinstance(value, dict) else None
        if not isinstance(custom_id, str):
            raise InvalidField(
                'found no custom_id; expected an object such as {"custom_id": "a", "structure": {…}}; '
                "give every line one, as text"
            )
        _check_id(custom_id)
    except RhocastError as error:
        error.detail = f"line {number}: {error.detail}"
        return refused(None, error)
    return Item(custom_id, text)


def _check_id(custom_id: str) -> None:
    if not 1 <= len(custom_id) <= LONGEST_ID or not custom_id.isprintable():
        raise InvalidField(
            f"found the custom_id {custom_id[:40]!r} of {len(custom_id)} characters; expected 1 to {LONGEST_ID} "
            "printable ones; give it a shorter name"
        )


def _too_long(limits: Limits) -> TooLarge:
    return TooLarge(f"found more than {limits.item_bytes / 1e6:g} MB; expected one structure; send a smaller one")


@dataclass
class Written:
    """What was kept of the items of a batch.

    Attributes:
        n_items: How many there are.
        digest: SHA-256 of them all.
    """

    n_items: int
    digest: str


def write_items(items: Iterable[Item], requests: Path, headings: Path, limits: Limits) -> Written:
    """Keeps items in two files.

    Args:
        items: The items.
        requests: File of their requests.
        headings: File of their names and errors.
        limits: How many they may be.

    Raises:
        InvalidField: If there is none, or two have one name.
        TooLarge: If they are too many.
    """
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    n_items, digest = 0, hashlib.sha256()
    with requests.open("wb") as first, headings.open("wb") as second:
        for item in items:
            n_items += 1
            if n_items > limits.n_items:
                raise TooLarge(
                    f"found more than {limits.n_items} structures; expected at most so many in a batch; send several"
                )
            if item.custom_id is not None and item.custom_id in seen:
                repeated[item.custom_id] = None
            seen.add(item.custom_id or "")
            first.write(item.request + b"\n")
            second.write(item.heading + b"\n")
            digest.update(item.request + b"\n" + item.heading + b"\n")
    if repeated:
        more = f" and {len(repeated) - _SHOWN_IDS} more" if len(repeated) > _SHOWN_IDS else ""
        raise InvalidField(
            f"found the same custom_id twice: {', '.join(map(repr, list(repeated)[:_SHOWN_IDS]))}{more}; "
            "expected each once; nothing was queued: rename them and send the batch again"
        )
    if not n_items:
        raise InvalidField(
            "found no structure in this batch; expected at least one line of JSONL, or one file named *.cif, *.vasp, "
            "POSCAR*, *.xyz or *.extxyz; nothing was queued"
        )
    return Written(n_items, digest.hexdigest())
