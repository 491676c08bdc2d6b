"""Reading ahead and writing behind, on threads, so that the work at hand waits for neither."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, repeat
from queue import Full, Queue
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_LOOK_SECONDS = 0.2
"""How often a thread that takes nothing is looked at: it may have failed."""


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


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Take items in lists of a size, the last one shorter."""
    rest = iter(items)
    while found := list(islice(rest, size)):
        yield found


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


class Behind(Generic[T, R]):
    """Items that a thread consumes while the next are made; to be used in a `with` block.

    Args:
        consume: Consumes the items, on the thread.
        waiting: How many items may wait; `put` waits for room.
        name: Of the thread.
    """

    _END: Any = object()

    def __init__(self, consume: Callable[[Iterator[T]], R], waiting: int, name: str) -> None:
        self._items: Queue[T] = Queue(waiting)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._result = self._thread.submit(consume, iter(self._items.get, self._END))

    def __enter__(self) -> Behind[T, R]:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread, whatever it has consumed."""
        if not self._result.done():
            self.put(self._END)
        self._thread.shutdown(wait=True)

    def put(self, item: T) -> None:
        """Hand over an item; what `consume` raised comes out here."""
        while not self._result.done():
            try:
                self._items.put(item, timeout=_LOOK_SECONDS)
            except Full:
                continue
            return
        self._result.result()

    def result(self) -> R:
        """Return what `consume` made of all items, or raise what it raised."""
        self.put(self._END)
        return self._result.result()
