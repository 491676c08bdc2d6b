"""The curves of trainings in TensorBoard's files, as TensorBoard itself reads them."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jobs.curves.tensorboard import TensorBoardCurves
from pipelines.engine.stage import Phase
from pipelines.engine.workspace import Output, Workspace
from pipelines.training.progress import TrainingProgress
from sppnet.errors import ConfigError
from sppnet.networks.weights import write_safetensors
from tests.support.toy_fixtures import Toys

TRAIN = Phase("train", ("weights",), workers=1)
CURVE = [
    {"step": 20, "loss": 0.5, "lr": 0.01},
    {"step": 40, "loss": 0.25, "lr": 0.01, "held_out_error": 0.125},
    {"step": 60, "loss": 0.125, "lr": 0.001},
]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: Any = EventAccumulator(str(folder))
    found.Reload()
    return {tag: [(each.step, each.value) for each in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_points_are_written_as_they_come_and_the_rest_at_the_end(toys: Toys, tmp_path: Path) -> None:
    step = toys.engine().steps[1]
    curves = TensorBoardCurves(str(tmp_path / "logs"), "toy")
    curves.step_started(step, [TRAIN], ["weights"], 1)
    told = TrainingProgress(40, 60, 0.25, 0.01, "images", 10.0, 1.0, time.time(), (CURVE[0],))
    curves._told("raise", told)
    folder = tmp_path / "logs" / "toy" / "raise"
    assert scalars(folder) == {"loss": [(20, 0.5)], "lr": [(20, pytest.approx(0.01))]}
    curves._told("raise", told)  # the same points again
    data = write_safetensors({"w": torch.zeros(1)}, {"curve": json.dumps(CURVE)})
    artifact = Workspace.open(step.spec.workspace).artifact(step.spec.artifact)
    curves.unit_done(step, TRAIN, artifact.publish("weights", Output(data, ".safetensors", 1, 0), 1.0))
    curves.close()
    assert scalars(folder) == {
        "loss": [(20, 0.5), (40, 0.25), (60, 0.125)],
        "lr": [(20, pytest.approx(0.01)), (40, pytest.approx(0.01)), (60, pytest.approx(0.001))],
        "held_out_error": [(40, 0.125)],
    }


def test_without_tensorboard_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"^--tensorboard needs TensorBoard: pip install 'sppnet\[tensorboard\]'$"):
        TensorBoardCurves(str(tmp_path), "toy")


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^--tensorboard .*/file: Not a directory; give a folder to write to$"):
        TensorBoardCurves(str(tmp_path / "file"), "toy")
