"""The application is made by a function of its settings."""

from starlette.testclient import TestClient

from app.factory import create_app


def test_the_factory_can_be_called_twice(settings, tmp_path):
    other = settings.model_copy(update={"namespace": settings.namespace + "-other", "data": tmp_path / "other"})
    one, two = create_app(settings), create_app(other)
    assert one.openapi() == two.openapi()
    with TestClient(one) as first, TestClient(two) as second:
        for client in (first, second):
            assert client.get("/healthz").json()["status"] == "ok"
        assert one.state.services.settings is settings
        assert two.state.services.settings is other
    with TestClient(one) as first:  # and started again after it was stopped
        assert first.get("/v1/jobs").json() == {"jobs": [], "next": None}


def test_making_an_application_touches_neither_disk_nor_store(settings, tmp_path):
    untouched = settings.model_copy(update={"data": tmp_path / "untouched", "redis_url": "unix:///nowhere"})
    create_app(untouched).openapi()
    assert not (tmp_path / "untouched").exists()


def test_models_say_what_they_cover(client):
    models = client.get("/v1/models").json()["models"]
    assert [entry["info"]["name"] for entry in models] == ["chgnet", "promolecule"]
    assert "Tc" not in models[1]["info"]["elements"]
    assert models[1]["is_default_for"] == ["density"]
