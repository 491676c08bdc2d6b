"""statistics: the per-pixel mean image and the colours' principal components of a split (sections 3.1 and 4.4).

A unit a shard sums pixels in whole numbers, one more unit joins the sums: the result is the same to the last bit for
any number of workers and any order of shards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from pipelines.engine.fingerprint import canonical_json
from pipelines.engine.machine import CpuFields
from pipelines.engine.stage import Input, Phase, StageConfig
from pipelines.engine.workspace import Artifact, Output
from pipelines.shards.convolving import decode_for_scale
from pipelines.shards.reading import read_images
from pipelines.shards.stage import ShardStage
from sppnet.errors import ArtifactError, ConfigError
from sppnet.images.statistics import PixelStatistics, PixelSums
from sppnet.networks.weights import read_metadata, read_safetensors, write_safetensors

UNIT = "statistics"
"""The unit that joins all shards' sums."""
SUFFIX = ".safetensors"
_SUMS = "sums/"


class StatisticsConfig(CpuFields):
    """Config of `statistics`; defaults are the paper's.

    Attributes:
        images: The step that ingests.
        split: Split whose images are summed.
        short_side: What an image's short side is resized to, in pixels; the covariance is of all pixels then.
        size: Side of the centre crop that the mean image is of, in pixels.
        max_pixels: An image with more pixels at that short side is set aside: a long, thin one grows far beyond its
            own size.
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
        """A crop that every resized image holds."""
        if config.size > config.short_side:
            raise ConfigError(f"size: {config.size} is larger than short_side {config.short_side}")

    def phases(self) -> list[Phase]:
        """The sums, a unit a shard, then their join."""
        resources = self.config.resources()
        shards = tuple(_SUMS + unit for unit in self.manifest.units(self.config.split))
        return [Phase("sums", shards, resources), Phase("join", (UNIT,), resources, keyed=False)]

    def run(self, unit: str) -> Output:
        """Sums a shard's images, or joins all sums."""
        return self._join() if unit == UNIT else self._sum(unit.removeprefix(_SUMS))

    def _sum(self, shard: str) -> Output:
        records, earlier = read_images(self.input("images"), shard)
        work = self.work(shard, earlier)
        sums = PixelSums(self.config.short_side, self.config.size)
        decode = partial(decode_for_scale, scale=self.config.short_side, max_pixels=self.config.max_pixels)
        for _ in work.each(records, lambda record: sums.add(decode(record))):
            continue
        return work.output(_encode_sums(sums), SUFFIX, 3, {"images": sums.images})

    def _join(self) -> Output:
        whole = PixelSums(self.config.short_side, self.config.size)
        units = self.phases()[0].units
        whole.merge(_decode_sums(self.artifact.read(unit), f"{self.artifact.name}/{unit}") for unit in units)
        try:
            found = whole.statistics()
        except ConfigError as error:
            raise ConfigError(f"step {self.spec.step}: split '{self.config.split}': {error}") from error
        return Output(encode_statistics(found), SUFFIX, rows=4, done=0)


def encode_statistics(found: PixelStatistics) -> bytes:
    """Encodes statistics as safetensors: mean image, covariance, its eigenvalues and eigenvectors, and the counts."""
    colours = found.colours()
    tensors = {
        "mean_image": torch.from_numpy(found.mean_image),
        "covariance": torch.from_numpy(found.covariance),
        "eigenvalues": torch.tensor(colours.eigenvalues, dtype=torch.float64),
        "eigenvectors": torch.tensor(colours.eigenvectors, dtype=torch.float64),
    }
    return write_safetensors(tensors, {"counts": canonical_json({"images": found.images, "pixels": found.pixels})})


def read_statistics(artifact: Artifact) -> PixelStatistics:
    """Reads a `statistics` artifact; raises `ArtifactError` if it is missing, damaged or something else."""
    data, where = artifact.read(UNIT), f"{artifact.name}/{UNIT}"
    try:
        tensors, counts = read_safetensors(data, where), json.loads(read_metadata(data, where)["counts"])
        mean, covariance = tensors["mean_image"].numpy(), tensors["covariance"].numpy()
        return PixelStatistics(mean, covariance, counts["images"], counts["pixels"])
    except (ConfigError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{where}: not a data set's statistics ({error})") from error


def _encode_sums(sums: PixelSums) -> bytes:
    tensors = {name: torch.from_numpy(getattr(sums, name)) for name in ("centre", "first", "second")}
    counts = {name: getattr(sums, name) for name in ("short_side", "size", "images", "pixels")}
    return write_safetensors(tensors, {"counts": canonical_json(counts)})


def _decode_sums(data: bytes, where: str) -> PixelSums:
    try:
        counts = json.loads(read_metadata(data, where)["counts"])
        tensors = read_safetensors(data, where)
        sums = PixelSums(counts["short_side"], counts["size"])
        sums.images, sums.pixels = counts["images"], counts["pixels"]
        sums.centre, sums.first, sums.second = (tensors[name].numpy() for name in ("centre", "first", "second"))
    except (ConfigError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{where}: not sums of pixels ({error})") from error
    return sums
