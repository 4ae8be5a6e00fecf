"""Chains in one dimension: laws of a self-consistent density, and the gaps that another program has found."""

import numpy as np
import pytest

from reference import chain as chains
from reference.chain import SPACING, Chain, NotConverged, fermi_dirac, solved


def displaced_as_in_the_table(n_atoms: int, width: float) -> Chain:
    sites = (np.arange(n_atoms) + 0.5) * 10 + 0.25
    return Chain(sites + np.random.default_rng(0).normal(0, 0.3, n_atoms), np.full(n_atoms, width))


@pytest.mark.parametrize(
    ("n_atoms", "width", "gap"),
    [(8, 1.0, 0.1361), (8, 2.0, 0.0578), (8, 3.0, 0.0056), (16, 3.0, 0.0084), (8, 6.0, 0.0), (16, 6.0, 0.0)],
)
def test_gaps_are_those_of_another_program(n_atoms, width, gap):
    """A re-implementation of the author's, with numpy's dense solver and a bisection for the Fermi level."""
    assert solved(displaced_as_in_the_table(n_atoms, width)).gap == pytest.approx(gap, abs=6e-5)


@pytest.mark.parametrize(
    ("width", "lowest", "highest"), [(2.0, 0.059, 0.298), (3.0, 0.129, 0.239), (6.0, 0.193, 0.208)]
)
def test_densities_lie_where_another_program_has_them(width, lowest, highest):
    density = solved(displaced_as_in_the_table(16, width)).density
    assert density.min() == pytest.approx(lowest, abs=6e-4)
    assert density.max() == pytest.approx(highest, abs=6e-4)


def test_narrow_charges_make_an_insulator_and_wide_ones_a_metal():
    narrow, wide = (solved(displaced_as_in_the_table(8, width)) for width in (1.0, 6.0))
    np.testing.assert_allclose(narrow.occupations, [1.0] * 16 + [0.0] * 10, atol=1e-9)
    assert ((wide.occupations > 0.01) & (wide.occupations < 0.99)).sum() >= 2


def test_a_density_has_its_electrons_and_is_nowhere_negative():
    mixed = Chain.displaced([1.0, 3.0] * 4, 0.5, np.random.default_rng(3))
    density = solved(mixed).density
    assert density.sum() * SPACING == pytest.approx(16, abs=1e-9)
    assert density.min() > 0


def test_moving_and_mirroring_a_chain_does_so_with_its_density():
    chain = Chain.displaced([1.0, 3.0, 2.0, 2.0], 0.5, np.random.default_rng(1))
    density = solved(chain).density
    moved = solved(Chain(chain.positions + 3 * SPACING, chain.widths)).density
    mirrored = solved(Chain(-chain.positions, chain.widths)).density
    np.testing.assert_allclose(moved, np.roll(density, 3), atol=1e-7)
    np.testing.assert_allclose(mirrored, np.roll(density[::-1], 1), atol=1e-7)


def test_a_doubled_insulator_has_its_density_twice():
    widths = np.full(4, 1.0)
    one = Chain(np.array([5.0, 15.3, 24.6, 35.1]), widths)
    two = Chain(np.append(one.positions, one.positions + one.length), np.tile(widths, 2))
    np.testing.assert_allclose(solved(two).density, np.tile(solved(one).density, 2), atol=2e-4)


def test_the_density_is_that_of_its_own_potential():
    """What is found is put into the equations once more, written down plainly."""
    chain = Chain.displaced([2.0] * 4, 0.5, np.random.default_rng(2))
    density, points = solved(chain).density, chain.points
    waves = 2 * np.pi * np.fft.fftfreq(len(points), SPACING)
    whole = np.fft.fft(density + chain.pseudo_charge())
    squares = waves**2 + 0.01**2
    potential = np.fft.ifft(np.where(waves == 0, 0, 4 * np.pi / 10 / squares * whole)).real
    matrix = np.exp(1j * np.outer(points, waves)) / np.sqrt(len(points))
    hamiltonian = (matrix * (0.5 * waves**2)) @ matrix.conj().T + np.diag(potential)
    _, orbitals = np.linalg.eigh(hamiltonian)
    np.testing.assert_allclose(np.square(np.abs(orbitals[:, :8])).sum(1) / SPACING, density, atol=1e-7)


def test_occupations_add_up():
    energies = np.array([-1.0, -0.5, -0.5, 0.0, 2.0])
    for n_electrons in (2, 2.3, 4):
        assert fermi_dirac(energies, n_electrons).sum() == pytest.approx(n_electrons)


def test_a_chain_that_does_not_converge_is_said_so(monkeypatch):
    monkeypatch.setattr(chains, "MOST_ITERATIONS", 2)
    with pytest.raises(NotConverged, match="after 2 iterations; expected 1e-09"):
        solved(displaced_as_in_the_table(8, 2.0))
