"""The measurements of the reference data's physics, on labels whose physics is known."""

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import typer
from scipy.spatial.transform import Rotation

from reference.box_moments import box_moments
from reference.harmonics import coupling, real_harmonics, turning
from reference.physics import command
from reference.physics.forces import STEP, force_error, force_rows
from reference.physics.interpolation import difference, grid_points, interpolated
from reference.physics.laboratory import Laboratory
from reference.physics.lattice import CRYSTALS, STRETCHES, equilibrium, lattice_rows
from reference.physics.moments import moment_rows, traceless
from reference.physics.report import Row, as_json, markdown, table
from reference.physics.structures import FLUOROMETHANOL, METHANOL, ROTATION
from reference.physics.turned import AtomicMatrix, atomic_matrices, coupled_errors, turned_rows, wrong_conventions
from reference.physics.vacuum import vacuum_rows
from reference.record import RawLabels
from reference.settings import INSULATOR, METAL
from reference.soft_density import soft_compensation
from reference.structure import VALENCE
from rhocast.elements import SYMBOLS

FAKE = Path(__file__).with_name("fake_label.py")
SKEW = np.array([[4.0, 0, 0], [0.5, 4.4, 0], [-0.3, 0.6, 5.0]])
DEGREES = (0, 0, 1, 1, 2)


def all_couplings():
    whole = np.zeros((9, 9, 25))
    for first in range(3):
        for second in range(3):
            for total in range(abs(first - second), first + second + 1):
                of = [slice(degree**2, (degree + 1) ** 2) for degree in (first, second, total)]
                whole[tuple(of)] = coupling(first, second, total)
    return whole


