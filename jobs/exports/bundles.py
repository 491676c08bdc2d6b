"""`sppnet export` of a step that scores: its whole detector as one file, for `sppnet.load` anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sppnet.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from pipelines.artifacts.detectors import FeatureInfo
    from pipelines.engine.planning import PlannedStep
    from pipelines.engine.runner import Engine
    from sppnet.bundle.description import FeatureSettings
    from sppnet.bundle.files import Bundle
    from sppnet.proposals.methods import Proposals

SUFFIX = ".sppnet"
_RECORDED = ("svms", "regressors", "head", "network", "maps", "windows")
"""Kinds of artifacts whose steps are in the training record."""


def detector_bundle(engine: Engine, step: PlannedStep, licence: str | None) -> Bundle:
    """Collect what a step that scores detects with.

    Args:
        engine: The recipe in its workspace.
        step: The step.
        licence: What may be done with the weights.

    Raises:
        ConfigError: It combines several detectors, or takes R-CNN's crops, or was not trained yet.
        ArtifactError: An artifact is corrupt.
    """
    from jobs.exports.detectors import detector_facts
    from pipelines.artifacts.backbone_info import BackboneInfo
    from pipelines.artifacts.detectors import FeatureInfo, read_detector
    from pipelines.artifacts.networks import read_backbone, read_head
    from sppnet.bundle.description import Description, MapSettings, RegressorSettings
    from sppnet.bundle.files import Bundle

    config: Any = step.config
    if config.stage != "score":
        raise ConfigError(f"step {step.name}: stands for several detectors; export each step that it combines")
    steps, workspace = {one.name: one for one in engine.steps}, engine.workspace
    parts = {
        field: [workspace.artifact(steps[name].spec.artifact) for name in config.references()[field]]
        for field in ("svms", "regressors", "maps")
    }
    try:
        maps, chosen = BackboneInfo.read(parts["maps"][0]), (config.categories, config.renamed)
        info = FeatureInfo.joined(parts["svms"], *chosen)
        detector = read_detector(parts["svms"], parts["regressors"], parts["maps"][0], *chosen)
    except ArtifactError as error:
        raise ArtifactError(f"{error}; run the recipe first, to its end") from error
    if maps.maps is None:
        raise ConfigError(f"step {step.name}: convolves crops, R-CNN's way, which can't be exported")
    backbone = read_backbone(workspace.artifact(maps.maps.network))
    head = read_head(workspace.artifact(info.head)) if info.head else None
    words = detector_facts(steps, step.name, workspace).words
    regressors = None
    moved = {name: one for name, one in detector.regressors.items() if name in info.categories}
    if parts["regressors"]:
        regressors = RegressorSettings(tuple(moved), _features(FeatureInfo.joined(parts["regressors"])))
    description = Description(
        categories=info.categories,
        words={name: words[name] for name in info.categories if name in words},
        backbone=backbone.spec.to_dict(),
        geometry=backbone.geometry,
        channels=backbone.channels,
        maps=MapSettings(maps.maps.precision, maps.maps.dtype, maps.maps.max_pixels),
        features=_features(info),
        feature_scale=detector.svms.feature_scale,
        head=head.spec.to_dict() if head else None,
        regressors=regressors,
        rules=config.rules(),
        proposals=_proposals(steps[config.windows]),
        seed=step.spec.seed,
        licence=licence,
        training=_record(steps, step.name),
    )
    return Bundle(description, backbone, head, detector.svms, moved)


def _features(info: FeatureInfo) -> FeatureSettings:
    from sppnet.bundle.description import FeatureSettings

    return FeatureSettings(info.layer, info.scales, info.convention, info.levels, info.precision, info.rank)


def _proposals(windows: PlannedStep) -> Proposals | None:
    """Return how a step proposes windows; None where nobody else can: from files, or with a trained edge detector."""
    config: Any = windows.config
    if config.stage != "propose" or ("edge-boxes" in config.methods and config.edge_boxes.model is not None):
        return None
    found: Proposals = config.proposals()
    return found


def _record(steps: Mapping[str, PlannedStep], name: str) -> dict[str, Any]:
    """Return by step what the detector was made by: stage, semantic config and artifact, nothing of any machine."""
    from sppnet import __version__

    found: dict[str, Any] = {}
    waiting = [name]
    while waiting:
        step = steps[waiting.pop()]
        waiting += [one for many in step.config.references().values() for one in many if one not in found]
        if step.spec.artifact.rsplit("-", 1)[0] in _RECORDED:
            found[step.name] = {
                "stage": step.config.stage,
                "artifact": step.spec.artifact,
                "config": step.config.semantic(),
            }
    return {"sppnet": __version__, "steps": found}
