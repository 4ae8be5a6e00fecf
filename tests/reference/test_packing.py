import json
from dataclasses import replace

import pytest

from reference import packing
from reference.errors import DamagedShard, UnknownSet
from reference.folder import SetFolder
from reference.inventory import verification
from reference.maker import Maker, Order
from reference.packing import manifest, pack, thin, write_manifest
from reference.shards import read_records, shards
from reference.structure import StructureSet


@pytest.fixture
def toy_set(toy_set) -> StructureSet:
    """Every third structure is held out, in groups of their own."""

    def batch(seed, number):
        splits = {0: "train", 1: "validation", 2: "test"}
        return [
            replace(structure, split=splits[structure.index % 3], group=f"MgO-{structure.index % 3}")
            for structure in toy_set.batch(seed, number)
        ]

    return replace(toy_set, batch=batch)


@pytest.fixture
def folders(tmp_path, toy_set, labeller, monkeypatch):
    """Folders of made and shipped records, and a maker of n structures."""
    monkeypatch.setattr(packing, "set_settings", lambda _: toy_set)
    monkeypatch.setitem(packing.TRAINING_POINTS, "crystals", 300)
    monkeypatch.setattr(packing, "HELD_OUT_POINTS", 1000)
    monkeypatch.setattr(packing, "N_WHOLE", 2)
    made, shipped = tmp_path / "made", tmp_path / "shipped"

    def make(n):
        folder = SetFolder(made / "crystals", toy_set, shipped / "crystals")
        return Maker(Order(toy_set, 0, n), folder, labeller).run()

    return made, shipped, make


def points(shipped):
    return {
        record.name[-1]: len(record.arrays["density"])
        for path in shards(shipped / "crystals")
        for record in read_records(path)
    }


def test_held_out_records_keep_more_points_and_the_first_the_whole_grid(folders):
    made, shipped, make = folders
    make(5)
    (path,) = pack("crystals", made, shipped)
    assert path.name == "crystals-000.h5"
    found = points(shipped)
    assert {name: round(n, -2) for name, n in found.items()} == {"0": 300, "1": 4100, "2": 4100, "3": 300, "4": 1000}
    assert verification([path]).complaints == []


def test_what_was_shipped_stays_and_new_records_make_a_new_shard(folders):
    made, shipped, make = folders
    make(2)
    (first,) = pack("crystals", made, shipped)
    before = first.read_bytes()
    assert pack("crystals", made, shipped) == []
    make(5)
    (second,) = pack("crystals", made, shipped)
    assert (first.read_bytes(), second.name) == (before, "crystals-001.h5")
    assert verification([first, second]).n_records == 5
    assert sum(n == 4096 for n in points(shipped).values()) == 2


def test_records_to_learn_from_may_be_thinned_and_no_others(folders, monkeypatch):
    made, shipped, make = folders
    make(5)
    (path,) = pack("crystals", made, shipped)
    before = points(shipped)
    assert thin("crystals", shipped) == 0
    monkeypatch.setitem(packing.TRAINING_POINTS, "crystals", 100)
    assert thin("crystals", shipped) == 2
    found = points(shipped)
    assert all(abs(found.pop(name) - 100) <= 1 for name in "03")
    assert found == {name: before[name] for name in "124"}
    assert verification([path]).complaints == []


def test_a_whole_grid_to_learn_from_is_thinned_too(folders, monkeypatch):
    made, shipped, make = folders
    make(1)
    monkeypatch.setitem(packing.TRAINING_POINTS, "crystals", 4096)
    (path,) = pack("crystals", made, shipped)
    monkeypatch.setitem(packing.TRAINING_POINTS, "crystals", 300)
    assert (points(shipped)["0"], thin("crystals", shipped)) == (4096, 1)
    assert abs(points(shipped)["0"] - 300) <= 1
    assert verification([path]).complaints == []


def test_what_is_shipped_is_not_made_again(folders):
    made, shipped, make = folders
    make(3)
    pack("crystals", made, shipped)
    for path in shards(made / "crystals"):
        path.unlink()
    outcome = make(4)
    assert (outcome.n_there, outcome.made) == (3, ["crystals-0-000003"])


def test_the_manifest_counts_and_hashes_what_is_there(folders):
    made, shipped, make = folders
    make(5)
    pack("crystals", made, shipped)
    found = json.loads(write_manifest(shipped).read_text())
    assert found == manifest(shipped)
    crystals = found["sets"]["crystals"]
    assert crystals["splits"] == {"train": 2, "validation": 2, "test": 1}
    assert (crystals["n_groups"], crystals["n_elements"], crystals["n_whole_grids"]) == (3, 2, 2)
    assert crystals["shards"]["crystals-000.h5"]["n_records"] == 5
    assert found["licence"] == "CC-BY-4.0"


def test_nothing_shipped_has_no_manifest(tmp_path):
    with pytest.raises(UnknownSet, match="no shipped set"):
        write_manifest(tmp_path)


def test_a_damaged_shard_stops_the_packing_and_writes_nothing(folders):
    made, shipped, make = folders
    make(2)
    shards(made / "crystals")[0].write_bytes(b"cut")
    with pytest.raises(DamagedShard, match="half-written"):
        pack("crystals", made, shipped)
    assert shards(shipped / "crystals") == []
