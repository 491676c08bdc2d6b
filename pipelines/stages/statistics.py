"""statistics: the per-pixel mean image and the colours' principal components of a split (sections 3.1 and 4.4).

A unit a shard sums pixels in whole numbers, one more unit joins the sums: the result is the same to the last bit for
any number of workers and any order of shards.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipelines.artifacts.statistics import SUFFIX, UNIT, decode_sums, encode_statistics, encode_sums
from pipelines.engine.commits import Output
from pipelines.engine.machine import CpuFields
from pipelines.engine.phases import Phase
from pipelines.engine.stage import Input, StageConfig
from pipelines.shards.convolving import decode_for_scale
from pipelines.shards.reading import read_images
from pipelines.shards.stage import ShardStage
from sppnet.errors import ConfigError
from sppnet.images.statistics import PixelSums

_SUMS = "sums/"


class StatisticsConfig(CpuFields):
    """Config of `statistics`; defaults are the paper's.

    Attributes:
        images: The step that ingests.
        split: Split whose images are summed.
        short_side: What an image's short side is resized to; the covariance is of all pixels then.
            [pixels; section 3.1]
        size: Side of the centre crop that the mean image is of. [pixels; appendix A]
        max_pixels: An image with more pixels at that short side is set aside: a long, thin one grows far beyond its own
            size. [pixels]
    """

    stage: Literal["statistics"]
    images: Annotated[str, Input(("images",))]
    split: str = "train"
    short_side: Annotated[int, Field(ge=16)] = 256
    size: Annotated[int, Field(ge=16)] = 224
    max_pixels: Annotated[int, Field(ge=1)] = 64_000_000


class Statistics(ShardStage[StatisticsConfig]):
    """Writes the sums of every shard, then one safetensors file with the statistics of the split."""

    name: ClassVar[str] = "statistics"
    makes: ClassVar[str] = "statistics"
    config_type: ClassVar[type[StageConfig]] = StatisticsConfig
    annotated: ClassVar[bool] = False

    @classmethod
    def whole_splits(cls, config: StatisticsConfig) -> tuple[str, ...]:
        """Return the split: all of it is taken together."""
        return (config.split,)

    @classmethod
    def check(cls, config: StatisticsConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that every resized image holds the crop."""
        if config.size > config.short_side:
            raise ConfigError(f"size: {config.size} is larger than short_side {config.short_side}")

    def phases(self) -> list[Phase]:
        """Return the sums, a unit a shard, then their join."""
        resources = self.config.resources()
        shards = tuple(_SUMS + unit for unit in self.manifest.units(self.config.split))
        return [Phase("sums", shards, resources), Phase("join", (UNIT,), resources, keyed=False)]

    def run(self, unit: str) -> Output:
        """Sum a shard's images, or join all sums."""
        return self._join() if unit == UNIT else self._sum(unit.removeprefix(_SUMS))

    def _sum(self, shard: str) -> Output:
        records, earlier = read_images(self.input("images"), shard)
        work = self.work(shard, earlier)
        sums = PixelSums(self.config.short_side, self.config.size)
        decode = partial(decode_for_scale, scale=self.config.short_side, max_pixels=self.config.max_pixels)
        for _ in work.each(records, lambda record: sums.add(decode(record))):
            continue
        return work.output(encode_sums(sums), SUFFIX, 3, {"images": sums.images})

    def _join(self) -> Output:
        whole = PixelSums(self.config.short_side, self.config.size)
        units = self.phases()[0].units
        whole.merge(decode_sums(self.artifact.read(unit), f"{self.artifact.name}/{unit}") for unit in units)
        try:
            found = whole.statistics()
        except ConfigError as error:
            raise ConfigError(f"step {self.spec.step}: split '{self.config.split}': {error}") from error
        return Output(encode_statistics(found), SUFFIX, rows=4, done=0)
