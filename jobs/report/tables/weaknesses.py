"""The table that tells why categories are weak, and what to try next, a line per weakness."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jobs import formatting
from jobs.report.read.analysis import LOW_SCORE, NO_PROPOSAL, Analysis, Weakness
from jobs.report.tables.cells import Cell

_WORTH = 0.01  # of mAP: cheaper errors get no advice
_SMALLER = 0.15  # of AP, between small or medium objects and large ones
_LINES = 6


@dataclass(frozen=True, slots=True)
class WeaknessRow:
    """One category, as printed, percent.

    Attributes:
        name: The category, or `mean`.
        figures: AP, objects, AP on small, medium and large ones, and recall of proposals.
        costs: What each kind of error costs; the highest of the row is marked.
        confused: What is taken for it, and how often.
    """

    name: str
    figures: tuple[str, ...]
    costs: tuple[Cell, ...]
    confused: str


@dataclass(frozen=True, slots=True)
class WeaknessTable:
    """Why each category is weak.

    Attributes:
        kinds: Headings of the costs.
        mean: The mean of all categories.
        rows: Categories in the data set's order.
        advice: What to try next, a line per weakness, the dearest first.
        partial: Whether windows of a part of the shards were looked at only.
    """

    kinds: tuple[str, ...]
    mean: WeaknessRow
    rows: tuple[WeaknessRow, ...]
    advice: tuple[str, ...]
    partial: bool


def weakness_table(analysis: Analysis) -> WeaknessTable | None:
    """Make the table; None without a category that has objects."""
    if not analysis.mean_costs:
        return None
    found = [one for one in analysis.weaknesses if one.ap is not None]
    sizes = {name: _mean([one.sizes[name] for one in found]) for name in found[0].sizes}
    mean = Weakness(
        "mean",
        _mean([one.ap for one in found]),
        sum(one.objects for one in found),
        sizes,
        _mean([one.recall for one in found]),
        analysis.mean_costs,
        (),
    )
    return WeaknessTable(
        kinds=tuple(mean.costs),
        mean=_row(mean),
        rows=tuple(map(_row, analysis.weaknesses)),
        advice=tuple(_advice(analysis, mean)),
        partial=len(analysis.units) < len(analysis.source.units),
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _row(one: Weakness) -> WeaknessRow:
    figures = (
        formatting.percent(one.ap),
        formatting.count(one.objects),
        *(formatting.percent(ap) for ap in one.sizes.values()),
        formatting.percent(one.recall),
    )
    texts = [formatting.percent(cost) if one.ap is not None else formatting.NONE for cost in one.costs.values()]
    highest = formatting.percent(max(one.costs.values()))
    costs = tuple(Cell(text, text == highest != formatting.percent(0.0)) for text in texts)
    confused = ", ".join(f"{name} ({times})" for name, times in one.confused)
    return WeaknessRow(one.category, figures, costs, confused)


def _advice(analysis: Analysis, mean: Weakness) -> Iterator[str]:
    """Say what may help against the dearest kinds of errors, and on sizes that are found worse than others."""
    ranked = sorted(mean.costs.items(), key=lambda pair: -pair[1])
    lines = []
    for kind, cost in ranked:
        if cost >= _WORTH:
            worst = _dearest(analysis, kind)
            figure = f"{kind.capitalize()} costs {100 * cost:.1f} points of mAP, most for {worst}"
            lines.append(f"{figure}: {_remedy(kind, analysis, mean)}.")
    smaller = [
        (name, ap)
        for name in ("small", "medium")
        if (ap := mean.sizes[name]) is not None and (mean.sizes["large"] or 0.0) - ap >= _SMALLER
    ]
    if smaller:
        name, ap = smaller[0]
        lines.append(
            f"AP is {100 * ap:.1f} % on {name} objects and {100 * (mean.sizes['large'] or 0):.1f} % on large ones: "
            "extract maps at a larger scale too, and train and score with it (extract.scales)."
        )
    yield from lines[:_LINES]


def _dearest(analysis: Analysis, kind: str) -> str:
    ranked = sorted(analysis.weaknesses, key=lambda one: -one.costs[kind])[:3]
    return ", ".join(f"{one.category} ({100 * one.costs[kind]:.1f})" for one in ranked if one.costs[kind] > 0)


def _remedy(kind: str, analysis: Analysis, mean: Weakness) -> str:
    if kind == "localisation":
        if analysis.source.row.regressed:
            return "more windows (propose.max_windows) or more scales place boxes better"
        return "regress the boxes (train-regressors, then score.regressors)"
    if kind == NO_PROPOSAL:
        recall = f"windows overlap {formatting.percent(mean.recall)} % of the objects enough; "
        return recall + "propose more of them (propose.max_windows), or by both methods (propose.methods)"
    return {
        "classification": "fine-tune, or fine-tune for longer, and show the SVMs more examples of what is confused",
        "both": "fine-tune, and mine more hard negatives (train-svms.rounds, hard_per_image)",
        "duplicate": "suppress at a smaller overlap (score.nms_iou)",
        "background": "mine more hard negatives (train-svms.rounds, hard_per_image), on more images",
        LOW_SCORE: "a window is there and no detection: keep lower scores (score.threshold) and more of an image "
        "(score.per_image), and train on more objects",
        "missed": "propose more windows (propose.max_windows), and keep lower scores (score.threshold)",
    }[kind]
