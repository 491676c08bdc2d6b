"""The object store alone: who may use it, and what it survives. What all stores do is in `test_store.py`."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.engine import backoff
from pipelines.engine.store import ObjectStore, StoreUnreachableError, open_store
from sppnet.errors import ConfigError
from tests.support.waiting import PATIENCE


@pytest.mark.s3
def test_a_wrong_secret_is_a_config_error_without_the_secret(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(s3).put("a.json", b"{}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "0123456789wrong-secret")
    store = open_store(s3)
    actions = (
        lambda: store.read("a.json"),
        lambda: store.read("a.parquet"),
        lambda: store.put("b", b""),
        lambda: store.create("b", b""),
        store.list,
    )
    for action in actions:
        with pytest.raises(ConfigError, match=r"the store refuses .*; check credentials, quota and bucket$") as caught:
            action()
        assert "wrong-secret" not in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.s3
def test_no_credentials_at_all_is_a_config_error(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="Unable to locate credentials"):
        open_store(s3).put("a", b"")


@pytest.mark.s3
def test_a_bucket_that_is_not_there_is_a_config_error(s3_server: object) -> None:
    store = open_store("s3://no-such-bucket-here/prefix")
    for name in ("a.json", "a.parquet"):
        with pytest.raises(ConfigError, match="store refuses"):
            store.read(name)
    with pytest.raises(ConfigError, match="store refuses"):
        store.list()


def test_an_unreachable_store_is_given_up_after_all_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(backoff.random, "random", lambda: 0.5)
    store = ObjectStore("memory://unreachable/here")
    store.put("a", b"")  # it has answered
    calls = []

    def down(*args: object, **options: object) -> None:
        calls.append(args)
        raise OSError("no route to /bucket/403")

    monkeypatch.setattr(store._fs, "pipe_file", down)
    with pytest.raises(StoreUnreachableError) as caught:
        store.put("a", b"")
    told = "can't write memory://unreachable/here/a: OSError: no route to /bucket/403 (10 tries, 0 s)"
    assert str(caught.value) == told
    assert isinstance(caught.value, ConnectionError)
    assert len(calls) == 10
    assert [wait for wait in waits if wait != 1.0] == pytest.approx([0.1 * 2**i for i in range(7)] + [10.0, 10.0])


def test_a_commit_whose_answer_was_lost_is_still_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first try went through, its answer did not; the second finds the name taken."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    from pipelines.engine.commits import Output
    from pipelines.engine.workspace import Artifact

    store = ObjectStore("memory://lost/answer")
    artifact = Artifact(store, "maps-1")
    real, lost = store._fs.pipe_file, []

    def lossy(path: str, data: bytes, **options: object) -> None:
        real(path, data, **options)
        if options.get("mode") == "create" and not lost:
            lost.append(path)
            raise TimeoutError("no answer")

    monkeypatch.setattr(store._fs, "pipe_file", lossy)
    commit = artifact.publish("train/000000", Output(b"data", ".bin", 1, 1), 0.1)
    assert len(lost) == 1
    assert artifact.commit("train/000000") == commit
    assert artifact.read("train/000000") == b"data"


@pytest.mark.s3
def test_a_server_that_is_killed_and_comes_back_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.s3_server import BUCKET, S3Server

    server = S3Server(tmp_path)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.start()
    try:
        server.wait_until_up()
        store = open_store(f"s3://{BUCKET}/outage")
        half_way = threading.Event()

        def put_many() -> None:
            for i in range(30):
                store.put(f"{i:02d}", bytes([i]) * 100_000)
                if i == 10:
                    half_way.set()

        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(put_many)
            assert half_way.wait(PATIENCE)
            server.kill()
            time.sleep(1)
            server.start()
            done.result(timeout=PATIENCE)
        assert [(e.name, e.size) for e in store.list()] == [(f"{i:02d}", 100_000) for i in range(30)]
        assert all(store.read(f"{i:02d}") == bytes([i]) * 100_000 for i in range(30))
    finally:
        server.kill()


@pytest.mark.s3
def test_an_upload_that_was_cut_off_is_found_and_given_up(s3: str) -> None:
    store = open_store(s3)
    assert isinstance(store, ObjectStore)
    bucket, _, key = store._full("a/large.parquet").partition("/")
    begun = store._files.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
    place = {"Bucket": bucket, "Key": key, "UploadId": begun["UploadId"]}
    store._files.call_s3("upload_part", PartNumber=1, Body=b"x" * 1000, **place)
    other = open_store(f"{s3}-other")
    (found,) = store.leftovers()
    assert (found.name, found.size, found.upload) == ("a/large.parquet", 1000, begun["UploadId"])
    assert abs(found.modified - time.time()) < 60
    assert other.leftovers() == []
    store.discard(found)
    store.discard(found)
    assert store.leftovers() == []


def test_stores_without_such_uploads_have_no_leftovers() -> None:
    assert open_store("memory://none/here").leftovers() == []
