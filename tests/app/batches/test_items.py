"""Items: lines and files, good and bad, and how they are kept."""

import io
import json

import pytest

from app.batches.items import Item, Limits, item_of_file, items_of_lines, write_items
from rhocast.errors import InvalidField, TooLarge
from tests.app.samples import NACL_CIF

LIMITS = Limits(n_items=5, item_bytes=1000, unpacked_bytes=10**6)


def lines(*texts: str | bytes) -> list[Item]:
    content = b"\n".join(text if isinstance(text, bytes) else text.encode() for text in texts)
    return list(items_of_lines(io.BytesIO(content), LIMITS))


def test_a_line_keeps_its_bytes_and_its_name():
    (item,) = lines('  {"custom_id": "a", "structure": {}}  ')
    assert item == Item("a", b'{"custom_id": "a", "structure": {}}')
    assert json.loads(item.heading) == {"custom_id": "a", "error": None}


def test_blank_lines_and_a_byte_order_mark_do_not_count():
    assert [item.custom_id for item in lines("\ufeff" + '{"custom_id": "a"}', "", "  ", '{"custom_id": "b"}', "")] == [
        "a",
        "b",
    ]


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("{", "InvalidRequest", "line 2: found a body that is not JSON"),
        (b'{"custom_id": "\xff"}', "InvalidRequest", "line 2: found JSON that is not UTF-8"),
        ('{"custom_id": "\\ud800"}', "InvalidRequest", "line 2: found JSON that is not UTF-8"),
        ("[]", "InvalidField", "line 2: found no custom_id; expected an object such as"),
        ('{"structure": {}}', "InvalidField", "line 2: found no custom_id"),
        ('{"custom_id": 7}', "InvalidField", "line 2: found no custom_id"),
        ('{"custom_id": ""}', "InvalidField", "line 2: found the custom_id '' of 0 characters; expected 1 to 255"),
        ('{"custom_id": "' + "x" * 256 + '"}', "InvalidField", "of 256 characters"),
        ('{"custom_id": "a\\nb"}', "InvalidField", "found the custom_id 'a\\nb'"),
        ("[" * 990, "InvalidRequest", "line 2: found a body that is not JSON"),
        ("x" * 5000, "TooLarge", "line 2: found more than 0.001 MB; expected one structure"),
    ],
)
def test_a_bad_line_is_refused_and_its_neighbours_are_not(line, code, words):
    first, bad, last = lines('{"custom_id": "a"}', line, '{"custom_id": "z"}')
    assert (first.custom_id, last.custom_id) == ("a", "z")
    assert first.error is last.error is None
    assert bad.error is not None
    assert (bad.custom_id, bad.request, bad.error.code) == (None, b"", code)
    assert words in bad.error.detail
    assert json.loads(bad.heading)["error"]["detail"] == bad.error.detail


def test_a_file_becomes_a_request_for_its_text():
    item = item_of_file("NaCl.cif", NACL_CIF.encode(), LIMITS)
    assert json.loads(item.request) == {"custom_id": "NaCl.cif", "structure": {"text": NACL_CIF}}


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.cif", b"", "InvalidFile"),
        ("a.cif", b"\xff\xfe", "InvalidFile"),
        ("a.cif", b"\x1f\x8b rest", "UnsupportedFormat"),
        ("a.cif", b"x" * 1001, "TooLarge"),
        ("a\nb.cif", b"x", "InvalidField"),
        ("\udcff.cif", b"x", "InvalidField"),
        ("x" * 300, b"x", "InvalidField"),
    ],
)
def test_a_bad_file_is_a_refused_item(name, content, code):
    item = item_of_file(name, content, LIMITS)
    assert item.error is not None
    assert item.error.code == code
    assert json.loads(item.heading)["error"]["code"] == code
    assert item.custom_id is not None
    assert len(item.custom_id) <= 255


def test_items_are_kept_line_by_line(tmp_path):
    (bad,) = lines("nonsense")
    written = write_items([Item("a", b"{}"), bad], tmp_path / "r", tmp_path / "h", LIMITS)
    assert written.n_items == 2
    assert (tmp_path / "r").read_bytes() == b"{}\n\n"
    first, second = (json.loads(line) for line in (tmp_path / "h").read_bytes().splitlines())
    assert first == {"custom_id": "a", "error": None}
    assert second["error"]["code"] == "InvalidRequest"


def test_the_digest_tells_one_batch_from_another(tmp_path):
    def digest(*items: Item) -> str:
        return write_items(items, tmp_path / "r", tmp_path / "h", LIMITS).digest

    assert digest(Item("a", b"{}")) == digest(Item("a", b"{}"))
    assert len({digest(Item("a", b"{}")), digest(Item("b", b"{}")), digest(Item("a", b"[]"))}) == 3


@pytest.mark.parametrize(
    ("names", "error", "sentence"),
    [
        ([], InvalidField, "found no structure in this batch; expected at least one line"),
        (["a", "b", "a", "a"], InvalidField, "found the same custom_id twice: 'a'; expected each once"),
        (["a", "b", "c", "d", "e", "f"], TooLarge, "found more than 5 structures; expected at most so many"),
    ],
)
def test_what_is_wrong_with_a_batch_as_a_whole_is_said(tmp_path, names, error, sentence):
    with pytest.raises(error, match=sentence):
        write_items([Item(name, b"{}") for name in names], tmp_path / "r", tmp_path / "h", LIMITS)


def test_the_first_few_repeated_names_are_told(tmp_path):
    limits = Limits(100, 1000, 1000)
    items = [Item(f"n{k}", b"{}") for k in range(7)] * 2
    with pytest.raises(InvalidField, match="'n0', 'n1', 'n2', 'n3', 'n4' and 2 more; expected each once"):
        write_items(items, tmp_path / "r", tmp_path / "h", limits)


def test_refused_lines_without_a_name_are_not_repetitions(tmp_path):
    assert write_items(lines("{", "{"), tmp_path / "r", tmp_path / "h", LIMITS).n_items == 2
