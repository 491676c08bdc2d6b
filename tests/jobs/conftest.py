"""A finished run for the tests of what is done with one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.chain import Chain, write_recipe


@pytest.fixture(scope="module")
def run(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe in a copy of the chain's workspace, with a combination of its two detectors."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copytree(chain.root, folder / "workspace")
    both = {"stage": "combine", "images": "images", "detections": ["plain", "full"]}
    steps = {**chain.steps, "both": both, "unmade": {**both, "nms_iou": 0.6}}
    write_recipe(folder / "recipe.yaml", steps)
    return folder
