"""Density and potential files over HTTP."""

import base64
import hashlib
import io

import numpy as np
import pytest

from app.downloads import density_recipe, potential_recipe
from app.kept_files import make
from app.stored_density import stored_density
from jobs.artifacts import ArtifactStore
from rhocast.density import (
    Density,
    DensityExpansion,
    Potential,
    difference_to_promolecule,
    electrostatic_potential,
    expected_error,
    read_chgcar,
    read_npz,
    read_zarr,
)
from rhocast.density.cube import BOHR
from rhocast.density.expansion_npz import read_expansion
from rhocast.density.potential_files import read_locpot
from rhocast.errors import ArtifactExpired, ArtifactNotFound, InvalidField, InvalidRequest, StorageFull
from rhocast.schemas import DENSITY_FORMATS
from tests.app.conversation import finished, refused
from tests.app.kept_densities import kept
from tests.app.samples import WATER_XYZ, crooked_salt, rock_salt
from tests.sdk.density.expansions import crystal, molecule, neutral

FORMATS = (*DENSITY_FORMATS, "coefficients")


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
        ("zarr", "density.zarr.zip", "application/octet-stream"),
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
    assert list(links) == ["chgcar", "chg", "cube", "npz", "zarr", "coefficients"]
    assert client.get(links["chgcar"]).content == client.get(job["links"]["density"]).content


def test_formats_have_different_tags_and_equal_files_equal_ones(client, url):
    tags = {name: client.get(f"{url}?format={name}").headers["etag"] for name in FORMATS}
    assert len(set(tags.values())) == len(FORMATS)
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


def test_a_conversion_for_which_there_is_no_room_is_refused(client, live, monkeypatch):
    job = finished(client, crooked_salt(seed=52))
    monkeypatch.setattr(live.client.app.state.services.artifacts, "_min_free_bytes", 10**18)
    refused(client.get(job["links"]["density"]), StorageFull, "MB free", "expected", "try again")


def test_packed_values_are_the_stored_ones_and_are_not_rounded_again(client, url):
    found, stored = (
        read(io.BytesIO(client.get(f"{url}?format={name}").content))
        for name, read in (("zarr", read_zarr), ("npz", read_npz))
    )
    np.testing.assert_allclose(found.values, stored.values, rtol=1e-12)


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
    stored = kept(artifacts, sent)
    assert stored.view.record.order in ([1, 0], [2, 0, 1])
    found = DensityExpansion.read(make(artifacts, density_recipe(stored, "coefficients")).path)
    np.testing.assert_array_equal(found.structure.numbers, sent.structure.numbers)
    np.testing.assert_array_equal(found.structure.positions, sent.structure.positions)
    np.testing.assert_array_equal(found.on_atoms.coefficients, sent.on_atoms.coefficients)
    points = np.random.default_rng(0).uniform(0, 8, (100, 3))
    np.testing.assert_allclose(found.at_points(points), sent.at_points(points), atol=1e-6)


@pytest.fixture
def older(client, live):
    """A job whose density was made before coefficients were kept."""
    services = live.client.app.state.services
    view = services.ledger.view(finished(client, rock_salt())["id"])
    task = view.tasks["promolecule"]
    result = {name: value for name, value in task.result.items() if name != "coefficients"}
    view = view.model_copy(update={"tasks": {"promolecule": task.model_copy(update={"result": result})}})
    return stored_density(services.artifacts, view, services.answers.job(view).result.density)


def test_a_result_without_coefficients_says_what_to_do(older):
    assert "coefficients" not in older.answer.artifacts
    for quantity, format in (("density", "coefficients"), ("difference", "cube")):
        with pytest.raises(
            ArtifactNotFound, match=r"has no coefficients, .* submit the structure again, or take the density on a grid"
        ):
            density_recipe(older, format, quantity)
    assert density_recipe(older, "cube").sources == (older.grid,)


class TestHead:
    @pytest.mark.parametrize("file", ["density?format=cube", "density?quantity=difference", "potential"])
    def test_what_a_file_would_be_is_told_without_making_it(self, client, file):
        url = finished(client, crooked_salt(seed=61))["links"]["self"] + "/" + file
        before = client.head(url)
        assert (before.status_code, before.content) == (200, b"")
        assert {"content-length", "repr-digest"}.isdisjoint(before.headers)
        made = client.get(url)
        after = client.head(url)
        assert (after.status_code, after.content) == (200, b"")
        assert after.headers["etag"] == before.headers["etag"] == made.headers["etag"]
        assert int(after.headers["content-length"]) == len(made.content)
        for name in ("repr-digest", "content-type", "content-disposition"):
            assert after.headers[name] == made.headers[name]
        assert client.head(url, headers={"If-None-Match": made.headers["etag"]}).status_code == 304

    def test_a_file_that_cannot_be_made_any_more_is_gone(self, client, live):
        job = finished(client, crooked_salt(seed=62))
        services = live.client.app.state.services
        task = services.ledger.view(job["id"]).tasks["promolecule"]
        services.artifacts.path(task.result["artifact"]).unlink()
        assert client.head(job["links"]["density"]).status_code == ArtifactExpired.status
        assert client.head("/v1/jobs/nobody/density").status_code == 404


