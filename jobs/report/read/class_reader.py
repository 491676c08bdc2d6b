"""Reads `class-metrics` artifacts, those of `evaluate-classes` and of `transfer`, into what the report shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jobs.report.read.classification import ClassEvaluation, ClassRow, Figure
from jobs.report.read.json_numbers import finite
from sppnet.errors import ArtifactError

_CLASSIFICATION = ("top1_error", "top5_error")
_TRANSFER = {"voc07": ("voc07_map",), "caltech101": ("mean_accuracy",)}
"""The figures that each protocol is told by; the artifact has more."""


def read_class_evaluation(data: bytes, step: str, where: str) -> ClassEvaluation:
    """Reads what a step that judges classes wrote.

    Args:
        data: The bytes.
        step: The step's name.
        where: What the bytes are, for the error's message.

    Raises:
        ArtifactError: The bytes are something else.
    """
    try:
        body = json.loads(data)
        protocol = body.get("protocol")
        figures = _TRANSFER[protocol] if protocol else _CLASSIFICATION
        return ClassEvaluation(
            step=step,
            split=str(body["split"]),
            per_class="AP" if protocol == "voc07" else "accuracy",
            subject="features" if protocol else "network",
            members="splits" if protocol else "networks",
            rows=tuple(_row(row, figures) for row in body["rows"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{where}: not class metrics ({type(error).__name__}: {error})") from error


def _row(row: Mapping[str, Any], figures: tuple[str, ...]) -> ClassRow:
    labels = tuple(map(str, row.get("labels", ())))
    entries = tuple((int(truth), int(taken), int(images)) for truth, taken, images in row.get("confusion", ()))
    if not all(0 <= place < len(labels) for entry in entries for place in entry[:2]):
        raise ValueError("a confusion of a class that is not among the labels")
    return ClassRow(
        name=str(row["name"]),
        views=str(row["views"]),
        figures={name: _figure(row["figures"][name]) for name in figures if name in row["figures"]},
        images=int(row["images"]),
        # An ensemble is one classifier, however many networks it averages: nothing varies.
        members=1 if row.get("kind") == "ensemble" else max(1, len(row["members"])),
        classes={str(name): None if value is None else finite(value) for name, value in row["classes"].items()},
        labels=labels,
        confusion=entries,
    )


def _figure(figure: Mapping[str, Any]) -> Figure:
    deviation = figure["deviation"]
    return Figure(finite(figure["mean"]), None if deviation is None else finite(deviation))
