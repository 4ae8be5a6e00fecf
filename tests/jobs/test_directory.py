"""Live workers advertise; requests choose."""

import pytest

from jobs.directory import Directory, Entry, chosen_models, info_from_record, info_record
from jobs.ledger import Ledger
from rhocast.errors import ServiceUnavailable, UnknownModel
from rhocast.model_info import Property
from tests.workers.fakes import info

D, E, F, M = Property.DENSITY, Property.ENERGY, Property.FORCES, Property.MAGMOMS
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


def test_what_a_model_says_of_itself_survives_the_store(directory: Directory) -> None:
    said = info("m", D, E)
    assert info_from_record(info_record(said)) == said
    directory.advertise("w", [said])
    assert directory.entries()["m"].info == said


def test_the_default_is_a_model_that_is_alive() -> None:
    assert chosen_models(ENTRIES, [D], [])[D].name == "bbb"


def test_a_named_model_is_taken_and_others_only_for_nothing() -> None:
    assert chosen_models(ENTRIES, [D], ["aaa"])[D].name == "aaa"
    with pytest.raises(
        UnknownModel, match=r"found no model for energy; expected one of what there is \(aaa: density\)"
    ):
        chosen_models(ENTRIES, [D, E], ["aaa"])


def test_energy_and_its_derivatives_come_from_one_model() -> None:
    chosen = chosen_models(ENTRIES, [D, E, F, M], [])
    assert {wanted: one.name for wanted, one in chosen.items()} == {D: "bbb", E: "spin", F: "spin", M: "spin"}


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UnknownModel, match="found no model 'nope'; expected one of aaa, bbb, pot, spin"):
        chosen_models(ENTRIES, [D], ["nope"])


def test_before_the_first_worker_there_is_nothing_to_choose_from() -> None:
    with pytest.raises(ServiceUnavailable, match="no worker has started yet"):
        chosen_models({}, [D], [])
