"""Which grid a density is drawn on."""

import math

from rhocast.density.grids import LARGEST_AXIS, shape_for_encut, shape_for_spacing
from rhocast.errors import InvalidGrid, TooLarge
from rhocast.schemas import GridRequest
from rhocast.structure import Structure


def chosen_grid(
    structure: Structure, request: GridRequest, default_spacing: float, max_points: int
) -> tuple[tuple[int, int, int], str]:
    """Points along each cell vector, and how they were chosen.

    Args:
        structure: Cell that the grid spans.
        request: What the user asked for.
        default_spacing: Spacing in Å where nothing was asked for.
        max_points: Largest grid that is made.

    Raises:
        InvalidGrid: If more than one choice is given or a value is unusable.
        TooLarge: If the grid has too many points.
    """
    asked = [name for name in ("shape", "spacing", "encut") if getattr(request, name) is not None]
    if len(asked) > 1:
        raise InvalidGrid(
            f"found {' and '.join(asked)}; expected one of shape, spacing and encut; leave the others out"
        )
    if request.shape is not None:
        shape, how = request.shape, "shape as asked"
        if not 1 <= min(shape) <= max(shape) <= LARGEST_AXIS:
            raise InvalidGrid(
                f"found a grid of {' × '.join(str(n)[:20] for n in shape)} points; expected 1 to {LARGEST_AXIS} along "
                "each vector; choose a shape such as 64,64,64, or a spacing"
            )
    elif request.encut is not None:
        shape, how = (
            shape_for_encut(structure.cell, request.encut),
            f"fine FFT grid of ENCUT {request.encut:g} eV (VASP, PREC=Accurate)",
        )
    else:
        spacing = request.spacing if request.spacing is not None else default_spacing
        word = "as asked" if request.spacing is not None else "by default"
        shape, how = shape_for_spacing(structure.cell, spacing), f"spacing of at most {spacing:g} Å {word}"
    points = math.prod(shape)
    if points > max_points:
        raise TooLarge(
            f"found a grid of {' × '.join(map(str, shape))} = {points:.3g} points; expected at most {max_points:.3g}; "
            "choose a larger spacing"
        )
    return shape, how
