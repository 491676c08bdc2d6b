"""How far a training is, told in its artifact's folder while it goes on, and gone when it ends."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pipelines.engine.workspace import Artifact, Workspace
from pipelines.training import progress
from pipelines.training.progress import ProgressWriter, TrainingProgress, read_progress
from sppnet.errors import ConfigError
from tests.support.waiting import wait_for

NAME = "head-0123456789ab/checkpoints/progress.json"


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    monkeypatch.setattr(progress, "_FIRST_SECONDS", 0.01)
    monkeypatch.setattr(progress, "_EVERY_SECONDS", 0.01)
    return Workspace.open(str(tmp_path)).artifact("head-0123456789ab")


def told(artifact: Artifact, step: int) -> TrainingProgress:
    def look() -> TrainingProgress | None:
        found = read_progress(artifact)
        return found if found is not None and found.step == step else None

    found = wait_for(look)
    assert found is not None
    return found


def test_it_is_told_while_it_goes_on_and_gone_afterwards(artifact: Artifact) -> None:
    assert read_progress(artifact) is None
    with ProgressWriter(artifact, 100, 128, "windows") as writer:
        writer.begin(40)
        first = told(artifact, 40)
        assert (first.steps, first.loss, first.examples_per_second, first.seconds_left) == (100, None, None, None)
        assert first.rate == ""
        writer.note(41, 0.5, 0.001)
        writer.note(50, 0.25, 0.001)
        writer.note_point({"step": 50, "loss": 0.25})
        found = told(artifact, 50)
        assert found.lr == 0.001
        assert found.points == ({"step": 50, "loss": 0.25},)
        assert found.examples_per_second is not None
        assert found.seconds_left is not None
        # 10 steps of 128 windows have given the rate by which 50 steps are left.
        assert found.seconds_left * found.examples_per_second == pytest.approx(50 * 128)
        assert found.rate.startswith(f"{found.examples_per_second:.0f} windows/s")
    assert read_progress(artifact) is None
    assert artifact.store.list(artifact.name) == []


def test_an_error_ends_the_telling(artifact: Artifact) -> None:
    def train() -> None:
        with ProgressWriter(artifact, 100, 1, "images") as writer:
            writer.begin(0)
            told(artifact, 0)
            raise ValueError("of the training")

    with pytest.raises(ValueError, match="of the training"):
        train()
    assert read_progress(artifact) is None


def test_a_store_that_takes_nothing_is_a_warning_and_no_failure(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise ConfigError("no room")

    monkeypatch.setattr(artifact.store, "put", refuse)
    with caplog.at_level(logging.WARNING), ProgressWriter(artifact, 100, 1, "images") as writer:
        writer.begin(0)
        wait_for(lambda: caplog.messages)
    assert caplog.messages == ["how far the training is can't be told any more: no room"]


@pytest.mark.parametrize("data", [b"", b"[]", b'{"step": "3"}'])
def test_what_is_damaged_tells_nothing(artifact: Artifact, data: bytes) -> None:
    artifact.store.put(NAME, data)
    assert read_progress(artifact) is None
