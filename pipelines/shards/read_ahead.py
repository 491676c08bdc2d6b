"""Reading ahead: what comes next is made on threads while something is at work, so that nothing waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prepared_ahead(items: Iterable[T], prepare: Callable[[T], R], ahead: int) -> Iterator[tuple[T, Future[R]]]:
    """Prepare a bounded number of items ahead, on threads.

    Args:
        items: Taken one by one, in the caller's thread.
        prepare: Runs on a thread; what it raises comes out of its future.
        ahead: How many items are prepared or being prepared at a time; half as many threads do so.

    Yields:
        Every item in order with what `prepare` makes of it.
    """
    pending: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(max_workers=max(1, ahead // 2), thread_name_prefix="read-ahead") as pool:
        for item in items:
            pending.append((item, pool.submit(prepare, item)))
            if len(pending) >= ahead:
                yield pending.popleft()
        while pending:
            yield pending.popleft()


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Take the next of some items on a thread while one is at work."""
    end = object()
    for _, item in prepared_ahead(repeat(None), lambda _: next(items, end), ahead=2):
        found = item.result()
        if found is end:
            return
        yield found  # type: ignore[misc]


class NumberedAhead(Generic[R]):
    """Makes values by number on a thread, those that follow the one at hand too.

    A value stays at hand until another number is asked for, and is made anew if it is asked for after that.

    Args:
        make: Makes the value of a number, on the thread.
        count: How many numbers there are.
        ahead: How many values, the one asked for included, are at hand or being made at a time.
        name: Of the thread.
    """

    def __init__(self, make: Callable[[int], R], count: int, ahead: int, name: str) -> None:
        self._make = make
        self._count = count
        self._ahead = ahead
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._pending: dict[int, Future[R]] = {}

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers whose values are at hand or being made."""
        return tuple(self._pending)

    def get(self, number: int) -> R:
        """Return the value of a number; what `make` raises comes out here."""
        wanted = range(number, min(number + self._ahead, self._count))
        for other in [other for other in self._pending if other not in wanted]:
            self._pending.pop(other).cancel()
        for other in wanted:
            if other not in self._pending:
                self._pending[other] = self._thread.submit(self._make, other)
        return self._pending[number].result()

    def wait(self) -> list[R]:
        """Wait until everything that is made ahead is ready, and return it."""
        return [pending.result() for pending in self._pending.values()]

    def close(self) -> None:
        """End the thread after the value at hand."""
        self._thread.shutdown(wait=True, cancel_futures=True)
