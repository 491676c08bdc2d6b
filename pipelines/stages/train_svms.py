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

import json
import logging
import math
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from pipelines.artifacts.detectors import FeatureInfo, backbone_digest, read_svms
from pipelines.artifacts.networks import read_head_levels
from pipelines.detecting.gathering import ExampleGroups
from pipelines.detecting.mining import Gatherer, HardExamples, Miner, NegativeRule, RandomNegatives
from pipelines.detecting.training_sets import SetBuilder, SetLimits, mine_bytes, solve_bytes
from pipelines.detecting.window_stage import WindowTrainingConfig, WindowTrainingStage
from pipelines.engine.fingerprint import canonical_json
from pipelines.engine.stage import Input, Phase, StageConfig
from pipelines.engine.workspace import Artifact, Output
from sppnet.detection.feature_scale import feature_scale
from sppnet.detection.mining import Dedupe, sampled_fraction
from sppnet.detection.svm import LinearSvms
from sppnet.detection.svm_training import Solver, train_svm
from sppnet.errors import ArtifactError, ConfigError, DataError
from sppnet.networks.network import Layer, Precision
from sppnet.networks.weights import write_safetensors
from sppnet.seeds import derive_seed

logger = logging.getLogger(__name__)

_MEMORY = "memory.json"
_ROUNDS_KEPT = 2  # of SVMs in memory: stragglers of one round may still run while the next one starts
Count = Annotated[int, Field(ge=1)]


class TrainSvmsConfig(WindowTrainingConfig):
    """Config of `train-svms`; defaults are the paper's, where it names none the release's.

    Attributes:
        positive_splits: Splits whose objects are positives, and no more: none of their windows and objects is a
            negative, since what their annotations leave out may be an object too.
        head: The step that fine-tunes, or pre-trains where fc6 and fc7 are wanted as they are; not for pool5.
        features: `pool5`, `fc6` or `fc7`.
        precision: Type in which fc6 and fc7 compute, here and when windows are scored.
        solver: `dual-cd`, our dual coordinate descent, or `liblinear`, scikit-learn's, in twice the memory.
        c: Cost of a negative within the margin.
        positive_weight: Factor on the cost of positives.
        bias_scale: Value of the constant feature whose weight is the bias.
        negative_iou: A window that overlaps an object of the category more is no negative.
        strict: Whether a negative must overlap by less than `negative_iou`, as in the authors' release.
        dedupe: Negatives of an image that are left out: of two that overlap by more than `dedupe_iou` the later
            random or the lower-scored hard one (`overlap`), those with an earlier one's cells and scale
            (`response-box`, the release's rule), or `none`.
        dedupe_iou: See `dedupe`.
        random_negatives: Random negatives an image that start the training.
        rounds: Rounds of hard negatives.
        hard_threshold: Negatives that score more are hard.
        hard_per_image: At most so many hard negatives an image, category and round; null takes all.
        evict_threshold: Cached negatives that score less are left out after each round; null keeps them.
        max_positives: At most so many positives a category, drawn by the hash of their names; null takes all.
        max_random_negatives: At most so many random negatives a category, drawn likewise.
        max_object_negatives: At most so many objects of other categories as negatives, drawn likewise.
        max_hard_negatives: At most so many mined negatives a category: the latest round's first, then the hardest.
        hard_share: A shard gives a category at most this many times its share of `max_hard_negatives`, the hardest,
            which bounds what a mined shard takes in memory and storage.
    """

    stage: Literal["train-svms"]
    positive_splits: tuple[str, ...] = ()
    head: Annotated[str | None, Input(("head", "network"))] = None
    features: Layer = "pool5"
    precision: Precision = "float32"
    solver: Solver = "dual-cd"
    c: Annotated[float, Field(gt=0)] = 0.001
    positive_weight: Annotated[float, Field(gt=0)] = 2.0
    bias_scale: Annotated[float, Field(gt=0)] = 10.0
    negative_iou: Annotated[float, Field(ge=0, le=1)] = 0.3
    strict: bool = False
    dedupe: Dedupe = "overlap"
    dedupe_iou: Annotated[float, Field(gt=0, le=1)] = 0.7
    random_negatives: Count = 20
    rounds: Annotated[int, Field(ge=0, le=9)] = 1
    hard_threshold: float = -1.0
    hard_per_image: Count | None = 30
    evict_threshold: float | None = -1.2
    max_positives: Count | None = None
    max_random_negatives: Count = 30_000
    max_object_negatives: Annotated[int, Field(ge=0)] = 20_000
    max_hard_negatives: Count = 50_000
    hard_share: Annotated[float, Field(ge=1)] = 4.0

    def positives_only(self) -> tuple[str, ...]:
        """`positive_splits`."""
        return self.positive_splits

    def limits(self) -> SetLimits:
        """The bounds on a category's training set."""
        return SetLimits(
            self.max_positives, self.max_random_negatives, self.max_object_negatives, self.max_hard_negatives
        )

    def rule(self) -> NegativeRule:
        """Which windows are negatives."""
        return NegativeRule(
            max_iou=self.negative_iou,
            strict=self.strict,
            dedupe=self.dedupe,
            dedupe_iou=self.dedupe_iou,
            threshold=self.hard_threshold,
            per_image=self.hard_per_image,
        )

    def shard_limit(self, shards: int) -> int:
        """Hard negatives that one of so many shards gives a category at most."""
        return math.ceil(self.hard_share * self.max_hard_negatives / max(1, shards))


