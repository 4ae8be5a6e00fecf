"""Requests that cannot be read, whatever structure they carry."""

import gzip
import json

import pytest

from rhocast.errors import (
    IdempotencyConflict,
    InvalidField,
    InvalidGrid,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    TooLarge,
    UnknownModel,
    UnsupportedFormat,
)
from tests.app.conversation import is_answered, posted, refused, uploaded
from tests.app.samples import NACL_POSCAR, pymatgen_record, rock_salt

JSON = {"Content-Type": "application/json"}


def nested(depth: int) -> list:
    return [nested(depth - 1)] if depth else []


BAD_FIELDS = {
    "unknown model": ({"model": ["gpt"]}, UnknownModel, ["no model 'gpt'", "chgnet, promolecule"]),
    "model without the property": (
        {"model": ["chgnet"], "want": ["density"]},
        UnknownModel,
        ["no model for density", "chgnet: energy", "name another model"],
    ),
    "unknown want": ({"want": ["bands"]}, InvalidField, ["want.0", "'density'", "'bands'"]),
    "empty want": ({"want": []}, InvalidField, ["want", "at least 1 item"]),
    "unknown field": ({"colour": "red"}, InvalidField, ["colour", "Extra inputs are not permitted", "'red'"]),
    "unknown grid field": ({"grid": {"n": 3}}, InvalidField, ["grid.n", "Extra inputs"]),
    "unknown priority": ({"priority": "mine"}, InvalidField, ["priority", "'interactive' or 'bulk'"]),
    "vacuum of nothing": ({"vacuum": 0}, InvalidField, ["vacuum", "greater than 0"]),
    "vacuum of a metre": ({"vacuum": 1e10}, InvalidField, ["vacuum", "less than or equal to 50"]),
    "shape and spacing": (
        {"grid": {"shape": [8, 8, 8], "spacing": 0.2}},
        InvalidGrid,
        ["shape and spacing", "one of shape, spacing and encut", "leave the others out"],
    ),
    "spacing and encut": ({"grid": {"encut": 300, "spacing": 0.2}}, InvalidGrid, ["spacing and encut", "one of"]),
    "all three": ({"grid": {"shape": [8, 8, 8], "encut": 300, "spacing": 0.2}}, InvalidGrid, ["shape and spacing and"]),
    "shape of nothing": ({"grid": {"shape": [8, 0, 8]}}, InvalidGrid, ["8 × 0 × 8", "1 to 20000", "choose"]),
    "negative shape": ({"grid": {"shape": [8, -8, 8]}}, InvalidGrid, ["8 × -8 × 8", "1 to 20000"]),
    "grid of 10^10 points": (
        {"grid": {"shape": [10_000, 1000, 1000]}},
        TooLarge,
        ["10000 × 1000 × 1000 = 1e+10 points", "at most 2e+08", "larger spacing"],
    ),
    "axis of 10^10 points": ({"grid": {"shape": [10**10, 1, 1]}}, InvalidGrid, ["10000000000 × 1 × 1", "20000"]),
    "axis of 10^400 points": ({"grid": {"shape": [10**400, 1, 1]}}, InvalidGrid, ["1000", "1 to 20000"]),
    "negative spacing": ({"grid": {"spacing": -0.1}}, InvalidGrid, ["-0.1 Å", "positive number such as 0.1"]),
    "no spacing": ({"grid": {"spacing": 0}}, InvalidGrid, ["0.0 Å", "positive number"]),
    "tiny spacing": ({"grid": {"spacing": 1e-9}}, InvalidGrid, ["points along an axis", "at most", "larger spacing"]),
    "spacing of 10^10 points": ({"grid": {"spacing": 0.0026}}, TooLarge, ["points", "at most 2e+08", "larger spacing"]),
    "NaN spacing": ({"grid": {"spacing": float("nan")}}, InvalidRequest, ["NaN is not a number in JSON"]),
    "infinite spacing": ({"grid": {"spacing": float("inf")}}, InvalidRequest, ["Infinity is not a number in JSON"]),
    "spacing in words": ({"grid": {"spacing": "fine"}}, InvalidField, ["grid.spacing", "valid number", "'fine'"]),
    "negative encut": ({"grid": {"encut": -1}}, InvalidGrid, ["-1.0 eV", "positive number such as 520"]),
    "huge encut": ({"grid": {"encut": 1e300}}, InvalidGrid, ["points along an axis"]),
    "a text for a structure": ({"structure": "POSCAR"}, InvalidField, ["structure", "'POSCAR'"]),
    "nothing for a structure": ({"structure": None}, InvalidField, ["structure", "None"]),
    "a list for a structure": ({"structure": [1]}, InvalidField, ["structure", "[1]"]),
    "an empty structure": ({"structure": {}}, InvalidField, ["symbols", "required"]),
    "half a surrogate": ({"\ud800": 1}, InvalidRequest, ["not UTF-8"]),
    "half a surrogate deep inside": (
        {"structure": pymatgen_record(sites=[{"label": "\udfff\ud800"}])},
        InvalidRequest,
        ["not UTF-8", "encode it"],
    ),
    "JSON in 300 brackets": (
        {"structure": pymatgen_record(sites=[{"a": nested(300)}])},
        InvalidRequest,
        ["nested too deeply", "as_dict()"],
    ),
}


