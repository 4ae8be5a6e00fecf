import base64
import hashlib
import io

import numpy as np
import pytest

from rhocast import Density, Result
from rhocast.density import write_npz
from rhocast.density.expansion_npz import write_expansion
from rhocast.errors import ArtifactNotFound, ConnectionFailed, DamagedDownload, UnsupportedFormat
from tests.sdk.density.expansions import molecule


@pytest.fixture
def result(server, client, job_record) -> Result:
    server.answer(job_record(warnings=["take <care>"]))
    made = client.job("j1").result()
    server.seen.clear()
    return made


@pytest.fixture
def content(result) -> bytes:
    stream = io.BytesIO()
    write_npz(Density(result.structure, np.full((2, 2, 3), 0.2)), stream)
    return stream.getvalue()


def digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def test_numbers_are_arrays_in_the_order_of_the_atoms(result):
    assert result.energy == -10.8
    assert result.energy_per_atom == -5.4
    assert result.energies.tolist() == [-5.5, -5.3]
    assert result.forces.tolist() == [[0.0, 0.0, 0.3], [0.0, 0.4, 0.0]]
    assert result.stress.shape == (3, 3)
    assert result.magmoms.tolist() == [0.5, -0.5]
    assert result.structure.symbols == ["Si", "Si"]
    assert result.structure.is_periodic
    assert result.job_id == "j1"
    assert result.compute_seconds == 0.25
    assert result.warnings == ["take <care>"]


def test_each_property_says_where_it_comes_from_and_how_far_to_trust_it(result):
    assert result.provenance["density"].model == "promolecule"
    assert result.provenance["forces"].model == "chgnet"
    assert result.uncertainty["energy"].reason == "none yet"


def test_the_density_is_downloaded_once(server, result, content):
    server.answer(content, repr_digest=digest(content))
    assert np.allclose(result.density().values, 0.2)
    assert result.density() is result.density()
    assert [seen.path for seen in server.seen] == ["/v1/jobs/j1/density?format=npz"]
    assert server.seen[0].headers["accept-encoding"] == "identity"


def test_the_coefficients_are_downloaded_once(server, result):
    stream = io.BytesIO()
    write_expansion(molecule(), stream)
    server.answer(stream.getvalue(), repr_digest=digest(stream.getvalue()))
    assert result.expansion().n_electrons == molecule().n_electrons
    assert result.expansion() is result.expansion()
    assert [seen.path for seen in server.seen] == ["/v1/jobs/j1/density?format=coefficients"]


def test_a_damaged_density_is_not_kept(server, result, content):
    server.answer(content[:-1] + b"x", repr_digest=digest(content))
    with pytest.raises(DamagedDownload):
        result.density()
    server.answer(content, repr_digest=digest(content))
    assert result.density().shape == (2, 2, 3)


def test_a_download_is_the_server_s_file(server, result, tmp_path):
    server.answer(b"text of a CHGCAR", repr_digest=digest(b"text of a CHGCAR"))
    assert result.download(tmp_path / "CHGCAR").read_bytes() == b"text of a CHGCAR"
    assert server.seen[0].path == "/v1/jobs/j1/density?format=chgcar"
    assert [path.name for path in tmp_path.iterdir()] == ["CHGCAR"]


def test_the_format_of_a_download_is_in_its_name_or_said(server, result, tmp_path):
    for name, format, expected in (
        ("CHG", None, "chg"),
        ("a.cube", None, "cube"),
        ("density", "npz", "npz"),
        ("water.coefficients.npz", None, "coefficients"),
        ("water.npz", "coefficients", "coefficients"),
        ("a.coefficients.npz", "npz", "npz"),
    ):
        server.answer(b"x")
        result.download(tmp_path / name, format)
        assert server.seen[-1].path.endswith(f"format={expected}")


def test_a_name_without_a_format_is_refused(result, tmp_path):
    with pytest.raises(UnsupportedFormat, match="found the file name 'density'"):
        result.download(tmp_path / "density")


def test_a_damaged_download_leaves_what_was_there(server, result, tmp_path):
    (tmp_path / "CHGCAR").write_text("old")
    server.answer(b"new", repr_digest=digest(b"other"))
    with pytest.raises(DamagedDownload):
        result.download(tmp_path / "CHGCAR")
    assert (tmp_path / "CHGCAR").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["CHGCAR"]


def test_a_folder_is_no_file_to_write(server, result, tmp_path):
    with pytest.raises(IsADirectoryError, match="it is a folder; add a file name"):
        result.download(tmp_path, "chgcar")
    with pytest.raises(FileNotFoundError):
        result.download(tmp_path / "missing" / "CHGCAR")
    assert server.seen == []


def test_what_was_not_wanted_says_what_was(server, client, job_record):
    record = job_record(want=["density"])
    record["result"]["potential"] = None
    server.answer(record)
    result = client.job("j1").result()
    for name in ("energy", "energy_per_atom", "energies", "forces", "stress", "magmoms"):
        with pytest.raises(ArtifactNotFound, match=r"did not want \w+; it wanted density; submit with want=\['\w+'\]"):
            getattr(result, name)
    assert set(result.provenance) == {"density"}


