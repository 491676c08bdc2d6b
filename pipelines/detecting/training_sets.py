"""A category's training set for its SVM, streamed from what was gathered and mined, with bounded memory.

Storage is the spill: the examples of all shards and rounds stay there, and each solve reads its own category's row
groups, the random negatives and the objects. Of every kind the best rows within a limit are kept while shards stream
by; which those are depends neither on the order of shards nor on who made them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.artifacts.examples import Examples, ExamplesFile
from pipelines.detecting.best_rows import TopExamples
from pipelines.detecting.gathering import SHARED
from pipelines.detecting.set_limits import SetLimits
from pipelines.detecting.training_shards import TrainingShards
from pipelines.engine.workspace import Artifact
from sppnet.arrays import Bools, Float32s, Float64s, Integers
from sppnet.boxes import iou_matrix
from sppnet.detection.mining import evict, name_fraction
from sppnet.detection.svm import LinearSvms

_ROWS_AT_ONCE = 1024
_ROUND = 1e6  # scores are far smaller: a later round's negatives come before an earlier one's


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """What one SVM is trained on.

    Attributes:
        features: float32 `[n, d]`, raw.
        labels: float64 `[n]` of +1 and -1, positives first.
        positives: How many.
    """

    features: Float32s
    labels: Float64s
    positives: int


class SetBuilder:
    """Assembles training sets.

    Args:
        shards: The training splits.
        artifact: That of the SVMs, with what was gathered and mined.
        categories: All of them.
        limits: On the rows of each kind.
        negative_iou: An object of another category that overlaps one of the category more is no negative.
        strict: Whether it must overlap by less.
        seed: By which rows are drawn where there are more than the limit.
    """

    def __init__(
        self,
        shards: TrainingShards,
        artifact: Artifact,
        categories: Sequence[str],
        limits: SetLimits,
        negative_iou: float,
        strict: bool,
        seed: int,
    ) -> None:
        self._shards = shards
        self._artifact = artifact
        self._categories = tuple(categories)
        self._limits = limits
        self._negative_iou = negative_iou
        self._strict = strict
        self._seed = seed

    def build(self, category: str, number: int, last: LinearSvms | None, threshold: float | None) -> TrainingSet:
        """Stream the training set of a category and round.

        Args:
            category: The category.
            number: The round.
            last: Its SVM of the round before; None in the first round.
            threshold: Negatives to which `last` gives less are left out; None keeps all.
        """
        kinds = self._stream(category, number)
        hard = set(kinds["hard"].take().names())
        chosen: dict[str, Integers] = {}
        for kind, top in kinds.items():
            rows = np.arange(len(top))
            if kind == "random":  # a random negative that was mined too counts once
                rows = np.flatnonzero([name not in hard for name in top.take().names()])
            if kind != "positives" and last is not None and threshold is not None:
                rows = rows[~_leaving(top, rows, last, threshold)]
            chosen[kind] = rows
        return _assembled(kinds, chosen)

    def _stream(self, category: str, number: int) -> dict[str, TopExamples]:
        limits = self._limits
        tops = {
            "positives": TopExamples(category, limits.positives),
            "random": TopExamples(category, limits.random),
            "objects": TopExamples(category, limits.objects),
            "hard": TopExamples(category, limits.hard),
        }
        rounds = range(number, 0, -1)
        for files in self._shards.files(self._artifact, [f"mine-{r}" for r in rounds]):
            if files.gives_negatives:
                self._add_gathered(tops, category, files.gathered)
                self._add_mined(tops["hard"], category, dict(zip(rounds, files.mined, strict=True)))
            else:
                for own in files.gathered.read((category,)):
                    self._add_positives(tops["positives"], own)
        return tops

    def _add_gathered(self, tops: Mapping[str, TopExamples], category: str, file: ExamplesFile) -> None:
        groups = {group.category: group for group in file.read((*self._categories, SHARED))}
        own = groups.pop(category, None)
        shared = groups.pop(SHARED, None)
        if own is not None:
            self._add_positives(tops["positives"], own)
        if shared is not None:
            self._draw(tops["random"], shared)
        for other in groups.values():
            self._draw(tops["objects"], other if own is None else other.select(self._clear_of(other, own)))

    def _add_positives(self, top: TopExamples, own: Examples) -> None:
        """Add the category's objects but for those that only keep negatives away."""
        self._draw(top, own.select(own.scores > 0))

    def _draw(self, top: TopExamples, part: Examples) -> None:
        """Add rows of which, if there are too many, a sample by the hash of their names is kept."""
        fractions = [name_fraction(self._seed, key, window) for key, window in part.names()]
        top.add(part, -np.array(fractions))

    @staticmethod
    def _add_mined(top: TopExamples, category: str, files: Mapping[int, ExamplesFile]) -> None:
        """Add a shard's mined negatives, latest round first: a window counts once, with its latest score."""
        seen: set[tuple[str, int]] = set()
        for number, file in files.items():
            for part in file.read((category,)):
                fresh = np.array([name not in seen for name in part.names()])
                seen.update(part.names())
                top.add(part.select(fresh), part.scores[fresh].astype(np.float64) + _ROUND * number)

    def _clear_of(self, found: Examples, own: Examples) -> Bools:
        """Tell which objects of another category are negatives: those that don't overlap one of the category."""
        rows_of: dict[str, list[int]] = {}
        for row, key in enumerate(own.keys):
            rows_of.setdefault(key, []).append(row)
        clear = np.ones(len(found), dtype=bool)
        for row, key in enumerate(found.keys):
            if key in rows_of:
                overlap = iou_matrix(found.boxes[row : row + 1], own.boxes[rows_of[key]]).max()
                clear[row] = overlap < self._negative_iou if self._strict else overlap <= self._negative_iou
        return clear


def _leaving(top: TopExamples, rows: Integers, last: LinearSvms, threshold: float) -> Bools:
    """Tell which rows the last round's SVM is sure of."""
    leaves = np.zeros(len(rows), dtype=bool)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = rows[start : start + _ROWS_AT_ONCE]
        features = np.empty((len(block), last.weights.shape[1]), np.float32)
        top.write_features(block, features)
        leaves[start : start + len(block)] = evict(last.scores(features)[:, 0], threshold)
    return leaves


def _assembled(tops: dict[str, TopExamples], chosen: Mapping[str, Integers]) -> TrainingSet:
    """Return one matrix of all kinds, each let go as soon as it is copied."""
    rows = sum(len(part) for part in chosen.values())
    features = np.empty((rows, max(top.dimension for top in tops.values())), np.float32)
    positives, place = len(chosen["positives"]), 0
    for kind in list(tops):
        part, top = chosen[kind], tops.pop(kind)
        if len(part):
            top.write_features(part, features[place : place + len(part)])
        place += len(part)
    return TrainingSet(features, np.r_[np.ones(positives), -np.ones(rows - positives)], positives)
