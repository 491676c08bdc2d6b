"""`sppnet demo`: the recipe `demo`, whose data set is drawn by its first step; a second time makes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.small_demo import (
    SCALES,
    SLOW_SCALE,
    TOO_LARGE,
    Command,
    Undisturbed,
    attempts,
    check_ledger,
    orphans,
    overrides,
    small_engine,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_demo_draws_and_runs_the_whole_chain(undisturbed: Undisturbed) -> None:
    result = undisturbed.result
    assert list(result["steps"]) == ["pool5", "fc7", "fc7+bb"]
    for row in result["steps"].values():
        assert 0 <= row["voc07_map"] <= 1
        assert 0 <= row["area_map"] <= 1
        assert list(row["categories"]) == ["bottle", "butterfly", "car", "fish", "flower", "house"]
    assert result["voc07_map"] == result["steps"]["fc7+bb"]["voc07_map"]
    page = Path(result["report"]).read_text()
    assert page.lower().startswith("<!doctype html>")
    assert "fc7+bb" in page
    assert orphans(str(undisturbed.workspace)) == []
    assert f"quarantined {TOO_LARGE}: " in (undisturbed.folder / "err").read_text()
    assert {path.name for path in undisturbed.folder.iterdir()} == {"out", "err"}  # where it ran
    assert list(undisturbed.workspace.rglob("*.jpg")) == []  # images are in shards only


def test_demo_again_makes_nothing(undisturbed: Undisturbed, start: Callable[..., Command], tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(undisturbed.workspace, workspace)
    options = overrides((*SCALES, SLOW_SCALE))
    command = start("demo", "--local", "--workspace", str(workspace), *options)
    again: dict[str, Any] = command.finish()
    assert again["steps"] == undisturbed.result["steps"]
    assert attempts(str(workspace)) == attempts(str(undisturbed.workspace))
    assert "to make" not in command.errors


def test_status_accounts_for_every_key(undisturbed: Undisturbed, start: Callable[..., Command]) -> None:
    command = start("status", "demo", "--workspace", str(undisturbed.workspace), *overrides())
    status = command.finish()
    assert status["complete"]
    engine = small_engine(str(undisturbed.workspace))
    check_ledger(engine, status)
