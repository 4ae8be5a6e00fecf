"""Signals end a process, whenever they arrive."""

import os
import signal
import subprocess
import sys
import time

import pytest

from jobs.termination import Termination

PROGRAM = """
from jobs.termination import Termination
termination = Termination()
print("up", flush=True)
while not termination.wait(0.0001):
    pass
print("down")
"""


def test_a_process_that_looks_all_the_time_never_hangs_on_a_signal() -> None:
    for _ in range(10):
        with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            assert process.stdout.read() == "down\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_waiting_ends_early_once_a_signal_has_arrived(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    try:
        termination = Termination()
        assert not termination.wait(0.01)
        os.kill(os.getpid(), number)
        start = time.monotonic()
        assert termination.wait(30)
        assert time.monotonic() - start < 5
    finally:
        for one, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(one, handler)
