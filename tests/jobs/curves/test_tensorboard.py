"""Curves in TensorBoard's files, as TensorBoard itself reads them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jobs.curves.tensorboard import TensorBoardCurves
from sppnet.errors import ConfigError


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: Any = EventAccumulator(str(folder))
    found.Reload()
    return {tag: [(each.step, each.value) for each in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_points_are_there_when_they_were_flushed(tmp_path: Path) -> None:
    curves = TensorBoardCurves(str(tmp_path / "logs"), "toy")
    curves.write("raise", 20, {"loss": 0.5, "lr": 0.01})
    curves.flush()
    folder = tmp_path / "logs" / "toy" / "raise"
    assert scalars(folder) == {"loss": [(20, 0.5)], "lr": [(20, pytest.approx(0.01))]}
    curves.write("raise", 40, {"loss": 0.25})
    curves.write("other", 10, {"loss": 1.0})
    curves.close()
    assert scalars(folder)["loss"] == [(20, 0.5), (40, 0.25)]
    assert scalars(tmp_path / "logs" / "toy" / "other") == {"loss": [(10, 1.0)]}


def test_without_tensorboard_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"^--tensorboard needs TensorBoard: pip install 'sppnet\[tensorboard\]'$"):
        TensorBoardCurves(str(tmp_path), "toy")


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^--tensorboard .*/file: Not a directory; give a folder to write to$"):
        TensorBoardCurves(str(tmp_path / "file"), "toy")
