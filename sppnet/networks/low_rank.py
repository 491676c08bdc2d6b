"""fc6 and fc7 as products of two thin matrices: their singular value decompositions, cut off.

Two thirds of the arithmetic of 2,000 windows are fc6's; at rank r it takes `r (inputs + outputs)` products instead of
`inputs outputs`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from sppnet.errors import ConfigError
from sppnet.networks.network import FcHead


@dataclass(frozen=True)
class LowRankHead:
    """A head of thin matrices, to be used, not trained or stored.

    Attributes:
        head: the head.
        errors: by layer, the part of the weights' norm that was cut off, 0 to 1 (Frobenius).
    """

    head: FcHead
    errors: dict[str, float]


@torch.no_grad()
def lower_rank(head: FcHead, rank: int) -> LowRankHead:
    """Return a copy of a head whose fc6 and fc7 have at most a rank.

    A layer that would not become cheaper stays as it is.

    Args:
        head: the head, float32; it stays as it is.
        rank: of the products.

    Raises:
        ConfigError: the rank is below 1.
    """
    if rank < 1:
        raise ConfigError(f"rank: must be at least 1, not {rank}")
    lowered = copy.deepcopy(head)
    errors = {}
    for name in ("fc6", "fc7"):
        layer = cast("nn.Linear", head.layers[name])
        errors[name] = 0.0
        if rank * (layer.in_features + layer.out_features) < layer.in_features * layer.out_features:
            lowered.layers[name], errors[name] = _factors(layer, rank)
    return LowRankHead(lowered, errors)


def _factors(layer: nn.Linear, rank: int) -> tuple[nn.Sequential, float]:
    """Return two layers that stand for one, and the part of its weights' norm that they lack."""
    weights = layer.weight.double()
    # The eigenvectors of W W^T are the left singular vectors, at a fraction of the decomposition's time.
    values, vectors = torch.linalg.eigh(weights @ weights.T)
    left = vectors[:, -rank:]
    first = nn.Linear(layer.in_features, rank, bias=False).to(layer.weight)
    second = nn.Linear(rank, layer.out_features).to(layer.weight)
    first.weight.copy_(left.T @ weights)
    second.weight.copy_(left)
    second.bias.copy_(layer.bias)
    cut = values[:-rank].clamp(min=0).sum() / values.clamp(min=0).sum().clamp(min=1e-300)
    return nn.Sequential(first, second), float(cut.sqrt())
