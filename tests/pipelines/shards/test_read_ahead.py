"""Reading ahead: in order, few at a time, errors at their own item, threads that end."""

from __future__ import annotations

import threading

import pytest

from pipelines.shards.read_ahead import Behind, NumberedAhead, one_ahead, prepared_ahead
from sppnet.errors import DataError
from tests.support.waiting import PATIENCE


@pytest.mark.parametrize("ahead", [1, 2, 5, 50])
def test_items_come_in_order_and_few_are_ahead(ahead: int) -> None:
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    for place, (item, prepared) in enumerate(prepared_ahead(items(), lambda number: number**2, ahead)):
        assert (item, prepared.result()) == (place, place**2)
        assert len(taken) <= place + ahead


def test_errors_come_out_at_their_own_item() -> None:
    def prepare(number: int) -> int:
        if number == 2:
            raise DataError("truncated", "cut")
        return number

    found = list(prepared_ahead(range(4), prepare, 3))
    with pytest.raises(DataError, match="truncated: cut"):
        found[2][1].result()
    assert [found[i][1].result() for i in (0, 1, 3)] == [0, 1, 3]


def test_preparing_happens_on_threads_that_end() -> None:
    before = threading.active_count()
    names = {prepared.result() for _, prepared in prepared_ahead(range(6), lambda _: threading.get_ident(), 4)}
    assert threading.get_ident() not in names
    assert threading.active_count() == before


class TestOneAhead:
    def test_the_next_item_is_taken_while_one_is_at_work(self) -> None:
        second = threading.Event()

        def items():
            yield 1
            second.set()
            yield 2

        found = one_ahead(items())
        assert next(found) == 1
        assert second.wait(PATIENCE)
        assert list(found) == [2]

    def test_nothing(self) -> None:
        assert list(one_ahead(iter(()))) == []

    def test_an_error_comes_after_the_items_before_it(self) -> None:
        def items():
            yield 1
            raise DataError("truncated", "cut")

        found = one_ahead(items())
        assert next(found) == 1
        with pytest.raises(DataError, match="truncated"):
            next(found)

    def test_leaving_early_ends_the_thread(self) -> None:
        before = threading.active_count()
        found = one_ahead(iter(range(100)))
        assert next(found) == 0
        found.close()
        assert threading.active_count() == before


class TestNumberedAhead:
    def test_each_value_is_made_once_in_order_and_a_few_ahead(self) -> None:
        made: list[int] = []

        def make(number: int) -> int:
            made.append(number)
            return number**2

        values = NumberedAhead(make, 5, ahead=3, name="test")
        assert [values.get(number) for number in (0, 0, 1, 2)] == [0, 0, 1, 4]
        assert values.wait() == [4, 9, 16]
        assert [values.get(number) for number in (3, 4)] == [9, 16]
        values.close()
        assert made == [0, 1, 2, 3, 4]

    def test_a_number_out_of_turn_starts_anew_there(self) -> None:
        values = NumberedAhead(lambda number: number, 100, ahead=2, name="test")
        assert [values.get(number) for number in (0, 50, 7)] == [0, 50, 7]
        assert values.wait() == [7, 8]
        values.close()

    def test_an_error_comes_out_where_the_value_is_wanted(self) -> None:
        def make(number: int) -> int:
            if number == 1:
                raise DataError("truncated", "cut")
            return number

        values = NumberedAhead(make, 3, ahead=3, name="test")
        assert values.get(0) == 0
        with pytest.raises(DataError, match="truncated"):
            values.get(1)
        values.close()


def test_items_are_consumed_behind_and_all_of_them() -> None:
    before = threading.active_count()
    with Behind(lambda items: [item * 2 for item in items], waiting=2, name="behind") as behind:
        for number in range(50):
            behind.put(number)
        assert behind.result() == [number * 2 for number in range(50)]
    assert threading.active_count() == before


def test_what_the_consumer_raises_comes_out_and_nothing_hangs() -> None:
    def consume(items) -> None:
        next(items)
        raise ValueError("full disk")

    def make() -> None:
        with Behind(consume, waiting=1, name="behind") as behind:
            for number in range(50):
                behind.put(number)

    with pytest.raises(ValueError, match="full disk"):
        make()


def test_an_error_while_items_are_made_ends_the_thread() -> None:
    def make() -> None:
        with Behind(list, waiting=1, name="behind") as behind:
            behind.put(1)
            raise KeyError

    before = threading.active_count()
    with pytest.raises(KeyError):
        make()
    assert threading.active_count() == before
