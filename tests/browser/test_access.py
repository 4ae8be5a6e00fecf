"""The page for everybody: by keyboard, on a phone, in the dark, read aloud, with a key."""

import os
import sys
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pytest

from app.supervisor import Child
from jobs.connection import connect
from jobs.keys import Keys, Scope
from jobs.settings import Settings
from tests.browser.test_page import BROKEN, SALT, WATER, pixels
from tests.end_to_end.processes import Stack, free_port, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 1}


def test_a_phone_never_scrolls_sideways(visit):
    phone = visit(**PHONE)
    assert phone.overflow() == 0
    phone.paste(BROKEN, "density")
    phone.submit()
    phone.alert()
    assert phone.overflow() == 0
    phone.complaints.clear()
    phone.paste(SALT, "density", "energy", "forces", "stress", "magmoms")
    phone.submit()
    phone.wait_for_surface()
    phone.page.click("summary")
    assert phone.overflow() == 0
    box = phone.page.locator("#picture").bounding_box()
    assert box["height"] < 0.7 * 740  # a thumb finds room beside it to scroll on


def test_everything_can_be_done_by_keyboard(visit):
    keyboard = visit()

    def tab_to(selector: str) -> None:
        for _ in range(60):
            keyboard.page.keyboard.press("Tab")
            if keyboard.page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"Tab never reaches {selector}")

    tab_to("#file")
    tab_to("[data-example='water.xyz']")
    keyboard.page.keyboard.press("Enter")
    keyboard.until(lambda: "water" in keyboard.page.input_value("#text"))
    tab_to("#submit")
    keyboard.page.keyboard.press("Enter")
    keyboard.wait_for_surface()
    assert keyboard.focused() == "result-title"
    tab_to("#picture")
    seen = [pixels(keyboard.page)]
    for key in ("ArrowLeft", "ArrowUp", "+", "0"):
        keyboard.page.keyboard.press(key)
        seen.append(pixels(keyboard.page))
        assert np.abs(seen[-1] - seen[-2]).max() > 50, key
    assert np.abs(seen[-1] - seen[0]).max() == 0
    tab_to("#level")
    n_before = keyboard.n_triangles()
    keyboard.page.keyboard.press("PageUp")
    keyboard.until(lambda: keyboard.n_triangles() != n_before)
    tab_to("#files a")


def test_a_wheel_over_a_picture_that_nobody_touched_scrolls_the_page(visit):
    water = visit(viewport={"width": 1000, "height": 500})
    water.paste(WATER, "density")
    water.submit()
    water.wait_for_surface()
    water.page.locator("#picture").hover()
    before = water.page.evaluate("scrollY")
    seen = pixels(water.page)
    water.page.locator("#picture").hover()
    water.page.mouse.wheel(0, 120)
    water.until(lambda: water.page.evaluate("scrollY") != before)
    assert np.abs(pixels(water.page) - seen).max() < 50


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_of(visit, scheme: str):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(color_scheme=scheme, reduced_motion="reduce")
    lightness = page.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (np.mean(lightness) < 60) == (scheme == "dark")
    assert axe.run(page.page).response["violations"] == []
    page.paste(BROKEN, "density")
    page.submit()
    page.alert()
    page.complaints.clear()
    assert axe.run(page.page).response["violations"] == []
    page.paste(WATER, "density", "energy", "forces")
    page.submit()
    page.wait_for_surface()
    page.page.click("summary")
    assert axe.run(page.page).response["violations"] == []
    corner = pixels(page.page)[5, 5]
    assert (np.mean(corner) < 60) == (scheme == "dark")


@pytest.fixture
def locked(stack: Stack) -> Iterator[str]:
    """Address of a second web process on the same store, which asks for a key."""
    port = free_port()
    environment = stack.environment | {"RHOCAST_AUTH": "keys"}
    web = Child("locked", [sys.executable, "-m", "app.web", "--port", str(port)], environment)

    def is_up() -> bool:
        try:
            return httpx2.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
        except httpx2.TransportError:
            return False

    web.keep_alive()
    wait_until(is_up, 120, "the locked service is up")
    yield f"http://127.0.0.1:{port}"
    web.stop(10)


@pytest.fixture
def plain_key(stack: Stack) -> str:
    names = ("data", "redis_url", "namespace")
    settings = Settings(**{name: stack.environment[f"RHOCAST_{name.upper()}"] for name in names})
    with connect(settings.redis_url) as client:
        return Keys(client, settings).create("tester", Scope.SUBMIT)[1]


def test_where_a_key_is_needed_the_page_asks_for_it_and_downloads_with_it(
    visit: Any, plain_key: str, locked: str, tmp_path: Any
):
    page = visit()
    page.page.goto(locked)
    assert "A key is needed" in page.alert()
    assert page.focused() == "key"
    page.page.keyboard.type(plain_key)
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector("#density-model option:nth-child(2)", state="attached")
    page.complaints.clear()
    page.paste(WATER, "density")
    page.submit()
    page.wait_for_surface()
    with page.page.expect_download() as waiting:
        page.page.click("#files a:text-is('CHGCAR')")
    assert waiting.value.suggested_filename == "CHGCAR"
    waiting.value.save_as(tmp_path / "CHGCAR")
    assert os.path.getsize(tmp_path / "CHGCAR") > 1_000_000
    page.page.reload()  # the session remembers it
    page.wait_for_surface()
