import hashlib
import itertools

import numpy as np
import pytest
from numpy.polynomial.legendre import leggauss
from safetensors import safe_open
from scipy.interpolate import CubicSpline

from models.density.promolecule import TABLE, Promolecule
from rhocast.elements import ATOMIC_NUMBERS, SYMBOLS
from rhocast.errors import UnsupportedByModel
from rhocast.structure import Structure
from tests.models.contract import DensityModelContract, bent_molecule, distorted_crystal, grid_points


@pytest.fixture(scope="module")
def promolecule() -> Promolecule:
    return Promolecule()


@pytest.fixture(scope="module")
def table() -> dict[str, np.ndarray]:
    with safe_open(TABLE, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- it is no dictionary


def free_atom(table: dict[str, np.ndarray], symbol: str) -> CubicSpline:
    """Density of one atom in e/Å³ as the file defines it."""
    line = table["numbers"].tolist().index(ATOMIC_NUMBERS[symbol])
    inside = table["radius"] < table["cutoff"][line] + 1e-6
    return CubicSpline(table["radius"][inside], table["density"][line][inside], bc_type="clamped")


def lattice_sum(table: dict[str, np.ndarray], structure: Structure, points: np.ndarray, n_images: int) -> np.ndarray:
    """Promolecule at points [n_points, 3] by a plain loop over atoms, with `n_images` cells in each direction."""
    total = np.zeros(len(points))
    images = np.array(list(itertools.product(range(-n_images, n_images + 1), repeat=3))) @ structure.cell
    for symbol, position in zip(structure.symbols, structure.positions, strict=True):
        spline = free_atom(table, symbol)
        distance = np.linalg.norm(points[:, None] - position - images, axis=2)
        values = np.zeros(distance.shape)
        near = distance < spline.x[-1]
        values[near] = spline(distance[near])
        total += values.sum(axis=1)
    return total


class TestPromolecule(DensityModelContract):
    @pytest.fixture
    def model(self, promolecule):
        return promolecule


def test_a_sheared_crystal_equals_a_plain_lattice_sum(promolecule, table):
    crystal = distorted_crystal(("Na", "Te", "O", "H"))
    shape = (3, 4, 5)
    expected = lattice_sum(table, crystal, grid_points(crystal.cell, shape), n_images=6)
    found = promolecule.fields([crystal])[0].on_grid(shape)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-9)


def test_a_cell_of_one_atom_smaller_than_the_cutoff_equals_a_plain_lattice_sum(promolecule, table):
    cell = np.array([[0.0, 1.8, 1.8], [1.8, 0.0, 1.8], [1.8, 1.8, 0.0]])
    copper = Structure.from_symbols(["Cu"], [[0.3, -0.2, 5.1]], cell)
    expected = lattice_sum(table, copper, grid_points(cell, (2, 3, 4)), n_images=9)
    found = promolecule.fields([copper])[0].on_grid((2, 3, 4))
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-9)


def test_a_molecule_equals_a_plain_sum_without_images(promolecule, table):
    water, shape = bent_molecule(edge=4.0), (6, 5, 4)
    expected = lattice_sum(table, water, grid_points(water.cell, shape), n_images=0)
    found = promolecule.fields([water])[0].on_grid(shape)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-9)


def test_every_line_of_the_table_integrates_to_its_valence(promolecule, table):
    nodes, weights = leggauss(8)
    for number, valence in zip(table["numbers"].tolist(), table["valence"], strict=True):
        spline = free_atom(table, SYMBOLS[number])
        radius = spline.x[:-1, None] + np.diff(spline.x)[:, None] * (nodes + 1) / 2
        integral = 2 * np.pi * np.sum(weights * np.diff(spline.x)[:, None] * radius**2 * spline(radius))
        assert integral == pytest.approx(valence, abs=1e-10)
        assert promolecule.info.valence_electrons[SYMBOLS[number]] == valence


def test_free_atoms_are_smooth_positive_and_end_at_their_cutoffs(table):
    for number, density in zip(table["numbers"].tolist(), table["density"], strict=True):
        spline = free_atom(table, SYMBOLS[number])
        inside = len(spline.x) - 1
        assert (density[:inside] > 0).all()
        assert (density[inside:] == 0).all()
        assert np.abs(spline([0.0, spline.x[-1]], nu=1)).max() < 1e-9 * density.max()
        assert abs(spline(spline.x[-1], nu=2)) < 1e-9


def test_the_table_has_the_valences_that_the_conventions_name(promolecule):
    counted = {symbol: promolecule.info.valence_electrons[symbol] for symbol in ("Na", "Mg", "Ti", "Ga")}
    assert counted == {"Na": 7, "Mg": 10, "Ti": 12, "Ga": 3}


@pytest.mark.parametrize("symbol", ["Tc", "Po", "At", "Fr", "U"])
def test_an_element_without_a_data_set_is_refused_by_name(promolecule, symbol):
    structure = Structure.from_symbols(["Si", symbol], [[0, 0, 0], [2, 2, 2]], 4 * np.eye(3))
    with pytest.raises(UnsupportedByModel, match=rf"found {symbol}; the promolecule covers .* except Tc, Po and At"):
        promolecule.fields([distorted_crystal(), structure])


def test_all_elements_up_to_radon_but_three_are_covered(promolecule):
    assert set(SYMBOLS[1:87]) - set(promolecule.info.elements) == {"Tc", "Po", "At"}
    assert len(promolecule.info.elements) == 83


def test_the_hash_is_that_of_the_file(promolecule):
    assert promolecule.info.weights_sha256 == hashlib.sha256(TABLE.read_bytes()).hexdigest()


def test_the_file_says_what_it_is_and_under_which_licence(promolecule):
    with safe_open(TABLE, "numpy") as file:
        labels = file.metadata()
    assert labels["licence"] == promolecule.info.licence == "CC-BY-4.0"
    assert "gpaw-data 1.2.1" in labels["source"]
    assert "python -m reference.atoms" in labels["command"]


@pytest.mark.parametrize("symbol", ["H", "N", "O", "F", "Na", "Cr", "Te", "Lu"])
def test_the_recommended_spacing_integrates_every_atom(promolecule, symbol):
    n_points = 28
    cell = n_points * promolecule.info.recommended_spacing * np.eye(3)
    field = promolecule.fields([Structure.from_symbols([symbol], [[0.0, 0.0, 0.0]], cell)])[0]
    integral = field.on_grid((n_points, n_points, n_points)).mean() * np.linalg.det(cell)
    assert integral == pytest.approx(field.n_electrons, rel=1e-4)


def test_what_others_bring_to_a_molecule_s_atom_is_the_field_without_it(promolecule):
    molecule = bent_molecule()
    (field,) = promolecule.fields([molecule])
    for atom, found in enumerate(field.brought_by_others()):
        others = Structure(
            np.delete(molecule.numbers, atom), np.delete(molecule.positions, atom, axis=0), molecule.cell, False
        )
        (without,) = promolecule.fields([others])
        assert found == pytest.approx(without.at_points(molecule.positions[[atom]])[0], rel=1e-9)


def test_an_atom_s_images_are_others(promolecule):
    alone = Structure.from_symbols(["Mg"], [[0.0, 0, 0]], 3 * np.eye(3))
    pair = Structure.from_symbols(["Mg", "Mg"], [[0.0, 0, 0], [3.0, 0, 0]], np.diag([6.0, 3, 3]))
    small, large = (promolecule.fields([one])[0].brought_by_others() for one in (alone, pair))
    np.testing.assert_allclose(large, [small[0], small[0]], rtol=1e-9)
    assert small[0] > 0.01
