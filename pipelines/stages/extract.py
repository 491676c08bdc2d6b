"""extract: every image through the convolutions once per scale; the maps are cached as Parquet."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from pipelines.artifacts.backbone_info import BackboneInfo, MapsInfo
from pipelines.artifacts.image_tars import ImageRecord
from pipelines.artifacts.networks import read_backbone
from pipelines.artifacts.windows_and_maps import MapRow, encode_maps
from pipelines.engine.activity import busy
from pipelines.engine.commits import Output
from pipelines.engine.machine import choose_device
from pipelines.engine.phases import Phase
from pipelines.engine.stage import COVERAGE, RUNTIME, Input, StageConfig
from pipelines.shards.convolving import ConvolvingConfig, convolve_batch
from pipelines.shards.keys import ShardWork
from pipelines.shards.read_ahead import Behind, in_batches, prepared_ahead
from pipelines.shards.reading import ScaleField, decode_record, map_unit, parse_map_unit, read_images
from pipelines.shards.stage import PerShardStage, require_ingested
from sppnet.arrays import Pixels
from sppnet.errors import ArtifactError, DataError
from sppnet.networks.backbones import map_size
from sppnet.networks.costs import convolving_bytes, map_cost
from sppnet.networks.map_maker import MapMaker
from sppnet.networks.map_types import MapType
from sppnet.pooling.scales import resized_size
from sppnet.sizes import Size

_PHOTOGRAPH = Size(640, 480)
"""What a unit's memory is told for; its network and the process count for more than the image."""
_WAITING = 2
"""Maps that wait to be encoded, a scale."""


class KeptMaps(BaseModel):
    """Which maps are stored, where it was left to the run.

    Attributes:
        splits: Splits whose maps are stored.
        makers: Steps that make the maps that they use for themselves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    splits: tuple[str, ...]
    makers: tuple[str, ...]


class ExtractConfig(ConvolvingConfig):
    """Config of `extract`.

    Attributes:
        images: The step that ingests.
        backbone: The step that trains or imports the network.
        splits: Splits to extract.
        scales: Short sides to extract at. A scale added later costs only itself. [pixels; section 4.1]
        flips: Whether the maps of the mirrored images are made too, as files of their own. Mirrored maps are something
            else: with strides, a cell's field does not lie where its mirror image's does.
        dtype: Type of the maps. `float10_e5m5` takes some four fifths of the bytes of `float16`, as which it is read.
        keep: Whether maps are stored, `parquet`, or made where they are used, `never`; the same to the last bit on the
            same device. `auto` lets the run decide, step by step that uses them, from what reading and making cost.
        kept: What was decided for `auto`; until then all are stored.
    """

    stage: Literal["extract"]
    images: Annotated[str, Input(("images",))]
    backbone: Annotated[str, Input(("network",))]
    splits: Annotated[tuple[str, ...], COVERAGE] = ("train", "val")
    scales: Annotated[tuple[ScaleField, ...], COVERAGE, Field(min_length=1)] = (688,)
    flips: Annotated[bool, COVERAGE] = False
    dtype: MapType = "float16"
    keep: Annotated[Literal["parquet", "never", "auto"], RUNTIME] = "parquet"
    kept: Annotated[KeptMaps | None, RUNTIME] = None

    def supplies(self, step: str) -> bool:
        """Tell whether a step reads stored maps."""
        if self.keep == "auto":
            return self.kept is None or step not in self.kept.makers
        return self.keep == "parquet"

    @property
    def stored(self) -> tuple[str, ...]:
        """The splits whose maps are stored."""
        if self.keep == "auto":
            return self.splits if self.kept is None else self.kept.splits
        return self.splits if self.keep == "parquet" else ()


class Extract(PerShardStage[ExtractConfig]):
    """Writes one Parquet file per scale and shard, one row a map."""

    name: ClassVar[str] = "extract"
    makes: ClassVar[str] = "maps"
    schema: ClassVar[int] = 2
    config_type: ClassVar[type[StageConfig]] = ExtractConfig

    @classmethod
    def check(cls, config: ExtractConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that the splits are ingested."""
        require_ingested(config.splits, inputs)

    @cached_property
    def _maker(self) -> MapMaker:
        config = self.config
        backbone = read_backbone(self.input("backbone")).to(choose_device(config.device, self.spec.step))
        return MapMaker(backbone, config.precision, config.dtype)

    def prepare(self) -> None:
        """Check that each scale gives a map, and record the backbone's identity beside the maps."""
        spec = self._recorded().spec
        for scale in self.config.scales:
            map_size(spec, Size.square(scale))

    def _recorded(self) -> BackboneInfo:
        """Return the backbone's identity as it is recorded; only a first run builds the backbone for it."""
        try:
            return BackboneInfo.read(self.artifact)
        except ArtifactError:
            config = self.config
            maps = MapsInfo(self.input("backbone").name, config.precision, config.dtype, config.max_pixels)
            info = BackboneInfo.of(read_backbone(self.input("backbone")), maps=maps)
            info.write(self.artifact)
            return info

    def phases(self) -> list[Phase]:
        """Return one phase of what is stored; a unit is a shard at a scale, mirrored or not, largest scales first."""
        shards = self.shards(self.config.stored)
        scales = sorted(set(self.config.scales), reverse=True)
        ways = (False, True) if self.config.flips else (False,)
        units = tuple(map_unit(scale, unit, flipped=way) for scale in scales for way in ways for unit in shards)
        costs = tuple(float(scale * scale) for scale in scales for _ in ways for _ in shards)
        return [Phase("extract", units, self.config.resources(self._memory_bytes()), costs=costs)]

    def _memory_bytes(self) -> int:
        """Return the memory that a unit on a CPU takes for photographs; 0 before the backbone is known."""
        try:
            spec = BackboneInfo.read(self.artifact).spec
        except ArtifactError:
            return 0
        config = self.config
        element = 2 if config.precision == "bfloat16" else 4
        largest = max(config.scales)
        # Maps wait to be encoded at every scale, and encoded ones for the shard's end: a third of their bytes at most.
        kept = sum(map_cost(spec, _PHOTOGRAPH, scale).bytes for scale in config.scales) * (1 + config.flips)
        shard = max((len(self.manifest.keys(unit)) for unit in self.shards(config.stored)), default=0)
        decoded = (config.ahead + 1) * 3 * math.prod(_PHOTOGRAPH)
        waiting = (_WAITING + 1) * kept + shard * kept // 3
        return convolving_bytes(spec, _PHOTOGRAPH, largest, element) + decoded + waiting

    def bundle(self, unit: str) -> str:
        """Return the shard: its images are decoded once for all scales."""
        return parse_map_unit(unit)[1]

    def run(self, unit: str) -> Output:
        """Convolve a shard's images at one scale."""
        return self.run_together((unit,))[unit]

    def run_together(self, units: Sequence[str]) -> dict[str, Output]:
        """Convolve a shard's images, decoded once, at several scales, mirrored or not."""
        shard = parse_map_unit(units[0])[1]
        records, earlier = read_images(self.input("images"), shard)
        aside = {entry.key for entry in earlier}
        with ExitStack() as threads:
            makers = [_UnitMaker(unit, self.work(shard, earlier)) for unit in units]
            for maker in makers:
                threads.enter_context(maker.encoder)
            wanted = (record for record in records if record.key not in aside)
            decoded = prepared_ahead(wanted, decode_record, self.config.ahead + self._maker.batch)
            waited = convolved = 0.0
            for members in in_batches(decoded, self._maker.batch):
                start = time.perf_counter()
                with busy("decode_wait"):
                    wait([image for _, image in members])
                waited += time.perf_counter() - start
                convolved += self._convolve(members, makers)
            pixels = sum(maker.pixels for maker in makers)
            return {maker.unit: maker.output(maker.pixels / (pixels or 1), convolved, waited) for maker in makers}

    def _convolve(self, members: Sequence[tuple[ImageRecord, Future[Pixels]]], makers: Sequence[_UnitMaker]) -> float:
        """Convolve some images at every scale that is wanted, hand them on, and tell the seconds of the first."""
        seconds = 0.0
        for flipped in (False, True):
            own = [maker for maker in makers if maker.flipped == flipped]
            if not own:
                continue
            start = time.perf_counter()
            scales = [maker.scale for maker in own]
            made = convolve_batch(self._maker, members, scales, self.config.max_pixels, flipped=flipped)
            seconds += time.perf_counter() - start
            for maker in own:
                for (record, _), maps in zip(members, made, strict=True):
                    maker.add(record, maps[maker.scale])
        return seconds


