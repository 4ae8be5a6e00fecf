"""The data sets themselves are 78 MB and stay out of the tests: hydrogen-like atoms, known in closed form, stand in."""

import gzip
import json
import logging
import sys

import numpy as np
import pytest
from safetensors.numpy import load, load_file
from scipy.integrate import quad
from scipy.interpolate import CubicSpline

from models.density.promolecule import AtomTable
from reference import atoms
from reference.data_sets import BOHR, PawAtom, UnreadableDataSet, read_paw_atom

N_RADII = 300
GRIDS = {
    "r=a*i/(n-i)": 'eq="r=a*i/(n-i)" a="0.4" n="300" istart="0" iend="299"',
    "r=a*i/(1-b*i)": f'eq="r=a*i/(1-b*i)" a="{0.4 / 300}" b="{1 / 300}" istart="0" iend="299"',
}
EXPONENT = 1.3
"""Decay constant of the wave in bohr⁻¹."""


def hydrogen_like(grid: str = "r=a*i/(n-i)", valence: float = 2, occupation: float = 2, norm: float = 0.9) -> bytes:
    """Data set with one wave √norm·2ζ^(3/2)·exp(−ζr), occupied `occupation` times, and an empty one."""
    index = np.arange(N_RADII)
    radius = 0.4 * index / (300 - index)
    wave = np.sqrt(norm) * 2 * EXPONENT**1.5 * np.exp(-EXPONENT * radius)
    core = np.sqrt(4 * np.pi) * 0.25 * np.exp(-((radius / 0.5) ** 2)) / (np.pi**1.5 * 0.5**3)

    def text(values: np.ndarray) -> str:
        return " ".join(f"{value:.15e}" for value in values)

    return gzip.compress(
        f"""<?xml version="1.0"?><paw_setup version="0.6">
        <atom symbol="He" Z="2" core="0" valence="{valence}"/>
        <valence_states>
          <state n="1" l="0" f="{occupation}" rc="1.0" e="-0.5" id="He-1s"/><state l="1" rc="1.0" e="0.0" id="He-p1"/>
        </valence_states>
        <radial_grid {GRIDS.get(grid, f'eq="{grid}" a="1" istart="0" iend="9"')} id="g1"/>
        <pseudo_core_density grid="g1">{text(core)}</pseudo_core_density>
        <pseudo_partial_wave state="He-1s" grid="g1">{text(wave)}</pseudo_partial_wave>
        <pseudo_partial_wave state="He-p1" grid="g1">{text(np.cos(radius))}</pseudo_partial_wave>
        </paw_setup>""".encode()
    )


def exact_density(radius: np.ndarray) -> np.ndarray:
    """Density of the occupied wave of `hydrogen_like` in e/Å³, at radii in Å."""
    zeta = EXPONENT / BOHR
    return 2 * 0.9 * zeta**3 / np.pi * np.exp(-2 * zeta * radius)


@pytest.fixture
def atom() -> PawAtom:
    return read_paw_atom(hydrogen_like())


@pytest.mark.parametrize("grid", GRIDS)
def test_the_density_between_the_points_of_the_data_set_is_that_of_the_wave(grid):
    radius = np.linspace(0, 8, 333)
    found = read_paw_atom(hydrogen_like(grid)).pseudo_valence_density(radius)
    np.testing.assert_allclose(found, exact_density(radius), rtol=1e-6, atol=1e-12)


def test_the_monopole_is_what_the_waves_lack(atom):
    assert atom.n_valence == 2
    assert atom.monopole == pytest.approx(2 - 2 * 0.9, abs=1e-9)


def test_the_partial_core_is_read_and_not_counted(atom):
    assert atom.grid.integral(atom.partial_core) == pytest.approx(0.25, abs=1e-9)


def test_the_compensated_density_integrates_to_the_valence(atom):
    integral, _ = quad(lambda r: 4 * np.pi * r**2 * atoms.compensated_density(atom, 0.3, np.array([r]))[0], 0, 9)
    assert integral == pytest.approx(2, abs=1e-7)


def test_a_line_integrates_to_the_valence_and_follows_the_density(atom):
    line = atoms.free_atom(atom, 0.3)
    spline = CubicSpline(atoms.SPACING * np.arange(len(line.density)), line.density, bc_type="clamped")
    integral, _ = quad(lambda r: 4 * np.pi * r**2 * spline(r), 0, line.cutoff, limit=2000, epsabs=1e-12)
    assert integral == pytest.approx(2, abs=1e-8)
    assert spline.x[-1] == pytest.approx(line.cutoff)
    # A hydrogen-like wave has a cusp, which pseudo waves lack and a flat spline cannot follow: start beyond it.
    radius = np.linspace(0.2, line.cutoff - atoms.SWITCH_WIDTH, 500)
    expected = atoms.compensated_density(atom, 0.3, radius)
    np.testing.assert_allclose(spline(radius), expected, rtol=0, atol=1e-6 * line.density.max())


