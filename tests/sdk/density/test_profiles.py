"""Planar averages, macroscopic averages and lines."""

from dataclasses import replace

import numpy as np
import pytest

from rhocast.density import Density, line_profile, macroscopic_average, planar_average, regridded
from rhocast.density.profiles import values_at
from rhocast.errors import InvalidField
from rhocast.structure import Structure


class TestPlanes:
    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_the_profile_integrates_to_the_number_of_electrons(self, density, axis):
        found = planar_average(density, axis)
        assert found.integral == pytest.approx(density.n_electrons, rel=1e-13)
        thickness = found.distances[1] - found.distances[0]
        assert np.sum(found.values) * thickness * found.area == pytest.approx(density.n_electrons, rel=1e-13)

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_distances_are_along_the_normal_of_a_sheared_cell(self, density, axis):
        cell = density.structure.cell
        normal = np.cross(cell[(axis + 1) % 3], cell[(axis + 2) % 3])
        height = abs(normal @ cell[axis]) / np.linalg.norm(normal)
        found = planar_average(density, axis)
        assert found.height == pytest.approx(height)
        np.testing.assert_allclose(found.distances, np.arange(density.shape[axis]) / density.shape[axis] * height)

    def test_it_is_the_mean_over_each_plane(self, density):
        assert planar_average(density, 1).values[3] == pytest.approx(density.values[:, 3, :].mean())

    @pytest.mark.parametrize("axis", [-1, 3, "c"])
    def test_there_are_three_axes(self, density, axis):
        with pytest.raises(InvalidField, match=rf"found axis {axis!r}; expected 0, 1 or 2"):
            planar_average(density, axis)


class TestMacroscopicAverage:
    @pytest.fixture
    def profile(self):
        z = np.arange(60) / 60
        structure = Structure.from_symbols([], [], np.diag([2.0, 3.0, 12.0]))
        values = 5 + np.cos(2 * np.pi * z) + 3 * np.cos(2 * np.pi * 6 * z + 1) + np.sin(2 * np.pi * 12 * z)
        return planar_average(Density(structure, np.broadcast_to(values, (2, 2, 60))), 2)

    def test_what_repeats_with_the_window_is_gone_and_long_waves_are_damped(self, profile):
        found = macroscopic_average(profile, 2.0)  # six layers in 12 Å
        wave = np.cos(2 * np.pi * profile.distances / 12)
        np.testing.assert_allclose(found.values, 5 + wave * np.sin(np.pi / 6) / (np.pi / 6), atol=1e-13)

    def test_it_is_the_mean_over_the_window(self, profile):
        """Against a mean over many points of the written-out profile, for no whole number of points."""
        z = profile.distances[7] + np.linspace(-0.5, 0.5, 200_001) * 3.77
        turn = 2 * np.pi / 12
        values = 5 + np.cos(turn * z) + 3 * np.cos(turn * 6 * z + 1) + np.sin(turn * 12 * z)
        assert macroscopic_average(profile, 3.77).values[7] == pytest.approx(values.mean(), abs=1e-4)

    def test_the_integral_stays_and_two_windows_commute(self, profile):
        one, other = (
            macroscopic_average(macroscopic_average(profile, first), second) for first, second in [(2, 3.5), (3.5, 2)]
        )
        assert one.integral == pytest.approx(profile.integral)
        np.testing.assert_allclose(one.values, other.values, atol=1e-13)

    def test_the_whole_height_leaves_the_mean(self, profile):
        np.testing.assert_allclose(macroscopic_average(profile, 12.0).values, 5, atol=1e-13)

    @pytest.mark.parametrize("window", [0, -1, 12.1, np.nan])
    def test_windows_that_do_not_fit_are_refused(self, profile, window):
        with pytest.raises(InvalidField, match=r"found a window of .* Å; expected the distance of equivalent layers"):
            macroscopic_average(profile, window)


class TestLines:
    @pytest.mark.parametrize("shape", [(7, 10, 9), (6, 8, 12), (1, 2, 3)])
    def test_grid_points_have_their_own_values(self, density, shape):
        values = np.random.default_rng(0).random(shape)
        indices = np.argwhere(np.ones(shape))
        positions = indices / np.array(shape) @ density.structure.cell
        for is_periodic in (True, False):
            structure = replace(density.structure, is_periodic=is_periodic)
            found = values_at(Density(structure, values), positions)
            np.testing.assert_allclose(found, values.ravel(), atol=1e-11)

    def test_between_grid_points_it_is_the_fourier_interpolant(self, density):
        fine = regridded(density, (21, 30, 36))
        cell = density.structure.cell
        found = line_profile(density, [0, 0, 0], cell.sum(axis=0) / 3, 5)  # (7, 10, 12)/(21, 30, 36)
        assert found.values[-1] == pytest.approx(fine.values[7, 10, 12], rel=1e-10)

    def test_a_line_may_leave_a_cell_that_repeats(self, density):
        cell = density.structure.cell
        inside = line_profile(density, [0.1, 0.2, 0.3], cell[1], 7)
        outside = line_profile(density, cell[0] * 2 + [0.1, 0.2, 0.3], cell[0] * 2 + cell[1], 7)
        np.testing.assert_allclose(outside.values, inside.values, rtol=1e-9)

    @pytest.mark.parametrize(("is_periodic", "tolerance"), [(True, 2e-5), (False, 5e-4)])
    def test_a_smooth_density_has_its_own_values(self, gaussian_density, water, is_periodic, tolerance):
        structure = replace(water, is_periodic=is_periodic)
        density = gaussian_density(structure, (40, 42, 44), [6, 1, 1], [0.8, 0.7, 0.7])
        found = line_profile(density, water.positions[0], water.positions[1] + [0, 1, 0], 33)
        expected = sum(
            q / (np.pi**1.5 * w**3) * np.exp(-((np.linalg.norm(found.positions - centre, axis=1) / w) ** 2))
            for q, w, centre in zip([6, 1, 1], [0.8, 0.7, 0.7], water.positions, strict=True)
        )
        np.testing.assert_allclose(found.values, expected, atol=tolerance)
        assert found.distances[-1] == pytest.approx(np.linalg.norm(found.positions[-1] - found.positions[0]))

    def test_what_does_not_repeat_is_not_taken_to_repeat(self, water):
        """A ramp from wall to wall: the Fourier interpolant of it would ring."""
        ramp = Density(water, np.broadcast_to(np.arange(20.0)[:, None, None], (20, 12, 12)))
        found = line_profile(ramp, water.cell[0] * 0.5 / 20, water.cell[0], 40)
        np.testing.assert_allclose(found.values, np.linspace(0.5, 20, 40), atol=1e-8)

    def test_a_position_outside_a_molecules_box_is_refused(self, water):
        with pytest.raises(InvalidField, match="found a position outside the box of a molecule; expected"):
            line_profile(Density(water, np.ones((9, 9, 9))), [0, 0, 0], [0, 0, 9.5])

    @pytest.mark.parametrize(
        ("start", "end", "n_points"),
        [([0, 0, 0], [0, 0, 0], 9), ([0, 0], [1, 1], 9), ([0, 0, 0], [0, 0, 1], 1), ([0, 0, 0], [0, 0, np.inf], 9)],
    )
    def test_lines_without_length_or_points_are_refused(self, density, start, end, n_points):
        with pytest.raises(
            InvalidField, match=r"found a line from .* with \d points; expected two different positions"
        ):
            line_profile(density, start, end, n_points)
