"""Bundles: what was written comes back bit for bit; cut, damaged and lying files end in one line."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.bundle.files import read_bundle, write_bundle
from sppnet.errors import ConfigError
from sppnet.networks.weights import read_metadata, read_safetensors, write_safetensors
from tests.support.small_bundle import small_bundle

DATA = write_bundle(small_bundle("fc7"))


@pytest.mark.parametrize("layer", ["pool5", "fc7"])
def test_what_was_written_comes_back(layer: Any) -> None:
    bundle = small_bundle(layer)
    data = write_bundle(bundle)
    found = read_bundle(data, "x")
    assert found.description == bundle.description
    assert write_bundle(found) == data
    assert np.array_equal(found.svms.weights, bundle.svms.weights)
    assert list(found.regressors) == ["cat", "dog"]


def test_fc7_of_low_rank_is_the_same_from_the_file() -> None:
    bundle = small_bundle("fc7", rank=3)
    pooled = torch.rand(4, bundle.head.spec.in_features)
    ours = bundle.detector(torch.device("cpu")).features.upper(pooled)
    theirs = read_bundle(write_bundle(bundle), "x").detector(torch.device("cpu")).features.upper(pooled)
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, small_bundle("fc7").detector(torch.device("cpu")).features.upper(pooled))


def rewritten(tensors: dict[str, Any] | None = None, **fields: Any) -> bytes:
    """The file with other tensors, or other fields of its description."""
    said = json.loads(read_metadata(DATA)["detector"])
    for name, value in fields.items():
        *path, last = name.split("__")
        target = said
        for part in path:
            target = target[part]
        target[last] = value
    found = {**read_safetensors(DATA), **(tensors or {})}
    kept = {name: tensor for name, tensor in found.items() if tensor is not None}
    return write_safetensors(kept, {**read_metadata(DATA), "detector": json.dumps(said)})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DATA[:-1], "not a whole safetensors file"),
        (b"", "not a whole safetensors file"),
        (write_safetensors({"a": torch.zeros(1)}), "is no detector of `sppnet export`"),
        (write_safetensors({}, {"format": "sppnet-detector", "version": "9"}), "is of format '9', this sppnet reads 1"),
        (write_safetensors({}, {"format": "sppnet-detector", "version": "1", "detector": "["}), "is no JSON"),
        (rewritten(backbone__width=1e6), "has shape"),
        (rewritten(backbone__architecture="nothing"), "unknown 'nothing'"),
        (rewritten(backbone__architecture=["zf5"]), "x: "),
        (rewritten(head__hidden=[1 << 40, 8]), "has shape"),
        (rewritten(features__levels=[2]), "belongs to other maps"),
        (rewritten(features__levels=[1 << 30]), "levels: must be 1 to 64"),
        (rewritten(features__scales=[]), "number of scales: must be 1 to 100"),
        (rewritten(geometry__stride=8), "another version of its architecture"),
        (rewritten(categories=["cat", "cat", "owl"]), "none, or one twice"),
        (rewritten(categories=["cat"]), "SVMs of 1 categories"),
        (rewritten(regressors__categories=["cat", "elk"]), "not all are of the detector"),
        (rewritten({"svms.weights": torch.zeros(3, 9)}), "SVMs of 9 features, the network gives 8"),
        (rewritten({"svms.weights": torch.full((3, 8), torch.nan)}), "does not hold finite numbers"),
        (rewritten({"svms.biases": None}), "'svms.biases' is missing"),
        (rewritten({"regressors.weights": torch.zeros(2, 7, 4)}), "box regressors of 6 features"),
        (rewritten({"other": torch.zeros(1)}), "tensor 'other' is unexpected"),
        (rewritten({"backbone.mean_image": torch.zeros(2)}), "mean image"),
    ],
)
def test_a_hostile_file_ends_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_bundle(data, "x")
    assert str(caught.value).startswith("x: ")
    assert "\n" not in str(caught.value)


def test_mean_images_travel_too() -> None:
    bundle = small_bundle()
    bundle.backbone.mean_image = torch.rand(3, 4, 4) * 255
    found = read_bundle(write_bundle(bundle), "x")
    assert torch.equal(found.backbone.mean_image, bundle.backbone.mean_image)


@settings(max_examples=30)
@given(st.integers(0, 6000), st.integers(0, 255))
def test_one_byte_of_the_header_changed_is_refused_or_read(place: int, value: int) -> None:
    data = bytearray(DATA)
    data[place] = value
    with suppress(ConfigError):  # anything else is a failure
        assert read_bundle(bytes(data), "x").description.categories


def test_a_detector_that_contradicts_itself_is_none() -> None:
    bundle = small_bundle()
    with pytest.raises(ConfigError, match="features of fc7 need a head"):
        replace(bundle.description, features=replace(bundle.description.features, layer="fc7"))
