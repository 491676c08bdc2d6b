from __future__ import annotations

import json
import math

import numpy as np
import pytest

from pipelines.artifacts.class_metrics import confusions_body, figures_body, rounded
from sppnet.evaluation.classification import ClassResult


def test_figures_are_rounded_to_six_digits() -> None:
    assert rounded(1 / 3) == 0.333333
    assert rounded(None) is None


def test_figures_have_a_mean_and_a_deviation() -> None:
    found = figures_body({"one": [0.5], "three": [0.1, 0.2, 0.6], "some": [0.1, None]})
    assert found["one"] == {"mean": 0.5, "deviation": None}
    assert found["three"]["mean"] == 0.3
    assert found["three"]["deviation"] == pytest.approx(math.sqrt(0.14 / 2), abs=1e-6)
    assert "some" not in found


def test_confusions_are_the_entries_that_occur() -> None:
    confusion = np.array([[3, 0, 1], [0, 0, 0], [0, 2, 5]])
    body = confusions_body(ClassResult(("ant", "bee", "cat"), confusion, in_top5=0))
    assert body == {"labels": ["ant", "bee", "cat"], "confusion": [[0, 0, 3], [0, 2, 1], [2, 1, 2], [2, 2, 5]]}
    assert json.dumps(body)
