"""Lua files become scripts that the store knows."""

from pathlib import Path

import pytest

import jobs
from jobs.scripts import registered

FOLDER = Path(jobs.__file__).parent / "lua"


def test_every_script_is_one_that_the_store_can_read(ledger):
    for path in FOLDER.glob("*.lua"):
        (script,) = registered(ledger.client, path.stem).values()
        assert ledger.client.script_load(script.script)


def test_a_script_that_is_not_there_is_an_error(ledger):
    with pytest.raises(FileNotFoundError, match=r"nothing\.lua"):
        registered(ledger.client, "nothing")
