"""Units as data: a field's unit stands in its description and, as `x-unit`, in the OpenAPI document."""

from typing import Any

from pydantic import Field


def Quantity(unit: str, description: str, **constraints: Any) -> Any:  # noqa: N802  (reads as a type in annotations)
    """Field metadata for a number with a unit.

    Args:
        unit: Unit symbol, such as "eV/Å"; "1" for a pure number.
        description: What the number is.
        constraints: Further arguments of `pydantic.Field`.

    Returns:
        The field metadata, for use inside `Annotated`.
    """
    return Field(description=f"{description}, {unit}", json_schema_extra={"x-unit": unit}, **constraints)
