"""Modules of a user's own on the path, for one test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sppnet import own_parts
from sppnet.networks import architectures, backbones

NETWORK = """
from torch import nn

def factory():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU())
"""
PROPOSALS = """
import numpy as np

def corners(image):
    height, width, _ = image.shape
    return np.array([[0, 0, width / 2, height / 2], [width / 2, height / 2, width + 9, height + 9], [0, 0, 3, 3]])
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Writes a module and returns its name; each call forgets what was imported and allowed before."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions may be as old as one another
    monkeypatch.setattr(own_parts, "_ALLOWED", {})
    names = set()

    def forget() -> None:
        own_parts._ALLOWED.clear()
        for cached in (
            architectures._own_architecture,
            backbones._shape_trunk,
            backbones.shape_counter,
            backbones._map_shape,
        ):
            cached.cache_clear()
        for name in names:
            sys.modules.pop(name, None)

    def write(text: str, name: str = "their_parts") -> str:
        names.add(name)
        forget()
        (folder / f"{name}.py").write_text(text)
        return name

    yield write
    forget()
