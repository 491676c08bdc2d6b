"""The cookbook's own parts run as they are shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import yaml

from pipelines.artifacts.windows_and_maps import decode_windows
from pipelines.engine.recipe import load_recipe
from pipelines.engine.runner import Engine
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from sppnet.networks.backbones import build_backbone
from tests.support.chain import Silent, write_recipe
from tests.support.ingested import write_images
from tests.support.source_tree import ROOT


def test_own_parts(own_module: Callable[..., str], tmp_path: Path) -> None:
    section = (ROOT / "docs/cookbook.md").read_text().partition("\n## Own parts\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (shown,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    own_module(code)
    photos = {"train": ("a", "b", "c"), "val": ("d",)}
    for split, names in photos.items():
        write_images(tmp_path / "photos", *(f"{split}/{name}.jpg" for name in names), size=(160, 120))
    boxes = {split: {name: [["cat", 1, 2, 50, 60]] for name in names} for split, names in photos.items()}
    (tmp_path / "photos" / "boxes.json").write_text(json.dumps(boxes))
    steps = yaml.safe_load(shown)
    steps["images"]["dataset"]["root"] = str(tmp_path / "photos")
    recipe = load_recipe(write_recipe(tmp_path / "recipe.yaml", steps))
    backbone = build_backbone(recipe.steps["network"].spec())
    assert (backbone.channels, backbone.geometry.stride) == (32, 4)
    del steps["network"]  # which would be trained to the end
    recipe = load_recipe(write_recipe(tmp_path / "recipe.yaml", steps))
    engine = Engine(recipe, Workspace.open(str(tmp_path / "workspace")))
    engine.run(LocalExecutor(), Silent())
    windows = next(step for step in engine.steps if step.name == "windows")
    artifact = engine.workspace.artifact(windows.spec.artifact)
    rows = [row for unit in artifact.committed() for row in decode_windows(artifact.read(unit), unit)]
    assert len(rows) == 4
    for row in rows:
        assert row.windows[0].tolist() == [0, 0, 64, 64]
        assert row.windows[1].tolist() == [32, 0, 96, 64]
