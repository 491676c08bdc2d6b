"""Costs of the stages that train detectors on windows of cached maps, and of those that score and judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobs.plan.passes import map_work, scoring_steps
from jobs.plan.shapes import Shapes, stored_parameters
from jobs.plan.work import Work
from pipelines.detecting.set_limits import solve_bytes
from sppnet.detection.mining import sampled_fraction
from sppnet.networks.costs import HALF


@dataclass(frozen=True)
class _StepCosts:
    """Costs of one step.

    Attributes:
        shapes: Of the recipe.
        step: The step's name.
    """

    shapes: Shapes
    step: str

    @property
    def _config(self) -> Any:
        return self.shapes.config(self.step)


class SvmCosts(_StepCosts):
    """Costs of a step of `train-svms` (section 4.1)."""

    @property
    def images(self) -> int:
        """Images of the split that gives positives and negatives."""
        return self.shapes.corpus.count(self._config.images, self._config.split)

    @property
    def gathered_images(self) -> int:
        """Images of that split, and those that give positives only."""
        more = self.shapes.corpus.count(self._config.images, *getattr(self._config, "positive_splits", ()))
        return self.images + more

    @property
    def _random(self) -> float:
        """Random negatives of the whole split."""
        most = self.images * self._config.random_negatives
        return float(most * sampled_fraction(self._config.max_random_negatives, most))

    @property
    def _objects(self) -> float:
        return self.gathered_images * self.shapes.rates.objects

    @property
    def _mined(self) -> float:
        """Hard negatives of a category that a round stores: no shard more than its part of the limit."""
        limit = self._config.hard_share * self._config.max_hard_negatives
        return float(min(self.images * self.shapes.hard(self.step), limit))

    def memory(self) -> float:
        """Return a solve's memory: rows as they are stored and as float32."""
        config, length = self._config, self.shapes.features(self.step).length
        rounds = None if config.hard_per_image is None else config.rounds * config.hard_per_image
        more = self.gathered_images - self.images
        return float(
            solve_bytes(config.limits().rows(self.images, config.random_negatives, rounds, more), length, config.rows)
        )

    def work(self) -> Work:
        """Count the work of all phases."""
        rounds: int = self._config.rounds
        solving = sum((self._solving(number) for number in range(rounds + 1)), Work())
        reading = map_work(self.shapes, self.step)
        return reading + self._gathering() + self._mining() * rounds + solving * len(self._config.categories)

    def _gathering(self) -> Work:
        config, features = self._config, self.shapes.features(self.step)
        rows = self._random + self._objects
        windows = self.images * self.shapes.windows(config.windows)
        return features.one * rows + self._stored(rows) + Work.of(negatives=windows)

    def _mining(self) -> Work:
        config, features = self._config, self.shapes.features(self.step)
        categories = len(config.categories)
        windows = self.images * self.shapes.windows(config.windows)
        scoring = (features.one + scored(features.length, categories)) * windows
        return scoring + self._stored(self._mined * categories)

    def _stored(self, rows: float) -> Work:
        features = self.shapes.features(self.step)
        raw = rows * features.length * HALF
        return Work.of(raw * self.shapes.compression(features.layer, self._config.rows), examples=raw)

    def _solving(self, number: int) -> Work:
        """Count one category's training set, streamed and solved, after so many rounds of mining."""
        config, length = self._config, self.shapes.features(self.step).length
        hard = number * self._mined
        streamed = (self._random + self._objects + hard) * length
        trained = min(self._random, config.max_random_negatives) + min(hard, config.max_hard_negatives)
        trained += min(self._objects, config.max_object_negatives)
        values = trained * length
        weights = stored_parameters(length + 1)
        return Work.of(weights, examples=HALF * streamed, widening=values, solving=values * self.shapes.rates.passes)


def regressors_work(shapes: Shapes, step: str) -> Work:
    """Count box regression: gathering examples, and a category's ridge regression in its primal or its dual."""
    config = shapes.config(step)
    images = shapes.corpus.count(config.images, config.split)
    features, rates = shapes.features(step, "pool5"), shapes.rates
    examples = float(images * rates.objects * min(rates.regressed, config.per_object + 1))
    raw = examples * features.length * HALF
    categories = len(config.categories)
    solved = min(examples / categories, config.max_examples)
    gathering = map_work(shapes, step) + features.one * examples
    gathering += Work.of(raw * rates.object_compression, examples=raw)
    solving = Work.of(
        stored_parameters(4 * (features.length + 1)),
        examples=HALF * solved * features.length,
        gram=ridge_macs(solved, features.length, rates.uneven),
    )
    return gathering + solving * categories


