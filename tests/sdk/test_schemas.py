from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from rhocast import schemas
from rhocast.schemas import JobStatus, PlainStructure, PredictionRequest, PymatgenStructure, StructureText

WIRE = [
    kind
    for kind in vars(schemas).values()
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not BaseModel
]
UNITLESS = {"Problem.status"}
"""Numbers that are codes, not quantities."""


def is_number(schema: dict[str, Any]) -> bool:
    """Whether numbers are directly in a field: plain, optional, or in arrays and dictionaries."""
    parts = [*schema.get("anyOf", ()), *schema.get("prefixItems", ())]
    parts += [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
    return schema.get("type") in ("number", "integer") or any(map(is_number, parts))


def numbers_without_unit(kind: type[BaseModel]) -> Iterator[str]:
    document = kind.model_json_schema(mode="serialization")
    for name, schema in {kind.__name__: document, **document.get("$defs", {})}.items():
        for field, found in schema.get("properties", {}).items():
            if is_number(found) and not found.get("x-unit"):
                yield f"{name}.{field}"


@pytest.mark.parametrize("kind", WIRE, ids=lambda kind: kind.__name__)
def test_every_number_has_a_unit(kind):
    assert set(numbers_without_unit(kind)) <= UNITLESS


def test_the_search_for_numbers_finds_some():
    class Bare(BaseModel):
        one: int
        maybe: float | None
        rows: list[tuple[float, float]]
        named: dict[str, float]
        words: list[str]

    assert set(numbers_without_unit(Bare)) == {"Bare.one", "Bare.maybe", "Bare.rows", "Bare.named"}


def test_a_unit_is_in_the_description_too():
    energy = schemas.PotentialAnswer.model_json_schema()["properties"]["energy"]
    assert energy["x-unit"] == "eV"
    assert energy["description"] == "Total energy of the cell, eV"


@pytest.mark.parametrize(
    ("structure", "kind"),
    [
        ({"text": "x"}, StructureText),
        ({"@class": "Structure", "sites": [], "lattice": {}}, PymatgenStructure),
        ({"symbols": ["H"], "positions": [[0, 0, 0]]}, PlainStructure),
    ],
)
def test_a_structure_is_told_by_its_keys(structure, kind):
    request = PredictionRequest(structure=structure)
    assert type(request.structure) is kind
    assert type(PredictionRequest(structure=request.structure).structure) is kind


def test_an_error_speaks_of_one_kind_of_structure():
    with pytest.raises(ValidationError, match="1 validation error"):
        PredictionRequest(structure={"text": "x", "format": "pdf"})
    with pytest.raises(ValidationError, match=r"structure\.plain\.positions"):
        PredictionRequest(structure={"symbols": ["H"]})
    with pytest.raises(ValidationError, match="structure"):
        PredictionRequest(structure=3)


def test_unknown_keys_are_refused_and_instances_do_not_change():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        PredictionRequest(structure={"text": "x"}, mood="good")
    with pytest.raises(ValidationError, match="frozen"):
        PredictionRequest(structure={"text": "x"}).vacuum = 3


def test_a_job_that_waits_or_runs_is_not_final():
    assert [status for status in JobStatus if not status.is_final] == ["queued", "running"]


def test_every_exported_name_exists_and_is_listed_in_order():
    constants = sorted(name for name in schemas.__all__ if name.isupper())
    classes = sorted(name for name in schemas.__all__ if not name.isupper())
    assert schemas.__all__ == constants + classes
    assert all(hasattr(schemas, name) for name in schemas.__all__)
