"""classify: class scores of every image, or features of a layer, averaged over the views of one or several sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pipelines.artifacts.image_tars import ImageRecord
from pipelines.artifacts.networks import has_head, read_backbone, read_network
from pipelines.artifacts.scores import ScoresInfo, ScoresRow, encode_scores
from pipelines.engine.commits import Output
from pipelines.engine.machine import choose_device
from pipelines.engine.phases import Phase
from pipelines.engine.stage import COVERAGE, RUNTIME, Input, StageConfig
from pipelines.shards.convolving import ConvolvingConfig, decode_for_scale
from pipelines.shards.keys import ShardWork
from pipelines.shards.reading import ScaleField, read_images
from pipelines.shards.stage import PerShardStage, require_ingested
from pipelines.training.network_config import LevelsName
from sppnet.arrays import Float32s
from sppnet.classification.classifier import PreparedImage, ViewClassifier
from sppnet.classification.views import NAMED_VIEWS, PAPER_SIZE, ViewSet, named_views
from sppnet.errors import ConfigError, DataError
from sppnet.pooling.pyramid import NAMED_LEVELS, Pyramid


def _list_of_levels(value: Any) -> Any:
    return NAMED_LEVELS.get(value, value) if isinstance(value, str) else value


class CustomViews(BaseModel):
    """A view set of one's own.

    Attributes:
        scales: Short sides at which square windows are taken. [pixels]
        positions: Windows a scale: 0, 1 (centre), 3 (along the long side), 5 (and corners) or 9 (and mid-sides).
            [windows]
        flip: Whether each view is joined by its mirror image.
        full: Short sides at which the whole image is a view too. [pixels]
        maps: Whether windows are pooled from maps; otherwise each is a crop of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scales: tuple[ScaleField, ...] = ()
    positions: int = 1
    flip: bool = False
    full: tuple[ScaleField, ...] = ()
    maps: bool = True


class ClassifyConfig(ConvolvingConfig):
    """Config of `classify`.

    Attributes:
        images: The step that ingests.
        network: The step that trains or imports the network.
        splits: Splits to classify.
        views: Names of view sets: `crop`, `full`, `crops10`, `maps10`, `maps96`, `maps98`, or of `custom` ones. Sets
            that are classified together share their maps. [section 3.1.4; section 3.1.5]
        size: Side of a window; by default the first that the network was trained at, or 224. [pixels; section 3.1]
        scale: Short side of single-scale sets and of the full views of `maps98`; by default 256 in proportion to `size`
            over 224. [pixels; section 3.1]
        scales: Short sides of `maps96` and `maps98`; by default the paper's six, in proportion likewise.
            [pixels; section 3.1.5]
        custom: View sets of one's own, by name.
        output: `scores` (softmax), or the features of a layer: `pool5`, `fc6`, `fc7`; averaged over the views.
        levels: Pyramid of `pool5` features, a list, `spp6` or `spp4`; by default the network's own, or (6, 3, 2, 1) if
            it has none. [bins a side; section 2.2]
        dtype: Type of stored features; scores are always float32.
        convention: How windows become cells: as in the `paper`, or as in its `released` code. [appendix A]
        batch: Images whose views go through the fully-connected layers together. [images]
    """

    stage: Literal["classify"]
    images: Annotated[str, Input(("images",))]
    network: Annotated[str, Input(("network",))]
    splits: Annotated[tuple[str, ...], COVERAGE] = ("val",)
    views: Annotated[tuple[str, ...], Field(min_length=1)] = ("full",)
    size: ScaleField | None = None
    scale: ScaleField | None = None
    scales: Annotated[tuple[ScaleField, ...], Field(min_length=1)] | None = None
    custom: Mapping[str, CustomViews] = {}
    output: Literal["scores", "pool5", "fc6", "fc7"] = "scores"
    levels: Annotated[
        tuple[int, ...] | None,
        BeforeValidator(_list_of_levels, json_schema_input_type=tuple[int, ...] | LevelsName | None),
    ] = None
    dtype: Literal["float16", "float32"] = "float32"
    convention: Literal["paper", "released"] = "paper"
    batch: Annotated[int, RUNTIME, Field(ge=1)] = 8

    def view_sets(self, size: int) -> dict[str, ViewSet]:
        """Return the sets by name for windows of `size` pixels; raise `ConfigError` for one that can't be."""
        found: dict[str, ViewSet] = {}
        for name in self.views:
            try:
                found[name] = self._view_set(name, size)
            except ConfigError as error:
                raise ConfigError(f"views: '{name}': {error}") from error
        return found

    def _view_set(self, name: str, size: int) -> ViewSet:
        if name in self.custom:
            return ViewSet(size=size, **dict(self.custom[name]))
        if name not in NAMED_VIEWS:
            raise ConfigError(f"no such view set; there are: {', '.join((*NAMED_VIEWS, *self.custom))}")
        return named_views(name, size, self.scale, self.scales)


