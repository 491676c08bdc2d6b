"""A head that goes away; what a real one's driver does then is seen in `tests/e2e/test_cluster.py`."""

from __future__ import annotations

import socket
import threading

import pytest

from pipelines.executors.ray_watch import HeadWatch, in_time
from sppnet.errors import IncompleteError
from tests.support.waiting import PATIENCE, wait_for


def listening(port: int = 0) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))


def test_a_head_that_has_been_silent_for_too_long_is_lost() -> None:
    head = listening()
    address = f"127.0.0.1:{head.getsockname()[1]}"
    watch = HeadWatch(address, patience=0.2, every=0.02)
    watch.check()
    head.close()
    wait_for(lambda: watch.is_lost)
    with pytest.raises(IncompleteError) as caught:
        watch.check()
    watch.close()
    assert str(caught.value) == (
        f"the cluster at {address} has not answered for 0.2 s; finished units are kept, run again when it is back"
    )


def test_a_head_that_comes_back_in_time_is_not_lost() -> None:
    head = listening()
    port = head.getsockname()[1]
    watch = HeadWatch(f"127.0.0.1:{port}", patience=PATIENCE, every=0.02)
    assert not watch.is_silent
    head.close()
    wait_for(lambda: watch.is_silent)
    head = listening(port)
    wait_for(lambda: not watch.is_silent)
    watch.check()
    watch.close()
    head.close()
    assert not watch.is_lost


def test_who_asks_does_not_wait_for_a_head_that_went() -> None:
    went = threading.Event()
    assert in_time(lambda: 7, PATIENCE) == 7
    assert in_time(went.wait, 0.05) is None
    went.set()
