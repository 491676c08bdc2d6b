"""How much there is to work on: the images of a plan."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from jobs.plan.rates import Rates
from pipelines.datasets.protocol import DataSet, Place
from pipelines.engine.asked_for import check_given
from pipelines.engine.recipe import Recipe
from pipelines.stages.ingest import IngestConfig
from sppnet.errors import ConfigError, DataError
from sppnet.images.decoding import probe_size
from sppnet.sizes import Size

_SAMPLED_GROUPS = 2  # a group is one object, which is read whole
_SAMPLED_IMAGES = 16


@dataclass(frozen=True, slots=True)
class ImageSet:
    """The images of a split.

    Attributes:
        count: How many there are.
        mean_bytes: Of an encoded image; None where no image was looked at.
        mean_pixels: Of a decoded one, likewise.
    """

    count: int
    mean_bytes: float | None = None
    mean_pixels: float | None = None


_TYPICAL = Size(500, 375)


@dataclass(frozen=True, slots=True)
class Corpus:
    """The images of a plan.

    Attributes:
        images: Those of a split, by `split`, or by `step.split` where steps that ingest differ.
        size: Of a typical one, pixels.
        windows: Windows of an image.
    """

    images: Mapping[str, ImageSet]
    size: Size = _TYPICAL
    windows: int = 2000

    @property
    def typical_pixels(self) -> int:
        """Pixels of a typical image."""
        return math.prod(self.size)

    def count(self, step: str, *splits: str) -> int:
        """Count the images of some splits of a step that ingests; raise like `sets`."""
        return sum(found.count for found in self.sets(step, *splits))

    def pixels(self, step: str, *splits: str) -> float:
        """Count the pixels of all images of some splits of a step that ingests; raise like `sets`."""
        return sum(found.count * (found.mean_pixels or self.typical_pixels) for found in self.sets(step, *splits))

    def encoded_bytes(self, rates: Rates, step: str, *splits: str) -> float:
        """Count the bytes of all encoded images of some splits of a step that ingests; raise like `sets`."""
        usual = rates.pixel_bytes * self.typical_pixels
        return sum(found.count * (found.mean_bytes or usual) for found in self.sets(step, *splits))

    def sets(self, step: str, *splits: str) -> Iterator[ImageSet]:
        """Find the images of some splits of a step that ingests.

        Raises:
            ConfigError: The size of a split is not known.
        """
        for split in splits:
            found = self.images.get(f"{step}.{split}") or self.images.get(split)
            if found is None:
                known = ", ".join(self.images) or "none"
                raise ConfigError(
                    f"the size of split '{split}' is not known (known: {known}); give it: --images {split}=N"
                )
            yield found


def parse_images(given: Sequence[str]) -> dict[str, ImageSet]:
    """Read `SPLIT=N` and `STEP.SPLIT=N` options; raise `ConfigError` for anything else."""
    found = {}
    for text in given:
        split, equals, number = text.partition("=")
        if not (split and equals and number.isdigit() and int(number) > 0):
            raise ConfigError(f"--images {text}: expected SPLIT=N, such as train=5011")
        found[split] = ImageSet(int(number))
    return found


def parse_size(text: str) -> Size:
    """Read `WIDTHxHEIGHT`; raise `ConfigError` for anything else."""
    width, times, height = text.partition("x")
    if not (times and width.isdigit() and height.isdigit() and min(int(width), int(height)) > 0):
        raise ConfigError(f"--size {text}: expected WIDTHxHEIGHT, such as 500x375")
    return Size(int(width), int(height))


def listed_images(recipe: Recipe) -> dict[str, ImageSet]:
    """Count the images of every ingest step's splits in the data set's own lists, and look at a few of them.

    Args:
        recipe: The recipe, whose data sets must be there.

    Returns:
        The splits, by `step.split`.

    Raises:
        ConfigError: A data set is asked for and was not given, or can't be listed.
    """
    check_given(recipe, "ingest")
    found: dict[str, ImageSet] = {}
    for step, config in recipe.steps.items():
        if isinstance(config, IngestConfig):
            data = config.dataset.open()
            for split in data.splits:
                places = data.places(split)
                found[f"{step}.{split}"] = _measured(len(places), list(_sampled(data, places)))
    return found


def _measured(count: int, sample: Sequence[tuple[int, int]]) -> ImageSet:
    if not sample:
        return ImageSet(count)
    return ImageSet(count, fmean(size for size, _ in sample), fmean(pixels for _, pixels in sample))


def _sampled(data: DataSet, places: Sequence[Place]) -> Iterator[tuple[int, int]]:
    """Yield bytes and pixels of a few images of as few groups, evenly spread; broken ones are left out."""
    groups = [list(group) for _, group in groupby(places, lambda place: place.group)]
    chosen = groups[:: -(-len(groups) // _SAMPLED_GROUPS)]
    for group in chosen:
        for place in group[:: -(-len(group) * len(chosen) // _SAMPLED_IMAGES)]:
            try:
                image = data.image(place).data
                width, height = probe_size(image)
            except DataError:  # ingest will set it aside
                continue
            yield len(image), width * height