@dataclass
class KnownPhysics:
    """Gaussian atoms with a quadrupole, in a harmonic well about the middle of the molecule; nothing depends on the
    box. Crystals are at rest at the all-electron lattice constant."""

    seen: list = field(default_factory=list)

    def labels(self, structure, n_k=0):
        self.seen.append((structure, n_k))
        middle = structure.positions - structure.positions.mean(axis=0)
        rotation = self._orientation(middle) if len(middle) == 6 else np.eye(3)
        n = len(structure.numbers)
        by = turning((0, 1, 2), rotation)
        multipoles = np.random.default_rng(0).normal(0, 0.01, (n, 9)) @ by.T
        valence = np.array([VALENCE[SYMBOLS[number]] for number in structure.numbers])
        multipoles[:, 0] = valence / np.sqrt(4 * np.pi)
        shape = tuple(2 * int(np.ceil(length / 0.8)) for length in np.linalg.norm(structure.cell, axis=1))
        density = soft_compensation(shape, structure.cell, structure.positions, multipoles, np.full(n, 0.8))
        lengths = np.linalg.norm(structure.cell, axis=1)
        _, dipole, second = box_moments(density, lengths)
        triangles = []
        for seed in range(n):
            half = np.random.default_rng(seed).normal(size=(13, 13))
            matrix = AtomicMatrix(DEGREES, half + half.T).turned(rotation)
            triangles.append(matrix[np.triu_indices(13)])
        directions = np.random.default_rng(1).normal(size=(5, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        best = {crystal.symbols: crystal.all_electron**3 / 4 for crystal in CRYSTALS}.get(structure.group)
        well = float((middle**2).sum())
        if structure.is_periodic and best:
            well = (abs(np.linalg.det(structure.cell)) / best - 1) ** 2
        return RawLabels(
            {
                "density": density,
                "forces": -2 * middle,
                "multipoles": multipoles,
                "atomic_density_matrices": np.concatenate(triangles),
                "atomic_density_matrix_offsets": 91 * np.arange(n + 1),
                "projector_degrees": np.array(DEGREES * n),
                "projector_offsets": len(DEGREES) * np.arange(n + 1),
                "directions": directions,
                "harmonics": np.concatenate([real_harmonics(degree, directions) for degree in range(5)]),
                "coupling": all_couplings(),
                "fine_dipole": dipole,
                "fine_second_moment": second,
                "molecular_dipole": valence @ (structure.positions - lengths / 2) - dipole,
            },
            {"energy": well, "free_energy": well, "wall_time": 1.0},
        )

    def _orientation(self, middle):
        original = FLUOROMETHANOL.positions - FLUOROMETHANOL.positions.mean(axis=0)
        return Rotation.align_vectors(middle, original)[0].as_matrix()


def waves(points, cell):
    """A density made of a few waves that a grid of 8 × 9 × 10 carries."""
    fractions = points @ np.linalg.inv(cell)
    phases = 2 * np.pi * fractions @ np.array([[1, 0, 2], [-3, 4, 1], [0, 2, -4]]).T
    return 1 + np.cos(phases + np.array([0.3, 1.0, 2.0])) @ [0.2, 0.1, 0.3]


def test_a_density_between_grid_points_is_the_sum_of_its_waves():
    density = waves(grid_points((8, 9, 10), SKEW), SKEW).reshape(8, 9, 10)
    points = np.random.default_rng(0).normal(0, 5, (700, 3))
    np.testing.assert_allclose(interpolated(density, SKEW, points), waves(points, SKEW), atol=1e-12)


def test_a_density_at_grid_points_is_what_the_grid_holds():
    density = np.random.default_rng(0).random((6, 5, 4))
    np.testing.assert_allclose(interpolated(density, SKEW, grid_points((6, 5, 4), SKEW)), density.ravel(), atol=1e-12)


def test_every_second_point_is_a_point():
    density = waves(grid_points((8, 9, 10), SKEW), SKEW).reshape(8, 9, 10)
    expected = waves(grid_points((8, 9, 10), SKEW, step=2), SKEW)
    np.testing.assert_allclose(density[::2, ::2, ::2].ravel(), expected, atol=1e-12)


def test_a_difference_is_relative_to_what_is_expected():
    assert difference(np.array([1.0, 3.0]), np.array([2.0, 2.0])) == pytest.approx(50)


def test_moments_of_a_gaussian_are_its_position_and_width():
    lengths, centre, width = np.array([9.0, 10.0, 11.0]), np.array([4.9, 4.6, 5.9]), 0.5
    multipoles = 3.0 * np.eye(1, 9) / np.sqrt(4 * np.pi)
    density = soft_compensation((60, 64, 72), np.diag(lengths), centre[None], multipoles, np.array([width]))
    charge, dipole, second = box_moments(density, lengths)
    arm = centre - lengths / 2
    assert charge == pytest.approx(3)
    np.testing.assert_allclose(dipole, 3 * arm, atol=1e-9)
    np.testing.assert_allclose(second, 3 * (np.outer(arm, arm) + np.eye(3) * width**2 / 2), atol=1e-9)


def test_a_constant_background_has_no_dipole():
    _, dipole, second = box_moments(np.ones((6, 7, 8)), np.array([3.0, 4.0, 5.0]))
    np.testing.assert_allclose(dipole, 0, atol=1e-12)
    np.testing.assert_allclose(second - np.diag(np.diag(second)), 0, atol=1e-12)


def test_a_round_charge_has_no_traceless_second_moment():
    np.testing.assert_allclose(traceless(4 * np.eye(3)), 0, atol=1e-12)


def test_an_equation_of_state_gives_back_its_minimum():
    v0, b, b1 = 4.2**3 / 4, 1.0, 4.3
    constants = [4.2 * (0.001 + stretch) for stretch in STRETCHES]
    strain = [(v0 / (a**3 / 4)) ** (2 / 3) - 1 for a in constants]
    energies = [9 / 16 * v0 * b * (s**3 * b1 + s**2 * (6 - 4 * (s + 1))) for s in strain]
    found = equilibrium(constants, energies)
    assert found.lattice_constant == pytest.approx(4.2, abs=1e-6)
    assert found.by_polynomial == pytest.approx(4.2, abs=2e-4)
    assert found.bulk_modulus == pytest.approx(160.2177, abs=0.01)
    assert found.residual < 1e-3


def test_energies_without_a_minimum_are_refused():
    with pytest.raises(ValueError, match="found energies without a minimum"):
        equilibrium([4.0, 4.1, 4.2, 4.3, 4.4], [5.0, 4.0, 3.0, 2.0, 1.0])


def test_crystals_have_their_neighbours_where_they_belong():
    distances = {}
    for crystal in CRYSTALS:
        structure = crystal.primitive(4.0, crystal.settings)
        images = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), -1).reshape(-1, 3) @ structure.cell
        arms = (structure.positions[:, None] - structure.positions[0] + images[None]).reshape(-1, 3)
        lengths = np.linalg.norm(arms, axis=1)
        nearest = lengths[lengths > 1e-9].min()
        distances[crystal.name] = (round(nearest, 6), int(np.isclose(lengths, nearest).sum()))
        assert abs(np.linalg.det(structure.cell)) == pytest.approx(16)
    assert distances == {
        "Al, fcc": (round(np.sqrt(8), 6), 12),
        "Si, diamond": (round(np.sqrt(3), 6), 4),
        "MgO, rock salt": (2.0, 6),
        "NaCl, rock salt": (2.0, 6),
    }


