"""Laws of every generator of structures."""

from importlib.util import find_spec
from itertools import islice, product

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii

from reference import sets
from reference.errors import MissingPackage, UnknownSet
from reference.sets import aluminium, crystals, water
from reference.sets.prototypes import METALS, OXIDATION_STATES, PROTOTYPES, compositions
from reference.sets.radii import IONIC_RADIUS, atomic_volume, lattice_constant
from reference.settings import ALUMINIUM
from reference.structure import refusal, split_by_group, split_by_turn
from rhocast.elements import MAGNETIC_ELEMENTS, SYMBOLS

has_xtb = find_spec("rdkit") is not None and find_spec("tblite") is not None
needs_xtb = pytest.mark.skipif(not has_xtb, reason="rdkit and tblite, which only generators need, are not installed")

N_COMPARED = {"aluminium": 3, "crystals": 60, "water": 6, "organics": 6, "molecule-md": 21}


@pytest.fixture(autouse=True)
def short_trajectories(monkeypatch):
    """Trajectories of femtoseconds: their laws do not depend on how long they are."""
    monkeypatch.setattr(water, "EQUILIBRATION", 4)
    monkeypatch.setattr(water, "SPACING", 2)
    if has_xtb:
        from reference.sets import molecule_md

        monkeypatch.setattr(molecule_md, "EQUILIBRATION", 4)
        monkeypatch.setattr(molecule_md, "SPACING", 2)


def same(a, b):
    return (a.content_hash, a.group, a.split, dict(a.provenance)) == (
        b.content_hash, b.group, b.split, dict(b.provenance),
    )  # fmt: skip


def every_set():
    slow = {"organics", "molecule-md"}
    return [pytest.param(name, marks=needs_xtb if name in slow else ()) for name in sets.NAMES]


@pytest.mark.parametrize("name", every_set())
def test_a_structure_is_the_same_wherever_one_starts(name):
    of, n = sets.structure_set(name), N_COMPARED[name]
    whole = list(islice(of.structures(0), n))
    assert [structure.index for structure in whole] == list(range(n))
    assert same(next(of.structures(0, n - 1)), whole[-1])
    assert not same(next(of.structures(1)), whole[0])
    assert len({structure.content_hash for structure in whole}) == n


@pytest.mark.parametrize("name", every_set())
def test_every_structure_can_be_labelled(name):
    of = sets.structure_set(name)
    for structure in islice(of.structures(0), N_COMPARED[name]):
        assert refusal(structure) is None
        assert structure.settings.hash in of.settings_hashes
        assert structure.set_name == name
        assert np.linalg.det(structure.cell) > 0


def test_an_unknown_set_is_refused():
    with pytest.raises(UnknownSet, match="no set 'sand'"):
        sets.structure_set("sand")


def test_a_missing_package_is_named(monkeypatch):
    def fail(_name):
        raise ImportError("no", name="rdkit")

    monkeypatch.setattr(sets, "import_module", fail)
    with pytest.raises(MissingPackage, match="needs rdkit"):
        sets.structure_set("organics")


def test_a_hash_holds_out_a_fifth_of_many_groups():
    splits = [split_by_group(f"C{k}H{k}") for k in range(4000)]
    assert splits.count("test") == pytest.approx(400, rel=0.2)
    assert splits.count("validation") == pytest.approx(400, rel=0.2)


def test_turns_hold_out_a_fifth_and_some_of_few_trajectories():
    splits = [split_by_turn(number) for number in range(10)]
    assert (splits.count("test"), splits.count("validation")) == (1, 1)
    assert "test" in splits[:7]


@pytest.mark.parametrize("name", ["crystals", "aluminium", "water"])
def test_a_group_is_in_one_split(name):
    of = sets.structure_set(name)
    splits = {}
    for structure in islice(of.structures(3), N_COMPARED[name]):
        assert splits.setdefault(structure.group, structure.split) == structure.split


def test_aluminium_has_the_cells_that_the_issue_asks_for():
    sizes = [plan.n_sites for plan in aluminium.PLANS]
    assert {4, 16, 32, 64, 108} == set(sizes)
    assert sizes.count(32) >= 15
    assert (sizes.count(64), sizes.count(108)) == (3, 1)
    assert {plan.kind for plan in aluminium.PLANS} == {"strained", "displaced", "vacancy", "liquid"}


@pytest.mark.parametrize(
    "plan", dict.fromkeys(aluminium.PLANS + aluminium.WIDE_PLANS), ids=lambda plan: f"{plan.n_sites}-{plan.kind}"
)
def test_an_aluminium_cell_is_fcc_before_it_moves(plan):
    atoms = aluminium.cell_of(plan, 300.0, np.random.default_rng(0))
    assert len(atoms) == plan.n_sites - (plan.kind == "vacancy")
    distances = atoms.repeat(2).get_all_distances(mic=True)
    nearest = np.sort(distances, axis=1)[:, 1:12].mean()
    assert nearest == pytest.approx(4.04 / np.sqrt(2), rel=0.04)


def test_large_aluminium_cells_are_only_for_the_test():
    large = [k for k, plan in enumerate(aluminium.PLANS) if plan.n_sites in aluminium.TRANSFER_SIZES]
    assert next(sets.structure_set("aluminium").structures(0, large[0])).split == "test"


