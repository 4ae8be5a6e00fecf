"""Request bodies: JSON or multipart, bounded before they are read."""

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.structures.preflight import decoded
from rhocast.errors import InvalidField, InvalidRequest, TooLarge, UnsupportedFormat
from rhocast.schemas import PredictionRequest, RelaxationRequest

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_FIELDS = ("want", "model", "format", "shape", "spacing", "encut", "vacuum", "priority")
_RELAXATION_FIELDS = ("model", "format", "fmax", "steps", "relax_cell", "vacuum", "priority")


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The body of a request.

    Raises:
        TooLarge: If it is longer than `max_bytes`, as soon as that is known.
    """
    too_large = TooLarge(
        f"found a body of more than {max_bytes / 1e6:g} MB; expected a structure file; send one structure a request"
    )
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and float(declared) > max_bytes:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise too_large
    return bytes(body)


async def read_prediction(request: Request, body: bytes) -> PredictionRequest:
    """What a body asks to predict; raises as `read_relaxation` does."""
    return PredictionRequest.model_validate(await _fields(request, body, _FIELDS, settings_of_form))


async def read_relaxation(request: Request, body: bytes) -> RelaxationRequest:
    """What a body asks to relax.

    Raises:
        InvalidRequest: If it cannot be read.
        UnsupportedFormat: If it is compressed, or its content type is neither JSON nor multipart.
        ValidationError: If a field is wrong.
    """
    return RelaxationRequest.model_validate(await _fields(request, body, _RELAXATION_FIELDS, relaxation_of_form))


async def _fields(
    request: Request, body: bytes, names: Sequence[str], settings: Callable[[Mapping[str, list[str]]], dict[str, Any]]
) -> Any:
    """The fields that a body has, or stands for.

    Args:
        request: Whose body it is.
        body: All of it.
        names: Fields of the form beside the file.
        settings: What the text fields of the form say, as a request in JSON has it.

    Raises:
        InvalidRequest: If it cannot be read.
        UnsupportedFormat: If it is compressed, or its content type is neither JSON nor multipart.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise UnsupportedFormat(f"found a body in content encoding {encoding!r}; expected none; send it uncompressed")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/json":
        return json_value(body)
    if content_type == "multipart/form-data":
        form = await _form(request, body)
        try:
            return _from_form(form, names, settings)
        finally:
            await form.close()
    raise UnsupportedFormat(
        f"found content type {content_type or 'none'!r}; expected multipart/form-data with a part named 'file', "
        "or application/json"
    )


def json_value(body: bytes) -> Any:
    """What a text in JSON says.

    Raises:
        InvalidRequest: If it is not UTF-8, not JSON, or could not be sent back.
    """
    try:
        text = body.decode("utf-8")
        value = json.loads(text, parse_constant=_refuse_constant)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # half a pair cannot be sent back in an answer
    except UnicodeError as error:
        raise InvalidRequest("found JSON that is not UTF-8; expected UTF-8; encode it so") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"found a body that is not JSON ({error}); expected an object with a 'structure'; check its syntax"
        ) from error
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")


async def _form(request: Request, body: bytes) -> FormData:
    async def chunks() -> AsyncIterator[bytes]:
        yield body
        yield b""

    try:
        parser = MultiPartParser(request.headers, chunks(), max_files=1, max_fields=50, max_part_size=max(len(body), 1))  # type: ignore[arg-type]
        return await parser.parse()
    except (MultiPartException, UnicodeDecodeError) as error:
        reason = getattr(error, "message", str(error))
        raise InvalidRequest(
            f"found a multipart body that cannot be read ({reason}); expected a part named 'file'"
        ) from error


def _from_form(
    form: FormData, names: Sequence[str], settings: Callable[[Mapping[str, list[str]]], dict[str, Any]]
) -> dict[str, Any]:
    unknown = sorted(set(form) - {*names, "file"})
    if unknown:
        raise InvalidField(f"found the field {unknown[0]!r}; expected file, {', '.join(names)}")
    upload = form.get("file")
    if upload is None:
        raise InvalidField("found no part named 'file'; expected the structure file there: curl -F file=@POSCAR …")
    content = upload.file.read() if isinstance(upload, UploadFile) else upload.encode()
    texts = {name: [_as_text(value, name) for value in form.getlist(name)] for name in names}
    structure = {"text": decoded(content), "format": "".join(texts["format"][-1:]) or None}
    fields = settings(texts)
    if priority := "".join(texts["priority"][-1:]):
        fields["priority"] = priority
    return {"structure": structure, **fields}


def settings_of_form(texts: Mapping[str, list[str]]) -> dict[str, Any]:
    """What the text fields of a form ask of a structure, as a request in JSON has it.

    Args:
        texts: Values of each field, in their order.
    """
    fields: dict[str, Any] = {}
    for name in ("want", "model"):
        values = [part.strip() for text in texts.get(name, ()) for part in text.split(",") if part.strip()]
        if values:
            fields[name] = values
    last = {name: values[-1] for name, values in texts.items() if values and values[-1]}
    grid: dict[str, Any] = {name: last.get(name) for name in ("spacing", "encut")}
    if shape := last.get("shape"):
        grid["shape"] = [part.strip() for part in shape.split(",")]
    fields["grid"] = grid
    if vacuum := last.get("vacuum"):
        fields["vacuum"] = vacuum
    return fields


def relaxation_of_form(texts: Mapping[str, list[str]]) -> dict[str, Any]:
    """What the text fields of a form ask of a relaxation, as a request in JSON has it.

    Args:
        texts: Values of each field, in their order.
    """
    fields: dict[str, Any] = {name: values[-1] for name, values in texts.items() if values and values[-1]}
    fields = {name: fields[name] for name in ("fmax", "steps", "relax_cell", "vacuum") if name in fields}
    models = [part.strip() for text in texts.get("model", ()) for part in text.split(",") if part.strip()]
    return fields | {"model": models}


def _as_text(value: UploadFile | str, name: str) -> str:
    if isinstance(value, UploadFile):
        raise InvalidField(f"found a file in the field {name!r}; expected text; leave out its file name")
    return value
