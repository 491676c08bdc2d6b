"""Fields that name a network: levels by name, backbones by architecture."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.training.network_config import BackboneFields, LevelsField
from sppnet.errors import ConfigError
from sppnet.images.network_input import TORCHVISION, UNIT_128
from sppnet.networks.backbones import BackboneSpec


class NetworkConfig(BackboneFields):
    """A stage with both."""

    levels: LevelsField = (6, 3, 2, 1)


def make(**fields: Any) -> NetworkConfig:
    return NetworkConfig.model_validate({"stage": "toy", "architecture": "zf5", **fields})


def test_levels_by_name_are_the_same_config_as_by_list() -> None:
    assert make(levels="spp4").semantic() == make(levels=[4, 3, 2, 1]).semantic()
    assert make(levels="spp6") == make()
    assert make(levels="none").levels == "none"
    for levels in ("none", "spp4", [5, 1]):
        config = make(levels=levels)
        assert NetworkConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("levels", ["spp5", [2, 2], [], [0, 1], 6, [1.5], None])
def test_wrong_levels_are_refused_under_their_name(levels: object) -> None:
    with pytest.raises(ValidationError) as caught:
        make(levels=levels)
    assert {error["loc"][0] for error in caught.value.errors()} == {"levels"}


def test_spec_of_the_fields() -> None:
    assert make(width=0.5, cut="relu4").spec() == BackboneSpec("zf5", 0.5, "relu4", UNIT_128, response_norm=True)
    assert make(preprocessing=TORCHVISION.to_dict()).spec().preprocessing == TORCHVISION
    with pytest.raises(ConfigError, match="unknown 'zf6'"):
        make(architecture="zf6").spec()


@pytest.mark.parametrize(
    "pixels",
    [
        {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        {"mean": [0.5] * 3},
        {"mean": [0] * 3, "std": [0.5] * 3},
    ],
)
def test_pixels_in_fractions_are_refused(pixels: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"is of values in 0..1, give grey levels: times 255"):
        make(preprocessing={"channel_order": "rgb", **pixels}).spec()
    make(preprocessing={"channel_order": "rgb", "mean": [0] * 3, "std": [255] * 3}).spec()


def test_networks_that_are_not_dilated_keep_their_fingerprints() -> None:
    assert "dilate" not in make().semantic()
    assert make(dilate=2).semantic() == {**make().semantic(), "dilate": 2}
    assert make(dilate=2).spec() == BackboneSpec("zf5", dilate=2)
    with pytest.raises(ValidationError):
        make(dilate=4)
