"""A cache that threads share: bounded, and every value made once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pipelines.engine.workspace import Workspace
from pipelines.shards.image_cache import ImageCache, SharedCache
from tests.support.tiny_workspace import SIZE, make_workspace
from tests.support.waiting import PATIENCE

NBYTES = SIZE[0] * SIZE[1] * 3


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("cache"), images=8, shard_size=4)


def test_the_cache_is_bounded_and_drops_the_least_lately_used(workspace: Workspace) -> None:
    cache = ImageCache(workspace.artifact("images-tiny"), None, max_bytes=2 * NBYTES, shards=1)
    unit = "train/000000"
    image, size = cache.get(unit, "im000")
    assert (image.shape, size) == ((SIZE[1], SIZE[0], 3), SIZE)
    for key in ("im001", "im000", "im002", "im000"):
        cache.get(unit, key)
    assert [(unit, f"im00{number}") in cache for number in range(4)] == [True, False, True, False]
    assert cache.nbytes == 2 * NBYTES
    cache.get(unit, "im003")
    assert (unit, "im002") not in cache
    assert np.array_equal(cache.get(unit, "im000")[0], image)


def test_it_resizes_and_keeps_the_size_of_the_stored_image(workspace: Workspace) -> None:
    small, size = ImageCache(workspace.artifact("images-tiny"), 60, 1, shards=1).get("train/000001", "im006")
    assert (small.shape, size) == ((60, 80, 3), SIZE)
    large, size = ImageCache(workspace.artifact("images-tiny"), 240, 1, shards=1).get("train/000001", "im006")
    assert (large.shape, size) == ((240, 320, 3), SIZE)


def test_shards_are_fetched_once_and_ahead(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = workspace.artifact("images-tiny")
    read: list[str] = []
    commit = type(artifact).commit
    monkeypatch.setattr(type(artifact), "commit", lambda self, unit: (read.append(unit), commit(self, unit))[1])
    cache = ImageCache(artifact, None, 1, shards=2)
    cache.fetch("train/000001")
    for key in ("im004", "im000", "im005", "im001"):
        cache.get(f"train/{int(key[2:]) // 4:06d}", key)
    assert read == ["train/000001", "train/000000"]


def test_a_value_is_made_once_however_many_ask() -> None:
    made: Counter[int] = Counter()
    start, lock = threading.Barrier(8), threading.Lock()

    def make(key: int) -> str:
        with lock:
            made[key] += 1
        return f"value {key}"

    cache = SharedCache(make, len, limit=1000)

    def ask(_: int) -> list[str]:
        start.wait()
        return [cache.get(key) for key in range(20)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert found == [[f"value {key}" for key in range(20)]] * 8
    assert made == Counter(dict.fromkeys(range(20), 1))
    assert cache.weight == sum(len(f"value {key}") for key in range(20))


def test_an_error_reaches_all_who_wait_and_is_not_kept() -> None:
    asked, going = threading.Event(), threading.Event()
    tries: list[int] = []

    def make(key: int) -> int:
        tries.append(key)
        if len(tries) > 1:
            return key
        asked.set()
        going.wait(PATIENCE)
        raise OSError("gone")

    cache = SharedCache(make, lambda _: 1, limit=3)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, 5)
        assert asked.wait(PATIENCE)
        second = pool.submit(cache.get, 5)
        while not cache._making[5]._condition._waiters:  # type: ignore[attr-defined]
            time.sleep(0.001)
        going.set()
        for future in (first, second):
            with pytest.raises(OSError, match="gone"):
                future.result()
    assert cache.get(5) == 5
    assert tries == [5, 5]


def test_one_value_is_kept_however_heavy(tmp_path: Path) -> None:
    cache = SharedCache(lambda key: "x" * key, len, limit=5)
    assert len(cache.get(3) + cache.get(9)) == 12
    assert (3 in cache, 9 in cache, cache.weight) == (False, True, 9)
