"""A tiny detector that was never trained, as a bundle."""

from __future__ import annotations

import numpy as np
import torch

from sppnet.bundle.description import Description, FeatureSettings, MapSettings, RegressorSettings
from sppnet.bundle.files import Bundle
from sppnet.detection.ensemble import Rules
from sppnet.detection.regression import BoxRegressor
from sppnet.detection.svm import LinearSvms
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.network import FcHead, Layer
from sppnet.proposals.methods import Proposals

CATEGORIES = ("cat", "dog", "owl")


def small_bundle(layer: Layer = "pool5", rank: int | None = None) -> Bundle:
    """ZF-5 at a 32nd of its width, two levels; the last category has no regressor."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    backbone = build_backbone(BackboneSpec("zf5", width=1 / 32)).eval()
    pooled = 5 * backbone.channels
    head = None if layer == "pool5" else FcHead(pooled, (12, 8), 4).eval()
    width = pooled if head is None else head.spec.outputs(layer)
    svms = LinearSvms(rng.standard_normal((3, width), np.float32), np.zeros(3, np.float32), CATEGORIES, 0.5, layer)
    regressors = {
        name: BoxRegressor(rng.standard_normal((pooled + 1, 4), np.float32) / 50, np.zeros(4), np.eye(4) / 9)
        for name in CATEGORIES[:2]
    }
    own = FeatureSettings("pool5", (96,), "paper", (2, 1))
    described = Description(
        categories=CATEGORIES,
        words={"owl": "Eule"},
        backbone=backbone.spec.to_dict(),
        geometry=backbone.geometry,
        channels=backbone.channels,
        maps=MapSettings("float32", "float16", 1_000_000),
        features=FeatureSettings(layer, (64, 96), "paper", (2, 1), rank=rank),
        feature_scale=0.5,
        head=head.spec.to_dict() if head else None,
        regressors=RegressorSettings(tuple(regressors), own),
        rules=Rules(),
        proposals=Proposals(max_windows=40),
        seed=1,
        licence=None,
        training={},
    )
    return Bundle(described, backbone, head, svms, regressors)
