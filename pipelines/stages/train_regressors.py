"""train-regressors: box regression a category, on pooled conv5 (section 4.1, after R-CNN's appendix C)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from pipelines.detectors import FeatureInfo, backbone_digest
from pipelines.examples import TrainingShards, check_inputs, make_examples
from pipelines.schemas import Examples
from pipelines.stage import RUNTIME, Input, Phase, Resources, Stage, StageConfig
from pipelines.windowed import WindowedImage
from pipelines.workspace import Output
from sppnet.errors import ConfigError, DataError
from sppnet.features import WindowFeatures
from sppnet.geometry import Convention
from sppnet.regression import BoxRegressors, train_regressor
from sppnet.sampling import label_windows
from sppnet.seeds import derive_seed
from sppnet.svm import feature_scale
from sppnet.weights import write_safetensors

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class TrainRegressorsConfig(StageConfig):
    """Config of `train-regressors`.

    Attributes:
        images: The step that ingests.
        windows: The step that proposes.
        maps: The step that extracts.
        split: Split to train on.
        categories: Categories to train.
        scales: Short sides that windows choose from.
        convention: Of window mapping and scale rule.
        levels: Of the pyramid.
        min_iou: Windows that overlap their object at least so much are examples.
        ridge: Weight of the squared norm (R-CNN 1000; the SPP-net release 4000).
        mean_norm: Features are scaled to this mean norm, on which `ridge` rests.
        per_object: At most so many windows an object, taken at random, which bounds memory; the object itself is
            an example too.
        difficult: Whether objects marked difficult are targets.
        min_examples: A category with fewer examples gets no regressor.
        gpus: GPUs a unit that pools takes.
        cpus: CPUs a unit takes.
    """

    stage: Literal["train-regressors"]
    images: Annotated[str, Input(("images",))]
    windows: Annotated[str, Input(("windows",))]
    maps: Annotated[str, Input(("maps",))]
    split: str = "train"
    categories: Annotated[tuple[str, ...], Field(min_length=1)]
    scales: Annotated[tuple[int, ...], Field(min_length=1)] = (688,)
    convention: Convention = "paper"
    levels: tuple[int, ...] = (6, 3, 2, 1)
    min_iou: Annotated[float, Field(gt=0, lt=1)] = 0.5
    ridge: Annotated[float, Field(gt=0)] = 1000.0
    mean_norm: Annotated[float, Field(gt=0)] = 20.0
    per_object: Annotated[int, Field(ge=1)] = 20
    difficult: bool = False
    min_examples: Annotated[int, Field(ge=1)] = 10
    gpus: Annotated[float, RUNTIME, Field(ge=0)] = 0
    cpus: Annotated[float, RUNTIME, Field(gt=0)] = 1


class TrainRegressors(Stage[TrainRegressorsConfig]):
    """Writes the examples of every shard, then one safetensors file a category."""

    name: ClassVar[str] = "train-regressors"
    makes: ClassVar[str] = "regressors"
    seeded: ClassVar[bool] = True
    config_type: ClassVar[type[StageConfig]] = TrainRegressorsConfig

    @classmethod
    def check(cls, config: TrainRegressorsConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """The scales must be extracted."""
        check_inputs(config.images, config.scales, (config.split,), inputs)

    def prepare(self) -> None:
        """Checks the categories, and records what the regressors are trained on."""
        self._shards.check_categories(self.config.categories, self.spec.step)
        self._info().write(self.artifact)

    def _info(self) -> FeatureInfo:
        return FeatureInfo(
            categories=self.config.categories,
            layer="pool5",
            scales=self.config.scales,
            convention=self.config.convention,
            levels=self.config.levels,
            head=None,
            backbone=backbone_digest(self.input("maps")),
            units=tuple(f"solve/{category}" for category in self.config.categories),
        )

    @cached_property
    def _shards(self) -> TrainingShards:
        inputs = (self.input("images"), self.input("windows"), self.input("maps"))
        return TrainingShards(*inputs, self.config.scales, self.config.split, self.name)

    @cached_property
    def _features(self) -> WindowFeatures:
        return self._info().extractor(self.input("maps"), self.workspace)

    def phases(self) -> list[Phase]:
        """Gather a shard's examples, then solve a category."""
        gather = tuple(f"gather/{shard}" for shard in self._shards.units)
        resources = Resources(cpus=self.config.cpus, gpus=self.config.gpus)
        solve = Phase("solve", self._info().units, Resources(cpus=self.config.cpus), keyed=False)
        return [Phase("gather", gather, resources), solve]

    def run(self, unit: str) -> Output:
        """Runs a unit of either phase."""
        phase, _, rest = unit.partition("/")
        return self._shards.run(rest, self._gather) if phase == "gather" else self._solve(rest)

    def _gather(self, image: WindowedImage) -> tuple[list[Examples], dict[str, float]]:
        names = self.config.categories
        wanted = [o for o in image.annotation.objects if o.category in names]
        objects = [o for o in wanted if self.config.difficult or not o.difficult]
        if not objects:
            return [], {}
        boxes = np.array([o.box for o in objects], dtype=np.float32)
        candidates = np.concatenate([boxes, image.windows])
        # Labelled by object, so that each window knows which one it is to become.
        overlap, nearest = label_windows(candidates, boxes, np.arange(len(boxes)))
        chosen = self._choose(image.key, len(boxes), overlap, nearest)
        pooled = self._features.pooled(image.maps, image.image_wh, candidates[chosen])
        values = pooled.to(torch.float16).cpu().numpy()
        groups = []
        for category in names:
            rows = np.flatnonzero([objects[nearest[row]].category == category for row in chosen])
            windows = chosen[rows] - len(boxes)
            targets = boxes[nearest[chosen[rows]]]
            scores = overlap[chosen[rows]]
            groups.append(
                make_examples(category, image.key, windows, scores, candidates[chosen[rows]], values[rows], targets)
            )
        norms = torch.linalg.vector_norm(pooled.float(), dim=1)
        return groups, {"norm_sum": float(norms.double().sum()), "norm_count": len(norms)}

    def _choose(self, key: str, objects: int, overlap: Floats, nearest: Integers) -> Integers:
        rng = np.random.default_rng(derive_seed(self.seed, self.name, key))
        chosen = list(range(objects))
        for index in range(objects):
            near = np.flatnonzero((nearest == index) & (overlap >= self.config.min_iou))
            near = near[near >= objects]
            chosen.extend(np.sort(rng.permutation(near)[: self.config.per_object]).tolist())
        return np.array(chosen, dtype=np.int64)

    def _solve(self, category: str) -> Output:
        found = self._shards.read(self.artifact, "gather", (category,), self._features.dimension)[category]
        figures = {"examples": len(found.keys)}
        if len(found.keys) < self.config.min_examples:
            return Output(None, "", 0, 0, metrics=figures)
        try:
            regressor = train_regressor(
                found.features,
                found.boxes,
                found.targets,
                ridge=self.config.ridge,
                min_iou=self.config.min_iou,
                feature_scale=feature_scale([self._shards.mean_norm(self.artifact)], self.config.mean_norm),
            )
        except DataError as error:
            raise ConfigError(f"step {self.spec.step}: box regressor of '{category}': {error}") from error
        tensors, metadata = BoxRegressors((category,), (regressor,)).to_tensors()
        return Output(write_safetensors(tensors, metadata), ".safetensors", 1, 0, metrics=figures)
