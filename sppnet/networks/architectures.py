"""Architectures by name: what builds a whole network, where it is cut by default, and what it wants of its pixels.

A new architecture is one entry of `ARCHITECTURES`; `torchvision:<name>` is any of torchvision's classifiers,
`timm:<name>` any of timm's, `package.module:factory` one of the user's own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Literal

import torch
from torch import nn

from sppnet.errors import ConfigError
from sppnet.images.network_input import SQUEEZENET_CAFFE, TORCHVISION, UNIT_128, Preprocessing
from sppnet.networks import own_networks, timm_models
from sppnet.networks.cuts import last_activation, nearest
from sppnet.networks.squeezenet import squeezenet_features
from sppnet.networks.trunks import TRUNKS, build_trunk
from sppnet.own_parts import is_import_path

TORCHVISION_PREFIX = "torchvision:"
"""Before the name of one of torchvision's classifiers."""
TIMM_PREFIX = "timm:"
"""Before the name of one of timm's, with or without a tag of its weights."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One entry of the registry.

    Attributes:
        build: makes the whole network, to be cut, of a width and with or without response normalisation, which only
            Table 1's networks look at; its parameters have their publisher's names.
        cut: the last module kept by default, a dotted name; empty where the network as a whole gives the map.
        preprocessing: what the network wants of its pixels by default.
        has_width: whether `BackboneSpec.width` means anything here.
        response_norm: its default, or None where the architecture has no such norm.
        beyond: beginnings of the names that published weights hold besides the trunk, knowingly ignored.
        transforms_input: whether it can transform its input itself, as `BackboneSpec.transform_input` says.
        asks: which files are asked for their pixels if nobody says what those are: `none`, those in torch's own
            format (`torch`, for a name that means Caffe's weights), or `all`.
    """

    build: Callable[[float, bool], nn.Module]
    cut: str
    preprocessing: Preprocessing
    has_width: bool = False
    response_norm: bool | None = None
    beyond: tuple[str, ...] = ()
    transforms_input: bool = False
    asks: Literal["none", "torch", "all"] = "none"


def _build_table_1(name: str, width: float, response_norm: bool) -> nn.Sequential:
    return build_trunk(name, width, response_norm=response_norm)


def _build_squeezenet(_width: float, _response_norm: bool) -> nn.Sequential:
    return nn.Sequential(OrderedDict(features=squeezenet_features()))


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        **{
            name: Architecture(
                partial(_build_table_1, name),
                f"relu{len(plan.convolutions)}",
                UNIT_128,
                has_width=True,
                response_norm=True,
                asks="all" if name == "zf5_released" else "none",
            )
            for name, plan in TRUNKS.items()
        },
        "squeezenet1_0": Architecture(
            _build_squeezenet, "features.12", SQUEEZENET_CAFFE, beyond=("classifier.",), asks="torch"
        ),
    }
)
"""Every architecture by name, torchvision's and timm's apart. The authors' `zf5_released` wants `CAFFE_128`."""


def architecture(name: str) -> Architecture:
    """Return an entry of `ARCHITECTURES`, or that of one of torchvision's or timm's classifiers, or of one's own.

    Raises:
        ConfigError: there is none of that name, or it is code that may not be run here.
    """
    if name.startswith(TORCHVISION_PREFIX):
        return _torchvision_architecture(name)
    if name.startswith(TIMM_PREFIX):
        return _timm_architecture(name)
    if is_import_path(name):
        return _own_architecture(name)
    if name not in ARCHITECTURES:
        known = f"{', '.join(ARCHITECTURES)}, {TORCHVISION_PREFIX}<name>, {TIMM_PREFIX}<name>, package.module:factory"
        raise ConfigError(f"backbone.architecture: unknown {name!r}, one of {known}{nearest(name, ARCHITECTURES)}")
    return ARCHITECTURES[name]


@lru_cache(maxsize=16)
def _torchvision_architecture(name: str) -> Architecture:
    """Return the entry of one of torchvision's classifiers, cut by default where its convolutions end."""
    from sppnet.networks.torchvision_models import build_model

    model = name.removeprefix(TORCHVISION_PREFIX)
    with torch.device("meta"):
        network = build_model(model)
        transforms = hasattr(network, "transform_input")
        cut = last_activation(network, name)
    return Architecture(lambda *_: build_model(model), cut, TORCHVISION, transforms_input=transforms)


@lru_cache(maxsize=16)
def _timm_architecture(name: str) -> Architecture:
    """Return the entry of one of timm's classifiers, likewise."""
    model = name.removeprefix(TIMM_PREFIX)
    pixels = timm_models.model_pixels(model)
    with torch.device("meta"):
        cut = last_activation(timm_models.build_model(model), name)
    return Architecture(lambda *_: timm_models.build_model(model), cut, pixels)


@lru_cache(maxsize=16)
def _own_architecture(path: str) -> Architecture:
    """Return the entry of a network of the user's own, once it was built."""
    with torch.device("meta"):
        own_networks.build_model(path)
    return Architecture(lambda *_: own_networks.build_model(path), "", TORCHVISION)
