"""What the object store does when the server or the network is sick, against a real server behind a proxy."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator

import pytest
import torch

from pipelines.engine import object_store, storage_calls
from pipelines.engine.commits import Output
from pipelines.engine.storage_calls import Patience
from pipelines.engine.store import ObjectStore, Store, StoreUnreachableError, open_store
from pipelines.engine.workspace import Artifact, Workspace
from pipelines.training.checkpoints import Checkpoints
from sppnet.errors import ConfigError
from tests.support.fault_proxy import Fault, FaultProxy, fault_proxy, once
from tests.support.s3_server import S3Server

pytestmark = pytest.mark.s3


@pytest.fixture
def proxy(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with fault_proxy(s3_server.environment["AWS_ENDPOINT_URL"]) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        monkeypatch.setattr(object_store, "_answered", set())
        yield found


@pytest.fixture
def store(proxy: FaultProxy, s3: str) -> Store:
    found = open_store(s3)
    found.list()
    proxy.requests.clear()
    return found


@pytest.mark.parametrize("fault", ["500-after", "reset-after"])
def test_a_checkpoint_whose_commits_answer_is_lost_is_kept(store: Store, proxy: FaultProxy, fault: Fault) -> None:
    checkpoints = Checkpoints(Artifact(store, "head-1"))
    proxy.rule = once(fault, "PUT", "step-000010.json")
    checkpoints.save(10, {"w": torch.ones(3)}, [{"step": 10}])
    found = checkpoints.latest()
    assert found is not None
    assert (found.step, found.tensors["w"].tolist()) == (10, [1, 1, 1])


@pytest.mark.parametrize("fault", ["500-after", "reset-after", "503"])
def test_a_shard_whose_commits_answer_is_lost_is_kept(store: Store, proxy: FaultProxy, fault: Fault) -> None:
    artifact = Artifact(store, "maps-1")
    proxy.rule = once(fault, "PUT", "_commits")
    commit = artifact.publish("a", Output(b"data", ".bin", 1, 1), 0.1)
    assert artifact.commit("a") == commit
    assert artifact.read("a") == b"data"


def test_another_writers_object_is_not_ours(store: Store, proxy: FaultProxy) -> None:
    assert store.create("x.json", b"theirs")
    proxy.rule = once("reset-after", "PUT", "x.json")
    assert not store.create("x.json", b"ours")
    assert store.read("x.json") == b"theirs"


@pytest.mark.parametrize(
    ("fault", "request_of"),
    [
        ("500-after", ("POST", "uploadId")),
        ("reset-after", ("POST", "uploadId")),
        ("503", ("PUT", "partNumber=2")),
        ("reset-after", ("POST", "uploads")),
    ],
)
def test_a_large_object_survives_any_lost_answer(
    store: Store, proxy: FaultProxy, fault: Fault, request_of: tuple[str, str]
) -> None:
    data = bytes(101 * 2**20)
    proxy.rule = once(fault, *request_of)
    store.put("large.parquet", data)
    assert store.read("large.parquet") == data


@pytest.mark.parametrize("fault", ["reset-in-body", "wrong-length", "503", "reset-after"])
def test_a_read_that_breaks_off_is_done_again(store: Store, proxy: FaultProxy, fault: Fault) -> None:
    artifact = Artifact(store, "maps-2")
    artifact.publish("a", Output(bytes(range(250)), ".bin", 1, 1), 0.1)
    proxy.rule = once(fault, "GET", "a-")
    assert artifact.read("a") == bytes(range(250))


def test_a_server_that_is_busy_gets_as_many_tries_as_the_budget_has(
    store: Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "USUAL", Patience(4, 60.0))
    proxy.rule = lambda request: "503"
    with pytest.raises(StoreUnreachableError, match=r"can't read s3://.*/x: .* \(4 tries, \d+ s\)$"):
        store.read("x")
    assert len(proxy.requests) == 4


def test_a_server_that_hangs_is_given_up_at_once_by_who_starts(
    s3: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(object_store, "FIRST_TOUCH", Patience(5, 3.0, cut=True))
    monkeypatch.setattr(storage_calls, "_TOLD_AFTER_SECONDS", 0.5)
    proxy.rule = lambda request: "hang"
    start = time.monotonic()
    with caplog.at_level(logging.WARNING), pytest.raises(StoreUnreachableError) as caught:
        open_store(s3).list()
    assert time.monotonic() - start < object_store.USUAL.seconds / 2, "it would have waited so long later"
    said, where = re.escape(f"can't list {s3}/: TimeoutError: no answer "), re.escape(f" at {proxy.url}")
    assert re.fullmatch(said + r"\(2 tries, \d+ s\)" + where, str(caught.value))
    waited = [record.getMessage() for record in caplog.records if "waiting for storage" in record.getMessage()]
    assert re.fullmatch(re.escape(f"waiting for storage: list {s3}/, ") + r"\d+ s so far", waited[0])


def test_one_request_that_hangs_at_the_first_touch_is_made_again(
    s3: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "FIRST_TOUCH", Patience(5, 4.0, cut=True))
    proxy.rule = once("hang", "GET", "")
    assert open_store(s3).list() == []
    assert len([request for request in proxy.requests if "delimiter=&" in request.path]) == 2


@pytest.mark.parametrize("size", [0, 10, 100_000])
def test_a_put_whose_answer_never_comes_is_made_again(
    proxy: FaultProxy, s3: str, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(object_store, "READ_SECONDS", 5.0)
    store = open_store(s3)
    store.list()
    proxy.rule = once("hang", "PUT", "x.bin")
    store.put("x.bin", b"x" * size)
    assert store.read("x.bin") == b"x" * size
    assert [request.method for request in proxy.requests].count("PUT") == 2


def test_an_endpoint_where_nobody_is_is_told_with_its_address(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:secret@127.0.0.1:9")
    monkeypatch.setattr(object_store, "_answered", set())
    start = time.monotonic()
    with pytest.raises(StoreUnreachableError, match=r"at http://127\.0\.0\.1:9$") as caught:
        ObjectStore(s3).read("x")
    assert time.monotonic() - start < 15
    assert "secret" not in str(caught.value)


def test_a_bucket_that_is_missing_is_not_made(s3_server: S3Server) -> None:
    workspace = Workspace.open("s3://nobody-made-this/ws")
    for check in (workspace.check_version, workspace.check_writable):
        with pytest.raises(ConfigError, match=r"store refuses .*NoSuchBucket|bucket"):
            check()
    with pytest.raises(ConfigError, match="store refuses"):
        open_store("s3://nobody-made-this/ws").list()