class _UnitMaker:
    """A shard's maps at one scale in the making: each is encoded, on a thread, while the next is convolved."""

    def __init__(self, unit: str, work: ShardWork) -> None:
        self.unit = unit
        self.scale, _, self.flipped = parse_map_unit(unit)
        self.encoder = Behind(encode_maps, waiting=_WAITING, name="encode-maps")
        self.pixels = 0
        self._encoder_seconds = 0.0
        self._work = work
        self._raw_bytes = 0

    def add(self, record: ImageRecord, values: torch.Tensor | DataError) -> None:
        """Hand an image's map to the encoder, or set the image aside."""
        for row in self._work.each([record], lambda record: self._row(record, values)):
            self.pixels += math.prod(resized_size(record.size, self.scale))
            self._raw_bytes += row.map.nbytes
            put = time.perf_counter()
            self.encoder.put(row)
            self._encoder_seconds += time.perf_counter() - put

    def _row(self, record: ImageRecord, values: torch.Tensor | DataError) -> MapRow:
        if isinstance(values, DataError):
            raise values
        return MapRow(record.key, self.scale, record.size, values.cpu().numpy())

    def output(self, share: float, convolved: float, waited: float) -> Output:
        """Return what was made.

        Its figures say how many seconds it convolved (resizing included) and waited for decoded images, by its share
        of all units that were made together, and those in which it waited for the encoder.

        Args:
            share: Of the pixels that were convolved.
            convolved: Seconds of all units.
            waited: Seconds of all units.
        """
        start = time.perf_counter()
        data, work = self.encoder.result(), self._work
        encoder = self._encoder_seconds + time.perf_counter() - start
        figures = {
            "images": work.done,
            "raw_bytes": self._raw_bytes,
            "convolve_seconds": round(convolved * share, 3),
            "decode_wait_seconds": round(waited * share, 3),
            "encode_wait_seconds": round(encoder, 3),
        }
        return replace(work.output(data, ".parquet", work.done, figures), share=share)
