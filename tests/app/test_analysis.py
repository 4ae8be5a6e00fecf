"""What is learned from a finished job's density, over HTTP: as the SDK has it of the downloaded file."""

import io
import re
from pathlib import Path

import numpy as np
import pytest

from rhocast.analysis_schemas import (
    ChargesAnswer,
    ComparisonAnswer,
    LineAnswer,
    MomentsAnswer,
    ProfileAnswer,
)
from rhocast.density import (
    Density,
    DensityExpansion,
    compare,
    difference_to_promolecule,
    electrostatic_potential,
    hirshfeld_charges,
    line_profile,
    macroscopic_average,
    planar_average,
    read_npz,
    vacuum_level,
)
from rhocast.density.expansion_npz import read_expansion
from rhocast.errors import (
    ArtifactExpired,
    ArtifactNotFound,
    InvalidField,
    InvalidStructure,
    JobNotFinished,
    JobNotFound,
    TooLarge,
)
from tests.app.conversation import finished, posted, refused
from tests.app.samples import WATER_XYZ, crooked_salt, permuted, plain, rock_salt

VALENCE = {"Na": 7.0, "Cl": 7.0, "O": 6.0, "H": 1.0}
ANALYSES = ("charges", "moments", "profile", "line?start=0,0,0&end=1,1,1", "comparison?with={}")


def downloaded(client, job) -> tuple[Density, DensityExpansion]:
    """The density of a job as npz, and as coefficients."""
    url = job["links"]["density"]
    grid, coefficients = (client.get(f"{url}?format={name}").content for name in ("npz", "coefficients"))
    return read_npz(io.BytesIO(grid)), read_expansion(io.BytesIO(coefficients))


SCHEMAS = {
    "charges": ChargesAnswer,
    "moments": MomentsAnswer,
    "profile": ProfileAnswer,
    "line": LineAnswer,
    "comparison": ComparisonAnswer,
}


