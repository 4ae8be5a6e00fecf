"""Real harmonics in GPAW's order and e3nn's: against explicit polynomials, SciPy's functions and e3nn itself."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y

from reference.harmonics import coupling, real_harmonics, sphere, to_e3nn, turning
from reference.soft_density import solid_harmonics

ROTATION = Rotation.from_rotvec([0.7, -1.1, 0.4]).as_matrix()
INVERTED = -Rotation.from_rotvec([-0.3, 0.5, 1.9]).as_matrix()

# One polynomial for each m = −l … l, with the factor under the root over π that makes ∫Y² dΩ = 1.
POLYNOMIALS = {
    0: [(1 / 4, lambda x, y, z: 1 + 0 * x)],
    1: [(3 / 4, lambda x, y, z: y), (3 / 4, lambda x, y, z: z), (3 / 4, lambda x, y, z: x)],
    2: [
        (15 / 4, lambda x, y, z: x * y),
        (15 / 4, lambda x, y, z: y * z),
        (5 / 16, lambda x, y, z: 3 * z**2 - 1),
        (15 / 4, lambda x, y, z: x * z),
        (15 / 16, lambda x, y, z: x**2 - y**2),
    ],
    3: [
        (35 / 32, lambda x, y, z: y * (3 * x**2 - y**2)),
        (105 / 4, lambda x, y, z: x * y * z),
        (21 / 32, lambda x, y, z: y * (5 * z**2 - 1)),
        (7 / 16, lambda x, y, z: 5 * z**3 - 3 * z),
        (21 / 32, lambda x, y, z: x * (5 * z**2 - 1)),
        (105 / 16, lambda x, y, z: z * (x**2 - y**2)),
        (35 / 32, lambda x, y, z: x * (x**2 - 3 * y**2)),
    ],
    4: [
        (315 / 16, lambda x, y, z: x * y * (x**2 - y**2)),
        (315 / 32, lambda x, y, z: y * z * (3 * x**2 - y**2)),
        (45 / 16, lambda x, y, z: x * y * (7 * z**2 - 1)),
        (45 / 32, lambda x, y, z: y * (7 * z**3 - 3 * z)),
        (9 / 256, lambda x, y, z: 35 * z**4 - 30 * z**2 + 3),
        (45 / 32, lambda x, y, z: x * (7 * z**3 - 3 * z)),
        (45 / 64, lambda x, y, z: (x**2 - y**2) * (7 * z**2 - 1)),
        (315 / 32, lambda x, y, z: x * z * (x**2 - 3 * y**2)),
        (315 / 256, lambda x, y, z: x**2 * (x**2 - 3 * y**2) - y**2 * (3 * x**2 - y**2)),
    ],
}

# As e3nn documents them, up to its normalisation.
E3NN_POLYNOMIALS = {
    1: [lambda x, y, z: x, lambda x, y, z: y, lambda x, y, z: z],
    2: [
        lambda x, y, z: np.sqrt(3) * x * z,
        lambda x, y, z: np.sqrt(3) * x * y,
        lambda x, y, z: y**2 - (x**2 + z**2) / 2,
        lambda x, y, z: np.sqrt(3) * y * z,
        lambda x, y, z: np.sqrt(3) / 2 * (z**2 - x**2),
    ],
}


def directions(n=50):
    vectors = np.random.default_rng(7).normal(size=(n, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def polynomials(degree, at):
    return np.array([np.sqrt(square / np.pi) * value(*at.T) for square, value in POLYNOMIALS[degree]])


def by_least_squares(degree, rotation):
    """D with Y(R r) = D Y(r), from values of the polynomials alone."""
    at = directions()
    solution, *_ = np.linalg.lstsq(polynomials(degree, at).T, polynomials(degree, at @ rotation.T).T, rcond=None)
    return solution.T


@pytest.mark.parametrize("degree", range(5))
def test_the_functions_are_the_explicit_polynomials(degree):
    np.testing.assert_allclose(real_harmonics(degree, directions()), polynomials(degree, directions()), atol=1e-13)


@pytest.mark.parametrize("degree", range(5))
def test_the_functions_are_the_parts_of_complex_ones(degree):
    x, y, z = directions().T
    for m in range(-degree, degree + 1):
        value = sph_harm_y(degree, abs(m), np.arccos(z), np.arctan2(y, x)) * (-1) ** m
        expected = value.real if m == 0 else np.sqrt(2) * (value.real if m > 0 else value.imag)
        np.testing.assert_allclose(real_harmonics(degree, directions())[degree + m], expected, atol=1e-13)


def test_the_compensation_charges_have_the_same_order():
    expected = np.concatenate([real_harmonics(degree, directions()) for degree in range(3)])
    np.testing.assert_allclose(solid_harmonics(directions().T), expected, atol=1e-13)


@pytest.mark.parametrize("degree", range(5))
def test_the_functions_are_orthonormal(degree):
    at, weights = sphere(2 * degree)
    values = real_harmonics(degree, at)
    np.testing.assert_allclose((values * weights) @ values.T, np.eye(2 * degree + 1), atol=1e-13)


@pytest.mark.parametrize("rotation", [ROTATION, INVERTED], ids=["proper", "improper"])
@pytest.mark.parametrize("degree", range(5))
def test_the_functions_turn_as_the_polynomials_do(degree, rotation):
    np.testing.assert_allclose(turning((degree,), rotation), by_least_squares(degree, rotation), atol=1e-12)


def test_blocks_stand_in_the_order_of_their_degrees():
    matrix = turning((2, 0, 2, 1), ROTATION)
    np.testing.assert_array_equal(matrix[:5, :5], matrix[6:11, 6:11])
    np.testing.assert_allclose(matrix[5, 5], 1)
    np.testing.assert_allclose(matrix[11:, 11:], by_least_squares(1, ROTATION), atol=1e-12)
    assert matrix.shape == (14, 14)
    assert np.count_nonzero(np.abs(matrix) > 1e-12) == 25 + 1 + 25 + 9


def test_turning_twice_is_turning_by_the_product():
    both = turning((0, 1, 2, 3, 4), INVERTED @ ROTATION)
    one_by_one = turning((0, 1, 2, 3, 4), INVERTED) @ turning((0, 1, 2, 3, 4), ROTATION)
    np.testing.assert_allclose(both, one_by_one, atol=1e-12)


@pytest.mark.parametrize("degree", [1, 2])
def test_conversion_gives_the_polynomials_that_e3nn_documents(degree):
    at = directions()
    expected = np.sqrt((2 * degree + 1) / (4 * np.pi)) * np.array([value(*at.T) for value in E3NN_POLYNOMIALS[degree]])
    np.testing.assert_allclose(to_e3nn((degree,)) @ polynomials(degree, at), expected, atol=1e-13)


def test_a_dipole_becomes_x_y_z():
    np.testing.assert_allclose(to_e3nn((1,)) @ [2.0, 3.0, 1.0], [1.0, 2.0, 3.0], atol=1e-13)


@pytest.mark.parametrize("degree", range(5))
def test_conversion_gives_the_functions_of_e3nn(degree):
    torch, o3 = pytest.importorskip("torch"), pytest.importorskip("e3nn.o3")
    at = torch.tensor(directions())
    theirs = o3.spherical_harmonics(degree, at, normalize=True, normalization="integral")
    np.testing.assert_allclose(to_e3nn((degree,)) @ polynomials(degree, directions()), theirs.numpy().T, atol=1e-12)


@pytest.mark.parametrize("degree", range(5))
def test_converted_functions_turn_as_those_of_e3nn_do(degree):
    torch, o3 = pytest.importorskip("torch"), pytest.importorskip("e3nn.o3")
    theirs = o3.Irrep(degree, 1).D_from_matrix(torch.tensor(ROTATION)).numpy()
    converted = to_e3nn((degree,)) @ by_least_squares(degree, ROTATION) @ to_e3nn((degree,)).T
    np.testing.assert_allclose(converted, theirs, atol=1e-5)  # e3nn keeps its constants in float32


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, 2), (2, 2)])
def test_a_product_is_the_sum_of_what_it_is_coupled_to(first, second):
    at = directions()
    product = polynomials(first, at)[:, None] * polynomials(second, at)[None]
    total = sum(
        np.einsum("ijk,kn->ijn", coupling(first, second, degree), polynomials(degree, at))
        for degree in range(abs(first - second), first + second + 1)
    )
    np.testing.assert_allclose(total, product, atol=1e-12)
