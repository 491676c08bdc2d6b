"""Maps on a GPU: images that are there already, resized there, convolved in batches of one size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch

from sppnet.errors import ConfigError
from sppnet.images.device_inputs import DeviceInputs
from sppnet.networks.backbones import Backbone
from sppnet.networks.device_networks import PlainNetwork, device_network, settled
from sppnet.networks.device_plan import DevicePlan, Layout
from sppnet.networks.map_types import MapType, to_map_type
from sppnet.networks.network import Precision
from sppnet.pooling.scales import resized_size
from sppnet.sizes import Size


class DeviceConvolutions:
    """Resizes and convolves images where they are.

    Images of one size share batches of exactly `batch` images, the last one filled up with copies, and algorithms are
    chosen by shapes alone: which images share a batch changes no bit of a map. Where all layers are known, images lie
    in a margin of zeros, so that those of many sizes share a few shapes.

    Args:
        backbone: The convolutions, in evaluation mode, on the device.
        precision: Type in which they compute; bfloat16 takes a copy of the weights.
        dtype: Type of the maps.
        batch: Images of one size that are convolved at once.
        graphs: Whether shapes that come again are replayed as CUDA graphs.
    """

    def __init__(
        self, backbone: Backbone, precision: Precision, dtype: MapType, batch: int = 1, *, graphs: bool = False
    ) -> None:
        if batch < 1:
            raise ConfigError(f"batch: must be at least 1, not {batch}")
        self._inputs = DeviceInputs(backbone.preprocessing, backbone.mean_image)
        self._network = device_network(backbone, precision)
        self._dtype = dtype
        self._batch = batch
        self._convolutions = _Graphs(self._network) if graphs else self._network

    @torch.inference_mode()
    def __call__(
        self, images: Sequence[torch.Tensor], scales: Sequence[int], *, flipped: bool = False
    ) -> list[dict[int, torch.Tensor]]:
        """Convolve images.

        Args:
            images: RGB, uint8 `[H, W, 3]`, on the device, in their own sizes.
            scales: Short sides in pixels.
            flipped: Whether the mirrored images' maps are wanted.

        Returns:
            Of each image its maps by scale: `[H, W, C]`, contiguous, on the device.
        """
        found: list[dict[int, torch.Tensor]] = [{} for _ in images]
        with settled():
            for places in _batches(images, self._batch):
                filled = places + places[-1:] * (self._batch - len(places))
                pixels = torch.stack([images[place] for place in filled])
                if flipped:
                    pixels = pixels.flip(2)
                for scale in scales:
                    maps = self._convolve(pixels, scale)
                    for place, values in zip(places, maps, strict=False):
                        found[place][scale] = values
        return found

    def _convolve(self, pixels: torch.Tensor, scale: int) -> torch.Tensor:
        """Return the maps `[N, H, W, C]` of equally large images at a scale."""
        network = self._network
        size = resized_size(Size.of(pixels[0]), scale)
        room = _room(size) if network.fits_margins else size
        values = self._inputs(pixels, size, room, network.channels, network.dtype)
        layout = network.layout(size)
        height, width = layout.sizes[-1].hw
        maps = self._convolutions(values, layout)[:, :, :height, :width]
        return to_map_type(maps.permute(0, 2, 3, 1).contiguous(), self._dtype)


class _Graphs:
    """A network whose calls on a shape that has come before are replayed, without the time of their launches.

    Args:
        network: On a GPU.
    """

    _SEEN_BEFORE = 2  # calls of a shape before its graph is made
    _MOST = 128

    def __init__(self, network: DevicePlan | PlainNetwork) -> None:
        self._network = network
        self._seen: Counter[torch.Size] = Counter()
        self._made: dict[torch.Size, _Graph] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, values: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Return the network's output, as a tensor of its own."""
        shape = values.shape
        self._seen[shape] += 1
        if shape not in self._made:
            if self._seen[shape] <= self._SEEN_BEFORE or len(self._made) >= self._MOST:
                return self._network(values, layout)
            self._made[shape] = self._capture(values, layout)
        graph, inputs, table, outputs = self._made[shape]
        inputs.copy_(values)
        if table is not None and layout.table is not None:
            table.copy_(layout.table)
        graph.replay()
        return outputs.clone()  # the graphs share their memory

    def _capture(self, values: torch.Tensor, layout: Layout) -> _Graph:
        inputs = values.clone()
        table = None if layout.table is None else layout.table.clone()
        graph = torch.cuda.CUDAGraph()
        # Other threads go on sending images meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            outputs = self._network(inputs, Layout(layout.sizes, table))
        return _Graph(graph, inputs, table, outputs)


class _Graph(NamedTuple):
    """A graph and the tensors that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: torch.Tensor
    table: torch.Tensor | None
    outputs: torch.Tensor


def _room(size: Size) -> Size:
    """Return a size for images about as large: the long side rounded up, by less than an eighth of the short one."""
    step = 1 << max(0, (size.short_side // 8).bit_length() - 1)
    width, height = (-(-side // step) * step if side > size.short_side else side for side in size)
    return Size(width, height)


def _batches(images: Sequence[torch.Tensor], batch: int) -> list[list[int]]:
    """Return the places of the images, equally large ones together, at most `batch` of them."""
    by_size: dict[torch.Size, list[int]] = {}
    for place, image in enumerate(images):
        by_size.setdefault(image.shape, []).append(place)
    return [places[start : start + batch] for places in by_size.values() for start in range(0, len(places), batch)]
