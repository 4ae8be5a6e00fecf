"""Laws of both forms of Deep Density: before it is rescaled, and what rescaling does."""

from dataclasses import replace

import numpy as np
import pytest

from models.checkpoint import Checkpoint
from models.density.deep_density.model import QUADRATURE_SPACING, DeepDensity, quadrature_shape
from models.density.promolecule import Promolecule
from rhocast.errors import PredictionFailed, UnsupportedByModel, UnusableWeights
from rhocast.structure import Structure
from tests.models.contract import DensityModelContract, bent_molecule, distorted_crystal, grid_points
from tests.models.density.deep_density.toys import ABOUT, CONFIGS, toy


class BeforeRescaling:
    """A model whose fields are what the laws of locality hold for."""

    def __init__(self, rescaled: DeepDensity) -> None:
        self.rescaled, self.info = rescaled, rescaled.info

    def fields(self, structures):
        return [field.unscaled for field in self.rescaled.fields(structures)]


@pytest.fixture(params=CONFIGS)
def rescaled(request) -> DeepDensity:
    return DeepDensity(toy(request.param), ABOUT, "0")


class TestDeepDensity(DensityModelContract):
    tolerance = 3e-5
    integral_tolerance = 2e-3

    @pytest.fixture
    def model(self, rescaled):
        return BeforeRescaling(rescaled)

    @pytest.mark.parametrize("is_molecule", [False, True], ids=["crystal", "molecule"])
    def test_it_integrates_to_the_number_of_electrons(self, model, is_molecule):
        super().test_it_integrates_to_the_number_of_electrons(model.rescaled, is_molecule)

    def test_shifts_between_grid_points_keep_the_electrons(self, model):
        super().test_shifts_between_grid_points_keep_the_electrons(model.rescaled)

    def test_a_batch_is_its_members(self, model):
        super().test_a_batch_is_its_members(model.rescaled)

    def test_planes_grids_and_points_agree_after_rescaling(self, model, structure):
        self.test_planes_of_a_grid_are_those_of_the_whole(model.rescaled, structure)
        self.test_the_grid_holds_the_values_at_its_points(model.rescaled, structure)

    def test_two_fragments_are_two_densities_once_nothing_sees_both(self, model):
        """Twice as far apart as anything reaches, but not so far that free atoms have ended."""
        near = self.molecule(edge=6.0)
        config = model.rescaled.network.config
        reach = config.environment.cutoff + config.probe_cutoff + 3.0
        far = replace(near, positions=near.positions + np.array([reach, 0, 0]))
        both = replace(
            near,
            numbers=np.concatenate([near.numbers, far.numbers]),
            positions=np.concatenate([near.positions, far.positions]),
        )
        points = np.random.default_rng(0).random((200, 3)) * [reach + 6, 6, 6]
        together, one, other = (field.at_points(points) for field in model.fields([both, near, far]))
        self.assert_equal(together, one + other)


def test_the_network_adds_something(rescaled):
    structure = distorted_crystal()
    field = rescaled.fields([structure])[0].unscaled
    shape = (6, 6, 6)
    added = np.array([field.added.on_plane(shape, plane) for plane in range(6)])
    assert np.abs(added).max() > 3e-3
    assert np.ptp(added) > 3e-3
    floor = Promolecule().fields([structure])[0].on_grid(shape)
    assert np.abs(field.background.on_grid(shape) - floor).max() > 3e-3


def test_a_point_on_a_nucleus_is_a_point_like_others(rescaled):
    structure = bent_molecule()
    field = rescaled.fields([structure])[0]
    steps = np.array([0.0, 1e-3, 2e-3])[:, None] * np.array([0.6, 0.0, 0.8])
    for position in structure.positions:
        on, near, farther = field.at_points(position + steps)
        assert np.isfinite(on)
        # Flat there, or with a slope, but without a cusp: a straight line through three points misses by a square.
        assert abs(on - 2 * near + farther) < 2e-4


