"""train-svms: one linear SVM a category, with rounds of hard negatives, from cached maps.

Phases: `gather` (a shard's ground-truth windows and random negatives), `solve-0` (a category), then for each round
`mine-r` (a shard: windows that the last round's SVMs take for an object) and `solve-r`. Every unit has a commit, so a
run resumes between and inside rounds, and nothing depends on how many workers there are or on the order of shards.

Splits whose annotations are not exhaustive, as ILSVRC DET's train (section 4.5), may give positives alone: of their
shards the objects are gathered, and nothing of them is a negative in any way.

No actors hold shards: a unit is a stateless task, and what is worth keeping (the head, a round's SVMs) is cached in
the process that runs it, so a lost node loses only the units at hand. Maps are read from storage once a phase, which
actors would save only where the memory of the cluster holds all maps.

Equal to the last bit for any number of workers: pool5 features, all drawing and choosing, and the solver. fc6 and fc7,
scores and the Gram matrices of box regression are sums by BLAS, whose order, and with it the last bits, may change
with its number of threads and the kind of processor; workers that differ in neither give equal bits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np

from pipelines.artifacts.detectors import FeatureInfo, backbone_digest, read_svms
from pipelines.artifacts.networks import read_head_levels
from pipelines.detecting.category_objects import no_object_error
from pipelines.detecting.gathering import ExampleGroups, Gatherer
from pipelines.detecting.mining import HardExamples, Miner
from pipelines.detecting.negatives import RandomNegatives
from pipelines.detecting.set_limits import mine_bytes, solve_bytes
from pipelines.detecting.svm_config import TrainSvmsConfig
from pipelines.detecting.training_sets import SetBuilder
from pipelines.detecting.window_stage import WindowTrainingStage
from pipelines.engine.commits import Output
from pipelines.engine.phases import Phase
from pipelines.engine.records import read_beside, write_once
from pipelines.engine.stage import StageConfig
from pipelines.engine.workspace import Artifact
from sppnet.detection.feature_scale import feature_scale
from sppnet.detection.mining import sampled_fraction
from sppnet.detection.svm import LinearSvms
from sppnet.detection.svm_training import train_svm
from sppnet.errors import ArtifactError, ConfigError, DataError
from sppnet.networks.weights import write_safetensors
from sppnet.seeds import derive_seed

logger = logging.getLogger(__name__)

_MEMORY = "memory.json"
_ROUNDS_KEPT = 2  # of SVMs in memory: stragglers of one round may still run while the next one starts


class TrainSvms(WindowTrainingStage[TrainSvmsConfig]):
    """Writes the examples of every shard and round, and one safetensors file a category and round."""

    name: ClassVar[str] = "train-svms"
    makes: ClassVar[str] = "svms"
    schema: ClassVar[int] = 4
    config_type: ClassVar[type[StageConfig]] = TrainSvmsConfig

    @classmethod
    def check(cls, config: TrainSvmsConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that features have the head that they need, splits one role, and thresholds an order."""
        if (config.features == "pool5") == bool(config.head):
            raise ConfigError(f"head: features {config.features} {'take no' if config.head else 'need a'} head")
        if config.evict_threshold is not None and config.evict_threshold > config.hard_threshold:
            raise ConfigError(
                f"evict_threshold: {config.evict_threshold} is above hard_threshold {config.hard_threshold}: "
                "what is mined would leave at once"
            )
        for number, split in enumerate(config.positive_splits):
            if split in (config.split, *config.positive_splits[:number]):
                raise ConfigError(f"positive_splits: '{split}' comes twice: each split has one role")
        super().check(config, inputs)

    def prepare(self) -> None:
        """Check the categories and the head, record what the SVMs are trained on, and tell what memory it takes."""
        super().prepare()
        head = self.optional_input("head")
        if head is not None and _trained_on(head, self) != self._info.backbone:
            raise ConfigError(
                f"step {self.spec.step}: the maps are of another backbone than those that head {head.name} was tuned on"
            )
        if not self._memory():
            self._record_memory()

    def _record_memory(self) -> None:
        """Keep beside the SVMs what memory the units take by the config's bounds, and log it."""
        config, shards, dimension = self.config, self._shards, self._features.dimension
        per_image = config.hard_per_image
        rows = config.limits().rows(
            shards.images_count,
            config.random_negatives,
            None if per_image is None else config.rounds * per_image,
            shards.positive_images_count,
        )
        mined = shards.negative_units
        limit = config.shard_limit(len(mined))
        if per_image is not None:
            limit = min(limit, per_image * max((len(shards.manifest.keys(unit)) for unit in mined), default=0))
        memory = {
            "solve_bytes": solve_bytes(rows, dimension, config.rows),
            "mine_bytes": mine_bytes(len(config.categories), limit, dimension, config.rows),
        }
        logger.info("step=%s peak memory of a unit, inputs apart: %s", self.spec.step, memory)
        write_once(self.artifact, _MEMORY, memory)

    def _memory(self) -> dict[str, int]:
        """Return what `_record_memory` recorded; empty before."""
        try:
            return read_beside(dict[str, int], self.artifact, _MEMORY)
        except ArtifactError:
            return {}

    def _solved(self, number: int) -> tuple[str, ...]:
        """Return the units that solve a round."""
        return tuple(f"solve-{number}/{category}" for category in self.config.categories)

    @cached_property
    def _info(self) -> FeatureInfo:
        head = self.optional_input("head")
        return FeatureInfo(
            categories=self.config.categories,
            layer=self.config.features,
            scales=self.config.scales,
            convention=self.config.convention,
            levels=read_head_levels(head) if head else self.config.levels,
            head=head.name if head else None,
            precision=self.config.precision,
            rank=self.config.rank,
            backbone=backbone_digest(self.input("maps")),
            units=self._solved(self.config.rounds),
        )

    def phases(self) -> list[Phase]:
        """Gather, solve, and for each round mine and solve."""
        mined = self._shards.negative_units
        solves = self._solving(self._memory().get("solve_bytes", 0))
        phases = [Phase("gather", tuple(f"gather/{shard}" for shard in self._shards.units), self._pooling())]
        for number in range(self.config.rounds + 1):
            if number:
                phases.append(Phase(f"mine-{number}", tuple(f"mine-{number}/{s}" for s in mined), self._pooling()))
            phases.append(Phase(f"solve-{number}", self._solved(number), solves, keyed=False))
        return phases

    def run(self, unit: str) -> Output:
        """Run a unit of any phase."""
        phase, _, rest = unit.partition("/")
        kind, _, number = phase.partition("-")
        if kind == "gather":
            return self._gather(rest)
        return self._mine(int(number), rest) if kind == "mine" else self._solve(int(number), rest)

    # --- gather -------------------------------------------------------------------------------------------------

    def _gather(self, shard: str) -> Output:
        config, found = self.config, ExampleGroups()
        negatives = self._random_negatives if self._shards.gives_negatives(shard) else None
        gatherer = Gatherer(config.categories, config.difficult, self._features, negatives, config.rows)
        return self._shards.run(shard, lambda image: gatherer.gather(image, found), found.joined)

    @cached_property
    def _random_negatives(self) -> RandomNegatives:
        config = self.config
        most = config.random_negatives * self._shards.images_count
        fraction = sampled_fraction(config.max_random_negatives, most)
        return RandomNegatives(config.rule(), config.random_negatives, fraction, self.seed, self.name)

    # --- mine ---------------------------------------------------------------------------------------------------

    def _mine(self, number: int, shard: str) -> Output:
        limit = self.config.shard_limit(len(self._shards.negative_units))
        miner, found = self._miners(number), HardExamples(self.config.categories, limit)
        return self._shards.run(shard, lambda image: miner.mine(image, found), found.joined)

    @cached_property
    def _miners(self) -> Callable[[int], Miner]:
        """A round's miner, its SVMs read once a process however many shards follow."""

        def read(number: int) -> Miner:
            svms = read_svms(self.artifact, self._solved(number - 1))
            return Miner(self.config.rule(), self._features, svms, self.config.rows)

        return lru_cache(maxsize=_ROUNDS_KEPT)(read)

    # --- solve --------------------------------------------------------------------------------------------------

    def _solve(self, number: int, category: str) -> Output:
        config = self.config
        last = read_svms(self.artifact, (f"solve-{number - 1}/{category}",)) if number else None
        builder = SetBuilder(
            self._shards,
            self.artifact,
            config.categories,
            config.limits(),
            config.negative_iou,
            config.strict,
            self.seed,
        )
        examples = builder.build(category, number, last, config.evict_threshold)
        if not examples.positives:
            raise no_object_error(self.spec.step, {category: False}, self._shards.splits)
        try:
            scale = feature_scale([self._shards.mean_norm(self.artifact)], config.mean_norm)
            np.multiply(examples.features, np.float32(scale), out=examples.features)
            weights, bias = train_svm(
                examples.features,
                examples.labels,
                C=config.c,
                positive_weight=config.positive_weight,
                bias_scale=config.bias_scale,
                seed=derive_seed(self.seed, self.name, category, number) % 2**31,
                solver=config.solver,
            )
        except DataError as error:
            raise ConfigError(f"step {self.spec.step}: SVM of '{category}': {error}") from error
        svms = LinearSvms.of({category: (weights, bias)}, scale, config.features)
        found = int((examples.features[: examples.positives] @ weights + bias > 0).sum())
        if not found:  # the optimum all the same: thousands of hard negatives outweigh few or weak positives
            logger.warning(
                "step=%s category=%s the SVM of round %d scores none of its %d positives above 0; "
                "raise positive_weight or c, or lower hard_per_image",
                self.spec.step,
                category,
                number,
                examples.positives,
            )
        figures = {
            "positives": examples.positives,
            "positives_found": found,
            "negatives": len(examples.labels) - examples.positives,
        }
        return Output(write_safetensors(*svms.to_tensors()), ".safetensors", 1, 0, metrics=figures)


def _trained_on(head: Artifact, stage: TrainSvms) -> str:
    """Return the backbone whose maps a head was fine-tuned on; a network's head is of its own."""
    if head.kind == "network":
        return head.name
    return backbone_digest(stage.workspace.artifact(head.inputs("maps")[0]))
