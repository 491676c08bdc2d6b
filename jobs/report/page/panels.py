"""Small plots: precision over recall by category, recall of proposals, figures over scales, curves of trainings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from jobs import formatting
from jobs.report.plots.curves import Line, Panel, pr_panel, recall_panel, scale_panel, spans_decades, training_panel
from jobs.report.read.classification import METRICS, ClassEvaluation
from jobs.report.read.detection import Evaluation
from jobs.report.read.recall import RecallEvaluation, RecallRow
from jobs.report.read.training import TrainingCurve
from jobs.report.tables.classification import scale_curves
from jobs.report.tables.detection import NO_SCORE
from jobs.report.tables.recall import shown_places
from pipelines.training.best_weights import KEPT

_PANELS_AT_MOST = 40
_ALONE_AT_MOST = 4  # training steps of one stage; more share their panels
_TOGETHER_AT_MOST = 12
_POINTS_AT_MOST = 300
_FIRST = ("loss", "error", "accuracy", "accuracy on objects", "learning rate")
_TITLES = {
    "lr": "learning rate",
    "learning_rate": "learning rate",
    "held_out_objects": "accuracy on objects",
}


def pr_panels(evaluation: Evaluation) -> tuple[Panel, ...]:
    """Make a panel per category; of very many categories, of the best and the worst of the chosen detector."""
    final = evaluation.chosen_row if evaluation.rows else None
    if final is None:
        return ()
    names = [name for name in evaluation.categories if final.categories.get(name, NO_SCORE).ap is not None]
    if len(names) > _PANELS_AT_MOST:
        ranked = sorted(names, key=lambda name: -(final.categories[name].ap or 0.0))
        names = ranked[: _PANELS_AT_MOST // 2] + ranked[-_PANELS_AT_MOST // 2 :]
    return tuple(
        Panel(
            title=name,
            note=formatting.percent(final.categories[name].ap),
            plot=pr_panel(
                [row.categories.get(name) for row in evaluation.rows],
                f"Precision over recall, {name}",
                evaluation.chosen_place,
            ),
        )
        for name in names
    )


@dataclass(frozen=True, slots=True)
class TrainingGroup:
    """Training steps that are shown together.

    Attributes:
        title: The step's name, or what they have in common.
        steps: Names of the steps that share the panels, one line each; empty for a step on its own.
        panels: A panel per figure.
    """

    title: str
    steps: tuple[str, ...]
    panels: tuple[Panel, ...]


def scale_panels(evaluation: ClassEvaluation) -> tuple[Panel, ...]:
    """Make a panel per metric of what is known at several scales, a line per network or features."""
    panels = []
    for metric, found in scale_curves(evaluation).items():
        told = METRICS[metric]
        lines = [
            Line(name, tuple(scale for scale, _ in points), tuple(100 * figure.mean for _, figure in points))
            for name, points in found.items()
        ]
        best = min if told.lower_is_better else max
        points = [point for line in lines for point in zip(line.values, line.places, strict=True)]
        value, scale = best(points)
        label = f"{told.title} of {evaluation.step} over the short side of the image"
        others = len({row.name for row in evaluation.rows}) > 1  # of which some may have too few scales for a line
        names = tuple(found) if others or len(found) > 1 else ()
        panels.append(Panel(told.title, f"best {value:.1f} at {scale:g}", scale_panel(lines, label), names))
    return tuple(panels)


def training_groups(trainings: Sequence[TrainingCurve]) -> tuple[TrainingGroup, ...]:
    """Show a step's curves on their own; of a stage that comes often (several networks or seeds) in common panels."""
    by_stage: dict[str, list[TrainingCurve]] = {}
    for training in trainings:
        by_stage.setdefault(training.stage, []).append(training)
    groups: list[TrainingGroup] = []
    for stage, found in by_stage.items():
        if len(found) <= _ALONE_AT_MOST:
            groups += [TrainingGroup(training.step, (), training_panels(training)) for training in found]
            continue
        for start in range(0, len(found), _TOGETHER_AT_MOST):
            together = found[start : start + _TOGETHER_AT_MOST]
            groups.append(TrainingGroup(stage, tuple(one.step for one in together), _common_panels(together)))
    return tuple(groups)


def training_panels(training: TrainingCurve) -> tuple[Panel, ...]:
    """Make panels of loss, error, learning rate and whatever else a training stage logged, one for each."""
    return tuple(
        _training_panel(title, lines, training.step) for title, lines in _lines_by_title(training).items() if lines
    )


