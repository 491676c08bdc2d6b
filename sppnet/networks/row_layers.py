"""The layers that run on rows of an activation: convolution with its ReLU in one, max pooling, norms, any pointwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import nn
from torch.nn import functional as F

from sppnet.networks.kernels_numba import max_pool_rows, norm_across, norm_within
from sppnet.networks.layer_windows import Window, axis_window
from sppnet.networks.norms import ResponseNorm, WithinChannelNorm
from sppnet.networks.row_strips import RowLayer, Rows


class Convolution(RowLayer):
    """A convolution and the ReLU behind it.

    The weights stay as they are: which layout a strip's height and width want differs, going from one such layout to
    another takes oneDNN longer than the convolution, and from this one a hundredth of it.

    Args:
        weight: `[O, C / groups, k, k]`, float32.
        bias: `[O]`, float32.
        module: the convolution whose geometry is taken.
        ceiling: of the activation: None for no activation at all, infinity for ReLU, 6 for ReLU6.
        dtype: type to compute in.
    """

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, module: nn.Conv2d, ceiling: float | None,
        dtype: torch.dtype,
    ) -> None:  # fmt: skip
        height, width = (axis_window(module, axis) for axis in (0, 1))
        self.window = height
        self.channels = weight.shape[0]
        self._across = (width.padding, width.padding if width.behind is None else width.behind)
        self._stride = list(map(int, module.stride))
        self._dilation, self._groups = list(map(int, module.dilation)), module.groups
        self._ceiling = ceiling
        self._bias = None if bias is None else bias.detach().to(dtype)
        self._weight = weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        self._fused = has_fused_convolutions(dtype)

    def __call__(self, inputs: Sequence[Rows]) -> torch.Tensor:
        """Convolve rows; see `RowLayer`."""
        (rows,) = inputs
        values, left, right = rows.joined(), *self._across
        padding = [rows.top, left]
        if rows.top != rows.bottom or left != right:
            values, padding = F.pad(values, (left, right, rows.top, rows.bottom)), [0, 0]
        geometry = (padding, self._stride, self._dilation, self._groups)
        if not self._fused:
            found = F.conv2d(values, self._weight, self._bias, self._stride, geometry[0], self._dilation, self._groups)
            return found if self._ceiling is None else found.clamp_(0, self._ceiling).add_(0.0)  # no -0.0
        attr, limits = "none", list[float]()
        if self._ceiling is not None:
            attr, limits = ("relu", []) if self._ceiling == float("inf") else ("hardtanh", [0.0, self._ceiling])
        convolve = torch.ops.mkldnn._convolution_pointwise
        fused: torch.Tensor = convolve(values, self._weight, self._bias, *geometry, attr, limits, "")
        return fused


class MaxPooling(RowLayer):
    """Max pooling of a map without any sign bit."""

    def __init__(self, module: nn.MaxPool2d) -> None:
        self._down, self._across = axis_window(module, 0), axis_window(module, 1)
        self.window = self._down

    def __call__(self, inputs: Sequence[Rows]) -> torch.Tensor:
        """Pool rows; see `RowLayer`."""
        (rows,) = inputs
        window, across = self._down, self._across
        height = sum(piece.shape[2] for piece in rows.pieces) + rows.top + rows.bottom
        size = ((height - window.kernel) // window.stride + 1, across.outputs(rows.pieces[0].shape[3]))
        if rows.pieces[0].shape[0] == 1:
            return max_pool_rows(rows.pieces, window.kernel, window.stride, rows.top, across.padding, size)
        images = [
            max_pool_rows([image[None]], window.kernel, window.stride, rows.top, across.padding, size)
            for image in rows.joined()
        ]
        return torch.cat(images)


class AcrossChannels(RowLayer):
    """`ResponseNorm` with the usual exponent."""

    def __init__(self, module: ResponseNorm) -> None:
        self._size, self._scale, self._k = module.size, module.alpha / module.size, module.k

    def __call__(self, inputs: Sequence[Rows]) -> torch.Tensor:
        """Normalise rows; see `RowLayer`."""
        (rows,) = inputs
        parts = [norm_across(image[None], self._size, self._scale, self._k) for image in rows.joined()]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class WithinChannel(RowLayer):
    """`WithinChannelNorm` with the usual exponent."""

    def __init__(self, module: WithinChannelNorm) -> None:
        self._reach = module.size // 2
        self._scale = module.alpha / module.size**2
        self.window = Window(module.size, 1, self._reach)

    def __call__(self, inputs: Sequence[Rows]) -> torch.Tensor:
        """Normalise rows; see `RowLayer`."""
        (rows,) = inputs
        above, below = self._reach - rows.top, self._reach - rows.bottom
        parts = [norm_within(image[None], above, below, self._reach, self._scale) for image in rows.joined()]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class Pointwise(RowLayer):
    """Any function of cells of the same place: sums, concatenations, activations.

    Args:
        function: takes one `[N, C, h, w]` an input.
        whole: whether it needs whole maps, such as squeeze-excitation.
    """

    def __init__(self, function: Callable[..., torch.Tensor], *, whole: bool = False) -> None:
        self._function = function
        if whole:
            self.window = None

    def __call__(self, inputs: Sequence[Rows]) -> torch.Tensor:
        """Apply the function to rows; see `RowLayer`."""
        return self._function(*(rows.joined() for rows in inputs)).contiguous(memory_format=torch.channels_last)


@cache
def has_fused_convolutions(dtype: torch.dtype) -> bool:
    """Return whether this torch and CPU convolve and apply ReLU in one, in a type."""
    if not torch._C._has_mkldnn or not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
