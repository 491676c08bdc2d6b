"""extract: every image through the convolutions once per scale; the maps are cached as Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from pipelines.artifacts.backbone_info import BackboneInfo
from pipelines.artifacts.image_tars import ImageRecord
from pipelines.artifacts.networks import read_backbone
from pipelines.artifacts.windows_and_maps import MapRow, encode_maps
from pipelines.engine.machine import choose_device
from pipelines.engine.stage import COVERAGE, Input, Phase, StageConfig
from pipelines.engine.workspace import Output
from pipelines.shards.convolving import ConvolvingConfig, decode_for_scale
from pipelines.shards.reading import ScaleField, map_unit, parse_map_unit, read_images
from pipelines.shards.stage import PerShardStage, require_ingested
from sppnet.arrays import Pixels
from sppnet.networks.map_maker import MapMaker, require_finite_map
from sppnet.sizes import Size


class ExtractConfig(ConvolvingConfig):
    """Config of `extract`.

    Attributes:
        images: The step that ingests.
        backbone: The step that trains or imports the network.
        splits: Splits to extract.
        scales: Short sides in pixels. A scale added later costs only itself.
        flips: Whether the maps of the mirrored images are made too, as files of their own. Mirrored maps are something
            else: with strides, a cell's field does not lie where its mirror image's does.
        dtype: Type of the stored maps.
    """

    stage: Literal["extract"]
    images: Annotated[str, Input(("images",))]
    backbone: Annotated[str, Input(("network",))]
    splits: Annotated[tuple[str, ...], COVERAGE] = ("train", "val")
    scales: Annotated[tuple[ScaleField, ...], COVERAGE, Field(min_length=1)] = (688,)
    flips: Annotated[bool, COVERAGE] = False
    dtype: Literal["float16", "float32"] = "float16"


class Extract(PerShardStage[ExtractConfig]):
    """Writes one Parquet file per scale and shard, one row a map."""

    name: ClassVar[str] = "extract"
    makes: ClassVar[str] = "maps"
    config_type: ClassVar[type[StageConfig]] = ExtractConfig

    @classmethod
    def check(cls, config: ExtractConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that the splits are ingested."""
        require_ingested(config.splits, inputs)

    @cached_property
    def _maker(self) -> MapMaker:
        config = self.config
        backbone = read_backbone(self.input("backbone")).to(choose_device(config.device, self.spec.step))
        return MapMaker(backbone, config.precision, getattr(torch, config.dtype))

    def prepare(self) -> None:
        """Check that each scale gives a map, and record the backbone's identity beside the maps."""
        backbone = read_backbone(self.input("backbone"))
        for scale in self.config.scales:
            backbone.map_size(Size.square(scale))
        BackboneInfo.of(backbone).write(self.artifact)

    def phases(self) -> list[Phase]:
        """Return one phase; a unit is a shard at a scale, mirrored or not. The largest scales come first."""
        shards = self.shards(self.config.splits)
        scales = sorted(set(self.config.scales), reverse=True)
        ways = (False, True) if self.config.flips else (False,)
        units = tuple(map_unit(scale, unit, flipped=way) for scale in scales for way in ways for unit in shards)
        return [Phase("extract", units, self.config.resources())]

    def run(self, unit: str) -> Output:
        """Convolve a shard's images at one scale."""
        scale, shard, flipped = parse_map_unit(unit)
        records, earlier = read_images(self.input("images"), shard)
        work = self.work(shard, earlier)
        decode = partial(decode_for_scale, scale=scale, max_pixels=self.config.max_pixels)
        convolve = partial(self._convolve, scale=scale, flipped=flipped)
        raw_bytes = 0

        def rows() -> Iterator[MapRow]:
            nonlocal raw_bytes
            for row in work.each_prepared(records, decode, convolve, self.config.ahead):
                raw_bytes += row.map.nbytes
                yield row

        data = encode_maps(rows())
        return work.output(data, ".parquet", work.done, {"images": work.done, "raw_bytes": raw_bytes})

    def _convolve(self, record: ImageRecord, image: Pixels, scale: int, *, flipped: bool) -> MapRow:
        (found,) = self._maker([image], (scale,), flipped=flipped)
        require_finite_map(found[scale], scale)
        return MapRow(record.key, scale, record.size, found[scale].cpu().numpy())
