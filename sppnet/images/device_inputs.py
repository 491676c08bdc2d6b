"""Images on a device to a network's input, resized and normalised there, in a margin of zeros if one is wanted."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from sppnet.devices import runs_triton, upload
from sppnet.images.network_input import Preprocessing, prepare_batch
from sppnet.sizes import Size


class DeviceInputs:
    """Makes a network's inputs, within one grey level of those that a CPU makes.

    Args:
        preprocessing: what the network wants.
        mean_image: subtracted in place of the constant mean, as in `normalise_images`.
    """

    def __init__(self, preprocessing: Preprocessing, mean_image: torch.Tensor | None = None) -> None:
        self._preprocessing = preprocessing
        self._mean_image = mean_image
        self._tables: dict[tuple[torch.dtype, torch.device], torch.Tensor] = {}

    def __call__(self, images: torch.Tensor, size: Size, room: Size, channels: int, dtype: torch.dtype) -> torch.Tensor:
        """Resize and normalise equally large images.

        Args:
            images: RGB, uint8 `[N, H, W, 3]`, on any device.
            size: to resize to, pixels.
            room: of the tensor that is returned, `size` or more.
            channels: of the tensor that is returned; those beyond the third are zeros.
            dtype: of the result.

        Returns:
            `[N, channels, *room]`, channels last in memory.
        """
        if runs_triton(images.device) and self._mean_image is None and channels & (channels - 1) == 0:
            from sppnet.images.resize_triton import resized_input

            backwards = self._preprocessing.channel_order == "bgr"
            table = self._table(dtype, images.device)
            return resized_input(images.contiguous(), size, room, table, channels, backwards=backwards)
        values = prepare_batch(images, size.short_side, self._preprocessing, dtype, self._mean_image)
        margin = (0, room.width - size.width, 0, room.height - size.height, 0, channels - 3)
        return F.pad(values, margin).contiguous(memory_format=torch.channels_last) if any(margin) else values

    def _table(self, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """Return every grey level's input value on a device, sent there once."""
        if (dtype, device) not in self._tables:
            values = upload(np.ascontiguousarray(self._preprocessing.table()), device)
            self._tables[dtype, device] = values.to(dtype)
        return self._tables[dtype, device]
