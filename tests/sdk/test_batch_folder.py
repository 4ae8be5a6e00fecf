import hashlib
import json

import pytest

from rhocast.batch_folder import BatchFolder, Chunk, sources_of, write_whole
from rhocast.errors import InvalidFile
from rhocast.schemas import Problem

ASKED = {"want": ["energy"], "model": []}
ERROR = Problem(title="x", status=422, code="InvalidStructure", detail="found nonsense")


@pytest.fixture
def files(tmp_path):
    """A folder of structures."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for name in ("b.cif", "a.cif", "deep/POSCAR", "notes.txt"):
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_a_folder_gives_its_structures_by_their_paths(files, out):
    found = sources_of([files], out)
    assert [source.name for source in found] == ["a.cif", "b.cif", "deep/POSCAR"]
    assert found[0].digest == hashlib.sha256(b"a.cif").hexdigest()


def test_several_folders_keep_their_names_and_a_file_is_taken_whatever_it_is_called(files, out):
    found = sources_of([files / "deep", files / "notes.txt"], out)
    assert [source.name for source in found] == ["deep/POSCAR", "notes.txt"]


def test_the_results_are_no_structures(files):
    (files / "out").mkdir()
    (files / "out" / "POSCAR.json").write_text("{}")
    assert len(sources_of([files], files / "out")) == 3


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["nowhere"], "found nothing at .*nowhere'; expected a structure file or a folder"),
        (["empty"], r"found no structure in .*empty; expected files named \*.cif"),
        (["in/a.cif", "in/a.cif"], "found two files that would be called 'a.cif'"),
    ],
)
def test_files_that_cannot_be_are_refused(files, out, tmp_path, names, sentence):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidFile, match=sentence):
        sources_of([tmp_path / name for name in names], out)


def test_a_folder_is_left_and_found_again(out):
    folder = BatchFolder.opened(out, ASKED)
    folder.digests["a.cif"] = "d"
    folder.chunks.append(Chunk("key", {"a.cif": "d"}, "b1"))
    folder.errors["b.cif"] = ERROR
    folder.save()
    again = BatchFolder.opened(out, ASKED)
    assert (again.digests, again.chunks, again.errors) == (folder.digests, folder.chunks, folder.errors)
    assert json.loads((out / "errors.jsonl").read_text()) == {"file": "b.cif", "error": ERROR.model_dump(mode="json")}


def test_a_folder_without_errors_has_no_file_of_them(out):
    folder = BatchFolder.opened(out, ASKED)
    folder.save()
    assert not folder.error_file.exists()
    folder.errors["a"] = ERROR
    folder.save()
    folder.errors.clear()
    folder.save()
    assert folder.error_file.read_text() == ""


def test_results_of_something_else_are_refused(out):
    BatchFolder.opened(out, ASKED).save()
    with pytest.raises(InvalidFile, match=r"for which something else was asked \(model, vacuum\); expected the same"):
        BatchFolder.opened(out, {"want": ["energy"], "model": ["m"], "vacuum": 3.0})


@pytest.mark.parametrize("text", ["{", "{}", '{"version": 9}', "[]"])
def test_a_manifest_that_cannot_be_read_is_refused(out, text):
    out.mkdir()
    (out / "manifest.json").write_text(text)
    with pytest.raises(InvalidFile, match=r"holds a manifest.json or errors.jsonl that cannot be read \("):
        BatchFolder.opened(out, ASKED)


def test_what_is_done_or_under_way_is_not_open(files, out):
    sources = sources_of([files], out)
    folder = BatchFolder.opened(out, ASKED)
    assert folder.open_files(sources) == sources
    folder.digests = {source.name: source.digest for source in sources}
    write_whole(folder.answer_path("a.cif"), "{}")
    folder.errors["b.cif"] = ERROR
    assert [source.name for source in folder.open_files(sources)] == ["deep/POSCAR"]
    folder.chunks.append(Chunk("key", {"deep/POSCAR": sources[2].digest}))
    assert folder.open_files(sources) == []


def test_an_answer_of_unknown_origin_does_not_count(files, out):
    folder = BatchFolder.opened(out, ASKED)
    write_whole(folder.answer_path("a.cif"), "{}")
    assert len(folder.open_files(sources_of([files], out))) == 3


def test_a_file_that_changed_is_open_again(files, out):
    folder = BatchFolder.opened(out, ASKED)
    before = sources_of([files], out)
    folder.digests = {source.name: source.digest for source in before}
    for source in before:
        write_whole(folder.answer_path(source.name), "{}")
    folder.errors["a.cif"] = ERROR
    (files / "a.cif").write_text("changed")
    assert [source.name for source in folder.open_files(sources_of([files], out))] == ["a.cif"]
    assert not folder.answer_path("a.cif").exists()
    assert folder.errors == {}


def test_densities_are_named_so_that_their_names_tell_their_formats(out):
    folder = BatchFolder(out, ASKED)
    names = {
        format: folder.density_path("x/a.cif", format).relative_to(out).as_posix()
        for format in ("chgcar", "chg", "cube", "npz", "zarr", "coefficients")
    }
    assert names == {
        "chgcar": "x/CHGCAR.a.cif",
        "chg": "x/CHG.a.cif",
        "cube": "x/a.cif.cube",
        "npz": "x/a.cif.npz",
        "zarr": "x/a.cif.zarr.zip",
        "coefficients": "x/a.cif.coefficients.npz",
    }


def test_a_write_that_stops_half_way_leaves_the_old_file(tmp_path):
    path = tmp_path / "f"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
