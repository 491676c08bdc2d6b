"""What the peers make of an image is what the stages make of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.bench.peers.job import PipelineJob, Task
from jobs.bench.peers.torch_steps import Convolver, WindowScorer
from jobs.bench.sides import ours, outputs
from pipelines.artifacts.image_tars import decode_images
from pipelines.executors.local import LocalExecutor


def by_peer(job: PipelineJob) -> PipelineJob:
    """Does a job as a peer's worker does, image by image; its rows go to Parquet."""
    make: Any = Convolver(job).map_rows if job.task == "maps" else WindowScorer(job).detections
    tars = sorted(Path(job.tars).glob("*.tar"))
    rows = [row for tar in tars for image in decode_images(tar.read_bytes(), "") for row in make(image.key, image.data)]
    theirs = replace(job, side="ray-data", out=f"{job.out}-theirs")
    Path(theirs.out).mkdir()
    pq.write_table(pa.Table.from_pylist(rows), Path(theirs.out) / "rows.parquet")
    return theirs


def by_stages(job: PipelineJob) -> PipelineJob:
    ours.prepare(job)
    ours.run(job, LocalExecutor())
    return job


@pytest.fixture
def both(job: PipelineJob, task: Task) -> tuple[PipelineJob, PipelineJob]:
    wanted = replace(job, task=task)
    return by_stages(wanted), by_peer(wanted)


@pytest.mark.parametrize("task", ["maps"])
def test_the_maps_are_those_of_the_stages(both: tuple[PipelineJob, PipelineJob]) -> None:
    own, peers = map(outputs.read_maps, both)
    assert set(own) == {(key, scale) for key in ("im0", "im1") for scale in (96, 128)}
    assert min(float(grid.max()) for grid in own.values()) > 0
    assert outputs.maps_difference(own, peers) < 0.01


@pytest.mark.parametrize("task", ["detections"])
def test_the_detections_are_those_of_the_stages(both: tuple[PipelineJob, PipelineJob]) -> None:
    own, peers = map(outputs.read_detections, both)
    assert len(own) >= 10
    assert outputs.detections_difference(own, peers) <= 0.1  # bfloat16: one of them may be another
    common = set(own) & set(peers)
    assert max(abs(own[key] - peers[key]) for key in common) < 0.05
    assert not outputs.artifacts(both[0].out, "maps")[0].committed()  # fused: no map is stored