class TestDerivedGrids:
    @pytest.fixture
    def artifacts(self, tmp_path):
        return ArtifactStore(tmp_path, 0)

    def read(self, artifacts, recipe) -> Density:
        return Density.read(make(artifacts, recipe).path, recipe.ending)

    @pytest.mark.parametrize("made", [crystal, molecule])
    @pytest.mark.parametrize("format", DENSITY_FORMATS)
    def test_a_difference_sums_to_no_electrons_and_with_the_free_atoms_to_the_density(self, artifacts, made, format):
        stored = kept(artifacts, neutral(made()), shape=(20, 24, 22))
        difference = self.read(artifacts, density_recipe(stored, format, "difference"))
        density = self.read(artifacts, density_recipe(stored, "npz"))
        expected = difference_to_promolecule(density, stored.expansion().free_atoms)
        scale = np.abs(expected.values).max()
        np.testing.assert_allclose(difference.values, expected.values, atol=2e-5 * scale)
        assert scale > 0.01
        assert difference.n_electrons == pytest.approx(0, abs=2e-4 if format in ("chg", "cube") else 1e-6)

    @pytest.mark.parametrize("format", DENSITY_FORMATS)
    def test_an_expected_error_integrates_to_that_of_the_atoms_in_the_users_order(self, artifacts, format):
        errors = [0.02, 0.3]
        stored = kept(artifacts, crystal().reordered(np.array([1, 0])), shape=(20, 24, 22), per_atom=errors)
        found = self.read(artifacts, density_recipe(stored, format, "error"))
        assert found.n_electrons == pytest.approx(0.32, rel=1e-5)
        expected = expected_error(found.structure, found.shape, stored.expansion().free_atoms, errors)
        np.testing.assert_allclose(found.values, expected.values, rtol=1e-4, atol=1e-12)

    def test_files_of_other_errors_have_other_names(self, artifacts):
        keys = set()
        for errors in ([0.1, 0.2], [0.2, 0.1]):
            stored = kept(artifacts, crystal(), per_atom=errors)
            keys |= {density_recipe(stored, "npz", quantity).key for quantity in ("density", "difference", "error")}
        assert len(keys) == 4

    @pytest.mark.parametrize(
        ("format", "name"),
        [("chgcar", "CHGCAR_{}"), ("chg", "CHG_{}"), ("cube", "{}.cube"), ("npz", "{}.npz"), ("zarr", "{}.zarr.zip")],
    )
    def test_name_and_comment_say_which_quantity(self, client, url, format, name):
        answer = client.get(f"{url}?format={format}&quantity=difference")
        assert answer.headers["content-disposition"].endswith(f'"{name.format("difference")}"')
        # An npz keeps text in four bytes a character.
        assert b"difference to the promolecule (rho - free atoms); rhocast 0." in answer.content.replace(b"\0", b"")

    def test_a_promolecule_differs_from_itself_by_its_rounding_alone(self, client):
        url = finished(client, crooked_salt(seed=63))["links"]["density"]
        density = read_npz(io.BytesIO(client.get(f"{url}?format=npz").content))
        difference = read_chgcar(io.BytesIO(client.get(f"{url}?quantity=difference").content))
        assert (np.abs(difference.values) <= 2.0**-12 * density.values + 1e-6).all()
        assert difference.n_electrons == pytest.approx(0, abs=1e-6)

    def test_a_density_without_errors_of_atoms_says_so(self, client, url):
        words = ["has no expected error of each atom", "expected a model that gives one", "quantity=density"]
        refused(client.get(f"{url}?quantity=error"), ArtifactNotFound, *words)

    @pytest.mark.parametrize("quantity", ["difference", "error"])
    def test_coefficients_are_only_of_the_density(self, client, url, quantity):
        words = [f"quantity={quantity} with format=coefficients", "of the density itself", "take a grid (chgcar"]
        refused(client.get(f"{url}?quantity={quantity}&format=coefficients"), InvalidField, *words)

    def test_an_unknown_quantity_is_refused(self, client, url):
        refused(client.get(f"{url}?quantity=spin"), InvalidField, "query.quantity", "'difference'", "'spin'")


class TestPotential:
    @pytest.mark.parametrize("format", ["locpot", "cube"])
    def test_one_of_a_molecule_is_written(self, tmp_path, format):
        artifacts = ArtifactStore(tmp_path, 0)
        stored = kept(artifacts, neutral(molecule()), (20, 22, 24))
        file = make(artifacts, potential_recipe(stored, format))
        expected = stored.potential()
        assert "zero at infinity" in expected.comment
        if format == "locpot":
            np.testing.assert_allclose(Potential.read(file.path).values, expected.values, atol=1e-8)
        else:
            hartree_over_e = Density.read(file.path, "cube").values * BOHR**3  # read as if it were e/bohr³
            np.testing.assert_allclose(hartree_over_e, -expected.values / 27.211386245988, rtol=1e-4, atol=1e-6)

    def test_it_is_that_of_the_downloaded_density(self, client):
        job = finished(client, crooked_salt(seed=64))
        density = read_npz(io.BytesIO(client.get(f"{job['links']['density']}?format=npz").content))
        expected = electrostatic_potential(density, {"Na": 7, "Cl": 7})
        answer = client.get(job["links"]["potential"])
        assert answer.headers["content-disposition"] == 'attachment; filename="LOCPOT"'
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        np.testing.assert_allclose(read_locpot(io.BytesIO(answer.content)).values, expected.values, atol=1e-8)
        cube = client.get(f"{job['links']['potential']}?format=cube")
        assert cube.headers["content-disposition"] == 'attachment; filename="potential.cube"'
        assert cube.text.startswith("electrostatic potential in hartree/e, - U of: potential energy of an electron")

    def test_one_that_takes_too_much_memory_is_refused(self, client, monkeypatch):
        monkeypatch.setattr("app.stored_density.LARGEST_POTENTIAL", 8 * 12**3 - 1)
        molecule, salt = (finished(client, one)["links"]["potential"] for one in ({"text": WATER_XYZ}, rock_salt()))
        assert client.get(salt).status_code == 200
        problem = client.get(molecule).json()
        assert (problem["status"], problem["code"]) == (413, "TooLarge")
        assert "found a potential that is solved on 1.38e+04 points" in problem["detail"]
