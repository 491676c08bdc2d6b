"""classify: class scores of every image, or features of a layer, averaged over the views of one or several sets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pipelines.artifacts.image_tars import ImageRecord
from pipelines.artifacts.manifest import Manifest
from pipelines.artifacts.networks import has_head, read_backbone, read_network
from pipelines.artifacts.scores import ScoresRow, encode_scores
from pipelines.engine.fingerprint import canonical_json
from pipelines.engine.stage import COVERAGE, RUNTIME, Input, Phase, Resources, Stage, StageConfig, require_subset
from pipelines.engine.workspace import Artifact, Output, Quarantined
from pipelines.shards.convolving import ConvolvingConfig, choose_device, decode_for_scale, prefetched
from pipelines.shards.reading import check_account, read_images, splits_units
from sppnet.classification.classifier import PreparedImage, ViewClassifier
from sppnet.classification.views import NAMED_VIEWS, PAPER_SIZE, ViewSet, named_views
from sppnet.errors import ArtifactError, ConfigError, DataError
from sppnet.pooling.pyramid import NAMED_LEVELS, Pyramid

_INFO = "output.json"
Side = Annotated[int, Field(ge=1, le=9999)]


def _list_of_levels(value: Any) -> Any:
    return NAMED_LEVELS.get(value, value) if isinstance(value, str) else value


class CustomViews(BaseModel):
    """A view set of one's own.

    Attributes:
        scales: Short sides in pixels at which square windows are taken.
        positions: Windows a scale: 0, 1 (centre), 3 (along the long side), 5 (and corners) or 9 (and mid-sides).
        flip: Whether each view is joined by its mirror image.
        full: Short sides in pixels at which the whole image is a view too.
        maps: Whether windows are pooled from maps; otherwise each is a crop of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scales: tuple[Side, ...] = ()
    positions: int = 1
    flip: bool = False
    full: tuple[Side, ...] = ()
    maps: bool = True


class ClassifyConfig(ConvolvingConfig):
    """Config of `classify`.

    Attributes:
        images: The step that ingests.
        network: The step that trains or imports the network.
        splits: Splits to classify.
        views: Names of view sets: `crop`, `full`, `crops10`, `maps10`, `maps96`, `maps98`, or of `custom` ones. Sets
            that are classified together share their maps.
        size: Side of a window in pixels; by default the first that the network was trained at, or 224.
        scale: Short side in pixels of single-scale sets and of the full views of `maps98`; by default 256 in
            proportion to `size` over 224.
        scales: Short sides in pixels of `maps96` and `maps98`; by default the paper's six, in proportion likewise.
        custom: View sets of one's own, by name.
        output: `scores` (softmax), or the features of a layer: `pool5`, `fc6`, `fc7`; averaged over the views.
        levels: Pyramid of `pool5` features, a list, `spp6` or `spp4`; by default the network's own, or (6, 3, 2, 1) if
            it has none.
        dtype: Type of stored features; scores are always float32.
        convention: Of the mapping from windows to cells.
        batch: Images whose views go through the fully-connected layers together.
    """

    stage: Literal["classify"]
    images: Annotated[str, Input(("images",))]
    network: Annotated[str, Input(("network",))]
    splits: Annotated[tuple[str, ...], COVERAGE] = ("val",)
    views: Annotated[tuple[str, ...], Field(min_length=1)] = ("full",)
    size: Side | None = None
    scale: Side | None = None
    scales: Annotated[tuple[Side, ...], Field(min_length=1)] | None = None
    custom: Mapping[str, CustomViews] = {}
    output: Literal["scores", "pool5", "fc6", "fc7"] = "scores"
    levels: Annotated[tuple[int, ...] | None, BeforeValidator(_list_of_levels)] = None
    dtype: Literal["float16", "float32"] = "float32"
    convention: Literal["paper", "released"] = "paper"
    batch: Annotated[int, RUNTIME, Field(ge=1)] = 8

    def view_sets(self, size: int) -> dict[str, ViewSet]:
        """The sets by name for windows of `size` pixels; raises `ConfigError` for one that can't be."""
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


