"""Maps on a GPU: images that are there already, resized there, convolved in batches of one size."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import torch

from sppnet.errors import ConfigError
from sppnet.images.network_input import prepare_batch
from sppnet.networks.backbones import Backbone
from sppnet.networks.map_types import MapType, to_map_type
from sppnet.networks.network import Precision


class DeviceConvolutions:
    """Resizes and convolves images where they are.

    Images of one size share batches of exactly `batch` images, the last one filled up with copies, and algorithms are
    chosen by shapes alone: which images share a batch changes no bit of a map.

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
        self._backbone = backbone
        self._network = in_precision(backbone, precision)
        self._dtype = dtype
        self._batch = batch
        self._graphs = _Graphs(self._network) if graphs else None

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
        with _settled():
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
        backbone = self._backbone
        values = prepare_batch(pixels, scale, backbone.preprocessing, self._network.dtype, backbone.mean_image)
        maps = self._network(values) if self._graphs is None else self._graphs(values)
        return to_map_type(maps.permute(0, 2, 3, 1).contiguous(), self._dtype)


class _Graphs:
    """A network whose calls on a shape that has come before are replayed, without the time of their launches.

    Args:
        network: In evaluation mode, on a GPU.
    """

    _SEEN_BEFORE = 2  # calls of a shape before its graph is made
    _MOST = 32

    def __init__(self, network: torch.nn.Module) -> None:
        self._network = network
        self._seen: Counter[torch.Size] = Counter()
        self._made: dict[torch.Size, tuple[torch.cuda.CUDAGraph, torch.Tensor, torch.Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Return the network's output, as a tensor of its own."""
        shape = values.shape
        self._seen[shape] += 1
        if shape not in self._made:
            if self._seen[shape] <= self._SEEN_BEFORE or len(self._made) >= self._MOST:
                found: torch.Tensor = self._network(values)
                return found
            self._made[shape] = self._capture(values)
        graph, inputs, outputs = self._made[shape]
        inputs.copy_(values)
        graph.replay()
        return outputs.clone()  # the graphs share their memory

    def _capture(self, values: torch.Tensor) -> tuple[torch.cuda.CUDAGraph, torch.Tensor, torch.Tensor]:
        inputs = values.clone()
        graph = torch.cuda.CUDAGraph()
        # Other threads go on sending images meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            outputs = self._network(inputs)
        return graph, inputs, outputs


def in_precision(backbone: Backbone, precision: Precision) -> Backbone:
    """Return the backbone itself for float32, else a copy whose weights are of a lower type, channels last."""
    if precision == "float32":
        return backbone
    lowered: Backbone = copy.deepcopy(backbone).to(getattr(torch, precision))
    return lowered.to(memory_format=torch.channels_last)


def _batches(images: Sequence[torch.Tensor], batch: int) -> list[list[int]]:
    """Return the places of the images, equally large ones together, at most `batch` of them."""
    by_size: dict[torch.Size, list[int]] = {}
    for place, image in enumerate(images):
        by_size.setdefault(image.shape, []).append(place)
    return [places[start : start + batch] for places in by_size.values() for start in range(0, len(places), batch)]


def _settled() -> AbstractContextManager[Mapping[str, object] | None]:
    """Let cuDNN choose its algorithms by the shapes alone, and only such as give the same bits each time."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True)
