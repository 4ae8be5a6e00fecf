"""Settings come from the environment, are checked, and are all documented."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from jobs.settings import Settings

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def test_values_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHOCAST_MODELS", "promolecule, chgnet,")
    monkeypatch.setenv("RHOCAST_MAX_ATOMS", "12")
    monkeypatch.setenv("REDIS_URL", "redis://10.0.0.1/0")
    settings = Settings()
    assert settings.models == ("promolecule", "chgnet")
    assert settings.max_atoms == 12
    assert settings.redis_url == "redis://10.0.0.1/0"
    assert settings.artifacts_folder == Path("rhocast-data/artifacts")


def test_a_value_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHOCAST_LEASE_SECONDS", "-3")
    with pytest.raises(ValidationError, match="lease_seconds"):
        Settings()


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_in_the_operations_manual(name: str) -> None:
    assert f"`RHOCAST_{name.upper()}`" in OPERATIONS.read_text(encoding="utf-8")
