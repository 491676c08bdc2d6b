"""Features of windows: the pooled vectors of their cells, or fc6 / fc7 on top of those (sections 4.1 and 4.2)."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from sppnet.arrays import Array, Floats
from sppnet.errors import ConfigError, DataError
from sppnet.networks.network import FcHead, Layer, Precision
from sppnet.pooling.geometry import Convention, Geometry
from sppnet.pooling.image_windows import pool_image_windows
from sppnet.pooling.pyramid import Pyramid

_WINDOWS_AT_ONCE = 1024

# Cached maps are read-only views of their file; they are only read here too.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


@dataclass(frozen=True)
class WindowFeatures:
    """Turns the cached maps of an image and windows of it into feature vectors.

    Attributes:
        geometry: Of the backbone that made the maps.
        channels: Channels of the maps.
        pyramid: The pooling levels.
        scales: Short sides in pixels to choose from, window by window.
        layer: `pool5` is the pooled vector itself; `fc6` and `fc7` need a head.
        convention: Of the window mapping and the scale rule.
        head: The fully connected layers, float32, on `device`.
        precision: Type in which fc6 and fc7 compute; bfloat16 takes a fraction of the time where CPUs have it.
        device: Where to compute.
    """

    geometry: Geometry
    channels: int
    pyramid: Pyramid
    scales: tuple[int, ...]
    layer: Layer = "pool5"
    convention: Convention = "paper"
    head: FcHead | None = None
    precision: Precision = "float32"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        if self.layer != "pool5" and self.head is None:
            raise ConfigError(f"features {self.layer} need a head; give one or use pool5")
        if self.head is not None and self.head.spec.in_features != self.channels * self.pyramid.bins:
            raise ConfigError(
                f"the head takes {self.head.spec.in_features} values, but {self.pyramid.bins} bins of "
                f"{self.channels} channels are {self.channels * self.pyramid.bins}: it belongs to other maps"
            )

    @property
    def dimension(self) -> int:
        """Length of a feature vector."""
        if self.head is None or self.layer == "pool5":
            return self.channels * self.pyramid.bins
        return self.head.spec.hidden[0 if self.layer == "fc6" else 1]

    def pooled(self, maps: Mapping[int, Array], image_wh: tuple[int, int], windows: Floats) -> torch.Tensor:
        """Pools windows of one image.

        Args:
            maps: `[H, W, C]` by scale; every scale of `scales`.
            image_wh: Width and height of the original image, pixels.
            windows: `[n, 4]` half-open pixels of the original image.

        Returns:
            `[n, bins * C]` of the maps' type, on `device`.

        Raises:
            DataError: `nan-features`, a map holds values that are not finite.
        """
        tensors = {scale: torch.as_tensor(np.asarray(maps[scale])).to(self.device) for scale in self.scales}
        return self.pooled_tensors(tensors, image_wh, windows)

    def pooled_tensors(
        self, maps: Mapping[int, torch.Tensor], image_wh: tuple[int, int], windows: Floats
    ) -> torch.Tensor:
        """Like `pooled`, of maps that are tensors on `device` already."""
        found = pool_image_windows(
            maps, image_wh, windows, self.geometry, self.pyramid, convention=self.convention
        ).flatten(1)
        if found.numel() and not bool(torch.isfinite(found.amax())):
            raise DataError("nan-features", "a pooled vector holds values that are not finite")
        return found

    @torch.inference_mode()
    def __call__(self, maps: Mapping[int, Array], image_wh: tuple[int, int], windows: Floats) -> torch.Tensor:
        """Features of windows of one image, like `pooled`, `[n, dimension]`; fc features are float32."""
        return self.upper(self.pooled(maps, image_wh, windows))

    @cached_property
    def _lowered(self) -> FcHead | None:
        if self.head is None or self.precision == "float32":
            return self.head
        return copy.deepcopy(self.head).to(getattr(torch, self.precision))

    @torch.inference_mode()
    def upper(self, pooled: torch.Tensor) -> torch.Tensor:
        """Carries pooled vectors `[n, bins * C]` up to `layer`."""
        head = self._lowered
        if head is None or self.layer == "pool5":
            return pooled
        through = head.fc6 if self.layer == "fc6" else head.fc7
        parts = [through(part.to(head.dtype)).float() for part in torch.split(pooled, _WINDOWS_AT_ONCE)]
        return torch.cat(parts) if parts else pooled.new_zeros((0, self.dimension), dtype=torch.float32)
