"""Curves in Weights & Biases, offline; what is said without it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jobs.curves.wandb_runs import WandbCurves
from sppnet.errors import ConfigError


def test_a_run_for_each_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    curves = WandbCurves("sppnet-tests", "toy")
    curves.write("raise", 20, {"loss": 0.5, "lr": 0.01})
    curves.write("raise", 40, {"loss": 0.25})
    curves.write("other", 10, {"loss": 1.0})
    assert {(run.project, run.group, run.name) for run in curves._runs.values()} == {
        ("sppnet-tests", "toy", "raise"),
        ("sppnet-tests", "toy", "other"),
    }
    curves.close()
    written = {file.read_bytes() for file in tmp_path.rglob("*.wandb")}
    assert len(written) == 2
    (longer,) = [data for data in written if b"raise" in data]
    assert all(text in longer for text in (b"loss", b"lr", b"0.5", b"0.01", b"0.25"))


def test_without_it_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"^--wandb needs Weights & Biases: pip install 'sppnet\[wandb\]'$"):
        WandbCurves("project", "toy")
