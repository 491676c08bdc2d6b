"""Windows of several images pooled at once, on the device: scale choice, cells, distinct windows (section 4.1).

Nothing waits for the device but the number of distinct windows, once a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sppnet.arrays import Float64s, Floats
from sppnet.devices import upload
from sppnet.errors import ConfigError
from sppnet.pooling.geometry import Convention, Geometry, cells_of, check_convention, checked_windows
from sppnet.pooling.packed_maps import PackedMaps
from sppnet.pooling.pyramid import Pyramid
from sppnet.pooling.scales import nearest_scales, scaled_windows
from sppnet.sizes import Size

# A window's key holds its four cells in 12 bits each and its map above them.
_CELL_BITS = 12


@dataclass(frozen=True, eq=False)
class BatchWindows:
    """The windows of several images behind one another, on a device.

    Attributes:
        boxes: float64 `[n, 4]`, `[x0, y0, x1, y1)` pixels of their original images.
        image_of: int64 `[n]`.
        starts: int64 `[images]`, where each image's windows begin.
        ends: int64 `[images]`, where they end.
        image_sizes: of the original images, pixels.
        counts: windows of each image.
    """

    boxes: torch.Tensor
    image_of: torch.Tensor
    starts: torch.Tensor
    ends: torch.Tensor
    image_sizes: tuple[Size, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, windows: Sequence[Floats], image_sizes: Sequence[Size], device: torch.device) -> BatchWindows:
        """Send the windows of images to a device.

        Args:
            windows: `[n, 4]` pixels, an image each.
            image_sizes: of the images, pixels.
            device: where they go.

        Raises:
            ValueError: windows of another shape or not finite.
        """
        checked: list[Float64s] = [checked_windows(boxes) for boxes in windows]
        counts = np.array([len(boxes) for boxes in checked], dtype=np.int64)
        ends = counts.cumsum()
        return cls(
            boxes=upload(np.concatenate(checked), device),
            image_of=upload(np.repeat(np.arange(len(counts)), counts), device),
            starts=upload(ends - counts, device),
            ends=upload(ends, device),
            image_sizes=tuple(image_sizes),
            counts=tuple(counts.tolist()),
        )


@dataclass(frozen=True, eq=False)
class PooledBatch:
    """Pooled vectors of the distinct windows of a batch.

    Attributes:
        vectors: `[distinct, bins, C]`.
        row_of: int64 `[n]`, the row of `vectors` that each window has.
    """

    vectors: torch.Tensor
    row_of: torch.Tensor


def pool_image_batch(
    maps: Sequence[Mapping[int, torch.Tensor]],
    windows: BatchWindows,
    scales: Sequence[int],
    geometry: Geometry,
    pyramid: Pyramid,
    convention: Convention = "paper",
) -> PooledBatch:
    """Pool the windows of several images, each from the map of the scale that suits it best, equal ones once.

    The vectors are those of `sppnet.pooling.image_windows.pool_image_windows`, bit for bit.

    Args:
        maps: by image, `[H, W, C]` by scale, on the windows' device.
        windows: of the images.
        scales: short sides in pixels to choose from, which every image has a map of.
        geometry: of the backbone that made the maps.
        pyramid: the pooling levels.
        convention: of the scale rule and the window mapping.

    Raises:
        ConfigError: no scales, a scale without a map, or a map with a side of 4096 cells or more.
    """
    check_convention(convention)
    ordered = tuple(sorted(scales))
    if not ordered:
        raise ConfigError("no scales to choose from")
    for one in maps:
        missing = [scale for scale in ordered if scale not in one]
        if missing:
            raise ConfigError(f"no map at scale {missing[0]}, only at {', '.join(map(str, sorted(one)))}")
    packed = PackedMaps.of([one[scale] for one in maps for scale in ordered])
    longest = max(max(size) for size in packed.sizes)
    if longest >> _CELL_BITS:
        raise ConfigError(f"a map of {longest} cells a side: batches take fewer than {1 << _CELL_BITS}")
    keys = _window_keys(packed, windows, ordered, geometry, convention)
    distinct, row_of = torch.unique(keys, return_inverse=True)
    mask = (1 << _CELL_BITS) - 1
    cells = torch.stack([distinct >> shift & mask for shift in _shifts()], dim=1).int()
    return PooledBatch(packed.pool(distinct >> 4 * _CELL_BITS, cells, pyramid), row_of)


def _shifts() -> tuple[int, int, int, int]:
    """Return where a key holds x0, y0, x1, y1: sorted by position, so that neighbours share cache lines."""
    return 2 * _CELL_BITS, 3 * _CELL_BITS, 0, _CELL_BITS


def _window_keys(
    packed: PackedMaps, windows: BatchWindows, scales: tuple[int, ...], geometry: Geometry, convention: Convention
) -> torch.Tensor:
    """Return int64 `[n]`: the map and the cells that each window is pooled from, in one number."""
    device = windows.boxes.device
    shorts = np.array([size.short_side for size in windows.image_sizes], dtype=np.float64)
    short = upload(shorts, device)[windows.image_of]
    chosen = nearest_scales(windows.boxes, short, scales, convention)
    scaled = scaled_windows(
        windows.boxes, short, upload(np.array(scales, dtype=np.float64), device)[chosen], convention
    )
    map_of = windows.image_of * len(scales) + chosen
    sizes = upload(np.array(packed.sizes, dtype=np.float64), device)[map_of]
    ends = [cells_of(scaled[:, a], scaled[:, a + 2], sizes[:, a], geometry, convention) for a in (0, 1)]
    shifts = _shifts()
    key = map_of << 4 * _CELL_BITS
    for axis, (first, last) in enumerate(ends):
        key = key | first.long() << shifts[axis] | last.long() << shifts[axis + 2]
    return key
