import pytest
from pydantic import BaseModel

from rhocast import analysis_schemas
from tests.sdk.test_schemas import numbers_without_unit

WIRE = [kind for kind in vars(analysis_schemas).values() if isinstance(kind, type) and issubclass(kind, BaseModel)]


@pytest.mark.parametrize("kind", WIRE, ids=lambda kind: kind.__name__)
def test_every_number_has_a_unit(kind):
    assert list(numbers_without_unit(kind)) == []


def test_every_exported_name_exists_and_is_listed_in_order():
    assert analysis_schemas.__all__ == sorted(analysis_schemas.__all__)
    assert all(hasattr(analysis_schemas, name) for name in analysis_schemas.__all__)
