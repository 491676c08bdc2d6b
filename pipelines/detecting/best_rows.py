"""The best examples of a stream: `TopRows` of the columns of examples."""

from __future__ import annotations

import numpy as np
import torch

from pipelines.artifacts.examples import Examples, no_examples
from pipelines.artifacts.stepped_rows import as_floats
from sppnet.arrays import Array, Float32s, Float64s, Integers
from sppnet.top_rows import RowsOf, TopRows

_NUMBERS = ("windows", "scores", "boxes", "targets", "features")
_ROWS_AT_ONCE = 32  # which stay in the caches


class TopExamples:
    """The examples of highest priority among all that are added; equal ones go by image key and window.

    Args:
        category: Of the result.
        limit: How many to keep; None keeps all.
    """

    def __init__(self, category: str, limit: int | None) -> None:
        self._category = category
        self._rows = TopRows(limit, ties=("keys", "windows"))
        self._dimension = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def dimension(self) -> int:
        """Length of a feature; 0 before there is one."""
        return self._dimension

    def add(self, part: Examples, priorities: Float64s, features: RowsOf | None = None) -> None:
        """Add examples.

        Args:
            part: The examples.
            priorities: Of each, finite numbers; higher is better.
            features: Of each; default: those of `part`.
        """
        columns: dict[str, Array | RowsOf] = {name: getattr(part, name) for name in _NUMBERS}
        if features is not None:
            columns["features"] = features
        if len(part):
            self._dimension = columns["features"].shape[1]
        if part.steps is not None:
            columns["steps"] = part.steps
        self._rows.add({"keys": np.array(part.keys, dtype=object), **columns}, priorities)

    def take(self) -> Examples:
        """Return the chosen examples without their features, by falling priority; see `write_features`."""
        if not len(self):
            return no_examples(self._category, 0)
        return self._examples(self._rows.best_first(), features=False)

    def take_whole(self) -> Examples:
        """Return the chosen examples with their features, in the order in which they were added."""
        if not len(self):
            return no_examples(self._category, 0)
        return self._examples(self._rows.as_added(), features=True)

    def write_features(self, rows: Integers, out: Float32s) -> None:
        """Write the features of some rows of `take`'s result as float32 into `out` `[len(rows), d]`."""
        if not len(rows):
            return
        places = self._rows.best_first()[rows]
        features, steps = self._rows.column("features"), self._steps()
        for start in range(0, len(places), _ROWS_AT_ONCE):
            block = places[start : start + _ROWS_AT_ONCE]
            found = as_floats(features[block], None if steps is None else steps[block])
            # Torch widens half floats by vector instructions, numpy one by one.
            torch.from_numpy(out[start : start + len(block)]).copy_(torch.from_numpy(found))

    def _steps(self) -> Float32s | None:
        return self._rows.column("steps") if self._rows.has("steps") else None

    def _examples(self, places: Integers, *, features: bool) -> Examples:
        columns = {name: self._rows.column(name) for name in ("keys", *_NUMBERS)}
        if not features:
            columns["features"] = columns["features"][:, :0]
        elif (steps := self._steps()) is not None:
            columns["steps"] = steps
        if len(places) < len(columns["keys"]) or (np.diff(places) < 0).any():  # otherwise no copy is needed
            columns = {name: values[places] for name, values in columns.items()}
        keys = tuple(columns.pop("keys").tolist())
        return Examples(category=self._category, keys=keys, **columns)
