"""Turns are given in the order in which they are asked for."""

import threading
import time

import pytest

from workers.turns import Turns


def test_turns_are_given_in_their_order_and_nobody_overtakes() -> None:
    turns, seen = Turns(), list[str]()

    def take(name: str) -> None:
        with turns:
            seen.append(name)

    waiting: list[threading.Thread] = []
    with turns:
        for name in "abc":
            waiting.append(threading.Thread(target=take, args=(name,)))
            waiting[-1].start()
            time.sleep(0.02)
        seen.append("first")
    take("last")
    for thread in waiting:
        thread.join()
    assert seen == ["first", "a", "b", "c", "last"]


def test_a_turn_is_over_even_if_something_was_raised_in_it() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="broken"), turns:
        raise ValueError("broken")
    with turns:
        pass
