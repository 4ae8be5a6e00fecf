import numpy as np
import pytest

from reference.record import Record
from reference.sampling import compact
from reference.shards import write_shard
from reference.soft_density import fourier_coefficients, soft_compensation, wave_vector_indices
from training.dataset import NoData, Sample, covered, refuse_untaught, samples
from training.metrics import Nmae, Spread, nmae, skill

CELL = np.array([[4.0, 0, 0], [0.5, 4.2, 0], [0, 0.3, 4.4]])
SHAPE = (16, 18, 20)


def record(name="one", split="train", is_molecule=False) -> Record:
    """A Gaussian of eight electrons in a sheared cell; what no test looks at is zero."""
    moments = np.zeros((1, 9))
    moments[0, 0] = 8 / np.sqrt(4 * np.pi)
    density = soft_compensation(SHAPE, CELL, np.array([[1.0, 2, 3]]), moments, np.array([0.9]))
    indices = wave_vector_indices(CELL)
    waves = fourier_coefficients(density, CELL, indices)
    arrays = {
        "numbers": np.array([8]),
        "positions": np.array([[1.0, 2, 3]]),
        "cell": CELL,
        "pbc": np.full(3, not is_molecule),
        "forces": np.array([[0.1, 0.2, 0.3]]),
        "grid_shape": np.array(SHAPE),
        "density": density.ravel().astype(np.float32),
        "compensation_width": np.array([0.9]),
        "multipoles": moments,
        "atomic_density_matrices": np.ones(3),
        "atomic_density_matrix_sizes": np.array([3]),
        "fourier_indices": indices,
        "fourier_coefficients": np.column_stack([waves.real, waves.imag]),
        "k_mesh": np.ones(3),
    }
    if not is_molecule:
        arrays["stress"] = np.arange(6.0)
    texts = dict.fromkeys(("provenance", "settings", "settings_hash", "code", "code_version"), "")
    numbers = dict.fromkeys(
        ("energy", "gap", "integral_before_rescaling", "density_min", "clipped_electrons", "rounding_nmae"), 0.0
    )
    attributes = texts | numbers | {
        "free_energy": -5.0, "n_electrons": 8, "mantissa_bits": 23, "inclusion_floor": 1.0, "inclusion_slope": 0.0,
        "is_converged": True, "n_irreducible_k": 1, "wall_time": 0.0, "set": "crystals", "seed": 0, "index": 0,
        "split": split, "group": "O", "content_hash": "0123456789abcdef" * 2,
    }  # fmt: skip
    return Record(name, arrays, attributes)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "crystals").mkdir()
    write_shard(tmp_path / "crystals" / "b.h5", [record("z"), record("held", "test"), compact(record("c"), 900)])
    write_shard(tmp_path / "crystals" / "a.h5", [record("m", is_molecule=True)])
    return tmp_path


def test_samples_of_a_split_come_from_all_shards_in_order(folder):
    assert [sample.name for sample in samples(["crystals"], "train", folder)] == ["c", "m", "z"]
    assert [sample.name for sample in samples(["crystals"], "test", folder)] == ["held"]


def test_a_sample_is_its_record(folder):
    part, molecule, whole = samples(["crystals"], "train", folder)
    assert whole.structure.is_periodic
    np.testing.assert_array_equal(whole.stress, np.arange(6))
    assert not molecule.structure.is_periodic
    assert molecule.stress is None
    np.testing.assert_allclose(whole.forces, [[0.1, 0.2, 0.3]], rtol=1e-7)
    assert (whole.free_energy, whole.n_electrons, whole.grid_shape) == (-5, 8, SHAPE)
    assert whole.is_whole
    assert not part.is_whole
    np.testing.assert_allclose(part.points, whole.points[part.point_indices])
    np.testing.assert_allclose(part.density, whole.density[part.point_indices], rtol=2**-11)