class TrainSvms(WindowTrainingStage[TrainSvmsConfig]):
    """Writes the examples of every shard and round, and one safetensors file a category and round."""

    name: ClassVar[str] = "train-svms"
    makes: ClassVar[str] = "svms"
    config_type: ClassVar[type[StageConfig]] = TrainSvmsConfig

    @classmethod
    def check(cls, config: TrainSvmsConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """A head where the features need one, splits and scales that are extracted, thresholds that go together."""
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
        """Checks the categories and the head, records what the SVMs are trained on, and tells what memory it takes."""
        super().prepare()
        head = self.optional_input("head")
        if head is not None and _trained_on(head, self) != self._info.backbone:
            raise ConfigError(
                f"step {self.spec.step}: the maps are of another backbone than those that head {head.name} was tuned on"
            )
        if not self._memory():
            self._record_memory()

    def _record_memory(self) -> None:
        """Keeps beside the SVMs what memory the units take by the config's bounds, and logs it."""
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
            "solve_bytes": solve_bytes(rows, dimension),
            "mine_bytes": mine_bytes(len(config.categories), limit, dimension),
        }
        logger.info("step=%s peak memory of a unit, inputs apart: %s", self.spec.step, memory)
        self.artifact.store.create(f"{self.artifact.name}/{_MEMORY}", canonical_json(memory).encode())

    def _memory(self) -> dict[str, int]:
        """What `_record_memory` recorded; empty before."""
        try:
            found: dict[str, int] = json.loads(self.artifact.store.read(f"{self.artifact.name}/{_MEMORY}"))
        except ArtifactError:
            return {}
        return found

    def _solved(self, number: int) -> tuple[str, ...]:
        """The units that solve a round."""
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
        """Runs a unit of any phase."""
        phase, _, rest = unit.partition("/")
        kind, _, number = phase.partition("-")
        if kind == "gather":
            return self._gather(rest)
        return self._mine(int(number), rest) if kind == "mine" else self._solve(int(number), rest)

    # --- gather -------------------------------------------------------------------------------------------------

    def _gather(self, shard: str) -> Output:
        config, found = self.config, ExampleGroups()
        negatives = self._random_negatives if self._shards.gives_negatives(shard) else None
        gatherer = Gatherer(config.categories, config.difficult, self._features, negatives)
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
            return Miner(self.config.rule(), self._features, read_svms(self.artifact, self._solved(number - 1)))

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
            splits = " or ".join(f"'{split}'" for split in self._shards.splits)
            raise ConfigError(
                f"step {self.spec.step}: category '{category}' has no object in split {splits}; "
                "remove it from categories"
            )
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
    """Identity of the backbone whose maps a head was fine-tuned on; a network's head is of its own backbone."""
    if head.kind == "network":
        return head.name
    return backbone_digest(stage.workspace.artifact(head.inputs("maps")[0]))
