"""Backbones: the convolutions that make an image's map, with their geometry and their preprocessing.

A `BackboneSpec` is plain data that a recipe can name and a fingerprint can hash; `build_backbone` turns it into a
module. Its architecture is one of `sppnet.networks.architectures`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from sppnet.errors import ConfigError
from sppnet.images.network_input import Preprocessing
from sppnet.networks import own_networks
from sppnet.networks.architectures import ARCHITECTURES, architecture
from sppnet.networks.cuts import CLASSIFIERS, cut_network, nearest, put_first
from sppnet.networks.dilation import dilate_last_stage
from sppnet.networks.map_shapes import ShapeCounter
from sppnet.networks.receptive_fields import trace_geometry
from sppnet.networks.torchvision_models import InputTransform
from sppnet.networks.weights import load_state
from sppnet.own_parts import is_import_path
from sppnet.pooling.geometry import GEOMETRIES, Geometry
from sppnet.sizes import Size

_ANY_SIDE = 512
"""Pixels of an image's side that every network has cells for."""


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """Which convolutions to use. What is left None is filled in with the architecture's default.

    Attributes:
        architecture: a key of `ARCHITECTURES`, `torchvision:` or `timm:` with the name of a classifier there, or an
            import path `package.module:factory`, see `sppnet.own_parts`.
        width: multiplies every layer's channels (Table 1's networks only).
        cut: the last module kept, a dotted name such as `relu5`, `features.12` or `layer3`.
        preprocessing: what the weights want of their pixels.
        response_norm: normalise responses as in Table 1 (Table 1's networks only).
        transform_input: shift and scale what comes out of `preprocessing` from torchvision's mean and deviation to
            -1..1 (torchvision's GoogLeNet and Inception v3 only, whose published weights want it).
        dilate: 2 halves the stride of what is kept, see `sppnet.networks.dilation`; the weights stay as they are.
    """

    architecture: str
    width: float = 1.0
    cut: str | None = None
    preprocessing: Preprocessing | None = None
    response_norm: bool | None = None
    transform_input: bool = False
    dilate: int = 1

    def __post_init__(self) -> None:
        kind = architecture(self.architecture)
        if self.dilate not in (1, 2):
            raise ConfigError(f"backbone.dilate: must be 1 or 2, not {self.dilate}")
        if not (math.isfinite(self.width) and self.width > 0):
            raise ConfigError(f"backbone.width: must be positive, not {self.width}")
        if self.width != 1.0 and not kind.has_width:
            raise ConfigError(f"backbone.width: {self.architecture} has one width only, 1.0, not {self.width}")
        if self.response_norm is not None and kind.response_norm is None:
            raise ConfigError(f"backbone.response_norm: {self.architecture} has no response normalisation")
        if self.transform_input and not kind.transforms_input:
            raise ConfigError(f"backbone.transform_input: {self.architecture} does not transform its input")
        object.__setattr__(self, "width", float(self.width))
        object.__setattr__(self, "cut", self.cut or kind.cut)
        object.__setattr__(self, "preprocessing", self.preprocessing or kind.preprocessing)
        if self.response_norm is None:
            object.__setattr__(self, "response_norm", kind.response_norm)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, defaults filled in; `from_dict` reads them back to an equal spec."""
        preprocessing = self.preprocessing.to_dict() if self.preprocessing else None
        values = {name: getattr(self, name) for name in ("architecture", "width", "cut", "response_norm")}
        changed: dict[str, Any] = {"transform_input": True} if self.transform_input else {}
        if self.dilate != 1:
            changed["dilate"] = self.dilate
        return {**values, "preprocessing": preprocessing, **changed}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BackboneSpec:
        """Build from `to_dict`'s values, of which only `architecture` is needed.

        Raises:
            ConfigError: an unknown key, an unknown architecture, or a value out of range.
        """
        for name in values:
            if name not in cls.__dataclass_fields__:
                raise ConfigError(f"backbone.{name}: unknown key{nearest(name, cls.__dataclass_fields__)}")
        if "architecture" not in values:
            raise ConfigError(f"backbone.architecture: missing, one of {', '.join(ARCHITECTURES)}")
        known = dict(values)
        if isinstance(known.get("preprocessing"), Mapping):
            known["preprocessing"] = Preprocessing.from_dict(known["preprocessing"])
        return cls(**known)


class Backbone(nn.Module):
    """The convolutions up to the last map, which is non-negative.

    Attributes:
        spec: what was built.
        trunk: the layers; its parameters have their publisher's names.
        geometry: receptive field, stride and accumulated padding of a cell, in pixels.
        channels: of the map.
        preprocessing: what the images must have gone through.
    """

    _mean_image: torch.Tensor | None

    def __init__(self, spec: BackboneSpec) -> None:
        super().__init__()
        # No buffer: it is of the pixels, so it stays float32 when the weights become bfloat16.
        self._mean_image = None
        kind = architecture(spec.architecture)
        self.spec = spec
        self.preprocessing = spec.preprocessing or kind.preprocessing
        self.trunk = _build_trunk(spec)
        try:
            self.geometry = _named_geometry(trace_geometry(self.trunk))
        except ConfigError as error:
            raise ConfigError(f"backbone.cut: {spec.architecture}: {error}; cut it before that layer") from error
        if is_import_path(spec.architecture):
            own_networks.check_map(_shape_trunk(spec), self.geometry.stride, _ANY_SIDE, spec.architecture)
        self.trunk = self.trunk.to(memory_format=torch.channels_last)
        self.channels = _map_shape(spec, _ANY_SIDE)[0]

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights, in which the convolutions run."""
        return next(self.parameters()).dtype

    @property
    def mean_image(self) -> torch.Tensor | None:
        """The per-pixel mean that replaces the preprocessing's constant (paper section 3.1), None without.

        Float32 `[3, h, w]` on the CPU: grey levels, in the channel order of the network's input. It goes to
        `sppnet.images.network_input.prepare_image` and `normalise_images`, which warp it to the input's size.
        """
        return self._mean_image

    @mean_image.setter
    def mean_image(self, value: torch.Tensor | None) -> None:
        if value is not None:
            if not (_is_image(value) and bool(torch.isfinite(value).all())):
                raise ConfigError(f"mean image: must be finite grey levels [3, h, w], not {list(value.shape)}")
            value = value.detach().to("cpu", torch.float32)
        self._mean_image = value

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Convolve images `[N, 3, H, W]`, preprocessed, of any float type.

        Returns:
            Maps `[N, C, h, w]` in the weights' dtype, channels last in memory, after ReLU and without -0.0.
        """
        maps = F.relu(self.trunk(images.to(self.dtype, memory_format=torch.channels_last)))
        # ReLU keeps -0.0, and pooled features must not depend on which of two equal zeros a kernel met first.
        return maps + 0.0 if maps.requires_grad else maps.add_(0.0)

    def map_size(self, image_size: Size) -> Size:
        """Return the size in cells of the map of an image, computed from shapes alone.

        Raises:
            ConfigError: the image is too small to have one cell.
        """
        return map_size(self.spec, image_size)


def map_size(spec: BackboneSpec, image_size: Size) -> Size:
    """Return the size in cells of the map of an image; see `Backbone.map_size`. Nothing is built of weights."""
    width, height = (_map_shape(spec, side)[1] for side in image_size)
    return Size(width, height)


def build_backbone(spec: BackboneSpec) -> Backbone:
    """Build a backbone with fresh weights, ready to train or to load.

    Raises:
        ConfigError: the cut names no module of the architecture.
    """
    return Backbone(spec)


def load_backbone(
    backbone: Backbone, tensors: Mapping[str, torch.Tensor], where: str, *, prefix: str = "", finite: bool = False
) -> None:
    """Load published or trained weights into a backbone's trunk.

    Layers of the architecture beyond the cut, and its classifier or another's, may be there and are ignored.

    Args:
        backbone: what is loaded.
        tensors: by name, `prefix` + the trunk's own names.
        where: what the tensors are, for the error's message.
        prefix: such as `backbone.trunk.` for the weights of an `SppNetwork`; names without it are ignored then.
        finite: whether infinities and what is no number are refused.

    Raises:
        ConfigError: naming the first missing, unexpected or wrongly shaped tensor, or one of a type or with values
            that weights don't have.
    """
    mine = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    kind = architecture(backbone.spec.architecture)
    own, whole = backbone.trunk.state_dict(), _whole_trunk_names(backbone.spec)
    parts = {name.partition(".")[0] for name in own}
    others = {f"{part}." for part in {*(name.partition(".")[0] for name in whole), *CLASSIFIERS} - parts}
    ignore = (*whole.difference(own), *kind.beyond, *others)
    load_state(backbone.trunk, mine, where, prefix=prefix, ignore=[prefix + name for name in ignore], finite=finite)


def _whole_network(spec: BackboneSpec) -> nn.Module:
    return architecture(spec.architecture).build(spec.width, spec.response_norm is not False)


def _build_trunk(spec: BackboneSpec) -> nn.Module:
    """Build the layers that a spec keeps."""
    kind = architecture(spec.architecture)
    network, cut = _whole_network(spec), spec.cut or kind.cut
    whole = own_networks.whole_network
    trunk = cut_network(network, cut, spec.architecture) if cut else whole(network, spec.architecture)
    if spec.transform_input and isinstance(trunk, fx.GraphModule):
        put_first(trunk, "transform_input", InputTransform())
    if spec.dilate != 1:
        try:
            dilate_last_stage(trunk)
        except ConfigError as error:
            raise ConfigError(f"backbone.dilate: {spec.architecture}: {error}") from error
    return trunk


def _is_image(value: torch.Tensor) -> bool:
    return value.is_floating_point() and value.ndim == 3 and value.shape[0] == 3 and 0 not in value.shape


def _named_geometry(geometry: Geometry) -> Geometry:
    """Return the known geometry of the same constants, which has the release's too, or the traced one."""
    for known in GEOMETRIES.values():
        if replace(known, released=None) == geometry:
            return known
    return geometry


