"""A data set that is drawn where it is ingested: no file is read, so every cluster has it.

An image is known by what it is drawn from and not by its bytes, so that looking at the data set draws nothing. Another
build of OpenCV may draw a grey level, or the edge of a box, otherwise. That is seen nowhere: the first of a shard's
images and of its annotations to be committed are those of the artifact, for all that follows; their commits say with
which library they were drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.contents import Contents
from pipelines.datasets.keys import check_split, safe_key
from pipelines.datasets.protocol import DatasetConfig, ImageFile, Item, Place, label_of
from pipelines.drawing.scenes import CATEGORIES, VERSION, annotate_image, draw_image
from sppnet.errors import DataError
from sppnet.seeds import derive_seed

_LEAST, _MOST = 64, 4096


def _check_size(size: tuple[int, int]) -> tuple[int, int]:
    if not _LEAST <= size[0] <= size[1] <= _MOST:
        raise ValueError(f"expected a least and a largest width of {_LEAST} to {_MOST} pixels")
    return size


class DrawnDataset(DatasetConfig):
    """Photograph-like scenes with exact boxes, drawn from a seed; see `pipelines.drawing`.

    A larger data set begins with the smaller one.

    Attributes:
        kind: `drawn`.
        root: Not used.
        splits: By split, how many images it has. [images]
        seed: Seed of every random choice. [no unit]
        size: Least and largest width of an image. [pixels]
    """

    kind: Literal["drawn"] = "drawn"
    root: Literal[""] = ""
    splits: Annotated[Mapping[str, Annotated[int, Field(ge=1)]], Field(min_length=1)] = {"train": 400, "val": 120}
    seed: int = 0
    size: Annotated[tuple[int, int], AfterValidator(_check_size)] = (280, 380)

    def place(self) -> Any:
        """Return what tells its images from others of the same keys."""
        return [self.kind, self.seed, list(self.size)]

    def open(self) -> DrawnImages:
        """See `DatasetConfig.open`."""
        return DrawnImages(self)


class DrawnImages:
    """A data set of drawn images.

    Args:
        config: The data set's config.
    """

    def __init__(self, config: DrawnDataset) -> None:
        self._config = config
        self.splits = tuple(config.splits)

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`: in the order of the images' numbers."""
        digests = [self._made_from(split, number) for number in range(self.count(split))]
        return [Item(place.key, made, made) for place, made in zip(self.places(split), digests, strict=True)]

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`."""
        keys = [_key(split, number) for number in range(self.count(split))]
        return [Place(split, "", key) for key in keys]

    def count(self, split: str) -> int:
        """See `DataSet`."""
        check_split(split, self.splits)
        return self._config.splits[split]

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return the six that are drawn."""
        return CATEGORIES

    def names(self) -> Mapping[str, str]:
        """Return none: categories are words."""
        return {}

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`: draws it, in tens of milliseconds."""
        number = self._number(place)
        data = draw_image(self._seed(place.split, number), self._config.size)
        return ImageFile(data, "jpg", self._made_from(place.split, number))

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`: draws the scene again, for what can be seen of each object."""
        seed = self._seed(place.split, self._number(place))
        return annotate_image(place.key, seed, self._config.size)

    def label(self, place: Place) -> str:
        """See `DataSet`."""
        return self._made_from(place.split, self._number(place))

    def _made_from(self, split: str, number: int) -> str:
        """Digest all that an image and its annotation are drawn from."""
        config = self._config
        made_from = {"version": VERSION, "seed": config.seed, "split": split, "number": number}
        return label_of(config.kind, **made_from, size=list(config.size))

    def _seed(self, split: str, number: int) -> int:
        return derive_seed(self._config.seed, "demo", split, number)

    def _number(self, place: Place) -> int:
        tail = place.key.rpartition("_")[2]
        number = int(tail) if tail.isdecimal() else -1
        if not 0 <= number < self.count(place.split) or place.key != _key(place.split, number):
            raise DataError("missing-image", f"{place.key}: no image that is drawn for split {place.split!r}")
        return number


def _key(split: str, number: int) -> str:
    return safe_key(f"{split}_{number:05d}")
