"""recall: how many objects the windows of one or several steps overlap, against IoU and the number of windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from pipelines.artifacts.annotations import ObjectAnnotation
from pipelines.artifacts.recall import UNIT, CategorySums, ShardRow, ShardSums
from pipelines.artifacts.windows_and_maps import decode_windows
from pipelines.engine.codec import encode
from pipelines.engine.commits import Output
from pipelines.engine.fingerprint import canonical_json
from pipelines.engine.phases import Phase
from pipelines.engine.records import read_unit
from pipelines.engine.stage import Input, StageConfig, require_subset
from pipelines.engine.workspace import Artifact
from pipelines.shards.stage import ShardStage, require_same_images
from sppnet.arrays import Float64s
from sppnet.evaluation.recall import COUNTS, IOUS, RecallSums, best_overlaps

_SUMS = "sums/"


class RecallConfig(StageConfig):
    """Config of `recall`.

    Attributes:
        images: The step that ingests, for the annotations.
        windows: The steps that propose; one row of the result each.
        split: The split whose objects are looked for. Difficult ones are left out.
        ious: Overlaps from which an object is found. [IoU]
        counts: How many of an image's first windows are looked at; all of them are always looked at too. [windows]
    """

    stage: Literal["recall"]
    images: Annotated[str, Input(("images",))]
    windows: Annotated[tuple[str, ...], Input(("windows",)), Field(min_length=1)]
    split: str = "val"
    ious: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = IOUS
    counts: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = COUNTS


class Recall(ShardStage[RecallConfig]):
    """Writes the sums of every shard, then one JSON object."""

    name: ClassVar[str] = "recall"
    makes: ClassVar[str] = "recall"
    config_type: ClassVar[type[StageConfig]] = RecallConfig

    @classmethod
    def whole_splits(cls, config: RecallConfig) -> tuple[str, ...]:
        """Return the split: all of it is taken together."""
        return (config.split,)

    @classmethod
    def check(cls, config: RecallConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that windows of the split are proposed, for the same images."""
        require_same_images(config, inputs, "windows")
        windows: Any = inputs["windows"]
        for proposed in windows:
            require_subset((config.split,), proposed.splits, "split", "split")

    @classmethod
    def external(cls, config: RecallConfig) -> Mapping[str, Any]:
        """Return the names of the steps: rows are called after them."""
        return {"names": list(config.windows)}

    @cached_property
    def _counts(self) -> tuple[int | None, ...]:
        return (*self.config.counts, None)

    def phases(self) -> list[Phase]:
        """Return the sums, a unit a shard, then their join."""
        shards = tuple(_SUMS + unit for unit in self.manifest.units(self.config.split))
        return [Phase("sums", shards, keyed=False), Phase("join", (UNIT,), keyed=False)]

    def run(self, unit: str) -> Output:
        """Count a shard's objects, or join all counts."""
        return self._join() if unit == UNIT else self._sum(unit.removeprefix(_SUMS))

    def _sum(self, shard: str) -> Output:
        objects: dict[str, tuple[ObjectAnnotation, ...]] = {}
        difficult = 0
        for key, annotation in self.images.read_annotations(shard)[0].items():
            judged = [thing for thing in annotation.objects if thing.category not in annotation.ignored]
            objects[key] = tuple(thing for thing in judged if not thing.difficult)
            difficult += len(judged) - len(objects[key])
        rows = [self._row(artifact, shard, objects) for artifact in self.inputs("windows")]
        found = ShardSums(len(objects), difficult, tuple(rows))
        return Output(encode(found), ".json", sum(map(len, objects.values())), 0)

    def _row(self, artifact: Artifact, shard: str, objects: Mapping[str, Sequence[ObjectAnnotation]]) -> ShardRow:
        found = {row.key: row.windows for row in decode_windows(artifact.read(shard), f"{artifact.name}/{shard}")}
        overlaps: dict[str, list[Float64s]] = {}
        for key, things in objects.items():
            # An image that was set aside for want of windows misses its objects.
            windows = found.get(key, np.zeros((0, 4), np.float32))
            best = best_overlaps([thing.box for thing in things], windows, self._counts)
            for thing, row in zip(things, best, strict=True):
                overlaps.setdefault(thing.category, []).append(row)
        sums = {category: RecallSums.of(np.stack(rows), self.config.ious) for category, rows in overlaps.items()}
        counted = [len(found[key]) for key in objects if key in found]
        categories = {category: CategorySums.of(own) for category, own in sums.items()}
        return ShardRow(len(counted), sum(counted), categories)

    def _join(self) -> Output:
        parts = [read_unit(ShardSums, self.artifact, unit) for unit in self.phases()[0].units]
        rows = []
        for number, (step, artifact) in enumerate(zip(self.config.windows, self.inputs("windows"), strict=True)):
            own = [part.rows[number] for part in parts]
            rows.append({"name": step, "windows": artifact.name, **self._figures(own)})
        body = {
            "split": self.config.split,
            "images": sum(part.images for part in parts),
            "difficult": sum(part.difficult for part in parts),
            "ious": list(self.config.ious),
            "rows": rows,
        }
        return Output(canonical_json(body).encode(), ".json", len(rows), 0)

    def _figures(self, parts: Sequence[ShardRow]) -> dict[str, Any]:
        """Return one row of the result, from all shards in order."""
        groups: dict[str, list[RecallSums]] = {}
        for part in parts:
            for category, sums in part.categories.items():
                groups.setdefault(category, []).append(sums.sums())
        categories = {category: RecallSums.added(groups[category]) for category in sorted(groups)}
        shape = (len(self._counts), len(self.config.ious))
        nothing = RecallSums(0, np.zeros(shape, np.int64), np.zeros(shape[0]))
        whole = RecallSums.added([nothing, *categories.values()])
        images = sum(part.images for part in parts)
        windows = sum(part.windows for part in parts)
        return {
            "objects": whole.objects,
            "images_with_windows": images,
            "windows_per_image": round(windows / images, 2) if images else None,
            "curves": self._curves(whole),
            "categories": {name: {"objects": s.objects, "curves": self._curves(s)} for name, s in categories.items()},
        }

    def _curves(self, sums: RecallSums) -> list[dict[str, Any]]:
        recall, average = sums.recall(), sums.average_recall()
        if not sums.objects:
            return []
        return [
            {
                "windows": count,
                "recall": [round(float(value), 6) for value in recall[place]],
                "average_recall": round(float(average[place]), 6),
            }
            for place, count in enumerate(self._counts)
        ]
