"""Laws of the surfaces that the page draws, asked of the module itself in a browser."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

SHEARED = [[6.0, 0.0, 0.0], [1.5, 5.5, 0.0], [-0.7, 1.1, 6.5]]
LEFT_HANDED = [SHEARED[1], SHEARED[0], SHEARED[2]]
SHAPE = [44, 40, 48]
VOXEL = 0.14
"""About its length along each axis, Å."""
WIDTH = 0.8
"""σ of a Gaussian function of one electron, Å."""


def gaussian(cell: list[list[float]], centre: list[float]) -> np.ndarray:
    """A Gaussian function at fractional coordinates, with its periodic images, e/Å³."""
    fractional = np.stack(np.meshgrid(*[np.arange(n) / n for n in SHAPE], indexing="ij"), axis=-1)
    values = np.zeros(SHAPE)
    for image in product((-1, 0, 1), repeat=3):
        distance = np.linalg.norm((fractional - centre - np.array(image)) @ np.array(cell), axis=-1)
        values += np.exp(-(distance**2) / (2 * WIDTH**2)) / (2 * np.pi * WIDTH**2) ** 1.5
    return values


def level_at(radius: float) -> float:
    return float(np.exp(-(radius**2) / (2 * WIDTH**2)) / (2 * np.pi * WIDTH**2) ** 1.5)


@pytest.fixture
def surface(visit: Any) -> Callable[..., dict[str, Any]]:
    """The page's surface of a density: vertices, triangles, normals, electrons inside, and all."""
    page = visit().page

    def surface(values: np.ndarray, cell: list[list[float]], level: float, is_periodic: bool = True) -> dict[str, Any]:
        found = page.evaluate(
            """async ([values, shape, cell, isPeriodic, level]) => {
                const { Volume, isosurface, normalsOf } = await import("/web/volume.js");
                const volume = new Volume(Float64Array.from(values), shape, cell, isPeriodic);
                const mesh = isosurface(volume, level);
                const plain = ({ x, y, z }) => [x, y, z];
                return {
                    vertices: mesh.vertices.map(plain), triangles: mesh.triangles, normals: normalsOf(mesh).map(plain),
                    inside: volume.enclosed(level), total: volume.total, half: volume.ranking.magnitudeOf(0.5),
                };
            }""",
            [values.ravel().tolist(), list(values.shape), cell, is_periodic, level],
        )
        triangles = np.array(found["triangles"], dtype=int).reshape(-1, 3)
        vertices = np.array(found["vertices"]).reshape(-1, 3)
        return found | {"triangles": triangles, "vertices": vertices, "normals": np.array(found["normals"])}

    return surface


def area(found: dict[str, Any]) -> float:
    a, b, c = np.moveaxis(found["vertices"][found["triangles"]], 1, 0)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=-1).sum() / 2)


@pytest.mark.parametrize("cell", [SHEARED, LEFT_HANDED], ids=["sheared", "left-handed"])
@pytest.mark.parametrize("radius", [0.6, 1.0, 1.63])
def test_the_surface_of_a_gaussian_is_a_sphere_at_any_level(surface, cell, radius: float) -> None:
    centre = [0.5, 0.45, 0.55]
    found = surface(gaussian(cell, centre), cell, level_at(radius))
    from_centre = found["vertices"] - np.array(centre) @ np.array(cell)
    assert np.linalg.norm(from_centre, axis=-1) == pytest.approx(radius, abs=0.1 * VOXEL)
    assert area(found) == pytest.approx(4 * np.pi * radius**2, rel=(VOXEL / radius) ** 2)
    outwards = np.sum(found["normals"] * from_centre, axis=-1) / np.linalg.norm(from_centre, axis=-1)
    assert np.abs(outwards) == pytest.approx(1, abs=0.03)
    assert np.ptp(np.sign(outwards)) == 0


def test_the_surface_is_closed(surface) -> None:
    found = surface(gaussian(SHEARED, [0.5, 0.5, 0.5]), SHEARED, level_at(1.0))
    edges = np.sort(np.concatenate([np.roll(found["triangles"], k, axis=1)[:, :2] for k in range(3)]), axis=1)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    assert set(counts) == {2}
    assert len(found["vertices"]) - len(unique) + len(found["triangles"]) == 2  # Euler: a sphere


def test_a_sphere_on_a_corner_ends_at_the_faces_of_the_cell_and_its_pieces_make_a_whole(surface) -> None:
    found = surface(gaussian(SHEARED, [0.0, 0.0, 0.0]), SHEARED, level_at(1.0))
    fractional = found["vertices"] @ np.linalg.inv(SHEARED)
    assert fractional.min() == pytest.approx(0, abs=1e-9)
    assert fractional.max() == pytest.approx(1, abs=1e-9)
    assert area(found) == pytest.approx(4 * np.pi, rel=0.03)


def test_where_nothing_repeats_nothing_comes_back_on_the_other_side(surface) -> None:
    values = gaussian(SHEARED, [0.5, 0.5, 0.5])
    values[:20] = 0
    found = surface(values, SHEARED, level_at(1.0), is_periodic=False)
    assert (found["vertices"] @ np.linalg.inv(SHEARED))[:, 0].min() > 0.4


def test_a_negative_level_encloses_what_lies_below(surface) -> None:
    values = gaussian(SHEARED, [0.5, 0.5, 0.5])
    above, below = (surface(sign * values, SHEARED, sign * level_at(1.0)) for sign in (1, -1))
    assert below["vertices"] == pytest.approx(above["vertices"])
    assert below["inside"] == above["inside"]
    assert len(surface(values, SHEARED, -level_at(1.0))["triangles"]) == 0


def test_the_electrons_inside_are_those_of_the_sphere(surface) -> None:
    values = gaussian(SHEARED, [0.5, 0.5, 0.5])
    found = surface(values, SHEARED, level_at(1.0))
    voxel = abs(np.linalg.det(SHEARED)) / values.size
    assert found["total"] == pytest.approx(values.sum() * voxel, rel=1e-6)
    assert found["inside"] == pytest.approx(values[values > level_at(1.0)].sum() * voxel, rel=2e-3)
    assert values[values > found["half"]].sum() / values.sum() == pytest.approx(0.5, abs=2e-3)


def test_atoms_on_faces_edges_and_corners_are_drawn_on_each_of_them(visit) -> None:
    page = visit().page
    drawn = page.evaluate(
        """async ([positions, cell]) => {
            const { drawnAtoms } = await import("/web/picture.js");
            const symbols = ["Na", "Cl", "K", "Br"];
            return drawnAtoms({ symbols, positions, cell, is_periodic: true }).map((one) => [one.index, one.position]);
        }""",
        [(np.array([[0, 0, 0], [0.5, 0.5, 1], [0.5, 0.5, 0.5], [-0.3, 0.999, 7.2]]) @ SHEARED).tolist(), SHEARED],
    )
    fractional = np.array([position for _, position in drawn]) @ np.linalg.inv(SHEARED)
    assert [sum(index == one for one, _ in drawn) for index in range(4)] == [8, 2, 1, 2]
    assert fractional.min() > -0.02
    assert fractional.max() < 1.02
