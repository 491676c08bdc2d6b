"""An interrupt that a destructor swallowed is raised at the next check."""

from __future__ import annotations

import gc
import os
import signal
import threading

import pytest

from pipelines.interrupts import Interrupts


class Swallower:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):  # the handler runs between two of these
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_swallowed_interrupt_is_raised_again() -> None:
    with Interrupts() as interrupts:
        interrupts.check()
        swallower = Swallower()
        del swallower
        gc.collect()
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_others_are_raised_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_somebody_elses_stays() -> None:
    def handler(*arguments: object) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGINT, handler)
    try:
        with Interrupts() as interrupts:
            assert signal.getsignal(signal.SIGINT) is handler
            interrupts.check()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_have_no_interrupts() -> None:
    found: list[object] = []

    def run() -> None:
        with Interrupts() as interrupts:
            interrupts.check()
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
