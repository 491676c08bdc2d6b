"""Images to maps at several scales: what caches maps and what uses them on the spot convolve alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sppnet.arrays import Pixels
from sppnet.devices import upload
from sppnet.errors import DataError
from sppnet.images.network_input import prepare_image
from sppnet.networks.backbones import Backbone
from sppnet.networks.device_maps import DeviceConvolutions
from sppnet.networks.inference import InferenceBackbone
from sppnet.networks.map_types import MapType, to_map_type
from sppnet.networks.network import Precision

_BATCH = 8


class MapMaker:
    """Convolves images at several scales (section 4.1).

    The same image gives the same bits whatever images are convolved with it or before it.

    Args:
        backbone: The convolutions, on the device that they run on.
        precision: Type in which they compute.
        dtype: Type of the maps.
        together: Images of one size that a GPU convolves at once; fewer are filled up, so that company changes no bit.
        graphs: Whether a GPU replays shapes that come again as CUDA graphs.

    Attributes:
        batch: How many images it had better be given at once.
    """

    def __init__(
        self,
        backbone: Backbone,
        precision: Precision = "float32",
        dtype: MapType = "float16",
        *,
        together: int = 1,
        graphs: bool = True,
    ) -> None:
        self.backbone: Backbone = backbone.to(memory_format=torch.channels_last).eval()
        self.precision = precision
        self.dtype = dtype
        self.device = next(backbone.parameters()).device
        self.batch = 1 if self.device.type == "cpu" else _BATCH
        self._on_gpu = (
            DeviceConvolutions(self.backbone, precision, dtype, together, graphs=graphs)
            if self.device.type == "cuda"
            else None
        )
        self._convolutions = InferenceBackbone(self.backbone, precision)

    @torch.inference_mode()
    def __call__(
        self, images: Sequence[Pixels | torch.Tensor], scales: Sequence[int], *, flipped: bool = False
    ) -> list[dict[int, torch.Tensor]]:
        """Convolve images; each is resized to a scale when its turn comes, on a GPU there.

        Args:
            images: RGB, uint8 `[H, W, 3]`, in their own sizes, arrays or tensors on the device.
            scales: Short sides in pixels.
            flipped: Whether the mirrored images' maps are wanted. They are to the last bit those of a mirrored image
                in its own right.

        Returns:
            Of each image its maps by scale: `[H, W, C]` of `dtype`, contiguous, on the device.
        """
        if self._on_gpu is not None:
            sent = [image if isinstance(image, torch.Tensor) else upload(image, self.device) for image in images]
            return self._on_gpu(sent, scales, flipped=flipped)
        pixels = [np.asarray(image) for image in images]
        if flipped:
            pixels = [np.ascontiguousarray(image[:, ::-1]) for image in pixels]
        return [{scale: self._convolve(image, scale) for scale in scales} for image in pixels]

    def _convolve(self, image: Pixels, scale: int) -> torch.Tensor:
        backbone = self.backbone
        dtype = self._convolutions.dtype
        values = prepare_image(image, scale, backbone.preprocessing, self.device, dtype, backbone.mean_image)
        found = self._convolutions(values)[0]
        return to_map_type(found.permute(1, 2, 0).contiguous(), self.dtype)


def require_finite_map(values: torch.Tensor, scale: int) -> None:
    """Raise `DataError` `nan-features` for a map, non-negative, that holds values that are not finite."""
    if not bool(torch.isfinite(values.amax())):
        raise DataError("nan-features", f"the map at scale {scale} holds values that are not finite")
