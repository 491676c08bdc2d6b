"""Table 1's networks as plain convolutions, without their last pooling, and the authors' released ZF-5.

The paper doesn't print paddings. Those here, with floored pools, are the ones that give Table 1's map sizes at 224
pixels and 10 or 14 cells at 180; ZF-5's also give Appendix A's constants exactly (receptive field 139, stride 16,
accumulated padding 55). The authors' *released* ZF-5 pads less (1, 0, 0, 0) and needs ceiled pools.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from torch import nn

from sppnet.errors import ConfigError
from sppnet.networks.norms import ResponseNorm, WithinChannelNorm


@dataclass(frozen=True, slots=True)
class Convolution:
    """One layer of a trunk, with what follows it up to the next; ReLU always does.

    Attributes:
        channels: outputs at width 1.
        kernel: side in cells of the layer's input.
        stride: of the convolution.
        padding: zeros on every side.
        pool: kernel and stride of the max pooling behind it, None without.
        norm: whether its responses are normalised.
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pool: tuple[int, int] | None = None
    norm: bool = False


@dataclass(frozen=True, slots=True)
class TrunkPlan:
    """The convolutions of a network.

    Attributes:
        convolutions: from the image on.
        norm: `across` channels (Krizhevsky's) or `within` each (the release's).
        pool_first: whether pooling comes before the normalisation.
        ceil: whether pools round their size up, as Caffe's do.
    """

    convolutions: tuple[Convolution, ...]
    norm: Literal["across", "within"] = "across"
    pool_first: bool = False
    ceil: bool = False


def _overfeat(depth: int) -> TrunkPlan:
    """Return Overfeat-5 or -7, by the number of 3x3 layers: 36 cells after pool1, 18 after pool2 at 224."""
    first = (Convolution(96, 7, 2, 0, (3, 3), norm=True), Convolution(256, 5, 1, 2, (2, 2)))
    return TrunkPlan((*first, *[Convolution(512)] * (depth - 2)), pool_first=True)


_ZF_TOP = (Convolution(384), Convolution(384), Convolution(256))
TRUNKS: Mapping[str, TrunkPlan] = MappingProxyType(
    {
        "zf5": TrunkPlan(
            (
                Convolution(96, 7, 2, 3, (3, 2), norm=True),
                Convolution(256, 5, 2, 1, (3, 2), norm=True),
                *_ZF_TOP,
            )
        ),
        "zf5_released": TrunkPlan(
            (
                Convolution(96, 7, 2, 1, (3, 2), norm=True),
                Convolution(256, 5, 2, 0, (3, 2), norm=True),
                *_ZF_TOP,
            ),
            norm="within",
            ceil=True,
        ),
        "convnet5": TrunkPlan(
            (
                Convolution(96, 11, 4, 2, norm=True),
                Convolution(256, 5, 1, 2, (3, 2), norm=True),
                Convolution(384, pool=(3, 2)),
                Convolution(384),
                Convolution(256),
            )
        ),
        "overfeat5": _overfeat(5),
        "overfeat7": _overfeat(7),
    }
)
"""Table 1 by column (`convnet5` is Convnet*-5), and the release's ZF-5."""


def widened(channels: int, width: float) -> int:
    """Return a layer's channels at a width multiplier: rounded to a multiple of 8, at least 8."""
    return max(8, math.floor(channels * width / 8 + 0.5) * 8)


def build_trunk(name: str, width: float = 1.0, *, response_norm: bool = True) -> nn.Sequential:
    """Build a network's convolutions, ready to train from scratch.

    Args:
        name: a key of `TRUNKS`.
        width: multiplies the channels of every layer.
        response_norm: keep the normalisations of Table 1.

    Returns:
        A module from `[N, 3, H, W]` to `[N, C, h, w]` with layers `conv1 relu1 norm1 pool1 ... conv5 relu5` (pool
        before norm where the plan says so), He-initialised for inputs of about unit variance, zero bias.

    Raises:
        ConfigError: an unknown name.
    """
    if name not in TRUNKS:
        raise ConfigError(f"trunk {name!r} is unknown, one of {', '.join(TRUNKS)}")
    plan = TRUNKS[name]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = 3
    for number, layer in enumerate(plan.convolutions, start=1):
        channels = widened(layer.channels, width)
        layers[f"conv{number}"] = nn.Conv2d(before, channels, layer.kernel, layer.stride, layer.padding)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        behind = list[tuple[str, nn.Module]]()
        if layer.norm and response_norm:
            behind.append((f"norm{number}", _norm(plan, channels)))
        if layer.pool:
            behind.append((f"pool{number}", nn.MaxPool2d(*layer.pool, ceil_mode=plan.ceil)))
        layers.update(reversed(behind) if plan.pool_first else behind)
        before = channels
    trunk = nn.Sequential(layers)
    trunk.apply(_initialise)
    return trunk


def _norm(plan: TrunkPlan, channels: int) -> nn.Module:
    return ResponseNorm(channels) if plan.norm == "across" else WithinChannelNorm()


def _initialise(module: nn.Module) -> None:
    """Give a convolution He's normal initialisation and zero bias."""
    if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
