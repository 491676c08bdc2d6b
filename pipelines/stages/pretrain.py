"""pretrain: the whole network on crops of images, to tell subcategories apart (sections 2.3, 3.1 and 4.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import ClassVar

from pipelines.artifacts.statistics import read_statistics
from pipelines.engine.commits import Output
from pipelines.engine.phases import Phase
from pipelines.engine.stage import StageConfig
from pipelines.pretraining.config import PretrainConfig
from pipelines.pretraining.examples import CropExample, decode_index, encode_index, examples_of
from pipelines.pretraining.task import PretrainTask, PretrainTaskInputs
from pipelines.training.loop import TrainingStage
from pipelines.training.task import Task
from pipelines.training.workers import Worker
from sppnet.errors import ConfigError
from sppnet.images.statistics import PixelStatistics
from sppnet.networks.backbones import build_backbone

_INDEX = "index/"
_READERS = 16


class Pretrain(TrainingStage[PretrainConfig]):
    """Lists every shard's examples, then trains one network and publishes it as safetensors."""

    name: ClassVar[str] = "pretrain"
    makes: ClassVar[str] = "network"
    seeded: ClassVar[bool] = True
    config_type: ClassVar[type[StageConfig]] = PretrainConfig

    @classmethod
    def whole_splits(cls, config: PretrainConfig) -> tuple[str, ...]:
        """Return the split: all of it is taken together."""
        return (config.split,)

    @classmethod
    def check(cls, config: PretrainConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that the network exists, its levels and crops fit, and every worker has a part of a batch."""
        config.check_sizes()
        config.check_held_out(config.holdout)
        config.pyramid(build_backbone(config.spec()))
        if not 0 < config.context[0] <= config.context[1]:
            raise ConfigError(f"context: {list(config.context)} is no range")
        if config.mean == "per-pixel" and config.statistics is None:
            raise ConfigError("mean: per-pixel needs `statistics`, a step that makes them")
        if config.workers > config.batch:
            raise ConfigError(f"workers: {config.workers} can't share a batch of {config.batch}")

    def phases(self) -> list[Phase]:
        """Return the index, a unit a shard, then the training."""
        units = tuple(_INDEX + unit for unit in self.manifest.units(self.config.split))
        return [Phase("index", units, keyed=False), self.training_phase()]

    def run(self, unit: str) -> Output:
        """List a shard's examples, or train in this process."""
        if not unit.startswith(_INDEX):
            return super().run(unit)
        return self._index(unit.removeprefix(_INDEX))

    def _index(self, shard: str) -> Output:
        config, cutter = self.config, self.config.cutter()
        examples, skipped = [], 0
        for key, annotation in self.images.read_annotations(shard)[0].items():
            for label, box in examples_of(annotation, config.view, difficult=config.difficult, classes=config.classes):
                if config.subcategories is not None and label not in config.subcategories:
                    continue
                if config.fallback == "skip" and not cutter.reaches(annotation.size, box):
                    skipped += 1
                    continue
                examples.append(CropExample(shard, key, label, box))
        metrics = {"examples": len(examples)} | ({"skipped": skipped} if config.fallback == "skip" else {})
        return Output(encode_index(shard, examples), ".json", len(examples), 0, metrics=metrics)

    @cached_property
    def examples(self) -> list[CropExample]:
        """All examples of the split, held-out ones too, in the order of its shards."""
        units = self.phases()[0].units
        with ThreadPoolExecutor(_READERS) as pool:
            bodies = pool.map(self.artifact.read, units)
            return [
                example
                for unit, body in zip(units, bodies, strict=True)
                for example in decode_index(body, f"{self.artifact.name}/{unit}")
            ]

    def classes(self) -> tuple[str, ...]:
        """Return the classes, in the order of the network's outputs.

        Raises:
            ConfigError: A class without an example to train on, or fewer than two classes.
        """
        counts = Counter(example.label for example in self.examples if not self.config.held_out(example.key))
        found = self.config.subcategories or tuple(sorted({example.label for example in self.examples}))
        for label in found:
            if not counts[label]:
                raise ConfigError(
                    f"step {self.spec.step}: subcategory '{label}' has no example to train on in split "
                    f"'{self.config.split}'; the split has {', '.join(sorted(counts)) or 'none'}"
                )
        if len(set(found)) < 2 or len(set(found)) != len(found):
            raise ConfigError(f"step {self.spec.step}: needs at least two distinct subcategories, got {list(found)}")
        return found

    @cached_property
    def statistics(self) -> PixelStatistics | None:
        """The data set's statistics, if a step makes them."""
        artifact = self.optional_input("statistics")
        return read_statistics(artifact) if artifact else None

    def task_inputs(self) -> PretrainTaskInputs:
        """Return what the training starts from."""
        return PretrainTaskInputs(
            config=self.config,
            images=self.input("images"),
            examples=self.examples,
            labels=self.classes(),
            statistics=self.statistics,
            seed=self.seed,
        )

    def task(self, worker: Worker) -> Task:
        """Build the network and its batches for a worker."""
        return PretrainTask(self.task_inputs(), worker)
