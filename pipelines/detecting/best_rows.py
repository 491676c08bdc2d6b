"""The best examples of a stream with bounded memory, the same in whatever order and parts they come."""

from __future__ import annotations

import numpy as np

from pipelines.artifacts.examples import Examples, no_examples
from sppnet.arrays import Array, Float32s, Float64s, Integers

_LEAST_SLACK = 256
SLACK = 9 / 8
"""Rows in memory at most, as a multiple of those that are kept."""
_ROWS_AT_ONCE = 1024


class TopExamples:
    """The examples of highest priority among all that are added; equal ones go by image key and window.

    Rows stay where they are until there are an eighth more than wanted; then the worst make room, in place. So
    memory is `9/8 limit` rows of features, as they are stored, and what is being added.

    Args:
        category: Of the result.
        limit: How many to keep; None keeps all.
    """

    def __init__(self, category: str, limit: int | None) -> None:
        self._category = category
        self._limit = limit
        self._count = 0
        self._bar = -np.inf
        self._next_time = 0
        self._ordered: Integers | None = None
        self._columns: dict[str, Array] = {}

    def __len__(self) -> int:
        return self._count if self._limit is None else min(self._count, self._limit)

    @property
    def dimension(self) -> int:
        """Length of a feature; 0 before there is one."""
        return int(self._columns["features"].shape[1]) if self._columns else 0

    def add(self, part: Examples, priorities: Float64s) -> None:
        """Add examples, each with its priority, a finite number; higher is better."""
        # Rows at the bar stay in: which of them is kept is decided by their names.
        rows = np.flatnonzero(priorities >= self._bar)
        while len(rows):
            room = self._room(len(rows))
            taken, rows = rows[:room], rows[room:]
            self._append(part, taken, priorities[taken])
            if self._limit is not None and len(rows):
                self._compact(self._limit)
                rows = rows[priorities[rows] >= self._bar]

    def take(self) -> Examples:
        """Return the chosen examples without their features, by falling priority; see `write_features`."""
        if not self._columns:
            return no_examples(self._category, 0)
        order = self._order()
        column = {name: values[order] for name, values in self._columns.items() if name != "features"}
        return Examples(
            category=self._category,
            keys=tuple(column["keys"].tolist()),
            windows=column["windows"],
            scores=column["scores"],
            boxes=column["boxes"],
            targets=column["targets"],
            features=np.zeros((len(order), 0), self._columns["features"].dtype),
        )

    def take_whole(self) -> Examples:
        """Return the chosen examples with their features, in the order in which they were added."""
        if not self._columns:
            return no_examples(self._category, 0)
        order = self._order()
        order = order[np.argsort(self._columns["times"][order])]  # later rows took the places of those that left
        whole = len(order) == self._count and bool((np.diff(order) > 0).all())  # nothing left: no copy is needed
        column = {n: values[: self._count] if whole else values[order] for n, values in self._columns.items()}
        return Examples(
            category=self._category,
            keys=tuple(column["keys"].tolist()),
            **{name: column[name] for name in ("windows", "scores", "boxes", "targets", "features")},
        )

    def write_features(self, rows: Integers, out: Float32s) -> None:
        """Write the features of some rows of `take`'s result as float32 into `out` `[len(rows), d]`."""
        places = self._order()[rows] if self._columns else rows
        for start in range(0, len(places), _ROWS_AT_ONCE):
            block = places[start : start + _ROWS_AT_ONCE]
            out[start : start + len(block)] = self._columns["features"][block]

    def _room(self, wanted: int) -> int:
        """Return how many rows may be appended before the next compaction, at least one."""
        if self._limit is None:
            return wanted
        return min(wanted, self._capacity(self._limit) - self._count)

    @staticmethod
    def _capacity(limit: int) -> int:
        return limit + max(_LEAST_SLACK, limit // 8)

    def _append(self, part: Examples, rows: Integers, priorities: Float64s) -> None:
        found = {
            "keys": np.array(part.keys, dtype=object),
            "windows": part.windows,
            "scores": part.scores,
            "boxes": part.boxes,
            "targets": part.targets,
            "features": part.features,
        }
        end = self._count + len(rows)
        self._reserve({**found, "priorities": priorities, "times": np.zeros(0, np.int64)}, end)
        for name, values in found.items():
            self._columns[name][self._count : end] = values if len(rows) == len(values) else values[rows]
        self._columns["priorities"][self._count : end] = priorities
        self._columns["times"][self._count : end] = self._next_time + np.arange(len(rows))
        self._next_time += len(rows)
        self._count = end
        self._ordered = None

    def _reserve(self, like: dict[str, Array], size: int) -> None:
        if self._columns and len(self._columns["times"]) >= size:
            return
        # Pages that were never written take no memory: the whole of what the limit allows is asked for at once.
        grown = max(size, size * 3 // 2) if self._limit is None else self._capacity(self._limit)
        for name, values in like.items():
            fresh = np.empty((grown, *values.shape[1:]), values.dtype)
            if self._count:
                fresh[: self._count] = self._columns[name][: self._count]
            self._columns[name] = fresh

    def _order(self) -> Integers:
        """Return places of the chosen rows, best first."""
        if self._ordered is None:
            column = {name: self._columns[name][: self._count] for name in ("windows", "keys", "priorities")}
            order = np.lexsort((column["windows"], column["keys"].astype(str), -column["priorities"]))
            self._ordered = order[: self._limit].astype(np.int64)
        return self._ordered

    def _compact(self, limit: int) -> None:
        """Move survivors from behind the limit to the places of rows that leave."""
        order = self._order()
        survives = np.zeros(self._count, dtype=bool)
        survives[order] = True
        holes = np.flatnonzero(~survives[:limit])
        movers = limit + np.flatnonzero(survives[limit:])
        for values in self._columns.values():
            values[holes] = values[movers]
        self._count = limit
        self._ordered = None
        self._bar = float(self._columns["priorities"][:limit].min())