def test_points_lie_on_the_grid_and_weights_add_up(folder):
    part, _, whole = samples(["crystals"], "train", folder)
    np.testing.assert_allclose(whole.points[1], CELL[2] / 20)
    np.testing.assert_allclose(whole.points[-1], CELL.T @ [15 / 16, 17 / 18, 19 / 20])
    assert whole.weights.sum() == pytest.approx(abs(np.linalg.det(CELL)))
    assert part.weights.sum() == pytest.approx(abs(np.linalg.det(CELL)), rel=0.1)
    assert part.weights @ part.density == pytest.approx(8, rel=0.02)


def test_what_is_left_of_a_thinned_sample_stands_for_the_same_space(folder):
    *_, whole = samples(["crystals"], "train", folder)
    thinned = whole.thinned(100, np.random.default_rng(0))
    assert len(thinned.points) == len(thinned.density) == len(set(thinned.point_indices.tolist())) == 100
    assert thinned.weights.sum() == pytest.approx(whole.weights.sum())
    np.testing.assert_array_equal(thinned.density, whole.density[thinned.point_indices])
    assert len(whole.thinned(10**6, np.random.default_rng(0)).points) == len(whole.points)


def test_waves_are_those_of_the_density(folder):
    _, _, whole = samples(["crystals"], "train", folder)
    wave = 7
    phases = np.exp(-1j * whole.points @ whole.wave_vectors[wave])
    assert np.sum(phases * whole.weights * whole.density) == pytest.approx(whole.wave_electrons[wave], abs=1e-4)


def test_what_is_not_there_is_named(folder):
    with pytest.raises(NoData, match=r"no shard of the set 'water'.*python -m reference make water"):
        samples(["water"], "train", folder)
    with pytest.raises(NoData, match="no validation record of crystals"):
        samples(["crystals"], "validation", folder)
    with pytest.raises(ValueError, match="found split 'all'; expected one of train"):
        samples(["crystals"], "all", folder)


def test_elements_without_a_structure_to_learn_from_are_refused_by_name(folder):
    found = samples(["crystals"], "train", folder)
    refuse_untaught(found, [8])
    with pytest.raises(NoData, match="no structure to learn H, Zr from"):
        refuse_untaught(found, [1, 8, 40])
    assert covered(found, [1, 8]) == found
    assert covered(found, [1, 9]) == []


def test_the_error_of_three_voxels_by_hand(folder):
    (sample,) = samples(["crystals"], "test", folder)
    small = Sample(
        **vars(sample)
        | {
            "n_electrons": 4,
            "grid_shape": (3, 1, 1),
            "point_indices": np.arange(3),
            "density": np.array([1, 2, 1], np.float32),
            "weights": np.full(3, sample.structure.volume / 3),
        }
    )
    found = nmae(small, np.array([1.5, 2.0, 0.8]))
    assert found.value == pytest.approx((0.5 + 0 + 0.2) / 4 * sample.structure.volume / 3)
    assert found.standard_error == pytest.approx(0, abs=1e-7)
    with pytest.raises(ValueError, match="one for each of 3 points"):
        nmae(small, np.ones(4))


def test_the_error_at_points_is_that_of_the_grid_within_its_own_standard_error(folder):
    part, _, whole = samples(["crystals"], "train", folder)

    def wrong(sample):
        return sample.density.astype(float) * (1 + 0.1 * np.sin(sample.points[:, 0]))

    exact, estimated = nmae(whole, wrong(whole)), nmae(part, wrong(part))
    assert exact.standard_error == pytest.approx(0, abs=1e-9)
    assert 0 < estimated.standard_error < 0.1 * exact.value
    assert abs(estimated.value - exact.value) < 4 * estimated.standard_error


def test_the_spread_of_errors_and_the_skill():
    spread = Spread.of([Nmae(0.01, 0.003), Nmae(0.03, 0.004)])
    assert (spread.n_structures, spread.mean, spread.median, spread.worst) == (2, 0.02, 0.02, 0.03)
    assert spread.standard_error == pytest.approx(0.01)
    assert spread.sampling_error == pytest.approx(np.sqrt((9e-6 + 16e-6) / 2))
    assert Spread.of([Nmae(0.01, 0.0)]).standard_error == 0
    assert skill(0.01, 0.2) == pytest.approx(0.95)
