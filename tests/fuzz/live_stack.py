"""`make fuzz`: hundreds of requests of each kind to the whole service, started as `rhocast serve` does.

No part of the default run, by its name. Half of the requests name jobs and batches that exist, and structures that can
be computed, so that more is seen than refusals; models and grids are small, so that computing takes little of the time.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.parameters import ParameterLocation

from app.openapi import served_document
from rhocast import Client
from rhocast.errors import Conflict
from tests.app.samples import NACL_CIF, NACL_POSCAR
from tests.end_to_end.processes import ROOT, free_port, hydrogen, wait_until
from tests.fuzz.conftest import Report
from tests.fuzz.documented import Kind, kinds, statuses_of, without_tuples

pytestmark = [pytest.mark.processes, pytest.mark.timeout(1800)]

N_EXAMPLES = 200
MOST_POINTS = 40_000
DRAIN_SECONDS = 60

SHAPE = (12, 12, 12)
LINE = {"start": "0,0,0", "end": "1,1,1"}
MOLECULE = "2\n\nH 0 0 0\nH 0 0 0.74\n"


@dataclass(frozen=True)
class Known:
    """Where the service is, and ids of jobs and batches that it has."""

    url: str
    jobs: list[str]
    batches: list[str]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Known]:
    """The service, with jobs and batches that ended well, ended badly, or were cancelled."""
    port, folder = free_port(), tmp_path_factory.mktemp("fuzz")
    environment = {
        **os.environ,
        "RHOCAST_DATA": str(folder),
        "RHOCAST_MODELS": "promolecule,orbital-crystals-small,chgnet",
        "RHOCAST_DEVICE": "cpu",
        "RHOCAST_MAX_POINTS": str(MOST_POINTS),
        "RHOCAST_MIN_FREE_BYTES": "0",
        "RHOCAST_DRAIN_SECONDS": str(DRAIN_SECONDS),
    }
    command = [sys.executable, "-m", "app.supervisor", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT) as process,
    ):
        try:
            wait_until(lambda: _is_ready(url), 240, "the service is ready")
            yield _filled(url)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(DRAIN_SECONDS + 60) == 0
    assert "request_failed" not in (folder / "log").read_text()


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


def _filled(url: str) -> Known:
    with Client(url, progress=False) as client:
        jobs = [
            client.submit(NACL_POSCAR, ["density", "energy"], ["promolecule", "chgnet"], shape=SHAPE),
            client.submit(NACL_CIF, "density", "orbital-crystals-small", shape=SHAPE),
            client.submit(MOLECULE, "density", "promolecule", shape=SHAPE, vacuum=1.0),
            client.submit(NACL_CIF, ["energy", "forces"], "chgnet"),
            client.submit_relaxation(NACL_CIF, "chgnet", steps=5),
        ]
        for job in jobs:
            job.wait()
        batches = [
            client.submit_batch({"good": NACL_POSCAR, "bad": "no\nstructure"}, "density", "promolecule", shape=SHAPE),
            client.submit_batch([NACL_CIF.replace("5.64", f"5.{k}") for k in range(10, 50)], "energy", "chgnet"),
        ]
        with suppress(Conflict):  # on a machine so quick that nothing is left to cancel
            batches[1].cancel()
        batches[0].wait()
        return Known(url, [job.id for job in jobs], [batch.id for batch in batches])


def cases(known: Known, operation: Any, mode: GenerationMode) -> st.SearchStrategy[Case]:
    """Requests of an operation, half of them with what the service knows in place of what was made up."""

    def settled(case: Case, job: str, batch: str, structure: dict[str, Any]) -> Case:
        for name, id in (("job_id", job), ("batch_id", batch)):
            if name in case.path_parameters and not case.meta.is_negative_at(ParameterLocation.PATH):
                case.path_parameters[name] = id
        if mode == GenerationMode.POSITIVE:
            case.query.update({name: value for name, value in {"with": job, **LINE}.items() if name in case.query})
            _give(case, structure)
        return case

    made_up = operation.as_strategy(generation_mode=mode)
    structures = st.integers(0, 999).map(hydrogen)
    ids = st.sampled_from(known.jobs), st.sampled_from(known.batches)
    return st.one_of(made_up, st.builds(settled, made_up, *ids, structures))


def _give(case: Case, structure: dict[str, Any]) -> None:
    """Puts a structure that can be computed into the body of a request, and has its end waited for."""
    if case.media_type == "application/json":
        case.body["structure"] = structure
        case.headers["prefer"] = "wait=5"
        if "grid" in case.body:
            case.body["grid"] = {"shape": SHAPE}
    elif case.media_type == "application/jsonl":
        case.body = "".join(json.dumps({"custom_id": f"item {k}", "structure": structure}) + "\n" for k in range(2))
    elif case.media_type == "multipart/form-data":
        several = isinstance(case.body["file"], list)
        shape = ",".join(map(str, SHAPE))
        case.body = {"file": [NACL_CIF] if several else NACL_POSCAR, "shape": shape}


@pytest.mark.parametrize("kind", kinds(served_document()), ids=str)
def test_every_answer_of_the_whole_service_is_as_documented(known: Known, report: Report, kind: Kind) -> None:
    document = httpx2.get(f"{known.url}/openapi.json", trust_env=False).json()
    operation = schemathesis.openapi.from_dict(without_tuples(document))[kind.path][kind.verb]
    started = time.monotonic()
    found = statuses_of(cases(known, operation, kind.mode), N_EXAMPLES, known.url)
    report[kind] = found, time.monotonic() - started
    assert found.total() >= N_EXAMPLES
