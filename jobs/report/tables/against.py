"""The detector beside one of another run: AP by category, and what differs in the recipes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from jobs import formatting
from jobs.report.read.detection import Evaluation
from jobs.run.compare import MEAN, ComparedAp, Comparison

_LONGEST = 80  # characters of a recipe's value


@dataclass(frozen=True, slots=True)
class AgainstTable:
    """Two runs side by side.

    Attributes:
        here: This run's key.
        there: The other's.
        detectors: The names of both detectors.
        rows: Category, AP there, AP here, and the difference, percent; the mean first.
        recipe: What differs in the recipes: where, there, here.
    """

    here: str
    there: str
    detectors: tuple[str, str]
    rows: tuple[tuple[str, str, str, str], ...]
    recipe: tuple[tuple[str, str, str], ...]


def against_table(found: Comparison, evaluation: Evaluation) -> AgainstTable:
    """Compare the chosen detector with the other run's of the same name, or with its best.

    Args:
        found: The other run as `a`, this one as `b`.
        evaluation: This run's evaluation.
    """
    metric = {"coco": "coco", "det": "area"}.get(evaluation.protocol, "voc07")
    rows = [row for row in found.detectors if row.metric == metric]
    name = evaluation.chosen_row.name
    here = {row.category: row.ap.b for row in rows if row.detector in (name, f"{evaluation.step}/{name}")}
    title = _other(rows, (name, f"{evaluation.step}/{name}"))
    there = {row.category: row.ap.a for row in rows if row.detector == title}
    return AgainstTable(
        here=found.b,
        there=found.a,
        detectors=(title, name),
        rows=tuple(
            (category, *_percents(there.get(category), here.get(category)))
            for category in dict.fromkeys((MEAN, *evaluation.categories, *there))
        ),
        recipe=tuple((change.path, _value(change.first), _value(change.second)) for change in found.recipe),
    )


def _other(rows: list[ComparedAp], names: tuple[str, ...]) -> str:
    means = {row.detector: row.ap.a for row in rows if row.category == MEAN and row.ap.a is not None}
    same = [name for name in names if name in means]
    return same[0] if same else max(means, key=lambda title: means[title] or 0.0, default=formatting.NONE)


def _percents(there: float | None, here: float | None) -> tuple[str, str, str]:
    change = formatting.NONE if there is None or here is None else f"{100 * (here - there):+.1f}"
    return formatting.percent(there), formatting.percent(here), change


def _value(value: Any) -> str:
    text = formatting.NONE if value is None else json.dumps(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\u2026"
