from __future__ import annotations

import numpy as np

from jobs.bench.peers.job import PipelineJob
from jobs.bench.peers.on_ray_data import MakeDetections, MakeMaps
from jobs.bench.peers.torch_steps import Convolver, WindowScorer
from tests.support.made_tars import jpeg


def test_a_batch_of_images_becomes_columns_of_all_their_rows(job: PipelineJob) -> None:
    images = {"im0": jpeg(90, (160, 120)), "im1": jpeg(20, (100, 150))}
    batch = {"__key__": np.array(list(images)), "jpg": np.array(list(images.values()), dtype=object)}
    for actor, make in ((MakeMaps, Convolver(job).map_rows), (MakeDetections, WindowScorer(job).detections)):
        columns = actor(job)(batch)
        rows = [row for key, data in images.items() for row in make(key, data)]
        assert [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)] == rows
