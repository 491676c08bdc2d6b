"""The convolutions of a backbone for inference: on a CPU in strips of rows, with layers fused (see `row_strips`)."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from sppnet.networks.backbones import Backbone
from sppnet.networks.network import Precision
from sppnet.networks.row_plan import plan_rows


class InferenceBackbone:
    """Computes what a backbone does, for inference only; on a CPU of a snapshot of its weights.

    The values are those of the backbone within the rounding of the type that they are computed in (batch norms are
    folded into the convolutions before them). An image's don't depend on what was convolved before it or beside it,
    nor on how many threads.

    Attributes:
        backbone: What is computed, in evaluation mode, on its device.
        precision: Type that the convolutions compute in.
    """

    def __init__(self, backbone: Backbone, precision: Precision = "float32") -> None:
        self.backbone = backbone.eval()
        self.precision = precision
        self._dtype: torch.dtype = getattr(torch, precision)
        parameters = list(backbone.parameters())
        self._device = parameters[0].device
        # A fused ReLU makes 0 of what is no number. Weights that hold such are left to torch, which carries it on.
        finite = all(bool(torch.isfinite(value).all()) for value in parameters)
        fast = self._device.type == "cpu" and finite
        self._plan = plan_rows(backbone.trunk, self._dtype) if fast else None

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Convolve images `[N, 3, H, W]`, preprocessed, of any float type.

        Returns:
            Maps `[N, C, h, w]` of the precision, channels last in memory, after ReLU and without -0.0.
        """
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
            if self._plan is None:
                maps: torch.Tensor = self.backbone(images)
                return maps
            maps = self._plan.run(images.to(self._dtype, memory_format=torch.channels_last))
            return maps if self._plan.positive else F.relu(maps).add_(0.0)
