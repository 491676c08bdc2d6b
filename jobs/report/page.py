"""Renders a `RunReport` as one HTML file that needs nothing else: styles and pictures inside, no scripts."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from jobs.report import figures, pictures
from jobs.report.matching import ERRORS
from jobs.report.model import CategoryScore, DetectorScore, Evaluation, RunReport, StageRow, Tally, Training
from jobs.report.plots import Line, colour_and_dash, pr_panel, spans_decades, training_panel

WIDE_CATEGORIES = 24
"""Up to so many categories are the columns of the result tables; more become their rows."""

_PANELS_AT_MOST = 40
_MANY_QUARANTINED = 200
_TICKS = 6
_CLOCK_STEPS = (10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 604800)
_NO_SCORE = CategoryScore(None, None, 0, 0, 0, None)


@dataclass(frozen=True, slots=True)
class Cell:
    """A number of a result table, and whether it is its column's best."""

    text: str
    best: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A result table, detectors by categories.

    Attributes:
        title: The metric.
        rows: Per detector, the mean and then each category.
    """

    title: str
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """A small plot with its caption."""

    title: str
    note: str
    plot: Markup
    legend: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """A stage in the chart of times: where it starts and how long it is, percent of the chart's width."""

    row: StageRow
    left: float
    width: float
    parallel: float

    @property
    def share(self) -> str:
        """The stage's share of all time, percent."""
        if self.width >= 9.5:
            return f"{self.width:.0f}"
        return f"{self.width:.1f}" if self.width >= 0.05 else "<0.1"


