"""Runs that several tests of the page read."""

from __future__ import annotations

import pytest

from tests.support.chain import CATEGORIES, Chain

POOL5 = {"stage": "classify", "images": "images", "network": "network", "output": "pool5", "size": 96}
VOC = {"kind": "voc07", "train": ["train"], "test": "val", "categories": list(CATEGORIES)}


@pytest.fixture(scope="module")
def transferred(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """A run without detection: features, transfer and activations."""
    root = tmp_path_factory.mktemp("transferred") / "ws"
    chain.copied(root, ("images", "network", "maps"))
    steps = {name: chain.steps[name] for name in ("images", "network", "maps")}
    steps["pool5"] = {**POOL5, "splits": ["train", "val"], "views": ["crop", "full"], "scale": 110}
    steps["transfer"] = {"stage": "transfer", "images": "images", "features": ["pool5"], "protocol": VOC}
    steps["strongest"] = {
        "stage": "activations",
        "images": "images",
        "maps": "maps",
        "scales": [160],
        "filters": [3, 9],
    }
    made = Chain(chain.data, steps, root, chain.seed)
    made.run()
    return made
