"""The page does in a real Chromium what it is for."""

import io
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rhocast.density import Density
from tests.conftest import EXAMPLES
from tests.end_to_end.processes import Stack

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

SILICON = (EXAMPLES / "Si.cif").read_text(encoding="utf-8")
WATER = (EXAMPLES / "water.xyz").read_text(encoding="utf-8")
SALT = (EXAMPLES / "NaCl.poscar").read_text(encoding="utf-8")
BROKEN = SILICON.replace("_cell_length_a                   5.431", "_cell_length_a                   wide")


def pixels(page: Any) -> np.ndarray:
    """What is drawn, [height, width, 3]."""
    with Image.open(io.BytesIO(page.locator("#picture").screenshot())) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def n_bluish(image: np.ndarray) -> int:
    return int(np.sum(image[..., 2] - image[..., 0] > 15))


def n_orange(image: np.ndarray) -> int:
    return int(np.sum((image[..., 0] - image[..., 2] > 40) & (image[..., 1] - image[..., 2] > 15)))


@contextmanager
def paused(stack: Stack) -> Iterator[None]:
    """The worker stands still meanwhile."""
    assert stack.worker.process is not None
    os.kill(stack.worker.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(stack.worker.process.pid, signal.SIGCONT)


def test_a_dropped_file_becomes_an_isosurface_that_the_slider_changes(visit):
    silicon = visit()
    silicon.drop("Si.cif", SILICON)
    assert silicon.page.inner_text("#file-name") == "Si.cif"
    silicon.submit()
    n_triangles = silicon.wait_for_surface()
    assert n_triangles > 1000
    assert silicon.page.inner_text("#result-title") == "Si8 8 atoms"
    assert silicon.focused() == "result-title"
    n_first = n_bluish(pixels(silicon.page))
    assert n_first > 2000
    silicon.page.fill("#level-number", "0.5")  # near the highest density: little is left
    silicon.page.press("#level-number", "Enter")
    silicon.until(lambda: silicon.n_triangles() < n_triangles / 2)
    assert n_bluish(pixels(silicon.page)) < n_first / 2
    n_before = silicon.n_triangles()
    silicon.page.focus("#level")
    silicon.page.keyboard.press("PageDown")
    silicon.until(lambda: silicon.n_triangles() > n_before)
    assert "e/Å³, encloses" in silicon.page.get_attribute("#level", "aria-valuetext")


def test_a_long_job_shows_how_far_it_is_until_it_has_ended(visit):
    water = visit()
    water.paste(WATER, "density")
    water.page.select_option("#density-model", "promolecule")
    water.page.fill("#spacing", "0.06")
    water.submit()
    water.page.wait_for_selector("#progress:not([hidden])")
    bar = water.page.locator("#progress progress")
    done, total = bar.evaluate("(bar) => [bar.value, bar.max]")
    assert total > 150
    assert done < total
    assert done % 64 == 0
    assert re.fullmatch(rf"\d+ of {total}", water.page.inner_text("#progress-text"))
    water.wait_for_surface()
    assert not water.page.is_visible("#progress")


def test_what_is_downloaded_is_the_density_with_all_its_electrons(visit, tmp_path: Path):
    silicon = visit()
    silicon.paste(SILICON, "density")
    silicon.submit()
    silicon.wait_for_surface()
    for name, file_name in (("CHGCAR", "CHGCAR"), ("cube", "density.cube"), ("npz", "density.npz")):
        with silicon.page.expect_download() as waiting:
            silicon.page.click(f"#files a:text-is('{name}')")
        assert waiting.value.suggested_filename == file_name
        waiting.value.save_as(tmp_path / file_name)
        assert Density.read(tmp_path / file_name).n_electrons == pytest.approx(32, rel=1e-5)
    read = silicon.page.evaluate(
        """async (path) => {
            const { floatArray } = await import("/web/npz.js");
            const { values, shape } = floatArray(await (await fetch(path)).arrayBuffer(), "values");
            return [shape, Array.from(values.slice(0, 1000))];
        }""",
        silicon.page.get_attribute("#files a:text-is('npz')", "href"),
    )
    with np.load(tmp_path / "density.npz") as arrays:
        assert tuple(read[0]) == arrays["values"].shape
        assert read[1] == arrays["values"].ravel()[:1000].tolist()


def test_numbers_have_units_and_say_where_they_come_from(visit, stack: Stack):
    salt = visit()
    salt.paste(SALT, "density", "energy", "forces", "stress", "magmoms")
    salt.submit()
    salt.wait_for_surface()
    job = salt.page.evaluate(
        "async (path) => (await fetch(path)).json()", f"/v1/jobs/{salt.page.url.split('#job=')[1]}"
    )
    potential, text = job["result"]["potential"], salt.page.inner_text("#numbers")
    energy = f"{potential['energy']:.4f}".replace("-", "−")
    pressure = -160.21766208 * np.trace(potential["stress"]) / 3
    for line in (
        "Electrons\t14.0000\te",
        f"Energy\t{energy}\teV",
        f"Pressure\t{pressure:.3f}\tGPa".replace("-", "−"),
        "Largest force\t0.0000\teV/Å",
        "promolecule",
        "PBE(+U), VASP",
        "Na 7, Cl 7",
        "Modified BSD",
    ):
        assert line in text
    salt.page.click("summary")
    assert "0 Na" in salt.page.inner_text("details")


def test_the_difference_to_free_atoms_has_lobes_of_two_colours(visit):
    water = visit()
    water.paste(WATER, "density")
    water.submit()
    water.wait_for_surface()
    water.page.uncheck("#show-atoms")
    assert n_orange(pixels(water.page)) == 0
    water.page.check("input[value=difference]")
    water.until(lambda: "orange: fewer" in water.page.inner_text("#level-note"))
    water.until(lambda: min(n_orange(pixels(water.page)), n_bluish(pixels(water.page))) > 200)


def test_a_model_without_bonding_has_no_difference(visit):
    water = visit()
    water.paste(WATER, "density")
    water.page.select_option("#density-model", "promolecule")
    assert "83 elements" in water.page.inner_text("#density-model-note")
    water.submit()
    water.wait_for_surface()
    water.page.check("input[value=difference]")
    water.until(lambda: "no difference beyond the rounding" in water.page.inner_text("#level-note"))
    water.until(lambda: water.n_triangles() == 0)


def test_a_large_grid_is_drawn_from_a_coarser_one(visit):
    water = visit()
    water.paste(WATER, "density")
    water.page.select_option("#density-model", "promolecule")
    water.page.fill("#spacing", "0.08")
    water.submit()
    assert water.wait_for_surface() > 500
    (drawn,) = re.findall(r"Drawn from a coarser grid, (\d+) × (\d+) × (\d+)\.", water.page.inner_text("#state"))
    (full,) = re.findall(r"Grid\t(\d+) × (\d+) × (\d+)", water.page.inner_text("#numbers"))
    assert np.prod([int(n) for n in full]) > 1_500_000
    assert np.prod([int(n) for n in drawn]) == pytest.approx(500_000, rel=0.1)


def test_an_expected_error_is_shown_with_its_bound_and_by_atom(visit, stack: Stack):
    reply = stack.client.post("/v1/predictions", files={"file": WATER}, headers={"Prefer": "wait=60"})
    job = reply.json()
    job["result"]["density"]["uncertainty"] = {
        "value": 0.0123, "upper": 0.0456, "coverage": 0.9, "per_atom": [0.08, 0.01, 0.0084], "reason": None,
    }  # fmt: skip
    text = visit().page.evaluate(
        """async (job) => {
            const { answer } = await import("/web/answer.js");
            const all = document.getElementById("numbers");
            all.replaceChildren(...answer(job, [], console.error));
            document.getElementById("result").hidden = false;
            all.querySelector("details").open = true;
            return all.innerText;
        }""",
        job,
    )
    assert "Expected error (NMAE)\t1.2\t%" in text
    assert "Error in 90 of 100 such structures\t< 4.6\t%" in text
    assert "expected error, e" in text
    assert "0 O\t0.0800" in text
    assert "not known" not in text


def test_warnings_stand_before_the_numbers(visit):
    water = visit()
    water.paste(WATER, "energy")
    water.submit()
    water.page.wait_for_selector("#warnings p", state="visible")
    assert (
        water.page.inner_text("#warnings")
        == "chgnet was made for crystals, not for a molecule: do not trust its numbers here."
    )
    water.page.wait_for_selector("#picture canvas")
    assert not water.page.is_visible("#surface-controls")


def test_a_broken_file_gives_the_sentence_of_the_service(visit, stack: Stack, tmp_path: Path):
    reply = stack.client.post("/v1/predictions", files={"file": ("Si.cif", BROKEN)})
    assert reply.status_code == 400
    (tmp_path / "broken.cif").write_text(BROKEN)
    broken = visit()
    broken.page.set_input_files("#file", tmp_path / "broken.cif")
    broken.submit()
    assert reply.json()["detail"][1:].rstrip(".") in broken.alert()
    assert broken.focused() == "alert"
    assert broken.page.get_attribute("#alert", "role") == "alert"
    assert broken.complaints.pop().startswith("Failed to load resource: the server responded with a status of 400")
    broken.paste(WATER, "density")
    broken.submit()
    broken.wait_for_surface()  # and the next one is answered
    assert not broken.page.is_visible("#alert")


def test_nothing_to_send_is_said_without_asking(visit):
    empty = visit()
    empty.submit()
    assert "Found no structure; expected a file or text" in empty.alert()


def test_too_large_a_file_is_said_to_be(visit):
    large = visit()
    large.paste("#" * 150_000, "density")
    large.submit()
    assert "Found a body of more than 0.1 MB" in large.alert()
    assert "status of 413" in large.complaints.pop()


def test_when_the_service_is_gone_the_request_can_be_repeated(visit):
    water = visit()
    water.paste(WATER, "density")
    water.context.set_offline(True)
    water.submit()
    assert "nothing answers at" in water.alert()
    water.complaints.clear()
    water.context.set_offline(False)
    water.page.click("#alert button")
    assert water.wait_for_surface() > 500


def test_a_busy_service_is_waited_for_and_a_job_can_be_cancelled(visit, stack: Stack):
    waiting, refused = visit(), visit()
    with paused(stack):
        waiting.paste(SALT.replace("2.820", "2.821"), "energy")
        waiting.submit()
        waiting.page.wait_for_selector("#state:has-text('Waiting for a worker')")
        refused.paste(SALT.replace("2.820", "2.822"), "energy")
        refused.submit()
        assert "Too many requests" in refused.alert()
        assert "asks to wait" in refused.alert()
        assert "status of 429" in refused.complaints.pop()
        waiting.page.click("#state button")
        waiting.page.wait_for_selector("#state:has-text('It was cancelled')")
    refused.page.click("#alert button")
    refused.page.wait_for_selector("#numbers table")


def test_a_shared_link_shows_the_answer_and_recent_jobs_are_kept(visit):
    first = visit()
    first.paste(WATER, "density")
    first.submit()
    first.wait_for_surface()
    address = first.page.url
    second = visit("/#" + address.partition("#")[2])
    second.wait_for_surface()
    assert second.page.inner_text("#result-title") == first.page.inner_text("#result-title") == "OH2 3 atoms"
    assert not second.page.is_visible("#recent")
    first.open(address.partition("#")[0])
    first.page.click("#recent a")
    first.wait_for_surface()


def test_a_job_that_is_gone_says_so(visit):
    gone = visit("/#job=nobody-knows-it")
    assert "Found no job 'nobody-knows-it'" in gone.alert()
    assert "status of 404" in gone.complaints.pop()


def test_without_events_the_page_asks(visit):
    water = visit()
    water.page.route("**/events", lambda route: route.abort())
    water.paste(WATER.replace("0.119262", "0.119263"), "density")
    water.submit()
    water.wait_for_surface()
    water.complaints.clear()


def test_events_tell_each_state(visit, stack: Stack):
    salt = visit()
    salt.paste(SALT.replace("2.820", "2.823"), "energy")
    with paused(stack):
        with salt.page.expect_response("**/events") as response:
            salt.submit()
        assert response.value.headers["content-type"].startswith("text/event-stream")
        salt.page.wait_for_selector("#state:has-text('Waiting for a worker')")
        asked = []
        salt.page.on("request", lambda request: asked.append(request.url))
    salt.page.wait_for_selector("#numbers table")
    assert len([url for url in asked if "/v1/jobs/" in url and "density" not in url]) == 1  # for the result alone
