"""What each stage of a recipe costs: one function a stage, from its config and the corpus."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jobs.plan.corpus import Corpus, Rates
from pipelines.recipe import Recipe
from pipelines.stage import StageConfig
from sppnet.backbones import BackboneSpec, build_backbone
from sppnet.costs import HALF, head_macs, map_cost
from sppnet.pyramid import Pyramid

_HEAD = (4096, 4096)
_BACKWARD = 3
"""A training step costs the forward pass about three times."""


_HARD = 5
"""Hard negatives of an image and category, about, that a round of mining stores."""
_REGRESSED = 5
"""Windows of an image, about, that overlap an object of one category enough to train its regressor."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """One step of a plan.

    Attributes:
        step: Its name in the recipe.
        stage: Its stage.
        units: Units of work (shards, shards x scales, categories); 0 where they are not counted.
        images: Images it looks at, once per pass.
        macs: Multiply-accumulates.
        read: Bytes of raw maps it reads back.
        written: Bytes it stores.
        seconds: Of one worker.
    """

    step: str
    stage: str
    units: int = 0
    images: int = 0
    macs: float = 0.0
    read: float = 0.0
    written: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Planner:
    """Costs of a recipe's steps on a corpus."""

    recipe: Recipe
    corpus: Corpus
    rates: Rates

    def steps(self) -> list[StepCost]:
        """Every step's cost, in the recipe's order; a stage that costs next to nothing has zeros."""
        return [self._cost(name, config) for name, config in self.recipe.steps.items()]

    def _cost(self, name: str, config: StageConfig) -> StepCost:
        counting: Mapping[str, Callable[[str, Any], Mapping[str, float]]] = {
            "ingest": self._ingest,
            "propose": self._propose,
            "pretrain": self._pretrain,
            "extract": self._extract,
            "finetune": self._finetune,
            "train-svms": self._train_svms,
            "train-regressors": self._train_regressors,
            "score": self._score,
        }
        found = dict(counting[config.stage](name, config)) if config.stage in counting else {}
        seconds = found.pop("seconds", 0.0)
        seconds += found.get("macs", 0.0) / self.rates.macs + found.get("read", 0.0) / self.rates.read
        units, images = int(found.pop("units", 0)), int(found.pop("images", 0))
        return StepCost(name, config.stage, units, images, seconds=seconds, **found)

    # --- the parts that several stages share --------------------------------------------------------------------

    @property
    def _image_hw(self) -> tuple[int, int]:
        return self.corpus.size_wh[1], self.corpus.size_wh[0]

    def _shards(self, images_step: str, images: int) -> int:
        config: Any = self.recipe.steps[images_step]
        return math.ceil(images / int(config.shard_size))

    def _backbone(self, step: str) -> BackboneSpec:
        config: Any = self.recipe.steps[step]
        spec: BackboneSpec = config.spec()
        return spec

    def _windows(self, step: str) -> int:
        """Windows of an image that a step proposes or imports."""
        config: Any = self.recipe.steps[step]
        most = getattr(config, "max_windows", None)
        methods = len(getattr(config, "methods", ("one",)))
        return methods * (self.corpus.windows if most is None else min(most, self.corpus.windows))

    def _hidden(self, config: Any) -> tuple[int, ...]:
        """Outputs of fc6 and fc7 of a step that fine-tunes or pre-trains."""
        if getattr(config, "hidden", None) is None and getattr(config, "init", None):
            return self._hidden(self.recipe.steps[config.init])
        return tuple(getattr(config, "hidden", None) or _HEAD)

    def _map_bytes(self, maps_step: str, scales: tuple[int, ...]) -> float:
        """Raw bytes of one image's maps; none are stored for crops."""
        config: Any = self.recipe.steps[maps_step]
        if config.stage == "crops":
            return 0.0
        spec = self._backbone(config.backbone)
        return float(sum(map_cost(spec, self._image_hw, scale).bytes for scale in scales))

    def _pooled(self, maps_step: str, levels: tuple[int, ...]) -> int:
        """Length of a pooled vector."""
        config: Any = self.recipe.steps[maps_step]
        channels = map_cost(self._backbone(config.backbone), (224, 224)).shape[2]
        return Pyramid(levels).bins * channels

    def _features(self, config: Any) -> tuple[int, int]:
        """Length of the features of SVMs, and the MACs of a window up to them."""
        pooled = self._pooled(config.maps, config.levels)
        maps: Any = self.recipe.steps[config.maps]
        crop = map_cost(self._backbone(maps.backbone), (maps.size, maps.size)).macs if maps.stage == "crops" else 0
        if config.features == "pool5":
            return pooled, crop
        hidden = self._hidden(self.recipe.steps[config.head])
        sizes = (pooled, *hidden[: 1 if config.features == "fc6" else 2])
        return sizes[-1], crop + head_macs(sizes)

    # --- the stages -----------------------------------------------------------------------------------------------

    def _ingest(self, name: str, config: Any) -> Mapping[str, float]:
        # Kinds of data sets name their splits as a list or as a mapping; some have none to name.
        named = tuple(getattr(config.dataset, "splits", None) or ())
        own = [key.removeprefix(f"{name}.") for key in self.corpus.images if key.startswith(f"{name}.")]
        images = self.corpus.count(name, *(named or own))
        units = math.ceil(images / config.shard_size)
        return {"units": units, "images": images, "written": float(images * self.corpus.image_bytes)}

    def _propose(self, name: str, config: Any) -> Mapping[str, float]:
        images = self.corpus.count(config.images, *config.splits)
        larger = self.corpus.size_wh[0] * self.corpus.size_wh[1] / (500 * 375)
        return {
            "units": self._shards(config.images, images),
            "images": images,
            "written": float(images * self._windows(name) * 16),
            "seconds": len(config.methods) * images * larger / self.rates.proposals,
        }

    def _pretrain(self, name: str, config: Any) -> Mapping[str, float]:
        spec = config.spec()
        costs = [map_cost(spec, (side, side)) for side in config.size]
        convolutions = sum(cost.macs for cost in costs) / len(costs)
        bins = config.pyramid(build_backbone(spec)).bins
        samples = config.steps * config.batch
        macs = convolutions + head_macs((bins * costs[0].shape[2], *config.hidden, 1000))
        return {"units": 1, "images": samples, "macs": float(_BACKWARD * samples * macs)}

    def _extract(self, name: str, config: Any) -> Mapping[str, float]:
        images = self.corpus.count(config.images, *config.splits)
        spec = self._backbone(config.backbone)
        costs = [map_cost(spec, self._image_hw, scale) for scale in config.scales]
        return {
            "units": self._shards(config.images, images) * len(config.scales),
            "images": images,
            "macs": float(images * sum(cost.macs for cost in costs)),
            "written": images * sum(cost.bytes for cost in costs) * self.rates.compression,
        }

    def _finetune(self, name: str, config: Any) -> Mapping[str, float]:
        pooled = self._pooled(config.maps, config.levels)
        macs = head_macs((pooled, *self._hidden(config), len(config.categories) + 1))
        images: Any = self.recipe.steps[config.images]
        chunks = math.ceil(config.steps / config.chunk)
        seen = min(chunks * config.shards * images.shard_size, chunks * self.corpus.count(config.images, config.split))
        return {
            "units": 1,
            "images": seen,
            "macs": float(_BACKWARD * config.steps * config.batch * macs),
            "read": seen * self._map_bytes(config.maps, config.scales),
        }

    def _train_svms(self, name: str, config: Any) -> Mapping[str, float]:
        images = self.corpus.count(config.images, config.split)
        length, macs = self._features(config)
        categories = len(config.categories)
        mined = images * self._windows(config.windows) * (macs + length * categories)
        gathered = images * config.random_negatives * macs
        rows = images * (
            config.random_negatives + config.rounds * min(config.hard_per_image or _HARD, _HARD) * categories
        )
        return {
            "units": self._shards(config.images, images) * (1 + config.rounds) + categories * (1 + config.rounds),
            "images": images * (1 + config.rounds),
            "macs": float(gathered + config.rounds * mined),
            "read": (1 + config.rounds) * images * self._map_bytes(config.maps, config.scales),
            "written": float(rows * length * HALF) * self.rates.compression,
        }

    def _train_regressors(self, name: str, config: Any) -> Mapping[str, float]:
        images = self.corpus.count(config.images, config.split)
        length = self._pooled(config.maps, config.levels)
        examples = _REGRESSED * images
        primal, dual = examples * length**2 + length**3 / 3, examples**2 * length + examples**3 / 3
        return {
            "units": self._shards(config.images, images) + len(config.categories),
            "images": images,
            "macs": float(len(config.categories) * min(primal, dual)),
            "read": images * self._map_bytes(config.maps, config.scales),
        }

    def _score(self, name: str, config: Any) -> Mapping[str, float]:
        images = self.corpus.count(config.images, *config.splits)
        svms: Any = self.recipe.steps[config.svms]
        length, macs = self._features(svms)
        found = images * self._windows(config.windows) * (macs + length * len(svms.categories))
        scales = set(svms.scales)
        if config.regressors:
            regressors: Any = self.recipe.steps[config.regressors]
            scales |= set(regressors.scales)
        return {
            "units": self._shards(config.images, images),
            "images": images,
            "macs": float(found),
            "read": images * self._map_bytes(config.maps, tuple(scales)),
            "written": float(images * 100 * 40),
        }
