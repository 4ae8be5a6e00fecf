"""Density files over HTTP."""

import asyncio
import base64
import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest

from app.answers import Answers
from app.downloads import FILE_NAMES, Content, convert, density_file
from jobs.artifacts import ArtifactStore
from jobs.canonical import canonical, structure_record
from rhocast.density import DensityExpansion, read_npz
from rhocast.density.expansion_npz import read_expansion
from rhocast.errors import ArtifactNotFound, InvalidRequest, StorageFull
from tests.app.conversation import finished, refused
from tests.app.samples import crooked_salt, rock_salt
from tests.sdk.density.expansions import crystal, molecule


@pytest.fixture
def url(client) -> str:
    return finished(client, rock_salt())["links"]["density"]


@pytest.mark.parametrize(
    ("density_format", "name", "media_type"),
    [
        ("chgcar", "CHGCAR", "text/plain; charset=utf-8"),
        ("chg", "CHG", "text/plain; charset=utf-8"),
        ("cube", "density.cube", "text/plain; charset=utf-8"),
        ("npz", "density.npz", "application/octet-stream"),
        ("coefficients", "density.coefficients.npz", "application/octet-stream"),
    ],
)
def test_every_format_is_named_typed_and_hashed(client, url, density_format, name, media_type):
    answer = client.get(f"{url}?format={density_format}")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["content-type"] == media_type
    digest = base64.b64encode(hashlib.sha256(answer.content).digest()).decode()
    assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert answer.headers["accept-ranges"] == "bytes"


def test_the_default_format_is_chgcar_and_links_name_all(client, url):
    job = finished(client, rock_salt())
    links = job["result"]["density"]["artifacts"]
    assert list(links) == ["chgcar", "chg", "cube", "npz", "coefficients"]
    assert client.get(links["chgcar"]).content == client.get(job["links"]["density"]).content


def test_formats_have_different_tags_and_equal_files_equal_ones(client, url):
    tags = {name: client.get(f"{url}?format={name}").headers["etag"] for name in FILE_NAMES}
    assert len(set(tags.values())) == 5
    again = finished(client, rock_salt())["links"]["density"]
    assert again != url
    assert client.get(again).headers["etag"] == tags["chgcar"]


@pytest.mark.parametrize("tag", ["{}", '"other", {}', "W/{}", "*"])
def test_who_has_the_file_is_not_sent_it_again(client, url, tag):
    etag = client.get(url).headers["etag"]
    answer = client.get(url, headers={"If-None-Match": tag.format(etag)})
    assert answer.status_code == 304
    assert answer.content == b""
    assert answer.headers["etag"] == etag


def test_who_has_another_file_is_sent_this_one(client, url):
    assert client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    ("range_", "cut"), [("0-99", slice(0, 100)), ("1000-", slice(1000, None)), ("-7", slice(-7, None))]
)
def test_a_range_is_a_slice(client, url, range_, cut):
    whole = client.get(url)
    part = client.get(url, headers={"Range": f"bytes={range_}"})
    assert part.status_code == 206
    assert part.content == whole.content[cut]
    assert part.headers["content-range"].endswith(f"/{len(whole.content)}")
    assert part.headers["repr-digest"] == whole.headers["repr-digest"]


def test_a_range_of_the_file_that_one_has_is_a_slice_and_else_the_whole(client, url):
    whole = client.get(url)
    same = client.get(url, headers={"Range": "bytes=5-9", "If-Range": whole.headers["etag"]})
    assert (same.status_code, same.content) == (206, whole.content[5:10])
    other = client.get(url, headers={"Range": "bytes=5-9", "If-Range": '"other"'})
    assert (other.status_code, other.content) == (200, whole.content)


def test_two_ranges_come_as_parts(client, url):
    answer = client.get(url, headers={"Range": "bytes=0-9,100-109"})
    assert answer.status_code == 206
    assert answer.headers["content-type"].startswith("multipart/byteranges")


@pytest.mark.parametrize("range_", ["bytes=a-b", "lines=1-2", "bytes", "bytes=9-3"])
def test_a_range_that_is_none_is_refused(client, url, range_):
    refused(client.get(url, headers={"Range": range_}), InvalidRequest, "range", "expected")


def test_a_range_beyond_the_end_is_refused_with_the_size(client, url):
    size = len(client.get(url).content)
    answer = client.get(url, headers={"Range": f"bytes={size}-"})
    refused(answer, InvalidRequest, "range", str(size), "expected", status=416)
    assert answer.headers["content-range"] in (f"*/{size}", f"bytes */{size}")


