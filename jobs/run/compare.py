"""What differs between two runs: their recipes, what they found out, and what that took."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from jobs import formatting
from jobs.report.read.classification import METRICS, Metric
from jobs.run.differences import Difference, differences
from jobs.run.history import RunFolder
from jobs.run.results import DetectorFigures, RunResult, StepFigures
from jobs.run.summary import read_summary
from sppnet.errors import ConfigError

MEAN = "mean"
"""What stands for the category in a row of the mean over all categories."""
_AP = {"voc07": "VOC07", "area": "area", "coco": "COCO"}
_VALUE_LENGTH = 60  # characters of a recipe's value that a table shows


@dataclass(frozen=True, slots=True)
class Pair:
    """A figure of both runs; None where a run does not have it."""

    a: float | None
    b: float | None

    @property
    def difference(self) -> float | None:
        """What `b` is more than `a`; None unless both are there."""
        return None if self.a is None or self.b is None else round(self.b - self.a, 6)

    def to_json(self) -> dict[str, float | None]:
        """Return plain values."""
        return {"a": self.a, "b": self.b, "difference": self.difference}


@dataclass(frozen=True, slots=True)
class ComparedAp:
    """AP of a detector on a category, 0..1.

    Attributes:
        detector: The detector's title.
        category: The category, or `MEAN`.
        metric: `voc07` (11 points), `area` (under the curve) or `coco` (COCO's AP).
        ap: Of both runs.
    """

    detector: str
    category: str
    metric: str
    ap: Pair


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """A figure of a network or feature under a set of views, 0..1; see `jobs.run.results.ClassFigures`."""

    step: str
    name: str
    views: str
    metric: str
    figure: Pair


@dataclass(frozen=True, slots=True)
class ComparedStep:
    """What a step made, and the seconds that it took.

    Attributes:
        step: Its name.
        same: Whether both runs have the same artifact of it, so that it was made once.
        units: Units of work.
        worker_seconds: Summed over units.
        wall_seconds: From the first unit's start to the last one's commit.
    """

    step: str
    same: bool
    units: Pair
    worker_seconds: Pair
    wall_seconds: Pair


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        a: The first run's `name/when-fingerprint`.
        b: The second one's.
        recipe: Values of their recipes that differ.
        detectors: AP, the mean of each detector before its categories.
        classes: Figures of classification and transfer.
        steps: Every step of either.
        seconds: What their attempts took.
    """

    a: str
    b: str
    recipe: tuple[Difference, ...]
    detectors: tuple[ComparedAp, ...]
    classes: tuple[ComparedFigure, ...]
    steps: tuple[ComparedStep, ...]
    seconds: Pair

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "a": self.a,
            "b": self.b,
            "recipe": [{"path": found.path, "a": found.first, "b": found.second} for found in self.recipe],
            "detectors": [_plain(row) for row in self.detectors],
            "classes": [_plain(row) for row in self.classes],
            "steps": [_plain(row) for row in self.steps],
            "seconds": self.seconds.to_json(),
        }


def _plain(row: ComparedAp | ComparedFigure | ComparedStep) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in asdict(row)}
    return {name: value.to_json() if isinstance(value, Pair) else value for name, value in values.items()}


def compare_runs(a: RunFolder, b: RunFolder) -> Comparison:
    """Compare two runs of one workspace or of two.

    Raises:
        ConfigError: One of them has found out nothing yet.
        ArtifactError: What is recorded of one is corrupt.
    """
    (first, first_seconds), (second, second_seconds) = _result(a), _result(b)
    return Comparison(
        a=str(a.key),
        b=str(b.key),
        recipe=tuple(differences(a.recipe(), b.recipe())),
        detectors=tuple(_ap_rows(first, second)),
        classes=tuple(_class_rows(first, second)),
        steps=tuple(_step_rows(first, second)),
        seconds=Pair(first_seconds, second_seconds),
    )


def _result(folder: RunFolder) -> tuple[RunResult, float]:
    summary = read_summary(folder)
    if summary is None or summary.result is None:
        raise ConfigError(f"run {folder.key} has not come to an end yet: there is nothing to compare")
    return summary.result, summary.seconds


