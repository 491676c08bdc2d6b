"""Class metrics are read, and nothing else is taken for them."""

from __future__ import annotations

import json

import pytest

from jobs.report.read.classification import ClassEvaluation, Figure, read_class_evaluation
from sppnet.errors import ArtifactError
from tests.support.reported import class_row


def test_rows_of_networks_groups_and_ensembles_are_read():
    def stored(name: str, kind: str, members: list[str], deviation: float | None) -> dict:
        figures = {
            "top1_error": {"mean": 0.25, "deviation": deviation},
            "mean_accuracy": {"mean": 1, "deviation": None},
        }
        entries = {"labels": ["a", "b"], "confusion": [[0, 0, 3], [1, 0, 1]]}
        told = {"name": name, "views": "full", "kind": kind, "members": members, "images": 4}
        return {**told, "figures": figures, "classes": {"a": 1.0, "b": None}, **entries}

    rows = [
        stored("n", "network", ["n"], None),
        stored("e", "ensemble", ["n", "m"], None),
        stored("g", "group", ["n", "m"], 0.1),
    ]
    found = read_class_evaluation(json.dumps({"split": "val", "rows": rows}).encode(), "errors", "here")
    assert [row.members for row in found.rows] == [1, 1, 2]
    assert found.rows[2].figures == {"top1_error": Figure(0.25, 0.1)}
    assert found.rows[0].confusion == ((0, 0, 3), (1, 0, 1))
    assert found.rows[0].classes == {"a": 1.0, "b": None}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"split": "val"}',
        b'{"split": "val", "rows": [{"name": "a"}]}',
        b'{"split": "val", "protocol": "other", "rows": []}',
        b'{"split": "v", "rows": [{"name": "a", "views": "f", "figures": {}, "images": 1, "members": [], "classes": {},'
        b' "labels": ["x"], "confusion": [[0, 1, 2]]}]}',
        b'{"split": "v", "rows": [{"name": "a", "views": "f", "images": 1, "members": [], "classes": {},'
        b' "figures": {"top1_error": {"mean": NaN, "deviation": null}}}]}',
    ],
)
def test_something_else_is_no_class_metrics(body: bytes):
    with pytest.raises(ArtifactError, match="here: not class metrics"):
        read_class_evaluation(body, "errors", "here")


def test_the_best_row_comes_first_and_of_equal_ones_the_later():
    def ranked(metric: str, *values: float | None) -> list[str]:
        rows = [
            class_row(f"r{number}", "full", 0, figures={} if value is None else {metric: Figure(value)})
            for number, value in enumerate(values)
        ]
        return [row.name for row in ClassEvaluation("step", "val", "AP", "features", "splits", tuple(rows)).ranked]

    assert ranked("voc07_map", 0.68, 0.70, 0.66) == ["r1", "r0", "r2"]
    assert ranked("top1_error", 0.3, 0.2, 0.4) == ["r1", "r0", "r2"]
    assert ranked("voc07_map", 0.5, None, 0.5) == ["r2", "r0", "r1"]
    assert ranked("voc07_map", None, None) == ["r1", "r0"]
