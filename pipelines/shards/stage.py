"""What every stage that works on ingested images shares: their manifest, its shards, and what its inputs must be of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from pipelines.artifacts.manifest import Manifest
from pipelines.engine.commits import Quarantined
from pipelines.engine.stage import Stage, StageConfig, require_subset
from pipelines.shards.keys import ShardWork
from pipelines.shards.reading import IngestedImages, splits_units
from sppnet.errors import ArtifactError, ConfigError

C = TypeVar("C", bound=StageConfig)
Inputs = Mapping[str, tuple[StageConfig, ...]]
"""Configs of a stage's input steps, by the field that names them."""


class ShardStage(Stage[C]):
    """A stage whose input field `images` names the step that ingests."""

    @cached_property
    def manifest(self) -> Manifest:
        """The images' manifest."""
        return self.images.manifest

    @cached_property
    def images(self) -> IngestedImages:
        """The images with their manifest."""
        return IngestedImages.of(self.workspace, self.spec)

    def title(self, unit: str) -> str:
        """Return a unit's name with its shard by split and number instead of by digest."""
        head, slash, shard = unit.rpartition("/")
        try:
            return f"{head}{slash}{self.manifest.title(shard)}"
        except ArtifactError:  # not a shard's unit
            return unit

    def shards(self, splits: Iterable[str]) -> tuple[str, ...]:
        """Return all shards of several splits, in order, each once; raise `ConfigError` for an unknown split."""
        return splits_units(self.manifest, splits)

    def work(self, shard: str, earlier: Iterable[Quarantined] = ()) -> ShardWork:
        """Open the account of a shard's keys.

        Args:
            shard: Name of the shard.
            earlier: Keys that earlier stages set aside.
        """
        return ShardWork(self.name, shard, self.manifest.keys(shard), earlier)


class PerShardStage(ShardStage[C]):
    """A stage whose units are shards, alone or at a scale: one is made as soon as what it reads of its shard is there.

    What is made of a shard by other steps is named in `streamed` and `reads` of the subclass.
    """

    streamed: ClassVar[frozenset[str]] = frozenset({"images"})

    def reads(self, unit: str) -> Iterable[tuple[str, str]]:
        """Return the shard's images."""
        return [(self.images.artifact.name, shard_of(unit))]


def shard_of(unit: str) -> str:
    """Return the shard that a unit named `<shard>` or `<something>/<shard>` is of."""
    return unit.rpartition("/")[2]


def require_ingested(splits: tuple[str, ...], inputs: Inputs) -> None:
    """Raise `ConfigError` naming the first split that the step behind `images` does not ingest."""
    images: Any = inputs["images"][0]
    require_subset(splits, images.dataset.open().splits, "splits", "split")


def require_same_images(config: StageConfig, inputs: Inputs, *fields: str) -> None:
    """Raise `ConfigError` where a step is made from other images than the config's own.

    Args:
        config: Of the stage; its field `images` names the step that ingests.
        inputs: Configs of its input steps.
        fields: Those that name steps which are made from images too.
    """
    references = config.references()
    (images,) = references["images"]
    for field in fields:
        for step, made in zip(references[field], inputs[field], strict=True):
            (others,) = made.references()["images"]
            if others != images:
                raise ConfigError(
                    f"{field}: '{step}' is made from the images of step '{others}', not from those of '{images}'"
                )
