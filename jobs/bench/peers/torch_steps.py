"""The work on one image in plain torch and torchvision: what a worker of any framework does.

Windows go to cells by our own geometry, so that all sides pool the same cells; all else is what a user would write:
PIL, OpenCV's resize, a bfloat16 network with channels last, `roi_pool` a level, a matrix product, `batched_nms`.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jobs.bench.peers.job import NMS_IOU, PER_IMAGE, THRESHOLD, PipelineJob
from pipelines.artifacts.windows_and_maps import decode_windows
from sppnet.arrays import Array, Pixels
from sppnet.networks.backbones import Backbone, BackboneSpec, build_backbone, load_backbone
from sppnet.networks.weights import read_safetensors
from sppnet.pooling.geometry import windows_to_cells
from sppnet.pooling.pyramid import Pyramid
from sppnet.pooling.scales import choose_scales, resized_size, scale_windows
from sppnet.sizes import Size

LEVELS = Pyramid().levels


def read_network(job: PipelineJob) -> Backbone:
    """Read a job's network, float32, in evaluation mode."""
    backbone = build_backbone(BackboneSpec.from_dict(job.backbone)).eval()
    load_backbone(backbone, read_safetensors(Path(job.weights).read_bytes(), job.weights), job.weights)
    return backbone


class Convolver:
    """Turns the bytes of images into maps, decoding each once.

    Args:
        job: What is done.
    """

    def __init__(self, job: PipelineJob) -> None:
        torch.set_num_threads(1)
        backbone = read_network(job)
        self.trunk = backbone.trunk.to(torch.bfloat16)
        self.geometry, self.preprocessing, self.scales = backbone.geometry, backbone.preprocessing, job.scales

    def maps(self, data: bytes) -> tuple[Size, dict[int, torch.Tensor]]:
        """Return an image's size and, by scale, its maps, float16 `[H, W, C]`."""
        from PIL import Image

        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        return Size.of(pixels), {scale: self._map(pixels, scale) for scale in self.scales}

    @torch.inference_mode()
    def _map(self, pixels: Pixels, scale: int) -> torch.Tensor:
        import cv2

        resized = torch.from_numpy(cv2.resize(pixels, resized_size(Size.of(pixels), scale))).float()
        if self.preprocessing.channel_order == "bgr":
            resized = resized.flip(2)
        resized.sub_(torch.tensor(self.preprocessing.mean)).div_(torch.tensor(self.preprocessing.std))
        found: torch.Tensor = self.trunk(resized.permute(2, 0, 1)[None].bfloat16()).relu_()
        return found[0].permute(1, 2, 0).half().contiguous()

    def map_rows(self, key: str, data: bytes) -> list[dict[str, Any]]:
        """Return an image's maps as rows of a table."""
        rows = []
        for scale, grid in self.maps(data)[1].items():
            height, width, channels = grid.shape
            shape = {"height": height, "width": width, "channels": channels}
            rows.append({"key": key, "scale": scale, **shape, "data": grid.numpy().tobytes()})
        return rows


class WindowScorer:
    """Turns the bytes of images into detections.

    Args:
        job: What is done.
    """

    def __init__(self, job: PipelineJob) -> None:
        self.convolver = Convolver(job)
        self.windows = {row.key: row.windows for row in decode_windows(Path(job.windows).read_bytes(), job.windows)}
        svms = read_safetensors(Path(job.svms).read_bytes())
        by_bin = svms["weights"].reshape(len(svms["biases"]), Pyramid().bins, -1)
        by_level = torch.split(by_bin, [level**2 for level in LEVELS], dim=1)
        self.weights = [part.transpose(1, 2).flatten(1).T.contiguous() for part in by_level]  # roi_pool's own order
        self.biases = svms["biases"]

    @torch.inference_mode()
    def scores(self, data: bytes, windows: Array) -> torch.Tensor:
        """Return the scores `[n, k]` of an image's windows `[n, 4]`."""
        from torchvision.ops import roi_pool

        size, maps = self.convolver.maps(data)
        chosen = choose_scales(windows, size, self.convolver.scales)
        scores = torch.empty(len(windows), len(self.biases))
        for number, scale in enumerate(self.convolver.scales):
            rows = np.flatnonzero(chosen == number)
            grid = maps[scale].permute(2, 0, 1)[None].float().contiguous()
            scaled = scale_windows(windows[rows], size, scale)
            cells = windows_to_cells(scaled, Size.of(maps[scale]), self.convolver.geometry) - [0, 0, 1, 1]
            boxes = [torch.from_numpy(cells).float()]
            levels = zip(LEVELS, self.weights, strict=True)
            scores[rows] = self.biases + sum(roi_pool(grid, boxes, n, 1.0).flatten(1) @ w for n, w in levels)
        return scores

    @torch.inference_mode()
    def detections(self, key: str, data: bytes) -> list[dict[str, Any]]:
        """Return an image's detections as rows of a table."""
        from torchvision.ops import batched_nms

        windows = self.windows[key]
        scores = self.scores(data, windows)
        rows, categories = torch.nonzero(scores > THRESHOLD, as_tuple=True)
        values, boxes = scores[rows, categories], torch.from_numpy(windows)[rows]
        kept = batched_nms(boxes, values, categories, NMS_IOU)
        found, count = [], dict.fromkeys(range(scores.shape[1]), 0)
        for category, score, box in zip(
            categories[kept].tolist(), values[kept].tolist(), boxes[kept].tolist(), strict=True
        ):
            count[category] += 1
            if count[category] <= PER_IMAGE:
                corners = dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
                found.append({"key": key, "category": category, "score": score, **corners})
        return found
