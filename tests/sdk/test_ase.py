"""The calculator, against the service itself and against CHGNet's own calculator."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.stress import full_3x3_to_voigt_6_stress

from rhocast import Client
from rhocast.ase import RhocastCalculator
from rhocast.errors import UnknownModel
from tests.sdk.in_process import InProcess


@pytest.fixture(scope="module")
def transport(live) -> InProcess:
    return InProcess(live.client)


@pytest.fixture
def service(transport) -> Client:
    transport.calls.clear()
    return Client(transport=transport, progress=False)


@pytest.fixture
def calculator(service) -> RhocastCalculator:
    return RhocastCalculator("chgnet", client=service)


def rattled(seed: int = 0) -> Atoms:
    """Rock salt, pushed and pulled."""
    atoms = bulk("NaCl", "rocksalt", a=5.7)
    atoms.rattle(0.1, seed=seed)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * np.array([[1, 1, 0], [1, -1, 0], [0, 0, 1]])), True)
    return atoms


def posts(transport: InProcess) -> int:
    return sum(call.method == "POST" for call in transport.calls)


@pytest.mark.filterwarnings("ignore")  # of CHGNet's own calculator
def test_a_relaxation_ends_where_that_with_chgnet_s_own_calculator_does(calculator):
    from chgnet.model.dynamics import CHGNetCalculator
    from chgnet.model.model import CHGNet

    relaxed = []
    for one in (calculator, CHGNetCalculator(CHGNet.load(use_device="cpu", verbose=False), use_device="cpu")):
        atoms = rattled()
        atoms.calc = one
        before = atoms.get_potential_energy()
        assert BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=0.02, steps=100)
        assert atoms.get_potential_energy() < before - 0.02
        relaxed.append(atoms)
    ours, theirs = relaxed
    assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), abs=1e-3)
    assert ours.get_volume() == pytest.approx(theirs.get_volume(), rel=5e-3)


def test_forces_are_the_slope_of_the_energy(calculator):
    atoms = rattled(1)
    atoms.calc = calculator
    slope = calculate_numerical_forces(atoms, eps=5e-3, iatoms=[1])
    assert np.allclose(atoms.get_forces()[1], slope[0], atol=5e-3)


def test_stress_has_ase_s_order_and_sign(calculator, service):
    atoms = rattled(2)
    atoms.calc = calculator
    stress = atoms.get_stress()
    assert np.allclose(stress, full_3x3_to_voigt_6_stress(service.predict(atoms, ["stress"], "chgnet").stress))
    energies = []
    for strain in (-5e-3, 5e-3):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + strain * np.outer([0, 0, 1], [0, 0, 1])), True)
        strained.calc = calculator
        energies.append(strained.get_potential_energy())
    slope = (energies[1] - energies[0]) / (2 * 5e-3) / atoms.get_volume()
    assert stress[2] == pytest.approx(slope, abs=2e-3)


def test_a_geometry_is_asked_for_once(calculator, transport):
    atoms = rattled(3)
    atoms.calc = calculator
    assert posts(transport) == 0
    energy = atoms.get_potential_energy()
    assert atoms.get_potential_energy(force_consistent=True) == energy
    atoms.get_forces()
    assert posts(transport) == 1
    atoms.get_stress()
    assert posts(transport) == 2
    atoms.positions[0, 0] += 0.01
    atoms.get_forces()
    atoms.get_stress()
    assert posts(transport) == 3


def test_magnetic_moments_come_from_a_model_that_has_them(calculator):
    iron = bulk("Fe", "bcc", a=2.85)
    iron.calc = calculator
    assert iron.get_magnetic_moments().shape == (1,)
    assert abs(iron.get_magnetic_moments()[0]) > 1


def test_a_molecule_has_energy_and_forces_and_no_stress(service):
    calculator = RhocastCalculator("chgnet", client=service)
    atoms = molecule("H2O")
    atoms.calc = calculator
    with pytest.raises(PropertyNotImplementedError, match="the stress of a molecule is needed"):
        atoms.get_stress()
    assert np.isfinite(atoms.get_potential_energy())
    assert np.abs(atoms.get_forces().sum(axis=0)).max() < 1e-3
    crystal = rattled(4)
    crystal.calc = calculator
    crystal.get_stress()
    atoms.positions[0, 2] += 0.01
    assert atoms.get_forces().shape == (3, 3)


def test_what_a_model_does_not_give_is_not_implemented(service):
    atoms = rattled(5)
    atoms.calc = RhocastCalculator("promolecule", client=service)
    assert atoms.calc.implemented_properties == []
    with pytest.raises(PropertyNotImplementedError, match="energy"):
        atoms.get_potential_energy()


def test_without_a_model_there_is_what_the_service_has(service):
    atoms = rattled(3)
    atoms.calc = RhocastCalculator(client=service)
    assert atoms.calc.implemented_properties == ["energy", "free_energy", "forces", "stress", "magmoms"]
    assert np.isfinite(atoms.get_potential_energy())


def test_a_model_that_the_service_does_not_have_is_refused_at_once(service):
    with pytest.raises(UnknownModel, match="found no model 'magic' at http://testserver; expected one of chgnet"):
        RhocastCalculator("magic", client=service)


def test_the_service_is_this_machine_s_if_none_is_named(server, monkeypatch, model_record):
    monkeypatch.setenv("RHOCAST_URL", server.url)
    server.answer({"models": [model_record("chgnet", provides=("energy", "forces"))]})
    assert RhocastCalculator().implemented_properties == ["energy", "free_energy", "forces"]
