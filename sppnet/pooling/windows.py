"""Pooling windows of a map into fixed-length vectors: the spatial pyramid pooling of section 2.2 for any window.

The numba kernel (`sppnet.pooling.kernel_numba`) does it on the CPU, Triton's (`sppnet.pooling.kernel_triton`) on a GPU
at the paper's levels, plain torch (`sppnet.pooling.kernel_torch`) anywhere else. Windows that cover the same cells are
computed once, but by Triton's: finding them would take longer.
"""

from __future__ import annotations

import math
import weakref
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray

from sppnet.arrays import Integers
from sppnet.devices import runs_triton, upload
from sppnet.pooling import kernel_torch as pooling_torch
from sppnet.pooling.pyramid import Pyramid

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_ALIGNMENT = 64  # a cache line
# Bytes of freed outputs that a process keeps for its next ones.
_KEPT_BYTES = 256 << 20
# Sides of a map below this pack into one int64 key.
_LONGEST_SIDE = 1 << 15
# Bit patterns of half floats above this have a sign bit.
_LARGEST_UNSIGNED = 0x7FFF


def pool_windows(
    map_hwc: torch.Tensor,
    cells: NDArray[np.integer] | torch.Tensor,
    pyramid: Pyramid,
    *,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Pool windows of one map over the bins of a pyramid, by maximum (section 2.2, Appendix A).

    Values are exact: equal, bit for bit, to the maxima of the map's own values. On the CPU it uses up to
    `torch.get_num_threads()` threads and may be called from several threads at once. Not differentiable.

    Args:
        map_hwc: `[H, W, C]`, float32, float16 or bfloat16. Half floats without a sign bit (any map after ReLU) take
            the fast path.
        cells: integers `[n, 4]`, `[cx0, cy0, cx1, cy1)`, half-open cells of the map.
        pyramid: the levels.
        out: contiguous `[n, bins, C]` of the map's dtype and device, to write into.

    Returns:
        `[n, bins, C]` (`out` if given): levels in the pyramid's order, bins row by row, channels fastest.

    Raises:
        ValueError: a map or `cells` of another shape or dtype, a window that is empty or leaves the map, or an `out`
            that does not fit.
    """
    _check_map(map_hwc)
    checked = _checked_cells(cells, map_hwc.shape[0], map_hwc.shape[1])
    shape = (len(checked), pyramid.bins, map_hwc.shape[2])
    if out is None:
        out = _empty(shape, map_hwc)
    elif out.shape != shape or out.dtype != map_hwc.dtype or out.device != map_hwc.device or not out.is_contiguous():
        raise ValueError(f"out must be contiguous {list(shape)} {map_hwc.dtype} on {map_hwc.device}")
    if out.numel() == 0:
        return out
    map_hwc = map_hwc.detach().contiguous()
    if map_hwc.device.type != "cpu":
        _pool_elsewhere(map_hwc, checked, pyramid, out)
        return out
    from sppnet.pooling import kernel_numba as pooling_numba

    distinct, rows, starts = _distinct_cells(checked)
    if map_hwc.dtype != torch.float32 and pooling_numba.as_ordered(map_hwc).max() > _LARGEST_UNSIGNED:
        wide = map_hwc.float()  # bit patterns of signed halves don't order like their values
        pooled = _empty(shape, wide)
        pooling_numba.pool_distinct(wide, distinct, rows, starts, pyramid, pooled)
        return out.copy_(pooled)
    pooling_numba.pool_distinct(map_hwc, distinct, rows, starts, pyramid, out)
    return out


def _pool_elsewhere(map_hwc: torch.Tensor, cells: Integers, pyramid: Pyramid, out: torch.Tensor) -> None:
    device = map_hwc.device
    if runs_triton(device):
        from sppnet.pooling import kernel_triton

        if kernel_triton.handles(pyramid):
            first, widths = (
                upload(np.zeros(1, np.int64), device),
                upload(np.array([map_hwc.shape[1]], np.int32), device),
            )
            map_of = torch.zeros(len(cells), dtype=torch.int32, device=device)
            sent = upload(cells.astype(np.int32), device)
            kernel_triton.pool_packed(map_hwc.flatten(0, 1), first, widths, map_of, sent, pyramid, out)
            return
    distinct, rows, starts = _distinct_cells(cells)
    pooled = pooling_torch.pool_distinct(map_hwc, upload(distinct, device), pyramid)
    inverse = np.empty(len(rows), dtype=np.int64)
    inverse[rows] = np.repeat(np.arange(len(distinct)), np.diff(starts))
    torch.index_select(pooled, 0, upload(inverse, device), out=out)


def _check_map(map_hwc: torch.Tensor) -> None:
    if map_hwc.ndim != 3:
        raise ValueError(f"a map must have shape [H, W, C], not {list(map_hwc.shape)}")
    if map_hwc.dtype not in _DTYPES:
        raise ValueError(f"a map must be float32, float16 or bfloat16, not {map_hwc.dtype}")
    if max(map_hwc.shape[:2]) >= _LONGEST_SIDE:
        raise ValueError(f"a map's side must be below {_LONGEST_SIDE} cells, not {list(map_hwc.shape[:2])}")


def _checked_cells(cells: NDArray[np.integer] | torch.Tensor, height: int, width: int) -> Integers:
    """Return `cells` as int64 `[n, 4]`, known to be whole cells inside the map."""
    array = cells.cpu().numpy() if isinstance(cells, torch.Tensor) else np.asarray(cells)
    if array.ndim != 2 or array.shape[1] != 4 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"cells must be integers [n, 4], not {array.dtype} {list(array.shape)}")
    array = array.astype(np.int64)
    x0, y0, x1, y1 = array.T
    bad = (x0 < 0) | (y0 < 0) | (x1 > width) | (y1 > height) | (x0 >= x1) | (y0 >= y1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"cells {array[row].tolist()} of window {row} are empty or leave the {width} x {height} map")
    return array


def _distinct_cells(
    cells: Integers,
) -> tuple[Integers, Integers, Integers]:
    """Return distinct windows from top to bottom (neighbours share cache lines), and the rows that each stands for.

    Returns:
        `distinct` `[u, 4]`, `rows` `[n]`, `starts` `[u + 1]`: rows `rows[starts[j] : starts[j + 1]]` of `cells` equal
        `distinct[j]`.
    """
    keys = cells @ np.array([1 << 32, 1 << 48, 1, 1 << 16], dtype=np.int64)  # y0, x0, y1, x1: 15 bits each
    rows = np.argsort(keys, kind="stable")
    ordered = keys[rows]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    return np.ascontiguousarray(cells[rows[first]]), rows, np.append(first, len(rows))


class _Buffers:
    """Memory of outputs, used again when their tensors are gone.

    An output is some 100 MB, and the first write to fresh memory costs as much as the pooling: the system clears its
    pages. numpy's memory at least comes in huge pages, torch's does not.
    """

    def __init__(self) -> None:
        self.free: deque[NDArray[np.uint8]] = deque()  # its operations are atomic: finalizers run on any thread

    def take(self, size: int) -> NDArray[np.uint8]:
        """Lend an aligned array of `size` bytes, whose memory comes back when nothing refers to it."""
        memory = self._find(size)
        offset = -memory.ctypes.data % _ALIGNMENT
        lent = memory[offset : offset + size]
        weakref.finalize(lent, self._give_back, memory).atexit = False
        return lent

    def _find(self, size: int) -> NDArray[np.uint8]:
        for _ in range(len(self.free)):
            try:
                memory = self.free.popleft()
            except IndexError:  # another thread took the last
                break
            if size + _ALIGNMENT <= memory.nbytes <= 2 * (size + _ALIGNMENT):
                return memory
            self.free.append(memory)
        return np.empty(size + _ALIGNMENT, dtype=np.uint8)

    def _give_back(self, memory: NDArray[np.uint8]) -> None:
        if memory.nbytes > _KEPT_BYTES:
            return
        self.free.append(memory)
        while sum(one.nbytes for one in list(self.free)) > _KEPT_BYTES:
            try:
                self.free.popleft()
            except IndexError:  # another thread made room
                break


_buffers = _Buffers()


def _empty(shape: tuple[int, int, int], like: torch.Tensor) -> torch.Tensor:
    if like.device.type != "cpu" or 0 in shape:
        return like.new_empty(shape)
    memory = _buffers.take(math.prod(shape) * like.element_size())
    return torch.from_numpy(memory).view(like.dtype).view(shape)