def answered(client, job, path: str):
    """An answer that is as its schema says."""
    answer = client.get(f"{job['links']['self']}/{path}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert SCHEMAS[path.partition("?")[0]].model_validate_json(answer.content, strict=True)
    return answer.json()


@pytest.fixture
def salt(client):
    return finished(client, crooked_salt(seed=71), grid={"shape": [20, 18, 24]})


@pytest.fixture
def water(client):
    return finished(client, {"text": WATER_XYZ}, grid={"shape": [30, 32, 28]})


class TestCharges:
    def test_they_are_those_of_the_downloaded_density(self, client, salt):
        density, expansion = downloaded(client, salt)
        expected = hirshfeld_charges(density, expansion.free_atoms)
        found = answered(client, salt, "charges")
        assert found["method"] == "hirshfeld"
        assert found["symbols"] == density.structure.symbols
        np.testing.assert_allclose(found["charges"], expected.charges, atol=1e-10)
        assert found["n_unassigned"] == pytest.approx(expected.n_unassigned, abs=1e-10)

    def test_free_atoms_have_none(self, client, water):
        np.testing.assert_allclose(answered(client, water, "charges")["charges"], 0, atol=5e-3)

    def test_those_of_permuted_atoms_are_permuted(self, client, salt):
        order = [3, 1, 0, 2, 7, 6, 4, 5]
        other = finished(client, permuted(crooked_salt(seed=71), order), grid={"shape": [20, 18, 24]})
        one, other = (answered(client, each, "charges")["charges"] for each in (salt, other))
        np.testing.assert_allclose(other, np.array(one)[order], atol=1e-12)


class TestMoments:
    def test_a_crystal_has_electrons_and_a_reason(self, client, salt):
        found = answered(client, salt, "moments")
        assert found["n_electrons"] == pytest.approx(8 * 7)
        assert (found["dipole"], found["quadrupole"], found["origin"]) == (None, None, None)
        assert found["reason"] == "dipole and quadrupole of a cell that repeats are undefined"


class TestProfile:
    @pytest.mark.parametrize("axis", ["a", "b", "c"])
    def test_it_is_that_of_the_downloaded_density(self, client, salt, axis):
        found = answered(client, salt, f"profile?axis={axis}&window=1.5&window=2.5")
        expected = planar_average(downloaded(client, salt)[0], "abc".index(axis))
        averaged = macroscopic_average(macroscopic_average(expected, 1.5), 2.5)
        np.testing.assert_allclose(found["distances"], expected.distances, atol=1e-12)
        np.testing.assert_allclose(found["values"], expected.values, atol=1e-10)
        np.testing.assert_allclose(found["averaged"], averaged.values, atol=1e-10)
        assert (found["axis"], found["windows"], found["quantity"], found["unit"]) == (
            axis,
            [1.5, 2.5],
            "density",
            "e/Å³",
        )
        assert np.mean(found["values"]) * found["height"] * found["area"] == pytest.approx(56)
        assert found["about"].startswith("rhocast 0.")

    def test_the_default_is_along_c_and_without_windows(self, client, salt):
        found = answered(client, salt, "profile")
        assert (found["axis"], found["windows"], found["averaged"], found["vacuum"]) == ("c", [], None, None)
        assert len(found["values"]) == 24

    def test_a_slab_has_a_vacuum_level_and_a_crystal_none(self, client, salt):
        cell = np.diag([4.0, 4.0, 16.0])
        slab = finished(client, plain(["Na", "Cl"], [[0, 0, 0.0], [2, 2, 0.1]], cell), grid={"shape": [16, 16, 60]})
        found = answered(client, slab, "profile?quantity=potential")
        potential = electrostatic_potential(downloaded(client, slab)[0], VALENCE)
        expected = vacuum_level(potential, 2)
        assert found["vacuum"] == pytest.approx(vars(expected), abs=1e-9)
        np.testing.assert_allclose(found["values"], planar_average(potential, 2).values, atol=1e-9)
        assert (found["unit"], found["no_vacuum_because"]) == ("eV", None)
        assert found["about"].startswith(
            "potential energy of an electron in eV, electrostatic, mean zero; ions Na 7, Cl"
        )
        crowded = answered(client, salt, "profile?quantity=potential")
        assert crowded["vacuum"] is None
        assert "between layers of atoms along axis c; expected a vacuum" in crowded["no_vacuum_because"]

    def test_a_difference_has_one_too(self, client, salt):
        density, expansion = downloaded(client, salt)
        expected = planar_average(difference_to_promolecule(density, expansion.free_atoms), 2)
        found = answered(client, salt, "profile?quantity=difference")
        np.testing.assert_allclose(found["values"], expected.values, atol=1e-10)
        assert found["about"].startswith("difference to the promolecule (rho - free atoms)")

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("window=99", ["found a window of 99 Å", "expected the distance of equivalent layers"]),
            ("window=0", ["found a window of 0 Å"]),
            ("axis=z", ["query.axis", "'a', 'b' or 'c'"]),
            ("quantity=spin", ["query.quantity", "'potential'"]),
            ("window=1&window=1&window=1&window=1&window=1", ["query.window", "at most 4"]),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, client, salt, query, words):
        refused(client.get(f"{salt['links']['profile']}?{query}"), InvalidField, *words)

    def test_a_density_without_errors_of_atoms_says_so(self, client, salt):
        refused(client.get(f"{salt['links']['profile']}?quantity=error"), ArtifactNotFound, "no expected error of each")

    @pytest.mark.parametrize("path", ["profile?quantity=potential", "line?quantity=potential&start=0,0,0&end=1,0,0"])
    def test_a_potential_that_takes_too_much_memory_is_refused(self, client, salt, monkeypatch, path):
        monkeypatch.setattr("app.stored_density.LARGEST_POTENTIAL", 1000)
        refused(client.get(f"{salt['links']['self']}/{path}"), TooLarge, "8.64e+03 points", "larger spacing")


