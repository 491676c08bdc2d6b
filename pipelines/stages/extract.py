"""extract: every image through the convolutions once per scale; the maps are cached as Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import Annotated, ClassVar, Literal

import numpy as np
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
from sppnet.errors import DataError
from sppnet.images.network_input import prepare_image
from sppnet.networks.backbones import Backbone
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
    def _device(self) -> torch.device:
        return choose_device(self.config.device, self.spec.step)

    @cached_property
    def _backbone(self) -> Backbone:
        backbone = read_backbone(self.input("backbone")).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return backbone.eval()  # type: ignore[no-any-return]

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
        prepare = partial(self._prepare, scale=scale, flipped=flipped)
        convolve = partial(self._convolve, scale=scale)
        raw_bytes = 0

        def rows() -> Iterator[MapRow]:
            nonlocal raw_bytes
            for row in work.each_prepared(records, prepare, convolve, self.config.ahead):
                raw_bytes += row.map.nbytes
                yield row

        data = encode_maps(rows())
        return work.output(data, ".parquet", work.done, {"images": work.done, "raw_bytes": raw_bytes})

    def _prepare(self, record: ImageRecord, scale: int, *, flipped: bool) -> torch.Tensor:
        """Decode, mirror and resize an image, on a thread."""
        backbone = self._backbone
        pixels = decode_for_scale(record, scale, self.config.max_pixels)
        if flipped:  # before all else: the map is to the last bit that of a mirrored image in its own right
            pixels = np.ascontiguousarray(pixels[:, ::-1])
        return prepare_image(pixels, scale, backbone.preprocessing, self._device, mean_image=backbone.mean_image)

    @torch.inference_mode()
    def _convolve(self, record: ImageRecord, image: torch.Tensor, scale: int) -> MapRow:
        lower = self.config.precision == "bfloat16"
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=lower):
            found = self._backbone(image)[0]
        values = found.permute(1, 2, 0).contiguous().to(getattr(torch, self.config.dtype)).cpu()
        array = values.numpy()
        if not np.isfinite(array).all():
            raise DataError("nan-features", f"the map at scale {scale} holds values that are not finite")
        return MapRow(record.key, scale, record.size, array)
