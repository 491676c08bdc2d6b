"""Images to maps at several scales: what caches maps and what uses them on the spot convolve alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sppnet.arrays import Pixels
from sppnet.errors import DataError
from sppnet.images.network_input import prepare_image
from sppnet.networks.backbones import Backbone
from sppnet.networks.network import Precision


@dataclass(frozen=True, slots=True, eq=False)
class MapInputs:
    """An image as the convolutions take it.

    Attributes:
        by_scale: `[1, 3, h, w]` float32, preprocessed, by the short side in pixels.
    """

    by_scale: Mapping[int, torch.Tensor]


class MapMaker:
    """Convolves images at several scales (section 4.1).

    The same image gives the same bits whatever images are convolved with it or before it.

    Args:
        backbone: The convolutions, on the device that they run on.
        precision: Type in which they compute.
        dtype: Type of the maps.
    """

    def __init__(
        self, backbone: Backbone, precision: Precision = "float32", dtype: torch.dtype = torch.float16
    ) -> None:
        self.backbone: Backbone = backbone.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.precision = precision
        self.dtype = dtype
        self.device = next(backbone.parameters()).device

    def prepare(self, image: Pixels, scales: Sequence[int], *, flipped: bool = False) -> MapInputs:
        """Resize and normalise an image; may run on any thread.

        Args:
            image: RGB `[H, W, 3]` in its own size.
            scales: Short sides in pixels.
            flipped: Whether the mirrored image is wanted.
        """
        if flipped:  # before all else: the map is to the last bit that of a mirrored image in its own right
            image = np.ascontiguousarray(image[:, ::-1])
        known = self.backbone.preprocessing, self.device
        mean = self.backbone.mean_image
        return MapInputs({scale: prepare_image(image, scale, *known, mean_image=mean) for scale in scales})

    @torch.inference_mode()
    def __call__(self, images: Sequence[MapInputs]) -> list[dict[int, torch.Tensor]]:
        """Convolve images.

        Returns:
            Of each image its maps by scale: `[H, W, C]` of `dtype`, contiguous, on the device.
        """
        return [{scale: self._convolve(values) for scale, values in image.by_scale.items()} for image in images]

    def _convolve(self, values: torch.Tensor) -> torch.Tensor:
        lower = self.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=lower):
            found = self.backbone(values)[0]
        return found.permute(1, 2, 0).contiguous().to(self.dtype)


def require_finite_map(values: torch.Tensor, scale: int) -> None:
    """Raise `DataError` `nan-features` for a map, non-negative, that holds values that are not finite."""
    if not bool(torch.isfinite(values.amax())):
        raise DataError("nan-features", f"the map at scale {scale} holds values that are not finite")
