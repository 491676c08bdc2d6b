"""Training examples by category, gathered shard by shard: shared by SVM training and box regression."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.manifest import Manifest
from pipelines.schemas import Examples, decode_examples, encode_examples
from pipelines.shards import check_account
from pipelines.stage import StageConfig, require_subset
from pipelines.windowed import ShardInputs, WindowedImage
from pipelines.workspace import Artifact, Output, Quarantined
from sppnet.errors import ConfigError, DataError

PerImage = Callable[[WindowedImage], tuple[list[Examples], Mapping[str, float]]]
Floats = npt.NDArray[np.floating[Any]]


def make_examples(
    category: str,
    key: str,
    windows: Sequence[int] | npt.NDArray[Any],
    scores: Sequence[float] | npt.NDArray[Any],
    boxes: Floats,
    features: Floats,
    targets: Floats | None = None,
) -> Examples:
    """Examples of one image.

    Args:
        category: What they are examples of or against.
        key: The image's key.
        windows: `[n]` window indices, or `-1 - i` for the i-th object.
        scores: `[n]` scores or weights.
        boxes: `[n, 4]` pixels.
        features: `[n, d]`.
        targets: `[n, 4]` ground-truth boxes in pixels, zeros by default.
    """
    n = len(windows)
    return Examples(
        category=category,
        keys=(key,) * n,
        windows=np.asarray(windows, dtype=np.int32),
        scores=np.asarray(scores, dtype=np.float32),
        boxes=np.asarray(boxes, dtype=np.float32).reshape(n, 4),
        targets=np.zeros((n, 4), np.float32) if targets is None else np.asarray(targets, np.float32).reshape(n, 4),
        features=features,
    )


def join_examples(category: str, parts: Sequence[Examples]) -> Examples:
    """Puts parts behind one another; they must have features of one length."""
    return Examples(
        category=category,
        keys=tuple(key for part in parts for key in part.keys),
        windows=np.concatenate([part.windows for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        boxes=np.concatenate([part.boxes for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
        features=np.concatenate([part.features for part in parts]),
    )


@dataclass(frozen=True)
class TrainingShards:
    """The shards of a training split, and what is gathered from them.

    Attributes:
        images: The images artifact.
        windows: The windows artifact.
        maps: The maps artifact.
        scales: Scales to read.
        split: The training split.
        stage: Name of the stage that gathers, for quarantine entries.
    """

    images: Artifact
    windows: Artifact
    maps: Artifact
    scales: tuple[int, ...]
    split: str
    stage: str

    @cached_property
    def manifest(self) -> Manifest:
        """The images' manifest."""
        return Manifest.read(self.images)

    @property
    def units(self) -> tuple[str, ...]:
        """All shards of the split."""
        return self.manifest.units(self.split)

    def check_categories(self, categories: Sequence[str], step: str) -> None:
        """Raises `ConfigError` naming the first category that comes twice or that the images don't have."""
        known = self.manifest.categories
        for number, category in enumerate(categories):
            if category in categories[:number]:
                raise ConfigError(f"step {step}: categories: '{category}' comes twice")
            if category not in known:
                near = get_close_matches(category, known, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"they have: {', '.join(known)}"
                raise ConfigError(f"step {step}: categories: the images have no '{category}'; {hint}")

    def run(self, shard: str, per_image: PerImage) -> Output:
        """Gathers examples from a shard's images, category by category, images in order.

        Args:
            shard: `<split>/<number>`.
            per_image: Gives an image's examples, one group a category, and figures to be summed.
        """
        images, earlier = ShardInputs(self.images, self.windows, self.maps, self.scales).open(shard)
        quarantined = list(earlier)
        groups: dict[str, list[Examples]] = {}
        figures: dict[str, float] = {}
        done = 0
        for image in images:
            try:
                found, counted = per_image(image)
            except DataError as error:
                quarantined.append(Quarantined(image.key, error.reason, error.detail, self.stage))
                continue
            done += 1
            for group in found:
                if len(group.keys):
                    groups.setdefault(group.category, []).append(group)
            for name, value in counted.items():
                figures[name] = figures.get(name, 0) + value
        check_account(shard, self.manifest.keys(shard), done, tuple(quarantined))
        joined = [join_examples(category, parts) for category, parts in sorted(groups.items())]
        rows = sum(len(group.keys) for group in joined)
        return Output(encode_examples(joined), ".parquet", rows, done, tuple(quarantined), figures)

    def mean_norm(self, artifact: Artifact, phase: str = "gather") -> float:
        """Mean norm of the sampled features, from the figures `norm_sum` and `norm_count` of a phase's commits."""
        commits = artifact.commits([f"{phase}/{shard}" for shard in self.units])
        total = sum(float(commit.metrics.get("norm_sum", 0)) for commit in commits)
        return total / max(1.0, sum(float(commit.metrics.get("norm_count", 0)) for commit in commits))

    def read(self, artifact: Artifact, phase: str, categories: Sequence[str], dimension: int) -> dict[str, Examples]:
        """Reads several categories' examples of a phase from all shards, in the order of the shards."""
        parts: dict[str, list[Examples]] = {category: [] for category in categories}
        for shard in self.units:
            unit = f"{phase}/{shard}"
            data = artifact.read(unit)
            for category in categories:
                part = decode_examples(data, f"{artifact.name}/{unit}", category)
                if len(part.keys):
                    parts[category].append(part)
        return {
            category: join_examples(category, found) if found else _no_examples(category, dimension)
            for category, found in parts.items()
        }


def _no_examples(category: str, dimension: int) -> Examples:
    return make_examples(category, "", [], [], np.zeros((0, 4)), np.zeros((0, dimension), np.float16))


def check_inputs(
    images: str, scales: tuple[int, ...], splits: tuple[str, ...], inputs: Mapping[str, tuple[StageConfig, ...]]
) -> None:
    """Raises `ConfigError` where windows and maps are wanted that their steps don't make of these images.

    Args:
        images: The step that ingests.
        scales: Scales that are read.
        splits: Splits that are read.
        inputs: Configs of the input steps; `windows` and `maps` are looked at.
    """
    maps: Any = inputs["maps"][0]
    windows: Any = inputs["windows"][0]
    for name, config in (("windows", windows), ("maps", maps)):
        if config.images != images:
            raise ConfigError(f"{name}: made from the images of step '{config.images}', not from those of '{images}'")
        require_subset(splits, config.splits, name, "split")
    require_subset(scales, maps.scales, "scales", "scale")
