"""How stages are told how scored windows become detections."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from pipelines.detecting.suppression import SuppressionFields
from sppnet.detection.ensemble import Rules


def test_fields_become_rules() -> None:
    assert SuppressionFields(stage="score").rules() == Rules(-1.5, 0.3, 100)
    rules = SuppressionFields(stage="score", threshold=None, nms_iou=0.5, per_image=7).rules()
    assert rules == Rules(None, 0.5, 7)
    assert (rules.least, Rules(-0.5).least) == (-math.inf, -0.5)


@pytest.mark.parametrize("fields", [{"threshold": -math.inf}, {"nms_iou": 0}, {"per_image": 0}])
def test_numbers_out_of_range(fields: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        SuppressionFields(stage="score", **fields)