@pytest.mark.usefixtures("nothing_queued")
@pytest.mark.parametrize("name", BAD_FIELDS)
def test_a_field_that_cannot_be_used_is_refused_with_advice(client, name):
    asked, error, words = BAD_FIELDS[name]
    refused(posted(client, **{"structure": rock_salt()} | asked), error, "expected", *words)


BAD_FORM_FIELDS = {
    "unknown field": ({"colour": "red"}, InvalidField, ["field 'colour'", "expected file, want, model"]),
    "unknown want": ({"want": "density,bands"}, InvalidField, ["want.1", "'bands'"]),
    "unknown model": ({"model": "gpt"}, UnknownModel, ["no model 'gpt'"]),
    "unknown format": ({"format": "cell"}, InvalidField, ["format", "'poscar'"]),
    "shape of two": ({"shape": "8,8"}, InvalidField, ["shape"]),
    "shape in words": ({"shape": "fine"}, InvalidField, ["shape", "'fine'"]),
    "shape and spacing": ({"shape": "8,8,8", "spacing": "0.2"}, InvalidGrid, ["shape and spacing", "one of"]),
    "negative spacing": ({"spacing": "-1"}, InvalidGrid, ["-1.0 Å", "positive"]),
    "NaN spacing": ({"spacing": "nan"}, InvalidGrid, ["nan Å", "positive"]),
    "infinite spacing": ({"spacing": "inf"}, InvalidGrid, ["inf Å", "positive"]),
    "infinite encut": ({"encut": "inf"}, InvalidGrid, ["inf eV", "positive"]),
    "NaN vacuum": ({"vacuum": "nan"}, InvalidField, ["vacuum"]),
    "priority": ({"priority": "mine"}, InvalidField, ["priority"]),
}


@pytest.mark.usefixtures("nothing_queued")
@pytest.mark.parametrize("name", BAD_FORM_FIELDS)
def test_a_form_field_that_cannot_be_used_is_refused_with_advice(client, name):
    fields, error, words = BAD_FORM_FIELDS[name]
    refused(uploaded(client, NACL_POSCAR, **fields), error, "expected", *words)


@pytest.mark.usefixtures("nothing_queued")
def test_a_form_is_read_only_if_its_parts_are_what_they_should_be(client):
    url = "/v1/predictions"
    refused(client.post(url, files={"other": b"x"}), InvalidField, "field 'other'", "expected file")
    refused(client.post(url, files={"want": b"x"}), InvalidField, "no part named 'file'", "curl -F file=@POSCAR")
    files = {"file": NACL_POSCAR.encode()}
    refused(client.post(url, files=files | {"spacing": b"1"}), InvalidRequest, "Too many files", "expected a part")
    text_file = {"spacing": ("f", b"0.2"), "file": (None, NACL_POSCAR)}
    refused(client.post(url, files=text_file), InvalidField, "file in the field 'spacing'", "expected text")
    want_file = {"want": ("f", b"density"), "file": (None, NACL_POSCAR)}
    refused(client.post(url, files=want_file), InvalidField, "file in the field 'want'", "expected text")


@pytest.mark.usefixtures("nothing_queued")
@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("multipart/form-data", b"x", ["boundary", "expected a part named 'file'"]),
        ("multipart/form-data; boundary=a", b"not the boundary", ["multipart", "expected a part named 'file'"]),
        ("multipart/form-data; boundary=a", b"--a\r\nbroken", ["no part named 'file'"]),
        ("multipart/form-data; boundary=a", b"", ["file"]),
        ("multipart/form-data; boundary=a; charset=klingon", b"--a\r\n\r\nx\r\n--a--", ["name"]),
        ("multipart/form-data; boundary=" + "a" * 1000, b"x", ["multipart"]),
    ],
)
def test_a_broken_form_is_refused(client, content_type, body, words):
    answer = client.post("/v1/predictions", content=body, headers={"Content-Type": content_type})
    assert answer.status_code in (400, 422)
    refused(answer, InvalidRequest if answer.status_code == 400 else InvalidField, "expected", *words)