def test_wide_aluminium_cells_hold_no_images_nearby_and_cost_no_more_k_points_than_that_of_108():
    images = np.array([shift for shift in product((-1, 0, 1), repeat=3) if any(shift)])
    plans = (*aluminium.WIDE_PLANS, aluminium.Plan(108, "displaced"))
    cells = [aluminium.cell_of(plan, 0.0, np.random.default_rng(0)).cell for plan in plans]
    assert all(np.linalg.norm(images @ cell.array, axis=1).min() > 10.5 for cell in cells)
    meshes = [2 * np.pi * ALUMINIUM.k_density * np.linalg.norm(cell.reciprocal(), axis=1) for cell in cells]
    assert all(np.array_equal(np.ceil(mesh), (3, 3, 3)) for mesh in meshes)


def test_every_formula_is_balanced():
    for prototype in PROTOTYPES:
        counts = np.bincount(prototype.places)
        for states in prototype.states:
            assert np.dot(counts, states) == 0, (prototype.name, states)


def test_no_element_is_magnetic_or_without_a_data_set():
    used = {symbol for prototype in PROTOTYPES for symbols, _ in compositions(prototype) for symbol in symbols}
    assert not used & (MAGNETIC_ELEMENTS | {"Tc", "Po", "At"})
    assert len(used) >= 40
    assert used <= {s for group in OXIDATION_STATES.values() for s in group} | set(METALS)


@pytest.mark.parametrize("prototype", PROTOTYPES, ids=lambda prototype: prototype.name)
def test_atoms_keep_their_distance(prototype):
    choices = crystals.sensible_compositions(prototype)
    assert choices
    for symbols, states in choices[:: len(choices) // 50 + 1]:
        atoms = crystals.ideal_crystal(prototype, symbols, states)
        distances = atoms.repeat(3).get_all_distances(mic=True)
        np.fill_diagonal(distances, 99)
        radii = np.tile(covalent_radii[atoms.numbers], 27)
        ratio = (distances / (radii[:, None] + radii)).min()
        assert 0.68 < ratio < 1.4, (symbols, states, ratio)


@pytest.mark.parametrize(
    ("name", "symbols", "states", "measured"),
    [
        ("rs", ("Na", "Cl"), (1, -1), 5.64),
        ("rs", ("Mg", "O"), (2, -2), 4.21),
        ("zb", ("Ga", "As"), (3, -3), 5.65),
        ("diamond", ("Si",), (0,), 5.43),
        ("cscl", ("Cs", "Cl"), (1, -1), 4.12),
        ("fluorite", ("Ca", "F"), (2, -1), 5.46),
        ("perov", ("Sr", "Ti", "O"), (2, 4, -2), 3.905),
        ("elemfcc", ("Cu",), (), 3.61),
        ("elembcc", ("W",), (), 3.16),
        ("elemhcp", ("Mg",), (), 3.21),
    ],
)
def test_lattice_constants_are_near_the_measured_ones(name, symbols, states, measured):
    (prototype,) = (prototype for prototype in PROTOTYPES if prototype.name == name)
    assert lattice_constant(prototype, symbols, states) == pytest.approx(measured, rel=0.06)


def test_every_ion_has_a_radius_and_every_metal_a_volume():
    for state, symbols in OXIDATION_STATES.items():
        assert state == 0 or set(symbols) <= IONIC_RADIUS[state].keys()
    assert all(9 < atomic_volume(symbol) < 125 for symbol in METALS if symbol != "Be")
    with pytest.raises(ValueError, match="no atomic volume of O"):
        atomic_volume("O")


def test_crystals_cover_forty_elements_and_hold_out_a_tenth():
    drawn = list(islice(sets.structure_set("crystals").structures(0), 200))
    assert len({SYMBOLS[n] for structure in drawn for n in structure.numbers}) >= 40
    assert sum(structure.split == "test" for structure in drawn) >= 10
    assert max(len(structure.numbers) for structure in drawn) <= 6
    assert {structure.provenance["mode"] for structure in drawn} == set(crystals.MODES)


def test_a_distorted_crystal_has_the_volume_that_it_says():
    perfect = Atoms("MgO", scaled_positions=[[0, 0, 0], [0.5] * 3], cell=np.eye(3) * 3, pbc=True)
    for mode in crystals.MODES:
        atoms, volume = crystals.distorted(perfect.copy(), mode, np.random.default_rng(0))
        n_cells = len(atoms) // 2
        assert atoms.get_volume() / n_cells / 27 == pytest.approx(volume, rel=2e-3)
        assert abs(volume - 1) <= 0.08


@needs_xtb
def test_organic_molecules_are_small_closed_shells_of_five_elements():
    for structure in islice(sets.structure_set("organics").structures(7), 12):
        assert set(structure.numbers) <= {1, 6, 7, 8, 9}
        assert np.sum(structure.numbers > 1) <= 9
        assert structure.n_electrons % 2 == 0
        assert structure.positions.min() == pytest.approx(3.5)
        np.testing.assert_allclose(np.diag(structure.cell) - structure.positions.max(axis=0), 3.5)
