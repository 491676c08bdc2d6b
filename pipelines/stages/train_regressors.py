"""train-regressors: box regression a category, on pooled conv5 (section 4.1, after R-CNN's appendix C).

Memory of a solve: where a category has fewer examples than features, n examples as they are stored (two bytes a
value) and their n x n Gram matrix; else the d x d Gram matrix of the features (in float64: 1.3 GB for 12,800), to
which examples are added as they stream by, so that their number costs no memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from pipelines.artifacts.detectors import FeatureInfo, backbone_digest
from pipelines.artifacts.examples import Examples, half_features, join_examples, make_examples, no_examples
from pipelines.detecting.gathering import ExampleGroups
from pipelines.detecting.window_stage import WindowTrainingConfig, WindowTrainingStage
from pipelines.engine.commits import Output
from pipelines.engine.phases import Phase
from pipelines.engine.stage import StageConfig
from pipelines.shards.windowed import LabelledImage
from sppnet.arrays import Bools, Float32s, Integers
from sppnet.detection.feature_scale import feature_scale
from sppnet.detection.mining import name_fraction
from sppnet.detection.regression import BoxRegressors, train_regressor
from sppnet.detection.ridge import RowBlocks, ridge_bytes
from sppnet.detection.sampling import label_windows
from sppnet.errors import ArtifactError, ConfigError, DataError
from sppnet.networks.weights import write_safetensors
from sppnet.seeds import derive_seed


class TrainRegressorsConfig(WindowTrainingConfig):
    """Config of `train-regressors`.

    Attributes:
        min_iou: Windows that overlap their object at least so much are examples. [IoU; section 4.1]
        ridge: Weight of the squared norm (R-CNN 1000; the SPP-net release 4000); it rests on `mean_norm`. [no unit]
        per_object: At most so many windows an object, taken at random; the object itself is an example too. [windows]
        max_examples: At most so many examples a category, drawn by the hash of their names. [windows]
        min_examples: A category with fewer examples gets no regressor. [windows]
    """

    stage: Literal["train-regressors"]
    min_iou: Annotated[float, Field(gt=0, lt=1)] = 0.5
    ridge: Annotated[float, Field(gt=0)] = 1000.0
    per_object: Annotated[int, Field(ge=1)] = 20
    max_examples: Annotated[int, Field(ge=1)] = 50_000
    min_examples: Annotated[int, Field(ge=1)] = 10


class TrainRegressors(WindowTrainingStage[TrainRegressorsConfig]):
    """Writes the examples of every shard, then one safetensors file a category."""

    name: ClassVar[str] = "train-regressors"
    makes: ClassVar[str] = "regressors"
    schema: ClassVar[int] = 4
    config_type: ClassVar[type[StageConfig]] = TrainRegressorsConfig

    @cached_property
    def _info(self) -> FeatureInfo:
        return FeatureInfo(
            categories=self.config.categories,
            layer="pool5",
            scales=self.config.scales,
            convention=self.config.convention,
            levels=self.config.levels,
            head=None,
            backbone=backbone_digest(self.input("maps")),
            units=self._solved,
        )

    @property
    def _solved(self) -> tuple[str, ...]:
        return tuple(f"solve/{category}" for category in self.config.categories)

    def phases(self) -> list[Phase]:
        """Gather a shard's examples, then solve a category."""
        gather = tuple(f"gather/{shard}" for shard in self._shards.units)
        solve = Phase("solve", self._solved, self._solving(self._solve_bytes()), keyed=False)
        return [Phase("gather", gather, self._pooling()), solve]

    def _solve_bytes(self) -> int:
        """Return peak memory of a solve by the config's bounds, bytes; 0 before there are maps."""
        try:
            dimension = self._features.dimension
        except ArtifactError:
            return 0
        # Ten objects of a category an image are more than any data set has on average.
        most = 10 * self._shards.images_count * (self.config.per_object + 1)
        return ridge_bytes(min(self.config.max_examples, most), dimension)

    def run(self, unit: str) -> Output:
        """Run a unit of either phase."""
        phase, _, rest = unit.partition("/")
        if phase == "solve":
            return self._solve(rest)
        found = ExampleGroups()
        return self._shards.run(rest, lambda image: self._gather(image, found), found.joined)

    @torch.inference_mode()
    def _gather(self, image: LabelledImage, found: ExampleGroups) -> dict[str, float]:
        wanted = [o for o in image.annotation.objects if o.category in self.config.categories]
        objects = [o for o in wanted if self.config.difficult or not o.difficult]
        if not objects:
            return {}
        boxes = np.array([o.box for o in objects], dtype=np.float32)
        candidates = np.concatenate([boxes, image.windows])
        # Labelled by object, so that each window knows which one it is to become.
        overlap, nearest = label_windows(candidates, boxes, np.arange(len(boxes)))
        chosen = self._choose(image.key, len(boxes), overlap, nearest)
        pooled = self._features.pooled(image.maps, image.image_wh, candidates[chosen])
        values = half_features(pooled)
        groups = []
        for category in dict.fromkeys(o.category for o in objects):
            rows = np.flatnonzero([objects[nearest[row]].category == category for row in chosen])
            windows = chosen[rows] - len(boxes)
            targets = boxes[nearest[chosen[rows]]]
            scores = overlap[chosen[rows]]
            groups.append(
                make_examples(category, image.key, windows, scores, candidates[chosen[rows]], values[rows], targets)
            )
        norms = torch.linalg.vector_norm(pooled.float(), dim=1)
        found.add(groups)
        return {"norm_sum": float(norms.double().sum()), "norm_count": len(norms)}

    def _choose(self, key: str, objects: int, overlap: Float32s, nearest: Integers) -> Integers:
        rng = np.random.default_rng(derive_seed(self.seed, self.name, key))
        chosen = list(range(objects))
        for index in range(objects):
            near = np.flatnonzero((nearest == index) & (overlap >= self.config.min_iou))
            near = near[near >= objects]
            chosen.extend(np.sort(rng.permutation(near)[: self.config.per_object]).tolist())
        return np.array(chosen, dtype=np.int64)

    def _solve(self, category: str) -> Output:
        found, chosen = self._choose_examples(category)
        figures = {"examples": len(found)}
        if len(found) < self.config.min_examples:
            return Output(None, "", 0, 0, metrics=figures)
        try:
            regressor = train_regressor(
                RowBlocks(len(found), self._features.dimension, lambda: self._features_of(category, chosen)),
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

    def _choose_examples(self, category: str) -> tuple[Examples, list[Bools]]:
        """Return a category's examples without features, and which rows of each shard they are."""
        files = (shard.gathered for shard in self._shards.files(self.artifact))
        parts = [(file.read((category,), features=False) or [no_examples(category, 0)])[0] for file in files]
        names = [name for part in parts for name in part.names()]
        fractions = np.array([name_fraction(self.seed, key, window) for key, window in names])
        kept = np.zeros(len(names), dtype=bool)
        kept[np.argsort(fractions, kind="stable")[: self.config.max_examples]] = True
        masks = np.split(kept, np.cumsum([len(part) for part in parts])[:-1])
        return join_examples(category, [part.select(mask) for part, mask in zip(parts, masks, strict=True)]), masks

    def _features_of(self, category: str, chosen: list[Bools]) -> Iterator[npt.NDArray[np.float16]]:
        """Return the chosen examples' features, a shard at a time."""
        for shard, mask in zip(self._shards.files(self.artifact), chosen, strict=True):
            if mask.any():
                (part,) = shard.gathered.read((category,))
                yield part.features[mask]  # float16, as they were gathered
