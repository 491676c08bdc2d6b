"""Where a window of the image lies on the map: receptive fields and the window -> cells rule (paper, Appendix A).

A cell's receptive field is the square of input pixels it depends on. Its side, the network's stride and the padding
accumulated over the layers fix the rule; `trace_geometry` reads the three from any trunk of convolutions.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import fx, nn

from sppnet.errors import ConfigError

Convention = Literal["paper", "released"]


def check_convention(convention: str) -> None:
    """Raise `ConfigError` unless `convention` is `paper` or `released`."""
    if convention not in get_args(Convention):
        raise ConfigError(f"convention {convention!r} is unknown: use 'paper' or 'released'")


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


def _ends(
    lo: NDArray[np.float64], hi: NDArray[np.float64], geometry: Geometry, convention: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First and last cell, 1-based inclusive, before the too-narrow rule and clipping."""
    if convention == "paper":
        return (
            np.floor((lo + geometry.shift) / geometry.stride) + 1,
            np.ceil((hi + geometry.shift) / geometry.stride) - 1,
        )
    if geometry.released is None:
        raise ConfigError(f"no released constants for {geometry}: use convention 'paper'")
    off0, off, step = geometry.released
    # lo + 1 and hi are the window's first and last pixel in the authors' 1-based inclusive boxes.
    return np.floor((lo + 1 - off0 + off) / step + 0.5) + 1, np.ceil((hi - off0 - off) / step - 0.5) + 1


def axis_cells(
    lo: ArrayLike, hi: ArrayLike, map_size: int, geometry: Geometry, convention: Convention = "paper"
) -> NDArray[np.int32]:
    """Cells covered by windows along one axis (Appendix A; `released`: the authors' code).

    A window too narrow to hold a cell gets the one in the middle: both ends become the truncated mean of the two
    1-based ends. Then both are clipped to the map, so every window covers at least one cell.

    Args:
        lo: windows' first pixel, 0-based, in the resized image; float, any shape.
        hi: one past the windows' last pixel, same shape.
        map_size: cells of the map along this axis.
        geometry: the backbone's.
        convention: `paper` or `released`.

    Returns:
        int32 `[..., 2]`: 0-based half-open cells.

    Raises:
        ConfigError: unknown convention, or `released` for a network whose constants were not released.
        ValueError: a map without cells, or pixels that are not finite.
    """
    check_convention(convention)
    if map_size < 1:
        raise ValueError(f"a map needs at least one cell, not {map_size}")
    lo, hi = np.asarray(lo, dtype=np.float64), np.asarray(hi, dtype=np.float64)
    if not (np.isfinite(lo).all() and np.isfinite(hi).all()):
        raise ValueError("windows must be finite")
    first, last = _ends(lo, hi, geometry, convention)
    middle = np.trunc((first + last) / 2)
    narrow = first > last
    first = np.clip(np.where(narrow, middle, first), 1, map_size)
    last = np.clip(np.where(narrow, middle, last), 1, map_size)
    return np.stack([first - 1, last], axis=-1).astype(np.int32)


def windows_to_cells(
    windows_scaled: ArrayLike, map_hw: tuple[int, int], geometry: Geometry, convention: Convention = "paper"
) -> NDArray[np.int32]:
    """Return the cells covered by windows of the resized image.

    See `axis_cells`; `sppnet.pooling.scales.scale_windows` scales the windows.

    Args:
        windows_scaled: `[n, 4]` float, `[x0, y0, x1, y1)` pixels of the resized image, 0-based half-open.
        map_hw: height and width of the map, cells.
        geometry: the backbone's.
        convention: `paper` or `released`.

    Returns:
        int32 `[n, 4]`: `[cx0, cy0, cx1, cy1)`, 0-based half-open, never empty, inside the map.

    Raises:
        ConfigError, ValueError: as `axis_cells`; also ValueError for windows of another shape.
    """
    windows = np.asarray(windows_scaled, dtype=np.float64)
    if windows.ndim != 2 or windows.shape[1] != 4:
        raise ValueError(f"windows must have shape [n, 4], not {list(windows.shape)}")
    x = axis_cells(windows[:, 0], windows[:, 2], map_hw[1], geometry, convention)
    y = axis_cells(windows[:, 1], windows[:, 3], map_hw[0], geometry, convention)
    return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)


@dataclass(frozen=True)
class _Footprint:
    """Pixels under cell 0 of an activation, `[lo, hi)`, and the pixels from one cell to the next."""

    lo: int = 0
    hi: int = 1
    stride: int = 1

    def slide(self, kernel: int, stride: int, padding: int, dilation: int) -> _Footprint:
        lo = self.lo - padding * self.stride
        return _Footprint(lo, lo + (self.hi - self.lo) + (kernel - 1) * dilation * self.stride, self.stride * stride)