def test_every_volume_has_the_same_k_mesh():
    known = KnownPhysics()
    rows = lattice_rows(known)
    assert [row.value for row in rows] == pytest.approx([0, 0, 0, 0], abs=0.01)
    meshes = {}
    for structure, n_k in known.seen:
        meshes.setdefault((structure.group, structure.settings), set()).add(n_k)
    hard = replace(INSULATOR, cutoff=1200.0)
    assert meshes == {
        ("Al", METAL): {14},
        ("Si Si", INSULATOR): {5},
        ("Si Si", METAL): {10},
        ("Mg O", INSULATOR): {7},
        ("Mg O", hard): {7},
        ("Na Cl", INSULATOR): {5},
    }


def test_forces_of_a_parabola_are_its_differences():
    direction = np.zeros((6, 3))
    direction[1] = [0.6, 0, 0.8]
    error, force = force_error(KnownPhysics(), METHANOL.boxed(), direction)
    assert error == pytest.approx(0, abs=1e-6)
    assert abs(force) > 0.1


def test_a_wrong_force_shows():
    class Wrong(KnownPhysics):
        def labels(self, structure, n_k=0):
            found = super().labels(structure, n_k)
            return RawLabels(found.arrays, found.attributes | {"free_energy": 0.0})

    row = force_rows(Wrong())[0]
    assert not row.is_met
    assert "C" in row.remark
    assert STEP < 0.01


def test_a_turned_matrix_describes_the_turned_function():
    rng = np.random.default_rng(0)
    half = rng.normal(size=(9, 9))
    matrix = AtomicMatrix((0, 1, 2), half + half.T)
    points = rng.normal(size=(20, 3))

    def value(of, at):
        x, y, z = at.T
        functions = np.array([
            np.full(len(at), 0.5), *(np.sqrt(3 / 4) * axis for axis in (y, z, x)),
            np.sqrt(15 / 4) * x * y, np.sqrt(15 / 4) * y * z, np.sqrt(5 / 16) * (3 * z * z - (at**2).sum(1)),
            np.sqrt(15 / 4) * x * z, np.sqrt(15 / 16) * (x * x - y * y),
        ])  # fmt: skip
        return np.einsum("in,ij,jn->n", functions, of, functions)

    np.testing.assert_allclose(value(matrix.turned(ROTATION), points @ ROTATION.T), value(matrix.matrix, points))


