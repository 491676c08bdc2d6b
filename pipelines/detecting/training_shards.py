"""The shards of the training splits by their roles, and the examples that are gathered from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pipelines.artifacts.examples import Examples, ExamplesFile, encode_examples, open_examples
from pipelines.artifacts.manifest import Manifest
from pipelines.detecting.checks import require_finite
from pipelines.engine.commits import Output, Quarantined
from pipelines.engine.workspace import Artifact
from pipelines.shards.keys import ShardWork
from pipelines.shards.read_ahead import one_ahead
from pipelines.shards.reading import IngestedImages, splits_units
from pipelines.shards.windowed import ImagePair, LabelledImage, ShardInputs, labelled, pairs
from sppnet.errors import ConfigError

PerImage = Callable[[LabelledImage], Mapping[str, float]]
Collected = Callable[[], Sequence[Examples]]


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
        flips: Whether an image counts only if its mirrored maps are there too.
    """

    images: IngestedImages
    windows: Artifact
    maps: Artifact
    scales: tuple[int, ...]
    split: str
    stage: str
    positive_splits: tuple[str, ...] = ()
    flips: bool = False

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
        """Raise `ConfigError` naming the first image that is in two of the splits: its objects would count twice."""
        split_of: dict[str, str] = {}
        for split in self.splits:
            for key in (key for unit in self.manifest.units(split) for key in self.manifest.keys(unit)):
                other = split_of.setdefault(key, split)
                if other != split:
                    raise ConfigError(
                        f"step {step}: positive_splits: image '{key}' of '{split}' is one of '{other}' too; "
                        "its objects would count twice"
                    )

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
            require_finite(image.windows)
            return per_image(image)

        for counted in work.each(images, gather):
            for name, value in counted.items():
                figures[name] = figures.get(name, 0) + value
        groups = collected()
        return work.output(encode_examples(groups), ".parquet", sum(map(len, groups)), figures)

    def open(self, shard: str) -> tuple[Iterator[LabelledImage], tuple[Quarantined, ...]]:
        """Open a shard: its images with what is annotated in them, and the keys that an earlier stage set aside."""
        images, aside = self._inputs.open(shard)
        annotations, unlabelled = self.images.read_annotations(shard)
        return labelled(images, annotations, unlabelled), (*unlabelled, *aside)

    def open_pairs(self, shard: str) -> tuple[Iterator[ImagePair], tuple[Quarantined, ...]]:
        """Open a shard as `open` does, with `flips` each image beside the maps of its mirror image."""
        images, aside = self.open(shard)
        if not self.flips:
            return (ImagePair(image, None) for image in images), aside
        mirrored = replace(self._inputs, flipped=True).open(shard)[0]
        return pairs(images, mirrored), aside

    @property
    def _inputs(self) -> ShardInputs:
        return ShardInputs(self.images.artifact, self.windows, self.maps, self.scales, flips=self.flips)

    def mean_norm(self, artifact: Artifact, phase: str = "gather") -> float:
        """Return the mean norm of the sampled features, from `norm_sum` and `norm_count` of a phase's commits.

        Shards that give positives only are no part of the sample.
        """
        commits = artifact.commits([f"{phase}/{shard}" for shard in self.negative_units])
        total = sum(float(commit.metrics.get("norm_sum", 0)) for commit in commits)
        return total / max(1.0, sum(float(commit.metrics.get("norm_count", 0)) for commit in commits))

    def files(self, artifact: Artifact, mined: Sequence[str] = ()) -> Iterator[ShardFiles]:
        """Open the examples of every shard, shards in order, the next one's while one is at work.

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
