"""Processes of Ray's that go away or hang; what a real driver does then is seen in `tests/e2e/test_cluster.py`."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from pipelines.executors.ray_watch import RayWatch, answers, in_time
from sppnet.errors import IncompleteError
from tests.support.waiting import PATIENCE, wait_for


@contextmanager
def head(port: int = 0) -> Iterator[str]:
    """A server that answers, though it knows no method; gives its address."""
    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
    found = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{found}"
    finally:
        server.stop(None).wait()


def test_any_answer_is_one() -> None:
    with head() as address:
        assert answers(address, PATIENCE)
    assert not answers(address, PATIENCE)


def test_what_accepts_a_connection_and_is_silent_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stopped:
        assert not answers(f"127.0.0.1:{stopped.getsockname()[1]}", 0.1)


def test_a_head_that_has_been_silent_for_too_long_is_lost() -> None:
    with head() as address:
        watch = RayWatch({"the cluster": address}, patience=0.2, every=0.05)
        watch.check()
    wait_for(lambda: watch.is_lost)
    with pytest.raises(IncompleteError) as caught:
        watch.check()
    watch.close()
    assert str(caught.value) == (
        "the cluster has not answered for 0.2 s; finished units are kept, run again when it is back"
    )


def test_a_head_that_comes_back_in_time_is_not_lost() -> None:
    with head() as address:
        watch = RayWatch({"the cluster": address}, patience=PATIENCE, every=0.2)
        assert not watch.is_silent
    wait_for(lambda: watch.is_silent)
    with head(int(address.rpartition(":")[2])):
        wait_for(lambda: not watch.is_silent)
        watch.check()
        watch.close()
    assert not watch.is_lost


def test_who_asks_does_not_wait_for_a_head_that_went() -> None:
    went = threading.Event()
    assert in_time(lambda: 7, PATIENCE) == 7
    assert in_time(went.wait, 0.05) is None
    went.set()
