"""Detectors as artifacts: which features a set of SVMs or regressors is made for, and reading them back whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch

from pipelines.artifacts.backbone_info import BackboneInfo
from pipelines.artifacts.networks import read_backbone, read_head
from pipelines.engine.machine import choose_device
from pipelines.engine.records import read_beside, write_once
from pipelines.engine.workspace import Artifact, Workspace
from sppnet.detection.detector import Detector
from sppnet.detection.features import WindowFeatures
from sppnet.detection.rcnn_crops import CropFeatures
from sppnet.detection.regression import BoxRegressor, BoxRegressors
from sppnet.detection.svm import LinearSvms
from sppnet.errors import ArtifactError, ConfigError
from sppnet.networks.low_rank import lower_rank
from sppnet.networks.network import FcHead, Layer, Precision
from sppnet.networks.weights import read_metadata, read_safetensors
from sppnet.pooling.geometry import Convention
from sppnet.pooling.pyramid import Pyramid

_INFO = "features.json"
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FeatureInfo:
    """What SVMs or regressors were trained on; kept beside them so that scoring can't use anything else.

    Attributes:
        categories: In the order of their scores.
        layer: `pool5`, `fc6` or `fc7`.
        scales: Short sides that windows choose from.
        convention: Of window mapping and scale rule.
        levels: Of the pyramid.
        head: Name of the head artifact, None for pool5.
        backbone: Digest of the backbone's identity.
        units: Where each category's result is, in the order of `categories`.
        precision: Type in which fc6 and fc7 compute.
        rank: Of fc6 and fc7 as products of thin matrices; None leaves them whole.
    """

    categories: tuple[str, ...]
    layer: Layer
    scales: tuple[int, ...]
    convention: Convention
    levels: tuple[int, ...]
    head: str | None
    backbone: str
    units: tuple[str, ...]
    precision: Precision = "float32"
    rank: int | None = None

    def write(self, artifact: Artifact) -> None:
        """Record it once in an artifact."""
        write_once(artifact, _INFO, self)

    @classmethod
    def read(cls, artifact: Artifact) -> FeatureInfo:
        """Read it from an artifact; raise `ArtifactError` if it is missing or corrupt."""
        return read_beside(cls, artifact, _INFO)

    @classmethod
    def joined(
        cls,
        artifacts: Sequence[Artifact],
        categories: Sequence[str] | None = None,
        renamed: Mapping[str, str] = _NONE,
    ) -> FeatureInfo:
        """Read it from several artifacts of one kind, whose categories stand side by side.

        Args:
            artifacts: One or several, trained on the same features.
            categories: Those that are wanted, in order; None for all.
            renamed: What they are called, by the name that they were trained under; the others keep theirs.

        Raises:
            ConfigError: They were trained on different features, a category comes twice, or one is wanted or renamed
                that isn't there.
        """
        first, *more = (cls.read(artifact) for artifact in artifacts)
        if not more and categories is None and not renamed:
            return first
        for artifact, other in zip(artifacts[1:], more, strict=True):
            if replace(other, categories=first.categories, units=first.units) != first:
                raise ConfigError(f"{artifacts[0].name} and {artifact.name} were trained on different features")
        names = [name for info in (first, *more) for name in info.categories]
        units = [unit for info in (first, *more) for unit in info.units]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"category '{twice[0]}' is in two of {', '.join(one.name for one in artifacts)}")
        unknown = [name for name in (*(categories or ()), *renamed) if name not in names]
        if unknown:
            raise ConfigError(f"category '{unknown[0]}' is none of the detector's: {', '.join(names)}")
        known = dict(zip(names, units, strict=True))
        wanted = tuple(names if categories is None else categories)
        called = [renamed.get(name, name) for name in wanted]
        twice = sorted({name for name in called if called.count(name) > 1})
        if twice:
            raise ConfigError(f"two categories would be called '{twice[0]}'")
        return replace(first, categories=tuple(called), units=tuple(known[name] for name in wanted))

    def extractor(self, maps: Artifact, workspace: Workspace, device: torch.device | None = None) -> WindowFeatures:
        """Build what computes these features from maps.

        Raises:
            ConfigError: The maps are of another backbone than the one trained on.
        """
        if backbone_digest(maps) != self.backbone:
            raise ConfigError(f"{maps.name} holds maps of another backbone than the detector was trained on")
        place = device or choose_device()
        pooled = pooled_features(maps, self.scales, Pyramid(self.levels), self.convention, place)
        return replace(pooled, layer=self.layer, head=self._read_head(workspace, place), precision=self.precision)

    def _read_head(self, workspace: Workspace, device: torch.device) -> FcHead | None:
        if self.head is None:
            return None
        head = read_head(workspace.artifact(self.head)).to(device).eval()
        return head if self.rank is None else lower_rank(head, self.rank).head


def pooled_features(
    maps: Artifact, scales: tuple[int, ...], pyramid: Pyramid, convention: Convention, device: torch.device
) -> WindowFeatures:
    """Build what pools windows: from maps, or for R-CNN's way from a crop of each.

    Args:
        maps: The maps artifact, or that of crops.
        scales: Short sides that windows choose from, or the crops' side.
        pyramid: The pooling levels.
        convention: Of window mapping and scale rule.
        device: Where to compute.
    """
    info = BackboneInfo.read(maps)
    fields: dict[str, Any] = {
        "geometry": info.geometry,
        "channels": info.channels,
        "pyramid": pyramid,
        "scales": scales,
        "convention": convention,
        "device": device,
    }
    if info.crops is None:
        return WindowFeatures(**fields)
    backbone = read_backbone(Workspace(maps.store).artifact(info.crops.network)).to(device).eval()
    return CropFeatures(**fields, backbone=backbone, context=info.crops.context, convolutions=info.crops.precision)


def backbone_digest(maps: Artifact) -> str:
    """Read the identity of the backbone that made the maps: the name of its weights' artifact."""
    return maps.inputs("backbone")[0]


