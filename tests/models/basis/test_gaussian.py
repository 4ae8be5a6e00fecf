import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import spherical_jn

from models.basis.gaussian import Orbitals, radial_norm, reach
from models.basis.harmonics import n_harmonics, solid_harmonics

BOHR = 0.529177210903


def single(degree: int, m: int, exponent: float) -> Orbitals:
    """One function of l and m with coefficient one."""
    coefficients = torch.zeros(1, 1, n_harmonics(degree), dtype=torch.float64)
    coefficients[0, 0, degree**2 + degree + m] = 1
    return Orbitals(torch.tensor([[exponent]], dtype=torch.float64), coefficients)


def random_orbitals(highest_degree: int, n_centres: int = 2) -> Orbitals:
    generator = torch.Generator().manual_seed(highest_degree)
    exponents = torch.tensor([[0.2, 0.9, 4.0]], dtype=torch.float64).repeat(n_centres, 1)
    shape = (n_centres, 3, n_harmonics(highest_degree))
    return Orbitals(exponents, torch.randn(shape, generator=generator, dtype=torch.float64))


def radial(degree: int, exponent: float, radius: np.ndarray | float) -> np.ndarray | float:
    """N r^l exp(−α r²) in e/Å³ for r in Å, the norm by quadrature."""
    square = quad(lambda r: r ** (2 * degree + 2) * np.exp(-2 * exponent * r**2), 0, np.inf)[0]
    r = radius / BOHR
    return r**degree * np.exp(-exponent * r**2) / np.sqrt(square) / BOHR**3


@pytest.mark.parametrize("degree", range(7))
@pytest.mark.parametrize("exponent", [0.12, 1.0, 12.0])
def test_radial_functions_are_square_normalised(degree, exponent):
    norm = float(radial_norm(torch.tensor(exponent, dtype=torch.float64), torch.tensor(degree)))
    square = quad(lambda r: norm**2 * r ** (2 * degree + 2) * np.exp(-2 * exponent * r**2), 0, np.inf)[0]
    assert square == pytest.approx(1, rel=1e-7)


@pytest.mark.parametrize("degree", range(5))
def test_multipoles_are_integrals(degree):
    """∫ φ r^l Y_lm d³r: the angular part is 4π/(2l + 1) for harmonics whose squares sum to one."""
    exponent = 0.4
    integral = quad(lambda r: radial(degree, exponent, r) * r ** (degree + 2), 0, 15, epsabs=1e-12)[0]
    multipoles = single(degree, -degree, exponent).multipoles()[0]
    assert float(multipoles[degree**2]) == pytest.approx(4 * np.pi / (2 * degree + 1) * integral, rel=1e-9)
    assert multipoles.count_nonzero() == 1


