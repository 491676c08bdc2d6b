"""The job of `bench pipeline` by this project: a recipe, run as `sppnet run` does, with its real stages."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import yaml

from jobs.bench.given_svms import STAGE
from jobs.bench.pipeline_job import NMS_IOU, PER_IMAGE, THRESHOLD, PipelineJob
from jobs.run.observers import Accounts
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
    dataset = {"kind": "tars", "splits": {SPLIT: f"{job.tars}/*.tar"}, "labelled": False}
    steps: dict[str, Any] = {
        "images": {"stage": "ingest", "dataset": dataset},
        "backbone": {"stage": "weights", "path": job.weights, **job.backbone},
        "maps": {
            "stage": "extract",
            "backbone": "backbone",
            "scales": list(job.scales),
            "precision": "bfloat16",
            **common,
        },
    }
    if job.task == "detections":
        steps["maps"]["keep"] = "never"
        steps["windows"] = {
            "stage": "import-windows",
            "paths": [job.windows],
            "convention": "xyxy-0-half-open",
            **common,
        }
        steps["svms"] = {
            "stage": "given-svms",
            "backbone": "backbone",
            "path": job.svms,
            "scales": list(job.scales),
        }
        rules = {"threshold": THRESHOLD, "nms_iou": NMS_IOU, "per_image": PER_IMAGE}
        steps["detections"] = {"stage": "score", "windows": "windows", "maps": "maps", "svms": "svms", **rules} | common
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


def _run(raw: dict[str, Any], workspace: str, executor: Executor) -> None:
    with patch.dict(STAGES, STAGE):
        Engine(parse_recipe(raw, "bench pipeline"), Workspace.open(workspace)).run(executor, Accounts())


def artifacts(workspace: str | Path, kind: str) -> list[Artifact]:
    """Return the workspace's artifacts of a kind."""
    found = Workspace.open(str(workspace))
    return [found.artifact(name) for name in found.artifact_names() if found.artifact(name).kind == kind]
