"""What the README shows is what the project does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.cli import app
from jobs.recipes import recipe_names
from pipelines.engine.recipe import load_recipe
from pipelines.engine.registry import stage_names
from tests.support.source_tree import ROOT

README = (ROOT / "README.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return found


def test_the_library_alone_does_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (190, 210, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.jpg")
    names: dict[str, Any] = {}
    torch.manual_seed(0)
    exec(compile(block("python"), "README.md", "exec"), names)  # noqa: S102  # our own README
    assert tuple(names["pooled"].shape) == (1, 50, 256)
    assert bool((names["pooled"] > 0).any())


def test_the_recipe_that_is_shown_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(block("yaml"))
    recipe = load_recipe(path)
    assert list(recipe.steps) == ["images", "backbone", "windows", "maps", "svms", "found", "metrics"]


def test_every_command_stage_and_recipe_is_named() -> None:
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert {name for name in commands if f"`sppnet {name}" not in README} == set()
    assert {name for name in stage_names() if f"`{name}`" not in README} == set()
    assert {name for name in recipe_names() if f"`{name}`" not in README} == set()
