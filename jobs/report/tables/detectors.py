"""The table of detectors: what each is made of, how good it is, and what an image costs (Tables 9 and 10)."""

from __future__ import annotations

from dataclasses import dataclass

from jobs import formatting
from jobs.report.read.detection import DetectorAccount, Evaluation
from jobs.report.tables.cells import Cell, percent_column
from sppnet.evaluation.coco import FIGURES

_SCALES_AT_MOST = 2
_NAMES_AT_MOST = 2
_UNKNOWN = DetectorAccount((), (), (), (), (), None, None)


@dataclass(frozen=True, slots=True)
class DetectorTable:
    """One row a detector variant.

    Attributes:
        metrics: Headings of the mean average precisions, in percent: VOC07's 11-point one, the area under the curve;
            of COCO's protocol its twelve figures.
        rows: In the evaluation's order.
        notes: What the numbers need to be read rightly, a sentence each.
    """

    metrics: tuple[str, ...]
    rows: tuple[DetectorRow, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DetectorRow:
    """One detector variant, as printed.

    Attributes:
        name: Its name.
        made: Features, scales, windows, backbone, and what windows are pooled from.
        figures: A mean average precision per metric.
        times: Worker milliseconds an image: convolution, scoring, of it features and SVMs, and all together.
    """

    name: str
    made: tuple[str, ...]
    figures: tuple[Cell, ...]
    times: tuple[str, ...]


def detector_table(evaluation: Evaluation) -> DetectorTable | None:
    """Make the table of an evaluation; None where nothing is known of its detectors but their figures."""
    accounts = [row.account for row in evaluation.rows]
    known = [account for account in accounts if account is not None]
    if not known:
        return None
    columns = {
        "VOC07": [row.voc07_map for row in evaluation.rows],
        "area": [row.area_map for row in evaluation.rows],
        **{name: [row.coco.get(name) for row in evaluation.rows] for name in FIGURES},
    }
    shown = {title: values for title, values in columns.items() if any(value is not None for value in values)}
    cells = [percent_column(values) for values in shown.values()]
    rows = tuple(
        DetectorRow(row.name, _made(account or _UNKNOWN), tuple(column[place] for column in cells), _times(account))
        for place, (row, account) in enumerate(zip(evaluation.rows, accounts, strict=True))
    )
    return DetectorTable(tuple(shown), rows, _notes(known))


def _made(account: DetectorAccount) -> tuple[str, ...]:
    values = (
        _union(account.features),
        _scales(account.scales),
        _union(account.windows),
        _union(account.backbones),
        _union(account.sources),
    )
    return tuple(value or formatting.NONE for value in values)


def _union(values: tuple[str, ...]) -> str:
    """Tell what detectors together have; of many the first and how many more."""
    if len(values) <= _NAMES_AT_MOST:
        return " + ".join(values)
    return f"{values[0]} + {len(values) - 1} more"


def _scales(scales: tuple[int, ...]) -> str:
    """List all of a few; of many the ends and their number."""
    if len(scales) <= _SCALES_AT_MOST:
        return ", ".join(map(str, scales))
    return f"{scales[0]} to {scales[-1]} ({len(scales)})"


def _times(account: DetectorAccount | None) -> tuple[str, ...]:
    if account is None:
        return (formatting.NONE,) * 5
    maps = "maps" in account.sources
    convolution = _milliseconds(account.convolution) if maps else "in scoring"
    parts = (account.scoring, account.pooling, account.svm, account.total)
    return convolution, *map(_milliseconds, parts)


def _milliseconds(seconds: float | None) -> str:
    return formatting.NONE if seconds is None else formatting.significant(1000 * seconds)


def _notes(accounts: list[DetectorAccount]) -> tuple[str, ...]:
    notes = []
    if any("maps" in account.sources for account in accounts):
        notes.append(
            "Convolution: making the maps that the detector reads, all scales, from decoding to storing; it is spent "
            "once, however many detectors read them."
        )
    notes.append("Scoring: reading, pooling and fc layers (features), SVMs and suppression.")
    if any(account.regresses for account in accounts):
        notes.append("Where a step has regressors its scoring includes them, in the row without +bb too.")
    if any("crops" in account.sources for account in accounts):
        notes.append("From crops is R-CNN's way: they are convolved while scoring, a window at a time.")
    return tuple(notes)
