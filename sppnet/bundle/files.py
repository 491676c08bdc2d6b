"""Bundles as bytes: a safetensors file whose metadata is the `Description`, so that loading one runs no code.

Tensors: `backbone.trunk.*` with their publisher's names, `backbone.mean_image` where one is subtracted,
`head.layers.fc6.weight` ... `fc8.bias`, `svms.weights`, `svms.biases`, and `regressors.weights`, `.means` and
`.inverse_whitenings`. Metadata: `format`, `version` and `detector`, the description as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from sppnet.bundle.description import Description, FeatureSettings
from sppnet.detection.detector import Detector
from sppnet.detection.features import WindowFeatures
from sppnet.detection.regression import BoxRegressor, BoxRegressors
from sppnet.detection.svm import LinearSvms
from sppnet.errors import ArtifactError, ConfigError
from sppnet.networks.backbones import Backbone, BackboneSpec, build_backbone, load_backbone
from sppnet.networks.imported_heads import loaded_head
from sppnet.networks.low_rank import lower_rank
from sppnet.networks.network import FcHead, HeadSpec
from sppnet.networks.weights import read_metadata, read_safetensors, write_safetensors
from sppnet.outside import parse_json, parsing
from sppnet.pooling.pyramid import Pyramid

FORMAT = "sppnet-detector"
VERSION = 1
_TRUNK, _MEAN_IMAGE, _HEAD, _SVMS, _REGRESSORS = (
    "backbone.trunk.",
    "backbone.mean_image",
    "head.",
    "svms.",
    "regressors.",
)


@dataclass(frozen=True, eq=False)
class Bundle:
    """A detector with all that it is made of.

    Attributes:
        description: Everything but the weights.
        backbone: The convolutions, with their mean image.
        head: fc6 to fc8, float32 and of full rank; None where all features are pool5.
        svms: Of all categories.
        regressors: By category; empty without.
    """

    description: Description
    backbone: Backbone
    head: FcHead | None
    svms: LinearSvms
    regressors: Mapping[str, BoxRegressor]

    def detector(self, device: torch.device) -> Detector:
        """Return what turns maps and windows into detections, computing on a device."""
        said = self.description
        of_regressors = said.regressors
        return Detector(
            self._features(said.features, device),
            self.svms,
            None if of_regressors is None else self._features(of_regressors.features, device),
            self.regressors,
        )

    def _features(self, settings: FeatureSettings, device: torch.device) -> WindowFeatures:
        head = self.head if settings.layer != "pool5" else None
        if head is not None and settings.rank is not None:
            head = lower_rank(head, settings.rank).head
        return WindowFeatures(
            geometry=self.backbone.geometry,
            channels=self.backbone.channels,
            pyramid=Pyramid(settings.levels),
            scales=settings.scales,
            layer=settings.layer,
            convention=settings.convention,
            head=None if head is None else head.to(device).eval(),
            precision=settings.precision,
            device=device,
        )


def write_bundle(bundle: Bundle) -> bytes:
    """Encode a bundle: equal detectors give equal bytes."""
    tensors = {_TRUNK + name: tensor for name, tensor in bundle.backbone.trunk.state_dict().items()}
    if bundle.backbone.mean_image is not None:
        tensors[_MEAN_IMAGE] = bundle.backbone.mean_image
    if bundle.head is not None:
        tensors |= {_HEAD + name: tensor for name, tensor in bundle.head.state_dict().items()}
    tensors |= {_SVMS + name: tensor for name, tensor in bundle.svms.to_tensors()[0].items()}
    if bundle.regressors:
        regressors = BoxRegressors(tuple(bundle.regressors), tuple(bundle.regressors.values()))
        tensors |= {_REGRESSORS + name: tensor for name, tensor in regressors.to_tensors()[0].items()}
    detector = json.dumps(bundle.description.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return write_safetensors(tensors, {"format": FORMAT, "version": str(VERSION), "detector": detector})


def read_bundle(data: bytes, where: str) -> Bundle:
    """Decode a bundle, on the CPU. Nothing is allocated for sizes that its tensors don't have.

    Args:
        data: The file's bytes, from anywhere.
        where: What they are, for messages.

    Raises:
        ConfigError: They are cut, damaged, something else, of a later format, or don't fit together.
    """
    said = _read_description(data, where)
    tensors = read_safetensors(data, where)
    for name in tensors:
        if not name.startswith((_TRUNK, _MEAN_IMAGE, _HEAD, _SVMS, _REGRESSORS)):
            raise ConfigError(f"{where}: tensor '{name:.60}' is unexpected")
    try:
        with parsing(ConfigError):  # sizes and names of any type go through other modules' hands
            return _fitted(said, tensors, where)
    except (ConfigError, ArtifactError) as error:
        text = str(error)
        raise ConfigError(text if text.startswith(where) else f"{where}: {text}") from error


def _fitted(said: Description, tensors: Mapping[str, torch.Tensor], where: str) -> Bundle:
    """Build what is described of the tensors."""
    backbone = _backbone(said, tensors, where)
    pyramid = Pyramid(said.features.levels)
    head = None if said.head is None else _head(HeadSpec.from_dict(said.head), tensors, where)
    width = pyramid.bins * backbone.channels
    if head is not None and said.features.layer != "pool5":
        head.check_fits(pyramid, backbone.channels)
        width = head.spec.outputs(said.features.layer)
    svms, regressors = _svms(said, tensors, where), _regressors(said, tensors, where)
    _check_widths(said, svms, regressors, width, backbone.channels, where)
    return Bundle(said, backbone, head, svms, regressors)


def _read_description(data: bytes, where: str) -> Description:
    metadata = read_metadata(data, where)
    if metadata.get("format") != FORMAT:
        raise ConfigError(f"{where}: is no detector of `sppnet export`; its format is {metadata.get('format')!r:.80}")
    version = metadata.get("version", "")
    if version != str(VERSION):
        raise ConfigError(f"{where}: is of format {version!r:.20}, this sppnet reads {VERSION}; update sppnet")

    def damaged(why: str) -> ConfigError:
        return ConfigError(f"{where}: its description is no JSON: {why}")

    return Description.from_json(parse_json(metadata.get("detector", ""), damaged), where)


def _part(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _backbone(said: Description, tensors: Mapping[str, torch.Tensor], where: str) -> Backbone:
    spec = BackboneSpec.from_dict(said.backbone)
    with torch.device("meta"):  # shapes first: a width may be anything
        load_backbone(build_backbone(spec), tensors, where, prefix=_TRUNK)
    backbone = build_backbone(spec)
    load_backbone(backbone, tensors, where, prefix=_TRUNK, finite=True)
    backbone.mean_image = tensors.get(_MEAN_IMAGE)
    if (backbone.geometry, backbone.channels) != (said.geometry, said.channels):
        raise ConfigError(
            f"{said.backbone['architecture']} has here {backbone.geometry} and {backbone.channels} channels, the file "
            f"says {said.geometry} and {said.channels}: another version of its architecture"
        )
    return backbone.eval()


def _head(spec: HeadSpec, tensors: Mapping[str, torch.Tensor], where: str) -> FcHead:
    own = {name: tensor for name, tensor in tensors.items() if name.startswith(_HEAD)}
    return loaded_head(spec, own, where, prefix=_HEAD, finite=True).eval()


def _svms(said: Description, tensors: Mapping[str, torch.Tensor], where: str) -> LinearSvms:
    found = {name: _finite(tensor, f"svms.{name}") for name, tensor in _part(tensors, _SVMS).items()}
    for name in ("weights", "biases"):
        if name not in found:
            raise ConfigError(f"{where}: tensor 'svms.{name}' is missing")
    if len(set(said.categories)) < len(said.categories) or not said.categories:
        raise ConfigError(f"{where}: detector.categories: none, or one twice")
    return LinearSvms(
        found["weights"].numpy(), found["biases"].numpy(), said.categories, said.feature_scale, said.features.layer
    )


def _regressors(said: Description, tensors: Mapping[str, torch.Tensor], where: str) -> Mapping[str, BoxRegressor]:
    part = _part(tensors, _REGRESSORS)
    if said.regressors is None:
        if part:
            raise ConfigError(f"{where}: holds box regressors that its description does not name")
        return {}
    names = said.regressors.categories
    if not set(names) <= set(said.categories):
        raise ConfigError(f"{where}: detector.regressors.categories: not all are of the detector")
    if not names:
        return {}
    for name, tensor in part.items():
        _finite(tensor, f"regressors.{name}")
    metadata = {"kind": "box-regressors", "categories": json.dumps(list(names))}
    found = BoxRegressors.from_tensors(part, metadata)
    return dict(zip(found.categories, found.regressors, strict=True))


def _finite(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """Return a tensor of floats as it is, SVMs' in float32; raise `ConfigError` for any other."""
    if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
        raise ConfigError(f"tensor '{name}' does not hold finite numbers")
    return tensor.float() if name.startswith(_SVMS) else tensor


def _check_widths(
    said: Description,
    svms: LinearSvms,
    regressors: Mapping[str, BoxRegressor],
    width: int,
    channels: int,
    where: str,
) -> None:
    """Raise `ConfigError` unless the weights are of the features that the backbone and head give."""
    if svms.weights.shape[1] != width:
        raise ConfigError(f"{where}: SVMs of {svms.weights.shape[1]} features, the network gives {width}")
    if said.regressors is None:
        return
    pooled = Pyramid(said.regressors.features.levels).bins * channels
    lengths = {len(one.weights) - 1 for one in regressors.values()}
    if lengths - {pooled}:
        raise ConfigError(f"{where}: box regressors of {max(lengths)} features, the network gives {pooled}")
    if any(not np.isfinite(one.weights).all() for one in regressors.values()):
        raise ConfigError(f"{where}: a box regressor's weights are too large for float32")