def read_svms(artifact: Artifact, units: Sequence[str]) -> LinearSvms:
    """Read the SVMs of several categories, one unit each, into one."""
    found: LinearSvms | None = None
    for unit in units:
        data, where = artifact.read(unit), f"{artifact.name}/{unit}"
        one = LinearSvms.from_tensors(read_safetensors(data, where), read_metadata(data, where))
        found = one if found is None else found.joined(one)
    if found is None:
        raise ArtifactError(f"{artifact.name} holds no categories")
    return found


def read_detector(
    svms: Sequence[Artifact],
    regressors: Sequence[Artifact],
    maps: Artifact,
    categories: Sequence[str] | None = None,
    renamed: Mapping[str, str] = _NONE,
) -> Detector:
    """Read a detector.

    Args:
        svms: The SVMs; of several artifacts, whose categories stand side by side.
        regressors: The box regressors likewise, or none.
        maps: The maps that it will score; checked to be of the backbone that it was trained on.
        categories: Those that it detects, in order; None for all.
        renamed: What they are called, see `FeatureInfo.joined`.

    Raises:
        ConfigError: What is put side by side was trained on different features, or holds a category twice.
    """
    workspace = Workspace(maps.store)
    loaded: dict[str, BoxRegressor] = {}
    regression_features = None
    if regressors:
        regression_features = FeatureInfo.joined(regressors).extractor(maps, workspace)
        for artifact in regressors:
            loaded |= _read_regressors(artifact)
    info = FeatureInfo.joined(svms, categories, renamed)
    first, *more = (read_svms(artifact, FeatureInfo.read(artifact).units) for artifact in svms)
    for other in more:
        first = first.joined(other)
    found = replace(first if categories is None else first.select(categories), categories=info.categories)
    moved = {renamed.get(name, name): one for name, one in loaded.items()}
    return Detector(info.extractor(maps, workspace), found, regression_features, moved)


def _read_regressors(artifact: Artifact) -> dict[str, BoxRegressor]:
    loaded = {}
    info = FeatureInfo.read(artifact)
    for category, unit in zip(info.categories, info.units, strict=True):
        commit = artifact.commit(unit)
        if commit.data is not None:  # a category without enough examples has none
            data, where = artifact.read_commit(commit), f"{artifact.name}/{unit}"
            found = BoxRegressors.from_tensors(read_safetensors(data, where), read_metadata(data, where))
            loaded[category] = found[category]
    return loaded
