"""What inputs of a stage that works on images must be of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Annotated

import pytest

from pipelines.engine.stage import Input, StageConfig
from pipelines.shards.stage import require_ingested, require_same_images
from sppnet.errors import ConfigError


class MadeConfig(StageConfig):
    images: Annotated[str, Input(("images",))]


class ReaderConfig(StageConfig):
    images: Annotated[str, Input(("images",))] = "images"
    windows: Annotated[tuple[str, ...], Input(("windows",))] = ("a", "b")


def test_inputs_are_of_the_same_images() -> None:
    def check(*images: str) -> None:
        made = tuple(MadeConfig(stage="made", images=name) for name in images)
        require_same_images(ReaderConfig(stage="reader"), {"windows": made}, "windows")

    check("images", "images")
    with pytest.raises(
        ConfigError, match="windows: 'b' is made from the images of step 'x', not from those of 'images'"
    ):
        check("images", "x")


def test_splits_are_ingested() -> None:
    dataset = SimpleNamespace(open=lambda: SimpleNamespace(splits=("train", "val")))
    inputs = {"images": (SimpleNamespace(dataset=dataset),)}
    require_ingested(("val",), inputs)
    with pytest.raises(ConfigError, match="splits: split test is not among those of its input: train, val"):
        require_ingested(("val", "test"), inputs)