@dataclass(frozen=True, slots=True)
class ScoresInfo:
    """What a `scores` artifact holds for each image and view set.

    Attributes:
        output: `scores`, or the layer that the features are of.
        labels: What the scores stand for, in order; empty for features.
        dimension: Length of a row's values.
        views: Names of the view sets, in the order of an image's rows.
    """

    output: str
    labels: tuple[str, ...]
    dimension: int
    views: tuple[str, ...]

    @classmethod
    def read(cls, scores: Artifact) -> ScoresInfo:
        """Reads what `classify` recorded; raises `ArtifactError` if it is missing or corrupt."""
        name = f"{scores.name}/{_INFO}"
        data = scores.store.read(name)
        try:
            body = json.loads(data)
            views = tuple(str(one["name"]) for one in body["views"])
            return cls(str(body["output"]), tuple(map(str, body["labels"])), int(body["dimension"]), views)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{scores.store.uri}/{name} is corrupt: {error}") from error


class Classify(Stage[ClassifyConfig]):
    """Writes one Parquet file a shard, one row an image and view set."""

    name: ClassVar[str] = "classify"
    makes: ClassVar[str] = "scores"
    config_type: ClassVar[type[StageConfig]] = ClassifyConfig

    @classmethod
    def check(cls, config: ClassifyConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """The splits must be ingested, and the view sets must exist."""
        images: Any = inputs["images"][0]
        require_subset(config.splits, images.dataset.open().splits, "splits", "split")
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
    def _manifest(self) -> Manifest:
        return Manifest.read(self.input("images"))

    @cached_property
    def _network(self) -> tuple[ViewClassifier, tuple[str, ...]]:
        """The network over its views, on the device, and what its scores stand for."""
        artifact, config = self.input("network"), self.config
        device = choose_device(config, self.spec.step)
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
        """Checks that the network can be shown the views, and records what the rows hold."""
        try:
            classifier, labels = self._network
        except ConfigError as error:
            raise ConfigError(f"step {self.spec.step}: {error}") from error
        body = {
            "output": self.config.output,
            "labels": list(labels),
            "dimension": classifier.dimension,
            "views": [{"name": name, **asdict(views)} for name, views in classifier.sets.items()],
        }
        text = canonical_json(json.loads(json.dumps(body)))
        self.artifact.store.create(f"{self.artifact.name}/{_INFO}", text.encode())

    def phases(self) -> list[Phase]:
        """One phase; a unit is a shard."""
        resources = Resources(cpus=self.config.cpus, gpus=self.config.gpus)
        return [Phase("classify", splits_units(self._manifest, self.config.splits), resources)]

    def run(self, unit: str) -> Output:
        """Classifies a shard's images."""
        classifier, _ = self._network
        largest = max(scale for views in classifier.sets.values() for scale in views.all_scales)

        def prepare(record: ImageRecord) -> PreparedImage:
            return classifier.prepare(decode_for_scale(record, largest, self.config.max_pixels))

        records, earlier = read_images(self.input("images"), unit)
        quarantined = list(earlier)
        rows: list[ScoresRow] = []
        waiting: list[tuple[str, PreparedImage]] = []
        shown = 0
        for record, prepared in prefetched(records, prepare, self.config.ahead):
            try:
                waiting.append((record.key, prepared.result()))
            except DataError as error:
                quarantined.append(Quarantined(record.key, error.reason, error.detail, self.name))
                continue
            shown += waiting[-1][1].views
            if len(waiting) == self.config.batch:
                rows += self._rows(waiting, quarantined)
                waiting = []
        rows += self._rows(waiting, quarantined)
        done = len(rows) // len(classifier.sets)
        check_account(unit, self._manifest.keys(unit), done, tuple(quarantined))
        return Output(
            encode_scores(rows), ".parquet", len(rows), done, tuple(quarantined), {"images": done, "views": shown}
        )

    def _rows(self, batch: Sequence[tuple[str, PreparedImage]], quarantined: list[Quarantined]) -> list[ScoresRow]:
        """Rows of a batch of images; those with values that are not finite are quarantined."""
        classifier, _ = self._network
        dtype = np.dtype("float32" if self.config.output == "scores" else self.config.dtype)
        found: list[ScoresRow] = []
        for (key, _), values in zip(batch, classifier([image for _, image in batch]), strict=True):
            with np.errstate(over="ignore"):
                stored = values.astype(dtype)
            if not np.isfinite(stored).all():
                detail = f"{self.config.output} are not finite as {dtype.name}"
                quarantined.append(Quarantined(key, "nan-features", detail, self.name))
                continue
            found += [ScoresRow(key, name, row) for name, row in zip(classifier.sets, stored, strict=True)]
        return found
