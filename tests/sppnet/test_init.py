from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import pytest

import sppnet

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_is_that_of_pyproject() -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert sppnet.__version__ == stated


def test_a_checkout_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    assert sppnet.__version__ == "0+unknown"


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'sppnet' has no attribute 'nothing'"):
        _ = sppnet.nothing
