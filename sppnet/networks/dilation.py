"""A network's last stage at twice the cells: its stride of 2 becomes 1, and what follows is dilated by 2.

Every second cell of the denser map is a cell of the network as it was, from the same pixels with the same weights; the
cells between are what it would have given of an image shifted by half a cell (as in DeepLab, and a trous before it).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from torch import fx, nn

from sppnet.errors import ConfigError
from sppnet.networks.receptive_fields import is_plain, trace_layers, trace_strides, window_of
from sppnet.networks.timm_layers import SameConvolution

_SLIDING = (SameConvolution, nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


def dilate_last_stage(trunk: nn.Module) -> None:
    """Halve a trunk's stride, in place; its weights and their names stay.

    Args:
        trunk: takes images `[N, 3, H, W]`, returns maps `[N, C, h, w]`.

    Raises:
        ConfigError: it has no stride of 2 that is its last, or a layer of the last stage that can't be dilated.
    """
    graph = trace_layers(trunk)
    strides = trace_strides(trunk, graph)
    last = next(stride for node, stride in strides.items() if node.op == "output")
    dilated, thinned = list[nn.Module](), list[nn.Module]()
    for node, stride in strides.items():
        before = max((strides[one] for one in node.all_input_nodes if one in strides), default=1)
        layer = trunk.get_submodule(str(node.target)) if node.op == "call_module" else None
        if before == last and stride == last:
            dilated += _sliding(node, layer)
        elif stride == last and before < stride:
            if 2 * before != stride:
                raise ConfigError(f"layer {node.target!r} has a stride of {stride // before}, only 2 can be halved")
            thinned += _sliding(node, layer)
        elif stride > last:
            raise ConfigError(f"layer {node.target!r} has a stride of {stride}, the map has {last}")
    if not thinned:
        raise ConfigError("the network has no stride that could be halved")
    _check_once(graph, trunk, [*dilated, *thinned])
    for layer in thinned:
        layer.stride = _pair(1)  # type: ignore[assignment]
    for layer in dilated:
        _dilate(layer)


def _sliding(node: fx.Node, layer: nn.Module | None) -> list[nn.Module]:
    """Return the layer of an operation if it has windows of several cells or a stride; refuse one that can't change."""
    if layer is not None and not is_plain(layer, _SLIDING):
        return []  # it keeps positions
    if layer is None:
        if getattr(node.target, "__name__", "") in ("avg_pool2d", "max_pool2d"):
            raise ConfigError(f"layer {node.name!r} is a pooling called as a function, it can't be dilated")
        return []
    window = window_of(layer)
    wide = _pair(window["kernel_size"]) != (1, 1)
    if wide and isinstance(layer, nn.AvgPool2d):
        raise ConfigError(f"layer {str(node.target)!r} is a mean of {window['kernel_size']} cells, it can't be dilated")
    return [layer]


def _dilate(layer: nn.Module) -> None:
    """Set a layer's cells apart by twice as many."""
    for name in ("dilation", "before" if isinstance(layer, SameConvolution) else "padding"):
        if hasattr(layer, name):
            first, second = _pair(getattr(layer, name))
            setattr(layer, name, (2 * first, 2 * second))


def _pair(value: int | Iterable[int]) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return first, second


def _check_once(graph: fx.Graph, trunk: nn.Module, layers: list[nn.Module]) -> None:
    """Refuse a layer of the last stage that is called at several places: it may be used before it too."""
    calls = Counter(id(trunk.get_submodule(str(node.target))) for node in graph.nodes if node.op == "call_module")
    if any(calls[id(layer)] > 1 for layer in layers):
        raise ConfigError("a layer of the last stage is called several times, it can't be dilated")
