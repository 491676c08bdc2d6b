"""The job of `bench pipeline` by this project: a recipe, run as `sppnet run` does, with its real stages."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import yaml

from jobs.bench.peers.job import NMS_IOU, PER_IMAGE, THRESHOLD, PipelineJob
from jobs.bench.sides.given_svms import STAGE
from jobs.run.observers import Accounts
from pipelines.datasets.window_files import OURS
from pipelines.engine.recipe import parse_recipe
from pipelines.engine.registry import STAGES
from pipelines.engine.runner import Engine
from pipelines.engine.workspace import Artifact, Workspace
from pipelines.executors.local import LocalExecutor

if TYPE_CHECKING:
    from pipelines.engine.executor import Executor

SPLIT = "val"
_TRAINED = ("backbone", "svms")
"""Steps whose results a user has before the job starts."""


def recipe(job: PipelineJob) -> dict[str, Any]:
    """Write the recipe of a job, as a user would."""
    common = {"images": "images", "splits": [SPLIT]}
    scales = {"scales": list(job.scales)}
    dataset = {"kind": "tars", "splits": {SPLIT: f"{job.tars}/*.tar"}}
    steps: dict[str, Any] = {
        "images": {"stage": "ingest", "dataset": dataset, "annotations": False, "by_reference": True},
        "backbone": {"stage": "weights", "path": job.weights, **job.backbone},
        "maps": {"stage": "extract", "backbone": "backbone", "precision": "bfloat16", **scales, **common},
    }
    if job.task == "detections":
        steps["maps"]["keep"] = "never"
        steps["windows"] = {"stage": "import-windows", "paths": [job.windows], "convention": OURS, **common}
        steps["svms"] = {"stage": "given-svms", "backbone": "backbone", "path": job.svms, **scales}
        reads = {"windows": "windows", "maps": "maps", "svms": "svms"}
        rules = {"threshold": THRESHOLD, "nms_iou": NMS_IOU, "per_image": PER_IMAGE}
        steps["detections"] = {"stage": "score", **reads, **rules, **common}
    return {"version": 1, "name": "bench", "seed": 0, "steps": steps}


def recipe_lines(job: PipelineJob) -> int:
    """Count the lines of the recipe."""
    return len(yaml.safe_dump(recipe(job), sort_keys=False).splitlines())


def prepare(job: PipelineJob) -> None:
    """Put what is trained before into the job's workspace: the network and, for detections, the SVMs."""
    shutil.rmtree(job.out, ignore_errors=True)
    steps = {name: step for name, step in recipe(job)["steps"].items() if name in _TRAINED}
    _run({"version": 1, "name": "trained", "seed": 0, "steps": steps}, job.out, LocalExecutor())


def run(job: PipelineJob, executor: Executor) -> None:
    """Do the job in the workspace that `prepare` made."""
    _run(recipe(job), job.out, executor)


def warm_up(job: PipelineJob, executor: Executor) -> None:
    """Do the job in a workspace of its own that goes again, so that workers have loaded what they need."""
    before = replace(job, out=f"{job.out}-before")
    prepare(before)
    run(before, executor)
    shutil.rmtree(before.out)


def _run(raw: dict[str, Any], workspace: str, executor: Executor) -> None:
    with patch.dict(STAGES, STAGE):
        Engine(parse_recipe(raw, "bench pipeline"), Workspace.open(workspace)).run(executor, Accounts())


def artifacts(workspace: str | Path, kind: str) -> list[Artifact]:
    """Return the workspace's artifacts of a kind."""
    found = Workspace.open(str(workspace))
    return [found.artifact(name) for name in found.artifact_names() if found.artifact(name).kind == kind]
