"""Checkpoints in the workspace."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from pipelines.engine.workspace import Artifact, Workspace
from pipelines.training.checkpoints import Checkpoints
from sppnet.errors import ArtifactError, ConfigError, IncompleteError


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return Workspace.open(str(tmp_path)).artifact("head-abc")


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"model.w": torch.full((2, 3), value), "momentum.w": torch.full((2, 3), -value)}


def data_objects(artifact: Artifact) -> list[str]:
    names = [entry.name for entry in artifact.store.list(f"{artifact.name}/checkpoints")]
    return [name for name in names if name.endswith(".safetensors")]


def test_a_checkpoint_comes_back_as_it_was(artifact: Artifact) -> None:
    checkpoints = Checkpoints(artifact)
    assert checkpoints.latest() is None
    assert checkpoints.steps() == []
    curve = [{"step": 10, "loss": 0.1 + 0.2, "lr": 1e-3}]
    checkpoints.save(10, tensors(1.5), curve)
    checkpoints.save(1_000_000, tensors(2.5), [*curve, {"step": 1_000_000, "loss": 0.0, "lr": 1e-4}])
    found = checkpoints.latest()
    assert found is not None
    assert found.step == 1_000_000
    assert torch.equal(found.tensors["model.w"], torch.full((2, 3), 2.5))
    assert torch.equal(found.tensors["momentum.w"], torch.full((2, 3), -2.5))
    assert found.curve[0] == curve[0]
    assert checkpoints.steps() == [10, 1_000_000]
    assert checkpoints.curve(10) == tuple(curve)


def test_the_first_of_two_attempts_at_a_step_wins(artifact: Artifact) -> None:
    Checkpoints(artifact).save(5, tensors(1.0), [])
    Checkpoints(artifact).save(5, tensors(2.0), [])
    assert torch.equal(Checkpoints(artifact).load(5).tensors["model.w"], torch.ones(2, 3))
    assert len(data_objects(artifact)) == 1


@pytest.mark.parametrize("harm", ["cut", "changed", "gone", "commit"])
def test_a_damaged_one_falls_back_to_the_one_before(
    artifact: Artifact, tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    checkpoints = Checkpoints(artifact)
    checkpoints.save(5, tensors(1.0), [])
    checkpoints.save(10, tensors(2.0), [])
    path = tmp_path / data_objects(artifact)[1]
    data = path.read_bytes()
    if harm == "cut":
        path.write_bytes(data[:-4])
    elif harm == "changed":
        path.write_bytes(data[:-1] + b"\x07")
    elif harm == "gone":
        path.unlink()
    else:
        (path.parent / "step-000010.json").write_bytes(b'{"step": 10')
    with pytest.raises(ArtifactError, match="step-000010"):
        checkpoints.load(10)
    with caplog.at_level(logging.WARNING):
        found = checkpoints.latest()
    assert found is not None
    assert found.step == 5
    assert "falling back" in caplog.text
    checkpoints.save(10, tensors(3.0), [])
    again = checkpoints.latest()
    assert again is not None
    assert torch.equal(again.tensors["model.w"], torch.full((2, 3), 3.0))


def test_an_object_without_its_commit_is_not_a_checkpoint(artifact: Artifact) -> None:
    checkpoints = Checkpoints(artifact)
    checkpoints.save(5, tensors(1.0), [])
    artifact.store.put("head-abc/checkpoints/step-000010-0123456789ab.safetensors", b"half")
    assert checkpoints.steps() == [5]


def test_pruning_keeps_the_last_ones_and_removes_orphans(artifact: Artifact) -> None:
    checkpoints = Checkpoints(artifact)
    artifact.store.put("head-abc/checkpoints/step-000002-0123456789ab.safetensors", b"lost")
    for step in (5, 10, 15):
        checkpoints.save(step, tensors(step), [])
    checkpoints.prune(keep=2)
    assert checkpoints.steps() == [10, 15]
    assert [name.split("-")[2] for name in data_objects(artifact)] == ["000010", "000015"]
    checkpoints.prune(keep=2)
    assert checkpoints.steps() == [10, 15]
    checkpoints.prune(keep=0)
    assert artifact.store.list("head-abc/checkpoints") == []


def test_weights_that_are_not_finite_are_never_saved(artifact: Artifact) -> None:
    checkpoints = Checkpoints(artifact)
    checkpoints.save(5, tensors(1.0), [])
    bad = {**tensors(1.0), "model.b": torch.tensor([1.0, float("inf")])}
    with pytest.raises(IncompleteError, match=r"model\.b .* after step 10; the last good checkpoint is that of step 5"):
        checkpoints.save(10, bad, [])
    assert checkpoints.steps() == [5]


def test_anothers_checkpoint_is_refused_and_left_where_it_is(artifact: Artifact, tmp_path: Path) -> None:
    checkpoints = Checkpoints(artifact)
    checkpoints.save(5, tensors(1.0), [])
    (tmp_path / "head-abc").rename(tmp_path / "head-other")
    other = Checkpoints(Workspace.open(str(tmp_path)).artifact("head-other"))
    for look in (other.latest, lambda: other.load(5), lambda: other.curve(5)):
        with pytest.raises(ConfigError, match=r"step-000005\.json is a checkpoint of head-abc, another network"):
            look()
    assert other.steps() == [5]
