"""Training examples by category, gathered shard by shard: shared by SVM training and box regression."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipelines.artifacts.examples import Examples, ExamplesFile, encode_examples
from pipelines.artifacts.manifest import Manifest
from pipelines.engine.stage import StageConfig, require_subset
from pipelines.engine.store import Store
from pipelines.engine.workspace import Artifact, Output, Quarantined
from pipelines.shards.keys import ShardWork
from pipelines.shards.read_ahead import one_ahead
from pipelines.shards.reading import IngestedImages, splits_units
from pipelines.shards.stage import require_same_images
from pipelines.shards.windowed import LabelledImage, ShardInputs, WindowedImage, labelled
from sppnet.errors import ArtifactError, ConfigError, DataError

PerImage = Callable[[LabelledImage], Mapping[str, float]]
Collected = Callable[[], Sequence[Examples]]
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


def half_features(features: torch.Tensor) -> npt.NDArray[np.float16]:
    """Features as they are stored; `DataError` `nan-features` if one is not finite or too large for float16."""
    values = features.to(torch.float16)
    # Pooled vectors were looked at when they were pooled, and stay what they are; wider ones may be out of range.
    if features.dtype != torch.float16 and values.numel():
        low, high = torch.aminmax(values)
        if not bool(torch.isfinite(low) & torch.isfinite(high)):
            raise DataError("nan-features", "a feature is not a finite float16 number")
    return values.cpu().numpy()


class ExampleGroups:
    """Collects examples by category, in the order in which they come."""

    def __init__(self) -> None:
        self._groups: dict[str, list[Examples]] = {}

    def add(self, groups: Sequence[Examples]) -> None:
        """Adds an image's examples."""
        for group in groups:
            if len(group):
                self._groups.setdefault(group.category, []).append(group)

    def joined(self) -> list[Examples]:
        """All that was added, one a category, categories sorted."""
        return [join_examples(category, parts) for category, parts in sorted(self._groups.items())]


@dataclass(frozen=True, slots=True)
class ShardFiles:
    """A shard's examples, opened.

    Attributes:
        gathered: What was gathered from it.
        mined: What was mined from it, a file a phase asked for; nothing unless it gives negatives.
        gives_negatives: Whether its images give negatives too; if not, its objects are positives and no more.
    """

    gathered: ExamplesFile
    mined: tuple[ExamplesFile, ...]
    gives_negatives: bool


