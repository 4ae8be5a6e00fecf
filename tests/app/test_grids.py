"""Which grid is chosen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.grids import chosen_grid
from rhocast.errors import InvalidGrid, TooLarge
from rhocast.schemas import GridRequest
from rhocast.structure import Structure

SALT = Structure.from_symbols(["Na", "Cl"], [[0, 0, 0], [2.8, 2.9, 3.0]], np.diag([5.6, 5.8, 6.0]))


# Hypothesis sees the random numbers that the live worker's threads draw beside it.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@settings(deadline=None)
@given(st.floats(0.05, 2.0))
def test_points_are_no_further_apart_than_asked(spacing):
    shape, how = chosen_grid(SALT, GridRequest(spacing=spacing), 0.12, 10**9)
    assert (np.diag(SALT.cell) / shape <= spacing * (1 + 1e-9)).all()
    assert how == f"spacing of at most {spacing:g} Å as asked"


def test_every_choice_is_told():
    assert chosen_grid(SALT, GridRequest(), 0.2, 10**9) == ((28, 30, 30), "spacing of at most 0.2 Å by default")
    assert chosen_grid(SALT, GridRequest(shape=(1, 2, 3)), 0.2, 10**9) == ((1, 2, 3), "shape as asked")
    shape, how = chosen_grid(SALT, GridRequest(encut=520), 0.2, 10**9)
    assert how == "fine FFT grid of ENCUT 520 eV (VASP, PREC=Accurate)"
    assert min(shape) > 60


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (GridRequest(shape=(2, 2, 2), encut=5), InvalidGrid, "shape and encut; expected one of"),
        (GridRequest(shape=(2, 0, 2)), InvalidGrid, "2 × 0 × 2 points; expected 1 to 20000"),
        (GridRequest(shape=(10**400, 1, 1)), InvalidGrid, "expected 1 to 20000"),
        (
            GridRequest(shape=(10, 10, 11)),
            TooLarge,
            "= 1.1e.03 points; expected at most 1e.03; choose a larger spacing",
        ),
        (GridRequest(spacing=float("nan")), InvalidGrid, "spacing of nan Å; expected a positive"),
        (GridRequest(encut=0), InvalidGrid, "cutoff of 0.0 eV; expected a positive"),
    ],
)
def test_a_grid_that_cannot_be_made_is_refused(request_, error, words):
    with pytest.raises(error, match=words):
        chosen_grid(SALT, request_, 0.12, 1000)