def render(report: RunReport) -> str:
    """Renders the page.

    Args:
        report: All that it shows.

    Returns:
        A complete HTML document; every text in it is escaped.
    """
    return _template().render(
        report=report,
        evaluations=[
            (evaluation, result_tables(evaluation), pr_panels(evaluation)) for evaluation in report.evaluations
        ],
        training=[(training, training_panels(training)) for training in report.training],
        bars=time_bars(report.stages),
        ticks=time_ticks(report.stages),
        quarantined=quarantine_rows(report.stages),
        many_quarantined=_MANY_QUARANTINED,
        wide_categories=WIDE_CATEGORIES,
        errors=ERRORS,
        totals=total_tally(report.gallery.tallies.values() if report.gallery else ()),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (figures.percent, figures.count, figures.size, figures.duration, figures.rate, figures.when):
        environment.filters[function.__name__] = function
    environment.globals["colour_and_dash"] = colour_and_dash
    environment.globals["palette"] = {
        "right": pictures.RIGHT,
        "wrong": pictures.WRONG,
        "missed": pictures.MISSED,
        "ignored": pictures.IGNORED,
    }
    return environment.get_template("page.html.j2")


def result_tables(evaluation: Evaluation) -> tuple[Table, Table]:
    """The 11-point table and the area table."""
    return (
        _table("VOC 2007 11-point", evaluation, lambda row: row.voc07_map, lambda score: score.voc07_ap),
        _table("Area under the curve", evaluation, lambda row: row.area_map, lambda score: score.area_ap),
    )


def _table(
    title: str,
    evaluation: Evaluation,
    mean: Callable[[DetectorScore], float | None],
    ap: Callable[[CategoryScore], float | None],
) -> Table:
    texts = [
        [figures.percent(mean(row))]
        + [figures.percent(ap(row.categories.get(name, _NO_SCORE))) for name in evaluation.categories]
        for row in evaluation.rows
    ]
    columns = [_best(column) for column in zip(*texts, strict=True)]
    rows = tuple(tuple(Cell(text, text == columns[i]) for i, text in enumerate(row)) for row in texts)
    return Table(title, rows)


def _best(column: Sequence[str]) -> str | None:
    """The largest number as printed, so that equals are bold together; None if there is nothing to compare."""
    numbers = [text for text in column if text != figures.NONE]
    return max(numbers, key=float) if len(column) > 1 and numbers else None


def pr_panels(evaluation: Evaluation) -> tuple[Panel, ...]:
    """A panel per category; of very many categories, the best and the worst of the final detector."""
    final = evaluation.rows[-1] if evaluation.rows else None
    if final is None:
        return ()
    names = [name for name in evaluation.categories if final.categories.get(name, _NO_SCORE).voc07_ap is not None]
    if len(names) > _PANELS_AT_MOST:
        ranked = sorted(names, key=lambda name: -(final.categories[name].voc07_ap or 0.0))
        names = ranked[: _PANELS_AT_MOST // 2] + ranked[-_PANELS_AT_MOST // 2 :]
    return tuple(
        Panel(
            title=name,
            note=figures.percent(final.categories[name].voc07_ap),
            plot=pr_panel([row.categories.get(name) for row in evaluation.rows], f"Precision over recall, {name}"),
        )
        for name in names
    )


def training_panels(training: Training) -> tuple[Panel, ...]:
    """Loss, accuracy, learning rate and whatever else a training stage logged, each in a panel of its own."""
    groups: dict[str, list[Line]] = {"loss": [], "accuracy": [], "error": [], "learning rate": []}
    for name in dict.fromkeys(key for point in training.points for key in point if key != "step"):
        pairs = [
            (point.get("step", float(i)), point[name])
            for i, point in enumerate(training.points)
            if name in point and math.isfinite(point[name])
        ]
        if pairs:
            steps, values = zip(*pairs, strict=True)
            groups.setdefault(_group(name), []).append(Line(name.replace("_", " "), steps, values))
    if groups["accuracy"] and all(line.name == "held out error" for line in groups["error"]):
        groups["error"] = []  # it is one minus the accuracy
    return tuple(_training_panel(training, title, lines) for title, lines in groups.items() if lines)


def _group(name: str) -> str:
    if name in ("lr", "learning_rate"):
        return "learning rate"
    for title in ("loss", "error"):
        if title in name:
            return title
    return "accuracy" if "acc" in name or name.startswith("held_out") else name.replace("_", " ")


def _training_panel(training: Training, title: str, lines: Sequence[Line]) -> Panel:
    rates = title == "learning rate"
    last = ", ".join(f"{line.values[-1]:.3g}" for line in lines)
    plot = training_panel(
        lines,
        f"{title} of {training.step} over training steps",
        log=rates and spans_decades([value for line in lines for value in line.values]),
        stepped=rates,
    )
    return Panel(title, f"at the end {last}", plot, tuple(line.name for line in lines) if len(lines) > 1 else ())


def total_tally(tallies: Iterable[Tally]) -> Tally:
    """The sum over categories."""
    rows = list(tallies)
    errors = {name: sum(row.errors.get(name, 0) for row in rows) for name in ERRORS}
    return Tally(sum(row.right for row in rows), errors, sum(row.missed for row in rows))


def time_bars(stages: Iterable[StageRow]) -> tuple[Bar, ...]:
    """Complete stages end to end: the engine runs one after another, so this is the run without its pauses."""
    rows = [row for row in stages if row.summary is not None]
    total = sum(_wall(row) for row in rows)
    bars, start = [], 0.0
    for row in rows:
        wall = _wall(row)
        if total > 0 and row.summary is not None:
            parallel = row.summary.seconds / wall if wall > 0 else 0.0
            bars.append(Bar(row, 100 * start / total, 100 * wall / total, parallel))
        start += wall
    return tuple(bars)


def time_ticks(stages: Iterable[StageRow]) -> tuple[tuple[float, str], ...]:
    """Positions, in percent, and labels of the chart of times."""
    total = sum(_wall(row) for row in stages)
    if total <= 0:
        return ()
    steps = [base * unit for unit in (0.001, 0.01, 0.1, 1.0) for base in (1, 2, 5)] + list(_CLOCK_STEPS)
    step = next((step for step in steps if total / step <= _TICKS), total)
    return tuple((100 * i * step / total, _clock(i * step)) for i in range(int(total / step) + 1))


def _clock(seconds: float) -> str:
    """A duration without the smaller unit where that is zero."""
    return re.sub(r" 00 (s|min|h)$", "", figures.duration(seconds))


def _wall(row: StageRow) -> float:
    return row.summary.wall_seconds if row.summary is not None else 0.0


@dataclass(frozen=True, slots=True)
class QuarantineRows:
    """Inputs set aside.

    Attributes:
        entries: `(key, stage, reason, detail)`, each once.
        reasons: Counts by reason, most frequent first.
    """

    entries: tuple[tuple[str, str, str, str], ...]
    reasons: Mapping[str, int]


def quarantine_rows(stages: Iterable[StageRow]) -> QuarantineRows:
    """All inputs that any stage set aside, each once however many later stages account for it."""
    entries = dict.fromkeys(
        (entry.key, entry.stage, entry.reason, entry.detail)
        for row in stages
        if row.summary is not None
        for entry in row.summary.quarantined
    )
    reasons = Counter(reason for _, _, reason, _ in entries)
    return QuarantineRows(tuple(entries), dict(reasons.most_common()))
