"""Fine-tuning on the tiny workspace: its config, its step, its samples, and a way to stop it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipelines.artifacts.window_samples import Part, WindowSamples, blocks_of, read_block
from pipelines.engine.stage import StageSpec
from pipelines.engine.work import build_stage, run_unit
from pipelines.engine.workspace import Workspace
from pipelines.finetuning.config import FinetuneConfig
from pipelines.finetuning.task import FinetuneTask
from pipelines.training.config import Rate
from pipelines.training.loop import train_unit
from pipelines.training.workers import LocalWorker
from tests.support.tiny_workspace import CATEGORIES, SCALES, make_spec

LEVELS = (3, 1)


def make_config(**changes: Any) -> FinetuneConfig:
    fields: dict[str, Any] = {
        "stage": "finetune",
        "images": "images",
        "windows": "windows",
        "maps": "maps",
        "categories": CATEGORIES,
        "scales": SCALES,
        "levels": LEVELS,
        "hidden": (32, 32),
        "dropout": 0.1,
        "schedule": (Rate(lr=0.05, steps=90), Rate(lr=0.005, steps=30)),
        "positive_fraction": 0.5,
        "batch": 32,
        "holdout": 0.25,
        "negatives_per_image": 15,
        "checkpoint_every": 25,
        "measure_every": 40,
        "log_every": 10,
    }
    return FinetuneConfig(**{**fields, **changes})


def finetune_spec(workspace: Workspace, name: str = "head-tiny", seed: int = 3, **changes: Any) -> StageSpec:
    inputs = {"images": "images-tiny", "windows": "windows-tiny", "maps": "maps-tiny"}
    if changes.get("init"):
        inputs["init"] = changes["init"]
    return make_spec(workspace, make_config(**changes), name, seed, **inputs)


def sample(spec: StageSpec) -> dict[Part, WindowSamples]:
    """Makes a step's samples, unless they are there, and returns them: those of all shards, block by block."""
    stage = build_stage(spec)
    units = stage.phases()[0].units
    for unit in units:
        if unit not in stage.artifact.committed():
            run_unit(spec, unit)
    commits = {unit: stage.artifact.commit(unit) for unit in units}
    blocks = blocks_of(commits.values())
    return {
        part: WindowSamples.join([read_block(stage.artifact, commits[block.unit], block) for block in own])
        for part, own in blocks.items()
        if own
    }


class StoppedError(Exception):
    """Stands for a process that ends."""


def train(spec: StageSpec) -> None:
    sample(spec)
    train_unit(spec, "model", LocalWorker(torch.device("cpu")))


def train_until(spec: StageSpec, step: int) -> None:
    """Train as `train` does, in a process that ends at a step."""
    loss = FinetuneTask.loss

    def failing(self: FinetuneTask, model: Any, at: int) -> torch.Tensor:
        if at == step:
            raise StoppedError
        return loss(self, model, at)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FinetuneTask, "loss", failing)
        with pytest.raises(StoppedError):
            train(spec)