def test_atoms_enter_and_leave_without_a_jump(rescaled):
    """What the density on an atom owes to another fades like h³ at h from the cutoff, and so do two derivatives."""
    cutoff = rescaled.network.config.environment.cutoff

    def beside_another(distance):
        structure = Structure.from_symbols(("O", "Mg"), [[0, 0, 0], [distance, 0, 0]], 6 * np.eye(3), is_periodic=False)
        return rescaled.fields([structure])[0].unscaled.added.at_points(structure.positions[:1]).item()

    alone = beside_another(cutoff + 0.01)
    near, nearer = (abs(beside_another(cutoff - h) - alone) for h in (0.15, 0.3))
    assert near > 1e-7
    assert 6 < nearer / near < 10


class TestRescaling:
    def test_nothing_is_negative_and_the_electrons_are_right(self, rescaled):
        structure = bent_molecule(edge=9.0)
        field = rescaled.fields([structure])[0]
        unscaled = field.unscaled.on_grid((40, 40, 40))
        density = field.on_grid((40, 40, 40))
        assert unscaled.min() < -1e-5
        assert density.min() == 0
        np.testing.assert_allclose(density, field.factor * np.maximum(unscaled, 0))
        integral = field.unscaled.integral
        assert field.factor == pytest.approx(8 / (integral.n_electrons + integral.n_negative))
        assert field.n_clipped == integral.n_negative
        voxel = structure.volume / 40**3
        assert integral.n_negative == pytest.approx(-np.minimum(unscaled, 0).sum() * voxel, rel=0.03)

    def test_its_integral_is_that_of_a_finer_grid(self, rescaled):
        for structure in (distorted_crystal(), bent_molecule(edge=15.0)):
            field = rescaled.fields([structure])[0].unscaled
            shape = tuple(2 * n for n in quadrature_shape(structure))
            found = field.on_grid(shape).mean() * structure.volume
            assert found == pytest.approx(field.n_electrons, rel=3e-4)

    def test_the_factor_hardly_depends_on_how_a_molecule_lies(self, rescaled):
        molecule = bent_molecule()
        moved = replace(molecule, positions=molecule.positions[:, [2, 0, 1]] + 0.11)
        one, other = (field.factor for field in rescaled.fields([molecule, moved]))
        assert one == pytest.approx(other, rel=3e-4)

    def test_next_to_no_electrons_are_no_density(self, rescaled):
        rescaled.network.scale.fill_(0.0)
        rescaled.network.background.fill_(-5.0)
        broken = DeepDensity(rescaled.network, ABOUT, "0")
        with pytest.raises(PredictionFailed, match="electrons before rescaling; expected about 8"):
            broken.fields([bent_molecule(edge=5.0)])[0].on_grid((3, 3, 3))


def test_the_quadrature_is_as_fine_as_it_says():
    structure = distorted_crystal()
    spacings = np.linalg.norm(structure.cell, axis=1) / quadrature_shape(structure)
    assert (spacings <= QUADRATURE_SPACING).all()
    assert (spacings > 0.9 * QUADRATURE_SPACING).all()


def test_an_element_that_it_has_not_learned_is_refused(rescaled):
    with pytest.raises(UnsupportedByModel, match="found Fe"):
        rescaled.fields([bent_molecule(("O", "H", "Fe"))])


def test_values_at_no_points_are_none(rescaled):
    assert rescaled.fields([bent_molecule()])[0].at_points(np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_checkpoint_gives_the_same_density(tmp_path, name):
    network, file = toy(name), tmp_path / "weights.safetensors"
    sha256 = Checkpoint({"model": CONFIGS[name].as_dict(), "about": ABOUT}, network.state_dict()).write(file)
    structure, points = bent_molecule(), grid_points(5 * np.eye(3), (4, 4, 4))
    one, other = (
        model.fields([structure])[0] for model in (DeepDensity.read(file, sha256), DeepDensity(network, ABOUT, "0"))
    )
    np.testing.assert_array_equal(one.at_points(points), other.at_points(points))


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    file = tmp_path / "weights.safetensors"
    config = CONFIGS["clusters"].as_dict()
    sha256 = Checkpoint({"model": config, "about": ABOUT}, toy("probe").state_dict()).write(file)
    with pytest.raises(UnusableWeights, match="no Deep Density model"):
        DeepDensity.read(file, sha256)
