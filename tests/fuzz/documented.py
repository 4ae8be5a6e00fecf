"""Requests made from the OpenAPI document, good and bad: every answer is one that the document promises."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance, unsupported_method

from app.observation import ID_HEADER

_PRINTABLE = st.characters(min_codepoint=33, max_codepoint=126)

_EXCLUDED = [positive_data_acceptance, unsupported_method]
"""What a schema cannot say (atoms too close, text that is no CIF) is refused."""

_JUDGED_LATER = ("/v1/batches", "POST")
"""A batch is accepted before its items are looked at; in a form everything is text, even what should be none."""

_PATIENCE_SECONDS = 120.0  # on a busy machine, the processes that parse take their time to start

REQUEST_IDS = st.text(_PRINTABLE, max_size=70)
"""What clients may name their requests; also what makes requests differ where an operation has no parameters."""


@schemathesis.serializer("application/jsonl")
def _as_lines(_: schemathesis.SerializationContext, text: Any) -> bytes:
    """A body of lines as it is; what is no text at all, as JSON."""
    return text.encode() if isinstance(text, str) else json.dumps(text).encode()


@dataclass(frozen=True)
class Kind:
    """Good or bad requests of one operation."""

    path: str
    verb: str
    mode: GenerationMode

    def __str__(self) -> str:
        return f"{self.verb.upper()} {self.path} {self.mode.value}"


def kinds(document: Mapping[str, Any]) -> list[Kind]:
    """Good requests of each operation of a document, and bad ones where one can be told from a good one."""
    return [
        Kind(path, verb, mode)
        for path, operations in document["paths"].items()
        for verb, operation in operations.items()
        for mode in GenerationMode
        if mode == GenerationMode.POSITIVE or _can_be_wrong(operation)
    ]


def _can_be_wrong(operation: Mapping[str, Any]) -> bool:
    """Whether something but text may be sent, or text of a certain length; an id that names nothing is not wrong."""
    schemas = [parameter["schema"] for parameter in operation.get("parameters", ())]
    return "requestBody" in operation or any(
        schema.get("type") != "string" or {"enum", "maxLength"} & set(schema) for schema in schemas
    )


def without_tuples(part: Any) -> Any:
    """A part of a document with each tuple as an array of its length: schemathesis 4.32 misreads tuples in answers."""
    if isinstance(part, list):
        return [without_tuples(one) for one in part]
    if not isinstance(part, dict):
        return part
    rewritten = {name: without_tuples(one) for name, one in part.items()}
    if prefix := rewritten.pop("prefixItems", None):
        assert all(one == prefix[0] for one in prefix), "only tuples of one kind can be rewritten"
        rewritten["items"] = prefix[0]
    return rewritten


def statuses_of(cases: st.SearchStrategy[Case], n_examples: int, url: str | None = None) -> Counter[int]:
    """How often each status was answered to some requests, each of which had an answer as documented.

    Args:
        cases: The requests.
        n_examples: How many are sent.
        url: Address of the service; None where the cases know it.
    """
    found = Counter[int]()

    @settings(
        max_examples=n_examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, request_id=REQUEST_IDS)
    def ask(case: Case, request_id: str) -> None:
        later = [negative_data_rejection] if (case.path, case.method) == _JUDGED_LATER else []
        response = case.call_and_validate(
            base_url=url,
            headers={ID_HEADER: request_id},
            excluded_checks=[*_EXCLUDED, *later],
            timeout=_PATIENCE_SECONDS,
        )
        found[response.status_code] += 1

    ask()
    return found