def _either(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """List the keys of both, in the order of the first."""
    return list(dict.fromkeys((*a, *b)))


def _ap_rows(a: RunResult, b: RunResult) -> Iterator[ComparedAp]:
    for detector in _either(a.steps, b.steps):
        sides = [_aps(run.steps.get(detector)) for run in (a, b)]
        for category, metric in dict.fromkeys((*sides[0], *sides[1])):
            pair = Pair(*(side.get((category, metric)) for side in sides))
            if (pair.a, pair.b) != (None, None):
                yield ComparedAp(detector, category, metric, pair)


def _aps(result: DetectorFigures | None) -> dict[tuple[str, str], float | None]:
    """List AP by category and metric."""
    if result is None:
        return {}
    found = {(MEAN, "voc07"): result.voc07_map, (MEAN, "area"): result.area_map, (MEAN, "coco"): result.coco.get("AP")}
    for name, score in result.categories.items():
        found |= {(name, "voc07"): score.voc07_ap, (name, "area"): score.area_ap, (name, "coco"): score.coco.get("AP")}
    return found


def _class_rows(a: RunResult, b: RunResult) -> Iterator[ComparedFigure]:
    sides = [
        {(row.step, row.name, row.views, metric): f.mean for row in run.classes for metric, f in row.figures.items()}
        for run in (a, b)
    ]
    for key in dict.fromkeys((*sides[0], *sides[1])):
        yield ComparedFigure(*key, Pair(*(side.get(key) for side in sides)))


def _step_rows(a: RunResult, b: RunResult) -> Iterator[ComparedStep]:
    for step in _either(a.stages, b.stages):
        first, second = a.stages.get(step), b.stages.get(step)

        def pair(take: Callable[[StepFigures], float], sides: Any = (first, second)) -> Pair:
            return Pair(*(None if side is None else take(side) for side in sides))

        yield ComparedStep(
            step=step,
            same=first is not None and second is not None and first.artifact == second.artifact,
            units=pair(lambda side: side.units),
            worker_seconds=pair(lambda side: side.worker_seconds),
            wall_seconds=pair(lambda side: side.wall_seconds),
        )


def comparison_tables(found: Comparison) -> list[Table]:
    """Make the tables that a person sees: recipe, AP, figures of classes, steps; none that would be empty."""
    tables = [_recipe_table(found), _ap_table(found), _class_table(found), _step_table(found)]
    return [table for table in tables if table.row_count]


def _recipe_table(found: Comparison) -> Table:
    table = Table("recipe", "a", "b")
    for change in found.recipe:
        table.add_row(change.path, _value(change.first), _value(change.second))
    return table


def _value(value: Any) -> str:
    text = formatting.NONE if value is None else json.dumps(value)
    return text if len(text) <= _VALUE_LENGTH else text[: _VALUE_LENGTH - 1] + "\u2026"


def _ap_table(found: Comparison) -> Table:
    """Show AP as each detector's protocol has it: of 11 points where there is such, else under the curve."""
    table = Table("detector", "category", "AP, %", "a", "b", "difference")
    eleven = {row.detector for row in found.detectors if row.metric == "voc07"}
    for row in found.detectors:
        if (row.metric == "voc07") == (row.detector in eleven):
            table.add_row(row.detector, row.category, _AP[row.metric], *_percents(row.ap))
    return table


def _class_table(found: Comparison) -> Table:
    table = Table("step", "row", "views", "figure, %", "a", "b", "difference")
    for row in found.classes:
        title = METRICS.get(row.metric, Metric(row.metric)).title
        table.add_row(row.step, row.name, row.views, title, *_percents(row.figure))
    return table


def _percents(pair: Pair) -> tuple[str, str, str]:
    change = formatting.NONE if pair.difference is None else f"{100 * pair.difference:+.1f}"
    return formatting.percent(pair.a), formatting.percent(pair.b), change


def _step_table(found: Comparison) -> Table:
    table = Table("step", "artifact", "units, a", "b", "worker time, a", "b", "wall time, a", "b")
    for row in found.steps:
        times = [_time(value) for pair in (row.worker_seconds, row.wall_seconds) for value in (pair.a, pair.b)]
        units = [formatting.count(value) for value in (row.units.a, row.units.b)]
        table.add_row(row.step, "the same" if row.same else "its own", *units, *times)
    table.add_row("all", "", "", "", "", "", _time(found.seconds.a), _time(found.seconds.b))
    return table


def _time(seconds: float | None) -> str:
    return formatting.NONE if seconds is None else formatting.duration(seconds)
