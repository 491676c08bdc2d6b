"""The convolutions of a backbone for inference, layers fused: on a CPU in strips of rows (see `row_strips`)."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from sppnet.networks.backbones import Backbone
from sppnet.networks.device_networks import DeviceConvolutions
from sppnet.networks.heap import HeapBound
from sppnet.networks.network import Precision
from sppnet.networks.row_plan import plan_rows

_PIXELS_AT_ONCE = 1 << 18


class InferenceBackbone:
    """Computes what a backbone does, for inference only, of a snapshot of its weights.

    The values are those of the backbone within the rounding of the type that they are computed in (batch norms are
    folded into the convolutions before them). An image's don't depend on what was convolved before it or beside it,
    nor on how many threads.

    Attributes:
        backbone: What is computed, in evaluation mode, on its device.
        dtype: Type that the convolutions take their images in without another copy.
    """

    def __init__(self, backbone: Backbone, precision: Precision = "float32") -> None:
        self.backbone = backbone.eval()
        parameters = list(backbone.parameters())
        self._device = parameters[0].device
        self._lower = precision == "bfloat16"
        on_cpu = self._device.type == "cpu"
        self._fused = DeviceConvolutions(self.backbone, precision) if self._device.type == "cuda" else None
        self.dtype = torch.bfloat16 if self._lower and on_cpu else backbone.dtype
        if self._fused is not None:
            self.dtype = self._fused.dtype
        # A fused ReLU makes 0 of what is no number. Weights that hold such are left to torch, which carries it on.
        fast = on_cpu and all(bool(torch.isfinite(value).all()) for value in parameters)
        self._heap = HeapBound()
        self._plan = plan_rows(backbone.trunk, self.dtype) if fast else None

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Convolve images `[N, 3, H, W]`, preprocessed, of any float type.

        Returns:
            Maps `[N, C, h, w]`, channels last in memory, after ReLU and without -0.0.
        """
        if self._fused is not None:
            return self._fused(images)
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._lower):
            if self._plan is None:
                maps: torch.Tensor = self.backbone(images)
                return maps
            images = images.to(self.dtype, memory_format=torch.channels_last)
            # Of small images a few at once, which share the cost of a call; all of them would leave the cache.
            many = max(1, _PIXELS_AT_ONCE // (images.shape[2] * images.shape[3]))
            parts = [self._plan.run(part) for part in torch.split(images, many)]
            maps = parts[0] if len(parts) == 1 else torch.cat(parts)
            self._heap.check()
            return maps if self._plan.positive else F.relu(maps).add_(0.0)
