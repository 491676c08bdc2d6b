from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engine import backoff
from pipelines.engine.executor import Job, OpenPhase, UnitFailure
from pipelines.engine.phases import Phase
from pipelines.engine.stage import StageSpec
from pipelines.executors.retries import RetryLimits, UnitBook

LIMITS = RetryLimits(infrastructure=4, application=2, first_wait=1.0, longest_wait=5.0)


PHASE = OpenPhase(StageSpec("w", "s", "a-1", "{}", (), 0), Phase("p", ()))
A, B = Job(PHASE, "a"), Job(PHASE, "b")


def book_of(*jobs: Job) -> UnitBook:
    book = UnitBook(LIMITS)
    for job in jobs:
        book.begin(job)
    return book


def test_units_that_are_out_are_open_and_not_due() -> None:
    book = book_of(A, B)
    assert book.open == 2
    assert list(book.take_due(1e9)) == []
    assert book.next_due() is None
    assert not book.is_waiting(A)


def test_phases_are_told_apart() -> None:
    other = Job(OpenPhase(PHASE.spec, PHASE.phase), "a")
    book = book_of(A, other)
    book.close(A)
    assert (book.is_open(A), book.is_open(other)) == (False, True)


def test_a_failed_unit_waits_before_its_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff.random, "random", lambda: 0.5)
    book = book_of(A)
    book.count_failure(A, "infrastructure", "lost")
    assert book.exhausted(A) is None
    book.retry(A, 100.0)
    assert book.next_due() == 100.5
    assert book.is_waiting(A)
    assert list(book.take_due(100.4)) == []
    assert list(book.take_due(100.6)) == [A]
    assert not book.is_waiting(A)


def test_a_unit_waits_once_however_often_it_is_put_back() -> None:
    book = book_of(A)
    book.retry(A, 0.0)
    list(book.take_due(0.0))
    book.retry(A, 0.0, at_once=True)
    book.retry(A, 0.0, at_once=True)
    assert list(book.take_due(0.0)) == [A]


@pytest.mark.parametrize(("failures", "wait"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (50, 5.0)])
def test_waits_are_drawn_up_to_a_bound_that_doubles_up_to_the_longest(failures: int, wait: float) -> None:
    waits = {LIMITS.wait(failures) for _ in range(100)}
    assert len(waits) > 1
    assert wait / 2 < max(waits) <= wait


def test_kinds_are_counted_apart() -> None:
    book = book_of(A)
    for _ in range(3):
        book.count_failure(A, "infrastructure", "lost")
    book.count_failure(A, "application", "broken")
    assert book.exhausted(A) is None
    book.count_failure(A, "application", "broken again")
    assert book.exhausted(A) == UnitFailure("a", "broken again", 5)


def test_unreadable_inputs_are_told_apart() -> None:
    book = book_of(A)
    for _ in range(2):
        book.count_failure(A, "artifact", "gone")
    assert book.exhausted(A) == UnitFailure("a", "gone", 2, corrupt=True)


def test_a_closed_unit_is_never_due_again() -> None:
    book = book_of(A, B)
    for job in (A, B):
        book.retry(job, 0.0)
    book.close(A)
    assert not book.is_open(A)
    assert not book.is_waiting(A)
    assert list(book.take_due(0.0)) == [B]
    book.close(B)
    assert book.open == 0
    assert book.next_due() is None


@given(st.lists(st.sampled_from(["infrastructure", "application", "done"]), max_size=60), st.integers(1, 5))
def test_whatever_happens_every_unit_ends_within_its_tries(events: list[str], units: int) -> None:
    jobs = [Job(PHASE, f"u{i}") for i in range(units)]
    book = book_of(*jobs)
    tries = dict.fromkeys(jobs, 0)
    ended: list[Job] = []
    now, feed, out = 0.0, iter(events), list(jobs)
    while book.open:
        now = max(now, book.next_due() or now)
        for unit in out or list(book.take_due(now)):
            tries[unit] += 1
            event = next(feed, "application")
            if event != "done":
                book.count_failure(unit, event, event)
                if book.exhausted(unit) is None:
                    book.retry(unit, now)
                    continue
            book.close(unit)
            ended.append(unit)
        out = []
    assert sorted(ended) == jobs
    assert max(tries.values()) <= LIMITS.infrastructure + LIMITS.application - 1
