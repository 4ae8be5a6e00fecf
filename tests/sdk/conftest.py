"""A server that answers by a script, and a client whose pauses take no time."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rhocast import Client
from rhocast.transport import HttpTransport


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """What the server answers. `promised` bytes are announced; None hangs up without a word."""

    status: int | None = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None


@dataclass
class ScriptedServer:
    url: str
    answers: list[Answer] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def answer(self, body: Any = b"", status: int = 200, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append(Answer(status, content, named))

    def hang_up(self) -> None:
        self.answers.append(Answer(None))

    def break_off(self, body: bytes) -> None:
        self.answers.append(Answer(200, body, {}, promised=len(body) + 100))

    def problem(self, code: str, status: int, detail: str, **headers: str) -> None:
        body = {"type": "about:blank", "title": "x", "status": status, "code": code, "detail": detail}
        self.answer(body, status, content_type="application/problem+json", **headers)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: ScriptedServer

    def _respond(self) -> None:
        length = int(self.headers.get("content-length", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.script.seen.append(Seen(self.command, self.path, headers, self.rfile.read(length)))
        answer = self.script.answers.pop(0) if self.script.answers else Answer(500, b"the script is over")
        if answer.status is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(answer.promised or len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
        self.close_connection = self.close_connection or answer.promised is not None

    do_GET = do_POST = do_DELETE = _respond  # noqa: N815  (the names that http.server calls)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    handler = type("Handler", (_Handler,), {})
    service = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.script = ScriptedServer(f"http://127.0.0.1:{service.server_address[1]}")
    thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield handler.script
    service.shutdown()
    thread.join()
    service.server_close()


class ImpatientTransport(HttpTransport):
    """HTTP whose pauses are noted and not made."""

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        super().__init__(url, timeout)
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def transport(server: ScriptedServer) -> ImpatientTransport:
    return ImpatientTransport(server.url)


@pytest.fixture
def client(transport: ImpatientTransport) -> Iterator[Client]:
    with Client(transport=transport, progress=False) as made:
        yield made


PROVENANCE = {
    "model": "promolecule",
    "weights_sha256": "ab" * 32,
    "level_of_theory": "PBE",
    "valence_electrons": {"Si": 4.0},
    "code_version": "0.1.0",
}


def density_answer() -> dict[str, Any]:
    return {
        "n_electrons": 8.0,
        "integral": 8.0000000001,
        "shape": [2, 2, 3],
        "spacing": [1.9, 1.9, 1.3],
        "grid_chosen_by": "shape as asked",
        "scale_factor": 1.0001,
        "minimum": 0.1,
        "maximum": 0.9,
        "mantissa_bits": 12,
        "provenance": PROVENANCE,
        "uncertainty": {"reason": "none yet"},
    }


def potential_answer() -> dict[str, Any]:
    return {
        "energy": -10.8,
        "energy_per_atom": -5.4,
        "energies": [-5.5, -5.3],
        "forces": [[0.0, 0.0, 0.3], [0.0, 0.4, 0.0]],
        "stress": [[0.1, 0.0, 0.0], [0.0, 0.2, 0.0], [0.0, 0.0, 0.3]],
        "magmoms": [0.5, -0.5],
        "provenance": PROVENANCE | {"model": "chgnet"},
        "uncertainty": {"reason": "none yet"},
    }


@pytest.fixture
def job_record():
    """A job as the wire shows it, by its status and what differs from the ordinary."""

    def made(status: str = "succeeded", **changes: Any) -> dict[str, Any]:
        result = {
            "structure": {
                "symbols": ["Si", "Si"],
                "positions": [[0.0, 0.0, 0.0], [1.36, 1.36, 1.36]],
                "cell": [[0.0, 2.7, 2.7], [2.7, 0.0, 2.7], [2.7, 2.7, 0.0]],
                "is_periodic": True,
            },
            "density": density_answer(),
            "potential": potential_answer(),
        }
        want = ["density", "energy", "forces", "stress", "magmoms"]
        return {
            "id": "j1",
            "status": status,
            "formula": "Si2",
            "n_atoms": 2,
            "want": want,
            "models": {name: "promolecule" if name == "density" else "chgnet" for name in want},
            "priority": "interactive",
            "created_at": "2026-11-21T10:00:00Z",
            "expires_at": "2026-11-28T10:00:00Z",
            "compute_seconds": 0.25 if status == "succeeded" else None,
            "result": result if status == "succeeded" else None,
        } | changes

    return made


@pytest.fixture
def model_record():
    """A model as `/v1/models` shows it."""

    def made(name: str = "promolecule", n_workers: int = 1, provides: tuple[str, ...] = ("density",)) -> dict[str, Any]:
        info = {
            "name": name,
            "provides": list(provides),
            "description": "Atoms, superposed.",
            "elements": ["Si"],
            "cutoff": 6.0,
            "weights_sha256": "ab",
            "level_of_theory": "PBE",
            "licence": "MIT",
        }
        return {"info": info, "n_workers": n_workers, "is_default_for": list(provides)}

    return made


@pytest.fixture
def poscar() -> str:
    return "NaCl\n1.0\n0 2.82 2.82\n2.82 0 2.82\n2.82 2.82 0\nNa Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"
