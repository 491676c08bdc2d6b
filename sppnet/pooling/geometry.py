"""Where a window of the image lies on the map: the window -> cells rule (paper, Appendix A).

The side of a cell's receptive field, the network's stride and the padding accumulated over the layers fix the rule;
`sppnet.networks.receptive_fields` reads the three from any trunk of convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from sppnet.arrays import Float64s
from sppnet.errors import ConfigError
from sppnet.sizes import Size

Convention = Literal["paper", "released"]


def check_convention(convention: str) -> None:
    """Raise `ConfigError` unless `convention` is `paper` or `released`."""
    if convention not in get_args(Convention):
        raise ConfigError(f"convention {convention!r} is unknown: use 'paper' or 'released'")


def checked_windows(windows: ArrayLike) -> Float64s:
    """Return windows as float64 `[n, 4]`; raise `ValueError` for another shape or an edge that is not finite."""
    array = np.asarray(windows, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"windows must have shape [n, 4], not {list(array.shape)}")
    if not np.isfinite(array).all():
        raise ValueError("windows must be finite")
    return array


@dataclass(frozen=True)
class Geometry:
    """How the cells of a map lie over the pixels of its image; the same along both axes.

    Attributes:
        receptive_field: side of one cell's receptive field, pixels.
        stride: pixels between the receptive fields of neighbouring cells.
        padding: pixels by which cell 0's receptive field starts before the image:
            the sum over the layers of their padding times the stride before them.
        released: `(off0, off, step)` of the authors' code, pixels: centre of cell 1's receptive field (1-based),
            how far a window is shrunk on every side, stride. None where the authors released no constants.
    """

    receptive_field: int
    stride: int
    padding: int
    released: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.receptive_field < 1 or self.stride < 1:
            raise ConfigError(f"a geometry needs a receptive field and a stride of at least 1 pixel, not {self}")

    @property
    def shift(self) -> float:
        """Pixels added to both corners of a 0-based half-open window before dividing by the stride.

        Appendix A's offsets are A = P + S/2 and B = RF - 1 - P - S/2. For half-open windows, RF/2 - B and
        1 - RF/2 + A are the same number, so one shift serves both corners (-5.5 for ZF-5).
        """
        return 1 + self.padding + self.stride / 2 - self.receptive_field / 2


# Table 1's networks and the released ZF-5. Receptive fields and strides are the paper's; the paddings are those that
# give the paper's map sizes and, for ZF-5, exactly Appendix A's offsets of 63 and 75.
GEOMETRIES: Mapping[str, Geometry] = MappingProxyType(
    {
        # The authors' constants are of their own net, yet their shift, off - off0 + 16 / 2 = -6.5, is also this net's
        # Appendix A, so `convention: released` is offered for both.
        "zf5": Geometry(139, 16, 55, released=(21, 6.5, 16)),
        "zf5_released": Geometry(139, 16, 49, released=(21, 6.5, 16)),
        "convnet5": Geometry(131, 16, 50),
        "overfeat5": Geometry(113, 12, 48),
        "overfeat7": Geometry(161, 12, 72, released=(15, 6.5, 12)),
    }
)


def _ends(lo: torch.Tensor, hi: torch.Tensor, geometry: Geometry, convention: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first and last cell, 1-based inclusive, before the too-narrow rule and clipping."""
    if convention == "paper":
        return (
            torch.floor((lo + geometry.shift) / geometry.stride) + 1,
            torch.ceil((hi + geometry.shift) / geometry.stride) - 1,
        )
    if geometry.released is None:
        raise ConfigError(f"no released constants for {geometry}: use convention 'paper'")
    off0, off, step = geometry.released
    # lo + 1 and hi are the window's first and last pixel in the authors' 1-based inclusive boxes.
    return torch.floor((lo + 1 - off0 + off) / step + 0.5) + 1, torch.ceil((hi - off0 - off) / step - 0.5) + 1


def cells_of(
    lo: torch.Tensor, hi: torch.Tensor, length: torch.Tensor, geometry: Geometry, convention: Convention
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cells covered by windows along one axis, as `axis_cells` does, on any device and unchecked.

    Args:
        lo: float64 `[n]`, windows' first pixel in the resized image.
        hi: float64 `[n]`, one past their last.
        length: cells of each window's map along this axis, float64 `[n]` or one for all.
        geometry: the backbone's.
        convention: `paper` or `released`.

    Returns:
        The first cell and one past the last, int32 `[n]` each.
    """
    first, last = _ends(lo, hi, geometry, convention)
    middle = torch.trunc((first + last) / 2)
    narrow = first > last
    first = torch.where(narrow, middle, first).clamp(min=1).minimum(length)
    last = torch.where(narrow, middle, last).clamp(min=1).minimum(length)
    return (first - 1).int(), last.int()


def axis_cells(
    lo: ArrayLike, hi: ArrayLike, length: int, geometry: Geometry, convention: Convention = "paper"
) -> NDArray[np.int32]:
    """Return the cells covered by windows along one axis (Appendix A; `released`: the authors' code).

    A window too narrow to hold a cell gets the one in the middle: both ends become the truncated mean of the two
    1-based ends. Then both are clipped to the map, so every window covers at least one cell.

    Args:
        lo: windows' first pixel, 0-based, in the resized image; float, any shape.
        hi: one past the windows' last pixel, same shape.
        length: cells of the map along this axis.
        geometry: the backbone's.
        convention: `paper` or `released`.

    Returns:
        int32 `[..., 2]`: 0-based half-open cells.

    Raises:
        ConfigError: unknown convention, or `released` for a network whose constants were not released.
        ValueError: a map without cells, or pixels that are not finite.
    """
    check_convention(convention)
    if length < 1:
        raise ValueError(f"a map needs at least one cell, not {length}")
    starts, stops = (torch.from_numpy(np.array(values, dtype=np.float64)) for values in (lo, hi))
    if not (starts.isfinite().all() and stops.isfinite().all()):
        raise ValueError("windows must be finite")
    first, last = cells_of(starts, stops, torch.tensor(float(length)), geometry, convention)
    return np.stack([first.numpy(), last.numpy()], axis=-1)


def windows_to_cells(
    windows_scaled: ArrayLike, map_size: Size, geometry: Geometry, convention: Convention = "paper"
) -> NDArray[np.int32]:
    """Return the cells covered by windows of the resized image.

    See `axis_cells`; `sppnet.pooling.scales.scale_windows` scales the windows.

    Args:
        windows_scaled: `[n, 4]` float, `[x0, y0, x1, y1)` pixels of the resized image, 0-based half-open.
        map_size: of the map, cells.
        geometry: the backbone's.
        convention: `paper` or `released`.

    Returns:
        int32 `[n, 4]`: `[cx0, cy0, cx1, cy1)`, 0-based half-open, never empty, inside the map.

    Raises:
        ConfigError, ValueError: as `axis_cells`; also ValueError for windows of another shape.
    """
    windows = checked_windows(windows_scaled)
    x = axis_cells(windows[:, 0], windows[:, 2], map_size.width, geometry, convention)
    y = axis_cells(windows[:, 1], windows[:, 3], map_size.height, geometry, convention)
    return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)
