"""What follows a prediction: charges, moments, profiles, the potential, and a comparison with another job."""

import math
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import FileResponse, Response

from app.access import CallerDep
from app.analyses import Line, charges_recipe, comparison_recipe, line_recipe, moments_recipe, profile_recipe
from app.downloads import MEDIA_TYPES, POTENTIAL_FILE_NAMES, potential_recipe
from app.kept_files import FILE_RESPONSES, SenderDep
from app.problems import documented
from app.services import ServicesDep
from app.stored_density import StoredDensityDep, density_of_job
from rhocast.analysis_schemas import (
    AxisName,
    ChargesAnswer,
    ComparisonAnswer,
    FieldQuantity,
    LineAnswer,
    MomentsAnswer,
    PotentialFormat,
    ProfileAnswer,
)
from rhocast.errors import InvalidField, TooLarge
from rhocast.schemas import Schema, Vector

router = APIRouter(tags=["analysis"])

_JSON = "application/json"
_RESPONSES = FILE_RESPONSES | documented(TooLarge)

QuantityName = Annotated[FieldQuantity, Query(description="What is averaged or followed")]
Windows = Annotated[
    list[float], Query(description="Width of a sliding average, Å; twice for the double average", max_length=4)
]


def _analysis(name: str, answer: type[Schema], summary: str) -> Any:
    return router.get(
        f"/v1/jobs/{{job_id}}/{name}",
        response_class=Response,
        responses=_RESPONSES | {200: {"model": answer}},
        summary=summary,
    )


@_analysis("charges", ChargesAnswer, "Hirshfeld charges of the atoms")
async def get_charges(stored: StoredDensityDep, services: ServicesDep, sender: SenderDep) -> Response:
    return await sender.sent(charges_recipe(stored), services.analyst, _JSON)


@_analysis("moments", MomentsAnswer, "Number of electrons; dipole and quadrupole of a molecule")
async def get_moments(stored: StoredDensityDep, services: ServicesDep, sender: SenderDep) -> Response:
    return await sender.sent(moments_recipe(stored), services.analyst, _JSON)


@_analysis("profile", ProfileAnswer, "Averages over lattice planes; of a potential also the vacuum level")
async def get_profile(
    stored: StoredDensityDep,
    services: ServicesDep,
    sender: SenderDep,
    axis: Annotated[AxisName, Query(description="The cell vector that the planes do not contain")] = "c",
    quantity: QuantityName = "density",
    window: Windows = [],  # noqa: B006  (FastAPI copies it)
) -> Response:
    return await sender.sent(profile_recipe(stored, quantity, axis, window), services.analyst, _JSON)


def asked_line(
    start: Annotated[str, Query(description="First position, such as 0,0,0")],
    end: Annotated[str, Query(description="Last position")],
    unit: Annotated[
        Literal["angstrom", "cell"], Query(description="Whether positions are in Å or in cell vectors")
    ] = "angstrom",
    points: Annotated[int, Query(description="Points of the line, both ends among them", ge=2, le=10_000)] = 200,
) -> Line:
    return Line(_position(start), _position(end), unit == "cell", points)


@_analysis("line", LineAnswer, "Values along a straight line")
async def get_line(
    stored: StoredDensityDep,
    services: ServicesDep,
    sender: SenderDep,
    line: Annotated[Line, Depends(asked_line)],
    quantity: QuantityName = "density",
) -> Response:
    return await sender.sent(line_recipe(stored, quantity, line), services.analyst, _JSON)


@_analysis("comparison", ComparisonAnswer, "How the density differs from that of another job")
async def get_comparison(
    stored: StoredDensityDep,
    services: ServicesDep,
    sender: SenderDep,
    caller: CallerDep,
    other_id: Annotated[str, Query(alias="with", description="Id of the other job, which is the reference")],
) -> Response:
    reference = await density_of_job(other_id, services, caller)
    return await sender.sent(comparison_recipe(stored, reference), services.analyst, _JSON)


_POTENTIAL: Any = {
    "path": "/v1/jobs/{job_id}/potential",
    "responses": {200: {"description": "The file", "content": {"text/plain": {}}}} | _RESPONSES,
    "response_class": FileResponse,
}


@router.head(**_POTENTIAL, summary="What is known of the file of the potential; nothing is made")
@router.get(**_POTENTIAL, summary="The electrostatic potential of electrons and ions as a file")
async def get_potential(
    stored: StoredDensityDep,
    services: ServicesDep,
    sender: SenderDep,
    format: Annotated[PotentialFormat, Query()] = "locpot",
) -> Response:
    recipe = potential_recipe(stored, format)
    return await sender.sent(recipe, services.analyst, MEDIA_TYPES[format], POTENTIAL_FILE_NAMES[format])


def _position(text: str) -> Vector:
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidField(f"found the position {text[:80]!r}; expected three numbers such as 0,0,1.5") from error
    if not all(map(math.isfinite, (x, y, z))):
        raise InvalidField(f"found the position {text[:80]!r}; expected finite numbers")
    return x, y, z
