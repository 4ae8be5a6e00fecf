import sys
from pathlib import Path

import numpy as np
import pytest

from reference.folder import SetFolder
from reference.labelling import Labeller
from reference.maker import Maker, Order, Outcome
from reference.record import Record, assembled_record
from reference.settings import INSULATOR, METAL, SetSettings
from reference.structure import ReferenceStructure, StructureSet

FAKE = Path(__file__).with_name("fake_label.py")


def rock_salt(seed: int, number: int) -> list[ReferenceStructure]:
    """Two cells of MgO, one a little larger: a batch of a toy set."""
    return [
        ReferenceStructure(
            set_name="crystals",
            seed=seed,
            index=2 * number + which,
            numbers=np.array([12, 8]),
            positions=np.array([[0, 0, 0], [0, 0, 2.1]]),
            cell=np.diag([4.2, 4.2, 4.2 + 0.1 * seed + 0.02 * number + 0.01 * which]),
            is_periodic=True,
            group="MgO",
            split="train",
            settings=METAL,
        )
        for which in range(2)
    ]


@pytest.fixture
def toy_set() -> StructureSet:
    return StructureSet("toy", 2, rock_salt, SetSettings("crystals", (INSULATOR, METAL)))


@pytest.fixture
def labeller() -> Labeller:
    return Labeller((sys.executable, str(FAKE)))


@pytest.fixture
def record(toy_set: StructureSet, labeller: Labeller) -> Record:
    """The first structure of the toy set, labelled."""
    structure = toy_set.batch(0, 0)[0]
    return assembled_record(structure, labeller.labels(structure), "test")


@pytest.fixture
def make(tmp_path, toy_set, labeller):
    """Makes n structures of the toy set in the test's folder."""

    def run(n: int, of: StructureSet = toy_set, **options) -> Outcome:
        return Maker(Order(of, 0, n, **options), SetFolder(tmp_path, of), labeller).run()

    return run
