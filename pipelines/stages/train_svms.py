"""train-svms: one linear SVM a category, with rounds of hard negatives, from cached maps.

Phases: `gather` (a shard's ground-truth windows and random negatives), `solve-0` (a category), then for each round
`mine-r` (a shard: windows that the last round's SVMs take for an object) and `solve-r`. Every unit has a commit, so a
run resumes between and inside rounds, and nothing depends on how many workers there are or on the order of shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from pipelines.detectors import FeatureInfo, backbone_digest, read_svms
from pipelines.examples import TrainingShards, check_inputs, join_examples, make_examples
from pipelines.networks import read_head_levels
from pipelines.schemas import Examples
from pipelines.stage import RUNTIME, Input, Phase, Resources, Stage, StageConfig
from pipelines.windowed import WindowedImage
from pipelines.workspace import Output
from sppnet.boxes import iou_matrix, nms
from sppnet.errors import ConfigError, DataError
from sppnet.features import Layer, Precision, WindowFeatures
from sppnet.geometry import Convention
from sppnet.mining import evict, initial_negatives
from sppnet.seeds import derive_seed
from sppnet.svm import LinearSvms, feature_scale, train_svm
from sppnet.weights import write_safetensors

SHARED = ""
"""Group of the random negatives, which serve every category."""
Bools = npt.NDArray[np.bool_]


class TrainSvmsConfig(StageConfig):
    """Config of `train-svms`; defaults are the paper's, where it names none the release's.

    Attributes:
        images: The step that ingests.
        windows: The step that proposes.
        maps: The step that extracts.
        head: The step that fine-tunes; needed for fc6 and fc7.
        split: Split to train on.
        categories: Categories to train.
        features: `pool5`, `fc6` or `fc7`.
        scales: Short sides that windows choose from.
        convention: Of window mapping and scale rule.
        levels: Of the pyramid, for pool5; fc features take their head's.
        precision: Type in which fc6 and fc7 compute, here and when windows are scored.
        c: Cost of a negative within the margin.
        positive_weight: Factor on the cost of positives.
        bias_scale: Value of the constant feature whose weight is the bias.
        mean_norm: Features are scaled to this mean norm.
        difficult: Whether objects marked difficult are positives.
        negative_iou: A window that overlaps an object of the category more is no negative.
        dedupe_iou: Of two hard negatives of an image that overlap more, the lower-scored is dropped; null keeps all.
        random_negatives: Random negatives an image that start the training.
        rounds: Rounds of hard negatives.
        hard_threshold: Negatives that score more are hard.
        hard_per_image: At most so many hard negatives an image, category and round.
        evict_threshold: Random negatives that score less are left out after the first round.
        gpus: GPUs a unit that pools takes.
        cpus: CPUs a unit takes.
    """

    stage: Literal["train-svms"]
    images: Annotated[str, Input(("images",))]
    windows: Annotated[str, Input(("windows",))]
    maps: Annotated[str, Input(("maps",))]
    head: Annotated[str | None, Input(("head",))] = None
    split: str = "train"
    categories: Annotated[tuple[str, ...], Field(min_length=1)]
    features: Layer = "pool5"
    scales: Annotated[tuple[int, ...], Field(min_length=1)] = (688,)
    convention: Convention = "paper"
    levels: tuple[int, ...] = (6, 3, 2, 1)
    precision: Precision = "float32"
    c: Annotated[float, Field(gt=0)] = 0.001
    positive_weight: Annotated[float, Field(gt=0)] = 2.0
    bias_scale: Annotated[float, Field(gt=0)] = 10.0
    mean_norm: Annotated[float, Field(gt=0)] = 20.0
    difficult: bool = False
    negative_iou: Annotated[float, Field(ge=0, lt=1)] = 0.3
    dedupe_iou: Annotated[float, Field(gt=0, le=1)] | None = 0.7
    random_negatives: Annotated[int, Field(ge=1)] = 20
    rounds: Annotated[int, Field(ge=0, le=9)] = 1
    hard_threshold: float = -1.0
    hard_per_image: Annotated[int, Field(ge=1)] = 30
    evict_threshold: float = -1.2
    gpus: Annotated[float, RUNTIME, Field(ge=0)] = 0
    cpus: Annotated[float, RUNTIME, Field(gt=0)] = 1


class TrainSvms(Stage[TrainSvmsConfig]):
    """Writes the examples of every shard and round, and one safetensors file a category and round."""

    name: ClassVar[str] = "train-svms"
    makes: ClassVar[str] = "svms"
    seeded: ClassVar[bool] = True
    config_type: ClassVar[type[StageConfig]] = TrainSvmsConfig

    @classmethod
    def check(cls, config: TrainSvmsConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """A head where the features need one, and scales that are extracted."""
        if (config.features == "pool5") == bool(config.head):
            raise ConfigError(f"head: features {config.features} {'take no' if config.head else 'need a'} head")
        check_inputs(config.images, config.scales, (config.split,), inputs)

    def prepare(self) -> None:
        """Checks the categories, and records what the SVMs are trained on."""
        self._shards.check_categories(self.config.categories, self.spec.step)
        last = f"solve-{self.config.rounds}"
        self._info(tuple(f"{last}/{category}" for category in self.config.categories)).write(self.artifact)

    def _info(self, units: tuple[str, ...]) -> FeatureInfo:
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
            units=units,
        )

    @cached_property
    def _shards(self) -> TrainingShards:
        inputs = (self.input("images"), self.input("windows"), self.input("maps"))
        return TrainingShards(*inputs, self.config.scales, self.config.split, self.name)

    @cached_property
    def _features(self) -> WindowFeatures:
        return self._info(()).extractor(self.input("maps"), self.workspace)

    def phases(self) -> list[Phase]:
        """Gather, solve, and for each round mine and solve."""
        shards = self._shards.units
        pools = Resources(cpus=self.config.cpus, gpus=self.config.gpus)
        solves = Resources(cpus=self.config.cpus)

        def solve(number: int) -> Phase:
            units = tuple(f"solve-{number}/{category}" for category in self.config.categories)
            return Phase(f"solve-{number}", units, solves, keyed=False)

        phases = [Phase("gather", tuple(f"gather/{shard}" for shard in shards), pools), solve(0)]
        for number in range(1, self.config.rounds + 1):
            phases.append(Phase(f"mine-{number}", tuple(f"mine-{number}/{shard}" for shard in shards), pools))
            phases.append(solve(number))
        return phases

    def run(self, unit: str) -> Output:
        """Runs a unit of any phase."""
        phase, _, rest = unit.partition("/")
        if phase == "gather":
            return self._shards.run(rest, self._gather)
        kind, _, number = phase.partition("-")
        if kind == "mine":
            return self._shards.run(rest, self._miner(int(number)))
        return self._solve(int(number), rest)

    # --- gather -------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _gather(self, image: WindowedImage) -> tuple[list[Examples], dict[str, float]]:
        objects = [o for o in image.annotation.objects if o.category in self.config.categories]
        boxes = np.array([o.box for o in objects], dtype=np.float32).reshape(-1, 4)
        chosen = self._random_negatives(image, boxes)
        features = self._features(image.maps, image.image_wh, np.concatenate([boxes, image.windows[chosen]]))
        values = features.to(torch.float16).cpu().numpy()
        groups = []
        for category in self.config.categories:
            rows = [i for i, o in enumerate(objects) if o.category == category]
            # Difficult objects that are no positives are kept all the same: other objects near them are no negatives.
            scores = [float(self.config.difficult or not objects[i].difficult) for i in rows]
            groups.append(make_examples(category, image.key, [-1 - i for i in rows], scores, boxes[rows], values[rows]))
        groups.append(
            make_examples(SHARED, image.key, chosen, np.zeros(len(chosen)), image.windows[chosen], values[len(boxes) :])
        )
        norms = torch.linalg.vector_norm(features[len(boxes) :].float(), dim=1)
        return groups, {"norm_sum": float(norms.double().sum()), "norm_count": len(norms)}

    def _random_negatives(self, image: WindowedImage, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        free = np.arange(len(image.windows))
        if len(boxes):
            free = np.flatnonzero(iou_matrix(image.windows, boxes).max(axis=1) <= self.config.negative_iou)
        rng = np.random.default_rng(derive_seed(self.seed, self.name, image.key))
        return free[initial_negatives(len(free), self.config.random_negatives, rng)]

    # --- mine ---------------------------------------------------------------------------------------------------

    def _miner(self, number: int) -> _Miner:
        units = tuple(f"solve-{number - 1}/{category}" for category in self.config.categories)
        return _Miner(self.config, self._features, read_svms(self.artifact, units))

    # --- solve --------------------------------------------------------------------------------------------------

    def _solve(self, number: int, category: str) -> Output:
        positives, negatives = self._examples(number, category)
        if len(positives.keys) == 0:
            raise ConfigError(
                f"step {self.spec.step}: category '{category}' has no object in split '{self.config.split}'; "
                "remove it from categories"
            )
        features = np.concatenate([positives.features, negatives.features]).astype(np.float32)
        labels = np.r_[np.ones(len(positives.keys)), -np.ones(len(negatives.keys))]
        try:
            scale = feature_scale([self._shards.mean_norm(self.artifact)], self.config.mean_norm)
            features *= np.float32(scale)
            weights, bias = train_svm(
                features,
                labels,
                C=self.config.c,
                positive_weight=self.config.positive_weight,
                bias_scale=self.config.bias_scale,
                seed=derive_seed(self.seed, self.name, category, number) % 2**31,
            )
        except DataError as error:
            raise ConfigError(f"step {self.spec.step}: SVM of '{category}': {error}") from error
        svms = LinearSvms.of({category: (weights, bias)}, scale, self.config.features)
        figures = {"positives": len(positives.keys), "negatives": len(negatives.keys)}
        return Output(write_safetensors(*svms.to_tensors()), ".safetensors", 1, 0, metrics=figures)

    def _examples(self, number: int, category: str) -> tuple[Examples, Examples]:
        """The positives, and the negatives of all rounds up to `number`, each window once."""
        gathered = self._read("gather", (*self.config.categories, SHARED))
        objects = gathered[category]
        positives = objects.select(objects.scores > 0)
        negatives = [self._kept_random(number, category, gathered[SHARED]), *self._other_objects(category, gathered)]
        negatives += [self._read(f"mine-{r}", (category,))[category] for r in range(1, number + 1)]
        joined = join_examples(category, negatives)
        return positives, joined.select(joined.first_of_each_window())

    def _kept_random(self, number: int, category: str, shared: Examples) -> Examples:
        if number == 0 or len(shared.keys) == 0:
            return shared
        last = read_svms(self.artifact, (f"solve-{number - 1}/{category}",))
        return shared.select(~evict(last.scores(shared.features)[:, 0], self.config.evict_threshold))

    def _other_objects(self, category: str, gathered: Mapping[str, Examples]) -> Iterator[Examples]:
        """Objects of the other categories are negatives too, unless they overlap one of this category."""
        objects = gathered[category]
        own: dict[str, list[int]] = {}
        for row, key in enumerate(objects.keys):
            own.setdefault(key, []).append(row)
        for other in self.config.categories:
            if other != category:
                found = gathered[other]
                yield found.select(self._clear_of(found, objects, own))

    def _clear_of(self, found: Examples, objects: Examples, own: Mapping[str, Sequence[int]]) -> Bools:
        clear = np.ones(len(found.keys), dtype=bool)
        for row, key in enumerate(found.keys):
            if key in own:
                overlap = iou_matrix(found.boxes[row : row + 1], objects.boxes[list(own[key])])
                clear[row] = overlap.max() <= self.config.negative_iou
        return clear

    def _read(self, phase: str, categories: tuple[str, ...]) -> dict[str, Examples]:
        return self._shards.read(self.artifact, phase, categories, self._features.dimension)


class _Miner:
    """Takes an image's hard negatives for all categories at once."""

    def __init__(self, config: TrainSvmsConfig, features: WindowFeatures, svms: LinearSvms) -> None:
        self._config = config
        self._features = features
        self._svms = svms

    @torch.inference_mode()
    def __call__(self, image: WindowedImage) -> tuple[list[Examples], dict[str, float]]:
        features = self._features(image.maps, image.image_wh, image.windows)
        scores = np.asarray(self._svms.scores(features).cpu())
        groups = []
        for index, category in enumerate(self._svms.categories):
            rows = self._hard(image, category, scores[:, index])
            values = features[torch.from_numpy(rows)].to(torch.float16).cpu().numpy()
            groups.append(make_examples(category, image.key, rows, scores[rows, index], image.windows[rows], values))
        return groups, {"windows": len(image.windows), "hard": sum(len(group.keys) for group in groups)}

    def _hard(self, image: WindowedImage, category: str, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        boxes = np.array([o.box for o in image.annotation.objects if o.category == category]).reshape(-1, 4)
        hard = scores > self._config.hard_threshold
        if len(boxes):
            hard &= iou_matrix(image.windows, boxes).max(axis=1) <= self._config.negative_iou
        rows = np.flatnonzero(hard)
        if self._config.dedupe_iou is None:
            order = np.argsort(-scores[rows], kind="stable")
        else:
            order = nms(image.windows[rows], scores[rows], self._config.dedupe_iou)
        return rows[order][: self._config.hard_per_image]
