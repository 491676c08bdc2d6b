"""Descriptions of detectors: JSON and back, and bounds on what they claim."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sppnet.bundle.description import Description
from sppnet.detection.ensemble import Rules
from sppnet.errors import ConfigError
from tests.support.small_bundle import small_bundle


@pytest.mark.parametrize("layer", ["pool5", "fc6"])
def test_json_and_back(layer) -> None:
    said = small_bundle(layer).description
    assert Description.from_json(json.loads(json.dumps(said.to_json())), "x") == said
    every = replace(said, rules=Rules(threshold=None))  # no number says so in JSON
    assert Description.from_json(json.loads(json.dumps(every.to_json(), allow_nan=False)), "x") == every


def test_bounds() -> None:
    said = small_bundle().description
    for change, message in (
        (lambda: replace(said.maps, max_pixels=1 << 40), "maps.max_pixels: must be 1 to"),
        (lambda: replace(said.features, scales=(10_000,)), "scales: must be 1 to 9999"),
        (lambda: replace(said, head={"in_features": 1}), "features of pool5 take no head"),
    ):
        with pytest.raises(ConfigError, match=message):
            change()
    far = said.to_json()
    far["proposals"]["selective_search"]["k"] = [1] * 200
    with pytest.raises(ConfigError, match="x: the number of k of selective search"):
        Description.from_json(json.loads(json.dumps(far)), "x")
