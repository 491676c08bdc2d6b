from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engine.executor import UnitFailure
from pipelines.executors.retries import RetryLimits, UnitBook

LIMITS = RetryLimits(infrastructure=4, application=2, first_wait=1.0, longest_wait=5.0)


def test_units_are_due_at_once_in_order_and_up_to_a_number() -> None:
    book = UnitBook(["a", "b", "c"], LIMITS)
    assert book.open == 3
    assert list(book.take_due(0.0, 2)) == ["a", "b"]
    assert list(book.take_due(0.0, 0)) == []
    assert list(book.take_due(0.0, 9)) == ["c"]
    assert book.next_due() is None


def test_a_failed_unit_waits_before_its_next_try() -> None:
    book = UnitBook(["a"], LIMITS)
    list(book.take_due(0.0, 1))
    book.count_failure("a", "infrastructure", "lost")
    assert book.exhausted("a") is None
    book.retry("a", 100.0)
    assert 100.5 <= book.next_due() <= 101.5
    assert book.is_waiting("a")
    assert list(book.take_due(100.4, 1)) == []
    assert list(book.take_due(101.6, 1)) == ["a"]
    assert not book.is_waiting("a")


def test_a_unit_waits_once_however_often_it_is_put_back() -> None:
    book = UnitBook(["a"], LIMITS)
    book.retry("a", 0.0)
    list(book.take_due(0.0, 1))
    book.retry("a", 0.0, at_once=True)
    book.retry("a", 0.0, at_once=True)
    assert list(book.take_due(0.0, 9)) == ["a"]


@pytest.mark.parametrize(("failures", "wait"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (50, 5.0)])
def test_waits_double_up_to_the_longest_and_are_jittered_by_half(failures: int, wait: float) -> None:
    waits = {LIMITS.wait(failures) for _ in range(50)}
    assert len(waits) > 1
    assert 0.5 * wait <= min(waits)
    assert max(waits) <= 1.5 * wait


def test_kinds_are_counted_apart() -> None:
    book = UnitBook(["a"], LIMITS)
    for _ in range(3):
        book.count_failure("a", "infrastructure", "lost")
    book.count_failure("a", "application", "broken")
    assert book.exhausted("a") is None
    book.count_failure("a", "application", "broken again")
    assert book.exhausted("a") == UnitFailure("a", "broken again", 5)


def test_unreadable_inputs_are_told_apart() -> None:
    book = UnitBook(["a"], LIMITS)
    for _ in range(2):
        book.count_failure("a", "artifact", "gone")
    assert book.exhausted("a") == UnitFailure("a", "gone", 2, corrupt=True)


def test_a_closed_unit_is_never_due_again() -> None:
    book = UnitBook(["a", "b"], LIMITS)
    book.close("a")
    assert not book.is_open("a")
    assert not book.is_waiting("a")
    assert list(book.take_due(0.0, 9)) == ["b"]
    book.close("b")
    assert book.open == 0
    assert book.next_due() is None


@given(st.lists(st.sampled_from(["infrastructure", "application", "done"]), max_size=60), st.integers(1, 5))
def test_whatever_happens_every_unit_ends_within_its_tries(events: list[str], units: int) -> None:
    names = [f"u{i}" for i in range(units)]
    book = UnitBook(names, LIMITS)
    tries = dict.fromkeys(names, 0)
    ended: list[str] = []
    now, feed = 0.0, iter(events)
    while book.open:
        now = max(now, book.next_due() or now)
        for unit in list(book.take_due(now, 2)):
            tries[unit] += 1
            event = next(feed, "application")
            if event != "done":
                book.count_failure(unit, event, event)
                if book.exhausted(unit) is None:
                    book.retry(unit, now)
                    continue
            book.close(unit)
            ended.append(unit)
    assert sorted(ended) == names
    assert max(tries.values()) <= LIMITS.infrastructure + LIMITS.application - 1
