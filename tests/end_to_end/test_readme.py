"""The README's programs run as they stand, against a service started by its own command."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from pymatgen.io.vasp import Chgcar

from tests.end_to_end.processes import ROOT, free_port, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore::UserWarning")]

README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def programs(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with the shipped models, started by `rhocast serve`, and stopped by SIGTERM."""
    port = free_port()
    folder = tmp_path_factory.mktemp("serve")
    command = [str(BIN / "rhocast"), "serve", "--port", str(port), "--data", str(folder)]
    environment = {**os.environ, "RHOCAST_HOME": str(ROOT), "RHOCAST_MIN_FREE_BYTES": "0"}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder) as process,
    ):

        def is_ready() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                return httpx2.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200
            except httpx2.TransportError:
                return False

        wait_until(is_ready, 120, "the service is ready")
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, (folder / "log").read_text()


@pytest.fixture
def run(url: str, tmp_path: Path):
    """Runs a program in a folder that has the examples."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "RHOCAST_URL": url}

    def run(*command: str) -> str:
        reply = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert reply.returncode == 0, reply.stdout + reply.stderr
        return reply.stdout

    return run


def test_the_python_program_prints_the_electron_count_and_writes_a_chgcar(run, tmp_path: Path) -> None:
    (program,) = programs("python")
    assert run(sys.executable, "-c", program) == "14.000000\n"
    assert np.mean(Chgcar.from_file(str(tmp_path / "CHGCAR")).data["total"]) == pytest.approx(14, rel=1e-6)


@pytest.mark.parametrize("line", [line for line in programs("sh")[0].splitlines() if line])
def test_the_command_line_does_what_the_readme_says(run, tmp_path: Path, line: str) -> None:
    assert run("bash", "-ec", line)
    if output := re.search(r"-o (\S+)", line):
        path = tmp_path / output.group(1)
        least = 500 if line.startswith("rhocast relax") else 10_000  # a structure; a density
        assert sum(file.stat().st_size for file in (path, *path.rglob("*"))) > least


@pytest.mark.parametrize("line", [line for line in programs("sh")[1].splitlines() if line])
def test_curl_gets_an_answer_in_place(run, url: str, line: str) -> None:
    answer = json.loads(run("bash", "-ec", line.replace("curl ", "curl -sS ").replace("http://127.0.0.1:8000", url)))
    assert answer["status"] == "succeeded"
    assert answer["result"]["density"]["integral"] == pytest.approx(answer["result"]["density"]["n_electrons"])
    assert run("curl", "-sS", url + answer["result"]["density"]["artifacts"]["chgcar"]).startswith("rhocast ")


def test_every_file_that_the_readme_names_exists() -> None:
    names = re.findall(r"\]\(([\w./-]+)\)", README)
    assert names
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_every_target_that_the_readme_names_is_in_the_makefile() -> None:
    targets = re.findall(r"(?:\$ |`)make ([\w-]+)", README)
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "test"} <= set(targets)
    assert [target for target in targets if f"\n{target}:" not in makefile] == []
