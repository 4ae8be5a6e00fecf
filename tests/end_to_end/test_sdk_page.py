"""The programs of docs/sdk.md run as they stand, against a service started by its own command."""

import re
import sys

import pytest

from tests.end_to_end.processes import ROOT
from tests.end_to_end.test_readme import run, url  # noqa: F401  (fixtures)

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "sdk.md").read_text(encoding="utf-8"), re.DOTALL)

SAID = [
    r"-\d+\.\d{3} eV, 32 electrons\n",
    r"(queued \d* \n)*(running  \n)?succeeded  \n-\d+\.\d{3} eV\n",
    r"-\d+\.\d{3} → -\d+\.\d{3} eV, \d+\.\d Å³\n",
    r"32 electrons, -\d+\.\d{3} eV\n",
    r"examples/Si\.cif -\d+\.\d{3} eV\nexamples/NaCl\.poscar -\d+\.\d{3} eV\nexamples/ethanol\.xyz \S.*\n",
    r"-\d+\.\d{3} eV, 4\d\.\d Å³\n",
]


@pytest.mark.parametrize(("program", "said"), list(zip(PROGRAMS, SAID, strict=True)), ids=range(len(SAID)))
def test_a_program_says_what_it_should(run, program: str, said: str) -> None:  # noqa: F811
    assert re.fullmatch(said, run(sys.executable, "-c", program))


def test_a_second_run_sends_nothing_again(run, tmp_path) -> None:  # noqa: F811
    program = next(one for one in PROGRAMS if "resume" in one)
    first = run(sys.executable, "-c", program)
    noted = (tmp_path / "energies.jobs").read_text()
    assert len(noted.splitlines()) == 3 - first.count("found")
    assert run(sys.executable, "-c", program) == first
    assert (tmp_path / "energies.jobs").read_text() == noted
