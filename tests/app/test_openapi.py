"""The document that says what is served."""

import runpy

import pytest
import yaml

from app import openapi
from app.factory import create_app
from app.openapi import PATH, main, served_document
from jobs.settings import Settings


@pytest.fixture(scope="module")
def document():
    return served_document()


def operations(document):
    return [(path, verb, found) for path, verbs in document["paths"].items() for verb, found in verbs.items()]


def test_the_file_is_what_is_served(document):
    assert yaml.safe_load(PATH.read_text(encoding="utf-8")) == document, "run `python -m app.openapi`"


def test_the_file_is_written_as_it_is_served(document, tmp_path, monkeypatch):
    monkeypatch.setattr(openapi, "PATH", tmp_path / "openapi.yaml")
    main()
    assert yaml.safe_load((tmp_path / "openapi.yaml").read_text(encoding="utf-8")) == document


def test_every_reference_leads_somewhere(document):
    def references(value):
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                yield from references(item)

    names = set(references(document))
    assert names
    for name in names:
        assert name.removeprefix("#/components/schemas/") in document["components"]["schemas"], name


EXPECTED = {
    ("/v1/predictions", "post"): {200, 202, 400, 413, 415, 422, 429, 500, 503, 507},
    ("/v1/density", "post"): {200, 202, 400, 413, 415, 422, 429, 500, 503, 507},
    ("/v1/energy", "post"): {200, 202, 400, 413, 415, 422, 429, 500, 503, 507},
    ("/v1/relaxations", "post"): {200, 202, 400, 413, 415, 422, 429, 500, 503, 507},
    ("/v1/jobs/{job_id}/structure", "get"): {200, 404, 409, 410, 422, 500, 503},
    ("/v1/jobs", "get"): {200, 422, 500, 503},
    ("/v1/jobs/{job_id}", "get"): {200, 404, 410, 422, 500, 503},
    ("/v1/jobs/{job_id}/events", "get"): {200, 204, 404, 422, 500, 503},
    ("/v1/jobs/{job_id}", "delete"): {200, 404, 409, 500, 503},
    ("/v1/jobs/{job_id}/density", "get"): {200, 206, 304, 400, 404, 409, 410, 416, 422, 500, 503, 507},
    ("/v1/jobs/{job_id}/density", "head"): {200, 304, 404, 409, 410, 422, 500, 503},
    ("/v1/jobs/{job_id}/potential", "get"): {200, 206, 304, 400, 404, 409, 410, 413, 416, 422, 500, 503, 507},
    ("/v1/jobs/{job_id}/potential", "head"): {200, 304, 404, 409, 410, 413, 422, 500, 503},
    ("/v1/jobs/{job_id}/charges", "get"): {200, 206, 304, 400, 404, 409, 410, 416, 422, 500, 503, 507},
    ("/v1/jobs/{job_id}/moments", "get"): {200, 206, 304, 400, 404, 409, 410, 416, 422, 500, 503, 507},
    ("/v1/jobs/{job_id}/profile", "get"): {200, 206, 304, 400, 404, 409, 410, 413, 416, 422, 500, 503, 507},
    ("/v1/jobs/{job_id}/line", "get"): {200, 206, 304, 400, 404, 409, 410, 413, 416, 422, 500, 503, 507},
    ("/v1/jobs/{job_id}/comparison", "get"): {200, 206, 304, 400, 404, 409, 410, 416, 422, 500, 503, 507},
    ("/v1/batches", "post"): {202, 400, 413, 415, 422, 500, 503, 507},
    ("/v1/batches", "get"): {200, 422, 500, 503},
    ("/v1/batches/{batch_id}", "get"): {200, 404, 500, 503},
    ("/v1/batches/{batch_id}", "delete"): {200, 404, 409, 500, 503},
    ("/v1/batches/{batch_id}/output", "get"): {200, 404, 410, 422, 500, 503},
    ("/v1/batches/{batch_id}/errors", "get"): {200, 404, 410, 422, 500, 503},
    ("/v1/models", "get"): {200, 500, 503},
    ("/healthz", "get"): {200},
    ("/metrics", "get"): {200, 401, 403, 500, 503},
    ("/readyz", "get"): {200, 503},
}


def test_every_status_that_a_route_gives_is_documented(document):
    assert {(path, verb) for path, verb, _ in operations(document)} == set(EXPECTED)
    for path, verb, operation in operations(document):
        assert EXPECTED[path, verb] <= {int(status) for status in operation["responses"]}, (path, verb)


def test_every_operation_of_the_api_says_that_it_may_need_a_key(document):
    for path, verb, operation in operations(document):
        if path.startswith("/v1") or path == "/metrics":
            assert operation["security"] == [{}, {"bearer": []}, {"header": []}], (path, verb)
            assert {"401", "403"} <= set(operation["responses"]), (path, verb)
        else:
            assert "security" not in operation


def test_the_document_is_the_same_whenever_it_is_asked_for():
    app = create_app(Settings())
    first = yaml.safe_dump(app.openapi())
    assert yaml.safe_dump(app.openapi()) == first


def test_every_problem_is_documented_as_one(document):
    for path, verb, operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) >= 400 and path != "/readyz":
                reference = {"schema": {"$ref": "#/components/schemas/Problem"}}
                assert response["content"] == {"application/problem+json": reference}, (path, verb, status)


def test_both_kinds_of_body_are_documented(document):
    content = document["paths"]["/v1/predictions"]["post"]["requestBody"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/PredictionRequest"}
    form = content["multipart/form-data"]["schema"]["properties"]
    from app.bodies import _FIELDS

    assert set(form) == {"file", *_FIELDS}


def test_both_kinds_of_body_of_a_relaxation_are_documented(document):
    content = document["paths"]["/v1/relaxations"]["post"]["requestBody"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/RelaxationRequest"}
    form = content["multipart/form-data"]["schema"]["properties"]
    from app.bodies import _RELAXATION_FIELDS

    assert set(form) == {"file", *_RELAXATION_FIELDS}


def test_a_form_of_a_batch_has_the_fields_that_are_read(document):
    content = document["paths"]["/v1/batches"]["post"]["requestBody"]["content"]
    from app.batches.unpacking import FORM_FIELDS

    assert set(content["multipart/form-data"]["schema"]["properties"]) == {"file", *FORM_FIELDS}
    assert set(content) == {"multipart/form-data", "application/jsonl"}


def test_every_operation_has_a_summary(document):
    for path, verb, operation in operations(document):
        assert operation["summary"][0].isupper(), (path, verb)


@pytest.mark.filterwarnings("ignore:'app.openapi' found in sys.modules")
def test_it_is_a_program(monkeypatch):
    written = []
    monkeypatch.setattr("pathlib.Path.write_text", lambda path, *_, **__: written.append(path))
    runpy.run_module("app.openapi", run_name="__main__")
    assert written == [PATH]
