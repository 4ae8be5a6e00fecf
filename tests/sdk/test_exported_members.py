import subprocess
import sys

import pytest

import rhocast


def test_every_exported_name_can_be_imported():
    for name in rhocast.__all__:
        assert getattr(rhocast, name) is not None


def test_exported_names_are_sorted():
    assert rhocast.__all__ == sorted(rhocast.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'rhocast' has no attribute 'Charge'"):
        _ = rhocast.Charge


@pytest.mark.parametrize("module", ["rhocast", "rhocast.structure", "rhocast.model_info", "rhocast.errors"])
def test_what_models_need_loads_neither_pydantic_nor_an_http_client(module):
    code = f"import sys, {module}; print({{'pydantic', 'httpx2', 'rich', 'typer'}} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == "set()\n"


def test_no_type_of_the_http_client_is_in_the_public_interface():
    from rhocast import client, job, result

    for module in (client, job, result):
        assert "httpx2" not in vars(module)