def test_the_cutoff_costs_no_more_electrons_than_it_may(atom):
    line, zeta = atoms.free_atom(atom, 0.3), EXPONENT / BOHR

    def electrons_beyond(r: float) -> float:
        x = 2 * zeta * r
        return 1.8 * np.exp(-x) * (1 + x + x**2 / 2)

    assert electrons_beyond(line.cutoff) < atoms.LOST_TAIL < electrons_beyond(line.cutoff - atoms.SWITCH_WIDTH - 0.1)


def test_a_diffuse_atom_is_cut_at_the_longest_cutoff(atom):
    wide = PawAtom(2.0, atom.grid, atom.occupations, np.exp(-atom.grid.radius / 3)[None], atom.partial_core)
    assert atoms.free_atom(wide, 0.3).cutoff == atoms.LONGEST_CUTOFF


def test_the_step_falls_from_one_to_zero_with_two_derivatives():
    radius = np.linspace(0.9, 2.1, 100_001)
    step = atoms.smooth_step_down(radius, 1.0, 2.0)
    assert step[0] == 1
    assert step[-1] == 0
    for _ in range(2):
        step = np.gradient(step, radius)
        assert np.abs(np.diff(step)).max() < 1e-3


def test_the_script_writes_a_table_that_the_promolecule_reads(tmp_path, monkeypatch, caplog):
    (tmp_path / "He.PBE.gz").write_bytes(hydrogen_like())
    facts = {"valence": 2, "monopole": 0.2, "partial_core": 0.25, "width": 0.3}
    (tmp_path / "compensation.json").write_text(json.dumps({"about": "a test", "He": facts}))
    monkeypatch.setattr(atoms, "COMPENSATION", tmp_path / "compensation.json")
    monkeypatch.setattr(atoms, "installed_data_sets", lambda: tmp_path)
    monkeypatch.setattr(atoms, "version", lambda package: "1.2.1")
    monkeypatch.setattr(sys, "argv", ["atoms", str(tmp_path / "table.safetensors")])
    with caplog.at_level(logging.INFO):
        atoms.main()
    assert "1 elements" in caplog.text
    table = AtomTable.read(tmp_path / "table.safetensors")
    assert table.symbols == ("He",)
    tensors = load_file(tmp_path / "table.safetensors")
    assert table.densities.cutoffs.tolist() == tensors["cutoff"].tolist()
    at_knots = table.densities.coefficients[0, :-1, 0]
    np.testing.assert_allclose(at_knots, tensors["density"][0, :-1])


def test_the_same_table_is_the_same_file(atom):
    tensors = atoms.table({"He": atoms.free_atom(atom, 0.3), "H": atoms.free_atom(atom, 0.4)})
    labels = {f"label {number}": "é" * number for number in range(20)}
    contents = atoms.reproducible_file(tensors, labels)
    assert contents == atoms.reproducible_file(tensors, labels)
    read = load(contents)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor)


def test_another_version_of_the_data_sets_is_refused(tmp_path):
    (tmp_path / "He.PBE.gz").write_bytes(hydrogen_like(norm=0.8))
    facts = {"valence": 2.0, "monopole": 0.2, "partial_core": 0.25, "width": 0.3}
    with pytest.raises(ValueError, match=r"found valence, monopole and partial core .* of He; expected .* 1.2.1"):
        list(atoms.free_atoms(tmp_path, {"He": facts}))


def test_without_the_package_the_script_says_what_to_install(monkeypatch):
    monkeypatch.setattr(atoms, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install gpaw-data==1\.2\.1"):
        atoms.installed_data_sets()


def test_an_unknown_grid_is_refused():
    with pytest.raises(UnreadableDataSet, match=r"found a radial grid 'r=a\*exp\(i\)'; expected"):
        read_paw_atom(hydrogen_like(grid="r=a*exp(i)"))


@pytest.mark.parametrize("occupation", [1, 3])
def test_occupations_that_are_not_the_valence_are_refused(occupation):
    with pytest.raises(UnreadableDataSet, match="expected them to add up to 2 electrons"):
        read_paw_atom(hydrogen_like(occupation=occupation))


def test_a_file_without_an_atom_is_refused():
    empty = b"<paw_setup><valence_states><state id='x'/></valence_states></paw_setup>"
    with pytest.raises(UnreadableDataSet, match="found 0 elements <atom>; expected one"):
        read_paw_atom(gzip.compress(empty))


def test_the_compensation_table_has_a_width_for_every_element():
    table = json.loads(atoms.COMPENSATION.read_text())
    assert "gpaw-data 1.2.1" in table.pop("about")
    assert len(table) == 83
    assert all(0.3 <= facts["width"] <= 0.64 for facts in table.values())