def test_charge_and_dipole_are_sums_over_a_fine_grid():
    orbitals = random_orbitals(3, n_centres=1)
    axis = np.arange(-8, 8, 0.16)
    points = torch.from_numpy(np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3))
    values = torch.zeros(len(points), dtype=torch.float64)
    angular = solid_harmonics(points, 3)
    for exponent, coefficients in zip(orbitals.exponents[0], orbitals.coefficients[0], strict=True):
        for degree in range(4):
            norm = radial(degree, float(exponent), 1.0) * np.exp(float(exponent) / BOHR**2)
            lm = slice(degree**2, (degree + 1) ** 2)
            gaussian = norm * torch.exp(-exponent * points.square().sum(1) / BOHR**2)
            values += gaussian * (angular[:, lm] @ coefficients[lm])
    found = torch.cat([values.sum()[None], values @ points]) * 0.16**3
    torch.testing.assert_close(orbitals.multipoles()[0, :4], found, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("degree", range(5))
def test_fourier_tables_are_bessel_transforms(degree):
    """∫ φ e^(−iG·r) d³r = 4π (−i)^l Y_lm(Ĝ) ∫ R(r) j_l(Gr) r² dr."""
    exponent = 0.7
    tables = single(degree, 0, exponent).fourier_tables()
    for wavenumber_index in (40, 100, 150):
        # Wavenumbers are found again from the stretch of the knots.
        u, radius = wavenumber_index, float(tables.radii[0])
        n_intervals = tables.knots.shape[1] - 1
        wavenumber = 0.15 * radius * u / (n_intervals * 1.15 - u)
        integral = quad(
            lambda r, g=wavenumber: radial(degree, exponent, r) * spherical_jn(degree, g * r) * r**2, 0, 12, limit=200
        )[0]
        found = float(tables.knots[0, u, 0, degree**2 + degree]) * wavenumber**degree
        assert found == pytest.approx(4 * np.pi * integral, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("degree", range(7))
def test_where_a_function_ends_it_has_vanished(degree):
    exponent = 0.3
    end = float(single(degree, 0, exponent).radii()[0])
    assert end == pytest.approx(BOHR * np.sqrt(reach(degree) / exponent))
    largest = radial(degree, exponent, np.linspace(0.01, end, 4000)).max()
    assert radial(degree, exponent, end) < 1.001e-6 * largest


def test_the_radius_is_that_of_the_most_diffuse_exponent():
    orbitals = random_orbitals(0)
    assert float(orbitals.radii()[0]) == pytest.approx(BOHR * np.sqrt(16 / 0.2))
    assert float(orbitals.wavenumber_limit()) == pytest.approx(np.sqrt(4 * 4.0 * 16) / BOHR)


@pytest.mark.parametrize("quantity", ["multipoles", "tables", "fourier_tables"])
def test_gradients_are_those_of_finite_differences(quantity):
    start = random_orbitals(2, n_centres=1)
    # The most diffuse and the sharpest exponent set where tables end, which carries no gradient.
    outer, inner = start.exponents[:, [0, 2]], start.exponents[:, 1:2].clone().requires_grad_(True)
    coefficients = start.coefficients.clone().requires_grad_(True)

    def values(exponent, factors):
        found = getattr(Orbitals(torch.cat([outer, exponent], 1), factors), quantity)()
        return found if quantity == "multipoles" else found.knots[:, ::40]

    assert torch.autograd.gradcheck(values, (inner, coefficients), rtol=1e-3, atol=1e-5)


def test_no_centres_have_no_charges():
    empty = Orbitals(torch.ones(0, 2), torch.zeros(0, 2, 4))
    assert empty.multipoles().shape == (0, 4)
    assert empty.radii().shape == (0,)
    assert empty.tables().knots.shape[0] == 0
    assert empty.fourier_tables().knots.shape[0] == 0


@pytest.mark.parametrize("exponent", [-0.1, 0.0, float("nan"), float("inf")])
def test_an_exponent_that_is_not_above_zero_is_refused(exponent):
    with pytest.raises(ValueError, match=r"found an exponent of .* expected numbers above zero"):
        Orbitals(torch.tensor([[1.0, exponent]]), torch.zeros(1, 2, 4))


def test_a_coefficient_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="coefficient that is not finite"):
        Orbitals(torch.ones(1, 1), torch.tensor([[[float("nan")]]]))


@pytest.mark.parametrize(
    ("exponents", "coefficients"), [((3,), (3, 1, 1)), ((2, 3), (2, 3)), ((2, 3), (3, 3, 4)), ((2, 3), (2, 2, 4))]
)
def test_shapes_that_disagree_are_refused(exponents, coefficients):
    with pytest.raises(ValueError, match=r"expected \[n_centres, n_radial\] and"):
        Orbitals(torch.ones(exponents), torch.zeros(coefficients))


def test_part_of_a_degree_is_refused():
    with pytest.raises(ValueError, match="found 5 harmonics"):
        Orbitals(torch.ones(1, 1), torch.zeros(1, 1, 5))


def test_no_radial_function_is_refused():
    with pytest.raises(ValueError, match="found no radial function"):
        Orbitals(torch.ones(1, 0), torch.zeros(1, 0, 4))
