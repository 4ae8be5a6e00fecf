"""Laws of the maker, against a labelling process that misbehaves on demand."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reference import folder as folder_module
from reference import shards as shards_module
from reference.errors import DiskFull, FolderInUse, ForeignSettings, MissingPackage
from reference.folder import SetFolder
from reference.inventory import verification
from reference.labelling import Labeller
from reference.maker import Maker, Order
from reference.settings import ALUMINIUM, INSULATOR, METAL, SetSettings
from reference.shards import read_records, shards, write_shard

ROOT = Path(__file__).parents[2]


@pytest.fixture
def labelled(tmp_path, monkeypatch):
    """Names that were labelled so far."""
    log = tmp_path.parent / f"{tmp_path.name}.log"
    monkeypatch.setenv("RHOCAST_FAKE_LOG", str(log))
    return lambda: log.read_text().split() if log.exists() else []


def failures(path):
    return {row["name"]: row["code"] for row in map(json.loads, (path / "failures.jsonl").read_text().splitlines())}


def test_what_is_made_obeys_every_law(make, tmp_path):
    assert make(3, n_jobs=2).made != []
    found = verification(shards(tmp_path))
    assert (found.n_records, found.complaints) == (3, [])


def test_a_second_run_makes_only_what_is_missing(make, labelled):
    make(2)
    outcome = make(3)
    assert (outcome.n_there, outcome.made) == (2, ["crystals-0-000002"])
    assert len(labelled()) == 3


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        ("not-converged", "not-converged"),
        ("no-data-set", "no-data-set"),
        ("crash", "crashed"),
        ("half-written", "half-written"),
        ("nothing-written", "half-written"),
        ("foreign", "foreign-settings"),
        ("unconverged-label", "bad-record"),
        ("lost-electrons", "bad-record"),
        ("pushed", "bad-record"),
        ("not-a-number", "bad-record"),
        ("incomplete", "bad-record"),
        ("no-gap", "bad-record"),
    ],
)
def test_a_failure_is_logged_by_name_and_the_others_are_made(make, tmp_path, monkeypatch, behaviour, code):
    monkeypatch.setenv("RHOCAST_FAKE", f"{behaviour}:crystals-0-000001")
    outcome = make(3)
    assert outcome.failed == {"crystals-0-000001": code}
    assert failures(tmp_path) == outcome.failed
    assert outcome.made == ["crystals-0-000000", "crystals-0-000002"]
    assert verification(shards(tmp_path)).complaints == []


def test_a_failure_is_tried_again_only_when_asked(make, monkeypatch):
    monkeypatch.setenv("RHOCAST_FAKE", "crash:crystals-0-000001")
    make(2)
    monkeypatch.delenv("RHOCAST_FAKE")
    assert make(2).n_failed_before == 1
    assert make(2, is_retry=True).made == ["crystals-0-000001"]
    assert make(2).n_failed_before == 0


def test_an_order_that_is_cut_short_is_spread_over_all_batches(make):
    made = make(5).made
    assert [int(name[-1]) for name in made] == [0, 2, 4, 1, 3]


def test_an_order_may_begin_later(make):
    make(3)
    later = make(5, first=2)
    assert (later.n_wanted, later.n_there) == (3, 1)
    assert later.made == ["crystals-0-000004", "crystals-0-000003"]


def test_an_order_of_nothing_is_refused(make):
    with pytest.raises(ValueError, match="structures 2 to 2 − 1; expected one at least"):
        make(2, first=2)


def test_a_labelling_that_takes_too_long_is_ended(toy_set, labeller, tmp_path, monkeypatch):
    monkeypatch.setenv("RHOCAST_FAKE", "slow")
    maker = Maker(Order(toy_set, 0, 1), SetFolder(tmp_path, toy_set), replace(labeller, longest_run=1))
    assert maker.run().failed == {"crystals-0-000000": "too-long"}


@pytest.mark.parametrize(
    ("python", "match"), [("/nowhere/python", "no /nowhere/python"), (sys.executable, "no gpaw in")]
)
def test_an_interpreter_without_gpaw_stops_the_maker_and_blames_no_structure(toy_set, tmp_path, python, match):
    maker = Maker(Order(toy_set, 0, 1), SetFolder(tmp_path, toy_set), Labeller.for_gpaw(python))
    with pytest.raises(MissingPackage, match=match):
        maker.run()
    assert not (tmp_path / "failures.jsonl").exists()


def test_a_disk_that_fills_while_labelling_stops_the_maker_and_blames_no_structure(make, tmp_path, monkeypatch):
    monkeypatch.setenv("RHOCAST_FAKE", "disk-full:crystals-0-000001")
    with pytest.raises(DiskFull, match="disk-full"):
        make(3)
    assert len(shards(tmp_path)) == 2
    assert not (tmp_path / "failures.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"numbers": np.array([26, 8])}, "magnetic-element"),
        ({"numbers": np.array([43, 8])}, "no-data-set"),
        ({"numbers": np.array([1, 8]), "is_periodic": False}, "odd-electrons"),
    ],
)
def test_what_cannot_be_labelled_is_refused_before_it_runs(make, toy_set, labelled, changes, code):
    first, second = toy_set.batch(0, 0)
    odd_one = replace(toy_set, batch=lambda *_: [replace(first, **changes), second])
    assert make(2, of=odd_one).failed == {"crystals-0-000000": code}
    assert labelled() == ["crystals-0-000001"]


def test_the_same_content_is_not_labelled_twice(make, toy_set, labelled):
    first, second = toy_set.batch(0, 0)
    # The order of the atoms is not content.
    twin = replace(second, cell=first.cell, numbers=first.numbers[::-1], positions=first.positions[::-1])
    twins = replace(toy_set, batch=lambda *_: [first, twin])
    assert make(2, of=twins).failed == {"crystals-0-000001": "duplicate"}
    assert len(labelled()) == 1


def test_an_insulator_without_a_gap_is_redone_as_a_metal(make, toy_set, tmp_path, labelled):
    hopeful = [replace(s, settings=INSULATOR, settings_if_metal=METAL) for s in toy_set.batch(0, 0)]
    make(1, of=replace(toy_set, batch=lambda *_: hopeful))
    (record,) = read_records(shards(tmp_path)[0])
    assert record.attributes["settings_hash"] == METAL.hash
    assert labelled() == ["crystals-0-000000"] * 2


def test_a_half_written_shard_is_removed_by_name_and_made_again(make, tmp_path, toy_set, labeller):
    make(2)
    (tmp_path / "crystals-0-000009.h5.part").write_bytes(b"half")
    whole, cut = shards(tmp_path)
    cut.write_bytes(cut.read_bytes()[:3000])
    lines = []
    maker = Maker(Order(toy_set, 0, 2), SetFolder(tmp_path, toy_set), labeller, lambda line, _: lines.append(line))
    assert maker.run().made == ["crystals-0-000001"]
    assert any("crystals-0-000009.h5.part" in line for line in lines)
    assert any(cut.name in line and "set aside" in line for line in lines)
    assert shards(tmp_path) == [whole, cut]
    assert verification([whole, cut]).complaints == []


def test_records_of_other_settings_stop_the_maker_by_name(make, toy_set, tmp_path):
    make(1)
    other = replace(toy_set, labels=SetSettings("crystals", (ALUMINIUM,)))
    before = shards(tmp_path)[0].read_bytes()
    with pytest.raises(ForeignSettings, match="crystals-0-000000"):
        make(2, of=other)
    assert shards(tmp_path)[0].read_bytes() == before


def test_two_makers_do_not_fight(make, tmp_path, toy_set):
    with SetFolder(tmp_path, toy_set).locked(), pytest.raises(FolderInUse, match=str(os.getpid())):
        make(1)
    assert make(1).made != []


def test_a_full_disk_is_named_before_a_structure_is_started(make, tmp_path, monkeypatch, labelled):
    make(1)
    monkeypatch.setattr(folder_module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(DiskFull, match="free some disk"):
        make(2)
    assert (len(labelled()), len(shards(tmp_path))) == (1, 1)


def test_a_disk_that_fills_while_writing_leaves_no_half_shard(make, tmp_path, monkeypatch):
    make(1)

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards_module, "_write_records", full)
    with pytest.raises(DiskFull, match="crystals-0-000001"):
        make(2)
    assert [path.name for path in tmp_path.glob("crystals*")] == [shards(tmp_path)[0].name]


def test_other_trouble_with_a_file_is_not_called_a_full_disk(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        write_shard(tmp_path / "nowhere" / "x.h5", [])


def test_a_stop_finishes_the_structures_in_hand(toy_set, labeller, tmp_path):
    stop = threading.Event()
    maker = Maker(
        Order(toy_set, 0, 50), SetFolder(tmp_path, toy_set), labeller, lambda line, _: line and stop.set(), stop
    )
    outcome = maker.run()
    assert (len(outcome.made), outcome.is_stopped) == (1, True)


PROGRAM = """
import sys
sys.path[:0] = [{root!r}, {sdk!r}, {here!r}]
import conftest
from pathlib import Path
from reference.labelling import Labeller
from reference.maker import Order, make
from reference.settings import METAL, SetSettings
from reference.structure import StructureSet
of = StructureSet("", 2, conftest.rock_salt, SetSettings("crystals", (METAL,)))
labeller = Labeller((sys.executable, str(conftest.FAKE)))
outcome = make(Order(of, 0, 40), Path({out!r}), labeller)
sys.exit(7 if outcome.is_stopped else 0)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_maker_that_is_killed_goes_on_where_it_was(number, tmp_path, toy_set, labeller):
    program = PROGRAM.format(
        root=str(ROOT), sdk=str(ROOT / "sdk/src"), here=str(Path(__file__).parent), out=str(tmp_path)
    )
    folder = tmp_path / "crystals"
    with subprocess.Popen([sys.executable, "-c", program]) as maker:
        while len(shards(folder)) < 2:
            assert maker.poll() is None
            time.sleep(0.05)
        maker.send_signal(number)
        assert maker.wait(60) == (7 if number == signal.SIGTERM else -9)
    kept = {path.name: path.read_bytes() for path in shards(folder)}
    assert len(kept) < 40
    assert verification(shards(folder)).complaints == []
    # The first of each batch of two come first, so these are every other one.
    outcome = Maker(Order(toy_set, 0, 2 * len(kept)), SetFolder(folder, toy_set), labeller).run()
    assert (outcome.n_there, len(outcome.made)) == (len(kept), len(kept))
    assert {name: (folder / name).read_bytes() for name in kept} == kept