def ridge_macs(examples: float, length: int, uneven: float = 1.0) -> float:
    """Count multiply-accumulates of one ridge regression: the smaller Gram matrix, half of it, and its factor.

    Args:
        examples: Mean number of a category's examples.
        length: Of a feature.
        uneven: Mean square over squared mean of these numbers.
    """
    primal = examples * length**2 / 2 + length**3 / 6
    return min(primal, uneven * examples**2 * length / 2 + examples**3 / 6)


def scored(length: int, categories: int) -> Work:
    """Count scoring a window's feature for all categories."""
    return Work.of(scoring=length * categories, scanning=length)


class ScoreCosts(_StepCosts):
    """Costs of a step of `score`, or of `combine`, which scores with several detectors (section 4.4)."""

    def members(self) -> list[Any]:
        """Return the configs of the steps whose detectors score, those of steps that combine among them."""
        return scoring_steps(self.shapes, self.step)

    @property
    def regressed(self) -> bool:
        """Whether there are regressed boxes."""
        return any(member.regressors for member in self.members())

    @property
    def categories(self) -> int:
        """How many there are."""
        first = self.members()[0]
        if first.categories is not None:
            return len(first.categories)
        return sum(len(self.shapes.config(step).categories) for step in first.references()["svms"])

    @property
    def detections(self) -> float:
        """Detections of an image, of all categories."""
        found = max(self.shapes.detections(_first_svms(member), self._config.per_image) for member in self.members())
        return found * self.categories

    def images(self, *splits: str) -> int:
        """Count the images of some splits, by default of those that are scored."""
        return self.shapes.corpus.count(self._config.images, *(splits or self._config.splits))

    def work(self) -> Work:
        """Count all images: each map read once, equal features made once."""
        features = {}
        one = Work()
        for member in self.members():
            found = self.shapes.features(_first_svms(member))
            features[found.name] = found.one * self.shapes.windows(member.windows)
            one += scored(found.length, self.categories) * self.shapes.windows(member.windows)
        one = sum(features.values(), one)
        return (one + self._detecting()) * self.images() + map_work(self.shapes, self.step)

    def _detecting(self) -> Work:
        """Count suppression in one image, and the regression of what stays."""
        rates, found = self.shapes.rates, self.detections
        kept = Work.of(found * (rates.regressed_bytes if self.regressed else rates.detection_bytes), detections=found)
        regressors = [step for member in self.members() for step in member.references()["regressors"]]
        for step in regressors:
            features = self.shapes.features(step, "pool5")
            kept += (features.one + scored(features.length, 4)) * (found / len(regressors))
        return kept


def _first_svms(member: Any) -> str:
    """Return the first step that trained a member's SVMs: the others are of the same features."""
    found: str = member.references()["svms"][0]
    return found


def calibrate_work(shapes: Shapes, step: str) -> Work:
    """Count matching a detector's held-out detections with objects."""
    config = shapes.config(step)
    scores = ScoreCosts(shapes, config.detections)
    return Work.of(judged=scores.images(config.split) * scores.detections)


def evaluate_work(shapes: Shapes, step: str) -> Work:
    """Count matching detections with objects, twice where boxes were regressed."""
    config, total = shapes.config(step), Work()
    for name in config.detections:
        scores = ScoreCosts(shapes, name)
        rows = 1 + scores.regressed
        judged = scores.images(config.split) * scores.detections
        total += Work.of(shapes.rates.curve_bytes * scores.categories, judged=judged) * rows
    return total


def recall_work(shapes: Shapes, step: str) -> Work:
    """Count overlaps of objects with windows, and sums by shard and category."""
    config, rates = shapes.config(step), shapes.rates
    images = shapes.corpus.count(config.images, config.split)
    windows = sum(map(shapes.windows, config.windows))
    shards = shapes.shards(config.images, images)
    stored = len(config.windows) * (shards * rates.sums_bytes + rates.recall_bytes)
    return Work.of(stored, overlaps=images * rates.objects * windows)
