"""What a request asks to be computed of its structure: some properties of it, or where it relaxes to."""

from dataclasses import dataclass

from rhocast.errors import InvalidStructure
from rhocast.model_info import ModelInfo, Property
from rhocast.schemas import AnyRequest, PredictionRequest, RelaxationSettings
from rhocast.structure import Structure

_STEPS_OF_A_PREDICTION = 100

GridShape = tuple[int, int, int]


@dataclass(frozen=True)
class Computation:
    """What is computed of one structure.

    Attributes:
        want: Properties.
        relaxation: How far the structure relaxes first; None if it stays.
        grid: Grid of the density, if one is wanted.
        grid_chosen_by: How that was chosen, in words.
    """

    want: list[Property]
    relaxation: RelaxationSettings | None = None
    grid: GridShape | None = None
    grid_chosen_by: str = ""

    @property
    def n_predictions(self) -> int:
        """How many predictions it is charged as. Few relaxations take all their steps: each hundred count as one."""
        return 1 + self.relaxation.steps // _STEPS_OF_A_PREDICTION if self.relaxation is not None else 1


def computation_of(request: AnyRequest, structure: Structure) -> Computation:
    """What a request asks of its structure, without the grid, which depends on the model.

    Args:
        request: What is asked.
        structure: Its structure.

    Raises:
        InvalidStructure: If the cell of a molecule is to relax.
    """
    if isinstance(request, PredictionRequest):
        return Computation(list(dict.fromkeys(request.want)))
    if request.relax_cell and not structure.is_periodic:
        raise InvalidStructure(
            "found relax_cell = true for a molecule; expected a structure with a cell: the box of a molecule is no "
            "part of it; leave relax_cell out, or send a cell"
        )
    relax_cell = structure.is_periodic if request.relax_cell is None else request.relax_cell
    settings = RelaxationSettings(fmax=request.fmax, steps=request.steps, relax_cell=relax_cell)
    return Computation([Property.ENERGY, Property.FORCES, *([Property.STRESS] if relax_cell else [])], settings)


def relaxation_warnings(info: ModelInfo) -> list[str]:
    """What whoever relaxes a structure with a model should know."""
    if info.is_conservative is not False:
        return []
    return [
        f"the forces of {info.name} are not the derivative of its energy: where they vanish need be no minimum of it"
    ]
