"""Archives: what is in them becomes items, and nothing costs more than it should."""

import io
import tarfile
import zipfile

import pytest

from app.batches.archives import Passed, is_tar, is_zip, members
from app.batches.items import Limits
from rhocast.errors import InvalidFile, TooLarge
from tests.app.batches.archive_files import link, tarred, zipped
from tests.app.samples import NACL_CIF, NACL_POSCAR

LIMITS = Limits(n_items=100, item_bytes=10_000, unpacked_bytes=20_000_000)
FILES = {
    "set/a.cif": NACL_CIF,
    "set/b/POSCAR": NACL_POSCAR,
    "set/README.md": "notes",
    "set/._a.cif": "of macOS",
    "set/.hidden.cif": "x",
}

KINDS = {"zip": zipped, "tar": tarred, "tar.gz": lambda files: tarred(files, compressed=True)}


def items(content: bytes, limits: Limits = LIMITS, passed: Passed | None = None):
    return list(members(io.BytesIO(content), limits, passed or Passed()))


@pytest.mark.parametrize("kind", KINDS)
def test_every_structure_file_is_an_item_named_by_its_path(kind):
    passed = Passed()
    found = items(KINDS[kind](FILES), passed=passed)
    assert [item.custom_id for item in found] == ["set/a.cif", "set/b/POSCAR"]
    assert all(item.error is None and b"structure" in item.request for item in found)
    assert (passed.n_files, passed.example) == (3, "set/README.md")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/etc/a.cif", "has an absolute path"),
        ("../../a.cif", "has a path that leaves the archive"),
        ("a/../../b.cif", "has a path that leaves the archive"),
        ("C:\\a.cif", "has an absolute path"),
    ],
)
def test_a_path_that_leaves_the_archive_is_refused_alone(kind, name, words):
    bad, good = items(KINDS[kind]({name: NACL_CIF, "good.cif": NACL_CIF}))
    assert bad.error is not None
    assert words in bad.error.detail
    assert bad.error.detail.endswith("expected a regular file inside the archive")
    assert good.error is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_too_long_is_refused_alone(kind):
    bad, good = items(KINDS[kind]({"long.cif": b"x" * 10_001, "good.cif": NACL_CIF}))
    assert bad.error is not None
    assert (bad.error.code, good.error) == ("TooLarge", None)


def test_links_and_devices_are_refused_and_never_followed():
    device = tarfile.TarInfo("tty.cif")
    device.type = tarfile.CHRTYPE
    folder = tarfile.TarInfo("folder.cif")
    folder.type = tarfile.DIRTYPE
    found = items(tarred({}, link("passwd.cif", "/etc/passwd"), device, folder, link("\udcff.cif", "x")))
    assert [item.custom_id for item in found] == ["passwd.cif", "tty.cif", "?.cif"]
    assert all(item.error is not None and "is a link or a device" in item.error.detail for item in found)


def test_a_link_in_a_zip_is_refused():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        member = zipfile.ZipInfo("passwd.cif")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
        archive.mkdir("folder.cif")
    (found,) = items(made.getvalue())
    assert found.error is not None
    assert "'passwd.cif' is a link" in found.error.detail


def test_an_encrypted_member_is_refused():
    content = bytearray(zipped({"a.cif": NACL_CIF}))
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the central directory
    (found,) = items(bytes(content))
    assert found.error is not None
    assert "is encrypted" in found.error.detail


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_refused_before_it_has_unfolded(kind):
    bomb = {f"{k}.cif": bytes(9_999) for k in range(60)} | {"zeros.cif": bytes(60_000_000)}
    content = KINDS[kind](bomb)
    assert len(content) < 100_000
    limits = Limits(n_items=1000, item_bytes=70_000_000, unpacked_bytes=10**9)
    with pytest.raises(TooLarge, match=r"found an archive that holds more than \d+ MB; expected structure files alone"):
        items(content, limits)


def test_what_is_passed_over_in_a_tar_counts_too():
    with pytest.raises(TooLarge, match=r"holds more than (19|20) MB"):
        items(tarred({"notes.txt": bytes(100_000_000)}, compressed=True))


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_members_are_refused(kind):
    many = {f"{k}.txt": "" for k in range(401)}
    with pytest.raises(TooLarge, match="more than 400 members; expected at most 100 structures; send several"):
        items(KINDS[kind](many))


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_is_cut_short_is_refused(kind):
    content = KINDS[kind]({f"{k}.cif": NACL_CIF + str(k) for k in range(20)})
    with pytest.raises(InvalidFile, match=r"found an archive that cannot be read .* expected a whole zip, tar or tar"):
        items(content[: len(content) // 2])


def test_zeros_after_the_end_of_a_tar_do_no_harm():
    assert len(items(tarred(FILES) + bytes(1_000_000))) == 2


def test_archives_in_archives_are_not_opened():
    passed = Passed()
    assert items(zipped({"inner.zip": zipped(FILES), "inner.tar": tarred(FILES)}), passed=passed) == []
    assert passed.n_files == 2


def test_archives_are_known_by_their_beginning():
    assert is_zip(zipped(FILES))
    assert is_zip(zipped({}))
    assert is_tar(tarred(FILES))
    assert is_tar(tarred(FILES, compressed=True))
    assert not is_zip(NACL_CIF.encode())
    assert not is_tar(NACL_CIF.encode())
