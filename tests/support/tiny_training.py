"""train-svms and train-regressors on the tiny workspace, unit by unit in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.artifacts.detectors import read_svms
from pipelines.artifacts.windows_and_maps import MapRow, decode_maps, encode_maps
from pipelines.detecting.svm_config import TrainSvmsConfig
from pipelines.engine.commits import Output
from pipelines.engine.stage import Stage, StageSpec
from pipelines.engine.work import build_stage, run_unit
from pipelines.engine.workspace import Workspace
from pipelines.stages.train_regressors import TrainRegressorsConfig
from sppnet.detection.svm import LinearSvms
from tests.support.tiny_workspace import CATEGORIES, SCALES, make_spec, make_workspace

INPUTS = {"images": "images-tiny", "windows": "windows-tiny", "maps": "maps-tiny"}
READ = {"images": "images", "windows": "windows", "maps": "maps"}
FIELDS = {**READ, "categories": CATEGORIES, "scales": SCALES, "levels": (3, 2, 1)}


def make_training_workspace(root: Path, images: int = 24, shard_size: int = 6, more: int = 0) -> Workspace:
    """The tiny workspace, whose maps tell which backbone made them."""
    workspace = make_workspace(root, images, shard_size, more)
    workspace.artifact("maps-tiny").describe({"inputs": {"backbone": ["network-tiny"], "images": ["images-tiny"]}})
    return workspace


def svms_spec(workspace: Workspace, artifact: str = "svms-tiny", head: str | None = None, **fields: Any) -> StageSpec:
    """A step that trains SVMs."""
    config = TrainSvmsConfig.model_validate({"stage": "train-svms", **FIELDS, **fields})
    return make_spec(workspace, config, artifact, **INPUTS, **({"head": head} if head else {}))


def regressors_spec(workspace: Workspace, artifact: str = "regressors-tiny", **fields: Any) -> StageSpec:
    """A step that trains box regressors."""
    config = TrainRegressorsConfig.model_validate(
        {"stage": "train-regressors", **FIELDS, "min_examples": 3, "ridge": 10.0, **fields}
    )
    return make_spec(workspace, config, artifact, **INPUTS)


Order = Callable[[tuple[str, ...]], Iterable[str]]


def train(spec: StageSpec, order: Order = iter, run: Callable[[StageSpec, list[str]], Any] | None = None) -> Stage[Any]:
    """Makes all units of a step, each phase's in some order, by `run` or one after the other."""
    stage = build_stage(spec)
    stage.prepare()
    for phase in stage.phases():
        units = list(order(phase.units))
        if run is None:
            for unit in units:
                run_unit(spec, unit)
        else:
            run(spec, units)
    return stage


def trained(stage: Stage[Any], rounds: int = 1) -> LinearSvms:
    """The SVMs of a round."""
    return read_svms(stage.artifact, [f"solve-{rounds}/{category}" for category in stage.config.categories])


def rewrite_maps(workspace: Workspace, unit: str, change: Callable[[MapRow], np.ndarray]) -> None:
    """Publishes a unit of the maps anew, each map changed."""
    maps = workspace.artifact("maps-tiny")
    rows = [MapRow(r.key, r.scale, r.image_wh, change(r)) for r in decode_maps(maps.read(unit), unit)]
    maps.store.delete(f"{maps.name}/_commits/{unit}.json")
    maps.publish(unit, Output(encode_maps(rows), ".parquet", len(rows), len(rows)), 0)
