"""The one loop over a shard's keys: each is done, or set aside with a reason, and no key is lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from typing import Any, Protocol, TypeVar

from pipelines.engine.activity import busy
from pipelines.engine.commits import Output, Quarantined
from pipelines.shards.read_ahead import prepared_ahead
from sppnet.errors import ArtifactError, DataError


class Keyed(Protocol):
    """Something that is of one image."""

    @property
    def key(self) -> str:
        """The image's key."""


K = TypeVar("K", bound=Keyed)
P = TypeVar("P")
R = TypeVar("R")


def first_entries(entries: Iterable[Quarantined]) -> dict[str, Quarantined]:
    """Return the first entry of each key, by key."""
    found: dict[str, Quarantined] = {}
    for entry in entries:
        found.setdefault(entry.key, entry)
    return found


class ShardWork:
    """The account of a shard's keys while a stage works through them.

    A `DataError` sets its key aside and never takes the shard down; any other error does. Items whose key was set
    aside before are passed over.

    Args:
        stage: Name of the stage, for the entries of the keys that it sets aside.
        shard: Name of the shard, for messages.
        keys: All keys of the shard, as the manifest has them.
        earlier: Keys that earlier stages set aside; of several entries for a key the first counts.

    Attributes:
        keys: All keys of the shard, in order.
    """

    def __init__(self, stage: str, shard: str, keys: Iterable[str], earlier: Iterable[Quarantined] = ()) -> None:
        self._stage = stage
        self._shard = shard
        self.keys = tuple(keys)
        self._done: set[str] = set()
        self._aside = first_entries(earlier)

    @property
    def done(self) -> int:
        """How many keys are done."""
        return len(self._done)

    @property
    def quarantined(self) -> tuple[Quarantined, ...]:
        """The keys that are set aside, by this stage or an earlier one."""
        return tuple(self._aside.values())

    def each(self, items: Iterable[K], work: Callable[[K], R]) -> Iterator[R]:
        """Work on items one by one.

        Several loops may follow one another: a key that a later one sets aside is no longer done.

        Args:
            items: Of different keys, in order.
            work: What is done to an item; a `DataError` sets its key aside.

        Yields:
            What `work` makes of each item that is not set aside.
        """
        for item in items:
            if item.key not in self._aside:
                yield from self._attempt(item, work)

    def each_prepared(
        self, items: Iterable[K], prepare: Callable[[K], P], work: Callable[[K, P], R], ahead: int
    ) -> Iterator[R]:
        """Work on items that are prepared ahead, on threads.

        Args:
            items: Of different keys, in order.
            prepare: Runs on a thread; a `DataError` sets the item's key aside.
            work: Takes an item and what `prepare` made of it; a `DataError` sets its key aside.
            ahead: How many items are prepared or being prepared at a time.

        Yields:
            What `work` makes of each item that is not set aside.
        """
        wanted = (item for item in items if item.key not in self._aside)
        for item, prepared in prepared_ahead(wanted, prepare, ahead):
            with busy("decode_wait"):
                wait([prepared])
            yield from self._attempt(item, work, prepared)

    def _attempt(self, item: Keyed, work: Callable[..., R], *prepared: Future[Any]) -> Iterator[R]:
        try:
            result = work(item, *(made.result() for made in prepared))
        except DataError as error:
            self._done.discard(item.key)
            self._aside[item.key] = Quarantined(item.key, error.reason, error.detail, self._stage)
            return
        self._done.add(item.key)
        yield result

    def output(self, data: bytes, suffix: str, rows: int, metrics: Mapping[str, Any] | None = None) -> Output:
        """Return the shard's output with its account.

        Args:
            data: The data object.
            suffix: Its file suffix.
            rows: Its rows or members.
            metrics: Small figures, JSON values.

        Raises:
            ArtifactError: A key of the manifest is neither done nor set aside, or there is one that it does not have.
        """
        self._check()
        return Output(data, suffix, rows, self.done, self.quarantined, metrics or {})

    def _check(self) -> None:
        accounted = self._done | self._aside.keys()
        lost = [key for key in self.keys if key not in accounted]
        foreign = sorted(accounted.difference(self.keys))
        if lost or foreign:
            what = f"{lost[0]} is neither" if lost else f"{foreign[0]} is not one of them"
            raise ArtifactError(
                f"shard {self._shard}: {self.done} keys done and {len(self._aside)} quarantined, but the manifest has "
                f"{len(self.keys)} ({what}); its input is short: remove the short commit of its input and run again"
            )
