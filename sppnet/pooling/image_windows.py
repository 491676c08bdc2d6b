"""Windows of one image pooled from its maps at several scales (paper, sections 4.1 and 4.2)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike

from sppnet.errors import ConfigError
from sppnet.pooling.geometry import Convention, Geometry, windows_to_cells
from sppnet.pooling.pyramid import Pyramid
from sppnet.pooling.scales import choose_scales, scale_windows
from sppnet.pooling.windows import pool_windows
from sppnet.sizes import Size


def pool_image_windows(
    maps: Mapping[int, torch.Tensor],
    image_size: Size,
    windows: ArrayLike,
    geometry: Geometry,
    pyramid: Pyramid,
    convention: Convention = "paper",
    scale_choice: ArrayLike | None = None,
) -> torch.Tensor:
    """Pool windows of one image, each from the map of the scale that suits it best (section 4.1).

    Args:
        maps: `[H, W, C]` by scale (short side in pixels), one dtype and device, non-negative.
        image_size: of the original image, pixels.
        windows: `[n, 4]` float, `[x0, y0, x1, y1)` pixels of the original image.
        geometry: of the backbone that made the maps.
        pyramid: the pooling levels.
        convention: of the scale rule and the window mapping, `paper` or `released`.
        scale_choice: `[n]` int, the scale of each window in pixels, a key of `maps`; None chooses by the
            convention's rule (fine-tuning draws scales at random instead).

    Returns:
        `[n, bins, C]` of the maps' dtype and device.

    Raises:
        ConfigError: no maps, or a scale chosen that has none.
        ValueError: windows of another shape or not finite.
    """
    if not maps:
        raise ConfigError("no maps to pool from: extract at least one scale")
    scales = tuple(sorted(maps))
    boxes = np.asarray(windows, dtype=np.float64)
    if scale_choice is None:
        chosen = np.asarray(scales)[choose_scales(boxes, image_size, scales, convention)]
    else:
        chosen = np.asarray(scale_choice, dtype=np.int64)
    if chosen.shape != (len(boxes),):
        raise ValueError(f"{len(boxes)} windows need as many scales, not {list(chosen.shape)}")
    first = maps[scales[0]]
    pooled = torch.empty((len(boxes), pyramid.bins, first.shape[2]), dtype=first.dtype, device=first.device)
    for scale in np.unique(chosen).tolist():
        if scale not in maps:
            raise ConfigError(f"no map at scale {scale}, only at {', '.join(map(str, scales))}")
        rows = np.flatnonzero(chosen == scale)
        scaled = scale_windows(boxes[rows], image_size, scale, convention)
        grid = maps[scale]
        cells = windows_to_cells(scaled, Size.of(grid), geometry, convention)
        found = pool_windows(grid, cells, pyramid)
        if len(rows) == len(boxes):
            return found
        pooled[torch.from_numpy(rows).to(pooled.device)] = found
    return pooled
