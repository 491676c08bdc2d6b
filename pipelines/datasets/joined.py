"""Several data sets as one: DET's validation images with training images that lie elsewhere, say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.contents import Contents
from pipelines.datasets.keys import check_split, checked_categories
from pipelines.datasets.kinds import parse_dataset
from pipelines.datasets.protocol import DataSet, DatasetConfig, ImageFile, Item, Place
from sppnet.errors import ConfigError


class JoinedDataset(DatasetConfig):
    """Data sets of any kinds side by side, each with splits of its own.

    Attributes:
        kind: `joined`.
        root: Not used.
        parts: The data sets; no two may have a split of the same name.
        categories: The categories in order; by default those of the parts, the first part's first.
    """

    kind: Literal["joined"] = "joined"
    root: Literal[""] = ""
    parts: Annotated[
        tuple[Annotated[SerializeAsAny[DatasetConfig], BeforeValidator(parse_dataset)], ...], Field(min_length=1)
    ]
    categories: tuple[str, ...] | None = None

    def place(self) -> Any:
        """Return where the parts lie."""
        return [self.kind, [part.place() for part in self.parts]]

    def roots(self) -> tuple[str, ...]:
        """Return those of the parts."""
        return tuple(dict.fromkeys(root for part in self.parts for root in part.roots()))

    def open(self) -> Joined:
        """See `DatasetConfig.open`; raise `ConfigError` also for a split that two parts have."""
        return Joined([part.open() for part in self.parts], self.categories)


class Joined:
    """Data sets as one.

    Args:
        parts: The data sets.
        categories: See `JoinedDataset`.

    Raises:
        ConfigError: Two parts have a split of the same name.
    """

    def __init__(self, parts: Sequence[DataSet], categories: Sequence[str] | None = None) -> None:
        self._parts = tuple(parts)
        self._categories = categories
        self._owners: dict[str, int] = {}
        for number, part in enumerate(self._parts):
            for split in part.splits:
                if split in self._owners:
                    raise ConfigError(f"dataset: two of its parts have a split {split!r}")
                self._owners[split] = number

    @property
    def splits(self) -> tuple[str, ...]:
        """Those of all parts."""
        return tuple(self._owners)

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`."""
        part = self._part(split)
        return part.items(split, contents.part(str(self._owners[split])))

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`."""
        return self._part(split).places(split)

    def count(self, split: str) -> int:
        """See `DataSet`."""
        return self._part(split).count(split)

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return the config's, or those of all parts."""
        if self._categories is not None:
            return checked_categories(self._categories, "dataset.categories")
        found = (part.categories(contents.part(str(number))) for number, part in enumerate(self._parts))
        return tuple(dict.fromkeys(category for categories in found for category in categories))

    def names(self) -> Mapping[str, str]:
        """Return those of all parts; of several for one category the first."""
        return {code: name for part in reversed(self._parts) for code, name in part.names().items()}

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`."""
        return self._part(place.split).image(place)

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`."""
        return self._part(place.split).annotation(place, width, height)

    def label(self, place: Place) -> str:
        """See `DataSet`."""
        return self._part(place.split).label(place)

    def _part(self, split: str) -> DataSet:
        check_split(split, self.splits)
        return self._parts[self._owners[split]]