# They act on single positions, or (normalisation) their footprint is not counted, as in the paper's receptive fields.
# Linear and permuted layers are those of networks that put the channels last, such as ConvNeXt.
_POINTWISE_MODULES = (
    nn.Identity, nn.Dropout, nn.Dropout2d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm, nn.Linear,
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Sigmoid, nn.Hardsigmoid,
)  # fmt: skip
_SLIDING_MODULES = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_POINTWISE_FUNCTIONS: frozenset[Callable[..., Any]] = frozenset(
    {
        operator.add, operator.iadd, operator.mul, torch.add, torch.mul, torch.cat, torch.concat, torch.relu,
        torch.permute, nn.functional.relu, nn.functional.relu_, nn.functional.silu, nn.functional.gelu,
        nn.functional.hardswish, nn.functional.dropout, nn.functional.batch_norm, nn.functional.layer_norm,
        nn.functional.local_response_norm,
    }
)  # fmt: skip
_POINTWISE_METHODS = frozenset({"add", "add_", "mul", "mul_", "relu", "relu_", "contiguous", "clone", "permute"})


def _one(value: int | tuple[int, ...] | str, what: str, layer: str) -> int:
    """The value of a layer's parameter when both axes share it."""
    values = {value} if isinstance(value, int | str) else set(value)
    only = values.pop()
    if values or not isinstance(only, int):
        raise ConfigError(f"layer {layer!r}: a {what} of {value} is not one integer for both axes")
    return only


class _LayerTracer(fx.Tracer):
    """Stops at torch's own layers and their subclasses, and at modules that declare `keeps_geometry = True`."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        known = isinstance(m, _SLIDING_MODULES + _POINTWISE_MODULES) or hasattr(m, "keeps_geometry")
        return known or super().is_leaf_module(m, module_qualified_name)


def trace_layers(network: nn.Module) -> fx.Graph:
    """Trace a network's operations symbolically; torch's own layers stay whole.

    A module of one's own that keeps positions stays whole too if it declares `keeps_geometry = True`.

    Raises:
        ConfigError: it can't be traced.
    """
    try:
        return _LayerTracer().trace(network)
    except (fx.proxy.TraceError, TypeError, ValueError, NotImplementedError) as error:
        raise ConfigError(f"can't trace {type(network).__name__}: {error}") from error


def _join(inputs: list[_Footprint], layer: str) -> _Footprint:
    """The union footprint of branches that meet, e.g. a Fire module's 1 x 1 and 3 x 3 convolutions."""
    strides = {one.stride for one in inputs}
    if len(strides) != 1:
        raise ConfigError(f"layer {layer!r}: its branches have strides {sorted(strides)}, they must agree")
    return _Footprint(min(one.lo for one in inputs), max(one.hi for one in inputs), strides.pop())


def _apply_module(module: nn.Module, before: _Footprint, layer: str) -> _Footprint:
    if isinstance(module, _SLIDING_MODULES):
        window = [
            _one(getattr(module, what, 1), what, layer) for what in ("kernel_size", "stride", "padding", "dilation")
        ]
        return before.slide(*window)
    if isinstance(module, _POINTWISE_MODULES) or getattr(module, "keeps_geometry", False):
        return before
    raise ConfigError(f"layer {layer!r}: no geometry is known for {type(module).__name__}")


def trace_geometry(trunk: nn.Module) -> Geometry:
    """Read receptive field, stride and accumulated padding from a trunk of convolutions.

    The trunk is traced symbolically (`torch.fx`), so branches, concatenations and residual sums are followed too;
    where branches meet, the footprint is their union. Normalisation counts as pointwise, as in the paper's numbers.
    A module of one's own that keeps positions declares it with a class attribute `keeps_geometry = True`.

    Args:
        trunk: takes images `[N, 3, H, W]`, returns maps `[N, C, h, w]`.

    Raises:
        ConfigError: a layer whose geometry is unknown or differs between the axes, branches whose strides differ, or
            a trunk that can't be traced; the message names the layer.
    """
    footprints: dict[fx.Node, _Footprint] = {}
    for node in trace_layers(trunk).nodes:
        inputs = [footprints[one] for one in node.all_input_nodes if one in footprints]
        name = str(node.target)
        if node.op == "placeholder":
            footprints[node] = _Footprint()
        elif node.op == "call_module" and inputs:
            footprints[node] = _apply_module(trunk.get_submodule(name), inputs[0], name)
        elif node.op == "output":
            return _geometry(_join(inputs, "output"))
        elif not inputs:
            continue  # a constant of the module, or made of such: it has no position
        elif node.target in _POINTWISE_FUNCTIONS or (node.op == "call_method" and name in _POINTWISE_METHODS):
            footprints[node] = _join(inputs, node.name)
        else:
            raise ConfigError(f"layer {node.name!r}: no geometry is known for {name}")
    raise ConfigError(f"{type(trunk).__name__} has no output")


def _geometry(cell: _Footprint) -> Geometry:
    return Geometry(receptive_field=cell.hi - cell.lo, stride=cell.stride, padding=-cell.lo)
