import subprocess
import sys
from pathlib import Path

import pytest

from rhocast import application
from rhocast.application import Launch, find_application, is_application, launch_of
from rhocast.errors import ApplicationMissing

MARK = "[tool.rhocast]\napplication = true\n"


@pytest.fixture
def checkout(tmp_path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(MARK)
    return folder


@pytest.fixture
def nowhere(tmp_path, monkeypatch) -> Path:
    """A folder without an application, and an SDK that was installed as a wheel."""
    monkeypatch.setattr(application, "__file__", str(tmp_path / "site-packages" / "rhocast" / "a" / "application.py"))
    folder = tmp_path / "nowhere"
    folder.mkdir()
    return folder


def test_the_application_is_named_by_the_environment_first(checkout, nowhere):
    (nowhere / "pyproject.toml").write_text(MARK)
    assert find_application({"RHOCAST_HOME": str(checkout)}, nowhere) == checkout
    assert find_application({"RHOCAST_HOME": "../checkout"}, nowhere) == checkout


def test_the_application_is_the_current_folder_next(checkout, nowhere):
    assert find_application({}, checkout) == checkout


def test_the_application_is_the_checkout_of_an_editable_install_last(tmp_path):
    assert find_application({}, tmp_path) == Path(__file__).parents[2]


def test_without_an_application_the_error_says_what_to_do(nowhere):
    with pytest.raises(
        ApplicationMissing, match=r"found no rhocast application in .*; expected a checkout .*RHOCAST_HOME"
    ):
        find_application({"RHOCAST_HOME": "x"}, nowhere)


@pytest.mark.parametrize("text", ["", "[tool.rhocast]\napplication = false", "not toml", "[tool]\nrhocast = {}"])
def test_another_project_is_no_application(tmp_path, text):
    (tmp_path / "pyproject.toml").write_text(text)
    assert not is_application(tmp_path)


def test_a_missing_package_is_named(checkout, monkeypatch):
    monkeypatch.setitem(application._PACKAGES, "workers", ("numpy", "no_such_package"))
    with pytest.raises(
        ApplicationMissing, match=r"found the application in .* no no_such_package; expected its packages"
    ):
        launch_of("workers", (), {}, checkout)


def test_a_launch_runs_a_module_in_the_checkout(checkout):
    launch = launch_of("app.supervisor", ("--port", "1"), {"A": "b"}, checkout)
    assert launch == Launch((sys.executable, "-m", "app.supervisor", "--port", "1"), {"A": "b"}, checkout)


@pytest.mark.parametrize(
    ("data", "environment"), [(Path("d"), {}), (None, {"RHOCAST_DATA": "d"}), (Path("d"), {"RHOCAST_DATA": "e"})]
)
def test_the_data_folder_counts_from_where_the_user_stands(checkout, nowhere, data, environment):
    launch = launch_of("workers", (), environment | {"RHOCAST_HOME": str(checkout)}, nowhere, data)
    assert launch.environment["RHOCAST_DATA"] == str(nowhere / "d")
    assert launch.folder == checkout


def test_a_process_becomes_the_application(tmp_path):
    code = (
        "import sys; from pathlib import Path; from rhocast.application import Launch, become; "
        "become(Launch((sys.executable, '-c', 'import os; print(os.getpid(), os.getcwd(), dict(os.environ)[\"A\"])'), "
        f"{{'A': 'b'}}, Path({str(tmp_path)!r})))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        told = process.communicate()[0].split()
    assert told == [str(process.pid), str(tmp_path), "b"]


def test_become_moves_and_executes(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("os.execve", lambda *arguments: calls.append(arguments))
    monkeypatch.chdir(tmp_path)
    application.become(Launch(("/bin/x", "y"), {"A": "b"}, tmp_path))
    assert calls == [("/bin/x", ("/bin/x", "y"), {"A": "b"})]
