"""A job for the sides of `bench pipeline`: two drawn images with a hundred windows each."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.bench.peers.job import PipelineJob
from jobs.bench.sides.files import write_files
from pipelines.artifacts.image_tars import ImageRecord
from pipelines.artifacts.windows_and_maps import WindowsRow
from tests.support.drawn_scenes import scene


@pytest.fixture(scope="session")
def tiny_job(tmp_path_factory: pytest.TempPathFactory) -> PipelineJob:
    records, windows = [], []
    for number, (height, width) in enumerate([(120, 160), (150, 100)]):
        sink = io.BytesIO()
        Image.fromarray(scene(150, 200, number)[:height, :width]).save(sink, "JPEG", quality=95)
        records.append(ImageRecord(f"im{number}", "jpg", sink.getvalue(), width, height))
        side = min(width, height) / 3
        corners = np.random.default_rng(number).uniform(0, [width - side, height - side], (100, 2))
        boxes = np.concatenate([corners, corners + side], axis=1).astype(np.float32)
        windows.append(WindowsRow(records[-1].key, width, height, boxes))
    return write_files(
        tmp_path_factory.mktemp("job"),
        records,
        windows,
        backbone={"architecture": "squeezenet1_0"},
        weights=None,
        scales=(96, 128),
        categories=3,
        shard=1,
        workers=2,
    )


@pytest.fixture
def job(tiny_job: PipelineJob, tmp_path: Path) -> PipelineJob:
    """The job, with a place of its own for what it makes."""
    return replace(tiny_job, out=str(tmp_path / "out"))
