from __future__ import annotations

import numpy as np
import pytest

from jobs.bench.peers.job import PipelineJob
from jobs.bench.sides.outputs import count_windows, detections_difference, maps_difference


def test_maps_differ_by_the_greatest_relative_distance() -> None:
    grid = np.full((2, 3, 4), 2.0, np.float16)
    ours = {("a", 96): grid, ("b", 96): grid}
    assert maps_difference(ours, dict(ours)) == 0
    assert maps_difference(ours, {**ours, ("b", 96): grid * 1.5}) == pytest.approx(0.5)
    assert maps_difference(ours, {**ours, ("b", 96): grid[:1]}) == 1
    assert maps_difference(ours, {("a", 96): grid}) == 1


def test_detections_differ_by_those_of_one_side() -> None:
    box, other = (0.0, 0.0, 5.0, 5.0), (1.0, 0.0, 5.0, 5.0)
    ours = {("a", 0, box): 0.3, ("a", 1, box): 0.2, ("b", 0, box): 0.1}
    assert detections_difference(ours, {key: score + 0.001 for key, score in ours.items()}) == 0
    assert detections_difference(ours, {("a", 0, box): 0.3, ("a", 1, other): 0.2}) == 0.75
    assert detections_difference({}, {}) == 0


def test_windows_are_counted_over_all_images(job: PipelineJob) -> None:
    assert count_windows(job) == 200