@lru_cache(maxsize=16)
def _shape_trunk(spec: BackboneSpec) -> nn.Module:
    """Build the trunk on torch's meta device, where it computes shapes only."""
    with torch.inference_mode(), torch.device("meta"):
        return _build_trunk(spec).eval()


@lru_cache(maxsize=16)
def shape_counter(spec: BackboneSpec) -> ShapeCounter:
    """Return what counts cells and arithmetic of a network without its weights."""
    return ShapeCounter(_shape_trunk(spec))


@lru_cache(maxsize=16)
def _whole_trunk_names(spec: BackboneSpec) -> frozenset[str]:
    """Return the names of all the network's tensors before it is cut."""
    with torch.inference_mode(), torch.device("meta"):
        return frozenset(_whole_network(spec).state_dict())


@lru_cache(maxsize=65536)
def _map_shape(spec: BackboneSpec, side: int) -> tuple[int, int]:
    """Return the channels and the cells along one axis for an image of `side` pixels; the axes are independent."""
    counted = shape_counter(spec).count(side, side)
    if counted is not None and counted.shape.cells:
        return counted.shape.channels, counted.shape.width
    try:
        with torch.inference_mode():
            shape = _shape_trunk(spec)(torch.empty(1, 3, side, side, device="meta")).shape
    except RuntimeError as error:
        if spec.dilate != 1 and side >= _ANY_SIDE:
            raise ConfigError(
                f"backbone.dilate: {spec.architecture}: its last stage's branches don't fit then"
            ) from error
        raise ConfigError(f"{spec.architecture}: an image side of {side} pixels is too short for one cell") from error
    return int(shape[1]), int(shape[-1])