def _common_panels(trainings: Sequence[TrainingCurve]) -> tuple[Panel, ...]:
    """Make a panel per figure that every step has one of, a line per step."""
    found = [_lines_by_title(training) for training in trainings]
    titles = [title for title in found[0] if all(len(lines.get(title, ())) == 1 for lines in found)]
    panels = []
    for title in titles:
        lines = [replace(own[title][0], name=training.step) for own, training in zip(found, trainings, strict=True)]
        ends = sorted(line.values[-1] for line in lines)
        last = " to ".join(dict.fromkeys((f"{ends[0]:.3g}", f"{ends[-1]:.3g}")))
        panels.append(Panel(title, f"at the end {last}", _plot(title, lines, f"{len(lines)} steps")))
    return tuple(panels)


def _lines_by_title(training: TrainingCurve) -> dict[str, list[Line]]:
    groups: dict[str, list[Line]] = {title: [] for title in _FIRST}
    names = dict.fromkeys(key for point in training.points for key in point if key not in ("step", KEPT))
    if "held_out_error" in names:
        names.pop("held_out_accuracy", None)  # it is one minus the error
    for name in names:
        pairs = [
            (point.get("step", float(i)), point[name])
            for i, point in enumerate(training.points)
            if name in point and math.isfinite(point[name])
        ]
        if pairs:
            steps, values = zip(*_thinned(pairs), strict=True)
            groups.setdefault(_title(name), []).append(Line(name.replace("_", " "), steps, values))
    return groups


def _thinned(pairs: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Keep at most so many points as a panel can show, evenly, with the first and the last."""
    if len(pairs) <= _POINTS_AT_MOST:
        return pairs
    last = len(pairs) - 1
    return [pairs[round(i * last / (_POINTS_AT_MOST - 1))] for i in range(_POINTS_AT_MOST)]


def _title(name: str) -> str:
    if name in _TITLES:
        return _TITLES[name]
    for title in ("loss", "error"):
        if title in name:
            return title
    return "accuracy" if "acc" in name or name.startswith("held_out") else name.replace("_", " ")


def _training_panel(title: str, lines: Sequence[Line], step: str) -> Panel:
    last = ", ".join(f"{line.values[-1]:.3g}" for line in lines)
    legend = tuple(line.name for line in lines) if len(lines) > 1 else ()
    return Panel(title, f"at the end {last}", _plot(title, lines, step), legend)


def _plot(title: str, lines: Sequence[Line], of: str) -> Markup:
    rates = title == "learning rate"
    values = [value for line in lines for value in line.values]
    label = f"{title} of {of} over training steps"
    return training_panel(lines, label, log=rates and spans_decades(values), stepped=rates)


def recall_panels(evaluation: RecallEvaluation) -> tuple[Panel, ...]:
    """Draw recall of all windows against IoU, and at some overlaps against the number of windows; a line per step."""
    if not any(row.curves for row in evaluation.rows):
        return ()
    of = f"{evaluation.step}, {evaluation.split}"  # a page's plots need labels of their own
    lines = [_by_iou(row, evaluation.ious) for row in evaluation.rows]
    panels = [Panel("recall by IoU", "all windows", recall_panel(lines, f"Recall over IoU: {of}", over="IoU"))]
    for place in shown_places(evaluation):
        iou = f"{evaluation.ious[place]:g}"
        lines = [_by_windows(row, place) for row in evaluation.rows]
        label = f"Recall at IoU {iou} over the number of windows: {of}"
        plot = recall_panel(lines, label, over="windows an image", log=True)
        panels.append(Panel(f"recall at IoU {iou}", "by windows", plot))
    return tuple(panels)


def _by_iou(row: RecallRow, ious: tuple[float, ...]) -> Line:
    """Make a line of all windows' recall; empty without objects, but it keeps its place among the colours."""
    return Line(row.name, ious, row.whole.recall) if row.whole is not None else Line(row.name, (), ())


def _by_windows(row: RecallRow, place: int) -> Line:
    """Make a line of recall at one overlap; the last point is that of all windows, at their mean number."""
    mean = row.windows_per_image or 0.0
    points = [(float(c.windows), c.recall[place]) for c in row.curves if c.windows is not None and c.windows < mean]
    if row.whole is not None and mean > 0:
        points.append((mean, row.whole.recall[place]))
    points.sort()
    return Line(row.name, tuple(count for count, _ in points), tuple(value for _, value in points))
