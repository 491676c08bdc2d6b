from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from jobs.bench.peers.crop_per_window import CropScorer
from jobs.bench.peers.job import PipelineJob
from pipelines.artifacts.windows_and_maps import WindowsRow, encode_windows
from sppnet.detection.svm import LinearSvms
from sppnet.networks.weights import read_metadata, read_safetensors, write_safetensors


def test_every_window_of_the_first_images_is_scored(job: PipelineJob, tmp_path: Path) -> None:
    data = Path(job.svms).read_bytes()
    svms = LinearSvms.from_tensors(read_safetensors(data), read_metadata(data))
    generous = replace(svms, biases=svms.biases + np.float32(1e6))
    apart = np.array([[0, 0, 40, 40], [50, 50, 90, 90], [0, 50, 40, 90]], np.float32)
    files = {"windows": tmp_path / "windows.parquet", "svms": tmp_path / "svms.safetensors"}
    files["windows"].write_bytes(encode_windows([WindowsRow("im0", 160, 120, apart)]))
    files["svms"].write_bytes(write_safetensors(*generous.to_tensors()))
    scorer = CropScorer(replace(job, images=1, crops=2, **{name: str(path) for name, path in files.items()}))
    assert scorer.run() == 2 * 3  # two windows that don't overlap, three categories