def test_coupled_components_add_up_to_the_same_function():
    rng = np.random.default_rng(0)
    half = rng.normal(size=(9, 9))
    matrix = AtomicMatrix((0, 1, 2), half + half.T)
    points = rng.normal(size=(20, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    functions = np.concatenate([real_harmonics(degree, points) for degree in range(3)])
    expected = np.einsum("in,ij,jn->n", functions, matrix.matrix, functions)
    coupled = matrix.coupled(all_couplings())
    assert coupled.keys() == {0, 1, 2, 3, 4}
    found = sum(rows.sum(0) @ real_harmonics(degree, points) for degree, rows in coupled.items())
    np.testing.assert_allclose(found, expected)


def test_matrices_are_symmetric_and_their_triangles_upper_ones():
    labels = KnownPhysics().labels(METHANOL.boxed())
    first = atomic_matrices(labels)[0]
    np.testing.assert_array_equal(first.matrix, first.matrix.T)
    np.testing.assert_array_equal(first.matrix[0], labels.arrays["atomic_density_matrices"][:13])
    assert first.degrees == DEGREES


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_wrong_conventions_are_orthogonal_and_all_different(degree):
    n = 2 * degree + 1
    wrong = wrong_conventions(degree)
    assert len(wrong) == n + n * (n - 1) // 2
    assert len({matrix.tobytes() for matrix in [*wrong, np.eye(n)]}) == len(wrong) + 1
    for matrix in wrong:
        np.testing.assert_array_equal(matrix @ matrix.T, np.eye(n))


def test_everything_turns_where_it_should_and_a_wrong_order_would_show():
    known = KnownPhysics()
    rows = turned_rows(known)
    assert all(row.is_met for row in rows)
    assert max(row.value for row in rows if row.unit == "e") < 1e-6
    # Narrow quadrupoles on a grid of 0.4 Å are interpolated, not equal.
    assert max(row.value for row in rows if row.what == "density") < 0.1
    errors = coupled_errors(known.labels(FLUOROMETHANOL.boxed()), known.labels(FLUOROMETHANOL.turned(ROTATION).boxed()))
    assert all(wrong > 0.1 for degree, (_, wrong) in errors.items() if degree)


def test_an_unturned_molecule_does_not_pass_for_a_turned_one():
    class Unturned(KnownPhysics):
        def _orientation(self, middle):
            return np.eye(3)

    missed = {row.what for row in turned_rows(Unturned()) if not row.is_met}
    assert {"multipoles", "atomic density matrices", "coupled density matrices to L = 4"} <= missed


def test_vacuum_changes_nothing_where_nothing_depends_on_it():
    rows = vacuum_rows(KnownPhysics())
    assert len(rows) == 6
    assert [row.value for row in rows if row.what.startswith("forces")] == pytest.approx([0, 0], abs=1e-9)
    assert max(row.value for row in rows if row.what.startswith("density")) < 0.1


def test_moments_are_those_of_the_fine_grid_where_it_has_the_same_density():
    rows = moment_rows(KnownPhysics())
    assert [row.value for row in rows] == pytest.approx([0, 0, 0, 0], abs=1e-12)


def test_a_shifted_density_has_another_dipole():
    class Shifted(KnownPhysics):
        def labels(self, structure, n_k=0):
            found = super().labels(structure, n_k)
            return RawLabels(found.arrays | {"density": np.roll(found.arrays["density"], 1, axis=0)}, found.attributes)

    assert not any(row.is_met for row in moment_rows(Shifted()))


def test_a_missed_limit_is_printed_with_its_number():
    rows = [
        Row("error", "a | b", -7.25, "meV", 5.0, "far"),
        Row("error", "c", 1.0, "meV", 5.0),
        Row("size", "d", 3, "Å"),
    ]
    written = markdown(rows)
    assert "| error | a \\| b | -7.2 meV | 5 | MISSED | far |" in written
    assert "| error | c | 1 meV | 5 | met |  |" in written
    assert "| size | d | 3 Å |  |  |  |" in written
    assert table(rows).row_count == 3
    assert [row["is_met"] for row in json.loads(as_json(rows, {"date": "today"}))["rows"]] == [False, True, True]


def test_nothing_is_labelled_twice(tmp_path, monkeypatch):
    log, said = tmp_path / "log", []
    monkeypatch.setenv("RHOCAST_FAKE_LOG", str(log))
    laboratory = Laboratory((sys.executable, str(FAKE)), tmp_path / "labels", said.append)
    first, second = (laboratory.labels(METHANOL.boxed()) for _ in range(2))
    assert len(log.read_text().splitlines()) == len(said) == 1
    assert first.attributes == second.attributes
    assert laboratory.codes == ["none"]
    np.testing.assert_array_equal(first.arrays["density"], second.arrays["density"])


def test_the_command_measures_the_named_parts(tmp_path, monkeypatch):
    row = Row("error", "c", 9.0, "meV", 5.0)
    monkeypatch.setitem(command.PARTS, "forces", lambda _: [row])
    with pytest.raises(typer.Exit) as ended:
        command.physics(sys.executable, tmp_path, ["forces"])
    assert ended.value.exit_code == 1
    assert "MISSED" in (tmp_path / "physics.md").read_text()
    about = json.loads((tmp_path / "physics.json").read_text())["about"]
    assert about.keys() == {
        "command",
        "machine",
        "codes",
        "date",
    }


def test_an_unknown_part_is_refused(tmp_path):
    with pytest.raises(typer.BadParameter, match="found magic; expected some of lattice"):
        command.physics(sys.executable, tmp_path, ["magic"])