class TestLine:
    def test_it_is_that_of_the_downloaded_density(self, client, salt):
        density, _ = downloaded(client, salt)
        ends = np.array([[0, 0.1, 0], [1, 0.5, 0.25]])
        for unit, start_end in (("angstrom", ends @ density.structure.cell), ("cell", ends)):
            start, end = (",".join(map(repr, one)) for one in start_end.tolist())
            found = answered(client, salt, f"line?start={start}&end={end}&unit={unit}&points=31")
            expected = line_profile(density, *(ends @ density.structure.cell).tolist(), 31)
            np.testing.assert_allclose(found["distances"], expected.distances, atol=1e-12)
            np.testing.assert_allclose(found["positions"], expected.positions, atol=1e-12)
            np.testing.assert_allclose(found["values"], expected.values, atol=1e-10)

    def test_a_potential_is_followed_too(self, client, salt):
        found = LineAnswer(**answered(client, salt, "line?start=0,0,0&end=0,0,3&quantity=potential&points=2"))
        values = electrostatic_potential(downloaded(client, salt)[0], VALENCE).values
        assert found.values[0] == pytest.approx(values[0, 0, 0], abs=1e-9)
        assert (found.unit, found.quantity) == ("eV", "potential")

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("start=0,0&end=1,1,1", ["found the position '0,0'", "three numbers such as 0,0,1.5"]),
            ("start=0,0,x&end=1,1,1", ["found the position '0,0,x'"]),
            ("start=0,0,nan&end=1,1,1", ["found the position '0,0,nan'", "finite numbers"]),
            ("start=1,1,1&end=1,1,1", ["found a line from [1.0, 1.0, 1.0] to", "two different positions"]),
            ("start=0,0,0&end=1,1,1&points=1", ["query.points"]),
            ("start=0,0,0", ["query.end", "Field required"]),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, client, salt, query, words):
        refused(client.get(f"{salt['links']['self']}/line?{query}"), InvalidField, *words)

    def test_a_line_that_leaves_a_molecules_box_is_refused(self, client, water):
        url = f"{water['links']['self']}/line?start=0,0,0&end=99,0,0"
        refused(client.get(url), InvalidField, "outside the box of a molecule", "expected positions inside")


class TestComparison:
    def test_it_is_that_of_the_downloaded_densities(self, client, salt):
        other = finished(client, crooked_salt(seed=72), grid={"shape": [24, 18, 20]})
        a, b = (downloaded(client, job)[0] for job in (salt, other))
        expected = compare(a, b)
        found = answered(client, salt, f"comparison?with={other['id']}")
        assert found["nmae"] == pytest.approx(expected.nmae, rel=1e-9)
        assert found["absolute_difference"] == pytest.approx(expected.absolute_difference, rel=1e-9)
        assert found["shape"] == [24, 18, 24]
        assert found["n_electrons"] == pytest.approx([56, 56])
        assert found["notes"] == list(expected.notes)
        assert "A was brought from 20 × 18 × 24 to 24 × 18 × 24 points" in found["notes"]
        assert found["largest_difference"] == pytest.approx(np.abs(expected.difference.values).max())
        there = line_profile(expected.difference, found["largest_difference_at"], [0.1, 0.2, 0.3], 2).values[0]
        assert abs(there) == pytest.approx(found["largest_difference"], rel=1e-6)

    def test_a_job_does_not_differ_from_itself(self, client, salt):
        found = answered(client, salt, f"comparison?with={salt['id']}")
        assert (found["nmae"], found["largest_difference"], found["dipole_change"]) == (0, 0, None)

    def test_molecules_have_a_change_of_their_dipole(self, client, water):
        other = finished(client, {"text": WATER_XYZ}, grid={"shape": [20, 22, 24]})
        found = answered(client, water, f"comparison?with={other['id']}")
        np.testing.assert_allclose(found["dipole_change"], 0, atol=0.05)
        np.testing.assert_allclose(
            found["dipole_change_in_debye"], 4.8032 * np.array(found["dipole_change"]), rtol=1e-4
        )

    def test_another_cell_is_refused(self, client, salt):
        other = finished(client, rock_salt())
        url = f"{salt['links']['self']}/comparison?with={other['id']}"
        refused(client.get(url), InvalidStructure, "found cells of A and B whose vectors differ", "expected one cell")

    def test_a_reference_that_nobody_knows_is_not_found(self, client, salt):
        refused(client.get(f"{salt['links']['self']}/comparison?with=nobody"), JobNotFound, "no job 'nobody'")
        refused(client.get(f"{salt['links']['self']}/comparison"), InvalidField, "query.with", "Field required")