@dataclass(frozen=True)
class TrainingShards:
    """The shards of the training splits by their roles, and what is gathered from them.

    Images of `split` give positives and negatives, those of `positive_splits` their ground-truth objects alone: where
    annotations are not exhaustive, what looks like a negative may be an object that nobody marked (section 4.5).

    Attributes:
        images: The images.
        windows: The windows artifact.
        maps: The maps artifact.
        scales: Scales to read.
        split: The split that gives positives and negatives.
        stage: Name of the stage that gathers, for quarantine entries.
        positive_splits: Splits that give positives only; they share no image with `split` or one another.
    """

    images: IngestedImages
    windows: Artifact
    maps: Artifact
    scales: tuple[int, ...]
    split: str
    stage: str
    positive_splits: tuple[str, ...] = ()

    @property
    def manifest(self) -> Manifest:
        """The images' manifest."""
        return self.images.manifest

    @property
    def splits(self) -> tuple[str, ...]:
        """All splits, the one that gives negatives first."""
        return (self.split, *self.positive_splits)

    @property
    def units(self) -> tuple[str, ...]:
        """The shards of all splits: examples are gathered from each."""
        return splits_units(self.manifest, self.splits)

    @property
    def negative_units(self) -> tuple[str, ...]:
        """The shards whose images give negatives: they are mined, and their features' norms are the sample."""
        return self.manifest.units(self.split)

    @cached_property
    def _giving_negatives(self) -> frozenset[str]:
        return frozenset(self.negative_units)

    def gives_negatives(self, shard: str) -> bool:
        """Tell whether a shard is one of `negative_units`."""
        return shard in self._giving_negatives

    def check_splits(self, step: str) -> None:
        """Raises `ConfigError` naming the first image that is in two of the splits: its objects would count twice."""
        split_of: dict[str, str] = {}
        for split in self.splits:
            for key in (key for unit in self.manifest.units(split) for key in self.manifest.keys(unit)):
                other = split_of.setdefault(key, split)
                if other != split:
                    raise ConfigError(
                        f"step {step}: positive_splits: image '{key}' of '{split}' is one of '{other}' too; "
                        "its objects would count twice"
                    )

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

    @property
    def images_count(self) -> int:
        """Images of the split that gives negatives, those set aside included."""
        return self.manifest.count(self.split)

    @property
    def positive_images_count(self) -> int:
        """Images of the splits that give positives only, those set aside included."""
        return sum(map(self.manifest.count, self.positive_splits))

    def run(self, shard: str, per_image: PerImage, collected: Collected) -> Output:
        """Gather examples from a shard's images, images in order.

        Args:
            shard: Its name.
            per_image: Adds an image's examples to a collection unless it raises, and gives figures to be summed.
            collected: Gives the collection at the end, one group a category.
        """
        images, earlier = self.open(shard)
        work = ShardWork(self.stage, shard, self.manifest.keys(shard), earlier)
        figures: dict[str, float] = {}

        def gather(image: LabelledImage) -> Mapping[str, float]:
            check_windows(image)
            return per_image(image)

        for counted in work.each(images, gather):
            for name, value in counted.items():
                figures[name] = figures.get(name, 0) + value
        groups = collected()
        return work.output(encode_examples(groups), ".parquet", sum(map(len, groups)), figures)

    def open(self, shard: str) -> tuple[Iterator[LabelledImage], tuple[Quarantined, ...]]:
        """Open a shard: its images with what is annotated in them, and the keys that an earlier stage set aside."""
        images, aside = ShardInputs(self.images.artifact, self.windows, self.maps, self.scales).open(shard)
        annotations, unlabelled = self.images.read_annotations(shard)
        return labelled(images, annotations, unlabelled), (*unlabelled, *aside)

    def mean_norm(self, artifact: Artifact, phase: str = "gather") -> float:
        """Mean norm of the sampled features, from the figures `norm_sum` and `norm_count` of a phase's commits.

        Shards that give positives only are no part of the sample.
        """
        commits = artifact.commits([f"{phase}/{shard}" for shard in self.negative_units])
        total = sum(float(commit.metrics.get("norm_sum", 0)) for commit in commits)
        return total / max(1.0, sum(float(commit.metrics.get("norm_count", 0)) for commit in commits))

    def files(self, artifact: Artifact, mined: Sequence[str] = ()) -> Iterator[ShardFiles]:
        """Opens the examples of every shard, shards in order, the next one's while one is at work.

        Only what is then read of a file is fetched.

        Args:
            artifact: Its phase `gather` has a unit a shard.
            mined: Further phases, with a unit for each shard that gives negatives.
        """
        return one_ahead(self._open_examples(artifact, shard, mined) for shard in self.units)

    def _open_examples(self, artifact: Artifact, shard: str, mined: Sequence[str]) -> ShardFiles:
        gives_negatives = self.gives_negatives(shard)
        return ShardFiles(
            gathered=open_examples(artifact, f"gather/{shard}"),
            mined=tuple(open_examples(artifact, f"{phase}/{shard}") for phase in mined if gives_negatives),
            gives_negatives=gives_negatives,
        )


def open_examples(artifact: Artifact, unit: str) -> ExamplesFile:
    """Opens a unit's examples; its bytes are fetched as they are read."""
    commit = artifact.commit(unit)
    if commit.data is None:
        raise ArtifactError(f"{artifact.name}/{unit} has no data")
    source = _ObjectFile(artifact.store, f"{artifact.name}/{commit.data}", commit.size)
    return ExamplesFile(source, f"{artifact.name}/{unit}")


class _ObjectFile(io.RawIOBase):
    """An object of a store as a file whose parts are fetched when they are read."""

    def __init__(self, store: Store, name: str, size: int) -> None:
        self._store = store
        self._name = name
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a place, see `io.IOBase.seek`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = base + offset
        return self._place

    def read(self, size: int = -1, /) -> bytes:
        """Fetches the next bytes."""
        end = self._size if size < 0 else min(self._size, self._place + size)
        data = self._store.read_range(self._name, self._place, max(0, end - self._place))
        self._place += len(data)
        return data


def check_windows(image: WindowedImage) -> None:
    """Raises `DataError` `bad-windows` where a window is not four finite numbers."""
    if not np.isfinite(image.windows).all():
        raise DataError("bad-windows", "a window's corner is not a finite number")


def check_inputs(
    config: StageConfig, scales: tuple[int, ...], splits: tuple[str, ...], inputs: Mapping[str, tuple[StageConfig, ...]]
) -> None:
    """Raise `ConfigError` where windows and maps are wanted that their steps don't make of the config's images.

    Args:
        config: Of the stage.
        scales: Scales that are read.
        splits: Splits that are read.
        inputs: Configs of the input steps; `windows` and `maps` are looked at.
    """
    require_same_images(config, inputs, "windows", "maps")
    maps: Any = inputs["maps"][0]
    windows: Any = inputs["windows"][0]
    for name, made in (("windows", windows), ("maps", maps)):
        require_subset(splits, made.splits, name, "split")
    require_subset(scales, maps.scales, "scales", "scale")
