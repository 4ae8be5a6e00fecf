"""A real Chromium before the real service. `make browser-test` installs what this needs; else it is skipped.

Each file has a browser of its own: as long as one runs, its driver's event loop does, and other tests need theirs.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from app.supervisor import Child
from tests.end_to_end.processes import Stack, wait_until

BROWSERS = (os.environ.get("CHROMIUM", "chromium"), "chromium-browser", "google-chrome")
DRAWS_WITHOUT_A_GPU = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
PATIENCE = 120_000.0
"""Milliseconds: drawing without a GPU on a busy machine is slow."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Chromium of the system, driven by playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make browser-test")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("found no Chromium: apt-get install chromium, or name one by CHROMIUM")
    arguments = [*DRAWS_WITHOUT_A_GPU, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def stack(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The service with models that are shipped."""
    limits = {
        "RHOCAST_MODELS": "promolecule,orbital-organics-small,chgnet",
        "RHOCAST_DEVICE": "cpu",
        "RHOCAST_MAX_BODY_BYTES": "100000",
        "RHOCAST_MAX_QUEUED": "1",
    }
    stack = Stack(tmp_path_factory.mktemp("browser"), limits)
    stack.worker = Child("worker", [sys.executable, "-m", "workers"], stack.environment)
    stack.web.keep_alive()
    stack.worker.keep_alive()
    wait_until(stack.is_ready, 240, "the service is ready")
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def url(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.port}"


class Visit:
    """The page in a browser of its own, and what it complained of.

    Args:
        context: Playwright's browser context.
    """

    def __init__(self, context: Any) -> None:
        context.set_default_timeout(PATIENCE)
        self.context = context
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, url: str) -> "Visit":
        self.page.goto(url)
        self.page.wait_for_selector("#density-model option:nth-child(2)", state="attached")
        return self

    def paste(self, text: str, *want: str) -> None:
        self.page.fill("#text", text)
        for box in self.page.query_selector_all("input[name=want]"):
            box.set_checked(box.get_attribute("value") in want)

    def drop(self, name: str, text: str) -> None:
        """Drops a file on the page, as a hand would."""
        self.page.evaluate(
            """([name, text]) => {
                const data = new DataTransfer();
                data.items.add(new File([text], name));
                const event = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
                document.getElementById("drop").dispatchEvent(event);
            }""",
            [name, text],
        )

    def submit(self) -> None:
        self.page.click("#submit")

    def wait_for_surface(self) -> int:
        """Waits until a surface is drawn; the number of its triangles."""
        self.page.wait_for_selector("#picture[data-triangles]")
        self.page.wait_for_selector("#surface-controls", state="visible")
        self.until(lambda: "…" not in self.page.inner_text("#state"))
        return self.n_triangles()

    def n_triangles(self) -> int:
        return int(self.page.get_attribute("#picture", "data-triangles"))

    def until(self, is_true: Callable[[], bool]) -> None:
        """Waits until something holds. Playwright's own way evaluates text, which the page's policy forbids."""
        deadline = time.monotonic() + PATIENCE / 1000
        while not is_true():
            assert time.monotonic() < deadline
            self.page.wait_for_timeout(50)

    def alert(self) -> str:
        """What the page says went wrong."""
        self.page.wait_for_selector("#alert", state="visible")
        return self.page.inner_text("#alert")

    def focused(self) -> str:
        return self.page.evaluate("document.activeElement.id")

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.fixture
def visit(chromium: Any, url: str) -> Iterator[Callable[..., Visit]]:
    """Opens the page; call it with options of a browser context. Nothing else may have gone wrong in it at the end."""
    with ExitStack() as stack:

        def open_page(path: str = "/", **options: Any) -> Visit:
            context = stack.enter_context(chromium.new_context(**options))
            visits.append(Visit(context).open(f"{url}{path}"))
            return visits[-1]

        visits: list[Visit] = []
        yield open_page
        for one in visits:
            assert one.complaints == []
