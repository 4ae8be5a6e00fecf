"""Live workers advertise; requests choose."""

import time
from dataclasses import replace

import numpy as np
import pytest

from jobs.directory import SILENCE_SECONDS, Directory, Entry, chosen_models, info_from_record, info_record
from jobs.ledger import Ledger
from rhocast.errors import ServiceUnavailable, UnknownModel
from rhocast.model_info import Property
from rhocast.structure import Structure
from tests.workers.fakes import info

D, E, F, M = Property.DENSITY, Property.ENERGY, Property.FORCES, Property.MAGMOMS
SALT = Structure.from_symbols(["Na", "Cl"], [[0, 0, 0], [2.8, 0, 0]], 5.6 * np.eye(3))
SODIUM = replace(SALT, numbers=np.array([11, 11]))
MOLECULE = replace(SALT, is_periodic=False)
ENTRIES = {
    "aaa": Entry(info("aaa", D), 0),
    "bbb": Entry(info("bbb", D), 1),
    "pot": Entry(info("pot", E, F), 1),
    "spin": Entry(info("spin", E, F, M), 1),
}


@pytest.fixture
def directory(ledger: Ledger) -> Directory:
    return Directory(ledger.client, ledger.settings)


def test_models_are_counted_by_live_workers_and_stay_known_without_one(directory: Directory) -> None:
    assert directory.entries() == {}
    directory.advertise("w1", [info("m", D), info("n", E)])
    directory.advertise("w2", [info("m", D)])
    assert {name: entry.n_workers for name, entry in directory.entries().items()} == {"m": 2, "n": 1}
    directory.withdraw("w1")
    assert {name: entry.n_workers for name, entry in directory.entries().items()} == {"m": 1, "n": 0}


def test_expanders_are_counted_while_they_live(directory: Directory, monkeypatch) -> None:
    assert directory.n_expanders() == 0
    directory.advertise_expander("e1")
    directory.advertise_expander("e1")
    directory.advertise_expander("e2")
    assert directory.n_expanders() == 2
    assert directory.entries() == {}
    directory.withdraw_expander("e2")
    assert directory.n_expanders() == 1
    later = time.time() + SILENCE_SECONDS + 1
    monkeypatch.setattr("time.time", lambda: later)
    assert directory.n_expanders() == 0


def test_what_a_model_says_of_itself_survives_the_store(directory: Directory) -> None:
    said = info("m", D, E)
    assert info_from_record(info_record(said)) == said
    directory.advertise("w", [said])
    assert directory.entries()["m"].info == said


def test_the_default_is_a_model_that_is_alive() -> None:
    assert chosen_models(ENTRIES, [D], [], SALT)[D].name == "bbb"


def test_a_named_model_is_taken_and_others_only_for_nothing() -> None:
    assert chosen_models(ENTRIES, [D], ["aaa"], SALT)[D].name == "aaa"
    with pytest.raises(
        UnknownModel, match=r"found no model for energy; expected one of what there is \(aaa: density\)"
    ):
        chosen_models(ENTRIES, [D, E], ["aaa"], SALT)


def test_energy_and_its_derivatives_come_from_one_model() -> None:
    chosen = chosen_models(ENTRIES, [D, E, F, M], [], SALT)
    assert {wanted: one.name for wanted, one in chosen.items()} == {D: "bbb", E: "spin", F: "spin", M: "spin"}


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UnknownModel, match="found no model 'nope'; expected one of aaa, bbb, pot, spin"):
        chosen_models(ENTRIES, [D], ["nope"], SALT)


def test_before_the_first_worker_there_is_nothing_to_choose_from() -> None:
    with pytest.raises(ServiceUnavailable, match="no worker has started yet"):
        chosen_models({}, [D], [], SALT)


SPECIALISED = {
    "general": Entry(info("general", D), 1),
    "sodium": Entry(replace(info("sodium", D), elements=("Na",)), 1),
    "sodium-clusters": Entry(replace(info("sodium-clusters", D), elements=("Na",), domains=("molecule",)), 1),
}


def test_the_most_specialised_model_that_covers_the_structure_is_the_default() -> None:
    chosen = {
        name: chosen_models(SPECIALISED, [D], [], structure)[D].name
        for name, structure in {"salt": SALT, "sodium": SODIUM, "molecule": MOLECULE}.items()
    }
    assert chosen == {"salt": "general", "sodium": "sodium", "molecule": "general"}
    without_crystals = {name: SPECIALISED[name] for name in ("general", "sodium-clusters")}
    assert chosen_models(without_crystals, [D], [], SODIUM)[D].name == "general"
    assert chosen_models(without_crystals, [D], [], replace(SODIUM, is_periodic=False))[D].name == "sodium-clusters"


def test_a_model_that_wants_to_be_named_answers_nobody_else() -> None:
    shy = Entry(replace(info("shy", D), elements=("Na",), by_name_only=True), 1)
    assert chosen_models(SPECIALISED | {"shy": shy}, [D], [], SODIUM)[D].name == "sodium"
    assert chosen_models(SPECIALISED | {"shy": shy}, [D], ["shy"], SODIUM)[D].name == "shy"
    with pytest.raises(UnknownModel, match=r"no model for density; expected one of what there is \(shy: density\)"):
        chosen_models({"shy": shy}, [D], [], SODIUM)


def test_a_named_model_that_does_not_cover_the_structure_gives_way_to_the_next_named() -> None:
    assert chosen_models(SPECIALISED, [D], ["sodium", "general"], SALT)[D].name == "general"
    assert chosen_models(SPECIALISED, [D], ["sodium", "general"], SODIUM)[D].name == "sodium"
    assert chosen_models(SPECIALISED, [D], ["sodium-clusters"], SODIUM)[D].name == "sodium-clusters"


def test_where_none_covers_the_structure_one_is_chosen_that_can_say_why() -> None:
    assert chosen_models(SPECIALISED, [D], ["sodium", "sodium-clusters"], SALT)[D].name == "sodium"
    lithium = replace(SALT, numbers=np.array([3, 9]))
    only_sodium = {name: SPECIALISED[name] for name in ("sodium", "sodium-clusters")}
    assert chosen_models(only_sodium, [D], [], lithium)[D].name == "sodium-clusters"
