"""The best rows of a stream with bounded memory, the same in whatever order and parts they come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from sppnet.arrays import Array, Floats, Integers

SLACK = 9 / 8
"""Rows in memory at most, as a multiple of those that are kept."""
_LEAST_SPARE = 256
_EARLY = 16


class RowsOf:
    """Rows of a longer array, of which only those that are kept are copied, and once.

    Args:
        values: `[m, ...]`.
        places: `[n]` the rows.
    """

    def __init__(self, values: Array, places: Integers) -> None:
        self._values = values
        self._places = places
        self.dtype = values.dtype
        self.shape = (len(places), *values.shape[1:])

    def __len__(self) -> int:
        return len(self._places)

    def write(self, rows: Integers, out: Array) -> None:
        """Write some of the rows to `out`."""
        # Places are whole numbers from 0 on: nothing is clipped, but without checks numpy needs no buffer.
        np.take(self._values, self._places[rows], axis=0, out=out, mode="clip")


class TopRows:
    """The rows of highest priority among all that are added; of equal ones those that come first by `ties`.

    Rows stay where they are until there are an eighth more than wanted; then the worst make room, in place. So
    memory is `9/8 limit` rows, as they are stored, and what is being added.

    Args:
        limit: How many to keep; None keeps all.
        ties: Names of the columns that decide among rows of equal priority, the smallest value first; a column of
            vectors does component by component.
    """

    def __init__(self, limit: int | None, ties: Sequence[str]) -> None:
        self._limit = limit
        self._ties = tuple(ties)
        self._count = 0
        self._arrivals = 0
        self._ordered: Integers | None = None
        self._columns: dict[str, Array] = {}
        self.bar = -np.inf
        """What has a lower priority than this is not kept."""

    def __len__(self) -> int:
        return self._count if self._limit is None else min(self._count, self._limit)

    def add(self, columns: Mapping[str, Array | RowsOf], priorities: Floats) -> None:
        """Add rows.

        Args:
            columns: `[n, ...]` each; of the same names, shapes and dtypes in every call.
            priorities: `[n]`, numbers, not NaN; higher is better.
        """
        # Rows at the bar stay in: which of them is kept is decided by the ties.
        rows = np.flatnonzero(priorities >= self.bar)
        while len(rows):
            room = self._room(len(rows))
            taken, rows = rows[:room], rows[room:]
            self._append(columns, priorities, taken)
            if self._limit is not None and len(rows):
                self._compact(self._limit)
                rows = rows[priorities[rows] >= self.bar]

    def has(self, name: str) -> bool:
        """Tell whether there are rows with such a column."""
        return name in self._columns

    def column(self, name: str) -> Array:
        """Return a column of all rows in memory, the chosen ones and the spare; a view, until more are added."""
        return self._columns[name][: self._count]

    def best_first(self) -> Integers:
        """Return the places of the chosen rows in the columns, by falling priority."""
        if self._ordered is None:
            self._ordered = self._sorted(self._chosen())
        return self._ordered

    def as_added(self) -> Integers:
        """Return the places of the chosen rows in the columns, in the order in which they were added."""
        places = self._chosen()
        return places[np.argsort(self._columns["arrivals"][places])]  # later rows took the places of those that left

    def _chosen(self) -> Integers:
        """Return the places of the chosen rows; only those tied with the last of them need to be sorted."""
        if self._limit is None or self._count <= self._limit:
            return np.arange(self._count)
        priorities = self.column("priorities")
        spare = self._count - self._limit
        last = np.partition(priorities, spare)[spare]
        above = np.flatnonzero(priorities > last)
        tied = self._sorted(np.flatnonzero(priorities == last))
        return np.concatenate([above, tied[: self._limit - len(above)]])

    def _sorted(self, places: Integers) -> Integers:
        if not len(places):
            return places
        priorities = self._columns["priorities"][places]
        order = np.argsort(-priorities, kind="stable")
        equal = np.diff(priorities[order]) == 0
        tied = np.flatnonzero(np.append(equal, False) | np.insert(equal, 0, False))
        if len(tied):  # seldom, and the costly part
            rows = order[tied]
            keys = list(self._tie_keys(places[rows]))
            order[tied] = rows[np.lexsort((*reversed(keys), -priorities[rows]))]
        return places[order]

    def _tie_keys(self, places: Integers) -> Iterator[Array]:
        for name in self._ties:
            values = self._columns[name][places]
            if values.dtype == object:
                values = values.astype(str)
            yield from values.T if values.ndim == 2 else (values,)

    def _room(self, wanted: int) -> int:
        """Return how many rows may be appended before the next compaction, at least one."""
        if self._limit is None:
            return wanted
        return min(wanted, self._capacity(self._limit) - self._count)

    @staticmethod
    def _capacity(limit: int) -> int:
        return limit + max(_LEAST_SPARE, int(limit * (SLACK - 1)))

    def _append(self, columns: Mapping[str, Array | RowsOf], priorities: Floats, rows: Integers) -> None:
        found = {**columns, "priorities": priorities}
        end = self._count + len(rows)
        self._reserve({**found, "arrivals": np.zeros(0, np.int64)}, end)
        for name, values in found.items():
            out = self._columns[name][self._count : end]
            if isinstance(values, RowsOf):
                values.write(rows, out)
            else:
                out[:] = values if len(rows) == len(values) else values[rows]
        self._columns["arrivals"][self._count : end] = self._arrivals + np.arange(len(rows))
        self._arrivals += len(rows)
        self._count = end
        self._ordered = None

    def _reserve(self, like: Mapping[str, Array | RowsOf], size: int) -> None:
        if self._columns and len(self._columns["arrivals"]) >= size:
            return
        grown = size * 3 // 2
        # Pages that were never written take no memory: the whole of what the limit allows is asked for while little
        # has to be copied for it, so that the columns are never there twice. A limit far off reserves nothing.
        if self._limit is not None and size * _EARLY > self._capacity(self._limit):
            grown = self._capacity(self._limit)
        for name, values in like.items():
            fresh = np.empty((grown, *values.shape[1:]), values.dtype)
            if self._count:
                fresh[: self._count] = self._columns[name][: self._count]
            self._columns[name] = fresh

    def _compact(self, limit: int) -> None:
        """Move survivors from behind the limit to the places of rows that leave."""
        survives = np.zeros(self._count, dtype=bool)
        survives[self._chosen()] = True
        holes = np.flatnonzero(~survives[:limit])
        movers = limit + np.flatnonzero(survives[limit:])
        for values in self._columns.values():
            values[holes] = values[movers]
        self._count = limit
        self._ordered = None
        self.bar = float(self._columns["priorities"][:limit].min())
