"""Measured rows, as a table for people and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from rich.table import Table

HEADINGS = ("what", "of", "measured", "limit", "", "remark")


@dataclass(frozen=True)
class Row:
    """One number that was measured.

    Attributes:
        what: The quantity.
        system: What it was measured on.
        value: The number.
        unit: Its unit.
        limit: The largest absolute value that is good; None where the number is for information.
        remark: What a reader must know beside it.
        details: Everything behind it, for the JSON.
    """

    what: str
    system: str
    value: float
    unit: str
    limit: float | None = None
    remark: str = ""
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_met(self) -> bool:
        return self.limit is None or bool(abs(self.value) <= self.limit)

    @property
    def cells(self) -> tuple[str, ...]:
        """Texts under `HEADINGS`."""
        verdict = "" if self.limit is None else "met" if self.is_met else "MISSED"
        limit = "" if self.limit is None else f"{self.limit:g}"
        return self.what, self.system, f"{self.value:.2g} {self.unit}".strip(), limit, verdict, self.remark


def table(rows: Sequence[Row]) -> Table:
    """The rows for a terminal; a number that missed its limit is red."""
    shown = Table(*HEADINGS)
    for row in rows:
        shown.add_row(*row.cells, style=None if row.is_met else "red")
    return shown


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a markdown table."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells for row in rows)]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def as_json(rows: Sequence[Row], about: Mapping[str, object]) -> str:
    """The rows with their details.

    Args:
        rows: What was measured.
        about: Command, machine, versions and date.
    """
    written = [asdict(row) | {"is_met": row.is_met} for row in rows]
    return json.dumps({"about": dict(about), "rows": written}, indent=1, ensure_ascii=False) + "\n"
