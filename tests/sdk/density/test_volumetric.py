"""The density itself, and its files by name."""

import errno
import os
import sys
from dataclasses import replace

import numpy as np
import pytest

from rhocast.density import Density, shape_like
from rhocast.density import files as files_module
from rhocast.errors import InvalidFile, InvalidGrid, UnsupportedFormat

NAMES = pytest.mark.parametrize("name", ["CHGCAR", "CHGCAR_sum", "a.vasp", "CHG", "CHG.old", "a.cube", "CHGCAR.npz"])


def test_electrons_are_counted_in_the_volume_of_either_handedness(density):
    expected = density.values.mean() * abs(np.linalg.det(density.structure.cell))
    assert np.linalg.det(density.structure.cell) < 0
    assert density.n_electrons == pytest.approx(expected, rel=1e-14)
    assert density.shape == (7, 10, 9)
    assert density.spacing[1] == pytest.approx(np.linalg.norm(density.structure.cell[1]) / 10)


def test_a_float32_grid_becomes_float64(density):
    found = Density(density.structure, density.values.astype(np.float32), density.values.astype(np.float32))
    assert (found.values.dtype, found.magnetization.dtype) == (np.float64, np.float64)


@pytest.mark.parametrize("shape", [(7, 10), (0, 2, 2)])
def test_values_have_three_axes(density, shape):
    with pytest.raises(InvalidGrid, match=r"found values of shape .*; expected \(n0, n1, n2\)"):
        Density(density.structure, np.ones(shape))


def test_magnetization_has_the_grid_of_the_values(density):
    with pytest.raises(InvalidGrid, match=r"found a magnetization of shape \(7, 10, 8\) beside values"):
        Density(density.structure, density.values, density.values[:, :, :-1])


@NAMES
def test_a_file_is_read_back_by_its_name(density, tmp_path, name):
    density.write(tmp_path / name)
    found = Density.read(tmp_path / name)
    np.testing.assert_allclose(found.values, density.values, rtol=6e-5)
    assert found.n_electrons == pytest.approx(density.n_electrons, rel=1e-9)
    assert os.listdir(tmp_path) == [name]


@NAMES
def test_its_shape_is_read_from_the_header_alone(density, tmp_path, name):
    density.write(tmp_path / name)
    if not name.endswith(".npz"):  # the directory of a zip is at its end
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:2000])
    assert shape_like(tmp_path / name) == (7, 10, 9)


def test_a_format_can_be_named(density, tmp_path):
    density.write(str(tmp_path / "rho.dat"), format="cube")
    assert Density.read(str(tmp_path / "rho.dat"), format="cube").shape == (7, 10, 9)
    assert shape_like(str(tmp_path / "rho.dat"), format="cube") == (7, 10, 9)


def test_a_name_that_says_no_format_is_refused(density, tmp_path):
    with pytest.raises(UnsupportedFormat, match=r"found the file name 'rho.xsf'; expected a name CHGCAR\*, .*\*.npz"):
        density.write(tmp_path / "rho.xsf")
    with pytest.raises(UnsupportedFormat, match=r"found format 'xsf'; expected .* chgcar, chg, cube, npz"):
        Density.read(tmp_path / "rho.cube", format="xsf")


@pytest.mark.parametrize(("name", "format"), [("x.coefficients.npz", None), ("x.npz", "coefficients")])
def test_a_density_on_a_grid_is_no_coefficients(density, tmp_path, name, format):
    with pytest.raises(UnsupportedFormat, match=r"found the coefficients '.*'; .*DensityExpansion reads and writes"):
        density.write(tmp_path / name, format)
    with pytest.raises(UnsupportedFormat, match="expected a density on a grid"):
        Density.read(tmp_path / name, format)


def test_a_link_is_followed_and_stays(density, tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "CHGCAR").symlink_to(tmp_path / "scratch" / "CHGCAR")
    density.write(tmp_path / "CHGCAR")
    assert (tmp_path / "CHGCAR").is_symlink()
    assert os.listdir(tmp_path / "scratch") == ["CHGCAR"]


def test_a_refused_density_leaves_the_file_that_was_there(density, tmp_path):
    density.write(tmp_path / "CHGCAR")
    before = (tmp_path / "CHGCAR").read_bytes()
    with pytest.raises(InvalidFile, match="NaN"):
        replace(density, values=density.values * np.nan).write(tmp_path / "CHGCAR")
    assert (tmp_path / "CHGCAR").read_bytes() == before
    assert os.listdir(tmp_path) == ["CHGCAR"]


def test_a_missing_folder_is_named(density, tmp_path):
    with pytest.raises(FileNotFoundError, match="cannot write the density: the folder does not exist; make it first"):
        density.write(tmp_path / "missing" / "CHGCAR")


def test_a_folder_in_place_of_a_file_is_refused(density, tmp_path):
    (tmp_path / "CHGCAR").mkdir()
    with pytest.raises(IsADirectoryError, match="it is a folder; add a file name"):
        density.write(tmp_path / "CHGCAR")
    assert os.listdir(tmp_path) == ["CHGCAR"]


def test_a_full_disk_is_said_and_nothing_is_left(density, tmp_path, monkeypatch):
    def write_until_full(density, stream):
        stream.write(b"half a file")
        raise OSError(errno.ENOSPC, "No space left on device")

    full = files_module.FORMATS["chgcar"]._replace(write=write_until_full)
    monkeypatch.setitem(files_module.FORMATS, "chgcar", full)
    with pytest.raises(OSError, match="cannot write the density: the disk is full; free space or write elsewhere"):
        density.write(tmp_path / "CHGCAR")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("library", "convert"), [("pymatgen", "to_pymatgen"), ("ase", "to_ase")])
def test_a_missing_library_is_named_with_its_extra(density, monkeypatch, library, convert):
    for module in [name for name in sys.modules if name.split(".")[0] == library] + [library]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"pip install 'rhocast\[{library}\]'"):
        getattr(density, convert)()
