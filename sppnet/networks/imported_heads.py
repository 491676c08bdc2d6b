"""fc6, fc7 and fc8 that were trained elsewhere: their tensors' names, and the order of the values that fc6 takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch

from sppnet.arrays import Integers
from sppnet.errors import ConfigError
from sppnet.networks.network import FcHead, HeadSpec
from sppnet.networks.weights import load_state
from sppnet.pooling.pyramid import Pyramid

PooledLayout = Literal["sppnet", "released"]
"""Order of a pooled vector: `sppnet`, bins by level as the pyramid lists them, channels fastest; `released`, the
authors': coarsest level first, within a level channels slowest, then rows, then columns (Caffe's flattening)."""

LAYERS = ("fc6", "fc7", "fc8")
_PREFIXES = ("", "layers.", "head.layers.")


def is_head_tensor(name: str) -> bool:
    """Tell whether a tensor has the name of a weight or bias of fc6, fc7 or fc8."""
    return _plain_name(name) is not None


def imported_head(
    tensors: Mapping[str, torch.Tensor], pyramid: Pyramid, channels: int, layout: PooledLayout, where: str
) -> FcHead:
    """Build a head from tensors `fc6.weight`, `fc6.bias`, ... `fc8.bias`, of which sizes are read off.

    Args:
        tensors: by name, with or without `head.layers.` in front; others are ignored.
        pyramid: between the map and fc6.
        channels: of the map.
        layout: the order of the pooled vector that fc6 was trained on.
        where: what the tensors are, for the error's message.

    Returns:
        The head, taking vectors in this project's order, in evaluation mode.

    Raises:
        ConfigError: naming the first tensor that is missing or whose shape doesn't fit.
    """
    found = {plain: tensor for name, tensor in tensors.items() if (plain := _plain_name(name))}
    for layer in LAYERS:
        weight = found.get(f"{layer}.weight")
        if weight is None or weight.ndim != 2:
            shape = "is missing" if weight is None else f"has shape {list(weight.shape)}, not two sizes"
            raise ConfigError(f"{where}: tensor '{layer}.weight' of the head {shape}")
    outputs = [len(found[f"{layer}.weight"]) for layer in LAYERS]
    spec = HeadSpec(pyramid.bins * channels, (outputs[0], outputs[1]), outputs[2])
    head = loaded_head(spec, {f"layers.{name}": tensor for name, tensor in found.items()}, where, finite=True)
    if layout == "released":
        weight = head.get_parameter("layers.fc6.weight")
        weight.data = weight.data[:, torch.from_numpy(released_order(pyramid, channels))].contiguous()
    return head.eval()


def loaded_head(
    spec: HeadSpec, tensors: Mapping[str, torch.Tensor], where: str, *, prefix: str = "", finite: bool = False
) -> FcHead:
    """Build a head of given weights. Nothing is allocated for sizes that the tensors don't have.

    Args:
        spec: the sizes, which may be a file's own claim.
        tensors: by name: `prefix` + `layers.fc6.weight` and so on.
        where: what the tensors are, for the error's message.
        prefix: stripped from the tensors' names.
        finite: whether infinities and what is no number are refused.

    Returns:
        The head, in training mode.

    Raises:
        ConfigError: naming the first missing, unexpected or wrongly shaped tensor.
    """
    with torch.device("meta"):
        head = FcHead.from_spec(spec)
    load_state(head, tensors, where, prefix=prefix)  # the shapes: values come to nothing there
    head = head.to_empty(device="cpu")
    load_state(head, tensors, where, prefix=prefix, finite=finite)
    return head


def released_order(pyramid: Pyramid, channels: int) -> Integers:
    """Return where each value of this project's pooled vector lies in the authors', int64 `[bins * channels]`."""
    starts, start = dict[int, int](), 0
    for n in sorted(pyramid.levels):
        starts[n] = start
        start += n * n * channels
    parts = []
    for n in pyramid.levels:
        cells, maps = np.arange(n * n), np.arange(channels)
        parts.append((starts[n] + maps[None, :] * n * n + cells[:, None]).ravel())
    return np.concatenate(parts)


def _plain_name(name: str) -> str | None:
    """Return `fc6.weight` for any spelling of it; None for another tensor's name."""
    for prefix in _PREFIXES:
        plain = name.removeprefix(prefix)
        layer, _, kind = plain.partition(".")
        if name.startswith(prefix) and layer in LAYERS and kind in ("weight", "bias"):
            return plain
    return None