@pytest.mark.usefixtures("nothing_queued")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ["not JSON", "expected an object"]),
        (b"{", ["not JSON", "check its syntax"]),
        (b"\xff\xfe{}", ["not UTF-8", "encode it"]),
        (b"[" * 100_000, ["not JSON", "recursion"]),
        (b'{"vacuum": ' + b"9" * 5000 + b"}", ["not JSON", "4300"]),
    ],
)
def test_a_body_that_is_not_json_is_refused(client, body, words):
    refused(client.post("/v1/predictions", content=body, headers=JSON), InvalidRequest, "expected", *words)


@pytest.mark.usefixtures("nothing_queued")
def test_json_that_is_no_object_is_refused(client):
    refused(client.post("/v1/predictions", content=b"[1]", headers=JSON), InvalidField, "body", "dictionary", "[1]")


@pytest.mark.usefixtures("nothing_queued")
def test_thousands_of_wrong_numbers_make_a_short_answer(client):
    wrong = rock_salt() | {"positions": [["x", "y", "z"]] * 10_000}
    document = refused(posted(client, wrong), InvalidField, "positions.0.0", "and 2 more")
    assert len(document["errors"]) == 3  # those of the first atom
    answer = posted(client, rock_salt(), want=["x"] * 10_000)
    document = refused(answer, InvalidField, "and 9999 more")
    assert len(document["errors"]) == 20
    assert len(answer.content) < 5_000


@pytest.mark.usefixtures("nothing_queued")
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json2", ""])
def test_another_content_type_is_refused(client, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    answer = client.post("/v1/predictions", content=NACL_POSCAR.encode(), headers=headers)
    refused(answer, UnsupportedFormat, repr(content_type or "none"), "multipart/form-data", "application/json")


@pytest.mark.usefixtures("nothing_queued")
def test_a_compressed_body_is_refused(client):
    body = gzip.compress(json.dumps({"structure": rock_salt()}).encode())
    answer = client.post("/v1/predictions", content=body, headers=JSON | {"Content-Encoding": "gzip"})
    refused(answer, UnsupportedFormat, "content encoding 'gzip'", "expected none", "send it uncompressed")


def hundred_megabytes():
    for _ in range(100):
        yield b" " * 1_000_000


@pytest.mark.usefixtures("nothing_queued")
@pytest.mark.parametrize("path", ["/v1/predictions", "/v1/density", "/v1/energy"])
def test_a_hundred_megabytes_are_refused_before_they_are_read(client, path):
    words = ["more than 5 MB", "expected a structure file", "one structure a request"]
    declared = JSON | {"Content-Length": "100000000"}
    refused(client.post(path, content=b"{}", headers=declared), TooLarge, *words)
    refused(client.post(path, content=hundred_megabytes(), headers=JSON), TooLarge, *words)


@pytest.mark.usefixtures("nothing_queued")
@pytest.mark.parametrize("length", ["²", "-1", "9" * 5000])
def test_an_absurd_content_length_makes_no_defect(client, length):
    answer = client.post("/v1/predictions", content=b"{}", headers=JSON | {"Content-Length": length.encode("latin-1")})
    assert answer.status_code in (413, 422)


def test_an_idempotency_key_stands_for_one_request(client):
    def sent(a, key):
        content = json.dumps({"structure": rock_salt(a), "grid": {"shape": [12, 12, 12]}})
        return client.post("/v1/predictions", content=content, headers=JSON | {"Idempotency-Key": key})

    first = sent(5.6, "key-1")
    assert sent(5.6, "key-1").json()["id"] == first.json()["id"]
    refused(sent(5.7, "key-1"), IdempotencyConflict, "'key-1'", first.json()["id"], "same request", "use a new key")
    assert sent(5.6, "key-2").json()["id"] != first.json()["id"]
    refused(sent(5.6, "k" * 256), InvalidField, "255 characters")


def test_an_idempotency_key_does_not_mind_the_boundary_of_a_form(client):
    ids = {
        client.post(
            "/v1/predictions",
            files={"file": ("sent", NACL_POSCAR)},
            data={"shape": "12,12,12"},
            headers={"Idempotency-Key": "form"},
        ).json()["id"]
        for _ in range(2)
    }
    assert len(ids) == 1


def test_what_is_not_served_is_refused(client):
    refused(client.get("/v2/anything"), NotFound, "Not Found", "see /docs")
    refused(client.get("/v1/predictions"), MethodNotAllowed, "Method Not Allowed")
    answer = client.put("/v1/jobs/x")
    refused(answer, MethodNotAllowed, "Method Not Allowed", "see /docs")
    assert "GET" in answer.headers["allow"]


def test_a_good_request_is_answered_after_all_these(client):
    assert is_answered(client)
