"""Uploads become items: JSONL, and forms of files, archives and JSONL."""

import json
from pathlib import Path

import httpx2
import pytest

from app.batches.items import Limits, headings_name, requests_name
from app.batches.unpacking import Contents, Upload, unpack
from jobs.artifacts import ArtifactStore
from rhocast.errors import InvalidField, InvalidRequest, TooLarge
from tests.app.batches.archive_files import tarred, zipped
from tests.app.samples import NACL_CIF, NACL_POSCAR

LIMITS = Limits(n_items=2000, item_bytes=100_000, unpacked_bytes=10**7)


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts", 0)


@pytest.fixture
def unpacked(artifacts, tmp_path):
    def unpacked(body: bytes, content_type: str = "application/jsonl") -> tuple[Contents, list[str | None]]:
        (tmp_path / "upload").write_bytes(body)
        contents = unpack(Upload("b1", tmp_path / "upload", content_type), artifacts, LIMITS)
        headings = artifacts.path(headings_name("b1")).read_bytes().splitlines()
        assert len(artifacts.path(requests_name("b1")).read_bytes().splitlines()) == contents.n_items == len(headings)
        return contents, [json.loads(line)["custom_id"] for line in headings]

    return unpacked


def form(*files: tuple[str, bytes | str], **fields: str) -> tuple[bytes, str]:
    """Body and content type of a form, as an HTTP client makes them."""
    request = httpx2.Request("POST", "http://x/", files=[("file", file) for file in files], data=fields)
    return request.read(), request.headers["content-type"]


def test_lines_are_items(unpacked):
    contents, ids = unpacked(b'{"custom_id": "a"}\n{"custom_id": "b"}\n')
    assert ids == ["a", "b"]
    assert contents.warnings == []
    assert contents.settings.want == ["density"]


def test_a_thousand_files_are_a_thousand_items(unpacked):
    contents, ids = unpacked(*form(*((f"{k}.cif", NACL_CIF) for k in range(1000))))
    assert ids == [f"{k}.cif" for k in range(1000)]
    assert contents.n_items == 1000


def test_files_archives_and_lines_go_together(unpacked):
    files = [
        ("whatever.txt", NACL_CIF),
        ("a.zip", zipped({"x/1.cif": NACL_CIF, "notes.md": "n"})),
        ("b.tar.gz", tarred({"y/POSCAR": NACL_POSCAR}, compressed=True)),
        ("c.jsonl", '{"custom_id": "line"}\n'),
    ]
    contents, ids = unpacked(*form(*files))
    assert ids == ["whatever.txt", "x/1.cif", "y/POSCAR", "line"]
    assert contents.warnings == [
        "found 1 files that are no structures by their names (such as 'notes.md'); they were passed over"
    ]


def test_fields_of_a_form_hold_for_all_of_it(unpacked):
    fields = {"want": "density,energy", "model": "a, b", "shape": "8,8,8", "vacuum": "3", "format": "cif"}
    settings = unpacked(*form(("a.cif", NACL_CIF), **fields))[0].settings
    assert settings.want == ["density", "energy"]
    assert settings.model == ["a", "b"]
    assert settings.grid.shape == (8, 8, 8)
    assert (settings.vacuum, settings.format) == (3.0, "cif")


def test_the_boundary_of_a_form_does_not_count(unpacked):
    first, second = (unpacked(*form(("a.cif", NACL_CIF), want="energy"))[0].digest for _ in range(2))
    assert first == second
    assert unpacked(*form(("a.cif", NACL_CIF)))[0].digest != first


@pytest.mark.parametrize(
    ("body", "content_type", "error", "sentence"),
    [
        (*form(("a.cif", NACL_CIF), wnat="energy"), InvalidField, "found the field 'wnat'; expected files in 'file'"),
        (*form(("a.cif", NACL_CIF), file="text"), InvalidField, "found the field 'file'"),
        (*form(("a.cif", NACL_CIF), want="mood"), InvalidField, "want.0: .*'mood'"),
        (*form(("a.cif", NACL_CIF), ("a.cif", NACL_CIF)), InvalidField, "found the same custom_id twice: 'a.cif'"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", InvalidField, "found no structure in this batch"),
        (b"", "multipart/form-data; boundary=x", InvalidRequest, "multipart body that cannot be read .it breaks off."),
        (b"--x\r\nnonsense", "multipart/form-data; boundary=x", InvalidRequest, "multipart body that cannot be read"),
        (b"", "multipart/form-data", InvalidRequest, "multipart body that cannot be read"),
        (b"", "application/jsonl", InvalidField, "found no structure in this batch"),
        (b"\n\n", "application/jsonl", InvalidField, "found no structure in this batch"),
        (b'{"custom_id": "a"}\n' * 2, "application/jsonl", InvalidField, "found the same custom_id twice: 'a'"),
        (b"x\n" * 2001, "application/x-ndjson", TooLarge, "found more than 2000 structures"),
    ],
    ids=lambda value: "form" if "boundary=" in str(value) else None,  # a boundary is another one each time
)
def test_what_cannot_be_is_refused_as_a_whole_and_leaves_nothing(
    artifacts, unpacked, body, content_type, error, sentence
):
    with pytest.raises(error, match=sentence):
        unpacked(body, content_type)
    assert [path for path in artifacts.folder.rglob("*") if path.is_file()] == []


def test_a_form_that_breaks_off_is_refused(unpacked):
    body, content_type = form(("a.cif", NACL_CIF), ("b.cif", NACL_CIF))
    with pytest.raises(InvalidRequest, match="multipart body that cannot be read"):
        unpacked(body[:-200], content_type)


def test_a_file_field_of_another_name_is_refused(unpacked):
    request = httpx2.Request("POST", "http://x/", files=[("structure", ("a.cif", NACL_CIF))])
    with pytest.raises(InvalidField, match="found the file in the field 'structure'; expected files in 'file'"):
        unpacked(request.read(), request.headers["content-type"])


def test_a_long_part_goes_through_the_disk(unpacked):
    many = {f"{k}.cif": NACL_CIF + f"# {k} " + "x" * 500 for k in range(500)}
    contents, _ = unpacked(*form(("big.tar", tarred(many))))
    assert contents.n_items == 500
