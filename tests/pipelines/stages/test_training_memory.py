"""Gathering, mining, solving and scoring hold memory flat: 200 shards take hardly more than 20."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.shards.reading import map_unit
from tests.support.tiny_training import make_training_workspace, rewrite_maps
from tests.support.tiny_workspace import CHANNELS, SCALES, read_manifest
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[3]
WIDER = 32  # 256 channels, as the networks of the paper have
GROWTH_BYTES = 16 << 20  # the maps of 180 more shards are 34 MB, their examples over 100 MB
FEW, MANY = 20, 200

STEPS = ("train-svms", "score", "train-regressors")

PROGRAM = """
import resource, sys
sys.path[:0] = {paths!r}
from pipelines.stages.score import ScoreConfig
from pipelines.engine.workspace import Workspace
from tests.support.tiny_training import INPUTS, READ, regressors_spec, svms_spec, train
from tests.support.tiny_workspace import make_spec

workspace = Workspace.open({root!r})
if {step!r} == "train-svms":
    bounds = dict(max_positives=10, max_random_negatives=200, max_object_negatives=50, max_hard_negatives=200)
    train(svms_spec(workspace, levels=(6, 3, 2, 1), **bounds))
elif {step!r} == "score":
    config = ScoreConfig.model_validate(dict(stage="score", svms="svms", splits=["train"], **READ))
    train(make_spec(workspace, config, "detections-tiny", svms="svms-tiny", **INPUTS))
else:
    train(regressors_spec(workspace, levels=(6, 3, 2, 1), max_examples=200))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def peaks(root: Path, shards: int) -> dict[str, int]:
    """Peak memory in bytes of a process for each step on so many shards."""
    workspace = make_training_workspace(root, images=shards, shard_size=1)
    body = json.loads(workspace.store.read("maps-tiny/backbone.json"))
    workspace.store.delete("maps-tiny/backbone.json")
    workspace.store.create("maps-tiny/backbone.json", json.dumps({**body, "channels": CHANNELS * WIDER}).encode())
    for unit in read_manifest(workspace).units("train"):
        for scale in SCALES:
            rewrite_maps(workspace, map_unit(scale, unit), lambda row: np.tile(row.map, (1, 1, WIDER)))
    paths = [str(ROOT)]
    found = {}
    for step in STEPS:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(paths=paths, root=str(root), step=step)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        found[step] = int(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_does_not_grow_with_the_number_of_shards(tmp_path: Path) -> None:
    few, many = peaks(tmp_path / "few", FEW), peaks(tmp_path / "many", MANY)
    grown = {step: (many[step] - few[step]) >> 20 for step in few}
    assert max(grown.values()) < GROWTH_BYTES >> 20, (grown, few)
