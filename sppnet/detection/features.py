"""Features of windows: the pooled vectors of their cells, or fc6 / fc7 on top of those (sections 4.1 and 4.2)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import torch

from sppnet.arrays import Array, Floats, Integers
from sppnet.errors import ConfigError
from sppnet.networks.map_maker import require_finite_map
from sppnet.networks.network import FcHead, Layer, Precision
from sppnet.pooling.geometry import Convention, Geometry
from sppnet.pooling.image_batches import BatchWindows, PooledBatch, pool_image_batch
from sppnet.pooling.image_windows import pool_image_windows
from sppnet.pooling.pyramid import Pyramid
from sppnet.sizes import Size

MapsByScale: TypeAlias = Mapping[int, Array | torch.Tensor]
"""What window features take of one image: its maps `[H, W, C]` by scale, as arrays or as tensors on any device; for
crops its pixels `[H, W, 3]` by size."""

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
        if self.head is not None:
            self.head.check_fits(self.pyramid, self.channels)

    @property
    def dimension(self) -> int:
        """Length of a feature vector."""
        if self.head is None or self.layer == "pool5":
            return self.channels * self.pyramid.bins
        return self.head.spec.outputs(self.layer)

    def pooled(
        self, maps: MapsByScale, image_size: Size, windows: Floats, drawn: Integers | None = None
    ) -> torch.Tensor:
        """Pool windows of one image.

        Args:
            maps: `[H, W, C]` by scale; every scale of `scales`.
            image_size: Of the original image, pixels.
            windows: `[n, 4]` half-open pixels of the original image.
            drawn: `[n]`, the scale of each window where fine-tuning draws them; by default the one that suits it.

        Returns:
            `[n, bins * C]` of the maps' type, on `device`.

        Raises:
            DataError: `nan-features`, a map holds values that are not finite.
        """
        return self.pooled_tensors(self._placed(maps), image_size, windows, drawn)

    def pooled_tensors(
        self, maps: Mapping[int, torch.Tensor], image_size: Size, windows: Floats, drawn: Integers | None = None
    ) -> torch.Tensor:
        """Pool as `pooled` does, from maps that are tensors on `device` already."""
        _require_finite(maps)
        options = (self.geometry, self.pyramid, self.convention, drawn)
        return pool_image_windows(maps, image_size, windows, *options).flatten(1)

    def pooled_batch(self, maps: Sequence[Mapping[int, torch.Tensor]], windows: BatchWindows) -> PooledBatch:
        """Pool the windows of several images, equal ones once; the maps, by scale, are on `device` already."""
        return pool_image_batch(maps, windows, self.scales, self.geometry, self.pyramid, self.convention)

    @torch.inference_mode()
    def __call__(self, maps: MapsByScale, image_size: Size, windows: Floats) -> torch.Tensor:
        """Return the features `[n, dimension]` of windows, from what `pooled` takes; those of fc layers are float32."""
        if self.layer == "pool5":
            return self.pooled(maps, image_size, windows)
        found = self.pooled_once(maps, image_size, windows)
        return self.upper(found.vectors.flatten(1))[found.row_of]

    def pooled_once(self, maps: MapsByScale, image_size: Size, windows: Floats) -> PooledBatch:
        """Pool windows as `pooled` does, those with equal cells once: layers above have the less to do."""
        batch = BatchWindows.of([windows], [image_size], self.device)
        placed = self._placed(maps)
        _require_finite(placed)
        return self.pooled_batch([placed], batch)

    def _placed(self, maps: MapsByScale) -> dict[int, torch.Tensor]:
        return {scale: torch.as_tensor(maps[scale]).to(self.device) for scale in self.scales}

    @cached_property
    def _lowered(self) -> FcHead | None:
        return None if self.head is None else self.head.in_precision(self.precision)

    @torch.inference_mode()
    def upper(self, pooled: torch.Tensor) -> torch.Tensor:
        """Carry pooled vectors `[n, bins * C]` up to `layer`."""
        if self._lowered is None or self.layer == "pool5":
            return pooled
        return self._lowered.outputs(self.layer, pooled)


def _require_finite(maps: Mapping[int, torch.Tensor]) -> None:
    """Look at the maps, not at what is pooled from them, which is fifty times as large and as finite as they are."""
    for scale, grid in maps.items():
        require_finite_map(grid, scale)
