"""Renders a `RunReport` as one HTML file that needs nothing else: styles and pictures inside.

It is whole without its script, which sorts and filters tables, and draws again from another score on.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from jobs import formatting
from jobs.report.page.contents import RunReport, StageRow
from jobs.report.page.gallery import Shot
from jobs.report.page.panels import pr_panels, recall_panels, scale_panels, training_groups
from jobs.report.plots import pictures
from jobs.report.plots.curves import colour_and_dash
from jobs.report.plots.heat import heat_map
from jobs.report.read.classification import METRICS, ClassEvaluation
from jobs.report.tables.classification import Confusion, confusions, figure_tables, per_class_table, row_name
from jobs.report.tables.detection import result_tables
from jobs.report.tables.detectors import detector_table
from jobs.report.tables.recall import mean_windows, recall_table
from pipelines.datasets.keys import shown
from sppnet.evaluation.error_kinds import ERRORS

WIDE_CATEGORIES = 24
"""Up to so many categories are the columns of the result tables; more become their rows."""

_FEW_CLASSES = 12  # whose table is open from the start
_MANY_QUARANTINED = 200
_TICKS = 6
_CLOCK_STEPS = (10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 604800)


@dataclass(frozen=True, slots=True)
class Heat:
    """A drawn confusion matrix: of which row, the picture, and its most frequent confusions."""

    row: str
    plot: Markup
    confusions: tuple[Confusion, ...]


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
    """Render the page.

    Args:
        report: All that it shows.

    Returns:
        A complete HTML document; every text in it is escaped.
    """
    return _template().render(
        report=report,
        evaluations=[
            (evaluation, detector_table(evaluation), result_tables(evaluation), pr_panels(evaluation))
            for evaluation in report.evaluations
        ],
        classes=[
            (
                evaluation,
                figure_tables(evaluation),
                scale_panels(evaluation),
                per_class_table(evaluation),
                heat(evaluation),
            )
            for evaluation in report.classes
        ],
        proposals=[(recall, recall_table(recall), recall_panels(recall)) for recall in report.proposals],
        training=training_groups(report.training),
        bars=time_bars(report.stages),
        ticks=time_ticks(report.stages),
        quarantined=quarantine_rows(report.stages),
        many_quarantined=_MANY_QUARANTINED,
        wide_categories=WIDE_CATEGORIES,
        few_classes=_FEW_CLASSES,
        errors=ERRORS,
        script=Markup(_script()),  # noqa: S704 - our own file
        script_digest=_digest(_script()),
    )


@cache
def _script() -> str:
    return (Path(__file__).parent / "page.js").read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """Return what the page's policy knows its script by: any other is not run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def shot_words(shot: Shot) -> str:
    """Count what is seen on a photograph, for its caption."""
    return f"{shot.count('right')} right · {shot.count(*ERRORS)} wrong · {shot.count('missed')} missed"


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (
        formatting.percent,
        formatting.points,
        formatting.interval,
        formatting.count,
        formatting.significant,
        formatting.size,
        formatting.duration,
    ):
        environment.filters[function.__name__] = function
    environment.filters |= {
        "rate": formatting.rate,
        "when": formatting.when,
        "mean_windows": mean_windows,
        "shot_words": shot_words,
    }
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    environment.globals["metrics"] = METRICS
    environment.globals["colour_and_dash"] = colour_and_dash
    environment.globals["palette"] = {
        "right": pictures.RIGHT,
        "wrong": pictures.WRONG,
        "missed": pictures.MISSED,
        "ignored": pictures.IGNORED,
    }
    return environment.get_template("page.html.j2")


def heat(evaluation: ClassEvaluation) -> Heat | None:
    """Draw the confusion matrix of the best row that has one."""
    row = next((row for row in evaluation.ranked if row.confusion), None)
    if row is None:
        return None
    name = row_name(row, evaluation)
    return Heat(name, heat_map(row.labels, row.confusion, f"Confusion matrix of {name}"), confusions(row))


def time_bars(stages: Iterable[StageRow]) -> tuple[Bar, ...]:
    """Put complete stages end to end: the engine runs one after another, so this is the run without its pauses."""
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
    """Return positions, in percent, and labels of the chart of times."""
    total = sum(_wall(row) for row in stages)
    if total <= 0:
        return ()
    steps = [base * unit for unit in (0.001, 0.01, 0.1, 1.0) for base in (1, 2, 5)] + list(_CLOCK_STEPS)
    step = next((step for step in steps if total / step <= _TICKS), total)
    return tuple((100 * i * step / total, _clock(i * step)) for i in range(int(total / step) + 1))


def _clock(seconds: float) -> str:
    """Write a duration without the smaller unit where that is zero."""
    return re.sub(r" 00 (s|min|h)$", "", formatting.duration(seconds))


def _wall(row: StageRow) -> float:
    return row.summary.wall_seconds if row.summary is not None else 0.0


@dataclass(frozen=True, slots=True)
class QuarantineRows:
    """Inputs set aside.

    Attributes:
        entries: `(name, stage, reason, detail)`, each once; the name is the image's path without its extension.
        reasons: Counts by reason, most frequent first.
    """

    entries: tuple[tuple[str, str, str, str], ...]
    reasons: Mapping[str, int]


def quarantine_rows(stages: Iterable[StageRow]) -> QuarantineRows:
    """List all inputs that any stage set aside, each once however many later stages account for it."""
    entries = dict.fromkeys(
        (shown(entry.key), entry.stage, entry.reason, entry.detail)
        for row in stages
        if row.summary is not None
        for entry in row.summary.quarantined
    )
    reasons = Counter(reason for _, _, reason, _ in entries)
    return QuarantineRows(tuple(entries), dict(reasons.most_common()))
