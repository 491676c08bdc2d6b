"""activations: which pixels of which images a filter of the last convolution responds to most (figure 2).

Phases: `find` (a shard: each filter's strongest response in every image, the best few kept) and `merge` (one unit).
Of cached maps, more filters cost one more pass over them and no convolution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from pipelines.artifacts.activations import UNIT, FilterPatches, Patch, encode_activations, read_activations
from pipelines.artifacts.backbone_info import BackboneInfo
from pipelines.engine.commits import Output
from pipelines.engine.machine import GpuFields
from pipelines.engine.phases import Phase
from pipelines.engine.stage import Input, StageConfig, require_subset
from pipelines.shards.map_sources import MappedImage, open_maps
from pipelines.shards.reading import ScaleField
from pipelines.shards.stage import ShardStage, require_same_images
from sppnet.arrays import Float64s, Integers
from sppnet.errors import ConfigError
from sppnet.networks.responses import check_filters, receptive_field_boxes, strongest_cells
from sppnet.seeds import derive_seed


class ActivationsConfig(GpuFields):
    """Config of `activations`.

    Attributes:
        images: The step that ingests.
        maps: The step that extracts.
        splits: Splits to look through.
        scales: Short sides to look through; an image counts once, at the scale of its strongest response.
            [pixels; section 2.1]
        filters: Filters of the last convolution, 0-based, in the order in which they are shown. [numbers; section 2.1]
        count: Without `filters`, so many are drawn by the run's seed. [filters]
        top: Images kept per filter. [images]
    """

    stage: Literal["activations"]
    images: Annotated[str, Input(("images",))]
    maps: Annotated[str, Input(("maps",))]
    splits: Annotated[tuple[str, ...], Field(min_length=1)] = ("val",)
    scales: Annotated[tuple[ScaleField, ...], Field(min_length=1)] = (688,)
    filters: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None = None
    count: Annotated[int, Field(ge=1)] = 8
    top: Annotated[int, Field(ge=1, le=100)] = 8


class Activations(ShardStage[ActivationsConfig]):
    """Writes JSON: per shard, then of all shards, each filter's strongest responses."""

    name: ClassVar[str] = "activations"
    makes: ClassVar[str] = "activations"
    seeded: ClassVar[bool] = True
    config_type: ClassVar[type[StageConfig]] = ActivationsConfig
    annotated: ClassVar[bool] = False

    @classmethod
    def whole_splits(cls, config: ActivationsConfig) -> tuple[str, ...]:
        """Return the splits: the strongest images of all of them are sought."""
        return config.splits

    @classmethod
    def check(cls, config: ActivationsConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that the splits and scales are extracted from these images, and that no filter comes twice."""
        maps: Any = inputs["maps"][0]
        require_same_images(config, inputs, "maps")
        require_subset(config.splits, maps.splits, "splits", "split")
        require_subset(config.scales, maps.scales, "scales", "scale")
        chosen = config.filters or ()
        if len(set(chosen)) != len(chosen):
            raise ConfigError(f"filters: one comes twice in {', '.join(map(str, chosen))}")

    def prepare(self) -> None:
        """Check that the backbone has the filters."""
        check_filters(self._filters, self._info.channels)

    @cached_property
    def _info(self) -> BackboneInfo:
        return BackboneInfo.read(self.input("maps"))

    @cached_property
    def _filters(self) -> Integers:
        if self.config.filters is not None:
            return np.array(self.config.filters, dtype=np.int64)
        rng = np.random.default_rng(derive_seed(self.seed, self.name))
        count = min(self.config.count, self._info.channels)
        return np.sort(rng.choice(self._info.channels, count, replace=False))

    def phases(self) -> list[Phase]:
        """Find, a unit a shard; then merge."""
        needs = self.config.resources()
        find = Phase("find", tuple(f"find/{shard}" for shard in self.shards(self.config.splits)), needs)
        return [find, Phase("merge", (UNIT,), needs, keyed=False)]

    def run(self, unit: str) -> Output:
        """Run a unit of either phase."""
        return self._merge() if unit == UNIT else self._find(unit.removeprefix("find/"))

    def _find(self, shard: str) -> Output:
        """Keep each filter's strongest responses at any scale, of images that have a map at every scale."""
        images, earlier = open_maps(self.images.artifact, self.input("maps"), self.config.scales, shard)
        work = self.work(shard, earlier)
        best = list(work.each(images, lambda image: self._strongest(image, shard)))
        rows = [
            FilterPatches(int(number), _kept((patches[i] for patches in best), self.config.top))
            for i, number in enumerate(self._filters)
        ]
        return work.output(encode_activations(rows), ".json", sum(len(row.patches) for row in rows))

    def _strongest(self, image: MappedImage, shard: str) -> list[Patch]:
        """Return each filter's strongest response in an image, of equals that at the scale named first."""
        by_scale = [self._patches(image, scale, shard) for scale in self.config.scales]
        return [max(patches, key=lambda patch: patch.value) for patches in zip(*by_scale, strict=True)]

    def _patches(self, image: MappedImage, scale: int, shard: str) -> list[Patch]:
        """Return each filter's strongest response in a map."""
        values, cells = strongest_cells(torch.as_tensor(image.maps[scale]).cpu().numpy(), self._filters)
        boxes = receptive_field_boxes(cells, self._info.geometry, image.image_wh, scale)
        return [_patch_at(image.key, shard, scale, *found) for found in zip(values, cells, boxes, strict=True)]

    def _merge(self) -> Output:
        units = [f"find/{shard}" for shard in self.shards(self.config.splits)]
        parts = [read_activations(self.artifact, unit) for unit in units]
        rows = [
            FilterPatches(int(number), _kept((patch for part in parts for patch in part[i].patches), self.config.top))
            for i, number in enumerate(self._filters)
        ]
        return Output(encode_activations(rows), ".json", sum(len(row.patches) for row in rows), 0)


def _patch_at(key: str, shard: str, scale: int, value: np.float32, cell: Integers, box: Float64s) -> Patch:
    x0, y0, x1, y1 = (round(float(edge), 2) for edge in box)
    return Patch(key, shard, scale, (int(cell[0]), int(cell[1])), round(float(value), 6), (x0, y0, x1, y1))


def _kept(patches: Iterator[Patch], at_most: int) -> tuple[Patch, ...]:
    """Return the strongest; a response of 0 is none, and equals come by key, whatever the order of shards."""
    found = sorted((patch for patch in patches if patch.value > 0), key=lambda patch: (-patch.value, patch.key))
    return tuple(found[:at_most])
