"""Answers name the code that made them."""

import pytest

from jobs.version import code_version
from rhocast import __version__


@pytest.fixture(autouse=True)
def _fresh():
    code_version.cache_clear()
    yield
    code_version.cache_clear()


def test_the_commit_of_an_image_comes_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHOCAST_COMMIT", "abc1234")
    assert code_version() == f"{__version__}+abc1234"


def test_without_a_repository_there_is_the_version_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RHOCAST_COMMIT", raising=False)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert code_version() == __version__
