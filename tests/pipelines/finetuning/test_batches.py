"""Batches: the mixture, and that any number of workers share the same ones."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
import torch

from pipelines.engine.stage import StageSpec
from pipelines.engine.work import build_stage
from pipelines.engine.workspace import Workspace
from pipelines.finetuning import batches
from pipelines.finetuning.batches import SampleFiles, WindowBatches
from sppnet.errors import ConfigError
from tests.support.tiny_finetune import finetune_spec, sample
from tests.support.tiny_workspace import make_workspace

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> StageSpec:
    spec = finetune_spec(make_workspace(tmp_path_factory.mktemp("batches"), images=18, shard_size=3))
    sample(spec)
    return spec


def files(spec: StageSpec, seed: int = 1) -> SampleFiles:
    stage = build_stage(spec)
    return SampleFiles(stage.artifact, stage.phases()[0].units, seed)


def batch(spec: StageSpec, step: int, worker: tuple[int, int] = (0, 1), seed: int = 1):
    made = WindowBatches(files(spec, seed), batch=16, objects=5, steps=60, worker=worker, device=CPU)
    with closing(made):
        return made.batch(step)


def test_a_batch_has_its_part_of_objects_from_several_images(spec: StageSpec) -> None:
    found = sample(spec)
    owner = {
        vector.tobytes(): key for part in found.values() for key, vector in zip(part.keys, part.vectors, strict=True)
    }
    with closing(WindowBatches(files(spec), batch=16, objects=5, steps=60, device=CPU)) as made:
        for step in range(20):
            vectors, labels = made.batch(step)
            assert vectors.dtype == torch.float16
            assert labels.dtype == torch.int64
            assert ((labels > 0) == (torch.arange(16) < 5)).all()
            assert len({owner[vector.numpy().tobytes()] for vector in vectors}) >= 5


@pytest.mark.parametrize("world", [2, 3, 16])
def test_workers_share_the_same_batches(spec: StageSpec, world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "GROUP_BLOCKS", 2)
    whole = batch(spec, 41)
    parts = [batch(spec, 41, (rank, world)) for rank in range(world)]
    for rank, (vectors, labels) in enumerate(parts):
        assert torch.equal(vectors, whole[0][rank::world])
        assert torch.equal(labels, whole[1][rank::world])


def test_every_object_comes_once_before_any_comes_again(spec: StageSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "GROUP_BLOCKS", 2)
    objects = sample(spec)["objects"]
    steps = len(objects) // 5
    with closing(WindowBatches(files(spec), batch=16, objects=5, steps=steps, device=CPU)) as made:
        seen = np.concatenate([made.batch(step)[0][:5].numpy() for step in range(steps)])
    left = len(objects) - len(seen)
    every, drawn = (sorted(vector.tobytes() for vector in vectors) for vectors in (objects.vectors, seen))
    missing = list(every)
    for vector in drawn:
        missing.remove(vector)
    assert len(missing) == left < 5


def test_seeds_and_steps_give_other_batches(spec: StageSpec) -> None:
    first = batch(spec, 7)[0]
    assert torch.equal(batch(spec, 7)[0], first)
    assert not torch.equal(batch(spec, 8)[0], first)
    assert not torch.equal(batch(spec, 7, seed=2)[0], first)


def test_a_split_without_a_window_of_a_kind_is_refused(spec: StageSpec) -> None:
    workspace = Workspace.open(spec.workspace)
    bands = {"positive_iou": (1.0, 1.0), "negative_iou": (0.1, 0.1001)}
    none = finetune_spec(workspace, "head-none", holdout=0, **bands)
    sample(none)
    with pytest.raises(ConfigError, match="no window of the split shows background"):
        batch(none, 0)
