from dataclasses import replace

import numpy as np

from app.submission import passed_over, warnings_for
from jobs.directory import Entry
from rhocast.model_info import Property
from rhocast.structure import Structure
from tests.workers.fakes import info

SALT = Structure.from_symbols(["Na", "Cl"], [[0, 0, 0], [2.8, 0, 0]], 5.6 * np.eye(3))
GENERAL, SODIUM, SMALL = (info(name, Property.DENSITY) for name in ("general", "sodium", "small"))
SODIUM, SMALL = replace(SODIUM, elements=("Na",)), replace(SMALL, max_atoms=1)
ENTRIES = {one.name: Entry(one, 1) for one in (GENERAL, SODIUM, SMALL)}
CHOSEN = {Property.DENSITY: GENERAL}


def test_models_that_gave_way_are_told_with_the_reason() -> None:
    assert passed_over(["sodium", "small", "general"], ENTRIES, CHOSEN, SALT) == [
        "sodium does not cover Cl: general answered for density",
        "small does not cover so many atoms: general answered for density",
    ]


def test_nobody_gave_way_where_the_first_named_or_the_default_answered() -> None:
    assert passed_over(["general", "sodium"], ENTRIES, CHOSEN, SALT) == []
    assert passed_over([], ENTRIES, CHOSEN, SALT) == []


def test_a_model_whose_forces_are_no_derivatives_says_so_in_every_answer() -> None:
    conservative, direct = (replace(GENERAL, is_conservative=one) for one in (True, False))
    assert warnings_for(SALT, conservative) == []
    (line,) = warnings_for(SALT, direct)
    assert "no derivatives of its energy: never use them for dynamics at constant energy or for phonons" in line
