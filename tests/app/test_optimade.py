"""OPTIMADE entries, against pymatgen's own writer of them."""

import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.optimade import OptimadeStructureAdapter

from app.structures.optimade import read_optimade
from app.structures.parsing import parsed
from app.structures.preflight import check_size, structure_format
from rhocast.errors import InvalidFile, InvalidStructure
from tests.app.samples import optimade_entry


def read(record):
    return read_optimade(json.dumps(record))


def with_species(*, symbols=("Cl",), concentration=(1.0,)):
    return optimade_entry(
        species_at_sites=["Cl1", "Cl1"],
        species=[{"name": "Cl1", "chemical_symbols": list(symbols), "concentration": list(concentration)}],
    )


def test_what_pymatgen_writes_is_read_as_it_was():
    lattice = Lattice.from_parameters(4.1, 5.2, 6.3, 81, 97, 103)
    crystal = Structure(lattice, ["Ti", "O", "O"], [[0.1, 0.2, 0.3], [0.4, 0.7, 0.2], [0.9, 0.5, 0.6]])
    written = OptimadeStructureAdapter.get_optimade_structure(crystal)
    found = read(json.loads(json.dumps(written)))
    assert found.symbols == ["Ti", "O", "O"]
    np.testing.assert_allclose(found.cell, lattice.matrix, atol=1e-10)
    np.testing.assert_allclose(found.positions, crystal.cart_coords, atol=1e-10)


@pytest.mark.parametrize("wrapped", [{"data": optimade_entry()}, {"data": [optimade_entry()], "meta": {}}])
def test_a_whole_answer_is_read_like_its_entry(wrapped):
    assert read(wrapped).formula == read(optimade_entry()).formula == "NaCl"


def test_names_of_species_need_not_be_symbols():
    assert read(with_species()).symbols == ["Cl", "Cl"]


def test_without_species_their_names_are_symbols():
    assert read(optimade_entry(species=None)).symbols == ["Na", "Cl"]


def test_without_periodic_directions_it_is_a_molecule_whose_cell_does_not_matter():
    molecule = read(optimade_entry(dimension_types=[0, 0, 0], lattice_vectors=[[None] * 3] * 3))
    assert not molecule.is_periodic


def test_its_text_is_known_by_its_content_and_never_too_much_to_look_at():
    text = json.dumps(optimade_entry())
    assert structure_format("\n " + text) == "optimade"
    check_size(text, "optimade", 1)


@pytest.mark.parametrize(
    ("record", "error", "words"),
    [
        (optimade_entry(dimension_types=[1, 1, 0]), InvalidStructure, "empty space in its cell"),
        (optimade_entry(species_at_sites=["Na"]), InvalidFile, "2 cartesian_site_positions and 1 species_at_sites"),
        (with_species(symbols=("Cl", "Br"), concentration=(0.5, 0.5)), InvalidStructure, "of Cl and Br; .*ordered"),
        (with_species(concentration=(0.5,)), InvalidStructure, "concentration of 0.5; .*ordered"),
        (with_species(symbols=("vacancy",)), InvalidStructure, "found vacancies"),
        (with_species(symbols=("X",)), InvalidStructure, "atoms of unknown element"),
        (optimade_entry(lattice_vectors=None), InvalidStructure, "a cell of shape"),
        ({"data": [optimade_entry()] * 2}, InvalidFile, "found 2 entries"),
        (optimade_entry() | {"type": "references"}, InvalidFile, "type 'references'; expected 'structures'"),
    ],
)  # fmt: skip
def test_what_is_no_whole_structure_is_refused(record, error, words):
    with pytest.raises(error, match=words):
        read(record)


@pytest.mark.parametrize("record", [{"data": None}, {"data": {"id": "1"}}, {}])
def test_what_lacks_something_cannot_be_read(record):
    with pytest.raises(InvalidFile, match="optimade structure that cannot be read"):
        parsed("optimade", json.dumps(record), 10, 5.0)
