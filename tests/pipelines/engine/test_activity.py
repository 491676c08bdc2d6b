from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipelines.engine.activity import Activity, busy, moved
from pipelines.engine.store import open_store


def test_seconds_and_bytes_are_those_since_it_was_made() -> None:
    moved("read", 1000)
    activity = Activity()
    assert activity.bytes("read") == 0
    assert set(activity.seconds()) == {"unit"}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: moved("write", 10), range(100)))
    with busy("decode_wait"):
        moved("read", 7)
    seconds = activity.seconds()
    assert (activity.bytes("read"), activity.bytes("write")) == (7, 1000)
    assert 0 < seconds["decode_wait"] < seconds["unit"]


def test_stores_count_what_they_move(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    activity = Activity()
    store.put("a", b"12345")
    assert store.create("b", b"123")
    store.read("a")
    store.read_range("a", 1, 2)
    assert (activity.bytes("write"), activity.bytes("read")) == (8, 7)
    assert {"read", "write"} <= activity.seconds().keys()
