"""What windows must be to train on or to be scored, and that windows and maps are made of what is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.engine.stage import StageConfig, require_subset
from pipelines.shards.stage import require_same_images
from sppnet.arrays import Float32s
from sppnet.errors import DataError


def require_finite(windows: Float32s) -> None:
    """Raise `DataError` `bad-windows` where a window is not four finite numbers."""
    if not np.isfinite(windows).all():
        raise DataError("bad-windows", "a window's corner is not a finite number")


def require_scorable(windows: Float32s) -> None:
    """Raise `DataError` for windows of an image that can't be scored.

    `bad-windows`: a corner is not finite. `no-windows`: there are some, but none has an area. An image may have no
    windows at all: nothing is found in it then.
    """
    require_finite(windows)
    sides = windows[:, 2:] - windows[:, :2]
    if len(windows) and not (sides > 0).all(axis=1).any():
        raise DataError("no-windows", f"none of {len(windows)} windows has an area")


def require_windows_and_maps(
    config: StageConfig, scales: tuple[int, ...], splits: tuple[str, ...], inputs: Mapping[str, tuple[StageConfig, ...]]
) -> None:
    """Raise `ConfigError` where windows and maps are wanted that their steps don't make of the config's images.

    Args:
        config: Of the stage.
        scales: Scales that are read.
        splits: Splits that are read.
        inputs: Configs of the input steps; `windows` and `maps` are looked at.
    """
    require_same_images(config, inputs, "windows", "maps")
    maps: Any = inputs["maps"][0]
    windows: Any = inputs["windows"][0]
    for name, made in (("windows", windows), ("maps", maps)):
        require_subset(splits, made.splits, name, "split")
    require_subset(scales, maps.scales, "scales", "scale")
