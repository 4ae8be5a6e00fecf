"""The page is served whole, cached well, and may load nothing from elsewhere."""

import gzip
import hashlib
import re
import tomllib
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from app.routes.page import ROOT, page_files
from rhocast.errors import NotFound
from tests.app.conversation import refused

WEB = ROOT / "web"
VENDOR = WEB / "vendor"
OURS = sorted(path for path in WEB.rglob("*") if path.is_file() and VENDOR not in path.parents)
VIEWER = "/web/vendor/3dmol-2.5.5/3Dmol-min.js"


class Elements(HTMLParser):
    """Start tags of a document with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def elements() -> Elements:
    return Elements((WEB / "index.html").read_text(encoding="utf-8"))


def test_the_page_is_at_the_root(client: TestClient) -> None:
    response = client.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.content == (WEB / "index.html").read_bytes()
    assert client.head("/").headers["etag"] == response.headers["etag"]
    assert client.head("/").content == b""


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_every_file_of_the_page_is_served(client: TestClient, path) -> None:
    response = client.get(f"/web/{path.relative_to(WEB).as_posix()}")
    assert response.status_code == 200
    assert response.content == path.read_bytes()


def test_everything_that_the_page_and_its_modules_name_exists(elements: Elements) -> None:
    served = page_files()
    linked = {found[key] for _, found in elements.found for key in ("href", "src") if found.get(key)}
    imported = {
        f"/web/{name}" for path in WEB.glob("*.js") for name in re.findall(r'from "\./([^"]+)"', path.read_text())
    }
    scripts = {name for path in WEB.glob("*.js") for name in re.findall(r'"(/web/[^"$]+)"', path.read_text())}
    needed = {name for name in linked | imported | scripts if name.startswith("/web/")}
    assert {VIEWER, "/web/page.css", "/web/volume.js"} <= needed
    assert {name.removeprefix("/web/") for name in needed} - set(served) == set()


def test_every_example_of_the_page_is_served_as_text(client: TestClient, elements: Elements) -> None:
    names = [found["data-example"] for _, found in elements.found if "data-example" in found]
    assert len(names) >= 5
    for name in names:
        response = client.get(f"/web/examples/{name}")
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.text == (ROOT / "examples" / str(name)).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path", ["/web/examples/demo.py", "/web/%2e%2e/pyproject.toml", "/web/vendor/versions.toml", "/web/"]
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    refused(client.get(path), NotFound, "of the page" if path.startswith("/web/v") else "found")


def test_a_browser_that_has_a_file_is_not_sent_it_again(client: TestClient) -> None:
    first = client.get("/web/page.js")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/web/page.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


def test_the_viewer_is_kept_for_ever_under_the_name_of_its_version(client: TestClient) -> None:
    assert client.get(VIEWER).headers["cache-control"] == "public, max-age=31536000, immutable"


def test_files_are_sent_gzipped_to_those_who_take_it(client: TestClient) -> None:
    packed = client.get(VIEWER, headers={"Accept-Encoding": "gzip"})
    plain = client.get(VIEWER, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 3
    assert packed.headers["etag"] != plain.headers["etag"]
    assert packed.headers["vary"] == "Accept-Encoding"


def test_the_packed_bytes_are_the_plain_ones() -> None:
    for file in page_files().values():
        assert gzip.decompress(file.packed) == file.content


@pytest.mark.parametrize("path", ["/", "/web/page.js", VIEWER])
def test_nothing_from_elsewhere_and_nothing_inline_may_run(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert not {"unsafe-inline", "unsafe-eval", "http", "*"} & set(re.findall(r"[a-z-]+|\*", policy))
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_the_page_has_no_inline_script_or_style(elements: Elements) -> None:
    assert all("src" in found for tag, found in elements.found if tag == "script")
    assert [tag for tag, found in elements.found if tag == "style" or "style" in found] == []
    assert [key for _, found in elements.found for key in found if key.startswith("on")] == []


def test_every_control_of_the_page_has_a_name(elements: Elements) -> None:
    labelled = {found.get("for") for tag, found in elements.found if tag == "label"}
    controls = [found for tag, found in elements.found if tag in ("input", "select", "textarea")]
    assert len(controls) > 10
    for found in controls:
        is_inside_a_label = found.get("type") in ("checkbox", "radio")
        assert is_inside_a_label or found["id"] in labelled or "aria-label" in found, found


def test_the_vendored_files_are_those_of_their_packages() -> None:
    versions = tomllib.loads((VENDOR / "versions.toml").read_text(encoding="utf-8"))
    there = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file()}
    assert there == {*versions, "versions.toml"}
    for name, entry in versions.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == entry["sha256"]


def test_the_page_is_not_part_of_the_interface(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert "/v1/predictions" in paths
    assert [path for path in paths if path == "/" or path.startswith("/web")] == []


@pytest.mark.parametrize(
    "path", [path for path in OURS if path.suffix in (".js", ".css", ".html")], ids=lambda path: path.name
)
def test_files_of_the_page_can_be_read_at_one_sitting(path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 400
    assert max(map(len, lines)) <= 140
