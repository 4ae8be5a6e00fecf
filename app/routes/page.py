"""The page at `/`: files of the room `web`, and the examples that it offers."""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Response

from rhocast.errors import NotFound

ROOT = Path(__file__).parents[2]

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_EXAMPLES = (".cif", ".poscar", ".xyz")

Sent = Annotated[str, Header()]


@dataclass(frozen=True)
class PageFile:
    """A file of the page, in memory.

    Attributes:
        content: Its bytes.
        packed: The same, gzipped.
        media_type: Its media type.
        etag: Strong entity tag of the bytes.
        is_versioned: Whether its address names its version, so that it never changes there.
    """

    content: bytes
    packed: bytes
    media_type: str
    etag: str
    is_versioned: bool


def page_files(root: Path = ROOT) -> dict[str, PageFile]:
    """Every file of the page by its path below `/web/`.

    Args:
        root: The checkout.
    """
    web = root / "web"
    files = {path.relative_to(web).as_posix(): path for path in web.rglob("*") if path.suffix in _MEDIA_TYPES}
    files |= {f"examples/{path.name}": path for path in (root / "examples").iterdir() if path.suffix in _EXAMPLES}
    return {name: _page_file(name, path) for name, path in files.items()}


def _page_file(name: str, path: Path) -> PageFile:
    content = path.read_bytes()
    return PageFile(
        content=content,
        packed=gzip.compress(content, mtime=0),
        media_type=_MEDIA_TYPES.get(path.suffix, "text/plain; charset=utf-8"),
        etag=hashlib.sha256(content).hexdigest()[:32],
        is_versioned=name.startswith("vendor/"),
    )


def page_router(files: dict[str, PageFile]) -> APIRouter:
    """Routes that serve the page.

    Args:
        files: What `page_files` gives.
    """
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    def page(accept_encoding: Sent = "", if_none_match: Sent = "") -> Response:
        return _answer(files["index.html"], accept_encoding, if_none_match)

    @router.api_route("/web/{name:path}", methods=["GET", "HEAD"])
    def page_file(name: str, accept_encoding: Sent = "", if_none_match: Sent = "") -> Response:
        if name not in files:
            raise NotFound(f"found no file {name[:80]!r} of the page; expected one that it names; open /")
        return _answer(files[name], accept_encoding, if_none_match)

    return router


def _answer(file: PageFile, accept_encoding: str, if_none_match: str) -> Response:
    is_packed = "gzip" in accept_encoding
    etag = f'"{file.etag}{"-gzip" if is_packed else ""}"'
    headers = {
        "ETag": etag,
        "Vary": "Accept-Encoding",
        "Cache-Control": "public, max-age=31536000, immutable" if file.is_versioned else "no-cache",
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    if etag in if_none_match:
        return Response(status_code=304, headers=headers)
    if is_packed:
        headers["Content-Encoding"] = "gzip"
    return Response(file.packed if is_packed else file.content, headers=headers, media_type=file.media_type)
