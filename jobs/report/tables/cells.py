"""Cells of result tables: numbers as printed, and which of them are the best of their column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobs import formatting


@dataclass(frozen=True, slots=True)
class Cell:
    """A number of a result table, and whether it is its column's best."""

    text: str
    best: bool


def percent_column(fractions: Sequence[float | None]) -> list[Cell]:
    """Write fractions 0..1 in percent; the largest, as printed, is the best, so that equals are bold together.

    A single number is not: there is nothing to compare it with.
    """
    texts = [formatting.percent(fraction) for fraction in fractions]
    numbers = [text for text in texts if text != formatting.NONE]
    best = max(numbers, key=float) if len(texts) > 1 and numbers else None
    return [Cell(text, text == best) for text in texts]
