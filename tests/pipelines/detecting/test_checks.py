"""What windows must be, and whose windows and maps a step may be given."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pytest

from pipelines.detecting.checks import require_finite, require_scorable, require_windows_and_maps
from pipelines.engine.stage import Input, StageConfig
from sppnet.errors import ConfigError, DataError


class MadeConfig(StageConfig):
    images: Annotated[str, Input(("images",))] = "images"
    splits: tuple[str, ...] = ("train", "val")
    scales: tuple[int, ...] = (240, 480)


class ReaderConfig(StageConfig):
    images: Annotated[str, Input(("images",))] = "images"
    windows: Annotated[str, Input(("windows",))] = "proposals"
    maps: Annotated[str, Input(("maps",))] = "cached"


def check(scales: tuple[int, ...] = (240,), splits: tuple[str, ...] = ("val",), **changes: dict[str, Any]) -> None:
    inputs = {name: (MadeConfig(stage="made", **changes.get(name, {})),) for name in ("windows", "maps")}
    require_windows_and_maps(ReaderConfig(stage="reader"), scales, splits, inputs)


def test_windows_that_are_no_numbers() -> None:
    require_finite(np.array([[3, 3, 3, 8]], np.float32))
    for value in (np.nan, np.inf):
        with pytest.raises(DataError, match="bad-windows"):
            require_finite(np.array([[0, 0, 1, 1], [0, 0, value, 1]], np.float32))


def test_windows_that_can_not_be_scored() -> None:
    require_scorable(np.zeros((0, 4), np.float32))
    require_scorable(np.array([[0, 0, 1, 1], [5, 5, 5, 9]], np.float32))
    with pytest.raises(DataError, match="no-windows: none of 2 windows has an area"):
        require_scorable(np.array([[3, 3, 3, 8], [5, 5, 4, 9]], np.float32))
    with pytest.raises(DataError, match="bad-windows"):
        require_scorable(np.array([[0, 0, np.nan, 1]], np.float32))


def test_windows_and_maps_must_be_of_what_is_read() -> None:
    check()
    with pytest.raises(ConfigError, match=r"windows: 'proposals' is made from .* 'others', not from those of 'images'"):
        check(windows={"images": "others"})
    with pytest.raises(ConfigError, match=r"maps: 'cached' is made from .* 'others', not from those of 'images'"):
        check(maps={"images": "others"})
    with pytest.raises(ConfigError, match="windows: split test is not among those of its input: train, val"):
        check(splits=("val", "test"))
    with pytest.raises(ConfigError, match="maps: split val is not among those of its input: train"):
        check(maps={"splits": ("train",)})
    with pytest.raises(ConfigError, match="scales: scale 688 is not among those of its input: 240, 480"):
        check(scales=(480, 688))
