"""What a filter responds to (section 2.1, figure 2): its strongest response in an image, and the pixels behind it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sppnet.arrays import Float32s, Float64s, Floats, Integers
from sppnet.errors import ConfigError
from sppnet.pooling.geometry import Geometry
from sppnet.sizes import Size


def strongest_cells(values: Floats, filters: ArrayLike) -> tuple[Float32s, Integers]:
    """Return the largest response of each of several filters on one map, and where it is.

    Args:
        values: `[H, W, C]` map.
        filters: `[f]` channels, 0-based.

    Returns:
        float32 `[f]` responses, and int64 `[f, 2]` cells `(cx, cy)`: the first of equals, row by row.

    Raises:
        ConfigError: A filter is not among the map's channels.
        ValueError: A map without cells.
    """
    height, width, channels = values.shape
    chosen = np.asarray(filters, dtype=np.int64).reshape(-1)
    if height * width == 0:
        raise ValueError(f"a map of {height} x {width} cells has no response")
    check_filters(chosen, channels)
    columns = values.reshape(height * width, channels)[:, chosen]
    places = columns.argmax(axis=0)
    responses = np.take_along_axis(columns, places[None], axis=0)[0].astype(np.float32)
    return responses, np.stack([places % width, places // width], axis=1)


def check_filters(filters: ArrayLike, channels: int) -> None:
    """Raise `ConfigError` naming the first filter that a map of so many channels doesn't have."""
    for number in np.asarray(filters, dtype=np.int64).reshape(-1).tolist():
        if not 0 <= number < channels:
            raise ConfigError(f"filters: {number} is not among the map's {channels} filters, 0 to {channels - 1}")


def receptive_field_boxes(cells: ArrayLike, geometry: Geometry, image_size: Size, scale: int) -> Float64s:
    """Return the receptive fields of cells, as boxes in the original image.

    A cell's receptive field starts `padding` pixels before `stride` times the cell, so that fields at the map's rim
    reach beyond the image: `sppnet.boxes.clip_boxes` cuts them to it.

    Args:
        cells: `[n, 2]` cells `(cx, cy)`, 0-based.
        geometry: The backbone's.
        image_size: Of the original image, pixels.
        scale: Short side of the resized image that the map was made of, pixels.

    Returns:
        float64 `[n, 4]` 0-based half-open pixels `[x0, y0, x1, y1)`, not clipped.

    Raises:
        ValueError: An image without pixels, a scale below 1, or cells of another shape.
    """
    places = np.asarray(cells, dtype=np.float64)
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(f"cells must have shape [n, 2], not {list(places.shape)}")
    short = image_size.short_side
    if short < 1 or scale < 1:
        raise ValueError(f"an image whose short side is {short} pixels can't be resized to {scale}")
    low = places * geometry.stride - geometry.padding
    # One factor for both axes, as `scale_windows` has it.
    return np.concatenate([low, low + geometry.receptive_field], axis=1) * (short / scale)
