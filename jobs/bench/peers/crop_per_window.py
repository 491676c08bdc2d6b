"""The job in R-CNN's way: every window is warped and convolved by itself, with the same network and the same SVMs.

One process, one thread, a few windows of a few images: it is linear in both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from jobs.bench.peers.job import NMS_IOU, PER_IMAGE, THRESHOLD, PipelineJob
from jobs.bench.peers.torch_steps import read_network
from pipelines.artifacts.image_tars import decode_images
from pipelines.artifacts.windows_and_maps import decode_windows
from pipelines.shards.reading import decode_record
from sppnet.boxes import nms_by_category
from sppnet.detection.rcnn_crops import SIZE, CropFeatures
from sppnet.detection.svm import LinearSvms
from sppnet.networks.weights import read_metadata, read_safetensors
from sppnet.pooling.pyramid import Pyramid


class CropScorer:
    """The network and the SVMs, loaded.

    Args:
        job: What is done.
    """

    def __init__(self, job: PipelineJob) -> None:
        torch.set_num_threads(1)
        self.job = job
        backbone = read_network(job)
        data = Path(job.svms).read_bytes()
        self.svms = LinearSvms.from_tensors(read_safetensors(data), read_metadata(data))
        self.features = CropFeatures(
            geometry=backbone.geometry,
            channels=backbone.channels,
            pyramid=Pyramid(),
            scales=(SIZE,),
            backbone=backbone,
            convolutions="bfloat16",
        )

    def run(self) -> int:
        """Score the job's windows of its images; return how many detections stay."""
        windows = {row.key: row.windows for row in decode_windows(Path(self.job.windows).read_bytes(), "windows")}
        tar = min(Path(self.job.tars).glob("*.tar"))
        found = 0
        for record, _ in zip(decode_images(tar.read_bytes(), tar.name), range(self.job.images), strict=False):
            boxes = windows[record.key]
            boxes = boxes[np.linspace(0, len(boxes) - 1, self.job.crops).astype(int)]
            scores = self.svms.scores(self.features({SIZE: decode_record(record)}, record.size, boxes)).numpy()
            category, rows = np.nonzero(scores.T > THRESHOLD)
            found += len(nms_by_category(boxes[rows], scores[rows, category], category, NMS_IOU, PER_IMAGE))
        return found
