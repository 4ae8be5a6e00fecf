"""Requests made from openapi.yaml, good and bad: every answer is one that the document promises."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance, unsupported_method

from app.factory import create_app
from app.openapi import served_document

NEVER_WRONG = ("/charges", "/moments")
"""What has no parameter but the name of a job."""

OPERATIONS = [
    (path, verb, mode)
    for path, verbs in served_document()["paths"].items()
    for verb in verbs
    for mode in GenerationMode
    if mode == GenerationMode.POSITIVE or (path.startswith(("/v1/predictions", "/v1/jobs")) and verb != "delete")
    if mode == GenerationMode.POSITIVE or not path.endswith(NEVER_WRONG)
]

# Hypothesis sees the random numbers that the live worker's threads draw beside it.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")


@pytest.fixture(scope="module")
def app(live):
    """The application before the live worker once more: schemathesis starts and stops the one that it asks."""
    return create_app(live.settings)


@pytest.mark.parametrize(("path", "verb", "mode"), OPERATIONS)
def test_every_answer_is_as_documented(app, path, verb, mode):
    operation = schemathesis.openapi.from_asgi("/openapi.json", app)[path][verb]

    @settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def asked(case):
        # What a schema cannot say (atoms too close, text that is no CIF) is refused.
        case.call_and_validate(excluded_checks=[positive_data_acceptance, unsupported_method])

    asked()
