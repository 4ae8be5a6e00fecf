"""Lines of the log: one JSON object each, and no secret in any."""

import json
import logging
import secrets
import sys

import pytest
import structlog

from jobs import logs


@pytest.fixture
def configured(capsys):
    """Sets logging up, and gives what reads the lines since then; logging is put back afterwards."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level

    def configure():
        logs.configure()
        return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    yield configure
    structlog.configure(**before)
    root.handlers, root.level = handlers, level


def test_a_line_is_an_object_with_its_time_and_level(configured):
    lines = configured()
    structlog.get_logger().info("worker_ready", models=["a", "b"])
    [line] = lines()
    assert line.pop("timestamp").startswith("20")
    assert line == {"event": "worker_ready", "level": "info", "models": ["a", "b"]}


def test_what_is_bound_to_a_request_is_in_its_lines_alone(configured):
    lines = configured()
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger().info("one")
    structlog.get_logger().info("other")
    one, other = lines()
    assert one["request_id"] == "r1"
    assert "request_id" not in other


def test_other_libraries_log_in_the_same_form(configured):
    lines = configured()
    logging.getLogger("dramatiq.worker").warning("lost %s messages", 3)
    logging.getLogger("dramatiq.worker").info("not worth a line")
    [line] = lines()
    assert (line["event"], line["level"], line["logger"]) == ("lost 3 messages", "warning", "dramatiq.worker")


def test_a_traceback_has_no_values_of_variables(configured):
    lines = configured()
    structure = "the user's structure"
    try:
        raise ZeroDivisionError(len(structure) // 20)
    except ZeroDivisionError as error:
        structlog.get_logger().error("prediction_failed", exc_info=error)
        logging.getLogger("x").error("failed", exc_info=error)
    own, foreign = lines()
    for line in (own, foreign):
        assert "ZeroDivisionError: 1" in line["exception"]
        assert structure not in line["exception"].replace('structure = "the user', "")


def test_no_line_has_a_key_or_a_password(configured):
    lines = configured()
    plain = "rho_" + secrets.token_urlsafe(32)
    log = structlog.get_logger()
    log.info("one", found=plain)
    log.info(f"two {plain}, and more", nested={"headers": {"authorization": f"Bearer {plain}"}})
    log.info("three", store="rediss://user:pass%40word@10.0.0.1:6379/0")
    logging.getLogger("x").warning("four %s", plain)
    try:
        raise ValueError(plain)
    except ValueError as error:
        log.error("five", exc_info=error)
    found = lines()
    assert len(found) == 5
    text = json.dumps(found)
    assert plain not in text
    assert plain[4:] not in text
    assert "pass%40word" not in text
    assert "rediss://***@10.0.0.1:6379/0" in text
    assert text.count("rho_***") == 5


def test_what_only_looks_like_a_secret_is_left_alone(configured):
    lines = configured()
    structlog.get_logger().info("one", url="http://127.0.0.1:8000/a@b", name="rho_short")
    [line] = lines()
    assert (line["url"], line["name"]) == ("http://127.0.0.1:8000/a@b", "rho_short")


def test_on_a_terminal_lines_are_for_the_eye(monkeypatch, capsys, configured):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    configured()
    structlog.get_logger().info("worker_ready", key="rho_" + "a" * 43)
    text = capsys.readouterr().out
    assert "worker_ready" in text
    assert "key=rho_***" in text
