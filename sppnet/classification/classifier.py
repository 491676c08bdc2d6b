"""A network's outputs for whole images: softmax scores or features, averaged over views (paper, section 3.1.5).

An image goes through the convolutions once per scale and flip; its views are windows pooled from those maps. Crops go
through the whole network each. The fully-connected layers take all views of all images of a batch in one product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Literal

import numpy as np
import torch

from sppnet.arrays import Float32s, Float64s, Integers, Pixels
from sppnet.classification.views import View, ViewSet
from sppnet.devices import upload
from sppnet.errors import ConfigError
from sppnet.images.network_input import normalise_images, resize_image
from sppnet.networks.backbones import Backbone
from sppnet.networks.inference import InferenceBackbone
from sppnet.networks.network import FcHead, FcLayer, Precision
from sppnet.pooling.geometry import Convention, windows_to_cells
from sppnet.pooling.pyramid import Pyramid, pool_full_maps
from sppnet.pooling.scales import resized_size
from sppnet.pooling.windows import pool_windows
from sppnet.sizes import Size

Output = Literal["scores", "pool5", "fc6", "fc7"]

_LAYERS: Mapping[Output, FcLayer] = {"scores": "fc8", "fc6": "fc6", "fc7": "fc7"}
# Pixels that are convolved at once, unless one image has more: a bound on memory, 20 crops of 224 x 224.
_PIXELS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """Pixels that go through the convolutions together, and the views that are pooled from their map.

    Attributes:
        pixels: RGB, uint8 `[h, w, 3]`.
        rows: Which of the image's views these are.
        windows: `[n, 4]` `[x0, y0, x1, y1)` pixels of `pixels`; None where the only view is all of it.
    """

    pixels: Pixels
    rows: tuple[int, ...]
    windows: Float64s | None


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImage:
    """An image cut into what the network is shown of it.

    Attributes:
        planes: What is convolved.
        views: How many distinct views all sets have together.
        sets: For each view set, which of the views it averages.
    """

    planes: tuple[Plane, ...]
    views: int
    sets: tuple[Integers, ...]


def prepare_views(image: Pixels, sets: Sequence[ViewSet]) -> PreparedImage:
    """Resize, mirror and crop an image for several view sets; views that sets share are there once.

    Args:
        image: RGB, uint8 `[H, W, 3]`.
        sets: What is wanted of it.
    """
    size = Size.of(image)
    listed = [one.views(size) for one in sets]
    rows = {view: row for row, view in enumerate(dict.fromkeys(view for views in listed for view in views))}
    resized = {scale: resize_image(image, resized_size(size, scale)) for scale in {view.scale for view in rows}}
    shared: dict[tuple[int, bool], list[View]] = {}
    planes: list[Plane] = []
    for view, row in rows.items():
        if view.on_map:
            shared.setdefault((view.scale, view.flip), []).append(view)
        else:
            planes.append(Plane(_mirrored(_cut(resized[view.scale], view), view.flip), (row,), None))
    for (scale, flip), views in shared.items():
        pixels = _mirrored(resized[scale], flip)
        windows = None if views[0].corner is None and len(views) == 1 else _windows(views, Size.of(pixels))
        planes.append(Plane(pixels, tuple(rows[view] for view in views), windows))
    members = tuple(np.array([rows[view] for view in views], dtype=np.int64) for views in listed)
    return PreparedImage(tuple(planes), len(rows), members)


def _cut(pixels: Pixels, view: View) -> Pixels:
    x, y = view.corner or (0, 0)
    return pixels[y : y + view.size, x : x + view.size]


def _mirrored(pixels: Pixels, flip: bool) -> Pixels:
    return np.ascontiguousarray(pixels[:, ::-1] if flip else pixels)


def _windows(views: Sequence[View], size: Size) -> Float64s:
    """Return `[n, 4]` windows in the (mirrored) image of a size; a whole image is a window too."""
    found = np.empty((len(views), 4))
    for row, view in enumerate(views):
        if view.corner is None:
            found[row] = (0, 0, *size)
            continue
        x, y = view.corner
        left = size.width - view.size - x if view.flip else x
        found[row] = (left, y, left + view.size, y + view.size)
    return found


@dataclass(frozen=True, eq=False)
class ViewClassifier:
    """Averages a network's output over the views of each set.

    Attributes:
        backbone: The convolutions, in evaluation mode, on `device`.
        pyramid: The pooling levels; with a `fixed_map` the network has no SPP and takes crops of one size.
        head: fc6-fc8, in evaluation mode, on `device`; None gives `pool5` only.
        sets: View sets by name.
        output: `scores` (softmax, averaged), or features of a layer, averaged: `pool5`, `fc6`, `fc7`.
        precision: Type that the convolutions and fully-connected layers compute in.
        convention: Of the window mapping.
        device: Where to compute.

    Raises:
        ConfigError: A layer that the network does not have, a head for other maps, or a view that it can't be shown.
    """

    backbone: Backbone
    pyramid: Pyramid
    head: FcHead | None
    sets: Mapping[str, ViewSet]
    output: Output = "scores"
    precision: Precision = "float32"
    convention: Convention = "paper"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        if self.output != "pool5":
            if self.head is None:
                raise ConfigError(f"output: {self.output} needs a network with fully-connected layers; this has pool5")
            self.head.check_fits(self.pyramid, self.backbone.channels)
        if not self.sets:
            raise ConfigError("views: none given")
        for name, views in self.sets.items():
            self._check(name, views)

    def _check(self, name: str, views: ViewSet) -> None:
        smallest = views.size if not views.needs_maps else min(views.all_scales)
        found = self.backbone.map_size(Size.square(smallest))
        if self.pyramid.fixed_map is None:
            return
        if views.needs_maps:
            raise ConfigError(
                f"views: '{name}' needs maps of any size, but a network without SPP takes crops of its own size only"
            )
        if found != self.pyramid.fixed_map:
            raise ConfigError(
                f"views: crops of {views.size} pixels ('{name}') give maps of {found} cells, but this network without "
                f"SPP takes {self.pyramid.fixed_map} only: use the size that it was trained at"
            )

    @property
    def dimension(self) -> int:
        """Length of an output vector: classes, or the layer's values."""
        if self.head is None or self.output == "pool5":
            return self.pyramid.bins * self.backbone.channels
        return self.head.spec.outputs(_LAYERS[self.output])

    def prepare(self, image: Pixels) -> PreparedImage:
        """Cut an image, RGB uint8 `[H, W, 3]`, for all sets: see `prepare_views`. May run on any thread."""
        return prepare_views(image, tuple(self.sets.values()))

    @torch.inference_mode()
    def __call__(self, images: Sequence[PreparedImage]) -> list[Float32s]:
        """Compute the averaged outputs of a batch of images.

        Returns:
            For each image float32 `[sets, dimension]`, sets in the order of `sets`.
        """
        if not images:
            return []
        starts = list(accumulate((image.views for image in images), initial=0))
        values = self._upper(self._pooled(images, starts))
        found = []
        for image, start in zip(images, starts, strict=False):
            rows = [values[upload(members + start, self.device)] for members in image.sets]
            found.append(torch.stack([views.mean(dim=0) for views in rows]))
        return list(torch.stack(found).cpu().numpy())  # one wait for the device

    def _pooled(self, images: Sequence[PreparedImage], starts: Sequence[int]) -> torch.Tensor:
        """Return the pooled vectors `[views, bins, C]` of all images' views, each image's from its start on."""
        groups: dict[tuple[tuple[int, ...], bool], list[tuple[Plane, int]]] = {}
        for image, start in zip(images, starts, strict=False):
            for plane in image.planes:
                groups.setdefault((plane.pixels.shape, plane.windows is None), []).append((plane, start))
        shape = (starts[-1], self.pyramid.bins, self.backbone.channels)
        pooled = torch.empty(shape, dtype=getattr(torch, self.precision), device=self.device)
        for ((height, width, _), _), members in groups.items():
            many = max(1, _PIXELS_AT_ONCE // (height * width))
            for first in range(0, len(members), many):
                self._pool_planes(members[first : first + many], pooled)
        return pooled

    def _pool_planes(self, members: Sequence[tuple[Plane, int]], pooled: torch.Tensor) -> None:
        """Convolve planes of one size and write the pooled vectors of their views."""
        backbone = self.backbone
        pixels = np.stack([plane.pixels for plane, _ in members])
        convolve = self._convolutions
        inputs = normalise_images(
            pixels, backbone.preprocessing, self.device, convolve.dtype, mean_image=backbone.mean_image
        )
        maps = convolve(inputs)
        places = np.array([start + row for plane, start in members for row in plane.rows])
        rows = upload(places, self.device)
        windows = [plane.windows for plane, _ in members if plane.windows is not None]
        if windows:
            size = Size.of(pixels[0])
            found = torch.cat([self._pool_windows(grid, own, size) for grid, own in zip(maps, windows, strict=True)])
        else:
            found = pool_full_maps(maps, self.pyramid)
        pooled[rows] = found.to(pooled.dtype)

    def _pool_windows(self, grid: torch.Tensor, windows: Float64s, image_size: Size) -> torch.Tensor:
        """Pool windows from a map `[C, H, W]`; one of all the image's pixels takes all cells."""
        map_size = Size.of(grid[0])
        cells = windows_to_cells(windows, map_size, self.backbone.geometry, self.convention)
        whole = (windows == (0, 0, *image_size)).all(axis=1)
        cells[whole] = (0, 0, *map_size)
        return pool_windows(grid.permute(1, 2, 0), cells, self.pyramid)

    @cached_property
    def _convolutions(self) -> InferenceBackbone:
        return InferenceBackbone(self.backbone, self.precision)

    @cached_property
    def _lowered(self) -> FcHead | None:
        return None if self.head is None else self.head.in_precision(self.precision)

    def _upper(self, pooled: torch.Tensor) -> torch.Tensor:
        """Carry pooled vectors `[n, bins, C]` up to the output: float32 `[n, dimension]`."""
        if self._lowered is None or self.output == "pool5":
            return pooled.flatten(1).float()
        values = self._lowered.outputs(_LAYERS[self.output], pooled)
        return values.softmax(dim=1) if self.output == "scores" else values
