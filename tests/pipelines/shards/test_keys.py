"""The loop over a shard's keys: bad ones are set aside, none is lost, and none comes from elsewhere."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from pipelines.engine.commits import Quarantined
from pipelines.shards.keys import ShardWork
from sppnet.errors import ArtifactError, DataError

EARLIER = Quarantined("broken", "truncated", "cut", "ingest")


@dataclass
class Item:
    key: str
    value: int


def items(*keys: str) -> list[Item]:
    return [Item(key, number) for number, key in enumerate(keys)]


def double(item: Item) -> int:
    if item.key == "bad":
        raise DataError("odd", f"{item.key} is odd")
    return 2 * item.value


def test_a_bad_key_is_set_aside_under_the_stages_name() -> None:
    work = ShardWork("double", "train/000000", ("a", "bad", "broken", "b"), [EARLIER])
    assert list(work.each(items("a", "bad", "b"), double)) == [0, 4]
    output = work.output(b"rows", ".parquet", 2, {"images": 2})
    assert output.quarantined == (EARLIER, Quarantined("bad", "odd", "bad is odd", "double"))
    assert (output.data, output.suffix, output.rows, output.done) == (b"rows", ".parquet", 2, 2)
    assert output.metrics == {"images": 2}


def test_other_errors_end_the_shard() -> None:
    def fail(item: Item) -> int:
        raise ArtifactError(f"{item.key} is gone")

    work = ShardWork("double", "s", ("a",))
    with pytest.raises(ArtifactError, match="a is gone"):
        list(work.each(items("a"), fail))


def test_keys_that_were_set_aside_before_are_passed_over_and_keep_their_first_reason() -> None:
    second = Quarantined("broken", "no-windows", "none", "propose")
    work = ShardWork("double", "s", ("a", "broken"), [EARLIER, second])
    assert list(work.each(items("broken", "a"), double)) == [2]
    assert work.quarantined == (EARLIER,)


def test_a_later_loop_can_set_aside_what_an_earlier_one_did() -> None:
    work = ShardWork("double", "s", ("a", "bad"))
    assert list(work.each(items("a", "bad"), lambda item: item.key)) == ["a", "bad"]
    assert work.done == 2
    assert list(work.each(items("a", "bad"), double)) == [0]
    assert (work.done, [entry.key for entry in work.quarantined]) == (1, ["bad"])


def test_items_are_prepared_on_threads_and_their_errors_set_them_aside() -> None:
    places = set()

    def prepare(item: Item) -> int:
        places.add(threading.get_ident())
        return double(item)

    def add(item: Item, prepared: int) -> int:
        if item.key == "worse":
            raise DataError("even", "worse is even")
        return item.value + prepared

    work = ShardWork("double", "s", ("a", "bad", "worse", "broken", "b"), [EARLIER])
    assert list(work.each_prepared(items("a", "bad", "broken", "worse", "b"), prepare, add, 2)) == [0, 12]
    assert threading.get_ident() not in places
    assert {entry.key: entry.reason for entry in work.quarantined} == {
        "broken": "truncated",
        "bad": "odd",
        "worse": "even",
    }
    assert work.output(b"", "", 0).done == 2


def test_a_lost_key_is_told() -> None:
    work = ShardWork("double", "train/000003", ("a", "b", "broken"), [EARLIER])
    list(work.each(items("a"), double))
    with pytest.raises(
        ArtifactError,
        match=r"shard train/000003: 1 keys done and 1 quarantined, but the manifest has 3 \(b is neither\)",
    ):
        work.output(b"", "", 0)


def test_a_key_of_another_shard_is_told() -> None:
    work = ShardWork("double", "s", ("a",))
    list(work.each(items("a", "z"), double))
    with pytest.raises(ArtifactError, match=r"the manifest has 1 \(z is not one of them\)"):
        work.output(b"", "", 0)