@dataclass(frozen=True, slots=True, eq=False)
class _Outputs:
    """What the network makes of an image: `[view sets, dimension]`."""

    key: str
    values: Float32s


class Classify(PerShardStage[ClassifyConfig]):
    """Writes one Parquet file a shard, one row an image and view set."""

    name: ClassVar[str] = "classify"
    makes: ClassVar[str] = "scores"
    schema: ClassVar[int] = 2
    config_type: ClassVar[type[StageConfig]] = ClassifyConfig

    @classmethod
    def check(cls, config: ClassifyConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that the splits are ingested, and that the view sets exist."""
        require_ingested(config.splits, inputs)
        if len(set(config.views)) != len(config.views):
            raise ConfigError(f"views: a set is named twice: {', '.join(config.views)}")
        for name in set(config.custom) & set(NAMED_VIEWS):
            raise ConfigError(f"custom: '{name}' is the name of a built-in view set")
        if config.levels is not None and config.output != "pool5":
            raise ConfigError(f"levels: is for pool5 features only; {config.output} has the network's own")
        if config.levels is not None:
            Pyramid(config.levels)
        if config.size is not None:
            config.view_sets(config.size)

    @cached_property
    def _network(self) -> tuple[ViewClassifier, tuple[str, ...]]:
        """The network over its views, on the device, and what its scores stand for."""
        artifact, config = self.input("network"), self.config
        device = choose_device(config.device, self.spec.step)
        trained = read_network(artifact) if has_head(artifact) else None
        network = trained.network if trained else None
        pyramid = network.pyramid if network else Pyramid()
        sizes = trained.sizes if trained else ()
        classifier = ViewClassifier(
            backbone=(network.backbone if network else read_backbone(artifact)).to(device).eval(),
            pyramid=Pyramid(config.levels) if config.levels else pyramid,
            head=network.head.to(device).eval() if network else None,
            sets=config.view_sets(config.size or next(iter(sizes), PAPER_SIZE)),
            output=config.output,
            precision=config.precision,
            convention=config.convention,
            device=device,
        )
        return classifier, trained.labels if trained and config.output == "scores" else ()

    def prepare(self) -> None:
        """Check that the network can be shown the views, and record what the rows hold."""
        try:
            classifier, labels = self._network
        except ConfigError as error:
            raise ConfigError(f"step {self.spec.step}: {error}") from error
        ScoresInfo(self.config.output, labels, classifier.dimension, tuple(classifier.sets)).write(
            self.artifact, classifier.sets
        )

    def phases(self) -> list[Phase]:
        """Return one phase; a unit is a shard."""
        return [Phase("classify", self.shards(self.config.splits), self.config.resources())]

    def run(self, unit: str) -> Output:
        """Classify a shard's images."""
        classifier, _ = self._network
        largest = max(scale for views in classifier.sets.values() for scale in views.all_scales)

        def prepare(record: ImageRecord) -> PreparedImage:
            return classifier.prepare(decode_for_scale(record, largest, self.config.max_pixels))

        records, earlier = read_images(self.input("images"), unit)
        work = self.work(unit, earlier)
        rows: list[ScoresRow] = []
        shown = 0
        images = work.each_prepared(records, prepare, lambda record, image: (record.key, image), self.config.ahead)
        while batch := list(islice(images, self.config.batch)):
            shown += sum(image.views for _, image in batch)
            rows += self._rows(batch, work)
        return work.output(encode_scores(rows), ".parquet", len(rows), {"images": work.done, "views": shown})

    def _rows(self, batch: Sequence[tuple[str, PreparedImage]], work: ShardWork) -> list[ScoresRow]:
        """Return rows of a batch of images; those with values that are not finite are quarantined."""
        classifier, _ = self._network
        outputs = classifier([image for _, image in batch])
        found = (_Outputs(key, values) for (key, _), values in zip(batch, outputs, strict=True))
        return [row for rows in work.each(found, self._stored) for row in rows]

    def _stored(self, found: _Outputs) -> list[ScoresRow]:
        """Return an image's rows, one a view set; raise `DataError` if a value is not finite."""
        dtype = np.dtype("float32" if self.config.output == "scores" else self.config.dtype)
        with np.errstate(over="ignore"):
            stored = found.values.astype(dtype)
        if not np.isfinite(stored).all():
            raise DataError("nan-features", f"{self.config.output} are not finite as {dtype.name}")
        sets = self._network[0].sets
        return [ScoresRow(found.key, name, row) for name, row in zip(sets, stored, strict=True)]
