"""Free atoms: the radial functions against scipy, and the table that the application ships."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save
from scipy.integrate import quad
from scipy.interpolate import CubicSpline

from models.density.promolecule import Promolecule
from rhocast.density import FreeAtoms
from rhocast.density.atom_spheres import sum_of_spheres
from rhocast.density.radial import GaussianCharge, RadialCubic
from rhocast.errors import InvalidFile, UnsupportedByModel
from rhocast.structure import Structure

SHIPPED = Path(__file__).parents[3] / "models" / "density" / "promolecule.safetensors"


class TestRadialCubic:
    @pytest.mark.parametrize("n_knots", [2, 3, 4, 30])
    def test_clamped_is_scipys_clamped_spline(self, n_knots):
        values = np.random.default_rng(n_knots).normal(size=n_knots)
        knots = np.arange(n_knots) * 0.3
        points = np.linspace(0, knots[-1], 77)
        expected = CubicSpline(knots, values, bc_type="clamped")(points)
        expected[-1] = 0  # the cutoff itself is outside
        np.testing.assert_allclose(RadialCubic.clamped(values, 0.3)(points), expected, atol=1e-13)

    def test_it_is_zero_beyond_its_cutoff(self):
        found = RadialCubic.clamped(np.ones(5), 0.5)
        assert found.cutoff == 2
        np.testing.assert_array_equal(found(np.array([[1.99, 2.0], [2.1, 9.0]])), [[1, 0], [0, 0]])

    def test_its_integral_is_exact(self):
        function = RadialCubic.clamped(np.random.default_rng(1).random(6), 0.4)
        pieces = [
            quad(lambda r: float(function(np.array([r]))[0]) * 4 * np.pi * r**2, 0.4 * k, 0.4 * (k + 1))[0]
            for k in range(5)
        ]
        assert function.integral == pytest.approx(sum(pieces), rel=1e-12)

    def test_a_gaussian_charge_integrates_to_its_charge_within_its_cutoff(self):
        function = GaussianCharge(-3.0, 0.4)
        total, _ = quad(lambda r: float(function(np.array(r))) * 4 * np.pi * r**2, 0, function.cutoff)
        assert total == pytest.approx(-3, rel=1e-9)


class TestSums:
    @pytest.mark.parametrize("is_periodic", [True, False])
    @pytest.mark.parametrize("shape", [(7, 10, 9), (24, 31, 28)])
    def test_the_sum_is_the_application_promolecule_in_a_cell_smaller_than_the_cutoffs(
        self, sheared, shape, is_periodic
    ):
        structure = Structure(sheared.numbers, sheared.positions, sheared.cell, is_periodic)
        table = FreeAtoms.read(SHIPPED)
        functions = [table.densities[symbol] for symbol in structure.symbols]
        expected = Promolecule().fields([structure])[0].on_grid(shape)
        np.testing.assert_allclose(sum_of_spheres(structure, shape, functions), expected, atol=1e-13)

    def test_an_atom_far_outside_a_molecules_box_adds_nothing(self, water):
        away = Structure(water.numbers[:1], water.positions[:1] + 100, water.cell, False)
        assert not sum_of_spheres(away, (5, 6, 7), [GaussianCharge(1.0, 0.5)]).any()


class TestTables:
    def test_the_shipped_table_is_read_without_safetensors(self):
        found = FreeAtoms.read(SHIPPED)
        assert len(found.valence) == 83
        assert (found.valence["Na"], found.valence["Ga"]) == (7, 3)
        assert found.densities["Si"].integral == pytest.approx(4, abs=1e-9)

    def test_an_npz_or_float32_says_the_same(self, atom_arrays, tmp_path):
        np.savez(tmp_path / "atoms.npz", **atom_arrays, extra=np.array(["ignored"]))
        kept = {name: np.float32(array) if array.dtype == float else array for name, array in atom_arrays.items()}
        (tmp_path / "atoms.safetensors").write_bytes(save(kept))
        for name in ("atoms.npz", "atoms.safetensors"):
            found = FreeAtoms.read(tmp_path / name)
            assert dict(found.valence) == {"Na": 7, "Cl": 7, "O": 6, "H": 1}
            np.testing.assert_allclose(found.densities["O"].values, atom_arrays["density"][2], rtol=1e-6)

    def test_an_element_that_is_not_there_is_named(self, atom_arrays):
        gold = Structure.from_symbols(["Au", "H"], np.zeros((2, 3)), np.eye(3))
        with pytest.raises(UnsupportedByModel, match="found Au; expected elements of this table of free atoms, which"):
            FreeAtoms.from_arrays(atom_arrays).valence_of(gold)


def header(**entries) -> bytes:
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


class TestDamage:
    @pytest.mark.parametrize(
        "contents",
        [
            b"",
            b"not a table of any kind",
            (10**15).to_bytes(8, "little"),
            header(numbers={"dtype": "F8", "shape": [1], "data_offsets": [0, 1]}),
            header(numbers={"dtype": "I64", "shape": [2], "data_offsets": [0, 8]}) + bytes(8),
            header(numbers=3),
            (2).to_bytes(8, "little") + b"[]",
            (4).to_bytes(8, "little") + b"\xff\xfe{}",
        ],
    )
    def test_what_is_no_safetensors_file_is_refused(self, tmp_path, contents):
        (tmp_path / "atoms.safetensors").write_bytes(contents)
        with pytest.raises(InvalidFile, match=r"found no readable table in .*; expected an npz or safetensors file"):
            FreeAtoms.read(tmp_path / "atoms.safetensors")

    @pytest.mark.parametrize("is_zip", [True, False])
    def test_what_is_no_npz_or_holds_objects_is_refused(self, tmp_path, is_zip):
        stream = io.BytesIO()
        np.savez(stream, numbers=np.array([{}], dtype=object))
        (tmp_path / "atoms.npz").write_bytes(stream.getvalue() if is_zip else b"PK\x03\x04 but no zip")
        with pytest.raises(InvalidFile, match="found no readable table in"):
            FreeAtoms.read(tmp_path / "atoms.npz")

    def test_a_file_too_large_for_a_table_is_not_read(self, tmp_path):
        with (tmp_path / "atoms.npz").open("wb") as stream:
            stream.truncate(100_000_001)
        with pytest.raises(InvalidFile, match=r"found 100000001 bytes in .*; expected a table of free atoms"):
            FreeAtoms.read(tmp_path / "atoms.npz")

    @pytest.mark.parametrize(
        ("name", "change", "sentence"),
        [
            ("valence", lambda x: x[:3], "found arrays of shapes"),
            ("density", lambda x: x[0], "found arrays of shapes"),
            ("density", lambda x: x * np.nan, "found numbers in the table of free atoms that are NaN or infinite"),
            ("numbers", lambda x: x * 20, "found the numbers .*; expected atomic numbers from 1 to 118"),
            ("numbers", lambda x: x * 1.0, "found the numbers .*; expected atomic numbers from 1 to 118"),
            ("radius", lambda x: x + 0.1, "found radii .*; expected equidistant ones in Å that start at 0"),
            ("radius", lambda x: x * 0, "found radii .*; expected equidistant ones"),
            ("cutoff", lambda x: x + 0.01, "found cutoffs from 6.01 to 6.01 Å; expected radii of the table"),
            ("cutoff", lambda x: x - 0.003, "found cutoffs"),
            ("cutoff", lambda x: x * 0, "found cutoffs from 0 to 0 Å"),
            (
                "valence",
                lambda x: x + 0.1,
                "found a density of Na that integrates to 7 electrons; expected its valence",
            ),
        ],
    )
    def test_arrays_that_do_not_fit_are_refused(self, atom_arrays, name, change, sentence):
        with pytest.raises(InvalidFile, match=sentence):
            FreeAtoms.from_arrays(atom_arrays | {name: change(atom_arrays[name])})

    def test_a_missing_array_is_named(self, atom_arrays):
        del atom_arrays["cutoff"]
        with pytest.raises(InvalidFile, match="found no array 'cutoff'; expected numbers, radius, density, cutoff"):
            FreeAtoms.from_arrays(atom_arrays)
