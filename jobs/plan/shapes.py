"""What the steps of a recipe make of an image: numbers of windows, lengths of features, bytes of maps."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from jobs.plan.categories import count_categories
from jobs.plan.corpus import Corpus
from jobs.plan.rates import Rates
from jobs.plan.work import Work
from pipelines.engine.recipe import Recipe
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.costs import MapCost, head_macs, map_cost
from sppnet.pooling.pyramid import Pyramid
from sppnet.sizes import Size

_HEAD = (4096, 4096)
_FLOAT32 = 4


@dataclass(frozen=True, slots=True)
class FeatureCost:
    """Features of windows, as a step of SVMs or regressors wants them.

    Attributes:
        name: Equal for those that are computed once for several detectors.
        layer: `pool5`, `fc6` or `fc7`.
        pooled: Length of the pooled vector.
        length: Length of the feature.
        one: Computing that of one window.
    """

    name: Hashable
    layer: str
    pooled: int
    length: int
    one: Work


@dataclass(frozen=True)
class Shapes:
    """Sizes of what a recipe's steps make."""

    recipe: Recipe
    corpus: Corpus
    rates: Rates

    def config(self, step: str) -> Any:
        """Return a step's config."""
        return self.recipe.steps[step]

    def shards(self, images_step: str, images: int) -> int:
        """Count the shards of so many images of a step that ingests."""
        return math.ceil(images / int(self.config(images_step).shard_size))

    def backbone(self, step: str) -> BackboneSpec:
        """Return the convolutions of a step that makes a network."""
        spec: BackboneSpec = self.config(step).spec()
        return spec

    def windows(self, step: str) -> int:
        """Count the windows of an image that a step proposes or imports."""
        config = self.config(step)
        most = getattr(config, "max_windows", None)
        methods = len(getattr(config, "methods", ("one",)))
        return methods * (self.corpus.windows if most is None else min(most, self.corpus.windows))

    def map_cost(self, backbone: str, scale: int) -> MapCost:
        """Count the convolutions of a typical image at a scale."""
        return map_cost(self.backbone(backbone), self.corpus.size, scale)

    def reading(self, maps_step: str, scales: tuple[int, ...]) -> Work:
        """Count reading one image's maps; for crops, the image itself."""
        config = self.config(maps_step)
        if config.stage == "crops":
            return Work.of(decode=self.corpus.typical_pixels)
        raw = sum(self.map_cost(config.backbone, scale).bytes for scale in set(scales))
        return Work.of(read=raw, storage=raw * self.rates.compression)

    def channels(self, maps_step: str) -> int:
        """Count the channels of maps."""
        return map_cost(self.backbone(self.config(maps_step).backbone), Size.square(224)).shape[2]

    def hidden(self, step: str) -> tuple[int, ...]:
        """Return outputs of fc6 and fc7 of a step that trains or imports a network; usual ones for an imported file."""
        config = self.config(step)
        own = getattr(config, "hidden", None)
        if own is None and getattr(config, "init", None):
            return self.hidden(config.init)
        return tuple(own or _HEAD)

    def classes(self, named: Sequence[str] | None) -> int:
        """Count the classes of a network whose config names them, or else as many as are usual."""
        return len(named or ()) or round(self.rates.classes)

    def categories(self, images_step: str) -> int | None:
        """Count the categories of what a step ingests, if the data set or its kind tells."""
        dataset = getattr(self.config(images_step), "dataset", None)
        return None if dataset is None else count_categories(dataset)

    def features(self, step: str, layer: str | None = None) -> FeatureCost:
        """Size the features that a step trains SVMs or regressors on; `layer` where its config has none."""
        config = self.config(step)
        layer = layer or str(config.features)
        pooled = Pyramid(config.levels).bins * self.channels(config.maps)
        work = self.pooling(config.maps, pooled, len(set(config.scales)))
        head = None if layer == "pool5" else str(config.head)
        name = (config.windows, config.maps, layer, head, frozenset(config.scales), tuple(config.levels))
        if head is None:
            return FeatureCost(name, layer, pooled, pooled, work)
        sizes = (pooled, *self.hidden(head)[: 1 if layer == "fc6" else 2])
        work += Work.product(head_macs(sizes, getattr(config, "rank", None)), config.precision)
        return FeatureCost(name, layer, pooled, sizes[-1], work)

    def pooling(self, maps_step: str, pooled: int, scales: int) -> Work:
        """Count pooling the vector of one window: from a map of one scale or several, or from its own crop's."""
        config = self.config(maps_step)
        work = Work.of(pooling=pooled, spreading=pooled if scales > 1 else 0)
        if config.stage == "crops":
            macs = map_cost(self.backbone(config.backbone), Size.square(config.size)).macs
            work += Work.of(crops=1) + Work.product(macs, config.precision)
        return work

    def hard(self, step: str) -> float:
        """Count the hard negatives that a round of mining finds in an image for a category."""
        config, rates = self.config(step), self.rates
        found = rates.pool5_hard if config.features == "pool5" else rates.fc_hard
        most = math.inf if config.hard_per_image is None else config.hard_per_image
        return min(found, most, rates.hard_share * self.windows(config.windows))

    def detections(self, svms_step: str, per_image: int) -> float:
        """Count the detections of an image and category by a step's SVMs."""
        config, rates = self.config(svms_step), self.rates
        found = rates.pool5_detections if config.features == "pool5" else rates.fc_detections
        return min(found, per_image, rates.detection_share * self.windows(config.windows))

    def compression(self, layer: str, rows: str) -> float:
        """Return the stored bytes of features over their raw float16 bytes, by how they are stored."""
        rates = self.rates
        found, stepped = rates.fc_compression, rates.fc_stepped
        if layer == "pool5":
            found, stepped = rates.pool5_compression, rates.pool5_stepped
        return found * (stepped if rows == "uint8" else 1.0)


@lru_cache(maxsize=64)
def backbone_parameters(spec: BackboneSpec) -> int:
    """Count weights and biases of a network's convolutions."""
    with torch.device("meta"):
        return sum(tensor.numel() for tensor in build_backbone(spec).trunk.parameters())


def head_parameters(sizes: tuple[int, ...]) -> int:
    """Count weights and biases of fully connected layers of these lengths, the pooled vector's first."""
    return head_macs(sizes) + sum(sizes[1:])


def stored_parameters(count: int) -> float:
    """Return the bytes of so many float32 parameters."""
    return float(_FLOAT32 * count)
