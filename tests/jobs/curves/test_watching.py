"""Points of trainings are handed on as they come, each once; a sink that fails ends no run."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping

import pytest
import torch

from jobs.curves.watching import CurveObserver, CurvesLostError
from pipelines.engine.commits import Output
from pipelines.engine.phases import Phase
from pipelines.engine.workspace import Workspace
from pipelines.training.progress import TrainingProgress
from sppnet.networks.weights import write_safetensors
from tests.support.toy_fixtures import Toys

TRAIN = Phase("train", ("weights",), workers=1)
CURVE = [
    {"step": 20, "loss": 0.5, "lr": 0.01},
    {"step": 40, "loss": 0.25, "lr": 0.01, "held_out_error": 0.125},
    {"step": 60, "loss": 0.125, "lr": 0.001},
]
TOLD = TrainingProgress(40, 60, 0.25, 0.01, "images", 10.0, 1.0, time.time(), (CURVE[0],))


class Kept:
    """A sink that keeps what it is given, and may be lost."""

    option = "--kept"

    def __init__(self) -> None:
        self.points: list[tuple[str, int, dict[str, float]]] = []
        self.lost = False
        self.closed = 0

    def write(self, step: str, number: int, values: Mapping[str, float]) -> None:
        if self.lost:
            raise CurvesLostError("the server is away")
        self.points.append((step, number, dict(values)))

    def flush(self) -> None:
        assert not self.lost

    def close(self) -> None:
        self.closed += 1
        if self.lost:
            raise CurvesLostError("the server is away")


def test_points_are_written_as_they_come_and_the_rest_at_the_end(toys: Toys) -> None:
    step = toys.engine().steps[1]
    sink = Kept()
    curves = CurveObserver(sink)
    curves.step_started(step, [TRAIN], ["weights"], 1)
    curves._told("raise", TOLD)
    assert sink.points == [("raise", 20, {"loss": 0.5, "lr": 0.01})]
    curves._told("raise", TOLD)  # the same points again
    data = write_safetensors({"w": torch.zeros(1)}, {"curve": json.dumps(CURVE)})
    artifact = Workspace.open(step.spec.workspace).artifact(step.spec.artifact)
    curves.unit_done(step, TRAIN, artifact.publish("weights", Output(data, ".safetensors", 1, 0), 1.0))
    curves.close()
    assert sink.points == [
        ("raise", 20, {"loss": 0.5, "lr": 0.01}),
        ("raise", 40, {"loss": 0.25, "lr": 0.01, "held_out_error": 0.125}),
        ("raise", 60, {"loss": 0.125, "lr": 0.001}),
    ]
    assert sink.closed == 1


def test_a_sink_that_is_lost_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    sink = Kept()
    sink.lost = True
    curves = CurveObserver(sink)
    with caplog.at_level(logging.WARNING):
        curves._told("raise", TOLD)
        curves._told("raise", TOLD)
        curves.close()
    assert caplog.messages == ["--kept: no more curves are written there: the server is away"]
    assert sink.closed == 0
    ending = CurveObserver(sink)
    with caplog.at_level(logging.WARNING):
        ending.close()  # lost at the very end
    assert len(caplog.messages) == 2