@pytest.mark.parametrize("name", [*ANALYSES, "potential"])
class TestStates:
    def test_nothing_is_learned_of_a_job_that_has_not_ended(self, app_of, name):
        client = app_of()
        job = posted(client, rock_salt()).json()
        words = ["queued", "expected it to have ended", "ask again later"]
        refused(client.get(f"/v1/jobs/{job['id']}/{name.format(job['id'])}"), JobNotFinished, *words)

    def test_nor_of_one_without_a_density(self, client, name):
        job = finished(client, rock_salt(), want=["energy"])
        assert set(job["links"]) == {"self"}
        url = f"/v1/jobs/{job['id']}/{name.format(job['id'])}"
        refused(client.get(url), ArtifactNotFound, "has no density", "it wanted energy", "submit one that wants it")

    def test_nor_of_one_that_nobody_knows(self, client, name):
        refused(client.get(f"/v1/jobs/nobody/{name.format('nobody')}"), JobNotFound, "no job 'nobody'")

    def test_what_was_computed_is_kept_and_known_by_its_tag(self, client, live, name):
        job = finished(client, crooked_salt(seed=73))
        url = f"{job['links']['self']}/{name.format(job['id'])}"
        first = client.get(url)
        again = finished(client, crooked_salt(seed=73))
        services = live.client.app.state.services
        task = services.ledger.view(job["id"]).tasks["promolecule"]
        kept_objects = [services.artifacts.path(task.result[one]) for one in ("artifact", "coefficients")]
        for path in kept_objects:
            path.rename(path.with_suffix(".away"))
        try:
            second = client.get(f"{again['links']['self']}/{name.format(again['id'])}")
            other = client.get(url.replace("start=0", "start=0.5"), headers={"If-None-Match": first.headers["etag"]})
        finally:
            for path in kept_objects:
                path.with_suffix(".away").rename(path)
        assert (second.status_code, second.content) == (200, first.content)
        assert second.headers["etag"] == first.headers["etag"]
        assert other.status_code == (410 if name.startswith("line") else 304)


def test_what_can_be_computed_no_more_says_so(client, live):
    job = finished(client, crooked_salt(seed=74))
    services = live.client.app.state.services
    task = services.ledger.view(job["id"]).tasks["promolecule"]
    services.artifacts.path(task.result["coefficients"]).unlink()
    refused(client.get(job["links"]["charges"]), ArtifactExpired, "no longer kept", "submit the structure again")
    assert client.get(job["links"]["profile"]).status_code == 200


def test_the_curl_lines_of_the_documentation_are_answered(client, salt):
    text = (Path(__file__).parents[2] / "docs" / "analysis.md").read_text(encoding="utf-8")
    lines = re.findall(r'^curl (--head )?"\$JOB(/[^"]+)"', text, re.MULTILINE)
    assert len(lines) > 8
    for head, path in lines:
        url = salt["links"]["self"] + path.replace("$OTHER", salt["id"])
        answer = client.request("HEAD" if head else "GET", url)
        assert answer.status_code == (404 if "error" in path else 200), (path, answer.text)
