"""What each step of a recipe costs: its units, images, operations, bytes and seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jobs.plan import classifying, convolving, detecting
from jobs.plan.corpus import Corpus
from jobs.plan.passes import images_passed, map_work
from jobs.plan.rates import Rates
from jobs.plan.shapes import Shapes
from jobs.plan.work import Work
from pipelines.engine.recipe import Recipe
from pipelines.engine.stage import StageConfig


@dataclass(frozen=True, slots=True)
class StepCost:
    """One step of a plan.

    Attributes:
        step: Its name in the recipe.
        stage: Its stage.
        asks_for: What a unit of it asks of a machine, in words.
        units: Units of work (shards, shards x scales, categories).
        images: Images it looks at, once per pass.
        macs: Multiply-accumulates of the network and the detectors.
        read: Bytes it reads back, decompressed: of maps, and of fine-tuning's samples.
        written: Bytes it stores.
        seconds: Of one worker.
        memory: Bytes that its largest unit takes at most, inputs and libraries apart; 0 where no formula tells.
        parts: Those seconds by kind of work, named like the rate at which it is done.
    """

    step: str
    stage: str
    asks_for: str = ""
    units: int = 0
    images: int = 0
    macs: float = 0.0
    read: float = 0.0
    written: float = 0.0
    seconds: float = 0.0
    memory: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Counted:
    """What there is to do, in how many units, on how many images, and in how much memory."""

    work: Work
    units: int = 1
    images: int = 0
    memory: float = 0.0


@dataclass(frozen=True)
class Planner:
    """Costs of a recipe's steps on a corpus."""

    recipe: Recipe
    corpus: Corpus
    rates: Rates

    def steps(self) -> list[StepCost]:
        """Work out every step's cost, in the recipe's order.

        Raises:
            ConfigError: The size of a split is not known.
        """
        return [self._cost(name, config) for name, config in self.recipe.steps.items()]

    def _cost(self, name: str, config: StageConfig) -> StepCost:
        counting: Mapping[str, Callable[[str, Any], _Counted]] = {
            "ingest": self._ingest,
            "propose": self._propose,
            "import-windows": self._import_windows,
            "statistics": self._statistics,
            "weights": lambda name, _: _Counted(convolving.weights_work(self._shapes, name)),
            "pretrain": self._pretrain,
            "extract": self._extract,
            "crops": lambda *_: _Counted(Work(), 0),
            "finetune": self._finetune,
            "train-svms": self._train_svms,
            "train-regressors": self._train_regressors,
            "score": self._score,
            "combine": self._score,
            "calibrate": lambda name, _: _Counted(detecting.calibrate_work(self._shapes, name)),
            "recall": self._recall,
            "evaluate": lambda name, _: _Counted(detecting.evaluate_work(self._shapes, name)),
            "classify": self._classify,
            "transfer": self._transfer,
            "evaluate-classes": self._evaluate_classes,
            "activations": self._activations,
        }
        found = counting[config.stage](name, config)
        work, parts = found.work, found.work.seconds(self.rates)
        return StepCost(
            name,
            config.stage,
            config.needs(name).describe(),
            units=found.units,
            images=found.images,
            macs=work.macs,
            read=work.read,
            written=work.written,
            seconds=math.fsum(parts.values()),
            memory=found.memory,
            parts=parts,
        )

    @cached_property
    def _shapes(self) -> Shapes:
        return Shapes(self.recipe, self.corpus, self.rates)

    def _shards(self, config: Any, *splits: str) -> int:
        """Count the shards of some splits: none has images of two."""
        images, corpus = config.images, self.corpus
        return sum(self._shapes.shards(images, found.count) for found in corpus.sets(images, *splits))

    def _ingest(self, name: str, config: Any) -> _Counted:
        splits = convolving.ingested_splits(self._shapes, name)
        units = sum(math.ceil(found.count / config.shard_size) for found in self.corpus.sets(name, *splits))
        return _Counted(convolving.ingest_work(self._shapes, name), units, self.corpus.count(name, *splits))

    def _propose(self, name: str, config: Any) -> _Counted:
        images = self.corpus.count(config.images, *config.splits)
        return _Counted(convolving.propose_work(self._shapes, name), self._shards(config, *config.splits), images)

    def _import_windows(self, name: str, config: Any) -> _Counted:
        images = self.corpus.count(config.images, *config.splits)
        work = Work.of(images * self._shapes.windows(name) * self.rates.window_bytes, records=images)
        return _Counted(work, self._shards(config, *config.splits), images)

    def _statistics(self, name: str, config: Any) -> _Counted:
        images = self.corpus.count(config.images, config.split)
        return _Counted(classifying.statistics_work(self._shapes, name), self._shards(config, config.split) + 1, images)

    def _extract(self, name: str, config: Any) -> _Counted:
        images = self.corpus.count(config.images, *config.stored)
        units = self._shards(config, *config.stored) * len(config.scales) * (1 + config.flips)
        return _Counted(convolving.extract_work(self._shapes, name), units, images)

    def _pretrain(self, name: str, config: Any) -> _Counted:
        units = self._shards(config, config.split) + 1
        return _Counted(convolving.pretrain_work(self._shapes, name), units, config.steps * config.batch)

    def _finetune(self, name: str, config: Any) -> _Counted:
        units = self._shards(config, config.split, *config.positive_splits) + 1
        work, memory = convolving.finetune_work(self._shapes, name), convolving.finetune_memory(self._shapes, name)
        return _Counted(work, units, images_passed(self._shapes, name), memory)

    def _train_svms(self, name: str, config: Any) -> _Counted:
        costs = detecting.SvmCosts(self._shapes, name)
        gathered = self._shards(config, config.split, *getattr(config, "positive_splits", ()))
        mined = self._shards(config, config.split) * config.rounds
        solved = len(config.categories) * (1 + config.rounds)
        return _Counted(costs.work(), gathered + mined + solved, images_passed(self._shapes, name), costs.memory())

    def _train_regressors(self, name: str, config: Any) -> _Counted:
        units = self._shards(config, config.split) + len(config.categories)
        return _Counted(detecting.regressors_work(self._shapes, name), units, images_passed(self._shapes, name))

    def _score(self, name: str, config: Any) -> _Counted:
        costs = detecting.ScoreCosts(self._shapes, name)
        if not config.splits:
            return _Counted(Work(), 0)
        return _Counted(costs.work(), self._shards(config, *config.splits), costs.images())

    def _recall(self, name: str, config: Any) -> _Counted:
        images = self.corpus.count(config.images, config.split)
        return _Counted(detecting.recall_work(self._shapes, name), self._shards(config, config.split) + 1, images)

    def _classify(self, name: str, config: Any) -> _Counted:
        images = self.corpus.count(config.images, *config.splits)
        return _Counted(classifying.classify_work(self._shapes, name), self._shards(config, *config.splits), images)

    def _transfer(self, name: str, config: Any) -> _Counted:
        splits, sets = config.protocol.splits, sum(len(self._shapes.config(step).views) for step in config.features)
        images = self.corpus.count(config.images, *splits)
        units = self._shards(config, *splits) + sets * classifying.transfer_parts(self._shapes, name) + 1
        longest = max(classifying.feature_lengths(self._shapes, step)[-1] for step in config.features)
        return _Counted(classifying.transfer_work(self._shapes, name), units, images, 8.0 * images * longest)

    def _evaluate_classes(self, name: str, config: Any) -> _Counted:
        images = self.corpus.count(config.images, config.split)
        return _Counted(classifying.judge_work(self._shapes, name), self._shards(config, config.split) + 1, images)

    def _activations(self, name: str, config: Any) -> _Counted:
        units = self._shards(config, *config.splits) + 1
        # Finding a filter's strongest responses is nothing beside its maps (Fig. 2).
        return _Counted(map_work(self._shapes, name), units, images_passed(self._shapes, name))
