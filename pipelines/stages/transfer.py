"""transfer: how well a network's features serve another data set (sections 3.2 and 3.3), with linear SVMs on them.

Phases: `gather` (a shard: what its images show, and which of them have every feature), `fit` (for each set of features,
a category of VOC07 or a split of Caltech101) and `metrics` (one unit), whose rows are those of `evaluate-classes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.artifacts.class_metrics import UNIT
from pipelines.artifacts.scores import ScoresInfo, decode_scores
from pipelines.classifying.transfer_protocols import ImageLabels, TransferProtocol
from pipelines.engine.codec import encode
from pipelines.engine.commits import Output
from pipelines.engine.fingerprint import canonical_json
from pipelines.engine.machine import CpuFields
from pipelines.engine.phases import Phase
from pipelines.engine.records import read_unit
from pipelines.engine.stage import Input, StageConfig, StageSpec, require_subset
from pipelines.shards.categories import check_categories
from pipelines.shards.stage import ShardStage, require_same_images
from sppnet.arrays import Float32s
from sppnet.errors import ArtifactError, ConfigError, DataError
from sppnet.evaluation.transfer import SvmSettings, l2_normalise
from sppnet.seeds import derive_seed


class TransferConfig(CpuFields):
    """Config of `transfer`.

    Attributes:
        images: The step that ingests.
        features: The steps that classify, with features of a layer as their output; a row of the result for each of
            them and each of its view sets.
        protocol: What is learned and how it is judged. [section 3.2; section 3.3]
        c: Cost of an example within an SVM's margin. [no unit]
        positive_weight: Factor on the cost of positives. [factor]
        bias_scale: Value of the constant feature whose weight is the bias. [no unit]
    """

    stage: Literal["transfer"]
    images: Annotated[str, Input(("images",))]
    features: Annotated[tuple[str, ...], Input(("scores",)), Field(min_length=1)]
    protocol: TransferProtocol
    c: Annotated[float, Field(gt=0)] = 1.0
    positive_weight: Annotated[float, Field(gt=0)] = 1.0
    bias_scale: Annotated[float, Field(gt=0)] = 1.0


@dataclass(frozen=True, slots=True)
class _FeatureSet:
    """One set of features: the classify step, its place among the inputs, the view set."""

    step: str
    place: int
    views: str

    @property
    def name(self) -> str:
        return f"{self.step}/{self.views}"


@dataclass(frozen=True, slots=True)
class _Labels:
    """What an image of a shard shows, whatever split it is in."""

    key: str
    categories: tuple[str, ...]
    difficult: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class _Shown:
    images: tuple[_Labels, ...]


class Transfer(ShardStage[TransferConfig]):
    """Writes JSON: what images show, figures per category or split, and the result."""

    name: ClassVar[str] = "transfer"
    makes: ClassVar[str] = "class-metrics"
    seeded: ClassVar[bool] = True
    config_type: ClassVar[type[StageConfig]] = TransferConfig

    @classmethod
    def whole_splits(cls, config: TransferConfig) -> tuple[str, ...]:
        """Return the splits of the protocol: all of them are taken together."""
        return config.protocol.splits

    def __init__(self, config: TransferConfig, spec: StageSpec) -> None:
        super().__init__(config, spec)
        self._kept: tuple[str, Float32s] | None = None

    @classmethod
    def check(cls, config: TransferConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that the steps make features, not scores, of the same images and of every split that is read."""
        classified: Any = inputs["features"]
        if len(set(config.features)) != len(config.features):
            raise ConfigError(f"features: a step is named twice: {', '.join(config.features)}")
        require_same_images(config, inputs, "features")
        for step, made in zip(config.features, classified, strict=True):
            if made.output == "scores":
                raise ConfigError(f"features: '{step}' makes class scores; set its output to pool5, fc6 or fc7")
            require_subset(config.protocol.splits, made.splits, "protocol", "split")

    @classmethod
    def external(cls, config: TransferConfig) -> Mapping[str, Any]:
        """Return the names of the steps: rows are called after them."""
        return {"names": list(config.features)}

    @cached_property
    def _shards(self) -> tuple[str, ...]:
        return self.shards(self.config.protocol.splits)

    @cached_property
    def _sets(self) -> tuple[_FeatureSet, ...]:
        pairs = enumerate(zip(self.config.features, self.inputs("features"), strict=True))
        return tuple(
            _FeatureSet(step, place, views)
            for place, (step, artifact) in pairs
            for views in ScoresInfo.read(artifact).views
        )

    @cached_property
    def _fits(self) -> dict[str, tuple[_FeatureSet, str]]:
        """What each unit of the fit phase is about; the parts of a set of features follow one another."""
        parts = self.config.protocol.parts(self.manifest.categories)
        return {f"fit/{features.name}/{part}": (features, part) for features in self._sets for part in parts}

    @classmethod
    def check_data(cls, config: TransferConfig, spec: StageSpec) -> None:
        """Check that the images have the categories that the protocol names."""
        check_categories(config.protocol.named, spec, "protocol")

    def phases(self) -> list[Phase]:
        """Gather, a unit a shard; fit, a unit a set of features and category or split; the result."""
        images = sum(map(self.manifest.count, self.config.protocol.splits))
        longest = max(ScoresInfo.read(artifact).dimension for artifact in self.inputs("features"))
        # A unit holds one set of features and the part of it that is trained on.
        needs = self.config.resources(8 * images * longest)
        return [
            Phase("gather", tuple(f"gather/{shard}" for shard in self._shards)),
            Phase("fit", tuple(self._fits), needs, keyed=False),
            Phase("metrics", (UNIT,), keyed=False),
        ]

    def run(self, unit: str) -> Output:
        """Run a unit of any phase."""
        phase, _, rest = unit.partition("/")
        if phase == "gather":
            return self._gather(rest)
        if unit == UNIT:
            body = self._metrics()
            return Output(canonical_json(body).encode(), ".json", len(body["rows"]), 0)
        features, part = self._fits[unit]
        try:
            figures = self._fit(features, part)
        except (DataError, ConfigError) as error:
            raise ConfigError(f"step {self.spec.step}: {features.name}, {part}: {error}") from error
        return Output(canonical_json(figures).encode(), ".json", 1, 0)

    # --- gather -------------------------------------------------------------------------------------------------

    def _gather(self, shard: str) -> Output:
        annotations, aside = self.images.read_annotations(shard)
        features = [entry for artifact in self.inputs("features") for entry in artifact.commit(shard).quarantined]
        work = self.work(shard, [*aside, *features])
        rows = list(work.each(annotations.values(), self._labels))
        return work.output(encode(_Shown(tuple(rows))), ".json", len(rows))

    def _labels(self, annotation: ImageAnnotation) -> _Labels:
        """Return what an image shows; raise `DataError` if the protocol can't use such an image."""
        categories = tuple(thing.category for thing in annotation.objects)
        self.config.protocol.takes(annotation.key, categories)
        return _Labels(annotation.key, categories, tuple(thing.difficult for thing in annotation.objects))

    @cached_property
    def _images(self) -> tuple[ImageLabels, ...]:
        """All images that are used, in the order of the shards."""
        protocol = self.config.protocol
        return tuple(
            ImageLabels(row.key, split, row.categories, row.difficult)
            for split in protocol.splits
            for shard in self.manifest.units(split)
            for row in read_unit(_Shown, self.artifact, f"gather/{shard}").images
            if protocol.takes(row.key, row.categories)
        )

    # --- fit ----------------------------------------------------------------------------------------------------

    def _fit(self, features: _FeatureSet, part: str) -> dict[str, Any]:
        config = self.config
        # One seed a part, whatever the features: all are judged on the same random splits.
        seed = derive_seed(self.seed, self.name, part)
        settings = SvmSettings(config.c, config.positive_weight, config.bias_scale, seed)
        return config.protocol.fit(self._images, self._features(features), part, settings, seed)

    def _features(self, features: _FeatureSet) -> Float32s:
        """Return one set's features of all images, `[n, d]`, each of norm 1; the last set is kept for the next unit."""
        if self._kept is None or self._kept[0] != features.name:
            self._kept = None  # never two sets at once
            self._kept = (features.name, l2_normalise(self._read(features)))
        return self._kept[1]

    def _read(self, features: _FeatureSet) -> Float32s:
        artifact = self.inputs("features")[features.place]
        place = {(image.split, image.key): row for row, image in enumerate(self._images)}
        values = np.empty((len(place), ScoresInfo.read(artifact).dimension), dtype=np.float32)
        for split in self.config.protocol.splits:
            for shard in self.manifest.units(split):
                for row in decode_scores(artifact.read(shard), f"{artifact.name}/{shard}"):
                    at = place.pop((split, row.key), None) if row.views == features.views else None
                    if at is not None:
                        values[at] = row.values
        if place:
            raise ArtifactError(f"{artifact.name}: image {min(place)[1]} has neither features nor a reason")
        return values

    # --- the result ---------------------------------------------------------------------------------------------

    def _metrics(self) -> dict[str, Any]:
        protocol = self.config.protocol
        found: dict[_FeatureSet, dict[str, Any]] = {}
        for unit, (features, part) in self._fits.items():
            found.setdefault(features, {})[part] = read_unit(dict[str, Any], self.artifact, unit)
        rows = [
            {"name": features.step, "views": features.views, "kind": "features", **protocol.row(figures)}
            for features, figures in found.items()
        ]
        return {"split": protocol.splits[-1], "protocol": protocol.kind, "rows": rows}
