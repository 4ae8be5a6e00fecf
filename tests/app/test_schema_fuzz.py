"""Requests made from openapi.yaml, good and bad: every answer is one that the document promises.

A few of each kind, without a process beside this one; `make fuzz` sends hundreds to the whole service.
"""

import pytest
import schemathesis

from app.factory import create_app
from app.openapi import served_document
from tests.fuzz.documented import kinds, statuses_of

# Hypothesis sees the random numbers that the live worker's threads draw beside it.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")


@pytest.fixture(scope="module")
def app(live):
    """The application before the live worker once more: schemathesis starts and stops the one that it asks."""
    return create_app(live.settings)


@pytest.mark.parametrize("kind", kinds(served_document()), ids=str)
def test_every_answer_is_as_documented(app, kind):
    operation = schemathesis.openapi.from_asgi("/openapi.json", app)[kind.path][kind.verb]
    assert statuses_of(operation.as_strategy(generation_mode=kind.mode), n_examples=25).total() >= 25
