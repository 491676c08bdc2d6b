"""A data set of any kind with one more category, whose boxes a table of its own gives.

Its images and its shards are the data set's own, so that nothing which is made of them alone is made again: windows,
maps and class scores are found where they are. Only annotations are new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, SerializeAsAny

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.boxes_given import GivenBoxes, mend_boxes
from pipelines.datasets.contents import Contents
from pipelines.datasets.csv_tables import CsvBoxes, CsvColumns, CsvReading, Unit
from pipelines.datasets.keys import checked_categories
from pipelines.datasets.kinds import parse_dataset
from pipelines.datasets.outside_files import read_outside
from pipelines.datasets.protocol import DataSet, DatasetConfig, ImageFile, Item, Place, label_of
from sppnet.errors import ConfigError

_TABLE = "dataset.boxes: the table of boxes"


class ExtendedDataset(DatasetConfig):
    """A data set with boxes of one more category.

    Attributes:
        kind: `extended`.
        root: Not used.
        base: The data set.
        category: The category, which the data set doesn't have.
        boxes: CSV table with a row a box, a path or URI; images are named as the data set's keys have them. Rows of
            other categories are passed over.
        columns: Which columns of the table say what; by default Open Images'.
        unit: What boxes are told in: `pixel`, or `fraction` of the image's sides.
        bad_boxes: What becomes of a box without area or that leaves its image, see `GivenBoxes`.
    """

    kind: Literal["extended"] = "extended"
    root: Literal[""] = ""
    base: Annotated[SerializeAsAny[DatasetConfig], BeforeValidator(parse_dataset)]
    category: str
    boxes: str
    columns: CsvColumns = CsvColumns()
    unit: Unit = "pixel"
    bad_boxes: GivenBoxes = "mend"

    def place(self) -> Any:
        """Return where the data set itself lies: its shards are cut as they were."""
        return self.base.place()

    def roots(self) -> tuple[str, ...]:
        """Return those of the data set."""
        return self.base.roots()

    def open(self) -> Extended:
        """See `DatasetConfig.open`."""
        return Extended(self.base.open(), self)


class Extended:
    """A data set with one more category.

    Args:
        base: The data set.
        config: See `ExtendedDataset`.
    """

    def __init__(self, base: DataSet, config: ExtendedDataset) -> None:
        self._base = base
        self._config = config
        self._boxes = lru_cache(maxsize=1)(self._read)

    @property
    def splits(self) -> tuple[str, ...]:
        """Those of the data set."""
        return self._base.splits

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`; raise `ConfigError` also for a table that knows no image of any split."""
        self._require_known()
        return [replace(item, label=self._label(item.label, item.key)) for item in self._base.items(split, contents)]

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`."""
        return self._base.places(split)

    def count(self, split: str) -> int:
        """See `DataSet`."""
        return self._base.count(split)

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return the data set's, and the new one behind them; raise `ConfigError` if it is one of them."""
        return tuple(checked_categories([*self._base.categories(contents), self._config.category], "dataset.category"))

    def names(self) -> Mapping[str, str]:
        """See `DataSet`."""
        return self._base.names()

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`."""
        return self._base.image(place)

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`: the objects of the data set, then those of the table."""
        found = self._base.annotation(place, width, height)
        across, down = (width, height) if self._config.unit == "fraction" else (1, 1)
        own = self._boxes().objects(place.key, across, down)
        more = mend_boxes(own, width, height, self._config.bad_boxes)
        return replace(found, objects=(*found.objects, *more))

    def label(self, place: Place) -> str:
        """See `DataSet`."""
        return self._label(self._base.label(place), place.key)

    def _label(self, base: str, key: str) -> str:
        config = self._config
        return label_of(
            "extended",
            base=base,
            category=config.category,
            said=self._boxes().digest(key),
            unit=config.unit,
            bad_boxes=config.bad_boxes,
        )

    def _read(self) -> CsvBoxes:
        config = self._config
        reading = CsvReading(config.columns, config.unit, None, frozenset({config.category}), "")
        reading.add(read_outside(config.boxes, _TABLE), config.boxes, config.boxes)
        return reading.table()

    def _require_known(self) -> None:
        boxes, config = self._boxes(), self._config
        if config.category not in boxes.known:
            held = ", ".join(sorted(boxes.known)[:10]) or "none"
            raise ConfigError(f"{_TABLE} {config.boxes} has no box of {config.category!r}; its categories: {held}")
        keys = [place.key for split in self.splits for place in self._base.places(split)]
        if boxes.images.keys().isdisjoint(keys):
            raise ConfigError(
                f"{_TABLE} {config.boxes} knows none of the images; it names {next(iter(boxes.images))!r}, the data "
                f"set has {keys[0] if keys else 'none'!r}"
            )
