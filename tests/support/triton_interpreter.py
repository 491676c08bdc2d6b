"""Triton's kernels without a GPU: their modules loaded anew, so that Triton interprets what they define."""

from __future__ import annotations

import importlib.util
import os
from types import ModuleType
from unittest import mock

import pytest


def interpreted(name: str) -> ModuleType:
    """A fresh copy of a module whose kernels are interpreted; the one that others import stays as it is."""
    pytest.importorskip("triton")
    spec = importlib.util.find_spec(name)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with mock.patch.dict(os.environ, TRITON_INTERPRET="1"):
        spec.loader.exec_module(module)
    return module