def test_a_density_that_was_not_wanted_is_not_asked_for(server, client, job_record, tmp_path):
    record = job_record(want=["energy", "forces"])
    record["result"]["density"] = None
    record["result"]["potential"]["stress"] = None
    server.answer(record)
    result = client.job("j1").result()
    sentence = r"did not want density; it wanted energy, forces; submit with want=\['density'\]"
    with pytest.raises(ArtifactNotFound, match=sentence):
        result.density()
    for asked in (lambda: result.download(tmp_path / "CHGCAR"), result.charges, result.profile):
        with pytest.raises(ArtifactNotFound, match=sentence):
            asked()
    with pytest.raises(ArtifactNotFound, match=r"did not want stress"):
        _ = result.stress


def test_a_result_shows_itself_in_a_line_and_in_a_table(result):
    assert repr(result) == "<Result of job j1: density, energy, forces, stress, magmoms of Si2>"
    table = result._repr_html_()
    assert "<td>8 e (Si 4)</td>" in table
    assert "<td>0.400000 eV/Å</td>" in table
    assert "take &lt;care&gt;" in table


def test_a_summary_has_what_was_wanted(server, client, job_record):
    record = job_record(want=["energy"], was_cached=True)
    record["result"]["density"] = None
    record["result"]["potential"]["forces"] = None
    server.answer(record)
    summary = client.job("j1").result().summary()
    assert list(summary) == ["formula", "atoms", "model", "energy", "seconds"]
    assert summary["energy"] == "-10.800000 eV (-5.400000 eV an atom)"
    assert summary["seconds"] == "0.25 (known before)"


@pytest.mark.parametrize(
    ("uncertainty", "row"),
    [
        ({"value": 0.0081, "upper": 0.01309, "coverage": 0.9}, "0.81 % (90 %: ≤ 1.3 %)"),
        ({"value": 0.0081}, "0.81 %"),
        ({"value": 0.0081, "coverage": 0.9}, "0.81 %"),
        ({"reason": "an atom is unfamiliar", "unfamiliar_atoms": [1]}, None),
    ],
)
def test_an_expected_error_is_in_the_summary(server, client, job_record, uncertainty, row):
    record = job_record()
    record["result"]["density"]["uncertainty"] = uncertainty
    server.answer(record)
    result = client.job("j1").result()
    assert result.summary().get("expected NMAE") == row
    assert result.uncertainty["density"].value == uncertainty.get("value")


def test_a_density_without_counted_elements_still_has_a_summary(server, client, job_record):
    record = job_record()
    record["result"]["density"]["provenance"] = record["result"]["density"]["provenance"] | {"valence_electrons": None}
    record["result"]["potential"] = None
    server.answer(record)
    assert client.job("j1").result().summary()["valence electrons"] == "8 e"


@pytest.mark.parametrize("quantity", ["difference", "error"])
def test_what_is_derived_of_the_density_is_downloaded_once(server, result, content, tmp_path, quantity):
    server.answer(content, repr_digest=digest(content))
    assert np.allclose(result.density(quantity=quantity).values, 0.2)
    assert result.density(quantity=quantity) is result.density(quantity=quantity)
    server.answer(content)
    assert result.density() is not result.density(quantity=quantity)
    server.answer(b"text")
    result.download(tmp_path / "a.cube", quantity=quantity)
    paths = [f"npz&quantity={quantity}", "npz", f"cube&quantity={quantity}"]
    assert [seen.path for seen in server.seen] == [f"/v1/jobs/j1/density?format={path}" for path in paths]


def test_charges_are_computed_by_the_service(server, result):
    server.answer({"symbols": ["Si", "Si"], "charges": [0.25, -0.25], "n_unassigned": 0.0})
    assert result.charges().tolist() == [0.25, -0.25]
    assert server.seen[0].path == "/v1/jobs/j1/charges"


def test_profiles_are_computed_by_the_service(server, result):
    numbers = {"distances": [0.0, 1.0], "values": [0.1, 0.2], "windows": [2.0, 2.5], "averaged": [0.15, 0.15]}
    words = {"quantity": "potential", "unit": "eV", "about": "U", "axis": "a"}
    server.answer(numbers | words | {"height": 2.0, "area": 9.0, "from_a_newer_server": 1})
    assert result.profile("a", "potential", [2.0, 2.5]).averaged == [0.15, 0.15]
    assert server.seen[0].path == "/v1/jobs/j1/profile?axis=a&quantity=potential&window=2.0&window=2.5"


def test_a_comparison_is_made_by_the_service(server, result):
    numbers = {"nmae": 1.5, "absolute_difference": 0.12, "largest_difference": 0.1, "largest_difference_at": [0, 0, 0]}
    server.answer(numbers | {"n_electrons": [8.0, 8.0], "shape": [2, 2, 3], "notes": ["regridded"]})
    assert result.comparison("j/2").nmae == 1.5
    assert server.seen[0].path == "/v1/jobs/j1/comparison?with=j%2F2"


def test_what_the_service_refuses_or_mangles_is_an_error(server, result):
    server.problem("ArtifactNotFound", 404, "found no coefficients")
    with pytest.raises(ArtifactNotFound, match="found no coefficients"):
        result.charges()
    server.answer({"charges": "many"})
    with pytest.raises(ConnectionFailed, match="found an answer of the service that is no rhocast chargesanswer"):
        result.charges()
