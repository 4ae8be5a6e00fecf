"""Records on disk, and what `verify`, `status`, `export` and the pilot's import make of them."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from reference.checks import check_record
from reference.errors import BadRecord, DamagedShard, ForeignSettings
from reference.folder import SetFolder, new_records
from reference.inventory import export, summary, verification
from reference.pilot import k_mesh, pilot_records, pilot_set
from reference.record import ATTRIBUTES, FIELDS, assembled_record, rounded_mantissa
from reference.settings import ALUMINIUM, METAL, DftSettings, SetSettings, set_settings
from reference.shards import read_records, shards, write_shard

DOCUMENT = Path(__file__).parents[2] / "docs" / "data.md"


def changed(record, arrays=None, **attributes):
    return replace(record, arrays=dict(record.arrays) | (arrays or {}), attributes=dict(record.attributes) | attributes)


def test_a_record_comes_back_as_it_was(record, tmp_path):
    write_shard(tmp_path / "a.h5", [record])
    (found,) = read_records(tmp_path / "a.h5")
    assert found.name == record.name
    assert found.attributes == {name: kind(record.attributes[name]) for name, (kind, _, _) in ATTRIBUTES.items()}
    assert found.arrays.keys() == record.arrays.keys()
    for name, array in record.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], np.asarray(array).astype(FIELDS[name].dtype))


def test_the_stored_density_is_positive_and_has_all_electrons(record):
    cell, density = record.arrays["cell"], record.density_on_grid.astype(float)
    assert density.min() >= 0
    assert density.mean() * abs(np.linalg.det(cell)) == pytest.approx(record.attributes["n_electrons"], rel=5e-5)
    assert record.attributes["rounding_nmae"] < 6.2e-5
    assert record.arrays["fourier_coefficients"][0, 0] == pytest.approx(record.attributes["n_electrons"], rel=1e-6)


def test_negative_values_are_set_to_zero_and_counted(toy_set, labeller):
    structure = toy_set.batch(0, 0)[0]
    labels = labeller.labels(structure)
    density = labels.arrays["density"].copy()
    density[0, 0, 8] -= density[0, 0, 8] + 1e-5
    found = assembled_record(structure, replace(labels, arrays=dict(labels.arrays) | {"density": density}), "test")
    assert found.attributes["density_min"] == pytest.approx(-1e-5)
    assert found.attributes["clipped_electrons"] == pytest.approx(1e-5 * abs(np.linalg.det(structure.cell)) / 16**3)
    assert found.arrays["density"].min() == 0


def test_rounding_keeps_twelve_bits_and_goes_to_the_nearest():
    values = np.array([1, 1 + 2**-13 + 2**-20, 1 + 2**-13 - 2**-20, -3.3, 0], np.float32)
    found = rounded_mantissa(values)
    np.testing.assert_array_equal(found[:3], np.array([1, 1 + 2**-12, 1], np.float32))
    assert np.all(np.abs(found - values) <= np.abs(values) * 2.0**-13)
    assert np.all(found.view(np.uint32) & 0x7FF == 0)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda r: changed(r, is_converged=False), "did not converge"),
        (lambda r: changed(r, integral_before_rescaling=15.99), "before rescaling"),
        (lambda r: changed(r, {"forces": r.arrays["forces"] + 0.03}), "add up to 0.060"),
        (lambda r: changed(r, {"forces": r.arrays["forces"][:1]}), "forces of shape"),
        (lambda r: changed(r, {"forces": r.arrays["forces"] + np.inf}), "not finite"),
        (lambda r: changed(r, {"density": r.arrays["density"] * 1.01}), "density of .* electrons"),
        (lambda r: changed(r, {"density": np.roll(r.arrays["density"], 3)}), "Fourier coefficients that are not"),
        (lambda r: changed(r, {"grid_shape": np.array([16, 16, 15])}), "expected a grid of"),
        (lambda r: changed(r, {"fourier_coefficients": 1.01 * r.arrays["fourier_coefficients"]}), "wave G = 0"),
        (lambda r: changed(r, {"density": r.arrays["density"] - 1}), "none below zero"),
        (lambda r: changed(r, {"fourier_indices": -r.arrays["fourier_indices"]}), "Fourier indices"),
        (lambda r: changed(r, {"positions": r.arrays["positions"] + 0.1}), "content hash"),
        (lambda r: changed(r, {"pbc": np.zeros(3, bool)}), "stress without"),
        (lambda r: changed(r, {"atomic_density_matrix_sizes": np.array([3, 4])}), "sizes"),
        (lambda r: changed(r, split="both"), "split 'both'"),
        (lambda r: changed(r, energy="low"), "attribute energy"),
        (lambda r: replace(r, arrays={k: v for k, v in r.arrays.items() if k != "cell"}), "no cell"),
    ],
)
def test_a_record_that_breaks_a_law_is_refused_by_name(record, spoil, match):
    check_record(record, set_settings("crystals"))
    with pytest.raises(BadRecord, match=f"crystals-0-000000.*{match}"):
        check_record(spoil(record))


def test_a_record_of_another_set_or_of_other_settings_is_refused(record):
    with pytest.raises(BadRecord, match="expected 'aluminium'"):
        check_record(record, set_settings("aluminium"))
    with pytest.raises(ForeignSettings, match="settings"):
        check_record(record, SetSettings("crystals", (ALUMINIUM,)))


def test_any_setting_changes_the_hash():
    assert len({METAL.hash, *(replace(METAL, **{name: 1}).hash for name in DftSettings.__dataclass_fields__)}) == 9


def test_verify_names_what_is_damaged_twice_or_in_two_splits(record, toy_set, labeller, tmp_path):
    other = toy_set.batch(0, 0)[1]
    other = replace(assembled_record(other, labeller.labels(other), "test"), name="other")
    write_shard(tmp_path / "a.h5", [record])
    write_shard(tmp_path / "b.h5", [replace(record, name="again"), changed(other, split="test")])
    (tmp_path / "c.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:2000])
    found = verification(shards(tmp_path))
    assert found.n_records == 1
    again, group, damaged = found.complaints
    assert "again: found the content of crystals-0-000000 once more" in again
    assert "other: found group MgO in train and in test" in group
    assert "c.h5 half-written" in damaged


def test_verify_names_a_record_of_an_unknown_set(record, tmp_path):
    write_shard(tmp_path / "a.h5", [changed(record, set="sand")])
    (complaint,) = verification(shards(tmp_path)).complaints
    assert "no set 'sand'" in complaint


def test_export_merges_a_folder_and_leaves_copies_out(make, record, tmp_path):
    make(3)
    out = tmp_path / "merged" / "all.h5"
    out.parent.mkdir()
    write_shard(tmp_path / "z-copy.h5", [replace(record, name="copy")])
    assert export(tmp_path, out) == 3
    assert [r.name for r in read_records(out)] == [f"crystals-0-00000{k}" for k in range(3)]
    assert verification([out]).complaints == []


def test_export_refuses_two_records_of_one_name(make, toy_set, labeller, tmp_path):
    make(1)
    other = toy_set.batch(0, 0)[1]
    write_shard(
        tmp_path / "z.h5", [replace(assembled_record(other, labeller.labels(other), ""), name="crystals-0-000000")]
    )
    with pytest.raises(BadRecord, match="two records crystals-0-000000"):
        export(tmp_path, tmp_path / "all.out")


def test_status_counts(make, tmp_path, monkeypatch):
    monkeypatch.setenv("RHOCAST_FAKE", "crash:crystals-0-000001")
    make(3)
    (tmp_path / "bad.h5").write_bytes(b"x")
    found = summary(tmp_path)
    assert (found.n_records, found.splits, found.groups) == (2, {"train": 2}, {"MgO"})
    assert (found.elements, found.per_core_hour, found.n_failures) == ({8, 12}, 3600, 1)
    assert "bad.h5" in found.damaged[0]
    assert summary(tmp_path / "nowhere").per_core_hour == 0


@pytest.fixture
def pilot(record, tmp_path):
    """A pilot file: an insulator, one that turned out a metal, and a metal."""
    path = tmp_path / "pilot.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": "pilot-1", "set": "crystals", "code": "GPAW 26.7.0, gpaw-data 1.2.1, PBE, …"})
        for k, (kind, gap) in enumerate([("ins", 4.0), ("ins", -1.0), ("met", 0.0)]):
            group = file.create_group(f"crystals_{k:05d}")
            names = ("numbers", "positions", "cell", "pbc", "forces", "stress", "compensation_width", "multipoles")
            for name in (*names, "atomic_density_matrices"):
                group[name] = record.arrays[name]
            group["density"] = record.density_on_grid
            group["atomic_density_matrix_offsets"] = np.cumsum([0, *record.arrays["atomic_density_matrix_sizes"]])
            group["cell"][...] = record.arrays["cell"] * (1 + 1e-4 * k)
            for name in ("energy", "free_energy", "n_electrons"):
                group.attrs[name] = record.attributes[name]
            group.attrs.update({"kind": kind, "gap": gap, "proto": "rs", "integral_before_rescaling": 16.0001})
            group.attrs.update({"density_min": 0.01, "T": "300.0"})
    return path


def test_pilot_records_obey_the_laws_and_metals_wait_to_be_asked_for(pilot, tmp_path, toy_set):
    assert pilot_set(pilot) == "crystals"
    (found,) = pilot_records(pilot)
    assert found.name == "crystals-pilot-000000"
    assert found.attributes["integral_before_rescaling"] == 16.0001
    assert json.loads(found.attributes["provenance"])["temperature"] == 300
    every = list(pilot_records(pilot, has_metals=True))
    assert len(every) == 3
    folder = SetFolder(tmp_path, set_settings("crystals"))
    write_shard(tmp_path / "imported.h5", new_records([*every, every[0]], folder))
    assert verification([tmp_path / "imported.h5"]).n_records == 3


def test_what_is_no_pilot_file_is_refused(make, tmp_path):
    make(1)
    with pytest.raises(BadRecord, match="expected 'pilot-1'"):
        pilot_set(shards(tmp_path)[0])
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(DamagedShard, match=r"text\.h5"):
        pilot_set(tmp_path / "text.h5")


def test_a_mesh_has_the_asked_density():
    assert k_mesh(np.diag([4.0, 8.0, 40.0]), 2.5) == (4, 2, 1)
    assert k_mesh(np.eye(3), 0) == (1, 1, 1)


@pytest.mark.parametrize("name", [*FIELDS, *ATTRIBUTES])
def test_every_field_is_documented(name):
    assert f"`{name}`" in DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "unit"), [(name, field.unit) for name, field in FIELDS.items() if field.unit])
def test_the_document_has_the_units(name, unit):
    (line,) = (row for row in DOCUMENT.read_text(encoding="utf-8").splitlines() if row.startswith(f"| `{name}` |"))
    assert f"| {unit} |" in line
