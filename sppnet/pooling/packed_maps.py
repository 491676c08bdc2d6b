"""Maps of several images and scales in one buffer, so that one launch pools all their windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from sppnet.devices import runs_triton, upload
from sppnet.errors import ConfigError
from sppnet.pooling import kernel_torch
from sppnet.pooling.pyramid import Pyramid
from sppnet.pooling.windows import pool_windows
from sppnet.sizes import Size


@dataclass(frozen=True, eq=False)
class PackedMaps:
    """Maps of one type and number of channels on one device, behind one another.

    Attributes:
        values: `[cells of all maps, C]` contiguous.
        sizes: of the maps, cells.
    """

    values: torch.Tensor
    sizes: tuple[Size, ...]

    @classmethod
    def of(cls, maps: Sequence[torch.Tensor]) -> PackedMaps:
        """Pack maps `[H, W, C]`.

        Raises:
            ConfigError: there are none.
        """
        if not maps:
            raise ConfigError("no maps to pool from: extract at least one scale")
        return cls(torch.cat([one.flatten(0, 1) for one in maps]), tuple(Size.of(one) for one in maps))

    def pool(self, map_of: torch.Tensor, cells: torch.Tensor, pyramid: Pyramid) -> torch.Tensor:
        """Pool windows, unchecked: exact maxima, as `sppnet.pooling.windows.pool_windows` gives them.

        On a GPU with Triton, at the paper's levels, in one launch that nothing waits for; else map by map.

        Args:
            map_of: int32 or int64 `[n]` on the device, the map that each window is of.
            cells: int32 `[n, 4]` on the device, half-open cells of that map, inside it and not empty.
            pyramid: the levels.

        Returns:
            `[n, bins, C]` of the values' type and device.
        """
        out = self.values.new_empty(len(cells), pyramid.bins, self.values.shape[1])
        if runs_triton(self.values.device):
            from sppnet.pooling import kernel_triton

            if kernel_triton.handles(pyramid):
                first, widths = self.table
                kernel_triton.pool_packed(self.values, first, widths, map_of.int(), cells.contiguous(), pyramid, out)
                return out
        for number in torch.unique(map_of).tolist():
            rows = torch.nonzero(map_of == number)[:, 0]
            out[rows] = self._pool_one(number, cells[rows], pyramid)
        return out

    @cached_property
    def table(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return where each map begins in `values`, int64, and its width, int32, on the device: the kernel's table."""
        firsts = np.cumsum([0, *(size.width * size.height for size in self.sizes[:-1])], dtype=np.int64)
        widths = np.array([size.width for size in self.sizes], dtype=np.int32)
        return upload(firsts, self.values.device), upload(widths, self.values.device)

    def _pool_one(self, number: int, cells: torch.Tensor, pyramid: Pyramid) -> torch.Tensor:
        first = sum(size.width * size.height for size in self.sizes[:number])
        size = self.sizes[number]
        one = self.values[first : first + size.width * size.height].view(*size.hw, -1)
        if one.device.type == "cpu":
            return pool_windows(one, cells, pyramid)
        return kernel_torch.pool_distinct(one, cells.long(), pyramid)