def test_a_file_is_converted_once(client, live):
    job = finished(client, crooked_salt(seed=51))
    name = client.get(job["links"]["density"]).headers["etag"].strip('"') + ".chgcar"
    path = ArtifactStore(live.settings.artifacts_folder, 0).path(name)
    made = path.stat().st_mtime_ns
    assert client.get(job["links"]["density"]).status_code == 200
    assert path.stat().st_mtime_ns == made


def test_the_comment_line_tells_where_the_density_comes_from(client, url):
    line = client.get(url).text.splitlines()[0]
    for word in ("rhocast 0.", "model promolecule sha256", "valence Na7 Cl7", "grid 12x12x12", "shape as asked", "PBE"):
        assert word in line


def test_a_conversion_writes_the_file_and_its_digest(client, live, tmp_path):
    services = live.client.app.state.services
    view = services.ledger.view(finished(client, rock_salt())["id"])
    grid = services.artifacts.path(view.tasks["promolecule"].result["artifact"])
    artifacts = ArtifactStore(tmp_path, 0)
    content = Content(view.record.structure, view.record.order, "a comment", "cube")
    convert(artifacts, (grid, "abc.cube", "abc.cube.sha256"), content)
    digest = base64.b64encode(hashlib.sha256(artifacts.path("abc.cube").read_bytes()).digest()).decode()
    assert artifacts.path("abc.cube.sha256").read_text() == digest
    assert artifacts.path("abc.cube").read_text().startswith("a comment")
    assert Answers(artifacts, 7.0).job(view).result.density is not None


def test_a_conversion_for_which_there_is_no_room_is_refused(client, live, monkeypatch):
    job = finished(client, crooked_salt(seed=52))
    monkeypatch.setattr(live.client.app.state.services.artifacts, "_min_free_bytes", 10**18)
    refused(client.get(job["links"]["density"]), StorageFull, "MB free", "expected", "try again")


def test_coefficients_are_the_density_of_the_grid(client):
    job = finished(client, crooked_salt(seed=53))
    url, answer = job["links"]["density"], job["result"]["density"]
    grid = read_npz(io.BytesIO(client.get(f"{url}?format=npz").content))
    found = read_expansion(io.BytesIO(client.get(f"{url}?format=coefficients").content))
    assert found.structure.symbols == job["result"]["structure"]["symbols"]
    np.testing.assert_allclose(found.structure.positions, job["result"]["structure"]["positions"], atol=1e-12)
    values = found.on_grid(grid.shape).values * answer["scale_factor"]
    np.testing.assert_allclose(values, grid.values, rtol=2.0 ** -answer["mantissa_bits"])
    assert found.n_electrons == answer["n_electrons"]
    assert found.comment.startswith("rhocast 0.")
    assert "grid" not in found.comment


@pytest.mark.parametrize(("made", "order"), [(crystal, [1, 0]), (molecule, [1, 0, 2])])
def test_functions_go_with_their_atoms_into_the_users_order(made, order, tmp_path):
    """What a worker stores is sorted and wrapped; what a user gets is as it was sent."""
    sent, artifacts = made().reordered(np.array(order)), ArtifactStore(tmp_path, 0)
    form = canonical(sent.structure)
    assert form.order.tolist() in ([1, 0], [2, 0, 1])
    source = artifacts.write("ab.npz", replace(sent.reordered(form.order), structure=form.structure).write)
    content = Content(structure_record(sent.structure), form.order.tolist(), "sent", "coefficients")
    convert(artifacts, (source, "cd.coefficients", "cd.sha256"), content)
    found = DensityExpansion.read(artifacts.path("cd.coefficients"))
    np.testing.assert_array_equal(found.structure.numbers, sent.structure.numbers)
    np.testing.assert_array_equal(found.structure.positions, sent.structure.positions)
    np.testing.assert_array_equal(found.on_atoms.coefficients, sent.on_atoms.coefficients)
    points = np.random.default_rng(0).uniform(0, 8, (100, 3))
    np.testing.assert_allclose(found.at_points(points), sent.at_points(points), atol=1e-6)
    assert found.comment == "sent"


def test_a_result_without_coefficients_says_what_to_do(client, live):
    services = live.client.app.state.services
    job = finished(client, rock_salt())
    view = services.ledger.view(job["id"])
    task = view.tasks["promolecule"]
    older = {name: value for name, value in task.result.items() if name != "coefficients"}
    view = view.model_copy(update={"tasks": {"promolecule": task.model_copy(update={"result": older})}})
    answer = services.answers.job(view).result.density
    assert "coefficients" not in answer.artifacts
    with pytest.raises(ArtifactNotFound, match=r"has no coefficients, .* submit the structure again, or take a grid"):
        asyncio.run(density_file(services, view, answer, "coefficients"))
